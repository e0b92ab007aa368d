package configrepo

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/strictyaml"
)

// A Variable is declared in vars/. It gets its value from, each winning over the one before: its default, the site, the
// profile, the label of its name on the machine.
type Variable struct {
	// Type is string, int, bool, list, ip, cidr, hostname, size or secret.
	Type string `yaml:"type"`
	// Description says what it is for.
	Description string `yaml:"description"`
	// Default is its value where nothing else gives one.
	Default any `yaml:"default"`
	// Values are all that are allowed; of a list, all that its elements may be.
	Values []any `yaml:"values"`
	// Pattern is a regular expression that the whole text, or each element of a list, must match.
	Pattern string `yaml:"pattern"`
	// PerMachine says that each machine brings its own value as a label, so that no other place has to.
	PerMachine bool `yaml:"per_machine"`

	name    string
	file    string
	pattern *regexp.Regexp
	allowed []any
	initial any
	at      strictyaml.Position
}

var (
	variableName  = regexp.MustCompile(`^[a-z][a-z0-9_]{0,62}$`)
	variableTypes = []string{"string", "int", "bool", "list", "ip", "cidr", "hostname", "size", "secret"}
)

const (
	maxListItems = 1000
	maxValue     = 64 << 10
)

// declare checks a declaration.
func (v *Variable) declare(doc *strictyaml.Document, name string) (errs []strictyaml.Error) {
	v.name, v.file, v.at = name, doc.File, doc.KeyAt(strictyaml.Join("", name))
	at := func(key, format string, args ...any) {
		errs = append(errs, doc.Errorf(strictyaml.Join(name, key), format, args...))
	}
	if !variableName.MatchString(name) {
		errs = append(errs, doc.KeyErrorf(name,
			"is not the name of a variable; want small letters, digits and underscores, a letter first"))
	}
	if v.Type == "" {
		errs = append(errs, doc.KeyErrorf(name, "has no type; want one of %s", strings.Join(variableTypes, ", ")))
		return errs
	}
	if !slices.Contains(variableTypes, v.Type) {
		at("type", "type %q is unknown; %s", v.Type, strictyaml.Suggest(v.Type, variableTypes))
		return errs
	}
	if strings.TrimSpace(v.Description) == "" {
		errs = append(errs, doc.KeyErrorf(name, "has no description; say what the variable is for"))
	}
	if v.Type == "secret" {
		for _, key := range []string{"default", "values", "pattern", "per_machine"} {
			if doc.Has(strictyaml.Join(name, key)) {
				at(key, "a secret has no %s: its value is not in the repository", key)
			}
		}
		return errs
	}
	if v.Pattern != "" {
		var err error
		if v.pattern, err = regexp.Compile(`^(?:` + v.Pattern + `)$`); err != nil {
			at("pattern", "is not a regular expression: %v", err)
		}
		if v.Type == "int" || v.Type == "bool" || v.Type == "size" {
			at("pattern", "is for texts; a variable of type %s is none", v.Type)
		}
	}
	for i, allowed := range v.Values {
		single := *v
		single.allowed, single.pattern = nil, nil
		if v.Type == "list" {
			single.Type = "string"
		}
		value, err := single.parse(allowed)
		if err != nil {
			at(fmt.Sprintf("values[%d]", i), "%v", err)
			continue
		}
		v.allowed = append(v.allowed, value)
	}
	if doc.Has(strictyaml.Join(name, "values")) && len(v.Values) == 0 {
		at("values", "is empty; no value would be allowed")
	}
	if doc.Has(strictyaml.Join(name, "default")) {
		var err error
		if v.initial, err = v.parse(v.Default); err != nil {
			at("default", "%v", err)
		}
	}
	return errs
}

// parse makes the value of a declared type of what YAML had: a string, int64, bool, []string or hw.Size.
func (v *Variable) parse(raw any) (any, error) {
	text, isText := raw.(string)
	if isText && len(text) > maxValue {
		return nil, fmt.Errorf("has %d bytes; want at most %d", len(text), maxValue)
	}
	var value any
	switch v.Type {
	case "string":
		if !isText {
			return nil, fmt.Errorf("is %s; want a text, in quotes", describeValue(raw))
		}
		value = text
	case "int":
		i, ok := raw.(int64)
		if !ok {
			return nil, fmt.Errorf("is %s; want a whole number", describeValue(raw))
		}
		value = i
	case "bool":
		b, ok := raw.(bool)
		if !ok {
			return nil, fmt.Errorf("is %s; want true or false", describeValue(raw))
		}
		value = b
	case "size":
		if i, ok := raw.(int64); ok {
			text, isText = strconv.FormatInt(i, 10), true
		}
		if !isText {
			return nil, fmt.Errorf("is %s; want a size such as 40GB or 32GiB", describeValue(raw))
		}
		size, err := hw.ParseSize(text)
		if err != nil {
			return nil, err
		}
		value = size
	case "list":
		items, ok := raw.([]any)
		if !ok {
			return nil, fmt.Errorf("is %s; want a list of texts", describeValue(raw))
		}
		if len(items) > maxListItems {
			return nil, fmt.Errorf("has %d elements; want at most %d", len(items), maxListItems)
		}
		list := make([]string, len(items))
		for i, item := range items {
			if list[i], ok = item.(string); !ok {
				return nil, fmt.Errorf("element %d is %s; want a text, in quotes", i, describeValue(item))
			}
			if err := v.fits(list[i]); err != nil {
				return nil, fmt.Errorf("element %d %w", i, err)
			}
		}
		return list, nil
	case "ip", "cidr", "hostname":
		if !isText {
			return nil, fmt.Errorf("is %s; want a text, in quotes", describeValue(raw))
		}
		canonical, err := parseText(v.Type, text)
		if err != nil {
			return nil, err
		}
		value = canonical
	default:
		return nil, errors.New("a secret has no value in the repository; the site keeps it")
	}
	return value, v.fits(value)
}

