package agentapi_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/trust"
)

// site is a server under an authority of its own.
type site struct {
	*httptest.Server
	ca *trust.Authority
}

func newSite(t *testing.T, handler http.HandlerFunc) *site {
	t.Helper()
	ca, err := trust.Open(t.TempDir())
	require.NoError(t, err)
	return &site{serve(t, ca, handler), ca}
}

// serve does not use StartTLS, which brings a certificate of its own.
func serve(t *testing.T, ca *trust.Authority, handler http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	s.Listener = tls.NewListener(s.Listener, ca.TLSConfig())
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	s.URL = "https://" + s.Listener.Addr().String()
	t.Cleanup(s.Close)
	return s
}

func (s *site) client(t *testing.T, change ...func(*agentapi.ClientConfig)) *agentapi.Client {
	t.Helper()
	cfg := agentapi.ClientConfig{Servers: []string{s.URL}, Roots: s.ca.Pool(), Timeout: 3 * time.Second}
	for _, c := range change {
		c(&cfg)
	}
	c, err := agentapi.NewClient(cfg)
	require.NoError(t, err)
	return c
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func TestTheSecretOfTheSessionGoesWithEveryCallAfterTheExchange(t *testing.T) {
	var calls []string
	s := newSite(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		calls = append(calls, r.Method+" "+r.URL.String()+" "+r.Header.Get("Authorization")+" "+string(body))
		switch r.URL.Path {
		case agentapi.PathSession:
			answer(w, agentapi.Session{Secret: "s3cret", Installation: "i1"})
		case agentapi.PathAction:
			answer(w, agentapi.Action{ID: "a/1", Kind: agentapi.ActionDetect})
		default:
			w.WriteHeader(http.StatusNoContent)
		}
	})
	c, ctx := s.client(t), t.Context()
	session, err := c.Exchange(ctx, agentapi.SessionRequest{Token: "t"})
	require.NoError(t, err)
	require.Equal(t, "i1", session.Installation)
	a, err := c.Next(ctx, "wait 1", 7*time.Second)
	require.NoError(t, err)
	require.Equal(t, agentapi.ActionDetect, a.Kind)
	require.NoError(t, c.Progress(ctx, a.ID, agentapi.Progress{Fraction: 0.5, Text: "half"}))
	require.NoError(t, c.Result(ctx, a.ID, agentapi.Result{OK: true}))
	require.NoError(t, c.Log(ctx, []agentapi.LogLine{{Text: "x"}}))
	require.Equal(t, []string{
		`POST /agent/v1/session  {"token":"t","nonce":"","serial":"","macs":null,"version":"","uptime":0}`,
		`GET /agent/v1/action?wait=7&told=wait+1 Bearer s3cret `,
		`POST /agent/v1/actions/a%2F1/progress Bearer s3cret {"fraction":0.5,"text":"half"}`,
		`POST /agent/v1/actions/a%2F1/result Bearer s3cret {"ok":true,"seconds":0}`,
		`POST /agent/v1/log Bearer s3cret [{"time":"0001-01-01T00:00:00Z","text":"x"}]`,
	}, calls)
}

func TestAServerUnderAnotherAuthorityNeverSeesTheToken(t *testing.T) {
	var asked atomic.Int32
	s := newSite(t, func(http.ResponseWriter, *http.Request) { asked.Add(1) })
	other, err := trust.Open(t.TempDir())
	require.NoError(t, err)
	c := s.client(t, func(c *agentapi.ClientConfig) { c.Roots = other.Pool() })
	_, err = c.Exchange(t.Context(), agentapi.SessionRequest{Token: "t"})
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
	require.False(t, agentapi.IsClockError(err))
	_, err = c.ServerTime(t.Context())
	require.ErrorAs(t, err, new(x509.UnknownAuthorityError), "not even the time is taken from it")
	require.Zero(t, asked.Load())
}

func TestACertificateForAnotherAddressIsRefused(t *testing.T) {
	ca, err := trust.Open(t.TempDir())
	require.NoError(t, err)
	s := serve(t, ca, http.NotFoundHandler()) // its certificate is for 127.0.0.1, where it listens
	u, err := url.Parse(s.URL)
	require.NoError(t, err)
	c, err := agentapi.NewClient(agentapi.ClientConfig{Servers: []string{"https://127.0.0.2:" + u.Port()},
		Roots: ca.Pool(),
		Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, u.Host)
		}})
	require.NoError(t, err)
	_, err = c.Next(t.Context(), "", 0)
	require.ErrorAs(t, err, new(x509.HostnameError))
	_, err = c.ServerTime(t.Context())
	require.ErrorAs(t, err, new(x509.HostnameError))
}

