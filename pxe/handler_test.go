package pxe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A booter answers from its fields and remembers who asked.
type booter struct {
	in  Instruction
	err error
	do  func(ctx context.Context)

	mu    sync.Mutex
	asked []Client
}

func (b *booter) Boot(ctx context.Context, c Client) (Instruction, error) {
	b.mu.Lock()
	b.asked = append(b.asked, c)
	b.mu.Unlock()
	if b.do != nil {
		b.do(ctx)
	}
	return b.in, b.err
}

func (b *booter) clients() []Client {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]Client(nil), b.asked...)
}

// transfers collects what is observed.
type transfers struct {
	mu  sync.Mutex
	all []Transfer
}

func (o *transfers) observe(t Transfer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, t)
}

func (o *transfers) list() []Transfer {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]Transfer(nil), o.all...)
}

// wait returns the transfers when there are n.
func (o *transfers) wait(t *testing.T, n int) []Transfer {
	t.Helper()
	require.Eventually(t, func() bool { return len(o.list()) >= n }, 20*time.Second, 5*time.Millisecond)
	return o.list()
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func serve(t *testing.T, h *Handler) *httptest.Server {
	t.Helper()
	if h.Logger == nil {
		h.Logger = quiet()
	}
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func get(t *testing.T, url string, header ...string) (*http.Response, string) {
	t.Helper()
	return do(t, "GET", url, header...)
}

func do(t *testing.T, method, url string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, nil)
	require.NoError(t, err)
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// What Debian's iPXE of 2019 sent in QEMU, for a machine with two NICs and a hostile serial number.
const realQuery = "mac=52%3A54%3A00%3A12%3A34%3A56&mac=52%3A54%3A00%3A12%3A34%3A56" +
	"&mac=52%3A54%3A00%3Aaa%3Abb%3Acc&mac=" +
	"&uuid=12345678-1234-1234-1234-123456789ABC&platform=pcbios&arch=i386&serial-hex=4126422b432031303025233b78" +
	"&manufacturer-hex=41542654&product-hex=&asset-hex=&version-hex=312e302e302b"

func TestBooterIsToldWhatTheMachineSaysOfItself(t *testing.T) {
	b := &booter{in: LocalDisk{}}
	s := serve(t, &Handler{Booter: b})
	resp, body := get(t, s.URL+"/boot/script?"+realQuery+"&try=3")
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.Contains(t, body, "sanboot")

	c := b.clients()[0]
	require.Equal(t, []string{"52:54:00:12:34:56", "52:54:00:aa:bb:cc"}, macs(c))
	require.Equal(t, "12345678-1234-1234-1234-123456789abc", c.UUID)
	require.Equal(t, "A&B+C 100%#;x", c.Serial)
	require.Equal(t, "AT&T", c.Manufacturer)
	require.Empty(t, c.Product)
	require.Equal(t, BIOS, c.Platform)
	require.Equal(t, "i386", c.Arch)
	require.Equal(t, "1.0.0+", c.Version)
	require.Equal(t, 3, c.Attempt)
	require.Equal(t, s.URL, c.BaseURL)
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), c.Remote)
	require.Equal(t, s.Listener.Addr().String(), c.Local.String())
}

func TestHandWrittenScriptsMaySendPlainText(t *testing.T) {
	b := &booter{in: LocalDisk{}}
	s := serve(t, &Handler{Booter: b})
	get(t, s.URL+"/boot/script?serial=%20AB%2FC%20&product="+strings.Repeat("x", 300))
	require.Equal(t, " AB/C ", b.clients()[0].Serial, "raw: blanks are the firmware's")
	require.Len(t, b.clients()[0].Product, 256)
}

func TestRequestThatNamesNoMachineIsRefused(t *testing.T) {
	b := &booter{in: LocalDisk{}}
	s := serve(t, &Handler{Booter: b})
	for _, q := range []string{
		"", "mac=", "mac=00:00:00:00:00:00", "mac=ff:ff:ff:ff:ff:ff", "mac=01:00:5e:00:00:01&serial=%20", "uuid=x",
		"serial-hex=zz", "mac=52:54:00:12:34:56:78:90", "product=X", "%zz",
	} {
		resp, body := get(t, s.URL+"/boot/script?"+q)
		require.Equal(t, 400, resp.StatusCode, q)
		require.NotContains(t, body, "#!ipxe")
	}
	require.Empty(t, b.clients())
}

