package gitsource_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/gitsource"
)

const hookSecret = "open sesame"

func sum(key []byte, text string) []byte {
	m := hmac.New(sha256.New, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func TestWebhooksOfAllServersAreUnderstood(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	key := []byte("0123456789abcdef0123456789abcdef")
	signing := "whsec_" + base64.StdEncoding.EncodeToString(key)
	push := `{"ref":"refs/heads/main","repository":{"default_branch":"main"}}`
	gitlab := `{"object_kind":"push","ref":"refs/heads/main","project":{"default_branch":"main"}}`
	hex256 := func(body string) string { return hex.EncodeToString(sum([]byte(hookSecret), body)) }
	stamp := fmt.Sprint(now.Unix())
	standard := func(body string) string {
		return "v1," + base64.StdEncoding.EncodeToString(sum(key, "msg_1."+stamp+"."+body))
	}
	form := "payload=" + url.QueryEscape(push)
	main, other := gitsource.Ref{Branch: "main"}, gitsource.Ref{Branch: "release"}

	for _, c := range []struct {
		name   string
		header map[string]string
		body   string
		secret string
		ref    gitsource.Ref
		want   int
		kind   string // of the trigger, empty: none
	}{
		{"github push", map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hex256(push)},
			push, hookSecret, main, 202, "github push"},
		{"github push as a form", map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hex256(form),
			"Content-Type": "application/x-www-form-urlencoded"}, form, hookSecret, other, 200, ""},
		{"github ping", map[string]string{"X-GitHub-Event": "ping", "X-Hub-Signature-256": "sha256=" + hex256("{}")},
			"{}", hookSecret, main, 200, ""},
		{"github ping, wrongly signed", map[string]string{"X-GitHub-Event": "ping", "X-Hub-Signature-256": "sha256=" + hex256("x")},
			"{}", hookSecret, main, 401, ""},
		{"github issue", map[string]string{"X-GitHub-Event": "issues", "X-Hub-Signature-256": "sha256=" + hex256(push)},
			push, hookSecret, main, 200, ""},
		{"gitea push", map[string]string{"X-Gitea-Event": "push", "X-Gitea-Signature": hex256(push), "X-GitHub-Event": "push",
			"X-Hub-Signature-256": "sha256=" + hex256(push)}, push, hookSecret, main, 202, "gitea push"},
		{"gitea, one of two signatures wrong", map[string]string{"X-Gitea-Event": "push", "X-Gitea-Signature": hex256("x"),
			"X-Hub-Signature-256": "sha256=" + hex256(push)}, push, hookSecret, main, 401, ""},
		{"forgejo push", map[string]string{"X-Forgejo-Event": "push", "X-Forgejo-Signature": hex256(push)},
			push, hookSecret, main, 202, "forgejo push"},
		{"gitlab push", map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": hookSecret},
			gitlab, hookSecret, main, 202, "gitlab Push Hook"},
		{"gitlab, default branch", map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": hookSecret},
			gitlab, hookSecret, gitsource.Ref{}, 202, "gitlab Push Hook"},
		{"gitlab, wrong token", map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "guess"},
			gitlab, hookSecret, main, 401, ""},
		{"gitlab, signed", map[string]string{"X-Gitlab-Event": "Push Hook", "webhook-signature": "v1,AAAA " + standard(gitlab),
			"webhook-id": "msg_1", "webhook-timestamp": stamp}, gitlab, signing, main, 202, "gitlab Push Hook"},
		{"gitlab, signed for another id", map[string]string{"X-Gitlab-Event": "Push Hook", "webhook-signature": standard(gitlab),
			"webhook-id": "msg_2", "webhook-timestamp": stamp}, gitlab, signing, main, 401, ""},
		{"gitlab, signed long ago", map[string]string{"X-Gitlab-Event": "Push Hook", "webhook-id": "msg_1",
			"webhook-timestamp": fmt.Sprint(now.Add(-time.Hour).Unix()), "webhook-signature": "v1," +
				base64.StdEncoding.EncodeToString(sum(key, "msg_1."+fmt.Sprint(now.Add(-time.Hour).Unix())+"."+gitlab))},
			gitlab, signing, main, 401, ""},
		{"gitlab, signed, with a plain secret here", map[string]string{"webhook-signature": standard(gitlab), "webhook-id": "msg_1",
			"webhook-timestamp": stamp}, gitlab, hookSecret, main, 401, ""},
		{"push to another branch", map[string]string{"X-GitHub-Event": "push", "X-Hub-Signature-256": "sha256=" + hex256(push)},
			push, hookSecret, other, 200, ""},
		{"push to another branch than the default", map[string]string{"X-GitHub-Event": "push",
			"X-Hub-Signature-256": "sha256=" + hex256(strings.Replace(push, "heads/main", "heads/dev", 1))},
			strings.Replace(push, "heads/main", "heads/dev", 1), hookSecret, gitsource.Ref{}, 200, ""},
		{"new tag", map[string]string{"X-Gitea-Event": "create", "X-Gitea-Signature": hex256(`{"ref":"v1","ref_type":"tag"}`)},
			`{"ref":"v1","ref_type":"tag"}`, hookSecret, gitsource.Ref{Tag: "v1"}, 202, "gitea create"},
		{"signed nonsense", map[string]string{"X-Gitea-Event": "push", "X-Gitea-Signature": hex256("nonsense")},
			"nonsense", hookSecret, main, 202, "gitea push"},
		{"no signature", map[string]string{"X-GitHub-Event": "push"}, push, hookSecret, main, 401, ""},
		{"signature that is no number", map[string]string{"X-Hub-Signature-256": "sha256=zz"}, push, hookSecret, main, 401, ""},
		{"no secret here", map[string]string{"X-Hub-Signature-256": "sha256=" + hex.EncodeToString(sum(nil, push))},
			push, "", main, 503, ""},
		{"too long", map[string]string{"X-Gitlab-Token": hookSecret}, strings.Repeat("x", 4<<20+1), hookSecret, main, 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			log := &journal{}
			hook := &gitsource.Webhook{Secret: func() (string, error) { return c.secret, nil }, Ref: c.ref,
				Trigger: func(kind string) { got = kind }, Logger: slog.New(slog.NewTextHandler(log, nil)),
				Now: func() time.Time { return now }}
			r := httptest.NewRequest(http.MethodPost, "/hooks/git", strings.NewReader(c.body))
			for name, value := range c.header {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			hook.ServeHTTP(w, r)
			require.Equal(t, c.want, w.Code, w.Body.String())
			require.Equal(t, c.kind, got)
			if c.want == 401 {
				require.Contains(t, log.String(), "peer="+r.RemoteAddr)
			}
			require.NotContains(t, log.String()+w.Body.String(), hookSecret)
		})
	}
}

