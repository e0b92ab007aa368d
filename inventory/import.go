package inventory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// A MachineIndex finds machines by each of the keys that no two machines share. It is what a backend shows of itself
// to [CheckImport] and [CheckUpdate]; within one transaction, so that nothing changes between check and write. All
// methods return [ErrNotFound] where there is no such machine.
type MachineIndex interface {
	Machine(ctx context.Context, serial Serial) (*Machine, error)
	MachineByMAC(ctx context.Context, mac MAC) (*Machine, error)
	MachineByAddress(ctx context.Context, address netip.Addr) (*Machine, error)
}

// CheckImport holds the rules of [MachineStore.CreateMachines] for whoever writes a backend. It returns the machines
// as they have to be stored: normalized, with the times set, discovered ones promoted. What is wrong comes back
// as an [*ImportError] with all bad rows; any other error is one of the index. ms itself is left as it is.
func CheckImport(ctx context.Context, idx MachineIndex, ms []Machine, now time.Time) ([]Machine, error) {
	var bad []RowError
	out := make([]Machine, len(ms))
	serials, macs, addresses := map[Serial]int{}, map[MAC]int{}, map[netip.Addr]int{}
	for i := range ms {
		m := ms[i].Clone()
		report := func(err error) { bad = append(bad, RowError{Row: i, Err: err}) }
		if err := m.Normalize(); err != nil {
			report(err)
			continue
		}
		if first, dup := serials[m.Serial]; dup {
			report(&ConflictError{What: "serial number " + string(m.Serial), Owner: rowName(first)})
			continue // the same machine twice: its addresses need no complaint of their own
		}
		serials[m.Serial] = i
		for _, mac := range m.MACs {
			if first, dup := macs[mac]; dup {
				report(&ConflictError{What: "MAC " + string(mac), Owner: rowName(first)})
				continue
			}
			macs[mac] = i
		}
		if m.Address.IsValid() {
			if first, dup := addresses[m.Address]; dup {
				report(&ConflictError{What: "address " + m.Address.String(), Owner: rowName(first)})
			} else {
				addresses[m.Address] = i
			}
		}

		known, err := idx.Machine(ctx, m.Serial)
		switch {
		case errors.Is(err, ErrNotFound):
			m.CreatedAt, m.UpdatedAt = orNow(m.CreatedAt, now), orNow(m.UpdatedAt, now)
		case err != nil:
			return nil, err
		case known.Source != Discovered:
			report(&ConflictError{What: "serial number " + string(m.Serial), Owner: "an imported machine"})
			continue
		default:
			m = promote(*known, m)
			m.UpdatedAt = Moment(now)
		}
		conflicts, err := owners(ctx, idx, &m)
		if err != nil {
			return nil, err
		}
		for _, c := range conflicts {
			report(c)
		}
		out[i] = m
	}
	if bad != nil {
		return nil, &ImportError{Rows: bad}
	}
	return out, nil
}

func rowName(i int) string { return fmt.Sprintf("row %d of the same import", i+1) }

// CheckUpdate holds the rules of [MachineStore.UpdateMachine] for whoever writes a backend: after is what change left
// of before. It is normalized and gets a new UpdatedAt, unless change set one.
func CheckUpdate(ctx context.Context, idx MachineIndex, before, after *Machine, now time.Time) error {
	if after.Serial != before.Serial {
		return fmt.Errorf("the serial number of machine %s cannot be changed (to %q)", before.Serial, after.Serial)
	}
	if err := after.Normalize(); err != nil {
		return fmt.Errorf("machine %s: %w", before.Serial, err)
	}
	if after.UpdatedAt.Equal(before.UpdatedAt) {
		after.UpdatedAt = Moment(now)
	}
	conflicts, err := owners(ctx, idx, after)
	if err != nil {
		return err
	}
	if len(conflicts) > 0 {
		return fmt.Errorf("machine %s: %w", before.Serial, errors.Join(conflicts...))
	}
	return nil
}

// owners returns everything of m that another machine owns.
func owners(ctx context.Context, idx MachineIndex, m *Machine) ([]error, error) {
	var conflicts []error
	check := func(what string, owner *Machine, err error) error {
		switch {
		case errors.Is(err, ErrNotFound):
		case err != nil:
			return err
		case owner.Serial != m.Serial:
			conflicts = append(conflicts, &ConflictError{What: what, Owner: "machine " + string(owner.Serial)})
		}
		return nil
	}
	for _, mac := range m.MACs {
		owner, err := idx.MachineByMAC(ctx, mac)
		if err := check("MAC "+string(mac), owner, err); err != nil {
			return nil, err
		}
	}
	if m.Address.IsValid() {
		owner, err := idx.MachineByAddress(ctx, m.Address)
		if err := check("address "+m.Address.String(), owner, err); err != nil {
			return nil, err
		}
	}
	return conflicts, nil
}

// promote lays what an operator says of a machine over what the machine reported of itself.
func promote(known, given Machine) Machine {
	m := known.Clone()
	m.Source = given.Source
	m.Name = cmp.Or(given.Name, known.Name)
	m.Profile = cmp.Or(given.Profile, known.Profile)
	m.Rack = cmp.Or(given.Rack, known.Rack)
	m.UUID = cmp.Or(given.UUID, known.UUID)
	m.Vendor = cmp.Or(given.Vendor, known.Vendor)
	m.Product = cmp.Or(given.Product, known.Product)
	if given.Labels != nil {
		m.Labels = maps.Clone(given.Labels)
	}
	if given.Address.IsValid() {
		m.Address = given.Address
	}
	if given.Facts != nil {
		m.Facts = slices.Clone(given.Facts)
	}
	if given.LastSeenAt.After(known.LastSeenAt) {
		m.LastSeenAt = given.LastSeenAt
	}
	m.MACs = append(m.MACs, given.MACs...)
	slices.Sort(m.MACs)
	m.MACs = slices.Compact(m.MACs)
	return m
}
