package pxe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pin/tftp/v3"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

func grubClient() Client {
	c := client(EFI)
	c.Loader, c.Local = LoaderGRUB, netip.MustParseAddrPort("10.77.0.1:0")
	return c
}

func TestGRUBScriptsAreWhatMachinesHaveAlwaysRead(t *testing.T) {
	for name, in := range map[string]Instruction{
		"kernel": Kernel{Kernel: "/artifacts/bootos/vmlinuz", Initrds: []string{"/artifacts/a%20b", "http://other.example/c%20d",
			"tftp://10.0.0.9/e"}, Args: "quiet  loda.token=$(abc);${d}", Message: "installing 'debian'\n\n\x1b[1mü"},
		"no-initrd": Kernel{Kernel: "/artifacts/bootos/vmlinuz"},
		"local":     LocalDisk{Message: "refused: $(reboot)", Pause: 1500 * time.Millisecond},
		"wait":      Wait{Message: "position 12 in the queue", Retry: 45 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := renderGRUB(in, grubClient(), 3)
			require.NoError(t, err)
			requireGRUBScript(t, got)
			golden(t, "grub-"+name, got)
		})
	}
	requireGRUBScript(t, grubIntroduction(20))
	golden(t, "grub-introduction", grubIntroduction(3))
}

// requireGRUBScript lets GRUB itself judge.
func requireGRUBScript(t *testing.T, text string) {
	t.Helper()
	need.Command(t, "grub-script-check")
	cmd := exec.Command("grub-script-check")
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", out, text)
}

func TestWhatGRUBCannotSayIsRefused(t *testing.T) {
	for name, in := range map[string]Instruction{
		`puts a backslash`:       Kernel{Kernel: "/artifacts/k", Args: `a='b'`},
		`contains '\\'`:          Kernel{Kernel: "/artifacts/k", Args: `a\b`},
		`outside printable`:      Kernel{Kernel: "/artifacts/k", Args: "a\x00"},
		`at most 2000`:           Kernel{Kernel: "/artifacts/k", Args: strings.Repeat("a", 2001)},
		`initrd 1:`:              Kernel{Kernel: "/artifacts/k", Initrds: []string{"/a", "b"}},
		`port 80`:                Kernel{Kernel: "http://10.0.0.9:8080/k"},
		`by tftp on port 69`:     Kernel{Kernel: "https://10.0.0.9/k"},
		`no queries`:             Kernel{Kernel: "/artifacts/k?a=b"},
		`nor an IPv4 address`:    Kernel{Kernel: "tftp://[fe80::1]/k"},
		`bytes outside`:          Kernel{Kernel: "/artifacts/k%0a"},
		`iPXE script`:            Script("#!ipxe\n"),
		`no instruction`:         nil,
		`fetches by http on`:     Kernel{Kernel: "http://user@10.0.0.9/k"},
		`contains a fragment`:    Kernel{Kernel: "/artifacts/k#b"},
		`neither a path on this`: Kernel{Kernel: "k"},
	} {
		text, err := RenderGRUB(in, grubClient())
		require.ErrorContains(t, err, name)
		require.Empty(t, text)
	}
}

