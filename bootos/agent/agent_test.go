package agent_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/bootos/agent"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/trust"
)

// daemon is a lodad that hands out a list of actions, each until it has a result, on an address that survives its
// restarts.
type daemon struct {
	t    *testing.T
	ca   *trust.Authority
	addr string

	mu       sync.Mutex
	server   *httptest.Server
	actions  []agentapi.Action
	results  map[string][]agentapi.Result
	progress []agentapi.Progress
	logs     []agentapi.LogLine
	requests []agentapi.SessionRequest
	polls    []string
	// refuse answers a call instead, if it returns a status.
	refuse func(r *http.Request) int
	idle   chan struct{} // closed when an agent asks and nothing is left
}

const (
	serial       = "SN-1"
	installation = "i-1"
)

func newDaemon(t *testing.T, actions ...agentapi.Action) *daemon {
	t.Helper()
	ca, err := trust.Open(t.TempDir())
	require.NoError(t, err)
	d := &daemon{t: t, ca: ca, addr: "127.0.0.1:0", actions: actions, results: map[string][]agentapi.Result{},
		idle: make(chan struct{})}
	d.start()
	t.Cleanup(d.stop)
	return d
}

func (d *daemon) start() {
	d.t.Helper()
	l, err := net.Listen("tcp", d.addr)
	require.NoError(d.t, err)
	d.addr = l.Addr().String()
	s := httptest.NewUnstartedServer(d)
	require.NoError(d.t, s.Listener.Close())
	s.Listener = tls.NewListener(l, d.ca.TLSConfig())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	d.mu.Lock()
	d.server = s
	d.mu.Unlock()
}

// stop drops all connections, as a killed process does.
func (d *daemon) stop() {
	d.mu.Lock()
	s := d.server
	d.mu.Unlock()
	s.CloseClientConnections()
	s.Close()
}

func (d *daemon) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.refuse != nil {
		if status := d.refuse(r); status != 0 {
			w.WriteHeader(status)
			return
		}
	}
	if r.URL.Path != agentapi.PathSession && r.Header.Get("Authorization") != "Bearer s3cret" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.URL.Path == agentapi.PathSession:
		var req agentapi.SessionRequest
		d.decode(body, &req)
		d.requests = append(d.requests, req)
		_ = json.NewEncoder(w).Encode(agentapi.Session{Secret: "s3cret", Installation: installation, Serial: serial,
			Name: "web-1"})
	case r.URL.Path == agentapi.PathAction:
		told := r.URL.Query().Get(agentapi.QueryTold)
		d.polls = append(d.polls, told)
		if len(d.actions) == 0 || d.actions[0].ID == told {
			select {
			case <-d.idle:
			default:
				close(d.idle)
			}
			d.mu.Unlock()
			select {
			case <-r.Context().Done():
			case <-time.After(200 * time.Millisecond):
			}
			d.mu.Lock()
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_ = json.NewEncoder(w).Encode(d.actions[0])
	case r.URL.Path == agentapi.PathLog:
		var lines []agentapi.LogLine
		d.decode(body, &lines)
		d.logs = append(d.logs, lines...)
		w.WriteHeader(http.StatusNoContent)
	case len(path) == 5 && path[4] == "progress":
		var p agentapi.Progress
		d.decode(body, &p)
		d.progress = append(d.progress, p)
		w.WriteHeader(http.StatusNoContent)
	case len(path) == 5 && path[4] == "result":
		var res agentapi.Result
		d.decode(body, &res)
		d.results[path[3]] = append(d.results[path[3]], res)
		if len(d.actions) > 0 && d.actions[0].ID == path[3] {
			d.actions = d.actions[1:]
		}
		w.WriteHeader(http.StatusNoContent)
	default:
		d.t.Errorf("call of %s", r.URL.Path)
	}
}

func (d *daemon) decode(body []byte, into any) {
	if err := json.Unmarshal(body, into); err != nil {
		d.t.Errorf("body %s: %v", body, err)
	}
}

func (d *daemon) setRefuse(f func(*http.Request) int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refuse = f
}

// result returns the only result of an action.
func (d *daemon) result(id string) agentapi.Result {
	d.t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	require.Len(d.t, d.results[id], 1, "results of %s", id)
	return d.results[id][0]
}

