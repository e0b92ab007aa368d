package loda_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/bootos/storage"
	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// server of the tests in this file: a chassis whose controller an agent configures.
type rack struct {
	*bench
	shelf   *shelf
	chassis *raidtest.Chassis
	session *agentapi.Session
	// kinds of the actions that the machine was given, since the last boot.
	kinds []agentapi.ActionKind
	// said are the RAID results, since the last boot.
	said []*agentapi.ConfigureRAIDResult
}

func mirror() *raid.Layout {
	return &raid.Layout{Controllers: []raid.ControllerLayout{{Volumes: []raid.Volume{
		{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}, Boot: true},
		{Name: "data", Level: raid.Level0, Disks: raid.DiskChoice{Count: 2, Medium: hw.SSD}},
	}}}}
}

func newRack(t *testing.T, layout *raid.Layout, change ...func(*raidtest.Controller)) *rack {
	t.Helper()
	b, s := newShelfBench(t)
	ctl := raidtest.MegaRAID("0000:18:00.0", "SV1")
	ctl.AddDrives(4, hw.SSD, hw.BusATA, 480e9)
	state := &raidtest.State{Controllers: []*raidtest.Controller{ctl}}
	chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), state)
	require.NoError(t, err)
	for _, c := range change {
		require.NoError(t, chassis.Edit(func(s *raidtest.State) error {
			c(s.Controllers[0])
			s.Journal, s.Commands = nil, 0
			return nil
		}))
	}
	s.push("c1", map[string]loda.Profile{"Lab": {Image: "debian-12", RAID: layout}})
	b.load("serial\nSN-0001\n", true)
	return &rack{bench: b, shelf: s, chassis: chassis}
}

// Read implements storage.Controllers.
func (r *rack) Read(ctx context.Context) ([]*raid.Inventory, error) {
	d := r.Driver()
	found, err := d.Probe(ctx)
	if err != nil {
		return nil, err
	}
	var all []*raid.Inventory
	for _, c := range found {
		inv, err := d.Inventory(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		all = append(all, inv)
	}
	return all, nil
}

func (r *rack) Driver() raid.Driver {
	return &raidtest.Driver{Chassis: r.chassis, Patience: 200 * time.Millisecond}
}
func (r *rack) Unmanaged() []string { return nil }

func (r *rack) Unread() []raid.Controller { return nil }

// Progress and Log implement storage.Report.
func (r *rack) Progress(agentapi.Progress) {}
func (r *rack) Log(string)                 {}

var errPower = errors.New("the power went")

// facts are of the machine as its operating system sees it: one disk for each volume.
func (r *rack) facts() json.RawMessage {
	state, err := r.chassis.State()
	require.NoError(r.t, err)
	f := hw.Facts{Version: 1, System: hw.System{Serial: "SN-0001", Vendor: "Loda", Product: "Lab"}}
	no := false
	for i, v := range state.Controllers[0].Inventory().Volumes {
		f.Disks = append(f.Disks, hw.Disk{Name: fmt.Sprintf("sd%c", 'a'+i), Kind: hw.RAIDVolume, WWN: "naa." + v.WWN, Bytes: v.Bytes,
			Medium: hw.MediumUnknown, Removable: &no, ReadOnly: &no, Path: fmt.Sprintf("pci-0000:18:00.0-scsi-0:2:%d:0", i)})
	}
	doc, err := json.Marshal(f)
	require.NoError(r.t, err)
	return doc
}

// start boots the machine into bootOS.
func (r *rack) start() {
	r.t.Helper()
	require.NoError(r.t, r.chassis.PowerOn())
	r.kinds, r.said = nil, nil
	r.session = r.bench.session(r.boot("sn-0001", mac).Token)
}

// work does what the server wants until it wants something else than looking at the hardware and its controllers. An
// error is errPower.
func (r *rack) work() (*agentapi.Action, error) {
	r.t.Helper()
	for range 40 {
		a := r.next(r.session)
		if a == nil {
			return nil, nil
		}
		r.kinds = append(r.kinds, a.Kind)
		switch a.Kind {
		case agentapi.ActionDetect:
			r.finish(r.session, a, agentapi.Result{OK: true, Data: r.facts()})
		case agentapi.ActionConfigureRAID:
			said, err := storage.Round(r.t.Context(), r, *a.ConfigureRAID, "SN-0001",
				func(context.Context) ([]raid.Use, error) { return nil, nil }, r)
			if state, e := r.chassis.State(); e != nil || state.Off {
				return nil, errors.Join(errPower, e)
			}
			result := agentapi.Result{OK: err == nil}
			if err != nil {
				result.Error = err.Error()
			}
			if said != nil {
				r.said = append(r.said, said)
				result.Data, err = json.Marshal(said)
				require.NoError(r.t, err)
			}
			r.finish(r.session, a, result)
		default:
			return a, nil
		}
	}
	require.Fail(r.t, "the machine is given ever more to do")
	return nil, nil
}

func (r *rack) timeline() string {
	r.t.Helper()
	events, err := r.Timeline(r.t.Context(), serial, inventory.EventFilter{Limit: 1000})
	require.NoError(r.t, err)
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s\n", e.Kind, e.Message)
	}
	return b.String()
}

