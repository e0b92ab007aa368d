// Package hw says what a machine is made of: it reads the firmware's tables and the kernel's sysfs, and needs neither
// udev nor any other program, so that it works in a RAM disk as well as on an installed system.
//
//	facts, err := hw.Detect(ctx)                             // this machine
//	facts, err := hw.Detect(ctx, hw.WithHealth(time.Minute)) // the same, and its disks are asked about themselves
//	facts, err := hw.Detect(ctx, hw.WithRoot("server.hw"))   // a machine captured elsewhere, with hw.Capture
//	json.NewEncoder(os.Stdout).Encode(facts)
//	facts.WriteText(os.Stdout)
//
// # Facts
//
// [Facts] is a JSON document with a version (see [Version]); README.md beside this file lists every field with unit
// and source. Within a version fields are only ever added, so a reader ignores those that it does not know.
//
// # Unknown is not empty
//
// Firmware leaves fields out, controllers hide what is behind them, a file cannot be read: what could not be learnt is
// listed as [Unknown] with the reason, on the very part that it belongs to, or on the document for a whole section.
// The rule for a reader is short:
//
//   - a field that has a value is what the hardware says;
//   - a field that is absent (zero) and listed in Unknown is not known, and equal to nothing;
//   - a field that is absent and not listed is known to be empty: a disk without WWN, an empty DIMM slot's serial.
//
// Where zero or false is a real answer (link down, stepping 0) the field is a pointer, nil when unknown or when it
// makes no sense for the part.
// [Facts.Unknowns] lists all of them with their full paths.
//
// Detection does not fail because a part cannot be read; [Detect] returns an error only when its context ends or its
// root cannot be opened.
//
// # Which disk
//
// [DiskRule] says which disk an operating system goes to, by size, medium, bus, serial number, WWN, path or model.
// [DiskRule.Choose] never guesses: it returns the one disk that fits, or an error that says why there is none or what
// would tell the candidates apart. [Disk.Matches] finds that same disk again after a reboot, whatever the kernel calls
// it by then.
package hw
