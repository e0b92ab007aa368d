package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"syscall"
	"time"
)

// output runs a program in a process group of its own, which is ended as a whole when ctx ends. It never goes through a
// shell.
func output(ctx context.Context, argv []string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // if somebody has left the group and holds the pipe
	out, err := cmd.Output()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("it was ended: %w", ctx.Err())
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		if len(out) == 0 {
			return nil, fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		return out, nil
	}
	return out, err
}
