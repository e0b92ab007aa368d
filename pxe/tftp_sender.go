package pxe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/net/ipv4"
)

// A tftpSender brings one file to one client: blocks in windows, of which the client acknowledges the last, each window
// sent again until it is (RFC 1350; RFC 7440 for windows of more than one block).
//
// It keeps to what RFC 1123, section 4.2.3.1 says of the Sorcerer's Apprentice: an acknowledgement that was seen before
// makes it send nothing. Only in windows it means "I miss what comes next" (RFC 7440, section 4), and is believed once
// for each time that a window was sent.
type tftpSender struct {
	conn   *net.UDPConn // connected: nobody but the client is heard
	file   io.ReaderAt
	size   int64
	terms  terms
	waits  waits
	giveUp time.Duration // of silence
	// started is set when the client has answered for the first time.
	started *atomic.Bool

	sent        int64 // bytes of the file that have been handed to the network at least once
	retransmits int   // packets that were sent again

	buffer [512]byte // of what the client says
	// chunk is a part of the file, with room for a header before its first byte.
	chunk       []byte
	chunkAt     int64
	chunkLen    int
	batch       *ipv4.PacketConn
	messages    []ipv4.Message
	headers     []byte
	transmitted int64 // the highest block that has been sent
	answered    bool  // the answer to the options has been sent
	partly      bool  // the last window was acknowledged in part
}

const (
	tftpHeader = 4
	// Files are read in pieces of this size: a transfer of iPXE costs three reads and not 120.
	tftpChunk = 64 << 10
)

var chunks = sync.Pool{New: func() any { b := make([]byte, tftpHeader+tftpChunk); return &b }}

// errTFTPPeer is an ERROR packet from the client: it changed its mind, as after it had learnt the size.
type errTFTPPeer struct {
	code uint16
	text string
}

func (e *errTFTPPeer) Error() string {
	return fmt.Sprintf("the client sent error %d: %s", e.code, e.text)
}

var errTFTPSilent = errors.New("the client stopped acknowledging")

