package image

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
)

// DebianOptions of [BuildDebian]; the zero value with Dir and Name set builds a Debian 12.
type DebianOptions struct {
	// Dir is where the image goes, Name its name. An image of that name is replaced.
	Dir  *Dir
	Name string
	// Suite is the Debian release. Default bookworm.
	Suite string
	// Mirrors are one-line apt sources ("deb http://MIRROR/debian bookworm main"). Default: those of the host that
	// name Debian's own archive.
	Mirrors []string
	// KernelPackage is linux-image-amd64 by default; linux-image-cloud-amd64 is smaller and only for virtual machines
	// (virtio, nvme; no ahci, no e1000).
	KernelPackage string
	// Packages to install besides.
	Packages []string
	// SSH installs openssh-server; host keys are made at first boot.
	SSH bool
	// RootBytes is the size of the root file system in the image, which grows at first boot. Default: what is used
	// and some room.
	RootBytes int64
	// Progress gets one line per step. It may be nil.
	Progress func(line string)
}

const espBytes = 64 * mib

// basePackages make a server that boots, gets an address, a name and its disk's size, and can be logged into.
var basePackages = []string{
	"systemd-sysv", "systemd-resolved", "systemd-timesyncd", "udev", "dbus", "libpam-systemd", "kmod", "iproute2", "netbase",
	"netplan.io", "cloud-init", "cloud-guest-utils", "e2fsprogs", "dosfstools", "fdisk", "ca-certificates", "zstd", "sudo",
	"less", "nano", "procps", "iputils-ping", "mdadm",
}

// mdadmConf is there before mdadm's package, which would otherwise write the arrays of the host that builds the image
// into it. With a line that begins with ARRAY, mdadm's hook also takes it into the initramfs as it is.
const mdadmConf = `# Arrays are found on the drives, whatever machine made them.
DEVICE partitions containers
HOMEHOST <system>
AUTO +all
MAILADDR root
# None. With a line like this the initramfs gets this file unchanged.
ARRAY <ignore> UUID=00000000:00000000:00000000:00000000
`

// mdModulesHook runs after mdadm's hook in /usr/share, which makes the initramfs load every level at each boot, whether
// there are arrays or not. The kernel asks for the level that it needs by itself, and measuring the ways to compute
// RAID 6 takes a second and more on a slow machine. A mirror that lacks a disk is started by mdadm's own script after 20
// rounds of waiting.
const mdModulesHook = `#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
sed -i -E '/^(linear|multipath|raid[0-9]+)$/d' "$DESTDIR/conf/modules"
force_load md_mod
# Its scripts call it, and find none where busybox is not installed.
copy_exec /bin/rm /bin
`

// BuildDebian builds a Debian that boots by BIOS and UEFI, with cloud-init (NoCloud), from Debian packages by
// mmdebstrap. It needs root, mmdebstrap, mke2fs, mkfs.vfat, mcopy, grub-mkimage and the files of grub-pc-bin and
// grub-efi-amd64-bin; no loop devices and no mounts. With SOURCE_DATE_EPOCH set, the numbers and times that are made
// here repeat; packages are as reproducible as Debian's are.
//
// The image also runs from a mirror of the kernel's RAID that is made of whole disks (metadata 1.0, see package mdadm),
// and starts without one of them, twenty rounds of waiting later. The firmware reads GRUB, and GRUB the kernel, from one
// disk alone: the two are equal, as long as neither has been left out of the array and put back without it.
func BuildDebian(ctx context.Context, o DebianOptions) (_ Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build Debian image %q: %w", o.Name, err)
		}
	}()
	if err := CheckName(o.Name); err != nil {
		return Image{}, err
	}
	if o.Dir == nil {
		return Image{}, errors.New("no image directory given")
	}
	if os.Geteuid() != 0 {
		return Image{}, errors.New("needs root, to own the files of the new system")
	}
	for _, program := range []string{"mmdebstrap", "mke2fs", "mkfs.vfat", "mcopy", "grub-mkimage"} {
		if _, err := exec.LookPath(program); err != nil {
			return Image{}, fmt.Errorf("needs %s: apt-get install mmdebstrap e2fsprogs dosfstools mtools grub-common "+
				"grub-pc-bin grub-efi-amd64-bin", program)
		}
	}
	if o.Suite == "" {
		o.Suite = "bookworm"
	}
	if o.KernelPackage == "" {
		o.KernelPackage = "linux-image-amd64"
	}
	if len(o.Mirrors) == 0 {
		if o.Mirrors = hostMirrors("/etc/apt", o.Suite); o.Mirrors == nil {
			return Image{}, fmt.Errorf("build image %q: this host's apt sources (/etc/apt) name no archive of Debian %s: give its "+
				"mirrors, one-line sources such as `deb http://MIRROR/debian %s main`", o.Name, o.Suite, o.Suite)
		}
	}
	id, err := newIDs(o.Name)
	if err != nil {
		return Image{}, err
	}
	tmp, err := os.MkdirTemp("", "loda-debian-")
	if err != nil {
		return Image{}, err
	}
	defer os.RemoveAll(tmp)
	b := &debianBuild{DebianOptions: o, id: id, tmp: tmp, root: filepath.Join(tmp, "root")}
	return b.run(ctx)
}

