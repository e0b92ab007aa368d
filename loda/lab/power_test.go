package lab_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/scripts/need"
)

// What a boot sector does after it has printed its text and written itself to the disk's second sector.
var (
	halts       = []byte{0xf4, 0xeb, 0xfd} // hlt, for ever
	switchesOff = []byte{
		0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, // eight timer ticks, in which the serial console catches up
		0xba, 4, 6, 0xb8, 0, 0x20, 0xef, // mov dx,0x604; mov ax,0x2000; out dx,ax: ACPI's S5
		0xf4, 0xeb, 0xfd,
	}
)

// bootSector is the smallest operating system: real mode, loaded by a BIOS at 0x7c00 with its drive in DL.
func bootSector(t *testing.T, text string, end []byte) string {
	t.Helper()
	code := []byte{
		0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, // ds = es = 0
		0xbe, 0x50, 0x7c, 0xfc, // si = text; cld
		0xac, 0x84, 0xc0, 0x74, 9, 0xb4, 0xe, 0xbb, 7, 0, 0xcd, 0x10, 0xeb, 0xf2, // print each character by int 0x10
		0xb8, 1, 3, 0xb9, 2, 0, 0xb6, 0, 0xbb, 0, 0x7c, 0xcd, 0x13, // write one sector by int 0x13
	}
	sector := make([]byte, 512)
	require.Less(t, copy(sector, append(code, end...)), 0x50)
	copy(sector[0x50:], text+"\r\n\x00")
	sector[510], sector[511] = 0x55, 0xaa
	path := filepath.Join(t.TempDir(), "sector.raw")
	require.NoError(t, os.WriteFile(path, sector, 0o644))
	return path
}

// fromDisk is a rack of one BIOS machine that starts a boot sector from its disk.
func fromDisk(t *testing.T, end []byte) *lab.Machine {
	t.Helper()
	need.QEMU(t)
	return up(t, lab.Spec{Machines: []lab.MachineSpec{{
		BootOrder: lab.OrderDisk,
		Disks:     []lab.Disk{{Size: lab.MiB, Image: bootSector(t, "sector runs", end)}},
	}}}).Machine("m1")
}

func bounded(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	t.Cleanup(cancel)
	return ctx
}

var sectorRuns = regexp.MustCompile(`sector runs`)

func TestAMachineIsCutResetAndSwitchedOnAgain(t *testing.T) {
	m := fromDisk(t, halts)
	ctx := bounded(t, time.Minute)
	require.False(t, m.On())
	require.NoError(t, m.Cut(ctx), "a machine that is off stays off")
	require.ErrorIs(t, m.Reset(ctx), lab.ErrOff)

	require.NoError(t, m.PowerOn(ctx))
	pid := m.PID()
	require.NoError(t, m.PowerOn(ctx), "a machine that is on stays on")
	require.Equal(t, pid, m.PID())
	console := m.Console()
	line, err := console.Wait(ctx, sectorRuns)
	require.NoError(t, err)
	require.Equal(t, "sector runs", line)

	events, err := m.Events(ctx)
	require.NoError(t, err)
	require.NoError(t, m.Reset(ctx))
	require.Equal(t, "RESET", (<-events).Name)
	_, err = console.Wait(ctx, sectorRuns)
	require.NoError(t, err, "once more, behind the first time")
	require.Equal(t, pid, m.PID(), "a warm start")

	begin := time.Now()
	require.NoError(t, m.Cut(ctx))
	require.Less(t, time.Since(begin), 5*time.Second)
	require.False(t, m.On())
	require.NoError(t, m.Wait(ctx), "a power cut is no failure")
	for event := range events { // closed with the machine
		require.NotEqual(t, "SHUTDOWN", event.Name)
	}

	require.NoError(t, m.Cycle(ctx))
	require.NotEqual(t, pid, m.PID(), "a cold start")
	text, err := m.ConsoleText()
	require.NoError(t, err)
	require.NotContains(t, text, "sector runs", "the console begins at the last power-on")
	_, err = m.Console().Wait(ctx, sectorRuns)
	require.NoError(t, err)
	all, err := os.ReadFile(m.ConsolePath())
	require.NoError(t, err)
	require.Equal(t, 2, strings.Count(string(all), "power on at"), "the log keeps both")
}

