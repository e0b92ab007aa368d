package gitsource_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/gitsource"
)

func TestNewestCommitOfTheDefaultBranchComesIntoUse(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First profile\n\nWith a body.", files{"profiles/r640.yaml": "one", "scripts/a.sh": "#!/bin/sh"})
	b := newBench(t, gitsource.Config{URL: u.bare})

	st := b.sync()
	b.inUse(first)
	require.Equal(t, "one", b.read(first, "profiles/r640.yaml"))
	require.Equal(t, &gitsource.Commit{Hash: first, Author: "Ada", Email: "ada@example.com", Message: "First profile",
		Time: u.now, Authored: u.now}, st.Commit)
	require.Equal(t, b.now, st.FetchedAt)
	require.Equal(t, b.now, st.LastSuccess)

	second := u.push("Second", files{"profiles/r640.yaml": "two"})
	b.now = b.now.Add(time.Hour)
	st = b.sync()
	b.inUse(second)
	require.Equal(t, "two", b.read(second, "profiles/r640.yaml"))
	require.Equal(t, b.now, st.FetchedAt)
	require.Equal(t, uint64(2), st.Fetches)
	require.Zero(t, st.Failures)
	b.sound()

	_, err := json.Marshal(st)
	require.NoError(t, err)
}

func TestACopyIsInUseAtOnceAfterARestartWithoutTheRemote(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	b := newBench(t, gitsource.Config{URL: u.bare})
	b.sync()
	fetched := b.Status().FetchedAt
	require.NoError(t, os.RemoveAll(u.bare))
	b.now = b.now.Add(24 * time.Hour)

	b.restart()
	b.inUse(first)
	require.Equal(t, "one", b.read(first, "a"))
	require.Equal(t, fetched, b.Status().FetchedAt)
	require.Equal(t, "First", b.Status().Commit.Message)
	b.syncFails(u.bare, "no such file")
	b.inUse(first)
	require.NotEmpty(t, b.Status().LastError)
	require.Equal(t, b.now, b.Status().FailingSince)
	require.Equal(t, uint64(1), b.Status().Failures)
}

func TestFirstStartWithoutTheRemoteSaysWhyNothingIsInUse(t *testing.T) {
	t.Parallel()
	b := newBench(t, gitsource.Config{URL: "/nonexistent/config.git"})
	_, ok := b.Current()
	require.False(t, ok)
	_, err := b.Require()
	require.ErrorIs(t, err, gitsource.ErrNoCommit)
	require.ErrorContains(t, err, "was not fetched yet")

	b.syncFails("/nonexistent/config.git")
	_, err = b.Require()
	require.ErrorIs(t, err, gitsource.ErrNoCommit)
	require.ErrorContains(t, err, "no such file")
	_, err = b.Tree("")
	require.ErrorIs(t, err, gitsource.ErrNoCommit)
}

func TestRefusedCommitLeavesTheLastGoodOneInUse(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	good := u.push("Good", files{"a": "one"})
	var checks atomic.Int32
	b := newBench(t, gitsource.Config{URL: u.bare,
		Check: func(ctx context.Context, c gitsource.Commit, tree fs.FS) error {
			checks.Add(1)
			return checkNothingBad(ctx, c, tree)
		}})
	b.sync()

	bad := u.push("Break it", files{"bad": "no such key\nwrong type\n"})
	b.now = b.now.Add(time.Minute)
	since := b.now
	st := b.sync()
	b.inUse(good)
	require.NotNil(t, st.Refused)
	require.Equal(t, bad, st.Refused.Commit.Hash)
	require.Equal(t, "Break it", st.Refused.Commit.Message)
	require.Equal(t, []string{"bad:1: no such key", "bad:1: wrong type"}, st.Refused.Errors)
	require.Equal(t, uint64(1), st.Refusals)
	require.Equal(t, int32(2), checks.Load())

	// It is looked at once, and once more by another process. Since when it is refused does not change.
	b.now = b.now.Add(time.Minute)
	b.sync()
	b.sync()
	require.Equal(t, int32(2), checks.Load())
	require.Equal(t, 1, strings.Count(b.log.String(), "is refused"))
	b.restart()
	require.Equal(t, bad, b.Status().Refused.Commit.Hash)
	st = b.sync()
	require.Equal(t, int32(3), checks.Load())
	require.Equal(t, since, st.Refused.Since)
	require.Equal(t, "no such key\nwrong type\n", b.read(bad, "bad"), "people can look at it")
	b.inUse(good)
	b.sound()

	repaired := u.push("Repair it", files{"bad": ""})
	st = b.sync()
	b.inUse(repaired)
	require.Nil(t, st.Refused)
	_, err := b.Tree(bad)
	require.ErrorIs(t, err, gitsource.ErrNotKept)
	b.sound()
}

