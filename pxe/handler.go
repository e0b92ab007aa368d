package pxe

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path"
	"strings"
	"time"
)

// Handler is the HTTP side of the boot server. Set the fields, then use it as an [http.Handler] at the root of a
// server, or mount the paths below on a larger mux. The fields must not change after the first request.
//
//	GET /boot/ipxe      the script that makes iPXE introduce itself, boot file for iPXE in DHCP
//	GET /boot/script    asks the Booter and renders its Instruction as an iPXE script
//	GET /boot/{file}    the iPXE binaries of NBPs, for UEFI HTTP boot
//	GET /artifacts/...  the files of Artifacts
//
//	GET /artifacts/sha256/{hex}  the file of Artifacts that has this digest, whatever its name
//
// HEAD works wherever GET does, but for /boot/script. /boot/ must be plain HTTP, as firmware speaks nothing else; see
// ArtifactsURL for the rest.
//
// Files come with ranges, a strong ETag and Repr-Digest (RFC 9530), both of which are their SHA-256. A file of more than
// 64 MiB gets them when it has been read once, which its first request begins; until then its ETag is made of size and
// time of change, and is accepted for as long as the file has not changed.
type Handler struct {
	// Booter decides. It is required.
	Booter Booter
	// NBPs are the network boot programs; nil serves none by HTTP. See [OpenNBPs].
	NBPs *Files
	// Artifacts are the files below /artifacts/; nil serves none. See [OpenDir].
	Artifacts *Files
	// BaseURL is where machines reach this handler, such as http://10.77.0.1:8080. If it is empty, each machine is
	// sent back to the address that it asked (the Host header), which is right unless there is a proxy. It is not
	// escaped.
	BaseURL string
	// ArtifactsURL is where machines fetch /artifacts/ of kernels and initrds, such as https://10.77.0.1:8443 for another
	// [http.Server] with this same handler; {server} stands for the address that they asked. Empty means as BaseURL. iPXE must have been built for HTTPS and trust the
	// certificate, which some builds want to be RSA; Debian's is not. It is not escaped.
	ArtifactsURL string
	// BootTimeout is the deadline of [Booter]; 0 means 10 seconds.
	BootTimeout time.Duration
	// MaxDecisions is how many machines the Booter is asked about at the same time; 0 means 256. Sixteen times as many
	// wait for their turn, within BootTimeout; the rest is sent away at once and asks again. A Booter that does not heed
	// its deadline keeps its place until it returns.
	MaxDecisions int
	// MaxAttempts is how often a machine asks in vain before it gives up; 0 means 20, nine to fourteen minutes.
	MaxAttempts int
	// DiskAfterAttempts makes a machine that gives up boot its local disk; otherwise it reboots and starts anew. It is
	// for sites whose installed machines boot by network always and shall run when the boot server does not.
	DiskAfterAttempts bool
	// Observe, if not nil, is told of every finished request, in order, from a goroutine of its own. The server
	// never waits for it: while it is slow, up to 4,096 transfers are kept, further ones are dropped and counted in
	// the log.
	Observe func(Transfer)
	// Logger gets what an operator should see; nil means [slog.Default].
	Logger *slog.Logger

	observations observations
	decisions    decisions
}

// Flush waits until Observe has been told of all requests that are finished, or ctx is done.
func (h *Handler) Flush(ctx context.Context) error { return h.observations.flush(ctx) }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rec := &recorder{ResponseWriter: w, size: -1, head: r.Method == http.MethodHead}
	start := time.Now()
	// Also when the handler panics: net/http's way to end a broken connection.
	defer func() {
		if h.Observe != nil {
			h.observations.add(h.Observe, h.log(), rec.transfer(r, start))
		}
	}()

	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		h.refuse(rec, r, http.StatusMethodNotAllowed, fmt.Errorf("method %s is not served here", r.Method))
		return
	}
	switch p := r.URL.Path; {
	case p == "/boot/ipxe":
		h.serveIntroduction(rec, r)
	case p == "/boot/script":
		h.serveScript(rec, r)
	case strings.HasPrefix(p, "/boot/"):
		h.serveFile(rec, r, h.NBPs, strings.TrimPrefix(p, "/boot/"))
	case strings.HasPrefix(p, "/artifacts/"):
		h.serveFile(rec, r, h.Artifacts, strings.TrimPrefix(p, "/artifacts/"))
	default:
		h.refuse(rec, r, http.StatusNotFound, fs.ErrNotExist)
	}
}

func (h *Handler) serveIntroduction(w *recorder, r *http.Request) {
	base, err := base(r, h.BaseURL)
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, err)
		return
	}
	limit := h.maxAttempts()
	// At the limit the machine has just rebooted, or cannot: it starts anew.
	attempt := parseAttempt(r.URL.Query(), limit) % limit
	writeScript(w, introduction(base, attempt, h.retries(remoteAddr(r).String())))
}

func (h *Handler) serveScript(w *recorder, r *http.Request) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", "GET")
		h.refuse(w, r, http.StatusMethodNotAllowed, fmt.Errorf("method %s is not served here", r.Method))
		return
	}
	query := r.URL.Query()
	c, err := parseClient(query)
	if err == nil {
		err = c.addresses(r, h.BaseURL)
	}
	if err != nil {
		h.refuse(w, r, http.StatusBadRequest, err)
		return
	}
	c.ArtifactsURL = strings.TrimRight(strings.ReplaceAll(h.ArtifactsURL, "{server}", bracketed(c.Local.Addr().Unmap())), "/")
	c.Attempt = parseAttempt(query, h.maxAttempts()-1)

	var text string
	in, err := h.decisions.ask(r.Context(), h.Booter, h.BootTimeout, h.MaxDecisions, c)
	if err == nil {
		text, err = render(in, c, h.retries(c.identity()))
	}
	if err != nil {
		if r.Context().Err() != nil {
			// The machine has gone; the connection is the only one that could be told.
			w.err = fmt.Errorf("machine left while its boot was decided: %w", err)
			panic(http.ErrAbortHandler)
		}
		h.log().Error("cannot say what a machine boots; it asks again", "serial", c.Serial, "uuid", c.UUID,
			"macs", macs(c), "client", c.Remote, "attempt", c.Attempt, "err", err)
		w.err = err
		text = renderRetry("the boot server cannot say now what this machine boots; its log has the reason",
			c, h.retries(c.identity()))
	}
	writeScript(w, text)
}

