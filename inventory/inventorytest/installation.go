package inventorytest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

// InstallationStores is what the suite of installations needs beside them: an installation belongs to a machine and
// writes events.
type InstallationStores interface {
	inventory.MachineStore
	inventory.InstallationStore
	inventory.EventStore
}

// RunInstallations tests a store of installations.
func RunInstallations(t *testing.T, open func(t *testing.T) InstallationStores) {
	check(t, open, []statement[InstallationStores]{
		{"an installation comes back as it was created", installationRoundTrip},
		{"an installation that says little gets the defaults", installationDefaults},
		{"an unknown installation is not found", installationNotFound},
		{"an unknown machine gets no installation and no events", installationUnknownMachine},
		{"a machine has one open installation at most", installationOneOpen},
		{"concurrent creations for one machine have one winner", installationCreateRace},
		{"an ID is given once", installationIDTwice},
		{"creation stores its events, all or nothing", installationCreateEvents},
		{"creation refuses what is not canonical", installationInvalid},
		{"the open installation of a machine is found until it is closed", installationOpen},
		{"every state is open or closed as State.Open says", installationStates},
		{"values share no memory with the store", installationAliasing},
		{"pages are ordered by ID in both directions and complete", installationPages},
		{"a page holds 100 by default and 1000 at most", installationPageBounds},
		{"filters combine with AND", installationFilters},
		{"an update stores what change left together with its events", installationUpdate},
		{"an update whose change fails stores nothing", installationUpdateFails},
		{"an update whose events are refused stores nothing", installationUpdateBadEvent},
		{"an update cannot change ID or serial number", installationUpdateIdentity},
		{"an installation cannot be reopened beside an open one", installationReopen},
		{"concurrent updates lose nothing and each event is stored once", installationUpdateRace},
		{"an installation and its events outlive their machine", installationOutlivesMachine},
		{"a context that has ended stores and returns nothing", installationContext},
	})
}

func installation(id string, sn inventory.Serial) inventory.Installation {
	return inventory.Installation{ID: id, Serial: sn, State: inventory.Queued}
}

func fullInstallation(id string, sn inventory.Serial) inventory.Installation {
	return inventory.Installation{ID: id, Serial: sn, State: inventory.Failed, Reason: "disk sda: \"broken\"\nreplace it",
		Profile: "compute", Attempt: 3, Plan: doc, Progress: 0.4375, ProgressText: "writing 4 GiB", CreatedAt: moment(1),
		UpdatedAt: moment(2), StateSince: moment(3), Deadline: moment(4),
		Entered: map[inventory.State]time.Time{inventory.Queued: moment(1), inventory.Failed: moment(3)}}
}

func createInstallation(t *testing.T, s InstallationStores, i inventory.Installation, events ...inventory.Event) {
	t.Helper()
	require.NoError(t, s.CreateInstallation(t.Context(), i, events...))
}

func getInstallation(t *testing.T, s InstallationStores, id string) inventory.Installation {
	t.Helper()
	i, err := s.Installation(t.Context(), id)
	require.NoError(t, err)
	return *i
}

func setState(state inventory.State) func(*inventory.Installation) ([]inventory.Event, error) {
	return func(i *inventory.Installation) ([]inventory.Event, error) { i.State = state; return nil, nil }
}

func ids(is []inventory.Installation) []string {
	out := []string{}
	for _, i := range is {
		out = append(out, i.ID)
	}
	return out
}

func messages(t *testing.T, s inventory.EventStore, f inventory.EventFilter) []string {
	t.Helper()
	events, err := s.Events(t.Context(), f)
	require.NoError(t, err)
	out := []string{}
	for _, e := range events {
		out = append(out, e.Message)
	}
	return out
}

func stateEvent(id, message string) inventory.Event {
	return inventory.Event{Installation: id, Kind: inventory.KindState, Message: message}
}

func installationRoundTrip(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	want := fullInstallation("01J", serial(1))
	createInstallation(t, s, want)
	require.Equal(t, want, getInstallation(t, s, "01J"))
	open, err := s.OpenInstallation(t.Context(), serial(1))
	require.NoError(t, err)
	require.Equal(t, want, *open)
	page, err := s.Installations(t.Context(), inventory.InstallationFilter{})
	require.NoError(t, err)
	require.Equal(t, []inventory.Installation{want}, page)
}

