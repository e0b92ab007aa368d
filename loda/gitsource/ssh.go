package gitsource

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"
)

// sshRemote is a server that runs git-upload-pack when it is asked to by ssh. The user's own ssh configuration and
// agent are not looked at: a daemon has neither.
type sshRemote struct {
	address sshAddress
	auth    Auth
	limits  Limits
}

type sshAddress struct{ user, host, port, path string }

func newSSH(a sshAddress, auth Auth, limits Limits) (remote, error) {
	err := unused("ssh", map[string]string{
		"a token file is": auth.TokenFile, "a CA file is": auth.CAFile, "a user name is": auth.Username,
	})
	switch port, perr := strconv.ParseUint(a.port, 10, 16); {
	case err != nil:
		return nil, err
	case a.host == "" || strings.Trim(a.path, "/") == "":
		return nil, errors.New("the ssh URL lacks a host or a path")
	case strings.HasPrefix(a.host, "-") || strings.HasPrefix(a.path, "-"):
		return nil, errors.New("host and path of an ssh URL must not begin with a hyphen")
	case perr != nil || port == 0:
		return nil, fmt.Errorf("port %q of the ssh URL is none", a.port)
	case auth.KeyFile == "":
		return nil, errors.New("a key file is needed to fetch by ssh")
	case auth.KnownHostsFile == "":
		return nil, fmt.Errorf("a known_hosts file is needed to fetch by ssh: the one who runs %s publishes its host keys; "+
			"`ssh-keyscan %s` prints what it shows", a.host, a.host)
	}
	if a.user == "" {
		a.user = "git"
	}
	return &sshRemote{address: a, auth: auth, limits: limits}, nil
}

func (r *sshRemote) signer() (ssh.Signer, error) {
	raw, err := readPrivate("key", r.auth.KeyFile, 64<<10)
	if err != nil {
		return nil, err
	}
	var signer ssh.Signer
	if r.auth.PassphraseFile != "" {
		passphrase, err := readSecret("passphrase", r.auth.PassphraseFile)
		if err != nil {
			return nil, err
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(raw, []byte(passphrase))
		if err != nil {
			return nil, fmt.Errorf("the key file %s cannot be read with the passphrase in %s: %w", r.auth.KeyFile,
				r.auth.PassphraseFile, err)
		}
		return signer, nil
	}
	signer, err = ssh.ParsePrivateKey(raw)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, fmt.Errorf("the key in %s has a passphrase: give a passphrase file", r.auth.KeyFile)
	}
	if err != nil {
		return nil, fmt.Errorf("the key file %s cannot be read: %w", r.auth.KeyFile, err)
	}
	return signer, nil
}

// hostKeys returns what checks the server's key, and the kinds of keys that are known for it: a server has several, and
// shows the one that is asked for first.
func (r *sshRemote) hostKeys(addr string) (ssh.HostKeyCallback, []string, error) {
	file := r.auth.KnownHostsFile
	if _, err := os.Stat(file); err != nil {
		return nil, nil, fmt.Errorf("the known_hosts file cannot be read: %w", err)
	}
	known, err := knownhosts.New(file)
	if err != nil {
		return nil, nil, fmt.Errorf("the known_hosts file %s cannot be read: %w", file, err)
	}
	var algorithms []string
	var keys *knownhosts.KeyError
	if err := known(addr, &net.TCPAddr{IP: net.IPv4zero}, noKey{}); errors.As(err, &keys) {
		for _, k := range keys.Want {
			if k.Key.Type() == ssh.KeyAlgoRSA {
				algorithms = append(algorithms, ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256)
			} else {
				algorithms = append(algorithms, k.Key.Type())
			}
		}
	}
	check := func(host string, remote net.Addr, key ssh.PublicKey) error {
		err := known(host, remote, key)
		var mismatch *knownhosts.KeyError
		var revoked *knownhosts.RevokedError
		shown := key.Type() + " " + ssh.FingerprintSHA256(key)
		switch {
		case errors.As(err, &revoked):
			return fmt.Errorf("the host key %s of %s is marked as revoked in %s", shown, host, file)
		case errors.As(err, &mismatch) && len(mismatch.Want) == 0:
			return fmt.Errorf("the host key of %s is not in %s; it shows %s. Compare that with what its operator publishes, "+
				"then add this line: %s", host, file, shown, knownhosts.Line([]string{knownhosts.Normalize(host)}, key))
		case errors.As(err, &mismatch):
			w := mismatch.Want[0]
			return fmt.Errorf("the host key of %s changed: it shows %s, and line %d of %s says %s %s. Either somebody stands "+
				"between, or it was installed anew: ask its operator before you replace that line", host, shown, w.Line, file,
				w.Key.Type(), ssh.FingerprintSHA256(w.Key))
		}
		return err
	}
	return check, algorithms, nil
}

