package pxe

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// TFTPServer hands out files by TFTP (RFC 1350), read-only, with the options blksize (RFC 2348), tsize and timeout
// (RFC 2349) and windowsize (RFC 7440). Set the fields, then call ListenAndServe. The fields must not change after that.
//
// Requests are read by one goroutine that does nothing else; what takes time (a slow disk, a slow inventory behind
// Choose) delays one client. Packets that are no requests, requests to broadcast addresses (RFC 1123, section 4.2.3.5)
// and repeated requests of a transfer that is under way are not answered.
//
// The sender is this package's own. That of github.com/pin/tftp/v3, whose client [Fetch] is, drops windowsize and timeout,
// opens a socket before anyone can refuse, starts a second transfer where a client repeats its request, and does not tell
// what was sent again.
type TFTPServer struct {
	// Addr is the UDP address to listen on; empty means ":69". It is IPv4 unless it is an IPv6 address.
	Addr string
	// Files are what is served. It is required.
	Files *Files
	// Choose, if not nil, says which of Files a client gets for what it asked: it is the place for a site that knows
	// machines by their address. It is asked in a goroutine of the transfer's own and has 5 seconds; the client's repeated
	// requests meanwhile are ignored. [fs.ErrNotExist] is told to the client as such, other errors without their text.
	Choose func(ctx context.Context, r TFTPRequest) (name string, err error)
	// GRUB, if not nil, answers the GRUB of a signed boot chain: the names grub/grub.cfg and grub/ask;...
	GRUB *GRUB
	// Artifacts, if not nil, are the files of the names artifacts/..., which GRUB fetches by TFTP.
	Artifacts *Files
	// BlockSize is the largest block size that a client gets, 513 to 65464; 0 means 1450, which survives most
	// tunnels. Set 1400 under deeper overlays. It is clamped to the interface's MTU in any case: PXE ROMs do not put
	// fragments together. A client that asks for less than 512 gets 512, as if it had not asked (RFC 2347).
	BlockSize int
	// WindowSize is how many blocks at most a client may let come before it acknowledges, 1 to 65535; 0 means 32.
	WindowSize int
	// MaxTransfers is how many transfers run at the same time; 0 means 512. As many again wait for up to ten seconds
	// until it is their turn; more are refused.
	MaxTransfers int
	// MaxPerClient is how many transfers of one address run or wait at the same time; 0 means 128, which leaves room
	// for virtual machines behind one address. Further requests are left unanswered: clients repeat them.
	MaxPerClient int
	// TransferTimeout bounds one transfer; 0 means 5 minutes. A client that falls silent ends it after 20 seconds.
	TransferTimeout time.Duration
	// Observe, if not nil, is told of every finished transfer, as in [Handler.Observe].
	Observe func(Transfer)
	// Logger gets what an operator should see; nil means [slog.Default].
	Logger *slog.Logger

	timeout time.Duration // the longest wait for one acknowledgement; 0 means tftpTimeout
}

const (
	defaultBlockSize    = 1450
	defaultWindowSize   = 32
	defaultTransfers    = 512
	defaultPerClient    = 128
	defaultTransferTime = 5 * time.Minute
	chooseTime          = 5 * time.Second
	// A window is sent until the client has been silent for tftpTries times tftpTimeout. Machines on a rack's network
	// answer in milliseconds; what matters is that a lost packet costs little and that one who left does not keep a slot.
	tftpTimeout = time.Second
	tftpTries   = 20
	queueTime   = 10 * time.Second
)

// ListenAndServe listens on Addr and serves until ctx is done. It then ends running transfers, waits for them and returns
// nil.
func (s *TFTPServer) ListenAndServe(ctx context.Context) error {
	addr := s.Addr
	if addr == "" {
		addr = ":69"
	}
	network := "udp4"
	if host, _, err := net.SplitHostPort(addr); err == nil {
		if ip, err := netip.ParseAddr(host); err == nil && ip.Is6() {
			network = "udp6"
		}
	}
	conn, err := new(net.ListenConfig).ListenPacket(ctx, network, addr)
	if err != nil {
		return fmt.Errorf("listening for TFTP: %w", err)
	}
	return s.Serve(ctx, conn.(*net.UDPConn))
}

