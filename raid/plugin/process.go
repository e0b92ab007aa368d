package plugin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"google.golang.org/grpc"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/plugin/raidpb"
)

// Config says what to start, and how.
type Config struct {
	// Path of the executable, and Args after its name.
	Path string
	Args []string
	// SHA256 of the executable, hexadecimal. It is checked before anything of it runs. Empty: whatever is there is run.
	SHA256 string
	// Env is the plugin's environment; nil is the host's.
	Env []string
	// TempDir is where the directory for its socket is made; empty is that of temporary files. A path that is too long for
	// a socket is replaced by /run or /tmp.
	TempDir string
	// Logger gets what the plugin logs and prints; nil: nobody does.
	Logger *slog.Logger
	// StartTimeout bounds the time to the handshake; 0: ten seconds.
	StartTimeout time.Duration
	// StopTimeout is how long a call that reads may go on after its context has ended, until the plugin is; 0: five
	// seconds.
	StopTimeout time.Duration
	// CloseTimeout is how long Close waits for a step that is being executed; 0: two minutes.
	CloseTimeout time.Duration
	// MaxRestarts bounds how often a plugin that died is started again within ten minutes; 0: five times, less: never.
	MaxRestarts int
	// Backoff before it is started again, which doubles each time; 0: 200 ms.
	Backoff time.Duration

	// silence is how long a plugin that executes a step may leave the protocol's own pings without an answer, such as one
	// that was stopped; 0: a minute.
	silence time.Duration
}

const (
	// restartWindow is the time in which restarts are counted.
	restartWindow = 10 * time.Minute
	maxBackoff    = 30 * time.Second
)

// Process is a driver that runs in a process of its own. It may be used by several goroutines at once.
type Process struct {
	config Config
	exe    *executable
	logger *slog.Logger
	name   string
	// ctx ends when Close begins.
	ctx    context.Context
	cancel context.CancelFunc

	// turn is held by whoever starts, buries or closes.
	turn    chan struct{}
	current *instance
	closed  bool
	// crashes are the times of the last ones, the oldest first.
	crashes []time.Time
	last    string
}

var _ raid.Driver = (*Process)(nil)

// Start starts a plugin and asks it for its name. ctx bounds the start only; [Process.Close] ends the plugin.
//
// Errors are among others *[DigestError] and *[VersionError].
func Start(ctx context.Context, c Config) (*Process, error) {
	c.StartTimeout = cmp.Or(c.StartTimeout, 10*time.Second)
	c.StopTimeout = cmp.Or(c.StopTimeout, 5*time.Second)
	c.CloseTimeout = cmp.Or(c.CloseTimeout, 2*time.Minute)
	c.MaxRestarts = cmp.Or(c.MaxRestarts, 5)
	c.Backoff = cmp.Or(c.Backoff, 200*time.Millisecond)
	c.silence = cmp.Or(c.silence, time.Minute)
	exe, err := openExecutable(c.Path, c.SHA256)
	if err != nil {
		return nil, err
	}
	p := &Process{config: c, exe: exe, turn: make(chan struct{}, 1)}
	p.logger = cmp.Or(c.Logger, slog.New(slog.DiscardHandler)).With("plugin", filepath.Base(exe.path))
	p.ctx, p.cancel = context.WithCancel(context.Background())
	if p.current, err = p.start(ctx); err != nil {
		p.cancel()
		exe.close()
		return nil, err
	}
	return p, nil
}

// instance returns one that lives.
func (p *Process) instance(ctx context.Context) (*instance, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(p.ctx, func() { cancel(ErrClosed) })()
	select {
	case p.turn <- struct{}{}:
		defer func() { <-p.turn }()
	case <-ctx.Done():
		return nil, fmt.Errorf("RAID plugin %s: %w", p.exe.path, context.Cause(ctx))
	}
	if p.closed {
		return nil, fmt.Errorf("RAID plugin %s: %w", p.exe.path, ErrClosed)
	}
	if i := p.current; i != nil {
		if !i.lost() {
			return i, nil
		}
		if err := i.bury(ctx); err != nil {
			return nil, err
		}
		p.crashed(i.child.exit)
		p.current = nil
	}
	if err := p.wait(ctx); err != nil {
		return nil, err
	}
	i, err := p.start(ctx)
	if err != nil {
		if ctx.Err() == nil {
			p.crashed("it could not be started")
		}
		return nil, err
	}
	p.logger.Info("the RAID plugin was started again", "pid", i.child.pid)
	p.current = i
	return i, nil
}

func (p *Process) crashed(how string) {
	p.crashes, p.last = append(p.crashes, time.Now()), how
	p.logger.Warn("the RAID plugin died", "exit", how)
}

