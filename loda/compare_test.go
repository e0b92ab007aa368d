package loda_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
)

// server is a machine with two memory modules.
func server() hw.Facts {
	return hw.Facts{Version: 1, System: hw.System{Serial: "SN-0001", Vendor: "Loda", Product: "Lab"},
		Disks: []hw.Disk{disk("vda", "D0", "pci-0000:00:04.0", diskBytes)},
		Memory: hw.Memory{DIMMs: []hw.DIMM{{Slot: "A1", Bytes: 32 << 30, PartNumber: "M393", Serial: "X1"},
			{Slot: "A2", Bytes: 32 << 30, PartNumber: "M393", Serial: "X2"}}}}
}

// withoutDIMM is the same machine with an empty slot A2.
func withoutDIMM() hw.Facts {
	f := server()
	f.Memory.DIMMs[1] = hw.DIMM{Slot: "A2", Empty: true}
	return f
}

func document(t *testing.T, f hw.Facts) agentapi.Result {
	t.Helper()
	doc, err := json.Marshal(f)
	require.NoError(t, err)
	return agentapi.Result{OK: true, Data: doc}
}

// modelled is a profile that wants exactly a server.
func modelled() loda.Profile {
	f := server()
	return loda.Profile{Image: "debian-12", Model: hw.Generate(&f)}
}

func newQuarantine(t *testing.T) (*bench, *shelf, *agentapi.Session) {
	t.Helper()
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": modelled()})
	b.load("serial\nSN-0001\n", true)
	session := b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), document(t, withoutDIMM()))
	return b, s, session
}

func (b *bench) plan() loda.Plan {
	b.t.Helper()
	inst, err := b.store.OpenInstallation(b.t.Context(), serial)
	require.NoError(b.t, err)
	var p loda.Plan
	require.NoError(b.t, json.Unmarshal(inst.Plan, &p))
	return p
}

func TestAMachineThatEqualsItsModelIsInstalled(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": modelled()})
	b.load("serial\nSN-0001\n", true)
	session := b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), document(t, server()))
	require.Equal(t, agentapi.ActionInstallImage, b.next(session).Kind)
	require.Empty(t, b.plan().Differences)
}

func TestAMachineThatDiffersIsQuarantinedBeforeAnythingIsWritten(t *testing.T) {
	b, _, session := newQuarantine(t)
	reason := b.requireState(inventory.Quarantined)
	require.Contains(t, reason, "1 difference to profile Lab at commit c1: DIMM A2: ")
	require.Contains(t, reason, "got no module")
	wait := b.next(session)
	require.Equal(t, agentapi.ActionWait, wait.Kind)
	require.Equal(t, reason, wait.Wait.Reason)
	plan := b.plan()
	require.Len(t, plan.Differences, 1)
	require.Equal(t, "A2", plan.Differences[0].Slot)
	require.Equal(t, loda.ForHardware, plan.Quarantine)
	require.Len(t, b.alarms(inventory.EventFilter{Serial: serial}), 1, "each difference has its line")
}

func TestAQuarantinedMachineIsComparedAgainAtItsNextBoot(t *testing.T) {
	b, _, _ := newQuarantine(t)
	was := b.requireState(inventory.Quarantined)

	// Not repaired yet, but something else is broken as well.
	session := b.session(b.boot("sn-0001", mac).Token)
	require.Equal(t, was, b.requireState(inventory.Quarantined), "a boot alone frees nothing")
	worse := withoutDIMM()
	worse.Disks[0].Bytes = 1 << 30
	b.finish(session, b.next(session), document(t, worse))
	require.Contains(t, b.requireState(inventory.Quarantined), "2 differences to profile Lab")
	require.Equal(t, agentapi.ActionWait, b.next(session).Kind)

	session = b.session(b.boot("sn-0001", mac).Token)
	again := b.next(session)
	require.Equal(t, agentapi.ActionDetect, again.Kind)
	b.finish(session, again, document(t, server()))
	b.requireState(inventory.Comparing)
	require.Equal(t, agentapi.ActionInstallImage, b.next(session).Kind)
	inst, err := b.store.OpenInstallation(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, 2, inst.Attempt)
	require.Empty(t, b.plan().Quarantine)
}

