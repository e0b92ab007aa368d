//go:build linux

package hw

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares with testdata/name, or writes it with -update.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(file, got, 0o644))
		return
	}
	want, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "%s; `go test ./hw -update` writes it anew", file)
}

func trees(t testing.TB) map[string]string {
	return map[string]string{
		"virtio-vm":  plant(t, "testdata/virtio-vm.tree"),
		"uefi-box":   plant(t, "testdata/uefi-box.tree"),
		"qemu-hbas":  plant(t, "testdata/qemu-hbas.tree"),
		"sas-server": plantServer(t),
	}
}

func TestFactsOfCapturedMachines(t *testing.T) {
	for name, root := range trees(t) {
		t.Run(name, func(t *testing.T) {
			f, err := Detect(context.Background(), WithRoot(root))
			require.NoError(t, err)
			encoded, err := json.MarshalIndent(f, "", "  ")
			require.NoError(t, err)
			golden(t, name+".json", append(encoded, '\n'))

			var text bytes.Buffer
			require.NoError(t, f.WriteText(&text))
			golden(t, name+".txt", text.Bytes())

			again, err := Detect(context.Background(), WithRoot(root))
			require.NoError(t, err)
			require.Equal(t, f, again, "detection is deterministic")

			decoded, err := Decode(encoded)
			require.NoError(t, err)
			require.Equal(t, f, decoded)
		})
	}
}

func detectServer(t *testing.T) (*Facts, map[string]*Disk) {
	f, err := Detect(context.Background(), WithRoot(plantServer(t)))
	require.NoError(t, err)
	disks := map[string]*Disk{}
	for i := range f.Disks {
		disks[f.Disks[i].Name] = &f.Disks[i]
	}
	return f, disks
}

func TestDisksOfAServer(t *testing.T) {
	_, disks := detectServer(t)
	for name, want := range map[string]struct {
		kind   DiskKind
		bus    Bus
		medium Medium
		path   string
		wwn    string
	}{
		"sda": {RAIDVolume, BusSCSI, MediumUnknown, "pci-0000:18:00.0-scsi-0:2:0:0",
			"naa.6d0946607c0f2b002a1b2c3d4e5f6071"},
		"sdb": {PhysicalDisk, BusATA, SSD, "pci-0000:18:00.0-scsi-0:0:10:0", "naa.5002538e40000001"},
		"sdk": {PhysicalDisk, BusSAS, HDD, "pci-0000:18:00.0-scsi-0:0:2:0", "naa.5000c500a0000001"},
		"sdc": {PhysicalDisk, BusSAS, HDD, "pci-0000:3b:00.0-sas-exp0x500056b312345600-phy3-lun-0",
			"naa.5000c500a0000013"},
		"sdd": {PhysicalDisk, BusSAS, SSD, "pci-0000:3b:00.0-sas-0x5002538a00000021-lun-0",
			"naa.5002538a00000020"},
		"sde":     {RAIDVolume, BusSCSI, MediumUnknown, "pci-0000:5d:00.0-scsi-0:1:0:0", "naa.600508b1001c0000"},
		"sdf":     {PhysicalDisk, BusSAS, HDD, "pci-0000:5d:00.0-sas-phy3-lun-0", "naa.5000c500b0000001"},
		"sdg":     {PhysicalDisk, BusUSB, MediumUnknown, "pci-0000:00:14.0-usb-0:14.1:1.0-scsi-0:0:0:0", ""},
		"nvme0n1": {PhysicalDisk, BusNVMe, NVMe, "pci-0000:5e:00.0-nvme-1", "eui.00000000000000018ce38ee207e9a101"},
	} {
		d, ok := disks[name]
		require.True(t, ok, name)
		require.Equal(t, want.kind, d.Kind, name)
		require.Equal(t, want.bus, d.Bus, name)
		require.Equal(t, want.medium, d.Medium, name)
		require.Equal(t, want.path, d.Path, name)
		require.Equal(t, want.wwn, d.WWN, name)
		if d.Medium == MediumUnknown {
			require.NotEmpty(t, d.why("medium"), name)
		}
	}
	require.Len(t, disks, 9, "md, dm, loop, zram, ram, nbd, CD, enclosure and hidden NVMe paths are no disks")
	require.Equal(t, "SAMSUNG MZ7LH960HAJR0D3 long model", disks["sdb"].Model, "from IDENTIFY, not cut to 16 bytes")
	require.Equal(t, "HXT7404Q", disks["sdb"].Firmware)
	require.Equal(t, 4096, disks["sdb"].PhysicalSector)
	require.Equal(t, "0123456", disks["sdg"].Serial, "a USB disk has the serial number of its descriptor")
	require.True(t, *disks["sdg"].Removable)
	require.Zero(t, disks["sdg"].Bytes)
	require.Empty(t, disks["sdg"].why("bytes"), "no medium is known, not unknown")
}

