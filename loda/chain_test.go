package loda_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
)

func TestBootChainIsThatOfTheOpenInstallation(t *testing.T) {
	b := newBench(t)
	static, err := loda.NewStaticProfiles(map[string]loda.Profile{"debian": {Image: "debian-12", Chain: loda.ChainShimGRUB}})
	require.NoError(t, err)
	b.profiles = static
	b.open(b.store)
	chain := func(mac inventory.MAC) string {
		t.Helper()
		c, err := b.Chain(t.Context(), mac)
		require.NoError(t, err)
		return c
	}
	require.Empty(t, chain(mac), "a stranger")
	b.load("serial,profile,mac\nSN-0001,debian,"+mac+"\n", true)
	b.load("serial,profile,mac\nSN-0002,debian,52:54:00:00:00:02\n", false)
	require.Empty(t, chain("52:54:00:00:00:02"), "nothing is to be installed")
	require.Equal(t, loda.ChainShimGRUB, chain(mac))
	require.Empty(t, chain("52:54:00:00:00:99"), "another machine")
}

func TestUnknownBootChainIsRefused(t *testing.T) {
	_, err := loda.NewStaticProfiles(map[string]loda.Profile{"debian": {Image: "debian-12", Chain: "grub"}})
	require.ErrorContains(t, err, `chain: "grub" is unknown; want ipxe, or shim-grub`)
}
