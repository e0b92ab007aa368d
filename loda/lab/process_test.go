package lab

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAProcessIsKnownByPIDAndStart(t *testing.T) {
	self, err := identify(os.Getpid())
	require.NoError(t, err)
	require.True(t, self.Alive())

	for name, other := range map[string]Process{
		"the same pid, started at another time":          {PID: self.PID, Started: self.Started + 1, Boot: self.Boot},
		"the same pid, before the host was booted again": {PID: self.PID, Started: self.Started, Boot: "earlier"},
		"no process": {},
	} {
		require.False(t, other.Alive(), name)
		require.ErrorIs(t, other.kill(), errGone, name) // or this test is dead now
	}
}

func TestOnlyTheVeryProcessIsKilled(t *testing.T) {
	cmd := exec.Command("sleep", "60")
	require.NoError(t, cmd.Start())
	p, err := identify(cmd.Process.Pid)
	require.NoError(t, err)
	reused := p
	reused.Started--
	require.NoError(t, killAll(t.Context(), []Process{reused}))
	require.True(t, p.Alive())
	require.NoError(t, killAll(t.Context(), []Process{p}))
	require.False(t, p.Alive(), "a zombie counts as gone")
	require.Error(t, cmd.Wait())
}

func TestStatIsReadBehindTheCommandsLastParenthesis(t *testing.T) {
	started, state, err := parseStat("42 (a) R (b c) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2")
	require.NoError(t, err)
	require.Equal(t, "S", state)
	require.Equal(t, uint64(987654), started)
	for _, broken := range []string{"", "42 (sh) S 1", "42 sh S"} {
		_, _, err := parseStat(broken)
		require.Error(t, err, broken)
	}
}
