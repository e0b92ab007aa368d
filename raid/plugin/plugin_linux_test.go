package plugin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/plugin/raidpb"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/scripts/need"
)

// What this test binary is when it is started as a plugin.
const (
	asVariable      = "LODA_TEST_RAID_PLUGIN"
	chassisVariable = "LODA_TEST_RAID_CHASSIS"
)

func TestMain(m *testing.M) {
	switch os.Getenv(asVariable) {
	case "":
		os.Exit(m.Run())
	case "chassis":
		Serve(&overPointer{os.Getenv(chassisVariable)})
	case "rogue":
		Serve(rogue{})
	case "chatty":
		fmt.Println("ACME RAID plugin 1.0, (c) ACME")
		fmt.Print("loading 1") // and no newline
		Serve(rogue{})
	case "silent":
		fmt.Println("waiting for a licence server")
		time.Sleep(time.Hour)
	case "broken":
		fmt.Fprintln(os.Stderr, "cannot find libacme.so")
		os.Exit(3)
	case "bare": // as in a language that has no go-plugin
		socket := filepath.Join(os.Getenv("PLUGIN_UNIX_SOCKET_DIR"), "s")
		l, err := net.Listen("unix", socket)
		if err != nil {
			panic(err)
		}
		s := grpc.NewServer(grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 10 * time.Second}))
		raidpb.RegisterDriverServer(s, newServer(rogue{}))
		go func() { _, _ = io.Copy(io.Discard, os.Stdin); s.Stop() }()
		fmt.Printf("1|1|unix|%s|grpc\n", socket)
		_ = s.Serve(l)
	case "old":
		goplugin.Serve(&goplugin.ServeConfig{HandshakeConfig: handshake, GRPCServer: goplugin.DefaultGRPCServer,
			VersionedPlugins: map[int]goplugin.PluginSet{0: {driverName: &wire{server: newServer(rogue{})}}}})
	}
}

// overPointer is a driver over the chassis that a file names at the moment, as a tool is over the machine that it is
// in.
type overPointer struct{ file string }

func (o *overPointer) driver() *raidtest.Driver {
	path, err := os.ReadFile(o.file)
	if err != nil {
		panic(err)
	}
	c, err := raidtest.Open(string(path))
	if err != nil {
		panic(err)
	}
	return &raidtest.Driver{Chassis: c, Patience: 100 * time.Millisecond}
}

func (o *overPointer) Name() string { return "chassis" }
func (o *overPointer) Probe(ctx context.Context) ([]raid.Controller, error) {
	return o.driver().Probe(ctx)
}
func (o *overPointer) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	return o.driver().Inventory(ctx, id)
}
func (o *overPointer) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	return o.driver().Commands(inv, s)
}
func (o *overPointer) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	return o.driver().Exec(ctx, inv, s, report)
}

// rogue is a driver whose controllers are named after what it does with them.
type rogue struct{}

func (rogue) Name() string { return "rogue" }

func (rogue) Probe(context.Context) ([]raid.Controller, error) {
	return []raid.Controller{{ID: "half"}}, errors.New("the other controller does not answer")
}

func (rogue) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	what, file, _ := strings.Cut(string(id), " ")
	switch what {
	case "hang": // and is deaf
		touch(file)
		tool("exec sleep 1000").Wait()
	case "tool":
		cmd := tool("exec sleep 1000")
		touch(file)
		<-ctx.Done()
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		_ = cmd.Wait()
		return nil, fmt.Errorf("the tool was ended: %w", ctx.Err())
	case "panic":
		panic("no such slot")
	case "log":
		slog.Warn("battery is low", "volts", 3, slog.Group("card", "model", "X1"))
		fmt.Println("printed with Println")
		fmt.Fprintln(os.Stderr, "printed to stderr")
	case "nothing":
		return nil, nil
	case "long":
		return nil, errors.New(strings.Repeat("é", maxFailure))
	}
	return &raid.Inventory{Controller: raid.Controller{ID: id}}, nil
}

func (rogue) Commands(*raid.Inventory, raid.Step) ([][]string, error) {
	return nil, errors.New("this driver has no commands")
}

