//go:build linux

package hw

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// smbiosStructure builds one structure: what follows the header at its offsets, and strings.
type field struct {
	offset int
	value  any // byte, uint16, uint32, []byte
}

func smbiosStructure(kind byte, handle uint16, length int, fields []field, strs ...string) []byte {
	b := make([]byte, length)
	b[0], b[1] = kind, byte(length)
	binary.LittleEndian.PutUint16(b[2:], handle)
	for _, f := range fields {
		switch v := f.value.(type) {
		case int:
			b[f.offset] = byte(v)
		case uint16:
			binary.LittleEndian.PutUint16(b[f.offset:], v)
		case uint32:
			binary.LittleEndian.PutUint32(b[f.offset:], v)
		case []byte:
			copy(b[f.offset:], v)
		default:
			panic("unknown kind of field")
		}
	}
	for _, s := range strs {
		b = append(append(b, s...), 0)
	}
	if len(strs) == 0 {
		b = append(b, 0)
	}
	return append(b, 0)
}

func endOfTable() []byte { return smbiosStructure(127, 0xfeff, 4, nil) }

func entryPoint3(major, minor byte) []byte {
	b := make([]byte, 24)
	copy(b, "_SM3_")
	b[6], b[7], b[8] = 24, major, minor
	var sum byte
	for _, v := range b {
		sum += v
	}
	b[5] = -sum
	return b
}

