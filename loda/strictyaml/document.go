package strictyaml

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// MaxSize of a file, in bytes.
	MaxSize = 256 << 10
	// MaxLines of a file. goccy/go-yaml 1.19 takes time with the square of the entries: this is a second at worst, while a
	// megabyte of `a: |` takes minutes.
	MaxLines = 10_000
	// MaxDepth of nesting.
	MaxDepth = 64
	// maxLine keeps the parser, which recurses, from what can be nested within a line.
	maxLine = 32 << 10
	// maxErrors of one file: nobody reads more at once.
	maxErrors = 200
)

// Decode reads a file into what into points to, and returns everything that is wrong with it, by line and column. Where
// there are errors, into holds what could be read.
func Decode(file string, text []byte, into any) []Error {
	doc, errs := Parse(file, text)
	if len(errs) > 0 {
		return errs
	}
	return doc.Decode(into)
}

// A Document is a file that is YAML; it remembers where each field stands.
type Document struct {
	// File as the caller named it.
	File string

	body ast.Node
	at   map[string]place
}

type place struct {
	key, value Position
	text       TextPosition
}

// Position is a line and a column, both from 1.
type Position struct{ Line, Column int }

// TextPosition says where the lines of a text stand in the file.
type TextPosition struct {
	// Position of the first character.
	Position
	// Block says that line n of the text is n lines further down, each indented up to Column. Otherwise the text is a
	// scalar on one line, or one whose lines are folded.
	Block bool
}

// Parse reads a file as YAML. Errors of syntax are reported one at a time: what follows the first is guesswork.
func Parse(file string, text []byte) (doc *Document, errs []Error) {
	if len(text) > MaxSize {
		return nil, []Error{{File: file, Message: fmt.Sprintf("has %d bytes; want at most %d", len(text), MaxSize)}}
	}
	if errs := CheckText(file, text); len(errs) > 0 {
		return nil, errs
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) > MaxLines+1 {
		return nil, []Error{{File: file, Line: MaxLines + 1, Column: 1, Message: fmt.Sprintf("has more than %d lines",
			MaxLines)}}
	}
	for i, line := range lines {
		if len(line) > maxLine {
			return nil, []Error{{File: file, Line: i + 1, Column: maxLine,
				Message: fmt.Sprintf("the line has %d bytes; want at most %d", len(line), maxLine)}}
		}
	}
	// goccy/go-yaml 1.19 panics on some malformed text, such as a tag before a broken list.
	defer func() {
		if p := recover(); p != nil {
			doc, errs = nil, []Error{{File: file, Line: 1, Column: 1, Message: fmt.Sprintf("is not YAML: %v", p)}}
		}
	}()
	tokens := lexer.Tokenize(string(text))
	if e := tooDeep(tokens); e != nil {
		e.File = file
		return nil, []Error{*e}
	}
	tree, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		return nil, []Error{syntaxError(file, err)}
	}
	d := &Document{File: file, at: map[string]place{}}
	for _, part := range tree.Docs {
		if part.Body == nil || part.Body.Type() == ast.CommentType {
			continue
		}
		if d.body != nil {
			at := start(part.Body)
			return nil, []Error{{File: file, Line: at.Line, Column: at.Column,
				Message: "a second document begins; want one in a file"}}
		}
		d.body = part.Body
	}
	if d.body == nil {
		return nil, []Error{{File: file, Line: 1, Column: 1, Message: "is empty; want a mapping"}}
	}
	d.index(d.body, "", start(d.body), 0)
	return d, nil
}

// tooDeep looks at the tokens, before the parser recurses over them.
func tooDeep(tokens token.Tokens) *Error {
	flow, line, onLine := 0, 0, 0
	for _, t := range tokens {
		if t.Position.Line != line {
			line, onLine = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			onLine++
		}
		if flow > MaxDepth || onLine > MaxDepth {
			return &Error{Line: t.Position.Line, Column: t.Position.Column,
				Message: fmt.Sprintf("is nested more than %d levels deep", MaxDepth)}
		}
	}
	return nil
}

func syntaxError(file string, err error) Error {
	e := Error{File: file, Line: 1, Column: 1, Message: "is not YAML: " + firstLine(err.Error())}
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) {
		e.Message = "is not YAML: " + firstLine(syntax.Message)
		if syntax.Token != nil && syntax.Token.Position != nil {
			e.Line, e.Column = max(syntax.Token.Position.Line, 1), max(syntax.Token.Position.Column, 1)
		}
	}
	return e
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(s, "\n")
	return strings.ReplaceAll(s, "\t", `\t`)
}