// Serve is ListenAndServe for a socket that is open already. It closes conn.
func (s *TFTPServer) Serve(ctx context.Context, conn *net.UDPConn) error {
	r := &tftpRun{TFTPServer: s, conn: conn, log: s.Logger, active: make(map[netip.AddrPort]*tftpTransfer),
		perClient: make(map[netip.Addr]int), limits: *s}
	if err := r.limits.setDefaults(); err != nil {
		_ = conn.Close()
		return err
	}
	if r.log == nil {
		r.log = slog.Default()
	}
	r.slots = make(chan struct{}, r.limits.MaxTransfers)
	// Room for the requests of a storm while the reader waits for its turn on a CPU.
	_ = conn.SetReadBuffer(1 << 20)
	if err := r.askForDestinations(); err != nil {
		r.log.Debug("TFTP answers go out from the address that routing chooses", "err", err)
	}
	// A loop keeps one CPU busy; the other half is for the rest of the server.
	for range min(max(runtime.GOMAXPROCS(0)/2, 1), 8) {
		loop, err := newTFTPLoop()
		if err != nil {
			r.log.Debug("TFTP transfers run without a loop, which is slower", "err", err)
			break
		}
		defer loop.close()
		r.loops = append(r.loops, loop)
	}
	var stop context.CancelFunc
	r.ctx, stop = context.WithCancel(ctx)
	unblock := context.AfterFunc(r.ctx, func() { _ = conn.Close() })
	defer unblock()

	err := r.receive()
	if ctx.Err() != nil {
		err = nil
	}
	stop()
	_ = conn.Close()
	r.transfers.Wait()
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = r.observations.flush(flush)
	return err
}

func (s *TFTPServer) setDefaults() error {
	or := func(n *int, value int) {
		if *n <= 0 {
			*n = value
		}
	}
	if s.BlockSize == 0 {
		s.BlockSize = defaultBlockSize
	}
	if s.BlockSize <= tftpDefaultBlock || s.BlockSize > tftpMaxBlock {
		return fmt.Errorf("TFTP block size %d is outside 513 to 65464", s.BlockSize)
	}
	if s.WindowSize < 0 || s.WindowSize > 65535 {
		return fmt.Errorf("TFTP window size %d is outside 1 to 65535", s.WindowSize)
	}
	or(&s.WindowSize, defaultWindowSize)
	or(&s.MaxTransfers, defaultTransfers)
	or(&s.MaxPerClient, defaultPerClient)
	if s.TransferTimeout <= 0 {
		s.TransferTimeout = defaultTransferTime
	}
	if s.timeout <= 0 {
		s.timeout = tftpTimeout
	}
	return nil
}

// A tftpRun is a TFTPServer that is serving.
type tftpRun struct {
	*TFTPServer
	limits       TFTPServer // with defaults
	conn         *net.UDPConn
	ctx          context.Context // of Serve: transfers end with it
	log          *slog.Logger
	slots        chan struct{}
	transfers    sync.WaitGroup
	observations observations
	links        links // used by the receiving goroutine only
	held         held
	loops        []*tftpLoop
	turn         atomic.Uint32

	mu        sync.Mutex
	active    map[netip.AddrPort]*tftpTransfer
	perClient map[netip.Addr]int
	ignored   time.Time // when a client at its limit was last written of
}

// A tftpTransfer is a request that runs or waits.
type tftpTransfer struct {
	TFTPRequest
	link    link
	started atomic.Bool // the client has answered something
	ctx     context.Context
	cancel  context.CancelCauseFunc
}

func (r *tftpRun) askForDestinations() error {
	if r.six() {
		return ipv6.NewPacketConn(r.conn).SetControlMessage(ipv6.FlagDst|ipv6.FlagInterface, true)
	}
	return ipv4.NewPacketConn(r.conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true)
}

func (r *tftpRun) six() bool { return r.conn.LocalAddr().(*net.UDPAddr).IP.To4() == nil }

