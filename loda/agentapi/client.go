package agentapi

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The calls, for whoever serves them. Every body is JSON, every error problem+json (RFC 9457) with a detail for people.
//
//	POST PathSession   SessionRequest  → 200 Session; 401 or 403: the token is no good
//	GET  PathAction?wait=SECONDS&told= → 200 Action; 204: none within that time, ask again
//	POST PathProgress  Progress        → 204
//	POST PathResult    Result          → 204, also for a result that is known already
//	POST PathLog       []LogLine       → 204
//	GET  PathFile                      → 200 with the file; 404: not for this machine; 502: it cannot be had;
//	                                     503: not yet, ask again
//
// All but the first carry the session's secret in the Authorization header. 401 says that the session is over: the
// machine has to netboot again. 404, 409 or 410 to progress or result say that this action is not wanted any more (the
// installation was canceled): the agent stops it and asks for the next. 429 and 503 may carry Retry-After.

// ErrSessionLost is returned when the server does not know the session (any more).
var ErrSessionLost = errors.New("the server ended this session")

// ErrTokenRefused is returned by [Client.Exchange] when the boot token is used, expired or another machine's.
var ErrTokenRefused = errors.New("the server refused the boot token")

// A StatusError is an answer other than success.
type StatusError struct {
	Status int
	// Detail is what the server said about it, or the beginning of what it sent.
	Detail string
	// RetryAfter is how long the server wants to be left alone; 0: it did not say.
	RetryAfter time.Duration
}

func (e *StatusError) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("HTTP status %d", e.Status)
	}
	return fmt.Sprintf("%s (HTTP status %d)", e.Detail, e.Status)
}

// Unwanted reports whether the server has no use for the action that was reported on.
func (e *StatusError) Unwanted() bool {
	return e.Status == http.StatusNotFound || e.Status == http.StatusConflict || e.Status == http.StatusGone
}

// Temporary reports whether the same request may succeed later without anybody's doing.
func (e *StatusError) Temporary() bool {
	return e.Status >= 500 || e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooEarly ||
		e.Status == http.StatusTooManyRequests
}

// ClientConfig says whom to talk to.
type ClientConfig struct {
	// Servers are base URLs, tried in turn; all of them https.
	Servers []string
	// Roots are the certificate authorities to trust; required, the system's are never used.
	Roots *x509.CertPool
	// Timeout bounds every call but the long poll, which gets [MaxWait] on top; 0 means 15 seconds.
	Timeout time.Duration
	// Now is the clock that certificates are verified by; nil means time.Now.
	Now func() time.Time
	// Dial replaces the dialer, for tests.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// Client is the agent's side of the protocol. It does not repeat calls, that is the agent's business; but after one
// that failed for want of a server, the next goes to the next server. It is safe for concurrent use.
type Client struct {
	cfg   ClientConfig
	bases []string
	http  *http.Client

	mu      sync.Mutex
	current int
	secret  string
	offset  time.Duration
	dated   bool
}

const (
	defaultTimeout = 15 * time.Second
	// maxAnswer bounds what a server can make the agent hold in memory: a cloud-init seed is the largest.
	maxAnswer = 8 << 20
)

// NewClient checks the configuration; it makes no connection.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Roots == nil {
		return nil, errors.New("no certificate authority to trust was given")
	}
	c := &Client{cfg: cfg}
	for _, s := range cfg.Servers {
		u, err := url.Parse(strings.TrimSpace(s))
		if err != nil {
			return nil, fmt.Errorf("server: %w", err)
		}
		if u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
			return nil, fmt.Errorf("server %q: want a URL such as https://10.77.0.1:8443", s)
		}
		c.bases = append(c.bases, strings.TrimRight(u.String(), "/"))
	}
	if len(c.bases) == 0 {
		return nil, errors.New("no server was given")
	}
	if c.cfg.Timeout == 0 {
		c.cfg.Timeout = defaultTimeout
	}
	if c.cfg.Now == nil {
		c.cfg.Now = time.Now
	}
	c.http = &http.Client{
		Transport: c.transport(&tls.Config{MinVersion: tls.VersionTLS12, RootCAs: cfg.Roots, Time: c.cfg.Now}),
		// Whoever answers with a redirect is not our server, and must not get the secret sent elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *Client) transport(conf *tls.Config) *http.Transport {
	dial := c.cfg.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext
	}
	return &http.Transport{ // no Proxy: the environment of a RAM disk is nobody's configuration
		DialContext: dial, TLSClientConfig: conf, TLSHandshakeTimeout: 10 * time.Second,
		IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2, ForceAttemptHTTP2: false,
	}
}

