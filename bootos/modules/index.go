package modules

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Index answers which modules are for an alias, and what has to be loaded for a module, from the files of depmod(8).
type Index struct {
	deps    map[string][]string // module name → paths to load, in order, its own last
	exact   map[string][]string
	globs   []pattern
	softPre map[string][]string
	builtin map[string]bool
}

// ReadIndex reads the index files in the root of fsys, which is lib/modules/RELEASE. Only modules.dep must exist.
func ReadIndex(fsys fs.FS) (*Index, error) {
	x := &Index{deps: map[string][]string{}, exact: map[string][]string{}, softPre: map[string][]string{},
		builtin: map[string]bool{}}
	readers := []struct {
		file string
		line func([]string)
	}{
		{"modules.dep", x.addDep},
		{"modules.alias", x.addAlias},
		{"modules.softdep", x.addSoftdep},
		{"modules.builtin", func(w []string) { x.builtin[nameOfFile(w[0])] = true }},
	}
	for i, r := range readers {
		data, err := fs.ReadFile(fsys, r.file)
		if errors.Is(err, fs.ErrNotExist) && i > 0 {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("module index: %w", err)
		}
		lines := bufio.NewScanner(bytes.NewReader(data))
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			if words := strings.Fields(lines.Text()); len(words) > 0 && words[0][0] != '#' {
				r.line(words)
			}
		}
		if err := lines.Err(); err != nil {
			return nil, fmt.Errorf("module index %s: %w", r.file, err)
		}
	}
	return x, nil
}

func (x *Index) addDep(words []string) {
	own, ok := strings.CutSuffix(words[0], ":")
	name := nameOfFile(own)
	if !ok || name == "" {
		return
	}
	paths := slices.Clone(words[1:])
	slices.Reverse(paths)
	x.deps[name] = append(paths, path.Clean(own))
}

func (x *Index) addAlias(words []string) {
	if len(words) != 3 || words[0] != "alias" {
		return
	}
	glob, name := words[1], CanonicalName(words[2])
	if strings.ContainsAny(glob, "*?[\\") {
		x.globs = append(x.globs, pattern{glob, name})
	} else {
		x.exact[glob] = append(x.exact[glob], name)
	}
}

func (x *Index) addSoftdep(words []string) {
	if len(words) < 3 || words[0] != "softdep" {
		return
	}
	info := Info{}
	info.addSoft(strings.Join(words[2:], " "))
	x.softPre[CanonicalName(words[1])] = info.SoftPre
}

// Lookup returns the modules for a name or alias (such as the content of a modalias file), in the order of the index;
// none is no error.
func (x *Index) Lookup(alias string) []string {
	name := CanonicalName(alias)
	if _, ok := x.deps[name]; ok {
		return []string{name}
	}
	found := slices.Clone(x.exact[alias])
	for _, g := range x.globs {
		if Match(g.glob, alias) && !slices.Contains(found, g.module) {
			found = append(found, g.module)
		}
	}
	return found
}

// Files returns the paths of all modules that loading the named one takes, in order; nil if there is none.
func (x *Index) Files(name string) []string { return x.deps[CanonicalName(name)] }

// Builtin reports whether the kernel itself contains the module.
func (x *Index) Builtin(name string) bool { return x.builtin[CanonicalName(name)] }
