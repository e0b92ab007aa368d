package hw

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// firmwareModel wants something, as JSON, of the firmware of one disk.
func firmwareModel(t testing.TB, want string) *Model {
	m := new(Model)
	require.NoError(t, json.Unmarshal([]byte(`{"disks": [{"firmware": `+want+`}]}`), m), want)
	return m
}

func TestTextsAreWantedInManyWays(t *testing.T) {
	for _, c := range []struct {
		want string
		is   []string
		not  []string
	}{
		{`"GXA7"`, []string{"GXA7", " GXA7 "}, []string{"gxa7", "GXA", "GXA77", ""}},
		{`""`, []string{"", "  "}, []string{"A"}},
		{`{"value": "ignore"}`, []string{"ignore"}, []string{"A", ""}},
		{`"ignore"`, []string{"A", ""}, nil},
		{`{"ignore": true}`, []string{"A", ""}, nil},
		{`{"any_of": ["A", " B "]}`, []string{"A", "B"}, []string{"C", "", "A B"}},
		{`{"regex": "GXA[57]|HX"}`, []string{"GXA5", "HX"}, []string{"GXA6", "GXA5x", "xGXA5", "xHX", ""}},
		{`{"glob": "GX?[1]*"}`, []string{"GXA[1]", "GXA[1]/x"}, []string{"GX[1]", "GXA1", "gxa[1]"}},
		{`{"at_least": "2.10.2"}`, []string{"2.10.2", "2.10.10", "3", "2.10.2.1"}, []string{"2.9.9", "2.10", "", "A"}},
		{`{"at_most": "2.10"}`, []string{"2.9", "2.10"}, []string{"2.10.1", "2.11", ""}},
		{`{"at_least": "0x2b000571", "at_most": "0x2c000000"}`, []string{"0x2B000571", "0x2bffffff"},
			[]string{"0x2b000570", "0x2c000001", "0x100"}},
	} {
		comparer := firmwareModel(t, c.want).Comparer()
		for _, s := range c.is {
			require.Empty(t, comparer.Compare(&Facts{Disks: []Disk{{Firmware: s}}}), "%s: %q", c.want, s)
		}
		for _, s := range c.not {
			require.Len(t, comparer.Compare(&Facts{Disks: []Disk{{Firmware: s}}}), 1, "%s: %q", c.want, s)
		}
	}
}

func TestNumbersAndSizesAreWantedInManyWays(t *testing.T) {
	for _, c := range []struct {
		want string
		is   []int64
		not  []int64
	}{
		{`{"logical_sector": 512}`, []int64{512}, []int64{511, 4096}},
		{`{"logical_sector": {"any_of": [512, 4096]}}`, []int64{512, 4096}, []int64{520}},
		{`{"logical_sector": {"min": 512}}`, []int64{512, 4096}, []int64{511}},
		{`{"logical_sector": {"min": 512, "max": 520}}`, []int64{512, 520}, []int64{521}},
		{`{"logical_sector": {"value": 1000, "tolerance": "2%"}}`, []int64{980, 1020}, []int64{979, 1021}},
		{`{"logical_sector": {"value": 1000, "tolerance": 5}}`, []int64{995, 1005}, []int64{994}},
		{`{"bytes": "480GB"}`, []int64{480103981056, 480e9, 475200000000, 484800000000},
			[]int64{475199999999, 484800000001, 500107862016, 447e9}},
		{`{"bytes": "250GB"}`, []int64{250059350016}, []int64{256060514304}},
		{`{"bytes": "1.92TB"}`, []int64{1920383410176}, []int64{2000398934016}},
		{`{"bytes": "146GB"}`, []int64{146815737856}, nil},
		{`{"bytes": {"value": "480GB", "tolerance": "0"}}`, []int64{480e9}, []int64{480103981056}},
		{`{"bytes": {"value": "480GB", "tolerance": "1GB"}}`, []int64{481e9}, []int64{482e9}},
		{`{"bytes": 480103981056}`, []int64{480103981056}, []int64{480103981057}},
		{`{"bytes": "480103981056B"}`, []int64{480103981056}, []int64{480103981057}},
		{`{"bytes": "447GiB"}`, []int64{447 << 30}, []int64{447<<30 + 1}},
		{`{"bytes": {"any_of": ["480GB", "1TiB"]}}`, []int64{480103981056, 1 << 40}, []int64{1e12}},
		{`{"bytes": {"min": "1TB"}}`, []int64{1e12, 2e12}, []int64{1e12 - 1}},
		{`{"bytes": {"min": "1TB", "max": "2TB"}}`, []int64{2e12}, []int64{2e12 + 1}},
	} {
		m := new(Model)
		require.NoError(t, json.Unmarshal([]byte(`{"disks": [`+c.want+`]}`), m), c.want)
		for _, n := range c.is {
			require.Empty(t, m.Compare(&Facts{Disks: []Disk{{LogicalSector: int(n), Bytes: n}}}), "%s: %d", c.want, n)
		}
		for _, n := range c.not {
			require.Len(t, m.Compare(&Facts{Disks: []Disk{{LogicalSector: int(n), Bytes: n}}}), 1, "%s: %d", c.want, n)
		}
	}
}

