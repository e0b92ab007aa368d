package loda_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/memory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/trust"
)

const (
	serial    = inventory.Serial("SN-0001")
	otherMAC  = "52:54:00:00:00:02"
	mac       = "52:54:00:00:00:01"
	diskBytes = 4 << 30
)

// bench is an installer over the in-process inventory with a clock that the test moves.
type bench struct {
	*loda.Installer
	t     *testing.T
	store inventory.Store
	now   time.Time
	img   image.Image
	// profiles other than the fixed ones, and what goes with them.
	profiles loda.Profiles
	vault    vault
	// downloads that agents are given; nil: there are none.
	downloads loda.Downloads
}

// Get implements loda.Images.
func (b *bench) Get(name string) (image.Image, error) {
	if name != b.img.Name {
		return image.Image{}, image.ErrNotFound
	}
	return b.img, nil
}

func newBench(t *testing.T) *bench {
	b := &bench{t: t, store: memory.New(), now: time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC),
		img: image.Image{Name: "debian-12", File: "debian-12.img.zst", Format: "zst", Bytes: 100 << 20, RawBytes: 1 << 30, SHA256: strings.Repeat("ab", 32)}}
	b.open(b.store)
	return b
}

// open puts an installer over a store.
func (b *bench) open(store inventory.Store) {
	t := b.t
	fixed, err := loda.NewStaticProfiles(map[string]loda.Profile{
		"debian": {Image: "debian-12"},
		"kexec":  {Image: "debian-12", Boot: "kexec"},
		"broken": {Image: "nowhere"},
	})
	require.NoError(t, err)
	var profiles loda.Profiles = fixed
	if b.profiles != nil {
		profiles = b.profiles
	}
	authority, err := trust.Open(t.TempDir())
	require.NoError(t, err)
	b.Installer, err = loda.NewInstaller(loda.Config{Store: store, Profiles: profiles, Images: b, Artifacts: b.vault,
		Downloads: b.downloads, Secrets: b.vault, CA: authority.PEM(),
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Now: func() time.Time { return b.now }})
	require.NoError(t, err)
}

func (b *bench) load(csv string, install bool) {
	b.t.Helper()
	_, err := b.Import(b.t.Context(), strings.NewReader(csv), loda.ImportOptions{Install: install, By: "test"})
	require.NoError(b.t, err)
}

func (b *bench) boot(serial string, macs ...string) loda.Decision {
	b.t.Helper()
	d, err := b.Boot(b.t.Context(), loda.Sighting{Serial: serial, MACs: macs, Remote: netip.MustParseAddr("10.77.0.30"), Firmware: "BIOS",
		Base: loda.Base{API: "https://10.77.0.1:8443", Boot: "http://10.77.0.1:8080"}})
	require.NoError(b.t, err)
	return d
}

func (b *bench) session(token string) *agentapi.Session {
	b.t.Helper()
	s, err := b.OpenSession(b.t.Context(), agentapi.SessionRequest{Token: token, Serial: string(serial), MACs: []string{mac}}, "10.77.0.30")
	require.NoError(b.t, err)
	return s
}

func (b *bench) next(s *agentapi.Session) *agentapi.Action {
	b.t.Helper()
	a, err := b.NextAction(b.t.Context(), loda.Ask{Installation: s.Installation, Secret: s.Secret,
		Base: loda.Base{API: "https://10.77.0.1:8443", Boot: "http://10.77.0.1:8080"}})
	require.NoError(b.t, err)
	return a
}

func (b *bench) finish(s *agentapi.Session, a *agentapi.Action, r agentapi.Result) {
	b.t.Helper()
	require.NoError(b.t, b.FinishAction(b.t.Context(), s.Installation, a.ID, r))
}

func (b *bench) state() (inventory.State, string) {
	b.t.Helper()
	page, err := b.store.Installations(b.t.Context(), inventory.InstallationFilter{Serial: serial, Newest: true, Limit: 1})
	require.NoError(b.t, err)
	require.Len(b.t, page, 1)
	return page[0].State, page[0].Reason
}

