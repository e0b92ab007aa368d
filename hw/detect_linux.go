package hw

import (
	"context"
	"fmt"
	"strings"
	"time"
)

func detect(ctx context.Context, o options) (*Facts, error) {
	t, err := openTree(o.root)
	if err != nil {
		return nil, err
	}
	defer t.files.close()
	return t.facts(ctx, o)
}

// facts reads all sections.
func (t *tree) facts(ctx context.Context, o options) (*Facts, error) {
	f := &Facts{Version: Version}
	note := func(u unknowns) { f.Unknown = append(f.Unknown, u...) }
	var tables *smbiosTables
	var tablesErr error
	for _, section := range []struct {
		name string
		read func()
	}{
		{"smbios", func() {
			f.BIOS.UEFI, f.BIOS.Unknown = t.uefi()
			if tables, tablesErr = t.smbios(); tables != nil {
				tables.identity(f)
			} else {
				t.identityFromKernel(f, tablesErr)
			}
		}},
		{"cpus", func() {
			cpus, missing := t.cpus(tables)
			f.CPUs = cpus
			note(missing)
		}},
		{"memory", func() {
			f.Memory = t.memory(tables, tablesErr)
			t.edac(&f.Memory)
		}},
		{"pci", func() {
			devices, missing := t.pci()
			if tables != nil {
				t.nameSlots(devices, tables)
			} else if len(devices) > 0 {
				missing.addErr("pci/slot", fmt.Errorf("no SMBIOS tables: %w", tablesErr))
			}
			f.PCI, f.Controllers = devices, []PCIDevice{}
			for _, d := range devices {
				if strings.HasPrefix(d.Class, "01") {
					f.Controllers = append(f.Controllers, d)
				}
			}
			note(missing)
		}},
		{"disks", func() {
			disks, missing := t.disks()
			if o.health > 0 {
				t.health(ctx, disks, o.health)
			}
			f.Disks = disks
			note(missing)
		}},
		{"nics", func() {
			nics, missing := t.nics(ctx, f.PCI)
			f.NICs = nics
			note(missing)
		}},
		{"bmc", func() { f.BMC = t.bmc(tables) }},
		{"psus", func() {
			psus, missing := tables.psus(tablesErr)
			f.PSUs = psus
			note(missing)
		}},
	} {
		start := time.Now()
		section.read()
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("detect hardware: %s: %w", section.name, err)
		}
		o.logger.Debug("hardware section read", "section", section.name, "took", time.Since(start))
	}
	return f, nil
}

// uefi tells how this boot went.
func (t *tree) uefi() (*bool, unknowns) {
	if !t.exists("sys/firmware") {
		var missing unknowns
		missing.add("uefi", "/sys/firmware is not there (is /sys mounted?)")
		return nil, missing
	}
	v := t.exists("sys/firmware/efi")
	return &v, nil
}
