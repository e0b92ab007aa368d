package apiserver

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/gitsource"
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
	huma.Register(a, operation("GET", "/api/v1/repository", "get-repository", api.Viewer,
		"The git repository of profiles: the commit in use, the one that was refused and why"), s.repository)
	huma.Register(a, operation("POST", "/api/v1/repository/sync", "sync-repository", api.Operator,
		"Fetch the git repository of profiles now"), s.syncRepository)
	huma.Register(a, operation("GET", "/api/v1/leases", "list-leases", api.Viewer, "DHCP leases, by address"), s.leases)
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
		item := api.Profile{Name: p.Name, Image: p.Image, Boot: p.Boot, Revision: p.Revision}
		if p.Installer != nil {
			item.Installer = p.Installer.Kind
		}
		profiles = append(profiles, item)
	}
	return &body[[]api.Profile]{profiles}, nil
}

// errNoRepository is the answer of a site whose profiles stand in its configuration.
var errNoRepository = huma.Error404NotFound("this site has no git repository of profiles; name one under repository in lodad.yaml")

func (s *server) repository(context.Context, *struct{}) (*body[api.Repository], error) {
	if s.Source == nil {
		return nil, errNoRepository
	}
	return &body[api.Repository]{repositoryOf(s.Source.Status())}, nil
}

// syncTime bounds one fetch that an operator waits for.
const syncTime = 2 * time.Minute

func (s *server) syncRepository(ctx context.Context, _ *struct{}) (*body[api.Repository], error) {
	if s.Source == nil {
		return nil, errNoRepository
	}
	ctx, cancel := context.WithTimeout(ctx, syncTime)
	defer cancel()
	status, err := s.Source.Sync(ctx)
	if err != nil && status.LastError == "" {
		return nil, s.fail(err)
	}
	return &body[api.Repository]{repositoryOf(status)}, nil // a failed fetch is in it
}

func repositoryOf(s gitsource.Status) api.Repository {
	r := api.Repository{URL: s.URL, Ref: s.Ref.String(), InUseSince: s.FetchedAt, LastSuccess: s.LastSuccess,
		FailingSince: s.FailingSince, LastError: s.LastError, NextPoll: s.NextPoll}
	if s.Commit != nil {
		c := commitOf(*s.Commit)
		r.Commit = &c
	}
	if s.Refused != nil {
		r.Refused = &api.RefusedCommit{Commit: commitOf(s.Refused.Commit), Since: s.Refused.Since, Errors: s.Refused.Errors}
	}
	return r
}

func commitOf(c gitsource.Commit) api.Commit {
	return api.Commit{Hash: c.Hash, Author: c.Author, Time: c.Time, Message: c.Message}
}

func (s *server) leases(ctx context.Context, in *struct {
	Subnet string `query:"subnet" maxLength:"64" doc:"name of a subnet"`
	MAC    string `query:"mac" maxLength:"64" doc:"hardware address"`
	After  string `query:"after" maxLength:"64" doc:"next of the previous page"`
	Limit  int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
}) (*body[api.LeasePage], error) {
	var mac inventory.MAC
	var after netip.Addr
	var err error
	if in.MAC != "" {
		if mac, err = inventory.ParseMAC(in.MAC); err != nil {
			return nil, huma.Error422UnprocessableEntity(err.Error())
		}
	}
	if in.After != "" {
		if after, err = netip.ParseAddr(in.After); err != nil {
			return nil, huma.Error422UnprocessableEntity("after: " + err.Error())
		}
	}
	all, err := s.store.Leases(ctx)
	if err != nil {
		return nil, s.fail(err)
	}
	all = slices.DeleteFunc(all, func(l dhcp.Lease) bool {
		return in.Subnet != "" && l.Subnet != in.Subnet || mac != "" && l.MAC.String() != string(mac) || !after.Less(l.Addr)
	})
	slices.SortFunc(all, func(x, y dhcp.Lease) int { return x.Addr.Compare(y.Addr) })
	page := api.LeasePage{Items: []api.Lease{}}
	now := time.Now()
	for i, l := range all {
		if i == in.Limit {
			page.Next = page.Items[i-1].Address
			break
		}
		page.Items = append(page.Items, leaseOf(l, now))
	}
	return &body[api.LeasePage]{page}, nil
}

func leaseOf(l dhcp.Lease, now time.Time) api.Lease {
	out := api.Lease{Address: l.Addr.String(), Subnet: l.Subnet, Hostname: l.Hostname, GrantedAt: l.GrantedAt,
		ExpiresAt: l.ExpiresAt, State: api.LeaseExpired}
	if !l.Declined {
		out.MAC, _ = inventory.MACOf(l.MAC)
	}
	switch {
	case !l.ExpiresAt.After(now):
	case l.Declined:
		out.State = api.LeaseDeclined
	default:
		out.State = api.LeaseActive
	}
	return out
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
