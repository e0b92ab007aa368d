package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/objfile"
	"github.com/go-git/go-git/v5/plumbing/object"
	"golang.org/x/sys/unix"
)

// errDamaged marks errors of a copy whose files are not what was written: a cut power line, a bad disk, a person.
var errDamaged = errors.New("the local copy is damaged")

// errAbsent marks objects that the copy does not have.
var errAbsent = errors.New("not in the local copy")

// store is the local copy: a bare git repository of loose objects, so that every object is a file of its own, which is
// there entirely or not at all, whose name is the digest of its content, and which goes when nobody needs it. A config
// repository is small enough for that. It is written without go-git's storage, whose readers are not safe beside a
// writer and do not check what they read; git itself reads it (`git --git-dir=DIR/repo.git log`).
//
// Objects may be read while others are written.
type store struct {
	dir string // the repository
}

// The references of a copy. They are what keeps objects, for git as well as for us.
const (
	refCurrent = "refs/heads/current" // git wants its HEAD to lead to a branch
	refRefused = "refs/loda/refused"
	dirPinned  = "refs/loda/pinned"
	dirRecent  = "refs/loda/recent"
)

func openStore(dir string) (*store, error) {
	s := &store{dir: dir}
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil {
		for _, d := range []string{"objects", "refs/heads", dirPinned, dirRecent} {
			if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
				return nil, fmt.Errorf("%w: %s: %w", errDamaged, dir, err)
			}
		}
		return s, s.removeLeftOvers()
	}
	for _, d := range []string{"objects", "refs/heads", dirPinned, dirRecent} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			if errors.Is(err, unix.ENOTDIR) {
				err = fmt.Errorf("%w: %w", errDamaged, err)
			}
			return nil, fmt.Errorf("making a local copy in %s: %w", dir, err)
		}
	}
	config := "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[gc]\n\tauto = 0\n"
	if err := writeFile(filepath.Join(dir, "config"), []byte(config)); err != nil {
		return nil, err
	}
	return s, writeFile(filepath.Join(dir, "HEAD"), []byte("ref: "+refCurrent+"\n")) // last: now it is a repository
}

// removeLeftOvers removes what a process that was killed had not finished.
func (s *store) removeLeftOvers() error {
	return filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("%w: %w", errDamaged, err)
		}
		if strings.HasPrefix(d.Name(), tempPrefix) {
			return os.RemoveAll(path)
		}
		return nil
	})
}

const tempPrefix = "tmp-"

// writeFile replaces a file so that it has either its old or its new content, also after a power cut.
func writeFile(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(data); err != nil {
		f.Close()
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// flush waits until all objects are on the disk: a reference written afterwards never names one that a power cut took.
func (s *store) flush() error {
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return fmt.Errorf("flushing %s: %w", s.dir, err)
	}
	return nil
}

func (s *store) objectPath(h plumbing.Hash) string {
	name := h.String()
	return filepath.Join(s.dir, "objects", name[:2], name[2:])
}

func (s *store) has(h plumbing.Hash) bool {
	_, err := os.Stat(s.objectPath(h))
	return err == nil
}

// put writes an object and returns its name.
func (s *store) put(t plumbing.ObjectType, content []byte) (plumbing.Hash, error) {
	h := plumbing.ComputeHash(t, content)
	path := s.objectPath(h)
	if s.has(h) {
		return h, nil
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return h, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), tempPrefix)
	if err != nil {
		return h, err
	}
	defer os.Remove(f.Name())
	w := objfile.NewWriter(f)
	err = w.WriteHeader(t, int64(len(content)))
	if err == nil {
		_, err = w.Write(content)
	}
	if err := errors.Join(err, w.Close(), f.Chmod(0o400), f.Close()); err != nil {
		return h, fmt.Errorf("writing object %s into %s: %w", h, s.dir, err)
	}
	return h, os.Rename(f.Name(), path)
}