// Server is the base URL that the next call goes to.
func (c *Client) Server() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.bases[c.current]
}

// Offset is how far the server's clock was ahead of this machine's at the last answer, to about a second; ok is false
// before the first answer.
func (c *Client) Offset() (offset time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.offset, c.dated
}

// Exchange spends the boot token. The client uses the session from then on. [ErrTokenRefused] is final for this token.
func (c *Client) Exchange(ctx context.Context, req SessionRequest) (*Session, error) {
	var s Session
	err := c.call(ctx, http.MethodPost, PathSession, req, &s, c.cfg.Timeout)
	if e, ok := errors.AsType[*StatusError](err); ok &&
		(e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden) {
		return nil, fmt.Errorf("%w: %s", ErrTokenRefused, e.Error())
	}
	if err != nil {
		return nil, err
	}
	if s.Secret == "" {
		return nil, errors.New("the server's session has no secret")
	}
	c.mu.Lock()
	c.secret = s.Secret
	c.mu.Unlock()
	return &s, nil
}

// Next waits for an action for at most wait (and never more than [MaxWait]); nil and no error mean that there was none.
// told is the ID of the [ActionWait] that is being shown, if one is.
func (c *Client) Next(ctx context.Context, told string, wait time.Duration) (*Action, error) {
	wait = max(0, min(wait, MaxWait))
	var a Action
	path := PathAction + "?" + QueryWait + "=" + strconv.Itoa(int(wait/time.Second))
	if told != "" {
		path += "&" + QueryTold + "=" + url.QueryEscape(told)
	}
	if err := c.call(ctx, http.MethodGet, path, nil, &a, c.cfg.Timeout+wait); err != nil {
		return nil, err
	}
	if a == (Action{}) {
		return nil, nil
	}
	if a.ID == "" || a.Kind == "" {
		return nil, errors.New("the server sent an action without id or kind")
	}
	return &a, nil
}

// Progress reports on a running action.
func (c *Client) Progress(ctx context.Context, action string, p Progress) error {
	return c.call(ctx, http.MethodPost, actionPath(PathProgress, action), p, nil, c.cfg.Timeout)
}

// Result ends an action. It may be sent again until it was received.
func (c *Client) Result(ctx context.Context, action string, r Result) error {
	return c.call(ctx, http.MethodPost, actionPath(PathResult, action), r, nil, c.cfg.Timeout)
}

// Log sends lines for the timeline.
func (c *Client) Log(ctx context.Context, lines []LogLine) error {
	return c.call(ctx, http.MethodPost, PathLog, lines, nil, c.cfg.Timeout)
}

