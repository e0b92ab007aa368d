package script

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/agentapi"
)

// timeline is a Report that remembers.
type timeline struct{ lines []string }

func (t *timeline) Log(text string)            { t.lines = append(t.lines, text) }
func (t *timeline) Progress(agentapi.Progress) {}

// printed writes pieces and returns the lines.
func printed(secrets []string, pieces ...string) []string {
	var t timeline
	found, _ := secretLines(secrets)
	o := newOutput(&t, "s", found)
	for _, p := range pieces {
		_, _ = o.Write([]byte(p))
	}
	o.end()
	return t.lines
}

func TestOutputIsCutIntoLinesWhateverThePieces(t *testing.T) {
	for _, tc := range []struct {
		name   string
		pieces []string
		lines  []string
	}{
		{"lines", []string{"a\nb\n"}, []string{"s: a", "s: b"}},
		{"a line in pieces", []string{"he", "ll", "o\nwor", "ld"}, []string{"s: hello", "s: world"}},
		{"no last line feed", []string{"a\nb"}, []string{"s: a", "s: b"}},
		{"nothing", nil, nil},
		{"empty lines", []string{"\n\n"}, []string{"s:", "s:"}},
		{"DOS", []string{"a\r", "\nb\r\n"}, []string{"s: a", "s: b"}},
		{"a progress bar", []string{"10 %\r20 %\r", "100 %\ndone"}, []string{"s: 100 %", "s: done"}},
		{"a progress bar to the end", []string{"10 %\r20 %\r"}, []string{"s: 20 %"}},
		{"colours", []string{"\x1b[1;31mred\x1b[0m\x1b[K and \x1b(Bplain\x1b7\x1b8"}, []string{"s: red and plain"}},
		{"a sequence in pieces", []string{"a\x1b", "[3", "1mb"}, []string{"s: ab"}},
		{"a window title", []string{"\x1b]0;title\x07a\x1b]2;t\x1b\\b\x1bPq#0\x1b\\c"}, []string{"s: abc"}},
		{"a sequence without end", []string{"a\x1b]0;for ever\nb\x1b[1\nc"}, []string{"s: a", "s: b", "s: c"}},
		{"control characters", []string{"a\x00b\x07\x08\x7fc\td\u009be\u202ef"}, []string{"s: abc def"}},
		{"UTF-8", []string{"Gr\xc3", "\xbc\xc3\x9fe \xf0\x9f", "\x98\x80"}, []string{"s: Grüße 😀"}},
		{"Latin-1", []string{"Gr\xfc\xdfe"}, []string{"s: Gr??e"}},
		{"half a character at the end", []string{"a\xc3"}, []string{"s: a?"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.lines, printed(nil, tc.pieces...))
			require.Equal(t, tc.lines, printed([]string{"not in there"}, tc.pieces...), "with a secret")
			require.Equal(t, tc.lines, printed(nil, strings.Split(strings.Join(tc.pieces, ""), "")...), "character by character")
		})
	}
}

func TestSecretsAreHidden(t *testing.T) {
	for _, tc := range []struct {
		name    string
		secrets []string
		pieces  []string
		lines   []string
	}{
		{"in a line", []string{"hunter22"}, []string{"pw=hunter22!\n"}, []string{"s: pw=***!"}},
		{"over two writes", []string{"hunter22"}, []string{"pw=hun", "ter", "22!\n"}, []string{"s: pw=***!"}},
		{"at the end", []string{"hunter22"}, []string{"pw=hunter", "22"}, []string{"s: pw=***"}},
		{"only its beginning", []string{"hunter22"}, []string{"hunter", "\nhunter2"}, []string{"s: hunter", "s: hunter2"}},
		{"the longer of two", []string{"hunter22", "hunter22-longer"}, []string{"hunter22-longer hunter22"},
			[]string{"s: *** ***"}},
		{"two that overlap", []string{"abcdef", "defghi"}, []string{"-abcde", "fghi-"}, []string{"s: -***-"}},
		{"itself again", []string{"abab"}, []string{"ab", "ab", "ab", "-"}, []string{"s: ***-"}},
		{"of several lines", []string{"-----BEGIN-----\r\nMIIEow\n=\n-----END-----\n"},
			[]string{"-----BEGIN-----\nMIIEow\n=\n-----END-----\n"}, []string{"s: ***", "s: ***", "s: =", "s: ***"}},
		{"with blanks around", []string{"  hunter22\n"}, []string{"<hunter22>"}, []string{"s: <***>"}},
		{"with an escape sequence in it", []string{"hunter22"}, []string{"hun\x1b[1mter22"}, []string{"s: ***"}},
		{"that holds what is taken out", []string{"hunt\ter\x0022\xff"}, []string{"hunt\ter\x0022\xff."},
			[]string{"s: ***."}},
		{"beside multi-byte characters", []string{"pässwörd"}, []string{"äpässw\xc3", "\xb6rdö"}, []string{"s: ä***ö"}},
		{"a short one is not", []string{"abc"}, []string{"abcd"}, []string{"s: abcd"}},
		{"an empty one is none", []string{"", "\n"}, []string{"abcd"}, []string{"s: abcd"}},
		{"before a carriage return", []string{"hunter22"}, []string{"hunter2", "2\r"}, []string{"s: ***"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.lines, printed(tc.secrets, tc.pieces...))
		})
	}
	_, short := secretLines([]string{"abc", "", "hunter22"})
	require.Equal(t, 1, short)
}

