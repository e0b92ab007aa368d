package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
)

func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// table writes rows in columns. Cells come from machines and people, so nothing that moves the cursor gets through.
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

func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
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
