// Command dhcp-only gives each machine of a CSV file its address, and answers nobody else: package dhcp without the rest
// of Loda, beside whatever other DHCP server there is on the link.
//
//	mac,address,hostname
//	52:54:00:12:34:56,10.7.0.20,node-20
//
// It needs the rights to open raw sockets, and keeps the leases in memory: as the addresses are in the file, nothing is
// lost with them.
//
//	dhcp-only -interface eth1 -subnet 10.7.0.0/24 -router 10.7.0.1 -dns 10.7.0.53 machines.csv
package main

import (
	"context"
	"encoding/csv"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/project-loda/loda/dhcp"
)

func main() {
	var link string
	var router, dns netip.Addr
	subnet := dhcp.Subnet{Name: "machines", Unknown: dhcp.UnknownIgnore}
	flag.StringVar(&link, "interface", "eth1", "network `interface` to answer on")
	flag.TextVar(&subnet.Prefix, "subnet", netip.MustParsePrefix("10.7.0.0/24"), "`prefix` of the machines' addresses")
	flag.TextVar(&router, "router", netip.Addr{}, "`address` of the default gateway")
	flag.TextVar(&dns, "dns", netip.Addr{}, "`address` of the name server")
	flag.Parse()
	subnet.Router = router
	if dns.IsValid() {
		subnet.Settings.DNS = []netip.Addr{dns}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, link, subnet, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "dhcp-only:", err)
		os.Exit(1)
	}
}

// run serves until ctx is done.
func run(ctx context.Context, link string, subnet dhcp.Subnet, name string) error {
	file, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("machines: %w", err)
	}
	defer file.Close()
	machines, err := read(file, subnet.Prefix)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	authority, err := dhcp.NewAuthority(dhcp.AuthorityConfig{Leases: dhcp.NewMemoryLeases(), Reservations: machines,
		Subnets: []dhcp.Subnet{subnet}})
	if err != nil {
		return err
	}
	server := &dhcp.Server{Responder: authority, Interfaces: []string{link}, Observe: func(x dhcp.Exchange) {
		slog.Info(x.Asked.String(), "mac", x.MAC.String(), "answered", x.Answered, "address", x.Addr, "reason", x.Reason, "err", x.Err)
	}}
	return server.ListenAndServe(ctx)
}

// read takes machines out of a CSV file. All that is wrong with it is reported at once.
func read(r io.Reader, subnet netip.Prefix) (dhcp.StaticReservations, error) {
	rows := csv.NewReader(r)
	rows.FieldsPerRecord, rows.TrimLeadingSpace = 3, true
	if header, err := rows.Read(); err != nil || strings.Join(header, ",") != "mac,address,hostname" {
		return nil, errors.Join(err, errors.New("the first line must be mac,address,hostname"))
	}
	machines, owner := dhcp.StaticReservations{}, map[netip.Addr]string{}
	var errs []error
	for {
		row, err := rows.Read()
		if errors.Is(err, io.EOF) {
			return machines, errors.Join(errs...)
		}
		if err != nil {
			return nil, errors.Join(append(errs, err)...)
		}
		line, _ := rows.FieldPos(0)
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("line %d: "+format, append([]any{line}, args...)...))
		}
		mac, macErr := net.ParseMAC(row[0])
		addr, addrErr := netip.ParseAddr(row[1])
		switch {
		case macErr != nil || addrErr != nil:
			bad("%w", errors.Join(macErr, addrErr))
		case !subnet.Contains(addr):
			bad("%s is not in %s", addr, subnet)
		case owner[addr] != "":
			bad("%s is that of %s already", addr, owner[addr])
		case machines[mac.String()].Addr.IsValid():
			bad("%s has an address already", mac)
		default:
			owner[addr] = mac.String()
			machines[mac.String()] = dhcp.Reservation{Addr: addr, Hostname: row[2]}
		}
	}
}
