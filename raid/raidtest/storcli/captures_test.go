package storcli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// trimmed are lines that some captures were published without.
var trimmed = regexp.MustCompile(`"(CLI Version|Operating system)":"[^"]*",`)

// squeeze leaves the order, and takes out whitespace, of values too.
func squeeze(t *testing.T, data []byte, index int) string {
	var document struct{ Controllers []json.RawMessage }
	require.NoError(t, json.Unmarshal(data, &document), string(data))
	require.Greater(t, len(document.Controllers), index)
	var out bytes.Buffer
	require.NoError(t, json.Compact(&out, document.Controllers[index]))
	text := regexp.MustCompile(`\s+"`).ReplaceAllString(out.String(), `"`)
	return strings.ReplaceAll(regexp.MustCompile(`"\s+`).ReplaceAllString(text, `"`), "\\u0026", "&")
}

func drive(enclosure, slot, device int, state raid.DiskStateKind, medium hw.Medium, bus hw.Bus, mib int64, model string,
) *raidtest.Drive {
	return &raidtest.Drive{Enclosure: enclosure, Slot: slot, Device: device, State: state, Medium: medium, Bus: bus,
		Bytes: mib << 20, Model: model, LogicalSector: 512, PhysicalSector: 4096,
		Serial: fmt.Sprintf("S%d-%d", enclosure, slot)}
}

func serials(drives []*raidtest.Drive) []string {
	var all []string
	for _, d := range drives {
		all = append(all, d.Serial)
	}
	return all
}

func TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted(t *testing.T) {
	dir := raidtest.Captures(t)
	back := raid.Policies{Read: raid.ReadAhead, Write: raid.WriteBack, IO: raid.IODirect}
	lab := func() *raidtest.Controller {
		c := raidtest.MegaRAID("0000:3b:00.0", "X")
		c.Extra = map[string]string{}
		return c
	}
	sdflex := func(level raid.Level, bytes int64, spans int, wwn, date, clock string) *raidtest.Controller {
		c := lab()
		c.Extra["sizes"] = "short"
		c.Drives = []*raidtest.Drive{
			drive(252, 0, 6, raid.DiskOnline, hw.SSD, hw.BusATA, 113952, "VK0120GEFJE"),
			drive(252, 1, 4, raid.DiskOnline, hw.SSD, hw.BusATA, 113952, "TOSHIBA THNSNJ120PCSZ"),
			drive(252, 2, 5, raid.DiskOnline, hw.HDD, hw.BusATA, 476416, "WDC WD5000HHTZ-60N21V0"),
			drive(252, 3, 7, raid.DiskOnline, hw.SSD, hw.BusATA, 113952, "TOSHIBA THNSNJ120PCSZ"),
		}
		c.Volumes = []*raidtest.Volume{{Level: level, Bytes: bytes, Spans: spans, WWN: wwn, Strip: 256 << 10, Policies: back,
			Members: serials(c.Drives), Extra: map[string]string{"Consist": "No", "VD has Emulated PD": "Yes",
				"Creation Date": date, "Creation Time": clock}}}
		return c
	}
	h730p := func() *raidtest.Controller {
		c := lab()
		c.Extra["CLI Version"], c.Extra["Operating system"] = "007.2616.0000.0000 Dec 06, 2023", "Linux 5.4.0-216-generic"
		for i := range 9 {
			d := drive(32, i, i, raid.DiskOnline, hw.HDD, hw.BusATA, 7812939776>>11, "HGST HUS726T4TALA6L0")
			if i < 2 {
				d = drive(32, i, i, raid.DiskOnline, hw.SSD, hw.BusATA, 936640512>>11, "HFS480G3H2X069N")
			}
			c.Drives = append(c.Drives, d)
		}
		volume := func(level raid.Level, blocks int64, wwn, date, clock string, members ...*raidtest.Drive) {
			n := len(c.Volumes)
			emulated := "No"
			if n == 0 {
				emulated = "Yes"
			}
			c.Volumes = append(c.Volumes, &raidtest.Volume{Number: n, Level: level, Bytes: blocks * 512, WWN: wwn,
				Strip: 64 << 10, Policies: back, Members: serials(members), Extra: map[string]string{"sCC": "OFF",
					"VD has Emulated PD": emulated, "Data Protection": "None", "OS Drive Name": "/dev/sd" + string(rune('a'+n)),
					"Creation Date": date, "Creation Time": clock, "Unmap Enabled": "N/A"}})
		}
		d := c.Drives
		volume("1", 936640512, "62cea7f0bdb7de003105f2b4072d1feb", "23-01-2026", "08:49:56 AM", d[0], d[1])
		volume("0", 7812939776, "62cea7f0bdb7de003105f2c9087438af", "23-01-2026", "08:50:17 AM", d[2])
		volume("0", 7812939776, "62cea7f0bdb7de003105f2e009cb83d1", "23-01-2026", "08:50:40 AM", d[3])
		volume("0", 7812939776, "62cea7f0bdb7de003105f2f00ac4d577", "23-01-2026", "08:50:56 AM", d[4])
		volume("0", 7812939776, "62cea7f0bdb7de003105f3050c005b46", "23-01-2026", "08:51:17 AM", d[5])
		volume("5", 15625879552, "62cea7f0bdb7de00315caf7c0bd30200", "30-03-2026", "03:50:20 AM", d[6:]...)
		return c
	}
	pystorcli := func(version, system string) *raidtest.Controller {
		c := lab()
		c.Extra["CLI Version"], c.Extra["Operating system"] = version, system
		return c
	}
	for _, c := range []struct {
		name, args string
		make       func() *raidtest.Controller
	}{
		{"storcli/ironlib_nocontrollers.json", "/c0 show", func() *raidtest.Controller { return nil }},
		{"perccli/lt_h730p_vall_show_all.json", "/c0/vall show all", h730p},
		{"perccli/lt_h730p_vall_show.json", "/c0/vall show", h730p},
		{"storcli/sdflex_vall_r10.json", "/c0/vall show all", func() *raidtest.Controller {
			return sdflex(raid.Level10, 209715200*512, 2, "600605b00cb1675024ef50150f64bf30", "21-08-2019", "12:43:01 AM")
		}},
		{"storcli/sdflex_vall_r5.json", "/c0/vall show all", func() *raidtest.Controller {
			return sdflex(raid.Level5, 125829120*512, 0, "600605b00cb1675024eecd050ebf68ce", "20-08-2019", "03:23:49 PM")
		}},
		{"storcli/sdflex_vall_none.json", "/c0/vall show all", lab},
		{"storcli/sdflex_erase_39pct.json", "/c0/eall/sall show erase", func() *raidtest.Controller {
			c := lab()
			c.Drives = []*raidtest.Drive{drive(252, 0, 6, raid.DiskErasing, hw.SSD, hw.BusATA, 113952, "VK0120GEFJE")}
			c.Drives[0].Rebuild = 0.39
			return c
		}},
		{"storcli/sdflex_personality_raid.json", "/c0 show personality", func() *raidtest.Controller {
			c := lab()
			c.Capabilities.Modes = []raid.Mode{raid.ModeRAID, raid.ModeJBOD}
			c.Extra["personalities"], c.Extra["Behavior mode"] = "short", "NONE"
			return c
		}},
		{"storcli/sdflex_personality_jbod.json", "/c0 show personality", func() *raidtest.Controller {
			c := lab()
			c.Mode, c.Capabilities.Modes = raid.ModeJBOD, []raid.Mode{raid.ModeRAID, raid.ModeJBOD}
			c.Extra["personalities"], c.Extra["Behavior mode"] = "short", "NONE"
			return c
		}},
		{"storcli/pystorcli_drive_offln.json", "/c0/e35/s12 show", func() *raidtest.Controller {
			c := pystorcli("007.1704.0000.0000 Jan 16, 2021", "Linux 5.15.0-58-generic")
			for i := range 6 {
				c.Drives = append(c.Drives, drive(35, i, 30+i, raid.DiskOnline, hw.HDD, hw.BusSAS, 3814912, "OTHER"))
			}
			d := drive(35, 12, 21, raid.DiskOffline, hw.HDD, hw.BusSAS, 3814912, "HUS726040AL5210 ")
			c.Drives = append(c.Drives, d)
			for i := range 3 { // the drive is in group 2
				members := []string{c.Drives[2*i].Serial, c.Drives[2*i+1].Serial}
				if i == 2 {
					members[1] = d.Serial
				}
				c.Volumes = append(c.Volumes, &raidtest.Volume{Number: i, Level: raid.Level1, Bytes: 1 << 30, Members: members})
			}
			return c
		}},
		{"storcli/pystorcli_foreign_raid60.json", "/c0/fall show", func() *raidtest.Controller {
			c := pystorcli("007.1704.0000.0000 Jan 16, 2021", "Linux 5.15.0-71-generic")
			d := drive(35, 1, 1, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X")
			d.Foreign = &raidtest.ForeignVolume{ID: "a", Level: raid.Level60, Members: []string{d.Serial}}
			c.Drives = []*raidtest.Drive{d}
			return c
		}},
		{"storcli/pystorcli_foreign_incomplete.json", "/c0/fall show", func() *raidtest.Controller {
			c := pystorcli("007.2309.0000.0000 Sep 16, 2022", "Linux 5.4.0-99-generic")
			for i := range 15 {
				d := drive(35, i, i, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X")
				d.Foreign = &raidtest.ForeignVolume{ID: "a", Level: raid.Level60, Members: []string{d.Serial, "gone"}}
				c.Drives = append(c.Drives, d)
			}
			return c
		}},
		{"storcli/pystorcli_add_ok.json", "/c0 add vd r1 name=create_vd_raid1 drives=35:12-13 strip=512 PDperArray=2",
			func() *raidtest.Controller {
				c := pystorcli("007.1704.0000.0000 Jan 16, 2021", "Linux 5.15.0-58-generic")
				c.Drives = []*raidtest.Drive{drive(35, 12, 1, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X"),
					drive(35, 13, 2, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X")}
				return c
			}},
		{"storcli/pystorcli_del_ok.json", "/c0/v1 del", func() *raidtest.Controller {
			c := pystorcli("007.1704.0000.0000 Jan 16, 2021", "Linux 5.15.0-58-generic")
			c.Drives = []*raidtest.Drive{drive(35, 12, 1, raid.DiskOnline, hw.HDD, hw.BusSAS, 3814912, "X")}
			c.Volumes = []*raidtest.Volume{{Number: 1, Level: raid.Level0, Bytes: 1 << 40, Members: serials(c.Drives)}}
			return c
		}},
		{"storcli/ironlib_lsi3008it_show.json", "/c0 show", func() *raidtest.Controller {
			c := raidtest.MegaRAID("0000:3d:00.0", "500304801c71e8d0")
			c.Model, c.Firmware, c.Mode = "LSI3008-IT", "16.00.01.00", raid.ModeHBA
			c.Extra = map[string]string{"Driver Name": "mpt3sas", "CLI Version": "007.1316.0000.0000 Mar 12, 2020",
				"Operating system": "Linux 5.4.0-52-generic"}
			for i := range 12 {
				c.Drives = append(c.Drives, drive(12, i, i, raid.DiskJBOD, hw.HDD, hw.BusATA, 7452<<10, "HGST HUS728T8TALE6L4"))
			}
			return c
		}},
		{"storcli/puppet_call_show_3ctrl.json", "/c0 show", func() *raidtest.Controller {
			c := raidtest.MegaRAID("0000:3b:00.0", "FW-BAMQTHEAARBWA")
			c.Model, c.Firmware = "AVAGO 3108 MegaRAID", "24.21.0-0028"
			c.Extra = map[string]string{"Cachevault Temp": "31C"}
			devices := []int{5, 21, 2, 16, 12, 3, 9, 19, 15, 1, 6, 14, 13, 4, 17, 23, 8, 7}
			for i, device := range devices {
				c.Drives = append(c.Drives, drive(0, i, device, raid.DiskOnline, hw.SSD, hw.BusATA, 3576<<10,
					"INTEL SSDSC2KB038T8"))
			}
			c.Volumes = []*raidtest.Volume{{Level: raid.Level6, Bytes: 57223 << 30, Name: "storage1", Policies: back,
				Members: serials(c.Drives)}}
			return c
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join(dir, c.name))
			require.NoError(t, err)
			state := &raidtest.State{}
			if ctl := c.make(); ctl != nil {
				state.Controllers = []*raidtest.Controller{ctl}
			}
			chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"), state)
			require.NoError(t, err)
			var out bytes.Buffer
			Main(t.Context(), chassis, append(strings.Fields(c.args), "J", "nolog"), &out)
			w, g := squeeze(t, want, 0), squeeze(t, out.Bytes(), 0)
			if !strings.Contains(w, "CLI Version") || len(state.Controllers) == 0 {
				w, g = trimmed.ReplaceAllString(w, ""), trimmed.ReplaceAllString(g, "")
			}
			require.Equal(t, w, g)
		})
	}
}