func (b *bench) requireState(want inventory.State) string {
	b.t.Helper()
	got, reason := b.state()
	require.Equal(b.t, want, got, reason)
	return reason
}

func (b *bench) alarms(f inventory.EventFilter) []string {
	b.t.Helper()
	f.Kinds, f.Limit = []inventory.Kind{inventory.KindAlarm}, 100
	events, err := b.store.Events(b.t.Context(), f)
	require.NoError(b.t, err)
	var texts []string
	for _, e := range events {
		texts = append(texts, e.Message)
	}
	return texts
}

func disk(name, serial, path string, bytes int64) hw.Disk {
	no := false
	return hw.Disk{Name: name, Kind: hw.PhysicalDisk, Serial: serial, Path: path, Bytes: bytes, Medium: hw.MediumUnknown, Removable: &no, ReadOnly: &no}
}

func facts(t *testing.T, serial string, disks ...hw.Disk) json.RawMessage {
	t.Helper()
	if disks == nil {
		disks = []hw.Disk{disk("vda", "D0", "pci-0000:00:04.0", diskBytes)}
	}
	f := hw.Facts{Version: 1, System: hw.System{Serial: serial, Vendor: "Loda", Product: "Lab"}, Disks: disks}
	doc, err := json.Marshal(f)
	require.NoError(t, err)
	return doc
}

const oneMachine = "serial,profile\nSN-0001,debian\n"

// install drives a machine up to the running install-image action.
func (b *bench) install() (*agentapi.Session, *agentapi.Action) {
	b.t.Helper()
	s := b.session(b.boot("sn-0001", mac).Token)
	detect := b.next(s)
	require.Equal(b.t, agentapi.ActionDetect, detect.Kind)
	b.finish(s, detect, agentapi.Result{OK: true, Data: facts(b.t, "SN-0001")})
	a := b.next(s)
	require.Equal(b.t, agentapi.ActionInstallImage, a.Kind)
	return s, a
}

func firstBootOf(t *testing.T, a *agentapi.Action) agentapi.FirstBoot {
	t.Helper()
	var fb agentapi.FirstBoot
	require.NoError(t, json.Unmarshal([]byte(a.InstallImage.Seed["loda.json"]), &fb))
	return fb
}

func TestMachineGoesFromImportToInstalled(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	b.requireState(inventory.Queued)

	d := b.boot("sn-0001", mac)
	require.True(t, d.BootOS)
	b.requireState(inventory.Netbooting)
	s := b.session(d.Token)
	detect := b.next(s)
	b.requireState(inventory.Detecting)
	require.Equal(t, detect, b.next(s), "the same action is given again until it has a result")
	b.finish(s, detect, agentapi.Result{OK: true, Data: facts(t, "SN-0001")})
	b.requireState(inventory.Comparing)

	write := b.next(s)
	b.requireState(inventory.Installing)
	require.Equal(t, "http://10.77.0.1:8080/artifacts/images/debian-12.img.zst", write.InstallImage.URL)
	require.Equal(t, agentapi.DiskIdentity{Serial: "D0", Path: "pci-0000:00:04.0", Bytes: diskBytes}, write.InstallImage.Disk)
	require.Equal(t, b.img.SHA256, write.InstallImage.SHA256)
	b.finish(s, write, agentapi.Result{OK: true})
	b.requireState(inventory.Finishing)
	b.finish(s, write, agentapi.Result{OK: true}) // arrives twice
	boot := b.next(s)
	require.Equal(t, "reboot", boot.Boot.Method)
	b.finish(s, boot, agentapi.Result{OK: true})

	require.False(t, b.boot("SN-0001", mac).BootOS, "a machine whose system is on disk boots its disk")
	fb := firstBootOf(t, write)
	require.Equal(t, []string{"https://10.77.0.1:8443/agent/v1/installed"}, fb.URLs)
	report := agentapi.Installed{Secret: fb.Secret, Address: "10.77.0.30"}
	require.NoError(t, b.FirstBoot(t.Context(), report, "10.77.0.30"))
	b.requireState(inventory.Installed)
	require.NoError(t, b.FirstBoot(t.Context(), report, "10.77.0.30"), "a repeated report is fine")
	require.False(t, b.boot("SN-0001", mac).BootOS, "an installed machine that netboots again boots its disk")

	m, err := b.store.Machine(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, []inventory.MAC{mac}, m.MACs, "MACs are learnt")
	require.NotEmpty(t, m.Facts)
}

