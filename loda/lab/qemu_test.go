package lab

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/u-root/u-root/pkg/smbios"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with a file under testdata. Look at the difference before you write it anew with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run with -update if this is meant")
}

// testHost names the host's side of a machine's command line.
func testHost(m MachineSpec) qemuHost {
	h := qemuHost{
		accel: "tcg", ovmfCode: "/ovmf/code.fd", nvram: "/rack/nvram.fd", smbios: []string{"/rack/smbios0.bin"},
		order: m.BootOrder, consoleLog: "/rack/console.log",
		consoleSocket: "/run/console", monitorSocket: "/run/qmp", ownMonitorFile: 3,
	}
	for i := range m.Disks {
		h.disks = append(h.disks, fmt.Sprintf("/rack/disk%d.raw", i))
	}
	for i := range m.NICs {
		h.taps = append(h.taps, fmt.Sprintf("m0n%d", i))
	}
	return h
}

func TestQEMUCommandLines(t *testing.T) {
	everyBus := MachineSpec{Firmware: UEFI, Boot: BootIPXEROM, Vendor: "Dell, Inc.", BIOSVersion: "1.2", SKU: "S",
		BMC: true, CPUs: 4, Disks: []Disk{
			{Bus: BusVirtio}, {Bus: BusAHCI, Medium: HDD, Model: "A, B", Firmware: "F1"}, {Bus: BusAHCI}, {Bus: BusNVMe},
			{Bus: BusNVMe}, {Bus: BusSCSI, Model: "M"}, {Bus: BusSCSI}, {Bus: BusMegaSAS}, {Bus: BusMPTSAS},
		},
		NICs:     []NIC{{Model: E1000}, {Model: E1000E, NoBoot: true}, {}},
		QEMUArgs: []string{"-device", "edu"}}
	for name, m := range map[string]MachineSpec{
		"bios":        {},
		"uefi-pxe":    {Firmware: UEFI},
		"uefi-http":   {Firmware: UEFI, Boot: BootHTTP},
		"uefi-secure": {Firmware: UEFI, SecureBoot: true},
		"uefi-nvram":  {Firmware: UEFI, BootOrder: OrderNVRAM},
		"disk-first":  {BootOrder: OrderDisk},
		"direct":      {Direct: &Direct{Kernel: "/k,1", Initrd: "/i", Cmdline: "console=ttyS0 a,b"}, Disks: []Disk{}},
		"every-thing": everyBus,
	} {
		t.Run(name, func(t *testing.T) {
			spec := Spec{Machines: []MachineSpec{m}}.Complete()
			require.NoError(t, spec.Validate())
			m := spec.Machines[0]
			var lines []string
			for _, arg := range m.qemuArgs(testHost(m)) {
				if strings.HasPrefix(arg, "-") {
					lines = append(lines, arg)
				} else {
					lines[len(lines)-1] += " " + arg
				}
			}
			golden(t, "qemu-"+name+".txt", strings.Join(lines, "\n")+"\n")
		})
	}
}

func TestAPulledDiskLeavesTheOthersWhereTheyAre(t *testing.T) {
	spec := Spec{Machines: []MachineSpec{{Disks: []Disk{{}, {}, {Bus: BusMegaSAS}, {Bus: BusMegaSAS}, {Bus: BusNVMe},
		{Bus: BusAHCI}, {Bus: BusAHCI}}}}}.Complete()
	whole := spec.Machines[0]
	all := strings.Join(whole.qemuArgs(testHost(whole)), "\n")
	require.Contains(t, all, "virtio-blk-pci,id=bay1,drive=disk1,bootindex=3,serial=M1-D1,addr=0x4\n")
	for _, i := range []int{0, 2, 5} {
		spec.Machines[0].Disks[i].Pulled = true
	}
	spec = spec.Complete()
	require.NoError(t, spec.Validate())
	m := spec.Machines[0]
	args := m.qemuArgs(testHost(m))
	line := strings.Join(args, "\n")
	for _, gone := range []string{"bay0", "disk0", "bay2", "disk2", "bay5", "disk5"} {
		require.NotContains(t, line, gone)
	}
	bootindex := regexp.MustCompile(`,bootindex=\d+`)
	for _, arg := range args {
		if strings.Contains(arg, "id=bay") {
			require.Contains(t, bootindex.ReplaceAllString(all, ""), bootindex.ReplaceAllString(arg, "")+"\n")
		}
	}
	require.Contains(t, line, "virtio-blk-pci,id=bay1,drive=disk1,bootindex=2,serial=M1-D1,addr=0x4\n")
	require.Contains(t, line, "scsi-hd,bus=megasas0.0,scsi-id=1,id=bay3")
	require.Contains(t, line, "ide-hd,bus=ide.1,id=bay6")
}