// fake is a machine that remembers what was done to it.
type fake struct {
	mu      sync.Mutex
	detects int
	images  []agentapi.InstallImage
	scripts []agentapi.RunScript
	clock   time.Time
	left    []string

	detect  func(context.Context) (json.RawMessage, error)
	install func(context.Context, agentapi.InstallImage, agent.Report) error
	run     func(context.Context, agentapi.RunScript, agent.Report) (*agentapi.RunScriptResult, error)
	// configure is called for RAID layouts.
	configure func(context.Context, agentapi.ConfigureRAID, agent.Report) (*agentapi.ConfigureRAIDResult, error)

	prepare error
	leave   error
}

func (f *fake) Detect(ctx context.Context) (json.RawMessage, error) {
	f.mu.Lock()
	f.detects++
	detect := f.detect
	f.mu.Unlock()
	if detect != nil {
		return detect(ctx)
	}
	return json.RawMessage(`{"version":1}`), nil
}

func (f *fake) Install(ctx context.Context, in agentapi.InstallImage, r agent.Report) (
	*agentapi.InstallImageResult, error) {
	f.mu.Lock()
	f.images = append(f.images, in)
	f.mu.Unlock()
	if f.install != nil {
		if err := f.install(ctx, in, r); err != nil {
			return nil, err
		}
	}
	return &agentapi.InstallImageResult{Device: "/dev/sda"}, nil
}

func (f *fake) ConfigureRAID(ctx context.Context, in agentapi.ConfigureRAID, r agent.Report) (
	*agentapi.ConfigureRAIDResult, error) {
	if f.configure == nil {
		return nil, errors.New("there is no controller")
	}
	return f.configure(ctx, in, r)
}

func (f *fake) RunScript(ctx context.Context, in agentapi.RunScript, r agent.Report) (
	*agentapi.RunScriptResult, error) {
	f.mu.Lock()
	f.scripts = append(f.scripts, in)
	f.mu.Unlock()
	if f.run != nil {
		return f.run(ctx, in, r)
	}
	return &agentapi.RunScriptResult{}, nil
}

func (f *fake) PrepareBoot(_ context.Context, b agentapi.Boot, _ agent.Report) (func() error, error) {
	if f.prepare != nil {
		return nil, f.prepare
	}
	return func() error {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.left = append(f.left, b.Method)
		return f.leave
	}, nil
}

func (f *fake) SetClock(t time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clock = t
	return nil
}

// screen is a console.
type screen struct {
	t     *testing.T
	mu    sync.Mutex
	lines []string
}

func (s *screen) Say(stage, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, stage+": "+text)
}

func (s *screen) Progress(stage string, f float64, text string) {
	s.Say(stage, fmt.Sprintf("%.0f%% %s", 100*f, text))
}

// shows waits for a text.
func (s *screen) shows(text string) {
	s.t.Helper()
	require.Eventually(s.t, func() bool { return strings.Contains(s.String(), text) }, 10*time.Second, 10*time.Millisecond)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "\n")
}

// boot starts an agent; wait returns how it ended.
func (d *daemon) boot(m agent.Machine, change ...func(*agent.Config)) (s *screen, wait func() error, cancel func()) {
	d.t.Helper()
	client, err := agentapi.NewClient(agentapi.ClientConfig{Servers: []string{"https://" + d.addr}, Roots: d.ca.Pool(),
		Timeout: 2 * time.Second})
	require.NoError(d.t, err)
	s = &screen{t: d.t}
	c := agent.Config{Client: client, Token: "t", Machine: m, Console: s, Version: "v1",
		Identity: agent.Identity{Serial: "sn-1 ", UUID: "u", MACs: []string{"52:54:00:00:00:01"}},
		Wait:     time.Second, MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		ProgressEvery: 10 * time.Millisecond}
	for _, f := range change {
		f(&c)
	}
	ctx, cancelCtx := context.WithTimeout(d.t.Context(), 30*time.Second)
	done := make(chan error, 1)
	go func() { done <- agent.New(c).Run(ctx) }()
	var once sync.Once
	wait = func() error {
		err := errors.New("waited for twice")
		once.Do(func() { err = <-done })
		return err
	}
	d.t.Cleanup(func() {
		cancelCtx()
		_ = wait()
	})
	return s, wait, cancelCtx
}

