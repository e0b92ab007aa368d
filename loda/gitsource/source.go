package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"golang.org/x/sys/unix"
)

// Config says which repository is followed, and where its copy lies.
type Config struct {
	// URL of the repository: `https://host/path`, `ssh://user@host:port/path`, `user@host:path`, `file:///path` or an
	// absolute path. `http://` is accepted for loopback addresses only. It holds no credentials.
	URL string
	// Ref is what is followed. Zero: the remote's default branch.
	Ref Ref
	// Dir is where the copy lies. It is made if it does not exist, belongs to this Source alone, and survives restarts.
	Dir string
	// Auth is how the remote is convinced, and how it is recognised.
	Auth Auth
	// Poll is the time between two looks at the remote. Default: 1 minute.
	Poll time.Duration
	// Timeout bounds one fetch. Default: 2 minutes.
	Timeout time.Duration
	// Grace is how long a commit stays readable after it was replaced or unpinned. Default: 24 hours.
	Grace time.Duration
	// Limits bound what is accepted from the remote.
	Limits Limits
	// Check decides whether a commit may be used: nil, or an error for each thing that is wrong, joined by
	// [errors.Join]. It is called once for each commit, after the checks of [Inspect], and not concurrently with itself.
	// An error that wraps that of ctx is a check that did not happen: it is repeated at the next fetch. Nil: every
	// commit that passes Inspect is used.
	Check func(ctx context.Context, c Commit, tree fs.FS) error
	// Changed is called after another commit came into use, and not concurrently with itself. Optional.
	Changed func(c Commit)
	// Logger gets one line for each change of state, not for each poll. Default: slog.Default.
	Logger *slog.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time
}

// Ref names what is followed: one of its fields, or none for the remote's default branch.
type Ref struct {
	Branch string `json:"branch,omitempty" yaml:"branch,omitempty"`
	Tag    string `json:"tag,omitempty" yaml:"tag,omitempty"`
	// Commit is a full commit number, of 40 hexadecimal digits.
	Commit string `json:"commit,omitempty" yaml:"commit,omitempty"`
}

// Auth is how the remote is convinced, and how it is recognised. All fields are files, read anew at each fetch, so that
// a rotated secret needs no restart.
type Auth struct {
	// Username for https. Default: `git`, which GitHub, GitLab and Gitea accept beside an access token.
	Username string
	// TokenFile holds the access token or password for https.
	TokenFile string
	// CAFile holds the certificates that an https server's certificate is checked against, in PEM. Default: those of
	// the system.
	CAFile string
	// KeyFile holds the private key for ssh, PassphraseFile its passphrase if it has one.
	KeyFile, PassphraseFile string
	// KnownHostsFile holds the host keys that are accepted for ssh, as OpenSSH writes them. Needed for ssh.
	KnownHostsFile string
}

// Limits bound what is accepted from the remote. A zero field means its default.
type Limits struct {
	// Pack is the size of one fetch, as it is transferred. Default: 64 MiB.
	Pack int64
	// Blob is the size of one file. Default: 8 MiB.
	Blob int64
	// Total is the size of all files of a commit together. Default: 512 MiB.
	Total int64
	// Files is the number of files and directories of a commit. Default: 50,000.
	Files int
}

func (l Limits) withDefaults() Limits {
	if l.Pack == 0 {
		l.Pack = 64 << 20
	}
	if l.Blob == 0 {
		l.Blob = 8 << 20
	}
	if l.Total == 0 {
		l.Total = 512 << 20
	}
	if l.Files == 0 {
		l.Files = 50_000
	}
	return l
}

// Errors that a caller may want to tell apart.
var (
	// ErrInUse is returned by Open for a directory that another process works in.
	ErrInUse = errors.New("in use by another process")
	// ErrNoCommit is returned while there is no commit to use.
	ErrNoCommit = errors.New("no commit of the config repository is in use yet")
	// ErrNotKept is returned for a commit that is not in the copy (any more).
	ErrNotKept = errors.New("not in the local copy of the config repository")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("closed")
)

