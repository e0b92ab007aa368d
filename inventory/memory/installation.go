package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/project-loda/loda/inventory"
)

func (s *Store) CreateInstallation(ctx context.Context, inst inventory.Installation, events ...inventory.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	inst = inst.Clone()
	if err := inst.Normalize(now); err != nil {
		return fmt.Errorf("installation %s of machine %s: %w", inst.ID, inst.Serial, err)
	}
	events, err := prepare(events, now)
	if err != nil {
		return err
	}
	if s.external != nil {
		if _, err := s.external.Machine(ctx, inst.Serial); err != nil {
			return fmt.Errorf("installation %s: %w", inst.ID, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.external == nil {
		if _, ok := s.machines.rows[inst.Serial]; !ok {
			return fmt.Errorf("installation %s: machine %s: %w", inst.ID, inst.Serial, inventory.ErrNotFound)
		}
	}
	if old, ok := s.installations.rows[inst.ID]; ok {
		return &inventory.ConflictError{What: "installation " + inst.ID, Owner: "machine " + string(old.Serial)}
	}
	if err := s.checkOpen(&inst); err != nil {
		return err
	}
	s.putInstallation(inst)
	s.append(events)
	return nil
}

// checkOpen refuses a second open installation of a machine.
func (s *Store) checkOpen(inst *inventory.Installation) error {
	if id, ok := s.open[inst.Serial]; ok && id != inst.ID && inst.State.Open() {
		return &inventory.ConflictError{What: "machine " + string(inst.Serial), Owner: "open installation " + id}
	}
	return nil
}

func (s *Store) putInstallation(inst inventory.Installation) {
	s.installations.put(inst.ID, &inst)
	if inst.State.Open() {
		s.open[inst.Serial] = inst.ID
	} else if s.open[inst.Serial] == inst.ID {
		delete(s.open, inst.Serial)
	}
}

func (s *Store) installation(id string) (*inventory.Installation, error) {
	inst, ok := s.installations.rows[id]
	if !ok {
		return nil, fmt.Errorf("installation %s: %w", id, inventory.ErrNotFound)
	}
	c := inst.Clone()
	return &c, nil
}

func (s *Store) Installation(ctx context.Context, id string) (*inventory.Installation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.installation(id)
}

func (s *Store) OpenInstallation(ctx context.Context, serial inventory.Serial) (*inventory.Installation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	id, ok := s.open[serial]
	if !ok {
		return nil, fmt.Errorf("open installation of machine %s: %w", serial, inventory.ErrNotFound)
	}
	return s.installation(id)
}

func (s *Store) Installations(ctx context.Context, f inventory.InstallationFilter) ([]inventory.Installation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []inventory.Installation
	for _, inst := range s.installations.page(f.After, f.Newest, inventory.PageLimit(f.Limit), f.Match) {
		out = append(out, inst.Clone())
	}
	return out, nil
}

func (s *Store) UpdateInstallation(ctx context.Context, id string,
	change func(*inventory.Installation) ([]inventory.Event, error)) (*inventory.Installation, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	inst, err := s.installation(id)
	if err != nil {
		return nil, err
	}
	before := inst.Clone()
	events, err := change(inst)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	after := inst.Clone() // change may have kept something of inst
	if err := inventory.NormalizeChange(&before, &after, now); err != nil {
		return nil, err
	}
	if events, err = prepare(events, now); err != nil {
		return nil, err
	}
	if err := s.checkOpen(&after); err != nil {
		return nil, err
	}
	s.putInstallation(after)
	s.append(events)
	stored := after.Clone()
	return &stored, nil
}
