package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
)

func dhcpCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "dhcp", Short: "See who got which address, and why or why not"}
	cmd.AddCommand(dhcpTrace(g), dhcpLeases(g))
	return cmd
}

func dhcpTrace(g *globals) *cobra.Command {
	var follow bool
	var last int
	cmd := &cobra.Command{
		Use:   "trace MAC",
		Short: "Show what a machine asked DHCP for, what it was answered, and why or why not",
		Long: `Show what a machine asked DHCP for, what it was answered, and why or why not.

It begins with what is known of the machine behind the hardware address: whether
it was imported, which address is reserved for it, which lease it has. Then come
the exchanges, oldest first, each with what the relay added, what the client said
of itself, the answer, and the reason.`,
		Example: `  lodad dhcp trace 52:54:00:12:34:56
  lodad dhcp trace 52:54:00:12:34:56 --follow`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			mac, err := inventory.ParseMAC(args[0])
			if err != nil {
				return usageError{err}
			}
			if last < 1 || last > maxLast {
				return usageError{fmt.Errorf("--last %d: want 1 to %d", last, maxLast)}
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			if g.output != "json" {
				if err := traceHead(cmd.Context(), w, c, mac); err != nil {
					return err
				}
			}
			seen := false
			err = eachEvent(cmd.Context(), c, string(mac), []inventory.Kind{inventory.KindDHCP}, last, follow,
				func(e inventory.Event) error {
					if e.MAC != mac { // of another NIC of the same machine
						return nil
					}
					seen = true
					return g.writeExchange(w, e)
				})
			if err != nil || seen || g.output == "json" {
				return err
			}
			fmt.Fprint(w, plainLines(nothingSeen))
			return errSilent
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	cmd.Flags().IntVarP(&last, "last", "n", 20, "only the last N exchanges of the machine")
	return cmd
}

const nothingSeen = `
No DHCP packet from it has reached this site. Either it is powered off or does not
netboot, or its packets go elsewhere: look at the VLAN of its switch port, at the
relay agent (ip helper-address) of its subnet, and whether dhcp.interfaces in
lodad.yaml names the interface that they would arrive on.
`

// traceHead says who is behind a hardware address.
func traceHead(ctx context.Context, w io.Writer, c *api.Client, mac inventory.MAC) error {
	who := "nobody has imported a machine with it"
	err := c.AllMachines(ctx, api.MachineQuery{Query: string(mac), Limit: maxLast}, func(m api.Machine) error {
		if !slices.Contains(m.MACs, mac) {
			return nil
		}
		who = fmt.Sprintf("machine %s (%s)", m.Serial, m.Source)
		if m.Address.IsValid() {
			who += ", address " + m.Address.String() + " reserved"
		}
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Fprintln(w, plain(string(mac)+": "+who))
	page, err := c.Leases(ctx, api.LeaseQuery{MAC: string(mac), Limit: maxLast})
	if err != nil {
		return err
	}
	for _, l := range page.Items {
		fmt.Fprintln(w, plain(fmt.Sprintf("lease of %s in subnet %s, %s, until %s", l.Address, l.Subnet, l.State, stamp(l.ExpiresAt))))
	}
	return nil
}

// writeExchange writes one exchange: the event as JSON for machines, a paragraph for people.
func (g *globals) writeExchange(w io.Writer, e inventory.Event) error {
	if g.output == "json" {
		return writeJSONLine(w, e)
	}
	var t dhcp.Trace
	if err := json.Unmarshal(e.Data, &t); err != nil || t.XID == "" {
		// Of a release that kept less.
		_, err := fmt.Fprintf(w, "\n%s  %s\n", stamp(e.Time), plain(e.Message))
		return err
	}
	_, err := fmt.Fprintf(w, "\n%s  %s", stamp(e.Time), plainLines(t.Explain()))
	return err
}

func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05.000") }

func dhcpLeases(g *globals) *cobra.Command {
	var q api.LeaseQuery
	cmd := &cobra.Command{
		Use:   "leases",
		Short: "List the DHCP leases, by address",
		Long: `List the DHCP leases, by address.

An expired lease stays until its address is needed: its machine gets the same one
when it comes back. A declined one is an address that a machine found to be used
by somebody else; nobody gets it until its time is over.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			leases := []api.Lease{}
			for q.Limit = maxLast; ; {
				page, err := c.Leases(cmd.Context(), q)
				if err != nil {
					return err
				}
				leases = append(leases, page.Items...)
				if q.After = page.Next; q.After == "" {
					break
				}
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), leases)
			}
			var rows [][]string
			for _, l := range leases {
				rows = append(rows, []string{l.Address, dash(string(l.MAC)), l.Subnet, string(l.State),
					l.ExpiresAt.Local().Format(time.DateTime), strings.TrimSpace(dash(l.Hostname))})
			}
			return table(cmd.OutOrStdout(), []string{"ADDRESS", "MAC", "SUBNET", "STATE", "UNTIL", "HOST NAME"}, rows)
		},
	}
	cmd.Flags().StringVar(&q.Subnet, "subnet", "", "only of the subnet with this name")
	cmd.Flags().StringVar(&q.MAC, "mac", "", "only of this hardware address")
	return cmd
}
