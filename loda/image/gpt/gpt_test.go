package gpt_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/image/gpt"
	"github.com/project-loda/loda/scripts/need"
)

// sgdiskDisk makes a disk with two partitions by sgdisk.
func sgdiskDisk(t testing.TB, size int64) *os.File {
	t.Helper()
	need.Command(t, "sgdisk")
	path := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	require.NoError(t, os.Truncate(path, size))
	out, err := exec.Command("sgdisk", "-n", "1:0:+4M", "-t", "1:EF02", "-n", "3:0:+8M", "-c", "3:root ü", path).CombinedOutput()
	require.NoError(t, err, string(out))
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}

func verify(t *testing.T, path string) string {
	t.Helper()
	out, err := exec.Command("sgdisk", "-v", "-p", path).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "No problems found", string(out))
	return string(out)
}

func TestTableOfSgdiskIsReadAndGrownAndSgdiskAgrees(t *testing.T) {
	f := sgdiskDisk(t, 32<<20)
	table, err := gpt.Read(f, 512)
	require.NoError(t, err)
	require.Len(t, table.Partitions, 2)
	require.Equal(t, gpt.TypeBIOSBoot, table.Partitions[0].Type)
	require.Equal(t, "root ü", table.Partition(3).Name)
	require.EqualValues(t, 32<<20/512, table.Sectors)

	require.NoError(t, f.Truncate(100<<20))
	require.NoError(t, table.Resize(100<<20/512))
	seed, err := table.Add(gpt.Partition{Type: gpt.TypeBasicData, ID: gpt.NewGUID(), First: table.End(), Last: table.LastUsable, Name: "CIDATA"})
	require.NoError(t, err)
	require.Equal(t, 2, seed.Number)
	require.NoError(t, table.WriteBackup(f))
	require.NoError(t, table.WritePrimary(f))
	out := verify(t, f.Name())
	require.Contains(t, out, "CIDATA")
	require.Contains(t, out, "204800 sectors")

	again, err := gpt.Read(f, 512)
	require.NoError(t, err)
	require.Equal(t, table, again)
}

func TestNewTableSatisfiesSfdiskAndSgdisk(t *testing.T) {
	need.Command(t, "sgdisk", "sfdisk")
	path := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(64<<20))
	table, err := gpt.New(512, 64<<20/512, gpt.NewGUID())
	require.NoError(t, err)
	_, err = table.Add(gpt.Partition{Type: gpt.TypeESP, ID: gpt.NewGUID(), First: 2048, Last: 4095, Name: "esp"})
	require.NoError(t, err)
	require.NoError(t, table.WriteBackup(f))
	require.NoError(t, table.WritePrimary(f))
	verify(t, path)
	out, err := exec.Command("sfdisk", "--json", path).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), strings.ToUpper(table.DiskID.String()))
	require.Contains(t, string(out), "C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
}

func TestDamagedTablesAreNamedAndNeverGuessed(t *testing.T) {
	f := sgdiskDisk(t, 32<<20)
	good := make([]byte, 1<<20)
	_, err := f.ReadAt(good, 0)
	require.NoError(t, err)
	for name, c := range map[string]struct {
		at   int
		want string
	}{
		"header":        {512 + 40, "header has a wrong checksum"},
		"entry":         {1024 + 40, "entries have a wrong checksum"},
		"MBR signature": {510, "protective MBR"},
		"MBR entry":     {446 + 4, "protective MBR"},
		"signature":     {512, gpt.ErrNone.Error()},
	} {
		bad := bytes.Clone(good)
		bad[c.at] ^= 0x40
		_, err := gpt.Read(bytes.NewReader(bad), 512)
		require.ErrorContains(t, err, c.want, name)
	}
	_, err = gpt.Read(bytes.NewReader(good[:700]), 512)
	require.ErrorIs(t, err, gpt.ErrNone)
	_, err = gpt.Read(bytes.NewReader(make([]byte, 1<<20)), 4096)
	require.ErrorIs(t, err, gpt.ErrNone)
}

func TestPartitionsOutsideOrOverlappingAreRefused(t *testing.T) {
	table, err := gpt.New(4096, 4096, gpt.NewGUID())
	require.NoError(t, err)
	require.EqualValues(t, 6, table.FirstUsable)
	require.EqualValues(t, 4096-1-4-1, table.LastUsable)
	add := func(first, last uint64) error {
		_, err := table.Add(gpt.Partition{Type: gpt.TypeLinux, ID: gpt.NewGUID(), First: first, Last: last})
		return err
	}
	require.ErrorContains(t, add(5, 10), "outside")
	require.ErrorContains(t, add(6, 4095), "outside")
	require.ErrorContains(t, add(10, 9), "before it starts")
	require.NoError(t, add(10, 20))
	require.ErrorContains(t, add(20, 30), "overlap")
	require.ErrorContains(t, table.Resize(22), "partition 1 ends")
	require.ErrorContains(t, table.Resize(9), "no room")
	require.Len(t, table.Partitions, 1)
}

func TestGUIDsHaveTheOrderOfTheDisk(t *testing.T) {
	require.Equal(t, []byte{0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11, 0xba, 0x4b, 0, 0xa0, 0xc9, 0x3e, 0xc9, 0x3b}, gpt.TypeESP[:])
	require.Equal(t, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b", gpt.TypeESP.String())
	for _, bad := range []string{"", "c12a7328", "c12a7328-f81f-11d2-ba4b-00a0c93ec93g", "c12a7328f81f-11d2-ba4b-00a0c93ec93bb"} {
		_, err := gpt.ParseGUID(bad)
		require.Error(t, err, bad)
	}
}

type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error) { return bytes.NewReader(m).ReadAt(p, off) }
func (m memory) WriteAt(p []byte, off int64) (int, error) {
	return copy(m[off:], p), nil
}

func FuzzReadNeverPanicsAndWhatItReadsIsWrittenBackEqually(f *testing.F) {
	disk := make(memory, 128<<10)
	table, err := gpt.New(512, 256, gpt.MustGUID("21686148-6449-6e6f-744e-656564454649"))
	require.NoError(f, err)
	_, err = table.Add(gpt.Partition{Type: gpt.TypeLinux, ID: gpt.TypeESP, First: 40, Last: 80, Name: "root"})
	require.NoError(f, err)
	require.NoError(f, table.WritePrimary(disk))
	f.Add([]byte(disk[:18<<10]))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, data []byte) {
		fixChecksums(data)
		table, err := gpt.Read(bytes.NewReader(data), 512)
		if err != nil || table.FirstUsable > 4096 {
			return
		}
		out := make(memory, max(len(data), 512*(1+int(table.FirstUsable))))
		copy(out, data)
		require.NoError(t, table.WritePrimary(out))
		again, err := gpt.Read(bytes.NewReader(out), 512)
		require.NoError(t, err)
		require.Equal(t, table, again)
	})
}

// fixChecksums lets the fuzzer past them.
func fixChecksums(data []byte) {
	if len(data) < 1024 {
		return
	}
	le, h := binary.LittleEndian, data[512:1024]
	at, n := le.Uint64(h[72:])*512, uint64(le.Uint32(h[80:]))*uint64(le.Uint32(h[84:]))
	if at < 1<<30 && n < 1<<30 && at+n <= uint64(len(data)) {
		le.PutUint32(h[88:], crc32.ChecksumIEEE(data[at:at+n]))
	}
	if size := le.Uint32(h[12:]); size >= 20 && size <= 512 {
		le.PutUint32(h[16:], 0)
		le.PutUint32(h[16:], crc32.ChecksumIEEE(h[:size]))
	}
}
