package disk

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Source is the file to write.
type Source struct {
	// URL of the file. The server should support range requests; without them a broken transfer starts anew from
	// byte 0 and what is on the disk already is skipped, not written again.
	URL string
	// Format is raw, zst, gz or xz.
	Format string
	// SHA256 of the file as transferred, hexadecimal.
	SHA256 string
	// Bytes is the size of the file, RawBytes of what it unpacks to. Both are needed.
	Bytes, RawBytes int64
}

// Options of [Write].
type Options struct {
	// Device is a whole disk, such as /dev/sda.
	Device string
	// Check is called with the opened device, which nobody else can claim or replace any more, before anything is
	// written. An error refuses the disk. It must be set.
	Check func(Target) error
	// Source is the image.
	Source Source
	// Seed is written as a NoCloud data source into a partition of its own at the end of the disk: file name to
	// content. Empty: none. See [WriteSeed].
	Seed map[string]string
	// Client for HTTP. Nil: one that waits 10 s for a connection and 30 s for the header.
	Client *http.Client
	// Progress is called about once a second, never concurrently. It may be nil.
	Progress func(Progress)
	// Stall is how long no byte may arrive, over all attempts to resume, before Write gives up. Default 2 minutes.
	Stall time.Duration
	// Logger gets one line for every interruption. Nil: nothing is logged.
	Logger *slog.Logger
	// AllowFile also accepts regular files and loop devices, for tests and for preparing disks of virtual machines.
	// A regular file must have the size of the disk that it stands for.
	AllowFile bool
	// SectorSize of a regular file's disk: 512 (default) or 4096. Devices know their own.
	SectorSize int
}

// Target is the disk that was opened.
type Target struct {
	// Device as given in the options.
	Device string
	// Bytes is its size, SectorSize its logical sector.
	Bytes      int64
	SectorSize int
	// Major and Minor are the device's number, 0 for a regular file.
	Major, Minor uint32
}

// Progress of a [Write].
type Progress struct {
	// Text says what is being done in a few words.
	Text string
	// Received of Bytes came over the network.
	Received, Bytes int64
	// Unpacked of RawBytes were unpacked; Written of those were not zero and went to the disk.
	Unpacked, RawBytes, Written int64
	// Rate is the transfer's bytes per second since the last call.
	Rate float64
	// Fraction of the work done, 0 to 1.
	Fraction float64
}

// Stats of a [Write].
type Stats struct {
	// Received counts bytes over the network, including those sent again by a server without range requests.
	Received int64
	// Written counts bytes that were not zero and went to the disk; Zeroed those that were.
	Written, Zeroed int64
	// Resumed counts how often the transfer broke and was taken up again.
	Resumed int
	// Grown says that the image had a GPT which now covers the disk.
	Grown bool
	// Seconds it took.
	Seconds float64
}

// Write streams the image to the device; see the package documentation for the order. It returns [*RefusedError],
// [*TooLargeError], [*TransferError], [*SizeError], [*FormatError], [*DigestError], [ErrNoGPT] (a seed is wanted and
// the image has no GPT), [*NoSpaceError], the context's cause, or an I/O error of the disk. Of these, all that can be
// known from the disk, the server's answer and the first MiB of the image come before anything is written. After any
// later error the disk is not bootable.
func Write(ctx context.Context, o Options) (Stats, error) {
	start := time.Now()
	if err := o.complete(); err != nil {
		return Stats{}, err
	}
	t, err := openTarget(o.Device, o.AllowFile, o.SectorSize)
	if err != nil {
		return Stats{}, err
	}
	defer t.Close()
	if err := o.Check(t.Target); err != nil {
		return Stats{}, &RefusedError{Device: o.Device, Reason: err.Error()}
	}
	if o.Source.RawBytes > t.Bytes {
		return Stats{}, &TooLargeError{Device: o.Device, Image: o.Source.RawBytes, Disk: t.Bytes}
	}
	w := &writer{Options: o, disk: holdEnds(t)}
	err = w.run(ctx)
	w.stats.Seconds = time.Since(start).Seconds()
	return w.stats, err
}

