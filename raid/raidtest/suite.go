package raidtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// Suite is what any driver must stand.
type Suite struct {
	// New returns the driver over a chassis. It is called again whenever the machine is started, so that a driver that
	// keeps something in memory does not get away with it. What it lets wait must not take longer than Patience.
	New func(t *testing.T, c *Chassis) raid.Driver
	// Make returns what the machine is at first: controllers that the driver knows, of which the first one has all the
	// drives that Layout needs. Nil: a [MegaRAID] with four SSDs, eight HDDs, and a volume that Layout does not list.
	Make func() *State
	// Layout that is to be had, of several steps; nil: one that uses all of the default.
	Layout *raid.Layout
	// Then is a layout that a machine which has Layout is to get; nil: none, or where Layout is nil too, one that changes
	// what can be changed without deleting a volume.
	Then *raid.Layout
	// Patience is how long one attempt at the whole layout may take, with a command that hangs among it; 0: 20 seconds.
	Patience time.Duration

	first *Suite // whose layout the machine has already
}

// Case is one test of the suite.
type Case struct {
	Name string
	// Run returns what is wrong with the driver.
	Run func(t *testing.T) error
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	for _, c := range s.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			if err := c.Run(t); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// DefaultState is what [Suite.Make] is without one.
func DefaultState() *State {
	ctl := MegaRAID("0000:18:00.0", "SV1")
	ctl.AddDrives(4, hw.SSD, hw.BusATA, 480e9)
	ctl.AddDrives(8, hw.HDD, hw.BusSAS, 4e12)
	ctl.Drives[11].State, ctl.Drives[11].Data = raid.DiskJBOD, "somebody's" // a bystander
	s := &State{Controllers: []*Controller{ctl}}
	ctl.state = s
	if _, err := ctl.CreateVolume(NewVolume{Name: "old", Level: raid.Level5,
		Drives: []string{"SV1-D005", "SV1-D006", "SV1-D007"}}); err != nil {
		panic(err) // it is a constant
	}
	return s
}

// DefaultLayout is what [Suite.Layout] is without one.
func DefaultLayout() *raid.Layout {
	hdd := raid.SizeRange{Min: 3e12}
	return &raid.Layout{Controllers: []raid.ControllerLayout{{
		Unlisted: raid.UnlistedRemove,
		Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}, Size: 100e9, Boot: true,
				Strip: 64 << 10, Write: raid.WriteThrough},
			{Name: "log", Level: raid.Level0, Disks: raid.DiskChoice{SameAs: "os"}},
			{Name: "data", Level: raid.Level6, Disks: raid.DiskChoice{Count: 5, Medium: hw.HDD, Size: hdd},
				Read: raid.ReadAhead},
		},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 1, Medium: hw.HDD}, For: []string{"data"}}},
	}}}
}

// DefaultThen is what [Suite.Then] is without one.
func DefaultThen() *raid.Layout {
	l := DefaultLayout()
	c := &l.Controllers[0]
	c.Volumes[0].Write, c.Volumes[0].Boot, c.Volumes[1].Boot = raid.WriteBack, false, true
	c.Volumes[2].Read = raid.ReadNone
	c.Volumes = append(c.Volumes, raid.Volume{Name: "more", Level: raid.Level0,
		Disks: raid.DiskChoice{Count: 2, Medium: hw.HDD}, Initialize: raid.InitializeFull})
	c.Spares[0].For, c.Rest = nil, raid.RestJBOD
	return l
}

// Cases are the tests of the suite.
func (s Suite) Cases() []Case {
	if s.Make == nil {
		s.Make = DefaultState
	}
	if s.Layout == nil {
		s.Layout = DefaultLayout()
		if s.Then == nil {
			s.Then = DefaultThen()
		}
	}
	cases := s.cases()
	if s.Then == nil {
		return cases
	}
	then := s
	then.Layout, then.first = s.Then, &s
	for _, c := range then.cases() {
		cases = append(cases, Case{"then " + c.Name, c.Run})
	}
	return cases
}

