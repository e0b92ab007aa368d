package lab

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Options say where and on what a rack is built. The zero value is ready to use.
type Options struct {
	// RuntimeDir holds state files and sockets, default /run/loda-lab. Keep it short: a socket's path has 107 bytes.
	RuntimeDir string
	// DataDir holds a directory with disks, NVRAM and console logs for each rack, default /var/tmp/loda-lab.
	DataDir string
	// KeepFiles leaves the rack's directory under DataDir in place when the rack is taken down.
	KeepFiles bool
	// Accel is QEMU's accelerator: "tcg", the default, needs no hardware support; "kvm" is many times faster.
	Accel string
	// Capture writes what passes each network card since power-on to <machine>/nic<N>.pcap in [Rack.Dir].
	Capture bool
	// OVMFCode and OVMFVars are the UEFI firmware, default those of Debian's package ovmf (the 4M variant).
	OVMFCode, OVMFVars string
	// SecureOVMFCode and SecureOVMFVars are those of machines with Secure Boot, default that package's with Microsoft's keys.
	SecureOVMFCode, SecureOVMFVars string
	// Logger gets power changes and the end of machines; nil means [slog.Default].
	Logger *slog.Logger
}

func (o Options) complete() Options {
	o.RuntimeDir = cmp.Or(o.RuntimeDir, "/run/loda-lab")
	o.DataDir = cmp.Or(o.DataDir, "/var/tmp/loda-lab")
	o.Accel = cmp.Or(o.Accel, "tcg")
	o.OVMFCode = cmp.Or(o.OVMFCode, "/usr/share/OVMF/OVMF_CODE_4M.fd")
	o.OVMFVars = cmp.Or(o.OVMFVars, "/usr/share/OVMF/OVMF_VARS_4M.fd")
	o.SecureOVMFCode = cmp.Or(o.SecureOVMFCode, "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd")
	o.SecureOVMFVars = cmp.Or(o.SecureOVMFVars, "/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
	o.Logger = cmp.Or(o.Logger, slog.Default())
	return o
}

// ovmf are the code and the fresh variables of a machine's UEFI firmware.
func (o Options) ovmf(m MachineSpec) (code, vars string) {
	if m.SecureBoot {
		return o.SecureOVMFCode, o.SecureOVMFVars
	}
	return o.OVMFCode, o.OVMFVars
}

// Rack is a built rack. Its methods may be called from any goroutine. It lives until [Rack.Down], until another
// process takes it down by [Down], or until the process ends.
type Rack struct {
	spec     Spec
	opts     Options
	log      *slog.Logger
	ns       *namespace
	ra       *advertiser
	machines []*Machine
	// alive ends when the rack goes down, and with it the programs and connections in it.
	alive  context.Context
	cancel context.CancelCauseFunc
	wg     sync.WaitGroup // machines, doors and the watch for the state file
	down   sync.Once
	downed error

	mu    sync.Mutex // guards state
	state *State
}

// Up builds the rack described by spec, which it completes and validates. All machines are off. On error nothing is
// left behind. The context bounds the building alone.
func Up(ctx context.Context, spec Spec, opts Options) (*Rack, error) {
	spec, opts = spec.Complete(), opts.complete()
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	if err := checkHost(spec, opts); err != nil {
		return nil, fmt.Errorf("build rack %s: %w", spec.Name, err)
	}
	owner, err := identify(os.Getpid())
	if err != nil {
		return nil, fmt.Errorf("build rack %s: %w", spec.Name, err)
	}
	var unique [3]byte
	rand.Read(unique[:])
	id := spec.Name + "-" + hex.EncodeToString(unique[:])
	r := &Rack{spec: spec, opts: opts, log: opts.Logger.With("rack", id)}
	r.alive, r.cancel = context.WithCancelCause(context.Background())
	r.state = &State{
		ID: id, Name: spec.Name, Created: time.Now().UTC(), Owner: owner,
		Namespace: "loda-" + id, Server: spec.Server, KeepDir: opts.KeepFiles,
		Dir: filepath.Join(opts.DataDir, id), SocketDir: filepath.Join(opts.RuntimeDir, id),
		Control: filepath.Join(opts.RuntimeDir, id, "control"),
		path:    filepath.Join(opts.RuntimeDir, id+".json"),
	}
	for i, m := range spec.Machines {
		machine, state := newMachine(r, i, m)
		r.machines = append(r.machines, machine)
		r.state.Machines = append(r.state.Machines, state)
	}
	if err := r.build(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("build rack %s: %w", spec.Name, err), r.Down(context.WithoutCancel(ctx)))
	}
	r.log.Info("rack built", "machines", len(r.machines), "server", spec.Server, "dir", r.state.Dir)
	return r, nil
}