// receive reads requests until the socket is closed. Nothing in it waits for anything else.
func (r *tftpRun) receive() error {
	buffer, oob := make([]byte, maxTFTPRequest+1), make([]byte, 128)
	for failures := 0; ; {
		n, oobn, _, client, err := r.conn.ReadMsgUDPAddrPort(buffer, oob)
		if errors.Is(err, net.ErrClosed) {
			return err
		}
		if err != nil {
			// Too little memory, or an interface that went away: neither is a reason to stop serving the others.
			if failures++; failures > 100 {
				return fmt.Errorf("reading TFTP requests: %w", err)
			}
			select {
			case <-time.After(10 * time.Millisecond):
				continue
			case <-r.ctx.Done():
				return nil
			}
		}
		failures = 0
		local, index := destination(oob[:oobn], r.six())
		r.request(buffer[:n], netip.AddrPortFrom(client.Addr().Unmap(), client.Port()), local, index)
	}
}

// destination reads where a packet was sent to and how it came.
func destination(oob []byte, six bool) (netip.Addr, int) {
	var ip net.IP
	var index int
	if six {
		var m ipv6.ControlMessage
		if m.Parse(oob) == nil {
			ip, index = m.Dst, m.IfIndex
		}
	} else {
		var m ipv4.ControlMessage
		if m.Parse(oob) == nil {
			ip, index = m.Dst, m.IfIndex
		}
	}
	addr, _ := netip.AddrFromSlice(ip)
	return addr.Unmap(), index
}

// request decides what becomes of one packet.
func (r *tftpRun) request(packet []byte, client netip.AddrPort, local netip.Addr, index int) {
	if !client.IsValid() || client.Port() == 0 {
		return
	}
	link := r.links.get(index, time.Now())
	if local.IsMulticast() || local == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || link.broadcast[local] {
		return
	}
	op, request, err := parseTFTPRequest(packet)
	if op == tftpWRQ {
		r.log.Warn("TFTP client wants to write a file, which nobody may", "client", client, "file", request.Path)
		r.answer(client, local, tftpErrorPacket(tftpCodeDenied, "the server does not support write requests"))
		return
	}
	if err != nil {
		r.log.Debug("TFTP packet ignored", "client", client, "err", err)
		return
	}
	request.Client, request.Local, request.Interface = client, local, link.name

	t := &tftpTransfer{TFTPRequest: request, link: link}
	switch r.admit(t) {
	case admitted:
		go r.serve(t)
	case refused:
		r.finish(Transfer{Path: request.Path, Start: time.Now()}, t,
			fmt.Errorf("%d transfers run and as many wait", r.limits.MaxTransfers))
		r.answer(client, local, tftpErrorPacket(tftpCodeOther, "the server is busy"))
	}
}

type admission int

const (
	ignored admission = iota
	admitted
	refused
)

func (r *tftpRun) admit(t *tftpTransfer) admission {
	r.mu.Lock()
	defer r.mu.Unlock()
	if old := r.active[t.Client]; old != nil {
		if !old.started.Load() && old.Path == t.Path {
			// The client repeats itself: our answer is under way, or is sent again by a timer.
			return ignored
		}
		// It has given up what ran, and begins anew from the same port.
		old.cancel(errTFTPReplaced)
	} else if len(r.active) >= 2*r.limits.MaxTransfers {
		return refused
	}
	addr := t.Client.Addr()
	if r.perClient[addr] >= r.limits.MaxPerClient {
		if now := time.Now(); now.Sub(r.ignored) > time.Second {
			r.ignored = now
			r.log.Warn("TFTP client has as many transfers as it may, its request is not answered", "client", addr,
				"transfers", r.limits.MaxPerClient)
		}
		return ignored
	}
	r.active[t.Client] = t
	r.perClient[addr]++
	r.transfers.Add(1)
	t.ctx, t.cancel = context.WithCancelCause(r.ctx)
	return admitted
}

var errTFTPReplaced = errors.New("the client began anew")

func (r *tftpRun) leave(t *tftpTransfer) {
	t.cancel(nil)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.active[t.Client] == t {
		delete(r.active, t.Client)
	}
	addr := t.Client.Addr()
	if r.perClient[addr]--; r.perClient[addr] <= 0 {
		delete(r.perClient, addr)
	}
	r.transfers.Done()
}

// answer sends a packet from the server's port and the address that was asked. Who gets it must not rely on it.
func (r *tftpRun) answer(client netip.AddrPort, local netip.Addr, packet []byte) {
	var oob []byte
	switch {
	case local.Is4():
		oob = (&ipv4.ControlMessage{Src: local.AsSlice()}).Marshal()
	case local.Is6():
		oob = (&ipv6.ControlMessage{Src: local.AsSlice()}).Marshal()
	}
	if _, _, err := r.conn.WriteMsgUDPAddrPort(packet, oob, client); err != nil {
		r.log.Debug("TFTP client cannot be answered", "client", client, "err", err)
	}
}