func TestHostThatIsNoHostNeverEntersAScript(t *testing.T) {
	s := serve(t, &Handler{Booter: &booter{in: Wait{}}})
	for _, host := range []string{
		"a b", "h${uuid}", "a||b", "h#x", "-x", "", "[::1", "h:123456", strings.Repeat("a", 300),
	} {
		for _, path := range []string{"/boot/ipxe", "/boot/script?serial=ABC"} {
			req, _ := http.NewRequest("GET", path, nil)
			req.Host = host
			w := httptest.NewRecorder()
			s.Config.Handler.ServeHTTP(w, req)
			require.Equal(t, 400, w.Code, host)
		}
	}
	fixed := &Handler{Booter: &booter{in: Wait{}}, BaseURL: "http://loda.example/", Logger: quiet()}
	req := httptest.NewRequest("GET", "/boot/ipxe", nil)
	req.Host = "a b"
	w := httptest.NewRecorder()
	fixed.ServeHTTP(w, req)
	require.Contains(t, w.Body.String(), "chain --replace --autofree http://loda.example/boot/script?")
}

func TestFailingBooterMakesTheMachineAskAgainAndNeverBootItsDisk(t *testing.T) {
	late := func(ctx context.Context) { <-ctx.Done(); time.Sleep(30 * time.Millisecond) }
	for name, b := range map[string]*booter{
		"error":        {err: errors.New("postgres://loda:hunter2@db: connection refused")},
		"nil":          {},
		"late":         {in: LocalDisk{}, do: late},
		"panic":        {in: LocalDisk{}, do: func(context.Context) { panic("hunter2") }},
		"unspeakable":  {in: Kernel{Kernel: "/k", Args: "token=hunter2 || shell"}},
		"no such kind": {in: (*LocalDiskOfOthers)(nil)},
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			o := &transfers{}
			h := &Handler{Booter: b, BootTimeout: 50 * time.Millisecond, MaxAttempts: 5, Observe: o.observe,
				Logger: slog.New(slog.NewTextHandler(&log, nil))}
			s := serve(t, h)
			for attempt, want := range map[int]string{0: "sleep [23]\n", 1: "sleep [456]\n", 4: "reboot \\|\\|\n", 99: "reboot \\|\\|\n"} {
				resp, body := get(t, fmt.Sprintf("%s/boot/script?serial=ABC&try=%d", s.URL, attempt))
				require.Equal(t, 200, resp.StatusCode, "a script is what the machine can show")
				requireScript(t, body)
				require.Regexp(t, want, body)
				require.NotContains(t, body, "sanboot")
				require.NotContains(t, body, "exit")
				require.NotContains(t, body, "hunter2", "the console is for everyone")
			}
			require.NoError(t, h.Flush(t.Context()))
			require.Len(t, o.list(), 4)
			require.Error(t, o.list()[0].Err)
			require.Contains(t, log.String(), "serial=ABC")
		})
	}
}

// LocalDiskOfOthers claims to be an instruction by embedding one.
type LocalDiskOfOthers struct{ LocalDisk }

func TestAttemptsTravelThroughTheIntroduction(t *testing.T) {
	s := serve(t, &Handler{Booter: &booter{err: errors.New("no")}, MaxAttempts: 3})
	_, body := get(t, s.URL+"/boot/script?serial=ABC&try=1")
	require.Contains(t, body, s.URL+"/boot/ipxe?try=2 ||")
	_, body = get(t, s.URL+"/boot/ipxe?try=2")
	require.Contains(t, body, "&try=2\n")
	require.Equal(t, 1, strings.Count(body, "chain "))
	_, body = get(t, s.URL+"/boot/ipxe?try=3")
	require.NotContains(t, body, "&try=", "after the last attempt it starts anew")
	_, body = get(t, s.URL+"/boot/ipxe?try=%0Ashell")
	requireScript(t, body)
}

