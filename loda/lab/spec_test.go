package lab_test

import (
	"bytes"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/loda/lab"
)

func parse(t *testing.T, text string) (lab.Spec, error) {
	t.Helper()
	return lab.Parse(strings.NewReader(text))
}

func TestEveryKeyOfTheDescriptionIsRead(t *testing.T) {
	spec, err := lab.Load("testdata/full.yaml")
	require.NoError(t, err)
	require.Equal(t, lab.Spec{
		Name:            "row-3",
		Subnet:          netip.MustParsePrefix("192.0.2.0/25"),
		Server:          netip.MustParseAddr("192.0.2.10"),
		AllowDuplicates: true,
		Machines: []lab.MachineSpec{{
			Name: "db1", Vendor: "Dell Inc.", Product: "PowerEdge R650", Serial: "7XK2P13", SKU: "0A6B",
			UUID: "4c4c4544-0058-4b10-8032-b7c04f503133", BIOSVersion: "1.9.2",
			Firmware: lab.UEFI, Boot: lab.BootHTTP, BootOrder: lab.OrderNVRAM,
			Direct: &lab.Direct{Kernel: "/boot/vmlinuz", Initrd: "/boot/initrd", Cmdline: "console=ttyS0"},
			CPUs:   2, Memory: 512 * lab.MiB,
			DIMMs: []lab.DIMM{
				{Slot: "A1", Bank: "NODE 1", Size: 32 * lab.GiB, Manufacturer: "Samsung", Part: "M393A4K40DB3-CWE",
					Serial: "0352A1B2", Speed: 3200, ConfiguredSpeed: 2933, Rank: 2},
				{Slot: "A2", Bank: "NODE 0"},
				{Slot: "A3", Bank: "NODE 0", Size: 16 * lab.GiB, Manufacturer: "Loda", Part: "LAB-DIMM-16GiB",
					Serial: spec.Machines[0].DIMMs[2].Serial, Speed: 3200, ConfiguredSpeed: 3200, Rank: 1},
			},
			Disks: []lab.Disk{{Bus: lab.BusAHCI, Size: 480_000_000_000, Serial: "S45PNA0M", WWN: "5002538e40a1b2c3",
				Medium: lab.HDD, Model: "SAMSUNG MZ7LH480", Firmware: "HXT7404Q", Image: "debian.qcow2"}},
			NICs: []lab.NIC{
				{Model: lab.VirtioNet, MAC: "52:54:00:aa:bb:cc"},
				{Model: lab.E1000E, MAC: "52:54:00:aa:bb:cd", NoBoot: true},
			},
			BMC: true, QEMUArgs: []string{"-device", "edu"},
		}},
	}, spec)
}

func TestWhatIsNotSaidGetsASaneDefault(t *testing.T) {
	spec, err := parse(t, "machines: [{}, {firmware: uefi, memory: 2GiB}, {disks: []}]")
	require.NoError(t, err)
	require.Equal(t, "lab", spec.Name)
	require.Equal(t, "10.77.0.0/24", spec.Subnet.String())
	require.Equal(t, "10.77.0.1", spec.Server.String())

	m := spec.Machines[0]
	require.Equal(t, "m1", m.Name)
	require.Equal(t, "LAB-LAB-M1", m.Serial)
	require.Equal(t, lab.BIOS, m.Firmware)
	require.Equal(t, lab.BootIPXEROM, m.Boot)
	require.Equal(t, lab.OrderNetwork, m.BootOrder)
	require.Equal(t, lab.GiB, m.Memory, "two DIMMs of half a GiB")
	require.Len(t, m.DIMMs, 2)
	require.Equal(t, []lab.Disk{{Bus: lab.BusVirtio, Size: 4 * lab.GiB, Serial: "M1-D0"}}, m.Disks)
	require.Len(t, m.NICs, 1)

	require.Equal(t, lab.BootPXE, spec.Machines[1].Boot)
	require.Equal(t, 2*lab.GiB, spec.Machines[1].Memory)
	require.Equal(t, lab.GiB, spec.Machines[1].DIMMs[0].Size)
	require.Empty(t, spec.Machines[2].Disks, "a diskless machine is said by an empty list")
	require.NotEqual(t, m.NICs[0].MAC, spec.Machines[1].NICs[0].MAC)
}

