package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
)

// Texts come from machines and people, and end on a terminal: nothing that moves the cursor gets through, in any of the
// forms of output.

func writeJSON(w io.Writer, v any) error {
	doc, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, escaped(doc))
	return err
}

// writeJSONLine is writeJSON for a stream of documents, one a line.
func writeJSONLine(w io.Writer, v any) error {
	doc, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(w, escaped(doc))
	return err
}

// escaped writes control characters of strings as JSON can, those above ASCII too: a terminal obeys U+009B as it does
// ESC [.
func escaped(doc []byte) string {
	var b strings.Builder
	for _, r := range string(doc) {
		if r < 0x7f || unicode.IsPrint(r) || r > 0xffff {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// table writes rows in columns.
func table(w io.Writer, header []string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(tw, strings.Join(header, "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = plain(row[i])
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// plain makes a text one line that shows as it is.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

// plainLines is plain for a text of several lines, in which a tab may matter.
func plainLines(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func age(t, now time.Time) string {
	if t.IsZero() {
		return "-"
	}
	d := now.Sub(t).Round(time.Second)
	switch {
	case d < 0:
		return "0s"
	case d < 2*time.Minute:
		return d.String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

// machineRow is a line of listings and of the live status.
func machineRow(m api.Machine, now time.Time) []string {
	state, since, what := "-", "-", ""
	if m.Source == inventory.Discovered {
		state, what = "discovered", "nobody imported it"
	}
	profile := m.Profile
	if i := m.Installation; i != nil {
		state, since, profile = string(i.State), age(i.StateSince, now), i.Profile
		switch {
		case i.Reason != "":
			what = i.Reason
		case i.ProgressText != "" && i.State.Open():
			what = fmt.Sprintf("%3.0f%% %s", i.Progress*100, i.ProgressText)
		case i.State == inventory.Installed:
			what = "took " + total(i).Round(time.Second).String() + ", runs at " + dash(i.Address)
		}
	}
	return []string{string(m.Serial), dash(strings.TrimSpace(m.Vendor + " " + m.Product)), dash(profile), state, since, what}
}

var machineHeader = []string{"SERIAL", "MODEL", "PROFILE", "STATE", "SINCE", "WHAT"}

// total is from the boot script to the first boot.
func total(i *api.Installation) time.Duration {
	start, ok := i.Entered[inventory.Netbooting]
	if !ok {
		start = i.CreatedAt
	}
	return i.StateSince.Sub(start)
}