func TestArtifactsAreServedLikeFilesOfAWebServer(t *testing.T) {
	dir := tree(t, map[string]string{"os/image.zst": "0123456789", ".token": "secret", "index.html": "<b>"})
	require.NoError(t, os.Symlink("../secret.efi", filepath.Join(dir, "out.efi")))
	o := &transfers{}
	h := &Handler{Booter: &booter{}, Artifacts: openDir(t, dir), Observe: o.observe}
	s := serve(t, h)
	image := s.URL + "/artifacts/os/image.zst"

	resp, body := get(t, image)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "0123456789", body)
	require.Equal(t, "application/octet-stream", resp.Header.Get("Content-Type"))
	require.Equal(t, "bytes", resp.Header.Get("Accept-Ranges"))
	etag := resp.Header.Get("ETag")
	require.Equal(t, `"84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"`, etag, "its SHA-256")
	require.Equal(t, "sha-256=:hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=:", resp.Header.Get("Repr-Digest"))

	resp, body = do(t, "HEAD", image)
	require.Equal(t, 200, resp.StatusCode)
	require.EqualValues(t, 10, resp.ContentLength)
	require.Empty(t, body)
	resp, body = get(t, image, "Range", "bytes=4-", "If-Range", etag)
	require.Equal(t, 206, resp.StatusCode)
	require.Equal(t, "456789", body)
	resp, _ = get(t, image, "If-None-Match", etag)
	require.Equal(t, 304, resp.StatusCode)
	resp, _ = get(t, image, "Range", "bytes=100-")
	require.Equal(t, 416, resp.StatusCode)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "os/new"), []byte("9876543210x"), 0o644))
	require.NoError(t, os.Rename(filepath.Join(dir, "os/new"), filepath.Join(dir, "os/image.zst")))
	resp, body = get(t, image, "Range", "bytes=4-", "If-Range", etag)
	require.Equal(t, 200, resp.StatusCode, "the image was replaced: the rest of it does not fit what was read before")
	require.Equal(t, "9876543210x", body)

	resp, _ = get(t, s.URL+"/artifacts/index.html")
	require.Equal(t, "application/octet-stream", resp.Header.Get("Content-Type"))
	for _, path := range []string{
		"/artifacts/", "/artifacts", "/artifacts/os", "/artifacts/os/", "/artifacts/.token", "/artifacts/out.efi",
		"/artifacts/../secret.efi", "/artifacts/%2e%2e/secret.efi", "/artifacts/os/..%2f..%2fsecret.efi", "/", "/x",
		"/artifacts/os%00", "/boot/", "/boot/snponly.efi", "/boot/../artifacts/os/image.zst",
	} {
		resp, _ := get(t, s.URL+path)
		require.Equal(t, 404, resp.StatusCode, path)
	}
	resp, _ = do(t, "POST", image)
	require.Equal(t, 405, resp.StatusCode)
	require.Equal(t, "GET, HEAD", resp.Header.Get("Allow"))
	resp, _ = do(t, "HEAD", s.URL+"/boot/script?serial=ABC")
	require.Equal(t, 405, resp.StatusCode, "asking the Booter for nothing would count as a boot")

	require.NoError(t, h.Flush(t.Context()))
	all := o.list()
	first := all[0]
	require.True(t, first.Complete())
	require.Equal(t, Transfer{Protocol: "http", Method: "GET", Path: "/artifacts/os/image.zst", Status: 200, Bytes: 10,
		Size: 10, Client: netip.MustParseAddr("127.0.0.1"), Start: first.Start, Duration: first.Duration}, first)
	require.Equal(t, "HEAD", all[1].Method)
	require.EqualValues(t, 0, all[1].Bytes)
	require.Equal(t, 206, all[2].Status)
	require.EqualValues(t, 6, all[2].Bytes)
	require.ErrorIs(t, all[len(all)-3].Err, fs.ErrNotExist)
}

