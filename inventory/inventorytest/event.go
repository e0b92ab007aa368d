package inventorytest

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

// RunEvents tests a store of events.
func RunEvents(t *testing.T, open func(t *testing.T) inventory.EventStore) {
	check(t, open, []statement[inventory.EventStore]{
		{"an event comes back as it was appended", eventRoundTrip},
		{"an event without a time happened now", eventNow},
		{"IDs ascend in the given order and the store assigns them", eventIDs},
		{"appending nothing is no error", eventNothing},
		{"appending is all or nothing", eventAllOrNothing},
		{"a long message is cut between characters", eventCut},
		{"a message of any bytes is stored as text", eventBytes},
		{"values share no memory with the store", eventAliasing},
		{"a filter by serial number or MACs finds either", eventIdentity},
		{"filters combine with AND", eventFilters},
		{"pages are ordered by ID and complete", eventPages},
		{"the latest page ends with the newest event", eventLatest},
		{"a page holds 100 by default and 1000 at most", eventPageBounds},
		{"a page over several keys holds each event once", eventKeysOverlap},
		{"concurrent appends lose nothing and keep lists together", eventRace},
		{"a context that has ended stores and returns nothing", eventContext},
	})
}

func logLine(message string) inventory.Event {
	return inventory.Event{Kind: inventory.KindLog, Message: message}
}

func appendEvents(t *testing.T, s inventory.EventStore, events ...inventory.Event) {
	t.Helper()
	require.NoError(t, s.AppendEvents(t.Context(), events...))
}

func eventsOf(t *testing.T, s inventory.EventStore, f inventory.EventFilter) []inventory.Event {
	t.Helper()
	events, err := s.Events(t.Context(), f)
	require.NoError(t, err)
	return events
}

func eventRoundTrip(t *testing.T, s inventory.EventStore) {
	want := []inventory.Event{
		{Time: moment(1), Serial: serial(1), MAC: mac(1), Installation: "i1", Kind: inventory.KindTransfer,
			Message: "GET /bootos/vmlinuz: 8 MB in 1.5 s\tübertragen", Data: doc},
		{Time: moment(0), Kind: "a kind of the future", Message: ""},
	}
	appendEvents(t, s, want...)
	got := eventsOf(t, s, inventory.EventFilter{})
	require.Len(t, got, 2)
	for i := range got {
		require.Positive(t, got[i].ID)
		want[i].ID = got[i].ID
	}
	require.Equal(t, want, got)
}

func eventNow(t *testing.T, s inventory.EventStore) {
	appendEvents(t, s, logLine("a"), inventory.Event{Kind: inventory.KindLog,
		Time: time.Date(2026, 3, 2, 10, 0, 0, 123456789, time.FixedZone("CET", 3600))})
	got := eventsOf(t, s, inventory.EventFilter{})
	recent(t, got[0].Time)
	require.Equal(t, time.Date(2026, 3, 2, 9, 0, 0, 123456000, time.UTC), got[1].Time)
}

func eventIDs(t *testing.T, s inventory.EventStore) {
	first := logLine("first")
	first.ID = 4711
	appendEvents(t, s, first, logLine("second"))
	appendEvents(t, s, logLine("third"))
	got := eventsOf(t, s, inventory.EventFilter{})
	require.Equal(t, []string{"first", "second", "third"}, messages(t, s, inventory.EventFilter{}))
	require.NotEqual(t, int64(4711), got[0].ID)
	require.Less(t, got[0].ID, got[1].ID)
	require.Less(t, got[1].ID, got[2].ID)
}

func eventNothing(t *testing.T, s inventory.EventStore) {
	appendEvents(t, s)
	require.Empty(t, eventsOf(t, s, inventory.EventFilter{}))
	require.Empty(t, eventsOf(t, s, inventory.EventFilter{Latest: true, After: 1 << 40}))
}

func eventAllOrNothing(t *testing.T, s inventory.EventStore) {
	bad := logLine("bad")
	bad.Data = json.RawMessage(`{"half":`)
	require.Error(t, s.AppendEvents(t.Context(), logLine("good"), bad))
	require.Error(t, s.AppendEvents(t.Context(), logLine("good"), inventory.Event{Message: "of no kind"}))
	require.Empty(t, eventsOf(t, s, inventory.EventFilter{}))
}

func eventCut(t *testing.T, s inventory.EventStore) {
	appendEvents(t, s, logLine(strings.Repeat("x", 5000)), logLine("a"+strings.Repeat("ü", 3000)),
		logLine(strings.Repeat("y", 4096)))
	got := messages(t, s, inventory.EventFilter{})
	require.Equal(t, strings.Repeat("x", 4096), got[0])
	require.Equal(t, "a"+strings.Repeat("ü", 2047), got[1])
	require.Equal(t, strings.Repeat("y", 4096), got[2])
}