// A Source keeps a copy of one repository. Its methods may be called concurrently. None but Sync and Run touch the
// network, or wait for those that do.
type Source struct {
	cfg    Config
	remote remote
	log    *slog.Logger
	lock   *os.File
	wake   chan struct{}

	turn chan struct{} // held by the Sync that works, which is the only one that adds and removes objects
	last outcome       // of the last Sync; under turn

	mu       sync.Mutex // protects what follows and the references on disk
	store    *store
	status   Status
	started  uint64 // how many Syncs began to work
	pinned   map[plumbing.Hash]bool
	lost     map[plumbing.Hash]bool      // to be pinned, and not in the copy
	searched map[plumbing.Hash]bool      // lost, and the remote was asked
	recent   map[plumbing.Hash]time.Time // since when nobody needs it
	refused  plumbing.Hash
	checked  bool // the refused commit was checked by this process
	untidy   bool // there may be objects that nobody needs
	damaged  bool // a reader found an object that is not what it should be
	trees    map[plumbing.Hash]*treeFS
	closed   bool
}

// outcome is how a Sync ended.
type outcome struct {
	seq    uint64
	status Status
	err    error
	shared bool // it may be handed to others that waited
}

// Open opens the copy in cfg.Dir, or makes an empty one. It needs no network: the commit that was in use when the last
// process ended is in use at once. A damaged copy is set aside with a line in the log; what is whole in it is kept, and
// the rest is fetched by the next Sync.
//
// Open starts nothing; close what it returns.
func Open(cfg Config) (*Source, error) {
	if cfg.Poll == 0 {
		cfg.Poll = time.Minute
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 2 * time.Minute
	}
	if cfg.Grace == 0 {
		cfg.Grace = 24 * time.Hour
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.Default()
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Poll < 0 || cfg.Timeout < 0 || cfg.Grace < 0 {
		return nil, errors.New("config repository: poll, timeout and grace must not be negative")
	}
	l := cfg.Limits
	if l.Pack < 0 || l.Blob < 0 || l.Total < 0 || l.Files < 0 {
		return nil, errors.New("config repository: limits must not be negative")
	}
	cfg.Limits = l.withDefaults()
	if err := cfg.Ref.Validate(); err != nil {
		return nil, fmt.Errorf("config repository: %w", err)
	}
	r, err := newRemote(cfg.URL, cfg.Auth, cfg.Limits)
	if err != nil {
		return nil, fmt.Errorf("config repository: %w", err)
	}
	if cfg.Dir == "" {
		return nil, errors.New("config repository: a directory for the local copy is needed")
	}
	if err := os.MkdirAll(cfg.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("config repository: the directory for the local copy cannot be made: %w", err)
	}
	lock, err := lockDir(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("config repository: %w", err)
	}
	s := &Source{
		cfg: cfg, remote: r, log: cfg.Logger.With("repository", cfg.URL), lock: lock,
		wake: make(chan struct{}, 1), turn: make(chan struct{}, 1),
		pinned: map[plumbing.Hash]bool{}, lost: map[plumbing.Hash]bool{}, recent: map[plumbing.Hash]time.Time{},
		searched: map[plumbing.Hash]bool{}, trees: map[plumbing.Hash]*treeFS{},
	}
	s.status.URL, s.status.Ref = cfg.URL, cfg.Ref
	if err := s.load(); err != nil {
		lock.Close()
		return nil, fmt.Errorf("config repository: %w", err)
	}
	return s, nil
}

// lockDir keeps two processes from working in one directory. The kernel drops the lock with the process.
func lockDir(dir string) (*os.File, error) {
	path := filepath.Join(dir, "lock")
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	for range 10 {
		if !errors.Is(err, unix.EWOULDBLOCK) {
			break
		}
		// A process that was killed while it started another leaves the lock to that one, until it is started.
		time.Sleep(20 * time.Millisecond)
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	}
	if err != nil {
		owner := make([]byte, 32)
		n, _ := f.ReadAt(owner, 0)
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("the local copy in %s is %w (%s); end that one, or give this one a directory of its own",
				dir, ErrInUse, strings.TrimSpace(oneLine(string(owner[:n]), 32)))
		}
		return nil, fmt.Errorf("locking %s: %w", path, err)
	}
	if err := f.Truncate(0); err == nil {
		_, err = f.WriteAt(fmt.Appendf(nil, "process %d\n", os.Getpid()), 0)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("writing %s: %w", path, err)
		}
	}
	return f, nil
}

