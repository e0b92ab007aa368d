// Command proxy-beside-dnsmasq boots one kernel on every machine that asks the network what to boot, while dnsmasq, or any
// other DHCP server, goes on giving the addresses: it knows nothing of us, and is not configured for it.
//
// A machine that netboots takes an address from one server and the boot file from another, a ProxyDHCP server (PXE
// specification 2.1, section 2.2.3). This program is that one: it offers a boot file and no address, on port 67 to those
// who ask everybody, and on port 4011 to those who come back for it. All others get no packet from it.
//
//	proxy-beside-dnsmasq -interface eth1 -dir /srv/netboot -kernel vmlinuz -initrd initrd.img -args "console=ttyS0"
//
// It runs on the same link as the machines, or behind the same relays; with -raw also on the host of the DHCP server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/pxe"
)

func main() {
	var s server
	flag.StringVar(&s.link, "interface", "eth1", "network `interface` to answer on")
	flag.TextVar(&s.subnet, "subnet", netip.MustParsePrefix("10.7.0.0/24"), "`prefix` of the machines' addresses")
	flag.BoolVar(&s.raw, "raw", false, "use raw sockets, as another program has port 67 of this host")
	flag.StringVar(&s.dir, "dir", ".", "`directory` that everyone may read, with kernel and initrd")
	flag.StringVar(&s.kernel, "kernel", "vmlinuz", "`name` of the kernel in the directory")
	flag.StringVar(&s.initrd, "initrd", "", "`name` of the initial RAM disk in the directory")
	flag.StringVar(&s.args, "args", "", "kernel command `line`")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "proxy-beside-dnsmasq:", err)
		os.Exit(1)
	}
}

type server struct {
	link                      string
	subnet                    netip.Prefix
	raw                       bool
	dir, kernel, initrd, args string
}

// Boot is what every machine boots.
func (s *server) Boot(context.Context, pxe.Client) (pxe.Instruction, error) {
	k := pxe.Kernel{Kernel: "/artifacts/" + s.kernel, Args: s.args}
	if s.initrd != "" {
		k.Initrds = []string{"/artifacts/" + s.initrd}
	}
	return k, nil
}

// run serves until ctx is done.
func (s *server) run(ctx context.Context) error {
	nbps, err := pxe.OpenNBPs("/usr/lib/ipxe", "/boot")
	if err != nil {
		return err
	}
	defer nbps.Close()
	artifacts, err := pxe.OpenDir(s.dir)
	if err != nil {
		return err
	}
	defer artifacts.Close()
	// Nobody is known here, so everybody who netboots is told what to boot, and gets no address.
	authority, err := dhcp.NewAuthority(dhcp.AuthorityConfig{Leases: dhcp.NewMemoryLeases(),
		Boot:    dhcp.BootFiles{Script: "http://{server}/boot/ipxe"},
		Subnets: []dhcp.Subnet{{Name: "machines", Prefix: s.subnet, Mode: dhcp.ModeProxy, Unknown: dhcp.UnknownBoot}}})
	if err != nil {
		return err
	}
	proxyDHCP := &dhcp.Server{Responder: authority, Interfaces: []string{s.link}, Raw: s.raw,
		Ports: []uint16{dhcp.ServerPort, dhcp.PXEPort}, Observe: func(x dhcp.Exchange) {
			slog.Info(x.Asked.String(), "mac", x.MAC.String(), "answered", x.Answered.String(), "boot", x.BootFile, "reason", x.Reason)
		}}
	observe := func(t pxe.Transfer) {
		slog.Info("transfer", "protocol", t.Protocol, "path", t.Path, "client", t.Client, "complete", t.Complete())
	}
	tftp := &pxe.TFTPServer{Files: nbps, Observe: observe, Logger: slog.New(slog.DiscardHandler)}
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second,
		Handler: &pxe.Handler{Booter: s, NBPs: nbps, Artifacts: artifacts, Observe: observe}}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return proxyDHCP.ListenAndServe(ctx) })
	g.Go(func() error { return tftp.ListenAndServe(ctx) })
	g.Go(func() error {
		if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	})
	g.Go(func() error { <-ctx.Done(); return web.Close() })
	return g.Wait()
}