func eventBytes(t *testing.T, s inventory.EventStore) {
	appendEvents(t, s, logLine("nul \x00 and \xff\xfe and \x1b[31m"), logLine("'; DROP TABLE events; --"))
	got := messages(t, s, inventory.EventFilter{})
	require.True(t, utf8.ValidString(got[0]))
	require.True(t, strings.HasPrefix(got[0], "nul \x00 and "), "%q", got[0])
	require.True(t, strings.HasSuffix(got[0], " and \x1b[31m"), "%q", got[0])
	require.Equal(t, "'; DROP TABLE events; --", got[1])
}

func eventAliasing(t *testing.T, s inventory.EventStore) {
	given := []inventory.Event{{Kind: inventory.KindLog, Message: "m", Data: slices.Clone(doc)}}
	appendEvents(t, s, given...)
	require.Zero(t, given[0].ID, "the caller's events stay as they are")
	require.True(t, given[0].Time.IsZero())
	given[0].Data[0], given[0].Message = '!', "changed"
	got := eventsOf(t, s, inventory.EventFilter{})
	require.Equal(t, doc, got[0].Data)
	got[0].Data[0] = '!'
	require.Equal(t, doc, eventsOf(t, s, inventory.EventFilter{})[0].Data)
}

func eventIdentity(t *testing.T, s inventory.EventStore) {
	appendEvents(t, s,
		inventory.Event{Kind: inventory.KindDHCP, MAC: mac(1), Message: "before the serial number is known"},
		inventory.Event{Kind: inventory.KindDHCP, MAC: mac(2), Message: "second NIC"},
		inventory.Event{Kind: inventory.KindBoot, MAC: mac(1), Serial: serial(1), Message: "both"},
		inventory.Event{Kind: inventory.KindLog, Serial: serial(1), Message: "serial alone"},
		inventory.Event{Kind: inventory.KindLog, Serial: serial(2), MAC: mac(3), Message: "another machine"},
		inventory.Event{Kind: inventory.KindAudit, Message: "no machine"},
	)
	for _, c := range []struct {
		f    inventory.EventFilter
		want []string
	}{
		{inventory.EventFilter{Serial: serial(1)}, []string{"both", "serial alone"}},
		{inventory.EventFilter{MACs: []inventory.MAC{mac(1)}}, []string{"before the serial number is known", "both"}},
		{inventory.EventFilter{Serial: serial(1), MACs: []inventory.MAC{mac(1), mac(2)}},
			[]string{"before the serial number is known", "second NIC", "both", "serial alone"}},
		{inventory.EventFilter{MACs: []inventory.MAC{mac(2), mac(3)}}, []string{"second NIC", "another machine"}},
		{inventory.EventFilter{Serial: serial(9), MACs: []inventory.MAC{mac(9)}}, []string{}},
	} {
		require.Equal(t, c.want, messages(t, s, c.f), "%+v", c.f)
	}
}

func eventFilters(t *testing.T, s inventory.EventStore) {
	e := func(m string, sn inventory.Serial, inst string, k inventory.Kind) inventory.Event {
		return inventory.Event{Message: m, Serial: sn, Installation: inst, Kind: k, MAC: mac(7)}
	}
	appendEvents(t, s, e("a", serial(1), "i1", inventory.KindState), e("b", serial(1), "i1", inventory.KindLog),
		e("c", serial(1), "i2", inventory.KindState), e("d", serial(2), "i3", inventory.KindState),
		e("e", serial(2), "", inventory.KindAlarm))
	states := []inventory.Kind{inventory.KindState}
	for _, c := range []struct {
		f    inventory.EventFilter
		want []string
	}{
		{inventory.EventFilter{}, []string{"a", "b", "c", "d", "e"}},
		{inventory.EventFilter{Installation: "i1"}, []string{"a", "b"}},
		{inventory.EventFilter{Kinds: states}, []string{"a", "c", "d"}},
		{inventory.EventFilter{Kinds: []inventory.Kind{inventory.KindAlarm, inventory.KindLog}}, []string{"b", "e"}},
		{inventory.EventFilter{Kinds: []inventory.Kind{inventory.KindAlarm, inventory.KindAlarm}}, []string{"e"}},
		{inventory.EventFilter{Kinds: []inventory.Kind{inventory.KindAudit}}, []string{}},
		{inventory.EventFilter{Installation: "i1", Kinds: states}, []string{"a"}},
		{inventory.EventFilter{Serial: serial(1), Kinds: states}, []string{"a", "c"}},
		{inventory.EventFilter{Serial: serial(1), Installation: "i3"}, []string{}},
		{inventory.EventFilter{MACs: []inventory.MAC{mac(7)}, Installation: "i2", Kinds: states}, []string{"c"}},
		{inventory.EventFilter{Serial: serial(2), Kinds: []inventory.Kind{inventory.KindAlarm}, Latest: true}, []string{"e"}},
	} {
		require.Equal(t, c.want, messages(t, s, c.f), "%+v", c.f)
	}
}

