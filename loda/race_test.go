package loda_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
)

// hooked is an inventory in which something happens just before a call: what another request, or another process of
// the site, does at the worst moment.
type hooked struct {
	inventory.Store
	beforeMachine func()
	beforeCreate  func()
	failMachine   error
	failUpdate    func(*inventory.Installation) error
	// between happens after a change was computed that then could not be stored, so that it is computed again.
	between func()
}

// once runs a hook the first time only, and not for what the hook itself does.
func once(f *func()) {
	if do := *f; do != nil {
		*f = nil
		do()
	}
}

func (h *hooked) Machine(ctx context.Context, serial inventory.Serial) (*inventory.Machine, error) {
	once(&h.beforeMachine)
	return h.Store.Machine(ctx, serial)
}

func (h *hooked) CreateMachines(ctx context.Context, ms []inventory.Machine) error {
	once(&h.beforeCreate)
	return h.Store.CreateMachines(ctx, ms)
}

func (h *hooked) UpdateMachine(ctx context.Context, serial inventory.Serial, change func(*inventory.Machine) error) (*inventory.Machine, error) {
	if h.failMachine != nil {
		return nil, h.failMachine
	}
	return h.Store.UpdateMachine(ctx, serial, change)
}

func (h *hooked) UpdateInstallation(ctx context.Context, id string,
	change func(*inventory.Installation) ([]inventory.Event, error)) (*inventory.Installation, error) {
	if h.between != nil {
		_, err := h.Store.UpdateInstallation(ctx, id, func(i *inventory.Installation) ([]inventory.Event, error) {
			if _, err := change(i); err != nil {
				return nil, err
			}
			return nil, errLost
		})
		if !errors.Is(err, errLost) {
			return nil, err
		}
		once(&h.between)
	}
	return h.Store.UpdateInstallation(ctx, id, func(i *inventory.Installation) ([]inventory.Event, error) {
		if h.failUpdate != nil {
			if err := h.failUpdate(i); err != nil {
				return nil, err
			}
		}
		return change(i)
	})
}

var errLost = errors.New("another write came first")

func newHookedBench(t *testing.T) (*bench, *hooked) {
	b := newBench(t)
	h := &hooked{Store: b.store}
	b.open(h)
	return b, h
}

func TestStageThatEndsWhileTheAgentAsksIsFollowedByTheNext(t *testing.T) {
	b, h := newHookedBench(t)
	b.load(oneMachine, true)
	s := b.session(b.boot("SN-0001", mac).Token)
	detect := b.next(s)
	h.beforeMachine = func() { b.finish(s, detect, agentapi.Result{OK: true, Data: facts(t, "SN-0001")}) }
	next := b.next(s)
	require.Equal(t, agentapi.ActionInstallImage, next.Kind)
	require.NotEmpty(t, next.InstallImage.Seed)
}

func TestAgentWhoseSessionIsReplacedWhileItAsksGetsNothing(t *testing.T) {
	b, h := newHookedBench(t)
	b.load(oneMachine, true)
	old, _ := b.install()
	var current *agentapi.Session
	h.beforeMachine = func() { current = b.session(b.boot("SN-0001", mac).Token) }
	_, err := b.NextAction(t.Context(), loda.Ask{Installation: old.Installation, Secret: old.Secret})
	require.ErrorIs(t, err, loda.ErrRefused)
	require.Equal(t, agentapi.ActionDetect, b.next(current).Kind)
}

func TestAgentOfAnInstallationThatFailsWhileItAsksWaits(t *testing.T) {
	b, h := newHookedBench(t)
	b.load(oneMachine, true)
	s, _ := b.install()
	h.beforeMachine = func() {
		b.now = b.now.Add(time.Hour)
		require.NoError(t, b.Expire(t.Context()))
	}
	ask := loda.Ask{Installation: s.Installation, Secret: s.Secret, Wait: 10 * time.Second}
	a, err := b.NextAction(t.Context(), ask)
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionWait, a.Kind)
}

func TestInventoryThatCannotKeepTheFactsFailsTheCallAndNotTheMachine(t *testing.T) {
	b, h := newHookedBench(t)
	b.load(oneMachine, true)
	s := b.session(b.boot("SN-0001", mac).Token)
	detect := b.next(s)
	result := agentapi.Result{OK: true, Data: facts(t, "SN-0001")}
	h.failMachine = inventory.ErrFull
	require.ErrorIs(t, b.FinishAction(t.Context(), s.Installation, detect.ID, result), inventory.ErrFull)
	b.requireState(inventory.Detecting)
	h.failMachine = nil
	b.finish(s, detect, result) // the agent sends it again
	b.requireState(inventory.Comparing)
}

func TestMachineThatIsImportedWhileItIsDiscoveredIsNotInDoubt(t *testing.T) {
	b, h := newHookedBench(t)
	h.beforeCreate = func() { b.load(oneMachine, true) }
	require.True(t, b.boot("SN-0001", mac).BootOS)
	b.requireState(inventory.Netbooting)
}

func TestInstallationThatCannotBeExpiredDoesNotKeepOthersAlive(t *testing.T) {
	b, h := newHookedBench(t)
	b.load("serial,profile\nSN-0000,debian\nSN-0001,debian\nSN-0002,debian\n", true)
	for i := range 3 {
		b.boot(fmt.Sprintf("SN-%04d", i), fmt.Sprintf("52:54:00:00:01:%02d", i))
	}
	b.now = b.now.Add(time.Hour)
	h.failUpdate = func(i *inventory.Installation) error {
		if i.Serial == "SN-0000" {
			return errors.New("a row that cannot be written")
		}
		return nil
	}
	require.ErrorContains(t, b.Expire(t.Context()), "machine SN-0000: a row that cannot be written")
	for _, serial := range []inventory.Serial{"SN-0001", "SN-0002"} {
		inst, err := b.store.OpenInstallation(t.Context(), serial)
		require.NoError(t, err)
		require.Equal(t, inventory.Failed, inst.State, serial)
	}
}

