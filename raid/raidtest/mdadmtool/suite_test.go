package mdadmtool_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mdadm"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/mdadmtool"
)

// machine has four SSDs, one of which somebody has used, five HDDs, three of which are an array that no layout lists,
// and a small HDD of a bystander.
func machine() *raidtest.State {
	c := raidtest.SoftwareRAID("MD1")
	c.AddDrives(4, hw.SSD, hw.BusATA, 480e9)
	c.AddDrives(5, hw.HDD, hw.BusATA, 4e12)
	c.AddDrives(1, hw.HDD, hw.BusATA, 1e12)
	if _, err := c.CreateVolume(raidtest.NewVolume{Name: "old", Level: raid.Level5,
		Drives: []string{"MD1-D005", "MD1-D006", "MD1-D007"}}); err != nil {
		panic(err) // it is a constant
	}
	c.Volumes[0].Initializing = ""
	c.Drives[0].Data, c.Drives[9].Data = "an installation", "somebody's"
	return &raidtest.State{Controllers: []*raidtest.Controller{c}}
}

var large = raid.SizeRange{Min: 3e12}

func layout() *raid.Layout {
	return &raid.Layout{Controllers: []raid.ControllerLayout{{
		Controller: raid.ControllerChoice{MD: true}, Unlisted: raid.UnlistedRemove,
		Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}, Boot: true},
			{Name: "log", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}},
			{Name: "data", Level: raid.Level6, Disks: raid.DiskChoice{Count: 4, Medium: hw.HDD, Size: large},
				Strip: 256 << 10, Initialize: raid.InitializeFull},
		},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 1, Medium: hw.HDD, Size: large}, For: []string{"data"}}},
	}}}
}

// then keeps the array of four, makes the other mirror the one to boot from, and uses the spare for something else.
func then() *raid.Layout {
	l := layout()
	c := &l.Controllers[0]
	c.Volumes[0].Boot, c.Volumes[1].Boot = false, true
	c.Volumes = append(c.Volumes, raid.Volume{Name: "scratch", Level: raid.Level0,
		Disks: raid.DiskChoice{Count: 1, Medium: hw.HDD, Size: large}, Strip: 64 << 10})
	c.Spares = nil
	return l
}

func driver(c *raidtest.Chassis, options ...mdadm.Option) *mdadm.Driver {
	d := mdadm.New(mdadmtool.Runner(c), "mdadm", mdadmtool.Disks(c), append([]mdadm.Option{
		mdadm.WithStat(mdadmtool.Stat(c))}, options...)...)
	d.Patience = 50 * time.Millisecond
	return d
}

func TestTheDriverStandsTheSuite(t *testing.T) {
	suite := raidtest.Suite{Make: machine, Layout: layout(), Then: then(),
		New: func(_ *testing.T, c *raidtest.Chassis) raid.Driver { return driver(c, mdadm.WithAssembly()) }}
	for _, c := range suite.Cases() {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel() // each has machines of its own
			require.NoError(t, c.Run(t))
		})
	}
}

func chassis(t *testing.T, s *raidtest.State) *raidtest.Chassis {
	t.Helper()
	c, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), s)
	require.NoError(t, err)
	return c
}

func TestTheEmulatedControllerCanDoWhatTheDriverSays(t *testing.T) {
	c := chassis(t, machine())
	controllers, err := driver(c).Probe(t.Context())
	require.NoError(t, err)
	require.Len(t, controllers, 1)
	assert.Equal(t, raidtest.SoftwareRAID("").Capabilities, controllers[0].Capabilities)
}

func inventory(t *testing.T, c *raidtest.Chassis) *raid.Inventory {
	t.Helper()
	inv, err := driver(c).Inventory(t.Context(), raid.MD)
	require.NoError(t, err)
	return inv
}

func agrees(t *testing.T, c *raidtest.Chassis) {
	t.Helper()
	s, err := c.State()
	require.NoError(t, err)
	assert.Empty(t, raidtest.Disagree(s.Controllers[0].Inventory(), inventory(t, c)))
}

func apply(t *testing.T, c *raidtest.Chassis, l *raid.Layout) error {
	t.Helper()
	p, err := raid.NewPlan([]*raid.Inventory{inventory(t, c)}, l)
	require.NoError(t, err)
	g := raid.Guard{Machine: "SN1", Approval: &raid.Approval{Machine: "SN1", Plan: p.Digest(), Allow: p.Needs()},
		InUse: func(context.Context) ([]raid.Use, error) { return nil, nil }}
	return raid.Apply(t.Context(), driver(c), p, g, nil)
}

