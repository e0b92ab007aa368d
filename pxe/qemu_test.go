package pxe

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

// These tests boot real firmware in QEMU, with its user-mode network: the guest's 10.0.2.2 is this host's 127.0.0.1,
// and nothing else is ever asked. What boots in the end is a program that ends QEMU with a status of its own, so that
// a test knows what ran.

const (
	diskRan   = 0x2a // status of the program on the local disk
	kernelRan = 0x2b // status of the program that was netbooted
)

// exitCode are the instructions that make isa-debug-exit end QEMU with status<<1|1, the same in 16 and 64 bit mode.
func exitCode(status byte) []byte {
	return []byte{
		0xb0, status, // mov al, status
		0xe6, 0xf4, // out 0xf4, al
		0xeb, 0xfe, // jmp .
	}
}

// bootSector is a disk for BIOS.
func bootSector(status byte) []byte {
	disk := make([]byte, 1<<20)
	copy(disk, exitCode(status))
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}

// efiProgram is the smallest UEFI application: a PE32+ file (PE specification, section 3) with one section of code.
func efiProgram(status byte) []byte {
	const header, align = 0x200, 0x200
	b := make([]byte, header+align)
	le := binary.LittleEndian
	copy(b, "MZ")
	le.PutUint32(b[0x3c:], 0x40)
	copy(b[0x40:], "PE\x00\x00")
	coff := b[0x44:]
	le.PutUint16(coff[0:], 0x8664) // machine: x86-64
	le.PutUint16(coff[2:], 1)      // sections
	le.PutUint16(coff[16:], 240)   // size of the optional header
	le.PutUint16(coff[18:], 0x22)  // executable, large addresses
	opt := coff[20:]
	le.PutUint16(opt[0:], 0x20b)   // PE32+
	le.PutUint32(opt[4:], align)   // size of code
	le.PutUint32(opt[16:], 0x1000) // entry point
	le.PutUint32(opt[20:], 0x1000) // base of code
	le.PutUint64(opt[24:], 0)      // image base: no relocations, none needed
	le.PutUint32(opt[32:], 0x1000) // section alignment
	le.PutUint32(opt[36:], align)  // file alignment
	le.PutUint32(opt[56:], 0x2000) // size of image
	le.PutUint32(opt[60:], header)
	le.PutUint16(opt[68:], 10) // subsystem: EFI application
	le.PutUint32(opt[108:], 16)
	section := opt[240:]
	copy(section, ".text")
	le.PutUint32(section[8:], align)
	le.PutUint32(section[12:], 0x1000)
	le.PutUint32(section[16:], align)
	le.PutUint32(section[20:], header)
	le.PutUint32(section[36:], 0x60000020) // code, execute, read
	copy(b[header:], exitCode(status))
	return b
}

// efiDisk is a disk with the program at the path where UEFI looks on any disk.
func efiDisk(t *testing.T, status byte) []byte {
	t.Helper()
	dir := t.TempDir()
	program, image := filepath.Join(dir, "bootx64.efi"), filepath.Join(dir, "disk.img")
	require.NoError(t, os.WriteFile(program, efiProgram(status), 0o644))
	makeFAT(t, image, map[string]string{"EFI/BOOT/BOOTX64.EFI": program})
	disk, err := os.ReadFile(image)
	require.NoError(t, err)
	return disk
}

// makeFAT makes an image of a disk with copies of files, by their paths.
func makeFAT(t *testing.T, image string, files map[string]string) {
	t.Helper()
	need.Command(t, "mformat", "mmd", "mcopy")
	run := func(words ...string) {
		out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
		require.NoError(t, err, "%v: %s", words, out)
	}
	run("mformat", "-C", "-T", "32768", "-i", image, "::")
	made := map[string]bool{".": true}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for at := range name {
			if dir := name[:at]; name[at] == '/' && !made[dir] {
				made[dir] = true
				run("mmd", "-i", image, "::/"+dir)
			}
		}
		run("mcopy", "-i", image, files[name], "::/"+name)
	}
}

const (
	vmSerial = "A&B+C 100%#;x" // all that URLs and scripts have ever tripped over
	vmUUID   = "12345678-1234-4321-8765-123456789abc"
	vmMAC    = "52:54:00:12:34:56"
	vmMAC2   = "52:54:00:aa:bb:cc"
)

// qemu boots a machine from the user-mode network and returns with which status a program ended it.
func qemu(t *testing.T, bootFile string, disk []byte, args ...string) byte {
	t.Helper()
	return machine(t, disk, append([]string{"-netdev", "user,id=n0,ipv6=off,bootfile=" + bootFile,
		"-device", "virtio-net-pci,netdev=n0,bootindex=0,mac=" + vmMAC}, args...)...)
}

