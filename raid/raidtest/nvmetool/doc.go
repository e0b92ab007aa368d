// Package nvmetool stands in for nvme-cli over a simulated chassis whose controllers are drives ([raidtest.NVMe]): it
// takes the tool's arguments and prints what the tool prints, as JSON, as version 2 does or, for a drive whose Extra
// has nvme-cli 1, as version 1.
//
//	driver := nvmens.New(nvmetool.Runner(chassis), "nvme")
//
// What a drive says that it can do follows from the capabilities of its controller; numbers of `nvme id-ctrl` are
// overridden by Extra. cmd/nvme is the same as an executable.
package nvmetool