func TestArraysOfAMachineThatWasOffAreThereAndDoNotRun(t *testing.T) {
	c := chassis(t, machine())
	require.NoError(t, apply(t, c, layout()))
	agrees(t, c)
	require.NoError(t, c.PowerOn())
	agrees(t, c)
	inv := inventory(t, c)
	require.Len(t, inv.Volumes, 3)
	for _, v := range inv.Volumes {
		assert.Equal(t, raid.VolumeOffline, v.State.Is)
		assert.Empty(t, v.Path)
	}
	_, err := driver(c, mdadm.WithAssembly()).Probe(t.Context())
	require.NoError(t, err)
	agrees(t, c)
	p, err := raid.NewPlan([]*raid.Inventory{inventory(t, c)}, layout())
	require.NoError(t, err)
	assert.True(t, p.Empty(), "%+v", p.Steps)
}

func TestASpareIsAtWorkAtOnceWhereADriveIsMissing(t *testing.T) {
	c := chassis(t, machine())
	l := layout()
	l.Controllers[0].Spares = nil
	require.NoError(t, apply(t, c, l))
	require.NoError(t, c.Edit(func(s *raidtest.State) error {
		md := s.Controllers[0]
		md.Advance(1) // else it is the synchronisation that is seen
		for _, v := range md.Volumes {
			if v.Name == "data" {
				return md.Pull(v.Members[0])
			}
		}
		return errors.New("there is no array data")
	}))
	agrees(t, c)
	require.NoError(t, apply(t, c, layout()), "the spare is no spare any more, and that is well")
	agrees(t, c)
	inv := inventory(t, c)
	assert.True(t, slices.ContainsFunc(inv.Volumes, func(v raid.VirtualDisk) bool {
		return v.Name == "data" && v.State.Is == raid.VolumeRebuilding && v.Missing == 0
	}))
	p, err := raid.NewPlan([]*raid.Inventory{inv}, layout())
	require.NoError(t, err)
	assert.True(t, p.Empty(), "%+v", p.Steps)
}

func TestADriveThatFailedIsForgottenWhenTheMachineWasOff(t *testing.T) {
	c := chassis(t, machine())
	require.NoError(t, apply(t, c, layout()))
	var lost string
	require.NoError(t, c.Edit(func(s *raidtest.State) error {
		lost = s.Controllers[0].Volumes[0].Members[0]
		return s.Controllers[0].FailDrive(lost)
	}))
	agrees(t, c)
	require.NoError(t, c.PowerOn())
	_, err := driver(c, mdadm.WithAssembly()).Probe(t.Context())
	require.NoError(t, err)
	agrees(t, c)
	inv := inventory(t, c)
	i := slices.IndexFunc(inv.Disks, func(d raid.PhysicalDisk) bool { return d.Serial == lost })
	assert.Equal(t, raid.DiskReady, inv.Disks[i].State.Is, "its records are old; md knows of nothing else")
}

func TestASpareThatWasTakenOutAndNotClearedIsStillOne(t *testing.T) {
	c := chassis(t, machine())
	require.NoError(t, apply(t, c, layout()))
	require.NoError(t, c.Edit(func(s *raidtest.State) error {
		s.Faults = []raidtest.Fault{{Kind: raidtest.Refuse, Op: "zero-superblock"}}
		return nil
	}))
	l := layout()
	l.Controllers[0].Spares = nil
	require.Error(t, apply(t, c, l))
	agrees(t, c)
	assert.Contains(t, strings.Join(inventory(t, c).Warnings, "\n"), "will wait for it as a spare again")
	require.NoError(t, apply(t, c, l))
	agrees(t, c)
	assert.Empty(t, inventory(t, c).Warnings)
}

func TestAnArrayThatStillRunsIsNotOverwritten(t *testing.T) {
	c := chassis(t, machine())
	text, exit, err := mdadmtool.Mdadm(t.Context(), c, []string{"--zero-superblock", "/dev/sde"})
	require.NoError(t, err)
	assert.Equal(t, 1, exit)
	assert.Contains(t, text, "in use")
	require.NoError(t, c.Edit(func(s *raidtest.State) error {
		s.Faults = []raidtest.Fault{{Kind: raidtest.Lie, Op: "stop"}}
		return nil
	}))
	var step *raid.StepError
	require.ErrorAs(t, apply(t, c, layout()), &step)
	assert.ErrorContains(t, step, "the array still runs")
	state, err := c.State()
	require.NoError(t, err)
	assert.Len(t, state.Controllers[0].Volumes, 1)
	assert.Empty(t, state.Controllers[0].Drive("MD1-D005").Record)
	for _, e := range state.Journal {
		assert.NotEqual(t, "wipefs", e.Op, "it is forced, and would have gone through")
	}
}

