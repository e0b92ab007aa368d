package main

import (
	"context"
	"net/http/httptest"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/inventorytest"
)

func machines(t *testing.T) *Client {
	t.Helper()
	server := httptest.NewServer(NewCMDB().Handler())
	t.Cleanup(server.Close)
	return &Client{URL: server.URL, HTTP: server.Client()}
}

func TestTheCMDBIsAStoreOfMachines(t *testing.T) {
	inventorytest.RunMachines(t, func(t *testing.T) inventory.MachineStore { return machines(t) })
}

func TestCMDBAndSQLiteTogetherAreAnInventory(t *testing.T) {
	inventorytest.Run(t, func(t *testing.T) inventory.Store {
		site, db, err := OpenSite(t.Context(), machines(t), filepath.Join(t.TempDir(), "loda.db"))
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return site
	})
}

func TestACMDBThatIsDownIsNotAMachineThatIsMissing(t *testing.T) {
	m := machines(t)
	m.URL = "http://127.0.0.1:1"
	_, err := m.Machine(t.Context(), "CZ20190A01")
	require.Error(t, err)
	require.NotErrorIs(t, err, inventory.ErrNotFound)
	require.ErrorContains(t, err, "CMDB")
}

func Example() {
	if err := run(context.Background(), nil); err != nil {
		panic(err)
	}
	// Output:
	// 1 bad row, nothing was imported; row 1: MAC 52:54:00:00:00:02 already belongs to machine CZ20190A02
	// CZ20190A01  web-1  [52:54:00:00:00:01]  queued
	// CZ20190A02  web-2  [52:54:00:00:00:02]  no installation
}
