package disk_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"

	"github.com/project-loda/loda/bootos/disk"
	"github.com/project-loda/loda/loda/image/gpt"
	"github.com/project-loda/loda/scripts/need"
)

const mib = 1 << 20

// memory is an image in the making.
type memory []byte

func (m memory) ReadAt(p []byte, off int64) (int, error)  { return bytes.NewReader(m).ReadAt(p, off) }
func (m memory) WriteAt(p []byte, off int64) (int, error) { return copy(m[off:], p), nil }

// testImage has a partition table, boot code, data and holes of all sizes.
func testImage(t testing.TB, size, sector int) []byte {
	t.Helper()
	img := make(memory, size)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(img[:440])
	table, err := gpt.New(sector, uint64(size/sector), gpt.NewGUID())
	require.NoError(t, err)
	per := uint64(mib / sector)
	_, err = table.Add(gpt.Partition{Type: gpt.TypeESP, ID: gpt.NewGUID(), First: per, Last: 2*per - 1, Name: "esp"})
	require.NoError(t, err)
	_, err = table.Add(gpt.Partition{Type: gpt.TypeLinuxRoot, ID: gpt.NewGUID(), First: 2 * per, Last: table.LastUsable, Name: "root"})
	require.NoError(t, err)
	for off := mib; off < size-mib; {
		n := 1 + int(rng.Uint64()%(300<<10))
		end := min(off+n, size-mib)
		if rng.Uint64()%3 > 0 {
			rng.Read(img[off:end])
		}
		off = end
	}
	require.NoError(t, table.WriteBackup(img))
	require.NoError(t, table.WritePrimary(img))
	return img
}

func pack(t testing.TB, format string, raw []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch format {
	case "raw":
		return raw
	case "zst":
		w, err = zstd.NewWriter(&out)
	case "gz":
		w, err = gzip.NewWriterLevel(&out, 1)
	case "xz":
		w, err = xz.NewWriter(&out)
	}
	require.NoError(t, err)
	_, err = w.Write(raw)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return out.Bytes()
}

func source(url, format string, file []byte, raw int) disk.Source {
	sum := sha256.Sum256(file)
	return disk.Source{URL: url, Format: format, SHA256: hex.EncodeToString(sum[:]), Bytes: int64(len(file)), RawBytes: int64(raw)}
}

func anyDisk(disk.Target) error { return nil }

// oldDisk is a file that stands for a disk with an old system on it: boot code, tables and data everywhere.
func oldDisk(t testing.TB, size int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk")
	old := bytes.Repeat([]byte("an old system was here. "), size/24+1)[:size]
	table, err := gpt.New(512, uint64(size/512), gpt.NewGUID())
	require.NoError(t, err)
	_, err = table.Add(gpt.Partition{Type: gpt.TypeLinux, ID: gpt.NewGUID(), First: 2048, Last: table.LastUsable, Name: "old"})
	require.NoError(t, err)
	require.NoError(t, table.WriteBackup(memory(old)))
	require.NoError(t, table.WritePrimary(memory(old)))
	require.NoError(t, os.WriteFile(path, old, 0o600))
	return path
}

// requireNothingBoots is what a firmware would look at: boot signature, both partition tables.
func requireNothingBoots(t testing.TB, path string) {
	t.Helper()
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, isZero(content[:mib]), "head of the disk")
	require.True(t, isZero(content[len(content)-mib:]), "end of the disk")
}

func requireGoodTable(t testing.TB, path string) string {
	t.Helper()
	need.Command(t, "sgdisk")
	out, err := exec.Command("sgdisk", "-v", "-p", path).CombinedOutput()
	require.NoError(t, err, string(out))
	require.Contains(t, string(out), "No problems found", string(out))
	return string(out)
}

func serve(t testing.TB, file []byte) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	}))
	t.Cleanup(s.Close)
	return s
}

