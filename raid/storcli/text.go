package storcli

import (
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
)

// Text has sections (a title with ` :`, underlined), lines `name = value`, and tables between lines of dashes. It
// becomes what the same tool's JSON would have been, flat: section to its lines or its table.

var (
	statusLine = regexp.MustCompile(`^Status = (\w+)\s*$`)
	dashes     = regexp.MustCompile(`^-{5,}\s*$`)
)

// counts stand between sections, and belong to none.
var counts = []string{"Drive Groups", "Virtual Drives", "Physical Drives", "JBOD Drives", "Enclosures",
	"Total foreign Drive Groups", "Total foreign drive groups", "Total Foreign PDs", "Total Locked Foreign PDs",
	"Number of Controllers", "Controller Count"}

// twoWords are names of columns with blanks inside. They are kept together by a character that no tool prints.
var twoWords = []string{"LU/NS Count", "Next Learn", "Adv S/W Opt", "Time Remaining", "Estimated Time Left",
	"SAS address", "PCI Address", "Product Name"}

func readText(out string) []reply {
	lines := strings.Split(strings.ReplaceAll(out, "\r", ""), "\n")
	var replies []reply
	var starts []int
	for i, line := range lines {
		if statusLine.MatchString(line) && opensReply(lines, i) {
			starts = append(starts, i)
		}
	}
	for n, start := range starts {
		head := start
		for head > 0 && isHead(lines[head-1]) {
			head--
		}
		end := len(lines)
		if n+1 < len(starts) {
			end = starts[n+1]
			for end > start && isHead(lines[end-1]) {
				end--
			}
		}
		replies = append(replies, readReply(lines[head:start], lines[start:end]))
	}
	return replies
}

// opensReply tells the status of a command from a line `Status = …` in a section: one stands under the others of the
// head, and a description follows.
func opensReply(lines []string, i int) bool {
	return i > 0 && isHead(lines[i-1]) && i+1 < len(lines) && strings.HasPrefix(lines[i+1], "Description =")
}

func isHead(line string) bool {
	name, _, found := strings.Cut(line, " =")
	switch name {
	case "Controller", "CLI Version", "Operating system", "Status Code":
		return found
	}
	return false
}

func readReply(head, body []string) reply {
	r := reply{controller: -1}
	for _, line := range head {
		name, value := keyValue(line)
		switch name {
		case "Controller":
			if n, err := strconv.Atoi(value); err == nil && n >= 0 {
				r.controller = n
			}
		case "CLI Version":
			r.version = value
		}
	}
	data := map[string]any{}
	section, last := "", ""
	for i := 0; i < len(body); i++ {
		line := strings.TrimRight(body[i], " \t")
		switch {
		case line == "":
			last = ""
		case i+1 < len(body) && strings.HasSuffix(line, ":") && strings.HasPrefix(body[i+1], "=="):
			section, last = strings.TrimSpace(strings.TrimSuffix(line, ":")), ""
			i++
		case dashes.MatchString(line):
			table, next := readTable(body, i)
			if next == i {
				continue
			}
			i = next
			list, _ := data[section].([]any)
			if list == nil && data[section] != nil {
				// A table in a section of lines, such as Port Information, is of no use here.
				continue
			}
			data[section] = append(list, table...)
		case strings.Contains(line, " ="):
			name, value := keyValue(line)
			if section == "" {
				switch name {
				case "Status":
					r.status = value
					continue
				case "Description":
					r.description = value
					continue
				}
			}
			in := section
			for _, c := range counts {
				if name == c {
					in = ""
				}
			}
			set(data, in, name, value)
			last = name
		case last != "" && !strings.HasSuffix(line, ":"):
			// A long value goes on in the next line.
			if m, ok := data[section].(map[string]any); ok && section != "" {
				m[last] = scalar(m[last]) + " " + strings.TrimSpace(line)
			}
		}
	}
	r.details = rows(data["Detailed Status"])
	delete(data, "Detailed Status")
	r.data = data
	return r
}

func set(data map[string]any, section, name, value string) {
	var v any = value
	if section == "" {
		if _, err := strconv.ParseInt(value, 10, 64); err == nil {
			v = json.Number(value)
		}
		if _, there := data[name]; !there {
			data[name] = v
		}
		return
	}
	m, ok := data[section].(map[string]any)
	if !ok {
		if data[section] != nil {
			return
		}
		m = map[string]any{}
		data[section] = m
	}
	if _, there := m[name]; !there {
		m[name] = v
	}
}

