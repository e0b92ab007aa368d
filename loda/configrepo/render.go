package configrepo

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template/parse"
	"unicode"
	"unicode/utf8"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/strictyaml"
)

const (
	// maxOutput of a template, in bytes.
	maxOutput = 1 << 20
	// maxWrites bounds the work: each piece of text, each value and each turn of a loop is one.
	maxWrites = 1_000_000
	// maxArgs is what an installer's kernel takes (COMMAND_LINE_SIZE of x86 is 2048), with room for what is filled in.
	maxArgs = 1500
)

// RenderError says why a profile cannot be rendered for a machine, everything at once.
type RenderError struct {
	// Machine is its serial number, "" if it has none.
	Machine string
	Profile string
	Errors  []strictyaml.Error
}

func (e *RenderError) Error() string {
	texts := make([]string, len(e.Errors))
	for i, one := range e.Errors {
		texts[i] = one.Error()
	}
	return fmt.Sprintf("render profile %s for machine %s: %s", e.Profile, cmp.Or(e.Machine, "without serial number"),
		strings.Join(texts, "; "))
}

// Render finds the profile of a machine and returns everything that the machine gets, with all templates rendered. The
// error is one of those of [Repo.Match] or a *[RenderError]. The same repository and subject give the same bytes.
func (r *Repo) Render(s Subject) (*loda.Profile, error) {
	s, err := s.complete()
	if err != nil {
		return nil, err
	}
	p, err := r.match(&s)
	if err != nil {
		return nil, err
	}
	x := &rendering{repo: r, profile: p, subject: &s}
	x.prepare()
	out := x.render()
	if len(x.errs) > 0 {
		return nil, &RenderError{Machine: string(s.Machine.Serial), Profile: p.Name, Errors: strictyaml.Sort(x.errs)}
	}
	return out, nil
}

// beforeRAID is what templates get for a disk that the machine's RAID layout has yet to make.
const beforeRAID = "made-by-the-raid-layout"

type rendering struct {
	repo    *Repo
	profile *ProfileFile
	subject *Subject
	data    map[string]any
	errs    []strictyaml.Error
	// noDisk is why no disk could be chosen before the RAID layout is there.
	noDisk error
}

func (x *rendering) bad(format string, args ...any) {
	x.errs = append(x.errs, strictyaml.Error{File: x.profile.File, Message: fmt.Sprintf(format, args...)})
}

// prepare makes the data of the templates.
func (x *rendering) prepare() {
	p, s, m := x.profile, x.subject, x.subject.Machine
	if len(x.repo.sites) > 0 && x.repo.sites[s.Site] == nil {
		x.bad("there is no sites/%s.yaml; %s", s.Site, strictyaml.Suggest(s.Site, keys(x.repo.sites)))
	}
	values, errs := x.repo.resolve(p, s)
	for _, err := range errs {
		x.bad("machine %s: %v", m.Serial, err)
	}
	name := loda.HostnameOf(m)
	hostname, _, _ := strings.Cut(name, ".")
	machine := map[string]any{"serial": string(m.Serial), "name": name, "hostname": hostname, "address": "",
		"rack":   m.Rack,
		"vendor": printable(s.value("vendor")), "product": printable(s.value("product")), "uuid": printable(m.UUID)}
	if m.Address.IsValid() {
		machine["address"] = m.Address.String()
	}
	for _, key := range keys(machine) {
		x.harmless("machine."+key, machine[key].(string))
	}
	macs := make([]string, 0, len(m.MACs))
	for _, mac := range m.MACs {
		macs = append(macs, string(mac))
	}
	labels := map[string]string{}
	maps.Copy(labels, m.Labels)
	for _, key := range keys(labels) {
		x.harmless("label "+printable(key), labels[key])
	}
	machine["macs"], machine["labels"] = macs, labels
	sshKeys := slices.Clone(p.yaml.SSHKeys)
	if sshKeys == nil {
		sshKeys = []string{}
	}
	x.data = map[string]any{"vars": values, "machine": machine, "site": map[string]any{"name": s.Site},
		"profile": map[string]any{"name": p.Name, "ssh_keys": sshKeys}, "os": map[string]any{"name": p.OS}}
	if p.needs.disk {
		x.disk()
	}
}

// harmless refuses what comes from outside the repository and would become more than a text in an answer file: a line
// of its own, or a value that is filled in later.
func (x *rendering) harmless(what, text string) {
	switch {
	case strings.Contains(text, placeholderSay):
		x.bad("%s contains %s, which is kept for what is filled in later", what, placeholderSay)
	case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
		x.bad("%s contains control characters: %q", what, text[:min(len(text), 60)])
	case len(text) > maxValue:
		x.bad("%s has %d bytes; want at most %d", what, len(text), maxValue)
	}
}

// disk chooses the one that templates know as .disk.
func (x *rendering) disk() {
	p, d := x.profile, x.subject.Disk
	if d == nil {
		if x.subject.Facts == nil {
			x.bad("its templates use .disk, and the machine's disks are not known yet; want its facts")
			return
		}
		var err error
		d, err = p.Disk.Choose(x.subject.Facts.Disks)
		switch {
		case err != nil && p.RAID != nil:
			// The layout makes it. What is rendered now is rendered again when it has; only steps run before.
			x.noDisk = err
			d = &hw.Disk{Serial: beforeRAID, WWN: beforeRAID, Path: beforeRAID}
		case err != nil:
			x.bad("its templates use .disk: %v", err)
			return
		}
	}
	values := map[string]any{"serial": printable(d.Serial), "wwn": printable(d.WWN), "path": printable(d.Path),
		"by_path": "", "bytes": d.Bytes}
	if d.Path != "" {
		values["by_path"] = "/dev/disk/by-path/" + printable(d.Path)
	}
	for _, key := range []string{"serial", "wwn", "path", "by_path"} {
		x.harmless("disk."+key, values[key].(string))
	}
	x.data["disk"] = values
}

