package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/project-loda/loda/inventory"
)

// Client is an [inventory.MachineStore] over the CMDB: the assets there are the machines here, and nothing of them is
// kept twice. The rules of imports and updates come from package inventory; what is left is to translate and, where
// somebody else was faster, to look again.
type Client struct {
	// URL of the CMDB, without a slash at the end.
	URL string
	// HTTP is nil for [http.DefaultClient].
	HTTP *http.Client
}

var _ inventory.MachineStore = (*Client)(nil)

// errStale is the CMDB's 409: what we read has changed since.
var errStale = errors.New("the asset has changed meanwhile")

// Machine returns the machine with that serial number.
func (c *Client) Machine(ctx context.Context, serial inventory.Serial) (*inventory.Machine, error) {
	a, err := c.asset(ctx, serial)
	if err != nil {
		return nil, err
	}
	m := machineOf(a)
	return &m, nil
}

func (c *Client) asset(ctx context.Context, serial inventory.Serial) (a Asset, err error) {
	err = c.call(ctx, "GET", "/assets/"+url.PathEscape(string(serial)), nil, &a)
	if err != nil {
		err = fmt.Errorf("machine %s: %w", serial, err)
	}
	return a, err
}

// MachineByMAC returns the machine that owns mac.
func (c *Client) MachineByMAC(ctx context.Context, mac inventory.MAC) (*inventory.Machine, error) {
	return c.only(ctx, url.Values{"nic": {string(mac)}}, "machine with MAC "+string(mac))
}

// MachineByAddress makes the CMDB an [inventory.MachineIndex].
func (c *Client) MachineByAddress(ctx context.Context, a netip.Addr) (*inventory.Machine, error) {
	return c.only(ctx, url.Values{"ip": {a.String()}}, "machine with address "+a.String())
}

func (c *Client) only(ctx context.Context, q url.Values, what string) (*inventory.Machine, error) {
	var found []Asset
	if err := c.call(ctx, "GET", "/assets?"+q.Encode(), nil, &found); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: %w", what, inventory.ErrNotFound)
	}
	m := machineOf(found[0])
	return &m, nil
}

// Machines returns one page. The CMDB filters by location; whatever else is asked for, Match finds in its pages.
func (c *Client) Machines(ctx context.Context, f inventory.MachineFilter) ([]inventory.Machine, error) {
	const fetch = inventory.MaxPage
	var out []inventory.Machine
	for limit := inventory.PageLimit(f.Limit); ; {
		q := url.Values{"after": {string(f.After)}, "location": {f.Rack}, "limit": {strconv.Itoa(fetch)}}
		var page []Asset
		if err := c.call(ctx, "GET", "/assets?"+q.Encode(), nil, &page); err != nil {
			return nil, fmt.Errorf("list machines: %w", err)
		}
		for _, a := range page {
			m := machineOf(a)
			if f.Match(&m) {
				out = append(out, m)
			}
			if len(out) == limit {
				return out, nil
			}
		}
		if len(page) < fetch {
			return out, nil
		}
		f.After = inventory.Serial(page[fetch-1].SerialNumber)
	}
}

// CreateMachines adds all machines or none.
func (c *Client) CreateMachines(ctx context.Context, ms []inventory.Machine) error {
	return c.untilFresh(ctx, func() error {
		// Revisions are read before the check, so that the batch is refused if the check has seen anything older.
		revisions := make([]int64, len(ms))
		for i, m := range ms {
			a, err := c.asset(ctx, m.Serial)
			if err != nil && !errors.Is(err, inventory.ErrNotFound) {
				return err
			}
			revisions[i] = a.Revision
		}
		ready, err := inventory.CheckImport(ctx, c, ms, time.Now())
		if err != nil {
			return err
		}
		batch := make([]Asset, len(ready))
		for i := range ready {
			batch[i] = assetOf(&ready[i], revisions[i])
		}
		return c.call(ctx, "POST", "/assets/batch", batch, nil)
	})
}

