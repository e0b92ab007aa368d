package sqlite_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/sqlite"
)

// crashFile names the database in the environment of a child that writes until it is killed.
const crashFile = "LODA_TEST_SQLITE_CRASH"

const crashInstallations = 4

// TestNothingAcknowledgedIsLostByKill9 runs this test binary again as a child that writes leases and installations as
// fast as it can and acknowledges each on its standard output, kills it at a random moment, and looks.
func TestNothingAcknowledgedIsLostByKill9(t *testing.T) {
	if path := os.Getenv(crashFile); path != "" {
		writeUntilKilled(path)
		return
	}
	path := filepath.Join(t.TempDir(), "loda.db")
	s, err := sqlite.Open(t.Context(), path)
	require.NoError(t, err)
	for i := range crashInstallations {
		sn := inventory.Serial(fmt.Sprintf("SN%04d", i))
		create(t, s, sn)
		require.NoError(t, s.CreateInstallation(t.Context(), inventory.Installation{ID: fmt.Sprintf("i%d", i), Serial: sn,
			State: inventory.Queued}))
	}
	require.NoError(t, s.Close())

	leases, attempts := map[string]string{}, map[string]int{} // what was acknowledged in all rounds
	for round := range 10 {
		acknowledged := runAndKill(t, path, time.Duration(20+rand.IntN(200))*time.Millisecond)
		for _, l := range acknowledged {
			var key string
			var n int
			_, err := fmt.Sscanf(l, "%s %d", &key, &n)
			require.NoError(t, err, l)
			if strings.HasPrefix(key, "i") {
				attempts[key] = max(attempts[key], n)
			} else {
				leases[key] = crashLease(round, n).Addr.String()
			}
		}
		s, err := sqlite.Open(t.Context(), path)
		require.NoError(t, err)
		require.NoError(t, s.Check(t.Context()))
		verify(t, s, leases, attempts)
		require.NoError(t, s.Close())
		// The next child goes on in a range of its own.
		require.NoError(t, os.WriteFile(path+".round", fmt.Append(nil, round+1), 0o600))
	}
	require.NotEmpty(t, leases)
	require.NotEmpty(t, attempts)
	t.Logf("%d leases and %v attempts acknowledged and found again", len(leases), attempts)
}

func runAndKill(t *testing.T, path string, after time.Duration) []string {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestNothingAcknowledgedIsLostByKill9$")
	child.Env = append(os.Environ(), crashFile+"="+path)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	defer child.Process.Kill()
	var lines []string
	scan := bufio.NewScanner(out)
	for scan.Scan() {
		if len(lines) == 0 { // the first write is done: the child is at work
			time.AfterFunc(after, func() { _ = child.Process.Kill() })
		}
		lines = append(lines, scan.Text())
	}
	require.NotEmpty(t, lines, "the child wrote nothing")
	err = child.Wait()
	require.ErrorContains(t, err, "killed")
	return lines
}

func crashLease(round, n int) dhcp.Lease {
	l := benchLease(round<<16 | n)
	l.GrantedAt = time.Now()
	l.ExpiresAt = l.GrantedAt.Add(time.Hour)
	return l
}

func writeUntilKilled(path string) {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	ctx := context.Background()
	s, err := sqlite.Open(ctx, path)
	fail(err)
	round := 0
	if text, err := os.ReadFile(path + ".round"); err == nil {
		_, err = fmt.Sscan(string(text), &round)
		fail(err)
	}
	for i := range crashInstallations {
		go func() {
			id := fmt.Sprintf("i%d", i)
			for {
				inst, err := s.UpdateInstallation(ctx, id, func(i *inventory.Installation) ([]inventory.Event, error) {
					i.Attempt++
					return []inventory.Event{{Kind: inventory.KindState, Installation: id, Message: fmt.Sprint(i.Attempt)}}, nil
				})
				fail(err)
				fmt.Printf("%s %d\n", id, inst.Attempt) // one write(2): lines do not mix
			}
		}()
	}
	const writers = 8
	for w := range writers {
		go func() {
			for n := w; ; n += writers {
				l := crashLease(round, n%(1<<16))
				fail(s.SaveLease(ctx, l))
				fmt.Printf("%s %d\n", l.MAC, n%(1<<16))
			}
		}()
	}
	select {}
}

func verify(t *testing.T, s *sqlite.Store, want map[string]string, attempts map[string]int) {
	t.Helper()
	all, err := s.Leases(t.Context())
	require.NoError(t, err)
	got, owners := map[string]string{}, map[string]net.HardwareAddr{}
	for _, l := range all {
		got[l.MAC.String()] = l.Addr.String()
		require.NotContains(t, owners, l.Addr.String(), "an address is in one lease")
		owners[l.Addr.String()] = l.MAC
	}
	for mac, addr := range want {
		require.Equal(t, addr, got[mac], "the acknowledged lease of %s", mac)
	}
	for i := range crashInstallations {
		id := fmt.Sprintf("i%d", i)
		inst, err := s.Installation(t.Context(), id)
		require.NoError(t, err)
		require.GreaterOrEqual(t, inst.Attempt, attempts[id], "the acknowledged attempt of %s", id)
		next := 2
		f := inventory.EventFilter{Installation: id, Limit: 1000}
		for {
			events, err := s.Events(t.Context(), f)
			require.NoError(t, err)
			for _, e := range events {
				require.Equal(t, fmt.Sprint(next), e.Message, "each attempt has its event, in order")
				next++
			}
			if len(events) < f.Limit {
				break
			}
			f.After = events[len(events)-1].ID
		}
		require.Equal(t, inst.Attempt+1, next, "an attempt and its event are stored together")
	}
}
