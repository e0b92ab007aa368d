package script_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/bootos/script"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/scripts/need"
)

// timeline remembers what was reported.
type timeline struct {
	mu       sync.Mutex
	lines    []string
	progress []string
}

func (t *timeline) Log(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, text)
}

func (t *timeline) Progress(p agentapi.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.progress = append(t.progress, p.Text)
}

func (t *timeline) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}

// step is a shell script.
func step(text string, change ...func(*agentapi.RunScript)) agentapi.RunScript {
	s := agentapi.RunScript{Installation: "i-1", Serial: "SN-1", Name: "raid", File: "scripts/raid.sh", Script: text,
		Interpreter: []string{"/bin/sh", "-e"}, TimeoutSeconds: 20}
	for _, c := range change {
		c(&s)
	}
	return s
}

// run runs a step in a directory that must be empty again afterwards.
func run(t *testing.T, s agentapi.RunScript, ctx ...context.Context) (*timeline, *agentapi.RunScriptResult, error) {
	t.Helper()
	dir, tl := t.TempDir(), &timeline{}
	r := script.Runner{Dir: dir, Grace: 300 * time.Millisecond}
	result, err := r.Run(append(ctx, t.Context())[0], s, tl)
	left, readErr := os.ReadDir(dir)
	require.NoError(t, readErr)
	require.Empty(t, left, "the script's directory stayed")
	return tl, result, err
}

// gone waits until a process, whose number the script printed as `pid N`, is no more, or a zombie.
func gone(t *testing.T, tl *timeline) {
	t.Helper()
	pids := 0
	for line := range strings.Lines(tl.String()) {
		if n, ok := strings.CutPrefix(strings.TrimSpace(line), "raid: pid "); ok {
			pids++
			require.Eventually(t, func() bool { return !alive(n) }, 5*time.Second, 10*time.Millisecond, "process %s lives", n)
		}
	}
	require.NotZero(t, pids)
}

func alive(pid string) bool {
	stat, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func TestAScriptsOutputIsInTheTimelineLineByLine(t *testing.T) {
	tl, result, err := run(t, step("echo one; echo two >&2; printf three"))
	require.NoError(t, err)
	require.Equal(t, "raid: one\nraid: two\nraid: three", tl.String())
	require.Equal(t, 3, result.Lines)
	require.Zero(t, result.ExitCode+result.DroppedLines)
	require.Positive(t, result.Seconds)
	require.NotEmpty(t, tl.progress)
}

func TestOutputIsSentWhileTheScriptRuns(t *testing.T) {
	dir, tl := t.TempDir(), &timeline{}
	file := filepath.Join(dir, "go-on")
	done := make(chan error, 1)
	go func() {
		_, err := new(script.Runner).Run(t.Context(), step("echo first; until test -e "+file+"; do sleep 0.02; done"), tl)
		done <- err
	}()
	require.Eventually(t, func() bool { return tl.String() == "raid: first" }, 10*time.Second, 5*time.Millisecond)
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, <-done)
}

func TestAScriptFindsWhatItsManualSaysAndNothingElse(t *testing.T) {
	t.Setenv("LEAK", "of the agent")
	tl, _, err := run(t, step(`env | sort; pwd; test "$(ls -A | wc -l)" -eq 0; touch a; test "$TMPDIR" = "$PWD"
test -z "$(cat)"; tty || true; echo "$0"; stat -c %a "$PWD" "$(dirname "$PWD")"; cat /proc/$$/oom_score_adj`,
		func(s *agentapi.RunScript) { s.Env = map[string]string{"A_1": "a b $HOME", "HOME": "/home"} }))
	require.NoError(t, err, tl)
	for _, want := range []string{"raid: A_1=a b $HOME\n", "raid: HOME=/home\n", "raid: PATH=" + script.DefaultPath + "\n",
		"raid: LODA_SERIAL=SN-1\n", "raid: LODA_INSTALLATION=i-1\n", "raid: LODA_STEP=raid\n", "raid: not a tty\n",
		"/file/raid.sh\n", "raid: 700\nraid: 700\nraid: 800"} {
		require.Contains(t, tl.String(), want)
	}
	require.NotContains(t, tl.String(), "LEAK")
}

func TestExitCodesDecide(t *testing.T) {
	for _, tc := range []struct {
		exit     int
		expected []int
		err      string
	}{
		{0, nil, ""},
		{0, []int{0}, ""},
		{3, []int{0, 3}, ""},
		{3, nil,
			`step "raid" (scripts/raid.sh) ended with exit code 3, expected 0; ` +
				"it printed last: two | three | four | five | six"},
		{0, []int{1, 2}, "ended with exit code 0, expected 1 or 2"},
		{127, []int{0}, "exit code 127"},
	} {
		_, result, err := run(t, step(fmt.Sprintf("printf 'one\ntwo\nthree\nfour\n\nfive\nsix'; exit %d", tc.exit),
			func(s *agentapi.RunScript) { s.ExitCodes = tc.expected }))
		require.Equal(t, tc.exit, result.ExitCode)
		if tc.err == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, tc.err)
	}
	_, _, err := run(t, step("exit 1"))
	require.ErrorContains(t, err, "it printed nothing")
}

