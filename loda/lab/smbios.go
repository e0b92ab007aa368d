package lab

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
)

// QEMU describes memory as one DIMM for each 16 GiB and gives all of them the same part and serial number. The rack
// therefore writes SMBIOS structures of its own (types 16 and 17, layout of SMBIOS 2.8, which QEMU 7.2 announces) and
// hands them over by -smbios file=; QEMU then leaves out its own of these types.

// Handles that QEMU's own tables (type 19) refer to.
const (
	memoryArrayHandle  = 0x1000
	memoryDeviceHandle = 0x1100
)

// smbiosStructure joins the formatted area and its strings, SMBIOS 3.7 section 6.1.3.
func smbiosStructure(formatted []byte, strings []string) []byte {
	formatted[1] = byte(len(formatted))
	for _, s := range strings {
		formatted = append(append(formatted, s...), 0)
	}
	if len(strings) == 0 {
		formatted = append(formatted, 0)
	}
	return append(formatted, 0)
}

// smbiosMemory is one type 16 structure and a type 17 structure for each slot.
func smbiosMemory(dimms []DIMM) [][]byte {
	var capacity uint64
	for _, d := range dimms {
		capacity += uint64(d.Size)
	}
	le := binary.LittleEndian
	array := make([]byte, 0x17)
	array[0] = 16
	le.PutUint16(array[2:], memoryArrayHandle)
	array[4] = 3                         // location: system board
	array[5] = 3                         // use: system memory
	array[6] = 6                         // error correction: multi-bit ECC
	le.PutUint32(array[7:], 0x8000_0000) // capacity stands in the extended field
	le.PutUint16(array[0xb:], 0xfffe)    // no error information
	le.PutUint16(array[0xd:], uint16(len(dimms)))
	le.PutUint64(array[0xf:], capacity)
	tables := [][]byte{smbiosStructure(array, nil)}

	for i, d := range dimms {
		var texts []string
		text := func(s string) byte {
			if s == "" {
				return 0
			}
			texts = append(texts, s)
			return byte(len(texts))
		}
		t := make([]byte, 0x28)
		t[0] = 17
		le.PutUint16(t[2:], memoryDeviceHandle+uint16(i))
		le.PutUint16(t[4:], memoryArrayHandle)
		le.PutUint16(t[6:], 0xfffe)
		t[0xe] = 9 // form factor: DIMM
		t[0x10] = text(d.Slot)
		t[0x11] = text(d.Bank)
		if d.Size == 0 {
			le.PutUint16(t[8:], 0xffff)   // total width: unknown
			le.PutUint16(t[0xa:], 0xffff) // data width: unknown
			t[0x12] = 2                   // type: unknown
			le.PutUint16(t[0x13:], 1<<2)  // detail: unknown
			tables = append(tables, smbiosStructure(t, texts))
			continue
		}
		le.PutUint16(t[8:], 72) // ECC
		le.PutUint16(t[0xa:], 64)
		if mib := uint64(d.Size / MiB); mib < 0x7fff {
			le.PutUint16(t[0xc:], uint16(mib))
		} else {
			le.PutUint16(t[0xc:], 0x7fff) // the size stands in the extended field
			le.PutUint32(t[0x1c:], uint32(mib))
		}
		t[0x12] = 0x1a                     // DDR4
		le.PutUint16(t[0x13:], 1<<7|1<<13) // synchronous, registered
		le.PutUint16(t[0x15:], uint16(d.Speed))
		t[0x17] = text(d.Manufacturer)
		t[0x18] = text(d.Serial)
		t[0x1a] = text(d.Part)
		t[0x1b] = byte(d.Rank)
		le.PutUint16(t[0x20:], uint16(d.ConfiguredSpeed))
		for _, at := range []int{0x22, 0x24, 0x26} {
			le.PutUint16(t[at:], 1200) // millivolts
		}
		tables = append(tables, smbiosStructure(t, texts))
	}
	return tables
}

// writeSMBIOS puts each structure into a file of its own, as QEMU wants them, and returns the paths.
func writeSMBIOS(dir string, tables [][]byte) ([]string, error) {
	var paths []string
	for i, table := range tables {
		path := filepath.Join(dir, fmt.Sprintf("smbios%d.bin", i))
		if err := os.WriteFile(path, table, 0o644); err != nil {
			return nil, fmt.Errorf("write SMBIOS table: %w", err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}
