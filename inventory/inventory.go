// Package inventory remembers what a site knows: machines, installations, leases, the timeline and API tokens.
//
// It declares the nouns and a few small store interfaces. Backends live below it: [inventory/memory] for tests and
// short-lived tools, [inventory/sqlite] for a site of its own. A backend over an in-house CMDB is a type with the
// methods of the stores that it wants to own; run the suite in inventory/inventorytest against it.
//
// [inventory/memory]: https://pkg.go.dev/github.com/project-loda/loda/inventory/memory
// [inventory/sqlite]: https://pkg.go.dev/github.com/project-loda/loda/inventory/sqlite
package inventory

import (
	"errors"
	"fmt"
	"strings"

	"github.com/project-loda/loda/dhcp"
)

// LeaseStore is the store of DHCP leases, declared where it is used.
type LeaseStore = dhcp.LeaseStore

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

// An ImportError lists every bad row of an import. Nothing was stored.
type ImportError struct{ Rows []RowError }

func (e *ImportError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d bad rows, nothing was imported", len(e.Rows))
	for _, r := range e.Rows {
		fmt.Fprintf(&b, "; row %d: %v", r.Row+1, r.Err)
	}
	return b.String()
}
