package loda_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
)

func TestImportNamesEveryBadRowAndStoresNothing(t *testing.T) {
	b := newBench(t)
	b.load("serial\nTAKEN-1\n", false)
	_, err := b.Import(t.Context(), strings.NewReader(strings.Join([]string{
		"serial,profile,mac,address,name",
		"GOOD-1,debian,52:54:00:00:00:11,10.0.0.5,web-1",
		"To be filled by O.E.M.,debian,,,",
		"GOOD-2,nothing,,,",
		"GOOD-3,debian,zz,,",
		"GOOD-4,debian,,10.0.0.5,",
		"TAKEN-1,debian,,,",
		"GOOD-5,debian,52:54:00:00:00:11,,",
		"GOOD-6,broken,,not-an-address,-bad-",
		"GOOD-7,debian",
	}, "\n")), loda.ImportOptions{})
	var cells loda.CellErrors
	require.ErrorAs(t, err, &cells)
	lines := map[int]bool{}
	for _, c := range cells {
		lines[c.Line] = true
	}
	// Cells are checked first; rows against each other and the inventory once all cells are good.
	require.Subset(t, []int{3, 5, 9, 10}, keys(lines))
	require.Len(t, lines, 4, cells)
	_, err = b.store.Machine(t.Context(), "GOOD-1")
	require.ErrorIs(t, err, inventory.ErrNotFound)

	_, err = b.Import(t.Context(), strings.NewReader("serial,profile,mac,address\nGOOD-1,debian,52:54:00:00:00:11,10.0.0.5\n"+
		"GOOD-2,nothing,,\nGOOD-4,debian,,10.0.0.5\nTAKEN-1,debian,,\nGOOD-5,debian,52:54:00:00:00:11,\nGOOD-6,broken,,\n"), loda.ImportOptions{})
	require.ErrorAs(t, err, &cells)
	lines = map[int]bool{}
	for _, c := range cells {
		lines[c.Line] = true
	}
	require.Len(t, lines, 5, cells)
	_, err = b.store.Machine(t.Context(), "GOOD-1")
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

func keys(m map[int]bool) []int {
	var out []int
	for k := range m {
		out = append(out, k)
	}
	return out
}

func TestDryRunStoresNothing(t *testing.T) {
	b := newBench(t)
	res, err := b.Import(t.Context(), strings.NewReader(oneMachine), loda.ImportOptions{DryRun: true, Install: true})
	require.NoError(t, err)
	require.True(t, res.DryRun)
	require.Len(t, res.Machines, 1)
	_, err = b.store.Machine(t.Context(), serial)
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

func TestParseCSVTakesWhatSpreadsheetsWrite(t *testing.T) {
	for name, text := range map[string]string{
		"byte order mark":    "\xef\xbb\xbfserial,mac\nABC123,525400000001 52-54-00-00-00-02\n",
		"semicolons":         "serial;mac\r\nabc123;52:54:00:00:00:01 52:54:00:00:00:02\r\n",
		"spaces and quotes":  "Serial , MAC\nabc123 ,\"52:54:00:00:00:01 52:54:00:00:00:02\"\n",
		"comment and blanks": "# from the vendor\nserial,mac\n\nabc123,52:54:00:00:00:02 52:54:00:00:00:01\n",
	} {
		t.Run(name, func(t *testing.T) {
			machines, lines, err := loda.ParseCSV(strings.NewReader(text))
			require.NoError(t, err)
			require.Len(t, machines, 1)
			require.Len(t, lines, 1)
			require.Equal(t, inventory.Serial("ABC123"), machines[0].Serial)
			require.Equal(t, []inventory.MAC{"52:54:00:00:00:01", "52:54:00:00:00:02"}, machines[0].MACs)
		})
	}
}

func TestParseCSVRefusesWhatItDoesNotKnow(t *testing.T) {
	for text, want := range map[string]string{
		"":                            "empty",
		"serial\n":                    "no machine",
		"name\nx\n":                   "no column serial",
		"serial,colour\nABC,red\n":    "unknown column",
		"serial,serial\nABC,ABC\n":    "twice",
		"serial\n\"ABC\n":             "quote",
		"serial,labels\nABC123,a b\n": "key=value",
		"serial\nABC\xff\n":           "UTF-8",
	} {
		_, _, err := loda.ParseCSV(strings.NewReader(text))
		require.ErrorContains(t, err, want, text)
	}
}

func FuzzParseCSV(f *testing.F) {
	f.Add("serial,profile,name,rack,mac,address,labels\nABC123,debian,web-1,r1,52:54:00:00:00:01,10.0.0.1,a=b\n")
	f.Add("serial;mac\r\nabc;zz\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		machines, lines, err := loda.ParseCSV(strings.NewReader(text))
		if err != nil {
			require.NotEmpty(t, err.Error())
			return
		}
		require.Len(t, lines, len(machines))
		for _, m := range machines {
			again, err := inventory.ParseSerial(string(m.Serial))
			require.NoError(t, err)
			require.Equal(t, m.Serial, again)
		}
	})
}
