package pxe

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// tree makes a directory with a secret beside it, and returns the directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	base := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(base, "secret.efi"), []byte("secret"), 0o644))
	dir := filepath.Join(base, "public")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	for name, content := range files {
		file := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o644))
	}
	return dir
}

func openDir(t *testing.T, dir string) *Files {
	t.Helper()
	f, err := OpenDir(dir)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func read(t *testing.T, f *Files, name string) string {
	t.Helper()
	file, info, err := f.Open(name)
	require.NoError(t, err)
	defer file.Close()
	b, err := io.ReadAll(file)
	require.NoError(t, err)
	require.EqualValues(t, len(b), info.Size())
	return string(b)
}

func TestNothingOutsideTheDirectoryCanBeOpened(t *testing.T) {
	dir := tree(t, map[string]string{"a": "A", "sub/b": "B", ".hidden": "h", "sub/.hidden/c": "h"})
	for link, target := range map[string]string{
		"inside": "sub/b", "outside": "../secret.efi", "absolute": filepath.Join(dir, "a"), "sub/up": "../a",
		"etc": "/etc", "loop": "loop",
	} {
		require.NoError(t, os.Symlink(target, filepath.Join(dir, link)))
	}
	require.NoError(t, syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644))
	f := openDir(t, dir)

	for name, want := range map[string]string{
		"a": "A", "/a": "A", "sub/b": "B", "//sub//b": "B", "inside": "B", "sub/up": "A",
	} {
		require.Equal(t, want, read(t, f, name), name)
	}
	for _, name := range []string{
		"", "/", ".", "..", "sub", "sub/", "a/", "a/b", "nothing", "../secret.efi", "/../secret.efi", "sub/../a",
		"sub/../../secret.efi", "./a", "outside", "absolute", "etc/passwd", "loop", "fifo", ".hidden", "sub/.hidden/c",
		`..\secret.efi`, "a\x00", "secret.efi", "/etc/passwd", dir + "/a", string(make([]byte, 5000)),
	} {
		_, _, err := f.Open(name)
		require.ErrorIs(t, err, fs.ErrNotExist, "%q", name)
	}
	_, _, err := (*Files)(nil).Open("a")
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestServerTroubleIsNotServedAsNotFound(t *testing.T) {
	f := openDir(t, tree(t, map[string]string{"a": "A"}))
	require.NoError(t, f.Close())
	_, _, err := f.Open("a")
	require.Error(t, err)
	require.NotErrorIs(t, err, fs.ErrNotExist)
}

func TestNBPsAreFoundInSeveralDirectoriesAndNothingElseIs(t *testing.T) {
	first := tree(t, map[string]string{"undionly.kpxe": "U", "initrd.img": "keys", "sub/x.efi": "x"})
	second := tree(t, map[string]string{"undionly.kpxe": "other", "ipxe.efi": "I", "vmlinuz": "k"})
	// As in Debian's package: a link that leads out of its own directory, to one that is served as well.
	require.NoError(t, os.Symlink(filepath.Join(second, "ipxe.efi"), filepath.Join(first, "ipxe.efi")))
	f, err := OpenNBPs(first, filepath.Join(first, "missing"), second)
	require.NoError(t, err)
	defer f.Close()
	require.Equal(t, "U", read(t, f, "undionly.kpxe"))
	require.Equal(t, "I", read(t, f, "/ipxe.efi"))
	for _, name := range []string{"initrd.img", "vmlinuz", "sub/x.efi", "autoexec.ipxe", "../secret.efi", "snponly.efi"} {
		_, _, err := f.Open(name)
		require.ErrorIs(t, err, fs.ErrNotExist, name)
	}
	_, err = OpenNBPs(filepath.Join(first, "missing"))
	require.ErrorContains(t, err, "install Debian's package ipxe")
}

func FuzzFilesOpen(f *testing.F) {
	base := f.TempDir()
	dir := filepath.Join(base, "public")
	require.NoError(f, os.MkdirAll(filepath.Join(dir, "sub"), 0o755))
	require.NoError(f, os.WriteFile(filepath.Join(base, "secret"), []byte("secret"), 0o644))
	require.NoError(f, os.WriteFile(filepath.Join(dir, "sub", "a"), []byte("A"), 0o644))
	require.NoError(f, os.Symlink("../../secret", filepath.Join(dir, "sub", "out")))
	files, err := OpenDir(dir)
	require.NoError(f, err)
	for _, s := range []string{"sub/a", "../secret", "sub/../../secret", "sub/out", "\\..\\secret", "/sub//a", "\x00"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		file, _, err := files.Open(name)
		if err != nil {
			return
		}
		defer file.Close()
		b, err := io.ReadAll(file)
		require.NoError(t, err)
		require.Equal(t, "A", string(b))
	})
}
