package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/site"
)

// config is the content of lodad.yaml. What its fields mean is said in configTemplate, where a person looks for it.
type config struct {
	Site string `yaml:"site"`
	Data string `yaml:"data"`
	// Database is the file of the embedded database; see database.
	Database string    `yaml:"database"`
	Log      logConfig `yaml:"log"`

	Listen    listenConfig   `yaml:"listen"`
	DHCP      dhcpConfig     `yaml:"dhcp"`
	PXE       pxeConfig      `yaml:"pxe"`
	Deadlines loda.Deadlines `yaml:"deadlines"`
	// Repository and Profiles are two ways to say what becomes of machines.
	Repository repositoryConfig        `yaml:"repository"`
	Profiles   map[string]loda.Profile `yaml:"profiles"`
	Secrets    string                  `yaml:"secrets"`
}

type logConfig struct {
	Level  string `yaml:"level"`
	Format string `yaml:"format"`
}

type listenConfig struct {
	API  string `yaml:"api"`
	Boot string `yaml:"boot"`
	// Artifacts is optional: HTTPS for what is fetched at the boot server.
	Artifacts string `yaml:"artifacts"`
	TFTP      string `yaml:"tftp"`
	Socket    string `yaml:"socket"`
}

type pxeConfig struct {
	NBPDirs   []string `yaml:"nbp_dirs"`
	Chain     string   `yaml:"chain"`
	Chainload bool     `yaml:"chainload"`
	UserClass string   `yaml:"user_class"`
}

func defaultConfig() *config {
	return &config{
		Site:   "default",
		Data:   "/var/lib/loda",
		Log:    logConfig{Level: "info", Format: "text"},
		Listen: listenConfig{API: ":8443", Boot: ":8080", TFTP: ":69"},
		PXE:    pxeConfig{NBPDirs: site.DefaultNBPDirs(), Chain: loda.ChainIPXE},

		Deadlines: loda.DefaultDeadlines(),
	}
}

// loadConfig reads the file (a missing one is an error only if it was asked for), lays the environment over it and
// checks all of it.
func loadConfig(path string, required bool, environ []string) (*config, error) {
	c := defaultConfig()
	text, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !required:
	case err != nil:
		return nil, fmt.Errorf("configuration: %w; `lodad config init` writes one", err)
	default:
		if err := decodeStrict(text, c); err != nil {
			return nil, fmt.Errorf("configuration %s: %w", path, err)
		}
	}
	if err := c.override(environ); err != nil {
		return nil, err
	}
	c.complete()
	if err := c.check(); err != nil {
		return nil, fmt.Errorf("configuration %s:\n%w", path, err)
	}
	return c, nil
}

// complete sets what is empty to its default: the parser takes an empty file, or a key without a value such as a `log:`
// whose lines below are commented out, for empty values.
func (c *config) complete() {
	d := defaultConfig()
	known := d.overrides()
	for name, field := range c.overrides() {
		*field = cmp.Or(*field, *known[name])
	}
	if c.PXE.NBPDirs == nil {
		c.PXE.NBPDirs = d.PXE.NBPDirs
	}
	c.PXE.Chain = cmp.Or(c.PXE.Chain, d.PXE.Chain)
	for _, f := range []struct{ field, value *time.Duration }{{&c.Deadlines.Netbooting, &d.Deadlines.Netbooting},
		{&c.Deadlines.Detecting, &d.Deadlines.Detecting}, {&c.Deadlines.Installing, &d.Deadlines.Installing},
		{&c.Deadlines.Finishing, &d.Deadlines.Finishing}} {
		*f.field = cmp.Or(*f.field, *f.value)
	}
}

// decodeStrict reads YAML without unknown keys; errors show line and column. goccy/go-yaml 1.19 panics on some malformed
// text.
func decodeStrict(text []byte, into any) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("malformed YAML: %v", p)
		}
	}()
	err = yaml.NewDecoder(bytes.NewReader(text), yaml.Strict()).Decode(into)
	switch {
	case err == nil, errors.Is(err, io.EOF): // an empty file
		return nil
	}
	return errors.New(yaml.FormatError(err, false, true))
}

