package configrepo

import (
	"fmt"
	"io/fs"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/strictyaml"
)

// osFile is a file of os/: an image, or a distribution's installer.
type osFile struct {
	name    string
	yaml    osYAML
	doc     *strictyaml.Document
	broken  bool
	args    *source
	answers map[string]*source
}

type osYAML struct {
	Description string `yaml:"description"`
	Kind        string `yaml:"kind"`
	// Of an image.
	Image  string `yaml:"image"`
	SHA256 string `yaml:"sha256"`
	// Of an installer.
	Installer string            `yaml:"installer"`
	Kernel    *artifact         `yaml:"kernel"`
	Initrds   []artifact        `yaml:"initrds"`
	Args      string            `yaml:"args"`
	Answers   map[string]string `yaml:"answers"`
}

type artifact struct {
	Path   string `yaml:"path"`
	SHA256 string `yaml:"sha256"`
}

var (
	installers = []string{"preseed", "kickstart", "autoinstall", "autoyast", "other"}
	digest     = regexp.MustCompile(`^[0-9a-f]{64}$`)
	answerName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$`)
)

// system checks a file of os/.
func (r *loader) system(s *osFile) {
	y, doc := &s.yaml, s.doc
	bad := func(at, format string, args ...any) { r.errs = append(r.errs, doc.Errorf(at, format, args...)) }
	missing := func(at, key, format string, args ...any) {
		if !s.broken {
			if at != "" {
				at += "."
			}
			bad(at+key, "missing; want %s", fmt.Sprintf(format, args...))
		}
	}
	sum := func(at, value string) {
		key := "sha256"
		if at != "" {
			key = at + ".sha256"
		}
		switch {
		case value == "":
			missing(at, "sha256",
				"the SHA-256 of the file, 64 hexadecimal digits: nothing is installed whose digest is not pinned")
		case !digest.MatchString(value):
			bad(key, "is not a SHA-256; want 64 hexadecimal digits in small letters")
		}
	}
	only := func(kind string, fields ...string) {
		for _, f := range fields {
			if doc.Has(f) {
				r.errs = append(r.errs, doc.KeyErrorf(f, "is for kind %s, and this is an %s", kind, y.Kind))
			}
		}
	}
	switch y.Kind {
	case "image":
		only("installer", "installer", "kernel", "initrds", "args", "answers")
		if y.Image == "" {
			missing("", "image", "the name of an image of the site")
		}
		sum("", y.SHA256)
	case "installer":
		only("image", "image", "sha256")
		switch {
		case y.Installer == "":
			missing("", "installer", "%s", strings.Join(installers, ", "))
		case !slices.Contains(installers, y.Installer):
			bad("installer", "installer %q is unknown; %s", y.Installer, strictyaml.Suggest(y.Installer, installers))
		}
		file := func(at string, a artifact) {
			if a.Path == "" {
				missing(at, "path", "the path of a file below the site's artifacts")
			} else if !fs.ValidPath(a.Path) || a.Path == "." || strings.ContainsAny(a.Path, " \\$") {
				bad(at+".path", "%q is not a path below the site's artifacts; want one such as debian-12/linux", a.Path)
			}
			sum(at, a.SHA256)
		}
		if y.Kernel == nil {
			missing("", "kernel", "path and sha256 of the installer's kernel")
		} else {
			file("kernel", *y.Kernel)
		}
		for i, a := range y.Initrds {
			file(fmt.Sprintf("initrds[%d]", i), a)
		}
		s.args = r.inline(doc, "args", y.Args)
		for _, name := range slices.Sorted(maps.Keys(y.Answers)) {
			at := strictyaml.Join("answers", name)
			if !answerName.MatchString(name) {
				r.errs = append(r.errs, doc.KeyErrorf(at,
					"is not a name that an installer could fetch; want letters, digits, dots, dashes and underscores"))
			}
			s.answers[name] = r.file(doc, at, y.Answers[name])
		}
		if len(y.Answers) == 0 && y.Installer != "other" && slices.Contains(installers, y.Installer) {
			missing("", "answers", "the answer files by name, each a template")
		}
	case "":
		missing("", "kind", "image or installer")
	default:
		bad("kind", "kind %q is unknown; want image or installer", y.Kind)
	}
}

// bootValues are what templates of an installer find below .boot.
var bootValues = map[string]loda.Late{"server": loda.LateServer, "answers": loda.LateAnswers,
	"report": loda.LateReport, "mac": loda.LateMAC}

// inline is a template in a field of a YAML file.
func (r *loader) inline(doc *strictyaml.Document, at, text string) *source {
	s := newSource(doc.File+"#"+at, doc.File, text)
	s.field, s.at = at, doc.TextAt(at)
	if errs := s.parse(); len(errs) > 0 {
		r.errs = append(r.errs, errs...)
	}
	r.sources[s.name] = s
	return s
}

// file is the template that a field names. Nil, and reported, if it is not there.
func (r *loader) file(doc *strictyaml.Document, at, name string) *source {
	s := r.sources[name]
	switch {
	case s != nil && s.field == "":
		return s
	case !strings.HasPrefix(name, "templates/"):
		r.errs = append(r.errs, doc.Errorf(at, "%q is not the path of a file in templates/", name))
	case !r.tree.has(name):
		r.errs = append(r.errs, doc.Errorf(at, "there is no file %s; %s", name, strictyaml.Suggest(name, r.templates)))
	}
	return nil
}

// field is a template that is written in the field itself, or the file that it names.
func (r *loader) field(doc *strictyaml.Document, at, text string) *source {
	if strings.HasPrefix(text, "templates/") && !strings.Contains(strings.TrimSpace(text), "\n") {
		return r.file(doc, at, strings.TrimSpace(text))
	}
	return r.inline(doc, at, text)
}
