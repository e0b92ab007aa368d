package main

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/iana"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/site"
)

type dhcpConfig struct {
	Interfaces []string       `yaml:"interfaces"`
	Raw        bool           `yaml:"raw"`
	Subnets    []subnetConfig `yaml:"subnets"`
	// Profiles and Machines are settings by the profile's name and by serial number; see settingsConfig.
	Profiles map[string]settingsConfig `yaml:"profiles"`
	Machines map[string]settingsConfig `yaml:"machines"`
	Racks    []rackConfig              `yaml:"racks"`
	Quirks   []quirkConfig             `yaml:"quirks"`
	// Servers are other DHCP servers that may answer; Ask is how often others are looked for.
	Servers []netip.Addr  `yaml:"servers"`
	Ask     time.Duration `yaml:"ask"`
}

type subnetConfig struct {
	Name        string        `yaml:"name"`
	Prefix      netip.Prefix  `yaml:"prefix"`
	Link        string        `yaml:"link"`
	Mode        string        `yaml:"mode"`
	Unknown     string        `yaml:"unknown"`
	Pool        string        `yaml:"pool"`
	Router      netip.Addr    `yaml:"router"`
	Lease       time.Duration `yaml:"lease"`
	Probe       *bool         `yaml:"probe"`
	RapidCommit bool          `yaml:"rapid_commit"`

	Settings settingsConfig `yaml:",inline"`
}

// settingsConfig is what machines are told, of a subnet, a profile or a machine.
type settingsConfig struct {
	DNS    []netip.Addr      `yaml:"dns"`
	NTP    []netip.Addr      `yaml:"ntp"`
	Domain string            `yaml:"domain"`
	Search []string          `yaml:"search"`
	MTU    uint16            `yaml:"mtu"`
	Routes []string          `yaml:"routes"`
	Vendor map[string]string `yaml:"vendor_options"`
	Other  []optionConfig    `yaml:"options"`
}

type optionConfig struct {
	Code   uint8  `yaml:"code"`
	Type   string `yaml:"type"`
	Value  string `yaml:"value"`
	Always bool   `yaml:"always"`
}

type rackConfig struct {
	Relay   netip.Prefix `yaml:"relay"`
	Circuit string       `yaml:"circuit"`
	Remote  string       `yaml:"remote"`
	Rack    string       `yaml:"rack"`
}

type quirkConfig struct {
	Name         string         `yaml:"name"`
	Client       string         `yaml:"client"`
	Mode         string         `yaml:"mode"`
	VendorClass  string         `yaml:"vendor_class"`
	UserClass    string         `yaml:"user_class"`
	Arch         []uint16       `yaml:"arch"`
	OUI          []string       `yaml:"oui"`
	Model        string         `yaml:"model"`
	TreatAs      []uint16       `yaml:"treat_as"`
	File         string         `yaml:"file"`
	FullURL      bool           `yaml:"full_url"`
	Discover     bool           `yaml:"discover"`
	NoServerName bool           `yaml:"no_server_name"`
	Options      []optionConfig `yaml:"options"`
	Drop         []uint8        `yaml:"drop"`
}

// site fills in what the configuration says of DHCP. The error names the key.
func (d dhcpConfig) site(sc *site.Config) (err error) {
	sc.Interfaces = d.Interfaces
	if sc.Subnets, err = d.subnets(); err != nil {
		return fmt.Errorf("dhcp.subnets: %w", err)
	}
	if sc.Quirks, err = d.quirks(); err != nil {
		return fmt.Errorf("dhcp.quirks: %w", err)
	}
	if sc.Racks, err = d.racks(); err != nil {
		return fmt.Errorf("dhcp.racks: %w", err)
	}
	sc.ProfileSettings = make(map[string]dhcp.Settings)
	for _, name := range slices.Sorted(maps.Keys(d.Profiles)) {
		if sc.ProfileSettings[name], err = d.Profiles[name].settings(); err != nil {
			return fmt.Errorf("dhcp.profiles.%s: %w", name, err)
		}
	}
	sc.MachineSettings = make(map[inventory.Serial]dhcp.Settings)
	for _, name := range slices.Sorted(maps.Keys(d.Machines)) {
		serial, err := inventory.ParseSerial(name)
		if err != nil {
			return fmt.Errorf("dhcp.machines: %w", err)
		}
		if sc.MachineSettings[serial], err = d.Machines[name].settings(); err != nil {
			return fmt.Errorf("dhcp.machines.%s: %w", name, err)
		}
	}
	for _, a := range d.Servers {
		if !a.Is4() {
			return fmt.Errorf("dhcp.servers: %v is not an IPv4 address", a)
		}
	}
	if d.Ask != 0 && d.Ask < 10*time.Second {
		return fmt.Errorf("dhcp.ask: %s is under 10s; other servers would notice", d.Ask)
	}
	sc.Servers, sc.AskForServers = d.Servers, d.Ask
	sc.RawDHCP = d.Raw
	return nil
}

