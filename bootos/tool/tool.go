// Package tool gets programs that a machine needs, and that bootOS does not have, from the site: makers' RAID tools, and
// RAID drivers from outside. They lie in memory until the machine leaves bootOS.
package tool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/loda/agentapi"
)

// Files is where files come from; *agentapi.Client is one.
type Files interface {
	// File writes the file with this SHA-256, and checks it.
	File(ctx context.Context, digest string, w io.Writer) error
}

// Fetcher gets each program once. It is used by one goroutine.
type Fetcher struct {
	Files Files
	// Dir is where programs are put, each in a directory of its own.
	Dir string
	// Say tells what goes on.
	Say func(text string)
	// Patience is how long a site that cannot give a file just now is asked again; 0: ten minutes.
	Patience time.Duration
	// Pause is the time before it is asked again; 0: two seconds.
	Pause time.Duration
}

const (
	defaultPatience = 10 * time.Minute
	defaultPause    = 2 * time.Second
)

// Get returns the path of a program, with its files beside it. The digests are the client's business.
func (f *Fetcher) Get(ctx context.Context, d agentapi.Download) (string, error) {
	if d.Name == "" || d.Name != filepath.Base(d.Name) || strings.HasPrefix(d.Name, ".") {
		return "", fmt.Errorf("fetch %q: that is no name of a file", d.Name)
	}
	dir := filepath.Join(f.Dir, fmt.Sprintf("%.16s", d.SHA256))
	program := filepath.Join(dir, d.Name)
	if _, err := os.Stat(program); err == nil {
		return program, nil // it was renamed when all was there
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(d.Files)) {
		if name == "" || name == d.Name || name != filepath.Base(name) || strings.HasPrefix(name, ".") {
			return "", fmt.Errorf("fetch %s: %q is no name of a file beside it", d.Name, name)
		}
		if err := f.fetch(ctx, d.Files[name], filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("fetch %s for %s: %w", name, d.Name, err)
		}
	}
	if err := f.fetch(ctx, d.SHA256, program); err != nil {
		return "", fmt.Errorf("fetch %s: %w", d.Name, err)
	}
	return program, nil
}

func (f *Fetcher) fetch(ctx context.Context, digest, path string) error {
	patience, pause := f.Patience, f.Pause
	if patience == 0 {
		patience = defaultPatience
	}
	if pause == 0 {
		pause = defaultPause
	}
	until := time.Now().Add(patience)
	for {
		start := time.Now()
		err := f.once(ctx, digest, path)
		if err == nil {
			if info, err := os.Stat(path); err == nil && f.Say != nil {
				f.Say(fmt.Sprintf("fetched %s from the site, %d bytes in %.1f s", filepath.Base(path), info.Size(), time.Since(start).Seconds()))
			}
			return nil
		}
		status, answered := errors.AsType[*agentapi.StatusError](err)
		if errors.Is(err, agentapi.ErrSessionLost) || answered && !status.Temporary() || answered && status.Status == 502 ||
			time.Now().After(until) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// once makes one attempt. A file has its name only when it is whole.
func (f *Fetcher) once(ctx context.Context, digest, path string) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".fetch-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	err = f.Files.File(ctx, digest, tmp)
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