// Exec writes to the file that the step's reason names: a line when it begins, and one when the tool is done.
func (rogue) Exec(ctx context.Context, _ *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	seconds, file, _ := strings.Cut(s.Reason, " ")
	cmd := tool("echo begun >>" + file + "; sleep " + seconds + "; echo done >>" + file)
	report(raid.Progress{What: "begun", Fraction: 0})
	go func() {
		<-ctx.Done()
		report(raid.Progress{What: "given up", Fraction: 0.5})
	}()
	err := cmd.Wait()
	report(raid.Progress{What: "done", Fraction: 1})
	return err
}

// tool runs a shell line in a process group of its own.
func tool(line string) *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", line)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	return cmd
}

func touch(file string) {
	if file != "" {
		_ = os.WriteFile(file, nil, 0o600)
	}
}

// logs is what a host's logger got.
type logs struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logs) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logs) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func config(t testing.TB, as string) Config {
	self, err := os.Executable()
	require.NoError(t, err)
	// A program with the race detector would wait for a second at its end.
	env := append(os.Environ(), asVariable+"="+as, "GORACE=atexit_sleep_ms=0")
	return Config{Path: self, Env: env, TempDir: t.TempDir(), StopTimeout: time.Second, Backoff: time.Millisecond}
}

func start(t testing.TB, c Config) *Process {
	p, err := Start(t.Context(), c)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

func exists(file string) func() bool {
	return func() bool { _, err := os.Stat(file); return err == nil }
}

func content(t testing.TB, file string) string {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	return string(data)
}

// alive are those of plugins that still live, and what they have started.
func alive(t testing.TB, pids ...int) []member {
	var all []member
	for _, pid := range pids {
		all = append(all, session(pid, true)...)
		if data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
			all = append(all, member{pid, string(data)})
		}
	}
	return all
}

const soon = 20 * time.Second

func eventually(t testing.TB, is func() bool) {
	t.Helper()
	require.Eventually(t, is, soon, 5*time.Millisecond)
}

func TestADriverBehindAPluginStandsTheSuite(t *testing.T) {
	processes := map[*testing.T]*Process{}
	raidtest.Run(t, raidtest.Suite{New: func(t *testing.T, c *raidtest.Chassis) raid.Driver {
		p := processes[t]
		if p == nil {
			conf := config(t, "chassis")
			conf.Env = append(conf.Env, chassisVariable+"="+filepath.Join(conf.TempDir, "current"))
			p = start(t, conf)
			processes[t] = p
		}
		require.NoError(t, os.WriteFile(filepath.Join(p.config.TempDir, "current"), []byte(c.Path()), 0o600))
		return p
	}})
}

func TestNothingOfAnInventoryIsLostOnTheWay(t *testing.T) {
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), raidtest.DefaultState())
	require.NoError(t, err)
	conf := config(t, "chassis")
	pointer := filepath.Join(conf.TempDir, "current")
	require.NoError(t, os.WriteFile(pointer, []byte(chassis.Path()), 0o600))
	conf.Env = append(conf.Env, chassisVariable+"="+pointer)
	p, direct := start(t, conf), &raidtest.Driver{Chassis: chassis}
	require.Equal(t, "chassis", p.Name())

	want, err := direct.Probe(t.Context())
	require.NoError(t, err)
	got, err := p.Probe(t.Context())
	require.NoError(t, err)
	require.Equal(t, want, got)

	wantInv, err := direct.Inventory(t.Context(), want[0].ID)
	require.NoError(t, err)
	gotInv, err := p.Inventory(t.Context(), want[0].ID)
	require.NoError(t, err)
	require.Equal(t, wantInv, gotInv)

	plan, err := raid.NewPlan([]*raid.Inventory{gotInv}, raidtest.DefaultLayout())
	require.NoError(t, err)
	for _, s := range plan.Steps {
		wantCommands, err := direct.Commands(wantInv, s)
		require.NoError(t, err)
		gotCommands, err := p.Commands(gotInv, s)
		require.NoError(t, err)
		require.Equal(t, wantCommands, gotCommands)
	}
	_, err = p.Inventory(t.Context(), "0000:ff:00.0")
	require.EqualError(t, err, "chassis: controller 0000:ff:00.0 is not there")
}

