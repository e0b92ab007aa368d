package main

import (
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/pxe"
)

func pxeCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "pxe", Short: "Find out whether machines can netboot"}
	cmd.AddCommand(pxeCheck(g))
	return cmd
}

func pxeCheck(g *globals) *cobra.Command {
	var tftpPort, bootPort, chain string
	cmd := &cobra.Command{
		Use:   "check HOST",
		Short: "Fetch from a boot server what machines fetch, as they do",
		Long: `Fetch from a boot server what machines fetch, as they do: network boot programs by
TFTP, then scripts, kernel and bootOS by HTTP.

Run it on a host in the machines' network: it shows what a firewall or a router on
the way makes of it. Nothing is kept. The exit status is 0 if all of it came.`,
		Example: `  lodad pxe check 10.77.0.1
  lodad pxe check 10.77.0.1 --chain shim-grub`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := loda.CheckChain(chain); err != nil {
				return usageError{fmt.Errorf("--chain: %w", err)}
			}
			names := []string{"undionly.kpxe", "snponly.efi"}
			if chain == loda.ChainShimGRUB {
				names = []string{"shimx64.efi", "grubx64.efi", "grub/grub.cfg"}
			}
			var urls []string
			for _, name := range names {
				urls = append(urls, "tftp://"+net.JoinHostPort(args[0], tftpPort)+"/"+name)
			}
			for _, path := range []string{"boot/ipxe", "artifacts/bootos/vmlinuz", "artifacts/bootos/initramfs"} {
				urls = append(urls, "http://"+net.JoinHostPort(args[0], bootPort)+"/"+path)
			}
			type result struct {
				*pxe.Fetched
				URL   string `json:"url"`
				Error string `json:"error,omitempty"`
			}
			results, failed := []result{}, false
			for _, u := range urls {
				f, err := pxe.Fetch(cmd.Context(), u)
				r := result{Fetched: f, URL: u}
				if err != nil {
					failed, r.Error = true, err.Error()
				}
				results = append(results, r)
				if g.output == "json" {
					continue
				}
				if err != nil {
					fmt.Fprintln(cmd.OutOrStdout(), "failed ", plain(r.Error))
					continue
				}
				rate := ""
				if s := f.Duration.Seconds(); s > 0 && f.Bytes > 1<<16 {
					rate = fmt.Sprintf(", %.1f MB/s", float64(f.Bytes)/1e6/s)
				}
				fmt.Fprintf(cmd.OutOrStdout(), "ok      %s: %d bytes in %s%s\n", u, f.Bytes, f.Duration.Round(time.Millisecond), rate)
			}
			if g.output == "json" {
				if err := writeJSON(cmd.OutOrStdout(), results); err != nil {
					return err
				}
			}
			if failed {
				return errSilent
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&tftpPort, "tftp-port", "69", "port of listen.tftp")
	cmd.Flags().StringVar(&bootPort, "boot-port", "8080", "port of listen.boot")
	cmd.Flags().StringVar(&chain, "chain", loda.ChainIPXE, "which boot chain: "+strings.Join([]string{loda.ChainIPXE, loda.ChainShimGRUB}, " or "))
	return cmd
}
