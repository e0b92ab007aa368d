// Command arcconf is an emulator of the tool of that name, over the simulated chassis in the file that LODA_CHASSIS names.
// See package arcconftool.
package main

import (
	"context"
	"os"

	"github.com/project-loda/loda/raid/raidtest/arcconftool"
)

func main() { os.Exit(arcconftool.Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr)) }