func TestErrorsOfTheDriverArriveAsTheyAre(t *testing.T) {
	p := start(t, config(t, "rogue"))
	found, err := p.Probe(t.Context())
	require.EqualError(t, err, "the other controller does not answer")
	require.Len(t, found, 1, "what was found counts all the same")
	_, err = p.Commands(&raid.Inventory{}, raid.Step{})
	require.EqualError(t, err, "this driver has no commands")
	_, err = p.Inventory(t.Context(), "nothing")
	require.ErrorContains(t, err, "neither an inventory nor an error")
	_, err = p.Inventory(t.Context(), "long")
	require.LessOrEqual(t, len(err.Error()), maxFailure+10)
}

func TestWhatThePluginLogsAndPrintsReachesTheHostsLogger(t *testing.T) {
	l := &logs{}
	conf := config(t, "chatty")
	conf.Logger = l.logger()
	p := start(t, conf)
	_, err := p.Inventory(t.Context(), "log")
	require.NoError(t, err)
	for _, want := range []string{
		`level=WARN msg="battery is low" plugin=` + filepath.Base(conf.Path) + ` card.model=X1 volts=3`,
		`level=INFO msg="ACME RAID plugin 1.0, (c) ACME" plugin=` + filepath.Base(conf.Path) + ` printed_to=stdout`,
		`msg="loading 1"`,
		`msg="printed with Println" plugin=` + filepath.Base(conf.Path) + ` printed_to=stdout`,
		`msg="printed to stderr" plugin=` + filepath.Base(conf.Path) + ` printed_to=stderr`,
	} {
		eventually(t, func() bool { return strings.Contains(l.String(), want) })
	}
}

func TestAPluginNeedsNoMoreThanTheProtocol(t *testing.T) {
	p := start(t, config(t, "bare"))
	require.Equal(t, "rogue", p.Name())
	_, err := p.Inventory(t.Context(), "fine")
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "written")
	require.NoError(t, <-write(t.Context(), p, "0", file, nil))
	begun := time.Now()
	require.NoError(t, p.Close())
	require.Less(t, time.Since(begun), leaveWithin, "it leaves by itself")
}

func TestAContextThatEndsEndsTheToolThatReads(t *testing.T) {
	p := start(t, config(t, "rogue"))
	file := filepath.Join(t.TempDir(), "begun")
	ctx, cancel := context.WithCancel(t.Context())
	go func() { eventually(t, exists(file)); cancel() }()
	_, err := p.Inventory(ctx, raid.ControllerID("tool "+file))
	require.EqualError(t, err, "the tool was ended: context canceled")
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, p.current.child.left(), "the tool is gone when the call returns")
	require.False(t, p.current.lost(), "the plugin lives on")
}

func TestAPluginThatHangsInAReadIsEndedAndStartedAgain(t *testing.T) {
	p := start(t, config(t, "rogue"))
	first := p.current.child.pid
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := p.Inventory(ctx, "hang")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "it did not stop within 1s and was ended")
	_, err = p.Inventory(t.Context(), "fine")
	require.NoError(t, err)
	require.NotEqual(t, first, p.current.child.pid)
	require.Empty(t, alive(t, first), "its tool is gone as well")
}

func TestAPluginThatIsKilledWhileItReadsIsStartedAgainByTheNextCall(t *testing.T) {
	p := start(t, config(t, "rogue"))
	first := p.current.child.pid
	file := filepath.Join(t.TempDir(), "begun")
	go func() {
		eventually(t, exists(file))
		_ = syscall.Kill(first, syscall.SIGKILL)
	}()
	_, err := p.Inventory(t.Context(), raid.ControllerID("hang "+file))
	crash := (*CrashError)(nil)
	require.ErrorAs(t, err, &crash)
	require.False(t, crash.Writing)
	require.ErrorContains(t, err, "died (signal: killed) in reading controller hang "+file+
		"; the next call starts it again")
	_, err = p.Inventory(t.Context(), "fine")
	require.NoError(t, err)
	require.Empty(t, alive(t, first), "the tool that it left behind only read, and is gone")
}

