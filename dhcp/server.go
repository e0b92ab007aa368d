package dhcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// Defaults of [Server].
const (
	DefaultWorkers = 128
	DefaultQueue   = 2048
	DefaultTimeout = 4 * time.Second
)

// A Server receives requests on one or several interfaces, has them answered by a [Responder], and sends the answers.
// Set the fields before the first call; only Responder is required.
//
// Every packet is answered or accounted for: see [Server.Stats] and Observe.
type Server struct {
	// Responder decides what is answered.
	Responder Responder
	// Interfaces are the names of the interfaces to serve. Empty means all that are up and have an IPv4 address,
	// loopback aside, when Listen is called.
	Interfaces []string
	// Ports are the UDP ports to listen on; empty means [ServerPort]. Add [PXEPort] for firmware that insists on it.
	Ports []uint16
	// Raw receives and sends by packet sockets, past the kernel's UDP. So a server can run on a host, and even on an
	// interface, where another program has the port and does not share it. Firewall rules on the host do not see what is
	// received that way, and VLANs of a trunk are left to their own interfaces.
	Raw bool
	// Workers is how many requests are worked on at a time; 0 means [DefaultWorkers]. Most of them wait: for the lease
	// store, whose disk serves many at once, or for a slow [Booter]. What one machine sends is worked on in its order.
	Workers int
	// Queue is how many requests wait for a worker at most; 0 means [DefaultQueue]. Others go before DHCPDISCOVERs. When
	// it is full the oldest DHCPDISCOVER is dropped: its client will ask again, whereas a lost DHCPREQUEST costs a
	// machine its boot.
	Queue int
	// Timeout is how long a request may wait and be worked on in total; 0 means [DefaultTimeout]. An answer that comes
	// later than a client's patience only makes work.
	Timeout time.Duration
	// Observe, if set, is told of every exchange, one at a time and in the order in which they ended. It is called from
	// a goroutine of its own and may be slow: what cannot be buffered is dropped and counted in [Stats].
	Observe func(Exchange)
	// Log is where failures go; nil means slog.Default(). Silence on purpose is logged at debug level.
	Log *slog.Logger

	mu      sync.Mutex
	links   []*link
	serving bool

	deferred atomic.Int64 // answers that wait, and
	waiting  sync.WaitGroup

	stats [statCount]atomic.Uint64

	patient sync.Mutex
	shared  context.Context // ends at until; see patience
	until   time.Time
	end     context.CancelFunc // of the latest; those before end by themselves

	saying sync.Mutex
	said   map[string]time.Time
	toldAt int64 // a second, and how many dropped requests were told of in it
	told   int
}

// mayRepeat reports whether a message that a storm would repeat for each packet may be logged again.
func (s *Server) mayRepeat(what string, now time.Time) bool {
	const pause = 10 * time.Second
	s.saying.Lock()
	defer s.saying.Unlock()
	if last, ok := s.said[what]; ok && now.Sub(last) < pause {
		return false
	}
	const most = 1000
	if s.said == nil || len(s.said) >= most {
		s.said = make(map[string]time.Time)
	}
	s.said[what] = now
	return true
}

// Stats counts packets since the server was made.
type Stats struct {
	Received  uint64 // packets read from a socket
	Malformed uint64 // of these: not DHCP
	Answered  uint64 // replies sent
	Ignored   uint64 // silence on purpose
	Failed    uint64 // the responder or the sending failed
	Late      uint64 // given up because of Timeout before a worker got to them

	DroppedDiscovers    uint64 // queue full: DHCPDISCOVERs
	DroppedOthers       uint64 // queue full: other messages, when there was no DHCPDISCOVER to drop
	DroppedObservations uint64 // Observe was too slow
}

const (
	received = iota
	malformed
	answered
	ignored
	failed
	late
	droppedDiscovers
	droppedOthers
	droppedObservations
	statCount
)

// Stats returns what was counted so far. It may be called at any time.
func (s *Server) Stats() Stats {
	n := func(i int) uint64 { return s.stats[i].Load() }
	return Stats{
		Received: n(received), Malformed: n(malformed), Answered: n(answered), Ignored: n(ignored), Failed: n(failed),
		Late: n(late), DroppedDiscovers: n(droppedDiscovers), DroppedOthers: n(droppedOthers),
		DroppedObservations: n(droppedObservations),
	}
}