func TestAMachineThatSwitchesItselfOffIsNoticed(t *testing.T) {
	m := fromDisk(t, switchesOff)
	ctx := bounded(t, time.Minute)
	require.NoError(t, m.PowerOn(ctx))
	require.NoError(t, m.Wait(ctx))
	require.False(t, m.On())
	require.ErrorIs(t, m.QMP(ctx, "query-status", nil, nil), lab.ErrOff)

	console := m.Console()
	_, err := console.Wait(ctx, sectorRuns)
	require.NoError(t, err, "what it said last is still read")
	_, err = console.Wait(ctx, regexp.MustCompile(`login:`))
	require.ErrorContains(t, err, "went off before its console showed login:")
}

func TestAGuestThatIgnoresThePowerButtonStaysOn(t *testing.T) {
	m := fromDisk(t, halts)
	require.NoError(t, m.PowerOn(bounded(t, time.Minute)))
	_, err := m.Console().Wait(bounded(t, time.Minute), sectorRuns)
	require.NoError(t, err)
	err = m.PowerOff(bounded(t, time.Second))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.ErrorContains(t, err, "machine m1")
	require.True(t, m.On())
	_, err = m.Console().Wait(bounded(t, 100*time.Millisecond), regexp.MustCompile(`never`))
	require.ErrorContains(t, err, "it ends with:")
	require.ErrorContains(t, err, "sector runs")
}

func TestDiskDigestSeesASingleSector(t *testing.T) {
	m := fromDisk(t, halts)
	ctx := bounded(t, time.Minute)
	image, err := os.ReadFile(m.DiskPath(0))
	require.NoError(t, err)
	require.Len(t, image, 1<<20)
	sum := sha256.Sum256(image)
	before, err := m.DiskDigest(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(sum[:]), before)

	require.NoError(t, m.PowerOn(ctx))
	_, err = m.Console().Wait(ctx, sectorRuns)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		after, err := m.DiskDigest(ctx, 0)
		return err == nil && after != before
	}, 10*time.Second, 50*time.Millisecond, "the boot sector copies itself")
	require.NoError(t, m.Cut(ctx))
	copy(image[512:], image[:512])
	sum = sha256.Sum256(image)
	after, err := m.DiskDigest(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, hex.EncodeToString(sum[:]), after, "what the guest wrote survives the cut")
}

func TestABlankDiskIsToldFromOneWithASingleByte(t *testing.T) {
	need.QEMU(t)
	m := up(t, lab.Default(1)).Machine("m1")
	blank, err := m.DiskBlank(t.Context(), 0)
	require.NoError(t, err)
	require.True(t, blank)
	info, err := os.Stat(m.DiskPath(0))
	require.NoError(t, err)
	require.Equal(t, int64(4*lab.GiB), info.Size())

	f, err := os.OpenFile(m.DiskPath(0), os.O_RDWR, 0)
	require.NoError(t, err)
	defer f.Close()
	_, err = f.WriteAt([]byte{0}, 3<<30)
	require.NoError(t, err)
	blank, err = m.DiskBlank(t.Context(), 0)
	require.NoError(t, err)
	require.True(t, blank, "written zeros are zeros")
	_, err = f.WriteAt([]byte{1}, 3<<30+5000)
	require.NoError(t, err)
	blank, err = m.DiskBlank(t.Context(), 0)
	require.NoError(t, err)
	require.False(t, blank)
}