// machine boots a machine, whose NIC is among args, and returns with which status a program ended it.
func machine(t *testing.T, disk []byte, args ...string) byte {
	t.Helper()
	dir := t.TempDir()
	image, console := filepath.Join(dir, "disk.img"), filepath.Join(dir, "console")
	require.NoError(t, os.WriteFile(image, disk, 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{
		"-accel", "tcg,tb-size=64", "-cpu", "max,la57=off", "-m", "256", "-nographic", "-monitor", "none",
		"-serial", "file:" + console,
		"-drive", "file=" + image + ",format=raw,if=none,id=d0", "-device", "virtio-blk-pci,drive=d0,bootindex=1",
		"-device", "isa-debug-exit,iobase=0xf4,iosize=0x04",
		"-smbios", "type=1,manufacturer=AT&T,product=Rack ${uuid},serial=" + vmSerial + ",uuid=" + vmUUID,
	}, args...)...)
	out, err := cmd.CombinedOutput()
	t.Cleanup(func() {
		if t.Failed() {
			text, _ := os.ReadFile(console)
			t.Logf("QEMU said %q; the machine's console:\n%s", out, printable(string(text)))
		}
	})
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "the machine must be ended by the program that it booted")
	require.NoError(t, ctx.Err(), "nothing was booted in time")
	return byte(exit.ExitCode() >> 1)
}

func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '\n' || r >= ' ' && r <= '~' {
			return r
		}
		return -1
	}, s)
}

// A story answers each question with the next of its instructions; an error among them fails that question.
type story struct {
	mu    sync.Mutex
	tell  []any // Instruction or error
	asked []Client
}

func (s *story) Boot(_ context.Context, c Client) (Instruction, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, c)
	if len(s.tell) == 0 {
		return nil, errors.New("the story is over")
	}
	next := s.tell[0]
	s.tell = s.tell[1:]
	if err, ok := next.(error); ok {
		return nil, err
	}
	return next.(Instruction), nil
}

// guestServer serves at 127.0.0.1; the guest knows it by the URL that is returned.
func guestServer(t *testing.T, h *Handler) string {
	t.Helper()
	nbps, err := OpenNBPs("/usr/lib/ipxe", "/boot")
	require.NoError(t, err)
	t.Cleanup(func() { nbps.Close() })
	h.NBPs, h.Logger = nbps, quiet()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return fmt.Sprintf("http://10.0.2.2:%d", s.Listener.Addr().(*net.TCPAddr).Port)
}

func requireMachine(t *testing.T, c Client, platform Platform, nics ...string) {
	t.Helper()
	require.Equal(t, vmSerial, c.Serial)
	require.Equal(t, vmUUID, c.UUID)
	require.Equal(t, "AT&T", c.Manufacturer)
	require.Equal(t, "Rack ${uuid}", c.Product)
	require.Equal(t, platform, c.Platform)
	require.Equal(t, nics, macs(c))
	require.Contains(t, c.Version, "1.")
}

func TestBIOSMachineIntroducesItselfRetriesBootsAKernelAndItsDisk(t *testing.T) {
	need.QEMU(t)
	t.Parallel() // most of the time, firmware waits
	// Debian's ipxe.lkrn is a Linux kernel as far as a boot loader can tell, and runs its initrd as a script.
	dir := tree(t, map[string]string{"empty": ""})
	seen := &transfers{}
	s := &story{}
	h := &Handler{Booter: s, Artifacts: openDir(t, dir), Observe: seen.observe}
	url := guestServer(t, h)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "initrd one"),
		[]byte("#!ipxe\ndhcp\nchain --replace "+url+"/boot/ipxe\n"), 0o644))
	s.tell = []any{
		errors.New("the database is down"),
		Wait{Message: "not yet || shell ${uuid} #", Retry: time.Second},
		Kernel{Kernel: "/artifacts/missing"},
		Kernel{Kernel: "/boot/ipxe.lkrn", Initrds: []string{"/artifacts/initrd one"}, Message: "booting"},
		LocalDisk{Message: "go on", Pause: time.Second},
	}
	status := qemu(t, url+"/boot/ipxe", bootSector(diskRan),
		"-netdev", "user,id=n1,restrict=on,ipv6=off", "-device", "virtio-net-pci,netdev=n1,mac="+vmMAC2)
	require.EqualValues(t, diskRan, status)

	require.Len(t, s.asked, 5)
	var attempts []int
	for _, c := range s.asked {
		requireMachine(t, c, BIOS, vmMAC, vmMAC2)
		require.Equal(t, url, c.BaseURL)
		attempts = append(attempts, c.Attempt)
	}
	require.Equal(t, []int{0, 1, 0, 1, 0}, attempts)
	require.NoError(t, h.Flush(t.Context()))
	var paths []string
	for _, x := range seen.list() {
		if x.Path != "/boot/ipxe" && x.Path != "/boot/script" {
			paths = append(paths, fmt.Sprint(x.Path, " ", x.Status, " ", x.Complete()))
		}
	}
	require.Equal(t, []string{
		"/artifacts/missing 404 false", "/boot/ipxe.lkrn 200 true", "/artifacts/initrd one 200 true",
	}, paths)
}

