package nvmens_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/nvmens"
)

// capture reads an output of a real machine. They are not part of this repository: LODA_RAID_CAPTURES says where they
// are.
func capture(t *testing.T, name string) []byte {
	t.Helper()
	dir, required := os.Getenv("LODA_RAID_CAPTURES"), os.Getenv("LODA_TEST_REQUIRE") == "all"
	if dir == "" {
		dir, required = filepath.Join("..", "..", "..", "shared", "raid-captures"), false
	}
	data, err := os.ReadFile(filepath.Join(dir, name))
	if os.IsNotExist(err) && !required {
		t.Skipf("no captures of real machines here: %v (set LODA_RAID_CAPTURES)", err)
	}
	require.NoError(t, err)
	return data
}

func TestCapturesOfRealDrives(t *testing.T) {
	for name, initialize := range map[string][]raid.Initialization{
		// Format, and cryptographic erasure (bit 2 of fna).
		"ipa_id_ctrl_crypto.json": {raid.InitializeNone, raid.InitializeFast, raid.InitializeFull},
		// No format (bit 1 of oacs).
		"ipa_id_ctrl_noformat.json": nil,
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := nvmens.Parse(capture(t, filepath.Join("nvme", name)))
			require.NoError(t, err)
			assert.Equal(t, initialize, inv.Controller.Capabilities.Initialize)
			assert.Empty(t, inv.Controller.Capabilities.Levels, "it cannot make namespaces")
			assert.Equal(t, "WDC PC SN730 SDBQNTY-256G-1001", inv.Controller.Model)
			assert.Equal(t, "11170101", inv.Controller.Firmware)
			require.Len(t, inv.Disks, 1)
			assert.Equal(t, "1951B3444502", inv.Disks[0].Serial)
			assert.EqualValues(t, 256060514304, inv.Disks[0].Bytes)
		})
	}
}
