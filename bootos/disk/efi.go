package disk

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/image/fat"
	"github.com/project-loda/loda/loda/image/gpt"
)

// EFIVars is where efivarfs is mounted.
const EFIVars = "/sys/firmware/efi/efivars"

// BootOptions of [SetBootEntry].
type BootOptions struct {
	// Device is the disk with the EFI system partition.
	Device string
	// Label names the entry, such as "Loda". Entries with the same label are replaced.
	Label string
	// Vars is where efivarfs is mounted. Default [EFIVars].
	Vars string
	// SectorSize of a regular file's disk, as in [Options].
	SectorSize int
}

// BootEntry is what [SetBootEntry] made.
type BootEntry struct {
	// Number of the variable Boot####.
	Number uint16
	// Loader is the path on the EFI system partition, with backslashes.
	Loader string
	// Order is the boot order now, the entry first.
	Order []uint16
}

// SetBootEntry makes a UEFI boot entry for the loader on the device's EFI system partition and puts it first in the
// boot order, so that the firmware does not wander through PXE again. Older entries with the same label are removed;
// all others keep their order. At every moment the boot order names only entries that exist. It returns [ErrNoEFI]
// where there is no UEFI, and [ErrNoGPT].
func SetBootEntry(o BootOptions) (BootEntry, error) {
	e, err := setBootEntry(o)
	if err != nil {
		return e, fmt.Errorf("UEFI boot entry for %s: %w", o.Device, err)
	}
	return e, nil
}

func setBootEntry(o BootOptions) (BootEntry, error) {
	if o.Vars == "" {
		o.Vars = EFIVars
	}
	if o.Label == "" || strings.ContainsRune(o.Label, 0) {
		return BootEntry{}, fmt.Errorf("label %q is empty or has a NUL", o.Label)
	}
	vars := efiVars(o.Vars)
	names, err := vars.list()
	if err != nil {
		return BootEntry{}, err
	}
	part, loader, err := findLoader(o.Device, o.SectorSize)
	if err != nil {
		return BootEntry{}, err
	}
	want := loadOption{
		Attributes:  loadOptionActive,
		Description: o.Label,
		Path: encodeDevicePath(hardDrive{Number: uint32(part.Number), Start: part.First, Size: part.Last - part.First + 1,
			ID: part.ID}, loader),
	}

	taken := map[uint16]bool{}
	var ours []uint16
	for _, n := range names {
		taken[n] = true
		data, err := vars.read(bootName(n))
		if err != nil {
			return BootEntry{}, err
		}
		// What cannot be read is not ours.
		if old, err := parseLoadOption(data); err == nil && old.Description == o.Label {
			ours = append(ours, n)
		}
	}
	slices.Sort(ours)
	e := BootEntry{Loader: loader}
	if len(ours) > 0 {
		e.Number = ours[0]
	} else {
		for taken[e.Number] {
			if e.Number++; e.Number == 0 {
				return e, errors.New("all 65536 boot entries are taken")
			}
		}
	}
	if err := vars.write(bootName(e.Number), want.encode()); err != nil {
		return e, err
	}
	old, err := vars.read("BootOrder")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return e, err
	}
	e.Order = []uint16{e.Number}
	for i := 0; i+1 < len(old); i += 2 {
		n := binary.LittleEndian.Uint16(old[i:])
		if !slices.Contains(e.Order, n) && !slices.Contains(ours, n) {
			e.Order = append(e.Order, n)
		}
	}
	order := make([]byte, 2*len(e.Order))
	for i, n := range e.Order {
		binary.LittleEndian.PutUint16(order[2*i:], n)
	}
	if err := vars.write("BootOrder", order); err != nil {
		return e, err
	}
	for _, n := range ours {
		if n != e.Number {
			if err := vars.remove(bootName(n)); err != nil {
				return e, err
			}
		}
	}
	return e, nil
}