func TestBranchThatGoesBackToTheCommitInUseForgivesTheRefusal(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	good := u.push("Good", files{"a": "one"})
	b := newBench(t, gitsource.Config{URL: u.bare, Check: checkNothingBad})
	b.sync()
	u.push("Break it", files{"bad": "x\n"})
	require.NotNil(t, b.sync().Refused)
	u.git("push", "-q", "-f", "origin", good+":main")
	require.Nil(t, b.sync().Refused)
	b.inUse(good)
}

func TestRefusedFirstCommitSaysWhyNothingIsInUse(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.push("Bad", files{"bad": "unknown key\n"})
	b := newBench(t, gitsource.Config{URL: u.bare, Check: checkNothingBad})
	b.sync()
	_, err := b.Require()
	require.ErrorIs(t, err, gitsource.ErrNoCommit)
	require.ErrorContains(t, err, "unknown key")
}

func TestCheckThatPanicsRefusesTheCommit(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.push("First", files{"a": "one"})
	b := newBench(t, gitsource.Config{URL: u.bare,
		Check: func(context.Context, gitsource.Commit, fs.FS) error { panic("index out of range") }})
	st := b.sync()
	require.Contains(t, st.Refused.Errors[0], "index out of range")
}

func TestCheckThatWasInterruptedIsRepeated(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	ctx, cancel := context.WithCancel(t.Context())
	interrupt := true
	b := newBench(t, gitsource.Config{URL: u.bare,
		Check: func(ctx context.Context, _ gitsource.Commit, _ fs.FS) error {
			if interrupt {
				cancel()
				return fmt.Errorf("loading: %w", ctx.Err())
			}
			return nil
		}})
	_, err := b.Sync(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Nil(t, b.Status().Refused)
	require.Zero(t, b.Status().Failures, "it says nothing about the remote")
	interrupt = false
	b.sync()
	b.inUse(first)
}

func TestPinnedCommitsStayReadableOverForcePushesAndRestarts(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	pinned := u.push("Planned with", files{"a": "one", "sub/b": "same"})
	b := newBench(t, gitsource.Config{URL: u.bare, Grace: time.Hour})
	b.sync()
	require.NoError(t, b.Keep([]string{pinned}))
	tree, err := b.Tree(pinned)
	require.NoError(t, err)

	for i := range 5 { // each time a history of its own
		u.git("checkout", "-q", "--orphan", fmt.Sprintf("o%d", i))
		u.push("Other history", files{"a": fmt.Sprintf("new %d", i)})
		b.now = b.now.Add(2 * time.Hour)
		b.sync()
	}
	u.gitIn(u.bare, "gc", "-q", "--prune=now")
	b.restart()
	b.sync()
	require.Equal(t, "one", b.read(pinned, "a"))
	require.Equal(t, "same", b.read(pinned, "sub/b"))
	content, err := fs.ReadFile(tree, "a")
	require.NoError(t, err, "a tree that was handed out before stays good")
	require.Equal(t, "one", string(content))
	require.Equal(t, 1, b.Status().Pinned)
	b.sound()

	require.NoError(t, b.Keep(nil))
	require.Equal(t, "one", b.read(pinned, "a"), "for the time of grace")
	b.restart()
	b.now = b.now.Add(59 * time.Minute)
	b.sync()
	require.Equal(t, "one", b.read(pinned, "a"))
	b.now = b.now.Add(2 * time.Minute)
	b.sync()
	_, err = b.Tree(pinned)
	require.ErrorIs(t, err, gitsource.ErrNotKept)
	b.sound()
}

func TestReplacedCommitsGoAfterTheTimeOfGrace(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	b := newBench(t, gitsource.Config{URL: u.bare, Grace: time.Hour})
	var first string
	for i := range 10 {
		c := u.push("Change", files{"a": fmt.Sprint(i)})
		if i == 0 {
			first = c
		}
		b.sync()
	}
	require.Equal(t, 30, b.objects(), "10 commits, trees and files")
	require.NoError(t, b.Keep([]string{first}), "an installation that was planned meanwhile")
	b.now = b.now.Add(time.Hour)
	b.sync()
	require.Equal(t, 6, b.objects())
	require.Equal(t, "0", b.read(first, "a"))
}

func TestKeepNamesWhatItCannotKeep(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	b := newBench(t, gitsource.Config{URL: u.bare})
	b.sync()
	stranger := strings.Repeat("ab", 20)
	err := b.Keep([]string{first, stranger})
	require.ErrorIs(t, err, gitsource.ErrNotKept)
	require.ErrorContains(t, err, stranger)
	require.Equal(t, []string{stranger}, b.Status().Lost)
	require.Equal(t, 1, b.Status().Pinned)
	require.ErrorContains(t, b.Keep([]string{"main"}), `"main"`)
	require.Equal(t, 1, b.Status().Pinned)
}

func TestContentThatComesBackFromAnOlderCommitIsFetched(t *testing.T) {
	t.Parallel()
	// A server that takes us to have all older commits would leave it out.
	u := newUpstream(t)
	u.push("First", files{"a": "the old text", "b": "x"})
	server := newHTTPServer(t, u, "")
	b := newBench(t, gitsource.Config{URL: server.url, Auth: gitsource.Auth{CAFile: server.ca}})
	for i, text := range []string{"another text", "a third one"} {
		u.push("Change", files{"a": text, "b": fmt.Sprint("y", i)})
		b.sync()
	}
	reverted := u.push("Revert", files{"a": "the old text", "b": "x"})
	b.sync()
	b.inUse(reverted)
	require.Equal(t, "the old text", b.read(reverted, "a"))
	b.sound()
}

func TestAnnotatedAndLightTagsAreFollowed(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	u.git("tag", "light")
	u.git("tag", "-a", "-m", "Release", "v1")
	u.git("tag", "-a", "-m", "Tag of a tag", "v1-again", "v1")
	second := u.push("Second", files{"a": "two"})
	u.git("push", "-q", "--tags", "origin")
	server := newHTTPServer(t, u, "")
	for _, url := range []string{u.bare, server.url} {
		auth := gitsource.Auth{}
		if url == server.url {
			auth.CAFile = server.ca
		}
		for _, tag := range []string{"light", "v1", "v1-again"} {
			b := newBench(t, gitsource.Config{URL: url, Auth: auth, Ref: gitsource.Ref{Tag: tag}})
			b.sync()
			b.inUse(first)
			b.sync()
			b.sound()
		}
	}
	b := newBench(t, gitsource.Config{URL: u.bare, Ref: gitsource.Ref{Tag: "v1"}})
	b.sync()
	u.git("tag", "-f", "-a", "-m", "Moved", "v1", second)
	u.git("push", "-q", "-f", "--tags", "origin")
	b.sync()
	b.inUse(second)
}

func TestAPinnedCommitIsUsedHoweverFarTheBranchMoves(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	u.push("Second", files{"a": "two"})
	server := newHTTPServer(t, u, "")
	for _, cfg := range []gitsource.Config{
		{URL: u.bare}, {URL: "file://" + u.bare},
		{URL: server.url, Auth: gitsource.Auth{CAFile: server.ca}}, // git looks for it in the whole history
	} {
		cfg.Ref = gitsource.Ref{Commit: first}
		b := newBench(t, cfg)
		b.sync()
		b.inUse(first)
		require.Equal(t, "one", b.read(first, "a"))
		require.Equal(t, 3, b.objects(), "what was fetched on the way is gone")
		b.sound()
	}
	u.gitIn(u.bare, "config", "uploadpack.allowReachableSHA1InWant", "true")
	b := newBench(t, gitsource.Config{URL: server.url, Auth: gitsource.Auth{CAFile: server.ca},
		Ref: gitsource.Ref{Commit: first}})
	b.sync()
	b.inUse(first)

	b = newBench(t, gitsource.Config{URL: u.bare, Ref: gitsource.Ref{Commit: strings.Repeat("1", 40)}})
	b.syncFails("there is no commit 1111")
}

func TestMissingReferenceIsReportedWithThoseThatExist(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.push("First", files{"a": "one"})
	for i := range 12 {
		u.git("push", "-q", "origin", fmt.Sprintf("HEAD:feature-%02d", i))
	}
	b := newBench(t, gitsource.Config{URL: u.bare, Ref: gitsource.Ref{Branch: "master"}})
	b.syncFails("no branch master", "feature-00, feature-01", "feature-09, 3 more")
	b = newBench(t, gitsource.Config{URL: u.bare, Ref: gitsource.Ref{Tag: "v1"}})
	b.syncFails("no tag v1", "there are no tags")
}

func TestEmptyRepositoryIsReported(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	server := newHTTPServer(t, u, "")
	newBench(t, gitsource.Config{URL: u.bare}).syncFails("is empty", "push a first commit")
	newBench(t, gitsource.Config{URL: server.url, Auth: gitsource.Auth{CAFile: server.ca}}).
		syncFails("is empty", "push a first commit")
}

func TestAnotherRemoteKeepsTheOldCommitUntilItIsFetched(t *testing.T) {
	t.Parallel()
	u, other := newUpstream(t), newUpstream(t)
	first := u.push("First", files{"a": "one"})
	b := newBench(t, gitsource.Config{URL: u.bare})
	b.sync()
	b.cfg.URL = other.bare
	b.restart()
	b.inUse(first)
	require.Contains(t, b.log.String(), "has another address now")
	b.syncFails("is empty")
	b.inUse(first)
	there := other.push("Elsewhere", files{"a": "two"})
	b.sync()
	b.inUse(there)
	b.sound()
}

func TestTwoProcessesCannotShareADirectory(t *testing.T) {
	t.Parallel()
	b := newBench(t, gitsource.Config{URL: "/srv/config.git"})
	_, err := gitsource.Open(b.cfg)
	require.ErrorIs(t, err, gitsource.ErrInUse)
	require.ErrorContains(t, err, b.cfg.Dir)
	require.ErrorContains(t, err, fmt.Sprint("process ", os.Getpid()))
	b.restart()
}

func TestWhatCannotBeUsedIsRefusedWithAllReasons(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	lib := newUpstream(t)
	lib.push("Lib", files{"x": "y"})
	u.push("First", files{"a": "one"})
	u.git("submodule", "--quiet", "add", lib.bare, "vendor/lib")
	bad := u.push("Everything wrong", files{
		"images/disk.img": "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n",
		"out":             "-> ../../etc/passwd",
		"abs":             "-> /etc/passwd",
		"dangling":        "-> nowhere",
		"loop":            "-> loop",
		"deep/inside":     "-> ../a",
		"deep/dir":        "-> ../images",
		"deep/out":        "-> ../x/../../../a",
		"x/y":             "z",
	})
	b := newBench(t, gitsource.Config{URL: u.bare, Check: func(context.Context, gitsource.Commit, fs.FS) error {
		t.Error("it must not get that far")
		return nil
	}})
	st := b.sync()
	require.Equal(t, bad, st.Refused.Commit.Hash)
	reasons := strings.Join(st.Refused.Errors, "\n")
	for _, want := range []string{
		"vendor/lib: is a submodule", "images/disk.img: is a Git LFS pointer",
		"out: a symbolic link leads out", "abs: a symbolic link leads out", "deep/out: a symbolic link leads out",
		`dangling: the symbolic link leads to "nowhere"`, "loop: too many symbolic links",
	} {
		require.Contains(t, reasons, want)
	}
	require.Len(t, st.Refused.Errors, 7, reasons)

	// The same is found in the working directory, before it is pushed.
	err := gitsource.Inspect(os.DirFS(u.work), gitsource.Limits{})
	for _, want := range []string{
		"vendor/lib: is a submodule", "images/disk.img: is a Git LFS pointer", "out: a symbolic link leads out",
		"dangling: ", "deep/out: ",
	} {
		require.ErrorContains(t, err, want)
	}
	var p gitsource.Problem
	require.ErrorAs(t, err, &p)

	// The tree of a refused commit can be looked at, and links still do not lead out.
	tree, err := b.Tree(bad)
	require.NoError(t, err)
	for _, name := range []string{"out", "abs", "deep/out", "loop", "vendor/lib"} {
		_, err := fs.ReadFile(tree, name)
		require.Error(t, err, name)
		require.ErrorContains(t, err, name)
	}
	content, err := fs.ReadFile(tree, "deep/inside")
	require.NoError(t, err)
	require.Equal(t, "one", string(content))
	entries, err := fs.ReadDir(tree, "deep/dir")
	require.NoError(t, err)
	require.Equal(t, "disk.img", entries[0].Name())
}

func TestTreeIsAFileSystemLikeAnyOther(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.write(files{"scripts/run.sh": "#!/bin/sh", "profiles/a.yaml": "a", "profiles/b.yaml": "-> a.yaml",
		"a.b": "1", "a/x": "2", "a-b/x": "3", "深/文件": "4"})
	require.NoError(t, os.Chmod(filepath.Join(u.work, "scripts/run.sh"), 0o755))
	commit := u.push("Files", nil)
	b := newBench(t, gitsource.Config{URL: u.bare})
	b.sync()
	tree, err := b.Tree(commit)
	require.NoError(t, err)
	require.NoError(t, fstest.TestFS(tree, "scripts/run.sh", "profiles/a.yaml", "a.b", "a/x", "a-b/x", "深/文件"))
	info, err := fs.Stat(tree, "scripts/run.sh")
	require.NoError(t, err)
	require.Equal(t, fs.FileMode(0o555), info.Mode())
	require.Equal(t, u.now, info.ModTime())
	info, err = fs.Lstat(tree, "profiles/b.yaml")
	require.NoError(t, err)
	require.Equal(t, fs.ModeSymlink, info.Mode().Type())
	names, err := fs.Glob(tree, "profiles/*.yaml")
	require.NoError(t, err)
	require.Equal(t, []string{"profiles/a.yaml", "profiles/b.yaml"}, names)
}

func TestBigRepositoriesAreRefusedBeforeTheyFillTheDisk(t *testing.T) {
	t.Parallel()
	incompressible := func(n int) string {
		b := make([]byte, n)
		r := rand.NewChaCha8([32]byte{1})
		r.Read(b)
		return string(b)
	}
	many := files{}
	for i := range 120 {
		many[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprint("file ", i)
	}
	cases := map[string]struct {
		limits gitsource.Limits
		files  files
		want   string
	}{
		"one big file, well compressed": {
			gitsource.Limits{}, files{"disk.img": strings.Repeat("\x00", 20<<20)}, "8 MiB is the limit",
		},
		"one file a little too big": {
			gitsource.Limits{Blob: 1 << 20}, files{"f": strings.Repeat("x", 1<<20+1)}, "1 MiB is the limit",
		},
		"one pack too big": {
			gitsource.Limits{Pack: 1 << 20}, files{"f": incompressible(3 << 20)}, "more than 1 MiB",
		},
		"too many files":     {gitsource.Limits{Files: 50}, many, "more than 50 files"},
		"far too many files": {gitsource.Limits{Files: 10}, many, "10 files and directories are the limit"},
		"too much together": {gitsource.Limits{Total: 1 << 20},
			files{"a": strings.Repeat("a", 700<<10), "b": strings.Repeat("b", 700<<10)}, "1 MiB"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t)
			good := u.push("Small", files{"a": "one"})
			server := newHTTPServer(t, u, "")
			for _, url := range []string{u.bare, server.url} {
				if url == u.bare && strings.Contains(name, "pack") {
					continue // there is none
				}
				u.git("push", "-q", "-f", "origin", good+":main")
				auth := gitsource.Auth{}
				if url == server.url {
					auth.CAFile = server.ca
				}
				b := newBench(t, gitsource.Config{URL: url, Auth: auth, Limits: c.limits})
				b.sync()
				big := u.push("Big", c.files)
				st := b.sync()
				require.NotNil(t, st.Refused, url)
				require.Equal(t, big, st.Refused.Commit.Hash)
				require.Contains(t, strings.Join(st.Refused.Errors, "\n"), c.want)
				b.inUse(good)
				received := st.Received
				st = b.sync()
				require.Equal(t, received, st.Received, "it is not transferred again")
				require.Less(t, diskUsage(t, b.cfg.Dir), int64(4<<20))
				u.git("reset", "-q", "--hard", good)
			}
		})
	}
}

