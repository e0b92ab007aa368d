package depot_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/depot"
)

// beFetcher makes this test binary fetch, so that it can be killed.
const beFetcher = "TEST_BINARY_FETCHES"

func TestMain(m *testing.M) {
	if url := os.Getenv(beFetcher); url != "" {
		d, err := depot.Open(depot.Config{Dir: os.Args[1]})
		if err == nil {
			_, err = d.Open(context.Background(), loda.Download{URL: url, SHA256: strings.Repeat("0", 64)})
		}
		panic(err)
	}
	os.Exit(m.Run())
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// origin serves a text, after it was asked as often as it fails.
func origin(t *testing.T, text string, fails int32, status int) (string, *atomic.Int32) {
	t.Helper()
	asked := &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if asked.Add(1) <= fails {
			if status == 0 { // the connection breaks in the middle
				w.Header().Set("Content-Length", "1000000")
				_, _ = io.WriteString(w, text)
				return
			}
			http.Error(w, "no", status)
			return
		}
		_, _ = io.WriteString(w, text)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/storcli64", asked
}

func open(t *testing.T, c depot.Config) *depot.Depot {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	c.Pause = time.Millisecond
	d, err := depot.Open(c)
	require.NoError(t, err)
	return d
}

func read(t *testing.T, d *depot.Depot, want loda.Download) string {
	t.Helper()
	f, err := d.Open(t.Context(), want)
	require.NoError(t, err)
	defer f.Close()
	text, err := io.ReadAll(f)
	require.NoError(t, err)
	return string(text)
}

func TestAFileIsFetchedOnceForAllWhoWantIt(t *testing.T) {
	url, asked := origin(t, "tool", 0, 0)
	d := open(t, depot.Config{})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			f, err := d.Open(t.Context(), loda.Download{URL: url, SHA256: digest("tool")})
			if err == nil {
				f.Close()
			}
			require.NoError(t, err)
		})
	}
	wg.Wait()
	require.Equal(t, "tool", read(t, d, loda.Download{URL: "http://127.0.0.1:1/gone", SHA256: digest("tool")}), "it is the digest that counts")
	require.EqualValues(t, 1, asked.Load())
}

func TestABrokenTransferIsTriedAgain(t *testing.T) {
	for _, status := range []int{0, http.StatusBadGateway, http.StatusTooManyRequests} {
		url, asked := origin(t, "tool", 2, status)
		require.Equal(t, "tool", read(t, open(t, depot.Config{}), loda.Download{URL: url, SHA256: digest("tool")}))
		require.EqualValues(t, 3, asked.Load())
	}
}

func TestWhatIsNotWhatWasNamedIsNotKept(t *testing.T) {
	url, asked := origin(t, "another tool", 0, 0)
	missing, _ := origin(t, "", 9, http.StatusNotFound)
	down, _ := origin(t, "", 9, http.StatusServiceUnavailable)
	dir := t.TempDir()
	d := open(t, depot.Config{Dir: dir, MaxFile: 100, Artifacts: t.TempDir()})
	large, _ := origin(t, strings.Repeat("x", 101), 0, 0)
	for _, tc := range []struct {
		want loda.Download
		says string
	}{
		{loda.Download{URL: url, SHA256: digest("tool")}, "its sha256 is " + digest("another tool")},
		{loda.Download{URL: missing, SHA256: digest("tool")}, "404"},
		{loda.Download{URL: down, SHA256: digest("tool")}, "503"},
		{loda.Download{URL: large, SHA256: digest(strings.Repeat("x", 101))}, "larger than 100 bytes"},
		{loda.Download{Artifact: "raid/storcli64", SHA256: digest("tool")}, "it is not there; put it into"},
		{loda.Download{Artifact: "../storcli64", SHA256: digest("tool")}, "leaves the directory"},
		{loda.Download{URL: "file:///etc/shadow", SHA256: digest("tool")}, "begins with https://"},
	} {
		_, err := d.Open(t.Context(), tc.want)
		require.ErrorContains(t, err, tc.says)
	}
	require.EqualValues(t, 1, asked.Load(), "a wrong file does not become right by fetching it again")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestAnErrorSaysWhetherAskingAgainMayHelp(t *testing.T) {
	wrong, _ := origin(t, "another tool", 0, 0)
	missing, _ := origin(t, "", 9, http.StatusNotFound)
	down, _ := origin(t, "", 9, http.StatusServiceUnavailable)
	breaks, _ := origin(t, "", 9, 0)
	d := open(t, depot.Config{Artifacts: t.TempDir()})
	for _, tc := range []struct {
		want      loda.Download
		temporary bool
	}{
		{loda.Download{URL: wrong, SHA256: digest("tool")}, false},
		{loda.Download{URL: missing, SHA256: digest("tool")}, false},
		{loda.Download{Artifact: "storcli64", SHA256: digest("tool")}, false},
		{loda.Download{}, false},
		{loda.Download{URL: down, SHA256: digest("tool")}, true},
		{loda.Download{URL: breaks, SHA256: digest("tool")}, true},
		{loda.Download{URL: "http://127.0.0.1:1/away", SHA256: digest("tool")}, true},
	} {
		_, err := d.Open(t.Context(), tc.want)
		var cannot *loda.DownloadError
		require.ErrorAs(t, err, &cannot)
		require.Equal(t, tc.temporary, cannot.Temporary, err)
	}
}

func TestWhatTheDiskHasDamagedIsFetchedAgain(t *testing.T) {
	url, asked := origin(t, "tool", 0, 0)
	dir := t.TempDir()
	want := loda.Download{URL: url, SHA256: digest("tool")}
	d := open(t, depot.Config{Dir: dir})
	require.Equal(t, "tool", read(t, d, want))
	require.NoError(t, os.Truncate(filepath.Join(dir, want.SHA256), 2))
	require.Equal(t, "tool", read(t, d, want), "while the site runs")
	require.NoError(t, os.Remove(filepath.Join(dir, want.SHA256)))
	require.Equal(t, "tool", read(t, d, want), "the directory may be emptied at any time")
	require.EqualValues(t, 3, asked.Load())

	require.Equal(t, "tool", read(t, open(t, depot.Config{Dir: dir}), want))
	require.EqualValues(t, 3, asked.Load(), "what is whole is not fetched again after a restart")
	require.NoError(t, os.WriteFile(filepath.Join(dir, want.SHA256), []byte("tooL"), 0o600))
	require.Equal(t, "tool", read(t, open(t, depot.Config{Dir: dir}), want), "while it did not")
	require.EqualValues(t, 4, asked.Load())
}

func TestClosingEndsWhatIsUnderWay(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	var seen []depot.Fetch
	dir := t.TempDir()
	d := open(t, depot.Config{Dir: dir, Observe: func(f depot.Fetch) { seen = append(seen, f) }})
	failed := make(chan error, 1)
	go func() {
		_, err := d.Open(context.Background(), loda.Download{URL: s.URL, SHA256: digest("tool")})
		failed <- err
	}()
	<-begun
	d.Close()
	var cannot *loda.DownloadError
	require.ErrorAs(t, <-failed, &cannot)
	require.True(t, cannot.Temporary, "the site comes back")
	require.Len(t, seen, 1)
	require.Error(t, seen[0].Err)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)

	url, _ := origin(t, "tool", 0, 0)
	require.Equal(t, "tool", read(t, d, loda.Download{URL: url, SHA256: digest("tool")}), "it may be used again")
	require.EqualValues(t, 4, seen[1].Bytes)
}

