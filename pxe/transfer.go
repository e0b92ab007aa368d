package pxe

import (
	"net/netip"
	"time"
)

// A Transfer is one finished request of a machine, by TFTP or HTTP: a line of its timeline.
type Transfer struct {
	// Protocol is "tftp" or "http".
	Protocol string
	// Method is "GET" or "HEAD"; empty for TFTP.
	Method string
	// Path is the file name of TFTP, or the URL's path without the query.
	Path string
	// Client is the machine's address.
	Client netip.Addr
	// Status is the HTTP status, 0 for TFTP.
	Status int
	// Bytes is how much of the file was sent; of TFTP, how much was sent and acknowledged.
	Bytes int64
	// Size is the size of the file, or -1 if it is not known.
	Size int64
	// Start is when the request arrived, Duration how long it took.
	Start    time.Time
	Duration time.Duration
	// Aborted says that the client ended the transfer before all was sent. Firmware does that on purpose to learn a
	// file's size (Bytes is 0 then): normal.
	Aborted bool
	// Err is what went wrong: no such file, a client that fell silent. It is nil for complete and aborted transfers.
	Err error
}
