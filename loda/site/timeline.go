package site

import (
	"context"
	"encoding/json"
	"errors"
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
// inventory is slow, up to cap(queue) events are kept, then the newest are dropped and counted.
type timeline struct {
	store   inventory.EventStore
	log     *slog.Logger
	queue   chan inventory.Event
	dropped atomic.Int64

	mu sync.Mutex
	// owner is the MAC that an address was last given to: a transfer knows nothing else of its machine.
	owner map[netip.Addr]inventory.MAC
}

const (
	timelineQueue = 8192
	timelineBatch = 256
	maxOwners     = 1 << 16
)

func newTimeline(store inventory.EventStore, log *slog.Logger) *timeline {
	return &timeline{store: store, log: log, queue: make(chan inventory.Event, timelineQueue), owner: map[netip.Addr]inventory.MAC{}}
}

func (t *timeline) add(e inventory.Event) {
	select {
	case t.queue <- e:
	default:
		t.dropped.Add(1)
	}
}

func (t *timeline) own(addr netip.Addr, mac inventory.MAC) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, known := t.owner[addr]; !known && len(t.owner) >= maxOwners {
		clear(t.owner)
	}
	t.owner[addr] = mac
}

func (t *timeline) ownerOf(addr netip.Addr) inventory.MAC {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.owner[addr.Unmap()]
}

// run writes in batches until ctx ends, then what is left.
func (t *timeline) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			late, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			for len(t.queue) > 0 {
				t.write(late, <-t.queue)
			}
			return nil
		case e := <-t.queue:
			t.write(ctx, e)
		}
	}
}

func (t *timeline) write(ctx context.Context, first inventory.Event) {
	batch := []inventory.Event{first}
	for len(batch) < timelineBatch && len(t.queue) > 0 {
		batch = append(batch, <-t.queue)
	}
	wait, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := t.store.AppendEvents(wait, batch...); err != nil && !errors.Is(ctx.Err(), context.Canceled) {
		t.dropped.Add(int64(len(batch)))
		t.log.Error("timeline events lost", "events", len(batch), "error", err)
	}
}

// observeExchange is told of every DHCP exchange.
func (s *Site) observeExchange(x dhcp.Exchange) {
	s.metrics.exchange(x)
	mac, err := inventory.MACOf(x.MAC)
	if err != nil {
		return
	}
	if x.Answered == dhcpv4.MessageTypeAck && x.Addr.IsValid() {
		s.timeline.own(x.Addr, mac)
	}
	answer := "no answer"
	if x.Answered != dhcpv4.MessageTypeNone {
		answer = x.Answered.String()
		if x.Addr.IsValid() {
			answer += " " + x.Addr.String()
		}
		if x.BootFile != "" {
			answer += ", boot " + x.BootFile
		}
	}
	message := fmt.Sprintf("%s: %s → %s", x.Stage, x.Asked, answer)
	if x.Reason != "" {
		message += " (" + x.Reason + ")"
	}
	if x.Err != nil {
		message += ": " + x.Err.Error()
	}
	data := map[string]any{"stage": x.Stage, "asked": x.Asked.String(), "interface": x.Interface, "us": x.Duration.Microseconds()}
	if x.Answered != dhcpv4.MessageTypeNone {
		data["answered"] = x.Answered.String()
	}
	if x.Addr.IsValid() {
		data["address"] = x.Addr.String()
	}
	s.timeline.add(inventory.Event{Time: x.Time, MAC: mac, Kind: inventory.KindDHCP, Message: message, Data: document(data)})
}

// observeTransfer is told of every finished transfer by TFTP or HTTP.
func (s *Site) observeTransfer(t pxe.Transfer) {
	s.metrics.transfer(t)
	mac := s.timeline.ownerOf(t.Client)
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
	switch {
	case t.Err != nil:
		message += ": " + t.Err.Error()
	case t.Aborted:
		message += ", ended by the machine"
	}
	s.timeline.add(inventory.Event{Time: t.Start.Add(t.Duration), MAC: mac, Kind: inventory.KindTransfer, Message: message,
		Data: document(map[string]any{"protocol": t.Protocol, "path": t.Path, "bytes": t.Bytes, "ms": t.Duration.Milliseconds(), "status": t.Status})})
}

func document(v any) json.RawMessage {
	doc, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return doc
}
