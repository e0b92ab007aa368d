package configrepo

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"text/template/parse"
	"unicode/utf8"

	"github.com/project-loda/loda/loda/strictyaml"
)

// source is the text of a template and where it stands: a file of templates/, or a field of a YAML file.
type source struct {
	// name under which other templates include it, and under which text/template reports.
	name string
	file string
	text string
	// field of a YAML file, "" for a file of its own.
	field string
	at    strictyaml.TextPosition

	lines []int // where each line begins
	tree  *parse.Tree

	// What the checker found out.
	includes map[string]parse.Pos
	uses     map[string]parse.Pos // variables
	late     map[string]bool      // secrets, as `secret:NAME`, and values of the boot
	disk     bool
	reached  bool
}

func newSource(name, file, text string) *source {
	s := &source{name: name, file: file, text: text, includes: map[string]parse.Pos{}, uses: map[string]parse.Pos{},
		late: map[string]bool{}}
	s.lines = []int{0}
	for i := range len(text) {
		if text[i] == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// position of an offset in the text, in the file.
func (s *source) position(offset int) (line, column int) {
	offset = min(max(offset, 0), len(s.text))
	line = sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > offset }) - 1
	column = utf8.RuneCountInString(s.text[s.lines[line]:offset])
	return s.inFile(line, column)
}

// inFile is where line and column of the text, both from 0, stand in the file.
func (s *source) inFile(line, column int) (int, int) {
	switch {
	case s.field == "":
		return line + 1, column + 1
	case s.at.Block:
		return s.at.Line + line, s.at.Column + column
	case line == 0 && len(s.lines) <= 2:
		return s.at.Line, s.at.Column + column
	}
	return s.at.Line, s.at.Column // the parser has folded the lines
}

func (s *source) errorf(offset parse.Pos, format string, args ...any) strictyaml.Error {
	line, column := s.position(int(offset))
	return strictyaml.Error{File: s.file, Line: line, Column: column, Path: s.field, Message: fmt.Sprintf(format, args...)}
}

var (
	parseMessage   = regexp.MustCompile(`(?s)^template: .*?:(\d+): (.*)$`)
	quotedWord     = regexp.MustCompile(`"([^"]+)"`)
	definitions    = regexp.MustCompile(`\{\{-?\s*(define|block)\b`)
	placeholderSay = "@@loda."
)

// parse reads the template. text/template names only the line of the first mistake; the column is that of what it
// quotes, or of the last action in the line.
func (s *source) parse() []strictyaml.Error {
	if i := strings.Index(s.text, placeholderSay); i >= 0 {
		return []strictyaml.Error{s.errorf(parse.Pos(i),
			"contains %s, which is kept for what is filled in later; write {{ .vars.NAME }} for a secret", placeholderSay)}
	}
	if at := definitions.FindStringIndex(s.text); at != nil {
		return []strictyaml.Error{s.errorf(parse.Pos(at[0]),
			"templates cannot be defined within a file; put it into a file of its own and "+
				`include it: {{ template "templates/NAME.tmpl" . }}`)}
	}
	t := parse.New(s.name)
	t.Mode = parse.SkipFuncCheck
	tree, err := t.Parse(s.text, "{{", "}}", map[string]*parse.Tree{})
	if err != nil {
		return []strictyaml.Error{s.parseError(err)}
	}
	s.tree = tree
	return nil
}

func (s *source) parseError(err error) strictyaml.Error {
	m := parseMessage.FindStringSubmatch(err.Error())
	if m == nil {
		return s.errorf(0, "cannot be parsed: %v", err)
	}
	number, _ := strconv.Atoi(m[1])
	i := min(max(number-1, 0), len(s.lines)-1)
	line := s.text[s.lines[i]:]
	line, _, _ = strings.Cut(line, "\n")
	column := strings.LastIndex(line, "{{")
	if q := quotedWord.FindStringSubmatch(m[2]); q != nil {
		if c := strings.Index(line, q[1]); c >= 0 {
			column = c
		}
	}
	if m[2] == "unexpected EOF" {
		m[2] = "the text ends where {{ end }} of an if, range or with is still missing"
	}
	return s.errorf(parse.Pos(s.lines[i]+max(column, 0)), "cannot be parsed: %s", strings.ReplaceAll(m[2], "\n", " "))
}