func TestAPersonTypesAtTheConsole(t *testing.T) {
	t.Parallel()
	need.QEMU(t)
	m := up(t, lab.Default(1)).Machine("m1")
	ctx := bounded(t, 3*time.Minute)
	_, err := m.DialConsole(ctx)
	require.ErrorIs(t, err, lab.ErrOff)
	require.NoError(t, m.PowerOn(ctx))
	console := m.Console()
	_, err = console.Wait(ctx, regexp.MustCompile(`Press Ctrl-B to configure iPXE`))
	require.NoError(t, err)
	terminal, err := m.DialConsole(ctx)
	require.NoError(t, err)
	defer terminal.Close()
	go io.Copy(io.Discard, terminal)

	followCtx, stop := context.WithCancel(ctx)
	var followed bytes.Buffer
	done := make(chan error, 1)
	go func() { done <- m.Console().Follow(followCtx, &followed) }()

	prompt := regexp.MustCompile(`iPXE> ?$`)
	for {
		_, err = terminal.Write([]byte{2})
		require.NoError(t, err)
		_, err = console.Wait(bounded(t, 500*time.Millisecond), prompt)
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
			break
		}
	}
	require.NoError(t, err)
	// iPXE reads SMBIOS as a booted system does; 17.26 is the first DIMM's part number. Lines end at 80 columns.
	spec := m.Spec()
	for command, answer := range map[string]string{
		"echo [${manufacturer}] [${product}] [${serial}]": `\[Loda\] \[Lab Server\] \[LAB-LAB-M1\]`,
		"echo [${uuid}] [${smbios/17.26.0}]":              `\[` + spec.UUID + `\] \[LAB-DIMM-512MiB\]`,
	} {
		for {
			// The emulated port has no flow control, and on a busy host some of the line is lost: then it is wiped (Ctrl-A,
			// Ctrl-K) and typed again.
			for _, c := range "\x01\x0b" + command + "\r" {
				_, err = terminal.Write([]byte(string(c)))
				require.NoError(t, err)
				time.Sleep(5 * time.Millisecond)
			}
			_, err = console.Wait(bounded(t, 5*time.Second), regexp.MustCompile(answer))
			if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil {
				break
			}
		}
		require.NoError(t, err)
	}
	stop()
	require.NoError(t, <-done)
	require.Contains(t, followed.String(), "iPXE")
}

func TestAMachineIsRebuiltWhileItIsOff(t *testing.T) {
	need.QEMU(t)
	rack := up(t, lab.Default(2))
	m := rack.Machine("m1")
	ctx := bounded(t, time.Minute)

	require.NoError(t, m.RemoveDIMM(ctx, "A2"))
	require.Equal(t, lab.Size(512*lab.MiB), m.Spec().Memory)
	require.Zero(t, m.Spec().DIMMs[1].Size)
	require.NoError(t, m.AddDIMM(ctx, lab.DIMM{Slot: "A2", Size: 256 * lab.MiB, Part: "OTHER"}))
	require.Equal(t, lab.Size(768*lab.MiB), m.Spec().Memory)
	require.Equal(t, "OTHER", m.Spec().DIMMs[1].Part)

	require.NoError(t, os.WriteFile(m.DiskPath(0), []byte("x"), 0o600))
	require.NoError(t, m.Rebuild(ctx, func(s *lab.MachineSpec) {
		s.Disks = append(s.Disks, lab.Disk{Bus: lab.BusNVMe, Size: lab.GiB})
		s.NICs = append(s.NICs, lab.NIC{Model: lab.E1000E})
	}))
	kept, err := os.ReadFile(m.DiskPath(0))
	require.NoError(t, err)
	require.Equal(t, "x", string(kept))
	require.FileExists(t, m.DiskPath(1))
	out, err := rack.Command(ctx, "ip", "-brief", "link").CombinedOutput()
	require.NoError(t, err)
	require.Contains(t, string(out), "m0n1")

	before := m.Spec()
	err = m.Rebuild(ctx, func(s *lab.MachineSpec) { s.Serial = rack.Machine("m2").Spec().Serial })
	require.ErrorContains(t, err, "is used by")
	require.Equal(t, before, m.Spec(), "a machine that cannot be is not built")

	require.NoError(t, m.PowerOn(ctx))
	require.ErrorIs(t, m.RemoveDIMM(ctx, "A1"), lab.ErrOn)
	var memory struct {
		Base int64 `json:"base-memory"`
	}
	require.NoError(t, m.QMP(ctx, "query-memory-size-summary", nil, &memory))
	require.Equal(t, int64(768*lab.MiB), memory.Base)
}

