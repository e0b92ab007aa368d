package strictyaml

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// CheckText refuses what editors of other systems put into a text: it has to be UTF-8 without a byte order mark, with
// lines that end in a line feed alone and without control characters.
func CheckText(file string, text []byte) []Error {
	if rest, ok := bytes.CutPrefix(text, []byte("\xef\xbb\xbf")); ok {
		text = rest
		return append([]Error{{File: file, Line: 1, Column: 1,
			Message: "starts with a byte order mark; want UTF-8 without one"}}, CheckText(file, text)...)
	}
	line, column := 1, 0
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		column++
		bad := ""
		switch {
		case r == utf8.RuneError && n <= 1:
			bad = fmt.Sprintf("byte 0x%02x is not UTF-8; save the file as UTF-8", text[i])
		case r == '\r' && i+1 < len(text) && text[i+1] == '\n':
			bad = "the line ends in a carriage return (CRLF); want a line feed alone: dos2unix, or " +
				"`* text eol=lf` in .gitattributes"
		case r < ' ' && r != '\n' && r != '\t', r == 0x7f:
			bad = fmt.Sprintf("control character 0x%02x", r)
		}
		if bad != "" {
			// The first one says it all.
			return []Error{{File: file, Line: line, Column: column, Message: bad}}
		}
		if r == '\n' {
			line, column = line+1, 0
		}
		i += n
	}
	return nil
}
