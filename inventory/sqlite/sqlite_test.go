package sqlite_test

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/inventory/inventorytest"
	"github.com/project-loda/loda/inventory/sqlite"
)

func open(t testing.TB, opts ...sqlite.Option) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "loda.db"), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	return s
}

func TestSQLiteKeepsTheContractOfAnInventory(t *testing.T) {
	inventorytest.Run(t, func(t *testing.T) inventory.Store { return open(t) })
}
