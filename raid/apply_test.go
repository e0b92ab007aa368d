package raid_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// machine is a simulated one with a layout to be had, and the plan for it.
type machine struct {
	chassis *raidtest.Chassis
	driver  raid.Driver
	plan    *raid.Plan
	guard   raid.Guard
}

func newMachine(t *testing.T, edit func(*raidtest.State)) *machine {
	t.Helper()
	state := raidtest.DefaultState()
	if edit != nil {
		edit(state)
	}
	c, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), state)
	require.NoError(t, err)
	m := &machine{chassis: c, driver: &raidtest.Driver{Chassis: c, Patience: 50 * time.Millisecond}}
	inv, err := m.driver.Inventory(t.Context(), state.Controllers[0].ID)
	require.NoError(t, err)
	m.plan, err = raid.NewPlan([]*raid.Inventory{inv}, raidtest.DefaultLayout())
	require.NoError(t, err)
	m.guard = raid.Guard{Machine: "SN1", InUse: func(context.Context) ([]raid.Use, error) { return nil, nil },
		Approval: &raid.Approval{Machine: "SN1", Plan: m.plan.Digest(), Allow: m.plan.Needs()}}
	return m
}

func (m *machine) state(t *testing.T) *raidtest.State {
	t.Helper()
	s, err := m.chassis.State()
	require.NoError(t, err)
	return s
}

func TestApplyTellsEachStepAndWhatItFound(t *testing.T) {
	m := newMachine(t, nil)
	var kinds []raid.EventKind
	var texts []string
	require.NoError(t, raid.Apply(t.Context(), m.driver, m.plan, m.guard, func(e raid.Event) {
		kinds = append(kinds, e.Kind)
		require.Equal(t, len(m.plan.Steps), e.Of)
		if e.Kind == raid.StepStarted {
			require.NotEmpty(t, e.Commands)
		} else {
			texts = append(texts, e.Text)
		}
	}))
	require.Len(t, kinds, 2*len(m.plan.Steps))
	require.Contains(t, texts[0], "is gone")
	require.Contains(t, texts[1], "volume os (")
	require.Contains(t, texts[1], "100 GB, optimal")
	require.Contains(t, texts[4], "drive 252:9 is spare for volumes")
	require.Equal(t, "somebody's", m.state(t).Controllers[0].Drives[11].Data)
}

func TestTheGuardLetsNothingThroughThatIsNotNamed(t *testing.T) {
	use := func(u ...raid.Use) func(context.Context) ([]raid.Use, error) {
		return func(context.Context) ([]raid.Use, error) { return u, nil }
	}
	for _, c := range []struct {
		name string
		edit func(*machine)
		want string
	}{
		{"no approval", func(m *machine) { m.guard.Approval = nil },
			"it needs permission destroy, and nobody has approved the plan"},
		{"another machine", func(m *machine) { m.guard.Approval.Machine = "SN2" },
			`the approval is for machine "SN2", and this is "SN1"`},
		{"a machine without serial number", func(m *machine) { m.guard.Machine, m.guard.Approval.Machine = "", "" },
			`this is ""`},
		{"another plan", func(m *machine) { m.plan.Steps[1].Create.Level = raid.Level0 }, "the approval is for another plan"},
		{"a permission that is not named", func(m *machine) { m.guard.Approval.Allow = []raid.Permission{raid.AllowForeign} },
			"it needs permission destroy, which the approval does not name; it would destroy volume old"},
		{"nobody knows what is mounted", func(m *machine) { m.guard.InUse = nil }, "what it has mounted is not known"},
		{"what is mounted cannot be read", func(m *machine) {
			m.guard.InUse = func(context.Context) ([]raid.Use, error) { return nil, errors.New("no proc") }
		}, "cannot be read: no proc"},
		{"a mounted volume", func(m *machine) {
			m.guard.InUse = use(raid.Use{Path: "/dev/sdx", Why: "mounted on /", WWN: "naa." + m.plan.Steps[0].Volume.WWN})
		}, "/dev/sdx is in use: mounted on /"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMachine(t, nil)
			c.edit(m)
			err := raid.Apply(t.Context(), m.driver, m.plan, m.guard, nil)
			var refused *raid.RefusedError
			require.ErrorAs(t, err, &refused)
			require.ErrorContains(t, err, c.want)
			require.Empty(t, m.state(t).Journal)
		})
	}
	m := newMachine(t, nil)
	m.guard.InUse = use(raid.Use{Path: "/dev/nvme0n1", Serial: "other", Why: "mounted on /"})
	require.NoError(t, raid.Apply(t.Context(), m.driver, m.plan, m.guard, nil), "another disk is in use")
	m = newMachine(t, nil)
	m.guard.InUse = nil
	m.guard.Approval.Allow = append(m.guard.Approval.Allow, raid.AllowMounted)
	require.NoError(t, raid.Apply(t.Context(), m.driver, m.plan, m.guard, nil), "it was named")
}

