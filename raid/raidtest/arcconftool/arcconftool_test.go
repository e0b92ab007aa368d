package arcconftool_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/arcconf"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/arcconftool"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func machine(c *raidtest.Controller) *raidtest.State {
	c.AddDrives(2, hw.SSD, hw.BusATA, 480e9)
	c.AddDrives(7, hw.HDD, hw.BusSAS, 4e12)
	if c.Capabilities.JBOD {
		c.Drives[8].State, c.Drives[8].Data = raid.DiskJBOD, "somebody's"
	}
	if _, err := c.CreateVolume(raidtest.NewVolume{Name: "old", Level: raid.Level5,
		Drives: []string{c.Serial + "-D003", c.Serial + "-D004", c.Serial + "-D005"}}); err != nil {
		panic(err) // it is a constant
	}
	return &raidtest.State{Controllers: []*raidtest.Controller{c}}
}

func driver(pci ...string) func(*testing.T, *raidtest.Chassis) raid.Driver {
	return func(_ *testing.T, c *raidtest.Chassis) raid.Driver {
		return arcconf.New(raidtest.Impatient(arcconftool.Runner(c), c, func(argv []string) bool {
			return argv[len(argv)-1] == "noprompt"
		}), "arcconf", pci...)
	}
}

func TestTheDriverOfSmartRAIDsStandsTheSuite(t *testing.T) {
	t.Parallel()
	layout := &raid.Layout{Controllers: []raid.ControllerLayout{{
		Unlisted: raid.UnlistedRemove,
		Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}, Boot: true, Strip: 64 << 10,
				Write: raid.WriteThrough},
			{Name: "data", Level: raid.Level6, Disks: raid.DiskChoice{Count: 5, Medium: hw.HDD}, Strip: 128 << 10},
		},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 1, Medium: hw.HDD}, For: []string{"data"}}},
	}}}
	raidtest.Run(t, raidtest.Suite{Layout: layout, New: driver(), Make: func() *raidtest.State {
		return machine(arcconftool.SmartRAID("0000:af:00.0", "SRTEST01", "3"))
	}})
}

func TestTheDriverOfSeries8StandsTheSuite(t *testing.T) {
	t.Parallel()
	layout := &raid.Layout{Controllers: []raid.ControllerLayout{{
		Unlisted: raid.UnlistedRemove,
		Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}, Size: 100e9, Strip: 64 << 10,
				Read: raid.ReadNone, Write: raid.WriteThrough},
			{Name: "log", Level: raid.Level1, Disks: raid.DiskChoice{SameAs: "os"}},
			{Name: "data", Level: raid.Level6, Disks: raid.DiskChoice{Count: 5, Medium: hw.HDD}, Write: raid.WriteBack},
		},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 1, Medium: hw.HDD}, For: []string{"data"}}},
	}}}
	raidtest.Run(t, raidtest.Suite{Layout: layout, New: driver("0000:03:00.0"), Make: func() *raidtest.State {
		return machine(arcconftool.Series8("0000:03:00.0", "S8TEST01", "4"))
	}})
}

func TestTheExecutableFindsItsChassisInTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chassis.json")
	_, err := raidtest.Create(path, machine(arcconftool.SmartRAID("0000:af:00.0", "SRTEST01", "3")))
	require.NoError(t, err)
	t.Setenv("LODA_CHASSIS", path)
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, arcconftool.Main(t.Context(), []string{"GETCONFIG", "1"}, &stdout, &stderr), &stderr)
	all, err := arcconf.Parse(stdout.Bytes())
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Len(t, all[0].Disks, 9)

	stdout.Reset()
	gone := []string{"DELETE", "1", "LOGICALDRIVE", "7", "noprompt"}
	assert.Equal(t, 1, arcconftool.Main(t.Context(), gone, &stdout, &stderr))
	assert.Contains(t, stdout.String(), "Command aborted.")
	t.Setenv("LODA_CHASSIS", path+".missing")
	assert.Equal(t, 2, arcconftool.Main(t.Context(), []string{"LIST"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "LODA_CHASSIS")
}