func eventPages(t *testing.T, s inventory.EventStore) {
	var want []string
	for i := range 11 {
		e := logLine(fmt.Sprint(i))
		e.Serial = serial(i % 2)
		appendEvents(t, s, e)
		if i%2 == 0 {
			want = append(want, e.Message)
		}
	}
	f := inventory.EventFilter{Serial: serial(0), Limit: 2}
	var got []string
	for {
		page := eventsOf(t, s, f)
		for _, e := range page {
			got = append(got, e.Message)
		}
		if len(page) < f.Limit {
			break
		}
		f.After = page[len(page)-1].ID
	}
	require.Equal(t, want, got)
	all := eventsOf(t, s, inventory.EventFilter{})
	require.Empty(t, eventsOf(t, s, inventory.EventFilter{After: all[len(all)-1].ID}))
	appendEvents(t, s, logLine("new"))
	require.Equal(t, []string{"new"}, messages(t, s, inventory.EventFilter{After: all[len(all)-1].ID}),
		"whoever follows the timeline gets what is new")
}

func eventLatest(t *testing.T, s inventory.EventStore) {
	for i := range 9 {
		e := logLine(fmt.Sprint(i))
		e.Serial, e.MAC = serial(i%2), mac(i%3)
		appendEvents(t, s, e)
	}
	require.Equal(t, []string{"6", "7", "8"}, messages(t, s, inventory.EventFilter{Latest: true, Limit: 3}))
	require.Equal(t, []string{"6", "8"}, messages(t, s, inventory.EventFilter{Latest: true, Limit: 2, Serial: serial(0)}))
	require.Equal(t, []string{"4", "6", "7", "8"},
		messages(t, s, inventory.EventFilter{Latest: true, Limit: 4, Serial: serial(0), MACs: []inventory.MAC{mac(1)}}))
	all := eventsOf(t, s, inventory.EventFilter{})
	require.Equal(t, []string{"8"}, messages(t, s, inventory.EventFilter{Latest: true, Limit: 3, After: all[7].ID}))
	require.Equal(t, all, eventsOf(t, s, inventory.EventFilter{Latest: true}))
}

func eventPageBounds(t *testing.T, s inventory.EventStore) {
	var events []inventory.Event
	for i := range 1005 {
		events = append(events, logLine(fmt.Sprint(i)))
	}
	appendEvents(t, s, events...)
	for limit, want := range map[int]int{0: 100, -1: 100, 1: 1, 1000: 1000, 1001: 1000} {
		got := messages(t, s, inventory.EventFilter{Limit: limit})
		require.Len(t, got, want)
		require.Equal(t, "0", got[0])
		got = messages(t, s, inventory.EventFilter{Limit: limit, Latest: true})
		require.Len(t, got, want)
		require.Equal(t, "1004", got[want-1])
	}
}

func eventKeysOverlap(t *testing.T, s inventory.EventStore) {
	for i := range 6 {
		e := logLine(fmt.Sprint(i))
		e.Serial, e.MAC = serial(1), mac(1)
		appendEvents(t, s, e)
	}
	f := inventory.EventFilter{Serial: serial(1), MACs: []inventory.MAC{mac(1), mac(1)}, Limit: 4}
	require.Equal(t, []string{"0", "1", "2", "3"}, messages(t, s, f))
	f.Latest = true
	require.Equal(t, []string{"2", "3", "4", "5"}, messages(t, s, f))
}

func eventRace(t *testing.T, s inventory.EventStore) {
	const n = 32
	for _, err := range together(n, func(i int) error {
		return s.AppendEvents(context.Background(), logLine(fmt.Sprintf("%d.0", i)), logLine(fmt.Sprintf("%d.1", i)),
			logLine(fmt.Sprintf("%d.2", i)))
	}) {
		require.NoError(t, err)
	}
	got := messages(t, s, inventory.EventFilter{})
	require.Len(t, got, 3*n)
	seen := map[string]bool{}
	for i := 0; i < len(got); i += 3 {
		prefix, _, _ := strings.Cut(got[i], ".")
		require.Equal(t, []string{prefix + ".0", prefix + ".1", prefix + ".2"}, got[i:i+3], "one call's events stay together")
		require.False(t, seen[prefix])
		seen[prefix] = true
	}
}

func eventContext(t *testing.T, s inventory.EventStore) {
	appendEvents(t, s, logLine("before"))
	require.ErrorIs(t, s.AppendEvents(ended(), logLine("after")), context.Canceled)
	_, err := s.Events(ended(), inventory.EventFilter{})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"before"}, messages(t, s, inventory.EventFilter{}))
}
