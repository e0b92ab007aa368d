package apiserver_test

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/apiserver"
)

var update = flag.Bool("update", false, "write docs/openapi.yaml anew")

// The document is for who writes a client without a running lodad, and shows a reviewer what a change does to the API.
func TestDocumentOfTheAPIIsUpToDate(t *testing.T) {
	const file = "../../docs/openapi.yaml"
	want, err := apiserver.OpenAPI()
	require.NoError(t, err)
	if *update {
		require.NoError(t, os.WriteFile(file, want, 0o644))
	}
	got, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run: go test ./loda/apiserver -run TestDocumentOfTheAPIIsUpToDate -update")
}
