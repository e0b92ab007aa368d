package script

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/agentapi"
)

// DefaultPath is the PATH of scripts: bootOS's own programs, and then those that were built into it.
const DefaultPath = "/bbin:/sbin:/bin:/usr/sbin:/usr/bin"

// Report is where output and progress go. The agent's Report is one.
type Report interface {
	Progress(p agentapi.Progress)
	// Log adds a line to the timeline. It must not wait.
	Log(text string)
}

// A Runner runs scripts. Its zero value is ready for use, several times at once.
type Runner struct {
	// Dir is where each script gets a directory of its own, for as long as it runs; empty means that of temporary files.
	Dir string
	// Path is the PATH of scripts, and where an interpreter without slashes is looked for; empty means [DefaultPath].
	Path string
	// Grace is the time between SIGTERM and SIGKILL; 0 means five seconds.
	Grace time.Duration
}

const (
	defaultGrace = 5 * time.Second
	// drainFor is how long output is still read when the script and its process group are gone: there may be some in
	// the pipe, and a daemon may hold it open for ever.
	drainFor = time.Second
	// stuckFor is how long a killed process may take to go. One that hangs in the kernel, on a dying disk, never does.
	stuckFor = 30 * time.Second
	// progressEvery shows that the script lives, and how soon the agent learns that it is not wanted any more.
	progressEvery = 2 * time.Second
)

// Run runs a script to its end. The result is nil when the script was not started. An error says what was wrong with
// the script or how it failed, with the end of its output; after the end of ctx, it wraps the context's.
func (r *Runner) Run(ctx context.Context, s agentapi.RunScript, report Report) (
	result *agentapi.RunScriptResult, err error) {
	if err := s.Validate(); err != nil {
		return nil, fmt.Errorf("step %q: %w", s.Name, err)
	}
	secrets, short := secretLines(s.Secrets)
	name := hide(oneLine(s.Name), secrets)
	title := fmt.Sprintf("step %q", name)
	if s.File != "" {
		title += fmt.Sprintf(" (%s)", hide(oneLine(s.File), secrets))
	}
	interpreter, err := r.find(s.Interpreter[0])
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	out := newOutput(report, name, secrets)
	if short > 0 {
		out.log(fmt.Sprintf("(%d of the secrets not hidden: less than %d bytes)", short, agentapi.MinSecret))
	}
	home, err := makeHome(r.Dir, s)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", title, err)
	}
	defer func() {
		for _, note := range home.remove() {
			out.log("(" + note + ")")
		}
	}()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%s was not started: %w", title, context.Cause(ctx))
	}

	cmd := exec.Command(interpreter, append(slices.Clone(s.Interpreter[1:]), home.script)...)
	cmd.Args[0] = s.Interpreter[0]
	cmd.Dir, cmd.Env = home.work, r.env(s, home)
	// A session of its own has no terminal, and is a process group of its own.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	start := time.Now()
	end, err := r.run(ctx, cmd, out, time.Duration(s.TimeoutSeconds)*time.Second, progress(report, name, s, out, start))
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", title, strings.Join(s.Interpreter, " "), err)
	}
	out.end()
	result = &agentapi.RunScriptResult{ExitCode: end.code(), Seconds: time.Since(start).Seconds()}
	result.Lines, result.DroppedLines = out.counts()
	return result, end.judge(ctx, title, s, out)
}

// progress reports how far a script is.
func progress(report Report, name string, s agentapi.RunScript, out *output, start time.Time) func() {
	return func() {
		report.Progress(agentapi.Progress{Text: fmt.Sprintf("%s: %.0f s of at most %d, %s", name,
			time.Since(start).Seconds(), s.TimeoutSeconds, out.state())})
	}
}

// find returns the path of an interpreter.
func (r *Runner) find(name string) (string, error) {
	candidates := []string{name}
	if !strings.Contains(name, "/") {
		candidates = nil
		for _, dir := range filepath.SplitList(r.path()) {
			candidates = append(candidates, filepath.Join(dir, name))
		}
	} else if !filepath.IsAbs(name) {
		return "", fmt.Errorf("interpreter %s: want an absolute path, or a name that is in PATH (%s)", name, r.path())
	}
	for _, file := range candidates {
		if runnable(file) {
			return file, nil
		}
	}
	var has []string
	for _, other := range []string{"sh", "bash", "python3", "perl"} {
		for _, dir := range filepath.SplitList(r.path()) {
			if file := filepath.Join(dir, other); runnable(file) {
				has = append(has, file)
				break
			}
		}
	}
	return "", fmt.Errorf("the interpreter %s is not in this bootOS, which has: %s; build one with it "+
		"(`lodad bootos build --file`), or write the script for another", name, strings.Join(has, ", "))
}

