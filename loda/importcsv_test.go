package loda_test

import (
	"fmt"
	"slices"
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
	var lines []int
	for _, c := range cells {
		lines = append(lines, c.Line)
	}
	require.Equal(t, []int{3, 4, 5, 6, 7, 8, 9, 10}, slices.Compact(lines), "%v", cells)
	for _, part := range []string{"line 3, serial: ", "line 4, profile: ", "line 5, mac: ", "line 6: address 10.0.0.5 is in line 2 already",
		"line 7: ", "line 8: MAC 52:54:00:00:00:11 is in line 2 already", "line 9, address: ", "line 9, name: ", "line 10: 2 cells"} {
		require.ErrorContains(t, err, part)
	}
	_, err = b.store.Machine(t.Context(), "GOOD-1")
	require.ErrorIs(t, err, inventory.ErrNotFound)
}

func TestImportOpensAnInstallationForEachMachine(t *testing.T) {
	b := newBench(t)
	var text strings.Builder
	text.WriteString("serial,profile\n")
	for i := range 300 {
		fmt.Fprintf(&text, "SN-%04d,debian\n", i)
	}
	res, err := b.Import(t.Context(), strings.NewReader(text.String()), loda.ImportOptions{Install: true, By: "test"})
	require.NoError(t, err)
	require.Len(t, res.Installations, 300)
	for i, id := range res.Installations {
		inst, err := b.store.Installation(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, res.Machines[i], inst.Serial)
	}
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