func diskUsage(t *testing.T, dir string) (n int64) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		n += info.Size()
		return err
	}))
	return n
}

func TestDamagedCopiesAreSetAsideAndFetchedAnew(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	pinned := u.push("Pinned", files{"a": "pinned", "common": "text"})
	u.git("tag", "keep")
	u.git("push", "-q", "--tags", "origin")
	setup := func(t *testing.T) (*bench, string) {
		u.git("checkout", "-q", "-B", "main", "keep")
		u.git("push", "-q", "-f", "origin", "HEAD:main")
		b := newBench(t, gitsource.Config{URL: u.bare})
		b.sync()
		require.NoError(t, b.Keep([]string{pinned}))
		current := u.push("Current", files{"a": "current"})
		b.sync()
		require.NoError(t, b.Close())
		return b, current
	}
	object := func(b *bench, spec string) string {
		repo := filepath.Join(b.cfg.Dir, "repo.git")
		h := u.gitIn(repo, "rev-parse", spec)
		return filepath.Join(repo, "objects", h[:2], h[2:])
	}
	damages := map[string]struct {
		do            func(t *testing.T, b *bench)
		current, pins bool // whether they are in use before the remote was asked
	}{
		"truncated file of the current commit": {func(t *testing.T, b *bench) {
			truncate(t, object(b, "HEAD:a"), 5)
		}, false, true},
		"a bit of a file that both have": {func(t *testing.T, b *bench) {
			path := object(b, "HEAD:common")
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			raw[len(raw)/2] ^= 1
			require.NoError(t, os.Chmod(path, 0o600))
			require.NoError(t, os.WriteFile(path, raw, 0o600))
		}, false, false},
		"missing tree of the pinned commit": {func(t *testing.T, b *bench) {
			require.NoError(t, os.Remove(object(b, pinned+"^{tree}")))
		}, true, false},
		"one object in the place of another": {func(t *testing.T, b *bench) {
			require.NoError(t, os.Rename(object(b, pinned+":a"), object(b, "HEAD:a")))
		}, false, false},
		"unreadable reference": {func(t *testing.T, b *bench) {
			require.NoError(t, os.WriteFile(filepath.Join(b.cfg.Dir, "repo.git/refs/heads/current"), []byte("\x00"), 0o600))
		}, true, true},
		"no objects": {func(t *testing.T, b *bench) {
			require.NoError(t, os.RemoveAll(filepath.Join(b.cfg.Dir, "repo.git/objects")))
		}, false, false},
		"a file instead of the repository": {func(t *testing.T, b *bench) {
			require.NoError(t, os.RemoveAll(filepath.Join(b.cfg.Dir, "repo.git")))
			require.NoError(t, os.WriteFile(filepath.Join(b.cfg.Dir, "repo.git"), nil, 0o600))
		}, false, false},
		"notes that are no JSON": {func(t *testing.T, b *bench) {
			require.NoError(t, os.WriteFile(filepath.Join(b.cfg.Dir, "state.json"), []byte("{"), 0o600))
		}, true, true},
	}
	for name, d := range damages {
		t.Run(name, func(t *testing.T) {
			b, current := setup(t)
			d.do(t, b)
			b.open()
			_, ok := b.Current()
			require.Equal(t, d.current, ok)
			_, err := b.Tree(pinned)
			require.Equal(t, d.pins, err == nil, "%v", err)
			b.sync()
			b.inUse(current)
			require.Equal(t, "current", b.read(current, "a"))
			if name != "a file instead of the repository" {
				require.Equal(t, "pinned", b.read(pinned, "a"), "it was asked for by its number")
				require.Equal(t, 1, b.Status().Pinned)
				require.Empty(t, b.Status().Lost)
			}
			b.sound()
			b.restart()
			b.inUse(current)
		})
	}
}

