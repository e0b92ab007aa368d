// Package sasircu drives the RAID that Fusion-MPT HBAs have in firmware (IR mode), through sas2ircu and sas3ircu.
//
//	driver := sasircu.New(runner, "/opt/lsi/sas3ircu")
//	controllers, err := driver.Probe(ctx)
//	inventory, err := driver.Inventory(ctx, controllers[0].ID)
//
// Drives that are in no volume are shown to the operating system as they are; there is no mode to switch. A controller
// whose firmware has no RAID (IT mode) has no levels.
//
// # What the tool's numbers mean
//
// "Size (in MB)/(in sectors)" ends in the address of the last sector, not in their number. A volume's size is in MiB. A
// member that is missing is at 0:0, as all others that are missing, and the drive has nothing but its serial number: it
// is `missing SERIAL` here, and never a member of a certain volume. Sector sizes are not told; 512 bytes are assumed,
// and the number of megabytes beside it is held against that.
//
// Names can be given, but are not shown afterwards, so volumes have none. One volume is deleted with DELETEVOLUME, which
// old phases of sas2ircu do not have; DELETE, which takes all of them, is never used.
package sasircu