// reached brings a new machine to a layout with the in-process driver, and forgets how.
func (s Suite) reached(t *testing.T, c *Chassis) error {
	s.New = func(_ *testing.T, c *Chassis) raid.Driver { return &Driver{Chassis: c} }
	r := &rig{suite: s, t: t, chassis: c, driver: s.New(t, c), touched: map[string]bool{}}
	if err := r.reach(t.Context()); err != nil {
		return fmt.Errorf("Suite.Layout cannot be had by what Suite.Make returns: %w", err)
	}
	return c.Edit(func(state *State) error {
		state.Journal, state.Commands = nil, 0
		return nil
	})
}

func (s Suite) cases() []Case {
	cases := []Case{
		{"what is listed is what is there", s.lists},
		{"a layout is reached, and then there is nothing to do", s.reaches},
		{"a plan for what has changed does nothing", s.refusesChanged},
		{"a step that nobody approved is not done", s.refusesUnapproved},
		{"a drive that fails, is rebuilt, is pulled", s.degrades},
		{"foreign drives and preserved cache", s.foreign},
		{"a listing that exits with 1 counts", s.readFails},
	}
	for _, cut := range []FaultKind{CutBefore, CutAfter} {
		cases = append(cases, Case{"power " + string(cut) + " each command", func(t *testing.T) error {
			return s.cuts(t,
				cut)
		}})
	}
	for _, kind := range []FaultKind{Refuse, FailExit0, DoneExit1, Lie, Slow, HangBefore, HangAfter} {
		cases = append(cases, Case{"fault " + string(kind) + " at each command", func(t *testing.T) error {
			return s.fails(t,
				kind)
		}})
	}
	return cases
}

// rig is one machine of a case.
type rig struct {
	suite   Suite
	t       *testing.T
	chassis *Chassis
	driver  raid.Driver
	// touched are the serial numbers of all drives that plans named.
	touched map[string]bool
}

func (s Suite) rig(t *testing.T, faults ...Fault) (*rig, error) {
	c, err := Create(filepath.Join(t.TempDir(), "chassis.json"), s.Make())
	if err == nil && s.first != nil {
		err = s.first.reached(t, c)
	}
	if err == nil {
		err = c.Edit(func(state *State) error {
			state.Faults = append(state.Faults, faults...)
			return nil
		})
	}
	if err != nil {
		return nil, err
	}
	return &rig{suite: s, t: t, chassis: c, driver: s.New(t, c), touched: map[string]bool{}}, nil
}

// start starts the machine again: no process lives on.
func (r *rig) start() error {
	if err := r.chassis.PowerOn(); err != nil {
		return err
	}
	r.driver = r.suite.New(r.t, r.chassis)
	return nil
}

func (r *rig) read(ctx context.Context) ([]*raid.Inventory, error) {
	controllers, err := r.driver.Probe(ctx)
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	var all []*raid.Inventory
	for _, c := range controllers {
		inv, err := r.driver.Inventory(ctx, c.ID)
		if err != nil {
			return nil, fmt.Errorf("inventory: %w", err)
		}
		all = append(all, inv)
	}
	return all, nil
}

func (r *rig) plan(ctx context.Context) (*raid.Plan, error) {
	all, err := r.read(ctx)
	if err != nil {
		return nil, err
	}
	p, err := raid.NewPlan(all, r.suite.Layout)
	if err != nil {
		return nil, fmt.Errorf("plan: %w", err)
	}
	byIdentity := func(id raid.DiskIdentity) { r.touched[strings.TrimSpace(id.Serial)] = true }
	for _, s := range p.Steps {
		for _, d := range s.Disks {
			byIdentity(d.DiskIdentity)
		}
		if s.Volume != nil {
			for _, m := range s.Volume.Members {
				byIdentity(m)
			}
		}
	}
	return p, nil
}

func approved(p *raid.Plan) raid.Guard {
	return raid.Guard{Machine: "SN1", Approval: &raid.Approval{Machine: "SN1", Plan: p.Digest(), Allow: p.Needs()},
		InUse: func(context.Context) ([]raid.Use, error) { return nil, nil }}
}

// once plans and applies. It returns whether there was nothing to do.
func (r *rig) once(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, cmp.Or(r.suite.Patience, 20*time.Second))
	defer cancel()
	p, err := r.plan(ctx)
	if err != nil || p.Empty() {
		return err == nil, err
	}
	return false, raid.Apply(ctx, r.driver, p, approved(p), nil)
}