func TestVersionsAreOrderedAsTheirMakersDo(t *testing.T) {
	ordered := []string{"", "GXA5", "GXA7", "HPD2", "U30 v2.58 (05/24/2022)", "U30 v2.62 (03/08/2022)", "1", "1.0", "1.0a",
		"1.0b", "1.0.0", "2.9.9", "2.10", "2.10-rc1", "2.10.1", "2.10.1.1", "14.32.1010", "14.32.1010 (DEL0000000016)",
		"99999999999999999999999", "100000000000000000000000"}
	for i, a := range ordered {
		for j, b := range ordered {
			got := CompareVersions(a, b)
			require.Equal(t, i < j, got < 0, "%q %q", a, b)
			require.Equal(t, i > j, got > 0, "%q %q", a, b)
		}
	}
	for _, same := range [][2]string{{"2.10.2", "2-10_2"}, {"1.02", "1.2"}, {"a1", "A1"}, {"0x0A", "0xa"}} {
		require.Zero(t, CompareVersions(same[0], same[1]), same)
	}
	require.Negative(t, CompareVersions("0x9", "0x10"))
	require.Negative(t, CompareVersions("0x29", "0x2b"))
}

func TestMistakesInModelsAreAllReported(t *testing.T) {
	m := &Model{
		Severity: map[string]Severity{"disk": Fail, "nics": "fatal"},
		BIOS: &BIOSModel{Version: &WantText{}, Vendor: &WantText{Regex: "("}, Date: &WantText{Glob: "a", Regex: "b"},
			Revision: &WantText{AtLeast: "2", AtMost: "1"}},
		Memory: &MemoryModel{DIMMs: []DIMMModel{{Bytes: &WantSize{Value: "32GB"}},
			{Entry: Entry{Slots: []Text{"A1", "A1", ""}, Count: Exactly(2)}}}},
		Disks: []DiskModel{{Entry: Entry{Count: Exactly(-1)}, Medium: Literal("unknown"), Bus: Literal("sata")},
			{Entry: Entry{Slot: "1", Severity: "bad"}, Bytes: &WantSize{Value: "480G"}},
			{Entry: Entry{Count: Exactly(MaxParts)}, LogicalSector: &WantNumber{}}},
		NICs:   []NICModel{{Vendor: Literal("15B3"), Link: &LinkModel{Width: &WantNumber{Tolerance: "3%"}}}},
		GPUs:   make([]GPUModel, MaxParts+1),
		Health: &HealthModel{WearPercent: &Limit{Ignore: true, Required: true}},
	}
	err := m.Validate()
	require.Error(t, err)
	for _, want := range []string{
		"severity.disk: no section has this name; want one of system, board,",
		`severity.nics: severity "fatal": want fail, warn or info`,
		"bios.version: nothing is wanted",
		"bios.vendor: regex: error parsing regexp",
		"bios.date: several ways to say what is wanted",
		"bios.revision: at_least 2 is newer than at_most 1",
		"memory.dimms[0].bytes: 32GB: memory comes in binary units; want one such as 32GiB",
		"memory.dimms[1].slots[1]: A1 is named twice",
		"memory.dimms[1].slots[2]: blank",
		"memory.dimms[1].count: is not the number of slots, 3",
		"disks[0].count: is below zero",
		`disks[0].medium: "unknown" is none of hdd, ssd, nvme`,
		`disks[0].bus: "sata" is none of ata, sas,`,
		`disks[1].bytes: size "480G": unknown unit`,
		"disks[1].slot: nobody knows in which bay a disk is",
		`disks[1].severity: severity "bad"`,
		"disks[2].logical_sector: nothing is wanted",
		"disks: the entries want more than 1024 parts",
		`nics[0].vendor: "15B3": want 4 lower-case hexadecimal digits`,
		"nics[0].link.width: ",
		"gpus: 1025 entries; want at most 1024",
		"health.wear_percent: is ignored, and something is wanted too",
	} {
		require.ErrorContains(t, err, want)
	}
	for line := range strings.Lines(err.Error()) {
		require.Regexp(t, `^[a-z_.0-9\[\]]+: .`, line)
	}
	// What is wrong is met by no machine, and breaks nothing.
	require.NotEmpty(t, m.Compare(rackServer()))

	for _, document := range []string{`{"disk": []}`, `{"disks": [{"model": 1}]}`, `{"disks": [{"model": {"like": "x"}}]}`,
		`{"disks": [{"count": "many"}]}`, `{"disks": [{"count": {"least": 1}}]}`, `{"health": {"smart": "fatal"}}`,
		`{"health": {"pending": -1}}`, `{"disks": [{"bytes": []}]}`, `{"disks": [{"removable": "maybe"}]}`,
		`{"cpus": [{"cores": "0x10"}]}`, `{"cpus": [{"cores": null}, {"model": {"regex": "["}}]}`, `[]`, `{} {}`} {
		require.Error(t, json.Unmarshal([]byte(document), new(Model)), document)
	}
}

