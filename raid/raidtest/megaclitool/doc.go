// Package megaclitool stands in for MegaCli 8 over a simulated chassis: it takes the tool's arguments and prints what
// the tool prints.
//
//	driver := megacli.New(megaclitool.Runner(chassis), "MegaCli64")
//
// Lists are as captures of the tool show them. What it says to changes is worded from memory of it: a driver must not
// hang on these words, but on the verdict and on what is there.
//
// Like the tool, it ends each answer with its verdict, `Exit Code: 0x00`, and exits with the same. It knows nothing of
// WWNs of volumes, and of modes. cmd/MegaCli64 is the same as an executable.
package megaclitool
