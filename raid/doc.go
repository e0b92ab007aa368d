// Package raid knows storage controllers. It tells from a controller's PCI ids what it is and which vendor tool drives it,
// before any tool runs:
//
//	for _, c := range facts.Controllers {
//		if r, ok := raid.Recognize(c); ok {
//			fmt.Println(c.Address, r.Family, "by", r.Tool)
//		}
//	}
//
// And it has the language in which a profile says what a machine's storage must look like, [Layout]. A server with one
// RAID controller, a mirror of two small SSDs to boot from, the rest in one volume with a spare of its own:
//
//	controllers:
//	- volumes:
//	  - {name: os, level: 1, disks: {count: 2, medium: ssd, size: 480GB}, boot: true}
//	  - {name: data, level: 6, disks: {count: 10, medium: hdd}, strip: 256KiB, read: ahead, write: back}
//	  spares:
//	  - {disks: {count: 1, medium: hdd}, for: [data]}
//	  rest: jbod
//	  unlisted: remove
//
// A white box whose disks hang on an HBA: the kernel's RAID, whose arrays take whole disks, and a card that is to show its
// disks one by one:
//
//	controllers:
//	- controller: model *9460*
//	  mode: jbod
//	- controller: md
//	  volumes:
//	  - {name: os, level: 1, disks: {count: 2, bus: nvme}, boot: true}
//	  - {name: data, level: 1+0, disks: {all: true, size: 3TB..}}
//
// What is not said stays as it is: controllers that are not named, their mode, volumes that are not listed, disks that
// nothing takes.
//
// A [Driver] reads controllers, [NewPlan] decides what is to be done, and [Apply] does it, step by step, and reads what
// came of each:
//
//	plan, err := raid.NewPlan(inventories, layout)
//	...
//	guard := raid.Guard{Machine: serial, Approval: approval, InUse: inUse}
//	err = raid.Apply(ctx, driver, plan, guard, func(e raid.Event) { log.Print(e.Kind, e.Step.Reason, e.Text) })
//
// Whatever interrupts it, the way on is the same: read, plan again, apply that. A layout is reached when [Plan.Empty].
// Nothing that loses data is done without an [Approval] that names the machine, the plan and what it may do.
//
// # Below this package
//
// Drivers are in storcli (perccli, storcli2 and perccli2 too), megacli, ssacli, arcconf, mvcli, sasircu, mdadm and nvmens;
// drivers has all of them by name. Package host starts those that a machine needs, each in a process of its own, by
// package plugin; command runs their tools. raidtest is the laboratory: a controller in a file, emulators of the tools,
// and the suite that every driver must stand.
package raid
