// Package lab is a rack of servers that needs no machine room: QEMU machines with real firmware, on a bridge in a
// network namespace of their own, for tests and for people who rehearse a profile before they go to the real thing.
//
// A [Spec], written in Go or in YAML, says what stands in the rack: vendor, serial number, firmware, boot path, disks,
// network cards and DIMMs of each machine. [Up] builds it with every machine switched off:
//
//	rack, err := lab.Up(ctx, lab.Default(2), lab.Options{})
//	if err != nil {
//		return err
//	}
//	defer rack.Down(context.WithoutCancel(ctx))
//
//	server := rack.Command(ctx, "lodad", "serve", "--config", "lodad.yaml") // an *exec.Cmd inside the namespace
//	m := rack.Machine("m1")
//	err = m.PowerOn(ctx)
//	line, err := m.Console().Wait(ctx, regexp.MustCompile(`login:`))
//	err = m.Cut(ctx) // pulls the plug
//	sum, err := m.DiskDigest(ctx, 0)
//
// Machines boot like servers in a rack are usually set: from the network first and from their disks after that, at
// every reboot. What an installed system writes to its NVRAM is kept across power cycles.
//
// The server's side of the rack is the bridge, with the address [Spec.Server]. Programs join it by [Rack.Command] and
// code by [Rack.Dial], [Rack.Listen], [Rack.ListenPacket] and [Rack.In]. Nothing leaves the namespace; [Rack.Forward]
// opens a door to one port on purpose. Another process sees the racks by [List] and pulls plugs by [Control].
//
// # Cleaning up
//
// [Rack.Down] leaves nothing behind. A rack also does not outlive the process that made it: its machines die with the
// owner, even by kill -9, and what remains of it (the namespace, disk files) is listed in a state file, from which
// [Sweep] removes the racks whose owners are gone, and [Down] any rack by its name. No process is ever signalled by
// its name: only by a pid together with its start time, so that a reused pid is never hit.
//
// # Needs
//
// Linux, root, QEMU (qemu-system-x86_64, qemu-img), nsenter (util-linux), and OVMF for UEFI machines. Software
// emulation is enough and is the default, see [Options.Accel].
package lab
