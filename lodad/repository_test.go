package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/api"
)

func TestASecretIsTheTextThatStandsInTheFileOrAMistake(t *testing.T) {
	path := filepath.Join(t.TempDir(), "secrets.yaml")
	for text, mistake := range map[string]string{
		"bmc: \"0123\"\nroot: $6$x: #y\n": ":2 is not NAME: TEXT",
		"bmc: pass\npin: 0123\n":          ":2 is not NAME: TEXT",
		"bmc: 1.50\n":                     ":1 is not NAME: TEXT",
		"bmc: [hunter2]\n":                ":1 is not NAME: TEXT",
		"bmc: hunter2\nbmc: hunter3\n":    ":2 is not NAME: TEXT",
		"bmc: \"\"\n":                     "bmc is empty",
	} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := openSecrets(path, slog.Default())
		require.ErrorContains(t, err, mistake, text)
		require.NotContains(t, err.Error(), "hunter", "the error is logged")
	}
	for _, text := range []string{"", "# none yet\n", "{}\n", "key: |\n  two\n  lines\n"} {
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		_, err := openSecrets(path, slog.Default())
		require.NoError(t, err, text)
	}
	require.NoError(t, os.WriteFile(path, []byte("bmc: \"0123\"\nroot: pass w0rd\n"), 0o600))
	s, err := openSecrets(path, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	value, _ := s.Secret("bmc")
	require.Equal(t, "0123", value)
	_, ok := s.Secret("other")
	require.False(t, ok)

	require.NoError(t, os.WriteFile(path, []byte("root: another\n"), 0o600))
	require.NoError(t, os.Chtimes(path, time.Time{}, time.Now().Add(time.Minute)))
	value, _ = s.Secret("root")
	require.Equal(t, "another", value, "it is read anew when it was changed")
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = openSecrets(path, slog.Default())
	require.ErrorContains(t, err, "chmod o= "+path)
}

func TestARepositoryThatWasNeverFetchedSaysSo(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, showRepository(&out, api.Repository{URL: "https://git.example/x.git", LastError: "no route",
		FailingSince: time.Now().Add(-time.Hour)}))
	require.Regexp(t, `(?m)^fetched +never$`, out.String())
	require.Regexp(t, `(?m)^fetching fails +for 60m: no route$`, out.String())
	require.Contains(t, out.String(), "nothing can be installed")
}
