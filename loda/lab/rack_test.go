package lab_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/scripts/need"
)

// switchedOff needs root and QEMU's presence, but runs no machine.
func switchedOff(t *testing.T) *lab.Rack {
	t.Helper()
	need.QEMU(t)
	return up(t, lab.Default(2))
}

func TestProgramsInTheRackSeeTheBridgeAndNothingElse(t *testing.T) {
	rack := switchedOff(t)
	out, err := rack.Command(t.Context(), "ip", "-brief", "address").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "10.77.0.1/24")
	var names []string
	for line := range strings.Lines(string(out)) {
		names = append(names, strings.Fields(line)[0])
	}
	require.ElementsMatch(t, []string{"lo", rack.Interface(), "m0n0", "m1n0"}, names)
}

func TestAProgramInTheRackHasAPIDOfItsOwn(t *testing.T) {
	rack := switchedOff(t)
	cmd := rack.Command(t.Context(), "sleep", "60")
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", cmd.Process.Pid))
		return err == nil && string(name) == "sleep\n"
	}, 5*time.Second, 10*time.Millisecond)
	require.NoError(t, cmd.Process.Signal(unix.SIGTERM))
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, unix.SIGTERM, unix.Signal(exit.Sys().(interface{ Signal() unix.Signal }).Signal()))

	require.ErrorIs(t, rack.Command(t.Context(), "no-such-program").Run(), exec.ErrNotFound)
}

func TestCodeOutsideTalksToServersInside(t *testing.T) {
	rack := switchedOff(t)
	listener, err := rack.Listen(t.Context(), "tcp", "10.77.0.1:8080")
	require.NoError(t, err, "the address exists inside only")
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "hello "+r.RemoteAddr)
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	get := func(client *http.Client, url string) string {
		response, err := client.Get(url)
		require.NoError(t, err)
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		require.NoError(t, err)
		return string(body)
	}

	transport := &http.Transport{DialContext: rack.Dial}
	defer transport.CloseIdleConnections()
	inside := &http.Client{Transport: transport}
	require.Contains(t, get(inside, "http://10.77.0.1:8080/"), "hello 10.77.0.1:")

	door, err := rack.Forward("127.0.0.1:0", "10.77.0.1:8080")
	require.NoError(t, err)
	outside := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	require.Contains(t, get(outside, "http://"+door.String()), "hello 10.77.0.1:")

	_, err = rack.Dial(t.Context(), "tcp", "localhost:8080")
	require.ErrorContains(t, err, "give an IP address")
	_, err = net.Listen("tcp", "10.77.0.1:0")
	require.Error(t, err, "the host itself does not have the address")

	conn, err := rack.ListenPacket(t.Context(), "udp4", "10.77.0.1:67")
	require.NoError(t, err)
	require.NoError(t, conn.Close())
}

