package mdadmtool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// device is the node of a drive: a letter for each slot, unless the drive says otherwise.
func device(d *raidtest.Drive) string {
	if name := d.Extra["device"]; name != "" {
		return "/dev/" + name
	}
	letters := ""
	for n := d.Slot + 1; n > 0; n = (n - 1) / 26 {
		letters = string(rune('a'+(n-1)%26)) + letters
	}
	return "/dev/sd" + letters
}

// number is the major and minor one.
func number(d *raidtest.Drive) (major, minor int) {
	if _, err := fmt.Sscanf(d.Extra["number"], "%d:%d", &major, &minor); err == nil {
		return major, minor
	}
	if major = 8; d.Slot >= 16 {
		major = 64 + d.Slot/16
	}
	return major, d.Slot % 16 * 16
}

// find returns the drive of a node that is there.
func find(c *raidtest.Controller, node string) *raidtest.Drive {
	i := slices.IndexFunc(c.Drives, func(d *raidtest.Drive) bool { return !d.Pulled && device(d) == node })
	if i < 0 {
		return nil
	}
	return c.Drives[i]
}

// node is the device of an array that runs; numbers go down from 127 as arrays are assembled.
func node(v *raidtest.Volume) string {
	return cmp.Or(v.Extra["device"], fmt.Sprintf("/dev/md%d", 127-v.Number))
}

// uuid is the name of an array in the groups of mdadm.
func uuid(wwn string) string {
	id := strings.TrimPrefix(wwn, "uuid.")
	return strings.Join([]string{id[:8], id[8:16], id[16:24], id[24:]}, ":")
}

func metadata(v *raidtest.Volume) string {
	if m := v.Extra["metadata"]; m != "" || !v.Boot {
		return cmp.Or(m, "1.2")
	}
	return "1.0"
}

// level is its name.
func level(v *raidtest.Volume) string { return "raid" + string(v.Level) }

type printer struct {
	strings.Builder
	c *raidtest.Controller
}

func (p *printer) printf(format string, args ...any) { fmt.Fprintf(p, format, args...) }

// array finds one that runs by either of its nodes.
func (p *printer) array(name string) *raidtest.Volume {
	for _, v := range p.c.Volumes {
		if !v.Stopped && (name == node(v) || name == "/dev/md/"+v.Name) {
			return v
		}
	}
	return nil
}

// named is the array's name with the machine that it is for.
func named(v *raidtest.Volume) string {
	home := cmp.Or(v.Extra["home"], "any")
	name := home + ":" + v.Name
	if v.Extra["home"] != "" {
		name += "  (local to host " + home + ")"
	}
	return name
}

// share is what each drive gives, in KiB.
func share(v *raidtest.Volume) int64 {
	n := int64(len(v.Members))
	switch v.Level {
	case raid.Level0:
		return v.Bytes / n >> 10
	case raid.Level5:
		return v.Bytes / (n - 1) >> 10
	case raid.Level6:
		return v.Bytes / (n - 2) >> 10
	case raid.Level10:
		return v.Bytes / (n / 2) >> 10
	}
	return v.Bytes >> 10
}

func human(kib int64) string {
	bytes := float64(kib) * 1024
	switch {
	case kib < 2<<20:
		return fmt.Sprintf("(%.2f MiB %.2f MB)", bytes/(1<<20), bytes/1e6)
	case kib < 2<<30:
		return fmt.Sprintf("(%.2f GiB %.2f GB)", bytes/(1<<30), bytes/1e9)
	}
	return fmt.Sprintf("(%.2f TiB %.2f TB)", bytes/(1<<40), bytes/1e12)
}

// place is one line of the table of members.
type place struct {
	drive *raidtest.Drive // nil: nothing is there
	role  int             // -1: none
	state string
	gone  bool // the kernel holds on to what has no device any more
}