// File fetches a file that the site has for this machine, and checks its digest. What was written to w before an error is
// worthless. It may be called again; a [StatusError] says whether that helps.
func (c *Client) File(ctx context.Context, digest string, w io.Writer) error {
	// The server answers within a minute, or says that it needs longer; then bytes come.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	alive := time.AfterFunc(fileSilence, func() { cancel(fmt.Errorf("nothing came for %s", fileSilence)) })
	defer alive.Stop()
	resp, server, err := c.send(ctx, http.MethodGet, strings.Replace(PathFile, "{sha256}", url.PathEscape(digest), 1), nil)
	if err != nil {
		return cmp.Or(context.Cause(ctx), err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		data, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10)) // the status says enough
		e := statusError(resp, data)
		if e.Status == http.StatusUnauthorized {
			return fmt.Errorf("%w: %s", ErrSessionLost, e.Error())
		}
		return e
	}
	h := sha256.New()
	buf := make([]byte, 128<<10)
	for {
		n, err := resp.Body.Read(buf)
		alive.Reset(fileSilence)
		h.Write(buf[:n])
		if _, werr := w.Write(buf[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			c.turn(server)
			return cmp.Or(context.Cause(ctx), err)
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != digest {
		return fmt.Errorf("the file has sha256 %s, and %s is wanted", got, digest)
	}
	return nil
}

// fileSilence is how long a transfer may stand still.
const fileSilence = 90 * time.Second

func actionPath(path, id string) string { return strings.Replace(path, "{id}", url.PathEscape(id), 1) }

// call makes one call. An answer without a body leaves out as it was.
func (c *Client) call(ctx context.Context, method, path string, in, out any, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	var body io.Reader
	if in != nil {
		data, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(data)
	}
	resp, server, err := c.send(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	c.setOffset(resp.Header)
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		c.turn(server)
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		e := statusError(resp, data)
		if e.Status == http.StatusUnauthorized && path != PathSession {
			return fmt.Errorf("%w: %s", ErrSessionLost, e.Error())
		}
		if e.Status >= 500 {
			c.turn(server)
		}
		return e
	}
	if len(data) > maxAnswer {
		return fmt.Errorf("%s %s: the answer is longer than %d bytes", method, path, maxAnswer)
	}
	if out == nil || resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}

// send makes a request of the current server, with the session's secret if there is one. body is JSON or nil.
func (c *Client) send(ctx context.Context, method, path string, body io.Reader) (resp *http.Response, server int, err error) {
	c.mu.Lock()
	server, secret := c.current, c.secret
	c.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, method, c.bases[server]+path, body)
	if err != nil {
		return nil, server, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if secret != "" && path != PathSession {
		req.Header.Set("Authorization", "Bearer "+secret)
	}
	if resp, err = c.http.Do(req); err != nil {
		c.turn(server)
	}
	return resp, server, err
}

// turn goes on to the next server, unless another call did already.
func (c *Client) turn(from int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == from {
		c.current = (from + 1) % len(c.bases)
	}
}

func (c *Client) setOffset(h http.Header) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	// The header is cut to the second.
	c.offset, c.dated = date.Add(time.Second/2).Sub(c.cfg.Now()), true
}

func statusError(resp *http.Response, data []byte) *StatusError {
	e := &StatusError{Status: resp.StatusCode}
	var problem struct{ Title, Detail string }
	switch err := json.Unmarshal(data, &problem); {
	case err == nil && problem.Detail != "":
		e.Detail = problem.Detail
	case err == nil && problem.Title != "":
		e.Detail = problem.Title
	default:
		// A proxy's page, or a panic: enough of it to recognise.
		e.Detail = strings.Join(strings.Fields(string(data[:min(len(data), 200)])), " ")
	}
	if s, err := strconv.Atoi(resp.Header.Get("Retry-After")); err == nil && s > 0 {
		e.RetryAfter = time.Duration(min(s, 600)) * time.Second
	}
	return e
}

// IsClockError reports whether a call failed because this machine's clock says that the server's certificate is not
// valid now: see [Client.ServerTime].
func IsClockError(err error) bool {
	e, ok := errors.AsType[x509.CertificateInvalidError](err)
	return ok && e.Reason == x509.Expired
}

// ServerTime asks a server for the time, for a machine whose clock is so wrong that no certificate is valid. The
// server must still hold a certificate under our authority; only its dates are not looked at.
func (c *Client) ServerTime(ctx context.Context) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	base := c.Server()
	transport := c.transport(&tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // verifyUndated does it
		VerifyConnection:   func(s tls.ConnectionState) error { return c.verifyUndated(s, base) },
	})
	defer transport.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+PathAction, nil)
	if err != nil {
		return time.Time{}, err
	}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return time.Time{}, err
	}
	if err := resp.Body.Close(); err != nil {
		return time.Time{}, err
	}
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return time.Time{}, fmt.Errorf("the server's Date header: %w", err)
	}
	return date, nil
}

// verifyUndated verifies the chain at a time when the server's certificate was valid.
func (c *Client) verifyUndated(s tls.ConnectionState, base string) error {
	u, err := url.Parse(base)
	if err != nil {
		return err
	}
	leaf, between := s.PeerCertificates[0], x509.NewCertPool()
	for _, cert := range s.PeerCertificates[1:] {
		between.AddCert(cert)
	}
	_, err = leaf.Verify(x509.VerifyOptions{DNSName: u.Hostname(), Roots: c.cfg.Roots, Intermediates: between,
		CurrentTime: leaf.NotAfter.Add(-time.Second)})
	return err
}
