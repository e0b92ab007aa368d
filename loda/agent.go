package loda

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/trust"
	"github.com/project-loda/loda/raid"
)

// Base is how an agent reaches this server: the URLs depend on the address that it came in by.
type Base struct {
	// API serves the agent protocol over TLS, such as https://10.77.0.1:8443.
	API string
	// Boot serves artifacts over plain HTTP, such as http://10.77.0.1:8080.
	Boot string
}

// OpenSession exchanges a one-time boot token for a session. The same request may be repeated, since its answer may be
// lost; then the session that it opened before is replaced. It is refused, with an alarm in the timeline, when the
// token was used before, has expired, or was made for another machine. from is the peer's address.
func (in *Installer) OpenSession(ctx context.Context, req agentapi.SessionRequest, from string) (*agentapi.Session, error) {
	id, ok := trust.Prefix(req.Token)
	if !ok {
		return nil, fmt.Errorf("boot token: not in the form of one: %w", ErrRefused)
	}
	inst, err := in.store.Installation(ctx, id)
	if errors.Is(err, inventory.ErrNotFound) {
		return nil, fmt.Errorf("boot token: for no installation of this site: %w", ErrRefused)
	}
	if err != nil {
		return nil, err
	}
	secret := trust.NewSecret(inst.ID)
	var refusal string
	inst, err = in.update(ctx, id, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		now := in.now()
		token := plan.token(req.Token)
		refusal = refuseToken(inst, token, req, now)
		if refusal != "" {
			return refused(inst, plan, now, "boot token from %s refused: %s", from, refusal), nil
		}
		token.UsedAt, token.NonceHash = now, trust.Hash(req.Nonce)
		// The others were for the same boot (iPXE repeats a request whose answer was lost) or for one that is over, and
		// went over the network in the clear: nobody needs them any more.
		plan.Tokens = slices.DeleteFunc(plan.Tokens, func(t BootToken) bool { return t.UsedAt.IsZero() })
		plan.Session = &AgentSession{Hash: trust.Hash(secret), OpenedAt: now, From: from}
		data := map[string]any{"from": from, "version": req.Version, "uptime_s": req.Uptime, "macs": req.MACs}
		return []inventory.Event{event(inst, inventory.KindAction, now, data,
			"agent %s reports from %s, %.1f s after its kernel started", printable(req.Version), from, req.Uptime)}, nil
	})
	if err != nil {
		return nil, err
	}
	if refusal != "" {
		in.log.Warn("boot token refused", "serial", inst.Serial, "installation", inst.ID, "from", from, "reason", refusal)
		return nil, fmt.Errorf("boot token: %s: %w", refusal, ErrRefused)
	}
	name := string(inst.Serial)
	if m, err := in.store.Machine(ctx, inst.Serial); err == nil {
		name = HostnameOf(m)
	}
	return &agentapi.Session{Secret: secret, Installation: inst.ID, Serial: string(inst.Serial), Name: name, Attempt: inst.Attempt}, nil
}

func (p *Plan) token(secret string) *BootToken {
	for i := range p.Tokens {
		if trust.Matches(secret, p.Tokens[i].Hash) {
			return &p.Tokens[i]
		}
	}
	return nil
}

func refuseToken(inst *inventory.Installation, token *BootToken, req agentapi.SessionRequest, now time.Time) string {
	serial, err := inventory.ParseSerial(req.Serial)
	switch {
	case !inst.State.Open():
		return fmt.Sprintf("its installation is %s", inst.State)
	case token == nil:
		return "it was never issued, or newer ones replaced it"
	case !token.UsedAt.IsZero() && (req.Nonce == "" || !trust.Matches(req.Nonce, token.NonceHash)):
		return fmt.Sprintf("it was used before, at %s", token.UsedAt.UTC().Format(time.RFC3339))
	case now.Sub(token.IssuedAt) > tokenLife:
		return fmt.Sprintf("it expired: issued at %s, good for %s", token.IssuedAt.UTC().Format(time.RFC3339), tokenLife)
	case err != nil:
		return fmt.Sprintf("the machine that presents it says: %v", err)
	case serial != inst.Serial:
		return fmt.Sprintf("it was made for machine %s, not for %s", inst.Serial, serial)
	}
	return ""
}

