package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/inventory"
)

const machineColumns = `serial, name, source, profile, rack, labels, macs, uuid, address, vendor, product,
	created_at, updated_at, last_seen_at, facts`

func scanMachine(rows *sql.Rows, m *inventory.Machine) error {
	var macs, address string
	err := rows.Scan(&m.Serial, &m.Name, &m.Source, &m.Profile, &m.Rack, document[map[string]string]{&m.Labels}, &macs,
		&m.UUID, text[string]{&address}, &m.Vendor, &m.Product, moment{&m.CreatedAt}, moment{&m.UpdatedAt},
		moment{&m.LastSeenAt}, (*[]byte)(&m.Facts))
	if err != nil {
		return err
	}
	for _, mac := range strings.Fields(macs) {
		m.MACs = append(m.MACs, inventory.MAC(mac))
	}
	if address != "" {
		m.Address, err = netip.ParseAddr(address)
	}
	return err
}

// index finds machines through the store's readers or within a transaction.
type index struct{ q querier }

func (x index) Machine(ctx context.Context, serial inventory.Serial) (*inventory.Machine, error) {
	m, err := one(ctx, x.q, scanMachine, "SELECT "+machineColumns+" FROM machines WHERE serial = ?", string(serial))
	if errors.Is(err, inventory.ErrNotFound) {
		err = fmt.Errorf("machine %s: %w", serial, err)
	}
	return m, err
}

func (x index) MachineByMAC(ctx context.Context, mac inventory.MAC) (*inventory.Machine, error) {
	m, err := one(ctx, x.q, scanMachine, "SELECT "+machineColumns+
		" FROM machines WHERE serial = (SELECT serial FROM machine_macs WHERE mac = ?)", string(mac))
	if errors.Is(err, inventory.ErrNotFound) {
		err = fmt.Errorf("machine with MAC %s: %w", mac, err)
	}
	return m, err
}

func (x index) MachineByAddress(ctx context.Context, a netip.Addr) (*inventory.Machine, error) {
	m, err := one(ctx, x.q, scanMachine, "SELECT "+machineColumns+" FROM machines WHERE address = ?", a.String())
	if errors.Is(err, inventory.ErrNotFound) {
		err = fmt.Errorf("machine with address %s: %w", a, err)
	}
	return m, err
}

func (s *Store) Machine(ctx context.Context, serial inventory.Serial) (*inventory.Machine, error) {
	m, err := index{s}.Machine(ctx, serial)
	return m, s.fail(ctx, "read a machine", err)
}

func (s *Store) MachineByMAC(ctx context.Context, mac inventory.MAC) (*inventory.Machine, error) {
	m, err := index{prepared{s}}.MachineByMAC(ctx, mac)
	return m, s.fail(ctx, "read a machine", err)
}

// MachineByAddress makes the store an [inventory.MachineIndex].
func (s *Store) MachineByAddress(ctx context.Context, a netip.Addr) (*inventory.Machine, error) {
	m, err := index{prepared{s}}.MachineByAddress(ctx, a)
	return m, s.fail(ctx, "read a machine", err)
}

func (s *Store) Machines(ctx context.Context, f inventory.MachineFilter) ([]inventory.Machine, error) {
	var w where
	w.and("serial > ?", string(f.After))
	if f.Source != "" {
		w.and("source = ?", string(f.Source))
	}
	if f.Profile != "" {
		w.and("profile = ?", f.Profile)
	}
	if f.Rack != "" {
		w.and("rack = ?", f.Rack)
	}
	if f.Query != "" {
		w.and("instr(search, ?) > 0", strings.ToLower(f.Query))
	}
	ms, err := list(ctx, s, scanMachine, "SELECT "+machineColumns+" FROM machines"+w.String()+
		" ORDER BY serial LIMIT ?", append(w.args, inventory.PageLimit(f.Limit))...)
	return ms, s.fail(ctx, "list machines", err)
}

