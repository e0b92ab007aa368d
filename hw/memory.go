//go:build linux

package hw

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/u-root/u-root/pkg/smbios"
)

// maxMemory is more than any machine has, and keeps the sum of nonsense from running over.
const maxMemory = 1 << 60

// memory joins the slots of the firmware's tables with the kernel's total.
func (t *tree) memory(sm *smbiosTables, smErr error) Memory {
	m := Memory{DIMMs: []DIMM{}}
	var missing unknowns
	if n, err := t.memTotal(); err != nil {
		missing.addErr("usable_bytes", err)
	} else {
		m.UsableBytes = n
	}
	if sm == nil {
		for _, field := range []string{"installed_bytes", "error_correction", "dimms"} {
			missing.addErr(field, fmt.Errorf("no SMBIOS tables: %w", smErr))
		}
		m.Unknown = missing
		return m
	}

	// Boards list the flash that holds the BIOS as a memory array of its own.
	other := map[uint16]bool{}
	for _, s := range sm.all(16) {
		// 3 is system memory; 4 to 7 are video, flash, NVRAM and cache. Boards exist that say "other" or "unknown" of the
		// only memory that they have.
		if use, ok := s.byte(0x05); ok && use > 0x03 {
			other[s.Handle] = true
			continue
		}
		switch kind, ok := s.byte(0x06); {
		case !ok || kind <= 2:
		case m.ErrorCorrection == "":
			m.ErrorCorrection = errorCorrection(kind)
		}
	}
	if m.ErrorCorrection == "" {
		missing.add("error_correction", "no SMBIOS type 16 structure of system memory tells")
	}
	known := true
	for _, s := range sm.all(17) {
		if array, ok := s.word(0x04); ok && other[array] {
			continue
		}
		d := sm.dimm(s)
		if d.Type == "Flash" || d.Type == "ROM" {
			continue
		}
		m.DIMMs = append(m.DIMMs, d)
		m.InstalledBytes += d.Bytes
		if !d.Empty && d.Bytes == 0 || m.InstalledBytes > maxMemory {
			known = false
			m.InstalledBytes = 0
		}
	}
	switch {
	case sm.err != nil:
		missing.add("dimms", "the list may be incomplete, the firmware's tables are broken: %v", sm.err)
		known = false
	case len(m.DIMMs) == 0:
		missing.add("dimms", "the firmware's tables have no structure of type 17")
		known = false
	}
	if !known {
		m.InstalledBytes = 0
		missing.add("installed_bytes", "not every module's size is known")
	}
	m.Unknown = missing
	return m
}

func (t *tree) memTotal() (int64, error) {
	const name = "proc/meminfo"
	data, err := t.read(name)
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(data)) {
		if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
			fields := strings.Fields(rest)
			if len(fields) == 2 && fields[1] == "kB" {
				if kB, err := strconv.ParseInt(fields[0], 10, 64); err == nil && kB > 0 && kB < 1<<50 {
					return kB * 1024, nil
				}
			}
			return 0, &fileError{name, fmt.Errorf("cannot read %q", strings.TrimSpace(line))}
		}
	}
	return 0, &fileError{name, fmt.Errorf("no MemTotal")}
}

// dimm reads a memory device (DSP0134 7.18).
func (sm *smbiosTables) dimm(s structure) DIMM {
	var missing unknowns
	d := DIMM{Slot: s.str(&missing, "slot", 0x10), Bank: s.str(&missing, "bank", 0x11)}
	size, ok := s.word(0x0c)
	switch extended, ok2 := s.dword(0x1c); {
	case !ok:
		missing.add("bytes", "the structure is too short to have a size")
	case size == 0:
		d.Empty = true
		d.Unknown = missing
		return d
	case size == 0xffff:
		missing.add("bytes", "the firmware says that the size is unknown")
	case size == 0x7fff && ok2 && extended&0x7fffffff != 0:
		d.Bytes = int64(extended&0x7fffffff) << 20
	case size == 0x7fff && !ok2:
		missing.add("bytes", "the size is in a field that the structure does not have")
	case size == 0x7fff:
		missing.add("bytes", "the firmware gives an extended size of 0")
	case size&0x8000 != 0:
		d.Bytes = int64(size&0x7fff) << 10
	default:
		d.Bytes = int64(size) << 20
	}

	if kind, ok := s.byte(0x12); !ok || kind == 2 {
		missing.add("type", "the firmware does not tell")
	} else {
		d.Type = memoryType(kind)
	}
	if form, ok := s.byte(0x0e); !ok || form == 2 {
		missing.add("form_factor", "the firmware does not tell")
	} else {
		d.FormFactor = formFactor(form)
	}
	speed := func(field string, offset, extended int) int {
		v, ok := s.word(offset)
		if ok && v == 0xffff {
			if w, ok := s.dword(extended); ok && w&0x7fffffff != 0 {
				return int(w & 0x7fffffff)
			}
		} else if ok && v != 0 {
			return int(v)
		}
		missing.add(field, "the firmware does not tell")
		return 0
	}
	d.RatedMTs = speed("rated_mts", 0x15, 0x54)
	d.ConfiguredMTs = speed("configured_mts", 0x20, 0x58)
	d.Manufacturer = s.partStr(&missing, "manufacturer", 0x17)
	d.Serial = s.partStr(&missing, "serial", 0x18)
	d.PartNumber = s.partStr(&missing, "part_number", 0x1a)
	if attributes, ok := s.byte(0x1b); ok && attributes&0x0f != 0 {
		d.Rank = int(attributes & 0x0f)
	} else {
		missing.add("rank", "the firmware does not tell")
	}
	total, ok1 := s.word(0x08)
	data, ok2 := s.word(0x0a)
	if ok1 && ok2 && total != 0 && total != 0xffff && data != 0 && data != 0xffff {
		ecc := total > data
		d.ECC = &ecc
	} else {
		missing.add("ecc", "the firmware does not tell the width")
	}
	d.Unknown = missing
	return d
}

// memoryType has what is newer than u-root's list (DSP0134 3.8, table 78).
func memoryType(v uint8) string {
	switch v {
	case 0x20:
		return "HBM"
	case 0x21:
		return "HBM2"
	case 0x23:
		return "LPDDR5"
	case 0x24:
		return "HBM3"
	case 0x25:
		return "MRDIMM"
	}
	return smbios.MemoryDeviceType(v).String()
}

func formFactor(v uint8) string {
	switch v {
	case 0x10:
		return "Die"
	case 0x11:
		return "CAMM"
	case 0x12:
		return "CUDIMM"
	case 0x13:
		return "CSODIMM"
	}
	return smbios.MemoryDeviceFormFactor(v).String()
}

func errorCorrection(v uint8) string {
	names := []string{"", "Other", "", "None", "Parity", "Single-bit ECC", "Multi-bit ECC", "CRC"}
	if int(v) < len(names) {
		return names[v]
	}
	return fmt.Sprintf("0x%02x", v)
}
