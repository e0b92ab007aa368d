package gitsource_test

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/binary"
	"encoding/pem"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"github.com/project-loda/loda/loda/gitsource"
)

// sshServer runs git-upload-pack for whoever has the key.
type sshServer struct {
	addr string
	mu   sync.Mutex
	host []ssh.Signer
	user ssh.PublicKey
	ran  []string
}

func newHostKey(t testing.TB) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	s, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return s
}

// sshFiles writes a new private key, and a known_hosts file for a server.
func sshFiles(t testing.TB, addr string, host ssh.Signer) (key, known string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKey(private, "test")
	require.NoError(t, err)
	key = secretFile(t, string(pem.EncodeToMemory(block)))
	known = filepath.Join(t.TempDir(), "known_hosts")
	line := knownhosts.Line([]string{knownhosts.Normalize(addr)}, host.PublicKey())
	require.NoError(t, os.WriteFile(known, []byte(line+"\n"), 0o644))
	return key, known
}

func publicKey(t testing.TB, file string) ssh.PublicKey {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	s, err := ssh.ParsePrivateKey(raw)
	require.NoError(t, err)
	return s.PublicKey()
}

func newSSHServer(t testing.TB, host ...ssh.Signer) *sshServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := &sshServer{addr: l.Addr().String(), host: host}
	var group sync.WaitGroup
	t.Cleanup(func() {
		l.Close()
		group.Wait()
	})
	group.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() {
				defer conn.Close()
				s.serve(conn)
			})
		}
	})
	return s
}

func (s *sshServer) serve(conn net.Conn) {
	s.mu.Lock()
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if c.User() != "git" || s.user == nil || string(key.Marshal()) != string(s.user.Marshal()) {
			return nil, os.ErrPermission
		}
		return nil, nil
	}}
	for _, h := range s.host {
		config.AddHostKey(h)
	}
	s.mu.Unlock()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		ch, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			if r.Type != "exec" {
				_ = r.Reply(false, nil)
				continue
			}
			line := string(r.Payload[4:])
			s.mu.Lock()
			s.ran = append(s.ran, line)
			s.mu.Unlock()
			_ = r.Reply(true, nil)
			path := strings.Trim(strings.TrimPrefix(line, "git-upload-pack "), "'")
			cmd := gitCommand(os.TempDir(), time.Now(), "upload-pack", path)
			cmd.Stdout, cmd.Stderr = ch, ch.Stderr()
			in, err := cmd.StdinPipe()
			if err == nil && cmd.Start() == nil {
				go func() {
					_, _ = io.Copy(in, ch)
					in.Close()
				}()
				_ = cmd.Wait()
			}
			status := make([]byte, 4)
			binary.BigEndian.PutUint32(status, uint32(cmd.ProcessState.ExitCode()))
			_, _ = ch.SendRequest("exit-status", false, status)
			ch.Close()
		}
	}
}

func TestSSHFetchesWithAKeyFromAKnownHost(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	host := newHostKey(t)
	server := newSSHServer(t, host)
	key, known := sshFiles(t, server.addr, host)
	server.user = publicKey(t, key)
	b := newBench(t, gitsource.Config{URL: "ssh://git@" + server.addr + u.bare,
		Auth: gitsource.Auth{KeyFile: key, KnownHostsFile: known}})
	b.sync()
	b.inUse(first)
	require.Equal(t, []string{"git-upload-pack '" + u.bare + "'"}, server.ran)
	second := u.push("Second", files{"a": "two"})
	b.sync()
	b.inUse(second)
	require.Equal(t, "two", b.read(second, "a"))
	b.sync()
	b.sound()

	newBench(t, gitsource.Config{URL: "ssh://git@" + server.addr + "/no'such", Auth: b.cfg.Auth}).
		syncFails("the server says", "not appear to be a git repository")
	newBench(t, gitsource.Config{URL: "ssh://git@" + server.addr + newUpstream(t).bare, Auth: b.cfg.Auth}).
		syncFails("is empty")

	wrong, _ := sshFiles(t, server.addr, host)
	newBench(t, gitsource.Config{URL: b.cfg.URL, Auth: gitsource.Auth{KeyFile: wrong, KnownHostsFile: known}}).
		syncFails("does not accept the key in "+wrong, "deploy key")
	require.NoError(t, os.Chmod(wrong, 0o644))
	newBench(t, gitsource.Config{URL: b.cfg.URL, Auth: gitsource.Auth{KeyFile: wrong, KnownHostsFile: known}}).
		syncFails("chmod o= " + wrong)
}

