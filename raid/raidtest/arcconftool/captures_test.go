package arcconftool_test

import (
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
	"github.com/project-loda/loda/raid/raidtest/arcconftool"
)

const mib = 1 << 20

// captures are compared whole, word by word: blanks and ends of lines are all that may differ.
func captures() []capture {
	levels := arcconftool.SmartRAID("", "", "").Capabilities.Levels
	smart := func(c *raidtest.Controller) {
		c.Capabilities.Levels, c.Reserve = levels, 32*mib
	}
	return []capture{
		{"pyarc_3204_unconfigured.txt", "GETCONFIG 1", func(c *raidtest.Controller) {
			smart(c)
			c.ID, c.Mode, c.Cache.Bytes = "0000:60:00.0", raid.ModeMixed, 3644*mib
		}},
		{"pyarc_hba1100.txt", "GETCONFIG 1", func(c *raidtest.Controller) {
			c.Extra["tool"], c.ID, c.Mode, c.Reserve = "2", "0000:d9:00.0", raid.ModeHBA, 32*mib
		}},
		{"pyarc_3x_ld.txt", "GETCONFIG 1 LD", func(c *raidtest.Controller) {
			smart(c)
			c.Model, c.Mode = "Adaptec SmartRAID 3204-8i", raid.ModeMixed
			whole(c)
		}},
		{"pyarc_3x_pd.txt", "GETCONFIG 1 PD", func(c *raidtest.Controller) {
			smart(c)
			c.Model, c.Mode = "Adaptec SmartRAID 3204-8i", raid.ModeMixed
			c.Volumes = []*raidtest.Volume{{Number: 0, Level: raid.Level1, Members: serials(c, 8, 9)},
				{Number: 1, Level: raid.Level10, Members: serials(c, 11, 13, 12, 14)}}
			whole(c)
		}},
		{"pyarc_no_ld.txt", "GETCONFIG 1 LD", func(c *raidtest.Controller) { c.Model = "Adaptec SmartRAID 3204-8i" }},
		{"pyarc_list.txt", "LIST", func(c *raidtest.Controller) {
			c.Model, c.Slot, c.Mode, c.Serial = "Adaptec SmartRAID 3204-8i", "10", raid.ModeMixed, "1A32345456BA"
			c.Extra["Controller World Wide Name"] = "5000054522123456"
		}},
		{"pyarc_8k_impacted.txt", "GETCONFIG 1 AL", func(c *raidtest.Controller) {
			c.Mode, c.Reserve = raid.ModeRAID, 175*mib
			c.Cache = raid.Cache{Bytes: 256 * mib, Battery: raid.BatteryState{Is: raid.BatteryGood}}
			c.Volumes[0].Policies = raid.Policies{Read: raid.ReadAhead, Write: raid.WriteBack}
			c.Volumes[0].Members = serials(c, 0, 1, 2)
			c.Volumes[0].Impacted = true
			whole(c)
		}},
	}
}

type capture struct {
	file, args string
	// state makes what was read of the capture what it shows.
	state func(seen *raidtest.Controller)
}

func serials(c *raidtest.Controller, devices ...int) (all []string) {
	for _, n := range devices {
		for _, d := range c.Drives {
			if d.Device == n {
				all = append(all, d.Serial)
			}
		}
	}
	return all
}

// whole lets all volumes take all that their smallest drive has.
func whole(c *raidtest.Controller) {
	for _, v := range c.Volumes {
		least := int64(1 << 60)
		for _, serial := range v.Members {
			least = min(least, c.Drive(serial).Bytes-c.Reserve)
		}
		v.Bytes = least * int64(c.DataDrives(v))
	}
}

func TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted(t *testing.T) {
	for _, c := range captures() {
		t.Run(c.file, func(t *testing.T) {
			text := string(raidtest.Capture(t, filepath.Join("arcconf", c.file)))
			seen := look(text)
			c.state(seen)
			chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"),
				&raidtest.State{Controllers: []*raidtest.Controller{seen}})
			require.NoError(t, err)
			got, exit, err := arcconftool.Run(t.Context(), chassis, strings.Fields(c.args))
			require.NoError(t, err)
			assert.Zero(t, exit)
			assert.Equal(t, words(text), words(got))
		})
	}
}

