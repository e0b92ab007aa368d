package mdadm

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// Name of the driver.
const Name = "mdadm"

// Driver is the kernel's software RAID.
type Driver struct {
	// Patience is how long a command that changes something may take before the state is read without its answer; 0: ten
	// minutes.
	Patience time.Duration

	run      raid.Runner
	tool     string
	wipefs   string
	disks    func(context.Context) ([]hw.Disk, error)
	stat     func() ([]byte, error)
	assembly bool
}

var _ raid.Driver = (*Driver)(nil)

// Option changes how a Driver works.
type Option func(*Driver)

// WithAssembly makes Probe bring up the arrays that are on the drives, degraded ones as well, as a controller's
// firmware does at power-on. It is for a machine that has nothing else to do it, as in the RAM disk.
func WithAssembly() Option { return func(d *Driver) { d.assembly = true } }

// WithWipefs names another program than wipefs of PATH.
func WithWipefs(program string) Option { return func(d *Driver) { d.wipefs = program } }

// WithStat reads /proc/mdstat from somewhere else.
func WithStat(read func() ([]byte, error)) Option { return func(d *Driver) { d.stat = read } }

// New makes a driver that runs tool (mdadm). disks lists the drives of this machine, as hw finds them.
func New(run raid.Runner, tool string, disks func(context.Context) ([]hw.Disk, error), options ...Option) *Driver {
	d := &Driver{run: run, tool: tool, wipefs: "wipefs", disks: disks,
		stat: func() ([]byte, error) { return os.ReadFile("/proc/mdstat") }}
	for _, o := range options {
		o(d)
	}
	return d
}

// Name is mdadm.
func (d *Driver) Name() string { return Name }

// Probe has one controller if this kernel has md: a kernel without it, or whose module md_mod is not loaded, has no
// /proc/mdstat.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	if _, err := d.stat(); errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("mdadm: is there md in this kernel? %w", err)
	}
	if d.assembly {
		// Exits with 1 where there is nothing to assemble. What came of it is seen in the inventory.
		if _, err := d.write(ctx, d.tool, "--assemble", "--scan", "--run", "--homehost=any"); err != nil {
			return nil, err
		}
	}
	return []raid.Controller{build(nil, []hw.Disk{}).Controller}, nil
}

// Inventory reads all drives and arrays anew.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	if id != raid.MD {
		return nil, fmt.Errorf("mdadm: %s is no controller of this driver, which has only %s", id, raid.MD)
	}
	disks, err := d.disks(ctx)
	if err != nil {
		return nil, fmt.Errorf("mdadm: list the drives: %w", err)
	}
	if disks == nil {
		disks = []hw.Disk{}
	}
	text, err := d.stat()
	if err != nil {
		return nil, fmt.Errorf("mdadm: read which arrays run: %w (is the module md_mod loaded?)", err)
	}
	var running []array
	for _, s := range parseStat(text) {
		a, err := d.running(ctx, s)
		if err != nil {
			return nil, err
		}
		running = append(running, a)
	}
	examined, err := d.examine(ctx, disks, running)
	if err != nil {
		return nil, err
	}
	return build(merge(running, examined), disks), nil
}

// running asks for one array. The text has the sizes and states, the export what a name cannot forge.
func (d *Driver) running(ctx context.Context, s array) (array, error) {
	text, err := d.read(ctx, d.tool, "--detail", s.device)
	if err != nil {
		return array{}, err
	}
	a := s
	if details := parseDetail(text.Stdout); len(details) > 0 {
		a = details[0]
		a.device = s.device // the node that was asked for, whatever the text calls it
	}
	text, err = d.read(ctx, d.tool, "--detail", "--export", s.device)
	if err != nil {
		return array{}, err
	}
	if e, ok := parseExport(text.Stdout); ok {
		if len(e.members) > 0 {
			a.members = slices.DeleteFunc(a.members, func(m member) bool {
				return !slices.ContainsFunc(e.members, func(o member) bool { return o.device == m.device })
			})
		}
		a.improve(e)
	}
	a.improve(s)
	return a, nil
}

// examine looks on drives, and on their partitions, for arrays that do not run.
func (d *Driver) examine(ctx context.Context, disks []hw.Disk, running []array) ([]array, error) {
	scan, err := d.read(ctx, d.tool, "--examine", "--scan", "--verbose")
	if err != nil {
		return nil, err
	}
	var devices []string
	for _, device := range parseScan(scan.Stdout) {
		if slices.ContainsFunc(disks, func(disk hw.Disk) bool { return usable(&disk) && isOn(device, "/dev/"+disk.Name) }) &&
			!slices.ContainsFunc(running, func(a array) bool {
				return slices.ContainsFunc(a.members, func(m member) bool { return m.device == device })
			}) {
			devices = append(devices, device)
		}
	}
	if len(devices) == 0 {
		return nil, nil
	}
	out, err := d.read(ctx, append([]string{d.tool, "--examine"}, devices...)...)
	if err != nil {
		return nil, err
	}
	found := slices.DeleteFunc(parseExamine(out.Stdout), func(s superblock) bool {
		return !slices.Contains(devices, s.device)
	})
	return offline(found), nil
}

const (
	readTime = time.Minute
	// writeTime is for drives that die meanwhile: the kernel gives up on a command after half a minute, several times.
	writeTime = 10 * time.Minute
)

// read runs a command that changes nothing.
func (d *Driver) read(ctx context.Context, argv ...string) (*raid.Output, error) {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	out, err := d.run.Run(ctx, argv...)
	if err != nil {
		return nil, fmt.Errorf("mdadm: run %s: %w", strings.Join(argv, " "), err)
	}
	return out, nil
}

// write runs a command that changes something. It is waited for even if nobody wants it any more.
func (d *Driver) write(ctx context.Context, argv ...string) (*raid.Output, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("mdadm: %s was not begun: %w", strings.Join(argv, " "), err)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cmp.Or(d.Patience, writeTime))
	defer cancel()
	out, err := d.run.Run(ctx, argv...)
	if err != nil {
		return nil, fmt.Errorf("mdadm: run %s: %w", strings.Join(argv, " "), err)
	}
	return out, nil
}