func TestAPanicOfTheDriverIsTold(t *testing.T) {
	p := start(t, config(t, "rogue"))
	_, err := p.Inventory(t.Context(), "panic")
	require.ErrorContains(t, err, "died (exit status 2) in reading controller panic; the next call starts it again; "+
		"it said: panic: no such slot")
}

// write begins a step that takes so many seconds, and returns how it ends.
func write(ctx context.Context, p *Process, seconds, file string, report func(raid.Progress)) <-chan error {
	result := make(chan error, 1)
	go func() {
		result <- p.Exec(ctx, &raid.Inventory{}, raid.Step{Kind: raid.StepCreateVolume, Controller: "c",
			Reason: seconds + " " + file}, report)
	}()
	return result
}

func TestAWriteIsFinishedAlthoughItsContextEnds(t *testing.T) {
	p := start(t, config(t, "rogue"))
	file := filepath.Join(t.TempDir(), "written")
	ctx, cancel := context.WithCancel(t.Context())
	var seen []raid.Progress
	err := <-write(ctx, p, "1.5", file, func(g raid.Progress) {
		seen = append(seen, g)
		cancel() // longer than StopTimeout before the end
	})
	require.NoError(t, err)
	require.Equal(t, "begun\ndone\n", content(t, file))
	want := []raid.Progress{{What: "begun"}, {What: "given up", Fraction: 0.5}, {What: "done", Fraction: 1}}
	require.Equal(t, want, seen, "the driver is told, and its progress streams")

	require.ErrorIs(t, <-write(ctx, p, "0", file, nil), context.Canceled)
	require.Equal(t, "begun\ndone\n", content(t, file), "and a step is not begun for one who has given up")
}

func TestAPluginThatIsKilledWhileItWritesIsNotReplacedBeforeItsToolIsDone(t *testing.T) {
	p := start(t, config(t, "rogue"))
	first := p.current.child.pid
	file := filepath.Join(t.TempDir(), "written")
	result := write(t.Context(), p, "1", file, nil)
	eventually(t, exists(file))
	require.NoError(t, syscall.Kill(first, syscall.SIGKILL))
	err := <-result
	crash := (*CrashError)(nil)
	require.ErrorAs(t, err, &crash)
	require.True(t, crash.Writing)
	require.ErrorContains(t, err, "died (signal: killed) in step create-volume on controller c, and nobody knows whether "+
		"that was done; read the controller and plan again")
	require.Equal(t, "begun\n", content(t, file))

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = p.Inventory(ctx, "fine")
	require.ErrorContains(t, err, "is still running (")
	require.ErrorIs(t, err, context.DeadlineExceeded)

	_, err = p.Inventory(t.Context(), "fine")
	require.NoError(t, err)
	require.Equal(t, "begun\ndone\n", content(t, file), "it was finished before, and not repeated")
	require.Empty(t, alive(t, first))
}

func TestAFrozenPluginDoesNotHoldAStepForEver(t *testing.T) {
	need.Time(t, "gRPC looks after a connection every ten seconds")
	t.Parallel()
	conf := config(t, "rogue")
	conf.silence = time.Second
	p := start(t, conf)
	file := filepath.Join(t.TempDir(), "written")
	result := write(t.Context(), p, "0.2", file, nil)
	eventually(t, exists(file))
	require.NoError(t, syscall.Kill(p.current.child.pid, syscall.SIGSTOP))
	require.ErrorContains(t, <-result, "and nobody knows whether that was done")
	_, err := p.Inventory(t.Context(), "fine")
	require.NoError(t, err)
	require.Equal(t, "begun\ndone\n", content(t, file))
}

func TestCloseWaitsForAWriteAndEndsWhatReads(t *testing.T) {
	p := start(t, config(t, "rogue"))
	pid := p.current.child.pid
	dir := t.TempDir()
	written, begun := filepath.Join(dir, "written"), filepath.Join(dir, "begun")
	result := write(t.Context(), p, "0.5", written, nil)
	reading := make(chan error, 1)
	go func() {
		_, err := p.Inventory(t.Context(), raid.ControllerID("tool "+begun))
		reading <- err
	}()
	eventually(t, exists(written))
	eventually(t, exists(begun))
	require.NoError(t, p.Close())
	require.NoError(t, <-result)
	require.Error(t, <-reading)
	require.Equal(t, "begun\ndone\n", content(t, written))
	require.Empty(t, alive(t, pid))
	_, err := p.Probe(t.Context())
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, p.Close(), "twice is as good as once")
}

