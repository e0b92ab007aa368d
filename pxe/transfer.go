package pxe

import (
	"context"
	"log/slog"
	"net/netip"
	"path"
	"sync"
	"time"
)

// A Transfer is one finished request of a machine, by TFTP or HTTP: a line of its timeline.
type Transfer struct {
	// Protocol is "tftp" or "http".
	Protocol string
	// Method is the HTTP method; empty for TFTP.
	Method string
	// Path is the file name of TFTP, or the URL's path without the query.
	Path string
	// Client is the machine's address.
	Client netip.Addr
	// Status is the HTTP status; 0 for TFTP, and if the client left before there was one.
	Status int
	// Bytes is how much of the file was handed to the network.
	Bytes int64
	// Size is the size of the file, or -1 if there is none.
	Size int64
	// Retransmits is how many packets TFTP sent again because nobody had acknowledged them; BlockSize (bytes) and WindowSize
	// (packets) are what was negotiated. They are 0 for HTTP.
	Retransmits           int
	BlockSize, WindowSize int
	// Start is when the request arrived, Duration how long it took.
	Start    time.Time
	Duration time.Duration
	// Aborted says that the client ended the transfer before all was sent. Firmware does that on purpose to learn a
	// file's size (Bytes is 0 then): normal.
	Aborted bool
	// Err is what went wrong: no such file, a client that fell silent, a Booter that failed. It is nil for complete
	// and for aborted transfers.
	Err error
}

// Complete says that the client has got the whole file.
func (t Transfer) Complete() bool {
	return t.Err == nil && !t.Aborted && t.Method != "HEAD" && t.Size >= 0 && t.Bytes == t.Size
}

// NBP says that the client has got a whole network boot program, and so runs it next.
func (t Transfer) NBP() bool { return t.Complete() && isNBP(path.Base(t.Path)) }

// maxObservations bounds what waits for a slow observer.
const maxObservations = 4096

// observations hand transfers to an observer, in order, without ever making a server wait. Its goroutine lives only as
// long as there is something to tell.
type observations struct {
	mu      sync.Mutex
	queue   []Transfer
	idle    chan struct{} // closed when the goroutine ends; nil while there is none
	dropped int
}

func (o *observations) add(observe func(Transfer), log *slog.Logger, t Transfer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.queue) >= maxObservations {
		o.dropped++
		return
	}
	o.queue = append(o.queue, t)
	if o.idle == nil {
		o.idle = make(chan struct{})
		go o.tell(observe, log, o.idle)
	}
}

func (o *observations) tell(observe func(Transfer), log *slog.Logger, idle chan struct{}) {
	defer close(idle)
	for {
		o.mu.Lock()
		queue, dropped := o.queue, o.dropped
		o.queue, o.dropped = nil, 0
		if len(queue) == 0 {
			o.idle = nil
			o.mu.Unlock()
			return
		}
		o.mu.Unlock()
		if dropped > 0 {
			log.Warn("the observer of transfers is too slow, transfers are missing from timelines", "missing", dropped)
		}
		for _, t := range queue {
			observe(t)
		}
	}
}

func (o *observations) flush(ctx context.Context) error {
	o.mu.Lock()
	idle := o.idle
	o.mu.Unlock()
	if idle == nil {
		return nil
	}
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