func joinBytes(parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

// serverDIMM is a type 17 structure as long as that of SMBIOS 3.2.
func serverDIMM(handle uint16, slot string, mib uint16, more []field, strs ...string) []byte {
	fields := []field{{0x04, uint16(0x1000)}, {0x08, uint16(72)}, {0x0a, uint16(64)}, {0x0c, mib}, {0x0e, 9},
		{0x10, 1},
		{0x11, 0}, {0x12, 0x1a}, {0x15, uint16(2933)}, {0x17, 2}, {0x18, 3}, {0x1a, 4}, {0x1b, 2}, {0x20,
			uint16(2666)}}
	return smbiosStructure(17, handle, 0x54, append(fields, more...), append([]string{slot}, strs...)...)
}

// serverTables are those of the hand-made two-socket server.
func serverTables() []byte {
	uuid := []byte{0x4c, 0x4c, 0x45, 0x44, 0, 0x10, 0x20, 0x80, 0x30, 0xb3, 0xc0, 0x4f, 0x33, 0x32, 0x33, 0x33}
	return joinBytes(
		smbiosStructure(0, 0, 0x18, []field{{4, 1}, {5, 2}, {8, 3}, {0x14, 2}, {0x15, 11}}, "Dell Inc.",
			"2.11.2", "04/21/2021"),
		smbiosStructure(1, 1, 0x1b, []field{{4, 1}, {5, 2}, {7, 3}, {8, uuid}, {0x19, 4}, {0x1a, 5}},
			"Dell Inc.", "PowerEdge R740", "  ABC1234 ", "SKU=NotProvided;ModelName=PowerEdge R740", "PowerEdge"),
		smbiosStructure(2, 2, 0x0f, []field{{4, 1}, {5, 2}, {9, 0}, {0x0d, 3}}, "Dell Inc.", "Riser 1"),
		smbiosStructure(2, 3, 0x0f, []field{{4, 1}, {5, 2}, {6, 3}, {7, 4}, {9, 1}, {0x0d, 0x0a}},
			"Dell Inc.", "06WXJT", "A04", ".ABC1234.CNFCP0097100AB."),
		smbiosStructure(3, 4, 0x1a, []field{{4, 1}, {5, 0x97}, {7, 2}, {8, 3}, {0x13, 1}, {0x14, 3}, {0x18, 4}},
			"Dell Inc.", "ABC1234", "RACK-17", "CHASSIS-SKU"),
		smbiosStructure(4, 0x400, 0x30, []field{{4, 1}, {5, 3}, {0x18, 0x41}, {0x20, 0}}, "CPU1"),
		smbiosStructure(4, 0x401, 0x30, []field{{4, 1}, {5, 3}, {0x18, 0x41}, {0x20, 2}}, "CPU2",
			"To Be Filled By O.E.M."),
		smbiosStructure(4, 0x402, 0x30, []field{{4, 1}, {5, 3}, {0x18, 0x00}}, "CPU3"),
		smbiosStructure(16, 0x1000, 0x17, []field{{5, 3}, {6, 6}}),
		smbiosStructure(16, 0x1001, 0x17, []field{{5, 5}, {6, 3}}), // flash
		serverDIMM(0x1100, "A1", 0x7fff, []field{{0x1c, uint32(32768)}}, "00CE00B300CE", "403B12AA",
			"M393A4K40CB2-CVF    "),
		serverDIMM(0x1101, "A2", 16384, nil, "Hynix", "Unknown", "NO DIMM"),
		serverDIMM(0x1102, "A3", 0, nil, "UNKNOWN", "UNKNOWN", "UNKNOWN"),
		serverDIMM(0x1103, "A10", 512|0x8000, []field{{0x15, uint16(0xffff)}, {0x20, uint16(0)}, {0x1b, 0},
			{0x08, uint16(0xffff)}},
			"Micron", "1", "P"),
		smbiosStructure(17, 0x1104, 0x15, []field{{4, uint16(0x1001)}, {0x0c, uint16(16)}, {0x10, 1}, {0x12,
			9}}, "BIOS ROM"),
		smbiosStructure(38, 0x2600, 0x12, []field{{4, 1}, {5, 0x20}}),
		serverSlot(0x900, "PCIe Slot 1", 0x00, 0x3b, 0), serverSlot(0x901, "Integrated RAID", 0, 0x17, 0),
		serverSlot(0x902, "PCIe Slot 4", 0, 0xff, 0xff), serverSlot(0x903, "Filler", 0, 0, 0),
		serverSlot(0x904, "PCIe Slot 5", 0, 0xaf, 0), serverSlot(0x905, "OCP", 0, 0xd7, 0),
		serverSlot(0x906, "Mezzanine", 0, 0xd7, 0),
		smbiosStructure(39, 0x2700, 0x16, []field{{5, 1}, {7, 2}, {8, 3}, {0x0a, 4}, {0x0b, 5}, {0x0c, uint16(1100)},
			{0x0e, uint16(3<<7 | 2)}}, "PSU1", "DELL", "CNLOD0087H", "0GDPF3A00", "A00"),
		smbiosStructure(39, 0x2701, 0x16, []field{{5, 1}, {0x0c, uint16(0x8000)}}, "PSU2"),
		endOfTable(), []byte("padding that is no structure"))
}

func serverSlot(handle uint16, name string, segment uint16, bus, devfn byte) []byte {
	return smbiosStructure(9, handle, 0x11, []field{{4, 1}, {5, 0xa5}, {7, 4}, {0x0d, segment}, {0x0f, int(bus)},
		{0x10, int(devfn)}}, name)
}

func plantServer(t testing.TB) string {
	root := plant(t, "testdata/sas-server.tree")
	write(t, root, "sys/firmware/dmi/tables/DMI", serverTables())
	write(t, root, "sys/firmware/dmi/tables/smbios_entry_point", entryPoint3(3, 2))
	return root
}

func TestDIMMSlotsAreListedWithWhatTheFirmwareDoesNotSay(t *testing.T) {
	sm := parseSMBIOS(entryPoint3(3, 2), serverTables())
	require.NoError(t, sm.err)
	m := (&tree{files: onDisk{thisMachine{}}}).memory(sm, nil)
	require.Len(t, m.DIMMs, 4, "the flash device is not a DIMM")

	a1 := m.DIMMs[0]
	require.Equal(t, DIMM{Slot: "A1", Bytes: 32 << 30, Type: "DDR4", FormFactor: "DIMM", RatedMTs: 2933,
		ConfiguredMTs: 2666,
		Manufacturer:  "00CE00B300CE", PartNumber: "M393A4K40CB2-CVF", Serial: "403B12AA", Rank: 2, ECC: a1.ECC}, a1)
	require.True(t, *a1.ECC)

	require.Equal(t, int64(16<<30), m.DIMMs[1].Bytes)
	require.Equal(t, []Unknown{{"serial", `the firmware says "Unknown"`}, {"part_number",
		`the firmware says "NO DIMM"`}},
		m.DIMMs[1].Unknown)

	require.Equal(t, DIMM{Slot: "A3", Empty: true}, m.DIMMs[2], "an empty slot has nothing but its name")

	a10 := m.DIMMs[3]
	require.Equal(t, int64(512<<10), a10.Bytes, "bit 15 means KiB")
	require.Zero(t, a10.Rank)
	require.Nil(t, a10.ECC)
	var fields []string
	for _, u := range a10.Unknown {
		fields = append(fields, u.Path)
	}
	require.Equal(t, []string{"rated_mts", "configured_mts", "rank", "ecc"}, fields)
	require.Equal(t, int64(48<<30+512<<10), m.InstalledBytes)
	require.Equal(t, "Multi-bit ECC", m.ErrorCorrection)
}

func TestDIMMOfUnknownSizeMakesTheSumUnknown(t *testing.T) {
	for name, fields := range map[string][]field{
		"unknown":            {{0x0c, uint16(0xffff)}},
		"extended size of 0": {{0x0c, uint16(0x7fff)}, {0x1c, uint32(0)}},
	} {
		t.Run(name, func(t *testing.T) {
			data := joinBytes(serverDIMM(1, "A1", 1024, nil, "M", "S", "P"), serverDIMM(2, "A2", 0, fields,
				"M", "S", "P"), endOfTable())
			m := (&tree{files: onDisk{thisMachine{}}}).memory(parseSMBIOS(entryPoint3(3, 2), data), nil)
			require.False(t, m.DIMMs[1].Empty)
			require.Contains(t, paths(m.DIMMs[1].Unknown), "bytes")
			require.Zero(t, m.InstalledBytes)
			require.Contains(t, paths(m.Unknown), "installed_bytes")
		})
	}
}

func paths(list []Unknown) []string {
	var p []string
	for _, u := range list {
		p = append(p, u.Path)
	}
	return p
}

func TestBrokenTablesKeepWhatIsBeforeTheBreak(t *testing.T) {
	good := serverTables()
	system := good[:len(smbiosStructure(0, 0, 0x18, nil, "Dell Inc.", "2.11.2", "04/21/2021"))]
	for name, data := range map[string][]byte{
		"structure shorter than its header": joinBytes(system, smbiosStructure(1, 1, 0x1b, []field{{7, 1}},
			"S1"), []byte{17, 2, 0, 0, 0, 0}),
		"structure of length zero": joinBytes(system, smbiosStructure(1, 1, 0x1b, []field{{7, 1}},
			"S1"), []byte{17, 0, 0, 0, 0, 0}),
		"cut in a structure": joinBytes(system, smbiosStructure(1, 1, 0x1b, []field{{7, 1}},
			"S1"), []byte{17, 0x54, 0, 0, 1, 2, 3}),
		"cut in a header": joinBytes(system, smbiosStructure(1, 1, 0x1b, []field{{7, 1}},
			"S1"), []byte{17}),
		"strings without end": joinBytes(system, smbiosStructure(1, 1, 0x1b, []field{{7, 1}},
			"S1"), []byte{17, 4, 0, 0, 'x', 'y'}),
	} {
		t.Run(name, func(t *testing.T) {
			root := plant(t, "testdata/virtio-vm.tree")
			write(t, root, "sys/firmware/dmi/tables/DMI", data)
			f, err := Detect(context.Background(), WithRoot(root))
			require.NoError(t, err)
			require.Equal(t, "S1", f.System.Serial)
			require.Equal(t, "Dell Inc.", f.BIOS.Vendor)
			require.Contains(t, paths(f.Memory.Unknown), "dimms", "a list that was cut off is not a short list")
			require.Contains(t, paths(f.Unknown), "cpus")
			require.Contains(t, paths(f.Unknown), "chassis")
			require.Nil(t, f.BMC.Present, "not seeing one in broken tables says nothing")
			require.Len(t, f.Disks, 2, "the rest is detected all the same")
		})
	}
}

func TestStringNumberThatIsNotThereCostsThatFieldOnly(t *testing.T) {
	root := plant(t, "testdata/virtio-vm.tree")
	write(t, root, "sys/firmware/dmi/tables/DMI",
		joinBytes(smbiosStructure(1, 1, 0x1b, []field{{4, 1}, {5, 9}, {7, 2}}, "Maker", "S\xe9rie-1"), endOfTable()))
	f, err := Detect(context.Background(), WithRoot(root))
	require.NoError(t, err)
	require.Equal(t, "Maker", f.System.Vendor)
	require.Equal(t, "Série-1", f.System.Serial, "bytes that are not UTF-8 are Latin-1, nothing is lost")
	require.Equal(t, []Unknown{{"product", "SMBIOS type 1 names string 9, which the structure does not have"}},
		f.System.Unknown)
}

func TestUUIDByteOrderFollowsTheVersion(t *testing.T) {
	raw := []byte{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	table := joinBytes(smbiosStructure(1, 1, 0x1b, []field{{8, raw}}), endOfTable())
	for entry, want := range map[string]string{
		string(entryPoint3(3, 0)): "33221100-5544-7766-8899-aabbccddeeff",
		string(entryPoint3(2, 5)): "00112233-4455-6677-8899-aabbccddeeff",
		"rubbish":                 "33221100-5544-7766-8899-aabbccddeeff",
		// A wrong checksum does not hide the version.
		"_SM3_\x00\x18\x02\x05": "00112233-4455-6677-8899-aabbccddeeff",
	} {
		f := &Facts{}
		parseSMBIOS([]byte(entry), table).identity(f)
		require.Equal(t, want, f.System.UUID)
	}
	for _, none := range [][]byte{make([]byte, 16), []byte(strings.Repeat("\xff", 16))} {
		f := &Facts{}
		parseSMBIOS(entryPoint3(3, 0), joinBytes(smbiosStructure(1, 1, 0x1b, []field{{8, none}}),
			endOfTable())).identity(f)
		require.Empty(t, f.System.UUID)
	}
}

func TestMainBoardIsNotTheRiser(t *testing.T) {
	f := &Facts{}
	parseSMBIOS(entryPoint3(3, 2), serverTables()).identity(f)
	require.Equal(t, "06WXJT", f.Board.Product)
	require.Equal(t, "ABC1234", f.System.Serial)
	require.Equal(t, "44454c4c-1000-8020-30b3-c04f33323333", f.System.UUID)
	require.Equal(t, "Rack Mount Chassis", f.Chassis.Type, "the lock bit is not part of the type")
	require.Equal(t, "CHASSIS-SKU", f.Chassis.SKU)
	require.Equal(t, "RACK-17", f.System.AssetTag)
	require.Equal(t, "2.11", f.BIOS.Revision)
	require.Equal(t, "3.2", f.BIOS.SMBIOS)
}

func FuzzSMBIOS(f *testing.F) {
	f.Add(entryPoint3(3, 2), serverTables())
	f.Add([]byte("_SM_"), []byte{17, 0, 0, 0, 0, 0})
	f.Add([]byte{}, []byte{127, 4, 0, 0, 0, 0})
	for _, name := range []string{"virtio-vm", "uefi-box"} {
		root := plant(f, "testdata/"+name+".tree")
		entry, err := os.ReadFile(root + "/sys/firmware/dmi/tables/smbios_entry_point")
		require.NoError(f, err)
		data, err := os.ReadFile(root + "/sys/firmware/dmi/tables/DMI")
		require.NoError(f, err)
		f.Add(entry, data)
	}
	base, err := os.ReadFile("testdata/virtio-vm.tree")
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, entry, data []byte) {
		machine := func() *captured {
			c, err := parseCapture(base)
			require.NoError(t, err)
			for name, content := range map[string][]byte{"DMI": data, "smbios_entry_point": entry} {
				n, err := c.find(dmiDir+name, true)
				require.NoError(t, err)
				n.content = content
			}
			return c
		}
		detect := func(c *captured) *Facts {
			facts, err := (&tree{files: c}).facts(context.Background(), options{logger: discardLogger})
			require.NoError(t, err)
			return facts
		}
		facts := detect(machine())
		for _, d := range facts.Memory.DIMMs {
			if !d.Empty && d.Bytes <= 0 && len(d.Unknown) == 0 {
				t.Errorf("DIMM without size and without reason: %+v", d)
			}
		}
		require.GreaterOrEqual(t, facts.Memory.InstalledBytes, int64(0))
		for _, p := range facts.PSUs {
			if !p.Empty && p.Status == "" && len(p.Unknown) == 0 {
				t.Errorf("power supply without status and without reason: %+v", p)
			}
		}
		// What came out must survive its own encoding.
		encoded, err := json.Marshal(facts)
		require.NoError(t, err)
		again, err := Decode(encoded)
		require.NoError(t, err)
		encodedAgain, err := json.Marshal(again)
		require.NoError(t, err)
		require.Equal(t, string(encoded), string(encodedAgain))

		// Anonymised tables have the same structures.
		a, err := newAnonymiser()
		require.NoError(t, err)
		hidden, err := a.capture(machine(), facts)
		require.NoError(t, err)
		after := detect(hidden)
		require.Len(t, after.Memory.DIMMs, len(facts.Memory.DIMMs))
		require.Len(t, after.PSUs, len(facts.PSUs))
		require.Len(t, after.CPUs, len(facts.CPUs))
		require.Equal(t, facts.Memory.InstalledBytes, after.Memory.InstalledBytes)
	})
}

