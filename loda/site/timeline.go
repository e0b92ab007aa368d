package site

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/pxe"
)

// timeline writes what the protocol servers observed into the inventory. The servers never wait for it: when the
// inventory is slow, up to cap(queue) events are kept, then the newest are dropped and counted. DHCP has a queue of its
// own: a storm of it must not cost an alarm or a transfer its line.
type timeline struct {
	store   inventory.EventStore
	log     *slog.Logger
	queue   chan inventory.Event
	dhcp    chan *exchange
	dropped atomic.Int64

	mu sync.Mutex
	// owners are the machines behind addresses: a transfer knows nothing else of its machine.
	owners map[netip.Addr]owner
}

type owner struct {
	mac inventory.MAC
	// leased: by DHCP. Otherwise somebody at that address only said so.
	leased bool
	// warned is when its distrust was last noted.
	warned time.Time
}

const (
	timelineQueue = 8192
	// timelineBatch is also how many events the leases of a storm may have to wait for.
	timelineBatch = 16
	// exchangeQueue holds the first exchanges of 2,000 machines that are powered on in the same second, in some 6 MB; what
	// they do afterwards comes more slowly than it is written.
	exchangeQueue = 1 << 12
	// timelinePause keeps the timeline from taking more than a tenth of the time of the database, which has the leases
	// of a boot storm to store; at rest, when a batch is one event, it is some milliseconds.
	timelinePause = 9
	maxPause      = time.Second
	maxOwners     = 1 << 16
)

func newTimeline(store inventory.EventStore, log *slog.Logger) *timeline {
	return &timeline{store: store, log: log, queue: make(chan inventory.Event, timelineQueue),
		dhcp: make(chan *exchange, exchangeQueue), owners: map[netip.Addr]owner{}}
}

func (t *timeline) add(e inventory.Event) {
	select {
	case t.queue <- e:
	default:
		t.dropped.Add(1)
	}
}

// recall takes the running leases over: the transfers of machines that were at work when the site was restarted, or
// killed, go on in their timelines.
func (t *timeline) recall(ctx context.Context, store inventory.LeaseStore, now time.Time) error {
	leases, err := store.Leases(ctx)
	if err != nil {
		return fmt.Errorf("reading the leases: %w", err)
	}
	for _, l := range leases {
		if mac, err := inventory.MACOf(l.MAC); err == nil && !l.Declined && l.ExpiresAt.After(now) {
			t.own(l.Addr, owner{mac: mac, leased: true})
		}
	}
	return nil
}

func (t *timeline) own(addr netip.Addr, o owner) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(addr.Unmap(), o)
}

// put is own for who holds the lock.
func (t *timeline) put(addr netip.Addr, o owner) {
	if _, known := t.owners[addr]; !known && len(t.owners) >= maxOwners {
		clear(t.owners)
	}
	t.owners[addr] = o
}

// claim is for sites where another server does DHCP: a machine that netboots says which MAC is at its address. What
// DHCP knows is better.
func (t *timeline) claim(addr netip.Addr, mac inventory.MAC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if addr = addr.Unmap(); addr.IsValid() && mac != "" && !t.owners[addr].leased {
		t.put(addr, owner{mac: mac})
	}
}

func (t *timeline) ownerOf(addr netip.Addr) owner {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.owners[addr.Unmap()]
}

// distrusted notes, not more than once a minute, that a machine's agent does not accept our certificate.
func (t *timeline) distrusted(addr netip.Addr, why string, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	addr = addr.Unmap()
	o := t.owners[addr]
	if o.mac == "" || now.Sub(o.warned) < time.Minute {
		return
	}
	o.warned = now
	t.put(addr, o)
	t.add(inventory.Event{Time: now, MAC: o.mac, Kind: inventory.KindAlarm, Message: fmt.Sprintf("%s ended a call because "+
		"of this server's certificate (%s): its bootOS was built with another certificate authority, run `lodad bootos "+
		"build`", addr, why)})
}

// run writes in batches until ctx ends, then what is left.
func (t *timeline) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			for len(t.queue)+len(t.dhcp) > 0 {
				if err := t.write(t.collect(nil)); err != nil {
					t.dropped.Add(int64(len(t.queue) + len(t.dhcp)))
					return
				}
			}
			return
		case e := <-t.queue:
			t.work(ctx, e)
		case x := <-t.dhcp:
			t.work(ctx, x.event())
		}
	}
}

