package pxe

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pin/tftp/v3"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"

	"github.com/project-loda/loda/scripts/need"
)

var nbp = bytes.Repeat([]byte("0123456789abcdef"), 12345) // 197,520 bytes, about snponly.efi

// A tftpLab is a server that runs until the test ends.
type tftpLab struct {
	*TFTPServer
	addr *net.UDPAddr
	seen *transfers
	log  *lockedBuffer
	stop func() error
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func startTFTP(t *testing.T, s *TFTPServer) *tftpLab {
	t.Helper()
	dir := tree(t, map[string]string{"snponly.efi": string(nbp), "empty.efi": "", "block.efi": string(nbp[:1024])})
	require.NoError(t, os.Symlink("../secret.efi", filepath.Join(dir, "out.efi")))
	if s.Files == nil {
		s.Files = openDir(t, dir)
	}
	s.timeout = 200 * time.Millisecond // four seconds until a silent client is given up
	return startTFTPPatiently(t, s)
}

func startTFTPPatiently(t *testing.T, s *TFTPServer) *tftpLab {
	t.Helper()
	lab := &tftpLab{TFTPServer: s, seen: &transfers{}, log: &lockedBuffer{}}
	if s.Observe == nil {
		s.Observe = lab.seen.observe
	}
	s.Logger = slog.New(slog.NewTextHandler(lab.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	// A packet that arrives before the server has asked for this would not say which interface it came by, and be
	// answered in blocks of 512 bytes.
	require.NoError(t, ipv4.NewPacketConn(conn).SetControlMessage(ipv4.FlagDst|ipv4.FlagInterface, true))
	lab.addr = conn.LocalAddr().(*net.UDPAddr)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, conn) }()
	lab.stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() { require.NoError(t, lab.stop()) })
	return lab
}

func (l *tftpLab) fetch(t *testing.T, name string, blksize int) ([]byte, int64, error) {
	t.Helper()
	c, err := tftp.NewClient(l.addr.String())
	require.NoError(t, err)
	c.SetTimeout(2 * time.Second)
	if blksize != 0 {
		c.SetBlockSize(blksize)
	}
	c.RequestTSize(true)
	w, err := c.Receive(name, "octet")
	if err != nil {
		return nil, 0, err
	}
	size, _ := w.(tftp.IncomingTransfer).Size()
	var b bytes.Buffer
	_, err = w.WriteTo(&b)
	return b.Bytes(), size, err
}

// A romClient speaks TFTP packet by packet, for what well-behaved clients do not do.
type romClient struct {
	t    *testing.T
	conn *net.UDPConn
	tid  *net.UDPAddr
}

func (l *tftpLab) rom(t *testing.T) *romClient {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return &romClient{t: t, conn: conn, tid: l.addr}
}

// request sends an RRQ or WRQ with options.
func (c *romClient) request(op byte, words ...string) {
	c.t.Helper()
	c.send(append([]byte{0, op}, strings.Join(words, "\x00")+"\x00"...))
}

func (c *romClient) send(p []byte) {
	c.t.Helper()
	_, err := c.conn.WriteToUDP(p, c.tid)
	require.NoError(c.t, err)
}

func (c *romClient) ack(block uint16) {
	c.t.Helper()
	c.send(binary.BigEndian.AppendUint16([]byte{0, 4}, block))
}

// receive returns the next packet's opcode and the rest.
func (c *romClient) receive() (byte, []byte) {
	c.t.Helper()
	b := make([]byte, 70000)
	require.NoError(c.t, c.conn.SetReadDeadline(time.Now().Add(20*time.Second)))
	n, from, err := c.conn.ReadFromUDP(b)
	require.NoError(c.t, err)
	c.tid = from
	return b[1], b[2:n]
}

