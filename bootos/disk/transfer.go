package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// attemptStall is how long one response may send nothing before it is given up and resumed.
	attemptStall = 20 * time.Second
	// leap is how many new bytes count as progress. A server that sends a few bytes and breaks, again and again,
	// must not keep the machine busy for ever.
	leap = 64 << 10
)

var errChanged = errors.New("the file was replaced on the server in the middle of the transfer")

// transfer is the body of a file, taken up again where it broke (RFC 9110 section 14: Range, If-Range). Read blocks
// over any number of attempts; it is used by one goroutine.
type transfer struct {
	ctx    context.Context
	client *http.Client
	url    string
	size   int64
	stall  time.Duration
	log    *slog.Logger

	body   io.ReadCloser
	cancel context.CancelFunc
	// validator is the strong ETag or Last-Modified of the first response; noRange that it cannot resume.
	etag, modified string
	started        bool

	offset   int64 // bytes handed out
	skip     int64 // bytes of the current body that were handed out before
	received int64 // bytes over the network
	resumed  int

	leapAt   int64
	leapTime time.Time
	backoff  time.Duration
}

func newTransfer(ctx context.Context, o *Options) *transfer {
	return &transfer{ctx: ctx, client: o.Client, url: o.Source.URL, size: o.Source.Bytes, stall: o.Stall, log: o.Logger,
		leapTime: time.Now()}
}

// permanent marks an error that resuming does not cure.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// open makes the first request, so that a missing file is found before the disk is touched.
func (t *transfer) open() error {
	for {
		err := t.connect()
		if err == nil {
			return nil
		}
		if err := t.pause(err); err != nil {
			return err
		}
	}
}

// Read hands out the file from start to end, io.EOF after exactly size bytes.
func (t *transfer) Read(p []byte) (int, error) {
	for {
		if t.offset == t.size {
			return 0, io.EOF
		}
		if t.body == nil {
			t.resumed++
			if err := t.connect(); err != nil {
				if err := t.pause(err); err != nil {
					return 0, err
				}
				continue
			}
		}
		n, err := t.readBody(p)
		if n > 0 {
			t.offset += int64(n)
			if t.offset-t.leapAt >= leap || t.offset == t.size {
				t.leapAt, t.leapTime, t.backoff = t.offset, time.Now(), 0
			}
			return n, nil
		}
		t.close()
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err := t.pause(err); err != nil {
			return 0, err
		}
	}
}

// readBody reads new bytes only; those that were handed out before are dropped.
func (t *transfer) readBody(p []byte) (int, error) {
	watchdog := time.AfterFunc(min(attemptStall, t.stall/4), t.cancel)
	defer watchdog.Stop()
	for {
		want := p[:min(int64(len(p)), max(t.skip, t.size-t.offset))]
		if t.skip > 0 {
			want = p[:min(int64(len(p)), t.skip)]
		}
		n, err := t.body.Read(want)
		t.received += int64(n)
		if t.skip > 0 {
			t.skip -= int64(n)
			n = 0
		}
		if n > 0 || err != nil {
			if n > 0 {
				err = nil
			}
			return n, err
		}
		watchdog.Reset(min(attemptStall, t.stall/4))
	}
}

