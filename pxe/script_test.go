package pxe

import (
	"flag"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files of testdata anew")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+ending(name))
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err, "run go test -update, and read what it wrote")
	require.Equal(t, string(want), got)
}

func client(platform Platform) Client {
	mac, _ := net.ParseMAC("52:54:00:12:34:56")
	return Client{MACs: []net.HardwareAddr{mac}, Serial: "ABC123", Platform: platform, BaseURL: "http://10.77.0.1:8080"}
}

func TestScriptsAreWhatMachinesHaveAlwaysRead(t *testing.T) {
	bootOS := Kernel{
		Kernel:  "/artifacts/bootos/vmlinuz",
		Initrds: []string{"/artifacts/bootos/initramfs.zst", "https://other.example/extra modules.cpio"},
		Args:    "console=tty0 console=ttyS0,115200  loda.server=https://10.77.0.1:8443 loda.token=abc",
		Message: "ABC123: installing debian-12",
	}
	bootOS.Initrds[1] = strings.ReplaceAll(bootOS.Initrds[1], " ", "%20")
	refused := LocalDisk{Message: "refused: serial number \"To be filled by O.E.M.\" is a placeholder; " +
		"set the real one\n# second || line ${uuid}", Pause: 30 * time.Second}
	for name, in := range map[string]Instruction{
		"kernel":  bootOS,
		"local":   LocalDisk{},
		"refused": refused,
		"wait":    Wait{Message: "position 12 in the queue", Retry: 45 * time.Second},
		"script":  Script("#!ipxe\nshell\n"),
	} {
		for _, platform := range []Platform{BIOS, EFI} {
			t.Run(name+"-"+string(platform), func(t *testing.T) {
				got, err := render(in, client(platform), retries{max: 3})
				require.NoError(t, err)
				requireScript(t, got)
				golden(t, name+"-"+string(platform), got)
			})
		}
	}
	t.Run("local-unknown", func(t *testing.T) {
		got, err := render(LocalDisk{}, client(""), retries{max: 3})
		require.NoError(t, err)
		golden(t, "local-unknown", got)
	})
	t.Run("introduction", func(t *testing.T) {
		golden(t, "introduction", introduction("http://10.77.0.1:8080", 1, retries{max: 3}))
	})
	t.Run("retry", func(t *testing.T) { golden(t, "retry", renderRetry("cannot say now", client(BIOS), retries{max: 3})) })
	t.Run("retry-last", func(t *testing.T) {
		c := client(BIOS)
		c.Attempt = 2
		golden(t, "retry-last", renderRetry("cannot say now", c, retries{max: 3}))
	})
}

func TestWhatCannotBeSaidInIPXEIsRefused(t *testing.T) {
	for name, in := range map[string]Instruction{
		"nothing":                        nil,
		"pointer":                        (*Script)(nil),
		"script without magic":           Script("echo hello\n"),
		"script with magic and more":     Script("#!ipxexec\n"),
		"no kernel":                      Kernel{},
		"relative kernel":                Kernel{Kernel: "vmlinuz"},
		"kernel without scheme":          Kernel{Kernel: "//host/vmlinuz"},
		"kernel by unknown scheme":       Kernel{Kernel: "file:///etc/passwd"},
		"kernel with blank in query":     Kernel{Kernel: "/vmlinuz?a b"},
		"kernel with setting in query":   Kernel{Kernel: "/vmlinuz?${uuid}"},
		"kernel with fragment":           Kernel{Kernel: "/vmlinuz#x"},
		"initrd with line break":         Kernel{Kernel: "/k", Initrds: []string{"/i\nshell"}},
		"args with or":                   Kernel{Kernel: "/k", Args: "a || shell"},
		"args with and":                  Kernel{Kernel: "/k", Args: "a && shell"},
		"args with semicolon":            Kernel{Kernel: "/k", Args: "a ; shell"},
		"args with comment":              Kernel{Kernel: "/k", Args: "a #b"},
		"args with setting":              Kernel{Kernel: "/k", Args: "a ${uuid}"},
		"args outside ASCII":             Kernel{Kernel: "/k", Args: "name=Zürich"},
		"args with NUL":                  Kernel{Kernel: "/k", Args: "a\x00b"},
		"args longer than Linux' buffer": Kernel{Kernel: "/k", Args: strings.Repeat("a=b ", 501)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := render(in, client(EFI), retries{max: 3})
			require.Error(t, err, got)
		})
	}
}

func TestKernelLocationsKeepTheirEncoding(t *testing.T) {
	for loc, want := range map[string]string{
		"/artifacts/a b":              "http://h/artifacts/a%20b",
		"/artifacts/a%2Fb?x=1&y=%20z": "http://h/artifacts/a%2Fb?x=1&y=%20z",
		"/artifacts/${x}":             "http://h/artifacts/$%7Bx%7D",
		"http://o:81/k":               "http://o:81/k",
		"tftp://10.0.0.1/k":           "tftp://10.0.0.1/k",
		"http://[fd00::1]/k":          "http://[fd00::1]/k",
	} {
		got, err := location("http://h", loc)
		require.NoError(t, err, loc)
		require.Equal(t, want, got)
	}
}

func TestBackoffGrowsToHalfAMinute(t *testing.T) {
	var got []string
	total := time.Duration(0)
	for i := range 20 {
		total += backoff(i)
		if i < 6 {
			got = append(got, seconds(backoff(i)))
		}
	}
	require.Equal(t, []string{"2", "4", "8", "16", "30", "30"}, got)
	require.InDelta(t, 8.5, total.Minutes(), 0.5, "the documentation of MaxAttempts says about how long")
}

func ending(name string) string {
	if strings.HasPrefix(name, "grub-") {
		return ".cfg"
	}
	return ".ipxe"
}
