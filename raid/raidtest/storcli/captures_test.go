package storcli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// ordered decodes JSON without losing the order of names. Numbers stay as they are written.
func ordered(t *testing.T, data []byte) any {
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	var value func() any
	value = func() any {
		token, err := d.Token()
		require.NoError(t, err)
		switch token {
		case json.Delim('{'):
			o := object{}
			for d.More() {
				name, err := d.Token()
				require.NoError(t, err)
				o = append(o, field{name.(string), value()})
			}
			_, err = d.Token()
			require.NoError(t, err)
			return o
		case json.Delim('['):
			list := []any{}
			for d.More() {
				list = append(list, value())
			}
			_, err = d.Token()
			require.NoError(t, err)
			return list
		}
		return token
	}
	return value()
}

// flat is a document as lines, each with its place, in order. Blanks are squeezed, and those at the ends of names and
// values left out; what is a number and what is a string stays told apart. A row of a table is one line.
func flat(at string, v any) []string {
	switch v := v.(type) {
	case object:
		var lines []string
		for _, f := range v {
			lines = append(lines, flat(at+"/"+squeeze(f.name), f.value)...)
		}
		return lines
	case []any:
		var lines []string
		for i, item := range v {
			here := fmt.Sprintf("%s[%d]", at, i)
			if strings.HasSuffix(at, "/Controllers") {
				lines = append(lines, flat(here, item)...)
				continue
			}
			lines = append(lines, here+" "+strings.Join(flat("", item), " "))
		}
		return lines
	case string:
		return []string{fmt.Sprintf("%s = %q", at, squeeze(v))}
	}
	return []string{fmt.Sprintf("%s = %v", at, v)}
}

func squeeze(s string) string { return strings.Join(strings.Fields(s), " ") }

