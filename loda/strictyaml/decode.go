package strictyaml

import (
	"cmp"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// Decode reads the document into what into points to. It panics if into is not a pointer or holds a type that nothing
// can be decoded into, such as a channel: that is a mistake in the program.
func (d *Document) Decode(into any) []Error {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.IsNil() {
		panic(fmt.Sprintf("strictyaml: want a pointer to decode into, not %T", into))
	}
	dec := decoder{doc: d}
	dec.decode(d.body, v.Elem(), "", 0)
	slices.SortStableFunc(dec.errs, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return dec.errs
}

type decoder struct {
	doc  *Document
	errs []Error
	// undecoded counts errors that left something without its value.
	undecoded int
}

func (d *decoder) report(at Position, path, format string, args ...any) {
	if len(d.errs) < maxErrors {
		d.errs = append(d.errs, Error{File: d.doc.File, Line: at.Line, Column: at.Column, Path: path,
			Message: fmt.Sprintf(format, args...)})
	}
}

// bad reports what keeps a value from being decoded.
func (d *decoder) bad(n ast.Node, path, format string, args ...any) {
	d.undecoded++
	d.report(start(n), path, format, args...)
}

type validator interface{ Validate() error }

// decode reads n into v, which can be set.
func (d *decoder) decode(n ast.Node, v reflect.Value, path string, depth int) {
	if depth > MaxDepth {
		d.bad(n, path, "is nested more than %d levels deep", MaxDepth)
		return
	}
	switch n.(type) {
	case *ast.AnchorNode, *ast.AliasNode:
		d.bad(n, path, "anchors and aliases are not supported; write the value out")
		return
	case *ast.TagNode:
		d.bad(n, path, "tags are not supported; quotes make a text of a number")
		return
	}
	if v.Kind() == reflect.Pointer {
		fresh := reflect.New(v.Type().Elem())
		d.decode(n, fresh.Elem(), path, depth)
		v.Set(fresh)
		return
	}
	if n.Type() == ast.NullType && v.Kind() != reflect.Interface {
		d.bad(n, path, "has no value; want %s, or leave the key out", describe(v.Type()))
		return
	}
	errsBefore, undecodedBefore := len(d.errs), d.undecoded
	d.value(n, v, path, depth)
	if d.undecoded == undecodedBefore && v.CanAddr() {
		if val, ok := v.Addr().Interface().(validator); ok {
			d.validate(n, val, path, d.errs[errsBefore:])
		}
	}
}

// validate asks a decoded value what is wrong with it. What its fields have said of themselves is not said again.
func (d *decoder) validate(n ast.Node, v validator, path string, said []Error) {
	said = slices.Clone(said)
	for _, err := range flatten(v.Validate()) {
		message := strings.ReplaceAll(err.Error(), "\n", "; ")
		if slices.ContainsFunc(said, func(e Error) bool { return strings.HasSuffix(message, e.Message) }) {
			continue
		}
		at, where := start(n), path
		if field, rest, ok := strings.Cut(message, ": "); ok && fieldPath.MatchString(field) {
			if f, ok := d.field(path, strings.ReplaceAll(field, "/", ".")); ok {
				at, where, message = d.doc.ValueAt(f), f, rest
			}
		}
		d.report(at, where, "%s", message)
	}
}

var fieldPath = regexp.MustCompile(`^[A-Za-z0-9_./-]+(\[[^\]]*\][A-Za-z0-9_./-]*)*$`)

// field finds a path below path, or the nearest part of it that was written.
func (d *decoder) field(path, field string) (string, bool) {
	full := path + "." + field
	if path == "" || strings.HasPrefix(field, "[") {
		full = path + field
	}
	for full != path && full != "" {
		if d.doc.Has(full) {
			return full, true
		}
		full = parent(full)
	}
	return "", false
}

func flatten(err error) []error {
	if err == nil {
		return nil
	}
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		// Only what Join makes has nothing to say itself.
		all := many.Unwrap()
		texts := make([]string, len(all))
		for i, e := range all {
			texts[i] = e.Error()
		}
		if err.Error() == strings.Join(texts, "\n") {
			var flat []error
			for _, e := range all {
				flat = append(flat, flatten(e)...)
			}
			return flat
		}
	}
	return []error{err}
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType    = reflect.TypeFor[time.Duration]()
)

func (d *decoder) value(n ast.Node, v reflect.Value, path string, depth int) {
	t := v.Type()
	text, isScalar := scalarText(n)
	if isScalar && reflect.PointerTo(t).Implements(textUnmarshaler) {
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			d.bad(n, path, "%s", strings.ReplaceAll(err.Error(), "\n", "; "))
		}
		return
	}
	if t == durationType {
		d.duration(n, v, path)
		return
	}
	wrong := func() { d.bad(n, path, "is %s; want %s", describeNode(n), describe(t)) }
	switch t.Kind() {
	case reflect.Interface:
		if t.NumMethod() != 0 {
			panic(fmt.Sprintf("strictyaml: cannot decode into %s", t))
		}
		if plain := d.plain(n, path, depth); plain != nil {
			v.Set(reflect.ValueOf(plain))
		}
	case reflect.String:
		switch n.(type) {
		case *ast.StringNode, *ast.LiteralNode:
			v.SetString(text)
		case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
			d.bad(n, path, "is %s; want a text: write %q", describeNode(n), text)
		default:
			wrong()
		}
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return
		}
		wrong()
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		if _, ok := n.(*ast.IntegerNode); !ok {
			wrong()
		} else if i, err := wholeNumber(text); err != nil {
			d.bad(n, path, "%v", err)
		} else if v.OverflowInt(i) {
			d.bad(n, path, "%d is out of range", i)
		} else {
			v.SetInt(i)
		}
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if _, ok := n.(*ast.IntegerNode); !ok {
			wrong()
		} else if i, err := wholeNumber(text); err != nil {
			d.bad(n, path, "%v", err)
		} else if i < 0 || v.OverflowUint(uint64(i)) {
			d.bad(n, path, "%d is out of range", i)
		} else {
			v.SetUint(uint64(i))
		}
	case reflect.Float32, reflect.Float64:
		switch n.(type) {
		case *ast.IntegerNode, *ast.FloatNode:
			f, err := strconv.ParseFloat(text, t.Bits())
			if err != nil || math.IsInf(f, 0) || strings.Trim(text, "0123456789.eE+-") != "" {
				d.bad(n, path, "%s is not a plain decimal number", text)
				return
			}
			v.SetFloat(f)
		default:
			wrong()
		}
	case reflect.Struct:
		if len(fieldsOf(t).names) == 0 {
			wrong()
			return
		}
		d.structure(n, v, path, depth)
	case reflect.Map:
		d.mapping(n, v, path, depth)
	case reflect.Slice:
		list, ok := n.(*ast.SequenceNode)
		if !ok {
			wrong()
			return
		}
		v.Set(reflect.MakeSlice(t, len(list.Values), len(list.Values)))
		for i, item := range list.Values {
			d.decode(item, v.Index(i), fmt.Sprintf("%s[%d]", path, i), depth+1)
		}
	default:
		panic(fmt.Sprintf("strictyaml: cannot decode into %s", t))
	}
}

