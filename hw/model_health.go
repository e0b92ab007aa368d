package hw

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
)

// HealthModel says how ill a machine may be. Each check is made unless it says `ignore`, and holds for all parts of
// its sort, those whose section is absent from the model too. What nobody tells (a virtual disk has no SMART, a driver
// does not count) is a difference only if the check is `required`. Severity is that of the section `health`, where the
// check has none.
type HealthModel struct {
	// SMART: a disk's own verdict must not be an alert.
	SMART *Check `json:"smart,omitempty" yaml:"smart,omitempty"`
	// MediaErrors, Reallocated and Pending of a disk; at most 0 by default.
	MediaErrors *Limit `json:"media_errors,omitempty" yaml:"media_errors,omitempty"`
	Reallocated *Limit `json:"reallocated,omitempty" yaml:"reallocated,omitempty"`
	Pending     *Limit `json:"pending,omitempty" yaml:"pending,omitempty"`
	// WearPercent of an SSD, at most 80 by default: what is installed now should last for a while.
	WearPercent *Limit `json:"wear_percent,omitempty" yaml:"wear_percent,omitempty"`
	// CorrectedErrors and UncorrectedErrors of the memory since the kernel booted, of each module where the kernel can
	// name it; at most 0 by default, since bootOS has run for minutes.
	CorrectedErrors   *Limit `json:"corrected_errors,omitempty" yaml:"corrected_errors,omitempty"`
	UncorrectedErrors *Limit `json:"uncorrected_errors,omitempty" yaml:"uncorrected_errors,omitempty"`
	// NICLink: the link of every NIC must be up, where its entry does not give link_up. A port without a cable gets
	// `link_up: ignore` or `false` in its entry.
	NICLink *Check `json:"nic_link,omitempty" yaml:"nic_link,omitempty"`
	// NICSpeed: a link that is up must not be slower than the port can be, where its entry does not give speed_mbps.
	NICSpeed *Check `json:"nic_speed,omitempty" yaml:"nic_speed,omitempty"`
	// PCILink: the link of a controller, NIC or GPU must not be narrower or slower than the function can be, where its
	// entry does not give width and speed. The speed of a GPU is not looked at: idle ones slow their link down to save
	// power.
	PCILink *Check `json:"pci_link,omitempty" yaml:"pci_link,omitempty"`
	// PSU: the status must be OK, and the power supply plugged, where its entry does not give status and plugged.
	PSU *Check `json:"psu,omitempty" yaml:"psu,omitempty"`
}

// A Check of health. The short form is the severity, or `ignore`.
type Check struct {
	Ignore bool `json:"ignore,omitempty" yaml:"ignore,omitempty"`
	// Required: that nobody tells is a difference too.
	Required bool     `json:"required,omitempty" yaml:"required,omitempty"`
	Severity Severity `json:"severity,omitempty" yaml:"severity,omitempty"`
}

// A Limit is a check of a number. The short form is Max, or `ignore`.
type Limit struct {
	// Max is the most that is all right; absent is the default.
	Max      *int64   `json:"max,omitempty" yaml:"max,omitempty"`
	Ignore   bool     `json:"ignore,omitempty" yaml:"ignore,omitempty"`
	Required bool     `json:"required,omitempty" yaml:"required,omitempty"`
	Severity Severity `json:"severity,omitempty" yaml:"severity,omitempty"`
}

const defaultWear = 80

// Validate reports everything that is wrong with c itself.
func (c *Check) Validate() error {
	if c == nil {
		return nil
	}
	if c.Ignore && c.Required {
		return errors.Join(errors.New("is both ignored and required"), c.Severity.Validate())
	}
	return c.Severity.Validate()
}

// UnmarshalText reads the short form.
func (c *Check) UnmarshalText(text []byte) error {
	switch s := strings.TrimSpace(string(text)); s {
	case ignoreWord:
		*c = Check{Ignore: true}
	case "fail", "warn", "info":
		*c = Check{Severity: Severity(s)}
	default:
		return fmt.Errorf("%q: want fail, warn, info or ignore", clip(s))
	}
	return nil
}

// UnmarshalJSON reads the short and the long form.
func (c *Check) UnmarshalJSON(data []byte) error {
	type long Check
	return shortOrLong(data, c, func(d []byte) error {
		var l long
		err := strictJSON(d, &l)
		*c = Check(l)
		return err
	})
}

