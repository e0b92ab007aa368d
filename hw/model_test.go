package hw

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"
)

// randomMachine makes facts as a server may have them: several sorts of each part, equal ones, some of which a field is
// unknown, boards that name slots well, badly or not at all.
func randomMachine(r *rand.Rand) *Facts {
	pick := func(words ...string) string { return words[r.IntN(len(words))] }
	chance := func(percent int) bool { return r.IntN(100) < percent }
	maybe := func() *bool {
		b := chance(50)
		return &b
	}
	f := &Facts{Version: 1,
		System: System{Vendor: pick("Dell Inc.", "HPE"), Product: pick("R740", "DL360"), Version: pick("", "1.10"),
			SKU: pick("", "0A1"), Serial: fmt.Sprint("SN", r.IntN(1e6))},
		Board: Board{Vendor: "Dell Inc.", Product: pick("06WXJT", "00123")},
		BIOS:  BIOS{Vendor: "Dell Inc.", Version: pick("2.11.2", "U30"), Date: "04/21/2021", UEFI: maybe()},
		BMC:   BMC{Present: maybe(), Firmware: pick("6.10", "1.0")},
	}
	if chance(20) {
		f.Unknown = append(f.Unknown, Unknown{"chassis", "the firmware's tables have no structure of type 3"})
	} else {
		f.Chassis = Chassis{Vendor: "Dell Inc.", Type: pick("Rack Mount Chassis", "Blade")}
	}
	lose := func(unknown *[]Unknown, name string) bool {
		if chance(85) {
			return false
		}
		*unknown = append(*unknown, Unknown{name, "the firmware does not tell"})
		return true
	}

	for i := range 1 + r.IntN(4) {
		n, micro := 7, "0x5003604"
		c := CPU{Vendor: "GenuineIntel", Model: pick("Gold 6244", "Gold 6244", "Gold 6250"), Stepping: &n,
			Microcode: micro, Cores: 8, Threads: 16, Serial: fmt.Sprint("C", i)}
		if !lose(&c.Unknown, "socket") {
			c.Socket = fmt.Sprint("CPU", i+1)
		}
		f.CPUs = append(f.CPUs, c)
	}
	f.CPUs = append(f.CPUs, CPU{Socket: "CPU9", Empty: true})

	f.Memory.ErrorCorrection = pick("Multi-bit ECC", "None")
	if chance(50) {
		n := int64(0)
		f.Memory.CorrectedErrors, f.Memory.UncorrectedErrors = &n, &n
	}
	naming := r.IntN(4)
	for i := range 2 + r.IntN(24) {
		d := DIMM{Slot: fmt.Sprintf("A%d", i+1), Bank: fmt.Sprint("Bank ", i)}
		switch naming {
		case 0: // only with the bank unique
			d.Slot, d.Bank = fmt.Sprint("DIMM ", i%2), fmt.Sprint("Bank ", i/2)
		case 1: // not unique at all
			d.Slot, d.Bank = "DIMM", ""
		}
		if chance(20) {
			d.Empty = true
			f.Memory.DIMMs = append(f.Memory.DIMMs, d)
			continue
		}
		d.Bytes, d.Type, d.Manufacturer = 32<<30, "DDR4", pick("Samsung", "Samsung", "Hynix")
		d.RatedMTs, d.ConfiguredMTs, d.Rank, d.ECC = 3200, 2933+r.IntN(2), 2, maybe()
		d.Serial = fmt.Sprintf("D%03d", i)
		if !lose(&d.Unknown, "part_number") {
			d.PartNumber = pick("M393A4K40DB3-CWE", "M393A4K40DB3-CWE", "HMA84GR7")
		}
		f.Memory.DIMMs = append(f.Memory.DIMMs, d)
	}

	kinds := 1 + r.IntN(3)
	for i := range r.IntN(16) {
		k := r.IntN(kinds)
		d := Disk{Name: fmt.Sprint("sd", i), Kind: PhysicalDisk, Bus: BusSAS, Medium: []Medium{HDD, SSD, SSD}[k],
			Vendor: "SEAGATE", Model: fmt.Sprint("ST", k), Firmware: pick("GXA7", "GXA7", "GXA5"),
			Serial: fmt.Sprintf("S%03d", i), Path: fmt.Sprintf("pci-0000:18:00.0-scsi-0:0:%d:0", i),
			Bytes: []int64{480103981056, 960197124096, 8001563222016}[k], LogicalSector: 512, Removable: new(bool)}
		if chance(5) {
			d.Kind = RAIDVolume
		}
		if lose(&d.Unknown, "medium") {
			d.Medium = MediumUnknown
		}
		if chance(80) {
			n, wear, yes := int64(r.IntN(3)/2), r.IntN(90), true
			d.Health = &DiskHealth{Passed: &yes, MediaErrors: &n, WearPercent: &wear}
		}
		f.Disks = append(f.Disks, d)
	}
	for i := range 1 + r.IntN(6) {
		address := fmt.Sprintf("0000:af:00.%d", i)
		n := NIC{Name: fmt.Sprint("eth", i), MAC: fmt.Sprintf("b8:59:9f:00:00:%02x", i), Driver: "mlx5_core",
			Path: "pci-" + address, PCI: address, Vendor: "15b3", Device: pick("1017", "1015"),
			SubVendor: "15b3", SubDevice: "0020", MaxSpeedMbps: 25000}
		if !lose(&n.Unknown, "firmware") {
			n.Firmware = pick("14.32.1010", "14.32.1010 (DEL0000000016)")
		}
		switch r.IntN(3) {
		case 0:
			n.LinkUp, n.SpeedMbps = new(bool), 0
			n.Unknown = append(n.Unknown, Unknown{"speed_mbps", "known only while the link is up"})
		case 1:
			yes := true
			n.LinkUp, n.SpeedMbps = &yes, []int{1000, 25000}[r.IntN(2)]
		}
		f.NICs = append(f.NICs, n)
		if chance(90) {
			f.PCI = append(f.PCI, PCIDevice{Address: address, Class: "020000", Vendor: "15b3",
				Slot: pick("", "PCIe Slot 3"), Link: &PCILink{Speed: 8, MaxSpeed: 8, Width: 4 + 4*r.IntN(2), MaxWidth: 8}})
		}
	}
	for i := range r.IntN(4) {
		c := PCIDevice{Address: fmt.Sprintf("0000:%02x:00.0", 0x18+i), Class: "010700", Vendor: "1000",
			Device: pick("0016", "00af"), Revision: "01", Driver: "mpt3sas", Firmware: pick("", "24.16.0"),
			Link: &PCILink{Speed: 8, MaxSpeed: 8, Width: 8, MaxWidth: 8}}
		if chance(50) {
			c.Slot = fmt.Sprint("Slot ", i/2)
		}
		f.Controllers = append(f.Controllers, c)
	}
	f.PCI = append(f.PCI, f.Controllers...)
	for i := range r.IntN(5) {
		f.PCI = append(f.PCI, PCIDevice{Address: fmt.Sprintf("0000:%02x:00.0", 0x80+i), Class: "030200", Vendor: "10de",
			Device: "20b7", Link: &PCILink{Speed: 2.5, MaxSpeed: 16, Width: 16, MaxWidth: 16}})
	}
	for i := range r.IntN(3) {
		yes := true
		f.PSUs = append(f.PSUs, PSU{Slot: fmt.Sprint("PSU", i+1), Manufacturer: "DELL", Model: "PWR 750W",
			MaxWatts: 750, Status: pick("OK", "OK", "Non-critical"), Plugged: &yes})
	}
	return f
}

