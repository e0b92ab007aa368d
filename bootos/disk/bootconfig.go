package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

// bootEntry is one kernel that a boot loader offers.
type bootEntry struct {
	title, id string
	kernel    string
	initrds   []string
	cmdline   string
	submenu   []bootEntry // set for a submenu
	err       error       // it is there, and cannot be used
}

// defaultEntry finds a boot loader's configuration and the entry that it boots without a person. config is its path.
// It returns [fs.ErrNotExist] where there is none.
func defaultEntry(s fileSystem) (e bootEntry, config string, err error) {
	for _, dir := range []string{"boot/grub", "grub", "boot/grub2", "grub2"} {
		config = "/" + dir + "/grub.cfg"
		text, err := s.ReadFile(config, maxConfigBytes)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return e, config, err
		}
		env := map[string]string{}
		if block, err := s.ReadFile(dir+"/grubenv", maxConfigBytes); err == nil {
			env = parseGrubenv(string(block))
		}
		menu, err := parseGrub(string(text), env)
		if err != nil {
			return e, config, err
		}
		if menu.bls {
			entries, dir, err := readBLS(s, menu.vars)
			if err == nil {
				e, err = chooseBLS(entries, env["saved_entry"])
				return e, dir, err
			}
			if !errors.Is(err, fs.ErrNotExist) {
				return e, dir, err
			}
		}
		e, err = menu.choose()
		return e, config, err
	}
	entries, dir, err := readBLS(s, nil)
	if err != nil {
		return e, dir, err
	}
	e, err = chooseBLS(entries, "")
	return e, dir, err
}

// readBLS reads type 1 entries of the boot loader specification
// (https://uapi-group.org/specifications/specs/boot_loader_specification/).
func readBLS(s fileSystem, vars map[string]string) ([]bootEntry, string, error) {
	for _, dir := range []string{"loader/entries", "boot/loader/entries"} {
		names, err := s.List(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, "/" + dir, err
		}
		var entries []bootEntry
		for _, name := range names {
			id, ok := strings.CutSuffix(name, ".conf")
			if !ok {
				continue
			}
			text, err := s.ReadFile(dir+"/"+name, maxConfigBytes)
			if err != nil {
				return nil, "/" + dir, err
			}
			e, err := parseBLS(string(text), vars)
			if err != nil {
				return nil, "/" + dir, fmt.Errorf("%s: %w", name, err)
			}
			e.id = id
			entries = append(entries, e)
		}
		if len(entries) > 0 {
			return entries, "/" + dir, nil
		}
	}
	return nil, "", fs.ErrNotExist
}

// parseBLS reads one entry. Variables are those of GRUB's blscfg; unknown ones are empty, as there.
func parseBLS(text string, vars map[string]string) (bootEntry, error) {
	var e bootEntry
	var options []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		i := strings.IndexAny(line, " \t")
		if i < 0 {
			continue
		}
		key, value := line[:i], strings.TrimSpace(line[i:])
		switch key {
		case "title":
			e.title = value
		case "linux":
			e.kernel = value
		case "initrd":
			e.initrds = append(e.initrds, strings.Fields(expand(value, vars))...)
		case "options":
			options = append(options, expand(value, vars))
		}
	}
	if e.kernel == "" {
		return e, errors.New("entry without a kernel")
	}
	e.cmdline = strings.Join(strings.Fields(strings.Join(options, " ")), " ")
	return e, nil
}

// chooseBLS takes the wanted entry, else the newest by name, rescue kernels last.
func chooseBLS(entries []bootEntry, want string) (bootEntry, error) {
	if len(entries) == 0 {
		return bootEntry{}, errors.New("no entries")
	}
	for _, e := range entries {
		if want != "" && (e.id == want || e.title == want) {
			return e, nil
		}
	}
	return slices.MaxFunc(entries, func(a, b bootEntry) int {
		ar, br := strings.Contains(a.id, "rescue"), strings.Contains(b.id, "rescue")
		if ar != br {
			if ar {
				return -1
			}
			return 1
		}
		return compareVersions(a.id, b.id)
	}), nil
}