// beginning of a node. text/template gives a chain of fields the position of its second one.
func (s *source) beginning(n parse.Node) parse.Pos {
	var words []string
	switch n := n.(type) {
	case *parse.FieldNode:
		words = append([]string{""}, n.Ident...)
	case *parse.VariableNode:
		words = n.Ident
	case *parse.PipeNode:
		if len(n.Cmds) > 0 {
			return s.beginning(n.Cmds[0])
		}
	case *parse.CommandNode:
		if len(n.Args) > 0 {
			return s.beginning(n.Args[0])
		}
	}
	text, pos := strings.Join(words, "."), int(n.Position())
	if len(words) > 1 {
		for back := 0; back <= len(text) && back <= pos; back++ {
			if strings.HasPrefix(s.text[min(pos-back, len(s.text)):], text) {
				return parse.Pos(pos - back)
			}
		}
	}
	return parse.Pos(pos)
}

// findIncludes collects which templates this one includes.
func (s *source) findIncludes(list *parse.ListNode) {
	if list == nil {
		return
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.TemplateNode:
			if _, ok := s.includes[n.Name]; !ok {
				s.includes[n.Name] = s.nameOf(n)
			}
		default:
			for _, inner := range branches(n) {
				s.findIncludes(inner)
			}
		}
	}
}

// nameOf is where the name of an included template stands.
func (s *source) nameOf(n *parse.TemplateNode) parse.Pos {
	pos := min(int(n.Position()), len(s.text))
	if i := strings.Index(s.text[pos:], strconv.Quote(n.Name)); i >= 0 && i < 256 {
		return parse.Pos(pos + i)
	}
	return n.Position()
}

// branches are the lists within an if, range or with.
func branches(n parse.Node) []*parse.ListNode {
	switch n := n.(type) {
	case *parse.IfNode:
		return []*parse.ListNode{n.List, n.ElseList}
	case *parse.RangeNode:
		return []*parse.ListNode{n.List, n.ElseList}
	case *parse.WithNode:
		return []*parse.ListNode{n.List, n.ElseList}
	}
	return nil
}

// count puts an empty text at the beginning of the template and of each turn of its loops. text/template writes it like
// any other, and so the writer can count the work, also that of loops which print nothing.
func (s *source) count() {
	s.tree.Root.Nodes = slices.Insert(s.tree.Root.Nodes, 0, tick())
	var visit func(list *parse.ListNode)
	visit = func(list *parse.ListNode) {
		if list == nil {
			return
		}
		for _, n := range list.Nodes {
			for _, inner := range branches(n) {
				visit(inner)
			}
			if r, ok := n.(*parse.RangeNode); ok {
				r.List.Nodes = slices.Insert(r.List.Nodes, 0, tick())
			}
		}
	}
	visit(s.tree.Root)
}

func tick() parse.Node { return &parse.TextNode{NodeType: parse.NodeText} }

// cycles finds templates that include each other in a circle, each circle once, and says where it closes.
func cycles(sources map[string]*source) (errs []strictyaml.Error, inCycle map[string]bool) {
	const (
		open = iota + 1
		done
	)
	state := map[string]int{}
	inCycle = map[string]bool{}
	var path []string
	var visit func(name string)
	visit = func(name string) {
		s := sources[name]
		state[name] = open
		path = append(path, name)
		for _, next := range slices.Sorted(maps.Keys(s.includes)) {
			if sources[next] == nil {
				continue
			}
			switch state[next] {
			case 0:
				visit(next)
			case open:
				circle := path[slices.Index(path, next):]
				for _, c := range circle {
					inCycle[c] = true
				}
				errs = append(errs, s.errorf(s.includes[next], "the templates include each other in a circle: %s",
					strings.Join(append(slices.Clone(circle), next), " → ")))
			}
		}
		path = path[:len(path)-1]
		state[name] = done
	}
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		if state[name] == 0 {
			visit(name)
		}
	}
	return errs, inCycle
}
