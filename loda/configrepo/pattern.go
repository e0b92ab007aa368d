package configrepo

import (
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A Pattern is an exact text or a glob: * stands for any number of characters, ? for one, a backslash takes the meaning
// from what follows it. Patterns are compared without regard to case and to blanks around: firmware of one make spells
// its vendor in three ways.
type Pattern struct {
	text string
	// parts are the characters in lower case, with anyRun and anyOne among them.
	parts []rune
}

const (
	anyRun rune = -1
	anyOne rune = -2
)

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// MarshalText writes [Pattern.String].
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

const maxPattern = 256

// UnmarshalText reads a pattern.
func (p *Pattern) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	switch {
	case s == "":
		return errors.New("is empty; want a text, or * for any")
	case len(s) > maxPattern:
		return errors.New("is longer than 256 bytes")
	}
	var parts []rune
	escaped := false
	for _, r := range s {
		switch {
		case escaped:
			parts, escaped = append(parts, unicode.ToLower(r)), false
		case r == '\\':
			escaped = true
		case r == '*':
			if len(parts) == 0 || parts[len(parts)-1] != anyRun {
				parts = append(parts, anyRun)
			}
		case r == '?':
			parts = append(parts, anyOne)
		default:
			parts = append(parts, unicode.ToLower(r))
		}
	}
	if escaped {
		return errors.New(`ends in a backslash; a backslash itself is written \\`)
	}
	*p = Pattern{s, parts}
	return nil
}

// Match says whether a text is what the pattern means. Nothing is matched by an empty text, which stands for what is
// not known.
func (p Pattern) Match(text string) bool {
	text = strings.TrimSpace(text)
	if text == "" {
		return false
	}
	// Most patterns differ in the first letter already.
	if first, _ := utf8.DecodeRuneInString(text); len(p.parts) == 0 || p.parts[0] >= 0 &&
		p.parts[0] != unicode.ToLower(first) {
		return false
	}
	value := []rune(strings.Map(unicode.ToLower, text))
	return walk(p.parts, value, func(part, r rune) bool { return part == anyOne || part == r })
}

// covers says that everything that q matches is matched by p too. It may say no where a cleverer proof would find yes:
// then a person is asked to write it more plainly.
func (p Pattern) covers(q Pattern) bool {
	return walk(p.parts, q.parts, func(part, other rune) bool {
		return other != anyRun && (part == anyOne || part == other)
	})
}

// walk matches a glob against a sequence, of which each element that no anyRun takes must be fit for its part. It
// goes back to the last anyRun only, which is enough: an earlier one could take no more.
func walk(parts, sequence []rune, fits func(part, element rune) bool) bool {
	i, j, star, from := 0, 0, -1, 0
	for j < len(sequence) {
		switch {
		case i < len(parts) && parts[i] == anyRun:
			star, from = i, j
			i++
		case i < len(parts) && fits(parts[i], sequence[j]):
			i, j = i+1, j+1
		case star >= 0:
			from++
			i, j = star+1, from
		default:
			return false
		}
	}
	for i < len(parts) && parts[i] == anyRun {
		i++
	}
	return i == len(parts)
}

// intersects says whether there is a text that both match.
func (p Pattern) intersects(q Pattern) bool {
	// can[j] says that p from i on and q from j on have a text in common.
	m := len(q.parts)
	below := make([]bool, m+1)
	row := make([]bool, m+1)
	for i := len(p.parts); i >= 0; i-- {
		for j := m; j >= 0; j-- {
			switch {
			case i == len(p.parts) && j == m:
				row[j] = true
			case i < len(p.parts) && p.parts[i] == anyRun:
				row[j] = below[j] || j < m && row[j+1]
			case j < m && q.parts[j] == anyRun:
				row[j] = row[j+1] || i < len(p.parts) && below[j]
			case i < len(p.parts) && j < m:
				a, b := p.parts[i], q.parts[j]
				row[j] = (a == anyOne || b == anyOne || a == b) && below[j+1]
			default:
				row[j] = false
			}
		}
		below, row = row, below
	}
	return below[0]
}

// Patterns are alternatives, of which one must match. A single one can be written without the list.
type Patterns []Pattern

// UnmarshalText reads a single pattern.
func (p *Patterns) UnmarshalText(text []byte) error {
	var one Pattern
	if err := one.UnmarshalText(text); err != nil {
		return err
	}
	*p = Patterns{one}
	return nil
}

// Validate refuses a list without alternatives, which nothing could match.
func (p Patterns) Validate() error {
	if p != nil && len(p) == 0 {
		return errors.New("is an empty list; want a text or a list of alternatives, or leave it out")
	}
	return nil
}

// Match says whether one of them matches.
func (p Patterns) Match(text string) bool {
	for _, one := range p {
		if one.Match(text) {
			return true
		}
	}
	return false
}

func (p Patterns) String() string {
	var texts []string
	for _, one := range p {
		texts = append(texts, one.text)
	}
	return strings.Join(texts, " or ")
}

func (p Patterns) intersects(q Patterns) bool {
	for _, a := range p {
		for _, b := range q {
			if a.intersects(b) {
				return true
			}
		}
	}
	return false
}

func (p Patterns) cover(q Pattern) bool {
	for _, one := range p {
		if one.covers(q) {
			return true
		}
	}
	return false
}