// finished waits until the agent has nothing left to do, and ends it.
func (d *daemon) finished(wait func() error, cancel func()) {
	d.t.Helper()
	select {
	case <-d.idle:
	case <-time.After(20 * time.Second):
		d.t.Fatal("the agent did not finish its actions")
	}
	cancel()
	require.ErrorIs(d.t, wait(), context.Canceled)
}

func detect(id string) agentapi.Action {
	return agentapi.Action{ID: id, Kind: agentapi.ActionDetect, Title: "detect"}
}

func image(id string, change ...func(*agentapi.InstallImage)) agentapi.Action {
	in := &agentapi.InstallImage{Installation: installation, Serial: serial, URL: "http://x/i", Format: "raw",
		Disk: agentapi.DiskIdentity{Serial: "D1"}}
	for _, c := range change {
		c(in)
	}
	return agentapi.Action{ID: id, Kind: agentapi.ActionInstallImage, InstallImage: in}
}

func script(id string, change ...func(*agentapi.RunScript)) agentapi.Action {
	s := &agentapi.RunScript{Installation: installation, Serial: serial, Name: "raid", Script: "true"}
	for _, c := range change {
		c(s)
	}
	return agentapi.Action{ID: id, Kind: agentapi.ActionRunScript, RunScript: s}
}

func reboot(id string) agentapi.Action {
	return agentapi.Action{ID: id, Kind: agentapi.ActionBoot, Boot: &agentapi.Boot{Method: "reboot"}}
}

func TestAMachineIsDetectedInstalledAndLeavesAfterItsResultIsKnown(t *testing.T) {
	d := newDaemon(t, detect("a1"), image("a2"), reboot("a3"))
	m := &fake{install: func(_ context.Context, _ agentapi.InstallImage, r agent.Report) error {
		r.Log("line one\nline two")
		r.Progress(agentapi.Progress{Fraction: 0.5, Text: "half", Bytes: 7})
		time.Sleep(100 * time.Millisecond)
		return nil
	}}
	s, wait, _ := d.boot(m)
	require.NoError(t, wait())
	require.Len(t, d.requests, 1)
	require.NotEmpty(t, d.requests[0].Nonce)
	d.requests[0].Nonce = ""
	require.Equal(t, []agentapi.SessionRequest{{Token: "t", Serial: "sn-1 ", UUID: "u",
		MACs: []string{"52:54:00:00:00:01"}, Version: "v1"}}, d.requests)
	require.JSONEq(t, `{"version":1}`, string(d.result("a1").Data))
	require.True(t, d.result("a2").OK)
	require.JSONEq(t, `{"device":"/dev/sda","received":0,"written":0,"resumed":0}`, string(d.result("a2").Data))
	require.True(t, d.result("a3").OK)
	require.Equal(t, []string{"reboot"}, m.left)
	require.Equal(t, []agentapi.Progress{{Fraction: 0.5, Text: "half", Bytes: 7}}, d.progress,
		"sent once: it did not change")
	require.Len(t, d.logs, 2)
	require.Equal(t, "a2 line two", d.logs[1].Action+" "+d.logs[1].Text)
	require.Contains(t, s.String(), `knows this machine as "web-1"`)
}

func TestAnImageForAnotherMachineOrInstallationIsRefusedAndNothingIsWritten(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*agentapi.InstallImage)
		says   string
	}{
		"another serial number": {func(i *agentapi.InstallImage) { i.Serial = "SN-2" },
			`"SN-2", and this one has "sn-1 "`},
		"no serial number":     {func(i *agentapi.InstallImage) { i.Serial = "" }, "serial number"},
		"another installation": {func(i *agentapi.InstallImage) { i.Installation = "i-2" }, `installation "i-2"`},
		"no installation":      {func(i *agentapi.InstallImage) { i.Installation = "" }, "installation"},
		"a disk known only by size": {func(i *agentapi.InstallImage) { i.Disk = agentapi.DiskIdentity{Bytes: 5} },
			"no identity"},
		"no disk":                    {func(i *agentapi.InstallImage) { i.Disk = agentapi.DiskIdentity{} }, "no identity"},
		"blanks for a serial number": {func(i *agentapi.InstallImage) { i.Serial = "  " }, "serial number"},
	} {
		t.Run(name, func(t *testing.T) {
			d, m := newDaemon(t, image("a1", tc.change)), &fake{}
			_, wait, cancel := d.boot(m)
			d.finished(wait, cancel)
			r := d.result("a1")
			require.False(t, r.OK)
			require.False(t, r.Retryable)
			require.Contains(t, r.Error, "refused, nothing was written")
			require.Contains(t, r.Error, tc.says)
			require.Empty(t, m.images)
		})
	}
}

