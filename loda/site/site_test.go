package site_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pin/tftp/v3"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/memory"
	"github.com/project-loda/loda/inventory/sqlite"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/site"
	"github.com/project-loda/loda/loda/trust"
	"github.com/project-loda/loda/raid"
)

const (
	serial = inventory.Serial("SN-0001")
	mac    = inventory.MAC("52:54:00:00:00:01")
)

// log collects what a site says.
type log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// furnish makes a data directory with a boot system and an image, neither of which would boot.
func furnish(t *testing.T) site.Layout {
	t.Helper()
	dir := site.Layout(t.TempDir())
	require.NoError(t, dir.Make())
	content := []byte("not much of an image")
	doc, err := json.Marshal(image.Image{Name: "debian-12", File: "debian-12.raw", Format: "raw", Bytes: int64(len(content)),
		RawBytes: int64(len(content)), SHA256: strings.Repeat("ab", 32), Created: time.Now()})
	require.NoError(t, err)
	for name, content := range map[string][]byte{"artifacts/bootos/vmlinuz": []byte("kernel"),
		"artifacts/bootos/initramfs": []byte("initramfs"), "artifacts/images/debian-12.raw": content,
		"artifacts/images/debian-12.json": doc, "nbp/undionly.kpxe": bytes.Repeat([]byte("x"), 3000)} {
		path := filepath.Join(string(dir), name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, content, 0o644))
	}
	return dir
}

// ports finds free ones: a site tells machines its ports before it listens on them.
func ports(t *testing.T, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		addrs = append(addrs, l.Addr().String())
	}
	return addrs
}

func configure(t *testing.T, dir site.Layout, store inventory.Store) site.Config {
	t.Helper()
	profiles, err := loda.NewStaticProfiles(map[string]loda.Profile{"debian": {Image: "debian-12",
		SSHKeys: []string{"ssh-ed25519 AAAA me@example"}}})
	require.NoError(t, err)
	free := ports(t, 3)
	return site.Config{Name: "test", Version: "1", Dir: dir, Store: store, Profiles: profiles, API: free[0], Boot: free[1],
		TFTP: free[2], Socket: filepath.Join(string(dir), "lodad.sock"), NBPDirs: []string{filepath.Join(string(dir), "nbp")}}
}

// running is a site at work in this process.
type running struct {
	*site.Site
	t      *testing.T
	config site.Config
	log    *log
	stop   context.CancelFunc
	ended  chan error
}

func start(t *testing.T, c site.Config) *running {
	t.Helper()
	r := &running{t: t, config: c, log: &log{}, ended: make(chan error, 1)}
	r.config.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	var err error
	r.Site, err = site.New(r.config)
	require.NoError(t, err)
	var ctx context.Context
	ctx, r.stop = context.WithCancel(context.Background())
	go func() { r.ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		r.stop()
		if err, ok := <-r.ended; ok {
			require.NoError(t, err)
		}
		if t.Failed() {
			t.Log(r.log)
		}
	})
	require.Eventually(t, func() bool {
		select {
		case err := <-r.ended:
			t.Fatalf("the site ended: %v", err)
		default:
		}
		return strings.Contains(r.log.String(), "site is up")
	}, 10*time.Second, 5*time.Millisecond)
	return r
}

// end stops the site and waits.
func (r *running) end() {
	r.t.Helper()
	r.stop()
	require.NoError(r.t, <-r.ended)
	close(r.ended)
}

func (r *running) load(csv string) {
	r.t.Helper()
	_, err := r.Installer().Import(r.t.Context(), strings.NewReader(csv), loda.ImportOptions{Install: true, By: "test"})
	require.NoError(r.t, err)
}

// get fetches from the boot server as firmware does.
func (r *running) get(path string) (status int, body string) {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.config.Boot)
	require.NoError(r.t, err)
	defer conn.Close()
	// By hand: net/http's client would tidy the path up.
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, r.config.Boot)
	require.NoError(r.t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return resp.StatusCode, string(text)
}

var tokenArg = regexp.MustCompile(agentapi.ArgToken + `=(\S+)`)

// netboot asks for the boot script and returns the token in it.
func (r *running) netboot(serial inventory.Serial, mac inventory.MAC) string {
	r.t.Helper()
	q := url.Values{"serial": {string(serial)}, "mac": {string(mac)}, "platform": {"pcbios"}}
	status, script := r.get("/boot/script?" + q.Encode())
	require.Equal(r.t, http.StatusOK, status)
	require.Contains(r.t, script, agentapi.ArgServer+"=https://"+r.config.API)
	found := tokenArg.FindStringSubmatch(script)
	require.NotNil(r.t, found, script)
	return found[1]
}

