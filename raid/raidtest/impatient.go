package raidtest

import (
	"context"
	"strings"
	"time"

	"github.com/project-loda/loda/raid"
)

// Impatient runs a tool for a driver whose patience is long, so that its suite is not: a command that is going to hang is
// ended soon, as the driver would in the end. All others have the time that they need, however busy the machine is that
// tests run on. writes tells which commands a [Fault] can meet; nil: all.
func Impatient(run raid.Runner, c *Chassis, writes func(argv []string) bool) raid.Runner {
	return impatient{run, c, writes}
}

type impatient struct {
	raid.Runner
	chassis *Chassis
	writes  func(argv []string) bool
}

func (r impatient) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	if r.writes != nil && !r.writes(argv) {
		return r.Runner.Run(ctx, argv...)
	}
	state, err := r.chassis.State()
	if err != nil {
		return nil, err
	}
	for _, f := range state.Faults {
		if strings.HasPrefix(string(f.Kind), "hang") && f.Command == state.Commands+1 {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			ctx = short
		}
	}
	return r.Runner.Run(ctx, argv...)
}
