package host_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/drivers"
	"github.com/project-loda/loda/raid/host"
	"github.com/project-loda/loda/raid/raidtest"
)

// This test binary holds the drivers, as lodad and the agent do.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == drivers.Command {
		os.Exit(drivers.Main(os.Args[2:], os.Stderr))
	}
	os.Exit(m.Run())
}

// emulator builds an emulator of a tool.
func emulator(t *testing.T, pkg string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), filepath.Base(pkg))
	out, err := exec.Command("go", "build", "-o", file, "github.com/project-loda/loda/raid/raidtest/"+pkg).CombinedOutput()
	require.NoError(t, err, string(out))
	return file
}

func chassis(t *testing.T, id raid.ControllerID) *raidtest.Chassis {
	t.Helper()
	ctl := raidtest.MegaRAID(id, "SV1")
	ctl.AddDrives(4, hw.SSD, hw.BusATA, 480e9)
	c, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), &raidtest.State{Controllers: []*raidtest.Controller{ctl}})
	require.NoError(t, err)
	return c
}

var (
	megaraid = hw.PCIDevice{Address: "0000:18:00.0", Class: "010400", Vendor: "1000", Device: "005d", SubVendor: "1000", SubDevice: "9361",
		Slot: "PCIe Slot 3"}
	smartArray = hw.PCIDevice{Address: "0000:03:00.0", Class: "010400", Vendor: "103c", Device: "323b", SubVendor: "103c", SubDevice: "3355"}
	sata       = hw.PCIDevice{Address: "0000:00:17.0", Class: "010601", Vendor: "8086", Device: "a102"}
)

func only(tools map[raid.Tool]string) func(context.Context, raid.Tool) (string, error) {
	return func(_ context.Context, t raid.Tool) (string, error) {
		if path, ok := tools[t]; ok {
			return path, nil
		}
		return "", fmt.Errorf("%w: nobody gave %s to this test", host.ErrNoTool, t)
	}
}

func TestThePCIIdChoosesTheDriverAndTheDriverRunsInAProcess(t *testing.T) {
	c := chassis(t, "0000:18:00.0")
	h, err := host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{smartArray, megaraid, sata},
		Tool:    only(map[raid.Tool]string{raid.Storcli: emulator(t, "storcli/storcli64")}),
		ToolEnv: []string{raidtest.ChassisVariable + "=" + c.Path()}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	inventories, err := h.Read(t.Context())
	require.NoError(t, err)
	require.Len(t, inventories, 1)
	require.Equal(t, raid.ControllerID("0000:18:00.0"), inventories[0].Controller.ID)
	require.Equal(t, "PCIe Slot 3", inventories[0].Controller.Slot, "the board knows")
	require.Len(t, inventories[0].Disks, 4)
	require.Equal(t, []string{"controller 0000:03:00.0 (Smart Array, PCI id 103c:323b): it needs ssacli: the tool is not here: nobody " +
		"gave ssacli to this test"}, h.Unmanaged(), "and the HBA of the chipset hides nothing")

	layout := &raid.Layout{Controllers: []raid.ControllerLayout{{Controller: raid.ControllerChoice{Slot: "PCIe Slot 3"},
		Volumes: []raid.Volume{{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}, Boot: true}}}}}
	plan, err := raid.NewPlan(inventories, layout)
	require.NoError(t, err)
	require.Empty(t, plan.Needs())
	require.NoError(t, raid.Apply(t.Context(), h.Driver(), plan, raid.Guard{Machine: "SN-1",
		InUse: func(context.Context) ([]raid.Use, error) { return nil, nil }}, nil))
	inventories, err = h.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "os", inventories[0].Volumes[0].Name)
	plan, err = raid.NewPlan(inventories, layout)
	require.NoError(t, err)
	require.True(t, plan.Empty())
}

func TestTheSecondToolDoesWhereTheFirstIsMissing(t *testing.T) {
	perc := megaraid
	perc.SubVendor = "1028"
	c := chassis(t, "0000:18:00.0")
	h, err := host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{perc},
		Tool:    only(map[raid.Tool]string{raid.Storcli: emulator(t, "storcli/storcli64")}),
		ToolEnv: []string{raidtest.ChassisVariable + "=" + c.Path()}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	inventories, err := h.Read(t.Context())
	require.NoError(t, err)
	require.Len(t, inventories, 1)
	require.Equal(t, "storcli", inventories[0].Controller.Driver)
}

