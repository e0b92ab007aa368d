package ssacli

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// role is what a drive is for.
type role string

const (
	data       role = "data"
	spare      role = "spare"
	unassigned role = "unassigned"
	exposed    role = "exposed"
	unknown    role = ""
)

func (d *driveItem) role() role {
	for _, part := range d.summary {
		if part == "spare" || strings.HasPrefix(part, "active spare") {
			return spare
		}
	}
	switch kind := strings.ToLower(d.get("Drive Type")); {
	case strings.Contains(kind, "spare"):
		return spare
	case strings.Contains(kind, "unassigned"):
		return unassigned
	case strings.Contains(kind, "hba"), strings.Contains(kind, "pass-through"):
		return exposed
	case strings.Contains(kind, "data"), len(d.arrays) > 0:
		return data
	}
	switch d.place {
	case "unassigned":
		return unassigned
	case "hba drives":
		return exposed
	}
	return unknown
}

// parts of the line that sums a drive up: interface, size, status.
func (d *driveItem) parts() (bus, size, status string) {
	at := -1
	for i, part := range d.summary {
		if sizeText.MatchString(part) {
			at = i
		}
	}
	if at < 0 {
		return "", "", ""
	}
	if at > 0 && !strings.HasPrefix(d.summary[at-1], "port ") {
		bus = d.summary[at-1]
	}
	if at+1 < len(d.summary) {
		status = d.summary[at+1]
	}
	return bus, d.summary[at], status
}

func (d *driveItem) physical() raid.PhysicalDisk {
	bus, size, status := d.parts()
	out := raid.PhysicalDisk{ID: raid.DiskID(d.id), Location: d.id, Serial: d.get("Serial Number"),
		Firmware: d.get("Firmware Revision"), WWN: naa(d.get("WWID")), Path: path(d.get("Disk Name"))}
	out.Vendor, out.Model = inquiry(d.get("Model"))
	if strings.HasPrefix(d.get("Model"), "ATA ") && port.MatchString(out.WWN) {
		out.WWN = ""
	}
	if size := d.get("Size"); size != "" {
		out.Bytes, out.Rounded = bytesOf(size, 1000)
	}
	if out.Bytes == 0 {
		out.Bytes, out.Rounded = bytesOf(size, 1000)
	}
	logical, physical, both := strings.Cut(d.get("Logical/Physical Block Size", "Native Block Size"), "/")
	out.LogicalSector = number(logical)
	if both {
		out.PhysicalSector = number(physical)
	}
	if i := d.get("Interface Type"); i != "" {
		bus = i
	}
	out.Bus, out.Medium = busAndMedium(bus)
	if out.Medium == "" && number(d.get("Rotational Speed")) > 0 {
		out.Medium = hw.HDD
	}
	if s := d.get("Status"); s != "" {
		status = s
	}
	out.State, out.SMARTAlert = d.state(status)
	out.Progress = progress(out.State.Raw, status)
	return out
}

// state has one word for how the drive is and whether it will fail, and so does not tell the latter of a drive that is
// not well otherwise.
func (d *driveItem) state(raw string) (raid.DiskState, *bool) {
	state := raid.DiskState{Raw: raw}
	var alert *bool
	switch s := strings.ToLower(raw); {
	case s == "ok", strings.HasPrefix(s, "predictive fail"):
		failing := s != "ok"
		alert = &failing
		state.Is = map[role]raid.DiskStateKind{data: raid.DiskOnline, spare: raid.DiskSpare,
			unassigned: raid.DiskReady, exposed: raid.DiskJBOD}[d.role()]
	case strings.HasPrefix(s, "failed"):
		state.Is = raid.DiskFailed
	case strings.HasPrefix(s, "rebuild"), strings.HasPrefix(s, "recovering"), strings.HasPrefix(s, "waiting for re"):
		state.Is = raid.DiskRebuilding
	case strings.HasPrefix(s, "erase in progress"), strings.HasPrefix(s, "erasing"), strings.HasPrefix(s, "erase queued"),
		strings.HasPrefix(s, "queued for erase"), strings.HasPrefix(s, "sanitize in progress"):
		state.Is = raid.DiskErasing
	case strings.HasPrefix(s, "erase"), strings.HasPrefix(s, "sanitize"):
		state.Is = raid.DiskBad // `Erase Complete. Reenable Before Using.`
	case strings.HasPrefix(s, "offline"):
		state.Is = raid.DiskOffline
	case strings.HasPrefix(s, "missing"), strings.HasPrefix(s, "not present"):
		state.Is = raid.DiskMissing
	}
	return state, alert
}

