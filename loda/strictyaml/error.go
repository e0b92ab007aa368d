package strictyaml

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// An Error is one thing that is wrong in a file.
type Error struct {
	// File as the caller named it.
	File string `json:"file"`
	// Line and Column count from 1; Column counts characters. 0: the file as a whole.
	Line   int `json:"line,omitempty"`
	Column int `json:"column,omitempty"`
	// Path of the field, such as `steps[0].timeout`.
	Path string `json:"path,omitempty"`
	// Message says what is wrong and what is wanted.
	Message string `json:"message"`
}

// Error is `file:line:col: path: message`.
func (e Error) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", e.Line, e.Column)
	}
	b.WriteString(": ")
	if e.Path != "" {
		b.WriteString(e.Path + ": ")
	}
	b.WriteString(e.Message)
	return b.String()
}

// Err joins errors into one, or returns nil where there is none.
func Err(errs []Error) error {
	all := make([]error, len(errs))
	for i, e := range errs {
		all[i] = e
	}
	return errors.Join(all...)
}

// Sort orders errors by file, line and column, and drops repetitions.
func Sort(errs []Error) []Error {
	slices.SortStableFunc(errs, func(a, b Error) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Path, b.Path), cmp.Compare(a.Message, b.Message))
	})
	return slices.Compact(errs)
}

// Suggest names the known word that word was probably meant to be, or lists what is known: the end of a message about
// an unknown word.
func Suggest(word string, known []string) string {
	known = slices.Clone(known)
	slices.Sort(known)
	best, distance := "", max(1, min(3, len(word)/3))+1
	for _, k := range known {
		if d := editDistance(strings.ToLower(word), strings.ToLower(k)); d < distance && d < len(word) {
			best, distance = k, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf("did you mean %s?", best)
	case len(known) == 0:
		return "there is none"
	case len(known) > maxListed:
		return fmt.Sprintf("want %s or one of %d others", strings.Join(known[:maxListed], ", "), len(known)-maxListed)
	}
	return "want " + oneOf(known)
}

const maxListed = 20

func oneOf(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	return strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
}

// editDistance counts insertions, deletions, replacements and swaps of neighbours. Long words are far from everything.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return 64
	}
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := last[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(replace, last[j]+1, row[j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
