package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/loda/site"
	"github.com/project-loda/loda/scripts/need"
)

// These tests run the whole of Loda in virtual racks: real firmware, real network boots, a real kernel, real disks,
// and lodad as a process of its own that can be killed. What is installed is the tiny test system, which boots from its
// disk in seconds; `make demo`, which CI runs as well, installs a real Debian.

// beLodad makes this test binary behave as lodad.
const beLodad = "TEST_BINARY_IS_LODAD"

func TestMain(m *testing.M) {
	if os.Getenv(beLodad) != "" {
		onAnotherMachine()
		main()
		return
	}
	os.Exit(m.Run())
}

// prepared is what all racks share: images and a bootOS with its certificate authority. It is built once.
var prepared = sync.OnceValues(func() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Minute)
	defer cancel()
	cache := orEnv("LODA_CACHE", "/var/cache/loda")
	if err := prepareImage(ctx, cache, labTiny, func(string) {}); err != nil {
		return "", fmt.Errorf("tiny image: %w", err)
	}
	return cache, nil
})

// testRack is a rack with a lodad in it.
type testRack struct {
	*labSite
	t   *testing.T
	ctx context.Context
}

// newTestRack builds a rack and starts lodad. change may alter the configuration.
func newTestRack(t *testing.T, machines []lab.MachineSpec, change func(*config)) *testRack {
	t.Helper()
	return newTestRackFor(t, labTiny, 8*time.Minute, machines, change)
}

// newTestRackFor is a rack that has some time, and installs an image that the cache has.
func newTestRackFor(t *testing.T, image string, within time.Duration, machines []lab.MachineSpec, change func(*config)) *testRack {
	t.Helper()
	need.QEMU(t)
	cache, err := prepared()
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	name := strings.ToLower(regexp.MustCompile(`[^A-Za-z]`).ReplaceAllString(t.Name(), ""))
	rack, err := lab.Up(ctx, lab.Spec{Name: name[4:min(len(name), 20)], AllowDuplicates: true, Machines: machines},
		lab.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	r := &testRack{t: t, ctx: ctx}
	t.Cleanup(func() {
		if t.Failed() {
			r.explain()
		}
		if r.labSite != nil {
			r.stop()
		}
		late, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, rack.Down(late))
	})
	r.labSite, err = newLabSite(ctx, rack, labOptions{Cache: cache, Image: image}, change)
	require.NoError(t, err)
	r.environ = []string{beLodad + "=1"}
	require.NoError(t, r.start(ctx))
	return r
}

// explain shows what a failed test left behind.
func (r *testRack) explain() {
	if r.labSite == nil {
		return
	}
	r.t.Logf("lodad.log:\n%s", lastLines(filepath.Join(r.data, "lodad.log"), 40))
	for _, m := range r.rack.Machines() {
		r.t.Logf("console of %s:\n%s", m.Name(), lastLines(m.ConsolePath(), 40))
		if page, err := r.operator().Timeline(context.Background(), m.Spec().Serial, api.TimelineQuery{Limit: 60, Latest: true}); err == nil {
			for _, e := range page.Items {
				r.t.Logf("%s %s %-8s %s", m.Name(), e.Time.Format("15:04:05.000"), e.Kind, e.Message)
			}
		}
	}
}

func (r *testRack) operator() *api.Client {
	r.t.Helper()
	c, err := r.client()
	require.NoError(r.t, err)
	return c
}

// load imports machines by serial number and opens their installations.
func (r *testRack) load(serials ...string) {
	r.t.Helper()
	var csv bytes.Buffer
	fmt.Fprintln(&csv, "serial,profile")
	for _, s := range serials {
		fmt.Fprintf(&csv, "%s,%s\n", s, labProfile)
	}
	_, err := r.operator().Import(r.ctx, &csv, false, true)
	require.NoError(r.t, err)
}

func (r *testRack) powerOn(names ...string) {
	r.t.Helper()
	for _, name := range names {
		require.NoError(r.t, r.rack.Machine(name).PowerOn(r.ctx))
	}
}

