package site

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/memory"
)

var (
	noon   = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	nicOne = inventory.MAC("52:54:00:00:00:01")
)

// bare is a site without servers.
func bare(t *testing.T, change ...func(*Config)) *Site {
	t.Helper()
	c := Config{Store: memory.New(), Logger: slog.New(slog.DiscardHandler)}
	for _, f := range change {
		f(&c)
	}
	s := &Site{c: c, log: c.Logger, timeline: newTimeline(c.Store, c.Logger)}
	s.metrics = newMetrics("test", c.Store, s.timeline)
	s.placer = newPlacer(c, s.timeline.add)
	return s
}

func (s *Site) events() (out []inventory.Event) {
	for len(s.timeline.queue) > 0 {
		out = append(out, <-s.timeline.queue)
	}
	return out
}

func (s *Site) counted(t *testing.T, name string) float64 {
	t.Helper()
	families, err := s.metrics.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatal("no metric " + name)
	return 0
}

func create(t *testing.T, s *Site, m inventory.Machine) {
	t.Helper()
	require.NoError(t, s.c.Store.CreateMachines(t.Context(), []inventory.Machine{m}))
}

// imported knows every machine.
type imported struct{ dhcp.Reservations }

func (imported) Reservation(context.Context, net.HardwareAddr) (dhcp.Reservation, bool, error) {
	return dhcp.Reservation{Hostname: "web-1"}, true, nil
}

func TestInventoryIsNotAskedTwiceWhereNothingIsConfigured(t *testing.T) {
	require.Equal(t, imported{}, bare(t).told(imported{}))
	byModel := bare(t, func(c *Config) { c.Quirks = []dhcp.Quirk{{Name: "q", Match: dhcp.QuirkMatch{Model: "x"}}} })
	require.NotEqual(t, imported{}, byModel.told(imported{}))
}

func TestMachineIsToldWhatItsProfileAndItsSerialNumberSay(t *testing.T) {
	s := bare(t, func(c *Config) {
		c.ProfileSettings = map[string]dhcp.Settings{"storage": {MTU: 9000, Domain: "storage.example"}, "rescue": {MTU: 1280}}
		c.MachineSettings = map[inventory.Serial]dhcp.Settings{"SN1": {Domain: "sn1.example"}}
	})
	create(t, s, inventory.Machine{Serial: "SN1", Profile: "storage", MACs: []inventory.MAC{nicOne}, Vendor: "ACME", Product: "R1"})
	ask := func() dhcp.Reservation {
		r, known, err := s.told(imported{}).Reservation(t.Context(), nicOne.Hardware())
		require.NoError(t, err)
		require.True(t, known)
		return r
	}
	r := ask()
	require.Equal(t, dhcp.Settings{MTU: 9000, Domain: "sn1.example"}, r.Settings)
	require.Equal(t, "ACME R1", r.Model, "by which quirks are told")
	require.Equal(t, "web-1", r.Hostname)

	require.NoError(t, s.c.Store.CreateInstallation(t.Context(), inventory.Installation{ID: "01J", Serial: "SN1",
		State: inventory.Queued, Profile: "rescue", Attempt: 1, CreatedAt: noon, UpdatedAt: noon, StateSince: noon}))
	require.Equal(t, uint16(1280), ask().Settings.MTU, "what is being installed")
}

func TestRackOfAMachineIsRecordedWhereItsRelaySaysSo(t *testing.T) {
	s := bare(t, func(c *Config) {
		c.Racks = []dhcp.RackRule{{Circuit: "eth*", Rack: "r7"}, {Circuit: "po*", Rack: "r8"}}
	})
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); s.placer.run(ctx) }()
	defer func() { stop(); <-done }()
	relay := netip.MustParseAddr("10.7.0.1")
	seen := func(circuit string) {
		s.observeExchange(dhcp.Exchange{Time: noon, MAC: nicOne.Hardware(), Place: dhcp.Place{Relay: relay, Circuit: circuit}})
	}
	rack := func() string {
		m, err := s.c.Store.Machine(t.Context(), "SN1")
		require.NoError(t, err)
		return m.Rack
	}
	says := func(want string) {
		t.Helper()
		require.Eventually(t, func() bool {
			for _, e := range s.events() {
				if e.Message == want {
					return true
				}
			}
			return false
		}, 5*time.Second, 5*time.Millisecond, want)
	}
	seen("eth7") // nobody knows it yet
	create(t, s, inventory.Machine{Serial: "SN1", Source: inventory.Discovered, MACs: []inventory.MAC{nicOne}})
	require.Eventually(t, func() bool { seen("eth7"); return rack() == "r7" }, 5*time.Second, 5*time.Millisecond)
	says(`the machine is in rack r7 (relay 10.7.0.1, circuit "eth7", remote "")`)
	seen("po1")
	says(`the machine is recorded in rack r7, but its relay says r8 (relay 10.7.0.1, circuit "po1", remote "")`)
	require.Equal(t, "r7", rack(), "what is recorded stays")
	seen("vlan9")
}

func TestFullSubnetIsAnAlarmOfTheTimelineOnceAMinute(t *testing.T) {
	s := bare(t)
	alarms := func() (n int) {
		for _, e := range s.events() {
			if e.Kind == inventory.KindAlarm {
				require.Contains(t, e.Message, "subnet rack-7 has no free address")
				n++
			}
		}
		return n
	}
	full := dhcp.Exchange{Time: noon, MAC: nicOne.Hardware(), Err: fmt.Errorf("%w", &dhcp.ExhaustedError{Subnet: "rack-7",
		Pool: dhcp.Range{First: netip.MustParseAddr("10.7.0.2"), Last: netip.MustParseAddr("10.7.0.3")}})}
	for range 5 {
		s.observeExchange(full)
	}
	require.Equal(t, 1, alarms())
	full.Time = noon.Add(time.Minute)
	s.observeExchange(full)
	require.Equal(t, 1, alarms())
	require.InDelta(t, 6, s.counted(t, "loda_dhcp_exhausted_total"), 0)
}

func TestServerThatIsNotOursIsAnAlarmWithItsMAC(t *testing.T) {
	s := bare(t)
	hw, err := net.ParseMAC("52:54:00:00:00:66")
	require.NoError(t, err)
	s.observeRogue(dhcp.Rogue{Time: noon, Interface: "eth1", MAC: hw, Addr: netip.MustParseAddr("10.7.0.66")})
	es := s.events()
	require.Len(t, es, 1)
	require.Equal(t, inventory.KindAlarm, es[0].Kind)
	require.Contains(t, es[0].Message, "52:54:00:00:00:66")
	require.InDelta(t, 1, s.counted(t, "loda_dhcp_rogues_total"), 0)
}

func TestOtherServersAreExpectedWhereNotAllMachinesAreOurs(t *testing.T) {
	with := func(servers []netip.Addr, unknown ...dhcp.Unknown) bool {
		return bare(t, func(c *Config) {
			c.Servers = servers
			for _, u := range unknown {
				c.Subnets = append(c.Subnets, dhcp.Subnet{Unknown: u})
			}
		}).besideOthers()
	}
	require.True(t, with(nil, dhcp.UnknownLease, dhcp.UnknownIgnore))
	require.True(t, with(nil, ""))
	require.False(t, with(nil, dhcp.UnknownLease))
	require.False(t, with([]netip.Addr{netip.MustParseAddr("10.7.0.2")}, dhcp.UnknownIgnore), "then they are named")
}
