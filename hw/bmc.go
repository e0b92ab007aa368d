//go:build linux

package hw

import (
	"fmt"
	"time"
)

// bmcPatience bounds how long a management controller may take to answer the kernel's driver. One that hangs must not
// hold up detection.
const bmcPatience = time.Second

// bmc joins what the tables and the kernel's IPMI driver know.
func (t *tree) bmc(sm *smbiosTables) BMC {
	var b BMC
	var missing unknowns
	yes, no := true, false
	if sm.complete() {
		b.Present = &no
	}
	if s := sm.first(38); s != nil {
		b.Present = &yes
		switch kind, _ := s.byte(0x04); kind {
		case 1:
			b.Interface = "KCS"
		case 2:
			b.Interface = "SMIC"
		case 3:
			b.Interface = "BT"
		case 4:
			b.Interface = "SSIF"
		default:
			missing.add("interface", "SMBIOS type 38 gives interface type %d", kind)
		}
		if v, ok := s.byte(0x05); ok && v != 0 {
			b.IPMI = fmt.Sprintf("%d.%d", v>>4, v&0x0f)
		}
	}
	for _, node := range []string{"dev/ipmi0", "dev/ipmi/0", "dev/ipmidev/0"} {
		if t.exists(node) {
			b.Device, b.Present = "/"+node, &yes
			break
		}
	}
	// Without udev or devtmpfs there may be no node yet.
	if b.Device == "" && t.exists("sys/class/ipmi/ipmi0") {
		b.Device, b.Present = "/dev/ipmi0", &yes
	}
	if b.Present == nil {
		missing.add("present", "neither the kernel nor complete SMBIOS tables tell")
	}
	if b.Present != nil && *b.Present && b.Device == "" {
		missing.add("device", "no driver is bound (modules ipmi_si and ipmi_devintf)")
	}
	if b.Device != "" {
		missing = append(missing, t.bmcDriver(&b)...)
	}
	b.Unknown = missing
	return b
}

// bmcDriver reads what the driver offers. Each file may be a question to the BMC, which answers in milliseconds or,
// when it hangs, not before the kernel gives up; the goroutine then ends later than Detect, by itself.
func (t *tree) bmcDriver(b *BMC) unknowns {
	const dir = "sys/class/ipmi/ipmi0/device/bmc/"
	type answer struct {
		values  map[string]string
		missing unknowns
	}
	done := make(chan answer, 1)
	go func() {
		a := answer{values: map[string]string{}}
		for _, f := range [][2]string{{"firmware", "firmware_revision"}, {"ipmi", "ipmi_version"},
			{"manufacturer_id", "manufacturer_id"}, {"product_id", "product_id"}} {
			v, err := t.text(dir + f[1])
			if err != nil {
				a.missing.addErr(f[0], err)
			}
			a.values[f[0]] = v
		}
		a.values["guid"], _ = t.text(dir + "guid") // absent where the BMC has none
		done <- a
	}()
	select {
	case a := <-done:
		b.Firmware, b.ManufacturerID, b.ProductID = a.values["firmware"], a.values["manufacturer_id"],
			a.values["product_id"]
		b.GUID = a.values["guid"]
		if v := a.values["ipmi"]; v != "" {
			b.IPMI = v
		}
		return a.missing
	case <-time.After(bmcPatience):
		var missing unknowns
		missing.add("firmware", "the BMC did not answer within %v", bmcPatience)
		return missing
	}
}
