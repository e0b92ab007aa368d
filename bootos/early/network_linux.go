package early

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
)

// Network gets the machine an address by DHCP and keeps it.
type Network struct {
	// BootMAC is the interface that the firmware booted from, if the command line says so (BOOTIF): it is tried alone
	// for a while. nil: all interfaces with a link at once, and the first answer wins.
	BootMAC net.HardwareAddr
	// Say gets what a person should know.
	Say func(text string)
	// VendorClass is sent as DHCP option 60; empty: none.
	VendorClass string
	// Up is called with each new address.
	Up func(Address)

	// links lists the interfaces, and resolv is the resolver's file, where a test has others.
	links  func() ([]netlink.Link, error)
	resolv string
}

// Address is what a DHCP server gave.
type Address struct {
	Interface string
	MAC       net.HardwareAddr
	Net       *net.IPNet
	Gateway   net.IP
	Server    net.IP
	DNS       []net.IP
	Lease     time.Duration
}

func (a Address) String() string {
	s := fmt.Sprintf("%s on %s (%s)", a.Net, a.Interface, a.MAC)
	if a.Gateway != nil {
		s += fmt.Sprintf(", router %s", a.Gateway)
	}
	return s + fmt.Sprintf(", from DHCP server %s", a.Server)
}

// alone is how long the boot interface is tried before the others.
const alone = 45 * time.Second

// Run gets an address, calls Up, keeps the address as long as the server lets it and starts anew after that. It ends
// with the context.
func (n *Network) Run(ctx context.Context) error {
	if err := loopback(); err != nil {
		n.Say(fmt.Sprintf("the loopback interface: %v", err))
	}
	for ctx.Err() == nil {
		l, err := n.acquire(ctx)
		if err != nil {
			continue // acquire ends without success only with the context
		}
		addr, err := l.configure(n.resolvConf())
		if err != nil {
			n.Say(fmt.Sprintf("%s: the address cannot be set: %v", l.link.Attrs().Name, err))
			sleep(ctx, 5*time.Second)
			continue
		}
		n.Up(addr)
		err = l.keep(ctx, n.modifiers(l.link))
		if ctx.Err() == nil {
			n.Say(fmt.Sprintf("%s: address %s is lost: %v", addr.Interface, addr.Net.IP, err))
			l.remove()
		}
	}
	return ctx.Err()
}

func (n *Network) interfaces() ([]netlink.Link, error) {
	if n.links != nil {
		return n.links()
	}
	return physical()
}

func (n *Network) resolvConf() string {
	if n.resolv != "" {
		return n.resolv
	}
	return "/etc/resolv.conf"
}

// lease is a lease on a link.
type lease struct {
	link netlink.Link
	*nclient4.Lease
	addr *netlink.Addr
}

