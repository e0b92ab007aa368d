// Package tool gets programs that a machine needs, and that bootOS does not have, from the site: makers' RAID tools, and
// RAID drivers from outside. They lie in memory until the machine leaves bootOS. One that is linked dynamically brings its
// C library along.
package tool

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
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
	// Root is the root of the file system that programs are started in; empty: /.
	Root string
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

// Get returns the path of a program, with its files beside it, that can be started: see [Fetcher.Libraries] for what it is linked
// against. Contents are the business of Files, which checks digests.
func (f *Fetcher) Get(ctx context.Context, d agentapi.Download) (string, error) {
	if err := check(d); err != nil {
		return "", fmt.Errorf("fetch %q: %w", d.Name, err)
	}
	dir := filepath.Join(f.Dir, directory(d))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	for _, name := range slices.Sorted(maps.Keys(d.Files)) {
		if err := f.fetch(ctx, d.Files[name], filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("fetch %s for %s: %w", name, d.Name, err)
		}
	}
	program := filepath.Join(dir, d.Name)
	if err := f.fetch(ctx, d.SHA256, program); err != nil {
		return "", fmt.Errorf("fetch %s: %w", d.Name, err)
	}
	if err := f.link(program, d); err != nil {
		return "", fmt.Errorf("%s: %w", d.Name, err)
	}
	return program, nil
}

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// check refuses names that would leave the directory, and digests that are none.
func check(d agentapi.Download) error {
	isName := func(name string) bool {
		return name != "" && name == filepath.Base(name) && !strings.HasPrefix(name, ".")
	}
	switch {
	case !isName(d.Name):
		return errors.New("that is no name of a file")
	case !digestForm.MatchString(d.SHA256):
		return fmt.Errorf("%.80q is no sha256", d.SHA256)
	}
	for name, digest := range d.Files {
		switch {
		case !isName(name) || name == d.Name:
			return fmt.Errorf("%.80q is no name of a file beside it", name)
		case !digestForm.MatchString(digest):
			return fmt.Errorf("%s: %.80q is no sha256", name, digest)
		}
	}
	return nil
}

// directory is that of a program with just these files: two tools may share a program or a library, and not the rest.
func directory(d agentapi.Download) string {
	h := sha256.New()
	fmt.Fprintln(h, d.Name, d.SHA256)
	for _, name := range slices.Sorted(maps.Keys(d.Files)) {
		fmt.Fprintln(h, name, d.Files[name])
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// fetch gets one file, unless it is there: it was given its name when it was whole.
func (f *Fetcher) fetch(ctx context.Context, digest, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	patience, pause := cmp.Or(f.Patience, defaultPatience), cmp.Or(f.Pause, defaultPause)
	start := time.Now()
	for said := false; ; {
		err := f.once(ctx, digest, path)
		if err == nil {
			if info, err := os.Stat(path); err == nil {
				f.say("fetched %s from the site, %d bytes in %.1f s", filepath.Base(path), info.Size(), time.Since(start).Seconds())
			}
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		status, answered := errors.AsType[*agentapi.StatusError](err)
		_, here := errors.AsType[*fs.PathError](err) // such as a memory that is full
		if here || errors.Is(err, agentapi.ErrSessionLost) || answered && (!status.Temporary() || status.Status == http.StatusBadGateway) {
			return err
		}
		wait := pause
		if answered {
			wait = max(wait, status.RetryAfter)
		}
		if left := patience - time.Since(start); left < wait {
			return fmt.Errorf("given up after %s: %w", time.Since(start).Round(time.Second), err)
		}
		if !said {
			said = true
			f.say("%s cannot be fetched yet, asking again for %s: %v", filepath.Base(path), patience, err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (f *Fetcher) say(format string, args ...any) {
	if f.Say != nil {
		f.Say(fmt.Sprintf(format, args...))
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
