// Package docs_test holds what the documentation says against the program: links, commands, configuration, states,
// paths, drivers, floors.
package docs_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/bootos"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/site"
)

const (
	root         = ".."
	module       = "github.com/project-loda/loda"
	readme       = "README.md"
	readmeZh     = "README.zh-CN.md"
	architecture = "docs/architecture.md"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, name))
	require.NoError(t, err)
	return string(text)
}

// pages are all Markdown files of the repository, by their path.
func pages(t *testing.T) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != root && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "bin" ||
			d.Name() == "build"):
			return fs.SkipDir
		case path.Ext(name) == ".md":
			rel, err := filepath.Rel(root, name)
			names = append(names, filepath.ToSlash(rel))
			return err
		}
		return nil
	})
	require.NoError(t, err)
	require.Subset(t, names, []string{readme, readmeZh, architecture, "CONTRIBUTING.md", "CHANGELOG.md"})
	return names
}

// block is a fenced block of code.
type block struct {
	lang, text string
}

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func blocks(text string) []block {
	var all []block
	for _, m := range fence.FindAllStringSubmatch(text, -1) {
		all = append(all, block{m[1], m[2]})
	}
	return all
}

// prose is a page without its code.
func prose(text string) string { return fence.ReplaceAllString(text, "") }

var headingLine = regexp.MustCompile(`(?m)^(#+) +(.*)$`)

