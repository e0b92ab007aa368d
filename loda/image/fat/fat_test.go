package fat_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/image/fat"
	"github.com/project-loda/loda/scripts/need"
)

func files() map[string][]byte {
	m := map[string][]byte{
		"user-data":            []byte("#cloud-config\n"),
		"meta-data":            []byte("instance-id: x\n"),
		"network-config":       []byte("version: 2\n"),
		"vendor-data":          bytes.Repeat([]byte("0123456789abcdef"), 5000),
		"loda.json":            []byte("{}"),
		"empty":                nil,
		"EFI/BOOT/BOOTX64.EFI": bytes.Repeat([]byte("x"), 100_001),
		"EFI/BOOT/grub.cfg":    []byte("set a=b\n"),
		"EFI/debian/Größe.txt": []byte("ü"),
	}
	for i := range 60 {
		m[fmt.Sprintf("many/a file with a long name %02d.conf", i)] = []byte{byte(i)}
	}
	return m
}

func make16(t *testing.T, fs fat.FS, files map[string][]byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "fat.img")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(fs.Bytes))
	require.NoError(t, fs.Write(f, files))
	return path
}

func TestFsckAndMtoolsFindWhatWasWritten(t *testing.T) {
	need.Command(t, "fsck.vfat", "mcopy", "blkid")
	for _, fs := range []fat.FS{
		{Label: "CIDATA", Bytes: 8 << 20, SectorSize: 512, Serial: 0x12345678},
		{Label: "CIDATA", Bytes: 32 << 20, SectorSize: 512, Hidden: 2048},
		{Label: "CIDATA", Bytes: 32 << 20, SectorSize: 4096},
		{Label: "CIDATA", Bytes: 1 << 30, SectorSize: 512, Time: time.Date(2024, 2, 3, 4, 5, 6, 0, time.UTC)},
	} {
		t.Run(fmt.Sprintf("%d MiB, sectors of %d", fs.Bytes>>20, fs.SectorSize), func(t *testing.T) {
			path := make16(t, fs, files())
			out, err := exec.Command("fsck.vfat", "-n", "-v", path).CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "16 bit")
			require.NotContains(t, string(out), "orphan")
			out, err = exec.Command("blkid", "-p", "-o", "export", path).CombinedOutput()
			require.NoError(t, err, string(out))
			require.Contains(t, string(out), "LABEL=CIDATA\n")
			require.Contains(t, string(out), "TYPE=vfat\n")
			for name, want := range files() {
				cmd := exec.Command("mcopy", "-n", "-i", path, "::"+name, "-")
				cmd.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1", "LC_ALL=C.UTF-8")
				got, err := cmd.Output()
				require.NoError(t, err, name)
				require.True(t, bytes.Equal(want, got), name)
			}
		})
	}
}

func TestWhatFATCannotHoldIsRefused(t *testing.T) {
	ok := fat.FS{Label: "CIDATA", Bytes: 8 << 20, SectorSize: 512}
	for name, want := range map[string]string{
		"": "clean", "/abs": "clean", "../up": "clean", "a//b": "clean", "a:b": "forbids", "dot.": "dot", "a/b/": "clean",
		strings.Repeat("x", 256): "too long",
	} {
		_, err := ok.Image(map[string][]byte{name: nil})
		require.ErrorContains(t, err, want, name)
	}
	_, err := ok.Image(map[string][]byte{"a": nil, "A": nil})
	require.ErrorContains(t, err, "twice")
	_, err = ok.Image(map[string][]byte{"a": make([]byte, 9<<20)})
	require.ErrorContains(t, err, "do not fit")
	for _, bad := range []fat.FS{
		{Label: "cidata", Bytes: 8 << 20, SectorSize: 512}, {Bytes: 1 << 20, SectorSize: 512},
		{Bytes: 8 << 20, SectorSize: 4096}, {Bytes: 8 << 40, SectorSize: 512}, {Bytes: 8 << 20, SectorSize: 1024},
	} {
		_, err := bad.Image(nil)
		require.Error(t, err, bad)
	}
}
