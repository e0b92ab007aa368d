package ssacli_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/ssacli"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// scripted answers `show` with one text and anything else with another, and keeps what it was asked.
type scripted struct {
	show, answer string
	exit         int
	err          error
	ran          []string
	ended        bool // the context had ended when a command was run
}

func (s *scripted) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	s.ran = append(s.ran, strings.Join(argv, " "))
	s.ended = s.ended || ctx.Err() != nil
	if s.err != nil {
		return nil, s.err
	}
	if argv[len(argv)-1] == "detail" {
		return &raid.Output{Stdout: []byte(s.show), ExitCode: s.exit}, nil
	}
	return &raid.Output{Stdout: []byte(s.answer), ExitCode: s.exit}, nil
}

const gen10 = raid.ControllerID("0000:5c:00.0")

func gen10Driver(t *testing.T) (*ssacli.Driver, *scripted, *raid.Inventory) {
	tool := &scripted{show: string(read(t, filepath.Join("testdata", "gen10.txt")))}
	driver := ssacli.New(tool, "ssacli")
	inv, err := driver.Inventory(t.Context(), gen10)
	require.NoError(t, err)
	tool.ran = nil
	return driver, tool, inv
}

func disk(inv *raid.Inventory, location string) raid.DiskRef {
	for _, d := range inv.Disks {
		if d.Location == location {
			return raid.DiskRef{ID: d.ID, Location: d.Location, DiskIdentity: d.Identity()}
		}
	}
	panic("no drive " + location)
}

func volume(inv *raid.Inventory, id raid.VolumeID) *raid.VolumeRef {
	for _, v := range inv.Volumes {
		if v.ID == id {
			return &raid.VolumeRef{ID: id, WWN: v.WWN}
		}
	}
	panic("no volume " + id)
}

func TestStepsBecomeCommands(t *testing.T) {
	driver, tool, inv := gen10Driver(t)
	inv.Disks = append(inv.Disks, raid.PhysicalDisk{ID: "1I:1:11", Location: "1I:1:11", Serial: "HDDTEST0011",
		State: raid.DiskState{Is: raid.DiskReady, Raw: "OK"}})
	free := []raid.DiskRef{disk(inv, "1I:1:7"), disk(inv, "1I:1:11")}
	second := []raid.DiskRef{disk(inv, "1I:1:3"), disk(inv, "1I:1:4"), disk(inv, "1I:1:5"), disk(inv, "1I:1:10")}
	for _, c := range []struct {
		step raid.Step
		want string
	}{
		{raid.Step{Kind: raid.StepDeleteVolume, Volume: volume(inv, "2")}, "ld 2 delete forced"},
		{raid.Step{Kind: raid.StepBoot, Volume: volume(inv, "3")}, "ld 3 modify bootvolume=primary"},
		{raid.Step{Kind: raid.StepBoot, Volume: &raid.VolumeRef{Name: "os"}}, "ld <os> modify bootvolume=primary"},
		{raid.Step{Kind: raid.StepPolicies, Volume: volume(inv, "3"), Policies: raid.Policies{Write: raid.WriteBack}},
			"ld 3 modify caching=enable forced"},
		{raid.Step{Kind: raid.StepAddSpare, Disks: free, SpareFor: []raid.VolumeRef{*volume(inv, "1"),
			*volume(inv, "2"), *volume(inv, "3")}},
			"array A add spares=1I:1:7,1I:1:11 forced\nssacli ctrl slot=0 array B add spares=1I:1:7,1I:1:11 forced"},
		{raid.Step{Kind: raid.StepRemoveSpare, Disks: []raid.DiskRef{disk(inv, "1I:1:6")},
			SpareFor: []raid.VolumeRef{*volume(inv, "2")}}, "array B remove spares=1I:1:6 forced"},
		{raid.Step{Kind: raid.StepReady, Disks: []raid.DiskRef{disk(inv, "1I:1:8"), disk(inv, "1I:1:7")}},
			"pd 1I:1:8 modify enableerasedrive"},
		{raid.Step{Kind: raid.StepCreateVolume, Disks: free, Create: &raid.NewVolume{Level: raid.Level1}},
			"create type=ld drives=1I:1:7,1I:1:11 raid=1 size=max forced"},
		{raid.Step{Kind: raid.StepCreateVolume, Disks: free, Create: &raid.NewVolume{Level: raid.Level0,
			Bytes: 100<<30 + 5, Strip: 64 << 10, Policies: raid.Policies{Write: raid.WriteThrough}}},
			"create type=ld drives=1I:1:7,1I:1:11 raid=0 size=102400 stripsize=64 aa=disable forced"},
		{raid.Step{Kind: raid.StepCreateVolume, Disks: second, Create: &raid.NewVolume{Level: raid.Level10, Spans: 2}},
			"array B create type=ld raid=1+0 size=max forced"},
	} {
		c.step.Controller = gen10
		commands, err := driver.Commands(inv, c.step)
		require.NoError(t, err, "%v", c.step)
		var lines []string
		for _, argv := range commands {
			lines = append(lines, strings.Join(argv, " "))
		}
		assert.Equal(t, "ssacli ctrl slot=0 "+c.want, strings.Join(lines, "\n"))
	}
	assert.Empty(t, tool.ran, "a dry run runs nothing")
}