func TestWhatAPowerCutLeftOfAFetchIsNotTakenForGranted(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.push("First", files{"a": "one"})
	b := newBench(t, gitsource.Config{URL: u.bare})
	b.sync()
	require.NoError(t, b.Close())
	second := u.push("Second", files{"a": "two"})
	repo := filepath.Join(b.cfg.Dir, "repo.git")
	for _, spec := range []string{second, second + "^{tree}", second + ":a"} {
		h := u.git("rev-parse", spec)
		require.NoError(t, os.MkdirAll(filepath.Join(repo, "objects", h[:2]), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(repo, "objects", h[:2], h[2:]), nil, 0o400))
	}
	b.open()
	b.sync()
	b.inUse(second)
	require.Equal(t, "two", b.read(second, "a"))
	b.sound()
}

func TestDamageThatAReaderFindsIsRepairedByTheNextFetch(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	commit := u.push("First", files{"a": "one"})
	b := newBench(t, gitsource.Config{URL: u.bare})
	b.sync()
	repo := filepath.Join(b.cfg.Dir, "repo.git")
	h := u.gitIn(repo, "rev-parse", "HEAD:a")
	truncate(t, filepath.Join(repo, "objects", h[:2], h[2:]), 3)
	tree, err := b.Tree(commit)
	require.NoError(t, err)
	_, err = fs.ReadFile(tree, "a")
	require.ErrorContains(t, err, "the local copy is damaged")
	b.sync()
	require.Equal(t, "one", b.read(commit, "a"))
	require.Contains(t, b.log.String(), "was damaged")
}

