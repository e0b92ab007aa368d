// Package host drives the RAID controllers of the machine that it runs on. It tells by their PCI ids which tool each needs,
// before any tool is run, starts one process for each driver, and makes them one [raid.Driver].
//
//	facts, err := hw.Detect(ctx)
//	h, err := host.Open(ctx, host.Config{Devices: facts.Controllers})
//	defer h.Close()
//	inventories, err := h.Read(ctx)
//	plan, err := raid.NewPlan(inventories, layout)
//	err = raid.Apply(ctx, h.Driver(), plan, guard, observe)
//
// The program that calls Open holds the drivers itself, unless [Config] names another: its main has to hand the argument
// [drivers.Command] and what follows to [drivers.Main].
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/drivers"
	"github.com/project-loda/loda/raid/plugin"
)

// Config says what the machine has, and where drivers and tools are.
type Config struct {
	// Devices are the machine's storage controllers (PCI class 01), as hw.Facts.Controllers has them.
	Devices []hw.PCIDevice
	// Executable holds the drivers of this tree, see package drivers; empty: this program. Args come before the driver's
	// name; nil: [drivers.Command].
	Executable string
	Args       []string
	// Tool finds a tool, or fetches it, and returns its path. An error that wraps [ErrNoTool] says that it is not to be
	// had. Nil: [LookPath].
	Tool func(context.Context, raid.Tool) (string, error)
	// ToolEnv is added to the environment of tools, as NAME=value.
	ToolEnv []string
	// Libraries says where a tool, or a driver from outside, finds shared libraries that the machine does not have
	// (LD_LIBRARY_PATH), by the path of the program. Nil or an empty answer: nowhere.
	Libraries func(program string) string
	// External are drivers from outside. They come before those of this tree.
	External []External
	// Assemble brings the kernel's arrays up before they are looked for, as in a RAM disk, where nothing else does.
	Assemble bool
	// Logger gets what drivers log; nil: nobody does.
	Logger *slog.Logger
}

// External is a driver from outside: an executable, see package plugin.
type External struct {
	Name string
	Path string
	// Fetch returns the path instead, when the machine has a controller that the driver is for.
	Fetch func(context.Context) (string, error)
	// SHA256 of the executable, hexadecimal. It is checked before anything of it runs. Empty: whatever is there is run.
	SHA256 string
	Args   []string
	// For are the controllers that it is for: vendor:device, or vendor:device:subvendor:subdevice, hexadecimal.
	For []string
}

// ErrNoTool is wrapped by errors of [Config.Tool] for a tool that is not to be had.
var ErrNoTool = errors.New("the tool is not here")

// Host is the machine's controllers. Its methods may be called from several goroutines.
type Host struct {
	config  Config
	started []*plugin.Process
	driver  *placed
	// expected are RAID controllers that a driver was started for, by PCI address, with the words for them.
	expected map[raid.ControllerID]string
	// without are controllers that no driver was started for, and why.
	without []string

	mu     sync.Mutex
	unseen []string // of the last Read
}

// Open starts the drivers that the machine needs. A driver that cannot be started, or whose tool is missing, is no error:
// its controllers are [Host.Unmanaged]. ctx bounds the start only.
func Open(ctx context.Context, c Config) (*Host, error) {
	if c.Executable == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("RAID drivers: %w", err)
		}
		c.Executable = self
	}
	if c.Args == nil {
		c.Args = []string{drivers.Command}
	}
	if c.Tool == nil {
		c.Tool = LookPath
	}
	h := &Host{config: c, expected: map[raid.ControllerID]string{}}
	var joined []raid.Driver
	for _, n := range needs(c.Devices, c.External) {
		if ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("RAID drivers: %w", context.Cause(ctx)), h.Close())
		}
		p, err := h.start(ctx, n)
		switch {
		case err == nil:
			h.started = append(h.started, p)
			joined = append(joined, p)
			if n.expects {
				for _, d := range n.devices {
					h.expected[raid.ControllerID(d.Address)] = n.words(d)
				}
			}
		case n.expects:
			for _, d := range n.devices {
				h.without = append(h.without, fmt.Sprintf("controller %s: %v", n.words(d), err))
			}
		case !errors.Is(err, ErrNoTool):
			h.without = append(h.without, fmt.Sprintf("driver %s: %v", n.tool, err))
		}
	}
	h.driver = &placed{raid.Join(joined...), slots(c.Devices)}
	return h, nil
}

