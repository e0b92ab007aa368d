package mvclitool_test

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mvcli"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/mvclitool"
)

const address raid.ControllerID = "0000:02:00.0"

func machine() *raidtest.State {
	c := mvclitool.Card(address, "BOSS1")
	c.AddDrives(2, "ssd", "ata", 240e9)
	return &raidtest.State{Controllers: []*raidtest.Controller{c}}
}

func TestTheDriverStandsTheSuite(t *testing.T) {
	t.Parallel()
	raidtest.Run(t, raidtest.Suite{
		Make: machine,
		Layout: &raid.Layout{Controllers: []raid.ControllerLayout{{Unlisted: raid.UnlistedRemove, Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}, Boot: true}}}}},
		New: func(_ *testing.T, c *raidtest.Chassis) raid.Driver {
			d := mvcli.New(mvclitool.Runner(c), "mvcli", address)
			d.Patience = 100 * time.Millisecond
			return d
		},
	})
}

func TestTheExecutableFindsItsChassisInTheEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chassis.json")
	_, err := raidtest.Create(path, machine())
	require.NoError(t, err)
	t.Setenv("LODA_CHASSIS", path)
	var stdout, stderr bytes.Buffer
	require.Equal(t, 0, mvclitool.Main(t.Context(), []string{"info", "-o", "pd"}, &stdout, &stderr), &stderr)
	inv, err := mvcli.Parse(stdout.Bytes())
	require.NoError(t, err)
	assert.Len(t, inv.Disks, 2)

	stdout.Reset()
	assert.Equal(t, 0, mvclitool.Main(t.Context(), []string{"delete", "-o", "vd", "-i", "7", "--waiveconfirmation"}, &stdout,
		&stderr), "errors set no exit status")
	assert.Contains(t, stdout.String(), "Error: ")
	t.Setenv("LODA_CHASSIS", path+".missing")
	assert.Equal(t, 2, mvclitool.Main(t.Context(), []string{"info", "-o", "pd"}, &stdout, &stderr))
	assert.Contains(t, stderr.String(), "LODA_CHASSIS")
}
