package script

import (
	"bytes"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/project-loda/loda/loda/agentapi"
)

// scrubber takes out of a stream of bytes what does not print, and leaves UTF-8 with line feeds and carriage returns.
// It keeps its place in a character or an escape sequence from one piece to the next.
type scrubber struct {
	partial []byte // of a character, up to three bytes
	escape  escape
}

// escape is where in an escape sequence (ECMA-48) the stream is.
type escape int

const (
	noEscape     escape = iota
	afterEscape         // ESC
	controlSeq          // ESC [ parameters, up to a letter
	controlText         // ESC ] or P, X, ^, _ and text, up to BEL or ESC \
	textEscape          // ESC in such a text
	intermediate        // ESC and characters from blank to slash, up to one more
)

// scrub appends what is left of p to out.
func (s *scrubber) scrub(out, p []byte) []byte {
	if len(s.partial) > 0 {
		p = append(s.partial, p...)
		s.partial = nil
	}
	for len(p) > 0 {
		if !utf8.FullRune(p) {
			s.partial = slices.Clone(p)
			break
		}
		r, n := utf8.DecodeRune(p)
		p = p[n:]
		if r == utf8.RuneError && n == 1 {
			r = '?'
		}
		if s.skips(r) {
			continue
		}
		switch {
		case r == '\n' || r == '\r':
			out = append(out, byte(r))
		case unicode.IsSpace(r):
			out = append(out, ' ')
		case unicode.IsPrint(r): // not so: control characters, and those that turn the direction of writing
			out = utf8.AppendRune(out, r)
		}
	}
	return out
}

// end is for a stream that ends within a character.
func (s *scrubber) end(out []byte) []byte {
	if len(s.partial) > 0 && s.escape == noEscape {
		out = append(out, '?')
	}
	*s = scrubber{}
	return out
}

// skips follows escape sequences. A line feed ends every one of them: no broken sequence hides more than its line.
func (s *scrubber) skips(r rune) bool {
	if r == '\n' {
		s.escape = noEscape
		return false
	}
	switch s.escape {
	case noEscape:
		if r != 0x1b {
			return false
		}
		s.escape = afterEscape
	case afterEscape, textEscape:
		switch {
		case r == 0x1b:
		case s.escape == textEscape && r != '\\':
			s.escape = controlText
		case r == '[':
			s.escape = controlSeq
		case strings.ContainsRune("]PX^_", r):
			s.escape = controlText
		case r >= ' ' && r <= '/':
			s.escape = intermediate
		default:
			s.escape = noEscape
		}
	case controlSeq:
		if r == 0x1b {
			s.escape = afterEscape
		} else if r >= '@' && r <= '~' {
			s.escape = noEscape
		}
	case controlText:
		if r == 0x07 {
			s.escape = noEscape
		} else if r == 0x1b {
			s.escape = textEscape
		}
	case intermediate:
		if r < ' ' || r > '/' {
			s.escape = noEscape
		}
	}
	return true
}

// clean is a whole text without what a scrubber takes out.
func clean(text string) string {
	var s scrubber
	return string(s.end(s.scrub(nil, []byte(text))))
}

// oneLine is clean, for a name.
func oneLine(text string) string { return strings.Join(strings.Fields(clean(text)), " ") }

// maxSecret bounds what a masker holds back. A longer secret is hidden in pieces.
const maxSecret = 8 << 10

// secretLines are the texts to look for in a line, the longest first, and how many are too short for that.
func secretLines(secrets []string) (lines []string, short int) {
	for _, secret := range secrets {
		hidden := false
		for line := range strings.FieldsFuncSeq(clean(secret), func(r rune) bool { return r == '\n' || r == '\r' }) {
			// Blanks at its ends may have been taken off before it was printed.
			if line = strings.TrimSpace(line); len(line) >= agentapi.MinSecret {
				for hidden = true; len(line) > maxSecret; line = line[maxSecret/2:] {
					lines = append(lines, line[:maxSecret])
				}
				lines = append(lines, line)
			}
		}
		if !hidden && secret != "" {
			short++
		}
	}
	slices.SortFunc(lines, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(lines), short
}

// hide returns text with `***` where secrets stand.
func hide(text string, secrets []string) string {
	m := masker{secrets: secrets}
	return string(append(m.add(nil, []byte(text)), m.end(nil)...))
}

// mask is what stands for a secret.
const mask = "***"

// masker replaces secrets in one line that comes in pieces. It holds back what may be the beginning of a secret. Where
// secrets overlap, the whole is replaced by one mask.
type masker struct {
	secrets []string // the longest first
	held    []byte
	covered int  // of held, how much is part of a secret that began before
	masked  bool // what was given out last is a mask
}

// add takes the next piece and appends to out what is decided.
func (m *masker) add(out, p []byte) []byte {
	if len(m.secrets) == 0 {
		return append(out, p...)
	}
	m.held = append(m.held, p...)
	// No secret that begins before this place reaches beyond what is there.
	return m.give(out, max(0, len(m.held)-len(m.secrets[0])+1))
}

// end appends the rest of the line. The masker is ready for the next one.
func (m *masker) end(out []byte) []byte {
	out = m.give(out, len(m.held))
	m.covered, m.masked = 0, false
	return out
}

func (m *masker) give(out []byte, n int) []byte {
	if n == 0 {
		return out
	}
	covered := make([]bool, len(m.held))
	for i := range m.covered {
		covered[i] = true
	}
	for _, s := range m.secrets {
		for from, done := 0, 0; ; {
			i := bytes.Index(m.held[from:], []byte(s))
			if i < 0 {
				break
			}
			from += i + 1
			for done = max(done, from-1); done < from-1+len(s); done++ {
				covered[done] = true
			}
		}
	}
	for i := range n {
		if !covered[i] {
			out, m.masked = append(out, m.held[i]), false
			continue
		}
		if !m.masked {
			out, m.masked = append(out, mask...), true
		}
	}
	m.covered = 0
	for m.covered < len(covered)-n && covered[n+m.covered] {
		m.covered++
	}
	m.held = append(m.held[:0], m.held[n:]...)
	return out
}
