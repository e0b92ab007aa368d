package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/scripts/need"
)

// withMegaRAID are the facts of a machine.
var withMegaRAID = &hw.Facts{System: hw.System{Serial: "SN-0001"}, Controllers: []hw.PCIDevice{{Address: "0000:18:00.0",
	Class: "010400", Vendor: "1000", Device: "005d", SubVendor: "1000", SubDevice: "9361"}}}

// otherMachine has facts of the machine that a lodad in a process of its own is to be on, as JSON.
const otherMachine = "TEST_MACHINE"

func onAnotherMachine() {
	text, ok := os.LookupEnv(otherMachine)
	if !ok {
		return
	}
	thisMachine = func(context.Context) (*hw.Facts, error) {
		facts := &hw.Facts{}
		return facts, json.Unmarshal([]byte(text), facts)
	}
}

// newMachineWithRAID makes this machine one with a MegaRAID controller whose storcli64 is an emulator. It returns its
// chassis and the flags that name the tool.
func newMachineWithRAID(t *testing.T) (*raidtest.Chassis, []string) {
	t.Helper()
	t.Setenv(beLodad, "1") // the drivers run in this test binary
	before := thisMachine
	t.Cleanup(func() { thisMachine = before })
	thisMachine = func(context.Context) (*hw.Facts, error) { return withMegaRAID, nil }
	ctl := raidtest.MegaRAID("0000:18:00.0", "SV1")
	ctl.AddDrives(4, hw.SSD, hw.BusATA, 480e9)
	dir := t.TempDir()
	chassis, err := raidtest.Create(filepath.Join(dir, "chassis.json"), &raidtest.State{Controllers: []*raidtest.Controller{ctl}})
	require.NoError(t, err)
	require.NoError(t, chassis.Edit(func(s *raidtest.State) error {
		_, err := s.Controllers[0].CreateVolume(raidtest.NewVolume{Name: "theirs", Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D002"}})
		return err
	}))
	emulator := filepath.Join(dir, "emulator")
	out, err := exec.Command("go", "build", "-o", emulator, "../raid/raidtest/storcli/storcli64").CombinedOutput()
	require.NoError(t, err, string(out))
	tool := filepath.Join(dir, "storcli64")
	require.NoError(t, os.WriteFile(tool, []byte("#!/bin/sh\n"+raidtest.ChassisVariable+"="+chassis.Path()+" exec "+emulator+" \"$@\"\n"), 0o755))
	return chassis, []string{"--tool", "storcli=" + tool}
}

const mirrorLayout = `
controllers:
- volumes:
  - {name: os, level: 1, disks: {count: 2, medium: ssd}, boot: true}
  unlisted: remove
`

func TestTheRAIDOfThisMachineIsShownPlannedAndMade(t *testing.T) {
	chassis, tool := newMachineWithRAID(t)
	status, out, errText := lodad(t.Context(), append([]string{"raid", "show"}, tool...)...)
	require.Zero(t, status, errText)
	require.Contains(t, out, "controller 0000:18:00.0")
	require.Regexp(t, `theirs +1 +optimal`, out)

	file := layoutFile(t, mirrorLayout)
	status, out, errText = lodad(t.Context(), append([]string{"raid", "plan", "--layout", file}, tool...)...)
	require.Zero(t, status, errText)
	require.Contains(t, out, "destroys volume theirs")
	require.Regexp(t, `\$ .*/storcli64 /c0/v\d+ del`, out, "the exact command")
	digest := regexp.MustCompile(`(?m)^plan ([0-9a-f]{64})$`).FindStringSubmatch(out)
	require.NotNil(t, digest, out)

	apply := func(args ...string) (int, string, string) {
		return lodad(t.Context(), append(append([]string{"raid", "apply", "--layout", file}, tool...), args...)...)
	}
	before, err := chassis.State()
	require.NoError(t, err)
	status, out, errText = apply("--dry-run")
	require.Zero(t, status, errText)
	require.Contains(t, out, digest[1])
	status, _, errText = apply()
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, "--allow destroy")
	status, _, errText = apply("--allow", "destroy")
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, "nobody is there to ask")
	status, _, errText = apply("--allow", "destroy", "--plan", strings.Repeat("0", 64))
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, "the plan is "+digest[1]+" now")
	after, err := chassis.State()
	require.NoError(t, err)
	require.Equal(t, before.Commands, after.Commands, "nothing was done so far")

	status, out, errText = apply("--allow", "destroy", "--plan", digest[1][:12], "-o", "json")
	require.Zero(t, status, errText)
	var kinds []raid.EventKind
	for line := range strings.Lines(out) {
		var e raid.Event
		require.NoError(t, json.Unmarshal([]byte(line), &e), line)
		kinds = append(kinds, e.Kind)
	}
	require.Contains(t, kinds, raid.StepDone)
	require.NotContains(t, kinds, raid.StepFailed)
	status, out, errText = apply()
	require.Zero(t, status, errText)
	require.Contains(t, out, "nothing to do")
	state, err := chassis.State()
	require.NoError(t, err)
	require.Equal(t, "os", state.Controllers[0].Inventory().Volumes[0].Name)
}

