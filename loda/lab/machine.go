package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Machine is one server of a rack. Its methods may be called from any goroutine.
type Machine struct {
	rack  *Rack
	index int
	name  string
	dir   string
	log   *slog.Logger

	// power serialises what changes the machine: switching it on and off, and rebuilding it.
	power sync.Mutex

	mu        sync.Mutex
	spec      MachineSpec
	unplugged map[int]bool
	bootNext  BootOrder // of the next start alone
	run       *run      // the last power-on; nil before the first one
	retired   bool
}

// run is one life of QEMU, from power-on to its end.
type run struct {
	process Process
	monitor *monitor
	cut     bool  // killed on purpose
	err     error // valid when done is closed
	done    chan struct{}
	start   int64 // offset of this power-on in the console log
}

func (r *run) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// ErrOff says that a machine is off where it must be on.
var ErrOff = errors.New("machine is off")

// ErrOn says that a machine is on where it must be off.
var ErrOn = errors.New("machine is on")

func newMachine(r *Rack, index int, spec MachineSpec) (*Machine, MachineState) {
	m := &Machine{
		rack: r, index: index, name: spec.Name, spec: spec, unplugged: map[int]bool{},
		dir: filepath.Join(r.state.Dir, spec.Name),
		log: r.log.With("machine", spec.Name),
	}
	state := MachineState{
		Name: spec.Name, Serial: spec.Serial, Firmware: spec.Firmware, Console: m.ConsolePath(),
		ConsoleSocket: filepath.Join(r.state.SocketDir, spec.Name+".console"),
		MonitorSocket: filepath.Join(r.state.SocketDir, spec.Name+".qmp"),
	}
	for _, n := range spec.NICs {
		state.MACs = append(state.MACs, n.MAC)
	}
	return m, state
}

// Name of the machine.
func (m *Machine) Name() string { return m.name }

// Spec is the machine's completed description, as it stands now.
func (m *Machine) Spec() MachineSpec {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.spec.complete(m.rack.spec.Name) // a deep copy
}

// Dir holds the machine's disks, NVRAM and logs.
func (m *Machine) Dir() string { return m.dir }

// DiskPath is the raw image of disk i. It is the live file; do not write to it while the machine is on.
func (m *Machine) DiskPath(i int) string { return filepath.Join(m.dir, fmt.Sprintf("disk%d.raw", i)) }

// NVRAMPath is the machine's copy of the UEFI variables. Removing it while the machine is off is a CMOS reset.
func (m *Machine) NVRAMPath() string { return filepath.Join(m.dir, "nvram.fd") }

// ConsolePath is the log of the serial port, over all power cycles.
func (m *Machine) ConsolePath() string { return filepath.Join(m.dir, "console.log") }

// CapturePath is the packet capture of a network card since the last power-on, see [Options.Capture].
func (m *Machine) CapturePath(nic int) string {
	return filepath.Join(m.dir, fmt.Sprintf("nic%d.pcap", nic))
}

func (m *Machine) qemuLog() string { return filepath.Join(m.dir, "qemu.log") }

func (m *Machine) tap(nic int) string { return fmt.Sprintf("m%dn%d", m.index, nic) }

func (m *Machine) state() MachineState {
	m.rack.mu.Lock()
	defer m.rack.mu.Unlock()
	return m.rack.state.Machines[m.index]
}