func TestAScriptForAnotherMachineOrInstallationIsNotRun(t *testing.T) {
	for says, change := range map[string]func(*agentapi.RunScript){
		`"SN-2", and this one has "sn-1 "`: func(s *agentapi.RunScript) { s.Serial = "SN-2" },
		"serial number":                    func(s *agentapi.RunScript) { s.Serial = "" },
		`installation "i-2"`:               func(s *agentapi.RunScript) { s.Installation = "i-2" },
		`installation ""`:                  func(s *agentapi.RunScript) { s.Installation = "" },
	} {
		d, m := newDaemon(t, script("a1", change)), &fake{}
		_, wait, cancel := d.boot(m)
		d.finished(wait, cancel)
		require.Contains(t, d.result("a1").Error, "refused")
		require.Contains(t, d.result("a1").Error, says)
		require.Empty(t, d.result("a1").Data)
		require.Empty(t, m.scripts)
	}
}

func TestARAIDLayoutForAnotherMachineIsNotMade(t *testing.T) {
	layout := func(id, serial, installation string) agentapi.Action {
		return agentapi.Action{ID: id, Kind: agentapi.ActionConfigureRAID, ConfigureRAID: &agentapi.ConfigureRAID{Serial: serial,
			Installation: installation}}
	}
	d := newDaemon(t, layout("a1", "SN-2", installation), layout("a2", serial, "i-2"), layout("a3", serial, installation),
		agentapi.Action{ID: "a4", Kind: agentapi.ActionConfigureRAID})
	made := 0
	m := &fake{configure: func(context.Context, agentapi.ConfigureRAID, agent.Report) (*agentapi.ConfigureRAIDResult, error) {
		made++
		return &agentapi.ConfigureRAIDResult{Impossible: "no drives"}, nil
	}}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Equal(t, 1, made)
	require.Contains(t, d.result("a1").Error, `the RAID layout is for the machine with serial number "SN-2"`)
	require.Contains(t, d.result("a2").Error, `the RAID layout is for installation "i-2"`)
	require.True(t, d.result("a3").OK)
	require.Contains(t, string(d.result("a3").Data), "no drives")
	require.Contains(t, d.result("a4").Error, "has no layout")
}

func TestAScriptsResultIsKnownAlsoWhenItFailed(t *testing.T) {
	d := newDaemon(t, script("a1"), script("a2"), script("a1"), agentapi.Action{ID: "a3", Kind: agentapi.ActionRunScript})
	m := &fake{}
	m.run = func(_ context.Context, _ agentapi.RunScript, r agent.Report) (*agentapi.RunScriptResult, error) {
		r.Log("raid: a line")
		if len(m.scripts) == 1 {
			return &agentapi.RunScriptResult{Lines: 1}, nil
		}
		return &agentapi.RunScriptResult{ExitCode: 3, Lines: 1}, errors.New("ended with exit code 3")
	}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Len(t, d.results["a1"], 2, "the second time from memory")
	require.True(t, d.results["a1"][0].OK)
	require.JSONEq(t, `{"exit_code":0,"seconds":0,"lines":1,"dropped_lines":0}`, string(d.results["a1"][0].Data))
	require.False(t, d.result("a2").OK)
	require.Equal(t, "ended with exit code 3", d.result("a2").Error)
	require.JSONEq(t, `{"exit_code":3,"seconds":0,"lines":1,"dropped_lines":0}`, string(d.result("a2").Data))
	require.Contains(t, d.result("a3").Error, "has no script")
	require.Len(t, m.scripts, 2)
	require.Equal(t, "a1 raid: a line", d.logs[0].Action+" "+d.logs[0].Text)
}

