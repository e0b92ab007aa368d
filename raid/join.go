package raid

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
)

// Joined is several drivers as one, for machines that have controllers of several makers. Each controller belongs to the
// first driver that finds it.
type Joined struct {
	drivers []Driver

	mu    sync.Mutex
	owner map[ControllerID]Driver
}

var _ Driver = (*Joined)(nil)

// Join makes one driver of several.
func Join(drivers ...Driver) *Joined {
	return &Joined{drivers: drivers, owner: map[ControllerID]Driver{}}
}

// Name lists the drivers' names.
func (j *Joined) Name() string {
	var names []string
	for _, d := range j.drivers {
		names = append(names, d.Name())
	}
	return enumerate(names, 16)
}

// Probe asks all drivers. It returns what was found also when one of them fails.
func (j *Joined) Probe(ctx context.Context) ([]Controller, error) {
	var all []Controller
	var errs []error
	owner := map[ControllerID]Driver{}
	for _, d := range j.drivers {
		found, err := d.Probe(ctx)
		if err != nil {
			errs = append(errs, fmt.Errorf("driver %s: %w", d.Name(), err))
		}
		for _, c := range found {
			if owner[c.ID] == nil {
				owner[c.ID] = d
				all = append(all, c)
			}
		}
	}
	j.mu.Lock()
	j.owner = owner
	j.mu.Unlock()
	slices.SortFunc(all, func(a, b Controller) int { return CompareLocations(string(a.ID), string(b.ID)) })
	return all, errors.Join(errs...)
}

// of finds the driver of a controller; it probes once if nobody has.
func (j *Joined) of(ctx context.Context, id ControllerID) (Driver, error) {
	j.mu.Lock()
	d := j.owner[id]
	j.mu.Unlock()
	if d != nil {
		return d, nil
	}
	_, err := j.Probe(ctx)
	j.mu.Lock()
	d = j.owner[id]
	j.mu.Unlock()
	if d != nil {
		return d, nil
	}
	return nil, errors.Join(fmt.Errorf("no driver has found controller %s", id), err)
}

// Inventory is that of the controller's driver.
func (j *Joined) Inventory(ctx context.Context, id ControllerID) (*Inventory, error) {
	d, err := j.of(ctx, id)
	if err != nil {
		return nil, err
	}
	return d.Inventory(ctx, id)
}

// Commands are those of the controller's driver.
func (j *Joined) Commands(inv *Inventory, s Step) ([][]string, error) {
	d, err := j.of(context.Background(), s.Controller)
	if err != nil {
		return nil, err
	}
	return d.Commands(inv, s)
}

// Exec is that of the controller's driver.
func (j *Joined) Exec(ctx context.Context, inv *Inventory, s Step, report func(Progress)) error {
	d, err := j.of(ctx, s.Controller)
	if err != nil {
		return err
	}
	return d.Exec(ctx, inv, s, report)
}