// wait waits until the plugin may be started again.
func (p *Process) wait(ctx context.Context) error {
	for len(p.crashes) > 0 && time.Since(p.crashes[0]) > restartWindow {
		p.crashes = p.crashes[1:]
	}
	n := len(p.crashes)
	if n == 0 {
		return nil
	}
	if n > p.config.MaxRestarts {
		return fmt.Errorf("RAID plugin %s died %d times within %s, at last with %s: it is not started again before %s",
			p.exe.path, n, restartWindow, p.last, p.crashes[0].Add(restartWindow).Format(time.TimeOnly))
	}
	pause := min(p.config.Backoff<<min(n-1, 10), maxBackoff) - time.Since(p.crashes[n-1])
	select {
	case <-time.After(pause):
		return nil
	case <-ctx.Done():
		return fmt.Errorf("RAID plugin %s has died and is not started again yet: %w", p.exe.path, context.Cause(ctx))
	}
}

// Name is the driver's.
func (p *Process) Name() string { return p.name }

// Probe is the driver's.
func (p *Process) Probe(ctx context.Context) ([]raid.Controller, error) {
	const call = "probe"
	res, err := read(ctx, p, call, &raidpb.ProbeRequest{}, raidpb.DriverClient.Probe)
	if err != nil {
		return nil, err
	}
	var found []raid.Controller
	if len(res.GetControllers()) > 0 {
		err = p.decode(call, res.GetControllers(), &found)
	}
	return found, errors.Join(errorOf(res.GetFailure()), err)
}

// Inventory is the driver's.
func (p *Process) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	call := "reading controller " + string(id)
	res, err := read(ctx, p, call, &raidpb.InventoryRequest{Controller: string(id)}, raidpb.DriverClient.Inventory)
	if err == nil {
		err = errorOf(res.GetFailure())
	}
	if err != nil {
		return nil, err
	}
	var inv *raid.Inventory
	if err := p.decode(call, res.GetInventory(), &inv); err != nil {
		return nil, err
	}
	if inv == nil {
		return nil, fmt.Errorf("RAID plugin %s: %s: the driver returned neither an inventory nor an error", p.exe.path, call)
	}
	return inv, nil
}

func (p *Process) decode(call string, data []byte, to any) error {
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("RAID plugin %s: %s: its answer is not understood: %w", p.exe.path, call, err)
	}
	return nil
}

// read makes a call that reads: the plugin is told when ctx ends, and then has a little time to stop.
func read[Req, Res any](ctx context.Context, p *Process, call string, req *Req, open func(raidpb.DriverClient,
	context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Req, Res], error)) (*Res, error) {
	i, err := p.instance(ctx)
	if err != nil {
		return nil, err
	}
	return converse(ctx, i, call, false, req, open, nil)
}

// commandsWithin bounds Commands, which reads nothing and is over at once.
const commandsWithin = 30 * time.Second

// Commands is the driver's.
func (p *Process) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), commandsWithin)
	defer cancel()
	inventory, step, err := p.planned(inv, s)
	if err != nil {
		return nil, err
	}
	i, err := p.instance(ctx)
	if err != nil {
		return nil, err
	}
	known := false
	if !i.begin(false) {
		return nil, fmt.Errorf("RAID plugin %s: commands: not begun: the plugin is being ended", p.exe.path)
	}
	defer i.end(false, known)
	res, err := i.rpc.Commands(ctx, &raidpb.CommandsRequest{Inventory: inventory, Step: step})
	if err != nil {
		return nil, i.failed("the commands of step "+string(s.Kind), false, &known, err)
	}
	if err := errorOf(res.GetFailure()); err != nil {
		return nil, err
	}
	var argvs [][]string
	for _, c := range res.GetCommands() {
		argvs = append(argvs, c.GetArgv())
	}
	return argvs, nil
}

// Exec is the driver's. It returns when the driver has, also after the end of ctx, of which the driver is told. report
// is called in this goroutine; while it is slow, the oldest progress is left out.
func (p *Process) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	inventory, step, err := p.planned(inv, s)
	if err != nil {
		return err
	}
	i, err := p.instance(ctx)
	if err != nil {
		return err
	}
	res, err := converse(ctx, i, fmt.Sprintf("step %s on controller %s", s.Kind, s.Controller), true,
		&raidpb.ExecRequest{Inventory: inventory, Step: step}, raidpb.DriverClient.Exec, func(e *raidpb.ExecResponse) bool {
			g := e.GetProgress()
			if g != nil && report != nil {
				report(raid.Progress{What: g.GetWhat(), Fraction: g.GetFraction()})
			}
			return e.GetDone() != nil
		})
	if err != nil {
		return err
	}
	return errorOf(res.GetDone().GetFailure())
}

func (p *Process) planned(inv *raid.Inventory, s raid.Step) (inventory, step []byte, err error) {
	if inventory, err = json.Marshal(inv); err == nil {
		step, err = json.Marshal(s)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("RAID plugin %s: write step %s down: %w", p.exe.path, s.Kind, err)
	}
	return inventory, step, nil
}

// Close ends the plugin and everything that it started. Calls that read are ended; a step that is being executed is
// waited for, up to [Config.CloseTimeout]. An error says what had to be cut off, or did not go.
func (p *Process) Close() error {
	p.cancel() // a start and a wait for one end by it
	p.turn <- struct{}{}
	defer func() { <-p.turn }()
	if p.closed {
		return nil
	}
	p.closed = true
	defer p.exe.close()
	if p.current == nil {
		return nil
	}
	return p.current.close()
}
