package tool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/bootos/tool"
	"github.com/project-loda/loda/loda/agentapi"
)

// site has files by digest, and fails as often as it should.
type site struct {
	files map[string]string
	fails []error
	asked []string
}

func (s *site) File(_ context.Context, digest string, w io.Writer) error {
	s.asked = append(s.asked, digest)
	if len(s.fails) > 0 {
		err := s.fails[0]
		s.fails = s.fails[1:]
		_, _ = io.WriteString(w, "half")
		return err
	}
	text, ok := s.files[digest]
	if !ok {
		return &agentapi.StatusError{Status: 404, Detail: "not for this machine"}
	}
	_, err := io.WriteString(w, text)
	return err
}

var storcli = agentapi.Download{Name: "storcli64", SHA256: strings.Repeat("a", 64), Files: map[string]string{"lib.so": strings.Repeat("b", 64)}}

func TestAProgramIsFetchedOnceWithItsFilesBesideIt(t *testing.T) {
	s := &site{files: map[string]string{storcli.SHA256: "tool", storcli.Files["lib.so"]: "library"},
		fails: []error{errors.New("connection reset"), &agentapi.StatusError{Status: 503}}}
	var said []string
	f := &tool.Fetcher{Files: s, Dir: t.TempDir(), Pause: time.Millisecond, Say: func(text string) { said = append(said, text) }}
	path, err := f.Get(t.Context(), storcli)
	require.NoError(t, err)
	again, err := f.Get(t.Context(), storcli)
	require.NoError(t, err)
	require.Equal(t, path, again)
	require.Len(t, s.asked, 4)
	require.Len(t, said, 3)
	require.Equal(t, "fetched storcli64 from the site, 4 bytes in 0.0 s", said[2])
	for name, text := range map[string]string{"storcli64": "tool", "lib.so": "library"} {
		got, err := os.ReadFile(filepath.Join(filepath.Dir(path), name))
		require.NoError(t, err)
		require.Equal(t, text, string(got))
	}
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.EqualValues(t, 0o755, info.Mode())
}

func TestWhatTheSiteDoesNotGiveIsAnErrorAtOnce(t *testing.T) {
	for _, fails := range []error{&agentapi.StatusError{Status: 404}, &agentapi.StatusError{Status: 502, Detail: "its sha256 is another"},
		fmt.Errorf("%w", agentapi.ErrSessionLost)} {
		s := &site{fails: []error{fails}, files: map[string]string{}}
		dir := t.TempDir()
		_, err := (&tool.Fetcher{Files: s, Dir: dir}).Get(t.Context(), agentapi.Download{Name: "ssacli", SHA256: storcli.SHA256})
		require.ErrorIs(t, err, fails)
		require.Len(t, s.asked, 1)
		left, err := filepath.Glob(filepath.Join(dir, "*", "*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
}

func TestASiteThatIsAwayForTooLongIsGivenUp(t *testing.T) {
	s := &site{}
	for range 1000 {
		s.fails = append(s.fails, errors.New("no route to host"))
	}
	var said []string
	_, err := (&tool.Fetcher{Files: s, Dir: t.TempDir(), Patience: 20 * time.Millisecond, Pause: time.Millisecond,
		Say: func(text string) { said = append(said, text) }}).Get(t.Context(), storcli)
	require.ErrorContains(t, err, "no route to host")
	require.ErrorContains(t, err, "given up after")
	require.Equal(t, []string{"lib.so cannot be fetched yet, asking again for 20ms: no route to host"}, said, "the timeline tells why nothing goes on")
}

func TestASiteIsNotAskedBeforeItWantsToBe(t *testing.T) {
	s := &site{files: map[string]string{storcli.SHA256: "tool"}, fails: []error{&agentapi.StatusError{Status: 503, RetryAfter: time.Hour}}}
	_, err := (&tool.Fetcher{Files: s, Dir: t.TempDir(), Patience: time.Minute, Pause: time.Millisecond}).Get(t.Context(),
		agentapi.Download{Name: "storcli64", SHA256: storcli.SHA256})
	require.ErrorContains(t, err, "503")
	require.Len(t, s.asked, 1)
}

func TestAMemoryThatIsFullIsNotAskedAgain(t *testing.T) {
	full := &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}
	s := &site{fails: []error{full}}
	_, err := (&tool.Fetcher{Files: s, Dir: t.TempDir()}).Get(t.Context(), agentapi.Download{Name: "x", SHA256: storcli.SHA256})
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.Len(t, s.asked, 1)
}

func TestAFetchThatNobodyWantsAnyMoreEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the server stopped it")
	s := &site{fails: []error{errors.New("no route to host")}}
	_, err := (&tool.Fetcher{Files: s, Dir: t.TempDir(), Pause: time.Hour, Patience: 2 * time.Hour, Say: func(string) { cancel(gone) }}).Get(ctx, storcli)
	require.ErrorIs(t, err, gone)
}

func TestToolsThatShareAProgramDoNotShareItsFiles(t *testing.T) {
	s := &site{files: map[string]string{storcli.SHA256: "tool", storcli.Files["lib.so"]: "library", strings.Repeat("c", 64): "newer library"}}
	f := &tool.Fetcher{Files: s, Dir: t.TempDir()}
	one, err := f.Get(t.Context(), storcli)
	require.NoError(t, err)
	other, err := f.Get(t.Context(), agentapi.Download{Name: "storcli64", SHA256: storcli.SHA256, Files: map[string]string{"lib.so": strings.Repeat("c", 64)}})
	require.NoError(t, err)
	for path, want := range map[string]string{one: "library", other: "newer library"} {
		got, err := os.ReadFile(filepath.Join(f.Libraries(path), "lib.so"))
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
	require.Empty(t, f.Libraries("/usr/sbin/mdadm"), "it was not fetched")
}

func TestNamesThatLeaveTheDirectoryAreRefused(t *testing.T) {
	s := &site{}
	f := &tool.Fetcher{Files: s, Dir: t.TempDir()}
	for _, d := range []agentapi.Download{{Name: "../x"}, {Name: ""}, {Name: "/bin/sh"}, {Name: ".."},
		{Name: "x", SHA256: "../../../bin"}, {Name: "x", SHA256: storcli.SHA256[1:] + "G"}, {Name: "x", SHA256: ""},
		{Name: "x", SHA256: storcli.SHA256, Files: map[string]string{"../y": storcli.SHA256}},
		{Name: "x", SHA256: storcli.SHA256, Files: map[string]string{"x": storcli.SHA256}},
		{Name: "x", SHA256: storcli.SHA256, Files: map[string]string{"y": "../y"}}} {
		if d.SHA256 == "" && d.Name != "x" {
			d.SHA256 = storcli.SHA256
		}
		_, err := f.Get(t.Context(), d)
		require.Error(t, err)
	}
	require.Empty(t, s.asked)
}
