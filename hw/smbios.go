//go:build linux

package hw

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/u-root/u-root/pkg/smbios"
)

// smbiosTables are the structures of /sys/firmware/dmi/tables (DMTF DSP0134). u-root's parsers are not used for them:
// they drop a structure for one bad field. Fields are read here one by one, because a structure that is short or points
// to a string that is not there must cost that field only, and because index 0 ("not specified") must stay apart from a
// string that says so.
//
// A nil *smbiosTables is a machine without tables.
type smbiosTables struct {
	structures []structure
	version    int    // 0x0303 is 3.3; 0 if the entry point could not be read
	release    string // for people
	// err is why the structures end before the table does, nil if all were read.
	err error
	// entryErr is what is wrong with the entry point. The structures are usable without.
	entryErr error
}

// structure is one SMBIOS structure.
type structure struct {
	Type    smbios.TableType
	Handle  uint16
	data    []byte // with the header, so that offsets are those of the specification
	strings [][]byte
}

const dmiDir = "sys/firmware/dmi/tables/"

// smbios reads the tables. Only a table that cannot be read at all is an error.
func (t *tree) smbios() (*smbiosTables, error) {
	data, err := t.read(dmiDir + "DMI")
	if err != nil {
		return nil, err
	}
	entry, err := t.read(dmiDir + "smbios_entry_point")
	sm := parseSMBIOS(entry, data)
	if err != nil {
		sm.entryErr = err
	}
	if len(sm.structures) == 0 {
		return nil, &fileError{dmiDir + "DMI", fmt.Errorf("no structure can be read: %w", sm.err)}
	}
	return sm, nil
}

// parseSMBIOS never fails: it returns as much as can be read.
func parseSMBIOS(entry, data []byte) *smbiosTables {
	sm := &smbiosTables{}
	e32, e64, err := smbios.ParseEntry(entry)
	if err != nil {
		// The anchor is enough for the version: the kernel has found these tables and believed them.
		switch {
		case len(entry) >= 9 && string(entry[:5]) == "_SM3_":
			sm.setVersion(entry[7], entry[8])
		case len(entry) >= 8 && string(entry[:4]) == "_SM_":
			sm.setVersion(entry[6], entry[7])
		}
		sm.entryErr = fmt.Errorf("/%ssmbios_entry_point: %w", dmiDir, err)
	}
	if e32 != nil {
		sm.setVersion(e32.SMBIOSMajorVersion, e32.SMBIOSMinorVersion)
	}
	if e64 != nil {
		sm.setVersion(e64.SMBIOSMajorVersion, e64.SMBIOSMinorVersion)
	}

	// The kernel exports the whole table, whatever length the entry point announces. Behind a 32-bit entry point, which
	// counts the structures, makers have put some after the end-of-table structure (so says drivers/firmware/dmi_scan.c);
	// behind a 64-bit one that structure is the only end, and what follows is padding.
	counted := 0
	if e32 != nil {
		counted = int(e32.NumberOfStructs)
	}
	seen, ended := 0, false
	for offset := 0; offset < len(data); {
		s, next, err := parseStructure(data[offset:])
		if err != nil && ended {
			return sm
		}
		if err != nil {
			sm.err = fmt.Errorf("structure %d at byte %d: %w", seen, offset, err)
		}
		if s != nil && s.Type != smbios.TableTypeEndOfTable {
			sm.structures = append(sm.structures, *s)
		}
		if err != nil {
			return sm
		}
		seen++
		ended = ended || s.Type == smbios.TableTypeEndOfTable
		if ended && seen >= counted {
			return sm
		}
		offset += next
	}
	if len(data) == 0 {
		sm.err = errors.New("the table is empty")
	}
	// No end-of-table structure, but nothing is cut off either: seen on old BIOSes that count structures.
	return sm
}

