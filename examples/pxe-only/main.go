// Command pxe-only boots one kernel on every machine, beside a DHCP server that is there already: package pxe without
// the rest of Loda. For dnsmasq, the DHCP side is
//
//	dhcp-match=set:ipxe,175
//	dhcp-match=set:efi,option:client-arch,7
//	dhcp-match=set:efi,option:client-arch,9
//	dhcp-boot=tag:!ipxe,tag:!efi,undionly.kpxe,,10.0.0.5
//	dhcp-boot=tag:!ipxe,tag:efi,snponly.efi,,10.0.0.5
//	dhcp-boot=tag:ipxe,http://10.0.0.5/boot/ipxe
//
// where 10.0.0.5 is this host. The kernel and the initrd are names in the directory:
//
//	pxe-only -dir /srv/netboot -kernel vmlinuz -initrd initrd.img -args "console=ttyS0 ip=dhcp"
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/project-loda/loda/pxe"
)

func main() {
	var s server
	flag.StringVar(&s.dir, "dir", ".", "`directory` that everyone may read: kernel, initrd and what they load")
	flag.StringVar(&s.kernel, "kernel", "vmlinuz", "`name` of the kernel in the directory")
	flag.StringVar(&s.initrds, "initrd", "", "`names` of initial RAM disks in the directory, separated by commas")
	flag.StringVar(&s.args, "args", "", "kernel command `line`")
	flag.StringVar(&s.nbps, "nbp", "/usr/lib/ipxe,/boot", "`directories` of undionly.kpxe and snponly.efi")
	flag.StringVar(&s.http, "http", ":80", "`address` of the HTTP server")
	flag.StringVar(&s.tftp, "tftp", ":69", "`address` of the TFTP server")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := s.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "pxe-only:", err)
		os.Exit(1)
	}
}

type server struct {
	dir, kernel, initrds, args, nbps, http, tftp string
}

// Boot is the whole decision.
func (s *server) Boot(_ context.Context, c pxe.Client) (pxe.Instruction, error) {
	slog.Info("machine asks what to boot", "serial", c.Serial, "product", c.Product, "platform", c.Platform,
		"client", c.Remote)
	k := pxe.Kernel{Kernel: "/artifacts/" + s.kernel, Args: s.args}
	for _, name := range strings.FieldsFunc(s.initrds, func(r rune) bool { return r == ',' }) {
		k.Initrds = append(k.Initrds, "/artifacts/"+name)
	}
	return k, nil
}

// run serves until ctx is done.
func (s *server) run(ctx context.Context) error {
	nbps, err := pxe.OpenNBPs(strings.Split(s.nbps, ",")...)
	if err != nil {
		return err
	}
	defer nbps.Close()
	artifacts, err := pxe.OpenDir(s.dir)
	if err != nil {
		return err
	}
	defer artifacts.Close()
	listener, err := net.Listen("tcp", s.http)
	if err != nil {
		return err
	}

	observe := func(t pxe.Transfer) {
		slog.Info("transfer", "protocol", t.Protocol, "path", t.Path, "client", t.Client, "bytes", t.Bytes,
			"duration", t.Duration, "aborted", t.Aborted, "err", t.Err)
	}
	web := &http.Server{ReadHeaderTimeout: 10 * time.Second,
		Handler: &pxe.Handler{Booter: s, NBPs: nbps, Artifacts: artifacts, Observe: observe}}
	tftp := &pxe.TFTPServer{Addr: s.tftp, Files: nbps, Observe: observe, Logger: slog.New(slog.DiscardHandler)}

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return tftp.ListenAndServe(ctx) })
	g.Go(func() error {
		if err := web.Serve(listener); err != http.ErrServerClosed {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		return web.Shutdown(end)
	})
	return g.Wait()
}
