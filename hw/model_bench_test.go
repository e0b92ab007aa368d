package hw

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

// rackServer is a common machine: 2 CPUs, 24 DIMMs, 12 disks, 4 ports, 2 power supplies.
func rackServer() *Facts {
	yes, no, uefi, stepping, zero := true, false, true, 7, int64(0)
	f := &Facts{Version: 1, System: System{Vendor: "Dell Inc.", Product: "PowerEdge R740", SKU: "NotProvided"},
		Board: Board{Vendor: "Dell Inc.", Product: "06WXJT", Version: "A04"},
		BIOS:  BIOS{Vendor: "Dell Inc.", Version: "2.11.2", Date: "04/21/2021", UEFI: &uefi},
		BMC:   BMC{Present: &yes, Firmware: "6.10", IPMI: "2.0"}}
	f.Memory.ErrorCorrection, f.Memory.CorrectedErrors = "Multi-bit ECC", &zero
	for i := range 2 {
		f.CPUs = append(f.CPUs, CPU{Socket: fmt.Sprint("CPU", i+1), Vendor: "GenuineIntel", Model: "Gold 6244",
			Stepping: &stepping, Microcode: "0x5003604", Cores: 8, Threads: 16})
		f.PSUs = append(f.PSUs, PSU{Slot: fmt.Sprint("PSU", i+1), Manufacturer: "DELL", Model: "PWR 750W",
			MaxWatts: 750, Status: "OK", Plugged: &yes})
	}
	for i := range 24 {
		f.Memory.DIMMs = append(f.Memory.DIMMs, DIMM{Slot: fmt.Sprintf("%c%d", 'A'+i/12, i%12+1), Bytes: 32 << 30,
			Type: "DDR4", FormFactor: "DIMM", RatedMTs: 3200, ConfiguredMTs: 2933, Manufacturer: "Samsung",
			PartNumber: "M393A4K40DB3-CWE", Rank: 2, ECC: &yes, Serial: fmt.Sprint("D", i)})
	}
	for i := range 12 {
		wear := i % 3
		f.Disks = append(f.Disks, Disk{Name: fmt.Sprint("sd", i), Kind: PhysicalDisk, Bus: BusATA, Medium: SSD,
			Vendor: "", Model: "SAMSUNG MZ7LH960HAJR0D3", Firmware: "HXT7404Q", Serial: fmt.Sprint("S", i),
			Path: fmt.Sprintf("pci-0000:18:00.0-scsi-0:0:%d:0", i), Bytes: 960197124096, LogicalSector: 512,
			PhysicalSector: 4096, Removable: &no, ReadOnly: &no,
			Health: &DiskHealth{Passed: &yes, WearPercent: &wear, MediaErrors: &zero, Reallocated: &zero}})
	}
	for i := range 100 {
		f.PCI = append(f.PCI, PCIDevice{Address: fmt.Sprintf("0000:%02x:00.0", i), Class: "060400"})
	}
	for i := range 4 {
		address := fmt.Sprintf("0000:af:00.%d", i)
		f.PCI = append(f.PCI, PCIDevice{Address: address, Class: "020000", Slot: "PCIe Slot 3",
			Link: &PCILink{Speed: 8, MaxSpeed: 8, Width: 8, MaxWidth: 8}})
		f.NICs = append(f.NICs, NIC{Name: fmt.Sprint("eth", i), MAC: fmt.Sprint("m", i), PCI: address, Vendor: "15b3",
			Device: "1017", SubVendor: "15b3", SubDevice: "0020", Firmware: "14.32.1010", LinkUp: &yes,
			SpeedMbps: 25000, MaxSpeedMbps: 25000})
	}
	f.Controllers = []PCIDevice{{Address: "0000:18:00.0", Class: "010700", Vendor: "1000", Device: "00af",
		SubVendor: "1028", SubDevice: "1f53", Link: &PCILink{Speed: 8, MaxSpeed: 8, Width: 8, MaxWidth: 8}}}
	return f
}

// BenchmarkCompare is one machine of ten thousand: a whole run must stay below 100 µs for a second in all.
func BenchmarkCompare(b *testing.B) {
	f := rackServer()
	m := Generate(f)
	for _, c := range []struct {
		name   string
		change func(f *Facts)
		want   int
	}{
		{"equal", func(*Facts) {}, 0},
		{"one_DIMM_missing", func(f *Facts) { f.Memory.DIMMs[5] = DIMM{Slot: "A6", Empty: true} }, 1},
		{"all_disks_other_firmware", func(f *Facts) {
			for i := range f.Disks {
				f.Disks[i].Firmware = "HXT7504Q"
			}
		}, 12},
	} {
		machine := copied(f)
		c.change(machine)
		b.Run(c.name, func(b *testing.B) {
			comparer := m.Comparer()
			require.Len(b, comparer.Compare(machine), c.want)
			b.ReportAllocs()
			for b.Loop() {
				comparer.Compare(machine)
			}
		})
	}
	b.Run("with_a_new_Comparer", func(b *testing.B) {
		for b.Loop() {
			m.Compare(f)
		}
	})
}

// BenchmarkCompareHostile is the worst that a machine can do: as many different parts as are looked at, against a
// model with many entries.
func BenchmarkCompareHostile(b *testing.B) {
	m := &Model{}
	for i := range 200 {
		m.Disks = append(m.Disks, DiskModel{Entry: Entry{Count: Exactly(5)}, Model: Literal(fmt.Sprint("M", i)),
			Firmware: Literal(fmt.Sprint("F", i%7)), Vendor: Literal(fmt.Sprint("V", i%11))})
	}
	f := &Facts{}
	for i := range MaxParts {
		f.Disks = append(f.Disks, Disk{Kind: PhysicalDisk, Model: fmt.Sprint("M", i%300), Firmware: fmt.Sprint("F", i%5),
			Vendor: fmt.Sprint("V", i%13), Serial: fmt.Sprint(i)})
	}
	c := m.Comparer()
	for b.Loop() {
		c.Compare(f)
	}
}
