package storcli

import (
	"cmp"
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

const (
	defaultVersion = "007.1017.0000.0000 May 10, 2019"
	defaultSystem  = "Linux 3.10.0-957.5.1.el7.x86_64"
)

// call is one run of the tool.
type call struct {
	ctx     context.Context
	chassis *raidtest.Chassis
	// where the command is for: controller, enclosure, slots, volume; "" is none, "all" is all.
	controller, enclosure, slot, volume, foreign string
	words                                        []string
	replies                                      []reply
	// first controller of the chassis, which has the words that the tool itself prints.
	first *raidtest.Controller
	exit  int
}

var targets = regexp.MustCompile(`^/c(all|\d+)(?:/e(all|\d+))?(?:/s(all|\d+))?(?:/v(all|\d+))?(?:/f(all|\d+))?$`)

// Main runs one command and returns the status to exit with.
func Main(ctx context.Context, chassis *raidtest.Chassis, args []string, stdout io.Writer) int {
	c := call{ctx: ctx, chassis: chassis}
	asJSON := false
	where := ""
	for _, a := range args {
		switch {
		case strings.EqualFold(a, "J"):
			asJSON = true
		case strings.EqualFold(a, "nolog"):
		case strings.HasPrefix(a, "/"):
			where += a
		default:
			c.words = append(c.words, a)
		}
	}
	err := c.run(where)
	if err != nil {
		// The power is off, the chassis is not there, or the test has ended the process.
		if errors.Is(err, raidtest.ErrPowerOff) {
			return raidtest.ExitPowerOff
		}
		return 2
	}
	for i, r := range c.replies {
		if r.card == nil && c.first != nil {
			c.replies[i].card = &card{c.first, 0}
		}
	}
	if err := print(stdout, asJSON, c.replies); err != nil {
		return 2
	}
	return c.exit
}

func (c *call) remember(s *raidtest.State) {
	if s != nil && len(s.Controllers) > 0 {
		c.first = s.Controllers[0]
	}
}

func (c *call) syntaxError() error {
	zero := 0
	c.replies = []reply{{controller: &zero, failed: true, description: "syntax error, unexpected " +
		strconv.Quote(strings.Join(c.words, " "))}}
	c.exit = 255
	return nil
}

func (c *call) run(where string) error {
	words := strings.ToLower(strings.Join(c.words, " "))
	if where == "" {
		if words != "show" && words != "show all" {
			return c.syntaxError()
		}
		return c.overview()
	}
	m := targets.FindStringSubmatch(where)
	if m == nil {
		return c.syntaxError()
	}
	c.controller, c.enclosure, c.slot, c.volume, c.foreign = m[1], m[2], m[3], m[4], m[5]
	if strings.HasPrefix(words, "show") {
		return c.look(words)
	}
	return c.change(words)
}

func (c *call) overview() error {
	state, answer, err := c.chassis.Read(c.ctx, "show")
	if err != nil {
		return err
	}
	c.remember(state)
	if state == nil {
		return c.refused(nil, answer, "None")
	}
	var t table
	for i, ctl := range state.Controllers {
		t = append(t, card{ctl, i}.overviewLine())
	}
	host, system := "lab", defaultSystem
	if c.first != nil {
		first := card{c.first, 0}
		host, system = first.extra("Host Name", host), first.extra("Operating system", system)
	}
	data := object{{"Number of Controllers", len(state.Controllers)}, {"Host Name", host}, {"Operating System ", system}}
	if len(t) > 0 {
		data = append(data, field{"System Overview", t})
	}
	c.replies, c.exit = []reply{{description: "None", data: data}}, answer.Exit
	return nil
}

// refused prints the firmware's no.
func (c *call) refused(controller *int, answer raidtest.Answer, description string) error {
	r := reply{controller: controller, failed: true, description: description}
	if answer.Refused != nil {
		n := 0
		if controller != nil {
			n = *controller
		}
		r.details = table{{{"Ctrl", n}, {"Status", "Failed"}, {"ErrCd", codes[answer.Refused.Code]},
			{"ErrMsg", answer.Refused.Text}}}
	}
	c.replies, c.exit = append(c.replies, r), answer.Exit
	return nil
}

// codes are those of the firmware where they are known, and 255 otherwise.
var codes = map[raidtest.RefusalCode]int{raidtest.RefusedIncomplete: 59, raidtest.RefusedUnsupported: 2,
	raidtest.RefusedCache: 84, raidtest.RefusedState: 50, raidtest.RefusedLimit: 28,
	raidtest.RefusedNoDrive: 255, raidtest.RefusedNoVolume: 2, raidtest.RefusedRoom: 49}

// look answers a question.
func (c *call) look(words string) error {
	state, answer, err := c.chassis.Read(c.ctx, words)
	if err != nil {
		return err
	}
	c.remember(state)
	zero := 0
	if state == nil {
		return c.refused(&zero, answer, "None")
	}
	found := false
	for i, ctl := range state.Controllers {
		if c.controller != "all" && c.controller != strconv.Itoa(i) {
			continue
		}
		found = true
		r := c.answer(card{ctl, i}, words)
		r.controller, r.card = &i, &card{ctl, i}
		refused := answer.Refused
		if refused == nil && r.card.incomplete() && c.slot == "" && c.volume == "" && c.foreign == "" &&
			(words == "show" || words == "show all") {
			refused = &raidtest.Refusal{Code: raidtest.RefusedIncomplete, Text: "Incomplete foreign configuration"}
		}
		if refused != nil {
			// One part of what was asked for failed, and the rest is there.
			r.failed = true
			r.details = table{{{"Ctrl", i}, {"Status", "Failed"}, {"ErrCd", codes[refused.Code]}, {"ErrMsg", refused.Text}}}
		}
		if r.failed && answer.Exit == 0 && answer.Refused == nil {
			c.exit = 1
		}
		c.replies = append(c.replies, r)
	}
	if !found {
		n, _ := strconv.Atoi(c.controller)
		c.replies = []reply{{controller: &n, failed: true, description: fmt.Sprintf("Controller %d not found", n)}}
		c.exit = 1
	}
	c.exit = max(c.exit, answer.Exit)
	return nil
}

func (c *call) answer(ctl card, words string) reply {
	ok := func(data any) reply { return reply{description: "None", data: data} }
	property := func(values ...string) reply {
		var t table
		for i := 0; i+1 < len(values); i += 2 {
			t = append(t, object{{"Ctrl_Prop", values[i]}, {"Value", values[i+1]}})
		}
		return ok(object{{"Controller Properties", t}})
	}
	unsupported := reply{failed: true, description: "Un-supported Command"}
	switch {
	case c.slot != "":
		return c.drivesAnswer(ctl, words)
	case c.volume != "":
		return c.volumesAnswer(ctl, words)
	case c.foreign != "":
		if ctl.incomplete() {
			n := 0
			for _, d := range ctl.drives() {
				if d.Foreign != nil {
					n++
				}
			}
			return reply{failed: true, description: "Incomplete foreign configuration",
				data: object{{"Total Foreign PDs", n}, {"Total Locked Foreign PDs", 0}}}
		}
		if t := ctl.foreign(); len(t) > 0 {
			return reply{description: "Operation on foreign configuration Succeeded",
				data: object{{"FOREIGN CONFIGURATION", t}, {"Total foreign Drive Groups", len(t)}}}
		}
		return reply{description: "Couldn't find any foreign Configuration"}
	}
	switch words {
	case "show":
		return ok(ctl.show())
	case "show all":
		return reply{description: "None", data: ctl.showAll(), long: !ctl.isHBA()}
	case "show freespace":
		if ctl.isHBA() {
			return unsupported
		}
		// What is there stands in one more answer.
		free := ctl.freeSpace()
		if len(free) == 0 {
			return ok(object{{"Response Data", object{{"Total Slot Count", 0}}}})
		}
		return ok(object{{"Response Data", object{{"FREE SPACE DETAILS", free}, {"Total Slot Count", len(free)}}}})
	case "show cc", "show consistencycheck":
		if ctl.isHBA() {
			return unsupported
		}
		var values []string
		for _, v := range [][2]string{{"Operation Mode", "Concurrent"}, {"Execution Delay", "168"},
			{"Next Starttime", "11/16/2019, 03:00:00"}, {"Current State", "Stopped"}, {"Number of iterations", "0"},
			{"Number of VD completed", "0"}, {"Excluded VDs", "None"}} {
			values = append(values, "CC "+v[0], ctl.extra("CC "+v[0], v[1]))
		}
		return property(values...)
	case "show preservedcache":
		if len(ctl.PreservedCache) == 0 {
			return reply{description: "No Virtual Drive has preserved Cache data."}
		}
		var t table
		for _, v := range ctl.PreservedCache {
			t = append(t, object{{"VD", v}, {"State", "Missing"}})
		}
		return ok(object{{"Preserved Cache LIST", t}})
	case "show bootdrive":
		if !ctl.Capabilities.BootVolume {
			return unsupported
		}
		boot := "No Boot Drive"
		for _, v := range ctl.Volumes {
			if v.Boot {
				boot = fmt.Sprintf("VD:%d", v.Number)
			}
		}
		return property("BootDrive", boot)
	case "show personality":
		if len(ctl.Capabilities.Modes) == 0 {
			return unsupported
		}
		var others []string
		for _, m := range ctl.Capabilities.Modes {
			if m != ctl.Mode {
				others = append(others, strings.TrimSpace(ctl.modeWord(m)))
			}
		}
		values := []string{"Current Personality", ctl.modeWord(ctl.Mode), "Supported Personalities",
			strings.Join(others, ", ") + " "}
		if ctl.PendingMode != "" {
			values = append(values, "Requested Personality", ctl.modeWord(ctl.PendingMode))
		}
		if behavior := ctl.Extra["Behavior mode"]; behavior != "" {
			values = append(values, "Behavior mode", behavior)
		}
		return property(values...)
	case "show jbod":
		return property("JBOD", map[string]string{"Yes": "ON", "No": "OFF"}[ctl.jbod()])
	}
	return unsupported
}

func (c card) overviewLine() object {
	bad := 0
	for _, group := range c.Groups() {
		if c.notOptimal(group) > 0 {
			bad++
		}
	}
	battery := map[raid.BatteryStateKind]string{raid.BatteryGood: "Opt", raid.BatteryMissing: "Msng",
		raid.BatteryFailed: "Fld", raid.BatteryCharging: "Chrg"}[c.Cache.Battery.Is]
	if c.Cache.Battery.IsZero() {
		battery = "N/A"
	}
	health := "Opt"
	if c.impaired() {
		health = "NdAtn"
	}
	return object{{"Ctl", c.number}, {"Model", strings.ReplaceAll(c.Model, " ", "")}, {"Ports", 8},
		{"PDs", len(c.drives())}, {"DGs", len(c.Groups())}, {"DNOpt", bad}, {"VDs", len(c.Volumes)},
		{"VNOpt", c.notOptimal(c.Volumes)}, {"BBU", cmp.Or(battery, "Unkwn")}, {"sPR", "On"}, {"DS", "3"}, {"EHS", "N"},
		{"ASOs", 0}, {"Hlth", health}}
}

func (c *call) meant(d *raidtest.Drive) bool {
	enclosure := c.enclosure == "all" && d.Enclosure >= 0 || c.enclosure == strconv.Itoa(d.Enclosure) ||
		c.enclosure == "" && d.Enclosure < 0
	return enclosure && (c.slot == "all" || c.slot == strconv.Itoa(d.Slot))
}

func (c *call) drivesAnswer(ctl card, words string) reply {
	r := reply{description: "Show Drive Information Succeeded."}
	data := object{}
	var lines table
	for _, d := range ctl.drives() {
		if !c.meant(d) {
			continue
		}
		switch words {
		case "show":
			lines = append(lines, ctl.driveLine(d))
		case "show all":
			data = append(data, ctl.driveAnswer(d)...)
		case "show rebuild":
			r.description = "Show Drive Rebuild Status Succeeded."
			line := object{{"Drive-ID", ctl.path(d)}, {"Progress%", "-"}, {"Status", "Not in progress"},
				{"Estimated Time Left", "-"}}
			if d.State == raid.DiskRebuilding {
				line[1].value, line[2].value, line[3].value = int(d.Rebuild*100), "In progress", "5 Minutes"
			}
			lines = append(lines, line)
		case "show erase":
			r.description = "Show Drive Erase Status Succeeded."
			line := object{{"Drive-ID", ctl.path(d)}, {"Progress%", "-"}, {"Status", "Not in progress"},
				{"Estimated Time Left", "-"}}
			if d.State == raid.DiskErasing {
				line[1].value, line[2].value, line[3].value = int(d.Rebuild*100), "In progress", "5 Minutes"
			}
			lines = append(lines, line)
		default:
			return reply{failed: true, description: "Un-supported Command"}
		}
	}
	switch {
	case len(lines) == 0 && len(data) == 0:
		return reply{failed: true, description: "No drive found!"}
	case words == "show":
		r.data = object{{"Drive Information", lines}}
	case words == "show all":
		r.data = data
	default:
		r.data = lines
	}
	return r
}

func (c *call) volumesAnswer(ctl card, words string) reply {
	if words != "show" && words != "show all" {
		return reply{failed: true, description: "Un-supported Command"}
	}
	var lines table
	data := object{}
	for _, v := range ctl.volumes() {
		if c.volume != "all" && c.volume != strconv.Itoa(v.Number) {
			continue
		}
		lines = append(lines, ctl.volumeLine(v))
		var drives table
		for _, serial := range v.Members {
			if d := ctl.Drive(serial); d != nil {
				drives = append(drives, ctl.driveLine(d))
			}
		}
		data = append(data, field{fmt.Sprintf("/c%d/v%d", ctl.number, v.Number), table{ctl.volumeLine(v)}},
			field{fmt.Sprintf("PDs for VD %d", v.Number), drives},
			field{fmt.Sprintf("VD%d Properties", v.Number), ctl.volumeProperties(v)})
	}
	switch {
	case len(lines) == 0 && c.volume == "all":
		return reply{description: "No VDs have been configured"}
	case len(lines) == 0:
		return reply{failed: true, description: fmt.Sprintf("VD %s does not exist", c.volume)}
	case words == "show":
		return reply{description: "None", data: object{{"Virtual Drives", lines}}}
	}
	return reply{description: "None", data: data}
}

// write does one change of one controller.
func (c *call) write(op raid.StepKind, success, failure string, do func(card) error) error {
	n, err := strconv.Atoi(c.controller)
	if err != nil {
		return c.syntaxError()
	}
	answer, err := c.chassis.Change(c.ctx, string(op), func(s *raidtest.State) error {
		c.remember(s)
		if n >= len(s.Controllers) {
			return &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: fmt.Sprintf("Controller %d not found", n)}
		}
		return do(card{s.Controllers[n], n})
	})
	if err != nil {
		return err
	}
	if answer.Refused != nil {
		return c.refused(&n, answer, failure)
	}
	c.replies, c.exit = []reply{{controller: &n, description: success}}, answer.Exit
	return nil
}