// oack returns the options that the server agreed to.
func (c *romClient) oack() map[string]string {
	c.t.Helper()
	op, b := c.receive()
	require.EqualValues(c.t, 6, op, "%q", b)
	words := strings.Split(strings.TrimSuffix(string(b), "\x00"), "\x00")
	opts := map[string]string{}
	for i := 0; i+1 < len(words); i += 2 {
		opts[words[i]] = words[i+1]
	}
	return opts
}

func TestTFTPClientGetsTheFileInBlocksOfItsSize(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	for _, blksize := range []int{0, 512, 1024, 1428, 1450, 1468, 8192, 65464} {
		got, size, err := l.fetch(t, "snponly.efi", blksize)
		require.NoError(t, err, blksize)
		require.Equal(t, sha256.Sum256(nbp), sha256.Sum256(got), blksize)
		require.EqualValues(t, len(nbp), size, "tsize")
	}
	for _, name := range []string{"/snponly.efi", "block.efi", "empty.efi"} {
		_, _, err := l.fetch(t, name, 512)
		require.NoError(t, err, name)
	}
	for _, got := range l.seen.wait(t, 11) {
		require.True(t, got.Complete(), "%+v", got)
		require.True(t, got.NBP())
		require.Equal(t, "tftp", got.Protocol)
		require.Equal(t, netip.MustParseAddr("127.0.0.1"), got.Client)
		require.Positive(t, got.Duration)
	}
}

func TestTFTPBlockSizeIsClamped(t *testing.T) {
	for limit, asks := range map[int]map[string]string{
		0:    {"1468": "1450", "1450": "1450", "1024": "1024", "512": "512", "511": "", "8": "", "0": "", "-1": "", "x": ""},
		1400: {"1428": "1400", "65464": "1400"},
		8000: {"65464": "8000"},
	} {
		l := startTFTP(t, &TFTPServer{BlockSize: limit})
		for ask, want := range asks {
			c := l.rom(t)
			c.request(1, "snponly.efi", "octet", "tsize", "0", "blksize", ask)
			opts := c.oack()
			require.Equal(t, want, opts["blksize"], "limit %d, asked for %s", limit, ask)
			require.Equal(t, fmt.Sprint(len(nbp)), opts["tsize"])
			c.ack(0)
			op, b := c.receive()
			require.EqualValues(t, 3, op)
			size := 512
			if want != "" {
				fmt.Sscan(want, &size)
			}
			require.Len(t, b, 2+size)
			c.send([]byte{0, 5, 0, 0, 0})
		}
	}
	tooSmall := &TFTPServer{Addr: "127.0.0.1:0", BlockSize: 512}
	require.ErrorContains(t, tooSmall.ListenAndServe(t.Context()), "513 to 65464")
}

func TestTFTPServesNothingButTheFiles(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	names := []string{"../secret.efi", "/etc/passwd", "out.efi", ".", "/", "", "sub/../../secret.efi", `..\secret.efi`}
	for _, name := range names {
		_, _, err := l.fetch(t, name, 0)
		require.ErrorContains(t, err, "file not found", name)
	}
	for _, got := range l.seen.wait(t, len(names)) {
		require.ErrorIs(t, got.Err, fs.ErrNotExist)
		require.False(t, got.NBP())
	}
	c, err := tftp.NewClient(l.addr.String())
	require.NoError(t, err)
	_, err = c.Send("snponly.efi", "octet")
	require.ErrorContains(t, err, "does not support write requests")
}

func TestTFTPQuietlyDeniesAutoexec(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	start := time.Now()
	_, _, err := l.fetch(t, "autoexec.ipxe", 1432)
	require.ErrorContains(t, err, "file not found")
	require.Less(t, time.Since(start), time.Second, "iPXE waits for this answer")
	l.seen.wait(t, 1)
	require.NotContains(t, l.log.String(), "level=WARN")
	require.NotContains(t, l.log.String(), "level=ERROR")
	_, _, err = l.fetch(t, "other.ipxe", 1432)
	require.Error(t, err)
	l.seen.wait(t, 2)
	require.Contains(t, l.log.String(), "level=WARN")
}

