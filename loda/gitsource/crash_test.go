package gitsource_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/gitsource"
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LODA_GITSOURCE_TEST_DIR"); dir != "" {
		s, err := gitsource.Open(gitsource.Config{Dir: dir, URL: os.Getenv("LODA_GITSOURCE_TEST_URL"), Grace: time.Nanosecond,
			Auth:   gitsource.Auth{CAFile: os.Getenv("LODA_GITSOURCE_TEST_CA")},
			Logger: slog.New(slog.NewTextHandler(os.Stdout, nil))})
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("open")
		if _, err := s.Sync(context.Background()); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestProcessThatIsKilledAtAnyMomentLeavesAGoodCopy(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	content := func(round int) files {
		f := files{"round": fmt.Sprint(round)}
		for i := range 100 {
			f[fmt.Sprintf("d%d/f%03d", i%9, i)] = fmt.Sprintf("file %d of round %d\n", i, round)
		}
		return f
	}
	first := u.push("Round 0", content(0))
	server := newHTTPServer(t, u, "")
	auth := gitsource.Auth{CAFile: server.ca}
	b := newBench(t, gitsource.Config{URL: server.url, Auth: auth})
	b.sync()
	require.NoError(t, b.Keep([]string{first}))
	u.push("Round 0, again", content(-1))
	start := time.Now()
	b.sync()
	took := time.Since(start)
	require.NoError(t, b.Close())

	killed, finished := 0, 0
	for round := 1; round <= 6; round++ {
		before, _ := b.Current()
		pushed := u.push(fmt.Sprint("Round ", round), content(round))
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "LODA_GITSOURCE_TEST_DIR="+b.cfg.Dir, "LODA_GITSOURCE_TEST_URL="+server.url,
			"LODA_GITSOURCE_TEST_CA="+server.ca)
		out := &journal{}
		cmd.Stdout = out
		require.NoError(t, cmd.Start())
		require.Eventually(t, func() bool { return strings.Contains(out.String(), "open") }, 20*time.Second, time.Millisecond)
		time.Sleep(time.Duration(rand.Int64N(int64(took))))
		require.NoError(t, cmd.Process.Kill())
		if cmd.Wait() == nil {
			finished++
		} else {
			killed++
		}
		require.NotContains(t, out.String(), "damaged", "being killed does no damage")

		b.open() // the lock went with the process
		commit, ok := b.Current()
		require.True(t, ok)
		require.Contains(t, []string{before, pushed}, commit)
		require.NotContains(t, b.log.String(), "damaged")
		b.sound()
		tree, err := b.Tree(commit)
		require.NoError(t, err)
		require.NoError(t, gitsource.Inspect(tree, gitsource.Limits{}))
		require.Equal(t, "0", b.read(first, "round"))
		b.sync()
		b.inUse(pushed)
		require.Equal(t, fmt.Sprint(round), b.read(pushed, "round"))
		left, err := fs.Glob(os.DirFS(b.cfg.Dir), "repo.git/tmp-*")
		require.NoError(t, err)
		require.Empty(t, left)
		require.NoError(t, b.Close())
	}
	t.Logf("killed %d, finished before %d; a fetch takes %s", killed, finished, took)
	require.Positive(t, killed)
	b.open()
}