func TestTheExecutablesFindTheirChassisInTheEnvironment(t *testing.T) {
	c := chassis(t, machine())
	t.Setenv(raidtest.ChassisVariable, c.Path())
	var stdout, stderr bytes.Buffer
	require.Zero(t, mdadmtool.Main(t.Context(), []string{"--detail", "/dev/md127"}, &stdout, &stderr))
	inv, err := mdadm.Parse(stdout.Bytes())
	require.NoError(t, err)
	require.Len(t, inv.Volumes, 1)
	assert.Equal(t, "old", inv.Volumes[0].Name)
	stdout.Reset()
	require.Zero(t, mdadmtool.MainWipefs(t.Context(), []string{"/dev/sda", "/dev/sdb"}, &stdout, &stderr))
	assert.Contains(t, stdout.String(), "ext4")

	for _, args := range [][]string{{}, {"--monitor"}, {"--detail", "/dev/md0"}, {"--detail", "--brief", "/dev/md127"},
		{"--create", "/dev/md/x"}, {"--create", "/dev/md/x", "--level=1", "--raid-devices=2", "/dev/sda"},
		{"--create", "/dev/md/x", "--level=1", "--raid-devices=2", "/dev/sda", "/dev/sdb"}, // nobody answers its question
		{"--create", "/dev/md/x", "--run", "--level=1", "--raid-devices=2", "/dev/sda", "/dev/sdz"},
		{"--create", "/dev/md/x", "--run", "--level=0", "--raid-devices=2", "--chunk=3", "/dev/sda", "/dev/sdb"},
		{"--create", "/dev/md/x", "--run", "--level=1", "--metadata=0.90", "--raid-devices=2", "/dev/sda", "/dev/sdb"},
		{"--manage", "/dev/md127"}, {"--manage", "/dev/md127", "--remove", "/dev/sda"}, {"--stop", "/dev/md7"},
		{"--zero-superblock", "/dev/sdz"}, {"--assemble", "--scan"}, {"--examine", "/dev/sda"}} {
		stdout.Reset()
		assert.NotZero(t, mdadmtool.Main(t.Context(), args, &stdout, &stderr), args)
		assert.NotEmpty(t, stdout.String(), args)
	}
	t.Setenv(raidtest.ChassisVariable, c.Path()+".missing")
	assert.Equal(t, 2, mdadmtool.Main(t.Context(), []string{"--detail", "/dev/md127"}, &stdout, &stderr))
}

var blanks = regexp.MustCompile(`[ \t\n]+`)

// TestEmulatorPrintsWhatTheToolPrinted holds it against captures, up to blanks.
func TestEmulatorPrintsWhatTheToolPrinted(t *testing.T) {
	for name, tc := range map[string]struct {
		devices [2]string
		numbers [2]string
		kib     int64
		mdadm   string
		volume  raidtest.Volume
	}{
		"ipa_detail_name.txt": {[2]string{"vde1", "vdf1"}, [2]string{"253:64", "253:80"}, 1048512, "4",
			raidtest.Volume{Name: "this_name", Boot: true, WWN: "uuid.831430552781ddf52c8f44c79b45d92e", Extra: map[string]string{
				"created": "Fri Feb 15 12:37:44 2019", "updated": "Fri Feb 15 12:38:02 2019", "home": "abc.xyz.com"}}},
		"ipa_detail_nvme.txt": {[2]string{"nvme0n1p1", "nvme1n1p1"}, [2]string{"259:2", "259:3"}, 439221248, "3",
			raidtest.Volume{Name: "0", WWN: "uuid.abe222bc98735860ab324674e4076313", Extra: map[string]string{
				"created": "Wed Aug  7 13:47:27 2019", "updated": "Wed Aug  7 14:37:21 2019", "home": "rescue",
				"bitmap": "internal", "events": "426"}}},
		"ipa_poisoned.txt": {[2]string{"vda1", "vdb1"}, [2]string{"251:1", "251:17"}, 4673536, "3",
			raidtest.Volume{Name: "/dev/md0", WWN: "uuid.e50fb152aa80db1d3c901b03dd280e35", Extra: map[string]string{
				"created": "Wed Aug 17 16:09:19 2022", "updated": "Wed Aug 17 16:10:03 2022", "home": "box",
				"events": "21/dev/md/dev/md"}}},
	} {
		t.Run(name, func(t *testing.T) {
			want := string(raidtest.Capture(t, filepath.Join("mdadm", name)))
			md := raidtest.SoftwareRAID("MD1")
			md.Extra = map[string]string{"mdadm": tc.mdadm}
			md.AddDrives(2, hw.SSD, hw.BusATA, 480e9)
			v := tc.volume
			v.Level, v.Bytes = raid.Level1, tc.kib<<10
			v.Extra["device"] = "/dev/md0"
			for i, d := range md.Drives {
				d.State, d.Extra = raid.DiskOnline, map[string]string{"device": tc.devices[i], "number": tc.numbers[i]}
				v.Members = append(v.Members, d.Serial)
			}
			md.Volumes = []*raidtest.Volume{&v}
			got, exit, err := mdadmtool.Mdadm(t.Context(), chassis(t, &raidtest.State{Controllers: []*raidtest.Controller{md}}),
				[]string{"--detail", "/dev/md0"})
			require.NoError(t, err)
			require.Zero(t, exit)
			assert.Equal(t, blanks.ReplaceAllString(strings.TrimSpace(want), " "),
				blanks.ReplaceAllString(strings.TrimSpace(got), " "))
		})
	}
}