func TestUnknownAndChangedHostKeysAreRefusedWithWhatToDo(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	host, other := newHostKey(t), newHostKey(t)
	server := newSSHServer(t, host)
	key, known := sshFiles(t, server.addr, host)
	server.user = publicKey(t, key)
	auth := gitsource.Auth{KeyFile: key, KnownHostsFile: known}
	url := "ssh://git@" + server.addr + u.bare
	b := newBench(t, gitsource.Config{URL: url, Auth: auth})
	b.sync()

	server.mu.Lock()
	server.host = []ssh.Signer{other}
	server.mu.Unlock()
	b.syncFails("changed", ssh.FingerprintSHA256(other.PublicKey()), ssh.FingerprintSHA256(host.PublicKey()),
		"line 1 of "+known, "ask its operator")
	b.inUse(first)

	empty := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(empty, nil, 0o644))
	stranger := newBench(t, gitsource.Config{URL: url, Auth: gitsource.Auth{KeyFile: key, KnownHostsFile: empty}})
	_, err := stranger.Sync(t.Context())
	require.ErrorContains(t, err, "is not in "+empty)
	_, line, ok := strings.Cut(err.Error(), "then add this line: ")
	require.True(t, ok)
	require.NoError(t, os.WriteFile(empty, []byte(line+"\n"), 0o644))
	stranger.sync() // the remedy works as it is written
	stranger.inUse(first)

	revoked := filepath.Join(t.TempDir(), "known_hosts")
	require.NoError(t, os.WriteFile(revoked, []byte("@revoked * "+strings.SplitN(line, " ", 2)[1]+"\n"), 0o644))
	newBench(t, gitsource.Config{URL: url, Auth: gitsource.Auth{KeyFile: key, KnownHostsFile: revoked}}).
		syncFails("revoked")
	newBench(t, gitsource.Config{URL: url, Auth: gitsource.Auth{KeyFile: key, KnownHostsFile: "/nonexistent"}}).
		syncFails("known_hosts file cannot be read")
}

func TestKeyWithAPassphraseNeedsItsFile(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	host := newHostKey(t)
	server := newSSHServer(t, host)
	_, known := sshFiles(t, server.addr, host)
	public, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	block, err := ssh.MarshalPrivateKeyWithPassphrase(private, "test", []byte("open sesame"))
	require.NoError(t, err)
	key := secretFile(t, string(pem.EncodeToMemory(block)))
	server.user, err = ssh.NewPublicKey(public)
	require.NoError(t, err)
	cfg := gitsource.Config{URL: "ssh://git@" + server.addr + u.bare,
		Auth: gitsource.Auth{KeyFile: key, KnownHostsFile: known}}
	newBench(t, cfg).syncFails("has a passphrase")
	cfg.Auth.PassphraseFile = secretFile(t, "wrong")
	newBench(t, cfg).syncFails("cannot be read with the passphrase")
	cfg.Auth.PassphraseFile = secretFile(t, "open sesame\n")
	b := newBench(t, cfg)
	b.sync()
	b.inUse(first)
}

func TestServerWithSeveralHostKeysIsAskedForTheOneThatIsKnown(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	known, unknown := newHostKey(t), newECDSAKey(t)
	server := newSSHServer(t, unknown, known)
	key, file := sshFiles(t, server.addr, known)
	server.user = publicKey(t, key)
	b := newBench(t, gitsource.Config{URL: "ssh://git@" + server.addr + u.bare,
		Auth: gitsource.Auth{KeyFile: key, KnownHostsFile: file}})
	b.sync()
	b.inUse(first)
}

func newECDSAKey(t testing.TB) ssh.Signer {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	s, err := ssh.NewSignerFromKey(private)
	require.NoError(t, err)
	return s
}
