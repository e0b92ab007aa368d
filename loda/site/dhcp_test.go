//go:build linux

package site_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/sqlite"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/site"
	"github.com/project-loda/loda/scripts/need"
)

// The site of these tests is this test binary, started in a network namespace.

const siteEnv = "TEST_BINARY_IS_A_SITE_IN"

func TestMain(m *testing.M) {
	if dir := os.Getenv(siteEnv); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if text := os.Getenv(fleetEnv); text != "" {
		if err := storms(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func serve(dir string) (err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	text, err := os.ReadFile(filepath.Join(dir, "subnet.json"))
	if err != nil {
		return err
	}
	var subnet dhcp.Subnet
	if err := json.Unmarshal(text, &subnet); err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, filepath.Join(dir, "loda.db"))
	if err != nil {
		return err
	}
	defer store.Close()
	s, err := site.New(site.Config{Dir: site.Layout(dir), Store: store, Profiles: loda.StaticProfiles{}, Interfaces: []string{"br0"},
		Subnets: []dhcp.Subnet{subnet}, NBPDirs: []string{filepath.Join(dir, "nbp")}, Logger: slog.New(slog.NewTextHandler(os.Stdout, nil))})
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// wire is a namespace with a site on a bridge, and others with a NIC each.
type wire struct {
	t     *testing.T
	store *sqlite.Store
	site  string
	nics  []string
}

func nicMAC(i int) inventory.MAC { return inventory.MAC(fmt.Sprintf("52:54:00:00:00:%02x", i)) }

func newWire(t *testing.T, nics int, unknown dhcp.Unknown, machines ...inventory.Machine) *wire {
	t.Helper()
	need.Root(t)
	need.Command(t, "ip", "udhcpc")
	w := &wire{t: t}
	name := func(i int) string {
		ns := fmt.Sprintf("loda-site-%d-%d", os.Getpid(), i)
		w.must("ip", "netns", "add", ns)
		t.Cleanup(func() { w.must("ip", "netns", "del", ns) })
		return ns
	}
	w.site = name(0)
	w.must("ip", "-n", w.site, "link", "set", "lo", "up")
	w.must("ip", "-n", w.site, "link", "add", "br0", "type", "bridge")
	w.must("ip", "-n", w.site, "addr", "add", "10.7.0.1/24", "dev", "br0")
	w.must("ip", "-n", w.site, "link", "set", "br0", "up")
	for i := range nics {
		ns, port := name(i+1), fmt.Sprintf("p%d", i)
		w.must("ip", "link", "add", port, "netns", w.site, "type", "veth", "peer", "name", "eth0", "netns", ns)
		w.must("ip", "-n", w.site, "link", "set", port, "master", "br0", "up")
		w.must("ip", "-n", ns, "link", "set", "eth0", "address", string(nicMAC(i)), "up")
		w.nics = append(w.nics, ns)
	}

	dir := furnish(t)
	subnet, err := json.Marshal(dhcp.Subnet{Name: "rack", Prefix: netip.MustParsePrefix("10.7.0.0/24"), Unknown: unknown,
		Pool: dhcp.Range{First: netip.MustParseAddr("10.7.0.100"), Last: netip.MustParseAddr("10.7.0.120")}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(string(dir), "subnet.json"), subnet, 0o644))
	w.store, err = sqlite.Open(t.Context(), filepath.Join(string(dir), "loda.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.store.Close()) })
	require.NoError(t, w.store.CreateMachines(t.Context(), machines))

	self, err := os.Executable()
	require.NoError(t, err)
	said := &log{}
	cmd := exec.Command("ip", "netns", "exec", w.site, self)
	cmd.Env = append(os.Environ(), siteEnv+"="+string(dir))
	cmd.Stdout, cmd.Stderr = said, said
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
		timer := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		defer timer.Stop()
		require.NoError(t, cmd.Wait(), "%s", said)
	})
	require.Eventually(t, func() bool { return strings.Contains(said.String(), "site is up") }, 10*time.Second, 10*time.Millisecond, "%s", said)
	return w
}

func (w *wire) must(name string, args ...string) {
	w.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(w.t, err, "%s %s: %s", name, strings.Join(args, " "), out)
}

// udhcpc asks for an address by a NIC, and returns what it was told.
func (w *wire) udhcpc(nic int, args ...string) (map[string]string, error) {
	w.t.Helper()
	script := filepath.Join(w.t.TempDir(), "script")
	require.NoError(w.t, os.WriteFile(script, []byte("#!/bin/sh\n[ \"$1\" = bound ] && env\nexit 0\n"), 0o755))
	out, err := exec.Command("ip", append([]string{"netns", "exec", w.nics[nic], "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-T", "1", "-s", script},
		args...)...).Output()
	told := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			told[k] = v
		}
	}
	return told, err
}

// says waits for a line of the timeline.
func (w *wire) says(f inventory.EventFilter, parts ...string) {
	w.t.Helper()
	var all []string
	require.Eventually(w.t, func() bool {
		events, err := w.store.Events(w.t.Context(), f)
		require.NoError(w.t, err)
		all = nil
		for _, e := range events {
			all = append(all, e.Message)
			missing := false
			for _, part := range parts {
				missing = missing || !strings.Contains(e.Message, part)
			}
			if !missing {
				return true
			}
		}
		return false
	}, 5*time.Second, 20*time.Millisecond, "%q in %q", parts, &all)
}

func of(nic int) inventory.EventFilter {
	return inventory.EventFilter{MACs: []inventory.MAC{nicMAC(nic)}, Kinds: []inventory.Kind{inventory.KindDHCP}, Limit: 1000}
}

func TestImportedMachineGetsItsAddressAndName(t *testing.T) {
	w := newWire(t, 2, dhcp.UnknownIgnore, inventory.Machine{Serial: serial, Name: "web-1", MACs: []inventory.MAC{nicMAC(0)},
		Address: netip.MustParseAddr("10.7.0.42")})
	told, err := w.udhcpc(0, "-O", "hostname")
	require.NoError(t, err)
	require.Equal(t, "10.7.0.42", told["ip"])
	require.Equal(t, "web-1", told["hostname"])
	w.says(of(0), "DISCOVER → OFFER 10.7.0.42")
	w.says(of(0), "REQUEST → ACK 10.7.0.42")
	events, err := w.store.Events(t.Context(), of(0))
	require.NoError(t, err)
	var tr dhcp.Trace
	require.NoError(t, json.Unmarshal(events[0].Data, &tr))
	require.Equal(t, "DISCOVER", tr.Asked)
	require.Equal(t, "reserved for this machine", tr.Reason)
	require.Contains(t, tr.VendorClass, "udhcp")

	_, err = w.udhcpc(1, "-t", "2")
	require.Error(t, err, "a machine that nobody imported gets no answer")
	w.says(of(1), "DISCOVER → no answer", "unknown machine")
	events, err = w.store.Events(t.Context(), of(1))
	require.NoError(t, err)
	for _, e := range events {
		require.Contains(t, e.Message, "no answer")
	}
}

// The NIC that netboots need not be the first of the machine, and the others are learnt while it is at work.
func TestMachineKeepsItsAddressWhenOtherNICsAreLearnt(t *testing.T) {
	w := newWire(t, 3, dhcp.UnknownLease, inventory.Machine{Serial: serial, MACs: []inventory.MAC{nicMAC(1)},
		Address: netip.MustParseAddr("10.7.0.42")})
	told, err := w.udhcpc(1)
	require.NoError(t, err)
	require.Equal(t, "10.7.0.42", told["ip"])
	_, err = w.store.UpdateMachine(t.Context(), serial, func(m *inventory.Machine) error {
		m.MACs = []inventory.MAC{nicMAC(0), nicMAC(1)}
		return nil
	})
	require.NoError(t, err)
	for range 2 {
		told, err = w.udhcpc(1)
		require.NoError(t, err)
		require.Equal(t, "10.7.0.42", told["ip"], "it netboots by the second of its NICs")
		told, err = w.udhcpc(0)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(told["ip"], "10.7.0.1"), "the other NIC has one of the pool: %s", told["ip"])
		require.NotEqual(t, "10.7.0.42", told["ip"])
	}
	told, err = w.udhcpc(2)
	require.NoError(t, err)
	require.NotContains(t, []string{"", "10.7.0.42"}, told["ip"], "a stranger gets an address here, but a free one")
}

// What DHCP remembers of a stranger ends when the inventory changes, here by another process.
func TestStrangerThatIsImportedIsAnswered(t *testing.T) {
	w := newWire(t, 1, dhcp.UnknownIgnore)
	_, err := w.udhcpc(0, "-t", "1")
	require.Error(t, err)
	require.NoError(t, w.store.CreateMachines(t.Context(), []inventory.Machine{{Serial: serial, MACs: []inventory.MAC{nicMAC(0)},
		Address: netip.MustParseAddr("10.7.0.42")}}))
	told, err := w.udhcpc(0, "-t", "3")
	require.NoError(t, err)
	require.Equal(t, "10.7.0.42", told["ip"])
	_, err = w.store.UpdateMachine(t.Context(), serial, func(m *inventory.Machine) error {
		m.Address = netip.MustParseAddr("10.7.0.43")
		return nil
	})
	require.NoError(t, err)
	time.Sleep(250 * time.Millisecond) // what inventory.MachineVersioner allows another process
	told, err = w.udhcpc(0, "-t", "3")
	require.NoError(t, err)
	require.Equal(t, "10.7.0.43", told["ip"])
}