func installationDefaults(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	i := installation("i1", serial(1))
	i.Entered, i.Plan = map[inventory.State]time.Time{}, json.RawMessage{}
	createInstallation(t, s, i)
	got := getInstallation(t, s, "i1")
	recent(t, got.CreatedAt)
	recent(t, got.UpdatedAt)
	recent(t, got.StateSince)
	require.Equal(t, inventory.Installation{ID: "i1", Serial: serial(1), State: inventory.Queued, Attempt: 1,
		CreatedAt: got.CreatedAt, UpdatedAt: got.UpdatedAt, StateSince: got.StateSince}, got)
}

func installationNotFound(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	_, err := s.Installation(t.Context(), "none")
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.ErrorContains(t, err, "none")
	_, err = s.OpenInstallation(t.Context(), serial(1))
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.ErrorContains(t, err, string(serial(1)))
	called := false
	_, err = s.UpdateInstallation(t.Context(), "none", func(*inventory.Installation) ([]inventory.Event, error) {
		called = true
		return nil, nil
	})
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.False(t, called)
}

func installationUnknownMachine(t *testing.T, s InstallationStores) {
	err := s.CreateInstallation(t.Context(), installation("i1", serial(1)), stateEvent("i1", "queued"))
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.ErrorContains(t, err, string(serial(1)))
	_, err = s.Installation(t.Context(), "i1")
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.Empty(t, messages(t, s, inventory.EventFilter{}))
}

func installationOneOpen(t *testing.T, s InstallationStores) {
	create(t, s, bare(1), bare(2))
	createInstallation(t, s, installation("i1", serial(1)))
	err := s.CreateInstallation(t.Context(), installation("i2", serial(1)), stateEvent("i2", "queued"))
	conflict(t, err, string(serial(1)))
	require.ErrorContains(t, err, "i1", "the error names the open one")
	_, err = s.Installation(t.Context(), "i2")
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.Empty(t, messages(t, s, inventory.EventFilter{}))

	createInstallation(t, s, installation("i3", serial(2)))
	closed := installation("i4", serial(1))
	closed.State = inventory.Canceled
	createInstallation(t, s, closed) // a record of the past stands in nobody's way
}

func installationCreateRace(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	won := 0
	for _, err := range together(16, func(i int) error {
		id := fmt.Sprintf("i%02d", i)
		return s.CreateInstallation(context.Background(), installation(id, serial(1)), stateEvent(id, "created"))
	}) {
		if err == nil {
			won++
			continue
		}
		conflict(t, err, string(serial(1)))
	}
	require.Equal(t, 1, won)
	page, err := s.Installations(t.Context(), inventory.InstallationFilter{})
	require.NoError(t, err)
	require.Len(t, page, 1)
	require.Len(t, messages(t, s, inventory.EventFilter{}), 1)
	require.Len(t, messages(t, s, inventory.EventFilter{Installation: page[0].ID}), 1)
}

func installationIDTwice(t *testing.T, s InstallationStores) {
	create(t, s, bare(1), bare(2))
	createInstallation(t, s, fullInstallation("i1", serial(1)))
	conflict(t, s.CreateInstallation(t.Context(), installation("i1", serial(2))), "i1")
	require.Equal(t, fullInstallation("i1", serial(1)), getInstallation(t, s, "i1"))
}

func installationCreateEvents(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	bad := inventory.Event{Kind: inventory.KindLog, Message: "bad", Data: json.RawMessage(`{`)}
	require.Error(t, s.CreateInstallation(t.Context(), installation("i1", serial(1)), stateEvent("i1", "good"), bad))
	_, err := s.Installation(t.Context(), "i1")
	require.ErrorIs(t, err, inventory.ErrNotFound)
	require.Empty(t, messages(t, s, inventory.EventFilter{}))

	createInstallation(t, s, installation("i1", serial(1)), stateEvent("i1", "first"), stateEvent("i1", "second"))
	require.Equal(t, []string{"first", "second"}, messages(t, s, inventory.EventFilter{Installation: "i1"}))
}

