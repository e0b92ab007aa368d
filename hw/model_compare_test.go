package hw

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestDifferencesReadLikeSentences(t *testing.T) {
	no, many, wear, none := false, int64(12), 93, int64(0)
	for _, c := range []struct {
		name   string
		model  string // JSON; empty is generated
		change func(f *Facts)
		want   []string
	}{
		{"a DIMM is missing", "", func(f *Facts) { f.Memory.DIMMs[2] = DIMM{Slot: "A3", Empty: true} },
			[]string{"DIMM A3: want 32 GiB Samsung M393A4K40DB3-CWE at 2933 MT/s, got no module"}},
		{"a DIMM too many", "", func(f *Facts) {
			f.Memory.DIMMs = append(f.Memory.DIMMs, DIMM{Slot: "B13", Serial: "D77", Bytes: 16 << 30, Type: "DDR4"})
		}, []string{"DIMM B13 (serial D77): want no module, got 16 GiB DDR4"}},
		{"a DIMM of another maker, running slower", "", func(f *Facts) {
			f.Memory.DIMMs[23].Manufacturer, f.Memory.DIMMs[23].ConfiguredMTs = "Hynix", 2666
		}, []string{"DIMM B12 (serial D23): manufacturer: want Samsung, got Hynix",
			"DIMM B12 (serial D23): configured speed: want 2933 MT/s, got 2666 MT/s"}},
		{"other firmware on a disk", "", func(f *Facts) { f.Disks[3].Firmware = "GXA5" },
			[]string{"disk pci-0000:18:00.0-scsi-0:0:3:0 (serial S3): firmware: want HXT7404Q, got GXA5"}},
		{"a disk is missing", "", func(f *Facts) { f.Disks = f.Disks[1:] },
			[]string{"disk: want 960.2 GB ata ssd, SAMSUNG MZ7LH960HAJR0D3 (one of 12), got no disk"}},
		{"a disk of another size", "", func(f *Facts) { f.Disks[0].Bytes = 480103981056 },
			[]string{"disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): size: want 960.2 GB, got 480.1 GB"}},
		{"a disk that is nearly as large", "", func(f *Facts) { f.Disks[0].Bytes += 512 },
			[]string{"disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): size: want 960.2 GB (960197124096 bytes), " +
				"got 960.2 GB (960197124608 bytes)"}},
		{"a RAID volume is no disk", "", func(f *Facts) { f.Disks = append(f.Disks, Disk{Kind: RAIDVolume}) }, nil},
		{"a CPU is missing", "", func(f *Facts) { f.CPUs[1] = CPU{Socket: "CPU2", Empty: true} },
			[]string{"CPU2: want Gold 6244, stepping 7, 8 cores, got no processor"}},
		{"other microcode", "", func(f *Facts) { f.CPUs[0].Microcode = "0x1" },
			[]string{"CPU1: microcode: want 0x5003604, got 0x1"}},
		{"older BIOS", `{"bios": {"version": {"at_least": "2.12"}}, "severity": {"bios": "warn"}}`, func(*Facts) {},
			[]string{"BIOS: version: want at least 2.12, got 2.11.2"}},
		{"another boot mode", "", func(f *Facts) { f.BIOS.UEFI = &no },
			[]string{"BIOS: boot mode: want UEFI, got legacy BIOS"}},
		{"a link is down", "", func(f *Facts) {
			f.NICs[1].LinkUp, f.NICs[1].SpeedMbps = &no, 0
			f.NICs[1].Path, f.NICs[1].Port = "pci-0000:af:00.0", 1
		}, []string{"NIC PCIe Slot 3 (serial m1): link: want up, got down"}},
		{"a slow link", `{"health": {}}`, func(f *Facts) { f.NICs[1].SpeedMbps = 1000 },
			[]string{"NIC PCIe Slot 3 (serial m1): link speed: want the port's fastest, got 1000 Mbit/s of 25000"}},
		{"a narrow link", `{"health": {}}`, func(f *Facts) { f.Controllers[0].Link.Width = 4 },
			[]string{"controller 0000:18:00.0: PCIe link: want as wide and fast as the function can be, got x4 of x8"}},
		{"an idle GPU", `{"health": {}}`, func(f *Facts) {
			f.PCI = append(f.PCI, PCIDevice{Class: "030200", Link: &PCILink{Speed: 2.5, MaxSpeed: 16, Width: 8, MaxWidth: 8}})
		}, nil},
		{"a controller is missing", "", func(f *Facts) { f.Controllers = nil },
			[]string{"controller: want SAS 1000:00af sub 1028:1f53, got no controller"}},
		{"a power supply is critical", "", func(f *Facts) { f.PSUs[1].Status, f.PSUs[1].Plugged = "Critical", &no },
			[]string{"PSU2: status: want OK, got Critical", "PSU2: mains: want yes, got no"}},
		{"an ill disk", "", func(f *Facts) {
			f.Disks[0].Health = &DiskHealth{Passed: &no, MediaErrors: &many, WearPercent: &wear, Reallocated: &none}
		}, []string{
			"disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): SMART: want passed, got an alert",
			"disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): media errors: want at most 0, got 12",
			"disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): wear: want at most 80 %, got 93 %"}},
		{"a disk that does not tell of its health", `{"health": {"smart": {"required": true}}}`, func(f *Facts) {
			f.Disks[0].Health = nil
			f.Disks[0].Unknown = []Unknown{{"health", "the controller hides it"}}
			f.Disks[1].Health.Passed = nil
		}, []string{
			"disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): SMART: want passed, got unknown (the controller hides it)",
			"disk pci-0000:18:00.0-scsi-0:0:1:0 (serial S1): SMART: want passed, got unknown (nothing tells)"}},
		{"health that nobody asks for", `{"health": {}}`, func(f *Facts) { f.Disks[0].Health = nil }, nil},
		{"ECC errors of a module are that module's", "", func(f *Facts) {
			f.Memory.CorrectedErrors, f.Memory.DIMMs[0].CorrectedErrors = &many, &many
		}, []string{"DIMM A1 (serial D0): corrected ECC errors: want at most 0, got 12"}},
		{"ECC errors of nobody knows what", "", func(f *Facts) { f.Memory.CorrectedErrors = &many },
			[]string{"memory: corrected ECC errors: want at most 0, got 12"}},
		{"nothing may be there", `{"disks": [], "gpus": []}`, func(f *Facts) { f.Disks = f.Disks[:1] },
			[]string{"disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): want no disk, got 960.2 GB ata ssd, " +
				"SAMSUNG MZ7LH960HAJR0D3"}},
		{"what the model does not have is not looked at", `{}`, func(f *Facts) { f.Disks = nil }, nil},
		{"a count in a range", `{"disks": [{"count": {"min": 4, "max": 11}}]}`, func(*Facts) {},
			[]string{"disk pci-0000:18:00.0-scsi-0:0:11:0 (serial S11): want no disk, got 960.2 GB ata ssd, " +
				"SAMSUNG MZ7LH960HAJR0D3"}},
		{"a count without bounds", `{"disks": [{"count": {"min": 4}}]}`, func(*Facts) {}, nil},
		{"too few for a range", `{"disks": [{"count": {"min": 2}, "bytes": "960GB"}]}`,
			func(f *Facts) { f.Disks = f.Disks[:1] }, []string{"disk: want 960 GB ± 1% (one of 2), got no disk"}},
		{"a label's size", `{"disks": [{"count": {"min": 1}, "bytes": "1.92TB"}]}`,
			func(f *Facts) { f.Disks = f.Disks[:1] },
			[]string{"disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): size: want 1.92 TB ± 1%, got 960.2 GB"}},
		{"nobody knows the slot", `{"cpus": [{"slot": "CPU1", "cores": 8}]}`, func(f *Facts) {
			f.CPUs = f.CPUs[:1]
			f.CPUs[0].Socket, f.CPUs[0].Unknown = "", []Unknown{{"socket", "the firmware lists 2 CPUs"}}
		}, []string{"CPU: slot: want CPU1, got unknown (the firmware lists 2 CPUs)"}},
		{"the list is unknown", `{"memory": {"dimms": [{"count": 24}]}, "nics": [{"count": {"min": 1, "max": 2}}]}`,
			func(f *Facts) {
				f.Memory.DIMMs, f.NICs = nil, nil
				f.Memory.Unknown = []Unknown{{"dimms", "no SMBIOS tables"}}
				f.Unknown = []Unknown{{"nics", "/sys/class/net: permission denied"}}
			}, []string{"DIMMs: want 24, got unknown (no SMBIOS tables)",
				"NICs: want 1 to 2, got unknown (/sys/class/net: permission denied)"}},
		{"the section is unknown", `{"board": {"product": "06WXJT"}}`, func(f *Facts) {
			f.Board, f.Unknown = Board{}, []Unknown{{"board", "no structure of type 2"}}
		}, []string{"board: product: want 06WXJT, got unknown (no structure of type 2)"}},
		{"a machine says what it likes", `{"system": {"vendor": "Dell Inc."}}`,
			func(f *Facts) { f.System.Vendor = "\x1b[2J\nok\u202e" + strings.Repeat("x", 500) },
			[]string{"system: vendor: want Dell Inc., got \uFFFD[2J\uFFFDok\uFFFD" + strings.Repeat("x", 191) + "…"}},
		{"more than anybody has", `{"disks": [{"count": {"min": 1}}]}`,
			func(f *Facts) { f.Disks = make([]Disk, MaxParts+1) },
			[]string{"disks: want at most 1024, got 1025: a list this long is not compared"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := rackServer()
			m := Generate(f)
			if c.model != "" {
				m = new(Model)
				require.NoError(t, json.Unmarshal([]byte(c.model), m))
			}
			c.change(f)
			require.Equal(t, c.want, texts(m.Compare(f)))
		})
	}
}

