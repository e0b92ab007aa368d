package dhcp

import (
	"net"
	"net/netip"
)

// prefixesOf returns the IPv4 addresses of an interface.
func prefixesOf(ifi *net.Interface) ([]netip.Prefix, error) {
	addrs, err := ifi.Addrs()
	return prefixes(addrs), err
}

func prefixes(addrs []net.Addr) (out []netip.Prefix) {
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() {
			out = append(out, p)
		}
	}
	return out
}
