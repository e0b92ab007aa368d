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
func (in *Installer) bootInstaller(inst *inventory.Installation, plan *Plan, s Sighting, now time.Time) Decision {
	token := trust.NewSecret(inst.ID)
	plan.Installer.Tokens = keepToken(plan.Installer.Tokens, BootToken{Hash: trust.Hash(token), IssuedAt: now, To: s.Remote.String()})
	inst.UpdatedAt, inst.Deadline = now, now.Add(in.deadlines.in(inst.State))
	mac := ""
	if len(s.MACs) > 0 {
		mac = s.MACs[0]
	}
	distro := plan.Profile.Installer
	args, _ := Fill(distro.Args, bootValues(s.Base, token, mac, nil))
	d := Decision{Kernel: distro.Kernel.Path, Args: args, Message: "installation " + inst.ID + ", installer of profile " + plan.Profile.Name}
	for _, initrd := range distro.Initrds {
		d.Initrds = append(d.Initrds, initrd.Path)
	}
	return d
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
		if refusal = plan.claimInstaller(inst, token, from, now); refusal == "" && now.Sub(plan.firstFetch(name, now)) > answerRepeat {
			refusal = fmt.Sprintf("%s was fetched before, at %s", name, plan.Installer.Fetched[name].UTC().Format(time.RFC3339))
		}
		if refusal != "" {
			return []inventory.Event{event(inst, inventory.KindAlarm, now, nil, "answer file asked for from %s, refused: %s", from, refusal)}, nil
		}
		answer, ok := plan.Profile.Installer.Answers[name]
		if !ok {
			unknown = true
			return nil, nil
		}
		var missing []Late
		text, missing = Fill(answer, bootValues(base, token, "", in.secrets))
		if len(missing) > 0 {
			return in.breakInstaller(inst, fmt.Sprintf("answer file %s: this site has no %s", name, lateNames(missing)), now)
		}
		if plan.Installer.Fetched == nil {
			plan.Installer.Fetched = map[string]time.Time{}
		}
		plan.Installer.Fetched[name] = plan.firstFetch(name, now)
		inst.UpdatedAt, inst.Deadline = now, now.Add(in.deadlines.in(inst.State))
		return []inventory.Event{event(inst, inventory.KindBoot, now, nil, "the installer fetches %s from %s: %d bytes, profile %s%s",
			name, from, len(text), plan.Profile.Name, at(plan.Profile.Revision))}, nil
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
func (p *Plan) claimInstaller(inst *inventory.Installation, token, from string, now time.Time) (refusal string) {
	run := p.Installer
	switch {
	case run == nil || p.Profile.Installer == nil || !inst.State.Open():
		return fmt.Sprintf("no installer is at work, the installation is %s", inst.State)
	case run.Hash != "" && !trust.Matches(token, run.Hash):
		return "its token is not that of the installer at work"
	case run.Hash != "" && from != run.From:
		return fmt.Sprintf("its token belongs to the installer at %s", run.From)
	case run.Hash != "":
		return ""
	}
	for _, t := range run.Tokens {
		if !trust.Matches(token, t.Hash) {
			continue
		}
		if now.Sub(t.IssuedAt) > tokenLife {
			return fmt.Sprintf("its token expired: issued at %s, good for %s", t.IssuedAt.UTC().Format(time.RFC3339), tokenLife)
		}
		run.Hash, run.From, run.Tokens, run.Armed = t.Hash, from, nil, false
		return ""
	}
	return "its token was never issued, or newer ones replaced it"
}

// breakInstaller fails an installation whose installer is at work.
func (in *Installer) breakInstaller(inst *inventory.Installation, reason string, now time.Time) ([]inventory.Event, error) {
	if inst.State == inventory.Failed {
		return nil, nil
	}
	return Transition(inst, Broke, reason, now, in.deadlines)
}

// ReportInstaller takes what an installer, or the system that it installed, says. Repeating it changes nothing.
func (in *Installer) ReportInstaller(ctx context.Context, token string, report InstallerReport, from string) error {
	id, ok := trust.Prefix(token)
	if !ok {
		return fmt.Errorf("installer: not in the form of a token: %w", ErrRefused)
	}
	var refusal string
	inst, err := in.update(ctx, id, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		refusal = ""
		now := in.now()
		peer := from
		if run := plan.Installer; report.Kind == ReportInstalled && run != nil && run.From != "" {
			peer = run.From // the installed system may have another address; the token is what counts
		}
		if refusal = plan.claimInstaller(inst, token, peer, now); refusal != "" {
			return []inventory.Event{event(inst, inventory.KindAlarm, now, nil, "installer's report from %s refused: %s", from, refusal)}, nil
		}
		return in.installerSaid(inst, plan, report, from, now)
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
	if report.Kind == ReportInstalled {
		in.log.Info("machine installed", "serial", inst.Serial, "installation", inst.ID, "took", inst.UpdatedAt.Sub(inst.CreatedAt).Round(time.Second))
	}
	return nil
}

// maxReportLines bounds one report of lines.
const maxReportLines = 200

func (in *Installer) installerSaid(inst *inventory.Installation, plan *Plan, report InstallerReport, from string, now time.Time) ([]inventory.Event, error) {
	var events []inventory.Event
	// One that was given up for its silence goes on.
	if inst.State == inventory.Failed && report.Kind != ReportFailed && report.Kind != ReportInstalled {
		back, err := Transition(inst, CameBack, "", now, in.deadlines)
		if err != nil {
			return nil, err
		}
		events = append(events, back...)
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
		return events, nil
	case ReportFailed:
		reason := printableLong(report.Text)
		if reason == "" {
			reason = "it gave no reason"
		}
		return in.breakInstaller(inst, "the installer failed: "+reason, now)
	case ReportDone:
		if inst.State == inventory.Finishing {
			return nil, nil
		}
		done, err := Transition(inst, WrittenToDisk, "", now, in.deadlines)
		return append(events, done...), err
	case ReportInstalled:
		plan.Installer, plan.Session, plan.Tokens = nil, nil, nil
		installed, err := Transition(inst, FirstBootReported, "", now, in.deadlines)
		return append(events, append([]inventory.Event{event(inst, inventory.KindAction, now, nil,
			"the installed system reports from %s", from)}, installed...)...), err
	}
	return nil, fmt.Errorf("installer's report %q: want stage, log, done, failed or installed: %w", report.Kind, ErrRefused)
}
