package inventorytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

// RunMachines tests a store of machines.
func RunMachines(t *testing.T, open func(t *testing.T) inventory.MachineStore) {
	check(t, open, []statement[inventory.MachineStore]{
		{"a machine comes back as it was created", machineRoundTrip},
		{"a machine with a serial number alone gets the defaults", machineDefaults},
		{"an unknown machine is not found", machineNotFound},
		{"a machine is found by each of its MACs", machineByMAC},
		{"a machine is found by its address, if the store is an index", machineByAddress},
		{"each change of who is known is a new version, if the store has versions", machineVersion},
		{"values share no memory with the store", machineAliasing},
		{"pages are ordered by serial number and complete", machinePages},
		{"a page holds 100 by default and 1000 at most", machinePageBounds},
		{"filters combine with AND", machineFilters},
		{"a query is a substring of five fields and ignores case", machineQuery},
		{"an import of nothing stores nothing", machineImportNothing},
		{"an import with one bad row stores nothing and names every bad row", machineImportAllOrNothing},
		{"an import refuses what is not canonical", machineImportCanonical},
		{"an import refuses what another machine owns", machineImportOwned},
		{"a row that claims several things of others is named for each", machineImportSeveral},
		{"a discovered machine is promoted by an import and keeps what was learnt", machinePromotion},
		{"a promotion cannot take a MAC from another machine", machinePromotionConflict},
		{"an imported machine is not imported again", machineImportTwice},
		{"a machine that is discovered twice is one machine", machineDiscoveredTwice},
		{"concurrent imports of the same MAC leave one owner", machineImportRace},
		{"an update stores what change left", machineUpdate},
		{"an update whose change fails stores nothing", machineUpdateFails},
		{"an update cannot change the serial number", machineUpdateSerial},
		{"an update cannot take a MAC or an address from another machine", machineUpdateConflict},
		{"an update refuses what is not canonical", machineUpdateInvalid},
		{"concurrent updates lose nothing", machineUpdateRace},
		{"concurrent claims of one MAC have one winner", machineClaimRace},
		{"a deleted machine is forgotten with everything that it owned", machineDelete},
		{"a context that has ended stores and returns nothing", machineContext},
	})
}

func full(i int) inventory.Machine {
	return inventory.Machine{
		Serial: serial(i), Name: fmt.Sprintf("node-%d", i), Source: inventory.Imported, Profile: "compute", Rack: "r1",
		Labels: map[string]string{"env": "prod", "owner": "ü team"}, MACs: []inventory.MAC{mac(2 * i), mac(2*i + 1)},
		UUID:    "03000200-0400-0500-0006-000700080009",
		Address: netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), Vendor: "Dell Inc.", Product: "PowerEdge R650",
		Facts: doc, CreatedAt: moment(1), UpdatedAt: moment(2), LastSeenAt: moment(3),
	}
}

func bare(i int) inventory.Machine { return inventory.Machine{Serial: serial(i)} }

func create(t *testing.T, s inventory.MachineStore, ms ...inventory.Machine) {
	t.Helper()
	require.NoError(t, s.CreateMachines(t.Context(), ms))
}

func get(t *testing.T, s inventory.MachineStore, sn inventory.Serial) inventory.Machine {
	t.Helper()
	m, err := s.Machine(t.Context(), sn)
	require.NoError(t, err)
	return *m
}

func serials(ms []inventory.Machine) []inventory.Serial {
	out := []inventory.Serial{}
	for _, m := range ms {
		out = append(out, m.Serial)
	}
	return out
}

// rowsOf fails unless err is an ImportError, and returns its rows.
func rowsOf(t *testing.T, err error) []int {
	t.Helper()
	var bad *inventory.ImportError
	require.ErrorAs(t, err, &bad)
	var rows []int
	for _, r := range bad.Rows {
		require.Error(t, r.Err)
		rows = append(rows, r.Row)
	}
	return rows
}

