package megaclitool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// Runner runs the tool in this process.
func Runner(c *raidtest.Chassis) raid.Runner { return raidtest.Tool(Run).Runner(c) }

// Main is the tool as an executable over the chassis that the environment names in LODA_CHASSIS.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return raidtest.Tool(Run).Main(ctx, args, stdout, stderr)
}

// Run is one call of the tool: what it prints, and its exit status. An error is that of the chassis, or that ctx ended.
func Run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	text, exit, err := run(ctx, chassis, args)
	if errors.Is(err, raidtest.ErrPowerOff) {
		return "", raidtest.ExitPowerOff, nil
	}
	return text + fmt.Sprintf("\nExit Code: 0x%02x\n", exit), exit, err
}

// invalid is what the tool says to what it does not understand.
const invalid = "\nInvalid input at or near token %s\n"

func run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	words, adapter, token := tokens(args)
	if token != "" {
		return fmt.Sprintf(invalid, token), 1, nil
	}
	if ask := question(words); ask != nil {
		state, answer, err := chassis.Read(ctx, "show")
		if err != nil {
			return "", 0, err
		}
		if state == nil {
			return "\nFailed to get the configuration.\n", answer.Exit, nil
		}
		if adapter >= len(state.Controllers) || len(state.Controllers) == 0 {
			return "\nUser specified controller is not present.\nFailed to get CpController object.\n", 1, nil
		}
		p := &printer{}
		for i, c := range state.Controllers {
			if adapter < 0 || i == adapter {
				p.c, p.n = c, i
				if !ask(p) {
					answer.Exit = 0x22
				}
			}
		}
		return p.String(), answer.Exit, nil
	}
	change, token := parseChange(words)
	if change.do == nil {
		return fmt.Sprintf(invalid, token), 1, nil
	}
	said := ""
	answer, err := chassis.Change(ctx, string(change.kind), func(s *raidtest.State) error {
		if adapter < 0 || adapter >= len(s.Controllers) {
			return &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: "User specified controller is not present"}
		}
		var err error
		said, err = change.do(s.Controllers[adapter])
		return err
	})
	if err != nil {
		return "", 0, err
	}
	if no := answer.Refused; no != nil {
		exit := answer.Exit
		if change.kind == raid.StepCreateVolume && attributes(no) && exit != 0 {
			exit = 0x26
		} else if code, ok := codes[no.Code]; ok && exit != 0 {
			exit = code
		}
		return refused(adapter, change.kind, no), exit, nil
	}
	if change.kind == raid.StepCreateVolume {
		said += fmt.Sprintf("\n\nAdapter %d: Configured the Adapter!!", adapter)
	}
	return fmt.Sprintf("                                     \nAdapter %d: %s\n", adapter, said), answer.Exit, nil
}

// codes are the firmware's.
var codes = map[raidtest.RefusalCode]int{raidtest.RefusedNoDrive: 0x0c, raidtest.RefusedNoVolume: 0x0a,
	raidtest.RefusedState: 0x32, raidtest.RefusedRoom: 0x10, raidtest.RefusedCache: 0x54,
	raidtest.RefusedUnsupported: 0x03}

// attributes: a drive cannot be a member.
func attributes(no *raidtest.Refusal) bool {
	return no.Code == raidtest.RefusedState || no.Code == raidtest.RefusedForeignDrive || no.Code == raidtest.RefusedMixed
}

// refused is a no in the tool's words: an attribute that a drive lacks is told otherwise than what the firmware says.
func refused(adapter int, kind raid.StepKind, no *raidtest.Refusal) string {
	if kind == raid.StepCreateVolume && attributes(no) {
		return "\nThe specified physical disk does not have the appropriate attributes to complete \nthe requested command.\n"
	}
	what := map[raid.StepKind]string{raid.StepCreateVolume: "Configure Adapter Failed",
		raid.StepReady: "Failed to change PD state", raid.StepJBOD: "Failed to change PD state"}[kind]
	if what == "" {
		what = "The operation failed"
	}
	return fmt.Sprintf("\nAdapter %d: %s\n\nFW error description: \n  %s  \n", adapter, what, no.Text)
}

