package main

import (
	"cmp"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/inventory"
)

func timelineCommand(g *globals) *cobra.Command {
	var follow bool
	var last int
	cmd := &cobra.Command{
		Use:   "timeline SERIAL|MAC",
		Short: "Show everything that a machine did: DHCP, transfers, stages, log lines",
		Long: `Show everything that a machine did: DHCP exchanges, TFTP and HTTP transfers,
boot decisions, stages of the installation, and what its agent logged.

A machine that was refused (junk serial number, a hardware address that another
machine owns) has no record of its own: ask for its MAC.`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if last < 0 || last > maxLast {
				return usageError{fmt.Errorf("--last %d: want 0 (all) to %d", last, maxLast)}
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			w := cmd.OutOrStdout()
			page, err := c.Timeline(cmd.Context(), args[0], 0, cmp.Or(last, maxLast), last > 0)
			for {
				if err != nil {
					return err
				}
				for _, e := range page.Items {
					if err := g.writeEvent(w, e); err != nil {
						return err
					}
				}
				if len(page.Items) == 0 || last > 0 && !follow {
					if !follow {
						return nil
					}
					select {
					case <-cmd.Context().Done():
						return nil
					case <-time.After(time.Second):
					}
				}
				page, err = c.Timeline(cmd.Context(), args[0], page.Next, maxLast, false)
				if cmd.Context().Err() != nil {
					return nil
				}
			}
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	cmd.Flags().IntVarP(&last, "last", "n", 0, "only the last N events")
	return cmd
}

// maxLast is how many events the API gives at a time.
const maxLast = 1000

// writeEvent writes one line: a JSON document for machines, columns for people.
func (g *globals) writeEvent(w io.Writer, e inventory.Event) error {
	if g.output == "json" {
		return writeJSONLine(w, e)
	}
	_, err := fmt.Fprintf(w, "%s  %-8s %s\n", e.Time.Local().Format("2006-01-02 15:04:05.000"), e.Kind, plain(e.Message))
	return err
}
