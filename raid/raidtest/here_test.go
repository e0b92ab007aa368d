package raidtest

import (
	"path/filepath"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
)

func TestTheChassisOfAVirtualMachineIsMadeOnceForItsMegaRAID(t *testing.T) {
	root := fstest.MapFS{}
	for address, attributes := range map[string][3]string{
		"0000:00:01.1": {"0x010180", "0x8086", "0x7010"}, "0000:00:05.0": {"0x010400", "0x1000", "0x0079"}} {
		for i, name := range []string{"class", "vendor", "device"} {
			root["sys/bus/pci/devices/"+address+"/"+name] = &fstest.MapFile{Data: []byte(attributes[i] + "\n")}
		}
	}
	file := filepath.Join(t.TempDir(), "chassis.json")
	c, err := OpenHere(file, root)
	require.NoError(t, err)
	require.NoError(t, c.Edit(func(s *State) error {
		require.Len(t, s.Controllers, 1)
		require.Equal(t, raid.ControllerID("0000:00:05.0"), s.Controllers[0].ID)
		_, err := s.Controllers[0].CreateVolume(NewVolume{Name: "os", Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D002"}})
		return err
	}))
	c, err = OpenHere(file, fstest.MapFS{})
	require.NoError(t, err)
	state, err := c.State()
	require.NoError(t, err)
	require.Len(t, state.Controllers[0].Volumes, 1, "it is the same one")
	_, err = OpenHere(filepath.Join(t.TempDir(), "x"), fstest.MapFS{})
	require.Error(t, err)
}