func TestKernelComesByHTTPWhereThatIsOnPort80(t *testing.T) {
	for base, want := range map[string]string{
		"http://10.77.0.1": "(http,10.77.0.1)/artifacts/a%20b", "http://10.77.0.1:80": "(http,10.77.0.1)/artifacts/a%20b",
		"http://10.77.0.1:8080": "(tftp,10.77.0.1)/artifacts/a b",
	} {
		c := grubClient()
		c.BaseURL = base
		got, err := grubFile(c, "/artifacts/a%20b")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestMachineInGRUBIsRecognizedByWhatItSays(t *testing.T) {
	said := "try=3;arch=x86_64;mac=52:54:00:12:34:56;uuid=12345678-1234-4321-8765-123456789ABC;serial=A;B=C;mac=x/&D;" +
		"manufacturer=;product=P;serial=fake"
	c, err := parseGRUB(said, 20)
	require.NoError(t, err)
	require.Equal(t, 3, c.Attempt)
	require.Equal(t, []string{"52:54:00:12:34:56"}, macs(c))
	require.Equal(t, "12345678-1234-4321-8765-123456789abc", c.UUID)
	require.Equal(t, "A;B=C;mac=x/&D", c.Serial)
	require.Empty(t, c.Manufacturer)
	require.Equal(t, "P;serial=fake", c.Product)
	require.Equal(t, EFI, c.Platform)
	require.Equal(t, LoaderGRUB, c.Loader)

	_, err = parseGRUB("try=0;arch=x86_64;mac=;uuid=;serial=;manufacturer=;product=", 20)
	require.ErrorIs(t, err, errNobody)
}

func FuzzGRUBNames(f *testing.F) {
	f.Add("/grub/ask;try=1;mac=52:54:00:12:34:56;serial=A'$(reboot)\n;product=x")
	f.Add("grub/ask;serial=\x00;serial=;manufacturer=" + strings.Repeat("m", 500))
	f.Fuzz(func(t *testing.T, name string) {
		g := &GRUB{Logger: quiet(), MaxAttempts: 3, Booter: BooterFunc(func(_ context.Context, c Client) (Instruction, error) {
			require.LessOrEqual(t, len(c.Serial)+len(c.Manufacturer)+len(c.Product), 3*maxText)
			require.Less(t, c.Attempt, 3)
			require.True(t, len(c.MACs) > 0 || c.UUID != "" || c.Serial != "")
			return LocalDisk{Message: c.Serial + c.Product + c.Manufacturer}, nil
		})}
		if !g.answers(name) {
			return
		}
		text, err := g.answer(t.Context(), name, netip.Addr{}, netip.MustParseAddr("10.0.0.1"))
		if err != nil {
			require.ErrorIs(t, err, fs.ErrNotExist)
			return
		}
		for line := range strings.SplitSeq(text, "\n") {
			if rest, ok := strings.CutPrefix(line, "echo "); ok {
				require.True(t, strings.HasPrefix(rest, "'Loda: ") && strings.HasSuffix(rest, "'"), "%q", line)
				require.NotContains(t, strings.ReplaceAll(rest[1:len(rest)-1], `'\''`, ""), "'")
			}
		}
	})
}

func TestGRUBsNamesAndArtifactsAreServedByTFTP(t *testing.T) {
	nbps := t.TempDir()
	for name, text := range map[string]string{"shimx64.efi.signed": "shim", "grubnetx64.efi.signed": "grub", "grubx64.efi": "unsigned",
		"shimx64.efi": "unsigned"} {
		require.NoError(t, os.WriteFile(filepath.Join(nbps, name), []byte(text), 0o644))
	}
	files, err := OpenNBPs(nbps)
	require.NoError(t, err)
	t.Cleanup(func() { files.Close() })
	told := &story{tell: []any{Kernel{Kernel: "/artifacts/k"}, errors.New("secret of the database")}}
	asked := func() []Client {
		told.mu.Lock()
		defer told.mu.Unlock()
		return slices.Clone(told.asked)
	}
	l := startTFTP(t, &TFTPServer{Files: files, Artifacts: openDir(t, tree(t, map[string]string{"k": "kernel"})),
		GRUB: &GRUB{Booter: told, BaseURL: "http://{server}:8080/", Logger: quiet()}})
	c, err := tftp.NewClient(l.addr.String())
	require.NoError(t, err)
	fetch := func(name string) (string, error) {
		w, err := c.Receive(name, "octet")
		if err != nil {
			return "", err
		}
		var b bytes.Buffer
		_, err = w.WriteTo(&b)
		return b.String(), err
	}
	for name, want := range map[string]string{"shimx64.efi": "shim", "/grubx64.efi": "grub", "/artifacts/k": "kernel",
		"/grub/grub.cfg": grubIntroduction(defaultAttempts)} {
		got, err := fetch(name)
		require.NoError(t, err, name)
		require.Equal(t, want, got, name)
	}
	for _, name := range []string{"grub/grub.cfg-01-52-54-00-12-34-56", "grub/ask", "grub/ask;serial=", "artifacts/../k", "artifacts/"} {
		_, err := fetch(name)
		require.ErrorContains(t, err, "not found", name)
	}
	require.Empty(t, asked())

	got, err := fetch("/grub/ask;try=0;mac=52:54:00:12:34:56;serial=ABC123")
	require.NoError(t, err)
	require.Contains(t, got, "linux '(tftp,127.0.0.1)/artifacts/k'")
	got, err = fetch("/grub/ask;try=0;serial=ABC123")
	require.NoError(t, err)
	require.NotContains(t, got, "secret")
	require.Contains(t, got, "set loda_try=1")
	require.Equal(t, "http://127.0.0.1:8080", asked()[0].BaseURL)
	require.Equal(t, "127.0.0.1", asked()[0].Remote.String())
	asks := 0
	for _, seen := range l.seen.wait(t, 11) {
		require.NotContains(t, seen.Path, "ABC123", "what the machine said of itself")
		if seen.Path == "/grub/ask" && seen.Complete() {
			asks++
		}
	}
	require.Equal(t, 2, asks)
}

func TestRequestThatGRUBSendsAgainIsAnsweredOnce(t *testing.T) {
	var asked atomic.Int32
	slow := BooterFunc(func(context.Context, Client) (Instruction, error) {
		time.Sleep(300 * time.Millisecond)
		return Kernel{Kernel: "/k", Args: fmt.Sprintf("token=%d", asked.Add(1))}, nil
	})
	l := startTFTP(t, &TFTPServer{GRUB: &GRUB{Booter: slow, Logger: quiet()}})
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
	// GRUB repeats what is not answered within 0.4 seconds, and takes blocks from whichever transfer they come: two answers
	// with different tokens must not be mixed.
	for range 3 {
		_, err = conn.WriteTo([]byte("\x00\x01/grub/ask;try=0;serial=ABC123\x00octet\x00"), l.addr)
		require.NoError(t, err)
	}
	b := make([]byte, 600)
	n, from, err := conn.ReadFrom(b)
	require.NoError(t, err)
	require.Equal(t, "\x00\x03\x00\x01", string(b[:4]))
	require.Contains(t, string(b[4:n]), "token=1")
	_, err = conn.WriteTo([]byte("\x00\x04\x00\x01"), from)
	require.NoError(t, err)
	require.Len(t, l.seen.wait(t, 1), 1)
	require.EqualValues(t, 1, asked.Load())
}