// parseStructure reads the structure at the start of data and says where the next one starts. A structure whose strings
// are cut off comes with the error: its fields are all there.
func parseStructure(data []byte) (*structure, int, error) {
	if len(data) < 4 {
		return nil, 0, fmt.Errorf("%d bytes are less than a header", len(data))
	}
	length := int(data[1])
	if length < 4 {
		return nil, 0, fmt.Errorf("it says it is %d bytes long", length)
	}
	if length > len(data) {
		return nil, 0, fmt.Errorf("it says it is %d bytes long, and %d are left", length, len(data))
	}
	s := &structure{Type: smbios.TableType(data[0]), Handle: binary.LittleEndian.Uint16(data[2:]), data: data[:length]}
	// Two zero bytes end the strings (DSP0134 6.1.3). Some firmware has more zeros before the next structure; the
	// kernel takes the first two as well, and so reads an end where the maker's own tools do.
	rest := data[length:]
	end := bytes.Index(rest, []byte{0, 0})
	whole := end >= 0
	if !whole {
		end = len(rest)
	}
	if end > 0 {
		s.strings = bytes.Split(rest[:end], []byte{0})
	}
	if !whole {
		return s, 0, errors.New("its strings have no end")
	}
	return s, length + end + 2, nil
}

func (sm *smbiosTables) setVersion(major, minor uint8) {
	// Some BIOSes say 2.31 or 2.51 and mean 2.3 and 2.6; so does the kernel read them (drivers/firmware/dmi_scan.c).
	sm.release = fmt.Sprintf("%d.%d", major, minor)
	sm.version = int(major)<<8 | int(minor)
	switch sm.version {
	case 0x021f, 0x0221:
		sm.version = 0x0203
	case 0x0233:
		sm.version = 0x0206
	}
}

// complete says whether absence from the tables means anything.
func (sm *smbiosTables) complete() bool { return sm != nil && sm.err == nil }

// all returns the structures of a type in table order.
func (sm *smbiosTables) all(kind smbios.TableType) []structure {
	if sm == nil {
		return nil
	}
	var list []structure
	for _, s := range sm.structures {
		if s.Type == kind {
			list = append(list, s)
		}
	}
	return list
}

// first returns the first structure of a type, nil if there is none.
func (sm *smbiosTables) first(kind smbios.TableType) *structure {
	if list := sm.all(kind); len(list) > 0 {
		return &list[0]
	}
	return nil
}

// Older specifications have shorter structures: a field behind the end is not there, which is no error.
func (s structure) bytes(offset, length int) ([]byte, bool) {
	if offset+length > len(s.data) {
		return nil, false
	}
	return s.data[offset : offset+length], true
}

func (s structure) byte(offset int) (uint8, bool) {
	b, ok := s.bytes(offset, 1)
	if !ok {
		return 0, false
	}
	return b[0], true
}

func (s structure) word(offset int) (uint16, bool) {
	b, ok := s.bytes(offset, 2)
	if !ok {
		return 0, false
	}
	return binary.LittleEndian.Uint16(b), true
}

func (s structure) dword(offset int) (uint32, bool) {
	b, ok := s.bytes(offset, 4)
	if !ok {
		return 0, false
	}
	return binary.LittleEndian.Uint32(b), true
}

// str reads the string whose number is at offset. "" if the firmware specifies none.
func (s structure) str(missing *unknowns, field string, offset int) string {
	index, ok := s.byte(offset)
	if !ok || index == 0 {
		return ""
	}
	if int(index) > len(s.strings) {
		missing.add(field, "SMBIOS type %d names string %d, which the structure does not have", s.Type, index)
		return ""
	}
	return clean(s.strings[index-1])
}

// filler are strings with which firmware says that it has nothing to say about a part (CPU, DIMM). They are facts about
// the firmware, not about the part.
var filler = map[string]bool{
	"UNKNOWN": true, "NOT SPECIFIED": true, "NOT AVAILABLE": true, "NOT PROVIDED": true, "UNDEFINED": true,
	"NONE": true,
	"N/A":  true, "NA": true, "NULL": true, "EMPTY": true, "TO BE FILLED BY O.E.M.": true, "DEFAULT STRING": true,
	"NO DIMM": true, "NO MODULE": true, "NO MODULE INSTALLED": true, "OUT OF SPEC": true, "<OUT OF SPEC>": true,
}

// isFiller says that a string is no value.
func isFiller(v string) bool {
	upper := strings.ToUpper(v)
	return filler[upper] || strings.Trim(v, "0") == "" || strings.Trim(upper, "F") == "" ||
		strings.HasPrefix(upper, "PARTNUM") || strings.HasPrefix(upper, "SERNUM")
}