func TestADriverFromOutsideComesFirstForTheControllersThatItNames(t *testing.T) {
	self, err := os.Executable()
	require.NoError(t, err)
	c := chassis(t, "0000:18:00.0")
	outside := host.External{Name: "acme", Path: self, Args: []string{drivers.Command, "storcli", "--tool", emulator(t, "storcli/storcli64"),
		"--env", raidtest.ChassisVariable + "=" + c.Path()}, For: []string{"1000:005D"}}
	h, err := host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{megaraid}, Tool: only(nil), External: []host.External{outside}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	inventories, err := h.Read(t.Context())
	require.NoError(t, err)
	require.Len(t, inventories, 1)
	require.Empty(t, h.Unmanaged())

	asked := 0
	outside.Path, outside.Fetch = "", func(context.Context) (string, error) { asked++; return self, nil }
	h, err = host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{sata}, Tool: only(nil), External: []host.External{outside}})
	require.NoError(t, err)
	require.NoError(t, h.Close())
	require.Zero(t, asked, "a machine without such a controller fetches nothing")
	outside.SHA256 = "00" + fmt.Sprintf("%062d", 0)
	h, err = host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{megaraid}, Tool: only(nil), External: []host.External{outside}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	require.Len(t, h.Unmanaged(), 1)
	require.Contains(t, h.Unmanaged()[0], "driver acme")
	require.Contains(t, h.Unmanaged()[0], "0000000000")
	inventories, err = h.Read(t.Context())
	require.NoError(t, err)
	require.Empty(t, inventories, "what is not what was named does not run")
}

func TestAControllerThatItsToolDoesNotFindIsTold(t *testing.T) {
	c := chassis(t, "0000:5e:00.0") // another
	h, err := host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{megaraid},
		Tool:    only(map[raid.Tool]string{raid.Storcli: emulator(t, "storcli/storcli64")}),
		ToolEnv: []string{raidtest.ChassisVariable + "=" + c.Path()}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	_, err = h.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"controller 0000:18:00.0 (MegaRAID SAS-3 3108, PCI id 1000:005d): its driver does not find it"},
		h.Unmanaged())
	require.Equal(t, []raid.Controller{{ID: "0000:18:00.0", Model: "MegaRAID SAS-3 3108", Slot: "PCIe Slot 3"}},
		h.Unread())
}

func TestAToolThatFailsLeavesTheOtherControllersReadable(t *testing.T) {
	c := chassis(t, "0000:18:00.0")
	broken := filepath.Join(t.TempDir(), "ssacli")
	require.NoError(t, os.WriteFile(broken, []byte("#!/bin/sh\necho 'Error: no such luck' >&2\nexit 7\n"), 0o755))
	h, err := host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{smartArray, megaraid},
		Tool:    only(map[raid.Tool]string{raid.Storcli: emulator(t, "storcli/storcli64"), raid.Ssacli: broken}),
		ToolEnv: []string{raidtest.ChassisVariable + "=" + c.Path()}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	inventories, err := h.Read(t.Context())
	require.ErrorContains(t, err, "ssacli")
	require.Len(t, inventories, 1)
	require.Equal(t, []string{"controller 0000:03:00.0 (Smart Array, PCI id 103c:323b): its driver ssacli has failed"},
		h.Unmanaged())
	require.Equal(t, []raid.Controller{{ID: "0000:03:00.0", Model: "Smart Array"}}, h.Unread())
	layout := &raid.Layout{Controllers: []raid.ControllerLayout{{Volumes: []raid.Volume{
		{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}}}}}}
	_, err = raid.NewPlan(inventories, layout)
	require.NoError(t, err)
	_, err = raid.NewPlan(inventories, layout, h.Unread()...)
	require.ErrorContains(t, err, "0000:03:00.0 Smart Array cannot be read", "the layout may mean the one that failed")
}

func TestADriverThatDiesIsToldAndTheOthersGoOn(t *testing.T) {
	c := chassis(t, "0000:18:00.0")
	dies := filepath.Join(t.TempDir(), "raid-acme")
	require.NoError(t, os.WriteFile(dies, []byte("#!/bin/sh\necho 'raid-acme: no license' >&2\nexit 3\n"), 0o755))
	h, err := host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{smartArray, megaraid},
		External: []host.External{{Name: "acme", Path: dies, For: []string{"103c:323b:103c:3355"}}},
		Tool:     only(map[raid.Tool]string{raid.Storcli: emulator(t, "storcli/storcli64")}),
		ToolEnv:  []string{raidtest.ChassisVariable + "=" + c.Path()}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	require.Len(t, h.Unread(), 1, "before the first Read as well")
	inventories, err := h.Read(t.Context())
	require.NoError(t, err)
	require.Len(t, inventories, 1)
	require.Len(t, h.Unmanaged(), 1)
	require.Contains(t, h.Unmanaged()[0], "controller 0000:03:00.0 (driver acme, PCI id 103c:323b): ")
	require.Contains(t, h.Unmanaged()[0], "no license")
}

