package pxe

import (
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func mac(last ...byte) net.HardwareAddr {
	m := net.HardwareAddr{0x52, 0x54, 0, 0, 0, 0}
	copy(m[6-len(last):], last)
	return m
}

func TestEveryPowerOnLoadsTheNBPOnceAndThenGoesOn(t *testing.T) {
	now := time.Unix(0, 0)
	c := &Chainload{Now: func() time.Time { return now }}
	for range 3 { // power-ons
		require.True(t, c.NeedsNBP(mac(1)), "DISCOVER of the ROM")
		require.True(t, c.NeedsNBP(mac(1)), "REQUEST of the ROM")
		c.Loaded(mac(1))
		now = now.Add(5 * time.Second)
		require.False(t, c.NeedsNBP(mac(1)), "DISCOVER of the loaded iPXE")
		require.False(t, c.NeedsNBP(mac(1)), "REQUEST of the loaded iPXE")
		require.True(t, c.NeedsNBP(mac(2)), "another machine")
		c.Done(mac(9), mac(1))
	}
}

func TestMachineThatWasCutOffAfterTheNBPStartsAnewAfterTheWindow(t *testing.T) {
	now := time.Unix(0, 0)
	c := &Chainload{Window: time.Minute, Now: func() time.Time { return now }}
	c.Loaded(mac(1))
	now = now.Add(59 * time.Second)
	require.False(t, c.NeedsNBP(mac(1)))
	c.Loaded(mac(1)) // again: the window begins anew
	now = now.Add(59 * time.Second)
	require.False(t, c.NeedsNBP(mac(1)))
	now = now.Add(time.Second)
	require.True(t, c.NeedsNBP(mac(1)))
	require.Empty(t, c.loaded, "who is past the window takes no memory")
}

func TestChainloadMemoryIsBounded(t *testing.T) {
	now := time.Unix(0, 0)
	c := &Chainload{MaxMachines: 3, Now: func() time.Time { return now }}
	for i := range byte(10) {
		now = now.Add(time.Second)
		c.Loaded(mac(i))
	}
	require.Len(t, c.loaded, 3)
	require.Equal(t, 3, c.order.Len())
	require.True(t, c.NeedsNBP(mac(6)))
	require.False(t, c.NeedsNBP(mac(7)))
	c.Loaded(nil)
	c.Done(nil)
	require.False(t, c.NeedsNBP(nil), "what has no Ethernet address cannot be chained")
}