// start is where a node begins. The parser's own position of a mapping is its first colon.
func start(n ast.Node) Position {
	switch n := n.(type) {
	case *ast.MappingNode:
		if !n.IsFlowStyle && len(n.Values) > 0 {
			return start(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return start(n.Key)
	case nil:
		return Position{1, 1}
	}
	t := n.GetToken()
	if t == nil || t.Position == nil {
		return Position{1, 1}
	}
	return Position{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}

// index remembers where everything stands.
func (d *Document) index(n ast.Node, path string, key Position, depth int) {
	if depth > MaxDepth {
		return
	}
	at := place{key: key, value: start(n)}
	at.text = TextPosition{Position: at.value}
	switch n := n.(type) {
	case *ast.StringNode:
		if n.Token.Type == token.DoubleQuoteType || n.Token.Type == token.SingleQuoteType {
			at.text.Column++
		}
	case *ast.LiteralNode:
		at.text = TextPosition{Position: Position{at.value.Line + 1, 1}, Block: strings.HasPrefix(n.Start.Value, "|")}
		if n.Value != nil && n.Value.Token != nil {
			for _, line := range strings.Split(n.Value.Token.Origin, "\n") {
				if blank := len(line) - len(strings.TrimLeft(line, " ")); blank < len(line) {
					at.text.Column = blank + 1
					break
				}
			}
		}
	case *ast.MappingNode:
		for _, v := range n.Values {
			if name, ok := keyText(v.Key); ok {
				if child := Join(path, name); d.at[child] == (place{}) {
					d.index(v.Value, child, start(v.Key), depth+1)
				}
			}
		}
	case *ast.MappingValueNode:
		if name, ok := keyText(n.Key); ok {
			d.index(n.Value, Join(path, name), start(n.Key), depth+1)
		}
	case *ast.SequenceNode:
		for i, v := range n.Values {
			d.index(v, fmt.Sprintf("%s[%d]", path, i), start(v), depth+1)
		}
	}
	d.at[path] = at
}

func keyText(n ast.MapKeyNode) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode:
		return n.Token.Value, true
	case *ast.FloatNode:
		return n.Token.Value, true
	case *ast.BoolNode:
		return n.Token.Value, true
	}
	return "", false
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Join is the path of a key below a path: `vars.ntp`, `answers["preseed.cfg"]`.
func Join(path, key string) string {
	switch {
	case !plainKey.MatchString(key):
		return fmt.Sprintf("%s[%q]", path, key)
	case path == "":
		return key
	}
	return path + "." + key
}

// parent is the path without its last element; of the whole document it is "".
func parent(path string) string {
	if strings.HasSuffix(path, `"]`) {
		if i := strings.LastIndex(path, `["`); i >= 0 {
			return path[:i]
		}
	}
	return path[:max(0, strings.LastIndexAny(path, ".["))]
}

// Has says whether there is something at a path.
func (d *Document) Has(path string) bool { _, ok := d.at[path]; return ok }

// KeyAt is where the key of a path stands, or what is nearest above it.
func (d *Document) KeyAt(path string) Position { return d.nearest(path).key }

// ValueAt is where the value of a path begins, or that of what is nearest above it.
func (d *Document) ValueAt(path string) Position { return d.nearest(path).value }

// TextAt is where the text at a path begins.
func (d *Document) TextAt(path string) TextPosition { return d.nearest(path).text }

func (d *Document) nearest(path string) place {
	for {
		if at, ok := d.at[path]; ok || path == "" {
			return at
		}
		path = parent(path)
	}
}

// Errorf is an error at the value of a path.
func (d *Document) Errorf(path, format string, args ...any) Error {
	at := d.ValueAt(path)
	return Error{File: d.File, Line: at.Line, Column: at.Column, Path: path, Message: fmt.Sprintf(format, args...)}
}

// KeyErrorf is an error at the key of a path.
func (d *Document) KeyErrorf(path, format string, args ...any) Error {
	at := d.KeyAt(path)
	return Error{File: d.File, Line: at.Line, Column: at.Column, Path: path, Message: fmt.Sprintf(format, args...)}
}
