// Command lodad installs racks of bare servers: it answers their DHCP and network boot, runs the agent on them, and
// remembers what became of each. Run `lodad help`.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
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
	context.AfterFunc(ctx, stop) // a second signal ends what the first could not
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// run is main without the process. It returns the exit status.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := rootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errSilent):
		return exitFailed
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "lodad: %s\nRun `lodad help` to see how it is used.\n", plainLines(err.Error()))
		return exitUsage
	}
	fmt.Fprintf(stderr, "lodad: %s\n", plainLines(err.Error()))
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
	root.AddCommand(serveCommand(g), configCommand(g), machineCommand(g), statusCommand(g), timelineCommand(g), dhcpCommand(g), pxeCommand(g),
		imageCommand(g), bootosCommand(g), tokenCommand(g), hwCommand(), modelCommand(g), raidCommand(g), raidDriver(), labCommand(g))
	refuseUnknownCommands(root)
	return root
}

// refuseUnknownCommands makes a misspelt command an error wherever there are commands below. cobra shows the help
// instead, and calls that a success, so that a script would go on.
func refuseUnknownCommands(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		refuseUnknownCommands(c)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 0 {
			return cmd.Help()
		}
		err := fmt.Errorf("%s: there is no command %q", cmd.CommandPath(), args[0])
		if cmd.SuggestionsMinimumDistance <= 0 {
			cmd.SuggestionsMinimumDistance = 2
		}
		if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
			err = fmt.Errorf("%w; did you mean %s?", err, strings.Join(near, " or "))
		}
		return usageError{err}
	}
	cmd.Args = cobra.ArbitraryArgs
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

func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := cobra.MaximumNArgs(n)(cmd, args); err != nil {
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
