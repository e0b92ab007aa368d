package sqlite

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/inventory"
)

const eventColumns = "id, time, serial, mac, installation, kind, message, data"

func scanEvent(rows *sql.Rows, e *inventory.Event) error {
	return rows.Scan(&e.ID, moment{&e.Time}, text[inventory.Serial]{&e.Serial}, text[inventory.MAC]{&e.MAC},
		text[string]{&e.Installation}, &e.Kind, &e.Message, (*[]byte)(&e.Data))
}

// prepare copies events and brings them into the form in which they are kept.
func prepare(events []inventory.Event, now time.Time) ([]inventory.Event, error) {
	out := make([]inventory.Event, len(events))
	for i := range events {
		out[i] = events[i].Clone()
		if err := out[i].Normalize(now); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (s *Store) AppendEvents(ctx context.Context, events ...inventory.Event) error {
	events, err := prepare(events, time.Now())
	if err != nil {
		return err
	}
	return s.write(ctx, "append events", func(t *tx) error { return t.appendEvents(events) })
}

func (t *tx) appendEvents(events []inventory.Event) error {
	for i := range events {
		e := &events[i]
		_, err := t.exec(`INSERT INTO events (time, serial, mac, installation, kind, message, data)
			VALUES (?, ?, ?, ?, ?, ?, ?)`,
			micros(e.Time), orNull(e.Serial), orNull(e.MAC), orNull(e.Installation), string(e.Kind), e.Message, blob(e.Data))
		if err != nil {
			return err
		}
	}
	return nil
}

// Events reads one page. An OR over several indices would make SQLite collect and sort the whole timeline of a machine
// for a page of it, so each serial number, MAC or kind becomes a query of its own, which an index answers in order and
// which ends after a page; the page is the first of what they found together.
func (s *Store) Events(ctx context.Context, f inventory.EventFilter) ([]inventory.Event, error) {
	order := " ORDER BY id"
	if f.Latest {
		order = " ORDER BY id DESC"
	}
	limit := inventory.PageLimit(f.Limit)
	var common where
	common.and("id > ?", f.After)
	if f.Installation != "" {
		common.and("installation = ?", f.Installation)
	}
	var arms []where
	arm := func(condition string, value string) {
		w := common.clone()
		w.and(condition, value)
		arms = append(arms, w)
	}
	switch {
	case f.Serial != "" || len(f.MACs) > 0:
		if len(f.Kinds) > 0 {
			in(&common, "kind", f.Kinds)
		}
		if f.Serial != "" {
			arm("serial = ?", string(f.Serial))
		}
		for _, mac := range f.MACs {
			arm("mac = ?", string(mac))
		}
	case f.Installation == "" && len(f.Kinds) > 0:
		for _, kind := range f.Kinds {
			arm("kind = ?", string(kind))
		}
	case len(f.Kinds) > 0:
		in(&common, "kind", f.Kinds)
		fallthrough
	default:
		arms = []where{common}
	}
	var queries []string
	var args []any
	for _, w := range arms {
		queries = append(queries, "SELECT * FROM (SELECT id FROM events"+w.String()+order+" LIMIT ?)")
		args = append(append(args, w.args...), limit)
	}
	events, err := list(ctx, s, scanEvent, "SELECT "+eventColumns+" FROM events WHERE id IN ("+
		strings.Join(queries, " UNION ")+")"+order+" LIMIT ?", append(args, limit)...)
	if f.Latest {
		slices.Reverse(events)
	}
	return events, s.fail(ctx, "list events", err)
}