// overrides are the settings that the environment can replace.
func (c *config) overrides() map[string]*string {
	return map[string]*string{
		"LODA_SITE": &c.Site, "LODA_DATA": &c.Data, "LODA_LOG_LEVEL": &c.Log.Level, "LODA_LOG_FORMAT": &c.Log.Format,
		"LODA_LISTEN_API": &c.Listen.API, "LODA_LISTEN_BOOT": &c.Listen.Boot, "LODA_LISTEN_TFTP": &c.Listen.TFTP,
		"LODA_LISTEN_SOCKET": &c.Listen.Socket, "LODA_LISTEN_ARTIFACTS": &c.Listen.Artifacts,
	}
}

// clientEnv are variables with our prefix that are not settings of the server.
var clientEnv = map[string]bool{"LODA_CONFIG": true, "LODA_TOKEN": true, "LODA_SERVER": true, "LODA_CA": true, "LODA_TEST_REQUIRE": true,
	"LODA_CACHE": true, "LODA_ACCEL": true}

func (c *config) override(environ []string) error {
	known := c.overrides()
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		field, ok := known[name]
		switch {
		case ok:
			*field = value
		case strings.HasPrefix(name, "LODA_") && !clientEnv[name]:
			return fmt.Errorf("environment: %s is not a setting of lodad; `lodad config init` lists them", name)
		}
	}
	return nil
}

func (c *config) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("  "+format, args...)) }
	if !filepath.IsAbs(c.Data) {
		bad("data: %q is not an absolute path", c.Data)
	}
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.Log.Level)); err != nil {
		bad("log.level: %q is unknown; want debug, info, warn or error", c.Log.Level)
	}
	if c.Database != "" && !filepath.IsAbs(c.Database) {
		bad("database: %q is not an absolute path", c.Database)
	}
	if c.Log.Format != "text" && c.Log.Format != "json" {
		bad("log.format: %q is unknown; want text or json", c.Log.Format)
	}
	for _, l := range []struct{ key, addr string }{
		{"api", c.Listen.API}, {"boot", c.Listen.Boot}, {"tftp", c.Listen.TFTP}} {
		if err := checkAddr(l.addr); err != nil {
			bad("listen.%s: %w", l.key, err)
		}
	}
	if c.Listen.Artifacts != "" {
		if err := checkAddr(c.Listen.Artifacts); err != nil {
			bad("listen.artifacts: %w", err)
		}
	}
	if s := c.socket(); len(s) > maxSocket {
		bad("listen.socket: %s has %d characters, a Unix socket can have %d; name a shorter one", s, len(s), maxSocket)
	}
	if err := c.Deadlines.Validate(); err != nil {
		bad("deadlines: %w", err)
	}
	if len(c.DHCP.Interfaces) > 0 && len(c.DHCP.Subnets) == 0 {
		bad("dhcp.subnets: missing; say which addresses machines get on %s", strings.Join(c.DHCP.Interfaces, ", "))
	}
	if err := c.DHCP.check(); err != nil {
		bad("%w", err)
	}
	if len(c.DHCP.Subnets) > 0 && len(c.DHCP.Interfaces) == 0 {
		bad("dhcp.interfaces: missing; name the interfaces that machines netboot on, lodad never answers on others")
	}
	if u := c.PXE.UserClass; u == "iPXE" || !userClass.MatchString(u) {
		bad("pxe.user_class: %q is not one of your own; want up to 32 letters, digits, dots, dashes and underscores other "+
			"than iPXE, which every iPXE sends", u)
	}
	if c.PXE.UserClass != "" && c.PXE.Chainload {
		bad("pxe.chainload, pxe.user_class: both are given; the user class is enough")
	}
	if err := loda.CheckChain(c.PXE.Chain); err != nil {
		bad("pxe.chain: %w", err)
	}
	if _, err := loda.NewStaticProfiles(c.Profiles); err != nil {
		bad("profiles: %w", err)
	}
	for _, err := range c.Repository.check() {
		bad("repository: %w", err)
	}
	if c.Repository.URL != "" && len(c.Profiles) > 0 {
		bad("profiles, repository: both are given; want one place that says what becomes of machines")
	}
	if c.Secrets != "" && !filepath.IsAbs(c.Secrets) {
		bad("secrets: %q is not an absolute path", c.Secrets)
	}
	return errors.Join(errs...)
}

var userClass = regexp.MustCompile(`^[a-zA-Z0-9._-]{0,32}$`)

// maxSocket is what Linux has room for (unix(7)), the final zero aside.
const maxSocket = 107

