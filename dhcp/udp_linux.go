package dhcp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/packet"
	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// udpSocket is a UDP socket bound to the device, and a packet socket for what the kernel cannot send, because the client's
// address does not exist yet.
type udpSocket struct {
	port    uint16
	ifIndex int
	udp     *ipv4.PacketConn
	raw     *packet.Conn
	batch   []ipv4.Message
}

// receiveBuffer is what the kernel keeps for us in bytes, some 3,000 packets with its own overhead.
const receiveBuffer = 4 << 20

// batchSize is how many packets one system call takes from the kernel at most. In a storm that is what keeps the socket's
// buffer from overflowing, where the kernel would drop what comes, DHCPREQUESTs as well.
const batchSize = 64

func openUDP(ifi *net.Interface, port uint16) (socket, error) {
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		var inner error
		err := c.Control(func(fd uintptr) {
			inner = errors.Join(
				os.NewSyscallError("SO_REUSEADDR", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)),
				os.NewSyscallError("SO_BINDTODEVICE", unix.BindToDevice(int(fd), ifi.Name)),
			)
			// For a boot storm. Without CAP_NET_ADMIN the kernel cuts it down to net.core.rmem_max.
			if unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
				_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer)
			}
		})
		return errors.Join(err, inner)
	}}
	conn, err := lc.ListenPacket(context.Background(), "udp4", ":"+strconv.Itoa(int(port)))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("open the UDP socket: another program has the port, and does not share it; use raw sockets "+
			"to run beside it: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open the UDP socket (needs CAP_NET_BIND_SERVICE and CAP_NET_RAW): %w", err)
	}
	s := &udpSocket{port: port, ifIndex: ifi.Index, udp: ipv4.NewPacketConn(conn), batch: make([]ipv4.Message, batchSize)}
	for i := range s.batch {
		s.batch[i].Buffers = [][]byte{make([]byte, maxPacket)}
		s.batch[i].OOB = ipv4.NewControlMessage(ipv4.FlagDst | ipv4.FlagInterface)
	}
	if err := s.udp.SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true); err != nil {
		conn.Close()
		return nil, fmt.Errorf("ask for packet information: %w", err)
	}
	// The filter accepts nothing: this socket only sends, and is not to be fed a copy of all traffic.
	if s.raw, err = openPacket(ifi, []bpf.Instruction{bpf.RetConstant{Val: 0}}); err != nil {
		conn.Close()
		return nil, err
	}
	return s, nil
}

func (s *udpSocket) setReadDeadline(t time.Time) error { return s.udp.SetReadDeadline(t) }

func (s *udpSocket) receive(got func([]byte, netip.AddrPort, netip.Addr)) error {
	n, err := s.udp.ReadBatch(s.batch, 0)
	if err != nil {
		return err
	}
	for i := range s.batch[:n] {
		m := &s.batch[i]
		if m.Flags&unix.MSG_TRUNC != 0 {
			m.N = 0 // counts as malformed
		}
		var from netip.AddrPort
		if a, ok := m.Addr.(*net.UDPAddr); ok {
			from = netip.AddrPortFrom(a.AddrPort().Addr().Unmap(), uint16(a.Port))
		}
		got(slices.Clone(m.Buffers[0][:m.N]), from, destination(m.OOB[:m.NN]))
	}
	return nil
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

func (s *udpSocket) send(data []byte, from netip.Addr, to Destination) error {
	if to.MAC == nil {
		cm := &ipv4.ControlMessage{IfIndex: s.ifIndex}
		if from.IsValid() {
			cm.Src = toIP(from)
		}
		_, err := s.udp.WriteTo(data, cm, net.UDPAddrFromAddrPort(to.Addr))
		return err
	}
	// Broadcasts take this way, too: the kernel would leave the UDP checksum to the (virtual) hardware, and clients
	// that read raw packets drop those with a wrong one.
	_, err := s.raw.WriteTo(datagram(from, s.port, to.Addr, data), &packet.Addr{HardwareAddr: to.MAC})
	return err
}

func (s *udpSocket) close() { _ = errors.Join(s.udp.Close(), s.raw.Close()) }
