// Package disk is what the agent does to a disk: it streams an image onto it, grows the partition table, writes the
// cloud-init seed, sets the UEFI boot entry and finds the installed kernel for kexec.
//
// [Write] is the whole of an installation. Its order is its promise: nothing is touched before the target is known to
// be the right one and the image is known to fit; the old partition tables are cleared first; the first and the last
// MiB of the disk are held back in memory and written only after the digest of the transferred file was found right
// and everything else is on the platter. A power cut, a wrong image or a killed agent therefore leaves a disk that no
// firmware boots, and calling Write again is always safe.
//
//	stats, err := disk.Write(ctx, disk.Options{
//		Device: "/dev/nvme0n1",
//		Check:  func(t disk.Target) error { return mustBe(identity, t) },
//		Source: disk.Source{URL: url, Format: "zst", SHA256: digest, Bytes: size, RawBytes: raw},
//		Seed:   map[string]string{"meta-data": "instance-id: i-1\n", "user-data": "#cloud-config\n"},
//	})
//	// then, on a machine with UEFI
//	err = disk.SetBootEntry(disk.BootOptions{Device: "/dev/nvme0n1", Label: "Loda"})
//	// then reboot, or
//	kernel, err := disk.FindKernel(ctx, "/dev/nvme0n1")
//	err = kernel.Load()
//	err = disk.Kexec()
//
// The package ends in the RAM disk, so it depends on little: klauspost/compress, ulikunitz/xz and x/sys.
package disk