func machineRoundTrip(t *testing.T, s inventory.MachineStore) {
	want := full(1)
	create(t, s, want)
	require.Equal(t, want, get(t, s, want.Serial))
	page, err := s.Machines(t.Context(), inventory.MachineFilter{})
	require.NoError(t, err)
	require.Equal(t, []inventory.Machine{want}, page)

	berlin := time.FixedZone("CET", 3600)
	other := full(2)
	other.CreatedAt = time.Date(2026, 3, 2, 10, 0, 0, 123456789, berlin)
	other.MACs = []inventory.MAC{mac(9), mac(4), mac(9)}
	create(t, s, other)
	other.CreatedAt = time.Date(2026, 3, 2, 9, 0, 0, 123456000, time.UTC)
	other.MACs = []inventory.MAC{mac(4), mac(9)}
	require.Equal(t, other, get(t, s, other.Serial), "times in UTC with microseconds, MACs sorted")
}

func machineDefaults(t *testing.T, s inventory.MachineStore) {
	m := bare(1)
	m.Labels, m.MACs, m.Facts = map[string]string{}, []inventory.MAC{}, json.RawMessage{}
	create(t, s, m)
	got := get(t, s, serial(1))
	recent(t, got.CreatedAt)
	recent(t, got.UpdatedAt)
	require.Equal(t, inventory.Machine{Serial: serial(1), Source: inventory.Imported, CreatedAt: got.CreatedAt,
		UpdatedAt: got.UpdatedAt}, got, "a machine without a source was imported; what is empty comes back nil")
}

func machineNotFound(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	_, err := s.Machine(t.Context(), "SN9999")
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.ErrorContains(t, err, "SN9999")
	_, err = s.MachineByMAC(t.Context(), mac(9999))
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.ErrorContains(t, err, string(mac(9999)))
	called := false
	_, err = s.UpdateMachine(t.Context(), "SN9999", func(*inventory.Machine) error { called = true; return nil })
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.False(t, called)
	require.ErrorIs(t, s.DeleteMachine(t.Context(), "SN9999"), inventory.ErrNotFound)
}

func machineByMAC(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1), full(2))
	for _, m := range []inventory.Machine{full(1), full(2)} {
		for _, mac := range m.MACs {
			got, err := s.MachineByMAC(t.Context(), mac)
			require.NoError(t, err)
			require.Equal(t, m, *got)
		}
	}
}

// machineByAddress is for stores that are an [inventory.MachineIndex] as well. The method is optional: whoever needs it
// searches the machines of other stores.
func machineByAddress(t *testing.T, s inventory.MachineStore) {
	index, ok := s.(inventory.MachineIndex)
	if !ok {
		return
	}
	create(t, s, full(1), full(2), bare(3))
	for _, m := range []inventory.Machine{full(1), full(2)} {
		got, err := index.MachineByAddress(t.Context(), m.Address)
		require.NoError(t, err)
		require.Equal(t, m, *got)
	}
	for _, a := range []netip.Addr{full(9).Address, {}} {
		_, err := index.MachineByAddress(t.Context(), a)
		require.ErrorIs(t, err, inventory.ErrNotFound, "%s", a)
	}
	_, err := s.UpdateMachine(t.Context(), serial(1), func(m *inventory.Machine) error {
		m.Address = full(9).Address
		return nil
	})
	require.NoError(t, err)
	_, err = index.MachineByAddress(t.Context(), full(1).Address)
	require.ErrorIs(t, err, inventory.ErrNotFound, "the address that it had")
	got, err := index.MachineByAddress(t.Context(), full(9).Address)
	require.NoError(t, err)
	require.Equal(t, serial(1), got.Serial)
	require.NoError(t, s.DeleteMachine(t.Context(), serial(2)))
	_, err = index.MachineByAddress(t.Context(), full(2).Address)
	require.ErrorIs(t, err, inventory.ErrNotFound)
	_, err = index.MachineByAddress(ended(), full(9).Address)
	require.ErrorIs(t, err, context.Canceled)
}