func TestExchangeOfATokenEndsTheOthersOfThatBoot(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	lost := b.boot("SN-0001", mac).Token // the answer did not arrive, iPXE asked again
	s := b.session(b.boot("SN-0001", mac).Token)
	_, err := b.OpenSession(t.Context(), agentapi.SessionRequest{Token: lost, Serial: "SN-0001"}, "10.77.0.99")
	require.ErrorIs(t, err, loda.ErrRefused, "whoever listened in cannot take the session over")
	require.NotEmpty(t, b.alarms(inventory.EventFilter{Serial: serial}))
	b.next(s)
}

func TestMachineDoesNotCollectAddressesWithoutBound(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	for i := range 4 {
		var macs []string
		for k := range 20 {
			macs = append(macs, fmt.Sprintf("52:54:00:00:%02x:%02x", i+1, k))
		}
		d := b.boot("SN-0001", macs...)
		require.Equal(t, i < 3, d.BootOS, d.Message)
	}
	m, err := b.store.Machine(t.Context(), serial)
	require.NoError(t, err)
	require.Len(t, m.MACs, 60)
	require.Contains(t, strings.Join(b.alarms(inventory.EventFilter{Serial: serial}), "\n"), "more than 64")
	b.requireState(inventory.Netbooting)
}

func TestTimelineOfADeletedMachineStays(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, false)
	b.boot("SN-0001", mac)
	require.NoError(t, b.store.DeleteMachine(t.Context(), serial))
	events, err := b.Timeline(t.Context(), serial, inventory.EventFilter{})
	require.NoError(t, err)
	require.NotEmpty(t, events)
	_, err = b.Timeline(t.Context(), "SN-9999", inventory.EventFilter{})
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

func TestWhatAMachineSaysOfItselfIsKeptWithoutControlCharacters(t *testing.T) {
	b := newBench(t)
	_, err := b.Boot(t.Context(), loda.Sighting{Serial: "SN-0001", MACs: []string{mac}, Vendor: "\x1b[2JAcme\u009b31m\u202e",
		Product: strings.Repeat("ü", 100)})
	require.NoError(t, err)
	m, err := b.store.Machine(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, "[2JAcme31m", m.Vendor)
	require.Equal(t, strings.Repeat("ü", 64), m.Product, "cut between characters")
}

func TestWorkThatCouldNotBeRecordedIsNotGiven(t *testing.T) {
	b, h := newHookedBench(t)
	b.load(oneMachine, true)
	s := b.session(b.boot("SN-0001", mac).Token)
	b.finish(s, b.next(s), agentapi.Result{OK: true, Data: facts(t, "SN-0001")})
	h.between = func() {
		b.now = b.now.Add(time.Hour)
		require.NoError(t, b.Expire(t.Context()))
	}
	a, err := b.NextAction(t.Context(), loda.Ask{Installation: s.Installation, Secret: s.Secret, Wait: 10 * time.Second,
		Base: loda.Base{API: "https://10.77.0.1:8443", Boot: "http://10.77.0.1:8080"}})
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionWait, a.Kind, "the installation failed before the image was recorded as given")
}

func TestBootThatIsDecidedTwiceIsThatOfTheSecondTime(t *testing.T) {
	b, s := newShelfBench(t)
	h := &hooked{Store: b.store}
	b.open(h)
	s.push("c1", map[string]loda.Profile{"Lab": installerProfile})
	b.load("serial\nSN-0001\n", true)
	b.untilInstaller()
	h.between = func() {
		b.now = b.now.Add(time.Hour)
		require.NoError(t, b.Expire(t.Context()))
	}
	d := b.boot("SN-0001", mac)
	require.Empty(t, d.Kernel, "it was to get the installer, and failed meanwhile")
	require.True(t, d.BootOS)
}

func TestFactsThatArriveAfterTheIdentityCameIntoDoubtFreeNobody(t *testing.T) {
	b := newBench(t)
	b.load(oneMachine, true)
	s := b.session(b.boot("SN-0001", mac).Token)
	detect := b.next(s)
	b.load("serial,mac\nSN-0002,"+otherMAC+"\n", false)
	b.boot("SN-0001", otherMAC)
	b.requireState(inventory.Quarantined)
	err := b.FinishAction(t.Context(), s.Installation, detect.ID, agentapi.Result{OK: true, Data: facts(t, "SN-0001")})
	require.ErrorIs(t, err, loda.ErrTransition)
	require.Contains(t, b.requireState(inventory.Quarantined), "cannot share a hardware address")
}

func TestIdentityThatComesIntoDoubtWhileTheMachineBootsIsNotLookedAt(t *testing.T) {
	b, s := newShelfBench(t)
	h := &hooked{Store: b.store}
	b.open(h)
	s.push("c1", map[string]loda.Profile{"Lab": modelled()})
	b.load("serial\nSN-0001\n", true)
	session := b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), document(t, withoutDIMM()))
	b.load("serial,mac\nSN-0002,"+otherMAC+"\n", false)
	h.beforeMachine = func() { b.boot("sn-0001", otherMAC) } // while it is planned anew
	session = b.session(b.boot("sn-0001", mac).Token)
	require.Equal(t, loda.ForIdentity, b.plan().Quarantine)
	require.Equal(t, agentapi.ActionWait, b.next(session).Kind)
}