// modern is a type 17 structure as long as that of SMBIOS 3.7.
func modern(handle uint16, fields []field, strs ...string) []byte {
	return smbiosStructure(17, handle, 0x64, fields, strs...)
}

func factsOfTables(t testing.TB, entry []byte, structures ...[]byte) *Facts {
	t.Helper()
	c, err := readCapture("testdata/virtio-vm.tree")
	require.NoError(t, err)
	for name, content := range map[string][]byte{"DMI": joinBytes(structures...), "smbios_entry_point": entry} {
		n, err := c.find(dmiDir+name, true)
		require.NoError(t, err)
		n.content = content
	}
	f, err := (&tree{files: c}).facts(context.Background(), options{logger: discardLogger})
	require.NoError(t, err)
	return f
}

func TestDIMMsOfEverySizeAndSpeed(t *testing.T) {
	common := []field{{0x04, uint16(0xfffe)}, {0x10, 1}, {0x12, 0x22}, {0x0e, 9}}
	for name, c := range map[string]struct {
		fields              []field
		bytes               int64
		rated, configured   int
		kind                string
		empty, sizeIsntTold bool
	}{
		"128 GiB DDR5 at 5600": {[]field{{0x0c, uint16(0x7fff)}, {0x1c, uint32(131072)}, {0x15, uint16(5600)},
			{0x20, uint16(4800)}}, 128 << 30, 5600, 4800, "DDR5", false, false},
		"extended size with its reserved bit": {[]field{{0x0c, uint16(0x7fff)}, {0x1c, uint32(1<<31 | 32768)}},
			32 << 30, 0, 0, "DDR5", false, false},
		"extended speed": {[]field{{0x0c, uint16(1024)}, {0x15, uint16(0xffff)}, {0x54, uint32(70000)},
			{0x20, uint16(0xffff)}, {0x58, uint32(1<<31 | 66000)}}, 1 << 30, 70000, 66000, "DDR5", false, false},
		"31.99 GiB":         {[]field{{0x0c, uint16(0x7ffe)}}, 0x7ffe << 20, 0, 0, "DDR5", false, false},
		"size in KiB":       {[]field{{0x0c, uint16(0x8000 | 2048)}}, 2 << 20, 0, 0, "DDR5", false, false},
		"empty":             {[]field{{0x0c, uint16(0)}}, 0, 0, 0, "", true, false},
		"size unknown":      {[]field{{0x0c, uint16(0xffff)}}, 0, 0, 0, "DDR5", false, true},
		"HBM3":              {[]field{{0x0c, uint16(1024)}, {0x12, 0x24}}, 1 << 30, 0, 0, "HBM3", false, false},
		"type nobody knows": {[]field{{0x0c, uint16(1024)}, {0x12, 0x7f}}, 1 << 30, 0, 0, "0x7f", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			f := factsOfTables(t, entryPoint3(3, 7), modern(1, append(append([]field{}, common...), c.fields...), "DIMM"),
				endOfTable())
			require.Len(t, f.Memory.DIMMs, 1)
			d := f.Memory.DIMMs[0]
			require.Equal(t, "DIMM", d.Slot)
			require.Equal(t, c.bytes, d.Bytes)
			require.Equal(t, c.bytes, f.Memory.InstalledBytes)
			require.Equal(t, c.rated, d.RatedMTs)
			require.Equal(t, c.configured, d.ConfiguredMTs)
			require.Equal(t, c.kind, d.Type)
			require.Equal(t, c.empty, d.Empty)
			require.Equal(t, c.sizeIsntTold, d.Bytes == 0 && !d.Empty)
			if c.sizeIsntTold {
				require.Contains(t, paths(d.Unknown), "bytes")
			}
			if !c.empty && c.rated == 0 {
				require.Contains(t, paths(d.Unknown), "rated_mts")
			}
		})
	}
}

