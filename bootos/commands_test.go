package bootos

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCommandsArePinned(t *testing.T) {
	text, err := os.ReadFile("commands.go")
	require.NoError(t, err)
	var pinned []string
	for _, m := range regexp.MustCompile(`_ "github\.com/u-root/u-root/cmds/core/(.+)"`).FindAllStringSubmatch(string(text), -1) {
		pinned = append(pinned, m[1])
	}
	require.Equal(t, slices.Sorted(slices.Values(urootCommands)), pinned)
}

func TestTheManualNamesEveryCommandOfTheRAMDisk(t *testing.T) {
	manual, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, c := range urootCommands {
		require.Contains(t, string(manual), "`"+c+"`")
	}
}
