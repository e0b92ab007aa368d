// Command embed is a provisioning site in a program of one's own: DHCP, TFTP, boot server, API and the lifecycle of
// installations, without lodad and its configuration file. The function serve is all of it.
//
// RAM disk and image are built once, into the directory that the program serves from; then it runs:
//
//	LODA_DATA=/srv/loda lodad bootos build
//	LODA_DATA=/srv/loda lodad image build-debian debian-12
//	embed -dir /srv/loda -interface eth1 -import rack.csv
package main

import (
	"context"
	"errors"
	"flag"
	"io"
	"log"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory/sqlite"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/site"
)

// serve runs a site until ctx ends. Machines, if not nil, is CSV with the columns serial and profile: they are imported,
// and installed when they netboot.
func serve(ctx context.Context, c site.Config, machines io.Reader) (err error) {
	store, err := sqlite.Open(ctx, filepath.Join(string(c.Dir), "loda.db"))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	c.Store, c.Profiles = store, loda.StaticProfiles{
		"debian": {Name: "debian", Image: "debian-12", Disk: hw.DiskRule{Prefer: hw.Smallest}},
	}
	s, err := site.New(c)
	if err != nil {
		return err
	}
	if machines != nil {
		if _, err := s.Installer().Import(ctx, machines, loda.ImportOptions{Install: true, By: "embed"}); err != nil {
			return err
		}
	}
	return s.Run(ctx)
}

func main() {
	dir := flag.String("dir", "/srv/loda", "`directory` of the site: images, bootOS, certificate authority, database")
	nic := flag.String("interface", "eth1", "`name` of the interface that machines netboot on; its address is 10.77.0.1/24")
	csv := flag.String("import", "", "CSV `file` of machines to import and install")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	var machines io.Reader
	if *csv != "" {
		file, err := os.Open(*csv)
		if err != nil {
			log.Fatal(err)
		}
		machines = file
	}
	err := serve(ctx, site.Config{Dir: site.Layout(*dir), Interfaces: []string{*nic}, Subnets: []dhcp.Subnet{{
		Name:    "rack",
		Prefix:  netip.MustParsePrefix("10.77.0.0/24"),
		Pool:    dhcp.Range{First: netip.MustParseAddr("10.77.0.20"), Last: netip.MustParseAddr("10.77.0.250")},
		Unknown: dhcp.UnknownLease,
	}}}, machines)
	if err != nil {
		log.Fatal(err)
	}
}
