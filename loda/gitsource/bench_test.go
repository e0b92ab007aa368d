package gitsource_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/gitsource"
	"github.com/project-loda/loda/scripts/need"
)

// upstream is a bare repository as a git server has it, and a clone to push from. Both are git's own.
type upstream struct {
	t    testing.TB
	bare string
	work string
	now  time.Time
}

func newUpstream(t testing.TB) *upstream {
	t.Helper()
	need.Command(t, "git")
	dir := t.TempDir()
	u := &upstream{t: t, bare: filepath.Join(dir, "config.git"), work: filepath.Join(dir, "work"),
		now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	require.NoError(t, os.Mkdir(u.work, 0o755))
	u.gitIn(dir, "init", "-q", "--bare", "-b", "main", u.bare)
	u.git("init", "-q", "-b", "main")
	u.git("remote", "add", "origin", u.bare)
	return u
}

func (u *upstream) git(args ...string) string { return u.gitIn(u.work, args...) }

func (u *upstream) gitIn(dir string, args ...string) string {
	u.t.Helper()
	out, err := gitCommand(dir, u.now, args...).CombinedOutput()
	require.NoError(u.t, err, "git %s: %s", strings.Join(args, " "), out)
	return strings.TrimSpace(string(out))
}

func gitCommand(dir string, now time.Time, args ...string) *exec.Cmd {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	date := now.Format(time.RFC3339)
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=Ben", "GIT_COMMITTER_EMAIL=ben@example.com", "GIT_COMMITTER_DATE=" + date, "LC_ALL=C",
		"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=protocol.file.allow", "GIT_CONFIG_VALUE_0=always",
	}
	return cmd
}

// files maps paths to contents; an empty content removes, one that begins with "-> " makes a symbolic link.
type files map[string]string

func (u *upstream) write(f files) {
	u.t.Helper()
	for name, content := range f {
		path := filepath.Join(u.work, name)
		_ = os.Remove(path)
		if content == "" {
			continue
		}
		require.NoError(u.t, os.MkdirAll(filepath.Dir(path), 0o755))
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			require.NoError(u.t, os.Symlink(target, path))
			continue
		}
		require.NoError(u.t, os.WriteFile(path, []byte(content), 0o644))
	}
}

// push commits and pushes to main, by force, and returns the commit.
func (u *upstream) push(message string, f files) string {
	u.t.Helper()
	u.now = u.now.Add(time.Minute)
	u.write(f)
	u.git("add", "-A")
	u.git("commit", "-q", "--allow-empty", "-m", message)
	u.git("push", "-q", "-f", "origin", "HEAD:main")
	return u.git("rev-parse", "HEAD")
}

// bench is a Source under test.
type bench struct {
	t   testing.TB
	cfg gitsource.Config
	log *journal
	now time.Time
	*gitsource.Source
}

type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(p)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func newBench(t testing.TB, cfg gitsource.Config) *bench {
	t.Helper()
	b := &bench{t: t, cfg: cfg, log: &journal{}, now: time.Date(2026, 4, 1, 8, 0, 0, 0, time.UTC)}
	if b.cfg.Dir == "" {
		b.cfg.Dir = filepath.Join(t.TempDir(), "copy")
	}
	b.cfg.Logger = slog.New(slog.NewTextHandler(b.log, nil))
	if b.cfg.Now == nil {
		b.cfg.Now = func() time.Time { return b.now }
	}
	b.open()
	t.Cleanup(func() { b.Close() })
	return b
}

func (b *bench) open() {
	b.t.Helper()
	s, err := gitsource.Open(b.cfg)
	require.NoError(b.t, err)
	b.Source = s
}

// restart is what a new process sees.
func (b *bench) restart() {
	b.t.Helper()
	require.NoError(b.t, b.Close())
	b.open()
}

func (b *bench) sync() gitsource.Status {
	b.t.Helper()
	st, err := b.Sync(b.t.Context())
	require.NoError(b.t, err)
	return st
}

func (b *bench) syncFails(parts ...string) {
	b.t.Helper()
	_, err := b.Sync(b.t.Context())
	require.Error(b.t, err)
	for _, part := range parts {
		require.ErrorContains(b.t, err, part)
	}
}

func (b *bench) inUse(commit string) {
	b.t.Helper()
	got, ok := b.Current()
	require.True(b.t, ok)
	require.Equal(b.t, commit, got)
}

func (b *bench) read(commit, name string) string {
	b.t.Helper()
	tree, err := b.Tree(commit)
	require.NoError(b.t, err)
	content, err := fs.ReadFile(tree, name)
	require.NoError(b.t, err)
	return string(content)
}

// sound lets git judge the copy.
func (b *bench) sound() {
	b.t.Helper()
	repo := filepath.Join(b.cfg.Dir, "repo.git")
	out, err := gitCommand(repo, time.Now(), "--git-dir", repo, "fsck", "--full", "--strict").CombinedOutput()
	require.NoError(b.t, err, string(out))
	require.NotContains(b.t, string(out), "missing")
	require.NotContains(b.t, string(out), "broken")
}

func (b *bench) objects() int {
	b.t.Helper()
	n := 0
	require.NoError(b.t, filepath.WalkDir(filepath.Join(b.cfg.Dir, "repo.git", "objects"),
		func(_ string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				n++
			}
			return err
		}))
	return n
}

// checkNothingBad refuses commits with a file named bad.
func checkNothingBad(_ context.Context, _ gitsource.Commit, tree fs.FS) error {
	content, err := fs.ReadFile(tree, "bad")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var all []error
	for line := range strings.Lines(string(content)) {
		all = append(all, errors.New("bad:1: "+strings.TrimSpace(line)))
	}
	return errors.Join(all...)
}
