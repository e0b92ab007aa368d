package image_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/image/fat"
	"github.com/project-loda/loda/loda/image/gpt"
	"github.com/project-loda/loda/loda/image/imagetest"
	"github.com/project-loda/loda/scripts/need"
)

// machineDisk unpacks an image to a larger disk and seeds it, as the agent does.
func machineDisk(t *testing.T, d *image.Dir, img image.Image, size int64, seed map[string]string) string {
	t.Helper()
	in, err := os.Open(d.File(img))
	require.NoError(t, err)
	defer in.Close()
	z, err := zstd.NewReader(in)
	require.NoError(t, err)
	defer z.Close()
	path := filepath.Join(t.TempDir(), "disk.raw")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	buf := make([]byte, 1<<20)
	for off := int64(0); ; {
		n, err := io.ReadFull(z, buf)
		if bytes.Count(buf[:n], []byte{0}) != n {
			_, werr := f.WriteAt(buf[:n], off)
			require.NoError(t, werr)
		}
		if off += int64(n); err != nil {
			require.EqualValues(t, img.RawBytes, off)
			break
		}
	}
	require.NoError(t, f.Truncate(size))
	table, err := gpt.Read(f, 512)
	require.NoError(t, err)
	require.NoError(t, table.Resize(uint64(size/512)))
	const seedBytes = 32 << 20
	first := (table.LastUsable + 1 - seedBytes/512) / 2048 * 2048
	_, err = table.Add(gpt.Partition{Type: gpt.TypeBasicData, ID: gpt.NewGUID(), First: first, Last: first + seedBytes/512 - 1, Name: "CIDATA"})
	require.NoError(t, err)
	content := map[string][]byte{}
	for name, text := range seed {
		content[name] = []byte(text)
	}
	fs := fat.FS{Label: "CIDATA", Bytes: seedBytes, SectorSize: 512, Hidden: uint32(first), Serial: 1}
	require.NoError(t, fs.Write(io.NewOffsetWriter(f, int64(first)*512), content))
	require.NoError(t, table.WriteBackup(f))
	require.NoError(t, table.WritePrimary(f))
	return path
}

// firmwares are BIOS, and UEFI with variables of its own.
func firmwares(t *testing.T) map[string]string {
	return map[string]string{"BIOS": "", "UEFI": filepath.Join(t.TempDir(), "vars.fd")}
}

func TestDebianImageBootsByBIOSAndUEFIGrowsAndReportsBack(t *testing.T) {
	need.QEMU(t)
	need.Command(t, "mmdebstrap", "mkfs.vfat", "mcopy", "grub-mkimage")
	path := os.Getenv("LODA_TEST_IMAGES") // a directory with an image debian-12 saves a minute
	if path == "" {
		path = t.TempDir()
	}
	d, err := image.Open(path)
	require.NoError(t, err)
	img, err := d.Get("debian-12")
	if err != nil {
		img, err = image.BuildDebian(t.Context(), image.DebianOptions{Dir: d, Name: "debian-12", SSH: true,
			KernelPackage: "linux-image-cloud-amd64", Progress: func(line string) { t.Log(line) }})
		require.NoError(t, err)
	}
	require.NoError(t, d.Verify(t.Context(), "debian-12"))
	for name, vars := range firmwares(t) {
		t.Run(name, func(t *testing.T) {
			c := imagetest.NewCallback(t, func(int) int { return http.StatusNoContent })
			seed, err := image.Seed(image.SeedOptions{Hostname: "node-7.rack.example", InstanceID: "inst-1", FirstBoot: c.FirstBoot,
				BuiltinDHCP: img.BuiltinDHCP && vars != "", // once each way
				SSHKeys:     []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ operator@desk: \"x\""},
				UserData: "#cloud-config\nruncmd:\n- [sh, -c, 'echo KEYS=$(cat /home/debian/.ssh/authorized_keys | wc -l) " +
					"ROOT=$(df -BM --output=size / | tail -1) ID=$(cat /etc/machine-id | wc -c) > /dev/ttyS0']\n"})
			require.NoError(t, err)
			start := time.Now()
			m := imagetest.Boot(t, machineDisk(t, d, img, 3<<30, seed), vars)
			got := c.Installed(t, m, 5*time.Minute)
			t.Logf("%s: reported after %.0f s: %+v", name, time.Since(start).Seconds(), got)
			require.Equal(t, c.Secret, got.Secret)
			require.Equal(t, "node-7", got.Hostname)
			require.Equal(t, "10.0.2.15", got.Address)
			require.Contains(t, got.Kernel, "amd64")
			require.Greater(t, got.Uptime, 1.0)
			m.Expect("node-7 login:", time.Minute)
			m.Expect("KEYS=1", time.Minute)
			var mb int
			_, err = fmt.Sscanf(m.Console()[strings.Index(m.Console(), "ROOT=")+5:], "%dM", &mb)
			require.NoError(t, err)
			require.Greater(t, mb, 2700, "the root file system grew up to the seed's partition")
			require.Contains(t, m.Console(), "ID=33")
		})
	}
}

func TestTheTestSystemBootsInSecondsByBIOSAndUEFIAndReportsOnce(t *testing.T) {
	need.QEMU(t)
	need.Command(t, "grub-mkimage")
	kernel, tree := imagetest.DebianKernel(t)
	modules, err := image.TinyModules(tree)
	require.NoError(t, err)
	d, err := image.Open(t.TempDir())
	require.NoError(t, err)
	img, err := image.BuildTiny(t.Context(), image.TinyOptions{Dir: d, Name: "tiny", Kernel: kernel, Modules: modules})
	require.NoError(t, err)
	require.Less(t, img.Bytes, int64(20<<20))
	t.Logf("%d KiB, unpacked %d KiB", img.Bytes>>10, img.RawBytes>>10)
	for name, vars := range firmwares(t) {
		t.Run(name, func(t *testing.T) {
			// The first answers are those of a server that is just starting.
			c := imagetest.NewCallback(t, func(call int) int { return []int{503, 502, 204}[min(call-1, 2)] })
			seed, err := image.Seed(image.SeedOptions{Hostname: "tiny-1.example", InstanceID: "i-1", FirstBoot: c.FirstBoot})
			require.NoError(t, err)
			disk := machineDisk(t, d, img, 256<<20, seed)
			start := time.Now()
			m := imagetest.Boot(t, disk, vars)
			for range 3 {
				got := c.Installed(t, m, 2*time.Minute)
				require.Equal(t, c.Secret, got.Secret)
				require.Equal(t, "tiny-1", got.Hostname)
				require.Equal(t, "10.0.2.15", got.Address)
				require.NotEmpty(t, got.Kernel)
			}
			t.Logf("%s: reported after %.1f s", name, time.Since(start).Seconds())
			m.Expect("tiny-1 login:", 30*time.Second)
			m.Stop()

			m = imagetest.Boot(t, disk, vars)
			m.Expect("tiny-1 login:", 2*time.Minute)
			require.Contains(t, m.Console(), "has reported before")
			require.Empty(t, c.Calls)
		})
	}
}
