package ssaclitool_test

import (
	"cmp"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/ssaclitool"
)

// A capture is compared with what the emulator prints in the state that it shows.
type capture struct {
	file string
	args []string
	// state is that of the capture, of which seen was read.
	state func(seen *raidtest.Controller) *raidtest.State
	exit  int
	// edited are lines in which the capture's author changed a figure, with what they say of that state.
	edited map[string]string
	// from is where a capture begins whose author cut its head off.
	from string
	// lines: its author kept some lines, and told of one of them twice. They are compared as a set, and others are not.
	lines bool
}

const (
	mib = 1 << 20
	gib = 1 << 30

	cylinder = 255 * 32 * 512
	// What the tool tells of drives is cut after one digit: these are their true sizes. The old tool's are without the
	// 32 MiB that the firmware takes.
	bytesMB4000 = 4000787030016 - 32*mib
	bytesEG0900 = 900185481216
	bytesEF0300 = 300e9
	bytesEF0600 = 600127266816 - 32*mib
)

var show = []string{"ctrl", "all", "show", "config", "detail"}

func captures() []capture {
	one := func(change func(c *raidtest.Controller)) func(*raidtest.Controller) *raidtest.State {
		return func(c *raidtest.Controller) *raidtest.State {
			change(c)
			return &raidtest.State{Controllers: []*raidtest.Controller{c}}
		}
	}
	level6 := []raid.LevelCapability{{Level: raid.Level6, MinDisks: 4}}
	both := []raid.WritePolicy{raid.WriteThrough, raid.WriteBack}
	good := raid.BatteryState{Is: raid.BatteryGood}
	erase := func(c *raidtest.Controller) *raidtest.Drive {
		c.Mode, c.Capabilities.Modes = raid.ModeRAID, []raid.Mode{raid.ModeRAID, raid.ModeHBA}
		c.Capabilities.BootVolume = true
		d := c.Drives[0]
		d.Port, d.Box, d.Slot, d.Bytes, d.LogicalSector = "1I", 2, 0, bytesEF0300, 512
		return d
	}
	return []capture{
		{file: "mox_h240ar_repeated_header.txt", args: show, state: one(func(c *raidtest.Controller) {
			c.Extra["tool"], c.Extra["place"], c.Mode = "hpssacli", "Embedded", raid.ModeRAID
			c.Capabilities.Modes = []raid.Mode{raid.ModeRAID, raid.ModeHBA}
			c.Cache.Bytes = 256 * mib
			sizes(c, bytesMB4000)
		})},
		{file: "mox_p420_r10.txt", args: show, state: one(func(c *raidtest.Controller) {
			c.ID, c.Reserve = "0000:04:00.0", 32*mib
			c.Capabilities = raid.Capabilities{Levels: level6, Write: both, BootVolume: true}
			c.Cache = raid.Cache{Bytes: gib, Battery: good}
			sizes(c, bytesEG0900)
		})},
		{file: "mox_unassigned.txt", args: show, from: "Array: A", state: one(func(c *raidtest.Controller) {
			c.Reserve = 32 * mib
			sizes(c, bytesEF0300)
		})},
		{file: "prol_two_ld.txt", args: show, state: one(func(c *raidtest.Controller) {
			c.Extra["tool"] = "hpssacli"
			c.Capabilities = raid.Capabilities{Levels: level6, Write: both}
			c.Cache = raid.Cache{Bytes: 2 * gib, Battery: good}
			sizes(c, bytesEF0600)
			// Asked for 100 and 50 GB, they are whole cylinders.
			c.Volumes[0].Bytes, c.Volumes[0].Impacted, c.Volumes[1].Bytes = 25700*cylinder, true, 12850*cylinder
		}),
			// The drives' size, which they have elsewhere in the same text.
			edited: map[string]string{"Size: 400 GB": "Size: 600 GB", "Size: 500 GB": "Size: 600 GB"}},
		{file: "prol_erase_in_progress.txt", args: show, lines: true, state: one(func(c *raidtest.Controller) {
			erase(c).State = raid.DiskErasing
		})},
		{file: "prol_erase_complete.txt", args: show, lines: true, state: one(func(c *raidtest.Controller) {
			d := erase(c)
			d.State, d.Erased = raid.DiskBad, true
		})},
		{file: "mox_ctrl_all_2.txt", args: []string{"ctrl", "all", "show"},
			state: func(*raidtest.Controller) *raidtest.State {
				b120i := ssaclitool.SmartArray("0000:00:11.4", "", "0")
				b120i.Model = "Dynamic Smart Array B120i RAID"
				p420i := ssaclitool.SmartArray("0000:04:00.0", "PCFBB0HLM7S0LW", "1")
				p420i.Model, p420i.Extra = "Smart Array P420i", nil
				return &raidtest.State{Controllers: []*raidtest.Controller{b120i, p420i}}
			}},
		{file: "prol_raid_invalid.txt", exit: 1,
			args: strings.Fields("ctrl slot=2 create type=ld drives=1I:1:1,1I:1:2,1I:1:3 raid=1 size=max forced"),
			state: func(*raidtest.Controller) *raidtest.State {
				c := ssaclitool.SmartArray("0000:0b:00.0", "PDVTF0BRH5T0MO", "2")
				c.Capabilities.Levels = []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1},
					{Level: raid.Level1, MinDisks: 2, MaxDisks: 3}, {Level: raid.Level10, MinDisks: 4, Multiple: 2},
					{Level: raid.Level5, MinDisks: 3}}
				c.AddDrives(3, hw.HDD, hw.BusSAS, bytesEF0600)
				return &raidtest.State{Controllers: []*raidtest.Controller{c}}
			}},
	}
}

