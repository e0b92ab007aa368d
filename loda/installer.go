package loda

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/image"
)

// Images is where an [Installer] finds images. *[image.Dir] is one.
type Images interface {
	// Get returns the description of an image, or [image.ErrNotFound].
	Get(name string) (image.Image, error)
}

// Artifacts is where an [Installer] looks at the files that machines boot.
type Artifacts interface {
	// CheckArtifact says what is wrong with a file, such as another digest.
	CheckArtifact(ctx context.Context, a Artifact) error
}

// Secrets are the values that profiles name and that no repository holds.
type Secrets interface {
	// Secret returns the value; false: there is none of that name.
	Secret(name string) (string, bool)
}

// Config of an [Installer]. Store, Profiles and Images are needed.
type Config struct {
	Store    inventory.Store
	Profiles Profiles
	Images   Images
	// Artifacts are needed for profiles that boot a distribution's installer.
	Artifacts Artifacts
	// Downloads are needed for profiles whose machines are given RAID tools or drivers.
	Downloads Downloads
	// Secrets are needed for profiles that name some.
	Secrets Secrets
	// CA is the certificate authority that installed systems check the callback against, PEM.
	CA []byte
	// Deadlines per state; the zero value means the defaults.
	Deadlines Deadlines
	// Logger gets what a person should see. Nil: [slog.Default].
	Logger *slog.Logger
	// Now is the clock. Nil: [time.Now].
	Now func() time.Time
}

// Installer owns the installations of a site. Its methods are safe for concurrent use.
type Installer struct {
	store     inventory.Store
	profiles  Profiles
	images    Images
	artifacts Artifacts
	downloads Downloads
	secrets   Secrets
	ca        []byte
	deadlines Deadlines
	log       *slog.Logger
	now       func() time.Time
	wake      wakeups
}

// NewInstaller returns an installer. It starts nothing: deadlines are kept by [Installer.Run].
func NewInstaller(c Config) (*Installer, error) {
	if c.Store == nil || c.Profiles == nil || c.Images == nil {
		return nil, errors.New("loda: Config needs Store, Profiles and Images")
	}
	if err := c.Deadlines.Validate(); err != nil {
		return nil, fmt.Errorf("loda: deadlines: %w", err)
	}
	in := &Installer{store: c.Store, profiles: c.Profiles, images: c.Images, artifacts: c.Artifacts, downloads: c.Downloads, secrets: c.Secrets,
		ca: c.CA, deadlines: c.Deadlines, log: c.Logger, now: c.Now}
	if in.log == nil {
		in.log = slog.Default()
	}
	if in.now == nil {
		in.now = time.Now
	}
	return in, nil
}

// Store is where the installer remembers; reading it directly is fine.
func (in *Installer) Store() inventory.Store { return in.store }

// ErrRefused is wrapped by errors that say: not this machine, not with this secret, not now.
var ErrRefused = errors.New("refused")

// InstallOptions of [Installer.Install].
type InstallOptions struct {
	// Profile replaces the machine's own; empty keeps that.
	Profile string
	// Hold opens the installation without letting the machine begin.
	Hold bool
	// By is who asked, for the timeline.
	By string
}

// Install opens an installation for a machine: it pins profile and image, and the next time that the machine
// netboots it gets bootOS. The machine must have been imported. An installation that is open already is a
// [*inventory.ConflictError].
func (in *Installer) Install(ctx context.Context, serial inventory.Serial, o InstallOptions) (*inventory.Installation, error) {
	m, err := in.store.Machine(ctx, serial)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", serial, err)
	}
	if m.Source != inventory.Imported {
		return nil, fmt.Errorf("machine %s was only discovered: %w; import it first", serial, ErrRefused)
	}
	name := o.Profile
	if name == "" {
		name = m.Profile
	}
	plan, err := in.pin(ctx, m, name)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", serial, err)
	}
	now := in.now()
	inst := inventory.Installation{ID: newID(now), Serial: serial, State: inventory.Queued, Profile: plan.Profile.Name,
		Attempt: 1, CreatedAt: now, UpdatedAt: now, StateSince: now}
	if o.Hold {
		inst.State, inst.Reason = inventory.Held, "opened on hold; release it to begin"
	}
	inst.Entered = map[inventory.State]time.Time{inst.State: now}
	if err := plan.store(&inst); err != nil {
		return nil, err
	}
	ev := inventory.Event{Time: now, Serial: serial, Installation: inst.ID, Kind: inventory.KindState,
		Message: fmt.Sprintf("installation opened: %s, %s%s", plan.summary(), inst.State, by(o.By))}
	if err := in.store.CreateInstallation(ctx, inst, ev); err != nil {
		return nil, fmt.Errorf("machine %s: %w", serial, err)
	}
	in.log.Info("installation opened", "serial", serial, "installation", inst.ID, "profile", inst.Profile,
		"revision", plan.Revision, "state", inst.State)
	return &inst, nil
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return ", by " + who
}