// Close waits for the Sync that is at work, so cancel its context first, and lets others open the directory. Trees
// that were handed out stay readable as long as the files are there.
func (s *Source) Close() error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	// Closing alone would leave the lock to a program that another goroutine is just about to start.
	return errors.Join(unix.Flock(int(s.lock.Fd()), unix.LOCK_UN), s.lock.Close())
}

// Run fetches at once and then again after each [Config.Poll], give or take a tenth, and when [Source.Trigger] says so.
// After a failure it comes back after 5 seconds, then 10, 20 and so on, up to 5 minutes or Poll, whichever is longer.
// It returns when ctx ends, with nil.
func (s *Source) Run(ctx context.Context) error {
	failures := 0
	for ctx.Err() == nil {
		_, err := s.Sync(ctx) // logged, and in the status
		if errors.Is(err, ErrClosed) {
			return err
		}
		if err == nil {
			failures = 0
		} else {
			failures++
		}
		wait := pause(s.cfg.Poll, failures, rand.Float64())
		s.mu.Lock()
		s.status.NextPoll = s.cfg.Now().Add(wait)
		s.mu.Unlock()
		if !s.sleep(ctx, wait) {
			break
		}
	}
	return nil
}

// triggerPause is the least time between two fetches that webhooks ask for.
const triggerPause = time.Second

// sleep waits for the time or a trigger, and says whether ctx goes on.
func (s *Source) sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-time.After(min(wait, triggerPause)):
	}
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-s.wake:
	}
	return true
}

// pause returns how long Run waits, given how many fetches in a row failed and a number from 0 to 1.
func pause(poll time.Duration, failures int, dice float64) time.Duration {
	wait := poll
	if failures > 0 {
		wait = min(5*time.Second<<min(failures-1, 10), max(poll, 5*time.Minute))
	}
	return time.Duration(float64(wait) * (0.9 + 0.2*dice))
}

// Trigger makes Run fetch soon. It returns at once; triggers that come close together lead to one fetch.
func (s *Source) Trigger() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Current returns the commit in use, and false while there is none.
func (s *Source) Current() (commit string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Commit == nil {
		return "", false
	}
	return s.status.Commit.Hash, true
}

// Status returns what is known at this moment. It does not wait for the network.
func (s *Source) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshot()
}

func (s *Source) snapshot() Status {
	st := s.status
	if st.Commit != nil {
		c := *st.Commit
		st.Commit = &c
	}
	if st.Refused != nil {
		r := *st.Refused
		r.Errors = slices.Clone(r.Errors)
		st.Refused = &r
	}
	st.Pinned = len(s.pinned)
	st.Lost = nil
	for h := range s.lost {
		st.Lost = append(st.Lost, h.String())
	}
	slices.Sort(st.Lost)
	return st
}

// Tree returns the files of a commit that is in use, was until recently, is pinned, or was refused. The file system
// is safe for concurrent use; each file that is read is checked against the commit's digests.
//
// It is an [fs.ReadFileFS], [fs.ReadDirFS], [fs.StatFS] and [fs.ReadLinkFS]. Symbolic links within the repository are
// followed, as [os.DirFS] does; all times are the commit's.
func (s *Source) Tree(commit string) (fs.FS, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if commit == "" {
		return nil, s.noCommit()
	}
	if !plumbing.IsHash(commit) {
		return nil, fmt.Errorf("config repository %s: %q is no full commit number of 40 hexadecimal digits, and so %w", s.cfg.URL,
			oneLine(commit, 80), ErrNotKept)
	}
	h := plumbing.NewHash(commit)
	if !s.roots()[h] {
		return nil, fmt.Errorf("config repository %s: commit %s is %w; it was never fetched, or nobody pinned it before "+
			"it was replaced", s.cfg.URL, h, ErrNotKept)
	}
	if t, ok := s.trees[h]; ok {
		return t, nil
	}
	t, err := newTreeFS(s.store, h, s.cfg.Limits.Blob, s.noticeDamage)
	if err != nil {
		return nil, fmt.Errorf("config repository %s: %w", s.cfg.URL, err)
	}
	for old := range s.trees {
		if len(s.trees) < 16 {
			break
		}
		delete(s.trees, old)
	}
	s.trees[h] = t
	return t, nil
}

