package mdadmtool_test

import (
	"path/filepath"
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
