// Package command runs the makers' tools for RAID drivers: the real [raid.Runner].
package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/project-loda/loda/raid"
)

// Runner runs programs as they stand, never through a shell: with a process group and a directory of their own (some
// tools write a log where they are), an empty standard input, and an environment that makes them speak English.
//
// When its context ends, a program is ended with all that it has started: SIGTERM to the group, and SIGKILL when Grace
// is over. Its zero value is ready for use, several times at once.
type Runner struct {
	// Path is PATH; empty: [DefaultPath].
	Path string
	// Env is added to the environment, as NAME=value.
	Env []string
	// Grace is the time between SIGTERM and SIGKILL; 0: five seconds.
	Grace time.Duration
}

var _ raid.Runner = (*Runner)(nil)

// DefaultPath is the PATH of tools.
const DefaultPath = "/usr/sbin:/usr/bin:/sbin:/bin:/bbin"

const (
	defaultGrace = 5 * time.Second
	// drainFor is how long output is still read when the program is gone: a daemon that it started may hold the pipe open
	// for ever.
	drainFor = 2 * time.Second
	// stuckFor is how long a killed program may take to go. One that hangs in the kernel, on a dying controller, never does.
	stuckFor = 30 * time.Second
	// maxOutput bounds each stream. The largest that was seen, of 240 drives, has 2 MB.
	maxOutput = 32 << 20
)

// ErrStuck is wrapped by the error of a program that not even SIGKILL ends: it hangs in the kernel.
var ErrStuck = errors.New("it cannot be ended: it hangs in the kernel")

// Run implements [raid.Runner]. Errors are those of a program that could not be started, such as [exec.ErrNotFound], the
// context's after it has ended, and [ErrStuck].
func (r *Runner) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	if len(argv) == 0 || argv[0] == "" {
		return nil, errors.New("no program is named")
	}
	program, err := r.find(argv[0])
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, fmt.Errorf("%s was not started: %w", argv[0], context.Cause(ctx))
	}
	dir, err := os.MkdirTemp("", "loda-raid-")
	if err != nil {
		return nil, fmt.Errorf("a directory for %s: %w", argv[0], err)
	}
	defer os.RemoveAll(dir)
	stdout, stderr := &bounded{name: argv[0]}, &bounded{name: argv[0]}
	cmd := exec.Command(program, argv[1:]...)
	cmd.Args[0] = argv[0]
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, stdout, stderr
	cmd.Env = append([]string{"PATH=" + r.path(), "HOME=" + dir, "TMPDIR=" + dir, "LANG=C", "LC_ALL=C", "TERM=dumb", "COLUMNS=500"}, r.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = drainFor
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	gone := make(chan error, 1)
	go func() { gone <- cmd.Wait() }()
	group := cmd.Process.Pid
	var ended error
	select {
	case err = <-gone:
	case <-ctx.Done():
		ended = context.Cause(ctx)
		_ = syscall.Kill(-group, syscall.SIGTERM)
		if err = r.wait(gone, r.grace()); errors.Is(err, errNotGone) {
			_ = syscall.Kill(-group, syscall.SIGKILL)
			if err = r.wait(gone, stuckFor); errors.Is(err, errNotGone) {
				return nil, fmt.Errorf("%s: %w, %w", strings.Join(argv, " "), ErrStuck, ended)
			}
		}
	}
	// What it has left behind in its group has nobody to wait for it.
	_ = syscall.Kill(-group, syscall.SIGKILL)
	out := &raid.Output{Stdout: stdout.buf.Bytes(), Stderr: stderr.buf.Bytes(), ExitCode: cmd.ProcessState.ExitCode()}
	switch _, exited := errors.AsType[*exec.ExitError](err); {
	case ended != nil:
		return out, fmt.Errorf("%s was ended: %w", strings.Join(argv, " "), ended)
	case stdout.full || stderr.full:
		return out, fmt.Errorf("%s printed more than %d MiB", strings.Join(argv, " "), maxOutput>>20)
	case err == nil, exited, errors.Is(err, exec.ErrWaitDelay):
		return out, nil
	}
	return out, err
}

var errNotGone = errors.New("not gone")

func (r *Runner) wait(gone <-chan error, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case err := <-gone:
		return err
	case <-t.C:
		return errNotGone
	}
}

func (r *Runner) path() string {
	if r.Path == "" {
		return DefaultPath
	}
	return r.Path
}

func (r *Runner) grace() time.Duration {
	if r.Grace == 0 {
		return defaultGrace
	}
	return r.Grace
}

// find looks a program up in this runner's PATH, not in that of the process.
func (r *Runner) find(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(r.path(), ":") {
		file := dir + "/" + name
		if info, err := os.Stat(file); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}

// bounded keeps the beginning of an output.
type bounded struct {
	name string
	buf  bytes.Buffer
	full bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - b.buf.Len(); len(p) > room {
		b.full = true
		b.buf.Write(p[:room])
	} else {
		b.buf.Write(p)
	}
	return len(p), nil // the program goes on, it may be writing to drives
}