func TestFirmwareThatProbesTheSizeIsNoFailure(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	c := l.rom(t)
	c.request(1, "snponly.efi", "octet", "tsize", "0", "blksize", "1468")
	c.oack()
	c.send([]byte("\x00\x05\x00\x08User aborted the transfer\x00")) // as OVMF does
	got := l.seen.wait(t, 1)[0]
	require.True(t, got.Aborted)
	require.NoError(t, got.Err)
	require.Zero(t, got.Bytes)
	require.False(t, got.NBP())
	require.NotContains(t, l.log.String(), "level=WARN")

	c = l.rom(t)
	c.request(1, "snponly.efi", "octet")
	c.receive()
	c.send([]byte("\x00\x05\x00\x00no memory\x00"))
	got = l.seen.wait(t, 2)[1]
	require.True(t, got.Aborted, "in the middle it is worth a warning")
	require.EqualValues(t, 512, got.Bytes)
	require.Contains(t, l.log.String(), "level=WARN")
}

func TestLostAcknowledgementIsRepeatedAndSilentClientIsGivenUp(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	c := l.rom(t)
	c.request(1, "block.efi", "octet")
	_, first := c.receive()
	_, again := c.receive()
	require.Equal(t, first, again, "no answer: the block is sent again")
	c.ack(1)
	_, second := c.receive()
	require.Equal(t, []byte{0, 2}, second[:2])
	start := time.Now()
	got := l.seen.wait(t, 1)[0]
	require.Less(t, time.Since(start), 15*time.Second)
	require.ErrorContains(t, got.Err, "stopped acknowledging")
	require.False(t, got.Complete())
}

func TestTFTPTransferTimeoutEndsAClientThatCrawls(t *testing.T) {
	l := startTFTP(t, &TFTPServer{TransferTimeout: 50 * time.Millisecond})
	c := l.rom(t)
	c.request(1, "snponly.efi", "octet")
	for block := uint16(1); ; block++ {
		op, b := c.receive()
		if op == 5 {
			require.Contains(t, string(b), "the server ended the transfer")
			break
		}
		time.Sleep(20 * time.Millisecond)
		c.ack(block)
	}
	require.ErrorContains(t, l.seen.wait(t, 1)[0].Err, "took longer than 50ms")
}

func TestTransfersBeyondTheLimitWaitForTheirTurn(t *testing.T) {
	l := startTFTP(t, &TFTPServer{MaxTransfers: 2})
	running := []*romClient{l.rom(t), l.rom(t)}
	for _, c := range running {
		c.request(1, "snponly.efi", "octet")
		c.receive()
	}
	waiting := []*romClient{l.rom(t), l.rom(t)}
	for _, c := range waiting {
		c.request(1, "block.efi", "octet")
	}
	time.Sleep(300 * time.Millisecond) // until both are in the queue
	fifth := l.rom(t)
	fifth.request(1, "block.efi", "octet")
	op, text := fifth.receive()
	require.EqualValues(t, 5, op)
	require.Contains(t, string(text), "the server is busy")
	for _, c := range running {
		c.send([]byte{0, 5, 0, 0, 0})
	}
	for _, c := range waiting {
		op, _ := c.receive()
		require.EqualValues(t, 3, op, "its turn has come")
		c.ack(1)
		c.receive()
		c.ack(2)
	}
}

func TestHundredMachinesLoadAtOnce(t *testing.T) {
	l := startTFTP(t, &TFTPServer{MaxTransfers: 64})
	var wg sync.WaitGroup
	errs := make(chan error, 100)
	for range 100 {
		wg.Go(func() {
			got, _, err := l.fetch(t, "snponly.efi", 1428)
			if err == nil && !bytes.Equal(got, nbp) {
				err = errors.New("damaged")
			}
			errs <- err
		})
	}
	wg.Wait()
	for range 100 {
		require.NoError(t, <-errs)
	}
	require.Len(t, l.seen.wait(t, 100), 100)
}

