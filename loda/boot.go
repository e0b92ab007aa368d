package loda

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/trust"
)

// A Sighting is what a machine in the network boot says of itself. Nothing of it is verified.
type Sighting struct {
	Serial  string   `json:"serial"`
	UUID    string   `json:"uuid,omitempty"`
	MACs    []string `json:"macs"`
	Vendor  string   `json:"vendor,omitempty"`
	Product string   `json:"product,omitempty"`
	// Remote is the address that it asked from.
	Remote netip.Addr `json:"remote"`
	// Firmware is `BIOS` or `UEFI`, for people.
	Firmware string `json:"firmware,omitempty"`
	// Base is how the machine reaches this server.
	Base Base `json:"-"`
}

// A Decision says what a machine boots.
type Decision struct {
	// BootOS: load kernel and initramfs, with Token on the command line.
	BootOS bool
	Token  string
	// KernelArgs of the profile, for the kernel of bootOS.
	KernelArgs []string
	// Kernel, Initrds and Args: load a distribution's installer, whose files lie below the artifacts.
	Kernel  string
	Initrds []string
	Args    string
	// Neither BootOS nor Kernel: boot from the local disk.

	// Message says why, for the machine's console.
	Message string
}

// Boot decides what a machine boots that asks for its boot script. A machine with an open installation gets bootOS
// and a one-time token. All others boot their disk: installed ones, unknown ones (which are remembered as
// discovered), and those whose identity is in doubt (which raises an alarm in the timeline).
//
// An error means that nothing could be decided, such as a database that is away: the machine should ask again.
func (in *Installer) Boot(ctx context.Context, s Sighting) (Decision, error) {
	m, refusal, err := in.identify(ctx, s)
	if err != nil {
		return Decision{}, err
	}
	if refusal != "" {
		in.log.Warn("boot refused", "serial", s.Serial, "macs", s.MACs, "remote", s.Remote, "reason", refusal)
		return Decision{Message: "refused: " + refusal}, nil
	}
	inst, err := in.store.OpenInstallation(ctx, m.Serial)
	if errors.Is(err, inventory.ErrNotFound) {
		why := "no open installation"
		if m.Source == inventory.Discovered {
			why = "not imported, only discovered"
		}
		return in.local(ctx, m, "", why)
	}
	if err != nil {
		return Decision{}, err
	}
	switch inst.State {
	case inventory.Held:
		return in.local(ctx, m, inst.ID, "its installation is on hold: "+inst.Reason)
	case inventory.Finishing:
		return in.local(ctx, m, inst.ID, "the operating system is on disk")
	}

	plan, err := planOf(inst)
	if err != nil {
		return Decision{}, err
	}
	repinned := in.lookAgain(ctx, inst, plan)
	swapped := in.installerSwapped(ctx, plan)
	token := trust.NewSecret(inst.ID)
	var decision Decision
	_, err = in.update(ctx, inst.ID, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		decision = Decision{BootOS: true, Token: token, Message: "installation " + inst.ID}
		now := in.now()
		var events []inventory.Event
		var err error
		switch {
		case inst.State == inventory.Installing && plan.Installer != nil && plan.Installer.Armed:
			if swapped != nil {
				decision = Decision{Message: "the installer cannot be started: " + oneLine(swapped)}
				return in.breakInstaller(inst, plan, oneLine(swapped), now)
			}
			decision, events, err = in.bootInstaller(inst, plan, s, now)
			return append(strangers(inst, plan, s, now), events...), err
		case inst.State == inventory.Quarantined && repinned != nil && plan.Quarantine != ForIdentity:
			// It may have been repaired.
			plan.startOver()
			plan.LookAgain = true
			plan.Revision, plan.Profile, plan.Image = repinned.Revision, repinned.Profile, repinned.Image
		case inst.State == inventory.Failed, inst.State == inventory.Quarantined:
			// The agent waits there for a person and can go on at once.
		default:
			if events, err = Transition(inst, ScriptGiven, "", now, in.deadlines); err != nil {
				return nil, err
			}
			plan.startOver()
		}
		events = append(events, strangers(inst, plan, s, now)...)
		plan.Tokens = keepToken(plan.Tokens, BootToken{Hash: trust.Hash(token), IssuedAt: now, To: s.Remote.String()})
		decision.KernelArgs = plan.Profile.KernelArgs
		return append(events, event(inst, inventory.KindBoot, now, s, "boots bootOS (%s, asked from %s)", s.Firmware, s.Remote)), nil
	})
	if errors.Is(err, ErrTransition) {
		// It was cancelled or finished in between; the next question gets the right answer.
		return Decision{Message: "its installation changed just now"}, nil
	}
	if err != nil {
		return Decision{}, err
	}
	return decision, nil
}

