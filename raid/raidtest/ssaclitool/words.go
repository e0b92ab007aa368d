package ssaclitool

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// old is the tool by its old name, hpssacli, and the firmware of its time: Extra["tool"] of a controller. It counts
// mirror groups from 0 and says less of arrays and drives.
func old(c *raidtest.Controller) bool { return c.Extra["tool"] == "hpssacli" }

// hba is a controller that is no Smart Array. The old tool repeats its name before every drive in a list.
func hba(c *raidtest.Controller) bool { return strings.HasPrefix(c.Model, "Smart HBA") }

// heading names a controller. Embedded is what a slot of the board is.
func heading(c *raidtest.Controller) string {
	s := fmt.Sprintf("%s in Slot %s", c.Model, c.Slot)
	if c.Extra["place"] != "" {
		s += " (" + c.Extra["place"] + ")"
	}
	return s
}

var modes = map[raid.Mode]string{raid.ModeRAID: "RAID", raid.ModeHBA: "HBA", raid.ModeMixed: "Mixed"}

func mode(c *raidtest.Controller, m raid.Mode) string {
	if len(c.Capabilities.Modes) == 0 || m == "" {
		return ""
	}
	if hba(c) {
		return modes[m] + " Mode"
	}
	return modes[m]
}

func box(d *raidtest.Drive) int { return max(d.Box, 1) }

// name of a drive: port, box, bay. The chassis counts slots from 0.
func name(d *raidtest.Drive) string { return fmt.Sprintf("%s:%d:%d", d.Port, box(d), d.Slot+1) }

// letter of an array: A to Z, then AA.
func letter(i int) string {
	if i < 26 {
		return string(rune('A' + i))
	}
	return letter(i/26-1) + letter(i%26)
}

// driveSize is decimal, and cut after one digit: the old tool gives 4000.7 GB to a drive of 4,000,787,030,016 bytes. It
// knows no TB.
func driveSize(c *raidtest.Controller, n int64) string {
	if n == 0 {
		return "--- GB"
	}
	tenths, unit := n/1e8, "GB"
	if tenths >= 10000 && !old(c) {
		tenths, unit = tenths/1000, "TB"
	}
	return strings.TrimSuffix(fmt.Sprintf("%d.%d", tenths/10, tenths%10), ".0") + " " + unit
}

// volumeSize is binary, and rounded to one digit.
func volumeSize(n int64) string {
	v, unit := float64(n)/(1<<20), "MB"
	for _, next := range []string{"GB", "TB", "PB"} {
		if v >= 1024 {
			v, unit = v/1024, next
		}
	}
	return strconv.FormatFloat(v, 'f', 1, 64) + " " + unit
}

func cacheSize(n int64) string {
	switch {
	case n == 0:
		return ""
	case n < 2<<30:
		return fmt.Sprintf("%d MB", n>>20)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/(1<<30))
}

func kind(d *raidtest.Drive) string {
	bus := map[hw.Bus]string{hw.BusATA: "SATA", hw.BusSAS: "SAS"}[d.Bus]
	switch d.Medium {
	case hw.SSD:
		return "Solid State " + bus
	case hw.NVMe:
		return "NVMe SSD"
	}
	return bus
}

func status(d *raidtest.Drive) string {
	switch {
	case d.Erased:
		return "Erase Complete. Reenable Before Using."
	case d.State == raid.DiskFailed, d.State == raid.DiskBad:
		return "Failed"
	case d.State == raid.DiskRebuilding:
		return "Rebuilding"
	case d.State == raid.DiskOffline:
		return "Offline"
	case d.State == raid.DiskErasing:
		return "Erase In Progress"
	case d.SMARTAlert:
		return "Predictive Failure"
	}
	return "OK"
}

// levels as the tool calls them. A mirror of three has a name of its own: see level.
var levels = map[raid.Level]string{raid.Level0: "0", raid.Level1: "1", raid.Level5: "5", raid.Level6: "6",
	raid.Level10: "1+0", raid.Level50: "50", raid.Level60: "60"}

func level(l raid.Level, drives int) string {
	if l == raid.Level1 && drives > 2 {
		return "1adm"
	}
	return levels[l]
}

func yes(is bool) string { return map[bool]string{true: "True", false: "False"}[is] }

func percent(part, whole int64) string {
	if whole == 0 {
		return "(0.0%)"
	}
	return fmt.Sprintf("(%.1f%%)", math.Min(100, float64(part)*100/float64(whole)))
}
