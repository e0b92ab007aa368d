// Command storcli64 is an emulator: see package storcli of raidtest. It needs nothing beside itself, so that a site can
// give it to virtual machines in the place of the vendor's tool:
//
//	CGO_ENABLED=0 go build -trimpath -o storcli64 ./raid/raidtest/storcli/storcli64
//
// The chassis is the file that LODA_CHASSIS names. Without that variable it is /run/storcli64-chassis.json, made on first
// use for the first MegaRAID on the PCI bus, with four SSDs; QEMU's `-device megasas-gen2` is one.
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/project-loda/loda/raid/raidtest"
	"github.com/project-loda/loda/raid/raidtest/storcli"
)

func main() {
	chassis, err := open()
	if err != nil {
		fmt.Fprintln(os.Stderr, "storcli64 (emulator):", err)
		os.Exit(2)
	}
	os.Exit(storcli.Main(context.Background(), chassis, os.Args[1:], os.Stdout))
}

func open() (*raidtest.Chassis, error) {
	file := os.Getenv(raidtest.ChassisVariable)
	if file == "" {
		return storcli.Machine(storcli.MachineChassis, os.DirFS("/sys"))
	}
	chassis, err := raidtest.Open(file)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", raidtest.ChassisVariable, err)
	}
	return chassis, nil
}
