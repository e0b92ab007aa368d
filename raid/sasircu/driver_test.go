package sasircu_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/sasircu"
)

const address raid.ControllerID = "0000:af:00.0"

var update = flag.Bool("update", false, "write the golden files anew")

func inventory(t *testing.T, d *sasircu.Driver) *raid.Inventory {
	t.Helper()
	inv, err := d.Inventory(t.Context(), address)
	require.NoError(t, err)
	return inv
}

func step(kind raid.StepKind, inv *raid.Inventory, disks ...int) raid.Step {
	s := raid.Step{Kind: kind, Controller: address}
	for _, n := range disks {
		d := inv.Disks[n]
		s.Disks = append(s.Disks, raid.DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()})
	}
	return s
}

func create(inv *raid.Inventory, level raid.Level, disks ...int) raid.Step {
	s := step(raid.StepCreateVolume, inv, disks...)
	s.Create = &raid.NewVolume{Name: "os", Level: level}
	return s
}

func TestSlotsAreSortedAsNumbersAndAddressesAreRead(t *testing.T) {
	h := newHBA("PHWA0", "PHWA1", "PHWA2")
	d := sasircu.New(h, "sas3ircu")
	controllers, err := d.Probe(t.Context())
	require.NoError(t, err)
	require.Len(t, controllers, 2)
	assert.Equal(t, raid.ControllerID("0000:18:00.0"), controllers[0].ID)
	assert.Equal(t, address, controllers[1].ID)
	assert.Equal(t, raid.ModeMixed, controllers[1].Mode)
	inv := inventory(t, d)
	var ids []raid.DiskID
	for _, disk := range inv.Disks {
		ids = append(ids, disk.ID)
	}
	assert.Equal(t, []raid.DiskID{"2:8", "2:9", "2:10"}, ids)
	assert.EqualValues(t, 480103981056, inv.Disks[0].Bytes)
	assert.Empty(t, inv.Disks[0].Vendor, "ATA makes no drives")

	h.raid = false
	inv = inventory(t, d)
	assert.Equal(t, raid.ModeHBA, inv.Controller.Mode)
	assert.Empty(t, inv.Controller.Capabilities.Levels)
	_, err = d.Commands(inv, create(inv, raid.Level1, 0, 1))
	assert.ErrorContains(t, err, "no level 1")
}

func TestVolumeIsMadeBootedFromAndRemovedAlone(t *testing.T) {
	h := newHBA("PHWA0", "PHWA1", "PHWA2", "PHWA3")
	d := sasircu.New(h, "sas3ircu")
	h.syncing = true
	progress := 0.0
	require.NoError(t, d.Exec(t.Context(), nil, create(inventory(t, d), raid.Level1, 0, 1),
		func(p raid.Progress) { progress = p.Fraction }))
	assert.Equal(t, 0.125, progress)
	require.NoError(t, d.Exec(t.Context(), nil, create(inventory(t, d), raid.Level0, 2, 3), nil))
	inv := inventory(t, d)
	require.Len(t, inv.Volumes, 2)
	v := inv.Volumes[0]
	assert.Equal(t, raid.Level1, v.Level.Is)
	assert.Equal(t, "naa.600508e0000000007b7e7706fbc0a701", v.WWN)
	assert.Equal(t, []raid.DiskID{"2:8", "2:9"}, v.Members)
	assert.False(t, *v.Boot, "nothing is said of it")
	assert.Equal(t, raid.DiskOnline, inv.Disks[0].State.Is)

	boot := step(raid.StepBoot, inv)
	boot.Volume = &raid.VolumeRef{ID: v.ID, WWN: v.WWN}
	require.NoError(t, d.Exec(t.Context(), nil, boot, nil))
	inv = inventory(t, d)
	assert.True(t, *inv.Volumes[0].Boot)
	assert.False(t, *inv.Volumes[1].Boot)

	remove := boot
	remove.Kind = raid.StepDeleteVolume
	require.NoError(t, d.Exec(t.Context(), nil, remove, nil))
	inv = inventory(t, d)
	require.Len(t, inv.Volumes, 1)
	assert.Equal(t, raid.Level0, inv.Volumes[0].Level.Is)
	assert.Equal(t, []string{"1 CREATE RAID1 MAX 2:8 2:9 noprompt", "1 CREATE RAID0 MAX 2:10 2:11 noprompt", "1 BOOTIR 323",
		"1 DELETEVOLUME 323 noprompt"}, h.log)

	require.NoError(t, d.Exec(t.Context(), nil, remove, nil), "it is gone")
	assert.Len(t, h.log, 4)
}

func TestSpareComesAndGoes(t *testing.T) {
	h := newHBA("PHWA0", "PHWA1", "PHWA2")
	d := sasircu.New(h, "sas3ircu")
	require.NoError(t, d.Exec(t.Context(), nil, create(inventory(t, d), raid.Level1, 0, 1), nil))
	require.NoError(t, d.Exec(t.Context(), nil, step(raid.StepAddSpare, inventory(t, d), 2), nil))
	assert.Equal(t, raid.DiskSpare, inventory(t, d).Disks[2].State.Is)
	require.NoError(t, d.Exec(t.Context(), nil, step(raid.StepRemoveSpare, inventory(t, d), 2), nil))
	assert.Equal(t, raid.DiskReady, inventory(t, d).Disks[2].State.Is)
	assert.Equal(t, []string{"1 HOTSPARE 2:10", "1 HOTSPARE DELETE 2:10"}, h.log[1:])
}

