package loda

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/trust"
)

// A distribution's own installer speaks plain HTTP and knows nothing of Loda: it fetches its answer files and, from the
// scripts in them, says how far it is. All of it goes by a one-time token in the URL, which came with the boot script.

// InstallerPath is where the boot server serves installers: InstallerPath + token + "/answers/" + name, and
// InstallerPath + token + "/report/" + kind.
const InstallerPath = "/installer/"

// ErrNoAnswer says that the profile has no answer file of that name. Some installers ask for several that may be missing.
var ErrNoAnswer = errors.New("the profile has no such answer file")

// answerRepeat is for how long an installer may fetch a file again: some read it once more in their second stage.
const answerRepeat = 10 * time.Minute

// InstallerReport is what an installer says of itself.
type InstallerReport struct {
	Kind ReportKind
	// Text is the stage's name, a line of log or the reason of a failure.
	Text string
}

// ReportKind names an [InstallerReport].
type ReportKind string

const (
	// ReportStage: the installer goes on with another stage.
	ReportStage ReportKind = "stage"
	// ReportLog adds lines to the timeline.
	ReportLog ReportKind = "log"
	// ReportDone: the operating system is on disk, and the machine reboots.
	ReportDone ReportKind = "done"
	// ReportFailed ends the installation.
	ReportFailed ReportKind = "failed"
	// ReportInstalled comes from the installed system.
	ReportInstalled ReportKind = "installed"
)

// bootInstaller hands out the installer's kernel with a new token. It is asked several times in one boot.
func (in *Installer) bootInstaller(inst *inventory.Installation, plan *Plan, s Sighting, now time.Time) (Decision, []inventory.Event, error) {
	token := trust.NewSecret(inst.ID)
	mac := ""
	if len(s.MACs) > 0 {
		mac = s.MACs[0]
	}
	distro := plan.Profile.Installer
	// No secrets: whoever asks gets the boot script.
	args, missing := Fill(distro.Args, bootValues(s.Base, token, mac, nil))
	if len(missing) > 0 {
		events, err := in.breakInstaller(inst, plan, fmt.Sprintf("the installer's command line names %s, and everybody in the network "+
			"can read it: put that into an answer file", lateNames(missing)), now)
		return Decision{Message: "the installer cannot be started: " + inst.Reason}, events, err
	}
	plan.Installer.Tokens = keepToken(plan.Installer.Tokens, BootToken{Hash: trust.Hash(token), IssuedAt: now, To: s.Remote.String(), MAC: mac})
	inst.UpdatedAt, inst.Deadline = now, now.Add(in.deadlines.in(inst.State))
	d := Decision{Kernel: distro.Kernel.Path, Args: args, Message: "installation " + inst.ID + ", installer of profile " + plan.Profile.Name}
	for _, initrd := range distro.Initrds {
		d.Initrds = append(d.Initrds, initrd.Path)
	}
	return d, []inventory.Event{event(inst, inventory.KindBoot, now, s, "boots the installer of profile %s (%s, asked from %s)",
		plan.Profile.Name, s.Firmware, s.Remote)}, nil
}

// installerSwapped says what is wrong with the files of the installer that a machine is about to boot: they were right when
// the machine was compared, and somebody may have replaced them since.
func (in *Installer) installerSwapped(ctx context.Context, plan *Plan) error {
	if plan.Installer == nil || !plan.Installer.Armed || plan.Profile.Installer == nil {
		return nil
	}
	_, err := in.imageOf(ctx, &plan.Profile)
	return err
}

// bootValues are the late values of one boot. secrets may be nil.
func bootValues(base Base, token, mac string, secrets Secrets) func(Late) (string, bool) {
	return func(l Late) (string, bool) {
		switch l {
		case LateServer:
			return base.Boot, true
		case LateAnswers:
			return base.Boot + InstallerPath + token + "/answers", true
		case LateReport:
			return base.Boot + InstallerPath + token + "/report", true
		case LateMAC:
			return mac, true
		}
		name, ok := strings.CutPrefix(string(l), "secret:")
		if !ok || secrets == nil {
			return "", false
		}
		return secrets.Secret(name)
	}
}

