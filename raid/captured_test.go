package raid

import (
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"
)

func TestWhatAToolPrintedIsFoundInWhatPeopleSave(t *testing.T) {
	const printed = "Adapter #0\n\n  Slot Number: 4\nModèle: Größe\n"
	utf16of := func(mark bool, big bool) []byte {
		units := utf16.Encode([]rune(printed))
		if mark {
			units = append([]uint16{0xfeff}, units...)
		}
		var out []byte
		for _, u := range units {
			if big {
				out = append(out, byte(u>>8), byte(u))
			} else {
				out = append(out, byte(u), byte(u>>8))
			}
		}
		return out
	}
	for name, file := range map[string]string{
		"as it is":              printed,
		"UTF-16 of PowerShell":  string(utf16of(true, false)),
		"UTF-16, big":           string(utf16of(true, true)),
		"UTF-16 without a mark": string(utf16of(false, false)),
		"half of a last letter": string(utf16of(true, false)) + "\x20",
		"a byte order mark":     "\uFEFF" + printed,
		"lines of Windows":      "Adapter #0\r\n\r\n  Slot Number: 4\r\nModèle: Größe\r\n",
		"lines of a terminal":   "Adapter #0\r\r\n\r\n  Slot Number: 4\rModèle: Größe\r\n",
		"colours and a title": "\x1b]0;root@host: ~\x07\x1b[1;32mAdapter #0\x1b[0m\n\n\x1b(B  Slot Number: " +
			"\x1b[38;5;9m4\x1b[m\n\x1b[KModèle: Größe\n",
		"a mail": "    Adapter #0\n\n      Slot Number: 4\n    Modèle: Größe\n",
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, printed, string(Captured([]byte(file)))) })
	}
	require.Empty(t, Captured(nil))
	require.Equal(t, "\n", string(Captured([]byte("\n"))))
}
