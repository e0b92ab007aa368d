package early

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Mount mounts what every program expects and makes the kernel reboot by itself should process 1 die. It may be
// called twice.
func Mount() error {
	mounts := []struct {
		kind, at string
		flags    uintptr
		data     string
	}{
		{"proc", "/proc", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"sysfs", "/sys", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
		{"devtmpfs", "/dev", unix.MS_NOSUID, "mode=0755"},
		{"tmpfs", "/run", unix.MS_NOSUID | unix.MS_NODEV, "mode=0755"},
		{"tmpfs", "/tmp", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"devpts", "/dev/pts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,ptmxmode=0666"},
	}
	var errs []error
	for _, m := range mounts {
		if err := os.MkdirAll(m.at, 0o755); err != nil {
			errs = append(errs, err)
			continue
		}
		if err := unix.Mount(m.kind, m.at, m.kind, m.flags, m.data); err != nil && !errors.Is(err, syscall.EBUSY) {
			errs = append(errs, fmt.Errorf("mount %s: %w", m.at, err))
		}
	}
	return errors.Join(errs...)
}

// MountEFIVars mounts the firmware's variables where there is UEFI. The driver is a module that the kernel asks for.
func MountEFIVars() error {
	const at = "/sys/firmware/efi/efivars"
	if _, err := os.Stat(at); err != nil {
		return nil
	}
	err := unix.Mount("efivarfs", at, "efivarfs", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, "")
	if err != nil && !errors.Is(err, syscall.EBUSY) {
		return fmt.Errorf("mount %s: %w", at, err)
	}
	return nil
}

// Calm keeps the kernel's messages below `error` off the console, which people are to read, and makes a kernel that
// panics reboot after seconds.
func Calm(seconds int) {
	// A kernel without these files is one without these problems.
	_ = os.WriteFile("/proc/sys/kernel/printk", []byte("4 4 1 7"), 0)
	_ = os.WriteFile("/proc/sys/kernel/panic", fmt.Appendf(nil, "%d", seconds), 0)
}
