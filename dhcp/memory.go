package dhcp

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// MemoryLeases is a [LeaseStore] that forgets everything when the program ends: for tests, and for small programs that
// can live with the addresses that the hash of each hardware address gives. The zero value is ready to use.
type MemoryLeases struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	mu     sync.Mutex
	leases map[leaseKey]Lease
	owners map[netip.Addr]leaseKey
}

type leaseKey struct{ subnet, mac string }

// NewMemoryLeases returns an empty store.
func NewMemoryLeases() *MemoryLeases { return &MemoryLeases{} }

func (m *MemoryLeases) now() time.Time {
	if m.Now != nil {
		return m.Now()
	}
	return time.Now()
}

// Leases returns all leases.
func (m *MemoryLeases) Leases(ctx context.Context) ([]Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	out := make([]Lease, 0, len(m.leases))
	for _, l := range m.leases {
		l.MAC = slices.Clone(l.MAC)
		out = append(out, l)
	}
	return out, nil
}

// SaveLease inserts or replaces a lease.
func (m *MemoryLeases) SaveLease(ctx context.Context, l Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leases == nil {
		m.leases, m.owners = make(map[leaseKey]Lease), make(map[netip.Addr]leaseKey)
	}
	key := leaseKey{l.Subnet, l.MAC.String()}
	if owner, taken := m.owners[l.Addr]; taken && owner != key {
		if other := m.leases[owner]; owner.mac != key.mac && other.ExpiresAt.After(m.now()) {
			return fmt.Errorf("lease %s to %s: %w: %s until %s", l.Addr, l.MAC, ErrAddressTaken, other.MAC,
				other.ExpiresAt.Format(time.RFC3339))
		}
		delete(m.leases, owner)
	}
	if old, exists := m.leases[key]; exists {
		delete(m.owners, old.Addr)
	}
	l.MAC = slices.Clone(l.MAC)
	m.leases[key], m.owners[l.Addr] = l, key
	return nil
}

// SaveLeases makes the store a [LeaseBatchStore].
func (m *MemoryLeases) SaveLeases(ctx context.Context, leases []Lease) []error {
	errs := make([]error, len(leases))
	for i, l := range leases {
		errs[i] = m.SaveLease(ctx, l)
	}
	return errs
}

// DeleteLease forgets a lease.
func (m *MemoryLeases) DeleteLease(ctx context.Context, subnet string, mac net.HardwareAddr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	key := leaseKey{subnet, mac.String()}
	if old, exists := m.leases[key]; exists {
		delete(m.leases, key)
		delete(m.owners, old.Addr)
	}
	return nil
}
