// Package agent is the machine's side of an installation: it exchanges the boot token, asks for actions, does them on
// the [Machine] that it is given, and reports. It knows nothing of mounts, drivers or kernels, and runs on any machine;
// the RAM disk's init program gives it a real one.
//
//	a := agent.New(agent.Config{Client: client, Token: token, Identity: who, Machine: machine})
//	err := a.Run(ctx) // until the machine leaves, or the server does not want it any more
//
// # What it promises
//
// An action is done once and its result is sent until the server has it, over restarts and absences of the server of
// any length. An action that comes again after it was done is answered from memory. An image is written, a RAID layout
// is made, and a script is run, only for the serial number that the firmware has and for the installation that the
// session is for. A panic in an action is a failed action.
package agent

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/project-loda/loda/loda/agentapi"
)

// Machine is what the agent acts on.
type Machine interface {
	// Detect reads the hardware and returns a facts document of package hw.
	Detect(ctx context.Context) (json.RawMessage, error)
	// Install writes an image. Serial number and installation were checked; that the disk is the right one was not.
	Install(ctx context.Context, in agentapi.InstallImage, report Report) (*agentapi.InstallImageResult, error)
	// RunScript runs a script of the profile to its end. Serial number and installation were checked. The result may come
	// together with an error.
	RunScript(ctx context.Context, in agentapi.RunScript, report Report) (*agentapi.RunScriptResult, error)
	// ConfigureRAID reads the RAID controllers and does what was approved. Serial number and installation were checked. The
	// result may come together with an error.
	ConfigureRAID(ctx context.Context, in agentapi.ConfigureRAID, report Report) (*agentapi.ConfigureRAIDResult, error)
	// PrepareBoot does all of leaving that can fail, such as loading a kernel, and returns what does the rest. That is
	// called after the server has the result, and normally does not return.
	PrepareBoot(ctx context.Context, b agentapi.Boot, report Report) (leave func() error, err error)
	// SetClock sets the machine's clock.
	SetClock(t time.Time) error
}

// Report is how an action tells how far it is.
type Report interface {
	// Progress may be called as often as one likes; the server gets about one a second.
	Progress(p agentapi.Progress)
	// Log adds a line to the timeline.
	Log(text string)
}

// Console is what people in front of the machine see.
type Console interface {
	// Say shows one event of a stage.
	Say(stage, text string)
	// Progress shows how far a stage is, if it is worth showing.
	Progress(stage string, fraction float64, text string)
}

// Identity is what the firmware says that this machine is.
type Identity struct {
	Serial string
	UUID   string
	MACs   []string
}

// Config is what an agent needs. Client, Token, Identity and Machine are required.
type Config struct {
	Client   *agentapi.Client
	Token    string
	Identity Identity
	Machine  Machine
	// Console may be nil.
	Console Console
	// Version of the agent, and Uptime of the machine's kernel, are told to the server. Uptime may be nil.
	Version string
	Uptime  func() time.Duration
	// Earlier calls back with what happened on this machine before there was a server to tell, and how long ago: it goes
	// to the timeline. It may be nil.
	Earlier func(each func(ago time.Duration, text string))
	// Wait is the length of a long poll; 0 means 45 seconds.
	Wait time.Duration
	// MinBackoff and MaxBackoff bound the pause before a failed call is made again; 0 means 1 and 30 seconds.
	MinBackoff, MaxBackoff time.Duration
	// ProgressEvery is the pause between two reports of progress; 0 means one second.
	ProgressEvery time.Duration
}

// Agent is one boot's agent. Make it with [New], and run it once.
type Agent struct {
	Config
	session *agentapi.Session
	logs    *logQueue
	// done are the results of finished actions, the latest last.
	done []finished
	// told is the wait that the console shows.
	told agentapi.Action
}

// finished is an action and its result. The whole action counts, not its ID: the seed of an image carries a new secret
// each time it is sent, and an image with an older one could not call back.
type finished struct {
	action []byte
	result agentapi.Result
}

// New fills in the defaults.
func New(c Config) *Agent {
	setDefault(&c.Wait, 45*time.Second)
	setDefault(&c.MinBackoff, time.Second)
	setDefault(&c.MaxBackoff, 30*time.Second)
	setDefault(&c.ProgressEvery, time.Second)
	if c.Console == nil {
		c.Console = silent{}
	}
	if c.Uptime == nil {
		c.Uptime = func() time.Duration { return 0 }
	}
	return &Agent{Config: c, logs: newLogQueue(c.Client)}
}