func (r *rack) volumes() []string {
	state, err := r.chassis.State()
	require.NoError(r.t, err)
	var all []string
	for _, v := range state.Controllers[0].Inventory().Volumes {
		all = append(all, fmt.Sprintf("%s level %s", v.Name, v.Level))
	}
	return all
}

func TestAMachineGetsItsVolumesAndIsInstalledOntoTheOneToBootFrom(t *testing.T) {
	r := newRack(t, mirror())
	r.start()
	a, err := r.work()
	require.NoError(t, err)
	require.Equal(t, []agentapi.ActionKind{agentapi.ActionDetect, agentapi.ActionConfigureRAID, agentapi.ActionConfigureRAID,
		agentapi.ActionDetect, agentapi.ActionInstallImage}, r.kinds)
	require.Equal(t, []string{"os level 1", "data level 0"}, r.volumes())
	state, err := r.chassis.State()
	require.NoError(t, err)
	require.Equal(t, "naa."+state.Controllers[0].Inventory().Volumes[0].WWN, a.InstallImage.Disk.WWN)
	for _, want := range []string{
		"RAID controller 0000:18:00.0 MegaRAID SAS 9361-8i, mode raid: 4 drives; no volume",
		"RAID step 1 of ", "create-volume os", "is approved: it destroys nothing", "the RAID layout is there",
		"volumes os level 1 480 GB optimal, data level 0 960 GB optimal", "disk chosen: sda",
	} {
		require.Contains(t, r.timeline(), want)
	}
	r.requireState(inventory.Installing)
}

func TestAMachineWhoseVolumesAreThereGetsNoNewOnes(t *testing.T) {
	r := newRack(t, mirror())
	r.start()
	_, err := r.work()
	require.NoError(t, err)
	before, err := r.chassis.State()
	require.NoError(t, err)
	r.start()
	a, err := r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionInstallImage, a.Kind)
	require.Len(t, r.said, 1)
	after, err := r.chassis.State()
	require.NoError(t, err)
	require.Equal(t, before.Commands, after.Commands)
}

// another puts a volume of somebody's onto the first two drives.
func another(c *raidtest.Controller) {
	if _, err := c.CreateVolume(raidtest.NewVolume{Name: "theirs", Level: raid.Level1, Drives: []string{"SV1-D001", "SV1-D002"}}); err != nil {
		panic(err)
	}
}

func removing() *raid.Layout {
	l := mirror()
	l.Controllers[0].Unlisted = raid.UnlistedRemove
	return l
}