func TestTheDiskIsExactlyTheImageWhateverWasOnItBefore(t *testing.T) {
	raw := testImage(t, 24*mib, 512)
	for _, format := range []string{"raw", "zst", "gz", "xz"} {
		t.Run(format, func(t *testing.T) {
			file := pack(t, format, raw)
			path := oldDisk(t, len(raw)) // same size: nothing is grown
			stats, err := disk.Write(t.Context(), disk.Options{
				Device: path, AllowFile: true, Check: anyDisk, Source: source(serve(t, file).URL, format, file, len(raw)),
			})
			require.NoError(t, err)
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(raw, got))
			require.EqualValues(t, len(file), stats.Received)
			require.EqualValues(t, len(raw), stats.Written+stats.Zeroed)
			require.Greater(t, stats.Zeroed, int64(2*mib))
			require.Zero(t, stats.Resumed)
			requireGoodTable(t, path)
		})
	}
}

func TestATableIsGrownAndTheSeedIsAtTheEnd(t *testing.T) {
	need.Command(t, "sfdisk", "fsck.vfat", "mcopy", "blkid")
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			raw := testImage(t, 16*mib, sector)
			file := pack(t, "zst", raw)
			path := oldDisk(t, 96*mib)
			seed := map[string]string{"user-data": "#cloud-config\n", "meta-data": "instance-id: i\n", "network-config": "version: 2\n"}
			stats, err := disk.Write(t.Context(), disk.Options{
				Device: path, AllowFile: true, SectorSize: sector, Check: anyDisk, Seed: seed,
				Source: source(serve(t, file).URL, "zst", file, len(raw)),
			})
			require.NoError(t, err)
			require.True(t, stats.Grown)
			f, err := os.Open(path)
			require.NoError(t, err)
			defer f.Close()
			table, err := gpt.Read(f, sector)
			require.NoError(t, err)
			require.EqualValues(t, 96*mib/sector, table.Sectors)
			p := table.Partition(3)
			require.Equal(t, "CIDATA", p.Name)
			require.Equal(t, gpt.TypeBasicData, p.Type)
			if sector == 512 { // sgdisk takes a file's sectors for 512 bytes
				require.Contains(t, requireGoodTable(t, path), "CIDATA")
			}
			part := filepath.Join(t.TempDir(), "seed")
			content := make([]byte, disk.SeedBytes)
			_, err = f.ReadAt(content, int64(p.First)*int64(sector))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(part, content, 0o600))
			out, err := exec.Command("fsck.vfat", "-n", part).CombinedOutput()
			require.NoError(t, err, string(out))
			for name, want := range seed {
				cmd := exec.Command("mcopy", "-n", "-i", part, "::"+name, "-")
				got, err := cmd.Output()
				require.NoError(t, err)
				require.Equal(t, want, string(got))
			}
			// What was in the partitions is untouched, and the image's own backup table is gone.
			got := make([]byte, 15*mib)
			_, err = f.ReadAt(got, mib)
			require.NoError(t, err)
			entries := (16384 + sector) / sector * sector
			require.True(t, bytes.Equal(raw[mib:len(raw)-entries], got[:len(got)-entries]))
			require.True(t, isZero(got[len(got)-sector:]))

			// Seeding again uses the same partition.
			require.NoError(t, disk.WriteSeed(path, map[string]string{"meta-data": "instance-id: j\n"},
				disk.GrowOptions{AllowFile: true, SectorSize: sector}))
			again, err := gpt.Read(f, sector)
			require.NoError(t, err)
			require.Equal(t, table, again)
			_, err = f.ReadAt(content, int64(p.First)*int64(sector))
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(part, content, 0o600))
			out, err = exec.Command("mdir", "-b", "-i", part).CombinedOutput()
			require.NoError(t, err)
			require.Equal(t, "::/meta-data\n", string(out))
		})
	}
}

func TestGrowingTwiceChangesNothing(t *testing.T) {
	raw := testImage(t, 8*mib, 512)
	path := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(path, raw, 0o600))
	o := disk.GrowOptions{AllowFile: true}
	g, err := disk.Grow(path, o)
	require.NoError(t, err)
	require.Equal(t, disk.Growth{}, g)
	require.NoError(t, os.Truncate(path, 40*mib))
	g, err = disk.Grow(path, o)
	require.NoError(t, err)
	require.True(t, g.Grown)
	require.EqualValues(t, 32*mib, g.Free)
	one, err := os.ReadFile(path)
	require.NoError(t, err)
	requireGoodTable(t, path)
	g, err = disk.Grow(path, o)
	require.NoError(t, err)
	require.False(t, g.Grown)
	two, err := os.ReadFile(path)
	require.NoError(t, err)
	require.True(t, bytes.Equal(one, two))
	require.NoError(t, os.WriteFile(path, make([]byte, 4*mib), 0o600))
	_, err = disk.Grow(path, o)
	require.ErrorIs(t, err, disk.ErrNoGPT)
}

