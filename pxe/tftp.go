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
	"strings"
	"time"

	"github.com/pin/tftp/v3"
)

// TFTPServer hands out files by TFTP (RFC 1350), read-only, with the options blksize (RFC 2348) and tsize (RFC 2349);
// the options timeout (RFC 2349) and windowsize (RFC 7440) are not negotiated. Set the fields, then call
// ListenAndServe. The fields must not change after that.
type TFTPServer struct {
	// Addr is the UDP address to listen on; empty means ":69". It is IPv4 unless it is an IPv6 address.
	Addr string
	// Files are what is served. It is required.
	Files *Files
	// GRUB, if not nil, answers the GRUB of a signed boot chain: the names grub/grub.cfg and grub/ask;...
	GRUB *GRUB
	// Artifacts, if not nil, are the files of the names artifacts/..., which GRUB fetches by TFTP.
	Artifacts *Files
	// BlockSize is the largest block size that a client gets, 513 to 65464; 0 means 1450, which survives most
	// tunnels. Set 1400 under deeper overlays. It is clamped to the interface's MTU in any case: PXE ROMs do not put
	// fragments together. A client that asks for less than 512 gets 512, as if it had not asked (RFC 2347).
	BlockSize int
	// MaxTransfers is how many transfers run at the same time; 0 means 512. As many again wait for up to ten seconds
	// until it is their turn; more are refused.
	MaxTransfers int
	// TransferTimeout bounds one transfer; 0 means 5 minutes. A client that falls silent ends it after 10 seconds.
	TransferTimeout time.Duration
	// Observe, if not nil, is told of every finished transfer, as in [Handler.Observe].
	Observe func(Transfer)
	// Logger gets what an operator should see; nil means [slog.Default].
	Logger *slog.Logger

	timeout time.Duration // of one block; 0 means tftpTimeout
}

const (
	defaultBlockSize = 1450
	// A block is sent up to tftpTries times, tftpTimeout apart. Machines on a rack's network answer in milliseconds;
	// what matters is that a lost packet costs little and that one who left does not keep a slot.
	tftpTimeout = time.Second
	tftpTries   = 10
	queueTime   = 10 * time.Second
)

// ListenAndServe listens on Addr and serves until ctx is done. It then ends running transfers, waits for them (about
// ten seconds if a client has fallen silent) and returns nil.
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
	blockSize := s.BlockSize
	if blockSize == 0 {
		blockSize = defaultBlockSize
	}
	if blockSize <= 512 || blockSize > 65464 {
		_ = conn.Close()
		return fmt.Errorf("TFTP block size %d is outside 513 to 65464", blockSize)
	}
	r := &tftpRun{TFTPServer: s, ctx: ctx, log: s.Logger}
	if r.log == nil {
		r.log = slog.Default()
	}
	slots := s.MaxTransfers
	if slots <= 0 {
		slots = 512
	}
	r.slots = make(chan struct{}, slots)
	r.queue = make(chan struct{}, slots)

	server := tftp.NewServer(r.read, nil)
	server.SetBlockSize(blockSize)
	if s.timeout == 0 {
		server.SetTimeout(tftpTimeout)
	} else {
		server.SetTimeout(s.timeout)
	}
	server.SetRetries(tftpTries - 1)
	server.SetBackoff(func(int) time.Duration { return 0 })

	served := make(chan error, 1)
	go func() { served <- server.Serve(conn) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
	}
	// Shutdown closes the socket, which ends Serve, and waits for the transfers, which end as ctx is done.
	server.Shutdown()
	flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = r.observations.flush(flush)
	return err
}

// A tftpRun is a TFTPServer that is serving.
type tftpRun struct {
	*TFTPServer
	ctx          context.Context // of Serve: transfers end with it
	log          *slog.Logger
	slots, queue chan struct{}
	observations observations
	answers      grubAnswers
}

// read serves one request. Its error goes to the client, so it says nothing of the server's inside. The library calls
// it in a goroutine of its own.
func (r *tftpRun) read(name string, w io.ReaderFrom) error {
	t := Transfer{Protocol: "tftp", Path: name, Size: -1, Start: time.Now()}
	t.Client = addrOf(w.(tftp.OutgoingTransfer).RemoteAddr().IP)

	sent, answer := r.transfer(&t, w)
	t.Bytes, t.Duration = sent, time.Since(t.Start)
	r.note(t)
	if r.Observe != nil {
		r.observations.add(r.Observe, r.log, t)
	}
	return answer
}

