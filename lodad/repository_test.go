package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
)

func TestSyncFailsWhileTheNewestCommitIsNotInUse(t *testing.T) {
	origin := gitsourcetest.New(t, team)
	o := newOffice(t).follow(origin).open()
	out := o.must("config", "sync")
	require.Regexp(t, `(?m)^in use +[0-9a-f]{10} by Ada, \d{4}-\d\d-\d\d \d\d:\d\d:\d\d: a change$`, out)
	require.Contains(t, out, origin.Dir)
	require.NotContains(t, out, "refused")
	good := decoded[api.Repository](t, o.must("config", "status", "-o", "json"))
	require.NotNil(t, good.Commit)
	require.Nil(t, good.Refused)

	bad := origin.Push(map[string]string{"profiles/db.yaml": "match: {vendor: Acme, product: DB*}\nos: debain\nboot: warm\n"})
	status, out, err := o.lodad("config", "sync")
	require.Equal(t, 1, status)
	require.Empty(t, err, "everything is said already")
	require.Contains(t, out, good.Commit.Hash[:10])
	require.Regexp(t, `(?m)^refused +`+bad[:10]+` by Ada, `, out)
	require.Regexp(t, `(?m)^ +profiles/db\.yaml:2:5: os: there is no os/debain\.yaml; did you mean debian\?$`, out)
	require.Regexp(t, `(?m)^ +profiles/db\.yaml:3:7: boot: `, out)
	require.Equal(t, out, o.must("config", "status"), "the status alone is no failure")
	status, out, _ = o.lodad("config", "sync", "-o", "json")
	require.Equal(t, 1, status)
	refused := decoded[api.Repository](t, out)
	require.Equal(t, good.Commit, refused.Commit)
	require.Equal(t, bad, refused.Refused.Hash)
	require.Len(t, refused.Refused.Errors, 2)

	o.rack(map[inventory.Serial]string{"SN-0001": "DB 1"})
	require.Contains(t, o.must("config", "render", "--machine", "SN-0001"), "commit "+good.Commit.Hash,
		"the last good one stays in use")

	require.NoError(t, os.Rename(origin.Dir, origin.Dir+"-gone"))
	status, out, _ = o.lodad("config", "sync")
	require.Equal(t, 1, status)
	require.Regexp(t, `(?m)^fetching fails +for \d+s: fetching the config repository `+origin.Dir+`: `, out)
	require.Contains(t, out, good.Commit.Hash[:10])
	require.Contains(t, o.must("config", "render", "--machine", "SN-0001"), good.Commit.Hash)
	require.NoError(t, os.Rename(origin.Dir+"-gone", origin.Dir))
	fixed := origin.Push(map[string]string{"profiles/db.yaml": team["profiles/db.yaml"]})
	require.Contains(t, o.must("config", "sync"), fixed[:10])

	require.Contains(t, o.fails(2, "config", "sync", "now"), "usage")
	viewer := strings.TrimSpace(o.must("token", "create", "dashboard", "--role", "viewer"))
	require.Contains(t, o.must("config", "status", "--token", viewer), fixed[:10])
	require.Contains(t, o.fails(1, "config", "sync", "--token", viewer), "needs operator")
}

func TestSiteWithoutACommitSaysSo(t *testing.T) {
	origin := gitsourcetest.New(t, changed(map[string]string{"profiles/db.yaml": "os: x\n"}))
	o := newOffice(t).follow(origin).open()
	status, out, _ := o.lodad("config", "sync")
	require.Equal(t, 1, status)
	require.Regexp(t, `(?m)^in use +none yet: nothing can be installed$`, out)
	require.Contains(t, out, "os/x.yaml")
	o.rack(map[inventory.Serial]string{"SN-0001": "Web 1"})
	require.Contains(t, o.fails(1, "config", "render", "--machine", "SN-0001"),
		"no commit of the config repository is in use yet")
	status, out, _ = o.lodad("model", "compare", "SN-0001")
	require.Equal(t, 1, status)
	require.Contains(t, out, "no commit of the config repository is in use yet")

	var b bytes.Buffer
	now := time.Now()
	require.NoError(t, showRepository(&b, api.Repository{URL: "https://git.example/x", LastError: "no route",
		FailingSince: now,
		Refused:      &api.RefusedCommit{Commit: api.Commit{Hash: strings.Repeat("ab", 20)}, Errors: []string{"too big"}}}))
	require.Regexp(t, `(?m)^fetched +never$`, b.String())
	require.Regexp(t, `(?m)^refused +ababababab$`, b.String(),
		"of a commit that was too big to be fetched, only the number is known")
}

