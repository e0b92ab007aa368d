package raid

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
)

// pci reads `class vendor:device subvendor:subdevice`.
func pci(t *testing.T, s string) hw.PCIDevice {
	t.Helper()
	m := regexp.MustCompile(`^(\w{6}) (\w{4}):(\w{4})(?: (\w{4}):(\w{4}))?$`).FindStringSubmatch(s)
	require.NotNil(t, m, s)
	return hw.PCIDevice{Class: m[1], Vendor: m[2], Device: m[3], SubVendor: m[4], SubDevice: m[5]}
}

func TestControllersAreRecognizedByTheirPCIIds(t *testing.T) {
	for ids, want := range map[string]Recognition{
		// QEMU 7.2, as its machines show them.
		"010400 1000:0060 1000:1013": {"MegaRAID SAS 1078", RAID, Megacli, ""},
		"010400 1000:0079 1000:9261": {"MegaRAID SAS 2108", RAID, Storcli, Megacli},
		"010000 1000:0054 1000:8000": {"Fusion-MPT SAS", HBA, Mdadm, ""},
		"010000 1000:0012 0000:1000": {"SCSI HBA", HBA, Mdadm, ""}, // lsi53c895a
		"010601 8086:2922 1af4:1100": {"AHCI", AHCI, Mdadm, ""},
		"010802 1b36:0010 1af4:1100": {"NVMe", NVMe, Mdadm, ""},
		"010000 1af4:1001 1af4:0002": {"virtio-blk", Virtio, Mdadm, ""},
		"018000 1af4:1042 1af4:1042": {"virtio-blk", Virtio, Mdadm, ""}, // Firecracker's class
		"010000 1af4:1004 1af4:0008": {"virtio-scsi", Virtio, Mdadm, ""},
		// Cards whose tools print these ids.
		"010400 1000:005b 1014:0412": {"MegaRAID SAS 2208", RAID, Storcli, Megacli}, // ServeRAID M5110e
		"010400 1000:005d 1000:9361": {"MegaRAID SAS-3 3108", RAID, Storcli, Megacli},
		"010400 1000:0073 1000:9240": {"MegaRAID SAS 2008", RAID, Storcli, Megacli},
		// From pci.ids.
		"010400 1028:0015 1028:1f01": {"PERC 5", RAID, Megacli, ""},
		"010400 1000:0060 1028:1f0c": {"MegaRAID SAS 1078", RAID, Megacli, ""},               // PERC 6/i
		"010400 1000:005d 1028:1f49": {"PERC SAS-3 3108", RAID, Perccli, Storcli},            // PERC H730 Mini
		"010400 1000:0016 1028:1fcb": {"PERC Tri-Mode SAS34xx/35xx", RAID, Perccli, Storcli}, // PERC H740P
		"010400 1000:10e2 1028:1ae1": {"PERC Tri-Mode SAS38xx/39xx", RAID, Perccli, Storcli}, // PERC H755
		"010400 1000:10e2 1000:40b1": {"MegaRAID Tri-Mode SAS38xx/39xx", RAID, Storcli, ""},  // 9560
		"010400 1000:00a5 1000:4620": {"MegaRAID 24G SAS40xx", RAID, Storcli2, ""},           // 9660
		"010700 1000:0097 1028:1f45": {"Dell HBA SAS-3", HBA, Perccli, Sas3ircu},             // HBA330
		"010700 1000:0097 1000:30e0": {"Fusion-MPT SAS-3", HBA, Sas3ircu, Storcli},           // 9300-8i
		"010700 1000:0072 1000:3020": {"Fusion-MPT SAS-2", HBA, Sas2ircu, ""},                // 9211-8i
		"010700 1000:00af 1000:3010": {"Fusion-MPT SAS-3 and Tri-Mode", HBA, Storcli, ""},    // 9400-8i
		"010400 103c:323b 103c:3355": {"Smart Array", RAID, Ssacli, ""},                      // P220i
		"010400 103c:3239 103c:21c0": {"Smart Array", RAID, Ssacli, ""},                      // P440ar
		"010400 103c:9999 103c:0001": {"Smart Array", RAID, Ssacli, ""},                      // one to come
		"010700 9005:028f 103c:0602": {"Smart Array PQI", RAID, Ssacli, ""},                  // P408i-a Gen10
		"010400 9005:028f 1590:02dc": {"Smart Array PQI", RAID, Ssacli, ""},                  // SR416i-a
		"010400 9005:028f 9005:0808": {"SmartRAID PQI", RAID, Arcconf, ""},                   // 3101E-4i
		"010400 9005:028f 1bd4:004c": {"SmartRAID PQI", RAID, Arcconf, ""},                   // Inspur PM8204
		"010400 9005:028d 9005:0554": {"Adaptec Series 8", RAID, Arcconf, ""},                // 8885
		"010601 1b4b:9230 1028:1fd6": {"Dell BOSS-S1/S2 (88SE9230)", RAID, Mvcli, ""},        //
		"010601 1b4b:9230 1d49:0300": {"Marvell 88SE92xx", RAID, Mvcli, ""},
		// Lenovo M.2 mirroring kit
		"010802 1b4b:2241 1028:2112": {"Dell BOSS-N1 (88NR2241)", RAID, Mnvcli, ""},   //
		"010400 8086:2826 1028:0600": {"Intel SATA in RAID mode", AHCI, Mdadm, ""},    //
		"010400 8086:28c0 8086:0000": {"Intel VMD", NVMe, Mdadm, ""},                  //
		"010802 144d:a824 1028:1fd9": {"NVMe", NVMe, Mdadm, ""},                       //
		"010700 117c:8072 117c:0080": {"SAS HBA", HBA, Mdadm, ""},                     // ATTO
		"010400 1000:005D 1000:9361": {"MegaRAID SAS-3 3108", RAID, Storcli, Megacli}, // upper case
		"010400 1000:005d":           {"MegaRAID SAS-3 3108", RAID, Storcli, Megacli}, // no subsystem known
	} {
		got, ok := Recognize(pci(t, ids))
		require.True(t, ok, ids)
		require.Equal(t, want, got, ids)
	}
}

