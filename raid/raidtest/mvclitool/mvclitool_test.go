package mvclitool_test

import (
	"bytes"
	"path/filepath"
	"regexp"
	"strings"
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

var blanks = regexp.MustCompile(`[ \t\n]+`)

// TestEmulatorPrintsWhatTheToolPrinted holds it against captures, up to blanks.
func TestEmulatorPrintsWhatTheToolPrinted(t *testing.T) {
	state := machine()
	card := state.Controllers[0]
	volume, err := card.CreateVolume(raidtest.NewVolume{Level: raid.Level1, Drives: []string{"BOSS1-D001", "BOSS1-D002"}})
	require.NoError(t, err)
	volume.Name, volume.Bytes, volume.Strip = "Test_MvcliCreateVirtualDisk", 228872<<20, 64<<10
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), state)
	require.NoError(t, err)
	for file, list := range map[string]string{"mvcli/ironlib_info-hba.txt": "hba", "mvcli/ironlib_info-vd.txt": "vd"} {
		t.Run(list, func(t *testing.T) {
			want := string(raidtest.Capture(t, file))
			got, _, err := mvclitool.Run(t.Context(), chassis, []string{"info", "-o", list})
			require.NoError(t, err)
			assert.Equal(t, blanks.ReplaceAllString(strings.TrimSpace(want), " "),
				blanks.ReplaceAllString(strings.TrimSpace(got), " "))
		})
	}
	t.Run("offline", func(t *testing.T) {
		require.NoError(t, chassis.Edit(func(s *raidtest.State) error {
			c := s.Controllers[0]
			c.Volumes[0].Name, c.Volumes[0].Level, c.Volumes[0].Bytes = "created_ra", raid.Level0, 228818<<20
			c.Volumes[0].Members = []string{"BOSS1-D001"}
			c.Drives[0].State = raid.DiskFailed
			return nil
		}))
		_, want, _ := strings.Cut(string(raidtest.Capture(t, "mvcli/pyarc_vd_offline.txt")), "Virtual Disk Information")
		got, _, err := mvclitool.Run(t.Context(), chassis, []string{"info", "-o", "vd"})
		require.NoError(t, err)
		_, got, _ = strings.Cut(got, "Virtual Disk Information")
		assert.Equal(t, blanks.ReplaceAllString(strings.TrimSpace(want), " "), blanks.ReplaceAllString(strings.TrimSpace(got), " "))
	})
	t.Run("success", func(t *testing.T) {
		want := string(raidtest.Capture(t, "mvcli/ironlib_create-ok.txt"))
		fresh, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), machine())
		require.NoError(t, err)
		got, exit, err := mvclitool.Run(t.Context(), fresh, []string{"create", "-o", "vd", "-r1", "-d", "0,1", "-n", "os",
			"--waiveconfirmation"})
		require.NoError(t, err)
		assert.Zero(t, exit)
		assert.Equal(t, strings.TrimSpace(want), strings.TrimSpace(got))
	})
}
