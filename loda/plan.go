package loda

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
)

// Plan is what an installation pinned when it was opened, and what became of it: the document in
// [inventory.Installation.Plan]. Secrets stand in it as hashes only.
type Plan struct {
	// Revision of the profiles that this attempt is planned with; empty where there are none.
	Revision string `json:"revision,omitempty"`
	// Named is the profile that a person chose; empty: the one that matches the machine.
	Named string `json:"named,omitempty"`
	// Profile and Image as they were when the installation was opened. From the comparison on the profile is that of
	// this very machine, without its model, which has done its work then.
	Profile Profile     `json:"profile"`
	Image   image.Image `json:"image"`

	// Quarantine is why the machine is quarantined, empty if it is not.
	Quarantine Quarantine `json:"quarantine,omitempty"`
	// LookAgain: a quarantined machine has booted anew and is to be compared once more.
	LookAgain bool `json:"look_again,omitempty"`
	// Differences to the model that the last comparison found.
	Differences []hw.Difference `json:"differences,omitempty"`
	// Accepted are those that a person has released the machine with.
	Accepted []hw.Difference `json:"accepted,omitempty"`

	// Tokens are the boot tokens handed out last, newest last.
	Tokens []BootToken `json:"tokens,omitempty"`
	// Session is the agent's, at most one.
	Session *AgentSession `json:"session,omitempty"`
	// Actions of the current boot, in order.
	Actions []PlannedAction `json:"actions,omitempty"`
	// NextAction numbers actions; a number is never used twice in an installation.
	NextAction int `json:"next_action"`
	// Step is how many of the profile's steps are done in the current boot.
	Step int `json:"step,omitempty"`
	// RAID is how far the machine is with its RAID layout; nil: it has not come to that.
	RAID *RAIDRun `json:"raid,omitempty"`
	// Installer is the distribution's installer at work.
	Installer *InstallerRun `json:"installer,omitempty"`
	// Disk is the one that the rule chose from the facts of the current boot.
	Disk *agentapi.DiskIdentity `json:"disk,omitempty"`
	// FirstBootHash is of the secret that the last seed carried.
	FirstBootHash string `json:"first_boot_hash,omitempty"`
	// Refused counts what was refused to whoever came with a wrong token; see maxRefused.
	Refused int `json:"refused,omitempty"`
	// Again counts the attempts that began by themselves since a person last asked for one.
	Again int `json:"again,omitempty"`
	// FirstBoot is what the installed system reported.
	FirstBoot *agentapi.Installed `json:"first_boot,omitempty"`
}

// maxRefused is how many refusals of an installation are remembered. Nobody who is refused has to prove anything, so
// that anybody on the provisioning network could fill the database.
const maxRefused = 100

// refused is the alarm for something that was refused.
func refused(inst *inventory.Installation, plan *Plan, now time.Time, format string, args ...any) []inventory.Event {
	plan.Refused++
	switch {
	case plan.Refused > maxRefused:
		return nil
	case plan.Refused == maxRefused:
		format += "; this is number %d, further ones stand in the server's log only"
		args = append(args, maxRefused)
	}
	return []inventory.Event{event(inst, inventory.KindAlarm, now, nil, format, args...)}
}

// Quarantine says what a quarantined machine is suspected of, and so what frees it.
type Quarantine string

const (
	// ForIdentity: two machines may be one. Only a person can tell.
	ForIdentity Quarantine = "identity"
	// ForHardware: it differs from its model. It is compared again at its next boot.
	ForHardware Quarantine = "hardware"
	// ForProfile: no profile is for it. It is matched again at its next boot.
	ForProfile Quarantine = "profile"
)

// InstallerRun is a distribution's installer that was, or is to be, started.
type InstallerRun struct {
	// Armed: the next netboot starts the installer. Once it has fetched an answer file, the next one goes to bootOS
	// again: the machine lost power, or somebody reset it.
	Armed bool `json:"armed,omitempty"`
	// Tokens are those handed out with the boot script last, newest last.
	Tokens []BootToken `json:"tokens,omitempty"`
	// Hash is of the token that the installer came with first; From is its address, and MAC what it booted by.
	Hash string `json:"hash,omitempty"`
	From string `json:"from,omitempty"`
	MAC  string `json:"mac,omitempty"`
	// Ended is its last word, [ReportDone] or [ReportFailed]. What it says afterwards does not take it back.
	Ended ReportKind `json:"ended,omitempty"`
	// Fetched is when an answer file was fetched first, by name.
	Fetched map[string]time.Time `json:"fetched,omitempty"`
}