func TestWebhookTakesPostsOnlyAndKeepsTheLogShort(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	log := &journal{}
	hook := &gitsource.Webhook{Secret: func() (string, error) { return "", errors.New("no such file") },
		Trigger: func(string) { t.Error("not signed") }, Logger: slog.New(slog.NewTextHandler(log, nil)),
		Now: func() time.Time { return now }}
	w := httptest.NewRecorder()
	hook.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
	for range 1000 {
		hook.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}")))
	}
	require.Equal(t, 1, strings.Count(log.String(), "was refused"))
	now = now.Add(time.Second)
	hook.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}")))
	require.Contains(t, log.String(), "not_logged_before=999")

	now = now.Add(time.Second)
	for range 1000 {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("{}"))
		r.Header.Set("X-Gitlab-Token", "x")
		w = httptest.NewRecorder()
		hook.ServeHTTP(w, r)
		require.Equal(t, http.StatusServiceUnavailable, w.Code)
	}
	require.Equal(t, 1, strings.Count(log.String(), "no such file"))
}

func TestWebhookLeadsToAFetch(t *testing.T) {
	t.Parallel()
	u := newUpstream(t)
	u.push("First", files{"a": "one"})
	changed := make(chan string, 2)
	b := newBench(t, gitsource.Config{URL: u.bare, Ref: gitsource.Ref{Branch: "main"}, Poll: time.Hour, Now: time.Now,
		Changed: func(c gitsource.Commit) { changed <- c.Hash }})
	done := make(chan error)
	go func() { done <- b.Run(t.Context()) }()
	t.Cleanup(func() { <-done })
	<-changed
	s := httptest.NewServer(b.Webhook(func() (string, error) { return hookSecret, nil }))
	defer s.Close()
	second := u.push("Second", files{"a": "two"})
	body := `{"ref":"refs/heads/main"}`
	r, err := http.NewRequest(http.MethodPost, s.URL, strings.NewReader(body))
	require.NoError(t, err)
	r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sum([]byte(hookSecret), body)))
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusAccepted, resp.StatusCode)
	require.Equal(t, second, <-changed)
}

func FuzzWebhook(f *testing.F) {
	f.Add("X-Hub-Signature-256", "sha256=00", "X-Gitea-Event", "push", `{"ref":"refs/heads/main"}`)
	f.Add("Webhook-Signature", "v1,AAAA v1,", "Webhook-Timestamp", "1800000000", `{}`)
	f.Fuzz(func(t *testing.T, name1, value1, name2, value2, body string) {
		hook := &gitsource.Webhook{Secret: func() (string, error) { return "a secret that nobody guesses", nil },
			Trigger: func(string) { t.Error("triggered without the secret") }, Logger: slog.New(slog.DiscardHandler)}
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		r.Header.Set(name1, value1)
		r.Header.Set(name2, value2)
		w := httptest.NewRecorder()
		hook.ServeHTTP(w, r)
		require.Equal(t, http.StatusUnauthorized, w.Code)
	})
}
