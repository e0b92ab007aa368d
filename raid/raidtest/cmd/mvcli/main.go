// Command mvcli is an emulator of the tool of that name over the simulated chassis in the file that LODA_CHASSIS names.
// See package mvclitool.
package main

import (
	"context"
	"os"

	"github.com/project-loda/loda/raid/raidtest/mvclitool"
)

func main() { os.Exit(mvclitool.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
