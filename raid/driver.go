package raid

import "context"

// A Driver speaks to the controllers of one family through the tool that their maker has for them. It knows the
// mechanism: how to ask, how to say what is to be done, and what answers mean. What is to be done is decided by
// [Plan], the same for all drivers.
//
// A driver keeps nothing between calls that it could not read again. It never repeats a command that writes, never runs
// two at once on one controller, and never takes a tool's exit status alone for the truth.
type Driver interface {
	// Name such as storcli.
	Name() string
	// Probe lists the controllers that the driver is for. None is no error, and neither is a missing tool on a machine
	// without such a controller.
	Probe(ctx context.Context) ([]Controller, error)
	// Inventory reads one controller anew.
	Inventory(ctx context.Context, id ControllerID) (*Inventory, error)
	// Commands are what Exec would run, as argument lists, for a dry run.
	Commands(inv *Inventory, s Step) ([][]string, error)
	// Exec does one step that was planned from inv, and returns when the tool has accepted it; report may be called from
	// then on about what goes on longer. When ctx ends, a command that reads is stopped with its process group. One that
	// writes is waited for, for as long as the driver knows it to take at most, since nobody could tell what was done.
	Exec(ctx context.Context, inv *Inventory, s Step, report func(Progress)) error
}

// Runner runs a vendor's tool. Drivers get one, so that a test or a dry run can stand in for the tool.
type Runner interface {
	// Run runs a program with arguments, never through a shell. A program that ran is no error, whatever its exit status:
	// that is in the result.
	Run(ctx context.Context, argv ...string) (*Output, error)
}

// Output is what a tool said.
type Output struct {
	Stdout, Stderr []byte
	ExitCode       int
}