// machines are random ones, and those of the golden files.
func machines(t testing.TB, check func(r *rand.Rand, f *Facts)) {
	files, err := filepath.Glob("testdata/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for i := range 60 {
		r := rand.New(rand.NewPCG(3, uint64(i)))
		check(r, randomMachine(r))
	}
	for i, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		f, err := Decode(data)
		require.NoError(t, err)
		check(rand.New(rand.NewPCG(4, uint64(i))), f)
	}
}

// copied is as deep as the tests change it.
func copied(f *Facts) *Facts {
	c := *f
	c.CPUs, c.Memory.DIMMs, c.Disks = slices.Clone(f.CPUs), slices.Clone(f.Memory.DIMMs), slices.Clone(f.Disks)
	c.NICs, c.PSUs = slices.Clone(f.NICs), slices.Clone(f.PSUs)
	c.Controllers, c.PCI = slices.Clone(f.Controllers), slices.Clone(f.PCI)
	for i := range c.Disks {
		if h := c.Disks[i].Health; h != nil {
			deep := *h
			c.Disks[i].Health = &deep
		}
	}
	for _, list := range [][]PCIDevice{c.Controllers, c.PCI} {
		for i := range list {
			if l := list[i].Link; l != nil {
				deep := *l
				list[i].Link = &deep
			}
		}
	}
	for i := range c.NICs {
		c.NICs[i].Unknown = slices.Clip(c.NICs[i].Unknown)
	}
	return &c
}

