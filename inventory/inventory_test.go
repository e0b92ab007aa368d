package inventory_test

import (
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

func TestAnImportErrorNamesEveryRowForPeople(t *testing.T) {
	taken := &inventory.ConflictError{What: "MAC 52:54:00:12:34:56", Owner: "machine ABC123"}
	err := fmt.Errorf("import: %w", &inventory.ImportError{Rows: []inventory.RowError{
		{Row: 0, Err: errors.New("serial number is empty")}, {Row: 4, Err: taken}, {Row: 4, Err: errors.New("and more")}}})
	require.EqualError(t, err, "import: 2 bad rows, nothing was imported; row 1: serial number is empty; "+
		"row 5: MAC 52:54:00:12:34:56 already belongs to machine ABC123; row 5: and more")
	var c *inventory.ConflictError
	require.ErrorAs(t, err, &c)
	require.Equal(t, taken, c)
	require.EqualError(t, &inventory.ImportError{Rows: []inventory.RowError{{Row: 1, Err: errors.New("x")}}},
		"1 bad row, nothing was imported; row 2: x")
}

func TestEveryStateIsOpenButTheTwoEnds(t *testing.T) {
	for _, s := range inventory.States {
		require.Equal(t, s != inventory.Installed && s != inventory.Canceled, s.Open(), s)
	}
	require.False(t, inventory.State("").Open())
}

func TestProgressStaysBetweenNothingAndAll(t *testing.T) {
	for given, want := range map[float64]float64{-1: 0, 0: 0, 0.5: 0.5, 1: 1, 1.0000001: 1, math.Inf(1): 1,
		math.Inf(-1): 0} {
		i := inventory.Installation{ID: "i1", Serial: "ABC123", State: inventory.Queued, Progress: given}
		require.NoError(t, i.Normalize(time.Now()))
		require.Equal(t, want, i.Progress)
	}
	i := inventory.Installation{ID: "i1", Serial: "ABC123", State: inventory.Queued, Progress: math.NaN()}
	require.NoError(t, i.Normalize(time.Now()))
	require.Zero(t, i.Progress)
}

func TestAMachineIsToldEverythingThatIsWrongWithIt(t *testing.T) {
	m := inventory.Machine{Serial: "abc123", Source: "guessed", MACs: []inventory.MAC{"x"}, Facts: []byte("{")}
	err := m.Normalize()
	for _, part := range []string{`want "ABC123"`, "guessed", `"x"`, "JSON"} {
		require.ErrorContains(t, err, part)
	}
}

func TestTheZeroMomentStaysZero(t *testing.T) {
	require.True(t, inventory.Moment(time.Time{}).IsZero())
	at := inventory.Moment(time.Now())
	require.Equal(t, at, inventory.Moment(at))
	require.Equal(t, time.UTC, at.Location())
}