func TestEveryWayToWantSomethingSurvivesJSONAndYAML(t *testing.T) {
	const document = `{
		"system": {"vendor": "ignore", "product": {"value": "ignore"}, "version": "1.10", "sku": "", "family": "null"},
		"bios": {"version": {"at_least": "2.10", "at_most": "3"}, "vendor": {"any_of": ["0010", "yes", "- a", "#"]},
			"uefi": {"value": true, "severity": "warn"}},
		"cpus": [{"count": {"min": 1, "max": 4}, "cores": {"min": 2.5}, "threads": {"value": 8, "tolerance": "2"},
			"model": {"regex": "a: b"}, "stepping": "ignore"}, {"count": {"min": 2}, "slot": "CPU: [1]"}],
		"memory": {"dimms": []},
		"disks": [{"count": 8, "severity": "info", "bytes": "480GB"}, {"bytes": {"min": "1TB", "severity": "warn"}},
			{"bytes": {"any_of": ["1TB", "5"]}}, {"bytes": 512, "removable": false}, {"removable": "ignore"}],
		"controllers": [{"slots": ["A, B", "}", "'x\"", "0x10", "12:30:45", "1e3"], "device": "0010", "vendor": "1e10"}],
		"nics": [{"speed_mbps": {"any_of": [1000, 2.5]}, "link": {"width": 8}}],
		"health": {"smart": {"required": true}, "nic_link": "ignore", "psu": "warn", "pending": 3,
			"media_errors": {"max": 2, "severity": "info"}, "wear_percent": "ignore"},
		"severity": {"bios": "warn"}}`
	m := new(Model)
	require.NoError(t, json.Unmarshal([]byte(document), m))
	require.Equal(t, m, throughJSON(t, m))
	require.Equal(t, m, throughYAML(t, m))
	require.NotNil(t, m.Memory.DIMMs)
	require.Nil(t, m.GPUs)
	data, err := json.Marshal(m)
	require.NoError(t, err)
	require.JSONEq(t, document, string(data))
	text, err := yaml.Marshal(Generate(rackServer()))
	require.NoError(t, err)
	require.Contains(t, string(text), "  - slots: [A1, A2, A3, A4, A5, A6, A7, A8, A9, A10, A11, A12, B1, B2,")
	require.Contains(t, string(text), "disks:\n- count: 12\n  bus: ata\n")
}

func TestWhateverAMachineSaysSurvivesYAML(t *testing.T) {
	for _, s := range nasty {
		f := &Facts{System: System{Vendor: s}, CPUs: []CPU{{Model: s, Socket: s}, {Model: s, Socket: "x" + s}}}
		m := Generate(f)
		require.NoError(t, m.Validate())
		back := throughYAML(t, m)
		require.Equal(t, m, back)
		require.Empty(t, back.Compare(f), "%q", s)
	}
}

var nasty = []string{"", " ", "~", "null", "Null", "yes", "no", "on", "True", "ignore", "0", "00", "0010", "0x1F", "0o17",
	"0b1", "1_000", "1.10", "1e3", ".5", "5.", ".inf", ".nan", "-", "--", "---", "- a", "a -", "-1", "+1", "2020-01-01",
	"12:30:45", "1:2", "a:", ":a", "a: b", "a:b", "#", "a #b", "a#b", "? a", "!", "!!str a", "&a", "*a", "@a", "`a", "%a",
	"|", ">", "[", "]", "{", "}", "[a]", "{a}", "a, b", ",", "'", "\"", "'a'", "\"a\"", "a'b", "\\", "a\\nb", "<<", "=",
	"a\tb", "a\nb", "\x00", "\x7f", "\u0085", "\u2028", "\ufeff", "\xff\xfe", "日本", "é", "😀", "To be filled by O.E.M.", "a ",
	strings.Repeat("long ", 60), "{{ .Serial }}", "$(reboot)", "a\\", "...", "a: 'b", "- [", "*", "&", "a [b] {c}, d"}
