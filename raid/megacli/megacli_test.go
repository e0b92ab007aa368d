package megacli

import (
	"context"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

var update = flag.Bool("update", false, "write golden files anew")

func files(t testing.TB) map[string][]byte {
	names, err := filepath.Glob("testdata/a0_*")
	require.NoError(t, err)
	all := map[string][]byte{}
	for _, name := range names {
		out, err := os.ReadFile(name)
		require.NoError(t, err)
		all[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "a0_"), ".txt")] = out
	}
	require.Len(t, all, 9)
	return all
}

func TestAnAdapterIsReadAsTheSameInventoryForEver(t *testing.T) {
	var outputs [][]byte
	for _, out := range files(t) {
		outputs = append(outputs, out) // in no order
	}
	all, err := Parse(outputs...)
	require.NoError(t, err)
	require.Len(t, all, 1)
	got, err := json.MarshalIndent(all[0], "", "  ")
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile("testdata/inventory.json", append(got, '\n'), 0o644))
	}
	want, err := os.ReadFile("testdata/inventory.json")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got)+"\n")
}

func TestCapturesOfRealToolsSayWhatTheirManifestSays(t *testing.T) {
	dir := raidtest.Captures(t)
	read := func(t *testing.T, name string) *raid.Inventory {
		out, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		all, err := Parse(out)
		require.NoError(t, err)
		require.Len(t, all, 1)
		return all[0]
	}
	tests := map[string]func(t *testing.T, inv *raid.Inventory){
		"megacli/mox_2jbod_2ugood.txt": func(t *testing.T, inv *raid.Inventory) {
			require.Len(t, inv.Disks, 4)
			for i, want := range []raid.DiskState{{Is: raid.DiskJBOD, Raw: "JBOD"},
				{Is: raid.DiskReady, Raw: "Unconfigured(good), Spun Up"},
				{Is: raid.DiskReady, Raw: "Unconfigured(good), Spun Up"}, {Is: raid.DiskJBOD, Raw: "JBOD"}} {
				require.Equal(t, want, inv.Disks[i].State)
				require.Equal(t, int64(0x474700000*512), inv.Disks[i].Bytes)
				require.False(t, inv.Disks[i].Rounded)
			}
		},
		"megacli/mox_ldlist_3vol.txt": func(t *testing.T, inv *raid.Inventory) {
			require.Len(t, inv.Volumes, 3)
			for i, size := range []float64{222.585 * (1 << 30), 9.094 * (1 << 40), 222.585 * (1 << 30)} {
				require.InDelta(t, size, inv.Volumes[i].Bytes, 1<<20)
				require.Equal(t, raid.VolumeOptimal, inv.Volumes[i].State.Is)
			}
			require.Equal(t, raid.Level1, inv.Volumes[0].Level.Is)
			require.Equal(t, raid.Level0, inv.Volumes[1].Level.Is)
			// Primary-1 as volume 0, and over two spans: mirrors that are striped.
			require.Equal(t, raid.LevelState{Is: raid.Level10, Raw: "Primary-1, Secondary-0, RAID Level Qualifier-0"},
				inv.Volumes[2].Level)
			require.Equal(t, 2, inv.Volumes[2].Spans)
		},
	}
	manifest, err := os.ReadFile(filepath.Join(dir, "MANIFEST.tsv"))
	require.NoError(t, err)
	for _, line := range strings.Split(string(manifest), "\n") {
		if tool, rest, _ := strings.Cut(line, "\t"); tool == "megacli" {
			name, _, _ := strings.Cut(rest, "\t")
			require.Contains(t, tests, name, "a capture whose facts nobody states")
		}
	}
	for name, facts := range tests {
		t.Run(name, func(t *testing.T) { facts(t, read(t, name)) })
	}
}

// script answers questions from testdata, and commands that write as a test says.
type script struct {
	t       *testing.T
	answers map[string][]byte
	write   func(line string) string
	written []string
}