func machineAliasing(t *testing.T, s inventory.MachineStore) {
	scribble := func(m *inventory.Machine) {
		m.Labels["env"], m.Labels["new"] = "changed", "added"
		m.MACs[0] = "ff"
		m.Facts[0] = '!'
		m.Name = "changed"
	}
	given := []inventory.Machine{full(1)}
	given[0].Facts = slices.Clone(doc)
	create(t, s, given...)
	scribble(&given[0])
	want := full(1)
	require.Equal(t, want, get(t, s, serial(1)), "what was given")

	got := get(t, s, serial(1))
	scribble(&got)
	require.Equal(t, want, get(t, s, serial(1)), "what Machine returned")
	byMAC, err := s.MachineByMAC(t.Context(), want.MACs[0])
	require.NoError(t, err)
	scribble(byMAC)
	require.Equal(t, want, get(t, s, serial(1)), "what MachineByMAC returned")
	page, err := s.Machines(t.Context(), inventory.MachineFilter{})
	require.NoError(t, err)
	scribble(&page[0])
	require.Equal(t, want, get(t, s, serial(1)), "what Machines returned")

	var kept *inventory.Machine
	stored, err := s.UpdateMachine(t.Context(), serial(1), func(m *inventory.Machine) error { kept = m; return nil })
	require.NoError(t, err)
	want.UpdatedAt = stored.UpdatedAt
	scribble(kept)
	require.Equal(t, want, *stored, "what change kept")
	scribble(stored)
	require.Equal(t, want, get(t, s, serial(1)), "what UpdateMachine returned")
	_, err = s.UpdateMachine(t.Context(), serial(1), func(m *inventory.Machine) error { scribble(m); return errChange })
	require.ErrorIs(t, err, errChange)
	require.Equal(t, want, get(t, s, serial(1)), "what a failed change scribbled on")
}

func machinePages(t *testing.T, s inventory.MachineStore) {
	var ms []inventory.Machine
	for _, i := range []int{7, 3, 11, 1, 5, 9, 2} {
		ms = append(ms, bare(i))
	}
	create(t, s, ms...)
	var got []inventory.Serial
	f := inventory.MachineFilter{Limit: 3}
	for pages := 1; ; pages++ {
		page, err := s.Machines(t.Context(), f)
		require.NoError(t, err)
		got = append(got, serials(page)...)
		if len(page) < f.Limit {
			require.Equal(t, 3, pages)
			break
		}
		f.After = page[len(page)-1].Serial
	}
	require.Equal(t, []inventory.Serial{serial(1), serial(2), serial(3), serial(5), serial(7), serial(9), serial(11)}, got)

	page, err := s.Machines(t.Context(), inventory.MachineFilter{After: "SN0004"})
	require.NoError(t, err)
	require.Equal(t, []inventory.Serial{serial(5), serial(7), serial(9), serial(11)}, serials(page),
		"After need not exist: its machine may have been deleted between two pages")
	page, err = s.Machines(t.Context(), inventory.MachineFilter{After: serial(11)})
	require.NoError(t, err)
	require.Empty(t, page)
}

func machinePageBounds(t *testing.T, s inventory.MachineStore) {
	var ms []inventory.Machine
	for i := range 1005 {
		ms = append(ms, bare(i))
	}
	create(t, s, ms...)
	for limit, want := range map[int]int{0: 100, -1: 100, 1: 1, 250: 250, 1000: 1000, 1001: 1000, 1 << 40: 1000} {
		page, err := s.Machines(t.Context(), inventory.MachineFilter{Limit: limit})
		require.NoError(t, err)
		require.Len(t, page, want, "limit %d", limit)
		require.Equal(t, serial(0), page[0].Serial)
	}
}

