// Command ssacli is an emulator of the tool of that name, over the simulated chassis in the file that LODA_CHASSIS names.
// See package ssaclitool.
package main

import (
	"context"
	"os"

	"github.com/project-loda/loda/raid/raidtest/ssaclitool"
)

func main() { os.Exit(ssaclitool.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