func shuffled(r *rand.Rand, f *Facts) *Facts {
	f = copied(f)
	mix := func(n int, swap func(i, j int)) { r.Shuffle(n, swap) }
	mix(len(f.CPUs), func(i, j int) { f.CPUs[i], f.CPUs[j] = f.CPUs[j], f.CPUs[i] })
	d := f.Memory.DIMMs
	mix(len(d), func(i, j int) { d[i], d[j] = d[j], d[i] })
	mix(len(f.Disks), func(i, j int) { f.Disks[i], f.Disks[j] = f.Disks[j], f.Disks[i] })
	mix(len(f.NICs), func(i, j int) { f.NICs[i], f.NICs[j] = f.NICs[j], f.NICs[i] })
	mix(len(f.PCI), func(i, j int) { f.PCI[i], f.PCI[j] = f.PCI[j], f.PCI[i] })
	c := f.Controllers
	mix(len(c), func(i, j int) { c[i], c[j] = c[j], c[i] })
	mix(len(f.PSUs), func(i, j int) { f.PSUs[i], f.PSUs[j] = f.PSUs[j], f.PSUs[i] })
	return f
}

func throughJSON(t testing.TB, m *Model) *Model {
	data, err := json.Marshal(m)
	require.NoError(t, err)
	back := new(Model)
	require.NoError(t, json.Unmarshal(data, back), "%s", data)
	return back
}

// throughYAML reads a model back without knowing its types, so that whatever reads YAML understands it alike.
func throughYAML(t testing.TB, m *Model) *Model {
	data, err := yaml.Marshal(m)
	require.NoError(t, err)
	var plain any
	require.NoError(t, yaml.Unmarshal(data, &plain), "%s", data)
	asJSON, err := json.Marshal(plain)
	require.NoError(t, err)
	back := new(Model)
	require.NoError(t, json.Unmarshal(asJSON, back), "%s", data)
	return back
}

func TestMachineEqualsItsModel(t *testing.T) {
	machines(t, func(r *rand.Rand, f *Facts) {
		m := Generate(f)
		require.NoError(t, m.Validate())
		require.Empty(t, m.Compare(f))
		require.Empty(t, m.Compare(shuffled(r, f)))
	})
}

func TestModelIsTheSameForAnyOrderOfParts(t *testing.T) {
	machines(t, func(r *rand.Rand, f *Facts) {
		require.Equal(t, Generate(f), Generate(shuffled(r, f)))
	})
}

func TestModelsKeepTheirMeaningAsJSONAndYAML(t *testing.T) {
	machines(t, func(_ *rand.Rand, f *Facts) {
		m := Generate(f)
		require.Equal(t, m, throughJSON(t, m))
		require.Equal(t, m, throughYAML(t, m))
	})
}

func TestModelHasNoIdentities(t *testing.T) {
	machines(t, func(_ *rand.Rand, f *Facts) {
		data, err := yaml.Marshal(Generate(f))
		require.NoError(t, err)
		var identities []string
		for _, d := range f.Disks {
			identities = append(identities, d.Serial, d.WWN, d.Path)
		}
		for _, n := range f.NICs {
			identities = append(identities, n.MAC, n.CurrentMAC, n.PCI)
		}
		identities = append(identities, f.System.Serial, f.System.UUID, f.BMC.Device, f.Board.Serial)
		for _, id := range identities {
			if len(id) > 5 {
				require.NotContains(t, string(data), id)
			}
		}
	})
}