// fault is a server that fails in a way of its own until it has failed often enough.
type fault func(w http.ResponseWriter, r *http.Request, file []byte)

func breakAtRandom(rng *rand.Rand) fault {
	return func(w http.ResponseWriter, r *http.Request, file []byte) {
		from := rangeStart(r)
		if from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(file)-1, len(file)))
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(file)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(file[from : from+rng.IntN(len(file)-from)])
		panic(http.ErrAbortHandler)
	}
}

func rangeStart(r *http.Request) int {
	from := 0
	fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from)
	return from
}

func TestBrokenTransfersAreTakenUpAgain(t *testing.T) {
	raw := testImage(t, 12*mib, 512)
	file := pack(t, "zst", raw)
	for name, c := range map[string]struct {
		fail  fault
		times int32
	}{
		"connection breaks at random offsets": {breakAtRandom(rand.New(rand.NewPCG(1, 2))), 6},
		"server ignores Range": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			w.Header().Set("Content-Length", fmt.Sprint(len(file)))
			w.Write(file[:len(file)*2/3])
			panic(http.ErrAbortHandler)
		}, 2},
		"server is overloaded": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			http.Error(w, "later", http.StatusServiceUnavailable)
		}, 3},
		"server sends another range": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			if rangeStart(r) == 0 {
				breakAtRandom(rand.New(rand.NewPCG(3, 4)))(w, r, file)
			}
			w.Header().Set("Content-Range", fmt.Sprintf("bytes 0-9/%d", len(file)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(file[:10])
		}, 3},
		"server stalls": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			if from := rangeStart(r); from > 0 {
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
				return
			}
			w.Header().Set("Content-Length", fmt.Sprint(len(file)))
			w.Write(file[:len(file)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"one"`)
				if calls.Add(1) <= c.times {
					c.fail(w, r, file)
					return
				}
				if name == "server ignores Range" {
					r.Header.Del("Range")
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
			}))
			defer s.Close()
			path := oldDisk(t, len(raw))
			stats, err := disk.Write(t.Context(), disk.Options{Device: path, AllowFile: true, Check: anyDisk,
				Source: source(s.URL, "zst", file, len(raw)), Stall: 3 * time.Second})
			require.NoError(t, err)
			got, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(raw, got))
			if name == "server is overloaded" {
				require.Zero(t, stats.Resumed, "it had not begun")
			} else {
				require.GreaterOrEqual(t, stats.Resumed, 1)
			}
			if name == "connection breaks at random offsets" {
				require.EqualValues(t, len(file), stats.Received, "nothing was sent twice")
			}
		})
	}
}

func TestAnImageThatIsNotWhatWasAskedForNeverBoots(t *testing.T) {
	raw := testImage(t, 12*mib, 512)
	file := pack(t, "zst", raw)
	good := source("", "zst", file, len(raw))
	garbage := bytes.Clone(file)
	garbage[len(file)/2] ^= 1
	other := pack(t, "zst", testImage(t, 12*mib, 512)[:11*mib])
	for name, c := range map[string]struct {
		file  []byte
		edit  func(*disk.Source)
		check func(t *testing.T, err error)
		early bool // nothing was written
	}{
		"a bit differs": {file: garbage, check: func(t *testing.T, err error) {
			e, ok := errors.AsType[*disk.DigestError](err)
			require.True(t, ok, "%v", err)
			require.ErrorContains(t, err, e.Want)
			require.ErrorContains(t, err, e.Got)
			sum := sha256.Sum256(garbage)
			require.Equal(t, hex.EncodeToString(sum[:]), e.Got)
			require.Equal(t, good.SHA256, e.Want)
			require.False(t, disk.Retryable(err))
		}},
		"another image of another size": {file: other, early: true, check: func(t *testing.T, err error) {
			e, ok := errors.AsType[*disk.SizeError](err)
			require.True(t, ok, "%v", err)
			require.Equal(t, "file", e.What)
		}},
		"it unpacks to more than announced": {file: file, edit: func(s *disk.Source) { s.RawBytes -= mib },
			check: func(t *testing.T, err error) {
				e, ok := errors.AsType[*disk.SizeError](err)
				require.True(t, ok, "%v", err)
				require.Equal(t, "image", e.What)
			}},
		"it unpacks to less than announced": {file: file, edit: func(s *disk.Source) { s.RawBytes += mib },
			check: func(t *testing.T, err error) {
				e, ok := errors.AsType[*disk.SizeError](err)
				require.True(t, ok, "%v", err)
				require.EqualValues(t, len(raw), e.Got)
			}},
		"it is not of that format": {file: file, edit: func(s *disk.Source) { s.Format = "gz" }, early: true,
			check: func(t *testing.T, err error) {
				_, ok := errors.AsType[*disk.FormatError](err)
				require.True(t, ok, "%v", err)
			}},
		"its table is damaged on the way": {file: func() []byte {
			bad := bytes.Clone(raw)
			bad[1024+8] ^= 1
			return pack(t, "raw", bad)
		}(), edit: func(s *disk.Source) { *s = source("", "raw", raw, len(raw)) }, early: true, check: func(t *testing.T, err error) {
			_, ok := errors.AsType[*disk.DigestError](err)
			require.True(t, ok, "%v", err)
		}},
		"its table is damaged": {file: func() []byte {
			bad := bytes.Clone(raw)
			bad[1024+8] ^= 1
			return pack(t, "zst", bad)
		}(), edit: func(s *disk.Source) {
			bad := bytes.Clone(raw)
			bad[1024+8] ^= 1
			*s = source("", "zst", pack(t, "zst", bad), len(raw))
		}, early: true, check: func(t *testing.T, err error) { require.ErrorContains(t, err, "checksum") }},
	} {
		t.Run(name, func(t *testing.T) {
			path := oldDisk(t, 14*mib)
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			src := good
			if c.edit != nil {
				c.edit(&src)
			}
			src.URL = serve(t, c.file).URL
			_, err = disk.Write(t.Context(), disk.Options{Device: path, AllowFile: true, Check: anyDisk, Source: src})
			require.Error(t, err)
			c.check(t, err)
			if c.early {
				after, err := os.ReadFile(path)
				require.NoError(t, err)
				require.True(t, bytes.Equal(before, after), "nothing may be written")
			} else {
				requireNothingBoots(t, path)
			}
		})
	}
}

func TestATransferThatCannotBeResumedEndsInTimeAndSaysSo(t *testing.T) {
	raw := testImage(t, 12*mib, 512)
	file := pack(t, "zst", raw)
	for name, c := range map[string]struct {
		fail fault
		want string
	}{
		"file replaced in the middle": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			if rangeStart(r) > 0 {
				w.Header().Set("ETag", `"two"`)
				r.Header.Del("Range")
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
				return
			}
			breakAtRandom(rand.New(rand.NewPCG(1, 1)))(w, r, file)
		}, "replaced"},
		"server gone": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			if rangeStart(r) == 0 {
				breakAtRandom(rand.New(rand.NewPCG(1, 1)))(w, r, file)
			}
			panic(http.ErrAbortHandler)
		}, "no progress for"},
		"a few bytes at a time": {func(w http.ResponseWriter, r *http.Request, file []byte) {
			from := rangeStart(r)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(file)-1, len(file)))
			w.WriteHeader(http.StatusPartialContent)
			w.Write(file[from : from+10])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}, "no progress for"},
		"file gone": {func(w http.ResponseWriter, r *http.Request, file []byte) { http.NotFound(w, r) }, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"one"`)
				c.fail(w, r, file)
			}))
			defer s.Close()
			path := oldDisk(t, len(raw))
			start := time.Now()
			_, err := disk.Write(t.Context(), disk.Options{Device: path, AllowFile: true, Check: anyDisk,
				Source: source(s.URL, "zst", file, len(raw)), Stall: 2 * time.Second})
			_, ok := errors.AsType[*disk.TransferError](err)
			require.True(t, ok, "%v", err)
			require.ErrorContains(t, err, c.want)
			require.True(t, disk.Retryable(err))
			require.Less(t, time.Since(start), 15*time.Second)
			if name != "file gone" && name != "a few bytes at a time" {
				requireNothingBoots(t, path)
			}
		})
	}
}

