package image_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/image/fat"
	"github.com/project-loda/loda/loda/image/gpt"
	"github.com/project-loda/loda/scripts/need"
)

// callback is a lodad as far as a first boot is concerned. The guest reaches it as 10.0.2.2 (QEMU's user network).
type callback struct {
	agentapi.FirstBoot
	calls chan agentapi.Installed
}

func newCallback(t *testing.T, status func(call int) int) *callback {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(10, 0, 2, 2), net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	c := &callback{calls: make(chan agentapi.Installed, 16)}
	n := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got agentapi.Installed
		if r.Method != http.MethodPost || r.URL.Path != agentapi.PathInstalled || json.NewDecoder(r.Body).Decode(&got) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		n++
		w.WriteHeader(status(n))
		c.calls <- got
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	c.Secret = "s3cret-\"quoted\"-ü"
	c.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	require.NoError(t, err)
	// The first URL leads nowhere: they are tried in turn.
	c.URLs = []string{"https://10.0.2.2:1" + agentapi.PathInstalled, "https://10.0.2.2:" + port + agentapi.PathInstalled}
	return c
}

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

// machine is a QEMU machine with one disk.
type machine struct {
	t    *testing.T
	mu   sync.Mutex
	text bytes.Buffer
	done chan struct{}
	stop func()
}

func boot(t *testing.T, disk string, uefi bool, extra ...string) *machine {
	t.Helper()
	args := []string{"-nodefaults", "-accel", "tcg,tb-size=128", "-cpu", "max,la57=off", "-m", "768", "-smp", "1", "-display", "none",
		"-serial", "stdio", "-no-reboot",
		"-drive", "file=" + disk + ",format=raw,if=virtio,cache=unsafe",
		"-netdev", "user,id=n,restrict=off", "-device", "virtio-net-pci,netdev=n,romfile=",
		"-device", "virtio-rng-pci"}
	if uefi {
		vars := filepath.Join(t.TempDir(), "vars.fd")
		content, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(vars, content, 0o600))
		args = append(args, "-machine", "q35", "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
			"-drive", "if=pflash,format=raw,file="+vars)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append(args, extra...)...)
	m := &machine{t: t, done: make(chan struct{})}
	m.stop = func() {
		cancel()
		<-m.done
	}
	cmd.Stdout, cmd.Stderr = m, m
	require.NoError(t, cmd.Start())
	go func() {
		cmd.Wait()
		close(m.done)
	}()
	t.Cleanup(func() {
		m.stop()
		if t.Failed() {
			out := m.console()
			t.Logf("console:\n%s", out[max(0, len(out)-6000):])
		}
	})
	return m
}

func (m *machine) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if file := os.Getenv("LODA_TEST_CONSOLE"); file != "" {
		if f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err == nil {
			f.Write(p)
			f.Close()
		}
	}
	return m.text.Write(p)
}

func (m *machine) console() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

// expect waits for a text on the serial console.
func (m *machine) expect(text string, limit time.Duration) {
	m.t.Helper()
	end := time.Now().Add(limit)
	for !strings.Contains(m.console(), text) {
		select {
		case <-m.done:
			require.Contains(m.t, m.console(), text, "the machine stopped")
			return
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(end) {
			require.Failf(m.t, "not seen on the console", "%q within %v", text, limit)
		}
	}
}

// installed waits for the report.
func (c *callback) installed(t *testing.T, m *machine, limit time.Duration) agentapi.Installed {
	t.Helper()
	select {
	case got := <-c.calls:
		return got
	case <-m.done:
		require.Fail(t, "the machine stopped before it reported")
	case <-time.After(limit):
		require.Failf(t, "no report", "within %v", limit)
	}
	return agentapi.Installed{}
}

func firmwares() map[string]bool { return map[string]bool{"BIOS": false, "UEFI": true} }

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
	for name, uefi := range firmwares() {
		t.Run(name, func(t *testing.T) {
			c := newCallback(t, func(int) int { return http.StatusNoContent })
			seed, err := image.Seed(image.SeedOptions{Hostname: "node-7.rack.example", InstanceID: "inst-1", FirstBoot: c.FirstBoot,
				BuiltinDHCP: img.BuiltinDHCP && uefi, // once each way
				SSHKeys:     []string{"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ operator@desk: \"x\""},
				UserData: "#cloud-config\nruncmd:\n- [sh, -c, 'echo KEYS=$(cat /home/debian/.ssh/authorized_keys | wc -l) " +
					"ROOT=$(df -BM --output=size / | tail -1) ID=$(cat /etc/machine-id | wc -c) > /dev/ttyS0']\n"})
			require.NoError(t, err)
			start := time.Now()
			m := boot(t, machineDisk(t, d, img, 3<<30, seed), uefi)
			got := c.installed(t, m, 5*time.Minute)
			t.Logf("%s: reported after %.0f s: %+v", name, time.Since(start).Seconds(), got)
			require.Equal(t, c.Secret, got.Secret)
			require.Equal(t, "node-7", got.Hostname)
			require.Equal(t, "10.0.2.15", got.Address)
			require.Contains(t, got.Kernel, "amd64")
			require.Greater(t, got.Uptime, 1.0)
			m.expect("node-7 login:", time.Minute)
			m.expect("KEYS=1", time.Minute)
			var mb int
			_, err = fmt.Sscanf(m.console()[strings.Index(m.console(), "ROOT=")+5:], "%dM", &mb)
			require.NoError(t, err)
			require.Greater(t, mb, 2700, "the root file system grew up to the seed's partition")
			require.Contains(t, m.console(), "ID=33")
		})
	}
}

