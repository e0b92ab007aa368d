// Package depot keeps the files that a site gives to its machines, by their digest: makers' RAID tools and drivers from
// outside, which are fetched when the first machine needs one.
//
//	d, err := depot.Open(depot.Config{Dir: dir, Artifacts: artifacts})
//	f, err := d.Open(ctx, loda.Download{URL: "https://files.example.net/storcli64", SHA256: digest})
//
// A file has its name only when all of it is on the disk and its digest was right, so a crash leaves nothing half done.
// What is there is the same for ever, whatever the URL says later; one that the disk has damaged since is fetched again.
package depot

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/project-loda/loda/loda"
)

// Config of a [Depot].
type Config struct {
	// Dir is where files are kept. It is made if it is missing.
	Dir string
	// Artifacts is the directory that artifacts are relative to.
	Artifacts string
	// MaxFile bounds one file, MaxTotal all of them; 0: 1 GiB and 4 GiB. Beyond MaxTotal those go that were not asked for
	// for the longest time, and are fetched again when they are.
	MaxFile, MaxTotal int64
	// Client fetches. Nil: one with deadlines, that uses the proxy of the environment.
	Client *http.Client
	// Pause before a transfer that broke is tried again; 0: a second, and twice that each time.
	Pause time.Duration
	// Observe is called after each fetch, whatever came of it, from any goroutine. It may be nil.
	Observe func(Fetch)
}

// Fetch is one that is over, for logs and metrics.
type Fetch struct {
	loda.Download
	// Bytes of the file, and how long it took with all tries. Bytes is 0 where Err is set.
	Bytes    int64
	Duration time.Duration
	Err      error
}

const (
	defaultMaxFile  = 1 << 30
	defaultMaxTotal = 4 << 30
	// fetchWithin bounds a fetch, silentFor the time without a byte of it.
	fetchWithin = 30 * time.Minute
	silentFor   = 45 * time.Second
	tries       = 3
)

// Depot is a directory of files. Its methods may be called from several goroutines.
type Depot struct {
	Config

	mu      sync.Mutex
	flights map[string]*flight
	// whole are sizes of files whose digest this process has seen to be right.
	whole  map[string]int64
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// flight is a fetch that all who want the file wait for.
type flight struct {
	done chan struct{}
	err  error
}

const partial = ".part-"

// Open makes a depot over a directory, and takes away what fetches left behind that were cut off.
func Open(c Config) (*Depot, error) {
	c.MaxFile, c.MaxTotal = cmp.Or(c.MaxFile, defaultMaxFile), cmp.Or(c.MaxTotal, defaultMaxTotal)
	c.Pause = cmp.Or(c.Pause, time.Second)
	if c.Client == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.DialContext = (&net.Dialer{Timeout: 10 * time.Second}).DialContext
		t.ResponseHeaderTimeout = 30 * time.Second
		c.Client = &http.Client{Transport: t}
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("downloads: %w", err)
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("downloads: %w", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), partial) {
			if err := os.Remove(filepath.Join(c.Dir, e.Name())); err != nil {
				return nil, fmt.Errorf("downloads: %w", err)
			}
		}
	}
	d := &Depot{Config: c, flights: map[string]*flight{}, whole: map[string]int64{}}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Close ends the fetches that are under way, and waits for them. Files that are open stay readable, and the depot may be
// used again.
func (d *Depot) Close() {
	d.mu.Lock()
	d.cancel() // from here on none begins
	d.mu.Unlock()
	d.wg.Wait()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctx, d.cancel = context.WithCancel(context.Background())
}

// Open implements [loda.Downloads]. When ctx ends, the fetch goes on for those who ask later. Errors are
// *[loda.DownloadError].
func (d *Depot) Open(ctx context.Context, want loda.Download) (*os.File, error) {
	if err := want.Validate(); err != nil {
		return nil, &loda.DownloadError{Err: err}
	}
	for {
		f, err := d.have(want.SHA256)
		switch {
		case err != nil:
			return nil, &loda.DownloadError{Err: err}
		case f != nil:
			return f, nil
		}
		fl := d.fly(want)
		select {
		case <-fl.done:
			if fl.err != nil {
				_, final := errors.AsType[finalError](fl.err)
				return nil, &loda.DownloadError{Temporary: !final, Err: fl.err}
			}
		case <-ctx.Done():
			return nil, &loda.DownloadError{Temporary: true, Err: fmt.Errorf("it is being fetched: %w", context.Cause(ctx))}
		}
	}
}

// have opens a file that is there and was found whole, and remembers that it was wanted. Nil: there is none.
func (d *Depot) have(digest string) (*os.File, error) {
	d.mu.Lock()
	size, whole := d.whole[digest]
	d.mu.Unlock()
	if !whole {
		return nil, nil
	}
	f, err := os.Open(filepath.Join(d.Dir, digest))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || info.Size() != size {
		return nil, errors.Join(err, f.Close()) // somebody was at it: it is looked at again
	}
	now := time.Now()
	_ = os.Chtimes(f.Name(), now, now) // it is the order in which files go, and no more
	return f, nil
}

// fly starts a fetch, or joins the one that is under way.
func (d *Depot) fly(want loda.Download) *flight {
	d.mu.Lock()
	defer d.mu.Unlock()
	if fl, ok := d.flights[want.SHA256]; ok {
		return fl
	}
	fl := &flight{done: make(chan struct{})}
	if d.ctx.Err() != nil {
		fl.err = errors.New("the site is going down")
		close(fl.done)
		return fl
	}
	d.flights[want.SHA256] = fl
	d.wg.Go(func() {
		size, err := d.bring(want)
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.flights, want.SHA256)
		delete(d.whole, want.SHA256)
		if fl.err = err; err == nil {
			d.whole[want.SHA256] = size
		}
		close(fl.done)
	})
	return fl
}

