package nvmetool

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// number is a field of `nvme id-ctrl`.
func number(c *raidtest.Controller, name string, otherwise int64) int64 {
	if n, err := strconv.ParseInt(c.Extra[name], 10, 64); err == nil {
		return n
	}
	return otherwise
}

// object is JSON with its keys in the tool's order.
type object struct{ lines []string }

func (o *object) add(key string, value any) {
	text := fmt.Sprint(value)
	switch v := value.(type) {
	case string:
		text = strconv.Quote(v)
	case object:
		text = v.String()
	case []object:
		var all []string
		for _, e := range v {
			all = append(all, e.String())
		}
		text = "[" + strings.Join(all, ",") + "]"
	}
	o.lines = append(o.lines, strconv.Quote(key)+" : "+text)
}

func (o object) String() string { return "{\n" + strings.Join(o.lines, ",\n") + "\n}" }

// padded is a string of the drive, which has a fixed width.
func padded(s string, width int) string { return fmt.Sprintf("%-*s", width, s) }

func idCtrl(c *raidtest.Controller) string {
	left := c.Drives[0].Bytes
	for _, v := range c.Volumes {
		left -= v.Bytes
	}
	oacs, fna := int64(0x15), int64(0)
	if len(c.Capabilities.Levels) > 0 {
		oacs |= 1 << 3
	}
	if len(c.Capabilities.Initialize) > 0 {
		oacs |= 1 << 1
	}
	if slices.Contains(c.Capabilities.Initialize, raid.InitializeFast) {
		fna |= 1 << 2
	}
	o := object{}
	for _, f := range []struct {
		key   string
		value int64
	}{{"vid", 0x1ded}, {"ssvid", 0x1ded}, {"sn", 0}, {"mn", 0}, {"fr", 0}, {"rab", 4}, {"ieee", 0x0da}, {"cmic", 0},
		{"mdts", 5}, {"cntlid", 5}, {"ver", 0x10200}, {"rtd3r", 500000}, {"rtd3e", 1000000}, {"oaes", 0x100},
		{"ctratt", 0}, {"rrls", 0}, {"crdt1", 0}, {"crdt2", 0}, {"crdt3", 0}, {"oacs", oacs}, {"acl", 3}, {"aerl", 3},
		{"frmw", 0x16}, {"lpa", 0xe}, {"elpe", 63}, {"npss", 0}, {"avscc", 1}, {"apsta", 0}, {"wctemp", 343},
		{"cctemp", 353}, {"mtfa", 50}, {"hmpre", 0}, {"hmmin", 0}, {"tnvmcap", c.Drives[0].Bytes}, {"unvmcap", left},
		{"rpmbs", 0}, {"edstt", 2}, {"dsto", 1}, {"fwug", 1}, {"kas", 0}, {"hctma", 0}, {"mntmt", 0}, {"mxtmt", 0},
		{"sanicap", 0}, {"hmminds", 0}, {"hmmaxd", 0}, {"nsetidmax", 0}, {"anatt", 0}, {"anacap", 0}, {"anagrpmax", 0},
		{"nanagrpid", 0}, {"sqes", 0x66}, {"cqes", 0x44}, {"maxcmd", 0}, {"nn", int64(max(c.Capabilities.MaxVolumes, 1))},
		{"oncs", 0x5f}, {"fuses", 0}, {"fna", fna}, {"vwc", 6}, {"awun", 0}, {"awupf", 0}, {"nvscc", 1}, {"nwpc", 0},
		{"acwu", 0}, {"sgls", 0}, {"subnqn", 0}, {"ioccsz", 0}, {"iorcsz", 0}, {"icdoff", 0}, {"ctrattr", 0}, {"msdbd", 0}} {
		switch f.key {
		case "sn":
			o.add(f.key, padded(c.Drives[0].Serial, 20))
		case "mn":
			o.add(f.key, padded(c.Model, 40))
		case "fr":
			o.add(f.key, padded(c.Firmware, 8))
		case "subnqn":
			o.add(f.key, cmp.Or(c.Extra["subnqn"], "nqn.2026-01.example.loda:"+c.Serial))
		default:
			o.add(f.key, number(c, f.key, f.value))
		}
	}
	power := object{}
	power.add("max_power", 2500)
	for _, key := range []string{"flags", "entry_lat", "exit_lat", "read_tput", "read_lat", "write_tput", "write_lat",
		"idle_power", "idle_scale", "active_power", "active_work_scale"} {
		power.add(key, 0)
	}
	o.add("psds", []object{power})
	return o.String() + "\n"
}

