package sasircu_test

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/project-loda/loda/raid"
)

// hba stands in for sas3ircu and a controller at 0000:af:00.0, the second that it sees.
type hba struct {
	raid   bool
	drives []*hbaDrive
	// volumes by id.
	volumes map[int]*hbaVolume
	made    int
	syncing bool
	log     []string
	lie     func(argv []string) (*raid.Output, error)
}

type hbaDrive struct{ place, serial, state string }

type hbaVolume struct {
	wwid, level, status string
	boot                bool
	places              []string
}

func newHBA(serials ...string) *hba {
	h := &hba{raid: true, volumes: map[int]*hbaVolume{}}
	for i, s := range serials {
		h.drives = append(h.drives, &hbaDrive{fmt.Sprintf("2:%d", i+8), s, "Ready (RDY)"})
	}
	return h
}

func (h *hba) Run(_ context.Context, argv ...string) (*raid.Output, error) {
	b := &strings.Builder{}
	fmt.Fprint(b, "Avago Technologies SAS3 IR Configuration Utility.\nVersion 17.00.00.00 (2018.04.02)\n\n")
	done := func() (*raid.Output, error) {
		fmt.Fprint(b, "SAS3IRCU: Utility Completed Successfully.\n")
		return &raid.Output{Stdout: []byte(b.String())}, nil
	}
	switch strings.Join(argv[1:], " ") {
	case "LIST":
		head := "\n         Adapter      Vendor  Device                       SubSys  SubSys \n" +
			" Index    Type          ID      ID    Pci Address          Ven ID  Dev ID \n" +
			" -----  ------------  ------  ------  -----------------    ------  ------ \n"
		fmt.Fprint(b, head, "   0     SAS3008       1000h    97h   00h:18h:00h:00h      1000h   0808h \n")
		fmt.Fprint(b, head, "   1     SAS3008       1000h    97h   00h:afh:00h:00h      1000h   0808h \n")
		return done()
	case "0 DISPLAY", "1 DISPLAY":
		h.display(b, argv[1])
		return done()
	case "0 STATUS", "1 STATUS":
		if h.syncing {
			fmt.Fprint(b, "IR Volume 1\n  Volume ID                               : 323\n"+
				"  Current operation                       : Synchronize\n"+
				"  Volume status                           : Enabled\n"+
				"  Percentage complete                     : 12.50%\n")
		}
		return done()
	}
	h.log = append(h.log, strings.Join(argv[1:], " "))
	if h.lie != nil {
		if out, err := h.lie(argv); out != nil || err != nil {
			return out, err
		}
	}
	if argv[1] != "1" || !h.change(argv[2:]) {
		fmt.Fprintf(b, "SAS3IRCU: Error executing command %s.\n", argv[2])
		return &raid.Output{Stdout: []byte(b.String()), ExitCode: 1}, nil
	}
	return done()
}

func (h *hba) change(args []string) bool {
	at := func(place string) *hbaDrive {
		if i := slices.IndexFunc(h.drives, func(d *hbaDrive) bool { return d.place == place }); i >= 0 {
			return h.drives[i]
		}
		return nil
	}
	set := func(places []string, from, to string) bool {
		for _, p := range places {
			if d := at(p); d == nil || d.state != from {
				return false
			}
		}
		for _, p := range places {
			at(p).state = to
		}
		return true
	}
	switch args[0] {
	case "CREATE":
		places := args[3 : len(args)-1]
		if args[2] != "MAX" || args[len(args)-1] != "noprompt" || !set(places, "Ready (RDY)", "Optimal (OPT)") {
			return false
		}
		h.made++
		h.volumes[324-h.made] = &hbaVolume{wwid: fmt.Sprintf("0%da7c0fb06777e7b", h.made), level: args[1], status: "Okay (OKY)",
			places: places}
		return true
	case "DELETEVOLUME", "BOOTIR":
		for id, v := range h.volumes {
			if args[0] == "BOOTIR" {
				v.boot = fmt.Sprint(id) == args[1]
			} else if fmt.Sprint(id) == args[1] && args[2] == "noprompt" {
				delete(h.volumes, id)
				return set(v.places, "Optimal (OPT)", "Ready (RDY)")
			}
		}
		return args[0] == "BOOTIR"
	case "HOTSPARE":
		if args[1] == "DELETE" {
			return set(args[2:], "Hot Spare (HSP)", "Ready (RDY)")
		}
		return set(args[1:], "Ready (RDY)", "Hot Spare (HSP)")
	}
	return false
}

const rule = "------------------------------------------------------------------------\n"

func (h *hba) display(b *strings.Builder, index string) {
	fmt.Fprintf(b, "Read configuration has been initiated for controller %s\n", index)
	bus := map[string]string{"0": "24", "1": "175"}[index]
	support := map[bool]string{true: "Yes", false: "No"}[h.raid]
	fmt.Fprint(b, rule, "Controller information\n", rule,
		"  Controller type                         : SAS3008\n  BIOS version                            : 8.37.00.00\n"+
			"  Firmware version                        : 16.00.10.00\n  Slot                                    : 4\n"+
			"  Segment                                 : 0\n  Bus                                     : "+bus+"\n"+
			"  Device                                  : 0\n  Function                                : 0\n"+
			"  RAID Support                            : "+support+"\n", rule, "IR Volume information\n", rule)
	if index == "1" {
		n := 0
		for id := 330; id > 0; id-- {
			v := h.volumes[id]
			if v == nil {
				continue
			}
			n++
			fmt.Fprintf(b, "IR volume %d\n  Volume ID                               : %d\n"+
				"  Status of volume                        : %s\n  Volume wwid                             : %s\n"+
				"  RAID level                              : %s\n  Size (in MB)                            : %d\n", n, id, v.status,
				v.wwid, v.level, 457161*map[string]int{"RAID0": len(v.places), "RAID1": 1}[v.level])
			if v.boot {
				fmt.Fprint(b, "  Boot                                    : Primary\n")
			}
			fmt.Fprint(b, "  Physical hard disks                     :\n")
			for i, p := range v.places {
				fmt.Fprintf(b, "  PHY[%d] Enclosure#/Slot#                 : %s\n", i, p)
			}
		}
	}
	fmt.Fprint(b, rule, "Physical device information\n", rule, "Initiator at ID #0\n")
	for _, d := range h.drives {
		enclosure, slot, _ := strings.Cut(d.place, ":")
		if index == "1" {
			fmt.Fprintf(b, "\nDevice is a Hard disk\n  Enclosure #                             : %s\n"+
				"  Slot #                                  : %s\n  SAS Address                             : 4433221-1-0400-0000\n"+
				"  State                                   : %s\n  Size (in MB)/(in sectors)               : 457862/937703087\n"+
				"  Manufacturer                            : ATA     \n  Model Number                            : SSDSC2BB480G7\n"+
				"  Firmware Revision                       : 0140\n  Serial No                               : %s\n"+
				"  GUID                                    : N/A\n  Protocol                                : SATA\n"+
				"  Drive Type                              : SATA_SSD\n", enclosure, slot, d.state, d.serial)
		}
	}
	fmt.Fprint(b, rule, "Enclosure information\n", rule,
		"  Enclosure#                              : 2\n  Logical ID                              : 500304801ebd1f3f\n"+
			"  Numslots                                : 16\n  StartSlot                               : 0\n", rule,
		"SAS3IRCU: Command DISPLAY Completed Successfully.\n")
}
