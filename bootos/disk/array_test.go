package disk

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyAnArrayThatCanBeWrittenToIsATarget(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "md"), 0o755))
	require.Contains(t, arrayUnfit(dir), "its state is unknown: open ")
	for _, c := range []struct{ level, state, reason string }{
		{"raid1", "clean", ""},
		{"raid1", "active", ""},
		{"raid1", "read-auto", ""}, // writable from the first write on
		{"raid0", "broken", "its state is broken"},
		{"raid1", "readonly", "its state is readonly"},
		{"raid1", "inactive", "its state is inactive"},
		{"raid1", "clear", "its state is clear"},
		{"container", "inactive", "the container of a firmware's RAID"},
		{"raid1", "", "its state is "},
	} {
		for name, text := range map[string]string{"level": c.level, "array_state": c.state} {
			require.NoError(t, os.WriteFile(filepath.Join(dir, "md", name), []byte(text+"\n"), 0o644))
		}
		if c.reason == "" {
			require.Empty(t, arrayUnfit(dir), c)
		} else {
			require.Contains(t, arrayUnfit(dir), c.reason, c)
		}
	}
}