type debianBuild struct {
	DebianOptions
	id   ids
	tmp  string
	root string
}

func (b *debianBuild) say(format string, args ...any) {
	if b.Progress != nil {
		b.Progress(fmt.Sprintf(format, args...))
	}
}

func (b *debianBuild) run(ctx context.Context) (Image, error) {
	b.say("installing %s with %s from %s", b.Suite, b.KernelPackage, strings.Join(b.Mirrors, ", "))
	if err := b.bootstrap(ctx); err != nil {
		return Image{}, err
	}
	b.say("configuring")
	rootUUID := b.id.guid("root-fs").String()
	espSerial := b.id.number("esp-fs")
	if err := b.configure(rootUUID, espSerial); err != nil {
		return Image{}, err
	}
	used, err := diskUsage(b.root)
	if err != nil {
		return Image{}, err
	}
	rootBytes := b.RootBytes
	if rootBytes == 0 {
		// Journal, inode tables, and room for the first boot before the file system has grown.
		rootBytes = used + used/5 + 256*mib
	}
	rootBytes = (rootBytes + 4*mib - 1) / (4 * mib) * (4 * mib)
	if rootBytes < used+used/10 {
		return Image{}, fmt.Errorf("root file system of %d MiB is too small for %d MiB of files", rootBytes/mib, used/mib)
	}

	b.say("making file systems: %d MiB of files in %d MiB", used/mib, rootBytes/mib)
	path := filepath.Join(b.tmp, "disk.img")
	f, err := os.Create(path)
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	if err := f.Truncate(mib + espBytes + rootBytes + mib); err != nil {
		return Image{}, err
	}
	loader, err := makeGRUB(ctx, b.tmp, earlyGRUB("--fs-uuid", rootUUID), coreLBA)
	if err != nil {
		return Image{}, err
	}
	if err := b.esp(ctx, f, loader, espSerial); err != nil {
		return Image{}, err
	}
	if err := b.ext4(ctx, path, rootUUID, rootBytes); err != nil {
		return Image{}, err
	}
	if err := finishDisk(f, b.id, loader, espBytes, rootBytes); err != nil {
		return Image{}, err
	}
	if err := os.RemoveAll(b.root); err != nil {
		return Image{}, err
	}

	b.say("compressing")
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Image{}, err
	}
	img, err := b.Dir.store(ctx, Image{Name: b.Name, Created: b.id.time, BIOS: true, UEFI: true, BuiltinDHCP: true,
		Source: fmt.Sprintf("Debian %s, %s, built by Loda", b.Suite, b.KernelPackage)}, f)
	if err != nil {
		return Image{}, err
	}
	b.say("done: %s, %d MiB, %d MiB unpacked", b.Dir.File(img), img.Bytes/mib, img.RawBytes/mib)
	return img, nil
}

// earlyGRUB is the configuration inside of GRUB: find the partition, go on there.
func earlyGRUB(how, what string) string {
	return fmt.Sprintf("search --no-floppy %s --set=root %s\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg\n"+
		"echo \"Loda: no grub.cfg on the disk\"\nsleep 30\n", how, what)
}

