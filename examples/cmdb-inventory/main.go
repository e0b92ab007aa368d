// Command cmdb-inventory shows an inventory whose machines stay where they have always been, in the company's own CMDB,
// while Loda keeps the rest (installations, events, leases, tokens) in SQLite.
//
//	go run ./examples/cmdb-inventory
//
// cmdb.go is the CMDB, client.go the one store over it, this file puts them together. The tests hold the result
// against the suite that every backend passes.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/sqlite"
)

// Site is an [inventory.Store]: each part is the store that owns it.
type Site struct {
	*Client                     // machines: the CMDB
	inventory.InstallationStore // everything else: SQLite
	inventory.EventStore
	inventory.LeaseStore
	inventory.TokenStore
}

var _ inventory.Store = Site{}

// OpenSite puts a site together. The database asks the CMDB whether a machine exists before it gets an installation.
func OpenSite(ctx context.Context, cmdb *Client, file string) (Site, *sqlite.Store, error) {
	db, err := sqlite.Open(ctx, file, sqlite.WithMachines(cmdb))
	if err != nil {
		return Site{}, nil, err
	}
	return Site{Client: cmdb, InstallationStore: db, EventStore: db, LeaseStore: db, TokenStore: db}, db, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "cmdb-inventory:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("cmdb-inventory", flag.ContinueOnError)
	cmdbURL := flags.String("cmdb", "", "URL of a CMDB; empty starts one in this process")
	file := flags.String("db", "", "database file; empty takes one in a temporary directory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *cmdbURL == "" {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		server := &http.Server{Handler: NewCMDB().Handler(), ReadHeaderTimeout: 10 * time.Second}
		go server.Serve(l)
		defer server.Close()
		*cmdbURL = "http://" + l.Addr().String()
	}
	if *file == "" {
		dir, err := os.MkdirTemp("", "cmdb-inventory-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		*file = filepath.Join(dir, "loda.db")
	}
	site, db, err := OpenSite(ctx, &Client{URL: *cmdbURL}, *file)
	if err != nil {
		return err
	}
	defer db.Close()
	return show(ctx, site)
}

// show uses the site as any other store.
func show(ctx context.Context, store inventory.Store) error {
	err := store.CreateMachines(ctx, []inventory.Machine{
		{Serial: "CZ20190A01", Name: "web-1", Rack: "r1", Profile: "compute", MACs: []inventory.MAC{"52:54:00:00:00:01"}},
		{Serial: "CZ20190A02", Name: "web-2", Rack: "r1", Profile: "compute", MACs: []inventory.MAC{"52:54:00:00:00:02"}},
	})
	if err != nil {
		return err
	}
	// A second import of a MAC that the CMDB knows is refused, and says whose it is.
	err = store.CreateMachines(ctx, []inventory.Machine{
		{Serial: "CZ20190A03", MACs: []inventory.MAC{"52:54:00:00:00:02"}},
	})
	fmt.Println(err)

	err = store.CreateInstallation(ctx,
		inventory.Installation{ID: "01", Serial: "CZ20190A01", State: inventory.Queued, Profile: "compute"},
		inventory.Event{Kind: inventory.KindState, Serial: "CZ20190A01", Installation: "01", Message: "queued"})
	if err != nil {
		return err
	}
	machines, err := store.Machines(ctx, inventory.MachineFilter{Rack: "r1"})
	if err != nil {
		return err
	}
	for _, m := range machines {
		state := inventory.State("no installation")
		if inst, err := store.OpenInstallation(ctx, m.Serial); err == nil {
			state = inst.State
		}
		fmt.Printf("%s  %s  %v  %s\n", m.Serial, m.Name, m.MACs, state)
	}
	return nil
}