func TestSiteWithoutARepositorySaysHowToGetOne(t *testing.T) {
	o := newOffice(t).open()
	for _, args := range [][]string{{"config", "status"}, {"config", "sync"}} {
		require.Contains(t, o.fails(1, args...), "name one under repository in lodad.yaml")
	}
	o.must("machine", "import", o.csv("serial,profile\nSN-0001,debian\n"))
	o.report(server("SN-0001", "Web 1"))
	require.Contains(t, o.fails(1, "config", "render", "--machine", "SN-0001", "--revision", "HEAD"),
		"name one under repository in lodad.yaml")
	// Profiles of lodad.yaml are rendered as well, for a machine that names one.
	out := o.must("config", "render", "--machine", "SN-0001")
	require.Contains(t, out, "write image debian-12")
	require.NotContains(t, out, "commit")
}

func TestMistakesInTheRepositorySettingsAreToldAllAtOnce(t *testing.T) {
	for text, want := range map[string][]string{
		"repository: {url: 'https://git.example/m.git', branch: main, tag: v1, poll: 10ms, token_file: token, webhook_secret_file: hook}\n": {
			"repository: only one of branch, tag and commit", "poll: 10ms is too short",
			`token_file: "token" is not an absolute path`,
			`webhook_secret_file: "hook" is not an absolute path`},
		"repository: {poll: 10ms, key_file: key, branch: a, tag: b}\nsecrets: secrets.yaml\n": {"url: missing; name the git repository", "poll: 10ms is too short",
			"only one of branch, tag and commit", `key_file: "key" is not an absolute path`,
			`secrets: "secrets.yaml" is not an absolute path`},
		"repository: {url: 'https://me:hunter2@git.example/m.git', commit: abc}\n": {"holds a password",
			"40 hexadecimal digits"},
		"repository: {url: 'http://git.example/m.git'}\n":                            {"in the clear"},
		"repository: {url: machines}\n":                                              {"absolute path"},
		"repository: {url: 'git@git.example:m.git'}\n":                               {"repository: "},
		"repository: {url: 'git@git.example:m.git', token_file: /t, key_file: /k}\n": {"token file"},
		"repository: {url: /srv/m, brnach: main}\n":                                  {"[1:", "brnach"},
		"repository: {url: /srv/m, poll: often}\n":                                   {"often"},
		"repository: {url: /srv/m}\nprofiles: {a: {image: x}}\n":                     {"profiles, repository: both are given"},
	} {
		_, err := loadText(t, text)
		require.Error(t, err, text)
		for _, part := range want {
			require.ErrorContains(t, err, part, text)
		}
		require.NotContains(t, err.Error(), "hunter2")
		for line := range strings.Lines(strings.TrimSpace(err.Error())) {
			require.True(t, strings.HasPrefix(line, "configuration ") || strings.HasPrefix(line, "  ") ||
				strings.HasPrefix(line, ">") || line == "\n", "indented below the file's name: %q", line)
		}
	}
}

