package raidtest

import (
	"context"
	"fmt"
	"io"
	"os"

	"github.com/project-loda/loda/raid"
)

// A Tool is an emulator of a vendor's tool: one call of it with its arguments, over a chassis. It returns what the tool
// prints and its exit status; an error is that of the chassis, or that ctx ended.
type Tool func(ctx context.Context, chassis *Chassis, args []string) (text string, exit int, err error)

// Runner runs the tool in this process.
func (t Tool) Runner(c *Chassis) raid.Runner { return toolRunner{t, c} }

type toolRunner struct {
	tool    Tool
	chassis *Chassis
}

func (r toolRunner) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	text, exit, err := r.tool(ctx, r.chassis, argv[1:])
	if err != nil {
		return nil, err
	}
	return &raid.Output{Stdout: []byte(text), ExitCode: exit}, nil
}

// ChassisVariable is the environment variable in which an emulator that is an executable finds its chassis' file.
const ChassisVariable = "LODA_CHASSIS"

// Main is the tool as an executable over the chassis that the environment names. It returns the exit status.
func (t Tool) Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	chassis, err := Open(os.Getenv(ChassisVariable))
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", ChassisVariable, err)
		return 2
	}
	text, exit, err := t(ctx, chassis, args)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	fmt.Fprint(stdout, text)
	return exit
}