// furnish makes what the machine needs and does not have yet.
func (m *Machine) furnish(ctx context.Context) error {
	if err := os.MkdirAll(m.dir, 0o700); err != nil {
		return err
	}
	spec := m.Spec()
	for i, d := range spec.Disks {
		if err := m.furnishDisk(ctx, i, d); err != nil {
			return err
		}
	}
	for i := range spec.NICs {
		if err := m.rack.ns.addTap(m.tap(i)); err != nil {
			return err
		}
	}
	log, err := os.OpenFile(m.ConsolePath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	return log.Close()
}

// On says whether the machine is powered.
func (m *Machine) On() bool {
	_, err := m.running()
	return err == nil
}

func (m *Machine) running() (*run, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.run == nil || m.run.over() {
		return nil, fmt.Errorf("machine %s: %w", m.name, ErrOff)
	}
	return m.run, nil
}

// PowerOn switches the machine on and returns when its processor runs. On a machine that is on it does nothing. The
// context bounds the start alone.
func (m *Machine) PowerOn(ctx context.Context) error {
	m.power.Lock()
	defer m.power.Unlock()
	if m.On() {
		return nil
	}
	if err := m.powerOn(ctx); err != nil {
		return fmt.Errorf("machine %s: power on: %w", m.name, err)
	}
	m.log.Info("power on")
	return nil
}

func (m *Machine) powerOn(ctx context.Context) error {
	spec := m.Spec()
	state := m.state()
	ovmfCode, ovmfVars := m.rack.opts.ovmf(spec)
	host := qemuHost{
		accel: m.rack.opts.Accel, ovmfCode: ovmfCode, nvram: m.NVRAMPath(),
		consoleLog: m.ConsolePath(), consoleSocket: state.ConsoleSocket, monitorSocket: state.MonitorSocket,
		ownMonitorFile: 3,
	}
	for i := range spec.Disks {
		host.disks = append(host.disks, m.DiskPath(i))
	}
	for i := range spec.NICs {
		host.taps = append(host.taps, m.tap(i))
		if m.rack.opts.Capture {
			host.captures = append(host.captures, m.CapturePath(i))
		}
	}
	var err error
	if host.smbios, err = writeSMBIOS(m.dir, smbiosMemory(spec.DIMMs)); err != nil {
		return err
	}
	m.mu.Lock()
	host.order = cmp.Or(m.bootNext, spec.BootOrder)
	m.mu.Unlock()
	if spec.Firmware == UEFI {
		if _, err := os.Stat(m.NVRAMPath()); err != nil && host.order == OrderNVRAM {
			host.order = OrderNetwork // OVMF writes it to its NVRAM, and there it stays
		}
		if err := copyNew(m.NVRAMPath(), ovmfVars); err != nil {
			return fmt.Errorf("make NVRAM: %w", err)
		}
	}
	start, err := m.mark()
	if err != nil {
		return err
	}

	ours, theirs, err := socketPair()
	if err != nil {
		return err
	}
	defer theirs.Close()
	log, err := os.OpenFile(m.qemuLog(), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		ours.Close()
		return err
	}
	defer log.Close()
	cmd := exec.Command("qemu-system-x86_64", spec.qemuArgs(host)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Dir = m.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // Ctrl-C in the owner's terminal is not meant for the machines
		Pdeathsig: syscall.SIGKILL,
	}
	m.mu.Lock()
	if m.retired {
		m.mu.Unlock()
		ours.Close()
		return errors.New("rack is down")
	}
	m.rack.wg.Add(1)
	m.mu.Unlock()
	r := &run{done: make(chan struct{}), start: start}
	err = m.rack.ns.do(func() error {
		if err := cmd.Start(); err != nil {
			return err
		}
		r.process, err = identify(cmd.Process.Pid)
		return err
	})
	theirs.Close() // or QEMU's end would not be seen on ours
	if err != nil {
		m.rack.wg.Done()
		ours.Close()
		if cmd.Process != nil { // ended before it could be identified
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			return fmt.Errorf("QEMU ended at once: %s", m.qemuTail())
		}
		return err
	}
	m.mu.Lock()
	m.run = r
	retired := m.retired
	m.mu.Unlock()
	go m.await(cmd, r)
	if retired { // the rack went down while QEMU was starting, and did not see it
		m.kill(r)
	}

	undo := func(err error) error {
		m.kill(r)
		<-r.done
		if tail := m.qemuTail(); tail != "" {
			err = fmt.Errorf("%w; QEMU says: %s", err, tail)
		}
		return err
	}
	if err := m.rack.setQEMU(m.index, &r.process); err != nil {
		return undo(err)
	}
	monitor, err := newMonitor(ctx, ours, m.name)
	if err != nil {
		return undo(err)
	}
	m.mu.Lock()
	r.monitor = monitor
	m.mu.Unlock()
	for nic := range spec.NICs {
		m.mu.Lock()
		unplugged := m.unplugged[nic]
		m.mu.Unlock()
		if unplugged {
			if err := m.setCarrier(ctx, r, nic, false); err != nil {
				return undo(err)
			}
		}
	}
	if host.order != spec.BootOrder {
		// QEMU tells the firmware the order that stood when the machine was started or reset, so what is said now is
		// for the next time.
		if err := m.setBootOrder(ctx, r, spec, spec.BootOrder); err != nil {
			return undo(err)
		}
	}
	m.mu.Lock()
	m.bootNext = ""
	m.mu.Unlock()
	if err := monitor.execute(ctx, "cont", nil, nil); err != nil {
		return undo(err)
	}
	return nil
}

// setBootOrder says what the firmware is told from the next reset on.
func (m *Machine) setBootOrder(ctx context.Context, r *run, spec MachineSpec, order BootOrder) error {
	set := func(device string, index int) error {
		return r.monitor.execute(ctx, "qom-set", map[string]any{
			"path": "/machine/peripheral/" + device, "property": "bootindex", "value": index,
		}, nil)
	}
	for _, device := range spec.bootDevices(OrderDisk) { // all of them; an index must be free before it is given
		if err := set(device, -1); err != nil {
			return err
		}
	}
	for i, device := range spec.bootDevices(order) {
		if err := set(device, i+1); err != nil {
			return err
		}
	}
	return nil
}

// BootNext overrides the boot order once, for the next power-on or reset, as a BMC can. On a machine that is on it
// holds for the next reset, by whomever, and is forgotten at a power cut.
func (m *Machine) BootNext(ctx context.Context, order BootOrder) error {
	m.power.Lock()
	defer m.power.Unlock()
	spec := m.Spec()
	if order != OrderNetwork && order != OrderDisk {
		return fmt.Errorf("machine %s: boot next: %q: want %q or %q", m.name, order, OrderNetwork, OrderDisk)
	}
	r, err := m.running()
	if err != nil {
		m.mu.Lock()
		m.bootNext = order
		m.mu.Unlock()
		return nil
	}
	watch, stop := context.WithCancel(context.Background())
	events := r.monitor.subscribe(watch)
	if err := m.setBootOrder(ctx, r, spec, order); err != nil {
		stop()
		return err
	}
	m.rack.wg.Go(func() {
		defer stop()
		// SeaBIOS, when it finds itself started for the second time, resets the machine once more. The order goes back
		// when there was a reset and then none for a while.
		var quiet <-chan time.Time
		for {
			select {
			case event, on := <-events:
				if !on {
					return
				}
				if event.Name == "RESET" {
					quiet = time.After(time.Second)
				}
				continue
			case <-quiet:
			}
			back, cancel := context.WithTimeout(watch, 10*time.Second)
			defer cancel()
			if err := m.setBootOrder(back, r, spec, spec.BootOrder); err != nil && !errors.Is(err, errMonitorClosed) {
				m.log.Error("boot order stays overridden", "error", err)
			}
			return
		}
	})
	return nil
}

// await ends with QEMU.
func (m *Machine) await(cmd *exec.Cmd, r *run) {
	defer m.rack.wg.Done()
	err := cmd.Wait()
	m.mu.Lock()
	if err != nil && !r.cut {
		r.err = fmt.Errorf("machine %s: QEMU failed: %w: %s", m.name, err, m.qemuTail())
	}
	cut := r.cut
	m.mu.Unlock()
	if err := m.rack.setQEMU(m.index, nil); err != nil && !errors.Is(err, errTakenDown) {
		m.log.Error("machine's end not recorded", "error", err)
	}
	switch {
	case r.err != nil:
		m.log.Error("machine died", "error", r.err)
	case cut:
		m.log.Info("power cut")
	default:
		m.log.Info("machine switched itself off")
	}
	close(r.done)
}

// kill is the power cut.
func (m *Machine) kill(r *run) {
	m.mu.Lock()
	r.cut = true
	m.mu.Unlock()
	// The process is ours and not yet waited for while done is open, so its pid cannot be reused.
	if err := r.process.kill(); err != nil && !errors.Is(err, errGone) {
		m.log.Error("machine cannot be killed", "pid", r.process.PID, "error", err)
	}
}

// retire cuts the machine for good: it cannot be switched on again.
func (m *Machine) retire() {
	m.mu.Lock()
	m.retired = true
	r := m.run
	m.mu.Unlock()
	if r != nil && !r.over() {
		m.kill(r)
	}
}

// Cut pulls the plug: QEMU is killed, and the guest gets no chance to do anything. What the guest had written to its
// disks is there; what it still held in memory is lost. On a machine that is off it does nothing.
func (m *Machine) Cut(ctx context.Context) error {
	m.power.Lock()
	defer m.power.Unlock()
	return m.cutPower(ctx)
}

func (m *Machine) cutPower(ctx context.Context) error {
	r, err := m.running()
	if err != nil {
		return nil
	}
	m.kill(r)
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("machine %s: cut power: %w", m.name, ctx.Err())
	}
}

