package arcconftool

import (
	"fmt"
	"strings"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

func (p printer) series8Adapter() {
	c := p.c
	p.title("Controller information")
	p.field("Controller Status", "Optimal")
	p.field("Controller Mode", modeText(c, c.Mode))
	if c.PendingMode != "" {
		p.field("Pending Controller Mode", modeText(c, c.PendingMode))
	}
	p.field("Controller Model", c.Model)
	p.field("Controller Serial Number", c.Serial)
	p.field("Physical Slot", c.Slot)
	p.field("Installed memory", fmt.Sprintf("%d MB", c.Cache.Bytes>>20))
	p.part("Controller Version Information")
	p.field("Firmware", c.Firmware)
	p.part("Controller Cache Backup Unit Information")
	p.field("Overall Backup Unit Status", strings.Replace(battery(c), "Ok", "Ready", 1))
}

func (p printer) series8Volume(v *raidtest.Volume) {
	p.line("Logical device number %d", v.Number)
	p.field("Logical device name", v.Name)
	p.field("RAID level", v.Level)
	p.field("Status of Logical device", volumeStatus(p.c, v))
	p.field("Size", fmt.Sprintf("%d MB", v.Bytes>>20))
	if v.Strip != 0 {
		p.field("Stripe-unit size", fmt.Sprintf("%d KB", v.Strip>>10))
	}
	now := p.c.Current(v)
	p.field("Unique Identifier", strings.ToUpper(v.WWN[max(len(v.WWN)-8, 0):]))
	ahead := now.Read == raid.ReadAhead
	p.field("Read-cache setting", map[bool]string{true: "Enabled", false: "Disabled"}[ahead])
	p.field("Read-cache status", map[bool]string{true: "On", false: "Off"}[ahead])
	p.field("Write-cache setting", map[raid.WritePolicy]string{raid.WriteThrough: "Disabled",
		raid.WriteBack: "On when protected by battery/ZMM", raid.WriteAlwaysBack: "Enabled"}[v.Policies.Write])
	p.field("Write-cache status", map[bool]string{true: "Off", false: "On"}[now.Write == raid.WriteThrough])
	p.part("Logical Device segment information")
	for i, serial := range v.Members {
		p.field(segment(v, i), p.member(serial))
	}
	p.line("\n")
}
