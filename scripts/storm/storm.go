// Package storm is many DHCP clients at once, behind the address of a relay, for tests and benchmarks of servers: a rack
// whose power comes back. It remembers every DHCPACK, so that one can look afterwards whether the server does.
//
//	fleet := storm.Fleet{Relay: netip.MustParseAddr("10.10.0.2"), Server: netip.MustParseAddr("10.10.0.1"), Clients: 5000}
//	result, err := fleet.Run(ctx)
package storm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/net/ipv4"
)

// A Fleet is what storms.
type Fleet struct {
	// Relay is an IPv4 address of this host, whose port 67 must be free; it is the giaddr of all clients. Server is whom
	// it asks.
	Relay, Server netip.Addr
	// Clients is how many there are, up to 16 million; First is the number of the first, so that fleets can differ. A
	// client's hardware address is 02:4c and its number.
	Clients, First int
	// Rate is how many clients begin an exchange per second: the next one in turn, whatever became of its last exchange,
	// until For is over. 0 means: each client until it has a lease, asking again after Patience.
	Rate float64
	For  time.Duration
	// Patience is how long a client waits for an answer; 0 means half a second. Window bounds how many wait for one
	// where Rate is 0; 0 means 500.
	Patience time.Duration
	Window   int
}

// Result is what became of it.
type Result struct {
	// Sent and received packets.
	Discovers, Offers, Requests, Acks, Naks int
	// Took is from the first packet to the last that came.
	Took time.Duration
	// Leases are the latest ACKs: the client's number and its address.
	Leases map[int]netip.Addr
	// Twice says of each address that was acknowledged to two clients which they were.
	Twice []string
	// Offer and Ack are how long answers took, sorted: DISCOVER to OFFER, REQUEST to ACK.
	Offer, Ack []time.Duration `json:"-"`
}

// Completed is exchanges per second.
func (r *Result) Completed() float64 { return float64(r.Acks) / r.Took.Seconds() }

// MAC is the hardware address of a client.
func MAC(number int) net.HardwareAddr {
	return net.HardwareAddr{2, 0x4c, 0, byte(number >> 16), byte(number >> 8), byte(number)}
}

const (
	discover, offer, request, ack, nak = 1, 2, 3, 5, 6

	batch = 64
	// tick is how often what is due is sent.
	tick = time.Millisecond
)

// client is where one of them stands.
type client struct {
	exchange uint32 // counts its exchanges; in the transaction id
	waits    byte   // for an offer or an ack, 0 for nothing
	since    time.Time
	leased   bool
}

type run struct {
	Fleet
	conn *ipv4.PacketConn

	mu      sync.Mutex
	clients []client
	waiting int
	left    int // without a lease
	owners  map[netip.Addr]int
	r       Result
	last    time.Time
}

// Run storms until it is over or ctx ends, which is no error: the result says how far it came.
func (f Fleet) Run(ctx context.Context) (*Result, error) {
	switch {
	case !f.Relay.Is4() || !f.Server.Is4():
		return nil, errors.New("storm: relay and server must be IPv4 addresses")
	case f.Clients <= 0 || f.First < 0 || f.First+f.Clients > 1<<24:
		return nil, fmt.Errorf("storm: clients %d to %d are not within 16 million", f.First, f.First+f.Clients)
	case f.Rate < 0 || f.Rate > 0 && f.For <= 0:
		return nil, errors.New("storm: a rate needs a duration")
	}
	if f.Patience == 0 {
		f.Patience = time.Second / 2
	}
	if f.Window == 0 {
		f.Window = 500
	}
	udp, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(f.Relay, 67)))
	if err != nil {
		return nil, fmt.Errorf("storm: %w", err)
	}
	defer udp.Close()
	_ = udp.SetReadBuffer(4 << 20)
	s := &run{Fleet: f, conn: ipv4.NewPacketConn(udp), clients: make([]client, f.Clients), left: f.Clients,
		owners: map[netip.Addr]int{}, r: Result{Leases: map[int]netip.Addr{}}}
	began := time.Now()
	s.last = began

	received := make(chan error, 1)
	go func() { received <- s.receive() }()
	err = s.send(ctx, began)
	if f.Rate > 0 {
		select { // the last answers
		case <-ctx.Done():
		case <-time.After(f.Patience):
		}
	}
	_ = udp.SetReadDeadline(time.Unix(1, 0))
	if e := <-received; err == nil {
		err = e
	}
	s.r.Took = s.last.Sub(began)
	if f.Rate > 0 {
		s.r.Took = min(s.r.Took, f.For)
	}
	slices.Sort(s.r.Offer)
	slices.Sort(s.r.Ack)
	return &s.r, err
}

// send begins exchanges as they are due.
func (s *run) send(ctx context.Context, began time.Time) error {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	begun, turn := 0, 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		now := time.Now()
		var due []int
		s.mu.Lock()
		if s.Rate > 0 {
			if now.Sub(began) >= s.For {
				s.mu.Unlock()
				return nil
			}
			for ; begun < int(now.Sub(began).Seconds()*s.Rate); begun++ {
				due = append(due, begun%s.Clients)
			}
		} else {
			if s.left == 0 {
				s.mu.Unlock()
				return nil
			}
			for range s.Clients {
				c := &s.clients[turn]
				if c.waits != 0 && now.Sub(c.since) >= s.Patience {
					c.waits = 0
					s.waiting--
				}
				if !c.leased && c.waits == 0 && s.waiting+len(due) < s.Window {
					due = append(due, turn)
				}
				turn = (turn + 1) % s.Clients
			}
		}
		for _, i := range due {
			c := &s.clients[i]
			if c.waits == 0 {
				s.waiting++
			}
			c.exchange++
			c.waits, c.since = offer, now
		}
		s.r.Discovers += len(due)
		packets := make([][]byte, len(due))
		for j, i := range due {
			packets[j] = s.packet(discover, i, nil, nil)
		}
		s.mu.Unlock()
		if err := s.write(packets); err != nil {
			return err
		}
	}
}