// checkHost says early what the host lacks.
func checkHost(spec Spec, opts Options) error {
	var errs []error
	if os.Geteuid() != 0 {
		errs = append(errs, errors.New("needs root, for network namespaces and taps"))
	}
	for _, program := range []string{"qemu-system-x86_64", "qemu-img", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			errs = append(errs, fmt.Errorf("needs the program %s (Debian: qemu-system-x86, qemu-utils, util-linux)", program))
		}
	}
	missing := map[string]bool{}
	for _, m := range spec.Machines {
		if m.Firmware != UEFI {
			continue
		}
		code, vars := opts.ovmf(m)
		for _, file := range []string{code, vars} {
			if _, err := os.Stat(file); err != nil && !missing[file] {
				missing[file] = true
				errs = append(errs, fmt.Errorf("needs UEFI firmware (Debian: ovmf): %w", err))
			}
		}
	}
	return errors.Join(errs...)
}

func (r *Rack) build(ctx context.Context) (err error) {
	for _, dir := range []string{r.opts.RuntimeDir, r.opts.DataDir} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	if err := r.state.save(true); err != nil {
		return err
	}
	for _, dir := range []string{r.state.SocketDir, r.state.Dir} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if r.ns, err = createNamespace(r.state.Namespace); err != nil {
		return err
	}
	if err := r.ns.addBridge(netip.PrefixFrom(r.spec.Server, r.spec.Subnet.Bits())); err != nil {
		return err
	}
	if r.ra, err = startAdvertiser(r.ns); err != nil {
		return err
	}
	for _, m := range r.machines {
		if err := m.furnish(ctx); err != nil {
			return fmt.Errorf("machine %s: %w", m.name, err)
		}
	}
	if err := r.serveControl(); err != nil {
		return err
	}
	r.wg.Go(r.watch)
	return nil
}

// watch notices that another process took the rack down.
func (r *Rack) watch() {
	ticker := time.NewTicker(500 * time.Millisecond)
	defer ticker.Stop()
	for {
		select {
		case <-r.alive.Done():
			return
		case <-ticker.C:
			if _, err := os.Stat(r.state.path); errors.Is(err, os.ErrNotExist) {
				r.cancel(errTakenDown)
				return
			}
		}
	}
}

// Done is closed when the rack is down, or goes down because another process asked for it. The owner should call
// [Rack.Down] then.
func (r *Rack) Done() <-chan struct{} { return r.alive.Done() }

// Down cuts all machines, ends what runs in the rack and removes everything that belongs to it. Calling it again
// returns the first call's result.
func (r *Rack) Down(ctx context.Context) error {
	r.down.Do(func() {
		r.cancel(errors.New("rack is down"))
		for _, m := range r.machines {
			m.retire()
		}
		r.wg.Wait()
		if r.ra != nil {
			r.ra.close()
		}
		r.mu.Lock()
		r.downed = r.state.clean(ctx)
		r.mu.Unlock()
		if r.ns != nil {
			r.ns.close()
		}
		r.log.Info("rack is down")
	})
	return r.downed
}

// ID is the rack's name with a suffix that makes it unique on this host.
func (r *Rack) ID() string { return r.state.ID }

// Spec is the completed description that the rack was built from.
func (r *Rack) Spec() Spec { return r.spec.Complete() }

// Server is the address of the bridge, where programs in the rack listen.
func (r *Rack) Server() netip.Addr { return r.spec.Server }

// Interface is the name of the bridge inside the namespace.
func (r *Rack) Interface() string { return bridgeName }

// Namespace is the network namespace's name, as known to ip-netns(8).
func (r *Rack) Namespace() string { return r.state.Namespace }

// Dir is the directory with the machines' files.
func (r *Rack) Dir() string { return r.state.Dir }

// Machines are all machines in the order of the Spec.
func (r *Rack) Machines() []*Machine { return append([]*Machine(nil), r.machines...) }

