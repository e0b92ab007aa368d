package loda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
)

// pin plans an attempt: what a machine is to get at the current revision, as far as that follows from its record.
func (in *Installer) pin(ctx context.Context, m *inventory.Machine, named string) (*Plan, error) {
	revision, err := in.profiles.Revision(ctx)
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	plan := &Plan{Revision: revision, Named: named}
	profile, err := in.profiles.Resolve(ctx, Subject{Revision: revision, Profile: named, Machine: m})
	if errors.Is(err, ErrByFacts) {
		return plan, nil
	}
	if err != nil {
		return nil, err
	}
	img, err := in.imageOf(ctx, profile)
	if err != nil {
		return nil, err
	}
	plan.Profile, plan.Image = *profile, *img
	if revision != "" {
		// What depends on the hardware is read again when that is known.
		plan.Profile.Model, plan.Profile.RAID, plan.Profile.Steps = nil, nil, nil
	}
	return plan, nil
}

// imageOf finds what a profile installs, and holds it against the digests that the profile names.
func (in *Installer) imageOf(ctx context.Context, p *Profile) (*image.Image, error) {
	if p.Installer != nil {
		if in.artifacts == nil {
			return nil, &artifactError{fmt.Errorf("profile %s: it boots an installer, and this site has no artifacts", p.Name)}
		}
		for _, a := range append([]Artifact{p.Installer.Kernel}, p.Installer.Initrds...) {
			if err := in.artifacts.CheckArtifact(ctx, a); err != nil {
				return nil, &artifactError{fmt.Errorf("profile %s: artifact %s: %w", p.Name, a.Path, err)}
			}
		}
		return &image.Image{}, nil
	}
	img, err := in.images.Get(p.Image)
	if err != nil {
		return nil, fmt.Errorf("profile %s: image %s: %w", p.Name, p.Image, err)
	}
	if p.ImageSHA256 != "" && p.ImageSHA256 != img.SHA256 {
		return nil, fmt.Errorf("profile %s: image %s of this site has sha256 %s, the profile wants %s; import that image, or "+
			"correct the profile: %w", p.Name, p.Image, img.SHA256, p.ImageSHA256, image.ErrInvalid)
	}
	return &img, nil
}

// ErrArtifact is wrapped by errors that say that a profile's files are missing, or are others than it names.
var ErrArtifact = errors.New("a file of the profile is missing or another")

// artifactError is an [ErrArtifact] that says why in words of its own.
type artifactError struct{ error }

func (e *artifactError) Unwrap() []error { return []error{ErrArtifact, e.error} }

// A verdict is what the comparison of a machine with its profile came to: quarantine is set, or broke, or neither and
// the machine is installed with profile, image and disk.
type verdict struct {
	// profile is nil if none is for the machine.
	profile     *Profile
	image       *image.Image
	disk        *hw.Disk
	differences []hw.Difference
	quarantine  Quarantine
	// reason of the quarantine.
	reason string
	// broke is why the installation fails.
	broke error
}

// compare decides, from what a machine is made of, whether and how it is installed. It changes nothing. A machine that has
// got its RAID layout is not held against its model a second time; now its disks are known.
func (in *Installer) compare(ctx context.Context, m *inventory.Machine, plan *Plan, facts *hw.Facts) verdict {
	var v verdict
	volumes := plan.RAID != nil && plan.RAID.Done
	profile := &plan.Profile
	subject := Subject{Revision: plan.Revision, Profile: plan.Named, Machine: m, Facts: facts}
	if volumes {
		// What it cannot choose is said below.
		subject.Disk, _ = plan.RAID.rootDisk(profile, facts)
	}
	if plan.Revision != "" {
		var err error
		profile, err = in.profiles.Resolve(ctx, subject)
		if errors.Is(err, ErrNoProfile) {
			v.quarantine, v.reason = ForProfile, oneLine(err)
			return v
		}
		if err != nil {
			v.broke = err
			return v
		}
	}
	v.profile = profile
	if profile.Model != nil && !volumes {
		v.differences = profile.Model.Compare(facts)
	}
	if refused := refuses(v.differences, plan.Accepted); len(refused) > 0 {
		v.quarantine = ForHardware
		v.reason = fmt.Sprintf("%s profile %s%s: %s", count(refused), profile.Name, at(profile.Revision), texts(refused))
		return v
	}
	if v.image = &plan.Image; plan.Image.Name == "" || plan.Image.Name != profile.Image {
		if v.image, v.broke = in.imageOf(ctx, profile); v.broke != nil {
			return v
		}
	}
	if profile.RAID == nil || volumes {
		v.disk, v.broke = plan.RAID.chooseDisk(profile, v.image, facts)
	}
	return v
}

// refuses says which differences keep a machine from being installed: those of severity fail that nobody has accepted.
func refuses(differences, accepted []hw.Difference) []hw.Difference {
	known := make(map[hw.Difference]bool, len(accepted))
	for _, d := range accepted {
		known[d] = true
	}
	var refused []hw.Difference
	for _, d := range differences {
		if d.Severity == hw.Fail && !known[d] {
			refused = append(refused, d)
		}
	}
	return refused
}

