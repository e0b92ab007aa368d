package inventorytest_test

import (
	"bytes"
	"context"
	"maps"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/inventorytest"
	"github.com/project-loda/loda/inventory/memory"
)

// broken are stores that break one promise each, and the statement of the suite that must notice.
var broken = map[string]struct {
	open   func() inventory.Store
	notice string
}{
	"loses updates": {func() inventory.Store { return lostUpdate{memory.New()} },
		"Machines/concurrent_updates_lose_nothing"},
	"creates row by row": {func() inventory.Store { return rowByRow{memory.New()} },
		"Machines/an_import_with_one_bad_row_stores_nothing_and_names_every_bad_row"},
	"stores what a failed change left": {func() inventory.Store { return storesFailed{memory.New()} },
		"Installations/an_update_whose_change_fails_stores_nothing"},
	"loses the events of an update": {func() inventory.Store { return eventless{memory.New()} },
		"Installations/an_update_stores_what_change_left_together_with_its_events"},
	"shares its memory": {func() inventory.Store { return &sharing{Store: memory.New()} },
		"Machines/values_share_no_memory_with_the_store"},
	"ignores Latest": {func() inventory.Store { return neverLatest{memory.New()} },
		"Events/the_latest_page_ends_with_the_newest_event"},
	"knows no page limit": {func() inventory.Store { return endless{memory.New()} },
		"Machines/a_page_holds_100_by_default_and_1000_at_most"},
	"gives a taken address away": {func() inventory.Store { return generous{memory.New()} },
		"Leases/an_unexpired_lease_of_another_hardware_address_keeps_its_address"},
	"hides expired tokens": {func() inventory.Store { return forgetful{memory.New()} },
		"Tokens/an_expired_token_is_still_found"},
	"ignores its context": {func() inventory.Store { return deaf{memory.New()} },
		"Leases/a_context_that_has_ended_stores_and_returns_nothing"},
}

const brokenStore = "LODA_TEST_BROKEN_STORE"

// TestTheSuiteNoticesABrokenStore runs the suite over each broken store in a process of its own, where it has to fail.
func TestTheSuiteNoticesABrokenStore(t *testing.T) {
	if name := os.Getenv(brokenStore); name != "" {
		inventorytest.Run(t, func(t *testing.T) inventory.Store { return broken[name].open() })
		return
	}
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			suite := exec.Command(os.Args[0], "-test.run=^TestTheSuiteNoticesABrokenStore$")
			suite.Env = append(os.Environ(), brokenStore+"="+name)
			suite.Stdout, suite.Stderr = &out, &out
			require.Error(t, suite.Run(), "the suite passed")
			want := "--- FAIL: TestTheSuiteNoticesABrokenStore/" + broken[name].notice
			require.True(t, strings.Contains(out.String(), want), "want %s in\n%s", want, &out)
		})
	}
}

type lostUpdate struct{ inventory.Store }

func (s lostUpdate) UpdateMachine(ctx context.Context, sn inventory.Serial,
	change func(*inventory.Machine) error) (*inventory.Machine, error) {
	m, err := s.Machine(ctx, sn)
	if err != nil {
		return nil, err
	}
	if err := change(m); err != nil {
		return nil, err
	}
	return s.Store.UpdateMachine(ctx, sn, func(stored *inventory.Machine) error { *stored = m.Clone(); return nil })
}

type rowByRow struct{ inventory.Store }

func (s rowByRow) CreateMachines(ctx context.Context, ms []inventory.Machine) error {
	for _, m := range ms {
		if err := s.Store.CreateMachines(ctx, []inventory.Machine{m}); err != nil {
			return err
		}
	}
	return ctx.Err()
}

type storesFailed struct{ inventory.Store }

func (s storesFailed) UpdateInstallation(ctx context.Context, id string,
	change func(*inventory.Installation) ([]inventory.Event, error)) (*inventory.Installation, error) {
	var failed error
	i, err := s.Store.UpdateInstallation(ctx, id, func(i *inventory.Installation) (events []inventory.Event, _ error) {
		events, failed = change(i)
		return events, nil
	})
	if failed != nil {
		return nil, failed
	}
	return i, err
}

type eventless struct{ inventory.Store }

func (s eventless) UpdateInstallation(ctx context.Context, id string,
	change func(*inventory.Installation) ([]inventory.Event, error)) (*inventory.Installation, error) {
	return s.Store.UpdateInstallation(ctx, id, func(i *inventory.Installation) ([]inventory.Event, error) {
		_, err := change(i)
		return nil, err
	})
}

type sharing struct {
	inventory.Store
	last *inventory.Machine
}

func (s *sharing) Machine(ctx context.Context, sn inventory.Serial) (*inventory.Machine, error) {
	if s.last == nil {
		m, err := s.Store.Machine(ctx, sn)
		if err != nil {
			return nil, err
		}
		s.last = m
	}
	m := *s.last
	return &m, nil
}

type neverLatest struct{ inventory.Store }

func (s neverLatest) Events(ctx context.Context, f inventory.EventFilter) ([]inventory.Event, error) {
	f.Latest = false
	return s.Store.Events(ctx, f)
}

type endless struct{ inventory.Store }

func (s endless) Machines(ctx context.Context, f inventory.MachineFilter) (all []inventory.Machine, err error) {
	for {
		page, err := s.Store.Machines(ctx, f)
		all = append(all, page...)
		if err != nil || len(page) == 0 {
			return all, err
		}
		f.After = page[len(page)-1].Serial
	}
}

type generous struct{ inventory.Store }

func (s generous) SaveLease(ctx context.Context, l dhcp.Lease) error {
	all, err := s.Leases(ctx)
	if err != nil {
		return err
	}
	for _, old := range all {
		if old.Addr == l.Addr {
			if err := s.DeleteLease(ctx, old.Subnet, old.MAC); err != nil {
				return err
			}
		}
	}
	return s.Store.SaveLease(ctx, l)
}

type forgetful struct{ inventory.Store }

func (s forgetful) TokenByHash(ctx context.Context, hash string) (*inventory.Token, error) {
	t, err := s.Store.TokenByHash(ctx, hash)
	if err == nil && !t.ExpiresAt.IsZero() {
		return nil, inventory.ErrNotFound
	}
	return t, err
}

type deaf struct{ inventory.Store }

func (s deaf) DeleteLease(_ context.Context, subnet string, mac net.HardwareAddr) error {
	return s.Store.DeleteLease(context.Background(), subnet, mac)
}