func TestNoCaptureOfTheToolIsLeftOut(t *testing.T) {
	var compared []string
	for _, c := range captures() {
		compared = append(compared, filepath.Join("arcconf", c.file))
	}
	raidtest.NoneLeftOut(t, compared, "arcconf")
}

func words(text string) string { return strings.Join(strings.Fields(text), "\n") }

func TestAnImpactedVolumeIsDegradedAsADriverSeesIt(t *testing.T) {
	c := arcconftool.Series8("0000:03:00.0", "S8TEST01", "4")
	state := machine(c)
	c.Volumes[0].Impacted = true
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), state)
	require.NoError(t, err)
	inv, err := driver("0000:03:00.0")(t, chassis).Inventory(t.Context(), "0000:03:00.0")
	require.NoError(t, err)
	assert.Equal(t, raid.VolumeState{Is: raid.VolumeDegraded, Raw: "Impacted"}, inv.Volumes[0].State)
	assert.Equal(t, c.Inventory().Volumes[0].State.Is, inv.Volumes[0].State.Is)
}

var (
	numbered = regexp.MustCompile(`^ *(Connector #|Device #|Phy #|Logical [Dd]\w+ number )(\d+)\s*$`)
	pair     = regexp.MustCompile(`^ *(\S.*?)\s+: ?(.*)$`)
	place    = regexp.MustCompile(`^Enclosure (.+), Slot (\d+)(?:\(Connector (\d+):(CN\d+)\))?`)
	cabled   = regexp.MustCompile(`^Connector \d+:(CN\d+), Enclosure (\d+)$`)
	present  = regexp.MustCompile(`^Present \((\d+)MB, (\w+), (\w+), Connector:(CN\d+), Enclosure:(\d+), ` +
		`Slot:(\d+)\) (\S+)`)
)

// look reads a capture: which drives are where, which volumes there are, and what the hardware says of itself. What the
// firmware does of it, modes and sizes of volumes, is for the table.
func look(text string) *raidtest.Controller {
	c := &raidtest.Controller{Extra: map[string]string{}}
	fields, prefix, top := c.Extra, "", ""
	var drives []map[string]string
	seen := map[string]bool{}
	part := func(p raidtest.Part) {
		p.Extra = map[string]string{}
		fields, prefix = p.Extra, ""
		c.Parts = append(c.Parts, p)
	}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \n")
		trimmed := strings.TrimSpace(line)
		switch m, f := numbered.FindStringSubmatch(line), pair.FindStringSubmatch(line); {
		case trimmed == "" || strings.HasPrefix(trimmed, "---"):
		case m != nil:
			n, _ := strconv.Atoi(m[2])
			switch m[1] {
			case "Connector #":
				// The second telling has its own title.
				if !seen[trimmed] {
					part(raidtest.Part{Kind: "connector", Number: n})
				} else {
					fields, prefix = map[string]string{}, ""
				}
				seen[trimmed] = true
			case "Phy #":
				prefix = trimmed + "/"
			case "Device #":
				fields, prefix = map[string]string{"#": m[2]}, ""
			default:
				fields, prefix = map[string]string{}, ""
				c.Volumes = append(c.Volumes, &raidtest.Volume{Number: n, Extra: fields})
			}
		case trimmed == "Device is a Hard drive":
			drives = append(drives, fields)
		case strings.HasPrefix(strings.ToLower(trimmed), "device is an enclosure"):
			n, _ := strconv.Atoi(fields["#"])
			part(raidtest.Part{Kind: "processor", Number: n})
		case f != nil && top == "Controller information" && f[1] == "Sensor ID":
			n, _ := strconv.Atoi(f[2])
			part(raidtest.Part{Kind: "sensor", Number: n})
		case f != nil:
			fields[prefix+f[1]] = f[2]
			if m := present.FindStringSubmatch(f[2]); m != nil {
				member(c, f[1], m)
			}
		case !strings.HasPrefix(line, " "):
			top = trimmed
		case top == "Controller information":
			fields, prefix = c.Extra, trimmed+"/" // a section of it
		default:
			prefix = "" // counters
		}
	}
	c.Model, c.Serial = c.Extra["Controller Model"], c.Extra["Controller Serial Number"]
	c.Slot, c.Firmware = c.Extra["Physical Slot"], c.Extra["Controller Version Information/Firmware"]
	for i := range c.Parts {
		p := &c.Parts[i]
		p.Name = p.Extra["Connector name"] + p.Extra["Connector Name"]
		if m := cabled.FindStringSubmatch(p.Extra["Reported Location"]); m != nil {
			p.Port = m[1]
			p.Box, _ = strconv.Atoi(m[2])
		}
	}
	for _, f := range drives {
		c.Drives = append(c.Drives, physical(f))
	}
	for _, v := range c.Volumes {
		f := v.Extra
		v.Name, v.Level, v.WWN = f["Logical Device name"]+f["Logical drive name"], raid.Level(f["RAID level"]),
			f["Volume Unique Identifier"]
		kib, _ := strconv.Atoi(strings.TrimSuffix(f["Stripe-unit size"], " KB"))
		v.Strip, v.Policies.Write = hw.Size(kib)<<10, raid.WriteThrough
		for _, d := range c.Drives {
			if slices.Contains(v.Members, d.Serial) {
				d.LogicalSector = sector(f["Block Size of member drives"])
			}
		}
	}
	return c
}