func TestAPlanForWhatHasChangedIsRefusedWithWhatChanged(t *testing.T) {
	m := newMachine(t, nil)
	require.NoError(t, m.chassis.Edit(func(s *raidtest.State) error { return s.Controllers[0].FailDrive("SV1-D009") }))
	err := raid.Apply(t.Context(), m.driver, m.plan, m.guard, nil)
	var changed *raid.ChangedError
	require.ErrorAs(t, err, &changed)
	require.ErrorContains(t, err, `it had drive 252:8, serial "SV1-D009"`)
	require.ErrorContains(t, err, "4000000000000 bytes, failed")
	require.Empty(t, m.state(t).Journal)
}

// meddler does something beside each step.
type meddler struct {
	raid.Driver
	beside func(s raid.Step) error
}

func (m *meddler) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	return errors.Join(m.Driver.Exec(ctx, inv, s, report), m.beside(s))
}

func TestAStepThatDoesMoreThanItShouldEndsThePlan(t *testing.T) {
	m := newMachine(t, nil)
	d := &meddler{m.driver, func(s raid.Step) error {
		if s.Create == nil || s.Create.Name != "data" {
			return nil
		}
		return m.chassis.Edit(func(s *raidtest.State) error { return s.Controllers[0].DeleteVolume(0) })
	}}
	err := raid.Apply(t.Context(), d, m.plan, m.guard, nil)
	var step *raid.StepError
	require.ErrorAs(t, err, &step)
	require.Equal(t, 3, step.Index)
	require.ErrorContains(t, err, "volume data (")
	require.ErrorContains(t, err, "and volume os (")
	require.ErrorContains(t, err, "is not there any more")
}

func TestADriveThatIsExchangedInTheMiddleIsNotTouched(t *testing.T) {
	m := newMachine(t, nil)
	d := &meddler{m.driver, func(s raid.Step) error {
		if s.Kind != raid.StepDeleteVolume {
			return nil
		}
		return m.chassis.Edit(func(s *raidtest.State) error {
			s.Controllers[0].Drives[0].Serial, s.Controllers[0].Drives[0].WWN = "NEW", "5000000000000001"
			return nil
		})
	}}
	err := raid.Apply(t.Context(), d, m.plan, m.guard, nil)
	require.ErrorContains(t, err, "drive 252:0 (serial SV1-D001) is not there any more; now nothing of it was begun")
	require.Len(t, m.state(t).Journal, 1)
}

