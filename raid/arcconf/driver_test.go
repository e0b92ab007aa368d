package arcconf_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/arcconf"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const done = "\nCommand completed successfully.\n"

// scripted answers by the beginning of the command, and keeps what it was asked.
type scripted struct {
	answers map[string]string
	exit    int
	err     error
	ran     []string
	ended   bool // the context had ended when a command was run
	after   func(command string)
}

func (s *scripted) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	command := strings.Join(argv[1:], " ")
	s.ran = append(s.ran, command)
	s.ended = s.ended || ctx.Err() != nil
	if s.err != nil {
		return nil, s.err
	}
	if s.after != nil {
		defer s.after(command)
	}
	answer, length := done, -1
	for begin, text := range s.answers {
		if strings.HasPrefix(command, begin) && len(begin) > length {
			answer, length = text, len(begin)
		}
	}
	return &raid.Output{Stdout: []byte(answer), ExitCode: s.exit}, nil
}

func driverOf(t *testing.T, file string) (*arcconf.Driver, *scripted, *raid.Inventory) {
	tool := &scripted{answers: map[string]string{
		"LIST":        "Controllers found: 1\n" + done,
		"GETCONFIG 1": string(read(t, filepath.Join("testdata", file))),
		"GETSTATUS 1": string(read(t, filepath.Join("testdata", "series8-status.txt"))),
	}}
	driver := arcconf.New(tool, "arcconf", "0000:af:00.0")
	inv, err := driver.Inventory(t.Context(), "0000:af:00.0")
	require.NoError(t, err)
	require.Equal(t, []string{"LIST", "GETCONFIG 1 AD", "GETCONFIG 1 AL", "GETSTATUS 1"}, tool.ran)
	assert.Empty(t, inv.Warnings)
	tool.ran = nil
	return driver, tool, inv
}

func disks(inv *raid.Inventory, ids ...raid.DiskID) []raid.DiskRef {
	var refs []raid.DiskRef
	for _, id := range ids {
		for _, d := range inv.Disks {
			if d.ID == id {
				refs = append(refs, raid.DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()})
			}
		}
	}
	return refs
}

func volume(inv *raid.Inventory, id raid.VolumeID) raid.VolumeRef {
	for _, v := range inv.Volumes {
		if v.ID == id {
			ref := raid.VolumeRef{ID: id, WWN: v.WWN}
			for _, d := range disks(inv, v.Members...) {
				ref.Members = append(ref.Members, d.DiskIdentity)
			}
			return ref
		}
	}
	panic("no volume " + id)
}

