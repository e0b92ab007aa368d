package sasircutool

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// listing prints addresses in hexadecimal, as display does not.
func listing(all []*raidtest.Controller) string {
	var b strings.Builder
	for i, c := range all {
		segment, bus, device, function := address(c.ID)
		fmt.Fprintf(&b, "\n         Adapter      Vendor  Device                       SubSys  SubSys \n"+
			" Index    Type          ID      ID    Pci Address          Ven ID  Dev ID \n"+
			" -----  ------------  ------  ------  -----------------    ------  ------ \n"+
			"%4d     %-12s  1000h    97h   %02xh:%02xh:%02xh:%02xh      1000h   0808h \n", i, c.Model, segment, bus, device,
			function)
	}
	return b.String()
}

func address(id raid.ControllerID) (segment, bus, device, function int) {
	_, _ = fmt.Sscanf(string(id), "%x:%x:%x.%x", &segment, &bus, &device, &function)
	return segment, bus, device, function
}

type printer struct {
	strings.Builder
	c *raidtest.Controller
	g generation
}

func (p *printer) field(key string, value any) {
	p.WriteString(strings.TrimRight(fmt.Sprintf("  %-40s: %v", key, value), " ") + "\n")
}

func (p *printer) title(name string) {
	rule := strings.Repeat("-", 72)
	fmt.Fprintf(p, "%s\n%s\n%s\n", rule, name, rule)
}

func (p *printer) display(n int) {
	fmt.Fprintf(p, "Read configuration has been initiated for controller %d\n", n)
	p.controller()
	p.title("IR Volume information")
	p.volumes()
	p.title("Physical device information")
	p.devices()
	p.title("Enclosure information")
	p.enclosures()
	p.WriteString(strings.Repeat("-", 72) + "\n")
}

func (p *printer) controller() {
	p.title("Controller information")
	segment, bus, device, function := address(p.c.ID)
	p.field("Controller type", p.c.Model)
	if p.g.informed {
		p.field("PI Supported", "Yes")
		p.field("PI Mixing", "Disabled")
	}
	p.field("BIOS version", cmp.Or(p.c.Extra["BIOS version"], "8.13.00.00"))
	p.field("Firmware version", p.c.Firmware)
	p.field("Channel description", "1 Serial Attached SCSI")
	p.field("Initiator ID", 0)
	p.field("Maximum physical devices", 255)
	p.field("Concurrent commands supported", 3072)
	p.field("Slot", cmp.Or(p.c.Slot, "0"))
	p.field("Segment", segment)
	p.field("Bus", bus)
	p.field("Device", device)
	p.field("Function", function)
	p.field("RAID Support", map[bool]string{true: "Yes", false: "No"}[len(p.c.Capabilities.Levels) > 0])
}

// states: a rebuild is told of the drive.
var states = map[raid.VolumeStateKind]string{raid.VolumeOptimal: "Okay (OKY)",
	raid.VolumeInitializing: "Initializing (INIT)", raid.VolumeDegraded: "Degraded (DGD)",
	raid.VolumeRebuilding: "Degraded (DGD)", raid.VolumePartial: "Degraded (DGD)",
	raid.VolumeOffline: "Failed (FLD)", raid.VolumeFailed: "Failed (FLD)"}

// wwid is the end of a volume's WWN, its bytes in reverse.
func wwid(wwn string) string {
	end := wwn[max(len(wwn)-16, 0):]
	b := []byte{}
	for i := len(end) - 2; i >= 0; i -= 2 {
		b = append(b, end[i], end[i+1])
	}
	return string(b)
}

func (p *printer) volumes() {
	for i, v := range p.c.Volumes {
		fmt.Fprintf(p, "IR volume %d\n", i+1)
		p.field("Volume ID", firstID+v.Number)
		status := states[p.c.State(v)]
		// One that was made elsewhere is not used before somebody activates it, and little is told of it.
		if v.Extra["inactive"] != "" {
			status = "Inactive, Okay (OKY)"
		} else if p.g.informed {
			p.field("PI Supported", "No")
		}
		p.field("Status of volume", status)
		p.field("Volume wwid", wwid(v.WWN))
		p.field("RAID level", "RAID"+string(v.Level))
		p.field("Size (in MB)", v.Bytes>>20)
		if v.Boot {
			p.field("Boot", "Primary")
		}
		p.field("Physical hard disks", "")
		for k, serial := range v.Members {
			where := "0:0"
			if d := p.c.Drive(serial); d != nil {
				where = d.Location()
			}
			p.field(fmt.Sprintf("PHY[%d] Enclosure#/Slot#", k), where)
		}
	}
}

