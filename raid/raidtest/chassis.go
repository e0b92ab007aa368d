package raidtest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// ErrPowerOff is what every command meets after the power was cut, until [Chassis.PowerOn]. An emulator that gets it ends
// at once, prints nothing, and exits with [ExitPowerOff].
var ErrPowerOff = errors.New("the power is off")

// ExitPowerOff is the status of a process that went with the power.
const ExitPowerOff = 137

// Chassis is a simulated machine's storage, kept in one file. Its methods may be called from several processes at once.
type Chassis struct{ path string }

// Create writes a new chassis.
func Create(path string, s *State) (*Chassis, error) {
	c := &Chassis{path}
	if err := c.write(s); err != nil {
		return nil, err
	}
	return c, nil
}

// Open opens a chassis that Create made.
func Open(path string) (*Chassis, error) {
	c := &Chassis{path}
	_, err := c.State()
	return c, err
}

// Path of the file, for an emulator's environment.
func (c *Chassis) Path() string { return c.path }

// State returns a copy of everything, without faults, whether there is power or not. It is for tests.
func (c *Chassis) State() (*State, error) {
	var s *State
	err := c.locked(func() (err error) { s, err = c.read(); return err })
	return s, err
}

// Edit changes anything, without faults, whether there is power or not. It is for tests: the world, not a command.
func (c *Chassis) Edit(edit func(*State) error) error {
	return c.locked(func() error {
		s, err := c.read()
		if err == nil {
			err = edit(s)
		}
		if err == nil {
			err = c.write(s)
		}
		return err
	})
}

// PowerOn starts the machine: the power is back after a cut, or it was rebooted. Modes that were pending are in force.
func (c *Chassis) PowerOn() error {
	return c.Edit(func(s *State) error {
		s.Off = false
		for _, ctl := range s.Controllers {
			ctl.start()
		}
		return nil
	})
}

// Answer is how a command ended.
type Answer struct {
	// Refused is why it was not done; nil: the tool says that it was.
	Refused *Refusal
	// Exit is the status to exit with. It need not agree with Refused: that is what real tools do.
	Exit int
}

// Read is a command that only looks. op names it for faults and is of the emulator's choice.
func (c *Chassis) Read(ctx context.Context, op string) (*State, Answer, error) {
	var s *State
	answer, err := c.command(ctx, op, false, func(state *State) error { s = state; return nil })
	return s, answer, err
}

// Change is a command that writes: it calls change, which calls methods of [Controller], and keeps what they did unless
// they refuse. op names it for faults; emulators use the [raid.StepKind] that the command is for.
func (c *Chassis) Change(ctx context.Context, op string, change func(*State) error) (Answer, error) {
	return c.command(ctx, op, true, change)
}

func (c *Chassis) command(ctx context.Context, op string, writes bool, change func(*State) error) (Answer, error) {
	var fault *Fault
	var number int
	err := c.locked(func() error {
		s, err := c.read()
		if err != nil {
			return err
		}
		if s.Off {
			return ErrPowerOff
		}
		if writes {
			s.Commands++
		}
		number = s.Commands
		if fault = s.fault(op, writes); fault == nil && !writes {
			return nil
		}
		if fault != nil && fault.Kind == CutBefore {
			s.Off = true
		}
		return c.write(s)
	})
	if err != nil {
		return Answer{}, err
	}
	kind := FaultKind("")
	if fault != nil {
		kind = fault.Kind
	}
	switch kind {
	case CutBefore:
		return Answer{}, ErrPowerOff
	case Slow:
		start := time.Now()
		select {
		case <-ctx.Done():
			if time.Since(start) < time.Duration(fault.Delay) {
				return Answer{}, ctx.Err()
			}
		case <-time.After(time.Duration(fault.Delay)):
		}
	case HangBefore:
		<-ctx.Done()
		return Answer{}, ctx.Err()
	case Refuse:
		return Answer{Refused: fault.refusal(), Exit: 1}, nil
	case FailExit0:
		answer := Answer{Refused: fault.refusal()}
		if !writes { // what is read is complete all the same
			return answer, c.locked(func() error {
				s, err := c.read()
				if err != nil {
					return err
				}
				return change(s)
			})
		}
		return answer, nil
	}

	var answer Answer
	err = c.locked(func() error {
		s, err := c.read()
		if err != nil {
			return err
		}
		if s.Off {
			return ErrPowerOff
		}
		if writes {
			s.Journal = append(s.Journal, Entry{Number: number, Op: op})
		}
		var before []byte
		if writes {
			if before, err = json.Marshal(s); err != nil {
				return err
			}
		}
		err = change(s)
		var no *Refusal
		if errors.As(err, &no) {
			answer = Answer{Refused: no, Exit: 1}
			if !writes {
				return nil
			}
			var old State // nothing of it is done
			if err := json.Unmarshal(before, &old); err != nil {
				return err
			}
			old.Journal[len(old.Journal)-1].Refused = no.Error()
			return c.write(&old)
		}
		if err != nil || !writes {
			return err
		}
		if kind == Lie {
			s = &State{}
			if err := json.Unmarshal(before, s); err != nil {
				return err
			}
			s.Journal = s.Journal[:len(s.Journal)-1]
		}
		s.Off = kind == CutAfter
		return c.write(s)
	})
	if err != nil {
		return Answer{}, err
	}
	switch kind {
	case DoneExit1:
		answer.Exit = 1
	case CutAfter:
		return Answer{}, ErrPowerOff
	case HangAfter:
		<-ctx.Done()
		return Answer{}, ctx.Err()
	}
	return answer, nil
}

// maxFile bounds what is read.
const maxFile = 16 << 20

func (c *Chassis) read() (*State, error) {
	info, err := os.Stat(c.path)
	if err != nil {
		return nil, fmt.Errorf("simulated chassis: %w", err)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("simulated chassis %s: %d bytes are more than any has", c.path, info.Size())
	}
	data, err := os.ReadFile(c.path)
	if err != nil {
		return nil, fmt.Errorf("simulated chassis: %w", err)
	}
	s := &State{}
	if err := json.Unmarshal(data, s); err != nil {
		return nil, fmt.Errorf("simulated chassis %s: %w", c.path, err)
	}
	for _, ctl := range s.Controllers {
		ctl.state = s
	}
	return s, nil
}

// write replaces the file as a whole, so that a process that is killed leaves the old one.
func (c *Chassis) write(s *State) error {
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return fmt.Errorf("simulated chassis %s: %w", c.path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(c.path), filepath.Base(c.path)+".*")
	if err != nil {
		return fmt.Errorf("simulated chassis: %w", err)
	}
	_, err = f.Write(data)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), c.path)
	}
	if err != nil {
		os.Remove(f.Name())
		return fmt.Errorf("simulated chassis: %w", err)
	}
	return nil
}