func (s *Store) CreateMachines(ctx context.Context, ms []inventory.Machine) error {
	return s.write(ctx, "create machines", func(t *tx) error {
		ready, err := inventory.CheckImport(ctx, index{t}, ms, time.Now())
		if err != nil {
			return err
		}
		t.machines = true
		for i := range ready {
			if err := t.putMachine(&ready[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// putMachine replaces whatever the database knows of the machine.
func (t *tx) putMachine(m *inventory.Machine) error {
	var labels any
	if len(m.Labels) > 0 {
		text, err := json.Marshal(m.Labels)
		if err != nil {
			return err
		}
		labels = string(text)
	}
	var address any
	if m.Address.IsValid() {
		address = m.Address.String()
	}
	macs := make([]string, len(m.MACs))
	for i, mac := range m.MACs {
		macs[i] = string(mac)
	}
	_, err := t.exec(`INSERT INTO machines (`+machineColumns+`, search)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (serial) DO UPDATE SET name = excluded.name, source = excluded.source, profile = excluded.profile,
			rack = excluded.rack, labels = excluded.labels, macs = excluded.macs, uuid = excluded.uuid,
			address = excluded.address, vendor = excluded.vendor, product = excluded.product,
			created_at = excluded.created_at, updated_at = excluded.updated_at, last_seen_at = excluded.last_seen_at,
			facts = excluded.facts, search = excluded.search`,
		string(m.Serial), m.Name, string(m.Source), m.Profile, m.Rack, labels, strings.Join(macs, " "), m.UUID, address,
		m.Vendor, m.Product, micros(m.CreatedAt), micros(m.UpdatedAt), micros(m.LastSeenAt), blob(m.Facts), m.SearchText())
	if err != nil {
		return err
	}
	if _, err := t.exec("DELETE FROM machine_macs WHERE serial = ?", string(m.Serial)); err != nil {
		return err
	}
	for _, mac := range macs {
		if _, err := t.exec("INSERT INTO machine_macs (mac, serial) VALUES (?, ?)", mac, string(m.Serial)); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) UpdateMachine(ctx context.Context, serial inventory.Serial,
	change func(*inventory.Machine) error) (*inventory.Machine, error) {
	var stored inventory.Machine
	err := s.write(ctx, "update machine "+string(serial), func(t *tx) error {
		m, err := index{t}.Machine(ctx, serial)
		if err != nil {
			return err
		}
		before := m.Clone()
		if err := change(m); err != nil {
			return err
		}
		stored = m.Clone() // change may have kept something of m
		if err := inventory.CheckUpdate(ctx, index{t}, &before, &stored, time.Now()); err != nil {
			return err
		}
		t.machines = t.machines || stored.Source != before.Source || stored.Name != before.Name ||
			stored.Address != before.Address || !slices.Equal(stored.MACs, before.MACs)
		return t.putMachine(&stored)
	})
	if err != nil {
		return nil, err
	}
	return &stored, nil
}

func (s *Store) DeleteMachine(ctx context.Context, serial inventory.Serial) error {
	return s.write(ctx, "delete machine "+string(serial), func(t *tx) error {
		t.machines = true
		res, err := t.exec("DELETE FROM machines WHERE serial = ?", string(serial))
		if err != nil {
			return err
		}
		if n, err := res.RowsAffected(); err != nil || n == 0 {
			return errors.Join(err, fmt.Errorf("machine %s: %w", serial, inventory.ErrNotFound))
		}
		return nil
	})
}

// versionAge is how old the answer to whether another process has changed something may be.
const versionAge = 100 * time.Millisecond

// MachinesVersion makes the store an [inventory.MachineVersioner], unless the machines live elsewhere.
func (s *Store) MachinesVersion(ctx context.Context) (uint64, bool) {
	if s.external != nil {
		return 0, false
	}
	if time.Since(time.Unix(0, s.looked.Load())) > versionAge {
		// Each transaction of the writer looks.
		if err := s.write(ctx, "look for changes", func(*tx) error { return nil }); err != nil {
			return 0, false
		}
	}
	return s.machines.Load(), true
}

// where collects the conditions of a query.
type where struct {
	conditions []string
	args       []any
}

func (w *where) and(condition string, args ...any) {
	w.conditions = append(w.conditions, condition)
	w.args = append(w.args, args...)
}

func (w *where) clone() where { return where{slices.Clone(w.conditions), slices.Clone(w.args)} }

func (w *where) String() string {
	if len(w.conditions) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.conditions, " AND ")
}

// in is `column IN (?, …)`.
func in[S ~string](w *where, column string, values []S) {
	args := make([]any, len(values))
	for i, v := range values {
		args[i] = string(v)
	}
	w.and(column+" IN (?"+strings.Repeat(", ?", len(values)-1)+")", args...)
}