// UpdateMachine reads, changes and writes; if somebody else wrote in between, it starts over with what they wrote.
func (c *Client) UpdateMachine(ctx context.Context, serial inventory.Serial,
	change func(*inventory.Machine) error) (*inventory.Machine, error) {
	var stored inventory.Machine
	err := c.untilFresh(ctx, func() error {
		a, err := c.asset(ctx, serial)
		if err != nil {
			return err
		}
		before := machineOf(a)
		m := before.Clone()
		if err := change(&m); err != nil {
			return err
		}
		stored = m.Clone() // change may have kept something of m
		if err := inventory.CheckUpdate(ctx, c, &before, &stored, time.Now()); err != nil {
			return err
		}
		return c.call(ctx, "POST", "/assets/batch", []Asset{assetOf(&stored, a.Revision)}, nil)
	})
	if err != nil {
		return nil, err
	}
	return &stored, nil
}

// DeleteMachine forgets a machine.
func (c *Client) DeleteMachine(ctx context.Context, serial inventory.Serial) error {
	if err := c.call(ctx, "DELETE", "/assets/"+url.PathEscape(string(serial)), nil, nil); err != nil {
		return fmt.Errorf("machine %s: %w", serial, err)
	}
	return nil
}

// untilFresh repeats try while somebody else is faster.
func (c *Client) untilFresh(ctx context.Context, try func() error) error {
	var err error
	for range 100 {
		if err = try(); !errors.Is(err, errStale) {
			return err
		}
		select {
		case <-time.After(rand.N(5 * time.Millisecond)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

// call sends one request and decodes the answer. This is the only place that knows what the CMDB's statuses mean.
func (c *Client) call(ctx context.Context, method, path string, in, out any) error {
	var body bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&body).Encode(in); err != nil {
			return err
		}
	}
	req, err := http.NewRequestWithContext(ctx, method, c.URL+path, &body)
	if err != nil {
		return err
	}
	client := c.HTTP
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("CMDB: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode >= 300 {
		text, _ := io.ReadAll(io.LimitReader(res.Body, 1<<10))
		switch res.StatusCode {
		case http.StatusNotFound:
			return inventory.ErrNotFound
		case http.StatusConflict:
			return fmt.Errorf("CMDB: %w: %s", errStale, strings.TrimSpace(string(text)))
		}
		return fmt.Errorf("CMDB: %s %s: %s: %s", method, path, res.Status, strings.TrimSpace(string(text)))
	}
	if out != nil {
		if err := json.NewDecoder(res.Body).Decode(out); err != nil {
			return fmt.Errorf("CMDB: %s %s: %w", method, path, err)
		}
	}
	return nil
}

func machineOf(a Asset) inventory.Machine {
	m := inventory.Machine{Serial: inventory.Serial(a.SerialNumber), Name: a.Hostname, Source: inventory.Discovered,
		Profile: a.Role, Rack: a.Location, Labels: a.Tags, UUID: a.BIOSUUID, Vendor: a.Manufacturer, Product: a.Model,
		Facts: a.Report, CreatedAt: a.Created, UpdatedAt: a.Updated, LastSeenAt: a.LastSeen}
	if a.Status == "managed" {
		m.Source = inventory.Imported
	}
	for _, nic := range a.NICs {
		m.MACs = append(m.MACs, inventory.MAC(nic))
	}
	m.Address, _ = netip.ParseAddr(a.IP) // empty: no address
	return m
}

func assetOf(m *inventory.Machine, revision int64) Asset {
	a := Asset{SerialNumber: string(m.Serial), Hostname: m.Name, Status: "seen", Role: m.Profile, Location: m.Rack,
		Tags: m.Labels, BIOSUUID: m.UUID, Manufacturer: m.Vendor, Model: m.Product, Report: m.Facts,
		Created: m.CreatedAt, Updated: m.UpdatedAt, LastSeen: m.LastSeenAt, Revision: revision}
	if m.Source == inventory.Imported {
		a.Status = "managed"
	}
	for _, mac := range m.MACs {
		a.NICs = append(a.NICs, string(mac))
	}
	if m.Address.IsValid() {
		a.IP = m.Address.String()
	}
	return a
}
