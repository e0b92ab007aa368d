package configrepo

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/template"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/strictyaml"
)

// Repo is a repository that was loaded and found right. It is safe for concurrent use.
type Repo struct {
	// Revision is the commit that it was loaded from, if the caller knows one. It is copied into rendered profiles, and
	// must not be changed once others use the Repo.
	Revision string

	profiles  map[string]*ProfileFile
	sorted    []*ProfileFile
	sites     map[string]*siteFile
	variables map[string]*Variable
	sources   map[string]*source
	set       *template.Template
	warnings  []strictyaml.Error
}

// Profiles are all profiles, by name.
func (r *Repo) Profiles() []*ProfileFile { return slices.Clone(r.sorted) }

// Profile returns the profile of a name.
func (r *Repo) Profile(name string) (*ProfileFile, bool) { p, ok := r.profiles[name]; return p, ok }

// Sites are the names of all sites, sorted. None: the repository does not tell sites apart.
func (r *Repo) Sites() []string { return slices.Sorted(maps.Keys(r.sites)) }

// Warnings are about what is right but probably not meant: files and variables that nothing uses.
func (r *Repo) Warnings() []strictyaml.Error { return slices.Clone(r.warnings) }

// siteFile is a file of sites/.
type siteFile struct {
	doc    *strictyaml.Document
	yaml   siteYAML
	values map[string]any
}

type siteYAML struct {
	Description string         `yaml:"description"`
	Vars        map[string]any `yaml:"vars"`
}

// maxErrors bounds what is reported: nobody reads more at once.
const maxErrors = 1000

// loader is what Load works with.
type loader struct {
	tree *tree
	errs []strictyaml.Error

	variables map[string]*Variable
	sites     map[string]*siteFile
	systems   map[string]*osFile
	models    map[string]*hw.Model
	tools     map[string]*toolFile
	profiles  map[string]*ProfileFile
	sources   map[string]*source
	templates []string // names of all template files, also of those that cannot be parsed
	scripts   []string
	used      map[string]bool
	root      *vtype
	installer *vtype
}

// Load reads a repository and checks all of it. Where there is any error, there is no Repo: half a repository would
// install something else than what was written. The errors are sorted by file, line and column.
func Load(fsys fs.FS) (*Repo, []strictyaml.Error) {
	r := &loader{tree: readTree(fsys), variables: map[string]*Variable{}, sites: map[string]*siteFile{},
		systems: map[string]*osFile{},
		models:  map[string]*hw.Model{}, tools: map[string]*toolFile{}, profiles: map[string]*ProfileFile{}, sources: map[string]*source{},
		used: map[string]bool{}}
	r.errs = r.tree.errs
	r.parse()

	for _, name := range slices.Sorted(maps.Keys(r.sites)) {
		s := r.sites[name]
		s.values = r.values(s.doc, "vars", s.yaml.Vars)
	}
	for _, name := range slices.Sorted(maps.Keys(r.systems)) {
		r.system(r.systems[name])
	}
	tools := r.checkTools()
	sorted := make([]*ProfileFile, 0, len(r.profiles))
	for _, name := range slices.Sorted(maps.Keys(r.profiles)) {
		r.profile(r.profiles[name])
		r.profiles[name].tools = tools
		sorted = append(sorted, r.profiles[name])
	}
	if len(sorted) == 0 && len(r.errs) == 0 {
		r.errs = append(r.errs, strictyaml.Error{File: "profiles",
			Message: "the repository has no profile; want at least one file profiles/NAME.yaml"})
	}
	r.checkTemplates()
	r.checkOverlaps(sorted)
	r.checkValues(sorted)
	if errs := strictyaml.Sort(r.errs); len(errs) > 0 {
		if n := len(errs) - maxErrors; n > 0 {
			errs = append(errs[:maxErrors], strictyaml.Error{File: ".", Message: fmt.Sprintf("%d more errors", n)})
		}
		return nil, errs
	}

	repo := &Repo{profiles: r.profiles, sorted: sorted, sites: r.sites, variables: r.variables, sources: r.sources,
		warnings: r.unused()}
	repo.set = template.New("").Option("missingkey=error").Funcs(funcMap())
	for name, s := range r.sources {
		s.count()
		if _, err := repo.set.AddParseTree(name, s.tree); err != nil {
			return nil, []strictyaml.Error{s.errorf(0, "%v", err)}
		}
	}
	// What was only needed to say where something stands is let go: a site keeps the repositories of several commits.
	for _, p := range r.profiles {
		p.doc = nil
		if p.os != nil {
			p.os.doc = nil
		}
	}
	for _, s := range r.sites {
		s.doc = nil
	}
	return repo, nil
}

