package memory

import (
	"context"
	"slices"
	"time"

	"github.com/project-loda/loda/inventory"
)

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

// append takes prepared events; the lock is held.
func (s *Store) append(events []inventory.Event) {
	for _, e := range events {
		e.ID = int64(len(s.events)) + 1
		s.events = append(s.events, e)
	}
}

func (s *Store) AppendEvents(ctx context.Context, events ...inventory.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	events, err := prepare(events, time.Now())
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.append(events)
	return nil
}

func (s *Store) Events(ctx context.Context, f inventory.EventFilter) ([]inventory.Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	var out []inventory.Event
	limit := inventory.PageLimit(f.Limit)
	tail := s.events[min(max(f.After, 0), int64(len(s.events))):]
	take := func(e *inventory.Event) bool {
		if f.Match(e) {
			out = append(out, e.Clone())
		}
		return len(out) < limit
	}
	if f.Latest {
		for i := len(tail) - 1; i >= 0 && take(&tail[i]); i-- {
		}
		slices.Reverse(out)
		return out, nil
	}
	for i := 0; i < len(tail) && take(&tail[i]); i++ {
	}
	return out, nil
}
