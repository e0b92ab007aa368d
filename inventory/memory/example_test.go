package memory_test

import (
	"context"
	"fmt"
	"log"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/memory"
)

// A machine that reported itself is promoted when an operator imports its serial number: what it reported is kept.
func Example() {
	ctx := context.Background()
	store := memory.New()
	err := store.CreateMachines(ctx, []inventory.Machine{{Serial: "CZ20190A01", Source: inventory.Discovered,
		MACs: []inventory.MAC{"52:54:00:00:00:01"}, Vendor: "HPE"}})
	if err != nil {
		log.Fatal(err)
	}
	err = store.CreateMachines(ctx, []inventory.Machine{{Serial: "CZ20190A01", Source: inventory.Imported, Name: "web-1"}})
	if err != nil {
		log.Fatal(err)
	}
	m, err := store.MachineByMAC(ctx, "52:54:00:00:00:01")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(m.Serial, m.Name, m.Vendor, m.Source)
	// Output: CZ20190A01 web-1 HPE imported
}
