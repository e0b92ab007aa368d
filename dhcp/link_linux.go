package dhcp

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// receiveBuffer is what the kernel keeps for us in bytes, some 3,000 packets with its own overhead.
const receiveBuffer = 4 << 20

// link is the sockets of one interface and port: a UDP socket bound to the device, and a packet socket for what the
// kernel cannot send, because the client's address does not exist yet.
type link struct {
	name string
	port uint16

	mu      sync.RWMutex
	ifi     *net.Interface
	udp     *ipv4.PacketConn
	raw     *packet.Conn
	stopped bool

	// Used by the receiving goroutine only.
	batch   []ipv4.Message
	addrs   []netip.Prefix
	addrsAt time.Time
}

func openLink(name string, port uint16) (*link, error) {
	l := &link{name: name, port: port, batch: make([]ipv4.Message, batchSize)}
	for i := range l.batch {
		l.batch[i].Buffers = [][]byte{make([]byte, maxPacket)}
		l.batch[i].OOB = ipv4.NewControlMessage(ipv4.FlagDst | ipv4.FlagInterface)
	}
	if err := l.open(); err != nil {
		return nil, err
	}
	return l, nil
}

func (l *link) open() error {
	ifi, err := net.InterfaceByName(l.name)
	if err != nil {
		return fmt.Errorf("find the interface: %w", err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var inner error
		err := c.Control(func(fd uintptr) {
			inner = errors.Join(
				os.NewSyscallError("SO_REUSEADDR", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)),
				os.NewSyscallError("SO_BINDTODEVICE", unix.BindToDevice(int(fd), l.name)),
			)
			// For a boot storm. Without CAP_NET_ADMIN the kernel cuts it down to net.core.rmem_max.
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
		})
		return errors.Join(err, inner)
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", ":"+strconv.Itoa(int(l.port)))
	if err != nil {
		return fmt.Errorf("open the UDP socket (needs CAP_NET_BIND_SERVICE and CAP_NET_RAW, and no other program there "+
			"without SO_REUSEADDR): %w", err)
	}
	udp := ipv4.NewPacketConn(conn)
	if err := udp.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		conn.Close()
		return fmt.Errorf("ask for packet information: %w", err)
	}
	// The filter accepts nothing: this socket only sends, and is not to be fed a copy of all traffic.
	nothing, err := bpf.Assemble([]bpf.Instruction{bpf.RetConstant{Val: 0}})
	if err != nil {
		conn.Close()
		return fmt.Errorf("assemble the filter: %w", err)
	}
	raw, err := packet.Listen(ifi, packet.Datagram, unix.ETH_P_IP, &packet.Config{Filter: nothing})
	if err != nil {
		conn.Close()
		return fmt.Errorf("open the packet socket (needs CAP_NET_RAW): %w", err)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		conn.Close()
		raw.Close()
		return net.ErrClosed
	}
	if l.udp != nil {
		l.udp.Close()
		l.raw.Close()
	}
	l.ifi, l.udp, l.raw, l.addrsAt = ifi, udp, raw, time.Time{}
	return nil
}

// reopen replaces the sockets, for instance after the interface was deleted and made anew.
func (l *link) reopen() error { return l.open() }

// stop ends receive. Sending is still possible.
func (l *link) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	_ = l.udp.SetReadDeadline(time.Unix(1, 0))
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	l.udp.Close()
	l.raw.Close()
}

// batchSize is how many packets one system call takes from the kernel at most. In a storm that is what keeps the socket's
// buffer from overflowing, where the kernel would drop what comes, DHCPREQUESTs as well.
const batchSize = 64

// maxPacket bounds a packet. DHCP clients are not to send more than 576 bytes, and no relay adds as much as this.
const maxPacket = 4096

