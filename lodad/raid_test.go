package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
)

// smartArray is what ssacli printed of a controller with three volumes, one of them degraded.
const smartArray = "../raid/ssacli/testdata/gen10.txt"

// layoutFile writes a layout.
func layoutFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "layout.yaml")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	return file
}

func TestWhatARAIDToolPrintedBecomesOneNeutralInventory(t *testing.T) {
	status, out, errText := lodad(t.Context(), "raid", "parse", "ssacli", smartArray)
	require.Zero(t, status, errText)
	require.Contains(t, out, "controller 0000:5c:00.0: HPE Smart Array P408i-a SR Gen10, serial PEYTEST0CTRL01")
	require.Regexp(t, `1I:1:9 +unknown \(Humming Quietly\) +about 1.6 TB +nvme`, out, "a word that nobody knows is told as it is")
	require.Regexp(t, `2 +0000TEST-B +6 +partially-degraded +about 3.6 TB +4 +naa\.`, out)

	status, doc, errText := lodad(t.Context(), "raid", "parse", "SSACLI", smartArray, "-o", "json")
	require.Zero(t, status, errText)
	inventories := decoded[[]raid.Inventory](t, doc)
	require.Len(t, inventories, 1)
	require.Len(t, inventories[0].Disks, 10)

	dir := t.TempDir()
	text, err := os.ReadFile(smartArray)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "detail.txt"), text, 0o600))
	status, again, errText := lodad(t.Context(), "raid", "parse", "ssacli", dir, "-o", "json")
	require.Zero(t, status, errText)
	require.Equal(t, doc, again, "a directory stands for its files")
}

func TestARAIDLayoutIsTriedOutWithoutTheMachine(t *testing.T) {
	_, doc, _ := lodad(t.Context(), "raid", "parse", "ssacli", smartArray, "-o", "json")
	inventory := filepath.Join(t.TempDir(), "inventory.json")
	require.NoError(t, os.WriteFile(inventory, []byte(doc), 0o600))
	layout := layoutFile(t, "controllers:\n- volumes:\n  - {name: data, level: 6, disks: {count: 4, medium: hdd}}\n  unlisted: remove\n")
	status, out, errText := lodad(t.Context(), "raid", "plan", inventory, "--layout", layout)
	require.Zero(t, status, errText)
	require.Contains(t, out, "delete-volume on controller 0000:5c:00.0")
	require.Contains(t, out, "needs permission: degraded")
	require.Contains(t, out, "destroys volume 0000TEST-B (naa.600508b1001c00000000000000000002), level 6")
	status, out, _ = lodad(t.Context(), "raid", "plan", inventory, "--layout", layout, "-o", "json")
	require.Zero(t, status)
	require.NotEmpty(t, decoded[planDocument](t, out).Steps)

	status, _, errText = lodad(t.Context(), "raid", "plan", inventory, "--layout",
		layoutFile(t, "controllers:\n- volumes:\n  - {name: huge, level: 6, disks: {count: 20, medium: hdd}}\n"))
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, "huge")
}

func TestRAIDCommandsSayWhatTheyWant(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.txt")
	require.NoError(t, os.WriteFile(bad, []byte("lp0 on fire\n"), 0o600))
	for _, tc := range []struct {
		args   string
		status int
		says   string
	}{
		{"raid parse", exitUsage, "requires at least 2 arg"},
		{"raid parse raidctl " + smartArray, exitUsage, "there is no parser for \"raidctl\"; want arcconf, "},
		{"raid parse storcli " + smartArray, exitFailed, "storcli: "},
		{"raid parse ssacli /nowhere", exitFailed, "no such file"},
		{"raid parse ssacli " + t.TempDir(), exitFailed, "there is no file in"},
		{"raid show --tool storcli64=x", exitUsage, "want NAME=PATH, NAME is one of arcconf, "},
		{"raid show --plugin x=y", exitUsage, "want VENDOR:DEVICE=PATH"},
		{"raid apply", exitUsage, "--layout FILE is needed"},
		{"raid apply --allow everything --layout " + layoutFile(t, "controllers: [{rest: jbod}]\n"), exitFailed, "allow[0]"},
		{"raid plan " + smartArray, exitUsage, "--layout FILE is needed"},
		{"raid plan " + smartArray + " --layout " + layoutFile(t, "controllers: [{rest: jbod}]\n"), exitFailed, "want what `lodad raid parse -o json` prints"},
		{"raid plan " + smartArray + " --layout " + layoutFile(t, "controlers: []\n"), exitFailed, "unknown key; did you mean controllers?"},
	} {
		status, _, errText := lodad(t.Context(), strings.Fields(tc.args)...)
		require.Equal(t, tc.status, status, "%s: %s", tc.args, errText)
		require.Contains(t, errText, tc.says, tc.args)
	}
}
