package lab

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/mdlayher/packet"
	"golang.org/x/sys/unix"
)

// iPXE configures IPv6 as well before it goes on, and waits 13 s for a router advertisement. The rack answers router
// solicitations, and advertises now and then, with a router of lifetime 0: "I am no default router" (RFC 4861 section
// 4.2), no prefix, nothing managed. Nobody gets an IPv6 address from it, and nobody waits.

const advertiseEvery = 2 * time.Second

// advertiser owns the two goroutines that speak on the bridge.
type advertiser struct {
	conn *packet.Conn
	stop chan struct{}
	wg   sync.WaitGroup
}

func startAdvertiser(ns *namespace) (*advertiser, error) {
	var conn *packet.Conn
	var bridge *net.Interface
	err := ns.do(func() (err error) {
		if bridge, err = net.InterfaceByName(bridgeName); err != nil {
			return err
		}
		conn, err = packet.Listen(bridge, packet.Raw, unix.ETH_P_IPV6, nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("open packet socket on the bridge: %w", err)
	}
	a := &advertiser{conn: conn, stop: make(chan struct{})}
	frame := routerAdvertisement(bridge.HardwareAddr)
	send := func() {
		// A frame that could not be sent now is sent two seconds later; there is nobody to tell.
		_, _ = conn.WriteTo(frame, &packet.Addr{HardwareAddr: net.HardwareAddr(frame[0:6])})
	}
	a.wg.Go(func() {
		ticker := time.NewTicker(advertiseEvery)
		defer ticker.Stop()
		for {
			send()
			select {
			case <-ticker.C:
			case <-a.stop:
				return
			}
		}
	})
	a.wg.Go(func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFrom(buf)
			switch {
			case errors.Is(err, net.ErrClosed), errors.Is(err, os.ErrClosed), errors.Is(err, unix.EBADF):
				return
			case err != nil: // ENETDOWN while somebody sets the bridge down and up
				select {
				case <-a.stop:
					return
				case <-time.After(100 * time.Millisecond):
				}
			case isRouterSolicitation(buf[:n]):
				send()
			}
		}
	})
	return a, nil
}

func (a *advertiser) close() {
	close(a.stop)
	a.conn.Close()
	a.wg.Wait()
}

const (
	ethernetHeader     = 14
	ipv6Header         = 40
	protocolICMPv6     = 58
	typeSolicitation   = 133
	typeAdvertisement  = 134
	optionSourceLLAddr = 1
)

// isRouterSolicitation looks at an Ethernet frame, RFC 4861 section 4.1.
func isRouterSolicitation(frame []byte) bool {
	return len(frame) >= ethernetHeader+ipv6Header+8 &&
		binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_IPV6 &&
		frame[ethernetHeader+6] == protocolICMPv6 &&
		frame[ethernetHeader+7] == 255 && // hop limit: nobody routed it here
		frame[ethernetHeader+ipv6Header] == typeSolicitation
}

// routerAdvertisement is a whole Ethernet frame to all nodes.
func routerAdvertisement(mac net.HardwareAddr) []byte {
	const length = 16 + 8
	f := make([]byte, ethernetHeader+ipv6Header+length)
	copy(f, []byte{0x33, 0x33, 0, 0, 0, 1})
	copy(f[6:], mac)
	binary.BigEndian.PutUint16(f[12:], unix.ETH_P_IPV6)

	ip := f[ethernetHeader:]
	ip[0] = 6 << 4
	binary.BigEndian.PutUint16(ip[4:], length)
	ip[6], ip[7] = protocolICMPv6, 255
	// Source: the link-local address made from the MAC, RFC 4291 appendix A. Destination: ff02::1.
	copy(ip[8:], []byte{0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]})
	copy(ip[24:], []byte{0xff, 2, 15: 1})

	icmp := ip[ipv6Header:]
	icmp[0] = typeAdvertisement
	icmp[4] = 64 // hop limit for hosts; flags, lifetime and timers stay zero
	icmp[16], icmp[17] = optionSourceLLAddr, 1
	copy(icmp[18:], mac)
	binary.BigEndian.PutUint16(icmp[2:], icmpv6Checksum(ip[8:40], icmp))
	return f
}

// icmpv6Checksum sums the pseudo header of RFC 8200 section 8.1 and the message.
func icmpv6Checksum(addresses, message []byte) uint16 {
	sum := uint32(len(message)) + protocolICMPv6
	for _, part := range [][]byte{addresses, message} {
		for i := 0; i+1 < len(part); i += 2 {
			sum += uint32(binary.BigEndian.Uint16(part[i:]))
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