// reach plans and applies until there is nothing to do, and starts the machine where that is needed.
func (r *rig) reach(ctx context.Context) error {
	var last error
	for range 12 {
		done, err := r.once(ctx)
		if done {
			return r.settled()
		}
		state, e := r.chassis.State()
		if e != nil {
			return e
		}
		if reboot := (*raid.RebootError)(nil); state.Off || errors.As(err, &reboot) {
			err = r.start()
		}
		last = cmp.Or(err, last)
	}
	return fmt.Errorf("the layout is not reached in 12 attempts: %w", cmp.Or(last,
		errors.New("there is always more to do")))
}

// settled holds the truth against the layout, and what was touched against what was planned.
func (r *rig) settled() error {
	state, err := r.chassis.State()
	if err != nil {
		return err
	}
	var truth []*raid.Inventory
	for _, c := range state.Controllers {
		truth = append(truth, c.Inventory())
	}
	p, err := raid.NewPlan(truth, r.suite.Layout)
	switch {
	case err != nil:
		return fmt.Errorf("the driver has nothing left to do, and the layout cannot be had: %w", err)
	case !p.Empty():
		return fmt.Errorf("the driver has nothing left to do, and in truth there is: %s", steps(p))
	}
	for _, e := range state.Journal {
		for _, serial := range e.Drives {
			if !r.touched[serial] {
				return fmt.Errorf("command %d, %s, touched drive %s, which no plan names", e.Number, e.Op, serial)
			}
		}
	}
	return nil
}

func steps(p *raid.Plan) string {
	var words []string
	for _, s := range p.Steps {
		words = append(words, string(s.Kind)+" ("+s.Reason+")")
	}
	return strings.Join(append(words, p.Reboot...), ", ")
}

// agree holds what the driver tells against the truth.
func (r *rig) agree(ctx context.Context) error {
	state, err := r.chassis.State()
	if err != nil {
		return err
	}
	all, err := r.read(ctx)
	if err != nil {
		return err
	}
	if len(all) != len(state.Controllers) {
		return fmt.Errorf("%d controllers are listed, and %d are there", len(all), len(state.Controllers))
	}
	var errs []error
	for _, inv := range all {
		c := state.Controller(inv.Controller.ID)
		if c == nil {
			return fmt.Errorf("controller %s is listed, and not there", inv.Controller.ID)
		}
		for _, d := range Disagree(c.Inventory(), inv) {
			errs = append(errs, fmt.Errorf("controller %s: %s", c.ID, d))
		}
	}
	return errors.Join(errs...)
}

