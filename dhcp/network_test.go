//go:build linux

package dhcp_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
	"github.com/vishvananda/netns"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/scripts/need"
)

// The tests of this file and its neighbours run a real server in a network namespace, as a process of its own that is
// simply started there, and real clients in others.

// serverEnv makes this test binary a DHCP server: JSON of a setup.
const serverEnv = "LODA_DHCP_TEST_SERVER"

func TestMain(m *testing.M) {
	if s := os.Getenv(serverEnv); s != "" {
		if err := serve(s); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// setup is what the server process is told.
type setup struct {
	Interfaces []string
	Ports      []uint16
	Subnets    []dhcp.Subnet
	Known      dhcp.StaticReservations
	Quirks     []dhcp.Quirk
	Probe      bool
	Raw        bool
	Watch      *watched
}

// watched is how the server process looks for others.
type watched struct {
	Interfaces []string
	Servers    []netip.Addr
	BootOnly   bool
	Every      time.Duration
}

// line is what it says of each exchange.
type line struct {
	MAC, Asked, Answered, Addr, Relay, To, ToMAC, Stage, Reason, BootFile, Interface string
}

func serve(s string) error {
	var cfg setup
	if err := json.Unmarshal([]byte(s), &cfg); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config := dhcp.AuthorityConfig{
		Subnets: cfg.Subnets, Leases: dhcp.NewMemoryLeases(), Reservations: cfg.Known, Boot: dhcp.BootFiles{}, Quirks: cfg.Quirks,
	}
	before := runtime.NumGoroutine()
	var prober dhcp.ARPProber
	if cfg.Probe {
		config.Prober = &prober
	}
	authority, err := dhcp.NewAuthority(config)
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	var watching sync.WaitGroup
	if w := cfg.Watch; w != nil {
		watch := &dhcp.Watch{Interfaces: w.Interfaces, Servers: w.Servers, BootOnly: w.BootOnly, Every: w.Every,
			Report: func(r dhcp.Rogue) { fmt.Println("rogue:", r) }}
		watching.Go(func() {
			if err := watch.Run(ctx); err != nil {
				fmt.Println("watch:", err)
			}
		})
	}
	server := &dhcp.Server{
		Responder: authority, Interfaces: cfg.Interfaces, Ports: cfg.Ports, Raw: cfg.Raw,
		Observe: func(e dhcp.Exchange) {
			answered := e.Answered.String()
			if e.Reply == nil {
				answered = ""
			}
			_ = out.Encode(line{
				MAC: e.MAC.String(), Asked: e.Asked.String(), Answered: answered, Addr: text(e.Addr), Relay: text(e.Relay),
				To: e.To.Addr.String(), ToMAC: e.To.MAC.String(), Stage: string(e.Stage), Reason: e.Reason,
				BootFile: e.BootFile, Interface: e.Interface,
			})
		},
	}
	if err := server.Listen(); err != nil {
		return err
	}
	fmt.Println("listening")
	if err := server.Serve(ctx); err != nil {
		return err
	}
	watching.Wait()
	if err := prober.Close(); err != nil {
		return err
	}
	// NotifyContext's goroutine may be gone; ours must be, and those of prober and watch.
	if after := runtime.NumGoroutine(); after > before {
		return fmt.Errorf("Serve left %d goroutines behind", after-before)
	}
	fmt.Println("stopped")
	return nil
}

func text(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// space is a network namespace.
type space struct {
	t    *testing.T
	name string
}

var spaces atomic.Int64

func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{t, fmt.Sprintf("loda-dhcp-%d-%d", os.Getpid(), spaces.Add(1))}
	must(t, "ip", "netns", "add", s.name)
	t.Cleanup(func() { must(t, "ip", "netns", "del", s.name) })
	s.run("ip", "link", "set", "lo", "up")
	// Duplicate address detection of IPv6 is of no interest here, and its noise is not, either.
	s.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
	return s
}

// cable connects an interface of one space with one of another.
func cable(t *testing.T, a *space, nameA string, b *space, nameB string) {
	t.Helper()
	must(t, "ip", "link", "add", nameA, "netns", a.name, "type", "veth", "peer", "name", nameB, "netns", b.name)
	a.run("ip", "link", "set", nameA, "up")
	b.run("ip", "link", "set", nameB, "up")
}

func must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %s: %s", name, strings.Join(args, " "), out)
	return string(out)
}

func (s *space) run(name string, args ...string) string {
	s.t.Helper()
	return must(s.t, "ip", append([]string{"netns", "exec", s.name, name}, args...)...)
}

// try is run that may fail.
func (s *space) try(name string, args ...string) (output string, err error) {
	out, err := exec.Command("ip", append([]string{"netns", "exec", s.name, name}, args...)...).CombinedOutput()
	return string(out), err
}

// start runs a program in the namespace until the test ends.
func (s *space) start(env []string, name string, args ...string) (cmd *exec.Cmd, output *feed) {
	s.t.Helper()
	cmd = exec.Command("ip", append([]string{"netns", "exec", s.name, name}, args...)...)
	cmd.Env = append(os.Environ(), env...)
	pipe, err := cmd.StdoutPipe()
	require.NoError(s.t, err)
	var errors bytes.Buffer
	cmd.Stderr = &errors
	require.NoError(s.t, cmd.Start())
	output = newFeed(pipe)
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		<-output.done
		_ = cmd.Wait()
		timer.Stop()
		if s.t.Failed() {
			s.t.Logf("%s in %s:\n%s\n%s", name, s.name, strings.Join(output.all(), "\n"), errors.String())
		}
	})
	return cmd, output
}

