//go:build linux

package hw

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// plant makes a captured tree of a .tree file: lines of `dir PATH`, `link PATH TARGET` and `file PATH "CONTENT"`. It is
// one file, because a Go module cannot hold names with colons, as those of /sys have.
func plant(t testing.TB, file string) string {
	t.Helper()
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	root := t.TempDir()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		kind, rest, _ := strings.Cut(line, " ")
		name, value, _ := strings.Cut(rest, " ")
		require.NoError(t, sprout(root, kind, name, value), "%s:%d: %s", file, n, line)
	}
	require.NoError(t, lines.Err())
	return root
}

func sprout(root, kind, name, value string) error {
	target := filepath.Join(root, name)
	if !filepath.IsLocal(name) {
		return fmt.Errorf("%s leads out of the tree", name)
	}
	if kind != "dir" {
		// A link may stand above this file: then the file belongs where it leads, as it was captured through it.
		if err := growParents(root, filepath.Dir(target)); err != nil {
			return err
		}
	}
	switch kind {
	case "dir":
		return os.MkdirAll(target, 0o755)
	case "link":
		// What it leads to may not be captured.
		if to := filepath.Join(filepath.Dir(target), value); strings.HasPrefix(to, root) {
			if _, err := os.Stat(to); err != nil {
				_ = os.MkdirAll(filepath.Dir(to), 0o755)
			}
		}
		return os.Symlink(value, target)
	case "file":
		content, err := strconv.Unquote(value)
		if err != nil {
			return err
		}
		return os.WriteFile(target, []byte(content), 0o644)
	}
	return fmt.Errorf("unknown kind %q", kind)
}

// growParents is MkdirAll that follows links to directories that are not there yet.
func growParents(root, dir string) error {
	if dir == root {
		return nil
	}
	if err := growParents(root, filepath.Dir(dir)); err != nil {
		return err
	}
	if to, err := os.Readlink(dir); err == nil {
		if _, err := os.Stat(dir); err == nil {
			return nil
		}
		return os.MkdirAll(filepath.Join(filepath.Dir(dir), to), 0o755)
	}
	return os.MkdirAll(dir, 0o755)
}

// write puts one more file into a tree.
func write(t testing.TB, root, name string, content []byte) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(root, name), content, 0o644))
}