func TestASecretInALineOfAnyLengthIsHidden(t *testing.T) {
	const secret = "correct horse battery staple"
	for at := maxLine - 60; at < maxLine+10; at++ {
		line := strings.Repeat("x", at) + secret + strings.Repeat("y", 5000)
		got := strings.ReplaceAll(strings.Join(printed([]string{secret}, line[:at+7], line[at+7:]), "\n"), "s: ", "")
		require.Equal(t, strings.Repeat("x", at)+"***"+strings.Repeat("y", 5000), strings.ReplaceAll(got, "\n", ""), at)
	}
}

func TestAVeryLongSecretIsHiddenWithoutHoldingItBack(t *testing.T) {
	var b strings.Builder
	for i := range 30000 {
		b.WriteByte("abcdefghijklmnopqrstuvwxyz"[(i*i+i/26)%26])
	}
	secret := b.String()
	require.Equal(t, []string{"s: <***>"}, printed([]string{secret}, "<"+secret[:20000], secret[20000:]+">"))
}

func TestALongLineIsSplitBetweenCharacters(t *testing.T) {
	text := strings.Repeat("x", 100) + strings.Repeat("ü", 5000)
	lines := printed(nil, text+"\n")
	require.Len(t, lines, 4)
	var joined string
	for _, l := range lines {
		require.LessOrEqual(t, len(l), maxLine)
		require.True(t, utf8.ValidString(l))
		joined += strings.TrimPrefix(l, "s: ")
	}
	require.Equal(t, text, joined)
}

func TestOfALongOutputBeginAndEndAreKept(t *testing.T) {
	for _, tc := range []struct{ lines, dropped int }{{1000, 0}, {1001, 0}, {1500, 0}, {1501, 1}, {4321, 2821}} {
		var tl timeline
		o := newOutput(&tl, "s", nil)
		for i := range tc.lines {
			_, _ = o.Write([]byte(strings.Repeat("x", i%7) + "\n"))
		}
		o.end()
		lines, dropped := o.counts()
		require.Equal(t, tc.lines, lines)
		require.Equal(t, tc.dropped, dropped)
		var want []string
		for i := range tc.lines {
			switch {
			case i < headLines || i >= tc.lines-tailLines || tc.dropped == 0:
				want = append(want, strings.TrimRight("s: "+strings.Repeat("x", i%7), " "))
			case i == headLines:
				want = append(want, "")
			}
		}
		if tc.dropped > 0 {
			require.Contains(t, tl.lines[headLines], "long output")
			require.Regexp(t, `\(\d+ lines are left out here\)`, tl.lines[headLines+1])
			tl.lines = append(append(tl.lines[:headLines:headLines], ""), tl.lines[headLines+2:]...)
		}
		require.Equal(t, want, tl.lines)
	}
}

// Whatever a script prints and however it arrives: the lines are the same, none holds a secret, none harms a terminal.
func FuzzOutput(f *testing.F) {
	f.Add([]byte("a\x1b[1mb\r\nhunter22\xc3\xbc"), "hunter22", uint64(1))
	f.Add([]byte("\x1b]0;hunter22\x07hunhunter22ter22"), "hunt\ner22", uint64(2))
	f.Add(bytes.Repeat([]byte("aa"), 3000), "aaaa", uint64(3))
	f.Fuzz(func(t *testing.T, text []byte, secret string, seed uint64) {
		random := rand.New(rand.NewPCG(seed, 0))
		var pieces []string
		for rest := text; len(rest) > 0; {
			n := 1 + random.IntN(min(len(rest), 1+len(text)/3))
			pieces, rest = append(pieces, string(rest[:n])), rest[n:]
		}
		lines := printed([]string{secret}, pieces...)
		require.Equal(t, printed([]string{secret}, string(text)), lines)
		hidden, _ := secretLines([]string{secret})
		for _, line := range lines {
			require.True(t, utf8.ValidString(line))
			require.LessOrEqual(t, len(line), maxLine+100)
			for _, r := range line {
				require.True(t, unicode.IsPrint(r), "%q", line)
			}
			for _, h := range hidden {
				// Three stars may stand in a secret, and what stands before a line is ours.
				if !strings.ContainsAny(h, "*") {
					require.NotContains(t, strings.TrimPrefix(line, "s: "), h)
				}
			}
		}
	})
}
