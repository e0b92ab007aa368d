package pxe

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
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
				text, err := render(in, c, 20)
				require.NoError(t, err)
				requireScript(t, text)
			}
			// What does not fit into a kernel command may be refused, never bent.
			if text, err := render(Kernel{Kernel: "/k" + said, Args: said, Initrds: []string{said}}, c, 20); err == nil {
				requireScript(t, text)
			}
			if text, err := render(Kernel{Kernel: "/k", Args: said}, c, 20); err == nil {
				requireScript(t, text)
				require.Contains(t, text, strings.Join(strings.Fields("http://"+host+"/k "+said+" || goto"), " "))
			}
		}
		requireScript(t, renderRetry(message, c, 20))
		requireScript(t, introduction(c.BaseURL, c.Attempt, 20))
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