// A BootToken was handed out with a boot script and can be exchanged once.
type BootToken struct {
	Hash     string    `json:"hash"`
	IssuedAt time.Time `json:"issued_at"`
	// To is the address that asked for the script, and MAC that of the NIC that it said to boot by.
	To     string    `json:"to,omitempty"`
	MAC    string    `json:"mac,omitempty"`
	UsedAt time.Time `json:"used_at,omitzero"`
	// NonceHash is of the nonce that it was used with.
	NonceHash string `json:"nonce_hash,omitempty"`
}

// AgentSession is an agent that exchanged its token.
type AgentSession struct {
	Hash     string    `json:"hash"`
	OpenedAt time.Time `json:"opened_at"`
	From     string    `json:"from,omitempty"`
}

// PlannedAction is an action that was made for the agent, and its result once there is one.
type PlannedAction struct {
	ID         string              `json:"id"`
	Kind       agentapi.ActionKind `json:"kind"`
	Title      string              `json:"title"`
	GivenAt    time.Time           `json:"given_at,omitzero"`
	FinishedAt time.Time           `json:"finished_at,omitzero"`
	Result     *agentapi.Result    `json:"result,omitempty"`
}

const (
	// tokenLife is from the boot script to the agent: kernel and bootOS have to be transferred in between.
	tokenLife = 30 * time.Minute
	// maxTokens bounds how many are kept: iPXE repeats a request whose answer was lost, and a used token has to be
	// recognised when somebody replays it.
	maxTokens = 8
)

// maxAgain is how often an installation begins anew by itself after what may pass by itself: a broken transfer.
const maxAgain = 3

func planOf(inst *inventory.Installation) (*Plan, error) {
	var p Plan
	if err := json.Unmarshal(inst.Plan, &p); err != nil {
		return nil, fmt.Errorf("installation %s: its plan cannot be read: %w", inst.ID, err)
	}
	return &p, nil
}

func (p *Plan) store(inst *inventory.Installation) error {
	doc, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("installation %s: %w", inst.ID, err)
	}
	inst.Plan = doc
	return nil
}

// summary says what is pinned.
func (p *Plan) summary() string {
	switch {
	case p.Profile.Name == "":
		return "the profile that matches" + at(p.Revision)
	case p.Profile.Installer != nil:
		return fmt.Sprintf("profile %s%s, %s installer", p.Profile.Name, at(p.Revision), p.Profile.Installer.Kind)
	}
	return fmt.Sprintf("profile %s%s, image %s (sha256 %.12s…)", p.Profile.Name, at(p.Revision), p.Image.Name, p.Image.SHA256)
}

// keepToken adds a token to those that were handed out.
func keepToken(tokens []BootToken, t BootToken) []BootToken {
	tokens = append(tokens, t)
	if n := len(tokens); n > maxTokens {
		tokens = slices.Clone(tokens[n-maxTokens:])
	}
	return tokens
}

// pending is the action that has no result yet.
func (p *Plan) pending() *PlannedAction {
	for i := range p.Actions {
		if p.Actions[i].Result == nil {
			return &p.Actions[i]
		}
	}
	return nil
}

func (p *Plan) action(id string) *PlannedAction {
	for i := range p.Actions {
		if p.Actions[i].ID == id {
			return &p.Actions[i]
		}
	}
	return nil
}

func (p *Plan) add(kind agentapi.ActionKind, title string) *PlannedAction {
	p.NextAction++
	p.Actions = append(p.Actions, PlannedAction{ID: fmt.Sprintf("%d-%s", p.NextAction, kind), Kind: kind, Title: title})
	return &p.Actions[len(p.Actions)-1]
}

// startOver forgets what the machine has done since it booted, for a boot or an attempt that begins anew.
func (p *Plan) startOver() {
	p.Actions, p.Disk, p.FirstBootHash, p.Step, p.Installer, p.RAID = nil, nil, "", 0, nil, p.RAID.startOver()
}

// PinnedRevisions lists the revisions that open installations have pinned, each once, sorted.
func PinnedRevisions(ctx context.Context, store inventory.InstallationStore) ([]string, error) {
	seen := map[string]bool{}
	filter := inventory.InstallationFilter{OpenOnly: true, Limit: 1000}
	for {
		page, err := store.Installations(ctx, filter)
		if err != nil {
			return nil, err
		}
		for i := range page {
			plan, err := planOf(&page[i])
			if err != nil {
				return nil, err
			}
			if plan.Revision != "" {
				seen[plan.Revision] = true
			}
		}
		if len(page) < filter.Limit {
			return slices.Sorted(maps.Keys(seen)), nil
		}
		filter.After = page[len(page)-1].ID
	}
}