func TestUnknownMachineIsDiscoveredAndLeftAlone(t *testing.T) {
	b := newBench(t)
	d := b.boot("STRANGER-1", mac)
	require.False(t, d.BootOS)
	m, err := b.store.Machine(t.Context(), "STRANGER-1")
	require.NoError(t, err)
	require.Equal(t, inventory.Discovered, m.Source)
	_, err = b.Install(t.Context(), "STRANGER-1", loda.InstallOptions{Profile: "debian"})
	require.ErrorIs(t, err, loda.ErrRefused, "only imported machines can be installed")

	b.load("serial,profile\nstranger-1,debian\n", true)
	require.True(t, b.boot("STRANGER-1", mac).BootOS, "once imported it is installed")
}

func TestJunkSerialNumberIsRefusedWithAnAlarm(t *testing.T) {
	b := newBench(t)
	d := b.boot("To be filled by O.E.M.", mac)
	require.False(t, d.BootOS)
	require.Contains(t, d.Message, "placeholder")
	require.Contains(t, strings.Join(b.alarms(inventory.EventFilter{MACs: []inventory.MAC{mac}}), "\n"), "placeholder")
}

func TestSecondMachineWithTheSameMACIsQuarantined(t *testing.T) {
	b := newBench(t)
	b.load("serial,profile,mac\nSN-0002,debian,"+mac+"\nSN-0001,debian,\n", true)
	d := b.boot("SN-0001", mac)
	require.False(t, d.BootOS)
	require.Contains(t, d.Message, "SN-0002")
	require.Contains(t, b.requireState(inventory.Quarantined), mac)
	require.True(t, b.boot("SN-0002", mac).BootOS, "the owner of the MAC is not affected")
}

