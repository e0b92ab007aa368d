package gitsource_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/gitsource"
	"github.com/project-loda/loda/scripts/need"
)

// httpServer is git's own smart HTTP server behind TLS.
type httpServer struct {
	*httptest.Server
	url   string
	ca    string
	token atomic.Value
	sent  atomic.Int64 // bytes of packs
	posts atomic.Int64
	front func(http.ResponseWriter, *http.Request) bool // answers instead, and says so
}

type countingWriter struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (w countingWriter) Write(p []byte) (int, error) {
	w.n.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

func newHTTPServer(t testing.TB, u *upstream, token string) *httpServer {
	t.Helper()
	out, err := exec.Command("git", "--exec-path").Output()
	require.NoError(t, err)
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		need.Missing(t, "needs "+backend+", a part of git")
	}
	s := &httpServer{}
	s.token.Store(token)
	handler := &cgi.Handler{Path: backend, Stderr: io.Discard, Env: []string{
		"GIT_PROJECT_ROOT=" + filepath.Dir(u.bare), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_CONFIG_GLOBAL=/dev/null", "HOME=" + filepath.Dir(u.bare),
	}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.front != nil && s.front(w, r) {
			return
		}
		if want := s.token.Load().(string); want != "" {
			user, got, _ := r.BasicAuth()
			if got != want || user != "git" {
				w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
				http.Error(w, "you sent "+got, http.StatusUnauthorized)
				return
			}
		}
		if r.Method == http.MethodPost {
			s.posts.Add(1)
			w = countingWriter{w, &s.sent}
		}
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	s.url = s.URL + "/config.git"
	s.ca = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	require.NoError(t, os.WriteFile(s.ca, block, 0o644))
	return s
}

func secretFile(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestHTTPSFetchesWithATokenThatIsReadEachTime(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	server := newHTTPServer(t, u, "s3cret-token")
	token := secretFile(t, "s3cret-token\n")
	b := newBench(t, gitsource.Config{URL: server.url, Auth: gitsource.Auth{TokenFile: token, CAFile: server.ca}})
	b.sync()
	b.inUse(first)
	b.sound()

	server.token.Store("rotated-token")
	second := u.push("Second", files{"a": "two"})
	b.syncFails("HTTP 401", token)
	b.inUse(first)
	require.NoError(t, os.WriteFile(token, []byte("rotated-token"), 0o600))
	b.sync()
	b.inUse(second)

	require.NoError(t, os.WriteFile(token, []byte("two\nlines"), 0o600))
	b.syncFails("one line")
	require.NoError(t, os.Chmod(token, 0o604))
	b.syncFails("everybody on this host can read", "chmod")
	require.NoError(t, os.Remove(token))
	b.syncFails("no such file")
	b.inUse(second)

	for _, secret := range []string{"s3cret-token", "rotated-token"} {
		require.NotContains(t, b.log.String(), secret)
		require.NotContains(t, fmt.Sprint(b.Status()), secret)
	}
}

func TestTokenThatAServerRepeatsIsMasked(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	server := newHTTPServer(t, u, "")
	server.front = func(w http.ResponseWriter, r *http.Request) bool {
		_, token, _ := r.BasicAuth()
		http.Error(w, "internal error; your token is "+token+", header "+r.Header.Get("Authorization"), 500)
		return true
	}
	b := newBench(t, gitsource.Config{URL: server.url,
		Auth: gitsource.Auth{TokenFile: secretFile(t, "hunter2"), CAFile: server.ca}})
	b.syncFails("HTTP 500", "your token is ***")
	require.NotContains(t, b.log.String(), "hunter2")
	require.NotContains(t, b.Status().LastError, "aHVudGVy", "in base64")
	require.NotContains(t, b.log.String(), "Z2l0Omh1bnRlcjI")
}

func TestCertificateOfAnUnknownAuthorityIsRefused(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.push("First", files{"a": "one"})
	server := newHTTPServer(t, u, "")
	newBench(t, gitsource.Config{URL: server.url}).syncFails("certificate", "as the CA file")
	newBench(t, gitsource.Config{URL: server.url, Auth: gitsource.Auth{CAFile: secretFile(t, "nonsense")}}).
		syncFails("holds no certificate")
}

func TestSecondFetchTransfersLittleMoreThanTheChange(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	f := files{}
	for i := range 500 {
		f[fmt.Sprintf("profiles/p%03d.yaml", i)] = strings.Repeat(fmt.Sprintf("key%d: value %x\n", i, i*i*i), 60)
	}
	u.push("Many", f)
	server := newHTTPServer(t, u, "")
	b := newBench(t, gitsource.Config{URL: server.url, Auth: gitsource.Auth{CAFile: server.ca}})
	b.sync()
	first := server.sent.Swap(0)
	u.push("One line", files{"profiles/p007.yaml": f["profiles/p007.yaml"] + "more: true\n"})
	st := b.sync()
	second := server.sent.Load()
	t.Logf("500 profiles: first fetch %d bytes, after a change of one line %d; received in all %d", first, second,
		st.Received)
	require.Greater(t, first, int64(30_000))
	require.Less(t, second, first/20)
	posts := server.posts.Load()
	b.sync()
	require.Equal(t, posts, server.posts.Load(), "nothing new, nothing fetched")
	b.sound()
}

func TestRedirectsAreFollowedWithinTheServerOnly(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	server := newHTTPServer(t, u, "tok")
	stolen := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		stolen <- r.Header.Get("Authorization")
	}))
	defer other.Close()
	server.front = func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasPrefix(r.URL.Path, "/config/"):
			http.Redirect(w, r, strings.Replace(r.URL.String(), "/config/", "/config.git/", 1), http.StatusMovedPermanently)
		case strings.HasPrefix(r.URL.Path, "/away/"):
			http.Redirect(w, r, other.URL+r.URL.String(), http.StatusFound)
		case strings.HasPrefix(r.URL.Path, "/login/"):
			http.Redirect(w, r, "/sign_in", http.StatusFound)
		case r.URL.Path == "/sign_in" || strings.HasPrefix(r.URL.Path, "/page/"):
			w.Header().Set("Content-Type", "text/html")
			_, _ = io.WriteString(w, "<html>")
		default:
			return false
		}
		return true
	}
	auth := gitsource.Auth{TokenFile: secretFile(t, "tok"), CAFile: server.ca}
	b := newBench(t, gitsource.Config{URL: server.URL + "/config", Auth: auth})
	b.sync()
	b.inUse(first)
	newBench(t, gitsource.Config{URL: server.URL + "/away", Auth: auth}).syncFails("redirects to " + other.URL)
	newBench(t, gitsource.Config{URL: server.URL + "/login", Auth: auth}).syncFails("text/html")
	newBench(t, gitsource.Config{URL: server.URL + "/page", Auth: auth}).syncFails("text/html", "as for `git clone`")
	newBench(t, gitsource.Config{URL: server.URL + "/absent.git", Auth: auth}).syncFails("HTTP 404")
	require.Empty(t, stolen)
}

