package dhcp

import (
	"context"
	"net"
	"net/netip"
)

// A Reservation is what an inventory has decided about a machine.
type Reservation struct {
	// Addr is the machine's address. The zero Addr means: known, but any address of the pool will do. An address
	// outside of the subnet that the machine is asking from counts as zero there.
	Addr netip.Addr
	// Hostname is told to the machine (option 12) unless it is empty.
	Hostname string
	// Settings are what this machine is told in place of what its subnet says. They are not checked again when they are
	// sent: see [Settings.Check].
	Settings Settings
	// Model is maker and product of the machine, as far as known: some must be answered otherwise; see [QuirkMatch].
	Model string
}

// Reservations says which machines are known, and which of them have an address of their own. An inventory or CMDB
// implements it. It is asked in each exchange, so it must answer quickly, and be safe for concurrent use.
//
// An error is not "unknown": while errors are returned, machines with a running lease keep it and others get no answer.
type Reservations interface {
	// Reservation returns what is known of the machine with that hardware address. known is false for strangers.
	Reservation(ctx context.Context, mac net.HardwareAddr) (r Reservation, known bool, err error)
	// Reserved reports whether an address belongs to some machine. It is asked before an address of the pool goes to a
	// machine that it is not reserved for.
	Reserved(ctx context.Context, addr netip.Addr) (bool, error)
}

// PlacedReservations are [Reservations] that also know machines by where they are plugged in.
type PlacedReservations interface {
	Reservations
	// ReservationAt is asked in place of Reservation, and told what the relay says; place is zero without one, and in a
	// renewal that comes without passing a relay.
	ReservationAt(ctx context.Context, mac net.HardwareAddr, place Place) (r Reservation, known bool, err error)
}

// reservationOf asks for the machine of a request.
func (t *talk) reservationOf(ctx context.Context) (Reservation, bool, error) {
	if placed, ok := t.cfg.Reservations.(PlacedReservations); ok {
		return placed.ReservationAt(ctx, t.packet.ClientHWAddr, PlaceOf(t.packet))
	}
	return t.cfg.Reservations.Reservation(ctx, t.packet.ClientHWAddr)
}

// StaticReservations are [Reservations] that never change, keyed by hardware address in lower case with colons, such as
// 52:54:00:12:34:5f.
type StaticReservations map[string]Reservation

// Reservation looks the hardware address up.
func (s StaticReservations) Reservation(_ context.Context, mac net.HardwareAddr) (Reservation, bool, error) {
	r, known := s[mac.String()]
	return r, known, nil
}

// Reserved looks for the address.
func (s StaticReservations) Reserved(_ context.Context, addr netip.Addr) (bool, error) {
	for _, r := range s {
		if r.Addr == addr {
			return true, nil
		}
	}
	return false, nil
}
