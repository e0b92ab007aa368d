package memory

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/project-loda/loda/inventory"
)

// index is the store's machines seen by one who holds the lock.
type index struct{ s *Store }

func (x index) Machine(_ context.Context, serial inventory.Serial) (*inventory.Machine, error) {
	m, ok := x.s.machines.rows[serial]
	if !ok {
		return nil, fmt.Errorf("machine %s: %w", serial, inventory.ErrNotFound)
	}
	c := m.Clone()
	return &c, nil
}

func (x index) MachineByMAC(ctx context.Context, mac inventory.MAC) (*inventory.Machine, error) {
	serial, ok := x.s.byMAC[mac]
	if !ok {
		return nil, fmt.Errorf("machine with MAC %s: %w", mac, inventory.ErrNotFound)
	}
	return x.Machine(ctx, serial)
}

func (x index) MachineByAddress(ctx context.Context, a netip.Addr) (*inventory.Machine, error) {
	serial, ok := x.s.byAddr[a.String()]
	if !ok {
		return nil, fmt.Errorf("machine with address %s: %w", a, inventory.ErrNotFound)
	}
	return x.Machine(ctx, serial)
}

// put replaces whatever the store knows of the machine.
func (x index) put(m inventory.Machine) {
	x.forget(m.Serial)
	x.s.machines.put(m.Serial, &m)
	for _, mac := range m.MACs {
		x.s.byMAC[mac] = m.Serial
	}
	if m.Address.IsValid() {
		x.s.byAddr[m.Address.String()] = m.Serial
	}
}

// forget drops the machine's keys; the row itself stays for put or DeleteMachine.
func (x index) forget(serial inventory.Serial) {
	old, ok := x.s.machines.rows[serial]
	if !ok {
		return
	}
	for _, mac := range old.MACs {
		delete(x.s.byMAC, mac)
	}
	delete(x.s.byAddr, old.Address.String())
}

func (s *Store) Machine(ctx context.Context, serial inventory.Serial) (*inventory.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return index{s}.Machine(ctx, serial)
}

func (s *Store) MachineByMAC(ctx context.Context, mac inventory.MAC) (*inventory.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return index{s}.MachineByMAC(ctx, mac)
}

// MachineByAddress makes the store an [inventory.MachineIndex].
func (s *Store) MachineByAddress(ctx context.Context, a netip.Addr) (*inventory.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return index{s}.MachineByAddress(ctx, a)
}

func (s *Store) Machines(ctx context.Context, f inventory.MachineFilter) ([]inventory.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []inventory.Machine
	for _, m := range s.machines.page(f.After, false, inventory.PageLimit(f.Limit), f.Match) {
		out = append(out, m.Clone())
	}
	return out, nil
}

func (s *Store) CreateMachines(ctx context.Context, ms []inventory.Machine) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ready, err := inventory.CheckImport(ctx, index{s}, ms, time.Now())
	if err != nil {
		return err
	}
	for _, m := range ready {
		index{s}.put(m)
	}
	return nil
}

func (s *Store) UpdateMachine(ctx context.Context, serial inventory.Serial,
	change func(*inventory.Machine) error) (*inventory.Machine, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	m, err := index{s}.Machine(ctx, serial)
	if err != nil {
		return nil, err
	}
	before := m.Clone()
	if err := change(m); err != nil {
		return nil, err
	}
	after := m.Clone() // change may have kept something of m
	if err := inventory.CheckUpdate(ctx, index{s}, &before, &after, time.Now()); err != nil {
		return nil, err
	}
	index{s}.put(after)
	stored := after.Clone()
	return &stored, nil
}

func (s *Store) DeleteMachine(ctx context.Context, serial inventory.Serial) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.machines.rows[serial]; !ok {
		return fmt.Errorf("machine %s: %w", serial, inventory.ErrNotFound)
	}
	index{s}.forget(serial)
	s.machines.remove(serial)
	return nil
}
