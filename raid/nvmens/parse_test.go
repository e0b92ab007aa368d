package nvmens_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/nvmens"
)

func TestAPlainListHasADriveForEachSerialNumber(t *testing.T) {
	var outputs [][]byte
	for _, name := range []string{"list.txt", "nvme1.id-ctrl.txt"} {
		text, err := os.ReadFile("testdata/" + name)
		require.NoError(t, err)
		outputs = append(outputs, text)
	}
	all, err := nvmens.ParseAll(outputs...)
	require.NoError(t, err)
	require.Len(t, all, 2)
	assert.Equal(t, raid.ControllerID("nvme0"), all[0].Controller.ID)
	assert.Equal(t, "LAB0N0001", all[0].Disks[0].Serial)
	assert.Equal(t, "LABNVME 1920", all[0].Disks[0].Model)
	assert.EqualValues(t, 1920383410176, all[0].Disks[0].Bytes)
	assert.Equal(t, 4096, all[0].Disks[0].LogicalSector)
	assert.Empty(t, all[0].Controller.Capabilities.Levels, "nothing tells what it can do")

	assert.Equal(t, "LAB0N0002", all[1].Disks[0].Serial)
	assert.EqualValues(t, 400000000000, all[1].Disks[0].Bytes, "of id-ctrl: a part has no namespace")
	require.Len(t, all[1].Volumes, 2)
	assert.Equal(t, "/dev/nvme1n2", all[1].Volumes[1].Path)
	assert.EqualValues(t, 200000000000, all[1].Volumes[1].Bytes)
	assert.NotEmpty(t, all[1].Controller.Capabilities.Levels)

	_, err = nvmens.Parse(outputs...)
	require.ErrorContains(t, err, "several drives")
}