func TestSlotsThatAreAllCalledDIMMAreAllListed(t *testing.T) {
	var all [][]byte
	for i := range 32 {
		all = append(all, modern(uint16(i), []field{{0x04, uint16(1)}, {0x0c, uint16(16384)}, {0x10, 1}, {0x18, 2}},
			"DIMM", "S"+string(rune('A'+i))))
	}
	f := factsOfTables(t, entryPoint3(3, 3), append(all, endOfTable())...)
	require.Len(t, f.Memory.DIMMs, 32)
	require.Equal(t, int64(512<<30), f.Memory.InstalledBytes)
}

func TestMemoryArrayOfUnknownUseIsMemory(t *testing.T) {
	f := factsOfTables(t, entryPoint3(2, 7), smbiosStructure(16, 5, 0x0f, []field{{5, 2}, {6, 5}}),
		serverDIMM(6, "A1", 4096, []field{{4, uint16(5)}}, "M", "S1", "P"), endOfTable())
	require.Len(t, f.Memory.DIMMs, 1)
	require.Equal(t, "Single-bit ECC", f.Memory.ErrorCorrection)
}

func TestMemoryOfOldTablesIsReadAsFarAsItGoes(t *testing.T) {
	// SMBIOS 2.1 ends a memory device at 15h.
	f := factsOfTables(t, entryPoint3(2, 1), smbiosStructure(17, 6, 0x15, []field{{0x0c, uint16(512)}, {0x10, 1},
		{0x12, 0x0f}, {0x0e, 9}}, "DIMM_A"), endOfTable())
	d := f.Memory.DIMMs[0]
	require.Equal(t, int64(512<<20), d.Bytes)
	require.Equal(t, "SDRAM", d.Type)
	require.Subset(t, paths(d.Unknown), []string{"rated_mts", "configured_mts", "rank"})
}