func (s *script) Run(_ context.Context, argv ...string) (*raid.Output, error) {
	require.Equal(s.t, "MegaCli64", argv[0])
	require.Equal(s.t, "-NoLog", argv[len(argv)-1])
	line := strings.Join(argv[1:len(argv)-1], " ")
	for question, name := range map[string]string{"-AdpGetPciInfo": "AdpGetPciInfo", "-AdpAllInfo": "AdpAllInfo",
		"-PDList": "PDList", "-LdPdInfo": "LdPdInfo", "-CfgForeign -Scan": "CfgForeign_Scan",
		"-GetPreservedCacheList": "GetPreservedCacheList", "-AdpBootDrive -Get": "AdpBootDrive_Get",
		"-AdpBbuCmd -GetBbuStatus": "AdpBbuCmd", "-PDRbld -ShowProg": "PDRbld"} {
		if strings.HasPrefix(line, question) {
			return &raid.Output{Stdout: s.answers[name]}, nil
		}
	}
	s.written = append(s.written, line)
	return &raid.Output{Stdout: []byte(s.write(line))}, nil
}

const done0 = "\nExit Code: 0x00\n"

func open(t *testing.T) (*script, *Driver, *raid.Inventory) {
	s := &script{t: t, answers: files(t), write: func(string) string { return done0 }}
	d := New(s, "MegaCli64")
	controllers, err := d.Probe(t.Context())
	require.NoError(t, err)
	require.Equal(t, raid.ControllerID("0000:1a:00.0"), controllers[0].ID)
	inv, err := d.Inventory(t.Context(), controllers[0].ID)
	require.NoError(t, err)
	return s, d, inv
}

func refs(inv *raid.Inventory, ids ...raid.DiskID) []raid.DiskRef {
	var all []raid.DiskRef
	for _, id := range ids {
		for _, d := range inv.Disks {
			if d.ID == id {
				all = append(all, raid.DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()})
			}
		}
	}
	return all
}

func TestEachStepIsSaidInTheToolsGrammar(t *testing.T) {
	s, d, inv := open(t)
	os := &raid.VolumeRef{ID: "0", Members: []raid.DiskIdentity{inv.Disks[1].Identity(), inv.Disks[2].Identity()}}
	for _, c := range []struct {
		step raid.Step
		want []string
	}{
		{raid.Step{Kind: raid.StepDiscardCache}, []string{"-DiscardPreservedCache -L6 -force -a0"}},
		{raid.Step{Kind: raid.StepClearForeign}, []string{"-CfgForeign -Clear -a0"}},
		{raid.Step{Kind: raid.StepImportForeign}, []string{"-CfgForeign -Import -a0"}},
		{raid.Step{Kind: raid.StepDeleteVolume, Volume: os}, []string{"-CfgLdDel -L0 -Force -a0"}},
		{raid.Step{Kind: raid.StepBoot, Volume: &raid.VolumeRef{Name: "data"}}, []string{"-AdpBootDrive -Set -L1 -a0"}},
		{raid.Step{Kind: raid.StepInitialize, Volume: os, Initialize: raid.InitializeFull},
			[]string{"-LDInit -Start -full -L0 -a0"}},
		{raid.Step{Kind: raid.StepPolicies, Volume: os, Policies: raid.Policies{Write: raid.WriteBack, Read: raid.ReadNone,
			IO: raid.IODirect, DiskCache: raid.DiskCacheEnable}}, []string{"-LDSetProp WB -L0 -a0", "-LDSetProp NORA -L0 -a0",
			"-LDSetProp Direct -L0 -a0", "-LDSetProp NoCachedBadBBU -L0 -a0", "-LDSetProp EnDskCache -L0 -a0"}},
		{raid.Step{Kind: raid.StepRemoveSpare, Disks: refs(inv, "32:5")}, []string{"-PDHSP -Rmv -PhysDrv[32:5] -a0"}},
		{raid.Step{Kind: raid.StepAddSpare, Disks: refs(inv, ":7")}, []string{"-PDHSP -Set -PhysDrv[:7] -a0"}},
		{raid.Step{Kind: raid.StepAddSpare, Disks: refs(inv, ":7"), SpareFor: []raid.VolumeRef{{ID: "1"}}},
			[]string{"-PDHSP -Set -Dedicated -Array1 -PhysDrv[:7] -a0"}},
		{raid.Step{Kind: raid.StepReady, Disks: refs(inv, "32:8", "32:9", ":7")},
			[]string{"-PDMakeGood -PhysDrv[32:8] -Force -a0", "-PDMakeGood -PhysDrv[32:9] -Force -a0"}},
		{raid.Step{Kind: raid.StepJBOD, Disks: refs(inv, ":7")}, []string{"-PDMakeJBOD -PhysDrv[:7] -a0"}},
		{raid.Step{Kind: raid.StepCreateVolume, Disks: refs(inv, ":7", "32:8"), Create: &raid.NewVolume{Name: "new",
			Level: raid.Level1, Bytes: 10 << 30, Strip: 64 << 10, Policies: raid.Policies{Write: raid.WriteAlwaysBack,
				Read: raid.ReadAdaptive}, Initialize: raid.InitializeFast}},
			[]string{"-CfgLdAdd -r1[:7,32:8] WB ADRA CachedBadBBU -sz10240 -strpsz64 -a0", "-LDSetProp -Name new -LNEW -a0",
				"-LDInit -Start -LNEW -a0"}},
		{raid.Step{Kind: raid.StepCreateVolume, Disks: refs(inv, ":7", "32:8", "32:5", "32:6"), Create: &raid.NewVolume{
			Level: raid.Level10}}, []string{"-CfgSpanAdd -r10 -Array0[:7,32:8] -Array1[32:5,32:6] -a0"}},
	} {
		lines, err := d.Commands(inv, c.step)
		require.NoError(t, err, c.want)
		var got []string
		for _, l := range lines {
			got = append(got, strings.Join(l[1:len(l)-1], " "))
		}
		require.Equal(t, c.want, got)
	}
	require.Empty(t, s.written, "a dry run writes nothing")
	for _, bad := range []raid.Step{{Kind: raid.StepMode, Mode: raid.ModeHBA}, {Kind: raid.StepDeleteVolume},
		{Kind: raid.StepCreateVolume, Disks: refs(inv, ":7"), Create: &raid.NewVolume{Level: raid.Level0, Name: "-a1"}}} {
		_, err := d.Commands(inv, bad)
		require.Error(t, err)
	}
}