// PowerOff presses the power button (ACPI) and waits until the guest has switched the machine off. A guest that does
// not listen to the button, such as a boot loader, ignores it: then the context ends and so does PowerOff, with the
// machine still on; [Machine.Cut] does not ask.
func (m *Machine) PowerOff(ctx context.Context) error {
	r, err := m.running()
	if err != nil {
		return nil
	}
	if err := m.QMP(ctx, "system_powerdown", nil, nil); err != nil && !errors.Is(err, errMonitorClosed) {
		return err
	}
	select {
	case <-r.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("machine %s: guest did not switch off when asked: %w", m.name, ctx.Err())
	}
}

// Reset presses the reset button: a warm start. The machine must be on.
func (m *Machine) Reset(ctx context.Context) error { return m.QMP(ctx, "system_reset", nil, nil) }

// Cycle cuts the power and switches on again: a cold start, whatever the state was.
func (m *Machine) Cycle(ctx context.Context) error {
	if err := m.Cut(ctx); err != nil {
		return err
	}
	return m.PowerOn(ctx)
}

// Wait returns when the machine is off: nil if the guest switched it off or the power was cut, an error if QEMU
// itself failed or the context ended first.
func (m *Machine) Wait(ctx context.Context) error {
	m.mu.Lock()
	r := m.run
	m.mu.Unlock()
	if r == nil {
		return nil
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
		return fmt.Errorf("machine %s is still on: %w", m.name, ctx.Err())
	}
}