// pause waits before the next attempt, or returns the error that ends the transfer.
func (t *transfer) pause(cause error) error {
	if t.ctx.Err() != nil {
		return context.Cause(t.ctx)
	}
	end := func(err error) error {
		return &TransferError{URL: t.url, Received: t.received, Resumed: t.resumed, Err: err}
	}
	if _, ok := errors.AsType[permanent](cause); ok {
		return end(cause)
	}
	if size, ok := errors.AsType[*SizeError](cause); ok {
		return size
	}
	silent := time.Since(t.leapTime)
	if silent >= t.stall {
		return end(fmt.Errorf("no progress for %v: %w", silent.Round(time.Second), cause))
	}
	t.backoff = min(max(2*t.backoff, 200*time.Millisecond), 5*time.Second)
	wait := t.backoff/2 + rand.N(t.backoff/2)
	wait = min(wait, t.stall-silent+time.Millisecond)
	t.log.Info("image transfer interrupted, resuming", "url", t.url, "offset", t.offset, "size", t.size,
		"error", cause, "wait", wait.Round(time.Millisecond))
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

func (t *transfer) close() {
	if t.body != nil {
		t.cancel()
		t.body.Close()
		t.body = nil
	}
}

// connect requests what is missing.
func (t *transfer) connect() error {
	ctx, cancel := context.WithCancel(t.ctx)
	keep := false
	defer func() {
		if !keep {
			cancel()
		}
	}()
	// The client may have no time-out of its own.
	watchdog := time.AfterFunc(min(45*time.Second, t.stall), cancel)
	defer watchdog.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, t.url, nil)
	if err != nil {
		return permanent{err}
	}
	req.Header.Set("Accept-Encoding", "identity")
	if t.offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", t.offset))
		if t.etag != "" {
			req.Header.Set("If-Range", t.etag)
		} else if t.modified != "" {
			req.Header.Set("If-Range", t.modified)
		}
	}
	resp, err := t.client.Do(req)
	if err != nil {
		return err
	}
	defer func() {
		if !keep {
			resp.Body.Close()
		}
	}()
	etag := resp.Header.Get("ETag")
	if strings.HasPrefix(etag, "W/") {
		etag = "" // weak validators do not work with ranges, RFC 9110 section 13.1.5
	}
	modified := resp.Header.Get("Last-Modified")
	if t.started && (t.etag != etag || t.etag == "" && t.modified != modified) && resp.StatusCode/100 == 2 {
		return permanent{errChanged}
	}
	var skip int64
	switch resp.StatusCode {
	case http.StatusOK:
		if resp.ContentLength >= 0 && resp.ContentLength != t.size {
			return &SizeError{URL: t.url, What: "file", Want: t.size, Got: resp.ContentLength}
		}
		// A server without ranges sends all of it again.
		skip = t.offset
	case http.StatusPartialContent:
		first, total, err := contentRange(resp.Header.Get("Content-Range"))
		if err != nil {
			return err
		}
		if total >= 0 && total != t.size {
			return &SizeError{URL: t.url, What: "file", Want: t.size, Got: total}
		}
		if first != t.offset {
			return fmt.Errorf("asked for bytes from %d, the server sends from %d", t.offset, first)
		}
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return fmt.Errorf("server answers %s", resp.Status)
	default:
		err := fmt.Errorf("server answers %s", resp.Status)
		if resp.StatusCode >= 500 {
			return err
		}
		return permanent{err}
	}
	t.etag, t.modified, t.started = etag, modified, true
	t.body, t.cancel, t.skip, keep = resp.Body, cancel, skip, true
	return nil
}

// contentRange reads "bytes FIRST-LAST/TOTAL" (RFC 9110 section 14.4); total is -1 for "*".
func contentRange(s string) (first, total int64, err error) {
	bad := fmt.Errorf("server sends Content-Range %q", s)
	rest, ok := strings.CutPrefix(s, "bytes ")
	if !ok {
		return 0, 0, bad
	}
	span, size, ok := strings.Cut(rest, "/")
	from, to, ok2 := strings.Cut(span, "-")
	if !ok || !ok2 {
		return 0, 0, bad
	}
	first, err1 := strconv.ParseInt(from, 10, 64)
	last, err2 := strconv.ParseInt(to, 10, 64)
	total = -1
	var err3 error
	if size != "*" {
		total, err3 = strconv.ParseInt(size, 10, 64)
	}
	if err1 != nil || err2 != nil || err3 != nil || first < 0 || last < first || size != "*" && total <= last {
		return 0, 0, bad
	}
	return first, total, nil
}

// defaultClient gives up on a server that does not answer; a body may take as long as it needs.
func defaultClient() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ResponseHeaderTimeout: 30 * time.Second,
		DisableCompression:    true,
	}}
}
