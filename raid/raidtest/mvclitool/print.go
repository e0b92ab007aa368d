package mvclitool

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// info prints a list. Only the first card's drives and volumes are shown.
func info(cards []*raidtest.Controller, list string) string {
	p := &printer{c: cards[0]}
	if nvme(p.c) {
		return nvmeInfo(cards, list)
	}
	switch list {
	case "hba":
		for i, c := range cards {
			p.c = c
			p.card(i)
		}
	case "pd":
		p.drives()
	case "vd":
		p.volumes()
	default:
		return "\nError: invalid object.\n"
	}
	return p.String()
}

type printer struct {
	strings.Builder
	c *raidtest.Controller
}

// field prints a line in the width that a list has.
func (p *printer) field(width int, key string, value any) {
	fmt.Fprintf(p, "%-*s%v\n", width, key+":", value)
}

// cardLines is what info -o hba tells.
var cardLines = raidtest.Table[*raidtest.Controller]{}.
	Own("Product", "Sub Product", "Chip revision").
	Is("slot number", func(c *raidtest.Controller) string {
		if c.Slot == "" {
			return "0"
		}
		return c.Slot
	}).
	Own("Max PCIe speed", "Current PCIe speed", "Max PCIe link", "Current PCIe link", "Rom version", "BIOS version").
	Is("Firmware version", func(c *raidtest.Controller) string { return c.Firmware }).
	Own("Boot loader version", "# of ports", "Buzzer", "Supported port type").
	Is("Supported RAID mode", func(c *raidtest.Controller) string {
		levels := levelWords(c)
		if c.Capabilities.JBOD {
			levels += "JBOD "
		}
		return levels
	}).
	Is("Maximum disk in one VD", func(c *raidtest.Controller) string { return strconv.Itoa(most(c)) }).
	Own("PM", "Expander", "Rebuild", "Background init", "Sync", "Migrate", "Media patrol", "Foreground init", "Copy back",
		"Maximum supported disk").
	Is("Maximum supported VD", func(c *raidtest.Controller) string { return strconv.Itoa(c.Capabilities.MaxVolumes) }).
	Own("Max total blocks", "Features", "Advanced features", "Advanced features 2", "Max buffer size").
	Is("Stripe size supported", func(c *raidtest.Controller) string { return strips(c, "K ") }).
	Own("Image health", "Autoload image health", "Boot loader image health", "Firmware image health",
		"Boot ROM image health", "HBA info image health")

func levelWords(c *raidtest.Controller) (words string) {
	for _, l := range c.Capabilities.Levels {
		words += "RAID" + string(l.Level) + " "
	}
	return words
}

func most(c *raidtest.Controller) (n int) {
	for _, l := range c.Capabilities.Levels {
		n = max(n, l.MaxDisks)
	}
	return n
}

func strips(c *raidtest.Controller, unit string) (words string) {
	for _, s := range c.Capabilities.Strips {
		words += strconv.FormatInt(int64(s)>>10, 10) + unit
	}
	return words
}

func (p *printer) card(i int) {
	p.WriteString("\n")
	p.field(37, "Adapter ID", i)
	cardLines.Print(p.c, p.c.Extra, func(label, value string) { p.field(37, label, value) })
	p.trimNewline() // the tool's last line has no end
}

func (p *printer) trimNewline() {
	s := strings.TrimSuffix(p.String(), "\n")
	p.Reset()
	p.WriteString(s)
}

// words of a drive's state.
var words = map[raid.DiskStateKind]string{raid.DiskReady: "unassigned", raid.DiskOnline: "online",
	raid.DiskFailed: "failed", raid.DiskOffline: "offline", raid.DiskRebuilding: "rebuilding", raid.DiskSpare: "spare",
	raid.DiskMissing: "missing"}

func (p *printer) drives() {
	p.WriteString("\nPhysical Disk Information\n----------------------------\n")
	n := 0
	for _, d := range p.present() {
		n++
		state := words[d.State]
		if d.Foreign != nil {
			state = "foreign"
		}
		var in []string
		for _, v := range p.c.VolumesOn(d.Serial) {
			in = append(in, strconv.Itoa(v.Number))
		}
		for _, f := range [][2]string{{"Adapter", "0"}, {"PD ID", strconv.Itoa(d.Slot)}, {"Type", "SATA PD"},
			{"Linked at", fmt.Sprintf("HBA port %d", d.Slot)}, {"Size", fmt.Sprintf("%d K", d.Bytes>>10)},
			{"Write cache", "not supported"}, {"SMART", "supported (on)"}, {"NCQ", "supported (on)"},
			{"48 bits LBA", "supported"}, {"supported speed", "1.5 3 6 Gb/s"}, {"Current speed", "6 Gb/s"}, {"model", d.Model},
			{"Serial", d.Serial}, {"Firmware version", d.Firmware}, {"Locate LED status", "Not Support"},
			{"Running OS", "no"}, {"SSD Type", "SSD"}, {"WWN", d.WWN}, {"PD status", state},
			{"block ids", strconv.Itoa(d.Slot * 4)}, {"associated VDs", strings.Join(in, " ")}, {"PD valid size", "0 K"}} {
			p.field(21, f[0], f[1])
		}
		p.WriteString("\n\n")
	}
	p.field(21, "Total # of PD", n)
}

func (p *printer) present() []*raidtest.Drive {
	drives := slices.DeleteFunc(slices.Clone(p.c.Drives), func(d *raidtest.Drive) bool { return d.Pulled })
	slices.SortFunc(drives, func(a, b *raidtest.Drive) int { return a.Slot - b.Slot })
	return drives
}

func (p *printer) volumes() {
	p.WriteString("\nVirtual Disk Information\n-------------------------\n")
	for _, v := range p.c.Volumes {
		status, bga, done := "functional", "not running", ""
		switch p.c.State(v) {
		case raid.VolumeDegraded, raid.VolumePartial:
			status = "degraded"
		case raid.VolumeRebuilding:
			status, bga = "degraded", "running"
			for _, serial := range v.Members {
				if d := p.c.Drive(serial); d != nil && d.State == raid.DiskRebuilding {
					done = fmt.Sprintf("rebuilding is %.0f%% done", d.Rebuild*100)
				}
			}
		case raid.VolumeOffline, raid.VolumeFailed:
			status = "offline"
		}
		blocks, members := "", ""
		for _, serial := range v.Members {
			if d := p.c.Drive(serial); d != nil {
				blocks += strconv.Itoa(d.Slot*4) + " "
				members += strconv.Itoa(d.Slot) + " "
			}
		}
		for _, f := range [][2]string{{"id", strconv.Itoa(v.Number)}, {"name", v.Name}, {"status", status},
			{"Stripe size", strconv.FormatInt(int64(v.Strip)>>10, 10)}, {"RAID mode", "RAID" + string(v.Level)},
			{"Cache mode", "Not Support"}, {"size", fmt.Sprintf("%d M", v.Bytes>>20)}, {"BGA status", bga}, {"Block ids", blocks},
			{"# of PDs", strconv.Itoa(len(v.Members))}, {"PD RAID setup", members}, {"Running OS", "no"}} {
			p.field(21, f[0], f[1])
		}
		if done != "" {
			p.field(17, "BGA progress", done)
		}
		p.WriteString("\n")
	}
	p.field(21, "Total # of VD", len(p.c.Volumes))
}
