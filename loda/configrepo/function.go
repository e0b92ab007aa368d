package configrepo

import (
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"text/template"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda"
)

// A function that templates can call. The last parameter is what a pipeline hands over.
type function struct {
	params []param
	// rest is the kind of any further arguments, nil if there can be none.
	rest param
	// result of given arguments; what is wrong with them beyond their kinds is an error.
	result func(args []*vtype) (*vtype, error)
	// impl is called by text/template. nil: text/template has it.
	impl any
}

// A param lists the kinds that fit.
type param []kind

var (
	aText   = param{text}
	anInt   = param{integer}
	aSize   = param{bytesize}
	aList   = param{list}
	plain   = param{text, integer, boolean, bytesize, list, labels}
	ordered = param{text, integer, bytesize}
	scalar  = param{text, integer, boolean, bytesize}
	counted = param{text, list, labels}
	any1    = param{text, integer, boolean, bytesize, list, labels, record, late, nothing}
)

func yields(t *vtype) func([]*vtype) (*vtype, error) {
	return func([]*vtype) (*vtype, error) { return t, nil }
}

// alike wants arguments of one kind.
func alike(t *vtype) func([]*vtype) (*vtype, error) {
	return func(args []*vtype) (*vtype, error) {
		for _, a := range args[1:] {
			if a.kind != args[0].kind && a.kind != wrong && args[0].kind != wrong {
				return nil, fmt.Errorf("%s and %s are given; want two of a kind", args[0], a)
			}
		}
		if t == nil {
			return args[0], nil
		}
		return t, nil
	}
}

// functions are all that templates can call. None reads anything but its arguments.
var functions = map[string]*function{
	"and": {params: []param{any1}, rest: any1, result: alike(nil)},
	"or":  {params: []param{any1}, rest: any1, result: alike(nil)},
	"not": {params: []param{any1}, result: yields(tBool)},
	"eq":  {params: []param{scalar, scalar}, rest: scalar, result: alike(tBool)},
	"ne":  {params: []param{scalar, scalar}, result: alike(tBool)},
	"lt":  {params: []param{ordered, ordered}, result: alike(tBool)},
	"le":  {params: []param{ordered, ordered}, result: alike(tBool)},
	"gt":  {params: []param{ordered, ordered}, result: alike(tBool)},
	"ge":  {params: []param{ordered, ordered}, result: alike(tBool)},
	"len": {params: []param{counted}, result: yields(tInt), impl: length},

	"lower":   {params: []param{aText}, result: yields(tText), impl: strings.ToLower},
	"upper":   {params: []param{aText}, result: yields(tText), impl: strings.ToUpper},
	"trim":    {params: []param{aText}, result: yields(tText), impl: strings.TrimSpace},
	"replace": {params: []param{aText, aText, aText}, result: yields(tText), impl: replace},
	"contains": {params: []param{aText, aText}, result: yields(tBool), impl: func(part,
		s string) bool {
		return strings.Contains(s, part)
	}},
	"hasPrefix": {params: []param{aText, aText}, result: yields(tBool), impl: func(part,
		s string) bool {
		return strings.HasPrefix(s, part)
	}},
	"hasSuffix": {params: []param{aText, aText}, result: yields(tBool), impl: func(part,
		s string) bool {
		return strings.HasSuffix(s, part)
	}},
	"split": {params: []param{aText, aText}, result: yields(tList), impl: split},
	"join": {params: []param{aText, aList}, result: yields(tText), impl: func(sep string, items []string) (string,
		error) {
		return bounded(strings.Join(items, sep))
	}},
	"indent": {params: []param{anInt, aText}, result: yields(tText), impl: indent},
	"printf": {params: []param{aText}, rest: scalar, result: yields(tText), impl: printf},

	"quote":  {params: []param{aText}, result: yields(tText), impl: quote},
	"toJson": {params: []param{plain}, result: yields(tText), impl: toJSON},
	"xml":    {params: []param{aText}, result: yields(tText), impl: escapeXML},
	"b64enc": {params: []param{aText}, result: yields(tText),
		impl: func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }},

	"list":  {rest: aText, result: yields(tList), impl: func(items ...string) []string { return items }},
	"first": {params: []param{aList}, result: yields(tText), impl: first},
	"has": {params: []param{aText, aList}, result: yields(tBool), impl: func(item string,
		items []string) bool {
		return slices.Contains(items, item)
	}},
	"get":  {params: []param{aText, aText, {labels}}, result: yields(tText), impl: get},
	"dict": {rest: any1, result: yields(tWrong), impl: dict}, // typed by the checker, which knows the keys

	"add": {params: []param{anInt, anInt}, result: yields(tInt), impl: func(a, b any) (int64, error) {
		return whole2(a,
			b, 1)
	}},
	"sub": {params: []param{anInt, anInt}, result: yields(tInt), impl: func(a, b any) (int64, error) {
		return whole2(a,
			b, -1)
	}},
	"mib": {params: []param{aSize}, result: yields(tInt), impl: func(s hw.Size) int64 { return int64(s) >> 20 }},
	"gib": {params: []param{aSize}, result: yields(tInt), impl: func(s hw.Size) int64 { return int64(s) >> 30 }},

	"address":   {params: []param{aText}, result: yields(tText), impl: address},
	"network":   {params: []param{aText}, result: yields(tText), impl: network},
	"netmask":   {params: []param{aText}, result: yields(tText), impl: netmask},
	"prefixLen": {params: []param{aText}, result: yields(tInt), impl: prefixLen},
	"host":      {params: []param{anInt, aText}, result: yields(tText), impl: host},
}

// funcMap is what text/template calls. Everything that it has built in and functions does not know is taken out of
// reach, and what is left refuses late values, should one get so far.
func funcMap() template.FuncMap {
	m := template.FuncMap{}
	for name, f := range functions {
		if f.impl != nil {
			m[name] = f.impl
		}
	}
	for _, name := range []string{"call", "html", "js", "urlquery", "print", "println", "index", "slice"} {
		m[name] = func(...any) (string, error) { return "", fmt.Errorf("%s is not a function of these templates", name) }
	}
	return m
}

// maxText bounds what functions make, as it does what a template writes.
const maxText = 1 << 20

func bounded(s string) (string, error) {
	if len(s) > maxText {
		return "", fmt.Errorf("the text would have %d bytes; want at most %d", len(s), maxText)
	}
	return s, nil
}

// whole reads a number: a constant is an int for text/template, a variable an int64.
func whole(v any) (int64, error) {
	switch v := v.(type) {
	case int:
		return int64(v), nil
	case int64:
		return v, nil
	}
	return 0, fmt.Errorf("%T is not a whole number", v)
}

func whole2(a, b any, sign int64) (int64, error) {
	x, err := whole(a)
	if err != nil {
		return 0, err
	}
	y, err := whole(b)
	return x + sign*y, err
}

func length(v any) (int64, error) {
	switch v := v.(type) {
	case string:
		return int64(len(v)), nil
	case []string:
		return int64(len(v)), nil
	case map[string]string:
		return int64(len(v)), nil
	}
	return 0, fmt.Errorf("%T has no length", v)
}

func replace(from, to, s string) (string, error) {
	if n := strings.Count(s, from); len(s)+n*len(to) > maxText {
		return "", fmt.Errorf("the text would have more than %d bytes", maxText)
	}
	return strings.ReplaceAll(s, from, to), nil
}

func split(sep, s string) ([]string, error) {
	if strings.Count(s, sep) >= maxListItems {
		return nil, fmt.Errorf("the list would have more than %d elements", maxListItems)
	}
	return strings.Split(s, sep), nil
}

// indent puts blanks before each line that has something on it.
func indent(by any, s string) (string, error) {
	n, err := whole(by)
	if err != nil {
		return "", err
	}
	if n < 0 || n > 64 {
		return "", fmt.Errorf("%d blanks; want 0 to 64", n)
	}
	lines := strings.Split(s, "\n")
	if len(s)+len(lines)*int(n) > maxText {
		return "", fmt.Errorf("the text would have more than %d bytes", maxText)
	}
	for i, line := range lines {
		if line != "" {
			lines[i] = strings.Repeat(" ", int(n)) + line
		}
	}
	return strings.Join(lines, "\n"), nil
}

// A width of two digits is enough for tables, and not enough to fill the memory.
var verbs = regexp.MustCompile(`%(?:%|[-+0 #]{0,2}[0-9]{0,2}[sdqvxXt])`)