// tokens takes the adapter and what is about the log out of the arguments. Case does not matter to the tool, but in
// names. The adapter is -1 for all. token is what was not understood.
func tokens(args []string) (words []string, adapter int, token string) {
	adapter = -2
	for _, a := range args {
		switch low := strings.ToLower(a); {
		case low == "-nolog", low == "-silent":
		case low == "-aall":
			adapter = -1
		case len(low) > 2 && strings.HasPrefix(low, "-a") && low[2] >= '0' && low[2] <= '9':
			n, err := strconv.ParseUint(low[2:], 10, 8)
			if err != nil {
				return nil, 0, a
			}
			adapter = int(n)
		case strings.HasPrefix(a, "[") && len(words) > 0: // may stand apart from its flag
			words[len(words)-1] += a
		default:
			words = append(words, a)
		}
	}
	if len(words) == 0 || adapter == -2 {
		return nil, 0, "the end: no adapter is named"
	}
	return words, adapter, ""
}

var rebuildOf = regexp.MustCompile(`(?i)^-physdrv\[(\d*):(\d+)\]$`)

// question returns what prints the answer to a command that only looks, and reports whether there is one; nil: it is no
// such command.
func question(words []string) func(*printer) bool {
	line := strings.ToLower(strings.Join(words, " "))
	yes := func(print func(*printer)) func(*printer) bool {
		return func(p *printer) bool { print(p); return true }
	}
	switch line {
	case "-adpallinfo":
		return yes((*printer).adapter)
	case "-adpgetpciinfo":
		return yes((*printer).pci)
	case "-pdlist":
		return yes((*printer).drives)
	case "-ldinfo -lall":
		return yes(func(p *printer) { p.volumes(false) })
	case "-ldpdinfo":
		return yes(func(p *printer) { p.volumes(true) })
	case "-cfgforeign -scan":
		return yes((*printer).foreign)
	case "-getpreservedcachelist":
		return yes((*printer).preserved)
	case "-adpbootdrive -get":
		return yes((*printer).boot)
	case "-adpbbucmd -getbbustatus":
		return (*printer).battery
	}
	if len(words) == 3 && strings.HasPrefix(line, "-pdrbld -showprog ") {
		if m := rebuildOf.FindStringSubmatch(words[2]); m != nil {
			return func(p *printer) bool { return p.rebuild(m[1], m[2]) }
		}
	}
	return nil
}

// change is a command that writes; do returns what the tool says to its success.
type change struct {
	kind raid.StepKind
	do   func(*raidtest.Controller) (string, error)
}

var (
	placesOf = regexp.MustCompile(`(?i)^-(physdrv|r[0-9]+|array[0-9]+)\[([0-9:,]+)\]$`)
	levelOf  = regexp.MustCompile(`(?i)^-r([0-9]+)$`)
	volumeOf = regexp.MustCompile(`(?i)^-l([0-9]{1,4})$`)
	number   = regexp.MustCompile(`(?i)^-(sz|strpsz)([0-9]{1,12})$`)
)