// noKey is a key that no file knows.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

func (r *sshRemote) open(ctx context.Context) (session, error) {
	signer, err := r.signer()
	if err != nil {
		return nil, err
	}
	addr := net.JoinHostPort(r.address.host, r.address.port)
	check, algorithms, err := r.hostKeys(addr)
	if err != nil {
		return nil, err
	}
	conn, err := (&net.Dialer{Timeout: 30 * time.Second}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	s := &sshSession{remote: r, stop: context.AfterFunc(ctx, func() { conn.Close() })}
	s.closers = append(s.closers, conn)
	if err := s.start(ctx, conn, addr, &ssh.ClientConfig{
		User: r.address.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: check, HostKeyAlgorithms: algorithms, ClientVersion: "SSH-2.0-" + agent,
	}); err != nil {
		s.close()
		if ctx.Err() != nil {
			return nil, fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return nil, err
	}
	return s, nil
}

type sshSession struct {
	remote  *sshRemote
	stop    func() bool
	closers []io.Closer
	in      io.WriteCloser
	out     io.Reader
	said    lastWords
	adv     advertisement
	caps    *capability.List
	asked   bool
}

func (s *sshSession) start(ctx context.Context, conn net.Conn, addr string, config *ssh.ClientConfig) error {
	c, channels, requests, err := ssh.NewClientConn(conn, addr, config)
	if err != nil {
		if strings.Contains(err.Error(), "unable to authenticate") {
			return fmt.Errorf("%s does not accept the key in %s for user %s: is it entered there as a deploy key? (%w)", addr,
				s.remote.auth.KeyFile, config.User, err)
		}
		return sanitized{err}
	}
	client := ssh.NewClient(c, channels, requests)
	s.closers = append(s.closers, client)
	sess, err := client.NewSession()
	if err != nil {
		return fmt.Errorf("%s opens no session: %w", addr, sanitized{err})
	}
	s.closers = append(s.closers, sess)
	sess.Stderr = &s.said
	if s.in, err = sess.StdinPipe(); err != nil {
		return err
	}
	if s.out, err = sess.StdoutPipe(); err != nil {
		return err
	}
	if err := sess.Start(uploadPack + " " + quote(s.remote.path())); err != nil {
		return fmt.Errorf("%s does not run %s: %w", addr, uploadPack, sanitized{err})
	}
	s.adv, s.caps, err = readAdvertisement(s.out)
	if err != nil {
		_ = sess.Wait() // for what it has to say
		return s.explain(err)
	}
	return nil
}

// path is what the server is asked for. In user@host:path it is relative to the user's home.
func (r *sshRemote) path() string {
	if strings.HasPrefix(r.address.path, "/~") {
		return strings.TrimPrefix(r.address.path, "/")
	}
	return path.Clean(r.address.path)
}

// quote makes a text one word for the shell that an ssh server starts.
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// explain adds what the server's program said.
func (s *sshSession) explain(err error) error {
	if text := s.said.String(); text != "" {
		return fmt.Errorf("%w; the server says: %s", err, oneLine(text, 300))
	}
	return err
}

func (s *sshSession) refs() advertisement { return s.adv }

func (s *sshSession) fetch(ctx context.Context, req request, into *store) (int64, error) {
	body, err := encodeRequest(req, s.caps)
	if err != nil {
		return 0, err
	}
	s.asked = true
	if _, err := s.in.Write(body); err != nil {
		return 0, s.explain(err)
	}
	n, err := receive(s.out, into, s.remote.limits)
	if err != nil {
		return n, s.explain(err)
	}
	return n, nil
}

func (s *sshSession) close() {
	if s.in != nil && !s.asked {
		_, _ = s.in.Write([]byte("0000")) // the polite way to want nothing; a server that is gone does not mind
	}
	s.stop()
	for i := len(s.closers) - 1; i >= 0; i-- {
		s.closers[i].Close()
	}
}

// lastWords keeps the beginning of what a program says on its error output.
type lastWords struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := 4096 - l.b.Len(); room > 0 {
		l.b.Write(p[:min(len(p), room)])
	}
	return len(p), nil
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(l.b.String())
}