func TestTFTPServerLeavesNothingBehind(t *testing.T) {
	before := runtime.NumGoroutine()
	l := startTFTP(t, &TFTPServer{})
	c := l.rom(t)
	c.request(1, "snponly.efi", "octet")
	c.receive()
	go func() {
		time.Sleep(100 * time.Millisecond)
		c.ack(1)
	}()
	require.NoError(t, l.stop())
	require.Len(t, l.seen.list(), 1, "the running transfer was ended and observed before Serve returned")
	require.ErrorIs(t, l.seen.list()[0].Err, context.Canceled)
	stacks := make([]byte, 1<<20)
	require.Eventually(t, func() bool {
		stacks = stacks[:runtime.Stack(stacks[:cap(stacks)], true)]
		return runtime.NumGoroutine() <= before+1 // Eventually has one for itself
	}, 5*time.Second, 10*time.Millisecond, "%s", stacks)
	_, err := net.ListenUDP("udp4", l.addr)
	require.NoError(t, err, "the socket is free again")
}

func TestTFTPListensWhereItIsTold(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		s := &TFTPServer{Addr: addr, Files: &Files{}, Logger: quiet()}
		go func() { done <- s.ListenAndServe(ctx) }()
		time.Sleep(50 * time.Millisecond)
		cancel()
		require.NoError(t, <-done, addr)
	}
	err := (&TFTPServer{Addr: "192.0.2.1:0", Files: &Files{}}).ListenAndServe(t.Context())
	require.ErrorContains(t, err, "listening for TFTP")
}

func TestWindowIsNegotiatedAndBlocksAfterAGapAreSentAgain(t *testing.T) {
	l := startTFTP(t, &TFTPServer{WindowSize: 4})
	c := l.rom(t)
	c.request(1, "block.efi", "octet", "WindowSize", "16", "BLKSIZE", "512", "Timeout", "7", "unheard-of", "1")
	require.Equal(t, map[string]string{"windowsize": "4", "blksize": "512", "timeout": "7"}, c.oack(),
		"names are compared without regard to case, what is unknown is not answered")
	c.ack(0)
	data := func(block byte, n int) {
		t.Helper()
		op, b := c.receive()
		require.EqualValues(t, 3, op)
		require.Equal(t, []byte{0, block}, b[:2])
		require.Len(t, b, 2+n)
	}
	data(1, 512)
	data(2, 512)
	data(3, 0)
	c.ack(1) // 2 was lost on the way
	data(2, 512)
	data(3, 0)
	c.ack(1) // said once more as 3 came early: those on their way are not sent a third time
	c.ack(3)
	got := l.seen.wait(t, 1)[0]
	require.True(t, got.Complete(), "%+v", got)
	require.Equal(t, 2, got.Retransmits)
	require.Equal(t, 4, got.WindowSize)
	require.Equal(t, 512, got.BlockSize)

	c = l.rom(t)
	c.request(1, "block.efi", "octet", "windowsize", "8", "blksize", "512")
	c.oack()
	c.ack(0)
	data(1, 512)
	data(2, 512)
	data(3, 0)
	c.ack(0) // all were lost, and the client says so before a timer does
	data(1, 512)
	data(2, 512)
	data(3, 0)
	c.ack(3)
	require.True(t, l.seen.wait(t, 2)[1].Complete())
}

func TestOptionsOutOfRangeAreAsIfNotAsked(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	for _, option := range [][2]string{
		{"windowsize", "0"}, {"windowsize", "65536"}, {"windowsize", "x"}, {"timeout", "0"}, {"timeout", "256"},
		{"timeout", ""}, {"blksize", "65465"}, {"blksize", "99999999999999999999"},
	} {
		c := l.rom(t)
		c.request(1, "block.efi", "octet", option[0], option[1])
		op, b := c.receive()
		require.EqualValues(t, 3, op, "%v: data at once", option)
		require.Len(t, b, 2+512)
		c.send([]byte{0, 5, 0, 0, 0})
	}
}