// one less, by list; false where there is none.
var removals = map[string]func(r *rand.Rand, f *Facts) bool{
	"cpus": func(r *rand.Rand, f *Facts) bool {
		return removeOne(r, &f.CPUs, func(c *CPU) bool { return !c.Empty })
	},
	"memory/dimms": func(r *rand.Rand, f *Facts) bool {
		var filled []int
		for i, d := range f.Memory.DIMMs {
			if !d.Empty {
				filled = append(filled, i)
			}
		}
		if len(filled) == 0 {
			return false
		}
		d := &f.Memory.DIMMs[filled[r.IntN(len(filled))]]
		*d = DIMM{Slot: d.Slot, Bank: d.Bank, Empty: true}
		return true
	},
	"disks": func(r *rand.Rand, f *Facts) bool {
		return removeOne(r, &f.Disks, func(d *Disk) bool { return d.Kind != RAIDVolume })
	},
	"nics": func(r *rand.Rand, f *Facts) bool {
		return removeOne(r, &f.NICs, func(*NIC) bool { return true })
	},
	"controllers": func(r *rand.Rand, f *Facts) bool {
		return removeOne(r, &f.Controllers, func(*PCIDevice) bool { return true })
	},
	"gpus": func(r *rand.Rand, f *Facts) bool {
		return removeOne(r, &f.PCI, func(d *PCIDevice) bool { return strings.HasPrefix(d.Class, "03") })
	},
	"psus": func(r *rand.Rand, f *Facts) bool {
		return removeOne(r, &f.PSUs, func(p *PSU) bool { return !p.Empty })
	},
}

func removeOne[P any](r *rand.Rand, list *[]P, may func(*P) bool) bool {
	var all []int
	for i := range *list {
		if may(&(*list)[i]) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return false
	}
	i := all[r.IntN(len(all))]
	*list = slices.Delete(*list, i, i+1)
	return true
}

func TestRemovedPartIsTheOnlyDifference(t *testing.T) {
	for section, remove := range removals {
		seen := 0
		machines(t, func(r *rand.Rand, f *Facts) {
			m := Generate(f)
			less := copied(f)
			if !remove(r, less) {
				return
			}
			seen++
			got := m.Compare(shuffled(r, less))
			require.Len(t, got, 1, section)
			require.True(t, strings.HasPrefix(got[0].Path, section), got[0].Path)
			require.True(t, strings.HasPrefix(got[0].Got, "no "), got[0].Text)
			require.Equal(t, Fail, got[0].Severity)
		})
		require.Greater(t, seen, 15, section)
	}
}

func TestAddedPartIsTheOnlyDifference(t *testing.T) {
	additions := map[string]func(r *rand.Rand, f *Facts) bool{
		"cpus": func(r *rand.Rand, f *Facts) bool {
			return addOne(r, &f.CPUs, func(c *CPU) { c.Socket = "CPU77" },
				func(c *CPU) bool { return !c.Empty && c.Socket != "" })
		},
		"memory/dimms": func(r *rand.Rand, f *Facts) bool {
			return addOne(r, &f.Memory.DIMMs, func(d *DIMM) { d.Slot = "B77" }, func(d *DIMM) bool { return !d.Empty })
		},
		"disks": func(r *rand.Rand, f *Facts) bool {
			return addOne(r, &f.Disks, func(d *Disk) { d.Serial = "new" },
				func(d *Disk) bool { return d.Kind != RAIDVolume })
		},
		"nics": func(r *rand.Rand, f *Facts) bool {
			return addOne(r, &f.NICs, func(*NIC) {}, func(*NIC) bool { return true })
		},
		"controllers": func(r *rand.Rand, f *Facts) bool {
			return addOne(r, &f.Controllers, func(*PCIDevice) {}, func(*PCIDevice) bool { return true })
		},
		"gpus": func(r *rand.Rand, f *Facts) bool {
			return addOne(r, &f.PCI, func(*PCIDevice) {}, func(d *PCIDevice) bool {
				return strings.HasPrefix(d.Class, "03")
			})
		},
		"psus": func(r *rand.Rand, f *Facts) bool {
			return addOne(r, &f.PSUs, func(*PSU) {}, func(*PSU) bool { return true })
		},
	}
	for section, add := range additions {
		seen := 0
		machines(t, func(r *rand.Rand, f *Facts) {
			m := Generate(f)
			more := copied(f)
			if !add(r, more) {
				return
			}
			seen++
			got := m.Compare(shuffled(r, more))
			require.Len(t, got, 1, section)
			require.True(t, strings.HasPrefix(got[0].Path, section), got[0].Path)
			require.True(t, strings.HasPrefix(got[0].Want, "no "), got[0].Text)
			require.Equal(t, Fail, got[0].Severity)
		})
		require.Greater(t, seen, 15, section)
	}
}