// PID of the machine's QEMU, 0 if it is off.
func (m *Machine) PID() int {
	r, err := m.running()
	if err != nil {
		return 0
	}
	return r.process.PID
}

// QMP runs a command of the QEMU machine protocol, such as "query-status". Arguments and result may be nil; result is
// filled by [encoding/json].
func (m *Machine) QMP(ctx context.Context, command string, arguments, result any) error {
	monitor, err := m.monitor()
	if err != nil {
		return err
	}
	return monitor.execute(ctx, command, arguments, result)
}

// Events returns what QEMU tells by itself from now on. The channel is closed when the machine goes off or the context
// ends. A guest that reboots shows as RESET with {"guest": true}.
func (m *Machine) Events(ctx context.Context) (<-chan Event, error) {
	monitor, err := m.monitor()
	if err != nil {
		return nil, err
	}
	return monitor.subscribe(ctx), nil
}

func (m *Machine) monitor() (*monitor, error) {
	r, err := m.running()
	if err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if r.monitor == nil {
		return nil, fmt.Errorf("machine %s: %w: it is just being switched on", m.name, ErrOff)
	}
	return r.monitor, nil
}

// Unplug pulls the cable of a network card; the guest sees the carrier go. It holds over power cycles, until
// [Machine.Plug].
func (m *Machine) Unplug(ctx context.Context, nic int) error { return m.setCable(ctx, nic, false) }

