// Package sasircutool stands in for sas2ircu and sas3ircu over a simulated chassis: it takes the tools' arguments and
// prints what they print.
//
//	driver := sasircu.New(raidtest.Tool(sasircutool.SAS3).Runner(chassis), "sas3ircu")
//
// Each of the two sees the controllers of its own generation, by their model. A volume has a WWID instead of a WWN,
// which is the end of the WWN in reverse: [HBA] makes controllers that give out such. Volumes cannot be smaller than
// their drives here. cmd/sas2ircu and cmd/sas3ircu are the same as executables.
package sasircutool