// lines of an output, in the form in which two are compared.
func lines(t *testing.T, output []byte, text bool) []string {
	if !text {
		return flat("", ordered(t, output))
	}
	var all []string
	for line := range strings.Lines(string(output)) {
		if line = squeeze(line); line != "" {
			all = append(all, line)
		}
	}
	return all
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

type controllers []*raidtest.Controller

// What is compared is all of an output but its blanks and empty lines. Serial numbers that it tells are put into the
// state, so that they agree too. Of text, legends that follow no table are left out: see once. What else is, stands in
// the table with its reason.
func TestTheEmulatorInTheSameStatePrintsWhatTheToolPrinted(t *testing.T) {
	raidtest.Captures(t)
	back := raid.Policies{Read: raid.ReadAhead, Write: raid.WriteBack, IO: raid.IODirect}
	lab := func() *raidtest.Controller {
		c := raidtest.MegaRAID("0000:3b:00.0", "X")
		c.Extra = map[string]string{}
		return c
	}
	// The authors of sdflexutils have a tool of generation 1: it does not say who it is.
	first := func() *raidtest.Controller {
		c := lab()
		c.Extra["CLI Version"] = "1.23.02"
		return c
	}
	sdflex := func(level raid.Level, bytes int64, spans int, wwn, date, clock string) *raidtest.Controller {
		c := first()
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
	// One of the things that the tool asks the firmware for is not known to that.
	invalid := []raidtest.Fault{{Kind: raidtest.FailExit0, Op: "show all", Code: raidtest.RefusedUnsupported,
		Text: "command invalid "}}
	one := func(c *raidtest.Controller) controllers { return controllers{c} }
	// loaded is the state that the output itself tells of.
	loaded := func(said []*said) controllers {
		var all controllers
		for _, s := range said {
			all = append(all, stateOf(t, s))
		}
		return all
	}
	cases := []struct {
		name, args string
		make       func([]*said) controllers
		faults     []raidtest.Fault
		// release of the tool, where the output does not say.
		release string
		// edited are lines that whoever published the output has changed: they are not compared, and why stands beside.
		edited string
		// some are tables of which the output has only some rows.
		some string
	}{
		{name: "storcli/ironlib_nocontrollers.json", args: "/c0 show", make: func([]*said) controllers { return nil },
			// Which release a tool is, is a word of controllers here.
			edited: `/Command Status/(CLI Version|Operating system) =`},
		{name: "perccli/lt_h730p_vall_show_all.json", args: "/c0/vall show all",
			make: func([]*said) controllers { return one(h730p()) }},
		{name: "perccli/lt_h730p_vall_show.json", args: "/c0/vall show",
			make: func([]*said) controllers { return one(h730p()) }},
		{name: "storcli/sdflex_vall_r10.json", args: "/c0/vall show all", make: func([]*said) controllers {
			return one(sdflex(raid.Level10, 209715200*512, 2, "600605b00cb1675024ef50150f64bf30", "21-08-2019", "12:43:01 AM"))
		}},
		{name: "storcli/sdflex_vall_r5.json", args: "/c0/vall show all", make: func([]*said) controllers {
			return one(sdflex(raid.Level5, 125829120*512, 0, "600605b00cb1675024eecd050ebf68ce", "20-08-2019", "03:23:49 PM"))
		}},
		{name: "storcli/sdflex_vall_none.json", args: "/c0/vall show all",
			make: func([]*said) controllers { return one(first()) }},
		{name: "storcli/sdflex_erase_39pct.json", args: "/c0/eall/sall show erase", make: func([]*said) controllers {
			c := first()
			c.Drives = []*raidtest.Drive{drive(252, 0, 6, raid.DiskErasing, hw.SSD, hw.BusATA, 113952, "VK0120GEFJE")}
			c.Drives[0].Rebuild = 0.39
			return one(c)
		}},
		{name: "storcli/sdflex_personality_raid.json", args: "/c0 show personality", make: func([]*said) controllers {
			c := first()
			c.Capabilities.Modes = []raid.Mode{raid.ModeRAID, raid.ModeJBOD}
			c.Extra["Behavior mode"] = "NONE"
			return one(c)
		}},
		{name: "storcli/sdflex_personality_jbod.json", args: "/c0 show personality", make: func([]*said) controllers {
			c := first()
			c.Mode, c.Capabilities.Modes = raid.ModeJBOD, []raid.Mode{raid.ModeRAID, raid.ModeJBOD}
			c.Extra["Behavior mode"] = "NONE"
			return one(c)
		}},
		{name: "storcli/pystorcli_drive_offln.json", args: "/c0/e35/s12 show", make: func([]*said) controllers {
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
			return one(c)
		}},
		{name: "storcli/pystorcli_foreign_raid60.json", args: "/c0/fall show", make: func([]*said) controllers {
			c := pystorcli("007.1704.0000.0000 Jan 16, 2021", "Linux 5.15.0-71-generic")
			d := drive(35, 1, 1, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X")
			d.Foreign = &raidtest.ForeignVolume{ID: "a", Level: raid.Level60, Members: []string{d.Serial}}
			c.Drives = []*raidtest.Drive{d}
			return one(c)
		}},
		{name: "storcli/pystorcli_foreign_incomplete.json", args: "/c0/fall show", make: func([]*said) controllers {
			c := pystorcli("007.2309.0000.0000 Sep 16, 2022", "Linux 5.4.0-99-generic")
			for i := range 15 {
				d := drive(35, i, i, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X")
				d.Foreign = &raidtest.ForeignVolume{ID: "a", Level: raid.Level60, Members: []string{d.Serial, "gone"}}
				c.Drives = append(c.Drives, d)
			}
			return one(c)
		}},
		{name: "storcli/pystorcli_add_ok.json",
			args: "/c0 add vd r1 name=create_vd_raid1 drives=35:12-13 strip=512 PDperArray=2",
			make: func([]*said) controllers {
				c := pystorcli("007.1704.0000.0000 Jan 16, 2021", "Linux 5.15.0-58-generic")
				c.Drives = []*raidtest.Drive{drive(35, 12, 1, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X"),
					drive(35, 13, 2, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X")}
				return one(c)
			}},
		{name: "storcli/pystorcli_del_ok.json", args: "/c0/v1 del", make: func([]*said) controllers {
			c := pystorcli("007.1704.0000.0000 Jan 16, 2021", "Linux 5.15.0-58-generic")
			c.Drives = []*raidtest.Drive{drive(35, 12, 1, raid.DiskOnline, hw.HDD, hw.BusSAS, 3814912, "X")}
			c.Volumes = []*raidtest.Volume{{Number: 1, Level: raid.Level0, Bytes: 1 << 40, Members: serials(c.Drives)}}
			return one(c)
		}},
		{name: "storcli/sdflex_freespace.json", args: "/c0 show freespace", make: func([]*said) controllers {
			return one(sdflex(raid.Level10, 50<<30, 2, "600605b00cb1675024ef50150f64bf30", "", ""))
		}},
		{name: "perccli/lt_h730p_show.json", args: "show", make: func([]*said) controllers {
			c := h730p()
			c.Model, c.Extra["Host Name"] = "PERC H730P Adapter", "live42p-a"
			return one(c)
		}},
		{name: "storcli/puppet_call_show_cc_mixed_status.json", args: "/call show cc", make: func([]*said) controllers {
			var all controllers
			for range 2 {
				c := lab()
				c.Extra["CC Number of iterations"], c.Extra["CC Number of VD completed"] = "13", "1"
				all = append(all, c)
			}
			c := pystorcli("007.2106.0000.0000 Feb 28, 2022", "Linux 5.14.0-142.el9.x86_64")
			c.Extra["Driver Name"] = "mpt3sas"
			return append(all, c)
		}},
		{name: "storcli/ironlib_lsi3008it_show.json", args: "/c0 show", make: loaded},
		{name: "storcli/puppet_call_show_3ctrl.json", args: "/call show", make: func(said []*said) controllers {
			said[1].tables["VD LIST"] = said[1].tables["VD LIST"][:1]
			return loaded(said)
		},
			// The second controller got one more volume, in a group that has no room for it.
			edited: `^/Controllers\[1\]/Response Data/(Virtual Drives =|VD LIST\[1\])`},
		{name: "storcli/textfile_ep420i_show_all.json", args: "/c0 show all", make: loaded},
		{name: "storcli/pystorcli_errcd59_incomplete_foreign.json", args: "/c0 show", make: func(said []*said) controllers {
			// Of three enclosures, two are told of, and of their 24 drives those that are in nothing. In the third are the
			// drives of another group, and those of a foreign configuration.
			said[0].tables["TOPOLOGY"], said[0].tables["VD LIST"] = nil, nil
			c := stateOf(t, said[0])
			c.Enclosures = append(c.Enclosures, raidtest.Enclosure{ID: 36, Slots: 60})
			volume := func(enclosure, number int, group, name string) {
				var members []*raidtest.Drive
				for i := range 12 {
					d := drive(enclosure, i, 100*enclosure+i, raid.DiskOnline, hw.HDD, hw.BusSAS, 3814700, "X")
					members = append(members, d)
				}
				c.Drives = append(c.Drives, members...)
				c.Volumes = append(c.Volumes, &raidtest.Volume{Number: number, Level: raid.Level0, Members: serials(members),
					Bytes: 12 * 3814700 << 20, Name: name, Extra: map[string]string{"DG": group},
					Policies: raid.Policies{Write: raid.WriteThrough, DiskCache: raid.DiskCacheEnable}})
			}
			volume(36, 0, "0", "")
			volume(35, 1, "2", "dummy")
			d := drive(36, 20, 3620, raid.DiskReady, hw.HDD, hw.BusSAS, 3814912, "X")
			d.Foreign = &raidtest.ForeignVolume{ID: "a", Level: raid.Level60, Members: []string{d.Serial, "gone"}}
			c.Drives = append(c.Drives, d)
			return one(c)
		},
			// The numbers of what was left.
			edited: `/(Virtual Drives|Physical Drives) =`,
			some:   `/(TOPOLOGY|VD LIST|PD LIST|Enclosure LIST)\[\d+\]`},
		{name: "storcli/mtik_text_3ctrl_ok.txt", args: "/call show all", make: loaded, release: "1.07"},
		{name: "storcli/mtik_text_c2_offline.txt", args: "/call show all", make: loaded, release: "1.07"},
		{name: "storcli/mtik_text_9361_blank_eid.txt", args: "/c0 show all", make: loaded, release: "1.16"},
		{name: "storcli/mtik_text_m5110e_status_failure.txt", args: "/c0 show all", make: loaded,
			release: "1.07", faults: invalid},
		{name: "storcli/mtik_text_m5110e_degraded_EDITED.txt", args: "/c0 show all", make: loaded,
			release: "1.07", faults: invalid,
			// The topology of the second group is that of before, and there is no such status of a controller.
			edited: `^Controller Status =|^1 \S+ \S+ \S+ \S+ (RAID10|RAID1|DRIVE) `},
		{name: "storcli/mtik_text_n2226_blank_eid.txt", args: "/c1 show all", make: func(said []*said) controllers {
			return append(one(lab()), loaded(said)...) // it is the machine's second
		}},
	}
	t.Run("all of them", func(t *testing.T) {
		var have, want []string
		for _, c := range cases {
			have = append(have, c.name)
		}
		for line := range strings.Lines(string(raidtest.Capture(t, "MANIFEST.tsv"))) {
			if cells := strings.Split(line, "\t"); cells[0] == "storcli" || cells[0] == "perccli" {
				want = append(want, cells[1])
			}
		}
		require.ElementsMatch(t, want, have)
	})
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			output := raidtest.Capture(t, c.name)
			text := strings.HasSuffix(c.name, ".txt")
			var told []*said
			if text {
				told = saidInText(output)
			} else {
				told = saidInJSON(t, output)
			}
			for _, s := range told {
				if s.lines["/CLI Version"] == "" {
					s.lines["/CLI Version"] = c.release
				}
			}
			chassis, err := raidtest.Create(filepath.Join(t.TempDir(), "chassis.json"),
				&raidtest.State{Controllers: c.make(told), Faults: c.faults})
			require.NoError(t, err)
			args := append(strings.Fields(c.args), "nolog")
			if !text {
				args = append(args, "J")
			}
			var out bytes.Buffer
			Main(t.Context(), chassis, args, &out)
			want, got := lines(t, output, text), lines(t, out.Bytes(), text)
			if c.edited != "" {
				edited := regexp.MustCompile(c.edited)
				want, got = slices.DeleteFunc(want, edited.MatchString), slices.DeleteFunc(got, edited.MatchString)
			}
			if c.some != "" {
				some := regexp.MustCompile(c.some)
				for _, line := range want {
					if row := some.ReplaceAllString(line, ""); row != line {
						require.True(t, slices.ContainsFunc(got, func(g string) bool {
							return some.MatchString(g) && some.ReplaceAllString(g, "") == row
						}), line)
					}
				}
				want, got = slices.DeleteFunc(want, some.MatchString), slices.DeleteFunc(got, some.MatchString)
			}
			if text {
				want, got = once(want), once(got)
			}
			for i, line := range want {
				require.Equal(t, line, strings.Join(got[min(i, len(got)):min(i+1, len(got))], ""), "line %d", i+1)
			}
			require.Len(t, got, len(want))
		})
	}
}

// once leaves out legends of drives that follow no table. Release 7.0409 prints one for each slot of an enclosure that
// is empty, somewhere between the drives and behind them.
func once(all []string) []string {
	legend := strings.Split(strings.TrimSpace(driveLegend), "\n")
	var kept []string
	for i := 0; i < len(all); i++ {
		n := len(legend)
		if i > 0 && i+n <= len(all) && slices.Equal(all[i:i+n], legend) && !strings.HasPrefix(all[i-1], "---") {
			i += n - 1
			continue
		}
		kept = append(kept, all[i])
	}
	return kept
}