func installationInvalid(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	for _, change := range []func(*inventory.Installation){
		func(i *inventory.Installation) { i.ID = "" },
		func(i *inventory.Installation) { i.ID = "a/b" },
		func(i *inventory.Installation) { i.ID = ".." },
		func(i *inventory.Installation) { i.State = "" },
		func(i *inventory.Installation) { i.State = "nearly done" },
		func(i *inventory.Installation) { i.Plan = json.RawMessage(`{`) },
		func(i *inventory.Installation) { i.Serial = "sn0001" },
	} {
		i := installation("i1", serial(1))
		change(&i)
		require.Error(t, s.CreateInstallation(t.Context(), i), "%+v", i)
	}
	page, err := s.Installations(t.Context(), inventory.InstallationFilter{})
	require.NoError(t, err)
	require.Empty(t, page)
}

func installationOpen(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	createInstallation(t, s, installation("i1", serial(1)))
	open, err := s.OpenInstallation(t.Context(), serial(1))
	require.NoError(t, err)
	require.Equal(t, "i1", open.ID)
	_, err = s.UpdateInstallation(t.Context(), "i1", setState(inventory.Installed))
	require.NoError(t, err)
	_, err = s.OpenInstallation(t.Context(), serial(1))
	require.ErrorIs(t, err, inventory.ErrNotFound)
	createInstallation(t, s, installation("i0", serial(1))) // IDs need not ascend
	open, err = s.OpenInstallation(t.Context(), serial(1))
	require.NoError(t, err)
	require.Equal(t, "i0", open.ID)
}

func installationStates(t *testing.T, s InstallationStores) {
	for n, state := range inventory.States {
		create(t, s, bare(n))
		i := installation(fmt.Sprintf("i%02d", n), serial(n))
		i.State = state
		createInstallation(t, s, i)
		_, err := s.OpenInstallation(t.Context(), serial(n))
		if state.Open() {
			require.NoError(t, err, state)
			conflict(t, s.CreateInstallation(t.Context(), installation("again", serial(n))), string(serial(n)))
		} else {
			require.ErrorIs(t, err, inventory.ErrNotFound, state)
		}
	}
	open, err := s.Installations(t.Context(), inventory.InstallationFilter{OpenOnly: true})
	require.NoError(t, err)
	for _, i := range open {
		require.True(t, i.State.Open())
	}
	require.Len(t, open, len(inventory.States)-2)
}

func installationAliasing(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	scribble := func(i *inventory.Installation) {
		i.Plan[0] = '!'
		i.Entered[inventory.Canceled] = moment(9)
		i.Reason = "changed"
	}
	given := fullInstallation("i1", serial(1))
	given.Plan = slices.Clone(doc)
	event := stateEvent("i1", "created")
	event.Data = slices.Clone(doc)
	createInstallation(t, s, given, event)
	scribble(&given)
	event.Data[0] = '!'
	want := fullInstallation("i1", serial(1))
	require.Equal(t, want, getInstallation(t, s, "i1"), "what was given")
	events, err := s.Events(t.Context(), inventory.EventFilter{})
	require.NoError(t, err)
	require.Equal(t, doc, events[0].Data, "what was given with it")

	got := getInstallation(t, s, "i1")
	scribble(&got)
	require.Equal(t, want, getInstallation(t, s, "i1"), "what Installation returned")
	open, err := s.OpenInstallation(t.Context(), serial(1))
	require.NoError(t, err)
	scribble(open)
	require.Equal(t, want, getInstallation(t, s, "i1"), "what OpenInstallation returned")
	page, err := s.Installations(t.Context(), inventory.InstallationFilter{})
	require.NoError(t, err)
	scribble(&page[0])
	require.Equal(t, want, getInstallation(t, s, "i1"), "what Installations returned")

	var kept *inventory.Installation
	stored, err := s.UpdateInstallation(t.Context(), "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
		kept = i
		return nil, nil
	})
	require.NoError(t, err)
	want.UpdatedAt = stored.UpdatedAt
	scribble(kept)
	require.Equal(t, want, *stored, "what change kept")
	scribble(stored)
	require.Equal(t, want, getInstallation(t, s, "i1"), "what UpdateInstallation returned")
}

