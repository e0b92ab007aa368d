package dhcp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// link is one port of one interface.
type link struct {
	name string
	port uint16
	open func(ifi *net.Interface, port uint16) (socket, error)

	mu      sync.RWMutex
	ifi     *net.Interface
	socket  socket
	stopped bool

	// Used by the receiving goroutine only.
	addrs   []netip.Prefix
	addrsAt time.Time
}

// A socket is how a link receives and sends: through the kernel's UDP ([udpSocket]) or past it ([rawSocket]).
type socket interface {
	// receive waits for packets, as long as setReadDeadline says, and calls got for each. The bytes are got's to keep.
	receive(got func(data []byte, from netip.AddrPort, to netip.Addr)) error
	setReadDeadline(time.Time) error
	// send sends data from an address of this host.
	send(data []byte, from netip.Addr, to Destination) error
	close()
}

func openLink(name string, port uint16, raw bool) (*link, error) {
	l := &link{name: name, port: port, open: openUDP}
	if raw {
		l.open = openRaw
	}
	if err := l.reopen(); err != nil {
		return nil, err
	}
	return l, nil
}

// reopen replaces the sockets, for instance after the interface was deleted and made anew.
func (l *link) reopen() error {
	ifi, err := net.InterfaceByName(l.name)
	if err != nil {
		return fmt.Errorf("find the interface: %w", err)
	}
	s, err := l.open(ifi, l.port)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		s.close()
		return net.ErrClosed
	}
	if l.socket != nil {
		l.socket.close()
	}
	l.ifi, l.socket, l.addrsAt = ifi, s, time.Time{}
	return nil
}

// stop ends receive. Sending is still possible.
func (l *link) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	_ = l.socket.setReadDeadline(time.Unix(1, 0))
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.socket.close()
}

// maxPacket bounds a packet. DHCP clients are not to send more than 576 bytes, and no relay adds as much as this.
const maxPacket = 4096

// receive waits for packets and calls got for each. It returns net.ErrClosed after stop.
func (l *link) receive(got func(*Request, []byte)) error {
	for {
		s, ifi, err := l.begin()
		if err != nil {
			return err
		}
		err = s.receive(func(data []byte, from netip.AddrPort, to netip.Addr) { got(l.request(ifi, from, to), data) })
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		// A socket that is bound to an interface that was deleted, and perhaps made anew under the same name (a bridge,
		// a bond, a tap), waits for ever without an error.
		if now, err := net.InterfaceByName(l.name); err == nil && now.Index != ifi.Index {
			if err := l.reopen(); err != nil {
				return err
			}
		}
	}
}

// begin returns what to read from, for a while.
func (l *link) begin() (socket, *net.Interface, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.stopped {
		return nil, nil, net.ErrClosed
	}
	return l.socket, l.ifi, l.socket.setReadDeadline(time.Now().Add(time.Second))
}

// request says how a packet came.
func (l *link) request(ifi *net.Interface, from netip.AddrPort, to netip.Addr) *Request {
	now := time.Now()
	// Addresses come and go (failover); asking for them with each packet would cost more than the answer.
	if now.Sub(l.addrsAt) > time.Second {
		if addrs, err := prefixesOf(ifi); err == nil {
			l.addrs, l.addrsAt = addrs, now
		}
	}
	req := &Request{
		Interface: l.name, InterfaceIndex: ifi.Index, Port: l.port, Time: now, Addrs: l.addrs, Broadcast: true, Peer: from,
	}
	if len(l.addrs) > 0 {
		req.Local = l.addrs[0].Addr()
	}
	if to.IsValid() && !broadcastOf(l.addrs, to) {
		req.Local, req.Broadcast = to, false
	}
	return req
}

func broadcastOf(addrs []netip.Prefix, a netip.Addr) bool {
	if a == limitedBroadcast || a.IsMulticast() {
		return true
	}
	for _, p := range addrs {
		if p.Bits() < 31 && a == (&Subnet{Prefix: p.Masked()}).broadcast() {
			return true
		}
	}
	return false
}

// send sends data from a local address.
func (l *link) send(data []byte, from netip.Addr, to Destination) error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.socket.send(data, from, to)
}