// parseChange reads a command that changes something. token is what was not understood; then c.do is nil.
func parseChange(words []string) (c change, token string) {
	verb, rest := strings.ToLower(words[0]), words[1:]
	low := make([]string, len(rest))
	for i, w := range rest {
		low[i] = strings.ToLower(w)
	}
	is := func(want ...string) bool { return len(low) >= len(want) && slices.Equal(low[:len(want)], want) }
	switch verb {
	case "-cfgldadd", "-cfgspanadd":
		return create(verb, rest)
	case "-cfglddel":
		if len(rest) == 1 || len(rest) == 2 && low[1] == "-force" {
			return onVolume(raid.StepDeleteVolume, rest[0], func(c *raidtest.Controller, n int) (string, error) {
				return fmt.Sprintf("Deleted Virtual Drive-%d(target id-%d)", n, n), c.DeleteVolume(n)
			})
		}
	case "-adpbootdrive":
		if is("-set") && len(rest) == 2 {
			return onVolume(raid.StepBoot, rest[1], func(c *raidtest.Controller, n int) (string, error) {
				return fmt.Sprintf("Boot Virtual Drive is set to #%d (target id - %d)", n, n), c.SetBoot(n)
			})
		}
	case "-ldinit":
		if is("-start") {
			kind, at := raid.InitializeFast, 1
			if is("-start", "-full") {
				kind, at = raid.InitializeFull, 2
			}
			if len(rest) == at+1 {
				return onVolume(raid.StepInitialize, rest[at], func(c *raidtest.Controller, n int) (string, error) {
					return fmt.Sprintf("Start Initialization on VD-%d (target id-%d) Success", n, n), c.Initialize(n, kind)
				})
			}
		}
	case "-ldsetprop":
		return property(rest)
	case "-discardpreservedcache":
		if len(rest) == 1 || len(rest) == 2 && low[1] == "-force" {
			return onVolume(raid.StepDiscardCache, rest[0], func(c *raidtest.Controller, n int) (string, error) {
				i := slices.Index(c.PreservedCache, strconv.Itoa(n))
				if i < 0 {
					return "", &raidtest.Refusal{Code: raidtest.RefusedNoVolume, Text: "No cache of it is preserved."}
				}
				c.PreservedCache = slices.Delete(c.PreservedCache, i, i+1)
				return fmt.Sprintf("Virtual Drive(Target ID %02d): Preserved Cache Data Cleared.", n), nil
			})
		}
	case "-cfgforeign":
		switch {
		case is("-clear") && len(rest) == 1:
			return change{raid.StepClearForeign, func(c *raidtest.Controller) (string, error) {
				return "Foreign configuration 0 is cleared.", c.ClearForeign()
			}}, ""
		case is("-import") && len(rest) == 1:
			return change{raid.StepImportForeign, func(c *raidtest.Controller) (string, error) {
				return "Foreign configuration 0 is imported.", c.ImportForeign()
			}}, ""
		}
	case "-adpsetprop":
		if is("-enablejbod", "-1") || is("enablejbod", "1") {
			return change{"enable-jbod", func(c *raidtest.Controller) (string, error) {
				if !c.Capabilities.JBOD {
					return "", &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: "JBOD is not supported."}
				}
				if c.Extra == nil {
					c.Extra = map[string]string{}
				}
				c.Extra["Enable JBOD"] = "Yes"
				return "Set JBOD to Enable success.", nil
			}}, ""
		}
	case "-pdmakegood", "-pdmakejbod":
		if len(rest) == 1 || len(rest) == 2 && low[1] == "-force" && verb == "-pdmakegood" {
			kind, word := raid.StepReady, "Unconfigured-Good"
			if verb == "-pdmakejbod" {
				kind, word = raid.StepJBOD, "JBOD"
			}
			return onDrives(kind, rest[0], func(c *raidtest.Controller, d *raidtest.Drive) (string, error) {
				said := fmt.Sprintf("EnclId-%d SlotId-%d state changed to %s.", d.Enclosure, d.Slot, word)
				switch {
				case kind == raid.StepReady:
					return said, c.SetReady(d.Serial)
				case !jbodEnabled(c):
					return "", &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: "JBOD is not enabled."}
				}
				return said, c.SetJBOD(d.Serial)
			})
		}
	case "-pdhsp":
		return spare(rest, low)
	}
	return change{}, strings.Join(words, " ")
}

// jbodEnabled: drives can be shown to the operating system; where one is, they could.
func jbodEnabled(c *raidtest.Controller) bool {
	return c.Capabilities.JBOD && (c.Extra["Enable JBOD"] == "Yes" ||
		slices.ContainsFunc(c.Drives, func(d *raidtest.Drive) bool { return d.State == raid.DiskJBOD }))
}

func onVolume(kind raid.StepKind, flag string, do func(*raidtest.Controller, int) (string, error)) (change, string) {
	m := volumeOf.FindStringSubmatch(flag)
	if m == nil {
		return change{}, flag
	}
	n, _ := strconv.Atoi(m[1])
	return change{kind, func(c *raidtest.Controller) (string, error) { return do(c, n) }}, ""
}

