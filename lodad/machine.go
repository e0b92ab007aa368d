package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
)

func machineCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "machine", Short: "Import, list and install machines"}
	cmd.AddCommand(machineImport(g), machineList(g), machineShow(g), machineInstall(g), machineDelete(g),
		machineDecide(g, "cancel", "End the open installation of machines"),
		machineDecide(g, "retry", "Begin anew after a failure"),
		machineDecide(g, "release", "Let held or quarantined machines go on (--reason is needed for quarantine)"),
		machineDecide(g, "hold", "Keep queued machines from beginning"))
	return cmd
}

func machineImport(g *globals) *cobra.Command {
	var dryRun, install bool
	cmd := &cobra.Command{
		Use:   "import FILE.csv",
		Short: "Import machines from CSV, all or none (- reads standard input)",
		Long: `Import machines from comma- or semicolon-separated text with a header line.

Columns, of which only serial is needed, in any order:

  serial    serial number, as the firmware (SMBIOS) says it
  profile   what is to be installed
  name      host name; by default made from the serial number
  rack      where it stands
  mac       hardware addresses, several with spaces; learnt at the first boot otherwise
  address   IPv4 address that DHCP gives it; from the pool otherwise
  labels    key=value, several with spaces

Every row is checked before anything is stored. If any is bad, all bad ones are
named and nothing is imported.`,
		Example: `  lodad machine import rack.csv --dry-run
  lodad machine import rack.csv --install`,
		Args: exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r io.Reader = cmd.InOrStdin()
			if args[0] != "-" {
				f, err := os.Open(args[0])
				if err != nil {
					return err
				}
				defer f.Close()
				r = f
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			res, err := c.Import(cmd.Context(), r, dryRun, install)
			var p *api.Problem
			if errors.As(err, &p) && len(p.Errors) > 0 {
				for _, e := range p.Errors {
					fmt.Fprintln(cmd.ErrOrStderr(), plain(rowError(args[0], e)))
				}
				return fmt.Errorf("nothing was imported: %d of the above to correct", len(p.Errors))
			}
			if err != nil {
				return err
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), res)
			}
			switch {
			case res.DryRun:
				fmt.Fprintf(cmd.OutOrStdout(), "%d machines are fine; dry run, nothing was imported\n", len(res.Machines))
			default:
				fmt.Fprintf(cmd.OutOrStdout(), "%d machines imported, %d installations opened\n", len(res.Machines), len(res.Installations))
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "check everything, store nothing")
	cmd.Flags().BoolVar(&install, "install", false, "open an installation for every machine")
	return cmd
}

// rowError says what is wrong with a row in the form that editors jump to: rack.csv:3: serial: …
func rowError(file string, e api.ProblemError) string {
	line, column, _ := strings.Cut(strings.TrimPrefix(e.Location, "line "), ", ")
	if file == "-" {
		file = "standard input"
	}
	if line != "" {
		file += ":" + line
	}
	if column != "" {
		column += ": "
	}
	return file + ": " + column + e.Message
}

func machineList(g *globals) *cobra.Command {
	var q api.MachineQuery
	var source string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List machines and what they are doing",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			q.Source, q.Limit = inventory.Source(source), 1000
			machines := []api.Machine{}
			if err := c.AllMachines(cmd.Context(), q, func(m api.Machine) error { machines = append(machines, m); return nil }); err != nil {
				return err
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), machines)
			}
			var rows [][]string
			for _, m := range machines {
				rows = append(rows, machineRow(m, time.Now()))
			}
			return table(cmd.OutOrStdout(), machineHeader, rows)
		},
	}
	cmd.Flags().StringVar(&source, "source", "", "imported or discovered")
	cmd.Flags().StringVar(&q.Profile, "profile", "", "only machines with this profile")
	cmd.Flags().StringVar(&q.Rack, "rack", "", "only machines in this rack")
	cmd.Flags().StringVarP(&q.Query, "query", "q", "", "part of serial number, name, MAC, vendor or product")
	return cmd
}

func machineShow(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "show SERIAL",
		Short: "Show one machine: identity, hardware, installation",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			m, err := c.Machine(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), m)
			}
			return showMachine(cmd.OutOrStdout(), m)
		},
	}
}

