package memory_test

import (
	"testing"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/inventorytest"
	"github.com/project-loda/loda/inventory/memory"
)

func TestMemoryKeepsTheContractOfAnInventory(t *testing.T) {
	inventorytest.Run(t, func(t *testing.T) inventory.Store { return memory.New() })
}

func TestTheLeasesOfPackageDHCPKeepTheSameContract(t *testing.T) {
	inventorytest.RunLeases(t, func(t *testing.T) inventory.LeaseStore { return dhcp.NewMemoryLeases() })
}
