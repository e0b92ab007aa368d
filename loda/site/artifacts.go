package site

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/depot"
)

// artifacts are the files that profiles boot, below the directory that the boot server serves. A digest is computed
// once for a file as it is: a kernel of 60 MB takes 0.2 s, and 200 machines ask at once.
type artifacts struct {
	dir Layout

	mu    sync.Mutex
	known map[string]digest
}

// digest of a file that has not changed since.
type digest struct {
	size     int64
	modified time.Time
	sha256   string
}

// CheckArtifact implements [loda.Artifacts].
func (a *artifacts) CheckArtifact(_ context.Context, want loda.Artifact) error {
	got, err := a.digest(want.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("it is not there; put it into %s", a.dir.Artifacts())
	}
	if err != nil {
		return err
	}
	if got != want.SHA256 {
		return fmt.Errorf("its sha256 is %s, the profile wants %s; put the right file into %s, or correct the profile", got,
			want.SHA256, a.dir.Artifacts())
	}
	return nil
}

func (a *artifacts) digest(name string) (string, error) {
	root, err := os.OpenRoot(a.dir.Artifacts())
	if err != nil {
		return "", err
	}
	defer root.Close()
	info, err := root.Stat(path.Clean(name))
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for somebody who writes to it
		return "", errors.New("it is not a regular file")
	}
	f, err := root.Open(path.Clean(name))
	if err != nil {
		return "", err
	}
	defer f.Close()
	// One at a time: those who wait find the answer.
	a.mu.Lock()
	defer a.mu.Unlock()
	if d, ok := a.known[name]; ok && d.size == info.Size() && d.modified.Equal(info.ModTime()) {
		return d.sha256, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	d := digest{info.Size(), info.ModTime(), hex.EncodeToString(h.Sum(nil))}
	const most = 1000
	if a.known == nil || len(a.known) >= most {
		a.known = map[string]digest{}
	}
	a.known[name] = d
	return d.sha256, nil
}

// observeFetch tells of a RAID tool or driver that the site has fetched. Why one could not be had is told where a machine
// asked for it.
func (s *Site) observeFetch(f depot.Fetch) {
	s.metrics.fetch(f)
	if f.Err == nil {
		s.log.Info("fetched a file for machines", "from", f.Source(), "bytes", f.Bytes, "sha256", f.SHA256, "duration", f.Duration)
	}
}