func TestTwoControllersOfOneToolHaveOneProcessAndItIsAskedForOnce(t *testing.T) {
	perc, second := megaraid, megaraid
	perc.Address, perc.SubVendor, perc.Slot = "0000:5e:00.0", "1028", ""
	second.Address, second.Device, second.Slot = "0000:af:00.0", "10e2", "" // has no second tool, as the first has
	controllers := []*raidtest.Controller{}
	for i, id := range []raid.ControllerID{"0000:18:00.0", "0000:5e:00.0", "0000:af:00.0"} {
		ctl := raidtest.MegaRAID(id, fmt.Sprintf("SV%d", i))
		ctl.AddDrives(2, hw.SSD, hw.BusATA, 480e9)
		controllers = append(controllers, ctl)
	}
	c, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), &raidtest.State{Controllers: controllers})
	require.NoError(t, err)
	asked := map[raid.Tool]int{}
	find := only(map[raid.Tool]string{raid.Storcli: emulator(t, "storcli/storcli64")})
	h, err := host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{second, perc, megaraid},
		Tool: func(ctx context.Context, tool raid.Tool) (string, error) {
			asked[tool]++
			return find(ctx, tool)
		},
		ToolEnv: []string{raidtest.ChassisVariable + "=" + c.Path()}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	require.Equal(t, 1, asked[raid.Storcli])
	require.Equal(t, 1, asked[raid.Perccli])
	require.NotContains(t, h.Driver().Name(), ",")
	require.NotContains(t, h.Driver().Name(), " and ")
	inventories, err := h.Read(t.Context())
	require.NoError(t, err)
	require.Len(t, inventories, 3)
	require.Empty(t, h.Unmanaged())
	require.Empty(t, h.Unread())
}

func TestAnIdThatNoControllerCanHaveIsRefused(t *testing.T) {
	for _, id := range []string{"", "1000", "1000:5d", "1000:005d:1028", "1000:005g", "1000:005d:1028:1f47:1"} {
		_, err := host.Open(t.Context(), host.Config{Tool: only(nil),
			External: []host.External{{Name: "acme", Path: "/bin/true", For: []string{id}}}})
		require.ErrorContains(t, err, "RAID driver acme: ")
		require.False(t, host.IsPCI(id))
	}
	require.True(t, host.IsPCI("1000:005D"))
	require.True(t, host.IsPCI("1000:005d:1028:1f47"))
}

func TestAToolIsFoundInPATHButNotInARelativeDirectory(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sas3ircu"), []byte("#!/bin/sh\n"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sas2ircu"), []byte("#!/bin/sh\n"), 0o644))
	t.Setenv("PATH", "/usr/bin:"+dir)
	path, err := host.LookPath(t.Context(), raid.Sas3ircu)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(dir, "sas3ircu"), path)
	_, err = host.LookPath(t.Context(), raid.Sas2ircu)
	require.ErrorIs(t, err, host.ErrNoTool, "it is no program")
	t.Chdir(dir)
	t.Setenv("PATH", "/usr/bin:.:")
	_, err = host.LookPath(t.Context(), raid.Sas3ircu)
	require.ErrorIs(t, err, host.ErrNoTool)
}

func TestAToolAndADriverFromOutsideFindTheLibrariesThatTheyBrought(t *testing.T) {
	dir := t.TempDir()
	script := func(name string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte("#!/bin/sh\necho \"$LD_LIBRARY_PATH\" >"+path+".said\nexit 7\n"), 0o755))
		return path
	}
	tool, driver, kernels := script("ssacli"), script("raid-acme"), script("mdadm")
	h, err := host.Open(t.Context(), host.Config{Devices: []hw.PCIDevice{smartArray, megaraid},
		Tool:      only(map[raid.Tool]string{raid.Ssacli: tool, raid.Mdadm: kernels}),
		External:  []host.External{{Name: "acme", Path: driver, For: []string{"1000:005d"}}},
		Libraries: func(program string) string { return map[string]string{tool: "/of/tool", driver: "/of/driver"}[program] }})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close()) }()
	_, err = h.Read(t.Context())
	require.Error(t, err, "they do nothing")
	for path, want := range map[string]string{tool: "/of/tool\n", driver: "/of/driver\n"} {
		said, err := os.ReadFile(path + ".said")
		require.NoError(t, err)
		require.Equal(t, want, string(said))
	}
	if said, err := os.ReadFile(kernels + ".said"); err == nil {
		require.Equal(t, "\n", string(said), "it was not fetched")
	}
}
