package inventorytest

import (
	"bytes"
	"context"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

// RunLeases tests a store of leases.
func RunLeases(t *testing.T, open func(t *testing.T) inventory.LeaseStore) {
	check(t, open, []statement[inventory.LeaseStore]{
		{"a lease comes back as it was saved", leaseRoundTrip},
		{"no leases are an empty list", leaseNone},
		{"a renewal replaces the lease", leaseRenewal},
		{"another address replaces the lease and frees the old address", leaseOtherAddress},
		{"a hardware address has a lease in each subnet", leaseSubnets},
		{"an unexpired lease of another hardware address keeps its address", leaseTaken},
		{"a declined address is kept from everybody else", leaseDeclined},
		{"an expired lease gives way", leaseExpired},
		{"expired leases are listed", leaseExpiredListed},
		{"a refused lease leaves the old lease of its owner as it was", leaseRefusedKeepsOld},
		{"a deleted lease frees its address", leaseDelete},
		{"deleting what does not exist is no error", leaseDeleteNothing},
		{"values share no memory with the store", leaseAliasing},
		{"concurrent claims of one address have one winner", leaseRace},
		{"a rack that asks at once gets a lease each", leaseRush},
		{"leases of a batch are judged one by one, in their order, if the store has batches", leaseBatch},
		{"a batch survives its neighbours, if the store has batches", leaseBatches},
		{"a context that has ended stores and returns nothing", leaseContext},
	})
}

func hw(i int) net.HardwareAddr { return mac(i).Hardware() }

func lease(i int, addr string) dhcp.Lease {
	now := inventory.Moment(time.Now())
	return dhcp.Lease{MAC: hw(i), Addr: netip.MustParseAddr(addr), Subnet: "rack-1", Hostname: "node",
		GrantedAt: now, ExpiresAt: now.Add(time.Hour)}
}

func expired(i int, addr string) dhcp.Lease {
	l := lease(i, addr)
	l.GrantedAt, l.ExpiresAt = l.GrantedAt.Add(-2*time.Hour), l.GrantedAt.Add(-time.Second)
	return l
}

func save(t *testing.T, s inventory.LeaseStore, ls ...dhcp.Lease) {
	t.Helper()
	for _, l := range ls {
		require.NoError(t, s.SaveLease(t.Context(), l))
	}
}

// leases are all leases, ordered by address.
func leases(t *testing.T, s inventory.LeaseStore) []dhcp.Lease {
	t.Helper()
	ls, err := s.Leases(t.Context())
	require.NoError(t, err)
	slices.SortFunc(ls, func(a, b dhcp.Lease) int { return a.Addr.Compare(b.Addr) })
	return ls
}

func leaseRoundTrip(t *testing.T, s inventory.LeaseStore) {
	a, b := lease(1, "10.0.0.1"), lease(2, "10.0.0.2")
	b.Hostname, b.Declined = "", true
	save(t, s, a, b)
	require.Equal(t, []dhcp.Lease{a, b}, leases(t, s))
}

func leaseNone(t *testing.T, s inventory.LeaseStore) { require.Empty(t, leases(t, s)) }

func leaseRenewal(t *testing.T, s inventory.LeaseStore) {
	l := lease(1, "10.0.0.1")
	save(t, s, l)
	l.GrantedAt, l.ExpiresAt, l.Hostname = l.GrantedAt.Add(time.Minute), l.ExpiresAt.Add(time.Minute), "renewed"
	save(t, s, l, l)
	require.Equal(t, []dhcp.Lease{l}, leases(t, s))
}

func leaseOtherAddress(t *testing.T, s inventory.LeaseStore) {
	save(t, s, lease(1, "10.0.0.1"))
	moved, next := lease(1, "10.0.0.2"), lease(2, "10.0.0.1")
	save(t, s, moved, next)
	require.Equal(t, []dhcp.Lease{next, moved}, leases(t, s))
}

func leaseSubnets(t *testing.T, s inventory.LeaseStore) {
	a, b := lease(1, "10.0.0.1"), lease(1, "10.0.1.1")
	b.Subnet = "rack-2"
	save(t, s, a, b)
	require.Equal(t, []dhcp.Lease{a, b}, leases(t, s))

	renamed := lease(1, "10.0.1.1")
	renamed.Subnet = "rack-3"
	save(t, s, renamed)
	require.Equal(t, []dhcp.Lease{a, renamed}, leases(t, s), "an address is in one lease, also when its subnet is renamed")
}

func leaseTaken(t *testing.T, s inventory.LeaseStore) {
	held := lease(1, "10.0.0.1")
	save(t, s, held)
	err := s.SaveLease(t.Context(), lease(2, "10.0.0.1"))
	require.ErrorIs(t, err, dhcp.ErrAddressTaken)
	require.ErrorContains(t, err, hw(1).String(), "the error names the holder")
	other := lease(2, "10.0.0.1")
	other.Subnet = "rack-2"
	require.ErrorIs(t, s.SaveLease(t.Context(), other), dhcp.ErrAddressTaken, "in another subnet as well")
	require.Equal(t, []dhcp.Lease{held}, leases(t, s))
}

func leaseDeclined(t *testing.T, s inventory.LeaseStore) {
	declined := lease(1, "10.0.0.1")
	declined.Declined = true
	save(t, s, declined)
	require.ErrorIs(t, s.SaveLease(t.Context(), lease(2, "10.0.0.1")), dhcp.ErrAddressTaken)
	require.Equal(t, []dhcp.Lease{declined}, leases(t, s))
}

func leaseExpired(t *testing.T, s inventory.LeaseStore) {
	save(t, s, expired(1, "10.0.0.1"))
	next := lease(2, "10.0.0.1")
	save(t, s, next)
	require.Equal(t, []dhcp.Lease{next}, leases(t, s))
	require.ErrorIs(t, s.SaveLease(t.Context(), lease(1, "10.0.0.1")), dhcp.ErrAddressTaken)
}

func leaseExpiredListed(t *testing.T, s inventory.LeaseStore) {
	old := expired(1, "10.0.0.1")
	save(t, s, old)
	require.Equal(t, []dhcp.Lease{old}, leases(t, s))
}

func leaseRefusedKeepsOld(t *testing.T, s inventory.LeaseStore) {
	a, b := lease(1, "10.0.0.1"), lease(2, "10.0.0.2")
	save(t, s, a, b)
	require.ErrorIs(t, s.SaveLease(t.Context(), lease(2, "10.0.0.1")), dhcp.ErrAddressTaken)
	require.Equal(t, []dhcp.Lease{a, b}, leases(t, s))
}

func leaseDelete(t *testing.T, s inventory.LeaseStore) {
	a, b := lease(1, "10.0.0.1"), lease(1, "10.0.1.1")
	b.Subnet = "rack-2"
	save(t, s, a, b)
	require.NoError(t, s.DeleteLease(t.Context(), "rack-1", hw(1)))
	require.Equal(t, []dhcp.Lease{b}, leases(t, s))
	save(t, s, lease(2, "10.0.0.1"))
}

func leaseDeleteNothing(t *testing.T, s inventory.LeaseStore) {
	a := lease(1, "10.0.0.1")
	save(t, s, a)
	require.NoError(t, s.DeleteLease(t.Context(), "rack-1", hw(2)))
	require.NoError(t, s.DeleteLease(t.Context(), "rack-2", hw(1)))
	require.Equal(t, []dhcp.Lease{a}, leases(t, s))
}

func leaseAliasing(t *testing.T, s inventory.LeaseStore) {
	l := lease(1, "10.0.0.1")
	given := l
	given.MAC = bytes.Clone(l.MAC)
	save(t, s, given)
	given.MAC[5] = 0xff
	got := leases(t, s)
	require.Equal(t, []dhcp.Lease{l}, got)
	got[0].MAC[5] = 0xff
	require.Equal(t, []dhcp.Lease{l}, leases(t, s))
}

func leaseRace(t *testing.T, s inventory.LeaseStore) {
	won := 0
	for _, err := range together(16, func(i int) error {
		return s.SaveLease(context.Background(), lease(i, "10.0.0.1"))
	}) {
		if err == nil {
			won++
			continue
		}
		require.ErrorIs(t, err, dhcp.ErrAddressTaken)
	}
	require.Equal(t, 1, won)
	require.Len(t, leases(t, s), 1)
}

func leaseRush(t *testing.T, s inventory.LeaseStore) {
	addr := func(i int) string { return netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}).String() }
	for _, err := range together(200, func(i int) error { return s.SaveLease(context.Background(), lease(i, addr(i))) }) {
		require.NoError(t, err)
	}
	got := leases(t, s)
	require.Len(t, got, 200)
	for i, l := range got {
		require.Equal(t, addr(i), l.Addr.String())
		require.Equal(t, hw(i), l.MAC)
	}
}

