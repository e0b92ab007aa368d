// Package trust makes what the parties of an installation recognise each other by: the site's certificate authority,
// which is pinned in the bootOS and in the first-boot seed, the server certificates under it, and one-time secrets.
package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	caFile  = "ca.pem"
	keyFile = "ca.key"
	// A RAM disk may start with a clock that stopped in the factory; the agent corrects it before it verifies, but
	// some hours of slack cost nothing.
	backdate = 48 * time.Hour
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 90 * 24 * time.Hour
)

// Authority is a certificate authority of one site. It issues the server's certificates on demand, one for each
// address that it is reached by, so that neither a new interface nor a new host name needs a person.
type Authority struct {
	cert *x509.Certificate
	key  crypto.Signer
	pem  []byte
	now  func() time.Time

	mu     sync.Mutex
	leaves map[string]*tls.Certificate
}

// Open loads the authority from dir, or makes one there (`ca.pem`, and `ca.key` readable by the owner only). Half an
// authority is an error: replacing a lost key would silently lock out every RAM disk built before. Several processes
// may open it for the first time at once, and all get the same.
func Open(dir string) (*Authority, error) {
	a, err := open(dir)
	for range 50 {
		if !errors.Is(err, errOthers) {
			break
		}
		time.Sleep(20 * time.Millisecond) // it writes the certificate next
		a, err = open(dir)
	}
	return a, err
}

// errOthers means that another process makes the authority just now, or died while it did.
var errOthers = errors.New("the key is there without the certificate")

func open(dir string) (*Authority, error) {
	certPEM, certErr := os.ReadFile(filepath.Join(dir, caFile))
	keyPEM, keyErr := os.ReadFile(filepath.Join(dir, keyFile))
	switch {
	case errors.Is(certErr, fs.ErrNotExist) && errors.Is(keyErr, fs.ErrNotExist):
		return create(dir)
	case errors.Is(certErr, fs.ErrNotExist) && keyErr == nil:
		return nil, fmt.Errorf("certificate authority in %s is incomplete: %s is missing (%w); restore it, or remove %s "+
			"as well and rebuild the bootOS", dir, caFile, errOthers, keyFile)
	case errors.Is(keyErr, fs.ErrNotExist) && certErr == nil:
		return nil, fmt.Errorf("certificate authority in %s is incomplete: %s is missing; restore it, or remove %s as well "+
			"and rebuild the bootOS", dir, keyFile, caFile)
	case certErr != nil || keyErr != nil:
		return nil, fmt.Errorf("certificate authority in %s: %w", dir, errors.Join(certErr, keyErr))
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("certificate authority in %s: %w", dir, err)
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("certificate authority in %s: %s is not a CA certificate", dir, caFile)
	}
	return newAuthority(pair.Leaf, key, certPEM), nil
}

func newAuthority(cert *x509.Certificate, key crypto.Signer, certPEM []byte) *Authority {
	return &Authority{cert: cert, key: key, pem: certPEM, now: time.Now, leaves: map[string]*tls.Certificate{}}
}

func create(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	tmpl := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "Loda site CA " + now.UTC().Format("2006-01-02")},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		IsCA:                  true,
		BasicConstraintsValid: true,
		MaxPathLenZero:        true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	// The key decides who makes the authority: a second process finds it there, and waits for the certificate.
	if err := writeNew(filepath.Join(dir, keyFile), keyPEM, 0o600); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return nil, errOthers
		}
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	if err := writeNew(filepath.Join(dir, caFile), certPEM, 0o644); err != nil {
		return nil, fmt.Errorf("certificate authority: %w", err)
	}
	return newAuthority(cert, key, certPEM), nil
}

// writeNew makes a file that is there as a whole or not at all, and is not replaced if it exists.
func writeNew(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Link(f.Name(), path)
}

func serial() *big.Int {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		panic(err) // crypto/rand.Reader never fails
	}
	return n
}

// PEM is the certificate to trust.
func (a *Authority) PEM() []byte { return a.pem }

// Pool holds nothing but this authority.
func (a *Authority) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// TLSConfig serves certificates under this authority. A client that sends no server name, as one that dials an
// address does, gets a certificate for the address it dialled; one that sends a name gets one for both.
func (a *Authority) TLSConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
			if err != nil {
				host = hello.Conn.LocalAddr().String()
			}
			return a.leaf(host, hello.ServerName)
		},
	}
}

// maxLeaves bounds the cache: the name in a ClientHello is the client's to choose.
const maxLeaves = 64

func (a *Authority) leaf(addr, name string) (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := addr + "\x00" + name
	if c, ok := a.leaves[id]; ok && a.now().Add(leafLife/3).Before(c.Leaf.NotAfter) {
		return c, nil
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	now := a.now()
	tmpl := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "lodad"},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"lodad"},
	}
	if ip := net.ParseIP(addr); ip != nil {
		tmpl.IPAddresses = append(tmpl.IPAddresses, ip)
	}
	if name != "" && len(name) <= 253 {
		tmpl.DNSNames = append(tmpl.DNSNames, name)
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	c := &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}
	a.leaves[id] = c
	return c, nil
}
