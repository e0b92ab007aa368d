package nvmens_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
)

const (
	address = raid.ControllerID("0000:3b:00.0")
	total   = 1600321314816
)

// drive stands in for nvme-cli and a drive behind it, beside one over a network.
type drive struct {
	oacs, fna int
	serial    string
	// namespaces by number: sectors of 512 bytes, and whether it is attached.
	namespaces map[int]*ns
	old        bool // nvme-cli 1.x
	formatted  []string
	log        []string
	lie        func(argv []string) (*raid.Output, error)
}

type ns struct {
	sectors  int64
	attached bool
	made     int
}

func newDrive() *drive {
	return &drive{oacs: 0x0e, fna: 4, serial: "PHLN0042001X1P6A",
		namespaces: map[int]*ns{1: {sectors: total / 512, attached: true}}}
}

func (d *drive) ids() []int {
	var all []int
	for id := range d.namespaces {
		all = append(all, id)
	}
	slices.Sort(all)
	return all
}

func (d *drive) Run(_ context.Context, argv ...string) (*raid.Output, error) {
	print := func(format string, args ...any) (*raid.Output, error) {
		return &raid.Output{Stdout: fmt.Appendf(nil, format, args...)}, nil
	}
	fail := func(format string, args ...any) (*raid.Output, error) {
		return &raid.Output{ExitCode: 1, Stderr: fmt.Appendf(nil, format, args...)}, nil
	}
	option := func(name string) int {
		for _, a := range argv {
			if v, ok := strings.CutPrefix(a, name+"="); ok {
				n, _ := strconv.Atoi(v)
				return n
			}
		}
		return 0
	}
	id := option("--namespace-id")
	n := d.namespaces[id]
	if argv[1] != "list" && (len(argv) < 3 || argv[2] != "/dev/nvme1") {
		return fail("no such device")
	}
	switch argv[1] {
	case "list":
		var all []string
		for _, id := range d.ids() {
			if n := d.namespaces[id]; n.attached {
				all = append(all, fmt.Sprintf(`{"NameSpace":"nvme1n%d","NSID":%d,"UsedBytes":0,"MaximumLBA":%d,"PhysicalSize":%d,`+
					`"SectorSize":512}`, id, id, n.sectors, n.sectors*512))
			}
		}
		fabric := `{"Subsystem":"nvme-subsys0","SubsystemNQN":"nqn.x","Controllers":[{"Controller":"nvme0","SerialNumber":"N",` +
			`"ModelNumber":"Linux","Firmware":"6.1","Transport":"tcp","Address":"traddr=10.0.0.1,trsvcid=4420"}],"Namespaces":[]}`
		pci := `{"Subsystem":"nvme-subsys1","SubsystemNQN":"nqn.y","Controllers":[{"Controller":"nvme1","SerialNumber":"` +
			d.serial + `    ","ModelNumber":"INTEL SSDPE2KE016T8 ","Firmware":"VDV10131","Transport":"pcie","Address":"0000:3B:00.0",` +
			`"Namespaces":%s}],"Namespaces":%s}`
		if list := "[" + strings.Join(all, ",") + "]"; d.old {
			pci = fmt.Sprintf(pci, list, "[]")
		} else {
			pci = fmt.Sprintf(pci, "[]", list)
		}
		if d.old {
			return print(`{"Devices":[%s,%s]}`, fabric, pci)
		}
		return print(`{"Devices":[{"HostNQN":"nqn.h","HostID":"1","Subsystems":[%s,%s]}]}`, fabric, pci)
	case "id-ctrl":
		return print(`{"vid":32902,"sn":"%s    ","mn":"INTEL SSDPE2KE016T8 ","fr":"VDV10131","cntlid":5,"oacs":%d,"fna":%d,`+
			`"nn":128,"tnvmcap":"%d","unvmcap":0}`, d.serial, d.oacs, d.fna, int64(total))
	case "list-ns":
		var all []string
		for _, id := range d.ids() {
			if d.namespaces[id].attached || slices.Contains(argv, "--all") {
				all = append(all, fmt.Sprintf(`{"nsid":%d}`, id))
			}
		}
		return print(`{"nsid_list":[%s]}`, strings.Join(all, ","))
	case "id-ns":
		if n == nil || !n.attached && !slices.Contains(argv, "--force") {
			return print(`{"nsze":0,"ncap":0,"nlbaf":0,"flbas":0,"lbafs":[]}`)
		}
		return print("noise\n"+`{"nsze":%d,"ncap":%d,"nlbaf":1,"flbas":0,"nguid":"00000000000000000000000000000000",`+
			`"eui64":"0100000001%06x","lbafs":[{"ms":0,"ds":9,"rp":2},{"ms":0,"ds":12,"rp":0}]}`, n.sectors, n.sectors,
			id<<8+n.made)
	}
	d.log = append(d.log, strings.Join(argv[1:], " "))
	if d.lie != nil {
		if out, err := d.lie(argv); out != nil || err != nil {
			return out, err
		}
	}
	switch argv[1] {
	case "create-ns":
		used := int64(0)
		for _, n := range d.namespaces {
			used += n.sectors
		}
		if sectors := int64(option("--nsze")); sectors+used <= total/512 && option("--ncap") == option("--nsze") &&
			option("--block-size") == 512 {
			id := 1
			for d.namespaces[id] != nil {
				id++
			}
			d.namespaces[id] = &ns{sectors: sectors, made: len(d.log)}
			return print("create-ns: Success, created nsid:%d\n", id)
		}
		return fail("NVMe status: NS_INSUFFICIENT_CAPACITY(0x2115)")
	case "attach-ns", "detach-ns":
		if attach := argv[1] == "attach-ns"; n != nil && option("--controllers") == 5 && n.attached != attach {
			n.attached = attach
			return print("%s: Success, nsid:%d\n", argv[1], id)
		}
	case "delete-ns":
		if n != nil {
			delete(d.namespaces, id)
			return print("delete-ns: Success, deleted nsid:%d\n", id)
		}
	case "format":
		if n != nil {
			d.formatted = append(d.formatted, fmt.Sprint(id))
			return print("Success formatting namespace:%x\n", id)
		}
	case "ns-rescan":
		return print("")
	}
	return fail("NVMe status: INVALID_NS(0xb)")
}