func TestWhatCannotFitIsRefusedBeforeAnythingIsWritten(t *testing.T) {
	raw := testImage(t, 12*mib, 512)
	file := pack(t, "zst", raw)
	url := serve(t, file).URL
	seed := map[string]string{"meta-data": "instance-id: x\n"}
	for name, c := range map[string]struct {
		disk  int
		o     disk.Options
		check func(t *testing.T, err error)
	}{
		"image larger than the disk": {8 * mib, disk.Options{Check: anyDisk}, func(t *testing.T, err error) {
			e, ok := errors.AsType[*disk.TooLargeError](err)
			require.True(t, ok, "%v", err)
			require.EqualValues(t, 8*mib, e.Disk)
			require.EqualValues(t, 12*mib, e.Image)
			require.ErrorContains(t, err, fmt.Sprint(8*mib))
			require.ErrorContains(t, err, fmt.Sprint(12*mib))
		}},
		"no room for the seed": {20 * mib, disk.Options{Check: anyDisk, Seed: seed}, func(t *testing.T, err error) {
			e, ok := errors.AsType[*disk.NoSpaceError](err)
			require.True(t, ok, "%v", err)
			require.EqualValues(t, disk.SeedBytes, e.Need)
		}},
		"made for other sectors": {64 * mib, disk.Options{Check: anyDisk, SectorSize: 4096}, func(t *testing.T, err error) {
			require.ErrorContains(t, err, "sectors of 512 bytes")
		}},
		"another disk": {64 * mib, disk.Options{Check: func(disk.Target) error { return errors.New("serial differs") }},
			func(t *testing.T, err error) {
				_, ok := errors.AsType[*disk.RefusedError](err)
				require.True(t, ok, "%v", err)
				require.ErrorContains(t, err, "serial differs")
			}},
		"a seed with an impossible name": {64 * mib, disk.Options{Check: anyDisk, Seed: map[string]string{"../x": ""}},
			func(t *testing.T, err error) { require.ErrorContains(t, err, "../x") }},
		"no check": {64 * mib, disk.Options{}, func(t *testing.T, err error) { require.ErrorContains(t, err, "Check") }},
	} {
		t.Run(name, func(t *testing.T) {
			path := oldDisk(t, c.disk)
			before, err := os.ReadFile(path)
			require.NoError(t, err)
			c.o.Device, c.o.AllowFile, c.o.Source = path, true, source(url, "zst", file, len(raw))
			_, err = disk.Write(t.Context(), c.o)
			require.Error(t, err)
			c.check(t, err)
			after, err := os.ReadFile(path)
			require.NoError(t, err)
			require.True(t, bytes.Equal(before, after))
		})
	}
}