func TestSyncsThatComeTogetherShareOneFetch(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.push("First", files{"a": "one"})
	inCheck, goOn := make(chan struct{}), make(chan struct{})
	b := newBench(t, gitsource.Config{URL: u.bare, Check: func(context.Context, gitsource.Commit, fs.FS) error {
		close(inCheck)
		<-goOn
		return nil
	}})
	var group sync.WaitGroup
	group.Go(func() { b.Sync(t.Context()) })
	<-inCheck
	var started sync.WaitGroup
	for range 20 {
		started.Add(1)
		group.Go(func() {
			started.Done()
			_, err := b.Sync(t.Context())
			require.NoError(t, err)
		})
	}
	started.Wait()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := b.Sync(ctx)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, ok := b.Current() // does not wait
	require.False(t, ok)
	require.NoError(t, b.Keep(nil), "nor does this")
	close(goOn)
	group.Wait()
	require.LessOrEqual(t, b.Status().Fetches, uint64(3), "the first, and one for all that came meanwhile")
}

func TestRunPollsAndIsWokenByTriggers(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	changed := make(chan string, 10)
	b := newBench(t, gitsource.Config{URL: u.bare, Poll: time.Hour, Now: time.Now,
		Changed: func(c gitsource.Commit) { changed <- c.Hash }})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- b.Run(ctx) }()
	require.Equal(t, first, <-changed)
	second := u.push("Second", files{"a": "two"})
	for range 100 {
		b.Trigger()
	}
	require.Equal(t, second, <-changed)
	require.Eventually(t, func() bool { return b.Status().NextPoll.After(time.Now().Add(50 * time.Minute)) },
		5*time.Second, 10*time.Millisecond)
	require.LessOrEqual(t, b.Status().Fetches, uint64(3))
	cancel()
	require.NoError(t, <-done)

	require.NoError(t, b.Close())
	_, err := b.Sync(t.Context())
	require.ErrorIs(t, err, gitsource.ErrClosed)
	require.ErrorIs(t, b.Run(t.Context()), gitsource.ErrClosed)
	b.open()
}