// Cancel ends the open installation of a machine. An agent at work loses its session; a disk that is being written
// stays unbootable.
func (in *Installer) Cancel(ctx context.Context, serial inventory.Serial, reason, by string) (*inventory.Installation, error) {
	return in.decide(ctx, serial, CancelAsked, reason, by)
}

// Retry begins the open installation of a machine anew after it failed, or was quarantined for what it is made of: then
// it is compared again. Profile and image are pinned anew as well, since the reason is often repaired there. A machine
// that waits in bootOS goes on at once, others at their next netboot.
func (in *Installer) Retry(ctx context.Context, serial inventory.Serial, by string) (*inventory.Installation, error) {
	return in.decide(ctx, serial, RetryAsked, "", by)
}

// Release lets a held or quarantined machine go on. The reason is kept in the timeline; quarantine needs one.
func (in *Installer) Release(ctx context.Context, serial inventory.Serial, reason, by string) (*inventory.Installation, error) {
	return in.decide(ctx, serial, ReleaseAsked, reason, by)
}

// Hold keeps a queued machine from beginning.
func (in *Installer) Hold(ctx context.Context, serial inventory.Serial, reason, by string) (*inventory.Installation, error) {
	return in.decide(ctx, serial, HoldAsked, reason, by)
}

func (in *Installer) decide(ctx context.Context, serial inventory.Serial, trigger Trigger, reason, who string) (*inventory.Installation, error) {
	inst, err := in.store.OpenInstallation(ctx, serial)
	if err != nil {
		return nil, fmt.Errorf("machine %s has no open installation: %w", serial, err)
	}
	if trigger == ReleaseAsked && inst.State == inventory.Quarantined && strings.TrimSpace(reason) == "" {
		return nil, fmt.Errorf("machine %s is quarantined (%s): releasing it needs a reason: %w", serial, inst.Reason, ErrRefused)
	}
	var repinned *Plan
	// One that was on hold has not begun: it keeps what it was opened with.
	if trigger == RetryAsked || trigger == ReleaseAsked && inst.State == inventory.Quarantined {
		plan, err := planOf(inst)
		if err != nil {
			return nil, err
		}
		if repinned, err = in.replan(ctx, serial, plan); err != nil {
			return nil, fmt.Errorf("machine %s: %w", serial, err)
		}
	}
	return in.update(ctx, inst.ID, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		text := strings.TrimPrefix(strings.TrimSpace(reason)+by(who), ", ")
		released := trigger == ReleaseAsked && inst.State == inventory.Quarantined
		if released && plan.Quarantine == ForProfile {
			return nil, fmt.Errorf("machine %s is quarantined since no profile is for it, so there is nothing to release it to: "+
				"push one that matches and retry, or cancel and install with a profile's name: %w", serial, ErrRefused)
		}
		if trigger == RetryAsked && inst.State == inventory.Quarantined && plan.Quarantine == ForIdentity {
			return nil, fmt.Errorf("machine %s is quarantined (%s): a retry would find out nothing; release it with a reason, or "+
				"cancel: %w", serial, inst.Reason, ErrRefused)
		}
		events, err := Transition(inst, trigger, text, in.now(), in.deadlines)
		if err != nil {
			return nil, err
		}
		if repinned != nil {
			plan.Revision, plan.Profile, plan.Image = repinned.Revision, repinned.Profile, repinned.Image
			plan.RAID = plan.RAID.again(released && plan.Quarantine == ForRAID)
			plan.startOver()
			plan.Again = 0
			if released && plan.Quarantine == ForHardware {
				plan.Accepted = plan.Differences
			}
			plan.Quarantine, plan.LookAgain = "", false
		}
		if trigger == CancelAsked {
			plan.Session = nil
			plan.Tokens = nil
		}
		return events, nil
	})
}

// replan pins anew what an open installation is to get.
func (in *Installer) replan(ctx context.Context, serial inventory.Serial, plan *Plan) (*Plan, error) {
	m, err := in.store.Machine(ctx, serial)
	if err != nil {
		return nil, err
	}
	named := plan.Named
	if named == "" && plan.Revision == "" {
		named = plan.Profile.Name // opened by a version that knew no other profiles than named ones
	}
	return in.pin(ctx, m, named)
}

