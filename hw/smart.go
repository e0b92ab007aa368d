//go:build linux

package hw

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Disks are asked by an own small reader and not by github.com/anatol/smart.go (MIT, alive, no releases), because of
// what acceptance needs beyond it: error counters, endurance and defects of SAS disks, of which it reads inquiry and
// capacity only; a bound on time; and raw answers that are captured on one machine and decoded on another. Most of what
// it has more is a database of attributes; here are four that mean the same with all makers.
//
// This file decodes; smart_linux.go asks. The names of the answers are those of the pages below.
const (
	nvmeHealth      = "nvme_health"      // Get Log Page 02h
	ataData         = "ata_data"         // SMART READ DATA
	ataStatus       = "ata_status"       // SMART RETURN STATUS: the sense data that it comes back in
	ataEndurance    = "ata_endurance"    // device statistics, page 7
	scsiExceptions  = "scsi_exceptions"  // log page 2Fh
	scsiWrite       = "scsi_write"       // 02h
	scsiRead        = "scsi_read"        // 03h
	scsiVerify      = "scsi_verify"      // 05h
	scsiTemperature = "scsi_temperature" // 0Dh
	scsiSolidState  = "scsi_solid_state" // 11h
	scsiScan        = "scsi_scan"        // 15h
	scsiDefects     = "scsi_defects"     // READ DEFECT DATA (12), header
)

// smartAnswers are a disk's raw answers by name, or why it gave none.
type smartAnswers map[string]smartAnswer

type smartAnswer struct {
	data []byte
	err  error
}

// maxSmart bounds the text of one disk's answers.
const maxSmart = 1 << 16

// format is how a captured machine keeps them: `NAME HEX`, or `NAME error WORDS`.
func (a smartAnswers) format() []byte {
	var b bytes.Buffer
	names := make([]string, 0, len(a))
	for name := range a {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if err := a[name].err; err != nil {
			fmt.Fprintf(&b, "%s error %s\n", name, clean([]byte(err.Error())))
		} else {
			fmt.Fprintf(&b, "%s %x\n", name, a[name].data)
		}
	}
	return b.Bytes()
}

func parseSmart(text []byte) (smartAnswers, error) {
	if len(text) > maxSmart {
		return nil, fmt.Errorf("%d bytes of answers are too many", len(text))
	}
	a := smartAnswers{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if words, failed := strings.CutPrefix(value, "error "); failed {
			a[name] = smartAnswer{err: errors.New(clean([]byte(words)))}
			continue
		}
		data, err := hex.DecodeString(value)
		if err != nil {
			return nil, fmt.Errorf("the answer %.20q is not hexadecimal", name)
		}
		a[name] = smartAnswer{data: data}
	}
	return a, nil
}

// health of a disk from its answers.
func (a smartAnswers) health(d *Disk) *DiskHealth {
	h := &DiskHealth{}
	var missing unknowns
	switch {
	case strings.HasPrefix(d.Name, "nvme"):
		a.nvme(h, &missing)
	case d.Bus == BusATA:
		a.ata(h, &missing, d.Medium)
	default:
		a.scsi(h, &missing, d.Medium)
	}
	h.Unknown = missing
	return h
}

// page returns an answer of at least size bytes, or notes why the fields are not known.
func (a smartAnswers) page(missing *unknowns, name string, size int, fields ...string) []byte {
	answer, asked := a[name]
	err := answer.err
	switch {
	case !asked:
		err = errors.New("the disk does not have it")
	case err == nil && len(answer.data) < size:
		err = fmt.Errorf("%d bytes are too few", len(answer.data))
	}
	if err != nil {
		for _, field := range fields {
			missing.add(field, "%s: %v", name, err)
		}
		return nil
	}
	return answer.data
}

// nvme reads the SMART / Health Information log (NVM Express Base Specification 2.0, 5.16.1.3).
func (a smartAnswers) nvme(h *DiskHealth, missing *unknowns) {
	fields := []string{"passed", "wear_percent", "media_errors"}
	page := a.page(missing, nvmeHealth, 512, fields...)
	if page == nil {
		return
	}
	if len(bytes.Trim(page, "\x00")) == 0 {
		for _, field := range fields {
			missing.add(field, "%s: the controller answers with nothing but zeros", nvmeHealth)
		}
		return
	}
	passed := page[0] == 0 // a set bit is a critical warning
	wear := int(page[5])
	h.Passed, h.WearPercent = &passed, &wear
	if n, ok := count128(page[160:176]); ok {
		h.MediaErrors = &n
	} else {
		missing.add("media_errors", "%s: more than this program can count", nvmeHealth)
	}
	if n, ok := count128(page[128:144]); ok {
		h.PowerOnHours = &n
	}
	if kelvin := int(binary.LittleEndian.Uint16(page[1:])); kelvin > 0 {
		h.TemperatureC = celsius(kelvin - 273)
	}
}

