package pxe

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The commands that rendered scripts are made of, each with the shape of its words. Nothing else may appear in a
// script, whatever a machine or a Booter says.
var grammar = []*regexp.Regexp{
	regexp.MustCompile(`^#!ipxe$`),
	regexp.MustCompile(`^# Tells the boot server which machine this is, and runs what it answers\.$`),
	regexp.MustCompile(`^echo Loda:( [^ ]+)+$`),
	regexp.MustCompile(`^:(ask|failed)$`),
	regexp.MustCompile(`^set loda-query [^ ]+$`),
	regexp.MustCompile(`^imgfree$`),
	regexp.MustCompile(`^kernel --name kernel (http|https|tftp|ftp|nfs)://[^ ]+( [^ ]+)* \|\| goto failed$`),
	regexp.MustCompile(`^initrd --name initrd[0-9]+ (http|https|tftp|ftp|nfs)://[^ ]+ \|\| goto failed$`),
	regexp.MustCompile(`^boot \|\| goto failed$`),
	regexp.MustCompile(`^chain --replace --autofree http://[^ ]+ \|\|$`),
	regexp.MustCompile(`^sleep [1-9][0-9]{0,3}$`),
	regexp.MustCompile(`^reboot \|\|( goto ask)?$`),
	regexp.MustCompile(`^prompt --timeout [1-9][0-9]* Press a key to go on at once \|\|$`),
	regexp.MustCompile(`^sanboot --no-describe --drive 0x8[0-7] \|\|$`),
	regexp.MustCompile(`^exit( 1)?$`),
	regexp.MustCompile(`^iseq \$\{platform\} efi && exit 1 \|\|$`),
}

// commands splits a line as iPXE does (src/core/exec.c).
func commands(line string) [][]string {
	var all [][]string
	var cmd []string
	for _, w := range strings.Fields(line) {
		if w[0] == '#' {
			break
		}
		if w == "||" || w == "&&" || w == ";" {
			all = append(all, cmd)
			cmd = nil
			continue
		}
		cmd = append(cmd, w)
	}
	return append(all, cmd)
}