func TestDifferencesAreFieldsToo(t *testing.T) {
	f := rackServer()
	m := Generate(f)
	f.Memory.DIMMs[2] = DIMM{Slot: "A3", Empty: true}
	f.Disks[3].Firmware = "GXA5"
	f.CPUs[0].Microcode = "0x1"
	got := m.Compare(f)
	for i := range got {
		require.NotEmpty(t, got[i].Text)
		got[i].Text = ""
	}
	require.Equal(t, []Difference{
		{Path: "cpus[CPU1]/microcode", Slot: "CPU1", Want: "0x5003604", Got: "0x1", Severity: Info},
		{Path: "memory/dimms[A3]", Slot: "A3", Want: "32 GiB Samsung M393A4K40DB3-CWE at 2933 MT/s", Got: "no module",
			Severity: Fail},
		{Path: "disks[pci-0000:18:00.0-scsi-0:0:3:0]/firmware", Slot: "pci-0000:18:00.0-scsi-0:0:3:0", Serial: "S3",
			Want: "HXT7404Q", Got: "GXA5", Severity: Fail},
	}, got)
}

func TestNearestSeverityCounts(t *testing.T) {
	m := new(Model)
	require.NoError(t, json.Unmarshal([]byte(`{
		"disks": [{"severity": "warn", "model": "A", "firmware": {"value": "1", "severity": "info"}}],
		"nics": [{"vendor": "0000"}],
		"psus": [{"model": "P", "count": 2}],
		"health": {"pending": {"max": 0, "severity": "info"}},
		"severity": {"nics": "info", "health": "warn"}}`), m))
	one, no := int64(1), false
	got := m.Compare(&Facts{
		Disks: []Disk{{Model: "B", Firmware: "2", Health: &DiskHealth{Pending: &one, Passed: &no}}},
		NICs:  []NIC{{Vendor: "0001"}, {Vendor: "0001"}},
		PSUs:  []PSU{},
	})
	var all []string
	for _, d := range got {
		all = append(all, fmt.Sprintf("%s %s %s", d.Severity, d.Path, d.Got))
	}
	require.Equal(t, []string{"warn disks/model B", "info disks/firmware 2", "warn disks/health/passed an alert",
		"info disks/health/pending 1", "info nics 0001", "info nics/vendor 0001",
		"fail psus no power supply", "fail psus no power supply"}, all)
}