func TestSecretsAreReadAnewAndNeverShown(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	stamp := time.Now().Add(-time.Hour)
	write := func(text string, mode os.FileMode) {
		t.Helper()
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		require.NoError(t, os.Chmod(path, mode))
		stamp = stamp.Add(time.Second)
		require.NoError(t, os.Chtimes(path, stamp, stamp))
	}
	none, err := openSecrets("", logger)
	require.NoError(t, err)
	_, ok := none.Secret("bmc_password")
	require.False(t, ok)
	_, err = openSecrets(path, logger)
	require.ErrorContains(t, err, path)
	for text, want := range map[string]string{
		"- hunter2\n":                     "is not a YAML mapping of names to texts",
		"hunter2":                         "is not a YAML mapping of names to texts",
		"bmc_password: [hunter2]\n":       "bmc_password is not a text; put it in quotes",
		"root: hunter2\npin: 0042\n":      "pin is not a text; put it in quotes",
		"root: hunter2\npin: true\n":      "pin is not a text; put it in quotes",
		"bmc_password: \"hunter2\n":       "is not a YAML mapping of names to texts",
		"a: hunter2\na: hunter2\n":        "is not a YAML mapping of names to texts",
		"root: hunter2\nbmc_password: \n": "bmc_password is empty",
	} {
		write(text, 0o600)
		_, err := openSecrets(path, logger)
		require.ErrorContains(t, err, want, text)
		require.ErrorContains(t, err, path)
		require.NotContains(t, err.Error(), "hunter2")
	}
	for _, mode := range []os.FileMode{0o604, 0o602, 0o644, 0o666} {
		write("bmc_password: hunter2\n", mode)
		_, err = openSecrets(path, logger)
		require.ErrorContains(t, err, "can be read by everybody", mode)
		require.ErrorContains(t, err, "chmod o= "+path)
	}

	write("bmc_password: hunter2\npin: \"0042\"\n", 0o640)
	s, err := openSecrets(path, logger)
	require.NoError(t, err)
	is := func(name, want string) {
		t.Helper()
		got, ok := s.Secret(name)
		require.Equal(t, want != "", ok)
		require.Equal(t, want, got)
	}
	is("bmc_password", "hunter2")
	is("pin", "0042")
	is("nothing", "")
	write("bmc_password: hunter3\n", 0o600)
	is("bmc_password", "hunter3")
	is("pin", "")
	write("bmc_password: [hunter4\n", 0o600)
	is("bmc_password", "hunter3")
	require.Contains(t, log.String(), "those that were read before stay")
	write("bmc_password: hunter4\n", 0o644)
	is("bmc_password", "hunter3")
	require.Contains(t, log.String(), "can be read by everybody")
	lines := strings.Count(log.String(), "\n")
	for range 100 {
		is("bmc_password", "hunter3")
	}
	require.Equal(t, lines, strings.Count(log.String(), "\n"), "the same mistake is logged once")
	require.NoError(t, os.Remove(path))
	is("bmc_password", "hunter3")
	write("bmc_password: hunter4\n", 0o600)
	is("bmc_password", "hunter4")
	require.NotContains(t, log.String(), "hunter")
}

func TestSecretsOfASiteAreInNothingThatPeopleSee(t *testing.T) {
	origin := gitsourcetest.New(t, team)
	o := newOffice(t).follow(origin)
	o.config.Secrets = filepath.Join(filepath.Dir(o.file), "secrets.yaml")
	require.NoError(t, os.WriteFile(o.config.Secrets, []byte("bmc_password: hunter2\n"), 0o600))
	o.rewrite().open()
	o.must("config", "sync")
	o.rack(map[inventory.Serial]string{"SN-0001": "Web 1"})
	o.must("machine", "install", "SN-0001")
	for _, args := range []string{"config render --machine SN-0001", "config render --machine SN-0001 -o json",
		"machine show SN-0001 -o json",
		"timeline SN-0001 -o json", "config render " + origin.Dir + " --machine SN-0001"} {
		out := o.must(strings.Fields(args)...)
		require.NotContains(t, out, "hunter2", args)
		if strings.Contains(args, "render") {
			require.Contains(t, out, "BMC=@@loda.secret:bmc_password@@", args)
		}
	}
	inst, err := o.store.OpenInstallation(t.Context(), "SN-0001")
	require.NoError(t, err)
	require.NotContains(t, string(inst.Plan), "hunter2")

	require.NoError(t, os.Chmod(o.config.Secrets, 0o644))
	other := newOffice(t)
	other.config.Secrets = o.config.Secrets
	require.ErrorContains(t, serve(t.Context(), other.config), "can be read by everybody",
		"lodad does not start with it")
}