// CheckSession returns the ID of the installation that a session's secret speaks for, or an error that wraps
// [ErrRefused].
func (in *Installer) CheckSession(ctx context.Context, secret string) (string, error) {
	id, ok := trust.Prefix(secret)
	if !ok {
		return "", fmt.Errorf("agent session: no secret: %w", ErrRefused)
	}
	inst, err := in.store.Installation(ctx, id)
	if errors.Is(err, inventory.ErrNotFound) {
		return "", fmt.Errorf("agent session: for no installation of this site: %w", ErrRefused)
	}
	if err != nil {
		return "", err
	}
	plan, err := planOf(inst)
	if err != nil {
		return "", err
	}
	if !inst.State.Open() || !plan.speaks(secret) {
		return "", errSessionOver
	}
	return id, nil
}

var errSessionOver = fmt.Errorf("agent session: ended, or replaced by a newer boot: %w", ErrRefused)

// speaks reports whether secret is that of the agent's session.
func (p *Plan) speaks(secret string) bool {
	return p.Session != nil && trust.Matches(secret, p.Session.Hash)
}

// errIdle means that there is nothing to do right now.
var errIdle = errors.New("nothing to do")

// Ask is an agent's question for work.
type Ask struct {
	// Installation and Secret are the session's.
	Installation, Secret string
	// Told is the ID of the [agentapi.ActionWait] that the agent shows already: it is not told again at once.
	Told string
	// Wait is how long to wait for work, at most [agentapi.MaxWait].
	Wait time.Duration
	Base Base
}

// NextAction returns what the agent of an installation has to do, waiting for work to appear. The same action is
// returned again until it has a result. Nil means that there was none in that time.
func (in *Installer) NextAction(ctx context.Context, q Ask) (*agentapi.Action, error) {
	wait := min(q.Wait, agentapi.MaxWait)
	ctx, cancel := context.WithTimeout(ctx, wait+10*time.Second)
	defer cancel()
	end := time.NewTimer(wait)
	defer end.Stop()
	// Another process of the site may change the record without waking us, so look again now and then.
	look := time.NewTicker(2 * time.Second)
	defer look.Stop()
	for {
		woken := in.wake.wait(q.Installation)
		a, err := in.nextAction(ctx, q.Installation, q.Secret, q.Base)
		if err != nil && !errors.Is(err, errIdle) {
			return nil, err
		}
		if a != nil && (a.Kind != agentapi.ActionWait || a.ID != q.Told) {
			return a, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-end.C:
			return nil, nil
		case <-woken:
		case <-look.C:
		}
	}
}

func (in *Installer) nextAction(ctx context.Context, id, secret string, base Base) (*agentapi.Action, error) {
	// Look before writing: most polls find nothing to do.
	inst, err := in.store.Installation(ctx, id)
	if err != nil {
		return nil, err
	}
	plan, err := planOf(inst)
	if err != nil {
		return nil, err
	}
	if !plan.speaks(secret) {
		return nil, errSessionOver
	}
	switch {
	case waits(inst, plan):
		return &agentapi.Action{ID: fmt.Sprintf("wait-%d", inst.StateSince.UnixMilli()), Kind: agentapi.ActionWait, Title: "waiting for a person",
			Wait: &agentapi.Wait{State: string(inst.State), Reason: inst.Reason}}, nil
	case plan.pending() == nil && (inst.State == inventory.Finishing || inst.State == inventory.Installing):
		return nil, errIdle // it is rebooting
	}

	m, err := in.store.Machine(ctx, inst.Serial)
	if err != nil {
		return nil, fmt.Errorf("machine %s: %w", inst.Serial, err)
	}
	var action *agentapi.Action
	_, err = in.update(ctx, id, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		action = nil // the store may call this more than once
		// Between the look and this write a newer boot may have opened a session, or the installation have stopped.
		if !plan.speaks(secret) {
			return nil, errSessionOver
		}
		var events []inventory.Event
		var err error
		now := in.now()
		switch {
		case waits(inst, plan):
			return nil, errIdle // the next look says why
		case inst.State == inventory.Queued, inst.State == inventory.Netbooting:
			plan.startOver()
			plan.add(agentapi.ActionDetect, "detect the hardware")
			events, err = Transition(inst, DetectStarted, "", now, in.deadlines)
		case plan.pending() != nil:
		case inst.State == inventory.Quarantined:
			plan.add(agentapi.ActionDetect, "look at the hardware again")
		case inst.State == inventory.Configuring && plan.RAID != nil && plan.RAID.Rebooting:
			return nil, errIdle
		case inst.State == inventory.Comparing, inst.State == inventory.Configuring:
			events, err = in.proceed(inst, plan, now)
		}
		if err != nil {
			return nil, err
		}
		p := plan.pending()
		if p == nil {
			return nil, errIdle
		}
		if p.GivenAt.IsZero() {
			events = append(events, event(inst, inventory.KindAction, now, nil, "agent told to %s", p.Title))
		}
		p.GivenAt = now
		if action, err = in.action(inst, plan, p, m, base); err != nil {
			// Asking again would not help, and the machine's silence would be all that anyone sees.
			broke, terr := Transition(inst, Broke, p.Title+": "+err.Error(), now, in.deadlines)
			return append(events, broke...), terr
		}
		return events, nil
	})
	return action, err
}

