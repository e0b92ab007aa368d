// Command init stands in for the bootOS in TestOnARealKernel: it writes an image to /dev/vda with package disk, sets the
// UEFI boot entry, and goes on by kexec or reboot.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/bootos/disk"
)

type config struct {
	Source disk.Source
	Seed   map[string]string
	Kexec  bool
}

func main() {
	err := run()
	fmt.Println("init: FAILED:", err)
	for {
		time.Sleep(time.Hour)
	}
}

func run() error {
	for _, m := range []struct{ what, where string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		os.MkdirAll(m.where, 0o755)
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	files, _ := filepath.Glob("/modules/*.ko")
	for range 10 { // in any order: what depends on a later one is tried again
		for _, name := range files {
			if f, err := os.Open(name); err == nil {
				unix.FinitModule(int(f.Fd()), "", 0)
				f.Close()
			}
		}
	}
	unix.Mount("efivarfs", disk.EFIVars, "efivarfs", 0, "")
	for range 50 {
		if _, err := os.Stat("/dev/vda"); err == nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	link, err := netlink.LinkByName("eth0")
	if err != nil {
		return err
	}
	if err := netlink.LinkSetUp(link); err != nil {
		return err
	}
	if err := netlink.AddrAdd(link, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 0, 2, 15), Mask: net.CIDRMask(24, 32)}}); err != nil {
		return err
	}
	text, err := os.ReadFile("/config.json")
	if err != nil {
		return err
	}
	var c config
	if err := json.Unmarshal(text, &c); err != nil {
		return err
	}
	ctx := context.Background()
	stats, err := disk.Write(ctx, disk.Options{Device: "/dev/vda", Source: c.Source, Seed: c.Seed,
		Check: func(t disk.Target) error {
			fmt.Printf("init: %s has %d bytes in sectors of %d\n", t.Device, t.Bytes, t.SectorSize)
			return nil
		},
		Progress: func(p disk.Progress) { fmt.Printf("init: %3.0f %% %s\n", 100*p.Fraction, p.Text) }})
	if err != nil {
		return err
	}
	fmt.Printf("init: written: %+v\n", stats)
	parts, _ := filepath.Glob("/sys/block/vda/vda*")
	fmt.Printf("init: the kernel sees %d partitions\n", len(parts))
	for range 2 { // twice is once
		entry, err := disk.SetBootEntry(disk.BootOptions{Device: "/dev/vda", Label: "Loda test"})
		switch {
		case errors.Is(err, disk.ErrNoEFI):
			fmt.Println("init: no UEFI")
		case err != nil:
			return err
		default:
			fmt.Printf("init: Boot%04X, order %04X\n", entry.Number, entry.Order)
		}
	}
	if c.Kexec {
		kernel, err := disk.FindKernel(ctx, "/dev/vda")
		if err != nil {
			return err
		}
		fmt.Printf("init: kexec: %s\n", kernel.Found)
		if err := kernel.Load(); err != nil {
			return err
		}
		return disk.Kexec()
	}
	unix.Sync()
	return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
}
