package mvcli_test

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
	"github.com/project-loda/loda/raid/mvcli"
)

const address raid.ControllerID = "0000:01:00.0"

var update = flag.Bool("update", false, "write the golden files anew")

func driver(c *card) *mvcli.Driver {
	if c.nvme {
		return mvcli.New(c, "/opt/marvell/mnv_cli", address)
	}
	return mvcli.New(c, "mvcli", address)
}

func inventory(t *testing.T, d *mvcli.Driver) *raid.Inventory {
	t.Helper()
	inv, err := d.Inventory(t.Context(), address)
	require.NoError(t, err)
	return inv
}

func create(inv *raid.Inventory, n raid.NewVolume) raid.Step {
	s := raid.Step{Kind: raid.StepCreateVolume, Controller: address, Create: &n}
	for _, d := range inv.Disks {
		s.Disks = append(s.Disks, raid.DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()})
	}
	return s
}

func remove(inv *raid.Inventory) raid.Step {
	v := inv.Volumes[0]
	ref := &raid.VolumeRef{ID: v.ID, Name: v.Name}
	for _, d := range inv.Disks {
		ref.Members = append(ref.Members, d.Identity())
	}
	return raid.Step{Kind: raid.StepDeleteVolume, Controller: address, Volume: ref}
}

func TestMirrorIsMadeAndRemoved(t *testing.T) {
	for _, nvme := range []bool{false, true} {
		c := newCard(nvme)
		d := driver(c)
		controllers, err := d.Probe(t.Context())
		require.NoError(t, err)
		require.Len(t, controllers, 1)
		assert.Equal(t, address, controllers[0].ID)
		assert.Equal(t, "Dell", controllers[0].Vendor)

		inv := inventory(t, d)
		require.Len(t, inv.Disks, 2)
		assert.Equal(t, raid.DiskReady, inv.Disks[0].State.Is)
		assert.Empty(t, inv.Volumes)
		require.NoError(t, d.Exec(t.Context(), inv, create(inv, raid.NewVolume{Name: "os", Level: raid.Level1}), nil))

		inv = inventory(t, d)
		require.Len(t, inv.Volumes, 1)
		v := inv.Volumes[0]
		assert.Equal(t, "os", v.Name)
		assert.Equal(t, raid.Level1, v.Level.Is)
		assert.Equal(t, raid.VolumeOptimal, v.State.Is)
		assert.Equal(t, []raid.DiskID{"0", "1"}, v.Members)
		assert.Equal(t, raid.DiskOnline, inv.Disks[1].State.Is)
		assert.Equal(t, []raid.VolumeID{"0"}, inv.Disks[1].Volumes)

		require.NoError(t, d.Exec(t.Context(), inv, remove(inv), nil))
		assert.Empty(t, inventory(t, d).Volumes)
		if nvme {
			assert.Equal(t, []string{"create -r1 -d 0,1 -n os", "delete -o vd -i 0 --waiveconfirmation"}, c.log)
		} else {
			assert.Equal(t, []string{"create -o vd -r1 -d 0,1 -n os --waiveconfirmation",
				"delete -o vd -i 0 -f --waiveconfirmation"}, c.log)
		}
	}
}

func TestOptionsOfAVolumeAreTold(t *testing.T) {
	c := newCard(false)
	d := driver(c)
	inv := inventory(t, d)
	require.NoError(t, d.Exec(t.Context(), inv, create(inv, raid.NewVolume{Name: "scratch", Level: raid.Level0,
		Strip: 32 << 10, Initialize: raid.InitializeFast}), nil))
	assert.Equal(t, []string{"create -o vd -r0 -d 0,1 -n scratch -b 32 -i quick --waiveconfirmation"}, c.log)
}

func TestWhatTheCardCannotDoIsRefusedBeforeAnythingRuns(t *testing.T) {
	c := newCard(false)
	d := driver(c)
	inv := inventory(t, d)
	one := create(inv, raid.NewVolume{Name: "os", Level: raid.Level1})
	one.Disks = one.Disks[:1]
	gone := create(inv, raid.NewVolume{Name: "os", Level: raid.Level1})
	gone.Disks[1].ID = "7"
	for want, s := range map[string]raid.Step{
		"no level 5":            create(inv, raid.NewVolume{Name: "os", Level: raid.Level5}),
		"level 1 of 1 drives":   one,
		"drive 7 is not there":  gone,
		"drives whole":          create(inv, raid.NewVolume{Name: "os", Level: raid.Level1, Bytes: 1}),
		"no policies":           create(inv, raid.NewVolume{Name: "os", Level: raid.Level1, Policies: raid.Policies{Read: "ahead"}}),
		"no strip of 128KiB":    create(inv, raid.NewVolume{Name: "os", Level: raid.Level1, Strip: 128 << 10}),
		"at most 10":            create(inv, raid.NewVolume{Name: "verylongname", Level: raid.Level1}),
		"-f\"":                  create(inv, raid.NewVolume{Name: "-f", Level: raid.Level1}),
		"no initialization":     create(inv, raid.NewVolume{Name: "os", Level: raid.Level1, Initialize: raid.InitializeFull}),
		"nothing that the tool": {Kind: raid.StepMode, Controller: address},
		"is no card":            {Kind: raid.StepDeleteVolume, Controller: "0000:02:00.0"},
		"no volume is named":    {Kind: raid.StepDeleteVolume, Controller: address},
	} {
		_, err := d.Commands(inv, s)
		assert.ErrorContains(t, err, want)
	}
	assert.Empty(t, c.log)
}

