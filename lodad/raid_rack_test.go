package main

import (
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/loda/site"
	"github.com/project-loda/loda/scripts/need"
)

// emulatedStorcli builds the emulator of storcli64 as the real one is linked: against a C library, which the RAM disk does
// not have. It returns the text of tools/storcli.yaml, and puts what that names below a directory of artifacts.
func emulatedStorcli(t *testing.T, artifacts string) string {
	t.Helper()
	need.Command(t, "gcc")
	dir := filepath.Join(artifacts, "raid")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	file := filepath.Join(dir, "storcli64")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w -linkmode external", "-o", file, "../raid/raidtest/storcli/storcli64")
	build.Env = append(os.Environ(), "CGO_ENABLED=1")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	e, err := elf.Open(file)
	require.NoError(t, err)
	libraries, err := e.ImportedLibraries()
	require.NoError(t, err)
	require.NoError(t, e.Close())
	require.Equal(t, []string{"libc.so.6"}, libraries)
	digest := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		return fmt.Sprintf("%x", sha256.Sum256(text))
	}
	text := "artifact: raid/storcli64\nsha256: " + digest("storcli64") + "\nfiles:\n"
	for _, library := range []string{"/lib64/ld-linux-x86-64.so.2", "/lib/x86_64-linux-gnu/libc.so.6"} {
		need.File(t, library)
		content, err := os.ReadFile(library)
		require.NoError(t, err)
		name := filepath.Base(library)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
		text += "  " + name + ": {artifact: raid/" + name + ", sha256: " + digest(name) + "}\n"
	}
	return text
}

func TestAMegaRAIDIsRecognisedByItsPCIIdAndConfiguredThroughItsTool(t *testing.T) {
	m := bios("mega")
	// The kernel of the rack has no driver for the controller, and the emulator's volumes are not there: the operating
	// system goes elsewhere.
	m.Disks = []lab.Disk{{}, {Bus: lab.BusMegaSAS}}
	origin := gitsourcetest.New(t, map[string]string{
		"os/tiny.yaml": "kind: image\nimage: " + labTiny + "\nsha256: " + tinyDigest(t) + "\n",
		"profiles/mega.yaml": `match: {vendor: Loda}
os: tiny
raid:
  controllers:
    - controller: only
      volumes:
        - {name: os, level: 1, disks: {count: 2, medium: ssd}, boot: true, strip: 64KiB}
        - {name: data, level: 0, disks: {count: 1, medium: ssd}}
      spares:
        - {disks: {count: 1, medium: ssd}, for: [os]}
disk: {bus: virtio}
`,
	})
	r := newTestRack(t, []lab.MachineSpec{m}, follow(origin))
	r.push(origin, map[string]string{"tools/storcli.yaml": emulatedStorcli(t, site.Layout(r.data).Artifacts())})
	r.open("SN-MEGA")
	r.powerOn("mega")
	r.await("SN-MEGA", inventory.Installed)
	for _, line := range []string{
		`^the agent fetches storcli, `,
		`^the agent fetches libc\.so\.6, `,
		`^RAID controller 0000:00:0\d\.0 MegaRAID .*: 4 drives; no volume`,
		`^RAID plan [0-9a-f]{12}: \d+ steps`,
		`^RAID step 1 of \d+: create-volume os .*: controllers\[0\]\.volumes\[0\] wants volume os`,
		`^RAID plan [0-9a-f]{12} is approved: it destroys nothing`,
		`^RAID command: /run/loda/tools/.*/storcli64 /c0 add vd `,
		`^RAID step 1 of \d+, create-volume os .*: done, `,
		`^RAID controller .*; volumes os level 1 480\.1 GB optimal, data level 0 480\.1 GB optimal`,
		`^the RAID layout is there`,
		`^disk chosen: vda, `,
	} {
		r.said("SN-MEGA", line)
	}
	for _, e := range r.timeline("SN-MEGA") {
		require.False(t, e.Kind == inventory.KindAlarm && strings.Contains(e.Message, "RAID"), e.Message)
	}
}

// mirrored has two disks for the operating system and two for data.
func mirrored(m lab.MachineSpec) lab.MachineSpec {
	m.Disks = []lab.Disk{{Size: 4 << 30}, {Size: 4 << 30}, {Size: 1 << 30}, {Size: 1 << 30}}
	return m
}

// bothVolumes are told in the order of their ids, which are random.
const bothVolumes = `^RAID controller md .*volumes (os level 1 .*, data level 0 |data level 0 .*, os level 1 )`

// softwareRAID is a profile for it.
const softwareRAID = `
raid:
  allow: [destroy]
  controllers:
    - controller: md
      volumes:
        - {name: os, level: 1, disks: {count: 2, size: 4GiB}, boot: true}
        - {name: data, level: 0, disks: {count: 2, size: 1GiB}}
`

