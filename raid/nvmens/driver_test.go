package nvmens_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/nvmens"
)

func inventory(t *testing.T, d *nvmens.Driver) *raid.Inventory {
	t.Helper()
	inv, err := d.Inventory(t.Context(), address)
	require.NoError(t, err)
	return inv
}

func step(kind raid.StepKind, inv *raid.Inventory, volume int) raid.Step {
	s := raid.Step{Kind: kind, Controller: address}
	if volume >= 0 {
		v := inv.Volumes[volume]
		s.Volume = &raid.VolumeRef{ID: v.ID, WWN: v.WWN}
	}
	return s
}

func create(inv *raid.Inventory, n raid.NewVolume) raid.Step {
	s := step(raid.StepCreateVolume, inv, -1)
	d := inv.Disks[0]
	n.Level = raid.Level0
	s.Create, s.Disks = &n, []raid.DiskRef{{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()}}
	return s
}

func TestDriveIsReadWithEitherGenerationOfTheTool(t *testing.T) {
	for _, old := range []bool{false, true} {
		dev := newDrive()
		dev.old = old
		d := nvmens.New(dev, "nvme")
		controllers, err := d.Probe(t.Context())
		require.NoError(t, err)
		require.Len(t, controllers, 1, "a namespace over a network is no drive")
		c := controllers[0]
		assert.Equal(t, address, c.ID)
		assert.Equal(t, "INTEL SSDPE2KE016T8", c.Model)
		assert.Equal(t, []raid.Initialization{raid.InitializeNone, raid.InitializeFast, raid.InitializeFull},
			c.Capabilities.Initialize)
		assert.Equal(t, 128, c.Capabilities.MaxVolumes)

		inv := inventory(t, d)
		require.Len(t, inv.Disks, 1)
		disk := inv.Disks[0]
		assert.EqualValues(t, total, disk.Bytes)
		assert.Equal(t, "/dev/nvme1", disk.Path)
		assert.Equal(t, hw.NVMe, disk.Medium)
		assert.Equal(t, raid.DiskOnline, disk.State.Is)
		require.Len(t, inv.Volumes, 1)
		v := inv.Volumes[0]
		assert.Equal(t, raid.VolumeID("1"), v.ID)
		assert.Equal(t, "eui.0100000001000100", v.WWN)
		assert.EqualValues(t, total, v.Bytes)
		assert.Equal(t, "/dev/nvme1n1", v.Path)
		assert.Equal(t, raid.VolumeOptimal, v.State.Is)
	}
}

func TestNamespacesAreRemovedAndMade(t *testing.T) {
	dev := newDrive()
	d := nvmens.New(dev, "nvme")
	require.NoError(t, d.Exec(t.Context(), nil, step(raid.StepDeleteVolume, inventory(t, d), 0), nil))
	inv := inventory(t, d)
	assert.Empty(t, inv.Volumes)
	assert.Equal(t, raid.DiskReady, inv.Disks[0].State.Is)
	require.NoError(t, d.Exec(t.Context(), nil, create(inv, raid.NewVolume{Name: "os", Bytes: 100 << 30}), nil))
	rest := create(inventory(t, d), raid.NewVolume{Name: "data", Initialize: raid.InitializeFast})
	commands, err := d.Commands(inventory(t, d), rest)
	require.NoError(t, err)
	assert.Equal(t, []string{"nvme", "attach-ns", "/dev/nvme1", "--namespace-id=NEW", "--controllers=5"}, commands[1])
	require.NoError(t, d.Exec(t.Context(), nil, rest, nil))
	assert.Equal(t, []string{
		"detach-ns /dev/nvme1 --namespace-id=1 --controllers=5", "delete-ns /dev/nvme1 --namespace-id=1", "ns-rescan /dev/nvme1",
		"create-ns /dev/nvme1 --nsze=209715200 --ncap=209715200 --block-size=512",
		"attach-ns /dev/nvme1 --namespace-id=1 --controllers=5", "ns-rescan /dev/nvme1",
		"create-ns /dev/nvme1 --nsze=2915912368 --ncap=2915912368 --block-size=512",
		"attach-ns /dev/nvme1 --namespace-id=2 --controllers=5", "ns-rescan /dev/nvme1",
		"format /dev/nvme1 --namespace-id=2 --ses=2 --force",
	}, dev.log)
	inv = inventory(t, d)
	require.Len(t, inv.Volumes, 2)
	assert.EqualValues(t, 100<<30, inv.Volumes[0].Bytes)
	assert.EqualValues(t, total, inv.Volumes[0].Bytes+inv.Volumes[1].Bytes)
}