func (p *printer) places(v *raidtest.Volume) []place {
	var all, rest []place
	known := func(serial string) *raidtest.Drive {
		i := slices.IndexFunc(p.c.Drives, func(d *raidtest.Drive) bool { return d.Serial == serial })
		if serial == "" || i < 0 {
			return nil
		}
		return p.c.Drives[i]
	}
	for i, serial := range v.Members {
		d := known(serial)
		switch {
		case d == nil:
			all = append(all, place{role: i, state: "removed"})
		case d.Pulled || d.State == raid.DiskFailed:
			all = append(all, place{role: i, state: "removed"})
			rest = append(rest, place{drive: d, role: -1, state: "faulty", gone: d.Pulled})
		case d.State == raid.DiskRebuilding:
			all = append(all, place{drive: d, role: i, state: "spare rebuilding"})
		default:
			all = append(all, place{drive: d, role: i, state: "active sync"})
		}
	}
	for _, d := range p.c.Drives {
		switch {
		case d.State == raid.DiskSpare && slices.Contains(d.SpareFor, v.Number) && !d.Pulled:
			rest = append(rest, place{drive: d, role: -1, state: "spare"})
		case d.State == raid.DiskFailed && d.Record != nil && d.Record.WWN == v.WWN:
			rest = append(rest, place{drive: d, role: -1, state: "faulty", gone: d.Pulled})
		}
	}
	return append(all, rest...)
}

// syncing is what goes on, and how far it is.
func (p *printer) syncing(v *raidtest.Volume) (what string, done float64) {
	for _, serial := range v.Members {
		if d := p.c.Drive(serial); d != nil && d.State == raid.DiskRebuilding {
			return "recovery", d.Rebuild
		}
	}
	if v.Initializing != "" {
		return "resync", v.Initialized
	}
	return "", 0
}

func (p *printer) state(v *raidtest.Volume) string {
	s := "clean"
	switch p.c.State(v) {
	case raid.VolumeFailed:
		if v.Level == raid.Level0 {
			return "broken"
		}
		s += ", FAILED"
	case raid.VolumeDegraded, raid.VolumePartial:
		s += ", degraded"
	case raid.VolumeRebuilding:
		return s + ", degraded, recovering"
	}
	if v.Initializing != "" && s == "clean" {
		s += ", resyncing"
	}
	return s
}

// detail prints an array that runs. The field of names is as wide as that of mdadm 4.
func (p *printer) detail(v *raidtest.Volume) {
	old := p.c.Extra["mdadm"] == "3"
	field := func(name, format string, args ...any) {
		p.printf("%18s : %s\n", name, fmt.Sprintf(format, args...))
	}
	places := p.places(v)
	count := func(states ...string) (n int) {
		for _, at := range places {
			if slices.Contains(states, at.state) {
				n++
			}
		}
		return n
	}
	p.printf("%s:\n", node(v))
	field("Version", "%s", metadata(v))
	field("Creation Time", "%s", cmp.Or(v.Extra["created"], "Tue Nov 25 02:11:40 2025"))
	field("Raid Level", "%s", level(v))
	field("Array Size", "%d %s", v.Bytes>>10, human(v.Bytes>>10))
	if v.Level != raid.Level0 {
		field("Used Dev Size", "%d %s", share(v), human(share(v)))
	}
	field("Raid Devices", "%d", len(v.Members))
	field("Total Devices", "%d", len(places)-count("removed"))
	field("Persistence", "Superblock is persistent")
	p.printf("\n")
	if v.Extra["bitmap"] != "" {
		field("Intent Bitmap", "Internal")
		p.printf("\n")
	}
	field("Update Time", "%s", cmp.Or(v.Extra["updated"], "Tue Nov 25 03:01:12 2025"))
	field("State", "%s ", p.state(v))
	field("Active Devices", "%d", count("active sync"))
	field("Working Devices", "%d", count("active sync", "spare", "spare rebuilding"))
	field("Failed Devices", "%d", count("faulty"))
	field("Spare Devices", "%d", count("spare", "spare rebuilding"))
	p.printf("\n")
	switch v.Level {
	case raid.Level5, raid.Level6:
		field("Layout", "left-symmetric")
	case raid.Level10:
		field("Layout", "near=2")
	}
	if v.Level != raid.Level1 {
		field("Chunk Size", "%dK", v.Strip>>10)
		p.printf("\n")
	}
	if !old {
		policy := "resync"
		if v.Level == raid.Level0 {
			policy = "none"
		}
		field("Consistency Policy", "%s", policy)
		p.printf("\n")
	}
	if what, done := p.syncing(v); what != "" {
		word := map[string]string{"recovery": "Rebuild Status", "resync": "Resync Status"}[what]
		field(word, "%d%% complete", int(done*100))
		p.printf("\n")
	}
	field("Name", "%s", named(v))
	field("UUID", "%s", uuid(v.WWN))
	field("Events", "%s", cmp.Or(v.Extra["events"], "17"))
	p.printf("\n    Number   Major   Minor   RaidDevice State\n")
	for i, at := range places {
		if i == len(v.Members) {
			p.printf("\n")
		}
		if at.drive == nil || at.state == "removed" {
			p.printf("       -       0        0    %5d      removed\n", at.role)
			continue
		}
		major, minor := number(at.drive)
		role := fmt.Sprintf("%5d", at.role)
		if at.role < 0 {
			role = "    -"
		}
		n := i
		if at.state == "spare rebuilding" {
			n = len(places)
		}
		p.printf("   %5d   %5d    %5d    %s      %s", n, major, minor, role, at.state)
		if !at.gone {
			p.printf("   %s", device(at.drive))
		}
		p.printf("\n")
	}
}

