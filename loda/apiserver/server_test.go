package apiserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/memory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/apiserver"
	"github.com/project-loda/loda/loda/image"
)

// desk is a served API over the in-process inventory, with a token for each role.
type desk struct {
	t       testing.TB
	store   inventory.Store
	server  *httptest.Server
	secrets map[api.Role]string
	log     *syncedBuffer
}

// syncedBuffer is a log that is read while the server runs.
type syncedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncedBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncedBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newDesk(t *testing.T) *desk {
	d := &desk{t: t, store: memory.New(), secrets: map[api.Role]string{}, log: &syncedBuffer{}}
	for _, role := range api.Roles {
		token, secret := apiserver.MakeToken(api.TokenRequest{Name: "test-" + string(role), Role: role}, time.Now())
		require.NoError(t, d.store.CreateToken(t.Context(), token))
		d.secrets[role] = secret
	}
	d.serve(d.store)
	return d
}

// serve replaces the server by one over another store.
func (d *desk) serve(store inventory.Store) {
	t := d.t
	log := slog.New(slog.NewTextHandler(d.log, nil))
	dir := t.TempDir()
	content := []byte("not much of an image")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "debian-12.raw"), content, 0o644))
	doc, err := json.Marshal(image.Image{Name: "debian-12", File: "debian-12.raw", Format: "raw", Bytes: int64(len(content)),
		RawBytes: int64(len(content)), SHA256: strings.Repeat("ab", 32), Created: time.Now()})
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "debian-12.json"), doc, 0o644))
	images, err := image.Open(dir)
	require.NoError(t, err)
	profiles, err := loda.NewStaticProfiles(map[string]loda.Profile{"debian": {Image: "debian-12"}})
	require.NoError(t, err)
	installer, err := loda.NewInstaller(loda.Config{Store: store, Profiles: profiles, Images: images, Logger: log})
	require.NoError(t, err)
	d.server = httptest.NewServer(apiserver.New(apiserver.Config{Installer: installer, Profiles: profiles, Images: images, Site: "test",
		Version: "1", BaseOf: func(*http.Request) loda.Base { return loda.Base{} }, Logger: log,
		Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "metrics") })}))
	t.Cleanup(d.server.Close)
}

func (d *desk) client(role api.Role) *api.Client {
	return &api.Client{URL: d.server.URL, Token: d.secrets[role]}
}