func TestSumOfNonsenseSizesIsUnknown(t *testing.T) {
	var all [][]byte
	for i := range 5000 {
		all = append(all, modern(uint16(i), []field{{0x0c, uint16(0x7fff)}, {0x1c, uint32(0x7fffffff)}}))
	}
	f := factsOfTables(t, entryPoint3(3, 3), append(all, endOfTable())...)
	require.Zero(t, f.Memory.InstalledBytes)
	require.Contains(t, paths(f.Memory.Unknown), "installed_bytes")
}

func TestBladeIsInTheChassisThatItsBoardNames(t *testing.T) {
	f := factsOfTables(t, entryPoint3(3, 0),
		smbiosStructure(3, 0x30, 0x15, []field{{4, 1}, {5, 0x1d}, {7, 2}}, "Maker", "ENCLOSURE-1"),
		smbiosStructure(3, 0x31, 0x15, []field{{4, 1}, {5, 0x1c}, {7, 2}, {8, 3}}, "Maker", "BLADE-7", "TAG-7"),
		smbiosStructure(2, 0x20, 0x0f, []field{{4, 1}, {7, 2}, {9, 1}, {0x0b, uint16(0x30)}, {0x0d, 0x07}},
			"Maker", "MIDPLANE"),
		smbiosStructure(2, 0x21, 0x0f, []field{{4, 1}, {7, 2}, {9, 9}, {0x0b, uint16(0x31)}, {0x0d, 0x0a}},
			"Maker", "BOARD-7"),
		endOfTable())
	require.Equal(t, "BLADE-7", f.Chassis.Serial)
	require.Equal(t, "Blade", f.Chassis.Type)
	require.Equal(t, "TAG-7", f.System.AssetTag)
	require.Equal(t, "BOARD-7", f.Board.Serial)
}

