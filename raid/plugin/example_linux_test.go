package plugin

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/scripts/need"
)

// The third party's driver is a module of its own: it is built there, started by its digest, and held to the suite.
func TestTheDriverOfAThirdPartyStandsTheSuite(t *testing.T) {
	need.Time(t, "builds a module")
	dir := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", dir, "./...")
	build.Dir = "../../examples/raid-plugin"
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	driver := filepath.Join(dir, "raid-acme")
	data, err := os.ReadFile(driver)
	require.NoError(t, err)
	digest := sha256.Sum256(data)
	t.Logf("the plugin has %.1f MB", float64(len(data))/1e6)

	processes := map[*testing.T]*Process{}
	raidtest.Run(t, raidtest.Suite{
		New: func(t *testing.T, c *raidtest.Chassis) raid.Driver {
			p := processes[t]
			if p == nil {
				conf := Config{Path: driver, SHA256: hex.EncodeToString(digest[:]), TempDir: t.TempDir(),
					Args: []string{"-tool", filepath.Join(dir, "acmectl"), "-writes", "1500ms"}}
				conf.Env = append(os.Environ(), "ACMECTL_CHASSIS="+filepath.Join(conf.TempDir, "current"))
				p = start(t, conf)
				require.Equal(t, "acme", p.Name())
				processes[t] = p
			}
			// The tool looks there for the machine that it is in.
			require.NoError(t, os.WriteFile(filepath.Join(p.config.TempDir, "current.path"), []byte(c.Path()), 0o600))
			return p
		},
		Make: func() *raidtest.State {
			c := raidtest.MegaRAID("0000:02:00.0", "AC1")
			c.Capabilities = raid.Capabilities{Levels: []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1, MaxDisks: 8},
				{Level: raid.Level1, MinDisks: 2, MaxDisks: 2}}, MaxVolumes: 4, Names: true, MaxName: 10}
			c.AddDrives(4, "ssd", "ata", 240e9)
			c.Drives[3].State = raid.DiskOnline
			c.Volumes = []*raidtest.Volume{{WWN: "6acae00000000000", Name: "old", Level: raid.Level0, Bytes: 240e9,
				Members: []string{"AC1-D004"}}}
			return &raidtest.State{Controllers: []*raidtest.Controller{c}}
		},
		Layout: &raid.Layout{Controllers: []raid.ControllerLayout{{Unlisted: raid.UnlistedRemove, Volumes: []raid.Volume{
			{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}},
			{Name: "data", Level: raid.Level0, Disks: raid.DiskChoice{Count: 2}},
		}}}},
	})
}