func addOne[P any](r *rand.Rand, list *[]P, edit func(*P), may func(*P) bool) bool {
	var all []int
	for i := range *list {
		if may(&(*list)[i]) {
			all = append(all, i)
		}
	}
	if len(all) == 0 {
		return false
	}
	p := (*list)[all[r.IntN(len(all))]]
	edit(&p)
	*list = slices.Insert(*list, r.IntN(len(*list)+1), p)
	return true
}

// A change of one field; it returns false where there is nothing to change.
type change struct {
	path string // what the difference's path ends in
	do   func(r *rand.Rand, f *Facts) bool
}

func changeOf[P any](path string, list func(f *Facts) []P, may func(*P) bool, do func(*P)) change {
	return change{path, func(r *rand.Rand, f *Facts) bool {
		var all []int
		parts := list(f)
		for i := range parts {
			if may(&parts[i]) {
				all = append(all, i)
			}
		}
		if len(all) == 0 {
			return false
		}
		do(&parts[all[r.IntN(len(all))]])
		return true
	}}
}

func changes() []change {
	cpus := func(f *Facts) []CPU { return f.CPUs }
	cpu := func(c *CPU) bool { return !c.Empty }
	dimms := func(f *Facts) []DIMM { return f.Memory.DIMMs }
	dimm := func(d *DIMM) bool { return !d.Empty }
	disks := func(f *Facts) []Disk { return f.Disks }
	disk := func(d *Disk) bool { return d.Kind != RAIDVolume }
	nics := func(f *Facts) []NIC { return f.NICs }
	nic := func(*NIC) bool { return true }
	pci := func(f *Facts) []PCIDevice { return f.PCI }
	gpu := func(d *PCIDevice) bool { return strings.HasPrefix(d.Class, "03") }
	controllers := func(f *Facts) []PCIDevice { return f.Controllers }
	any := func(*PCIDevice) bool { return true }
	psus := func(f *Facts) []PSU { return f.PSUs }
	psu := func(*PSU) bool { return true }
	whole := func(f *Facts) []*Facts { return []*Facts{f} }
	of := func(path string, may func(f *Facts) bool, do func(f *Facts)) change {
		return changeOf(path, whole, func(f **Facts) bool { return may(*f) }, func(f **Facts) { do(*f) })
	}
	always := func(*Facts) bool { return true }
	n := 77
	flip := func(b **bool) {
		v := !**b
		*b = &v
	}
	errors := int64(1000)
	return []change{
		of("system/vendor", always, func(f *Facts) { f.System.Vendor = "Other" }),
		of("system/product", always, func(f *Facts) { f.System.Product = "" }),
		of("system/version", always, func(f *Facts) { f.System.Version = "other" }),
		of("system/sku", always, func(f *Facts) { f.System.SKU = "other" }),
		of("system/family", always, func(f *Facts) { f.System.Family = "other" }),
		of("board/product", func(f *Facts) bool { return f.Board.Product != "" }, func(f *Facts) { f.Board.Product = "P" }),
		of("bios/version", always, func(f *Facts) { f.BIOS.Version = "9.9" }),
		of("bios/date", always, func(f *Facts) { f.BIOS.Date = "01/01/1999" }),
		of("bios/uefi", func(f *Facts) bool { return f.BIOS.UEFI != nil }, func(f *Facts) { flip(&f.BIOS.UEFI) }),
		of("chassis/type", func(f *Facts) bool { return f.Chassis.Type != "" }, func(f *Facts) { f.Chassis.Type = "T" }),
		of("memory/error_correction", always, func(f *Facts) { f.Memory.ErrorCorrection = "CRC" }),
		of("memory/corrected_errors", func(f *Facts) bool { return f.Memory.CorrectedErrors != nil },
			func(f *Facts) { f.Memory.CorrectedErrors = &errors }),
		of("bmc/firmware", func(f *Facts) bool { return f.BMC.Firmware != "" }, func(f *Facts) { f.BMC.Firmware = "F" }),
		of("bmc/present", func(f *Facts) bool { return f.BMC.Present != nil }, func(f *Facts) { flip(&f.BMC.Present) }),
		changeOf("/model", cpus, cpu, func(c *CPU) { c.Model = "Other" }),
		changeOf("/stepping", cpus, cpu, func(c *CPU) { c.Stepping = &n }),
		changeOf("/microcode", cpus, cpu, func(c *CPU) { c.Microcode = "0x1" }),
		changeOf("/cores", cpus, cpu, func(c *CPU) { c.Cores = n }),
		changeOf("/threads", cpus, cpu, func(c *CPU) { c.Threads = n }),
		changeOf("/bytes", dimms, dimm, func(d *DIMM) { d.Bytes = 16<<30 + 1 }),
		changeOf("/type", dimms, dimm, func(d *DIMM) { d.Type = "DDR9" }),
		changeOf("/manufacturer", dimms, dimm, func(d *DIMM) { d.Manufacturer = "Other" }),
		changeOf("/part_number", dimms, func(d *DIMM) bool { return d.PartNumber != "" },
			func(d *DIMM) { d.PartNumber = "Other" }),
		changeOf("/rank", dimms, func(d *DIMM) bool { return d.Rank != 0 }, func(d *DIMM) { d.Rank = n }),
		changeOf("/ecc", dimms, func(d *DIMM) bool { return d.ECC != nil && d.Slot == "A2" },
			func(d *DIMM) { flip(&d.ECC) }),
		changeOf("/configured_mts", dimms, func(d *DIMM) bool { return d.ConfiguredMTs != 0 },
			func(d *DIMM) { d.ConfiguredMTs = n }),
		changeOf("/corrected_errors", dimms, dimm, func(d *DIMM) { d.CorrectedErrors = &errors }),
		changeOf("/bus", disks, disk, func(d *Disk) { d.Bus = BusMMC }),
		changeOf("/medium", disks, func(d *Disk) bool { return disk(d) && d.Medium == SSD },
			func(d *Disk) { d.Medium, d.Unknown = MediumUnknown, []Unknown{{"medium", "it does not tell"}} }),
		changeOf("/model", disks, disk, func(d *Disk) { d.Model = "Other" }),
		changeOf("/vendor", disks, disk, func(d *Disk) { d.Vendor = "Other" }),
		changeOf("/firmware", disks, disk, func(d *Disk) { d.Firmware = "Other" }),
		changeOf("/bytes", disks, disk, func(d *Disk) { d.Bytes += 512 }),
		changeOf("/logical_sector", disks, disk, func(d *Disk) { d.LogicalSector = n }),
		changeOf("/removable", disks, func(d *Disk) bool { return disk(d) && d.Removable != nil && !*d.Removable },
			func(d *Disk) { flip(&d.Removable) }),
		changeOf("/health/passed", disks, func(d *Disk) bool { return disk(d) && d.Health != nil },
			func(d *Disk) { flip(&d.Health.Passed) }),
		changeOf("/health/media_errors", disks, func(d *Disk) bool { return disk(d) && d.Health != nil },
			func(d *Disk) { d.Health.MediaErrors = &errors }),
		changeOf("/health/pending", disks, func(d *Disk) bool { return disk(d) && d.Health != nil },
			func(d *Disk) { d.Health.Pending = &errors }),
		changeOf("/health/wear_percent", disks, func(d *Disk) bool { return disk(d) && d.Health != nil },
			func(d *Disk) { v := 101; d.Health.WearPercent = &v }),
		changeOf("/device", nics, nic, func(n *NIC) { n.Device = "ffff" }),
		changeOf("/firmware", nics, func(n *NIC) bool { return n.Firmware != "" }, func(n *NIC) { n.Firmware = "F" }),
		changeOf("/link_up", nics, func(n *NIC) bool { return n.LinkUp != nil && *n.LinkUp },
			func(n *NIC) {
				n.LinkUp, n.SpeedMbps, n.Unknown = new(bool), 0, append(n.Unknown, Unknown{"speed_mbps", "no link"})
			}),
		changeOf("/speed_mbps", nics, func(n *NIC) bool { return n.SpeedMbps != 0 }, func(n *NIC) { n.SpeedMbps = 100 }),
		changeOf("/max_speed_mbps", nics, func(n *NIC) bool { return n.MaxSpeedMbps != 0 },
			func(n *NIC) { n.MaxSpeedMbps = 40000 }),
		changeOf("/device", controllers, func(d *PCIDevice) bool { return d.Device != "" },
			func(d *PCIDevice) { d.Device = "ffff" }),
		changeOf("/firmware", controllers, func(d *PCIDevice) bool { return d.Firmware != "" },
			func(d *PCIDevice) { d.Firmware = "F" }),
		changeOf("/revision", controllers, any, func(d *PCIDevice) { d.Revision = "ff" }),
		changeOf("/link/width", controllers, func(d *PCIDevice) bool { return d.Link != nil && d.Link.Width > 0 },
			func(d *PCIDevice) { d.Link.Width = 3 }),
		changeOf("/link/speed_gts", controllers, func(d *PCIDevice) bool { return d.Link != nil && d.Link.Speed > 0 },
			func(d *PCIDevice) { d.Link.Speed = 5 }),
		changeOf("/device", pci, gpu, func(d *PCIDevice) { d.Device = "ffff" }),
		changeOf("/link/width", pci, func(d *PCIDevice) bool { return gpu(d) && d.Link != nil },
			func(d *PCIDevice) { d.Link.Width = 3 }),
		changeOf("/max_watts", psus, psu, func(p *PSU) { p.MaxWatts = n }),
		changeOf("/model", psus, psu, func(p *PSU) { p.Model = "Other" }),
		changeOf("/status", psus, psu, func(p *PSU) { p.Status = "Critical" }),
		changeOf("/plugged", psus, psu, func(p *PSU) { p.Plugged = new(bool) }),
	}
}

