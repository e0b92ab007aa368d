package site_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/memory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/apiserver"
	"github.com/project-loda/loda/loda/gitprofiles"
	"github.com/project-loda/loda/loda/gitsource"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
	"github.com/project-loda/loda/loda/site"
)

// origin is a git repository that a team pushes to.
type origin struct {
	*gitsourcetest.Origin
	t   *testing.T
	log log
}

func newOrigin(t *testing.T, files map[string]string) *origin {
	return &origin{Origin: gitsourcetest.New(t, files), t: t}
}

// follow makes a site's configuration take its profiles from the repository.
func (o *origin) follow(c *site.Config) *gitprofiles.Profiles {
	o.t.Helper()
	source, err := gitsource.Open(gitsource.Config{URL: o.Dir, Dir: filepath.Join(string(c.Dir), "repository"),
		Check: gitprofiles.Check, Poll: time.Hour, Logger: slog.New(slog.NewTextHandler(&o.log, nil))})
	require.NoError(o.t, err)
	o.t.Cleanup(func() { require.NoError(o.t, source.Close()) })
	_, err = source.Sync(o.t.Context())
	require.NoError(o.t, err)
	p := gitprofiles.New(source, "default")
	c.Profiles, c.Repository = nil, p
	return p
}

// client has an admin's token, and comes through the socket.
func (r *running) client() *api.Client {
	r.t.Helper()
	token, secret := apiserver.MakeToken(api.TokenRequest{Name: "test", Role: api.Admin}, time.Now())
	require.NoError(r.t, r.config.Store.CreateToken(r.t.Context(), token))
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", r.config.Socket)
	}}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &api.Client{URL: "http://lodad", Token: secret, HTTP: &http.Client{Transport: transport, Timeout: 10 * time.Second}}
}