// printable is one line of what firmware says.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || r != ' ' && !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

func (x *rendering) render() *loda.Profile {
	p := x.profile
	out := p.outline(x.repo.Revision)
	if len(x.errs) > 0 {
		return nil // the templates would only complain about what is missing
	}
	for _, s := range p.steps {
		step := s.Step
		step.Interpreter, step.ExitCodes = slices.Clone(step.Interpreter), slices.Clone(step.ExitCodes)
		if len(s.env) > 0 {
			step.Env = map[string]string{}
		}
		for _, name := range keys(s.env) {
			if x.noDisk != nil && needsOf(s.env[name], x.repo.sources).disk {
				x.bad("step %s: its environment uses .disk, steps run before the RAID layout is made, and until then: %v", step.Name,
					x.noDisk)
				continue
			}
			step.Env[name] = x.text(s.env[name])
		}
		out.Steps = append(out.Steps, step)
	}
	if p.userData != nil {
		out.UserData = x.text(p.userData)
		check := loda.Profile{Name: p.Name, Image: "image", UserData: out.UserData}
		if err := check.Validate(); err != nil && len(x.errs) == 0 {
			x.errs = append(x.errs, p.userData.errorf(0, "%v", errors.Unwrap(err)))
		}
	}
	if out.Installer == nil {
		return out
	}
	boot := map[string]any{}
	for name, l := range bootValues {
		boot[name] = l
	}
	x.data["boot"] = boot
	out.Installer.Args = strings.TrimSpace(x.text(p.os.args))
	x.checkArgs(out.Installer.Args)
	for _, name := range keys(p.os.answers) {
		out.Installer.Answers[name] = x.text(p.os.answers[name])
	}
	return out
}

// checkArgs holds an installer's command line to what iPXE and kernels take.
func (x *rendering) checkArgs(args string) {
	bad := ""
	switch i := strings.IndexFunc(args, func(r rune) bool { return r < ' ' || r > '~' || r == '$' }); {
	case len(args) > maxArgs:
		bad = fmt.Sprintf("has %d bytes; want at most %d", len(args), maxArgs)
	case i >= 0:
		bad = fmt.Sprintf("has %q in it; want printable ASCII on one line, without $, which iPXE would expand", args[i:i+1])
	}
	if bad != "" {
		x.errs = append(x.errs, x.profile.os.args.errorf(0, "the command line %s", bad))
	}
}

// text executes a template.
func (x *rendering) text(s *source) string {
	w := &bounds{}
	if err := x.repo.set.Lookup(s.name).Execute(w, x.data); err != nil {
		x.errs = append(x.errs, x.repo.failed(s, err))
		return ""
	}
	out := w.buf.String()
	// What is filled in later must stand here because the template says so, not because values were put together.
	for _, l := range loda.LateIn(out) {
		if !x.profile.needs.late[string(l)] {
			x.errs = append(x.errs, s.errorf(0, "the result has a placeholder for %s, which no template names", string(l)))
			return ""
		}
	}
	return out
}

// bounds is a writer that ends what becomes too much.
type bounds struct {
	buf    bytes.Buffer
	writes int
}

var (
	errOutput = fmt.Errorf("the result has more than %d bytes", maxOutput)
	errWork   = fmt.Errorf("the template takes more than %d steps; its loops are too long", maxWrites)
)

func (b *bounds) Write(p []byte) (int, error) {
	b.writes++
	switch {
	case b.writes > maxWrites:
		return 0, errWork
	case b.buf.Len()+len(p) > maxOutput:
		return 0, errOutput
	}
	return b.buf.Write(p)
}

var executing = regexp.MustCompile(`(?s)^template: (.+?):(\d+):(\d+): executing ".*?" at <.*?>: (.*)$`)

// chained says that a character belongs to a chain of fields such as $x.name.
func chained(c byte) bool {
	return c == '_' || c == '$' || c == '.' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// failed says where a template failed. text/template counts columns from 0 and in bytes, and names the second field of
// a chain.
func (r *Repo) failed(s *source, err error) strictyaml.Error {
	m := executing.FindStringSubmatch(err.Error())
	if m == nil || r.sources[m[1]] == nil {
		return s.errorf(0, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	line, _ := strconv.Atoi(m[2])
	column, _ := strconv.Atoi(m[3])
	at := r.sources[m[1]]
	offset := at.lines[min(max(line-1, 0), len(at.lines)-1)] + column
	for offset = min(offset, len(at.text)); offset > 0 && offset < len(at.text) && at.text[offset] == '.' &&
		chained(at.text[offset-1]); {
		for offset--; offset > 0 && at.text[offset] != '.' && chained(at.text[offset-1]); offset-- {
		}
	}
	message := strings.ReplaceAll(m[4], "\n", "; ")
	if key, ok := strings.CutPrefix(message, "map has no entry for key "); ok {
		message = fmt.Sprintf("%s has no value for this machine; want a label of that name on it, or get in the "+
			"template for a label that may be missing", key)
	}
	e := at.errorf(parse.Pos(offset), "%s", message)
	return e
}
