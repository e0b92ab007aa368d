//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

// inNamespace makes this test binary the program, in the network namespace in which it was started: its directory.
const inNamespace = "TEST_BINARY_IS_PROXY_BESIDE_DNSMASQ"

func TestMain(m *testing.M) {
	if dir := os.Getenv(inNamespace); dir != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		s := server{link: "br0", subnet: netip.MustParsePrefix("10.7.0.0/24"), dir: dir, kernel: "vmlinuz", args: "quiet"}
		if err := s.run(ctx); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// A link has dnsmasq, this program and machines on it, each in a namespace of its own; machines in QEMU are in ours.
type link struct {
	t                    *testing.T
	dir                  string
	dnsmasq, ours, other string // namespaces
}

func (l *link) must(line string) {
	l.t.Helper()
	out, err := exec.Command("sh", "-c", line).CombinedOutput()
	require.NoError(l.t, err, "%s: %s", line, out)
}

// start runs a command in a namespace until the test ends, and keeps what it says.
func (l *link) start(namespace, log string, env string, words ...string) *exec.Cmd {
	l.t.Helper()
	file, err := os.Create(filepath.Join(l.dir, log))
	require.NoError(l.t, err)
	cmd := exec.Command("ip", append([]string{"netns", "exec", namespace}, words...)...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), env), file, file
	require.NoError(l.t, cmd.Start())
	l.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(10*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		kill.Stop()
		_ = file.Close()
		if l.t.Failed() {
			l.t.Logf("%s:\n%s", log, l.said(log))
		}
	})
	return cmd
}

func (l *link) said(log string) string {
	text, _ := os.ReadFile(filepath.Join(l.dir, log))
	return string(text)
}

func (l *link) await(log, what string) {
	l.t.Helper()
	require.Eventually(l.t, func() bool { return strings.Contains(l.said(log), what) }, 90*time.Second, 100*time.Millisecond,
		"%s does not say %q", log, what)
}

func newLink(t *testing.T) *link {
	t.Helper()
	need.QEMU(t)
	need.Command(t, "dnsmasq", "udhcpc")
	name := func(what string) string { return fmt.Sprintf("loda-proxy-%d-%s", os.Getpid(), what) }
	l := &link{t: t, dir: t.TempDir(), dnsmasq: name("d"), ours: name("p"), other: name("o")}
	for _, ns := range []string{l.dnsmasq, l.ours, l.other} {
		l.must("ip netns add " + ns)
		t.Cleanup(func() { l.must("ip netns del " + ns) })
	}
	l.must("ip -n " + l.ours + " link add br0 type bridge && ip -n " + l.ours + " addr add 10.7.0.5/24 dev br0 && " +
		"ip -n " + l.ours + " link set br0 up && ip -n " + l.ours + " tuntap add tap0 mode tap && " +
		"ip -n " + l.ours + " link set tap0 master br0 up")
	for port, ns := range map[string]string{"d0": l.dnsmasq, "o0": l.other} {
		l.must("ip link add " + port + " netns " + l.ours + " type veth peer name eth0 netns " + ns + " && " +
			"ip -n " + l.ours + " link set " + port + " master br0 up && ip -n " + ns + " link set eth0 up")
	}
	l.must("ip -n " + l.dnsmasq + " addr add 10.7.0.1/24 dev eth0")

	files := filepath.Join(l.dir, "files")
	require.NoError(t, os.Mkdir(files, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(files, "vmlinuz"), []byte("no kernel, but it is fetched"), 0o644))
	self, err := os.Executable()
	require.NoError(t, err)
	l.start(l.ours, "proxy.log", inNamespace+"="+files, self)
	l.start(l.dnsmasq, "dnsmasq.log", "LC_ALL=C", "dnsmasq", "--keep-in-foreground", "--log-facility=-", "--log-dhcp", "--conf-file=/dev/null",
		"--port=0", "--user=root", "--interface=eth0", "--dhcp-range=10.7.0.100,10.7.0.120", "--dhcp-authoritative",
		"--dhcp-leasefile="+filepath.Join(l.dir, "leases"), "--pid-file="+filepath.Join(l.dir, "pid"))
	l.await("dnsmasq.log", "DHCP, IP range 10.7.0.100")
	return l
}

func TestMachinesGetTheirAddressesFromDnsmasqAndBootWhatWeSay(t *testing.T) {
	for name, firmware := range map[string]string{
		"BIOS with iPXE in its ROM": "-device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:07 -boot n",
		"UEFI's own PXE": "-device virtio-net-pci,netdev=n0,mac=52:54:00:00:00:07,romfile=,bootindex=0 " +
			"-drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd " +
			"-drive if=pflash,format=raw,unit=1,snapshot=on,file=/usr/share/OVMF/OVMF_VARS_4M.fd " +
			"-fw_cfg name=opt/org.tianocore/IPv6PXESupport,string=n",
	} {
		t.Run(name, func(t *testing.T) {
			l := newLink(t)
			l.start(l.ours, "qemu.log", "LC_ALL=C", strings.Fields("qemu-system-x86_64 -machine q35 -accel tcg,tb-size=64 "+
				"-cpu max,la57=off -m 256 -display none -nodefaults -no-reboot -serial stdio "+
				"-netdev tap,id=n0,ifname=tap0,script=no,downscript=no "+firmware)...)
			l.await("proxy.log", "path=/artifacts/vmlinuz client=10.7.0.1")
			require.Contains(t, l.said("proxy.log"), "DISCOVER mac=52:54:00:00:00:07 answered=OFFER")
			require.NotContains(t, l.said("proxy.log"), "REQUEST mac=52:54:00:00:00:07 answered=NAK")
			require.Regexp(t, `DHCPACK\(eth0\) 10\.7\.0\.1\d\d 52:54:00:00:00:07`, l.said("dnsmasq.log"))
		})
	}
}

func TestWhoDoesNotNetbootHearsNothingOfUs(t *testing.T) {
	l := newLink(t)
	l.must("ip -n " + l.other + " link set eth0 address 52:54:00:00:00:08")
	l.start(l.other, "udhcpc.log", "LC_ALL=C", "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-s", "/bin/true")
	l.await("udhcpc.log", "obtained from 10.7.0.1,")
	l.await("proxy.log", "DISCOVER mac=52:54:00:00:00:08")
	l.await("proxy.log", "REQUEST mac=52:54:00:00:00:08")
	require.NotContains(t, l.said("proxy.log"), "answered=OFFER")
	require.NotContains(t, l.said("proxy.log"), "answered=ACK")
}