func TestRepeatedAcknowledgementIsNoSorcerersApprentice(t *testing.T) {
	l := startTFTPPatiently(t, &TFTPServer{Files: startTFTP(t, &TFTPServer{}).Files})
	c := l.rom(t)
	c.request(1, "block.efi", "octet")
	c.receive()
	c.ack(1)
	c.receive()
	c.ack(1)
	c.ack(1)
	require.NoError(t, c.conn.SetReadDeadline(time.Now().Add(100*time.Millisecond)))
	_, _, err := c.conn.ReadFromUDP(make([]byte, 1000))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded, "RFC 1123, section 4.2.3.1")
}

func TestRepeatedRequestDoesNotBeginASecondTransfer(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	c := l.rom(t)
	for range 3 {
		c.request(1, "block.efi", "octet")
	}
	c.receive()
	server := c.tid
	c.tid = l.addr
	c.request(1, "block.efi", "octet")
	c.receive()
	require.Equal(t, server.Port, c.tid.Port, "it is the same block of the same transfer")
	c.ack(1)
	c.receive()

	c.tid = l.addr
	c.request(1, "block.efi", "octet")
	_, b := c.receive()
	require.Equal(t, []byte{0, 1}, b[:2], "it began anew with the same port, as a machine that was reset does")
	require.NotEqual(t, server.Port, c.tid.Port)
	require.True(t, l.seen.wait(t, 1)[0].Aborted)
	for block := uint16(1); block < 3; block++ {
		c.ack(block)
		c.receive()
	}
	c.ack(3)
	require.True(t, l.seen.wait(t, 2)[1].Complete())
}

func TestClientThatClosedItsPortIsNotWaitedFor(t *testing.T) {
	l := startTFTPPatiently(t, &TFTPServer{Files: startTFTP(t, &TFTPServer{}).Files})
	c := l.rom(t)
	c.request(1, "snponly.efi", "octet")
	c.receive()
	c.ack(1)
	require.NoError(t, c.conn.Close())
	start := time.Now()
	require.ErrorContains(t, l.seen.wait(t, 1)[0].Err, "the client closed its port")
	require.Less(t, time.Since(start), 5*time.Second)
}

func TestOneClientCannotTakeAllTransfers(t *testing.T) {
	l := startTFTP(t, &TFTPServer{MaxPerClient: 2})
	for range 2 {
		c := l.rom(t)
		c.request(1, "snponly.efi", "octet")
		c.receive()
	}
	third := l.rom(t)
	third.request(1, "block.efi", "octet")
	require.NoError(t, third.conn.SetReadDeadline(time.Now().Add(300*time.Millisecond)))
	_, _, err := third.conn.ReadFromUDP(make([]byte, 1000))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Contains(t, l.log.String(), "as many transfers as it may")

	other, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)})
	require.NoError(t, err)
	t.Cleanup(func() { other.Close() })
	c := &romClient{t: t, conn: other, tid: l.addr}
	c.request(1, "block.efi", "octet")
	op, _ := c.receive()
	require.EqualValues(t, 3, op, "others are served")

	l.seen.wait(t, 2) // both fell silent
	third.request(1, "block.efi", "octet")
	op, _ = third.receive()
	require.EqualValues(t, 3, op, "its repeated request finds room")
}

