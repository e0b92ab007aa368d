package site

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

// placer records in which rack machines are, as their relays say. It works beside the servers, which never wait for it:
// what it cannot take now it learns at the machine's next exchange.
type placer struct {
	store inventory.MachineStore
	rules []dhcp.RackRule
	log   *slog.Logger
	add   func(inventory.Event)
	queue chan sighting
	done  map[inventory.MAC]string // where machines were recorded, or found to be recorded elsewhere
}

type sighting struct {
	mac   inventory.MAC
	rack  string
	place dhcp.Place
}

const (
	placerQueue = 1024
	maxPlaced   = 1 << 16
)

func newPlacer(c Config, add func(inventory.Event)) *placer {
	return &placer{store: c.Store, rules: c.Racks, log: c.Logger, add: add, queue: make(chan sighting, placerQueue),
		done: make(map[inventory.MAC]string)}
}

// saw is told where a machine is plugged in.
func (p *placer) saw(mac inventory.MAC, at dhcp.Place) {
	rack := dhcp.RackOf(p.rules, at)
	if rack == "" {
		return
	}
	select {
	case p.queue <- sighting{mac, rack, at}:
	default:
	}
}

// run records until ctx ends.
func (p *placer) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case s := <-p.queue:
			if p.done[s.mac] == s.rack {
				continue
			}
			recorded, err := p.record(ctx, s)
			if err != nil && ctx.Err() == nil {
				p.log.Warn("cannot record in which rack a machine is", "mac", s.mac, "rack", s.rack, "error", err)
			}
			if recorded {
				if len(p.done) >= maxPlaced {
					clear(p.done)
				}
				p.done[s.mac] = s.rack
			}
		}
	}
}

// record sets the rack of a machine that has none. A machine that nobody knows yet is recorded when it is discovered. One
// that is recorded in another rack stays there, and its timeline says so.
func (p *placer) record(ctx context.Context, s sighting) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	m, err := p.store.MachineByMAC(ctx, s.mac)
	if errors.Is(err, inventory.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	where := fmt.Sprintf("relay %s, circuit %q, remote %q", s.place.Relay, s.place.Circuit, s.place.Remote)
	var before string
	if m.Rack == "" {
		_, err = p.store.UpdateMachine(ctx, m.Serial, func(m *inventory.Machine) error {
			if before = m.Rack; before == "" {
				m.Rack = s.rack
			}
			return nil
		})
		if err != nil {
			return false, err
		}
	} else {
		before = m.Rack
	}
	event := inventory.Event{Time: time.Now(), Serial: m.Serial, MAC: s.mac, Kind: inventory.KindDHCP}
	switch before {
	case "":
		event.Message = fmt.Sprintf("the machine is in rack %s (%s)", s.rack, where)
	case s.rack:
		return true, nil
	default:
		event.Message = fmt.Sprintf("the machine is recorded in rack %s, but its relay says %s (%s)", before, s.rack, where)
	}
	p.add(event)
	return true, nil
}