// check says what is wrong, as loading the configuration shows it.
func (d dhcpConfig) check() error {
	var sc site.Config
	if err := d.site(&sc); err != nil {
		return err
	}
	if len(sc.Subnets) == 0 {
		return nil
	}
	_, err := dhcp.NewAuthority(dhcp.AuthorityConfig{Leases: dhcp.NewMemoryLeases(), Subnets: sc.Subnets, Quirks: sc.Quirks})
	if err != nil {
		return fmt.Errorf("dhcp.subnets: %w", err)
	}
	return nil
}

func (d dhcpConfig) subnets() ([]dhcp.Subnet, error) {
	subnets := make([]dhcp.Subnet, 0, len(d.Subnets))
	for _, s := range d.Subnets {
		subnet, err := s.subnet()
		if err != nil {
			return nil, fmt.Errorf("subnet %q: %w", s.Name, err)
		}
		subnets = append(subnets, subnet)
	}
	return subnets, nil
}

func (s subnetConfig) subnet() (dhcp.Subnet, error) {
	settings, err := s.Settings.settings()
	if err != nil {
		return dhcp.Subnet{}, err
	}
	subnet := dhcp.Subnet{Name: s.Name, Prefix: s.Prefix, Link: s.Link, Mode: dhcp.Mode(s.Mode), Router: s.Router,
		LeaseTime: s.Lease, Unknown: dhcp.Unknown(s.Unknown), RapidCommit: s.RapidCommit, Settings: settings}
	// Beside others somebody else may have taken an address; a provisioning subnet is ours.
	if subnet.Probe = subnet.Unknown != dhcp.UnknownLease; s.Probe != nil {
		subnet.Probe = *s.Probe
	}
	if s.Pool != "" {
		first, last, ok := strings.Cut(s.Pool, "-")
		a, err1 := netip.ParseAddr(strings.TrimSpace(first))
		b, err2 := netip.ParseAddr(strings.TrimSpace(last))
		if !ok || err1 != nil || err2 != nil {
			return subnet, fmt.Errorf("pool %q: want FIRST-LAST, such as 10.77.0.20-10.77.0.250", s.Pool)
		}
		subnet.Pool = dhcp.Range{First: a, Last: b}
	}
	return subnet, nil
}

func (s settingsConfig) settings() (dhcp.Settings, error) {
	settings := dhcp.Settings{DNS: s.DNS, NTP: s.NTP, Domain: s.Domain, Search: s.Search, MTU: s.MTU}
	for _, text := range s.Routes {
		r, err := dhcp.ParseRoute(text)
		if err != nil {
			return settings, err
		}
		settings.Routes = append(settings.Routes, r)
	}
	for _, class := range slices.Sorted(maps.Keys(s.Vendor)) {
		data, err := dhcp.ParseHex(s.Vendor[class])
		if err != nil {
			return settings, fmt.Errorf("vendor_options of %q: %w", class, err)
		}
		settings.Vendor = append(settings.Vendor, dhcp.VendorOption{Class: class, Data: data})
	}
	var err error
	if settings.Other, err = options(s.Other); err != nil {
		return settings, err
	}
	return settings, settings.Check()
}

func options(list []optionConfig) (out []dhcp.Option, err error) {
	for _, o := range list {
		option, err := dhcp.ParseOption(o.Code, o.Type, o.Value)
		if err != nil {
			return nil, err
		}
		option.Always = o.Always
		out = append(out, option)
	}
	return out, nil
}

func (d dhcpConfig) racks() (rules []dhcp.RackRule, err error) {
	for _, r := range d.Racks {
		rule := dhcp.RackRule{Relay: r.Relay, Circuit: r.Circuit, Remote: r.Remote, Rack: r.Rack}
		if err := rule.Check(); err != nil {
			return nil, err
		}
		rules = append(rules, rule)
	}
	return rules, nil
}

func (d dhcpConfig) quirks() (rows []dhcp.Quirk, err error) {
	for _, q := range d.Quirks {
		row := dhcp.Quirk{Name: q.Name, File: q.File, FullURL: q.FullURL, Discover: q.Discover, NoServerName: q.NoServerName,
			Drop: q.Drop, Arch: architectures(q.TreatAs), Match: dhcp.QuirkMatch{Client: dhcp.QuirkClient(q.Client),
				Mode: dhcp.Mode(q.Mode), VendorClass: q.VendorClass, UserClass: q.UserClass, Arch: architectures(q.Arch), OUI: q.OUI,
				Model: q.Model}}
		if row.Options, err = options(q.Options); err != nil {
			return nil, fmt.Errorf("quirk %q: %w", q.Name, err)
		}
		if err := row.Check(); err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func architectures(numbers []uint16) (out []iana.Arch) {
	for _, n := range numbers {
		out = append(out, iana.Arch(n))
	}
	return out
}
