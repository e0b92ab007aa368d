package hw

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// ignoreWord is the short form of what is not looked at.
const ignoreWord = "ignore"

// The longest text that a model may want, and the longest list of alternatives.
const (
	maxWantText = 1024
	maxAnyOf    = 256
)

// Text is a text in a model. In YAML it is read whatever it looks like: `at_least: 2.10` is the text 2.10.
type Text string

// UnmarshalText takes the text as it is.
func (t *Text) UnmarshalText(text []byte) error {
	*t = Text(text)
	return nil
}

// MarshalYAML quotes what some reader of YAML could take for something else than a text.
func (t Text) MarshalYAML() ([]byte, error) {
	if surelyText.MatchString(string(t)) && !maybeWord.MatchString(string(t)) {
		return []byte(t), nil
	}
	return json.Marshal(string(t))
}

var (
	surelyText = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._/()@+=;-]*( [A-Za-z0-9._/()@+=;-]+)*$`)
	maybeWord  = regexp.MustCompile(`^(?i:y|n|yes|no|on|off|true|false|null)$`)
)

// WantText is what is wanted of a text field. Exactly one way is given; the short form is Value, or the word `ignore`.
// Texts are compared exactly, but for blanks around them and unprintable characters in them.
type WantText struct {
	// Value is the text itself; empty wants that there is none. The literal word `ignore` is written `{value: ignore}`.
	Value *Text `json:"value,omitempty" yaml:"value,omitempty"`
	// AnyOf lists texts that are all right.
	AnyOf []Text `json:"any_of,omitempty" yaml:"any_of,omitempty"`
	// Regex is a regular expression (RE2) for the whole text.
	Regex Text `json:"regex,omitempty" yaml:"regex,omitempty"`
	// Glob is a pattern for the whole text: `*` is any text, `?` any character.
	Glob Text `json:"glob,omitempty" yaml:"glob,omitempty"`
	// AtLeast and AtMost bound a version, both inclusive, in the order of [CompareVersions].
	AtLeast Text `json:"at_least,omitempty" yaml:"at_least,omitempty"`
	AtMost  Text `json:"at_most,omitempty" yaml:"at_most,omitempty"`
	// Ignore: anything is all right, unknown too.
	Ignore   bool     `json:"ignore,omitempty" yaml:"ignore,omitempty"`
	Severity Severity `json:"severity,omitempty" yaml:"severity,omitempty"`
}

// WantNumber is what is wanted of a number. The short form is Value, or the word `ignore`.
type WantNumber struct {
	Value *float64  `json:"value,omitempty" yaml:"value,omitempty"`
	AnyOf []float64 `json:"any_of,omitempty" yaml:"any_of,omitempty"`
	// Min and Max are both inclusive; one of them is enough.
	Min *float64 `json:"min,omitempty" yaml:"min,omitempty"`
	Max *float64 `json:"max,omitempty" yaml:"max,omitempty"`
	// Tolerance around Value: `2%`, or a number.
	Tolerance Tolerance `json:"tolerance,omitempty" yaml:"tolerance,omitempty"`
	Ignore    bool      `json:"ignore,omitempty" yaml:"ignore,omitempty"`
	Severity  Severity  `json:"severity,omitempty" yaml:"severity,omitempty"`
}

// WantSize is what is wanted of a number of bytes. The short form is Value, or the word `ignore`.
//
// A decimal unit (`480GB`, `1.92TB`) is what a disk's label says, and means ±1 %. Makers follow IDEMA's LBA1-03, by
// which a disk of G GB has 97,696,368 + 1,953,504 × (G − 50) sectors of 512 bytes: 0.02 to 0.04 % more than its
// label. Disks from before it, and labels that were rounded, are up to 0.6 % off (146 GB are 146.8). Sizes that are both sold
// are at least 2.4 % apart (250 and 256), so 1 % takes in every disk of a label and none of another. Any other size is
// exact: `32GiB`, `480103981056`, `480103981056B`.
type WantSize struct {
	Value string   `json:"value,omitempty" yaml:"value,omitempty"`
	AnyOf []string `json:"any_of,omitempty" yaml:"any_of,omitempty"`
	// Min and Max are both inclusive and exact; one of them is enough.
	Min *Size `json:"min,omitempty" yaml:"min,omitempty"`
	Max *Size `json:"max,omitempty" yaml:"max,omitempty"`
	// Tolerance around Value, in place of the label's: `2%`, or a size. `0` is exact.
	Tolerance Tolerance `json:"tolerance,omitempty" yaml:"tolerance,omitempty"`
	Ignore    bool      `json:"ignore,omitempty" yaml:"ignore,omitempty"`
	Severity  Severity  `json:"severity,omitempty" yaml:"severity,omitempty"`
}

// WantBool is what is wanted of something that is or is not. The short form is Value, or the word `ignore`.
type WantBool struct {
	Value    *bool    `json:"value,omitempty" yaml:"value,omitempty"`
	Ignore   bool     `json:"ignore,omitempty" yaml:"ignore,omitempty"`
	Severity Severity `json:"severity,omitempty" yaml:"severity,omitempty"`
}

// Tolerance is a percentage such as `2%`, or a plain number, or a size with a unit. Empty is none.
type Tolerance string

// Count is how many parts an entry stands for. The short form is the exact number. Without Max there is no upper
// bound, without Min no lower one.
type Count struct {
	Min *int `json:"min,omitempty" yaml:"min,omitempty"`
	Max *int `json:"max,omitempty" yaml:"max,omitempty"`
}

// Exactly is the [Count] of n parts.
func Exactly(n int) *Count { return &Count{Min: &n, Max: &n} }

// bounds of the count, inclusive; upTo is -1 without one.
func (c *Count) bounds() (least, upTo int) {
	switch {
	case c == nil:
		return 1, 1
	case c.Min == nil && c.Max == nil:
		return 0, -1
	case c.Max == nil:
		return *c.Min, -1
	case c.Min == nil:
		return 0, *c.Max
	}
	return *c.Min, *c.Max
}

// Validate reports what is wrong with the count itself.
func (c *Count) Validate() error {
	if c == nil {
		return nil
	}
	least, upTo := c.bounds()
	switch {
	case c.Min == nil && c.Max == nil:
		return errors.New("says nothing; want a number, min or max")
	case least < 0 || c.Max != nil && upTo < 0:
		return errors.New("is below zero")
	case least > MaxParts || upTo > MaxParts:
		return fmt.Errorf("is more than %d", MaxParts)
	case c.Max != nil && least > upTo:
		return fmt.Errorf("min %d is more than max %d", least, upTo)
	}
	return nil
}

// UnmarshalText reads the short form.
func (c *Count) UnmarshalText(text []byte) error {
	n, err := strconv.Atoi(string(text))
	if err != nil || !plainDigits(string(text)) {
		return fmt.Errorf("%q is not a number of parts; want one such as 8, or {min: 2, max: 4}", clip(string(text)))
	}
	*c = *Exactly(n)
	return nil
}

// UnmarshalJSON reads the short and the long form.
func (c *Count) UnmarshalJSON(data []byte) error {
	type long Count
	return shortOrLong(data, c, func(d []byte) error {
		var l long
		err := strictJSON(d, &l)
		*c = Count(l)
		return err
	})
}

func (c Count) short() (any, bool) {
	if c.Min != nil && c.Max != nil && *c.Min == *c.Max {
		return *c.Min, true
	}
	return nil, false
}

// MarshalJSON writes the short form where there is one.
func (c Count) MarshalJSON() ([]byte, error) {
	type long Count
	if s, ok := c.short(); ok {
		return json.Marshal(s)
	}
	return json.Marshal(long(c))
}

// MarshalYAML writes the short form where there is one.
func (c Count) MarshalYAML() (any, error) {
	type long Count
	if s, ok := c.short(); ok {
		return s, nil
	}
	return long(c), nil
}

// shortOrLong decodes a JSON scalar by the type's UnmarshalText, and an object by long.
func shortOrLong(data []byte, short interface{ UnmarshalText([]byte) error }, long func([]byte) error) error {
	data = bytes.TrimSpace(data)
	switch {
	case len(data) > 0 && data[0] == '{':
		return long(data)
	case len(data) > 0 && data[0] == '"':
		var text string
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
		return short.UnmarshalText([]byte(text))
	case len(data) == 0 || data[0] == '[' || data[0] == 'n':
		return errors.New("want a value or an object")
	}
	return short.UnmarshalText(data)
}

// ways counts how many ways to want something are given.
func ways(given ...bool) error {
	n := 0
	for _, g := range given {
		if g {
			n++
		}
	}
	switch n {
	case 0:
		return errors.New("nothing is wanted; give a value, or leave the field out")
	case 1:
		return nil
	}
	return errors.New("several ways to say what is wanted; want one of them")
}

// Literal is the [WantText] of one text.
func Literal(text string) *WantText {
	t := Text(text)
	return &WantText{Value: &t}
}

// Validate reports everything that is wrong with w itself.
func (w *WantText) Validate() error {
	if w == nil {
		return nil
	}
	errs := []error{w.Severity.Validate(), ways(w.Value != nil, w.AnyOf != nil, w.Regex != "", w.Glob != "",
		w.AtLeast != "" || w.AtMost != "", w.Ignore)}
	texts := append([]Text{w.Regex, w.Glob, w.AtLeast, w.AtMost}, w.AnyOf...)
	if w.Value != nil {
		texts = append(texts, *w.Value)
	}
	for _, s := range texts {
		if len(s) > maxWantText {
			errs = append(errs, fmt.Errorf("a text of %d bytes; want at most %d", len(s), maxWantText))
		}
	}
	if w.AnyOf != nil && (len(w.AnyOf) == 0 || len(w.AnyOf) > maxAnyOf) {
		errs = append(errs, fmt.Errorf("any_of has %d texts; want 1 to %d", len(w.AnyOf), maxAnyOf))
	}
	if _, err := regexp.Compile(string(w.Regex)); err != nil {
		errs = append(errs, fmt.Errorf("regex: %w", err))
	}
	if w.AtLeast != "" && w.AtMost != "" && CompareVersions(string(w.AtLeast), string(w.AtMost)) > 0 {
		errs = append(errs, fmt.Errorf("at_least %s is newer than at_most %s", w.AtLeast, w.AtMost))
	}
	return errors.Join(errs...)
}

// UnmarshalText reads the short form.
func (w *WantText) UnmarshalText(text []byte) error {
	if s := strings.TrimSpace(string(text)); s == ignoreWord {
		*w = WantText{Ignore: true}
	} else {
		*w = *Literal(s)
	}
	return nil
}

// UnmarshalJSON reads the short and the long form. A text must be a string: 0010 and 1.10 are no numbers.
func (w *WantText) UnmarshalJSON(data []byte) error {
	type long WantText
	if t := bytes.TrimSpace(data); len(t) > 0 && t[0] != '"' && t[0] != '{' {
		return fmt.Errorf("%s: want a text in quotes, or an object", clip(string(t)))
	}
	return shortOrLong(data, w, func(d []byte) error {
		var l long
		err := strictJSON(d, &l)
		*w = WantText(l)
		return err
	})
}

func (w WantText) short() (any, bool) {
	switch {
	case w.Severity != "" || w.AnyOf != nil || w.Regex+w.Glob+w.AtLeast+w.AtMost != "":
	case w.Ignore && w.Value == nil:
		return ignoreWord, true
	case !w.Ignore && w.Value != nil && string(*w.Value) == strings.TrimSpace(string(*w.Value)) && *w.Value != ignoreWord:
		return *w.Value, true
	}
	return nil, false
}

// MarshalJSON writes the short form where there is one.
func (w WantText) MarshalJSON() ([]byte, error) {
	type long WantText
	if s, ok := w.short(); ok {
		return json.Marshal(s)
	}
	return json.Marshal(long(w))
}

// MarshalYAML writes the short form where there is one.
func (w WantText) MarshalYAML() (any, error) {
	type long WantText
	if s, ok := w.short(); ok {
		return s, nil
	}
	return long(w), nil
}

// compile returns what is wanted in words, and whether a text is it.
func (w *WantText) compile() (want string, ok func(string) bool) {
	switch {
	case w.Value != nil:
		value := printable(string(*w.Value))
		return orNone(value), func(s string) bool { return s == value }
	case w.AnyOf != nil:
		values := make([]string, len(w.AnyOf))
		words := make([]string, len(w.AnyOf))
		for i, v := range w.AnyOf {
			values[i] = printable(string(v))
			words[i] = orNone(values[i])
		}
		return strings.Join(words, " or "), func(s string) bool { return slices.Contains(values, s) }
	case w.Regex != "":
		return "a text like /" + printable(string(w.Regex)) + "/", wholeText(string(w.Regex))
	case w.Glob != "":
		pattern := regexp.QuoteMeta(printable(string(w.Glob)))
		pattern = strings.ReplaceAll(strings.ReplaceAll(pattern, `\*`, `.*`), `\?`, `.`)
		return printable(string(w.Glob)), wholeText(pattern)
	case w.AtLeast != "" || w.AtMost != "":
		least, most := printable(string(w.AtLeast)), printable(string(w.AtMost))
		return between(least, most), func(s string) bool {
			return s != "" && (least == "" || CompareVersions(s, least) >= 0) &&
				(most == "" || CompareVersions(s, most) <= 0)
		}
	}
	return "something, but the model does not say what", func(string) bool { return false }
}

// wholeText matches a pattern against all of a text. What is no pattern matches nothing.
func wholeText(pattern string) func(string) bool {
	re, err := regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil {
		return func(string) bool { return false }
	}
	return re.MatchString
}

func between(least, most string) string {
	switch {
	case most == "":
		return "at least " + least
	case least == "":
		return "at most " + most
	}
	return least + " to " + most
}

// Validate reports everything that is wrong with w itself.
func (w *WantNumber) Validate() error {
	if w == nil {
		return nil
	}
	errs := []error{w.Severity.Validate(), ways(w.Value != nil, w.AnyOf != nil, w.Min != nil || w.Max != nil, w.Ignore)}
	if w.Tolerance != "" {
		if w.Value == nil {
			errs = append(errs, errors.New("a tolerance without a value"))
		}
		if _, size, err := w.Tolerance.around(0); err != nil || size {
			errs = append(errs, fmt.Errorf("tolerance %q: want a percentage such as 2%%, or a number", string(w.Tolerance)))
		}
	}
	if w.Min != nil && w.Max != nil && *w.Min > *w.Max {
		errs = append(errs, fmt.Errorf("min %s is more than max %s", number(*w.Min), number(*w.Max)))
	}
	if w.AnyOf != nil && (len(w.AnyOf) == 0 || len(w.AnyOf) > maxAnyOf) {
		errs = append(errs, fmt.Errorf("any_of has %d numbers; want 1 to %d", len(w.AnyOf), maxAnyOf))
	}
	for _, v := range append([]float64{deref(w.Value), deref(w.Min), deref(w.Max)}, w.AnyOf...) {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			errs = append(errs, errors.New("is not a number that anything can have"))
			break
		}
	}
	return errors.Join(errs...)
}

// UnmarshalText reads the short form.
func (w *WantNumber) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == ignoreWord {
		*w = WantNumber{Ignore: true}
		return nil
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || strings.Trim(s, "0123456789.") != "" || len(s) > 32 {
		return fmt.Errorf("%q is not a plain decimal number; want one, the word ignore, or a mapping such as "+
			"{min: 2, max: 4}", clip(s))
	}
	*w = WantNumber{Value: &v}
	return nil
}

// UnmarshalJSON reads the short and the long form.
func (w *WantNumber) UnmarshalJSON(data []byte) error {
	type long WantNumber
	if t := bytes.TrimSpace(data); len(t) > 0 && (t[0] == '-' || t[0] >= '0' && t[0] <= '9') {
		var v float64 // as encoding/json writes them, 1e21 among them
		if err := json.Unmarshal(t, &v); err != nil {
			return err
		}
		*w = WantNumber{Value: &v}
		return nil
	}
	return shortOrLong(data, w, func(d []byte) error {
		var l long
		err := strictJSON(d, &l)
		*w = WantNumber(l)
		return err
	})
}

func (w WantNumber) short() (any, bool) {
	switch {
	case w.Severity != "" || w.AnyOf != nil || w.Min != nil || w.Max != nil || w.Tolerance != "":
	case w.Ignore && w.Value == nil:
		return ignoreWord, true
	case !w.Ignore && w.Value != nil:
		return whole(*w.Value), true
	}
	return nil, false
}

// MarshalJSON writes the short form where there is one.
func (w WantNumber) MarshalJSON() ([]byte, error) {
	type long WantNumber
	if s, ok := w.short(); ok {
		return json.Marshal(s)
	}
	return json.Marshal(long(w))
}

// MarshalYAML writes the short form where there is one, and whole numbers without a fraction.
func (w WantNumber) MarshalYAML() (any, error) {
	if s, ok := w.short(); ok {
		return s, nil
	}
	long := struct {
		Value     any       `yaml:"value,omitempty"`
		AnyOf     []any     `yaml:"any_of,omitempty"`
		Min       any       `yaml:"min,omitempty"`
		Max       any       `yaml:"max,omitempty"`
		Tolerance Tolerance `yaml:"tolerance,omitempty"`
		Ignore    bool      `yaml:"ignore,omitempty"`
		Severity  Severity  `yaml:"severity,omitempty"`
	}{Tolerance: w.Tolerance, Ignore: w.Ignore, Severity: w.Severity}
	for _, f := range []struct {
		from *float64
		to   *any
	}{{w.Value, &long.Value}, {w.Min, &long.Min}, {w.Max, &long.Max}} {
		if f.from != nil {
			*f.to = whole(*f.from)
		}
	}
	for _, v := range w.AnyOf {
		long.AnyOf = append(long.AnyOf, whole(v))
	}
	return long, nil
}

// whole is v as an integer if it is one.
func whole(v float64) any {
	if v == math.Trunc(v) && math.Abs(v) < 1<<53 {
		return int64(v)
	}
	return v
}

// compile returns what is wanted in words, and whether a number is it. The unit is written behind numbers.
func (w *WantNumber) compile(unit func(float64) string) (want string, ok func(float64) bool) {
	switch {
	case w.Value != nil:
		value := *w.Value
		if w.Tolerance == "" {
			return unit(value), func(v float64) bool { return v == value }
		}
		around, _, err := w.Tolerance.around(value)
		if err != nil {
			break
		}
		return unit(value) + " ± " + printable(string(w.Tolerance)),
			func(v float64) bool { return math.Abs(v-value) <= around }
	case w.AnyOf != nil:
		words := make([]string, len(w.AnyOf))
		for i, v := range w.AnyOf {
			words[i] = unit(v)
		}
		return strings.Join(words, " or "), func(v float64) bool { return slices.Contains(w.AnyOf, v) }
	case w.Min != nil || w.Max != nil:
		var least, most string
		if w.Min != nil {
			least = unit(*w.Min)
		}
		if w.Max != nil {
			most = unit(*w.Max)
		}
		return between(least, most), func(v float64) bool {
			return (w.Min == nil || v >= *w.Min) && (w.Max == nil || v <= *w.Max)
		}
	}
	return "something, but the model does not say what", func(float64) bool { return false }
}

// UnmarshalText takes a percentage or a number as it is; what it means is for the field to say.
func (t *Tolerance) UnmarshalText(text []byte) error {
	*t = Tolerance(strings.TrimSpace(string(text)))
	return nil
}

// UnmarshalJSON reads a string or a number.
func (t *Tolerance) UnmarshalJSON(data []byte) error {
	return shortOrLong(data, t, func([]byte) error { return errors.New("want a percentage such as 2%, or a number") })
}

// around is how far from value it may be, and whether that was given as a size with a unit.
func (t Tolerance) around(value float64) (around float64, size bool, err error) {
	text := strings.TrimSpace(string(t))
	if percent, ok := strings.CutSuffix(text, "%"); ok {
		text = strings.TrimSpace(percent)
		p, err := strconv.ParseFloat(text, 64)
		if err != nil || strings.Trim(text, "0123456789.") != "" || p > 100 || len(text) > 32 {
			return 0, false, fmt.Errorf("tolerance %q: want a percentage up to 100, such as 2%%", clip(string(t)))
		}
		return math.Abs(value) * p / 100, false, nil
	}
	if v, err := strconv.ParseFloat(text, 64); err == nil && strings.Trim(text, "0123456789.") == "" && len(text) <= 32 {
		return v, false, nil
	}
	n, err := ParseSize(text)
	return float64(n), true, err
}

// labelTolerance is what a decimal size leaves open; [WantSize] says why.
const labelTolerance = Tolerance("1%")

// sizeRange is the bytes that a size as people write it stands for.
func sizeRange(text string, tolerance Tolerance) (least, most int64, err error) {
	n, err := ParseSize(text)
	if err != nil {
		return 0, 0, err
	}
	if tolerance == "" && decimalUnit(text) {
		tolerance = labelTolerance
	}
	if tolerance == "" {
		return int64(n), int64(n), nil
	}
	around, _, err := tolerance.around(float64(n))
	if err != nil {
		return 0, 0, err
	}
	off := int64(min(around, 1<<62))
	if most = int64(n) + off; most < int64(n) {
		most = math.MaxInt64
	}
	return int64(n) - off, most, nil
}

// decimalUnit says whether a size is written in kB, MB, GB, TB or PB.
func decimalUnit(text string) bool {
	t := strings.ToLower(strings.TrimSpace(text))
	return len(t) > 1 && t[len(t)-1] == 'b' && strings.IndexByte("kmgtp", t[len(t)-2]) >= 0
}

// Validate reports everything that is wrong with w itself.
func (w *WantSize) Validate() error {
	if w == nil {
		return nil
	}
	errs := []error{w.Severity.Validate(), ways(w.Value != "", w.AnyOf != nil, w.Min != nil || w.Max != nil, w.Ignore)}
	if w.AnyOf != nil && (len(w.AnyOf) == 0 || len(w.AnyOf) > maxAnyOf) {
		errs = append(errs, fmt.Errorf("any_of has %d sizes; want 1 to %d", len(w.AnyOf), maxAnyOf))
	}
	if w.Value != "" {
		_, _, err := sizeRange(w.Value, w.Tolerance)
		errs = append(errs, err)
	} else if w.Tolerance != "" {
		errs = append(errs, errors.New("a tolerance without a value"))
	}
	for _, v := range w.AnyOf {
		_, _, err := sizeRange(v, "")
		errs = append(errs, err)
	}
	if w.Min != nil && w.Max != nil && *w.Min > *w.Max {
		errs = append(errs, fmt.Errorf("min %s is more than max %s", *w.Min, *w.Max))
	}
	return errors.Join(errs...)
}

// UnmarshalText reads the short form.
func (w *WantSize) UnmarshalText(text []byte) error {
	s := strings.TrimSpace(string(text))
	if s == ignoreWord {
		*w = WantSize{Ignore: true}
		return nil
	}
	if _, err := ParseSize(s); err != nil {
		return err
	}
	*w = WantSize{Value: s}
	return nil
}

// UnmarshalJSON reads the short and the long form.
func (w *WantSize) UnmarshalJSON(data []byte) error {
	type long WantSize
	return shortOrLong(data, w, func(d []byte) error {
		var l long
		err := strictJSON(d, &l)
		*w = WantSize(l)
		return err
	})
}

func (w WantSize) short() (any, bool) {
	switch {
	case w.Severity != "" || w.AnyOf != nil || w.Min != nil || w.Max != nil || w.Tolerance != "":
	case w.Ignore && w.Value == "":
		return ignoreWord, true
	case !w.Ignore && plainDigits(w.Value):
		if n, err := strconv.ParseInt(w.Value, 10, 64); err == nil && strconv.FormatInt(n, 10) == w.Value {
			return n, true
		}
		return w.Value, true
	case !w.Ignore && w.Value != "":
		return w.Value, true
	}
	return nil, false
}

// MarshalJSON writes the short form where there is one.
func (w WantSize) MarshalJSON() ([]byte, error) {
	type long WantSize
	if s, ok := w.short(); ok {
		return json.Marshal(s)
	}
	return json.Marshal(long(w))
}

// MarshalYAML writes the short form where there is one.
func (w WantSize) MarshalYAML() (any, error) {
	type long WantSize
	if s, ok := w.short(); ok {
		return s, nil
	}
	return long(w), nil
}

// compile returns what is wanted in words, and whether a number of bytes is it. Sizes are shown by show.
func (w *WantSize) compile(show func(int64) string) (want string, ok func(int64) bool) {
	type bounds struct{ least, most int64 }
	one := func(text string, tolerance Tolerance) (string, bounds, error) {
		least, most, err := sizeRange(text, tolerance)
		if err != nil {
			return "", bounds{}, err
		}
		n, _ := ParseSize(text)
		word := show(int64(n))
		if least != most {
			if tolerance == "" {
				tolerance = labelTolerance
			}
			word += " ± " + printable(string(tolerance))
		}
		return word, bounds{least, most}, nil
	}
	var words []string
	var all []bounds
	switch {
	case w.Value != "":
		word, b, err := one(w.Value, w.Tolerance)
		if err != nil {
			break
		}
		return word, func(n int64) bool { return b.least <= n && n <= b.most }
	case w.AnyOf != nil:
		for _, v := range w.AnyOf {
			if word, b, err := one(v, ""); err == nil {
				words, all = append(words, word), append(all, b)
			}
		}
		return strings.Join(words, " or "), func(n int64) bool {
			return slices.ContainsFunc(all, func(b bounds) bool { return b.least <= n && n <= b.most })
		}
	case w.Min != nil || w.Max != nil:
		var least, most string
		if w.Min != nil {
			least = show(int64(*w.Min))
		}
		if w.Max != nil {
			most = show(int64(*w.Max))
		}
		return between(least, most), func(n int64) bool {
			return (w.Min == nil || n >= int64(*w.Min)) && (w.Max == nil || n <= int64(*w.Max))
		}
	}
	return "something, but the model does not say what", func(int64) bool { return false }
}

// Validate reports everything that is wrong with w itself.
func (w *WantBool) Validate() error {
	if w == nil {
		return nil
	}
	return errors.Join(w.Severity.Validate(), ways(w.Value != nil, w.Ignore))
}

// UnmarshalText reads the short form.
func (w *WantBool) UnmarshalText(text []byte) error {
	yes := true
	switch s := strings.TrimSpace(string(text)); s {
	case ignoreWord:
		*w = WantBool{Ignore: true}
	case "true", "false":
		yes = s == "true"
		*w = WantBool{Value: &yes}
	default:
		return fmt.Errorf("%q: want true, false or the word ignore", clip(s))
	}
	return nil
}

// UnmarshalJSON reads the short and the long form.
func (w *WantBool) UnmarshalJSON(data []byte) error {
	type long WantBool
	return shortOrLong(data, w, func(d []byte) error {
		var l long
		err := strictJSON(d, &l)
		*w = WantBool(l)
		return err
	})
}

func (w WantBool) short() (any, bool) {
	switch {
	case w.Severity != "":
	case w.Ignore && w.Value == nil:
		return ignoreWord, true
	case !w.Ignore && w.Value != nil:
		return *w.Value, true
	}
	return nil, false
}

// MarshalJSON writes the short form where there is one.
func (w WantBool) MarshalJSON() ([]byte, error) {
	type long WantBool
	if s, ok := w.short(); ok {
		return json.Marshal(s)
	}
	return json.Marshal(long(w))
}

// MarshalYAML writes the short form where there is one.
func (w WantBool) MarshalYAML() (any, error) {
	type long WantBool
	if s, ok := w.short(); ok {
		return s, nil
	}
	return long(w), nil
}

// CompareVersions orders two versions as their makers mostly do: below zero if a is older than b, above if it is newer,
// 0 if neither.
//
// A version is read as runs of digits and runs of letters; what stands between only parts them, so `2.10.2`,
// `2-10-2` and `2_10_2` are one version. Digits are compared as numbers (`2.9` is older than `2.10`, `02` is `2`),
// letters without regard to case, letters are older than digits, and a version that ends is older than one that goes
// on (`2.10`, `2.10.1`). So a release candidate is newer than its release: `2.10-rc1` goes on. Two texts that both
// are `0x` and hexadecimal digits, as microcode revisions, are compared as numbers.
func CompareVersions(a, b string) int {
	if x, ok := hexNumber(a); ok {
		if y, ok := hexNumber(b); ok {
			return compareDigits(x, y)
		}
	}
	return compareRuns(a, b)
}

// compareRuns is the order of versions without that of hexadecimal numbers; it sorts names as people count.
func compareRuns(a, b string) int {
	for {
		x, restA, digitsA := versionRun(a)
		y, restB, digitsB := versionRun(b)
		switch {
		case x == "" && y == "":
			return 0
		case x == "":
			return -1
		case y == "":
			return 1
		case digitsA != digitsB && digitsB:
			return -1
		case digitsA != digitsB:
			return 1
		}
		c := 0
		if digitsA {
			c = compareDigits(x, y)
		} else {
			c = strings.Compare(strings.ToLower(x), strings.ToLower(y))
		}
		if c != 0 {
			return c
		}
		a, b = restA, restB
	}
}

// versionRun cuts the first run of digits or letters off.
func versionRun(s string) (run, rest string, isDigits bool) {
	letter := func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 }
	digit := func(c byte) bool { return c >= '0' && c <= '9' }
	i := 0
	for i < len(s) && !letter(s[i]) && !digit(s[i]) {
		i++
	}
	start := i
	if i == len(s) {
		return "", "", false
	}
	same := letter
	if digit(s[i]) {
		same, isDigits = digit, true
	}
	for i < len(s) && same(s[i]) {
		i++
	}
	return s[start:i], s[i:], isDigits
}

func hexNumber(s string) (string, bool) {
	digits, ok := strings.CutPrefix(strings.ToLower(strings.TrimSpace(s)), "0x")
	return digits, ok && digits != "" && strings.Trim(digits, "0123456789abcdef") == ""
}

// compareDigits compares numbers of any length; digits of bases up to 16 are in the order of their bytes.
func compareDigits(x, y string) int {
	x, y = strings.TrimLeft(x, "0"), strings.TrimLeft(y, "0")
	if len(x) != len(y) {
		if len(x) < len(y) {
			return -1
		}
		return 1
	}
	return strings.Compare(x, y)
}

func plainDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func deref(v *float64) float64 {
	if v == nil {
		return 0
	}
	return *v
}

// number writes v without exponent as long as that is readable.
func number(v float64) string {
	if math.Abs(v) < 1e15 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// printable is the form in which texts are compared and shown: without blanks around, in one line, and with a
// replacement for what cannot be printed. A machine says what it likes, and the answer goes to terminals and logs.
func printable(s string) string {
	plain := true
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] > '~' {
			plain = false
			break
		}
	}
	if plain {
		if s == "" || s[0] != ' ' && s[len(s)-1] != ' ' {
			return s
		}
		return strings.Trim(s, " ")
	}
	return strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.TrimSpace(s))
}

// clip keeps a text in a sentence short.
func clip(s string) string {
	const longest = 200
	s = printable(s)
	if len(s) <= longest {
		return s
	}
	runes := []rune(s)
	if len(runes) <= longest {
		return s
	}
	return string(runes[:longest-1]) + "…"
}
