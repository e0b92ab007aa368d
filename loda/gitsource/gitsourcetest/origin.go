// Package gitsourcetest makes git repositories for tests: what a team pushes to, and a site fetches from.
package gitsourcetest

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/stretchr/testify/require"
)

// Origin is a git repository with one branch, main.
type Origin struct {
	// Dir is its work tree. It is the URL to fetch from, too.
	Dir  string
	t    *testing.T
	repo *git.Repository
}

// New makes a repository with one commit, of these files.
func New(t *testing.T, files map[string]string) *Origin {
	t.Helper()
	o := &Origin{t: t, Dir: t.TempDir()}
	var err error
	o.repo, err = git.PlainInitWithOptions(o.Dir, &git.PlainInitOptions{InitOptions: git.InitOptions{
		DefaultBranch: plumbing.NewBranchReferenceName("main")}})
	require.NoError(t, err)
	o.Push(files)
	return o
}

// Push commits files, by name; an empty text removes one. It returns the commit.
func (o *Origin) Push(files map[string]string) (commit string) {
	o.t.Helper()
	tree, err := o.repo.Worktree()
	require.NoError(o.t, err)
	for name, text := range files {
		path := filepath.Join(o.Dir, name)
		if text == "" {
			require.NoError(o.t, os.Remove(path))
		} else {
			require.NoError(o.t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(o.t, os.WriteFile(path, []byte(text), 0o644))
		}
		_, err = tree.Add(name)
		require.NoError(o.t, err)
	}
	hash, err := tree.Commit("a change", &git.CommitOptions{Author: &object.Signature{Name: "Ada", Email: "ada@example.org", When: time.Now()}})
	require.NoError(o.t, err)
	return hash.String()
}
