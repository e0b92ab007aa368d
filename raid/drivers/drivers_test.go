package drivers_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/command"
	"github.com/project-loda/loda/raid/drivers"
)

func TestEveryToolThatAControllerCanNeedHasADriver(t *testing.T) {
	for _, tool := range []raid.Tool{raid.Storcli, raid.Storcli2, raid.Perccli, raid.Perccli2, raid.Megacli, raid.Ssacli, raid.Arcconf,
		raid.Mvcli, raid.Mnvcli, raid.Sas2ircu, raid.Sas3ircu, raid.Mdadm, raid.Nvme} {
		require.Contains(t, drivers.Names(), string(tool))
		d, err := drivers.New(string(tool), drivers.Config{Run: &command.Runner{}, Tool: "/opt/" + string(tool)})
		require.NoError(t, err)
		require.NotEmpty(t, d.Name())
	}
	for _, name := range drivers.Names() {
		_, err := drivers.Parse(name, []byte("lp0 on fire\n"))
		require.Error(t, err, "%s takes anything for an output of its tool", name)
	}
}

func TestAToolIsKnownByItsOlderNames(t *testing.T) {
	for name, want := range map[string]raid.Tool{"hpssacli": raid.Ssacli, "HPACUCLI": raid.Ssacli, "StorCLI": raid.Storcli,
		"mnv_cli": raid.Mnvcli, "nvmens": raid.Nvme} {
		tool, ok := drivers.Tool(name)
		require.True(t, ok, name)
		require.Equal(t, want, tool)
	}
	_, ok := drivers.Tool("storcli64")
	require.False(t, ok)
}

func TestADriverThatIsNotKnownNamesThoseThatAre(t *testing.T) {
	_, err := drivers.New("raidctl", drivers.Config{})
	require.ErrorContains(t, err, `there is no driver for "raidctl"; want arcconf, `)
	_, err = drivers.New("storcli", drivers.Config{})
	require.ErrorContains(t, err, "it needs a tool")
	_, err = drivers.Parse("raidctl")
	require.Error(t, err)
	for _, args := range [][]string{{}, {"raidctl", "--tool", "x"}, {"storcli"}, {"storcli", "--unknown"}} {
		var said bytes.Buffer
		require.Equal(t, 2, drivers.Main(args, &said))
		require.NotEmpty(t, said.String())
	}
}
