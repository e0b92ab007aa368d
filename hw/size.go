package hw

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"
)

// Size is a number of bytes that people write with a unit: decimal `kB`, `MB`, `GB`, `TB`, `PB` as on a disk's label,
// or binary `KiB`, `MiB`, `GiB`, `TiB`, `PiB`, in any case, with an optional fraction and blank: `40GB`, `1.92 TB`,
// `32GiB`. A number without a unit is bytes. `40G` is refused: it means either, depending on who reads it.
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"PiB", 1 << 50}, {"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10},
	{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
}

// ParseSize reads what [Size] describes.
func ParseSize(s string) (Size, error) {
	t := strings.TrimSpace(s)
	digits := strings.TrimRight(t, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
	unit := t[len(digits):]
	digits = strings.TrimSpace(digits)
	scale := int64(0)
	if unit == "" {
		scale = 1
	}
	for _, u := range sizeUnits {
		if strings.EqualFold(unit, u.name) {
			scale = u.bytes
		}
	}
	if scale == 0 {
		return 0,
			fmt.Errorf("size %q: unknown unit %q (want B, kB, MB, GB, TB, PB for decimal or KiB, MiB, GiB, TiB, "+
				"PiB for binary)", s, unit)
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	if len(digits) > 20 || strings.Trim(whole+fraction, "0123456789") != "" || whole == "" ||
		strings.HasSuffix(digits, ".") {
		return 0, fmt.Errorf("size %q is not a number with a unit, such as 40GB or 32GiB", s)
	}
	value, _ := new(big.Rat).SetString(digits)
	value.Mul(value, new(big.Rat).SetInt64(scale))
	if !value.IsInt() {
		return 0, fmt.Errorf("size %q is not a whole number of bytes", s)
	}
	if !value.Num().IsInt64() {
		return 0, fmt.Errorf("size %q is more than any disk has", s)
	}
	return Size(value.Num().Int64()), nil
}

// String writes the size exactly, in the unit that gives the shortest number: `40GB`, `32GiB`, `512B`.
func (s Size) String() string {
	best := fmt.Sprintf("%dB", int64(s))
	for _, u := range sizeUnits {
		if int64(s)%u.bytes == 0 && s != 0 {
			if text := fmt.Sprintf("%d%s", int64(s)/u.bytes, u.name); len(text) < len(best) {
				best = text
			}
		}
	}
	return best
}

// MarshalText writes [Size.String].
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what [ParseSize] reads.
func (s *Size) UnmarshalText(text []byte) error {
	v, err := ParseSize(string(text))
	if err == nil {
		*s = v
	}
	return err
}

// UnmarshalJSON reads a string as [ParseSize] does, or a number of bytes.
func (s *Size) UnmarshalJSON(data []byte) error {
	text := string(bytes.TrimSpace(data))
	if strings.HasPrefix(text, `"`) {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	return s.UnmarshalText([]byte(text))
}

// humanBytes is how a disk's label says it: decimal, three digits.
func humanBytes(n int64) string {
	for _, u := range []struct {
		name  string
		bytes float64
	}{{"PB", 1e15}, {"TB", 1e12}, {"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}} {
		if v := float64(n) / u.bytes; v >= 1 {
			return strings.TrimSuffix(strings.TrimRight(fmt.Sprintf("%.2f", v), "0"), ".") + " " + u.name
		}
	}
	return fmt.Sprintf("%d B", n)
}