// compareVersions orders numbers in names by value: 6.10 comes after 6.9.
func compareVersions(a, b string) int {
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	for a != "" && b != "" {
		if digit(a[0]) && digit(b[0]) {
			i, j := 0, 0
			for i < len(a) && digit(a[i]) {
				i++
			}
			for j < len(b) && digit(b[j]) {
				j++
			}
			x, y := strings.TrimLeft(a[:i], "0"), strings.TrimLeft(b[:j], "0")
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			a, b = a[i:], b[j:]
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

// parseGrubenv reads GRUB's environment block.
func parseGrubenv(text string) map[string]string {
	env := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimRight(line, "\n"), "="); ok && !strings.HasPrefix(line, "#") {
			env[key] = value
		}
	}
	return env
}

// grubMenu is what a grub.cfg offers.
type grubMenu struct {
	entries []bootEntry
	vars    map[string]string
	bls     bool
}

// parseGrub reads the part of GRUB's language that configurations of distributions use. Conditions are not evaluated:
// the first of several assignments to default that is not about next_entry or saved_entry counts, and an entry with
// two kernels is an error when it would be chosen.
func parseGrub(text string, env map[string]string) (*grubMenu, error) {
	words, err := grubWords(text)
	if err != nil {
		return nil, err
	}
	m := &grubMenu{vars: map[string]string{}}
	for k, v := range env {
		m.vars[k] = v
	}
	rest, err := m.block(words, &m.entries, nil, 0)
	if err != nil {
		return nil, err
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("line %d: a brace too many", rest[0].line)
	}
	return m, nil
}

// word is one of a command's words, or one of the separators newline, { and }.
type word struct {
	text string
	sep  bool
	line int
	// raw words were in single quotes: no variables.
	parts []wordPart
}

type wordPart struct {
	text string
	raw  bool
}

func grubWords(s string) ([]word, error) {
	var out []word
	line := 1
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c == '\n' || c == ';':
			out = append(out, word{text: "\n", sep: true, line: line})
			if c == '\n' {
				line++
			}
			i++
		case c == ' ' || c == '\t' || c == '\r':
			i++
		case c == '#':
			for i < len(s) && s[i] != '\n' {
				i++
			}
		case (c == '{' || c == '}') && (i+1 == len(s) || strings.IndexByte(" \t\r\n;", s[i+1]) >= 0):
			out = append(out, word{text: string(c), sep: true, line: line})
			i++
		default:
			w := word{line: line}
			for i < len(s) && strings.IndexByte(" \t\r\n;", s[i]) < 0 {
				switch s[i] {
				case '\'', '"':
					quote, start := s[i], i+1
					var b strings.Builder
					for i++; ; i++ {
						if i >= len(s) {
							return nil, fmt.Errorf("line %d: a quote that does not end", line)
						}
						if s[i] == quote {
							break
						}
						if quote == '"' && s[i] == '\\' && i+1 < len(s) && strings.IndexByte("\"\\$\n", s[i+1]) >= 0 {
							i++
						}
						b.WriteByte(s[i])
					}
					line += strings.Count(s[start:i], "\n")
					w.parts = append(w.parts, wordPart{b.String(), quote == '\''})
					i++
				case '\\':
					if i+1 < len(s) && s[i+1] == '\n' {
						line++
						i += 2
						continue
					}
					if i++; i < len(s) {
						w.parts = append(w.parts, wordPart{s[i : i+1], true})
						i++
					}
				default:
					start := i
					for i < len(s) && strings.IndexByte(" \t\r\n;'\"\\", s[i]) < 0 {
						i++
					}
					w.parts = append(w.parts, wordPart{s[start:i], false})
				}
			}
			out = append(out, w)
		}
	}
	return out, nil
}

// value expands variables.
func (w word) value(vars map[string]string) string {
	var b strings.Builder
	for _, p := range w.parts {
		if p.raw {
			b.WriteString(p.text)
		} else {
			b.WriteString(expand(p.text, vars))
		}
	}
	return b.String()
}

// expand replaces $name and ${name}; what is not set is empty.
func expand(s string, vars map[string]string) string {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String()
		}
		b.WriteString(s[:i])
		s = s[i+1:]
		if s[0] == '{' {
			end := strings.IndexByte(s, '}')
			if end < 0 {
				return b.String()
			}
			b.WriteString(vars[s[1:end]])
			s = s[end+1:]
			continue
		}
		end := 0
		for end < len(s) && (s[end] == '_' || s[end] >= '0' && s[end] <= '9' || s[end] >= 'a' && s[end] <= 'z' || s[end] >= 'A' && s[end] <= 'Z') {
			end++
		}
		if end == 0 {
			b.WriteByte('$')
		}
		b.WriteString(vars[s[:end]])
		s = s[end:]
	}
}