func TestAMachineIsInstalledOntoAMirrorAndBootsFromEitherHalf(t *testing.T) {
	need.QEMU(t)
	cache, err := prepared()
	require.NoError(t, err)
	require.NoError(t, prepareImage(t.Context(), cache, labDebian, func(string) {}))
	images, err := image.Open(filepath.Join(cache, "images"))
	require.NoError(t, err)
	img, err := images.Get(labDebian)
	require.NoError(t, err)
	// At every start, what the machine runs from is told on its console.
	userData := "user_data: |\n  #cloud-config\n  bootcmd:\n" +
		"  - [sh, -c, 'echo ROOT=$(lsblk -no PKNAME $(findmnt -no SOURCE /)). $(cat /proc/mdstat) END > /dev/ttyS0']\n"
	origin := gitsourcetest.New(t, map[string]string{
		"os/debian.yaml":    "kind: image\nimage: " + labDebian + "\nsha256: " + img.SHA256 + "\n",
		"profiles/mdb.yaml": "match: {vendor: Loda, serial: SN-MDB}\nos: debian\n" + userData + softwareRAID,
		"profiles/mdu.yaml": "match: {vendor: Loda, serial: SN-MDU}\nos: debian\nboot: kexec\n" + userData + softwareRAID,
	})
	r := newTestRackFor(t, labDebian, 15*time.Minute, []lab.MachineSpec{mirrored(bios("mdb")), mirrored(uefi("mdu", lab.BootPXE))}, follow(origin))
	r.push(origin, map[string]string{"README.md": "The rack's profiles.\n"})
	r.open("SN-MDB", "SN-MDU")
	r.powerOn("mdb", "mdu")
	root := regexp.MustCompile(`ROOT=(\w+)\. (.*?) END`)
	for _, name := range []string{"mdb", "mdu"} {
		serial := "SN-" + strings.ToUpper(name)
		require.Equal(t, 1, r.await(serial, inventory.Installed).Attempt)
		r.said(serial, bothVolumes)
		r.said(serial, `^RAID command: .*/mdadm --create /dev/md/os `)
		r.said(serial, `^disk chosen: md\d+, `)
		said, err := r.rack.Machine(name).Console().Wait(r.ctx, root)
		require.NoError(t, err)
		require.Regexp(t, `ROOT=md\d+\. .*active raid1 .*\[UU\]`, said)
	}
	var wg sync.WaitGroup
	for name, pulled := range map[string]int{"mdb": 0, "mdu": 1} {
		wg.Go(func() {
			m := r.rack.Machine(name)
			require.NoError(t, m.PowerOff(r.ctx))
			require.NoError(t, m.PullDisk(r.ctx, pulled))
			require.NoError(t, m.PowerOn(r.ctx))
			said, err := m.Console().Wait(r.ctx, root)
			require.NoError(t, err)
			require.Regexp(t, `ROOT=md\d+\. .*active raid1 .*\[(U_|_U)\]`, said, "from the half that is left, as a mirror")
		})
	}
	wg.Wait()
}

func TestAPowerCutInTheRAIDStageEndsInstalledAndTouchesNothingElse(t *testing.T) {
	const machines = 5
	bystander := filepath.Join(t.TempDir(), "bystander")
	require.NoError(t, os.WriteFile(bystander, []byte(strings.Repeat("somebody's data. ", 1<<16)[:1<<20]), 0o600))
	var specs []lab.MachineSpec
	var names, serials []string
	for i := range machines {
		m := mirrored(bios(fmt.Sprintf("cut%d", i)))
		m.Disks = append(m.Disks, lab.Disk{Size: 2 << 30, Image: bystander})
		specs, names, serials = append(specs, m), append(names, m.Name), append(serials, m.Serial)
	}
	origin := gitsourcetest.New(t, map[string]string{
		"os/tiny.yaml":      "kind: image\nimage: " + labTiny + "\nsha256: " + tinyDigest(t) + "\n",
		"profiles/cut.yaml": "match: {vendor: Loda}\nos: tiny\n" + softwareRAID,
	})
	r := newTestRackFor(t, labTiny, 12*time.Minute, specs, follow(origin))
	r.push(origin, map[string]string{"README.md": "The rack's profiles.\n"})
	before := map[string]string{}
	for _, name := range names {
		var err error
		before[name], err = r.rack.Machine(name).DiskDigest(r.ctx, 4)
		require.NoError(t, err)
	}
	r.open(serials...)
	r.powerOn(names...)
	// The stage takes some seconds, more or less as the host is busy.
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	var wg sync.WaitGroup
	for i, name := range names {
		after := time.Duration(i)*1500*time.Millisecond + time.Duration(chance.Int64N(1500))*time.Millisecond
		wg.Go(func() {
			r.await(serials[i], inventory.Configuring)
			time.Sleep(after)
			state := r.installation(serials[i]).State
			require.NoError(t, r.rack.Machine(name).Cut(r.ctx))
			t.Logf("%s: power cut after %s, while %s", name, after, state)
			require.NoError(t, r.rack.Machine(name).PowerOn(r.ctx))
		})
	}
	wg.Wait()
	for i, name := range names {
		r.await(serials[i], inventory.Installed)
		digest, err := r.rack.Machine(name).DiskDigest(r.ctx, 4)
		require.NoError(t, err)
		require.Equal(t, before[name], digest, "the disk that the layout does not name, byte for byte")
		r.said(serials[i], bothVolumes)
	}
}