func TestChangedFieldIsTheOnlyDifference(t *testing.T) {
	all := changes()
	seen := make([]int, len(all))
	machines(t, func(r *rand.Rand, f *Facts) {
		c := Generate(f).Comparer()
		for i, change := range all {
			changed := copied(f)
			if !change.do(r, changed) {
				continue
			}
			seen[i]++
			got := c.Compare(changed)
			require.Len(t, got, 1, "%s: %v", change.path, got)
			require.True(t, strings.HasSuffix(got[0].Path, change.path), "%s: %s", change.path, got[0].Path)
			require.NotEqual(t, got[0].Want, got[0].Got)
			require.NotEmpty(t, got[0].Want)
			require.NotEmpty(t, got[0].Got)
			require.Equal(t, got, c.Compare(shuffled(r, changed)))
		}
	})
	for i, change := range all {
		require.Greater(t, seen[i], 5, change.path)
	}
}

func TestOrderOfPartsNeverMatters(t *testing.T) {
	all := changes()
	machines(t, func(r *rand.Rand, f *Facts) {
		c := Generate(f).Comparer()
		other := copied(f)
		done := 0
		for range 12 {
			if all[r.IntN(len(all))].do(r, other) {
				done++
			}
		}
		for _, remove := range removals {
			if r.IntN(3) == 0 && remove(r, other) {
				done++
			}
		}
		got := c.Compare(other)
		require.LessOrEqual(t, len(got), done, "there is an assignment with fewer differences")
		for range 3 {
			require.Equal(t, got, c.Compare(shuffled(r, other)))
		}
	})
}