// drivesAt are the drives of a list such as `252:0,252:1`.
func drivesAt(c *raidtest.Controller, list string) ([]*raidtest.Drive, error) {
	var all []*raidtest.Drive
	for _, place := range strings.Split(list, ",") {
		e, s, ok := strings.Cut(place, ":")
		enclosure, err1 := strconv.Atoi(e)
		slot, err2 := strconv.Atoi(s)
		d := c.At(enclosure, slot)
		if !ok || err1 != nil || err2 != nil || d == nil {
			return nil, &raidtest.Refusal{Code: raidtest.RefusedNoDrive, Text: "Device at Enclosure - " + e + ", Slot - " + s +
				" is not found."}
		}
		all = append(all, d)
	}
	return all, nil
}

func onDrives(kind raid.StepKind, flag string, do func(*raidtest.Controller, *raidtest.Drive) (string, error),
) (change, string) {
	m := placesOf.FindStringSubmatch(flag)
	if m == nil || !strings.EqualFold(m[1], "physdrv") {
		return change{}, flag
	}
	return change{kind, func(c *raidtest.Controller) (string, error) {
		drives, err := drivesAt(c, m[2])
		var said []string
		for _, d := range drives {
			word, e := do(c, d)
			if e != nil {
				return "", e
			}
			said = append(said, word)
		}
		return strings.Join(said, "\n"), err
	}}, ""
}

func spare(rest, low []string) (change, string) {
	if len(rest) == 0 {
		return change{}, "-PDHSP"
	}
	last := rest[len(rest)-1]
	switch {
	case low[0] == "-rmv" && len(rest) == 2:
		return onDrives(raid.StepRemoveSpare, last, func(c *raidtest.Controller, d *raidtest.Drive) (string, error) {
			return fmt.Sprintf("Remove Physical Drive at EnclId-%d SlotId-%d as Hot Spare Success.", d.Enclosure, d.Slot),
				c.RemoveSpare(d.Serial)
		})
	case low[0] == "-set":
		var arrays []int
		dedicated := false
		for i, w := range low[1 : len(low)-1] {
			list, isArray := strings.CutPrefix(w, "-array")
			switch {
			case w == "-dedicated":
				dedicated = true
			case w == "-enclaffinity", w == "-nonrevertible":
			case isArray:
				for _, word := range strings.Split(list, ",") {
					n, err := strconv.ParseUint(word, 10, 16)
					if err != nil {
						return change{}, rest[i+1]
					}
					arrays = append(arrays, int(n))
				}
			default:
				return change{}, rest[i+1]
			}
		}
		if dedicated != (len(arrays) > 0) {
			return change{}, "-Dedicated"
		}
		return onDrives(raid.StepAddSpare, last, func(c *raidtest.Controller, d *raidtest.Drive) (string, error) {
			var volumes []int
			groups := c.Groups()
			for _, a := range arrays {
				if a >= len(groups) {
					return "", &raidtest.Refusal{Code: raidtest.RefusedNoVolume, Text: "The array is not there."}
				}
				for _, v := range groups[a] {
					volumes = append(volumes, v.Number)
				}
			}
			return fmt.Sprintf("Set Physical Drive at EnclId-%d SlotId-%d as Hot Spare Success.", d.Enclosure, d.Slot),
				c.AddSpare(d.Serial, volumes...)
		})
	}
	return change{}, rest[0]
}

// badBBU: the cache is used although its battery is bad. It is a bit of its own, which a volume keeps while it writes
// through.
const badBBU = "CachedBadBBU"

// policy reads a word of a policy into those that a volume has.
func policy(p *raid.Policies, bad *bool, word string) bool {
	switch strings.ToLower(word) {
	case "wt":
		p.Write = raid.WriteThrough
	case "wb":
		p.Write = raid.WriteBack
	case "ra":
		p.Read = raid.ReadAhead
	case "nora":
		p.Read = raid.ReadNone
	case "adra":
		p.Read = raid.ReadAdaptive
	case "direct":
		p.IO = raid.IODirect
	case "cached":
		p.IO = raid.IOCached
	case "endskcache":
		p.DiskCache = raid.DiskCacheEnable
	case "disdskcache":
		p.DiskCache = raid.DiskCacheDisable
	case "cachedbadbbu":
		*bad = true
	case "nocachedbadbbu":
		*bad = false
	default:
		return false
	}
	if p.Write != raid.WriteThrough && p.Write != "" {
		if p.Write = raid.WriteBack; *bad {
			p.Write = raid.WriteAlwaysBack
		}
	}
	return true
}