// run returns nil when the client has acknowledged the last block. It ends soon after ctx.
func (s *tftpSender) run(ctx context.Context) error {
	chunk := chunks.Get().(*[]byte)
	defer chunks.Put(chunk)
	s.chunk, s.chunkLen = *chunk, 0
	// The deadline in the past wakes the one read that waits.
	stop := context.AfterFunc(ctx, func() { _ = s.conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()

	if s.terms.oack != nil {
		// The answer to the options counts as block 0.
		if _, err := s.deliver(ctx, 0, 0); err != nil {
			return err
		}
	}
	last := s.size/int64(s.terms.block) + 1
	for acked := int64(0); acked < last; {
		to := min(acked+int64(s.terms.window), last)
		now, err := s.deliver(ctx, acked+1, to)
		if errors.Is(err, syscall.ECONNREFUSED) && s.transmitted == last {
			// The client has closed its port, and nothing but the acknowledgement of the end was missing.
			return nil
		}
		if err != nil {
			return err
		}
		s.partly = now < to
		acked = now
	}
	return nil
}

// deliver sends the blocks from..to until the client acknowledges one of them, and says which.
func (s *tftpSender) deliver(ctx context.Context, from, to int64) (int64, error) {
	began := time.Now()
	for try, lost := 0, 0; ; try++ {
		if err := s.send(from, to); err != nil {
			return 0, err
		}
		sent := time.Now()
		again := sent.Add(s.waits.wait(lost))
		if err := s.deadline(ctx, again); err != nil {
			return 0, err
		}
		// A repeated acknowledgement is believed once. Where blocks have been sent twice it may well be of the first time.
		believe := s.terms.window > 1 && try == 0 && !s.partly
		for {
			n, err := s.conn.Read(s.buffer[:])
			if errors.Is(err, os.ErrDeadlineExceeded) {
				break
			}
			if errors.Is(err, syscall.ECONNREFUSED) {
				return 0, fmt.Errorf("the client closed its port: %w", err)
			}
			if errors.Is(err, net.ErrClosed) {
				return 0, err
			}
			if err != nil {
				continue // no answer to ARP and the like: firmware is deaf for seconds now and then
			}
			number, err := parseTFTPAnswer(s.buffer[:n])
			if err != nil {
				return 0, err
			}
			if number < 0 {
				continue
			}
			// Numbers have 16 bits and roll over to 0.
			if ahead := int64(uint16(number) - uint16(from)); ahead <= to-from {
				s.started.Store(true)
				if try == 0 {
					s.waits.sample(time.Since(sent))
				}
				return from + ahead, nil
			}
			if believe && uint16(number) == uint16(from-1) {
				break
			}
		}
		now := time.Now()
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if now.Sub(began) >= s.giveUp {
			return 0, fmt.Errorf("%w: block %d was sent %d times", errTFTPSilent, from, try+1)
		}
		if !now.Before(again) {
			lost++
		}
	}
}

// deadline sets when to stop waiting. It is set before ctx is looked at, so that the end of ctx is never overwritten.
func (s *tftpSender) deadline(ctx context.Context, at time.Time) error {
	if err := s.conn.SetReadDeadline(at); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return nil
}

// parseTFTPAnswer returns the number that an ACK carries, -1 for what is no answer, and an ERROR packet as an error.
func parseTFTPAnswer(p []byte) (int, error) {
	if len(p) < 4 {
		return -1, nil
	}
	number := binary.BigEndian.Uint16(p[2:])
	switch binary.BigEndian.Uint16(p) {
	case tftpACK:
		return int(number), nil
	case tftpERROR:
		text, _, _ := strings.Cut(string(p[4:]), "\x00")
		return -1, &errTFTPPeer{number, text}
	}
	return -1, nil
}

// send sends a window.
func (s *tftpSender) send(from, to int64) error {
	if from == 0 {
		if s.answered {
			s.retransmits++
		}
		s.answered = true
		return s.write(s.terms.oack)
	}
	if from < to {
		return s.sendBatch(from, to)
	}
	data, err := s.block(from)
	if err != nil {
		return err
	}
	// The header stands where the end of the block before is, which is put back: so nothing is copied.
	at := int((from-1)*int64(s.terms.block) - s.chunkAt)
	packet := s.chunk[at : at+tftpHeader+data]
	var kept [tftpHeader]byte
	copy(kept[:], packet)
	putTFTPHeader(packet, from)
	err = s.write(packet)
	copy(packet, kept[:])
	s.note(from, data)
	return err
}

func putTFTPHeader(p []byte, block int64) {
	binary.BigEndian.PutUint16(p, tftpDATA)
	binary.BigEndian.PutUint16(p[2:], uint16(block))
}

// sendBatch hands several blocks to the kernel in as few calls as their pieces of the file allow.
func (s *tftpSender) sendBatch(from, to int64) error {
	if s.batch == nil {
		s.batch = ipv4.NewPacketConn(s.conn)
		s.messages = make([]ipv4.Message, 0, s.terms.window)
		s.headers = make([]byte, tftpHeader*s.terms.window)
	}
	for from <= to {
		s.messages = s.messages[:0]
		for ; from <= to; from++ {
			if len(s.messages) > 0 && !s.holds(from) {
				break
			}
			data, err := s.block(from)
			if err != nil {
				return err
			}
			i := len(s.messages)
			header := s.headers[tftpHeader*i : tftpHeader*(i+1)]
			putTFTPHeader(header, from)
			at := tftpHeader + int((from-1)*int64(s.terms.block)-s.chunkAt)
			s.messages = append(s.messages, ipv4.Message{Buffers: [][]byte{header, s.chunk[at : at+data]}})
			s.note(from, data)
		}
		for rest := s.messages; len(rest) > 0; {
			n, err := s.batch.WriteBatch(rest, 0)
			if err != nil && !lost(err) {
				return sending(err)
			}
			rest = rest[max(n, 1):]
		}
	}
	return nil
}

// last sends a packet that nobody will acknowledge.
func (s *tftpSender) last(p []byte) { _, _ = s.conn.Write(p) }

// write sends one packet. One that the system has no room for is lost like any other.
func (s *tftpSender) write(p []byte) error {
	_, err := s.conn.Write(p)
	if err != nil && !lost(err) {
		return sending(err)
	}
	return nil
}

func sending(err error) error {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("the client closed its port: %w", err)
	}
	return fmt.Errorf("sending to the client: %w", err)
}

// lost says whether a packet that could not be sent is like one that was lost: the next one may well arrive.
func lost(err error) bool {
	for _, e := range []error{syscall.ENOBUFS, syscall.ENOMEM, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EHOSTDOWN,
		syscall.ENETDOWN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func (s *tftpSender) note(block int64, data int) {
	if block <= s.transmitted {
		s.retransmits++
		return
	}
	s.transmitted = block
	s.sent += int64(data)
}

// length is how many bytes of the file are in a block.
func (s *tftpSender) length(block int64) int {
	return int(min(s.size-(block-1)*int64(s.terms.block), int64(s.terms.block)))
}

// holds says whether the block is in the chunk.
func (s *tftpSender) holds(block int64) bool {
	at := (block - 1) * int64(s.terms.block)
	return at >= s.chunkAt && at+int64(s.length(block)) <= s.chunkAt+int64(s.chunkLen)
}

// block brings a block into the chunk and returns its length.
func (s *tftpSender) block(block int64) (int, error) {
	n := s.length(block)
	if s.holds(block) {
		return n, nil
	}
	at := (block - 1) * int64(s.terms.block)
	want := int(min(s.size-at, int64(len(s.chunk)-tftpHeader)))
	got, err := s.file.ReadAt(s.chunk[tftpHeader:tftpHeader+want], at)
	s.chunkAt, s.chunkLen = at, got
	if got >= n {
		return n, nil
	}
	if err == nil || err == io.EOF {
		err = errors.New("the file became shorter while it was sent")
	}
	return 0, &errTFTPFile{err}
}

// errTFTPFile is trouble of the server's own.
type errTFTPFile struct{ error }

func (e *errTFTPFile) Unwrap() error { return e.error }

// waits are how long to wait for an acknowledgement: after RFC 6298, with round trips that were measured, so that a
// lost packet costs a fifth of a second on a rack's network and a distant client is not sent everything twice.
type waits struct {
	least, most      time.Duration
	smooth, variance time.Duration
}

// tftpLeastWait is what Linux takes for TCP: below it, a client that is busy for a moment looks like loss.
const tftpLeastWait = 200 * time.Millisecond

// wait is how long to wait after what has been lost so many times in a row. It doubles up to the most, and exceeds that
// now and then: a client that ignores what it has had (atftp, in windows) repeats its lost acknowledgement only when it
// has heard nothing for as long as its own timer.
func (w *waits) wait(lost int) time.Duration {
	wait := w.most
	if w.smooth > 0 && lost < 16 {
		wait = min(max(w.smooth+4*w.variance, w.least)<<lost, w.most)
	}
	if wait == w.most && lost%3 == 2 {
		wait += w.most + w.most/2
	}
	return wait
}

// sample takes a round trip of a packet that was sent only once (Karn's algorithm).
func (w *waits) sample(rtt time.Duration) {
	rtt = max(rtt, time.Microsecond)
	if w.smooth == 0 {
		w.smooth, w.variance = rtt, rtt/2
		return
	}
	off := w.smooth - rtt
	w.variance += (off.Abs() - w.variance) / 4
	w.smooth -= off / 8
}