func runnable(file string) bool {
	info, err := os.Stat(file)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func (r *Runner) path() string {
	if r.Path == "" {
		return DefaultPath
	}
	return r.Path
}

func (r *Runner) env(s agentapi.RunScript, home *home) []string {
	// Where a name comes twice, exec takes the last.
	env := []string{"PATH=" + r.path(), "HOME=/root", "TMPDIR=" + home.work}
	for name, value := range s.Env {
		env = append(env, name+"="+value)
	}
	return append(env, "LODA_SERIAL="+s.Serial, "LODA_INSTALLATION="+s.Installation, "LODA_STEP="+s.Name)
}

// ending is how a script ended.
type ending struct {
	state *os.ProcessState // nil: it could not be ended
	// timeout and canceled say why it was ended before its time.
	timeout, canceled bool
}

// run starts a program and returns when it and its process group are gone. An error means that it was not started.
func (r *Runner) run(ctx context.Context, cmd *exec.Cmd, out io.Writer, timeout time.Duration, alive func()) (
	ending, error) {
	// A pipe of our own: exec's would make Wait wait for everybody who holds it.
	read, write, err := os.Pipe()
	if err != nil {
		return ending{}, err
	}
	defer read.Close()
	cmd.Stdout, cmd.Stderr = write, write
	err = cmd.Start()
	write.Close()
	if err != nil {
		return ending{}, err
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.CopyBuffer(out, struct{ io.Reader }{read}, make([]byte, 64<<10)) // no splice, it ends by its deadline
	}()
	// A script that takes all memory is to go before the agent does.
	_ = os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid), []byte("800"), 0)

	gone := make(chan struct{})
	go func() {
		defer close(gone)
		_ = cmd.Wait() // ProcessState has it
	}()
	e := ending{}
	e.timeout, e.canceled = watch(ctx, gone, timeout, alive)
	group := cmd.Process.Pid
	ended := true
	if e.timeout || e.canceled {
		_ = syscall.Kill(-group, syscall.SIGTERM) // it may be gone
		ended = waited(gone, r.grace())
		if !ended {
			_ = syscall.Kill(-group, syscall.SIGKILL)
			ended = waited(gone, stuckFor)
		}
	}
	if ended {
		e.state = cmd.ProcessState
		r.endGroup(group)
	}
	if !waited(drained, drainFor) {
		_ = read.SetReadDeadline(time.Now()) // ends the copying
		<-drained
	}
	return e, nil
}

// watch waits for the end of a script, of its time, or of the wish for it.
func watch(ctx context.Context, gone <-chan struct{}, timeout time.Duration, alive func()) (late, canceled bool) {
	alive()
	limit := time.NewTimer(timeout)
	defer limit.Stop()
	every := time.NewTicker(progressEvery)
	defer every.Stop()
	for {
		select {
		case <-gone:
			return false, false
		case <-ctx.Done():
			return false, true
		case <-limit.C:
			return true, false
		case <-every.C:
			alive()
		}
	}
}

// endGroup ends what a script left behind in its process group. As long as there is something, the kernel gives the
// group's number to nobody else.
func (r *Runner) endGroup(group int) {
	const look = 10 * time.Millisecond
	sig := syscall.SIGTERM
	for end := time.Now().Add(r.grace()); ; time.Sleep(look) {
		if syscall.Kill(-group, sig) != nil {
			return // ESRCH: there is nothing
		}
		switch {
		case time.Now().Before(end):
			sig = 0
		case sig == syscall.SIGKILL:
			return
		default:
			sig, end = syscall.SIGKILL, time.Time{}
		}
	}
}

func (r *Runner) grace() time.Duration {
	if r.Grace == 0 {
		return defaultGrace
	}
	return r.Grace
}

func waited(done <-chan struct{}, most time.Duration) bool {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

// code is the exit code, -1 if there is none.
func (e ending) code() int {
	if e.state == nil {
		return -1
	}
	return e.state.ExitCode() // -1 after a signal
}

// judge returns an error unless the script succeeded.
func (e ending) judge(ctx context.Context, title string, s agentapi.RunScript, out *output) error {
	stuck := ""
	if e.state == nil {
		stuck = "; it could not be killed: it hangs in the kernel, as on a disk that does not answer"
	}
	switch {
	case e.canceled:
		return fmt.Errorf("%s was ended before its time%s: %w; %s", title, stuck, context.Cause(ctx), out.last())
	case e.timeout:
		return fmt.Errorf("%s took longer than its %d s and was ended%s; %s", title, s.TimeoutSeconds, stuck, out.last())
	}
	if status, ok := e.state.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		hint := ""
		if status.Signal() == syscall.SIGKILL {
			hint = ", perhaps because memory ran out"
		}
		return fmt.Errorf("%s was ended by %s (%s)%s; %s", title, unix.SignalName(status.Signal()), status.Signal(), hint,
			out.last())
	}
	expected := s.ExitCodes
	if len(expected) == 0 {
		expected = []int{0}
	}
	if slices.Contains(expected, e.code()) {
		return nil
	}
	return fmt.Errorf("%s ended with exit code %d, expected %s; %s", title, e.code(), list(expected), out.last())
}

func list(codes []int) string {
	words := make([]string, len(codes))
	for i, c := range codes {
		words[i] = strconv.Itoa(c)
	}
	return strings.Join(words, " or ")
}
