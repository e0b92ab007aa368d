package image

import (
	"crypto/x509"
	_ "embed"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/textproto"
	"net/url"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/project-loda/loda/loda/agentapi"
)

// SeedOptions of [Seed].
type SeedOptions struct {
	// Hostname without or with domain. Empty: the installed system keeps its own.
	Hostname string
	// InstanceID must differ between installations, so that cloud-init runs anew: the installation's ID.
	InstanceID string
	// SSHKeys are authorized for the image's default user (debian) in OpenSSH's format.
	SSHKeys []string
	// UserData is the operator's own cloud-init user data, in any format that cloud-init knows (#cloud-config, #!,
	// multipart). It is passed on as it is: what Loda needs is in meta-data and vendor-data, so nothing is merged, and
	// the operator's word wins. May be empty.
	UserData string
	// NetworkConfig is cloud-init's network configuration, version 1 or 2. Empty: DHCP on every Ethernet NIC with
	// the MAC address as client identifier.
	NetworkConfig string
	// BuiltinDHCP is [Image.BuiltinDHCP]: where NetworkConfig is empty, cloud-init is told to leave the network to the
	// image. That saves a reload of systemd, ten seconds of the first boot on a slow machine.
	BuiltinDHCP bool
	// FirstBoot is how the installed system reports back. Without URLs it does not.
	FirstBoot agentapi.FirstBoot
}

//go:embed firstboot.py
var firstBootScript string

// FirstBootFile is the seed's file with the [agentapi.FirstBoot].
const FirstBootFile = "loda.json"

var (
	hostnameRule = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*$`)
	instanceRule = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
	sshKeyRule   = regexp.MustCompile(`^[ -~]+$`)
)

// userDataStarts are the formats of cloud-init 22.4 (doc/rtd/topics/format.rst). User data that start otherwise are
// ignored by it with a warning that nobody reads.
var userDataStarts = []string{"#cloud-config", "#!", "#include", "#cloud-boothook", "#cloud-config-archive", "#part-handler",
	"## template: jinja", "Content-Type:", "MIME-Version:"}

// Seed makes the files of a NoCloud data source: meta-data, user-data, vendor-data, network-config and loda.json.
func Seed(o SeedOptions) (map[string]string, error) {
	if !instanceRule.MatchString(o.InstanceID) {
		return nil, fmt.Errorf("seed: instance ID %q is not 1 to 128 letters, digits and ._:-", o.InstanceID)
	}
	meta := map[string]any{"instance-id": o.InstanceID}
	if o.Hostname != "" {
		if len(o.Hostname) > 253 || !hostnameRule.MatchString(o.Hostname) {
			return nil, fmt.Errorf("seed: %q is not a host name (RFC 1123: letters, digits and dashes, labels up to 63)", o.Hostname)
		}
		meta["local-hostname"] = o.Hostname
	}
	var keys []string
	for i, key := range o.SSHKeys {
		key = strings.TrimSpace(key)
		if len(strings.Fields(key)) < 2 || !sshKeyRule.MatchString(key) || strings.Contains(key, "PRIVATE KEY") {
			return nil, fmt.Errorf("seed: SSH key %d is not one line of TYPE KEY COMMENT", i+1)
		}
		keys = append(keys, key)
	}
	if len(keys) > 0 {
		meta["public-keys"] = keys
	}
	files := map[string]string{}
	var err error
	if files["meta-data"], err = toYAML(meta); err != nil {
		return nil, err
	}

	files["user-data"] = "#cloud-config\n{}\n"
	if strings.TrimSpace(o.UserData) != "" {
		known := false
		for _, start := range userDataStarts {
			known = known || strings.HasPrefix(o.UserData, start)
		}
		if !known {
			return nil, fmt.Errorf("seed: user data must start with one of %s", strings.Join(userDataStarts, ", "))
		}
		if strings.HasPrefix(o.UserData, "#cloud-config\n") {
			var any map[string]any
			if err := yaml.Unmarshal([]byte(o.UserData), &any); err != nil {
				return nil, fmt.Errorf("seed: user data: %w", err)
			}
		}
		files["user-data"] = o.UserData
	}

	files["network-config"] = o.NetworkConfig
	switch {
	case strings.TrimSpace(o.NetworkConfig) != "":
		var network map[string]any
		if err := yaml.Unmarshal([]byte(o.NetworkConfig), &network); err != nil {
			return nil, fmt.Errorf("seed: network configuration: %w", err)
		}
	case o.BuiltinDHCP:
		files["network-config"] = "config: disabled\n"
	default:
		// The client identifier is the MAC address, as before in the firmware: the same address again.
		files["network-config"], err = toYAML(map[string]any{
			"version": 2,
			"ethernets": map[string]any{
				"all": map[string]any{
					"match":           map[string]any{"name": "e*"},
					"dhcp4":           true,
					"dhcp-identifier": "mac",
				},
			},
		})
		if err != nil {
			return nil, err
		}
	}

	if len(o.FirstBoot.URLs) == 0 {
		files["vendor-data"] = "#cloud-config\n{}\n"
		return files, nil
	}
	if err := checkFirstBoot(o.FirstBoot); err != nil {
		return nil, fmt.Errorf("seed: first-boot report: %w", err)
	}
	text, err := json.MarshalIndent(o.FirstBoot, "", "  ")
	if err != nil {
		return nil, err
	}
	files[FirstBootFile] = string(text) + "\n"
	files["vendor-data"], err = vendorData()
	return files, err
}

// vendorData has the script twice: as what runs once for an instance, which every cloud-init knows, and as what runs at
// every boot, which those since 21.4 know. The script itself sees to it that it reports once.
func vendorData() (string, error) {
	var b strings.Builder
	w := multipart.NewWriter(&b)
	if err := w.SetBoundary("loda-first-boot"); err != nil {
		return "", err
	}
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=\"%s\"\nMIME-Version: 1.0\n\n", w.Boundary())
	for _, kind := range []string{"x-shellscript", "x-shellscript-per-boot"} {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {"text/" + kind + `; charset="us-ascii"`}, "MIME-Version": {"1.0"},
			"Content-Disposition": {`attachment; filename="loda-first-boot"`}})
		if err != nil {
			return "", err
		}
		if _, err := io.WriteString(part, firstBootScript); err != nil {
			return "", err
		}
	}
	err := w.Close()
	return strings.ReplaceAll(b.String(), "\r\n", "\n"), err
}

func checkFirstBoot(f agentapi.FirstBoot) error {
	for _, u := range f.URLs {
		parsed, err := url.Parse(u)
		if err != nil {
			return err
		}
		if parsed.Scheme != "https" || parsed.Host == "" {
			return fmt.Errorf("URL %q is not https", u)
		}
	}
	if f.Secret == "" {
		return errors.New("no secret")
	}
	block, _ := pem.Decode([]byte(f.CA))
	if block == nil || block.Type != "CERTIFICATE" {
		return errors.New("the certificate authority is not a PEM certificate")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return fmt.Errorf("certificate authority: %w", err)
	}
	return nil
}

func toYAML(v any) (string, error) {
	text, err := yaml.Marshal(v)
	if err != nil {
		return "", fmt.Errorf("seed: %w", err)
	}
	return string(text), nil
}
