package configrepo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/project-loda/loda/loda/strictyaml"
)

const (
	maxFiles = 50_000
	maxFile  = 1 << 20
	maxTotal = 256 << 20
	maxDepth = 16
)

// folders of a repository, and how the names of their files end.
var folders = map[string]struct {
	suffix string
	flat   bool
}{
	"profiles": {".yaml", true}, "os": {".yaml", true}, "vars": {".yaml", true}, "sites": {".yaml", true},
	"tools": {".yaml", true}, "models": {".yaml", false}, "templates": {".tmpl", false}, "scripts": {"", false},
}

// ignored are names that belong to people and their tools.
var ignored = regexp.MustCompile(
	`(?i)^(\..*|README.*|LICEN[CS]E.*|COPYING.*|CHANGELOG.*|CONTRIBUTING.*|CODEOWNERS|Makefile)$`)

// A file name ends up in messages, in templates and in other files.
var fileName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+@-]*$`)

// tree is what is read of a repository: the files in the folders that are known.
type tree struct {
	fsys  fs.FS
	texts map[string][]byte
	errs  []strictyaml.Error

	regular map[string]bool
	links   map[string]string
	seen    int
	total   int64
}

func readTree(fsys fs.FS) *tree {
	t := &tree{fsys: fsys, texts: map[string][]byte{}, regular: map[string]bool{}, links: map[string]string{}}
	t.top()
	for _, name := range slices.Sorted(maps.Keys(t.regular)) {
		t.read(name, name)
	}
	for _, name := range slices.Sorted(maps.Keys(t.links)) {
		t.follow(name)
	}
	return t
}

func (t *tree) bad(file, format string, args ...any) {
	t.errs = append(t.errs, strictyaml.Error{File: file, Message: fmt.Sprintf(format, args...)})
}

// readDir lists a directory. What it could not list is an error: half a repository must not pass for a whole one.
func (t *tree) readDir(dir string) []fs.DirEntry {
	entries, err := fs.ReadDir(t.fsys, dir)
	if err != nil {
		t.bad(dir, "cannot be read: %v", plainErr(err))
		return nil
	}
	if t.seen += len(entries); t.seen > maxFiles {
		t.bad(dir, "the repository has more than %d files", maxFiles)
		return nil
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries
}

func (t *tree) top() {
	known := slices.Sorted(maps.Keys(folders))
	for _, e := range t.readDir(".") {
		name := e.Name()
		if name == ".gitmodules" {
			t.submodules()
		}
		if ignored.MatchString(name) || name == "docs" {
			continue
		}
		if _, ok := folders[name]; !ok {
			t.bad(show(name), "has no meaning at the top of a repository; %s", strictyaml.Suggest(name, known))
			continue
		}
		if !e.IsDir() {
			t.bad(name, "is not a directory; want one, with the files in it")
			continue
		}
		t.walk(name, name, 1)
	}
}

// submodules names those that .gitmodules declares: their files are not in the repository.
func (t *tree) submodules() {
	text, err := fs.ReadFile(t.fsys, ".gitmodules")
	if err != nil {
		t.bad(".gitmodules", "cannot be read: %v", plainErr(err))
		return
	}
	for i, line := range strings.Split(string(text[:min(len(text), maxFile)]), "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "[submodule") {
			t.errs = append(t.errs, strictyaml.Error{File: ".gitmodules", Line: i + 1, Column: 1,
				Message: "submodules are not supported: an installation pins one commit of one repository; copy the files into it"})
		}
	}
}

func (t *tree) walk(folder, dir string, depth int) {
	rule := folders[folder]
	if depth > maxDepth {
		t.bad(dir, "lies more than %d directories deep", maxDepth)
		return
	}
	for _, e := range t.readDir(dir) {
		name := e.Name()
		full := dir + "/" + name
		kind := e.Type()
		switch {
		case ignored.MatchString(name) && !(kind.IsDir() && name[0] != '.'):
			continue
		case !fileName.MatchString(name):
			t.bad(show(full), "is not a name that other files could use; want letters, digits and . _ + @ -")
		case kind.IsDir() && rule.flat:
			t.bad(full, "is a directory; want the files of %s directly in it", folder)
		case kind.IsDir():
			t.walk(folder, full, depth+1)
		case !kind.IsRegular() && kind&fs.ModeSymlink == 0:
			t.bad(full, "is neither a file nor a directory (a submodule, or a device); want a file")
		case rule.suffix != "" && path.Ext(name) != rule.suffix:
			t.bad(full, "is not a file of %s; want a name that ends in %s", folder, rule.suffix)
		case kind&fs.ModeSymlink != 0:
			t.links[full] = ""
		default:
			t.regular[full] = true
		}
	}
}

// follow reads what a symbolic link leads to. That has to be a file that is read anyway: then it cannot lie outside,
// whatever the file system underneath makes of links on the way.
func (t *tree) follow(name string) {
	if _, ok := t.fsys.(fs.ReadLinkFS); !ok {
		t.read(name, name) // the file system decides where its links may lead
		return
	}
	at := name
	for range 8 {
		target, err := fs.ReadLink(t.fsys, at)
		if err != nil {
			t.bad(name, "is a symbolic link that cannot be read: %v", plainErr(err))
			return
		}
		if path.IsAbs(target) {
			t.bad(name, "is a symbolic link to %s, outside of the repository; copy the file", show(target))
			return
		}
		at = path.Join(path.Dir(at), target)
		if !fs.ValidPath(at) {
			t.bad(name, "is a symbolic link to %s, outside of the repository; copy the file", show(target))
			return
		}
		if t.regular[at] {
			t.read(name, at)
			return
		}
		if _, again := t.links[at]; !again {
			t.bad(name, "is a symbolic link to %s; want a file in one of the folders", show(at))
			return
		}
	}
	t.bad(name, "is a symbolic link that leads in a circle")
}

var lfsPointer = []byte("version https://git-lfs")

// read keeps the text of a file under a name.
func (t *tree) read(name, file string) {
	f, err := t.fsys.Open(file)
	if err != nil {
		t.bad(name, "cannot be read: %v", plainErr(err))
		return
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		t.bad(name, "cannot be read: %v", plainErr(err))
		return
	}
	t.total += int64(len(text))
	switch {
	case len(text) > maxFile:
		t.bad(name, "has more than %d bytes", maxFile)
	case t.total > maxTotal:
		if t.total-int64(len(text)) <= maxTotal { // say it once
			t.bad(name, "the files of the repository up to this one have more than %d bytes", maxTotal)
		}
	case bytes.HasPrefix(text, lfsPointer):
		t.errs = append(t.errs, strictyaml.Error{File: name, Line: 1, Column: 1,
			Message: "is a pointer of Git LFS, not the file; LFS is not supported: " +
				"commit the text itself, or put large files among the site's artifacts"})
	default:
		if errs := strictyaml.CheckText(name, text); len(errs) > 0 {
			t.errs = append(t.errs, errs...)
			return
		}
		t.texts[name] = text
	}
}

// has says whether a file is there, readable or not.
func (t *tree) has(name string) bool {
	_, link := t.links[name]
	return link || t.regular[name]
}

// plainErr leaves the path out, which stands in front already.
func plainErr(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// show is a name that may hold anything.
func show(name string) string {
	if !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Sprintf("%q", name)
	}
	return name
}