func machineFilters(t *testing.T, s inventory.MachineStore) {
	create(t, s,
		inventory.Machine{Serial: "AAA1", Source: inventory.Imported, Profile: "compute", Rack: "r1"},
		inventory.Machine{Serial: "AAA2", Source: inventory.Imported, Profile: "compute", Rack: "r2"},
		inventory.Machine{Serial: "AAA3", Source: inventory.Imported, Profile: "storage", Rack: "r1"},
		inventory.Machine{Serial: "AAA4", Source: inventory.Discovered, Rack: "r1"},
	)
	for _, c := range []struct {
		f    inventory.MachineFilter
		want []inventory.Serial
	}{
		{inventory.MachineFilter{}, []inventory.Serial{"AAA1", "AAA2", "AAA3", "AAA4"}},
		{inventory.MachineFilter{Source: inventory.Imported}, []inventory.Serial{"AAA1", "AAA2", "AAA3"}},
		{inventory.MachineFilter{Source: inventory.Discovered}, []inventory.Serial{"AAA4"}},
		{inventory.MachineFilter{Profile: "compute"}, []inventory.Serial{"AAA1", "AAA2"}},
		{inventory.MachineFilter{Rack: "r1"}, []inventory.Serial{"AAA1", "AAA3", "AAA4"}},
		{inventory.MachineFilter{Rack: "R1"}, []inventory.Serial{}},
		{inventory.MachineFilter{Profile: "compute", Rack: "r1"}, []inventory.Serial{"AAA1"}},
		{inventory.MachineFilter{Source: inventory.Imported, Rack: "r1", Query: "3"}, []inventory.Serial{"AAA3"}},
		{inventory.MachineFilter{Rack: "r1", After: "AAA1"}, []inventory.Serial{"AAA3", "AAA4"}},
		{inventory.MachineFilter{Rack: "r1", Limit: 2}, []inventory.Serial{"AAA1", "AAA3"}},
		{inventory.MachineFilter{Rack: "r' OR '1'='1"}, []inventory.Serial{}},
	} {
		page, err := s.Machines(t.Context(), c.f)
		require.NoError(t, err)
		require.Equal(t, c.want, serials(page), "%+v", c.f)
	}
}

func machineQuery(t *testing.T, s inventory.MachineStore) {
	create(t, s,
		inventory.Machine{Serial: "CZ1000A", Name: "web-_%1", Vendor: "HPE", Product: "ProLiant DL380 Gen10"},
		inventory.Machine{Serial: "CZ2000B", Name: "Größe", MACs: []inventory.MAC{"52:54:00:ab:cd:ef"}, Rack: "zebra"},
		inventory.Machine{Serial: "XX300", Vendor: "Dell Inc.", Product: "PowerEdge R650", Profile: "zebra"},
	)
	for query, want := range map[string][]inventory.Serial{
		"cz":       {"CZ1000A", "CZ2000B"},
		"WEB-":     {"CZ1000A"},
		"proliant": {"CZ1000A"},
		"dell":     {"XX300"},
		"AB:CD":    {"CZ2000B"},
		"GRÖSSE":   {},
		"GRÖßE":    {"CZ2000B"},
		"%":        {"CZ1000A"},
		"_%":       {"CZ1000A"},
		"*":        {},
		"zebra":    {},
		"hpeproli": {},
		"'":        {},
	} {
		page, err := s.Machines(t.Context(), inventory.MachineFilter{Query: query})
		require.NoError(t, err)
		require.Equal(t, want, serials(page), "query %q", query)
	}
	_, err := s.UpdateMachine(t.Context(), "XX300", func(m *inventory.Machine) error { m.Name = "gpu-7"; return nil })
	require.NoError(t, err)
	page, err := s.Machines(t.Context(), inventory.MachineFilter{Query: "GPU-7"})
	require.NoError(t, err)
	require.Equal(t, []inventory.Serial{"XX300"}, serials(page), "a query finds what an update wrote")
}

func machineImportNothing(t *testing.T, s inventory.MachineStore) {
	require.NoError(t, s.CreateMachines(t.Context(), nil))
	page, err := s.Machines(t.Context(), inventory.MachineFilter{})
	require.NoError(t, err)
	require.Empty(t, page)
}

func machineImportAllOrNothing(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	rows := []inventory.Machine{
		full(10),
		{Serial: serial(1)}, // exists
		full(11),
		{Serial: serial(12), MACs: []inventory.MAC{full(1).MACs[0]}}, // MAC of machine 1
		{Serial: serial(13), Address: full(1).Address},               // address of machine 1
		{Serial: serial(10)}, // row 0 again
		{Serial: serial(14), MACs: []inventory.MAC{full(11).MACs[1]}}, // MAC of row 2
		{Serial: serial(15), Address: full(10).Address},               // address of row 0
		{Serial: "to be filled by o.e.m."},
		full(16),
	}
	err := s.CreateMachines(t.Context(), rows)
	require.Equal(t, []int{1, 3, 4, 5, 6, 7, 8}, rowsOf(t, err))
	require.ErrorContains(t, err, "row 4", "people count rows from 1")
	conflict(t, err, string(serial(1)))
	page, err := s.Machines(t.Context(), inventory.MachineFilter{})
	require.NoError(t, err)
	require.Equal(t, []inventory.Serial{serial(1)}, serials(page))
	_, err = s.MachineByMAC(t.Context(), full(10).MACs[0])
	require.ErrorIs(t, err, inventory.ErrNotFound, "nothing of a refused import is left behind")

	// What was refused with the rest goes in without it.
	create(t, s, full(10), full(11), full(16))
}

