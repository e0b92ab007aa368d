package inventory

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"
	"time"
)

// State is where an installation stands. Package loda owns the transitions.
type State string

const (
	// Held waits for a person or a batch.
	Held State = "held"
	// Queued is ready: the machine gets bootOS the next time it netboots.
	Queued State = "queued"
	// Netbooting means the boot script was handed out and the agent has not reported yet.
	Netbooting State = "netbooting"
	// Detecting means the agent reads the hardware.
	Detecting State = "detecting"
	// Comparing means the facts are held against the profile.
	Comparing State = "comparing"
	// Configuring covers RAID, firmware settings and scripts.
	Configuring State = "configuring"
	// Installing means the operating system is being written.
	Installing State = "installing"
	// Finishing means everything is on disk; the machine leaves the network boot and its first boot has not
	// reported yet.
	Finishing State = "finishing"
	// Installed is the good end.
	Installed State = "installed"
	// Failed stopped with a reason; it may be retried.
	Failed State = "failed"
	// Quarantined differs from what was ordered or is faulty; a person releases it.
	Quarantined State = "quarantined"
	// Canceled was ended by a person.
	Canceled State = "canceled"
)

// States are all states in the order in which an installation passes them.
var States = []State{Held, Queued, Netbooting, Detecting, Comparing, Configuring, Installing, Finishing, Installed,
	Failed, Quarantined, Canceled}

// Open reports whether an installation in this state still owns its machine: no second one can be created beside
// it. Installed and Canceled ones are closed.
func (s State) Open() bool { return s != Installed && s != Canceled && s != "" }

// An Installation is one run of putting an operating system on one machine.
type Installation struct {
	// ID is unique, sortable by creation, safe in a URL. It is made by the store's user.
	ID     string `json:"id"`
	Serial Serial `json:"serial"`
	State  State  `json:"state"`
	// Reason says why the state is Held, Failed, Quarantined or Canceled, in a sentence that names the cause and
	// what to do.
	Reason string `json:"reason,omitempty"`
	// Profile is the name of the profile that was pinned.
	Profile string `json:"profile"`
	// Attempt counts from 1; each retry adds one.
	Attempt int `json:"attempt"`
	// Plan is the pinned work, a document of package loda that no store looks into. It also carries what the agent
	// has been told and has answered.
	Plan json.RawMessage `json:"plan,omitempty"`
	// Progress of the running action, 0 to 1, and the bytes that it moved.
	Progress float64 `json:"progress"`
	// ProgressText says what is being done in a few words.
	ProgressText string `json:"progress_text,omitempty"`

	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	// StateSince is when State was entered.
	StateSince time.Time `json:"state_since"`
	// Entered records when each state of the current attempt was entered first.
	Entered map[State]time.Time `json:"entered,omitempty"`
	// Deadline is when the current state counts as stalled; zero: never.
	Deadline time.Time `json:"deadline,omitzero"`
}

// Clone returns a copy that shares no memory with i.
func (i *Installation) Clone() Installation {
	c := *i
	c.Plan = bytes.Clone(i.Plan)
	c.Entered = maps.Clone(i.Entered)
	return c
}

