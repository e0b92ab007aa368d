// Package inventory remembers what a site knows: machines, installations, leases, the timeline and API tokens.
//
// It declares the nouns and a few small store interfaces. Backends live below it: [inventory/memory] for tests and
// short-lived tools, [inventory/sqlite] for a site of its own. A backend over an in-house CMDB is a type with the
// methods of the stores that it wants to own; run the suite in inventory/inventorytest against it.
//
// What all backends have in common: they are safe for concurrent use; values that go in or come out share no memory
// with the store; times are kept in UTC with microseconds ([Moment]); empty maps, slices and documents come back nil;
// JSON documents keep the order of their keys and every digit, white space may change;
// a context that has ended stores nothing and its error is returned; if it ends while a write is under way, that write
// is stored as a whole or not at all, and its error does not say which.
//
// [inventory/memory]: https://pkg.go.dev/github.com/project-loda/loda/inventory/memory
// [inventory/sqlite]: https://pkg.go.dev/github.com/project-loda/loda/inventory/sqlite
package inventory

import (
	"errors"
	"fmt"
	"strings"
)

// Store is everything that a site remembers. A user may assemble one from several backends: machines from a CMDB,
// the rest from SQLite.
type Store interface {
	MachineStore
	InstallationStore
	EventStore
	LeaseStore
	TokenStore
}

// ErrNotFound is returned, possibly wrapped, when there is no such record.
var ErrNotFound = errors.New("not found")

// ErrFull is returned, possibly wrapped, when a backend cannot store because its disk is full. Nothing was stored.
var ErrFull = errors.New("the disk of the database is full")

// A ConflictError says that a change was refused because of what exists already.
type ConflictError struct {
	// What is the thing in conflict, such as `MAC 52:54:00:12:34:56`.
	What string
	// Owner is who has it, such as `machine ABC123`.
	Owner string
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%s already belongs to %s", e.What, e.Owner)
}

// A RowError is what is wrong with one row of an import.
type RowError struct {
	// Row counts from 0.
	Row int
	Err error
}

func (e RowError) Error() string { return fmt.Sprintf("row %d: %v", e.Row+1, e.Err) }

func (e RowError) Unwrap() error { return e.Err }

// An ImportError lists everything that is wrong with an import, ordered by row; a row can appear more than once.
// Nothing was stored.
type ImportError struct{ Rows []RowError }

func (e *ImportError) Error() string {
	rows := map[int]bool{}
	for _, r := range e.Rows {
		rows[r.Row] = true
	}
	var b strings.Builder
	b.WriteString("1 bad row, nothing was imported")
	if len(rows) != 1 {
		b.Reset()
		fmt.Fprintf(&b, "%d bad rows, nothing was imported", len(rows))
	}
	for _, r := range e.Rows {
		b.WriteString("; ")
		b.WriteString(r.Error())
	}
	return b.String()
}

// Unwrap lets [errors.As] find a [*ConflictError] among the rows.
func (e *ImportError) Unwrap() []error {
	errs := make([]error, len(e.Rows))
	for i, r := range e.Rows {
		errs[i] = r
	}
	return errs
}