// work writes a batch and then leaves the database to others for a while.
func (t *timeline) work(ctx context.Context, first inventory.Event) {
	began := time.Now()
	_ = t.write(t.collect([]inventory.Event{first})) // counted and logged
	select {
	case <-ctx.Done():
	case <-time.After(min(timelinePause*time.Since(began), maxPause)):
	}
}

// collect completes a batch with what waits.
func (t *timeline) collect(batch []inventory.Event) []inventory.Event {
	for len(batch) < timelineBatch && len(t.queue) > 0 {
		batch = append(batch, <-t.queue)
	}
	for len(batch) < timelineBatch && len(t.dhcp) > 0 {
		x := <-t.dhcp
		batch = append(batch, x.event())
	}
	return batch
}

// write takes up to ten seconds, also when the site stops: what is given up in the middle is lost.
func (t *timeline) write(batch []inventory.Event) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	err := t.store.AppendEvents(ctx, batch...)
	if err != nil {
		t.dropped.Add(int64(len(batch)))
		t.log.Error("timeline events lost", "events", len(batch), "error", err)
	}
	return err
}

// exchange is a DHCP exchange before it is put into words: in a storm, many are dropped.
type exchange struct {
	at  time.Time
	mac inventory.MAC
	dhcp.Trace
}

func (x *exchange) event() inventory.Event {
	answer := "no answer"
	if x.Answered != "" {
		answer = x.Answered
		if x.Address.IsValid() {
			answer += " " + x.Address.String()
		}
		if x.BootFile != "" {
			answer += ", boot " + x.BootFile
		}
	}
	message := fmt.Sprintf("%s: %s → %s", x.Stage, x.Asked, answer)
	if x.Reason != "" {
		message += " (" + x.Reason + ")"
	}
	if x.Error != "" && x.Error != x.Reason {
		message += ": " + x.Error
	}
	return inventory.Event{Time: x.at, MAC: x.mac, Kind: inventory.KindDHCP, Message: message, Data: document(x.Trace)}
}

// observeExchange is told of every DHCP exchange.
func (s *Site) observeExchange(x dhcp.Exchange) {
	s.metrics.exchange(x)
	mac, err := inventory.MACOf(x.MAC)
	if err != nil {
		return
	}
	s.placer.saw(mac, x.Place)
	s.observeExhaustion(x, mac)
	if x.Answered == dhcpv4.MessageTypeAck && x.Addr.IsValid() {
		s.timeline.own(x.Addr, owner{mac: mac, leased: true})
	}
	if len(s.timeline.dhcp) == cap(s.timeline.dhcp) { // nobody else fills it
		s.timeline.dropped.Add(1)
		return
	}
	s.timeline.dhcp <- &exchange{x.Time, mac, x.Trace()}
}

// observeTransfer is told of every finished transfer by TFTP or HTTP.
func (s *Site) observeTransfer(t pxe.Transfer) {
	s.metrics.transfer(t)
	mac := s.timeline.ownerOf(t.Client).mac
	if s.chainload != nil && t.NBP() && mac != "" {
		s.chainload.Loaded(mac.Hardware())
	}
	if mac == "" {
		s.log.Debug("transfer", "client", t.Client, "path", t.Path, "bytes", t.Bytes)
		return
	}
	rate := ""
	if sec := t.Duration.Seconds(); sec > 0.001 && t.Bytes > 1<<16 {
		rate = fmt.Sprintf(", %.1f MB/s", float64(t.Bytes)/1e6/sec)
	}
	message := fmt.Sprintf("%s %s: %d bytes in %s%s", t.Protocol, t.Path, t.Bytes, t.Duration.Round(time.Millisecond), rate)
	data := map[string]any{"protocol": t.Protocol, "path": t.Path, "bytes": t.Bytes, "ms": t.Duration.Milliseconds(), "status": t.Status}
	if t.BlockSize > 0 {
		data["blksize"], data["windowsize"], data["retransmits"] = t.BlockSize, t.WindowSize, t.Retransmits
	}
	if t.Retransmits > 0 {
		message += fmt.Sprintf(", %d packets sent again", t.Retransmits)
	}
	switch {
	case t.Err != nil:
		message += ": " + t.Err.Error()
	case t.Aborted:
		message += ", ended by the machine"
	}
	s.timeline.add(inventory.Event{Time: t.Start.Add(t.Duration), MAC: mac, Kind: inventory.KindTransfer, Message: message,
		Data: document(data)})
}

func document(v any) json.RawMessage {
	doc, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return doc
}
