package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// A Lease says that one hardware address may use one IPv4 address until a point in time.
//
// Leases are keyed on the hardware address, never on the client identifier (option 61): PXE ROM, iPXE, RAM disk,
// installer and installed system each send another identifier, and a machine would eat an address per stage.
type Lease struct {
	// MAC is the client's hardware address (chaddr).
	MAC net.HardwareAddr
	// Addr is the IPv4 address that is leased.
	Addr netip.Addr
	// Subnet is the name of the [Subnet] that the address was taken from.
	Subnet string
	// Hostname is what the client called itself (option 12), unverified.
	Hostname string
	// GrantedAt is when the latest ACK was decided.
	GrantedAt time.Time
	// ExpiresAt is when the lease ends unless it is renewed. It is never zero.
	ExpiresAt time.Time
	// Declined marks an address that a client found to be in use (DHCPDECLINE, RFC 2131 section 4.3.3). Nobody gets
	// it until ExpiresAt. As the client goes on to lease another address, the mark is not kept under its hardware
	// address but under [DeclinedMAC]; a store need not care.
	Declined bool
}

// DeclinedMAC is the hardware address under which the mark of a declined address is kept: 02:00 (locally administered,
// no vendor's) and the address.
func DeclinedMAC(addr netip.Addr) net.HardwareAddr {
	a := addr.As4()
	return net.HardwareAddr{2, 0, a[0], a[1], a[2], a[3]}
}

// ErrAddressTaken is returned by [LeaseStore.SaveLease] when another hardware address holds an unexpired lease of
// the same address.
var ErrAddressTaken = errors.New("address is leased to another hardware address")

// An UnstoredError says that the lease store could not make a lease durable, so that no DHCPACK was sent for it.
type UnstoredError struct {
	Lease Lease
	Err   error
}

func (e *UnstoredError) Error() string {
	return fmt.Sprintf("dhcp: save the lease of %s to %s in subnet %s: %v", e.Lease.Addr, e.Lease.MAC, e.Lease.Subnet, e.Err)
}

func (e *UnstoredError) Unwrap() error { return e.Err }

// LeaseStore keeps leases. It must be safe for concurrent use.
type LeaseStore interface {
	// Leases returns all leases, expired ones included, in no particular order.
	Leases(ctx context.Context) ([]Lease, error)

	// SaveLease inserts or replaces the lease of that MAC in that Subnet. It returns only after the lease is durable:
	// the responder sends no ACK before. It returns [ErrAddressTaken], and changes nothing, when an unexpired lease
	// of another MAC holds the address; an expired one is replaced.
	SaveLease(ctx context.Context, l Lease) error

	// DeleteLease forgets the lease of mac in subnet. A lease that does not exist is no error.
	DeleteLease(ctx context.Context, subnet string, mac net.HardwareAddr) error
}

// A LeaseBatchStore is a [LeaseStore] that stores many leases at the price of one. It is optional; a [Authority] that
// finds the method uses it to make all leases durable together that wait for it at a time (group commit).
type LeaseBatchStore interface {
	LeaseStore

	// SaveLeases is SaveLease for each of the leases, in their order, and returns one error for each: one that is
	// refused keeps no other from being stored. It returns only after all that are reported as stored are durable.
	SaveLeases(ctx context.Context, leases []Lease) []error
}