func TestAnswersAreToldApart(t *testing.T) {
	for name, tc := range map[string]struct {
		status      int
		body        string
		header      http.Header
		call        func(context.Context, *agentapi.Client) error
		is          error
		temporary   bool
		unwanted    bool
		says        string
		retryAfter  time.Duration
		isNotStatus bool
	}{
		"a used token": {status: 403, body: `{"detail":"token was used"}`, call: exchange,
			is: agentapi.ErrTokenRefused, says: "token was used"},
		"an unknown token": {status: 401, call: exchange, is: agentapi.ErrTokenRefused},
		"a session that ends": {status: 401, body: `{"detail":"replaced by a new boot"}`, call: next,
			is: agentapi.ErrSessionLost, says: "replaced by a new boot"},
		"a busy server": {status: 503, header: http.Header{"Retry-After": {"7"}}, call: next, temporary: true,
			retryAfter: 7 * time.Second},
		"a pause without end": {status: 429, header: http.Header{"Retry-After": {"99999"}}, call: next, temporary: true,
			retryAfter: 10 * time.Minute},
		"a canceled action": {status: 409, body: `{"title":"Conflict"}`, call: progress, unwanted: true,
			says: "Conflict"},
		"an action of yesterday": {status: 410, call: progress, unwanted: true},
		"a proxy's own page": {status: 502, body: "<html>\n<h1>Bad   Gateway</h1>", call: next, temporary: true,
			says: "<html> <h1>Bad Gateway</h1>"},
		"a redirect to elsewhere": {status: 307, header: http.Header{"Location": {"https://127.0.0.1:1/"}}, call: next},
		"a body that is no JSON":  {status: 200, body: "welcome", call: next, isNotStatus: true, says: "invalid character"},
		"an action without kind": {status: 200, body: `{"id":"x"}`, call: next, isNotStatus: true,
			says: "without id or kind"},
		"a session without key": {status: 200, body: `{}`, call: exchange, isNotStatus: true, says: "no secret"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tc.header {
					w.Header()[k] = v
				}
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			err := tc.call(t.Context(), s.client(t))
			require.ErrorContains(t, err, tc.says)
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
				return
			}
			var status *agentapi.StatusError
			if tc.isNotStatus {
				require.NotErrorAs(t, err, &status)
				return
			}
			require.ErrorAs(t, err, &status)
			require.Equal(t, tc.status, status.Status)
			require.Equal(t, tc.temporary, status.Temporary())
			require.Equal(t, tc.unwanted, status.Unwanted())
			require.Equal(t, tc.retryAfter, status.RetryAfter)
		})
	}
}

func exchange(ctx context.Context, c *agentapi.Client) error {
	_, err := c.Exchange(ctx, agentapi.SessionRequest{})
	return err
}

func next(ctx context.Context, c *agentapi.Client) error {
	_, err := c.Next(ctx, "", 0)
	return err
}

func progress(ctx context.Context, c *agentapi.Client) error {
	return c.Progress(ctx, "a", agentapi.Progress{})
}

func TestNoActionIsNoError(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	a, err := s.client(t).Next(t.Context(), "", time.Second)
	require.NoError(t, err)
	require.Nil(t, a)
}

func TestAServerThatNeverAnswersIsLeftInTime(t *testing.T) {
	release := make(chan struct{})
	// Not even when the client hangs up: net/http takes an answer that comes in that moment.
	s := newSite(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c := s.client(t, func(c *agentapi.ClientConfig) { c.Timeout = 200 * time.Millisecond })
	start := time.Now()
	_, err := c.Next(t.Context(), "", time.Second)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.InDelta(t, 1.2, time.Since(start).Seconds(), 1, "the long poll and a little more")
}

func TestAfterAFailureTheNextServerIsAsked(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	dead := httptest.NewTLSServer(nil)
	dead.Close()
	c := s.client(t, func(c *agentapi.ClientConfig) { c.Servers = []string{dead.URL, s.URL + "/"} })
	_, err := c.Next(t.Context(), "", 0)
	require.Error(t, err)
	require.Equal(t, s.URL, c.Server())
	_, err = c.Next(t.Context(), "", 0)
	require.NoError(t, err)
	require.Equal(t, s.URL, c.Server(), "and stays with who answered")
}

func TestAMachineWhoseClockStandsInThePastLearnsTheTime(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	past := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	c := s.client(t, func(c *agentapi.ClientConfig) { c.Now = func() time.Time { return past } })
	_, err := c.Next(t.Context(), "", 0)
	require.True(t, agentapi.IsClockError(err), "%v", err)
	now, err := c.ServerTime(t.Context())
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), now, 3*time.Second)
	past = now
	_, err = c.Next(t.Context(), "", 0)
	require.ErrorIs(t, err, agentapi.ErrSessionLost)
	off, ok := c.Offset()
	require.True(t, ok)
	require.Less(t, off.Abs(), 4*time.Second)
}

func TestAnAnswerWithoutEndIsNotRead(t *testing.T) {
	s := newSite(t, func(w http.ResponseWriter, _ *http.Request) {
		for chunk := make([]byte, 1<<20); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	_, err := s.client(t).Next(t.Context(), "", 0)
	require.ErrorContains(t, err, "longer than")
}

func TestOnlyServersOverTLSAreAccepted(t *testing.T) {
	roots := x509.NewCertPool()
	for _, bad := range []string{"http://10.0.0.1", "10.0.0.1:8443", "https://", "https://user@h", "https://h?x",
		":", ""} {
		_, err := agentapi.NewClient(agentapi.ClientConfig{Servers: []string{bad}, Roots: roots})
		require.Error(t, err, bad)
	}
	_, err := agentapi.NewClient(agentapi.ClientConfig{Roots: roots})
	require.ErrorContains(t, err, "no server")
	_, err = agentapi.NewClient(agentapi.ClientConfig{Servers: []string{"https://h"}})
	require.ErrorContains(t, err, "no certificate authority")
}
