//go:build linux

package hw

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// nameSlots gives the functions the board's name for the slot that they are in (DSP0134 7.10). A slot tells the address
// of what is in it or, with some makers, that of the bridge above; everything behind a bridge is in the bridge's slot,
// unless it has one of its own.
func (t *tree) nameSlots(devices []PCIDevice, sm *smbiosTables) {
	names := map[string][]string{} // by address without the function
	for _, s := range sm.all(9) {
		segment, ok := s.word(0x0d) // since SMBIOS 2.6
		bus, ok2 := s.byte(0x0f)
		devfn, ok3 := s.byte(0x10)
		if !ok || !ok2 || !ok3 || segment == 0xffff || bus == 0xff && devfn == 0xff ||
			segment == 0 && bus == 0 && devfn == 0 { // the host bridge is in no slot: an address that was not filled in
			continue
		}
		var missing unknowns
		name := s.partStr(&missing, "slot", 0x04)
		address := fmt.Sprintf("%04x:%02x:%02x", segment, bus, devfn>>3)
		if name != "" && !slices.Contains(names[address], name) {
			names[address] = append(names[address], name)
		}
	}
	if len(names) == 0 {
		return
	}
	for i := range devices {
		d := &devices[i]
		dir := t.real("sys/bus/pci/devices/" + d.Address)
		if isBridge(d.Class) && strings.HasPrefix(path.Base(path.Dir(dir)), "pci") {
			continue // a root port: the slot is behind it
		}
		for !strings.HasPrefix(path.Base(dir), "pci") && pciAddress.MatchString(path.Base(dir)) {
			address, _, _ := strings.Cut(path.Base(dir), ".")
			above := path.Dir(dir)
			if found := names[address]; len(found) > 0 {
				if len(found) == 1 {
					d.Slot = found[0]
				} else {
					missing := unknowns(d.Unknown)
					missing.add("slot", "the firmware gives several slots for it: %s", strings.Join(found, ", "))
					d.Unknown = missing
				}
				break
			}
			dir = above
		}
	}
}

func isBridge(class string) bool {
	return strings.HasPrefix(class, "0604") || strings.HasPrefix(class, "0609")
}