// parse reads all texts, on all cores. What depends on other files comes later.
func (r *loader) parse() {
	var mu sync.Mutex
	report := func(errs []strictyaml.Error) {
		mu.Lock()
		defer mu.Unlock()
		r.errs = append(r.errs, errs...)
	}
	var declared []struct {
		doc  *strictyaml.Document
		vars map[string]*Variable
	}
	one := func(file string, text []byte) {
		folder, _, _ := strings.Cut(file, "/")
		name := strings.TrimSuffix(path.Base(file), path.Ext(file))
		switch folder {
		case "scripts":
			return
		case "templates":
			s := newSource(file, file, string(text))
			errs := s.parse()
			mu.Lock()
			defer mu.Unlock()
			r.errs = append(r.errs, errs...)
			r.sources[file] = s
			return
		}
		doc, errs := strictyaml.Parse(file, text)
		if len(errs) > 0 {
			report(errs)
			return
		}
		switch folder {
		case "vars":
			vars := map[string]*Variable{}
			errs := doc.Decode(&vars)
			mu.Lock()
			defer mu.Unlock()
			r.errs = append(r.errs, errs...)
			declared = append(declared, struct {
				doc  *strictyaml.Document
				vars map[string]*Variable
			}{doc, vars})
		case "sites":
			s := &siteFile{doc: doc}
			errs := doc.Decode(&s.yaml)
			mu.Lock()
			defer mu.Unlock()
			r.errs = append(r.errs, errs...)
			r.sites[name] = s
		case "os":
			s := &osFile{name: name, doc: doc, answers: map[string]*source{}}
			errs := doc.Decode(&s.yaml)
			s.broken = len(errs) > 0
			mu.Lock()
			defer mu.Unlock()
			r.errs = append(r.errs, errs...)
			r.systems[name] = s
		case "models":
			m := new(hw.Model)
			errs := doc.Decode(m)
			mu.Lock()
			defer mu.Unlock()
			r.errs = append(r.errs, errs...)
			r.models[file] = m
		case "tools":
			t := &toolFile{doc: doc}
			errs := doc.Decode(&t.yaml)
			mu.Lock()
			defer mu.Unlock()
			r.errs = append(r.errs, errs...)
			r.tools[name] = t
		case "profiles":
			p := &ProfileFile{Name: name, File: file, doc: doc}
			errs := doc.Decode(&p.yaml)
			p.broken = len(errs) > 0
			mu.Lock()
			defer mu.Unlock()
			r.errs = append(r.errs, errs...)
			r.profiles[name] = p
		}
	}
	files := slices.Sorted(maps.Keys(r.tree.texts))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), 8) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(files) {
					return
				}
				one(files[i], r.tree.texts[files[i]])
			}
		})
	}
	wg.Wait()
	for _, file := range files {
		switch {
		case strings.HasPrefix(file, "templates/"):
			r.templates = append(r.templates, file)
		case strings.HasPrefix(file, "scripts/"):
			r.scripts = append(r.scripts, file)
		}
	}

	slices.SortFunc(declared, func(a, b struct {
		doc  *strictyaml.Document
		vars map[string]*Variable
	}) int {
		return strings.Compare(a.doc.File, b.doc.File)
	})
	for _, d := range declared {
		for _, name := range slices.Sorted(maps.Keys(d.vars)) {
			v := d.vars[name]
			if v == nil {
				v = &Variable{} // what could not be decoded is reported
			}
			if other, again := r.variables[name]; again {
				r.errs = append(r.errs, d.doc.KeyErrorf(strictyaml.Join("", name), "is declared in %s too; want it once",
					other.file))
				continue
			}
			r.errs = append(r.errs, v.declare(d.doc, name)...)
			r.variables[name] = v
		}
	}
}