func TestSiteChoosesTheFileByWhoAsks(t *testing.T) {
	release := make(chan struct{})
	asked := make(chan TFTPRequest, 10)
	l := startTFTP(t, &TFTPServer{Choose: func(ctx context.Context, r TFTPRequest) (string, error) {
		asked <- r
		switch r.Path {
		case "slow":
			select {
			case <-release:
			case <-ctx.Done():
			}
		case "secret":
			return "", errors.New("postgres://hunter2")
		case "unknown":
			return "", fmt.Errorf("no machine has this address: %w", fs.ErrNotExist)
		}
		return "block.efi", nil
	}})
	slow := l.rom(t)
	slow.request(1, "slow", "octet")
	r := <-asked
	require.Equal(t, slow.conn.LocalAddr().(*net.UDPAddr).AddrPort(), r.Client)
	require.Equal(t, netip.MustParseAddr("127.0.0.1"), r.Local)
	require.Equal(t, "lo", r.Interface)

	for path, code := range map[string]byte{"secret": 0, "unknown": 1} {
		c := l.rom(t)
		c.request(1, path, "octet")
		op, b := c.receive()
		require.EqualValues(t, 5, op)
		require.Equal(t, []byte{0, code}, b[:2])
		require.NotContains(t, string(b), "hunter2")
	}
	c := l.rom(t)
	c.request(1, "anything", "octet")
	_, b := c.receive()
	require.Equal(t, nbp[:512], b[2:], "a slow inventory delays one machine only")
	close(release)
	_, b = slow.receive()
	require.Equal(t, nbp[:512], b[2:])
}

func TestNetasciiIsForTextOnly(t *testing.T) {
	dir := tree(t, map[string]string{"script.ipxe": "#!ipxe\necho a\rb\n"})
	big, err := os.Create(filepath.Join(dir, "big"))
	require.NoError(t, err)
	require.NoError(t, big.Truncate(maxNetascii+1))
	require.NoError(t, big.Close())
	l := startTFTP(t, &TFTPServer{Files: openDir(t, dir)})
	c := l.rom(t)
	c.request(1, "script.ipxe", "NetASCII", "tsize", "0")
	require.Equal(t, "19", c.oack()["tsize"])
	c.ack(0)
	_, b := c.receive()
	require.Equal(t, "#!ipxe\r\necho a\r\x00b\r\n", string(b[2:]))
	c.ack(1)
	c = l.rom(t)
	c.request(1, "big", "netascii")
	op, b := c.receive()
	require.EqualValues(t, 5, op)
	require.Contains(t, string(b), "octet")
}

func TestFilesOfMoreThan65535BlocksRollOver(t *testing.T) {
	dir := tree(t, nil)
	content := bytes.Repeat(nbp, 400)[:65537*512+100]
	require.NoError(t, os.WriteFile(filepath.Join(dir, "big"), content, 0o644))
	l := startTFTP(t, &TFTPServer{Files: openDir(t, dir), WindowSize: 64})
	c := l.rom(t)
	c.request(1, "big", "octet", "windowsize", "64")
	c.oack()
	c.ack(0)
	var got []byte
	buffer := make([]byte, 1000)
	for want := 1; ; {
		require.NoError(t, c.conn.SetReadDeadline(time.Now().Add(10*time.Second)))
		n, _, err := c.conn.ReadFromUDP(buffer)
		require.NoError(t, err)
		if binary.BigEndian.Uint16(buffer[2:]) != uint16(want) {
			continue // the socket had no room for one before it: the server's timer finds out
		}
		got = append(got, buffer[4:n]...)
		if want%64 == 0 || n < 516 {
			c.ack(uint16(want))
		}
		want++
		if n < 516 {
			break
		}
	}
	require.Equal(t, sha256.Sum256(content), sha256.Sum256(got))
	require.True(t, l.seen.wait(t, 1)[0].Complete())
}

func TestGarbageDoesNotDisturbTheTFTPServer(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	c := l.rom(t)
	for _, p := range []string{
		"", "\x00", "\x00\x01", "\x00\x01a", "\x00\x02\x00\x00", "\x00\x09xx", "\xff\xff",
		"\x00\x04\x00\x01",
		"\x00\x01\x00\x00\x00\x00\x00", "\x00\x01snponly.efi\x00octet\x00blksize", strings.Repeat("\x01", 600),
	} {
		c.send([]byte(p))
		c.tid = l.addr
	}
	got, _, err := l.fetch(t, "snponly.efi", 1428)
	require.NoError(t, err)
	require.Equal(t, nbp, got)
}