// update runs change on an installation and its plan in one transaction, and wakes whoever waits for it.
func (in *Installer) update(ctx context.Context, id string, change func(*inventory.Installation, *Plan) ([]inventory.Event, error)) (*inventory.Installation, error) {
	inst, err := in.store.UpdateInstallation(ctx, id, func(inst *inventory.Installation) ([]inventory.Event, error) {
		plan, err := planOf(inst)
		if err != nil {
			return nil, err
		}
		events, err := change(inst, plan)
		if err != nil {
			return nil, err
		}
		return events, plan.store(inst)
	})
	if err != nil {
		return nil, err
	}
	in.wake.broadcast(id)
	return inst, nil
}

// Run keeps the deadlines until ctx ends: an installation that shows no sign of life for too long fails with the last
// thing that its machine was seen doing. It returns ctx's error.
func (in *Installer) Run(ctx context.Context) error {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	for {
		if err := in.Expire(ctx); err != nil && ctx.Err() == nil {
			in.log.Error("keeping deadlines", "error", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Expire fails every installation whose deadline has passed. [Installer.Run] calls it.
func (in *Installer) Expire(ctx context.Context) error {
	filter := inventory.InstallationFilter{Limit: 1000, States: []inventory.State{inventory.Netbooting, inventory.Detecting,
		inventory.Comparing, inventory.Configuring, inventory.Installing, inventory.Finishing}}
	var errs []error
	for {
		page, err := in.store.Installations(ctx, filter)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		for _, inst := range page {
			if !inst.Deadline.IsZero() && in.now().After(inst.Deadline) {
				// One that cannot be failed does not keep the others alive.
				if err := in.expire(ctx, inst); err != nil {
					errs = append(errs, fmt.Errorf("machine %s: %w", inst.Serial, err))
				}
			}
		}
		if len(page) < filter.Limit {
			return errors.Join(errs...)
		}
		filter.After = page[len(page)-1].ID
	}
}

var errNotExpired = errors.New("not expired")

func (in *Installer) expire(ctx context.Context, inst inventory.Installation) error {
	last := "nothing"
	f := inventory.EventFilter{Serial: inst.Serial, Latest: true, Limit: 1}
	if m, err := in.store.Machine(ctx, inst.Serial); err == nil {
		f.MACs = m.MACs
	}
	if events, err := in.store.Events(ctx, f); err == nil && len(events) == 1 {
		last = fmt.Sprintf("%s (%s)", events[0].Message, events[0].Time.UTC().Format(time.RFC3339))
	}
	_, err := in.update(ctx, inst.ID, func(inst *inventory.Installation, _ *Plan) ([]inventory.Event, error) {
		if inst.Deadline.IsZero() || !in.now().After(inst.Deadline) {
			return nil, errNotExpired
		}
		reason := fmt.Sprintf("stalled while %s: no sign of life for %s; last seen: %s. Look at its console, then retry",
			inst.State, in.deadlines.in(inst.State), last)
		return Transition(inst, Stalled, reason, in.now(), in.deadlines)
	})
	if errors.Is(err, errNotExpired) {
		return nil
	}
	if err == nil {
		in.log.Warn("installation stalled", "serial", inst.Serial, "installation", inst.ID, "state", inst.State)
	}
	return err
}

// newID is sortable by time and safe in URLs: 56 bits of microseconds, so that the installations of one machine are in
// order however fast a program cancels and opens them, and 48 of randomness.
func newID(now time.Time) string {
	var b [13]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMicro())<<8)
	rand.Read(b[7:])
	return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// event makes an event of an installation; data may be nil.
func event(inst *inventory.Installation, kind inventory.Kind, now time.Time, data any, format string, args ...any) inventory.Event {
	e := inventory.Event{Time: now, Serial: inst.Serial, Installation: inst.ID, Kind: kind, Message: fmt.Sprintf(format, args...)}
	if data != nil {
		if doc, err := json.Marshal(data); err == nil {
			e.Data = doc
		}
	}
	return e
}

// wakeups lets long polls of this process learn of a change at once.
type wakeups struct {
	mu sync.Mutex
	ch map[string]chan struct{}
}

// wait returns a channel that is closed at the next broadcast of id.
func (w *wakeups) wait(id string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ch == nil {
		w.ch = map[string]chan struct{}{}
	}
	c, ok := w.ch[id]
	if !ok {
		c = make(chan struct{})
		w.ch[id] = c
	}
	return c
}

func (w *wakeups) broadcast(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.ch[id]; ok {
		close(c)
		delete(w.ch, id)
	}
}