func (d *decoder) duration(n ast.Node, v reflect.Value, path string) {
	text, ok := scalarText(n)
	if !ok {
		d.bad(n, path, "is %s; want a duration such as 30s, 5m or 1h30m", describeNode(n))
		return
	}
	value, err := time.ParseDuration(text)
	if err != nil {
		d.bad(n, path, "%q is not a duration; want a number with a unit, such as 30s, 5m or 1h30m", text)
		return
	}
	v.SetInt(int64(value))
}

// entries are the keys of a mapping and their values, each once. Those that cannot be keys are reported.
func (d *decoder) entries(n ast.Node, path string) ([]*ast.MappingValueNode, bool) {
	var all []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		all = n.Values
	case *ast.MappingValueNode:
		all = []*ast.MappingValueNode{n}
	default:
		return nil, false
	}
	first := map[string]Position{}
	var entries []*ast.MappingValueNode
	for _, e := range all {
		name, ok := keyText(e.Key)
		switch at, again := first[name]; {
		case e.Key.Type() == ast.MergeKeyType:
			d.bad(e.Key, path, "merge keys are not supported; write the keys out")
		case !ok:
			d.bad(e.Key, path, "is not a plain key; want a word and a colon")
		case again:
			d.report(start(e.Key), Join(path, name), "the key is given twice, first in line %d; want it once", at.Line)
		default:
			first[name] = start(e.Key)
			entries = append(entries, e)
		}
	}
	return entries, true
}

func (d *decoder) structure(n ast.Node, v reflect.Value, path string, depth int) {
	entries, ok := d.entries(n, path)
	if !ok {
		d.bad(n, path, "is %s; want %s", describeNode(n), describe(v.Type()))
		return
	}
	fields := fieldsOf(v.Type())
	for _, e := range entries {
		name, _ := keyText(e.Key)
		index, ok := fields.index[name]
		if !ok {
			// Something else may be missing because of it.
			d.bad(e.Key, Join(path, name), "unknown key; %s", Suggest(name, fields.names))
			continue
		}
		d.decode(e.Value, v.FieldByIndex(index), Join(path, name), depth+1)
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string, depth int) {
	t := v.Type()
	entries, ok := d.entries(n, path)
	if !ok {
		d.bad(n, path, "is %s; want %s", describeNode(n), describe(t))
		return
	}
	v.Set(reflect.MakeMapWithSize(t, len(entries)))
	for _, e := range entries {
		name, _ := keyText(e.Key)
		key := reflect.New(t.Key()).Elem()
		if u, ok := key.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := u.UnmarshalText([]byte(name)); err != nil {
				d.bad(e.Key, Join(path, name), "%v", err)
				continue
			}
		} else if key.Kind() == reflect.String {
			key.SetString(name)
		} else {
			panic(fmt.Sprintf("strictyaml: cannot decode into %s", t))
		}
		value := reflect.New(t.Elem()).Elem()
		d.decode(e.Value, value, Join(path, name), depth+1)
		v.SetMapIndex(key, value)
	}
}

