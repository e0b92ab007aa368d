package gitsource

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Webhook is an HTTP handler that git servers call after a push. It believes a request that is signed with the secret,
// and that only so far as to fetch: what a request says about commits is not used. These are understood:
//
//   - GitHub: X-Hub-Signature-256, HMAC-SHA256 of the body.
//   - Gitea, Forgejo, Gogs: X-Gitea-Signature, X-Forgejo-Signature, X-Gogs-Signature, the same in another spelling.
//   - GitLab: X-Gitlab-Token, the secret itself; or, with a signing token (where a GitLab has those), webhook-signature over
//     webhook-id, webhook-timestamp and the body, not older than 5 minutes. The signing token, which begins with
//     `whsec_`, is then the secret.
//
// It answers 202 to a push that leads to a fetch, 200 to what does not concern us (a ping, another branch), and 401 to
// what is not signed or not rightly so.
type Webhook struct {
	// Secret returns the secret that was entered at the git server. It is called for each request.
	Secret func() (string, error)
	// Trigger is called, with the git server's name and event for the log, when a fetch is due. It must not block;
	// [Source.Trigger] does not.
	Trigger func(kind string)
	// Ref is what is followed. Pushes to others are ignored.
	Ref Ref
	// Logger gets refused requests, at most one a second. Default: slog.Default.
	Logger *slog.Logger
	// Now is the clock. Default: time.Now.
	Now func() time.Time

	mu     sync.Mutex
	busy   int
	logged time.Time
	silent int // refusals since then
}

const (
	maxPayload  = 4 << 20 // a push of many commits; GitHub's own limit is 25 MiB, with few above 1
	maxWebhooks = 8       // that are read at one time, by whoever can reach the port
	payloadTime = 10 * time.Second
	maxSkew     = 5 * time.Minute
)

// Webhook returns the handler for pushes to what s follows.
func (s *Source) Webhook(secret func() (string, error)) *Webhook {
	return &Webhook{
		Secret: secret, Ref: s.cfg.Ref, Logger: s.log, Now: s.cfg.Now,
		Trigger: func(kind string) {
			s.log.Info("A webhook asks for a fetch", "kind", kind)
			s.Trigger()
		},
	}
}

// ServeHTTP implements http.Handler.
func (h *Webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		http.Error(w, "webhooks are sent by POST", http.StatusMethodNotAllowed)
		return
	}
	if !h.enter() {
		http.Error(w, "too many webhooks at once; try again", http.StatusServiceUnavailable)
		return
	}
	defer h.leave()
	if !signed(r.Header) {
		h.refuse(w, r, "without a signature; enter the webhook's secret at the git server")
		return
	}
	secret, err := h.Secret()
	if err == nil && secret == "" {
		err = errors.New("the webhook's secret is empty")
	}
	if err != nil {
		if missed, due := h.due(); due {
			h.log().Error("A webhook cannot be checked", "peer", r.RemoteAddr, "error", err, "not_logged_before", missed)
		}
		http.Error(w, "this server has no secret for webhooks", http.StatusServiceUnavailable)
		return
	}
	// An error is that of a recorder in a test, which has no deadlines.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(payloadTime))
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPayload))
	var tooLong *http.MaxBytesError
	if errors.As(err, &tooLong) {
		// The signature cannot be checked then. What it would bring comes with the next poll.
		h.refuse(w, r, "with more than 4 MiB; let the git server send push events only")
		return
	}
	if err != nil {
		http.Error(w, "the body could not be read", http.StatusBadRequest)
		return
	}
	if !verify(r.Header, body, secret, h.now()) {
		h.refuse(w, r, "with a wrong signature; is the secret the same at both ends?")
		return
	}
	kind, concerns := h.judge(r.Header, body)
	if !concerns {
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, "ignored\n") // a client that is gone does not need it
		return
	}
	h.Trigger(kind)
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, "fetching soon\n")
}

func (h *Webhook) enter() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.busy >= maxWebhooks {
		return false
	}
	h.busy++
	return true
}

func (h *Webhook) leave() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.busy--
}

func (h *Webhook) now() time.Time {
	if h.Now == nil {
		return time.Now()
	}
	return h.Now()
}

func (h *Webhook) log() *slog.Logger {
	if h.Logger == nil {
		return slog.Default()
	}
	return h.Logger
}

// due says that a request that was not believed may be logged: one a second, so that nobody can fill the log. missed is
// how many were not.
func (h *Webhook) due() (missed int, due bool) {
	now := h.now()
	h.mu.Lock()
	defer h.mu.Unlock()
	if now.Sub(h.logged) < time.Second && !now.Before(h.logged) {
		h.silent++
		return 0, false
	}
	missed = h.silent
	h.logged, h.silent = now, 0
	return missed, true
}

func (h *Webhook) refuse(w http.ResponseWriter, r *http.Request, why string) {
	if missed, due := h.due(); due {
		h.log().Warn("A webhook was refused: it came "+why, "peer", r.RemoteAddr, "not_logged_before", missed)
	}
	http.Error(w, "refused: it came "+why, http.StatusUnauthorized)
}