// sizes are those of all drives, and of volumes that take all of them.
func sizes(c *raidtest.Controller, bytes int64) {
	for _, d := range c.Drives {
		d.Bytes = bytes
	}
	for _, v := range c.Volumes {
		v.Bytes = (bytes - c.Reserve) * int64(c.DataDrives(v))
	}
}

func TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted(t *testing.T) {
	for _, c := range captures() {
		t.Run(c.file, func(t *testing.T) {
			text := string(raidtest.Capture(t, filepath.Join("ssacli", c.file)))
			state := c.state(look(t, text))
			chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), state)
			require.NoError(t, err)
			got, exit, err := ssaclitool.Run(t.Context(), chassis, c.args)
			require.NoError(t, err)
			assert.Equal(t, c.exit, exit)
			for line, was := range c.edited {
				require.Contains(t, text, line)
				text = strings.ReplaceAll(text, line, was)
			}
			if c.from != "" {
				_, got, _ = strings.Cut(got, c.from)
				_, text, _ = strings.Cut(text, c.from)
			}
			if c.lines {
				text, got = lines(text, text), lines(got, text)
			}
			require.NotEmpty(t, strings.Fields(got))
			assert.Equal(t, words(text), words(got))
		})
	}
}

func TestNoCaptureOfTheToolIsLeftOut(t *testing.T) {
	var compared []string
	for _, c := range captures() {
		compared = append(compared, filepath.Join("ssacli", c.file))
	}
	raidtest.NoneLeftOut(t, compared, "ssacli")
}

// words are compared one by one, since versions of the tool lost blanks and ends of lines.
func words(text string) string { return strings.Join(strings.Fields(text), "\n") }

// lines are those of text with labels that other has, each once.
func lines(text, other string) string {
	label := regexp.MustCompile(`(?m)^ *([^:\n]+)`)
	var want, all []string
	for _, m := range label.FindAllStringSubmatch(other, -1) {
		want = append(want, m[1])
	}
	for line := range strings.Lines(text) {
		if m := label.FindStringSubmatch(line); m != nil && slices.Contains(want, m[1]) {
			all = append(all, strings.TrimSpace(line))
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "\n")
}

func TestAnErasedDriveIsReadyWhenItIsEnabled(t *testing.T) {
	state := machine()
	state.Controllers[0].Drives[0].State, state.Controllers[0].Drives[0].Erased = raid.DiskBad, true
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), state)
	require.NoError(t, err)
	enable := strings.Fields("ctrl slot=0 pd 1I:1:1 modify enableerasedrive")
	_, exit, err := ssaclitool.Run(t.Context(), chassis, enable)
	require.NoError(t, err)
	assert.Zero(t, exit)
	state, err = chassis.State()
	require.NoError(t, err)
	assert.Equal(t, raid.DiskReady, state.Controllers[0].Drives[0].State)
	text, exit, err := ssaclitool.Run(t.Context(), chassis, enable)
	require.NoError(t, err)
	assert.Equal(t, 1, exit, text)
}

var (
	heading  = regexp.MustCompile(`^(\S.*) in Slot (\d+)`)
	inCage   = regexp.MustCompile(`^ {3}(\S.*) at Port (\w+), Box (\d+), OK`)
	numbered = regexp.MustCompile(`^ {3}(Expander|Enclosure SEP|SEP)\b.* (\d+) *$`)
	bare     = regexp.MustCompile(`^ {6}physicaldrive (\S+)\s*$`)
	inGroup  = regexp.MustCompile(`^ {6,12}physicaldrive (\S+) \(`)
	pair     = regexp.MustCompile(`(\S[^:]*|PCI Address \(\S+\)): (.*)$`)
)