func TestASeedWantsAPartitionTable(t *testing.T) {
	raw := bytes.Repeat([]byte("no table here "), 4*mib/14)
	file := pack(t, "zst", raw)
	o := disk.Options{Device: oldDisk(t, 64*mib), AllowFile: true, Check: anyDisk,
		Source: source(serve(t, file).URL, "zst", file, len(raw)), Seed: map[string]string{"meta-data": ""}}
	_, err := disk.Write(t.Context(), o)
	require.ErrorIs(t, err, disk.ErrNoGPT)
	o.Seed = nil
	stats, err := disk.Write(t.Context(), o)
	require.NoError(t, err)
	require.False(t, stats.Grown)
	got, err := os.ReadFile(o.Device)
	require.NoError(t, err)
	require.True(t, bytes.Equal(raw, got[:len(raw)]))
	require.True(t, isZero(got[len(got)-mib:]), "the old backup table is gone")
}

func isZero(p []byte) bool { return bytes.Count(p, []byte{0}) == len(p) }

func TestProgressNeverGoesBackAndEndsAtOne(t *testing.T) {
	raw := testImage(t, 12*mib, 512)
	file := pack(t, "zst", raw)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		for at := 0; at < len(file); at += len(file) / 6 {
			w.Write(file[at:min(at+len(file)/6, len(file))])
			w.(http.Flusher).Flush()
			time.Sleep(400 * time.Millisecond)
		}
	}))
	defer s.Close()
	var seen []disk.Progress
	_, err := disk.Write(t.Context(), disk.Options{Device: oldDisk(t, len(raw)), AllowFile: true, Check: anyDisk,
		Source: source(s.URL, "zst", file, len(raw)), Progress: func(p disk.Progress) { seen = append(seen, p) }})
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(seen), 4)
	last := disk.Progress{}
	rate := 0.0
	for _, p := range seen {
		require.GreaterOrEqual(t, p.Fraction, last.Fraction)
		require.GreaterOrEqual(t, p.Received, last.Received)
		rate = max(rate, p.Rate)
		last = p
	}
	require.Equal(t, 1.0, last.Fraction)
	require.EqualValues(t, len(raw), last.Unpacked)
	require.Greater(t, rate, 1000.0)
}