func (c *call) change(words string) error {
	volume := func(op raid.StepKind, success string, do func(card, int) error) error {
		n, err := strconv.Atoi(c.volume)
		if err != nil {
			return c.syntaxError()
		}
		return c.write(op, success, "None", func(ctl card) error { return do(ctl, n) })
	}
	drive := func(op raid.StepKind, success, failure string, do func(card, string) error) error {
		return c.write(op, success, failure, func(ctl card) error {
			i := slices.IndexFunc(ctl.drives(), func(d *raidtest.Drive) bool { return c.slot != "all" && c.meant(d) })
			if i < 0 {
				return &raidtest.Refusal{Code: raidtest.RefusedNoDrive, Text: "Drive not found"}
			}
			return do(ctl, ctl.drives()[i].Serial)
		})
	}
	// Words that change nothing here.
	command := strings.TrimSuffix(strings.TrimSuffix(words, " force"), " discardcache")
	switch {
	case c.foreign != "":
		switch command {
		case "delete", "del":
			return c.write(raid.StepClearForeign, "Successfully deleted foreign configuration",
				"Operation on foreign configuration Failed", func(ctl card) error { return ctl.ClearForeign() })
		case "import":
			return c.write(raid.StepImportForeign, "Successfully imported foreign configuration",
				"Operation on foreign configuration Failed", func(ctl card) error { return ctl.ImportForeign() })
		}
	case c.slot != "":
		switch {
		case command == "set good":
			return drive(raid.StepReady, "Set Drive Good Succeeded.", "Set Drive Good Failed.",
				func(ctl card, serial string) error { return ctl.SetReady(serial) })
		case command == "set jbod":
			return drive(raid.StepJBOD, "Set Drive JBOD Succeeded.", "Set Drive JBOD Failed.",
				func(ctl card, serial string) error { return ctl.SetJBOD(serial) })
		case command == "delete hotsparedrive":
			return drive(raid.StepRemoveSpare, "Delete Hot Spare Succeeded.", "Delete Hot Spare Failed.",
				func(ctl card, serial string) error { return ctl.RemoveSpare(serial) })
		case strings.HasPrefix(command, "add hotsparedrive"):
			groups, dedicated := strings.CutPrefix(strings.TrimSpace(strings.TrimPrefix(command, "add hotsparedrive")), "dgs=")
			if !dedicated && groups != "" {
				return c.syntaxError()
			}
			return drive(raid.StepAddSpare, "Add Hot Spare Succeeded.", "Add Hot Spare Failed.",
				func(ctl card, serial string) error { return addSpare(ctl, serial, groups) })
		}
	case c.volume != "":
		value := func(name string) (string, bool) { return strings.CutPrefix(command, "set "+name+"=") }
		switch {
		case command == "delete" || command == "del":
			return volume(raid.StepDeleteVolume, "Delete VD succeeded",
				func(ctl card, n int) error { return ctl.DeleteVolume(n) })
		case command == "delete preservedcache":
			return c.write(raid.StepDiscardCache, "Virtual Drive preserved Cache Data Cleared.", "None", func(ctl card) error {
				before := len(ctl.PreservedCache)
				ctl.PreservedCache = slices.DeleteFunc(ctl.PreservedCache, func(v string) bool {
					return c.volume == "all" || v == c.volume
				})
				if len(ctl.PreservedCache) == before {
					return &raidtest.Refusal{Code: raidtest.RefusedState, Text: "no cache is preserved"}
				}
				return nil
			})
		case command == "set bootdrive=on":
			return volume(raid.StepBoot, "None", func(ctl card, n int) error { return ctl.SetBoot(n) })
		case command == "start init" || command == "start init full":
			how := raid.InitializeFast
			if strings.HasSuffix(command, "full") {
				how = raid.InitializeFull
			}
			return volume(raid.StepInitialize, "Start INIT Operation Success",
				func(ctl card, n int) error { return ctl.Initialize(n, how) })
		}
		for _, name := range []string{"wrcache", "rdcache", "iopolicy", "pdcache"} {
			if v, ok := value(name); ok {
				p, ok := policy(v)
				if !ok {
					return c.syntaxError()
				}
				return volume(raid.StepPolicies, "None", func(ctl card, n int) error { return ctl.SetPolicies(n, p) })
			}
		}
	default:
		if m, ok := strings.CutPrefix(command, "set personality="); ok {
			return c.write(raid.StepMode, "None", "None", func(ctl card) error { return ctl.SetMode(raid.Mode(m)) })
		}
		if command == "set jbod=on" {
			return c.write("set-property", "None", "None", func(ctl card) error {
				if !ctl.Capabilities.JBOD {
					return &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: "Un-supported Command"}
				}
				return nil
			})
		}
		if strings.HasPrefix(command, "add vd ") {
			return c.addVolume()
		}
	}
	return c.syntaxError()
}

