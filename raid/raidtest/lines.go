package raidtest

import "maps"

// Table is what a tool tells of a T, a line each, in the tool's order. An emulator's tables keep apart what follows
// from the state, which is computed, and what is none of its business, such as a temperature: that stands in Extra, and
// is not printed where Extra does not have it.
type Table[T any] []line[T]

type line[T any] struct {
	label string
	of    func(T) string
}

// Is adds a line that is computed; "" is one that is not printed.
func (t Table[T]) Is(label string, of func(T) string) Table[T] { return append(t, line[T]{label, of}) }

// Own adds lines with what only Extra has.
func (t Table[T]) Own(labels ...string) Table[T] {
	for _, l := range labels {
		t = append(t, line[T]{label: l})
	}
	return t
}

// Print calls print for the lines that are known. Extra never takes the place of what is computed.
func (t Table[T]) Print(of T, extra map[string]string, print func(label, value string)) {
	for _, l := range t {
		value, known := extra[l.label]
		if l.of != nil {
			value = l.of(of)
			known = value != ""
		}
		if known {
			print(l.label, value)
		}
	}
}

// With are the words of a and b, of b where both have one.
func With(a, b map[string]string) map[string]string {
	all := maps.Clone(a)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, b)
	return all
}
