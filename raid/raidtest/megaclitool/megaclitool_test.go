package megaclitool_test

import (
	"bytes"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/megacli"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/megaclitool"
)

func driver(_ *testing.T, c *raidtest.Chassis) raid.Driver {
	return megacli.New(raidtest.Impatient(megaclitool.Runner(c), c, func(argv []string) bool {
		return !slices.Contains([]string{"-PDList", "-LdPdInfo", "-AdpAllInfo", "-AdpGetPciInfo", "-AdpBbuCmd",
			"-GetPreservedCacheList"}, argv[1]) // nothing hangs that only looks
	}), "MegaCli64")
}

func TestTheDriverStandsTheSuite(t *testing.T) {
	for _, c := range (raidtest.Suite{New: driver}).Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel() // each has machines of its own
			require.NoError(t, c.Run(t))
		})
	}
}

func open(t *testing.T, c *raidtest.Controller) *raidtest.Chassis {
	t.Helper()
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"),
		&raidtest.State{Controllers: []*raidtest.Controller{c}})
	require.NoError(t, err)
	return chassis
}

func TestTheExecutableFindsItsChassisInTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chassis.json")
	_, err := raidtest.Create(path, raidtest.DefaultState())
	require.NoError(t, err)
	t.Setenv("LODA_CHASSIS", path)
	var stdout, stderr bytes.Buffer
	require.Zero(t, megaclitool.Main(t.Context(), []string{"-PDList", "-aALL", "-NoLog"}, &stdout, &stderr), &stderr)
	all, err := megacli.Parse(stdout.Bytes())
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Len(t, all[0].Disks, 12)

	stdout.Reset()
	assert.Equal(t, 0x22, megaclitool.Main(t.Context(), []string{"-PDRbld", "-ShowProg", "-PhysDrv", "[252:0]", "-a0"},
		&stdout, &stderr))
	stdout.Reset()
	assert.Equal(t, 0x26, megaclitool.Main(t.Context(), []string{"-CfgLdAdd", "-r1", "[252:0,252:5]", "-a0"}, &stdout,
		&stderr))
	assert.Contains(t, stdout.String(), "Exit Code: 0x26")
	assert.Contains(t, stdout.String(), "does not have the appropriate attributes")
	t.Setenv("LODA_CHASSIS", path+".missing")
	assert.Equal(t, 2, megaclitool.Main(t.Context(), []string{"-PDList", "-aALL"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "LODA_CHASSIS")
}

func TestWhatIsNoCommandChangesNothing(t *testing.T) {
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), raidtest.DefaultState())
	require.NoError(t, err)
	for _, line := range []string{"", "-PDList", "-Frobnicate -a0", "-CfgLdAdd -a0", "-CfgLdAdd -r10[252:0,252:1] -a0",
		"-CfgSpanAdd -r10 -Array0[252:0,252:1] -a0", "-CfgSpanAdd -r1 -Array0[252:0] -Array1[252:1] -a0",
		"-CfgSpanAdd -r10 -Array0[252:0,252:1] -Array2[252:2,252:3] -a0", "-CfgLdAdd -r1[252:0,252:1] WA -a0",
		"-CfgLdDel -a0", "-CfgLdDel -L9 -a0", "-CfgLdDel -L0 -a7", "-PDHSP -Set -Dedicated -PhysDrv[252:0] -a0",
		"-PDHSP -Set -Dedicated -Array9 -PhysDrv[252:0] -a0", "-PDHSP -a0", "-PDMakeGood -PhysDrv[252:99] -a0",
		"-LDSetProp XX -L0 -a0", "-LDSetProp -Name aNameOfMoreThan15 -L0 -a0", "-LDInit -L0 -a0",
		"-DiscardPreservedCache -L3 -a0", "-AdpBootDrive -Set -a0", "-CfgForeign -Clear -a0",
		"-PDHSP -Set -PhysDrv[252:0,252:99] -a0"} {
		text, exit, err := megaclitool.Run(t.Context(), chassis, strings.Fields(line))
		require.NoError(t, err)
		assert.NotZero(t, exit, line)
		assert.Contains(t, text, "\nExit Code: 0x", line)
	}
	state, err := chassis.State()
	require.NoError(t, err)
	want := raidtest.DefaultState()
	assert.Equal(t, want.Controllers[0].Volumes, state.Controllers[0].Volumes)
	for i, d := range want.Controllers[0].Drives {
		assert.Equal(t, d.State, state.Controllers[0].Drives[i].State)
	}
}

var blanks = regexp.MustCompile(`[ \t\n]+`)

func squeeze(text string) string { return strings.TrimSpace(blanks.ReplaceAllString(text, " ")) }

// TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted holds it against captures, up to blanks.
func TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted(t *testing.T) {
	ask := func(t *testing.T, c *raidtest.Controller, question ...string) string {
		text, exit, err := megaclitool.Run(t.Context(), open(t, c), append(question, "-a0"))
		require.NoError(t, err)
		require.Zero(t, exit)
		return text
	}
	t.Run("drives", func(t *testing.T) {
		c := raidtest.MegaRAID("0000:3b:00.0", "X")
		for i, d := range []struct {
			wwn, serial, sequence, celsius string
			state                          raid.DiskStateKind
		}{{"5000cca2731373ab", "2YGAPMLD", "10", "30", raid.DiskJBOD},
			{"5000cca273155bb7", "2YGBS45D", "7", "30", raid.DiskReady},
			{"5000cca26adc8fdb", "2TKX9AJD", "5", "29", raid.DiskReady},
			{"5000cca26ade95bb", "2TKYDUPD", "8", "30", raid.DiskJBOD}} {
			c.Drives = append(c.Drives, &raidtest.Drive{Enclosure: 32, Slot: i, Device: i, Vendor: "HGST",
				Model: "HUH721010AL5200", Firmware: "LS14", Serial: d.serial, WWN: d.wwn, Bytes: 0x474700000 * 512,
				LogicalSector: 512, PhysicalSector: 4096,
				Medium: hw.HDD, Bus: hw.BusSAS, State: d.state,
				Extra: map[string]string{"sequence": d.sequence, "celsius": d.celsius, "pi": "type 2"}})
		}
		assert.Equal(t, squeeze(string(raidtest.Capture(t, "megacli/mox_2jbod_2ugood.txt"))), squeeze(ask(t, c, "-PDList")))
	})
	// The capture was put together of two machines: what the third volume is told with, the others are not.
	capture := func(t *testing.T) (two, third string) {
		two, third, ok := strings.Cut(string(raidtest.Capture(t, "megacli/mox_ldlist_3vol.txt")), "Virtual Drive: 2 ")
		require.True(t, ok)
		third, _, _ = strings.Cut(third, "Exit Code")
		return two, third
	}
	online := func(c *raidtest.Controller) {
		for _, d := range c.Drives {
			if d.State = raid.DiskOnline; d.Medium == hw.SSD {
				d.PhysicalSector = 512
			}
		}
	}
	volume := func(number int, level raid.Level, bytes float64, policies raid.Policies, members ...string,
	) *raidtest.Volume {
		return &raidtest.Volume{Number: number, Level: level, Bytes: int64(bytes), Strip: 256 << 10, Policies: policies,
			Members: members}
	}
	const size, tera = 222.5855 * (1 << 30), 1 << 40
	t.Run("volumes", func(t *testing.T) {
		c := raidtest.MegaRAID("0000:3b:00.0", "X")
		c.Cache.Battery, c.Extra = raid.BatteryState{}, map[string]string{"PI": "Yes"}
		c.AddDrives(2, hw.SSD, hw.BusATA, 240e9)
		c.AddDrives(1, hw.HDD, hw.BusSAS, 10e12)
		online(c)
		p := raid.Policies{Write: raid.WriteBack, Read: raid.ReadAhead, IO: raid.IODirect}
		c.Volumes = []*raidtest.Volume{volume(0, raid.Level1, size, p, "X-D001", "X-D002"),
			volume(1, raid.Level0, 9.0945*tera, p, "X-D003")}
		got, _, _ := strings.Cut(ask(t, c, "-LDInfo", "-LAll"), "Exit Code")
		two, _ := capture(t)
		assert.Equal(t, squeeze(two), squeeze(got))
	})
	t.Run("mirrors over two spans", func(t *testing.T) {
		c := raidtest.MegaRAID("0000:3b:00.0", "X")
		c.AddDrives(4, hw.SSD, hw.BusATA, 240e9)
		online(c)
		p := raid.Policies{Write: raid.WriteThrough, Read: raid.ReadNone, IO: raid.IODirect, DiskCache: raid.DiskCacheDisable}
		c.Volumes = []*raidtest.Volume{volume(2, raid.Level10, size, p, "X-D001", "X-D002", "X-D003", "X-D004")}
		_, got, ok := strings.Cut(ask(t, c, "-LdPdInfo"), "Virtual Drive: 2 ")
		require.True(t, ok)
		got, _, _ = strings.Cut(got, "PD: 0 Information")
		_, third := capture(t)
		assert.Equal(t, squeeze(third), squeeze(got), "it is a level 10 that the tool calls Primary-1")
	})
}

func TestJBODIsEnabledBeforeTheFirstDriveIsShown(t *testing.T) {
	c := raidtest.MegaRAID("0000:3b:00.0", "X")
	c.AddDrives(2, hw.HDD, hw.BusSAS, 4e12)
	chassis := open(t, c)
	d := driver(t, chassis)
	inv, err := d.Inventory(t.Context(), c.ID)
	require.NoError(t, err)
	s := raid.Step{Kind: raid.StepJBOD, Controller: c.ID, Disks: []raid.DiskRef{{ID: inv.Disks[0].ID,
		DiskIdentity: inv.Disks[0].Identity()}}}
	argvs, err := d.Commands(inv, s)
	require.NoError(t, err)
	assert.Len(t, argvs, 2)
	require.NoError(t, d.Exec(t.Context(), inv, s, nil))

	inv, err = d.Inventory(t.Context(), c.ID)
	require.NoError(t, err)
	assert.Equal(t, raid.DiskJBOD, inv.Disks[0].State.Is)
	s.Disks[0] = raid.DiskRef{ID: inv.Disks[1].ID, DiskIdentity: inv.Disks[1].Identity()}
	argvs, err = d.Commands(inv, s)
	require.NoError(t, err)
	assert.Len(t, argvs, 1, "it is enabled already")
}
