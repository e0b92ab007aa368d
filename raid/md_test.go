package raid

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
)

// md is the kernel's RAID over four SSDs, of which two are a mirror of the name os.
func md(boot bool) *Inventory {
	inv := card(MD, drives(1, 4, hw.SSD, 480e9)...)
	inv.Controller.Capabilities = Capabilities{Levels: []LevelCapability{{Level0, 1, 0, 0}, {Level1, 2, 0, 0}},
		DedicatedSpares: true, BootVolume: true, Names: true}
	v := with(inv, "77d0a8e2", "os", Level1, 480e9, 1, 2)
	v.Boot, v.Policies, v.Current = &boot, Policies{}, Policies{}
	return inv
}

func TestAnArrayThatNoFirmwareStartsFromIsNotTheOneToStartFrom(t *testing.T) {
	keep := layoutOf(t, `{"controllers":[{"controller":"md",
		"volumes":[{"name":"os","level":"1","disks":{"count":2},"boot":true}]}]}`)
	require.True(t, planned(t, md(true), keep).Empty())
	_, err := NewPlan([]*Inventory{md(false)}, keep)
	require.ErrorContains(t, err, "no firmware starts from it")
	require.ErrorContains(t, err, "metadata 1.0")
	require.ErrorContains(t, err, "it is replaced only where unlisted is remove", "what to do")

	keep.Controllers[0].Unlisted = UnlistedRemove
	require.True(t, planned(t, md(true), keep).Empty())
	p := planned(t, md(false), keep)
	require.Len(t, p.Steps, 2)
	require.Equal(t, StepDeleteVolume, p.Steps[0].Kind)
	require.Contains(t, p.Steps[0].Reason, "no firmware starts from it")
	require.Contains(t, p.Needs(), AllowDestroy, "nobody loses an array without having been asked")
	require.True(t, p.Steps[1].Create.Boot)

	// One that could be started from, and is not to be, is fine.
	keep.Controllers[0].Volumes[0].Boot = false
	require.True(t, planned(t, md(true), keep).Empty())
}

func TestWhatMDCannotDoIsRefusedWithTheLayout(t *testing.T) {
	two := DiskChoice{Count: 2}
	for want, c := range map[string]ControllerLayout{
		"volumes[0].boot: no firmware starts from level 0 of md": {Volumes: []Volume{
			{Name: "os", Level: Level0, Disks: two, Boot: true}}},
		"volumes[0].initialize: level 0 of md has nothing": {Volumes: []Volume{
			{Name: "v", Level: Level0, Disks: two, Initialize: InitializeFull}}},
		"spares[0].for: a spare of md is for one volume, and 2": {Volumes: []Volume{
			{Name: "a", Level: Level1, Disks: two}, {Name: "b", Level: Level1, Disks: two}},
			Spares: []Spare{{Disks: DiskChoice{Count: 1}, For: []string{"a", "b"}}}},
	} {
		c.Controller.MD = true
		require.ErrorContains(t, (&Layout{Controllers: []ControllerLayout{c}}).Validate(), want)
		c.Controller.MD = false
		require.NoError(t, (&Layout{Controllers: []ControllerLayout{c}}).Validate(), "cards can")
	}
}

func TestAVolumeThatLeavesNoRoomIsNotTheOneThatTakesWhatIsLeft(t *testing.T) {
	for _, small := range []string{"100GB", "1GB"} {
		inv := card("0000:3b:00.0", drives(1, 1, hw.NVMe, 960e9)...)
		inv.Controller.Capabilities = Capabilities{Levels: []LevelCapability{{Level0, 1, 1, 0}}, PartialVolumes: true}
		with(inv, "1", "", Level0, 960e9, 1)
		l := one(t, `"unlisted":"remove","volumes":[{"name":"os","level":"0","disks":1,"size":"`+small+`"},
			{"name":"data","level":"0","disks":{"same_as":"os"}}]`)
		require.Equal(t, []string{"delete-volume  on 1", "create-volume os on 1", "create-volume data on 1"},
			words(planned(t, inv, l)))
		l.Controllers[0].Unlisted = UnlistedKeep
		_, err := NewPlan([]*Inventory{inv}, l)
		require.ErrorContains(t, err, "which the layout does not list and leaves")
	}
}

func TestAControllerWithoutLevelsDeletesNothing(t *testing.T) {
	inv := card("0000:3b:00.0", drives(1, 1, hw.NVMe, 960e9)...)
	inv.Controller.Capabilities = Capabilities{Levels: []LevelCapability{}}
	with(inv, "1", "", Level0, 960e9, 1)
	_, err := NewPlan([]*Inventory{inv}, one(t, `"unlisted":"remove"`))
	require.ErrorContains(t, err, "can neither make nor delete volumes")
	require.True(t, planned(t, inv, one(t, `"volumes":[{"name":"v","level":"0","disks":1}],"unlisted":"remove"`)).Empty(),
		"its namespace may well be what is wanted")
	_, err = NewPlan([]*Inventory{inv}, one(t, `"volumes":[{"name":"v","level":"0","disks":1,"size":"100GB"}]`))
	require.ErrorContains(t, err, "cannot be had")
}