func machineImportCanonical(t *testing.T, s inventory.MachineStore) {
	rows := []inventory.Machine{
		{Serial: "abc123"},
		{Serial: " ABC123"},
		{Serial: ""},
		{Serial: "0000000"},
		{Serial: "ABC1", MACs: []inventory.MAC{"52-54-00-00-00-01"}},
		{Serial: "ABC2", MACs: []inventory.MAC{"52:54:00:00:00:AB"}},
		{Serial: "ABC3", MACs: []inventory.MAC{"ff:ff:ff:ff:ff:ff"}},
		{Serial: "ABC4", Source: "guessed"},
		{Serial: "ABC5", Address: netip.MustParseAddr("fe80::1")},
		{Serial: "ABC6", Address: netip.MustParseAddr("0.0.0.0")},
		{Serial: "ABC7", Facts: json.RawMessage(`{"half":`)},
		{Serial: "ABC8"},
	}
	err := s.CreateMachines(t.Context(), rows)
	require.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, rowsOf(t, err))
	page, err := s.Machines(t.Context(), inventory.MachineFilter{})
	require.NoError(t, err)
	require.Empty(t, page)
}

func machineImportOwned(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	for _, m := range []inventory.Machine{
		{Serial: serial(2), MACs: []inventory.MAC{mac(100), full(1).MACs[1]}},
		{Serial: serial(2), MACs: []inventory.MAC{full(1).MACs[1]}, Source: inventory.Discovered},
	} {
		err := s.CreateMachines(t.Context(), []inventory.Machine{m})
		require.Equal(t, []int{0}, rowsOf(t, err))
		conflict(t, err, string(full(1).MACs[1]))
		require.ErrorContains(t, err, string(serial(1)), "the error names the owner")
	}
	err := s.CreateMachines(t.Context(), []inventory.Machine{{Serial: serial(2), Address: full(1).Address}})
	conflict(t, err, full(1).Address.String())
	require.ErrorContains(t, err, string(serial(1)))
	got, err := s.MachineByMAC(t.Context(), full(1).MACs[1])
	require.NoError(t, err)
	require.Equal(t, full(1), *got)
}

func machineImportSeveral(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1), full(2))
	err := s.CreateMachines(t.Context(), []inventory.Machine{
		bare(3),
		{Serial: serial(4), MACs: []inventory.MAC{full(1).MACs[0], full(2).MACs[0]}, Address: full(2).Address},
	})
	rowsOf(t, err)
	for _, what := range []string{string(full(1).MACs[0]), string(full(2).MACs[0]), full(2).Address.String()} {
		require.ErrorContains(t, err, what)
	}
	require.ErrorContains(t, err, "1 bad row,")
}