func TestGoingIntoTheRackLeavesTheProcessOutside(t *testing.T) {
	rack := switchedOff(t)
	before, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	for range 50 {
		require.NoError(t, rack.In(func() error {
			inside, err := os.Readlink("/proc/thread-self/ns/net")
			require.NoError(t, err)
			require.NotEqual(t, before, inside)
			return nil
		}))
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	require.NoError(t, err)
	inside := 0
	for _, thread := range threads {
		if ns, err := os.Readlink(thread); err == nil && ns != before {
			inside++
		}
	}
	require.Equal(t, 1, inside, "the rack's own thread, and nobody else's")
	after, err := os.Readlink("/proc/self/ns/net")
	require.NoError(t, err)
	require.Equal(t, before, after)
}

func TestARackThatCannotBeBuiltLeavesNothingBehind(t *testing.T) {
	need.QEMU(t)
	dir := t.TempDir()
	spec := lab.Default(2)
	spec.Machines[1].Disks[0].Image = filepath.Join(dir, "no-such-image.qcow2")
	opts := lab.Options{RuntimeDir: filepath.Join(dir, "run"), DataDir: filepath.Join(dir, "data")}
	_, err := lab.Up(t.Context(), spec, opts)
	require.ErrorContains(t, err, "machine m2: disk 0: copy image")
	states, err := lab.List(opts)
	require.NoError(t, err)
	require.Empty(t, states)
	left, err := filepath.Glob(filepath.Join(dir, "*", "[^.]*"))
	require.NoError(t, err)
	require.Empty(t, left)
	namespaces, err := filepath.Glob("/run/netns/loda-lab-*")
	require.NoError(t, err)
	for _, ns := range namespaces {
		_, err := os.Stat(filepath.Join(opts.RuntimeDir, strings.TrimPrefix(filepath.Base(ns), "loda-")))
		require.Error(t, err)
	}
}

func TestDownIsToldWhichOfTwoRacksIsMeant(t *testing.T) {
	need.QEMU(t)
	dir := t.TempDir()
	opts := lab.Options{RuntimeDir: filepath.Join(dir, "run"), DataDir: filepath.Join(dir, "data")}
	one, err := lab.Up(t.Context(), lab.Default(1), opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, one.Down(context.Background())) })
	two, err := lab.Up(t.Context(), lab.Default(1), opts)
	require.NoError(t, err, "racks with the same name and subnet stand side by side")
	t.Cleanup(func() { require.NoError(t, two.Down(context.Background())) })

	err = lab.Down(t.Context(), "lab", opts)
	require.ErrorContains(t, err, one.ID())
	require.ErrorContains(t, err, two.ID())
	swept, err := lab.Sweep(t.Context(), opts)
	require.NoError(t, err)
	require.Empty(t, swept, "their owner lives")
	require.NoError(t, two.Down(t.Context()))
	require.NoError(t, lab.Down(t.Context(), "lab", opts))
	<-one.Done()
	require.ErrorIs(t, lab.Down(t.Context(), "lab", opts), lab.ErrNoRack)
	require.Error(t, one.Machine("m1").PowerOn(t.Context()), "a rack that is gone powers nothing on")
}

// crashEnv makes this test binary the owner of a rack that is to be killed.
const crashEnv = "LODA_LAB_TEST_OWNER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(crashEnv); dir != "" {
		own(dir)
	}
	os.Exit(m.Run())
}

// own builds a rack with a machine and a program running in it, says so, and hangs.
func own(dir string) {
	ctx := context.Background()
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	rack, err := lab.Up(ctx, lab.Default(2), optionsIn(dir))
	fail(err)
	fail(rack.Machine("m1").PowerOn(ctx))
	fail(rack.Machine("m2").PowerOn(ctx))
	sleep := rack.Command(ctx, "sleep", "300")
	fail(sleep.Start())
	// A process that nobody recorded and that survives its parent, as a crashed daemon leaves them.
	orphan := rack.Command(ctx, "setsid", "--fork", "sleep", "300")
	fail(orphan.Run())
	fmt.Println(sleep.Process.Pid)
	<-rack.Done()
	fail(rack.Down(ctx))
	fmt.Println("down")
	os.Exit(0)
}

func optionsIn(dir string) lab.Options {
	return lab.Options{RuntimeDir: filepath.Join(dir, "r"), DataDir: filepath.Join(dir, "d")}
}

// owner starts a process that owns a rack and returns what its state file says and the pids of all in the rack.
func owner(t *testing.T, dir string) (cmd *exec.Cmd, out *bufio.Reader, state lab.State, pids []int) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), crashEnv+"="+dir)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // for a test that failed in between
		_ = cmd.Wait()
		_, _ = lab.Sweep(context.Background(), optionsIn(dir))
	})
	out = bufio.NewReader(pipe)
	var sleep int
	_, err = fmt.Fscanln(out, &sleep)
	require.NoError(t, err)

	states, err := lab.List(optionsIn(dir))
	require.NoError(t, err)
	require.Len(t, states, 1)
	state = states[0]
	require.Equal(t, cmd.Process.Pid, state.Owner.PID)
	require.True(t, state.Owner.Alive())
	for _, m := range state.Machines {
		require.NotNil(t, m.QEMU, m.Name)
		require.True(t, m.QEMU.Alive(), m.Name)
		pids = append(pids, m.QEMU.PID)
	}
	pids = append(pids, sleep)
	listed, err := exec.Command("ip", "netns", "pids", state.Namespace).Output()
	require.NoError(t, err)
	require.Len(t, strings.Fields(string(listed)), 4, "two machines, a program and an orphan")
	for _, text := range strings.Fields(string(listed)) {
		var pid int
		fmt.Sscan(text, &pid)
		pids = append(pids, pid)
	}
	return cmd, out, state, pids
}