func setDefault(d *time.Duration, to time.Duration) {
	if *d == 0 {
		*d = to
	}
}

type silent struct{}

func (silent) Say(string, string)               {}
func (silent) Progress(string, float64, string) {}

// Run works until the machine leaves. It returns [agentapi.ErrTokenRefused] or [agentapi.ErrSessionLost] (wrapped) when
// only another netboot can help, the error of leaving when the machine could not leave, and otherwise the context's.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.open(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		a.logs.run(ctx)
	}()
	defer func() {
		cancel()
		<-sent
	}()
	for {
		action, err := a.next(ctx)
		if err != nil {
			return err
		}
		leave, err := a.do(ctx, action)
		if err != nil {
			return err
		}
		if leave != nil {
			a.logs.flush(ctx)
			if err := leave(); err != nil {
				return fmt.Errorf("%s: %w", action.Boot.Method, err)
			}
			return nil
		}
	}
}

// open exchanges the token for a session.
func (a *Agent) open(ctx context.Context) error {
	req := agentapi.SessionRequest{Token: a.Token, Nonce: rand.Text(), Serial: a.Identity.Serial, UUID: a.Identity.UUID,
		MACs: a.Identity.MACs, Version: a.Version, Uptime: a.Uptime().Seconds()}
	err := a.retry(ctx, "open a session", func(ctx context.Context) error {
		s, err := a.Client.Exchange(ctx, req)
		if agentapi.IsClockError(err) {
			if err := a.setClock(ctx, err); err != nil {
				return err
			}
			s, err = a.Client.Exchange(ctx, req)
		}
		if err == nil {
			a.session = s
		}
		return err
	})
	if err != nil {
		return err
	}
	a.correctClock()
	if a.Earlier != nil {
		a.Earlier(func(ago time.Duration, text string) { a.logs.addAt(time.Now().Add(-ago), "", text) })
	}
	a.Console.Say("server", fmt.Sprintf("%s knows this machine as %q; installation %s, attempt %d", a.Client.Server(),
		a.session.Name, a.session.Installation, a.session.Attempt))
	return nil
}

// setClock is for a machine whose battery is dead: it stands in the year 2000, when no certificate was valid yet.
func (a *Agent) setClock(ctx context.Context, why error) error {
	now, err := a.Client.ServerTime(ctx)
	if err != nil {
		return fmt.Errorf("%w; and the server's time could not be read: %w", why, err)
	}
	a.Console.Say("clock", fmt.Sprintf("this machine's clock is wrong (%s); set to the server's, %s",
		time.Now().UTC().Format(time.DateTime), now.UTC().Format(time.DateTime)))
	return a.Machine.SetClock(now)
}

// correctClock makes the times in the timeline comparable.
func (a *Agent) correctClock() {
	const tolerated = 2 * time.Second
	off, ok := a.Client.Offset()
	if !ok || off.Abs() < tolerated {
		return
	}
	if err := a.Machine.SetClock(time.Now().Add(off)); err != nil {
		a.Console.Say("clock", err.Error())
		return
	}
	a.Console.Say("clock", fmt.Sprintf("corrected by %s to the server's", off.Round(time.Second)))
}

