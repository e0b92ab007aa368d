package configrepo

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
)

// A Subject is what a profile is looked for, and rendered for.
type Subject struct {
	// Site is the name of the site that the machine is at.
	Site string
	// Machine as the inventory knows it. Nil: one that is only known by its facts.
	Machine *inventory.Machine
	// Facts are the machine's hardware. Nil: not known yet; vendor and product are then those that the inventory has.
	Facts *hw.Facts
	// Profile is the name of the profile that was asked for. Its conditions must hold all the same. Empty: the profile
	// whose conditions hold.
	Profile string
	// Disk is the one that the operating system goes to, where the machine's RAID layout is there already. Nil: the
	// profile's rule chooses.
	Disk *hw.Disk
}

// Conditions select machines. All that are given must hold; one on a value that is not known does not hold.
type Conditions struct {
	// Vendor, Product and SKU are of the system, Board is the product name of the mainboard, as hw.Facts has them.
	Vendor  Patterns `yaml:"vendor"`
	Product Patterns `yaml:"product"`
	SKU     Patterns `yaml:"sku"`
	Board   Patterns `yaml:"board"`
	// Serial is the serial number, Name the host name, Rack and Labels are the inventory's.
	Serial Patterns            `yaml:"serial"`
	Name   Patterns            `yaml:"name"`
	Rack   Patterns            `yaml:"rack"`
	Site   Patterns            `yaml:"site"`
	Labels map[string]Patterns `yaml:"labels"`
}

// Match is which machines a profile is for.
type Match struct {
	Conditions `yaml:",inline"`
	// Except are machines that it is not for although its conditions hold: those for which all conditions of one entry
	// hold.
	Except []Conditions `yaml:"except"`
}

// condition is one of [Conditions]: what it is on, and what it wants.
type condition struct {
	on   string
	want Patterns
}

func (c *Conditions) list() []condition {
	var list []condition
	for _, one := range []condition{{"vendor", c.Vendor}, {"product", c.Product}, {"sku", c.SKU}, {"board", c.Board},
		{"serial", c.Serial}, {"name", c.Name}, {"rack", c.Rack}, {"site", c.Site}} {
		if len(one.want) > 0 {
			list = append(list, one)
		}
	}
	for _, label := range slices.Sorted(maps.Keys(c.Labels)) {
		list = append(list, condition{"labels." + label, c.Labels[label]})
	}
	return list
}

// criteria are a [Match] in the form in which it is asked often.
type criteria struct {
	conditions []condition
	except     [][]condition
}

func (m *Match) criteria() *criteria {
	if m == nil {
		return nil
	}
	c := &criteria{conditions: m.Conditions.list()}
	for i := range m.Except {
		c.except = append(c.except, m.Except[i].list())
	}
	return c
}

// match says whether they select a machine.
func (c *criteria) match(value func(on string) string) bool {
	for _, one := range c.conditions {
		if !one.want.Match(value(one.on)) {
			return false
		}
	}
	for _, entry := range c.except {
		if !slices.ContainsFunc(entry, func(one condition) bool { return !one.want.Match(value(one.on)) }) {
			return false
		}
	}
	return true
}

// against lists what speaks against a machine. held is how many conditions hold.
func (c *criteria) against(value func(on string) string) (against []string, held int) {
	for _, one := range c.conditions {
		if got := value(one.on); one.want.Match(got) {
			held++
		} else {
			against = append(against, fmt.Sprintf("%s: want %s, got %s", one.on, one.want, cmp.Or(got,
				"nothing, it is not known")))
		}
	}
	for i, entry := range c.except {
		holds := true
		var why []string
		for _, one := range entry {
			got := value(one.on)
			holds = holds && one.want.Match(got)
			why = append(why, one.on+" is "+got)
		}
		if holds {
			against = append(against, fmt.Sprintf("except[%d]: %s", i, strings.Join(why, ", ")))
		}
	}
	return against, held
}