func (r *running) metrics(c *api.Client) string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, c.URL+"/metrics", nil)
	require.NoError(r.t, err)
	req.Header.Set("Authorization", "Bearer "+c.Token)
	resp, err := c.HTTP.Do(req)
	require.NoError(r.t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(r.t, err)
	return string(text)
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

var debianRepo = map[string]string{
	"profiles/lab.yaml": "description: the test's machines\nmatch: {product: Lab*}\nos: debian\nsteps:\n- {name: hello, script: scripts/hello.sh, timeout: 1m}\n",
	"os/debian.yaml":    "kind: image\nimage: debian-12\nsha256: " + strings.Repeat("ab", 32) + "\n",
	"scripts/hello.sh":  "echo version 1\n",
}

// machine is one of several that are installed at the same time.
type machine struct {
	serial inventory.Serial
	mac    inventory.MAC
	agent  *agentapi.Client
	step   *agentapi.Action
}

func (m *machine) facts(t *testing.T, product string) agentapi.Result {
	t.Helper()
	no := false
	doc, err := json.Marshal(hw.Facts{Version: 1, System: hw.System{Serial: string(m.serial), Product: product}, Disks: []hw.Disk{{Name: "vda",
		Kind: hw.PhysicalDisk, Serial: "D-" + string(m.serial), Path: "pci-0000:00:04.0", Bytes: 4 << 30, Removable: &no, ReadOnly: &no}}})
	require.NoError(t, err)
	return agentapi.Result{OK: true, Seconds: 1, Data: doc}
}

func TestAPushThatBreaksAProfileDisturbsNoInstallation(t *testing.T) {
	o := newOrigin(t, debianRepo)
	c := configure(t, furnish(t), memory.New())
	profiles := o.follow(&c)
	r := start(t, c)
	first := profiles.Source().Status().Commit.Hash
	require.Contains(t, r.metrics(r.client()), `loda_repository_refused{site="test"} 0`)

	var machines []*machine
	list := "serial\n"
	for i := range 10 {
		m := &machine{serial: inventory.Serial(fmt.Sprintf("SN-%04d", i)), mac: inventory.MAC(fmt.Sprintf("52:54:00:00:01:%02x", i))}
		machines, list = append(machines, m), list+string(m.serial)+"\n"
	}
	r.load(list)
	for _, m := range machines {
		m.agent = r.agent(r.Authority().Pool())
		_, err := m.agent.Exchange(t.Context(), agentapi.SessionRequest{Token: r.netboot(m.serial, m.mac), Serial: string(m.serial), MACs: []string{string(m.mac)}})
		require.NoError(t, err)
	}
	for _, m := range machines[:5] { // half of them are at work when the push comes, the others have not been compared yet
		require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionDetect).ID, m.facts(t, "Lab Server")))
		m.step = next(t, m.agent, agentapi.ActionRunScript)
	}

	bad := o.Push(map[string]string{"profiles/lab.yaml": "match: {product: Lab*}\nos: debian\nsteps:\n- {name: hello, scrpt: scripts/hello.sh}\n",
		"scripts/hello.sh": "echo version 2\n"})
	status, err := profiles.Source().Sync(t.Context())
	require.NoError(t, err)
	require.Equal(t, first, status.Commit.Hash, "the last good commit stays in use")
	require.Equal(t, bad, status.Refused.Commit.Hash)
	require.Contains(t, strings.Join(status.Refused.Errors, "\n"), "profiles/lab.yaml:4:17: steps[0].scrpt: unknown key; did you mean script?")
	require.Contains(t, o.log.String(), bad)
	client := r.client()
	seen, err := client.Repository(t.Context())
	require.NoError(t, err)
	require.Equal(t, bad, seen.Refused.Hash)
	require.Equal(t, status.Refused.Errors, seen.Refused.Errors)
	require.Contains(t, r.metrics(client), `loda_repository_refused{site="test"} 1`)

	for _, m := range machines[5:] {
		require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionDetect).ID, m.facts(t, "Lab Server")))
		m.step = next(t, m.agent, agentapi.ActionRunScript)
	}
	good := o.Push(map[string]string{"profiles/lab.yaml": debianRepo["profiles/lab.yaml"]})
	status, err = profiles.Source().Sync(t.Context())
	require.NoError(t, err)
	require.Equal(t, good, status.Commit.Hash)
	require.Nil(t, status.Refused)
	require.NoError(t, profiles.KeepPinned(t.Context(), c.Store))

	for _, m := range machines {
		require.Equal(t, "echo version 1\n", m.step.RunScript.Script)
		require.NoError(t, m.agent.Result(t.Context(), m.step.ID, agentapi.Result{OK: true}))
		write := next(t, m.agent, agentapi.ActionInstallImage)
		require.NoError(t, m.agent.Result(t.Context(), write.ID, agentapi.Result{OK: true}))
		require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionBoot).ID, agentapi.Result{OK: true}))
		require.Equal(t, http.StatusNoContent, callBack(t, write))
		page, err := c.Store.Installations(t.Context(), inventory.InstallationFilter{Serial: m.serial})
		require.NoError(t, err)
		require.Equal(t, inventory.Installed, page[0].State)
		require.Contains(t, string(page[0].Plan), `"revision":"`+first+`"`)
	}
}

func TestAGitServerThatIsAwayDisturbsNothing(t *testing.T) {
	o := newOrigin(t, debianRepo)
	c := configure(t, furnish(t), memory.New())
	o.follow(&c)
	require.NoError(t, os.Rename(o.Dir, o.Dir+"-gone"))
	t.Cleanup(func() { _ = os.RemoveAll(o.Dir + "-gone") })
	r := start(t, c)
	m := &machine{serial: serial, mac: mac, agent: r.agent(r.Authority().Pool())}
	r.load("serial\nSN-0001\n")
	exchange(t, m.agent, r.netboot(serial, mac))
	require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionDetect).ID, m.facts(t, "Lab Server")))
	next(t, m.agent, agentapi.ActionRunScript)
	status, err := c.Repository.Source().Sync(t.Context())
	require.Error(t, err)
	require.NotEmpty(t, status.LastError)
	require.NotNil(t, status.Commit)
}

var installerRepo = map[string]string{
	"profiles/lab.yaml": "match: {product: Lab*}\nos: installer\n",
	"os/installer.yaml": "kind: installer\ninstaller: preseed\nkernel: {path: d-i/linux, sha256: " + digest("a kernel") + "}\n" +
		"initrds: [{path: d-i/initrd.gz, sha256: " + digest("an initrd") + "}]\nargs: auto=true url={{ .boot.answers }}/preseed.cfg\n" +
		"answers: {preseed.cfg: templates/preseed.tmpl}\n",
	"templates/preseed.tmpl": "host {{ .machine.hostname }}\ndisk {{ .disk.by_path }}\npassword {{ .vars.root_password }}\nreport {{ .boot.report }}\n",
	"vars/all.yaml":          "root_password: {type: secret, description: of the installed system}\n",
}

