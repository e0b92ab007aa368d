// Package megacli drives MegaRAID controllers that storcli does not know, or no longer, through MegaCli 8.
//
//	inventories, err := megacli.Parse(adapters, drives, volumes)
//
//	d := megacli.New(runner, "/opt/MegaRAID/MegaCli/MegaCli64")
//	controllers, err := d.Probe(ctx)
//
// MegaCli answers in text: a line `name : value` for each fact, and titles that say what the lines below are about. Its
// verdict is the last line, `Exit Code: 0x00`; the exit status of the process is often the same, and is not looked at.
//
// It tells no WWN of a volume. A volume is known by its target id and the drives that it is on; the driver's name for
// it is the target id.
package megacli