// installationID is what needs no escaping in a URL's path.
var installationID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~-]{0,127}$`)

// Normalize brings i into the form in which stores keep it, or says what is wrong with it: ID (1 to 128 letters, digits
// and `-._~`), Serial, State, a Plan that is empty or JSON. Zero CreatedAt, UpdatedAt and StateSince become now, every
// time a [Moment]; an Attempt below 1 becomes 1, Progress is brought between 0 and 1.
func (i *Installation) Normalize(now time.Time) error {
	var bad []error
	if !installationID.MatchString(i.ID) {
		bad = append(bad, fmt.Errorf("%q cannot be the ID of an installation (letters, digits and -._~)", i.ID))
	}
	if s, err := ParseSerial(string(i.Serial)); err != nil {
		bad = append(bad, err)
	} else if s != i.Serial {
		bad = append(bad, fmt.Errorf("serial number %q is not in canonical form, want %q", i.Serial, s))
	}
	if !slices.Contains(States, i.State) {
		bad = append(bad, fmt.Errorf("%q is not a state of an installation", i.State))
	}
	if len(i.Plan) == 0 {
		i.Plan = nil
	} else if !json.Valid(i.Plan) {
		bad = append(bad, errors.New("the plan is not valid JSON"))
	}
	i.Attempt = max(i.Attempt, 1)
	if math.IsNaN(i.Progress) {
		i.Progress = 0
	}
	i.Progress = min(max(i.Progress, 0), 1)
	i.CreatedAt, i.UpdatedAt = orNow(i.CreatedAt, now), orNow(i.UpdatedAt, now)
	i.StateSince, i.Deadline = orNow(i.StateSince, now), Moment(i.Deadline)
	if len(i.Entered) == 0 {
		i.Entered = nil
	}
	for s, t := range i.Entered {
		i.Entered[s] = Moment(t)
	}
	return errors.Join(bad...)
}

// NormalizeChange holds the rules of [InstallationStore.UpdateInstallation] for whoever writes a backend: after is what
// change left of before. It is normalized and gets a new UpdatedAt, unless change set one.
func NormalizeChange(before, after *Installation, now time.Time) error {
	if after.ID != before.ID || after.Serial != before.Serial {
		return fmt.Errorf("ID and serial number of installation %s of machine %s cannot be changed (to %q, %q)",
			before.ID, before.Serial, after.ID, after.Serial)
	}
	if after.UpdatedAt.Equal(before.UpdatedAt) {
		after.UpdatedAt = now
	}
	if err := after.Normalize(now); err != nil {
		return fmt.Errorf("installation %s of machine %s: %w", before.ID, before.Serial, err)
	}
	return nil
}

// InstallationFilter selects installations. The zero value selects all. Fields combine with AND.
type InstallationFilter struct {
	Serial Serial
	// States keeps those in any of the states.
	States []State
	// OpenOnly keeps those whose state is [State.Open].
	OpenOnly bool
	// After is the ID that ended the previous page; results are ordered by ID.
	After string
	// Newest orders by descending ID instead, and After continues downwards.
	Newest bool
	// Limit bounds the page; 0 means 100, the maximum is 1000.
	Limit int
}

// Match reports whether i is among what f selects, the page (After, Newest, Limit) aside.
func (f *InstallationFilter) Match(i *Installation) bool {
	return (f.Serial == "" || f.Serial == i.Serial) && (len(f.States) == 0 || slices.Contains(f.States, i.State)) &&
		(!f.OpenOnly || i.State.Open())
}

// InstallationStore remembers installations. Implementations are safe for concurrent use.
type InstallationStore interface {
	// CreateInstallation stores inst and appends its events, all or nothing. A machine that has an open
	// installation already, or an ID that exists, is refused with a [*ConflictError]; an unknown machine with
	// [ErrNotFound]. Zero CreatedAt, UpdatedAt and StateSince become the present.
	CreateInstallation(ctx context.Context, inst Installation, events ...Event) error

	// Installation returns one by ID, or [ErrNotFound].
	Installation(ctx context.Context, id string) (*Installation, error)

	// OpenInstallation returns the open installation of a machine, or [ErrNotFound].
	OpenInstallation(ctx context.Context, serial Serial) (*Installation, error)

	// Installations returns one page.
	Installations(ctx context.Context, f InstallationFilter) ([]Installation, error)

	// UpdateInstallation reads the installation, calls change, and stores what change left together with the events
	// that it returned, in one transaction. change may be called more than once, must have no side effects and must
	// not call the store; if it returns an error nothing is stored and the error is returned. ID and Serial cannot be
	// changed. Reopening an installation while another one of the machine is open is a [*ConflictError]. UpdatedAt
	// becomes the present unless change set it. The stored installation is returned. [ErrNotFound] if there is none.
	UpdateInstallation(ctx context.Context, id string, change func(*Installation) ([]Event, error)) (*Installation, error)
}
