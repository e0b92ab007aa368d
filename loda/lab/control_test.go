package lab_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/scripts/need"
)

func TestAnotherTerminalControlsTheMachines(t *testing.T) {
	need.QEMU(t)
	opts := optionsIn(shortDir(t))
	spec := lab.Spec{Machines: []lab.MachineSpec{{
		BootOrder: lab.OrderDisk,
		Disks:     []lab.Disk{{Size: lab.MiB, Image: bootSector(t, "sector runs", halts)}},
	}}}
	rack, err := lab.Up(t.Context(), spec, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, rack.Down(context.Background())) })
	m := rack.Machine("m1")
	ctx := bounded(t, time.Minute)
	control := func(action lab.Action) error { return lab.Control(ctx, "lab", "m1", action, opts) }

	require.ErrorContains(t, control(lab.ActionReset), "machine is off")
	require.NoError(t, control(lab.ActionUnplug))
	require.NoError(t, control(lab.ActionOn))
	require.True(t, m.On())
	_, err = m.Console().Wait(ctx, sectorRuns)
	require.NoError(t, err)
	require.NoError(t, control(lab.ActionPlug))
	require.NoError(t, control(lab.ActionBootNetwork))
	require.NoError(t, control(lab.ActionReset))
	pid := m.PID()
	require.NoError(t, control(lab.ActionCycle))
	require.NotEqual(t, pid, m.PID())
	states, err := lab.List(opts)
	require.NoError(t, err)
	require.Equal(t, m.PID(), states[0].Machines[0].QEMU.PID)
	require.NoError(t, control(lab.ActionCut))
	require.False(t, m.On())
	require.NoError(t, control(lab.ActionBootDisk))
	require.NoError(t, control(lab.ActionOff), "it is off already")

	require.ErrorContains(t, control("explode"), `"explode": want one of`)
	require.ErrorContains(t, lab.Control(ctx, "lab", "m9", lab.ActionOn, opts), `no machine "m9"`)
	require.ErrorIs(t, lab.Control(ctx, "elsewhere", "m1", lab.ActionOn, opts), lab.ErrNoRack)
}