// look reads a capture: what is where, what the hardware says of itself, and which drives volumes are on. Sizes, states
// and what the firmware does are for the table.
func look(t *testing.T, text string) *raidtest.Controller {
	c := &raidtest.Controller{Extra: map[string]string{}}
	fields, array, places := c.Extra, 0, map[string]*raidtest.Drive{}
	arrays := map[*raidtest.Volume]int{}
	var told []map[string]string // of drives
	var in []int                 // arrays of drives
	var volume *raidtest.Volume
	var volumes []*raidtest.Volume
	members := map[*raidtest.Volume][]string{}
	part := func(p raidtest.Part) {
		p.Extra = map[string]string{}
		fields = p.Extra
		if !slices.ContainsFunc(c.Parts, func(o raidtest.Part) bool {
			return o.Kind == p.Kind && o.Name == p.Name && o.Number == p.Number && o.Port == p.Port
		}) {
			c.Parts = append(c.Parts, p)
		}
	}
	// Some ends of lines are lost.
	text = regexp.MustCompile(` {4,}(Mount Points|HPE SSD Smart Path):`).ReplaceAllString(text, "\n         $1:")
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch trimmed := strings.TrimSpace(line); {
		case heading.MatchString(line):
			m := heading.FindStringSubmatch(line)
			c.Model, c.Slot = m[1], m[2]
		case inCage.MatchString(line):
			m := inCage.FindStringSubmatch(line)
			n, _ := strconv.Atoi(m[3])
			part(raidtest.Part{Kind: "cage", Name: m[1], Port: m[2], Box: n})
		case numbered.MatchString(line):
			m := numbered.FindStringSubmatch(line)
			n, _ := strconv.Atoi(m[2])
			part(raidtest.Part{Kind: map[string]string{"Expander": "expander", "Enclosure SEP": "enclosure",
				"SEP": "processor"}[m[1]], Number: n})
		case strings.HasPrefix(line, "   Port Name: "):
			part(raidtest.Part{Kind: "port", Name: strings.TrimPrefix(trimmed, "Port Name: ")})
		case strings.HasPrefix(trimmed, "Array: "):
			array++
			fields = map[string]string{}
		case strings.HasPrefix(trimmed, "Logical Drive: "):
			n, err := strconv.Atoi(strings.TrimPrefix(trimmed, "Logical Drive: "))
			require.NoError(t, err)
			volume = &raidtest.Volume{Number: n - 1, Extra: fields}
			volumes, arrays[volume] = append(volumes, volume), array
		case trimmed == "unassigned":
			array = 0
		case bare.MatchString(line):
			fields = map[string]string{"place": bare.FindStringSubmatch(line)[1]}
			told, in, volume = append(told, fields), append(in, array), nil
		case inGroup.MatchString(line):
			if volume != nil {
				members[volume] = append(members[volume], inGroup.FindStringSubmatch(line)[1])
			}
		default:
			if m := pair.FindStringSubmatch(line); m != nil {
				fields[strings.TrimSpace(m[1])] = m[2]
			}
		}
	}
	c.Serial, c.Firmware = c.Extra["Serial Number"], c.Extra["Firmware Version"]
	for i := range c.Parts {
		p := &c.Parts[i]
		p.Port = cmp.Or(p.Port, p.Extra["Port"])
		p.Box, _ = strconv.Atoi(cmp.Or(p.Extra["Box"], "0"))
	}
	for i, f := range told {
		bay, _ := strconv.Atoi(f["Bay"])
		box, _ := strconv.Atoi(f["Box"])
		sector, _ := strconv.Atoi(f["Native Block Size"])
		vendor, model := f["Model"], ""
		if len(vendor) > 8 {
			vendor, model = vendor[:8], vendor[8:]
		}
		d := &raidtest.Drive{Port: f["Port"], Box: box, Slot: bay - 1, Firmware: f["Firmware Revision"],
			Serial: f["Serial Number"], Vendor: strings.TrimSpace(vendor), Model: model, Medium: hw.HDD,
			Bus:           map[string]hw.Bus{"SAS": hw.BusSAS, "SATA": hw.BusATA}[f["Interface Type"]],
			LogicalSector: sector, State: raid.DiskReady, Extra: f}
		if in[i] > 0 {
			d.State = raid.DiskOnline
		}
		c.Drives, places[f["place"]] = append(c.Drives, d), d
	}
	for _, v := range volumes {
		f := v.Extra
		kib, _ := strconv.Atoi(strings.TrimSuffix(f["Strip Size"], " KB"))
		v.WWN, v.Strip = strings.ToLower(f["Unique Identifier"]), hw.Size(kib)<<10
		v.Level = map[string]raid.Level{"1": raid.Level1, "5": raid.Level5, "1+0": raid.Level10}[f["Fault Tolerance"]]
		v.Policies.Write = map[string]raid.WritePolicy{"Enabled": raid.WriteBack,
			"Disabled": raid.WriteThrough}[strings.TrimSpace(f["Caching"])]
		for _, place := range members[v] {
			require.Contains(t, places, place)
			v.Members = append(v.Members, places[place].Serial)
		}
		for i, d := range c.Drives {
			if len(members[v]) == 0 && in[i] == arrays[v] {
				v.Members = append(v.Members, d.Serial)
			}
		}
	}
	c.Volumes = volumes
	return c
}