func TestNumberThatWasGivenAgainIsAnotherNamespace(t *testing.T) {
	dev := newDrive()
	d := nvmens.New(dev, "nvme")
	s := step(raid.StepDeleteVolume, inventory(t, d), 0)
	dev.namespaces[1].made = 7
	require.NoError(t, d.Exec(t.Context(), nil, s, nil))
	assert.Empty(t, dev.log, "the one that was planned for is gone")
	assert.Len(t, dev.namespaces, 1)

	other := create(inventory(t, d), raid.NewVolume{Bytes: 1 << 30})
	dev.serial = "PHLN9999"
	assert.ErrorContains(t, d.Exec(t.Context(), nil, other, nil), `another one than planned: serial number "PHLN9999"`)
}

func TestNamespaceIsErased(t *testing.T) {
	dev := newDrive()
	d := nvmens.New(dev, "nvme")
	s := step(raid.StepInitialize, inventory(t, d), 0)
	s.Initialize = raid.InitializeFull
	require.NoError(t, d.Exec(t.Context(), nil, s, nil))
	assert.Equal(t, []string{"format /dev/nvme1 --namespace-id=1 --ses=1 --force"}, dev.log)

	dev.lie = func([]string) (*raid.Output, error) { return &raid.Output{}, nil }
	assert.ErrorContains(t, d.Exec(t.Context(), nil, s, nil), "does not say that it is erased")
	dev.lie = func([]string) (*raid.Output, error) { return nil, context.DeadlineExceeded }
	assert.ErrorIs(t, d.Exec(t.Context(), nil, s, nil), context.DeadlineExceeded)
}

func TestErasureThatTakesTheNeighboursWithItIsRefused(t *testing.T) {
	dev := newDrive()
	dev.fna = 2
	dev.namespaces[1].sectors = 1 << 21
	dev.namespaces[2] = &ns{sectors: 1 << 21, attached: true}
	d := nvmens.New(dev, "nvme")
	inv := inventory(t, d)
	s := step(raid.StepInitialize, inv, 0)
	s.Initialize = raid.InitializeFull
	_, err := d.Commands(inv, s)
	assert.ErrorContains(t, err, "all of its 2 namespaces")
}

func TestWhatTheDriveCannotDoIsRefusedBeforeAnythingRuns(t *testing.T) {
	dev := newDrive()
	d := nvmens.New(dev, "nvme")
	inv := inventory(t, d)
	for want, s := range map[string]raid.Step{
		"has 0 left":             create(inv, raid.NewVolume{Name: "v"}),
		"neither strip":          create(inv, raid.NewVolume{Name: "v", Bytes: 1 << 30, Strip: 65536}),
		"nothing that a drive":   step(raid.StepBoot, inv, 0),
		"on the one drive":       step(raid.StepCreateVolume, inv, -1),
		"and the inventory of":   {Kind: raid.StepCreateVolume, Controller: "0000:3c:00.0"},
		"the namespace to erase": step(raid.StepInitialize, inv, -1),
	} {
		_, err := d.Commands(inv, s)
		assert.ErrorContains(t, err, want)
	}
	dev.oacs = 0
	inv = inventory(t, d)
	assert.Empty(t, inv.Controller.Capabilities.Levels)
	assert.Empty(t, inv.Controller.Capabilities.Initialize)
	_, err := d.Commands(inv, create(inv, raid.NewVolume{Bytes: 1 << 30}))
	assert.ErrorContains(t, err, "cannot make namespaces")
	_, err = d.Commands(inv, step(raid.StepDeleteVolume, inv, 0))
	assert.ErrorContains(t, err, "cannot delete namespaces")
	s := step(raid.StepInitialize, inv, 0)
	s.Initialize = raid.InitializeFast
	_, err = d.Commands(inv, s)
	assert.ErrorContains(t, err, "cannot be erased that way")
	assert.Empty(t, dev.log)
}