// anchors are the fragments of a page's headings, as GitHub makes them.
func anchors(text string) []string {
	var all []string
	for _, m := range headingLine.FindAllStringSubmatch(prose(text), -1) {
		a := regexp.MustCompile(`[^\pL\pN _-]`).ReplaceAllString(strings.ToLower(m[2]), "")
		all = append(all, strings.ReplaceAll(a, " ", "-"))
	}
	return all
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestEveryLinkLeadsSomewhere(t *testing.T) {
	checked := 0
	for _, page := range pages(t) {
		for _, m := range link.FindAllStringSubmatch(prose(read(t, page)), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			checked++
			target, fragment, _ := strings.Cut(m[1], "#")
			to := page
			if target != "" {
				to = path.Join(path.Dir(page), target)
				_, err := os.Stat(filepath.Join(root, to))
				require.NoError(t, err, "%s links to %s", page, m[1])
			}
			if fragment != "" {
				require.Contains(t, anchors(read(t, to)), fragment, "%s links to %s", page, m[1])
			}
		}
	}
	require.Greater(t, checked, 40)
}

// shell returns the commands in a page's sh blocks, as words, without what stands in front of them: sudo, env,
// assignments. Its shell knows words, quotes, comments and pipes, which is all that documentation should need.
func shell(t *testing.T, text string) [][]string {
	t.Helper()
	var all [][]string
	for _, b := range blocks(text) {
		if b.lang != "sh" {
			continue
		}
		for _, line := range strings.Split(strings.ReplaceAll(b.text, "\\\n", " "), "\n") {
			var words []string
			end := func() {
				for len(words) > 0 && (words[0] == "sudo" || words[0] == "env" || strings.Contains(words[0], "=")) {
					words = words[1:]
				}
				if len(words) > 0 {
					all = append(all, words)
				}
				words = nil
			}
			for _, word := range wordForm.FindAllString(line, -1) {
				if word[0] == '#' {
					break
				}
				if word == "|" || word == "&&" || word == ";" {
					end()
					continue
				}
				words = append(words, strings.NewReplacer(`"`, "", `'`, "").Replace(word))
			}
			end()
		}
	}
	return all
}

var wordForm = regexp.MustCompile(`(?:"[^"]*"|'[^']*'|[^\s"'])+`)

// command is what the help of one command of lodad says.
type command struct {
	usage    string
	children map[string]bool
	// flags by name with their dashes; true if the flag takes a value.
	flags map[string]bool
}

var (
	flagLine  = regexp.MustCompile(`^\s+(?:(-\w), )?\s*(--[\w-]+)( [^\s\[]+)?(?:\[=.*?\])?(?:\s|$)`)
	childLine = regexp.MustCompile(`^  ([a-z][\w-]*) +\S`)
)

func parseHelp(text string) command {
	c := command{children: map[string]bool{}, flags: map[string]bool{}}
	section := ""
	for _, line := range strings.Split(text, "\n") {
		if line != "" && line[0] != ' ' {
			section = line
			continue
		}
		switch section {
		case "Usage:":
			if c.usage == "" {
				c.usage = strings.TrimSpace(line)
			}
		case "Available Commands:":
			if m := childLine.FindStringSubmatch(line); m != nil {
				c.children[m[1]] = true
			}
		case "Flags:", "Global Flags:":
			if m := flagLine.FindStringSubmatch(line); m != nil {
				takes := m[3] != "" && !strings.Contains(line, m[2]+m[3]+"[=")
				c.flags[m[2]] = takes
				if m[1] != "" {
					c.flags[m[1]] = takes
				}
			}
		}
	}
	return c
}

// lodad asks a built lodad about its commands.
type lodad struct {
	t       *testing.T
	program string
	known   map[string]command
}

var scratch string

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "loda-docs-"); err != nil {
		panic(err)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// built is the output of building lodad into scratch, once.
var built = sync.OnceValues(func() ([]byte, error) {
	return exec.Command("go", "build", "-o", filepath.Join(scratch, "lodad"), module+"/lodad").CombinedOutput()
})

func build(t *testing.T) *lodad {
	t.Helper()
	out, err := built()
	require.NoError(t, err, string(out))
	return &lodad{t, filepath.Join(scratch, "lodad"), map[string]command{}}
}

func (l *lodad) help(names ...string) command {
	l.t.Helper()
	id := strings.Join(names, " ")
	if c, ok := l.known[id]; ok {
		return c
	}
	out, err := exec.Command(l.program, append(slices.Clone(names), "--help")...).CombinedOutput()
	require.NoError(l.t, err, string(out))
	c := parseHelp(string(out))
	require.NotEmpty(l.t, c.flags, "help of lodad %s", id)
	l.known[id] = c
	return c
}

// check says what is wrong with the arguments of a lodad, or nothing.
func (l *lodad) check(args []string) string {
	l.t.Helper()
	var names, rest []string
	var flags []string
	c := l.help()
	for i := 0; i < len(args); i++ {
		word := args[i]
		if word == ">" || word == "2>" || word == "&" {
			break
		}
		if strings.HasPrefix(word, "-") && word != "-" {
			name, _, inline := strings.Cut(word, "=")
			flags = append(flags, name)
			// Where a flag stands before its command, only that command may know it.
			takes := c.flags[name]
			if takes && !inline {
				if i++; i == len(args) {
					return name + " has no value"
				}
			}
			continue
		}
		switch {
		case len(rest) == 0 && c.children[word]:
			names = append(names, word)
			c = l.help(names...)
		case len(c.children) > 0:
			return "there is no command " + strings.Join(append(names, word), " ")
		default:
			rest = append(rest, word)
		}
	}
	for _, name := range flags {
		if _, ok := c.flags[name]; !ok {
			return "lodad " + strings.Join(names, " ") + " has no flag " + name
		}
	}
	if len(names) == 0 && len(rest) == 0 && len(flags) == 0 || len(c.children) > 0 && !slices.Contains(flags, "--help") {
		return "it is not a whole command"
	}
	return checkArguments(c.usage, len(names), len(rest))
}

// checkArguments holds the number of arguments against a usage line such as `lodad config init [FILE] [flags]`.
func checkArguments(usage string, depth, n int) string {
	least, most := 0, 0
	for _, word := range strings.Fields(usage)[1+depth:] {
		switch {
		case word == "[flags]":
		case strings.HasSuffix(word, "..."):
			least, most = least+1, 1<<20
		case strings.HasPrefix(word, "[") && strings.HasSuffix(word, "...]"):
			most = 1 << 20
		case strings.HasPrefix(word, "["):
			most++
		default:
			least, most = least+1, most+1
		}
	}
	if n < least || n > most {
		return strconv.Itoa(n) + " arguments do not fit: " + usage
	}
	return ""
}

func TestEveryCommandCanBeTyped(t *testing.T) {
	l := build(t)
	targets := regexp.MustCompile(`(?m)^([a-z-]+):`).FindAllStringSubmatch(read(t, "Makefile"), -1)
	makes := map[string]bool{}
	for _, m := range targets {
		makes[m[1]] = true
	}
	count := map[string]int{}
	for _, page := range pages(t) {
		for _, words := range shell(t, read(t, page)) {
			said := page + ": " + strings.Join(words, " ")
			count[path.Base(words[0])]++
			switch name := words[0]; {
			case path.Base(name) == "lodad":
				require.Empty(t, l.check(words[1:]), said)
			case name == "make":
				for _, target := range words[1:] {
					require.True(t, makes[target], "%s: make %s", said, target)
				}
			case strings.HasPrefix(name, "scripts/"):
				_, err := os.Stat(filepath.Join(root, name))
				require.NoError(t, err, said)
			case name == "go" && words[1] == "test":
				checkGoTest(t, said, words[2:])
			}
		}
	}
	require.Greater(t, count["lodad"], 30)
	require.Greater(t, count["make"], 5)
	require.Greater(t, count["go"], 3)
}

// checkGoTest wants packages and tests that exist.
func checkGoTest(t *testing.T, said string, words []string) {
	t.Helper()
	for i, word := range words {
		if strings.HasPrefix(word, "./") && word != "./..." {
			_, err := os.Stat(filepath.Join(root, word))
			require.NoError(t, err, said)
			continue
		}
		if word != "-run" && word != "-fuzz" || words[i+1] == "^$" {
			continue
		}
		files, err := filepath.Glob(filepath.Join(root, words[0], "*_test.go"))
		require.NoError(t, err)
		require.True(t, slices.ContainsFunc(files, func(file string) bool {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			return strings.Contains(string(text), "\nfunc "+words[i+1]+"(")
		}), "%s: there is no %s in %s", said, words[i+1], words[0])
	}
}

func TestTheCheckOfCommandsSeesMistakes(t *testing.T) {
	l := build(t)
	for _, good := range []string{"serve", "status --watch", "status --until-done", "-c x.yaml machine list -o json", "config init",
		"machine retry A B", "timeline A --last 5 -f", "lab up --machines 2"} {
		require.Empty(t, l.check(strings.Fields(good)), good)
	}
	for _, bad := range []string{"", "sevre", "machine", "machine lst", "status --wach", "timeline", "timeline A B",
		"machine retry", "config init a b", "timeline A --last"} {
		require.NotEmpty(t, l.check(strings.Fields(bad)), bad)
	}
	require.Equal(t, [][]string{{"lodad", "a", "b c"}, {"tee", "x"}, {"make", "demo"}},
		shell(t, "```sh\nsudo env \"PATH=$PATH\" A=b lodad a \"b c\" | tee x # why\nmake \\\n  demo\n```\n```text\nlodad no\n```\n"))
}

func TestConfigurationsInTheDocumentationAreValid(t *testing.T) {
	l := build(t)
	checked := 0
	for _, page := range pages(t) {
		for _, b := range blocks(read(t, page)) {
			if b.lang != "yaml" {
				continue
			}
			checked++
			file := filepath.Join(t.TempDir(), "lodad.yaml")
			require.NoError(t, os.WriteFile(file, []byte(b.text), 0o600))
			cmd := exec.Command(l.program, "config", "verify", "--config", file)
			cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "LODA_") })
			out, err := cmd.CombinedOutput()
			require.NoError(t, err, "%s: %s", page, out)
		}
	}
	require.GreaterOrEqual(t, checked, 2)
}

