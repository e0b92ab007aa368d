package tool

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/project-loda/loda/loda/agentapi"
)

// The RAM disk has no C library, and most makers' tools want one. It comes with the tool: its loader and the libraries
// are files beside it. The kernel looks for the loader under the one path that is written in the program, so that is made
// a link; the libraries are found by LD_LIBRARY_PATH, which whoever runs the tool sets to [Fetcher.Libraries]. Without this
// all that is heard of a missing loader is that the program itself does not exist.

// Libraries is the directory in which a program that was fetched finds what came with it; empty for any other program.
func (f *Fetcher) Libraries(program string) string {
	if rel, err := filepath.Rel(f.Dir, program); err != nil || !filepath.IsLocal(rel) {
		return ""
	}
	return filepath.Dir(program)
}

// systemLibraries are where loaders look by themselves.
var systemLibraries = []string{"lib64", "usr/lib64", "lib", "usr/lib", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu"}

const (
	// maxLoader bounds the loader's path.
	maxLoader = 4096
	// maxLibraries bounds the walk through libraries that want others.
	maxLibraries = 256
)

// link makes a program startable, or says what is missing. Scripts and static programs are as they are.
func (f *Fetcher) link(program string, d agentapi.Download) error {
	loader, needed, err := inspect(program)
	if err != nil || loader == "" {
		return err
	}
	if !path.IsAbs(loader) || !filepath.IsLocal(loader[1:]) {
		return fmt.Errorf("it wants to be started by %q, which is no path", loader)
	}
	dir := filepath.Dir(program)
	missing, err := f.missing(dir, d, needed)
	if err != nil {
		return err
	}
	switch err := f.linkLoader(loader, dir, d); {
	case errors.Is(err, fs.ErrNotExist):
		missing = append([]string{path.Base(loader)}, missing...)
	case err != nil:
		return err
	}
	if missing = unique(missing); len(missing) > 0 {
		return fmt.Errorf("it is linked against %s, which bootOS does not have: name them under files, beside its url, or take "+
			"a build that is linked statically", strings.Join(missing, ", "))
	}
	return nil
}

// linkLoader puts the loader where the program wants it. [fs.ErrNotExist]: there is none.
func (f *Fetcher) linkLoader(loader, dir string, d agentapi.Download) error {
	name := path.Base(loader)
	digest, brought := d.Files[name]
	at := filepath.Join(f.root(), loader)
	have, err := digestOf(at)
	switch {
	case err == nil && (!brought || have == digest):
		return nil
	case err == nil:
		// Two C libraries cannot be told apart by a path that both have.
		return fmt.Errorf("%s is there with sha256 %.12s…, and it brings one with %.12s…: give all tools of a profile the same "+
			"C library", loader, have, digest)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case !brought:
		return err
	}
	if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
		return err
	}
	// What is not there and in the way is a link that leads nowhere.
	if err := os.Remove(at); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Relative, and so right below another root as well; then neither end may be a link itself.
	from, err := filepath.EvalSymlinks(filepath.Dir(at))
	if err != nil {
		return err
	}
	to, err := filepath.EvalSymlinks(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	target, err := filepath.Rel(from, to)
	if err != nil {
		return err
	}
	return os.Symlink(target, at)
}

// missing walks through what a program needs, and what that needs, and names what neither came with it nor is here.
func (f *Fetcher) missing(dir string, d agentapi.Download, needed []string) ([]string, error) {
	var missing []string
	seen := map[string]bool{}
	for len(needed) > 0 && len(seen) < maxLibraries {
		name := needed[0]
		needed = needed[1:]
		if seen[name] {
			continue
		}
		seen[name] = true
		if _, brought := d.Files[name]; !brought {
			if !f.here(name) {
				missing = append(missing, name)
			}
			continue
		}
		_, more, err := inspect(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		needed = append(needed, more...)
	}
	return missing, nil
}

// here reports whether the machine itself has a library.
func (f *Fetcher) here(name string) bool {
	dirs := systemLibraries
	if path.IsAbs(name) {
		dirs = []string{"."}
	}
	return slices.ContainsFunc(dirs, func(dir string) bool {
		_, err := os.Stat(filepath.Join(f.root(), dir, filepath.Clean("/"+name)))
		return err == nil
	})
}

func (f *Fetcher) root() string {
	if f.Root == "" {
		return "/"
	}
	return f.Root
}

// inspect returns the loader and the libraries that a file wants. What is no ELF wants none, and neither does what cannot
// be understood, such as some packed programs: the kernel may know better.
func inspect(name string) (loader string, libraries []string, err error) {
	file, err := os.Open(name)
	if err != nil {
		return "", nil, err
	}
	defer file.Close()
	e, err := elf.NewFile(file)
	if err != nil {
		return "", nil, nil
	}
	for _, p := range e.Progs {
		if p.Type != elf.PT_INTERP || p.Filesz > maxLoader {
			continue
		}
		text, err := io.ReadAll(p.Open())
		if err != nil {
			return "", nil, nil
		}
		loader = string(bytes.TrimRight(text, "\x00"))
	}
	libraries, _ = e.ImportedLibraries()
	return loader, libraries, nil
}

// digestOf returns the digest of a regular file.
func digestOf(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func unique(names []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(names, func(n string) bool {
		again := seen[n]
		seen[n] = true
		return again
	})
}
