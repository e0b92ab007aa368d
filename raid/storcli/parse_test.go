package storcli

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
)

var update = flag.Bool("update", false, "write golden files anew")

// files are all outputs of one machine in testdata.
func files(t testing.TB, dir string) [][]byte {
	names, err := filepath.Glob(filepath.Join("testdata", dir, "c*"))
	require.NoError(t, err)
	require.NotEmpty(t, names)
	var all [][]byte
	for _, name := range names {
		out, err := os.ReadFile(name)
		require.NoError(t, err)
		all = append(all, out)
	}
	return all
}

func TestAMachineIsReadAsTheSameInventoryForEver(t *testing.T) {
	for _, dir := range []string{"generation1", "generation7", "generation8"} {
		t.Run(dir, func(t *testing.T) {
			all, err := Parse(files(t, dir)...)
			require.NoError(t, err)
			require.Len(t, all, 1)
			got, err := json.MarshalIndent(all[0], "", "  ")
			require.NoError(t, err)
			golden := filepath.Join("testdata", dir, "inventory.json")
			if *update {
				require.NoError(t, os.WriteFile(golden, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got)+"\n")
		})
	}
}

func TestTheOrderOfOutputsChangesNothing(t *testing.T) {
	outputs := files(t, "generation7")
	want, err := Parse(outputs...)
	require.NoError(t, err)
	for range outputs {
		outputs = append(outputs[1:], outputs[0])
		got, err := Parse(outputs...)
		require.NoError(t, err)
		for _, inv := range append(got, want...) {
			// Warnings are in the order in which they were met.
			inv.Warnings = nil
		}
		require.Equal(t, want, got)
	}
}

func TestJSONThatIsNoneIsReadAllTheSame(t *testing.T) {
	all, err := Parse([]byte("Warning: the log cannot be written\n{\"Controllers\":[{\"Command Status\":" +
		"{\"Controller\":\"0\",\n\"Status\":\"Success\"}," +
		"\"Response Data\":{\"PD LIST\":[{\"EID:Slt\":\"8:1\",\"State\":\"UGood\",\"DG\":\"-\"," +
		"\"Size\":\"1.0 TB\",\"Model\":\"A\x01B\\q\"}]}}]}"))
	require.NoError(t, err)
	require.Equal(t, `A B\q`, all[0].Disks[0].Model)
}

func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	for _, out := range []string{"", "bash: storcli64: command not found", `{"Controllers":[`,
		"syntax error, unexpected TOKEN_UNKNOWN, expecting $end"} {
		_, err := Parse([]byte(out))
		require.Error(t, err, out)
	}
}

func TestTablesThatAnEditorHasSqueezedAreReadByTheirWords(t *testing.T) {
	all, err := Parse([]byte(`CLI Version = 007.3205.0000.0000 Oct 09, 2024
Operating system = Linux 6.1
Controller = 0
Status = Success
Description = Show Drive Information Succeeded.


Drive Information :
=================

-----------------------------------------------------------------------------------
EID:Slt DID State DG Size Intf Med SED PI SeSz Model Sp Type
-----------------------------------------------------------------------------------
8:0 10 JBOD - 10.914 TB SATA HDD N N 512B LAB MG07 X U -
9:10 36 Onln 0 931.000 GB SATA HDD N N 512B LAB U -
-----------------------------------------------------------------------------------
`))
	require.NoError(t, err)
	require.Len(t, all[0].Disks, 2)
	require.Equal(t, "LAB MG07 X", all[0].Disks[0].Model)
	require.Equal(t, raid.DiskJBOD, all[0].Disks[0].State.Is)
	require.Equal(t, raid.DiskID("9:10"), all[0].Disks[1].ID)
	require.Equal(t, "LAB", all[0].Disks[1].Model)
}

func TestSizesAreTakenFromSectorsWhicheverSectorsTheReleaseCounts(t *testing.T) {
	for _, c := range []struct {
		blocks  int64
		printed string
		sector  int
		bytes   int64
	}{
		{0x2baa0f4af, "5.458 TB", 512, 0x2baa0f4af * 512},
		{0x48c300000, "9.094 TiB", 512, 0x48c300000 * 512},
		{0x57541e96, "5.458 TB", 4096, 0x57541e96 * 4096}, // counts the drive's own
		{0x2baa0f4b0, "5.458 TB", 4096, 0x2baa0f4b0 * 512},
		{0x2baa0f4b0, "6.001 TB", 512, 0x2baa0f4b0 * 512}, // a build with decimal units
	} {
		bytes, _, ok := measure(c.blocks, c.printed, c.sector)
		require.True(t, ok, c)
		require.Equal(t, c.bytes, bytes, c)
	}
	_, _, ok := measure(0x2baa0f4af, "1.0 GB", 512)
	require.False(t, ok, "a count that does not fit the printed size is not to be trusted")
}

func TestOneDriveThatFailsDoesNotHideTheOthers(t *testing.T) {
	all, err := Parse(files(t, "generation7")...)
	require.NoError(t, err)
	require.Len(t, all[0].Disks, 11)
	require.Contains(t, strings.Join(all[0].Warnings, "\n"), "/c0/e252/s11: Drive not found (255)")
	for _, d := range all[0].Disks {
		require.NotEmpty(t, d.Serial)
	}
}

func FuzzParse(f *testing.F) {
	for _, dir := range []string{"generation1", "generation7", "generation8"} {
		for _, out := range files(f, dir) {
			f.Add(out)
		}
	}
	f.Fuzz(func(t *testing.T, out []byte) {
		all, err := Parse(out)
		if err != nil {
			return
		}
		for _, inv := range all {
			require.NotNil(t, inv.Disks)
			seen := map[raid.DiskID]bool{}
			for _, d := range inv.Disks {
				require.False(t, seen[d.ID])
				seen[d.ID] = true
				require.GreaterOrEqual(t, d.Bytes, int64(0))
				// No drive is made up: its slot stands in the input, as `252:4` or as a path.
				_, slot, ok := strings.Cut(string(d.ID), ":")
				require.True(t, ok)
				require.Contains(t, string(out), slot)
			}
			for _, v := range inv.Volumes {
				for _, m := range v.Members {
					require.True(t, seen[m], "volume %s has a member that is no drive", v.ID)
				}
			}
			_, err := json.Marshal(inv)
			require.NoError(t, err)
		}
	})
}