func TestMachineListsInTheDocumentationAreValid(t *testing.T) {
	checked := 0
	for _, page := range pages(t) {
		for _, b := range blocks(read(t, page)) {
			if b.lang == "csv" {
				checked++
				_, _, err := loda.ParseCSV(strings.NewReader(b.text))
				require.NoError(t, err, page)
			}
		}
	}
	require.GreaterOrEqual(t, checked, 2)
}

// rows returns the cells of the table whose header begins with the given cell.
func rows(t *testing.T, text, first string) [][]string {
	t.Helper()
	var found [][]string
	inside := false
	for _, line := range strings.Split(prose(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case cells[0] == first:
			inside = true
		case inside && !strings.HasPrefix(cells[0], "---"):
			found = append(found, cells)
		}
	}
	require.NotEmpty(t, found, "table of %s", first)
	return found
}

var quoted = regexp.MustCompile("`([^`]+)`")

func names(text string) []string {
	var all []string
	for _, m := range quoted.FindAllStringSubmatch(text, -1) {
		all = append(all, m[1])
	}
	return all
}

func TestArchitectureNamesAllStates(t *testing.T) {
	page := read(t, architecture)
	var want, got []string
	for _, s := range inventory.States {
		want = append(want, string(s))
	}
	for _, row := range rows(t, page, "state") {
		if len(row) == 4 { // the other table of states says what happens when something dies
			got = append(got, names(row[0])...)
		}
	}
	require.Equal(t, want, got)

	drawing := ""
	for _, b := range blocks(page) {
		if strings.Contains(b.text, "quarantined") {
			drawing = b.text
		}
	}
	for _, s := range want {
		require.Regexp(t, `\b`+s+`\b`, drawing, "the drawing of states")
	}
}