// Answer returns an answer file for the installer that comes with a token. The first one that comes with it owns it: from
// another address, and long after, it is refused with an alarm.
func (in *Installer) Answer(ctx context.Context, token, name, from string, base Base) (string, error) {
	id, ok := trust.Prefix(token)
	if !ok {
		return "", fmt.Errorf("answer file: not in the form of a token: %w", ErrRefused)
	}
	var text, refusal string
	var unknown bool
	inst, err := in.update(ctx, id, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		text, refusal, unknown = "", "", false
		now := in.now()
		var events []inventory.Event
		if events, refusal = plan.claimInstaller(inst, token, from, now); refusal == "" && now.Sub(plan.firstFetch(name, now)) > answerRepeat {
			refusal = fmt.Sprintf("%s was fetched before, at %s", name, plan.Installer.Fetched[name].UTC().Format(time.RFC3339))
		}
		if refusal != "" {
			return refused(inst, plan, now, "answer file asked for from %s, refused: %s", from, refusal), nil
		}
		answer, ok := plan.Profile.Installer.Answers[name]
		if !ok {
			unknown = true
			return events, nil
		}
		back, err := in.installerBack(inst, plan, now)
		if err != nil || inst.State == inventory.Failed {
			return events, err
		}
		events = append(events, back...)
		filled, missing := Fill(answer, bootValues(base, token, plan.Installer.MAC, in.secrets))
		if len(missing) > 0 {
			broke, err := in.breakInstaller(inst, plan, fmt.Sprintf("answer file %s: this site has no %s", name, lateNames(missing)), now)
			return append(events, broke...), err
		}
		text = filled
		if plan.Installer.Fetched == nil {
			plan.Installer.Fetched = map[string]time.Time{}
		}
		plan.Installer.Fetched[name] = plan.firstFetch(name, now)
		inst.UpdatedAt, inst.Deadline = now, now.Add(in.deadlines.in(inst.State))
		return append(events, event(inst, inventory.KindBoot, now, nil, "the installer fetches %s from %s: %d bytes, profile %s%s",
			name, from, len(text), plan.Profile.Name, at(plan.Profile.Revision))), nil
	})
	switch {
	case errors.Is(err, inventory.ErrNotFound):
		return "", fmt.Errorf("answer file: for no installation of this site: %w", ErrRefused)
	case err != nil:
		return "", err
	case refusal != "":
		in.log.Warn("answer file refused", "serial", inst.Serial, "installation", inst.ID, "from", from, "reason", refusal)
		return "", fmt.Errorf("answer file: %s: %w", refusal, ErrRefused)
	case unknown:
		return "", fmt.Errorf("%s: %w", printable(name), ErrNoAnswer)
	case inst.State == inventory.Failed:
		return "", fmt.Errorf("answer file: %s: %w", inst.Reason, ErrRefused)
	}
	return text, nil
}

func lateNames(late []Late) string {
	names := make([]string, len(late))
	for i, l := range late {
		kind, name, _ := strings.Cut(string(l), ":")
		names[i] = kind + " " + name
	}
	return strings.Join(slices.Compact(slices.Sorted(slices.Values(names))), ", ")
}

// firstFetch is when a file was fetched first.
func (p *Plan) firstFetch(name string, now time.Time) time.Time {
	if t, ok := p.Installer.Fetched[name]; ok {
		return t
	}
	return now
}

// claimInstaller finds out whether who comes with a token is the installer of this installation, and why not.
func (p *Plan) claimInstaller(inst *inventory.Installation, token, from string, now time.Time) (events []inventory.Event, refusal string) {
	run := p.Installer
	switch {
	case run == nil || p.Profile.Installer == nil || !inst.State.Open():
		return nil, fmt.Sprintf("no installer is at work, the installation is %s", inst.State)
	case run.Hash != "" && !trust.Matches(token, run.Hash):
		return nil, "its token is not that of the installer at work"
	case run.Hash != "" && from != run.From:
		return nil, fmt.Sprintf("its token belongs to the installer at %s", run.From)
	case run.Hash != "":
		return nil, ""
	}
	for _, t := range run.Tokens {
		if !trust.Matches(token, t.Hash) {
			continue
		}
		if now.Sub(t.IssuedAt) > tokenLife {
			return nil, fmt.Sprintf("its token expired: issued at %s, good for %s", t.IssuedAt.UTC().Format(time.RFC3339), tokenLife)
		}
		if t.To != from {
			events = append(events, event(inst, inventory.KindAlarm, now, nil, "the installer comes from %s, its boot script was asked for "+
				"from %s: one machine under two addresses, or somebody who listened in", from, t.To))
		}
		run.Hash, run.From, run.MAC, run.Tokens, run.Armed = t.Hash, from, t.MAC, nil, false
		return events, ""
	}
	return nil, "its token was never issued, or newer ones replaced it"
}

// breakInstaller fails an installation whose installer is at work.
func (in *Installer) breakInstaller(inst *inventory.Installation, plan *Plan, reason string, now time.Time) ([]inventory.Event, error) {
	plan.Installer.Ended = ReportFailed
	if inst.State == inventory.Failed {
		return []inventory.Event{event(inst, inventory.KindAction, now, nil, "%s", reason)}, nil
	}
	return Transition(inst, Broke, reason, now, in.deadlines)
}

// installerBack takes an installation back that was given up for the silence of its installer. One that failed for
// another reason, or whose operating system is on disk, stays failed.
func (in *Installer) installerBack(inst *inventory.Installation, plan *Plan, now time.Time) ([]inventory.Event, error) {
	if inst.State != inventory.Failed || plan.Installer.Ended != "" {
		return nil, nil
	}
	return Transition(inst, CameBack, "", now, in.deadlines)
}

