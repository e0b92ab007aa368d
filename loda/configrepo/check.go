package configrepo

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"text/template/parse"

	"github.com/project-loda/loda/loda/strictyaml"
)

// checker walks templates with the types of their values, without running them.
type checker struct {
	sources map[string]*source
	// cyclic are templates in a circle, which is reported already.
	cyclic map[string]bool
	// exists says whether a file is there although it is no template that could be parsed.
	exists func(name string) bool
	vars   *vtype

	// done remembers which template was walked with which type of dot.
	done map[string]bool
	errs []strictyaml.Error

	s      *source
	scopes []variable
}

type variable struct {
	name string
	t    *vtype
}

// template checks one template, and all that it includes, for a type of dot.
func (c *checker) template(s *source, dot *vtype) {
	s.reached = true
	id := s.name + "\x00" + dot.id()
	if s.tree == nil || c.done[id] {
		return
	}
	c.done[id] = true
	outer, scopes := c.s, c.scopes
	c.s, c.scopes = s, []variable{{"$", dot}}
	c.list(s.tree.Root, dot)
	c.s, c.scopes = outer, scopes
}

func (c *checker) bad(n parse.Node, format string, args ...any) *vtype {
	c.errs = append(c.errs, c.s.errorf(c.s.beginning(n), format, args...))
	return tWrong
}

func (c *checker) list(l *parse.ListNode, dot *vtype) {
	if l == nil {
		return
	}
	depth := len(c.scopes)
	for _, n := range l.Nodes {
		c.node(n, dot)
	}
	c.scopes = c.scopes[:depth]
}

func (c *checker) node(n parse.Node, dot *vtype) {
	depth := len(c.scopes)
	switch n := n.(type) {
	case *parse.ActionNode:
		t := c.pipe(n.Pipe, dot)
		if len(n.Pipe.Decl) > 0 {
			return // what it declares stays
		}
		switch t.kind {
		case list:
			c.bad(n.Pipe, "is a list and cannot be written; join it, as in {{ join \" \" %s }}, or use toJson", n.Pipe)
		case labels, record, nothing:
			c.bad(n.Pipe, "is %s and cannot be written", t)
		}
	case *parse.IfNode:
		c.pipe(n.Pipe, dot)
		c.list(n.List, dot)
		c.list(n.ElseList, dot)
		c.scopes = c.scopes[:depth]
	case *parse.WithNode:
		t := c.pipe(n.Pipe, dot)
		c.list(n.List, t)
		c.list(n.ElseList, dot)
		c.scopes = c.scopes[:depth]
	case *parse.RangeNode:
		c.loop(n, dot)
		c.scopes = c.scopes[:depth]
	case *parse.TemplateNode:
		c.include(n, dot)
	}
}

func (c *checker) loop(n *parse.RangeNode, dot *vtype) {
	pipe := *n.Pipe
	pipe.Decl = nil
	t := c.pipe(&pipe, dot)
	key, element := tInt, tText
	switch t.kind {
	case list:
	case labels:
		key = tText
	case wrong:
		key, element = tWrong, tWrong
	default:
		c.bad(n.Pipe, "is %s; range goes over a list or labels", t)
		key, element = tWrong, tWrong
	}
	depth := len(c.scopes)
	switch d := n.Pipe.Decl; len(d) {
	case 1:
		c.declare(d[0], n.Pipe.IsAssign, element)
	case 2:
		c.declare(d[0], n.Pipe.IsAssign, key)
		c.declare(d[1], n.Pipe.IsAssign, element)
	}
	c.list(n.List, element)
	c.scopes = c.scopes[:depth]
	c.list(n.ElseList, dot)
}

func (c *checker) include(n *parse.TemplateNode, dot *vtype) {
	t := tNothing
	if n.Pipe != nil {
		t = c.pipe(n.Pipe, dot)
	}
	inner, ok := c.sources[n.Name]
	if !ok || inner.field != "" {
		if !c.exists(n.Name) {
			c.errs = append(c.errs, c.s.errorf(c.s.nameOf(n), "there is no template %s; %s", n.Name,
				strictyaml.Suggest(n.Name, c.files())))
		}
		return
	}
	if t.kind != wrong {
		c.template(inner, t)
	}
	inner.reached = true
}

// files are the templates that can be included.
func (c *checker) files() []string {
	var names []string
	for name, s := range c.sources {
		if s.field == "" {
			names = append(names, name)
		}
	}
	return names
}

