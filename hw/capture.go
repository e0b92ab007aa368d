package hw

import "time"

// CaptureOptions say what [Capture] writes.
type CaptureOptions struct {
	// Anonymise replaces serial numbers, UUIDs, MAC addresses, WWNs, asset tags and the host's name by others of the
	// same shape, everywhere in the capture: in texts, in paths and in binary tables. The same value becomes the same
	// replacement within one capture, and another one in the next. The vendor's part of MACs and WWNs stays. What
	// detection does not read of the SMBIOS tables (OEM structures, most of all) is blanked.
	Anonymise bool
	// Health asks the disks too, each for so long (see [WithHealth]); 0 leaves their answers out.
	Health time.Duration
}
