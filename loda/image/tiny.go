package image

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/mkuimage/cpio"
	"github.com/ulikunitz/xz"

	"github.com/project-loda/loda/loda/image/fat"
)

// TinyOptions of [BuildTiny].
type TinyOptions struct {
	// Dir is where the image goes, Name its name. An image of that name is replaced.
	Dir  *Dir
	Name string
	// Kernel is a vmlinuz file; Modules are module files (.ko, or .ko.xz, .ko.gz, .ko.zst) that are loaded at start, in
	// any order; see [TinyModules].
	Kernel  string
	Modules []string
	// Init is the static binary of loda/image/tinyinit. Empty: built with the go command from this module's source.
	Init string
	// Progress gets one line per step. It may be nil.
	Progress func(line string)
}

// BuildTiny builds a test system that boots from its disk by BIOS and UEFI in seconds, reads loda.json of the seed
// and reports its first boot exactly as a real system does. It is for rehearsals and for tests of the rack. It needs
// grub-mkimage and the files of grub-pc-bin and grub-efi-amd64-bin.
func BuildTiny(ctx context.Context, o TinyOptions) (_ Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("build test image %q: %w", o.Name, err)
		}
	}()
	if err := CheckName(o.Name); err != nil {
		return Image{}, err
	}
	if o.Dir == nil {
		return Image{}, errors.New("no image directory given")
	}
	say := func(format string, args ...any) {
		if o.Progress != nil {
			o.Progress(fmt.Sprintf(format, args...))
		}
	}
	id, err := newIDs(o.Name)
	if err != nil {
		return Image{}, err
	}
	tmp, err := os.MkdirTemp("", "loda-tiny-")
	if err != nil {
		return Image{}, err
	}
	defer os.RemoveAll(tmp)
	if o.Init == "" {
		say("building tinyinit")
		o.Init = filepath.Join(tmp, "init")
		if err := buildTinyInit(ctx, o.Init); err != nil {
			return Image{}, err
		}
	}
	kernel, err := os.ReadFile(o.Kernel)
	if err != nil {
		return Image{}, err
	}
	say("packing %d modules", len(o.Modules))
	initramfs, err := tinyInitramfs(o)
	if err != nil {
		return Image{}, err
	}
	serial := id.number("esp-fs")
	loader, err := makeGRUB(ctx, tmp, earlyGRUB("--fs-uuid", fmt.Sprintf("%04X-%04X", serial>>16, serial&0xffff)), coreLBA)
	if err != nil {
		return Image{}, err
	}
	files := map[string][]byte{
		"EFI/BOOT/BOOTX64.EFI": loader.efi,
		"boot/grub/grub.cfg": []byte(`# Made by Loda: a test system.
set default=0
set timeout=0
menuentry "Loda test system" --id tiny {
	linux /vmlinuz console=tty0 console=ttyS0,115200 quiet panic=30
	initrd /initrd.img
}
`),
		"vmlinuz":    kernel,
		"initrd.img": initramfs,
	}
	size := int64(4 * mib)
	for _, content := range files {
		size += int64(len(content))
	}
	espSize := max((size+4*mib-1)/(4*mib)*(4*mib), 16*mib)
	f, err := os.Create(filepath.Join(tmp, "disk.img"))
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	if err := f.Truncate(mib + espSize + mib); err != nil {
		return Image{}, err
	}
	esp := fat.FS{Label: "TINY", Bytes: espSize, SectorSize: sector, Hidden: espLBA, Serial: serial, Time: id.time}
	if err := esp.Write(io.NewOffsetWriter(f, espLBA*sector), files); err != nil {
		return Image{}, err
	}
	if err := finishDisk(f, id, loader, espSize, 0); err != nil {
		return Image{}, err
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return Image{}, err
	}
	say("compressing")
	return o.Dir.store(ctx, Image{Name: o.Name, Created: id.time, Source: "test system, built by Loda", BIOS: true, UEFI: true}, f)
}

