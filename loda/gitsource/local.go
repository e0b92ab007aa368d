package gitsource

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	git "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// localRemote is a repository on this host, bare or with a working tree. It is read, with go-git, and never written;
// the git program is not needed.
type localRemote struct {
	dir    string
	limits Limits
}

func newLocal(dir string, auth Auth, limits Limits) (remote, error) {
	err := unused("path", map[string]string{
		"a key file is": auth.KeyFile, "a passphrase file is": auth.PassphraseFile, "a token file is": auth.TokenFile,
		"a known_hosts file is": auth.KnownHostsFile, "a CA file is": auth.CAFile, "a user name is": auth.Username,
	})
	if err != nil {
		return nil, err
	}
	return &localRemote{dir: filepath.Clean(dir), limits: limits}, nil
}

type localSession struct {
	remote  *localRemote
	objects storer.EncodedObjectStorer
	adv     advertisement
}

func (r *localRemote) open(ctx context.Context) (session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(r.dir); err != nil {
		return nil, fmt.Errorf("the repository cannot be read: %w", err)
	}
	repo, err := git.PlainOpenWithOptions(r.dir, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("%s is not a git repository: make it one with `git init`, and commit", r.dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read as a git repository: %w", r.dir, err)
	}
	s := &localSession{remote: r, objects: repo.Storer}
	s.adv = advertisement{byName: map[string]plumbing.Hash{}, peeled: map[string]plumbing.Hash{}, byNumber: true}
	refs, err := repo.Storer.IterReferences()
	if err != nil {
		return nil, fmt.Errorf("the references of %s cannot be read: %w", r.dir, err)
	}
	err = refs.ForEach(func(ref *plumbing.Reference) error {
		if ref.Type() != plumbing.HashReference || !ref.Name().IsBranch() && !ref.Name().IsTag() {
			return nil
		}
		name := ref.Name().String()
		s.adv.byName[name] = ref.Hash()
		if !ref.Name().IsTag() {
			return nil
		}
		h := ref.Hash()
		for range 8 {
			tag, err := object.GetTag(repo.Storer, h)
			if err != nil {
				break // not an annotated one
			}
			h = tag.Target
			s.adv.peeled[name] = h
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("the references of %s cannot be read: %w", r.dir, err)
	}
	if head, err := repo.Head(); err == nil {
		s.adv.head = head.Hash()
	}
	return s, nil
}

func (s *localSession) refs() advertisement { return s.adv }
func (s *localSession) close()              {}

// fetch copies what the commits consist of and the copy does not have.
func (s *localSession) fetch(ctx context.Context, req request, into *store) (int64, error) {
	c := copier{from: s.objects, into: into, limits: s.remote.limits}
	for _, h := range req.wants {
		if err := c.commit(ctx, h); err != nil {
			return c.bytes, fmt.Errorf("reading %s: %w", s.remote.dir, err)
		}
	}
	return c.bytes, nil
}

type copier struct {
	from   storer.EncodedObjectStorer
	into   *store
	limits Limits
	bytes  int64
	count  int
}

func (c *copier) commit(ctx context.Context, h plumbing.Hash) error {
	for range 8 {
		o, err := c.from.EncodedObject(plumbing.AnyObject, h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return fmt.Errorf("there is no commit %s", h)
		}
		if err != nil {
			return err
		}
		if err := c.object(o, h); err != nil {
			return err
		}
		switch o.Type() {
		case plumbing.TagObject:
			tag := &object.Tag{}
			if err := tag.Decode(o); err != nil {
				return err
			}
			h = tag.Target
		case plumbing.CommitObject:
			commit := &object.Commit{}
			if err := commit.Decode(o); err != nil {
				return err
			}
			return c.tree(ctx, commit.TreeHash)
		default:
			return nil // whoever asked finds out that it is no commit
		}
	}
	return errors.New("tags of tags, more than 8 deep")
}

func (c *copier) tree(ctx context.Context, root plumbing.Hash) error {
	seen := map[plumbing.Hash]bool{}
	todo := []plumbing.Hash{root}
	for len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		h := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if seen[h] {
			continue
		}
		seen[h] = true
		o, err := c.from.EncodedObject(plumbing.TreeObject, h)
		if err != nil {
			return fmt.Errorf("tree %s: %w", h, err)
		}
		if err := c.object(o, h); err != nil {
			return err
		}
		tree := &object.Tree{}
		if err := tree.Decode(o); err != nil {
			return fmt.Errorf("tree %s: %w", h, err)
		}
		for _, e := range tree.Entries {
			switch {
			case e.Mode == filemode.Submodule || seen[e.Hash]:
			case e.Mode == filemode.Dir:
				todo = append(todo, e.Hash)
			default:
				seen[e.Hash] = true
				if err := c.blob(e); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (c *copier) blob(e object.TreeEntry) error {
	if c.into.has(e.Hash) {
		return nil
	}
	size, err := c.from.EncodedObjectSize(e.Hash)
	if err != nil {
		return fmt.Errorf("file %q: %w", oneLine(e.Name, 100), err)
	}
	if size > c.limits.Blob {
		return tooBig(size, c.limits)
	}
	o, err := c.from.EncodedObject(plumbing.BlobObject, e.Hash)
	if err != nil {
		return fmt.Errorf("file %q: %w", oneLine(e.Name, 100), err)
	}
	return c.object(o, e.Hash)
}

// object copies one, unless it is there.
func (c *copier) object(o plumbing.EncodedObject, h plumbing.Hash) error {
	if c.into.has(h) {
		return nil
	}
	if o.Size() > max(c.limits.Blob, maxNode) {
		return tooBig(o.Size(), c.limits)
	}
	if c.bytes += o.Size(); c.bytes > c.limits.Total {
		return tooMuch("the files of the repository are more than %s together, which is the limit", mebibytes(c.limits.Total))
	}
	if c.count++; c.count > 4*c.limits.Files {
		return tooMuch("the repository has more than %d objects, and %d files and directories are the limit",
			4*c.limits.Files, c.limits.Files)
	}
	r, err := o.Reader()
	if err != nil {
		return err
	}
	defer r.Close()
	content, err := io.ReadAll(io.LimitReader(r, o.Size()+1))
	if err != nil {
		return err
	}
	got, err := c.into.put(o.Type(), content)
	if err != nil {
		return err
	}
	if got != h {
		return fmt.Errorf("object %s is damaged: its content has the digest %s; run `git fsck` there", h, got)
	}
	return nil
}