func TestStructuresBehindTheEndCountForA32BitEntryPoint(t *testing.T) {
	entry := make([]byte, 0x1f)
	copy(entry, "_SM_")
	copy(entry[0x10:], "_DMI_")
	entry[5], entry[6], entry[7] = 0x1f, 2, 8
	binary.LittleEndian.PutUint16(entry[0x16:], 10) // a length that is too short
	binary.LittleEndian.PutUint16(entry[0x1c:], 3)
	for _, sum := range []struct{ from, at int }{{0x10, 0x15}, {0, 4}} {
		var s byte
		for _, b := range entry[sum.from:] {
			s += b
		}
		entry[sum.at] = -s
	}
	tables := [][]byte{smbiosStructure(1, 1, 0x1b, []field{{7, 1}}, "S1"), endOfTable(),
		smbiosStructure(38, 3, 0x10, []field{{4, 1}, {5, 0x20}}), []byte("\x26rubbish")}
	require.Equal(t, "KCS", factsOfTables(t, entry, tables...).BMC.Interface)
	f := factsOfTables(t, entryPoint3(3, 0), tables...)
	require.Empty(t, f.BMC.Interface, "a 64-bit entry point counts nothing")
	require.Equal(t, "S1", f.System.Serial)
}

func TestFileOfDmidecodeIsTheTablesOfAMachine(t *testing.T) {
	entry := entryPoint3(3, 2)
	binary.LittleEndian.PutUint64(entry[0x10:], 32)
	entry[5] -= 32
	file := filepath.Join(t.TempDir(), "server.bin")
	require.NoError(t, os.WriteFile(file, joinBytes(entry, make([]byte, 8), serverTables()), 0o600))
	f, err := Detect(context.Background(), WithRoot(file))
	require.NoError(t, err)
	require.Equal(t, "PowerEdge R740", f.System.Product)
	require.Equal(t, "3.2", f.BIOS.SMBIOS)
	require.Len(t, f.Memory.DIMMs, 4)
	require.Len(t, f.PSUs, 2)
	require.Equal(t, "CPU2", f.CPUs[1].Socket, "the firmware tells of sockets without the kernel")
	require.Contains(t, paths(f.Unknown), "disks")

	require.NoError(t, os.WriteFile(file, []byte("_SM3_ and no more"), 0o600))
	_, err = Detect(context.Background(), WithRoot(file))
	require.ErrorContains(t, err, "dmidecode")
}