// A part that fits one entry only must not lose it to a part that fits several.
func TestPartsFindTheirEntriesWhateverTheOrder(t *testing.T) {
	m := new(Model)
	require.NoError(t, json.Unmarshal([]byte(`{"disks": [{"model": {"regex": "A.*"}}, {"model": "A1"},
		{"count": {"min": 0, "max": 2}, "model": {"regex": ".*"}}]}`), m))
	for _, models := range [][]string{{"A1", "A2"}, {"A2", "A1"}, {"A1", "B", "A2"}, {"C", "A2", "B", "A1"}} {
		f := &Facts{}
		for _, model := range models {
			f.Disks = append(f.Disks, Disk{Model: model})
		}
		require.Empty(t, m.Compare(f), models)
	}
	// Warnings are better than failures, however many.
	m = new(Model)
	require.NoError(t, json.Unmarshal([]byte(`{"disks": [
		{"model": "A", "vendor": {"value": "V", "severity": "warn"}, "firmware": {"value": "F", "severity": "info"}},
		{"model": "B", "vendor": "V"}]}`), m))
	require.Len(t, m.Compare(&Facts{Disks: []Disk{{Model: "B", Vendor: "V"}, {Model: "A"}}}), 2)
}

func TestAssignmentIsTheCheapest(t *testing.T) {
	for i := range 400 {
		r := rand.New(rand.NewPCG(1, uint64(i)))
		n, m := r.IntN(6), 1+r.IntN(5)
		capacity := make([]int, m+1)
		for j := range m {
			capacity[j] = r.IntN(4)
		}
		capacity[m] = n
		costs := make([]int64, n*(m+1))
		for k := range costs {
			costs[k] = int64(r.IntN(9))
			if r.IntN(5) == 0 {
				costs[k] = forbidden
			}
		}
		cost := func(i, j int) int64 {
			if j == m {
				return 20
			}
			return costs[i*(m+1)+j]
		}
		sum, load := int64(0), make([]int, m+1)
		for i, j := range assign(n, capacity, cost) {
			require.NotEqual(t, int64(forbidden), cost(i, j))
			sum += cost(i, j)
			load[j]++
		}
		for j := range load {
			require.LessOrEqual(t, load[j], capacity[j])
		}
		require.Equal(t, cheapest(n, capacity, cost), sum)
	}
}

