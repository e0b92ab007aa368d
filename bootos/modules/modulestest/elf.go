// Package modulestest makes kernel modules that can be read but not loaded, for tests of what reads them.
package modulestest

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// ELF returns a module with these .modinfo fields, each `key=value`.
func ELF(fields ...string) []byte {
	const headerSize, sectionSize = 64, 64
	info := []byte(strings.Join(fields, "\x00") + "\x00")
	names := []byte("\x00.modinfo\x00.shstrtab\x00")
	infoAt, namesAt := uint64(headerSize), uint64(headerSize+len(info))
	sectionsAt := (namesAt + uint64(len(names)) + 7) &^ 7

	var b bytes.Buffer
	write := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) } // into memory: cannot fail
	write(elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Shoff: sectionsAt,
		Ehsize: headerSize, Shentsize: sectionSize, Shnum: 3, Shstrndx: 2,
	})
	b.Write(info)
	b.Write(names)
	b.Write(make([]byte, sectionsAt-namesAt-uint64(len(names))))
	write(elf.Section64{})
	write(elf.Section64{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: infoAt, Size: uint64(len(info)), Addralign: 1})
	write(elf.Section64{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: namesAt, Size: uint64(len(names)), Addralign: 1})
	return b.Bytes()
}

// Write puts a module for kernel 6.1.0-test at dir/path; its name is the file's, unless the fields say otherwise.
func Write(t testing.TB, dir, path string, fields ...string) string {
	t.Helper()
	named, versioned := false, false
	for _, f := range fields {
		named = named || strings.HasPrefix(f, "name=")
		versioned = versioned || strings.HasPrefix(f, "vermagic=")
	}
	if !named {
		fields = append(fields, "name="+strings.TrimSuffix(filepath.Base(path), ".ko"))
	}
	if !versioned {
		fields = append(fields, "vermagic=6.1.0-test SMP preempt mod_unload ")
	}
	file := filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, ELF(fields...), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
