// Package mvcli drives Marvell's boot cards, which mirror two M.2 drives: mvcli for the SATA ones (88SE92xx, Dell's
// BOSS-S1 and S2) and mnv_cli for the NVMe ones (88NR2241, Dell's BOSS-N1, Lenovo's M.2 RAID kit, HPE's NS204i).
//
//	driver := mvcli.New(runner, "/opt/marvell/mvcli", "0000:01:00.0")
//	inventory, err := driver.Inventory(ctx, "0000:01:00.0")
//
// mvcli does not tell a card's PCI address: whoever found the card by its PCI ids says it. Both tools speak to the
// first card only, unless a person types at their prompt, so other cards are listed with nothing that could be done to
// them.
//
// What the tools get wrong is made up for here. Errors set no exit status, and success prints nothing but the version
// of a driver: what came of a command is read anew each time. Lines of noise precede the answer when a device node is
// missing. A list of volumes that the drives contradict is an error, and not a card without volumes. Names are cut
// after 10 or 11 characters, so a name has 10.
//
// Whatever such a card shows is for the firmware to start from; there is nothing to choose.
//
// The commands of mnv_cli that change something are those that other installers use; nobody here has seen them run.
package mvcli