func TestADiskIsPulledAndPutBackWithWhatIsOnIt(t *testing.T) {
	need.QEMU(t)
	rack := up(t, lab.Spec{Machines: []lab.MachineSpec{{Disks: []lab.Disk{{}, {Size: lab.GiB}, {Bus: lab.BusNVMe}}}}})
	m := rack.Machine("m1")
	ctx := bounded(t, time.Minute)
	// slots are where the firmware and the guest find the cards with disks.
	slots := func() map[string]int {
		t.Helper()
		require.NoError(t, m.PowerOn(ctx))
		var buses []struct {
			Devices []struct {
				ID   string `json:"qdev_id"`
				Slot int    `json:"slot"`
			} `json:"devices"`
		}
		require.NoError(t, m.QMP(ctx, "query-pci", nil, &buses))
		found := map[string]int{}
		for _, d := range buses[0].Devices {
			if strings.HasPrefix(d.ID, "bay") || strings.HasPrefix(d.ID, "nvme") {
				found[d.ID] = d.Slot
			}
		}
		require.ErrorIs(t, m.PullDisk(ctx, 1), lab.ErrOn)
		require.NoError(t, m.Cut(ctx))
		return found
	}
	all := slots()
	require.Len(t, all, 3)
	f, err := os.OpenFile(m.DiskPath(0), os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString("what is on it")
	require.NoError(t, err)
	require.NoError(t, f.Close())
	digest, err := m.DiskDigest(ctx, 0)
	require.NoError(t, err)

	require.NoError(t, m.PullDisk(ctx, 0))
	left := slots()
	require.Equal(t, map[string]int{"bay1": all["bay1"], "nvme0": all["nvme0"]}, left)
	require.NoError(t, m.InsertDisk(ctx, 0))
	require.Equal(t, all, slots())
	again, err := m.DiskDigest(ctx, 0)
	require.NoError(t, err)
	require.Equal(t, digest, again)
	require.ErrorContains(t, m.PullDisk(ctx, 3), "machine m1 has no disk 3")
}

func TestAnUnpluggedCableStaysUnplugged(t *testing.T) {
	t.Parallel()
	need.QEMU(t)
	spec := lab.Default(1)
	spec.Machines[0].NICs[0].Model = lab.E1000 // iPXE's virtio driver does not look at the carrier
	rack := up(t, spec)
	m := rack.Machine("m1")
	found := discovers(t, rack)
	ctx := bounded(t, time.Minute)
	require.NoError(t, m.Unplug(ctx, 0))
	require.ErrorContains(t, m.Unplug(ctx, 1), "no network card 1")
	require.NoError(t, m.PowerOn(ctx))
	_, err := m.Console().Wait(ctx, regexp.MustCompile(`Link:down|Waiting for link-up`))
	require.NoError(t, err, "iPXE sees no carrier")
	require.Empty(t, found)
	require.NoError(t, m.Plug(ctx, 0))
	select {
	case <-found:
	case <-ctx.Done():
		require.Fail(t, "no DHCPDISCOVER after the cable was put back")
	}
}

// received floods the bridge for a second and counts the bytes that arrive at the tap of a machine that is off.
func received(t *testing.T, rack *lab.Rack, tap string) (bytes int) {
	t.Helper()
	var fd int
	require.NoError(t, rack.In(func() (err error) {
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		request, err := unix.NewIfreq(tap)
		if err != nil {
			return err
		}
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		return unix.IoctlIfreq(fd, unix.TUNSETIFF, request)
	}))
	defer unix.Close(fd)

	conn, err := rack.ListenPacket(t.Context(), "udp4", "10.77.0.1:0")
	require.NoError(t, err)
	defer conn.Close()
	payload, frame := make([]byte, 1400), make([]byte, 2048)
	everybody := &net.UDPAddr{IP: net.IPv4(10, 77, 0, 255), Port: 9}
	// The bridge takes a moment to see that somebody is there: the second begins with the first frame.
	first, giveUp := time.Time{}, time.Now().Add(10*time.Second)
	for (first.IsZero() && time.Now().Before(giveUp)) || time.Since(first) < time.Second {
		_, _ = conn.WriteTo(payload, everybody) // a full queue is what this is about
		if bytes > 0 && first.IsZero() {
			first = time.Now()
		}
		for {
			n, err := unix.Read(fd, frame)
			if err != nil {
				break
			}
			bytes += n
		}
	}
	return bytes
}

func TestALinkCanBeMadeSlow(t *testing.T) {
	need.QEMU(t)
	rack := up(t, lab.Default(1))
	m := rack.Machine("m1")
	require.NoError(t, m.LimitRate(0, 0), "there is no limit to lift")
	require.NoError(t, m.LimitRate(0, 8_000_000))
	limited := received(t, rack, "m0n0")
	require.Less(t, limited, 1_400_000, "a second's worth and the burst that the filter allows")
	require.Greater(t, limited, 250_000)
	require.NoError(t, m.LimitRate(0, 80_000), "changed")
	require.Less(t, received(t, rack, "m0n0"), 200_000)
	require.NoError(t, m.LimitRate(0, 0))
	require.Greater(t, received(t, rack, "m0n0"), 2_000_000)
	require.Error(t, m.LimitRate(1, 1_000_000))
	require.Error(t, m.LimitRate(0, 100))
}

func TestEveryBusAndCardIsAcceptedByQEMU(t *testing.T) {
	need.QEMU(t)
	spec := lab.Spec{Machines: []lab.MachineSpec{{
		BIOSVersion: "1.2, final", SKU: "S", BMC: true, CPUs: 2,
		Disks: []lab.Disk{
			{Bus: lab.BusVirtio}, {Bus: lab.BusAHCI, Medium: lab.HDD, Model: "A, B", Firmware: "F1"}, {Bus: lab.BusAHCI},
			{Bus: lab.BusNVMe}, {Bus: lab.BusNVMe}, {Bus: lab.BusSCSI, Model: "M"}, {Bus: lab.BusSCSI},
			{Bus: lab.BusMegaSAS}, {Bus: lab.BusMPTSAS},
		},
		NICs: []lab.NIC{{Model: lab.E1000}, {Model: lab.E1000E, NoBoot: true}, {}},
	}, {Firmware: lab.UEFI, BootOrder: lab.OrderNVRAM}}}
	rack := up(t, spec)
	ctx := bounded(t, time.Minute)
	for _, m := range rack.Machines() {
		require.NoError(t, m.PowerOn(ctx))
		var blocks []struct {
			Inserted *struct {
				Image struct {
					Size int64 `json:"virtual-size"`
				} `json:"image"`
			} `json:"inserted"`
			Device string `json:"device"`
		}
		require.NoError(t, m.QMP(ctx, "query-block", nil, &blocks))
		disks := 0
		for _, b := range blocks {
			if strings.HasPrefix(b.Device, "disk") {
				require.Equal(t, int64(4*lab.GiB), b.Inserted.Image.Size)
				disks++
			}
		}
		require.Len(t, m.Spec().Disks, disks)
	}
}

func TestWhatQEMURefusesIsInTheError(t *testing.T) {
	need.QEMU(t)
	m := up(t, lab.Spec{Machines: []lab.MachineSpec{{QEMUArgs: []string{"-device", "no-such-device"}}}}).Machine("m1")
	begin := time.Now()
	err := m.PowerOn(bounded(t, time.Minute))
	require.Less(t, time.Since(begin), 20*time.Second, "at once")
	require.ErrorContains(t, err, "machine m1: power on")
	require.ErrorContains(t, err, "'no-such-device' is not a valid device model name")
	require.False(t, m.On())
}

func TestAMachineWhoseQEMUDiesIsReported(t *testing.T) {
	m := fromDisk(t, halts)
	ctx := bounded(t, time.Minute)
	require.NoError(t, m.PowerOn(ctx))
	process, err := os.FindProcess(m.PID())
	require.NoError(t, err)
	require.NoError(t, process.Kill())
	require.ErrorContains(t, m.Wait(ctx), "QEMU failed: signal: killed")
}

// TestTheDisksTurnComesWhenNobodyAnswers waits for a BIOS that gives up on a silent network.
func TestTheDisksTurnComesWhenNobodyAnswers(t *testing.T) {
	t.Parallel()
	need.QEMU(t)
	rack := up(t, lab.Spec{Machines: []lab.MachineSpec{
		{Disks: []lab.Disk{{Size: lab.MiB, Image: bootSector(t, "sector runs", switchesOff)}}},
		{}, // nothing to boot at all
	}})
	ctx := bounded(t, 2*time.Minute)
	for _, m := range rack.Machines() {
		require.NoError(t, m.PowerOn(ctx))
	}
	console := rack.Machine("m1").Console()
	_, err := console.Wait(ctx, regexp.MustCompile(`Configuring \(net0`))
	require.NoError(t, err, "network first")
	_, err = console.Wait(ctx, sectorRuns)
	require.NoError(t, err)

	console = rack.Machine("m2").Console()
	_, err = console.Wait(ctx, regexp.MustCompile(`No bootable device\.  Retrying`))
	require.NoError(t, err)
	_, err = console.Wait(ctx, regexp.MustCompile(`Configuring \(net0`))
	require.NoError(t, err, "again, for ever")
}

// espImage is a disk from which any UEFI machine boots iPXE.
func espImage(t *testing.T) string {
	t.Helper()
	need.Command(t, "mformat", "mcopy", "mmd")
	esp := filepath.Join(t.TempDir(), "esp.raw")
	for _, args := range [][]string{
		{"mformat", "-i", esp, "-C", "-T", "65536", "::"},
		{"mmd", "-i", esp, "::/EFI", "::/EFI/BOOT"},
		{"mcopy", "-i", esp, "/boot/ipxe.efi", "::/EFI/BOOT/BOOTX64.EFI"},
	} {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		require.NoError(t, err, "%s: %s", args[0], out)
	}
	return esp
}

var (
	uefiNetwork = regexp.MustCompile(`>>Start PXE over IPv4`)
	uefiDisk    = regexp.MustCompile(`iPXE 1\.`)
)

func TestTheBootOrderInTheNVRAMStartsWithTheNetworkAndStays(t *testing.T) {
	t.Parallel()
	need.QEMU(t)
	m := up(t, lab.Spec{Machines: []lab.MachineSpec{{
		Firmware: lab.UEFI, BootOrder: lab.OrderNVRAM, Disks: []lab.Disk{{Size: 32 * lab.MiB, Image: espImage(t)}},
	}}}).Machine("m1")
	ctx := bounded(t, 3*time.Minute)
	first := func() string {
		line, err := m.Console().Wait(ctx, regexp.MustCompile(uefiNetwork.String()+"|"+uefiDisk.String()))
		require.NoError(t, err)
		return line
	}
	require.NoError(t, m.PowerOn(ctx))
	require.Regexp(t, uefiNetwork, first())
	used, err := os.ReadFile(m.NVRAMPath())
	require.NoError(t, err)
	fresh, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	require.NoError(t, err)
	require.False(t, bytes.Equal(fresh, used), "the machine has an NVRAM of its own")

	require.NoError(t, m.Cycle(ctx))
	require.Regexp(t, uefiNetwork, first(), "nobody but the NVRAM says so now")

	require.NoError(t, m.Cut(ctx))
	require.NoError(t, m.BootNext(ctx, lab.OrderDisk))
	require.NoError(t, m.PowerOn(ctx))
	require.Regexp(t, uefiDisk, first())
}

func TestTheNextBootIsOverriddenOnce(t *testing.T) {
	t.Parallel()
	m := fromDisk(t, halts)
	ctx := bounded(t, time.Minute)
	either := regexp.MustCompile(`sector runs|Configuring \(net0`)
	require.ErrorContains(t, m.BootNext(ctx, lab.OrderNVRAM), "want")

	require.NoError(t, m.BootNext(ctx, lab.OrderNetwork))
	require.NoError(t, m.PowerOn(ctx))
	console := m.Console()
	for _, want := range []string{"Configuring", "sector runs", "Configuring", "sector runs"} {
		line, err := console.Wait(ctx, either)
		require.NoError(t, err)
		require.Contains(t, line, want)
		if want == "sector runs" {
			require.NoError(t, m.BootNext(ctx, lab.OrderNetwork), "while it is on")
		}
		time.Sleep(2 * time.Second) // an override is for a boot, not for a reset within a second
		require.NoError(t, m.Reset(ctx))
	}
}
