// Command storcli64 is an emulator: see package storcli of raidtest. The chassis is the file that LODA_CHASSIS names.
// Without that it is /run/storcli64-chassis.json, which is made when it is wanted first, for the MegaRAID controllers that
// are on this machine's PCI bus.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/storcli"
)

func main() {
	var chassis *raidtest.Chassis
	var err error
	if file := os.Getenv(raidtest.ChassisVariable); file != "" {
		chassis, err = raidtest.Open(file)
	} else {
		chassis, err = raidtest.OpenHere("/run/storcli64-chassis.json", os.DirFS("/"))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "storcli64 (emulator):", err)
		os.Exit(2)
	}
	os.Exit(storcli.Main(context.Background(), chassis, os.Args[1:], os.Stdout))
}
