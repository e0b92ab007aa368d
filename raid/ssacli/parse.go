package ssacli

import (
	"errors"
	"slices"
	"strings"

	"github.com/project-loda/loda/raid"
)

const noAddress = "the tool does not tell the controller's PCI address"

// Name of the driver.
const Name = "ssacli"

// ToolError is what the tool refused to do, in its own words.
type ToolError struct {
	Message string
	// Options are the values that it would have taken instead, if it told.
	Options []string
}

func (e *ToolError) Error() string {
	text := "ssacli: " + clip(e.Message)
	if len(e.Options) > 0 {
		text += " (it takes " + clip(strings.Join(e.Options, ", ")) + ")"
	}
	return text
}

// nothing says that the error only tells of an empty list.
func (e *ToolError) nothing() bool {
	m := strings.ToLower(e.Message)
	return strings.Contains(m, "does not have any") || strings.Contains(m, "no controllers detected")
}

// Parse reads outputs of one machine: `ctrl all show config detail` tells everything that is known here, but any `show`
// of controllers, logical drives or physical drives is understood, and several are put together. Controllers are in the
// order of the tool's slots. An output that tells of no controller is no error if it says so.
func Parse(outputs ...[]byte) ([]*raid.Inventory, error) {
	var r reader
	size := 0
	for _, output := range outputs {
		if size += len(output); size > 64<<20 {
			return nil, errors.New("ssacli: outputs of more than 64 MiB are of no machine")
		}
		r.output(strings.ToValidUTF8(string(raid.Captured(output)), "\uFFFD"))
	}
	var refused error
	for _, e := range r.errors {
		if !e.nothing() {
			refused = errors.Join(refused, e)
		}
	}
	if len(r.controllers) == 0 {
		if refused == nil && len(r.errors) == 0 {
			refused = errors.New("ssacli: no controller, drive or error in the output; want that of " +
				"`ssacli ctrl all show config detail`")
		}
		return nil, refused
	}
	slices.SortStableFunc(r.controllers, func(a, b *controllerItem) int {
		return raid.CompareLocations(a.slot, b.slot)
	})
	inventories := make([]*raid.Inventory, len(r.controllers))
	for i, c := range r.controllers {
		inventories[i] = c.inventory()
		for _, e := range r.errors {
			if !e.nothing() {
				inventories[i].Warnings = append(inventories[i].Warnings, e.Error())
			}
		}
	}
	return inventories, nil
}

func (c *controllerItem) inventory() *raid.Inventory {
	inv := &raid.Inventory{Controller: c.controller(), Disks: []raid.PhysicalDisk{}, Volumes: []raid.VirtualDisk{}}
	if inv.Controller.ID == "" && c.slot != "" {
		inv.Warnings = append(inv.Warnings, noAddress)
	}
	inv.Warnings = append(inv.Warnings, c.complaints()...)
	for _, v := range c.volumes {
		inv.Volumes = append(inv.Volumes, c.virtual(v))
	}
	slices.SortStableFunc(inv.Volumes, func(a, b raid.VirtualDisk) int {
		return raid.CompareLocations(string(a.ID), string(b.ID))
	})
	for _, d := range c.drives {
		if strings.Contains(d.id, "?") {
			continue // the place of a member that is gone
		}
		disk := d.physical()
		for i := range inv.Volumes {
			v := &inv.Volumes[i]
			switch {
			case d.role() == spare && slices.Contains(d.arrays, v.Group):
				disk.SpareFor = append(disk.SpareFor, v.ID)
				v.Spares = append(v.Spares, disk.ID)
			case slices.Contains(v.Members, disk.ID):
				disk.Volumes = append(disk.Volumes, v.ID)
			}
		}
		inv.Disks = append(inv.Disks, disk)
	}
	slices.SortStableFunc(inv.Disks, func(a, b raid.PhysicalDisk) int {
		return raid.CompareLocations(a.Location, b.Location)
	})
	for i := range inv.Volumes {
		slices.SortFunc(inv.Volumes[i].Spares, func(a, b raid.DiskID) int {
			return raid.CompareLocations(string(a), string(b))
		})
		partial(&inv.Volumes[i], inv.Disks)
	}
	return inv
}

// complaints are about what is no drive and no volume. An array can have failed while each of its volumes is well.
func (c *controllerItem) complaints() []string {
	var all []string
	for _, key := range []string{"Controller Status", "Cache Status"} {
		if status := c.get(key); status != "" && status != "OK" && status != "Not Configured" {
			all = append(all, key+": "+clip(status))
		}
	}
	for _, a := range c.arrays {
		if status := a.get("Status"); status != "" && status != "OK" {
			all = append(all, "array "+a.name+": "+clip(status))
		} else if len(a.summary) > 0 && strings.HasPrefix(a.summary[0], "Failed") {
			all = append(all, "array "+a.name+": Failed")
		}
	}
	return all
}
