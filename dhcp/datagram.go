package dhcp

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// protocolUDP is UDP's number in IPv4 headers.
const protocolUDP = 17

// errNotUDP is of what looks like a packet for us and is damaged.
var errNotUDP = errors.New("damaged IP or UDP header")

// errFragment is of a part of a datagram: DHCP fits into one packet.
var errFragment = errors.New("a fragment")

// parseDatagram takes IPv4 and UDP off (RFC 791 section 3.1, RFC 768).
func parseDatagram(b []byte) (data []byte, from, to netip.AddrPort, err error) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return nil, from, to, errNotUDP
	}
	header, total := int(b[0]&0xf)*4, int(binary.BigEndian.Uint16(b[2:]))
	if header < 20 || total < header+8 || total > len(b) || b[9] != protocolUDP {
		return nil, from, to, errNotUDP
	}
	if binary.BigEndian.Uint16(b[6:])&0x3fff != 0 {
		return nil, from, to, errFragment
	}
	udp := b[header:total] // behind it may be the padding of a short frame
	size := int(binary.BigEndian.Uint16(udp[4:]))
	if size < 8 || size > len(udp) {
		return nil, from, to, errNotUDP
	}
	port := func(addr, at []byte) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr)), binary.BigEndian.Uint16(at))
	}
	return udp[8:size], port(b[12:16], udp), port(b[16:20], udp[2:]), nil
}

// datagram wraps data in UDP and IPv4 (RFC 768, RFC 791).
func datagram(from netip.Addr, port uint16, to netip.AddrPort, data []byte) []byte {
	const ipLen, udpLen = 20, 8
	b := make([]byte, ipLen+udpLen, ipLen+udpLen+len(data))
	b = append(b, data...)
	ip, udp := b[:ipLen], b[ipLen:]
	ip[0], ip[1] = 0x45, 0x10 // version 4, five words; low delay, as other DHCP servers say
	binary.BigEndian.PutUint16(ip[2:], uint16(len(b)))
	ip[8], ip[9] = 64, protocolUDP
	copy(ip[12:], toIP(from))
	copy(ip[16:], toIP(to.Addr()))
	binary.BigEndian.PutUint16(ip[10:], checksum(0, ip))

	binary.BigEndian.PutUint16(udp[0:], port)
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(len(udp)))
	pseudo := uint32(protocolUDP) + uint32(len(udp))
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