func (s *Server) count(what int) { s.stats[what].Add(1) }

func (s *Server) log() *slog.Logger {
	if s.Log != nil {
		return s.Log
	}
	return slog.Default()
}

// ListenAndServe calls [Server.Listen] and [Server.Serve].
func (s *Server) ListenAndServe(ctx context.Context) error {
	if err := s.Listen(); err != nil {
		return err
	}
	return s.Serve(ctx)
}

// Listen opens the sockets, so that a program learns at once that it may not, or that an interface does not exist. From
// then on packets wait in the kernel for Serve. Call [Server.Close] if Serve will not be called.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.links != nil {
		return errors.New("dhcp: the server is listening already")
	}
	names := s.Interfaces
	if len(names) == 0 {
		var err error
		if names, err = usableInterfaces(); err != nil {
			return fmt.Errorf("dhcp: %w", err)
		}
	}
	ports := s.Ports
	if len(ports) == 0 {
		ports = []uint16{ServerPort}
	}
	var links []*link
	for _, name := range names {
		for _, port := range ports {
			l, err := openLink(name, port, s.Raw)
			if err != nil {
				for _, l := range links {
					l.close()
				}
				return fmt.Errorf("dhcp: listen on interface %s, port %d: %w", name, port, err)
			}
			links = append(links, l)
		}
	}
	s.links = links
	return nil
}

// Close closes the sockets. A running Serve does that by itself when it ends.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.links {
		l.close()
	}
	s.links = nil
	return nil
}

func usableInterfaces() ([]string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("list the interfaces: %w", err)
	}
	var names []string
	for _, ifi := range all {
		if ifi.Flags&net.FlagUp == 0 || ifi.Flags&net.FlagLoopback != 0 || ifi.Flags&net.FlagBroadcast == 0 {
			continue
		}
		if addrs, err := prefixesOf(&ifi); err == nil && len(addrs) > 0 {
			names = append(names, ifi.Name)
		}
	}
	if names == nil {
		return nil, errors.New("no interface is up and has an IPv4 address; name the interfaces to serve")
	}
	return names, nil
}

// Serve answers requests until ctx ends. It then stops reading, finishes what is being worked on, waits for all of its
// goroutines, closes the sockets and returns nil. It returns an error only if it could not begin.
func (s *Server) Serve(ctx context.Context) error {
	s.mu.Lock()
	links := s.links
	switch {
	case s.Responder == nil:
		s.mu.Unlock()
		return errors.New("dhcp: the server has no responder")
	case links == nil:
		s.mu.Unlock()
		return errors.New("dhcp: the server is not listening; call Listen or ListenAndServe")
	case s.serving:
		s.mu.Unlock()
		return errors.New("dhcp: the server is serving already")
	}
	s.serving = true
	s.mu.Unlock()

	q := newQueue(positive(s.Queue, DefaultQueue))
	observations := make(chan Exchange, 4*positive(s.Queue, DefaultQueue))
	q.lost = func(j job) { s.dropped(j, observations) }
	var readers, workers, observer sync.WaitGroup

	observer.Go(func() {
		for e := range observations {
			s.Observe(e)
		}
	})
	for range positive(s.Workers, DefaultWorkers) {
		workers.Go(func() {
			for {
				job, ok := q.pop()
				if !ok {
					return
				}
				s.work(job, observations)
				q.done(job.mac)
			}
		})
	}
	for _, l := range links {
		readers.Go(func() { s.read(ctx, l, q, observations) })
	}

	<-ctx.Done()
	for _, l := range links {
		l.stop()
	}
	readers.Wait()
	q.close()
	workers.Wait()
	s.waiting.Wait()
	close(observations)
	observer.Wait()

	s.patient.Lock()
	if s.end != nil {
		s.end()
	}
	s.shared, s.end = nil, nil
	s.patient.Unlock()
	s.mu.Lock()
	s.serving = false
	s.mu.Unlock()
	return s.Close()
}