// buildTinyInit uses the source beside this file, or the module that the working directory is in.
func buildTinyInit(ctx context.Context, out string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, "github.com/project-loda/loda/loda/image/tinyinit")
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		if info, err := os.Stat(filepath.Dir(file)); err == nil && info.IsDir() {
			cmd.Dir = filepath.Dir(file)
		}
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64")
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build tinyinit (needs the go command and Loda's source, or give a built one): %w: %s", err, text)
	}
	return nil
}

func tinyInitramfs(o TinyOptions) ([]byte, error) {
	init, err := os.ReadFile(o.Init)
	if err != nil {
		return nil, err
	}
	records := []cpio.Record{
		cpio.Directory("dev", 0o755), cpio.Directory("proc", 0o755), cpio.Directory("sys", 0o755),
		cpio.Directory("modules", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.StaticFile("init", string(init), 0o755),
	}
	for i, name := range o.Modules {
		content, err := readModule(name)
		if err != nil {
			return nil, err
		}
		base, _, _ := strings.Cut(filepath.Base(name), ".ko")
		records = append(records, cpio.StaticFile(fmt.Sprintf("modules/%03d-%s.ko", i, base), string(content), 0o644))
	}
	cpio.MakeAllReproducible(records)
	var out bytes.Buffer
	z, err := zstd.NewWriter(&out, zstd.WithEncoderLevel(zstd.SpeedBetterCompression))
	if err != nil {
		return nil, err
	}
	w := cpio.Newc.Writer(z)
	for _, r := range records {
		if err := w.WriteRecord(r); err != nil {
			return nil, err
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// readModule returns a kernel module, unpacked.
func readModule(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var r io.Reader = f
	switch filepath.Ext(name) {
	case ".xz":
		r, err = xz.NewReader(f)
	case ".gz":
		r, err = gzip.NewReader(f)
	case ".zst":
		var d *zstd.Decoder
		if d, err = zstd.NewReader(f); err == nil {
			defer d.Close()
			r = d
		}
	}
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", name, err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", name, err)
	}
	if !bytes.HasPrefix(content, []byte("\x7fELF")) {
		return nil, fmt.Errorf("module %s is not an ELF file", name)
	}
	return content, nil
}

// tinyDrivers are for QEMU's disks and NICs.
var tinyDrivers = []string{"virtio_pci", "virtio_blk", "virtio_scsi", "virtio_net", "virtio_rng", "sd_mod", "ahci", "ata_piix",
	"nvme", "mptsas", "megaraid_sas", "e1000", "e1000e", "igb", "vmxnet3"}

var moduleDepends = regexp.MustCompile(`\x00depends=([^\x00]*)\x00`)

// TinyModules returns the files of drivers for QEMU's disks and NICs, or of the given modules, with all that they
// depend on, from a directory like /lib/modules/6.1.0-1-amd64. Without names, what the kernel does not have as a module
// is left out.
func TinyModules(dir string, names ...string) ([]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if base, rest, ok := strings.Cut(d.Name(), ".ko"); err == nil && ok && (rest == "" || rest[0] == '.') {
			files[strings.ReplaceAll(base, "-", "_")] = path
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("modules: %w", err)
	}
	optional := len(names) == 0
	if optional {
		names = tinyDrivers
	}
	var out []string
	var add func(name string, needed bool) error
	add = func(name string, needed bool) error {
		file, ok := files[strings.ReplaceAll(name, "-", "_")]
		switch {
		case !ok && needed:
			return fmt.Errorf("no module %s below %s", name, dir)
		case !ok || slices.Contains(out, file):
			return nil
		}
		content, err := readModule(file)
		if err != nil {
			return err
		}
		if m := moduleDepends.FindSubmatch(content); m != nil && len(m[1]) > 0 {
			for dep := range strings.SplitSeq(string(m[1]), ",") {
				if err := add(dep, true); err != nil {
					return err
				}
			}
		}
		out = append(out, file)
		return nil
	}
	for _, name := range names {
		if err := add(name, !optional); err != nil {
			return nil, err
		}
	}
	return out, nil
}