func TestArchitectureShowsTheDeadlines(t *testing.T) {
	now := time.Now()
	reach := map[inventory.State]loda.Trigger{inventory.Netbooting: loda.ScriptGiven, inventory.Detecting: loda.DetectStarted,
		inventory.Comparing: loda.CompareStarted, inventory.Configuring: loda.ConfigureStarted,
		inventory.Installing: loda.InstallStarted, inventory.Finishing: loda.WrittenToDisk}
	before := map[inventory.State]inventory.State{inventory.Netbooting: inventory.Queued, inventory.Detecting: inventory.Netbooting,
		inventory.Comparing: inventory.Detecting, inventory.Configuring: inventory.Comparing,
		inventory.Installing: inventory.Comparing, inventory.Finishing: inventory.Installing}
	for _, row := range rows(t, read(t, architecture), "state") {
		if len(row) != 4 {
			continue
		}
		state, want := inventory.State(names(row[0])[0]), ""
		if trigger, ok := reach[state]; ok {
			inst := inventory.Installation{State: before[state]}
			_, err := loda.Transition(&inst, trigger, "", now, loda.Deadlines{})
			require.NoError(t, err)
			want = strconv.Itoa(int(inst.Deadline.Sub(now).Minutes())) + " min"
		}
		require.Equal(t, want, row[3], state)
	}
}

// triggers are the constants of type Trigger in the source.
func triggers(t *testing.T) []loda.Trigger {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "loda/lifecycle.go"), nil, 0)
	require.NoError(t, err)
	var all []loda.Trigger
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if id, ok := spec.Type.(*ast.Ident); ok && id.Name == "Trigger" {
			text, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			require.NoError(t, err)
			all = append(all, loda.Trigger(text))
		}
		return true
	})
	require.NotEmpty(t, all)
	return all
}

func TestArchitectureHasTheWholeTableOfTransitions(t *testing.T) {
	said := map[string]string{}
	for _, row := range rows(t, read(t, architecture), "trigger") {
		from, to, ok := strings.Cut(row[1], "→")
		require.True(t, ok, row)
		for _, s := range names(from) {
			said[row[0]+": "+s] = names(to)[0]
		}
	}
	real := map[string]string{}
	for _, trigger := range triggers(t) {
		for _, state := range inventory.States {
			inst := inventory.Installation{State: state}
			if _, err := loda.Transition(&inst, trigger, "", time.Now(), loda.Deadlines{}); err == nil {
				real[string(trigger)+": "+string(state)] = string(inst.State)
			}
		}
	}
	require.Equal(t, real, said)
}

func TestArchitectureHasEveryPathOfTheAgentAndTheBootServer(t *testing.T) {
	var sequence string
	for _, b := range blocks(read(t, architecture)) {
		if strings.Contains(b.text, "power on") {
			sequence = b.text
		}
	}
	for _, p := range []string{agentapi.PathSession, agentapi.PathAction, agentapi.PathProgress, agentapi.PathResult,
		agentapi.PathLog, agentapi.PathInstalled, loda.ImagePath, "/boot/ipxe", "/boot/script", "/boot/snponly.efi",
		"/artifacts/bootos/" + bootos.KernelFile, "/artifacts/bootos/" + bootos.InitramfsFile} {
		whole := regexp.QuoteMeta(p) + `[\s?]`
		if strings.HasSuffix(p, "/") {
			whole = regexp.QuoteMeta(p)
		}
		require.Regexp(t, whole, sequence)
	}
}

