package sqlite

import (
	"context"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

func logged(i int, addr string, granted time.Time) dhcp.Lease {
	granted = inventory.Moment(granted)
	return dhcp.Lease{MAC: net.HardwareAddr{2, 0, 0, 0, byte(i >> 8), byte(i)}, Addr: netip.MustParseAddr(addr), Subnet: "rack",
		Hostname: fmt.Sprintf("node-%d", i), GrantedAt: granted, ExpiresAt: granted.Add(time.Hour)}
}

func openLog(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(t.Context(), path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func held(t *testing.T, s *Store) map[string]string {
	t.Helper()
	all, err := s.Leases(t.Context())
	require.NoError(t, err)
	out := map[string]string{}
	for _, l := range all {
		require.NotContains(t, slices.Collect(maps.Values(out)), l.Addr.String(), "an address is in one lease")
		out[l.MAC.String()] = l.Addr.String()
	}
	return out
}

func count(t *testing.T, s *Store, table string) (n int) {
	t.Helper()
	require.NoError(t, s.readers.QueryRowContext(t.Context(), "SELECT count(*) FROM "+table).Scan(&n))
	return n
}

func TestLogIsFoldedIntoTheTableWhenNothingIsSaved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	s := openLog(t, path)
	now := time.Now()
	const leases = 3*foldAtOnce + 7
	for i := range leases {
		require.NoError(t, s.SaveLease(t.Context(), logged(i, fmt.Sprintf("10.0.%d.%d", i>>8, i&0xff), now)))
	}
	require.NoError(t, s.DeleteLease(t.Context(), "rack", logged(0, "10.0.0.0", now).MAC))
	want := held(t, s)
	require.Len(t, want, leases-1)
	require.Zero(t, count(t, s, "leases"))
	require.Eventually(t, func() bool { return count(t, s, "lease_log") == 0 }, 20*time.Second, 20*time.Millisecond)
	require.Equal(t, leases-1, count(t, s, "leases"))
	require.Equal(t, want, held(t, s))
	require.NoError(t, s.Check(t.Context()))
	require.NoError(t, s.Close())
	require.Equal(t, want, held(t, openLog(t, path)))
}

// Each state that a kill between two steps of a fold leaves behind is read as what was saved.
func TestFoldCanBeInterruptedAnywhere(t *testing.T) {
	dir := t.TempDir()
	s := openLog(t, filepath.Join(dir, "loda.db"))
	now := time.Now()
	save := func(ls ...dhcp.Lease) {
		for _, err := range s.SaveLeases(t.Context(), ls) {
			require.NoError(t, err)
		}
	}
	copies := 0
	look := func() {
		want := held(t, s)
		copies++
		path := filepath.Join(dir, fmt.Sprintf("copy-%d.db", copies))
		require.NoError(t, s.Backup(t.Context(), path))
		again := openLog(t, path)
		require.Equal(t, want, held(t, again))
		// And goes on from there.
		require.NoError(t, again.SaveLease(t.Context(), logged(9999, "10.9.9.9", now)))
		want[logged(9999, "10.9.9.9", now).MAC.String()] = "10.9.9.9"
		require.Equal(t, want, held(t, again))
		require.NoError(t, again.Close())
	}
	foldStep := func() bool {
		var more bool
		done := make(chan error, 1)
		require.NoError(t, s.write(context.Background(), "nothing", func(*tx) error { return nil }))
		s.writer.between <- func() { m, err := s.writer.fold(foldAtOnce); more = m; done <- err }
		require.NoError(t, <-done)
		return more
	}
	addr := func(i int) string { return fmt.Sprintf("10.0.%d.%d", i>>8, i&0xff) }
	later := now.Add(2 * time.Hour)
	for i := range 2*foldAtOnce + 50 {
		save(logged(i, addr(i), now))
	}
	foldStep()
	look()
	// While it is under way: neighbours swap addresses, one takes over from another, one goes.
	save(logged(1000, addr(0), later), logged(0, addr(1), later), logged(1, "10.0.9.1", later))
	save(logged(400, addr(250), later), logged(250, addr(251), later))
	require.NoError(t, s.DeleteLease(t.Context(), "rack", logged(260, addr(260), now).MAC))
	look()
	steps := 0
	for foldStep() {
		look()
		steps++
		require.Less(t, steps, 20)
	}
	look()
	require.Positive(t, steps)
	require.Zero(t, count(t, s, "lease_log"))
}

func TestWhatAnotherProcessSavedIsSeen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	a, b := openLog(t, path), openLog(t, path)
	now := time.Now()
	require.NoError(t, a.SaveLease(t.Context(), logged(1, "10.0.0.1", now)))
	require.ErrorIs(t, b.SaveLease(t.Context(), logged(2, "10.0.0.1", now)), dhcp.ErrAddressTaken)
	require.NoError(t, b.SaveLease(t.Context(), logged(2, "10.0.0.2", now)))
	require.ErrorIs(t, a.SaveLease(t.Context(), logged(3, "10.0.0.2", now)), dhcp.ErrAddressTaken)
	require.NoError(t, b.DeleteLease(t.Context(), "rack", logged(1, "10.0.0.1", now).MAC))
	require.NoError(t, a.SaveLease(t.Context(), logged(3, "10.0.0.1", now)))
	require.Equal(t, held(t, a), held(t, b))
}

func TestMachinesThatAnotherProcessChangedAreANewVersion(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	a, b := openLog(t, path), openLog(t, path)
	before, ok := a.MachinesVersion(t.Context())
	require.True(t, ok)
	require.NoError(t, b.CreateMachines(t.Context(), []inventory.Machine{{Serial: "SN1"}}))
	require.Eventually(t, func() bool {
		after, ok := a.MachinesVersion(t.Context())
		return ok && after != before
	}, 5*time.Second, 10*time.Millisecond)
	_, ok = func() (uint64, bool) {
		s, err := Open(t.Context(), filepath.Join(t.TempDir(), "other.db"), WithMachines(a))
		require.NoError(t, err)
		defer s.Close()
		return s.MachinesVersion(t.Context())
	}()
	require.False(t, ok, "the machines are elsewhere")
}

func TestRefusedWriteLeavesTheIndexAsItWas(t *testing.T) {
	x := newLeaseIndex()
	now := time.Now()
	put := func(l dhcp.Lease) {
		k, r, err := x.pack(&l)
		require.NoError(t, err)
		x.change(k, r.addr)
		x.put(k, r)
	}
	put(logged(1, "10.0.0.1", now))
	put(logged(2, "10.0.0.2", now))
	rows, owner, n := maps.Clone(x.rows), maps.Clone(x.owner), len(x.undo)
	put(logged(1, "10.0.0.2", now))
	put(logged(2, "10.0.0.1", now))
	put(logged(3, "10.0.0.1", now))
	put(logged(3, "10.0.0.3", now))
	x.revert(n)
	require.Equal(t, rows, x.rows)
	require.Equal(t, owner, x.owner)
	x.revert(0)
	require.Empty(t, x.rows)
	require.Empty(t, x.owner)
}

func TestDamagedLogIsSaid(t *testing.T) {
	path := filepath.Join(t.TempDir(), "loda.db")
	s := openLog(t, path)
	require.NoError(t, s.write(t.Context(), "damage", func(t *tx) error {
		_, err := t.exec("INSERT INTO lease_log (entries) VALUES (?)", []byte{logVersion, logPut, 200, 1})
		return err
	}))
	_, err := s.Leases(t.Context())
	require.ErrorIs(t, err, errLog)
	require.ErrorContains(t, err, "lease_log")
	require.ErrorIs(t, s.SaveLease(t.Context(), logged(1, "10.0.0.1", time.Now())), errLog)
}

func TestHardwareAddressThatDHCPCannotCarryIsRefused(t *testing.T) {
	s := openLog(t, filepath.Join(t.TempDir(), "loda.db"))
	l := logged(1, "10.0.0.1", time.Now())
	l.MAC = make(net.HardwareAddr, 20)
	require.ErrorContains(t, s.SaveLease(t.Context(), l), "20 bytes")
	require.Empty(t, held(t, s))
}

func FuzzLeaseLog(f *testing.F) {
	l := logged(1, "10.0.0.1", time.Unix(1e9, 0))
	f.Add(appendDelete(appendPut([]byte{logVersion}, &l), l.Subnet, l.MAC))
	f.Add([]byte{logVersion, logPut, 0, 0, 0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		x := newLeaseIndex()
		if x.replay(b) != nil {
			return
		}
		require.Len(t, x.owner, len(x.rows))
		for k, r := range x.rows {
			require.Equal(t, k, x.owner[r.addr])
			_ = x.unpack(k, r)
		}
	})
}