func TestBootTokenIsGoodOnceForItsMachineAndATime(t *testing.T) {
	open := func(b *bench, token, serial string) error {
		_, err := b.OpenSession(b.t.Context(), agentapi.SessionRequest{Token: token, Serial: serial}, "10.77.0.99")
		return err
	}
	t.Run("a replayed token", func(t *testing.T) {
		b := newBench(t)
		b.load(oneMachine, true)
		token := b.boot("SN-0001", mac).Token
		s := b.session(token)
		require.ErrorIs(t, open(b, token, "SN-0001"), loda.ErrRefused)
		require.Contains(t, b.alarms(inventory.EventFilter{Serial: serial})[0], "used before")
		b.next(s) // the session that it opened goes on
	})
	t.Run("a request that is repeated because its answer was lost", func(t *testing.T) {
		b := newBench(t)
		b.load(oneMachine, true)
		req := agentapi.SessionRequest{Token: b.boot("SN-0001", mac).Token, Nonce: "only the agent knows", Serial: "SN-0001"}
		lost, err := b.OpenSession(t.Context(), req, "10.77.0.30")
		require.NoError(t, err)
		s, err := b.OpenSession(t.Context(), req, "10.77.0.30")
		require.NoError(t, err)
		b.next(s)
		_, err = b.CheckSession(t.Context(), lost.Secret)
		require.ErrorIs(t, err, loda.ErrRefused)
		req.Nonce = "a guess"
		_, err = b.OpenSession(t.Context(), req, "10.77.0.99")
		require.ErrorContains(t, err, "used before")
	})
	t.Run("a token of another machine", func(t *testing.T) {
		b := newBench(t)
		b.load(oneMachine, true)
		token := b.boot("SN-0001", mac).Token
		require.ErrorIs(t, open(b, token, "SN-0002"), loda.ErrRefused)
		require.Contains(t, b.alarms(inventory.EventFilter{Serial: serial})[0], "made for machine SN-0001")
		require.NoError(t, open(b, token, "SN-0001"), "the machine itself can still use it")
	})
	t.Run("an expired token", func(t *testing.T) {
		b := newBench(t)
		b.load(oneMachine, true)
		token := b.boot("SN-0001", mac).Token
		b.now = b.now.Add(time.Hour)
		require.ErrorContains(t, open(b, token, "SN-0001"), "expired")
	})
	t.Run("a made-up token", func(t *testing.T) {
		b := newBench(t)
		b.load(oneMachine, true)
		id, _, _ := strings.Cut(b.boot("SN-0001", mac).Token, ".")
		for _, token := range []string{"", "x", "nobody.secret", id + ".secret", id + "."} {
			require.ErrorIs(t, open(b, token, "SN-0001"), loda.ErrRefused, token)
		}
	})
	t.Run("a session that a newer boot replaced", func(t *testing.T) {
		b := newBench(t)
		b.load(oneMachine, true)
		old := b.session(b.boot("SN-0001", mac).Token)
		b.session(b.boot("SN-0001", mac).Token)
		_, err := b.CheckSession(t.Context(), old.Secret)
		require.ErrorIs(t, err, loda.ErrRefused)
	})
}

func TestPowerCutWhileInstallingStartsOverFromThePinnedPlan(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	_, before := b.install()
	b.img.SHA256 = strings.Repeat("cd", 32) // the site has another image now

	s, after := b.install()
	require.Equal(t, before.InstallImage.SHA256, after.InstallImage.SHA256, "the plan is pinned")
	require.NotEqual(t, before.ID, after.ID)
	b.finish(s, before, agentapi.Result{OK: true}) // a late result of the boot that is gone
	b.requireState(inventory.Installing)
	b.finish(s, after, agentapi.Result{OK: true})
	b.requireState(inventory.Finishing)

	err := b.FirstBoot(t.Context(), agentapi.Installed{Secret: firstBootOf(t, before).Secret}, "10.77.0.30")
	require.ErrorIs(t, err, loda.ErrRefused, "the secret of the seed that was not finished is void")
	require.NoError(t, b.FirstBoot(t.Context(), agentapi.Installed{Secret: firstBootOf(t, after).Secret}, "10.77.0.30"))
	b.requireState(inventory.Installed)
}

func TestPowerCutAfterTheLastSectorIsNoFailure(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	_, a := b.install() // the result never arrives, and the firmware boots the disk next
	require.ErrorIs(t, b.FirstBoot(t.Context(), agentapi.Installed{Secret: a.InstallImage.Installation + ".guess"}, "10.77.0.30"), loda.ErrRefused)
	b.requireState(inventory.Installing)
	require.NoError(t, b.FirstBoot(t.Context(), agentapi.Installed{Secret: firstBootOf(t, a).Secret}, "10.77.0.30"))
	b.requireState(inventory.Installed)
}

func TestFailureWaitsInBootOSUntilRetried(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s, a := b.install()
	b.finish(s, a, agentapi.Result{Error: "image has SHA-256 x, expected y"})
	require.Contains(t, b.requireState(inventory.Failed), "expected y")
	wait := b.next(s)
	require.Equal(t, agentapi.ActionWait, wait.Kind)
	require.Contains(t, wait.Wait.Reason, "expected y")
	require.True(t, b.boot("SN-0001", mac).BootOS, "a failed machine netboots into bootOS, where it waits, and not from a half-written disk")
	s = b.session(b.boot("SN-0001", mac).Token)
	b.requireState(inventory.Failed)

	inst, err := b.Retry(t.Context(), serial, "test")
	require.NoError(t, err)
	require.Equal(t, 2, inst.Attempt)
	require.Equal(t, agentapi.ActionDetect, b.next(s).Kind, "it goes on without another netboot")
}