// member is a drive that only a volume tells of.
func member(c *raidtest.Controller, label string, m []string) {
	size, _ := strconv.ParseInt(m[1], 10, 64)
	d := &raidtest.Drive{Bytes: size * mib, Bus: busOf(m[2]), Medium: hw.Medium(strings.ToLower(m[3])), Port: m[4],
		Serial: m[7], State: raid.DiskOnline}
	d.Box, _ = strconv.Atoi(m[5])
	d.Slot, _ = strconv.Atoi(m[6])
	d.Device, _ = strconv.Atoi(strings.TrimPrefix(label, "Device "))
	v := c.Volumes[len(c.Volumes)-1]
	c.Drives, v.Members = append(c.Drives, d), append(v.Members, d.Serial)
}

func physical(f map[string]string) *raidtest.Drive {
	d := &raidtest.Drive{Vendor: f["Vendor"], Model: f["Model"], Firmware: f["Firmware"], Serial: f["Serial number"],
		WWN: strings.ToLower(f["World-wide name"]), LogicalSector: sector(f["Block Size"]),
		PhysicalSector: sector(f["Physical Block Size"]), Medium: hw.HDD, Extra: f}
	for _, label := range []string{"Total Size", "Size"} {
		if n, err := strconv.ParseInt(strings.TrimSuffix(f[label], " MB"), 10, 64); err == nil {
			d.Bytes = n * mib
		}
	}
	if f["SSD"] == "Yes" {
		d.Medium = hw.SSD
	}
	bus, speed, _ := strings.Cut(f["Transfer Speed"], " ")
	d.Bus, f["speed"] = busOf(bus), speed
	d.State = map[string]raid.DiskStateKind{"Online": raid.DiskOnline, "Ready": raid.DiskReady,
		"Raw (Pass Through)": raid.DiskJBOD}[f["State"]]
	d.Device, _ = strconv.Atoi(f["#"])
	if m := place.FindStringSubmatch(f["Reported Location"]); m != nil {
		d.Slot, _ = strconv.Atoi(m[2])
		d.Port, d.Box = m[4], -1 // attached directly
		if n, err := strconv.Atoi(m[1]); err == nil {
			d.Box = n
		}
	}
	return d
}

func busOf(s string) hw.Bus { return map[string]hw.Bus{"SAS": hw.BusSAS, "SATA": hw.BusATA}[s] }

func sector(s string) int {
	if s == "4K Bytes" {
		return 4096
	}
	n, _ := strconv.Atoi(strings.TrimSuffix(s, " Bytes"))
	return n
}
