package apiserver_test

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory/sqlite"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/apiserver"
)

// BenchmarkListMachines is what `lodad status --watch` asks every second: all of 1,000 machines, half of them at work.
func BenchmarkListMachines(b *testing.B) {
	store, err := sqlite.Open(b.Context(), filepath.Join(b.TempDir(), "loda.db"))
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, store.Close()) })
	d := &desk{t: b, store: store, secrets: map[api.Role]string{}, log: &syncedBuffer{}}
	token, secret := apiserver.MakeToken(api.TokenRequest{Name: "bench", Role: api.Operator}, time.Now())
	require.NoError(b, store.CreateToken(b.Context(), token))
	d.secrets[api.Operator] = secret
	d.serve(store)
	var text strings.Builder
	text.WriteString("serial,profile\n")
	for i := range 1000 {
		fmt.Fprintf(&text, "SN-%04d,debian\n", i)
	}
	start := time.Now()
	_, err = d.client(api.Operator).Import(b.Context(), strings.NewReader(text.String()), false, true)
	require.NoError(b, err)
	b.Logf("import of 1,000 machines with installations: %s", time.Since(start).Round(time.Millisecond))
	for i := 0; i < 1000; i += 2 {
		_, err := d.client(api.Operator).Decide(b.Context(), fmt.Sprintf("SN-%04d", i), "cancel", "")
		require.NoError(b, err)
	}
	for b.Loop() {
		resp := d.call("GET", "/api/v1/machines?limit=1000", secret, nil)
		n, err := io.Copy(io.Discard, resp.Body)
		require.NoError(b, err)
		require.Greater(b, n, int64(1000*100))
	}
}