func TestAPlanThatDestroysWaitsForAPersonUnlessTheProfileAllowsIt(t *testing.T) {
	r := newRack(t, removing(), another)
	r.start()
	a, err := r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionWait, a.Kind)
	reason := r.requireState(inventory.Quarantined)
	require.Contains(t, reason, "needs permission for destroy: delete-volume of volume theirs")
	require.Contains(t, reason, "raid.allow")
	require.Equal(t, []string{"theirs level 1"}, r.volumes())

	_, err = r.Release(t.Context(), serial, "", "test")
	require.ErrorContains(t, err, "needs a reason")
	_, err = r.Release(t.Context(), serial, "it is ours to destroy", "test")
	require.NoError(t, err)
	a, err = r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionInstallImage, a.Kind)
	require.Equal(t, []string{"os level 1", "data level 0"}, r.volumes())

	allowed := removing()
	allowed.Allow = []raid.Permission{raid.AllowDestroy}
	r = newRack(t, allowed, another)
	r.start()
	a, err = r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionInstallImage, a.Kind)
	require.Contains(t, r.timeline(), "is approved, with permission for destroy")
}

func TestAReleaseIsForThePlanThatWasSeenAndNoOther(t *testing.T) {
	r := newRack(t, removing(), another)
	r.start()
	_, err := r.work()
	require.NoError(t, err)
	_, err = r.Release(t.Context(), serial, "it is ours to destroy", "test")
	require.NoError(t, err)
	require.NoError(t, r.chassis.Edit(func(s *raidtest.State) error {
		_, err := s.Controllers[0].CreateVolume(raidtest.NewVolume{Name: "payroll", Level: raid.Level1, Drives: []string{"SV1-D003", "SV1-D004"}})
		return err
	}))
	_, err = r.work()
	require.NoError(t, err)
	require.Contains(t, r.requireState(inventory.Quarantined), "payroll")
	require.Equal(t, []string{"theirs level 1", "payroll level 1"}, r.volumes())
}

func TestAReleaseHoldsOverAPowerCut(t *testing.T) {
	r := newRack(t, removing(), another, func(c *raidtest.Controller) {
		_, err := c.CreateVolume(raidtest.NewVolume{Name: "older", Level: raid.Level1, Drives: []string{"SV1-D003", "SV1-D004"}})
		require.NoError(t, err)
	})
	r.start()
	_, err := r.work()
	require.NoError(t, err)
	_, err = r.Release(t.Context(), serial, "both are ours", "test")
	require.NoError(t, err)
	require.NoError(t, r.chassis.Edit(func(s *raidtest.State) error {
		s.Faults = append(s.Faults, raidtest.Fault{Kind: raidtest.CutAfter, Command: 1})
		return nil
	}))
	_, err = r.work()
	require.ErrorIs(t, err, errPower)
	require.Len(t, r.volumes(), 1)
	r.start()
	a, err := r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionInstallImage, a.Kind)
}

func TestALayoutThatIsNotPossibleQuarantinesTheMachineWithEachDrivesReason(t *testing.T) {
	l := mirror()
	l.Controllers[0].Volumes[1].Disks = raid.DiskChoice{Count: 2, Medium: hw.HDD}
	r := newRack(t, l)
	r.start()
	_, err := r.work()
	require.NoError(t, err)
	require.Contains(t, r.requireState(inventory.Quarantined), "medium ssd")
	require.Empty(t, r.volumes())

	r.shelf.push("c2", map[string]loda.Profile{"Lab": {Image: "debian-12", RAID: mirror()}})
	r.start() // it is looked at again at its next boot
	a, err := r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionInstallImage, a.Kind)
}

