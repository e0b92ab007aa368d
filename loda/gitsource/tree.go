package gitsource

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
)

// treeFS is the files of one commit. What it returns never changes, so directories are read once.
type treeFS struct {
	store   *store
	root    entry
	time    time.Time
	maxBlob int64
	damaged func() // called when an object is not what it should be

	mu   sync.Mutex
	dirs map[plumbing.Hash][]entry
}

// entry is a file, link or directory in a directory.
type entry struct {
	name string
	mode filemode.FileMode
	hash plumbing.Hash
}

const (
	maxLink  = 4096 // PATH_MAX
	maxHops  = 40   // ELOOP
	maxDepth = 64
)

func newTreeFS(s *store, commit plumbing.Hash, maxBlob int64, damaged func()) (*treeFS, error) {
	c, err := s.commit(commit)
	if err != nil {
		return nil, err
	}
	return &treeFS{
		store: s, root: entry{".", filemode.Dir, c.TreeHash}, time: sane(c.Committer.When), maxBlob: max(maxBlob, maxNode),
		damaged: damaged, dirs: map[plumbing.Hash][]entry{},
	}, nil
}

// note passes errors on, and tells the Source about those that mean damage.
func (t *treeFS) note(err error) error {
	if errors.Is(err, errDamaged) || errors.Is(err, errAbsent) {
		t.damaged()
	}
	return err
}

