package bootos

import "slices"

// driverGroups is the list that the README shows. What a module depends on is not listed: it comes along.
var driverGroups = []struct {
	purpose string
	names   []string
}{
	{"network: Intel", []string{"e1000", "e1000e", "igb", "igc", "igbvf", "ixgbe", "ixgbevf", "i40e", "iavf", "ice"}},
	{"network: Broadcom", []string{"tg3", "bnx2", "bnx2x", "bnxt_en"}},
	{"network: NVIDIA Mellanox", []string{"mlx4_core", "mlx4_en", "mlx5_core"}},
	{"network: others in servers", []string{"be2net", "cxgb4", "enic", "qede", "qlcnic", "r8169", "realtek", "atlantic",
		"sfc"}},
	{"network: virtual", []string{"virtio_net", "vmxnet3", "hv_netvsc"}},
	{"storage: AHCI, NVMe", []string{"ahci", "ata_piix", "ata_generic", "nvme"}},
	{"storage: RAID controllers and HBAs", []string{"megaraid_sas", "mpt3sas", "mptsas", "mptspi", "hpsa", "smartpqi",
		"aacraid", "mvsas", "isci", "3w-sas", "arcmsr"}},
	{"storage: virtual", []string{"virtio_blk", "virtio_scsi", "vmw_pvscsi", "hv_storvsc", "sym53c8xx"}},
	{"block layer", []string{"sd_mod", "sr_mod", "sg", "ses", "loop", "md_mod", "raid0", "raid1", "raid10", "raid456",
		"dm_mod", "dm_crypt", "dm_raid", "dm_thin_pool", "dm_multipath"}},
	{"file systems", []string{"ext4", "xfs", "btrfs", "vfat", "nls_cp437", "nls_ascii", "nls_iso8859_1", "nls_utf8",
		"isofs", "squashfs", "overlay", "efivarfs"}},
	{"management controller", []string{"ipmi_msghandler", "ipmi_si", "ipmi_ssif", "ipmi_devintf"}},
	{"memory errors", []string{"amd64_edac", "skx_edac", "i10nm_edac", "sb_edac", "ie31200_edac", "igen6_edac", "ghes_edac"}},
	{"buses and USB", []string{"virtio_pci", "virtio_mmio", "virtio_rng", "hv_vmbus", "xhci_pci", "ehci_pci", "uhci_hcd",
		"usb_storage", "uas", "usbhid", "hid_generic", "i2c_i801", "i2c_piix4"}},
	{"networking on top", []string{"bonding", "8021q", "af_packet"}},
	{"crypto that file systems and dm ask for", []string{"crc32c_generic", "crc32c_intel", "crct10dif_generic", "xts",
		"aesni_intel", "sha256_generic"}},
}

// DefaultDrivers are the kernel modules that go into a bootOS if nothing else is said: what servers of the last
// decade boot and store with. Not all kernels have all of them. The result is the caller's.
func DefaultDrivers() []string {
	var all []string
	for _, g := range driverGroups {
		all = append(all, g.names...)
	}
	return slices.Clip(all)
}