type secrets map[string]string

func (s secrets) Secret(name string) (string, bool) { v, ok := s[name]; return v, ok }

func TestADistributionsInstallerIsServedOverPlainHTTP(t *testing.T) {
	o := newOrigin(t, installerRepo)
	c := configure(t, furnish(t), memory.New())
	c.Secrets = secrets{"root_password": "s3cret"}
	for name, text := range map[string]string{"linux": "a kernel", "initrd.gz": "an initrd"} {
		path := filepath.Join(c.Dir.Artifacts(), "d-i", name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	}
	o.follow(&c)
	r := start(t, c)
	m := &machine{serial: serial, mac: mac, agent: r.agent(r.Authority().Pool())}
	r.load("serial\nSN-0001\n")
	exchange(t, m.agent, r.netboot(serial, mac))
	require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionDetect).ID, m.facts(t, "Lab Server")))
	require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionBoot).ID, agentapi.Result{OK: true}))

	q := url.Values{"serial": {string(serial)}, "mac": {string(mac)}, "platform": {"pcbios"}}
	_, script := r.get("/boot/script?" + q.Encode())
	require.Contains(t, script, "http://"+r.config.Boot+"/artifacts/d-i/linux")
	found := regexp.MustCompile(`url=http://` + regexp.QuoteMeta(r.config.Boot) + `(/installer/(\S+)/answers)/preseed\.cfg`).FindStringSubmatch(script)
	require.NotNil(t, found, script)
	answers, token := found[1], found[2]
	_, text := r.get("/artifacts/d-i/initrd.gz")
	require.Equal(t, "an initrd", text)

	status, text := r.get(answers + "/preseed.cfg")
	require.Equal(t, http.StatusOK, status, text)
	reportURL := "http://" + r.config.Boot + "/installer/" + token + "/report"
	require.Equal(t, "host sn-0001\ndisk /dev/disk/by-path/pci-0000:00:04.0\npassword s3cret\nreport "+reportURL+"\n", text)
	status, _ = r.get(answers + "/vendor-data")
	require.Equal(t, http.StatusNotFound, status)
	status, _ = r.get("/installer/nonsense/answers/preseed.cfg")
	require.Equal(t, http.StatusForbidden, status)
	status, _ = r.get("/installer/" + token + "/report/nonsense")
	require.Equal(t, http.StatusForbidden, status)

	status, _ = r.get("/installer/" + token + "/report/stage?name=early_command")
	require.Equal(t, http.StatusOK, status)
	r.timeline(inventory.KindAction, "installer at 127.0.0.1: early_command")
	resp, err := http.Post(reportURL+"/log", "text/plain", strings.NewReader("one line\nanother"))
	require.NoError(t, err)
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	r.timeline(inventory.KindLog, "another")
	status, _ = r.get("/installer/" + token + "/report/done")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, inventory.Finishing, r.state())
	_, script = r.get("/boot/script?" + q.Encode())
	require.NotContains(t, script, "/artifacts/", "it boots its disk from now on")
	status, _ = r.get("/installer/" + token + "/report/installed")
	require.Equal(t, http.StatusOK, status)
	require.Equal(t, inventory.Installed, r.state())
	require.NotContains(t, r.log.String(), token, "no secret in the log")
	require.NotContains(t, r.log.String(), "s3cret")
}

func TestAMachineThatNoProfileMatchesStandsInQuarantineUntilOneDoes(t *testing.T) {
	o := newOrigin(t, debianRepo)
	c := configure(t, furnish(t), memory.New())
	profiles := o.follow(&c)
	r := start(t, c)
	m := &machine{serial: serial, mac: mac, agent: r.agent(r.Authority().Pool())}
	r.load("serial\nSN-0001\n")
	exchange(t, m.agent, r.netboot(serial, mac))
	require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionDetect).ID, m.facts(t, "Other Server")))
	require.Equal(t, inventory.Quarantined, r.state())
	wait := next(t, m.agent, agentapi.ActionWait)
	require.Contains(t, wait.Wait.Reason, "no profile is for machine SN-0001")
	_, err := r.Installer().Release(t.Context(), serial, "never mind", "test")
	require.ErrorContains(t, err, "nothing to release it to")
	record, err := c.Store.Machine(t.Context(), serial)
	require.NoError(t, err)
	require.NotEmpty(t, record.Facts, "so that a profile can be made from it")

	o.Push(map[string]string{"profiles/other.yaml": "match: {product: Other*}\nos: debian\n"})
	_, err = profiles.Source().Sync(t.Context())
	require.NoError(t, err)
	m.agent = r.agent(r.Authority().Pool())
	exchange(t, m.agent, r.netboot(serial, mac))
	require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionDetect).ID, m.facts(t, "Other Server")))
	next(t, m.agent, agentapi.ActionInstallImage)
	require.Equal(t, inventory.Installing, r.state())
}

