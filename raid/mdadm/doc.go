// Package mdadm is the kernel's software RAID as a [raid.Driver], under the controller id [raid.MD]. It runs mdadm
// (4.1 or newer) and, before a drive gets into an array, util-linux's wipefs.
//
//	driver := mdadm.New(runner, "mdadm", func(ctx context.Context) ([]hw.Disk, error) {
//		facts, err := hw.Detect(ctx)
//		if err != nil {
//			return nil, err
//		}
//		return facts.Disks, nil
//	})
//	inventory, err := driver.Inventory(ctx, raid.MD)
//
// The drives are those that the operating system sees. Their [raid.DiskID] is the persistent path by bus topology,
// since names such as sda change from one boot to the next. A volume's id is the UUID of the array, which never
// changes and is never given to another; the number of /dev/md127 is neither.
//
// # Whole drives, and why
//
// Arrays are made of whole drives. What the firmware of a PC starts from is a drive, not an array: it reads the first
// sectors of one drive, finds a boot sector or a partition table with an EFI system partition there, and knows nothing
// of RAID. So a volume that is marked `boot` has level 1 and metadata 1.0, which is kept at the end of each drive: the
// array starts at the drive's first sector, and each drive alone looks like the array, but for its last few hundred
// kilobytes. A disk image that is written to the array, with boot sector, partition table and EFI system partition, is
// thereby on each drive. Either drive starts alone under BIOS and under UEFI, the EFI system partition is mirrored
// without a tool that copies it after each update, and no installer has to know about any of it. The image's second
// partition table ends where the array ends, a little before the end of the drives; the first one says where it is,
// and firmware, Linux and GRUB find it there.
//
// Arrays over partitions cannot do that: a partition table inside a partition is read by no firmware. The price is
// that two arrays cannot share a drive, so PartialVolumes is not among the capabilities, and a layout with `same_as`
// or a size is refused for md when it is planned. Arrays over partitions that are there already are read, and taken
// apart when a layout says so; the partitions themselves stay.
//
// All other volumes have metadata 1.2, near the drive's beginning: there, nobody can take one half of a mirror for a
// drive of its own, and write to it.
//
// Which of the two an array has is decided when it is made. One that is there and has metadata 1.2 is not the volume
// that a layout marks `boot`: it is replaced where the layout says `unlisted: remove`, and else an error says why.
//
// A kernel that starts from such a mirror must assemble it before it mounts anything by UUID, since the partitions are
// on the drives too. Once the array runs, the kernel refuses to mount them from there.
//
// Arrays are named for any machine (`--homehost=any`), so that the installed system, whose host name is another, finds
// /dev/md/NAME under this name.
//
// # Assembly
//
// No firmware brings arrays up at power-on. [WithAssembly] makes Probe do it, as the agent in the RAM disk wants.
// Without it nothing is ever changed by looking: arrays that do not run are volumes in state offline, as far as their
// members tell.
package mdadm
