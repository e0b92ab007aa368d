package storcli

import (
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// diskStates are the words of generations 1 and 7 for drives.
var diskStates = map[string]raid.DiskStateKind{
	"ONLN": raid.DiskOnline, "ONLINE": raid.DiskOnline, "UGOOD": raid.DiskReady, "JBOD": raid.DiskJBOD,
	"OFFLN": raid.DiskOffline,
	"UBAD":  raid.DiskBad, "UGUNSP": raid.DiskBad, "UBUNSP": raid.DiskBad,
	"GHS": raid.DiskSpare, "DHS": raid.DiskSpare,
	"RBLD": raid.DiskRebuilding, "CPYBCK": raid.DiskRebuilding,
	"FAILED": raid.DiskFailed, "FAIL": raid.DiskFailed, "FLD": raid.DiskFailed,
	"MSNG": raid.DiskMissing, "MISSING": raid.DiskMissing,
	"SNTZE": raid.DiskErasing, "ERASE": raid.DiskErasing,
}

// volumeStates are the words of all generations for volumes: `OfLn`, while a drive is `Offln`.
var volumeStates = map[string]raid.VolumeStateKind{
	"OPTL": raid.VolumeOptimal, "DGRD": raid.VolumeDegraded, "PDGD": raid.VolumePartial,
	"OFLN": raid.VolumeOffline, "OFFLN": raid.VolumeOffline, "FAILED": raid.VolumeFailed,
	"REC": raid.VolumeRebuilding, "RBLD": raid.VolumeRebuilding, "INIT": raid.VolumeInitializing,
	"MIGR": raid.VolumeMigrating, "OCE": raid.VolumeMigrating,
}

var batteryStates = map[string]raid.BatteryStateKind{
	"OPTIMAL": raid.BatteryGood, "OPT": raid.BatteryGood, "OK": raid.BatteryGood, "GOOD": raid.BatteryGood,
	"CHARGING": raid.BatteryCharging, "LEARNING": raid.BatteryCharging, "CHRG": raid.BatteryCharging,
	"FAILED": raid.BatteryFailed, "FAIL": raid.BatteryFailed, "DEGRADED": raid.BatteryFailed, "DGD": raid.BatteryFailed,
	"DGRD": raid.BatteryFailed, "NEEDS ATTENTION": raid.BatteryFailed, "NDATN": raid.BatteryFailed,
	"MISSING": raid.BatteryMissing, "MSNG": raid.BatteryMissing, "ABSENT": raid.BatteryMissing,
	"NOT PRESENT": raid.BatteryMissing,
}

func diskState(raw string) raid.DiskState {
	return raid.DiskState{Is: diskStates[strings.ToUpper(raw)], Raw: raw}
}

func volumeState(raw string) raid.VolumeState {
	return raid.VolumeState{Is: volumeStates[strings.ToUpper(raw)], Raw: raw}
}

func batteryState(raw string) raid.BatteryState {
	word, _, _ := strings.Cut(raw, "(") // Dgd (Needs Attention)
	return raid.BatteryState{Is: batteryStates[strings.ToUpper(strings.TrimSpace(word))], Raw: raw}
}

var levels = map[string]raid.Level{"RAID0": raid.Level0, "RAID1": raid.Level1, "RAID5": raid.Level5,
	"RAID6": raid.Level6, "RAID10": raid.Level10, "RAID50": raid.Level50, "RAID60": raid.Level60}

func level(raw string) raid.LevelState {
	return raid.LevelState{Is: levels[strings.ToUpper(strings.ReplaceAll(raw, " ", ""))], Raw: raw}
}

func medium(med, bus string) hw.Medium {
	switch {
	case strings.EqualFold(bus, "NVMe"):
		return hw.NVMe
	case strings.EqualFold(med, "SSD"):
		return hw.SSD
	case strings.EqualFold(med, "HDD"):
		return hw.HDD
	}
	return ""
}

func bus(raw string) hw.Bus {
	switch strings.ToUpper(raw) {
	case "SATA":
		return hw.BusATA
	case "SAS":
		return hw.BusSAS
	case "NVME":
		return hw.BusNVMe
	}
	return ""
}

var cachePattern = regexp.MustCompile(`^(NR|R)(FWB|AWB|WB|WT)(C|D)?$`)

// cachePolicies reads `RWBD`, of generation 8 `NR,WB`. RAWB is R and AWB.
func cachePolicies(raw string) raid.Policies {
	var p raid.Policies
	read, rest, found := strings.Cut(strings.ToUpper(raw), ",")
	if !found {
		m := cachePattern.FindStringSubmatch(read)
		if m == nil {
			return p
		}
		read, rest = m[1], m[2]
		p.IO = map[string]raid.IOPolicy{"D": raid.IODirect, "C": raid.IOCached}[m[3]]
	}
	p.Read = map[string]raid.ReadPolicy{"NR": raid.ReadNone, "NORA": raid.ReadNone, "R": raid.ReadAhead,
		"RA": raid.ReadAhead}[strings.TrimSpace(read)]
	p.Write = map[string]raid.WritePolicy{"WT": raid.WriteThrough, "WB": raid.WriteBack, "AWB": raid.WriteAlwaysBack,
		"FWB": raid.WriteAlwaysBack}[strings.TrimSpace(rest)]
	return p
}

func writePolicy(raw string) raid.WritePolicy {
	switch strings.ToLower(strings.NewReplacer(" ", "", "-", "").Replace(raw)) {
	case "writeback":
		return raid.WriteBack
	case "writethrough":
		return raid.WriteThrough
	case "alwayswriteback", "writebackalways", "forcewriteback":
		return raid.WriteAlwaysBack
	}
	return ""
}

func diskCache(raw string) raid.DiskCache {
	switch strings.ToLower(raw) {
	case "enabled", "enable", "on":
		return raid.DiskCacheEnable
	case "disabled", "disable", "off":
		return raid.DiskCacheDisable
	}
	return ""
}

// mode reads a personality: `RAID-Mode `, `JBOD `.
func mode(raw string) raid.Mode {
	word := strings.ToUpper(strings.TrimSpace(raw))
	switch {
	case strings.HasPrefix(word, "RAID"):
		return raid.ModeRAID
	case strings.HasPrefix(word, "JBOD"):
		return raid.ModeJBOD
	case strings.HasPrefix(word, "HBA"), strings.HasPrefix(word, "EHBA"), strings.HasPrefix(word, "IT"):
		return raid.ModeHBA
	}
	return ""
}

// units in bytes. Those without an i are binary too, but for builds that a maker had changed; see [measure].
var units = map[string]float64{
	"B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40, "PB": 1 << 50,
	"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50,
}

var decimalUnits = map[string]float64{"KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "PB": 1e15}

var sizePattern = regexp.MustCompile(`^([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([KMGTP]i?B|B)\b`)

// binaryUnit: the tool says GiB where it means that, and so does not mean it by GB.
var binaryUnit = regexp.MustCompile(`^[0-9.]+ [KMGTP]iB\b`)

// size reads `3.492 TB` as bytes, with binary units unless decimal is set. 0: it is no size.
func size(raw string, decimal bool) int64 {
	m := sizePattern.FindStringSubmatch(strings.TrimSpace(raw))
	if m == nil {
		return 0
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0
	}
	factor := units[m[2]]
	if d, ok := decimalUnits[m[2]]; decimal && ok {
		factor = d
	}
	if n *= factor; n < 1<<62 {
		return int64(math.Round(n))
	}
	return 0
}

var sectorsPattern = regexp.MustCompile(`\[0x([0-9a-fA-F]{1,15}) Sectors\]`)

// sectors reads the number in `7.276 TB [0x3a3812ab0 Sectors]`.
func sectors(raw string) int64 {
	if m := sectorsPattern.FindStringSubmatch(raw); m != nil {
		n, err := strconv.ParseInt(m[1], 16, 64)
		if err == nil {
			return n
		}
	}
	return 0
}

// measure finds the bytes of that many blocks: some releases count blocks of 512 bytes on a drive whose sectors have
// 4096, some count the drive's own. The printed size tells which, and also whether its units are binary. False means
// that neither fits, and that the count is not to be trusted.
func measure(blocks int64, printed string, sector int) (bytes int64, decimal, ok bool) {
	if blocks <= 0 || blocks >= 1<<50 {
		return 0, false, false
	}
	for _, block := range []int64{512, int64(sector), 4096} {
		if block < 512 || block > 4160 {
			continue
		}
		exact := blocks * block
		for _, decimal := range []bool{false, true} {
			want := size(printed, decimal)
			// The printed size has three decimals, one of which may be cut off: 1.0 TB.
			if want > 0 && math.Abs(float64(exact-want)) <= 0.02*float64(want) {
				return exact, decimal, true
			}
		}
	}
	return 0, false, false
}

// sectorSize reads `512B`, `4 KB`, `4.0 KiB`, `4096`.
func sectorSize(raw string) int {
	n := size(raw, false)
	if n == 0 {
		n, _ = strconv.ParseInt(raw, 10, 64)
	}
	if n < 512 || n > 1<<16 {
		return 0
	}
	return int(n)
}

var hexOnly = regexp.MustCompile(`^[0-9a-f]+$`)

// worldWide writes a world-wide name as the kernel does: naa.5000c500d99f97f8, eui.0025385b71b0d3a1. Names that are all
// zeros, which some drives have, are none.
func worldWide(raw string) string {
	name := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(raw)), "0x")
	if !hexOnly.MatchString(name) || strings.Trim(name, "0") == "" {
		return ""
	}
	switch {
	case len(name) == 16 && strings.ContainsRune("235", rune(name[0])), len(name) == 32 && name[0] == '6':
		return "naa." + name
	case len(name) == 16, len(name) == 32:
		return "eui." + name
	}
	return ""
}

// known is a value that says something: the tools print `-`, NA and N/A where they know nothing.
func known(raw string) string {
	switch strings.ToUpper(strings.TrimSpace(raw)) {
	case "-", "NA", "N/A", "NONE", "UNKNOWN":
		return ""
	}
	return strings.TrimSpace(raw)
}

func count(raw string) *int64 {
	if n, err := strconv.ParseInt(raw, 10, 64); err == nil && n >= 0 {
		return &n
	}
	return nil
}

func yes(raw string) *bool {
	switch strings.ToLower(raw) {
	case "yes", "no":
		b := strings.EqualFold(raw, "yes")
		return &b
	}
	return nil
}
