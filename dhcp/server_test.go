package dhcp

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func queued(t *testing.T, kind dhcpv4.MessageType, id byte) job {
	p, err := dhcpv4.New(dhcpv4.WithMessageType(kind), dhcpv4.WithTransactionID(dhcpv4.TransactionID{id}))
	require.NoError(t, err)
	return job{req: &Request{Packet: p}, kind: kind, mac: hwaddr{2, 0, 0, 0, 0, id}}
}

func TestFullQueueDropsTheOldestDiscoverFirst(t *testing.T) {
	discover, request := dhcpv4.MessageTypeDiscover, dhcpv4.MessageTypeRequest
	q := newQueue(3)
	for _, j := range []job{queued(t, request, 1), queued(t, discover, 2), queued(t, discover, 3)} {
		_, full := q.push(j)
		require.False(t, full)
	}
	for _, c := range []struct {
		kind          dhcpv4.MessageType
		id, wantsGone byte
	}{
		{request, 4, 2},  // the oldest DISCOVER
		{discover, 5, 3}, // again
		{request, 6, 5},  // again
		{discover, 7, 7}, // the newcomer is the only one
		{request, 8, 1},  // none left: the oldest
	} {
		dropped, full := q.push(queued(t, c.kind, c.id))
		require.True(t, full)
		require.Equal(t, c.wantsGone, dropped.req.Packet.TransactionID[0])
	}
	q.close()
	for _, id := range []byte{4, 6, 8} {
		j, ok := q.pop()
		require.True(t, ok, "what is queued is still worked on after close")
		require.Equal(t, id, j.req.Packet.TransactionID[0])
	}
	_, ok := q.pop()
	require.False(t, ok)
}

// exchanges runs work, sockets aside: each responder here stays silent.
func exchanges(t *testing.T, s *Server, req *Request) Exchange {
	t.Helper()
	s.Observe = func(Exchange) {}
	out := make(chan Exchange, 1)
	s.work(job{req: req}, out)
	return <-out
}

func discoverOf(t *testing.T) *Request {
	p, err := dhcpv4.NewDiscovery(alice)
	require.NoError(t, err)
	return &Request{Packet: p, Interface: "eth1", Time: time.Now()}
}

func TestReasonForSilenceReachesTheObserver(t *testing.T) {
	s := &Server{Responder: ResponderFunc(func(context.Context, *Request) (*dhcpv4.DHCPv4, error) {
		return nil, Ignored("it is not a machine of ours")
	})}
	e := exchanges(t, s, discoverOf(t))
	require.Equal(t, "OS sent DISCOVER, got no answer: it is not a machine of ours", e.String())
	require.NoError(t, e.Err)
	require.Equal(t, uint64(1), s.Stats().Ignored)
}

func TestPanickingResponderDoesNotEndTheServer(t *testing.T) {
	s := &Server{Responder: ResponderFunc(func(context.Context, *Request) (*dhcpv4.DHCPv4, error) { panic("boom") })}
	e := exchanges(t, s, discoverOf(t))
	require.ErrorContains(t, e.Err, "boom")
	require.Equal(t, uint64(1), s.Stats().Failed)
}

func TestEachRequestHasADeadlineThatCountsFromItsArrival(t *testing.T) {
	asked := 0
	s := &Server{Timeout: 50 * time.Millisecond, Responder: ResponderFunc(
		func(ctx context.Context, _ *Request) (*dhcpv4.DHCPv4, error) {
			asked++
			<-ctx.Done()
			return nil, ctx.Err()
		})}
	require.ErrorIs(t, exchanges(t, s, discoverOf(t)).Err, context.DeadlineExceeded)

	old := discoverOf(t)
	old.Time = time.Now().Add(-time.Second)
	require.Contains(t, exchanges(t, s, old).Reason, "overloaded")
	require.Equal(t, 1, asked, "nobody waits for that answer any more")
	require.Equal(t, uint64(1), s.Stats().Late)
}

func TestSlowObserverDoesNotBlockTheServer(t *testing.T) {
	s := &Server{Responder: ResponderFunc(func(context.Context, *Request) (*dhcpv4.DHCPv4, error) { return nil, nil })}
	s.Observe = func(Exchange) {}
	full := make(chan Exchange) // nobody receives
	done := make(chan struct{})
	go func() { defer close(done); s.work(job{req: discoverOf(t)}, full) }()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("blocked by its observer")
	}
	require.Equal(t, uint64(1), s.Stats().DroppedObservations)
}

func TestExhaustedPoolIsAnAlarmThatNamesTheSubnetAndDoesNotFloodTheLog(t *testing.T) {
	b := newBench(t, subnet(func(s *Subnet) { s.Pool.Last = s.Pool.First }))
	var out bytes.Buffer
	s := &Server{Log: slog.New(slog.NewTextHandler(&out, nil))}
	for range 5 {
		req := discoverOf(t)
		req.Local = gateway
		b.now = req.Time
		require.NoError(t, b.leases.SaveLease(t.Context(), Lease{MAC: bob, Addr: ip("10.7.0.2"), Subnet: "rack-7",
			GrantedAt: b.now, ExpiresAt: b.now.Add(time.Hour)}))
		b.restart(subnet(func(s *Subnet) { s.Pool.Last = s.Pool.First }))
		s.Responder = b.authority
		require.ErrorAs(t, exchanges(t, s, req).Err, new(*ExhaustedError))
	}
	require.Equal(t, 1, strings.Count(out.String(), "\n"), out.String())
	require.Contains(t, out.String(), "level=ERROR")
	require.Contains(t, out.String(), "ALARM")
	require.Contains(t, out.String(), "subnet=rack-7")
}

func TestServerThatCannotBeginSaysWhy(t *testing.T) {
	require.ErrorContains(t, (&Server{}).Serve(t.Context()), "no responder")
	require.ErrorContains(t, (&Server{Responder: ResponderFunc(nil)}).Serve(t.Context()), "call Listen")
	err := (&Server{Interfaces: []string{"nosuch0"}}).ListenAndServe(t.Context())
	require.ErrorContains(t, err, "nosuch0")
}

func TestManyMachinesAtOnceGetDifferentAddresses(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	seen := make(map[string]string)
	var wg sync.WaitGroup
	for i := range 250 {
		wg.Go(func() {
			mac := machine(i)
			req := func(kind dhcpv4.MessageType, change ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
				p, err := dhcpv4.New(append([]dhcpv4.Modifier{dhcpv4.WithHwAddr(mac), dhcpv4.WithMessageType(kind)}, change...)...)
				if err != nil {
					panic(err)
				}
				reply, err := b.authority.Respond(context.Background(),
					&Request{Packet: p, Local: gateway, Broadcast: true, Time: start})
				if err != nil {
					t.Error(err)
					return p
				}
				return reply
			}
			for range 2 { // impatient: asks twice
				req(dhcpv4.MessageTypeDiscover)
			}
			offer := req(dhcpv4.MessageTypeDiscover)
			ack := req(dhcpv4.MessageTypeRequest, asks(fromIP(offer.YourIPAddr)), names(gateway))
			mu.Lock()
			defer mu.Unlock()
			if ack.MessageType() != dhcpv4.MessageTypeAck {
				t.Errorf("machine %d got %s", i, ack.MessageType())
			} else if other, twice := seen[ack.YourIPAddr.String()]; twice {
				t.Errorf("%s and %s both got %s", other, mac, ack.YourIPAddr)
			}
			seen[ack.YourIPAddr.String()] = mac.String()
		})
	}
	wg.Wait()
	require.Len(t, seen, 250)
}