// Disagree holds an inventory that a driver read against the truth. Ids and locations are the driver's own and free;
// what it does not tell is no lie, but for the states, serial numbers and members that everything depends on.
func Disagree(truth, got *raid.Inventory) []string {
	var bad []string
	add := func(format string, args ...any) { bad = append(bad, fmt.Sprintf(format, args...)) }
	serialOf := func(inv *raid.Inventory, id raid.DiskID) string {
		for _, d := range inv.Disks {
			if d.ID == id {
				return d.Serial
			}
		}
		return "?" + string(id)
	}
	serials := func(inv *raid.Inventory, ids []raid.DiskID) []string {
		all := []string{}
		for _, id := range ids {
			all = append(all, serialOf(inv, id))
		}
		slices.Sort(all)
		return all
	}
	if got.Controller.Mode != "" && got.Controller.Mode != truth.Controller.Mode {
		add("mode %s instead of %s", got.Controller.Mode, truth.Controller.Mode)
	}
	if got.Controller.PendingMode != truth.Controller.PendingMode {
		add("pending mode %q instead of %q", got.Controller.PendingMode, truth.Controller.PendingMode)
	}
	if a, b := len(got.Controller.PreservedCache), len(truth.Controller.PreservedCache); a != b {
		add("preserved cache of %d volumes instead of %d", a, b)
	}
	there := slices.DeleteFunc(slices.Clone(got.Disks), func(d raid.PhysicalDisk) bool {
		return d.State.Is == raid.DiskMissing && !slices.ContainsFunc(truth.Disks,
			func(t raid.PhysicalDisk) bool { return t.Serial == d.Serial })
	}) // of a member that is gone some tools still know the serial number
	if a, b := len(there), len(truth.Disks); a != b {
		add("%d drives instead of %d", a, b)
	}
	for _, want := range truth.Disks {
		i := slices.IndexFunc(got.Disks, func(d raid.PhysicalDisk) bool { return d.Serial == want.Serial })
		if i < 0 {
			add("drive %s is not listed", want.Serial)
			continue
		}
		d := got.Disks[i]
		if d.State.Is != want.State.Is {
			add("drive %s is %s instead of %s", d.Serial, d.State, want.State)
		}
		if d.Foreign != want.Foreign {
			add("drive %s: foreign is %t", d.Serial, d.Foreign)
		}
		if !near(d.Bytes, d.Rounded, want.Bytes) {
			add("drive %s has %d bytes instead of %d", d.Serial, d.Bytes, want.Bytes)
		}
		if d.Medium != "" && d.Medium != hw.MediumUnknown && d.Medium != want.Medium {
			add("drive %s is of medium %s instead of %s", d.Serial, d.Medium, want.Medium)
		}
		if d.SMARTAlert != nil && *d.SMARTAlert != *want.SMARTAlert {
			add("drive %s: SMART alert is %t", d.Serial, *d.SMARTAlert)
		}
	}
	if a, b := len(got.Volumes), len(truth.Volumes); a != b {
		add("%d volumes instead of %d", a, b)
	}
	used := map[int]bool{}
	for _, want := range truth.Volumes {
		i := slices.IndexFunc(got.Volumes, func(v raid.VirtualDisk) bool {
			if v.WWN != "" {
				return strings.EqualFold(strings.TrimPrefix(v.WWN, "naa."), want.WWN)
			}
			return v.Level.Is == want.Level.Is && near(v.Bytes, v.Rounded, want.Bytes) &&
				slices.Equal(serials(got, v.Members), serials(truth, want.Members))
		})
		if i < 0 || used[i] {
			add("volume %s (%s) is not listed", want.ID, want.WWN)
			continue
		}
		used[i] = true
		v := got.Volumes[i]
		if v.Level.Is != want.Level.Is {
			add("volume %s has level %s instead of %s", v.ID, v.Level, want.Level)
		}
		if v.State.Is != want.State.Is {
			add("volume %s is %s instead of %s", v.ID, v.State, want.State)
		}
		if !near(v.Bytes, v.Rounded, want.Bytes) {
			add("volume %s has %d bytes instead of %d", v.ID, v.Bytes, want.Bytes)
		}
		if g, w := serials(got, v.Members), serials(truth, want.Members); !slices.Equal(g, w) {
			add("volume %s is on drives %q instead of %q", v.ID, g, w)
		}
		if v.Missing != want.Missing {
			add("volume %s misses %d drives instead of %d", v.ID, v.Missing, want.Missing)
		}
		if got.Controller.Capabilities.Names && v.Name != want.Name {
			add("volume %s has name %q instead of %q", v.ID, v.Name, want.Name)
		}
		if v.Strip != 0 && want.Strip != 0 && v.Strip != want.Strip {
			add("volume %s has strips of %s instead of %s", v.ID, v.Strip, want.Strip)
		}
		for _, p := range [][3]string{
			{"read", string(v.Policies.Read), string(want.Policies.Read)},
			{"write", string(v.Policies.Write), string(want.Policies.Write)},
			{"io", string(v.Policies.IO), string(want.Policies.IO)},
			{"disk cache", string(v.Policies.DiskCache), string(want.Policies.DiskCache)},
			{"current write", string(v.Current.Write), string(want.Current.Write)},
		} {
			if p[1] != "" && p[1] != p[2] {
				add("volume %s has %s policy %s instead of %s", v.ID, p[0], p[1], p[2])
			}
		}
		if v.Boot != nil && want.Boot != nil && *v.Boot != *want.Boot {
			add("volume %s: boot is %t", v.ID, *v.Boot)
		}
	}
	return bad
}

// near allows for what a tool rounds, if it says so: three digits.
func near(got int64, rounded bool, want int64) bool {
	tolerance := int64(0)
	if rounded {
		tolerance = want / 100 * 3
	}
	return got >= want-tolerance && got <= want+tolerance
}
