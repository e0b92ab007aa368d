package apiserver

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
)

// Installers serves the installers of distributions, below [loda.InstallerPath] of the boot server:
//
//	GET       /installer/{token}/answers/{name}           an answer file
//	GET, POST /installer/{token}/report/stage?name=NAME   the installer goes on with another stage
//	POST      /installer/{token}/report/log               lines for the timeline
//	GET, POST /installer/{token}/report/done              the operating system is on disk
//	GET, POST /installer/{token}/report/failed?reason=…   the installer gives up
//	GET, POST /installer/{token}/report/installed         the installed system runs
//
// It is plain HTTP, and reports may be GET requests, as the wget of an installer's busybox can do no more. The token is
// all that tells who asks; see [loda.Installer.Answer].
func Installers(installer *loda.Installer, baseOf func(*http.Request) loda.Base, log *slog.Logger) http.Handler {
	s := &installers{installer, baseOf, log}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+loda.InstallerPath+"{token}/answers/{name...}", s.answer)
	mux.HandleFunc(loda.InstallerPath+"{token}/report/{kind}", s.report)
	return timeBodies(mux)
}

type installers struct {
	installer *loda.Installer
	baseOf    func(*http.Request) loda.Base
	log       *slog.Logger
}

func (s *installers) answer(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	text, err := s.installer.Answer(ctx, r.PathValue("token"), r.PathValue("name"), peer(r), s.baseOf(r))
	if err != nil {
		s.fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = io.WriteString(w, text)
}

// maxReport bounds the body of a report.
const maxReport = 64 << 10

func (s *installers) report(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodPost {
		w.Header().Set("Allow", "GET, POST")
		http.Error(w, "want GET or POST", http.StatusMethodNotAllowed)
		return
	}
	report := loda.InstallerReport{Kind: loda.ReportKind(r.PathValue("kind"))}
	for _, key := range []string{"name", "reason", "text"} {
		if v := r.URL.Query().Get(key); v != "" {
			report.Text = v
		}
	}
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReport))
		if err != nil {
			http.Error(w, "the report cannot be read, or is larger than 64 KiB", http.StatusBadRequest)
			return
		}
		if text := strings.TrimSpace(string(body)); text != "" {
			report.Text = text
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), callTime)
	defer cancel()
	if err := s.installer.ReportInstaller(ctx, r.PathValue("token"), report, peer(r)); err != nil {
		s.fail(w, r, err)
		return
	}
	_, _ = io.WriteString(w, "ok\n")
}

// fail answers in a line of text: that is what ends in an installer's log.
func (s *installers) fail(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, loda.ErrNoAnswer):
		http.Error(w, err.Error(), http.StatusNotFound)
	case errors.Is(err, loda.ErrRefused):
		s.log.Warn("installer's call refused", "call", call(r), "peer", peer(r), "reason", err)
		http.Error(w, err.Error(), http.StatusForbidden)
	case errors.Is(err, loda.ErrTransition), errors.Is(err, inventory.ErrNotFound):
		s.log.Warn("installer's call out of turn", "call", call(r), "peer", peer(r), "reason", err)
		http.Error(w, err.Error(), http.StatusConflict)
	default:
		s.log.Error("installer's call failed", "call", call(r), "peer", peer(r), "error", err)
		w.Header().Set("Retry-After", "2")
		http.Error(w, "the site cannot answer right now", http.StatusServiceUnavailable)
	}
}

// call is the path without the token, which is a secret while it lives.
func call(r *http.Request) string {
	_, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, loda.InstallerPath), "/")
	return r.Method + " " + loda.InstallerPath + "…/" + rest
}
