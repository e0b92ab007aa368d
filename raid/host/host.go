// Package host drives the RAID controllers of the machine that it runs on. It tells by their PCI ids which tool each needs,
// before any tool is run, starts one process for each driver, and makes them one [raid.Driver].
//
//	facts, err := hw.Detect(ctx)
//	h, err := host.Open(ctx, host.Config{Devices: facts.Controllers})
//	defer h.Close()
//	inventories, err := h.Read(ctx)
//	plan, err := raid.NewPlan(inventories, layout, h.Unread()...)
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
	"regexp"
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
	members []*member
	driver  *placed
	// without are drivers that were not started, in sentences, and lost the RAID controllers that have none by that.
	without []string
	lost    []raid.Controller

	mu     sync.Mutex
	unseen []string // of the last Read
	unread []raid.Controller
}

// member is a driver that was started, and what it is for.
type member struct {
	raid.Driver
	process *plugin.Process
	// expected are RAID controllers that it has to find.
	expected []expectation

	mu     sync.Mutex
	failed error // of the last Probe
	found  []raid.Controller
}

// expectation is a RAID controller, as its PCI ids tell of it.
type expectation struct {
	controller raid.Controller
	words      string
}

func (m *member) Probe(ctx context.Context) ([]raid.Controller, error) {
	found, err := m.Driver.Probe(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failed, m.found = err, found
	return found, err
}

// missed are the expected controllers that were not read, each with the reason; read has those that were.
func (m *member) missed(read map[raid.ControllerID]error) (missed []expectation, why []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	nameless := 0 // some tools do not tell addresses: such a controller is any of those that were expected
	for _, c := range m.found {
		if err, ok := read[c.ID]; ok && err == nil && !pciAddress.MatchString(string(c.ID)) {
			nameless++
		}
	}
	for _, e := range m.expected {
		err, ok := read[e.controller.ID]
		switch {
		case ok && err == nil:
			continue
		case ok:
		case nameless > 0:
			nameless--
			continue
		case m.failed != nil:
			why = append(why, fmt.Sprintf("controller %s: its driver %s has failed", e.words, m.Name()))
		default:
			why = append(why, fmt.Sprintf("controller %s: its driver does not find it", e.words))
		}
		missed = append(missed, e)
	}
	return missed, why
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
	c.Tool = once(c.Tool)
	for _, e := range c.External {
		for _, id := range e.For {
			if !IsPCI(id) {
				return nil, fmt.Errorf("RAID driver %s: %q is no PCI id; want vendor:device or vendor:device:subvendor:subdevice, "+
					"such as 1000:005d", e.Name, id)
			}
		}
	}
	h := &Host{config: c}
	needs := needs(c.Devices, c.External)
	for _, n := range needs {
		if n.external == nil {
			h.choose(ctx, n)
		}
	}
	for _, n := range merge(needs) {
		if ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("RAID drivers: %w", context.Cause(ctx)), h.Close())
		}
		if n.missing == nil {
			var p *plugin.Process
			if p, n.missing = h.start(ctx, n); n.missing == nil {
				h.members = append(h.members, &member{Driver: p, process: p, expected: n.expectations()})
				continue
			}
		}
		expected := n.expectations()
		for _, e := range expected {
			h.without = append(h.without, fmt.Sprintf("controller %s: %v", e.words, n.missing))
			h.lost = append(h.lost, e.controller)
		}
		if len(expected) == 0 && !errors.Is(n.missing, ErrNoTool) {
			h.without = append(h.without, fmt.Sprintf("driver %s: %v", n.tool, n.missing))
		}
	}
	joined := make([]raid.Driver, len(h.members))
	for i, m := range h.members {
		joined[i] = m
	}
	h.driver = &placed{raid.Join(joined...), slots(c.Devices)}
	h.unread = h.lost
	return h, nil
}

// once asks for each tool only one time: it may be fetched from afar.
func once(find func(context.Context, raid.Tool) (string, error)) func(context.Context, raid.Tool) (string, error) {
	type answer struct {
		path string
		err  error
	}
	known := map[raid.Tool]answer{}
	return func(ctx context.Context, t raid.Tool) (string, error) {
		a, ok := known[t]
		if !ok {
			a.path, a.err = find(ctx, t)
			known[t] = a
		}
		return a.path, a.err
	}
}

// need is a driver that the machine wants.
type need struct {
	tool, fallback raid.Tool
	external       *External
	devices        []device
	// path of the tool, or why there is no driver.
	path    string
	missing error
}

// device is a controller that a driver is for.
type device struct {
	hw.PCIDevice
	family string
	// expected: it hides its drives, so somebody will miss the driver.
	expected bool
}

func (n *need) expectations() []expectation {
	var all []expectation
	for _, d := range n.devices {
		if d.expected {
			all = append(all, expectation{raid.Controller{ID: raid.ControllerID(d.Address), Model: d.family, Slot: d.Slot},
				fmt.Sprintf("%s (%s, PCI id %s:%s)", d.Address, d.family, d.Vendor, d.Device)})
		}
	}
	return all
}