// cheapest tries everything.
func cheapest(n int, capacity []int, cost func(i, j int) int64) int64 {
	if n == 0 {
		return 0
	}
	best := int64(forbidden)
	for j := range capacity {
		if capacity[j] == 0 || cost(n-1, j) == forbidden {
			continue
		}
		capacity[j]--
		if sum := cheapest(n-1, capacity, cost) + cost(n-1, j); sum < best {
			best = sum
		}
		capacity[j]++
	}
	return best
}

func TestNothingIsComparedWithNothing(t *testing.T) {
	var m *Model
	require.Empty(t, m.Compare(rackServer()))
	require.NoError(t, m.Validate())
	require.Empty(t, (&Model{}).Compare(&Facts{}))
	require.Len(t, (&Model{}).Compare(nil), 1)
	require.Equal(t, &Model{}, Generate(nil))
	require.Empty(t, GenerateNotes(nil))
}

func TestNotesTellWhatIsNotInTheModelAndWhatIsIll(t *testing.T) {
	f := rackServer()
	no := false
	f.Unknown = []Unknown{{"chassis", "no structure\nof type 3"}}
	f.Disks[0].Health = &DiskHealth{Passed: &no}
	require.Equal(t, []string{
		"not known: chassis: no structure\uFFFDof type 3",
		"not healthy here, and therefore allowed: disk pci-0000:18:00.0-scsi-0:0:0:0 (serial S0): SMART: want passed, " +
			"got an alert",
	}, GenerateNotes(f))
	require.Nil(t, Generate(f).Chassis)
	require.True(t, Generate(f).Health.SMART.Ignore)
}

func FuzzCompare(f *testing.F) {
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		facts, err := Decode(data)
		require.NoError(f, err)
		model, err := json.Marshal(Generate(facts))
		require.NoError(f, err)
		f.Add(model, data)
	}
	f.Add([]byte(`{"disks":[{"count":{"min":1},"bytes":"1GB","model":{"regex":".*"}},{"count":3}],"health":{}}`),
		[]byte(`{"version":1,"disks":[{"bytes":-1},{"kind":"raid-volume"}],"unknown":[{"path":"disks"}]}`))
	f.Add([]byte(`{"memory":{"dimms":[{"slots":["B/A","A"]}]},"severity":{"memory":"info"}}`),
		[]byte(`{"version":1,"memory":{"dimms":[{"slot":"A","bank":"B"},{"slot":"A"},{"slot":"B/A"}]}}`))
	f.Fuzz(func(t *testing.T, model, document []byte) {
		if len(model) > 16<<10 || len(document) > 32<<10 {
			return
		}
		facts, err := Decode(document)
		if err != nil {
			return
		}
		learnt := Generate(facts)
		require.NoError(t, learnt.Validate())
		require.Empty(t, learnt.Compare(facts))
		require.Empty(t, throughJSON(t, learnt).Compare(facts))
		GenerateNotes(facts)

		m := new(Model)
		if json.Unmarshal(model, m) != nil {
			return
		}
		got := m.Compare(facts)
		require.Equal(t, got, throughJSON(t, m).Compare(facts))
		for _, d := range got {
			require.NoError(t, d.Severity.Validate())
			require.True(t, utf8.ValidString(d.Text), "%q", d.Text)
			require.Less(t, len(d.Text), 4096)
			for _, r := range d.Text {
				require.True(t, unicode.IsPrint(r), "%q", d.Text)
			}
		}
	})
}