// strangers is the alarm for a boot script that is asked for from elsewhere than where the agent is.
func strangers(inst *inventory.Installation, plan *Plan, s Sighting, now time.Time) []inventory.Event {
	if plan.Session == nil || plan.Session.From == s.Remote.String() {
		return nil
	}
	return []inventory.Event{event(inst, inventory.KindAlarm, now, nil, "the boot script was asked for from %s while the "+
		"agent's session is from %s: one machine under two addresses, or somebody who claims to be it", s.Remote, plan.Session.From)}
}

// lookAgain plans anew for a machine that is quarantined for what it is made of and boots once more: it may have been
// repaired, or its profile corrected. Nil: there is nothing to look at.
func (in *Installer) lookAgain(ctx context.Context, inst *inventory.Installation, plan *Plan) *Plan {
	if inst.State != inventory.Quarantined || plan.Quarantine != ForHardware && plan.Quarantine != ForProfile && plan.Quarantine != ForRAID {
		return nil
	}
	repinned, err := in.replan(ctx, inst.Serial, plan)
	if err != nil {
		// Its profile is gone, or its image: a person has to see to that. Meanwhile it is compared with what was pinned.
		in.log.Warn("a quarantined machine cannot be planned anew", "serial", inst.Serial, "error", err)
		return plan
	}
	return repinned
}

func (in *Installer) local(ctx context.Context, m *inventory.Machine, installation, why string) (Decision, error) {
	err := in.store.AppendEvents(ctx, inventory.Event{Time: in.now(), Serial: m.Serial, Installation: installation,
		Kind: inventory.KindBoot, Message: "boots from its disk: " + why})
	return Decision{Message: why}, err
}

// identify finds the machine of a sighting, remembers what it says of itself, and learns its MACs. refusal is why the
// identity cannot be accepted.
func (in *Installer) identify(ctx context.Context, s Sighting) (m *inventory.Machine, refusal string, err error) {
	macs, macErr := parseMACs(s.MACs)
	serial, serialErr := inventory.ParseSerial(s.Serial)
	if doubt := errors.Join(serialErr, macErr); doubt != nil {
		return nil, oneLine(doubt), in.alarm(ctx, serial, macs, "refused at the network boot: %v", oneLine(doubt))
	}

	// Twice, since somebody may import the machine between the two.
	for range 2 {
		m, err = in.store.UpdateMachine(ctx, serial, func(m *inventory.Machine) error { return learn(m, s, macs, in.now()) })
		if !errors.Is(err, inventory.ErrNotFound) {
			break
		}
		if m, err = in.discover(ctx, serial, s, macs); err == nil {
			break
		}
	}
	if errors.Is(err, errTooManyMACs) {
		return nil, err.Error(), in.alarm(ctx, serial, macs, "refused at the network boot: %v", err)
	}
	var conflict *inventory.ConflictError
	var rows *inventory.ImportError
	if errors.As(err, &rows) && len(rows.Rows) > 0 {
		err = rows.Rows[0].Err
	}
	if errors.As(err, &conflict) {
		reason := conflict.Error() + "; two machines cannot share a hardware address. If a NIC was moved, take the " +
			"address from the other machine's record"
		return nil, reason, errors.Join(in.alarm(ctx, serial, macs, "refused at the network boot: %s", reason),
			in.doubt(ctx, serial, reason))
	}
	return m, "", err
}