func TestWhatNoToolIsKnownForIsNotRecognized(t *testing.T) {
	for _, ids := range []string{
		"020000 8086:10d3 8086:0000", // a NIC
		"030200 10de:20b7 10de:1532", // a GPU
		"010400 17d3:1884 17d3:1226", // Areca
		"010400 13c1:1005 13c1:1005", // 3ware
		"010180 8086:7010 1af4:1100", // IDE
		"020000 1000:005d 1000:9361", // the ids of a RAID card on something else
	} {
		_, ok := Recognize(pci(t, ids))
		require.False(t, ok, ids)
	}
	for name, d := range map[string]hw.PCIDevice{"nothing": {}, "only a class": {Class: "010400"},
		"RAID of an unknown maker": {Class: "010400", Vendor: "ffff", Device: "ffff"},
		"device unknown":           {Class: "010400", Vendor: "1000"}} {
		_, ok := Recognize(d)
		require.False(t, ok, name)
	}
}

func TestTableIsWellFormed(t *testing.T) {
	hex := regexp.MustCompile(`^[0-9a-f]{4}$`)
	kinds := []Kind{RAID, HBA, AHCI, NVMe, Virtio}
	seen := map[string]string{}
	for _, m := range models {
		require.Regexp(t, hex, m.vendor)
		require.Contains(t, kinds, m.is.Kind, m.is.Family)
		require.NotEmpty(t, m.is.Family)
		require.NotEmpty(t, m.is.Tool, m.is.Family)
		require.NotEqual(t, m.is.Tool, m.is.Fallback, m.is.Family)
		for _, device := range strings.Fields(m.devices) {
			require.Regexp(t, hex, device, m.is.Family)
			key := m.vendor + ":" + device
			// An entry for any subsystem hides what follows it.
			require.NotContains(t, seen, key, "%s stands behind %s", m.is.Family, seen[key])
			if m.subvendors == "" {
				seen[key] = m.is.Family
			}
		}
		for _, s := range strings.Fields(m.subvendors) {
			require.Regexp(t, hex, s, m.is.Family)
		}
	}
}

// Every chip that the kernel's drivers bind to is in the table, so that no machine of today falls through. The ids are
// those of `modinfo -F alias` on Debian's Linux 6.1.0-56.
func TestEveryChipOfTheKernelsDriversIsKnown(t *testing.T) {
	for driver, ids := range map[string]string{
		"megaraid_sas": "0014 0015 0016 0017 001b 001c 002f 0052 0053 005b 005d 005f 0060 0071 0073 0078 0079 007c 00ce 00cf " +
			"0411 0413 10e0 10e1 10e2 10e3 10e4 10e5 10e6 10e7",
		"mpt3sas": "0064 0065 006e 0070 0072 0074 0076 0077 007e 0080 0081 0082 0083 0084 0085 0086 0087 0090 0091 0094 0095 " +
			"0096 0097 00aa 00ab 00ac 00ad 00ae 00af 00b2 00c0 00c1 00c2 00c3 00c4 00c5 00c6 00c7 00c8 00c9 00d1 00e0 00e1 " +
			"00e2 00e3 00e4 00e5 00e6 00e7",
		"mptsas": "0050 0054 0056 0058 0059 0062",
		"mpi3mr": "00a5",
	} {
		for _, id := range strings.Fields(ids) {
			r, ok := Recognize(hw.PCIDevice{Class: "010400", Vendor: "1000", Device: id})
			require.True(t, ok, "%s 1000:%s", driver, id)
			require.Equal(t, driver == "megaraid_sas" || driver == "mpi3mr", r.Kind == RAID, "%s 1000:%s", driver, id)
		}
	}
}