// installation asks until there is an answer: lodad may be dead for a while.
func (r *testRack) installation(serial string) *api.Installation {
	m, err := r.operator().Machine(r.ctx, serial)
	if err != nil {
		return nil
	}
	return m.Installation
}

// await waits for one of the states, or for a later one.
func (r *testRack) await(serial string, states ...inventory.State) *api.Installation {
	r.t.Helper()
	for {
		if i := r.installation(serial); i != nil {
			if slices.Contains(states, i.State) {
				return i
			}
			if i.State == inventory.Failed || i.State == inventory.Quarantined || i.State == inventory.Installed {
				require.Failf(r.t, "unexpected end", "%s is %s: %s; expected %v", serial, i.State, i.Reason, states)
			}
		}
		select {
		case <-r.ctx.Done():
			require.Failf(r.t, "too late", "%s never became %v", serial, states)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// timeline returns every event of a machine, by serial number or MAC.
func (r *testRack) timeline(machine string) []inventory.Event {
	r.t.Helper()
	var all []inventory.Event
	for after := int64(0); ; {
		page, err := r.operator().Timeline(r.ctx, machine, api.TimelineQuery{After: after, Limit: 1000})
		require.NoError(r.t, err)
		if len(page.Items) == 0 {
			return all
		}
		all, after = append(all, page.Items...), page.Next
	}
}

// said reports whether a line of the timeline matches, and waits a little for it: transfers are written a moment later.
func (r *testRack) said(machine, expression string) {
	r.t.Helper()
	re := regexp.MustCompile(expression)
	require.Eventually(r.t, func() bool {
		return slices.ContainsFunc(r.timeline(machine), func(e inventory.Event) bool { return re.MatchString(e.Message) })
	}, 20*time.Second, 200*time.Millisecond, "the timeline of %s has no line like %s", machine, expression)
}

var acknowledged = regexp.MustCompile(`→ ACK (\d+\.\d+\.\d+\.\d+)`)

// requireOneAddress shows from the timeline that a machine had one address in all of the stages.
func (r *testRack) requireOneAddress(serial string, stages ...string) {
	r.t.Helper()
	addresses := map[string]bool{}
	for _, stage := range stages {
		asked := false
		for _, e := range r.timeline(serial) {
			if m := acknowledged.FindStringSubmatch(e.Message); m != nil && strings.HasPrefix(e.Message, stage+":") {
				asked, addresses[m[1]] = true, true
			}
		}
		require.True(r.t, asked, "%s asked for an address as %s", serial, stage)
	}
	require.Len(r.t, addresses, 1, "addresses of %s", serial)
}

// allStages are those of a machine whose NIC has iPXE in its ROM.
var allStages = []string{"iPXE", "bootOS", "OS"}

func bios(name string) lab.MachineSpec {
	return lab.MachineSpec{Name: name, Serial: "SN-" + strings.ToUpper(name)}
}

func uefi(name string, boot lab.Boot) lab.MachineSpec {
	return lab.MachineSpec{Name: name, Serial: "SN-" + strings.ToUpper(name), Firmware: lab.UEFI, Boot: boot}
}

func TestEveryFirmwareInstallsAndKeepsOneAddress(t *testing.T) {
	r := newTestRack(t, []lab.MachineSpec{bios("bios"), uefi("tftp", lab.BootPXE), uefi("http", lab.BootHTTP)}, nil)
	r.load("SN-BIOS", "SN-TFTP", "SN-HTTP")
	r.powerOn("bios", "tftp", "http")
	for _, serial := range []string{"SN-BIOS", "SN-TFTP", "SN-HTTP"} {
		i := r.await(serial, inventory.Installed)
		require.Equal(t, 1, i.Attempt)
		r.requireOneAddress(serial, allStages...)
	}
	r.requireOneAddress("SN-TFTP", "PXE ROM", "OS")
	r.requireOneAddress("SN-HTTP", "UEFI HTTP", "OS")
	r.said("SN-TFTP", `^tftp /?snponly\.efi: [1-9]`)
	r.said("SN-HTTP", `^http /boot/snponly\.efi: [1-9]`)

	// A machine that is installed and netboots again boots its disk.
	require.NoError(t, r.rack.Machine("bios").Cycle(r.ctx))
	r.said("SN-BIOS", `boots from its disk: no open installation`)
	_, err := r.rack.Machine("bios").Console().Wait(r.ctx, regexp.MustCompile(`has reported before`))
	require.NoError(t, err)
	require.Equal(t, inventory.Installed, r.installation("SN-BIOS").State)
}

func TestBIOSChainloadsUndionly(t *testing.T) {
	r := newTestRack(t, []lab.MachineSpec{bios("chain")}, func(c *config) { c.PXE.Chainload = true })
	r.load("SN-CHAIN")
	r.powerOn("chain")
	r.await("SN-CHAIN", inventory.Installed)
	r.said("SN-CHAIN", `^tftp /?undionly\.kpxe: [1-9]`)
	r.requireOneAddress("SN-CHAIN", allStages...)
}

func TestKexecGoesStraightIntoTheInstalledSystem(t *testing.T) {
	two := bios("kexecb")
	two.NICs = []lab.NIC{{}, {}}
	r := newTestRack(t, []lab.MachineSpec{two, uefi("kexecu", lab.BootPXE)}, func(c *config) {
		c.Profiles[labProfile] = loda.Profile{Image: labTiny, Boot: "kexec"}
	})
	r.load("SN-KEXECB", "SN-KEXECU")
	r.powerOn("kexecb", "kexecu")
	for _, serial := range []string{"SN-KEXECB", "SN-KEXECU"} {
		r.await(serial, inventory.Installed)
		scripts := 0
		for _, e := range r.timeline(serial) {
			if strings.HasPrefix(e.Message, "http /boot/script") {
				scripts++
			}
		}
		require.Equal(t, 1, scripts, "%s went through its firmware once", serial)
	}
	r.requireOneAddress("SN-KEXECB", "iPXE", "bootOS") // bootOS stays with the NIC that the machine booted by
}

func TestStrangersAndDoubtfulMachinesAreLeftAlone(t *testing.T) {
	const mac = "52:54:00:aa:bb:01"
	stranger := bios("stranger")
	junk := bios("junk")
	junk.Serial = "To be filled by O.E.M."
	junk.NICs = []lab.NIC{{MAC: "52:54:00:aa:bb:02"}}
	first, second := bios("first"), bios("second")
	first.NICs, second.NICs = []lab.NIC{{MAC: mac}}, []lab.NIC{{MAC: mac}}
	r := newTestRack(t, []lab.MachineSpec{stranger, junk, first, second}, nil)
	before := map[string]string{}
	for _, name := range []string{"stranger", "junk", "second"} {
		digest, err := r.rack.Machine(name).DiskDigest(r.ctx, 0)
		require.NoError(t, err)
		before[name] = digest
	}
	r.load("SN-FIRST", "SN-SECOND")

	r.powerOn("stranger", "junk")
	r.said("52:54:00:aa:bb:02", `refused at the network boot: .*placeholder`)
	require.Eventually(t, func() bool {
		m, err := r.operator().Machine(r.ctx, "SN-STRANGER")
		return err == nil && m.Source == inventory.Discovered
	}, 2*time.Minute, 200*time.Millisecond, "the stranger is visible as discovered")
	r.said("SN-STRANGER", `boots from its disk: not imported`)

	r.powerOn("first")
	r.await("SN-FIRST", inventory.Detecting, inventory.Comparing, inventory.Installing, inventory.Finishing)
	require.NoError(t, r.rack.Machine("first").Cut(r.ctx))
	r.powerOn("second")
	i := r.await("SN-SECOND", inventory.Quarantined)
	require.Contains(t, i.Reason, mac)
	require.Contains(t, i.Reason, "SN-FIRST")

	for name, want := range before {
		require.NoError(t, r.rack.Machine(name).Cut(r.ctx))
		got, err := r.rack.Machine(name).DiskDigest(r.ctx, 0)
		require.NoError(t, err)
		require.Equal(t, want, got, "the disk of %s, byte for byte", name)
	}
}

func TestPowerCutInTheMiddleOfTheImage(t *testing.T) {
	r := newTestRack(t, []lab.MachineSpec{bios("cut")}, nil)
	r.load("SN-CUT")
	r.powerOn("cut")
	r.await("SN-CUT", inventory.Installing)
	require.NoError(t, r.rack.Machine("cut").Cut(r.ctx))
	require.NotEqual(t, inventory.Finishing, r.installation("SN-CUT").State, "the power was cut too late to test anything")
	r.powerOn("cut")
	r.await("SN-CUT", inventory.Installed)
	r.requireOneAddress("SN-CUT", allStages...)
}

func TestLodadKilledAtEveryStage(t *testing.T) {
	r := newTestRack(t, []lab.MachineSpec{bios("kill")}, nil)
	r.load("SN-KILL")
	r.powerOn("kill")
	killAt := func(states ...inventory.State) {
		r.await("SN-KILL", states...)
		r.kill()
		time.Sleep(3 * time.Second)
		require.NoError(t, r.start(r.ctx))
	}
	killAt(inventory.Netbooting)
	killAt(inventory.Installing)
	killAt(inventory.Finishing)
	i := r.await("SN-KILL", inventory.Installed)
	require.Equal(t, 1, i.Attempt, "nobody had to retry")
	r.requireOneAddress("SN-KILL", allStages...)
}

func TestWrongDigestNeverBootsAndRetryWorks(t *testing.T) {
	r := newTestRack(t, []lab.MachineSpec{bios("digest")}, nil)
	images, err := image.Open(site.Layout(r.data).Images())
	require.NoError(t, err)
	img, err := images.Get(labTiny)
	require.NoError(t, err)
	right := img.SHA256
	setDigest := func(sum string) {
		path := filepath.Join(images.Path(), labTiny+".json")
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.Remove(path)) // it may share its content with the cache
		text = regexp.MustCompile(`[0-9a-f]{64}`).ReplaceAll(text, []byte(sum))
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
	wrong := strings.Repeat("0123456789abcdef", 4)
	setDigest(wrong)
	r.load("SN-DIGEST")
	r.powerOn("digest")
	i := r.await("SN-DIGEST", inventory.Failed)
	require.Contains(t, i.Reason, wrong)
	require.Contains(t, i.Reason, right)

	// After a power cycle it netboots and waits in bootOS; its disk has nothing to boot.
	machine := r.rack.Machine("digest")
	require.NoError(t, machine.Cut(r.ctx))
	head := make([]byte, 1<<20)
	f, err := os.Open(machine.DiskPath(0))
	require.NoError(t, err)
	_, err = f.Read(head)
	require.NoError(t, err)
	require.NoError(t, f.Close())
	require.Equal(t, make([]byte, 1<<20), head, "the head of the disk is empty")
	r.powerOn("digest")
	_, err = machine.Console().Wait(r.ctx, regexp.MustCompile(`(?i)wait`))
	require.NoError(t, err)
	require.Equal(t, inventory.Failed, r.installation("SN-DIGEST").State)

	setDigest(right)
	_, err = r.operator().Decide(r.ctx, "SN-DIGEST", "retry", "")
	require.NoError(t, err)
	require.Equal(t, 2, r.await("SN-DIGEST", inventory.Installed).Attempt)
}

func TestDisksThatDoNotFitAreClearFailures(t *testing.T) {
	none, small, two := bios("none"), bios("small"), bios("two")
	none.Disks = []lab.Disk{}
	small.Disks = []lab.Disk{{Size: 16 << 20}}
	two.Disks = []lab.Disk{{}, {}}
	r := newTestRack(t, []lab.MachineSpec{none, small, two}, func(c *config) {
		c.Profiles["lab"] = loda.Profile{Image: labTiny}
		c.Profiles["second"] = loda.Profile{Image: labTiny, Disk: hw.DiskRule{Serial: "TWO-D1"}}
	})
	_, err := r.operator().Import(r.ctx, strings.NewReader("serial,profile\nSN-NONE,lab\nSN-SMALL,lab\nSN-TWO,lab\n"), false, true)
	require.NoError(t, err)
	r.powerOn("none", "small", "two")
	for serial, want := range map[string]string{"SN-NONE": "no disk", "SN-SMALL": "larger disk", "SN-TWO": "TWO-D0"} {
		require.Contains(t, r.await(serial, inventory.Failed).Reason, want)
	}

	// The remedy for an ambiguous rule is a better one.
	_, err = r.operator().Decide(r.ctx, "SN-TWO", "cancel", "wrong profile")
	require.NoError(t, err)
	_, err = r.operator().Install(r.ctx, "SN-TWO", api.InstallRequest{Profile: "second"})
	require.NoError(t, err)
	require.NoError(t, r.rack.Machine("two").Cycle(r.ctx))
	r.await("SN-TWO", inventory.Installed)
	blank, err := r.rack.Machine("two").DiskBlank(r.ctx, 0)
	require.NoError(t, err)
	require.True(t, blank, "the disk that was not chosen is untouched")
}

func TestUnreachableServerIsAFailureInTimeAndTheMachineComesBack(t *testing.T) {
	r := newTestRack(t, []lab.MachineSpec{bios("cable")}, func(c *config) {
		c.Deadlines.Installing = 15 * time.Second
	})
	r.load("SN-CABLE")
	r.powerOn("cable")
	r.await("SN-CABLE", inventory.Installing)
	require.NoError(t, r.rack.Machine("cable").Unplug(r.ctx, 0))
	i := r.await("SN-CABLE", inventory.Failed)
	require.Contains(t, i.Reason, "no sign of life")
	require.Contains(t, i.Reason, "last seen")
	require.NoError(t, r.rack.Machine("cable").Plug(r.ctx, 0))
	// It either goes on where it stood, or says why it gave up and is retried.
	for i.State != inventory.Installed {
		time.Sleep(time.Second)
		if i = r.installation("SN-CABLE"); i.State == inventory.Failed && !strings.Contains(i.Reason, "no sign of life") {
			_, err := r.operator().Decide(r.ctx, "SN-CABLE", "retry", "")
			require.NoError(t, err)
		}
		require.NoError(t, r.ctx.Err())
	}
}

// moveToSmallDisk puts the database on a file system of its own that a test can fill.
func (r *testRack) moveToSmallDisk(bytes int) {
	r.t.Helper()
	dir := filepath.Join(r.data, "db")
	require.NoError(r.t, os.Mkdir(dir, 0o700))
	require.NoError(r.t, unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)))
	r.t.Cleanup(func() {
		r.stop()
		require.NoError(r.t, unix.Unmount(dir, 0))
	})
	require.NoError(r.t, os.Remove(filepath.Join(r.data, adminTokenFile)))
	require.NoError(r.t, r.writeConfig(labTiny, func(c *config) { c.Database = filepath.Join(dir, "loda.db") }))
	r.labSite.api = nil
}

func TestFullServerDiskLosesNothing(t *testing.T) {
	r := newTestRack(t, []lab.MachineSpec{bios("full")}, nil)
	r.stop()
	r.moveToSmallDisk(64 << 20)
	require.NoError(t, r.start(r.ctx))
	r.load("SN-FULL")
	r.powerOn("full")
	r.await("SN-FULL", inventory.Netbooting)
	filler := filepath.Join(r.data, "db", "filler")
	f, err := os.Create(filler)
	require.NoError(t, err)
	for chunk := make([]byte, 64<<10); err == nil; {
		_, err = f.Write(chunk)
	}
	require.NoError(t, f.Close())
	require.Eventually(t, func() bool {
		return strings.Contains(lastLines(filepath.Join(r.data, "lodad.log"), 20), "the disk of the database is full")
	}, 2*time.Minute, 200*time.Millisecond, "lodad says what it lacks")
	time.Sleep(3 * time.Second)
	full := r.installation("SN-FULL")
	require.NotContains(t, []inventory.State{inventory.Installing, inventory.Finishing, inventory.Installed}, full.State,
		"nothing is done that cannot be recorded")
	require.NoError(t, os.Remove(filler))
	r.await("SN-FULL", inventory.Installed)
	r.requireOneAddress("SN-FULL", allStages...)
}
