package configrepo

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/strictyaml"
	"github.com/project-loda/loda/raid"
)

// A ProfileFile is a profile as the repository has it, before it is rendered for a machine.
type ProfileFile struct {
	// Name is the file's without its ending, File its path.
	Name, File  string
	Description string
	// Match says which machines it is for. Nil: those for which it is asked by name.
	Match *Match
	// Model is what the machine must look like. Nil: anything.
	Model *hw.Model
	// RAID is the layout of the machine's RAID controllers. Nil: they stay as they are.
	RAID *raid.Layout
	// OS is the name of the file in os/.
	OS string
	// Disk is the rule that chooses the disk for the operating system.
	Disk hw.DiskRule

	yaml     profileYAML
	doc      *strictyaml.Document
	broken   bool
	criteria *criteria
	values   map[string]any
	steps    []step
	userData *source
	os       *osFile
	needs    needs
	// tools are those of the repository.
	tools map[raid.Tool]loda.Download
}

// Late lists the secrets that the profile's texts use, and the values of the boot to come, sorted.
func (p *ProfileFile) Late() []loda.Late {
	var all []loda.Late
	for _, l := range slices.Sorted(maps.Keys(p.needs.late)) {
		all = append(all, loda.Late(l))
	}
	return all
}

// step is one whose environment is a template.
type step struct {
	loda.Step
	env map[string]*source
}

type profileYAML struct {
	Description string            `yaml:"description"`
	Match       *Match            `yaml:"match"`
	Model       *modelRef         `yaml:"model"`
	RAID        *raid.Layout      `yaml:"raid"`
	RAIDDrivers []loda.RAIDDriver `yaml:"raid_drivers"`
	Steps       []stepYAML        `yaml:"steps"`
	OS          string            `yaml:"os"`
	Disk        hw.DiskRule       `yaml:"disk"`
	Boot        string            `yaml:"boot"`
	Chain       string            `yaml:"chain"`
	SSHKeys     []string          `yaml:"ssh_keys"`
	UserData    string            `yaml:"user_data"`
	KernelArgs  []string          `yaml:"kernel_args"`
	Vars        map[string]any    `yaml:"vars"`
}

type stepYAML struct {
	Name        string            `yaml:"name"`
	Script      string            `yaml:"script"`
	Interpreter words             `yaml:"interpreter"`
	Timeout     time.Duration     `yaml:"timeout"`
	Env         map[string]string `yaml:"env"`
	ExitCodes   []int             `yaml:"exit_codes"`
}

// words are the arguments of a command: a list, or one text that is split at blanks.
type words []string

func (w *words) UnmarshalText(text []byte) error {
	*w = strings.Fields(string(text))
	return nil
}

func (w words) Validate() error {
	if w != nil && (len(w) == 0 || w[0] == "") {
		return errors.New("names no program; want one such as /bin/sh -e")
	}
	return nil
}

// modelRef is a model, or the file that has it.
type modelRef struct {
	file     string
	hw.Model `yaml:",inline"`
}

func (m *modelRef) UnmarshalText(text []byte) error {
	m.file = string(text)
	if !strings.HasPrefix(m.file, "models/") {
		return fmt.Errorf("%q is not the path of a file in models/; want one such as models/r740.yaml, or the model "+
			"itself", m.file)
	}
	return nil
}

// Validate asks the model that was written here; one in a file of its own is asked there.
func (m *modelRef) Validate() error {
	if v, ok := any(&m.Model).(interface{ Validate() error }); ok && m.file == "" {
		return v.Validate()
	}
	return nil
}

const (
	defaultTimeout = 10 * time.Minute
	maxTimeout     = 24 * time.Hour
)