// checkAddr wants a port that machines can be told.
func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err == nil {
		if n, perr := strconv.ParseUint(port, 10, 16); perr != nil || n == 0 {
			err = fmt.Errorf("port %q is not a number from 1 to 65535", port)
		}
	}
	if err != nil {
		return fmt.Errorf("%q: %w; want ADDRESS:PORT, or :PORT for all addresses", addr, err)
	}
	return nil
}

func (c *config) path(elements ...string) string {
	return filepath.Join(append([]string{c.Data}, elements...)...)
}

func (c *config) database() string { return cmp.Or(c.Database, c.path("loda.db")) }

func (c *config) socket() string {
	if c.Listen.Socket != "" {
		return c.Listen.Socket
	}
	return c.path("lodad.sock")
}

// configTemplate is what `lodad config init` writes.
const configTemplate = `# Configuration of lodad. Every key has its default here; those that are commented out have none.
# Scalars at the top and below log and listen can be replaced by environment variables: LODA_SITE, LODA_DATA,
# LODA_LOG_LEVEL, LODA_LOG_FORMAT, LODA_LISTEN_API, LODA_LISTEN_BOOT, LODA_LISTEN_ARTIFACTS, LODA_LISTEN_TFTP, LODA_LISTEN_SOCKET.

# The name of this site, shown in listings and metrics.
site: default

# Everything that lodad keeps: database, certificate authority, images, bootOS, first admin token.
data: /var/lib/loda

# The file of the embedded database; empty: loda.db in data.
database: ""

log:
  level: info    # debug, info, warn, error
  format: text   # text or json

listen:
  api: ":8443"   # operators' API and agents, HTTPS
  boot: ":8080"  # iPXE scripts, kernel, bootOS, images: plain HTTP, as firmware speaks nothing else
  artifacts: ""  # such as ":8444": HTTPS, from which iPXE then fetches kernel and bootOS. It needs an iPXE of your own that
                 # speaks HTTPS and trusts the certificate authority in data (ca/ca.pem). Empty: by HTTP, from boot
  tftp: ":69"    # iPXE for plain PXE firmware
  socket: ""     # Unix socket of the API for this host; empty: lodad.sock in data

dhcp:
  # lodad answers DHCP on these interfaces and on no others. Empty: no DHCP at all.
  interfaces: []
  # interfaces: [eth1]
  # Receive and send past the kernel's UDP, so that another DHCP server can run on this host, even on the same interface.
  raw: false
  subnets: []
  # subnets:
  #   - name: rack-a
  #     prefix: 10.77.0.0/24
  #     link: row-1            # subnets with the same link are on one wire; a machine gets an address of the first of
  #                            # them that has any left. Default: the subnet is alone
  #     mode: authoritative    # or reserved (addresses of imported machines, no others) or proxy (another server gives the
  #                            # addresses, lodad says what to boot). Default: authoritative
  #     unknown: lease         # machines that nobody imported: lease (they get an address and are shown as
  #                            # discovered), boot (they are discovered, with an address of another server), or ignore
  #                            # (no packet leaves for them). Default: ignore
  #     pool: 10.77.0.20-10.77.0.250
  #     router: 10.77.0.1      # default gateway of the machines
  #     lease: 1h
  #     probe: false           # look by ARP for who uses an address before its first offer, which takes 0.3 s. Default:
  #                            # true, but false where unknown is lease
  #     rapid_commit: false    # lease at the first packet to clients that ask for it (RFC 4039): for links with one server
  #     dns: [10.77.0.1]
  #     ntp: [10.77.0.1]
  #     domain: rack.example
  #     search: [rack.example, example]
  #     mtu: 1500
  #     routes: [10.0.0.0/8 via 10.77.0.2]
  #     vendor_options: {acme-switch: "01:04:0a:4d:00:01"}   # option 43, by how the vendor class begins
  #     options: [{code: 150, type: ip, value: 10.77.0.1}]   # type: hex, text, ip, u8, u16, u32 or bool; with always, also
  #                                                          # to machines that do not ask for it
  # What machines are told in place of what their subnet says, from dns to options: by profile, and by serial number.
  profiles: {}
  # profiles:
  #   storage: {mtu: 9000}
  machines: {}
  # machines:
  #   SN0001: {domain: lab.example}
  # In which rack a machine is, by what the relay says of its port (option 82): patterns for circuit-id and remote-id, the
  # network of the relay. The first that fits is recorded at machines that have no rack yet.
  racks: []
  # racks:
  #   - {circuit: "ethernet1/[1-4]", remote: "leaf-7*", relay: 10.78.0.0/16, rack: r7}
  # Firmware that must be answered in another way: a table, after the one that lodad has. A row is for clients that fit
  # client (pxe, http or ipxe), mode (authoritative or proxy), vendor_class (how it begins), user_class, arch (numbers of
  # option 93), oui and model (maker and product, a pattern); what is left out fits all. It can set treat_as (other
  # architectures), file, full_url, discover (ask again on port 4011), no_server_name, options, and drop options.
  quirks: []
  # quirks:
  #   - {name: R1 ignores offers without 4011, client: pxe, model: "acme r1*", discover: true}
  # Other DHCP servers that may answer on these interfaces, by address. Any that is not here is an alarm, with its MAC;
  # as long as the list is empty, only one that says what to boot, unless all subnets are for unknown machines.
  servers: []
  # servers: [10.77.0.2]
  # How often to ask for other servers, as a stranger that wants to netboot. 0s: never, lodad only listens.
  ask: 0s

pxe:
  # Where iPXE (undionly.kpxe, snponly.efi) and Debian's signed shim and GRUB are looked for, in this order.
  nbp_dirs: [/usr/lib/ipxe, /boot, /usr/lib/shim, /usr/lib/grub/x86_64-efi-signed]
  # How machines with UEFI (x64) get from their firmware to bootOS, where their profile does not say: ipxe, or shim-grub,
  # which is signed, for those with Secure Boot (Debian's packages shim-signed and grub-efi-amd64-signed). All others
  # have iPXE.
  chain: ipxe
  # Load the iPXE above even if the NIC has iPXE in its ROM already: some ROM builds are too old to go on with.
  chainload: false
  # The user class (DHCP option 77) that your own build of iPXE above sends: with it, lodad tells it from a ROM's iPXE, and
  # makes that one load it. It takes the place of chainload, which remembers what a machine has loaded. Empty: none.
  user_class: ""

# How long an installation may stay in a state without a sign of life before it counts as failed.
deadlines:
  netbooting: 15m
  detecting: 10m
  installing: 15m
  finishing: 30m

# The git repository that says what becomes of machines: profiles with hardware models, scripts, operating systems. Its
# format is documented in examples/config-repo. lodad uses the newest commit that is free of mistakes, and an installation
# keeps to the commit that it began with.
repository: {}
# repository:
#   url: https://git.example/infra/machines.git  # or ssh://, user@host:path, a local path
#   branch: main                             # or tag: or commit: with 40 digits; none of them: the default branch
#   poll: 1m                                 # how often to look for a new commit
#   token_file: /etc/loda/git-token          # access token for https
#   username: git                            # that goes with it
#   ca_file: /etc/loda/git-ca.pem            # certificate authority of the git server, if it is not a public one
#   webhook_secret_file: /etc/loda/webhook   # GitHub, GitLab and Gitea may POST pushes to /webhooks/git of the API
#   # ssh has other keys than token_file, username and ca_file: key_file for the private key, passphrase_file if it has
#   # one, and known_hosts_file with the host keys that are accepted, as ssh-keyscan prints them.

# A YAML file of names and values that the repository names and does not hold, such as the passwords of BMCs. A value is
# a text: digits go into quotes. Nobody but lodad should be able to read it. Empty: there are none.
secrets: ""

# What becomes of machines where there is no repository; give one of the two. An installation pins its profile when it
# is opened.
profiles: {}
# profiles:
#   debian:
#     image: debian-12         # see "lodad image list"
#     disk:                    # must match exactly one disk of the machine
#       min_size: 8GB          # min_size, max_size, medium (hdd, ssd, nvme), bus, serial, wwn, path, model
#       prefer: smallest       # smallest or largest: decides between several that fit
#     chain: shim-grub         # for machines with Secure Boot; default: pxe.chain
#     boot: reboot             # or kexec: straight into the installed system, without the firmware's self test
#     ssh_keys: ["ssh-ed25519 AAAA... me@example"]
#     user_data: |             # your own cloud-config
#       #cloud-config
#       packages: [htop]
#     kernel_args: ["console=ttyS1,115200"]   # for the bootOS kernel
`