func TestReadersAreNotDisturbedByFetchesAndTidying(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	pinned := u.push("Pinned", files{"a": "pinned", "b/c": "text"})
	b := newBench(t, gitsource.Config{URL: u.bare, Grace: time.Nanosecond, Now: time.Now})
	b.sync()
	require.NoError(t, b.Keep([]string{pinned}))
	ctx, cancel := context.WithCancel(t.Context())
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for ctx.Err() == nil {
				tree, err := b.Tree(pinned)
				if err == nil {
					_, err = fs.ReadFile(tree, "b/c")
				}
				if err == nil {
					err = b.Keep([]string{pinned})
				}
				if err != nil {
					t.Error(err)
					return
				}
				b.Status()
			}
		})
	}
	for i := range 8 {
		u.push("Change", files{"a": fmt.Sprint(i), "b/c": fmt.Sprint("other ", i)})
		b.sync()
	}
	cancel()
	group.Wait()
	b.sound()
}

func TestConfigurationIsCheckedWhenASourceIsOpened(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ssh := gitsource.Auth{KeyFile: "/k", KnownHostsFile: "/h"}
	for _, c := range []struct {
		url  string
		auth gitsource.Auth
		ref  gitsource.Ref
		want string // empty: good
	}{
		{url: "https://git.example.com/a/b.git"},
		{url: "https://git.example.com:8443/a/b"},
		{url: "ssh://git@git.example.com:2222/a/b.git", auth: ssh},
		{url: "git@git.example.com:a/b.git", auth: ssh},
		{url: "git.example.com:/srv/b.git", auth: ssh},
		{url: "file:///srv/b.git"},
		{url: "/srv/b.git"},
		{url: "http://127.0.0.1:3000/a/b"},
		{url: "http://[::1]:3000/a/b"},
		{url: "", want: "missing"},
		{url: "srv/b.git", want: "absolute path"},
		{url: "http://git.example.com/a/b.git", want: "in the clear"},
		{url: "git://git.example.com/a/b.git", want: "not supported"},
		{url: "ftp://git.example.com/a/b.git", want: "not supported"},
		{url: "ext::sh -c id", want: "spaces"},
		{url: "https://token@git.example.com/a/b.git", want: "would end up in logs"},
		{url: "https://user:hunter2@git.example.com/a/b.git", want: "password"},
		{url: "ssh://git:hunter2@git.example.com/b.git", auth: ssh, want: "password"},
		{url: "https://git.example.com/a/b.git?x=hunter2", want: "query"},
		{url: "https://git.example.com", want: "lacks"},
		{url: "https://git.example.com/%zz", want: "cannot be read"},
		{url: "file://server/share", want: "absolute path"},
		{url: "ssh://-oProxyCommand=id/b", auth: ssh, want: "hyphen"},
		{url: "ssh://git.example.com:0/b", auth: ssh, want: "port"},
		{url: "ssh://git.example.com/b", want: "key file is needed"},
		{url: "ssh://git.example.com/b", auth: gitsource.Auth{KeyFile: "/k"}, want: "ssh-keyscan git.example.com"},
		{url: "https://git.example.com/b", auth: ssh, want: "does not use it"},
		{url: "/srv/b.git", auth: gitsource.Auth{TokenFile: "/t"}, want: "does not use it"},
		{url: "/srv/b.git", ref: gitsource.Ref{Branch: "main", Tag: "v1"}, want: "only one"},
		{url: "/srv/b.git", ref: gitsource.Ref{Branch: "a..b"}, want: "no name"},
		{url: "/srv/b.git", ref: gitsource.Ref{Branch: "refs/heads/main"}, want: "without refs/"},
		{url: "/srv/b.git", ref: gitsource.Ref{Commit: "abc123"}, want: "full commit number"},
	} {
		s, err := gitsource.Open(gitsource.Config{URL: c.url, Auth: c.auth, Ref: c.ref, Dir: dir})
		if c.want == "" {
			require.NoError(t, err, c.url)
			require.NoError(t, s.Close())
			continue
		}
		require.ErrorContains(t, err, c.want, c.url)
		require.NotContains(t, err.Error(), "hunter2")
	}
	_, err := gitsource.Open(gitsource.Config{URL: "/srv/b.git"})
	require.ErrorContains(t, err, "directory")
	_, err = gitsource.Open(gitsource.Config{URL: "/srv/b.git", Dir: dir, Poll: -1})
	require.ErrorContains(t, err, "negative")
}