// waits reports whether there is nothing to do until a person decides.
func waits(inst *inventory.Installation, plan *Plan) bool {
	switch inst.State {
	case inventory.Failed, inventory.Held:
		return true
	case inventory.Quarantined:
		return !plan.LookAgain
	}
	return false
}

// proceed adds what comes after the comparison: the profile's steps one by one, its RAID layout, then the operating
// system.
func (in *Installer) proceed(inst *inventory.Installation, plan *Plan, now time.Time) ([]inventory.Event, error) {
	steps := plan.Profile.Steps
	switch {
	case plan.Step < len(steps):
		inst.Progress, inst.ProgressText = 0, "" // of the step before, which was in the same state
		plan.add(agentapi.ActionRunScript, fmt.Sprintf("run step %d of %d, %s", plan.Step+1, len(steps), steps[plan.Step].Name))
		return Transition(inst, ConfigureStarted, "", now, in.deadlines)
	case plan.Profile.RAID != nil && (plan.RAID == nil || !plan.RAID.Done):
		inst.Progress, inst.ProgressText = 0, ""
		plan.proceedRAID()
		return Transition(inst, ConfigureStarted, "", now, in.deadlines)
	case plan.Profile.Installer != nil:
		plan.Installer = &InstallerRun{}
		plan.add(agentapi.ActionBoot, "reboot into the "+plan.Profile.Installer.Kind+" installer")
	default:
		plan.add(agentapi.ActionInstallImage, "write image "+plan.Image.Name+" to disk")
	}
	return Transition(inst, InstallStarted, "", now, in.deadlines)
}

// action fills in what the agent needs. The first-boot secret is made anew each time, since only its hash is kept;
// the agent writes the seed of the answer that reached it.
func (in *Installer) action(inst *inventory.Installation, plan *Plan, p *PlannedAction, m *inventory.Machine, base Base) (*agentapi.Action, error) {
	a := &agentapi.Action{ID: p.ID, Kind: p.Kind, Title: p.Title}
	switch p.Kind {
	case agentapi.ActionRunScript:
		script, err := in.script(inst, plan)
		if err != nil {
			return nil, err
		}
		a.RunScript = script
	case agentapi.ActionConfigureRAID:
		if plan.Profile.RAID == nil || plan.RAID == nil {
			return nil, errors.New("the profile has no RAID layout")
		}
		a.ConfigureRAID = &agentapi.ConfigureRAID{Installation: inst.ID, Serial: string(inst.Serial), Layout: *plan.Profile.RAID,
			Approval: plan.RAID.Approved, Tools: map[raid.Tool]agentapi.Download{}}
		for tool, d := range plan.Profile.Tools {
			a.ConfigureRAID.Tools[tool] = d.forAgent()
		}
		for _, d := range plan.Profile.RAIDDrivers {
			a.ConfigureRAID.Drivers = append(a.ConfigureRAID.Drivers, agentapi.RAIDDriver{Name: d.Name, Program: d.forAgent(), For: d.For})
		}
	case agentapi.ActionInstallImage:
		secret := trust.NewSecret(inst.ID)
		plan.FirstBootHash = trust.Hash(secret)
		userData, secrets, err := in.reveal(plan.Profile.UserData)
		if err != nil {
			return nil, fmt.Errorf("user_data: %w", err)
		}
		seed, err := image.Seed(image.SeedOptions{
			Hostname: HostnameOf(m), InstanceID: inst.ID, SSHKeys: plan.Profile.SSHKeys, UserData: userData,
			BuiltinDHCP: plan.Image.BuiltinDHCP,
			FirstBoot:   agentapi.FirstBoot{URLs: []string{base.API + agentapi.PathInstalled}, Secret: secret, CA: string(in.ca)},
		})
		if err != nil && len(secrets) > 0 {
			// The parser's message shows the line, which may hold a secret, and this one is kept for all to read.
			return nil, errors.New("user_data is not what cloud-init takes any more once the secrets are filled in: put them into " +
				"quotes or a block scalar in the profile, or correct them at the site")
		}
		if err != nil {
			return nil, fmt.Errorf("installation %s: %w", inst.ID, err)
		}
		a.InstallImage = &agentapi.InstallImage{
			Installation: inst.ID, Serial: string(inst.Serial),
			URL:    base.Boot + ImagePath + plan.Image.File,
			Format: plan.Image.Format, SHA256: plan.Image.SHA256, Bytes: plan.Image.Bytes, RawBytes: plan.Image.RawBytes,
			Disk: *plan.Disk, Seed: seed, BootLabel: "Loda",
		}
	case agentapi.ActionBoot:
		if plan.Installer != nil || plan.RAID != nil && plan.RAID.Rebooting {
			a.Boot = &agentapi.Boot{Method: "reboot"} // it netboots
			break
		}
		a.Boot = &agentapi.Boot{Method: bootMethod(plan.Profile), Disk: *plan.Disk}
	}
	return a, nil
}

