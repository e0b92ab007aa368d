package hw

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// rackDisks are what a machine may show. Each is fit to be written but where its name says otherwise.
func rackDisks(names ...string) []Disk {
	yes, no := true, false
	all := map[string]Disk{
		"ssd480": {Bus: BusATA, Medium: SSD, Model: "INTEL SSDSC2KB480G8", Serial: "BTYF1",
			WWN: "naa.55cd2e4150000001", Path: "pci-0000:00:17.0-ata-1.0", Bytes: 480103981056},
		"ssd480b": {Bus: BusATA, Medium: SSD, Model: "INTEL SSDSC2KB480G8", Serial: "BTYF2",
			WWN: "naa.55cd2e4150000002", Path: "pci-0000:00:17.0-ata-2.0", Bytes: 480103981056},
		"hdd8t": {Bus: BusSAS, Medium: HDD, Model: "ST8000NM0075", Serial: "ZA1",
			WWN: "naa.5000c500a0000013", Path: "pci-0000:3b:00.0-sas-phy0-lun-0", Bytes: 8001563222016},
		"nvme": {Bus: BusNVMe, Medium: NVMe, Model: "SAMSUNG MZQL23T8", Serial: "S64G1", WWN: "eui.01",
			Path: "pci-0000:5e:00.0-nvme-1", Bytes: 3840755982336},
		"volume": {Kind: RAIDVolume, Bus: BusSCSI, Medium: MediumUnknown, Model: "PERC H740P Mini",
			Serial: "00a1", WWN: "naa.6d09", Path: "pci-0000:18:00.0-scsi-0:2:0:0", Bytes: 479559942144,
			Unknown: []Unknown{{"medium", "a RAID volume does not tell what its disks are"}}},
		"vda": {Bus: BusVirtio, Medium: MediumUnknown, Path: "pci-0000:00:04.0", Bytes: 8 << 30,
			Unknown: []Unknown{{"medium", "a virtio disk does not tell"}}},
		"vdb": {Bus: BusVirtio, Medium: MediumUnknown, Path: "pci-0000:00:05.0", Bytes: 8 << 30,
			Unknown: []Unknown{{"medium", "a virtio disk does not tell"}}},
		"stick": {Bus: BusUSB, Medium: MediumUnknown, Model: "Ultra", Serial: "4C53",
			Path: "pci-0000:00:14.0-usb-0:1:1.0-scsi-0:0:0:0", Bytes: 32e9, Removable: &yes},
		"usbssd": {Bus: BusUSB, Medium: SSD, Model: "T7", Serial: "T71",
			Path: "pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0", Bytes: 1e12},
		"locked": {Bus: BusATA, Medium: SSD, Serial: "RO1", Path: "pci-0000:00:17.0-ata-5.0", Bytes: 480e9,
			ReadOnly: &yes},
		"empty": {Bus: BusUSB, Path: "pci-0000:00:14.0-usb-0:3:1.0-scsi-0:0:0:0", Medium: MediumUnknown,
			Removable: &yes},
		"sick": {Bus: BusATA, Medium: SSD, Path: "pci-0000:00:17.0-ata-6.0", Unknown: []Unknown{{"bytes",
			"/sys/block/sick/size: input/output error"}, {"serial", "input/output error"}}},
	}
	var disks []Disk
	for _, name := range names {
		d, ok := all[name]
		if !ok {
			panic("no disk " + name)
		}
		d.Name = name
		if d.Kind == "" {
			d.Kind = PhysicalDisk
		}
		if d.Removable == nil {
			d.Removable = &no
		}
		if d.ReadOnly == nil {
			d.ReadOnly = &no
		}
		disks = append(disks, d)
	}
	return disks
}

