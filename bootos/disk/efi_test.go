package disk

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/image/fat"
	"github.com/project-loda/loda/loda/image/gpt"
	"github.com/project-loda/loda/scripts/need"
)

// debianEntry is laid out byte by byte after UEFI 2.10 sections 3.1.3, 10.3.5.1 and 10.3.5.4: "debian" on partition 1
// (sectors 0x800 to 0x1007ff, 4d5b4a2e-...-2c), \EFI\debian\shimx64.efi, as efibootmgr 17 writes it.
var debianEntry = strings.ReplaceAll("01000000 6200"+
	"640065006200690061006e000000"+
	"04012a00 01000000 0008000000000000 0000100000000000 2e4a5b4d11aa334f8c1d00112233442c 0202"+
	"04043400 5c004500460049005c00640065006200690061006e005c007300680069006d007800360034002e006500660069000000"+
	"7fff0400", " ", "")

func TestBootEntriesHaveTheBytesOfTheSpecification(t *testing.T) {
	id, err := gpt.ParseGUID("4d5b4a2e-aa11-4f33-8c1d-00112233442c")
	require.NoError(t, err)
	l := loadOption{Attributes: 1, Description: "debian",
		Path: encodeDevicePath(hardDrive{Number: 1, Start: 0x800, Size: 0x100000, ID: id}, `\EFI\debian\shimx64.efi`)}
	require.Equal(t, debianEntry, hex.EncodeToString(l.encode()))
	raw, err := hex.DecodeString(debianEntry + "0102")
	require.NoError(t, err)
	got, err := parseLoadOption(raw)
	require.NoError(t, err)
	require.Equal(t, "debian", got.Description)
	require.Equal(t, []byte{1, 2}, got.Optional)
	require.Equal(t, raw, got.encode())
	for n := range len(raw) - 2 {
		_, err := parseLoadOption(raw[:n])
		require.Error(t, err, n)
	}
}

// espDisk is a disk with an EFI system partition that has these files.
func espDisk(t *testing.T, files ...string) (string, gpt.Partition) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(32<<20))
	table, err := gpt.New(512, 32<<20/512, gpt.NewGUID())
	require.NoError(t, err)
	_, err = table.Add(gpt.Partition{Type: gpt.TypeBIOSBoot, ID: gpt.NewGUID(), First: 64, Last: 2047})
	require.NoError(t, err)
	p, err := table.Add(gpt.Partition{Type: gpt.TypeESP, ID: gpt.NewGUID(), First: 2048, Last: 2048 + 16<<20/512 - 1})
	require.NoError(t, err)
	content := map[string][]byte{"EFI/empty/x": nil}
	for _, name := range files {
		content[name] = []byte("x")
	}
	image, err := fat.FS{Label: "EFI", Bytes: 16 << 20, SectorSize: 512}.Image(content)
	require.NoError(t, err)
	_, err = f.WriteAt(image, 2048*512)
	require.NoError(t, err)
	require.NoError(t, table.WriteBackup(f))
	require.NoError(t, table.WritePrimary(f))
	return path, p
}

// nvram is a directory with variables as a firmware may have them.
func nvram(t *testing.T, entries map[uint16]string, order ...byte) efiVars {
	t.Helper()
	v := efiVars(t.TempDir())
	require.NoError(t, os.WriteFile(filepath.Join(string(v), "SecureBoot"+globalVariable), []byte{6, 0, 0, 0, 0}, 0o600))
	for n, label := range entries {
		data := loadOption{Attributes: 1, Description: label, Path: []byte{0x7f, 0xff, 4, 0}}.encode()
		if label == "" {
			data = []byte{1, 2, 3} // a firmware's own idea of an entry
		}
		require.NoError(t, os.WriteFile(v.path(bootName(n)), append([]byte{7, 0, 0, 0}, data...), 0o600))
	}
	if order != nil {
		require.NoError(t, os.WriteFile(v.path("BootOrder"), append([]byte{7, 0, 0, 0}, order...), 0o600))
	}
	return v
}