func (c Check) short() (any, bool) {
	switch c {
	case Check{Ignore: true}:
		return ignoreWord, true
	case Check{Severity: c.Severity}:
		return string(c.Severity), c.Severity != ""
	}
	return nil, false
}

// MarshalJSON writes the short form where there is one.
func (c Check) MarshalJSON() ([]byte, error) {
	type long Check
	if s, ok := c.short(); ok {
		return json.Marshal(s)
	}
	return json.Marshal(long(c))
}

// MarshalYAML writes the short form where there is one.
func (c Check) MarshalYAML() (any, error) {
	type long Check
	if s, ok := c.short(); ok {
		return s, nil
	}
	return long(c), nil
}

// Validate reports everything that is wrong with l itself.
func (l *Limit) Validate() error {
	if l == nil {
		return nil
	}
	errs := []error{l.Severity.Validate()}
	if l.Ignore && (l.Required || l.Max != nil) {
		errs = append(errs, errors.New("is ignored, and something is wanted too; want one of the two"))
	}
	if l.Max != nil && *l.Max < 0 {
		errs = append(errs, errors.New("max is below zero; want the largest number that is all right"))
	}
	return errors.Join(errs...)
}

// UnmarshalText reads the short form.
func (l *Limit) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == ignoreWord {
		*l = Limit{Ignore: true}
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || !plainDigits(s) {
		return fmt.Errorf("%q: want the largest number that is all right, or ignore", clip(s))
	}
	*l = Limit{Max: &n}
	return nil
}

// UnmarshalJSON reads the short and the long form.
func (l *Limit) UnmarshalJSON(data []byte) error {
	type plain Limit
	return shortOrLong(data, l, func(d []byte) error {
		var p plain
		err := strictJSON(d, &p)
		*l = Limit(p)
		return err
	})
}

func (l Limit) short() (any, bool) {
	switch {
	case l.Required || l.Severity != "":
	case l.Ignore && l.Max == nil:
		return ignoreWord, true
	case !l.Ignore && l.Max != nil:
		return *l.Max, true
	}
	return nil, false
}

// MarshalJSON writes the short form where there is one.
func (l Limit) MarshalJSON() ([]byte, error) {
	type plain Limit
	if s, ok := l.short(); ok {
		return json.Marshal(s)
	}
	return json.Marshal(plain(l))
}

// MarshalYAML writes the short form where there is one.
func (l Limit) MarshalYAML() (any, error) {
	type plain Limit
	if s, ok := l.short(); ok {
		return s, nil
	}
	return plain(l), nil
}

// validate walks over all checks.
func (h *HealthModel) validate(v *validation) {
	s := reflect.ValueOf(h).Elem()
	for i := range s.NumField() {
		name, _, _ := strings.Cut(s.Type().Field(i).Tag.Get("json"), ",")
		v.add("health."+name, s.Field(i).Interface().(interface{ Validate() error }).Validate())
	}
}

// looksAtLinks says whether a NIC of this entry must have its link up for its health.
func (h *HealthModel) looksAtLinks(m *NICModel) bool {
	return h != nil && m.LinkUp == nil && (h.NICLink == nil || !h.NICLink.Ignore)
}

// A healthCheck makes the test of one check for the parts of one entry, or nil if it does not apply to them.
type healthCheck[M, P any] func(m *M, h *HealthModel) *test[P]

// verdict makes a test of a check. judge says whether something is known, whether it is all right, and what it is.
func verdict[P any](c *Check, name, said, want string, judge func(*P) (known, ok bool, got string)) *test[P] {
	if c == nil {
		c = &Check{}
	}
	if c.Ignore {
		return nil
	}
	return &test[P]{name: name, label: said, want: want, severity: c.Severity,
		ok: func(p *P) bool {
			known, ok, _ := judge(p)
			return ok || !known && !c.Required
		},
		got: func(p *P) string {
			_, _, got := judge(p)
			return got
		}}
}

// limited makes a test of a limit. count returns nil and the reason where nothing is known.
func limited[P any](l *Limit, byDefault int64, name, said, unit string, count func(*P) (*int64, string)) *test[P] {
	if l == nil {
		l = &Limit{}
	}
	most := byDefault
	if l.Max != nil {
		most = *l.Max
	}
	return verdict(&Check{Ignore: l.Ignore, Required: l.Required, Severity: l.Severity}, name, said,
		fmt.Sprintf("at most %d%s", most, unit), func(p *P) (known, ok bool, got string) {
			n, why := count(p)
			if n == nil {
				return false, false, unknownWord(why)
			}
			return true, *n <= most, fmt.Sprintf("%d%s", *n, unit)
		})
}