func (in *Installer) discover(ctx context.Context, serial inventory.Serial, s Sighting, macs []inventory.MAC) (*inventory.Machine, error) {
	m := inventory.Machine{Serial: serial, Source: inventory.Discovered, CreatedAt: in.now(), UpdatedAt: in.now()}
	if err := learn(&m, s, macs, in.now()); err != nil {
		return nil, err
	}
	if err := in.store.CreateMachines(ctx, []inventory.Machine{m}); err != nil {
		return nil, err
	}
	in.log.Info("machine discovered", "serial", serial, "macs", macs, "product", s.Product)
	err := in.store.AppendEvents(ctx, inventory.Event{Time: in.now(), Serial: serial, Kind: inventory.KindBoot,
		Message: fmt.Sprintf("discovered: %s %s; nobody imported it, so it is left alone", s.Vendor, s.Product)})
	return &m, err
}

// maxMACs bounds how many hardware addresses a machine can report, and have. Nothing of a sighting is verified: without
// a bound anyone could fill the inventory, and take the addresses of machines to come.
const maxMACs = 64

var errTooManyMACs = fmt.Errorf("the machine would have more than %d hardware addresses; if its NICs were replaced "+
	"that often, delete the machine and import it again", maxMACs)

// learn takes over what a machine says of itself.
func learn(m *inventory.Machine, s Sighting, macs []inventory.MAC, now time.Time) error {
	for _, mac := range macs {
		if !slices.Contains(m.MACs, mac) {
			m.MACs = append(m.MACs, mac)
		}
	}
	if len(m.MACs) > maxMACs {
		return errTooManyMACs
	}
	slices.Sort(m.MACs)
	for _, f := range []struct {
		field *string
		said  string
	}{{&m.UUID, s.UUID}, {&m.Vendor, s.Vendor}, {&m.Product, s.Product}} {
		if said := printable(f.said); said != "" {
			*f.field = said
		}
	}
	m.LastSeenAt = now
	return nil
}

// doubt quarantines the open installation of a machine whose identity is disputed.
func (in *Installer) doubt(ctx context.Context, serial inventory.Serial, reason string) error {
	inst, err := in.store.OpenInstallation(ctx, serial)
	if errors.Is(err, inventory.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = in.update(ctx, inst.ID, func(inst *inventory.Installation, plan *Plan) ([]inventory.Event, error) {
		// Neither agent nor installer goes on: a secret would reach the wrong machine.
		plan.Session, plan.Installer, plan.Quarantine, plan.LookAgain = nil, nil, ForIdentity, false
		return Transition(inst, Differs, reason, in.now(), in.deadlines)
	})
	if errors.Is(err, ErrTransition) {
		return nil // it stands still already
	}
	return err
}

// alarm remembers something that a person should look at, under the serial number and each MAC.
func (in *Installer) alarm(ctx context.Context, serial inventory.Serial, macs []inventory.MAC, format string, args ...any) error {
	e := inventory.Event{Time: in.now(), Serial: serial, Kind: inventory.KindAlarm, Message: fmt.Sprintf(format, args...)}
	if len(macs) == 0 {
		return in.store.AppendEvents(ctx, e)
	}
	events := make([]inventory.Event, 0, len(macs))
	for _, mac := range macs[:min(len(macs), 4)] {
		e.MAC = mac
		events = append(events, e)
	}
	return in.store.AppendEvents(ctx, events...)
}

func parseMACs(texts []string) ([]inventory.MAC, error) {
	var macs []inventory.MAC
	for _, text := range texts[:min(len(texts), maxMACs)] {
		if text == "" {
			continue
		}
		mac, err := inventory.ParseMAC(text)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(macs, mac) {
			macs = append(macs, mac)
		}
	}
	if len(macs) == 0 {
		return nil, errors.New("no hardware address was reported")
	}
	return macs, nil
}

// printable is what is kept of a text that a machine sent: no control characters, 128 bytes.
func printable(s string) string { return cleaned(s, 128) }

// cleaned cuts s to at most limit bytes and takes out what does not print or moves a terminal's cursor.
func cleaned(s string, limit int) string {
	s = strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r != ' ' && !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s))
	return strings.ToValidUTF8(s[:min(len(s), limit)], "") // the cut may have split a character
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
