package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/sqlite"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/apiserver"
	"github.com/project-loda/loda/loda/site"
)

// adminTokenFile holds the secret of the first admin token, for the commands on this host.
const adminTokenFile = "admin.token"

func serveCommand(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Run the daemon: DHCP, TFTP, boot server, API",
		Long: `Run the daemon: DHCP, TFTP, boot server, API.

It needs the ports 67 and 69 and raw sockets (root, or CAP_NET_BIND_SERVICE and
CAP_NET_RAW). It can be stopped and killed at any moment: every installation
goes on where it stood when it runs again. SIGTERM finishes what is in flight.

The first start makes the site's certificate authority and an admin token in the
data directory.`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c)
		},
	}
}

func serve(ctx context.Context, c *config) (err error) {
	log := newLogger(c.Log)
	dir := site.Layout(c.Data)
	if err := dir.Make(); err != nil {
		return err
	}
	store, err := sqlite.Open(ctx, c.database())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	if err := firstToken(ctx, store, c.path(adminTokenFile)); err != nil {
		return err
	}
	secrets, err := openSecrets(c.Secrets, log)
	if err != nil {
		return err
	}
	sc := site.Config{
		Name: c.Site, Version: version(), Dir: dir, Store: store, Secrets: secrets, Deadlines: c.Deadlines,
		API: c.Listen.API, Boot: c.Listen.Boot, ArtifactsTLS: c.Listen.Artifacts, TFTP: c.Listen.TFTP, Socket: c.socket(),
		NBPDirs: c.PXE.NBPDirs, Chain: c.PXE.Chain, Chainload: c.PXE.Chainload, UserClass: c.PXE.UserClass, Logger: log,
	}
	if err := c.DHCP.site(&sc); err != nil {
		return err
	}
	if c.Repository.URL != "" {
		if sc.Repository, err = c.openProfiles(log); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, sc.Repository.Source().Close()) }()
		sc.WebhookSecret = c.Repository.webhookSecret()
	} else if sc.Profiles, err = loda.NewStaticProfiles(c.Profiles); err != nil {
		return err
	}
	s, err := site.New(sc)
	if err != nil {
		return err
	}
	return s.Run(ctx)
}

// firstToken makes an admin token if there is none that is good, and leaves its secret in a file for this host's admin:
// whoever revoked the last one would be locked out otherwise.
func firstToken(ctx context.Context, store inventory.TokenStore, path string) error {
	tokens, err := store.Tokens(ctx)
	if err != nil {
		return err
	}
	now := time.Now()
	for _, t := range tokens {
		if t.Role == string(api.Admin) && (t.ExpiresAt.IsZero() || t.ExpiresAt.After(now)) {
			return nil
		}
	}
	t, secret := apiserver.MakeToken(api.TokenRequest{Name: "first-admin", Role: api.Admin}, now)
	// The file first: a token whose secret nobody has would keep this from ever happening again.
	if err := writeFileAtomic(path, []byte(secret+"\n"), 0o600); err != nil {
		return fmt.Errorf("first admin token: %w", err)
	}
	if err := store.CreateToken(ctx, t); err != nil {
		return fmt.Errorf("first admin token: %w", err)
	}
	return nil
}

func writeFileAtomic(path string, content []byte, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
