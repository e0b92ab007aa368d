//go:build linux

package hw

import (
	"fmt"
	"strconv"
	"strings"
)

// maxLinkModeWords: the kernel had 4 words of link modes in 2025.
const maxLinkModeWords = 32

// linkModeSpeeds are the link modes by speed in Mbit/s (include/uapi/linux/ethtool.h, enum
// ethtool_link_mode_bit_indices, Linux 6.18). Bits that are not listed are ports, pause frames and error correction, or
// newer than this list.
var linkModeSpeeds = []struct{ first, last, mbps int }{
	{0, 1, 10}, {2, 3, 100}, {4, 5, 1000}, {12, 12, 10000}, {15, 15, 2500}, {17, 17, 1000}, {18, 20, 10000},
	{21, 22, 20000}, {23, 26, 40000}, {27, 30, 56000}, {31, 33, 25000}, {34, 35, 50000}, {36, 39, 100000},
	{40, 40, 50000}, {41, 41, 1000}, {42, 46, 10000}, {47, 47, 2500}, {48, 48, 5000}, {52, 56, 50000},
	{57, 61, 100000}, {62, 66, 200000}, {67, 67, 100}, {68, 68, 1000}, {69, 73, 400000}, {75, 79, 100000},
	{80, 84, 200000}, {85, 89, 400000}, {90, 91, 100}, {92, 92, 10}, {93, 98, 800000}, {99, 102, 10},
	{103, 108, 200000}, {109, 114, 400000}, {115, 120, 800000}, {121, 124, 1600000},
}

// fastest link mode of a set, 0 if it has none that is known.
func fastest(modes []uint32) int {
	best := 0
	for _, s := range linkModeSpeeds {
		for bit := s.first; bit <= s.last; bit++ {
			if bit/32 < len(modes) && modes[bit/32]>>(bit%32)&1 != 0 {
				best = max(best, s.mbps)
			}
		}
	}
	return best
}

// formatLinkModes is how a captured machine keeps them: words in hexadecimal, the one with bit 0 first.
func formatLinkModes(modes []uint32) []byte {
	words := make([]string, len(modes))
	for i, w := range modes {
		words[i] = fmt.Sprintf("%08x", w)
	}
	return []byte(strings.Join(words, " "))
}

func parseLinkModes(text []byte) ([]uint32, error) {
	fields := strings.Fields(string(text))
	if len(fields) > maxLinkModeWords {
		return nil, fmt.Errorf("%d words of link modes", len(fields))
	}
	modes := make([]uint32, len(fields))
	for i, f := range fields {
		v, err := strconv.ParseUint(f, 16, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is no word of link modes", f)
		}
		modes[i] = uint32(v)
	}
	return modes, nil
}
