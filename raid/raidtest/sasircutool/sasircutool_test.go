package sasircutool_test

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/sasircutool"
	"github.com/project-loda/loda/raid/sasircu"
)

// machine has a stripe that no layout wants, and a drive at the end that is nobody's.
func machine(model string) *raidtest.State {
	c := sasircutool.HBA("0000:af:00.0", model, "HBA1")
	c.AddDrives(2, hw.SSD, hw.BusATA, 480e9)
	c.AddDrives(7, hw.HDD, hw.BusSAS, 4e12)
	for i, d := range c.Drives {
		d.Enclosure, d.Slot = 1, i+2 // 10 is behind 9
	}
	s := &raidtest.State{Controllers: []*raidtest.Controller{c}}
	if _, err := c.CreateVolume(raidtest.NewVolume{Level: raid.Level0,
		Drives: []string{"HBA1-D003", "HBA1-D004"}}); err != nil {
		panic(err) // it is a constant
	}
	return s
}

func layout() *raid.Layout {
	return &raid.Layout{Controllers: []raid.ControllerLayout{{
		Unlisted: raid.UnlistedRemove,
		Volumes: []raid.Volume{{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}, Boot: true},
			{Name: "data", Level: raid.Level10, Disks: raid.DiskChoice{Count: 4, Medium: hw.HDD}}},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 2, Medium: hw.HDD}}},
	}}}
}

// then starts from the other volume, and gives a stripe the drives of it and of the spares.
func then() *raid.Layout {
	l := layout()
	c := &l.Controllers[0]
	c.Volumes = []raid.Volume{c.Volumes[0], {Name: "data", Level: raid.Level0,
		Disks: raid.DiskChoice{Count: 6, Medium: hw.HDD}, Boot: true}}
	c.Volumes[0].Boot = false
	c.Spares = nil
	return l
}

func TestTheDriverStandsTheSuite(t *testing.T) {
	for model, tool := range map[string]raidtest.Tool{"SAS3008": sasircutool.SAS3, "SAS2308_1": sasircutool.SAS2} {
		suite := raidtest.Suite{
			Make:   func() *raidtest.State { return machine(model) },
			Layout: layout(), Then: then(),
			New: func(_ *testing.T, c *raidtest.Chassis) raid.Driver {
				return sasircu.New(raidtest.Impatient(tool.Runner(c), c, nil), "sasircu")
			}}
		for _, c := range suite.Cases() {
			t.Run(model+" "+c.Name, func(t *testing.T) {
				t.Parallel() // each has machines of its own
				require.NoError(t, c.Run(t))
			})
		}
	}
}

func TestTheExecutableFindsItsChassisInTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chassis.json")
	_, err := raidtest.Create(path, machine("SAS3008"))
	require.NoError(t, err)
	t.Setenv("LODA_CHASSIS", path)
	var stdout, stderr bytes.Buffer
	require.Zero(t, raidtest.Tool(sasircutool.SAS3).Main(t.Context(), []string{"0", "DISPLAY"}, &stdout, &stderr), &stderr)
	inv, err := sasircu.Parse(stdout.Bytes())
	require.NoError(t, err)
	assert.Len(t, inv.Disks, 9)
	assert.Equal(t, raid.DiskID("1:10"), inv.Disks[8].ID)

	stdout.Reset()
	assert.Equal(t, 1, raidtest.Tool(sasircutool.SAS2).Main(t.Context(), []string{"LIST"}, &stdout, &stderr),
		"the other generation is none of its business")
	assert.Contains(t, stdout.String(), "MPTLib2 Error 1")
}

func TestWhatTheFirmwareDoesNotAllowIsRefused(t *testing.T) {
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), machine("SAS3008"))
	require.NoError(t, err)
	for _, c := range []struct{ line, want string }{
		{"0 CREATE RAID1 MAX 1:2 1:3 1:6 noprompt", "Error executing command CREATE."},
		{"0 CREATE RAID5 MAX 1:6 1:7 1:8 noprompt", "Error executing command CREATE."},
		{"0 CREATE RAID1 MAX 1:2 1:99 noprompt", "Device at 1:99 not found."},
		{"0 CREATE RAID1 MAX 1:2 1:3", "nobody to give one"},
		{"0 CREATE RAID1 nothing 1:2 1:3 noprompt", "Invalid size"},
		{"0 HOTSPARE 1:6", "no volume that could need"},
		{"0 DELETEVOLUME 999 noprompt", "Error executing command DELETEVOLUME."},
		{"0 BOOTIR x", "Invalid volume id"},
		{"7 DISPLAY", "No Controller Found at index 7."},
		{"7 DELETE noprompt", "No Controller Found at index 7."},
		{"0 FORMAT", "Unknown command"},
		{"DISPLAY", "Too few arguments"},
	} {
		text, exit, err := sasircutool.SAS3(t.Context(), chassis, strings.Fields(c.line))
		require.NoError(t, err)
		assert.Equal(t, 1, exit, c.line)
		assert.Contains(t, text, c.want, c.line)
	}
	state, err := chassis.State()
	require.NoError(t, err)
	assert.Len(t, state.Controllers[0].Volumes, 1)
}