// bootstrap installs the packages.
func (b *debianBuild) bootstrap(ctx context.Context) error {
	packages := append(slices.Clone(basePackages), b.KernelPackage)
	if b.SSH {
		packages = append(packages, "openssh-server")
	}
	packages = append(packages, b.Packages...)
	// What packages must find when they are installed, as the initramfs is made then.
	early := filepath.Join(b.tmp, "early")
	for name, content := range map[string]string{
		// Drivers for any machine, and quick to unpack.
		"etc/initramfs-tools/conf.d/loda":   "MODULES=most\nCOMPRESS=zstd\nCOMPRESSLEVEL=3\nRESUME=none\n",
		"etc/initramfs-tools/hooks/loda-md": mdModulesHook,
		"etc/mdadm/mdadm.conf":              mdadmConf,
	} {
		file := filepath.Join(early, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			return err
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(file, []byte(content), mode); err != nil {
			return err
		}
	}
	args := []string{
		"--variant=minbase", "--mode=root", "--format=directory",
		"--include=" + strings.Join(packages, ","),
		"--aptopt=Acquire::Languages \"none\"", "--aptopt=APT::Install-Recommends \"false\"",
		"--dpkgopt=force-unsafe-io",
		// Applied by dpkg in the installed system as well.
		"--dpkgopt=path-exclude=/usr/share/doc/*", "--dpkgopt=path-include=/usr/share/doc/*/copyright",
		"--dpkgopt=path-exclude=/usr/share/man/*", "--dpkgopt=path-exclude=/usr/share/info/*",
		"--dpkgopt=path-exclude=/usr/share/lintian/*", "--dpkgopt=path-exclude=/usr/share/locale/*",
		"--essential-hook=cp -R --no-preserve=ownership '" + early + "/.' \"$1\"",
		"--customize-hook=chroot \"$1\" systemctl enable systemd-networkd systemd-resolved systemd-timesyncd",
		b.Suite, b.root,
	}
	args = append(args, b.Mirrors...)
	cmd := exec.CommandContext(ctx, "mmdebstrap", args...)
	// mmdebstrap unmounts and removes what it made when it is interrupted.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGINT) }
	cmd.WaitDelay = 30 * time.Second
	cmd.Env = append(os.Environ(), "TMPDIR="+b.tmp, "LC_ALL=C.UTF-8", "DEBIAN_FRONTEND=noninteractive")
	// SOURCE_DATE_EPOCH is passed on only where it is asked for: with it, Python's compiled files are checked by the
	// source's hash at every start, and cloud-init starts four times.
	pipe, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var tail []string
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		line := lines.Text()
		if text, ok := strings.CutPrefix(line, "I: "); ok && !strings.HasPrefix(text, "running") {
			b.say("mmdebstrap: %s", text)
		}
		if tail = append(tail, line); len(tail) > 25 {
			tail = tail[1:]
		}
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("mmdebstrap: %w: it said last:\n%s", err, strings.Join(tail, "\n"))
	}
	return nil
}

// maskedUnits are not for a freshly installed server: they need the network, or time, when nobody expects it.
var maskedUnits = []string{
	"apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer", "e2scrub_all.timer", "e2scrub_reap.service",
	"systemd-firstboot.service", "systemd-pstore.service",
}