// partStr is [structure.str] for strings of a plugged-in part, of which filler says nothing.
func (s structure) partStr(missing *unknowns, field string, offset int) string {
	v := s.str(missing, field, offset)
	if v == "" {
		return ""
	}
	if isFiller(v) {
		missing.add(field, "the firmware says %q", v)
		return ""
	}
	return v
}

// identity fills system, board, BIOS and chassis from the tables.
func (sm *smbiosTables) identity(f *Facts) {
	if s := sm.first(0); s != nil {
		b, missing := &f.BIOS, unknowns(f.BIOS.Unknown)
		b.Vendor = s.str(&missing, "vendor", 0x04)
		b.Version = s.str(&missing, "version", 0x05)
		b.Date = s.str(&missing, "date", 0x08)
		major, ok1 := s.byte(0x14)
		minor, ok2 := s.byte(0x15)
		if ok1 && ok2 && major != 0xff && minor != 0xff && (major != 0 || minor != 0) {
			b.Revision = fmt.Sprintf("%d.%d", major, minor)
		}
		b.Unknown = missing
	} else {
		sm.none(&f.Unknown, "bios", 0)
	}
	f.BIOS.SMBIOS = sm.release
	if sm.entryErr != nil && sm.release == "" {
		missing := unknowns(f.BIOS.Unknown)
		missing.addErr("smbios", sm.entryErr)
		f.BIOS.Unknown = missing
	}

	if s := sm.first(1); s != nil {
		y, missing := &f.System, unknowns(nil)
		y.Vendor = s.str(&missing, "vendor", 0x04)
		y.Product = s.str(&missing, "product", 0x05)
		y.Version = s.str(&missing, "version", 0x06)
		y.Serial = s.str(&missing, "serial", 0x07)
		if raw, ok := s.bytes(0x08, 16); ok {
			y.UUID = sm.uuid(raw)
		}
		y.SKU = s.str(&missing, "sku", 0x19)
		y.Family = s.str(&missing, "family", 0x1a)
		y.Unknown = missing
	} else {
		sm.none(&f.Unknown, "system", 1)
	}

	if s := sm.board(); s != nil {
		b, missing := &f.Board, unknowns(nil)
		b.Vendor = s.str(&missing, "vendor", 0x04)
		b.Product = s.str(&missing, "product", 0x05)
		b.Version = s.str(&missing, "version", 0x06)
		b.Serial = s.str(&missing, "serial", 0x07)
		b.AssetTag = s.str(&missing, "asset_tag", 0x08)
		b.Unknown = missing
	} else {
		sm.none(&f.Unknown, "board", 2)
	}

	if s := sm.chassis(); s != nil {
		c, missing := &f.Chassis, unknowns(nil)
		c.Vendor = s.str(&missing, "vendor", 0x04)
		if kind, ok := s.byte(0x05); ok {
			if kind &= 0x7f; kind == 2 {
				missing.add("type", "the firmware says unknown")
			} else {
				c.Type = smbios.ChassisType(kind).String()
			}
		}
		c.Version = s.str(&missing, "version", 0x06)
		c.Serial = s.str(&missing, "serial", 0x07)
		c.AssetTag = s.str(&missing, "asset_tag", 0x08)
		// The SKU follows the contained elements: n records of m bytes.
		n, ok1 := s.byte(0x13)
		m, ok2 := s.byte(0x14)
		if ok1 && ok2 {
			c.SKU = s.str(&missing, "sku", 0x15+int(n)*int(m))
		}
		c.Unknown = missing
	} else {
		sm.none(&f.Unknown, "chassis", 3)
	}

	f.System.AssetTag = f.Chassis.AssetTag
	if f.System.AssetTag == "" {
		f.System.AssetTag = f.Board.AssetTag
	}
}

// none notes why a section is not there.
func (sm *smbiosTables) none(list *[]Unknown, section string, kind int) {
	reason := fmt.Sprintf("the firmware's tables have no structure of type %d", kind)
	if sm.err != nil {
		reason = fmt.Sprintf("the firmware's tables are broken: %v", sm.err)
	}
	*list = append(*list, Unknown{Path: section, Reason: reason})
}