func (d *desk) call(method, path, token string, body io.Reader) *http.Response {
	d.t.Helper()
	req, err := http.NewRequestWithContext(d.t.Context(), method, d.server.URL+path, body)
	require.NoError(d.t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(d.t, err)
	d.t.Cleanup(func() { resp.Body.Close() })
	return resp
}

// operations reads every operation and the role that it needs from the generated document, so that a new one cannot
// be forgotten here.
func operations(t *testing.T) (all []struct{ method, path, role string }) {
	doc, err := apiserver.OpenAPI()
	require.NoError(t, err)
	var spec struct {
		OpenAPI string `yaml:"openapi"`
		Paths   map[string]map[string]struct {
			Security []map[string][]string `yaml:"security"`
		} `yaml:"paths"`
	}
	require.NoError(t, yaml.Unmarshal(doc, &spec))
	require.True(t, strings.HasPrefix(spec.OpenAPI, "3.1"), spec.OpenAPI)
	for path, methods := range spec.Paths {
		for method, op := range methods {
			require.Len(t, op.Security, 1, path)
			require.Len(t, op.Security[0]["bearer"], 1, path)
			all = append(all, struct{ method, path, role string }{strings.ToUpper(method), path, op.Security[0]["bearer"][0]})
		}
	}
	return all
}

func TestEveryOperationRefusesCallersWithoutTheRole(t *testing.T) {
	d := newDesk(t)
	ops := operations(t)
	require.Greater(t, len(ops), 15)
	for _, op := range ops {
		path := strings.NewReplacer("{serial}", "SN-0001", "{id}", "x", "{machine}", "SN-0001").Replace(op.path)
		for _, token := range []string{"", "wrong", d.secrets[api.Viewer] + "x"} {
			require.Equal(t, http.StatusUnauthorized, d.call(op.method, path, token, nil).StatusCode, "%s %s with token %q", op.method, path, token)
		}
		allowed := false
		for _, role := range api.Roles {
			allowed = allowed || string(role) == op.role
			status := d.call(op.method, path, d.secrets[role], nil).StatusCode
			if allowed {
				require.NotContains(t, []int{http.StatusUnauthorized, http.StatusForbidden}, status, "%s %s as %s", op.method, path, role)
			} else {
				require.Equal(t, http.StatusForbidden, status, "%s %s as %s", op.method, path, role)
			}
		}
	}
	require.Contains(t, d.log.String(), "API call refused")
	for _, secret := range d.secrets {
		require.NotContains(t, d.log.String(), secret, "no secret in the log")
	}
}

func TestMetricsNeedAToken(t *testing.T) {
	d := newDesk(t)
	require.Equal(t, http.StatusUnauthorized, d.call("GET", "/metrics", "", nil).StatusCode)
	require.Equal(t, http.StatusOK, d.call("GET", "/metrics", d.secrets[api.Viewer], nil).StatusCode)
	require.Equal(t, http.StatusOK, d.call("GET", "/healthz", "", nil).StatusCode)
}

func TestExpiredAndRevokedTokensAreRefused(t *testing.T) {
	d := newDesk(t)
	token, secret := apiserver.MakeToken(api.TokenRequest{Name: "old", Role: api.Admin, Days: 1}, time.Now().AddDate(0, 0, -2))
	require.NoError(t, d.store.CreateToken(t.Context(), token))
	require.Equal(t, http.StatusUnauthorized, d.call("GET", "/api/v1/site", secret, nil).StatusCode)

	made, err := d.client(api.Admin).CreateToken(t.Context(), api.TokenRequest{Name: "cmdb", Role: api.Operator})
	require.NoError(t, err)
	c := &api.Client{URL: d.server.URL, Token: made.Secret}
	_, err = c.Site(t.Context())
	require.NoError(t, err)
	require.NoError(t, d.client(api.Admin).DeleteToken(t.Context(), made.ID))
	_, err = c.Site(t.Context())
	require.ErrorContains(t, err, "revoked")
}

func TestClientImportsInstallsAndReads(t *testing.T) {
	d := newDesk(t)
	c := d.client(api.Operator)
	res, err := c.Import(t.Context(), strings.NewReader("serial,profile\nSN-0001,debian\nSN-0002,debian\nSN-0003,\n"), true, false)
	require.NoError(t, err)
	require.True(t, res.DryRun)
	_, err = c.Machine(t.Context(), "SN-0001")
	require.True(t, api.IsNotFound(err), err)

	_, err = c.Import(t.Context(), strings.NewReader("serial,profile\nSN-0001,debian\nbad serial!,debian\n"), false, false)
	var p *api.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusUnprocessableEntity, p.Status)
	require.Equal(t, "line 3, serial", p.Errors[0].Location)

	_, err = c.Import(t.Context(), strings.NewReader("serial,profile\nSN-0001,debian\nSN-0002,debian\nSN-0003,\n"), false, false)
	require.NoError(t, err)
	inst, err := c.Install(t.Context(), "sn-0001", api.InstallRequest{})
	require.NoError(t, err)
	require.Equal(t, inventory.Queued, inst.State)
	_, err = c.Install(t.Context(), "SN-0001", api.InstallRequest{})
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusConflict, p.Status)
	_, err = c.Install(t.Context(), "SN-0003", api.InstallRequest{})
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusUnprocessableEntity, p.Status, "a machine without a profile")

	held, err := c.Decide(t.Context(), "SN-0001", "hold", "wait for the rack")
	require.NoError(t, err)
	require.Equal(t, inventory.Held, held.State)
	_, err = c.Decide(t.Context(), "SN-0001", "retry", "")
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusConflict, p.Status, "a transition that the lifecycle does not know")

	var serials []string
	require.NoError(t, c.AllMachines(t.Context(), api.MachineQuery{Limit: 2}, func(m api.Machine) error {
		serials = append(serials, string(m.Serial))
		return nil
	}))
	require.Equal(t, []string{"SN-0001", "SN-0002", "SN-0003"}, serials, "all pages")
	events, err := c.Timeline(t.Context(), "SN-0001", api.TimelineQuery{Limit: 100})
	require.NoError(t, err)
	require.NotEmpty(t, events.Items)
	require.Contains(t, events.Items[0].Message, "token test-operator")
}