// serve is one transfer, in a goroutine of its own.
func (r *tftpRun) serve(t *tftpTransfer) {
	defer r.leave(t)
	seen := Transfer{Path: t.Path, Size: -1, Start: time.Now()}
	code, text, err := r.transfer(t, &seen)
	if text != "" {
		r.answer(t.Client, t.Local, tftpErrorPacket(code, text))
	}
	r.finish(seen, t, err)
}

// finish tells of a transfer that is over.
func (r *tftpRun) finish(seen Transfer, t *tftpTransfer, err error) {
	seen.Protocol, seen.Client, seen.Duration = "tftp", t.Client.Addr(), time.Since(seen.Start)
	var peer *errTFTPPeer
	switch {
	case errors.As(err, &peer), errors.Is(err, errTFTPReplaced):
		seen.Aborted = true
	default:
		seen.Err = err
	}
	r.note(seen)
	if r.Observe != nil {
		r.observations.add(r.Observe, r.log, seen)
	}
}

// transfer fills in seen. It returns what the client is to be told from the server's port, if anything, and what went
// wrong.
func (r *tftpRun) transfer(t *tftpTransfer, seen *Transfer) (code uint16, text string, err error) {
	name := t.Path
	if r.Choose != nil {
		ctx, cancel := context.WithTimeoutCause(t.ctx, chooseTime, fmt.Errorf("no answer within %v", chooseTime))
		name, err = r.Choose(ctx, t.TFTPRequest)
		cancel()
	}
	var file *os.File // nil: a text that was made for this client
	var info fs.FileInfo
	var source io.ReaderAt
	var size int64
	switch {
	case err != nil:
	case r.GRUB.answers(name):
		seen.Path, _, _ = strings.Cut(name, ";") // as for HTTP, without what the machine says of itself
		var made string
		if made, err = r.GRUB.answer(t.ctx, name, t.Client.Addr(), t.Local); err == nil {
			source, size = strings.NewReader(made), int64(len(made))
		}
	default:
		if file, info, err = r.open(name); err == nil {
			defer file.Close()
			source, size = file, info.Size()
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return tftpCodeNotFound, "file not found", err
	case err != nil:
		return tftpCodeOther, "the server cannot read the file now", err
	}
	release, err := r.slot(t.ctx)
	if err != nil {
		return tftpCodeOther, "the server is busy", err
	}
	defer release()
	if t.netascii {
		source, size, err = netascii(source, size)
		if err != nil {
			return tftpCodeIllegal, "the server sends this file in mode octet only", err
		}
	}
	seen.Size = size
	ctx, cancel := context.WithTimeoutCause(t.ctx, r.limits.TransferTimeout,
		fmt.Errorf("the transfer took longer than %v", r.limits.TransferTimeout))
	defer cancel()
	sender := &tftpSender{file: source, size: size, terms: t.negotiate(size, r.blockSize(t), r.limits.WindowSize),
		giveUp: tftpTries * r.limits.timeout, started: &t.started}
	// A client may be patient for longer than it is waited for.
	sender.waits.most = max(r.limits.timeout, min(sender.terms.timeout, sender.giveUp/4))
	sender.waits.least = min(tftpLeastWait, sender.waits.most)
	err = r.drive(ctx, t, sender, name, file, info)
	seen.Bytes, seen.Retransmits = sender.sent, sender.retransmits
	seen.BlockSize, seen.WindowSize = sender.terms.block, sender.terms.window
	var early *errTFTPEarly
	switch {
	case errors.Is(err, errTFTPDone):
		return 0, "", nil
	case errors.As(err, &early):
		return tftpCodeOther, early.tell, err
	}
	return 0, "", err
}

// errTFTPEarly ends a transfer that has no socket yet: the client is told from the server's port.
type errTFTPEarly struct {
	tell string // for the client
	error
}

func (e *errTFTPEarly) Unwrap() error { return e.error }

func errTFTPSocket(err error) error {
	return &errTFTPEarly{"the server has no port left", fmt.Errorf("opening a socket for the transfer: %w", err)}
}

// drive sends the file, from memory in a loop or in this goroutine.
func (r *tftpRun) drive(ctx context.Context, t *tftpTransfer, s *tftpSender, name string, file *os.File, info fs.FileInfo) error {
	farewell := func(err error) []byte {
		var trouble *errTFTPFile
		switch {
		case errors.As(err, &trouble):
			return tftpErrorPacket(tftpCodeOther, "the server cannot read the file")
		case errors.Is(err, errTFTPDone), errors.Is(err, errTFTPReplaced), err == nil:
			return nil
		case ctx.Err() != nil:
			return tftpErrorPacket(tftpCodeOther, "the server ended the transfer")
		case errors.Is(err, errTFTPSilent):
			return tftpErrorPacket(tftpCodeOther, "no acknowledgement came")
		}
		return nil
	}
	if file != nil && len(r.loops) > 0 && !t.netascii {
		content, release, ok, err := r.held.get(name, file, info)
		if err != nil {
			return &errTFTPEarly{"the server cannot read the file", fmt.Errorf("reading the file: %w", err)}
		}
		if ok {
			defer release()
			s.file = content
			loop := r.loops[r.turn.Add(1)%uint32(len(r.loops))]
			return loop.drive(ctx, s, t.Local, t.Client, farewell)
		}
	}
	conn, err := r.dial(ctx, t)
	if err != nil {
		return errTFTPSocket(err)
	}
	defer conn.Close()
	err = driveAlone(ctx, s, conn)
	if p := farewell(err); p != nil {
		_, _ = conn.Write(p)
	}
	return err
}

// dial opens the transfer's own port (its transfer identifier). The socket is connected, so that the kernel keeps
// everybody else away and tells when the client has closed its port.
func (r *tftpRun) dial(ctx context.Context, t *tftpTransfer) (*net.UDPConn, error) {
	network := "udp4"
	if t.Client.Addr().Is6() {
		network = "udp6"
	}
	var d net.Dialer
	if t.Local.IsValid() {
		d.LocalAddr = net.UDPAddrFromAddrPort(netip.AddrPortFrom(t.Local, 0))
	}
	conn, err := d.DialContext(ctx, network, t.Client.String())
	if err != nil {
		return nil, err
	}
	return conn.(*net.UDPConn), nil
}

// blockSize is the largest block that goes to the client in one piece: an IP header, a UDP header and that of TFTP
// are around it.
func (r *tftpRun) blockSize(t *tftpTransfer) int {
	if t.link.mtu == 0 {
		return r.limits.BlockSize
	}
	overhead := 20 + 8
	if t.Client.Addr().Is6() {
		overhead = 40 + 8
	}
	return min(r.limits.BlockSize, t.link.mtu-overhead-tftpHeader)
}

// open opens the file of a name.
func (r *tftpRun) open(name string) (*os.File, fs.FileInfo, error) {
	files, name := r.Files, strings.TrimLeft(name, "/")
	if below, ok := strings.CutPrefix(name, "artifacts/"); ok && r.Artifacts != nil {
		files, name = r.Artifacts, below
	}
	return files.Open(name)
}

// slot waits for a place among the running transfers.
func (r *tftpRun) slot(ctx context.Context) (release func(), err error) {
	release = func() { <-r.slots }
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	select {
	case r.slots <- struct{}{}:
		return release, nil
	case <-timer.C:
		return nil, fmt.Errorf("%d transfers run and none ended for %v", cap(r.slots), queueTime)
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *tftpRun) note(t Transfer) {
	log := r.log.With("file", t.Path, "client", t.Client, "bytes", t.Bytes, "duration", t.Duration)
	switch {
	case t.Aborted && t.Bytes == 0:
		log.Debug("TFTP client asked for the size only")
	case t.Aborted:
		log.Warn("TFTP client aborted the transfer")
	case errors.Is(t.Err, fs.ErrNotExist) && expectedMiss(t.Path):
		log.Debug("TFTP file not found", "err", t.Err)
	case t.Err != nil:
		log.Warn("TFTP transfer failed", "err", t.Err, "retransmits", t.Retransmits)
	default:
		log.Info("TFTP transfer complete", "retransmits", t.Retransmits)
	}
}
