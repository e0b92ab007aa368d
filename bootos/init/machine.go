package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/project-loda/loda/bootos/agent"
	"github.com/project-loda/loda/bootos/disk"
	"github.com/project-loda/loda/bootos/early"
	"github.com/project-loda/loda/bootos/script"
	"github.com/project-loda/loda/bootos/storage"
	"github.com/project-loda/loda/bootos/tool"
	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/host"
)

// machine is this machine, for the agent.
type machine struct {
	console  *early.Console
	hardware *hardware
	network  *early.Network
	client   *agentapi.Client
	// ranScript: the first script waited for disks to appear. That takes a second, and each step would wait again.
	ranScript bool
}

const (
	// detectTimeout bounds a read of the hardware; a dying disk can hold one up.
	detectTimeout = 3 * time.Minute
	// healthTimeout bounds how long one disk may take to say how it is.
	healthTimeout = 15 * time.Second
	// linksFor bounds the wait for links: 10 Gbit/s takes 3 to 5 seconds to negotiate. Ports without a cable take it all.
	linksFor = 6 * time.Second
	// settleFor bounds the wait for disks to appear.
	settleFor = 30 * time.Second
)

func (m *machine) Detect(ctx context.Context) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(ctx, detectTimeout)
	defer cancel()
	m.hardware.wait(ctx, m.hardware.all, driversMost)
	early.Settle(ctx, settleFor)
	if err := m.network.RaiseLinks(ctx, linksFor); err != nil {
		m.console.Say("detect", fmt.Sprintf("links: %v", err))
	}
	facts, err := hw.Detect(ctx, hw.WithHealth(healthTimeout))
	if err != nil {
		return nil, err
	}
	m.console.Say("detect", fmt.Sprintf("%d CPUs, %s of memory, %d disks, %d network interfaces", len(facts.CPUs),
		binary(facts.Memory.InstalledBytes), len(facts.Disks), len(facts.NICs)))
	return json.Marshal(facts)
}

func (m *machine) SetClock(t time.Time) error { return early.SetClock(t) }

// find returns the device of the one disk that has this identity.
func (m *machine) find(ctx context.Context, want agentapi.DiskIdentity) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, detectTimeout)
	defer cancel()
	m.hardware.wait(ctx, m.hardware.all, driversMost)
	early.Settle(ctx, settleFor)
	facts, err := hw.Detect(ctx)
	if err != nil {
		return "", err
	}
	var found, others []string
	for _, d := range facts.Disks {
		if d.Matches(want.Serial, want.WWN, want.Path, want.Bytes) {
			found = append(found, d.Name)
		} else {
			others = append(others, fmt.Sprintf("%s (serial %q, WWN %q, path %q, %d bytes)", d.Name, d.Serial, d.WWN, d.Path,
				d.Bytes))
		}
	}
	switch len(found) {
	case 1:
		return "/dev/" + found[0], nil
	case 0:
		return "", fmt.Errorf("the disk with %s is not there any more; there are: %s", describe(want),
			strings.Join(others, ", "))
	}
	return "", fmt.Errorf("%d disks have %s, which one is meant cannot be told: %s", len(found), describe(want),
		strings.Join(found, ", "))
}

func describe(d agentapi.DiskIdentity) string {
	var parts []string
	for _, p := range []struct{ name, value string }{{"serial number", d.Serial}, {"WWN", d.WWN}, {"path", d.Path}} {
		if p.value != "" {
			parts = append(parts, p.name+" "+p.value)
		}
	}
	if d.Bytes > 0 {
		parts = append(parts, fmt.Sprintf("%d bytes", d.Bytes))
	}
	return strings.Join(parts, ", ")
}

func (m *machine) Install(ctx context.Context, in agentapi.InstallImage, report agent.Report) (
	*agentapi.InstallImageResult, error) {
	device, err := m.find(ctx, in.Disk)
	if err != nil {
		return nil, err
	}
	report.Log(fmt.Sprintf("write %s to %s, %s", in.URL, device, describe(in.Disk)))
	stats, err := disk.Write(ctx, disk.Options{
		Device: device,
		Check: func(t disk.Target) error {
			// Once more, now that the device is held open: the kernel's names may have moved in between.
			again, err := m.find(ctx, in.Disk)
			if err != nil {
				return err
			}
			if again != device || in.Disk.Bytes != 0 && t.Bytes != in.Disk.Bytes {
				return fmt.Errorf("it is not the disk with %s", describe(in.Disk))
			}
			return nil
		},
		Source: disk.Source{URL: in.URL, Format: in.Format, SHA256: in.SHA256, Bytes: in.Bytes, RawBytes: in.RawBytes},
		Seed:   in.Seed,
		Logger: slog.New(&lines{report}),
		Progress: func(p disk.Progress) {
			text := p.Text
			if p.Rate > 0 {
				text += fmt.Sprintf(", %s of %s, %s/s", binary(p.Received), binary(p.Bytes), binary(int64(p.Rate)))
			}
			report.Progress(agentapi.Progress{Fraction: p.Fraction, Text: text, Bytes: p.Received})
		},
	})
	if err != nil {
		return nil, installError{err}
	}
	entry, err := disk.SetBootEntry(disk.BootOptions{Device: device, Label: in.BootLabel})
	switch {
	case errors.Is(err, disk.ErrNoEFI):
	case err != nil:
		// The loader also is where firmware looks without an entry, so this is worth a line and not a failure.
		report.Log(fmt.Sprintf("UEFI boot entry: %v; the firmware's own order decides what boots", err))
		m.console.Say("efi", err.Error())
	default:
		report.Log(fmt.Sprintf("UEFI boot entry Boot%04X %q for %s, order %04X", entry.Number, in.BootLabel, entry.Loader,
			entry.Order))
	}
	return &agentapi.InstallImageResult{Device: device, Received: stats.Received, Written: stats.Written,
		Resumed: stats.Resumed}, nil
}