func TestAVolumeOnOtherDrivesIsNotTheOneThatWasMeant(t *testing.T) {
	s, d, inv := open(t)
	err := d.Exec(t.Context(), inv, raid.Step{Kind: raid.StepDeleteVolume, Volume: &raid.VolumeRef{ID: "0",
		Members: []raid.DiskIdentity{{Serial: "A"}, {Serial: "B"}}}}, nil)
	require.ErrorContains(t, err, "is not there")
	require.Empty(t, s.written)
}

func TestTheLastLineDecidesAndThenWhatIsThere(t *testing.T) {
	s, d, inv := open(t)
	step := raid.Step{Kind: raid.StepReady, Disks: refs(inv, "32:8")}
	s.write = func(string) string {
		return "\nAdapter: 0: Failed to change PD state at EnclId-32 SlotId-8.\n\nFW error description: \n  The requested " +
			"operation is in progress.  \n\nExit Code: 0x32\n"
	}
	require.ErrorContains(t, d.Exec(t.Context(), inv, step, nil), "in progress. (0x32)")
	// The answer is lost, and yet it was done.
	s.write = func(string) string {
		list := strings.ReplaceAll(string(s.answers["PDList"]), "Unconfigured(bad)", "Unconfigured(good)")
		s.answers["PDList"] = []byte(list)
		return ""
	}
	require.NoError(t, d.Exec(t.Context(), inv, step, nil))
	require.Len(t, s.written, 2, "nothing is said twice")
}

func FuzzParse(f *testing.F) {
	for _, out := range files(f) {
		f.Add(out)
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		all, err := Parse(out)
		if err != nil {
			return
		}
		for _, inv := range all {
			for _, d := range inv.Disks {
				_, slot, _ := strings.Cut(string(d.ID), ":")
				require.Contains(t, string(out), slot)
				require.GreaterOrEqual(t, d.Bytes, int64(0))
			}
			_, err := json.Marshal(inv)
			require.NoError(t, err)
		}
	})
}
