package mdadm_test

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mdadm"
)

func disk(name, path string) hw.Disk {
	return hw.Disk{Name: name, Kind: hw.PhysicalDisk, Path: path, Serial: "SN-" + name, Bytes: 1 << 31, Medium: hw.SSD,
		Bus: hw.BusATA}
}

func fourDisks() *kernel {
	return newKernel(disk("sda", "pci-0000:00:1f.2-ata-1.0"), disk("sdb", "pci-0000:00:1f.2-ata-2.0"),
		disk("sdc", "pci-0000:00:1f.2-ata-3.0"), disk("sdd", "pci-0000:00:1f.2-ata-4.0"))
}

func driver(k *kernel, options ...mdadm.Option) *mdadm.Driver {
	return mdadm.New(k, "mdadm", k.list, append([]mdadm.Option{mdadm.WithStat(k.stat)}, options...)...)
}

func inventory(t *testing.T, d *mdadm.Driver) *raid.Inventory {
	t.Helper()
	inv, err := d.Inventory(t.Context(), raid.MD)
	require.NoError(t, err)
	return inv
}

func refs(inv *raid.Inventory, numbers ...int) []raid.DiskRef {
	var all []raid.DiskRef
	for _, n := range numbers {
		d := inv.Disks[n]
		all = append(all, raid.DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()})
	}
	return all
}

func volumeRef(v raid.VirtualDisk) *raid.VolumeRef {
	return &raid.VolumeRef{ID: v.ID, WWN: v.WWN, Name: v.Name}
}

func step(kind raid.StepKind) raid.Step { return raid.Step{Kind: kind, Controller: raid.MD} }

func create(inv *raid.Inventory, n raid.NewVolume, disks ...int) raid.Step {
	s := step(raid.StepCreateVolume)
	s.Create, s.Disks = &n, refs(inv, disks...)
	return s
}

func do(t *testing.T, d *mdadm.Driver, s raid.Step) {
	t.Helper()
	require.NoError(t, d.Exec(t.Context(), inventory(t, d), s, nil))
}

func TestVolumeToBootFromIsAMirrorOfWholeDrivesWithMetadataAtTheEnd(t *testing.T) {
	k := fourDisks()
	k.dirty["/dev/sda"] = true
	d := driver(k)
	do(t, d, create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1, Boot: true}, 0, 1))
	assert.Equal(t, []string{
		"mdadm --zero-superblock /dev/sda /dev/sdb",
		"wipefs --all --force /dev/sda /dev/sdb",
		"mdadm --create /dev/md/os --run --force --homehost=any --name=os --metadata=1.0 --level=1 --raid-devices=2 " +
			"/dev/sda /dev/sdb",
	}, k.log)
	assert.Empty(t, k.dirty)

	inv := inventory(t, d)
	require.Len(t, inv.Volumes, 1)
	v := inv.Volumes[0]
	assert.Equal(t, "os", v.Name)
	assert.True(t, *v.Boot)
	assert.Equal(t, "/dev/md127", v.Path)
	assert.Equal(t, "uuid."+strings.ReplaceAll(string(v.ID), ":", ""), v.WWN)
	assert.Equal(t, []raid.DiskID{"pci-0000:00:1f.2-ata-1.0", "pci-0000:00:1f.2-ata-2.0"}, v.Members)
	assert.Equal(t, []string{"/dev/sda", "/dev/sdb"}, v.Parts)
	assert.Equal(t, raid.DiskOnline, inv.Disks[0].State.Is)
	assert.Equal(t, raid.DiskReady, inv.Disks[2].State.Is)

	boot := step(raid.StepBoot)
	boot.Volume = volumeRef(v)
	commands, err := d.Commands(inv, boot)
	require.NoError(t, err)
	assert.Empty(t, commands, "nothing is left to do for it")
}

func TestVolumeThatIsNotBootedFromCannotBecomeOne(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	do(t, d, create(inventory(t, d), raid.NewVolume{Name: "data", Level: raid.Level1}, 0, 1))
	inv := inventory(t, d)
	assert.False(t, *inv.Volumes[0].Boot)
	boot := step(raid.StepBoot)
	boot.Volume = volumeRef(inv.Volumes[0])
	_, err := d.Commands(inv, boot)
	assert.ErrorContains(t, err, "no firmware starts from array data")
}