func TestStepsBecomeCommands(t *testing.T) {
	smart, _, inv := driverOf(t, "smartraid.txt")
	os, data := volume(inv, "0"), volume(inv, "1")
	ready := disks(inv, "0,7", "0,6")
	old, _, inv8 := driverOf(t, "series8.txt")
	mirror := volume(inv8, "0")
	ready8 := disks(inv8, "0,18", "0,9")
	for _, c := range []struct {
		driver *arcconf.Driver
		inv    *raid.Inventory
		step   raid.Step
		want   string
	}{
		{smart, inv, raid.Step{Kind: raid.StepMode, Mode: raid.ModeHBA}, "SETCONTROLLERMODE 1 2"},
		{smart, inv, raid.Step{Kind: raid.StepMode, Mode: raid.ModeRAID}, "SETCONTROLLERMODE 1 3"},
		{smart, inv, raid.Step{Kind: raid.StepDeleteVolume, Volume: &data}, "DELETE 1 LOGICALDRIVE 1"},
		{smart, inv, raid.Step{Kind: raid.StepBoot, Volume: &os}, "SETBOOT 1 LOGICALDRIVE 0 TYPE Primary"},
		{smart, inv, raid.Step{Kind: raid.StepPolicies, Volume: &data, Policies: raid.Policies{Write: raid.WriteBack}},
			"SETCACHE 1 LOGICALDRIVE 1 CON"},
		{smart, inv, raid.Step{Kind: raid.StepAddSpare, Disks: ready, SpareFor: []raid.VolumeRef{os, data}},
			"SETSTATE 1 DEVICE 0 7 HSP ARRAY 0 1; SETSTATE 1 DEVICE 0 6 HSP ARRAY 0 1"},
		{smart, inv, raid.Step{Kind: raid.StepRemoveSpare, Disks: disks(inv, "0,5")}, "SETSTATE 1 DEVICE 0 5 RDY"},
		{smart, inv, raid.Step{Kind: raid.StepCreateVolume, Disks: ready, Create: &raid.NewVolume{Name: "scratch",
			Level: raid.Level1, Strip: 64 << 10, Policies: raid.Policies{Write: raid.WriteThrough}}},
			"CREATE 1 LOGICALDRIVE Name scratch Stripesize 64 MAX 1 0 7 0 6; SETCACHE 1 LOGICALDRIVE <scratch> COFF"},
		{old, inv8, raid.Step{Kind: raid.StepMode, Mode: raid.ModeRAID}, "SETCONTROLLERMODE 1 0"},
		{old, inv8, raid.Step{Kind: raid.StepDeleteVolume, Volume: &mirror}, "DELETE 1 LOGICALDRIVE 0"},
		{old, inv8, raid.Step{Kind: raid.StepPolicies, Volume: &mirror, Policies: raid.Policies{Read: raid.ReadNone,
			Write: raid.WriteBack}}, "SETCACHE 1 LOGICALDRIVE 0 ROFF; SETCACHE 1 LOGICALDRIVE 0 WBB"},
		{old, inv8, raid.Step{Kind: raid.StepAddSpare, Disks: ready8[:1]}, "SETSTATE 1 DEVICE 0 18 HSP"},
		{old, inv8, raid.Step{Kind: raid.StepAddSpare, Disks: ready8[:1], SpareFor: []raid.VolumeRef{mirror}},
			"SETSTATE 1 DEVICE 0 18 HSP LOGICALDRIVE 0"},
		{old, inv8, raid.Step{Kind: raid.StepReady, Disks: disks(inv8, "0,16", "0,17")},
			"TASK START 1 DEVICE 0 16 INITIALIZE; DELETE 1 JBOD 0 17"},
		{old, inv8, raid.Step{Kind: raid.StepJBOD, Disks: ready8[:1]}, "CREATE 1 JBOD 0 18"},
		{old, inv8, raid.Step{Kind: raid.StepCreateVolume, Disks: ready8, Create: &raid.NewVolume{Name: "scratch",
			Level: raid.Level0, Bytes: 10<<30 + 1, Initialize: raid.InitializeFull,
			Policies: raid.Policies{Read: raid.ReadAhead, Write: raid.WriteAlwaysBack}}},
			"CREATE 1 LOGICALDRIVE Name scratch Method CLEAR Rcache RON Wcache WB 10240 0 0 18 0 9"},
	} {
		c.step.Controller = c.inv.Controller.ID
		commands, err := c.driver.Commands(c.inv, c.step)
		require.NoError(t, err, "%+v", c.step)
		var lines []string
		for _, argv := range commands {
			require.Equal(t, "arcconf", argv[0])
			require.Equal(t, "noprompt", argv[len(argv)-1])
			lines = append(lines, strings.Join(argv[1:len(argv)-1], " "))
		}
		assert.Equal(t, c.want, strings.Join(lines, "; "))
	}
}

