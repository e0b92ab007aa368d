package strictyaml

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
)

// version has a short form (a text) and a long one.
type version struct {
	AtLeast string `yaml:"at_least"`
	Ignore  bool   `yaml:"ignore"`
}

func (v *version) UnmarshalText(text []byte) error {
	if string(text) == "?" {
		return errors.New(`"?" is no version; want digits and dots`)
	}
	v.AtLeast = string(text)
	return nil
}

type words []string

func (w *words) UnmarshalText(text []byte) error { *w = strings.Fields(string(text)); return nil }

type volume struct {
	Name  string  `json:"name"`
	Level int     `json:"level"`
	Size  hw.Size `json:"size,omitempty"`
}

func (v volume) Validate() error {
	if v.Level == 7 {
		return errors.New("level 7 is unknown; want 0, 1, 5 or 6")
	}
	return nil
}

type layout struct {
	Volumes []volume `yaml:"volumes"`
}

func (l *layout) Validate() error {
	var errs []error
	for i, v := range l.Volumes {
		if v.Name == "" {
			errs = append(errs, fmt.Errorf("volumes[%d]: name: missing", i))
		}
		if v.Level == 9 {
			errs = append(errs, fmt.Errorf("volumes[%d].level: 9 is unknown", i))
		}
		if err := v.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("volumes[%d]: %w", i, err))
		}
	}
	return errors.Join(errs...)
}

type common struct {
	Description string `yaml:"description"`
}

type document struct {
	common
	Version version             `yaml:"version"`
	Command words               `yaml:"command"`
	Disk    *hw.DiskRule        `yaml:"disk"`
	RAID    *layout             `yaml:"raid"`
	Timeout time.Duration       `yaml:"timeout"`
	Count   int                 `yaml:"count"`
	Small   uint8               `yaml:"small"`
	Ratio   float64             `yaml:"ratio"`
	On      bool                `yaml:"on"`
	Server  netip.Addr          `yaml:"server"`
	Env     map[string]string   `yaml:"env"`
	Any     any                 `yaml:"any"`
	Nested  map[string][]*[]int `yaml:"nested"`
	secret  string
}

func decode(t *testing.T, text string) (document, []string) {
	t.Helper()
	var doc document
	var errs []string
	for _, e := range Decode("f.yaml", []byte(text), &doc) {
		errs = append(errs, e.Error())
	}
	return doc, errs
}

func TestEverythingThatCanBeWrittenIsRead(t *testing.T) {
	doc, errs := decode(t, `
description: >-
  folded
  text
version: 2.10
command: /bin/sh -e
disk: {min_size: 480GB, prefer: smallest}
raid:
  volumes:
    - {name: os, level: 1, size: 32GiB}
timeout: 1h30m
count: -12
small: 255
ratio: 2
on: true
server: 10.0.0.1
env:
  A_B: "1"
  "c d": |
    two
    lines
any: {list: [1, 2.5, x, true, ~], text: "5"}
nested: {a: [[1, 2], []]}
`)
	require.Empty(t, errs)
	require.Equal(t, document{
		common: common{"folded text"}, Version: version{AtLeast: "2.10"}, Command: words{"/bin/sh", "-e"},
		Disk: &hw.DiskRule{MinSize: 480e9, Prefer: hw.Smallest}, RAID: &layout{[]volume{{"os", 1, 32 << 30}}},
		Timeout: 90 * time.Minute, Count: -12, Small: 255, Ratio: 2, On: true, Server: netip.MustParseAddr("10.0.0.1"),
		Env:    map[string]string{"A_B": "1", "c d": "two\nlines\n"},
		Any:    map[string]any{"list": []any{int64(1), 2.5, "x", true, nil}, "text": "5"},
		Nested: map[string][]*[]int{"a": {{1, 2}, {}}},
	}, doc)

	doc, errs = decode(t, "version: {at_least: '1', ignore: true}\ncommand: [a b, c]\n")
	require.Empty(t, errs)
	require.Equal(t, version{"1", true}, doc.Version)
	require.Equal(t, words{"a b", "c"}, doc.Command)
	require.Empty(t, doc.secret)
}