func TestUnknownEqualsNothing(t *testing.T) {
	yes := true
	f := &Facts{Disks: []Disk{{Kind: PhysicalDisk, Path: "pci-1", Serial: "S", Firmware: "A", Medium: SSD,
		Removable: &yes}}}
	m := Generate(f)
	require.Empty(t, m.Compare(f))
	d := &f.Disks[0]
	d.Firmware, d.Medium, d.Removable = "", MediumUnknown, nil
	d.Unknown = []Unknown{{"firmware", "the controller\nhides it"}, {"medium", "no rotation rate"}}
	require.Equal(t, []string{
		"disk pci-1 (serial S): medium: want ssd, got unknown (no rotation rate)",
		"disk pci-1 (serial S): firmware: want A, got unknown (the controller\uFFFDhides it)",
		"disk pci-1 (serial S): removable: want yes, got unknown (nothing tells)",
	}, texts(m.Compare(f)))
	for _, anything := range []*WantText{{Regex: ".*"}, {Glob: "*"}, {AnyOf: []Text{"", "A"}}, Literal(""),
		{AtLeast: "0"}} {
		m := &Model{Disks: []DiskModel{{Firmware: anything}}}
		require.Len(t, m.Compare(f), 1)
	}
	m = &Model{Disks: []DiskModel{{Firmware: &WantText{Ignore: true}}}}
	require.Empty(t, m.Compare(f))
}

func texts(differences []Difference) []string {
	var all []string
	for _, d := range differences {
		all = append(all, d.String())
	}
	return all
}