func TestAnotherAcceleratorTakesTheHostsProcessor(t *testing.T) {
	m := Default(1).Machines[0]
	h := testHost(m)
	h.accel = "kvm"
	require.Contains(t, strings.Join(m.qemuArgs(h), " "), "-accel kvm -cpu host")
}

func TestCapturesAreWrittenForEachCard(t *testing.T) {
	m := Spec{Machines: []MachineSpec{{NICs: []NIC{{}, {}}}}}.Complete().Machines[0]
	h := testHost(m)
	h.captures = []string{"/rack/nic0.pcap", "/rack/nic1.pcap"}
	line := strings.Join(m.qemuArgs(h), " ")
	require.Contains(t, line, "-object filter-dump,id=dump0,netdev=net0,file=/rack/nic0.pcap")
	require.Contains(t, line, "-object filter-dump,id=dump1,netdev=net1,file=/rack/nic1.pcap")
}

// decodeSMBIOS reads the structures as an operating system would.
func decodeSMBIOS(t *testing.T, tables [][]byte) *smbios.Info {
	t.Helper()
	var all []*smbios.Table
	for _, raw := range tables {
		table, rest, err := smbios.ParseTable(raw)
		require.NoError(t, err)
		require.Empty(t, rest)
		all = append(all, table)
	}
	return &smbios.Info{Tables: all}
}

func TestSMBIOSTellsTheDIMMsOfTheSpec(t *testing.T) {
	m := Spec{Machines: []MachineSpec{{Memory: 256 * MiB, DIMMs: []DIMM{
		{Size: 512 * MiB},
		{Slot: "P1-DIMMB1", Size: 0},
		{Slot: "P1-DIMMC1", Bank: "P1", Size: 64 * GiB, Manufacturer: "Samsung", Part: "M393A8G40AB2", Serial: "0042",
			Speed: 3200, ConfiguredSpeed: 2933, Rank: 2},
	}}}}.Complete().Machines[0]
	info := decodeSMBIOS(t, smbiosMemory(m.DIMMs))

	devices, err := info.GetMemoryDevices()
	require.NoError(t, err)
	require.Len(t, devices, 3)
	first := devices[0]
	require.Equal(t, "A1", first.DeviceLocator)
	require.Equal(t, uint64(512*MiB), first.GetSizeBytes())
	require.Equal(t, "LAB-DIMM-512MiB", first.PartNumber)
	require.Equal(t, m.DIMMs[0].Serial, first.SerialNumber)

	require.Equal(t, "P1-DIMMB1", devices[1].DeviceLocator)
	require.Zero(t, devices[1].GetSizeBytes(), "an empty slot")
	require.Equal(t, "Not Specified", devices[1].PartNumber)

	large := devices[2]
	require.Equal(t, "P1", large.BankLocator)
	require.Equal(t, uint64(64*GiB), large.GetSizeBytes(), "needs the extended size field")
	require.Equal(t, "Samsung", large.Manufacturer)
	require.Equal(t, "M393A8G40AB2", large.PartNumber)
	require.Equal(t, uint16(3200), large.Speed)
	require.Equal(t, uint16(2933), large.ConfiguredSpeed)
	require.Equal(t, uint8(2), large.Attributes&0xf)
}