func TestDisksAreInTheOrderOfTheirSlots(t *testing.T) {
	f, _ := detectServer(t)
	var names []string
	for _, d := range f.Disks {
		names = append(names, d.Name)
	}
	// 0:0:2:0 before 0:0:10:0, whatever the kernel calls them.
	require.Equal(t, []string{"sdg", "sdk", "sdb", "sda", "sdd", "sdc", "sdf", "sde", "nvme0n1"}, names)
}

func TestNICsOfAServer(t *testing.T) {
	f, _ := detectServer(t)
	nics := map[string]NIC{}
	var names []string
	for _, n := range f.NICs {
		nics[n.Name] = n
		names = append(names, n.Name)
	}
	require.Equal(t, []string{"idrac", "ens3f0", "ens3f1", "ens4", "ens4d1"}, names,
		"no bridges, bonds, loopback or virtual functions")
	require.Empty(t, nics["idrac"].PCI, "a USB NIC is not the USB controller")
	require.Equal(t, "pci-0000:00:14.0-usb-0:14.3:1.0", nics["idrac"].Path)
	require.Equal(t, 25000, nics["ens3f0"].SpeedMbps)
	require.Equal(t, "15b3", nics["ens3f0"].Vendor)
	require.True(t, *nics["ens3f0"].LinkUp)
	require.False(t, *nics["ens3f1"].LinkUp)
	require.NotContains(t, paths(nics["ens3f1"].Unknown), "speed_mbps",
		"without link there is no speed: nothing unknown")
	require.Empty(t, nics["ens3f1"].MAC, "the address in use was set by somebody")
	require.Contains(t, paths(nics["ens3f1"].Unknown), "mac")
	require.Equal(t, nics["ens4"].Path, nics["ens4d1"].Path)
	require.Equal(t, 1, nics["ens4d1"].Port)
	require.Equal(t, []string{"50:9a:4c:00:00:f1", "b8:59:9f:00:00:a0", "b8:59:9f:00:00:a1", "f4:52:14:00:00:01",
		"f4:52:14:00:00:02"}, f.MACs())
}

func TestCPUsOfAServer(t *testing.T) {
	f, _ := detectServer(t)
	require.Len(t, f.CPUs, 3)
	require.Equal(t, "CPU1", f.CPUs[0].Socket)
	require.Equal(t, 4, f.CPUs[0].Cores)
	require.Equal(t, 8, f.CPUs[0].Threads)
	require.Equal(t, 7, *f.CPUs[0].Stepping)
	require.Equal(t, "0x5003604", f.CPUs[1].Microcode)
	require.Contains(t, paths(f.CPUs[1].Unknown), "serial")
	require.Equal(t, CPU{Socket: "CPU3", Empty: true}, f.CPUs[2])
}

