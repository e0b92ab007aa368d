// Command lodad installs racks of bare servers: it answers their DHCP and network boot, runs the agent on them, and
// remembers what became of each. Run `lodad help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitFailed = 1 // what was asked for did not happen
	exitUsage  = 2 // the command line was wrong
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

func run(ctx context.Context, args []string) int {
	root := rootCommand()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "lodad: %v\nRun `lodad help` to see how it is used.\n", err)
		return exitUsage
	}
	fmt.Fprintf(os.Stderr, "lodad: %v\n", err)
	return exitFailed
}

// usageError is a wrong command line.
type usageError struct{ error }

// errSilent fails a command that has said everything already.
var errSilent = errors.New("failed")

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "lodad",
		Short: "Turn racks of bare servers into installed ones",
		Long: `lodad turns racks of bare servers into installed ones.

Import the machines' serial numbers, power them on, and watch: they netboot into
a RAM disk, report their hardware, get their operating system written to disk,
and call back when it runs.

  lodad config init > lodad.yaml        write a commented configuration
  lodad bootos build                    build the RAM disk
  lodad image build-debian              build an image to install
  lodad serve                           run the daemon
  lodad machine import rack.csv --install
  lodad status --watch

No hardware at hand? lodad lab up makes a rack of virtual machines.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       version(),
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	g := &globals{}
	g.bind(root)
	root.AddCommand(serveCommand(g), configCommand(g), machineCommand(g), statusCommand(g), timelineCommand(g),
		imageCommand(g), bootosCommand(g), tokenCommand(g), hwCommand(), labCommand(g))
	return root
}

// exactly is cobra.ExactArgs with an exit status of its own.
func exactly(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.ExactArgs(n)(cmd, args); err != nil {
			return usageError{fmt.Errorf("%s: %w; usage: %s", cmd.CommandPath(), err, cmd.UseLine())}
		}
		return nil
	}
}

func atLeast(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.MinimumNArgs(n)(cmd, args); err != nil {
			return usageError{fmt.Errorf("%s: %w; usage: %s", cmd.CommandPath(), err, cmd.UseLine())}
		}
		return nil
	}
}