func TestEveryLevelIsToldToMdadm(t *testing.T) {
	for want, n := range map[string]raid.NewVolume{
		"--metadata=1.2 --level=0 --raid-devices=4 --chunk=64":               {Level: raid.Level0, Strip: 64 << 10},
		"--metadata=1.2 --level=5 --raid-devices=4 --chunk=256":              {Level: raid.Level5, Strip: 256 << 10},
		"--metadata=1.2 --level=6 --raid-devices=4":                          {Level: raid.Level6},
		"--metadata=1.2 --level=10 --raid-devices=4 --chunk=512 --layout=n2": {Level: raid.Level10, Strip: 512 << 10, Spans: 2},
	} {
		k := fourDisks()
		d := driver(k)
		n.Name = "v"
		do(t, d, create(inventory(t, d), n, 0, 1, 2, 3))
		assert.Contains(t, k.log[2], want)
		v := inventory(t, d).Volumes[0]
		assert.Equal(t, n.Level, v.Level.Is)
		assert.Equal(t, n.Strip, v.Strip)
	}
}

func TestWhatMdCannotDoIsRefusedBeforeAnythingRuns(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	inv := inventory(t, d)
	for want, s := range map[string]raid.Step{
		"no other size":           create(inv, raid.NewVolume{Name: "v", Level: raid.Level1, Bytes: 1 << 30}, 0, 1),
		"no level 50":             create(inv, raid.NewVolume{Name: "v", Level: raid.Level50}, 0, 1),
		"starts from level 0":     create(inv, raid.NewVolume{Name: "v", Level: raid.Level0, Boot: true}, 0, 1),
		"has no strips":           create(inv, raid.NewVolume{Name: "v", Level: raid.Level1, Strip: 65536}, 0, 1),
		"want a name":             create(inv, raid.NewVolume{Name: "--assume-clean", Level: raid.Level1}, 0, 1),
		"always synchronises":     create(inv, raid.NewVolume{Name: "v", Level: raid.Level5, Initialize: "none"}, 0, 1, 2),
		"no policies":             create(inv, raid.NewVolume{Name: "v", Level: "1", Policies: raid.Policies{Read: "ahead"}}, 0, 1),
		"nothing that md can do":  step(raid.StepMode),
		"no spare is named":       step(raid.StepAddSpare),
		"for one array":           {Kind: raid.StepAddSpare, Controller: raid.MD, Disks: refs(inv, 2)},
		"is no spare of":          {Kind: raid.StepRemoveSpare, Controller: raid.MD, Disks: refs(inv, 2)},
		"is no controller of":     {Kind: raid.StepCreateVolume, Controller: "0000:18:00.0"},
		"drive sdx is not there":  {Kind: raid.StepReady, Controller: raid.MD, Disks: []raid.DiskRef{{ID: "sdx"}}},
		"to start from is not":    step(raid.StepBoot),
		"a volume without drives": step(raid.StepCreateVolume),
	} {
		_, err := d.Commands(inv, s)
		assert.ErrorContains(t, err, want)
	}
	assert.Empty(t, k.log)
}

func TestArrayIsTakenApart(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	do(t, d, create(inventory(t, d), raid.NewVolume{Name: "data", Level: raid.Level1}, 2, 3))
	k.log = nil
	s := step(raid.StepDeleteVolume)
	s.Volume = volumeRef(inventory(t, d).Volumes[0])
	do(t, d, s)
	assert.Equal(t, []string{"mdadm --stop /dev/md127", "mdadm --zero-superblock /dev/sdc /dev/sdd",
		"wipefs --all --force /dev/sdc /dev/sdd"}, k.log)
	assert.Empty(t, inventory(t, d).Volumes)

	do(t, d, s) // again: there is nothing left to do
	assert.Len(t, k.log, 3)
}