func installationPages(t *testing.T, s InstallationStores) {
	all := []string{"a1", "a2", "a3", "b1", "b2", "b3", "c1"}
	for n, id := range []string{"b2", "a1", "c1", "a3", "b1", "a2", "b3"} {
		create(t, s, bare(n))
		createInstallation(t, s, installation(id, serial(n)))
	}
	for _, newest := range []bool{false, true} {
		f := inventory.InstallationFilter{Limit: 3, Newest: newest}
		var got []string
		for {
			page, err := s.Installations(t.Context(), f)
			require.NoError(t, err)
			got = append(got, ids(page)...)
			if len(page) < f.Limit {
				break
			}
			f.After = page[len(page)-1].ID
		}
		want := slices.Clone(all)
		if newest {
			slices.Reverse(want)
		}
		require.Equal(t, want, got, "newest %v", newest)
	}
	for _, c := range []struct {
		f    inventory.InstallationFilter
		want []string
	}{
		{inventory.InstallationFilter{After: "b"}, []string{"b1", "b2", "b3", "c1"}},
		{inventory.InstallationFilter{After: "b", Newest: true}, []string{"a3", "a2", "a1"}},
		{inventory.InstallationFilter{After: "c1"}, []string{}},
		{inventory.InstallationFilter{After: "a1", Newest: true}, []string{}},
		{inventory.InstallationFilter{After: "zz", Newest: true, Limit: 1}, []string{"c1"}},
	} {
		page, err := s.Installations(t.Context(), c.f)
		require.NoError(t, err)
		require.Equal(t, c.want, ids(page), "%+v", c.f)
	}
}

func installationPageBounds(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	for _, err := range together(1005, func(n int) error {
		i := installation(fmt.Sprintf("i%04d", n), serial(1))
		i.State = inventory.Canceled
		return s.CreateInstallation(context.Background(), i)
	}) {
		require.NoError(t, err)
	}
	for limit, want := range map[int]int{0: 100, -1: 100, 1: 1, 1000: 1000, 1001: 1000} {
		for _, newest := range []bool{false, true} {
			page, err := s.Installations(t.Context(), inventory.InstallationFilter{Limit: limit, Newest: newest})
			require.NoError(t, err)
			require.Len(t, page, want, "limit %d", limit)
		}
	}
}

func installationFilters(t *testing.T, s InstallationStores) {
	create(t, s, bare(1), bare(2), bare(3))
	put := func(id string, n int, state inventory.State) {
		i := installation(id, serial(n))
		i.State = state
		createInstallation(t, s, i)
	}
	put("i1", 1, inventory.Installed)
	put("i2", 1, inventory.Canceled)
	put("i3", 1, inventory.Queued)
	put("i4", 2, inventory.Failed)
	put("i5", 3, inventory.Queued)
	queued := []inventory.State{inventory.Queued}
	for _, c := range []struct {
		f    inventory.InstallationFilter
		want []string
	}{
		{inventory.InstallationFilter{}, []string{"i1", "i2", "i3", "i4", "i5"}},
		{inventory.InstallationFilter{Serial: serial(1)}, []string{"i1", "i2", "i3"}},
		{inventory.InstallationFilter{Serial: serial(9)}, []string{}},
		{inventory.InstallationFilter{States: queued}, []string{"i3", "i5"}},
		{inventory.InstallationFilter{States: []inventory.State{inventory.Failed, inventory.Installed}},
			[]string{"i1", "i4"}},
		{inventory.InstallationFilter{OpenOnly: true}, []string{"i3", "i4", "i5"}},
		{inventory.InstallationFilter{OpenOnly: true, Newest: true, Limit: 2}, []string{"i5", "i4"}},
		{inventory.InstallationFilter{OpenOnly: true, States: []inventory.State{inventory.Installed}}, []string{}},
		{inventory.InstallationFilter{OpenOnly: true, Serial: serial(1)}, []string{"i3"}},
		{inventory.InstallationFilter{Serial: serial(1), States: queued, After: "i3"}, []string{}},
		{inventory.InstallationFilter{States: queued, After: "i3"}, []string{"i5"}},
		{inventory.InstallationFilter{States: queued, Newest: true, After: "i5"}, []string{"i3"}},
	} {
		page, err := s.Installations(t.Context(), c.f)
		require.NoError(t, err)
		require.Equal(t, c.want, ids(page), "%+v", c.f)
	}
}

