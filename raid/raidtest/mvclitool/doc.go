// Package mvclitool stands in for Marvell's mvcli over a simulated chassis: it takes the tool's arguments and prints
// what the tool prints for a card such as Dell's BOSS-S1.
//
//	driver := mvcli.New(mvclitool.Runner(chassis), "mvcli", "0000:02:00.0")
//
// A [NVMeCard] answers as mnv_cli does. Like the tool, it exits with 0 whatever happens, and says nothing when something
// was done. cmd/mvcli is the same as an executable.
package mvclitool