// get reads an object and checks that it is the one that was asked for.
func (s *store) get(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error) {
	damaged := func(err error) (plumbing.ObjectType, []byte, error) {
		return 0, nil, fmt.Errorf("%w: object %s in %s: %w", errDamaged, h, s.dir, err)
	}
	f, r, t, size, err := s.open(h)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	defer r.Close()
	if size < 0 || size > limit {
		return damaged(fmt.Errorf("it says that it has %d bytes, and may have %d", size, limit))
	}
	content := make([]byte, size)
	if _, err := io.ReadFull(r, content); err != nil {
		return damaged(err)
	}
	if n, _ := io.Copy(io.Discard, io.LimitReader(r, 1)); n != 0 {
		return damaged(errors.New("it is longer than it says"))
	}
	if plumbing.ComputeHash(t, content) != h {
		return damaged(errors.New("its content has another digest"))
	}
	return t, content, nil
}

// size reads only the head of an object.
func (s *store) size(h plumbing.Hash) (plumbing.ObjectType, int64, error) {
	f, r, t, size, err := s.open(h)
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	return t, size, r.Close()
}

func (s *store) open(h plumbing.Hash) (*os.File, *objfile.Reader, plumbing.ObjectType, int64, error) {
	f, err := os.Open(s.objectPath(h))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, 0, 0, fmt.Errorf("object %s: %w in %s", h, errAbsent, s.dir)
	}
	if err != nil {
		return nil, nil, 0, 0, err
	}
	r, err := objfile.NewReader(f)
	if err != nil {
		f.Close()
		return nil, nil, 0, 0, fmt.Errorf("%w: object %s in %s: %w", errDamaged, h, s.dir, err)
	}
	t, size, err := r.Header()
	if err != nil {
		r.Close()
		f.Close()
		return nil, nil, 0, 0, fmt.Errorf("%w: object %s in %s: %w", errDamaged, h, s.dir, err)
	}
	return f, r, t, size, nil
}

// maxNode bounds commits, tags and trees, which are read as a whole into memory.
const maxNode = 16 << 20

// node reads an object of one type.
func (s *store) node(t plumbing.ObjectType, h plumbing.Hash) (*plumbing.MemoryObject, error) {
	got, content, err := s.get(h, maxNode)
	if err != nil {
		return nil, err
	}
	if got != t {
		return nil, fmt.Errorf("object %s is a %s, and a %s was expected", h, got, t)
	}
	o := &plumbing.MemoryObject{}
	o.SetType(t)
	_, err = o.Write(content)
	return o, err
}

func (s *store) commit(h plumbing.Hash) (*object.Commit, error) {
	o, err := s.node(plumbing.CommitObject, h)
	if err != nil {
		return nil, err
	}
	c := &object.Commit{}
	if err := c.Decode(o); err != nil {
		return nil, fmt.Errorf("commit %s cannot be read: %w", h, err)
	}
	return c, nil
}

func (s *store) tree(h plumbing.Hash) ([]object.TreeEntry, error) {
	o, err := s.node(plumbing.TreeObject, h)
	if err != nil {
		return nil, err
	}
	t := &object.Tree{}
	if err := t.Decode(o); err != nil {
		return nil, fmt.Errorf("tree %s cannot be read: %w", h, err)
	}
	return t.Entries, nil
}

// peel follows tags to the commit that they name.
func (s *store) peel(h plumbing.Hash) (plumbing.Hash, error) {
	for range 8 {
		t, _, err := s.size(h)
		if err != nil {
			return h, err
		}
		switch t {
		case plumbing.CommitObject:
			return h, nil
		case plumbing.TagObject:
			o, err := s.node(t, h)
			if err != nil {
				return h, err
			}
			tag := &object.Tag{}
			if err := tag.Decode(o); err != nil {
				return h, fmt.Errorf("tag %s cannot be read: %w", h, err)
			}
			h = tag.Target
		default:
			return h, fmt.Errorf("object %s is a %s: only a commit can be used", h, t)
		}
	}
	return h, errors.New("tags of tags, more than 8 deep")
}

