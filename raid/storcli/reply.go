package storcli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// maxOutput bounds what is read of one command. 240 drives of `show all` are 700 kB.
const maxOutput = 16 << 20

// reply is what a tool said about one controller, whatever the format was.
type reply struct {
	// controller is its number, -1 where the answer is about the machine.
	controller  int
	version     string
	status      string
	description string
	// details are the rows of `Detailed Status`: one for each target.
	details []row
	// data is the answer itself: maps, lists and scalars as encoding/json has them, numbers as json.Number.
	data any
}

// row is a line of a table: column to value.
type row map[string]any

// text is a value as the tool printed it, without blanks around. `-` and N/A are values like others.
func (r row) text(names ...string) string {
	for _, name := range names {
		if v, ok := r[name]; ok {
			return scalar(v)
		}
	}
	return ""
}

// has reports whether the line has such a column.
func (r row) has(name string) bool { _, ok := r[name]; return ok }

// scalar is a value that is an int here and a string there.
func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return strings.TrimSpace(v)
	case json.Number:
		return v.String()
	case bool:
		if v {
			return "Yes"
		}
		return "No"
	}
	return ""
}

// failed reports whether the controller as a whole, or the command, was refused.
func (r *reply) failed() bool { return strings.EqualFold(r.status, "Failure") }

// words is what the tool said went wrong, for people: per target where it did.
func (r *reply) words() []string {
	var words []string
	for _, d := range r.details {
		if strings.EqualFold(d.text("Status"), "Success") {
			continue
		}
		said := d.text("ErrMsg", "Msg")
		if said == "" || said == "-" {
			said = d.text("Status")
		}
		if target := target(d); target != "" {
			said = target + ": " + said
		}
		if code := d.text("ErrCd"); code != "" && code != "-" && code != "0" {
			said += " (" + code + ")"
		}
		words = append(words, said)
	}
	if r.failed() && r.description != "" && r.description != "None" {
		words = append([]string{r.description}, words...)
	}
	if r.failed() && len(words) == 0 {
		words = append(words, "Failure")
	}
	return words
}

// target is what a row of details is about; empty for the controller itself.
func target(d row) string {
	for _, name := range []string{"Drive", "Drive-ID", "EID:Slt", "EID:Slot", "VD", "DG/VD", "VDID"} {
		if v := d.text(name); v != "" && v != "-" {
			if name == "VD" || name == "VDID" {
				return "VD " + v
			}
			return v
		}
	}
	return ""
}

// errNotUnderstood: there is no answer in what the tool printed.
var errNotUnderstood = errors.New("this is no answer of storcli or its relatives")

// readReplies reads what one command printed: JSON, or text of the same meaning.
func readReplies(out []byte) ([]reply, error) {
	if len(out) > maxOutput {
		return nil, fmt.Errorf("an answer of %d bytes; no controller has that much to say", len(out))
	}
	replies, rest, err := readDocuments(out)
	if err != nil {
		return nil, err
	}
	if replies = append(replies, readText(string(rest))...); len(replies) > 0 {
		return replies, nil
	}
	line, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	if line == "" {
		return nil, fmt.Errorf("%w: it printed nothing", errNotUnderstood)
	}
	return nil, fmt.Errorf("%w: %q", errNotUnderstood, clip(line))
}

func clip(s string) string {
	if len(s) > 120 {
		return strings.ToValidUTF8(s[:120], "") + "…"
	}
	return s
}

// readDocuments reads all JSON in what a tool printed, and returns what stands around it: notices of the tool, and the
// answers of other commands, which a person has put into one file.
func readDocuments(out []byte) (replies []reply, rest []byte, err error) {
	for {
		at := opening.FindIndex(out)
		if at == nil {
			return replies, append(rest, out...), nil
		}
		end, whole := objectEnd(out[at[0]:])
		more, err := readJSON(out[at[0] : at[0]+end])
		if err == nil && !whole {
			err = errors.New("it ends in the middle")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("the tool's JSON cannot be read: %w", err)
		}
		replies, rest, out = append(replies, more...), append(append(rest, out[:at[0]]...), '\n'), out[at[0]+end:]
	}
}

// opening is how each answer begins.
var opening = regexp.MustCompile(`\{\s*"Controllers"\s*:`)

// objectEnd is the length of the object that text starts with, and whether it is closed.
func objectEnd(text []byte) (int, bool) {
	depth, inside := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case inside && c == '\\' && i+1 < len(text) && strings.IndexByte(escaped, text[i+1]) >= 0:
			i++
		case c == '"':
			inside = !inside
		case inside:
		case c == '{':
			depth++
		case c == '}':
			if depth--; depth == 0 {
				return i + 1, true
			}
		}
	}
	return len(text), false
}

// escaped are the letters that a backslash may stand before.
const escaped = `"\/bfnrtu`

func readJSON(out []byte) ([]reply, error) {
	var document struct {
		Controllers []struct {
			Status map[string]any `json:"Command Status"`
			Data   any            `json:"Response Data"`
		}
	}
	d := json.NewDecoder(bytes.NewReader(mend(out)))
	d.UseNumber()
	if err := d.Decode(&document); err != nil {
		return nil, err
	}
	var replies []reply
	for _, c := range document.Controllers {
		if c.Status == nil {
			continue
		}
		s := row(c.Status)
		r := reply{controller: -1, version: s.text("CLI Version"), status: s.text("Status"),
			description: s.text("Description"), data: c.Data}
		if n, err := strconv.Atoi(s.text("Controller")); err == nil && n >= 0 {
			r.controller = n
		}
		r.details = rows(s["Detailed Status"])
		replies = append(replies, r)
	}
	return replies, nil
}

// mend replaces what makes the tools' JSON no JSON: control characters inside of strings, from drives whose model has
// them, and backslashes that escape nothing.
func mend(out []byte) []byte {
	fixed := make([]byte, 0, len(out))
	inside := false
	for i := 0; i < len(out); i++ {
		c := out[i]
		switch {
		case !inside:
			inside = c == '"'
		case c == '"':
			inside = false
		case c == '\\':
			if i+1 < len(out) && strings.IndexByte(escaped, out[i+1]) >= 0 {
				fixed = append(fixed, c, out[i+1])
				i++
				continue
			}
			fixed = append(fixed, c)
		case c < ' ':
			c = ' '
		}
		fixed = append(fixed, c)
	}
	return fixed
}

// rows are the lines of a table. A single line may come without the list around it.
func rows(v any) []row {
	switch v := v.(type) {
	case map[string]any:
		return []row{v}
	case []any:
		var all []row
		for _, e := range v {
			if m, ok := e.(map[string]any); ok {
				all = append(all, m)
			}
		}
		return all
	}
	return nil
}

// walk visits every named value of an answer, however deep: releases nest the same things differently. The order is
// that of the names, so that nothing depends on chance.
func walk(v any, visit func(name string, v any)) { walkTo(v, 0, visit) }

func walkTo(v any, depth int, visit func(string, any)) {
	if depth > 12 {
		return
	}
	switch v := v.(type) {
	case map[string]any:
		names := make([]string, 0, len(v))
		for name := range v {
			names = append(names, name)
		}
		sort.Strings(names)
		for _, name := range names {
			visit(strings.TrimSpace(name), v[name])
		}
		for _, name := range names {
			walkTo(v[name], depth+1, visit)
		}
	case []any:
		for _, e := range v {
			walkTo(e, depth+1, visit)
		}
	}
}