func TestPCIFunctionsOfAServer(t *testing.T) {
	f, _ := detectServer(t)
	var addresses []string
	for _, c := range f.Controllers {
		addresses = append(addresses, c.Address)
	}
	require.Equal(t, []string{"0000:00:1f.7", "0000:18:00.0", "0000:3b:00.0", "0000:5d:00.0", "0000:5e:00.0"},
		addresses)
	require.Contains(t, paths(f.Controllers[0].Unknown), "vendor", "all ones is no vendor")
	require.Equal(t, &PCILink{Speed: 8, MaxSpeed: 8, Width: 4, MaxWidth: 8}, f.Controllers[2].Link)
	require.Len(t, f.GPUs(), 1)
	require.Equal(t, "10de", f.GPUs()[0].Vendor)
	require.Equal(t, BMC{Present: f.BMC.Present, Device: "/dev/ipmi0", Interface: "KCS", IPMI: "2.0",
		Firmware:       "6.10",
		ManufacturerID: "0x0002a2", ProductID: "0x0100", GUID: "44454c4c-0000-1020-8030-b3c04f333233"}, f.BMC)
	require.True(t, *f.BMC.Present)
}

func TestSlotsOfAServer(t *testing.T) {
	f, _ := detectServer(t)
	slots := map[string]string{}
	unknown := map[string]bool{}
	for _, d := range f.PCI {
		if d.Slot != "" {
			slots[d.Address] = d.Slot
		}
		unknown[d.Address] = slices.Contains(paths(d.Unknown), "slot")
	}
	require.Equal(t, map[string]string{
		"0000:3b:00.0": "PCIe Slot 1",     // the firmware gives the card's address
		"0000:18:00.0": "Integrated RAID", // it gives the root port's: what is behind it is in the slot
		"0000:af:00.0": "PCIe Slot 5", "0000:af:00.1": "PCIe Slot 5", "0000:af:00.2": "PCIe Slot 5",
	}, slots)
	require.True(t, unknown["0000:d7:00.0"], "two slots at one address")
	require.False(t, unknown["0000:3b:00.0"])
}

func TestFirmwareOfControllers(t *testing.T) {
	f, _ := detectServer(t)
	firmware := map[string]string{}
	for _, c := range f.Controllers {
		firmware[c.Driver] = c.Firmware
		if strings.HasPrefix(c.Class, "0106") {
			continue // SATA controllers have none
		}
		require.Equal(t, c.Firmware == "", slices.Contains(paths(c.Unknown), "firmware"), c.Address)
	}
	require.Equal(t, "16.00.12.00", firmware["mpt3sas"])
	require.Equal(t, "3.53", firmware["smartpqi"], "the firmware, not the driver")
	require.Equal(t, "2.1.3", firmware["nvme"])
	require.Empty(t, firmware["megaraid_sas"])
}

func TestMemoryErrorsOfAServer(t *testing.T) {
	f, _ := detectServer(t)
	require.Equal(t, int64(7), *f.Memory.CorrectedErrors)
	require.Equal(t, int64(1), *f.Memory.UncorrectedErrors)
	require.Equal(t, int64(2), *f.Memory.DIMMs[0].CorrectedErrors)
	require.Equal(t, int64(0), *f.Memory.DIMMs[0].UncorrectedErrors)
	require.Nil(t, f.Memory.DIMMs[1].CorrectedErrors, "the driver's own label is no slot")
	require.Contains(t, paths(f.Memory.DIMMs[1].Unknown), "corrected_errors")
	require.NotContains(t, paths(f.Memory.DIMMs[2].Unknown), "corrected_errors", "an empty slot counts nothing")

	root := plantServer(t)
	write(t, root, "sys/devices/system/edac/mc/mc1/ce_count", []byte("-1\n"))
	write(t, root, "sys/devices/system/edac/mc/mc0/dimm1/dimm_label", []byte("A1\n"))
	f = detectIn(t, root)
	require.Nil(t, f.Memory.CorrectedErrors, "half a sum is no sum")
	require.Contains(t, paths(f.Memory.Unknown), "corrected_errors")
	require.NotNil(t, f.Memory.UncorrectedErrors)
	require.Nil(t, f.Memory.DIMMs[0].CorrectedErrors, "two counters claim it")
}

