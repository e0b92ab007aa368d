// Package ssacli drives HPE Smart Array controllers and Smart HBAs through ssacli, hpssacli or hpacucli, which speak
// one grammar and answer in text for people. What a user sends can be read without the tool:
//
//	inventories, err := ssacli.Parse(output) // of `ssacli ctrl all show config detail`
//
// and a machine is read and changed by
//
//	driver := ssacli.New(runner, "ssacli")
//	controllers, err := driver.Probe(ctx)
//
// Sizes are rounded by the tool: those of drives are decimal, those of volumes binary. Volumes belong to arrays, which
// are sets of drives (see raid.VirtualDisk.Group), and so do spares: there are no global ones, and a spare of one
// volume is one of all volumes beside it.
package ssacli