func TestStepsThatTheControllerCannotDoAreRefused(t *testing.T) {
	driver, tool, inv := gen10Driver(t)
	one := []raid.DiskRef{disk(inv, "1I:1:7")}
	stranger := raid.DiskRef{ID: "1I:1:7", Location: "1I:1:7", DiskIdentity: raid.DiskIdentity{Serial: "OTHER"}}
	create := func(disks []raid.DiskRef, level raid.Level, init raid.Initialization) raid.Step {
		return raid.Step{Kind: raid.StepCreateVolume, Disks: disks,
			Create: &raid.NewVolume{Level: level, Initialize: init}}
	}
	remove := func(ref raid.VolumeRef) raid.Step { return raid.Step{Kind: raid.StepDeleteVolume, Volume: &ref} }
	for name, step := range map[string]raid.Step{
		"its mode is mixed for good": {Kind: raid.StepMode, Mode: raid.ModeHBA},
		"no global spares":           {Kind: raid.StepAddSpare, Disks: one},
		"no foreign configurations":  {Kind: raid.StepClearForeign},
		"no such policy": {Kind: raid.StepPolicies, Volume: volume(inv, "1"),
			Policies: raid.Policies{IO: raid.IODirect}},
		"another drive in that bay":       create([]raid.DiskRef{stranger}, raid.Level0, ""),
		"too few":                         create(one, raid.Level5, ""),
		"a spare":                         create([]raid.DiskRef{disk(inv, "1I:1:6")}, raid.Level0, ""),
		"part of an array":                create([]raid.DiskRef{disk(inv, "1I:1:3")}, raid.Level0, ""),
		"initialization is not its to do": create(one, raid.Level0, raid.InitializeFull),
		"nobody knows the drive's state":  {Kind: raid.StepReady, Disks: []raid.DiskRef{disk(inv, "1I:1:9")}},
		"a volume that is gone":           remove(raid.VolumeRef{ID: "1", WWN: "naa.600508b1001cffffffffffffffffffff"}),
		"a number proves nothing":         remove(raid.VolumeRef{ID: "1"}),
		"a volume that is not made yet":   remove(raid.VolumeRef{Name: "os"}),
	} {
		step.Controller = gen10
		assert.Error(t, driver.Exec(t.Context(), inv, step, nil), name)
	}
	assert.Error(t, driver.Exec(t.Context(), inv, raid.Step{Kind: raid.StepDeleteVolume, Controller: "0000:00:00.0",
		Volume: volume(inv, "1")}, nil), "another controller")
	assert.Empty(t, tool.ran)
}

