package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
)

func TestDisksOfACaptureAreAskedAboutTheirHealthOnlyIfThatIsWanted(t *testing.T) {
	tree, file := "../hw/testdata/qemu-health.tree", filepath.Join(t.TempDir(), "health.hw")
	status, _, errText := lodad(t.Context(), "hw", "capture", file, "--root", tree, "--health", "5s")
	require.Zero(t, status, errText)
	for _, root := range []string{tree, file} {
		for _, wanted := range []bool{false, true} {
			args := []string{"hw", "detect", "--root", root}
			if wanted {
				args = append(args, "--health", "5s")
			}
			status, out, errText := lodad(t.Context(), args...)
			require.Zero(t, status, errText)
			facts, err := hw.Decode([]byte(out))
			require.NoError(t, err)
			i := slices.IndexFunc(facts.Disks, func(d hw.Disk) bool { return d.Name == "nvme0n1" })
			require.Equal(t, wanted, facts.Disks[i].Health != nil, root)
			if wanted {
				require.True(t, *facts.Disks[i].Health.Passed)
			}
		}
	}
	status, _, errText = lodad(t.Context(), "hw", "detect", "--root", tree, "--health", "soon")
	require.Equal(t, 2, status)
	require.Contains(t, errText, "soon")
}

func TestCapturedServerIsDetectedElsewhere(t *testing.T) {
	tree := "../hw/testdata/uefi-box.tree"
	dir := t.TempDir()
	open, hidden := filepath.Join(dir, "open.hw"), filepath.Join(dir, "hidden.hw")

	status, out, errText := lodad(t.Context(), "hw", "capture", open, "--root", tree)
	require.Zero(t, status, errText)
	require.Contains(t, out, "hw detect --text --root "+open)
	_, want, _ := lodad(t.Context(), "hw", "detect", "--root", tree)
	_, got, _ := lodad(t.Context(), "hw", "detect", "--root", open)
	require.JSONEq(t, want, got)

	info, err := os.Stat(open)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "serial numbers are nobody else's business")

	status, _, errText = lodad(t.Context(), "hw", "capture", hidden, "--root", open, "--anonymise")
	require.Zero(t, status, errText)
	_, got, _ = lodad(t.Context(), "hw", "detect", "--root", hidden)
	before, err := hw.Decode([]byte(want))
	require.NoError(t, err)
	after, err := hw.Decode([]byte(got))
	require.NoError(t, err)
	require.NotEqual(t, before.System.Serial, after.System.Serial)
	require.Equal(t, before.System.Product, after.System.Product)
	require.Len(t, after.Disks, len(before.Disks))

	status, _, errText = lodad(t.Context(), "hw", "capture", open, "--root", tree)
	require.Equal(t, 1, status)
	require.Contains(t, errText, "is there already")
	status, _, errText = lodad(t.Context(), "hw", "detect", "--root", filepath.Join(dir, "nowhere"))
	require.Equal(t, 1, status)
	require.Contains(t, errText, "nowhere")
	status, _, _ = lodad(t.Context(), "hw", "capture")
	require.Equal(t, 2, status)
}