func TestSignedPushLeadsToAFetch(t *testing.T) {
	origin := gitsourcetest.New(t, team)
	o := newOffice(t).follow(origin)
	o.config.Repository.Branch = "main"
	o.config.Repository.WebhookSecretFile = filepath.Join(filepath.Dir(o.file), "webhook")
	secret := o.config.Repository.WebhookSecretFile
	require.NoError(t, os.WriteFile(secret, []byte("hunter2\n"), 0o600))
	o.rewrite().open()
	first := decoded[api.Repository](t, o.must("config", "sync", "-o", "json")).Commit.Hash

	pem, err := os.ReadFile(filepath.Join(o.config.Data, "ca", "ca.pem"))
	require.NoError(t, err)
	pool := x509.NewCertPool()
	require.True(t, pool.AppendCertsFromPEM(pem))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}
	t.Cleanup(transport.CloseIdleConnections)
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	post := func(body, key string, header map[string]string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+o.config.Listen.API+"/webhooks/git",
			strings.NewReader(body))
		require.NoError(t, err)
		for name, value := range header {
			r.Header.Set(name, value)
		}
		if key != "" {
			sum := hmac.New(sha256.New, []byte(key))
			sum.Write([]byte(body))
			r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(sum.Sum(nil)))
		}
		resp, err := client.Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NotContains(t, string(text), "hunter")
		return resp.StatusCode, string(text)
	}
	inUse := func() string {
		return decoded[api.Repository](t, o.must("config", "status", "-o", "json")).Commit.Hash
	}

	second := origin.Push(map[string]string{"profiles/db.yaml": team["profiles/db.yaml"] + "boot: kexec\n"})
	push := `{"ref":"refs/heads/main"}`
	github := map[string]string{"X-GitHub-Event": "push"}
	status, text := post(push, "", github)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Contains(t, text, "without a signature")
	status, text = post(push, "guess", github)
	require.Equal(t, http.StatusUnauthorized, status)
	require.Contains(t, text, "wrong signature")
	status, _ = post(strings.Replace(push, "main", "dev", 1), "hunter2", github)
	require.Equal(t, http.StatusOK, status, "another branch is none of our business")
	time.Sleep(50 * time.Millisecond)
	require.Equal(t, first, inUse(), "nothing was fetched")
	status, _ = post(push, "hunter2", github)
	require.Equal(t, http.StatusAccepted, status)
	require.Eventually(t, func() bool { return inUse() == second }, 10*time.Second, 20*time.Millisecond)

	// The secret is changed while lodad runs.
	require.NoError(t, os.WriteFile(secret, []byte("hunter3\n"), 0o600))
	third := origin.Push(map[string]string{"profiles/db.yaml": team["profiles/db.yaml"]})
	status, _ = post(push, "hunter2", github)
	require.Equal(t, http.StatusUnauthorized, status)
	status, _ = post(push, "", map[string]string{"X-Gitlab-Event": "Push Hook", "X-Gitlab-Token": "hunter3"})
	require.Equal(t, http.StatusAccepted, status)
	require.Eventually(t, func() bool { return inUse() == third }, 10*time.Second, 20*time.Millisecond)
	for _, broken := range []string{" \n", ""} {
		require.NoError(t, os.WriteFile(secret, []byte(broken), 0o600))
		if broken == "" {
			require.NoError(t, os.Remove(secret))
		}
		status, text = post(push, "hunter3", github)
		require.Equal(t, http.StatusServiceUnavailable, status)
		require.NotContains(t, text, secret, "whoever can reach the port does not learn about files")
	}

	plain := newOffice(t).follow(origin).open()
	o.config.Listen.API = plain.config.Listen.API
	pem, err = os.ReadFile(filepath.Join(plain.config.Data, "ca", "ca.pem"))
	require.NoError(t, err)
	require.True(t, pool.AppendCertsFromPEM(pem))
	status, _ = post(push, "hunter3", github)
	require.Equal(t, http.StatusNotFound, status, "no secret, no webhook")
}
