package raidtest

import "slices"

// A Fault is something that goes wrong with a command. It goes wrong once.
type Fault struct {
	Kind FaultKind `json:"kind"`
	// Op is the command that it happens to; empty: any that writes; [AnyRead]: any that reads.
	Op string `json:"op,omitempty"`
	// Command is the number of the command that writes, counted from 1 over the life of the chassis; 0: the next one.
	Command int `json:"command,omitempty"`
	// Delay of [Slow] in nanoseconds.
	Delay int64 `json:"delay,omitempty"`
	// Code and Text of the refusal, for [Refuse] and [FailExit0].
	Code RefusalCode `json:"code,omitempty"`
	Text string      `json:"text,omitempty"`
}

// AnyRead stands for all commands that only look.
const AnyRead = "read"

// FaultKind is what goes wrong.
type FaultKind string

const (
	// Slow: it takes Delay, and is done.
	Slow FaultKind = "slow"
	// HangBefore: it does nothing and never ends. HangAfter: it does it and never ends.
	HangBefore FaultKind = "hang-before"
	HangAfter  FaultKind = "hang-after"
	// Refuse: the firmware refuses it.
	Refuse FaultKind = "refuse"
	// FailExit0: not done, said so, and exits with 0. A command that reads still prints everything.
	FailExit0 FaultKind = "fail-exit-0"
	// DoneExit1: done, said so, and exits with 1.
	DoneExit1 FaultKind = "done-exit-1"
	// Lie: says that it is done, exits with 0, and is not.
	Lie FaultKind = "lie"
	// CutBefore and CutAfter cut the power before the command does anything, and between what it did and its answer.
	CutBefore FaultKind = "cut-before"
	CutAfter  FaultKind = "cut-after"
)

func (f *Fault) refusal() *Refusal {
	r := &Refusal{Code: f.Code, Text: f.Text}
	if r.Code == "" {
		r.Code = RefusedLimit
	}
	if r.Text == "" {
		r.Text = "the firmware does not allow it now"
	}
	return r
}

// fault takes the fault that happens to a command.
func (s *State) fault(op string, writes bool) *Fault {
	i := slices.IndexFunc(s.Faults, func(f Fault) bool {
		meant := f.Op == op || f.Op == "" && writes || f.Op == AnyRead && !writes
		return meant && (f.Command == 0 || writes && f.Command == s.Commands)
	})
	if i < 0 {
		return nil
	}
	f := s.Faults[i]
	s.Faults = slices.Delete(s.Faults, i, i+1)
	return &f
}