func TestRuleChoosesTheOneDiskThatItMeans(t *testing.T) {
	server := []string{"ssd480", "ssd480b", "hdd8t", "nvme", "stick"}
	for name, c := range map[string]struct {
		rule  DiskRule
		disks []string
		want  string
	}{
		"the only disk":                    {DiskRule{}, []string{"vda"}, "vda"},
		"the only disk beside a USB stick": {DiskRule{}, []string{"stick", "ssd480"}, "ssd480"},
		"by medium":                        {DiskRule{Medium: NVMe}, server, "nvme"},
		"by bus":                           {DiskRule{Bus: BusSAS}, server, "hdd8t"},
		"by serial":                        {DiskRule{Serial: "BTYF2"}, server, "ssd480b"},
		"by WWN as another tool writes it": {DiskRule{WWN: "0x55CD2E4150000001"}, server, "ssd480"},
		"by path":                          {DiskRule{Path: "pci-0000:00:17.0-ata-2.0"}, server, "ssd480b"},
		"by model":                         {DiskRule{Model: "st8000*"}, server, "hdd8t"},
		"by size":                          {DiskRule{MinSize: 1e12, MaxSize: 4e12}, server, "nvme"},
		"bounds are inclusive": {DiskRule{MinSize: 3840755982336, MaxSize: 3840755982336},
			server, "nvme"},
		"the largest":                  {DiskRule{Prefer: Largest}, server, "hdd8t"},
		"the smallest over a terabyte": {DiskRule{MinSize: 1e12, Prefer: Smallest}, server, "nvme"},
		"the RAID volume":              {DiskRule{Kind: RAIDVolume}, append(server, "volume"), "volume"},
		"a USB disk when the rule says so": {DiskRule{Bus: BusUSB}, []string{"usbssd", "ssd480", "stick"},
			"usbssd"},
		"a stick when the rule says so": {DiskRule{Bus: BusUSB, Removable: true, Serial: "4C53"},
			[]string{"usbssd", "stick"}, "stick"},
		"one of two equal ones by its path": {DiskRule{Path: "pci-0000:00:05.0"}, []string{"vda", "vdb"}, "vdb"},
		"all conditions together": {DiskRule{Medium: SSD, Bus: BusATA, Serial: "BTYF1",
			MinSize: 400e9}, server, "ssd480"},
		"unfit disks do not make it ambiguous": {DiskRule{Medium: SSD}, []string{"ssd480", "locked", "sick"},
			"ssd480"},
	} {
		t.Run(name, func(t *testing.T) {
			disks := rackDisks(c.disks...)
			d, err := c.rule.Choose(disks)
			require.NoError(t, err)
			require.Equal(t, c.want, d.Name)
			slices.Reverse(disks)
			d, err = c.rule.Choose(disks)
			require.NoError(t, err)
			require.Equal(t, c.want, d.Name, "the order of the disks does not matter")
		})
	}
}

func TestNoDiskAtAllIsItsOwnError(t *testing.T) {
	_, err := DiskRule{}.Choose(nil)
	var none *NoDiskError
	require.ErrorAs(t, err, &none)
	require.ErrorContains(t, err, "no disk at all")
}

func TestNoMatchNamesEveryDiskAndWhatSpeaksAgainstIt(t *testing.T) {
	disks := rackDisks("hdd8t", "vda", "stick", "usbssd", "locked", "empty", "sick")
	_, err := DiskRule{Medium: SSD, MaxSize: 1e12, Serial: "X"}.Choose(disks)
	var no *NoMatchError
	require.ErrorAs(t, err, &no)
	got := map[string]string{}
	for _, c := range no.Considered {
		got[c.Disk.Name] = strings.Join(c.Against, "; ")
	}
	require.Equal(t, map[string]string{
		"hdd8t":  "size 8 TB (8001563222016 bytes) is above max_size 1TB; medium is hdd, want ssd; serial is ZA1, want X",
		"vda":    "medium is unknown (a virtio disk does not tell), want ssd; serial is none, want X",
		"stick":  "removable, and the rule does not say removable: true; on USB, and the rule does not say bus: usb; medium is unknown, want ssd; serial is 4C53, want X",
		"usbssd": "on USB, and the rule does not say bus: usb; serial is T71, want X",
		"locked": "read-only; serial is RO1, want X",
		"empty":  "no medium in the drive; removable, and the rule does not say removable: true; on USB, and the rule does not say bus: usb; medium is unknown, want ssd; serial is none, want X",
		"sick":   "size is unknown (/sys/block/sick/size: input/output error); serial is unknown (input/output error), want X",
	}, got)
	for name := range got {
		require.ErrorContains(t, err, name)
	}
	require.ErrorContains(t, err, "medium ssd")
}