func showMachine(w io.Writer, m api.Machine) error {
	macs := make([]string, len(m.MACs))
	for i, mac := range m.MACs {
		macs[i] = string(mac)
	}
	address := ""
	if m.Address.IsValid() {
		address = m.Address.String()
	}
	rows := [][]string{
		{"source", string(m.Source)}, {"name", dash(m.Name)}, {"model", dash(strings.TrimSpace(m.Vendor + " " + m.Product))},
		{"profile", dash(m.Profile)}, {"rack", dash(m.Rack)}, {"MACs", dash(strings.Join(macs, " "))},
		{"address", dash(address)}, {"UUID", dash(m.UUID)}, {"last seen", age(m.LastSeenAt, time.Now())},
	}
	if i := m.Installation; i != nil {
		rows = append(rows, []string{"installation", i.ID}, []string{"state", string(i.State) + " for " + age(i.StateSince, time.Now())},
			[]string{"image", dash(i.Image)}, []string{"commit", dash(i.Revision)}, []string{"attempt", fmt.Sprint(i.Attempt)})
		if i.Reason != "" {
			rows = append(rows, []string{"reason", i.Reason})
		}
		for _, s := range stageTimes(i) {
			rows = append(rows, []string{"  " + string(s.state), s.took.Round(100 * time.Millisecond).String()})
		}
	}
	if err := table(w, []string{"serial", string(m.Serial)}, rows); err != nil {
		return err
	}
	if i := m.Installation; i != nil && len(i.Differences) > 0 {
		fmt.Fprintf(w, "\ndifferences to the model of profile %s\n", plain(i.Profile))
		for _, d := range i.Differences {
			fmt.Fprintf(w, "  %-4s  %s\n", strings.ToUpper(string(d.Severity)), plain(d.Text))
		}
	}
	if len(m.Facts) == 0 {
		return nil
	}
	facts, err := hw.Decode(m.Facts)
	if err != nil {
		return fmt.Errorf("machine %s: its facts cannot be read: %w", m.Serial, err)
	}
	var text strings.Builder
	if err := facts.WriteText(&text); err != nil {
		return err
	}
	_, err = fmt.Fprint(w, "\n", plainLines(text.String()))
	return err
}

// stage is a state and how long an installation was in it.
type stage struct {
	state inventory.State
	took  time.Duration
}

// stageTimes are the states that an attempt has left, in order.
func stageTimes(i *api.Installation) []stage {
	var seen []inventory.State
	for _, s := range inventory.States {
		if _, ok := i.Entered[s]; ok {
			seen = append(seen, s)
		}
	}
	var stages []stage
	for k := 0; k+1 < len(seen); k++ {
		stages = append(stages, stage{seen[k], i.Entered[seen[k+1]].Sub(i.Entered[seen[k]])})
	}
	return stages
}

func machineInstall(g *globals) *cobra.Command {
	var req api.InstallRequest
	cmd := &cobra.Command{
		Use:   "install SERIAL...",
		Short: "Open installations: the machines are installed when they netboot next",
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.forEach(cmd, args, func(c *api.Client, serial string) (api.Installation, error) {
				return c.Install(cmd.Context(), serial, req)
			})
		},
	}
	cmd.Flags().StringVar(&req.Profile, "profile", "", "instead of the machine's own")
	cmd.Flags().BoolVar(&req.Hold, "hold", false, "open them on hold; `lodad machine release` lets them begin")
	return cmd
}

func machineDecide(g *globals, decision, short string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   decision + " SERIAL...",
		Short: short,
		Args:  atLeast(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return g.forEach(cmd, args, func(c *api.Client, serial string) (api.Installation, error) {
				return c.Decide(cmd.Context(), serial, decision, reason)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "kept in the timeline")
	return cmd
}

// forEach does something to each machine; one that fails does not keep the others from it.
func (g *globals) forEach(cmd *cobra.Command, serials []string, do func(*api.Client, string) (api.Installation, error)) error {
	c, err := g.client()
	if err != nil {
		return err
	}
	done := []api.Installation{}
	var failed error
	for _, serial := range serials {
		i, err := do(c, serial)
		if err != nil {
			fmt.Fprintln(cmd.ErrOrStderr(), "lodad:", plain(err.Error()))
			failed = errSilent
			continue
		}
		done = append(done, i)
		if g.output == "table" {
			fmt.Fprintf(cmd.OutOrStdout(), "%s  %s  installation %s\n", i.Serial, i.State, i.ID)
		}
	}
	if g.output == "json" {
		if err := writeJSON(cmd.OutOrStdout(), done); err != nil {
			return err
		}
	}
	return failed
}

func machineDelete(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "delete SERIAL",
		Short: "Forget a machine; its timeline stays",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			return c.DeleteMachine(cmd.Context(), args[0])
		},
	}
}