func TestOtherPeoplesTFTPClientsGetTheFile(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	host, port := l.addr.IP.String(), fmt.Sprint(l.addr.Port)
	url := "tftp://" + host + ":" + port + "/snponly.efi"
	for _, client := range [][]string{
		{"curl", "-sS", "--max-time", "20", "-o", "OUT", url},
		{"curl", "-sS", "--max-time", "20", "--tftp-blksize", "1468", "-o", "OUT", url},
		{"curl", "-sS", "--max-time", "20", "--tftp-no-options", "-o", "OUT", url},
		{"atftp", "--option", "blksize 1428", "--option", "tsize", "-g", "-r", "snponly.efi", "-l", "OUT", host, port},
		{"atftp", "--option", "windowsize 8", "-g", "-r", "snponly.efi", "-l", "OUT", host, port},
		{"tftp", "-4", "-m", "binary", host, port, "-c", "get", "snponly.efi", "OUT"},
	} {
		t.Run(strings.Join(client[:3], " "), func(t *testing.T) {
			need.Command(t, client[0])
			out := filepath.Join(t.TempDir(), "out")
			args := append([]string(nil), client[1:]...)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "OUT", out)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			text, err := exec.CommandContext(ctx, client[0], args...).CombinedOutput()
			require.NoError(t, err, "%s", text)
			got, err := os.ReadFile(out)
			require.NoError(t, err, "%s", text)
			require.Equal(t, sha256.Sum256(nbp), sha256.Sum256(got))
		})
	}
}

func TestLargeFileIsReadWhileItIsSentAndSmallOnesAreHeldOnce(t *testing.T) {
	dir := tree(t, map[string]string{"small": "small"})
	big := append(bytes.Repeat(nbp, 1+maxHeldFile/len(nbp)), "end"...)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "big"), big, 0o644))
	l := startTFTP(t, &TFTPServer{Files: openDir(t, dir), BlockSize: 65464})
	got, _, err := l.fetch(t, "big", 65464)
	require.NoError(t, err)
	require.Equal(t, sha256.Sum256(big), sha256.Sum256(got))
	require.True(t, l.seen.wait(t, 1)[0].Complete())

	var h held
	file, info, err := l.Files.Open("small")
	require.NoError(t, err)
	defer file.Close()
	_, first, ok, err := h.get("small", file, info)
	require.NoError(t, err)
	require.True(t, ok)
	content, second, ok, err := h.get("small", nil, info) // nobody reads it a second time
	require.NoError(t, err)
	require.True(t, ok)
	b := make([]byte, 5)
	_, err = content.ReadAt(b, 0)
	require.NoError(t, err)
	require.Equal(t, "small", string(b))
	first()
	second()
	require.Empty(t, h.files)
	require.Zero(t, h.bytes)
}

func TestFileThatShrinksEndsTheTransferAndIsNoSuccess(t *testing.T) {
	dir := tree(t, nil)
	name := filepath.Join(dir, "big")
	require.NoError(t, os.WriteFile(name, bytes.Repeat(nbp, 1+maxHeldFile/len(nbp)), 0o644))
	l := startTFTP(t, &TFTPServer{Files: openDir(t, dir)})
	c := l.rom(t)
	c.request(1, "big", "octet")
	c.receive()
	require.NoError(t, os.Truncate(name, 600))
	for block := uint16(1); ; block++ {
		c.ack(block)
		op, b := c.receive()
		if op == 5 {
			require.Contains(t, string(b), "the server cannot read the file")
			break
		}
	}
	got := l.seen.wait(t, 1)[0]
	require.ErrorContains(t, got.Err, "became shorter")
	require.False(t, got.Complete())
}