func TestLastStructureWithoutTheEndOfItsStringsKeepsItsFields(t *testing.T) {
	whole := smbiosStructure(1, 1, 0x1b, []field{{4, 1}, {7, 2}}, "Maker", "S1")
	f := factsOfTables(t, entryPoint3(3, 0), whole[:len(whole)-2])
	require.Equal(t, "S1", f.System.Serial)
	require.Contains(t, paths(f.Memory.Unknown), "dimms", "what would have come behind it is not known")
}

func TestCPUsOfManySockets(t *testing.T) {
	cpuinfo := ""
	var tables [][]byte
	for i := range 8 {
		for thread := range 2 {
			cpuinfo += "processor\t: " + strconv.Itoa(2*i+thread) + "\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\n" +
				"physical id\t: " + strconv.Itoa(i) + "\ncore id\t: 0\n\n"
		}
		tables = append(tables, smbiosStructure(4, uint16(i), 0x30, []field{{4, 1}, {5, 3}, {6, 0xfe}, {0x18, 0x41}},
			"CPU "+strconv.Itoa(i+1)))
	}
	// A socket that failed its self-test, an empty one, and a maths coprocessor.
	tables = append(tables,
		smbiosStructure(4, 90, 0x30, []field{{4, 1}, {5, 3}, {0x10, 2}, {0x18, 0x43}}, "CPU 9", "Xeon"),
		smbiosStructure(4, 91, 0x30, []field{{4, 1}, {5, 3}, {0x18, 0}}, "CPU 10"),
		smbiosStructure(4, 92, 0x30, []field{{4, 1}, {5, 4}, {0x18, 0x41}}, "FPU"), endOfTable())
	root := plant(t, "testdata/virtio-vm.tree")
	write(t, root, "proc/cpuinfo", []byte(cpuinfo))
	write(t, root, "sys/firmware/dmi/tables/DMI", joinBytes(tables...))
	f := detectIn(t, root)
	require.Len(t, f.CPUs, 10)
	for i := range 8 {
		require.Equal(t, "CPU "+strconv.Itoa(i+1), f.CPUs[i].Socket)
		require.Equal(t, 2, f.CPUs[i].Threads)
	}
	require.Equal(t, "CPU 9", f.CPUs[8].Socket)
	require.Equal(t, "Xeon", f.CPUs[8].Model)
	require.False(t, f.CPUs[8].Empty)
	require.Contains(t, f.CPUs[8].Unknown,
		Unknown{"cores", "disabled by the firmware, which found an error in its self-test"})
	require.Equal(t, CPU{Socket: "CPU 10", Empty: true}, f.CPUs[9])
}

