package image

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// grubDir is where Debian's grub-pc-bin and grub-efi-amd64-bin put their modules.
const grubDir = "/usr/lib/grub"

// grubModules are in both boot loaders. A loader that finds all it needs inside itself needs no files beside it.
var grubModules = []string{
	"normal", "configfile", "search", "search_fs_uuid", "search_label", "part_gpt", "ext2", "fat", "linux", "echo", "test",
	"true", "ls", "cat", "reboot", "halt", "boot", "minicmd", "serial", "terminal", "sleep", "loadenv", "gzio",
}

// bootLoader is GRUB for both firmwares.
type bootLoader struct {
	// boot is the MBR's code; core goes into the BIOS boot partition; efi is EFI/BOOT/BOOTX64.EFI.
	boot, core, efi []byte
}

// makeGRUB builds GRUB with a configuration inside, which finds the rest: coreLBA is the first sector of the BIOS
// boot partition.
func makeGRUB(ctx context.Context, tmp, config string, coreLBA uint64) (*bootLoader, error) {
	configFile := filepath.Join(tmp, "grub-early.cfg")
	if err := os.WriteFile(configFile, []byte(config), 0o600); err != nil {
		return nil, err
	}
	b := &bootLoader{}
	for _, f := range []struct {
		target  string
		modules []string
		to      *[]byte
	}{
		{"i386-pc", []string{"biosdisk"}, &b.core},
		{"x86_64-efi", []string{"efi_gop", "efi_uga", "all_video", "efinet"}, &b.efi},
	} {
		out := filepath.Join(tmp, f.target+".img")
		args := []string{"-O", f.target, "-d", filepath.Join(grubDir, f.target), "-p", "/boot/grub", "-c", configFile, "-o", out}
		args = append(append(args, grubModules...), f.modules...)
		if text, err := exec.CommandContext(ctx, "grub-mkimage", args...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("grub-mkimage for %s (Debian: grub-common, grub-pc-bin, grub-efi-amd64-bin): %w: %s",
				f.target, err, text)
		}
		var err error
		if *f.to, err = os.ReadFile(out); err != nil {
			return nil, err
		}
	}
	var err error
	if b.boot, err = os.ReadFile(filepath.Join(grubDir, "i386-pc", "boot.img")); err != nil {
		return nil, fmt.Errorf("GRUB's boot sector (Debian: grub-pc-bin): %w", err)
	}
	return b, b.install(coreLBA)
}

// install patches boot sector and core the way grub-bios-setup does (util/setup.c, include/grub/offsets.h of GRUB
// 2.06), without a device.
func (b *bootLoader) install(coreLBA uint64) error {
	const (
		bootDriveCheck   = 0x66 // GRUB_BOOT_MACHINE_DRIVE_CHECK
		bootKernelSector = 0x5c // GRUB_BOOT_MACHINE_KERNEL_SECTOR
		firstBlockList   = 0x200 - 12
	)
	if len(b.boot) != 512 || b.boot[510] != 0x55 || b.boot[511] != 0xAA || len(b.core) < 1024 {
		return errors.New("GRUB's boot.img or core.img is not what grub-bios-setup 2.06 knows")
	}
	le := binary.LittleEndian
	le.PutUint64(b.boot[bootKernelSector:], coreLBA)
	// Two NOPs: trust the drive number that the BIOS gives. The check is for floppy disks.
	b.boot[bootDriveCheck], b.boot[bootDriveCheck+1] = 0x90, 0x90
	// The first sector of the core loads the rest, which follows it.
	for len(b.core)%512 != 0 {
		b.core = append(b.core, 0)
	}
	list := b.core[firstBlockList:512]
	le.PutUint64(list, coreLBA+1)
	le.PutUint16(list[8:], uint16(len(b.core)/512-1))
	return nil
}