// complete checks the options and fills in the defaults.
func (o *Options) complete() error {
	s := o.Source
	if o.Check == nil {
		return errors.New("disk.Options.Check is not set: say which disk may be overwritten")
	}
	if s.Bytes <= 0 || s.RawBytes <= 0 {
		return fmt.Errorf("image %s: sizes %d and %d are not positive", s.URL, s.Bytes, s.RawBytes)
	}
	if s.Format == "raw" && s.Bytes != s.RawBytes {
		return fmt.Errorf("image %s: a raw file has one size, not %d and %d", s.URL, s.Bytes, s.RawBytes)
	}
	if !slices.Contains([]string{"raw", "zst", "gz", "xz"}, s.Format) {
		return fmt.Errorf("image %s: unknown format %q, expected raw, zst, gz or xz", s.URL, s.Format)
	}
	o.Source.SHA256 = strings.ToLower(s.SHA256)
	if digest, err := hex.DecodeString(s.SHA256); err != nil || len(digest) != sha256.Size {
		return fmt.Errorf("image %s: %q is not a SHA-256 digest", s.URL, s.SHA256)
	}
	if _, err := seedImage(o.Seed, 512, 0); err != nil {
		return err
	}
	if o.Client == nil {
		o.Client = defaultClient()
	}
	if o.Stall <= 0 {
		o.Stall = 2 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// writer is one Write: fetch → unpack → write, each in a goroutine of its own, with bounded buffers in between.
type writer struct {
	Options
	disk  *held
	stats Stats
	// drained says that the transfer was read to its end although nothing can be written.
	drained bool

	received, unpacked, written atomic.Int64
}

var errSurplus = errors.New("more data than announced")

func (w *writer) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stopProgress := w.reportProgress()
	defer func() { stopProgress() }()

	body := newTransfer(ctx, &w.Options)
	defer body.close()
	if err := body.open(); err != nil {
		return err
	}

	// Fetch and hash.
	chunks := make(chan []byte, 16)
	free := make(chan []byte, cap(chunks)+2)
	for range cap(free) {
		free <- make([]byte, 256<<10)
	}
	digest := sha256.New()
	var fetchErr error
	var all sync.WaitGroup
	all.Go(func() {
		defer close(chunks)
		for {
			var buf []byte
			select {
			case buf = <-free:
			case <-ctx.Done():
				fetchErr = context.Cause(ctx)
				return
			}
			n, err := io.ReadFull(body, buf[:cap(buf)])
			digest.Write(buf[:n])
			w.received.Add(int64(n))
			if n > 0 {
				select {
				case chunks <- buf[:n]:
				case <-ctx.Done():
					fetchErr = context.Cause(ctx)
					return
				}
			}
			if err == io.EOF || err == io.ErrUnexpectedEOF && body.offset == body.size {
				return
			}
			if err != nil {
				fetchErr = err
				return
			}
		}
	})

	// Unpack.
	blocks := make(chan []byte, 2)
	spare := make(chan []byte, cap(blocks)+2)
	var buffers [][]byte
	defer func() {
		for _, b := range buffers {
			freeBuffer(b)
		}
	}()
	for range cap(spare) {
		b, err := alignedBuffer(blockBytes)
		if err != nil {
			cancel()
			all.Wait()
			return err
		}
		buffers = append(buffers, b)
		spare <- b
	}
	var unpackErr error
	var raw int64
	all.Go(func() {
		defer close(blocks)
		in := &chunkReader{chunks: chunks, free: free}
		raw, unpackErr = w.unpack(ctx, in, blocks, spare)
		// The digest is that of the whole file, and it is the better answer to a file that cannot be unpacked.
		io.Copy(io.Discard, in)
	})

	// Write.
	writeErr := w.writeBlocks(blocks, spare)
	if writeErr != nil && !w.drained {
		cancel()
	}
	all.Wait()
	w.stats.Received, w.stats.Resumed = body.received, body.resumed
	w.stats.Written = w.written.Load()
	s := w.Source
	got := hex.EncodeToString(digest.Sum(nil))
	switch {
	case writeErr != nil && !w.drained:
		return writeErr
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case fetchErr != nil:
		return fetchErr
	case got != s.SHA256:
		return &DigestError{URL: s.URL, Want: s.SHA256, Got: got}
	case writeErr != nil:
		return writeErr
	case errors.Is(unpackErr, errSurplus):
		return &SizeError{URL: s.URL, What: "image", Want: s.RawBytes, Got: raw}
	case unpackErr != nil:
		return &FormatError{URL: s.URL, Reason: "cannot be unpacked as " + s.Format, Err: unpackErr}
	case raw != s.RawBytes:
		return &SizeError{URL: s.URL, What: "image", Want: s.RawBytes, Got: raw}
	}

	stopProgress()
	stopProgress = func() {}
	w.say("finishing the partition table and the seed", 0.98)
	layout, err := w.layout()
	if err != nil {
		return err
	}
	if err := layout.apply(w.disk, w.Seed); err != nil {
		return err
	}
	w.stats.Grown = layout.table != nil
	w.say("flushing the disk", 0.99)
	if err := w.disk.commit(); err != nil {
		return err
	}
	if err := w.disk.reread(layout.table); err != nil {
		// The disk is complete; only kexec needs the kernel to see its partitions.
		w.Logger.Warn("kernel does not read the new partition table", "disk", w.Device, "error", err)
	}
	w.say("written", 1)
	return nil
}

// layout plans partition table and seed from the head that is in memory.
func (w *writer) layout() (*layout, error) {
	l, err := planLayout(w.disk, w.disk.Target, len(w.Seed) > 0)
	if f, ok := errors.AsType[*FormatError](err); ok {
		f.URL = w.Source.URL
	}
	return l, err
}

// unpack fills blocks until the stream or the announced size ends; it returns how many bytes there were.
func (w *writer) unpack(ctx context.Context, in io.Reader, out chan<- []byte, spare <-chan []byte) (int64, error) {
	r, closeReader, err := unpacker(w.Source.Format, in)
	if err != nil {
		return 0, err
	}
	defer closeReader()
	var total int64
	for {
		var block []byte
		select {
		case block = <-spare:
		case <-ctx.Done():
			return total, context.Cause(ctx)
		}
		n, err := io.ReadFull(r, block[:min(blockBytes, w.Source.RawBytes-total)])
		total += int64(n)
		w.unpacked.Store(total)
		if n > 0 {
			select {
			case out <- block[:n]:
			case <-ctx.Done():
				return total, context.Cause(ctx)
			}
		}
		if err == io.EOF || err == io.ErrUnexpectedEOF && n > 0 && total < w.Source.RawBytes && isEnd(r) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if total == w.Source.RawBytes {
			// The end must be seen, and checksums at the end be read.
			var extra [1]byte
			switch _, err := io.ReadFull(r, extra[:]); err {
			case io.EOF:
				return total, nil
			case nil:
				return total + 1, errSurplus
			default:
				return total, err
			}
		}
	}
}

// isEnd tells a stream that ended properly from one that was cut: io.ReadFull calls both ErrUnexpectedEOF.
func isEnd(r io.Reader) bool {
	var b [1]byte
	n, err := r.Read(b[:])
	return n == 0 && err == io.EOF
}

// unpacker returns the plain stream. Memory is bounded: zstd windows up to 128 MiB (zstd --long=27).
func unpacker(format string, in io.Reader) (io.Reader, func(), error) {
	switch format {
	case "zst":
		d, err := zstd.NewReader(in, zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, nil, err
		}
		return d, d.Close, nil
	case "gz":
		d, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		return d, func() { d.Close() }, nil
	case "xz":
		d, err := xz.NewReader(bufio.NewReaderSize(in, 64<<10))
		if err != nil {
			return nil, nil, err
		}
		return d, func() {}, nil
	}
	return in, func() {}, nil
}

// chunkReader reads what the fetching goroutine sends.
type chunkReader struct {
	chunks <-chan []byte
	free   chan<- []byte
	chunk  []byte
	rest   []byte
}

func (r *chunkReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.chunk != nil {
			r.free <- r.chunk // never blocks: there is room for all
			r.chunk = nil
		}
		chunk, ok := <-r.chunks
		if !ok {
			return 0, io.EOF
		}
		r.chunk, r.rest = chunk, chunk
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// writeBlocks writes what is not zero and clears what is, so that the disk equals the image whatever was on it. The
// disk is touched only after the first block, with the image's partition table, was looked at.
func (w *writer) writeBlocks(blocks <-chan []byte, spare chan<- []byte) error {
	var off, zeroFrom int64
	first := true
	defer func() { w.stats.Zeroed += off - w.written.Load() }()
	flushZeros := func(to int64) error {
		from := zeroFrom
		zeroFrom = to
		if to == from {
			return nil
		}
		return w.disk.zero(from, to-from)
	}
	for block := range blocks {
		// Whole sectors: what is behind the image in its last one is cleared.
		n := len(block)
		sector := w.disk.SectorSize
		padded := block[:(n+sector-1)/sector*sector]
		clear(padded[n:])
		if first {
			first = false
			if err := w.begin(padded); err != nil {
				if f, ok := errors.AsType[*FormatError](err); ok && f.Err != nil {
					// Damage is most likely not the image's own. The digest tells, at the end of the transfer.
					for block := range blocks {
						spare <- block[:cap(block)]
					}
					w.drained = true
				}
				return err
			}
		}
		for at := 0; at < len(padded); {
			end := at
			for end < len(padded) && !isZero(padded[end:min(end+holeBytes, len(padded))]) {
				end = min(end+holeBytes, len(padded))
			}
			if end > at {
				if err := flushZeros(off + int64(at)); err != nil {
					return err
				}
				if err := w.writeRun(padded[at:end], off+int64(at)); err != nil {
					return err
				}
				w.written.Add(int64(end - at))
				zeroFrom = off + int64(end)
			}
			for end < len(padded) && isZero(padded[end:min(end+holeBytes, len(padded))]) {
				end = min(end+holeBytes, len(padded))
			}
			at = end
		}
		off += int64(len(padded))
		spare <- block[:cap(block)]
	}
	return flushZeros(off)
}

// writeRun writes straight from the aligned block where the ends of the disk are not concerned.
func (w *writer) writeRun(p []byte, off int64) error {
	if off >= int64(len(w.disk.head)) && off+int64(len(p)) <= w.disk.tailAt {
		return w.disk.writeAligned(p, off)
	}
	_, err := w.disk.WriteAt(p, off)
	return err
}

// begin looks at the image's first block, then makes the disk unbootable: the point of no return.
func (w *writer) begin(block []byte) error {
	copy(w.disk.head, block)
	if _, err := w.layout(); err != nil {
		return err
	}
	if err := w.disk.wipeEnds(); err != nil {
		return err
	}
	if err := w.disk.reread(nil); err != nil {
		return err
	}
	w.disk.discard(10 * time.Second)
	// A drive may return anything where it discarded, even what was there before.
	return w.disk.wipeEnds()
}

var zeroBlock [holeBytes]byte

func isZero(p []byte) bool { return bytes.Equal(p, zeroBlock[:len(p)]) }

// say reports a step without numbers of its own.
func (w *writer) say(text string, fraction float64) {
	if w.Progress != nil {
		w.Progress(w.progress(text, fraction, 0))
	}
}

func (w *writer) progress(text string, fraction, rate float64) Progress {
	return Progress{Text: text, Received: w.received.Load(), Bytes: w.Source.Bytes, Unpacked: w.unpacked.Load(),
		RawBytes: w.Source.RawBytes, Written: w.written.Load(), Rate: rate, Fraction: fraction}
}

// reportProgress calls Progress once a second until the returned function is called, which waits for the last call.
func (w *writer) reportProgress() func() {
	if w.Progress == nil {
		return func() {}
	}
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		last, lastTime := int64(0), time.Now()
		for {
			select {
			case <-done:
				return
			case now := <-tick.C:
				received := w.received.Load()
				rate := float64(received-last) / now.Sub(lastTime).Seconds()
				last, lastTime = received, now
				fraction := 0.98 * min(float64(received)/float64(w.Source.Bytes),
					float64(w.unpacked.Load())/float64(w.Source.RawBytes))
				w.Progress(w.progress("writing the image", fraction, rate))
			}
		}
	}()
	return func() {
		close(done)
		<-stopped
	}
}