// noCommit explains why there is nothing to use.
func (s *Source) noCommit() error {
	switch {
	case s.status.Refused != nil:
		return fmt.Errorf("%w: commit %s of %s was refused: %s", ErrNoCommit, s.status.Refused.Commit.Hash, s.cfg.URL,
			strings.Join(s.status.Refused.Errors, "; "))
	case s.status.LastError != "":
		return fmt.Errorf("%w: %s", ErrNoCommit, s.status.LastError)
	}
	return fmt.Errorf("%w: %s was not fetched yet", ErrNoCommit, s.cfg.URL)
}

// Require returns the commit in use, or an error that says why there is none.
func (s *Source) Require() (Commit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status.Commit == nil {
		return Commit{}, s.noCommit()
	}
	return *s.status.Commit, nil
}

// noticeDamage makes the next Sync look at all that is kept.
func (s *Source) noticeDamage() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.damaged = true
}

// Keep replaces the set of pinned commits. They stay readable however far the branch moves, over force pushes and
// restarts. A commit that leaves the set, like one that was replaced by a newer one, stays for [Config.Grace], so an
// installation that pins the commit in use has that long to do it, and two callers cannot take each other's commits.
//
// Commits that are not in the copy are named in the error, which wraps [ErrNotKept], and in the status; the others are
// kept all the same, and Sync tries to fetch the missing ones by number.
func (s *Source) Keep(commits []string) error {
	want := map[plumbing.Hash]bool{}
	for _, c := range commits {
		if !plumbing.IsHash(c) {
			return fmt.Errorf("keeping commits of %s: %q is not a full commit number", s.cfg.URL, oneLine(c, 80))
		}
		want[plumbing.NewHash(c)] = true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	roots, now := s.roots(), s.cfg.Now()
	lost := map[plumbing.Hash]bool{}
	for h := range want {
		if s.pinned[h] {
			continue
		}
		if !roots[h] {
			lost[h] = true
			continue
		}
		if err := s.store.setRef(filepath.Join(dirPinned, h.String()), h); err != nil {
			return fmt.Errorf("keeping commit %s: %w", h, err)
		}
		s.pinned[h] = true
	}
	for h := range s.pinned {
		if want[h] {
			continue
		}
		if err := s.retire(h, now); err != nil {
			return err
		}
		if err := s.store.removeRef(filepath.Join(dirPinned, h.String())); err != nil {
			return fmt.Errorf("letting go of commit %s: %w", h, err)
		}
		delete(s.pinned, h)
	}
	s.lost = lost
	if err := s.save(); err != nil {
		return err
	}
	if len(lost) > 0 {
		return fmt.Errorf("keeping commits of %s: %s: %w", s.cfg.URL, strings.Join(s.snapshot().Lost, ", "), ErrNotKept)
	}
	return nil
}

// retire lets a commit go after the time of grace.
func (s *Source) retire(h plumbing.Hash, now time.Time) error {
	if err := s.store.setRef(filepath.Join(dirRecent, h.String()), h); err != nil {
		return fmt.Errorf("keeping commit %s for a while: %w", h, err)
	}
	s.recent[h] = now
	return nil
}

// haves returns the roots in the order in which a server should hear of them: it hears of a limited number.
func (s *Source) haves() []plumbing.Hash {
	var first, rest []plumbing.Hash
	for h := range s.roots() {
		if s.status.Commit != nil && s.status.Commit.Hash == h.String() || h == s.refused {
			first = append(first, h)
		} else {
			rest = append(rest, h)
		}
	}
	return append(first, rest...)
}

// roots are the commits whose files are all in the copy.
func (s *Source) roots() map[plumbing.Hash]bool {
	all := make(map[plumbing.Hash]bool, len(s.pinned)+len(s.recent)+2)
	for h := range s.pinned {
		all[h] = true
	}
	for h := range s.recent {
		all[h] = true
	}
	if s.status.Commit != nil {
		all[plumbing.NewHash(s.status.Commit.Hash)] = true
	}
	if !s.refused.IsZero() {
		all[s.refused] = true
	}
	return all
}