func TestACallerWhoGivesUpLeavesNoStepHalfDone(t *testing.T) {
	m := newMachine(t, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	done := 0
	err := raid.Apply(ctx, m.driver, m.plan, m.guard, func(e raid.Event) {
		if e.Kind == raid.StepStarted {
			cancel(errors.New("the operator gave up"))
		}
		if e.Kind == raid.StepDone {
			done++
		}
	})
	require.ErrorContains(t, err, "stopped before step 2 of 6: the operator gave up")
	require.Equal(t, 1, done, "the step that was running is finished and read back")
	require.Len(t, m.state(t).Journal, 1)
}

func TestAToolThatCannotBeReadAfterwardsEndsThePlan(t *testing.T) {
	m := newMachine(t, nil)
	d := &meddler{m.driver, func(raid.Step) error {
		return m.chassis.Edit(func(s *raidtest.State) error {
			s.Faults = []raidtest.Fault{{Kind: raidtest.HangBefore, Op: raidtest.AnyRead}}
			return nil
		})
	}}
	err := raid.Apply(t.Context(), d, m.plan, m.guard, nil)
	require.ErrorContains(t, err, "nobody knows whether it was done")
	require.Len(t, m.state(t).Journal, 1)
}

func TestDriversAreJoined(t *testing.T) {
	a := newMachine(t, nil)
	b := newMachine(t, nil)
	other := raidtest.MegaRAID("0000:3b:00.0", "SV2")
	other.AddDrives(2, hw.SSD, hw.BusATA, 480e9)
	require.NoError(t, b.chassis.Edit(func(s *raidtest.State) error {
		s.Controllers = append(s.Controllers, other) // and 0000:18:00.0 is known to both
		return nil
	}))
	j := raid.Join(a.driver, b.driver)
	require.Equal(t, "chassis, chassis", j.Name())
	inv, err := j.Inventory(t.Context(), "0000:3b:00.0")
	require.NoError(t, err)
	require.Len(t, inv.Disks, 2)
	found, err := j.Probe(t.Context())
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.NoError(t, raid.Apply(t.Context(), j, a.plan, a.guard, nil))
	require.NotEmpty(t, a.state(t).Journal)
	require.Empty(t, b.state(t).Journal)
	_, err = j.Inventory(t.Context(), "0000:00:00.0")
	require.ErrorContains(t, err, "no driver has found controller")
}

// tree is a file system of text files.
func tree(files map[string]string) fstest.MapFS {
	fs := fstest.MapFS{}
	for name, text := range files {
		fs[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return fs
}

func TestDisksInUseAreFoundThroughEverythingThatLiesOnThem(t *testing.T) {
	files := map[string]string{
		"proc/self/mountinfo": "22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/mapper/vg-root rw\n" +
			"23 22 0:21 / /proc rw - proc proc rw\n" +
			"24 22 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n" +
			"25 22 0:44 / /data rw - btrfs /dev/sdc rw\n" +
			"26 22 0:50 / /run/user/0 rw - fuse.portal /dev/fuse rw\n",
		"proc/swaps":                            "Filename Type Size Used Priority\n/dev/nvme0n1p2 partition 1 0 -2\n/swapfile file 1 0 -3\n",
		"sys/block/sda/dev":                     "8:0\n",
		"sys/block/sda/device/wwid":             "naa.5000c50012345678\n",
		"sys/block/sda/sda1/dev":                "8:1\n",
		"sys/block/sda/sda1/partition":          "1\n",
		"sys/block/sda/sda2/dev":                "8:2\n",
		"sys/block/sda/sda2/partition":          "2\n",
		"sys/block/sdb/dev":                     "8:16\n",
		"sys/block/sdc/dev":                     "8:32\n",
		"sys/block/sdd/dev":                     "8:48\n",
		"sys/block/dm-0/dev":                    "253:0\n",
		"sys/block/dm-0/dm/name":                "vg-root\n",
		"sys/block/dm-0/slaves/md0/x":           "",
		"sys/block/md0/dev":                     "9:0\n",
		"sys/block/md0/slaves/sda2/x":           "",
		"sys/block/md0/slaves/sdb/x":            "",
		"sys/block/nvme0n1/dev":                 "259:0\n",
		"sys/block/nvme0n1/wwid":                "eui.0025\n",
		"sys/block/nvme0n1/device/serial":       "N1  \n",
		"sys/block/nvme0n1/nvme0n1p2/dev":       "259:2\n",
		"sys/block/nvme0n1/nvme0n1p2/partition": "2\n",
	}
	uses, err := raid.ReadInUse(tree(files))
	require.NoError(t, err)
	require.Equal(t, []raid.Use{
		{Path: "/dev/dm-0", Why: "mounted on /"},
		{Path: "/dev/md0", Why: "mounted on /"},
		{Path: "/dev/sda", Why: "mounted on /", WWN: "naa.5000c50012345678"},
		{Path: "/dev/sdb", Why: "mounted on /"},
		{Path: "/dev/sda", Why: "mounted on /boot/efi", WWN: "naa.5000c50012345678"},
		{Path: "/dev/sdc", Why: "mounted on /data"},
		{Path: "/dev/nvme0n1", Why: "swap", Serial: "N1", WWN: "eui.0025"},
	}, uses)

	files["proc/self/mountinfo"] += "27 22 0:60 / /x rw - btrfs /dev/sdz rw\n"
	_, err = raid.ReadInUse(tree(files))
	require.ErrorContains(t, err, "/dev/sdz, on /x, is none of the block devices")
	files["proc/self/mountinfo"] = "nonsense\n"
	_, err = raid.ReadInUse(tree(files))
	require.ErrorContains(t, err, "is no mount")
	delete(files, "proc/self/mountinfo")
	_, err = raid.ReadInUse(tree(files))
	require.ErrorContains(t, err, "what is mounted")
}
