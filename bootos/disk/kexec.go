package disk

import (
	"context"
	"errors"
)

// Kernel is what the installed system would boot.
type Kernel struct {
	// Image and Initrd are the files' contents; Initrd may be empty.
	Image, Initrd []byte
	// Cmdline is the command line.
	Cmdline string
	// Found says where it was found, for people: "/dev/vda3: /boot/grub/grub.cfg: Debian GNU/Linux".
	Found string
}

// FindKernel mounts the partitions of device read-only, one after the other, and reads what their boot loader's
// default entry names: boot loader specification entries, or grub.cfg.
func FindKernel(ctx context.Context, device string) (*Kernel, error) {
	return nil, errors.ErrUnsupported
}

// Load loads the kernel for [Kexec] (kexec_file_load(2)). The machine goes on running.
func (k *Kernel) Load() error {
	return errors.ErrUnsupported
}

// Kexec jumps into the loaded kernel. It returns only on failure. Everything should be unmounted and synced.
func Kexec() error {
	return errors.ErrUnsupported
}
