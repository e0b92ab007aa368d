package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/sqlite"
)

// Machines are imported all or none, and an installation and its events are stored together.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "loda-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := sqlite.Open(ctx, filepath.Join(dir, "loda.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	serial, err := inventory.ParseSerial(" cz20190a01 ")
	if err != nil {
		log.Fatal(err)
	}
	if err := store.CreateMachines(ctx, []inventory.Machine{{Serial: serial, Name: "web-1"}}); err != nil {
		log.Fatal(err)
	}
	err = store.CreateInstallation(ctx, inventory.Installation{ID: "01", Serial: serial, State: inventory.Queued},
		inventory.Event{Serial: serial, Installation: "01", Kind: inventory.KindState, Message: "queued"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = store.UpdateInstallation(ctx, "01", func(i *inventory.Installation) ([]inventory.Event, error) {
		i.State = inventory.Netbooting
		return []inventory.Event{{Serial: serial, Installation: "01", Kind: inventory.KindState, Message: "netbooting"}}, nil
	})
	if err != nil {
		log.Fatal(err)
	}

	timeline, err := store.Events(ctx, inventory.EventFilter{Serial: serial})
	if err != nil {
		log.Fatal(err)
	}
	for _, e := range timeline {
		fmt.Println(e.Serial, e.Message)
	}
	// Output:
	// CZ20190A01 queued
	// CZ20190A01 netbooting
}

// Everything that is wrong with an import is reported at once, by row.
func ExampleStore_CreateMachines() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "loda-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	store, err := sqlite.Open(ctx, filepath.Join(dir, "loda.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	err = store.CreateMachines(ctx, []inventory.Machine{
		{Serial: "CZ20190A01", MACs: []inventory.MAC{"52:54:00:00:00:01"}},
		{Serial: "cz20190a02"},
		{Serial: "CZ20190A03", MACs: []inventory.MAC{"52:54:00:00:00:01"}},
	})
	var bad *inventory.ImportError
	if errors.As(err, &bad) {
		for _, row := range bad.Rows {
			fmt.Println(row)
		}
	}
	// Output:
	// row 2: serial number "cz20190a02" is not in canonical form, want "CZ20190A02"
	// row 3: MAC 52:54:00:00:00:01 already belongs to row 1 of the same import
}
