package dhcp

import (
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"
)

// errNotUDP is of what looks like a packet for us and is damaged.
var errNotUDP = errors.New("damaged IP or UDP header")

// parseDatagram takes IPv4 and UDP off (RFC 791 section 3.1, RFC 768).
func parseDatagram(b []byte) (data []byte, from netip.AddrPort, to netip.Addr, err error) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, from, to, errNotUDP
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total < header+8 || total > len(b) || b[9] != unix.IPPROTO_UDP {
		return nil, from, to, errNotUDP
	}
	udp := b[header:total] // behind it may be the padding of a short frame
	size := int(binary.BigEndian.Uint16(udp[4:]))
	if size < 8 || size > len(udp) {
		return nil, from, to, errNotUDP
	}
	source := netip.AddrFrom4([4]byte(b[12:16]))
	return udp[8:size], netip.AddrPortFrom(source, binary.BigEndian.Uint16(udp)), netip.AddrFrom4([4]byte(b[16:20])), nil
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
