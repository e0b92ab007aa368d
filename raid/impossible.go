package raid

import (
	"fmt"
	"strings"
)

// ImpossibleError says why a layout cannot be had on a machine: all that is wrong, not only the first.
type ImpossibleError struct{ Problems []Problem }

// Problem is one thing that cannot be had.
type Problem struct {
	// Path of what wants it: controllers[0].volumes[1].
	Path       string
	Controller ControllerID
	// Text says what is wanted, what is there instead, and what would help.
	Text string
	// Considered is every drive of the controller that was not taken, where drives are what is missing.
	Considered []Considered
}

// Considered is a drive that a choice did not get.
type Considered struct {
	Disk DiskRef
	// Against is each reason why.
	Against []string
}

// What is told in one message; the rest is in Problems.
const (
	maxProblems   = 12
	maxConsidered = 24
)

func (e *ImpossibleError) Error() string {
	var b strings.Builder
	b.WriteString("the RAID layout cannot be had on this machine")
	for i, p := range e.Problems {
		if i == maxProblems {
			fmt.Fprintf(&b, "\n- and %d more problems", len(e.Problems)-i)
			break
		}
		fmt.Fprintf(&b, "\n- %s", p.Path)
		if p.Controller != "" {
			fmt.Fprintf(&b, " (controller %s)", clip(string(p.Controller)))
		}
		fmt.Fprintf(&b, ": %s", p.Text)
		for k, c := range p.Considered {
			if k == maxConsidered {
				fmt.Fprintf(&b, "\n  - and %d more drives", len(p.Considered)-k)
				break
			}
			fmt.Fprintf(&b, "\n  - %s: %s", c.Disk, strings.Join(c.Against, ", "))
		}
	}
	return b.String()
}

// String is what people find a drive by: `drive 252:4 (serial S1)`.
func (r DiskRef) String() string {
	where := r.Location
	if where == "" {
		where = string(r.ID)
	}
	switch {
	case r.Serial != "":
		return fmt.Sprintf("drive %s (serial %s)", clip(where), clip(r.Serial))
	case r.WWN != "":
		return fmt.Sprintf("drive %s (WWN %s)", clip(where), clip(r.WWN))
	}
	return "drive " + clip(where)
}

// String is what people find a volume by: `volume os (naa.6…)`.
func (r VolumeRef) String() string {
	name := r.Name
	if name == "" {
		name = string(r.ID)
	}
	if r.WWN != "" {
		return fmt.Sprintf("volume %s (%s)", clip(name), clip(r.WWN))
	}
	return "volume " + clip(name)
}