func addSpare(ctl card, serial, groups string) error {
	var volumes []int
	for _, word := range strings.FieldsFunc(groups, func(r rune) bool { return r == ',' }) {
		g, err := strconv.Atoi(word)
		before := len(volumes)
		for _, v := range ctl.Volumes {
			if err == nil && ctl.group(v) == g {
				volumes = append(volumes, v.Number)
			}
		}
		if len(volumes) == before {
			return &raidtest.Refusal{Code: raidtest.RefusedNoVolume, Text: "Invalid DG"}
		}
	}
	return ctl.AddSpare(serial, volumes...)
}

// policy reads a word of a policy, which are all different but for on and off.
func policy(word string) (raid.Policies, bool) {
	p, ok := map[string]raid.Policies{
		"wt": {Write: raid.WriteThrough}, "wb": {Write: raid.WriteBack}, "awb": {Write: raid.WriteAlwaysBack},
		"nora": {Read: raid.ReadNone}, "ra": {Read: raid.ReadAhead},
		"direct": {IO: raid.IODirect}, "cached": {IO: raid.IOCached},
		"on": {DiskCache: raid.DiskCacheEnable}, "off": {DiskCache: raid.DiskCacheDisable},
	}[strings.ToLower(word)]
	return p, ok
}

var driveRange = regexp.MustCompile(`^(?:(\d{1,5}):)?(\d{1,4})(?:-(\d{1,4}))?$`)