func TestASignalIsNamed(t *testing.T) {
	_, result, err := run(t, step("kill -SEGV $$"))
	require.ErrorContains(t, err, "was ended by SIGSEGV (segmentation fault)")
	require.Equal(t, -1, result.ExitCode)
	_, _, err = run(t, step("kill -KILL $$"))
	require.ErrorContains(t, err, "memory ran out")
}

func TestATimeoutEndsTheWholeProcessGroup(t *testing.T) {
	for name, text := range map[string]string{
		"a child":                      "echo pid $$; sleep 60",
		"one in the background":        "echo pid $$; sleep 60 & echo pid $!; wait",
		"deaf to SIGTERM":              "trap '' TERM; echo pid $$; sleep 60; sleep 60",
		"a child that is deaf":         "echo pid $$; sh -c 'trap \"\" TERM; echo pid $$; sleep 60; sleep 60' & wait",
		"that prints for ever":         "echo pid $$; while :; do echo y; done",
		"stopped":                      "echo pid $$; kill -STOP $$",
		"that closed its output":       "echo pid $$; exec >&- 2>&-; sleep 60",
		"grandchildren in the pipe":    "echo pid $$; (sleep 60 | sleep 60 | sleep 60)",
		"exits well when it is warned": "trap 'exit 0' TERM; echo pid $$; while :; do sleep 0.1; done",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			tl, result, err := run(t, step(text, func(s *agentapi.RunScript) { s.TimeoutSeconds = 1 }))
			require.ErrorContains(t, err, `step "raid" (scripts/raid.sh) took longer than its 1 s and was ended`)
			require.NotNil(t, result)
			require.Less(t, time.Since(start), 10*time.Second)
			gone(t, tl)
		})
	}
}

func TestAScriptThatCleansUpOnSIGTERMHasTheTimeForIt(t *testing.T) {
	tl := &timeline{}
	_, err := new(script.Runner).Run(t.Context(),
		step("trap 'sleep 0.1; echo cleaned; exit 1' TERM; while :; do sleep 0.05; done",
			func(s *agentapi.RunScript) { s.TimeoutSeconds, s.Interpreter = 1, []string{"sh"} }), tl)
	require.ErrorContains(t, err, "took longer")
	require.Contains(t, tl.String(), "raid: cleaned")
}

func TestAnUnwantedScriptIsEnded(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("the installation was canceled")
	time.AfterFunc(200*time.Millisecond, func() { cancel(why) })
	tl, _, err := run(t, step("echo pid $$; sleep 60"), ctx)
	require.ErrorIs(t, err, why)
	gone(t, tl)
	_, result, err := run(t, step("echo pid $$"), ctx)
	require.ErrorIs(t, err, why)
	require.Nil(t, result, "it was started")
}

func TestWhatAScriptLeavesInItsGroupIsEndedAndADaemonIsLeftAlone(t *testing.T) {
	need.Command(t, "setsid")
	start := time.Now()
	tl, _, err := run(t, step("sleep 60 & echo pid $!; (trap '' TERM; sleep 60) & echo pid $!; echo end"))
	require.NoError(t, err)
	gone(t, tl)
	// A daemon keeps the pipe open for ever, and prints into it.
	tl, result, err := run(t, step(`setsid sh -c 'echo daemon $$; while sleep 0.1; do echo still here; done' &
sleep 0.3; echo end`))
	require.NoError(t, err)
	require.Contains(t, tl.String(), "raid: end")
	require.Less(t, result.Seconds, 10.0)
	require.Less(t, time.Since(start), 15*time.Second)
	_, rest, _ := strings.Cut(tl.String(), "raid: daemon ")
	word, _, _ := strings.Cut(rest, "\n")
	pid, err := strconv.Atoi(word)
	require.NoError(t, err)
	defer func() { _ = syscall.Kill(-pid, syscall.SIGKILL) }()
	before := tl.String()
	time.Sleep(200 * time.Millisecond)
	require.Equal(t, before, tl.String(), "nothing is logged after the step")
}

