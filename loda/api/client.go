package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/image"
)

// Client calls the API of a lodad. Its methods return a [*Problem] for everything that the server refused.
type Client struct {
	// URL of the server, such as https://lodad:8443.
	URL string
	// Token is the secret of an API token.
	Token string
	// HTTP makes the requests; nil means a client with a timeout of one minute. Its transport decides which
	// certificates are trusted.
	HTTP *http.Client
}

var defaultHTTP = &http.Client{Timeout: time.Minute}

// do sends body (nil, an io.Reader with its content type, or something to marshal) and decodes the answer into out.
func (c *Client) do(ctx context.Context, method, path string, query url.Values, body any, contentType string, out any) error {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r = b
	default:
		doc, err := json.Marshal(b)
		if err != nil {
			return err
		}
		r, contentType = bytes.NewReader(doc), "application/json"
	}
	u := strings.TrimSuffix(c.URL, "/") + path
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, u, r)
	if err != nil {
		return err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Authorization", "Bearer "+c.Token)
	client := c.HTTP
	if client == nil {
		client = defaultHTTP
	}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("lodad at %s cannot be reached: %w", c.URL, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return problem(resp)
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("%s %s: the answer cannot be read: %w", method, path, err)
	}
	return nil
}

func problem(resp *http.Response) error {
	doc, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	p := &Problem{}
	if err := json.Unmarshal(doc, p); err != nil || p.Detail == "" && p.Title == "" {
		p = &Problem{Title: fmt.Sprintf("%s: %.200s", resp.Status, doc)}
	}
	p.Status = resp.StatusCode
	return p
}

// IsNotFound reports whether the server said that there is no such thing.
func IsNotFound(err error) bool {
	var p *Problem
	return errors.As(err, &p) && p.Status == http.StatusNotFound
}

// MachineQuery selects machines.
type MachineQuery struct {
	Source  inventory.Source
	Profile string
	Rack    string
	Query   string
	After   string
	Limit   int
}

// Site says which site and version the server is.
func (c *Client) Site(ctx context.Context) (s Site, err error) {
	return s, c.do(ctx, "GET", "/api/v1/site", nil, nil, "", &s)
}

// Machines returns one page.
func (c *Client) Machines(ctx context.Context, q MachineQuery) (page MachinePage, err error) {
	v := url.Values{}
	for key, value := range map[string]string{"source": string(q.Source), "profile": q.Profile, "rack": q.Rack, "q": q.Query, "after": q.After} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return page, c.do(ctx, "GET", "/api/v1/machines", v, nil, "", &page)
}