// dir returns the entries of a directory, sorted by name.
func (t *treeFS) dir(h plumbing.Hash) ([]entry, error) {
	t.mu.Lock()
	entries, ok := t.dirs[h]
	t.mu.Unlock()
	if ok {
		return entries, nil
	}
	raw, err := t.store.tree(h)
	if err != nil {
		return nil, t.note(err)
	}
	entries = make([]entry, 0, len(raw))
	for _, e := range raw {
		// git itself refuses to check such names out; a tree made by hand can hold them.
		if e.Name == "." || e.Name == ".." || strings.EqualFold(e.Name, ".git") || strings.ContainsAny(e.Name, "/\x00") ||
			!utf8.ValidString(e.Name) {
			return nil, fmt.Errorf("tree %s holds the name %q, which cannot be used", h, oneLine(e.Name, 100))
		}
		entries = append(entries, entry{e.Name, e.Mode, e.Hash})
	}
	slices.SortFunc(entries, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	for i := 1; i < len(entries); i++ {
		if entries[i].name == entries[i-1].name {
			return nil, fmt.Errorf("tree %s holds the name %q twice", h, oneLine(entries[i].name, 100))
		}
	}
	t.mu.Lock()
	t.dirs[h] = entries
	t.mu.Unlock()
	return entries, nil
}

// find returns what a name stands for. It follows links on the way, and a last one if follow is set.
func (t *treeFS) find(name string, follow bool) (entry, error) {
	if !fs.ValidPath(name) {
		return entry{}, fs.ErrInvalid
	}
	at := []entry{t.root}
	todo := strings.Split(name, "/")
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 1 {
				return entry{}, errLeaves
			}
			at = at[:len(at)-1]
			continue
		}
		here := at[len(at)-1]
		if here.mode != filemode.Dir {
			return entry{}, fs.ErrNotExist
		}
		entries, err := t.dir(here.hash)
		if err != nil {
			return entry{}, err
		}
		i, ok := slices.BinarySearchFunc(entries, part, func(e entry, s string) int { return cmp.Compare(e.name, s) })
		if !ok {
			return entry{}, fs.ErrNotExist
		}
		e := entries[i]
		if e.mode != filemode.Symlink || len(todo) == 0 && !follow {
			at = append(at, e)
			continue
		}
		if hops++; hops > maxHops {
			return entry{}, errors.New("too many symbolic links, perhaps in a circle")
		}
		target, err := t.link(e)
		if err != nil {
			return entry{}, err
		}
		if path.IsAbs(target) {
			return entry{}, errLeaves
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return at[len(at)-1], nil
}

var errLeaves = errors.New("a symbolic link leads out of the repository, which is refused")

func (t *treeFS) link(e entry) (string, error) {
	_, content, err := t.store.get(e.hash, t.maxBlob)
	if err != nil {
		return "", t.note(err)
	}
	if len(content) == 0 || len(content) > maxLink || bytes.IndexByte(content, 0) >= 0 {
		return "", fmt.Errorf("the symbolic link %q has no usable target", oneLine(e.name, 100))
	}
	return string(content), nil
}

func (t *treeFS) info(e entry) (fileInfo, error) {
	i := fileInfo{name: e.name, mode: modeOf(e.mode), time: t.time}
	if e.mode == filemode.Dir || e.mode == filemode.Submodule {
		return i, nil
	}
	_, size, err := t.store.size(e.hash)
	i.size = size
	return i, t.note(err)
}

// read returns the content of a file.
func (t *treeFS) read(e entry) ([]byte, error) {
	switch e.mode {
	case filemode.Dir:
		return nil, errors.New("is a directory")
	case filemode.Submodule:
		return nil, errors.New("is a submodule, which is not supported: put the files into the repository itself")
	}
	_, content, err := t.store.get(e.hash, t.maxBlob)
	return content, t.note(err)
}

func modeOf(m filemode.FileMode) fs.FileMode {
	switch m {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Executable:
		return 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular
	}
	return 0o444
}

func pathError(op, name string, err error) error {
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open implements fs.FS.
func (t *treeFS) Open(name string) (fs.File, error) {
	e, err := t.find(name, true)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	e.name = path.Base(name)
	info, err := t.info(e)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	if e.mode == filemode.Dir {
		entries, err := t.dir(e.hash)
		if err != nil {
			return nil, pathError("open", name, err)
		}
		return &openDir{tree: t, info: info, name: name, left: entries}, nil
	}
	content, err := t.read(e)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &openFile{info: info, Reader: bytes.NewReader(content)}, nil
}

// ReadFile implements fs.ReadFileFS.
func (t *treeFS) ReadFile(name string) ([]byte, error) {
	e, err := t.find(name, true)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	content, err := t.read(e)
	if err != nil {
		return nil, pathError("read", name, err)
	}
	return content, nil
}

// ReadDir implements fs.ReadDirFS.
func (t *treeFS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := t.find(name, true)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	if e.mode != filemode.Dir {
		return nil, pathError("readdir", name, errors.New("not a directory"))
	}
	entries, err := t.dir(e.hash)
	if err != nil {
		return nil, pathError("readdir", name, err)
	}
	return t.list(entries), nil
}

func (t *treeFS) list(entries []entry) []fs.DirEntry {
	all := make([]fs.DirEntry, len(entries))
	for i, e := range entries {
		all[i] = dirEntry{t, e}
	}
	return all
}

// Stat implements fs.StatFS.
func (t *treeFS) Stat(name string) (fs.FileInfo, error) { return t.stat("stat", name, true) }

// Lstat implements fs.ReadLinkFS.
func (t *treeFS) Lstat(name string) (fs.FileInfo, error) { return t.stat("lstat", name, false) }

func (t *treeFS) stat(op, name string, follow bool) (fs.FileInfo, error) {
	e, err := t.find(name, follow)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	e.name = path.Base(name)
	i, err := t.info(e)
	if err != nil {
		return nil, pathError(op, name, err)
	}
	return i, nil
}

// ReadLink implements fs.ReadLinkFS.
func (t *treeFS) ReadLink(name string) (string, error) {
	e, err := t.find(name, false)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	if e.mode != filemode.Symlink {
		return "", pathError("readlink", name, fs.ErrInvalid)
	}
	target, err := t.link(e)
	if err != nil {
		return "", pathError("readlink", name, err)
	}
	return target, nil
}

type fileInfo struct {
	name string
	size int64
	mode fs.FileMode
	time time.Time
}

func (i fileInfo) Name() string       { return i.name }
func (i fileInfo) Size() int64        { return i.size }
func (i fileInfo) Mode() fs.FileMode  { return i.mode }
func (i fileInfo) ModTime() time.Time { return i.time }
func (i fileInfo) IsDir() bool        { return i.mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

type dirEntry struct {
	tree  *treeFS
	entry entry
}

func (d dirEntry) Name() string               { return d.entry.name }
func (d dirEntry) IsDir() bool                { return d.entry.mode == filemode.Dir }
func (d dirEntry) Type() fs.FileMode          { return modeOf(d.entry.mode).Type() }
func (d dirEntry) Info() (fs.FileInfo, error) { return d.tree.info(d.entry) }
func (d dirEntry) String() string             { return fs.FormatDirEntry(d) }

type openFile struct {
	info fileInfo
	*bytes.Reader
}

func (f *openFile) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *openFile) Close() error               { return nil }

type openDir struct {
	tree *treeFS
	info fileInfo
	name string
	left []entry
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }

func (d *openDir) Read([]byte) (int, error) {
	return 0, pathError("read", d.name, errors.New("is a directory"))
}

// ReadDir implements fs.ReadDirFile.
func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	take := len(d.left)
	if n > 0 {
		if take == 0 {
			return nil, io.EOF
		}
		take = min(n, take)
	}
	entries := d.left[:take]
	d.left = d.left[take:]
	return d.tree.list(entries), nil
}