// texts are the first differences, for a reason.
func texts(differences []hw.Difference) string {
	const most, length = 5, 1200
	var first []string
	for _, d := range differences[:min(len(differences), most)] {
		first = append(first, d.Text)
	}
	text := cleaned(strings.Join(first, "; "), length)
	if n := len(differences) - most; n > 0 {
		text += fmt.Sprintf("; and %d more, see `lodad machine show`", n)
	}
	return text
}

func count(differences []hw.Difference) string {
	if len(differences) == 1 {
		return "1 difference to"
	}
	return fmt.Sprintf("%d differences to", len(differences))
}

// at names a revision the way people do.
func at(revision string) string {
	if revision == "" {
		return ""
	}
	return fmt.Sprintf(" at commit %.10s", revision)
}

// judge moves an installation on after its machine was looked at.
func (in *Installer) judge(inst *inventory.Installation, plan *Plan, v verdict, now time.Time) ([]inventory.Event, error) {
	plan.LookAgain, plan.Differences = false, v.differences
	events := differenceEvents(inst, v.differences, now)
	if v.quarantine != "" {
		plan.Quarantine = v.quarantine
		more, err := Transition(inst, Differs, v.reason, now, in.deadlines)
		return append(events, more...), err
	}
	trigger := CompareStarted
	if inst.State == inventory.Quarantined {
		trigger = Repaired
	}
	moved, err := Transition(inst, trigger, "", now, in.deadlines)
	if err != nil {
		return nil, err
	}
	events = append(moved, events...)
	plan.Quarantine = ""
	if v.broke != nil {
		broke, err := Transition(inst, Broke, oneLine(v.broke), now, in.deadlines)
		return append(events, broke...), err
	}
	events = append(events, event(inst, inventory.KindAction, now, nil, "profile %s%s fits%s", v.profile.Name,
		at(v.profile.Revision), tolerated(v.differences)))
	return append(events, plan.settle(inst, v, now)...), nil
}

// settle keeps what a machine gets.
func (p *Plan) settle(inst *inventory.Installation, v verdict, now time.Time) []inventory.Event {
	p.Profile, p.Image, p.Disk = *v.profile, *v.image, nil
	if p.Revision != "" {
		p.Profile.Model = nil // it is read again with the revision
	}
	inst.Profile = v.profile.Name
	d := v.disk
	if d == nil {
		return nil
	}
	p.Disk = &agentapi.DiskIdentity{Serial: d.Serial, WWN: d.WWN, Path: d.Path, Bytes: d.Bytes}
	words := []string{d.Name, strings.TrimSpace(d.Vendor + " " + d.Model), "serial " + orDash(d.Serial), hw.Size(d.Bytes).String()}
	return []inventory.Event{event(inst, inventory.KindAction, now, p.Disk, "disk chosen: %s",
		strings.Join(slices.DeleteFunc(words, func(w string) bool { return w == "" }), ", "))}
}

func tolerated(differences []hw.Difference) string {
	if len(differences) == 0 {
		return ""
	}
	return fmt.Sprintf(", with %d differences that do not count, or that were accepted", len(differences))
}

// maxDifferenceEvents bounds how many differences get a line of their own in the timeline; all of them are in the plan.
const maxDifferenceEvents = 100

func differenceEvents(inst *inventory.Installation, differences []hw.Difference, now time.Time) []inventory.Event {
	var events []inventory.Event
	for _, d := range differences[:min(len(differences), maxDifferenceEvents)] {
		kind := inventory.KindLog
		if d.Severity == hw.Fail {
			kind = inventory.KindAlarm
		}
		events = append(events, event(inst, kind, now, d, "differs (%s): %s", d.Severity, printableLong(d.Text)))
	}
	return events
}

// chooseDisk applies the profile's rule, and refuses what the image or the identity does not allow. A distribution's
// installer with no rule and several disks gets none: its answers say which.
func (r *RAIDRun) chooseDisk(p *Profile, img *image.Image, facts *hw.Facts) (*hw.Disk, error) {
	disk, err := r.rootDisk(p, facts)
	if err != nil {
		if p.Installer != nil && p.Disk == (hw.DiskRule{}) && len(facts.Disks) > 1 {
			return nil, nil
		}
		return nil, fmt.Errorf("root disk: %w", err)
	}
	if need := img.RawBytes + agentapi.SeedBytes; p.Installer == nil && disk.Bytes < need {
		return nil, fmt.Errorf("root disk: %s (serial %s) has %d bytes, image %s needs %d with its seed: give the machine a "+
			"larger disk, or the profile a smaller image or another disk rule", disk.Name, orDash(disk.Serial), disk.Bytes,
			img.Name, need)
	}
	same := 0
	for i := range facts.Disks {
		if facts.Disks[i].Matches(disk.Serial, disk.WWN, disk.Path, disk.Bytes) {
			same++
		}
	}
	if same != 1 {
		return nil, fmt.Errorf("root disk: %d disks share the identity of %s (serial %s, WWN %s, path %s): it could not be "+
			"found again safely", same, disk.Name, orDash(disk.Serial), orDash(disk.WWN), orDash(disk.Path))
	}
	return disk, nil
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