// script is the profile's next step, with its secrets.
func (in *Installer) script(inst *inventory.Installation, plan *Plan) (*agentapi.RunScript, error) {
	step := plan.Profile.Steps[plan.Step]
	run := &agentapi.RunScript{Installation: inst.ID, Serial: string(inst.Serial), Name: step.Name, File: step.File,
		Interpreter: step.Interpreter, TimeoutSeconds: int(step.Timeout / time.Second), ExitCodes: step.ExitCodes,
		Script: step.Script, Env: map[string]string{}}
	for name, text := range step.Env {
		value, secrets, err := in.reveal(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		run.Env[name] = value
		for _, secret := range secrets {
			if !slices.Contains(run.Secrets, secret) {
				run.Secrets = append(run.Secrets, secret)
			}
		}
	}
	slices.Sort(run.Secrets)
	return run, nil
}

// reveal puts the site's secrets into a text, and lists them.
func (in *Installer) reveal(text string) (revealed string, secrets []string, err error) {
	revealed, missing := Fill(text, func(l Late) (string, bool) {
		value, ok := bootValues(Base{}, "", "", in.secrets)(l)
		if ok = ok && strings.HasPrefix(string(l), "secret:"); ok {
			secrets = append(secrets, value)
		}
		return value, ok
	})
	if len(missing) > 0 {
		return "", nil, fmt.Errorf("this site has no %s", lateNames(missing))
	}
	return revealed, secrets, nil
}

// ImagePath is where the boot server serves image files.
const ImagePath = "/artifacts/images/"

func bootMethod(p Profile) string {
	if p.Boot == "" {
		return "reboot"
	}
	return p.Boot
}

// ReportProgress remembers how far the agent is and that it is alive.
func (in *Installer) ReportProgress(ctx context.Context, id, action string, p agentapi.Progress) error {
	_, err := in.store.UpdateInstallation(ctx, id, func(inst *inventory.Installation) ([]inventory.Event, error) {
		plan, err := planOf(inst)
		if err != nil {
			return nil, err
		}
		if pending := plan.pending(); pending == nil || pending.ID != action {
			return nil, fmt.Errorf("progress of action %s, which is not the one at work: %w", action, ErrTransition)
		}
		now := in.now()
		events, err := in.comeBack(inst, plan, now)
		if err != nil {
			return nil, err
		}
		inst.Progress, inst.ProgressText, inst.UpdatedAt = min(max(p.Fraction, 0), 1), printable(p.Text), now
		if limit := in.deadlines.in(inst.State); limit > 0 {
			inst.Deadline = now.Add(limit)
		}
		return events, nil
	})
	return err
}

// comeBack takes a machine back that was given up for its silence while it wrote the operating system: the cable was
// out for a while, and the agent has gone on since. An installation that failed for another reason has no pending
// action.
func (in *Installer) comeBack(inst *inventory.Installation, plan *Plan, now time.Time) ([]inventory.Event, error) {
	if p := plan.pending(); inst.State != inventory.Failed || p == nil || p.Kind != agentapi.ActionInstallImage {
		return nil, nil
	}
	return Transition(inst, CameBack, "", now, in.deadlines)
}

// FinishAction takes the result of an action. Reporting the same result again, or one of an action that a newer boot
// made void, changes nothing.
func (in *Installer) FinishAction(ctx context.Context, id, action string, r agentapi.Result) error {
	inst, err := in.store.Installation(ctx, id)
	if err != nil {
		return err
	}
	plan, err := planOf(inst)
	if err != nil {
		return err
	}
	p := plan.action(action)
	if p == nil || p.Result != nil {
		return nil
	}
	var v verdict
	if p.Kind == agentapi.ActionDetect && r.OK {
		facts, err := readFacts(inst.Serial, r.Data)
		if err != nil {
			r = agentapi.Result{Error: err.Error(), Seconds: r.Seconds}
		} else {
			m, err := in.keepFacts(ctx, inst.Serial, facts, r.Data)
			if err != nil {
				return fmt.Errorf("keeping the facts of machine %s: %w", inst.Serial, err) // the agent sends them again
			}
			v = in.compare(ctx, m, plan, facts)
		}
	}
	_, err = in.update(ctx, id, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		p := plan.action(action)
		if p == nil || p.Result != nil {
			return nil, nil
		}
		if inst.State == inventory.Quarantined && waits(inst, plan) {
			// It was put there while the agent worked, and its hardware says nothing of whose serial number it is.
			return nil, fmt.Errorf("result of action %s, which came after the machine was quarantined: %w", action, ErrTransition)
		}
		now := in.now()
		back, err := in.comeBack(inst, plan, now)
		if err != nil {
			return nil, err
		}
		kept := r
		if p.Kind == agentapi.ActionDetect || p.Kind == agentapi.ActionConfigureRAID || len(r.Data) > maxResult {
			kept.Data = nil // the facts are in the machine's record, the controllers in the timeline
		}
		kept.Error = printableLong(r.Error)
		p.Result, p.FinishedAt = &kept, now
		if !r.OK {
			reason := printableLong(r.Error)
			if reason == "" {
				reason = "the agent gave no reason"
			}
			if inst.State == inventory.Quarantined {
				plan.LookAgain = false
				return []inventory.Event{event(inst, inventory.KindAlarm, now, nil, "%s: %s", p.Title, reason)}, nil
			}
			broke, err := Transition(inst, Broke, p.Title+": "+reason, now, in.deadlines)
			if err != nil || !r.Retryable || p.Kind != agentapi.ActionInstallImage || plan.Again >= maxAgain {
				return append(back, broke...), err
			}
			plan.Again++
			plan.startOver()
			again, err := Transition(inst, RetryAsked, fmt.Sprintf("by itself, %d of %d", plan.Again, maxAgain), now, in.deadlines)
			return slices.Concat(back, broke, again), err
		}
		events := append(back, event(inst, inventory.KindAction, now, kept.Data, "done in %.1f s: %s", r.Seconds, p.Title))
		more, err := in.advance(inst, plan, p.Kind, r.Data, v, now)
		return append(events, more...), err
	})
	return err
}