func (h *Handler) serveFile(w *recorder, r *http.Request, files *Files, name string) {
	digest, addressed := strings.CutPrefix(name, "sha256/")
	var file *os.File
	var info fs.FileInfo
	var err error
	if addressed = addressed && digestForm.MatchString(digest); addressed {
		name, err = files.named(r.Context(), digest)
	}
	if err == nil {
		file, info, err = files.Open(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		h.refuse(w, r, http.StatusNotFound, err)
		return
	case err != nil:
		h.refuse(w, r, http.StatusInternalServerError, err)
		return
	}
	defer file.Close()
	w.size = info.Size()
	header := w.Header()
	if addressed {
		if sum := files.digest(r.Context(), name, info, true); sum != digest {
			h.refuse(w, r, http.StatusServiceUnavailable, fmt.Errorf("%s was replaced while it was opened", name))
			return
		}
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		digest = files.digest(r.Context(), name, info, info.Size() <= maxDigestNow)
	}
	header.Set("ETag", etag(r, digest, versionOf(name, info)))
	if digest != "" {
		header.Set("Repr-Digest", reprDigest(digest))
	}
	header.Set("Content-Type", contentType(name))
	header.Set("X-Content-Type-Options", "nosniff")
	http.ServeContent(w, r, "", info.ModTime(), file)
}

// etag tells versions of a file apart: by digest, or by what the system knows of it where that is not known, or was not
// when the client began. That holds as long as files are replaced and not written to in place, which nobody should do
// under a running transfer anyway.
func etag(r *http.Request, digest string, v version) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %d %+v", v.name, v.size, v.time.UnixNano(), v.inode))
	plain := fmt.Sprintf(`"%x"`, sum[:12])
	if digest == "" || r.Header.Get("If-Range") == plain || r.Header.Get("If-None-Match") == plain {
		return plain
	}
	return `"` + digest + `"`
}

// contentType never says HTML: an artifact is nothing for a browser. application/efi is what UEFI's HTTP boot wants
// (UEFI specification 2.10, section 24.7.3.2).
func contentType(name string) string {
	switch path.Ext(name) {
	case ".efi":
		return "application/efi"
	case ".ipxe", ".txt", ".sha256":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// refuse answers without a script. iPXE counts that as a failed download.
func (h *Handler) refuse(w *recorder, r *http.Request, status int, err error) {
	level := slog.LevelWarn
	switch {
	case status == http.StatusNotFound && expectedMiss(r.URL.Path):
		level = slog.LevelDebug
	case status >= 500:
		level = slog.LevelError
	}
	h.log().Log(r.Context(), level, "request refused", "method", r.Method, "path", r.URL.Path, "status", status,
		"client", r.RemoteAddr, "err", err)
	w.err = err
	http.Error(w, http.StatusText(status), status)
}

// defaultAttempts is nine to fourteen minutes.
const defaultAttempts = 20

func (h *Handler) maxAttempts() int {
	if h.MaxAttempts <= 0 {
		return defaultAttempts
	}
	return h.MaxAttempts
}

func (h *Handler) retries(who string) retries {
	return retries{max: h.maxAttempts(), disk: h.DiskAfterAttempts, who: who}
}

func (h *Handler) log() *slog.Logger {
	if h.Logger == nil {
		return slog.Default()
	}
	return h.Logger
}

func macs(c Client) []string {
	var list []string
	for _, m := range c.MACs {
		list = append(list, m.String())
	}
	return list
}

func writeScript(w *recorder, text string) {
	w.size = int64(len(text))
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Length", fmt.Sprint(len(text)))
	if w.head {
		w.WriteHeader(http.StatusOK)
		return
	}
	_, _ = io.WriteString(w, text)
}

// A recorder remembers what became of a response.
type recorder struct {
	http.ResponseWriter
	head   bool
	status int
	sent   int64
	size   int64
	failed error // of a write: the client has gone
	err    error // why the request was refused
}

func (w *recorder) WriteHeader(status int) {
	if w.status == 0 && status >= 200 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(b []byte) (int, error) {
	n, err := w.ResponseWriter.Write(b)
	w.wrote(int64(n), err)
	return n, err
}

// ReadFrom keeps sendfile(2) working: net/http's own writer uses it for an *os.File.
func (w *recorder) ReadFrom(r io.Reader) (int64, error) {
	n, err := io.Copy(w.ResponseWriter, r)
	w.wrote(n, err)
	return n, err
}

func (w *recorder) wrote(n int64, err error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.sent += n
	if err != nil {
		w.failed = err
	}
}

// Unwrap serves [http.ResponseController].
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *recorder) transfer(r *http.Request, start time.Time) Transfer {
	t := Transfer{
		Protocol: "http", Method: r.Method, Path: r.URL.Path, Client: remoteAddr(r),
		Status: w.status, Bytes: w.sent, Size: w.size, Start: start, Duration: time.Since(start), Err: w.err,
	}
	if w.err == nil && (w.failed != nil || w.status == 0) {
		t.Aborted = true
	}
	return t
}