func TestTheToolsWordsDecideAndNotItsExitStatus(t *testing.T) {
	driver, tool, inv := gen10Driver(t)
	step := raid.Step{Kind: raid.StepDeleteVolume, Controller: gen10, Volume: volume(inv, "1")}
	require.NoError(t, driver.Exec(t.Context(), inv, step, nil))
	assert.Equal(t, []string{"ssacli ctrl slot=0 ld 1 delete forced"}, tool.ran)

	tool.answer = "\nError: This operation is not supported with the current configuration.\n"
	var refused *ssacli.ToolError
	require.ErrorAs(t, driver.Exec(t.Context(), inv, step, nil), &refused, "although it exits with 0")
	assert.Equal(t, "This operation is not supported with the current configuration.", refused.Message)

	tool.answer, tool.exit = "", 1
	assert.ErrorContains(t, driver.Exec(t.Context(), inv, step, nil), "exit status 1")

	// Complete answers count, whatever the exit status.
	_, err := driver.Inventory(t.Context(), gen10)
	assert.NoError(t, err)
}

func TestAWriteIsNotStoppedAndNotBegunAfterTheEnd(t *testing.T) {
	driver, tool, inv := gen10Driver(t)
	ctx, cancel := context.WithCancel(t.Context())
	step := raid.Step{Kind: raid.StepAddSpare, Controller: gen10, Disks: []raid.DiskRef{disk(inv, "1I:1:7")},
		SpareFor: []raid.VolumeRef{*volume(inv, "1"), *volume(inv, "2")}}
	runner := runnerFunc(func(runCtx context.Context, argv ...string) (*raid.Output, error) {
		cancel()
		return tool.Run(runCtx, argv...)
	})
	err := ssacli.New(runner, "ssacli").Exec(ctx, inv, step, nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.ErrorContains(t, err, "array B add spares=1I:1:7 forced was not begun")
	assert.Equal(t, []string{"ssacli ctrl slot=0 array A add spares=1I:1:7 forced"}, tool.ran)
	assert.False(t, tool.ended, "the first was waited for")
	assert.Equal(t, "ssacli", driver.Name())
}

type runnerFunc func(context.Context, ...string) (*raid.Output, error)

func (f runnerFunc) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	return f(ctx, argv...)
}

func TestNoControllerOrNoToolIsNoControllers(t *testing.T) {
	none := &scripted{show: "\nError: No controllers detected. Possible causes:\n", exit: 1}
	controllers, err := ssacli.New(none, "ssacli").Probe(t.Context())
	require.NoError(t, err)
	assert.Empty(t, controllers)

	missing := &scripted{err: exec.ErrNotFound}
	controllers, err = ssacli.New(missing, "ssacli").Probe(t.Context())
	require.NoError(t, err)
	assert.Empty(t, controllers)
	_, err = ssacli.New(missing, "ssacli", "0000:5c:00.0").Probe(t.Context())
	assert.ErrorIs(t, err, exec.ErrNotFound, "a controller is there")
}

func TestAddressThatAnOldToolDoesNotTellIsTheOnlyOneOfTheMachine(t *testing.T) {
	old := &scripted{show: "\nSmart Array P420i in Slot 0 (Embedded)\n   Serial Number: TESTSN1\n" +
		"   HBA Mode Enabled: False\n"}
	controllers, err := ssacli.New(old, "hpssacli", "0000:02:00.0").Probe(t.Context())
	require.NoError(t, err)
	require.Len(t, controllers, 1)
	assert.Equal(t, raid.ControllerID("0000:02:00.0"), controllers[0].ID)
	assert.Equal(t, raid.ModeRAID, controllers[0].Mode)

	driver := ssacli.New(old, "hpssacli", "0000:02:00.0")
	inv, err := driver.Inventory(t.Context(), "0000:02:00.0")
	require.NoError(t, err)
	require.NoError(t, driver.Exec(t.Context(), inv, raid.Step{Kind: raid.StepMode, Controller: inv.Controller.ID,
		Mode: raid.ModeHBA}, nil))
	assert.Equal(t, "hpssacli ctrl slot=0 modify hbamode=on forced", old.ran[len(old.ran)-1])
	_, err = driver.Inventory(t.Context(), "0000:05:00.0")
	assert.ErrorContains(t, err, "the tool sees 0000:02:00.0")
}

func TestACommandThatHangsIsEnded(t *testing.T) {
	hang := runnerFunc(func(ctx context.Context, _ ...string) (*raid.Output, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	driver := ssacli.New(hang, "ssacli", "0000:5c:00.0")
	driver.Patience = time.Millisecond
	_, err := driver.Probe(t.Context())
	assert.ErrorIs(t, err, context.DeadlineExceeded)
}