// places reads `[e:]s|[e:]s-x|[e:]s-x,y`: an enclosure holds for what follows it.
func places(list string) ([]string, bool) {
	var all []string
	enclosure := " "
	for _, word := range strings.Split(list, ",") {
		m := driveRange.FindStringSubmatch(word)
		if m == nil {
			return nil, false
		}
		if m[1] != "" {
			enclosure = m[1]
		}
		from, _ := strconv.Atoi(m[2])
		upto := from
		if m[3] != "" {
			upto, _ = strconv.Atoi(m[3])
		}
		for slot := from; slot <= upto; slot++ {
			all = append(all, fmt.Sprintf("%s:%d", enclosure, slot))
		}
	}
	return all, true
}

var sizes = regexp.MustCompile(`(?i)^(\d+)(mb|gb|tb)?$`)

// addVolume is `add vd`, whose answer does not say which one it made.
func (c *call) addVolume() error {
	n := raidtest.NewVolume{}
	var drives []string
	perArray := 0
	for _, w := range c.words[2:] {
		name, value, set := strings.Cut(w, "=")
		switch name = strings.ToLower(name); {
		case !set && regexp.MustCompile(`^r(0|1|5|6|10|50|60)$`).MatchString(name):
			n.Level = raid.Level(name[1:])
		case name == "type" && strings.HasPrefix(strings.ToLower(value), "raid"):
			n.Level = raid.Level(value[len("raid"):])
		case name == "size" && strings.EqualFold(value, "all"):
		case name == "size":
			m := sizes.FindStringSubmatch(value)
			if m == nil {
				return c.syntaxError()
			}
			v, err := strconv.ParseInt(m[1], 10, 40)
			if err != nil {
				return c.syntaxError()
			}
			n.Bytes = v << map[string]int{"": 20, "mb": 20, "gb": 30, "tb": 40}[strings.ToLower(m[2])]
		case name == "name":
			n.Name = value
		case name == "drives":
			var ok bool
			if drives, ok = places(value); !ok {
				return c.syntaxError()
			}
		case name == "pdperarray":
			perArray, _ = strconv.Atoi(value)
		case name == "strip":
			v, err := strconv.Atoi(value)
			if err != nil {
				return c.syntaxError()
			}
			n.Strip = hw.Size(v) << 10
		case name == "pdcache":
			p, ok := policy(value)
			if !ok {
				return c.syntaxError()
			}
			n.Policies.DiskCache = p.DiskCache
		case !set && name != "force":
			p, ok := policy(name)
			if !ok || p.DiskCache != "" {
				return c.syntaxError()
			}
			n.Policies.Write = orElse(p.Write, n.Policies.Write)
			n.Policies.Read = orElse(p.Read, n.Policies.Read)
			n.Policies.IO = orElse(p.IO, n.Policies.IO)
		case name == "force":
		default:
			return c.syntaxError()
		}
	}
	nested := n.Level == raid.Level10 || n.Level == raid.Level50 || n.Level == raid.Level60
	return c.write(raid.StepCreateVolume, "Add VD Succeeded.", "Add VD Failed", func(ctl card) error {
		if nested && (perArray <= 0 || len(drives)%perArray != 0) {
			return &raidtest.Refusal{Code: raidtest.RefusedCount, Text: "PDperArray is missing or does not fit"}
		}
		if nested {
			n.Spans = len(drives) / perArray
		}
		for _, at := range drives {
			i := slices.IndexFunc(ctl.drives(), func(d *raidtest.Drive) bool {
				return place(d) == at
			})
			if i < 0 {
				return &raidtest.Refusal{Code: raidtest.RefusedNoDrive, Text: "drive " + at + " not found"}
			}
			n.Drives = append(n.Drives, ctl.drives()[i].Serial)
		}
		_, err := ctl.CreateVolume(n)
		return err
	})
}

func orElse[T ~string](a, b T) T {
	if a != "" {
		return a
	}
	return b
}