func TestCloseCutsOffAWriteThatNeverEnds(t *testing.T) {
	conf := config(t, "rogue")
	conf.CloseTimeout = 200 * time.Millisecond
	p, err := Start(t.Context(), conf)
	require.NoError(t, err)
	pid := p.current.child.pid
	file := filepath.Join(t.TempDir(), "written")
	result := write(t.Context(), p, "1000", file, nil)
	eventually(t, exists(file))
	require.ErrorContains(t, p.Close(), "in the middle of a step, which was cut off after 200ms")
	require.ErrorContains(t, <-result, "nobody knows whether that was done")
	require.Empty(t, alive(t, pid))
}

func TestAPluginThatDiesAgainAndAgainIsNotStartedForEver(t *testing.T) {
	conf := config(t, "rogue")
	conf.MaxRestarts = 2
	p := start(t, conf)
	for range 3 {
		_, err := p.Inventory(t.Context(), "panic")
		require.ErrorAs(t, err, new(*CrashError))
	}
	_, err := p.Inventory(t.Context(), "fine")
	require.ErrorContains(t, err, "died 3 times within 10m0s, at last with exit status 2: it is not started again before ")
}

func TestAWrongExecutableIsNotStarted(t *testing.T) {
	conf := config(t, "rogue")
	data, err := os.ReadFile(conf.Path)
	require.NoError(t, err)
	right := sha256.Sum256(data)
	ran := filepath.Join(t.TempDir(), "ran")
	script := filepath.Join(t.TempDir(), "plugin")
	text := []byte("#!/bin/sh\ntouch " + ran + "\n")
	require.NoError(t, os.WriteFile(script, text, 0o700))
	scripts := sha256.Sum256(text)
	for _, c := range []struct{ path, digest, want string }{
		{script, hex.EncodeToString(right[:]), "is not the one that was asked for, and was not started: its SHA-256 is " +
			hex.EncodeToString(scripts[:]) + " instead of " + hex.EncodeToString(right[:])},
		{script, hex.EncodeToString(scripts[:]), "is a script, whose interpreter is not what was checked"},
		{script, "abc", `"abc" is no SHA-256`},
		{filepath.Dir(script), "", "is no file"},
		{script + "2", "", "no such file"},
	} {
		bad := conf
		bad.Path, bad.SHA256 = c.path, c.digest
		_, err := Start(t.Context(), bad)
		require.ErrorContains(t, err, c.want)
	}
	require.NoFileExists(t, ran)
}

func TestWhatWasCheckedIsWhatRunsAlsoWhenTheFileIsReplaced(t *testing.T) {
	conf := config(t, "rogue")
	data, err := os.ReadFile(conf.Path)
	require.NoError(t, err)
	digest := sha256.Sum256(data)
	conf.Path, conf.SHA256 = filepath.Join(t.TempDir(), "raid-acme"), strings.ToUpper(hex.EncodeToString(digest[:]))
	require.NoError(t, os.WriteFile(conf.Path, data, 0o700))
	p := start(t, conf)
	require.NoError(t, os.WriteFile(conf.Path, []byte("#!/bin/sh\nexit 1\n"), 0o700))
	_, err = p.Inventory(t.Context(), "panic")
	require.ErrorAs(t, err, new(*CrashError))
	_, err = p.Inventory(t.Context(), "fine")
	require.NoError(t, err, "it is started again from what was checked")
	_, err = p.exe.sealed.WriteAt([]byte("x"), 0)
	require.Error(t, err)
	_, err = os.OpenFile(p.exe.file(), os.O_RDWR, 0)
	require.Error(t, err)
	require.NoError(t, p.Close())
}