func TestBrokenTransferIsTriedAgainByItselfAFewTimes(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s, a := b.install()
	for range 3 {
		b.finish(s, a, agentapi.Result{Error: "the transfer broke", Retryable: true})
		b.requireState(inventory.Queued)
		detect := b.next(s)
		b.finish(s, detect, agentapi.Result{OK: true, Data: facts(t, "SN-0001")})
		a = b.next(s)
		require.Equal(t, agentapi.ActionInstallImage, a.Kind)
	}
	b.finish(s, a, agentapi.Result{Error: "the transfer broke", Retryable: true})
	require.Contains(t, b.requireState(inventory.Failed), "the transfer broke")
	inst, err := b.Retry(t.Context(), serial, "test")
	require.NoError(t, err)
	require.Equal(t, 5, inst.Attempt)
}

func TestRetryWakesTheAgentsLongPoll(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s, a := b.install()
	b.finish(s, a, agentapi.Result{Error: "broken"})
	told := b.next(s).ID
	got := make(chan *agentapi.Action)
	go func() {
		next, _ := b.NextAction(context.WithoutCancel(t.Context()), loda.Ask{Installation: s.Installation, Secret: s.Secret, Told: told, Wait: 30 * time.Second})
		got <- next
	}()
	_, err := b.Retry(t.Context(), serial, "test")
	require.NoError(t, err)
	select {
	case next := <-got:
		require.NotNil(t, next)
		require.Equal(t, agentapi.ActionDetect, next.Kind)
	case <-time.After(10 * time.Second):
		t.Fatal("the long poll did not wake up")
	}
}

func TestDiskIsRefusedWhenItIsNotExactlyTheRightOne(t *testing.T) {
	for name, c := range map[string]struct {
		disks []hw.Disk
		want  string
	}{
		"no disk":         {[]hw.Disk{}, "root disk"},
		"too small":       {[]hw.Disk{disk("vda", "A", "p1", 1<<30)}, "larger disk"},
		"two candidates":  {[]hw.Disk{disk("vda", "A", "p1", diskBytes), disk("vdb", "B", "p2", diskBytes)}, "root disk"},
		"no identity":     {[]hw.Disk{disk("vda", "", "", diskBytes)}, ""},
		"read-only media": {[]hw.Disk{func() hw.Disk { d := disk("vda", "A", "p1", diskBytes); ro := true; d.ReadOnly = &ro; return d }()}, "root disk"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.load(oneMachine, true)
			s := b.session(b.boot("SN-0001", mac).Token)
			b.finish(s, b.next(s), agentapi.Result{OK: true, Data: facts(t, "SN-0001", c.disks...)})
			if c.want == "" { // a single disk is found again by its size alone
				b.requireState(inventory.Comparing)
				return
			}
			require.Contains(t, b.requireState(inventory.Failed), c.want)
		})
	}
}

func TestFactsOfAnotherMachineAreRefused(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s := b.session(b.boot("SN-0001", mac).Token)
	b.finish(s, b.next(s), agentapi.Result{OK: true, Data: facts(t, "SN-0002")})
	require.Contains(t, b.requireState(inventory.Failed), "SN-0002")
}

func TestSilentMachineStallsAndALateSuccessCounts(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s, a := b.install()
	b.finish(s, a, agentapi.Result{OK: true})
	b.now = b.now.Add(10 * time.Minute)
	require.NoError(t, b.Expire(t.Context()))
	b.requireState(inventory.Finishing)
	b.now = b.now.Add(25 * time.Minute)
	require.NoError(t, b.Expire(t.Context()))
	require.Contains(t, b.requireState(inventory.Failed), "last seen")
	require.NoError(t, b.FirstBoot(t.Context(), agentapi.Installed{Secret: firstBootOf(t, a).Secret}, "10.77.0.30"))
	b.requireState(inventory.Installed)
}

