// Command MegaCli64 is an emulator of the tool of that name over the simulated chassis in the file that LODA_CHASSIS
// names. See package megaclitool.
package main

import (
	"context"
	"os"

	"github.com/project-loda/loda/raid/raidtest/megaclitool"
)

func main() { os.Exit(megaclitool.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