func TestArrayOverPartitionsIsTakenApartWithoutItsNeighbours(t *testing.T) {
	k := fourDisks()
	for i, device := range []string{"/dev/sda2", "/dev/sdb2"} {
		k.on[device] = &metadata{uuid: "aaaaaaaa:aaaaaaaa:aaaaaaaa:aaaaaaaa", name: "root", level: "raid1", version: "1.0",
			devices: 2, role: i}
	}
	for i, device := range []string{"/dev/sda3", "/dev/sdb3"} {
		k.on[device] = &metadata{uuid: "bbbbbbbb:aaaaaaaa:aaaaaaaa:aaaaaaaa", name: "swap", level: "raid0", version: "1.2",
			devices: 2, role: i}
	}
	d := driver(k, mdadm.WithAssembly())
	_, err := d.Probe(t.Context())
	require.NoError(t, err)
	inv := inventory(t, d)
	require.Len(t, inv.Volumes, 2)
	assert.Equal(t, "root", inv.Volumes[0].Name)
	assert.False(t, *inv.Volumes[0].Boot, "its drives do not look like it")
	assert.Equal(t, []raid.VolumeID{inv.Volumes[0].ID, inv.Volumes[1].ID}, inv.Disks[0].Volumes)
	s := step(raid.StepDeleteVolume)
	s.Volume = volumeRef(inv.Volumes[0])
	commands, err := d.Commands(inv, s)
	require.NoError(t, err)
	assert.Equal(t, []string{"mdadm", "--zero-superblock", "/dev/sda2", "/dev/sdb2"}, commands[1])
	do(t, d, s)
	require.Len(t, inventory(t, d).Volumes, 1)
}

func TestLookingChangesNothing(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	do(t, d, create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1, Boot: true}, 0, 1))
	clear(k.running) // the machine was off
	k.log = nil

	controllers, err := d.Probe(t.Context())
	require.NoError(t, err)
	require.Len(t, controllers, 1)
	inv := inventory(t, d)
	assert.Empty(t, k.log)
	require.Len(t, inv.Volumes, 1)
	v := inv.Volumes[0]
	assert.Equal(t, raid.VolumeState{Is: raid.VolumeOffline, Raw: "not assembled"}, v.State)
	assert.Equal(t, []raid.DiskID{inv.Disks[0].ID, inv.Disks[1].ID}, v.Members)
	assert.EqualValues(t, 1<<31-1<<20, v.Bytes)
	assert.Zero(t, v.Missing)
	assert.Empty(t, v.Path)

	_, err = driver(k, mdadm.WithAssembly()).Probe(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"mdadm --assemble --scan --run --homehost=any"}, k.log)
	assert.Equal(t, raid.VolumeOptimal, inventory(t, d).Volumes[0].State.Is)
}

func TestKernelWithoutMdHasNoController(t *testing.T) {
	k := fourDisks()
	d := driver(k, mdadm.WithStat(func() ([]byte, error) { return nil, fs.ErrNotExist }))
	controllers, err := d.Probe(t.Context())
	require.NoError(t, err)
	assert.Empty(t, controllers)
	_, err = d.Inventory(t.Context(), raid.MD)
	assert.ErrorContains(t, err, "md_mod")
}

func TestSpareComesAndGoes(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	do(t, d, create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1}, 0, 1))
	k.log = nil
	inv := inventory(t, d)
	add := step(raid.StepAddSpare)
	add.Disks, add.SpareFor = refs(inv, 2), []raid.VolumeRef{*volumeRef(inv.Volumes[0])}
	do(t, d, add)
	inv = inventory(t, d)
	assert.Equal(t, []raid.DiskID{inv.Disks[2].ID}, inv.Volumes[0].Spares)
	assert.Len(t, inv.Volumes[0].Members, 2)
	assert.Equal(t, raid.DiskState{Is: raid.DiskSpare, Raw: "spare"}, inv.Disks[2].State)
	assert.Equal(t, []raid.VolumeID{inv.Volumes[0].ID}, inv.Disks[2].SpareFor)
	assert.Equal(t, "mdadm --manage /dev/md127 --add /dev/sdc", k.log[2])

	remove := step(raid.StepRemoveSpare)
	remove.Disks = refs(inv, 2)
	do(t, d, remove)
	inv = inventory(t, d)
	assert.Empty(t, inv.Volumes[0].Spares)
	assert.Equal(t, raid.DiskReady, inv.Disks[2].State.Is)
}

func TestFailedMemberIsSeenAndFreed(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	do(t, d, create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1}, 0, 1))
	k.failed["/dev/sdb"] = true
	inv := inventory(t, d)
	assert.Equal(t, raid.VolumeDegraded, inv.Volumes[0].State.Is)
	assert.Equal(t, raid.DiskState{Is: raid.DiskFailed, Raw: "faulty"}, inv.Disks[1].State)

	ready := step(raid.StepReady)
	ready.Disks = refs(inv, 0)
	_, err := d.Commands(inv, ready)
	assert.ErrorContains(t, err, "in use")
	ready.Disks = refs(inv, 1)
	do(t, d, ready)
	inv = inventory(t, d)
	assert.Equal(t, raid.DiskReady, inv.Disks[1].State.Is)
	assert.Equal(t, 1, inv.Volumes[0].Missing)
	assert.Equal(t, raid.VolumeDegraded, inv.Volumes[0].State.Is)
}