func TestErrorsAreProblemDocuments(t *testing.T) {
	d := newDesk(t)
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/api/v1/machines/NOBODY", ""},
		{"GET", "/api/v1/machines?limit=100000", ""},
		{"POST", "/api/v1/machines/SN-1/install", "{"},
		{"POST", "/agent/v1/session", "{"},
		{"GET", "/agent/v1/action", ""},
	} {
		resp := d.call(c.method, c.path, d.secrets[api.Admin], strings.NewReader(c.body))
		require.GreaterOrEqual(t, resp.StatusCode, 400, c.path)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"), c.path)
		var p api.Problem
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&p))
		require.Equal(t, resp.StatusCode, p.Status)
		require.NotEmpty(t, p.Error())
	}
}

func TestAgentCallsNeedASession(t *testing.T) {
	d := newDesk(t)
	for _, path := range []string{agentapi.PathProgress, agentapi.PathResult, agentapi.PathLog} {
		path = strings.ReplaceAll(path, "{id}", "1-detect")
		for _, token := range []string{"", "x", "a.b", d.secrets[api.Admin]} {
			require.Equal(t, http.StatusUnauthorized, d.call("POST", path, token, strings.NewReader("{}")).StatusCode, path)
		}
	}
	require.Equal(t, http.StatusUnauthorized, d.call("GET", strings.ReplaceAll(agentapi.PathFile, "{sha256}", "00"), "", nil).StatusCode)
	require.Equal(t, http.StatusUnauthorized, d.call("POST", agentapi.PathInstalled, "", strings.NewReader(`{"secret":"x.y"}`)).StatusCode)
	require.Contains(t, d.log.String(), "agent call refused")
}

func TestOversizedBodiesAreRefused(t *testing.T) {
	d := newDesk(t)
	resp := d.call("POST", agentapi.PathSession, "", strings.NewReader(`{"token":"`+strings.Repeat("x", 1<<20)+`"}`))
	require.Equal(t, http.StatusRequestEntityTooLarge, resp.StatusCode)
	resp = d.call("POST", "/api/v1/imports", d.secrets[api.Operator], strings.NewReader("serial\n"+strings.Repeat("x", 20<<20)))
	require.GreaterOrEqual(t, resp.StatusCode, 400)
}

// brokenStore is an inventory whose database is away.
type brokenStore struct{ inventory.Store }

var errAway = errors.New("connection to 10.9.8.7:5432 refused for user loda")

func (brokenStore) Machine(context.Context, inventory.Serial) (*inventory.Machine, error) {
	return nil, errAway
}

func (brokenStore) Installation(context.Context, string) (*inventory.Installation, error) {
	return nil, errAway
}

func TestBrokenInventoryIsSaidWithoutItsDetails(t *testing.T) {
	d := newDesk(t)
	d.serve(brokenStore{d.store})
	resp := d.call("GET", "/api/v1/machines/SN-0001", d.secrets[api.Viewer], nil)
	require.Equal(t, http.StatusInternalServerError, resp.StatusCode)
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NotContains(t, string(text), "10.9.8.7")
	require.Contains(t, d.log.String(), "10.9.8.7")
	resp = d.call("GET", agentapi.PathAction, "some.secret", nil)
	require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, "an agent tries again, it does not give its session up")
}
