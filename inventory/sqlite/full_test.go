//go:build linux

package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/sqlite"
	"github.com/project-loda/loda/scripts/need"
)

// inOwnMounts runs the calling test again in a mount namespace of its own, where it may mount what it likes and nothing
// is left behind, however it ends. It reports whether it is that run.
func inOwnMounts(t *testing.T) bool {
	t.Helper()
	need.Root(t)
	const marker = "LODA_TEST_OWN_MOUNTS"
	if os.Getenv(marker) == t.Name() {
		require.NoError(t, unix.Mount("", "/", "", unix.MS_PRIVATE|unix.MS_REC, ""))
		return true
	}
	child := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), marker+"="+t.Name())
	child.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS}
	out, err := child.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	return dir
}

// ballast takes up the disk's space from the start, to be freed later.
func ballast(t *testing.T, dir string, bytes int) string {
	t.Helper()
	path := filepath.Join(dir, fmt.Sprintf("ballast-%d", bytes))
	require.NoError(t, os.WriteFile(path, make([]byte, bytes), 0o600))
	return path
}

func TestAFullDiskRefusesWritesAndRecoversWithoutARestart(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	dir := smallDisk(t, "4m")
	reserve, more := ballast(t, dir, 2<<20), ballast(t, dir, 256<<10)
	s := openAt(t, filepath.Join(dir, "loda.db"))
	ctx := t.Context()
	create(t, s, "SN0001")
	require.NoError(t, s.CreateInstallation(ctx,
		inventory.Installation{ID: "i1", Serial: "SN0001", State: inventory.Queued}))
	require.NoError(t, s.SaveLease(ctx, benchLease(1)))

	// Several callers at once, so that groups run into the wall as well.
	long := strings.Repeat("x", 4000)
	var mu sync.Mutex
	stored := 0
	fill := func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 10_000 {
					err := s.AppendEvents(context.Background(), line("%s", long))
					if errors.Is(err, inventory.ErrFull) {
						return
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					stored++
					mu.Unlock()
				}
				t.Error("the disk was never full")
			})
		}
		wg.Wait()
	}
	count := func() int {
		f := inventory.EventFilter{Limit: 1000}
		n := 0
		for {
			events, err := s.Events(ctx, f)
			require.NoError(t, err)
			n += len(events)
			if len(events) < f.Limit {
				return n
			}
			f.After = events[len(events)-1].ID
		}
	}
	fill()
	require.Positive(t, stored)

	// Full: whatever is refused is refused as a whole and says so; reads go on.
	var full error
	for i := range 2000 { // a small write may still find a page
		if full = s.SaveLease(ctx, benchLease(100+i)); full != nil {
			break
		}
	}
	require.ErrorIs(t, full, inventory.ErrFull)
	require.ErrorContains(t, full, s.Path())
	before, err := s.Installation(ctx, "i1")
	require.NoError(t, err)
	plan := []byte(`"` + strings.Repeat("p", 64<<10) + `"`)
	_, err = s.UpdateInstallation(ctx, "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
		i.State, i.Plan = inventory.Installed, plan
		return []inventory.Event{line("installed")}, nil
	})
	require.ErrorIs(t, err, inventory.ErrFull)
	after, err := s.Installation(ctx, "i1")
	require.NoError(t, err)
	require.Equal(t, before, after)
	require.Equal(t, stored, count())
	require.ErrorIs(t, s.Backup(ctx, filepath.Join(dir, "backup.db")), inventory.ErrFull)
	_, err = os.Stat(filepath.Join(dir, "backup.db"))
	require.ErrorIs(t, err, os.ErrNotExist)

	// Space again: the same store goes on.
	require.NoError(t, os.Remove(reserve))
	require.NoError(t, s.SaveLease(ctx, benchLease(9999)))
	_, err = s.UpdateInstallation(ctx, "i1", func(i *inventory.Installation) ([]inventory.Event, error) {
		i.State, i.Plan = inventory.Installed, plan
		return []inventory.Event{line("installed")}, nil
	})
	require.NoError(t, err)
	require.NoError(t, s.Check(ctx))
	stored++
	require.Equal(t, stored, count())

	// And once more, to the brim, then through a restart.
	fill()
	require.Equal(t, stored, count())
	require.NoError(t, s.Close())
	require.NoError(t, os.Remove(more))
	s = openAt(t, filepath.Join(dir, "loda.db"))
	require.NoError(t, s.Check(ctx))
	require.Equal(t, stored, count())
}

func TestOpeningOnAFullDiskSaysSo(t *testing.T) {
	if !inOwnMounts(t) {
		return
	}
	dir := smallDisk(t, "256k")
	ballast(t, dir, 248<<10)
	_, err := sqlite.Open(t.Context(), filepath.Join(dir, "loda.db"))
	require.ErrorIs(t, err, inventory.ErrFull)
	require.ErrorContains(t, err, dir)
}
