package dhcp

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// DefaultProbeWait is how long an [ARPProber] waits for an answer.
const DefaultProbeWait = 300 * time.Millisecond

// An ARPProber is a [Prober] that asks by ARP, as RFC 5227 section 2.1.1 says: in nobody's name, so that no neighbour
// learns a wrong address. It asks twice. It opens a socket per interface when that is first asked for, which needs
// CAP_NET_RAW. The zero value is ready to use; Close it.
type ARPProber struct {
	// Wait is how long an answer may take; 0 means [DefaultProbeWait].
	Wait time.Duration

	mu     sync.Mutex
	links  map[int]*arpLink
	closed bool
	reader sync.WaitGroup
}

// arpLink is the socket of one interface, and who waits for which address there.
type arpLink struct {
	conn *packet.Conn
	self net.HardwareAddr

	mu      sync.Mutex
	waiting map[netip.Addr][]chan net.HardwareAddr
}

// Probe asks who uses addr.
func (p *ARPProber) Probe(ctx context.Context, ifIndex int, addr netip.Addr) (net.HardwareAddr, error) {
	if !addr.Is4() {
		return nil, fmt.Errorf("arp: %v is not an IPv4 address", addr)
	}
	l, err := p.open(ifIndex)
	if err != nil {
		return nil, err
	}
	heard := make(chan net.HardwareAddr, 1)
	l.wait(addr, heard)
	defer l.leave(addr, heard)

	wait := p.Wait
	if wait <= 0 {
		wait = DefaultProbeWait
	}
	end := time.NewTimer(wait)
	defer end.Stop()
	again := time.NewTimer(wait / 3)
	defer again.Stop()
	if err := l.ask(addr); err != nil {
		p.drop(ifIndex, l)
		return nil, fmt.Errorf("arp: ask who has %s: %w", addr, err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case hw := <-heard:
			return hw, nil
		case <-again.C:
			if err := l.ask(addr); err != nil {
				p.drop(ifIndex, l)
				return nil, fmt.Errorf("arp: ask who has %s: %w", addr, err)
			}
		case <-end.C:
			return nil, nil
		}
	}
}

// Close closes the sockets and waits for the goroutines that read from them.
func (p *ARPProber) Close() error {
	p.mu.Lock()
	p.closed = true
	for _, l := range p.links {
		l.conn.Close()
	}
	p.links = nil
	p.mu.Unlock()
	p.reader.Wait()
	return nil
}

func (p *ARPProber) open(ifIndex int) (*arpLink, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, fmt.Errorf("arp: %w", net.ErrClosed)
	}
	if l, ok := p.links[ifIndex]; ok {
		return l, nil
	}
	ifi, err := net.InterfaceByIndex(ifIndex)
	if err != nil {
		return nil, fmt.Errorf("arp: find interface %d: %w", ifIndex, err)
	}
	if len(ifi.HardwareAddr) != 6 {
		return nil, fmt.Errorf("arp: interface %s is not Ethernet", ifi.Name)
	}
	conn, err := packet.Listen(ifi, packet.Datagram, unix.ETH_P_ARP, nil)
	if err != nil {
		return nil, fmt.Errorf("arp: open the packet socket of %s (needs CAP_NET_RAW): %w", ifi.Name, err)
	}
	l := &arpLink{conn: conn, self: ifi.HardwareAddr, waiting: make(map[netip.Addr][]chan net.HardwareAddr)}
	if p.links == nil {
		p.links = make(map[int]*arpLink)
	}
	p.links[ifIndex] = l
	p.reader.Go(func() {
		l.read()
		p.drop(ifIndex, l)
	})
	return l, nil
}

// drop forgets a socket that no longer works: the next probe opens another.
func (p *ARPProber) drop(ifIndex int, l *arpLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.conn.Close()
	if p.links[ifIndex] == l {
		delete(p.links, ifIndex)
	}
}

func (l *arpLink) wait(a netip.Addr, heard chan net.HardwareAddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[a] = append(l.waiting[a], heard)
}

func (l *arpLink) leave(a netip.Addr, heard chan net.HardwareAddr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting[a] = slices.DeleteFunc(l.waiting[a], func(c chan net.HardwareAddr) bool { return c == heard })
	if len(l.waiting[a]) == 0 {
		delete(l.waiting, a)
	}
}

// ask broadcasts an ARP probe: the sender's IP address is 0.0.0.0 (RFC 5227 section 2.1.1).
func (l *arpLink) ask(a netip.Addr) error {
	_, err := l.conn.WriteTo(arpProbe(l.self, a), &packet.Addr{HardwareAddr: ethernetAll})
	return err
}

// read hands on what is heard until the socket is closed or its interface is gone.
func (l *arpLink) read() {
	buf := make([]byte, 256)
	for {
		n, _, err := l.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		from, hw, ok := parseARP(buf[:n])
		if !ok || hw.String() == l.self.String() {
			continue
		}
		l.mu.Lock()
		for _, heard := range l.waiting[from] {
			select {
			case heard <- hw:
			default:
			}
		}
		l.mu.Unlock()
	}
}

// arpProbe is the ARP packet that asks for a (RFC 826, RFC 5227).
func arpProbe(self net.HardwareAddr, a netip.Addr) []byte {
	b := make([]byte, 0, 28)
	b = binary.BigEndian.AppendUint16(b, 1) // Ethernet
	b = binary.BigEndian.AppendUint16(b, unix.ETH_P_IP)
	b = append(b, 6, 4)
	b = binary.BigEndian.AppendUint16(b, 1) // request
	b = append(b, self...)
	b = append(b, 0, 0, 0, 0)
	b = append(b, 0, 0, 0, 0, 0, 0)
	return append(b, a.AsSlice()...)
}

// parseARP returns who sent an ARP packet for IPv4 on Ethernet. A request tells as much as a reply: its sender uses the
// address. A probe's sender has none and is of no interest.
func parseARP(b []byte) (from netip.Addr, hw net.HardwareAddr, ok bool) {
	if len(b) < 28 || binary.BigEndian.Uint16(b) != 1 || binary.BigEndian.Uint16(b[2:]) != unix.ETH_P_IP || b[4] != 6 || b[5] != 4 {
		return from, nil, false
	}
	from = fromIP(net.IP(b[14:18]))
	mac, err := ethernet(net.HardwareAddr(b[8:14]))
	return from, net.HardwareAddr(mac[:]), err == nil && from.IsValid()
}