func ordered(c *raidtest.Controller) []*raidtest.Volume {
	return slices.SortedFunc(slices.Values(c.Volumes), func(a, b *raidtest.Volume) int { return a.Number - b.Number })
}

func listNS(c *raidtest.Controller, o map[string]int64) string {
	_, all := o["--all"]
	ids := []object{}
	for _, v := range ordered(c) {
		if all || !v.Stopped {
			id := object{}
			id.add("nsid", v.Number)
			ids = append(ids, id)
		}
	}
	told := object{}
	told.add("nsid_list", ids)
	return told.String() + "\n"
}

// idNS is all zeros for a namespace that is not there, or not attached: for those there is --force.
func idNS(c *raidtest.Controller, o map[string]int64) string {
	v := c.Volume(int(o["--namespace-id"]))
	_, force := o["--force"]
	sector := int64(c.Drives[0].LogicalSector)
	sectors, nguid := int64(0), strings.Repeat("0", 32)
	if v != nil && (!v.Stopped || force) {
		sectors, nguid = v.Bytes/sector, strings.TrimPrefix(v.WWN, "eui.")
	}
	format := 0
	if sector == 4096 {
		format = 1
	}
	told := object{}
	for _, f := range []struct {
		key   string
		value any
	}{{"nsze", sectors}, {"ncap", sectors}, {"nuse", sectors}, {"nsfeat", 0}, {"nlbaf", 1}, {"flbas", format}, {"mc", 0},
		{"dpc", 0}, {"dps", 0}, {"nmic", 0}, {"rescap", 0}, {"fpi", 128}, {"dlfeat", 0}, {"nawun", 0}, {"nawupf", 0},
		{"nacwu", 0}, {"nabsn", 0}, {"nabo", 0}, {"nabspf", 0}, {"noiob", 0}, {"nvmcap", sectors * sector}, {"nsattr", 0},
		{"nvmsetid", 0}, {"anagrpid", 0}, {"endgid", 0}, {"nguid", nguid}, {"eui64", strings.Repeat("0", 16)}} {
		told.add(f.key, f.value)
	}
	var formats []object
	for i, ds := range []int{9, 12} {
		f := object{}
		f.add("ms", 0)
		f.add("ds", ds)
		f.add("rp", 2*(1-i))
		formats = append(formats, f)
	}
	told.add("lbafs", formats)
	return told.String() + "\n"
}

func list(drives []*raidtest.Controller) string {
	var subsystems []object
	old := false
	for i, c := range drives {
		old = old || c.Extra["nvme-cli"] == "1"
		sector := int64(c.Drives[0].LogicalSector)
		namespaces := []object{}
		for _, v := range ordered(c) {
			if v.Stopped {
				continue
			}
			n := object{}
			n.add("NameSpace", fmt.Sprintf("nvme%dn%d", i, v.Number))
			if !old {
				n.add("Generic", fmt.Sprintf("ng%dn%d", i, v.Number))
			}
			n.add("NSID", v.Number)
			n.add("UsedBytes", v.Bytes)
			n.add("MaximumLBA", v.Bytes/sector)
			n.add("PhysicalSize", v.Bytes)
			n.add("SectorSize", sector)
			namespaces = append(namespaces, n)
		}
		of := object{}
		of.add("Controller", fmt.Sprintf("nvme%d", i))
		of.add("SerialNumber", c.Drives[0].Serial)
		of.add("ModelNumber", c.Model)
		of.add("Firmware", c.Firmware)
		of.add("Transport", "pcie")
		of.add("Address", string(c.ID))
		below, beside := []object{}, namespaces // with native multipath, namespaces are the subsystem's
		if old {
			below, beside = namespaces, []object{}
		}
		of.add("Namespaces", below)
		if !old {
			of.add("Paths", []object{})
		}
		s := object{}
		s.add("Subsystem", fmt.Sprintf("nvme-subsys%d", i))
		s.add("SubsystemNQN", cmp.Or(c.Extra["subnqn"], "nqn.2026-01.example.loda:"+c.Serial))
		s.add("Controllers", []object{of})
		s.add("Namespaces", beside)
		subsystems = append(subsystems, s)
	}
	told := object{}
	if old {
		told.add("Devices", subsystems)
		return told.String() + "\n"
	}
	host := object{}
	host.add("HostNQN", "nqn.2014-08.org.nvmexpress:uuid:00000000-0000-0000-0000-000000000000")
	host.add("HostID", "00000000-0000-0000-0000-000000000000")
	host.add("Subsystems", subsystems)
	told.add("Devices", []object{host})
	return told.String() + "\n"
}
