package hw

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

func TestModelOfTheREADMEIsOne(t *testing.T) {
	text, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, example, found := strings.Cut(string(text), "```yaml\nsystem:")
	require.True(t, found)
	example, _, found = strings.Cut("system:"+example, "```")
	require.True(t, found)
	var plain any
	require.NoError(t, yaml.Unmarshal([]byte(example), &plain))
	asJSON, err := json.Marshal(plain)
	require.NoError(t, err)
	m := new(Model)
	require.NoError(t, json.Unmarshal(asJSON, m))
	require.Len(t, m.Memory.DIMMs[0].Slots, 8)
	require.Contains(t, texts(m.Compare(rackServer())), "DIMM B5 (serial D16): want no module, "+
		"got 32 GiB Samsung M393A4K40DB3-CWE at 2933 MT/s")
}