var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`)

// profile checks one profile against the rest of the repository.
func (r *loader) profile(p *ProfileFile) {
	y, doc := &p.yaml, p.doc
	bad := func(at, format string, args ...any) { r.errs = append(r.errs, doc.Errorf(at, format, args...)) }
	p.Description, p.Match, p.RAID, p.OS, p.Disk = y.Description, y.Match, y.RAID, y.OS, y.Disk
	p.criteria = p.Match.criteria()
	p.values = r.values(doc, "vars", y.Vars)

	if y.Model != nil {
		p.Model = &y.Model.Model
		if file := y.Model.file; file != "" {
			p.Model = r.models[file]
			r.used[file] = true
			if p.Model == nil && !r.tree.has(file) {
				bad("model", "there is no file %s; %s", file, strictyaml.Suggest(file, keys(r.models)))
			}
		}
	}
	switch {
	case y.OS == "" && !p.broken:
		bad("os", "missing; name a file of os/, without its ending: %s", some(slices.Sorted(maps.Keys(r.systems))))
	case y.OS != "":
		p.os = r.systems[y.OS]
		r.used["os/"+y.OS+".yaml"] = true
		if p.os == nil && !r.tree.has("os/"+y.OS+".yaml") {
			bad("os", "there is no os/%s.yaml; %s", y.OS, strictyaml.Suggest(y.OS, keys(r.systems)))
		}
	}
	r.settings(p)
	if len(y.RAIDDrivers) > 0 && y.RAID == nil {
		r.errs = append(r.errs, doc.KeyErrorf("raid_drivers", "there is no raid: beside it, so no driver is ever started"))
	}
	drivers := map[string]bool{}
	for i, d := range y.RAIDDrivers {
		if drivers[d.Name] && d.Name != "" {
			bad(fmt.Sprintf("raid_drivers[%d].name", i), "a driver before it has the name %s too; give it another one", d.Name)
		}
		drivers[d.Name] = true
	}
	names := map[string]bool{}
	for i := range y.Steps {
		s := r.step(p, i)
		if names[s.Name] {
			bad(fmt.Sprintf("steps[%d]", i), "a step before it has the name %s too; give it another one", s.Name)
		}
		names[s.Name] = true
		p.steps = append(p.steps, s)
	}
	if y.UserData != "" {
		p.userData = r.field(doc, "user_data", y.UserData)
	}
	if p.os != nil && p.os.yaml.Kind == "installer" {
		if y.UserData != "" {
			bad("user_data", "is for images; %s is an installer, whose answers are templates of os/%s.yaml", p.OS, p.OS)
		}
		if y.Boot == "kexec" {
			bad("boot", "kexec is for images; an installer boots what it has installed")
		}
	}
	if p.Match != nil {
		r.checkSites(p)
	}
}

// settings are what the profile takes over as it is; loda knows what is right for them.
func (r *loader) settings(p *ProfileFile) {
	check := loda.Profile{Name: p.Name, Image: "image", Boot: p.yaml.Boot, Chain: p.yaml.Chain, SSHKeys: p.yaml.SSHKeys,
		KernelArgs: p.yaml.KernelArgs}
	err := check.Validate()
	if inner := errors.Unwrap(err); inner != nil {
		err = inner
	}
	all := []error{err}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		all = many.Unwrap()
	}
	for _, err := range all {
		if err == nil {
			continue
		}
		field, rest, ok := strings.Cut(err.Error(), ": ")
		field = strings.TrimSuffix(field, ", user_data")
		switch {
		case ok && p.doc.Has(field):
			r.errs = append(r.errs, p.doc.Errorf(field, "%s", strings.TrimPrefix(rest, "seed: ")))
		case ok && strings.HasPrefix(field, "name "):
			r.errs = append(r.errs, strictyaml.Error{File: p.File,
				Message: "is not the name of a profile; want up to 63 letters, digits, dots, " +
					"dashes and underscores before .yaml"})
		default:
			r.errs = append(r.errs, p.doc.Errorf("", "%v", err))
		}
	}
}

func (r *loader) step(p *ProfileFile, i int) step {
	y, at := p.yaml.Steps[i], fmt.Sprintf("steps[%d]", i)
	bad := func(key, format string, args ...any) { r.errs = append(r.errs, p.doc.Errorf(at+key, format, args...)) }
	s := step{env: map[string]*source{}}
	s.File, s.Interpreter, s.Timeout, s.ExitCodes = y.Script, y.Interpreter, y.Timeout, y.ExitCodes
	s.Name = y.Name
	if s.Name == "" {
		s.Name = strings.TrimSuffix(path.Base(y.Script), path.Ext(y.Script))
	}
	if len(s.Name) > 64 || strings.ContainsFunc(s.Name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		bad(".name", "want up to 64 characters on one line")
	}
	switch {
	case y.Script == "" && !p.broken:
		bad(".script", "missing; want the path of a file in scripts/")
	case y.Script == "":
	case !strings.HasPrefix(y.Script, "scripts/") || !fs.ValidPath(y.Script):
		bad(".script", "%q is not the path of a file in scripts/", y.Script)
	default:
		text, ok := r.tree.texts[y.Script]
		s.Script = string(text)
		r.used[y.Script] = true
		if !ok && !r.tree.has(y.Script) {
			bad(".script", "there is no file %s; %s", y.Script, strictyaml.Suggest(y.Script, r.scripts))
		}
	}
	if len(s.Interpreter) == 0 {
		s.Interpreter = []string{"/bin/sh"}
	}
	switch {
	case !p.doc.Has(at + ".timeout"):
		s.Timeout = defaultTimeout
	case p.broken && s.Timeout == 0: // reported, if it is wrong
	case s.Timeout < time.Second || s.Timeout > maxTimeout:
		bad(".timeout", "%s is out of range; want 1s to 24h", s.Timeout)
	}
	if len(s.ExitCodes) == 0 {
		s.ExitCodes = []int{0}
	}
	for j, code := range s.ExitCodes {
		if code < 0 || code > 255 {
			bad(fmt.Sprintf(".exit_codes[%d]", j), "%d is no exit code; want 0 to 255", code)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(y.Env)) {
		key := strictyaml.Join(at+".env", name)
		if !envName.MatchString(name) || strings.HasPrefix(name, "LODA_") {
			r.errs = append(r.errs, p.doc.KeyErrorf(key,
				"is not a name for a variable of the environment; want letters, digits and "+
					"underscores, and not LODA_ at the beginning"))
		}
		s.env[name] = r.inline(p.doc, key, y.Env[name])
	}
	return s
}

// checkSites reports conditions on sites that are not there.
func (r *loader) checkSites(p *ProfileFile) {
	if len(r.sites) == 0 {
		return
	}
	for i, pattern := range p.Match.Site {
		if !slices.ContainsFunc(keys(r.sites), pattern.Match) {
			at := fmt.Sprintf("match.site[%d]", i)
			r.errs = append(r.errs, p.doc.Errorf(at, "%s matches no file of sites/; %s", pattern,
				strictyaml.Suggest(pattern.String(), keys(r.sites))))
		}
	}
}
