package site

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
)

// reservations answers from the inventory which machines are known. What it said is kept in memory as long as the
// inventory knows the same machines, if it is an [inventory.MachineVersioner]: DHCP asks twice for each packet.
type reservations struct {
	store inventory.Store

	mu        sync.RWMutex
	version   uint64
	machines  map[[6]byte]*knowledge // nil for strangers
	addresses map[[4]byte]bool
}

// knowledge is what the inventory says of a hardware address.
type knowledge struct {
	reservation dhcp.Reservation
	known       bool
}

// maxRemembered bounds each of both maps; strangers count, too.
const maxRemembered = 1 << 17

// remembered looks for an answer that still holds. If there is none, keep remembers one.
func remembered[K comparable, V any](ctx context.Context, r *reservations, in *map[K]V, key K) (v V, ok bool, keep func(V)) {
	versioner, can := r.store.(inventory.MachineVersioner)
	if !can {
		return v, false, func(V) {}
	}
	version, can := versioner.MachinesVersion(ctx)
	if !can {
		return v, false, func(V) {}
	}
	r.mu.RLock()
	if r.version == version {
		v, ok = (*in)[key]
	}
	r.mu.RUnlock()
	return v, ok, func(v V) {
		r.mu.Lock()
		defer r.mu.Unlock()
		if version < r.version {
			return // a later answer is kept already
		}
		if version > r.version || r.machines == nil {
			r.version, r.machines, r.addresses = version, map[[6]byte]*knowledge{}, map[[4]byte]bool{}
		}
		if len(*in) >= maxRemembered {
			clear(*in)
		}
		(*in)[key] = v
	}
}

// Reservation implements [dhcp.Reservations].
func (r *reservations) Reservation(ctx context.Context, hw net.HardwareAddr) (dhcp.Reservation, bool, error) {
	if len(hw) != 6 {
		return dhcp.Reservation{}, false, nil
	}
	k, ok, keep := remembered(ctx, r, &r.machines, [6]byte(hw))
	if !ok {
		var err error
		if k, err = r.look(ctx, hw); err != nil {
			return dhcp.Reservation{}, false, err
		}
		keep(k)
	}
	if k == nil {
		return dhcp.Reservation{}, false, nil
	}
	return k.reservation, k.known, nil
}

func (r *reservations) look(ctx context.Context, hw net.HardwareAddr) (*knowledge, error) {
	mac, err := inventory.MACOf(hw)
	if err != nil {
		return nil, nil // no machine has such an address
	}
	m, err := r.store.MachineByMAC(ctx, mac)
	if errors.Is(err, inventory.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	// A reserved address belongs to the machine, and a machine has several NICs: the one that asks first gets it, which is
	// the one that netboots, and keeps it while its lease runs. The others get one of the pool.
	return &knowledge{dhcp.Reservation{Hostname: loda.HostnameOf(m), Addr: m.Address}, m.Source == inventory.Imported}, nil
}

// Reserved implements [dhcp.Reservations].
func (r *reservations) Reserved(ctx context.Context, addr netip.Addr) (bool, error) {
	if addr = addr.Unmap(); !addr.Is4() {
		return false, nil
	}
	reserved, ok, keep := remembered(ctx, r, &r.addresses, addr.As4())
	if ok {
		return reserved, nil
	}
	_, err := loda.MachineByAddress(ctx, r.store, addr)
	if err != nil && !errors.Is(err, inventory.ErrNotFound) {
		return false, err
	}
	reserved = err == nil
	keep(reserved)
	return reserved, nil
}
