package hw

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFactsOfAnotherVersionAreRefused(t *testing.T) {
	for document, want := range map[string]string{
		`{"version": 2}`:         "version 2",
		`{"version": 0}`:         "version 0",
		`{}`:                     "no version",
		`[]`:                     "decode hardware facts",
		``:                       "decode hardware facts",
		`{"version": "1"}`:       "decode hardware facts",
		`{"version":1,"cpus":1}`: "decode hardware facts",
	} {
		_, err := Decode([]byte(document))
		require.ErrorContains(t, err, want, document)
	}
}

func TestFactsOfANewerReleaseOfTheSameVersionAreRead(t *testing.T) {
	f, err := Decode([]byte(`{"version": 1, "psus": [{"slot": "PSU1"}], "system": {"serial": "S", "colour": "black"}}`))
	require.NoError(t, err)
	require.Equal(t, "S", f.System.Serial)
}

func TestTextShowsWhatIsNotHealthy(t *testing.T) {
	n, none, no, worn := int64(3), int64(0), false, 104
	f := &Facts{Version: 1, Memory: Memory{CorrectedErrors: &n, UncorrectedErrors: &none},
		Disks: []Disk{{Name: "sda", Bytes: 1e12, Health: &DiskHealth{Passed: &no, WearPercent: &worn, MediaErrors: &n,
			Pending: &none}}},
		NICs: []NIC{{Name: "eth0", LinkUp: new(bool)}},
		PSUs: []PSU{{Slot: "PSU1", Model: "M", MaxWatts: 1100, Status: "Critical", Plugged: &no}, {Empty: true}}}
	var b strings.Builder
	require.NoError(t, f.WriteText(&b))
	for _, want := range []string{"3 corrected errors", "SMART ALERT, 104% worn, 3 media errors",
		"1 x M, 1100 W, Critical, no mains", "1 x bay empty"} {
		require.Contains(t, b.String(), want)
	}
	require.NotContains(t, b.String(), "UNCORRECTED")
	require.NotContains(t, b.String(), "pending")
}

func TestUnknownsNameThePart(t *testing.T) {
	u := func(path string) []Unknown { return []Unknown{{path, "why"}} }
	f := &Facts{Unknown: u("nics"), System: System{Unknown: u("serial")}, Board: Board{Unknown: u("serial")},
		BIOS:    BIOS{Unknown: u("date")},
		Chassis: Chassis{Unknown: u("type")}, CPUs: []CPU{{Socket: "CPU1", Unknown: u("cores")},
			{Unknown: u("model")}},
		Memory: Memory{Unknown: u("dimms"), DIMMs: []DIMM{{Slot: "A3", Unknown: u("rank")}, {Unknown: u("slot")}}},
		Disks:  []Disk{{Name: "sda", Unknown: u("serial")}}, NICs: []NIC{{Name: "eth0", Unknown: u("mac")}},
		PCI:         []PCIDevice{{Address: "0000:00:1f.2", Unknown: u("class")}},
		Controllers: []PCIDevice{{Address: "0000:00:1f.2", Unknown: u("class")}}, // the same function, named once
		BMC:         BMC{Unknown: u("present")}}
	var got []string
	for _, u := range f.Unknowns() {
		require.Equal(t, "why", u.Reason)
		got = append(got, u.Path)
	}
	require.Equal(t, []string{"nics", "system/serial", "board/serial", "bios/date", "chassis/type",
		"cpus[CPU1]/cores", "cpus[1]/model",
		"memory/dimms", "memory/dimms[A3]/rank", "memory/dimms[1]/slot", "disks[sda]/serial", "nics[eth0]/mac",
		"pci[0000:00:1f.2]/class", "bmc/present"}, got)
}

func TestUnknownsTellSlotsOfTheSameNameApart(t *testing.T) {
	u := []Unknown{{"rank", "why"}}
	f := &Facts{Memory: Memory{DIMMs: []DIMM{{Slot: "DIMM", Bank: "A", Unknown: u}, {Slot: "DIMM", Bank: "B", Unknown: u},
		{Slot: "DIMM", Unknown: u}, {Slot: "X", Bank: "B", Unknown: u}}}}
	var got []string
	for _, u := range f.Unknowns() {
		got = append(got, u.Path)
	}
	require.Equal(t, []string{"memory/dimms[A DIMM]/rank", "memory/dimms[B DIMM]/rank", "memory/dimms[DIMM 2]/rank",
		"memory/dimms[X]/rank"}, got)
}

func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	f.Add([]byte(`{"version":1,"disks":[{"bytes":-1}],"cpus":[{"stepping":0}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		facts, err := Decode(data)
		if err != nil {
			return
		}
		facts.Unknowns()
		facts.MACs()
		facts.GPUs()
		require.NoError(t, facts.WriteText(discard{}))
		_, _ = DiskRule{Prefer: Largest}.Choose(facts.Disks)
		encoded, err := json.Marshal(facts)
		require.NoError(t, err)
		_, err = Decode(encoded)
		require.NoError(t, err)
	})
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }
