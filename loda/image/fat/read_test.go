package fat_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/image/fat"
	"github.com/project-loda/loda/scripts/need"
)

func TestWhatWasWrittenIsReadBack(t *testing.T) {
	path := make16(t, fat.FS{Label: "X", Bytes: 16 << 20, SectorSize: 512}, files())
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	r, err := fat.NewReader(bytes.NewReader(content))
	require.NoError(t, err)
	for name, want := range files() {
		got, err := r.ReadFile(name, 1<<20)
		require.NoError(t, err, name)
		require.True(t, bytes.Equal(want, got), name)
	}
	entries, err := r.ReadDir("many")
	require.NoError(t, err)
	require.Len(t, entries, 60)
	_, err = r.ReadFile("efi/boot/bootia32.efi", 1)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = r.ReadFile("efi/boot/bootx64.efi", 1000)
	require.ErrorContains(t, err, "at most")
}

func TestFileSystemsOfMkfsAreRead(t *testing.T) {
	need.Command(t, "mkfs.vfat", "mcopy", "mmd")
	for _, bits := range []string{"12", "16", "32"} {
		for _, sector := range []string{"512", "4096"} {
			t.Run(bits+" bits, sectors of "+sector, func(t *testing.T) {
				dir := t.TempDir()
				img := filepath.Join(dir, "img")
				run := func(args ...string) {
					out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
					require.NoError(t, err, string(out))
				}
				size := map[string]string{"12": "14000", "16": "65536", "32": "400000"}[bits]
				run("mkfs.vfat", "-C", "-F", bits, "-S", sector, img, size)
				run("mmd", "-i", img, "::EFI", "::EFI/Some Vendor")
				want := bytes.Repeat([]byte("boot loader "), 20000)
				file := filepath.Join(dir, "f")
				require.NoError(t, os.WriteFile(file, want, 0o600))
				for i := range 40 {
					run("mcopy", "-i", img, file, fmt.Sprintf("::EFI/Some Vendor/a long name %d.efi", i))
				}
				f, err := os.Open(img)
				require.NoError(t, err)
				defer f.Close()
				r, err := fat.NewReader(f)
				require.NoError(t, err)
				got, err := r.ReadFile("efi/some vendor/A LONG NAME 39.EFI", 1<<20)
				require.NoError(t, err)
				require.True(t, bytes.Equal(want, got))
			})
		}
	}
}

func FuzzReaderSurvivesAnything(f *testing.F) {
	image, err := fat.FS{Label: "X", Bytes: 8 << 20, SectorSize: 512}.Image(map[string][]byte{"EFI/BOOT/BOOTX64.EFI": make([]byte, 3000)})
	require.NoError(f, err)
	f.Add(image[:1024], image[len(image)-8192:])
	f.Fuzz(func(t *testing.T, head, tail []byte) {
		data := append(append([]byte{}, head...), make([]byte, max(0, 60<<10-len(head)))...)
		r, err := fat.NewReader(bytes.NewReader(append(data, tail...)))
		if err != nil {
			return
		}
		r.ReadDir("")
		r.ReadFile("EFI/BOOT/BOOTX64.EFI", 1<<20)
	})
}