// inside runs f on a thread in the namespace: what it opens belongs there.
func (s *space) inside(f func()) {
	s.t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		ns, err := netns.GetFromName(s.name)
		if err == nil {
			defer ns.Close()
			err = netns.Set(ns)
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	require.NoError(s.t, <-done)
}

// feed collects lines.
type feed struct {
	mu    sync.Mutex
	lines []string
	done  chan struct{}
}

func newFeed(r io.Reader) *feed {
	f := &feed{done: make(chan struct{})}
	go func() {
		defer close(f.done)
		scan := bufio.NewScanner(r)
		for scan.Scan() {
			f.mu.Lock()
			f.lines = append(f.lines, scan.Text())
			f.mu.Unlock()
		}
	}()
	return f
}

func (f *feed) all() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.lines...)
}

// wait returns the first line that match accepts.
func (f *feed) wait(t *testing.T, what string, match func(string) bool) string {
	t.Helper()
	var found string
	require.Eventually(t, func() bool {
		for _, l := range f.all() {
			if match(l) {
				found = l
				return true
			}
		}
		return false
	}, 20*time.Second, 10*time.Millisecond, "waiting for %s", what)
	return found
}

// daemon is a server process.
type daemon struct {
	t   *testing.T
	cmd *exec.Cmd
	out *feed
}

func (s *space) serve(cfg setup) *daemon {
	s.t.Helper()
	self, err := os.Executable()
	require.NoError(s.t, err)
	b, err := json.Marshal(cfg)
	require.NoError(s.t, err)
	cmd, out := s.start([]string{serverEnv + "=" + string(b)}, self)
	out.wait(s.t, "the server to listen", func(l string) bool { return l == "listening" })
	return &daemon{s.t, cmd, out}
}

func (d *daemon) exchanges() (es []line) {
	for _, l := range d.out.all() {
		var e line
		if json.Unmarshal([]byte(l), &e) == nil && e.Asked != "" {
			es = append(es, e)
		}
	}
	return es
}

// exchange waits for the first exchange that has all the fields of want that are not empty.
func (d *daemon) exchange(want line) line {
	d.t.Helper()
	var found line
	require.Eventually(d.t, func() bool {
		for _, e := range d.exchanges() {
			if like(want.MAC, e.MAC) && like(want.Asked, e.Asked) && like(want.Answered, e.Answered) &&
				like(want.Addr, e.Addr) && like(want.Relay, e.Relay) && like(want.To, e.To) && like(want.ToMAC, e.ToMAC) &&
				like(want.Interface, e.Interface) && strings.Contains(e.Reason, want.Reason) {
				found = e
				return true
			}
		}
		return false
	}, 20*time.Second, 10*time.Millisecond, "waiting for %+v among %+v", want, d.exchanges())
	return found
}

func like(want, got string) bool { return want == "" || want == got }

// rack is a server and clients on one bridge.
type rack struct {
	t       *testing.T
	server  *space
	clients []*space
}

// rackSubnet is what the server of a rack serves.
func rackSubnet() dhcp.Subnet {
	return dhcp.Subnet{
		Name: "rack-7", Prefix: netip.MustParsePrefix("10.7.0.0/24"),
		Pool:   dhcp.Range{First: netip.MustParseAddr("10.7.0.2"), Last: netip.MustParseAddr("10.7.0.251")},
		Router: netip.MustParseAddr("10.7.0.1"), Unknown: dhcp.UnknownLease,
		Settings: dhcp.Settings{Domain: "rack7.example", MTU: 1400},
	}
}

func newRack(t *testing.T, machines int) *rack {
	t.Helper()
	need.Root(t)
	need.Command(t, "ip", "sysctl")
	r := &rack{t: t, server: newSpace(t)}
	r.server.run("ip", "link", "add", "br0", "type", "bridge")
	r.server.run("ip", "addr", "add", "10.7.0.1/24", "dev", "br0")
	r.server.run("ip", "link", "set", "br0", "up")
	for i := range machines {
		c := newSpace(t)
		port := fmt.Sprintf("p%d", i)
		cable(t, r.server, port, c, "eth0")
		r.server.run("ip", "link", "set", port, "master", "br0")
		c.run("ip", "link", "set", "eth0", "address", mac(i))
		r.clients = append(r.clients, c)
	}
	return r
}

func mac(i int) string { return fmt.Sprintf("52:54:00:00:%02x:%02x", i>>8, i&0xff) }

// udhcpc gets a lease, configures eth0 with it, and returns what it was told.
func (s *space) udhcpc(args ...string) map[string]string {
	s.t.Helper()
	out := s.run("udhcpc", append([]string{"-i", "eth0", "-f", "-q", "-n", "-t", "8", "-T", "1", "-s", udhcpcScript(s.t)},
		args...)...)
	return environment(out)
}

func environment(out string) map[string]string {
	env := make(map[string]string)
	for l := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(l), "="); ok {
			env[k] = v
		}
	}
	return env
}

func udhcpcScript(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(path, []byte(`#!/bin/sh
case "$1" in
deconfig) ip addr flush dev $interface ;;
bound) ip addr add $ip/$mask dev $interface; echo event=bound; env ;;
*) echo "event=$1" ;;
esac
`), 0o755))
	return path
}

var (
	discover = dhcpv4.MessageTypeDiscover.String()
	request  = dhcpv4.MessageTypeRequest.String()
	offered  = dhcpv4.MessageTypeOffer.String()
	acked    = dhcpv4.MessageTypeAck.String()
)
