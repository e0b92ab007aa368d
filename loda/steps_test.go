package loda_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
)

var steppedProfile = loda.Profile{Image: "debian-12", Steps: []loda.Step{
	{Name: "first", File: "scripts/first.sh", Script: "exit 0\n", Interpreter: []string{"/bin/sh"}, Timeout: time.Minute,
		ExitCodes: []int{0}, Env: map[string]string{"BMC_PASSWORD": loda.LateSecret("root-password").String(), "MODE": "raid"}},
	{Name: "second", Script: "exit 3\n", Interpreter: []string{"/bin/sh", "-e"}, Timeout: time.Hour, ExitCodes: []int{0, 3}},
}}

func (b *bench) untilSteps() *agentapi.Session {
	b.t.Helper()
	session := b.session(b.boot("sn-0001", mac).Token)
	b.finish(session, b.next(session), agentapi.Result{OK: true, Data: facts(b.t, "SN-0001")})
	return session
}

func TestStepsRunInOrderBeforeTheOperatingSystemIsWritten(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": steppedProfile})
	b.load("serial\nSN-0001\n", true)
	session := b.untilSteps()
	b.requireState(inventory.Comparing)

	first := b.next(session)
	b.requireState(inventory.Configuring)
	require.Equal(t, agentapi.ActionRunScript, first.Kind)
	require.Equal(t, "run step 1 of 2, first", first.Title)
	run := first.RunScript
	require.Equal(t, "exit 0\n", run.Script)
	require.Equal(t, 60, run.TimeoutSeconds)
	require.Equal(t, map[string]string{"BMC_PASSWORD": "pass-w0rd", "MODE": "raid"}, run.Env)
	require.Equal(t, []string{"pass-w0rd"}, run.Secrets, "the agent keeps them out of the output")
	require.Equal(t, string(serial), run.Serial)
	b.finish(session, first, agentapi.Result{OK: true})
	second := b.next(session)
	require.Equal(t, "run step 2 of 2, second", second.Title)
	require.Equal(t, []int{0, 3}, second.RunScript.ExitCodes)
	require.Empty(t, second.RunScript.Secrets)
	b.finish(session, second, agentapi.Result{OK: true})
	require.Equal(t, agentapi.ActionInstallImage, b.next(session).Kind)
	b.requireState(inventory.Installing)
}

func TestAStepThatFailsEndsTheAttempt(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": steppedProfile})
	b.load("serial\nSN-0001\n", true)
	session := b.untilSteps()
	b.finish(session, b.next(session), agentapi.Result{Error: "exit code 1: no such controller"})
	require.Equal(t, "run step 1 of 2, first: exit code 1: no such controller", b.requireState(inventory.Failed))

	_, err := b.Retry(t.Context(), serial, "test")
	require.NoError(t, err)
	b.finish(session, b.next(session), agentapi.Result{OK: true, Data: facts(t, "SN-0001")})
	require.Equal(t, "run step 1 of 2, first", b.next(session).Title, "a retry begins with the first step again")
}

func TestAPowerCutBetweenStepsRunsThemAgainFromThePinnedCommit(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": steppedProfile})
	b.load("serial\nSN-0001\n", true)
	session := b.untilSteps()
	b.finish(session, b.next(session), agentapi.Result{OK: true})
	s.push("c2", map[string]loda.Profile{"Lab": {Image: "debian-12"}})
	session = b.untilSteps()
	require.Equal(t, "run step 1 of 2, first", b.next(session).Title)
}

func TestASecretThatBreaksTheUserDataIsNotShown(t *testing.T) {
	b, s := newShelfBench(t)
	b.vault["root-password"] = `very"secret: [`
	s.push("c1", map[string]loda.Profile{"Lab": {Image: "debian-12",
		UserData: "#cloud-config\npassword: " + loda.LateSecret("root-password").String() + "\n"}})
	b.load("serial\nSN-0001\n", true)
	session := b.untilSteps()
	_ = b.next(session)
	reason := b.requireState(inventory.Failed)
	require.Contains(t, reason, "once the secrets are filled in")
	events, err := b.Timeline(t.Context(), serial, inventory.EventFilter{Limit: 1000})
	require.NoError(t, err)
	require.NotContains(t, fmt.Sprint(reason, events), "very")
}

func TestAStepBeginsWithoutTheProgressOfTheOneBefore(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": steppedProfile})
	b.load("serial\nSN-0001\n", true)
	session := b.untilSteps()
	first := b.next(session)
	require.NoError(t, b.ReportProgress(t.Context(), session.Installation, first.ID, agentapi.Progress{Fraction: 0.9, Text: "line 5: ok"}))
	b.finish(session, first, agentapi.Result{OK: true})
	b.next(session)
	inst, err := b.store.OpenInstallation(t.Context(), serial)
	require.NoError(t, err)
	require.Zero(t, inst.Progress)
	require.Empty(t, inst.ProgressText)
}

func TestAResultThatIsTooLargeIsNotKept(t *testing.T) {
	b, s := newShelfBench(t)
	s.push("c1", map[string]loda.Profile{"Lab": steppedProfile})
	b.load("serial\nSN-0001\n", true)
	session := b.untilSteps()
	b.finish(session, b.next(session), agentapi.Result{OK: true, Data: json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)})
	b.finish(session, b.next(session), agentapi.Result{Error: strings.Repeat("y", 1<<20)})
	inst, err := b.store.OpenInstallation(t.Context(), serial)
	require.NoError(t, err)
	require.Equal(t, inventory.Failed, inst.State)
	require.Less(t, len(inst.Plan), 32<<10)
	events, err := b.Timeline(t.Context(), serial, inventory.EventFilter{Limit: 1000})
	require.NoError(t, err)
	for _, e := range events {
		require.Less(t, len(e.Data)+len(e.Message), 16<<10)
	}
}