func keepBadBBU(v *raidtest.Volume, bad bool) {
	if v.Extra == nil {
		v.Extra = map[string]string{}
	}
	v.Extra[badBBU] = map[bool]string{true: "Yes", false: "No"}[bad]
}

func property(rest []string) (change, string) {
	if len(rest) == 3 && strings.EqualFold(rest[0], "-Name") {
		name := rest[1]
		return onVolume("name-volume", rest[2], func(c *raidtest.Controller, n int) (string, error) {
			v := c.Volume(n)
			switch {
			case v == nil:
				return "", &raidtest.Refusal{Code: raidtest.RefusedNoVolume, Text: "The virtual drive does not exist."}
			case len(name) > c.Capabilities.MaxName:
				return "", &raidtest.Refusal{Code: raidtest.RefusedName, Text: "The name is too long."}
			}
			v.Name = name
			return fmt.Sprintf("Set Name to %s on VD %d (target id: %d) success", name, n, n), nil
		})
	}
	if len(rest) != 2 || !policy(&raid.Policies{}, new(bool), rest[0]) {
		return change{}, strings.Join(rest, " ")
	}
	return onVolume(raid.StepPolicies, rest[1], func(c *raidtest.Controller, n int) (string, error) {
		v := c.Volume(n)
		if v == nil {
			return "", &raidtest.Refusal{Code: raidtest.RefusedNoVolume, Text: "The virtual drive does not exist."}
		}
		p, bad := v.Policies, v.Policies.Write == raid.WriteAlwaysBack || v.Extra[badBBU] == "Yes"
		policy(&p, &bad, rest[0])
		if err := c.SetPolicies(n, p); err != nil {
			return "", err
		}
		keepBadBBU(v, bad)
		return fmt.Sprintf("Set %s on VD %d (target id: %d) success", rest[0], n, n), nil
	})
}

// create reads the arguments of -CfgLdAdd and -CfgSpanAdd.
func create(verb string, rest []string) (change, string) {
	n := raidtest.NewVolume{}
	var places []string
	bad := false
	for i, w := range rest {
		switch m := placesOf.FindStringSubmatch(w); {
		case m != nil && i == 0 && verb == "-cfgldadd" && strings.EqualFold(m[1][:1], "r"):
			n.Level = raid.Level(m[1][1:])
			places = []string{m[2]}
		case m != nil && verb == "-cfgspanadd" && strings.EqualFold(m[1], "array"+strconv.Itoa(len(places))):
			places = append(places, m[2])
		case m != nil:
			return change{}, w
		case verb == "-cfgspanadd" && i == 0 && levelOf.MatchString(w):
			n.Level = raid.Level(w[2:])
		case policy(&n.Policies, &bad, w):
		case number.MatchString(w):
			m := number.FindStringSubmatch(w)
			size, err := strconv.ParseInt(m[2], 10, 40)
			if err != nil || size == 0 {
				return change{}, w
			}
			if strings.EqualFold(m[1], "sz") {
				n.Bytes = size << 20
			} else {
				n.Strip = hw.Size(size << 10)
			}
		case strings.EqualFold(w, "-Force"):
		default:
			return change{}, w
		}
	}
	single := slices.Contains([]raid.Level{raid.Level0, raid.Level1, raid.Level5, raid.Level6}, n.Level)
	if len(places) == 0 || single != (verb == "-cfgldadd") || !single && len(places) < 2 {
		return change{}, strings.Join(rest, " ")
	}
	if !single {
		n.Spans = len(places)
	}
	return change{raid.StepCreateVolume, func(c *raidtest.Controller) (string, error) {
		each := 0
		for _, list := range places {
			drives, err := drivesAt(c, list)
			if err != nil {
				return "", err
			}
			if each != 0 && len(drives) != each {
				return "", &raidtest.Refusal{Code: raidtest.RefusedCount, Text: "Spans of several sizes are not possible."}
			}
			each = len(drives)
			for _, d := range drives {
				n.Drives = append(n.Drives, d.Serial)
			}
		}
		v, err := c.CreateVolume(n)
		if err != nil {
			return "", err
		}
		keepBadBBU(v, bad)
		return fmt.Sprintf("Created VD %d", v.Number), nil
	}}, ""
}
