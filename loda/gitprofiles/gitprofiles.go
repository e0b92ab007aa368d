// Package gitprofiles takes a site's profiles from a git repository: it joins gitsource, which keeps a copy of the
// repository and says which commit is in use, with configrepo, which reads one, and is a [loda.Profiles]:
//
//	source, err := gitsource.Open(gitsource.Config{URL: url, Dir: dir, Check: gitprofiles.Check})
//	profiles := gitprofiles.New(source, "fra")
//	installer, err := loda.NewInstaller(loda.Config{Profiles: profiles, ...})
//
// An installation pins a commit, and is rendered from that commit however long it takes and whatever is pushed meanwhile.
// [Profiles.KeepPinned] tells the source which commits that are.
package gitprofiles

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/configrepo"
	"github.com/project-loda/loda/loda/gitsource"
	"github.com/project-loda/loda/loda/strictyaml"
)

// Check loads a whole commit, and returns everything that is wrong with it. It is a gitsource.Config.Check.
func Check(_ context.Context, _ gitsource.Commit, tree fs.FS) error {
	_, errs := configrepo.Load(tree)
	return strictyaml.Err(errs)
}

// Profiles are those of the commit that a source says is in use. They are safe for concurrent use.
type Profiles struct {
	source *gitsource.Source
	site   string

	mu    sync.Mutex
	repos []loaded // most recently used last
}

// loaded is a commit that was read.
type loaded struct {
	commit string
	repo   *configrepo.Repo
}

// maxLoaded is how many commits are held in memory: the current one, and those that installations pinned before.
const maxLoaded = 8

// New returns the profiles for the machines of one site.
func New(source *gitsource.Source, site string) *Profiles {
	return &Profiles{source: source, site: site}
}

// Source is where the commits come from.
func (p *Profiles) Source() *gitsource.Source { return p.source }

// Revision implements [loda.Profiles]: the commit in use.
func (p *Profiles) Revision(context.Context) (string, error) {
	c, err := p.source.Require()
	return c.Hash, err
}

// current is the commit in use, read.
func (p *Profiles) current(ctx context.Context) (*configrepo.Repo, error) {
	commit, err := p.Revision(ctx)
	if err != nil {
		return nil, err
	}
	return p.repo(commit)
}

// Names implements [loda.Profiles].
func (p *Profiles) Names(ctx context.Context) ([]string, error) {
	repo, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	var names []string
	for _, p := range repo.Profiles() {
		names = append(names, p.Name)
	}
	return names, nil
}

// Profile implements [loda.Profiles].
func (p *Profiles) Profile(ctx context.Context, name string) (*loda.Profile, error) {
	repo, err := p.current(ctx)
	if err != nil {
		return nil, err
	}
	return repo.Outline(name)
}

// Resolve implements [loda.Profiles].
func (p *Profiles) Resolve(_ context.Context, s loda.Subject) (*loda.Profile, error) {
	repo, err := p.repo(s.Revision)
	if err != nil {
		return nil, err
	}
	subject := configrepo.Subject{Site: p.site, Machine: s.Machine, Facts: s.Facts, Profile: s.Profile, Disk: s.Disk}
	var profile *loda.Profile
	switch {
	case s.Facts != nil:
		profile, err = repo.Render(subject)
	case s.Profile == "":
		return nil, loda.ErrByFacts
	default:
		// Whether it fits is seen when the hardware is known.
		profile, err = repo.Outline(s.Profile)
	}
	var none *configrepo.NoMatchError
	var several *configrepo.AmbiguousError
	switch {
	case errors.As(err, &none), errors.As(err, &several):
		return nil, &unmatched{fmt.Errorf("at commit %.10s, %w", s.Revision, err)}
	case err != nil:
		return nil, fmt.Errorf("commit %.10s: %w", s.Revision, err)
	}
	return profile, nil
}

// unmatched is a [loda.ErrNoProfile] that says why in words of its own.
type unmatched struct{ error }

func (e *unmatched) Unwrap() []error { return []error{loda.ErrNoProfile, e.error} }

// repo reads a commit, or finds it in memory. Reading is done once, also when 200 machines want it at once.
func (p *Profiles) repo(commit string) (*configrepo.Repo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if i := slices.IndexFunc(p.repos, func(l loaded) bool { return l.commit == commit }); i >= 0 {
		l := p.repos[i]
		p.repos = append(slices.Delete(p.repos, i, i+1), l)
		return l.repo, nil
	}
	tree, err := p.source.Tree(commit)
	if err != nil {
		return nil, fmt.Errorf("commit %.10s: %w", commit, err)
	}
	repo, errs := configrepo.Load(tree)
	if len(errs) > 0 {
		// It was checked before it came into use: the copy is damaged, or an older version of this program accepted it.
		return nil, fmt.Errorf("commit %.10s cannot be read: %w", commit, errs[0])
	}
	repo.Revision = commit
	p.repos = append(p.repos, loaded{commit, repo})
	p.repos = p.repos[max(0, len(p.repos)-maxLoaded):]
	return repo, nil
}

// KeepPinned tells the source which commits the open installations of an inventory have pinned, so that they stay
// readable.
func (p *Profiles) KeepPinned(ctx context.Context, store inventory.InstallationStore) error {
	pinned, err := loda.PinnedRevisions(ctx, store)
	if err != nil {
		return err
	}
	return p.source.Keep(pinned)
}
