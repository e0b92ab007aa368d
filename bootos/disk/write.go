package disk

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"
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
// the image has no GPT), [*NoSpaceError], the context's error, or an I/O error of the disk. After any error but the
// refusals the disk is not bootable.
func Write(ctx context.Context, o Options) (Stats, error) {
	return Stats{}, errors.ErrUnsupported
}