func TestStepsThatTheControllerCannotDoAreRefused(t *testing.T) {
	driver, tool, inv := driverOf(t, "smartraid.txt")
	ready := disks(inv, "0,7", "0,6")
	stranger := []raid.DiskRef{{ID: "0,7", Location: "Enclosure 1, Slot 7",
		DiskIdentity: raid.DiskIdentity{Serial: "OTHER"}}}
	create := func(disks []raid.DiskRef, n raid.NewVolume) raid.Step {
		return raid.Step{Kind: raid.StepCreateVolume, Disks: disks, Create: &n}
	}
	remove := func(ref raid.VolumeRef) raid.Step { return raid.Step{Kind: raid.StepDeleteVolume, Volume: &ref} }
	for name, step := range map[string]raid.Step{
		"no foreign configurations":     {Kind: raid.StepClearForeign},
		"no global spares":              {Kind: raid.StepAddSpare, Disks: ready},
		"no spare":                      {Kind: raid.StepRemoveSpare, Disks: ready},
		"no JBOD":                       {Kind: raid.StepJBOD, Disks: ready},
		"no such mode":                  {Kind: raid.StepMode, Mode: raid.ModeJBOD},
		"another drive in that slot":    create(stranger, raid.NewVolume{Level: raid.Level0}),
		"too few":                       create(ready, raid.NewVolume{Level: raid.Level5}),
		"the same one twice":            create(disks(inv, "0,7", "0,7"), raid.NewVolume{Level: raid.Level0}),
		"a member":                      create(disks(inv, "0,0"), raid.NewVolume{Level: raid.Level0}),
		"no way to choose the spans":    create(ready, raid.NewVolume{Level: raid.Level0, Spans: 2}),
		"no way to choose the clearing": create(ready, raid.NewVolume{Level: raid.Level0, Initialize: raid.InitializeFull}),
		"no such strip":                 create(ready, raid.NewVolume{Level: raid.Level0, Strip: 4 << 10}),
		"a name that is too long":       create(ready, raid.NewVolume{Level: raid.Level0, Name: strings.Repeat("a", 65)}),
		"a volume that is gone":         remove(raid.VolumeRef{ID: "0", WWN: "naa.600508b1001cffffffffffffffffffff"}),
		"a number proves nothing":       remove(raid.VolumeRef{ID: "0"}),
		"a volume that is not made yet": remove(raid.VolumeRef{Name: "scratch"}),
	} {
		step.Controller = inv.Controller.ID
		assert.Error(t, driver.Exec(t.Context(), inv, step, nil), name)
	}
	assert.Empty(t, tool.ran)
}

func TestTheLastLineDecidesAndNotTheExitStatus(t *testing.T) {
	driver, tool, inv := driverOf(t, "smartraid.txt")
	ref := volume(inv, "0")
	step := raid.Step{Kind: raid.StepDeleteVolume, Controller: inv.Controller.ID, Volume: &ref}
	tool.exit = 1
	require.NoError(t, driver.Exec(t.Context(), inv, step, nil))
	assert.Equal(t, []string{"DELETE 1 LOGICALDRIVE 0 noprompt"}, tool.ran)

	tool.exit = 0
	for _, text := range []string{"", "Controllers found: 1\n\nThe logical device is in use.\n\nCommand aborted.\n"} {
		tool.answers["DELETE"] = text
		assert.Error(t, driver.Exec(t.Context(), inv, step, nil))
	}
	var refused *arcconf.ToolError
	require.ErrorAs(t, driver.Exec(t.Context(), inv, step, nil), &refused)
	assert.Equal(t, "The logical device is in use. Command aborted.", refused.Message)
}

func TestPoliciesGoToTheVolumeThatWasJustMade(t *testing.T) {
	driver, tool, inv := driverOf(t, "smartraid.txt")
	whole := tool.answers["GETCONFIG 1"]
	tool.after = func(command string) {
		if strings.HasPrefix(command, "CREATE") {
			tool.answers["GETCONFIG 1"] = strings.Replace(whole, "Logical Device number 1\n", "Logical Device number 2\n"+
				"   Logical Device name : scratch\n   Volume Unique Identifier : 600508B1001C00000000000000000CCC\n\n"+
				"Logical Device number 1\n", 1)
		}
	}
	step := raid.Step{Kind: raid.StepCreateVolume, Controller: inv.Controller.ID, Disks: disks(inv, "0,7", "0,6"),
		Create: &raid.NewVolume{Name: "scratch", Level: raid.Level1, Policies: raid.Policies{Write: raid.WriteBack}}}
	require.NoError(t, driver.Exec(t.Context(), inv, step, nil))
	assert.Equal(t, "SETCACHE 1 LOGICALDRIVE 2 CON noprompt", tool.ran[len(tool.ran)-1])

	tool.after, tool.answers["GETCONFIG 1"] = nil, whole
	assert.ErrorContains(t, driver.Exec(t.Context(), inv, step, nil), "0 new volumes")
}