func TestServerThatNeverAnswersEndsAtTheDeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0") // the kernel accepts; nobody answers
	require.NoError(t, err)
	defer l.Close()
	key, known := sshFiles(t, l.Addr().String(), newHostKey(t))
	for _, cfg := range []gitsource.Config{
		{URL: "https://" + l.Addr().String() + "/config.git"},
		{URL: "http://" + l.Addr().String() + "/config.git"},
		{URL: "ssh://git@" + l.Addr().String() + "/config.git", Auth: gitsource.Auth{KeyFile: key, KnownHostsFile: known}},
	} {
		cfg.Timeout = 100 * time.Millisecond
		b := newBench(t, cfg)
		start := time.Now()
		b.syncFails("no end after 100ms")
		require.Less(t, time.Since(start), 3*time.Second)
	}
}

func TestServerThatStopsInTheMiddleChangesNothing(t *testing.T) {
	u := newUpstream(t)
	good := u.push("First", files{"a": "one"})
	server := newHTTPServer(t, u, "")
	b := newBench(t, gitsource.Config{URL: server.url, Timeout: time.Second, Auth: gitsource.Auth{CAFile: server.ca}})
	b.sync()
	second := u.push("Second", files{"a": strings.Repeat("two ", 10_000)})
	for name, front := range map[string]func(w http.ResponseWriter, r *http.Request, answer []byte){
		"cut": func(w http.ResponseWriter, _ *http.Request, answer []byte) {
			_, _ = w.Write(answer[:len(answer)/2])
			panic(http.ErrAbortHandler)
		},
		"ended": func(w http.ResponseWriter, _ *http.Request, answer []byte) { _, _ = w.Write(answer[:len(answer)/2]) },
		"bit": func(w http.ResponseWriter, _ *http.Request, answer []byte) {
			answer[len(answer)-20] ^= 1
			_, _ = w.Write(answer)
		},
		"silent": func(w http.ResponseWriter, r *http.Request, answer []byte) {
			_, _ = w.Write(answer[:len(answer)/2])
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		},
		"refused":  func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = io.WriteString(w, "0011ERR go away\n") },
		"nonsense": func(w http.ResponseWriter, _ *http.Request, _ []byte) { _, _ = io.WriteString(w, "zzzz") },
		"nothing":  func(http.ResponseWriter, *http.Request, []byte) {},
	} {
		t.Run(name, func(t *testing.T) {
			server.front = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPost {
					return false
				}
				server.front = nil
				rec := httptest.NewRecorder()
				server.Config.Handler.ServeHTTP(rec, r)
				w.Header().Set("Content-Type", rec.Header().Get("Content-Type"))
				front(w, r, rec.Body.Bytes())
				return true
			}
			_, err := b.Sync(t.Context())
			require.Error(t, err)
			t.Log(err)
			b.inUse(good)
			b.sound()
		})
	}
	server.front = nil
	b.sync()
	b.inUse(second)
	b.sound()
}

func TestServerThatIsDownWhilePollingChangesNothing(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	first := u.push("First", files{"a": "one"})
	server := newHTTPServer(t, u, "")
	b := newBench(t, gitsource.Config{URL: server.url, Auth: gitsource.Auth{CAFile: server.ca}})
	b.sync()
	server.Close()
	since := b.now
	for range 3 {
		b.syncFails("connection refused")
		b.now = b.now.Add(time.Minute)
	}
	b.inUse(first)
	require.Equal(t, "one", b.read(first, "a"))
	require.NoError(t, b.Keep([]string{first}))
	st := b.Status()
	require.Equal(t, uint64(3), st.Failures)
	require.Equal(t, since, st.FailingSince)
	require.Equal(t, 1, strings.Count(b.log.String(), "cannot be fetched"), "logged once")
}