func TestAmbiguityNamesTheCandidatesAndTheWayOut(t *testing.T) {
	for name, c := range map[string]struct {
		rule       DiskRule
		disks      []string
		candidates []string
		remedy     string
	}{
		"two equal SSDs": {DiskRule{Medium: SSD}, []string{"ssd480", "ssd480b", "hdd8t"}, []string{"ssd480",
			"ssd480b"},
			"any of these would make it unique: `serial`, `wwn`, `path`"},
		"two of the smallest": {DiskRule{Prefer: Smallest}, []string{"ssd480", "ssd480b", "nvme"},
			[]string{"ssd480", "ssd480b"},
			"any of these would make it unique: `serial`, `wwn`, `path`"},
		"virtual disks without serial": {DiskRule{}, []string{"vda", "vdb"}, []string{"vda", "vdb"},
			"any of these would make it unique: `path`"},
		"different ones": {DiskRule{}, []string{"ssd480", "hdd8t"}, []string{"ssd480", "hdd8t"},
			"any of these would make it unique: `prefer: smallest`, `prefer: largest`, `medium`, `bus`, `model`, `serial`, `wwn`, `path`"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := c.rule.Choose(rackDisks(c.disks...))
			var ambiguous *AmbiguousError
			require.ErrorAs(t, err, &ambiguous)
			var names []string
			for _, d := range ambiguous.Candidates {
				names = append(names, d.Name)
			}
			require.Equal(t, c.candidates, names)
			require.Equal(t, c.remedy, ambiguous.Remedy)
			for _, name := range names {
				require.ErrorContains(t, err, name)
			}
		})
	}
}

func TestOneDiskOverTwoPathsIsSaidToBeOne(t *testing.T) {
	disks := rackDisks("hdd8t", "hdd8t")
	disks[1].Name, disks[1].Path = "sdy", "pci-0000:3b:00.0-sas-phy4-lun-0"
	_, err := DiskRule{}.Choose(disks)
	require.ErrorContains(t, err, "one disk seen over several paths")
}

func TestUnknownRemovableOrReadOnlyIsNotTakenForNo(t *testing.T) {
	for _, change := range []func(*Disk){func(d *Disk) { d.Removable = nil }, func(d *Disk) { d.ReadOnly = nil }} {
		disks := rackDisks("ssd480")
		change(&disks[0])
		_, err := DiskRule{}.Choose(disks)
		var no *NoMatchError
		require.ErrorAs(t, err, &no)
	}
}

func TestUnknownValueMeetsNoCondition(t *testing.T) {
	for name, rule := range map[string]DiskRule{"serial": {Serial: "S"}, "wwn": {WWN: "naa.5"},
		"path": {Path: "pci-1"}, "model": {Model: "*"},
		"bus": {Bus: BusATA}, "medium": {Medium: SSD}} {
		disks := rackDisks("vda")
		disks[0].Path, disks[0].Bus = "", ""
		_, err := rule.Choose(disks)
		var no *NoMatchError
		require.ErrorAs(t, err, &no, name)
	}
}

func TestRuleThatCannotBeMeantIsRefused(t *testing.T) {
	for want, rule := range map[string]DiskRule{
		"min_size 2TB is more than max_size 1TB": {MinSize: 2e12, MaxSize: 1e12},
		"below zero":                             {MinSize: -1},
		`medium "tape"`:                          {Medium: "tape"},
		`medium "unknown"`:                       {Medium: MediumUnknown},
		`bus "pci"`:                              {Bus: "pci"},
		`kind "md"`:                              {Kind: "md"},
		`prefer "first"`:                         {Prefer: "first"},
		"medium nvme on bus ata":                 {Medium: NVMe, Bus: BusATA},
		"medium ssd on bus nvme":                 {Medium: SSD, Bus: BusNVMe},
		"not a glob":                             {Model: "INTEL["},
		`wwn "0x" has no number`:                 {WWN: "0x"},
		"serial is blank":                        {Serial: " "},
		"device node":                            {Path: "/dev/sda"},
	} {
		require.ErrorContains(t, rule.Validate(), want)
		_, err := rule.Choose(rackDisks("ssd480"))
		require.ErrorContains(t, err, want, "a wrong rule chooses nothing")
	}
	err := DiskRule{Medium: "tape", Prefer: "first"}.Validate()
	require.ErrorContains(t, err, "tape")
	require.ErrorContains(t, err, "first", "all that is wrong is said at once")
}