func TestWhatTheToolCannotDoIsRefusedBeforeAnythingRuns(t *testing.T) {
	h := newHBA("PHWA0", "PHWA1", "PHWA2")
	d := sasircu.New(h, "sas3ircu")
	inv := inventory(t, d)
	strip := create(inv, raid.Level0, 0, 1)
	strip.Create.Strip = 65536
	spare := step(raid.StepAddSpare, inv, 2)
	spare.SpareFor = []raid.VolumeRef{{Name: "os"}}
	for want, s := range map[string]raid.Step{
		"no level 5":                 create(inv, raid.Level5, 0, 1, 2),
		"level 1 of 3 drives":        create(inv, raid.Level1, 0, 1, 2),
		"no size, strip":             strip,
		"for all volumes":            spare,
		"nothing that the tool":      step(raid.StepMode, inv),
		"no volume is named":         step(raid.StepDeleteVolume, inv),
		"and the inventory of":       {Kind: raid.StepMode, Controller: "0000:18:00.0"},
		"drive missing X is not":     {Kind: raid.StepAddSpare, Controller: address, Disks: []raid.DiskRef{{ID: "missing X"}}},
		"no volume to make is given": step(raid.StepCreateVolume, inv),
	} {
		_, err := d.Commands(inv, s)
		assert.ErrorContains(t, err, want)
	}
	assert.Empty(t, h.log)
}

func TestExitStatusAloneIsNoProof(t *testing.T) {
	h := newHBA("PHWA0", "PHWA1")
	d := sasircu.New(h, "sas3ircu")
	h.lie = func([]string) (*raid.Output, error) { return &raid.Output{}, nil }
	err := d.Exec(t.Context(), nil, create(inventory(t, d), raid.Level1, 0, 1), nil)
	assert.ErrorContains(t, err, "volume os is not there")
	h.lie = func(argv []string) (*raid.Output, error) {
		h.change(argv[2:])
		return &raid.Output{ExitCode: 1}, nil
	}
	require.NoError(t, d.Exec(t.Context(), nil, create(inventory(t, d), raid.Level1, 0, 1), nil))
	h.lie = nil
	h.drives[0].serial = "OTHER"
	s := step(raid.StepAddSpare, inventory(t, d), 0)
	h.drives[0].serial = "PHWA0"
	assert.ErrorContains(t, d.Exec(t.Context(), nil, s, nil), "another one than planned")
}

func TestListingThatDidNotGetToItsEndIsAnError(t *testing.T) {
	h := newHBA("PHWA0", "PHWA1")
	d := sasircu.New(cut{h}, "sas3ircu")
	_, err := d.Inventory(t.Context(), address)
	assert.ErrorContains(t, err, "did not get to its end")
	_, err = sasircu.New(h, "sas3ircu").Inventory(t.Context(), "0000:01:00.0")
	assert.ErrorContains(t, err, "no controller at 0000:01:00.0")
	_, err = sasircu.New(broken{}, "sas3ircu").Probe(t.Context())
	assert.ErrorContains(t, err, "not found")
}

// cut loses the second half of each listing.
type cut struct{ *hba }

func (c cut) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	out, err := c.hba.Run(ctx, argv...)
	if strings.HasSuffix(strings.Join(argv, " "), "DISPLAY") {
		out.Stdout = out.Stdout[:len(out.Stdout)/2]
	}
	return out, err
}

type broken struct{}

func (broken) Run(context.Context, ...string) (*raid.Output, error) {
	return nil, errors.New("executable file not found in $PATH")
}

func TestOutputBecomesAnInventory(t *testing.T) {
	data, err := os.ReadFile(filepath.Join("testdata", "degraded.txt"))
	require.NoError(t, err)
	inv, err := sasircu.Parse(data)
	require.NoError(t, err)
	got, err := json.MarshalIndent(inv, "", "  ")
	require.NoError(t, err)
	name := filepath.Join("testdata", "degraded.json")
	if *update {
		require.NoError(t, os.WriteFile(name, append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))

	_, err = sasircu.Parse([]byte("SAS3IRCU: MPTLib2 Error 1\n"))
	assert.ErrorContains(t, err, "none of this")
}

func FuzzParse(f *testing.F) {
	data, err := os.ReadFile(filepath.Join("testdata", "degraded.txt"))
	require.NoError(f, err)
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := sasircu.Parse(data)
		if err != nil {
			return
		}
		if n := strings.Count(strings.ToLower(string(data)), "hard disk"); len(inv.Disks) > n {
			t.Fatalf("%d drives of %d", len(inv.Disks), n)
		}
		for _, d := range inv.Disks {
			if d.ID == "" || d.Bytes < 0 {
				t.Fatalf("drive %+v", d)
			}
		}
		for _, v := range inv.Volumes {
			if v.Bytes < 0 || v.Missing < 0 {
				t.Fatalf("volume %+v", v)
			}
		}
		_, err = json.Marshal(inv)
		require.NoError(t, err)
	})
}
