package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// An Event is one line of a machine's timeline: a DHCP exchange, a transfer, a change of state, a line of a log.
type Event struct {
	// ID orders events; the store assigns it, ascending and never reused.
	ID   int64     `json:"id"`
	Time time.Time `json:"time"`
	// Serial is the machine, as far as it was known when the event happened.
	Serial Serial `json:"serial,omitempty"`
	// MAC is the hardware address that the event was seen on: DHCP and TFTP know nothing else of a machine.
	MAC MAC `json:"mac,omitempty"`
	// Installation is the ID of the installation that the event belongs to, if any.
	Installation string `json:"installation,omitempty"`
	Kind         Kind   `json:"kind"`
	// Message is one English sentence or a log line, at most 4 KiB; longer ones are cut.
	Message string `json:"message"`
	// Data carries the same for machines: addresses, byte counts, durations.
	Data json.RawMessage `json:"data,omitempty"`
}

// MaxMessage bounds [Event.Message], in bytes.
const MaxMessage = 4 << 10

// Clone returns a copy that shares no memory with e.
func (e *Event) Clone() Event {
	c := *e
	c.Data = bytes.Clone(e.Data)
	return c
}

// Normalize brings e into the form in which stores keep it: a zero Time becomes now and each Time a [Moment], a Message
// is valid UTF-8 and cut to [MaxMessage], empty Data is nil. An event without a Kind, or whose Data is not JSON, is
// refused.
func (e *Event) Normalize(now time.Time) error {
	if e.Kind == "" {
		return errors.New("event has no kind")
	}
	if len(e.Data) == 0 {
		e.Data = nil
	} else if !json.Valid(e.Data) {
		return fmt.Errorf("the data of the %s event %q is not valid JSON", e.Kind, e.Message)
	}
	e.Time = orNow(e.Time, now)
	e.Message = cut(strings.ToValidUTF8(e.Message, "\uFFFD"), MaxMessage)
	return nil
}

// cut shortens s to at most max bytes without splitting a character.
func cut(s string, max int) string {
	if len(s) <= max {
		return s
	}
	for max > 0 && !utf8.RuneStart(s[max]) {
		max--
	}
	return s[:max]
}

// Kind says where an event comes from.
type Kind string

const (
	KindDHCP     Kind = "dhcp"     // a DHCP exchange: what was asked and what was answered
	KindTransfer Kind = "transfer" // a TFTP or HTTP transfer with bytes and duration
	KindBoot     Kind = "boot"     // a boot decision: what a machine was told to boot, and why
	KindState    Kind = "state"    // an installation changed its state
	KindAction   Kind = "action"   // the agent was given an action, or finished one
	KindLog      Kind = "log"      // a line that the agent or a script printed
	KindAlarm    Kind = "alarm"    // something that a person should look at: a replayed token, a shared MAC
	KindAudit    Kind = "audit"    // a person or an API client changed something
)

// EventFilter selects events. The zero value selects all. Fields combine with AND, except that an event matches if
// its Serial or one of the MACs matches.
type EventFilter struct {
	Serial Serial
	// MACs adds events that were recorded before the machine's serial number was known.
	MACs         []MAC
	Installation string
	Kinds        []Kind
	// After is the ID that ended the previous page; results are ordered by ascending ID.
	After int64
	// Limit bounds the page; 0 means 100, the maximum is 1000.
	Limit int
	// Latest returns the last Limit matching events (of those behind After), still in ascending order.
	Latest bool
}

// Match reports whether e is among what f selects, the page (After, Limit, Latest) aside.
func (f *EventFilter) Match(e *Event) bool {
	if f.Serial != "" || len(f.MACs) > 0 {
		if !(f.Serial != "" && f.Serial == e.Serial) && !(e.MAC != "" && slices.Contains(f.MACs, e.MAC)) {
			return false
		}
	}
	return (f.Installation == "" || f.Installation == e.Installation) &&
		(len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind))
}

// EventStore remembers events. Implementations are safe for concurrent use.
type EventStore interface {
	// AppendEvents stores events in the given order, all or nothing. A zero Time becomes the present; the given IDs are
	// ignored.
	AppendEvents(ctx context.Context, events ...Event) error
	// Events returns one page.
	Events(ctx context.Context, f EventFilter) ([]Event, error)
}
