package lab_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"testing"
	"time"

	"github.com/mdlayher/packet"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/scripts/need"
)

// up builds a rack that is gone, with all that belongs to it, when the test is over.
func up(t *testing.T, spec lab.Spec) *lab.Rack {
	t.Helper()
	runtimeDir, err := os.MkdirTemp("/run", "lab") // t.TempDir is too long for a socket's path
	require.NoError(t, err)
	rack, err := lab.Up(t.Context(), spec, lab.Options{RuntimeDir: runtimeDir, DataDir: t.TempDir()})
	if err != nil {
		os.RemoveAll(runtimeDir)
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			for _, m := range rack.Machines() {
				text, _ := m.ConsoleText()
				t.Logf("console of %s:\n%s", m.Name(), text)
			}
		}
		require.NoError(t, rack.Down(context.Background()))
		require.NoError(t, os.RemoveAll(runtimeDir))
	})
	return rack
}

// discovers collects the MACs that send a DHCPDISCOVER on the bridge, with their client architecture (option 93).
func discovers(t *testing.T, rack *lab.Rack) <-chan string {
	t.Helper()
	var conn *packet.Conn
	require.NoError(t, rack.In(func() error {
		bridge, err := net.InterfaceByName(rack.Interface())
		if err != nil {
			return err
		}
		conn, err = packet.Listen(bridge, packet.Raw, unix.ETH_P_ALL, nil)
		return err
	}))
	t.Cleanup(func() { conn.Close() })
	found := make(chan string, 100)
	go func() {
		buf := make([]byte, 2048)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			f := buf[:n]
			if n < 14+20+8+240 || binary.BigEndian.Uint16(f[12:]) != unix.ETH_P_IP || f[14+9] != 17 ||
				binary.BigEndian.Uint16(f[14+20+2:]) != 67 {
				continue
			}
			bootp := f[14+20+8:]
			for o := bootp[240:]; len(o) > 1 && o[0] != 255 && len(o) >= 2+int(o[1]); o = o[2+int(o[1]):] {
				if o[0] == 93 {
					found <- fmt.Sprintf("%s arch %d", net.HardwareAddr(bootp[28:34]), binary.BigEndian.Uint16(o[2:]))
				}
			}
		}
	}()
	return found
}

func TestBIOSAndUEFIMachinesAskTheNetworkFirst(t *testing.T) {
	t.Parallel()
	need.QEMU(t)
	spec := lab.Default(3)
	spec.Machines[2].Firmware, spec.Machines[2].Boot = lab.UEFI, lab.BootHTTP
	rack := up(t, spec)
	found := discovers(t, rack)

	want := map[string]bool{}
	for i, arch := range []int{0, 7, 16} {
		m := rack.Machines()[i]
		want[fmt.Sprintf("%s arch %d", m.Spec().NICs[0].MAC, arch)] = true
		require.NoError(t, m.PowerOn(t.Context()))
		require.True(t, m.On())
	}
	begin := time.Now()
	timeout := time.After(3 * time.Minute)
	for len(want) > 0 {
		select {
		case seen := <-found:
			if want[seen] {
				t.Logf("%s after %s", seen, time.Since(begin).Round(100*time.Millisecond))
			}
			delete(want, seen)
		case <-timeout:
			require.Empty(t, want, "machines that never asked")
		}
	}
}