func machinePromotion(t *testing.T, s inventory.MachineStore) {
	learnt := inventory.Machine{Serial: serial(1), Source: inventory.Discovered, MACs: []inventory.MAC{mac(1), mac(2)},
		UUID: "uuid-1", Vendor: "HPE", Product: "DL380", Facts: doc, CreatedAt: moment(0), UpdatedAt: moment(0),
		LastSeenAt: moment(5)}
	create(t, s, learnt)
	create(t, s, inventory.Machine{Serial: serial(1), Name: "web-1", Source: inventory.Imported, Profile: "compute",
		Rack: "r9", Labels: map[string]string{"a": "b"}, MACs: []inventory.MAC{mac(2), mac(0)},
		Address: netip.MustParseAddr("10.1.2.3")})
	got := get(t, s, serial(1))
	recent(t, got.UpdatedAt)
	require.Equal(t, inventory.Machine{Serial: serial(1), Name: "web-1", Source: inventory.Imported, Profile: "compute",
		Rack: "r9", Labels: map[string]string{"a": "b"}, MACs: []inventory.MAC{mac(0), mac(1), mac(2)},
		Address: netip.MustParseAddr("10.1.2.3"), UUID: "uuid-1", Vendor: "HPE", Product: "DL380", Facts: doc,
		CreatedAt: moment(0), UpdatedAt: got.UpdatedAt, LastSeenAt: moment(5)}, got)
	for i := range 3 {
		owner, err := s.MachineByMAC(t.Context(), mac(i))
		require.NoError(t, err)
		require.Equal(t, serial(1), owner.Serial)
	}
	page, err := s.Machines(t.Context(), inventory.MachineFilter{Source: inventory.Discovered})
	require.NoError(t, err)
	require.Empty(t, page)
}

func machinePromotionConflict(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1),
		inventory.Machine{Serial: serial(2), Source: inventory.Discovered, MACs: []inventory.MAC{mac(50)}})
	before := get(t, s, serial(2))
	err := s.CreateMachines(t.Context(), []inventory.Machine{{Serial: serial(2), MACs: []inventory.MAC{full(1).MACs[0]}}})
	conflict(t, err, string(full(1).MACs[0]))
	require.Equal(t, before, get(t, s, serial(2)))
	err = s.CreateMachines(t.Context(), []inventory.Machine{{Serial: serial(3), MACs: []inventory.MAC{mac(50)}}})
	conflict(t, err, string(mac(50)))
}

func machineImportTwice(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	again := full(1)
	again.Name = "other"
	err := s.CreateMachines(t.Context(), []inventory.Machine{again})
	conflict(t, err, string(serial(1)))
	again.Source = inventory.Discovered
	err = s.CreateMachines(t.Context(), []inventory.Machine{again})
	conflict(t, err, string(serial(1)))
	require.Equal(t, full(1), get(t, s, serial(1)))
}

func machineDiscoveredTwice(t *testing.T, s inventory.MachineStore) {
	create(t, s, inventory.Machine{Serial: serial(1), Source: inventory.Discovered, MACs: []inventory.MAC{mac(1)},
		Vendor: "HPE"})
	create(t, s, inventory.Machine{Serial: serial(1), Source: inventory.Discovered, MACs: []inventory.MAC{mac(2)},
		UUID: "u"})
	got := get(t, s, serial(1))
	require.Equal(t, inventory.Discovered, got.Source)
	require.Equal(t, []inventory.MAC{mac(1), mac(2)}, got.MACs)
	require.Equal(t, "HPE", got.Vendor)
	require.Equal(t, "u", got.UUID)
}

func machineImportRace(t *testing.T, s inventory.MachineStore) {
	errs := together(16, func(i int) error {
		return s.CreateMachines(context.Background(), []inventory.Machine{{Serial: serial(i), MACs: []inventory.MAC{mac(1)}}})
	})
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		conflict(t, err, string(mac(1)))
	}
	require.Equal(t, 1, won)
	page, err := s.Machines(t.Context(), inventory.MachineFilter{})
	require.NoError(t, err)
	require.Len(t, page, 1)
}