func (r *running) agent(roots *x509.CertPool) *agentapi.Client {
	r.t.Helper()
	c, err := agentapi.NewClient(agentapi.ClientConfig{Servers: []string{"https://" + r.config.API}, Roots: roots, Timeout: 5 * time.Second})
	require.NoError(r.t, err)
	return c
}

// report says what the machine is made of.
func report(t *testing.T) agentapi.Result {
	t.Helper()
	no := false
	doc, err := json.Marshal(hw.Facts{Version: 1, System: hw.System{Serial: string(serial)}, Disks: []hw.Disk{{Name: "vda",
		Kind: hw.PhysicalDisk, Serial: "D0", Path: "pci-0000:00:04.0", Bytes: 4 << 30, Removable: &no, ReadOnly: &no}}})
	require.NoError(t, err)
	return agentapi.Result{OK: true, Seconds: 1, Data: doc}
}

func exchange(t *testing.T, c *agentapi.Client, token string) *agentapi.Session {
	t.Helper()
	s, err := c.Exchange(t.Context(), agentapi.SessionRequest{Token: token, Serial: string(serial), MACs: []string{string(mac)}, Version: "test"})
	require.NoError(t, err)
	return s
}

func next(t *testing.T, c *agentapi.Client, want agentapi.ActionKind) *agentapi.Action {
	t.Helper()
	a, err := c.Next(t.Context(), "", 5*time.Second)
	require.NoError(t, err)
	require.NotNil(t, a)
	require.Equal(t, want, a.Kind)
	return a
}

// untilImage drives an agent up to the action that writes the image.
func untilImage(t *testing.T, c *agentapi.Client, token string) *agentapi.Action {
	t.Helper()
	exchange(t, c, token)
	require.NoError(t, c.Result(t.Context(), next(t, c, agentapi.ActionDetect).ID, report(t)))
	return next(t, c, agentapi.ActionInstallImage)
}

// callBack is the first boot of the installed system: all that it knows stands in the seed.
func callBack(t *testing.T, a *agentapi.Action) (status int) {
	t.Helper()
	var fb agentapi.FirstBoot
	require.NoError(t, json.Unmarshal([]byte(a.InstallImage.Seed["loda.json"]), &fb))
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM([]byte(fb.CA)))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	defer transport.CloseIdleConnections()
	doc, err := json.Marshal(agentapi.Installed{Secret: fb.Secret, Hostname: "sn-0001", Address: "10.0.0.1"})
	require.NoError(t, err)
	resp, err := (&http.Client{Transport: transport}).Post(fb.URLs[0], "application/json", bytes.NewReader(doc))
	require.NoError(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func (r *running) state() inventory.State {
	r.t.Helper()
	page, err := r.config.Store.Installations(r.t.Context(), inventory.InstallationFilter{Serial: serial, Newest: true, Limit: 1})
	require.NoError(r.t, err)
	require.Len(r.t, page, 1)
	return page[0].State
}

// timeline waits until a line of the machine's timeline says all of parts.
func (r *running) timeline(kind inventory.Kind, parts ...string) string {
	r.t.Helper()
	var found string
	var all []string
	require.Eventually(r.t, func() bool {
		events, err := r.Installer().Timeline(r.t.Context(), serial, inventory.EventFilter{Limit: 1000})
		require.NoError(r.t, err)
		all = nil
		for _, e := range events {
			all = append(all, string(e.Kind)+": "+e.Message)
			missing := e.Kind != kind
			for _, part := range parts {
				missing = missing || !strings.Contains(e.Message, part)
			}
			if !missing {
				found = e.Message
			}
		}
		return found != ""
	}, 5*time.Second, 10*time.Millisecond, "%s with %q in the timeline", kind, parts)
	return found
}

func TestMachineIsInstalledOverTheWire(t *testing.T) {
	r := start(t, configure(t, furnish(t), memory.New()))
	r.load("serial,profile\nSN-0001,debian\n")
	token := r.netboot(serial, mac)
	require.Equal(t, inventory.Netbooting, r.state())
	for path, want := range map[string]string{"/artifacts/bootos/vmlinuz": "kernel", "/artifacts/bootos/initramfs": "initramfs"} {
		status, text := r.get(path)
		require.Equal(t, http.StatusOK, status)
		require.Equal(t, want, text)
	}

	agent := r.agent(r.Authority().Pool())
	write := untilImage(t, agent, token)
	require.Equal(t, inventory.Installing, r.state())
	require.Contains(t, write.InstallImage.Seed["meta-data"], "ssh-ed25519 AAAA me@example")
	status, text := r.get(strings.TrimPrefix(write.InstallImage.URL, "http://"+r.config.Boot))
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, "not much of an image", text)
	require.NoError(t, agent.Progress(t.Context(), write.ID, agentapi.Progress{Fraction: 0.5, Text: "writing"}))
	require.NoError(t, agent.Log(t.Context(), []agentapi.LogLine{{Text: "the disk is \x1b[31mred"}}))
	require.NoError(t, agent.Result(t.Context(), write.ID, agentapi.Result{OK: true, Seconds: 2}))
	boot := next(t, agent, agentapi.ActionBoot)
	require.NoError(t, agent.Result(t.Context(), boot.ID, agentapi.Result{OK: true}))
	require.Equal(t, inventory.Finishing, r.state())

	require.Equal(t, http.StatusNoContent, callBack(t, write))
	require.Equal(t, inventory.Installed, r.state())
	require.Equal(t, http.StatusNoContent, callBack(t, write), "a report that is repeated is fine")
	_, err := agent.Next(t.Context(), "", 0)
	require.ErrorIs(t, err, agentapi.ErrSessionLost)
	_, script := r.get("/boot/script?serial=SN-0001&platform=pcbios&mac=" + string(mac))
	require.NotContains(t, script, agentapi.ArgToken, "an installed machine that netboots again boots its disk")

	r.timeline(inventory.KindTransfer, "http /artifacts/bootos/vmlinuz: 6 bytes")
	r.timeline(inventory.KindTransfer, "http /artifacts/images/debian-12.raw: 20 bytes")
	r.timeline(inventory.KindTransfer, "http /boot/script")
	require.Equal(t, "the disk is [31mred", r.timeline(inventory.KindLog, "the disk is"))
	require.NotContains(t, r.log.String(), token, "no secret in the log")
}