func TestAPowerCutAtAnyStepOfTheLayoutEndsWithTheLayout(t *testing.T) {
	for _, kind := range []raidtest.FaultKind{raidtest.CutBefore, raidtest.CutAfter} {
		for command := 1; ; command++ {
			l := removing()
			l.Allow = []raid.Permission{raid.AllowDestroy}
			r := newRack(t, l, another)
			require.NoError(t, r.chassis.Edit(func(s *raidtest.State) error {
				s.Faults = append(s.Faults, raidtest.Fault{Kind: kind, Command: command})
				return nil
			}))
			r.start()
			a, err := r.work()
			cut := errors.Is(err, errPower)
			if cut {
				r.start()
				a, err = r.work()
			}
			require.NoError(t, err)
			require.Equal(t, agentapi.ActionInstallImage, a.Kind, "%s %d", kind, command)
			require.Equal(t, []string{"os level 1", "data level 0"}, r.volumes())
			if !cut {
				require.Greater(t, command, 3, "the layout takes some commands")
				break
			}
		}
	}
}

func TestAModeThatNeedsARebootIsGoneOnWithAfterIt(t *testing.T) {
	l := mirror()
	l.Controllers[0].Mode = raid.ModeRAID
	r := newRack(t, l, func(c *raidtest.Controller) { c.Mode = raid.ModeJBOD })
	r.start()
	a, err := r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionBoot, a.Kind)
	require.Equal(t, "reboot", a.Boot.Method)
	require.Contains(t, a.Title, "to go on with the RAID layout")
	r.finish(r.session, a, agentapi.Result{OK: true})
	a, err = r.ask()
	require.NoError(t, err)
	require.Nil(t, a, "it is leaving")
	inst, err := r.store.OpenInstallation(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, r.now.Add(loda.DefaultDeadlines().Netbooting), inst.Deadline, "its power-on self test takes its time")

	r.start()
	a, err = r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionInstallImage, a.Kind)
}

// ask asks without waiting; nil: there is nothing to do.
func (r *rack) ask() (*agentapi.Action, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), 50*time.Millisecond)
	defer cancel()
	a, err := r.NextAction(ctx, loda.Ask{Installation: r.session.Installation, Secret: r.session.Secret,
		Base: loda.Base{API: "https://10.77.0.1:8443", Boot: "http://10.77.0.1:8080"}})
	if errors.Is(err, context.DeadlineExceeded) {
		return nil, nil
	}
	return a, err
}

func TestAStepThatFailsIsLookedAtAgainAFewTimes(t *testing.T) {
	r := newRack(t, mirror())
	require.NoError(t, r.chassis.Edit(func(s *raidtest.State) error {
		s.Faults = append(s.Faults, raidtest.Fault{Kind: raidtest.FailExit0, Command: 1})
		return nil
	}))
	r.start()
	a, err := r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionInstallImage, a.Kind)
	require.Contains(t, r.timeline(), "the controllers are read again, try 2 of 3")

	r = newRack(t, mirror())
	require.NoError(t, r.chassis.Edit(func(s *raidtest.State) error {
		for range 20 {
			s.Faults = append(s.Faults, raidtest.Fault{Kind: raidtest.Refuse, Text: "the enclosure is on fire"})
		}
		return nil
	}))
	r.start()
	_, err = r.work()
	require.NoError(t, err)
	require.Contains(t, r.requireState(inventory.Failed), "the enclosure is on fire")
	require.NoError(t, r.chassis.Edit(func(s *raidtest.State) error { s.Faults = nil; return nil }))
	_, err = r.Retry(t.Context(), serial, "test")
	require.NoError(t, err)
	a, err = r.work()
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionInstallImage, a.Kind)
}

func TestABootVolumeThatCannotBeToldIsNotTakenForTheOnlyDisk(t *testing.T) {
	for why, volumes := range map[string][]raid.VirtualDisk{
		"cannot be told from what its tool says": {{ID: "1"}, {ID: "2"}},
		"0 disks of the machine are volume os":   {{ID: "1", Name: "os", WWN: "naa.1"}},
		"(WWN -, /dev/sdb)":                      {{ID: "1", Name: "os", Path: "/dev/sdb"}},
	} {
		r := newRack(t, mirror())
		r.start()
		somebodys := facts(t, "SN-0001", disk("sda", "S1", "pci-0000:00:17.0-ata-1", 4<<40))
		r.finish(r.session, r.next(r.session), agentapi.Result{OK: true, Data: somebodys})
		said, err := json.Marshal(agentapi.ConfigureRAIDResult{Plan: &raid.Plan{}, Inventories: []*raid.Inventory{{Volumes: volumes}}})
		require.NoError(t, err)
		r.finish(r.session, r.next(r.session), agentapi.Result{OK: true, Data: said})
		r.finish(r.session, r.next(r.session), agentapi.Result{OK: true, Data: somebodys})
		require.Contains(t, r.requireState(inventory.Failed), why)
	}
}