func TestALookAgainThatFailsLeavesTheMachineInQuarantine(t *testing.T) {
	b, _, _ := newQuarantine(t)
	session := b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), agentapi.Result{Error: "the hardware hangs"})
	b.requireState(inventory.Quarantined)
	require.Equal(t, agentapi.ActionWait, b.next(session).Kind)
}

func TestAPersonReleasesAMachineWithItsDifferences(t *testing.T) {
	b, _, session := newQuarantine(t)
	_, err := b.Release(t.Context(), serial, " ", "ada")
	require.ErrorIs(t, err, loda.ErrRefused, "releasing needs a reason")
	_, err = b.Release(t.Context(), serial, "the module is on its way", "ada")
	require.NoError(t, err)

	// What was accepted is accepted, and nothing more.
	worse := withoutDIMM()
	worse.Memory.DIMMs[0].Bytes = 16 << 30
	b.finish(session, b.next(session), document(t, worse))
	reason := b.requireState(inventory.Quarantined)
	require.Contains(t, reason, "1 difference to profile Lab at commit c1: DIMM A1", "what was accepted does not count")
	require.NotContains(t, reason, "DIMM A2: ")
	session = b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), document(t, withoutDIMM()))
	require.Equal(t, agentapi.ActionInstallImage, b.next(session).Kind)
	events, err := b.Timeline(t.Context(), serial, inventory.EventFilter{Limit: 1000})
	require.NoError(t, err)
	var texts []string
	for _, e := range events {
		texts = append(texts, e.Message)
	}
	require.Contains(t, texts, "quarantined → queued: the module is on its way, by ada")
}

func TestACorrectedModelFreesAMachineWithoutAReboot(t *testing.T) {
	b, s, session := newQuarantine(t)
	less := withoutDIMM()
	s.push("c2", map[string]loda.Profile{"Lab": {Image: "debian-12", Model: hw.Generate(&less)}})
	_, err := b.Retry(t.Context(), serial, "ada")
	require.NoError(t, err)
	b.finish(session, b.next(session), document(t, less))
	require.Equal(t, agentapi.ActionInstallImage, b.next(session).Kind)
	require.Equal(t, "c2", b.plan().Revision)
}

func TestAMachineWhoseIdentityIsInDoubtIsNotFreedByItsHardware(t *testing.T) {
	b, _, _ := newQuarantine(t)
	b.load("serial,mac\nSN-0002,"+otherMAC+"\n", false)
	b.boot("sn-0001", otherMAC)
	require.Contains(t, b.requireState(inventory.Quarantined), "cannot share a hardware address")
	require.Equal(t, loda.ForIdentity, b.plan().Quarantine)
	session := b.session(b.boot("sn-0001", mac).Token)
	require.Equal(t, agentapi.ActionWait, b.next(session).Kind, "only a person can tell")
}

func TestARetryDoesNotFreeAMachineWhoseIdentityIsInDoubt(t *testing.T) {
	b, _, _ := newQuarantine(t)
	b.load("serial,mac\nSN-0002,"+otherMAC+"\n", false)
	b.boot("sn-0001", otherMAC)
	_, err := b.Retry(t.Context(), serial, "ada")
	require.ErrorIs(t, err, loda.ErrRefused)
	require.ErrorContains(t, err, "release it with a reason")
	b.requireState(inventory.Quarantined)
	_, err = b.Release(t.Context(), serial, "the NIC was moved", "ada")
	require.NoError(t, err)
	b.requireState(inventory.Queued)
}

func TestAHeldInstallationKeepsTheCommitThatItWasOpenedWith(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": modelled()})
	b.load("serial\nSN-0001\n", false)
	_, err := b.Install(t.Context(), serial, loda.InstallOptions{Hold: true})
	require.NoError(t, err)
	s.push("c2", map[string]loda.Profile{})
	_, err = b.Release(t.Context(), serial, "", "ada")
	require.NoError(t, err)
	require.Equal(t, "c1", b.plan().Revision)
	session := b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), document(t, server()))
	require.Equal(t, agentapi.ActionInstallImage, b.next(session).Kind)
}
