package storcli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/project-loda/loda/raid"
)

// Driver drives controllers through one of the tools. It may be used by several goroutines; commands run one at a time.
type Driver struct {
	run  raid.Runner
	tool string
	// reads and writes are how long a command may take.
	reads, writes time.Duration

	mu sync.Mutex
	// known is where controllers were when they were last read. Nothing in it is believed when something is written.
	known map[raid.ControllerID]address
	// quiet is what makes the tool print JSON and write no log; nil: not known yet.
	quiet []string
}

// address is what the tool calls a controller, and the grammar that it has for it.
type address struct {
	number  int
	dialect dialect
	// jbod: drives may be shown as they are; the controller says so.
	jbod bool
}

// dialect is a generation of the tools' grammar.
type dialect int

const (
	// generation1 is storcli 1.x: `add vd type=raid1 size=all`.
	generation1 dialect = 1
	// generation7 is storcli and perccli 007.x.
	generation7 dialect = 7
	// generation8 is storcli2 and perccli2, 008.x.
	generation8 dialect = 8
)

var _ raid.Driver = (*Driver)(nil)

// New returns a driver over a tool: storcli64, perccli64, storcli2 or perccli2, by name or path. It runs nothing yet.
func New(run raid.Runner, tool string, options ...Option) *Driver {
	d := &Driver{run: run, tool: tool, reads: readLimit, writes: writeLimit, known: map[raid.ControllerID]address{}}
	for _, o := range options {
		o(d)
	}
	return d
}

// Option of a driver.
type Option func(*Driver)

// WithLimits sets how long commands may take: those that read are ended then, with what they had begun; after one that
// writes, which nobody interrupts before, the driver looks what has become of it.
func WithLimits(reads, writes time.Duration) Option {
	return func(d *Driver) { d.reads, d.writes = reads, writes }
}

// Name is the tool's, without what tells its architecture: storcli, perccli, storcli2 or perccli2.
func (d *Driver) Name() string {
	name := strings.ToLower(strings.TrimSuffix(strings.TrimSuffix(filepath.Base(d.tool), ".exe"), "64"))
	switch raid.Tool(name) {
	case raid.Storcli, raid.Storcli2, raid.Perccli, raid.Perccli2:
		return name
	}
	return string(raid.Storcli)
}

// How long commands may take. Reading 240 drives takes half a minute; making a volume or a change of mode up to
// several.
const (
	readLimit  = 3 * time.Minute
	writeLimit = 15 * time.Minute
)

// Probe lists the controllers that the tool finds.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.probe(ctx)
}

func (d *Driver) probe(ctx context.Context) ([]raid.Controller, error) {
	replies, err := d.read(ctx, "/call", "show", "all")
	if err != nil {
		return nil, err
	}
	var c collection
	c.add(replies, false)
	clear(d.known)
	controllers := []raid.Controller{}
	for _, f := range c.sorted() {
		controller := f.controller()
		controller.Driver = d.Name()
		controllers = append(controllers, controller)
		d.known[controller.ID] = f.address(d.tool)
	}
	slices.SortFunc(controllers, func(a, b raid.Controller) int { return strings.Compare(string(a.ID), string(b.ID)) })
	return controllers, nil
}

func (f *found) address(tool string) address {
	return address{f.number, f.dialect(tool), strings.EqualFold(f.facts["Enable JBOD"], "Yes")}
}

// dialect of an answer. Generation 1 has no line for the version of the tool.
func (f *found) dialect(tool string) dialect {
	base := strings.ToLower(filepath.Base(tool))
	switch {
	case strings.HasPrefix(f.version, "008."), strings.Contains(base, "cli2"):
		return generation8
	case f.version == "", strings.HasPrefix(f.version, "1."), strings.HasPrefix(f.version, "01."):
		return generation1
	}
	return generation7
}

// Inventory reads a controller anew.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.inventory(ctx, id)
}

func (d *Driver) inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	if _, ok := d.known[id]; !ok {
		if err := d.find(ctx, id); err != nil {
			return nil, err
		}
	}
	f, err := d.readController(ctx, id)
	if errors.Is(err, errMoved) {
		// The numbers of controllers change when one is added or fails.
		if err := d.find(ctx, id); err != nil {
			return nil, err
		}
		f, err = d.readController(ctx, id)
	}
	if err != nil {
		return nil, err
	}
	inv := f.inventory()
	inv.Controller.Driver = d.Name()
	return inv, nil
}

func (d *Driver) find(ctx context.Context, id raid.ControllerID) error {
	if _, err := d.probe(ctx); err != nil {
		return err
	}
	if _, ok := d.known[id]; !ok {
		return fmt.Errorf("%s finds no controller %s", filepath.Base(d.tool), id)
	}
	return nil
}

// errMoved: the controller of that number is another one.
var errMoved = errors.New("the tool has another controller under that number")