func TestPowerCutBeforeANamespaceIsAttachedIsSeen(t *testing.T) {
	dev := newDrive()
	delete(dev.namespaces, 1)
	d := nvmens.New(dev, "nvme")
	s := create(inventory(t, d), raid.NewVolume{Name: "os", Bytes: 1 << 30})
	dev.lie = func(argv []string) (*raid.Output, error) {
		if argv[1] == "attach-ns" {
			return nil, errors.New("the machine is off")
		}
		return nil, nil
	}
	require.Error(t, d.Exec(t.Context(), nil, s, nil))
	dev.lie = nil
	inv := inventory(t, d)
	require.Len(t, inv.Volumes, 1)
	assert.Equal(t, raid.VolumeState{Is: raid.VolumeOffline, Raw: "not attached"}, inv.Volumes[0].State)
	require.NoError(t, d.Exec(t.Context(), nil, step(raid.StepDeleteVolume, inv, 0), nil))
	require.NoError(t, d.Exec(t.Context(), nil, s, nil))
}

func TestExitStatusAloneIsNoProof(t *testing.T) {
	dev := newDrive()
	d := nvmens.New(dev, "nvme")
	s := step(raid.StepDeleteVolume, inventory(t, d), 0)
	dev.lie = func([]string) (*raid.Output, error) { return &raid.Output{}, nil }
	assert.ErrorContains(t, d.Exec(t.Context(), nil, s, nil), "still there")
	dev.lie = func(argv []string) (*raid.Output, error) {
		delete(dev.namespaces, 1)
		return &raid.Output{ExitCode: 1}, nil
	}
	require.NoError(t, d.Exec(t.Context(), nil, s, nil))
}

func TestListAndIdentifyOfOneDriveBecomeAnInventory(t *testing.T) {
	dev := newDrive()
	list, _ := dev.Run(t.Context(), "nvme", "list", "--verbose")
	ctrl, _ := dev.Run(t.Context(), "nvme", "id-ctrl", "/dev/nvme1")
	inv, err := nvmens.Parse(ctrl.Stdout, list.Stdout)
	require.NoError(t, err)
	assert.Equal(t, address, inv.Controller.ID)
	require.Len(t, inv.Volumes, 1)
	assert.EqualValues(t, total, inv.Volumes[0].Bytes)
	assert.Equal(t, 512, inv.Disks[0].LogicalSector)
	dev.serial = "OTHER"
	other, _ := dev.Run(t.Context(), "nvme", "id-ctrl", "/dev/nvme1")
	_, err = nvmens.Parse(other.Stdout, list.Stdout)
	assert.ErrorContains(t, err, "want those of one")
	_, err = nvmens.Parse([]byte(`{"nsze": 3}`))
	assert.ErrorContains(t, err, "none of this")
}

func FuzzParse(f *testing.F) {
	dev := newDrive()
	for _, argv := range [][]string{{"nvme", "list"}, {"nvme", "id-ctrl", "/dev/nvme1"}} {
		out, _ := dev.Run(context.Background(), argv...)
		f.Add(out.Stdout)
	}
	dev.old = true
	out, _ := dev.Run(context.Background(), "nvme", "list")
	f.Add(out.Stdout)
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := nvmens.Parse(data)
		if err != nil {
			return
		}
		require.Len(t, inv.Disks, 1)
		if n := strings.Count(strings.ToLower(string(data)), "nsid"); len(inv.Volumes) > n && !strings.Contains(string(data), `\`) {
			t.Fatalf("%d namespaces of %d", len(inv.Volumes), n)
		}
		for _, v := range inv.Volumes {
			if v.Bytes < 0 || v.Path == "" {
				t.Fatalf("namespace %+v", v)
			}
		}
		if inv.Disks[0].Bytes < 0 {
			t.Fatalf("drive %+v", inv.Disks[0])
		}
		_, err = json.Marshal(inv)
		require.NoError(t, err)
	})
}
