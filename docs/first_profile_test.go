package docs_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

// The tutorial is run as one script, by a person with an empty home.
func TestEveryCommandOfTheFirstProfileWorks(t *testing.T) {
	need.Command(t, "git", "make", "bash")
	script := "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n"
	for _, b := range blocks(read(t, "docs/first-profile.md")) {
		if b.lang == "sh" {
			script += b.text
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-x", "-c", script)
	checkout, err := filepath.Abs(root)
	require.NoError(t, err)
	cmd.Dir = checkout
	home := t.TempDir()
	cache, err := exec.Command("go", "env", "GOCACHE", "GOMODCACHE", "GOPATH").Output()
	require.NoError(t, err)
	dirs := strings.Fields(string(cache))
	cmd.Env = []string{"HOME=" + home, "PATH=" + os.Getenv("PATH"), "GOCACHE=" + dirs[0], "GOMODCACHE=" + dirs[1], "GOPATH=" + dirs[2],
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.org", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.org"}
	out, err := cmd.CombinedOutput()
	if log, logErr := os.ReadFile(filepath.Join(home, "lodad.log")); err != nil && logErr == nil {
		t.Logf("lodad.log:\n%s", log)
	}
	require.NoError(t, err, "%s", out)
	for _, said := range []string{
		"ABC1234: equals its model",
		"fine: 1 profiles",
		"profiles/r740.yaml:7:8: disk.medim: unknown key; did you mean medium?",
		"run step 1 of 1, note (/bin/sh",
		"ROOM=unknown",
		"os/debian-13",
		"1 machines imported",
	} {
		require.Contains(t, string(out), said)
	}
}