// pipe is the type of what a pipeline yields.
func (c *checker) pipe(p *parse.PipeNode, dot *vtype) *vtype {
	if p == nil {
		return tNothing
	}
	var t *vtype
	for _, cmd := range p.Cmds {
		t = c.command(cmd, dot, t)
	}
	if t == nil {
		t = tNothing
	}
	for _, d := range p.Decl {
		c.declare(d, p.IsAssign, t)
	}
	return t
}

// declare gives a variable its type. One that is assigned keeps the type that it has.
func (c *checker) declare(d *parse.VariableNode, assign bool, t *vtype) {
	if !assign {
		c.scopes = append(c.scopes, variable{d.Ident[0], t})
		return
	}
	old := c.lookup(d.Ident[0])
	if old != nil && old.kind != wrong && t.kind != wrong && old.id() != t.id() {
		c.bad(d, "%s holds %s; %s cannot be assigned to it", d.Ident[0], old, t)
	}
}

func (c *checker) lookup(name string) *vtype {
	for _, v := range slices.Backward(c.scopes) {
		if v.name == name {
			return v.t
		}
	}
	return nil
}

// command is the type of one command of a pipeline; final is what the one before it hands over, nil for the first.
func (c *checker) command(cmd *parse.CommandNode, dot, final *vtype) *vtype {
	word := cmd.Args[0]
	if id, ok := word.(*parse.IdentifierNode); ok {
		return c.call(id, cmd.Args[1:], dot, final)
	}
	if len(cmd.Args) > 1 {
		for _, a := range cmd.Args[1:] {
			c.argument(a, dot)
		}
		return c.bad(cmd.Args[1], "%s is not a function; it takes no arguments", word)
	}
	t := c.argument(word, dot)
	if final != nil {
		return c.bad(word, "%s is not a function; nothing can be handed to it", word)
	}
	return t
}

// argument is the type of an operand.
func (c *checker) argument(n parse.Node, dot *vtype) *vtype {
	switch n := n.(type) {
	case *parse.FieldNode:
		return c.fields(n, dot, n.Ident)
	case *parse.VariableNode:
		t := c.lookup(n.Ident[0])
		if t == nil {
			return c.bad(n, "undefined variable %s", n.Ident[0])
		}
		return c.fields(n, t, n.Ident[1:])
	case *parse.ChainNode:
		return c.fields(n, c.argument(n.Node, dot), n.Field)
	case *parse.PipeNode:
		return c.pipe(n, dot)
	case *parse.DotNode:
		return dot
	case *parse.NilNode:
		return tNothing
	case *parse.StringNode:
		if strings.Contains(n.Text, placeholderSay) {
			return c.bad(n, "contains %s, which is kept for what is filled in later", placeholderSay)
		}
		return tText
	case *parse.BoolNode:
		return tBool
	case *parse.NumberNode:
		if !n.IsInt {
			return c.bad(n, "%s is not a whole number", n.Text)
		}
		return tInt
	case *parse.IdentifierNode:
		return c.call(n, nil, dot, nil)
	}
	return c.bad(n, "%s cannot be used here", n)
}

// fields follows a chain of names.
func (c *checker) fields(n parse.Node, t *vtype, chain []string) *vtype {
	for i, name := range chain {
		switch {
		case t.kind == wrong:
			return t
		case t.kind == labels:
			t = tText
			continue
		case t.kind == nothing:
			return c.bad(n, ".%s: the template is included without a value; write {{ template \"NAME\" . }}", name)
		case t.kind != record:
			return c.bad(n, "%s is %s and has no field %s", cmp.Or(strings.Join(chain[:i], "."), "this"), t, name)
		}
		inner, ok := t.fields[name]
		switch {
		case ok:
		case t == c.vars:
			return c.bad(n, "variable %s is not declared in vars/; %s", name, strictyaml.Suggest(name, keys(t.fields)))
		case t.name == "" && name == "boot":
			return c.bad(n, ".boot is only known to the arguments and answers of an installer")
		case t.name == "":
			return c.bad(n, "there is no .%s; %s", name, strictyaml.Suggest(name, keys(t.fields)))
		default:
			return c.bad(n, "%s has no field %s; %s", t.name, name, strictyaml.Suggest(name, keys(t.fields)))
		}
		switch {
		case t == c.vars:
			if _, again := c.s.uses[name]; !again {
				c.s.uses[name] = c.s.beginning(n)
			}
		case inner.kind == record && inner.name == "disk":
			c.s.disk = true
		}
		if inner.kind == late {
			c.s.late[inner.name] = true
		}
		t = inner
	}
	return t
}