// checkTemplates checks every template with the types of what it is given.
func (r *loader) checkTemplates() {
	for _, s := range r.sources {
		if s.tree != nil {
			s.findIncludes(s.tree.Root)
		}
	}
	errs, cyclic := cycles(r.sources)
	r.errs = append(r.errs, errs...)
	r.root, r.installer = roots(r.variables)
	c := &checker{sources: r.sources, cyclic: cyclic, exists: r.tree.has, vars: r.root.fields["vars"],
		done: map[string]bool{}}
	check := func(s *source, dot *vtype) {
		if s != nil {
			c.template(s, dot)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.systems)) {
		s := r.systems[name]
		check(s.args, r.installer)
		for _, answer := range slices.Sorted(maps.Keys(s.answers)) {
			check(s.answers[answer], r.installer)
		}
		if s.args == nil {
			continue
		}
		for name, u := range needsOf(s.args, r.sources).uses {
			if v := r.variables[name]; v != nil && v.Type == "secret" {
				c.errs = append(c.errs, u.s.errorf(u.pos, "%s is a secret, and everybody in the network can read a command line; want it "+
					"in an answer file", name))
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(r.profiles)) {
		p := r.profiles[name]
		for _, s := range p.steps {
			for _, env := range slices.Sorted(maps.Keys(s.env)) {
				check(s.env[env], r.root)
			}
		}
		check(p.userData, r.root)
	}
	r.errs = append(r.errs, c.errs...)
}

// checkOverlaps reports each pair of profiles that could match one machine, at the match of both.
func (r *loader) checkOverlaps(sorted []*ProfileFile) {
	for i, p := range sorted {
		if p.criteria == nil || p.broken {
			continue
		}
		for _, q := range sorted[i+1:] {
			if q.criteria == nil || q.broken || !overlap(p.criteria, q.criteria) {
				continue
			}
			for _, pair := range [][2]*ProfileFile{{p, q}, {q, p}} {
				at := pair[1].doc.KeyAt("match")
				r.errs = append(r.errs, pair[0].doc.KeyErrorf("match",
					"a machine can be matched by %s:%d too; want conditions that exclude each other: "+
						"a label, a site, or the other's machines below except", pair[1].File, at.Line))
			}
			if len(r.errs) > 4*maxErrors {
				return
			}
		}
	}
}

// checkValues reports each variable that has no value where a profile uses it.
func (r *loader) checkValues(sorted []*ProfileFile) {
	sites := slices.Sorted(maps.Keys(r.sites))
	if len(sites) == 0 {
		sites = []string{""}
	}
	lacking := map[use]map[string][]string{}
	of := map[*source]needs{}
	needsOfOne := func(s *source) needs {
		if _, ok := of[s]; !ok {
			of[s] = needsOf(s, r.sources)
		}
		return of[s]
	}
	for _, p := range sorted {
		p.needs = needs{uses: map[string]use{}, late: map[string]bool{}}
		for _, s := range p.texts() {
			n := needsOfOne(s)
			maps.Copy(p.needs.uses, n.uses)
			maps.Copy(p.needs.late, n.late)
			p.needs.disk = p.needs.disk || n.disk
		}
		for _, site := range sites {
			if p.Match != nil && len(p.Match.Site) > 0 && site != "" && !p.Match.Site.Match(site) {
				continue
			}
			var given map[string]any
			if f := r.sites[site]; f != nil {
				given = f.values
			}
			for name, u := range p.needs.uses {
				v := r.variables[name]
				if v == nil || v.Type == "secret" || v.PerMachine || v.Default != nil || has(p.yaml.Vars, name) || has(given,
					name) {
					continue
				}
				if f := r.sites[site]; f != nil && has(f.yaml.Vars, name) {
					continue // it has one that is wrong, which is reported
				}
				if lacking[u] == nil {
					lacking[u] = map[string][]string{}
				}
				where := "profile " + p.Name
				if site != "" {
					where += " at site " + site
				}
				lacking[u][name] = append(lacking[u][name], where)
			}
		}
	}
	for u, names := range lacking {
		for name, where := range names {
			v := r.variables[name]
			r.errs = append(r.errs, u.s.errorf(u.pos,
				"variable %s has no value for %s; want one in the site, in the profile, as default in %s, or "+
					"per_machine: true there for one that each machine's label brings", name, some(where), v.file))
		}
	}
}

// texts are all templates of a profile, those of its operating system too, each once.
func (p *ProfileFile) texts() []*source {
	var all []*source
	for _, s := range p.steps {
		for _, env := range slices.Sorted(maps.Keys(s.env)) {
			all = append(all, s.env[env])
		}
	}
	all = append(all, p.userData)
	if p.os != nil {
		all = append(all, p.os.args)
		for _, name := range slices.Sorted(maps.Keys(p.os.answers)) {
			all = append(all, p.os.answers[name])
		}
	}
	return slices.DeleteFunc(all, func(s *source) bool { return s == nil })
}

// unused warns of what nothing uses.
func (r *loader) unused() []strictyaml.Error {
	var all []strictyaml.Error
	warn := func(file string) {
		all = append(all, strictyaml.Error{File: file, Message: "is used by nothing"})
	}
	variables := map[string]bool{}
	for name, s := range r.sources {
		if s.field == "" && !s.reached {
			warn(name)
		}
		for v := range s.uses {
			variables[v] = true
		}
	}
	for _, file := range slices.Concat(r.scripts, keys(r.models)) {
		if !r.used[file] {
			warn(file)
		}
	}
	for name := range r.systems {
		if file := "os/" + name + ".yaml"; !r.used[file] {
			warn(file)
		}
	}
	for name, v := range r.variables {
		if !variables[name] {
			at := v.at
			all = append(all, strictyaml.Error{File: v.file, Line: at.Line, Column: at.Column, Path: name,
				Message: "the variable is used by nothing"})
		}
	}
	return strictyaml.Sort(all)
}

func keys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func has[V any](m map[string]V, key string) bool { _, ok := m[key]; return ok }
