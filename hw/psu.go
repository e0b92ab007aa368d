//go:build linux

package hw

import "fmt"

// psus reads the power supplies (DSP0134 7.40). Many makers leave them to the BMC alone: then the list is empty and not
// known.
func (sm *smbiosTables) psus(smErr error) ([]PSU, unknowns) {
	var missing unknowns
	psus := []PSU{}
	if sm == nil {
		missing.addErr("psus", fmt.Errorf("no SMBIOS tables: %w", smErr))
		return psus, missing
	}
	for _, s := range sm.all(39) {
		psus = append(psus, s.psu())
	}
	switch {
	case sm.err != nil:
		missing.add("psus", "the list may be incomplete, the firmware's tables are broken: %v", sm.err)
	case len(psus) == 0:
		missing.add("psus", "the firmware's tables have no structure of type 39")
	}
	return psus, missing
}

func (s structure) psu() PSU {
	var missing unknowns
	p := PSU{Slot: s.partStr(&missing, "slot", 0x05)}
	// HPE leaves the location empty and has the bay in the device's name, `Power Supply 1`.
	if name := s.partStr(&unknowns{}, "slot", 0x06); p.Slot == "" && name != "" {
		p.Slot, missing = name, nil
	}
	var of unknowns // what is unknown of the supply itself
	p.Manufacturer = s.partStr(&of, "manufacturer", 0x07)
	p.Serial = s.partStr(&of, "serial", 0x08)
	p.Model = s.partStr(&of, "model", 0x0a)
	p.Revision = s.partStr(&of, "revision", 0x0b)
	switch watts, ok := s.word(0x0c); {
	case !ok || watts == 0 || watts == 0x8000:
		of.add("max_watts", "the firmware does not tell")
	default:
		p.MaxWatts = int(watts)
	}

	bits, ok := s.word(0x0e)
	if !ok {
		of.add("status", "the structure is too short to have characteristics")
		of.add("plugged", "the structure is too short to have characteristics")
		p.Unknown = append(missing, of...)
		return p
	}
	if bits&0x0002 == 0 {
		if p.Serial == "" {
			return PSU{Slot: p.Slot, Empty: true, Unknown: missing}
		}
		// Nothing that was read is thrown away for one bit that contradicts it.
		of.add("status", "the firmware says that the bay is empty, and gives the serial number of what is in it")
		of.add("plugged", "the firmware says that the bay is empty, and gives the serial number of what is in it")
		p.Unknown = append(missing, of...)
		return p
	}
	switch status := bits >> 7 & 0x07; status {
	case 1:
		p.Status = "Other"
	case 3:
		p.Status = "OK"
	case 4:
		p.Status = "Non-critical"
	case 5:
		p.Status = "Critical"
	default:
		of.add("status", "the firmware gives status %d", status)
	}
	plugged := bits&0x0004 == 0
	p.Plugged = &plugged
	p.Unknown = append(missing, of...)
	return p
}