func leaseContext(t *testing.T, s inventory.LeaseStore) {
	l := lease(1, "10.0.0.1")
	save(t, s, l)
	require.ErrorIs(t, s.SaveLease(ended(), lease(2, "10.0.0.2")), context.Canceled)
	require.ErrorIs(t, s.DeleteLease(ended(), "rack-1", hw(1)), context.Canceled)
	_, err := s.Leases(ended())
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []dhcp.Lease{l}, leases(t, s))
}

// leaseBatch is for stores that are a [dhcp.LeaseBatchStore] as well.
func leaseBatch(t *testing.T, s inventory.LeaseStore) {
	batch, ok := s.(dhcp.LeaseBatchStore)
	if !ok {
		return
	}
	held, gone := lease(1, "10.0.0.1"), expired(2, "10.0.0.2")
	save(t, s, held, gone)
	fresh, taken, heir := lease(3, "10.0.0.3"), lease(4, "10.0.0.1"), lease(5, "10.0.0.2")
	late, moved, next := lease(6, "10.0.0.3"), lease(3, "10.0.0.4"), lease(7, "10.0.0.3")
	errs := batch.SaveLeases(t.Context(), []dhcp.Lease{fresh, taken, heir, late, moved, next})
	require.Len(t, errs, 6)
	for i, refused := range []bool{false, true, false, true, false, false} {
		require.Equal(t, refused, errs[i] != nil, "lease %d: %v", i, errs[i])
	}
	require.ErrorIs(t, errs[1], dhcp.ErrAddressTaken)
	require.ErrorIs(t, errs[3], dhcp.ErrAddressTaken, "by a lease of the same batch")
	require.Equal(t, []dhcp.Lease{held, heir, next, moved}, leases(t, s))

	require.Empty(t, batch.SaveLeases(t.Context(), nil))
	for _, err := range batch.SaveLeases(ended(), []dhcp.Lease{lease(9, "10.0.0.9"), lease(10, "10.0.0.10")}) {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.Len(t, leases(t, s), 4)
}

func leaseBatches(t *testing.T, s inventory.LeaseStore) {
	batch, ok := s.(dhcp.LeaseBatchStore)
	if !ok {
		return
	}
	addr := func(i, j int) string { return netip.AddrFrom4([4]byte{10, 0, byte(i), byte(j)}).String() }
	for _, err := range together(16, func(i int) error {
		var all []dhcp.Lease
		for j := range 20 {
			all = append(all, lease(i*20+j, addr(i, j)))
		}
		all = append(all, lease(1000+i, "10.1.0.1")) // one of them wins
		for _, err := range batch.SaveLeases(context.Background(), all)[:20] {
			if err != nil {
				return err
			}
		}
		return batch.DeleteLease(context.Background(), "rack-1", hw(i*20))
	}) {
		require.NoError(t, err)
	}
	require.Len(t, leases(t, s), 16*19+1)
}
