package pxe

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"sync"
	"time"
)

// digests are the SHA-256 sums of files, each computed once for each version of a file, and what has which.
type digests struct {
	mu      sync.Mutex
	known   map[version]string
	names   map[string]string // of a file that had the digest when it was computed
	busy    map[version]chan struct{}
	looking chan struct{} // closed when the look through all files that is under way ends
	looked  time.Time
	stop    chan struct{} // closed by close
	work    sync.WaitGroup
	small   chan struct{} // files that are being read
	large   chan struct{}
}

const (
	// maxDigestNow is the largest file whose digest a request waits for: a tenth of a second.
	maxDigestNow = 64 << 20
	maxDigests   = 65536 // known, and files that are looked through
	maxHashing   = 1024  // files that wait for their digest
	// lookAgain is how soon all files are looked through again for a digest that nobody knows.
	lookAgain = 10 * time.Second
)

var digestForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Digest computes the SHA-256 of a file, in 64 small hexadecimal digits, or knows it. Errors are those of Open, and that
// of ctx.
func (f *Files) Digest(ctx context.Context, name string) (string, error) {
	file, info, err := f.Open(name)
	if err != nil {
		return "", err
	}
	_ = file.Close()
	if sum := f.digest(ctx, name, info, true); sum != "" {
		return sum, nil
	}
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	return "", fmt.Errorf("the digest of %s cannot be computed: it changes, cannot be read, or too many others are computed", name)
}

// digest returns the digest of this version of a file, or nothing: if it fails, and at once if wait is not set and it is
// not known. It will be later.
func (f *Files) digest(ctx context.Context, name string, info fs.FileInfo, wait bool) string {
	d, v := &f.sums, versionOf(name, info)
	d.mu.Lock()
	if sum, ok := d.known[v]; ok {
		d.names[sum] = v.name // that of another file with the same content may be gone
		d.mu.Unlock()
		return sum
	}
	ready := d.busy[v]
	if ready == nil {
		if d.begin(); d.closed() || len(d.busy) >= maxHashing {
			d.mu.Unlock()
			return ""
		}
		ready = make(chan struct{})
		d.busy[v] = ready
		d.work.Go(func() { f.hash(name, v, ready) })
	}
	d.mu.Unlock()
	if !wait {
		return ""
	}
	select {
	case <-ready:
	case <-ctx.Done():
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known[v]
}

// begin makes the zero value usable. It is called with mu held.
func (d *digests) begin() {
	if d.busy == nil {
		d.known, d.names, d.busy = make(map[version]string), make(map[string]string), make(map[version]chan struct{})
		d.small, d.large = make(chan struct{}, 2), make(chan struct{}, 1)
	}
	if d.stop == nil {
		d.stop = make(chan struct{})
	}
}

func (d *digests) closed() bool {
	select {
	case <-d.stop:
		return true
	default:
		return false
	}
}

// close ends what is being computed.
func (d *digests) close() {
	d.mu.Lock()
	if d.begin(); !d.closed() {
		close(d.stop)
	}
	d.mu.Unlock()
	d.work.Wait()
}

// hash computes one digest.
func (f *Files) hash(name string, v version, ready chan struct{}) {
	d := &f.sums
	room := d.small
	if v.size > maxDigestNow {
		room = d.large // requests wait for small ones
	}
	var sum string
	select {
	case room <- struct{}{}:
		sum, _ = f.sum(name, v) // whoever opens the file next meets the same error
		<-room
	case <-d.stop:
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if sum != "" {
		if len(d.known) >= maxDigests {
			clear(d.known)
			clear(d.names)
		}
		d.known[v] = sum
		d.names[sum] = v.name
	}
	delete(d.busy, v)
	close(ready)
}

var errOtherVersion = errors.New("the file was changed or replaced")

func (f *Files) sum(name string, v version) (string, error) {
	file, info, err := f.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	if versionOf(name, info) != v {
		return "", errOtherVersion
	}
	h := sha256.New()
	for {
		n, err := io.CopyN(h, file, 4<<20)
		if err == io.EOF {
			break
		}
		if err != nil {
			return "", err
		}
		if n == 0 || f.sums.closed() {
			return "", os.ErrClosed
		}
	}
	if info, err = file.Stat(); err != nil || versionOf(name, info) != v {
		return "", errors.Join(err, errOtherVersion)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// named finds a file by its digest. One that is called sha256/HEX must have it. The error is [fs.ErrNotExist] if none has
// it; after a while it is looked again.
func (f *Files) named(ctx context.Context, digest string) (string, error) {
	if f == nil {
		return "", notExist(digest)
	}
	name := "sha256/" + digest
	switch sum, err := f.Digest(ctx, name); {
	case err == nil && sum == digest:
		return name, nil
	case err == nil:
		return "", fmt.Errorf("%s has the digest %s: it was damaged; put the right file there, or remove it", name, sum)
	case !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	if name, ok := f.has(ctx, digest); ok {
		return name, nil
	}
	if err := f.look(ctx); err != nil {
		return "", fmt.Errorf("looking for the file with the digest %s: %w", digest, err)
	}
	if name, ok := f.has(ctx, digest); ok {
		return name, nil
	}
	return "", notExist("sha256/" + digest)
}

// has finds a file that is known to have the digest, and has it still.
func (f *Files) has(ctx context.Context, digest string) (string, bool) {
	f.sums.mu.Lock()
	name, ok := f.sums.names[digest]
	f.sums.mu.Unlock()
	if !ok {
		return "", false
	}
	sum, err := f.Digest(ctx, name)
	return name, err == nil && sum == digest
}

// look computes the digests of all files, and waits for that. It is done once for all who ask meanwhile, and not again
// soon.
func (f *Files) look(ctx context.Context) error {
	d := &f.sums
	d.mu.Lock()
	d.begin()
	if d.closed() {
		d.mu.Unlock()
		return os.ErrClosed
	}
	if d.looking == nil {
		if !d.looked.IsZero() && time.Since(d.looked) < lookAgain {
			d.mu.Unlock()
			return nil
		}
		done := make(chan struct{})
		d.looking = done
		d.work.Go(func() {
			f.lookAll()
			d.mu.Lock()
			d.looking, d.looked = nil, time.Now()
			d.mu.Unlock()
			close(done)
		})
	}
	done := d.looking
	d.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (f *Files) lookAll() {
	seen := 0
	for _, root := range f.roots {
		_ = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
			switch {
			case f.sums.closed() || seen >= maxDigests:
				return fs.SkipAll
			case err != nil:
				return nil // what cannot be read cannot be served either
			case name != "." && strings.HasPrefix(path.Base(name), "."), f.nbps && name != "." && entry.IsDir():
				if entry.IsDir() {
					return fs.SkipDir
				}
			case !entry.IsDir():
				seen++
				_, _ = f.Digest(context.Background(), name)
			}
			return nil
		})
	}
}

// reprDigest is the header Repr-Digest of RFC 9530.
func reprDigest(digest string) string {
	b, err := hex.DecodeString(digest)
	if err != nil {
		return ""
	}
	return "sha-256=:" + base64.StdEncoding.EncodeToString(b) + ":"
}
