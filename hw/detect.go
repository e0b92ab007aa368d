package hw

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"
)

// Option changes how [Detect] works.
type Option func(*options)

type options struct {
	root   string
	logger *slog.Logger
}

// WithRoot reads a captured tree: dir/sys, dir/proc, dir/dev, symbolic links as they were. Nothing outside dir is read
// and the kernel of this machine is not asked. "" and "/" are this machine.
func WithRoot(dir string) Option { return func(o *options) { o.root = dir } }

// WithLogger gets how long each section took and how much of it is unknown, at level debug. The default discards it.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// Detect reads what the machine is made of. It changes nothing and takes well under two seconds. It fails only if ctx
// ends or the root cannot be opened: what cannot be read is [Unknown] in the facts, with the reason.
//
// Without root rights serial numbers and DIMMs are unknown, since the kernel keeps the firmware's tables to root.
func Detect(ctx context.Context, opts ...Option) (*Facts, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	if o.logger == nil {
		o.logger = slog.New(slog.DiscardHandler)
	}
	t, err := openTree(o.root)
	if err != nil {
		return nil, err
	}
	defer t.root.Close()

	f := &Facts{Version: Version}
	note := func(u unknowns) { f.Unknown = append(f.Unknown, u...) }
	var tables *smbiosTables
	var tablesErr error
	for _, section := range []struct {
		name string
		read func()
	}{
		{"smbios", func() {
			f.BIOS.UEFI, f.BIOS.Unknown = t.uefi()
			if tables, tablesErr = t.smbios(); tables != nil {
				tables.identity(f)
			} else {
				t.identityFromKernel(f, tablesErr)
			}
		}},
		{"cpus", func() {
			cpus, missing := t.cpus(tables)
			f.CPUs = cpus
			note(missing)
		}},
		{"memory", func() { f.Memory = t.memory(tables, tablesErr) }},
		{"pci", func() {
			devices, missing := t.pci()
			f.PCI, f.Controllers = devices, []PCIDevice{}
			for _, d := range devices {
				if strings.HasPrefix(d.Class, "01") {
					f.Controllers = append(f.Controllers, d)
				}
			}
			note(missing)
		}},
		{"disks", func() {
			disks, missing := t.disks()
			f.Disks = disks
			note(missing)
		}},
		{"nics", func() {
			nics, missing := t.nics(ctx, f.PCI)
			f.NICs = nics
			note(missing)
		}},
		{"bmc", func() { f.BMC = t.bmc(tables) }},
	} {
		start := time.Now()
		section.read()
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("detect hardware: %s: %w", section.name, err)
		}
		o.logger.Debug("hardware section read", "section", section.name, "took", time.Since(start))
	}
	return f, nil
}

// uefi tells how this boot went.
func (t *tree) uefi() (*bool, unknowns) {
	if !t.exists("sys/firmware") {
		var missing unknowns
		missing.add("uefi", "/sys/firmware is not there (is /sys mounted?)")
		return nil, missing
	}
	v := t.exists("sys/firmware/efi")
	return &v, nil
}
