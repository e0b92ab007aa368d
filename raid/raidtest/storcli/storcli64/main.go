// Command storcli64 is an emulator: see package storcli of raidtest. The chassis is the file that LODA_CHASSIS
// names.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/storcli"
)

func main() {
	chassis, err := raidtest.Open(os.Getenv("LODA_CHASSIS"))
	if err != nil {
		fmt.Fprintln(os.Stderr, "storcli64 (emulator): LODA_CHASSIS:", err)
		os.Exit(2)
	}
	os.Exit(storcli.Main(context.Background(), chassis, os.Args[1:], os.Stdout))
}