func TestNoCallWithLogLinesIsLargerThanAServerTakes(t *testing.T) {
	d := newDaemon(t, script("a1"))
	var largest int64
	d.refuse = func(r *http.Request) int {
		if r.URL.Path == agentapi.PathLog {
			largest = max(largest, r.ContentLength)
		}
		return 0
	}
	m := &fake{run: func(_ context.Context, _ agentapi.RunScript, r agent.Report) (*agentapi.RunScriptResult, error) {
		for range 400 {
			r.Log(strings.Repeat("<", 4096)) // six bytes each in JSON
		}
		return nil, nil
	}}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Len(t, d.logs, 400)
	require.Less(t, largest, int64(1<<20))
}

func TestAMachineWithoutASerialNumberIsNeverWrittenTo(t *testing.T) {
	d, m := newDaemon(t, image("a1", func(i *agentapi.InstallImage) { i.Serial = "" })), &fake{}
	_, wait, cancel := d.boot(m, func(c *agent.Config) { c.Identity.Serial = "" })
	d.finished(wait, cancel)
	require.False(t, d.result("a1").OK)
	require.Empty(t, m.images)
}

func TestAServerUnderAnotherAuthorityGetsNothing(t *testing.T) {
	d := newDaemon(t, image("a1"))
	other, err := trust.Open(t.TempDir())
	require.NoError(t, err)
	m := &fake{}
	s, wait, cancel := d.boot(m, func(c *agent.Config) {
		c.Client, err = agentapi.NewClient(agentapi.ClientConfig{Servers: []string{"https://" + d.addr}, Roots: other.Pool()})
		require.NoError(t, err)
	})
	s.shows("unknown authority")
	cancel()
	require.ErrorIs(t, wait(), context.Canceled)
	require.Empty(t, d.requests)
	require.Empty(t, m.images)
	require.Zero(t, m.clock)
}

func TestARefusedTokenEndsTheAgent(t *testing.T) {
	d := newDaemon(t, detect("a1"))
	d.refuse = func(*http.Request) int { return http.StatusForbidden }
	_, wait, _ := d.boot(&fake{})
	require.ErrorIs(t, wait(), agentapi.ErrTokenRefused)
}

func TestALostSessionEndsTheAgent(t *testing.T) {
	d := newDaemon(t)
	_, wait, _ := d.boot(&fake{})
	<-d.idle
	d.setRefuse(func(*http.Request) int { return http.StatusUnauthorized })
	require.ErrorIs(t, wait(), agentapi.ErrSessionLost)
}

func TestASessionThatIsLostWhileAnImageIsWrittenStopsTheWriting(t *testing.T) {
	d := newDaemon(t, image("a1"))
	writing := make(chan struct{})
	m := &fake{install: func(ctx context.Context, _ agentapi.InstallImage, r agent.Report) error {
		close(writing)
		for i := 0; ctx.Err() == nil; i++ {
			r.Progress(agentapi.Progress{Bytes: int64(i)})
			time.Sleep(5 * time.Millisecond)
		}
		return ctx.Err()
	}}
	_, wait, _ := d.boot(m)
	<-writing
	d.setRefuse(func(*http.Request) int { return http.StatusUnauthorized })
	require.ErrorIs(t, wait(), agentapi.ErrSessionLost)
}

func TestACanceledActionIsStoppedAndTheAgentGoesOn(t *testing.T) {
	d := newDaemon(t, image("a1"), detect("a2"))
	m := &fake{install: func(ctx context.Context, _ agentapi.InstallImage, r agent.Report) error {
		r.Progress(agentapi.Progress{Text: "x"})
		<-ctx.Done()
		return ctx.Err()
	}}
	d.refuse = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/progress") {
			return http.StatusConflict
		}
		return 0
	}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Contains(t, d.result("a1").Error, "stopped by the server")
	require.True(t, d.result("a2").OK)
}

func TestAServerThatRestartsInTheMiddleGetsTheResult(t *testing.T) {
	d := newDaemon(t, image("a1"))
	m := &fake{install: func(context.Context, agentapi.InstallImage, agent.Report) error {
		d.stop()
		return nil
	}}
	s, wait, cancel := d.boot(m)
	s.shows("trying again")
	d.start()
	d.finished(wait, cancel)
	require.True(t, d.result("a1").OK)
	require.Len(t, m.images, 1, "written once")
	require.Contains(t, s.String(), "answers again")
}