func count128(b []byte) (int64, bool) {
	low, high := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	return int64(low), high == 0 && low < 1<<63
}

// celsius is nil for what no disk has ever been.
func celsius(c int) *int {
	if c < -60 || c > 150 {
		return nil
	}
	return &c
}

// ata reads SMART data (ATA8-ACS 7.53.6), the status and the endurance of solid-state disks (ACS-4 9.5.8).
func (a smartAnswers) ata(h *DiskHealth, missing *unknowns, medium Medium) {
	if sense := a.page(missing, ataStatus, 1, "passed"); sense != nil {
		if passed, err := ataVerdict(sense); err != nil {
			missing.add("passed", "%s: %v", ataStatus, err)
		} else {
			h.Passed = &passed
		}
	}
	a.ataAttributes(h, missing)
	if medium != SSD {
		return
	}
	if page := a.page(missing, ataEndurance, 512, "wear_percent"); page != nil {
		// Each statistic is eight bytes, the topmost has the flags: 80h supported, 40h valid.
		switch statistic := binary.LittleEndian.Uint64(page[8:]); {
		case page[2] != 7:
			missing.add("wear_percent", "%s: the disk answers with page %d", ataEndurance, page[2])
		case statistic>>56&0xc0 != 0xc0:
			missing.add("wear_percent", "%s: the disk does not keep it", ataEndurance)
		default:
			wear := int(statistic & 0xff)
			h.WearPercent = &wear
		}
	}
}

// ataAttributes reads the attributes that mean the same with all makers. Which of a raw value's six bytes count is as
// smartmontools has it by default (drivedb.h).
func (a smartAnswers) ataAttributes(h *DiskHealth, missing *unknowns) {
	fields := []string{"media_errors", "reallocated", "pending"}
	page := a.page(missing, ataData, 512, fields...)
	if page == nil {
		return
	}
	var sum byte
	for _, b := range page[:512] {
		sum += b
	}
	if sum != 0 {
		for _, field := range fields {
			missing.add(field, "%s: the checksum is wrong", ataData)
		}
		return
	}
	for i := range 30 {
		entry := page[2+12*i:][:12]
		raw := int64(binary.LittleEndian.Uint64(entry[4:12]) << 8 >> 16) // the six bytes from 5 on
		switch entry[0] {
		case 5:
			raw &= 0xffff
			h.Reallocated = &raw
		case 9:
			raw &= 0xffffff
			h.PowerOnHours = &raw
		case 187:
			h.MediaErrors = &raw
		case 190, 194: // 190 is the airflow of some makers; 194 comes later and wins
			if t := celsius(int(int8(raw))); t != nil {
				h.TemperatureC = t
			}
		case 197:
			h.Pending = &raw
		}
	}
	for _, f := range []struct {
		name  string
		value *int64
	}{{"media_errors", h.MediaErrors}, {"reallocated", h.Reallocated}, {"pending", h.Pending}} {
		if f.value == nil {
			missing.add(f.name, "the disk has no such SMART attribute")
		}
	}
}

// ataVerdict finds the registers of RETURN STATUS in sense data: an ATA Status Return descriptor, or the same in fixed
// format (SAT-4 12.2.2). 4Fh C2h is passed, F4h 2Ch is failed.
func ataVerdict(sense []byte) (bool, error) {
	var middle, high byte
	switch code := sense[0] & 0x7f; {
	case code == 0x72 && len(sense) >= 8:
		rest := sense[8:min(len(sense), 8+int(sense[7]))]
		for {
			if len(rest) < 2 || len(rest) < 2+int(rest[1]) {
				return false, errors.New("the sense data have no registers of the disk")
			}
			if rest[0] == 0x09 && rest[1] >= 12 {
				middle, high = rest[9], rest[11]
				break
			}
			rest = rest[2+int(rest[1]):]
		}
	case code == 0x70 && len(sense) >= 14 && sense[12] == 0x00 && sense[13] == 0x1d: // ATA information available
		middle, high = sense[10], sense[11]
	default:
		return false, errors.New("the sense data have no registers of the disk")
	}
	switch {
	case middle == 0x4f && high == 0xc2:
		return true, nil
	case middle == 0xf4 && high == 0x2c:
		return false, nil
	}
	return false, fmt.Errorf("the disk answers %02x %02x, which is neither passed nor failed", middle, high)
}