func (d *Driver) readController(ctx context.Context, id raid.ControllerID) (*found, error) {
	at := d.known[id]
	c := "/c" + strconv.Itoa(at.number)
	var all collection
	f := all.at(at.number)
	ask := func(optional bool, args ...string) error {
		replies, err := d.read(ctx, args...)
		if err != nil {
			return err
		}
		for _, r := range replies {
			if r.controller != at.number && r.controller >= 0 {
				return fmt.Errorf("%s was asked about controller %d and answered about %d", filepath.Base(d.tool), at.number,
					r.controller)
			}
		}
		all.add(replies, optional)
		return nil
	}
	if err := ask(false, c, "show", "all"); err != nil {
		return nil, err
	}
	if len(f.facts) == 0 {
		return nil, fmt.Errorf("controller %s does not answer: %s", id, strings.Join(f.warnings, "; "))
	}
	if now := f.controller().ID; now != id {
		return nil, fmt.Errorf("controller %s: %w: %s", id, errMoved, now)
	}
	at = f.address(d.tool)
	d.known[id] = at

	// Drives without an enclosure answer to a path of their own.
	enclosed, bare := false, len(f.disks) == 0
	for _, disk := range f.disks {
		enclosed = enclosed || disk.enclosure >= 0
		bare = bare || disk.enclosure < 0
	}
	if n, ok := f.listed["Physical Drives"]; !ok || n > 0 {
		if enclosed || len(f.disks) == 0 {
			if err := ask(len(f.disks) == 0, c+"/eall/sall", "show", "all"); err != nil {
				return nil, err
			}
		}
		if bare && !(f.isHBA() && f.hasSerials()) {
			if err := ask(len(f.disks) == 0 || enclosed, c+"/sall", "show", "all"); err != nil {
				return nil, err
			}
		}
	}
	if f.isHBA() {
		return f, nil
	}
	if err := ask(len(f.volumes) == 0, c+"/vall", "show", "all"); err != nil {
		return nil, err
	}
	if err := ask(true, c+"/fall", "show", "all"); err != nil {
		return nil, err
	}
	// Each command takes a second or two: what the controller has answered already is not asked.
	if !strings.EqualFold(cmp.Or(f.facts["Any Offline VD Cache Preserved"], f.facts["Preserved Cache Present"]), "No") {
		if err := ask(true, c, "show", "preservedcache"); err != nil {
			return nil, err
		}
	}
	if at.dialect != generation8 {
		if err := ask(true, c, "show", "bootdrive"); err != nil {
			return nil, err
		}
	}
	if at.dialect == generation7 {
		if err := ask(true, c, "show", "personality"); err != nil {
			return nil, err
		}
	}
	for _, disk := range f.disks {
		if disk.meaning(f.eight, false).Is == raid.DiskRebuilding {
			if err := ask(true, c+diskPath(disk.ID), "show", "rebuild"); err != nil {
				return nil, err
			}
		}
	}
	return f, nil
}

// hasSerials: the drives have told who they are.
func (f *found) hasSerials() bool {
	for _, d := range f.disks {
		if d.Serial == "" {
			return false
		}
	}
	return true
}

// quiets are ways to have JSON and no log file in the current directory, which only newer tools know.
var quiets = [][]string{{"J", "nolog"}, {"J"}, {}}

var syntaxError = regexp.MustCompile(`(?i)syntax error|unexpected token|invalid option`)

// read asks. Answers that report a failure are answers.
func (d *Driver) read(ctx context.Context, args ...string) ([]reply, error) {
	ctx, cancel := context.WithTimeout(ctx, d.reads)
	defer cancel()
	if d.quiet != nil {
		return d.ask(ctx, args, d.quiet)
	}
	var first error
	for _, quiet := range quiets {
		replies, err := d.ask(ctx, args, quiet)
		switch {
		case err == nil && !misread(replies):
			d.quiet = quiet
			return replies, nil
		case err != nil && !errors.Is(err, errNotUnderstood):
			return nil, err
		case first == nil:
			if first = err; first == nil {
				first = fmt.Errorf("%s: %s", d.line(args), strings.Join(replies[0].words(), "; "))
			}
		}
	}
	return nil, first
}

func misread(replies []reply) bool {
	for _, r := range replies {
		if syntaxError.MatchString(r.description) {
			return true
		}
	}
	return false
}

func (d *Driver) line(args []string) string {
	return filepath.Base(d.tool) + " " + strings.Join(args, " ")
}

func (d *Driver) ask(ctx context.Context, args, quiet []string) ([]reply, error) {
	argv := append(append([]string{d.tool}, args...), quiet...)
	out, err := d.run.Run(ctx, argv...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", d.line(args), err)
	}
	replies, err := readReplies(out.Stdout)
	if err != nil && len(out.Stdout) == 0 && len(out.Stderr) > 0 {
		replies, err = readReplies(out.Stderr)
	}
	if err != nil {
		return nil, fmt.Errorf("%s (exit status %d): %w", d.line(args), out.ExitCode, err)
	}
	return replies, nil
}