func TestArchitectureHasTheDirectoriesOfASite(t *testing.T) {
	dir := site.Layout(t.TempDir())
	require.NoError(t, dir.Make())
	var want []string
	require.NoError(t, filepath.WalkDir(string(dir), func(name string, d fs.DirEntry, err error) error {
		if err == nil && name != string(dir) {
			rel, _ := filepath.Rel(string(dir), name)
			want = append(want, filepath.ToSlash(rel)+"/")
		}
		return err
	}))
	var got []string
	for _, row := range rows(t, read(t, architecture), "path") {
		if name := names(row[0])[0]; strings.HasSuffix(name, "/") {
			got = append(got, name)
		}
	}
	require.ElementsMatch(t, want, got)
}

// between is what stands between two HTML comments.
func between(t *testing.T, text, marker string) string {
	t.Helper()
	_, rest, ok := strings.Cut(text, "<!-- "+marker+":begin -->")
	require.True(t, ok, marker)
	inside, _, ok := strings.Cut(rest, "<!-- "+marker+":end -->")
	require.True(t, ok, marker)
	return inside
}

func TestREADMEListsTheDefaultDrivers(t *testing.T) {
	for _, page := range []string{readme, readmeZh} {
		require.ElementsMatch(t, bootos.DefaultDrivers(), names(between(t, read(t, page), "drivers")), page)
	}
}

func TestChineseREADMEFollowsTheEnglishOne(t *testing.T) {
	english, chinese := read(t, readme), read(t, readmeZh)
	levels := func(text string) []int {
		var all []int
		for _, m := range headingLine.FindAllStringSubmatch(prose(text), -1) {
			all = append(all, len(m[1]))
		}
		return all
	}
	require.Equal(t, levels(english), levels(chinese), "headings")
	comment := regexp.MustCompile(`(?m)\s+#.*$`)
	code := func(text string) []block {
		all := blocks(text)
		for i := range all {
			all[i].text = comment.ReplaceAllString(all[i].text, "")
		}
		return all
	}
	require.Equal(t, code(english), code(chinese), "code, without comments")
	tables := func(text string) int { return strings.Count(prose(text), "\n|") }
	require.Equal(t, tables(english), tables(chinese), "rows of tables")
}

func TestPagesBeginWithTheirTitleAndHaveNoTabs(t *testing.T) {
	for _, page := range pages(t) {
		require.True(t, strings.HasPrefix(read(t, page), "# "), "%s begins with its title", page)
		require.NotContains(t, read(t, page), "\t", "%s is written with spaces", page)
	}
}

func TestImportsOnlyPointDownwards(t *testing.T) {
	floors := func(page, column string) map[string]int {
		floor := map[string]int{}
		for _, row := range rows(t, read(t, page), column) {
			n, err := strconv.Atoi(row[0])
			require.NoError(t, err)
			name := strings.Trim(row[1], "`")
			if m := regexp.MustCompile(`^\[([a-z]+)\]`).FindStringSubmatch(row[1]); m != nil {
				name = m[1]
			}
			floor[name] = n
		}
		return floor
	}
	floor := floors(architecture, "floor")
	require.Equal(t, floor, floors(readme, "floor"))
	require.Equal(t, floor, floors(readmeZh, "层"))

	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	require.NoError(t, err)
	top := func(importPath string) string {
		name, _, _ := strings.Cut(strings.TrimPrefix(importPath, module+"/"), "/")
		return name
	}
	seen := map[string]bool{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p struct {
			ImportPath string
			Imports    []string
		}
		require.NoError(t, dec.Decode(&p))
		from := top(p.ImportPath)
		if p.ImportPath == module || from == "scripts" || from == "docs" {
			continue
		}
		require.Contains(t, floor, from, "%s is in no table of floors", p.ImportPath)
		seen[from] = true
		for _, i := range p.Imports {
			if to := top(i); strings.HasPrefix(i, module+"/") && to != from && !(from == "raid" && to == "hw") {
				require.Less(t, floor[to], floor[from], "%s imports %s", p.ImportPath, i)
			}
		}
	}
	for name := range floor {
		require.True(t, seen[name], "%s is on a floor and does not exist", name)
	}
}