func TestALayoutThatIsImpossibleOnThisMachineSaysWhy(t *testing.T) {
	_, tool := newMachineWithRAID(t)
	file := layoutFile(t, "controllers:\n- volumes:\n  - {name: data, level: 6, disks: {count: 6, medium: hdd}}\n")
	status, _, errText := lodad(t.Context(), append([]string{"raid", "plan", "--layout", file}, tool...)...)
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, "medium ssd")
}

func TestAControllerWithoutItsToolIsToldWithTheRemedy(t *testing.T) {
	newMachineWithRAID(t)
	status, out, errText := lodad(t.Context(), "raid", "show", "-o", "json")
	require.Zero(t, status, errText)
	require.NotContains(t, out, "0000:18:00.0")
	require.Contains(t, errText, "controller 0000:18:00.0 (MegaRAID SAS-3 3108, PCI id 1000:005d): it needs storcli")
	require.Contains(t, errText, "--tool storcli=PATH")
}

func TestToolsAndPluginsOfTheCommandLineAreLookedAtBeforeAnythingRuns(t *testing.T) {
	_, tool := newMachineWithRAID(t)
	nothing := filepath.Join(t.TempDir(), "nothing")
	require.NoError(t, os.WriteFile(nothing, nil, 0o644))
	for _, tc := range []struct {
		flag, value string
		status      int
		says        string
	}{
		{"--tool", "storcli=/nowhere/storcli64", exitFailed, "no such file"},
		{"--tool", "storcli=" + nothing, exitFailed, "is no program that can be run"},
		{"--tool", "storcli=", exitUsage, "want NAME=PATH"},
		{"--plugin", "1000:5d=" + nothing, exitUsage, "want VENDOR:DEVICE=PATH"},
		{"--plugin", "1000:005d=", exitUsage, "want VENDOR:DEVICE=PATH"},
	} {
		status, _, errText := lodad(t.Context(), "raid", "show", tc.flag, tc.value)
		require.Equal(t, tc.status, status, "%s: %s", tc.value, errText)
		require.Contains(t, errText, tc.says, tc.value)
	}
	status, out, errText := lodad(t.Context(), append([]string{"raid", "show", "--plugin", "abcd:0001=/bin/true"}, tool...)...)
	require.Zero(t, status)
	require.Contains(t, out, "controller 0000:18:00.0", "a plugin for another controller changes nothing")
	require.Contains(t, errText, "abcd:0001=/bin/true: no controller of this machine has that PCI id; there are 1000:005d at 0000:18:00.0")
}

func TestAToolIsGivenByAnyOfItsNames(t *testing.T) {
	newMachineWithRAID(t)
	thisMachine = func(context.Context) (*hw.Facts, error) {
		return &hw.Facts{Controllers: []hw.PCIDevice{{Address: "0000:03:00.0", Class: "010400", Vendor: "103c", Device: "323b"}}}, nil
	}
	old := filepath.Join(t.TempDir(), "hpssacli")
	require.NoError(t, os.WriteFile(old, []byte("#!/bin/sh\nexit 1\n"), 0o755))
	status, _, errText := lodad(t.Context(), "raid", "show", "--tool", "hpssacli="+old)
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, old+" ctrl all show config detail")
}

func TestALayoutForTheOnlyControllerIsNotMadeOnTheOneThatCanBeRead(t *testing.T) {
	chassis, tool := newMachineWithRAID(t)
	facts := *withMegaRAID
	facts.Controllers = append(facts.Controllers[:1:1], hw.PCIDevice{Address: "0000:03:00.0", Class: "010400", Vendor: "103c", Device: "323b"})
	thisMachine = func(context.Context) (*hw.Facts, error) { return &facts, nil }
	before, err := chassis.State()
	require.NoError(t, err)
	args := append([]string{"raid", "apply", "--allow", "destroy", "--layout", layoutFile(t, mirrorLayout)}, tool...)
	status, _, errText := lodad(t.Context(), args...)
	require.Equal(t, exitFailed, status)
	require.Contains(t, errText, "it needs ssacli")
	require.Contains(t, errText, "only as long as 0000:03:00.0 Smart Array cannot be read")
	after, err := chassis.State()
	require.NoError(t, err)
	require.Equal(t, before.Commands, after.Commands)

	args[len(args)-len(tool)-1] = layoutFile(t, strings.Replace(mirrorLayout, "- volumes:", "- controller: pci 0000:18:00.0\n  volumes:", 1))
	status, out, errText := lodad(t.Context(), append(args, "--dry-run")...)
	require.Zero(t, status, errText)
	require.Contains(t, out, "wants volume os")
	require.Contains(t, errText, "it needs ssacli", "it is told, and nothing is in the way")
}