func TestTransfersByTFTPAppearInTheTimeline(t *testing.T) {
	r := start(t, configure(t, furnish(t), memory.New()))
	r.load("serial,profile\nSN-0001,debian\n")
	r.netboot(serial, mac) // from now on it is known who is at 127.0.0.1
	c, err := tftp.NewClient(r.config.TFTP)
	require.NoError(t, err)
	w, err := c.Receive("undionly.kpxe", "octet")
	require.NoError(t, err)
	n, err := w.WriteTo(io.Discard)
	require.NoError(t, err)
	require.EqualValues(t, 3000, n)
	r.timeline(inventory.KindTransfer, "tftp undionly.kpxe: 3000 bytes")
	_, err = c.Receive("../ca/ca.key", "octet")
	require.Error(t, err)
	r.timeline(inventory.KindTransfer, "ca.key: 0 bytes", "not exist")
}

func TestAgentOfAnotherSiteIsRefusedAndTheTimelineSaysWhy(t *testing.T) {
	r := start(t, configure(t, furnish(t), memory.New()))
	r.load("serial,profile\nSN-0001,debian\n")
	token := r.netboot(serial, mac)
	other, err := trust.Open(t.TempDir())
	require.NoError(t, err)
	for range 3 {
		_, err = r.agent(other.Pool()).Exchange(t.Context(), agentapi.SessionRequest{Token: token, Serial: string(serial)})
		var unknown x509.UnknownAuthorityError
		require.ErrorAs(t, err, &unknown)
	}
	r.timeline(inventory.KindAlarm, "127.0.0.1 ended a call", "lodad bootos build")
	require.Contains(t, r.log.String(), `msg="connection refused" server=API`)
	alarms, err := r.config.Store.Events(t.Context(), inventory.EventFilter{Kinds: []inventory.Kind{inventory.KindAlarm}})
	require.NoError(t, err)
	require.Len(t, alarms, 1, "an agent that tries again and again is noted once a minute")

	conn, err := net.Dial("tcp", r.config.API) // not TLS at all
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}", agentapi.PathSession)
	require.NoError(t, err)
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Contains(t, string(answer), "400 Bad Request")
	exchange(t, r.agent(r.Authority().Pool()), token) // the token itself was never seen by anyone
}