func TestSilenceIsNoProof(t *testing.T) {
	c := newCard(false)
	d := driver(c)
	c.lie = func(*card) (bool, error) { return true, nil }
	inv := inventory(t, d)
	err := d.Exec(t.Context(), inv, create(inv, raid.NewVolume{Name: "os", Level: raid.Level1}), nil)
	assert.ErrorContains(t, err, "volume os is not there")
	assert.ErrorContains(t, err, "SG driver version", "the tool's own words")

	c.volume = &volume{name: "old", level: "1", strip: "64"}
	inv = inventory(t, d)
	assert.ErrorContains(t, d.Exec(t.Context(), inv, remove(inv), nil), "still there")
}

func TestToolThatHangsAfterTheDeedIsNoFailure(t *testing.T) {
	c := newCard(false)
	d := driver(c)
	c.lie = func(c *card) (bool, error) {
		c.volume = &volume{name: "os", level: "1", strip: "64"}
		return true, context.DeadlineExceeded
	}
	inv := inventory(t, d)
	require.NoError(t, d.Exec(t.Context(), inv, create(inv, raid.NewVolume{Name: "os", Level: raid.Level1}), nil))
	assert.Len(t, c.log, 1)
}

func TestListThatTheDrivesContradictIsNoEmptyCard(t *testing.T) {
	for _, nvme := range []bool{false, true} {
		c := newCard(nvme)
		c.volume = &volume{name: "os", level: "1", strip: "64"}
		c.blind = true
		_, err := driver(c).Inventory(t.Context(), address)
		assert.ErrorContains(t, err, "the tool does not list")
	}
	c := newCard(false)
	c.serials = nil
	inv, err := driver(c).Inventory(t.Context(), address)
	require.NoError(t, err, "it says that there are none")
	assert.Empty(t, inv.Disks)
}

func TestVolumeWhoseNumberWasGivenAgainIsNotDeleted(t *testing.T) {
	c := newCard(false)
	c.volume = &volume{name: "os", level: "1", strip: "64"}
	d := driver(c)
	s := remove(inventory(t, d))
	c.serials[1] = "2D69B1FB"
	assert.ErrorContains(t, d.Exec(t.Context(), nil, s, nil), "other drives")
	again := create(inventory(t, d), raid.NewVolume{Name: "os", Level: raid.Level1})
	c.serials[0], c.volume = "0000", nil
	assert.ErrorContains(t, d.Exec(t.Context(), nil, again, nil), "another one than planned")
	assert.Empty(t, c.log)
}

func TestMachineWithoutSuchACardNeedsNoTool(t *testing.T) {
	controllers, err := mvcli.New(broken{}, "mvcli").Probe(t.Context())
	require.NoError(t, err)
	assert.Empty(t, controllers)
	_, err = mvcli.New(broken{}, "mvcli", address).Probe(t.Context())
	assert.ErrorContains(t, err, "not found")
}

type broken struct{}

func (broken) Run(context.Context, ...string) (*raid.Output, error) {
	return nil, errors.New("executable file not found in $PATH")
}

func TestOutputsBecomeAnInventory(t *testing.T) {
	for _, golden := range []string{"rebuild-sata", "rebuild-nvme"} {
		data, err := os.ReadFile(filepath.Join("testdata", golden+".txt"))
		require.NoError(t, err)
		inv, err := mvcli.Parse(data)
		require.NoError(t, err)
		got, err := json.MarshalIndent(inv, "", "  ")
		require.NoError(t, err)
		name := filepath.Join("testdata", golden+".json")
		if *update {
			require.NoError(t, os.WriteFile(name, append(got, '\n'), 0o644))
		}
		want, err := os.ReadFile(name)
		require.NoError(t, err)
		assert.JSONEq(t, string(want), string(got))
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(f, err)
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := mvcli.Parse(data)
		if err != nil {
			return
		}
		text := strings.ToValidUTF8(string(data), "?")
		for _, d := range inv.Disks {
			if d.ID == "" || !strings.Contains(text, string(d.ID)) || d.Bytes < 0 {
				t.Fatalf("drive %+v is nowhere in the input", d)
			}
		}
		if n := strings.Count(strings.ToLower(text), "pd id"); len(inv.Disks) > n {
			t.Fatalf("%d drives of %d", len(inv.Disks), n)
		}
		for _, v := range inv.Volumes {
			if v.Bytes < 0 || v.Strip < 0 || v.Missing < 0 {
				t.Fatalf("volume %+v", v)
			}
		}
		_, err = json.Marshal(inv)
		require.NoError(t, err)
	})
}