func TestCancelingEndsSoonAndLeavesNothingToBoot(t *testing.T) {
	raw := testImage(t, 12*mib, 512)
	file := pack(t, "zst", raw)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(file)))
		w.Write(file[:len(file)*3/4])
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	defer s.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("operator canceled")
	time.AfterFunc(time.Second, func() { cancel(why) })
	path := oldDisk(t, len(raw))
	start := time.Now()
	_, err := disk.Write(ctx, disk.Options{Device: path, AllowFile: true, Check: anyDisk, Source: source(s.URL, "zst", file, len(raw))})
	require.ErrorIs(t, err, why)
	require.Less(t, time.Since(start), 10*time.Second)
	requireNothingBoots(t, path)
}

// TestMain lets the test binary be the agent that is killed.
func TestMain(m *testing.M) {
	if os.Getenv("LODA_DISK_TEST_WRITE") != "" {
		var o disk.Options
		var bytes, raw int64
		fmt.Sscanf(os.Getenv("LODA_DISK_TEST_WRITE"), "%s %s %s %d %d", &o.Device, &o.Source.URL, &o.Source.SHA256, &bytes, &raw)
		o.Source.Format, o.Source.Bytes, o.Source.RawBytes = "zst", bytes, raw
		o.AllowFile, o.Check, o.Seed = true, anyDisk, map[string]string{"meta-data": "instance-id: x\n"}
		if _, err := disk.Write(context.Background(), o); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAfterAPowerCutInTheMiddleNothingBootsAndASecondRunRepairsIt(t *testing.T) {
	// The image has the size of the disk, so that its own backup table ends where a firmware would look for one.
	raw := testImage(t, 64*mib, 512)
	file := pack(t, "zst", raw)
	for _, share := range []float64{0.1, 0.5, 0.999999} {
		t.Run(fmt.Sprint(share), func(t *testing.T) {
			path := oldDisk(t, 128*mib)
			if share == 0.5 {
				path = oldDisk(t, 64*mib+34*mib)
			}
			sent := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Content-Length", fmt.Sprint(len(file)))
				w.Write(file[:int(float64(len(file))*share)])
				w.(http.Flusher).Flush()
				time.Sleep(500 * time.Millisecond)
				close(sent)
				<-r.Context().Done()
			}))
			defer s.Close()
			src := source(s.URL, "zst", file, len(raw))
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), fmt.Sprintf("LODA_DISK_TEST_WRITE=%s %s %s %d %d", path, src.URL, src.SHA256, src.Bytes, src.RawBytes))
			require.NoError(t, cmd.Start())
			<-sent
			require.NoError(t, cmd.Process.Kill()) // SIGKILL
			cmd.Wait()
			requireNothingBoots(t, path)

			src.URL = serve(t, file).URL
			_, err := disk.Write(t.Context(), disk.Options{Device: path, AllowFile: true, Check: anyDisk, Source: src,
				Seed: map[string]string{"meta-data": "instance-id: x\n"}})
			require.NoError(t, err)
			require.Contains(t, requireGoodTable(t, path), "CIDATA")
		})
	}
}

// loop attaches a file as a loop device with partitions.
func loop(t *testing.T, path string, sector int) string {
	t.Helper()
	need.Root(t)
	need.Command(t, "losetup")
	out, err := exec.Command("losetup", "-f", "--show", "-P", "-b", fmt.Sprint(sector), path).CombinedOutput()
	require.NoError(t, err, string(out))
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		out, err := exec.Command("losetup", "-d", dev).CombinedOutput()
		require.NoError(t, err, string(out))
	})
	return dev
}

