// Package apiserver serves the operators' API (package api) and the agents' protocol (package agentapi) of a site over
// HTTP. Nothing in it is open without a token but /healthz and the description of the API (/openapi.json and .yaml,
// which are the same at every site): agents exchange a one-time boot token, git servers sign their webhooks, everyone else
// shows a bearer token with a role. What distributions' installers ask for is a handler of its own, [Installers].
package apiserver

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/configrepo"
	"github.com/project-loda/loda/loda/gitsource"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/strictyaml"
	"github.com/project-loda/loda/loda/trust"
)

// Config of [New]. All fields but Source, WebhookSecret, Logger, Metrics and the bases are needed.
type Config struct {
	Installer *loda.Installer
	Profiles  loda.Profiles
	Images    *image.Dir
	// Source is the git repository that the profiles come from. Nil: they do not.
	Source *gitsource.Source
	// WebhookSecret is what pushes to Source are signed with. Nil: no webhook is served.
	WebhookSecret func() (string, error)
	// Site and Version are told to clients.
	Site, Version string
	// BaseOf says how an agent that came in by a request reaches this server again.
	BaseOf func(*http.Request) loda.Base
	// Metrics is served at /metrics to viewers. Nil: no such page.
	Metrics http.Handler
	Logger  *slog.Logger
}

// WebhookPath is where GitLab, GitHub and Gitea say that something was pushed.
const WebhookPath = "/webhooks/git"

type server struct {
	Config
	store inventory.Store
}

// New returns the handler of everything below /api, /agent, /healthz, /metrics, /openapi.json and [WebhookPath].
func New(c Config) http.Handler {
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	s := &server{Config: c, store: c.Installer.Store()}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", s.health)
	if c.Metrics != nil {
		mux.Handle("GET /metrics", s.requireRole(api.Viewer, c.Metrics))
	}
	if c.Source != nil && c.WebhookSecret != nil {
		mux.Handle(WebhookPath, c.Source.Webhook(c.WebhookSecret))
	}
	s.agentRoutes(mux)
	s.operatorAPI(mux)
	return http.MaxBytesHandler(timeBodies(mux), 16<<20)
}

// bodyTime bounds how long a body may take to arrive: 8 MB of CSV over a slow line.
var bodyTime = time.Minute

// timeBodies keeps a client that sends its body by the byte from holding a connection for ever. The work that comes
// after the body is not bound by it: net/http takes the deadline off when the body has arrived.
func timeBodies(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			// An error is that of a recorder in a test, which has no deadlines.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
		}
		next.ServeHTTP(w, r)
	})
}

// OpenAPI returns the description of the operators' API, OpenAPI 3.1 as YAML. It is docs/openapi.yaml.
func OpenAPI() ([]byte, error) {
	s := &server{}
	return s.operatorAPI(http.NewServeMux()).OpenAPI().YAML()
}

func (s *server) health(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if _, err := s.store.Machines(ctx, inventory.MachineFilter{Limit: 1}); err != nil {
		s.Logger.Error("health: the inventory does not answer", "error", err)
		http.Error(w, "the inventory does not answer", http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ok\n"))
}

// who is the token that a request came with.
type who struct{}

func tokenOf(ctx context.Context) *inventory.Token {
	t, _ := ctx.Value(who{}).(*inventory.Token)
	return t
}

// by names the caller for the timeline.
func by(ctx context.Context) string {
	if t := tokenOf(ctx); t != nil {
		return "token " + t.Name
	}
	return ""
}

// authorize finds the token of a request and holds its role against the one that is needed. status is 0 if it may.
func (s *server) authorize(ctx context.Context, header, peer, what string, need api.Role) (t *inventory.Token, status int, detail string) {
	refuse := func(status int, detail string) (*inventory.Token, int, string) {
		s.Logger.Warn("API call refused", "call", what, "peer", peer, "reason", detail)
		return nil, status, detail
	}
	secret, ok := strings.CutPrefix(header, "Bearer ")
	if !ok || secret == "" {
		return refuse(http.StatusUnauthorized, "a bearer token is needed; an admin makes one with `lodad token create`")
	}
	t, err := s.store.TokenByHash(ctx, trust.Hash(secret))
	switch {
	case errors.Is(err, inventory.ErrNotFound):
		return refuse(http.StatusUnauthorized, "this token is unknown or was revoked")
	case err != nil:
		s.Logger.Error("checking a token", "error", err)
		return nil, http.StatusServiceUnavailable, "the inventory does not answer; try again"
	case !t.ExpiresAt.IsZero() && time.Now().After(t.ExpiresAt):
		return refuse(http.StatusUnauthorized, "this token has expired")
	case rank(api.Role(t.Role)) < rank(need):
		return refuse(http.StatusForbidden, "token "+t.Name+" has the role "+t.Role+", this call needs "+string(need))
	}
	return t, 0, ""
}

func rank(r api.Role) int {
	for i, known := range api.Roles {
		if known == r {
			return i + 1
		}
	}
	return 0
}

func (s *server) requireRole(need api.Role, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t, status, detail := s.authorize(r.Context(), r.Header.Get("Authorization"), r.RemoteAddr, r.Method+" "+r.URL.Path, need)
		if status != 0 {
			writeProblem(w, status, detail)
			return
		}
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), who{}, t)))
	})
}

