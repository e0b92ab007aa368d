package pxe

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFetchSaysWhetherAMachineCouldLoadAFile(t *testing.T) {
	l := startTFTP(t, &TFTPServer{})
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/boot/ipxe" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(nbp)
	}))
	defer web.Close()
	sum := sha256.Sum256(nbp)
	for _, u := range []string{"tftp://" + l.addr.String() + "/snponly.efi", web.URL + "/boot/ipxe"} {
		got, err := Fetch(t.Context(), u)
		require.NoError(t, err, u)
		require.Equal(t, int64(len(nbp)), got.Bytes)
		require.Equal(t, hex.EncodeToString(sum[:]), got.SHA256)
		require.Positive(t, got.Duration)
	}
	silent, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer silent.Close()
	for u, why := range map[string]string{
		"tftp://" + l.addr.String() + "/nothing":       "not found",
		web.URL + "/nothing":                           "404 Not Found",
		"tftp://" + silent.LocalAddr().String() + "/x": "is UDP let through",
		"ftp://127.0.0.1/x":                            "only tftp:// and http://",
		"http://127.0.0.1:1/x":                         "refused",
		"tftp://" + l.addr.String() + "/\x7f":          "invalid control character",
	} {
		_, err := Fetch(t.Context(), u)
		require.ErrorContains(t, err, why, u)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = Fetch(ctx, "tftp://"+l.addr.String()+"/snponly.efi")
	if err != nil { // it may have been fast enough
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
}