func TestBIOSMachineWithoutABootableDiskIsLeftToItsFirmware(t *testing.T) {
	need.QEMU(t)
	t.Parallel() // most of the time, firmware waits
	s := &story{tell: []any{LocalDisk{}}}
	url := guestServer(t, &Handler{Booter: s})
	// The disk cannot boot: sanboot fails, exit returns to the BIOS, which goes on in its boot order.
	floppy := filepath.Join(t.TempDir(), "floppy.img")
	require.NoError(t, os.WriteFile(floppy, append(bootSector(diskRan), make([]byte, 1440<<10-1<<20)...), 0o644))
	status := qemu(t, url+"/boot/ipxe", make([]byte, 1<<20),
		"-drive", "file="+floppy+",format=raw,if=floppy")
	require.EqualValues(t, diskRan, status)
	require.Len(t, s.asked, 1)
}

// efi is UEFI (OVMF) with its variables, and without some ways to netboot of its own.
func efi(t *testing.T, without ...string) []string {
	t.Helper()
	vars := filepath.Join(t.TempDir(), "vars.fd")
	b, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(vars, b, 0o644))
	args := []string{
		"-machine", "q35",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,format=raw,unit=1,file=" + vars,
	}
	for _, feature := range without {
		args = append(args, "-fw_cfg", "name=opt/org.tianocore/"+feature+",string=n")
	}
	return args
}

// romIPXE is UEFI that netboots by the iPXE in the NIC's ROM: PXE of its own would only take time.
func romIPXE(t *testing.T) []string { return efi(t, "IPv4PXESupport", "IPv6PXESupport") }

func TestUEFIMachineIntroducesItselfAndBootsItsDisk(t *testing.T) {
	need.QEMU(t)
	t.Parallel() // most of the time, firmware waits
	s := &story{tell: []any{errors.New("the database is down"), LocalDisk{}}}
	url := guestServer(t, &Handler{Booter: s})
	status := qemu(t, url+"/boot/ipxe", efiDisk(t, diskRan), romIPXE(t)...)
	require.EqualValues(t, diskRan, status)
	require.Len(t, s.asked, 2)
	requireMachine(t, s.asked[1], EFI, vmMAC)
	require.Equal(t, "x86_64", s.asked[1].Arch)
	require.Equal(t, 1, s.asked[1].Attempt)
}

func TestUEFIMachineBootsAKernelWithSeveralInitrds(t *testing.T) {
	need.QEMU(t)
	t.Parallel() // most of the time, firmware waits
	dir := tree(t, map[string]string{"kernel.efi": string(efiProgram(kernelRan)), "a": "A", "b": "B"})
	seen := &transfers{}
	s := &story{tell: []any{
		Kernel{Kernel: "/artifacts/missing"},
		Kernel{Kernel: "/artifacts/kernel.efi", Initrds: []string{"/artifacts/a", "/artifacts/b"}, Args: "quiet"},
	}}
	h := &Handler{Booter: s, Artifacts: openDir(t, dir), Observe: seen.observe}
	status := qemu(t, guestServer(t, h)+"/boot/ipxe", efiDisk(t, diskRan), romIPXE(t)...)
	require.EqualValues(t, kernelRan, status)
	require.NoError(t, h.Flush(t.Context()))
	var complete []string
	for _, x := range seen.list() {
		if strings.HasPrefix(x.Path, "/artifacts/") && x.Complete() {
			complete = append(complete, x.Path)
		}
	}
	require.Equal(t, []string{"/artifacts/kernel.efi", "/artifacts/a", "/artifacts/b"}, complete)
}

func TestBIOSMachineLoadsUndionlyByTFTP(t *testing.T) {
	need.QEMU(t)
	t.Parallel() // most of the time, firmware waits
	s := &story{}
	h := &Handler{Booter: s}
	url := guestServer(t, h)
	l := startTFTP(t, &TFTPServer{Files: h.NBPs})
	s.tell = []any{
		Script(fmt.Sprintf("#!ipxe\nchain --replace tftp://10.0.2.2:%d/undionly.kpxe\n", l.addr.Port)),
		LocalDisk{},
	}
	require.EqualValues(t, diskRan, qemu(t, url+"/boot/ipxe", bootSector(diskRan)))
	require.Len(t, s.asked, 2)
	requireMachine(t, s.asked[1], BIOS, vmMAC)
	got := l.seen.wait(t, 1)
	require.True(t, got[len(got)-1].NBP(), "%+v", got)
}