func TestReplayedTokenIsRefusedWithAnAlarm(t *testing.T) {
	r := start(t, configure(t, furnish(t), memory.New()))
	r.load("serial,profile\nSN-0001,debian\n")
	token := r.netboot(serial, mac)
	agent := r.agent(r.Authority().Pool())
	exchange(t, agent, token)
	_, err := r.agent(r.Authority().Pool()).Exchange(t.Context(), agentapi.SessionRequest{Token: token, Serial: string(serial)})
	require.ErrorIs(t, err, agentapi.ErrTokenRefused)
	require.ErrorContains(t, err, "HTTP status 401")
	r.timeline(inventory.KindAlarm, "boot token from 127.0.0.1 refused", "used before")
	require.Contains(t, r.log.String(), "boot token refused")
	next(t, agent, agentapi.ActionDetect) // the machine itself goes on
}

func TestAnAgentGetsTheToolsOfItsProfileFromTheSite(t *testing.T) {
	sum := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	dir := furnish(t)
	require.NoError(t, os.WriteFile(filepath.Join(dir.Artifacts(), "storcli64"), []byte("tool"), 0o644))
	config := configure(t, dir, memory.New())
	profiles, err := loda.NewStaticProfiles(map[string]loda.Profile{"debian": {Image: "debian-12", Tools: map[raid.Tool]loda.Download{
		raid.Storcli: {Artifact: "storcli64", SHA256: sum("tool")}, raid.Ssacli: {Artifact: "storcli64", SHA256: sum("another")},
		raid.Arcconf: {URL: "http://127.0.0.1:1/arcconf", SHA256: sum("away")}}}})
	require.NoError(t, err)
	config.Profiles = profiles
	r := start(t, config)
	r.load("serial,profile\nSN-0001,debian\n")
	agent := r.agent(r.Authority().Pool())
	var got bytes.Buffer
	require.ErrorIs(t, agent.File(t.Context(), sum("tool"), &got), agentapi.ErrSessionLost, "it has none yet")
	exchange(t, agent, r.netboot(serial, mac))
	got.Reset()
	require.NoError(t, agent.File(t.Context(), sum("tool"), &got))
	require.Equal(t, "tool", got.String())
	r.timeline(inventory.KindAction, "the agent fetches storcli, 4 bytes")
	for _, tc := range []struct {
		digest, says string
		temporary    bool
	}{
		{sum("nobody's"), "names no such file: not for this machine (HTTP status 404)", false},
		{"../../ca/ca.key", "names no such file", false},
		{sum("another"), "ssacli from storcli64: its sha256 is " + sum("tool"), false},
		{sum("away"), "not got it yet: arcconf from http://127.0.0.1:1/arcconf: ", true},
	} {
		err := agent.File(t.Context(), tc.digest, io.Discard)
		require.ErrorContains(t, err, tc.says)
		var status *agentapi.StatusError
		require.ErrorAs(t, err, &status)
		require.Equal(t, tc.temporary, status.Status == http.StatusServiceUnavailable && status.RetryAfter > 0, err)
	}
	require.Contains(t, r.log.String(), "fetched a file for machines")
	metrics := r.metrics(r.client())
	require.Contains(t, metrics, `loda_downloads_total{outcome="complete",site="test"} 1`)
	require.Contains(t, metrics, `loda_downloads_total{outcome="failed",site="test"} 2`)
	require.Contains(t, metrics, `loda_downloaded_bytes_total{site="test"} 4`)
	next(t, agent, agentapi.ActionDetect)
}

func TestAnAgentIsToldToAskAgainWhenTheSiteStopsInTheMiddleOfAFetch(t *testing.T) {
	begun := make(chan struct{}, 1)
	files := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	defer files.Close()
	sum := fmt.Sprintf("%x", sha256.Sum256([]byte("tool")))
	config := configure(t, furnish(t), memory.New())
	profiles, err := loda.NewStaticProfiles(map[string]loda.Profile{"debian": {Image: "debian-12", Tools: map[raid.Tool]loda.Download{
		raid.Storcli: {URL: files.URL, SHA256: sum}}}})
	require.NoError(t, err)
	config.Profiles = profiles
	r := start(t, config)
	r.load("serial,profile\nSN-0001,debian\n")
	agent := r.agent(r.Authority().Pool())
	exchange(t, agent, r.netboot(serial, mac))
	failed := make(chan error, 1)
	go func() { failed <- agent.File(context.Background(), sum, io.Discard) }()
	<-begun
	r.end()
	var status *agentapi.StatusError
	require.ErrorAs(t, <-failed, &status)
	require.True(t, status.Temporary() && status.Status != http.StatusBadGateway, status)
}

