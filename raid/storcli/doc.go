// Package storcli drives the controllers of Broadcom's MegaRAID family and the HBAs that its tools know: storcli64 and
// Dell's perccli64 of generation 7, storcli64 of generation 1, and storcli2 and perccli2 of generation 8.
//
// What a tool printed somewhere else can be read without any controller:
//
//	inventories, err := storcli.Parse(show, drives, volumes)
//
// And a driver over a tool that is installed here:
//
//	d := storcli.New(runner, "/opt/MegaRAID/storcli/storcli64")
//	controllers, err := d.Probe(ctx)
//
// What the tools are like, and why this is as it is:
//
//   - The same answer comes as JSON or as text, by version and by what the command was. Both are read into one form.
//   - `Status = Failure` may come with all the data that was asked for, since one drive of many did not answer, and
//     /call mixes success and failure of several controllers; v1.11.03 ends with 0 on a syntax error. The exit status
//     decides nothing here. What was said about each target does, and then what is there.
//   - `add vd` does not say which volume it made (generation 8 does). It is the one whose NAA was not there before.
//   - GB and TB are binary. Where the number of sectors or blocks is printed as well, it is used.
//   - The names of drives are `252:4`, or `:4` behind an HBA without enclosures. A volume that the tool calls `0/239`
//     is number 239 of drive group 0. A dedicated spare belongs to the group.
package storcli