func TestCoreCountsOfMoreThanAByte(t *testing.T) {
	for name, c := range map[string]struct {
		fields []field
		cores  int
	}{
		"in a byte":         {[]field{{0x24, 64}, {0x2c, uint16(64)}}, 64},
		"in a word":         {[]field{{0x24, 0xff}, {0x2c, uint16(288)}}, 288},
		"in the word alone": {[]field{{0x2c, uint16(288)}}, 288},
		"not told":          {[]field{{0x24, 0xff}, {0x2c, uint16(0xffff)}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			root := plant(t, "testdata/virtio-vm.tree")
			require.NoError(t, os.Remove(filepath.Join(root, "proc/cpuinfo")))
			write(t, root, "sys/firmware/dmi/tables/DMI", joinBytes(smbiosStructure(4, 1, 0x32, append(c.fields,
				field{5, 3}, field{0x18, 0x41})), endOfTable()))
			cpu := detectIn(t, root).CPUs[0]
			require.Equal(t, c.cores, cpu.Cores)
			require.Equal(t, c.cores == 0, slices.Contains(paths(cpu.Unknown), "cores"))
		})
	}
}

func TestPowerSupplies(t *testing.T) {
	psu := func(fields ...field) []byte {
		return smbiosStructure(39, 1, 0x16, append([]field{{5, 1}, {7, 2}, {8, 3}, {0x0a, 4}, {0x0b, 5}}, fields...),
			"PSU1", "DELL", "CNLOD0087H", "0GDPF3A00", "A00")
	}
	good := PSU{Slot: "PSU1", Manufacturer: "DELL", Model: "0GDPF3A00", Serial: "CNLOD0087H", Revision: "A00",
		MaxWatts: 1100, Status: "OK", Plugged: ptr(true)}
	with := func(change func(p *PSU)) PSU { p := good; change(&p); return p }
	for name, c := range map[string]struct {
		table   []byte
		want    PSU
		unknown []string
	}{
		"present": {psu(field{0x0c, uint16(1100)}, field{0x0e, uint16(3<<7 | 2)}), good, nil},
		"without mains": {psu(field{0x0c, uint16(1100)}, field{0x0e, uint16(5<<7 | 6)}),
			with(func(p *PSU) { p.Status, p.Plugged = "Critical", ptr(false) }), nil},
		"without rating": {psu(field{0x0c, uint16(0x8000)}, field{0x0e, uint16(2<<7 | 2)}),
			with(func(p *PSU) { p.MaxWatts, p.Status = 0, "" }), []string{"max_watts", "status"}},
		"called absent, with a serial number": {psu(field{0x0c, uint16(1100)}, field{0x0e, uint16(3 << 7)}),
			with(func(p *PSU) { p.Status, p.Plugged = "", nil }), []string{"status", "plugged"}},
		"empty bay": {smbiosStructure(39, 1, 0x16, []field{{5, 1}, {8, 2}, {0x0a, 2}}, "PSU2", "To Be Filled By O.E.M."),
			PSU{Slot: "PSU2", Empty: true}, nil},
		"too short": {smbiosStructure(39, 1, 0x0c, []field{{5, 1}, {8, 2}}, "PSU2", "S9"),
			PSU{Slot: "PSU2", Serial: "S9"}, []string{"max_watts", "status", "plugged"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := factsOfTables(t, entryPoint3(3, 2), c.table, endOfTable())
			require.Len(t, f.PSUs, 1)
			require.Equal(t, c.unknown, paths(f.PSUs[0].Unknown))
			f.PSUs[0].Unknown = nil
			require.Equal(t, c.want, f.PSUs[0])
			require.NotContains(t, paths(f.Unknown), "psus")
		})
	}
	f := factsOfTables(t, entryPoint3(3, 2), smbiosStructure(1, 1, 0x1b, nil), endOfTable())
	require.Equal(t, []PSU{}, f.PSUs)
	require.Contains(t, paths(f.Unknown), "psus")
}