func (p *printer) status(n int) {
	fmt.Fprintf(p, "Background command progress status for controller %d...\n", n)
	for i, v := range p.c.Volumes {
		fmt.Fprintf(p, "IR Volume %d\n", i+1)
		p.field("Volume ID", firstID+v.Number)
		state, operation, fraction := "Optimal", "None", 0.0
		switch p.c.State(v) {
		case raid.VolumeDegraded, raid.VolumePartial:
			state = "Degraded"
		case raid.VolumeRebuilding:
			state, operation = "Degraded", "Synchronize"
			for _, serial := range v.Members {
				if d := p.c.Drive(serial); d != nil && d.State == raid.DiskRebuilding {
					fraction = d.Rebuild
				}
			}
		case raid.VolumeInitializing:
			operation, fraction = "Background Init", v.Initialized
		case raid.VolumeOffline, raid.VolumeFailed:
			state = "Failed"
		}
		p.field("Current operation", operation)
		p.field("Volume status", "Enabled")
		p.field("Volume state", state)
		p.field("Volume wwid", wwid(v.WWN))
		p.field("Physical disk I/Os", "Not quiesced")
		if operation != "None" {
			sectors := v.Bytes / 512
			p.field("Volume size (in sectors)", sectors)
			p.field("Number of remaining sectors", sectors-int64(float64(sectors)*fraction))
			p.field("Percentage complete", fmt.Sprintf("%.2f%%", fraction*100))
		}
	}
}

// words of a drive's state.
var words = map[raid.DiskStateKind]string{raid.DiskReady: "Ready (RDY)", raid.DiskOnline: "Optimal (OPT)",
	raid.DiskSpare: "Hot Spare (HSP)", raid.DiskRebuilding: "Rebuilding (RBLD)", raid.DiskFailed: "Failed (FLD)",
	raid.DiskOffline: "Out of Sync (OSY)", raid.DiskBad: "Available (AVL)"}

func (p *printer) devices() {
	p.WriteString("Initiator at ID #0\n")
	// Of a member that is gone its serial number is left, and no place.
	told := map[string]bool{}
	for _, v := range p.c.Volumes {
		for _, serial := range v.Members {
			if p.c.Drive(serial) == nil && !told[serial] {
				told[serial] = true
				p.device(&raidtest.Drive{Serial: serial, State: raid.DiskMissing})
			}
		}
	}
	drives := slices.DeleteFunc(slices.Clone(p.c.Drives), func(d *raidtest.Drive) bool { return d.Pulled })
	slices.SortFunc(drives, func(a, b *raidtest.Drive) int {
		return cmp.Or(cmp.Compare(a.Enclosure, b.Enclosure), cmp.Compare(a.Slot, b.Slot))
	})
	for _, d := range drives {
		p.device(d)
	}
	if model := p.c.Extra["expander"]; model != "" {
		p.WriteString("\nDevice is a Enclosure services device\n")
		for _, f := range [][2]string{{"Enclosure #", "2"}, {"Slot #", "24"}, {"SAS Address", "500056b-3-4f5e-69fd"},
			{"State", "Standby (SBY)"}, {"Manufacturer", "DP"}, {"Model Number", model}, {"Firmware Revision", "2.17"},
			{"Serial No", ""}, {"GUID", "N/A"}, {"Protocol", "SAS"}, {"Device Type", "Enclosure services device"}} {
			p.field(f[0], f[1])
		}
	}
}

func (p *printer) device(d *raidtest.Drive) {
	p.WriteString("\nDevice is a Hard disk\n")
	p.field("Enclosure #", d.Enclosure)
	p.field("Slot #", d.Slot)
	if d.State == raid.DiskMissing {
		for _, f := range [][2]string{{"SAS Address", "0000000-0-0000-0000"}, {"State", "Missing (MIS)"},
			{"Manufacturer", ""}, {"Model Number", ""}, {"Firmware Revision", ""}, {"Serial No", d.Serial}, {"GUID", "N/A"},
			{"Drive Type", "Undetermined"}} {
			p.field(f[0], f[1])
		}
		return
	}
	if p.g.informed {
		p.field("PI Supported", "No")
	}
	protocol, maker, where := "SATA", "ATA", fmt.Sprintf("4433221-1-%02d00-0000", d.Slot)
	if d.Bus == hw.BusSAS {
		protocol, maker = "SAS", d.Vendor
		// The address of the port is that of the drive and one.
		if n, err := strconv.ParseUint(d.WWN, 16, 64); err == nil {
			a := fmt.Sprintf("%016x", n+1)
			where = strings.Join([]string{a[:7], a[7:8], a[8:12], a[12:]}, "-")
		}
	}
	medium := "HDD"
	if d.Medium != hw.HDD {
		medium = "SSD"
	}
	p.field("SAS Address", where)
	p.field("State", cmp.Or(words[d.State], string(d.State)))
	// The second number is the last sector, not how many there are.
	p.field("Size (in MB)/(in sectors)", fmt.Sprintf("%d/%d", d.Bytes>>20, d.Bytes/int64(cmp.Or(d.LogicalSector, 512))-1))
	p.field("Manufacturer", maker)
	p.field("Model Number", strings.TrimSpace(fmt.Sprintf("%.16s", d.Model)))
	p.field("Firmware Revision", d.Firmware)
	p.field("Serial No", d.Serial)
	p.field("GUID", cmp.Or(d.WWN, "N/A"))
	p.field("Protocol", protocol)
	p.field("Drive Type", protocol+"_"+medium)
}

func (p *printer) enclosures() {
	var all []int
	for _, d := range p.c.Drives {
		if !slices.Contains(all, d.Enclosure) {
			all = append(all, d.Enclosure)
		}
	}
	slices.Sort(all)
	for _, e := range all {
		p.field("Enclosure#", e)
		p.field("Logical ID", cmp.Or(p.c.Extra["Logical ID"], fmt.Sprintf("500605b0:%08x", e)))
		p.field("Numslots", 8)
		p.field("StartSlot", 0)
	}
}