// receive waits for packets and calls got for each. It returns net.ErrClosed after stop.
func (l *link) receive(got func(*Request, []byte)) error {
	var (
		n   int
		ifi *net.Interface
	)
	for {
		udp, current, err := l.begin()
		if err != nil {
			return err
		}
		ifi = current
		if n, err = udp.ReadBatch(l.batch, 0); err == nil {
			break
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
		// A socket that is bound to an interface that was deleted, and perhaps made anew under the same name (a bridge,
		// a bond, a tap), waits for ever without an error.
		if now, err := net.InterfaceByName(l.name); err == nil && now.Index != ifi.Index {
			if err := l.open(); err != nil {
				return err
			}
		}
	}
	now := time.Now()
	// Addresses come and go (failover); asking for them with each packet would cost more than the answer.
	if now.Sub(l.addrsAt) > time.Second {
		if addrs, err := prefixesOf(ifi); err == nil {
			l.addrs, l.addrsAt = addrs, now
		}
	}
	for i := range l.batch[:n] {
		m := &l.batch[i]
		if m.Flags&unix.MSG_TRUNC == 0 {
			got(l.request(ifi, m, now), slices.Clone(m.Buffers[0][:m.N]))
		}
	}
	return nil
}

// request says how a packet came.
func (l *link) request(ifi *net.Interface, m *ipv4.Message, now time.Time) *Request {
	req := &Request{
		Interface: l.name, InterfaceIndex: ifi.Index, Port: l.port, Time: now, Addrs: l.addrs, Broadcast: true,
	}
	if from, ok := m.Addr.(*net.UDPAddr); ok {
		req.Peer = netip.AddrPortFrom(from.AddrPort().Addr().Unmap(), uint16(from.Port))
	}
	if len(l.addrs) > 0 {
		req.Local = l.addrs[0].Addr()
	}
	if dst := destination(m.OOB[:m.NN]); dst.IsValid() && !broadcastOf(l.addrs, dst) {
		req.Local, req.Broadcast = dst, false
	}
	return req
}

// destination reads the address that a packet was sent to from the control message IP_PKTINFO (ip(7)), which is the only
// one that we ask for. Package ipv4 can do that as well, at the price of three allocations for each packet of a storm.
func destination(oob []byte) netip.Addr {
	const info = unix.SizeofCmsghdr
	if len(oob) < info+unix.SizeofInet4Pktinfo {
		return netip.Addr{}
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&oob[0]))
	if h.Level != unix.IPPROTO_IP || h.Type != unix.IP_PKTINFO {
		return netip.Addr{}
	}
	return fromIP(oob[info+8 : info+12])
}

// begin returns what to read from, for a while.
func (l *link) begin() (*ipv4.PacketConn, *net.Interface, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.stopped {
		return nil, nil, net.ErrClosed
	}
	return l.udp, l.ifi, l.udp.SetReadDeadline(time.Now().Add(time.Second))
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
	if to.MAC == nil {
		cm := &ipv4.ControlMessage{IfIndex: l.ifi.Index}
		if from.IsValid() {
			cm.Src = toIP(from)
		}
		_, err := l.udp.WriteTo(data, cm, net.UDPAddrFromAddrPort(to.Addr))
		return err
	}
	// Broadcasts take this way, too: the kernel would leave the UDP checksum to the (virtual) hardware, and clients
	// that read raw packets drop those with a wrong one.
	frame := datagram(from, l.port, to.Addr, data)
	_, err := l.raw.WriteTo(frame, &packet.Addr{HardwareAddr: to.MAC})
	return err
}

// datagram wraps data in UDP and IPv4 (RFC 768, RFC 791).
func datagram(from netip.Addr, port uint16, to netip.AddrPort, data []byte) []byte {
	const ipLen, udpLen = 20, 8
	b := make([]byte, ipLen+udpLen, ipLen+udpLen+len(data))
	b = append(b, data...)
	ip, udp := b[:ipLen], b[ipLen:]
	ip[0], ip[1] = 0x45, 0x10 // version 4, five words; low delay, as other DHCP servers say
	binary.BigEndian.PutUint16(ip[2:], uint16(len(b)))
	ip[8], ip[9] = 64, unix.IPPROTO_UDP
	copy(ip[12:], toIP(from))
	copy(ip[16:], toIP(to.Addr()))
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))

	binary.BigEndian.PutUint16(udp[0:], port)
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	pseudo := uint32(unix.IPPROTO_UDP) + uint32(len(udp))
	for i := 12; i < ipLen; i += 2 {
		pseudo += uint32(binary.BigEndian.Uint16(ip[i:]))
	}
	sum := checksum(pseudo, udp)
	if sum == 0 {
		sum = 0xffff // zero would mean: no checksum
	}
	binary.BigEndian.PutUint16(udp[6:], sum)
	return b
}

// checksum is that of RFC 1071.
func checksum(sum uint32, b []byte) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
