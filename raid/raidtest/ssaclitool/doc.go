// Package ssaclitool stands in for HPE's ssacli over a simulated chassis: it takes the tool's arguments and prints what
// the tool prints.
//
//	driver := ssacli.New(ssaclitool.Runner(chassis), "ssacli")
//
// cmd/ssacli is the same as an executable.
package ssaclitool