func parseText(kind, text string) (string, error) {
	switch kind {
	case "ip":
		addr, err := netip.ParseAddr(text)
		if err != nil || addr.Zone() != "" {
			return "", fmt.Errorf("%q is not an IP address, such as 10.0.0.1", text)
		}
		return addr.String(), nil
	case "cidr":
		prefix, err := netip.ParsePrefix(text)
		if err != nil {
			return "", fmt.Errorf("%q is not an address with a prefix length, such as 10.0.0.0/24", text)
		}
		return prefix.String(), nil
	}
	name, err := loda.ParseHostname(text)
	if err == nil && name != text {
		err = fmt.Errorf("%q is not a host name in small letters; want %q", text, name)
	}
	return name, err
}

// fits holds a value, or an element of a list, against values and pattern.
func (v *Variable) fits(value any) error {
	if text, ok := value.(string); ok {
		if strings.Contains(text, "@@loda.") {
			return errors.New("contains @@loda., which is kept for what is filled in later")
		}
		if v.pattern != nil && !v.pattern.MatchString(text) {
			return fmt.Errorf("%q does not match the pattern %s", text, v.Pattern)
		}
	}
	if v.allowed != nil && !slices.Contains(v.allowed, value) {
		var allowed []string
		for _, a := range v.allowed {
			allowed = append(allowed, fmt.Sprint(a))
		}
		return fmt.Errorf("%v is not allowed; %s", value, strictyaml.Suggest(fmt.Sprint(value), allowed))
	}
	return nil
}

// parseLabel reads the value of a machine's label. The elements of a list are separated by commas.
func (v *Variable) parseLabel(text string) (any, error) {
	switch v.Type {
	case "int":
		i, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("%q is not a whole number", text)
		}
		return v.parse(i)
	case "bool":
		if text != "true" && text != "false" {
			return nil, fmt.Errorf("%q is neither true nor false", text)
		}
		return v.parse(text == "true")
	case "list":
		var items []any
		for item := range strings.SplitSeq(text, ",") {
			if item = strings.TrimSpace(item); item != "" {
				items = append(items, item)
			}
		}
		return v.parse(items)
	}
	return v.parse(text)
}

func describeValue(raw any) string {
	switch raw := raw.(type) {
	case nil:
		return "empty"
	case string:
		return fmt.Sprintf("the text %q", raw[:min(len(raw), 60)])
	case bool:
		return fmt.Sprintf("the boolean %v", raw)
	case []any:
		return "a list"
	case map[string]any:
		return "a mapping"
	case float64:
		if raw == math.Trunc(raw) {
			return fmt.Sprintf("the number %.1f", raw)
		}
	}
	return fmt.Sprintf("the number %v", raw)
}

// values parses what a site or a profile gives to variables.
func (r *loader) values(doc *strictyaml.Document, path string, raw map[string]any) map[string]any {
	parsed := map[string]any{}
	for name, value := range raw {
		at := strictyaml.Join(path, name)
		v, ok := r.variables[name]
		if !ok {
			r.errs = append(r.errs, doc.KeyErrorf(at, "variable %s is not declared in vars/; %s", name,
				strictyaml.Suggest(name, keys(r.variables))))
			continue
		}
		p, err := v.parse(value)
		if err != nil {
			r.errs = append(r.errs, doc.Errorf(at, "%v", err))
			continue
		}
		parsed[name] = p
	}
	return parsed
}

// resolve gives each variable its value for a machine. Those without one are left out.
func (r *Repo) resolve(p *ProfileFile, s *Subject) (map[string]any, []error) {
	var errs []error
	values := make(map[string]any, len(r.variables))
	var site map[string]any
	if f := r.sites[s.Site]; f != nil {
		site = f.values
	}
	for name, v := range r.variables {
		if v.Type == "secret" {
			values[name] = loda.LateSecret(name)
			continue
		}
		if v.initial != nil {
			values[name] = v.initial
		}
		for _, from := range []map[string]any{site, p.values} {
			if value, ok := from[name]; ok {
				values[name] = value
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Machine.Labels)) {
		v, ok := r.variables[name]
		if !ok {
			continue
		}
		if v.Type == "secret" {
			errs = append(errs, fmt.Errorf("label %s has the name of a secret of %s; rename the label", name, v.file))
			continue
		}
		value, err := v.parseLabel(s.Machine.Labels[name])
		if err != nil {
			errs = append(errs, fmt.Errorf("label %s, a variable of type %s: %w", name, v.Type, err))
			continue
		}
		values[name] = value
	}
	return values, errs
}
