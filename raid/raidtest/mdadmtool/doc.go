// Package mdadmtool stands in for mdadm 4.2, util-linux's wipefs and the kernel's RAID below them, over a simulated
// chassis whose first controller is [raidtest.SoftwareRAID]: it takes the tools' arguments and prints what they print.
//
//	driver := mdadm.New(mdadmtool.Runner(chassis), "mdadm", mdadmtool.Disks(chassis),
//		mdadm.WithStat(mdadmtool.Stat(chassis)), mdadm.WithAssembly())
//
// Like md, it remembers nothing that is not on the drives: after [raidtest.Chassis.PowerOn] no array runs until
// somebody assembles it, and a drive that had failed is one with old records. A command without any effect, such as wipefs on an
// empty drive, counts as one that reads. cmd/mdadm and cmd/wipefs are the same as executables.
package mdadmtool
