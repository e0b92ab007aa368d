package arcconf

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// Name of the driver.
const Name = "arcconf"

// ToolError is what the tool refused to do, in its own words.
type ToolError struct{ Message string }

func (e *ToolError) Error() string { return "arcconf: " + clip(e.Message) }

// Parse reads outputs of one machine: of LIST, and of GETCONFIG, all of it or AD, AR, LD and PD, and of GETSTATUS. What
// does not tell of which controller it is belongs to the one before it. No controller is no error if the tool says so.
func Parse(outputs ...[]byte) ([]*raid.Inventory, error) {
	r := reader{found: -1}
	size := 0
	for _, output := range outputs {
		if size += len(output); size > 64<<20 {
			return nil, errors.New("arcconf: outputs of more than 64 MiB are of no machine")
		}
		if sasircu.Match(output) {
			continue // which has the same headings
		}
		r.output(strings.ToValidUTF8(string(raid.Captured(output)), "\uFFFD"))
	}
	if len(r.controllers) == 0 {
		if r.found == 0 {
			return nil, nil
		}
		for _, output := range outputs {
			if err := verdict(&raid.Output{Stdout: output}); err != nil {
				return nil, err
			}
		}
		return nil, errors.New("arcconf: no controller, drive or volume in the output; want that of " +
			"`arcconf GETCONFIG 1`")
	}
	if r.found == 1 && len(r.controllers) == 1 && r.controllers[0].number == "" {
		r.controllers[0].number = "1" // the tool counts from 1
	}
	slices.SortStableFunc(r.controllers, func(a, b *controllerItem) int {
		return raid.CompareLocations(a.number, b.number)
	})
	inventories := make([]*raid.Inventory, len(r.controllers))
	for i, c := range r.controllers {
		inventories[i] = c.inventory()
	}
	return inventories, nil
}

var sasircu = regexp.MustCompile(`(?m)SAS[23]IRCU: |SAS[23] IR Configuration Utility|^\s*IR [Vv]olume `)

const noAddress = "the tool does not tell the controller's PCI address"

func (c *controllerItem) inventory() *raid.Inventory {
	inv := &raid.Inventory{Disks: []raid.PhysicalDisk{}, Volumes: []raid.VirtualDisk{}}
	inv.Controller = c.controller()
	if inv.Controller.ID == "" && c.fields != nil {
		inv.Warnings = append(inv.Warnings, noAddress)
	}
	for _, label := range []string{"controller status", "reboot required reasons"} {
		switch v := c.get(label); strings.ToLower(v) {
		case "", "optimal", "okay", "ok", "none":
		default:
			inv.Warnings = append(inv.Warnings, label+": "+clip(v))
		}
	}
	arrays := map[raid.DiskID][]string{} // that a drive is in, or a spare of
	for _, d := range c.drives {
		if d.kind != "hard drive" && !strings.Contains(d.kind, "solid state") && !strings.Contains(d.kind, "ssd") {
			continue // an enclosure
		}
		disk := d.physical()
		if disk.ID == "" || slices.ContainsFunc(inv.Disks, func(o raid.PhysicalDisk) bool { return o.ID == disk.ID }) {
			continue
		}
		arrays[disk.ID] = numbers(d.get("array", "array(s)", "arrays"))
		inv.Disks = append(inv.Disks, disk)
	}
	if !c.drivesTold {
		c.drivesOfVolumes(inv)
	}
	slices.SortStableFunc(inv.Disks, func(a, b raid.PhysicalDisk) int {
		if order := raid.CompareLocations(a.Location, b.Location); order != 0 {
			return order
		}
		return raid.CompareLocations(string(a.ID), string(b.ID))
	})
	for _, v := range c.volumes {
		inv.Volumes = append(inv.Volumes, c.virtual(v, inv, arrays))
	}
	slices.SortStableFunc(inv.Volumes, func(a, b raid.VirtualDisk) int {
		return raid.CompareLocations(string(a.ID), string(b.ID))
	})
	c.connect(inv, arrays)
	return inv
}

// connect drives with the volumes that they are in or wait for.
func (c *controllerItem) connect(inv *raid.Inventory, arrays map[raid.DiskID][]string) {
	dedicated := map[raid.DiskID][]string{}
	for _, d := range c.drives {
		for label, value := range d.fields {
			// Dedicated Hot-Spare for : 0 and its relatives.
			if strings.HasPrefix(label, "dedicated") && !strings.Contains(label, "/") {
				id := d.id()
				dedicated[id] = append(dedicated[id], numbers(value)...)
			}
		}
	}
	for i := range inv.Disks {
		disk := &inv.Disks[i]
		for j := range inv.Volumes {
			v := &inv.Volumes[j]
			switch {
			case slices.Contains(v.Members, disk.ID):
				disk.Volumes = append(disk.Volumes, v.ID)
			case disk.State.Is != raid.DiskSpare:
			case v.Group != "" && slices.Contains(arrays[disk.ID], v.Group),
				slices.Contains(dedicated[disk.ID], string(v.ID)):
				disk.SpareFor = append(disk.SpareFor, v.ID)
				v.Spares = append(v.Spares, disk.ID)
			}
		}
	}
}

// drivesOfVolumes takes drives from the members of volumes where no list of drives was read.
func (c *controllerItem) drivesOfVolumes(inv *raid.Inventory) {
	for _, set := range append(slices.Clone(c.volumes), c.arrays...) {
		for i := range set.members {
			m := &set.members[i]
			disk := raid.PhysicalDisk{ID: m.id(), Location: m.location(), Serial: m.serial}
			if disk.ID == "" && m.serial != "" {
				disk.ID = raid.DiskID("serial:" + m.serial)
			}
			if disk.ID == "" || slices.ContainsFunc(inv.Disks, func(o raid.PhysicalDisk) bool { return o.ID == disk.ID }) {
				continue
			}
			for _, part := range m.parts {
				if n, ok := bytesOf(part); ok {
					disk.Bytes, disk.Rounded = n, true
				}
			}
			brackets := strings.Join(m.parts, " ")
			disk.Bus = busOf(brackets)
			disk.Medium = mediumOf(disk.Bus, brackets)
			disk.State.Raw = m.state
			switch m.state {
			case "present":
				disk.State.Is = raid.DiskOnline
			case "rebuilding":
				disk.State.Is = raid.DiskRebuilding
			}
			inv.Disks = append(inv.Disks, disk)
		}
	}
}

var wordsOfStrips = func() (strips []hw.Size) {
	for kib := hw.Size(16); kib <= 1024; kib *= 2 {
		strips = append(strips, kib<<10)
	}
	return strips
}()

// numbers of `0, 1` or `Array 0`.
func numbers(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r < '0' || r > '9' })
}

func number(s string) int {
	n, err := strconv.Atoi(strings.TrimSpace(s))
	if err != nil || n < 0 {
		return 0
	}
	return n
}

// verdict is what the tool says at the end: that alone tells success from failure, whatever its exit status.
func verdict(out *raid.Output) error {
	text := string(out.Stdout) + "\n" + string(out.Stderr)
	if strings.Contains(text, "Command completed successfully") {
		return nil
	}
	var said []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "Controllers found:") {
			said = append(said, line)
		}
	}
	if len(said) == 0 {
		return fmt.Errorf("arcconf said nothing (exit status %d)", out.ExitCode)
	}
	return &ToolError{strings.Join(said[max(0, len(said)-4):], " ")}
}

// clip keeps messages readable.
func clip(s string) string {
	if len(s) > 300 {
		return strings.ToValidUTF8(s[:300], "") + "..."
	}
	return s
}
