package command_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid/command"
)

func TestWhatAProgramSaysAndHowItExitsIsNoError(t *testing.T) {
	out, err := (&command.Runner{}).Run(t.Context(), "sh", "-c", "echo out; echo err >&2; exit 3")
	require.NoError(t, err)
	require.Equal(t, "out\n", string(out.Stdout))
	require.Equal(t, "err\n", string(out.Stderr))
	require.Equal(t, 3, out.ExitCode)
}

func TestAProgramThatIsNotThereIsAnError(t *testing.T) {
	_, err := (&command.Runner{}).Run(t.Context(), "storcli64-of-nobody")
	require.ErrorIs(t, err, exec.ErrNotFound)
	_, err = (&command.Runner{}).Run(t.Context(), "/nowhere/storcli64")
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = (&command.Runner{}).Run(t.Context())
	require.Error(t, err)
}

func TestArgumentsReachTheProgramAsTheyAre(t *testing.T) {
	out, err := (&command.Runner{}).Run(t.Context(), "printf", "%s|", "a b", "$HOME", "`id`", "*", "")
	require.NoError(t, err)
	require.Equal(t, "a b|$HOME|`id`|*||", string(out.Stdout))
}

func TestAProgramHasADirectoryOfItsOwnAndSpeaksEnglish(t *testing.T) {
	t.Setenv("SECRET", "x")
	out, err := (&command.Runner{Env: []string{"LODA_CHASSIS=/c"}}).Run(t.Context(), "sh", "-c", "touch storcli.log; pwd; env; cat")
	require.NoError(t, err)
	text := string(out.Stdout)
	require.Contains(t, text, "LC_ALL=C\n")
	require.Contains(t, text, "LODA_CHASSIS=/c\n")
	require.NotContains(t, text, "SECRET")
	dir, _, _ := strings.Cut(text, "\n")
	require.NoDirExists(t, dir)
}

func TestAProgramThatHangsIsEndedWithAllThatItStarted(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for { // when the grandchild runs
			if _, err := os.Stat(mark); err == nil {
				cancel()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	// The grandchild holds the pipes, and hears no SIGTERM.
	script := fmt.Sprintf(`sh -c 'trap "" TERM; echo $$ >%s.new; mv %s.new %s; sleep 1000; sleep 1000' & echo begun; wait`, mark, mark, mark)
	out, err := (&command.Runner{Grace: 50 * time.Millisecond}).Run(ctx, "sh", "-c", script)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, "begun\n", string(out.Stdout))
	pid, err := os.ReadFile(mark)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(pid)) + "/stat")
		return err != nil || strings.Contains(string(stat), ") Z ") || strings.Contains(string(stat), ") X ")
	}, 5*time.Second, 10*time.Millisecond)
}

func TestADaemonThatHoldsTheOutputIsNotWaitedFor(t *testing.T) {
	out, err := (&command.Runner{}).Run(t.Context(), "sh", "-c", "setsid sleep 20 & echo done")
	require.NoError(t, err)
	require.Equal(t, "done\n", string(out.Stdout))
}

func TestAnOutputWithoutEndIsCutAndSaysSo(t *testing.T) {
	out, err := (&command.Runner{}).Run(t.Context(), "head", "-c", "40000000", "/dev/zero")
	require.ErrorContains(t, err, "printed more than 32 MiB")
	require.Len(t, out.Stdout, 32<<20)
}

func TestACallThatNobodyWantsAnyMoreIsNotBegun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := (&command.Runner{}).Run(ctx, "touch", filepath.Join(t.TempDir(), "x"))
	require.ErrorIs(t, err, context.Canceled)
}