// installError lets the agent ask whether trying again helps.
type installError struct{ error }

func (e installError) Unwrap() error   { return e.error }
func (e installError) Retryable() bool { return disk.Retryable(e.error) }

func (m *machine) RunScript(ctx context.Context, in agentapi.RunScript, report agent.Report) (
	*agentapi.RunScriptResult, error) {
	// A script may want any device.
	m.hardware.wait(ctx, m.hardware.all, driversMost)
	if !m.ranScript {
		early.Settle(ctx, settleFor)
		m.ranScript = true
	}
	return (&script.Runner{Dir: "/run"}).Run(ctx, in, report)
}

// raidProgram is this program, by the name under which the busybox of the RAM disk takes it for init.
const raidProgram = "/bbin/init"

func (m *machine) ConfigureRAID(ctx context.Context, in agentapi.ConfigureRAID, report agent.Report) (
	_ *agentapi.ConfigureRAIDResult, err error) {
	// From here on the server hears that the machine is alive, however long a tool takes to come.
	report.Progress(agentapi.Progress{Text: "starting the RAID drivers"})
	m.hardware.wait(ctx, m.hardware.all, driversMost)
	early.Settle(ctx, settleFor)
	facts, err := hw.Detect(ctx)
	if err != nil {
		return nil, err
	}
	fetcher := &tool.Fetcher{Files: m.client, Dir: "/run/loda/tools", Say: report.Log}
	config := host.Config{Devices: facts.Controllers, Executable: raidProgram, Assemble: true,
		Libraries: fetcher.Libraries, Logger: slog.New(&lines{report}),
		Tool: func(ctx context.Context, t raid.Tool) (string, error) {
			if d, ok := in.Tools[t]; ok {
				return fetcher.Get(ctx, d)
			}
			path, err := host.LookPath(ctx, t)
			if err != nil {
				err = fmt.Errorf("%w, and the config repository has no tools/%s.yaml", err, t)
			}
			return path, err
		}}
	for _, d := range in.Drivers {
		config.External = append(config.External, host.External{Name: d.Name, SHA256: d.Program.SHA256, For: d.For,
			Fetch: func(ctx context.Context) (string, error) { return fetcher.Get(ctx, d.Program) }})
	}
	h, err := host.Open(ctx, config)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Close()) }()
	inUse := func(context.Context) ([]raid.Use, error) { return raid.ReadInUse(os.DirFS("/")) }
	return storage.Round(ctx, h, in, facts.System.Serial, inUse, report)
}

func (m *machine) PrepareBoot(ctx context.Context, b agentapi.Boot, report agent.Report) (func() error, error) {
	switch b.Method {
	case "reboot":
		return m.leave("reboot", early.Reboot), nil
	case "poweroff":
		return m.leave("power off", early.PowerOff), nil
	case "kexec":
		device, err := m.find(ctx, b.Disk)
		if err != nil {
			return nil, err
		}
		kernel, err := disk.FindKernel(ctx, device)
		if err != nil {
			return nil, err
		}
		report.Log("kexec into " + kernel.Found + ": " + kernel.Cmdline)
		if err := kernel.Load(); err != nil {
			return nil, err
		}
		return m.leave("kexec into "+kernel.Found, disk.Kexec), nil
	}
	return nil, fmt.Errorf("unknown way to boot %q, expected reboot, kexec or poweroff", b.Method)
}

func (m *machine) leave(how string, do func() error) func() error {
	return func() error {
		m.console.Say("boot", how)
		m.console.Flush(2 * time.Second)
		return do()
	}
}

// lines is a slog.Handler that writes to the timeline.
type lines struct{ report agent.Report }

func (l *lines) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelInfo }
func (l *lines) WithAttrs([]slog.Attr) slog.Handler               { return l }
func (l *lines) WithGroup(string) slog.Handler                    { return l }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	var b strings.Builder
	b.WriteString(r.Message)
	r.Attrs(func(a slog.Attr) bool {
		fmt.Fprintf(&b, " %s=%v", a.Key, a.Value)
		return true
	})
	l.report.Log(b.String())
	return nil
}

// binary shows bytes in powers of 1024.
func binary(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	f, i := float64(n)/unit, 0
	for f >= unit && i < 4 {
		f /= unit
		i++
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[i])
}
