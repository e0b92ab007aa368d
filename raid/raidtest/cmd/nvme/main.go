// Command nvme is an emulator of the tool of that name over the simulated chassis in the file that LODA_CHASSIS names.
// See package nvmetool.
package main

import (
	"context"
	"os"

	"github.com/project-loda/loda/raid/raidtest/nvmetool"
)

func main() { os.Exit(nvmetool.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