// requireScript checks that text is made of nothing but the commands above.
func requireScript(t *testing.T, text string) {
	t.Helper()
	if text == "#!ipxe\nshell\n" {
		return
	}
	require.True(t, strings.HasPrefix(text, "#!ipxe\n"))
	require.True(t, strings.HasSuffix(text, "\n"))
	for _, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		known := false
		for _, re := range grammar {
			known = known || re.MatchString(line)
		}
		require.True(t, known, "line %q is none that we write, in\n%s", line, text)
		for i := 0; i < len(line); i++ {
			require.True(t, line[i] >= ' ' && line[i] <= '~', "line %q has byte %#x", line, line[i])
		}
		require.False(t, strings.HasSuffix(line, `\`), "line %q swallows the next", line)
		cmds := commands(line)
		switch {
		case strings.HasPrefix(line, "#"), strings.HasPrefix(line, "iseq "):
		case strings.HasPrefix(line, "echo "):
			require.Len(t, cmds, 1, "line %q", line)
			require.NotContains(t, line, "${")
			require.Len(t, cmds[0], len(strings.Fields(line)), "a comment in %q", line)
		case strings.HasPrefix(line, "set "):
			require.Len(t, cmds, 1, "line %q", line)
		default:
			require.LessOrEqual(t, len(cmds), 2, "line %q", line)
			rest := strings.ReplaceAll(line, "?${loda-query}", "")
			require.NotContains(t, rest, "${")
		}
	}
}

func FuzzScriptFromQuery(f *testing.F) {
	f.Add("mac=52:54:00:12:34:56&serial=ABC&platform=efi", "10.77.0.1:8080", "hello")
	f.Add("serial-hex=0a7368656c6c&uuid=${uuid}&platform=efi%0Ashell&try=99999999999", "h\nshell", "a\n\nshell || reboot")
	f.Add("mac=x&serial=${x}&try=-1&platform=pcbios", "[::1]:80", "#comment ; shell && x \\")
	f.Add("serial=%5C&platform=", "a b", "-n \\")
	f.Fuzz(func(t *testing.T, query, host, message string) {
		r := httptest.NewRequest("GET", "/boot/script", nil)
		r.URL.RawQuery, r.Host = query, host
		q := r.URL.Query()
		c, err := parseClient(q)
		if err != nil {
			return
		}
		if err := c.addresses(r, ""); err != nil {
			return
		}
		c.Attempt = parseAttempt(q, 19)
		require.LessOrEqual(t, len(c.Serial), 256)
		for _, said := range []string{message, c.Serial, c.Product, c.Manufacturer + c.Asset + c.Version + c.Arch} {
			for _, in := range []Instruction{
				LocalDisk{Message: said, Pause: time.Duration(len(said)) * time.Second},
				Wait{Message: said, Retry: time.Duration(len(said)-9) * time.Minute},
				Kernel{Kernel: "/k", Args: "quiet", Initrds: []string{"/i"}, Message: said},
			} {
				text, err := render(in, c, retries{max: 20})
				require.NoError(t, err)
				requireScript(t, text)
			}
			// What does not fit into a kernel command may be refused, never bent.
			if text, err := render(Kernel{Kernel: "/k" + said, Args: said, Initrds: []string{said}}, c, retries{max: 20}); err == nil {
				requireScript(t, text)
			}
			if text, err := render(Kernel{Kernel: "/k", Args: said}, c, retries{max: 20}); err == nil {
				requireScript(t, text)
				require.Contains(t, text, strings.Join(strings.Fields("http://"+host+"/k "+said+" || goto"), " "))
			}
		}
		requireScript(t, renderRetry(message, c, retries{max: 20}))
		requireScript(t, introduction(c.BaseURL, c.Attempt, retries{max: 20}))
		stubborn := retries{max: 20, disk: true, who: c.identity()}
		requireScript(t, introduction(c.BaseURL, c.Attempt, stubborn))
		requireScript(t, renderRetry(message, c, stubborn))
	})
}

func FuzzTFTPRequest(f *testing.F) {
	for _, s := range []string{
		"\x00\x01snponly.efi\x00octet\x00blksize\x001468\x00tsize\x000\x00timeout\x005\x00windowsize\x0016\x00",
		"\x00\x01/a\x00NETASCII\x00", "\x00\x02a\x00octet\x00", "\x00\x01\x00\x00", "\x00\x01a\x00mail\x00", "\x00\x01../../etc/passwd\x00octet\x00",
		"\x00\x01a\x00octet\x00blksize\x00-1\x00blksize\x0099999\x00tsize\x00x\x00", "\x00\x03\x00\x01data", "", "\x00",
	} {
		f.Add([]byte(s), int64(174_000), 1450)
	}
	dir := f.TempDir()
	secret := "what nobody may read"
	require.NoError(f, os.WriteFile(filepath.Join(dir, "secret.efi"), []byte(secret), 0o644))
	require.NoError(f, os.Mkdir(filepath.Join(dir, "public"), 0o755))
	require.NoError(f, os.WriteFile(filepath.Join(dir, "public/a"), []byte("a"), 0o644))
	require.NoError(f, os.Symlink("../secret.efi", filepath.Join(dir, "public/b")))
	files, err := OpenDir(filepath.Join(dir, "public"))
	require.NoError(f, err)
	f.Cleanup(func() { files.Close() })
	f.Fuzz(func(t *testing.T, packet []byte, size int64, maxBlock int) {
		size, maxBlock = max(size, 0), min(max(maxBlock, 513), tftpMaxBlock)
		op, r, err := parseTFTPRequest(packet)
		if err != nil {
			return
		}
		require.Contains(t, []uint16{tftpRRQ, tftpWRQ}, op)
		require.LessOrEqual(t, len(r.options), maxTFTPOptions)
		terms := r.negotiate(size, maxBlock, 32)
		require.GreaterOrEqual(t, terms.block, 512)
		require.LessOrEqual(t, terms.block, maxBlock)
		require.GreaterOrEqual(t, terms.window, 1)
		require.LessOrEqual(t, terms.window, 32)
		require.LessOrEqual(t, terms.timeout, 255*time.Second)
		if terms.oack != nil {
			require.Less(t, len(terms.oack), 100, "an answer is no amplifier")
			require.Zero(t, bytes.Count(terms.oack[2:], []byte{0})%2, "options have values")
			require.Zero(t, terms.oack[len(terms.oack)-1])
		}
		if file, info, err := files.Open(r.Path); err == nil {
			defer file.Close()
			require.EqualValues(t, 1, info.Size(), "%q is the one file there is", r.Path)
		}
	})
}

// A client that says anything at any time gets packets of the file or none, and the transfer ends.
func FuzzTFTPClient(f *testing.F) {
	f.Add([]byte{0, 4, 0, 0, 0, 4, 0, 1, 0, 4, 0, 2}, 3, true)
	f.Add([]byte{0, 4, 0, 1, 0, 4, 0, 1, 0, 5, 0, 0}, 1, false)
	f.Add([]byte{0, 4, 255, 255, 0, 4, 0, 0, 9, 9, 9, 9}, 8, true)
	content := bytes.Repeat([]byte("0123456789"), 700)
	f.Fuzz(func(t *testing.T, said []byte, window int, options bool) {
		now := time.Unix(0, 0)
		var started atomic.Bool
		written := 0
		s := &tftpSender{file: bytes.NewReader(content), size: int64(len(content)), giveUp: 20 * time.Second, started: &started,
			terms: terms{block: 512, window: min(max(window, 1), 64)}, waits: waits{least: tftpLeastWait, most: time.Second}}
		s.write = func(p []byte) error {
			written++
			if p[1] == tftpOACK {
				require.True(t, options)
				return nil
			}
			block := int(binary.BigEndian.Uint16(p[2:]))
			at := (block - 1) * 512
			require.Equal(t, content[at:min(at+512, len(content))], p[4:])
			return nil
		}
		if options {
			s.terms.oack = []byte("\x00\x06tsize\x007000\x00")
		}
		err := s.begin(now)
		for chunk := range slices.Chunk(said[:min(len(said), 4000)], 4) {
			if err != nil {
				break
			}
			before := written
			now = now.Add(time.Millisecond)
			err = s.hear(chunk, now)
			require.LessOrEqual(t, written-before, s.terms.window, "one packet never causes more than a window")
		}
		for expired := 0; err == nil; expired++ {
			require.Less(t, expired, 100, "a silent client is given up")
			now = s.again
			err = s.expire(now)
		}
		require.LessOrEqual(t, s.sent, s.size)
		if errors.Is(err, errTFTPDone) {
			require.Equal(t, s.size, s.sent)
		}
	})
}

func FuzzHTTPPath(f *testing.F) {
	for _, s := range []string{"/artifacts/a", "/artifacts/../secret.efi", "/artifacts/%2e%2e/secret.efi", "/boot/b", "/artifacts/b", "/x",
		"/artifacts/sha256/" + strings.Repeat("a", 64), "/artifacts//a", "/boot/ipxe", "/artifacts/\x00", "/artifacts/sha256/../b"} {
		f.Add(s, "bytes=0-")
	}
	dir := f.TempDir()
	secret := "what nobody may read"
	require.NoError(f, os.WriteFile(filepath.Join(dir, "secret.efi"), []byte(secret), 0o644))
	require.NoError(f, os.Mkdir(filepath.Join(dir, "public"), 0o755))
	require.NoError(f, os.WriteFile(filepath.Join(dir, "public/a"), []byte("a"), 0o644))
	require.NoError(f, os.Symlink("../secret.efi", filepath.Join(dir, "public/b")))
	files, err := OpenDir(filepath.Join(dir, "public"))
	require.NoError(f, err)
	f.Cleanup(func() { files.Close() })
	h := &Handler{Booter: &booter{in: LocalDisk{}}, Artifacts: files, NBPs: files, Logger: quiet()}
	f.Fuzz(func(t *testing.T, path, byteRange string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.URL.Path = path
		r.Header.Set("Range", byteRange)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		require.NotContains(t, w.Body.String(), secret)
		require.Contains(t, []int{200, 206, 400, 404, 416}, w.Code, "%q", path)
		if w.Code == 200 && path != "/boot/ipxe" && path != "/boot/script" {
			require.Equal(t, "a", w.Body.String())
		}
	})
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{
		"", "a || b", "a&&b", "#x", "${x}", "$${x}", "\\", "a\\\nb", "\x00\x7f\x80", ";", "$\x00{",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e := Escape(s)
		require.Equal(t, e, Escape(e), "escaping twice changes nothing")
		s2 := newScript()
		s2.say(s)
		requireScript(t, s2.String())
		require.NotContains(t, e, "\n")
		require.Len(t, commands("echo x "+e), 1)
	})
}

func FuzzLocation(f *testing.F) {
	for _, s := range []string{
		"/a", "http://h/a b", "http://u:p@h/x", "nfs://h//x", "tftp://h:1/x?y", "//x", "http://h\\x/", "http://h;x/",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		loc, err := location("http://h", s)
		if err != nil {
			return
		}
		require.Len(t, strings.Fields(loc), 1)
		require.Len(t, commands(loc), 1)
		require.NotContains(t, loc, "${")
		_, err = url.Parse(loc)
		require.NoError(t, err)
	})
}
