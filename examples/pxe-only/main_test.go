package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pin/tftp/v3"
	"github.com/stretchr/testify/require"
)

// freePorts returns addresses that were free a moment ago.
func freePorts(t *testing.T) (tcp, udp string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	defer p.Close()
	return l.Addr().String(), p.LocalAddr().String()
}

func TestMachineGetsItsNBPThenItsScriptThenItsKernel(t *testing.T) {
	dir, nbps := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vmlinuz"), []byte("kernel"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(nbps, "undionly.kpxe"), []byte("ipxe"), 0o644))
	s := &server{dir: dir, nbps: nbps + ",/nowhere", kernel: "vmlinuz", initrds: "a,b", args: "quiet"}
	s.http, s.tftp = freePorts(t)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.run(ctx) }()

	fetch := func(url string) string {
		resp, err := http.Get(url)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(body)
	}
	require.Eventually(t, func() bool {
		resp, err := http.Get("http://" + s.http + "/boot/ipxe")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil
	}, 10*time.Second, 10*time.Millisecond)

	c, err := tftp.NewClient(s.tftp)
	require.NoError(t, err)
	var nbp bytes.Buffer
	require.Eventually(t, func() bool {
		w, err := c.Receive("undionly.kpxe", "octet")
		if err != nil {
			return false
		}
		nbp.Reset()
		_, err = w.WriteTo(&nbp)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	require.Equal(t, "ipxe", nbp.String())
	script := fetch("http://" + s.http + "/boot/script?serial=ABC123&platform=efi")
	require.Contains(t, script, fmt.Sprintf("http://%s/artifacts/vmlinuz initrd=initrd0 initrd=initrd1 quiet ||", s.http))
	require.Contains(t, script, fmt.Sprintf("initrd --name initrd1 http://%s/artifacts/b ||", s.http))
	require.Equal(t, "kernel", fetch("http://"+s.http+"/artifacts/vmlinuz"))

	cancel()
	require.NoError(t, <-done)
}

func TestMissingDirectoriesAreNamed(t *testing.T) {
	s := &server{dir: t.TempDir(), nbps: "/nowhere/ipxe"}
	require.ErrorContains(t, s.run(t.Context()), "/nowhere/ipxe")
	s = &server{dir: "/nowhere/artifacts", nbps: t.TempDir()}
	require.ErrorContains(t, s.run(t.Context()), "/nowhere/artifacts")
}
