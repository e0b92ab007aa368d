package gitsource

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
)

// httpRemote is a server that speaks git's "smart" protocol over https, gitprotocol-http(5).
type httpRemote struct {
	base   *url.URL
	auth   Auth
	limits Limits
}

func newHTTP(u *url.URL, auth Auth, limits Limits) (remote, error) {
	err := unused(u.Scheme, map[string]string{
		"a key file is": auth.KeyFile, "a passphrase file is": auth.PassphraseFile,
		"a known_hosts file is": auth.KnownHostsFile,
	})
	if err != nil {
		return nil, err
	}
	if strings.ContainsAny(auth.Username, ":\r\n") {
		return nil, errors.New("the user name must not hold colons or line ends")
	}
	base := *u
	base.Path = strings.TrimRight(base.Path, "/")
	return &httpRemote{base: &base, auth: auth, limits: limits}, nil
}

// readSecret reads a token or passphrase from a file: one line.
func readSecret(kind, path string) (string, error) {
	raw, err := readPrivate(kind, path, 16<<10)
	if err != nil {
		return "", err
	}
	text := strings.TrimRight(string(raw), "\r\n")
	if text == "" || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return "", fmt.Errorf("the %s file %s has to hold one line, and nothing else", kind, path)
	}
	return text, nil
}

// readPrivate reads a small file that not everybody may read.
func readPrivate(kind, path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the %s file cannot be read: %w", kind, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("the %s file cannot be read: %w", kind, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("the %s file %s is not a regular file", kind, path)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("everybody on this host can read the %s file %s: run `chmod o= %s`", kind, path, path)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, fmt.Errorf("the %s file cannot be read: %w", kind, err)
	}
	if int64(len(raw)) > limit {
		return nil, fmt.Errorf("the %s file %s has more than %d bytes", kind, path, limit)
	}
	return raw, nil
}

type httpSession struct {
	remote *httpRemote
	base   *url.URL // where redirects led
	token  string
	client *http.Client
	adv    advertisement
	caps   *capability.List
}

func (r *httpRemote) open(ctx context.Context) (_ session, err error) {
	s := &httpSession{remote: r, base: r.base}
	defer func() { err = s.mask(err) }()
	if r.auth.TokenFile != "" {
		if s.token, err = readSecret("token", r.auth.TokenFile); err != nil {
			return nil, err
		}
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if r.auth.CAFile != "" {
		raw, err := os.ReadFile(r.auth.CAFile)
		if err != nil {
			return nil, fmt.Errorf("the CA file cannot be read: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("the CA file %s holds no certificate in PEM", r.auth.CAFile)
		}
	}
	s.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 30 * time.Second}).DialContext,
			TLSClientConfig:        config,
			TLSHandshakeTimeout:    30 * time.Second,
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: s.redirect,
	}
	if err := s.advertise(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// redirect follows only within one server: GitLab leads from `/group/project` to `/group/project.git`.
func (s *httpSession) redirect(req *http.Request, via []*http.Request) error {
	if len(via) > 5 {
		return errors.New("more than 5 redirects")
	}
	if req.Method != http.MethodGet {
		return errors.New("the server redirects in the middle of a fetch")
	}
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		to := *req.URL
		to.User, to.RawQuery, to.Fragment = nil, "", ""
		return fmt.Errorf("the server redirects to %s; if that is right, use it as the URL",
			oneLine(strings.TrimSuffix(to.String(), "/info/refs"), 200))
	}
	return nil
}

const uploadPack = "git-upload-pack"

func (s *httpSession) advertise(ctx context.Context) error {
	u := *s.base
	u.Path += "/info/refs"
	u.RawQuery = "service=" + uploadPack
	resp, err := s.do(ctx, http.MethodGet, &u, nil, "application/x-"+uploadPack+"-advertisement")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if at := resp.Request.URL; at.Path != u.Path {
		base := *at
		var ok bool
		if base.Path, ok = strings.CutSuffix(at.Path, "/info/refs"); !ok {
			return fmt.Errorf("the server redirects to %s, which is no git repository: it may want a login; a token is "+
				"needed", oneLine(at.Path, 200))
		}
		base.RawQuery = ""
		s.base = &base
	}
	s.adv, s.caps, err = readAdvertisement(resp.Body)
	return err
}

func (s *httpSession) do(ctx context.Context, method string, u *url.URL, body []byte, accept string) (*http.Response,
	error) {
	req, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", "git/"+agent) // some servers answer git clients only
	req.Header.Set("Accept", accept)
	if body != nil {
		req.Header.Set("Content-Type", "application/x-"+uploadPack+"-request")
	}
	if s.token != "" {
		user := s.remote.auth.Username
		if user == "" {
			user = "git"
		}
		req.SetBasicAuth(user, s.token)
	}
	resp, err := s.client.Do(req)
	if err != nil {
		var unknown x509.UnknownAuthorityError
		if errors.As(err, &unknown) {
			return nil, fmt.Errorf("%w: if the server's certificate is from an authority of your own, give its certificate "+
				"as the CA file", err)
		}
		return nil, err
	}
	if err := s.judge(resp, accept); err != nil {
		resp.Body.Close()
		return nil, err
	}
	return resp, nil
}

func (s *httpSession) judge(resp *http.Response, accept string) error {
	token := "without a token; give one in a token file"
	if s.token != "" {
		token = fmt.Sprintf("with the token in %s; is it right, not expired, and may it read this repository?",
			s.remote.auth.TokenFile)
	}
	switch resp.StatusCode {
	case http.StatusOK:
		if got := resp.Header.Get("Content-Type"); got != accept {
			return fmt.Errorf("the server's answer is %q and not what a git server sends: is the URL that of a repository, "+
				"as for `git clone`?", oneLine(got, 100))
		}
		return nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return fmt.Errorf("the server refuses the repository (HTTP %d) %s", resp.StatusCode, token)
	case http.StatusNotFound:
		return fmt.Errorf("the server does not know the repository, or does not show it (HTTP 404) %s", token)
	}
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 300)) // it is only for people
	return fmt.Errorf("the server answers HTTP %d: %s", resp.StatusCode, oneLine(strings.TrimSpace(string(text)), 200))
}

func (s *httpSession) refs() advertisement { return s.adv }

func (s *httpSession) fetch(ctx context.Context, req request, into *store) (n int64, err error) {
	defer func() { err = s.mask(err) }()
	body, err := encodeRequest(req, s.caps)
	if err != nil {
		return 0, err
	}
	u := *s.base
	u.Path += "/" + uploadPack
	resp, err := s.do(ctx, http.MethodPost, &u, body, "application/x-"+uploadPack+"-result")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return receive(resp.Body, into, s.remote.limits)
}

func (s *httpSession) close() { s.client.CloseIdleConnections() }

// mask keeps a token that a server repeats out of errors.
func (s *httpSession) mask(err error) error {
	if err == nil || s.token == "" {
		return err
	}
	text := err.Error()
	user := s.remote.auth.Username
	if user == "" {
		user = "git"
	}
	masked := text
	for _, secret := range []string{
		base64.StdEncoding.EncodeToString([]byte(user + ":" + s.token)), s.token, url.QueryEscape(s.token),
	} {
		masked = strings.ReplaceAll(masked, secret, "***")
	}
	if masked == text {
		return err
	}
	var l *limitError
	if errors.As(err, &l) {
		return &limitError{masked}
	}
	return errors.New(masked)
}
