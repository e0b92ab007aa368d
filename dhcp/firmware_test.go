//go:build linux

package dhcp_test

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/scripts/need"
)

// The tests of this file have real firmware as the client: SeaBIOS with iPXE in the NIC's ROM, OVMF's own PXE, OVMF's
// HTTP boot. Each is done when the firmware asks for the file that it was told of.

func TestIPXEOfARealROMLoadsItsScriptAtOnce(t *testing.T) {
	f := newFirmware(t)
	f.power("-device", "virtio-net-pci,netdev=n0,mac="+mac(0), "-boot", "n")
	require.Equal(t, "http GET /boot.ipxe", f.asked())
	ack := f.daemon.exchange(line{MAC: mac(0), Asked: request, Answered: acked})
	require.Equal(t, string(dhcp.StageIPXE), ack.Stage)
	require.Equal(t, "http://10.7.0.1/boot.ipxe", ack.BootFile)
	f.oneAddress()
}

func TestPXEOfOVMFAsksForSnponly(t *testing.T) {
	f := newFirmware(t)
	f.power(append(ovmf(t), "-device", "virtio-net-pci,netdev=n0,mac="+mac(0)+",romfile=,bootindex=0")...)
	require.Equal(t, "tftp snponly.efi", f.asked())
	ack := f.daemon.exchange(line{MAC: mac(0), Asked: request, Answered: acked})
	require.Equal(t, string(dhcp.StagePXE), ack.Stage)
	f.oneAddress()
}

func TestHTTPBootOfOVMFAsksForSnponly(t *testing.T) {
	f := newFirmware(t)
	f.power(append(ovmf(t), "-device", "virtio-net-pci,netdev=n0,mac="+mac(0)+",romfile=,bootindex=0",
		"-fw_cfg", "name=opt/org.tianocore/IPv4PXESupport,string=n",
		"-fw_cfg", "name=opt/org.tianocore/IPv6PXESupport,string=n")...)
	require.Equal(t, "http HEAD /boot/snponly.efi", f.asked())
	ack := f.daemon.exchange(line{MAC: mac(0), Asked: request, Answered: acked})
	require.Equal(t, string(dhcp.StageHTTP), ack.Stage)
	f.oneAddress()
}

// firmware is a machine without anything but firmware, in a rack.
type firmware struct {
	t      *testing.T
	rack   *rack
	daemon *daemon
	once   sync.Once
	wish   chan string
}

func newFirmware(t *testing.T) *firmware {
	t.Helper()
	need.QEMU(t)
	return newFirmwareIn(t, newRack(t, 0), setup{Interfaces: []string{"br0"}, Subnets: []dhcp.Subnet{rackSubnet()}})
}

// newFirmwareIn plugs it into a rack.
func newFirmwareIn(t *testing.T, r *rack, cfg setup) *firmware {
	t.Helper()
	f := &firmware{t: t, rack: r, wish: make(chan string, 1)}
	f.daemon = f.rack.server.serve(cfg)
	f.rack.server.run("ip", "tuntap", "add", "tap0", "mode", "tap")
	f.rack.server.run("ip", "link", "set", "tap0", "master", "br0", "up")

	var web net.Listener
	var tftp net.PacketConn
	var err, err2 error
	f.rack.server.inside(func() {
		web, err = net.Listen("tcp4", "10.7.0.1:80")
		tftp, err2 = net.ListenPacket("udp4", "10.7.0.1:69")
	})
	require.NoError(t, err)
	require.NoError(t, err2)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.wished(fmt.Sprintf("http %s %s", r.Method, r.URL))
		http.NotFound(w, r)
	})}
	var both sync.WaitGroup
	both.Go(func() { _ = server.Serve(web) })
	both.Go(func() {
		buf := make([]byte, 1500)
		for {
			n, _, err := tftp.ReadFrom(buf)
			if err != nil {
				return
			}
			if name, _, ok := bytes.Cut(buf[min(2, n):n], []byte{0}); ok {
				f.wished("tftp " + string(name))
			}
		}
	})
	t.Cleanup(func() {
		server.Close()
		tftp.Close()
		both.Wait()
	})
	return f
}

func (f *firmware) wished(what string) { f.once.Do(func() { f.wish <- what }) }

func (f *firmware) power(args ...string) {
	f.t.Helper()
	console := filepath.Join(f.t.TempDir(), "console")
	args = append([]string{"netns", "exec", f.rack.server.name, "qemu-system-x86_64", "-accel", "tcg,tb-size=64",
		"-machine", "q35", "-cpu", "max,la57=off", "-m", "512", "-display", "none", "-nodefaults", "-no-reboot",
		"-serial", "file:" + console, "-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no"}, args...)
	cmd := exec.Command("ip", args...)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(f.t, cmd.Start())
	f.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if f.t.Failed() {
			b, _ := os.ReadFile(console)
			f.t.Logf("QEMU: %s\nconsole: %q\nexchanges: %+v", out.String(), b, f.daemon.exchanges())
		}
	})
}

func (f *firmware) asked() string {
	f.t.Helper()
	select {
	case w := <-f.wish:
		return w
	case <-time.After(3 * time.Minute):
		f.t.Fatal("the firmware asked for no file")
		return ""
	}
}

// oneAddress checks that every answer was about the same address.
func (f *firmware) oneAddress() {
	f.t.Helper()
	es := f.daemon.exchanges()
	for _, e := range es {
		if e.Answered != "" {
			require.Equal(f.t, es[0].Addr, e.Addr)
		}
	}
}

func ovmf(t *testing.T) []string {
	t.Helper()
	b, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
	require.NoError(t, err)
	vars := filepath.Join(t.TempDir(), "vars.fd")
	require.NoError(t, os.WriteFile(vars, b, 0o600))
	return []string{
		"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,format=raw,unit=1,file=" + vars,
	}
}
