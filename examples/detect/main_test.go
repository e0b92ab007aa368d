package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
)

func TestExamplePrintsFactsThatCanBeReadBack(t *testing.T) {
	binary := filepath.Join(t.TempDir(), "detect")
	out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput()
	require.NoError(t, err, string(out))

	out, err = exec.Command(binary).Output()
	require.NoError(t, err)
	facts, err := hw.Decode(out)
	require.NoError(t, err)
	require.NotEmpty(t, facts.CPUs)

	out, err = exec.Command(binary, "-text").Output()
	require.NoError(t, err)
	require.Contains(t, string(out), "Memory")

	out, err = exec.Command(binary, "-root", "/nowhere").CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "/nowhere")
}

func TestExampleReadsACapturedTree(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(root, "proc"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, "proc/meminfo"), []byte("MemTotal: 1024 kB\n"), 0o644))
	var out bytes.Buffer
	require.NoError(t, detect(context.Background(), &out, root, false))
	facts, err := hw.Decode(out.Bytes())
	require.NoError(t, err)
	require.Equal(t, int64(1<<20), facts.Memory.UsableBytes)
}