func TestErrorsOfACheckAreTakenApartAndBounded(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.push("First", files{"a": "one"})
	var all []error
	for i := range 150 {
		all = append(all, fmt.Errorf("a.yaml:%d: %w", i, errors.New("wrong\x1b[31m\n"+strings.Repeat("x", 5000))))
	}
	b := newBench(t, gitsource.Config{URL: u.bare, Check: func(context.Context, gitsource.Commit, fs.FS) error {
		return errors.Join(errors.Join(all...), errors.New("last"))
	}})
	st := b.sync()
	require.Len(t, st.Refused.Errors, 101)
	require.Equal(t, "and 51 more", st.Refused.Errors[100])
	require.True(t, strings.HasPrefix(st.Refused.Errors[0], "a.yaml:0: wrong"))
	require.NotContains(t, st.Refused.Errors[0], "\x1b")
	require.LessOrEqual(t, len([]rune(st.Refused.Errors[0])), 2000)
}

func TestTreesMadeByHandAreRefused(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	good := u.push("Good", files{"a": "one"})
	b := newBench(t, gitsource.Config{URL: u.bare})
	b.sync()
	blob := u.git("rev-parse", "HEAD:a")
	raw := func(entries ...string) string {
		var tree bytes.Buffer
		for _, e := range entries {
			mode, name, _ := strings.Cut(e, " ")
			tree.WriteString(mode + " " + name + "\x00")
			for i := 0; i < 40; i += 2 {
				var c byte
				_, err := fmt.Sscanf(blob[i:i+2], "%02x", &c)
				require.NoError(t, err)
				tree.WriteByte(c)
			}
		}
		cmd := gitCommand(u.bare, u.now, "hash-object", "-t", "tree", "-w", "--stdin", "--literally")
		cmd.Stdin = &tree
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		return u.gitIn(u.bare, "commit-tree", "-m", "By hand", strings.TrimSpace(string(out)))
	}
	for name, commit := range map[string]string{
		"parent": raw("100644 .."), "git": raw("100644 .GIT"), "slash": raw("100644 a/../../b"),
		"twice": raw("100644 a", "100644 a"), "encoding": raw("100644 \xff\xfe"),
	} {
		u.gitIn(u.bare, "update-ref", "refs/heads/main", commit)
		st, err := b.Sync(t.Context())
		b.inUse(good)
		if err == nil {
			require.NotNil(t, st.Refused, name)
			require.Equal(t, commit, st.Refused.Commit.Hash, name)
		}
	}

	// A tree that holds itself a thousand times, seven times over.
	tree := u.gitIn(u.bare, "rev-parse", good+"^{tree}")
	for range 7 {
		var lines strings.Builder
		for i := range 10 {
			fmt.Fprintf(&lines, "040000 tree %s\td%d\n", tree, i)
		}
		cmd := gitCommand(u.bare, u.now, "mktree")
		cmd.Stdin = strings.NewReader(lines.String())
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, string(out))
		tree = strings.TrimSpace(string(out))
	}
	u.gitIn(u.bare, "update-ref", "refs/heads/main", u.gitIn(u.bare, "commit-tree", "-m", "Bomb", tree))
	st := b.sync()
	require.Contains(t, st.Refused.Errors[0], "more than 50000 files")
}

// truncate cuts a file of the copy, which is read-only to all but root.
func truncate(t *testing.T, file string, size int64) {
	t.Helper()
	require.NoError(t, os.Chmod(file, 0o600))
	require.NoError(t, os.Truncate(file, size))
}