func machineUpdate(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	want := full(1)
	stored, err := s.UpdateMachine(t.Context(), serial(1), func(m *inventory.Machine) error {
		require.Equal(t, full(1), *m, "change gets what is stored")
		m.Name, m.Profile, m.Rack, m.Vendor, m.Product, m.UUID = "n", "p", "r", "v", "x", "u"
		m.Source = inventory.Discovered
		m.Labels = map[string]string{"only": "this"}
		m.MACs = []inventory.MAC{mac(40), m.MACs[1], mac(40)}
		m.Address = netip.MustParseAddr("10.9.9.9")
		m.Facts = json.RawMessage(`[]`)
		m.LastSeenAt = moment(60)
		return nil
	})
	require.NoError(t, err)
	recent(t, stored.UpdatedAt)
	want.Name, want.Profile, want.Rack, want.Vendor, want.Product, want.UUID = "n", "p", "r", "v", "x", "u"
	want.Source = inventory.Discovered
	want.Labels = map[string]string{"only": "this"}
	want.MACs = []inventory.MAC{want.MACs[1], mac(40)}
	want.Address = netip.MustParseAddr("10.9.9.9")
	want.Facts = json.RawMessage(`[]`)
	want.LastSeenAt = moment(60)
	want.UpdatedAt = stored.UpdatedAt
	require.Equal(t, want, *stored)
	require.Equal(t, want, get(t, s, serial(1)))

	_, err = s.MachineByMAC(t.Context(), full(1).MACs[0])
	require.ErrorIs(t, err, inventory.ErrNotFound, "a MAC that was taken away is free")
	create(t, s, inventory.Machine{Serial: serial(2), MACs: full(1).MACs[:1], Address: full(1).Address})

	stored, err = s.UpdateMachine(t.Context(), serial(1), func(m *inventory.Machine) error {
		m.UpdatedAt = moment(99)
		m.Labels, m.MACs, m.Facts, m.Address = nil, nil, nil, netip.Addr{}
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, moment(99), stored.UpdatedAt, "a change may set UpdatedAt itself")
	want.UpdatedAt, want.Labels, want.MACs, want.Facts, want.Address = moment(99), nil, nil, nil, netip.Addr{}
	require.Equal(t, want, get(t, s, serial(1)))
}

func machineUpdateFails(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	_, err := s.UpdateMachine(t.Context(), serial(1), func(m *inventory.Machine) error {
		m.Name, m.MACs = "changed", []inventory.MAC{mac(70)}
		return fmt.Errorf("no: %w", errChange)
	})
	require.ErrorIs(t, err, errChange)
	require.Equal(t, full(1), get(t, s, serial(1)))
	_, err = s.MachineByMAC(t.Context(), mac(70))
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

func machineUpdateSerial(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	_, err := s.UpdateMachine(t.Context(), serial(1), func(m *inventory.Machine) error {
		m.Serial = serial(2)
		return nil
	})
	require.Error(t, err)
	require.Equal(t, full(1), get(t, s, serial(1)))
	_, err = s.Machine(t.Context(), serial(2))
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

func machineUpdateConflict(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1), full(2))
	_, err := s.UpdateMachine(t.Context(), serial(2), func(m *inventory.Machine) error {
		m.MACs = append(m.MACs, full(1).MACs[0])
		m.Name = "changed"
		return nil
	})
	conflict(t, err, string(full(1).MACs[0]))
	require.ErrorContains(t, err, string(serial(1)), "the error names the owner")
	_, err = s.UpdateMachine(t.Context(), serial(2), func(m *inventory.Machine) error {
		m.Address = full(1).Address
		return nil
	})
	conflict(t, err, full(1).Address.String())
	require.Equal(t, full(2), get(t, s, serial(2)))
	owner, err := s.MachineByMAC(t.Context(), full(1).MACs[0])
	require.NoError(t, err)
	require.Equal(t, serial(1), owner.Serial)
}

func machineUpdateInvalid(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	for _, change := range []func(*inventory.Machine){
		func(m *inventory.Machine) { m.MACs = []inventory.MAC{"52-54-00-00-00-01"} },
		func(m *inventory.Machine) { m.Source = "guessed" },
		func(m *inventory.Machine) { m.Address = netip.MustParseAddr("::1") },
		func(m *inventory.Machine) { m.Facts = json.RawMessage(`{`) },
	} {
		_, err := s.UpdateMachine(t.Context(), serial(1), func(m *inventory.Machine) error { change(m); return nil })
		require.ErrorContains(t, err, string(serial(1)), "the error names the machine")
	}
	require.Equal(t, full(1), get(t, s, serial(1)))
}

func machineUpdateRace(t *testing.T, s inventory.MachineStore) {
	create(t, s, bare(1), bare(2))
	const n = 40
	for _, err := range together(n, func(i int) error {
		_, err := s.UpdateMachine(context.Background(), serial(1+i%2), func(m *inventory.Machine) error {
			if m.Labels == nil {
				m.Labels = map[string]string{}
			}
			m.Labels[fmt.Sprint(i)] = "here"
			dawdle()
			m.MACs = append(m.MACs, mac(100+i))
			return nil
		})
		return err
	}) {
		require.NoError(t, err)
	}
	for i := range 2 {
		m := get(t, s, serial(1+i))
		require.Len(t, m.Labels, n/2)
		require.Len(t, m.MACs, n/2)
		require.True(t, slices.IsSorted(m.MACs))
	}
}

func machineClaimRace(t *testing.T, s inventory.MachineStore) {
	const n = 16
	for i := range n {
		create(t, s, bare(i))
	}
	var won atomic.Int32
	for _, err := range together(n, func(i int) error {
		_, err := s.UpdateMachine(context.Background(), serial(i), func(m *inventory.Machine) error {
			m.MACs = []inventory.MAC{mac(1)}
			dawdle()
			return nil
		})
		if err == nil {
			won.Add(1)
		}
		return err
	}) {
		if err != nil {
			conflict(t, err, string(mac(1)))
		}
	}
	require.EqualValues(t, 1, won.Load())
}

func machineDelete(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1), full(2))
	require.NoError(t, s.DeleteMachine(t.Context(), serial(1)))
	_, err := s.Machine(t.Context(), serial(1))
	require.ErrorIs(t, err, inventory.ErrNotFound)
	_, err = s.MachineByMAC(t.Context(), full(1).MACs[0])
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.ErrorIs(t, s.DeleteMachine(t.Context(), serial(1)), inventory.ErrNotFound)
	require.Equal(t, full(2), get(t, s, serial(2)))

	create(t, s, inventory.Machine{Serial: serial(3), MACs: full(1).MACs, Address: full(1).Address})
	create(t, s, bare(1))
	require.Empty(t, get(t, s, serial(1)).MACs)
}

