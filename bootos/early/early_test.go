package early

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// paper is a writer that a test reads.
type paper struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buf.String()
}

func newConsole() (*Console, *paper) {
	c, p := &Console{Uptime: func() time.Duration { return 4200 * time.Millisecond }}, &paper{}
	c.Add(p)
	return c, p
}

func TestALineOnTheConsoleSaysWhenWhereAndWhat(t *testing.T) {
	c, p := newConsole()
	c.Say("network", "10.0.0.5/24 on eth0")
	c.Say("agent", "two\nlines")
	c.Flush(time.Second)
	require.Equal(t, "[    4.2s] network   10.0.0.5/24 on eth0\r\n"+
		"[    4.2s] agent     two\r\n                     lines\r\n", p.String())
}

func TestNothingSteersTheTerminal(t *testing.T) {
	c, p := newConsole()
	c.Say("machine", "Ac\x1b[2Jme\x07 \u00dcber – \u202e\x7f\xff\tx\r")
	c.Flush(time.Second)
	for _, b := range p.String() {
		require.True(t, b == '\r' || b == '\n' || b >= ' ' && b < 0x7f, "%q in %q", b, p.String())
	}
	require.Contains(t, p.String(), "Ac[2Jme ?ber - ?? x")
}

func TestProgressIsThinnedOut(t *testing.T) {
	c, p := newConsole()
	for i := range 1001 {
		c.Progress("install", float64(i)/1000, fmt.Sprintf("%d of 1000", i))
	}
	c.Progress("install", 1, "again")
	c.Flush(time.Second)
	lines := strings.Split(strings.TrimSpace(p.String()), "\r\n")
	require.GreaterOrEqual(t, len(lines), 10, p.String())
	require.LessOrEqual(t, len(lines), 12, p.String())
	require.Contains(t, lines[0], "install   [....................]   0 %  0 of 1000")
	require.Contains(t, lines[len(lines)-1], "[####################] 100 %  1000 of 1000")
}

func TestAnActionThatStartsAnewShowsItsProgressAgain(t *testing.T) {
	c, p := newConsole()
	c.Progress("install", 0.95, "first")
	c.Progress("install", 0.01, "second")
	c.Flush(time.Second)
	require.Contains(t, p.String(), "second")
}

// stuck is a serial line with flow control and nobody at the end.
type stuck struct{ until chan struct{} }

func (s stuck) Write(b []byte) (int, error) {
	<-s.until
	return len(b), nil
}

func TestAConsoleThatTakesNothingHoldsUpNobody(t *testing.T) {
	c, p := newConsole()
	s := stuck{make(chan struct{})}
	defer close(s.until)
	c.Add(s)
	start := time.Now()
	for range 1000 {
		c.Say("x", "y")
		if len(p.String()) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	c.Flush(100 * time.Millisecond)
	require.Less(t, time.Since(start), 5*time.Second)
	require.Contains(t, p.String(), "y")
}

func TestTheCommandLineIsReadAsTheKernelDoes(t *testing.T) {
	c := Cmdline(`quiet loda.server=https://a loda.server="https://b" loda.token=x=y=z xloda.token=1 empty=`)
	for key, want := range map[string]string{"loda.server": "https://b", "loda.token": "x=y=z", "empty": ""} {
		got, ok := c.Get(key)
		require.True(t, ok, key)
		require.Equal(t, want, got)
	}
	for _, key := range []string{"quiet", "server", "token", "loda"} {
		_, ok := c.Get(key)
		require.False(t, ok, key)
	}
}

func TestTheBootInterfaceIsRecognisedInAllItsForms(t *testing.T) {
	want := net.HardwareAddr{0x01, 0x54, 0, 0x12, 0x34, 0x56}
	for _, s := range []string{"01-01-54-00-12-34-56", "01:01:54:00:12:34:56", "01-54-00-12-34-56", "01:54:00:12:34:56"} {
		got, err := ParseBootIF(s)
		require.NoError(t, err, s)
		require.Equal(t, want, got, s)
	}
	for _, s := range []string{"", "eth0", "01-", "01-54-00-12-34", "20-01-54-00-12-34-56-77-88",
		"01-01-54-00-12-34-56-78"} {
		_, err := ParseBootIF(s)
		require.Error(t, err, s)
	}
}

func FuzzParseBootIF(f *testing.F) {
	f.Add("01-52-54-00-12-34-56")
	f.Fuzz(func(t *testing.T, s string) {
		if mac, err := ParseBootIF(s); err == nil {
			require.Len(t, mac, 6)
		}
	})
}

func TestEveryDeviceIsAskedWhatItIsOnce(t *testing.T) {
	sys := t.TempDir()
	for path, alias := range map[string]string{
		"bus/pci/devices/0000:00:03.0/modalias": "pci:v00001AF4\n",
		"bus/pci/devices/0000:00:04.0/modalias": "pci:v00001AF4\n",
		"bus/usb/devices/1-1/modalias":          "usb:v1234\n",
		"bus/usb/devices/1-2/modalias":          "\n",
		"devices/virtual/dmi/id/modalias":       "dmi:bvn\n",
	} {
		file := filepath.Join(sys, path)
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(alias), 0o644))
	}
	require.Equal(t, []string{"dmi:bvn", "pci:v00001AF4", "usb:v1234"}, modaliases(sys))
}

func TestTheWaitForDisksEnds(t *testing.T) {
	start := time.Now()
	Settle(t.Context(), 300*time.Millisecond)
	require.Less(t, time.Since(start), 5*time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	Settle(ctx, time.Hour)
}