// next asks until there is something to do.
func (a *Agent) next(ctx context.Context) (*agentapi.Action, error) {
	again := a.MinBackoff
	for {
		var action *agentapi.Action
		err := a.retry(ctx, "ask what to do", func(ctx context.Context) (err error) {
			start := time.Now()
			action, err = a.Client.Next(ctx, a.told.ID, a.Wait)
			if err == nil && action == nil && time.Since(start) < a.Wait/2 {
				// A server or proxy that does not wait must not be asked a thousand times a second.
				pause(ctx, a.MinBackoff)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		if action == nil {
			continue
		}
		if action.Kind != agentapi.ActionWait {
			a.told = agentapi.Action{}
			return action, nil
		}
		if fresh := a.showWait(action); fresh {
			again = a.MinBackoff
		}
		// A server that does not look at what was told answers the same at once, for hours.
		if !pause(ctx, again) {
			return nil, context.Cause(ctx)
		}
		again = min(2*again, a.MaxBackoff)
	}
}

func (a *Agent) showWait(action *agentapi.Action) (fresh bool) {
	text := func(action *agentapi.Action) string {
		if w := action.Wait; w != nil {
			return strings.TrimSpace(w.State + ": " + w.Reason)
		}
		return action.Title
	}
	fresh = action.ID != a.told.ID
	if fresh || text(action) != text(&a.told) {
		a.Console.Say("waiting", text(action))
	}
	a.told = *action
	return fresh
}

// do does one action and sends the result. leave is set when the machine is to leave now.
func (a *Agent) do(ctx context.Context, action *agentapi.Action) (leave func() error, err error) {
	document, err := json.Marshal(action)
	if err != nil {
		return nil, err
	}
	for _, f := range a.done {
		if bytes.Equal(f.action, document) {
			a.Console.Say(string(action.Kind), "was done before; the result is sent again")
			return nil, a.send(ctx, action, f.result)
		}
	}
	a.Console.Say(string(action.Kind), action.Title)
	start := time.Now()
	result := agentapi.Result{}
	report := newReport(ctx, a, action)
	data, leave, err := a.perform(report.ctx, action, report)
	if cause := report.stop(); cause != nil && err != nil {
		err = cause
	}
	if errors.Is(err, agentapi.ErrSessionLost) {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	result.Seconds = time.Since(start).Seconds()
	result.Data, result.OK = data, err == nil
	if err != nil {
		result.Error, result.Retryable = err.Error(), retryable(err)
		a.Console.Say(string(action.Kind), "FAILED: "+result.Error)
	} else {
		a.Console.Say(string(action.Kind), fmt.Sprintf("done in %.1f s", result.Seconds))
	}
	if leave == nil {
		// A reboot that comes again is done again: it did not happen.
		a.remember(document, result)
	}
	a.logs.flush(ctx)
	if err := a.send(ctx, action, result); err != nil {
		return nil, err
	}
	return leave, nil
}

func (a *Agent) remember(action []byte, r agentapi.Result) {
	const keep = 16
	a.done = append(a.done, finished{action, r})
	a.done = a.done[max(0, len(a.done)-keep):]
}

// perform runs the action. A panic becomes an error: of 200 machines one has the disk that nobody thought of, and it is
// to say so.
func (a *Agent) perform(ctx context.Context, action *agentapi.Action, report Report) (
	data json.RawMessage, leave func() error, err error) {
	defer func() {
		if p := recover(); p != nil {
			report.Log(fmt.Sprintf("panic: %v\n%s", p, debug.Stack()))
			data, leave, err = nil, nil, &panicError{p}
		}
	}()
	switch action.Kind {
	case agentapi.ActionDetect:
		data, err = a.Machine.Detect(ctx)
	case agentapi.ActionInstallImage:
		data, err = a.install(ctx, action.InstallImage, report)
	case agentapi.ActionRunScript:
		data, err = a.runScript(ctx, action.RunScript, report)
	case agentapi.ActionConfigureRAID:
		data, err = a.configureRAID(ctx, action.ConfigureRAID, report)
	case agentapi.ActionBoot:
		if action.Boot == nil {
			return nil, nil, errors.New("the server's boot action does not say how")
		}
		leave, err = a.Machine.PrepareBoot(ctx, *action.Boot, report)
	default:
		err = fmt.Errorf("this bootOS (version %s) cannot do %q: rebuild it with the server's version", a.Version,
			action.Kind)
	}
	return data, leave, err
}

func (a *Agent) install(ctx context.Context, in *agentapi.InstallImage, report Report) (json.RawMessage, error) {
	if in == nil {
		return nil, errors.New("the server's install-image action has no image")
	}
	if err := a.isFor("the image", in.Serial, in.Installation); err != nil {
		return nil, err
	}
	if in.Disk.Serial == "" && in.Disk.WWN == "" && in.Disk.Path == "" {
		return nil, &RefusedError{"the target disk has no identity: neither serial number nor WWN nor path"}
	}
	done, err := a.Machine.Install(ctx, *in, report)
	if err != nil {
		return nil, err
	}
	return json.Marshal(done)
}

func (a *Agent) runScript(ctx context.Context, in *agentapi.RunScript, report Report) (json.RawMessage, error) {
	if in == nil {
		return nil, errors.New("the server's run-script action has no script")
	}
	if err := a.isFor("the script", in.Serial, in.Installation); err != nil {
		return nil, err
	}
	done, err := a.Machine.RunScript(ctx, *in, report)
	if done == nil {
		return nil, err
	}
	data, broken := json.Marshal(done)
	return data, errors.Join(err, broken)
}

func (a *Agent) configureRAID(ctx context.Context, in *agentapi.ConfigureRAID, report Report) (json.RawMessage, error) {
	if in == nil {
		return nil, errors.New("the server's configure-raid action has no layout")
	}
	if err := a.isFor("the RAID layout", in.Serial, in.Installation); err != nil {
		return nil, err
	}
	done, err := a.Machine.ConfigureRAID(ctx, *in, report)
	if done == nil {
		return nil, err
	}
	data, broken := json.Marshal(done)
	return data, errors.Join(err, broken)
}

// isFor refuses what is meant for another machine or installation.
func (a *Agent) isFor(what, serial, installation string) error {
	if !SameSerial(serial, a.Identity.Serial) {
		return &RefusedError{fmt.Sprintf("%s is for the machine with serial number %q, and this one has %q "+
			"in its firmware", what, serial, a.Identity.Serial)}
	}
	if installation == "" || installation != a.session.Installation {
		return &RefusedError{fmt.Sprintf("%s is for installation %q, and this session is for %q", what, installation,
			a.session.Installation)}
	}
	return nil
}

// SameSerial compares two serial numbers, one of which may be in the canonical form of package inventory. None equals
// an empty one.
func SameSerial(a, b string) bool {
	a, b = strings.TrimSpace(a), strings.TrimSpace(b)
	return a != "" && strings.EqualFold(a, b)
}

// RefusedError says that the agent would not do what it was told, and did nothing.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "refused, nothing was written: " + e.Reason }

type panicError struct{ value any }

func (e *panicError) Error() string   { return fmt.Sprintf("the agent panicked: %v", e.value) }
func (e *panicError) Retryable() bool { return true }

// retryable asks the error itself.
func retryable(err error) bool {
	var r interface{ Retryable() bool }
	return errors.As(err, &r) && r.Retryable()
}

// send delivers a result, however long that takes. A result that nobody wants any more is dropped.
func (a *Agent) send(ctx context.Context, action *agentapi.Action, r agentapi.Result) error {
	err := a.retry(ctx, "report the result", func(ctx context.Context) error {
		return a.Client.Result(ctx, action.ID, r)
	})
	if e, ok := errors.AsType[*agentapi.StatusError](err); ok {
		a.Console.Say("server", fmt.Sprintf("does not take the result of %s: %v", action.Kind, e))
		// Should it send the same action again at once, and refuse again, that must not go round and round.
		pause(ctx, a.MinBackoff)
		return nil
	}
	return err
}

// retry makes a call until it succeeds or cannot: the server said no, or the session is over. It waits in between,
// longer each time, and a little by chance, so that 200 machines do not fall upon a server that has just come back.
func (a *Agent) retry(ctx context.Context, what string, call func(context.Context) error) error {
	start := time.Now()
	var said time.Time
	for backoff := a.MinBackoff; ; backoff = min(2*backoff, a.MaxBackoff) {
		err := call(ctx)
		switch e, isStatus := errors.AsType[*agentapi.StatusError](err); {
		case err == nil:
			if !said.IsZero() {
				a.Console.Say("server", fmt.Sprintf("answers again after %s", time.Since(start).Round(time.Second)))
			}
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case errors.Is(err, agentapi.ErrSessionLost), errors.Is(err, agentapi.ErrTokenRefused):
			return err
		case isStatus && !e.Temporary():
			if !strings.HasPrefix(what, "ask") && !strings.HasPrefix(what, "open") {
				return err
			}
			// A server of another version, or a proxy in between: somebody will look at it.
			backoff = a.MaxBackoff
		case isStatus && e.RetryAfter > 0:
			backoff = max(backoff, e.RetryAfter)
		}
		if time.Since(said) > time.Minute {
			a.Console.Say("server", fmt.Sprintf("%s: %v; trying again", what, err))
			said = time.Now()
		}
		if !pause(ctx, backoff/2+mathrand.N(backoff)) {
			return context.Cause(ctx)
		}
	}
}

// pause returns false if the context ended first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