func TestFortyMegabytesOfOutputFillNeitherMemoryNorTimeline(t *testing.T) {
	need.Command(t, "head", "yes")
	var before, after unix.Rusage
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &before))
	tl, result, err := run(t,
		step("yes 0123456789012345678901234567890123456789012345678901234567890 | head -c 40000000\necho; echo end"))
	require.NoError(t, err)
	require.NoError(t, unix.Getrusage(unix.RUSAGE_SELF, &after))
	require.Greater(t, result.Lines, 600_000)
	require.Equal(t, result.Lines-1500, result.DroppedLines)
	require.Len(t, tl.lines, 1502)
	require.Equal(t, "raid: end", tl.lines[1501])
	require.Less(t, after.Maxrss-before.Maxrss, int64(50<<10), "kilobytes")
	// One line without an end.
	tl, result, err = run(t, step("head -c 20000000 /dev/zero | tr '\\0' x"))
	require.NoError(t, err)
	require.Greater(t, result.DroppedLines, 5000)
	require.Less(t, len(tl.lines), 1600)
}

func TestSecretsAreInNeitherTimelineNorErrorNorProgress(t *testing.T) {
	hide := func(s *agentapi.RunScript) {
		s.Secrets = []string{"hunter22", "abc"}
		s.Env = map[string]string{"PW": "hunter22"}
	}
	tl, _, err := run(t, step("printf hun; sleep 0.1; echo ter22; echo \"<$PW>\"; sleep 2.2; exit 1", hide))
	require.ErrorContains(t, err, "<***>")
	all := tl.String() + strings.Join(tl.progress, "\n") + err.Error()
	require.NotContains(t, all, "hun")
	require.NotContains(t, all, "ter22")
	require.Contains(t, tl.String(), "1 of the secrets not hidden: less than 4 bytes")
	require.Contains(t, strings.Join(tl.progress, "\n"), "raid: 2 s of at most 20, line ")
}

func TestAMissingInterpreterIsNamedWithThoseThatThereAre(t *testing.T) {
	for _, name := range []string{"/usr/bin/python9", "python9", "/bin", "/etc/passwd"} {
		_, result, err := run(t, step("x", func(s *agentapi.RunScript) { s.Interpreter = []string{name} }))
		require.ErrorContains(t, err, `step "raid" (scripts/raid.sh): the interpreter `+name+" is not in this bootOS")
		require.ErrorContains(t, err, "/bin/sh")
		require.Nil(t, result)
	}
	_, _, err := run(t, step("x", func(s *agentapi.RunScript) { s.Interpreter = []string{"bin/sh"} }))
	require.ErrorContains(t, err, "want an absolute path")
	tl, _, err := run(t, step("echo found", func(s *agentapi.RunScript) { s.Interpreter = []string{"sh", "-e", "-u"} }))
	require.NoError(t, err)
	require.Equal(t, "raid: found", tl.String())
}

func TestAnInterpreterThatTheKernelCannotRunIsAnErrorAndNoPanic(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tool")
	require.NoError(t, os.WriteFile(file, []byte("MZ no program"), 0o700))
	_, result, err := run(t, step("x", func(s *agentapi.RunScript) { s.Interpreter = []string{file} }))
	require.ErrorContains(t, err, "exec format error")
	require.Nil(t, result)
}

func TestAScriptThatIsNotValidIsNotRun(t *testing.T) {
	tl, result, err := run(t, step("echo ran", func(s *agentapi.RunScript) {
		s.TimeoutSeconds, s.Env = 0,
			map[string]string{"A=B": ""}
	}))
	require.ErrorContains(t, err, "step \"raid\": env: \"A=B\"")
	require.ErrorContains(t, err, "timeout: 0 s")
	require.Nil(t, result)
	require.Empty(t, tl.lines)
}

func TestTheNameOfAFileIsNoWayOut(t *testing.T) {
	for _, file := range []string{"../../../etc/passwd", "/etc/passwd", "..", "", "a b", "-x", "scripts/.hidden",
		"a\x00b"} {
		tl, _, err := run(t, step(`echo "$0"`, func(s *agentapi.RunScript) { s.File = file }))
		require.NoError(t, err, file)
		require.Regexp(t, `/loda-step-\d+/file/(passwd|script)$`, tl.String(), file)
	}
}

func TestWhatAScriptLeftMountedIsNotEmptied(t *testing.T) {
	need.Root(t)
	disk := t.TempDir()
	precious := filepath.Join(disk, "precious")
	require.NoError(t, os.WriteFile(precious, []byte("data"), 0o600))
	tl, _, err := run(t,
		step("mkdir 'a b' c; mount --bind "+disk+" 'a b'; mount -t tmpfs none c; mkdir c/d; mount --bind "+disk+
			" c/d; ls 'a b' c/d"))
	require.NoError(t, err, tl)
	require.FileExists(t, precious)
	require.Equal(t, 3, strings.Count(tl.String(), "left mounted"), tl)
	table, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	require.False(t, slices.ContainsFunc(strings.Split(string(table), "\n"), func(l string) bool {
		return strings.Contains(l, "loda-step-")
	}))
}