// hexSignatures are the headers that hold a hexadecimal HMAC-SHA256 of the body.
var hexSignatures = []string{
	"X-Hub-Signature-256", "X-Forgejo-Signature", "X-Gitea-Signature", "X-Gogs-Signature",
}

const (
	gitlabToken     = "X-Gitlab-Token"
	gitlabSignature = "Webhook-Signature"
)

func signed(header http.Header) bool {
	for _, name := range append([]string{gitlabToken, gitlabSignature}, hexSignatures...) {
		if header.Get(name) != "" {
			return true
		}
	}
	return false
}

// verify checks every signature that is there: a wrong one is not made up for by a right one beside it.
func verify(header http.Header, body []byte, secret string, now time.Time) bool {
	checked := false
	sum := hmac.New(sha256.New, []byte(secret))
	sum.Write(body)
	want := sum.Sum(nil)
	for _, name := range hexSignatures {
		value := header.Get(name)
		if value == "" {
			continue
		}
		got, err := hex.DecodeString(strings.TrimPrefix(value, "sha256="))
		if err != nil || !hmac.Equal(got, want) {
			return false
		}
		checked = true
	}
	if value := header.Get(gitlabSignature); value != "" {
		if !verifyStandard(header, body, secret, now) {
			return false
		}
		// Beside it, X-Gitlab-Token is a secret of its own, which we do not have.
		return true
	}
	if value := header.Get(gitlabToken); value != "" {
		// Of digests, so that the time does not tell the length either.
		a, b := sha256.Sum256([]byte(value)), sha256.Sum256([]byte(secret))
		if subtle.ConstantTimeCompare(a[:], b[:]) != 1 {
			return false
		}
		checked = true
	}
	return checked
}

// verifyStandard checks a signature of the Standard Webhooks specification, which GitLab follows.
func verifyStandard(header http.Header, body []byte, secret string, now time.Time) bool {
	encoded, ok := strings.CutPrefix(secret, "whsec_")
	if !ok {
		return false
	}
	key, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil || len(key) == 0 {
		return false
	}
	id, stamp := header.Get("Webhook-Id"), header.Get("Webhook-Timestamp")
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if err != nil || id == "" || now.Sub(time.Unix(seconds, 0)).Abs() > maxSkew {
		return false
	}
	sum := hmac.New(sha256.New, key)
	sum.Write([]byte(id + "." + stamp + "."))
	sum.Write(body)
	want := sum.Sum(nil)
	for _, one := range strings.Fields(header.Get(gitlabSignature)) { // several while a token is rotated
		encoded, ok := strings.CutPrefix(one, "v1,")
		if !ok {
			continue
		}
		if got, err := base64.StdEncoding.DecodeString(encoded); err == nil && hmac.Equal(got, want) {
			return true
		}
	}
	return false
}

// judge says what a request is, and whether it can concern what is followed. In doubt it does: a fetch is cheap.
func (h *Webhook) judge(header http.Header, body []byte) (kind string, concerns bool) {
	server, event := "unknown", ""
	for _, known := range [][2]string{
		{"forgejo", "X-Forgejo-Event"}, {"gitea", "X-Gitea-Event"}, {"gogs", "X-Gogs-Event"},
		{"gitlab", "X-Gitlab-Event"}, {"github", "X-Github-Event"},
	} {
		if event = header.Get(known[1]); event != "" {
			server = known[0]
			break
		}
	}
	kind = server + " " + oneLine(event, 40)
	switch strings.ToLower(event) {
	case "push", "push hook", "tag push hook", "create", "system hook", "":
	default:
		return kind, false
	}
	if strings.HasPrefix(header.Get("Content-Type"), "application/x-www-form-urlencoded") { // GitHub's other format
		if form, err := url.ParseQuery(string(body)); err == nil {
			body = []byte(form.Get("payload"))
		}
	}
	var push struct {
		Ref        string `json:"ref"`
		Repository struct {
			DefaultBranch string `json:"default_branch"`
		} `json:"repository"`
		Project struct {
			DefaultBranch string `json:"default_branch"`
		} `json:"project"`
	}
	if err := json.Unmarshal(body, &push); err != nil || push.Ref == "" {
		return kind, true
	}
	followed := ""
	switch {
	case h.Ref.Branch != "":
		followed = "refs/heads/" + h.Ref.Branch
	case h.Ref.Tag != "":
		followed = "refs/tags/" + h.Ref.Tag
	case h.Ref.Commit != "":
		return kind, true // it may have come with this push
	case push.Repository.DefaultBranch != "":
		followed = "refs/heads/" + push.Repository.DefaultBranch
	case push.Project.DefaultBranch != "":
		followed = "refs/heads/" + push.Project.DefaultBranch
	default:
		return kind, true
	}
	// An event about a new tag or branch names it without refs/.
	return kind, push.Ref == followed || !strings.HasPrefix(push.Ref, "refs/") && strings.HasSuffix(followed, "/"+push.Ref)
}