// acquire asks on all interfaces with a link until one gets a lease.
func (n *Network) acquire(ctx context.Context) (*lease, error) {
	ctx, cancel := context.WithCancel(ctx)
	won := make(chan *lease)
	asking := map[int]chan struct{}{}
	defer func() {
		cancel()
		for _, done := range asking {
			<-done
		}
	}()
	start := time.Now()
	said, saidAt := "", time.Time{}
	for {
		links, err := n.interfaces()
		if err != nil {
			n.Say(fmt.Sprintf("list interfaces: %v", err))
		}
		var states []string
		for _, link := range links {
			attrs := link.Attrs()
			if n.BootMAC != nil && time.Since(start) < alone && !bytes.Equal(attrs.HardwareAddr, n.BootMAC) {
				continue
			}
			if attrs.Flags&net.FlagUp == 0 {
				if err := netlink.LinkSetUp(link); err != nil {
					states = append(states, fmt.Sprintf("%s cannot be started: %v", attrs.Name, err))
					continue
				}
			}
			if !carrier(attrs.Name) {
				states = append(states, attrs.Name+" ("+attrs.HardwareAddr.String()+") has no link")
				continue
			}
			states = append(states, attrs.Name+" ("+attrs.HardwareAddr.String()+") has a link, asking for an address")
			if asking[attrs.Index] == nil {
				done := make(chan struct{})
				asking[attrs.Index] = done
				go func() {
					defer close(done)
					n.ask(ctx, link, won)
				}()
			}
		}
		if len(links) == 0 {
			states = []string{"no network interface found: is its driver in this bootOS?"}
		}
		state := strings.Join(states, "; ")
		// What is usual in the first seconds is not worth a line.
		if waited := time.Since(start); waited > 4*time.Second && (state != said && time.Since(saidAt) > 2*time.Second ||
			time.Since(saidAt) > 30*time.Second) {
			n.Say(state)
			said, saidAt = state, time.Now()
		}
		select {
		case l := <-won:
			return l, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// ask asks on one interface until it gets a lease, its link goes away for good, or another interface was faster.
func (n *Network) ask(ctx context.Context, link netlink.Link, won chan<- *lease) {
	name := link.Attrs().Name
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, 8*time.Second) {
		got, err := n.request(ctx, link)
		if err == nil {
			select {
			case won <- &lease{link: link, Lease: got}:
			case <-ctx.Done():
			}
			return
		}
		if nak, ok := errors.AsType[*nclient4.ErrNak](err); ok {
			n.Say(fmt.Sprintf("%s: the DHCP server refused its own offer: %v", name, nak))
		}
		sleep(ctx, pause)
	}
}

func (n *Network) request(ctx context.Context, link netlink.Link) (*nclient4.Lease, error) {
	// A switch port that runs spanning tree drops what is sent in the first half minute: several short attempts.
	client, err := nclient4.New(link.Attrs().Name, nclient4.WithTimeout(time.Second), nclient4.WithRetry(4))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Request(ctx, n.modifiers(link)...)
}

func (n *Network) modifiers(link netlink.Link) []dhcpv4.Modifier {
	mods := []dhcpv4.Modifier{
		// The same identifier that iPXE sends, so that servers which go by it see one machine (RFC 2132, 9.14).
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier(append([]byte{1}, link.Attrs().HardwareAddr...))),
		dhcpv4.WithRequestedOptions(dhcpv4.OptionSubnetMask, dhcpv4.OptionRouter, dhcpv4.OptionDomainNameServer,
			dhcpv4.OptionInterfaceMTU, dhcpv4.OptionClasslessStaticRoute, dhcpv4.OptionIPAddressLeaseTime,
			dhcpv4.OptionRenewTimeValue, dhcpv4.OptionRebindingTimeValue),
	}
	if n.VendorClass != "" {
		mods = append(mods, dhcpv4.WithOption(dhcpv4.OptClassIdentifier(n.VendorClass)))
	}
	return mods
}

// configure gives the interface what the lease says.
func (l *lease) configure(resolvConf string) (Address, error) {
	ack, attrs := l.ACK, l.link.Attrs()
	mask := ack.SubnetMask()
	if mask == nil {
		mask = ack.YourIPAddr.DefaultMask()
	}
	a := Address{Interface: attrs.Name, MAC: attrs.HardwareAddr, Net: &net.IPNet{IP: ack.YourIPAddr, Mask: mask},
		Server: ack.ServerIdentifier(), DNS: ack.DNS(), Lease: ack.IPAddressLeaseTime(time.Hour)}
	if mtu, err := dhcpv4.GetUint16(dhcpv4.OptionInterfaceMTU, ack.Options); err == nil && mtu >= 576 &&
		int(mtu) != attrs.MTU {
		if err := netlink.LinkSetMTU(l.link, int(mtu)); err != nil {
			return a, fmt.Errorf("MTU %d: %w", mtu, err)
		}
	}
	l.addr = &netlink.Addr{IPNet: a.Net}
	if err := netlink.AddrReplace(l.link, l.addr); err != nil {
		return a, err
	}
	// RFC 3442: with classless routes the router option does not count.
	routes := ack.ClasslessStaticRoute()
	if len(routes) == 0 {
		if r := ack.Router(); len(r) > 0 {
			routes = []*dhcpv4.Route{{Dest: &net.IPNet{IP: net.IPv4zero, Mask: net.CIDRMask(0, 32)}, Router: r[0]}}
		}
	}
	for _, r := range routes {
		route := netlink.Route{LinkIndex: attrs.Index, Dst: r.Dest, Gw: r.Router, Src: ack.YourIPAddr}
		if r.Router.IsUnspecified() {
			route.Gw, route.Scope = nil, netlink.SCOPE_LINK
		} else if !a.Net.Contains(r.Router) {
			route.Flags = int(netlink.FLAG_ONLINK)
		}
		if err := netlink.RouteReplace(&route); err != nil {
			return a, fmt.Errorf("route to %s by %s: %w", r.Dest, r.Router, err)
		}
		if ones, _ := r.Dest.Mask.Size(); ones == 0 {
			a.Gateway = r.Router
		}
	}
	var resolv strings.Builder
	for _, d := range a.DNS {
		fmt.Fprintf(&resolv, "nameserver %s\n", d)
	}
	return a, os.WriteFile(resolvConf, []byte(resolv.String()), 0o644)
}

func (l *lease) remove() {
	if l.addr != nil {
		_ = netlink.AddrDel(l.link, l.addr) // it may be gone with its interface
	}
}

// keep renews the lease until that fails for good (RFC 2131, section 4.4.5): from half of its time on, every minute,
// by broadcast, which any server of the network may answer.
func (l *lease) keep(ctx context.Context, mods []dhcpv4.Modifier) error {
	for {
		whole := l.ACK.IPAddressLeaseTime(time.Hour)
		half := l.ACK.IPAddressRenewalTime(whole / 2)
		if half <= 0 || half >= whole {
			half = whole / 2
		}
		if !sleep(ctx, time.Until(l.CreationTime.Add(half))) {
			return ctx.Err()
		}
		renewed, err := l.renew(ctx, mods)
		if nak, ok := errors.AsType[*nclient4.ErrNak](err); ok {
			return nak
		}
		if err == nil {
			if !renewed.ACK.YourIPAddr.Equal(l.ACK.YourIPAddr) {
				return fmt.Errorf("the DHCP server changed it to %s", renewed.ACK.YourIPAddr)
			}
			l.Lease = renewed
			continue
		}
		left := time.Until(l.CreationTime.Add(whole))
		if left <= 0 {
			return fmt.Errorf("the lease ended and the DHCP server did not renew it: %w", err)
		}
		if !sleep(ctx, min(left, max(time.Second, min(whole/8, time.Minute)))) {
			return ctx.Err()
		}
	}
}

func (l *lease) renew(ctx context.Context, mods []dhcpv4.Modifier) (*nclient4.Lease, error) {
	client, err := nclient4.New(l.link.Attrs().Name, nclient4.WithTimeout(2*time.Second), nclient4.WithRetry(3))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Renew(ctx, l.Lease, mods...)
}

// physical lists the interfaces with hardware behind them, by name.
func physical() ([]netlink.Link, error) {
	all, err := netlink.LinkList()
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(l netlink.Link) bool {
		a := l.Attrs()
		_, err := os.Stat(filepath.Join("/sys/class/net", a.Name, "device"))
		return err != nil || a.EncapType != "ether" || len(a.HardwareAddr) != 6
	})
	slices.SortFunc(all, func(a, b netlink.Link) int { return strings.Compare(a.Attrs().Name, b.Attrs().Name) })
	return all, nil
}

// carrier reports whether there is a link; an interface that is down has no answer to that.
func carrier(name string) bool {
	return readLine(filepath.Join("/sys/class/net", name, "carrier")) == "1"
}

func loopback() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	return netlink.LinkSetUp(lo)
}

// sleep returns false if the context ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// ParseBootIF reads the value of BOOTIF, 01-52-54-00-12-34-56 as PXELINUX and iPXE scripts write it: the hardware type
// and the address.
func ParseBootIF(s string) (net.HardwareAddr, error) {
	address := strings.TrimPrefix(strings.ReplaceAll(s, "-", ":"), "01:")
	if len(s) == 17 {
		address = strings.ReplaceAll(s, "-", ":")
	}
	mac, err := net.ParseMAC(address)
	if err != nil || len(mac) != 6 {
		return nil, fmt.Errorf("BOOTIF=%s is not the address of a network interface", s)
	}
	return mac, nil
}