// process is lodad in a process of its own, on the machine with the MegaRAID.
func process(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	facts, err := json.Marshal(withMegaRAID)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), beLodad+"=1", otherMachine+"="+string(facts))
	return cmd
}

// onTerminal runs a command on a terminal of its own, types when it is asked, and returns its exit status and what the
// terminal shows.
func onTerminal(t *testing.T, cmd *exec.Cmd, prompt, typed string) (int, string) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		need.Missing(t, fmt.Sprintf("needs a terminal of its own (/dev/ptmx): %v", err))
	}
	defer master.Close()
	require.NoError(t, unix.IoctlSetPointerInt(int(master.Fd()), unix.TIOCSPTLCK, 0))
	number, err := unix.IoctlGetInt(int(master.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	require.NoError(t, cmd.Start())
	tty.Close()
	var shown strings.Builder
	buf := make([]byte, 4096)
	for asked := false; ; {
		n, err := master.Read(buf)
		shown.Write(buf[:n])
		if !asked && strings.Contains(shown.String(), prompt) {
			asked = true
			_, err := master.WriteString(typed)
			require.NoError(t, err)
		}
		if err != nil { // EIO, when nobody has it any more
			break
		}
	}
	_ = cmd.Wait()
	return cmd.ProcessState.ExitCode(), shown.String()
}

func TestWhoeverLosesDataHasTypedTheSerialNumber(t *testing.T) {
	chassis, tool := newMachineWithRAID(t)
	args := append([]string{"raid", "apply", "--allow", "destroy", "--layout", layoutFile(t, mirrorLayout)}, tool...)
	const prompt = "type the machine's serial number, SN-0001, to go on: "
	names := func() (names []string) {
		s, err := chassis.State()
		require.NoError(t, err)
		for _, v := range s.Controllers[0].Inventory().Volumes {
			names = append(names, v.Name)
		}
		return names
	}
	for _, typed := range []string{"y\n", "\n", "SN-0002\n", "\x04", "\x03"} { // the last are ^D and ^C
		status, shown := onTerminal(t, process(t, args...), prompt, typed)
		require.Equal(t, exitFailed, status, "%q: %s", typed, shown)
		require.Contains(t, shown, "nothing was done", "%q", typed)
		require.Equal(t, []string{"theirs"}, names())
	}
	status, shown := onTerminal(t, process(t, args...), prompt, "sn-0001\n")
	require.Zero(t, status, shown)
	require.Contains(t, shown, "destroys volume theirs")
	require.Equal(t, []string{"os"}, names())
}

func TestAReaderWhoGoesAwayDoesNotKillACommandInTheMiddleOfAStep(t *testing.T) {
	_, tool := newMachineWithRAID(t)
	args := append([]string{"raid", "apply", "--layout", layoutFile(t, "controllers:\n- volumes:\n  - {name: data, level: 0, disks: {count: 2}}\n"),
		"-o", "json"}, tool...)
	r, w, err := os.Pipe()
	require.NoError(t, err)
	require.NoError(t, r.Close())
	cmd := process(t, args...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = w, &said
	require.NoError(t, cmd.Start())
	w.Close()
	_ = cmd.Wait()
	require.Equal(t, exitFailed, cmd.ProcessState.ExitCode(), "%s: %s", cmd.ProcessState, said.String())
	require.Contains(t, said.String(), "broken pipe")
	status, out, errText := lodad(t.Context(), args...)
	require.Zero(t, status, errText)
	require.NotContains(t, out, string(raid.StepFailed))
}

func TestAControllerThatMustBeRestartedIsNoFailure(t *testing.T) {
	chassis, tool := newMachineWithRAID(t)
	args := append([]string{"--layout", layoutFile(t, "controllers:\n- {mode: jbod, unlisted: remove}\n"), "-o", "json"}, tool...)
	status, out, errText := lodad(t.Context(), append([]string{"raid", "plan"}, args...)...)
	require.Zero(t, status, errText)
	digest := decoded[planDocument](t, out).Digest
	status, out, errText = lodad(t.Context(), append([]string{"raid", "apply", "--allow", "destroy", "--plan", digest}, args...)...)
	require.Zero(t, status, errText)
	require.Contains(t, errText, "the machine must be restarted")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := decoded[again](t, lines[len(lines)-1])
	require.Equal(t, "again", last.Kind)
	require.Contains(t, last.Text, "0000:18:00.0 is in mode jbod after the next start")
	require.NoError(t, chassis.PowerOn())
	status, out, errText = lodad(t.Context(), append([]string{"raid", "plan"}, args...)...)
	require.Zero(t, status, errText)
	require.Empty(t, decoded[planDocument](t, out).Steps)
}
