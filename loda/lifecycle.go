package loda

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/project-loda/loda/inventory"
)

// Trigger is what can happen to an installation.
type Trigger string

const (
	// ScriptGiven: the boot script for bootOS was handed to the machine.
	ScriptGiven Trigger = "script given"
	// DetectStarted, CompareStarted, ConfigureStarted and InstallStarted: the agent was given work of that stage.
	DetectStarted    Trigger = "detect started"
	CompareStarted   Trigger = "compare started"
	ConfigureStarted Trigger = "configure started"
	InstallStarted   Trigger = "install started"
	// WrittenToDisk: the operating system is on disk, verified; the machine may leave the network boot.
	WrittenToDisk Trigger = "written to disk"
	// FirstBootReported: the installed system itself called back.
	FirstBootReported Trigger = "first boot reported"
	// Broke: a stage failed; Stalled: a stage passed its deadline.
	Broke   Trigger = "broke"
	Stalled Trigger = "stalled"
	// CameBack: an agent or an installer that had stalled while it wrote the operating system shows that it still does.
	CameBack Trigger = "came back"
	// Differs: the machine is not what was ordered, or its identity is in doubt.
	Differs Trigger = "differs"
	// Repaired: a machine that had differed was looked at again, and is what was ordered.
	Repaired Trigger = "repaired"
	// A person decided.
	HoldAsked    Trigger = "hold asked"
	ReleaseAsked Trigger = "release asked"
	RetryAsked   Trigger = "retry asked"
	CancelAsked  Trigger = "cancel asked"
)

// ErrTransition is wrapped by the error of a transition that the lifecycle does not know.
var ErrTransition = errors.New("not possible in this state")

// inFlight are the states in which a machine is being worked on.
var inFlight = []inventory.State{inventory.Queued, inventory.Netbooting, inventory.Detecting, inventory.Comparing,
	inventory.Configuring, inventory.Installing}

// transitions says where a trigger leads from each state. What is not listed is refused. Staying in a state is listed
// too, since machines repeat themselves: they netboot again after a power cut, and their messages arrive twice.
var transitions = map[Trigger]map[inventory.State]inventory.State{
	ScriptGiven: {
		inventory.Queued: inventory.Netbooting, inventory.Netbooting: inventory.Netbooting,
		// The machine lost power or was reset in the middle: it starts over from its pinned plan.
		inventory.Detecting: inventory.Netbooting, inventory.Comparing: inventory.Netbooting,
		inventory.Configuring: inventory.Netbooting, inventory.Installing: inventory.Netbooting,
	},
	// A machine that waited in bootOS for a retry goes on from Queued without another netboot.
	DetectStarted: {inventory.Queued: inventory.Detecting, inventory.Netbooting: inventory.Detecting,
		inventory.Detecting: inventory.Detecting},
	CompareStarted:   {inventory.Detecting: inventory.Comparing},
	ConfigureStarted: {inventory.Comparing: inventory.Configuring, inventory.Configuring: inventory.Configuring},
	InstallStarted: {inventory.Comparing: inventory.Installing, inventory.Configuring: inventory.Installing,
		inventory.Installing: inventory.Installing},
	WrittenToDisk: {inventory.Installing: inventory.Finishing},
	CameBack:      {inventory.Failed: inventory.Installing},
	FirstBootReported: {
		inventory.Finishing: inventory.Installed,
		// The power went after the last sector and before the result: a disk boots only once its image was found right.
		inventory.Installing: inventory.Installed,
		// A late success is a success: the deadline was wrong, not the machine.
		inventory.Failed: inventory.Installed,
	},
	Broke: each(inventory.Failed, append([]inventory.State{inventory.Finishing}, inFlight...)...),
	Stalled: each(inventory.Failed, inventory.Netbooting, inventory.Detecting, inventory.Comparing,
		inventory.Configuring, inventory.Installing, inventory.Finishing),
	// One that differs again may differ in another way.
	Differs:  each(inventory.Quarantined, append([]inventory.State{inventory.Held, inventory.Quarantined}, inFlight...)...),
	Repaired: {inventory.Quarantined: inventory.Comparing},

	HoldAsked: {inventory.Queued: inventory.Held},
	ReleaseAsked: {inventory.Held: inventory.Queued,
		inventory.Quarantined: inventory.Queued},
	RetryAsked: {inventory.Failed: inventory.Queued, inventory.Quarantined: inventory.Queued},
	CancelAsked: each(inventory.Canceled, append([]inventory.State{inventory.Held, inventory.Failed,
		inventory.Quarantined, inventory.Finishing}, inFlight...)...),
}