func installationUpdate(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	createInstallation(t, s, fullInstallation("i1", serial(1)))
	want := inventory.Installation{ID: "i1", Serial: serial(1), State: inventory.Installing, Reason: "r",
		Profile: "p", Attempt: 4, Plan: json.RawMessage(`[1]`), Progress: 0.5, ProgressText: "half",
		CreatedAt: moment(1), StateSince: moment(50),
		Entered: map[inventory.State]time.Time{inventory.Installing: moment(50)}}
	stored, err := s.UpdateInstallation(t.Context(), "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
		require.Equal(t, fullInstallation("i1", serial(1)), *i, "change gets what is stored")
		w := want
		w.UpdatedAt, w.Entered = i.UpdatedAt, maps.Clone(want.Entered)
		*i = w
		return []inventory.Event{stateEvent("i1", "one"), stateEvent("i1", "two")}, nil
	})
	require.NoError(t, err)
	recent(t, stored.UpdatedAt)
	want.UpdatedAt = stored.UpdatedAt
	require.Equal(t, want, *stored)
	require.Equal(t, want, getInstallation(t, s, "i1"))
	require.Equal(t, []string{"one", "two"}, messages(t, s, inventory.EventFilter{Installation: "i1"}))

	stored, err = s.UpdateInstallation(t.Context(), "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
		i.UpdatedAt, i.Plan, i.Entered, i.Deadline, i.Progress = moment(70), nil, nil, time.Time{}, 1
		return nil, nil
	})
	require.NoError(t, err)
	want.UpdatedAt, want.Plan, want.Entered, want.Progress = moment(70), nil, nil, 1
	require.Equal(t, want, *stored, "a change may set UpdatedAt itself")
	require.Equal(t, want, getInstallation(t, s, "i1"))
}

func installationUpdateFails(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	createInstallation(t, s, fullInstallation("i1", serial(1)))
	_, err := s.UpdateInstallation(t.Context(), "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
		i.State, i.Plan[2] = inventory.Installed, 'y'
		return []inventory.Event{stateEvent("i1", "lost")}, fmt.Errorf("no: %w", errChange)
	})
	require.ErrorIs(t, err, errChange)
	require.Equal(t, fullInstallation("i1", serial(1)), getInstallation(t, s, "i1"))
	require.Empty(t, messages(t, s, inventory.EventFilter{}))
	_, err = s.OpenInstallation(t.Context(), serial(1))
	require.NoError(t, err)
}

func installationUpdateBadEvent(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	createInstallation(t, s, fullInstallation("i1", serial(1)))
	_, err := s.UpdateInstallation(t.Context(), "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
		i.State = inventory.Installed
		return []inventory.Event{stateEvent("i1", "good"), {Message: "of no kind"}}, nil
	})
	require.Error(t, err)
	require.Equal(t, fullInstallation("i1", serial(1)), getInstallation(t, s, "i1"))
	require.Empty(t, messages(t, s, inventory.EventFilter{}))
}

func installationUpdateIdentity(t *testing.T, s InstallationStores) {
	create(t, s, bare(1), bare(2))
	createInstallation(t, s, fullInstallation("i1", serial(1)))
	for _, change := range []func(*inventory.Installation){
		func(i *inventory.Installation) { i.ID = "i2" },
		func(i *inventory.Installation) { i.Serial = serial(2) },
		func(i *inventory.Installation) { i.State = "nearly done" },
	} {
		_, err := s.UpdateInstallation(t.Context(), "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
			change(i)
			return nil, nil
		})
		require.ErrorContains(t, err, "i1", "the error names the installation")
	}
	require.Equal(t, fullInstallation("i1", serial(1)), getInstallation(t, s, "i1"))
	_, err := s.Installation(t.Context(), "i2")
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

