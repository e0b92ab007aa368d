package pxe

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

// lossyEnv says that this process is the test, in a network namespace of its own in which packets get lost.
const lossyEnv = "LODA_PXE_TEST_LOSSY"

// inLossyNetwork runs the calling test again as a process in a namespace whose loopback interface loses every fifth
// packet, in both directions. The namespace ends with the process.
func inLossyNetwork(t *testing.T) (inside bool) {
	if os.Getenv(lossyEnv) != "" {
		return true
	}
	need.Root(t)
	need.Command(t, "unshare", "ip", "nft")
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "unshare", "--net", "sh", "-ec", `
		ip link set lo up mtu 1500
		nft 'table inet lossy { chain in { type filter hook input priority 0; numgen random mod 5 == 0 drop; }; }'
		exec "$@"`, "sh", os.Args[0], "-test.run", "^"+t.Name()+"$", "-test.v", "-test.timeout", "3m")
	cmd.Env = append(os.Environ(), lossyEnv+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name(), "it must have run")
	t.Logf("%s", out)
	return false
}

func TestFileArrivesWhereEveryFifthPacketIsLost(t *testing.T) {
	need.Time(t, "waits a second for each lost packet")
	if !inLossyNetwork(t) {
		return
	}
	l := startTFTP(t, &TFTPServer{MaxTransfers: 8})
	l.stop()
	// As a site has it, not with the short patience of the other tests.
	l = startTFTPPatiently(t, &TFTPServer{Files: l.Files})
	want := sha256.Sum256(nbp)

	t.Run("block by block", func(t *testing.T) {
		errs := make(chan error, 4)
		sums := make(chan [32]byte, 4)
		for range 4 {
			go func() {
				got, err := fetchPatiently(l.addr, "snponly.efi", 1)
				sums <- sha256.Sum256(got)
				errs <- err
			}()
		}
		for range 4 {
			require.NoError(t, <-errs)
			require.Equal(t, want, <-sums)
		}
		for _, got := range l.seen.wait(t, 4) {
			require.True(t, got.Complete(), "%+v", got)
			require.Equal(t, 1450, got.BlockSize)
			require.GreaterOrEqual(t, got.Retransmits, 10, "137 blocks, a third of whose round trips fail")
			t.Logf("%d bytes, %d packets sent again, %v", got.Bytes, got.Retransmits, got.Duration.Round(time.Millisecond))
		}
	})
	t.Run("in windows", func(t *testing.T) {
		got, err := fetchPatiently(l.addr, "snponly.efi", 8)
		require.NoError(t, err)
		require.Equal(t, want, sha256.Sum256(got))
		seen := l.seen.wait(t, 5)[4]
		require.True(t, seen.Complete(), "%+v", seen)
		require.Equal(t, 8, seen.WindowSize)
		require.Positive(t, seen.Retransmits)
		t.Logf("%d bytes, %d packets sent again, %v", seen.Bytes, seen.Retransmits, seen.Duration.Round(time.Millisecond))
	})
}

// fetchPatiently is a client as firmware is: it acknowledges again what comes again, and repeats itself after a second.
// With a window it acknowledges the last block of one, and at once where one is missing (RFC 7440 section 4).
func fetchPatiently(server *net.UDPAddr, name string, window int) ([]byte, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: server.IP})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	request := []byte("\x00\x01" + name + "\x00octet\x00blksize\x001450\x00tsize\x000\x00")
	if window > 1 {
		request = append(request, "windowsize\x00"+strconv.Itoa(window)+"\x00"...)
	}
	say, to := request, server
	ack := func(number int) { say = binary.BigEndian.AppendUint16([]byte{0, 4}, uint16(number)) }
	buffer := make([]byte, 2000)
	var file []byte
	next, inWindow, speak := 1, 0, true
	for silent := 0; silent < 20; {
		if speak {
			if _, err := conn.WriteToUDP(say, to); err != nil {
				return nil, err
			}
		}
		if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
			return nil, err
		}
		n, from, err := conn.ReadFromUDP(buffer)
		if err != nil {
			silent, inWindow, speak = silent+1, 0, true
			continue
		}
		silent, to = 0, from
		number := 0
		switch buffer[1] {
		case 3:
			number = int(binary.BigEndian.Uint16(buffer[2:]))
		case 5:
			return nil, fmt.Errorf("server: %s", buffer[4:n])
		}
		gap := number != next
		if !gap {
			file = append(file, buffer[4:n]...)
			next++
			inWindow++
			if n < 4+1450 {
				ack(number)
				for range 10 { // its last word gets lost, too
					_, _ = conn.WriteToUDP(say, to)
				}
				return file, nil
			}
		}
		if speak = gap || inWindow == window; speak {
			ack(next - 1)
			inWindow = 0
		}
	}
	return nil, errors.New("the server fell silent")
}
