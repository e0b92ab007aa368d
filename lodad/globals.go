package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/loda/api"
)

const defaultConfigFile = "/etc/loda/lodad.yaml"

// globals are the flags of every command.
type globals struct {
	config string
	server string
	token  string
	ca     string
	output string
}

func (g *globals) bind(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVarP(&g.config, "config", "c", cmp.Or(os.Getenv("LODA_CONFIG"), defaultConfigFile), "configuration file (LODA_CONFIG)")
	f.StringVar(&g.server, "server", os.Getenv("LODA_SERVER"), "URL of a lodad; empty: the one on this host, through its socket (LODA_SERVER)")
	f.StringVar(&g.token, "token", os.Getenv("LODA_TOKEN"), "API token; empty: the first admin's, from the data directory (LODA_TOKEN)")
	f.StringVar(&g.ca, "ca", os.Getenv("LODA_CA"), "file with the certificate authority of --server, PEM (LODA_CA)")
	f.StringVarP(&g.output, "output", "o", "table", "output format: table or json")
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		if g.output != "table" && g.output != "json" {
			return usageError{fmt.Errorf("--output %s: want table or json", g.output)}
		}
		return nil
	}
}

// load reads the configuration. Without a file the defaults hold, unless a file was asked for.
func (g *globals) load() (*config, error) {
	return loadConfig(g.config, g.config != defaultConfigFile, os.Environ())
}

// client returns a client of the API, of --server or of the lodad on this host.
func (g *globals) client() (*api.Client, error) {
	if g.server != "" {
		return g.remote()
	}
	return g.localClient()
}

// localClient talks to the lodad of the configuration through its socket.
func (g *globals) localClient() (*api.Client, error) {
	c, err := g.load()
	if err != nil {
		return nil, err
	}
	token := g.token
	if token == "" {
		text, err := os.ReadFile(c.path(adminTokenFile))
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("no token: %s does not exist; run `lodad serve` once, or give --token and --server", c.path(adminTokenFile))
		}
		if err != nil {
			return nil, fmt.Errorf("no token: %w; give --token, or run this as the user of lodad", err)
		}
		token = strings.TrimSpace(string(text))
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, "unix", c.socket())
		if err != nil {
			err = fmt.Errorf("%w; does `lodad serve` run with this configuration (%s)? --server names another", err, g.config)
		}
		return conn, err
	}}
	return &api.Client{URL: "http://lodad", Token: token,
		HTTP: &http.Client{Transport: transport, Timeout: time.Minute}}, nil
}

func (g *globals) remote() (*api.Client, error) {
	if g.token == "" {
		return nil, usageError{errors.New("--server needs --token")}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if g.ca != "" {
		pem, err := os.ReadFile(g.ca)
		if err != nil {
			return nil, fmt.Errorf("--ca: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("--ca: %s holds no PEM certificate", g.ca)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &api.Client{URL: g.server, Token: g.token, HTTP: &http.Client{Transport: transport, Timeout: time.Minute}}, nil
}

func newLogger(c logConfig) *slog.Logger {
	var level slog.Level
	_ = level.UnmarshalText([]byte(c.Level)) // checked with the configuration
	o := &slog.HandlerOptions{Level: level}
	if c.Format == "json" {
		return slog.New(slog.NewJSONHandler(os.Stderr, o))
	}
	return slog.New(slog.NewTextHandler(os.Stderr, o))
}

// release is set by the build of a release.
var release = ""

func version() string {
	if release != "" {
		return release
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return "devel-" + s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "devel"
}