func keyValue(line string) (name, value string) {
	name, value, _ = strings.Cut(line, "=")
	return strings.TrimSpace(name), strings.TrimSpace(value)
}

// readTable reads a table that begins at body[at], a line of dashes, and returns the index of its last line. If it is
// none, that is at.
func readTable(body []string, at int) ([]any, int) {
	if at+2 >= len(body) || !dashes.MatchString(body[at+2]) {
		return nil, at
	}
	header := body[at+1]
	end := at + 3
	for end < len(body) && !dashes.MatchString(body[end]) {
		if strings.TrimSpace(body[end]) == "" {
			return nil, at
		}
		end++
	}
	if end == len(body) {
		return nil, at
	}
	for _, name := range twoWords {
		header = strings.ReplaceAll(header, name, strings.ReplaceAll(name, " ", "\x00"))
	}
	lines := body[at+3 : end]
	columns, aligned := layOut(header, lines)
	var table []any
	for _, line := range lines {
		var r map[string]any
		if aligned {
			r = cut(line, columns)
		} else {
			r = deal(strings.Fields(header), strings.Fields(line))
		}
		if r != nil {
			table = append(table, withBlanks(r))
		}
	}
	return table, end
}

func withBlanks(r map[string]any) map[string]any {
	for name, v := range r {
		if plain := strings.ReplaceAll(name, "\x00", " "); plain != name {
			delete(r, name)
			r[plain] = v
		}
	}
	return r
}

// column is a vertical stripe of a table.
type column struct {
	name       string
	from, upto int
}

// layOut finds the columns: a stripe of blanks through header and all lines parts two of them. Values have blanks
// inside (`1.0 TB`, `Samsung SSD 850`), and some are aligned left, others right, so that the header alone does not
// tell. False means that the lines are not laid out by it, as in what went through an editor or a mail.
func layOut(header string, lines []string) ([]column, bool) {
	width := len(header)
	for _, l := range lines {
		width = max(width, len(l))
	}
	blank := func(at int) bool {
		if at < len(header) && header[at] != ' ' {
			return false
		}
		for _, l := range lines {
			if at < len(l) && l[at] != ' ' {
				return false
			}
		}
		return true
	}
	var columns []column
	for at := 0; at < width; {
		if blank(at) {
			at++
			continue
		}
		upto := at
		for upto < width && !blank(upto) {
			upto++
		}
		title := ""
		if at < len(header) {
			title = header[at:min(upto, len(header))]
		}
		names := strings.Fields(title)
		switch {
		case len(names) == 0 && len(columns) > 0:
			// Blank in every line, but one value: the model of all drives has several words.
			columns[len(columns)-1].upto = upto
		case len(names) != 1 || title[0] == ' ' && len(strings.TrimRight(title, " ")) != upto-at:
			return nil, false
		default:
			columns = append(columns, column{names[0], at, upto})
		}
		at = upto
	}
	return columns, len(columns) > 0
}

func cut(line string, columns []column) map[string]any {
	r := map[string]any{}
	for _, c := range columns {
		r[c.name] = ""
		if c.from < len(line) {
			r[c.name] = strings.TrimSpace(line[c.from:min(c.upto, len(line))])
		}
	}
	return r
}

// deal gives words to names by their order: those before the one column whose value is free text from the left, those
// after it from the right. It returns nil if they do not come out even.
func deal(names, words []string) map[string]any {
	words = joinSizes(words)
	free := -1
	for i, name := range names {
		if name == "Model" || name == "Name" || name == "ErrMsg" {
			free = i
		}
	}
	extra := len(words) - len(names)
	if extra != 0 && (free < 0 || extra < -1) {
		return nil
	}
	r := map[string]any{}
	for i, name := range names {
		switch {
		case free < 0 || i < free:
			r[name] = words[i]
		case i == free:
			r[name] = strings.Join(words[i:i+1+extra], " ")
		default:
			r[name] = words[i+extra]
		}
	}
	return r
}

// joinSizes puts number and unit together again.
func joinSizes(words []string) []string {
	var joined []string
	for _, w := range words {
		if _, ok := units[w]; ok && len(joined) > 0 {
			joined[len(joined)-1] += " " + w
			continue
		}
		joined = append(joined, w)
	}
	return joined
}
