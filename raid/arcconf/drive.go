package arcconf

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// id is channel and device, of `0,8(8:0)` or `0,0`.
func (d *driveItem) id() raid.DiskID {
	for label, value := range d.fields {
		if strings.HasPrefix(label, "reported channel,device") {
			value, _, _ = strings.Cut(value, "(")
			if channel, device, ok := strings.Cut(strings.TrimSpace(value), ","); ok && digits(channel) && digits(device) {
				return raid.DiskID(channel + "," + device)
			}
		}
	}
	return ""
}

func digits(s string) bool { return s != "" && len(s) < 6 && strings.Trim(s, "0123456789") == "" }

func (d *driveItem) physical() raid.PhysicalDisk {
	out := raid.PhysicalDisk{ID: d.id(), Vendor: d.get("vendor"), Model: d.get("model"), Firmware: d.get("firmware"),
		Serial: d.get("serial number"), WWN: naa(d.get("world-wide name", "world wide name")), Path: path(d.get("disk name"))}
	// Enclosure 1, Slot 0(Connector 0:CN0)
	out.Location, _, _ = strings.Cut(d.get("reported location"), "(")
	if out.Location = strings.TrimSpace(out.Location); out.Location == "" {
		channel, device, _ := strings.Cut(string(out.ID), ",")
		out.Location = "Channel " + channel + ", Device " + device
	}
	if out.Vendor == "ATA" || out.Vendor == "NVMe" {
		out.Vendor = "" // an interface, no maker
	}
	out.Bytes, out.Rounded = bytesOf(d.get("total size", "size"))
	out.LogicalSector = sector(d.get("block size"))
	out.PhysicalSector = sector(d.get("physical block size"))
	out.Bus = busOf(d.get("transfer speed", "interface type"))
	hint := ""
	switch strings.ToLower(d.get("ssd")) {
	case "yes":
		hint = "SSD"
	case "no":
		hint = "HDD"
	}
	out.Medium = mediumOf(out.Bus, hint)
	out.State = driveState(d.get("state"))
	smart, warnings := strings.ToLower(d.get("s.m.a.r.t.")), d.get("s.m.a.r.t. warnings")
	if pfa := strings.ToLower(d.get("pfa")); smart != "" || warnings != "" || pfa != "" {
		alert := strings.HasPrefix(smart, "yes") || number(warnings) > 0 || strings.HasPrefix(pfa, "yes")
		out.SMARTAlert = &alert
	}
	out.MediaErrors = count(d.get("device error counters/media failures", "device error counters/medium error count",
		"medium error count"))
	out.OtherErrors = count(d.get("device error counters/hardware errors", "device error counters/hardware error count",
		"hardware error count"))
	out.Foreign = strings.EqualFold(d.get("drive has stale ris data"), "true")
	return out
}

func count(s string) *int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 {
		return nil
	}
	return &n
}

func driveState(raw string) raid.DiskState {
	state := raid.DiskState{Raw: raw}
	switch s := strings.ToLower(raw); {
	case strings.Contains(s, "hot-spare"), strings.Contains(s, "hot spare"), s == "spare":
		state.Is = raid.DiskSpare
	case strings.Contains(s, "jbod"), strings.HasPrefix(s, "raw"), strings.Contains(s, "pass through"):
		state.Is = raid.DiskJBOD // `Raw (Pass Through)`, `Online (JBOD)`
	case s == "online", s == "optimal":
		state.Is = raid.DiskOnline
	case s == "ready":
		state.Is = raid.DiskReady
	case strings.HasPrefix(s, "rebuild"):
		state.Is = raid.DiskRebuilding
	case strings.HasPrefix(s, "failed"), s == "dead":
		state.Is = raid.DiskFailed
	case strings.HasPrefix(s, "missing"):
		state.Is = raid.DiskMissing
	case strings.HasPrefix(s, "offline"):
		state.Is = raid.DiskOffline
	case strings.Contains(s, "eras") && strings.Contains(s, "progress"), s == "erasing", strings.HasPrefix(s, "sanitiz"):
		state.Is = raid.DiskErasing
	case strings.Contains(s, "erased"), strings.HasPrefix(s, "unsupported"), strings.HasPrefix(s, "bad"):
		state.Is = raid.DiskBad
	}
	return state
}

// busOf `SAS 12.0 Gb/s`, `SATA 6.0 Gb/s`, `PCIe 8.0 GT/s`.
func busOf(s string) hw.Bus {
	switch s = strings.ToLower(s); {
	case strings.Contains(s, "nvme"), strings.Contains(s, "pcie"):
		return hw.BusNVMe
	case strings.Contains(s, "sata"), strings.Contains(s, "serial ata"):
		return hw.BusATA
	case strings.Contains(s, "sas"):
		return hw.BusSAS
	case strings.Contains(s, "scsi"), strings.HasPrefix(s, "ultra"): // Ultra320
		return hw.BusSCSI
	}
	return ""
}

func mediumOf(bus hw.Bus, hint string) hw.Medium {
	switch {
	case bus == hw.BusNVMe:
		return hw.NVMe
	case strings.Contains(hint, "SSD"):
		return hw.SSD
	case strings.Contains(hint, "HDD"):
		return hw.HDD
	}
	return ""
}

// sector of `4K Bytes`, `512 Bytes`, `4K`.
func sector(s string) int {
	s = strings.TrimSpace(strings.TrimSuffix(strings.ToLower(s), "bytes"))
	if k, ok := strings.CutSuffix(s, "k"); ok {
		return number(k) % (1 << 20) << 10
	}
	return number(s)
}

// adaptec starts the NAA names that its OUI 0000d1 makes.
const adaptec = "50000d1"

var hexadecimal = regexp.MustCompile(`^(?:[0-9a-f]{16}|[0-9a-f]{32})$`)

// naa is a world-wide name as the kernel writes it. What starts with 3 is locally assigned: for a SATA drive the
// controller makes it up from the port, and the next drive there has the same; Series 5 makes up names of Adaptec's
// own, which never made a drive. Series 2 to 8 have identifiers of eight
// digits for volumes, which are no such names.
func naa(s string) string {
	s = strings.ToLower(s)
	if !hexadecimal.MatchString(s) || s[0] == '3' || strings.HasPrefix(s, adaptec) || strings.Trim(s, "0") == "" {
		return ""
	}
	return "naa." + s
}

func path(s string) string {
	if fields := strings.Fields(s); len(fields) > 0 && strings.HasPrefix(fields[0], "/dev/") {
		return strings.TrimSuffix(fields[0], ",")
	}
	return ""
}

var quantity = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?) *([KMGTP])i?B$`)

// bytesOf a size, whose units are powers of 1024 whatever they are called, and whether it is one: all are rounded.
func bytesOf(text string) (int64, bool) {
	m := quantity.FindStringSubmatch(text)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	n = math.Round(n * math.Pow(1024, float64(strings.Index("KMGTP", m[2])+1)))
	if err != nil || n <= 0 || n > 1<<60 {
		return 0, false
	}
	return int64(n), true
}
