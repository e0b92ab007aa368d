package modules

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
)

// Tree is all modules of one kernel, as they lie in lib/modules/RELEASE of a kernel package.
type Tree struct {
	// Release is what `uname -r` prints on this kernel.
	Release string

	modules map[string]*Module
	// aliases leads from an alias without wildcards to modules; patterns are the others.
	aliases  map[string][]string
	patterns []pattern
	builtin  map[string]*Info
}

type pattern struct{ glob, module string }

// Module is a module file in a [Tree].
type Module struct {
	Info
	// File is where it is on this host, Path where it goes below lib/modules/RELEASE. File may be compressed (.xz, .zst);
	// Path ends in .ko unless somebody appends to it who compresses what [Module.Read] returns.
	File, Path string
}

// NotFoundError names modules that a kernel has neither as a file nor built in.
type NotFoundError struct {
	Release string
	Names   []string
}

func (e *NotFoundError) Error() string {
	return fmt.Sprintf("kernel %s has no module %s", e.Release, strings.Join(e.Names, ", "))
}

// OpenTree reads the .modinfo of all modules below dir. It does not need modules.dep.
func OpenTree(dir string) (*Tree, error) {
	t := &Tree{modules: map[string]*Module{}, aliases: map[string][]string{}, builtin: map[string]*Info{}}
	data, err := os.ReadFile(filepath.Join(dir, "modules.builtin.modinfo"))
	if err == nil {
		t.builtin = readBuiltin(data)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if list, err := os.ReadFile(filepath.Join(dir, "modules.builtin")); err == nil {
		for line := range strings.Lines(string(list)) {
			name := nameOfFile(strings.TrimSpace(line))
			if _, ok := t.builtin[name]; !ok && name != "" {
				t.builtin[name] = &Info{Name: name}
			}
		}
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		// Trees of installed kernels have links to the kernel's sources.
		if !d.Type().IsRegular() || nameOfFile(path) == "" {
			return nil
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		return t.add(path, filepath.ToSlash(withoutPacking(rel)))
	})
	if err != nil {
		return nil, fmt.Errorf("modules in %s: %w", dir, err)
	}
	if t.Release == "" {
		t.Release = filepath.Base(dir)
	}
	t.index()
	return t, nil
}

// Add puts further module files into the tree; one of a name that is there already replaces it. A module for another
// kernel is refused.
func (t *Tree) Add(files ...string) error {
	for _, file := range files {
		if nameOfFile(file) == "" {
			return fmt.Errorf("%s is no kernel module: its name must end in .ko, .ko.xz or .ko.zst", file)
		}
		if err := t.add(file, "updates/"+withoutPacking(filepath.Base(file))); err != nil {
			return err
		}
	}
	t.index()
	return nil
}

func (t *Tree) add(file, path string) error {
	m := &Module{File: file, Path: path}
	data, err := m.Read()
	if err != nil {
		return err
	}
	info, err := ReadInfo(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if t.Release == "" {
		t.Release = info.Release
	}
	if info.Release != t.Release {
		return fmt.Errorf("%s was built for kernel %s, not for %s", file, info.Release, t.Release)
	}
	m.Info = *info
	t.modules[m.Name] = m
	return nil
}

// index is built anew from sorted names, so that the order of files in a directory decides nothing.
func (t *Tree) index() {
	clear(t.aliases)
	t.patterns = t.patterns[:0]
	for _, name := range slices.Sorted(maps.Keys(t.modules)) {
		for _, a := range t.modules[name].Aliases {
			if strings.ContainsAny(a, "*?[\\") {
				t.patterns = append(t.patterns, pattern{a, name})
			} else {
				t.aliases[a] = append(t.aliases[a], name)
			}
		}
	}
}

// Read returns the module itself, unpacked.
func (m *Module) Read() ([]byte, error) { return readFile(m.File) }

// maxModule bounds what a compressed module unpacks to.
const maxModule = 256 << 20

// readFile reads a module file, unpacked.
func readFile(file string) ([]byte, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var r io.Reader
	switch filepath.Ext(file) {
	case ".xz":
		r, err = xz.NewReader(bytes.NewReader(data))
	case ".zst":
		dec, zerr := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1))
		if zerr == nil {
			defer dec.Close()
		}
		r, err = dec, zerr
	default:
		return data, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	data, err = io.ReadAll(io.LimitReader(r, maxModule+1))
	if err == nil && len(data) > maxModule {
		err = fmt.Errorf("unpacks to more than %d bytes", maxModule)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return data, nil
}

func withoutPacking(file string) string {
	return strings.TrimSuffix(strings.TrimSuffix(file, ".xz"), ".zst")
}

// nameOfFile returns the module's name for md-mod.ko, packed or not, and "" for other files.
func nameOfFile(file string) string {
	name, ok := strings.CutSuffix(withoutPacking(filepath.Base(file)), ".ko")
	if !ok {
		return ""
	}
	return CanonicalName(name)
}

// Builtin reports whether the kernel itself contains the module.
func (t *Tree) Builtin(name string) bool {
	_, ok := t.builtin[CanonicalName(name)]
	return ok
}

// Has reports whether the module is there as a file.
func (t *Tree) Has(name string) bool {
	_, ok := t.modules[CanonicalName(name)]
	return ok
}

// Resolve returns the named modules with all that they need, ordered by name. Soft dependencies come along where they
// exist. Names that are built in give nothing. All missing names are in one [*NotFoundError].
func (t *Tree) Resolve(names []string) ([]*Module, error) {
	chosen := map[string]*Module{}
	var missing []string
	var visit func(name, by string)
	visit = func(name, by string) {
		name = CanonicalName(name)
		if _, ok := chosen[name]; ok {
			return
		}
		m, ok := t.modules[name]
		if !ok {
			if !t.Builtin(name) {
				missing = append(missing, name+by)
			}
			return
		}
		chosen[name] = m
		for _, d := range m.Depends {
			visit(d, " (needed by "+name+")")
		}
		for _, soft := range slices.Concat(m.SoftPre, m.SoftPost) {
			for _, s := range t.byAlias(soft) {
				visit(s, "")
			}
		}
	}
	for _, name := range names {
		visit(name, "")
	}
	if len(missing) > 0 {
		slices.Sort(missing)
		return nil, &NotFoundError{Release: t.Release, Names: slices.Compact(missing)}
	}
	return slices.SortedFunc(maps.Values(chosen), func(a, b *Module) int { return cmp.Compare(a.Name, b.Name) }), nil
}

// byAlias finds modules by name or alias.
func (t *Tree) byAlias(alias string) []string {
	if name := CanonicalName(alias); t.Has(name) {
		return []string{name}
	}
	found := slices.Clone(t.aliases[alias])
	for _, p := range t.patterns {
		if Match(p.glob, alias) {
			found = append(found, p.module)
		}
	}
	return found
}

// IndexFiles are the contents of modules.dep, modules.alias, modules.softdep and modules.builtin for a selection that
// [Tree.Resolve] made.
func (t *Tree) IndexFiles(selection []*Module) map[string][]byte {
	byName := map[string]*Module{}
	for _, m := range selection {
		byName[m.Name] = m
	}
	var dep, alias, softdep, builtin bytes.Buffer
	for _, m := range selection {
		fmt.Fprintf(&dep, "%s:", m.Path)
		// As depmod writes it: what is to be loaded first stands last.
		order := loadOrder(m.Name, func(n string) []string {
			if d := byName[n]; d != nil {
				return d.Depends
			}
			return nil
		})
		for _, d := range slices.Backward(order) {
			if d != m.Name && byName[d] != nil {
				fmt.Fprintf(&dep, " %s", byName[d].Path)
			}
		}
		dep.WriteByte('\n')
		for _, a := range m.Aliases {
			fmt.Fprintf(&alias, "alias %s %s\n", a, m.Name)
		}
		if len(m.SoftPre)+len(m.SoftPost) > 0 {
			fmt.Fprintf(&softdep, "softdep %s", m.Name)
			if len(m.SoftPre) > 0 {
				fmt.Fprintf(&softdep, " pre: %s", strings.Join(m.SoftPre, " "))
			}
			if len(m.SoftPost) > 0 {
				fmt.Fprintf(&softdep, " post: %s", strings.Join(m.SoftPost, " "))
			}
			softdep.WriteByte('\n')
		}
	}
	for _, name := range slices.Sorted(maps.Keys(t.builtin)) {
		fmt.Fprintf(&builtin, "kernel/%s.ko\n", name)
	}
	return map[string][]byte{"modules.dep": dep.Bytes(), "modules.alias": alias.Bytes(),
		"modules.softdep": softdep.Bytes(), "modules.builtin": builtin.Bytes()}
}

// loadOrder lists name and all that it depends on, dependencies first. A circle is cut where it closes.
func loadOrder(name string, depends func(string) []string) []string {
	var order []string
	seen := map[string]bool{}
	var visit func(string)
	visit = func(n string) {
		if seen[n] {
			return
		}
		seen[n] = true
		for _, d := range depends(n) {
			visit(d)
		}
		order = append(order, n)
	}
	visit(name)
	return order
}