// debianKernel is Debian's kernel for virtual machines, downloaded once and unpacked.
func debianKernel(t *testing.T) (kernel, modules string) {
	t.Helper()
	need.Command(t, "apt-get", "apt-cache", "dpkg-deb")
	cache, err := os.UserCacheDir()
	require.NoError(t, err)
	dir := filepath.Join(cache, "loda-test", "kernel")
	find := func() bool {
		kernels, _ := filepath.Glob(dir + "/boot/vmlinuz-*")
		trees, _ := filepath.Glob(dir + "/lib/modules/*")
		if len(kernels) == 1 && len(trees) == 1 {
			kernel, modules = kernels[0], trees[0]
		}
		return kernel != ""
	}
	if find() {
		return kernel, modules
	}
	out, err := exec.Command("apt-cache", "depends", "linux-image-cloud-amd64").Output()
	require.NoError(t, err)
	var name string
	for line := range strings.Lines(string(out)) {
		if _, dep, ok := strings.Cut(line, "Depends: "); ok {
			name = strings.TrimSpace(dep)
			break
		}
	}
	tmp := t.TempDir()
	cmd := exec.Command("apt-get", "download", name)
	cmd.Dir = tmp
	out, err = cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	debs, err := filepath.Glob(tmp + "/*.deb")
	require.NoError(t, err)
	require.Len(t, debs, 1)
	require.NoError(t, os.MkdirAll(filepath.Dir(dir), 0o755))
	part, err := os.MkdirTemp(filepath.Dir(dir), "part-")
	require.NoError(t, err)
	out, err = exec.Command("dpkg-deb", "-x", debs[0], part).CombinedOutput()
	require.NoError(t, err, string(out))
	os.RemoveAll(dir)
	require.NoError(t, os.Rename(part, dir))
	require.True(t, find())
	return kernel, modules
}

func TestTheTestSystemBootsInSecondsByBIOSAndUEFIAndReportsOnce(t *testing.T) {
	need.QEMU(t)
	need.Command(t, "grub-mkimage")
	kernel, tree := debianKernel(t)
	modules, err := image.TinyModules(tree)
	require.NoError(t, err)
	d, err := image.Open(t.TempDir())
	require.NoError(t, err)
	img, err := image.BuildTiny(t.Context(), image.TinyOptions{Dir: d, Name: "tiny", Kernel: kernel, Modules: modules})
	require.NoError(t, err)
	require.Less(t, img.Bytes, int64(20<<20))
	t.Logf("%d KiB, unpacked %d KiB", img.Bytes>>10, img.RawBytes>>10)
	for name, uefi := range firmwares() {
		t.Run(name, func(t *testing.T) {
			// The first answers are those of a server that is just starting.
			c := newCallback(t, func(call int) int { return []int{503, 502, 204}[min(call-1, 2)] })
			seed, err := image.Seed(image.SeedOptions{Hostname: "tiny-1.example", InstanceID: "i-1", FirstBoot: c.FirstBoot})
			require.NoError(t, err)
			disk := machineDisk(t, d, img, 256<<20, seed)
			start := time.Now()
			m := boot(t, disk, uefi)
			for range 3 {
				got := c.installed(t, m, 2*time.Minute)
				require.Equal(t, c.Secret, got.Secret)
				require.Equal(t, "tiny-1", got.Hostname)
				require.Equal(t, "10.0.2.15", got.Address)
				require.NotEmpty(t, got.Kernel)
			}
			t.Logf("%s: reported after %.1f s", name, time.Since(start).Seconds())
			m.expect("tiny-1 login:", 30*time.Second)
			m.stop()

			m = boot(t, disk, uefi)
			m.expect("tiny-1 login:", 2*time.Minute)
			require.Contains(t, m.console(), "has reported before")
			require.Empty(t, c.calls)
		})
	}
}