func TestAnAgentThatSaysNonsenseOfItsControllersFailsTheInstallation(t *testing.T) {
	for _, said := range []string{`{}`, `[]`, `"x"`, `{"inventories": [null], "plan": null}`} {
		r := newRack(t, mirror())
		r.start()
		r.finish(r.session, r.next(r.session), agentapi.Result{OK: true, Data: r.facts()})
		a := r.next(r.session)
		require.Equal(t, agentapi.ActionConfigureRAID, a.Kind)
		r.finish(r.session, a, agentapi.Result{OK: true, Data: json.RawMessage(said)})
		r.requireState(inventory.Failed)
	}
}

// shelfOfTools gives files by digest.
type shelfOfTools map[string]string

func (s shelfOfTools) Open(_ context.Context, d loda.Download) (*os.File, error) {
	path, ok := s[d.SHA256]
	if !ok {
		return nil, errors.New("HTTP status 404 Not Found")
	}
	return os.Open(path)
}

func TestAnAgentIsGivenTheFilesOfItsOwnProfileAndNoOthers(t *testing.T) {
	tool, library, driver, broken := strings.Repeat("a", 64), strings.Repeat("b", 64), strings.Repeat("c", 64), strings.Repeat("d", 64)
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, []byte("text"), 0o600))
	r := newRack(t, mirror())
	r.downloads = shelfOfTools{tool: file, library: file, driver: file, strings.Repeat("e", 64): file}
	r.open(r.store)
	r.shelf.push("c1", map[string]loda.Profile{"Lab": {Image: "debian-12", RAID: mirror(),
		Tools: map[raid.Tool]loda.Download{
			raid.Storcli: {URL: "https://h/storcli64", SHA256: tool, Files: map[string]loda.Download{"lib.so": {Artifact: "lib.so", SHA256: library}}},
			raid.Ssacli:  {URL: "https://h/ssacli", SHA256: broken}},
		RAIDDrivers: []loda.RAIDDriver{{Name: "acme", Download: loda.Download{Artifact: "raid-acme", SHA256: driver}, For: []string{"1000:005d"}}}}})
	r.start()
	r.finish(r.session, r.next(r.session), agentapi.Result{OK: true, Data: r.facts()})
	a := r.next(r.session).ConfigureRAID
	require.Equal(t, agentapi.Download{Name: "storcli64", SHA256: tool, Files: map[string]string{"lib.so": library}}, a.Tools[raid.Storcli])
	require.Equal(t, []agentapi.RAIDDriver{{Name: "acme", Program: agentapi.Download{Name: "raid-acme", SHA256: driver}, For: []string{"1000:005d"}}},
		a.Drivers)
	for _, digest := range []string{tool, library, driver} {
		f, err := r.OpenDownload(t.Context(), r.session.Installation, digest)
		require.NoError(t, err)
		require.NoError(t, f.Close())
	}
	require.Contains(t, r.timeline(), "the agent fetches storcli, 4 bytes, sha256 aaaaaaaaaaaa…")
	_, err := r.OpenDownload(t.Context(), r.session.Installation, strings.Repeat("e", 64))
	require.ErrorIs(t, err, loda.ErrNoDownload)
	_, err = r.OpenDownload(t.Context(), r.session.Installation, broken)
	require.ErrorContains(t, err, "ssacli from https://h/ssacli: HTTP status 404")
}