// AllMachines calls each for every machine that q selects, page by page.
func (c *Client) AllMachines(ctx context.Context, q MachineQuery, each func(Machine) error) error {
	for {
		page, err := c.Machines(ctx, q)
		if err != nil {
			return err
		}
		for _, m := range page.Items {
			if err := each(m); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		q.After = page.Next
	}
}

func machinePath(serial string) string { return "/api/v1/machines/" + url.PathEscape(serial) }

// Machine returns one machine with its facts.
func (c *Client) Machine(ctx context.Context, serial string) (m Machine, err error) {
	return m, c.do(ctx, "GET", machinePath(serial), nil, nil, "", &m)
}

// Render returns what a machine would get at a commit; empty: at the one in use.
func (c *Client) Render(ctx context.Context, serial, revision string) (r Rendering, err error) {
	v := url.Values{}
	if revision != "" {
		v.Set("revision", revision)
	}
	return r, c.do(ctx, "GET", machinePath(serial)+"/rendering", v, nil, "", &r)
}

// Repository says what the site knows of its git repository of profiles.
func (c *Client) Repository(ctx context.Context) (r Repository, err error) {
	return r, c.do(ctx, "GET", "/api/v1/repository", nil, nil, "", &r)
}

// SyncRepository fetches it now. A failure of the fetch is in the answer.
func (c *Client) SyncRepository(ctx context.Context) (r Repository, err error) {
	return r, c.do(ctx, "POST", "/api/v1/repository/sync", nil, nil, "", &r)
}

// DeleteMachine forgets a machine.
func (c *Client) DeleteMachine(ctx context.Context, serial string) error {
	return c.do(ctx, "DELETE", machinePath(serial), nil, nil, "", nil)
}

// Import sends machines as CSV; see [loda.ParseCSV] for the columns.
func (c *Client) Import(ctx context.Context, csv io.Reader, dryRun, install bool) (res ImportResult, err error) {
	v := url.Values{"dry_run": {strconv.FormatBool(dryRun)}, "install": {strconv.FormatBool(install)}}
	return res, c.do(ctx, "POST", "/api/v1/imports", v, csv, "text/csv", &res)
}

// Install opens an installation.
func (c *Client) Install(ctx context.Context, serial string, req InstallRequest) (i Installation, err error) {
	return i, c.do(ctx, "POST", machinePath(serial)+"/install", nil, req, "", &i)
}

// Decide is one of cancel, retry, release or hold on the machine's open installation.
func (c *Client) Decide(ctx context.Context, serial, decision, reason string) (i Installation, err error) {
	return i, c.do(ctx, "POST", machinePath(serial)+"/"+decision, nil, ReasonRequest{Reason: reason}, "", &i)
}

// Installations returns one page, newest first; serial may be empty.
func (c *Client) Installations(ctx context.Context, serial, after string, limit int) (page InstallationPage, err error) {
	v := url.Values{}
	if serial != "" {
		v.Set("serial", serial)
	}
	if after != "" {
		v.Set("after", after)
	}
	if limit > 0 {
		v.Set("limit", strconv.Itoa(limit))
	}
	return page, c.do(ctx, "GET", "/api/v1/installations", v, nil, "", &page)
}

// TimelineQuery selects events of a machine. The zero value selects the first hundred.
type TimelineQuery struct {
	// After is [EventPage.Next] of the page before.
	After int64
	// Limit bounds the page, at most 1000; 0 means 100.
	Limit int
	// Latest asks for the last events instead of those after After, still oldest first.
	Latest bool
	// Kinds selects events of these kinds; empty: all.
	Kinds []inventory.Kind
}

// Timeline returns one page of what happened to a machine, by serial number or MAC.
func (c *Client) Timeline(ctx context.Context, machine string, q TimelineQuery) (page EventPage, err error) {
	v := url.Values{"latest": {strconv.FormatBool(q.Latest)}}
	if q.After > 0 {
		v.Set("after", strconv.FormatInt(q.After, 10))
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	for _, kind := range q.Kinds {
		v.Add("kind", string(kind))
	}
	return page, c.do(ctx, "GET", "/api/v1/timeline/"+url.PathEscape(machine), v, nil, "", &page)
}

// LeaseQuery selects leases. The zero value selects the first hundred.
type LeaseQuery struct {
	// Subnet is the name of a subnet, MAC a hardware address; empty: all.
	Subnet, MAC string
	// After is [LeasePage.Next] of the page before.
	After string
	// Limit bounds the page, at most 1000; 0 means 100.
	Limit int
}

// Leases returns one page of the site's DHCP leases, by address.
func (c *Client) Leases(ctx context.Context, q LeaseQuery) (page LeasePage, err error) {
	v := url.Values{}
	for key, value := range map[string]string{"subnet": q.Subnet, "mac": q.MAC, "after": q.After} {
		if value != "" {
			v.Set(key, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return page, c.do(ctx, "GET", "/api/v1/leases", v, nil, "", &page)
}

// Images lists the images of the site.
func (c *Client) Images(ctx context.Context) (images []image.Image, err error) {
	return images, c.do(ctx, "GET", "/api/v1/images", nil, nil, "", &images)
}

// Profiles lists the profiles of the site.
func (c *Client) Profiles(ctx context.Context) (profiles []Profile, err error) {
	return profiles, c.do(ctx, "GET", "/api/v1/profiles", nil, nil, "", &profiles)
}

// CreateToken makes an API token. Its secret is in the answer and nowhere else.
func (c *Client) CreateToken(ctx context.Context, req TokenRequest) (t NewToken, err error) {
	return t, c.do(ctx, "POST", "/api/v1/tokens", nil, req, "", &t)
}

// Tokens lists the API tokens.
func (c *Client) Tokens(ctx context.Context) (tokens []Token, err error) {
	return tokens, c.do(ctx, "GET", "/api/v1/tokens", nil, nil, "", &tokens)
}

// DeleteToken revokes a token.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	return c.do(ctx, "DELETE", "/api/v1/tokens/"+url.PathEscape(id), nil, nil, "", nil)
}