func TestRuleIsReadStrictlyFromJSONAndYAML(t *testing.T) {
	want := DiskRule{MinSize: 40e9, MaxSize: 32 << 40, Medium: SSD, Bus: BusATA, Kind: PhysicalDisk,
		Model: "INTEL*", Prefer: Smallest,
		Serial: "S", WWN: "naa.5", Path: "pci-1", Removable: true}
	encoded, err := json.Marshal(want)
	require.NoError(t, err)
	var rule DiskRule
	require.NoError(t, json.Unmarshal(encoded, &rule))
	require.Equal(t, want, rule)

	document, err := yaml.Marshal(want)
	require.NoError(t, err)
	require.Contains(t, string(document), "min_size: 40GB")
	rule = DiskRule{}
	require.NoError(t, yaml.UnmarshalWithOptions(document, &rule, yaml.Strict()))
	require.Equal(t, want, rule)
	require.Error(t, yaml.UnmarshalWithOptions([]byte("medum: ssd\n"), &rule, yaml.Strict()))

	for _, wrong := range []string{`{"medum": "ssd"}`, `{"medium": "tape"}`, `{"min_size": "40G"}`,
		`{"prefer": "first"}`, `[]`, `"x"`} {
		rule := want
		require.Error(t, json.Unmarshal([]byte(wrong), &rule), wrong)
		require.Equal(t, want, rule, "a refused rule changes nothing")
	}
}

func TestDiskIsFoundAgainByEveryPartOfItsIdentity(t *testing.T) {
	d := rackDisks("ssd480")[0]
	const serial, wwn, path, bytes = "BTYF1", "naa.55cd2e4150000001", "pci-0000:00:17.0-ata-1.0", int64(480103981056)
	require.True(t, d.Matches(serial, wwn, path, bytes))
	require.True(t, d.Matches(serial, "", "", 0))
	require.True(t, d.Matches("", "", "", bytes))
	require.True(t, d.Matches(" "+serial+" ", "0x55CD2E4150000001", "", 0))
	require.False(t, d.Matches("", "", "", 0), "nothing identifies nothing")
	require.False(t, d.Matches(" ", "", "", 0))
	require.False(t, d.Matches("btyf1", wwn, path, bytes), "serial numbers are compared exactly")
	require.False(t, d.Matches(serial, "naa.55cd2e4150000002", path, bytes))
	require.False(t, d.Matches(serial, wwn, "pci-0000:00:17.0-ata-1", bytes))
	require.False(t, d.Matches(serial, wwn, path, bytes-512))

	bare := rackDisks("vda")[0]
	require.True(t, bare.Matches("", "", "pci-0000:00:04.0", 8<<30))
	require.False(t, bare.Matches("S", "", "pci-0000:00:04.0", 8<<30), "what a disk does not have equals nothing")
}

func FuzzDiskRule(f *testing.F) {
	f.Add([]byte(`{"min_size":"40GB","medium":"ssd","prefer":"smallest"}`))
	f.Add([]byte(`{"model":"[a-z]*\\","path":"pci"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var rule DiskRule
		if json.Unmarshal(data, &rule) != nil {
			return
		}
		require.NoError(t, rule.Validate())
		disks := rackDisks("ssd480", "ssd480b", "hdd8t", "nvme", "volume", "vda", "stick", "locked", "empty", "sick")
		d, err := rule.Choose(disks)
		require.True(t, (d == nil) != (err == nil))
		if err == nil {
			require.False(t, *d.ReadOnly)
			require.Positive(t, d.Bytes)
			only, err := rule.Choose([]Disk{*d})
			require.NoError(t, err, "what is chosen of many is chosen alone")
			require.Equal(t, d.Name, only.Name)
		} else {
			require.NotEmpty(t, err.Error())
		}
	})
}
