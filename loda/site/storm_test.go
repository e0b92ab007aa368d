//go:build linux

package site_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory/sqlite"
	"github.com/project-loda/loda/scripts/need"
	"github.com/project-loda/loda/scripts/storm"
)

// fleetEnv makes this test binary the clients of a storm: JSON of a fleet, until it is done or gets SIGTERM.
const fleetEnv = "TEST_BINARY_IS_A_FLEET"

func storms(text string) error {
	var f storm.Fleet
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), f.For)
	defer cancel()
	f.For = 0
	r, err := f.Run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// weather is a site in one namespace and a relay with a whole hall of machines behind it in another.
type weather struct {
	t              *testing.T
	server, client string
	dir            string
	store          *sqlite.Store
	cmd            *exec.Cmd
	said           *log
}

func newWeather(t *testing.T, dir string) *weather {
	t.Helper()
	need.Root(t)
	need.Command(t, "ip")
	w := &weather{t: t, dir: dir}
	for _, one := range []struct {
		name *string
		end  string
	}{{&w.server, "s"}, {&w.client, "c"}} {
		*one.name = fmt.Sprintf("loda-storm-%d-%s", os.Getpid(), one.end)
		w.ip("netns", "add", *one.name)
		t.Cleanup(func() { w.ip("netns", "del", *one.name) })
		w.ip("-n", *one.name, "link", "set", "lo", "up")
	}
	w.ip("link", "add", "br0", "netns", w.server, "type", "veth", "peer", "name", "eth0", "netns", w.client)
	for _, end := range [][3]string{{w.server, "br0", "10.10.0.1/16"}, {w.client, "eth0", "10.10.0.2/16"}} {
		w.ip("-n", end[0], "addr", "add", end[2], "dev", end[1])
		w.ip("-n", end[0], "link", "set", end[1], "up")
	}
	subnet, err := json.Marshal(dhcp.Subnet{Name: "hall", Prefix: netip.MustParsePrefix("10.10.0.0/16"), Unknown: dhcp.UnknownLease,
		Pool: dhcp.Range{First: netip.MustParseAddr("10.10.1.0"), Last: netip.MustParseAddr("10.10.255.250")}})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "subnet.json"), subnet, 0o644))
	w.store, err = sqlite.Open(t.Context(), filepath.Join(dir, "loda.db"))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, w.store.Close()) })
	t.Cleanup(w.kill)
	return w
}

func (w *weather) ip(args ...string) {
	w.t.Helper()
	out, err := exec.Command("ip", args...).CombinedOutput()
	require.NoError(w.t, err, "ip %s: %s", strings.Join(args, " "), out)
}

// start runs the site.
func (w *weather) start() {
	w.t.Helper()
	self, err := os.Executable()
	require.NoError(w.t, err)
	w.said = &log{}
	w.cmd = exec.Command("ip", "netns", "exec", w.server, self)
	w.cmd.Env = append(os.Environ(), siteEnv+"="+w.dir)
	w.cmd.Stdout, w.cmd.Stderr = w.said, w.said
	require.NoError(w.t, w.cmd.Start())
	require.Eventually(w.t, func() bool { return strings.Contains(w.said.String(), "site is up") }, 20*time.Second, 5*time.Millisecond, "%s", w.said)
}

// kill is kill -9.
func (w *weather) kill() {
	if w.cmd != nil {
		_ = w.cmd.Process.Kill()
		_ = w.cmd.Wait()
		w.cmd = nil
	}
}

// fleet begins a storm, and returns how to wait for its end.
func (w *weather) fleet(f storm.Fleet, patience time.Duration) func() *storm.Result {
	w.t.Helper()
	self, err := os.Executable()
	require.NoError(w.t, err)
	f.Relay, f.Server, f.For = netip.MustParseAddr("10.10.0.2"), netip.MustParseAddr("10.10.0.1"), patience
	text, err := json.Marshal(f)
	require.NoError(w.t, err)
	cmd := exec.Command("ip", "netns", "exec", w.client, self)
	cmd.Env = append(os.Environ(), fleetEnv+"="+string(text))
	cmd.Stderr = os.Stderr
	type outcome struct {
		text []byte
		err  error
	}
	done := make(chan outcome, 1)
	go func() {
		out, err := cmd.Output()
		done <- outcome{out, err}
	}()
	return func() *storm.Result {
		w.t.Helper()
		got := <-done
		require.NoError(w.t, got.err)
		var r storm.Result
		require.NoError(w.t, json.Unmarshal(got.text, &r))
		return &r
	}
}

// stored are the addresses that the database holds leases of, by hardware address.
func (w *weather) stored() map[string]netip.Addr {
	w.t.Helper()
	leases, err := w.store.Leases(w.t.Context())
	require.NoError(w.t, err)
	out, owners := map[string]netip.Addr{}, map[netip.Addr]string{}
	for _, l := range leases {
		require.Empty(w.t, owners[l.Addr], "%s is in one lease", l.Addr)
		out[l.MAC.String()], owners[l.Addr] = l.Addr, l.MAC.String()
	}
	return out
}