func TestWhatARepositoryLacksIsSaidToTheOperator(t *testing.T) {
	o := newOrigin(t, debianRepo)
	c := configure(t, furnish(t), memory.New())
	source, err := gitsource.Open(gitsource.Config{URL: o.Dir + "-nowhere", Dir: c.Dir.Repository(), Check: gitprofiles.Check,
		Poll: time.Hour, Logger: slog.New(slog.NewTextHandler(&o.log, nil))})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	c.Profiles, c.Repository = nil, gitprofiles.New(source, "default")
	r := start(t, c)
	client := r.client()
	_, err = client.Import(t.Context(), strings.NewReader("serial\nSN-0001\n"), false, true)
	require.ErrorContains(t, err, "no commit of the config repository is in use yet")
	var problem *api.Problem
	require.ErrorAs(t, err, &problem)
	require.Equal(t, http.StatusServiceUnavailable, problem.Status)
}

func TestARenderingNamesWhatIsWrongWithIt(t *testing.T) {
	files := map[string]string{"vars/all.yaml": "room: {type: string, description: where the rack stands}\n",
		"profiles/lab.yaml":  "match: {product: Lab*}\nos: debian\nsteps:\n- {name: hello, script: scripts/hello.sh, timeout: 1m, env: {ROOM: '{{ .vars.room }}'}}\n",
		"sites/default.yaml": "description: the test\nvars: {room: '1'}\n"}
	for name, text := range debianRepo {
		if _, ok := files[name]; !ok {
			files[name] = text
		}
	}
	o := newOrigin(t, files)
	c := configure(t, furnish(t), memory.New())
	o.follow(&c)
	r := start(t, c)
	client := r.client()
	_, err := client.Import(t.Context(), strings.NewReader("serial,labels\nSN-0001,room=\x1b\n"), false, false)
	require.Error(t, err)
	r.load("serial\nSN-0001\n")
	_, err = client.Render(t.Context(), "SN-0001", "")
	require.ErrorContains(t, err, "its hardware is not known yet")
	m := &machine{serial: serial, mac: mac, agent: r.agent(r.Authority().Pool())}
	exchange(t, m.agent, r.netboot(serial, mac))
	require.NoError(t, m.agent.Result(t.Context(), next(t, m.agent, agentapi.ActionDetect).ID, m.facts(t, "Lab Server")))
	rendering, err := client.Render(t.Context(), "SN-0001", "")
	require.NoError(t, err)
	require.Equal(t, "lab", rendering.Profile)
	_, err = client.Render(t.Context(), "SN-0001", strings.Repeat("0", 40))
	require.ErrorContains(t, err, "not in the local copy")
	require.True(t, api.IsNotFound(err))
	_, err = client.Render(t.Context(), "SN-0002", "")
	require.True(t, api.IsNotFound(err))
}

func TestAnArtifactThatIsMissingIsSaidToWhoAsksForTheInstallation(t *testing.T) {
	o := newOrigin(t, installerRepo)
	c := configure(t, furnish(t), memory.New())
	o.follow(&c)
	r := start(t, c)
	r.load("serial\nSN-0001\n")
	_, err := r.Installer().Cancel(t.Context(), serial, "", "test")
	require.NoError(t, err)
	_, err = r.client().Install(t.Context(), string(serial), api.InstallRequest{Profile: "lab"})
	require.ErrorContains(t, err, "artifact d-i/linux: it is not there; put it into "+c.Dir.Artifacts())
	_, err = r.client().Import(t.Context(), strings.NewReader("serial,profile\nSN-0002,lab\n"), true, true)
	require.ErrorContains(t, err, "it is not there; put it into")
}