func TestAPluginThatDoesNotStartSaysWhy(t *testing.T) {
	for _, c := range []struct{ as, want string }{
		{"old", "speaks version 0 of the protocol, and this Loda version 1: the plugin is too old"},
		{"silent", "no handshake within 1s; it said: waiting for a licence server"},
		{"broken", "it ended before the handshake (exit status 3); is it a RAID plugin, and for this machine?; it said: " +
			"cannot find libacme.so"},
	} {
		t.Run(c.as, func(t *testing.T) {
			conf := config(t, c.as)
			conf.StartTimeout = time.Second
			if c.as != "silent" {
				conf.StartTimeout = soon
			}
			_, err := Start(t.Context(), conf)
			require.ErrorContains(t, err, c.want)
			if c.as == "old" {
				require.ErrorAs(t, err, new(*VersionError))
			}
			left, err := os.ReadDir(conf.TempDir)
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestAStartThatNobodyWaitsForIsGivenUp(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := Start(ctx, config(t, "silent"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestALongPathOfTemporaryFilesIsNoObstacle(t *testing.T) {
	conf := config(t, "rogue")
	conf.TempDir = filepath.Join(conf.TempDir, strings.Repeat("long/", 30))
	require.NoError(t, os.MkdirAll(conf.TempDir, 0o700))
	p := start(t, conf)
	dir := p.current.dir
	require.NoError(t, p.Close())
	require.NoDirExists(t, dir)
	require.LessOrEqual(t, len("/raid1234567890/plugin-dir1234567890/plugin1234567890"), 107-maxTempDir)
}

func TestAPluginWithoutAHostEndsAfterWhatItWrites(t *testing.T) {
	p := start(t, config(t, "rogue"))
	file := filepath.Join(t.TempDir(), "written")
	result := write(t.Context(), p, "0.5", file, nil)
	eventually(t, exists(file))
	p.current.child.host.Close() // as the kernel does when the host dies
	err := <-result
	if err != nil { // the answer may be lost, the write is not
		require.ErrorAs(t, err, new(*CrashError))
	}
	<-p.current.child.gone
	require.Equal(t, "begun\ndone\n", content(t, file))
}

func TestStartedByHandAPluginSaysWhatItIs(t *testing.T) {
	cmd := exec.Command(config(t, "rogue").Path)
	cmd.Env = append(os.Environ(), asVariable+"=rogue")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "is a RAID driver for Loda, and of no use by itself: Loda starts it.")
}

func TestFiftyStartsAndStopsLeaveNothingBehind(t *testing.T) {
	conf := config(t, "rogue")
	// Once before, for what is made once.
	require.NoError(t, start(t, conf).Close())
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	var pids []int
	starts := 50
	if testing.Short() {
		starts = 10
	}
	for n := range starts {
		p, err := Start(t.Context(), conf)
		require.NoError(t, err)
		pids = append(pids, p.current.child.pid)
		_, err = p.Inventory(t.Context(), "fine")
		require.NoError(t, err)
		if n%5 == 0 {
			require.NoError(t, syscall.Kill(p.current.child.pid, syscall.SIGKILL))
		}
		require.NoError(t, p.Close())
	}
	require.Empty(t, alive(t, pids...))
	left, err := os.ReadDir(conf.TempDir)
	require.NoError(t, err)
	require.Empty(t, left)
	// Not by Eventually, which has goroutines of its own.
	for end := time.Now().Add(soon); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if runtime.NumGoroutine() <= goroutines && openFiles(t) <= files {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	t.Fatalf("%d goroutines instead of %d, %d open files instead of %d:\n%s", runtime.NumGoroutine(), goroutines,
		openFiles(t), files, stacks[:runtime.Stack(stacks, true)])
}

func openFiles(t testing.TB) int {
	all, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(all)
}

func BenchmarkStartToFirstCall(b *testing.B) {
	conf := config(b, "rogue")
	data, err := os.ReadFile(conf.Path)
	require.NoError(b, err)
	digest := sha256.Sum256(data)
	for _, c := range []struct{ name, digest string }{{"unchecked", ""}, {"checked", hex.EncodeToString(digest[:])}} {
		b.Run(c.name, func(b *testing.B) {
			conf.SHA256 = c.digest
			for b.Loop() {
				p, err := Start(b.Context(), conf)
				require.NoError(b, err)
				_, err = p.Inventory(b.Context(), "fine")
				require.NoError(b, err)
				b.StopTimer()
				require.NoError(b, p.Close())
				b.StartTimer()
			}
		})
	}
}