func TestAWriteIsNotStoppedAndNotBegunAfterTheEnd(t *testing.T) {
	driver, tool, inv := driverOf(t, "series8.txt")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := true
	tool.after = func(string) { first = false }
	runner := runnerFunc(func(runCtx context.Context, argv ...string) (*raid.Output, error) {
		cancel()
		return tool.Run(runCtx, argv...)
	})
	step := raid.Step{Kind: raid.StepReady, Controller: inv.Controller.ID, Disks: disks(inv, "0,16", "0,17")}
	err := arcconf.New(runner, "arcconf").Exec(ctx, inv, step, nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "DELETE 1 JBOD 0 17 noprompt was not begun")
	assert.Equal(t, []string{"TASK START 1 DEVICE 0 16 INITIALIZE noprompt"}, tool.ran)
	assert.False(t, first)
	assert.False(t, tool.ended, "the first was waited for")
	assert.Equal(t, "arcconf", driver.Name())
}

type runnerFunc func(context.Context, ...string) (*raid.Output, error)

func (f runnerFunc) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	return f(ctx, argv...)
}

func TestNoControllerOrNoToolIsNoControllers(t *testing.T) {
	none := &scripted{answers: map[string]string{"LIST": "Controllers found: 0\n" + done}}
	controllers, err := arcconf.New(none, "arcconf").Probe(t.Context())
	require.NoError(t, err)
	assert.Empty(t, controllers)

	missing := &scripted{err: exec.ErrNotFound}
	controllers, err = arcconf.New(missing, "arcconf").Probe(t.Context())
	require.NoError(t, err)
	assert.Empty(t, controllers)
	_, err = arcconf.New(missing, "arcconf", "0000:af:00.0").Probe(t.Context())
	assert.ErrorIs(t, err, exec.ErrNotFound, "a controller is there")
}

func TestToolsWithoutAListAreAskedAnyway(t *testing.T) {
	old := &scripted{answers: map[string]string{
		"LIST":        "UCLI: Unknown command\n",
		"GETCONFIG 1": "Controllers found: 2\n" + string(read(t, filepath.Join("testdata", "series8.txt"))),
		"GETCONFIG 2": string(read(t, filepath.Join("testdata", "smartraid.txt"))),
	}}
	old.answers["GETCONFIG 1"] = strings.Replace(old.answers["GETCONFIG 1"], "Controllers found: 1\n", "", 1)
	controllers, err := arcconf.New(old, "arcconf", "0000:01:00.0", "0000:af:00.0").Probe(t.Context())
	require.NoError(t, err)
	require.Len(t, controllers, 2)
	assert.Equal(t, raid.ControllerID("controller 1"), controllers[0].ID, "which of the two it is, is not known")
	assert.Equal(t, raid.ControllerID("0000:af:00.0"), controllers[1].ID)
	assert.Equal(t, "2", controllers[1].ToolID)
	_, err = arcconf.New(old, "arcconf").Inventory(t.Context(), "0000:05:00.0")
	assert.ErrorContains(t, err, "the tool sees controller 1, 0000:af:00.0")
}

func TestACommandThatHangsIsEnded(t *testing.T) {
	hang := runnerFunc(func(ctx context.Context, _ ...string) (*raid.Output, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	driver := arcconf.New(hang, "arcconf", "0000:5c:00.0")
	driver.Patience = time.Millisecond
	_, err := driver.Probe(t.Context())
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}
