package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
)

func timelineCommand(g *globals) *cobra.Command {
	var follow bool
	var only []string
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
			kinds := make([]inventory.Kind, len(only))
			for i, kind := range only {
				kinds[i] = inventory.Kind(kind)
			}
			w := cmd.OutOrStdout()
			return eachEvent(cmd.Context(), c, args[0], kinds, last, follow, func(e inventory.Event) error {
				return g.writeEvent(w, e)
			})
		},
	}
	cmd.Flags().BoolVarP(&follow, "follow", "f", false, "wait for more")
	cmd.Flags().IntVarP(&last, "last", "n", 0, "only the last N events")
	cmd.Flags().StringSliceVar(&only, "kind", nil, "only events of these kinds: dhcp, transfer, boot, state, action, log, alarm, audit")
	return cmd
}

// eachEvent calls each with the events of a machine: all of them, or the last few, and with follow those to come until
// ctx ends.
func eachEvent(ctx context.Context, c *api.Client, machine string, kinds []inventory.Kind, last int, follow bool,
	each func(inventory.Event) error) error {
	q := api.TimelineQuery{Limit: cmp.Or(last, maxLast), Latest: last > 0, Kinds: kinds}
	for {
		page, err := c.Timeline(ctx, machine, q)
		if err != nil {
			if follow && ctx.Err() != nil {
				return nil
			}
			return err
		}
		for _, e := range page.Items {
			if err := each(e); err != nil {
				return err
			}
		}
		if len(page.Items) == 0 || last > 0 && !follow {
			if !follow {
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Second):
			}
		}
		q = api.TimelineQuery{After: page.Next, Limit: maxLast, Kinds: kinds}
	}
}

// maxLast is how many events the API gives at a time.
const maxLast = 1000

// writeEvent writes one line: a JSON document for machines, columns for people.
func (g *globals) writeEvent(w io.Writer, e inventory.Event) error {
	if g.output == "json" {
		return writeJSONLine(w, e)
	}
	_, err := fmt.Fprintf(w, "%s  %-8s %s\n", stamp(e.Time), e.Kind, plain(e.Message))
	return err
}
