package gitprofiles_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/gitprofiles"
	"github.com/project-loda/loda/loda/gitsource"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
)

var files = map[string]string{
	"profiles/lab.yaml":   "match: {product: Lab*}\nos: debian\n",
	"profiles/named.yaml": "os: debian\nkernel_args: [\"console=ttyS1\"]\n",
	"os/debian.yaml":      "kind: image\nimage: debian-12\nsha256: " + strings.Repeat("ab", 32) + "\n",
}

func open(t *testing.T, url string) *gitprofiles.Profiles {
	t.Helper()
	source, err := gitsource.Open(gitsource.Config{URL: url, Dir: t.TempDir(), Check: gitprofiles.Check, Poll: time.Hour})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	return gitprofiles.New(source, "default")
}

func TestEveryPinnedCommitStaysReadable(t *testing.T) {
	origin := gitsourcetest.New(t, files)
	p := open(t, origin.Dir)
	_, err := p.Revision(t.Context())
	require.ErrorIs(t, err, gitsource.ErrNoCommit)
	_, err = p.Names(t.Context())
	require.ErrorIs(t, err, gitsource.ErrNoCommit)

	var commits []string
	for range 12 { // more than are held in memory
		commits = append(commits, origin.Push(map[string]string{"profiles/lab.yaml": "description: " + time.Now().Format(time.RFC3339Nano) + "\n" + files["profiles/lab.yaml"]}))
		_, err := p.Source().Sync(t.Context())
		require.NoError(t, err)
	}
	require.NoError(t, p.Source().Keep(commits))
	machine := &inventory.Machine{Serial: "SN-1"}
	facts := &hw.Facts{Version: hw.Version, System: hw.System{Serial: "SN-1", Product: "Lab Server"}}
	for _, commit := range append(commits, commits[0]) {
		got, err := p.Resolve(t.Context(), loda.Subject{Revision: commit, Machine: machine, Facts: facts})
		require.NoError(t, err)
		require.Equal(t, "lab", got.Name)
		require.Equal(t, commit, got.Revision)
	}
	current, err := p.Revision(t.Context())
	require.NoError(t, err)
	require.Equal(t, commits[11], current)
	names, err := p.Names(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"lab", "named"}, names)
}

func TestAProfileIsFoundByNameOrByFacts(t *testing.T) {
	origin := gitsourcetest.New(t, files)
	p := open(t, origin.Dir)
	_, err := p.Source().Sync(t.Context())
	require.NoError(t, err)
	commit, err := p.Revision(t.Context())
	require.NoError(t, err)
	machine := &inventory.Machine{Serial: "SN-1"}
	other := &hw.Facts{Version: hw.Version, System: hw.System{Serial: "SN-1", Product: "Other"}}

	_, err = p.Resolve(t.Context(), loda.Subject{Revision: commit, Machine: machine})
	require.ErrorIs(t, err, loda.ErrByFacts)
	named, err := p.Resolve(t.Context(), loda.Subject{Revision: commit, Machine: machine, Profile: "named"})
	require.NoError(t, err)
	require.Equal(t, []string{"console=ttyS1"}, named.KernelArgs)
	_, err = p.Resolve(t.Context(), loda.Subject{Revision: commit, Machine: machine, Profile: "nameless"})
	require.ErrorIs(t, err, loda.ErrNoProfile)
	require.ErrorContains(t, err, "want lab or named")
	for profile, why := range map[string]string{"": "no profile is for machine SN-1", "lab": "product: want Lab*, got Other"} {
		_, err = p.Resolve(t.Context(), loda.Subject{Revision: commit, Machine: machine, Facts: other, Profile: profile})
		require.ErrorIs(t, err, loda.ErrNoProfile)
		require.ErrorContains(t, err, why)
		require.NotContains(t, err.Error(), "no such profile", "it says why in words of its own")
	}
	_, err = p.Resolve(t.Context(), loda.Subject{Revision: strings.Repeat("0", 40), Machine: machine, Facts: other})
	require.ErrorIs(t, err, gitsource.ErrNotKept)
	require.NotErrorIs(t, err, loda.ErrNoProfile)
}
