package pxe

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// TFTPServer hands out files by TFTP (RFC 1350), read-only, with the options blksize (RFC 2348) and tsize (RFC 2349).
// Set the fields, then call ListenAndServe. The fields must not change after that.
type TFTPServer struct {
	// Addr is the UDP address to listen on; empty means ":69" on IPv4.
	Addr string
	// Files are what is served. It is required.
	Files *Files
	// BlockSize is the largest block size that a client gets, 512 to 65464; 0 means 1450, which survives most
	// tunnels. Set 1400 under deeper overlays. It is clamped to the interface's MTU in any case: fragmented TFTP is
	// what some PXE ROMs cannot reassemble.
	BlockSize int
	// MaxTransfers is how many transfers run at the same time; 0 means 512. Others wait for up to ten seconds.
	MaxTransfers int
	// TransferTimeout bounds one transfer; 0 means 5 minutes.
	TransferTimeout time.Duration
	// Observe is told of every finished transfer; see [Handler.Observe].
	Observe func(Transfer)
	// Logger gets what an operator should see; nil means [slog.Default].
	Logger *slog.Logger
}

// ListenAndServe listens on Addr and serves until ctx is done. It then ends running transfers, waits for them (up to
// ten seconds if a client has fallen silent) and returns nil.
func (s *TFTPServer) ListenAndServe(ctx context.Context) error { return nil }

// Serve is ListenAndServe for a socket that is open already. It closes conn.
func (s *TFTPServer) Serve(ctx context.Context, conn *net.UDPConn) error { return nil }
