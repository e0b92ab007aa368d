package dhcp

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestMemoryLeasesKeepTheContract(t *testing.T) {
	now := start
	m := &MemoryLeases{Now: func() time.Time { return now }}
	a := Lease{MAC: alice, Addr: ip("10.7.0.5"), Subnet: "rack-7", GrantedAt: now, ExpiresAt: now.Add(time.Hour)}
	b := a
	b.MAC = bob
	require.NoError(t, m.SaveLease(t.Context(), a))
	require.NoError(t, m.SaveLease(t.Context(), a), "renewing")
	require.ErrorIs(t, m.SaveLease(t.Context(), b), ErrAddressTaken)
	all, err := m.Leases(t.Context())
	require.NoError(t, err)
	require.Equal(t, []Lease{a}, all)

	now = now.Add(time.Hour)
	b.ExpiresAt = now.Add(time.Hour)
	require.NoError(t, m.SaveLease(t.Context(), b), "expired ones are replaced")
	all, _ = m.Leases(t.Context())
	require.Equal(t, []Lease{b}, all)

	b.Addr = ip("10.7.0.6")
	require.NoError(t, m.SaveLease(t.Context(), b), "one lease for each machine and subnet")
	a.ExpiresAt = now.Add(time.Hour)
	require.NoError(t, m.SaveLease(t.Context(), a))
	require.NoError(t, m.DeleteLease(t.Context(), "rack-7", bob))
	require.NoError(t, m.DeleteLease(t.Context(), "rack-7", bob))
	require.NoError(t, m.DeleteLease(t.Context(), "elsewhere", alice))
	all, _ = m.Leases(t.Context())
	require.Equal(t, []Lease{a}, all)
	all[0].MAC[5] ^= 1
	all, _ = m.Leases(t.Context())
	require.Equal(t, alice.String(), all[0].MAC.String(), "callers may not reach into the store")
}