// busAndMedium of `SAS`, `SATA HDD`, `Solid State SAS`, `NVMe SSD`. Since the tool has always named what is an SSD, a
// plain SAS or SATA is none.
func busAndMedium(s string) (hw.Bus, hw.Medium) {
	s = strings.ToLower(s)
	solid := strings.Contains(s, "ssd") || strings.Contains(s, "solid state")
	var bus hw.Bus
	switch {
	case strings.Contains(s, "nvme"), strings.Contains(s, "pcie"):
		return hw.BusNVMe, hw.NVMe
	case strings.Contains(s, "sata"):
		bus = hw.BusATA
	case strings.Contains(s, "sas"):
		bus = hw.BusSAS
	case strings.Contains(s, "scsi"):
		bus = hw.BusSCSI
	}
	switch {
	case solid:
		return bus, hw.SSD
	case bus != "":
		return bus, hw.HDD
	}
	return "", ""
}

// inquiry takes a vendor of SCSI's eight columns from the front of a model. ATA and NVMe are no vendors.
func inquiry(s string) (vendor, model string) {
	if len(s) > 8 && s[7] == ' ' && s[8] != ' ' && !strings.Contains(strings.TrimRight(s[:8], " "), " ") {
		vendor, model = strings.TrimRight(s[:8], " "), s[8:]
	} else if first, rest, ok := strings.Cut(s, " "); ok && (first == "ATA" || first == "HP" || first == "HPE") {
		vendor, model = first, strings.TrimSpace(rest)
	} else {
		return "", s
	}
	if vendor == "ATA" || vendor == "NVMe" {
		vendor = ""
	}
	return vendor, model
}

var hexadecimal = regexp.MustCompile(`^(?:[0-9a-f]{16}|[0-9a-f]{32})$`)

// port of a controller or expander, by the OUIs of its maker: what the tool tells of a SATA drive that has no name of
// its own there. It stays when the drive goes.
var port = regexp.MustCompile(`^naa\.5(?:001438|00508b|1402ec|9440c9)`)

// naa is a world-wide name as the kernel writes it. What starts with 3 is locally assigned: for a SATA drive the
// controller makes it up from the port, and the next drive there has the same.
func naa(s string) string {
	s = strings.ToLower(s)
	if !hexadecimal.MatchString(s) || s[0] == '3' || strings.Trim(s, "0") == "" {
		return ""
	}
	return "naa." + s
}

func path(s string) string {
	if fields := strings.Fields(s); len(fields) > 0 && strings.HasPrefix(fields[0], "/dev/") {
		return fields[0]
	}
	return ""
}

func number(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

var quantity = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) *([kKMGTP]?)(i?)B$`)

// bytesOf a size whose unit is powers of base (unless it says iB), and whether that is a size at all: all are rounded.
func bytesOf(text string, base float64) (int64, bool) {
	m := quantity.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	if m[3] != "" {
		base = 1024
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if m[2] != "" {
		n *= math.Pow(base, float64(strings.Index("KMGTP", strings.ToUpper(m[2]))+1))
	}
	n = math.Round(n)
	if err != nil || n <= 0 || n > 1<<60 {
		return 0, false
	}
	return int64(n), true
}

// clip keeps messages readable.
func clip(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "..."
	}
	return s
}
