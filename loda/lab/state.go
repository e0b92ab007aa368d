package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// State is what stands in a rack's state file, <RuntimeDir>/<ID>.json: all that is needed to show the rack and to
// clean up behind an owner that crashed. It is written before each thing it names is made.
type State struct {
	// ID is the rack's name and a suffix that makes it unique on this host. It also names the network namespace.
	ID        string     `json:"id"`
	Name      string     `json:"name"`
	Created   time.Time  `json:"created"`
	Owner     Process    `json:"owner"`
	Namespace string     `json:"namespace"`
	Server    netip.Addr `json:"server"`
	// Control is the socket that [Control] speaks to.
	Control string `json:"control"`
	// Dir holds disks, NVRAM and consoles; SocketDir the sockets of the machines. KeepDir leaves Dir in place.
	Dir       string         `json:"dir"`
	SocketDir string         `json:"socket_dir"`
	KeepDir   bool           `json:"keep_dir,omitempty"`
	Machines  []MachineState `json:"machines"`

	path string
}

// MachineState is one machine in a [State].
type MachineState struct {
	Name     string   `json:"name"`
	Serial   string   `json:"serial"`
	Firmware Firmware `json:"firmware"`
	MACs     []string `json:"macs"`
	// QEMU is the running process; nil while the machine is off.
	QEMU *Process `json:"qemu,omitempty"`
	// Console is the log of the serial port; ConsoleSocket and MonitorSocket (QMP) accept one client each.
	Console       string `json:"console"`
	ConsoleSocket string `json:"console_socket"`
	MonitorSocket string `json:"monitor_socket"`
}

// ErrNoRack says that there is no rack of that name.
var ErrNoRack = errors.New("no such rack")

// save replaces the state file in one step. Unless it is the first time, the file must still be there: an owner whose
// rack was just taken down by another process must not bring it back.
func (s *State) save(first bool) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state of rack %s: %w", s.ID, err)
	}
	err = locked(filepath.Dir(s.path), func() error {
		if _, err := os.Stat(s.path); err != nil && !first {
			return err
		}
		temporary := s.path + ".new"
		if err := os.WriteFile(temporary, append(data, '\n'), 0o600); err != nil {
			return err
		}
		return os.Rename(temporary, s.path)
	})
	if err != nil {
		return fmt.Errorf("write state of rack %s: %w", s.ID, err)
	}
	return nil
}

// locked calls fn while no other process writes or removes state files of this directory.
func locked(dir string, fn func() error) error {
	lock, err := os.OpenFile(filepath.Join(dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close() // unlocks
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return fn()
}

// List reads the state of all racks of this host (or of another RuntimeDir), oldest first. Check Owner.Alive and
// QEMU.Alive to see what still runs.
func List(opts Options) ([]State, error) {
	opts = opts.complete()
	files, err := filepath.Glob(filepath.Join(opts.RuntimeDir, "*.json"))
	if err != nil {
		return nil, err
	}
	var states []State
	var errs []error
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) {
			continue // taken down meanwhile
		}
		s := State{path: file}
		if err == nil {
			err = json.Unmarshal(data, &s)
		}
		if err == nil && (s.ID == "" || s.ID+".json" != filepath.Base(file)) {
			err = fmt.Errorf("speaks of rack %q", s.ID)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("state file %s: %w", file, err))
			continue
		}
		states = append(states, s)
	}
	slices.SortStableFunc(states, func(a, b State) int { return a.Created.Compare(b.Created) })
	return states, errors.Join(errs...)
}

// Down takes a rack down by its ID, or by its name if only one rack has it, and removes all that belongs to it:
// machines, programs that run in its namespace, the namespace, files. It works on a rack whose owner is dead and on
// one whose owner lives, who then sees [Rack.Done] closed. The error is [ErrNoRack] if there is none.
func Down(ctx context.Context, name string, opts Options) error {
	state, err := find(name, opts)
	if err != nil {
		return fmt.Errorf("take down: %w", err)
	}
	return state.clean(ctx)
}

// find looks for a rack by its ID, or by a name that only one has.
func find(name string, opts Options) (State, error) {
	states, err := List(opts)
	var found []State
	for _, s := range states {
		if s.ID == name {
			return s, nil
		}
		if s.Name == name {
			found = append(found, s)
		}
	}
	switch len(found) {
	case 0:
		return State{}, errors.Join(fmt.Errorf("rack %s: %w", name, ErrNoRack), err)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, s := range found {
		ids[i] = s.ID
	}
	return State{}, fmt.Errorf("rack %s: there are %d of that name, say which: %s", name, len(found),
		strings.Join(ids, ", "))
}

// Sweep takes down the racks whose owner is dead and returns their IDs.
func Sweep(ctx context.Context, opts Options) ([]string, error) {
	states, err := List(opts)
	errs := []error{err}
	var swept []string
	for _, s := range states {
		if s.Owner.Alive() {
			continue
		}
		if err := s.clean(ctx); err != nil {
			errs = append(errs, err)
			continue
		}
		swept = append(swept, s.ID)
	}
	return swept, errors.Join(errs...)
}

// clean removes all that the state names, the state file last, so that what failed can be tried again.
func (s *State) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	fail := func(err error) error { return fmt.Errorf("take down rack %s: %w", s.ID, err) }

	var machines []Process
	for _, m := range s.Machines {
		if m.QEMU != nil {
			machines = append(machines, *m.QEMU)
		}
	}
	if err := killAll(ctx, machines); err != nil {
		return fail(err)
	}
	// What else lives in the namespace was started there by the rack or by a person who went in; nothing else can
	// be in it. A process may start another one while we look: look until there is none.
	for {
		rest, err := processesIn(s.Namespace)
		if err != nil {
			return fail(err)
		}
		rest = slices.DeleteFunc(rest, func(p Process) bool { return p == s.Owner })
		if len(rest) == 0 {
			break
		}
		if err := killAll(ctx, rest); err != nil {
			return fail(err)
		}
	}
	if err := removeNamespace(s.Namespace); err != nil {
		return fail(err)
	}
	if err := os.RemoveAll(s.SocketDir); err != nil {
		return fail(err)
	}
	if !s.KeepDir {
		if err := os.RemoveAll(s.Dir); err != nil {
			return fail(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(s.path)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	err := locked(filepath.Dir(s.path), func() error { return os.Remove(s.path) })
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fail(err)
	}
	return nil
}