func TestEachMistakeIsReportedAtItsPlace(t *testing.T) {
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"unknown key": {"discription: x\n", []string{"f.yaml:1:1: discription: unknown key; did you mean description?"}},
		"unknown key in a list": {"raid:\n  volumes:\n    - name: a\n      lvl: 1\n",
			[]string{"f.yaml:4:7: raid.volumes[0].lvl: unknown key; want level, name or size"}},
		"duplicate key": {"count: 1\ncount: 2\n",
			[]string{"f.yaml:2:1: count: the key is given twice, first in line 1; want it once"}},
		"duplicate key of a map": {"env: {A: x, A: y}\n",
			[]string{"f.yaml:1:13: env.A: the key is given twice, first in line 1; want it once"}},
		"number for text": {"description: 012\n",
			[]string{`f.yaml:1:14: description: is the number 012; want a text: write "012"`}},
		"boolean for text": {"env:\n  A.B: true\n",
			[]string{`f.yaml:2:8: env["A.B"]: is the boolean true; want a text: write "true"`}},
		"text for number": {"count: '5'\n", []string{`f.yaml:1:8: count: is the quoted text "5"; want a whole number`}},
		"octal":           {"count: 012\n", []string{"f.yaml:1:8: count: 012 is not a plain decimal number"}},
		"hexadecimal":     {"count: 0x10\n", []string{"f.yaml:1:8: count: 0x10 is not a plain decimal number"}},
		"underscores":     {"small: 1_0\n", []string{"f.yaml:1:8: small: 1_0 is not a plain decimal number"}},
		"out of range":    {"small: 256\n", []string{"f.yaml:1:8: small: 256 is out of range"}},
		"below zero":      {"small: -1\n", []string{"f.yaml:1:8: small: -1 is out of range"}},
		"too large": {"count: 99999999999999999999\n",
			[]string{`f.yaml:1:8: count: is the text "99999999999999999999"; want a whole number`}},
		"infinite":         {"ratio: .inf\n", []string{"f.yaml:1:8: ratio: is the number .inf; want a number"}},
		"text for boolean": {"on: yes\n", []string{`f.yaml:1:5: on: is the text "yes"; want true or false`}},
		"list for mapping": {"disk: [1]\n", []string{"f.yaml:1:7: disk: is a list; want a mapping of bus, kind, max_size, " +
			"medium, min_size, model, path, prefer, removable, serial or wwn"}},
		"mapping for list": {"raid: {volumes: {name: x}}\n",
			[]string{"f.yaml:1:17: raid.volumes: is a mapping; want a list"}},
		"text for mapping": {"env: x\n", []string{`f.yaml:1:6: env: is the text "x"; want a mapping`}},
		"mapping for text": {"description: {a: b}\n", []string{"f.yaml:1:14: description: is a mapping; want a text"}},
		"list for scalar":  {"server: [1.1.1.1]\n", []string{"f.yaml:1:9: server: is a list; want a text"}},
		"nothing": {"count:\nenv:\n",
			[]string{"f.yaml:1:7: count: has no value; want a whole number, or leave the key out",
				"f.yaml:2:6: env: has no value; want a mapping, or leave the key out"}},
		"number for time": {"timeout: 30\n",
			[]string{`f.yaml:1:10: timeout: "30" is not a duration; want a number with a unit, such as 30s, 5m or 1h30m`}},
		"list for time": {"timeout: []\n",
			[]string{`f.yaml:1:10: timeout: is a list; want a duration such as 30s, 5m or 1h30m`}},
		"bad short form": {"version: '?'\n", []string{`f.yaml:1:10: version: "?" is no version; want digits and dots`}},
		"list for either": {"version: [1]\n",
			[]string{`f.yaml:1:10: version: is a list; want a text or a mapping of at_least or ignore`}},
		"mapping for words": {"command: {a: b}\n", []string{`f.yaml:1:10: command: is a mapping; want a text or a list`}},
		"bad address":       {"server: 1.2.3\n", []string{`f.yaml:1:9: server: ParseAddr("1.2.3"): IPv4 address too short`}},
		"size": {"disk:\n  min_size: 40G\n",
			[]string{`f.yaml:2:13: disk.min_size: size "40G": unknown unit "G" (want B, kB, MB, GB, TB, ` +
				`PB for decimal or KiB, MiB, GiB, TiB, PiB for binary)`}},
		"all that Validate says": {"disk: {medium: tape, bus: isa}\n", []string{
			`f.yaml:1:7: disk: disk rule: medium "tape": want hdd, ssd or nvme`,
			`f.yaml:1:7: disk: disk rule: bus "isa": want ata, sas, scsi, nvme, virtio, usb, mmc or xen`}},
		"Validate's own paths; what a part says is not repeated": {"raid:\n  volumes:\n  - level: 9\n  - name: x\n    level: 7\n", []string{
			"f.yaml:3:5: raid.volumes[0]: name: missing",
			"f.yaml:3:12: raid.volumes[0].level: 9 is unknown",
			"f.yaml:4:5: raid.volumes[1]: level 7 is unknown; want 0, 1, 5 or 6"}},
		"Validate is not asked where something could not be decoded": {"raid: {volumes: [{nam: x, level: 1}]}\n",
			[]string{"f.yaml:1:19: raid.volumes[0].nam: unknown key; did you mean name?"}},
		"alias": {"description: &a x\nversion: *a\n",
			[]string{"f.yaml:1:14: description: anchors and aliases are not supported; write the value out",
				"f.yaml:2:10: version: anchors and aliases are not supported; write the value out"}},
		"merge key": {"disk:\n  <<: {bus: ata}\n",
			[]string{"f.yaml:2:3: disk: merge keys are not supported; write the keys out"}},
		"tag": {"count: !!int '5'\n",
			[]string{"f.yaml:1:8: count: tags are not supported; quotes make a text of a number"}},
		"second document": {"count: 1\n---\ncount: 2\n",
			[]string{"f.yaml:3:1: a second document begins; want one in a file"}},
		"empty":          {"", []string{"f.yaml:1:1: is empty; want a mapping"}},
		"only a comment": {"# x\n", []string{"f.yaml:1:1: is empty; want a mapping"}},
		"not a mapping": {"- x\n",
			[]string{"f.yaml:1:1: is a list; want a mapping of any, command, count, description, disk, env, nested, on, raid, ratio, server, small, timeout or version"}},
		"syntax": {"count: 1\nenv: [a\n", []string{"f.yaml:2:6: is not YAML: sequence end token ']' not found"}},
		"tab": {"env:\n\tA: x\n",
			[]string{"f.yaml:2:1: is not YAML: found character '\\t' that cannot start any token"}},
		"carriage return": {"count: 1\r\n",
			[]string{"f.yaml:1:9: the line ends in a carriage return (CRLF); want a line feed alone: dos2unix, or `* text eol=lf` in .gitattributes"}},
		"byte order mark": {"\xef\xbb\xbfcount: 1\n",
			[]string{"f.yaml:1:1: starts with a byte order mark; want UTF-8 without one"}},
		"Latin-1": {"# f\xfcr\ncount: 1\n",
			[]string{"f.yaml:1:4: byte 0xfc is not UTF-8; save the file as UTF-8"}},
		"control character": {"description: \"\x1b[0m\"\n", []string{"f.yaml:1:15: control character 0x1b"}},
		"columns in letters": {"description: ü\nenv: {ü: 1}\n",
			[]string{`f.yaml:2:10: env["ü"]: is the number 1; want a text: write "1"`}},
		"several at once": {"discription: x\ncount: x\non: 1\n", []string{
			"f.yaml:1:1: discription: unknown key; did you mean description?",
			`f.yaml:2:8: count: is the text "x"; want a whole number`,
			"f.yaml:3:5: on: is the number 1; want true or false"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, errs := decode(t, c.text)
			require.Equal(t, c.want, errs)
		})
	}
}

func TestWhatWouldTakeTheParserTooFarIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"lists in lists":       strings.Repeat("[", 100_000),
		"lists, line by line":  strings.Repeat("[\n", 100_000),
		"mappings in mappings": strings.Repeat("{a: ", 8_000),
		"entries":              strings.Repeat("- ", 10_000) + "x",
		"explicit keys":        strings.Repeat("? ", 10_000),
		"tags":                 strings.Repeat("!!a ", 8_000) + "x",
		"indentation":          indented(120),
		"a large file":         strings.Repeat("# a comment of some length\n", 10_000),
		"many lines":           strings.Repeat("a: |\n", 50_000),
		"as many as allowed":   strings.Repeat("? a\n", 10_000),
		"a long line":          "a: " + strings.Repeat("x", 100_000),
		"colons":               strings.Repeat("a: ", 10_000),
		"anchors":              "a: " + strings.Repeat("&a ", 10_000),
	} {
		begin := time.Now()
		var into any
		require.NotEmpty(t, Decode("f.yaml", []byte(text), &into), name)
		require.Less(t, time.Since(begin), 10*time.Second, name)
	}
	var into any
	require.Empty(t, Decode("f.yaml", []byte(indented(40)), &into), "what people write is far from that")
}

func indented(levels int) string {
	var b strings.Builder
	for i := range levels {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	b.WriteString(strings.Repeat(" ", levels) + "b: c\n")
	return b.String()
}

func TestPositionsOfFieldsAreKnown(t *testing.T) {
	doc, errs := Parse("f.yaml", []byte(`a:
  - b: "quoted"
    c: |

      line
       two
"d.e": {f: plain}
g: >
  folded
`))
	require.Empty(t, errs)
	require.Equal(t, Position{1, 1}, doc.ValueAt(""))
	require.Equal(t, Position{2, 5}, doc.KeyAt("a[0].b"))
	require.Equal(t, Position{2, 8}, doc.ValueAt("a[0].b"))
	require.Equal(t, TextPosition{Position{2, 9}, false}, doc.TextAt("a[0].b"))
	require.Equal(t, TextPosition{Position{4, 7}, true}, doc.TextAt("a[0].c"))
	require.Equal(t, Position{7, 12}, doc.ValueAt(Join(`["d.e"]`, "f")))
	require.Equal(t, TextPosition{Position{9, 3}, false}, doc.TextAt("g"))
	require.Equal(t, doc.ValueAt("a[0]"), doc.ValueAt("a[0].nothing[3].here"), "the nearest that is there")
	require.True(t, doc.Has("a[0].c"))
	require.False(t, doc.Has("a[1]"))
	require.Equal(t, "f.yaml:2:8: a[0].b: no", doc.Errorf("a[0].b", "%s", "no").Error())
	require.Equal(t, "f.yaml:2:5: a[0].b: no", doc.KeyErrorf("a[0].b", "no").Error())
}

func TestErrorsAreSortedAndSaidOnce(t *testing.T) {
	e := func(file string, line int) Error { return Error{File: file, Line: line, Column: 1, Message: "m"} }
	require.Equal(t, []Error{e("a", 1), e("a", 10), e("b", 2)}, Sort([]Error{e("b", 2), e("a", 10), e("a", 1), e("b", 2)}))
	require.Equal(t, "f: m", Error{File: "f", Message: "m"}.Error(), "of the file as a whole")
}

func FuzzDecodeNeverPanics(f *testing.F) {
	for _, s := range []string{"", "a: 1", "a: [1, {b: c}]", "? a\n: b", "&a *a", "!!x [", "<<: *a", "a: |2\n  x",
		"\"\\x\": '", "- - -", "a: b: c",
		"version: {at_least: 1}\ncount: 5\nraid: {volumes: [{level: 7}]}\n", "any: {a: [~, .nan, 1e9]}\n",
		"---\n...\n---\n", "{a, b}", "[a: b]", "a: @x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var doc document
		errs := Decode("f.yaml", text, &doc)
		for _, e := range errs {
			require.Equal(t, "f.yaml", e.File)
			require.NotEmpty(t, e.Message)
			require.NotContains(t, e.Error(), "\n")
			require.GreaterOrEqual(t, e.Line, 0)
		}
		var any any
		if len(errs) == 0 {
			require.Empty(t, Decode("f.yaml", text, &any), "what fits a type is YAML")
		}
	})
}
