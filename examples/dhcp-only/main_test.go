//go:build linux

package main

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/scripts/need"
)

// inNamespace makes this test binary the program, in the network namespace in which it was started: a CSV file.
const inNamespace = "TEST_BINARY_IS_DHCP_ONLY"

var subnet = dhcp.Subnet{Name: "machines", Prefix: netip.MustParsePrefix("10.7.0.0/24"), Router: netip.MustParseAddr("10.7.0.1"),
	Unknown: dhcp.UnknownIgnore}

func TestMain(m *testing.M) {
	if file := os.Getenv(inNamespace); file != "" {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
		defer stop()
		if err := run(ctx, "eth1", subnet, file); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func command(t *testing.T, words ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	return exec.CommandContext(ctx, words[0], words[1:]...)
}

func must(t *testing.T, line string) {
	t.Helper()
	out, err := command(t, strings.Fields(line)...).CombinedOutput()
	require.NoError(t, err, "%s: %s", line, out)
}

func TestMachinesOfTheFileGetTheirAddressesAndNobodyElseAnAnswer(t *testing.T) {
	need.Root(t)
	need.Command(t, "ip", "udhcpc")
	file := filepath.Join(t.TempDir(), "machines.csv")
	require.NoError(t, os.WriteFile(file, []byte("mac,address,hostname\n52:54:00:00:00:01,10.7.0.20,node-20\n"), 0o644))
	server, client := fmt.Sprintf("loda-only-%d-s", os.Getpid()), fmt.Sprintf("loda-only-%d-c", os.Getpid())
	for _, ns := range []string{server, client} {
		must(t, "ip netns add "+ns)
		t.Cleanup(func() { must(t, "ip netns del "+ns) })
	}
	must(t, "ip link add eth1 netns "+server+" type veth peer name eth0 netns "+client)
	must(t, "ip -n "+server+" addr add 10.7.0.1/24 dev eth1")
	must(t, "ip -n "+server+" link set eth1 up")
	must(t, "ip -n "+client+" link set eth0 up")

	self, err := os.Executable()
	require.NoError(t, err)
	program := command(t, "ip", "netns", "exec", server, self)
	program.Env = append(os.Environ(), inNamespace+"="+file)
	program.Stderr = os.Stderr
	require.NoError(t, program.Start())
	t.Cleanup(func() {
		require.NoError(t, program.Process.Signal(syscall.SIGTERM))
		require.NoError(t, program.Wait())
	})

	ask := func(mac string) (string, error) {
		must(t, "ip -n "+client+" link set eth0 address "+mac)
		out, err := command(t, "ip", "netns", "exec", client, "udhcpc", "-i", "eth0", "-f", "-q", "-n", "-t", "4", "-T", "1", "-s",
			"/bin/true").CombinedOutput()
		return string(out), err
	}
	said, err := ask("52:54:00:00:00:01")
	require.NoError(t, err, said)
	require.Contains(t, said, "lease of 10.7.0.20 obtained from 10.7.0.1")
	said, err = ask("52:54:00:00:00:02")
	require.Error(t, err, said)
	require.NotContains(t, said, "10.7.0.")
}

func TestEveryMistakeOfTheFileIsNamed(t *testing.T) {
	_, err := read(strings.NewReader("mac,address,hostname\n52:54:00:00:00:01,10.7.0.20,a\n52:54:00:00:00:02,10.7.0.20,b\n"+
		"52:54:00:00:00:01,10.7.0.21,c\n52:54:00:00:00:03,10.8.0.1,d\nx,y,z\n"), subnet.Prefix)
	for _, want := range []string{"line 3: 10.7.0.20 is that of 52:54:00:00:00:01 already", "line 4: 52:54:00:00:00:01 has an address already",
		"line 5: 10.8.0.1 is not in 10.7.0.0/24", "line 6: "} {
		require.ErrorContains(t, err, want)
	}
	_, err = read(strings.NewReader("a,b,c\n"), subnet.Prefix)
	require.ErrorContains(t, err, "the first line must be mac,address,hostname")
	_, err = read(strings.NewReader("mac,address,hostname\na,b\n"), subnet.Prefix)
	require.ErrorContains(t, err, "wrong number of fields")
	require.ErrorContains(t, run(t.Context(), "eth1", subnet, "/nowhere/machines.csv"), "/nowhere/machines.csv")
}
