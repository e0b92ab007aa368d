package trust_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/trust"
)

func open(t *testing.T, dir string) *trust.Authority {
	t.Helper()
	a, err := trust.Open(dir)
	require.NoError(t, err)
	return a
}

func TestAuthorityIsMadeOnceAndOpenedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "ca")
	first := open(t, dir)
	require.Equal(t, first.PEM(), open(t, dir).PEM())
	key, err := os.Stat(filepath.Join(dir, "ca.key"))
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), key.Mode().Perm(), "only the owner may read the key")
	files, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, files, 2, "nothing else is left behind")
	require.NotEqual(t, first.PEM(), open(t, t.TempDir()).PEM(), "each site has its own")
}

// lodad serve and lodad bootos build may both be the first.
func TestProcessesThatOpenItForTheFirstTimeAtOnceGetTheSame(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	got, errs := make([]string, 8), make([]error, 8)
	for i := range got {
		wg.Go(func() {
			a, err := trust.Open(dir)
			if errs[i] = err; err == nil {
				got[i] = string(a.PEM())
			}
		})
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	for _, pem := range got {
		require.Equal(t, string(open(t, dir).PEM()), pem)
	}
}

func TestHalfAnAuthorityIsRefusedAndLeftAlone(t *testing.T) {
	for _, lost := range []string{"ca.key", "ca.pem"} {
		dir := t.TempDir()
		open(t, dir)
		require.NoError(t, os.Remove(filepath.Join(dir, lost)))
		_, err := trust.Open(dir)
		require.ErrorContains(t, err, lost+" is missing")
		require.ErrorContains(t, err, dir)
		_, err = os.Stat(filepath.Join(dir, lost))
		require.ErrorIs(t, err, os.ErrNotExist, "a new one would lock out every RAM disk that was built before")
	}
}

func TestAuthorityOfMismatchedOrForeignFilesIsRefused(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	open(t, dir)
	open(t, other)
	key, err := os.ReadFile(filepath.Join(other, "ca.key"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.key"), key, 0o600))
	_, err = trust.Open(dir)
	require.ErrorContains(t, err, dir)

	require.NoError(t, os.WriteFile(filepath.Join(dir, "ca.pem"), nil, 0o644))
	_, err = trust.Open(dir)
	require.Error(t, err)

	leaf := issue(t, open(t, other), "127.0.0.1:0", "")
	writePair(t, dir, leaf)
	_, err = trust.Open(dir)
	require.ErrorContains(t, err, "not a CA certificate")
}

// issue asks for a certificate as a client does that dialled addr and wants name.
func issue(t *testing.T, a *trust.Authority, addr, name string) *tls.Certificate {
	t.Helper()
	c, err := a.TLSConfig().GetCertificate(&tls.ClientHelloInfo{Conn: local{addr: addr}, ServerName: name})
	require.NoError(t, err)
	return c
}

// local is a connection of which only the local address is looked at.
type local struct {
	net.Conn
	addr string
}

func (l local) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(l.addr)) }

func writePair(t *testing.T, dir string, c *tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	require.NoError(t, err)
	for name, block := range map[string]*pem.Block{"ca.key": {Type: "PRIVATE KEY", Bytes: key},
		"ca.pem": {Type: "CERTIFICATE", Bytes: c.Certificate[0]}} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600))
	}
}

// serve answers over TLS on addr with certificates of a.
func serve(t *testing.T, a *trust.Authority, addr string) string {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	require.NoError(t, err)
	s := &http.Server{ErrorLog: log.New(io.Discard, "", 0), Handler: http.HandlerFunc(
		func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "fine") })}
	done := make(chan error)
	go func() { done <- s.Serve(tls.NewListener(l, a.TLSConfig())) }()
	t.Cleanup(func() {
		require.NoError(t, s.Close())
		<-done
	})
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// get asks for a page by a URL's host, which need not resolve: the connection goes to 127.0.0.x of dial.
func get(t *testing.T, roots *x509.CertPool, host, dial string) error {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, DisableKeepAlives: true}
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, dial)
	}
	resp, err := (&http.Client{Transport: transport}).Get("https://" + host + "/")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.Equal(t, "fine", string(text))
	return err
}

func TestServerIsKnownByWhateverAddressOrNameItIsReachedBy(t *testing.T) {
	a := open(t, t.TempDir())
	port := serve(t, a, "0.0.0.0:0")
	for _, host := range []string{"127.0.0.1", "127.0.0.77"} {
		require.NoError(t, get(t, a.Pool(), net.JoinHostPort(host, port), net.JoinHostPort(host, port)), host)
	}
	for _, host := range []string{"lodad", "lodad.rack.example", "a-name.of.tomorrow"} {
		require.NoError(t, get(t, a.Pool(), net.JoinHostPort(host, port), "127.0.0.1:"+port), host)
	}
	err := get(t, a.Pool(), net.JoinHostPort("127.0.0.2", port), "127.0.0.1:"+port)
	require.ErrorContains(t, err, "127.0.0.2", "an address is only vouched for by who has it")
}

func TestClientOfAnotherAuthorityRefusesTheServer(t *testing.T) {
	a, other := open(t, t.TempDir()), open(t, t.TempDir())
	port := serve(t, a, "127.0.0.1:0")
	host := net.JoinHostPort("127.0.0.1", port)
	var unknown x509.UnknownAuthorityError
	require.ErrorAs(t, get(t, other.Pool(), host, host), &unknown)
	require.ErrorAs(t, get(t, x509.NewCertPool(), host, host), &unknown)
	require.NoError(t, get(t, a.Pool(), host, host))
}

func TestAuthorityOpenedAgainIssuesWhatOldRAMDisksTrust(t *testing.T) {
	dir := t.TempDir()
	before := open(t, dir).Pool()
	port := serve(t, open(t, dir), "127.0.0.1:0")
	host := net.JoinHostPort("127.0.0.1", port)
	require.NoError(t, get(t, before, host, host))
}

func TestNamesOfClientsDoNotFillTheMemory(t *testing.T) {
	a := open(t, t.TempDir())
	for i := range 200 {
		issue(t, a, "127.0.0.1:1", strings.Repeat("a", i%50+1)+".example")
	}
	require.LessOrEqual(t, trust.Leaves(a), 64)
	first := issue(t, a, "127.0.0.1:1", "same.example")
	require.Same(t, first, issue(t, a, "127.0.0.1:1", "same.example"), "a certificate is made once")
	leaf := issue(t, a, "127.0.0.1:1", strings.Repeat("x", 300)).Leaf
	require.Equal(t, []string{"lodad"}, leaf.DNSNames)
}

func TestSecretIsKnownByItsHashAndSaysWhereItBelongs(t *testing.T) {
	secret := trust.NewSecret("inst1")
	require.NotEqual(t, secret, trust.NewSecret("inst1"))
	prefix, ok := trust.Prefix(secret)
	require.True(t, ok)
	require.Equal(t, "inst1", prefix)
	require.GreaterOrEqual(t, len(secret), len("inst1.")+43, "256 bits")

	hash := trust.Hash(secret)
	require.Len(t, hash, 64)
	require.NotContains(t, hash, secret)
	require.True(t, trust.Matches(secret, hash))
	require.False(t, trust.Matches(secret+"x", hash))
	require.False(t, trust.Matches(secret, ""), "no hash matches nothing")
	require.False(t, trust.Matches("", ""))
	require.False(t, trust.Matches(hash, hash), "the hash is no secret")

	for _, text := range []string{"", ".", "x", ".x", "x.", trust.NewSecret("")} {
		_, ok := trust.Prefix(text)
		require.False(t, ok, text)
	}
}