func TestAgentThatWasSilentForTooLongIsTakenBack(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s, a := b.install()
	b.now = b.now.Add(time.Hour)
	require.NoError(t, b.Expire(t.Context()))
	b.requireState(inventory.Failed)
	require.NoError(t, b.ReportProgress(t.Context(), s.Installation, a.ID, agentapi.Progress{Fraction: 0.5}))
	b.requireState(inventory.Installing)
	b.now = b.now.Add(time.Hour)
	require.NoError(t, b.Expire(t.Context()))
	b.finish(s, a, agentapi.Result{OK: true})
	b.requireState(inventory.Finishing)
}

func TestCancelEndsTheSession(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s, _ := b.install()
	_, err := b.Cancel(t.Context(), serial, "wrong rack", "test")
	require.NoError(t, err)
	_, err = b.CheckSession(t.Context(), s.Secret)
	require.ErrorIs(t, err, loda.ErrRefused)
	require.False(t, b.boot("SN-0001", mac).BootOS)
	_, err = b.Retry(t.Context(), serial, "test")
	require.ErrorIs(t, err, inventory.ErrNotFound)
	_, err = b.Install(t.Context(), serial, loda.InstallOptions{})
	require.NoError(t, err, "it can be installed anew")
}

func TestHeldMachineBootsItsDiskUntilReleased(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, false)
	_, err := b.Install(t.Context(), serial, loda.InstallOptions{Hold: true})
	require.NoError(t, err)
	require.False(t, b.boot("SN-0001", mac).BootOS)
	_, err = b.Release(t.Context(), serial, "", "test")
	require.NoError(t, err)
	require.True(t, b.boot("SN-0001", mac).BootOS)
}

func TestReleasingFromQuarantineNeedsAReason(t *testing.T) {
	b := newBench(t)
	b.load("serial,profile,mac\nSN-0002,debian,"+mac+"\nSN-0001,debian,\n", true)
	b.boot("SN-0001", mac)
	_, err := b.Release(t.Context(), serial, " ", "test")
	require.ErrorContains(t, err, "reason")
	_, err = b.Release(t.Context(), serial, "NIC was moved back", "test")
	require.NoError(t, err)
	require.True(t, b.boot("SN-0001", otherMAC).BootOS)
}

func TestSecondInstallationOfAMachineIsRefused(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	_, err := b.Install(t.Context(), serial, loda.InstallOptions{})
	var conflict *inventory.ConflictError
	require.ErrorAs(t, err, &conflict)
}

func TestProgressOfAStaleActionIsRefused(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s, a := b.install()
	require.NoError(t, b.ReportProgress(t.Context(), s.Installation, a.ID, agentapi.Progress{Fraction: 0.5, Text: "writing"}))
	require.ErrorIs(t, b.ReportProgress(t.Context(), s.Installation, "1-detect", agentapi.Progress{}), loda.ErrTransition)
}

func TestAnInstallationThatAnOlderVersionOpenedIsRetried(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s := b.session(b.boot("SN-0001", mac).Token)
	b.finish(s, b.next(s), agentapi.Result{Error: "no disk"})
	inst, err := b.store.OpenInstallation(t.Context(), serial)
	require.NoError(t, err)
	_, err = b.store.UpdateInstallation(t.Context(), inst.ID, func(i *inventory.Installation) ([]inventory.Event, error) {
		require.Contains(t, string(i.Plan), `"named":"debian",`)
		i.Plan = json.RawMessage(strings.Replace(string(i.Plan), `"named":"debian",`, "", 1))
		return nil, nil
	})
	require.NoError(t, err)
	_, err = b.Retry(t.Context(), serial, "ada")
	require.NoError(t, err)
	b.requireState(inventory.Queued)
}