// Plug puts the cable back.
func (m *Machine) Plug(ctx context.Context, nic int) error { return m.setCable(ctx, nic, true) }

// LimitRate makes a network card's link slow: the machine receives at most this many bits in a second, and what waits
// for more than half a second is dropped. 0 lifts the limit. It holds over power cycles.
func (m *Machine) LimitRate(nic int, bitsPerSecond uint64) error {
	if nic < 0 || nic >= len(m.Spec().NICs) {
		return fmt.Errorf("machine %s has no network card %d", m.name, nic)
	}
	if bitsPerSecond > 0 && (bitsPerSecond < 8_000 || bitsPerSecond > 32e9) {
		return fmt.Errorf("machine %s: limit of %d bit/s: want 8000 to 32e9", m.name, bitsPerSecond)
	}
	if err := m.rack.ns.setRate(m.tap(nic), bitsPerSecond/8); err != nil {
		return fmt.Errorf("machine %s: %w", m.name, err)
	}
	return nil
}

func (m *Machine) setCable(ctx context.Context, nic int, plugged bool) error {
	m.power.Lock()
	defer m.power.Unlock()
	if nic < 0 || nic >= len(m.Spec().NICs) {
		return fmt.Errorf("machine %s has no network card %d", m.name, nic)
	}
	if err := m.rack.ns.setLink(m.tap(nic), plugged); err != nil {
		return fmt.Errorf("machine %s: %w", m.name, err)
	}
	m.mu.Lock()
	m.unplugged[nic] = !plugged
	m.mu.Unlock()
	r, err := m.running()
	if err != nil {
		return nil
	}
	return m.setCarrier(ctx, r, nic, plugged)
}

func (m *Machine) setCarrier(ctx context.Context, r *run, nic int, up bool) error {
	return r.monitor.execute(ctx, "set_link", map[string]any{"name": nicID(nic), "up": up}, nil)
}

// Rebuild changes the machine while it is off: DIMMs, disks, network cards, serial number, whatever stands in a
// MachineSpec but its name. Defaults are filled in and the whole rack is validated; on error the machine stays as it
// was. Disks keep their content by their position; disks beyond the new number are removed, a disk of another size
// starts empty.
func (m *Machine) Rebuild(ctx context.Context, change func(*MachineSpec)) error {
	m.power.Lock()
	defer m.power.Unlock()
	if m.On() {
		return fmt.Errorf("machine %s: rebuild: %w", m.name, ErrOn)
	}
	spec := m.Spec()
	change(&spec)
	spec.Name = m.name
	spec = spec.complete(m.rack.spec.Name)

	whole := m.rack.spec
	whole.Machines = nil
	for _, other := range m.rack.machines {
		if other == m {
			whole.Machines = append(whole.Machines, spec)
		} else {
			whole.Machines = append(whole.Machines, other.Spec())
		}
	}
	if err := whole.Validate(); err != nil {
		return fmt.Errorf("machine %s: rebuild: %w", m.name, err)
	}
	m.mu.Lock()
	old := m.spec
	m.spec = spec
	m.mu.Unlock()
	for i, d := range old.Disks {
		if i >= len(spec.Disks) || spec.Disks[i].Size != d.Size || spec.Disks[i].Image != d.Image {
			if err := os.Remove(m.DiskPath(i)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("machine %s: rebuild: %w", m.name, err)
			}
		}
	}
	if err := m.furnish(ctx); err != nil {
		return fmt.Errorf("machine %s: rebuild: %w", m.name, err)
	}
	m.rack.mu.Lock()
	state := &m.rack.state.Machines[m.index]
	state.Serial, state.Firmware, state.MACs = spec.Serial, spec.Firmware, nil
	for _, n := range spec.NICs {
		state.MACs = append(state.MACs, n.MAC)
	}
	err := m.rack.state.save(false)
	m.rack.mu.Unlock()
	return err
}