func TestTheNewEntryIsFirstAndOlderOnesOfOursAreGone(t *testing.T) {
	disk, esp := espDisk(t, "EFI/BOOT/BOOTX64.EFI", "EFI/debian/grubx64.efi")
	v := nvram(t, map[uint16]string{0: "UiApp", 1: "UEFI PXEv4", 2: "Loda", 3: "", 0xA: "Loda"}, 1, 0, 2, 0, 0xA, 0, 0, 0, 1, 0, 9, 0)
	o := BootOptions{Device: disk, Label: "Loda", Vars: string(v)}
	for range 2 { // the second time changes nothing
		e, err := SetBootEntry(o)
		require.NoError(t, err)
		require.EqualValues(t, 2, e.Number)
		require.Equal(t, `\EFI\debian\grubx64.efi`, e.Loader)
		require.Equal(t, []uint16{2, 1, 0, 9}, e.Order)
		names, err := v.list()
		require.NoError(t, err)
		require.ElementsMatch(t, []uint16{0, 1, 2, 3}, names)
		order, err := v.read("BootOrder")
		require.NoError(t, err)
		require.Equal(t, []byte{2, 0, 1, 0, 0, 0, 9, 0}, order)
		data, err := v.read("Boot0002")
		require.NoError(t, err)
		l, err := parseLoadOption(data)
		require.NoError(t, err)
		require.Equal(t, "Loda", l.Description)
		require.EqualValues(t, 1, l.Attributes)
		require.Equal(t, encodeDevicePath(hardDrive{Number: 2, Start: esp.First, Size: esp.Last - esp.First + 1, ID: esp.ID}, e.Loader), l.Path)
	}
}

func TestAFirmwareWithoutAnyEntryGetsTheFirst(t *testing.T) {
	disk, _ := espDisk(t, "EFI/BOOT/BOOTX64.EFI")
	v := nvram(t, nil)
	e, err := SetBootEntry(BootOptions{Device: disk, Label: "Loda", Vars: string(v)})
	require.NoError(t, err)
	require.Equal(t, BootEntry{Number: 0, Loader: `\EFI\BOOT\BOOTX64.EFI`, Order: []uint16{0}}, e)
}

func TestAShimIsPreferredAndDisksWithoutALoaderAreNamed(t *testing.T) {
	disk, _ := espDisk(t, "EFI/BOOT/BOOTX64.EFI", "EFI/debian/grubx64.efi", "EFI/debian/shimx64.efi")
	_, loader, err := findLoader(disk, 0)
	require.NoError(t, err)
	require.Equal(t, `\EFI\debian\shimx64.efi`, loader)

	v := nvram(t, map[uint16]string{0: "UiApp"}, 0, 0)
	disk, _ = espDisk(t)
	_, err = SetBootEntry(BootOptions{Device: disk, Label: "Loda", Vars: string(v)})
	require.ErrorContains(t, err, "no boot loader")
	names, err := v.list()
	require.NoError(t, err)
	require.Equal(t, []uint16{0}, names)

	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, os.WriteFile(plain, make([]byte, 1<<20), 0o600))
	_, err = SetBootEntry(BootOptions{Device: plain, Label: "Loda", Vars: string(v)})
	require.ErrorIs(t, err, ErrNoGPT)
	for _, dir := range []string{t.TempDir(), "/nonexistent"} {
		_, err = SetBootEntry(BootOptions{Device: disk, Label: "Loda", Vars: dir})
		require.ErrorIs(t, err, ErrNoEFI)
	}
}

func TestImmutableVariablesAreReplaced(t *testing.T) {
	need.Root(t)
	need.Command(t, "chattr")
	disk, _ := espDisk(t, "EFI/BOOT/BOOTX64.EFI")
	v := nvram(t, map[uint16]string{0: "Loda", 1: "Loda"}, 0, 0)
	paths := []string{v.path("Boot0000"), v.path("Boot0001"), v.path("BootOrder")}
	if out, err := exec.Command("chattr", append([]string{"+i"}, paths...)...).CombinedOutput(); err != nil {
		need.Missing(t, fmt.Sprintf("needs a file system with immutable files at %s (TMPDIR): %s", t.TempDir(), out))
	}
	t.Cleanup(func() { exec.Command("chattr", append([]string{"-f", "-i"}, paths...)...).Run() })
	require.True(t, errors.Is(os.Remove(paths[0]), os.ErrPermission))
	e, err := SetBootEntry(BootOptions{Device: disk, Label: "Loda", Vars: string(v)})
	require.NoError(t, err)
	require.Equal(t, []uint16{0}, e.Order)
	_, err = os.Stat(paths[1])
	require.ErrorIs(t, err, os.ErrNotExist)
}

func FuzzLoadOptionsAreReadAndWrittenBackEqually(f *testing.F) {
	raw, err := hex.DecodeString(debianEntry)
	require.NoError(f, err)
	f.Add(raw)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := parseLoadOption(data)
		if err != nil {
			return
		}
		again, err := parseLoadOption(l.encode())
		require.NoError(t, err)
		require.Equal(t, l.Description, again.Description)
		require.Equal(t, l.Path, again.Path)
		require.Equal(t, l.Optional, again.Optional)
	})
}