func installationReopen(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	old := installation("i1", serial(1))
	old.State = inventory.Canceled
	createInstallation(t, s, old)
	createInstallation(t, s, installation("i2", serial(1)))
	_, err := s.UpdateInstallation(t.Context(), "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
		i.State = inventory.Queued
		return []inventory.Event{stateEvent("i1", "reopened")}, nil
	})
	conflict(t, err, string(serial(1)))
	require.ErrorContains(t, err, "i2", "the error names the open one")
	require.Equal(t, inventory.Canceled, getInstallation(t, s, "i1").State)
	require.Empty(t, messages(t, s, inventory.EventFilter{}))

	_, err = s.UpdateInstallation(t.Context(), "i2", setState(inventory.Installed))
	require.NoError(t, err)
	_, err = s.UpdateInstallation(t.Context(), "i1", setState(inventory.Queued))
	require.NoError(t, err)
	open, err := s.OpenInstallation(t.Context(), serial(1))
	require.NoError(t, err)
	require.Equal(t, "i1", open.ID)
}

func installationUpdateRace(t *testing.T, s InstallationStores) {
	create(t, s, bare(1), bare(2))
	createInstallation(t, s, installation("i1", serial(1)))
	createInstallation(t, s, installation("i2", serial(2)))
	const n = 60
	failed := 0
	for _, err := range together(n, func(k int) error {
		id := fmt.Sprintf("i%d", 1+k%2)
		_, err := s.UpdateInstallation(context.Background(), id, func(i *inventory.Installation) ([]inventory.Event, error) {
			i.Attempt++
			dawdle()
			if k%3 == 0 {
				return nil, errChange
			}
			return []inventory.Event{stateEvent(id, fmt.Sprint(i.Attempt))}, nil
		})
		return err
	}) {
		if err != nil {
			require.ErrorIs(t, err, errChange)
			failed++
		}
	}
	require.Equal(t, n/3, failed)
	for _, id := range []string{"i1", "i2"} {
		require.Equal(t, 1+n/3, getInstallation(t, s, id).Attempt)
		var want []string
		for k := range n / 3 {
			want = append(want, fmt.Sprint(k+2))
		}
		require.Equal(t, want, messages(t, s, inventory.EventFilter{Installation: id}),
			"events are in the order of the transactions that wrote them")
	}
}

func installationOutlivesMachine(t *testing.T, s InstallationStores) {
	create(t, s, bare(1))
	e := stateEvent("i1", "queued")
	e.Serial = serial(1)
	createInstallation(t, s, installation("i1", serial(1)), e)
	require.NoError(t, s.DeleteMachine(t.Context(), serial(1)))
	require.Equal(t, serial(1), getInstallation(t, s, "i1").Serial)
	require.Equal(t, []string{"queued"}, messages(t, s, inventory.EventFilter{Serial: serial(1)}))
	_, err := s.UpdateInstallation(t.Context(), "i1", setState(inventory.Canceled))
	require.NoError(t, err)
}

func installationContext(t *testing.T, s InstallationStores) {
	create(t, s, bare(1), bare(2))
	createInstallation(t, s, fullInstallation("i1", serial(1)))
	ctx := ended()
	_, err := s.Installation(ctx, "i1")
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.OpenInstallation(ctx, serial(1))
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.Installations(ctx, inventory.InstallationFilter{})
	require.ErrorIs(t, err, context.Canceled)
	err = s.CreateInstallation(ctx, installation("i2", serial(2)), stateEvent("i2", "queued"))
	require.ErrorIs(t, err, context.Canceled)
	_, err = s.UpdateInstallation(ctx, "i1", setState(inventory.Canceled))
	require.ErrorIs(t, err, context.Canceled)

	page, err := s.Installations(t.Context(), inventory.InstallationFilter{})
	require.NoError(t, err)
	require.Equal(t, []inventory.Installation{fullInstallation("i1", serial(1))}, page)
	require.Empty(t, messages(t, s, inventory.EventFilter{}))
}
