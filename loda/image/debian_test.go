package image

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOnlyDebiansOwnSourcesOfTheHostAreUsed(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sources.list.d"), 0o755))
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	require.Nil(t, hostMirrors(dir, "bookworm"))

	write("sources.list", `
deb [signed-by=/usr/share/keyrings/x.gpg arch=amd64] http://mirror.example/debian/ bookworm main contrib
deb-src http://mirror.example/debian/ bookworm main
# deb http://mirror.example/debian/ bookworm-updates main
deb https://packages.vendor.example/apt bookworm main
deb http://mirror.example/debian/ trixie main
`)
	write("sources.list.d/security.sources", `# comment
Types: deb deb-src
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Types: deb
URIs: http://other.example/debian
Suites: bookworm
Enabled: no
`)
	write("sources.list.d/node.sources", "Types: deb\nURIs: https://deb.nodesource.com/node_20.x\nSuites: bookworm\nComponents: main\n")
	require.Equal(t, []string{
		"deb http://mirror.example/debian/ bookworm main",
		"deb http://mirror.example/debian-security bookworm-security main",
	}, hostMirrors(dir, "bookworm"))
}

func TestNumbersOfABuildRepeatWithSourceDateEpoch(t *testing.T) {
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	a, err := newIDs("x")
	require.NoError(t, err)
	b, err := newIDs("x")
	require.NoError(t, err)
	c, err := newIDs("y")
	require.NoError(t, err)
	require.Equal(t, a.guid("disk"), b.guid("disk"))
	require.NotEqual(t, a.guid("disk"), a.guid("esp"))
	require.NotEqual(t, a.guid("disk"), c.guid("disk"))
	require.EqualValues(t, 1700000000, a.time.Unix())
	require.Equal(t, byte('4'), a.guid("disk").String()[14], "a version 4 UUID")
	t.Setenv("SOURCE_DATE_EPOCH", "yesterday")
	_, err = newIDs("x")
	require.ErrorContains(t, err, "yesterday")
}