// bring makes sure that a file is there, and returns its size.
func (d *Depot) bring(want loda.Download) (int64, error) {
	// It was fetched by an earlier process: the disk has had the time to damage it.
	name := filepath.Join(d.Dir, want.SHA256)
	size, got, err := sum(name)
	switch {
	case err == nil && got == want.SHA256:
		return size, nil
	case err == nil:
		if err := os.Remove(name); err != nil {
			return 0, finalError{err}
		}
	case !errors.Is(err, fs.ErrNotExist):
		return 0, finalError{err}
	}
	ctx, cancel := context.WithTimeout(d.ctx, fetchWithin)
	defer cancel()
	start := time.Now()
	size, err = d.fetch(ctx, want)
	if d.Observe != nil {
		d.Observe(Fetch{want, size, time.Since(start), err})
	}
	return size, err
}

// sum returns size and digest of a file.
func sum(name string) (int64, string, error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, hex.EncodeToString(h.Sum(nil)), err
}

// finalError is one that trying again does not help.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

func (d *Depot) fetch(ctx context.Context, want loda.Download) (int64, error) {
	pause := d.Pause
	for try := 1; ; try++ {
		n, err := d.fetchOnce(ctx, want)
		if _, final := errors.AsType[finalError](err); err == nil || final || try == tries || ctx.Err() != nil {
			return n, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return 0, err
		}
		pause *= 2
	}
}

func (d *Depot) fetchOnce(ctx context.Context, want loda.Download) (int64, error) {
	in, err := d.source(ctx, want)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	tmp, err := os.CreateTemp(d.Dir, partial)
	if err != nil {
		return 0, finalError{err}
	}
	defer os.Remove(tmp.Name()) // it has another name when all went well
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(tmp, h), io.LimitReader(in, d.MaxFile+1))
	if err == nil && n > d.MaxFile {
		err = finalError{fmt.Errorf("it is larger than %d bytes, and no larger file is taken", d.MaxFile)}
	}
	if got := hex.EncodeToString(h.Sum(nil)); err == nil && got != want.SHA256 {
		err = finalError{fmt.Errorf("its sha256 is %s, and %s is wanted: it was replaced, or the digest is wrong", got, want.SHA256)}
	}
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err != nil {
		return 0, err
	}
	d.makeRoom(n)
	if err := os.Rename(tmp.Name(), filepath.Join(d.Dir, want.SHA256)); err != nil {
		return 0, finalError{err}
	}
	return n, syncDir(d.Dir)
}

// source opens what is fetched.
func (d *Depot) source(ctx context.Context, want loda.Download) (io.ReadCloser, error) {
	if want.Artifact != "" {
		root, err := os.OpenRoot(d.Artifacts)
		if err != nil {
			return nil, finalError{err}
		}
		defer root.Close()
		info, err := root.Stat(path.Clean(want.Artifact))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, finalError{fmt.Errorf("it is not there; put it into %s", d.Artifacts)}
		case err != nil:
			return nil, finalError{err}
		case !info.Mode().IsRegular():
			return nil, finalError{errors.New("it is not a regular file")}
		}
		f, err := root.Open(path.Clean(want.Artifact))
		if err != nil {
			return nil, finalError{err}
		}
		return f, nil
	}
	// Whoever sends nothing for a while has hung up without saying so.
	ctx, cancel := context.WithCancelCause(ctx)
	alive := time.AfterFunc(silentFor, func() { cancel(fmt.Errorf("nothing came for %s", silentFor)) })
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, want.URL, nil)
	if err != nil {
		cancel(nil)
		return nil, finalError{err}
	}
	resp, err := d.Client.Do(req)
	if err != nil {
		cancel(nil)
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		cancel(nil)
		err := fmt.Errorf("HTTP status %s", resp.Status)
		if resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusRequestTimeout {
			return nil, finalError{err}
		}
		return nil, err
	}
	return &body{resp.Body, alive, ctx, cancel}, nil
}

// body is an answer that is given up when it falls silent.
type body struct {
	io.ReadCloser
	alive  *time.Timer
	ctx    context.Context
	cancel context.CancelCauseFunc
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.alive.Reset(silentFor)
	}
	if err != nil && !errors.Is(err, io.EOF) && b.ctx.Err() != nil {
		err = context.Cause(b.ctx)
	}
	return n, err
}

func (b *body) Close() error {
	b.alive.Stop()
	b.cancel(nil)
	return b.ReadCloser.Close()
}

// makeRoom removes what was not wanted for the longest time. A file that somebody reads stays readable.
func (d *Depot) makeRoom(n int64) {
	entries, err := os.ReadDir(d.Dir)
	if err != nil {
		return // the next fetch tries again
	}
	type file struct {
		name string
		size int64
		used time.Time
	}
	var files []file
	total := n
	for _, e := range entries {
		if info, err := e.Info(); err == nil && !strings.HasPrefix(e.Name(), partial) {
			files = append(files, file{e.Name(), info.Size(), info.ModTime()})
			total += info.Size()
		}
	}
	slices.SortFunc(files, func(a, b file) int { return a.used.Compare(b.used) })
	for _, f := range files {
		if total <= d.MaxTotal {
			return
		}
		if os.Remove(filepath.Join(d.Dir, f.name)) == nil {
			total -= f.size
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
