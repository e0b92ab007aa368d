package apiserver

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/api"
)

// The agents' protocol is served by hand: its types are the contract, and an agent of another version may send fields
// that this server does not know.

// callTime bounds every call of an agent but the long poll.
const callTime = 20 * time.Second

func (s *server) agentRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST "+agentapi.PathSession, s.openSession)
	mux.HandleFunc("GET "+agentapi.PathAction, s.session(s.nextAction))
	mux.HandleFunc("POST "+agentapi.PathProgress, s.session(s.progress))
	mux.HandleFunc("POST "+agentapi.PathResult, s.session(s.result))
	mux.HandleFunc("POST "+agentapi.PathLog, s.session(s.logLines))
	mux.HandleFunc("GET "+agentapi.PathFile, s.session(s.file))
	mux.HandleFunc("POST "+agentapi.PathInstalled, s.installed)
}

// agentCall is a request of an agent whose session is good.
type agentCall struct {
	*http.Request
	installation, secret string
}

// session checks the bearer secret of an agent before it calls next.
func (s *server) session(next func(http.ResponseWriter, agentCall)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		secret, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		id, err := s.Installer.CheckSession(r.Context(), secret)
		if err != nil {
			s.agentError(w, r, err)
			return
		}
		next(w, agentCall{r, id, secret})
	}
}

func (s *server) openSession(w http.ResponseWriter, r *http.Request) {
	var req agentapi.SessionRequest
	if !decode(w, r, 64<<10, &req) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	session, err := s.Installer.OpenSession(ctx, req, peer(r))
	if err != nil {
		s.agentError(w, r, err)
		return
	}
	writeJSON(w, session)
}

func (s *server) nextAction(w http.ResponseWriter, c agentCall) {
	q := c.URL.Query()
	seconds, err := strconv.ParseFloat(q.Get(agentapi.QueryWait), 64)
	if q.Get(agentapi.QueryWait) != "" && (err != nil || !(seconds >= 0 && seconds <= 3600)) {
		writeProblem(w, http.StatusBadRequest, agentapi.QueryWait+": want seconds, 0 to 3600")
		return
	}
	action, err := s.Installer.NextAction(c.Context(), loda.Ask{Installation: c.installation, Secret: c.secret,
		Told: q.Get(agentapi.QueryTold), Wait: time.Duration(seconds * float64(time.Second)), Base: s.BaseOf(c.Request)})
	switch {
	case err != nil:
		s.agentError(w, c.Request, err)
	case action == nil:
		w.WriteHeader(http.StatusNoContent)
	default:
		writeJSON(w, action)
	}
}

func (s *server) progress(w http.ResponseWriter, c agentCall) {
	var p agentapi.Progress
	if decode(w, c.Request, 16<<10, &p) {
		s.done(w, c.Request, func(ctx context.Context) error {
			return s.Installer.ReportProgress(ctx, c.installation, c.PathValue("id"), p)
		})
	}
}

func (s *server) result(w http.ResponseWriter, c agentCall) {
	var r agentapi.Result
	if decode(w, c.Request, 8<<20, &r) {
		s.done(w, c.Request, func(ctx context.Context) error {
			return s.Installer.FinishAction(ctx, c.installation, c.PathValue("id"), r)
		})
	}
}

func (s *server) logLines(w http.ResponseWriter, c agentCall) {
	var lines []agentapi.LogLine
	if !decode(w, c.Request, 1<<20, &lines) {
		return
	}
	if len(lines) > 1000 {
		writeProblem(w, http.StatusRequestEntityTooLarge, "at most 1000 lines at a time")
		return
	}
	s.done(w, c.Request, func(ctx context.Context) error { return s.Installer.Log(ctx, c.installation, lines) })
}

// fetchTime is how long an agent waits for a file that the site is fetching. Then it asks again.
const fetchTime = 40 * time.Second

func (s *server) file(w http.ResponseWriter, c agentCall) {
	ctx, cancel := context.WithTimeout(c.Context(), fetchTime)
	defer cancel()
	f, err := s.Installer.OpenDownload(ctx, c.installation, c.PathValue("sha256"))
	cannot, isDownload := errors.AsType[*loda.DownloadError](err)
	switch {
	case err == nil:
	case errors.Is(err, loda.ErrNoDownload):
		writeProblem(w, http.StatusNotFound, err.Error())
		return
	case isDownload && cannot.Temporary:
		s.Logger.Warn("a machine waits for a file", "installation", c.installation, "error", err)
		w.Header().Set("Retry-After", "5")
		writeProblem(w, http.StatusServiceUnavailable, "the site has not got it yet: "+err.Error())
		return
	case isDownload:
		s.Logger.Error("a file for a machine cannot be had", "installation", c.installation, "error", err)
		writeProblem(w, http.StatusBadGateway, err.Error())
		return
	default:
		s.agentError(w, c.Request, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, c.Request, "", time.Time{}, f)
}

func (s *server) installed(w http.ResponseWriter, r *http.Request) {
	var report agentapi.Installed
	if decode(w, r, 16<<10, &report) {
		s.done(w, r, func(ctx context.Context) error { return s.Installer.FirstBoot(ctx, report, peer(r)) })
	}
}

// done runs a call within its time and answers 204.
func (s *server) done(w http.ResponseWriter, r *http.Request, call func(context.Context) error) {
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	if err := call(ctx); err != nil {
		s.agentError(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// agentError maps errors for agents: what is refused stays refused, everything else may work later.
func (s *server) agentError(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, loda.ErrRefused):
		s.Logger.Warn("agent call refused", "call", r.Method+" "+r.URL.Path, "peer", peer(r), "reason", err)
		writeProblem(w, http.StatusUnauthorized, err.Error())
	case errors.Is(err, inventory.ErrNotFound):
		writeProblem(w, http.StatusUnauthorized, "no such installation")
	case errors.Is(err, loda.ErrTransition):
		s.Logger.Warn("agent call out of turn", "call", r.Method+" "+r.URL.Path, "peer", peer(r), "reason", err)
		writeProblem(w, http.StatusConflict, err.Error())
	case r.Context().Err() != nil:
		writeProblem(w, http.StatusServiceUnavailable, "the call was given up, or the server is going down")
	default:
		s.Logger.Error("agent call failed", "call", r.Method+" "+r.URL.Path, "peer", peer(r), "error", err)
		w.Header().Set("Retry-After", "2")
		writeProblem(w, http.StatusServiceUnavailable, "the site cannot answer right now")
	}
}

func peer(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// decode reads a bounded JSON body; on failure it has answered.
func decode(w http.ResponseWriter, r *http.Request, limit int64, into any) bool {
	doc, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		err = json.Unmarshal(doc, into)
	}
	var large *http.MaxBytesError
	switch {
	case err == nil:
		return true
	case errors.As(err, &large):
		writeProblem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d bytes", limit))
	default:
		writeProblem(w, http.StatusBadRequest, "the body cannot be read: "+err.Error())
	}
	return false
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v)
}

func writeProblem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(api.Problem{Title: http.StatusText(status), Status: status, Detail: detail})
}
