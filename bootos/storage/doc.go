// Package storage does one round of a machine's RAID layout in bootOS: it reads the controllers, plans, does the plan if
// it is the one that the server has approved, and plans what is left. What it does and sees goes to the timeline.
//
// It keeps nothing between rounds. After a power cut, or a restart of the agent, a round begins as any other does: with
// a look at what is there.
package storage
