//go:build linux

package hw

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// arrayName is how the kernel calls the devices of its RAID: md127, and md_NAME where mdadm was told to name them.
var arrayName = regexp.MustCompile(`^md(\d+|_.+)$`)

// mdUUID is the attribute md/uuid, which Linux has since 5.16.
var mdUUID = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// array reads an array of the kernel's RAID and marks the disks that it is made of. It returns nil for one that does
// not run, and for a container, which is what a firmware's RAID has instead of a controller: neither can be written to.
func (t *tree) array(name string, disks []Disk) *Disk {
	dir := t.real("sys/block/" + name)
	var missing unknowns
	members, err := t.list(dir + "/slaves")
	d := &Disk{Name: legible(name), Kind: RAIDVolume, Medium: MediumUnknown}
	if err != nil {
		missing.addErr("medium", err)
	} else if why := d.joined(t.disksOf(members, disks)); why != "" {
		missing.add("medium", "%s", why)
	}
	level, _ := t.text(dir + "/md/level")
	state, err := t.text(dir + "/md/array_state")
	if err != nil || level == "container" || slices.Contains([]string{"", "clear", "inactive", "broken"}, state) {
		return nil
	}
	if sectors, err := t.number(dir + "/size"); err != nil {
		missing.addErr("bytes", err)
	} else if sectors < 0 || sectors > 1<<53 {
		missing.add("bytes", "/%s/size: %d is no size", dir, sectors)
	} else {
		d.Bytes = sectors * 512
	}
	d.Removable = t.flag(&missing, "removable", dir+"/removable")
	d.ReadOnly = t.flag(&missing, "read_only", dir+"/ro")
	d.LogicalSector = t.sector(&missing, "logical_sector", dir+"/queue/logical_block_size")
	d.PhysicalSector = t.sector(&missing, "physical_sector", dir+"/queue/physical_block_size")
	if digits := t.arrayUUID(&missing, dir+"/md"); digits != "" {
		d.WWN = "uuid." + digits
		d.Path = strings.Join([]string{"md-uuid-" + digits[:8], digits[8:16], digits[16:24], digits[24:]}, ":")
	} else {
		missing.add("path", "an array has its persistent name from its UUID")
	}
	d.Unknown = missing
	return d
}

// arrayUUID returns the 32 digits of mdadm's UUID.
func (t *tree) arrayUUID(missing *unknowns, dir string) string {
	s, err := t.text(dir + "/uuid")
	if err != nil {
		missing.addErr("wwn", err)
		return ""
	}
	if s = strings.ToLower(s); !mdUUID.MatchString(s) {
		missing.add("wwn", "/%s/uuid: %q is no UUID", dir, s)
		return ""
	}
	digits := strings.ReplaceAll(s, "-", "")
	if strings.Trim(digits, "0") == "" {
		missing.add("wwn", "the kernel does not know the UUID of an array whose metadata a program keeps (imsm, ddf)")
		return ""
	}
	// The kernel shows the bytes as they are in memory, mdadm numbers of 32 bits, which are little-endian there.
	if version, err := t.text(dir + "/metadata_version"); err == nil && version == "0.90" {
		swapped := []byte(digits)
		for i := 0; i < len(swapped); i += 8 {
			for j := 0; j < 8; j += 2 {
				swapped[i+j], swapped[i+j+1] = digits[i+6-j], digits[i+7-j]
			}
		}
		digits = string(swapped)
	}
	return digits
}

// disksOf returns the disks that members of an array are, or are partitions of: nil for a member that is none of disks,
// such as an encrypted volume.
func (t *tree) disksOf(members []string, disks []Disk) []*Disk {
	var found []*Disk
	for _, m := range members {
		var at *Disk
		above := path.Base(path.Dir(t.real("sys/class/block/" + m))) // the disk of a partition
		for _, name := range []string{m, above} {
			if i := slices.IndexFunc(disks, func(d Disk) bool { return d.Name == legible(name) }); i >= 0 {
				at = &disks[i]
				break
			}
		}
		found = append(found, at)
	}
	return found
}

// joined marks the disks as members of an array and gives it their medium, or says why it has none.
func (d *Disk) joined(members []*Disk) (why string) {
	d.Medium = MediumUnknown
	var media []Medium
	for _, m := range members {
		if m == nil {
			why = "a member of the array is no disk of its own"
			continue
		}
		if names := strings.Split(m.MemberOf, ","); m.MemberOf == "" {
			m.MemberOf = d.Name
		} else if !slices.Contains(names, d.Name) {
			m.MemberOf += "," + d.Name
		}
		if !slices.Contains(media, m.Medium) {
			media = append(media, m.Medium)
		}
	}
	switch {
	case why != "":
	case len(media) == 0:
		why = "the array has no members"
	case len(media) > 1:
		why = "the members of the array have different media"
	case media[0] == MediumUnknown:
		why = "the members of the array do not tell"
	default:
		d.Medium = media[0]
	}
	return why
}
