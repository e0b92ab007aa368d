package tool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
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
	require.Len(t, said, 2)
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
	_, err := (&tool.Fetcher{Files: s, Dir: t.TempDir(), Patience: 20 * time.Millisecond, Pause: time.Millisecond}).Get(t.Context(), storcli)
	require.ErrorContains(t, err, "no route to host")
}

func TestNamesThatLeaveTheDirectoryAreRefused(t *testing.T) {
	s := &site{}
	f := &tool.Fetcher{Files: s, Dir: t.TempDir()}
	for _, d := range []agentapi.Download{{Name: "../x"}, {Name: ""}, {Name: "/bin/sh"}, {Name: ".."},
		{Name: "x", Files: map[string]string{"../y": "0"}}, {Name: "x", Files: map[string]string{"x": "0"}}} {
		_, err := f.Get(t.Context(), d)
		require.Error(t, err)
	}
	require.Empty(t, s.asked)
}