const bearer = "bearer"

// operatorAPI registers all operations; the document is generated from the same types.
func (s *server) operatorAPI(mux *http.ServeMux) huma.API {
	config := huma.DefaultConfig("Loda", api.Version)
	config.Info.Description = "Machines, installations, timelines, images and tokens of one site. Every call needs a bearer token; " +
		"its role stands in the security requirement of each operation (viewer, operator, admin)."
	config.DocsPath = ""     // the page loads scripts from elsewhere
	config.CreateHooks = nil // no $schema in every answer
	config.OpenAPIPath = "/openapi"
	config.SchemasPath = ""                    // they are in the document
	config.RejectUnknownQueryParameters = true // ?dryrun=1 must not import for real
	config.Components.SecuritySchemes = map[string]*huma.SecurityScheme{bearer: {Type: "http", Scheme: "bearer"}}
	a := humago.New(mux, config)
	a.UseMiddleware(func(ctx huma.Context, next func(huma.Context)) {
		op := ctx.Operation()
		need := api.Admin // an operation that forgot to say gets the strictest
		for _, req := range op.Security {
			if scopes := req[bearer]; len(scopes) == 1 {
				need = api.Role(scopes[0])
			}
		}
		t, status, detail := s.authorize(ctx.Context(), ctx.Header("Authorization"), ctx.RemoteAddr(), op.Method+" "+ctx.URL().Path, need)
		if status != 0 {
			huma.WriteErr(a, ctx, status, detail)
			return
		}
		next(huma.WithValue(ctx, who{}, t))
	})
	s.machineOperations(a)
	s.siteOperations(a)
	return a
}

// operation describes one call; role is what it needs.
func operation(method, path, id string, role api.Role, summary string) huma.Operation {
	return huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary,
		Security: []map[string][]string{{bearer: {string(role)}}}, MaxBodyBytes: 12 << 20, BodyReadTimeout: bodyTime}
}

// fail maps an error of the packages below to an HTTP status, in this one place.
func (s *server) fail(err error) error {
	var conflict *inventory.ConflictError
	var cells loda.CellErrors
	var mapped huma.StatusError
	var render *configrepo.RenderError
	var mistake strictyaml.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &mapped):
		return mapped
	case errors.As(err, &cells):
		details := make([]error, len(cells))
		for i, c := range cells {
			location := strings.TrimSuffix(strings.TrimSuffix(c.Error(), c.Message), ": ")
			details[i] = &huma.ErrorDetail{Message: c.Message, Location: location}
		}
		return huma.Error422UnprocessableEntity("nothing was imported", details...)
	case errors.As(err, &conflict), errors.Is(err, loda.ErrTransition):
		return huma.Error409Conflict(err.Error())
	case errors.Is(err, inventory.ErrNotFound):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, loda.ErrNoProfile), errors.Is(err, image.ErrNotFound), errors.Is(err, image.ErrInvalid),
		errors.Is(err, loda.ErrArtifact), errors.Is(err, loda.ErrRefused):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.As(err, &render), errors.As(err, &mistake):
		return huma.Error422UnprocessableEntity(err.Error())
	case errors.Is(err, gitsource.ErrNoCommit):
		return huma.Error503ServiceUnavailable(err.Error())
	case errors.Is(err, gitsource.ErrNotKept):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, inventory.ErrFull):
		return huma.NewError(http.StatusInsufficientStorage, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return huma.Error503ServiceUnavailable("the inventory did not answer in time; try again")
	case errors.Is(err, context.Canceled), errors.Is(err, fs.ErrClosed):
		return huma.Error503ServiceUnavailable("shutting down; try again")
	}
	s.Logger.Error("API call failed", "error", err)
	return huma.Error500InternalServerError("internal error; the server's log has the details")
}