func (s *run) write(packets [][]byte) error {
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(s.Server, 67))
	for len(packets) > 0 {
		ms := make([]ipv4.Message, min(len(packets), batch))
		for i := range ms {
			ms[i] = ipv4.Message{Buffers: [][]byte{packets[i]}, Addr: to}
		}
		n, err := s.conn.WriteBatch(ms, 0)
		if err != nil {
			return fmt.Errorf("storm: %w", err)
		}
		packets = packets[n:]
	}
	return nil
}

// receive reads answers, and takes what is offered.
func (s *run) receive() error {
	ms := make([]ipv4.Message, batch)
	for i := range ms {
		ms[i].Buffers = [][]byte{make([]byte, 1500)}
	}
	for {
		n, err := s.conn.ReadBatch(ms, 0)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("storm: %w", err)
		}
		var answers [][]byte
		s.mu.Lock()
		for _, m := range ms[:n] {
			if p := s.got(m.Buffers[0][:m.N], time.Now()); p != nil {
				answers = append(answers, p)
			}
		}
		s.mu.Unlock()
		if err := s.write(answers); err != nil {
			return err
		}
	}
}

// got looks at an answer and returns what is to be said to it.
func (s *run) got(b []byte, now time.Time) []byte {
	kind, server, ok := parse(b)
	if !ok {
		return nil
	}
	number := int(b[31])<<16 | int(b[32])<<8 | int(b[33])
	i := number - s.First
	if i < 0 || i >= s.Clients || b[28] != 2 || b[29] != 0x4c {
		return nil
	}
	c := &s.clients[i]
	addr := netip.AddrFrom4([4]byte(b[16:20]))
	current := binary.BigEndian.Uint32(b[4:]) == s.xid(i)
	s.last = now
	switch kind {
	case offer:
		s.r.Offers++
		if !current || c.waits != offer {
			return nil
		}
		s.r.Offer = append(s.r.Offer, now.Sub(c.since))
		c.waits, c.since = ack, now
		s.r.Requests++
		return s.packet(request, i, addr.AsSlice(), server)
	case ack:
		s.r.Acks++
		// An ACK counts whether it was in time or not: the server has given its word.
		if other, taken := s.owners[addr]; taken && other != number {
			s.r.Twice = append(s.r.Twice, fmt.Sprintf("%s: %s and %s", addr, MAC(other), MAC(number)))
		}
		if old, had := s.r.Leases[number]; had && old != addr && s.owners[old] == number {
			delete(s.owners, old)
		}
		s.owners[addr], s.r.Leases[number] = number, addr
		if !c.leased {
			c.leased = true
			s.left--
		}
		if current && c.waits == ack {
			s.r.Ack = append(s.r.Ack, now.Sub(c.since))
		}
		if c.waits != 0 {
			c.waits = 0
			s.waiting--
		}
	case nak:
		s.r.Naks++
		if current && c.waits != 0 {
			c.waits = 0
			s.waiting--
		}
	}
	return nil
}

func (s *run) xid(i int) uint32 { return uint32(s.First+i)<<8 | s.clients[i].exchange&0xff }

// packet is a DISCOVER or REQUEST (RFC 2131 section 4.3.1 and 4.3.2) as a relay passes it on (RFC 1542 section 4.1.1).
func (s *run) packet(kind byte, i int, wish, server []byte) []byte {
	b := make([]byte, 240, 300)
	b[0], b[1], b[2], b[3] = 1, 1, 6, 1
	binary.BigEndian.PutUint32(b[4:], s.xid(i))
	copy(b[24:], s.Relay.AsSlice())
	copy(b[28:], MAC(s.First+i))
	copy(b[236:], []byte{0x63, 0x82, 0x53, 0x63})
	b = append(b, 53, 1, kind, 55, 4, 1, 3, 6, 15)
	if kind == request {
		b = append(append(b, 50, 4), wish...)
		b = append(append(b, 54, 4), server...)
	}
	return append(b, 255)[:300]
}

// parse finds the type and the server's name for itself.
func parse(b []byte) (kind byte, server []byte, ok bool) {
	if len(b) < 240 || b[0] != 2 {
		return 0, nil, false
	}
	for rest := b[240:]; len(rest) >= 2 && rest[0] != 255; {
		if rest[0] == 0 {
			rest = rest[1:]
			continue
		}
		n := int(rest[1])
		if len(rest) < 2+n {
			return 0, nil, false
		}
		switch {
		case rest[0] == 53 && n == 1:
			kind = rest[2]
		case rest[0] == 54 && n == 4:
			server = rest[2:6]
		}
		rest = rest[2+n:]
	}
	return kind, server, kind != 0 && (kind != offer || server != nil)
}

// Quantile is the q-quantile of sorted durations, 0 of none.
func Quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)]
}