func each(to inventory.State, from ...inventory.State) map[inventory.State]inventory.State {
	m := make(map[inventory.State]inventory.State, len(from))
	for _, s := range from {
		m[s] = to
	}
	return m
}

// Deadlines bound how long an installation may stay in a state without a sign of life. Zero fields mean those of
// [DefaultDeadlines].
type Deadlines struct {
	// Netbooting is from the boot script to the agent's first call. Default 15 min: a slow link and a large bootOS.
	Netbooting time.Duration `json:"netbooting" yaml:"netbooting"`
	// Detecting covers detecting, comparing and configuring, since the last progress. Default 10 min.
	Detecting time.Duration `json:"detecting" yaml:"detecting"`
	// Installing is since the last progress. Default 15 min.
	Installing time.Duration `json:"installing" yaml:"installing"`
	// Finishing is from the reboot to the first boot's report. Default 30 min: some servers need ten for their
	// power-on self test alone.
	Finishing time.Duration `json:"finishing" yaml:"finishing"`
}

// DefaultDeadlines are long enough for slow servers and slow links.
func DefaultDeadlines() Deadlines {
	return Deadlines{Netbooting: 15 * time.Minute, Detecting: 10 * time.Minute, Installing: 15 * time.Minute,
		Finishing: 30 * time.Minute}
}

// Validate refuses what cannot be meant: a deadline that is not zero and under a second, such as 15 without a unit.
func (d Deadlines) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value time.Duration
	}{{"netbooting", d.Netbooting}, {"detecting", d.Detecting}, {"installing", d.Installing}, {"finishing", d.Finishing}} {
		if f.value != 0 && f.value < time.Second {
			errs = append(errs, fmt.Errorf("%s: %s is too short; want a duration such as 15m", f.name, f.value))
		}
	}
	return errors.Join(errs...)
}

// in returns the deadline of a state; zero means none.
func (d Deadlines) in(s inventory.State) time.Duration {
	def := DefaultDeadlines()
	switch s {
	case inventory.Netbooting:
		return cmp.Or(d.Netbooting, def.Netbooting)
	case inventory.Detecting, inventory.Comparing, inventory.Configuring:
		return cmp.Or(d.Detecting, def.Detecting)
	case inventory.Installing:
		return cmp.Or(d.Installing, def.Installing)
	case inventory.Finishing:
		return cmp.Or(d.Finishing, def.Finishing)
	}
	return 0
}

// Transition moves an installation and returns the events that tell of it. It is the only place where a State is
// set. reason is a sentence for people; it is kept for the states that need one.
//
// Which states netboot into bootOS and which boot from disk follows from the state alone (see [Installer.Boot]), so
// "installed" and "stop netbooting" are one write.
func Transition(inst *inventory.Installation, trigger Trigger, reason string, now time.Time, d Deadlines) ([]inventory.Event, error) {
	from := inst.State
	to, ok := transitions[trigger][from]
	if !ok {
		return nil, fmt.Errorf("installation %s of machine %s is %s: %s is %w", inst.ID, inst.Serial, from, trigger, ErrTransition)
	}
	inst.UpdatedAt = now
	inst.Deadline = time.Time{}
	if limit := d.in(to); limit > 0 {
		inst.Deadline = now.Add(limit)
	}
	if to == inventory.Queued || trigger == Repaired {
		if trigger == RetryAsked || trigger == Repaired || trigger == ReleaseAsked && from == inventory.Quarantined {
			inst.Attempt++
		}
		inst.Entered = nil
	}
	if to == from && (to != inventory.Quarantined || inst.Reason == reason) {
		return nil, nil
	}
	inst.State, inst.StateSince = to, now
	inst.Progress, inst.ProgressText = 0, ""
	switch to {
	case inventory.Held, inventory.Failed, inventory.Quarantined, inventory.Canceled:
		inst.Reason = reason
	default:
		inst.Reason = ""
	}
	if inst.Entered == nil {
		inst.Entered = map[inventory.State]time.Time{}
	}
	if _, seen := inst.Entered[to]; !seen {
		inst.Entered[to] = now
	}
	message := fmt.Sprintf("%s → %s", from, to)
	if reason != "" {
		message += ": " + reason
	}
	data, err := json.Marshal(map[string]any{"from": from, "to": to, "trigger": trigger, "reason": reason, "attempt": inst.Attempt})
	if err != nil {
		return nil, err
	}
	return []inventory.Event{{Time: now, Serial: inst.Serial, Installation: inst.ID, Kind: inventory.KindState,
		Message: message, Data: data}}, nil
}
