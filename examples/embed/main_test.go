package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/site"
)

// free returns an address of the loopback interface whose port was free a moment ago.
func free(t *testing.T, network string) string {
	t.Helper()
	if network == "udp" {
		p, err := net.ListenPacket("udp", "127.0.0.1:0")
		require.NoError(t, err)
		defer p.Close()
		return p.LocalAddr().String()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// built is a directory with what `lodad bootos build` and `lodad image build-debian` leave behind, in small.
func built(t *testing.T) site.Layout {
	t.Helper()
	dir := site.Layout(t.TempDir())
	require.NoError(t, dir.Make())
	content := []byte("an operating system")
	sum := sha256.Sum256(content)
	description, err := json.Marshal(image.Image{Name: "debian-12", File: "debian-12.img", Format: "raw", Created: time.Now(),
		Bytes: int64(len(content)), RawBytes: int64(len(content)), SHA256: hex.EncodeToString(sum[:])})
	require.NoError(t, err)
	for path, text := range map[string][]byte{
		filepath.Join(dir.Images(), "debian-12.img"):  content,
		filepath.Join(dir.Images(), "debian-12.json"): description,
		filepath.Join(dir.BootOS(), "vmlinuz"):        []byte("kernel"),
		filepath.Join(dir.BootOS(), "initramfs"):      []byte("initramfs"),
	} {
		require.NoError(t, os.WriteFile(path, text, 0o644))
	}
	return dir
}

// start runs serve, and returns what stops it and waits for it.
func start(t *testing.T, c site.Config, machines io.Reader) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- serve(ctx, c, machines) }()
	ca := filepath.Join(c.Dir.CA(), "ca.pem")
	require.Eventually(t, func() bool {
		select {
		case err := <-done:
			done <- err
			return true
		default:
		}
		pem, err := os.ReadFile(ca)
		roots := x509.NewCertPool()
		if err != nil || !roots.AppendCertsFromPEM(pem) {
			return false
		}
		client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}}
		resp, err := client.Get("https://" + c.API + "/healthz")
		if err != nil {
			return false
		}
		return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
	}, 20*time.Second, 10*time.Millisecond, "the API answers over TLS with the site's own authority")
	return func() error { cancel(); return <-done }
}

func script(t *testing.T, c site.Config, serial, mac string) string {
	t.Helper()
	resp, err := http.Get("http://" + c.Boot + "/boot/script?serial=" + serial + "&mac=" + mac)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(text)
}

func TestAnEmbeddedSiteBootsWhatItImportedAndLeavesAllElseAlone(t *testing.T) {
	c := site.Config{Dir: built(t), NBPDirs: []string{t.TempDir()},
		API: free(t, "tcp"), Boot: free(t, "tcp"), TFTP: free(t, "udp")}
	stop := start(t, c, strings.NewReader("serial,profile\nCZ20190A01,debian\n"))

	wanted := script(t, c, "CZ20190A01", "52:54:00:00:00:01")
	require.Contains(t, wanted, "/artifacts/bootos/vmlinuz")
	require.Contains(t, wanted, "loda.token=")
	foreign := script(t, c, "CZ20190A99", "52:54:00:00:00:99")
	require.NotContains(t, foreign, "vmlinuz")
	require.NotContains(t, foreign, "loda.token=")
	require.NoError(t, stop())

	// A program that starts again goes on where it stood, without another import.
	stop = start(t, c, nil)
	require.Contains(t, script(t, c, "CZ20190A01", "52:54:00:00:00:01"), "loda.token=")
	require.NoError(t, stop())
}

func TestAnImportThatIsWrongStartsNothing(t *testing.T) {
	c := site.Config{Dir: built(t), NBPDirs: []string{t.TempDir()},
		API: free(t, "tcp"), Boot: free(t, "tcp"), TFTP: free(t, "udp")}
	err := serve(t.Context(), c, strings.NewReader("serial,profile\nCZ20190A01,windows\n"))
	require.ErrorContains(t, err, "line 2, profile")
	l, err := net.Listen("tcp", c.API)
	require.NoError(t, err, "the port is free")
	require.NoError(t, l.Close())
}
