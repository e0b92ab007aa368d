package memory

import (
	"context"
	"fmt"
	"net"
	"slices"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

type leaseKey struct{ subnet, mac string }

func (s *Store) Leases(ctx context.Context) ([]dhcp.Lease, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]dhcp.Lease, 0, len(s.leases))
	for _, l := range s.leases {
		l.MAC = slices.Clone(l.MAC)
		out = append(out, l)
	}
	return out, nil
}

func (s *Store) SaveLease(ctx context.Context, l dhcp.Lease) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	l, err := inventory.NormalizeLease(l)
	if err != nil {
		return err
	}
	key, addr := leaseKey{l.Subnet, l.MAC.String()}, l.Addr.String()
	s.mu.Lock()
	defer s.mu.Unlock()
	if holder, ok := s.leased[addr]; ok && holder != key {
		if held := s.leases[holder]; holder.mac != key.mac && held.ExpiresAt.After(l.GrantedAt) {
			return fmt.Errorf("lease of %s for %s: %w (%s until %s)", addr, key.mac, dhcp.ErrAddressTaken, holder.mac,
				held.ExpiresAt)
		}
		delete(s.leases, holder)
	}
	if old, ok := s.leases[key]; ok {
		delete(s.leased, old.Addr.String())
	}
	s.leases[key], s.leased[addr] = l, key
	return nil
}

// SaveLeases makes the store a [dhcp.LeaseBatchStore].
func (s *Store) SaveLeases(ctx context.Context, leases []dhcp.Lease) []error {
	errs := make([]error, len(leases))
	for i, l := range leases {
		errs[i] = s.SaveLease(ctx, l)
	}
	return errs
}

func (s *Store) DeleteLease(ctx context.Context, subnet string, mac net.HardwareAddr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	key := leaseKey{subnet, mac.String()}
	s.mu.Lock()
	defer s.mu.Unlock()
	if old, ok := s.leases[key]; ok {
		delete(s.leased, old.Addr.String())
		delete(s.leases, key)
	}
	return nil
}
