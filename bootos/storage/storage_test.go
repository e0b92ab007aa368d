package storage_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/bootos/storage"
	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// machine is a chassis, and the report of what is done to it.
type machine struct {
	chassis  *raidtest.Chassis
	lines    []string
	progress []agentapi.Progress
	broken   error
	unread   []raid.Controller
}

func newMachine(t *testing.T) *machine {
	t.Helper()
	ctl := raidtest.MegaRAID("0000:18:00.0", "SV1")
	ctl.AddDrives(2, hw.SSD, hw.BusATA, 480e9)
	c, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), &raidtest.State{Controllers: []*raidtest.Controller{ctl}})
	require.NoError(t, err)
	return &machine{chassis: c}
}

func (m *machine) Read(ctx context.Context) ([]*raid.Inventory, error) {
	inv, err := m.Driver().Inventory(ctx, "0000:18:00.0")
	if err != nil {
		return nil, err
	}
	return []*raid.Inventory{inv}, m.broken
}
func (m *machine) Driver() raid.Driver {
	return &raidtest.Driver{Chassis: m.chassis, Patience: 200 * time.Millisecond}
}
func (m *machine) Unmanaged() []string          { return []string{"controller 0000:5e:00.0: it needs ssacli"} }
func (m *machine) Unread() []raid.Controller    { return m.unread }
func (m *machine) Progress(p agentapi.Progress) { m.progress = append(m.progress, p) }
func (m *machine) Log(text string)              { m.lines = append(m.lines, text) }

func (m *machine) round(ctx context.Context, a *raid.Approval, uses ...raid.Use) (*agentapi.ConfigureRAIDResult, error) {
	in := agentapi.ConfigureRAID{Approval: a, Layout: raid.Layout{Controllers: []raid.ControllerLayout{{Volumes: []raid.Volume{
		{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}}}, Unlisted: raid.UnlistedRemove}}}}
	return storage.Round(ctx, m, in, "SN-1", func(context.Context) ([]raid.Use, error) { return uses, nil }, m)
}

func (m *machine) commands(t *testing.T) int {
	t.Helper()
	s, err := m.chassis.State()
	require.NoError(t, err)
	return s.Commands
}

func TestALookChangesNothingAndTellsThePlanWithItsCommands(t *testing.T) {
	m := newMachine(t)
	r, err := m.round(t.Context(), nil)
	require.NoError(t, err)
	require.Len(t, r.Plan.Steps, 1)
	require.Len(t, r.Commands, 1)
	require.NotEmpty(t, r.Commands[0])
	require.Equal(t, []string{"controller 0000:5e:00.0: it needs ssacli"}, r.Unmanaged)
	require.Zero(t, m.commands(t))
	require.NotEmpty(t, m.progress, "the server hears that the machine lives")
}

func TestOnlyTheApprovedPlanIsDone(t *testing.T) {
	m := newMachine(t)
	r, err := m.round(t.Context(), &raid.Approval{Machine: "SN-1", Plan: strings.Repeat("0", 64)})
	require.NoError(t, err)
	require.Zero(t, r.Done)
	require.Zero(t, m.commands(t))
	require.Contains(t, m.lines[0], "nothing was done")

	r, err = m.round(t.Context(), &raid.Approval{Machine: "SN-1", Plan: r.Plan.Digest()})
	require.NoError(t, err)
	require.Equal(t, 1, r.Done)
	require.True(t, r.Plan.Empty())
	require.Equal(t, "os", r.Inventories[0].Volumes[0].Name)
	require.Contains(t, strings.Join(m.lines, "\n"), "RAID step 1 of 1, create-volume os with drives 252:0, 252:1: done")
	require.Contains(t, strings.Join(m.lines, "\n"), "RAID command: chassis 0000:18:00.0 create-volume")
}

func TestWhatIsInUseOrOnAnotherMachineIsRefused(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, m.chassis.Edit(func(s *raidtest.State) error {
		_, err := s.Controllers[0].CreateVolume(raidtest.NewVolume{Name: "root", Level: raid.Level0, Drives: []string{"SV1-D001"}})
		s.Commands = 0
		return err
	}))
	r, err := m.round(t.Context(), nil)
	require.NoError(t, err)
	a := &raid.Approval{Machine: "SN-1", Plan: r.Plan.Digest(), Allow: r.Plan.Needs()}
	var refused *raid.RefusedError
	_, err = m.round(t.Context(), a, raid.Use{Path: "/dev/sda", WWN: r.Inventories[0].Volumes[0].WWN, Why: "mounted on /"})
	require.ErrorAs(t, err, &refused)
	_, err = m.round(t.Context(), &raid.Approval{Machine: "SN-2", Plan: r.Plan.Digest(), Allow: r.Plan.Needs()})
	require.ErrorAs(t, err, &refused)
	require.Zero(t, m.commands(t))
}

func TestAStepThatFailsIsToldWithWhatIsThereNow(t *testing.T) {
	m := newMachine(t)
	require.NoError(t, m.chassis.Edit(func(s *raidtest.State) error {
		s.Faults = append(s.Faults, raidtest.Fault{Kind: raidtest.Lie})
		return nil
	}))
	r, err := m.round(t.Context(), nil)
	require.NoError(t, err)
	r, err = m.round(t.Context(), &raid.Approval{Machine: "SN-1", Plan: r.Plan.Digest()})
	require.NoError(t, err)
	require.Contains(t, r.Failed, "the tool reported success")
	require.Len(t, r.Plan.Steps, 1, "it is still to be done")
}

func TestAControllerThatCannotBeReadIsToldBesideTheOthers(t *testing.T) {
	m := newMachine(t)
	m.broken = errors.New("read controller 0000:af:00.0: the tool hangs")
	r, err := m.round(t.Context(), nil)
	require.NoError(t, err)
	require.Contains(t, r.Unmanaged, m.broken.Error())
	require.NotNil(t, r.Plan, "the layout does not want it")
}

func TestARoundThatNobodyWantsAnyMoreEnds(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	gone := errors.New("the server stopped it")
	cancel(gone)
	_, err := newMachine(t).round(ctx, nil)
	require.ErrorIs(t, err, gone)
}

func TestALayoutForTheOnlyControllerIsNotMadeOnTheOneThatCanBeRead(t *testing.T) {
	m := newMachine(t)
	m.unread = []raid.Controller{{ID: "0000:5e:00.0", Model: "Smart Array"}}
	r, err := m.round(t.Context(), nil)
	require.NoError(t, err)
	require.Nil(t, r.Plan)
	require.Contains(t, r.Impossible, "0000:5e:00.0 Smart Array cannot be read")
	require.Contains(t, r.Impossible, "it needs ssacli", "the reason stands beside it")
	m.unread = nil
	r, err = m.round(t.Context(), nil)
	require.NoError(t, err)
	require.NotNil(t, r.Plan)
}