// advance moves an installation on after a good result.
func (in *Installer) advance(inst *inventory.Installation, plan *Plan, done agentapi.ActionKind, data json.RawMessage, v verdict,
	now time.Time) ([]inventory.Event, error) {
	switch done {
	case agentapi.ActionDetect:
		if inst.State == inventory.Configuring {
			return in.settleRAID(inst, plan, v, now)
		}
		return in.judge(inst, plan, v, now)
	case agentapi.ActionConfigureRAID:
		return in.raidAnswer(inst, plan, data, now)
	case agentapi.ActionRunScript:
		plan.Step++
	case agentapi.ActionInstallImage:
		events, err := Transition(inst, WrittenToDisk, "", now, in.deadlines)
		if err != nil {
			return nil, err
		}
		plan.add(agentapi.ActionBoot, bootMethod(plan.Profile)+" into the installed system")
		return events, nil
	case agentapi.ActionBoot:
		if plan.Installer != nil && inst.State == inventory.Installing {
			plan.Installer.Armed = true
			inst.Deadline = now.Add(in.deadlines.in(inventory.Netbooting))
		}
		if plan.RAID != nil && plan.RAID.Rebooting {
			inst.Deadline = now.Add(in.deadlines.in(inventory.Netbooting))
		}
	}
	return nil, nil
}

const maxFacts = 4 << 20

// maxResult bounds what is kept of other results, in the plan and in the timeline. Those of our agent are much smaller.
const maxResult = 64 << 10

// readFacts checks a facts document.
func readFacts(serial inventory.Serial, doc json.RawMessage) (*hw.Facts, error) {
	if len(doc) > maxFacts {
		return nil, fmt.Errorf("the facts have %d bytes, at most %d are taken", len(doc), maxFacts)
	}
	facts, err := hw.Decode(doc)
	if err != nil {
		return nil, fmt.Errorf("the facts cannot be read: %w", err)
	}
	if got, err := inventory.ParseSerial(facts.System.Serial); err != nil || got != serial {
		return nil, fmt.Errorf("the facts are of serial number %q, the installation is for %s", facts.System.Serial, serial)
	}
	return facts, nil
}

