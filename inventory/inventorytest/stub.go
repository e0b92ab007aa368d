package inventorytest

import (
	"testing"

	"github.com/project-loda/loda/inventory"
)

// InstallationStores is what the suite of installations needs: an installation belongs to a machine and writes events.
type InstallationStores interface {
	inventory.MachineStore
	inventory.InstallationStore
	inventory.EventStore
}

func RunInstallations(t *testing.T, open func(t *testing.T) InstallationStores) {}
func RunEvents(t *testing.T, open func(t *testing.T) inventory.EventStore)      {}
func RunLeases(t *testing.T, open func(t *testing.T) inventory.LeaseStore)      {}
func RunTokens(t *testing.T, open func(t *testing.T) inventory.TokenStore)      {}