func TestArtifactIsFoundByItsDigest(t *testing.T) {
	sum := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	dir := tree(t, map[string]string{"bootos/vmlinuz": "kernel", ".hidden": "hidden", "sha256/" + sum("initrd"): "initrd",
		"sha256/" + sum("right"): "wrong"})
	require.NoError(t, os.Symlink("bootos/vmlinuz", filepath.Join(dir, "link")))
	h := &Handler{Booter: &booter{}, Artifacts: openDir(t, dir)}
	s := serve(t, h)
	at := func(digest string) string { return s.URL + "/artifacts/sha256/" + digest }

	for _, text := range []string{"kernel", "initrd"} {
		resp, body := get(t, at(sum(text)))
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, text, body)
		require.Contains(t, resp.Header.Get("Cache-Control"), "immutable")
		require.Equal(t, `"`+sum(text)+`"`, resp.Header.Get("ETag"))
	}
	resp, body := get(t, at(sum("right")))
	require.Equal(t, 500, resp.StatusCode, "a damaged file is not served under a name that it does not deserve")
	require.NotContains(t, body, "wrong")
	require.Empty(t, resp.Header.Get("ETag"))
	for _, digest := range []string{sum("hidden"), sum("secret"), sum("nobody's"), strings.ToUpper(sum("kernel")), "x", ""} {
		resp, _ = get(t, at(digest))
		require.Equal(t, 404, resp.StatusCode, digest)
	}

	// What changes is not what it was any more, also where size and time of change say that nothing has happened.
	name := filepath.Join(dir, "bootos/vmlinuz")
	info, err := os.Stat(name)
	require.NoError(t, err)
	time.Sleep(20 * time.Millisecond) // the kernel keeps ctime by its tick
	require.NoError(t, os.WriteFile(name+".new", []byte("KERNEL"), 0o644))
	require.NoError(t, os.Rename(name+".new", name))
	require.NoError(t, os.Chtimes(name, info.ModTime(), info.ModTime()))
	resp, _ = get(t, at(sum("kernel")))
	require.Equal(t, 404, resp.StatusCode)
	resp, _ = get(t, s.URL+"/artifacts/bootos/vmlinuz")
	require.Equal(t, `"`+sum("KERNEL")+`"`, resp.Header.Get("ETag"))
	resp, body = get(t, at(sum("KERNEL")))
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, "KERNEL", body)
}

func TestLargeArtifactIsServedBeforeItsDigestIsKnown(t *testing.T) {
	dir := tree(t, nil)
	name := filepath.Join(dir, "image")
	require.NoError(t, os.WriteFile(name, nil, 0o644))
	require.NoError(t, os.Truncate(name, maxDigestNow+1))
	files := openDir(t, dir)
	s := serve(t, &Handler{Booter: &booter{}, Artifacts: files})
	resp, _ := do(t, "HEAD", s.URL+"/artifacts/image")
	plain := resp.Header.Get("ETag")
	require.Regexp(t, `^"[0-9a-f]{24}"$`, plain)
	require.Empty(t, resp.Header.Get("Repr-Digest"))

	want, err := files.Digest(t.Context(), "image")
	require.NoError(t, err)
	resp, _ = do(t, "HEAD", s.URL+"/artifacts/image")
	require.Equal(t, `"`+want+`"`, resp.Header.Get("ETag"))
	resp, body := get(t, s.URL+"/artifacts/image", "Range", "bytes=67108860-", "If-Range", plain)
	require.Equal(t, 206, resp.StatusCode, "a transfer that began with the other ETag goes on")
	require.Len(t, body, 5)
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	require.NoError(t, os.Truncate(name, maxDigestNow+2))
	_, err = files.Digest(canceled, "image")
	require.ErrorIs(t, err, context.Canceled)
	_, err = files.Digest(t.Context(), "no-such-file")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestArtifactsMayComeByHTTPS(t *testing.T) {
	dir := tree(t, map[string]string{"vmlinuz": "kernel"})
	h := &Handler{Booter: &booter{in: Kernel{Kernel: "/artifacts/vmlinuz", Initrds: []string{"/boot/x", "http://o/i"}}},
		Artifacts: openDir(t, dir), Logger: quiet()}
	secure := httptest.NewTLSServer(h)
	t.Cleanup(secure.Close)
	h.ArtifactsURL = secure.URL + "/"
	plain := serve(t, h)
	_, script := get(t, plain.URL+"/boot/script?serial=ABC")
	requireScript(t, script)
	require.Contains(t, script, "kernel --name kernel "+secure.URL+"/artifacts/vmlinuz ")
	require.Contains(t, script, "initrd --name initrd0 "+plain.URL+"/boot/x ")
	require.Contains(t, script, "initrd --name initrd1 http://o/i ")
	require.Contains(t, script, plain.URL+"/boot/ipxe", "iPXE asks in the clear: it must be able to, whatever it was built with")
	resp, err := secure.Client().Get(secure.URL + "/artifacts/vmlinuz")
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "kernel", string(body))
}

