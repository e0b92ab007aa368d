// Command sas3ircu is an emulator of the tool of that name over the simulated chassis in the file that LODA_CHASSIS
// names. See package sasircutool.
package main

import (
	"context"
	"os"

	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/sasircutool"
)

func main() {
	os.Exit(raidtest.Tool(sasircutool.SAS3).Main(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
}