func TestModulesAreToldByBankAndSlot(t *testing.T) {
	n := ptr[int64](5)
	dimms := []DIMM{{Slot: "DIMM 0", Bank: "P0 CHANNEL A"}, {Slot: "DIMM 0", Bank: "P0 CHANNEL B"}}
	nameECC(dimms, []eccCounter{{"P0 CHANNEL B DIMM 0", n, n}, {"DIMM 0", n, n}, {"", n, n}})
	require.Nil(t, dimms[0].CorrectedErrors)
	require.Equal(t, n, dimms[1].CorrectedErrors)
}

func TestFastestLinkMode(t *testing.T) {
	for text, want := range map[string]int{
		"0000002f": 1000, "00000000 00008000": 2500, "80020000 00000003 00000000": 25000, "00000000": 0, "": 0,
		"00000000 00000000 20000000": 800000, "00000000 00000000 00000000 04000000": 1600000, "000020c0": 0,
	} {
		modes, err := parseLinkModes([]byte(text))
		require.NoError(t, err)
		require.Equal(t, want, fastest(modes), text)
		require.Equal(t, text, string(formatLinkModes(modes)))
	}
	for _, text := range []string{"x", "123456789", strings.Repeat("0 ", 33)} {
		_, err := parseLinkModes([]byte(text))
		require.Error(t, err, text)
	}
	f, _ := detectServer(t)
	for _, n := range f.NICs {
		switch n.Name {
		case "ens3f1":
			require.Equal(t, 25000, n.MaxSpeedMbps, "also without a link")
		case "ens4":
			require.Contains(t, paths(n.Unknown), "max_speed_mbps")
		}
	}
}

func TestMachineWithoutSMBIOSTablesHasReasonsInsteadOfZeros(t *testing.T) {
	root := plant(t, "testdata/virtio-vm.tree")
	require.NoError(t, os.RemoveAll(filepath.Join(root, "sys/firmware/dmi")))
	f, err := Detect(context.Background(), WithRoot(root))
	require.NoError(t, err)
	require.Subset(t, paths(f.Unknown), []string{"system", "board", "bios", "chassis"})
	require.Subset(t, paths(f.Memory.Unknown), []string{"installed_bytes", "dimms"})
	require.NotZero(t, f.Memory.UsableBytes)
	require.Nil(t, f.BMC.Present)
	require.Contains(t, f.Unknown[0].Reason, "/sys/firmware/dmi/tables/DMI")
}

func TestWithoutTheTablesTheKernelsCopyIsRead(t *testing.T) {
	root := plant(t, "testdata/virtio-vm.tree")
	require.NoError(t, os.RemoveAll(filepath.Join(root, "sys/firmware/dmi")))
	for file, content := range map[string]string{"sys_vendor": "Maker\n", "product_name": "Box\n",
		"bios_version": "1.2\n",
		"chassis_type": "23\n", "product_uuid": "4C4C4544-0010-8020-30B3-C04F33323333\n"} {
		write(t, root, "sys/class/dmi/id/"+file, []byte(content))
	}
	f, err := Detect(context.Background(), WithRoot(root))
	require.NoError(t, err)
	require.Equal(t, "Maker", f.System.Vendor)
	require.Equal(t, "Box", f.System.Product)
	require.Equal(t, "4c4c4544-0010-8020-30b3-c04f33323333", f.System.UUID)
	require.Equal(t, "Rack Mount Chassis", f.Chassis.Type)
	require.Contains(t, paths(f.System.Unknown), "serial")
	require.Contains(t, paths(f.BIOS.Unknown), "smbios")
}

func TestEmptyTreeIsAllUnknownAndNoError(t *testing.T) {
	f, err := Detect(context.Background(), WithRoot(t.TempDir()))
	require.NoError(t, err)
	require.Subset(t, paths(f.Unknown), []string{"system", "board", "bios", "chassis", "cpus", "pci",
		"controllers", "disks", "nics"})
	require.Nil(t, f.BIOS.UEFI)
	encoded, err := json.Marshal(f)
	require.NoError(t, err)
	require.NotContains(t, string(encoded), ":null", "lists are empty, not null")
}

