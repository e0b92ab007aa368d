package main

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// newMachineWithRAID makes this machine one with a MegaRAID controller whose storcli64 is an emulator. It returns its
// chassis and the flags that name the tool.
func newMachineWithRAID(t *testing.T) (*raidtest.Chassis, []string) {
	t.Helper()
	t.Setenv(beLodad, "1") // the drivers run in this test binary
	before := thisMachine
	t.Cleanup(func() { thisMachine = before })
	thisMachine = func(context.Context) (*hw.Facts, error) {
		return &hw.Facts{System: hw.System{Serial: "SN-0001"}, Controllers: []hw.PCIDevice{{Address: "0000:18:00.0", Class: "010400",
			Vendor: "1000", Device: "005d", SubVendor: "1000", SubDevice: "9361"}}}, nil
	}
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
