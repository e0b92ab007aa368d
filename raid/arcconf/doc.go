// Package arcconf drives Adaptec and Microchip controllers and their OEMs' through arcconf, which answers in text whose
// labels change their case and words between versions. What a user sends can be read without the tool:
//
//	inventories, err := arcconf.Parse(getconfig) // of `arcconf GETCONFIG 1`
//
// and a machine is read and changed by
//
//	driver := arcconf.New(runner, "arcconf")
//	controllers, err := driver.Probe(ctx)
//
// There are two families behind one grammar. Series 2 to 8 (driver aacraid) initialise drives before volumes are made
// of them, and have global spares, and policies of reading and of writing for each volume. SmartRAID and Smart HBA
// (driver smartpqi) have arrays, to which spares belong, and one switch for caching.
//
// Sizes are MiB that the tool calls MB, and so rounded. The `Device #` of a drive is no name: channel and device are.
package arcconf
