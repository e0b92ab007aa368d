package pxe

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

// These machines have Secure Boot on, with the keys that a board is sold with: what is not signed does not run, so that
// nothing of our own can end QEMU with a status. What ran is read from the console.

const (
	debianKernel = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64/linux"
	shimDir      = "/usr/lib/shim"
	grubDir      = "/usr/lib/grub/x86_64-efi-signed"
)

func needSecureBoot(t *testing.T) {
	t.Helper()
	for _, file := range []string{debianKernel, shimDir + "/shimx64.efi.signed", grubDir + "/grubnetx64.efi.signed",
		"/usr/share/OVMF/OVMF_VARS_4M.ms.fd", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"} {
		need.File(t, file)
	}
}

// secureMachine boots a machine with Secure Boot until it switches itself off, or says a word, and returns its console.
func secureMachine(t *testing.T, disk []byte, until string, args ...string) string {
	t.Helper()
	dir := t.TempDir()
	vars, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.ms.fd")
	require.NoError(t, err)
	image, nvram, console := filepath.Join(dir, "disk.img"), filepath.Join(dir, "vars.fd"), filepath.Join(dir, "console")
	require.NoError(t, os.WriteFile(nvram, vars, 0o644))
	require.NoError(t, os.WriteFile(image, disk, 0o644))
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{
		"-machine", "q35,smm=on", "-accel", "tcg,tb-size=64", "-cpu", "max,la57=off", "-m", "512", "-nographic",
		"-monitor", "none", "-no-reboot", "-serial", "file:" + console,
		"-global", "driver=cfi.pflash01,property=secure,value=on",
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.secboot.fd",
		"-drive", "if=pflash,format=raw,unit=1,file=" + nvram, "-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n",
		"-drive", "file=" + image + ",format=raw,if=none,id=d0", "-device", "virtio-blk-pci,drive=d0,bootindex=1",
		"-smbios", "type=1,manufacturer=AT&T,product=Rack ${uuid},serial=" + vmSerial + ",uuid=" + vmUUID,
	}, args...)...)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	said := func() string {
		text, _ := os.ReadFile(console)
		return printable(string(text))
	}
	for alive := true; alive && (until == "" || !strings.Contains(said(), until)); {
		select {
		case <-ended:
			alive = false
		case <-time.After(200 * time.Millisecond):
		}
	}
	late := ctx.Err()
	if cmd.ProcessState == nil {
		cancel()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
		}
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("QEMU said %q; the machine's console:\n%s", out.String(), said())
		}
	})
	require.NoError(t, late, "the machine did not come to its end in time")
	return said()
}

// initramfs has a busybox and a script as its first process.
func initramfs(t *testing.T, script string) string {
	t.Helper()
	need.Command(t, "busybox", "cpio")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	program, err := os.ReadFile(busybox)
	require.NoError(t, err)
	dir := tree(t, map[string]string{"bin/busybox": string(program), "init": "#!/bin/busybox sh\n" + script})
	for _, file := range []string{"bin/busybox", "init"} {
		require.NoError(t, os.Chmod(filepath.Join(dir, file), 0o755))
	}
	cmd := exec.Command("cpio", "--quiet", "-o", "-H", "newc")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(".\nbin\nbin/busybox\ninit\n")
	archive, err := cmd.Output()
	require.NoError(t, err)
	return string(archive)
}

// whatTheKernelSays prints what the kernel found of Secure Boot, and its command line.
const whatTheKernelSays = `
busybox=/bin/busybox
$busybox mkdir /proc /sys /dev
$busybox mount -t proc proc /proc
$busybox mount -t sysfs sysfs /sys
$busybox mount -t devtmpfs dev /dev
$busybox mount -t securityfs securityfs /sys/kernel/security
exec >/dev/ttyS0 2>&1
$busybox dmesg | $busybox grep secureboot
echo "lockdown: $($busybox cat /sys/kernel/security/lockdown)"
echo "arguments: $($busybox cat /proc/cmdline)"
$busybox cat /second
$busybox poweroff -f
`

