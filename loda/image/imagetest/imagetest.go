// Package imagetest boots what package image builds, for tests: a QEMU machine with a captured console, a server that
// takes first-boot reports, and Debian's kernel.
package imagetest

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

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/scripts/need"
)

// Callback is a lodad as far as a first boot is concerned. The guest reaches it as 10.0.2.2 (QEMU's user network).
type Callback struct {
	agentapi.FirstBoot
	// Calls are the reports that came.
	Calls chan agentapi.Installed
}

// NewCallback starts a server; status is asked for the answer to each call, counted from 1.
func NewCallback(t *testing.T, status func(call int) int) *Callback {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, IsCA: true,
		BasicConstraintsValid: true, NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature, IPAddresses: []net.IP{net.IPv4(10, 0, 2, 2), net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	c := &Callback{Calls: make(chan agentapi.Installed, 16)}
	n := 0
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var got agentapi.Installed
		if r.Method != http.MethodPost || r.URL.Path != agentapi.PathInstalled || json.NewDecoder(r.Body).Decode(&got) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		n++
		w.WriteHeader(status(n))
		c.Calls <- got
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

// Machine is a QEMU machine with one disk and user-mode networking, in which the host is 10.0.2.2.
type Machine struct {
	t    *testing.T
	mu   sync.Mutex
	text bytes.Buffer
	// Done is closed when the machine has stopped.
	Done chan struct{}
	// Stop takes the power away and waits.
	Stop func()
}

// Boot starts a machine. Its UEFI variables are in the file vars, made if it is missing; empty means BIOS. extra are
// further arguments.
func Boot(t *testing.T, disk, vars string, extra ...string) *Machine {
	t.Helper()
	args := []string{"-nodefaults", "-accel", "tcg,tb-size=128", "-cpu", "max,la57=off", "-m", "768", "-smp", "1", "-display", "none",
		"-serial", "stdio", "-no-reboot",
		"-drive", "file=" + disk + ",format=raw,if=virtio,cache=unsafe",
		"-netdev", "user,id=n,restrict=off", "-device", "virtio-net-pci,netdev=n,romfile=",
		"-device", "virtio-rng-pci"}
	if vars != "" {
		if _, err := os.Stat(vars); err != nil {
			content, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
			require.NoError(t, err)
			require.NoError(t, os.WriteFile(vars, content, 0o600))
		}
		args = append(args, "-machine", "q35", "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
			"-drive", "if=pflash,format=raw,file="+vars)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append(args, extra...)...)
	m := &Machine{t: t, Done: make(chan struct{})}
	m.Stop = func() {
		cancel()
		<-m.Done
	}
	cmd.Stdout, cmd.Stderr = m, m
	require.NoError(t, cmd.Start())
	go func() {
		cmd.Wait()
		close(m.Done)
	}()
	t.Cleanup(func() {
		m.Stop()
		if t.Failed() {
			out := m.Console()
			t.Logf("console:\n%s", out[max(0, len(out)-6000):])
		}
	})
	return m
}

// Write takes the console's output.
func (m *Machine) Write(p []byte) (int, error) {
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

// Console is what was on the serial console so far.
func (m *Machine) Console() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.String()
}

// Expect waits for a text on the serial console.
func (m *Machine) Expect(text string, limit time.Duration) {
	m.t.Helper()
	end := time.Now().Add(limit)
	for !strings.Contains(m.Console(), text) {
		select {
		case <-m.Done:
			require.Contains(m.t, m.Console(), text, "the machine stopped")
			return
		case <-time.After(100 * time.Millisecond):
		}
		if time.Now().After(end) {
			require.Failf(m.t, "not seen on the console", "%q within %v", text, limit)
		}
	}
}

// Installed waits for the report.
func (c *Callback) Installed(t *testing.T, m *Machine, limit time.Duration) agentapi.Installed {
	t.Helper()
	select {
	case got := <-c.Calls:
		return got
	case <-m.Done:
		require.Fail(t, "the machine stopped before it reported")
	case <-time.After(limit):
		require.Failf(t, "no report", "within %v", limit)
	}
	return agentapi.Installed{}
}

// DebianKernel is Debian's kernel for virtual machines, downloaded once and unpacked.
func DebianKernel(t *testing.T) (kernel, modules string) {
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