// promises are all ACKs that a test has seen.
type promises struct {
	t      *testing.T
	addrs  map[int]netip.Addr
	owners map[netip.Addr]int
}

func newPromises(t *testing.T) *promises {
	return &promises{t, map[int]netip.Addr{}, map[netip.Addr]int{}}
}

// note adds a fleet's ACKs: no address was promised to another machine before, and no machine was promised another one.
func (p *promises) note(r *storm.Result) {
	p.t.Helper()
	require.Empty(p.t, r.Twice)
	for number, addr := range r.Leases {
		if other, taken := p.owners[addr]; taken {
			require.Equal(p.t, other, number, "%s was promised to two machines", addr)
		}
		if before, had := p.addrs[number]; had {
			require.Equal(p.t, before, addr, "machine %d was promised two addresses", number)
		}
		p.addrs[number], p.owners[addr] = addr, number
	}
}

// kept says whether the database knows of each of them.
func (p *promises) kept(stored map[string]netip.Addr) {
	p.t.Helper()
	for number, addr := range p.addrs {
		require.Equal(p.t, addr, stored[storm.MAC(number).String()], "the acknowledged lease of machine %d", number)
	}
}

// TestKill9InAStormLosesNoAcknowledgedLease kills the site again and again while machines are given addresses. `make
// bench-dhcp` does it with LODA_BENCH_STORM=5000x10: machines, times.
func TestKill9InAStormLosesNoAcknowledgedLease(t *testing.T) {
	machines, times := 1500, 3
	if text := os.Getenv("LODA_BENCH_STORM"); text != "" {
		_, err := fmt.Sscanf(text, "%dx%d", &machines, &times)
		require.NoError(t, err)
	}
	w := newWeather(t, string(furnish(t)))
	all, inTheMiddle := newPromises(t), 0
	for round := range times {
		w.start()
		before := len(w.stored())
		end := w.fleet(storm.Fleet{Clients: machines, First: round * machines}, time.Minute)
		// At a random moment of it.
		target := before + 1 + rand.IntN(machines*3/4)
		require.Eventually(t, func() bool { return len(w.stored()) >= target }, time.Minute, time.Millisecond)
		w.kill()
		at := w.stored()
		if n := len(at) - before; n > 0 && n < machines {
			inTheMiddle++
		}
		w.start()
		r := end()
		require.Len(t, r.Leases, machines, "all of them have a lease in the end")
		all.note(r)
		after := w.stored()
		all.kept(after)
		for mac, addr := range at {
			require.Equal(t, addr, after[mac], "%s had its lease when the site was killed", mac)
		}
		w.kill() // without a storm, too
	}
	require.Positive(t, inTheMiddle, "not one kill came in the middle of a storm")

	w.start()
	again := w.fleet(storm.Fleet{Clients: machines * times}, 2*time.Minute)()
	require.Len(t, again.Leases, machines*times)
	all.note(again) // the same addresses
	t.Logf("%d leases of %d storms, %d of them cut in the middle", len(all.addrs), times, inTheMiddle)
}

// TestFullDiskAcknowledgesNothingThatItCannotKeep fills the disk of the database while machines ask for addresses.
func TestFullDiskAcknowledgesNothingThatItCannotKeep(t *testing.T) {
	need.Root(t)
	dir := string(furnish(t))
	small := filepath.Join(t.TempDir(), "small")
	require.NoError(t, os.Mkdir(small, 0o755))
	require.NoError(t, unix.Mount("tmpfs", small, "tmpfs", 0, "size=6m"))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(small, unix.MNT_DETACH)) })
	require.NoError(t, os.WriteFile(filepath.Join(small, "loda.db"), nil, 0o600))
	require.NoError(t, os.Symlink(filepath.Join(small, "loda.db"), filepath.Join(dir, "loda.db")))
	w := newWeather(t, dir)
	w.start()
	all := newPromises(t)

	const machines = 200
	r := w.fleet(storm.Fleet{Clients: machines}, 20*time.Second)()
	require.Len(t, r.Leases, machines)
	all.note(r)

	ballast := filepath.Join(small, "ballast")
	f, err := os.Create(ballast)
	require.NoError(t, err)
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, f.Close())

	// What is still free within the files of the database is used up first.
	full := -1
	for round := 1; full < 0; round++ {
		require.Less(t, round, 40, "the disk was never full")
		r := w.fleet(storm.Fleet{Clients: machines, First: round * machines}, time.Second)()
		all.note(r)
		all.kept(w.stored())
		if len(r.Leases) == 0 {
			require.Positive(t, r.Requests, "machines are still offered addresses: it is the lease that cannot be kept")
			full = round
		}
	}
	require.Contains(t, w.said.String(), "ALARM: leases cannot be stored")
	require.Contains(t, w.said.String(), "disk of the database is full")

	require.NoError(t, os.Remove(ballast))
	r = w.fleet(storm.Fleet{Clients: machines, First: full * machines}, 20*time.Second)()
	require.Len(t, r.Leases, machines, "there is space again, and nothing was restarted")
	all.note(r)
	all.kept(w.stored())
}
