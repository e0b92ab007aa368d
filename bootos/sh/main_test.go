package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// shell runs the shell and returns all that it printed and its status.
func shell(t *testing.T, stdin string, args ...string) (string, int) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "stdin")
	require.NoError(t, os.WriteFile(file, []byte(stdin), 0o600))
	in, err := os.Open(file)
	require.NoError(t, err)
	defer in.Close()
	var out bytes.Buffer
	status := run(args, in, &out, &out)
	return out.String(), status
}

func TestOptionsAndArgumentsAreThoseOfEveryShell(t *testing.T) {
	script := filepath.Join(t.TempDir(), "s.sh")
	require.NoError(t, os.WriteFile(script, []byte("false\necho \"$# $1 $2\"; exit 7\n"), 0o600))
	for _, tc := range []struct {
		stdin  string
		args   []string
		out    string
		status int
	}{
		{"", []string{script, "a b", "-e"}, "2 a b -e\n", 7},
		{"", []string{"-e", script, "a"}, "", 1},
		{"", []string{"+e", "--", script}, "0  \n", 7},
		{"", []string{"-ec", "false; echo no"}, "", 1},
		{"", []string{"-c", "echo $0 $1 $#", "name", "x"}, "name x 1\n", 0},
		{"", []string{"-xc", "echo a"}, "+ echo a\na\n", 0},
		{"", []string{"-uc", "echo $GONE"}, "GONE: unbound variable\n", 1},
		{"", []string{"-e", "-o", "pipefail", "-c", "false | true; echo no"}, "", 1},
		{"", []string{"-eo", "pipefail", "-c", "false | true; echo no"}, "", 1},
		{"", []string{"-c", "trap 'echo bye' EXIT; exit 3"}, "bye\n", 3},
		{"echo from stdin; exit 4", nil, "from stdin\n", 4},
		{"line", []string{"-c", "read x; echo $x"}, "line\n", 0},
		{"", []string{"-c", ""}, "", 0},
	} {
		out, status := shell(t, tc.stdin, tc.args...)
		require.Equal(t, tc.out, out, tc.args)
		require.Equal(t, tc.status, status, tc.args)
	}
}

func TestWhatTheShellCannotDoIsSaidBeforeAnythingIsRun(t *testing.T) {
	for script, says := range map[string]string{
		"echo ran\nexec 3>x":              "sh:2:6: this shell has no descriptors but 0, 1 and 2",
		"echo ran; (echo x 3>x) | cat":    "descriptors",
		"echo ran; echo x >&3":            "sh:1:18: this shell has no redirection to other descriptors",
		"echo ran; cat <&0":               "no <& redirection",
		"echo ran; echo x >| y":           "no >| redirection",
		"echo ran; cat <> y":              "no <> redirection",
		"echo ran; coproc cat":            "coproc",
		"echo ran\nif true; then echo; ":  "must end with",
		"echo ran; f() { x 4>y; 5<z a; }": "sh:1:19: ",
	} {
		out, status := shell(t, "", "-c", script)
		require.Equal(t, 2, status, script)
		require.Contains(t, out, says)
		require.NotContains(t, out, "ran\n")
	}
	for _, args := range [][]string{{"-z", "-c", "x"}, {"-c"}, {"-o"}, {"-o", "nosuch", "-c", "true"}} {
		out, status := shell(t, "", args...)
		require.Equal(t, 2, status, args)
		require.Contains(t, out, "sh: ")
	}
	out, status := shell(t, "", "/nonexistent/script")
	require.Equal(t, 127, status)
	require.Contains(t, out, "/nonexistent/script")
	out, status = shell(t, "", "-c", "echo one; eval 'echo x 3>y'; echo no")
	require.Equal(t, 2, status)
	require.Equal(t, "one\nsh: sh: unsupported redirect fd: 3\n", out)
}