func TestAnArtifactOfTheSiteDoesAsWell(t *testing.T) {
	artifacts := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(artifacts, "ssacli"), []byte("tool"), 0o600))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(artifacts, "link")))
	d := open(t, depot.Config{Artifacts: artifacts})
	require.Equal(t, "tool", read(t, d, loda.Download{Artifact: "ssacli", SHA256: digest("tool")}))
	_, err := d.Open(t.Context(), loda.Download{Artifact: "link", SHA256: digest("other")})
	require.Error(t, err)
	_, err = d.Open(t.Context(), loda.Download{Artifact: ".", SHA256: digest("other")})
	require.ErrorContains(t, err, "not a regular file")
}

func TestWhoeverWaitsNoLongerLeavesTheFetchToOthers(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		<-release
		_, _ = io.WriteString(w, "tool")
	}))
	defer s.Close()
	d := open(t, depot.Config{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := d.Open(ctx, loda.Download{URL: s.URL, SHA256: digest("tool")})
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(release)
	require.Equal(t, "tool", read(t, d, loda.Download{URL: s.URL, SHA256: digest("tool")}))
}

func TestTheOldestGoWhenThereIsTooMuch(t *testing.T) {
	dir := t.TempDir()
	d := open(t, depot.Config{Dir: dir, MaxTotal: 10})
	for i, text := range []string{"aaaa", "bbbb", "cccc"} {
		url, _ := origin(t, text, 0, 0)
		read(t, d, loda.Download{URL: url, SHA256: digest(text)})
		at := time.Now().Add(time.Duration(i-10) * time.Minute)
		require.NoError(t, os.Chtimes(filepath.Join(dir, digest(text)), at, at))
	}
	require.NoFileExists(t, filepath.Join(dir, digest("aaaa")))
	require.FileExists(t, filepath.Join(dir, digest("bbbb")))
	require.FileExists(t, filepath.Join(dir, digest("cccc")))
}

func TestAKillInTheMiddleLeavesNothingHalfDone(t *testing.T) {
	begun := make(chan struct{}, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 1<<20))
		w.(http.Flusher).Flush()
		begun <- struct{}{}
		<-r.Context().Done()
	}))
	defer s.Close()
	dir := t.TempDir()
	fetcher := exec.Command(os.Args[0], dir)
	fetcher.Env = append(os.Environ(), beFetcher+"="+s.URL)
	require.NoError(t, fetcher.Start())
	<-begun
	require.Eventually(t, func() bool {
		left, err := filepath.Glob(filepath.Join(dir, ".part-*"))
		require.NoError(t, err)
		return len(left) == 1
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, fetcher.Process.Kill())
	_ = fetcher.Wait()
	open(t, depot.Config{Dir: dir})
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries)
}
