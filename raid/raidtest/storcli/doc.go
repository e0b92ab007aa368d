// Package storcli is storcli64 over a simulated chassis: the grammar of generation 7, and its answers as JSON and as
// text. Command storcli64 in it is the executable.
//
//	LODA_CHASSIS=/tmp/chassis.json storcli64 /c0 add vd r1 name=os drives=252:0,252:1 J nolog
//
// What it says about a drive, a volume and a controller is in the fields of the chassis. Words that only this tool
// prints come from their Extra, by the name that the tool has for them, such as `CLI Version` or `BIOS Version`.
package storcli
