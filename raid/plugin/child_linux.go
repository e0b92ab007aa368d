package plugin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// child is the operating system's process of a plugin, as go-plugin wants it (runner.Runner).
type child struct {
	exe    *executable
	args   []string
	env    []string
	logger *slog.Logger
	// writing reports whether a step is being executed, or was when the plugin was lost.
	writing func() bool

	said tail
	// handshake is what go-plugin reads: the one line that it must see.
	handshake *io.PipeReader
	feed      *io.PipeWriter
	// host is the other end of the plugin's standard input. When it is closed, the plugin ends.
	host *os.File
	// lines are waited for before the output is complete.
	lines sync.WaitGroup
	// gone is closed when the process is no more.
	gone chan struct{}

	mu  sync.Mutex
	cmd *exec.Cmd
	pid int
	// doomed: it was killed before it was started.
	doomed  bool
	reaped  bool
	version int // of the protocol, from the handshake; -1: there was none
	exit    string
	err     error
}

func newChild(exe *executable, args, env []string, logger *slog.Logger, writing func() bool) *child {
	c := &child{exe: exe, args: args, env: env, logger: logger, writing: writing, gone: make(chan struct{}), version: -1}
	c.handshake, c.feed = io.Pipe()
	return c
}

// Start starts it as the leader of a session, so that neither a signal to the host's group nor a hang-up reaches it,
// and whatever it starts is found again.
func (c *child) Start(context.Context) error {
	var pipes [6]*os.File
	for i := 0; i < len(pipes); i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(pipes[:i])
			return fmt.Errorf("start RAID plugin %s: %w", c.exe.path, err)
		}
		pipes[i], pipes[i+1] = r, w
	}
	stdin, host, out, stdout, errs, stderr := pipes[0], pipes[1], pipes[2], pipes[3], pipes[4], pipes[5]
	var err error
	for try := range 10 {
		c.cmd = &exec.Cmd{Path: c.exe.file(), Args: append([]string{c.exe.path}, c.args...), Env: c.env, Stdin: stdin,
			Stdout: stdout, Stderr: stderr, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
		// Another goroutine's child may hold a file for a moment that was just written: https://go.dev/issue/22315.
		if err = c.cmd.Start(); !errors.Is(err, syscall.ETXTBSY) {
			break
		}
		time.Sleep(time.Duration(try+1) * 10 * time.Millisecond)
	}
	closeAll([]*os.File{stdin, stdout, stderr})
	if err != nil {
		closeAll([]*os.File{host, out, errs})
		return fmt.Errorf("start RAID plugin %s: %w", c.exe.path, err)
	}
	c.host = host
	c.mu.Lock()
	c.pid = c.cmd.Process.Pid
	if c.doomed {
		_ = c.cmd.Process.Kill()
	}
	c.mu.Unlock()
	c.lines.Add(2)
	go c.readStdout(out)
	go func() {
		defer c.lines.Done()
		eachLine(errs, func(line []byte) { logLine(c.logger, &c.said, line) })
	}()
	go c.reap(out, errs)
	return nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// readStdout looks for the handshake, and logs everything else.
func (c *child) readStdout(out io.Reader) {
	defer c.lines.Done()
	defer c.feed.Close()
	eachLine(out, func(line []byte) {
		c.mu.Lock()
		known := c.version >= 0
		c.mu.Unlock()
		found, version, ok := handshakeIn(line)
		if known || !ok {
			c.said.add(line)
			printed(c.logger, "stdout", line)
			return
		}
		if before := line[:len(line)-len(found)]; len(before) > 0 {
			printed(c.logger, "stdout", before)
		}
		c.mu.Lock()
		c.version = version
		c.mu.Unlock()
		_, _ = fmt.Fprintf(c.feed, "%s\n", found)
	})
}

// reap waits for the end of the process, and looks who is left of its session before its number is free.
func (c *child) reap(out, errs *os.File) {
	for unix.Waitid(unix.P_PID, c.pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
	c.mu.Lock()
	if !c.writing() {
		for _, m := range session(c.pid, false) {
			c.logger.Warn("a process that the RAID plugin left behind is ended", "process", m.String())
			_ = unix.Kill(m.pid, unix.SIGKILL)
		}
	}
	c.err = c.cmd.Wait()
	c.reaped, c.exit = true, c.cmd.ProcessState.String()
	c.mu.Unlock()
	c.host.Close()
	close(c.gone)
	// What it has printed is in the pipes; a process that it left behind may hold them open.
	drained := make(chan struct{})
	go func() { c.lines.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(time.Second):
	}
	closeAll([]*os.File{out, errs})
	<-drained
}

// left are processes that the plugin started and that live on after it.
func (c *child) left() []member {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 {
		return nil
	}
	return session(c.pid, c.reaped)
}

// ask lets the plugin end itself when it has nothing to do any more.
func (c *child) ask() {
	if c.host != nil {
		c.host.Close()
	}
}

// killPlugin ends the plugin alone, killAll it and all that it has started.
func (c *child) killPlugin() { c.kill(false) }
func (c *child) killAll()    { c.kill(true) }

func (c *child) kill(all bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 {
		c.doomed = true
		return
	}
	if !c.reaped {
		_ = unix.Kill(c.pid, unix.SIGKILL)
	}
	if all {
		for _, m := range session(c.pid, c.reaped) {
			_ = unix.Kill(m.pid, unix.SIGKILL)
		}
	}
}

// Wait, Kill and the rest are for go-plugin.
func (c *child) Wait(context.Context) error {
	<-c.gone
	return c.err
}

func (c *child) Kill(context.Context) error {
	if c.writing() {
		c.killPlugin()
	} else {
		c.killAll()
	}
	return nil
}

func (c *child) Stdout() io.ReadCloser { return c.handshake }
func (c *child) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }
func (c *child) Name() string          { return c.exe.path }

func (c *child) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pid == 0 {
		return ""
	}
	return fmt.Sprint(c.pid)
}

func (c *child) Diagnose(context.Context) string { return "" }

func (c *child) PluginToHost(network, addr string) (string, string, error) { return network, addr, nil }
func (c *child) HostToPlugin(network, addr string) (string, string, error) { return network, addr, nil }