// value of a subject that a condition is on; "" if it is not known.
func (s *Subject) value(on string) string {
	m, f := s.Machine, s.Facts
	switch on {
	case "site":
		return s.Site
	case "vendor":
		if f != nil && f.System.Vendor != "" {
			return printable(f.System.Vendor)
		}
		return m.Vendor
	case "product":
		if f != nil && f.System.Product != "" {
			return printable(f.System.Product)
		}
		return m.Product
	case "sku":
		if f != nil {
			return printable(f.System.SKU)
		}
	case "board":
		if f != nil {
			return printable(f.Board.Product)
		}
	case "serial":
		return string(m.Serial)
	case "name":
		return loda.HostnameOf(m)
	case "rack":
		return m.Rack
	default:
		if label, ok := strings.CutPrefix(on, "labels."); ok {
			return m.Labels[label]
		}
	}
	return ""
}

// complete makes a machine of the facts if there is no other, and reads the facts that the machine carries if none are
// given.
func (s Subject) complete() (Subject, error) {
	if s.Facts == nil && s.Machine != nil && len(s.Machine.Facts) > 0 && !slices.Equal(s.Machine.Facts,
		json.RawMessage("null")) {
		facts, err := hw.Decode(s.Machine.Facts)
		if err != nil {
			return s, fmt.Errorf("machine %s: %w", s.Machine.Serial, err)
		}
		s.Facts = facts
	}
	if s.Machine == nil {
		s.Machine = &inventory.Machine{}
		if f := s.Facts; f != nil {
			s.Machine.Vendor, s.Machine.Product, s.Machine.UUID = printable(f.System.Vendor), printable(f.System.Product),
				f.System.UUID
			if serial, err := inventory.ParseSerial(f.System.Serial); err == nil {
				s.Machine.Serial = serial
			}
			for _, mac := range f.MACs() {
				if mac, err := inventory.ParseMAC(mac); err == nil {
					s.Machine.MACs = append(s.Machine.MACs, mac)
				}
			}
			slices.Sort(s.Machine.MACs)
		}
	}
	return s, nil
}

// who names the machine in an error.
func (s *Subject) who() string {
	if s.Machine != nil && s.Machine.Serial != "" {
		return "machine " + string(s.Machine.Serial)
	}
	return "a machine without serial number"
}

// Match returns the one profile of a machine: the one that is asked for by name, or the one whose conditions hold. The
// error is a *[NoMatchError], a *[AmbiguousError], or wraps [loda.ErrNoProfile] for a name that is not there.
func (r *Repo) Match(s Subject) (*ProfileFile, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	return r.match(&s)
}

func (r *Repo) match(s *Subject) (*ProfileFile, error) {
	if s.Profile != "" {
		p, ok := r.profiles[s.Profile]
		if !ok {
			return nil, fmt.Errorf("%w: %s; the repository has %s", loda.ErrNoProfile, s.Profile,
				some(slices.Sorted(maps.Keys(r.profiles))))
		}
		if p.criteria != nil {
			if against, _ := p.criteria.against(s.value); len(against) > 0 {
				return nil, &NoMatchError{Subject: *s, Near: []NearProfile{{p.Name, p.File, against}}}
			}
		}
		return p, nil
	}
	var fit []*ProfileFile
	for _, p := range r.sorted {
		if p.criteria != nil && p.criteria.match(s.value) {
			fit = append(fit, p)
		}
	}
	switch len(fit) {
	case 1:
		return fit[0], nil
	case 0:
		var near []NearProfile
		for _, p := range r.sorted {
			if p.criteria == nil {
				continue
			}
			if against, held := p.criteria.against(s.value); held > 0 {
				near = append(near, NearProfile{p.Name, p.File, against})
			}
		}
		slices.SortStableFunc(near, func(a, b NearProfile) int { return cmp.Compare(len(a.Against), len(b.Against)) })
		return nil, &NoMatchError{Subject: *s, Near: near[:min(len(near), maxNear)]}
	}
	return nil, &AmbiguousError{Subject: *s, Profiles: fit}
}

