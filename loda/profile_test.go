package loda_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
)

func TestProfilesSayAtOnceEverythingThatIsWrong(t *testing.T) {
	_, err := loda.NewStaticProfiles(map[string]loda.Profile{
		"fine":  {Image: "debian-12", UserData: "#cloud-config\npackages: [htop]\n", SSHKeys: []string{"ssh-ed25519 AAAA me@example"}},
		"a b":   {Image: "debian-12"},
		"none":  {},
		"boot":  {Image: "debian-12", Boot: "warm"},
		"key":   {Image: "debian-12", SSHKeys: []string{"-----BEGIN OPENSSH PRIVATE KEY-----"}},
		"data":  {Image: "debian-12", UserData: "packages: [htop]\n"},
		"yaml":  {Image: "debian-12", UserData: "#cloud-config\n\tpackages: ["},
		"arg":   {Image: "debian-12", KernelArgs: []string{"console=${net0/ip}"}},
		"arg-2": {Image: "debian-12", KernelArgs: []string{"two words"}},
	})
	for _, part := range []string{"profile a b: name", "profile none: image: missing", "profile boot: boot: \"warm\"", "profile key: ssh_keys",
		"profile data: ssh_keys, user_data: ", "profile yaml: ", "profile arg: kernel_args[0]", "profile arg-2: kernel_args[0]"} {
		require.ErrorContains(t, err, part)
	}
	require.NotContains(t, err.Error(), "profile fine")
}

// A plan can be older than the rules that this program checks profiles by.
func TestPlanThatCannotBeCarriedOutFailsWithTheReason(t *testing.T) {
	b := newBench(t)
	var err error
	b.Installer, err = loda.NewInstaller(loda.Config{Store: b.store, Images: b, Logger: slog.New(slog.DiscardHandler),
		Profiles: loda.StaticProfiles{"debian": {Name: "debian", Image: "debian-12", UserData: "nothing known"}}})
	require.NoError(t, err)
	b.load(oneMachine, true)
	s := b.session(b.boot("SN-0001", mac).Token)
	b.finish(s, b.next(s), agentapi.Result{OK: true, Data: facts(t, "SN-0001")})
	b.next(s)
	require.Contains(t, b.requireState(inventory.Failed), "user data must start with")
	require.Equal(t, agentapi.ActionWait, b.next(s).Kind)
}
