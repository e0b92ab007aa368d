package hw

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// A partField knows everything about one field of a part: where it stands in a model of type M and in the facts P, how
// it is compared, shown, and learnt from a known-good machine.
type partField[M, P any] struct {
	// name below the part, as in JSON; label is what sentences call it.
	name, label string
	// test returns what is wanted, nil if nothing is.
	test func(m *M) *test[P]
	// show is the value for people, "" if there is none or nobody knows.
	show func(p *P) string
	// learn writes the value into a model, unless it is unknown.
	learn func(m *M, p *P)
	// drop removes it again.
	drop     func(m *M)
	validate func(m *M) error
}

// A test is what is wanted of one field.
type test[P any] struct {
	name, label string
	want        string
	severity    Severity
	ok          func(p *P) bool
	// got says what there is instead.
	got func(p *P) string
	// exactly is what is wanted where want is rounded, and so is what there is.
	exactly string
}

// words are what is wanted and what there is.
func (t *test[P]) words(p *P) (want, got string) {
	got = t.got(p)
	if t.exactly != "" && strings.HasPrefix(got, t.want+" (") {
		return t.exactly, got
	}
	return t.want, got
}

// notKnown is why a field of p is not known, if it is not. A part that lists more unknown fields than a part has is
// not believed in any field that it leaves out.
func notKnown(unknown []Unknown, name string) (reason string, ok bool) {
	const most = 64
	if len(unknown) > most {
		return fmt.Sprintf("%d fields of it are listed as unknown", len(unknown)), true
	}
	for _, u := range unknown {
		if u.Path == name || u.Path == "" {
			return u.Reason, true
		}
	}
	return "", false
}

// reasonOf has the list of a part's unknown fields.
type reasonOf[P any] func(p *P) []Unknown

func unknownWord(reason string) string {
	if reason = clip(reason); reason == "" {
		reason = "nothing tells"
	}
	return "unknown (" + reason + ")"
}

func labelOf(name, said string) string {
	if said != "" {
		return said
	}
	return strings.NewReplacer("_", " ", "/", " ").Replace(name)
}

// text makes a field of a text. Without a value, and without a reason for that, it is known to be empty.
func text[M, P any](name, said string, unknown reasonOf[P], at func(*M) **WantText,
	get func(*P) string) partField[M, P] {
	return textIf(name, said, unknown, at, func(p *P) (string, bool) { return get(p), true })
}

// textIf is text for a field that may also be unknown without anybody listing it.
func textIf[M, P any](name, said string, unknown reasonOf[P], at func(*M) **WantText,
	get func(*P) (string, bool)) partField[M, P] {
	value := func(p *P) (string, bool) {
		s, told := get(p)
		if s = printable(s); s == "" && told {
			_, not := notKnown(unknown(p), name)
			told = !not
		}
		return s, told
	}
	return partField[M, P]{name: name, label: labelOf(name, said),
		show: func(p *P) string {
			s, _ := value(p)
			return s
		},
		test: func(m *M) *test[P] {
			w := *at(m)
			if w == nil || w.Ignore {
				return nil
			}
			want, ok := w.compile()
			return &test[P]{want: want, severity: w.Severity,
				ok: func(p *P) bool {
					s, told := value(p)
					return told && ok(s)
				},
				got: func(p *P) string {
					if s, told := value(p); told {
						return orNone(s)
					}
					reason, _ := notKnown(unknown(p), name)
					return unknownWord(reason)
				}}
		},
		learn: func(m *M, p *P) {
			if s, told := value(p); told && len(s) <= maxWantText {
				*at(m) = Literal(s)
			}
		},
		drop:     func(m *M) { *at(m) = nil },
		validate: func(m *M) error { return (*at(m)).Validate() },
	}
}

// oneOf lets a text field want only these words.
func oneOf[M, P any](f partField[M, P], at func(*M) **WantText, words ...string) partField[M, P] {
	return checked(f, at, func(s string) error {
		if !slices.Contains(words, s) {
			return fmt.Errorf("%q is none of %s", clip(s), strings.Join(words, ", "))
		}
		return nil
	})
}

// hexID lets a text field want only so many lower-case hexadecimal digits, as the facts have them.
func hexID[M, P any](digits int, f partField[M, P], at func(*M) **WantText) partField[M, P] {
	id := regexp.MustCompile(fmt.Sprintf(`^([0-9a-f]{%d})?$`, digits))
	return checked(f, at, func(s string) error {
		if !id.MatchString(s) {
			return fmt.Errorf("%q: want %d lower-case hexadecimal digits without 0x", clip(s), digits)
		}
		return nil
	})
}

func checked[M, P any](f partField[M, P], at func(*M) **WantText, check func(string) error) partField[M, P] {
	validate := f.validate
	f.validate = func(m *M) error {
		if err := validate(m); err != nil {
			return err
		}
		w := *at(m)
		if w == nil {
			return nil
		}
		values := w.AnyOf
		if w.Value != nil {
			values = []Text{*w.Value}
		}
		for _, v := range values {
			if err := check(printable(string(v))); err != nil {
				return err
			}
		}
		return nil
	}
	return f
}