func (p *printer) export(v *raidtest.Volume) {
	p.printf("MD_LEVEL=%s\nMD_DEVICES=%d\nMD_METADATA=%s\nMD_UUID=%s\nMD_DEVNAME=%s\nMD_NAME=%s\n", level(v),
		len(v.Members), metadata(v), uuid(v.WWN), v.Name, cmp.Or(v.Extra["home"], "any")+":"+v.Name)
	for _, at := range p.places(v) {
		if at.drive == nil || at.gone || at.state == "removed" {
			continue
		}
		role := "spare"
		if at.role >= 0 {
			role = fmt.Sprint(at.role)
		}
		id := strings.ReplaceAll(strings.TrimPrefix(device(at.drive), "/"), "/", "_")
		p.printf("MD_DEVICE_%s_ROLE=%s\nMD_DEVICE_%s_DEV=%s\n", id, role, id, device(at.drive))
	}
}

// stat prints /proc/mdstat.
func (p *printer) stat() {
	p.printf("Personalities : [raid1] [raid6] [raid5] [raid4] [raid0] [raid10] \n")
	for _, v := range p.c.Volumes {
		if v.Stopped {
			continue
		}
		p.printf("%s : active %s", strings.TrimPrefix(node(v), "/dev/"), level(v))
		places := p.places(v)
		marks, up := "", 0
		for i, at := range places {
			switch {
			case at.role >= 0 && at.state == "active sync":
				marks += "U"
				up++
			case at.role >= 0:
				marks += "_"
			}
			if at.state == "removed" {
				continue
			}
			flag := map[string]string{"faulty": "(F)", "spare": "(S)"}[at.state]
			p.printf(" %s[%d]%s", strings.TrimPrefix(device(at.drive), "/dev/"), i, flag)
		}
		p.printf("\n      %d blocks super %s", v.Bytes>>10, metadata(v))
		switch v.Level {
		case raid.Level0:
			p.printf(" %dk chunks", v.Strip>>10)
		case raid.Level5, raid.Level6:
			p.printf(" level %s, %dk chunk, algorithm 2", v.Level, v.Strip>>10)
		case raid.Level10:
			p.printf(" %dK chunks 2 near-copies", v.Strip>>10)
		}
		if v.Level != raid.Level0 {
			p.printf(" [%d/%d] [%s]", len(v.Members), up, marks)
		}
		p.printf("\n")
		if what, done := p.syncing(v); what != "" {
			bar := int(done * 20)
			p.printf("      [%s>%s]  %s = %.1f%% (%d/%d) finish=127.5min speed=33440K/sec\n", strings.Repeat("=", bar),
				strings.Repeat(".", 20-bar), what, done*100, int64(done*float64(share(v))), share(v))
		}
		p.printf("      \n")
	}
	p.printf("unused devices: <none>\n")
}

// records is the array of which a drive tells, and the place that it says to have there; -1: it waits.
func (p *printer) records(d *raidtest.Drive) (v *raidtest.Volume, role int) {
	for _, v := range p.c.Volumes {
		if i := slices.Index(v.Members, d.Serial); i >= 0 {
			return v, i
		}
		switch r := d.Record; {
		case slices.Contains(d.SpareFor, v.Number), r != nil && r.WWN == v.WWN && r.Spare:
			return v, -1
		case r != nil && r.WWN == v.WWN:
			return v, r.Role
		}
	}
	return nil, -1
}