// needs are the drivers for these controllers: those from outside, those of the makers in the order of addresses, and what
// every machine may have: the kernel's RAID and the namespaces of NVMe drives.
func needs(devices []hw.PCIDevice, external []External) []*need {
	devices = slices.Clone(devices)
	slices.SortFunc(devices, func(a, b hw.PCIDevice) int { return raid.CompareLocations(a.Address, b.Address) })
	var all []*need
	add := func(n need, d device) {
		for _, o := range all {
			if o.tool == n.tool && o.fallback == n.fallback && o.external == n.external {
				o.devices = append(o.devices, d)
				return
			}
		}
		n.devices = []device{d}
		all = append(all, &n)
	}
	outside := make([]*External, len(devices)) // the first that names a controller has it
	for i, d := range devices {
		for j := range external {
			if outside[i] == nil && external[j].IsFor(d) {
				outside[i] = &external[j]
				add(need{external: outside[i]}, device{d, "driver " + external[j].Name, true})
			}
		}
	}
	nvme := false
	for i, d := range devices {
		r, ok := raid.Recognize(d)
		if !ok || outside[i] != nil {
			continue
		}
		nvme = nvme || r.Kind == raid.NVMe
		if r.Tool != raid.Mdadm {
			add(need{tool: r.Tool, fallback: r.Fallback}, device{d, r.Family, r.Kind == raid.RAID})
		}
	}
	all = append(all, &need{tool: raid.Mdadm})
	if nvme {
		all = append(all, &need{tool: raid.Nvme})
	}
	return all
}

// choose finds the tool of a driver, or the one that does the same.
func (h *Host) choose(ctx context.Context, n *need) {
	if n.tool == raid.Mdadm {
		if _, err := os.Stat("/proc/mdstat"); err != nil {
			n.missing = fmt.Errorf("this kernel has no md: %w", ErrNoTool)
			return
		}
	}
	var err error
	if n.path, err = h.config.Tool(ctx, n.tool); err == nil {
		return
	}
	n.missing = fmt.Errorf("it needs %s: %w", n.tool, err)
	if !errors.Is(err, ErrNoTool) || n.fallback == "" {
		return
	}
	path, second := h.config.Tool(ctx, n.fallback)
	if second != nil {
		n.missing = fmt.Errorf("it needs %s or %s: %w; %w", n.tool, n.fallback, err, second)
		return
	}
	n.tool, n.path, n.missing = n.fallback, path, nil
}

// merge makes one of needs that came to the same tool: two processes of it would both find the controllers of both.
func merge(needs []*need) []*need {
	var all []*need
	for _, n := range needs {
		i := slices.IndexFunc(all, func(o *need) bool {
			return n.external == nil && o.external == nil && n.missing == nil && o.missing == nil && o.tool == n.tool
		})
		if i >= 0 {
			all[i].devices = append(all[i].devices, n.devices...)
			continue
		}
		all = append(all, n)
	}
	return all
}

// pciAddress is a controller's address, as the kernel writes it. Its own domains can have more digits (VMD).
var pciAddress = regexp.MustCompile(`^[0-9a-fA-F]{4,8}:[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$`)

var pciID = regexp.MustCompile(`^[0-9a-fA-F]{4}:[0-9a-fA-F]{4}(:[0-9a-fA-F]{4}:[0-9a-fA-F]{4})?$`)

// IsPCI reports whether an id can be one of [External.For].
func IsPCI(id string) bool { return pciID.MatchString(id) }

// IsFor reports whether the driver is for a controller.
func (e External) IsFor(d hw.PCIDevice) bool {
	return slices.ContainsFunc(e.For, func(id string) bool { return isFor(id, d) })
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
	path := n.path
	args := append(slices.Clone(h.config.Args), string(n.tool), "--tool", path)
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
	if h.config.Assemble && n.tool == raid.Mdadm {
		args = append(args, "--assemble")
	}
	return plugin.Start(ctx, plugin.Config{Path: h.config.Executable, Args: args, Logger: logger.With("driver", string(n.tool))})
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
	seen := map[raid.ControllerID]error{}
	for _, c := range found {
		inv, err := h.driver.Inventory(ctx, c.ID)
		if ctx.Err() != nil {
			return nil, fmt.Errorf("read controller %s: %w", c.ID, context.Cause(ctx))
		}
		if seen[c.ID] = err; err != nil {
			errs = append(errs, fmt.Errorf("read controller %s: %w", c.ID, err))
			continue
		}
		inventories = append(inventories, inv)
	}
	unseen, unread := []string{}, slices.Clone(h.lost)
	for _, m := range h.members {
		missed, why := m.missed(seen)
		unseen = append(unseen, why...)
		for _, e := range missed {
			unread = append(unread, e.controller)
		}
	}
	slices.Sort(unseen)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.unseen, h.unread = unseen, unread
	return inventories, errors.Join(errs...)
}

// Unmanaged says of each RAID controller that has no driver, or that its driver did not find when it was last read, why.
func (h *Host) Unmanaged() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return append(slices.Clone(h.without), h.unseen...)
}

// Unread are the RAID controllers that the last Read did not read, for whatever reason, as far as their PCI ids and the
// board tell of them: what [raid.NewPlan] wants to know beside the inventories.
func (h *Host) Unread() []raid.Controller {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.unread)
}

// Close ends all drivers. A step that is being executed is waited for.
func (h *Host) Close() error {
	errs := make([]error, len(h.members))
	var wg sync.WaitGroup
	for i, m := range h.members {
		wg.Go(func() { errs[i] = m.process.Close() })
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
