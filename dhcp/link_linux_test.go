package dhcp

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/net/ipv4"
)

// Odd and even payloads: a checksum over the whole, itself included, is zero.
func TestDatagramHasValidChecksums(t *testing.T) {
	for _, payload := range []string{"", "x", "xy", "Loda!"} {
		b := datagram(ip("10.7.0.1"), 67, to("10.7.0.5:68", "").Addr, []byte(payload))
		h, err := ipv4.ParseHeader(b)
		require.NoError(t, err)
		require.Equal(t, len(b), h.TotalLen)
		require.Equal(t, "10.7.0.1", h.Src.String())
		require.Equal(t, "10.7.0.5", h.Dst.String())
		require.Zero(t, checksum(0, b[:20]), "IP header")
		pseudo := append(append([]byte{}, b[12:20]...), 0, 17, 0, byte(len(b)-20))
		require.Zero(t, checksum(0, append(pseudo, append(b[20:], make([]byte, len(b)%2)...)...)), "UDP")
		require.Equal(t, payload, string(b[28:]))
	}
	// RFC 1071 section 3.
	sum, err := hex.DecodeString("0001f203f4f5f6f7")
	require.NoError(t, err)
	require.Equal(t, ^uint16(0xddf2), checksum(0, sum))
}
