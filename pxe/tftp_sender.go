package pxe

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A tftpSender decides what one client is sent and when: blocks in windows, of which the client acknowledges the last, each
// window sent again until it is (RFC 1350; RFC 7440 for windows of more than one block). It neither reads nor waits: who
// drives it calls begin once, hear for each packet, and expire when the time in again has come, until one of them says
// that it is over. See tftpLoop and driveAlone.
//
// It keeps to what RFC 1123, section 4.2.3.1 says of the Sorcerer's Apprentice: an acknowledgement that was seen before
// makes it send nothing. Only in windows it means "I miss what comes next" (RFC 7440, section 4), and is believed once
// for each time that a window was sent.
type tftpSender struct {
	write  func(packet []byte) error // to the client and nobody else
	file   io.ReaderAt
	size   int64
	terms  terms
	waits  waits
	giveUp time.Duration // of silence
	// started is set when the client has answered for the first time.
	started *atomic.Bool

	sent        int64 // bytes of the file that have been handed to the network at least once
	retransmits int   // packets that were sent again

	again    time.Time // when what is under way is sent again
	from, to int64     // blocks under way; block 0 is the answer to the options
	began    time.Time // when they were sent first
	sentAt   time.Time // when they were sent last
	tries    int       // how often
	lost     int       // how often of these nothing came
	partly   bool      // the window before was acknowledged in part
	highest  int64     // block that has been sent
	packet   []byte
}

const tftpHeader = 4

// errTFTPPeer is an ERROR packet from the client: it changed its mind, as after it had learnt the size.
type errTFTPPeer struct {
	code uint16
	text string
}

func (e *errTFTPPeer) Error() string {
	return fmt.Sprintf("the client sent error %d: %s", e.code, e.text)
}

// errTFTPFile is trouble of the server's own.
type errTFTPFile struct{ error }

func (e *errTFTPFile) Unwrap() error { return e.error }

var (
	errTFTPSilent = errors.New("the client stopped acknowledging")
	// errTFTPDone is how a transfer ends that has succeeded: the client has acknowledged the last block.
	errTFTPDone = errors.New("done")
)

// begin sends what comes first. This and the following return nil as long as the transfer goes on.
func (s *tftpSender) begin(now time.Time) error {
	s.packet = make([]byte, tftpHeader+s.terms.block)
	s.highest = -1
	first := int64(1)
	if s.terms.oack != nil {
		first = 0
	}
	return s.next(first, now)
}

// last is the number of the last block: the one that is not full, and be it empty.
func (s *tftpSender) last() int64 { return s.size/int64(s.terms.block) + 1 }

// next sends the window that begins with a block.
func (s *tftpSender) next(from int64, now time.Time) error {
	s.from, s.to = from, from
	if from > 0 {
		s.to = min(from+int64(s.terms.window)-1, s.last())
	}
	s.began, s.tries, s.lost = now, 0, 0
	return s.send(now)
}

// send sends the window, for the first time or again.
func (s *tftpSender) send(now time.Time) error {
	for block := s.from; block <= s.to; block++ {
		if err := s.sendBlock(block); err != nil {
			return err
		}
	}
	s.tries++
	s.sentAt, s.again = now, now.Add(s.waits.wait(s.lost))
	return nil
}

func (s *tftpSender) sendBlock(block int64) error {
	packet := s.terms.oack
	if block > 0 {
		at := (block - 1) * int64(s.terms.block)
		n := int(min(s.size-at, int64(s.terms.block)))
		packet = s.packet[:tftpHeader+n]
		binary.BigEndian.PutUint16(packet, tftpDATA)
		binary.BigEndian.PutUint16(packet[2:], uint16(block))
		if got, err := s.file.ReadAt(packet[tftpHeader:], at); got < n {
			if err == nil || err == io.EOF {
				err = errors.New("the file became shorter while it was sent")
			}
			return &errTFTPFile{err}
		}
	}
	if block > s.highest {
		s.highest = block
		if block > 0 {
			s.sent += int64(len(packet) - tftpHeader)
		}
	} else {
		s.retransmits++
	}
	err := s.write(packet)
	switch {
	case err == nil || passing(err):
		return nil
	case errors.Is(err, syscall.ECONNREFUSED):
		return s.refused(err)
	}
	return fmt.Errorf("sending to the client: %w", err)
}

// passing says whether a packet that could not be sent is like one that was lost: the next one may well arrive.
// Firmware that changes hands is deaf to ARP for seconds. EPERM is a packet filter that is full. EMSGSIZE is a tunnel on
// the way that takes less than the block; after it was said once, the kernel sends fragments.
func passing(err error) bool {
	for _, e := range []error{syscall.EAGAIN, syscall.ENOBUFS, syscall.ENOMEM, syscall.EINTR, syscall.EHOSTUNREACH,
		syscall.ENETUNREACH, syscall.EHOSTDOWN, syscall.ENETDOWN, syscall.EPERM, syscall.EMSGSIZE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// refused is told that the client has closed its port. That is an end like another where nothing was missing but the
// acknowledgement of the last block.
func (s *tftpSender) refused(err error) error {
	if s.started.Load() && s.from == s.last() && s.highest == s.last() {
		return errTFTPDone
	}
	return fmt.Errorf("the client closed its port: %w", err)
}

// hear is told of a packet from the client.
func (s *tftpSender) hear(p []byte, now time.Time) error {
	if len(p) < tftpHeader {
		return nil
	}
	number := binary.BigEndian.Uint16(p[2:])
	switch binary.BigEndian.Uint16(p) {
	case tftpERROR:
		text, _, _ := strings.Cut(string(p[tftpHeader:]), "\x00")
		return &errTFTPPeer{number, text}
	case tftpACK:
	default:
		return nil
	}
	s.started.Store(true)
	// Numbers have 16 bits and roll over to 0.
	if ahead := int64(number - uint16(s.from)); ahead <= s.to-s.from {
		if s.tries == 1 {
			s.waits.sample(now.Sub(s.sentAt))
		}
		acked := s.from + ahead
		if acked == s.last() {
			return errTFTPDone
		}
		s.partly = acked < s.to
		return s.next(acked+1, now)
	}
	// Where blocks have been sent twice, a repeated acknowledgement may well be of the first time.
	if number == uint16(s.from-1) && s.terms.window > 1 && s.tries == 1 && !s.partly {
		return s.send(now)
	}
	return nil
}

// expire is told that the time has come to send again.
func (s *tftpSender) expire(now time.Time) error {
	if now.Sub(s.began) >= s.giveUp {
		return fmt.Errorf("%w: block %d was sent %d times", errTFTPSilent, s.from, s.tries)
	}
	s.lost++
	return s.send(now)
}

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