var blanks = regexp.MustCompile(`[ \t\n]+`)

func squeeze(text string) string { return strings.TrimSpace(blanks.ReplaceAllString(text, " ")) }

// between is what stands from one line to another.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	i := strings.Index(text, from)
	require.GreaterOrEqual(t, i, 0, text)
	text = text[i:]
	if to != "" {
		i = strings.Index(text, to)
		require.GreaterOrEqual(t, i, 0, text)
		text = text[:i]
	}
	return squeeze(text)
}

// TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted holds it against captures, up to blanks.
func TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted(t *testing.T) {
	const mib = int64(1) << 20
	intel := func(slot int, serial, wwn string) *raidtest.Drive {
		return &raidtest.Drive{Enclosure: 1, Slot: slot, Model: "INTEL SSDSC2BX40", Firmware: "0110", Serial: serial,
			WWN: wwn, Bytes: 781422768 * 512, LogicalSector: 512, Medium: hw.SSD, Bus: hw.BusATA, State: raid.DiskOnline}
	}
	gone := func(serials ...string) []*raidtest.Drive {
		var all []*raidtest.Drive
		for i, s := range serials {
			all = append(all, &raidtest.Drive{Enclosure: 1, Slot: 8 + i, Serial: s, Pulled: true})
		}
		return all
	}
	stripe := func(number int, wwid string, members ...string) *raidtest.Volume {
		return &raidtest.Volume{Number: number, WWN: wwid, Level: raid.Level0, Bytes: 1522064 * mib, Members: members}
	}
	// The tool's WWIDs 07f652e74f1fbcfd and 038476c328bd908d, as the operating system sees them.
	const first, second = "600508e000000000fdbc1f4fe752f607", "600508e0000000008d90bd28c3768403"
	inactive := map[string]string{"inactive": "yes"}
	for name, c := range map[string]struct {
		drives   []*raidtest.Drive
		volumes  []*raidtest.Volume
		from, to string
	}{
		"mox_missing_member.txt": {drives: gone("BTHC529203WB400VGN"),
			volumes: []*raidtest.Volume{stripe(0, first, "BTHC529203WB400VGN")}, from: "Avago"},
		"mox_2vol_failed.txt": {drives: append(gone("A", "B", "C", "D"), intel(1, "E", ""), intel(0, "F", ""),
			intel(2, "G", ""), intel(4, "H", "")), volumes: []*raidtest.Volume{stripe(0, first, "A", "B", "E", "C"),
			stripe(1, second, "F", "D", "G", "H")}, from: "IR volume 1", to: "-----"},
		"mox_4disk_2missing.txt": {drives: append(gone("BTHC529203WB400VGN", "BTHC5292040B400VGN"),
			intel(0, "BTHC528202X0400VGN", "55cd2e404c08fc7e"), intel(4, "BTHC52820151400VGN", "55cd2e404c08f4ae")),
			volumes: []*raidtest.Volume{stripe(0, first, "BTHC529203WB400VGN", "BTHC528202X0400VGN", "BTHC5292040B400VGN",
				"BTHC52820151400VGN")}, from: "Initiator at", to: "-----"},
	} {
		t.Run(name, func(t *testing.T) {
			c.volumes[0].Extra = inactive
			card := sasircutool.HBA("0000:05:00.0", "SAS3008", "X")
			card.Drives, card.Volumes = c.drives, c.volumes
			card.Extra = map[string]string{"expander": "BP14G+EXP", "Logical ID": "50016360:019fc730"}
			if c.to == "" {
				delete(card.Extra, "expander")
			}
			chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"),
				&raidtest.State{Controllers: []*raidtest.Controller{card}})
			require.NoError(t, err)
			got, exit, err := sasircutool.SAS3(t.Context(), chassis, []string{"0", "DISPLAY"})
			require.NoError(t, err)
			require.Zero(t, exit)
			want := string(raidtest.Capture(t, "sasircu/"+name))
			// One of them was cut out of a program: a quotation mark ends it.
			want, _, _ = strings.Cut(want, "`")
			assert.Equal(t, between(t, want, c.from, ""), between(t, got, c.from, c.to))
		})
	}
}