// scsi reads log pages (SPC-5 7.3, SBC-4 6.4).
func (a smartAnswers) scsi(h *DiskHealth, missing *unknowns, medium Medium) {
	if p := a.parameter(missing, scsiExceptions, 0x2f, 0, 2, "passed"); p != nil {
		// Additional sense codes 0Bh are warnings, 5Dh is a predicted failure.
		passed := p[0] != 0x0b && p[0] != 0x5d
		h.Passed = &passed
	}
	var errorsOf int64
	counted := false
	for _, c := range []struct {
		name string
		page byte
	}{{scsiWrite, 0x02}, {scsiRead, 0x03}, {scsiVerify, 0x05}} {
		if _, asked := a[c.name]; !asked {
			continue // a disk need not count verify commands, and a solid-state disk none at all
		}
		p := a.parameter(missing, c.name, c.page, 6, 1, "media_errors") // total uncorrected errors
		n, ok := bigCount(p)
		if p != nil && !ok {
			missing.add("media_errors", "%s: more than this program can count", c.name)
		}
		if p == nil || !ok {
			counted = false
			break
		}
		errorsOf, counted = errorsOf+n, true
	}
	switch {
	case counted:
		h.MediaErrors = &errorsOf
	case !slices.ContainsFunc(*missing, func(u Unknown) bool { return u.Path == "media_errors" }):
		missing.add("media_errors", "the disk has no pages of error counters")
	}
	if medium == SSD || medium == NVMe {
		if p := a.parameter(missing, scsiSolidState, 0x11, 1, 4, "wear_percent"); p != nil {
			wear := int(p[3])
			h.WearPercent = &wear
		}
	} else if header := a.page(missing, scsiDefects, 8, "reallocated"); header != nil {
		if n, err := defects(header); err != nil {
			missing.add("reallocated", "%s: %v", scsiDefects, err)
		} else {
			h.Reallocated = &n
		}
	}
	var ignored unknowns
	if p := a.parameter(&ignored, scsiScan, 0x15, 0, 4, "power_on_hours"); p != nil {
		hours := int64(binary.BigEndian.Uint32(p)) / 60 // minutes
		h.PowerOnHours = &hours
	}
	if p := a.parameter(&ignored, scsiTemperature, 0x0d, 0, 2, "temperature_c"); p != nil && p[1] != 0xff {
		h.TemperatureC = celsius(int(p[1]))
	}
}

// parameter finds the value of a log parameter, of at least size bytes.
func (a smartAnswers) parameter(missing *unknowns, name string, page byte, code uint16, size int,
	field string) []byte {
	data := a.page(missing, name, 4, field)
	if data == nil {
		return nil
	}
	if data[0]&0x3f != page {
		missing.add(field, "%s: the disk answers with page %02x", name, data[0]&0x3f)
		return nil
	}
	rest := data[4:min(len(data), 4+int(binary.BigEndian.Uint16(data[2:])))]
	for len(rest) >= 4 && len(rest) >= 4+int(rest[3]) {
		value := rest[4 : 4+int(rest[3])]
		if binary.BigEndian.Uint16(rest) == code && len(value) >= size {
			return value
		}
		rest = rest[4+len(value):]
	}
	missing.add(field, "%s: the page has no parameter %04x", name, code)
	return nil
}

// bigCount is a counter of any length.
func bigCount(b []byte) (int64, bool) {
	b = bytes.TrimLeft(b, "\x00")
	if len(b) > 7 {
		return 0, false
	}
	var n int64
	for _, v := range b {
		n = n<<8 | int64(v)
	}
	return n, true
}

// defects counts the grown list by the length in its header (SBC-4 5.19).
func defects(header []byte) (int64, error) {
	if header[1]&0x08 == 0 {
		return 0, errors.New("the answer is not the grown list")
	}
	size := int64(8)
	if header[1]&0x07 == 0 { // short block format
		size = 4
	}
	return int64(binary.BigEndian.Uint32(header[4:])) / size, nil
}
