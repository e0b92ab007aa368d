package inventory

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/project-loda/loda/dhcp"
)

// LeaseStore is the store of DHCP leases, declared where it is used. What every backend adds to its contract: an
// address is in one lease at most, and "unexpired" is judged at the new lease's GrantedAt, so that whoever decides an
// ACK and whoever stores it look at the same clock.
type LeaseStore = dhcp.LeaseStore

// NormalizeLease brings a lease into the form in which stores keep it, sharing no memory with l: times become a
// [Moment], a zero GrantedAt the present. A lease without hardware address, address or end is refused.
func NormalizeLease(l dhcp.Lease) (dhcp.Lease, error) {
	switch {
	case len(l.MAC) == 0:
		return l, errors.New("lease has no hardware address")
	case !l.Addr.IsValid():
		return l, fmt.Errorf("lease of %s has no address", l.MAC)
	case l.ExpiresAt.IsZero():
		return l, fmt.Errorf("lease of %s for %s has no end", l.Addr, l.MAC)
	}
	l.MAC, l.Addr = slices.Clone(l.MAC), l.Addr.Unmap()
	l.GrantedAt, l.ExpiresAt = orNow(l.GrantedAt, time.Now()), Moment(l.ExpiresAt)
	return l, nil
}