// configure makes the tree the root of a machine that has not booted yet.
func (b *debianBuild) configure(rootUUID string, espSerial uint32) error {
	root, err := os.OpenRoot(b.root)
	if err != nil {
		return err
	}
	defer root.Close()
	kernel, err := fs.Glob(root.FS(), "boot/vmlinuz-*")
	if err != nil || len(kernel) != 1 {
		return fmt.Errorf("the packages brought %d kernels, expected one: %v", len(kernel), kernel)
	}
	config := maps.Clone(cloudConfig)
	if !b.SSH {
		config["ssh_genkeytypes"] = []string{}
	}
	cloud, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	files := map[string]string{
		"etc/fstab": fmt.Sprintf("UUID=%s / ext4 errors=remount-ro 0 1\n# GRUB, for UEFI; nothing on it changes.\n"+
			"UUID=%04X-%04X /boot/efi vfat umask=0077,noauto 0 0\n", rootUUID, espSerial>>16, espSerial&0xffff),
		"etc/hostname": "localhost\n",
		"etc/hosts":    "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n",
		// Empty: made at first boot (machine-id(5)).
		"etc/machine-id": "",
		// Written by nobody: kernel packages keep /vmlinuz and /initrd.img pointing to the newest kernel.
		"boot/grub/grub.cfg": grubConfig(rootUUID),
		"etc/cloud/cloud.cfg.d/90_loda.cfg": "# Loda's image: data come from the seed on this disk, never from a network " +
			"service.\n" + string(cloud),
		// One cable is enough to be online, and a machine without any still boots.
		"etc/systemd/system/systemd-networkd-wait-online.service.d/loda.conf": "[Service]\nExecStart=\n" +
			"ExecStart=/lib/systemd/systemd-networkd-wait-online --any --timeout=60\n",
		// For seeds that leave the network to the image; any other configuration comes before it. The client identifier
		// is the MAC address, as before in firmware and bootOS: the same address again.
		"etc/systemd/network/90-loda-dhcp.network": "[Match]\nName=e*\nType=ether\n\n[Network]\nDHCP=yes\n\n" +
			"[DHCPv4]\nClientIdentifier=mac\n",
		"etc/systemd/journald.conf.d/loda.conf": "[Journal]\nSystemMaxUse=200M\n",
		"etc/modprobe.d/loda.conf":              "# No floppy drive: probing for one takes seconds.\nblacklist floppy\n",
	}
	for name, content := range files {
		if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		root.Remove(name) // may be a link
		if err := root.WriteFile(name, []byte(content), 0o644); err != nil {
			return err
		}
	}
	for _, unit := range maskedUnits {
		name := "etc/systemd/system/" + unit
		root.Remove(name)
		if err := root.Symlink("/dev/null", name); err != nil {
			return err
		}
	}
	// systemd-resolved's stub; a chroot may have left a copy of the host's.
	root.Remove("etc/resolv.conf")
	if err := root.Symlink("../run/systemd/resolve/stub-resolv.conf", "etc/resolv.conf"); err != nil {
		return err
	}
	// What must differ between machines, or is only in the way.
	keys, _ := fs.Glob(root.FS(), "etc/ssh/ssh_host_*")
	for _, name := range append(keys, "var/lib/dbus/machine-id", "var/lib/systemd/random-seed", "etc/.pwd.lock") {
		root.Remove(name)
	}
	for _, dir := range []string{"var/cache/apt", "var/lib/apt/lists", "tmp", "var/tmp", "run", "var/log/apt"} {
		entries, _ := fs.ReadDir(root.FS(), dir)
		for _, e := range entries {
			if err := root.RemoveAll(dir + "/" + e.Name()); err != nil {
				return err
			}
		}
	}
	for _, dir := range []string{"boot/efi", "var/cache/apt/archives/partial", "var/lib/apt/lists/partial"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	for _, link := range []string{"vmlinuz", "initrd.img"} {
		if _, err := root.Stat(link); err != nil {
			return fmt.Errorf("/%s does not point to the kernel: %w", link, err)
		}
	}
	return nil
}

// cloudConfig is baked into the image. Only the seed is looked for: probing for clouds takes half a minute, and a
// server must not take orders from whoever answers on 169.254.169.254. The lists of modules leave out what is for
// clouds and other distributions; each costs a second of Python on a slow machine.
var cloudConfig = map[string]any{
	"datasource_list": []string{"NoCloud", "None"},
	"cloud_init_modules": []string{"seed_random", "bootcmd", "write-files", "growpart", "resizefs", "disk_setup", "mounts",
		"set_hostname", "update_hostname", "update_etc_hosts", "ca-certs", "users-groups", "ssh"},
	// No "locale": it fails without the package locales, and C.UTF-8 is there without it.
	"cloud_config_modules": []string{"keyboard", "set-passwords", "apt-configure", "ntp", "timezone", "runcmd"},
	"cloud_final_modules": []string{"package-update-upgrade-install", "write-files-deferred", "scripts-vendor",
		"scripts-per-once", "scripts-per-boot", "scripts-per-instance", "scripts-user", "ssh-authkey-fingerprints",
		"phone-home", "final-message", "power-state-change"},
	// An RSA key takes long to find on a slow machine, and nothing of the last ten years needs one.
	"ssh_genkeytypes": []string{"ed25519", "ecdsa"},
	"system_info":     map[string]any{"network": map[string]any{"renderers": []string{"netplan", "networkd"}}},
}

// grubConfig boots the newest kernel, or the one before. Its root is the link that udev makes, and no UUID that the
// initramfs would look for by itself: on a mirror that is made of whole disks the file system can be seen on each disk,
// until the array is assembled. Udev handles a partition after its disk, and on the disk it assembles the array, which
// takes the partitions of the disk away. So the link never leads to one half.
func grubConfig(rootUUID string) string {
	entry := func(title, id, suffix string) string {
		return fmt.Sprintf(`menuentry "%s" --id %s {
	search --no-floppy --fs-uuid --set=root %s
	linux /vmlinuz%s root=/dev/disk/by-uuid/%s ro net.ifnames=1 console=tty0 console=ttyS0,115200
	initrd /initrd.img%s
}
`, title, id, rootUUID, suffix, rootUUID, suffix)
	}
	return `# Made by Loda. The links /vmlinuz and /initrd.img follow the installed kernel packages.
set default=debian
set timeout=1
serial --unit=0 --speed=115200
terminal_input console serial
terminal_output console serial
` + entry("Debian GNU/Linux", "debian", "") + entry("Debian GNU/Linux, previous kernel", "previous", ".old")
}

// esp makes the EFI system partition: FAT32, as every firmware expects it on a disk.
func (b *debianBuild) esp(ctx context.Context, disk *os.File, loader *bootLoader, serial uint32) error {
	path := filepath.Join(b.tmp, "esp.img")
	efi := filepath.Join(b.tmp, "BOOTX64.EFI")
	if err := os.WriteFile(efi, loader.efi, 0o644); err != nil {
		return err
	}
	if err := os.Chtimes(efi, b.id.time, b.id.time); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"mkfs.vfat", "-C", "-F", "32", "-n", "EFI", "-i", fmt.Sprintf("%08x", serial), "-h", fmt.Sprint(espLBA), "--invariant",
			path, fmt.Sprint(espBytes / 1024)},
		{"mmd", "-i", path, "::EFI", "::EFI/BOOT"},
		{"mcopy", "-m", "-i", path, efi, "::EFI/BOOT/BOOTX64.EFI"},
	} {
		if err := b.command(ctx, args...); err != nil {
			return err
		}
	}
	esp, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	_, err = disk.WriteAt(esp, espLBA*sector)
	return err
}