// each visits everything that a commit's tree consists of, each object once, and reads it if read is set. Objects in
// seen are left out and those visited are added. Submodules have no objects here.
func (s *store) each(commit plumbing.Hash, seen map[plumbing.Hash]bool, read bool, maxBlob int64) error {
	c, err := s.commit(commit)
	if err != nil {
		return err
	}
	seen[commit] = true
	trees := []plumbing.Hash{c.TreeHash}
	for len(trees) > 0 {
		h := trees[len(trees)-1]
		trees = trees[:len(trees)-1]
		if seen[h] {
			continue
		}
		seen[h] = true
		entries, err := s.tree(h)
		if err != nil {
			return err
		}
		for _, e := range entries {
			switch {
			case e.Mode == filemode.Submodule || seen[e.Hash]:
			case e.Mode == filemode.Dir:
				trees = append(trees, e.Hash)
			default:
				seen[e.Hash] = true
				if read {
					if _, _, err := s.get(e.Hash, maxBlob); err != nil {
						return err
					}
				} else if !s.has(e.Hash) {
					return fmt.Errorf("object %s: %w in %s", e.Hash, errAbsent, s.dir)
				}
			}
		}
	}
	return nil
}

// sweep removes all objects but those that are kept, and returns how many went.
func (s *store) sweep(kept map[plumbing.Hash]bool) (int, error) {
	removed := 0
	dirs, err := os.ReadDir(filepath.Join(s.dir, "objects"))
	if err != nil {
		return 0, err
	}
	for _, d := range dirs {
		if len(d.Name()) != 2 || !d.IsDir() {
			continue
		}
		dir := filepath.Join(s.dir, "objects", d.Name())
		files, err := os.ReadDir(dir)
		if err != nil {
			return removed, err
		}
		for _, f := range files {
			if kept[plumbing.NewHash(d.Name()+f.Name())] && len(f.Name()) == 38 {
				continue
			}
			if err := os.Remove(filepath.Join(dir, f.Name())); err != nil {
				return removed, err
			}
			removed++
		}
	}
	return removed, nil
}

func (s *store) setRef(name string, h plumbing.Hash) error {
	return writeFile(filepath.Join(s.dir, name), []byte(h.String()+"\n"))
}

func (s *store) removeRef(name string) error {
	err := os.Remove(filepath.Join(s.dir, name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// ref returns the zero hash for a reference that does not exist.
func (s *store) ref(name string) (plumbing.Hash, error) {
	path := filepath.Join(s.dir, name)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return plumbing.ZeroHash, nil
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	text := strings.TrimSuffix(string(raw), "\n")
	if !plumbing.IsHash(text) {
		return plumbing.ZeroHash, fmt.Errorf("%w: %s does not hold a commit", errDamaged, path)
	}
	return plumbing.NewHash(text), nil
}

// refs returns the commits that have a reference of their name in dir.
func (s *store) refs(dir string) ([]plumbing.Hash, error) {
	files, err := os.ReadDir(filepath.Join(s.dir, dir))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errDamaged, err)
	}
	var all []plumbing.Hash
	for _, f := range files {
		if !plumbing.IsHash(f.Name()) {
			continue
		}
		h, err := s.ref(filepath.Join(dir, f.Name()))
		if err != nil {
			return nil, err
		}
		if h.String() != f.Name() {
			return nil, fmt.Errorf("%w: %s names %s", errDamaged, filepath.Join(s.dir, dir, f.Name()), h)
		}
		all = append(all, h)
	}
	return all, nil
}

// setShallow tells git which commits are here without their parents: all.
func (s *store) setShallow(commits []plumbing.Hash) error {
	var b bytes.Buffer
	lines := make([]string, 0, len(commits))
	for _, h := range commits {
		lines = append(lines, h.String())
	}
	slices.Sort(lines)
	for _, line := range slices.Compact(lines) {
		b.WriteString(line + "\n")
	}
	path := filepath.Join(s.dir, "shallow")
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, b.Bytes()) {
		return nil
	}
	return writeFile(path, b.Bytes())
}