// Machine returns the machine of that name. It panics if there is none: the names come from the caller's own Spec.
func (r *Rack) Machine(name string) *Machine {
	for _, m := range r.machines {
		if m.name == name {
			return m
		}
	}
	panic(fmt.Sprintf("lab: rack %s has no machine %q", r.ID(), name))
}

var errTakenDown = errors.New("rack was taken down by another process")

// setQEMU records a machine's process in the state file.
func (r *Rack) setQEMU(index int, p *Process) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.state.Machines[index].QEMU = p
	if r.alive.Err() != nil {
		return nil // the file goes in a moment, or is gone
	}
	err := r.state.save(false)
	if errors.Is(err, os.ErrNotExist) {
		r.cancel(errTakenDown)
		return errTakenDown
	}
	return err
}

// Command prepares a program that runs inside the rack's network namespace. Its process is the program itself (Pid is
// its own, signals reach it). It is killed when the context or the rack ends and when this process dies.
func (r *Rack) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithCancel(ctx)
	context.AfterFunc(r.alive, cancel)
	path, err := exec.LookPath(name)
	// nsenter switches and then becomes the program: the kernel offers no way to start another program in another
	// namespace that would not need the calling thread to go there first.
	enter := []string{"--net=" + filepath.Join(namespaceDir, r.state.Namespace), "--", cmp.Or(path, name)}
	cmd := exec.CommandContext(ctx, "nsenter", append(enter, args...)...)
	if err != nil {
		cmd.Err = err
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// Dial connects to an IP address and port inside the rack. It fits [net/http.Transport.DialContext].
func (r *Rack) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return r.ns.dial(ctx, network, address)
}

// Listen opens a listener inside the rack, for a server in this process.
func (r *Rack) Listen(ctx context.Context, network, address string) (l net.Listener, err error) {
	if err := literal(address); err != nil {
		return nil, err
	}
	err = r.ns.enter(func() error {
		l, err = new(net.ListenConfig).Listen(ctx, network, address)
		return err
	})
	return l, err
}

// ListenPacket opens a packet socket inside the rack, for a server in this process.
func (r *Rack) ListenPacket(ctx context.Context, network, address string) (c net.PacketConn, err error) {
	if err := literal(address); err != nil {
		return nil, err
	}
	err = r.ns.enter(func() error {
		c, err = new(net.ListenConfig).ListenPacket(ctx, network, address)
		return err
	})
	return c, err
}

// In calls fn on an OS thread that is inside the rack's namespace. Sockets that fn itself opens belong to the rack and
// may be used from anywhere afterwards; goroutines that it starts are outside. It must not start processes: those
// belong into [Rack.Command].
func (r *Rack) In(fn func() error) error { return r.ns.enter(fn) }

// Forward opens a door: connections to the host's address (such as 127.0.0.1:8080; port 0 picks one) reach target (an
// IP address and port) inside the rack, until the rack goes down. It returns the address that it listens on.
func (r *Rack) Forward(host, target string) (net.Addr, error) {
	if err := literal(target); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", host)
	if err != nil {
		return nil, fmt.Errorf("forward to %s: %w", target, err)
	}
	context.AfterFunc(r.alive, func() { listener.Close() })
	r.wg.Go(func() {
		for {
			outside, err := listener.Accept()
			if err != nil {
				if r.alive.Err() == nil {
					r.log.Error("forwarding ended", "target", target, "error", err)
				}
				return
			}
			r.wg.Go(func() { r.join(outside, target) })
		}
	})
	return listener.Addr(), nil
}

// join copies both ways until both sides are through.
func (r *Rack) join(outside net.Conn, target string) {
	defer outside.Close()
	inside, err := r.Dial(r.alive, "tcp", target)
	if err != nil {
		r.log.Warn("forwarding failed", "target", target, "error", err)
		return
	}
	defer inside.Close()
	stop := context.AfterFunc(r.alive, func() { outside.Close(); inside.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, pair := range [][2]net.Conn{{inside, outside}, {outside, inside}} {
		both.Go(func() {
			_, _ = io.Copy(pair[0], pair[1]) // an error is the end of the connection, which both peers see
			if half, ok := pair[0].(*net.TCPConn); ok {
				half.CloseWrite()
			}
		})
	}
	both.Wait()
}
