package lab

import (
	"fmt"
	"math/big"
	"strings"
)

// Size is a number of bytes. As text it is a whole or decimal number with a unit: B, KiB, MiB, GiB, TiB (powers of
// 1024) or kB, MB, GB, TB (powers of 1000); without a unit it counts bytes. Ambiguous shorthands such as "4G" are
// refused.
type Size int64

// Units of [Size].
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
	TiB Size = 1 << 40
)

// sizeUnits is ordered: a suffix comes after every longer one that ends in it.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1},
}

// ParseSize reads the text form of a Size.
func ParseSize(text string) (Size, error) {
	trimmed := strings.TrimSpace(text)
	for _, u := range sizeUnits {
		digits, ok := strings.CutSuffix(trimmed, u.suffix)
		if !ok {
			continue
		}
		digits = strings.TrimSpace(digits)
		if digits == "" || len(digits) > 20 || strings.Trim(digits, "0123456789.") != "" {
			break
		}
		n, ok := new(big.Rat).SetString(digits)
		if !ok {
			break
		}
		n.Mul(n, new(big.Rat).SetInt64(u.bytes))
		if !n.IsInt() || !n.Num().IsInt64() {
			return 0, fmt.Errorf("size %q is not a whole number of bytes below 8 EiB", text)
		}
		return Size(n.Num().Int64()), nil
	}
	return 0, fmt.Errorf("size %q: want a number with one of B, KiB, MiB, GiB, TiB, kB, MB, GB, TB, such as 4GiB", text)
}

// String prints the size with the largest unit that needs no fraction.
func (s Size) String() string {
	best := fmt.Sprintf("%dB", int64(s))
	for _, u := range sizeUnits {
		if u.bytes > 1 && s != 0 && int64(s)%u.bytes == 0 {
			if t := fmt.Sprintf("%d%s", int64(s)/u.bytes, u.suffix); len(t) <= len(best) {
				best = t
			}
		}
	}
	return best
}

// MarshalText implements [encoding.TextMarshaler].
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (s *Size) UnmarshalText(text []byte) error {
	parsed, err := ParseSize(string(text))
	if err != nil {
		return err
	}
	*s = parsed
	return nil
}
