package disk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/image/fat"
	"github.com/project-loda/loda/loda/image/gpt"
)

// Kernel is what the installed system would boot.
type Kernel struct {
	// Image and Initrd are the files' contents; Initrd may be empty.
	Image, Initrd []byte
	// Cmdline is the command line.
	Cmdline string
	// Found says where it was found, for people: "/dev/vda partition 3: /boot/grub/grub.cfg: Debian GNU/Linux".
	Found string
}

// ErrNoKernel says that no boot loader configuration on the disk leads to a kernel; the machine can still be rebooted.
var ErrNoKernel = errors.New("no kernel found for kexec")

// fileSystem is one partition, mounted or not.
type fileSystem interface {
	// ReadFile follows links inside the file system only.
	ReadFile(name string, limit int64) ([]byte, error)
	// List returns the names in a directory.
	List(dir string) ([]string, error)
}

const (
	maxKernelBytes = 256 << 20
	maxInitrdBytes = 1 << 30
	maxConfigBytes = 1 << 20
)

// FindKernel reads what the boot loader's default entry names: boot loader specification entries, or grub.cfg. FAT
// partitions are read directly, others are mounted read-only one at a time without replaying their journals.
func FindKernel(ctx context.Context, device string) (*Kernel, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, fmt.Errorf("find kernel: %w", err)
	}
	defer f.Close()
	table, err := readTable(f, 0)
	if err != nil {
		return nil, fmt.Errorf("find kernel on %s: %w", device, err)
	}
	var systems []fileSystem
	var where []string
	var problems []error
	for _, p := range table.Partitions {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		name := fmt.Sprintf("%s partition %d", device, p.Number)
		if p.Type == gpt.TypeBIOSBoot || p.Name == SeedLabel {
			continue
		}
		at, size := int64(p.First)*int64(table.SectorSize), int64(p.Last-p.First+1)*int64(table.SectorSize)
		if r, err := fat.NewReader(io.NewSectionReader(f, at, size)); err == nil {
			systems, where = append(systems, fatSystem{r}), append(where, name)
			continue
		}
		m, err := mountPartition(f, p.Number)
		if err != nil {
			problems = append(problems, fmt.Errorf("partition %d: %w", p.Number, err))
			continue
		}
		defer m.unmount()
		systems, where = append(systems, m), append(where, name)
	}
	for i, s := range systems {
		entry, config, err := defaultEntry(s)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		found := where[i] + ": " + config
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", found, err))
			continue
		}
		k := &Kernel{Cmdline: entry.cmdline, Found: found + ": " + entry.title}
		// The paths are those of the partition that the boot loader calls root: mostly the same.
		order := append([]fileSystem{s}, systems...)
		if k.Image, err = readFirst(order, entry.kernel, maxKernelBytes); err == nil {
			for _, name := range entry.initrds {
				var part []byte
				if part, err = readFirst(order, name, maxInitrdBytes); err != nil {
					break
				}
				// Several are one after the other, each aligned (Documentation/driver-api/early-userspace).
				k.Initrd = append(append(k.Initrd, make([]byte, -len(k.Initrd)&3)...), part...)
			}
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", found, err))
			continue
		}
		return k, nil
	}
	return nil, fmt.Errorf("%w on %s: %w", ErrNoKernel, device, errors.Join(append(problems,
		fmt.Errorf("%d file systems were looked at", len(systems)))...))
}

func readFirst(systems []fileSystem, name string, limit int64) ([]byte, error) {
	var last error
	for _, s := range systems {
		data, err := s.ReadFile(name, limit)
		if err == nil {
			if len(data) == 0 {
				return nil, fmt.Errorf("%s is empty", name)
			}
			return data, nil
		}
		if last == nil || !errors.Is(err, fs.ErrNotExist) {
			last = err
		}
	}
	return nil, last
}

