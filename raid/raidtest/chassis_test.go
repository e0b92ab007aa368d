package raidtest

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// rack is a chassis with one controller that has four SSDs and four HDDs.
func rack(t *testing.T) *Chassis {
	ctl := MegaRAID("0000:18:00.0", "SV1")
	ctl.AddDrives(4, hw.SSD, hw.BusATA, 480e9)
	ctl.AddDrives(4, hw.HDD, hw.BusSAS, 4e12)
	c, err := Create(filepath.Join(t.TempDir(), "chassis.json"), &State{Controllers: []*Controller{ctl}})
	require.NoError(t, err)
	return c
}

// change is a command that must be done.
func change(t *testing.T, c *Chassis, do func(*Controller) error) {
	t.Helper()
	answer, err := c.Change(t.Context(), "test", func(s *State) error { return do(s.Controllers[0]) })
	require.NoError(t, err)
	require.Nil(t, answer.Refused)
	require.Zero(t, answer.Exit)
}

func controller(t *testing.T, c *Chassis) *Controller {
	t.Helper()
	s, err := c.State()
	require.NoError(t, err)
	return s.Controllers[0]
}

func TestAVolumeLivesThroughALostDriveAndItsSpareTakesItsPlace(t *testing.T) {
	c := rack(t)
	change(t, c, func(ctl *Controller) error {
		_, err := ctl.CreateVolume(NewVolume{Name: "os", Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D002"}})
		return err
	})
	change(t, c, func(ctl *Controller) error { return ctl.AddSpare("SV1-D003", 0) })
	inv := controller(t, c).Inventory()
	require.Len(t, inv.Volumes, 1)
	require.EqualValues(t, int64(480e9)>>20<<20, inv.Volumes[0].Bytes)
	require.Equal(t, []raid.DiskID{"252:2"}, inv.Volumes[0].Spares)

	require.NoError(t, c.Edit(func(s *State) error { return s.Controllers[0].FailDrive("SV1-D001") }))
	inv = controller(t, c).Inventory()
	require.Equal(t, raid.VolumeRebuilding, inv.Volumes[0].State.Is)
	require.Equal(t, raid.DiskFailed, inv.Disks[0].State.Is)
	require.Equal(t, []raid.DiskID{"252:2", "252:1"}, inv.Volumes[0].Members)
	require.NotNil(t, inv.Disks[2].Progress)
	require.NoError(t, c.Edit(func(s *State) error { s.Controllers[0].Advance(1); return nil }))
	require.Equal(t, raid.VolumeOptimal, controller(t, c).Inventory().Volumes[0].State.Is)
}

func TestACommandThatIsRefusedChangesNothing(t *testing.T) {
	c := rack(t)
	answer, err := c.Change(t.Context(), "create", func(s *State) error {
		ctl := s.Controllers[0]
		if err := ctl.SetJBOD("SV1-D001"); err != nil {
			return err
		}
		_, err := ctl.CreateVolume(NewVolume{Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D002"}})
		return err
	})
	require.NoError(t, err)
	require.Equal(t, RefusedState, answer.Refused.Code)
	require.Equal(t, 1, answer.Exit)
	s, err := c.State()
	require.NoError(t, err)
	require.Equal(t, raid.DiskReady, s.Controllers[0].Drives[0].State)
	require.Len(t, s.Journal, 1)
	require.Empty(t, s.Journal[0].Drives)
	require.Contains(t, s.Journal[0].Refused, "252:0 is jbod")
}

func TestFirmwareRefuses(t *testing.T) {
	four := []string{"SV1-D005", "SV1-D006", "SV1-D007", "SV1-D008"}
	for want, do := range map[RefusalCode]func(*Controller) error{
		RefusedCount: func(c *Controller) error {
			_, err := c.CreateVolume(NewVolume{Level: raid.Level5, Drives: four[:2]})
			return err
		},
		RefusedMixed: func(c *Controller) error {
			_, err := c.CreateVolume(NewVolume{Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D005"}})
			return err
		},
		RefusedRoom: func(c *Controller) error {
			_, err := c.CreateVolume(NewVolume{Level: raid.Level1, Drives: four[:2], Bytes: 5e12})
			return err
		},
		RefusedStrip: func(c *Controller) error {
			_, err := c.CreateVolume(NewVolume{Level: raid.Level0, Drives: four[:2], Strip: 4096})
			return err
		},
		RefusedCache: func(c *Controller) error {
			c.PreservedCache = []string{"1"}
			_, err := c.CreateVolume(NewVolume{Level: raid.Level0, Drives: four[:2]})
			return err
		},
		RefusedIncomplete: func(c *Controller) error {
			c.Drives[0].Foreign = &ForeignVolume{ID: "f", Members: []string{"SV1-D001", "gone"}}
			_, err := c.CreateVolume(NewVolume{Level: raid.Level0, Drives: four[:2]})
			return err
		},
		RefusedNoVolume: func(c *Controller) error { return c.DeleteVolume(7) },
		RefusedState:    func(c *Controller) error { return c.SetReady("SV1-D001") },
		RefusedNoDrive:  func(c *Controller) error { return c.SetJBOD("X") },
	} {
		t.Run(string(want), func(t *testing.T) {
			var no *Refusal
			require.ErrorAs(t, do(controller(t, rack(t))), &no)
			require.Equal(t, want, no.Code)
		})
	}
}

func TestCommandsFailInEachWay(t *testing.T) {
	deleted := func(c *Chassis) (Answer, error) {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		defer cancel()
		return c.Change(ctx, "delete-volume", func(s *State) error { return s.Controllers[0].DeleteVolume(0) })
	}
	for _, c := range []struct {
		kind    FaultKind
		done    bool
		refused bool
		exit    int
		err     error
	}{
		{"", true, false, 0, nil}, {Slow, true, false, 0, nil}, {Refuse, false, true, 1, nil},
		{FailExit0, false, true, 0, nil}, {DoneExit1, true, false, 1, nil}, {Lie, false, false, 0, nil},
		{HangBefore, false, false, 0, context.DeadlineExceeded}, {HangAfter, true, false, 0, context.DeadlineExceeded},
		{CutBefore, false, false, 0, ErrPowerOff}, {CutAfter, true, false, 0, ErrPowerOff},
	} {
		t.Run(string(c.kind), func(t *testing.T) {
			chassis := rack(t)
			change(t, chassis, func(ctl *Controller) error {
				_, err := ctl.CreateVolume(NewVolume{Level: raid.Level0, Drives: []string{"SV1-D001"}})
				return err
			})
			if c.kind != "" {
				require.NoError(t, chassis.Edit(func(s *State) error {
					s.Faults = []Fault{{Kind: c.kind, Op: "delete-volume", Delay: 1}}
					return nil
				}))
			}
			answer, err := deleted(chassis)
			require.ErrorIs(t, err, c.err)
			require.Equal(t, c.refused, answer.Refused != nil)
			require.Equal(t, c.exit, answer.Exit)
			require.Equal(t, c.done, len(controller(t, chassis).Volumes) == 0)
			_, _, err = chassis.Read(t.Context(), "show")
			require.Equal(t, c.err == ErrPowerOff, err != nil)
			require.NoError(t, chassis.PowerOn())
			if !c.done {
				_, err = deleted(chassis)
				require.NoError(t, err)
				require.Empty(t, controller(t, chassis).Volumes)
			}
		})
	}
}

func TestDrivesThatComeFromAnotherMachineAreForeign(t *testing.T) {
	c := rack(t)
	change(t, c, func(ctl *Controller) error {
		v, err := ctl.CreateVolume(NewVolume{Name: "old", Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D002"}})
		if err == nil {
			v.Data = "precious"
		}
		return err
	})
	require.NoError(t, c.Edit(func(s *State) error { return s.Controllers[0].GoForeign(0) }))
	inv := controller(t, c).Inventory()
	require.Empty(t, inv.Volumes)
	require.Equal(t, []raid.Foreign{{ID: "foreign-0", Level: raid.LevelState{Is: "1", Raw: "1"},
		Bytes: inv.Foreign[0].Bytes,
		Disks: []raid.DiskID{"252:0", "252:1"}}}, inv.Foreign)
	change(t, c, (*Controller).ImportForeign)
	require.Equal(t, "precious", controller(t, c).Volumes[0].Data)
	require.NoError(t, c.Edit(func(s *State) error {
		err := s.Controllers[0].GoForeign(0)
		s.Controllers[0].Drives[0].Pulled = true
		return err
	}))
	require.True(t, controller(t, c).Inventory().Foreign[0].Incomplete)
	change(t, c, (*Controller).ClearForeign)
	require.Empty(t, controller(t, c).Inventory().Foreign)
}

func TestAModeIsInForceAfterTheNextStart(t *testing.T) {
	c := rack(t)
	change(t, c, func(ctl *Controller) error { return ctl.SetMode(raid.ModeHBA) })
	require.Equal(t, raid.ModeRAID, controller(t, c).Mode)
	require.Equal(t, raid.ModeHBA, controller(t, c).PendingMode)
	require.NoError(t, c.PowerOn())
	require.Equal(t, raid.ModeHBA, controller(t, c).Mode)
	require.Equal(t, raid.DiskJBOD, controller(t, c).Drives[0].State)
}

func TestAChassisIsOneInAllProcesses(t *testing.T) {
	c := rack(t)
	done := make(chan error)
	for range 4 {
		other, err := Open(c.Path())
		require.NoError(t, err)
		go func() {
			for range 5 {
				if _, err := other.Change(context.Background(), "x", func(s *State) error {
					s.Controllers[0].Firmware += "x"
					return nil
				}); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		require.NoError(t, <-done)
	}
	s, err := c.State()
	require.NoError(t, err)
	require.Equal(t, 20, s.Commands)
	require.Len(t, s.Controllers[0].Firmware, len("4.680.00-8519")+20)
}

func TestADriveThatComesBackIsOfflineOrForeign(t *testing.T) {
	ctl := controller(t, rack(t))
	ctl.CountDown = true
	v, err := ctl.CreateVolume(NewVolume{Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D002"}, Bytes: 1 << 30})
	require.NoError(t, err)
	require.Equal(t, 239, v.Number)
	_, err = ctl.CreateVolume(NewVolume{Level: raid.Level0, Drives: []string{"SV1-D001", "SV1-D002"}})
	require.NoError(t, err)
	require.Len(t, ctl.Groups(), 1)
	require.NoError(t, ctl.DeleteVolume(238))
	require.NoError(t, ctl.Pull("SV1-D001"))
	require.Equal(t, raid.VolumeDegraded, ctl.State(v))
	require.Equal(t, 1, ctl.Inventory().Volumes[0].Missing)
	require.NoError(t, ctl.Insert("SV1-D001"))
	require.Equal(t, raid.DiskOffline, ctl.Drive("SV1-D001").State)
	require.Equal(t, raid.VolumeDegraded, ctl.State(v))

	require.NoError(t, ctl.Pull("SV1-D002"))
	require.NoError(t, ctl.DeleteVolume(239))
	require.NoError(t, ctl.Insert("SV1-D002"))
	require.True(t, ctl.Inventory().Disks[1].Foreign)
	require.True(t, ctl.Inventory().Foreign[0].Incomplete)
	require.Error(t, ctl.Insert("SV1-D002"))
}

func TestAVolumeThatIsLostLeavesItsCacheBehind(t *testing.T) {
	ctl := controller(t, rack(t))
	v, err := ctl.CreateVolume(NewVolume{Level: raid.Level5, Drives: []string{"SV1-D005", "SV1-D006", "SV1-D007"}})
	require.NoError(t, err)
	v.Data = "something"
	require.NoError(t, ctl.Initialize(v.Number, raid.InitializeFull))
	require.Empty(t, v.Data)
	require.Equal(t, raid.VolumeInitializing, ctl.State(v))
	require.Error(t, ctl.Initialize(v.Number, raid.InitializeFull), "it is at it")
	ctl.Advance(1)
	require.Equal(t, raid.VolumeOptimal, ctl.State(v))
	require.NoError(t, ctl.LoseVolume(v.Number))
	require.Len(t, ctl.Inventory().Disks, 5)
	require.NoError(t, ctl.DiscardCache())
	require.Error(t, ctl.DiscardCache())
}

func TestADriveGroupBecomesForeignAndIsImportedAsAWhole(t *testing.T) {
	ctl := MegaRAID("0000:18:00.0", "SV1")
	ctl.AddDrives(2, hw.SSD, hw.BusATA, 480e9)
	ctl.state = &State{Controllers: []*Controller{ctl}}
	for _, n := range []NewVolume{{Name: "os", Level: raid.Level1, Bytes: 100e9}, {Name: "log", Level: raid.Level0}} {
		n.Drives = []string{"SV1-D001", "SV1-D002"}
		_, err := ctl.CreateVolume(n)
		require.NoError(t, err)
	}
	require.NoError(t, ctl.GoForeign(ctl.Volumes[0].Number))
	require.Empty(t, ctl.Volumes)
	require.True(t, ctl.Drives[0].Foreign != nil && ctl.Drives[1].Foreign != nil)
	require.NoError(t, ctl.ImportForeign())
	require.Len(t, ctl.Volumes, 2)
	require.Equal(t, []string{"os", "log"}, []string{ctl.Volumes[0].Name, ctl.Volumes[1].Name})
	require.Nil(t, ctl.Drives[0].Foreign)
}
