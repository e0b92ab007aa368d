package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
)

func statusCommand(g *globals) *cobra.Command {
	var watch bool
	var every time.Duration
	var untilDone bool
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what every machine is doing, live with --watch",
		Long: `Show what every machine is doing.

With --watch the table stays on the screen and follows. With --until-done it ends
when no installation is at work any more; the exit status is 0 only if every
imported machine is installed.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if watch && g.output == "json" {
				return usageError{errors.New("--watch shows a table; with --output json use --until-done, or " +
					"`lodad timeline --follow`")}
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			every = max(every, 200*time.Millisecond)
			w, ctx := cmd.OutOrStdout(), cmd.Context()
			switch {
			case g.output == "json" && untilDone:
				// Nothing but the document at the end.
				err = errors.Join(showStatus(ctx, io.Discard, c, true, true, every), statusJSON(context.WithoutCancel(ctx), w, c))
			case g.output == "json":
				return statusJSON(ctx, w, c)
			default:
				err = showStatus(ctx, w, c, watch || untilDone, untilDone, every)
			}
			if err == nil && untilDone && ctx.Err() != nil {
				return errSilent // interrupted before all were done
			}
			return err
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "follow until interrupted")
	cmd.Flags().DurationVar(&every, "every", time.Second, "how often --watch looks")
	cmd.Flags().BoolVar(&untilDone, "until-done", false, "follow until no installation is at work any more")
	return cmd
}

func statusJSON(ctx context.Context, w io.Writer, c *api.Client) error {
	machines, err := allMachines(ctx, c)
	if err != nil {
		return err
	}
	return writeJSON(w, machines)
}

func allMachines(ctx context.Context, c *api.Client) ([]api.Machine, error) {
	machines := []api.Machine{}
	err := c.AllMachines(ctx, api.MachineQuery{Limit: 1000}, func(m api.Machine) error {
		machines = append(machines, m)
		return nil
	})
	return machines, err
}

// showStatus prints the table once, or follows. On a terminal it redraws in place; into a file it prints what changed.
func showStatus(ctx context.Context, w io.Writer, c *api.Client, watch, untilDone bool, every time.Duration) error {
	screen := isTerminal(w)
	last := map[inventory.Serial]shown{}
	for first := true; ; first = false {
		machines, err := allMachines(ctx, c)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (!watch || first):
			return err
		case err != nil:
			fmt.Fprintf(w, "%s  %s; trying again\n", time.Now().Format(time.TimeOnly), plain(err.Error()))
		case !watch || screen:
			if screen && watch {
				fmt.Fprint(w, "\x1b[H\x1b[2J")
			}
			if err := statusTable(w, machines); err != nil {
				return err
			}
		default:
			for _, m := range machines {
				row := machineRow(m, time.Now())
				seen, now := last[m.Serial], shown{row[3], row[5], time.Now()}
				if now.state != seen.state || now.what != seen.what && now.at.Sub(seen.at) > quietFor {
					last[m.Serial] = now
					fmt.Fprintf(w, "%s  %-12s %-11s %s\n", now.at.Format(time.TimeOnly), plain(row[0]), plain(row[3]), plain(row[5]))
				}
			}
		}
		if !watch {
			return nil
		}
		if untilDone && err == nil {
			if done, ok := finished(machines); done {
				if !ok {
					return errSilent
				}
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(every):
		}
	}
}

// shown is the line of a machine that a file got last; progress alone makes a new one only after quietFor.
type shown struct {
	state, what string
	at          time.Time
}

const quietFor = 5 * time.Second

func statusTable(w io.Writer, machines []api.Machine) error {
	count := map[inventory.State]int{}
	var rows [][]string
	for _, m := range machines {
		rows = append(rows, machineRow(m, time.Now()))
		if m.Installation != nil {
			count[m.Installation.State]++
		}
	}
	if err := table(w, machineHeader, rows); err != nil {
		return err
	}
	fmt.Fprintf(w, "\n%d machines", len(machines))
	for _, s := range inventory.States {
		if count[s] > 0 {
			fmt.Fprintf(w, ", %d %s", count[s], s)
		}
	}
	fmt.Fprintln(w)
	return nil
}

// finished reports whether nothing is at work any more, and whether every imported machine is installed.
func finished(machines []api.Machine) (done, ok bool) {
	ok = true
	for _, m := range machines {
		if m.Source != inventory.Imported {
			continue
		}
		if m.Installation == nil {
			ok = false
			continue
		}
		switch m.Installation.State {
		case inventory.Installed:
		case inventory.Failed, inventory.Quarantined, inventory.Canceled, inventory.Held:
			ok = false
		default:
			return false, false
		}
	}
	return true, ok
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}