// need is a driver that the machine wants.
type need struct {
	tool, fallback raid.Tool
	external       *External
	devices        []hw.PCIDevice
	families       map[string]string
	// expects: the controllers hide their drives, so somebody will miss the driver.
	expects bool
}

func (n *need) words(d hw.PCIDevice) string {
	return fmt.Sprintf("%s (%s, PCI id %s:%s)", d.Address, n.families[d.Address], d.Vendor, d.Device)
}

// needs are the drivers for these controllers: those from outside, those of the makers in the order of addresses, and what
// every machine may have: the kernel's RAID and the namespaces of NVMe drives.
func needs(devices []hw.PCIDevice, external []External) []*need {
	devices = slices.Clone(devices)
	slices.SortFunc(devices, func(a, b hw.PCIDevice) int { return raid.CompareLocations(a.Address, b.Address) })
	var all []*need
	nvme := false
	add := func(n need, d hw.PCIDevice, family string) {
		for _, o := range all {
			if o.tool == n.tool && o.external == n.external {
				o.devices, o.families[d.Address], o.expects = append(o.devices, d), family, o.expects || n.expects
				return
			}
		}
		n.devices, n.families = []hw.PCIDevice{d}, map[string]string{d.Address: family}
		all = append(all, &n)
	}
	for i := range external {
		for _, d := range devices {
			if slices.ContainsFunc(external[i].For, func(id string) bool { return isFor(id, d) }) {
				add(need{external: &external[i], expects: true}, d, "driver "+external[i].Name)
			}
		}
	}
	for _, d := range devices {
		if slices.ContainsFunc(external, func(e External) bool {
			return slices.ContainsFunc(e.For, func(id string) bool { return isFor(id, d) })
		}) {
			continue
		}
		r, ok := raid.Recognize(d)
		nvme = nvme || ok && r.Kind == raid.NVMe
		if ok && r.Tool != raid.Mdadm {
			add(need{tool: r.Tool, fallback: r.Fallback, expects: r.Kind == raid.RAID}, d, r.Family)
		}
	}
	all = append(all, &need{tool: raid.Mdadm})
	if nvme {
		all = append(all, &need{tool: raid.Nvme})
	}
	return all
}

// isFor reports whether an id of [External.For] is that of a device.
func isFor(id string, d hw.PCIDevice) bool {
	have := []string{d.Vendor, d.Device, d.SubVendor, d.SubDevice}
	parts := strings.Split(strings.ToLower(id), ":")
	if len(parts) != 2 && len(parts) != 4 {
		return false
	}
	for i, p := range parts {
		if p != strings.ToLower(have[i]) {
			return false
		}
	}
	return true
}