// call is the type of what a function yields.
func (c *checker) call(id *parse.IdentifierNode, args []parse.Node, dot, final *vtype) *vtype {
	f, ok := functions[id.Ident]
	if !ok {
		for _, a := range args {
			c.argument(a, dot)
		}
		return c.bad(id, "function %s is unknown; %s", id.Ident, strictyaml.Suggest(id.Ident, keys(functions)))
	}
	given := make([]*vtype, 0, len(args)+1)
	before := len(c.errs)
	for i, a := range args {
		t := c.argument(a, dot)
		given = append(given, t)
		c.fits(a, id.Ident, f, i, t)
	}
	if final != nil {
		given = append(given, final)
		c.fits(id, id.Ident, f, len(args), final)
	}
	if len(given) < len(f.params) {
		return c.bad(id, "%s has %d arguments; want %d", id.Ident, len(given), len(f.params))
	}
	if len(given) > len(f.params) && f.rest == nil {
		return c.bad(id, "%s has %d arguments; want %d", id.Ident, len(given), len(f.params))
	}
	if len(c.errs) > before {
		return tWrong
	}
	switch id.Ident {
	case "dict":
		return c.dict(id, args, given)
	case "printf":
		c.printf(id, args, given)
		return tText
	}
	t, err := f.result(given)
	if err != nil {
		return c.bad(id, "%s: %v", id.Ident, err)
	}
	return t
}

// fits holds an argument against what the function takes.
func (c *checker) fits(at parse.Node, name string, f *function, i int, t *vtype) {
	want := f.rest
	if i < len(f.params) {
		want = f.params[i]
	}
	switch {
	case t.kind == wrong || want == nil || slices.Contains(want, t.kind):
	case t.kind == late:
		c.bad(at, "%s cannot take %s: it is filled in later and cannot be changed or compared; write it as it is", name,
			t.name)
	default:
		var words []string
		for _, k := range want {
			words = append(words, kindNames[k])
		}
		c.bad(at, "%s cannot take %s; want %s", name, t, strings.Join(words, " or "))
	}
}

// dict is a group of values that are named in the template itself.
func (c *checker) dict(id *parse.IdentifierNode, args []parse.Node, given []*vtype) *vtype {
	if len(given) != len(args) || len(args)%2 != 0 {
		return c.bad(id, "dict wants names and values by turns, as in dict \"mac\" .machine.name")
	}
	fields := map[string]*vtype{}
	for i := 0; i < len(args); i += 2 {
		name, ok := args[i].(*parse.StringNode)
		if !ok {
			return c.bad(args[i], "the names of a dict have to be written out, in quotes")
		}
		if fields[name.Text] != nil {
			return c.bad(args[i], "the dict has %s twice", name.Text)
		}
		fields[name.Text] = given[i+1]
	}
	return newRecord("dict", fields)
}

func (c *checker) printf(id *parse.IdentifierNode, args []parse.Node, given []*vtype) {
	format, ok := args0(args).(*parse.StringNode)
	if !ok {
		c.bad(id, "the format of printf has to be written out, in quotes")
		return
	}
	if err := checkFormat(format.Text, len(given)-1); err != nil {
		c.bad(format, "%v", err)
		return
	}
	i := 0
	for _, verb := range verbs.FindAllString(format.Text, -1) {
		if verb == "%%" {
			continue
		}
		i++
		fit := map[byte][]kind{'s': {text, bytesize}, 'q': {text}, 'd': {integer, bytesize}, 't': {boolean}, 'x': {text,
			integer},
			'X': {text, integer}, 'v': scalar}[verb[len(verb)-1]]
		if k := given[i].kind; k != wrong && !slices.Contains(fit, k) {
			c.bad(format, "%s cannot print %s", verb, given[i])
		}
	}
}

func args0(args []parse.Node) parse.Node {
	if len(args) == 0 {
		return nil
	}
	return args[0]
}

// needs is what a template and all that it includes need: variables with the place of their first use, late values, the
// disk.
type needs struct {
	uses map[string]use
	late map[string]bool
	disk bool
}

type use struct {
	s   *source
	pos parse.Pos
}

func needsOf(s *source, sources map[string]*source) needs {
	n := needs{uses: map[string]use{}, late: map[string]bool{}}
	seen := map[string]bool{}
	var visit func(s *source)
	visit = func(s *source) {
		if s == nil || seen[s.name] {
			return
		}
		seen[s.name] = true
		for name, pos := range s.uses {
			if _, ok := n.uses[name]; !ok {
				n.uses[name] = use{s, pos}
			}
		}
		maps.Copy(n.late, s.late)
		n.disk = n.disk || s.disk
		for _, name := range slices.Sorted(maps.Keys(s.includes)) {
			visit(sources[name])
		}
	}
	visit(s)
	return n
}
