package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/status"

	"github.com/project-loda/loda/raid/plugin/raidpb"
)

// instance is a plugin from its start to its end.
type instance struct {
	process *Process
	child   *child
	client  *goplugin.Client
	rpc     raidpb.DriverClient
	// dir is where its socket is.
	dir string
	// ctx ends when it is closed.
	ctx    context.Context
	cancel context.CancelFunc
	// unwatch stops the watch over the context of its start; false: that had ended.
	unwatch func() bool

	calls sync.WaitGroup
	mu    sync.Mutex
	// writes are steps that are being executed. One whose end nobody knows is never taken off.
	writes int
	// condemned: it is being ended, and gets no more calls.
	condemned bool
}

const (
	// leaveWithin is how long a plugin with nothing to do may take to leave.
	leaveWithin = 2 * time.Second
	// goneWithin is how long a process may take to go that was killed. One that hangs in the kernel, on a dying disk,
	// never does.
	goneWithin = 10 * time.Second
	// noticedWithin is how long the end of a process may come after that of its connection.
	noticedWithin = 2 * time.Second
)

// start starts an instance.
func (p *Process) start(ctx context.Context) (*instance, error) {
	dir, err := socketDir(p.config.TempDir)
	if err != nil {
		return nil, fmt.Errorf("RAID plugin %s: %w", p.exe.path, err)
	}
	ctx, stop := context.WithTimeoutCause(ctx, p.config.StartTimeout,
		fmt.Errorf("no handshake within %s", p.config.StartTimeout))
	defer stop()
	i := &instance{process: p, dir: dir}
	i.ctx, i.cancel = context.WithCancel(p.ctx)
	i.child = newChild(p.exe, p.config.Args, nil, p.logger, i.writing)
	i.client = goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{ProtocolVersion: {driverName: &wire{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),               // child has the plugin's output, and errors are returned
		StartTimeout:     p.config.StartTimeout + time.Minute, // ctx ends it before
		SkipHostEnv:      true,
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage),
			grpc.MaxCallSendMsgSize(maxMessage)),
			grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: pingEvery, Timeout: p.config.silence})},
		SyncStdout: &lineWriter{do: func(line []byte) { printed(p.logger, "stdout", line) }},
		SyncStderr: &lineWriter{do: func(line []byte) { printed(p.logger, "stderr", line) }},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, _ string) (runner.Runner, error) {
			env := p.config.Env
			if env == nil {
				env = os.Environ()
			}
			i.child.env = append(env[:len(env):len(env)], cmd.Env...)
			return i.child, nil
		},
	})
	i.unwatch = context.AfterFunc(ctx, i.child.killAll)
	if err = i.connect(ctx); err == nil {
		return i, nil
	}
	i.cancel()
	i.child.killAll()
	if i.child.ID() != "" {
		select {
		case <-i.child.gone:
			i.client.Kill()
		case <-time.After(goneWithin):
		}
	}
	os.RemoveAll(dir)
	return nil, i.why(ctx, err)
}

// connect starts the process and asks for its name.
func (i *instance) connect(ctx context.Context) error {
	protocol, err := i.client.Client()
	if err != nil {
		return err
	}
	raw, err := protocol.Dispense(driverName)
	if err != nil {
		return err
	}
	i.rpc = raw.(raidpb.DriverClient)
	is, err := i.rpc.Describe(ctx, &raidpb.DescribeRequest{})
	if err != nil {
		return err
	}
	if !i.unwatch() {
		return context.Cause(ctx)
	}
	if i.process.name == "" { // it is the first
		i.process.name = is.GetName()
	}
	return nil
}

// why says why a plugin did not start.
func (i *instance) why(ctx context.Context, err error) error {
	c := i.child
	c.mu.Lock()
	version, exit, started := c.version, c.exit, c.pid != 0
	c.mu.Unlock()
	switch {
	case !started:
		return err
	case version >= 0 && version != ProtocolVersion:
		return &VersionError{Path: c.exe.path, Plugin: version, Host: ProtocolVersion}
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case version < 0:
		err = fmt.Errorf("it ended before the handshake (%s); is it a RAID plugin, and for this machine?", exit)
	}
	if said := c.said.String(); said != "" {
		err = fmt.Errorf("%w; it said: %s", err, said)
	}
	return fmt.Errorf("start RAID plugin %s: %w", c.exe.path, err)
}

// writing reports whether a step is being executed, as far as anybody knows.
func (i *instance) writing() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.writes > 0
}

// lost reports that it gets no more calls.
func (i *instance) lost() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	select {
	case <-i.child.gone:
		return true
	default:
		return i.condemned
	}
}

// begin is called before a call.
func (i *instance) begin(write bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.condemned {
		return false
	}
	i.calls.Add(1)
	if write {
		i.writes++
	}
	return true
}

// end is called after a call. known: nothing goes on any more.
func (i *instance) end(write, known bool) {
	i.mu.Lock()
	if write && known {
		i.writes--
	}
	i.mu.Unlock()
	i.calls.Done()
}

// condemn lets it get no more calls, unless it is to be spared because it writes.
func (i *instance) condemn(spare bool) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	if spare && i.writes > 0 {
		return false
	}
	i.condemned = true
	return true
}

