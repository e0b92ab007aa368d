package apiserver

import (
	"context"
	"fmt"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/trust"
)

func (s *server) siteOperations(a huma.API) {
	huma.Register(a, operation("GET", "/api/v1/site", "get-site", api.Viewer, "Name and version of the site"),
		func(context.Context, *struct{}) (*body[api.Site], error) {
			return &body[api.Site]{api.Site{Site: s.Site, Version: s.Version}}, nil
		})
	huma.Register(a, operation("GET", "/api/v1/images", "list-images", api.Viewer, "Images that can be installed"), s.listImages)
	huma.Register(a, operation("GET", "/api/v1/profiles", "list-profiles", api.Viewer, "Profiles that machines can have"), s.listProfiles)
	huma.Register(a, operation("GET", "/api/v1/tokens", "list-tokens", api.Admin, "API tokens, without their secrets"), s.listTokens)
	huma.Register(a, operation("POST", "/api/v1/tokens", "create-token", api.Admin, "Make an API token; its secret is told once"), s.createToken)
	huma.Register(a, operation("DELETE", "/api/v1/tokens/{id}", "delete-token", api.Admin, "Revoke an API token"), s.deleteToken)
}

func (s *server) listImages(context.Context, *struct{}) (*body[[]image.Image], error) {
	images, err := s.Images.List()
	if err != nil {
		if len(images) == 0 {
			return nil, s.fail(err)
		}
		s.Logger.Error("listing images", "error", err)
	}
	if images == nil {
		images = []image.Image{}
	}
	return &body[[]image.Image]{images}, nil
}

func (s *server) listProfiles(ctx context.Context, _ *struct{}) (*body[[]api.Profile], error) {
	names, err := s.Profiles.Names(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	profiles := make([]api.Profile, 0, len(names))
	for _, name := range names {
		p, err := s.Profiles.Profile(ctx, name)
		if err != nil {
			return nil, s.fail(err)
		}
		profiles = append(profiles, api.Profile{Name: p.Name, Image: p.Image, Boot: p.Boot})
	}
	return &body[[]api.Profile]{profiles}, nil
}

func (s *server) listTokens(ctx context.Context, _ *struct{}) (*body[[]api.Token], error) {
	tokens, err := s.store.Tokens(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	out := make([]api.Token, 0, len(tokens))
	for _, t := range tokens {
		out = append(out, public(t))
	}
	return &body[[]api.Token]{out}, nil
}

func public(t inventory.Token) api.Token {
	return api.Token{ID: t.ID, Name: t.Name, Role: api.Role(t.Role), CreatedAt: t.CreatedAt, ExpiresAt: t.ExpiresAt}
}

func (s *server) createToken(ctx context.Context, in *struct{ Body api.TokenRequest }) (*body[api.NewToken], error) {
	t, secret := MakeToken(in.Body, time.Now())
	if err := s.store.CreateToken(ctx, t); err != nil {
		return nil, s.fail(err)
	}
	s.Logger.Info("token created", "id", t.ID, "name", t.Name, "role", t.Role, "by", by(ctx))
	err := s.store.AppendEvents(ctx, inventory.Event{Kind: inventory.KindAudit,
		Message: fmt.Sprintf("token %s (%s) created with role %s, by %s", t.ID, t.Name, t.Role, by(ctx))})
	if err != nil {
		return nil, s.fail(err)
	}
	return &body[api.NewToken]{api.NewToken{Token: public(t), Secret: secret}}, nil
}

// MakeToken makes a token and the secret that belongs to it. It stores nothing.
func MakeToken(req api.TokenRequest, now time.Time) (inventory.Token, string) {
	secret := trust.NewSecret("")
	t := inventory.Token{ID: trust.Hash(secret)[:12], Name: req.Name, Role: string(req.Role), Hash: trust.Hash(secret), CreatedAt: now}
	if req.Days > 0 {
		t.ExpiresAt = now.AddDate(0, 0, req.Days)
	}
	return t, secret
}

func (s *server) deleteToken(ctx context.Context, in *struct {
	ID string `path:"id"`
}) (*struct{}, error) {
	if err := s.store.DeleteToken(ctx, in.ID); err != nil {
		return nil, s.fail(fmt.Errorf("token %s: %w", in.ID, err))
	}
	s.Logger.Info("token revoked", "id", in.ID, "by", by(ctx))
	return nil, s.fail(s.store.AppendEvents(ctx, inventory.Event{Kind: inventory.KindAudit,
		Message: fmt.Sprintf("token %s revoked, by %s", in.ID, by(ctx))}))
}