func (p *printer) scan() {
	var foreign []string
	devices := map[*raidtest.Volume][]string{}
	spares := map[*raidtest.Volume]int{}
	for _, d := range p.c.Drives {
		if d.Pulled {
			continue
		}
		if d.Foreign != nil {
			foreign = append(foreign, device(d))
		}
		if v, role := p.records(d); v != nil {
			if devices[v] = append(devices[v], device(d)); role < 0 {
				spares[v]++
			}
		}
	}
	if len(foreign) > 0 {
		p.printf("ARRAY metadata=imsm UUID=1f0e2d3c:4b5a6978:8796a5b4:c3d2e1f0\n   devices=%s\n", strings.Join(foreign, ","))
	}
	for _, v := range p.c.Volumes {
		if len(devices[v]) == 0 {
			continue
		}
		p.printf("ARRAY /dev/md/%s  level=%s metadata=%s num-devices=%d UUID=%s name=any:%s\n", v.Name, level(v), metadata(v),
			len(v.Members), uuid(v.WWN), v.Name)
		if n := spares[v]; n > 0 {
			p.printf("   spares=%d", n)
		}
		p.printf("   devices=%s\n", strings.Join(devices[v], ","))
	}
}

func (p *printer) examine(devices []string) error {
	missing := []string{}
	for _, name := range devices {
		d := find(p.c, name)
		if d == nil {
			missing = append(missing, "mdadm: cannot open "+name+": No such file or directory\n")
			continue
		}
		if f := d.Foreign; f != nil {
			p.printf("%s:\n          Magic : Intel Raid ISM Cfg Sig.\n        Version : 1.3.00\n    Orig Family : 3b2f1c4d\n"+
				"         Family : 3b2f1c4d\n     Generation : 00000019\n           UUID : 1f0e2d3c:4b5a6978:8796a5b4:c3d2e1f0\n"+
				"       Checksum : 8d7c6b5a correct\n    MPB Sectors : 1\n          Disks : %d\n   RAID Devices : 1\n\n", name,
				len(f.Members))
			p.printf("[%s]:\n           UUID : 99887766:55443322:11009988:77665544\n     RAID Level : %s\n"+
				"        Members : %d\n\n", cmp.Or(f.Name, "Volume0"), f.Level, len(f.Members))
			continue
		}
		v, role := p.records(d)
		if v == nil {
			missing = append(missing, "mdadm: No md superblock detected on "+name+".\n")
			continue
		}
		p.superblock(name, v, role)
	}
	if len(missing) > 0 {
		return &said{strings.Join(missing, ""), 1}
	}
	return nil
}

func (p *printer) superblock(name string, v *raidtest.Volume, role int) {
	p.printf("%s:\n          Magic : a92b4efc\n        Version : %s\n    Feature Map : 0x0\n     Array UUID : %s\n"+
		"           Name : any:%s\n  Creation Time : Tue Nov 25 02:11:40 2025\n     Raid Level : %s\n"+
		"   Raid Devices : %d\n\n", name, metadata(v), uuid(v.WWN), v.Name, level(v), len(v.Members))
	p.printf(" Avail Dev Size : %d sectors %s\n", share(v)*2, human(share(v)))
	if v.Level != raid.Level0 { // whose size is not in the superblock
		p.printf("     Array Size : %d KiB %s\n", v.Bytes>>10, human(v.Bytes>>10))
	}
	p.printf("          State : clean\n    Device UUID : 6e8c2f1d:0b9a4c77:e1d3f5a2:%08x\n\n", role+1)
	switch v.Level {
	case raid.Level5, raid.Level6:
		p.printf("         Layout : left-symmetric\n")
	case raid.Level10:
		p.printf("         Layout : near=2\n")
	}
	if v.Level != raid.Level1 {
		p.printf("     Chunk Size : %dK\n\n", v.Strip>>10)
	}
	is, marks := "spare", ""
	if role >= 0 {
		is = fmt.Sprintf("Active device %d", role)
	}
	for _, serial := range v.Members {
		mark := "."
		if p.c.Drive(serial) != nil {
			mark = "A"
		}
		marks += mark
	}
	p.printf("   Device Role : %s\n   Array State : %s ('A' == active, '.' == missing, 'R' == replacing)\n", is, marks)
}

// signatures is what wipefs lists of a drive: nothing of an empty one.
func (p *printer) signatures(d *raidtest.Drive) {
	kind := ""
	switch {
	case d.Foreign != nil:
		kind = "isw_raid_member"
	case p.c.Recorded(d.Serial):
		kind = "linux_raid_member"
	case d.Data != "":
		kind = "ext4"
	default:
		return
	}
	name := strings.TrimPrefix(device(d), "/dev/")
	p.printf("DEVICE OFFSET TYPE UUID LABEL\n%s 0x1000 %s\n", name, kind)
}
