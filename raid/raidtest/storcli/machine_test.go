package storcli

import (
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid/raidtest"
)

// sysfs has a network card, QEMU's megasas-gen2, and one more behind it.
func sysfs(serial string) fstest.MapFS {
	files := fstest.MapFS{"class/dmi/id/product_serial": {Data: []byte(serial + "\n")}}
	for at, ids := range map[string]string{"0000:00:02.0": "0x8086 0x10d3 0x8086 0x0000 0x020000",
		"0000:00:05.0": "0x1000 0x0079 0x1000 0x9261 0x010400", "0000:01:00.0": "0x1000 0x005d 0x1000 0x9361 0x010400"} {
		for i, name := range []string{"vendor", "device", "subsystem_vendor", "subsystem_device", "class"} {
			files["bus/pci/devices/"+at+"/"+name] = &fstest.MapFile{Data: []byte(strings.Fields(ids)[i] + "\n")}
		}
	}
	return files
}

func TestAMachineHasAChassisForItsFirstMegaRAID(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chassis.json")
	c, err := Machine(file, sysfs("LAB-M1"))
	require.NoError(t, err)
	out, exit := run(t, c, "/c0 show all")
	require.Zero(t, exit)
	for _, line := range []string{"PCI Address = 00:00:05:00", "Device Id = 0x79", "SubDevice Id = 0x9261",
		"Model = MegaRAID SAS 2108", "Serial Number = SVLABM1", "Physical Drives = 4"} {
		require.Contains(t, out, line+"\n")
	}
	out, _ = run(t, c, "/c1 show")
	require.Contains(t, out, "Controller 1 not found")

	_, exit = run(t, c, "/c0 add vd r1 drives=252:0-1")
	require.Zero(t, exit)
	again, err := Machine(file, fstest.MapFS{}) // what is there stays
	require.NoError(t, err)
	out, _ = run(t, again, "/c0/vall show")
	require.Contains(t, out, "0/0   RAID1")
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*"))
	require.NoError(t, err)
	for _, name := range left {
		require.True(t, name == file || strings.HasSuffix(name, ".lock"), name)
	}
}

func TestDrivesOfTwoMachinesHaveDifferentNames(t *testing.T) {
	var drives []*raidtest.Drive
	for _, serial := range []string{"LAB-M1", "LAB-M2"} {
		c, err := Machine(filepath.Join(t.TempDir(), "chassis.json"), sysfs(serial))
		require.NoError(t, err)
		state, err := c.State()
		require.NoError(t, err)
		drives = append(drives, state.Controllers[0].Drives[0])
	}
	require.NotEqual(t, drives[0].Serial, drives[1].Serial)
	require.NotEqual(t, drives[0].WWN, drives[1].WWN)
}

func TestOfTwoThatAreFirstOneMakesTheChassis(t *testing.T) {
	file := filepath.Join(t.TempDir(), "chassis.json")
	var wait sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wait.Go(func() {
			c, err := Machine(file, sysfs("LAB-M1"))
			if err == nil {
				err = c.Edit(func(s *raidtest.State) error { s.Commands++; return nil })
			}
			errs[i] = err
		})
	}
	wait.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	c, err := raidtest.Open(file)
	require.NoError(t, err)
	state, err := c.State()
	require.NoError(t, err)
	require.Equal(t, len(errs), state.Commands)
}

func TestAMachineWithoutAMegaRAIDIsToldWhatToDo(t *testing.T) {
	files := sysfs("LAB-M1")
	for name := range files {
		if !strings.Contains(name, "00:02.0") {
			delete(files, name)
		}
	}
	_, err := Machine(filepath.Join(t.TempDir(), "chassis.json"), files)
	require.ErrorContains(t, err, "no MegaRAID")
	require.ErrorContains(t, err, "LODA_CHASSIS")
}