// keepFacts stores a facts document with its machine.
func (in *Installer) keepFacts(ctx context.Context, serial inventory.Serial, facts *hw.Facts,
	doc json.RawMessage) (*inventory.Machine, error) {
	return in.store.UpdateMachine(ctx, serial, func(m *inventory.Machine) error {
		m.Facts, m.LastSeenAt = doc, in.now()
		for _, f := range []struct {
			field *string
			said  string
		}{{&m.Vendor, facts.System.Vendor}, {&m.Product, facts.System.Product}, {&m.UUID, facts.System.UUID}} {
			if said := printable(f.said); said != "" {
				*f.field = said
			}
		}
		return nil
	})
}

// Log appends lines that the agent or a script printed.
func (in *Installer) Log(ctx context.Context, id string, lines []agentapi.LogLine) error {
	inst, err := in.store.Installation(ctx, id)
	if err != nil {
		return err
	}
	events := make([]inventory.Event, 0, len(lines))
	for _, line := range lines {
		// The server's clock orders the timeline; a machine's clock may stand in 1970.
		events = append(events, event(inst, inventory.KindLog, in.now(), nil, "%s", printableLong(line.Text)))
	}
	return in.store.AppendEvents(ctx, events...)
}

// FirstBoot takes the report of the installed system's first boot, which ends the installation. from is the peer's
// address. Reporting again is accepted and changes nothing.
func (in *Installer) FirstBoot(ctx context.Context, report agentapi.Installed, from string) error {
	id, ok := trust.Prefix(report.Secret)
	if !ok {
		return fmt.Errorf("first boot: no secret: %w", ErrRefused)
	}
	var refusal string
	inst, err := in.update(ctx, id, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		refusal = ""
		now := in.now()
		if !trust.Matches(report.Secret, plan.FirstBootHash) {
			refusal = "its secret is not that of the system on disk"
			return refused(inst, plan, now, "first boot from %s refused: %s", from, refusal), nil
		}
		if inst.State == inventory.Installed {
			return nil, nil
		}
		said := report
		said.Secret = ""
		plan.FirstBoot, plan.Session, plan.Tokens = &said, nil, nil
		events, err := Transition(inst, FirstBootReported, "", now, in.deadlines)
		return append([]inventory.Event{event(inst, inventory.KindAction, now, said, "first boot reports from %s: host name %s, kernel %s, up for %.0f s",
			from, printable(report.Hostname), printable(report.Kernel), report.Uptime)}, events...), err
	})
	if errors.Is(err, inventory.ErrNotFound) {
		return fmt.Errorf("first boot: for no installation of this site: %w", ErrRefused)
	}
	if err != nil {
		return err
	}
	if refusal != "" {
		in.log.Warn("first boot refused", "serial", inst.Serial, "installation", inst.ID, "from", from, "reason", refusal)
		return fmt.Errorf("first boot: %s: %w", refusal, ErrRefused)
	}
	in.log.Info("machine installed", "serial", inst.Serial, "installation", inst.ID, "took", inst.UpdatedAt.Sub(inst.CreatedAt).Round(time.Second))
	return nil
}

// Timeline returns a page of everything that is known of a machine, DHCP and transfers included. Of a machine that was
// deleted it is what was recorded under its serial number; [inventory.ErrNotFound] means that there is nothing at all.
func (in *Installer) Timeline(ctx context.Context, serial inventory.Serial, f inventory.EventFilter) ([]inventory.Event, error) {
	f.Serial, f.MACs = serial, nil
	m, err := in.store.Machine(ctx, serial)
	unknown := errors.Is(err, inventory.ErrNotFound)
	switch {
	case err == nil:
		f.MACs = m.MACs
	case !unknown:
		return nil, fmt.Errorf("machine %s: %w", serial, err)
	}
	events, err := in.store.Events(ctx, f)
	if err == nil && unknown && len(events) == 0 && f.After == 0 {
		return nil, fmt.Errorf("machine %s: %w", serial, inventory.ErrNotFound)
	}
	return events, err
}

// printableLong is printable for log lines and reasons.
func printableLong(s string) string {
	return cleaned(strings.NewReplacer("\n", " ", "\t", " ").Replace(s), 3000)
}