func TestJunkTreeNeitherCrashesNorHangs(t *testing.T) {
	root := plant(t, "testdata/uefi-box.tree")
	// Every file in turn becomes something that it should not be.
	n := 0
	require.NoError(t, filepath.WalkDir(root, func(name string, entry os.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		n++
		switch n % 6 {
		case 0:
			require.NoError(t, os.Remove(name))
			require.NoError(t, syscall.Mkfifo(name, 0o644))
		case 1:
			require.NoError(t, os.Remove(name))
			require.NoError(t, os.Mkdir(name, 0o755))
		case 2:
			require.NoError(t, os.WriteFile(name, bytes.Repeat([]byte{0xff, 0x00, '9'}, 100), 0o644))
		case 3:
			require.NoError(t, os.WriteFile(name, nil, 0o644))
		case 4:
			require.NoError(t, os.WriteFile(name, []byte("-9223372036854775808\n"), 0o644))
		case 5:
			require.NoError(t, os.Remove(name))
			require.NoError(t, os.Symlink("/etc/passwd", name))
		}
		return nil
	}))
	type result struct {
		facts *Facts
		err   error
	}
	done := make(chan result, 1)
	go func() {
		f, err := Detect(context.Background(), WithRoot(root))
		done <- result{f, err}
	}()
	select {
	case r := <-done:
		require.NoError(t, r.err)
		require.NotEmpty(t, r.facts.Unknowns())
		for _, d := range r.facts.Disks {
			require.GreaterOrEqual(t, d.Bytes, int64(0))
		}
		encoded, err := json.Marshal(r.facts)
		require.NoError(t, err)
		require.NotContains(t, string(encoded), "root:x:0", "links that leave the tree are not followed")
		require.NoError(t, r.facts.WriteText(&bytes.Buffer{}))
	case <-time.After(20 * time.Second):
		t.Fatal("detection hangs on a junk tree")
	}
}

func TestDetectOnThisMachine(t *testing.T) {
	f, err := Detect(context.Background())
	require.NoError(t, err)
	require.Equal(t, 1, f.Version)
	require.NotEmpty(t, f.CPUs)
	require.Positive(t, f.CPUs[0].Threads+f.CPUs[0].Cores)
	require.Positive(t, f.Memory.UsableBytes)

	// The standard library sees the same addresses.
	interfaces, err := net.Interfaces()
	require.NoError(t, err)
	current := map[string]string{}
	for _, i := range interfaces {
		current[i.Name] = i.HardwareAddr.String()
	}
	for _, n := range f.NICs {
		require.Equal(t, current[n.Name], n.CurrentMAC)
	}
	for _, d := range f.Disks {
		require.False(t, strings.HasPrefix(d.Name, "loop") || strings.HasPrefix(d.Name, "zram"), d.Name)
	}
	encoded, err := json.Marshal(f)
	require.NoError(t, err)
	decoded, err := Decode(encoded)
	require.NoError(t, err)
	require.Equal(t, f, decoded)
}

func TestDetectStopsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := Detect(ctx)
	require.ErrorIs(t, err, context.Canceled)
}

func TestDetectOfAMissingTreeSaysWhich(t *testing.T) {
	_, err := Detect(context.Background(), WithRoot("/nowhere/captured"))
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, "/nowhere/captured")
}

func TestNaturalOrder(t *testing.T) {
	for _, pair := range [][2]string{{"a2", "a10"}, {"", "a"}, {"0:0:2:0", "0:0:10:0"}, {"pci-0000:00:04.0",
		"pci-0000:00:04.0-ata-1"},
		{"a", "b"}, {"01", "1"}} {
		require.Negative(t, natural(pair[0], pair[1]), "%s < %s", pair[0], pair[1])
		require.Positive(t, natural(pair[1], pair[0]), "%s > %s", pair[1], pair[0])
		require.Zero(t, natural(pair[0], pair[0]))
	}
}

func TestDetectTakesUnderTwoSeconds(t *testing.T) {
	fastest := time.Hour
	for range 3 { // the best of three, since other tests share the CPUs
		start := time.Now()
		_, err := Detect(context.Background())
		require.NoError(t, err)
		fastest = min(fastest, time.Since(start))
	}
	require.Less(t, fastest, 2*time.Second)
}