// ReportInstaller takes what an installer, or the system that it installed, says. Repeating it changes nothing.
func (in *Installer) ReportInstaller(ctx context.Context, token string, report InstallerReport, from string) error {
	id, ok := trust.Prefix(token)
	if !ok {
		return fmt.Errorf("installer: not in the form of a token: %w", ErrRefused)
	}
	var refusal string
	var again bool
	inst, err := in.update(ctx, id, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		refusal, again = "", false
		now := in.now()
		peer, run := from, plan.Installer
		if report.Kind == ReportInstalled && run != nil && run.From != "" {
			if inst.State == inventory.Installed && trust.Matches(token, run.Hash) {
				again = true // the answer was lost
				return nil, nil
			}
			peer = run.From // the installed system may have another address; the token is what counts
		}
		var events []inventory.Event
		if events, refusal = plan.claimInstaller(inst, token, peer, now); refusal != "" {
			return refused(inst, plan, now, "installer's report from %s refused: %s", from, refusal), nil
		}
		heard := report
		heard.Text = in.hide(plan, token, report.Text)
		more, err := in.installerSaid(inst, plan, heard, from, now)
		return append(events, more...), err
	})
	switch {
	case errors.Is(err, inventory.ErrNotFound):
		return fmt.Errorf("installer: for no installation of this site: %w", ErrRefused)
	case err != nil:
		return err
	case refusal != "":
		in.log.Warn("installer's report refused", "serial", inst.Serial, "installation", inst.ID, "from", from, "reason", refusal)
		return fmt.Errorf("installer: %s: %w", refusal, ErrRefused)
	}
	if report.Kind == ReportInstalled && !again {
		in.log.Info("machine installed", "serial", inst.Serial, "installation", inst.ID, "took", inst.UpdatedAt.Sub(inst.CreatedAt).Round(time.Second))
	}
	return nil
}

// hide takes out of an installer's words what stands in its command line and in its answers, and which its log repeats:
// everybody who may look at the timeline would read it.
func (in *Installer) hide(plan *Plan, token, text string) string {
	hidden := []string{token}
	if in.secrets != nil {
		for _, answer := range plan.Profile.Installer.Answers {
			for _, l := range LateIn(answer) {
				if name, ok := strings.CutPrefix(string(l), "secret:"); ok {
					if value, ok := in.secrets.Secret(name); ok && value != "" {
						hidden = append(hidden, value)
					}
				}
			}
		}
	}
	// The longest first: one may be a part of another.
	slices.SortFunc(hidden, func(a, b string) int { return len(b) - len(a) })
	for _, secret := range hidden {
		text = strings.ReplaceAll(text, secret, "***")
	}
	return text
}

// maxReportLines bounds one report of lines.
const maxReportLines = 200

func (in *Installer) installerSaid(inst *inventory.Installation, plan *Plan, report InstallerReport, from string, now time.Time) ([]inventory.Event, error) {
	var events []inventory.Event
	if report.Kind != ReportFailed && report.Kind != ReportInstalled {
		var err error
		if events, err = in.installerBack(inst, plan, now); err != nil {
			return nil, err
		}
	}
	if limit := in.deadlines.in(inst.State); limit > 0 {
		inst.UpdatedAt, inst.Deadline = now, now.Add(limit)
	}
	switch report.Kind {
	case ReportStage:
		stage := printable(report.Text)
		if inst.State == inventory.Installing {
			inst.ProgressText = "installer: " + stage
		}
		return append(events, event(inst, inventory.KindAction, now, nil, "installer at %s: %s", from, stage)), nil
	case ReportLog:
		lines := strings.Split(strings.TrimSpace(report.Text), "\n")
		for _, line := range lines[:min(len(lines), maxReportLines)] {
			events = append(events, event(inst, inventory.KindLog, now, nil, "%s", printableLong(line)))
		}
		if n := len(lines) - maxReportLines; n > 0 {
			events = append(events, event(inst, inventory.KindLog, now, nil, "(%d more lines of this report are left out: it may have %d)", n,
				maxReportLines))
		}
		return events, nil
	case ReportFailed:
		if plan.Installer.Ended == ReportFailed {
			return nil, nil
		}
		reason := printableLong(report.Text)
		if reason == "" {
			reason = "it gave no reason"
		}
		return in.breakInstaller(inst, plan, "the installer failed: "+reason, now)
	case ReportDone:
		if plan.Installer.Ended == ReportDone {
			return nil, nil
		}
		plan.Installer.Ended = ReportDone
		done, err := Transition(inst, WrittenToDisk, "", now, in.deadlines)
		return append(events, done...), err
	case ReportInstalled:
		plan.Session, plan.Tokens = nil, nil
		installed, err := Transition(inst, FirstBootReported, "", now, in.deadlines)
		return append(events, append([]inventory.Event{event(inst, inventory.KindAction, now, nil,
			"the installed system reports from %s", from)}, installed...)...), err
	}
	return nil, fmt.Errorf("installer's report %q: want stage, log, done, failed or installed: %w", report.Kind, ErrRefused)
}
