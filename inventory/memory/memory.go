// Package memory keeps an inventory in the memory of the process: for tests, for examples and for tools that live as
// long as one rack. It behaves as [inventory/sqlite] does, since both pass the same suite, but nothing survives the
// process, and events pile up.
//
// [inventory/sqlite]: https://pkg.go.dev/github.com/project-loda/loda/inventory/sqlite
package memory

import (
	"slices"
	"sync"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

// Store is an [inventory.Store] in memory. Make one with [New].
type Store struct {
	// external owns the machines if they live elsewhere.
	external inventory.MachineStore

	mu       sync.RWMutex
	machines sorted[inventory.Serial, inventory.Machine]
	byMAC    map[inventory.MAC]inventory.Serial
	byAddr   map[string]inventory.Serial

	installations sorted[string, inventory.Installation]
	open          map[inventory.Serial]string

	// events[i] has the ID i+1.
	events []inventory.Event

	leases map[leaseKey]dhcp.Lease
	// leased says who has an address, expired or not; an address is in one lease at most.
	leased map[string]leaseKey

	tokens map[string]inventory.Token
}

var (
	_ inventory.Store        = (*Store)(nil)
	_ inventory.MachineIndex = (*Store)(nil)
)

// An Option changes what [New] makes.
type Option func(*Store)

// WithMachines says that the machines live in another store, such as a CMDB: CreateInstallation asks ms whether a
// machine exists. The store's own machine methods go on working on its own, empty, set; whoever composes an
// [inventory.Store] takes ms for those.
func WithMachines(ms inventory.MachineStore) Option {
	return func(s *Store) { s.external = ms }
}

// New makes an empty store.
func New(opts ...Option) *Store {
	s := &Store{
		machines:      sorted[inventory.Serial, inventory.Machine]{rows: map[inventory.Serial]*inventory.Machine{}},
		byMAC:         map[inventory.MAC]inventory.Serial{},
		byAddr:        map[string]inventory.Serial{},
		installations: sorted[string, inventory.Installation]{rows: map[string]*inventory.Installation{}},
		open:          map[inventory.Serial]string{},
		leases:        map[leaseKey]dhcp.Lease{},
		leased:        map[string]leaseKey{},
		tokens:        map[string]inventory.Token{},
	}
	for _, o := range opts {
		o(s)
	}
	return s
}

// sorted is a map that also knows its keys in order, for pages.
type sorted[K ~string, V any] struct {
	rows map[K]*V
	keys []K
}

func (s *sorted[K, V]) put(k K, v *V) {
	if _, ok := s.rows[k]; !ok {
		i, _ := slices.BinarySearch(s.keys, k)
		s.keys = slices.Insert(s.keys, i, k)
	}
	s.rows[k] = v
}

func (s *sorted[K, V]) remove(k K) {
	if i, ok := slices.BinarySearch(s.keys, k); ok {
		s.keys = slices.Delete(s.keys, i, i+1)
	}
	delete(s.rows, k)
}

// page collects up to limit rows behind after that keep accepts; downwards from the end if newest.
func (s *sorted[K, V]) page(after K, newest bool, limit int, keep func(*V) bool) []*V {
	var out []*V
	i, found := slices.BinarySearch(s.keys, after)
	step := 1
	switch {
	case newest && after == "":
		i, step = len(s.keys)-1, -1
	case newest:
		i, step = i-1, -1
	case found:
		i++
	}
	for ; i >= 0 && i < len(s.keys) && len(out) < limit; i += step {
		if v := s.rows[s.keys[i]]; keep(v) {
			out = append(out, v)
		}
	}
	return out
}