func TestASpecIsAlwaysCompletedToTheSameIdentities(t *testing.T) {
	require.Equal(t, lab.Default(4), lab.Default(4))
	require.Equal(t, lab.Default(2), lab.Default(2).Complete(), "completing twice changes nothing")
	other := lab.Spec{Name: "other", Machines: []lab.MachineSpec{{}}}.Complete()
	require.NotEqual(t, lab.Default(1).Machines[0].NICs[0].MAC, other.Machines[0].NICs[0].MAC)
}

func TestDefaultTakesBIOSAndUEFIByTurns(t *testing.T) {
	spec := lab.Default(250)
	require.NoError(t, spec.Validate())
	require.Equal(t, lab.BIOS, spec.Machines[0].Firmware)
	require.Equal(t, lab.UEFI, spec.Machines[249].Firmware)
}

func TestADescriptionSurvivesBeingWrittenAndRead(t *testing.T) {
	full, err := lab.Load("testdata/full.yaml")
	require.NoError(t, err)
	diskless := lab.Spec{Machines: []lab.MachineSpec{{Disks: []lab.Disk{}}}}.Complete()
	for _, spec := range []lab.Spec{full, lab.Default(3), diskless} {
		text, err := spec.YAML()
		require.NoError(t, err)
		again, err := lab.Parse(bytes.NewReader(text))
		require.NoError(t, err, "%s", text)
		require.Equal(t, spec, again)
	}
}

func TestAMistypedKeyIsRefusedWithItsLine(t *testing.T) {
	for _, text := range []string{
		"machines:\n  - name: a\n    frimware: uefi\n",
		"machines:\n  - name: a\n    dimms: [{slot: A1, size: 1GiB, patr: x}]\n",
		"machines:\n  - name: a\n    disks: [{sise: 1GiB}]\n",
	} {
		_, err := parse(t, text)
		require.ErrorContains(t, err, "[3:")
		require.ErrorContains(t, err, "unknown field")
	}
	for text, want := range map[string]string{
		"":                                  "empty",
		"machines: [{}]\n---\na":            "only one YAML document",
		"machines: [{disks: [{size: 4G}]}]": `size "4G"`,
		"machines: [{dimms: [4G]}]":         `4G`,
	} {
		_, err := parse(t, text)
		require.ErrorContains(t, err, want)
	}
}

