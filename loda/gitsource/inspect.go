package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// Problem is something in a repository that cannot be used.
type Problem struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

func (p Problem) Error() string { return oneLine(p.Path, 300) + ": " + p.Text }

// Inspect looks for what cannot be fetched or read: submodules, Git LFS pointers, symbolic links that leave the
// repository or lead nowhere, and what is beyond the limits. It returns all that it finds (up to a hundred) as
// Problems, joined.
//
// It works on the tree of a commit and on a working directory (os.DirFS) alike, so that what a Source refuses is found
// before it is pushed.
func Inspect(tree fs.FS, limits Limits) error {
	i := inspection{tree: tree, limits: limits.withDefaults()}
	if err := i.dir(".", 0); err != nil && !errors.Is(err, errEnough) {
		return err
	}
	if i.total > i.limits.Total {
		i.problem(".", "all files together have %d bytes, and %s is the limit", i.total, mebibytes(i.limits.Total))
	}
	return errors.Join(i.problems...)
}

var errEnough = errors.New("enough problems")

type inspection struct {
	tree     fs.FS
	limits   Limits
	files    int
	total    int64
	problems []error
}

func (i *inspection) problem(name, format string, args ...any) {
	if len(i.problems) < maxReasons {
		i.problems = append(i.problems, Problem{name, fmt.Sprintf(format, args...)})
	}
}

func (i *inspection) dir(name string, depth int) error {
	if depth > maxDepth {
		i.problem(name, "directories are more than %d deep", maxDepth)
		return nil
	}
	entries, err := fs.ReadDir(i.tree, name)
	if err != nil {
		return i.unreadable(name, err)
	}
	for _, e := range entries {
		if e.Name() == ".git" {
			if depth > 0 {
				i.problem(name, "is a submodule or a repository of its own, which is not supported: put the files into the "+
					"repository itself")
			}
			continue
		}
		if i.files++; i.files > i.limits.Files {
			i.problem(".", "there are more than %d files and directories, which is the limit", i.limits.Files)
			return errEnough // what is inside may be without end: a tree can hold itself a thousand times
		}
		if err := i.entry(path.Join(name, e.Name()), e, depth); err != nil {
			return err
		}
	}
	return nil
}

// unreadable tells a local failure, which says nothing about the commit, from a tree that is wrong.
func (i *inspection) unreadable(name string, err error) error {
	if errors.Is(err, errDamaged) || errors.Is(err, errAbsent) {
		return err
	}
	i.problem(name, "cannot be read: %v", sanitized{err})
	return nil
}

func (i *inspection) entry(name string, e fs.DirEntry, depth int) error {
	switch t := e.Type(); {
	case t.IsDir():
		return i.dir(name, depth+1)
	case t == fs.ModeSymlink:
		if err := i.follow(name); err != nil {
			return i.unreadable(name, err)
		}
		return nil
	case t == fs.ModeIrregular:
		i.problem(name, "is a submodule, which is not supported: put the files into the repository itself")
		return nil
	case t != 0:
		i.problem(name, "is neither a file nor a directory")
		return nil
	}
	info, err := e.Info()
	if err != nil {
		return i.unreadable(name, err)
	}
	i.total += info.Size()
	if info.Size() > i.limits.Blob {
		i.problem(name, "has %d bytes, and %s is the limit: images belong on the artifact server", info.Size(),
			mebibytes(i.limits.Blob))
	}
	if info.Size() > 1024 { // a pointer is smaller, by its specification
		return nil
	}
	content, err := fs.ReadFile(i.tree, name)
	if err != nil {
		return i.unreadable(name, err)
	}
	if bytes.HasPrefix(content, []byte("version https://git-lfs.github.com/spec/")) {
		i.problem(name, "is a Git LFS pointer and not the file: LFS is not supported. Put the file on the artifact server, "+
			"or take it out of LFS with `git lfs migrate export --include=%s`", name)
	}
	return nil
}

// follow sees whether a symbolic link leads to something within the repository.
func (i *inspection) follow(name string) error {
	var at []string
	todo := strings.Split(name, "/")
	for hops := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				i.problem(name, "%v", errLeaves)
				return nil
			}
			at = at[:len(at)-1]
			continue
		}
		here := path.Join(append(at[:len(at):len(at)], part)...)
		if here == ".git" {
			i.problem(name, "the symbolic link leads into git's own directory, which is refused")
			return nil
		}
		info, err := fs.Lstat(i.tree, here)
		if errors.Is(err, fs.ErrNotExist) {
			i.problem(name, "the symbolic link leads to %q, which does not exist", here)
			return nil
		}
		if err != nil {
			return err
		}
		if info.Mode().Type() != fs.ModeSymlink {
			at = append(at, part)
			continue
		}
		if hops++; hops > maxHops {
			i.problem(name, "too many symbolic links, perhaps in a circle")
			return nil
		}
		target, err := fs.ReadLink(i.tree, here)
		if err != nil {
			return err
		}
		if path.IsAbs(target) {
			i.problem(name, "%v", errLeaves)
			return nil
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return nil
}