func TestNothingOutsideOfTheArtifactsIsServed(t *testing.T) {
	dir := furnish(t)
	r := start(t, configure(t, dir, memory.New()))
	secret, err := os.ReadFile(filepath.Join(dir.CA(), "ca.key"))
	require.NoError(t, err)
	require.NoError(t, os.Symlink("../../ca", filepath.Join(dir.Artifacts(), "images", "link")))
	require.NoError(t, os.Symlink(filepath.Join(dir.CA(), "ca.key"), filepath.Join(dir.BootOS(), "absolute")))
	require.NoError(t, os.WriteFile(filepath.Join(dir.Images(), ".hidden"), secret, 0o644))
	for _, path := range []string{"/artifacts/../ca/ca.key", "/artifacts/%2e%2e/ca/ca.key", "/artifacts/images/..%2f..%2f..%2fca%2fca.key",
		"/artifacts/images/link/ca.key", "/artifacts/bootos/absolute", "/artifacts/images/.hidden", "/artifacts//etc/passwd",
		"/artifacts/" + url.PathEscape(dir.CA()) + "/ca.key", "/boot/../ca/ca.key", "/ca/ca.key", "/artifacts/images/", "/"} {
		status, text := r.get(path)
		require.GreaterOrEqual(t, status, 400, path)
		require.NotContains(t, text, "PRIVATE KEY", path)
	}
	require.Contains(t, r.log.String(), `msg="request refused"`)
	require.Contains(t, r.log.String(), "ca.key")
	status, _ := r.get("/artifacts/images/debian-12.raw")
	require.Equal(t, http.StatusOK, status)
}

func TestMissingBootOSIsSaidInTheTimeline(t *testing.T) {
	dir := furnish(t)
	require.NoError(t, os.Remove(filepath.Join(dir.BootOS(), "initramfs")))
	r := start(t, configure(t, dir, memory.New()))
	require.Contains(t, r.log.String(), "no machine can be installed yet")
	r.load("serial,profile\nSN-0001,debian\n")
	_, script := r.get("/boot/script?serial=SN-0001&platform=pcbios&mac=" + string(mac))
	require.NotContains(t, script, agentapi.ArgToken)
	r.timeline(inventory.KindAlarm, "initramfs", "lodad bootos build")
}

func TestSiteEndsSoonAndLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	store := memory.New()
	r := start(t, configure(t, furnish(t), store))
	r.load("serial,profile\nSN-0001,debian\n")
	agent := r.agent(r.Authority().Pool())
	write := untilImage(t, agent, r.netboot(serial, mac))
	require.NoError(t, agent.Result(t.Context(), write.ID, agentapi.Result{Error: "the disk is broken"}))
	told := next(t, agent, agentapi.ActionWait)
	polled := make(chan error, 1)
	asked := time.Now()
	go func() {
		_, err := agent.Next(context.WithoutCancel(t.Context()), told.ID, agentapi.MaxWait)
		polled <- err
	}()
	time.Sleep(200 * time.Millisecond) // until the poll is open
	r.get("/artifacts/bootos/vmlinuz")
	stopped := time.Now()
	r.end()
	require.Less(t, time.Since(stopped), 3*time.Second)
	err := <-polled
	var status *agentapi.StatusError
	require.ErrorAs(t, err, &status, "the agent is told to come back")
	require.True(t, status.Temporary())
	require.Less(t, time.Since(asked), 5*time.Second)

	http.DefaultClient.CloseIdleConnections()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before && time.Now().Before(end); { // not Eventually: it has some
		time.Sleep(20 * time.Millisecond)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before, "%s", stacks{})
	_, err = os.Stat(r.config.Socket)
	require.ErrorIs(t, err, os.ErrNotExist)
	events, err := store.Events(t.Context(), inventory.EventFilter{Kinds: []inventory.Kind{inventory.KindTransfer}, Limit: 1000})
	require.NoError(t, err)
	require.Contains(t, events[len(events)-1].Message, "vmlinuz", "what was observed last is written")
}

// stacks prints all goroutines, when it is printed.
type stacks struct{}

func (stacks) String() string {
	b := make([]byte, 1<<20)
	return string(b[:runtime.Stack(b, true)])
}

