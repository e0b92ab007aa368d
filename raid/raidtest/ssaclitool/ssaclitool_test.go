package ssaclitool_test

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/ssaclitool"
	"github.com/project-loda/loda/raid/ssacli"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func machine() *raidtest.State {
	c := ssaclitool.SmartArray("0000:5c:00.0", "PDTEST01", "0")
	c.AddDrives(2, hw.SSD, hw.BusATA, 480e9)
	c.AddDrives(7, hw.HDD, hw.BusSAS, 4e12)
	if _, err := c.CreateVolume(raidtest.NewVolume{Level: raid.Level5,
		Drives: []string{"PDTEST01-D003", "PDTEST01-D004", "PDTEST01-D005"}}); err != nil {
		panic(err) // it is a constant
	}
	return &raidtest.State{Controllers: []*raidtest.Controller{c}}
}

func layout() *raid.Layout {
	return &raid.Layout{Controllers: []raid.ControllerLayout{{
		Unlisted: raid.UnlistedRemove,
		Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}, Size: 100e9, Boot: true,
				Strip: 64 << 10, Write: raid.WriteThrough},
			{Name: "log", Level: raid.Level1, Disks: raid.DiskChoice{SameAs: "os"}},
			{Name: "data", Level: raid.Level6, Disks: raid.DiskChoice{Count: 5, Medium: hw.HDD}, Strip: 128 << 10},
		},
		Spares: []raid.Spare{{Disks: raid.DiskChoice{Count: 1, Medium: hw.HDD}, For: []string{"data"}}},
	}}}
}

func TestTheDriverOfSmartArraysStandsTheSuite(t *testing.T) {
	t.Parallel()
	driver := func(_ *testing.T, c *raidtest.Chassis) raid.Driver {
		return ssacli.New(raidtest.Impatient(ssaclitool.Runner(c), c, func(argv []string) bool {
			return argv[len(argv)-1] != "detail"
		}), "ssacli")
	}
	raidtest.Run(t, raidtest.Suite{Make: machine, Layout: layout(), New: driver})
}

func TestTheExecutableFindsItsChassisInTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chassis.json")
	_, err := raidtest.Create(path, machine())
	require.NoError(t, err)
	t.Setenv("LODA_CHASSIS", path)
	var stdout, stderr bytes.Buffer
	show := []string{"ctrl", "all", "show", "config", "detail"}
	require.Equal(t, 0, ssaclitool.Main(t.Context(), show, &stdout, &stderr), &stderr)
	all, err := ssacli.Parse(stdout.Bytes())
	require.NoError(t, err)
	require.Len(t, all, 1)
	assert.Len(t, all[0].Disks, 9)

	stdout.Reset()
	two := []string{"ctrl", "slot=0", "create", "type=ld", "drives=1I:1:1,1I:1:2", "raid=5", "forced"}
	assert.Equal(t, 1, ssaclitool.Main(t.Context(), two, &stdout, &stderr))
	_, err = ssacli.Parse(stdout.Bytes())
	var refused *ssacli.ToolError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, []string{"0", "1"}, refused.Options, "as the tool lists what it would take")
	t.Setenv("LODA_CHASSIS", path+".missing")
	assert.Equal(t, 2, ssaclitool.Main(t.Context(), show, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "LODA_CHASSIS")
}
