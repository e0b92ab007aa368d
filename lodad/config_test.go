package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/site"
)

func loadText(t *testing.T, text string, environ ...string) (*config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "lodad.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return loadConfig(path, true, environ)
}

// asYAML makes two configurations comparable: an empty list is as good as none.
func asYAML(t *testing.T, c *config) string {
	t.Helper()
	text, err := yaml.Marshal(c)
	require.NoError(t, err)
	return regexp.MustCompile(`(?m): (null|\{\}|\[\])$`).ReplaceAllString(string(text), ":")
}

func TestTemplateIsTheDefaults(t *testing.T) {
	c, err := loadText(t, configTemplate)
	require.NoError(t, err)
	require.Equal(t, asYAML(t, defaultConfig()), asYAML(t, c))
	for name, text := range map[string]string{"empty": "", "comments alone": "# nothing\n", "an end": "---\n", "keys alone": "log:\nlisten:\n  # api: :1\npxe:\ndeadlines:\nsite:\n"} {
		c, err := loadText(t, text)
		require.NoError(t, err, name)
		require.Equal(t, asYAML(t, defaultConfig()), asYAML(t, c), name)
	}
}

// uncommented is the template with its examples in force, in place of the empty values above them.
func uncommented(t *testing.T) string {
	t.Helper()
	example := regexp.MustCompile(`^(\s*)# ((  )*(- )?[a-z_]+:( .*)?|      #cloud-config|      packages:.*)$`)
	var lines []string
	keys := map[string]int{}
	for line := range strings.Lines(configTemplate) {
		line = strings.TrimSuffix(line, "\n")
		found := example.FindStringSubmatch(line)
		if found != nil {
			line = found[1] + found[2]
		}
		key, value, _ := strings.Cut(line, ":")
		if before, known := keys[key]; known && found != nil {
			lines[before] = "" // the empty value
		}
		if v := strings.TrimSpace(value); v == "[]" || v == "{}" {
			keys[key] = len(lines)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestExamplesOfTheTemplateAreValid(t *testing.T) {
	text := uncommented(t)
	_, err := loadText(t, text)
	require.ErrorContains(t, err, "both are given; want one place")
	repository := regexp.MustCompile(`(?ms)^repository:\n(  .*?\n)+`)
	require.Regexp(t, repository, text)
	c, err := loadText(t, regexp.MustCompile(`(?ms)^profiles:\n.*`).ReplaceAllString(text, ""))
	require.NoError(t, err, text)
	require.Equal(t, "main", c.Repository.Branch)
	require.Equal(t, time.Minute, c.Repository.Poll)
	c, err = loadText(t, repository.ReplaceAllString(text, ""))
	require.NoError(t, err, text)
	require.Equal(t, []string{"eth1"}, c.DHCP.Interfaces)
	subnets, err := c.DHCP.subnets()
	require.NoError(t, err)
	require.Len(t, subnets, 1)
	require.Equal(t, dhcp.UnknownLease, subnets[0].Unknown)
	require.Equal(t, time.Hour, subnets[0].LeaseTime)
	p := c.Profiles["debian"]
	require.Equal(t, hw.Size(8e9), p.Disk.MinSize)
	require.Contains(t, p.UserData, "packages: [htop]")
	require.Equal(t, []string{"console=ttyS1,115200"}, p.KernelArgs)
	require.Len(t, p.SSHKeys, 1)
	for line := range strings.Lines(text) { // none was overlooked
		require.NotRegexp(t, `^\s*#\s*[a-z_]+:( \S|$)`, strings.TrimSuffix(line, "\n"))
	}
}

func TestMistakesInTheConfigurationAreNamed(t *testing.T) {
	for text, want := range map[string][]string{
		"site: a\nsiet: b\n":                        {"lodad.yaml", "[2:1]", "siet"},
		"listen:\n  apis: \":1\"\n":                 {"lodad.yaml", "[2:3]", "apis"},
		"site: a\nsite: b\n":                        {"lodad.yaml", "[2:1]", "site"},
		"log: loud\n":                               {"lodad.yaml", "[1:6]"},
		"site: [\n":                                 {"lodad.yaml"},
		"data: here\n":                              {`data: "here" is not an absolute path`},
		"log: {level: loud}\n":                      {"log.level", "debug, info, warn or error"},
		"log: {format: xml}\n":                      {"log.format", "text or json"},
		"database: loda.db\n":                       {"database", "absolute"},
		"listen: {api: \"8443\"}\n":                 {"listen.api", ":PORT"},
		"listen: {boot: \":0\"}\n":                  {"listen.boot", "1 to 65535"},
		"listen: {tftp: \":http\"}\n":               {"listen.tftp", "not a number"},
		"data: /" + strings.Repeat("x", 120) + "\n": {"listen.socket", "name a shorter one"},
		"pxe: {chain: grub}\n":                      {"pxe.chain", "want ipxe, or shim-grub"},
		"pxe: {user_class: iPXE}\n":                 {"pxe.user_class", "not one of your own"},
		"pxe: {user_class: \"a b\"}\n":              {"pxe.user_class", "letters, digits"},
		"pxe: {user_class: a, chainload: true}\n":   {"pxe.chainload, pxe.user_class"},
		"profiles: {a: {image: x, chain: uefi}}\n":  {"profile a", "chain:", "uefi"},
		"deadlines: {netbooting: -5m}\n":            {"netbooting", "-5m0s"},
		"deadlines: {installing: 15}\n":             {"15"},
		"dhcp: {interfaces: [eth1]}\n":              {"dhcp.subnets: missing", "eth1"},
		"dhcp:\n  subnets:\n  - {name: a, prefix: 10.0.0.0/24, pool: 10.0.0.2-10.0.0.9}\n":                       {"dhcp.interfaces: missing"},
		"dhcp:\n  interfaces: [eth1]\n  subnets:\n  - {name: a, prefix: 10.0.0.0/24, pool: 10.0.0.2}\n":          {"pool", "FIRST-LAST"},
		"dhcp:\n  interfaces: [eth1]\n  subnets:\n  - {name: a, prefix: 10.0.0.0/24, pool: 10.1.0.2-10.1.0.9}\n": {"dhcp.subnets"},
		"profiles:\n  a:\n    image: x\n    disk: {min_siz: 1GB}\n":                                              {"[4:", "min_siz"},
		"profiles:\n  a:\n    image: x\n    boot: warm\n  b: {}\n":                                               {"profile a", "profile b", "image: missing"},
		"profiles:\n  a:\n    image: x\n    user_data: \"packages: [htop]\"\n":                                   {"profile a", "user data must start with"},
		"data: here\nlog: {level: loud, format: xml}\n":                                                          {"data:", "log.level:", "log.format:"},
	} {
		_, err := loadText(t, text)
		require.Error(t, err, text)
		for _, part := range want {
			require.ErrorContains(t, err, part, text)
		}
	}
}

func TestEnvironmentReplacesWhatTheFileSays(t *testing.T) {
	c, err := loadText(t, "site: file\nlog: {level: warn}\n", "LODA_SITE=env", "LODA_DATA=/srv/loda", "LODA_LOG_FORMAT=json",
		"LODA_LISTEN_API=127.0.0.1:1", "LODA_LISTEN_BOOT=:2", "LODA_LISTEN_TFTP=:3", "LODA_LISTEN_SOCKET=/run/loda.sock",
		"LODA_TOKEN=x", "LODA_SERVER=x", "LODA_CA=x", "LODA_CONFIG=x", "HOME=/root")
	require.NoError(t, err)
	require.Equal(t, "env", c.Site)
	require.Equal(t, "warn", c.Log.Level)
	require.Equal(t, "json", c.Log.Format)
	require.Equal(t, listenConfig{API: "127.0.0.1:1", Boot: ":2", TFTP: ":3", Socket: "/run/loda.sock"}, c.Listen)
	require.Equal(t, "/srv/loda/loda.db", c.database())
	require.Equal(t, "/run/loda.sock", c.socket())
	for name := range c.overrides() {
		require.Contains(t, configTemplate, name, "the template lists them")
	}
	_, err = loadText(t, "", "LODA_SIET=x")
	require.ErrorContains(t, err, "LODA_SIET")
	_, err = loadText(t, "", "LODA_LOG_LEVEL=loud")
	require.ErrorContains(t, err, "log.level")
}

func TestMissingConfigurationIsAnErrorOnlyIfItWasAskedFor(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "lodad.yaml")
	c, err := loadConfig(missing, false, nil)
	require.NoError(t, err)
	require.Equal(t, defaultConfig(), c)
	_, err = loadConfig(missing, true, nil)
	require.ErrorContains(t, err, "config init")
	require.ErrorContains(t, err, missing)
}

func FuzzConfig(f *testing.F) {
	f.Add(configTemplate)
	f.Add("profiles: {a: {image: x, disk: {min_size: 8GB}}}")
	f.Add("dhcp: {interfaces: [eth1], subnets: [{prefix: 10.0.0.0/8, pool: 10.0.0.1-10.0.0.2}]}")
	f.Fuzz(func(t *testing.T, text string) {
		c := defaultConfig()
		if decodeStrict([]byte(text), c) == nil {
			_ = c.check()
		}
	})
}

func TestDHCPIsConfiguredWhole(t *testing.T) {
	c, err := loadText(t, `dhcp:
  interfaces: [eth1]
  subnets:
  - name: a
    prefix: 10.0.0.0/24
    link: row
    pool: 10.0.0.20-10.0.0.30
    router: 10.0.0.1
    dns: [10.0.0.25]
    search: [a.example]
    routes: [10.9.0.0/16 via 10.0.0.9]
    vendor_options: {acme: "01:02"}
    options: [{code: 150, type: ip, value: 10.0.0.9, always: true}]
    rapid_commit: true
  - {name: b, prefix: 10.1.0.0/24, link: row, probe: false}
  - {name: c, prefix: 10.2.0.0/24, mode: proxy, unknown: boot}
  - {name: d, prefix: 10.3.0.0/24, pool: 10.3.0.2-10.3.0.9, unknown: lease}
  profiles: {storage: {mtu: 9000}}
  machines: {SN1: {domain: x.example, options: [{code: 66, type: text, value: tftp}]}}
  racks: [{circuit: "eth*", relay: 10.4.0.0/16, rack: r4}]
  quirks: [{name: q, client: ipxe, oui: ["00:11:22"], arch: [7], treat_as: [9], options: [{code: 43, type: hex, value: "01"}], drop: [66]}]
  servers: [10.0.0.2]
  ask: 10m
`)
	require.NoError(t, err)
	var s site.Config
	require.NoError(t, c.DHCP.site(&s))
	a := s.Subnets[0]
	require.Equal(t, "row", a.Link)
	require.True(t, a.Probe && a.RapidCommit)
	require.Equal(t, []netip.Addr{netip.MustParseAddr("10.0.0.25")}, a.Settings.DNS, "which the pool leaves out")
	require.Equal(t, dhcp.Settings{DNS: a.Settings.DNS, Search: []string{"a.example"},
		Routes: []dhcp.Route{{To: netip.MustParsePrefix("10.9.0.0/16"), Via: netip.MustParseAddr("10.0.0.9")}},
		Vendor: []dhcp.VendorOption{{Class: "acme", Data: []byte{1, 2}}},
		Other:  []dhcp.Option{{Code: 150, Data: []byte{10, 0, 0, 9}, Always: true}}}, a.Settings)
	require.False(t, s.Subnets[1].Probe, "switched off")
	require.Equal(t, dhcp.ModeProxy, s.Subnets[2].Mode)
	require.False(t, s.Subnets[3].Probe, "a provisioning subnet is ours alone")
	require.Equal(t, uint16(9000), s.ProfileSettings["storage"].MTU)
	require.Equal(t, "x.example", s.MachineSettings["SN1"].Domain)
	require.Equal(t, "r4", dhcp.RackOf(s.Racks, dhcp.Place{Relay: netip.MustParseAddr("10.4.0.1"), Circuit: "Eth7"}))
	require.Len(t, s.Quirks, 1)
	require.Equal(t, 10*time.Minute, s.AskForServers)

	text, err := yaml.Marshal(c)
	require.NoError(t, err)
	again, err := loadText(t, string(text))
	require.NoError(t, err, string(text))
	require.Equal(t, asYAML(t, c), asYAML(t, again), "racks are given theirs as a file")
}

func TestMistakesInDHCPAreNamed(t *testing.T) {
	const head = "dhcp:\n  interfaces: [eth1]\n  subnets: [{name: a, prefix: 10.0.0.0/24"
	for text, want := range map[string][]string{
		head + ", mode: relay}]\n":                                                   {"dhcp.subnets", `mode is "relay"`, "proxy"},
		head + ", mode: proxy, pool: 10.0.0.2-10.0.0.9}]\n":                          {`subnet "a"`, "leave the pool out"},
		head + ", unknown: yes}]\n":                                                  {`subnet "a"`, `"boot"`},
		head + ", routes: [10.0.0.0]}]\n":                                            {`subnet "a"`, "10.0.0.0/8 via"},
		head + ", options: [{code: 53, type: u8, value: 1}]}]\n":                     {`subnet "a"`, "option 53 belongs to the protocol"},
		head + ", options: [{code: 150, type: float, value: 1}]}]\n":                 {`subnet "a"`, "hex, text"},
		head + ", options: [{code: 300, type: u8, value: 1}]}]\n":                    {"300"},
		head + ", vendor_options: {acme: xyz}}]\n":                                   {`subnet "a"`, "acme", "hexadecimal"},
		head + ", mtu: 100}]\n":                                                      {`subnet "a"`, "under 576"},
		head + "}]\n  profiles: {p: {search: [a..b]}}\n":                             {"dhcp.profiles.p", "a..b"},
		head + "}]\n  machines: {\" \": {}}\n":                                       {"dhcp.machines"},
		head + "}]\n  machines: {SN1: {mtu: 9}}\n":                                   {"dhcp.machines.SN1", "576"},
		head + "}]\n  racks: [{rack: r}]\n":                                          {"dhcp.racks", "every machine"},
		head + "}]\n  quirks: [{name: q, client: windows}]\n":                        {"dhcp.quirks", `quirk "q"`, "ipxe"},
		head + "}]\n  servers: [\"::1\"]\n":                                          {"dhcp.servers", "::1"},
		head + "}]\n  ask: 1s\n":                                                     {"dhcp.ask", "10s"},
		head + ", link: l}, {name: b, prefix: 10.1.0.0/24, link: l, mode: proxy}]\n": {`subnet "b"`, "its mode is another"},
	} {
		_, err := loadText(t, text)
		require.Error(t, err, text)
		for _, part := range want {
			require.ErrorContains(t, err, part, text)
		}
	}
}
