package pxe

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// driveAlone drives a sender in the caller's goroutine until the transfer is over or ctx is done. It serves every system
// and files of every size; many small files at once are better off in a tftpLoop.
func driveAlone(ctx context.Context, s *tftpSender, conn *net.UDPConn) error {
	s.write = func(p []byte) error { _, err := conn.Write(p); return err }
	s.file = &ahead{file: s.file, size: s.size}
	// The deadline in the past wakes the one read that waits.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	var buffer [512]byte
	for err := s.begin(time.Now()); ; {
		if err != nil {
			return err
		}
		// It is set before ctx is looked at, so that the end of ctx is never overwritten.
		if err := conn.SetReadDeadline(s.again); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, readErr := conn.Read(buffer[:])
		switch {
		case readErr == nil:
			err = s.hear(buffer[:n], time.Now())
		case errors.Is(readErr, os.ErrDeadlineExceeded):
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			err = s.expire(time.Now())
		case errors.Is(readErr, syscall.ECONNREFUSED):
			err = s.refused(readErr)
		case !passing(readErr):
			err = readErr
		}
	}
}

// ahead reads a file in larger pieces than blocks are.
type ahead struct {
	file  io.ReaderAt
	size  int64
	piece []byte
	at    int64
}

// aheadBytes is the size of a piece: 45 blocks at once.
const aheadBytes = 64 << 10

func (a *ahead) ReadAt(p []byte, at int64) (int, error) {
	if at < a.at || at+int64(len(p)) > a.at+int64(len(a.piece)) {
		if a.piece == nil {
			a.piece = make([]byte, 0, max(aheadBytes, len(p)))
		}
		want := min(int64(max(aheadBytes, len(p))), a.size-at)
		n, err := a.file.ReadAt(a.piece[:want], at)
		a.piece, a.at = a.piece[:n], at
		if n < len(p) {
			return copy(p, a.piece), err
		}
	}
	return copy(p, a.piece[at-a.at:]), nil
}