func TestSecondSiteFindsOutAtOnce(t *testing.T) {
	dir := furnish(t)
	c := configure(t, dir, memory.New())
	r := start(t, c)
	for what, change := range map[string]func(*site.Config){
		"another lodad serves " + c.Socket: func(o *site.Config) {},
		"boot server":                      func(o *site.Config) { o.Boot = c.Boot },
		"API":                              func(o *site.Config) { o.API = c.API },
		"TFTP":                             func(o *site.Config) { o.TFTP, o.Socket = c.TFTP, "" },
	} {
		o := configure(t, dir, memory.New())
		change(&o)
		o.Logger = slog.New(slog.DiscardHandler)
		second, err := site.New(o)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		require.ErrorContains(t, second.Run(ctx), what)
		require.NoError(t, ctx.Err())
		cancel()
	}
	status, _ := r.get("/artifacts/bootos/vmlinuz")
	require.Equal(t, http.StatusOK, status, "the first goes on")
	r.end()
	start(t, c).end()
}

func TestSocketOfAKilledSiteIsTakenOver(t *testing.T) {
	c := configure(t, furnish(t), memory.New())
	l, err := net.Listen("unix", c.Socket)
	require.NoError(t, err)
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
	start(t, c)
	info, err := os.Stat(c.Socket)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o660), info.Mode().Perm())
}

func TestInstallationGoesOnAfterARestart(t *testing.T) {
	dir := furnish(t)
	database := filepath.Join(string(dir), "loda.db")
	open := func() *sqlite.Store {
		store, err := sqlite.Open(t.Context(), database)
		require.NoError(t, err)
		return store
	}
	store := open()
	c := configure(t, dir, store)
	r := start(t, c)
	r.load("serial,profile\nSN-0001,debian\n")
	agent := r.agent(r.Authority().Pool())
	write := untilImage(t, agent, r.netboot(serial, mac))
	r.end()
	require.NoError(t, store.Close())
	require.Error(t, agent.Progress(t.Context(), write.ID, agentapi.Progress{}))

	store = open()
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	c.Store = store
	r = start(t, c)
	require.NoError(t, agent.Progress(t.Context(), write.ID, agentapi.Progress{Fraction: 0.9}), "the same session")
	again := next(t, agent, agentapi.ActionInstallImage)
	require.Equal(t, write.ID, again.ID, "the same action until it has a result")
	require.NoError(t, agent.Result(t.Context(), again.ID, agentapi.Result{OK: true}))
	next(t, agent, agentapi.ActionBoot)
	require.Equal(t, http.StatusNoContent, callBack(t, again))
	require.Equal(t, inventory.Installed, r.state())
}

func TestConfigurationThatCannotWorkIsRefused(t *testing.T) {
	dir := furnish(t)
	for what, change := range map[string]func(*site.Config){
		"needs Dir":   func(c *site.Config) { c.Store = nil },
		"boot server": func(c *site.Config) { c.Boot = "8080" },
		"API":         func(c *site.Config) { c.API = "nowhere" },
		"deadlines":   func(c *site.Config) { c.Deadlines.Installing = 15 },
	} {
		c := configure(t, dir, memory.New())
		change(&c)
		_, err := site.New(c)
		require.ErrorContains(t, err, what)
	}
	c := configure(t, dir, memory.New())
	c.NBPDirs = []string{filepath.Join(string(dir), "nowhere")}
	s, err := site.New(c)
	require.NoError(t, err)
	err = s.Run(t.Context())
	require.ErrorContains(t, err, "nowhere")
	require.False(t, errors.Is(err, context.Canceled))
}

func TestArtifactsAreFetchedByHTTPSWhereASiteWantsThat(t *testing.T) {
	c := configure(t, furnish(t), memory.New())
	c.ArtifactsTLS = ports(t, 1)[0]
	r := start(t, c)
	r.load("serial,profile\n" + string(serial) + ",debian\n")
	status, script := r.get("/boot/script?serial=" + string(serial) + "&mac=" + string(mac) + "&platform=pcbios")
	require.Equal(t, http.StatusOK, status)
	_, port, err := net.SplitHostPort(c.ArtifactsTLS)
	require.NoError(t, err)
	url := "https://127.0.0.1:" + port + "/artifacts/bootos/vmlinuz"
	require.Contains(t, script, url)

	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(r.Authority().PEM()))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	resp, err := client.Get(url)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "kernel", string(body))
	_, err = (&http.Client{Timeout: 10 * time.Second}).Get(url)
	require.ErrorContains(t, err, "certificate")
}