func checkFormat(format string, args int) error {
	rest := verbs.ReplaceAllString(format, "")
	if i := strings.IndexByte(rest, '%'); i >= 0 {
		return fmt.Errorf("the format %q has a verb that is not supported; want %%s, %%d, %%q, %%v, %%x or %%t "+
			"with a width of up to two digits", format)
	}
	want := 0
	for _, verb := range verbs.FindAllString(format, -1) {
		if verb != "%%" {
			want++
		}
	}
	if want != args {
		return fmt.Errorf("the format %q has %d verbs, but %d arguments follow", format, want, args)
	}
	return nil
}

func printf(format string, args ...any) (string, error) {
	size := len(format)
	for _, a := range args {
		if err := notLate(a); err != nil {
			return "", err
		}
		if s, ok := a.(string); ok {
			size += 4 * len(s)
		}
	}
	if err := checkFormat(format, len(args)); err != nil {
		return "", err
	}
	if size > maxText {
		return "", fmt.Errorf("the text could have more than %d bytes", maxText)
	}
	return bounded(fmt.Sprintf(format, args...))
}

func notLate(v any) error {
	if l, ok := v.(loda.Late); ok {
		return fmt.Errorf("%s is filled in later and cannot be changed or compared; write it as it is", string(l))
	}
	return nil
}

// quote makes one word of a POSIX shell of any text.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// toJSON also writes what YAML reads, on one line.
func toJSON(v any) (string, error) {
	switch v.(type) {
	case string, int, int64, bool, hw.Size, []string, map[string]string:
	default:
		return "", fmt.Errorf("%T cannot be written as JSON here", v)
	}
	var b strings.Builder
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", err
	}
	return bounded(strings.TrimSuffix(b.String(), "\n"))
}

func escapeXML(s string) (string, error) {
	var b strings.Builder
	if err := xml.EscapeText(&b, []byte(s)); err != nil {
		return "", err
	}
	return b.String(), nil
}

func first(items []string) (string, error) {
	if len(items) == 0 {
		return "", errors.New("the list is empty, it has no first element")
	}
	return items[0], nil
}

// get is the label of that name, or the other text.
func get(name, otherwise string, from map[string]string) string {
	if v, ok := from[name]; ok {
		return v
	}
	return otherwise
}

func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("a name has no value")
	}
	m := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("a name is not a text")
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

func prefixOf(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, fmt.Errorf("%q is not an address with a prefix length, such as 10.0.0.1/24", s)
	}
	return p, nil
}

// address is 10.0.0.7 of 10.0.0.7/24.
func address(s string) (string, error) {
	p, err := prefixOf(s)
	return p.Addr().String(), err
}

// network is 10.0.0.0 of 10.0.0.7/24.
func network(s string) (string, error) {
	p, err := prefixOf(s)
	return p.Masked().Addr().String(), err
}

// netmask is 255.255.255.0 of 10.0.0.7/24.
func netmask(s string) (string, error) {
	p, err := prefixOf(s)
	if err != nil {
		return "", err
	}
	ones := netip.AddrFrom4([4]byte{255, 255, 255, 255})
	if p.Addr().Is6() {
		return "", fmt.Errorf("%s: IPv6 has no netmasks; use prefixLen", s)
	}
	return netip.PrefixFrom(ones, p.Bits()).Masked().Addr().String(), nil
}

func prefixLen(s string) (int64, error) {
	p, err := prefixOf(s)
	return int64(p.Bits()), err
}

// host is the nth address of a network: 1 of 10.0.0.0/24 is 10.0.0.1.
func host(number any, s string) (string, error) {
	n, err := whole(number)
	if err != nil {
		return "", err
	}
	p, err := prefixOf(s)
	if err != nil {
		return "", err
	}
	if n < 0 {
		return "", fmt.Errorf("%d: want 0 or more", n)
	}
	bytes := p.Masked().Addr().AsSlice()
	carry := uint64(n)
	for i := len(bytes) - 1; i >= 0 && carry > 0; i-- {
		carry += uint64(bytes[i])
		bytes[i] = byte(carry)
		carry >>= 8
	}
	addr, _ := netip.AddrFromSlice(bytes)
	if carry > 0 || !p.Contains(addr) {
		return "", fmt.Errorf("%s has no address number %d", s, n)
	}
	return addr.String(), nil
}
