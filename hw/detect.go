package hw

import (
	"context"
	"log/slog"
	"time"
)

// Option changes how [Detect] works.
type Option func(*options)

type options struct {
	root   string
	logger *slog.Logger
	health time.Duration
}

// WithRoot reads a captured machine: the file that [Capture] has written, a directory with dir/sys, dir/proc, dir/dev,
// symbolic links as they were, or the tables alone in a file of `dmidecode --dump-bin`. Nothing else is read and the
// kernel of this machine is not asked. "" and "/" are this machine.
func WithRoot(name string) Option { return func(o *options) { o.root = name } }

// WithLogger gets how long each section took and how much of it is unknown, at level debug. The default discards it.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithHealth asks the disks about themselves (SMART), all at the same time. One that has not answered after the timeout
// is [Unknown]: a dying disk can keep a question for minutes. Without this option [Disk.Health] is nil; so it is for
// RAID volumes, removable media, and disks on buses that have no such question (virtio, USB, MMC).
func WithHealth(timeout time.Duration) Option { return func(o *options) { o.health = timeout } }

var discardLogger = slog.New(slog.DiscardHandler)

// Detect reads what the machine is made of. It changes nothing and takes well under two seconds, not counting
// [WithHealth]. It fails only if ctx
// ends or the root cannot be opened: what cannot be read is [Unknown] in the facts, with the reason.
//
// Detection, also of a captured tree, is for Linux; elsewhere Detect returns an error, and the rest of the package
// works.
//
// Without root rights serial numbers and DIMMs are unknown, since the kernel keeps the firmware's tables to root.
func Detect(ctx context.Context, opts ...Option) (*Facts, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = discardLogger
	}
	return detect(ctx, o)
}