// Load loads the kernel for [Kexec] (kexec_file_load(2)). The machine goes on running.
func (k *Kernel) Load() error {
	kernel, err := memfd("kernel", k.Image)
	if err != nil {
		return fmt.Errorf("load kernel for kexec: %w", err)
	}
	defer kernel.Close()
	initrdFD, flags := -1, unix.KEXEC_FILE_NO_INITRAMFS
	if len(k.Initrd) > 0 {
		initrd, err := memfd("initrd", k.Initrd)
		if err != nil {
			return fmt.Errorf("load kernel for kexec: %w", err)
		}
		defer initrd.Close()
		initrdFD, flags = int(initrd.Fd()), 0
	}
	err = unix.KexecFileLoad(int(kernel.Fd()), initrdFD, k.Cmdline, flags)
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("load kernel for kexec: %w: not root, or the running kernel is locked down", err)
	case errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("load kernel for kexec: %w: the running kernel has no CONFIG_KEXEC_FILE", err)
	case errors.Is(err, unix.ENOEXEC), errors.Is(err, unix.ELIBBAD), errors.Is(err, unix.EKEYREJECTED):
		return fmt.Errorf("load kernel for kexec: %w: %s is not a kernel that the running one accepts", err, k.Found)
	case err != nil:
		return fmt.Errorf("load kernel for kexec: %w", err)
	}
	return nil
}

func memfd(name string, content []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(content); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// Kexec jumps into the loaded kernel. It returns only on failure. Everything should be unmounted and synced: this is
// reboot(2), no program is asked to end.
func Kexec() error {
	unix.Sync()
	if err := unix.Reboot(unix.LINUX_REBOOT_CMD_KEXEC); err != nil {
		return fmt.Errorf("kexec: %w: no kernel is loaded, or the running kernel cannot", err)
	}
	return nil
}

type fatSystem struct{ r *fat.Reader }

func (f fatSystem) ReadFile(name string, limit int64) ([]byte, error) {
	return f.r.ReadFile(name, limit)
}

func (f fatSystem) List(dir string) ([]string, error) {
	entries, err := f.r.ReadDir(dir)
	var names []string
	for _, e := range entries {
		if !e.Dir {
			names = append(names, e.Name)
		}
	}
	return names, err
}

// mounted is a partition of a Linux file system.
type mounted struct{ dir string }

// mountPartition mounts without writing a byte: no journal is replayed.
func mountPartition(disk *os.File, number int) (*mounted, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(disk.Fd()), &st); err != nil {
		return nil, err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK {
		return nil, errors.New("in a file, only FAT can be read")
	}
	device := ""
	files, _ := filepath.Glob(fmt.Sprintf("/sys/dev/block/%d:%d/*/partition", unix.Major(st.Rdev), unix.Minor(st.Rdev)))
	for _, file := range files {
		text, _ := os.ReadFile(file)
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && n == number {
			device = "/dev/" + filepath.Base(filepath.Dir(file))
		}
	}
	if device == "" {
		return nil, errors.New("the kernel does not know this partition")
	}
	dir, err := os.MkdirTemp("", "loda-mount-")
	if err != nil {
		return nil, err
	}
	flags := uintptr(unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC)
	var problems []error
	for _, t := range []struct{ name, options string }{{"ext4", "noload"}, {"xfs", "norecovery,nouuid"}, {"btrfs", "nologreplay"}} {
		err := unix.Mount(device, dir, t.name, flags, t.options)
		if err == nil {
			return &mounted{dir}, nil
		}
		if !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENODEV) { // not of this type, or none in this kernel
			problems = append(problems, fmt.Errorf("mount as %s: %w", t.name, err))
		}
	}
	os.Remove(dir)
	return nil, errors.Join(append(problems, errors.New("none of ext4, xfs, btrfs, FAT"))...)
}

func (m *mounted) unmount() {
	unix.Unmount(m.dir, 0)
	os.Remove(m.dir)
}

// resolve follows links as the installed system would, where / is the partition. A path never leads out of it.
func (m *mounted) resolve(name string) (string, error) {
	at, rest := "/", strings.Split(path.Clean("/"+name), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			at = path.Dir(at)
			continue
		}
		next := path.Join(at, part)
		target, err := os.Readlink(m.dir + next)
		if err != nil {
			at = next // no link, or it does not exist: opening it says so
			continue
		}
		if links++; links > 40 {
			return "", fmt.Errorf("%s: too many links", name)
		}
		if path.IsAbs(target) {
			at = "/"
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	return m.dir + at, nil
}

func (m *mounted) ReadFile(name string, limit int64) ([]byte, error) {
	file, err := m.resolve(name)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, errors.Unwrap(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, fmt.Errorf("%s is not a file of at most %d bytes", name, limit)
	}
	return io.ReadAll(io.LimitReader(f, limit))
}

func (m *mounted) List(dir string) ([]string, error) {
	real, err := m.resolve(dir)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(real)
	var names []string
	for _, e := range entries {
		if !e.IsDir() {
			names = append(names, e.Name())
		}
	}
	return names, err
}
