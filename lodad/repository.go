package main

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/project-loda/loda/loda/gitprofiles"
	"github.com/project-loda/loda/loda/gitsource"
	"github.com/project-loda/loda/loda/site"
)

// repositoryConfig names the git repository of profiles. What its fields mean is said in configTemplate.
type repositoryConfig struct {
	URL               string        `yaml:"url"`
	Branch            string        `yaml:"branch"`
	Tag               string        `yaml:"tag"`
	Commit            string        `yaml:"commit"`
	Username          string        `yaml:"username"`
	TokenFile         string        `yaml:"token_file"`
	CAFile            string        `yaml:"ca_file"`
	KeyFile           string        `yaml:"key_file"`
	PassphraseFile    string        `yaml:"passphrase_file"`
	KnownHostsFile    string        `yaml:"known_hosts_file"`
	Poll              time.Duration `yaml:"poll"`
	WebhookSecretFile string        `yaml:"webhook_secret_file"`
}

// check returns everything that is wrong.
func (r repositoryConfig) check() []error {
	var errs []error
	switch source := r.source(); {
	case r == repositoryConfig{}:
	case r.URL == "":
		errs = append(errs, errors.New("url: missing; name the git repository"))
		if err := source.Ref.Validate(); err != nil {
			errs = append(errs, err)
		}
	default:
		errs = append(errs, unjoin(source.Validate())...)
	}
	if r.Poll != 0 && r.Poll < time.Second {
		errs = append(errs, fmt.Errorf("poll: %s is too short; want 1s or more", r.Poll))
	}
	for _, f := range []struct{ key, path string }{{"token_file", r.TokenFile}, {"ca_file", r.CAFile}, {"key_file", r.KeyFile},
		{"passphrase_file", r.PassphraseFile}, {"known_hosts_file", r.KnownHostsFile}, {"webhook_secret_file", r.WebhookSecretFile}} {
		if f.path != "" && !filepath.IsAbs(f.path) {
			errs = append(errs, fmt.Errorf("%s: %q is not an absolute path", f.key, f.path))
		}
	}
	return errs
}

// source is how the repository is reached.
func (r repositoryConfig) source() gitsource.Config {
	return gitsource.Config{URL: r.URL, Ref: gitsource.Ref{Branch: r.Branch, Tag: r.Tag, Commit: r.Commit}, Poll: r.Poll,
		Auth: gitsource.Auth{Username: r.Username, TokenFile: r.TokenFile, CAFile: r.CAFile, KeyFile: r.KeyFile,
			PassphraseFile: r.PassphraseFile, KnownHostsFile: r.KnownHostsFile}}
}

// openProfiles opens the site's copy of the repository. It needs no network.
func (c *config) openProfiles(log *slog.Logger) (*gitprofiles.Profiles, error) {
	conf := c.Repository.source()
	conf.Dir, conf.Check, conf.Logger = site.Layout(c.Data).Repository(), gitprofiles.Check, log
	source, err := gitsource.Open(conf)
	if err != nil {
		return nil, err
	}
	return gitprofiles.New(source, c.Site), nil
}

// webhookSecret reads the file at each push, so that the secret can be changed while lodad runs.
func (r repositoryConfig) webhookSecret() func() (string, error) {
	if r.WebhookSecretFile == "" {
		return nil
	}
	return func() (string, error) {
		text, err := os.ReadFile(r.WebhookSecretFile)
		if err != nil {
			return "", err
		}
		secret := strings.TrimSpace(string(text))
		if secret == "" {
			return "", fmt.Errorf("%s is empty", r.WebhookSecretFile)
		}
		return secret, nil
	}
}

// secretsFile is a YAML file of names and values. It is read anew when it was changed.
type secretsFile struct {
	path string
	log  *slog.Logger

	mu       sync.Mutex
	modified time.Time
	values   map[string]string
	failed   string // the last message about a file that cannot be read, which may be met many times
}

// openSecrets reads the file; other people must not be able to.
func openSecrets(path string, log *slog.Logger) (*secretsFile, error) {
	s := &secretsFile{path: path, log: log}
	if path == "" {
		return s, nil
	}
	return s, s.read()
}

func (s *secretsFile) read() error {
	info, err := os.Stat(s.path)
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	if info.Mode().Perm()&0o007 != 0 {
		return fmt.Errorf("secrets: %s can be read by everybody (mode %04o); chmod o= %s", s.path, info.Mode().Perm(), s.path)
	}
	text, err := os.ReadFile(s.path)
	if err != nil {
		return fmt.Errorf("secrets: %w", err)
	}
	var document map[string]any
	if err := decodeStrict(text, &document); err != nil {
		// The parser's message shows the line, which may hold a secret.
		return fmt.Errorf("secrets: %s is not a YAML mapping of names to texts", s.path)
	}
	values := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(document)) {
		value, isText := document[name].(string)
		switch {
		case document[name] == nil, isText && value == "":
			return fmt.Errorf("secrets: %s: %s is empty", s.path, name)
		case !isText:
			// 0042 is the number 34 to YAML, which opens nothing.
			return fmt.Errorf("secrets: %s: %s is not a text; put it in quotes", s.path, name)
		}
		values[name] = value
	}
	s.values, s.modified, s.failed = values, info.ModTime(), ""
	return nil
}

// Secret implements loda.Secrets.
func (s *secretsFile) Secret(name string) (string, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.path != "" {
		if info, err := os.Stat(s.path); err != nil || !info.ModTime().Equal(s.modified) {
			if err := s.read(); err != nil && err.Error() != s.failed {
				s.failed = err.Error()
				s.log.Error("the secrets cannot be read anew, those that were read before stay", "error", err)
			}
		}
	}
	value, ok := s.values[name]
	return value, ok
}