func TestMachineThatGivesUpMayBootItsDisk(t *testing.T) {
	s := serve(t, &Handler{Booter: &booter{err: errors.New("no")}, MaxAttempts: 3, DiskAfterAttempts: true})
	_, body := get(t, s.URL+"/boot/ipxe")
	requireScript(t, body)
	require.Equal(t, 3, strings.Count(body, "chain "), "first it asks as often as any other")
	require.Regexp(t, `(?s)chain .*iseq \$\{platform\} efi && exit 1 \|\|\nsanboot .*\nexit\n$`, body)
	require.NotContains(t, body, "reboot")
	for platform, want := range map[string]string{"efi": "exit 1\n", "pcbios": "exit\n"} {
		_, body = get(t, s.URL+"/boot/script?serial=ABC&try=1&platform="+platform)
		requireScript(t, body)
		require.Contains(t, body, "chain ", "it has attempts left")
		_, body = get(t, s.URL+"/boot/script?serial=ABC&try=2&platform="+platform)
		requireScript(t, body)
		require.NotContains(t, body, "chain ")
		require.True(t, strings.HasSuffix(body, want), "%s", body)
		require.Equal(t, platform == "pcbios", strings.Contains(body, "sanboot"))
	}
}

func TestMachinesThatWerePoweredOnTogetherAskAgainApart(t *testing.T) {
	seen := make(map[time.Duration]int)
	for i := range 200 {
		r := retries{max: 20, who: fmt.Sprintf("52:54:00:00:00:%02x", i)}
		require.Equal(t, r.pause(4), r.pause(4), "the same machine always waits the same")
		for attempt := range 20 {
			require.GreaterOrEqual(t, r.pause(attempt), backoff(attempt))
			require.LessOrEqual(t, r.pause(attempt), backoff(attempt)*3/2)
		}
		seen[r.pause(4)]++
	}
	require.Greater(t, len(seen), 12, "of 16 seconds")
	for pause, machines := range seen {
		require.Less(t, machines, 40, "%v", pause)
	}
}

func TestSlowBooterIsAskedAboutSoManyMachinesOnlyAndDelaysNobodyElse(t *testing.T) {
	release := make(chan struct{})
	b := &booter{in: LocalDisk{}, do: func(context.Context) { <-release }} // it does not even heed its deadline
	dir := tree(t, map[string]string{"vmlinuz": "kernel"})
	h := &Handler{Booter: b, Artifacts: openDir(t, dir), MaxDecisions: 2, BootTimeout: 300 * time.Millisecond}
	s := serve(t, h)
	var wg sync.WaitGroup
	bodies := make(chan string, 50)
	for i := range 50 {
		wg.Go(func() {
			resp, err := http.Get(fmt.Sprintf("%s/boot/script?serial=ABC%d", s.URL, i))
			if err != nil {
				bodies <- err.Error()
				return
			}
			defer resp.Body.Close()
			body, _ := io.ReadAll(resp.Body)
			bodies <- string(body)
		})
	}
	require.Eventually(t, func() bool { return h.decisions.waiting.Load() == 32 }, 10*time.Second, time.Millisecond)
	_, body := get(t, s.URL+"/artifacts/vmlinuz")
	require.Equal(t, "kernel", body, "files do not wait for the inventory")
	wg.Wait()
	for range 50 {
		require.Contains(t, <-bodies, "asking again in")
	}
	require.Len(t, b.clients(), 2, "two places are still taken by calls that do not end")
	close(release)
	require.Eventually(t, func() bool {
		_, body := get(t, s.URL+"/boot/script?serial=ABC&platform=efi")
		return strings.Contains(body, "local disk")
	}, 10*time.Second, 10*time.Millisecond)
	require.Zero(t, h.decisions.waiting.Load())
}

func TestUEFIHTTPBootFindsTheNBP(t *testing.T) {
	nbps, err := OpenNBPs(tree(t, map[string]string{"snponly.efi": "MZ...", "undionly.kpxe": "U"}))
	require.NoError(t, err)
	defer nbps.Close()
	o := &transfers{}
	h := &Handler{Booter: &booter{}, NBPs: nbps, Observe: o.observe}
	s := serve(t, h)
	resp, _ := do(t, "HEAD", s.URL+"/boot/snponly.efi")
	require.EqualValues(t, 5, resp.ContentLength, "OVMF sizes its buffer by HEAD")
	require.Equal(t, "application/efi", resp.Header.Get("Content-Type"))
	_, body := get(t, s.URL+"/boot/snponly.efi")
	require.Equal(t, "MZ...", body)
	resp, _ = get(t, s.URL+"/boot/autoexec.ipxe")
	require.Equal(t, 404, resp.StatusCode)
	require.NoError(t, h.Flush(t.Context()))
	require.False(t, o.list()[0].NBP(), "the size alone does not boot")
	require.True(t, o.list()[1].NBP())
	require.False(t, o.list()[2].NBP())
}

