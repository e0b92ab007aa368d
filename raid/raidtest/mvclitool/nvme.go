package mvclitool

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// NVMeCard is a card with the successor of BOSS-S1's chip, such as Lenovo's and HPE's for two M.2 drives, without
// drives. Its tool is mnv_cli, of which the emulator has what info -o hba and pd print.
func NVMeCard(id raid.ControllerID, serial string) *raidtest.Controller {
	c := Card(id, serial)
	c.Vendor, c.Model, c.Firmware = "Lenovo", "M.2 NVMe 2-Bay RAID Kit", "1.0.20.1049"
	c.Capabilities.Levels = []raid.LevelCapability{{Level: raid.Level0, MinDisks: 2, MaxDisks: 2},
		{Level: raid.Level1, MinDisks: 2, MaxDisks: 2}}
	c.Capabilities.Strips, c.Capabilities.MaxVolumes = []hw.Size{128 << 10, 256 << 10, 512 << 10}, 2
	c.DefaultStrip = 128 << 10
	c.Extra = map[string]string{"tool": "mnv_cli", "VID": "0x1b4b", "SVID": "0x1d49", "DID": "0x2241", "SDID": "0x306",
		"RevisionID": "B0B", "Port Count": "2", "Max PD": "2", "Max NS of Per VD": "1", "Max NS": "4", "Host ID": "0",
		"Cache": "On ", "Supported BGA Features": "Initialization Rebuild MediaPatrol ",
		"Supported Features": "Import RAID Namespace Dump "}
	for i, link := range []string{"1x", "1x", "2x"} {
		part := raidtest.Part{Kind: "Root Complex", Number: i, Extra: map[string]string{"Link width": link,
			"PCIe speed": "8Gb/s"}}
		if link == "2x" {
			part.Kind, part.Number = "End Point", 0
		}
		c.Parts = append(c.Parts, part)
	}
	return c
}

func nvme(c *raidtest.Controller) bool { return c.Extra["tool"] == "mnv_cli" }

func nvmeInfo(cards []*raidtest.Controller, list string) string {
	p := &printer{c: cards[0]}
	switch list {
	case "hba":
		for i, c := range cards {
			p.c = c
			p.nvmeCard(i)
		}
		p.field(21, "Total # of HBA", len(cards))
	case "pd":
		p.nvmeDrives()
	default:
		return "\nError: invalid object.\n"
	}
	return p.String()
}

var nvmeCardLines = raidtest.Table[*raidtest.Controller]{}.
	Is("Bus Device Fun", func(c *raidtest.Controller) string {
		// e5:00.00
		bus, function, _ := strings.Cut(strings.TrimPrefix(string(c.ID), "0000:"), ".")
		return bus + ".0" + function
	}).
	Own("Device").
	Is("SUBNQN", func(c *raidtest.Controller) string { return fmt.Sprintf("%-20s%-40s16", c.Serial, c.Model) }).
	Is("Firmware Version", func(c *raidtest.Controller) string { return c.Firmware }).
	Own("VID", "SVID", "DID", "SDID", "RevisionID", "Port Count").
	Is("Max PD of Per VD", func(c *raidtest.Controller) string { return strconv.Itoa(most(c)) }).
	Is("Max VD", func(c *raidtest.Controller) string { return strconv.Itoa(c.Capabilities.MaxVolumes) }).
	Own("Max PD", "Max NS of Per VD", "Max NS", "Host ID").
	Is("Supported RAID Mode", levelWords).
	Own("Cache", "Supported BGA Features").
	Is("Support Stripe Size", func(c *raidtest.Controller) string { return strips(c, "KB ") }).
	Own("Supported Features")

func (p *printer) nvmeCard(i int) {
	number := i
	if n, err := strconv.Atoi(strings.TrimPrefix(p.c.Extra["Device"], "/dev/nvme")); err == nil {
		number = n
	}
	fmt.Fprintf(p, "%-37s%d\n", "NVMe Controller ID", number) // without a colon
	line := func(label, value string) { p.field(37, label, value) }
	nvmeCardLines.Print(p.c, p.c.Extra, line)
	for _, part := range p.c.Parts {
		p.field(37, part.Kind, part.Number)
		p.field(37, "  Link width", part.Extra["Link width"])
		p.field(37, "  PCIe speed", part.Extra["PCIe speed"])
	}
	p.WriteString("\n")
}

func (p *printer) nvmeDrives() {
	there := p.present()
	for _, d := range there {
		status := "Idle"
		switch d.State {
		case raid.DiskFailed, raid.DiskOffline, raid.DiskBad:
			status = "Offline"
		case raid.DiskRebuilding:
			status = "Rebuilding"
		}
		p.WriteString("\n")
		for _, f := range [][2]any{{"PD ID", d.Slot}, {"Model", d.Model}, {"Serial", d.Serial},
			{"Sector Size", fmt.Sprintf("%d bytes", d.LogicalSector)}, {"LBA", d.Bytes / int64(max(d.LogicalSector, 1))},
			{"Size", fmt.Sprintf("%d GB", d.Bytes>>30)}, {"SSD backend RC/Slot ID", d.Slot}, {"SSD backend Namespace ID", 1},
			{"Firmware version", d.Firmware}, {"Status", status},
			{"Assigned", map[bool]string{true: "Yes", false: "No"}[len(p.c.VolumesOn(d.Serial)) > 0]},
			{"SMART Critical Warning", map[bool]string{true: "Yes", false: "No"}[d.SMARTAlert]}} {
			p.field(33, f[0].(string), f[1])
		}
	}
	p.WriteString("\n")
	p.field(24, "Total # of PD", len(there))
}
