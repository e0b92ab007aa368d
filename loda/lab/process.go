package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Process names a process for good: a pid alone is reused.
type Process struct {
	PID int `json:"pid"`
	// Started is the start time in clock ticks since the boot of the host, field 22 of /proc/PID/stat (proc(5)).
	Started uint64 `json:"started"`
	// Boot is the host's boot id, since ticks begin anew at each boot.
	Boot string `json:"boot"`
}

// errGone: the process does not exist any more.
var errGone = errors.New("process is gone")

func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the host's boot id: %w", err)
	}
	return string(bytes.TrimSpace(id)), nil
}

// identify finds the start time of a living process. A zombie counts as gone.
func identify(pid int) (Process, error) {
	boot, err := bootID()
	if err != nil {
		return Process{}, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return Process{}, errGone
	}
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	started, state, err := parseStat(string(stat))
	if err != nil {
		return Process{}, fmt.Errorf("identify process %d: %w", pid, err)
	}
	if state == "Z" || state == "X" {
		return Process{}, errGone
	}
	return Process{PID: pid, Started: started, Boot: boot}, nil
}

// parseStat reads start time and state. The second field is the command in parentheses and may itself hold blanks and
// parentheses, so counting begins behind the last one.
func parseStat(stat string) (started uint64, state string, err error) {
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, "", fmt.Errorf("no command in %q", stat)
	}
	fields := strings.Fields(stat[end+1:])
	const third, wanted = 3, 22
	if len(fields) <= wanted-third {
		return 0, "", fmt.Errorf("only %d fields in %q", len(fields), stat)
	}
	started, err = strconv.ParseUint(fields[wanted-third], 10, 64)
	return started, fields[0], err
}

// Alive says whether this very process still runs.
func (p Process) Alive() bool {
	if p.PID <= 0 {
		return false
	}
	now, err := identify(p.PID)
	return err == nil && now == p
}

// kill sends SIGKILL to this very process. The pidfd is opened first and the start time checked after that, so the
// signal cannot hit a later process with the same pid.
func (p Process) kill() error {
	if p.PID <= 1 {
		return errGone
	}
	fd, err := unix.PidfdOpen(p.PID, 0)
	if errors.Is(err, unix.ESRCH) {
		return errGone
	}
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	defer unix.Close(fd)
	if !p.Alive() {
		return errGone
	}
	if err := unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("kill process %d: %w", p.PID, err)
	}
	return nil
}

// killAll kills the processes and waits until they are gone.
func killAll(ctx context.Context, processes []Process) error {
	var errs []error
	for _, p := range processes {
		if err := p.kill(); err != nil && !errors.Is(err, errGone) {
			errs = append(errs, err)
		}
	}
	for _, p := range processes {
		for p.Alive() {
			select {
			case <-ctx.Done():
				return errors.Join(append(errs, fmt.Errorf("process %d does not die: %w", p.PID, ctx.Err()))...)
			case <-time.After(5 * time.Millisecond):
			}
		}
	}
	return errors.Join(errs...)
}