func TestClientThatLeavesInTheMiddleIsSeenAsAborted(t *testing.T) {
	dir := tree(t, nil)
	big, err := os.Create(filepath.Join(dir, "big"))
	require.NoError(t, err)
	require.NoError(t, big.Truncate(1<<30))
	require.NoError(t, big.Close())
	o := &transfers{}
	s := serve(t, &Handler{Booter: &booter{}, Artifacts: openDir(t, dir), Observe: o.observe})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	fmt.Fprintf(conn, "GET /artifacts/big HTTP/1.1\r\nHost: x\r\n\r\n")
	_, err = io.CopyN(io.Discard, conn, 1<<20)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	got := o.wait(t, 1)[0]
	require.True(t, got.Aborted)
	require.NoError(t, got.Err)
	require.False(t, got.Complete())
	require.Less(t, got.Bytes, got.Size)
}

func TestMachineThatLeavesWhileTheBooterThinksCancelsIt(t *testing.T) {
	canceled := make(chan struct{})
	b := &booter{do: func(ctx context.Context) { <-ctx.Done(); close(canceled) }}
	o := &transfers{}
	s := serve(t, &Handler{Booter: b, Observe: o.observe, BootTimeout: time.Hour})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	fmt.Fprintf(conn, "GET /boot/script?serial=ABC HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Eventually(t, func() bool { return len(b.clients()) == 1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, conn.Close())
	select {
	case <-canceled:
	case <-time.After(10 * time.Second):
		t.Fatal("the Booter was not told that the machine has gone")
	}
	require.ErrorIs(t, o.wait(t, 1)[0].Err, context.Canceled)
}

func TestArtifactsGoThroughSendfile(t *testing.T) {
	// net/http uses sendfile when its own writer is asked to read from an *os.File; a recorder that hid ReadFrom
	// would cost a copy of every image. This sees what reaches the writer below.
	dir := tree(t, map[string]string{"image": strings.Repeat("x", 100000)})
	h := &Handler{Booter: &booter{}, Artifacts: openDir(t, dir), Logger: quiet()}
	w := &fileWriter{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(w, httptest.NewRequest("GET", "/artifacts/image", nil))
	require.True(t, w.file, "the file itself must reach net/http")
}

type fileWriter struct {
	*httptest.ResponseRecorder
	file bool
}

func (w *fileWriter) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		_, w.file = l.R.(*os.File)
	}
	return io.Copy(w.ResponseRecorder, r)
}

func TestObserverThatHangsNeverStopsTheServer(t *testing.T) {
	release := make(chan struct{})
	seen := make(chan Transfer, 3*maxObservations)
	var log bytes.Buffer
	warnings := slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn})
	h := &Handler{Booter: &booter{}, Logger: slog.New(warnings)}
	h.Observe = func(t Transfer) { <-release; seen <- t }
	for range maxObservations + 100 {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/boot/ipxe", nil))
	}
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	require.ErrorIs(t, h.Flush(short), context.DeadlineExceeded)
	close(release)
	require.NoError(t, h.Flush(t.Context()))
	require.GreaterOrEqual(t, len(seen), maxObservations)
	require.Less(t, len(seen), maxObservations+100)
	require.Contains(t, log.String(), "transfers are missing from timelines")
	require.NoError(t, h.Flush(t.Context()))
}

func TestIntroductionSentByHTTP10ClientsHasALength(t *testing.T) {
	s := serve(t, &Handler{Booter: &booter{}})
	conn, err := net.Dial("tcp", s.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "HEAD /boot/ipxe HTTP/1.0\r\nHost: 10.0.0.1\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "HEAD"})
	require.NoError(t, err)
	require.EqualValues(t, len(introduction("http://10.0.0.1", 0, retries{max: 20, who: "127.0.0.1"})), resp.ContentLength)
}