// converse makes a call and tells the plugin when ctx ends. The answer is the message for which last is true, nil: the
// first one.
func converse[Req, Res any](ctx context.Context, i *instance, call string, write bool, req *Req, open func(
	raidpb.DriverClient, context.Context, ...grpc.CallOption) (grpc.BidiStreamingClient[Req, Res], error),
	last func(*Res) bool) (res *Res, err error) {
	path := i.child.exe.path
	if ctx.Err() != nil {
		return nil, fmt.Errorf("RAID plugin %s: %s: not begun: %w", path, call, context.Cause(ctx))
	}
	if !i.begin(write) {
		return nil, fmt.Errorf("RAID plugin %s: %s: not begun: the plugin is being ended", path, call)
	}
	known := false
	defer func() { i.end(write, known) }()
	// gave ends when the caller has given up, or the plugin is to be closed.
	gave, give := context.WithCancelCause(ctx)
	defer give(nil)
	defer context.AfterFunc(i.ctx, func() { give(ErrClosed) })()
	stream, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	talk, err := open(i.rpc, stream)
	if err == nil {
		err = talk.Send(req)
	}
	if err != nil && !errors.Is(err, io.EOF) { // then Recv knows more
		return nil, i.failed(call, write, &known, err)
	}
	finished, watched, hung := make(chan struct{}), make(chan struct{}), false
	unwatch := context.AfterFunc(gave, func() {
		defer close(watched)
		_ = talk.CloseSend()
		if write {
			return
		}
		select {
		case <-finished:
		case <-time.After(i.process.config.StopTimeout):
			hung = true
			if i.condemn(true) {
				i.child.killAll()
			}
			cancel()
		}
	})
	for err = nil; err == nil; {
		if res, err = talk.Recv(); err == nil && (last == nil || last(res)) {
			break
		}
	}
	close(finished)
	if !unwatch() {
		<-watched
	}
	switch {
	case err == nil:
		known = true
		return res, nil
	case hung:
		return nil, fmt.Errorf("RAID plugin %s: %s: %w; it did not stop within %s%s", path, call, context.Cause(gave),
			i.process.config.StopTimeout, map[bool]string{true: " and was ended"}[i.lost()])
	}
	return nil, i.failed(call, write, &known, err)
}

// failed says why a call failed that the driver did not answer. known is set when it was not even begun.
func (i *instance) failed(call string, write bool, known *bool, err error) error {
	path := i.child.exe.path
	switch status.Code(err) {
	case codes.InvalidArgument, codes.Unimplemented:
		*known = true
		return fmt.Errorf("RAID plugin %s: %s: it does not understand: %s", path, call, status.Convert(err).Message())
	case codes.ResourceExhausted:
		return fmt.Errorf("RAID plugin %s: %s: its answer is longer than %d bytes", path, call, maxMessage)
	}
	exit := "it did not answer any more"
	select {
	case <-i.child.gone:
	case <-time.After(noticedWithin):
		// It lives, and cannot be talked to.
		i.condemn(false)
		_ = i.child.Kill(context.Background())
		select {
		case <-i.child.gone:
		case <-time.After(goneWithin):
			exit += " and cannot be ended"
		}
	}
	i.child.mu.Lock()
	if i.child.exit != "" {
		exit = i.child.exit
	}
	i.child.mu.Unlock()
	return &CrashError{Path: path, Call: call, Exit: exit, Said: i.child.said.String(), Writing: write}
}

// bury ends a lost instance, and waits for what it left behind if that may be writing.
func (i *instance) bury(ctx context.Context) error {
	i.cancel()
	i.condemn(false)
	_ = i.child.Kill(ctx)
	select {
	case <-i.child.gone:
	case <-time.After(goneWithin):
		return fmt.Errorf("RAID plugin %s (pid %s) was killed and does not go; it hangs in the kernel", i.child.exe.path,
			i.child.ID())
	}
	i.client.Kill()
	os.RemoveAll(i.dir)
	for {
		left := i.child.left()
		switch {
		case len(left) == 0:
			return nil
		case !i.writing():
			i.child.killAll()
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("RAID plugin %s died while it executed a step, and what it had started is still running (%s), "+
				"beside which nothing is begun: %w", i.child.exe.path, processes(left), context.Cause(ctx))
		}
	}
}

func processes(list []member) string {
	var words []string
	for _, m := range list {
		words = append(words, m.String())
	}
	return strings.Join(words, ", ")
}

// close ends an instance.
func (i *instance) close() error {
	path := i.child.exe.path
	i.cancel()
	wait, cancel := context.WithTimeout(context.Background(), i.process.config.CloseTimeout)
	defer cancel()
	over := make(chan struct{})
	go func() { i.calls.Wait(); close(over) }()
	var cut error
	select {
	case <-over:
	case <-wait.Done():
		cut = fmt.Errorf("RAID plugin %s was closed in the middle of a step, which was cut off after %s; read the "+
			"controller and plan again", path, i.process.config.CloseTimeout)
	}
	i.condemn(false)
	i.child.ask()
	if cut == nil {
		select {
		case <-i.child.gone:
		case <-time.After(leaveWithin):
		}
		if err := i.bury(wait); err == nil {
			<-over
			return nil
		} else if wait.Err() == nil {
			return err
		} else {
			cut = err
		}
	}
	i.child.killAll()
	select {
	case <-i.child.gone:
	case <-time.After(goneWithin):
		return errors.Join(cut, fmt.Errorf("RAID plugin %s (pid %s) was killed and does not go; it hangs in the kernel", path,
			i.child.ID()))
	}
	i.client.Kill()
	os.RemoveAll(i.dir)
	i.child.killAll() // who was started meanwhile
	<-over
	return cut
}