// plain is a value without a type to go by: string, int64, float64, bool, []any, map[string]any or nil.
func (d *decoder) plain(n ast.Node, path string, depth int) any {
	into := func(v any) any {
		d.decode(n, reflect.ValueOf(v).Elem(), path, depth)
		return reflect.ValueOf(v).Elem().Interface()
	}
	switch n.(type) {
	case *ast.StringNode, *ast.LiteralNode:
		return into(new(string))
	case *ast.IntegerNode:
		return into(new(int64))
	case *ast.FloatNode:
		return into(new(float64))
	case *ast.BoolNode:
		return into(new(bool))
	case *ast.SequenceNode:
		return into(new([]any))
	case *ast.MappingNode, *ast.MappingValueNode:
		return into(new(map[string]any))
	case *ast.NullNode:
		return nil
	}
	d.bad(n, path, "is %s; want a text, a number, true or false, a list or a mapping", describeNode(n))
	return nil
}

// wholeNumber reads plain decimal digits.
func wholeNumber(text string) (int64, error) {
	i, err := strconv.ParseInt(text, 10, 64)
	digits := strings.TrimLeft(text, "+-")
	if err != nil || len(digits) > 1 && digits[0] == '0' {
		return 0, fmt.Errorf("%s is not a plain decimal number", text)
	}
	return i, nil
}

// scalarText is what was written, quotes and indentation aside.
func scalarText(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		if n.Value == nil {
			return "", true
		}
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func describeNode(n ast.Node) string {
	switch n := n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "the number " + n.GetToken().Value
	case *ast.BoolNode:
		return "the boolean " + n.Token.Value
	case *ast.NullNode:
		return "empty"
	case *ast.LiteralNode:
		return "a text of lines"
	case *ast.StringNode:
		text := n.Value
		if len(text) > 40 {
			text = strings.ToValidUTF8(text[:40], "") + "…"
		}
		if n.Token.Type == token.DoubleQuoteType || n.Token.Type == token.SingleQuoteType {
			return fmt.Sprintf("the quoted text %q", text)
		}
		return fmt.Sprintf("the text %q", text)
	}
	return "something else"
}

// describe says how a type is written.
func describe(t reflect.Type) string {
	short := reflect.PointerTo(t).Implements(textUnmarshaler)
	switch {
	case t == durationType:
		return "a duration such as 30s, 5m or 1h30m"
	case short && t.Kind() == reflect.Struct && len(fieldsOf(t).names) > 0:
		return "a text or a mapping of " + oneOf(fieldsOf(t).names)
	case short && t.Kind() == reflect.Slice:
		return "a text or a list"
	case short:
		return "a text"
	}
	switch t.Kind() {
	case reflect.Pointer:
		return describe(t.Elem())
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list"
	case reflect.Struct:
		names := fieldsOf(t).names
		if len(names) == 0 || len(names) > maxListed {
			return "a mapping"
		}
		return "a mapping of " + oneOf(names)
	case reflect.Map:
		return "a mapping"
	case reflect.Interface:
		return "a value"
	}
	return "a whole number"
}

// fields of a struct by the names under which they are written.
type fields struct {
	names []string
	index map[string][]int
}

var fieldCache sync.Map // reflect.Type → fields

func fieldsOf(t reflect.Type) fields {
	if f, ok := fieldCache.Load(t); ok {
		return f.(fields)
	}
	f := fields{index: map[string][]int{}}
	for i := range t.NumField() {
		sf := t.Field(i)
		tag, tagged := sf.Tag.Lookup("yaml")
		if !tagged {
			tag, tagged = sf.Tag.Lookup("json")
		}
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case name == "-":
		case sf.Type.Kind() == reflect.Struct && (options == "inline" || sf.Anonymous && !tagged):
			for inner, index := range fieldsOf(sf.Type).index {
				if _, outer := f.index[inner]; !outer {
					f.index[inner] = append([]int{i}, index...)
				}
			}
		case !sf.IsExported():
		default:
			f.index[cmp.Or(name, strings.ToLower(sf.Name))] = []int{i}
		}
	}
	for name := range f.index {
		f.names = append(f.names, name)
	}
	slices.Sort(f.names)
	fieldCache.Store(t, f)
	return f
}
