package arcconftool

import (
	"fmt"
	"io"
	"slices"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

type printer struct {
	w io.Writer
	c *raidtest.Controller
}

const (
	ruler = "----------------------------------------------------------------------"
	short = "--------------------------------------------------------"
)

func (p printer) line(format string, args ...any) { fmt.Fprintf(p.w, format+"\n", args...) }

func (p printer) title(s string) { p.line("%s\n%s\n%s", ruler, s, ruler) }

func (p printer) part(s string) { p.line("   %s\n   %s\n   %s", short, s, short) }

// field of a controller or volume; inner is one of a drive.
func (p printer) field(label string, value any) { p.line("   %-42s : %v", label, value) }
func (p printer) inner(label, value string)     { p.line("         %-36s : %s", label, value) }

func modeText(c *raidtest.Controller, mode raid.Mode) string {
	switch {
	case mode == raid.ModeHBA:
		return "HBA"
	case mode == raid.ModeMixed:
		return "Mixed"
	case smart(c):
		return "RAID"
	}
	return "RAID (Expose RAW)"
}

// list is the answer to LIST.
func (p printer) list(controllers []*raidtest.Controller) {
	p.title("Controller information")
	p.line("   Controller ID             : Status, Slot, Mode, Name, SerialNumber, WWN\n%s", ruler)
	for i, c := range controllers {
		wwn, ok := c.Extra["Controller World Wide Name"]
		if !ok {
			wwn = fmt.Sprintf("50000D1%09d", i)
		}
		p.line("   Controller %d:             : Optimal, Slot %s, %s, %s, %s, %s", i+1, c.Slot, modeText(c, c.Mode), c.Model,
			c.Serial, wwn)
	}
}

// text is a field whose value is a word.
func (p printer) text(label, value string) { p.field(label, value) }

func (p printer) adapter() {
	switch {
	case serveraid(p.c):
		p.serveraidAdapter()
	case smart(p.c):
		p.smartAdapter()
	default:
		p.series8Adapter()
	}
}

func (p printer) volumes() {
	if serveraid(p.c) {
		p.logicalDrives()
		return
	}
	line := ruler
	if smart(p.c) {
		line = short
	}
	p.line("%s\nLogical device information\n%s", line, line)
	if len(p.c.Volumes) == 0 {
		p.line("   No logical devices configured\n")
	}
	for _, v := range p.c.Volumes {
		if smart(p.c) {
			p.smartVolume(v)
		} else {
			p.series8Volume(v)
		}
	}
}

// all is what GETCONFIG says without a part, or with AL.
func (p printer) all() {
	p.adapter()
	if smart(p.c) && !two(p.c) {
		p.arrays()
	}
	if p.c.Mode != raid.ModeHBA || !two(p.c) {
		p.volumes()
	}
	p.physical()
	if two(p.c) {
		p.title("Connector information")
		p.connectors(connector)
	}
}

func (p printer) physical() {
	if serveraid(p.c) {
		p.oldDrives()
		return
	}
	p.drives()
}

func volumeStatus(c *raidtest.Controller, v *raidtest.Volume) string {
	if v.Impacted && defunct(c, v) == 0 && v.Initializing == "" {
		return "Impacted"
	}
	return map[raid.VolumeStateKind]string{raid.VolumeOptimal: "Optimal", raid.VolumeInitializing: "Build",
		raid.VolumeDegraded: "Degraded", raid.VolumePartial: "Suboptimal, Fault Tolerant",
		raid.VolumeRebuilding: "Rebuilding", raid.VolumeOffline: "Failed"}[c.State(v)]
}

func (p printer) array(v *raidtest.Volume) int {
	return slices.IndexFunc(p.c.Groups(), func(g []*raidtest.Volume) bool { return slices.Contains(g, v) })
}

// tasks is the answer to GETSTATUS.
func (p printer) tasks() {
	any := false
	for _, v := range p.c.Volumes {
		for _, serial := range v.Members {
			if d := p.c.Drive(serial); d != nil && d.State == raid.DiskRebuilding {
				any = true
				p.line("Logical device Task:")
				p.field("Logical device", v.Number)
				p.field("Task ID", 100+v.Number)
				p.field("Current operation", "Rebuild")
				p.field("Status", "In Progress")
				p.field("Percentage complete", int(d.Rebuild*100))
			}
		}
	}
	if !any {
		p.line("Logical device Task:\n   None")
	}
}