func positive(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

// read receives from one link until ctx ends. An interface that goes away is waited for.
func (s *Server) read(ctx context.Context, l *link, q *queue, observations chan<- Exchange) {
	const pause = time.Second
	for ctx.Err() == nil {
		err := l.receive(func(req *Request, data []byte) { s.admit(req, data, l, q, observations) })
		if err == nil {
			continue
		}
		if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
			return
		}
		s.log().Warn("dhcp: cannot receive, will reopen", "interface", l.name, "port", l.port, "err", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
		if err := l.reopen(); err != nil && ctx.Err() == nil {
			s.log().Warn("dhcp: cannot reopen", "interface", l.name, "port", l.port, "err", err)
		}
	}
}

// admit puts a packet into the queue. It keeps data.
func (s *Server) admit(req *Request, data []byte, l *link, q *queue, observations chan<- Exchange) {
	s.count(received)
	j := job{req: req, data: data, link: l}
	var ok bool
	if j.kind, j.mac, ok = peek(data); !ok && !s.parse(&j) {
		return
	}
	dropped, full := q.push(j)
	if !full {
		return
	}
	s.dropped(dropped, observations)
	if s.mayRepeat("queue", req.Time) {
		s.log().Warn("dhcp: more requests than can be answered, dropping some", "queued", positive(s.Queue, DefaultQueue),
			"dropped_discovers", s.stats[droppedDiscovers].Load(), "dropped_others", s.stats[droppedOthers].Load())
	}
}

// parse makes a packet of the bytes.
func (s *Server) parse(j *job) bool {
	if j.req.Packet != nil {
		return true
	}
	packet, err := dhcpv4.FromBytes(j.data)
	if err != nil {
		s.count(malformed)
		s.log().Debug("dhcp: not a DHCP packet", "interface", j.req.Interface, "peer", j.req.Peer, "err", err)
		return false
	}
	j.req.Packet, j.data = packet, nil
	return true
}

// maxDropsTold bounds how many dropped requests Observe is told of in a second: in a storm there are many times as many
// as can be answered, and to tell of them must not cost what answering them would.
const maxDropsTold = 500

// dropped accounts for a request that had to go.
func (s *Server) dropped(j job, observations chan<- Exchange) {
	if j.kind == dhcpv4.MessageTypeDiscover {
		s.count(droppedDiscovers)
	} else {
		s.count(droppedOthers)
	}
	if s.Observe == nil {
		return
	}
	second := j.req.Time.Unix()
	s.saying.Lock()
	if s.toldAt != second {
		s.toldAt, s.told = second, 0
	}
	s.told++
	quiet := s.told > maxDropsTold
	s.saying.Unlock()
	if quiet {
		s.count(droppedObservations)
		return
	}
	if !s.parse(&j) {
		return
	}
	e := newExchange(j.req)
	e.Reason = "dropped, as too many others were waiting; the server is overloaded"
	s.observe(e, observations)
}

// work answers one request.
func (s *Server) work(j job, observations chan<- Exchange) {
	if !s.parse(&j) {
		return
	}
	req := j.req
	e := newExchange(req)
	timeout := s.Timeout
	if timeout <= 0 {
		timeout = DefaultTimeout
	}
	deadline := req.Time.Add(timeout)
	if !time.Now().Before(deadline) {
		s.count(late)
		e.Reason = "it waited too long for a worker; the server is overloaded"
		s.observe(e, observations)
		return
	}
	ctx := s.patience(deadline, timeout)
	reply, err := s.guard(func() (*dhcpv4.DHCPv4, error) { return s.Responder.Respond(ctx, req) })
	var later *Deferred
	if err == nil || !errors.As(err, &later) {
		s.finish(j, e, reply, err, observations)
		return
	}
	if s.deferred.Add(1) > maxDeferred {
		s.deferred.Add(-1)
		s.count(late)
		e.Reason = "too many others wait for their answer; the server is overloaded"
		s.observe(e, observations)
		return
	}
	s.waiting.Go(func() {
		reply, err := s.guard(func() (*dhcpv4.DHCPv4, error) { return later.Finish(ctx) })
		s.finish(j, e, reply, err, observations)
		s.deferred.Add(-1)
	})
}

// finish sends what a request is answered with, and tells the observer.
func (s *Server) finish(j job, e Exchange, reply *dhcpv4.DHCPv4, err error, observations chan<- Exchange) {
	req := j.req
	log := func() *slog.Logger {
		return s.log().With("interface", e.Interface, "mac", e.MAC.String(), "asked", e.Asked.String())
	}
	defer func() { s.observe(e, observations) }()
	e.Reason = req.Reason
	if err != nil {
		var on Ignored
		if errors.As(err, &on) {
			s.count(ignored)
			e.Reason = string(on)
			if s.log().Enabled(context.Background(), slog.LevelDebug) {
				log().Debug("dhcp: ignored", "reason", e.Reason)
			}
			return
		}
		s.count(failed)
		e.Err, e.Reason = err, err.Error()
		var full *ExhaustedError
		if errors.As(err, &full) {
			if s.mayRepeat("exhausted "+full.Subnet, req.Time) {
				log().Error("dhcp: ALARM: address pool exhausted", "subnet", full.Subnet, "err", err)
			}
			return
		}
		var unstored *UnstoredError
		if errors.As(err, &unstored) {
			if s.mayRepeat("unstored", req.Time) {
				log().Error("dhcp: ALARM: leases cannot be stored, machines get no addresses until they can", "err", err)
			}
			return
		}
		if s.mayRepeat("failed "+causeOf(err), req.Time) {
			log().Error("dhcp: cannot answer, and perhaps not others, either", "err", err)
		}
		return
	}
	if reply == nil {
		s.count(ignored)
		return
	}

	e.To = DestinationOf(req, reply)
	if err := j.link.send(reply.ToBytes(), req.Local, e.To); err != nil {
		s.count(failed)
		e.Err = fmt.Errorf("dhcp: send %s to %s: %w", reply.MessageType(), e.To.Addr, err)
		e.Reason = e.Err.Error()
		log().Error("dhcp: cannot send", "answer", reply.MessageType().String(), "to", e.To.Addr, "err", err)
		return
	}
	s.count(answered)
	e.Reply, e.Answered = reply, reply.MessageType()
	if given := fromIP(reply.YourIPAddr); given.IsValid() {
		e.Addr = given
	}
	if e.BootFile = reply.BootFileNameOption(); e.BootFile == "" {
		e.BootFile = reply.BootFileName
	}
}

// patience returns a context that ends at the deadline, or up to a 64th of the timeout later: requests of the same moment
// share one, as in a storm a timer for each costs more than their parsing. It is not derived from Serve's context: what
// is being answered when the server stops is still answered.
func (s *Server) patience(deadline time.Time, timeout time.Duration) context.Context {
	slice := max(timeout/64, 1)
	s.patient.Lock()
	defer s.patient.Unlock()
	if left := s.until.Sub(deadline); s.shared == nil || left < 0 || left > slice {
		s.until = deadline.Add(slice)
		s.shared, s.end = context.WithDeadline(context.Background(), s.until)
	}
	return s.shared
}

// causeOf is the text of the innermost error, which is the same for all machines that are hit by it.
func causeOf(err error) string {
	for {
		inner := errors.Unwrap(err)
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// newExchange is what is known of an exchange before it is answered.
func newExchange(req *Request) Exchange {
	p := req.Packet
	return Exchange{
		Time: req.Time, Interface: req.Interface, MAC: p.ClientHWAddr,
		UUID:  uuid(p.Options.Get(dhcpv4.OptionClientMachineIdentifier)),
		Asked: p.MessageType(), Stage: stageOf(p), Relay: fromIP(p.GatewayIPAddr), Place: PlaceOf(p),
		Addr:    firstValid(fromIP(p.Options.Get(dhcpv4.OptionRequestedIPAddress)), fromIP(p.ClientIPAddr)),
		Request: p,
	}
}

// observe hands an exchange that has ended to Observe, without ever waiting for it.
func (s *Server) observe(e Exchange, observations chan<- Exchange) {
	if s.Observe == nil {
		return
	}
	e.Duration = time.Since(e.Time)
	select {
	case observations <- e:
	default:
		s.count(droppedObservations)
	}
}

// guard calls the responder and survives it.
func (s *Server) guard(call func() (*dhcpv4.DHCPv4, error)) (reply *dhcpv4.DHCPv4, err error) {
	defer func() {
		if p := recover(); p != nil {
			reply, err = nil, fmt.Errorf("dhcp: the responder panicked: %v\n%s", p, debug.Stack())
		}
	}()
	return call()
}

func firstValid(as ...netip.Addr) netip.Addr {
	for _, a := range as {
		if a.IsValid() {
			return a
		}
	}
	return netip.Addr{}
}