// findLoader looks into the EFI system partition for what to start.
func findLoader(device string, sectorSize int) (gpt.Partition, string, error) {
	f, err := os.Open(device)
	if err != nil {
		return gpt.Partition{}, "", err
	}
	defer f.Close()
	table, err := readTable(f, sectorSize)
	if err != nil {
		return gpt.Partition{}, "", err
	}
	var problems []error
	for _, p := range table.Partitions {
		if p.Type != gpt.TypeESP {
			continue
		}
		at := int64(p.First) * int64(table.SectorSize)
		r, err := fat.NewReader(io.NewSectionReader(f, at, int64(p.Last-p.First+1)*int64(table.SectorSize)))
		if err == nil {
			var loader string
			if loader, err = chooseLoader(r); err == nil {
				return p, loader, nil
			}
		}
		problems = append(problems, fmt.Errorf("partition %d: %w", p.Number, err))
	}
	if problems == nil {
		return gpt.Partition{}, "", errors.New("the disk has no EFI system partition: the image does not boot by UEFI")
	}
	return gpt.Partition{}, "", errors.Join(problems...)
}

// readTable reads the table of a device or file.
func readTable(f *os.File, sectorSize int) (*gpt.Table, error) {
	if n, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET); err == nil {
		sectorSize = n
	}
	if sectorSize == 0 {
		sectorSize = 512
	}
	table, err := gpt.Read(f, sectorSize)
	if errors.Is(err, gpt.ErrNone) {
		return nil, ErrNoGPT
	}
	return table, err
}