func machineContext(t *testing.T, s inventory.MachineStore) {
	create(t, s, full(1))
	ctx := ended()
	_, err := s.Machine(ctx, serial(1))
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.MachineByMAC(ctx, full(1).MACs[0])
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Machines(ctx, inventory.MachineFilter{})
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.CreateMachines(ctx, []inventory.Machine{full(2)}), context.Canceled)
	_, err = s.UpdateMachine(ctx, serial(1), func(m *inventory.Machine) error { m.Name = "changed"; return nil })
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, s.DeleteMachine(ctx, serial(1)), context.Canceled)

	late, cancel := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	defer cancel()
	_, err = s.Machine(late, serial(1))
	require.True(t, errors.Is(err, context.DeadlineExceeded), "%v", err)

	page, err := s.Machines(t.Context(), inventory.MachineFilter{})
	require.NoError(t, err)
	require.Equal(t, []inventory.Machine{full(1)}, page)
}

// machineVersion is for stores that are an [inventory.MachineVersioner] as well.
func machineVersion(t *testing.T, s inventory.MachineStore) {
	versioner, ok := s.(inventory.MachineVersioner)
	if !ok {
		return
	}
	version := func() uint64 {
		v, ok := versioner.MachinesVersion(t.Context())
		require.True(t, ok)
		return v
	}
	last := version()
	changed := func(what string) {
		t.Helper()
		now := version()
		require.NotEqual(t, last, now, what)
		last = now
	}
	create(t, s, full(1), bare(2))
	changed("a machine is new")
	for what, change := range map[string]func(*inventory.Machine){
		"address": func(m *inventory.Machine) { m.Address = full(9).Address },
		"name":    func(m *inventory.Machine) { m.Name = "another" },
		"MAC":     func(m *inventory.Machine) { m.MACs = full(9).MACs },
	} {
		_, err := s.UpdateMachine(t.Context(), serial(2), func(m *inventory.Machine) error { change(m); return nil })
		require.NoError(t, err)
		changed(what)
	}
	_, err := s.UpdateMachine(t.Context(), serial(2), func(m *inventory.Machine) error {
		m.LastSeenAt = m.LastSeenAt.Add(time.Hour)
		return nil
	})
	require.NoError(t, err)
	require.NoError(t, s.DeleteMachine(t.Context(), serial(1)))
	changed("a machine is gone")
}
