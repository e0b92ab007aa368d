package mvcli_test

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/project-loda/loda/raid"
)

// card stands in for mvcli, or mnv_cli, and a card with two drives. It prints what these do, and always exits with 0.
type card struct {
	nvme    bool
	serials []string
	volume  *volume
	// lie is asked before each command that changes something.
	lie func(c *card) (silent bool, err error)
	// blind: the list of volumes cannot be read.
	blind bool
	log   []string
}

type volume struct{ name, level, strip string }

func newCard(nvme bool) *card { return &card{nvme: nvme, serials: []string{"1C58A0EA", "1C58A08F"}} }

func (c *card) Run(_ context.Context, argv ...string) (*raid.Output, error) {
	b := &strings.Builder{}
	out := func() (*raid.Output, error) { return &raid.Output{Stdout: []byte(b.String())}, nil }
	if want := map[bool]string{true: "mnv_cli", false: "mvcli"}[c.nvme]; path.Base(argv[0]) != want {
		return nil, errors.New("no such program")
	}
	if !c.nvme {
		fmt.Fprint(b, "SG driver version 3.5.36.\n\n")
	}
	command := strings.Join(argv[1:], " ")
	if list, ok := strings.CutPrefix(command, "info -o "); ok {
		c.info(b, list)
		return out()
	}
	c.log = append(c.log, command)
	if c.lie != nil {
		if silent, err := c.lie(c); silent || err != nil {
			o, _ := out()
			return o, err
		}
	}
	option := func(name string) string {
		for i, a := range argv {
			if a == name && i+1 < len(argv) {
				return argv[i+1]
			}
		}
		return ""
	}
	switch {
	case argv[1] == "delete" && c.volume != nil && option("-i") == "0" && strings.HasSuffix(command, "--waiveconfirmation"):
		c.volume = nil
	case argv[1] == "create" && c.volume == nil && option("-d") == "0,1":
		c.volume = &volume{name: option("-n"), strip: option("-b")}
		for _, a := range argv {
			if level, ok := strings.CutPrefix(a, "-r"); ok {
				c.volume.level = level
			}
		}
		if c.volume.strip == "" {
			c.volume.strip = map[bool]string{true: "128", false: "64"}[c.nvme]
		}
		c.volume.name = c.volume.name[:min(len(c.volume.name), 10)]
	default:
		fmt.Fprintln(b, "Error: invalid parameter.")
	}
	return out()
}

func (c *card) info(b *strings.Builder, list string) {
	switch {
	case list == "hba" && c.nvme:
		fmt.Fprint(b, "NVMe Controller ID                   0\nBus Device Fun:                      01:00.00\n"+
			"Device:                              /dev/nvme0\n"+
			"SUBNQN:                              A1B2C3D4E5F         M.2 NVMe 2-Bay RAID Kit                 16\n"+
			"Firmware Version:                    1.0.20.1049\nVID:                                 0x1b4b\n"+
			"SVID:                                0x1028\nDID:                                 0x2241\n"+
			"Max PD of Per VD:                    2\nMax VD:                              2\n"+
			"Supported RAID Mode:                 RAID0 RAID1 \nSupport Stripe Size:                 128KB 256KB 512KB \n\n"+
			"Total # of HBA:      1\n")
	case list == "hba":
		fmt.Fprint(b, "Adapter ID:                          0\nProduct:                             1b4b-9230\n"+
			"Sub Product:                         1028-1fe2\nslot number:                         0\n"+
			"Firmware version:                    2.5.13.1210\nSupported RAID mode:                 RAID0 RAID1 \n"+
			"Maximum disk in one VD:              2\nMaximum supported VD:                1\n"+
			"Stripe size supported:               32K 64K \n")
	case list == "pd" && c.nvme:
		for i, serial := range c.serials {
			fmt.Fprintf(b, "\nPD ID:                           %d\nModel:                           KXG60ZNV256G            \n"+
				"Serial:                          %s      \nSector Size:                     512 bytes\n"+
				"LBA:                             500118192\nSize:                            238 GB\n"+
				"SSD backend RC/Slot ID:          %d\nFirmware version:                AGGA4104\n"+
				"Status:                          Idle\nAssigned:                        %s\n"+
				"SMART Critical Warning:          No\n", i, serial, i, map[bool]string{true: "Yes", false: "No"}[c.volume != nil])
		}
		fmt.Fprintf(b, "\nTotal # of PD:          %d\n", len(c.serials))
	case list == "pd":
		fmt.Fprint(b, "Physical Disk Information\n----------------------------\n")
		for i, serial := range c.serials {
			in := ""
			if c.volume != nil {
				in = "0"
			}
			fmt.Fprintf(b, "Adapter:             0\nPD ID:               %d\nType:                SATA PD\n"+
				"Linked at:           HBA port %d\nSize:                234431064 K\nmodel:               MTFDDAV240TCB\n"+
				"Serial:              %s\nFirmware version:    D0MU071\nSSD Type:            SSD\nblock ids:           %d\n"+
				"associated VDs:      %s\nPD valid size:       0 K\n\n\n", i, i, serial, i*4, in)
		}
		fmt.Fprintf(b, "Total # of PD:       %d\n", len(c.serials))
	case list == "vd" && c.blind:
		fmt.Fprint(b, "cli :error opening SG device /dev/sg0: No such file or directory\nWait for SG driver ready.\n")
	case list == "vd" && c.nvme:
		if v := c.volume; v != nil {
			fmt.Fprintf(b, "VD ID:               0\nName:                %s\nStatus:              Functional\n"+
				"Importable:          No\nRAID Mode:           RAID%s\nsize:                238 GB\nPD Count:            2\n"+
				"PDs:                 0 1\nStripe Block Size:   %sK\nSector Size:         512 bytes\n\nTotal # of VD:       1\n", v.name,
				v.level, v.strip)
		} else {
			fmt.Fprint(b, "Total # of VD:       0\n")
		}
	case list == "vd":
		fmt.Fprint(b, "Virtual Disk Information\n-------------------------\n")
		if v := c.volume; v != nil {
			fmt.Fprintf(b, "id:                  0\nname:                %s\nstatus:              functional\n"+
				"Stripe size:         %s\nRAID mode:           RAID%s\nCache mode:          Not Support\n"+
				"size:                228872 M\nBGA status:          not running\nBlock ids:           0 4 \n"+
				"# of PDs:            2\nPD RAID setup:       0 1 \nRunning OS:          no\n\n", v.name, v.strip, v.level)
			fmt.Fprint(b, "Total # of VD:       1\n")
		} else {
			fmt.Fprint(b, "Total # of VD:       0\n")
		}
	}
}