func TestAResultWhoseReceiptWasLostIsSentAgain(t *testing.T) {
	d := newDaemon(t, detect("a1"))
	lost := 0
	d.refuse = func(r *http.Request) int {
		if strings.HasSuffix(r.URL.Path, "/result") && lost < 3 {
			lost++
			return http.StatusServiceUnavailable
		}
		return 0
	}
	m := &fake{}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.True(t, d.result("a1").OK)
	require.Equal(t, 1, m.detects)
}

func TestTheSameActionIsDoneOnceAndAnsweredTwice(t *testing.T) {
	d := newDaemon(t, image("a1"), image("a1"))
	m := &fake{}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Len(t, m.images, 1)
	require.Len(t, d.results["a1"], 2)
	require.Equal(t, d.results["a1"][0], d.results["a1"][1])
}

func TestTheSameActionWithAnotherSeedIsDoneAgain(t *testing.T) {
	secret := func(s string) func(*agentapi.InstallImage) {
		return func(i *agentapi.InstallImage) { i.Seed = map[string]string{"loda.json": s} }
	}
	d := newDaemon(t, image("a1", secret("one")), image("a1", secret("two")))
	m := &fake{}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Len(t, m.images, 2, "a disk with the first secret could not report its first boot")
}

func TestAWaitIsShownOnceAndToldToTheServer(t *testing.T) {
	d := newDaemon(t, agentapi.Action{ID: "w1", Kind: agentapi.ActionWait,
		Wait: &agentapi.Wait{State: "quarantined", Reason: "a DIMM is missing"}})
	s, wait, cancel := d.boot(&fake{})
	d.finished(wait, cancel)
	require.Equal(t, 1, strings.Count(s.String(), "waiting: quarantined: a DIMM is missing"))
	require.Equal(t, []string{"", "w1"}, d.polls[:2])
	require.Empty(t, d.results)
}

func TestAServerThatRepeatsAWaitIsNotFlooded(t *testing.T) {
	d := newDaemon(t, agentapi.Action{ID: "w1", Kind: agentapi.ActionWait, Wait: &agentapi.Wait{State: "held"}})
	d.refuse = func(r *http.Request) int {
		r.URL.RawQuery = "" // a server that knows nothing of what was told
		return 0
	}
	s, wait, cancel := d.boot(&fake{}, func(c *agent.Config) {
		c.MinBackoff, c.MaxBackoff = 50*time.Millisecond, time.Second
	})
	time.Sleep(time.Second)
	cancel()
	require.ErrorIs(t, wait(), context.Canceled)
	require.Equal(t, 1, strings.Count(s.String(), "waiting"))
	require.LessOrEqual(t, len(d.polls), 6)
}

func TestAfterAWaitTheMachineGoesOn(t *testing.T) {
	d := newDaemon(t, agentapi.Action{ID: "w1", Kind: agentapi.ActionWait,
		Wait: &agentapi.Wait{State: "failed", Reason: "x"}})
	_, wait, cancel := d.boot(&fake{})
	<-d.idle
	d.mu.Lock()
	d.actions, d.idle = []agentapi.Action{detect("a1")}, make(chan struct{})
	d.mu.Unlock()
	d.finished(wait, cancel)
	require.True(t, d.result("a1").OK)
}

func TestAServerThatDoesNotWaitIsNotFlooded(t *testing.T) {
	d := newDaemon(t)
	polls := 0
	d.refuse = func(r *http.Request) int {
		if r.URL.Path == agentapi.PathAction {
			polls++
			return http.StatusNoContent
		}
		return 0
	}
	_, wait, cancel := d.boot(&fake{}, func(c *agent.Config) { c.MinBackoff = 100 * time.Millisecond })
	time.Sleep(time.Second)
	cancel()
	require.ErrorIs(t, wait(), context.Canceled)
	require.LessOrEqual(t, polls, 11)
	require.Greater(t, polls, 2)
}

func TestAPanicIsAFailedActionWithItsStackInTheTimeline(t *testing.T) {
	d := newDaemon(t, detect("a1"), detect("a2"))
	m := &fake{}
	m.detect = func(context.Context) (json.RawMessage, error) {
		if m.detects == 1 {
			panic("a disk of -1 bytes")
		}
		return nil, nil
	}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Equal(t, "the agent panicked: a disk of -1 bytes", d.result("a1").Error)
	require.True(t, d.result("a1").Retryable)
	require.True(t, d.result("a2").OK)
	require.Contains(t, d.logs[0].Text, "panic: a disk of -1 bytes")
}

