package megacli

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// diskState reads `Unconfigured(good), Spun Up`: what follows the comma is the motor.
func diskState(raw string) raid.DiskState {
	word, _, _ := strings.Cut(raw, ",")
	word = strings.ToLower(strings.ReplaceAll(word, " ", ""))
	s := raid.DiskState{Raw: raw}
	switch {
	case word == "online":
		s.Is = raid.DiskOnline
	case strings.HasPrefix(word, "unconfigured(good)"):
		s.Is = raid.DiskReady
	case strings.HasPrefix(word, "unconfigured(bad)"):
		s.Is = raid.DiskBad
	case word == "jbod":
		s.Is = raid.DiskJBOD
	case word == "offline":
		s.Is = raid.DiskOffline
	case word == "failed":
		s.Is = raid.DiskFailed
	case word == "missing":
		s.Is = raid.DiskMissing
	case word == "rebuild", word == "copyback":
		s.Is = raid.DiskRebuilding
	case strings.HasPrefix(word, "hotspare"):
		s.Is = raid.DiskSpare
	}
	return s
}

func volumeState(raw string) raid.VolumeState {
	return raid.VolumeState{Raw: raw, Is: map[string]raid.VolumeStateKind{"optimal": raid.VolumeOptimal,
		"degraded": raid.VolumeDegraded, "partially degraded": raid.VolumePartial, "offline": raid.VolumeOffline,
		"failed": raid.VolumeFailed}[strings.ToLower(raw)]}
}

func batteryState(raw string) raid.BatteryState {
	return raid.BatteryState{Raw: raw, Is: map[string]raid.BatteryStateKind{"optimal": raid.BatteryGood,
		"operational": raid.BatteryGood, "charging": raid.BatteryCharging, "learning": raid.BatteryCharging,
		"failed": raid.BatteryFailed, "non operational": raid.BatteryFailed, "degraded": raid.BatteryFailed,
		"degraded(need attention)": raid.BatteryFailed,
		"missing":                  raid.BatteryMissing}[strings.ToLower(raw)]}
}

var levelPattern = regexp.MustCompile(`^Primary-(\d), Secondary-(\d)`)

// level derives a level. The words are those of SNIA's Disk Data Format: the primary level is that of a span, and the
// secondary one says how spans are put together, 0 striped and 3 one behind the other. So `Primary-1, Secondary-0` is a
// stripe of mirrors over several spans, and a mirror, of however many drives, in one.
func level(raw string, spans int) raid.LevelState {
	l := raid.LevelState{Raw: raw}
	m := levelPattern.FindStringSubmatch(raw)
	if m == nil {
		return l
	}
	if spans > 1 || m[2] == "3" {
		l.Is = map[string]raid.Level{"1": raid.Level10, "5": raid.Level50, "6": raid.Level60}[m[1]]
		return l
	}
	l.Is = map[string]raid.Level{"0": raid.Level0, "1": raid.Level1, "5": raid.Level5, "6": raid.Level6}[m[1]]
	return l
}

// policies reads `WriteBack, ReadAhead, Direct, No Write Cache if Bad BBU`.
func policies(raw string) raid.Policies {
	var p raid.Policies
	for _, word := range strings.Split(raw, ",") {
		switch strings.ToLower(strings.TrimSpace(word)) {
		case "writeback":
			p.Write = raid.WriteBack
		case "writethrough":
			p.Write = raid.WriteThrough
		case "write cache ok if bad bbu":
			if p.Write == raid.WriteBack {
				p.Write = raid.WriteAlwaysBack
			}
		case "readahead", "readaheadalways":
			p.Read = raid.ReadAhead
		case "readaheadnone", "readnoahead":
			p.Read = raid.ReadNone
		case "readadaptive":
			p.Read = raid.ReadAdaptive
		case "direct":
			p.IO = raid.IODirect
		case "cached":
			p.IO = raid.IOCached
		}
	}
	return p
}

func diskCache(raw string) raid.DiskCache {
	switch strings.ToLower(raw) {
	case "enabled":
		return raid.DiskCacheEnable
	case "disabled":
		return raid.DiskCacheDisable
	}
	return ""
}

var sizePattern = regexp.MustCompile(`^([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KkMGT])B\b`)

// size reads `222.585 GB`, whose unit is binary. 0: it is no size.
func size(raw string) int64 {
	m := sizePattern.FindStringSubmatch(raw)
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(m[1], 64)
	n *= map[string]float64{"K": 1 << 10, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}[m[2]]
	if err != nil || n >= 1<<62 {
		return 0
	}
	return int64(math.Round(n))
}

var sectorsPattern = regexp.MustCompile(`\[0x([0-9a-fA-F]{1,12}) Sectors\]`)

// exactSize reads the number of sectors in `8.909 TB [0x474700000 Sectors]`: 512 bytes each, or the drive's own, which
// the printed size tells.
func exactSize(raw string, sector int) (int64, bool) {
	m := sectorsPattern.FindStringSubmatch(raw)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 16, 64)
	if err != nil {
		return 0, false
	}
	printed := float64(size(raw))
	for _, s := range []int64{512, int64(sector)} {
		if s >= 512 && s <= 4160 && printed > 0 && math.Abs(float64(n*s)-printed) <= 0.02*printed {
			return n * s, true
		}
	}
	return 0, false
}

func medium(raw string) hw.Medium {
	switch strings.ToLower(raw) {
	case "hard disk device":
		return hw.HDD
	case "solid state device":
		return hw.SSD
	}
	return ""
}

func bus(raw string) hw.Bus {
	return map[string]hw.Bus{"SAS": hw.BusSAS, "SATA": hw.BusATA}[strings.ToUpper(raw)]
}

var wwnPattern = regexp.MustCompile(`^[235][0-9A-Fa-f]{15}$`)

func worldWide(raw string) string {
	if wwnPattern.MatchString(raw) {
		return "naa." + strings.ToLower(raw)
	}
	return ""
}

// inquiry parts the answer of a drive to INQUIRY. Behind a SAS controller it is that of SCSI: vendor of 8 characters,
// product of 16, release of 4, then the serial number. A SATA drive's is put together of what it says of itself: serial
// number of 20, model of 40, release of 8.
func inquiry(raw string, is hw.Bus) (vendor, model, serial string) {
	raw = strings.TrimRight(raw, "\r")
	switch {
	case is == hw.BusSAS && len(raw) > 28:
		vendor, model, serial = raw[:8], raw[8:24], raw[28:]
	case is == hw.BusATA && len(raw) >= 60:
		serial, model = raw[:20], raw[20:60]
	default:
		model = raw
	}
	if strings.Contains(strings.TrimSpace(serial), " ") {
		// It is not laid out as it should be: better no serial number than a wrong one.
		vendor, model, serial = "", raw, ""
	}
	return strings.TrimSpace(vendor), strings.Join(strings.Fields(model), " "), strings.TrimSpace(serial)
}
