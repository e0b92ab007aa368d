// Package arcconftool stands in for Adaptec's arcconf over a simulated chassis: it takes the tool's arguments and prints
// what the tool prints, for a SmartRAID as version 3.x does, and for a Series 8 as 2.x does.
//
//	driver := arcconf.New(arcconftool.Runner(chassis), "arcconf")
//
// cmd/arcconf is the same as an executable.
package arcconftool