// told is for numbers that no part has as 0.
func told(v int) (float64, bool) { return float64(v), v != 0 }

func pointed(v *int) (float64, bool) {
	if v == nil {
		return 0, false
	}
	return float64(*v), true
}

// num makes a field of a number. value returns the number, and whether it is known.
func num[M, P any](name, said string, unknown reasonOf[P], at func(*M) **WantNumber,
	value func(*P) (float64, bool), unit func(float64) string) partField[M, P] {
	return partField[M, P]{name: name, label: labelOf(name, said),
		show: func(p *P) string {
			if v, told := value(p); told && v != 0 {
				return unit(v)
			}
			return ""
		},
		test: func(m *M) *test[P] {
			w := *at(m)
			if w == nil || w.Ignore {
				return nil
			}
			want, ok := w.compile(unit)
			return &test[P]{want: want, severity: w.Severity,
				ok: func(p *P) bool {
					v, told := value(p)
					return told && ok(v)
				},
				got: func(p *P) string {
					if v, told := value(p); told {
						return unit(v)
					}
					reason, _ := notKnown(unknown(p), name)
					return unknownWord(reason)
				}}
		},
		learn: func(m *M, p *P) {
			if v, told := value(p); told {
				*at(m) = &WantNumber{Value: &v}
			}
		},
		drop:     func(m *M) { *at(m) = nil },
		validate: func(m *M) error { return (*at(m)).Validate() },
	}
}

// size makes a field of a number of bytes, which show writes and write puts into a model. Only what comes in decimal
// sizes can be empty: a drive without a medium.
func size[M, P any](name, said string, unknown reasonOf[P], at func(*M) **WantSize, get func(*P) int64,
	show func(int64) string, write func(int64) string, decimal bool) partField[M, P] {
	value := func(p *P) (int64, bool) {
		v := get(p)
		if v == 0 {
			_, not := notKnown(unknown(p), name)
			return 0, decimal && !not
		}
		return v, true
	}
	return partField[M, P]{name: name, label: labelOf(name, said),
		show: func(p *P) string {
			if v, told := value(p); told && v != 0 {
				return show(v)
			}
			return ""
		},
		test: func(m *M) *test[P] {
			w := *at(m)
			if w == nil || w.Ignore {
				return nil
			}
			want, ok := w.compile(show)
			exactly := ""
			if n, err := ParseSize(w.Value); err == nil {
				exactly = fmt.Sprintf("%s (%d bytes)", want, int64(n))
			}
			return &test[P]{want: want, severity: w.Severity, exactly: exactly,
				ok: func(p *P) bool {
					v, told := value(p)
					return told && ok(v)
				},
				got: func(p *P) string {
					v, told := value(p)
					if !told {
						reason, _ := notKnown(unknown(p), name)
						return unknownWord(reason)
					}
					if got := show(v); !strings.Contains(want, got) {
						return got
					}
					// What is wanted looks the same when it is rounded.
					return fmt.Sprintf("%s (%d bytes)", show(v), v)
				}}
		},
		learn: func(m *M, p *P) {
			if v, told := value(p); told && v >= 0 {
				*at(m) = &WantSize{Value: write(v)}
			}
		},
		drop: func(m *M) { *at(m) = nil },
		validate: func(m *M) error {
			w := *at(m)
			if err := w.Validate(); err != nil || w == nil || decimal {
				return err
			}
			for _, v := range append([]string{w.Value}, w.AnyOf...) {
				if decimalUnit(v) {
					return fmt.Errorf("%s: memory comes in binary units; want one such as 32GiB", clip(v))
				}
			}
			return nil
		},
	}
}

// yesNo makes a field of something that is or is not; yes and no are the words for it.
func yesNo[M, P any](name, said, yes, no string, unknown reasonOf[P], at func(*M) **WantBool,
	get func(*P) *bool) partField[M, P] {
	word := func(b bool) string {
		if b {
			return yes
		}
		return no
	}
	return partField[M, P]{name: name, label: labelOf(name, said),
		show: func(p *P) string {
			if b := get(p); b != nil {
				return word(*b)
			}
			return ""
		},
		test: func(m *M) *test[P] {
			w := *at(m)
			if w == nil || w.Ignore {
				return nil
			}
			t := &test[P]{want: "something, but the model does not say what", severity: w.Severity,
				ok: func(p *P) bool {
					b := get(p)
					return b != nil && w.Value != nil && *b == *w.Value
				},
				got: func(p *P) string {
					if b := get(p); b != nil {
						return word(*b)
					}
					reason, _ := notKnown(unknown(p), name)
					return unknownWord(reason)
				}}
			if w.Value != nil {
				t.want = word(*w.Value)
			}
			return t
		},
		learn: func(m *M, p *P) {
			if b := get(p); b != nil {
				v := *b
				*at(m) = &WantBool{Value: &v}
			}
		},
		drop:     func(m *M) { *at(m) = nil },
		validate: func(m *M) error { return (*at(m)).Validate() },
	}
}

func plainNumber(v float64) string { return number(v) }

func in(unit string) func(float64) string {
	return func(v float64) string { return number(v) + " " + unit }
}

func lanes(v float64) string { return "x" + number(v) }