// ext4 makes the root file system inside of the disk's file.
func (b *debianBuild) ext4(ctx context.Context, disk, uuid string, bytes int64) error {
	return b.command(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-L", "root", "-U", uuid,
		// GRUB 2.06 knows neither of these.
		"-O", "^orphan_file,^metadata_csum_seed",
		"-E", fmt.Sprintf("offset=%d,hash_seed=%s,lazy_itable_init=1,lazy_journal_init=1,nodiscard", mib+espBytes, uuid),
		"-d", b.root, disk, fmt.Sprintf("%dk", bytes/1024))
}

func (b *debianBuild) command(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	epoch := fmt.Sprint(b.id.time.Unix())
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MTOOLS_SKIP_CHECK=1", "SOURCE_DATE_EPOCH="+epoch, "E2FSPROGS_FAKE_TIME="+epoch)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// diskUsage is what the files take in blocks of 4 KiB, hard links once.
func diskUsage(root string) (int64, error) {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var sum int64
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if st, ok := info.Sys().(*syscall.Stat_t); ok && !d.IsDir() && st.Nlink > 1 {
			key := inode{st.Dev, st.Ino}
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		sum += 4096
		if info.Mode().IsRegular() {
			sum += (info.Size() + 4095) / 4096 * 4096
		}
		return nil
	})
	return sum, err
}

// hostMirrors returns the host's sources of Debian packages for the suite, its updates and its security fixes, as
// one-line sources; nil if it has none for the suite. Others (a vendor's repository) have no place in an image.
func hostMirrors(etcApt, suite string) []string {
	var out []string
	add := func(uri string, suites []string) {
		for _, s := range suites {
			ours := s == suite || s == suite+"-updates" || s == suite+"-security"
			line := fmt.Sprintf("deb %s %s main", uri, s)
			if ours && debianURI.MatchString(uri) && !slices.Contains(out, line) {
				out = append(out, line)
			}
		}
	}
	lists, _ := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*.list"))
	for _, name := range append([]string{filepath.Join(etcApt, "sources.list")}, lists...) {
		text, _ := os.ReadFile(name)
		for line := range strings.Lines(string(text)) {
			line = aptOptions.ReplaceAllString(line, " ")
			if f := strings.Fields(line); len(f) > 3 && f[0] == "deb" {
				add(f[1], f[2:3])
			}
		}
	}
	// deb822, sources.list(5).
	files, _ := filepath.Glob(filepath.Join(etcApt, "sources.list.d", "*.sources"))
	for _, name := range files {
		text, _ := os.ReadFile(name)
		for stanza := range strings.SplitSeq(string(text), "\n\n") {
			fields := map[string][]string{}
			for line := range strings.Lines(stanza) {
				if key, value, ok := strings.Cut(line, ":"); ok && !strings.HasPrefix(line, "#") {
					fields[strings.ToLower(key)] = strings.Fields(value)
				}
			}
			if enabled := fields["enabled"]; len(enabled) > 0 && strings.EqualFold(enabled[0], "no") {
				continue
			}
			if slices.Contains(fields["types"], "deb") {
				for _, uri := range fields["uris"] {
					add(uri, fields["suites"])
				}
			}
		}
	}
	if !slices.ContainsFunc(out, func(s string) bool { return strings.Contains(s, " "+suite+" ") }) {
		return nil
	}
	return out
}

var (
	debianURI  = regexp.MustCompile(`/debian(-security)?/?$`)
	aptOptions = regexp.MustCompile(`\s\[[^\]]*\]\s`)
)