// ofDisk finds a field of a disk's health, or why there is none.
func ofDisk[T any](d *Disk, name string, get func(*DiskHealth) *T) (*T, string) {
	if d.Health == nil {
		reason, not := notKnown(d.Unknown, "health")
		if !not {
			reason = "the disk was not asked"
		}
		return nil, reason
	}
	v := get(d.Health)
	reason, _ := notKnown(d.Health.Unknown, name)
	return v, reason
}

func diskLimit(name, said, unit string, byDefault int64, limit func(*HealthModel) *Limit,
	get func(*DiskHealth) *int64) healthCheck[DiskModel, Disk] {
	return func(_ *DiskModel, h *HealthModel) *test[Disk] {
		return limited(limit(h), byDefault, "health/"+name, said, unit, func(d *Disk) (*int64, string) {
			return ofDisk(d, name, get)
		})
	}
}

var diskChecks = []healthCheck[DiskModel, Disk]{
	func(_ *DiskModel, h *HealthModel) *test[Disk] {
		return verdict(h.SMART, "health/passed", "SMART", "passed", func(d *Disk) (known, ok bool, got string) {
			passed, why := ofDisk(d, "passed", func(h *DiskHealth) *bool { return h.Passed })
			if passed == nil {
				return false, false, unknownWord(why)
			}
			return true, *passed, "an alert"
		})
	},
	diskLimit("media_errors", "media errors", "", 0, func(h *HealthModel) *Limit { return h.MediaErrors },
		func(h *DiskHealth) *int64 { return h.MediaErrors }),
	diskLimit("reallocated", "reallocated sectors", "", 0, func(h *HealthModel) *Limit { return h.Reallocated },
		func(h *DiskHealth) *int64 { return h.Reallocated }),
	diskLimit("pending", "pending sectors", "", 0, func(h *HealthModel) *Limit { return h.Pending },
		func(h *DiskHealth) *int64 { return h.Pending }),
	diskLimit("wear_percent", "wear", " %", defaultWear, func(h *HealthModel) *Limit { return h.WearPercent },
		func(h *DiskHealth) *int64 {
			if h.WearPercent == nil {
				return nil
			}
			n := int64(*h.WearPercent)
			return &n
		}),
}

// Errors that the kernel can blame on a module are that module's; those of the machine are what is left.

var dimmChecks = []healthCheck[DIMMModel, dimmPart]{
	func(_ *DIMMModel, h *HealthModel) *test[dimmPart] {
		return limited(perModule(h.CorrectedErrors), 0, "corrected_errors", "corrected ECC errors", "",
			func(d *dimmPart) (*int64, string) { return d.CorrectedErrors, "" })
	},
	func(_ *DIMMModel, h *HealthModel) *test[dimmPart] {
		return limited(perModule(h.UncorrectedErrors), 0, "uncorrected_errors", "uncorrected ECC errors", "",
			func(d *dimmPart) (*int64, string) { return d.UncorrectedErrors, "" })
	},
}

// perModule is the limit for a module: the kernel cannot name the modules of every board, so that is never required.
func perModule(l *Limit) *Limit {
	if l == nil {
		return nil
	}
	of := *l
	of.Required = false
	return &of
}

var memoryChecks = []healthCheck[MemoryModel, Memory]{
	memoryErrors("corrected_errors", "corrected ECC errors", func(h *HealthModel) *Limit { return h.CorrectedErrors },
		func(m *Memory) *int64 { return m.CorrectedErrors }, func(d *DIMM) *int64 { return d.CorrectedErrors }),
	memoryErrors("uncorrected_errors", "uncorrected ECC errors",
		func(h *HealthModel) *Limit { return h.UncorrectedErrors },
		func(m *Memory) *int64 { return m.UncorrectedErrors }, func(d *DIMM) *int64 { return d.UncorrectedErrors }),
}

func memoryErrors(name, said string, limit func(*HealthModel) *Limit, all func(*Memory) *int64,
	of func(*DIMM) *int64) healthCheck[MemoryModel, Memory] {
	return func(_ *MemoryModel, h *HealthModel) *test[Memory] {
		l := limit(h)
		var most int64
		if l != nil && l.Max != nil {
			most = *l.Max
		}
		return limited(l, 0, name, said, "", func(m *Memory) (*int64, string) {
			total := all(m)
			if total == nil {
				reason, _ := notKnown(m.Unknown, name)
				return nil, reason
			}
			rest := *total
			for i := range m.DIMMs {
				if n := of(&m.DIMMs[i]); n != nil && *n > most && *n <= rest && !m.DIMMs[i].Empty {
					rest -= *n
				}
			}
			return &rest, ""
		})
	}
}

