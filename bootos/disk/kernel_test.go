package disk_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/u-root/mkuimage/cpio"

	"github.com/project-loda/loda/bootos/disk"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/image/imagetest"
	"github.com/project-loda/loda/scripts/need"
)

// testInitramfs has testdata/init, the modules and its configuration.
func testInitramfs(t *testing.T, modules []string, config any) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command("go", "build", "-o", dir+"/init", "./testdata/init")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	init, err := os.ReadFile(dir + "/init")
	require.NoError(t, err)
	text, err := json.Marshal(config)
	require.NoError(t, err)
	records := []cpio.Record{cpio.Directory("dev", 0o755), cpio.CharDev("dev/console", 0o600, 5, 1), cpio.Directory("modules", 0o755),
		cpio.StaticFile("init", string(init), 0o755), cpio.StaticFile("config.json", string(text), 0o600)}
	for _, name := range modules {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		records = append(records, cpio.StaticFile("modules/"+filepath.Base(name), string(content), 0o600))
	}
	var archive bytes.Buffer
	w := cpio.Newc.Writer(&archive)
	for _, r := range records {
		require.NoError(t, w.WriteRecord(r))
	}
	require.NoError(t, cpio.WriteTrailer(w))
	require.NoError(t, os.WriteFile(dir+"/initramfs", archive.Bytes(), 0o600))
	return dir + "/initramfs"
}

// TestOnARealKernel is the whole of the package on a virtual machine's disk: O_DIRECT, BLKZEROOUT, the kernel's own view
// of the partitions, the firmware's variables, kexec. The image is the test system of package image, which reports back
// when it has booted.
func TestOnARealKernelAnInstalledDiskBootsByKexecAndByItsBootEntry(t *testing.T) {
	need.QEMU(t)
	need.Command(t, "grub-mkimage", "go")
	kernel, tree := imagetest.DebianKernel(t)
	modules, err := image.TinyModules(tree)
	require.NoError(t, err)
	d, err := image.Open(t.TempDir())
	require.NoError(t, err)
	img, err := image.BuildTiny(t.Context(), image.TinyOptions{Dir: d, Name: "tiny", Kernel: kernel, Modules: modules})
	require.NoError(t, err)
	file, err := os.ReadFile(d.File(img))
	require.NoError(t, err)
	efi, err := image.TinyModules(tree, "efivarfs")
	require.NoError(t, err)
	modules = append(modules, efi...)

	for _, c := range []struct {
		name   string
		uefi   bool
		kexec  bool
		sector int
	}{{"BIOS, kexec", false, true, 512}, {"UEFI, boot entry", true, false, 512}, {"UEFI, kexec", true, true, 512}} {
		t.Run(c.name, func(t *testing.T) {
			call := imagetest.NewCallback(t, func(int) int { return 204 })
			seed, err := image.Seed(image.SeedOptions{Hostname: "disk-test", InstanceID: "i", FirstBoot: call.FirstBoot})
			require.NoError(t, err)
			breaks := 2 // the transfer breaks twice
			rng := rand.New(rand.NewPCG(1, 1))
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if breaks--; breaks >= 0 {
					breakAtRandom(rng)(w, r, file)
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
			}))
			defer s.Close()
			url := strings.Replace(s.URL, "127.0.0.1", "10.0.2.2", 1)
			source := disk.Source{URL: url, Format: img.Format, SHA256: img.SHA256, Bytes: img.Bytes, RawBytes: img.RawBytes}
			initramfs := testInitramfs(t, modules, map[string]any{"Source": source, "Seed": seed, "Kexec": c.kexec})

			path := oldDisk(t, 256*mib)
			vars := ""
			if c.uefi {
				vars = filepath.Join(t.TempDir(), "vars.fd")
			}
			m := imagetest.Boot(t, path, vars, "-kernel", kernel, "-initrd", initramfs, "-append",
				"console=ttyS0 quiet panic=5 net.ifnames=0")
			m.Expect("init: the kernel sees 3 partitions", 2*time.Minute)
			require.Contains(t, m.Console(), "Resumed:2")
			if !c.kexec {
				m.Expect("init: Boot", time.Minute)
				select { // -no-reboot: the machine stops
				case <-m.Done:
				case <-time.After(time.Minute):
					require.Fail(t, "the machine did not reboot", m.Console())
				}
				m = imagetest.Boot(t, path, vars)
			}
			got := call.Installed(t, m, 2*time.Minute)
			require.Equal(t, "disk-test", got.Hostname)
			if c.kexec {
				require.Contains(t, m.Console(), "init: kexec: /dev/vda partition 2: /boot/grub/grub.cfg: Loda test system")
			} else {
				require.Contains(t, m.Console(), `"Loda test" from HD(2,GPT,`, "the firmware took our entry")
			}
			m.Stop()
			requireGoodTable(t, path)
			fmt.Fprintln(t.Output(), c.name, "reported at uptime", got.Uptime)
		})
	}
}
