package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid/drivers"

	"github.com/project-loda/loda/raid"
)

// printed are outputs of each tool, by the tool's name.
func printed(t *testing.T) map[string][][]byte {
	t.Helper()
	all := map[string][][]byte{}
	for tool, pattern := range map[string]string{
		"storcli": "storcli/testdata/generation7/c0_*.json", "perccli": "storcli/testdata/generation1/*.txt",
		"storcli2": "storcli/testdata/generation8/c0_*.json", "megacli": "megacli/testdata/*.txt",
		"ssacli": "ssacli/testdata/gen10.txt", "hpssacli": "ssacli/testdata/summary.txt",
		"arcconf": "arcconf/testdata/smartraid.txt", "mvcli": "mvcli/testdata/rebuild-sata.txt",
		"mnvcli": "mvcli/testdata/rebuild-nvme.txt", "sas2ircu": "sasircu/testdata/*.txt",
		"mdadm": "mdadm/testdata/rebuild.*[^n]", "nvme": "nvmens/testdata/*.txt",
	} {
		files, err := filepath.Glob(filepath.Join("..", "raid", pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, tool)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			all[tool] = append(all[tool], text)
		}
	}
	return all
}

func TestWhatPeopleDoToOutputsDoesNotChangeTheInventory(t *testing.T) {
	each := func(change func([]byte) []byte) func([][]byte) [][]byte {
		return func(outputs [][]byte) (changed [][]byte) {
			for _, o := range outputs {
				changed = append(changed, change(o))
			}
			return changed
		}
	}
	pasted := func(o []byte) []byte {
		return []byte("Last login: Tue Nov  3 10:11:12 2026 from 192.0.2.7\n[root@rack7 ~]# tool show all\n" + string(o) +
			"\n[root@rack7 ~]# \n")
	}
	ways := map[string]func([][]byte) [][]byte{
		"lines of Windows": each(func(o []byte) []byte { return bytes.ReplaceAll(o, []byte("\n"), []byte("\r\n")) }),
		"a byte order mark": each(func(o []byte) []byte {
			return append([]byte("\uFEFF"), o...)
		}),
		"UTF-16": each(func(o []byte) []byte {
			out := []byte{0xff, 0xfe}
			for _, u := range utf16.Encode([]rune(string(o))) {
				out = append(out, byte(u), byte(u>>8))
			}
			return out
		}),
		"colours": each(func(o []byte) []byte {
			return []byte("\x1b[0m" + strings.ReplaceAll(string(o), "\n", "\x1b[K\n\x1b[33m") + "\x1b[0m")
		}),
		"a prompt and a command line": each(pasted),
		"a mail": each(func(o []byte) []byte {
			return []byte("    " + strings.ReplaceAll(string(o), "\n", "\n    "))
		}),
		"all in one file": func(outputs [][]byte) [][]byte {
			return [][]byte{bytes.Join(outputs, []byte("\nroot@rack7:~# tool show more\n"))}
		},
	}
	for tool, outputs := range printed(t) {
		want, err := drivers.Parse(tool, outputs...)
		require.NoError(t, err, tool)
		require.NotEmpty(t, want, tool)
		for way, change := range ways {
			t.Run(tool+", "+way, func(t *testing.T) {
				got, err := drivers.Parse(tool, change(outputs)...)
				require.NoError(t, err)
				require.Equal(t, want, got)
			})
		}
	}
}

func TestOutputsOfAnotherToolAreNoInventory(t *testing.T) {
	families := map[string]string{"storcli": "storcli", "perccli": "storcli", "storcli2": "storcli", "megacli": "megacli",
		"ssacli": "ssacli", "hpssacli": "ssacli", "arcconf": "arcconf", "mvcli": "mvcli", "mnvcli": "mvcli",
		"sas2ircu": "sasircu", "mdadm": "mdadm", "nvme": "nvme"}
	outputs := printed(t)
	for tool, others := range outputs {
		for reader, family := range families {
			if family == families[tool] {
				continue
			}
			for i, o := range others {
				inventories, err := drivers.Parse(reader, o)
				assert.Error(t, err, "%s reads output %d of %s as %+v", reader, i, tool, inventories)
			}
		}
	}
	for reader := range families {
		for _, text := range []string{"", "\n \n", "lp0 on fire\n", "{}", `{"Controllers": [`,
			"bash: tool: command not found\n", "<html><body>404</body></html>", "\x7fELF\x02\x01\x01",
			`{"error":"no such thing"}`, "[]", "null"} {
			inventories, err := drivers.Parse(reader, []byte(text))
			assert.Error(t, err, "%s reads %q as %+v", reader, text, inventories)
		}
	}
}

func TestAHalfOfJSONIsNotReadAsAll(t *testing.T) {
	outputs := printed(t)
	for _, tool := range []string{"storcli", "storcli2", "nvme"} {
		whole := bytes.TrimSpace(outputs[tool][0])
		for _, n := range []int{len(whole) - 1, len(whole) / 2, len(whole) / 3} {
			_, err := drivers.Parse(tool, whole[:n])
			assert.ErrorContains(t, err, "JSON", "%s, %d of %d bytes", tool, n, len(whole))
		}
	}
}

func TestTheFileThatCannotBeReadIsNamed(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return path
	}
	for i, o := range printed(t)["storcli"] {
		write(string(rune('a'+i))+".json", string(o))
	}
	write("stderr.txt", "\n") // what printed nothing does no harm
	status, out, errText := lodad(t.Context(), "raid", "parse", "storcli", dir, "-o", "json")
	require.Zero(t, status, errText)
	require.Len(t, decoded[[]raid.Inventory](t, out), 1)

	write("dmesg.txt", "[    0.000000] Linux version 6.12\n")
	status, _, errText = lodad(t.Context(), "raid", "parse", "storcli", dir)
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, "dmesg.txt: ")
	require.Contains(t, errText, "the others can be read without it")

	status, _, errText = lodad(t.Context(), "raid", "parse", "storcli", filepath.Join(dir, "stderr.txt"))
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, "stderr.txt is empty")
}
