package site

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

// serveDHCP opens the sockets of the DHCP server, and of the watch for others.
func (s *Site) serveDHCP(ctx context.Context, g *errgroup.Group, boot dhcp.Booter, known dhcp.Reservations) error {
	prober := &dhcp.ARPProber{}
	g.Go(func() error { <-ctx.Done(); return prober.Close() })
	authority, err := dhcp.NewAuthority(dhcp.AuthorityConfig{Leases: s.c.Store, Reservations: s.told(known),
		Boot: boot, Subnets: s.c.Subnets, Quirks: s.c.Quirks, Prober: prober})
	if err != nil {
		return err
	}
	server := &dhcp.Server{Responder: authority, Interfaces: s.c.Interfaces, Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort}, Raw: s.c.RawDHCP,
		Observe: s.observeExchange, Log: s.log}
	if err := server.Listen(); err != nil {
		return fmt.Errorf("DHCP: %w", err)
	}
	g.Go(func() error { return server.Serve(ctx) })
	g.Go(func() error { s.placer.run(ctx); return nil })

	watch := &dhcp.Watch{Interfaces: s.c.Interfaces, Servers: s.c.Servers, BootOnly: s.besideOthers(), Every: s.c.AskForServers,
		Report: s.observeRogue, Log: s.log}
	g.Go(func() error { return watch.Run(ctx) })
	return nil
}

// besideOthers reports whether other servers are to be expected that nobody named.
func (s *Site) besideOthers() bool {
	return len(s.c.Servers) == 0 &&
		slices.ContainsFunc(s.c.Subnets, func(n dhcp.Subnet) bool { return n.Unknown != dhcp.UnknownLease })
}

// observeRogue is told of DHCP servers that are not ours.
func (s *Site) observeRogue(r dhcp.Rogue) {
	s.metrics.rogues.Inc()
	s.log.Error("ALARM: "+r.String(), "interface", r.Interface, "mac", r.MAC.String(), "address", r.Addr)
	mac, _ := inventory.MACOf(r.MAC)
	s.timeline.add(inventory.Event{Time: r.Time, MAC: mac, Kind: inventory.KindAlarm, Message: r.String()})
}

// exhaustion puts full subnets into the timeline, once a minute each.
type exhaustion struct {
	mu   sync.Mutex
	told map[string]time.Time
}

func (e *exhaustion) mayTell(subnet string, now time.Time) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if at, ok := e.told[subnet]; ok && now.Sub(at) < time.Minute {
		return false
	}
	if e.told == nil {
		e.told = make(map[string]time.Time) // as large as there are subnets
	}
	e.told[subnet] = now
	return true
}

// observeExhaustion looks whether an exchange failed because a subnet is full.
func (s *Site) observeExhaustion(x dhcp.Exchange, mac inventory.MAC) {
	var full *dhcp.ExhaustedError
	if !errors.As(x.Err, &full) {
		return
	}
	s.metrics.exhausted.WithLabelValues(full.Subnet).Inc()
	if s.exhaustion.mayTell(full.Subnet, x.Time) {
		s.timeline.add(inventory.Event{Time: x.Time, MAC: mac, Kind: inventory.KindAlarm, Message: x.Err.Error()})
	}
}

// told adds to what is known of machines what they are told: by the site's configuration, and by their model for quirks.
type told struct {
	dhcp.Reservations
	store    inventory.Store
	profiles map[string]dhcp.Settings
	machines map[inventory.Serial]dhcp.Settings
}

// told wraps known where the configuration has anything to add: it costs a look at the inventory for each packet.
func (s *Site) told(known dhcp.Reservations) dhcp.Reservations {
	byModel := slices.ContainsFunc(s.c.Quirks, func(q dhcp.Quirk) bool { return q.Match.Model != "" })
	if !byModel && len(s.c.ProfileSettings) == 0 && len(s.c.MachineSettings) == 0 {
		return known
	}
	return told{known, s.c.Store, s.c.ProfileSettings, s.c.MachineSettings}
}

func (t told) Reservation(ctx context.Context, hw net.HardwareAddr) (dhcp.Reservation, bool, error) {
	r, known, err := t.Reservations.Reservation(ctx, hw)
	if err != nil {
		return r, known, err
	}
	mac, err := inventory.MACOf(hw)
	if err != nil {
		return r, known, nil // no machine has such an address
	}
	m, err := t.store.MachineByMAC(ctx, mac)
	if errors.Is(err, inventory.ErrNotFound) {
		return r, known, nil
	}
	if err != nil {
		return dhcp.Reservation{}, false, err
	}
	r.Model = strings.TrimSpace(m.Vendor + " " + m.Product)
	r.Settings = t.machines[m.Serial]
	if len(t.profiles) > 0 {
		profile, err := t.profileOf(ctx, m)
		if err != nil {
			return dhcp.Reservation{}, false, err
		}
		r.Settings = r.Settings.Over(t.profiles[profile])
	}
	return r, known, nil
}

// profileOf is the profile that is being installed, else the one that the machine was imported with.
func (t told) profileOf(ctx context.Context, m *inventory.Machine) (string, error) {
	open, err := t.store.Installations(ctx, inventory.InstallationFilter{Serial: m.Serial, OpenOnly: true, Limit: 1})
	if err != nil || len(open) == 0 {
		return m.Profile, err
	}
	return open[0].Profile, nil
}
