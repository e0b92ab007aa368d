//go:build linux

package hw

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"os"
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
		endOfTable(), []byte("padding that is no structure"))
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
	t := &tree{files: onDisk{thisMachine{}}}
	f.Fuzz(func(tt *testing.T, entry, data []byte) {
		sm := parseSMBIOS(entry, data)
		facts := &Facts{Version: Version}
		sm.identity(facts)
		facts.CPUs, _ = t.cpus(sm)
		facts.Memory = t.memory(sm, nil)
		facts.BMC = t.bmc(sm)
		for _, d := range facts.Memory.DIMMs {
			if !d.Empty && d.Bytes <= 0 && len(d.Unknown) == 0 {
				tt.Errorf("DIMM without size and without reason: %+v", d)
			}
		}
		// What came out must survive its own encoding.
		encoded, err := json.Marshal(facts)
		require.NoError(tt, err)
		again, err := Decode(encoded)
		require.NoError(tt, err)
		encodedAgain, err := json.Marshal(again)
		require.NoError(tt, err)
		require.Equal(tt, string(encoded), string(encodedAgain))
	})
}
