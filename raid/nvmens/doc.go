// Package nvmens drives the namespaces of NVMe drives, through nvme-cli (1.12 or newer). To Loda, a drive is a
// controller with one drive behind it, and a namespace is a volume of level 0 on it.
//
//	driver := nvmens.New(runner, "nvme")
//	inventory, err := driver.Inventory(ctx, "0000:3b:00.0")
//
// Most drives have one namespace and no way to make others: their capabilities have no level, and a layout that wants
// one is refused when it is planned. Such a drive can still be erased, if it can format: `initialize: full` overwrites
// the user's data, `initialize: fast` throws away the key that all data is encrypted with, which takes seconds. Neither
// is there where the drive says that it is not. Nothing shows afterwards that data is gone: an erasure was done when the
// drive says so, and else it was not.
//
// A namespace that is to have all that is left has the drive's capacity less that of the others. Its sectors are those
// of the namespaces that are there, or 512 bytes on an empty drive.
//
// A namespace that was made and not attached, because the machine lost power in between, is a volume in state offline.
package nvmens