func TestSecureBootMachineStartsASignedKernelByShimAndGRUB(t *testing.T) {
	needSecureBoot(t)
	if !inNamespace(t) {
		return
	}
	kernel, err := os.ReadFile(debianKernel)
	require.NoError(t, err)
	second := exec.Command("cpio", "--quiet", "-o", "-H", "newc")
	second.Dir, second.Stdin = tree(t, map[string]string{"second": "the second initrd\n"}), strings.NewReader("second\n")
	archive, err := second.Output()
	require.NoError(t, err)
	dir := tree(t, map[string]string{"bootos/vmlinuz": string(kernel), "init rd": initramfs(t, whatTheKernelSays),
		"second": string(archive), "unsigned.efi": string(efiProgram(kernelRan))})
	r := &rack{nbp: "shimx64.efi", bootPort: "8080", story: &story{tell: []any{
		errors.New("the database is down"),
		Kernel{Kernel: "/artifacts/unsigned.efi"},
		Wait{Message: "position 12 in the queue", Retry: time.Second},
		Kernel{Kernel: "/artifacts/bootos/vmlinuz", Initrds: []string{"/artifacts/init%20rd", "/artifacts/second"},
			Args: "console=ttyS0 loda.token=$(a);b${c}#|&<>*~!", Message: `it's "${root}" \ $5; 100%`},
	}}}
	startRack(t, r, openDir(t, dir))
	console := secureMachine(t, make([]byte, 1<<20), "", tap(",romfile=")...)

	require.Contains(t, console, "secureboot: Secure boot enabled")
	require.Contains(t, console, "lockdown: none [integrity] confidentiality")
	require.Contains(t, console, "console=ttyS0 loda.token=$(a);b${c}#|&<>*~!\n")
	require.Contains(t, console, "the second initrd\n")
	require.Contains(t, console, `Loda: it's "${root}" \ $5; 100%`)
	require.Contains(t, console, "Loda: position 12 in the queue")
	require.Len(t, r.story.asked, 4)
	attempts := []int{}
	for _, c := range r.story.asked {
		attempts = append(attempts, c.Attempt)
		require.Equal(t, LoaderGRUB, c.Loader)
		require.Equal(t, "http://"+rackServer+":8080", c.BaseURL)
		require.Equal(t, rackServer, c.Local.Addr().String())
		require.Equal(t, rackClient, c.Remote.String())
		require.Equal(t, "x86_64", c.Arch)
	}
	require.Equal(t, []int{0, 1, 2, 0}, attempts)
	c := r.story.asked[3]
	require.Equal(t, []string{vmSerial, vmUUID, "AT&T", "Rack ${uuid}"}, []string{c.Serial, c.UUID, c.Manufacturer, c.Product})
	require.Equal(t, []string{vmMAC}, macs(c))
	loaded := r.loaded()
	require.Equal(t, []string{"tftp shimx64.efi", "tftp grubx64.efi"}, slices.DeleteFunc(slices.Clone(loaded), func(s string) bool {
		return !strings.HasSuffix(s, "x64.efi")
	}), "%v", loaded)
}

func TestSecureBootMachineIsLeftToTheSignedLoaderOnItsDisk(t *testing.T) {
	needSecureBoot(t)
	need.File(t, grubDir+"/grubx64.efi.signed")
	if !inNamespace(t) {
		return
	}
	dir := t.TempDir()
	config, image := filepath.Join(dir, "grub.cfg"), filepath.Join(dir, "disk.img")
	require.NoError(t, os.WriteFile(config, []byte("echo 'the loader on the disk runs'\nsleep 2\nhalt\n"), 0o644))
	makeFAT(t, image, map[string]string{"EFI/BOOT/BOOTX64.EFI": shimDir + "/shimx64.efi.signed",
		"EFI/BOOT/grubx64.efi": grubDir + "/grubx64.efi.signed", "EFI/debian/grub.cfg": config})
	disk, err := os.ReadFile(image)
	require.NoError(t, err)
	r := &rack{nbp: "shimx64.efi", bootPort: "8080", story: &story{tell: []any{
		LocalDisk{Message: "no open installation", Pause: time.Second}}}}
	startRack(t, r, nil)
	console := secureMachine(t, disk, "the loader on the disk runs", tap(",romfile=")...)
	require.Contains(t, console, "Loda: no open installation")
	require.Contains(t, console, "the loader on the disk runs")
	require.Len(t, r.story.asked, 1)
}

func TestSecureBootMachineWithNothingSignedOnItsDiskIsLeftToItsFirmware(t *testing.T) {
	needSecureBoot(t)
	if !inNamespace(t) {
		return
	}
	r := &rack{nbp: "shimx64.efi", bootPort: "8080", story: &story{tell: []any{LocalDisk{}}}}
	startRack(t, r, nil)
	const last = "no disk has a boot loader that can be started"
	console := secureMachine(t, efiDisk(t, diskRan), "BdsDxe: starting Boot0000", tap(",romfile=")...)
	require.Contains(t, console, last)
	require.Len(t, r.story.asked, 1)
}

func TestMachineWithoutSecureBootIsLeftToItsDiskByGRUB(t *testing.T) {
	needSecureBoot(t)
	if !inNamespace(t) {
		return
	}
	r := &rack{nbp: "shimx64.efi", story: &story{tell: []any{LocalDisk{}}}}
	startRack(t, r, nil)
	args := slices.Concat(tap(",romfile="), efi(t, "IPv6PXESupport"))
	require.EqualValues(t, diskRan, machine(t, efiDisk(t, diskRan), args...))
	require.Len(t, r.story.asked, 1)
}

func TestSecureBootMachineRefusesIPXEAndGoesOnToItsDisk(t *testing.T) {
	needSecureBoot(t)
	if !inNamespace(t) {
		return
	}
	r := &rack{story: &story{}}
	startRack(t, r, nil)
	// The disk's shim is signed, and says so when it misses its GRUB.
	image := filepath.Join(t.TempDir(), "disk.img")
	makeFAT(t, image, map[string]string{"EFI/BOOT/BOOTX64.EFI": shimDir + "/shimx64.efi.signed"})
	disk, err := os.ReadFile(image)
	require.NoError(t, err)
	// OVMF tries HTTP boot in between, for which this DHCP server has iPXE as well: that takes most of the time.
	console := secureMachine(t, disk, `Failed to open \EFI\BOOT\grubx64.efi`, tap(",romfile=")...)
	require.Contains(t, console, "Access Denied")
	require.Contains(t, console, `\EFI\BOOT\grubx64.efi`)
	require.Contains(t, r.loaded(), "tftp snponly.efi")
	require.Empty(t, r.story.asked)
}
