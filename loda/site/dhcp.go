package site

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
)

// serveDHCP opens the sockets of the DHCP server, and of the watch for others.
func (s *Site) serveDHCP(ctx context.Context, g *errgroup.Group) error {
	prober := &dhcp.ARPProber{}
	g.Go(func() error { <-ctx.Done(); return prober.Close() })
	authority, err := dhcp.NewAuthority(dhcp.AuthorityConfig{Leases: s.c.Store, Reservations: s.reservations(),
		Boot: s.bootFiles(), Subnets: s.c.Subnets, Quirks: s.c.Quirks, Prober: prober})
	if err != nil {
		return err
	}
	server := &dhcp.Server{Responder: authority, Interfaces: s.c.Interfaces, Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort},
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

// reservations answers from the inventory which machines are known, and what they are told.
type reservations struct {
	store    inventory.Store
	profiles map[string]dhcp.Settings
	machines map[inventory.Serial]dhcp.Settings
}

func (s *Site) reservations() reservations {
	return reservations{s.c.Store, s.c.ProfileSettings, s.c.MachineSettings}
}

func (r reservations) Reservation(ctx context.Context, hw net.HardwareAddr) (dhcp.Reservation, bool, error) {
	mac, err := inventory.MACOf(hw)
	if err != nil {
		return dhcp.Reservation{}, false, nil
	}
	m, err := r.store.MachineByMAC(ctx, mac)
	if errors.Is(err, inventory.ErrNotFound) {
		return dhcp.Reservation{}, false, nil
	}
	if err != nil {
		return dhcp.Reservation{}, false, err
	}
	settings := r.machines[m.Serial]
	if len(r.profiles) > 0 {
		profile, err := r.profileOf(ctx, m)
		if err != nil {
			return dhcp.Reservation{}, false, err
		}
		settings = settings.Over(r.profiles[profile])
	}
	// A reserved address belongs to the machine, and a machine has several NICs: the one that asks first gets it, which
	// is the one that netboots, and keeps it while its lease runs. The others get one of the pool.
	return dhcp.Reservation{Hostname: loda.HostnameOf(m), Addr: m.Address, Settings: settings,
		Model: strings.TrimSpace(m.Vendor + " " + m.Product)}, m.Source == inventory.Imported, nil
}

// profileOf is the profile that is being installed, else the one that the machine was imported with.
func (r reservations) profileOf(ctx context.Context, m *inventory.Machine) (string, error) {
	open, err := r.store.Installations(ctx, inventory.InstallationFilter{Serial: m.Serial, OpenOnly: true, Limit: 1})
	if err != nil || len(open) == 0 {
		return m.Profile, err
	}
	return open[0].Profile, nil
}

func (r reservations) Reserved(ctx context.Context, addr netip.Addr) (bool, error) {
	_, err := loda.MachineByAddress(ctx, r.store, addr)
	if errors.Is(err, inventory.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