func (h *Host) start(ctx context.Context, n *need) (*plugin.Process, error) {
	logger := h.config.Logger
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	if e := n.external; e != nil {
		path := e.Path
		if e.Fetch != nil {
			var err error
			if path, err = e.Fetch(ctx); err != nil {
				return nil, err
			}
		}
		c := plugin.Config{Path: path, Args: e.Args, SHA256: e.SHA256, Logger: logger.With("driver", e.Name)}
		if l := h.libraries(path); l != "" {
			c.Env = append(os.Environ(), l)
		}
		return plugin.Start(ctx, c)
	}
	if n.tool == raid.Mdadm {
		if _, err := os.Stat("/proc/mdstat"); err != nil {
			return nil, fmt.Errorf("this kernel has no md: %w", ErrNoTool)
		}
	}
	tool := n.tool
	path, err := h.config.Tool(ctx, tool)
	if errors.Is(err, ErrNoTool) && n.fallback != "" && n.fallback != raid.Mdadm {
		if other, second := h.config.Tool(ctx, n.fallback); second == nil {
			tool, path, err = n.fallback, other, nil
		} else {
			err = fmt.Errorf("%w; nor is %s: %w", err, n.fallback, second)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("it needs %s: %w", tool, err)
	}
	args := append(slices.Clone(h.config.Args), string(tool), "--tool", path)
	for _, d := range n.devices {
		args = append(args, "--pci", d.Address)
	}
	env := slices.Clone(h.config.ToolEnv)
	if l := h.libraries(path); l != "" {
		env = append(env, l)
	}
	for _, e := range env {
		args = append(args, "--env", e)
	}
	if h.config.Assemble && tool == raid.Mdadm {
		args = append(args, "--assemble")
	}
	return plugin.Start(ctx, plugin.Config{Path: h.config.Executable, Args: args, Logger: logger.With("driver", string(tool))})
}

// libraries is the variable that leads a program to its libraries; empty if it has none.
func (h *Host) libraries(program string) string {
	if h.config.Libraries != nil {
		if dir := h.config.Libraries(program); dir != "" {
			return "LD_LIBRARY_PATH=" + dir
		}
	}
	return ""
}

// Driver is all drivers as one.
func (h *Host) Driver() raid.Driver { return h.driver }

// Read reads all controllers. It returns those that can be read also when others cannot, which the error tells.
func (h *Host) Read(ctx context.Context) ([]*raid.Inventory, error) {
	found, err := h.driver.Probe(ctx)
	errs := []error{err}
	inventories := []*raid.Inventory{}
	seen := map[raid.ControllerID]bool{}
	for _, c := range found {
		seen[c.ID] = true
		inv, err := h.driver.Inventory(ctx, c.ID)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read controller %s: %w", c.ID, context.Cause(ctx))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("read controller %s: %w", c.ID, err))
			continue
		}
		inventories = append(inventories, inv)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unseen = nil
	for id, words := range h.expected {
		if !seen[id] {
			h.unseen = append(h.unseen, fmt.Sprintf("controller %s: its driver does not find it", words))
		}
	}
	slices.Sort(h.unseen)
	return inventories, errors.Join(errs...)
}

// Unmanaged says of each RAID controller that has no driver, or that its driver did not find when it was last read, why.
func (h *Host) Unmanaged() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(slices.Clone(h.without), h.unseen...)
}

// Close ends all drivers. A step that is being executed is waited for.
func (h *Host) Close() error {
	errs := make([]error, len(h.started))
	var wg sync.WaitGroup
	for i, p := range h.started {
		wg.Go(func() { errs[i] = p.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// placed says in which slot of the board a controller is, where its tool does not know.
type placed struct {
	*raid.Joined
	slots map[raid.ControllerID]string
}

func slots(devices []hw.PCIDevice) map[raid.ControllerID]string {
	all := map[raid.ControllerID]string{}
	for _, d := range devices {
		if d.Slot != "" {
			all[raid.ControllerID(d.Address)] = d.Slot
		}
	}
	return all
}

func (p *placed) Probe(ctx context.Context) ([]raid.Controller, error) {
	all, err := p.Joined.Probe(ctx)
	for i := range all {
		p.place(&all[i])
	}
	return all, err
}

func (p *placed) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	inv, err := p.Joined.Inventory(ctx, id)
	if err == nil {
		p.place(&inv.Controller)
	}
	return inv, err
}

func (p *placed) place(c *raid.Controller) {
	if c.Slot == "" {
		c.Slot = p.slots[c.ID]
	}
}