// requireNothingLeft looks for processes, namespace and files.
func requireNothingLeft(t *testing.T, state lab.State, pids []int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool { return unix.Kill(pid, 0) == unix.ESRCH || zombie(pid) }, 5*time.Second,
			10*time.Millisecond, "process %d lives", pid)
	}
	require.NoFileExists(t, "/run/netns/"+state.Namespace)
	require.NoDirExists(t, state.Dir)
	require.NoDirExists(t, state.SocketDir)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(state.SocketDir), "[^.]*"))
	require.NoError(t, err)
	require.Empty(t, left)
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

// shortDir is short enough for sockets.
func shortDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/run", "lab")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func TestSweepRemovesTheRackOfAKilledOwner(t *testing.T) {
	need.QEMU(t)
	dir := shortDir(t)
	cmd, _, state, pids := owner(t, dir)
	require.NoError(t, cmd.Process.Signal(unix.SIGKILL))
	require.Error(t, cmd.Wait())
	for _, m := range state.Machines {
		require.Eventually(t, func() bool { return !m.QEMU.Alive() }, 5*time.Second, 10*time.Millisecond,
			"machine %s outlives its owner", m.Name)
	}
	swept, err := lab.Sweep(t.Context(), optionsIn(dir))
	require.NoError(t, err)
	require.Equal(t, []string{state.ID}, swept)
	requireNothingLeft(t, state, pids)
	swept, err = lab.Sweep(t.Context(), optionsIn(dir))
	require.NoError(t, err)
	require.Empty(t, swept)
}

func TestDownFromAnotherProcessEndsARunningRack(t *testing.T) {
	need.QEMU(t)
	dir := shortDir(t)
	cmd, out, state, pids := owner(t, dir)
	require.NoError(t, lab.Down(t.Context(), "lab", optionsIn(dir)))
	requireNothingLeft(t, state, pids)
	line, err := out.ReadString('\n')
	require.NoError(t, err, "the owner was told")
	require.Equal(t, "down\n", line)
	require.NoError(t, cmd.Wait())
	requireNothingLeft(t, state, pids)
}

func TestSweepLeavesAReusedPIDAlone(t *testing.T) {
	need.QEMU(t)
	dir := shortDir(t)
	opts := optionsIn(dir)
	bystander := exec.Command("sleep", "60")
	require.NoError(t, bystander.Start())
	t.Cleanup(func() {
		require.NoError(t, bystander.Process.Kill(), "still there")
		_ = bystander.Wait()
	})
	require.NoError(t, os.Mkdir(opts.RuntimeDir, 0o700))
	stale := lab.State{
		ID: "old-123456", Name: "old", Namespace: "loda-old-123456",
		Owner: lab.Process{PID: bystander.Process.Pid, Started: 1},
		Dir:   filepath.Join(dir, "d", "old-123456"), SocketDir: filepath.Join(opts.RuntimeDir, "old-123456"),
		Machines: []lab.MachineState{{Name: "m1", QEMU: &lab.Process{PID: bystander.Process.Pid, Started: 1}}},
	}
	text, err := json.Marshal(stale)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(opts.RuntimeDir, "old-123456.json"), text, 0o600))
	swept, err := lab.Sweep(t.Context(), opts)
	require.NoError(t, err)
	require.Equal(t, []string{"old-123456"}, swept)
	require.False(t, zombie(bystander.Process.Pid))
}

func TestAStateFileThatCannotBeReadIsNamed(t *testing.T) {
	opts := lab.Options{RuntimeDir: t.TempDir()}
	for name, text := range map[string]string{"torn.json": `{"id": "to`, "other.json": `{"id": "../../etc"}`} {
		require.NoError(t, os.WriteFile(filepath.Join(opts.RuntimeDir, name), []byte(text), 0o600))
	}
	_, err := lab.List(opts)
	require.ErrorContains(t, err, "torn.json")
	require.ErrorContains(t, err, "other.json")
	_, err = lab.Sweep(t.Context(), opts)
	require.ErrorContains(t, err, "torn.json")
}