// maxNear is how many profiles a NoMatchError tells of.
const maxNear = 5

// NoMatchError says that no profile is for a machine, or that the one which was asked for is not.
type NoMatchError struct {
	Subject Subject
	// Near are the profiles of which some condition holds, those with the fewest failures first.
	Near []NearProfile
}

// A NearProfile is one that is not for a machine, and why not: one phrase for each condition that does not hold.
type NearProfile struct {
	Name, File string
	Against    []string
}

func (e *NoMatchError) Error() string {
	s := &e.Subject
	if s.Profile != "" && len(e.Near) == 1 {
		return fmt.Sprintf("profile %s is not for %s: %s", s.Profile, s.who(), strings.Join(e.Near[0].Against, "; "))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "no profile is for %s (%s %s)", s.who(), cmp.Or(s.value("vendor"), "vendor not known,"),
		cmp.Or(s.value("product"), "product not known"))
	if s.Site != "" {
		fmt.Fprintf(&b, " at site %s", s.Site)
	}
	for _, n := range e.Near {
		fmt.Fprintf(&b, "; not %s: %s", n.Name, strings.Join(n.Against, ", "))
	}
	if len(e.Near) == 0 {
		b.WriteString("; none is near: write one that matches this hardware")
	}
	return b.String()
}

// AmbiguousError says that several profiles are for one machine. A repository that [Load] accepts has none such.
type AmbiguousError struct {
	Subject  Subject
	Profiles []*ProfileFile
}

func (e *AmbiguousError) Error() string {
	var files []string
	for _, p := range e.Profiles {
		files = append(files, p.File)
	}
	return fmt.Sprintf("%s is matched by %s; want exactly one: make their conditions exclude each other, or ask for "+
		"one by name",
		e.Subject.who(), strings.Join(files, " and "))
}

// overlap says whether a machine can be matched by both.
func overlap(a, b *criteria) bool {
	for _, x := range a.conditions {
		for _, y := range b.conditions {
			if x.on == y.on && !x.want.intersects(y.want) {
				return false
			}
		}
	}
	for _, entry := range slices.Concat(a.except, b.except) {
		if takesAll(entry, a.conditions, b.conditions) {
			return false
		}
	}
	return true
}

// takesAll says that an exception holds for every machine that both sets of conditions select.
func takesAll(entry, a, b []condition) bool {
	for _, e := range entry {
		x, y := wanted(a, e.on), wanted(b, e.on)
		if x == nil && y == nil {
			return false
		}
		for _, p := range either(x, y) {
			for _, q := range either(y, x) {
				if p.intersects(q) && !e.want.cover(p) && !e.want.cover(q) {
					return false
				}
			}
		}
	}
	return true
}

func either(p, q Patterns) Patterns {
	if p == nil {
		return q
	}
	return p
}

func wanted(list []condition, on string) Patterns {
	for _, c := range list {
		if c.on == on {
			return c.want
		}
	}
	return nil
}

// Validate reports what is wrong with the conditions themselves.
func (m *Match) Validate() error {
	var errs []error
	if len(m.Conditions.list()) == 0 {
		errs = append(errs, errors.New("has no condition; leave match out for a profile that is only used when it is "+
			"asked for by name"))
	}
	for i := range m.Except {
		if len(m.Except[i].list()) == 0 {
			errs = append(errs, fmt.Errorf("except[%d]: has no condition, it would take everything; want at least one", i))
		}
	}
	return errors.Join(errs...)
}

// some lists words, not too many.
func some(words []string) string {
	const most = 10
	if len(words) == 0 {
		return "none"
	}
	if len(words) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), len(words)-most)
	}
	return strings.Join(words, ", ")
}
