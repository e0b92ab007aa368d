package dhcp

import (
	"encoding/binary"
	"sync"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// job is a request and where its answer leaves. In a storm most requests are dropped again, so they wait as bytes and
// are parsed by the worker that gets them.
type job struct {
	req  *Request
	data []byte
	link *link
	kind dhcpv4.MessageType
	mac  hwaddr
}

// peek finds out the little that the queue has to know of a packet: its type and who sent it. ok is false for what is
// no DHCP request of an Ethernet client; a full parser then says what is wrong with it.
func peek(b []byte) (kind dhcpv4.MessageType, mac hwaddr, ok bool) {
	const (
		chaddr, cookie, options = 28, 236, 240 // RFC 2131 section 2
		magic                   = 0x63825363   // RFC 2131 section 3
	)
	if len(b) < options || b[0] != byte(dhcpv4.OpcodeBootRequest) || binary.BigEndian.Uint32(b[cookie:]) != magic {
		return kind, mac, false
	}
	copy(mac[:], b[chaddr:])
	for rest := b[options:]; len(rest) > 0; {
		switch code := rest[0]; {
		case code == 0: // padding
			rest = rest[1:]
		case code == 255, len(rest) < 2, len(rest) < 2+int(rest[1]):
			return kind, mac, false
		case code == dhcpv4.OptionDHCPMessageType.Code():
			if rest[1] != 1 {
				return kind, mac, false
			}
			return dhcpv4.MessageType(rest[2]), mac, true
		default:
			rest = rest[2+int(rest[1]):]
		}
	}
	return kind, mac, false
}

// queue is what waits for a worker: bounded, and fair in the way that a boot storm needs.
//
//   - What a machine sent is worked on in the order in which it came, one at a time.
//   - Others go before DHCPDISCOVERs: who was offered an address is to get it before new ones are offered. Every
//     eighth time it is the other way round, so that nobody waits for ever.
//   - When it is full, the oldest DHCPDISCOVER goes: its client will ask again, and has perhaps done so already.
type queue struct {
	mu     sync.Mutex
	wait   sync.Cond
	max    int
	size   int
	closed bool
	turns  uint

	discovers, others line
	// ready are requests of machines whose previous one has just been answered; busy has an entry for each machine that
	// is being worked on, with what came from it meanwhile.
	ready []job
	busy  map[hwaddr][]job
	// lost, if set, is told of what had to go from there. It must not call the queue.
	lost func(job)
	// latest is the youngest DHCPDISCOVER of a machine in discovers.
	latest map[hwaddr]*waiting
}

// maxBehind bounds what waits behind one machine's request; the oldest goes. A client asks again only when it has
// given up on what it asked before.
const maxBehind = 4

// waiting is a job in a line, and the machine's DHCPDISCOVER before it.
type waiting struct {
	job
	before *waiting
	gone   bool
}

// line is a first-in first-out queue from whose middle can be taken by marking.
type line struct {
	all  []*waiting
	head int
}

func (l *line) push(w *waiting) { l.all = append(l.all, w) }

func (l *line) pop() *waiting {
	for l.head < len(l.all) {
		w := l.all[l.head]
		l.all[l.head] = nil
		l.head++
		if l.head > 64 && l.head > len(l.all)/2 {
			n := copy(l.all, l.all[l.head:])
			clear(l.all[n:])
			l.all, l.head = l.all[:n], 0
		}
		if !w.gone {
			return w
		}
	}
	l.all, l.head = l.all[:0], 0
	return nil
}

func newQueue(max int) *queue {
	q := &queue{max: max, busy: make(map[hwaddr][]job), latest: make(map[hwaddr]*waiting)}
	q.wait.L = &q.mu
	return q
}

// push appends j. If the queue was full, full is true and dropped is what it cost: the oldest DHCPDISCOVER, which may
// be j itself, else the oldest of all.
func (q *queue) push(j job) (dropped job, full bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if j.kind == dhcpv4.MessageTypeDiscover {
		w := &waiting{job: j, before: q.latest[j.mac]}
		q.discovers.push(w)
		q.latest[j.mac] = w
	} else {
		q.promote(q.latest[j.mac])
		q.others.push(&waiting{job: j})
	}
	q.size++
	if q.size > q.max {
		if w := q.discover(); w != nil {
			dropped, full = w.job, true
		} else if w := q.others.pop(); w != nil {
			dropped, full = w.job, true
		}
		// Otherwise all that waits is behind machines that are being worked on, where it is bounded as well.
		if full {
			q.size--
		}
	}
	q.wait.Signal()
	return dropped, full
}

// promote moves a machine's DHCPDISCOVERs before what it sends now: they must not be overtaken.
func (q *queue) promote(w *waiting) {
	if w == nil {
		return
	}
	delete(q.latest, w.mac)
	var chain []*waiting
	for ; w != nil && !w.gone; w = w.before {
		chain = append(chain, w)
	}
	for i := len(chain) - 1; i >= 0; i-- {
		chain[i].gone = true
		q.others.push(&waiting{job: chain[i].job})
	}
}

// discover takes the oldest DHCPDISCOVER.
func (q *queue) discover() *waiting {
	w := q.discovers.pop()
	if w != nil {
		w.gone, w.before = true, nil
		if q.latest[w.mac] == w {
			delete(q.latest, w.mac)
		}
	}
	return w
}

// pop waits for a job, and after it done must be called. After close it returns what is left, and then false.
func (q *queue) pop() (job, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if j, ok := q.next(); ok {
			return j, true
		}
		// After close, what waits behind a busy machine is made ready by the worker that is at it.
		if q.closed {
			return job{}, false
		}
		q.wait.Wait()
	}
}

func (q *queue) next() (job, bool) {
	if len(q.ready) > 0 {
		j := q.ready[0]
		q.ready = q.ready[1:]
		q.size--
		return j, true
	}
	for {
		q.turns++
		var w *waiting
		if q.turns%8 == 0 {
			w = q.discover()
		}
		if w == nil {
			w = q.others.pop()
		}
		if w == nil {
			w = q.discover()
		}
		if w == nil {
			return job{}, false
		}
		behind, busy := q.busy[w.mac]
		if !busy {
			q.busy[w.mac] = nil
			q.size--
			return w.job, true
		}
		if len(behind) >= maxBehind {
			if q.lost != nil {
				q.lost(behind[0])
			}
			behind = behind[1:]
			q.size--
		}
		q.busy[w.mac] = append(behind, w.job)
	}
}

// done says that the machine's request was answered: its next one may be worked on.
func (q *queue) done(mac hwaddr) {
	q.mu.Lock()
	defer q.mu.Unlock()
	behind := q.busy[mac]
	if len(behind) == 0 {
		delete(q.busy, mac)
		return
	}
	q.ready = append(q.ready, behind[0])
	q.busy[mac] = behind[1:]
	q.wait.Signal()
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.wait.Broadcast()
}
