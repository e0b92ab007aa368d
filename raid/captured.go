package raid

import (
	"bytes"
	"encoding/binary"
	"regexp"
	"unicode/utf16"
)

var (
	// ECMA-48: control sequences, strings up to their end (a terminal's title), and single functions.
	escapes = regexp.MustCompile(`\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|` +
		`\x1b[()*+][ -~]|\x1b[0-Z\\^_a-~]`)
	endings = regexp.MustCompile(`\r+\n?`)
)

// Captured is what a tool printed, out of a file that a person has put it into: an editor or a shell made UTF-16 of it
// or marked its byte order, a terminal coloured it, Windows ended its lines, a mail indented it. What a tool prints by
// itself stays as it is, but for carriage returns.
func Captured(file []byte) []byte {
	text := fromUTF16(file)
	text = bytes.ReplaceAll(text, []byte("\uFEFF"), nil)
	if bytes.IndexByte(text, 0x1b) >= 0 {
		text = escapes.ReplaceAll(text, nil)
	}
	if bytes.IndexByte(text, '\r') >= 0 {
		text = endings.ReplaceAll(text, []byte("\n"))
	}
	return outdent(text)
}

// fromUTF16 knows it by its mark, or by the zeros of its first letters: PowerShell's `>` writes it.
func fromUTF16(file []byte) []byte {
	var order binary.ByteOrder
	switch {
	case len(file) < 4:
		return file
	case file[0] == 0xff && file[1] == 0xfe, file[0] != 0 && file[1] == 0 && file[2] != 0 && file[3] == 0:
		order = binary.LittleEndian
	case file[0] == 0xfe && file[1] == 0xff, file[0] == 0 && file[1] != 0 && file[2] == 0 && file[3] != 0:
		order = binary.BigEndian
	default:
		return file
	}
	units := make([]uint16, len(file)/2)
	for i := range units {
		units[i] = order.Uint16(file[2*i:])
	}
	return []byte(string(utf16.Decode(units)))
}

// outdent takes away the blanks that all lines start with.
func outdent(text []byte) []byte {
	least := -1
	for line := range bytes.Lines(text) {
		words := bytes.TrimLeft(line, " ")
		if len(bytes.TrimSpace(words)) == 0 {
			continue
		}
		if n := len(line) - len(words); least < 0 || n < least {
			least = n
		}
		if least == 0 {
			return text
		}
	}
	if least <= 0 {
		return text
	}
	out := make([]byte, 0, len(text))
	for line := range bytes.Lines(text) {
		out = append(out, line[min(least, len(line)-len(bytes.TrimLeft(line, " "))):]...)
	}
	return out
}