// chooseLoader prefers a distribution's own directory, a shim first (Secure Boot): the loader in EFI/BOOT may be a
// fallback program that makes a boot entry of its own and starts the machine anew.
func chooseLoader(r *fat.Reader) (string, error) {
	suffix := map[string]string{"amd64": "x64", "arm64": "aa64", "386": "ia32", "riscv64": "riscv64"}[runtime.GOARCH]
	entries, err := r.ReadDir("EFI")
	if err != nil {
		return "", err
	}
	slices.SortFunc(entries, func(a, b fat.Entry) int { return strings.Compare(a.Name, b.Name) })
	for _, loader := range []string{"shim" + suffix + ".efi", "grub" + suffix + ".efi", "systemd-boot" + suffix + ".efi"} {
		for _, dir := range entries {
			if !dir.Dir || strings.EqualFold(dir.Name, "BOOT") {
				continue
			}
			files, err := r.ReadDir("EFI/" + dir.Name)
			if err != nil {
				return "", err
			}
			for _, f := range files {
				if !f.Dir && strings.EqualFold(f.Name, loader) {
					return `\EFI\` + dir.Name + `\` + f.Name, nil
				}
			}
		}
	}
	files, err := r.ReadDir("EFI/BOOT")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, f := range files {
		if !f.Dir && strings.EqualFold(f.Name, "boot"+suffix+".efi") {
			return `\EFI\BOOT\` + f.Name, nil
		}
	}
	return "", fmt.Errorf("no boot loader for %s in its directory EFI", suffix)
}

// loadOption is EFI_LOAD_OPTION, UEFI 2.10 section 3.1.3.
type loadOption struct {
	Attributes  uint32
	Description string
	Path        []byte // packed device paths
	Optional    []byte
}

const loadOptionActive = 1

func (l loadOption) encode() []byte {
	le := binary.LittleEndian
	out := le.AppendUint32(nil, l.Attributes)
	out = le.AppendUint16(out, uint16(len(l.Path)))
	out = append(out, ucs2(l.Description)...)
	out = append(out, l.Path...)
	return append(out, l.Optional...)
}

func parseLoadOption(b []byte) (loadOption, error) {
	le := binary.LittleEndian
	if len(b) < 8 {
		return loadOption{}, fmt.Errorf("boot entry of %d bytes is too short", len(b))
	}
	l := loadOption{Attributes: le.Uint32(b)}
	pathBytes := int(le.Uint16(b[4:]))
	b = b[6:]
	var units []uint16
	for {
		if len(b) < 2 {
			return loadOption{}, errors.New("boot entry's description has no end")
		}
		u := le.Uint16(b)
		b = b[2:]
		if u == 0 {
			break
		}
		units = append(units, u)
	}
	if len(b) < pathBytes {
		return loadOption{}, fmt.Errorf("boot entry's device path of %d bytes is cut after %d", pathBytes, len(b))
	}
	l.Description = string(utf16.Decode(units))
	l.Path, l.Optional = b[:pathBytes:pathBytes], b[pathBytes:]
	return l, nil
}

// hardDrive is the hard drive media device path, UEFI 2.10 section 10.3.5.1, of a GPT partition.
type hardDrive struct {
	Number      uint32
	Start, Size uint64
	ID          gpt.GUID
}

// encodeDevicePath is the short form HD(…)/File(…), which the firmware completes with whatever controller the disk
// hangs on (section 3.1.2).
func encodeDevicePath(hd hardDrive, file string) []byte {
	const (
		media, hdNode, fileNode = 4, 1, 4
		formatGPT, signGUID     = 2, 2
	)
	le := binary.LittleEndian
	out := []byte{media, hdNode, 42, 0}
	out = le.AppendUint32(out, hd.Number)
	out = le.AppendUint64(out, hd.Start)
	out = le.AppendUint64(out, hd.Size)
	out = append(out, hd.ID[:]...)
	out = append(out, formatGPT, signGUID)
	name := ucs2(file)
	out = append(out, media, fileNode)
	out = le.AppendUint16(out, uint16(4+len(name)))
	out = append(out, name...)
	return append(out, 0x7F, 0xFF, 4, 0)
}

// ucs2 is a zero-terminated string as UEFI wants it.
func ucs2(s string) []byte {
	var out []byte
	for _, u := range append(utf16.Encode([]rune(s)), 0) {
		out = binary.LittleEndian.AppendUint16(out, u)
	}
	return out
}

// efiVars is a directory of variables: NAME-GUID, four bytes of attributes and the data
// (Documentation/filesystems/efivarfs.rst).
type efiVars string

const (
	globalVariable = "-8be4df61-93ca-11d2-aa0d-00e098032b8c"
	// varAttributes: non-volatile, boot service access, runtime access.
	varAttributes = 7
	efivarfsMagic = 0xde5e81e4
	// immutableFlag is FS_IMMUTABLE_FL of linux/fs.h.
	immutableFlag = 0x10
)

var bootVariable = regexp.MustCompile(`^Boot([0-9A-F]{4})` + globalVariable + `$`)

func bootName(n uint16) string { return fmt.Sprintf("Boot%04X", n) }

func (v efiVars) path(name string) string { return filepath.Join(string(v), name+globalVariable) }

// list returns the numbers of all Boot#### variables.
func (v efiVars) list() ([]uint16, error) {
	entries, err := os.ReadDir(string(v))
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(entries) == 0 {
		// An efivarfs is never empty; an empty directory is where it should have been mounted.
		return nil, ErrNoEFI
	}
	if err != nil {
		return nil, err
	}
	var out []uint16
	for _, e := range entries {
		if m := bootVariable.FindStringSubmatch(e.Name()); m != nil {
			n, _ := strconv.ParseUint(m[1], 16, 16)
			out = append(out, uint16(n))
		}
	}
	return out, nil
}

func (v efiVars) read(name string) ([]byte, error) {
	data, err := os.ReadFile(v.path(name))
	if err != nil {
		return nil, err
	}
	if len(data) < 4 {
		return nil, fmt.Errorf("variable %s has %d bytes", name, len(data))
	}
	return data[4:], nil
}

// write replaces a variable with one write(2), as efivarfs wants it, and reads it back: some firmware says yes and
// does nothing when its memory is full.
func (v efiVars) write(name string, data []byte) error {
	path := v.path(name)
	if err := v.mutable(path); err != nil {
		return err
	}
	content := append([]byte{varAttributes, 0, 0, 0}, data...)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("variable %s: %w", name, err)
	}
	_, err = f.Write(content)
	var st unix.Statfs_t
	if err == nil && unix.Fstatfs(int(f.Fd()), &st) == nil && int64(st.Type) != efivarfsMagic {
		err = f.Truncate(int64(len(content)))
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("write variable %s: %w", name, err)
	}
	got, err := v.read(name)
	if err != nil {
		return fmt.Errorf("read back variable %s: %w", name, err)
	}
	if !slices.Equal(got, data) {
		return fmt.Errorf("the firmware did not keep variable %s: its memory may be full, or locked in its settings", name)
	}
	return nil
}

func (v efiVars) remove(name string) error {
	path := v.path(name)
	if err := v.mutable(path); err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove variable %s: %w", name, err)
	}
	return nil
}

// mutable takes away the flag with which efivarfs guards against rm -rf.
func (v efiVars) mutable(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil || flags&immutableFlag == 0 {
		return nil // a file system without flags
	}
	if err := unix.IoctlSetPointerInt(int(f.Fd()), unix.FS_IOC_SETFLAGS, flags&^immutableFlag); err != nil {
		return fmt.Errorf("make %s writable: %w", path, err)
	}
	return nil
}
