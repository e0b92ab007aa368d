package mdadm_test

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// kernel stands in for mdadm, wipefs and the kernel under them: what is on drives, what runs, and what is printed of
// it, in the format of mdadm 4.2.
type kernel struct {
	disks []hw.Disk
	// on is the metadata of each device; dirty are devices with anything else on them.
	on    map[string]*metadata
	dirty map[string]bool
	// running are devices of arrays by UUID.
	running map[string]string
	failed  map[string]bool
	made    int
	// log has the commands that change something. before is asked before each of them; an error is the power cut.
	log    []string
	before func(argv []string) (out *raid.Output, err error)
}

type metadata struct {
	uuid, name, level, version string
	devices, role              int // role -1: spare
	chunk                      int
}

// kib is the size of an array over drives of 2 GiB, less what the metadata takes.
func (m *metadata) kib() int {
	n := map[string]int{"raid0": m.devices, "raid1": 1, "raid5": m.devices - 1, "raid6": m.devices - 2,
		"raid10": m.devices / 2}[m.level]
	return n * (2<<20 - 1<<10)
}

func newKernel(disks ...hw.Disk) *kernel {
	return &kernel{disks: disks, on: map[string]*metadata{}, dirty: map[string]bool{}, running: map[string]string{},
		failed: map[string]bool{}}
}

func (k *kernel) list(context.Context) ([]hw.Disk, error) { return k.disks, nil }

func (k *kernel) holder(device string) string {
	if m := k.on[device]; m != nil {
		return k.running[m.uuid]
	}
	return ""
}

// members of an array: positions first, then spares.
func (k *kernel) members(uuid string) []string {
	var all []string
	for device, m := range k.on {
		if m.uuid == uuid {
			all = append(all, device)
		}
	}
	slices.SortFunc(all, func(a, b string) int {
		if x, y := uint(k.on[a].role), uint(k.on[b].role); x != y {
			return int(min(x, 99)) - int(min(y, 99))
		}
		return strings.Compare(a, b)
	})
	return all
}

func (k *kernel) stat() ([]byte, error) {
	b := &strings.Builder{}
	fmt.Fprintln(b, "Personalities : [raid1] [raid0] [raid6] [raid5] [raid4] [raid10] ")
	for uuid, device := range k.running {
		members := k.members(uuid)
		fmt.Fprintf(b, "%s : active %s", path.Base(device), k.on[members[0]].level)
		for i, m := range members {
			flag := ""
			if k.on[m].role < 0 {
				flag = "(S)"
			}
			fmt.Fprintf(b, " %s[%d]%s", path.Base(m), i, flag)
		}
		fmt.Fprintf(b, "\n      %d blocks super %s\n      \n", k.on[members[0]].kib(), k.on[members[0]].version)
	}
	fmt.Fprintln(b, "unused devices: <none>")
	return []byte(b.String()), nil
}