// board picks the main board: servers list risers, backplanes and blades' boards as well.
func (sm *smbiosTables) board() *structure {
	list := sm.all(2)
	var best *structure
	var most int
	for i, s := range list {
		points := 1
		if kind, ok := s.byte(0x0d); ok && kind == 0x0a { // motherboard
			points += 4
		}
		if features, ok := s.byte(0x09); ok && features&1 != 0 { // hosting board
			points += 2
		}
		if points > most {
			best, most = &list[i], points
		}
	}
	return best
}

// chassis picks the enclosure: a blade's tables have that of the blade and that of the whole frame, and the main board
// says which one it is in.
func (sm *smbiosTables) chassis() *structure {
	list := sm.all(3)
	if len(list) > 1 {
		if board := sm.board(); board != nil {
			if handle, ok := board.word(0x0b); ok {
				for i, s := range list {
					if s.Handle == handle {
						return &list[i]
					}
				}
			}
		}
	}
	if len(list) == 0 {
		return nil
	}
	return &list[0]
}

// uuid in the byte order of the version: DSP0134 7.2.1 says little endian for the first three fields since 2.6.
func (sm *smbiosTables) uuid(b []byte) string {
	if bytes.Count(b, []byte{0}) == len(b) || bytes.Count(b, []byte{0xff}) == len(b) {
		return ""
	}
	order := binary.ByteOrder(binary.LittleEndian)
	if sm.version != 0 && sm.version < 0x0206 {
		order = binary.BigEndian
	}
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", order.Uint32(b), order.Uint16(b[4:]), order.Uint16(b[6:]),
		b[8:10], b[10:16])
}

// identityFromKernel fills what the kernel has kept of the tables (/sys/class/dmi/id), for want of the tables: most of
// it can be read without root.
func (t *tree) identityFromKernel(f *Facts, cause error) {
	const dir = "sys/class/dmi/id/"
	if !t.exists(dir) {
		for _, section := range []string{"system", "board", "bios", "chassis"} {
			missing := unknowns(f.Unknown)
			missing.addErr(section, fmt.Errorf("no SMBIOS tables: %w", cause))
			f.Unknown = missing
		}
		return
	}
	var missing *unknowns
	read := func(field, file string) string {
		s, err := t.text(dir + file)
		if err != nil {
			missing.addErr(field, err)
		}
		return s
	}
	system, board, bios, chassis := unknowns(nil), unknowns(nil), unknowns(f.BIOS.Unknown), unknowns(nil)
	missing = &system
	f.System = System{Vendor: read("vendor", "sys_vendor"), Product: read("product", "product_name"),
		Version: read("version", "product_version"), SKU: read("sku", "product_sku"), Family: read("family",
			"product_family"),
		Serial: read("serial", "product_serial"), UUID: strings.ToLower(read("uuid", "product_uuid")),
		AssetTag: read("asset_tag", "chassis_asset_tag")}
	if strings.Trim(f.System.UUID, "0-") == "" || strings.Trim(f.System.UUID, "f-") == "" {
		f.System.UUID = ""
	}
	f.System.Unknown = system
	missing = &board
	f.Board = Board{Vendor: read("vendor", "board_vendor"), Product: read("product", "board_name"),
		Version: read("version", "board_version"), Serial: read("serial", "board_serial"),
		AssetTag: read("asset_tag", "board_asset_tag")}
	f.Board.Unknown = board
	missing = &bios
	f.BIOS.Vendor, f.BIOS.Version = read("vendor", "bios_vendor"), read("version", "bios_version")
	f.BIOS.Date, f.BIOS.Revision = read("date", "bios_date"), read("revision", "bios_release")
	missing.addErr("smbios", cause)
	f.BIOS.Unknown = bios
	missing = &chassis
	f.Chassis = Chassis{Vendor: read("vendor", "chassis_vendor"), Version: read("version", "chassis_version"),
		Serial: read("serial", "chassis_serial"), AssetTag: read("asset_tag", "chassis_asset_tag")}
	if kind, err := t.number(dir + "chassis_type"); err == nil && kind > 0 && kind != 2 && kind < 0x80 {
		f.Chassis.Type = smbios.ChassisType(kind).String()
	} else {
		missing.add("type", "the kernel keeps no usable type")
	}
	missing.add("sku", "only in the SMBIOS tables: %v", cause)
	f.Chassis.Unknown = chassis
}