// block reads commands up to the brace that ends it. menu takes entries, entry the commands of an entry.
func (m *grubMenu) block(words []word, menu *[]bootEntry, entry *bootEntry, depth int) ([]word, error) {
	if depth > 16 {
		return nil, errors.New("braces more than 16 deep")
	}
	for len(words) > 0 {
		if words[0].sep {
			switch words[0].text {
			case "}":
				return words, nil
			case "{":
				rest, err := m.block(words[1:], menu, entry, depth+1)
				if err != nil {
					return nil, err
				}
				if len(rest) == 0 {
					return nil, fmt.Errorf("line %d: a brace that is never closed", words[0].line)
				}
				words = rest[1:]
			default:
				words = words[1:]
			}
			continue
		}
		n := 0
		for n < len(words) && !words[n].sep {
			n++
		}
		command := words[:n]
		words = words[n:]
		opens := len(words) > 0 && words[0].text == "{" && words[0].sep
		name := command[0].value(nil)
		for slices.Contains([]string{"then", "else", "do"}, name) && len(command) > 1 {
			command = command[1:]
			name = command[0].value(nil)
		}
		switch {
		case (name == "menuentry" || name == "submenu") && opens:
			e := bootEntry{title: "untitled"}
			if len(command) > 1 {
				e.title = command[1].value(m.vars)
			}
			for i := 2; i+1 < len(command); i++ {
				// grub-mkconfig writes a variable for --id, in case GRUB is too old for it.
				if p := command[i].parts; len(p) == 1 && (p[0].text == "--id" || p[0].text == "$menuentry_id_option") {
					e.id = command[i+1].value(m.vars)
				}
			}
			inner, into := &e, &[]bootEntry{}
			if name == "submenu" {
				inner = nil
			}
			rest, err := m.block(words[1:], into, inner, depth+1)
			if err != nil {
				return nil, err
			}
			if len(rest) == 0 {
				return nil, fmt.Errorf("line %d: %s %q is never closed", command[0].line, name, e.title)
			}
			words = rest[1:]
			if name == "submenu" {
				e.submenu = *into
			}
			*menu = append(*menu, e)
		case name == "function" && opens:
			rest, err := m.block(words[1:], &[]bootEntry{}, &bootEntry{}, depth+1)
			if err != nil {
				return nil, err
			}
			if len(rest) == 0 {
				return nil, fmt.Errorf("line %d: a function that is never closed", command[0].line)
			}
			words = rest[1:]
		case name == "blscfg":
			m.bls = true
		case name == "set" && len(command) > 1:
			key, value, _ := strings.Cut(command[1].value(m.vars), "=")
			raw := ""
			for _, p := range command[1].parts {
				raw += p.text
			}
			if key == "default" {
				// "${next_entry}" and "${saved_entry}" count when they are set, and then first.
				if _, seen := m.vars["default"]; seen || strings.Contains(raw, "$") && value == "" {
					continue
				}
			}
			if m.vars[key] == "" || key != "default" {
				m.vars[key] = value
			}
		case entry != nil && slices.Contains([]string{"linux", "linux16", "linuxefi"}, name):
			if len(command) < 2 {
				return nil, fmt.Errorf("line %d: %s without a file", command[0].line, name)
			}
			file := grubPath(command[1].value(m.vars))
			var args []string
			for _, w := range command[2:] {
				// A word that is nothing but unset variables disappears.
				if v := w.value(m.vars); v != "" {
					args = append(args, v)
				}
			}
			cmdline := strings.Join(args, " ")
			if entry.kernel != "" && (entry.kernel != file || entry.cmdline != cmdline) {
				entry.err = fmt.Errorf("line %d: a second kernel in %q: which one depends on conditions that are not "+
					"evaluated", command[0].line, entry.title)
			}
			entry.kernel, entry.cmdline = file, cmdline
		case entry != nil && slices.Contains([]string{"initrd", "initrd16", "initrdefi"}, name):
			entry.initrds = nil
			for _, w := range command[1:] {
				if v := w.value(m.vars); v != "" {
					entry.initrds = append(entry.initrds, grubPath(v))
				}
			}
		}
	}
	return nil, nil
}

// grubPath strips a device: ($root)/boot/vmlinuz.
func grubPath(s string) string {
	if strings.HasPrefix(s, "(") {
		if i := strings.IndexByte(s, ')'); i >= 0 {
			s = s[i+1:]
		}
	}
	return path.Clean("/" + s)
}

// choose follows default: an index, a title or an id, with > between a submenu and its entry.
func (m *grubMenu) choose() (bootEntry, error) {
	menu := m.entries
	want := m.vars["default"]
	if want == "" {
		want = "0"
	}
	for {
		step, rest, deeper := strings.Cut(want, ">")
		found := -1
		for i, e := range menu {
			if e.title == step || e.id != "" && e.id == step {
				found = i
			}
		}
		if n, err := strconv.Atoi(step); found < 0 && err == nil && n >= 0 && n < len(menu) {
			found = n
		}
		if found < 0 {
			return bootEntry{}, fmt.Errorf("default entry %q is not among %d entries", want, len(menu))
		}
		e := menu[found]
		if e.submenu != nil {
			if menu = e.submenu; len(menu) == 0 {
				return bootEntry{}, fmt.Errorf("submenu %q is empty", e.title)
			}
			if want = rest; !deeper {
				want = "0"
			}
			continue
		}
		switch {
		case e.err != nil:
			return e, e.err
		case e.kernel == "":
			return e, fmt.Errorf("entry %q boots no Linux kernel", e.title)
		}
		return e, nil
	}
}