func TestOnBlockDevicesTheKernelSeesTheNewPartitions(t *testing.T) {
	for _, sector := range []int{512, 4096} {
		t.Run(fmt.Sprint(sector), func(t *testing.T) {
			path := oldDisk(t, 96*mib)
			dev := loop(t, path, sector)
			raw := testImage(t, 16*mib, sector)
			file := pack(t, "zst", raw)
			_, err := disk.Write(t.Context(), disk.Options{Device: dev, AllowFile: true, Check: func(got disk.Target) error {
				require.EqualValues(t, 96*mib, got.Bytes)
				require.Equal(t, sector, got.SectorSize)
				require.EqualValues(t, 7, got.Major)
				return nil
			}, Source: source(serve(t, file).URL, "zst", file, len(raw)), Seed: map[string]string{"meta-data": "x"}})
			require.NoError(t, err)
			out, err := exec.Command("sgdisk", "-v", dev).CombinedOutput()
			require.NoError(t, err)
			require.Contains(t, string(out), "No problems found")
			name := filepath.Base(dev)
			size, err := os.ReadFile("/sys/block/" + name + "/" + name + "p3/size")
			require.NoError(t, err)
			require.Equal(t, fmt.Sprint(disk.SeedBytes/512), strings.TrimSpace(string(size)))
			out, err = exec.Command("blkid", "-p", "-o", "value", "-s", "LABEL", dev+"p3").CombinedOutput()
			require.NoError(t, err, string(out))
			require.Equal(t, "CIDATA\n", string(out))
		})
	}
}

func TestDisksInUseAreRefused(t *testing.T) {
	need.Command(t, "mke2fs", "mount", "umount", "partx", "blockdev")
	path := oldDisk(t, 64*mib)
	dev := loop(t, path, 512)
	if _, err := os.Stat(dev + "p1"); err != nil { // a kernel without GPT
		out, err := exec.Command("partx", "-a", dev).CombinedOutput()
		require.NoError(t, err, string(out))
	}
	file := pack(t, "zst", testImage(t, 12*mib, 512))
	o := disk.Options{Device: dev, AllowFile: true, Check: anyDisk, Source: source(serve(t, file).URL, "zst", file, 12*mib)}
	refused := func(want string) {
		t.Helper()
		_, err := disk.Write(t.Context(), o)
		_, ok := errors.AsType[*disk.RefusedError](err)
		require.True(t, ok, "%v", err)
		require.ErrorContains(t, err, want)
	}
	o.AllowFile = false
	refused("loop device")
	o.AllowFile = true
	o.Device = dev + "p1"
	refused("it is a partition")
	o.Device = "/dev/null"
	refused("not a block device")
	o.Device = filepath.Join(t.TempDir(), "missing")
	refused("no such file")

	out, err := exec.Command("mke2fs", "-q", "-F", dev+"p1").CombinedOutput()
	require.NoError(t, err, string(out))
	dir := t.TempDir()
	out, err = exec.Command("mount", dev+"p1", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	o.Device = dev
	func() {
		defer func() {
			out, err := exec.Command("umount", dir).CombinedOutput()
			require.NoError(t, err, string(out))
		}()
		refused("mounted on " + dir)
	}()
	holder, err := os.OpenFile(dev, os.O_RDONLY|0x80, 0) // O_EXCL
	require.NoError(t, err)
	refused("in use")
	holder.Close()
	out, err = exec.Command("blockdev", "--setro", dev).CombinedOutput()
	require.NoError(t, err, string(out))
	refused("read-only")
	out, err = exec.Command("blockdev", "--setrw", dev).CombinedOutput()
	require.NoError(t, err, string(out))
	_, err = disk.Write(t.Context(), o)
	require.NoError(t, err)
}

func BenchmarkWrite(b *testing.B) {
	raw := testImage(b, 256*mib, 512)
	for _, format := range []string{"raw", "zst", "gz"} {
		b.Run(format, func(b *testing.B) {
			file := pack(b, format, raw)
			path := filepath.Join(b.TempDir(), "disk")
			require.NoError(b, os.WriteFile(path, nil, 0o600))
			require.NoError(b, os.Truncate(path, int64(len(raw))))
			src := source(serve(b, file).URL, format, file, len(raw))
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, err := disk.Write(b.Context(), disk.Options{Device: path, AllowFile: true, Check: anyDisk, Source: src}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