// transfer fills in t and returns what was sent and what to tell the client, if it has not been told yet.
func (r *tftpRun) transfer(t *Transfer, w io.ReaderFrom) (int64, error) {
	// What is not there is said at once. A file that is there, and a text that has to be asked for, take their turn.
	var file io.ReadCloser
	asks := r.GRUB.answers(t.Path)
	if !asks {
		var err error
		if file, err = r.open(t); err != nil {
			return 0, refusal(t, err)
		}
		defer file.Close()
	}
	release, err := r.slot()
	if err != nil {
		t.Err = err
		return 0, errors.New("the server is busy")
	}
	defer release()

	timeout := r.TransferTimeout
	if timeout == 0 {
		timeout = 5 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(r.ctx, timeout, fmt.Errorf("the transfer took longer than %v", timeout))
	defer cancel()
	if asks {
		var local netip.Addr
		if info, ok := w.(tftp.RequestPacketInfo); ok {
			local = addrOf(info.LocalIP())
		}
		name := t.Path
		t.Path, _, _ = strings.Cut(name, ";") // as for HTTP, without what the machine says of itself
		peer := w.(tftp.OutgoingTransfer).RemoteAddr()
		text, err := r.answers.get(ctx, grubRequest{netip.AddrPortFrom(t.Client, uint16(peer.Port)), name},
			func() (string, error) { return r.GRUB.answer(ctx, name, t.Client, local) })
		if err != nil {
			return 0, refusal(t, err)
		}
		t.Size, file = int64(len(text)), io.NopCloser(strings.NewReader(text))
	}
	w.(tftp.OutgoingTransfer).SetSize(t.Size)
	source := &bounded{ctx: ctx, r: file}
	n, err := w.ReadFrom(source)
	switch {
	case err == nil:
	case source.err != nil:
		t.Err = source.err
	case strings.Contains(err.Error(), "code="):
		// The client sent an ERROR packet: it changed its mind, as after it had learnt the size.
		t.Aborted = true
		if strings.HasPrefix(err.Error(), "sending block 0:") {
			n = 0
		}
	default:
		t.Err = fmt.Errorf("the client stopped acknowledging: %w", err)
	}
	return n, nil
}

// refusal notes why there is nothing to send, and returns what the client is told of it.
func refusal(t *Transfer, err error) error {
	t.Err = err
	if errors.Is(err, fs.ErrNotExist) {
		return errors.New("file not found")
	}
	return errors.New("the server cannot read the file now")
}

// open opens the file of the name t.Path and sets t.Size.
func (r *tftpRun) open(t *Transfer) (io.ReadCloser, error) {
	files, name := r.Files, strings.TrimLeft(t.Path, "/")
	if below, ok := strings.CutPrefix(name, "artifacts/"); ok && r.Artifacts != nil {
		files, name = r.Artifacts, below
	}
	file, info, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	t.Size = info.Size()
	return file, nil
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// slot waits for a place among the running transfers.
func (r *tftpRun) slot() (release func(), err error) {
	release = func() { <-r.slots }
	select {
	case r.slots <- struct{}{}:
		return release, nil
	default:
	}
	select {
	case r.queue <- struct{}{}:
		defer func() { <-r.queue }()
	default:
		return nil, fmt.Errorf("%d transfers run and as many wait", cap(r.slots))
	}
	timer := time.NewTimer(queueTime)
	defer timer.Stop()
	select {
	case r.slots <- struct{}{}:
		return release, nil
	case <-timer.C:
		return nil, fmt.Errorf("%d transfers run and none ended for %v", cap(r.slots), queueTime)
	case <-r.ctx.Done():
		return nil, r.ctx.Err()
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
		log.Warn("TFTP transfer failed", "err", t.Err)
	default:
		log.Info("TFTP transfer complete")
	}
}

// bounded ends a transfer when its time is over, at the next block. The error's text is sent to the client.
type bounded struct {
	ctx context.Context
	r   io.Reader
	err error
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		b.err = context.Cause(b.ctx)
		return 0, errors.New("the server ended the transfer")
	}
	n, err := b.r.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
		err = errors.New("the server cannot read the file")
	}
	return n, err
}