func (k *kernel) Run(_ context.Context, argv ...string) (*raid.Output, error) {
	out := &raid.Output{}
	say := func(code int, format string, args ...any) (*raid.Output, error) {
		out.ExitCode, out.Stderr = code, fmt.Appendf(nil, format+"\n", args...)
		return out, nil
	}
	print := func(format string, args ...any) { out.Stdout = fmt.Appendf(out.Stdout, format+"\n", args...) }
	command := strings.Join(argv, " ")
	var options, devices []string
	for _, a := range argv[1:] {
		if strings.HasPrefix(a, "-") {
			options = append(options, a)
		} else {
			devices = append(devices, a)
		}
	}
	option := func(name string) string {
		for _, o := range options {
			if v, ok := strings.CutPrefix(o, name+"="); ok {
				return v
			}
		}
		return ""
	}
	switch {
	case strings.HasPrefix(command, "mdadm --detail --export /dev/md"), strings.HasPrefix(command, "mdadm --detail /dev/md"):
		for uuid, device := range k.running {
			if device == devices[0] {
				k.detail(print, uuid, slices.Contains(options, "--export"))
			}
		}
		return out, nil
	case command == "mdadm --examine --scan --verbose":
		byUUID := map[string][]string{}
		for device, m := range k.on {
			byUUID[m.uuid] = append(byUUID[m.uuid], device)
		}
		for uuid, devices := range byUUID {
			m := k.on[devices[0]]
			print("ARRAY /dev/md/%s  level=%s metadata=%s num-devices=%d UUID=%s name=any:%s\n   devices=%s", m.name, m.level,
				m.version, m.devices, uuid, m.name, strings.Join(devices, ","))
		}
		return out, nil
	case strings.HasPrefix(command, "mdadm --examine /dev/"):
		for _, device := range devices {
			m := k.on[device]
			if m == nil {
				return say(1, "mdadm: No md superblock detected on %s.", device)
			}
			role := "spare"
			if m.role >= 0 {
				role = fmt.Sprintf("Active device %d", m.role)
			}
			print("%s:\n          Magic : a92b4efc\n        Version : %s\n     Array UUID : %s\n           Name : any:%s", device,
				m.version, m.uuid, m.name)
			print("     Raid Level : %s\n   Raid Devices : %d\n\n     Array Size : %d KiB (1024.00 MiB 1073.74 MB)", m.level,
				m.devices, m.kib())
			print("   Device Role : %s\n   Array State : AA ('A' == active, '.' == missing, 'R' == replacing)", role)
		}
		return out, nil
	case strings.HasPrefix(command, "wipefs /dev/"):
		for _, device := range devices {
			if k.dirty[device] || k.on[device] != nil {
				print("%s 0x1000 linux_raid_member", path.Base(device))
			}
		}
		return out, nil
	}

	k.log = append(k.log, command)
	if k.before != nil {
		if out, err := k.before(argv); out != nil || err != nil {
			return out, err
		}
	}
	switch {
	case argv[0] == "wipefs":
		for _, device := range devices {
			if k.holder(device) != "" {
				return say(1, "wipefs: error: %s: probing initialization failed: Device or resource busy", device)
			}
			delete(k.on, device)
			delete(k.dirty, device)
		}
	case options[0] == "--zero-superblock":
		for _, device := range devices {
			if k.holder(device) != "" {
				return say(2, "mdadm: Couldn't open %s for write - not zeroing", device)
			}
			delete(k.on, device)
		}
	case options[0] == "--stop":
		for uuid, device := range k.running {
			if device == devices[0] {
				delete(k.running, uuid)
				return say(0, "mdadm: stopped %s", device)
			}
		}
		return say(1, "mdadm: error opening %s: No such file or directory", devices[0])
	case options[0] == "--assemble":
		for device, m := range k.on {
			if k.running[m.uuid] == "" && device != "" {
				k.running[m.uuid] = "/dev/md" + strconv.Itoa(127-len(k.running))
			}
		}
	case options[0] == "--create":
		k.made++
		uuid := fmt.Sprintf("%08x:00000000:00000000:0000feed", k.made)
		chunk, _ := strconv.Atoi(option("--chunk"))
		level := option("--level")
		for i, device := range devices[1:] {
			if k.holder(device) != "" {
				return say(1, "mdadm: super1.x cannot open %s: Device or resource busy", device)
			}
			k.on[device] = &metadata{uuid: uuid, name: option("--name"), level: "raid" + level, chunk: chunk,
				version: option("--metadata"), devices: len(devices) - 1, role: i}
		}
		k.running[uuid] = "/dev/md" + strconv.Itoa(127-len(k.running))
		return say(0, "mdadm: array %s started.", devices[0])
	case options[0] == "--manage":
		for uuid, device := range k.running {
			m := *k.on[k.members(uuid)[0]]
			if device != devices[0] && devices[0] != "/dev/md/"+m.name {
				continue
			}
			for _, d := range devices[1:] {
				if slices.Contains(options, "--add") {
					m.role = -1
					added := m
					k.on[d] = &added
				} else if k.on[d] == nil || k.on[d].uuid != uuid {
					return say(1, "mdadm: hot remove failed for %s: No such device or address", d)
				} else {
					delete(k.on, d)
				}
			}
			return out, nil
		}
		return say(1, "mdadm: error opening %s: No such file or directory", devices[0])
	default:
		return say(2, "mdadm: unrecognized option '%s'", argv[1])
	}
	return out, nil
}

func (k *kernel) detail(print func(string, ...any), uuid string, export bool) {
	members := k.members(uuid)
	m := k.on[members[0]]
	if export {
		print("MD_LEVEL=%s\nMD_DEVICES=%d\nMD_METADATA=%s\nMD_UUID=%s\nMD_DEVNAME=%s\nMD_NAME=any:%s", m.level, m.devices, m.version,
			uuid, m.name, m.name)
		for _, device := range members {
			id, role := strings.ReplaceAll(device[1:], "/", "_"), "spare"
			if k.on[device].role >= 0 {
				role = strconv.Itoa(k.on[device].role)
			}
			print("MD_DEVICE_%s_ROLE=%s\nMD_DEVICE_%s_DEV=%s", id, role, id, device)
		}
		return
	}
	state := "clean"
	for _, device := range members {
		if k.failed[device] {
			state = "clean, degraded"
		}
	}
	print("%s:\n           Version : %s\n     Creation Time : Tue Nov 25 03:00:00 2025\n        Raid Level : %s", k.running[uuid],
		m.version, m.level)
	print("        Array Size : %d (1024.00 MiB 1073.74 MB)\n      Raid Devices : %d\n     Total Devices : %d", m.kib(), m.devices,
		len(members))
	print("             State : %s \n", state)
	if m.chunk > 0 {
		print("        Chunk Size : %dK\n", m.chunk)
	}
	print("              Name : any:%s\n              UUID : %s\n            Events : 17\n", m.name, uuid)
	print("    Number   Major   Minor   RaidDevice State")
	for i, device := range members {
		switch role := k.on[device].role; {
		case k.failed[device]:
			print("       %d       8       %2d        -      faulty   %s", i, i*16, device)
		case role < 0:
			print("       %d       8       %2d        -      spare   %s", i, i*16, device)
		default:
			print("       %d       8       %2d        %d      active sync   %s", i, i*16, role, device)
		}
	}
}