var nicChecks = []healthCheck[NICModel, nicPart]{
	func(m *NICModel, h *HealthModel) *test[nicPart] {
		if m.LinkUp != nil {
			return nil
		}
		return verdict(h.NICLink, "link_up", "link", "up", func(p *nicPart) (known, ok bool, got string) {
			if p.LinkUp == nil {
				reason, _ := notKnown(p.Unknown, "link_up")
				return false, false, unknownWord(reason)
			}
			return true, *p.LinkUp, "down"
		})
	},
	func(m *NICModel, h *HealthModel) *test[nicPart] {
		if m.SpeedMbps != nil {
			return nil
		}
		return verdict(h.NICSpeed, "speed_mbps", "link speed", "the port's fastest",
			func(p *nicPart) (known, ok bool, got string) {
				switch {
				case p.LinkUp != nil && !*p.LinkUp:
					return true, true, ""
				case p.SpeedMbps == 0:
					reason, _ := notKnown(p.Unknown, "speed_mbps")
					return false, false, unknownWord(reason)
				case p.MaxSpeedMbps == 0:
					reason, _ := notKnown(p.Unknown, "max_speed_mbps")
					return false, false, fmt.Sprintf("%d Mbit/s, the fastest is %s", p.SpeedMbps, unknownWord(reason))
				}
				return true, p.SpeedMbps >= p.MaxSpeedMbps,
					fmt.Sprintf("%d Mbit/s of %d", p.SpeedMbps, p.MaxSpeedMbps)
			})
	},
	linkCheck(func(m *NICModel) *LinkModel { return m.Link }, func(p *nicPart) *PCILink {
		if p.function == nil {
			return nil
		}
		return p.function.Link
	}, true),
}

// linkCheck holds a PCI Express link against what the function could do: its width, and mostly its speed.
func linkCheck[M, P any](wanted func(*M) *LinkModel, link func(*P) *PCILink, mostly bool) healthCheck[M, P] {
	return func(m *M, h *HealthModel) *test[P] {
		width, speed := true, mostly
		if w := wanted(m); w != nil {
			width, speed = w.Width == nil, mostly && w.Speed == nil
		}
		if !width && !speed {
			return nil
		}
		return verdict(h.PCILink, "link", "PCIe link", map[bool]string{true: "as wide and fast as the function can be",
			false: "as wide as the function can be"}[mostly],
			func(p *P) (known, ok bool, got string) {
				l := link(p)
				if l == nil {
					return false, false, unknownWord("the function does not tell")
				}
				narrow := width && l.Width > 0 && l.Width < l.MaxWidth
				slow := speed && l.Speed > 0 && l.Speed < l.MaxSpeed
				known = (!width || l.Width > 0 && l.MaxWidth > 0) && (!speed || l.Speed > 0 && l.MaxSpeed > 0)
				var is []string
				if narrow || !known {
					is = append(is, fmt.Sprintf("x%d of x%d", l.Width, l.MaxWidth))
				}
				if slow || speed && !known {
					is = append(is, fmt.Sprintf("%s of %s GT/s", number(l.Speed), number(l.MaxSpeed)))
				}
				return known || narrow || slow, known && !narrow && !slow, strings.Join(is, ", ")
			})
	}
}

var psuChecks = []healthCheck[PSUModel, PSU]{
	func(m *PSUModel, h *HealthModel) *test[PSU] {
		if m.Status != nil {
			return nil
		}
		return verdict(h.PSU, "status", "status", "OK", func(p *PSU) (known, ok bool, got string) {
			if p.Status == "" {
				reason, _ := notKnown(p.Unknown, "status")
				return false, false, unknownWord(reason)
			}
			return true, printable(p.Status) == "OK", printable(p.Status)
		})
	},
	func(m *PSUModel, h *HealthModel) *test[PSU] {
		if m.Plugged != nil {
			return nil
		}
		c := h.PSU
		if c != nil && c.Required { // few boards tell
			c = &Check{Severity: c.Severity}
		}
		return verdict(c, "plugged", "mains", "yes", func(p *PSU) (known, ok bool, got string) {
			return p.Plugged != nil, p.Plugged != nil && *p.Plugged, "no"
		})
	},
}
