package nvmens_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/nvmens"
	"github.com/project-loda/loda/raid/raidtest"
)

func TestCapturesOfRealDrives(t *testing.T) {
	for name, initialize := range map[string][]raid.Initialization{
		// Format, and cryptographic erasure (bit 2 of fna).
		"ipa_id_ctrl_crypto.json": {raid.InitializeNone, raid.InitializeFast, raid.InitializeFull},
		// No format (bit 1 of oacs).
		"ipa_id_ctrl_noformat.json": nil,
	} {
		t.Run(name, func(t *testing.T) {
			inv, err := nvmens.Parse(raidtest.Capture(t, filepath.Join("nvme", name)))
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
