package image

import (
	"errors"

	"github.com/project-loda/loda/loda/agentapi"
)

// SeedOptions of [Seed].
type SeedOptions struct {
	// Hostname without or with domain.
	Hostname string
	// InstanceID must differ between installations, so that cloud-init runs anew: the installation's ID.
	InstanceID string
	// SSHKeys are authorized for the image's default user (debian) in OpenSSH's format.
	SSHKeys []string
	// UserData is the operator's own cloud-init user data, in any format that cloud-init knows (#cloud-config, #!).
	// It goes in beside what Loda itself needs, and wins where both speak. May be empty.
	UserData string
	// NetworkConfig is cloud-init's network configuration, version 1 or 2. Empty: DHCP on every Ethernet NIC with
	// the MAC address as client identifier.
	NetworkConfig string
	// FirstBoot is how the installed system reports back.
	FirstBoot agentapi.FirstBoot
}

// Seed makes the files of a NoCloud data source: meta-data, user-data, vendor-data, network-config and loda.json.
func Seed(o SeedOptions) (map[string]string, error) {
	return nil, errors.ErrUnsupported
}
