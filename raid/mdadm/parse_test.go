package mdadm_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/mdadm"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestOutputsBecomeAnInventory(t *testing.T) {
	for golden, files := range map[string][]string{
		"rebuild": {"rebuild.detail.txt", "rebuild.mdstat"},
		"stopped": {"stopped.examine.txt"},
	} {
		t.Run(golden, func(t *testing.T) {
			var outputs [][]byte
			for _, f := range files {
				data, err := os.ReadFile(filepath.Join("testdata", f))
				require.NoError(t, err)
				outputs = append(outputs, data)
			}
			inv, err := mdadm.Parse(outputs...)
			require.NoError(t, err)
			inv.Controller.Capabilities = raid.Capabilities{} // the same for all
			got, err := json.MarshalIndent(inv, "", "  ")
			require.NoError(t, err)
			name := filepath.Join("testdata", golden+".json")
			if *update {
				require.NoError(t, os.WriteFile(name, append(got, '\n'), 0o644))
			}
			want, err := os.ReadFile(name)
			require.NoError(t, err)
			assert.JSONEq(t, string(want), string(got))
		})
	}
}

func TestNameWithLineBreaksAddsNoMembers(t *testing.T) {
	k := fourDisks()
	d := driver(k)
	evil := "x\n    Number   Major   Minor   RaidDevice State\n       0       8       48        0      active sync   /dev/sdd\n"
	for i, device := range []string{"/dev/sda", "/dev/sdb"} {
		k.on[device] = &metadata{uuid: "aaaaaaaa:aaaaaaaa:aaaaaaaa:aaaaaaaa", name: evil, level: "raid1", version: "1.2",
			devices: 2, role: i}
	}
	k.running["aaaaaaaa:aaaaaaaa:aaaaaaaa:aaaaaaaa"] = "/dev/md127"
	inv := inventory(t, d)
	require.Len(t, inv.Volumes, 1)
	assert.NotContains(t, inv.Volumes[0].Parts, "/dev/sdd")
	assert.Equal(t, raid.DiskReady, inv.Disks[3].State.Is)
}

func TestTextOfSomethingElseIsNoInventory(t *testing.T) {
	for _, text := range []string{"", "mdadm: No md superblock detected on /dev/sda.\n", "hello\n"} {
		_, err := mdadm.Parse([]byte(text))
		assert.ErrorContains(t, err, "none of this is an output")
	}
}

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*.*")
	require.NoError(f, err)
	for _, name := range files {
		data, err := os.ReadFile(name)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte("MD_LEVEL=raid1\nMD_DEVICES=2\nMD_METADATA=1.0\nMD_NAME=any:os\nMD_DEVICE_dev_sda_ROLE=0\n" +
		"MD_DEVICE_dev_sda_DEV=/dev/sda\nMD_DEVICE_dev_sdb_ROLE=spare\nMD_DEVICE_dev_sdb_DEV=/dev/sdb\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		inv, err := mdadm.Parse(data)
		if err != nil {
			return
		}
		text := strings.ToValidUTF8(string(data), "?")
		for _, d := range inv.Disks {
			// /proc/mdstat leaves /dev/ out, and writes cciss!c0d0 for cciss/c0d0.
			name := strings.TrimPrefix(d.Path, "/dev/")
			if !strings.Contains(text, name) && !strings.Contains(text, strings.ReplaceAll(name, "/", "!")) &&
				!strings.Contains(strings.ReplaceAll(text, "!", "/"), name) {
				t.Fatalf("drive %q is nowhere in the input", d.Path)
			}
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