// PullDisk takes disk i out of its bay. The machine must be off. What is on the disk stays, and its file with it; the
// guest finds all other disks where they were.
func (m *Machine) PullDisk(ctx context.Context, i int) error { return m.setPulled(ctx, i, true) }

// InsertDisk puts disk i back into its bay. The machine must be off. A disk that was never there is added by
// [Machine.Rebuild].
func (m *Machine) InsertDisk(ctx context.Context, i int) error { return m.setPulled(ctx, i, false) }

func (m *Machine) setPulled(ctx context.Context, i int, pulled bool) error {
	if i < 0 || i >= len(m.Spec().Disks) {
		return fmt.Errorf("machine %s has no disk %d", m.name, i)
	}
	return m.Rebuild(ctx, func(s *MachineSpec) {
		if i < len(s.Disks) {
			s.Disks[i].Pulled = pulled
		}
	})
}

// RemoveDIMM takes the module out of a slot (by its name, such as "A2"), which stays as an empty slot. The machine must
// be off. Its memory shrinks as well, if it was the sum of the DIMMs.
func (m *Machine) RemoveDIMM(ctx context.Context, slot string) error {
	return m.setDIMM(ctx, DIMM{Slot: slot})
}

// AddDIMM puts a module into its slot, empty or new. The machine must be off. Its memory grows as well, if it was the
// sum of the DIMMs.
func (m *Machine) AddDIMM(ctx context.Context, d DIMM) error { return m.setDIMM(ctx, d) }

func (m *Machine) setDIMM(ctx context.Context, d DIMM) error {
	if d.Slot == "" {
		return fmt.Errorf("machine %s: which slot?", m.name)
	}
	return m.Rebuild(ctx, func(s *MachineSpec) {
		var sum Size
		for _, each := range s.DIMMs {
			sum += each.Size
		}
		summed := sum == s.Memory
		found := false
		for i := range s.DIMMs {
			if s.DIMMs[i].Slot == d.Slot {
				d.Bank = cmp.Or(d.Bank, s.DIMMs[i].Bank)
				s.DIMMs[i], found = d, true
			}
		}
		if !found {
			s.DIMMs = append(s.DIMMs, d)
		}
		if summed {
			s.Memory = 0
		}
	})
}

// qemuTail is what QEMU itself had to say last.
func (m *Machine) qemuTail() string {
	data, err := os.ReadFile(m.qemuLog())
	if err != nil {
		return ""
	}
	data = bytes.TrimSpace(data)
	return strings.ReplaceAll(string(data[max(0, len(data)-1000):]), "\n", "; ")
}

// socketPair is a connection whose other end a child inherits.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make QMP connection: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "qmp"), os.NewFile(uintptr(fds[1]), "qmp")
	defer ours.Close() // FileConn duplicates it
	conn, err := net.FileConn(ours)
	if err != nil {
		theirs.Close()
		return nil, nil, fmt.Errorf("make QMP connection: %w", err)
	}
	return conn, theirs, nil
}

// copyNew copies a file, unless the target is there.
func copyNew(target, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	if _, err := os.Stat(target); err == nil {
		return nil
	}
	// By a temporary name: a crash in between leaves no half NVRAM behind.
	out, err := os.OpenFile(target+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Close(); err != nil {
		return err
	}
	return os.Rename(target+".new", target)
}

// mark notes the power-on in the console log and returns where.
func (m *Machine) mark() (int64, error) {
	log, err := os.OpenFile(m.ConsolePath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	info, err := log.Stat()
	if err != nil {
		return 0, err
	}
	_, err = fmt.Fprintf(log, "\r\n---- %s: power on at %s ----\r\n", m.name, time.Now().UTC().Format(time.RFC3339))
	return info.Size(), err
}
