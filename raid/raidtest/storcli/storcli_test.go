package storcli

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/raid/raidtest"
)

func run(t *testing.T, c *raidtest.Chassis, line string) (string, int) {
	var out bytes.Buffer
	exit := Main(t.Context(), c, strings.Fields(line), &out)
	return out.String(), exit
}

func rack(t *testing.T) *raidtest.Chassis {
	c, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), raidtest.DefaultState())
	require.NoError(t, err)
	return c
}

func TestWhatTheGrammarDoesNotHaveIsRefusedAndChangesNothing(t *testing.T) {
	c := rack(t)
	for _, line := range []string{"/c0 add vd r7 drives=252:0", "/c0 add vd r0 drives=x",
		"/c0 add vd r0 drives=252:0 what", "/c0/v0 dele", "/c0/v0/s1 delete", "/x0 show",
		"/c0/e252/s0 set great", "add vd", "/call/v0 delete"} {
		out, exit := run(t, c, line+" J nolog")
		require.Contains(t, out, "syntax error", line)
		require.NotZero(t, exit, line)
	}
	state, err := c.State()
	require.NoError(t, err)
	require.Empty(t, state.Journal)
}

func TestTheFirmwaresNoIsSaidInTheToolsWords(t *testing.T) {
	out, exit := run(t, rack(t), "/c0/e252/s4 set jbod")
	require.NotZero(t, exit)
	require.Contains(t, out, "Status = Failure\nDescription = Set Drive JBOD Failed.")
	require.Regexp(t, `0 Failed    50 drive 252:4 is online`, out)
}

func TestNumbersOfVolumesAreNotTold(t *testing.T) {
	c := rack(t)
	out, exit := run(t, c, "/c0 add vd r1 name=os drives=252:0-1 J nolog")
	require.Zero(t, exit)
	require.NotContains(t, out, "Response Data")
	out, _ = run(t, c, "/c0/vall show")
	require.Regexp(t, `(?m)^\d/\d +RAID1 +Optl .* os *$`, out)
}

func TestAProcessEndsWithThePower(t *testing.T) {
	c := rack(t)
	require.NoError(t, c.Edit(func(s *raidtest.State) error { s.Off = true; return nil }))
	out, exit := run(t, c, "/c0 show J")
	require.Empty(t, out)
	require.Equal(t, raidtest.ExitPowerOff, exit)
}

func TestSizesAreCutOffAsTheToolDoes(t *testing.T) {
	for bytes, want := range map[int64]string{0: "0 KB", 512 << 20: "512.000 MB", 936640512 * 512: "446.625 GB",
		7812939776 * 512: "3.637 TB", 0x48c300000 * 512: "9.094 TB"} {
		require.Equal(t, want, size(bytes, false))
	}
	require.Equal(t, "100.0 GB", size(100<<30, true))
	require.Equal(t, "465.25 GB", size(476416<<20, true))
}
