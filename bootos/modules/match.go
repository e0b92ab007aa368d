package modules

// Match reports whether s matches a pattern of a module's aliases: `*` any string, `?` any byte, `[a-c]` one of a set,
// as fnmatch(3) without flags, which is what kmod uses. A slash is a byte like others. A broken set matches only
// itself, byte by byte.
func Match(pattern, s string) bool {
	// The position to fall back to: after the last star, and how much of s it has swallowed.
	star, mark := -1, 0
	p, i := 0, 0
	for i < len(s) {
		if p < len(pattern) {
			if pattern[p] == '*' {
				star, mark = p, i
				p++
				continue
			}
			if ok, width := matchOne(pattern[p:], s[i]); ok {
				p += width
				i++
				continue
			}
		}
		if star < 0 {
			return false
		}
		mark++
		p, i = star+1, mark
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchOne matches one byte against the start of the pattern and says how many bytes of the pattern that took.
func matchOne(pattern string, c byte) (ok bool, width int) {
	switch pattern[0] {
	case '?':
		return true, 1
	case '\\':
		if len(pattern) > 1 {
			return pattern[1] == c, 2
		}
	case '[':
		if ok, width := matchSet(pattern, c); width > 0 {
			return ok, width
		}
	}
	return pattern[0] == c, 1
}

func matchSet(pattern string, c byte) (ok bool, width int) {
	i := 1
	negated := i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^')
	if negated {
		i++
	}
	for first := true; i < len(pattern); first = false {
		lo := pattern[i]
		if lo == ']' && !first {
			return ok != negated, i + 1
		}
		hi := lo
		i++
		if i+1 < len(pattern) && pattern[i] == '-' && pattern[i+1] != ']' {
			hi = pattern[i+1]
			i += 2
		}
		ok = ok || lo <= c && c <= hi
	}
	return false, 0
}
