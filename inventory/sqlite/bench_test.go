package sqlite_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
)

func benchLease(i int) dhcp.Lease {
	now := time.Now()
	return dhcp.Lease{MAC: net.HardwareAddr{2, 0, 0, byte(i >> 16), byte(i >> 8), byte(i)}, Subnet: "rack",
		Addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), Hostname: "node", GrantedAt: now,
		ExpiresAt: now.Add(time.Hour)}
}

// share calls f b.N times from that many goroutines.
func share(b *testing.B, callers int, f func(i int) error) {
	b.Helper()
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range callers {
		wg.Go(func() {
			for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
				if err := f(int(i)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

// A rack that powers on: the figure that decides how long 250 machines wait for their ACKs.
func BenchmarkSaveLease(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b)
			share(b, callers, func(i int) error { return s.SaveLease(context.Background(), benchLease(i%5000)) })
		})
	}
}

func BenchmarkAppendEvents(b *testing.B) {
	for _, callers := range []int{1, 16, 128} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b)
			share(b, callers, func(i int) error {
				return s.AppendEvents(context.Background(), inventory.Event{
					Serial: inventory.Serial(fmt.Sprintf("SN%04d", i%1000)), MAC: "52:54:00:12:34:56", Installation: "i1",
					Kind: inventory.KindLog, Message: "a line of a log of usual length, such as the kernel prints",
					Data: []byte(`{"bytes":1048576,"seconds":0.25}`)})
			})
		})
	}
}

func BenchmarkUpdateInstallation(b *testing.B) {
	s := open(b)
	require.NoError(b, s.CreateMachines(b.Context(), []inventory.Machine{{Serial: "SN0001"}}))
	require.NoError(b, s.CreateInstallation(b.Context(),
		inventory.Installation{ID: "i1", Serial: "SN0001", State: inventory.Queued}))
	share(b, 16, func(i int) error {
		change := func(i *inventory.Installation) ([]inventory.Event, error) { i.Progress += 0.0001; return nil, nil }
		_, err := s.UpdateInstallation(context.Background(), "i1", change)
		return err
	})
}

// The portal's list on a large site.
func BenchmarkMachines100k(b *testing.B) {
	s := open(b)
	const n = 100_000
	facts := make([]byte, 8<<10)
	for i := range facts {
		facts[i] = ' '
	}
	facts[0], facts[len(facts)-1] = '[', ']'
	started := time.Now()
	for first := 0; first < n; first += 10_000 {
		var ms []inventory.Machine
		for i := first; i < first+10_000; i++ {
			ms = append(ms, inventory.Machine{Serial: inventory.Serial(fmt.Sprintf("SN%06d", i)),
				Name: fmt.Sprintf("node-%d", i), Profile: fmt.Sprintf("p%d", i%20), Rack: fmt.Sprintf("r%d", i%2000),
				Vendor: "Dell Inc.", Product: "PowerEdge R650",
				MACs:  []inventory.MAC{inventory.MAC(fmt.Sprintf("52:54:00:%02x:%02x:%02x", i>>16, i>>8&255, i&255))},
				Facts: facts})
		}
		require.NoError(b, s.CreateMachines(b.Context(), ms))
	}
	b.Logf("import of %d machines in tens of thousands: %s", n, time.Since(started).Round(time.Millisecond))
	for name, f := range map[string]inventory.MachineFilter{
		"first page":         {},
		"page in the middle": {After: "SN050000"},
		"a rack":             {Rack: "r1234"},
		"a profile":          {Profile: "p7", After: "SN050000"},
		"query, one hit":     {Query: "node-77777"},
		"query, no hit":      {Query: "no such machine"},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := s.Machines(b.Context(), f)
				require.NoError(b, err)
			}
		})
	}
	b.Run("machine by MAC", func(b *testing.B) {
		for b.Loop() {
			_, err := s.MachineByMAC(b.Context(), "52:54:00:01:11:70")
			require.NoError(b, err)
		}
	})
}

// A machine's timeline on a site that has collected events for a long time.
func BenchmarkTimelineOfAMillion(b *testing.B) {
	s := open(b)
	const n, machines = 1_000_000, 500
	for first := 0; first < n; first += 10_000 {
		events := make([]inventory.Event, 10_000)
		for i := range events {
			k := (first + i) % machines
			events[i] = inventory.Event{Serial: inventory.Serial(fmt.Sprintf("SN%04d", k)), Kind: inventory.KindLog,
				MAC: inventory.MAC(fmt.Sprintf("52:54:00:00:%02x:%02x", k>>8, k&255)), Message: "a line of a log"}
			if (first+i)%100_000 == 0 {
				events[i].Kind = inventory.KindAlarm
			}
		}
		require.NoError(b, s.AppendEvents(b.Context(), events...))
	}
	macs := []inventory.MAC{"52:54:00:00:00:07", "52:54:00:00:00:08"}
	for name, f := range map[string]inventory.EventFilter{
		"first page of a machine":  {Serial: "SN0007", MACs: macs},
		"latest page of a machine": {Serial: "SN0007", MACs: macs, Latest: true},
		"latest page of the site":  {Latest: true},
		"alarms":                   {Kinds: []inventory.Kind{inventory.KindAlarm, inventory.KindAudit}, Latest: true},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				_, err := s.Events(b.Context(), f)
				require.NoError(b, err)
			}
		})
	}
}
