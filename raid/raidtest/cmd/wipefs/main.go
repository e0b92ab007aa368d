// Command wipefs is an emulator of the tool of that name over the simulated chassis in the file that LODA_CHASSIS names.
// See package mdadmtool.
package main

import (
	"context"
	"os"

	"github.com/project-loda/loda/raid/raidtest/mdadmtool"
)

func main() { os.Exit(mdadmtool.MainWipefs(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