func TestEverythingThatIsWrongIsReportedAtOnce(t *testing.T) {
	_, err := parse(t, `
name: Row 3
subnet: 10.0.0.7/24
machines:
  - name: a
    boot: pxe
    boot_order: nvram
    serial: "caf\u00e9"
    cpus: 99
    memory: 1MiB
    uuid: nonsense
    dimms: [{slot: A1, size: 1GiB}, {slot: A1, size: 3kB}]
    disks:
      - {bus: floppy}
      - {wwn: 5002538e40a1b2c3, medium: ssd, model: X, size: 100}
      - {bus: nvme, medium: hdd, serial: LONGER-THAN-TWENTY-CHARACTERS}
      - {bus: scsi, serial: twin, wwn: 12}
      - {bus: scsi, serial: twin}
    nics: [{mac: "01:00:5e:00:00:01"}, {model: rtl8139}]
  - name: a
    firmware: coreboot
  - {name: b, firmware: uefi, nics: [{model: e1000}]}
`)
	require.Error(t, err)
	for _, want := range []string{
		`name: "Row 3"`,
		"subnet: 10.0.0.7/24 has host bits set: want 10.0.0.0/24",
		"machines[0] (a).boot: pxe needs firmware uefi",
		"machines[0] (a).boot_order: nvram needs firmware uefi",
		`machines[0] (a).serial: "caf\u00e9": want printable ASCII`,
		"machines[0] (a).cpus: 99",
		"machines[0] (a).memory: 1MiB",
		"machines[0] (a).uuid",
		`machines[0] (a).dimms[1].slot: "A1" is taken already`,
		"machines[0] (a).dimms[1].size: 3kB",
		`machines[0] (a).disks[0].bus: "floppy"`,
		"machines[0] (a).disks[1].wwn: virtio disks have none",
		"machines[0] (a).disks[1].medium: a virtio disk cannot tell",
		"machines[0] (a).disks[1].model: this bus cannot carry it",
		"machines[0] (a).disks[1].size: 100B",
		"machines[0] (a).disks[2].medium: an nvme disk is always ssd",
		"machines[0] (a).disks[2].serial",
		`machines[0] (a).disks[3].wwn: "12"`,
		`machines[0] (a).disks[4].serial: "twin" is disks[3]'s already`,
		"machines[0] (a).nics[0].mac",
		`machines[0] (a).nics[1].model: "rtl8139"`,
		`machines[1] (a).firmware: "coreboot"`,
		`machine name "a" is used by machines[0] (a) already`,
		"machines[2] (b).nics[0].model: e1000 cannot boot by pxe",
	} {
		require.ErrorContains(t, err, want)
	}
	var joined interface{ Unwrap() []error }
	require.True(t, errors.As(err, &joined))
}

func TestTwinsMustBeAskedFor(t *testing.T) {
	twins := lab.Spec{Machines: []lab.MachineSpec{
		{Serial: "To be filled by O.E.M.", NICs: []lab.NIC{{MAC: "52:54:00:00:00:09"}}},
		{Serial: "To be filled by O.E.M.", NICs: []lab.NIC{{MAC: "52:54:00:00:00:09"}}},
	}}.Complete()
	err := twins.Validate()
	require.ErrorContains(t, err, `serial number "To be filled by O.E.M." is used by machines[0] (m1) already`)
	require.ErrorContains(t, err, `mac "52:54:00:00:00:09" is used by machines[0] (m1).nics[0] already`)
	require.ErrorContains(t, err, "allow_duplicates: true")
	twins.AllowDuplicates = true
	require.NoError(t, twins.Validate())
}

func TestSizesNameTheirUnit(t *testing.T) {
	for text, want := range map[string]lab.Size{
		"512": 512, "0": 0, "1B": 1, "4GiB": 4 * lab.GiB, "1.5 GiB": 3 * lab.GiB / 2, "480GB": 480e9, "1TiB": lab.TiB,
		"3kB": 3000, "0.96TB": 960e9,
	} {
		got, err := lab.ParseSize(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{
		"", "4G", "GiB", "-1GiB", "1.2.3", "1e9", "0.1B", "99999999TiB", "4 gib", "0x10", "1_000",
	} {
		_, err := lab.ParseSize(text)
		require.Error(t, err, text)
	}
}

func FuzzSizesPrintWhatTheyMean(f *testing.F) {
	for _, seed := range []string{"4GiB", "480GB", "1.5TiB", "0", "7B", "."} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		size, err := lab.ParseSize(text)
		if err != nil {
			return
		}
		again, err := lab.ParseSize(size.String())
		require.NoError(t, err)
		require.Equal(t, size, again)
	})
}

func FuzzADescriptionIsReadOrRefused(f *testing.F) {
	full, err := os.ReadFile(filepath.Join("testdata", "full.yaml"))
	require.NoError(f, err)
	f.Add(full)
	f.Add([]byte("machines: [{dimms: [1GiB]}]"))
	f.Add([]byte("machines: [{disks: [{size: 1}]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		spec, err := lab.Parse(bytes.NewReader(text))
		if err != nil {
			return
		}
		again, err := spec.YAML()
		require.NoError(t, err)
		same, err := lab.Parse(bytes.NewReader(again))
		require.NoError(t, err)
		require.Equal(t, spec, same)
	})
}
