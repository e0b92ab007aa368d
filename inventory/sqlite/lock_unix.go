//go:build linux || darwin

package sqlite

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lock keeps other processes from changing the schema of the same database meanwhile: goose reads the version before
// its transaction, so two of them would both apply the next migration. It locks the directory, which leaves no file
// behind, and not the database, whose locks are SQLite's own.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return func() { dir.Close() }, nil
		case errors.Is(err, unix.EINTR):
		case !errors.Is(err, unix.EWOULDBLOCK):
			dir.Close()
			return nil, &os.PathError{Op: "flock", Path: dir.Name(), Err: err}
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			dir.Close()
			return nil, ctx.Err()
		}
	}
}