func TestDriveThatWasSwappedIsNotTouched(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	s := create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1}, 0, 1)
	k.disks[1].Serial = "SN-other"
	err := d.Exec(t.Context(), nil, s, nil)
	assert.ErrorContains(t, err, `another one than planned: serial number "SN-other"`)
	assert.Empty(t, k.log)
}

func TestDriveOfAnArrayIsNotWiped(t *testing.T) {
	k := fourDisks()
	k.on["/dev/sdb2"] = &metadata{uuid: "aaaaaaaa:aaaaaaaa:aaaaaaaa:aaaaaaaa", name: "root", level: "raid1", version: "1.0",
		devices: 2}
	d := driver(k)
	s := create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1}, 0, 1)
	assert.ErrorContains(t, d.Exec(t.Context(), nil, s, nil), "in use by array aaaaaaaa")
	assert.Empty(t, k.log)
}

func TestExitStatusAloneIsNoProof(t *testing.T) {
	t.Run("success that did nothing", func(t *testing.T) {
		k := fourDisks()
		k.before = func(argv []string) (*raid.Output, error) {
			if argv[1] == "--create" {
				return &raid.Output{}, nil
			}
			return nil, nil
		}
		d := driver(k)
		err := d.Exec(t.Context(), nil, create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1}, 0, 1), nil)
		assert.ErrorContains(t, err, "array os is not there")
	})
	t.Run("failure after the deed", func(t *testing.T) {
		k := fourDisks()
		k.before = func(argv []string) (*raid.Output, error) {
			if argv[1] == "--create" {
				k.before = nil
				_, err := k.Run(context.Background(), argv...)
				return &raid.Output{ExitCode: 1, Stderr: []byte("mdadm: timeout waiting for /dev/md/os")}, err
			}
			return nil, nil
		}
		d := driver(k)
		do(t, d, create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1}, 0, 1))
	})
	t.Run("failure", func(t *testing.T) {
		k := fourDisks()
		d := driver(k)
		do(t, d, create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1}, 0, 1))
		k.log = nil
		k.before = func([]string) (*raid.Output, error) {
			return &raid.Output{ExitCode: 1, Stderr: []byte("mdadm: Cannot get exclusive access to /dev/md127")}, nil
		}
		s := step(raid.StepDeleteVolume)
		s.Volume = volumeRef(inventory(t, d).Volumes[0])
		err := d.Exec(t.Context(), nil, s, nil)
		assert.ErrorContains(t, err, "exit status 1: mdadm: Cannot get exclusive access")
		assert.ErrorContains(t, err, "array os is still there")
		assert.Len(t, k.log, 1, "an array that was not stopped is not overwritten")
	})
}

func TestPowerCutAtEachCommandIsMadeGoodByTheNextRun(t *testing.T) {
	for cut := range 3 {
		k := fourDisks()
		d := driver(k, mdadm.WithAssembly())
		s := create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1, Boot: true}, 0, 1)
		n := 0
		k.before = func([]string) (*raid.Output, error) {
			if n++; n > cut {
				return nil, errors.New("the machine is off")
			}
			return nil, nil
		}
		require.Error(t, d.Exec(t.Context(), nil, s, nil))
		k.before = nil
		clear(k.running)
		_, err := d.Probe(t.Context())
		require.NoError(t, err)
		require.Empty(t, inventory(t, d).Volumes)
		do(t, d, s)
		assert.True(t, *inventory(t, d).Volumes[0].Boot)
	}
}

func TestDrivesThatPeoplePutInAreNotForArrays(t *testing.T) {
	yes := true
	stick, volume, empty := disk("sde", "pci-0000:00:14.0-usb-0:1:1.0"), disk("sdf", "pci-0000:18:00.0-scsi-0:2:0:0"),
		disk("sdg", "")
	stick.Removable, volume.Kind, empty.Bytes = &yes, hw.RAIDVolume, 0
	k := newKernel(stick, volume, empty)
	assert.Empty(t, inventory(t, driver(k)).Disks)
}

func TestCancelledStepIsNotBegun(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	s := create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1}, 0, 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	assert.ErrorIs(t, d.Exec(ctx, nil, s, nil), context.Canceled)
	assert.Empty(t, k.log)
}
