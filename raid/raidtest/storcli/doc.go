// Package storcli is storcli64 over a simulated chassis: the grammar of generation 7, and its answers as JSON and as
// text in the words of generations 1 and 7. Command storcli64 in it is the executable.
//
//	LODA_CHASSIS=/tmp/chassis.json storcli64 /c0 add vd r1 name=os drives=252:0,252:1 J nolog
//
// What it says about a drive, a volume and a controller is worked out from the fields of the chassis. Words that only this
// tool prints come from their Extra, by the name that the tool has for them, such as `BIOS Version`, and settings of
// `show all` as `Section/Name`: see [SettingsOf]. `CLI Version` in it is the release of the tool whose words it speaks,
// and `Driver Name` mpt3sas makes a card without RAID firmware of a controller.
//
// It does not speak generation 8 (storcli2, perccli2), whose outputs are others.
package storcli
