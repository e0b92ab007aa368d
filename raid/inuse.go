package raid

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// ReadInUse tells which disks a Linux system is using: what is mounted and swapped to, and what lies below that, through
// partitions, the kernel's RAID, the device mapper and loop devices. root is the file system that has proc and sys, such
// as os.DirFS("/").
//
// What cannot be read is an error: a guard that does not know must not guess. Of a file system on several disks that is
// not the kernel's RAID (btrfs), only the disk that it was mounted by is known.
func ReadInUse(root fs.FS) ([]Use, error) {
	t := &blockTree{root: root, parent: map[string]string{}, below: map[string][]string{}, number: map[string]string{}}
	if err := t.read(); err != nil {
		return nil, err
	}
	var uses []Use
	add := func(device, why string) {
		for _, disk := range t.disks(device, map[string]bool{}) {
			u := Use{Path: "/dev/" + disk, Why: why, Serial: t.attribute(disk, "device/serial"),
				WWN: cmp.Or(t.attribute(disk, "wwid"), t.attribute(disk, "device/wwid"))}
			if !slices.Contains(uses, u) {
				uses = append(uses, u)
			}
		}
	}
	mounts, err := fs.ReadFile(root, "proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("what is mounted: %w", err)
	}
	for line := range strings.Lines(string(mounts)) {
		f := strings.Fields(line) // proc(5): id, parent, major:minor, root, mount point, ... - type, source, options
		dash := slices.Index(f, "-")
		if len(f) < 6 || dash < 0 || dash+2 >= len(f) {
			return nil, fmt.Errorf("what is mounted: %q in /proc/self/mountinfo is no mount", clip(line))
		}
		// Btrfs and other file systems of several disks have a number of their own; the source is one of them then.
		device, ok := t.number[f[2]]
		if !ok {
			device = t.name(f[dash+2])
		}
		switch {
		case device != "":
			add(device, "mounted on "+f[4])
		case strings.HasPrefix(f[dash+2], "/dev/") && !strings.HasPrefix(f[dash+1], "fuse"):
			return nil, fmt.Errorf("what is mounted: %s, on %s, is none of the block devices in /sys/block", clip(f[dash+2]),
				clip(f[4]))
		}
	}
	swaps, err := fs.ReadFile(root, "proc/swaps")
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a kernel without swap has none
		return nil, fmt.Errorf("what is swapped to: %w", err)
	}
	for line := range strings.Lines(string(swaps)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "partition" {
			if device := t.name(f[0]); device != "" {
				add(device, "swap")
			}
		}
	}
	return uses, nil
}

// blockTree is what stands on what among block devices.
type blockTree struct {
	root   fs.FS
	parent map[string]string   // of a partition
	below  map[string][]string // what a device is made of
	number map[string]string   // major:minor
}

func (t *blockTree) read() error {
	entries, err := fs.ReadDir(t.root, "sys/block")
	if err != nil {
		return fmt.Errorf("block devices: %w", err)
	}
	for _, e := range entries {
		disk := e.Name()
		t.number[t.attribute(disk, "dev")] = disk
		slaves, err := fs.ReadDir(t.root, path.Join("sys/block", disk, "slaves"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("what %s is made of: %w", disk, err)
		}
		for _, s := range slaves {
			t.below[disk] = append(t.below[disk], s.Name())
		}
		parts, err := fs.ReadDir(t.root, path.Join("sys/block", disk))
		if err != nil {
			return fmt.Errorf("partitions of %s: %w", disk, err)
		}
		for _, p := range parts {
			if number := t.attribute(disk, p.Name()+"/dev"); number != "" && t.attribute(disk, p.Name()+"/partition") != "" {
				t.number[number], t.parent[p.Name()] = p.Name(), disk
			}
		}
	}
	delete(t.number, "")
	return nil
}

func (t *blockTree) attribute(disk, name string) string {
	text, err := fs.ReadFile(t.root, path.Join("sys/block", disk, name))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}

// name is the kernel's name of a device node that is a disk or a partition, "" if it is none.
func (t *blockTree) name(node string) string {
	name, ok := strings.CutPrefix(node, "/dev/")
	if !ok {
		return ""
	}
	if mapped, ok := strings.CutPrefix(name, "mapper/"); ok {
		for _, disk := range t.number {
			if t.attribute(disk, "dm/name") == mapped {
				return disk
			}
		}
		return ""
	}
	name = strings.ReplaceAll(name, "/", "!")
	for _, known := range t.number {
		if known == name {
			return name
		}
	}
	return ""
}

// disks are the device itself, and everything that it is made of.
func (t *blockTree) disks(device string, seen map[string]bool) []string {
	if seen[device] {
		return nil
	}
	seen[device] = true
	if parent, ok := t.parent[device]; ok {
		return t.disks(parent, seen)
	}
	all := []string{device}
	for _, b := range t.below[device] {
		all = append(all, t.disks(b, seen)...)
	}
	return all
}