type broken struct{ error }

func (broken) Retryable() bool { return true }

func TestWhetherTryingAgainHelpsIsTheErrorsToSay(t *testing.T) {
	d := newDaemon(t, image("a1"), image("a2"))
	m := &fake{}
	m.install = func(context.Context, agentapi.InstallImage, agent.Report) error {
		if len(m.images) == 1 {
			return fmt.Errorf("disk: %w", broken{errors.New("connection reset")})
		}
		return errors.New("wrong digest")
	}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.True(t, d.result("a1").Retryable)
	require.Equal(t, "disk: connection reset", d.result("a1").Error)
	require.False(t, d.result("a2").Retryable)
}

func TestAKernelThatCannotBeLoadedIsAFailureAndTheMachineStays(t *testing.T) {
	d := newDaemon(t, reboot("a1"))
	m := &fake{prepare: errors.New("no kernel on the disk")}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Equal(t, "no kernel on the disk", d.result("a1").Error)
	require.Empty(t, m.left)
}

func TestAMachineThatCannotLeaveSaysSo(t *testing.T) {
	d := newDaemon(t, reboot("a1"))
	_, wait, _ := d.boot(&fake{leave: errors.New("not permitted")})
	require.ErrorContains(t, wait(), "reboot: not permitted")
	require.True(t, d.result("a1").OK)
}

func TestAnActionOfANewerServerIsAFailureThatSaysWhatToDo(t *testing.T) {
	d := newDaemon(t, agentapi.Action{ID: "a1", Kind: "update-firmware"},
		agentapi.Action{ID: "a2", Kind: agentapi.ActionBoot},
		agentapi.Action{ID: "a3", Kind: agentapi.ActionInstallImage})
	_, wait, cancel := d.boot(&fake{})
	d.finished(wait, cancel)
	require.Contains(t, d.result("a1").Error, `cannot do "update-firmware": rebuild it`)
	require.False(t, d.result("a2").OK)
	require.False(t, d.result("a3").OK)
}

func TestAWrongClockIsSetToTheServers(t *testing.T) {
	d := newDaemon(t, detect("a1"))
	year2000 := func(c *agent.Config) {
		start, m := time.Now(), c.Machine.(*fake)
		now := func() time.Time {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.clock.IsZero() {
				return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(time.Since(start))
			}
			return m.clock
		}
		client, err := agentapi.NewClient(agentapi.ClientConfig{Servers: []string{"https://" + d.addr}, Roots: d.ca.Pool(),
			Now: now})
		require.NoError(t, err)
		c.Client = client
	}
	m := &fake{}
	s, wait, cancel := d.boot(m, year2000)
	d.finished(wait, cancel)
	require.WithinDuration(t, time.Now(), m.clock, time.Minute)
	require.Contains(t, s.String(), "clock is wrong")
	require.Len(t, d.requests, 1, "the token was spent once")
}

func TestLogLinesSurviveAnAbsenceOfTheServerUpToABound(t *testing.T) {
	d := newDaemon(t, image("a1"))
	m := &fake{install: func(_ context.Context, _ agentapi.InstallImage, r agent.Report) error {
		for i := range 2500 {
			r.Log(fmt.Sprintf("line %d", i))
		}
		return nil
	}}
	_, wait, cancel := d.boot(m)
	d.finished(wait, cancel)
	require.Len(t, d.logs, 2001)
	require.Contains(t, d.logs[0].Text, "500 lines were lost here")
	require.Equal(t, "line 500", d.logs[1].Text)
	require.Equal(t, "line 2499", d.logs[2000].Text)
}

func TestWhatHappenedBeforeTheSessionIsInTheTimelineAtItsTime(t *testing.T) {
	d := newDaemon(t, detect("a1"))
	_, wait, cancel := d.boot(&fake{}, func(c *agent.Config) {
		c.Earlier = func(each func(time.Duration, string)) { each(time.Hour, "drivers: one failed") }
	})
	d.finished(wait, cancel)
	require.Len(t, d.logs, 1)
	require.Equal(t, "drivers: one failed", d.logs[0].Text)
	require.WithinDuration(t, time.Now().Add(-time.Hour), d.logs[0].Time, time.Minute)
}
