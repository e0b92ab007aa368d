package arcconf

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
)

func (c *controllerItem) controller() raid.Controller {
	out := raid.Controller{Driver: Name, Model: c.get("controller model"), Serial: c.get("controller serial number"),
		Firmware: c.get("firmware", "firmware version"), Slot: c.get("physical slot"), ToolID: c.number, ID: c.address(),
		Mode: mode(c.get("controller mode"))}
	if pending := mode(c.get("pending controller mode")); pending != out.Mode {
		out.PendingMode = pending
	}
	for _, label := range []string{"installed memory", "cache memory"} {
		if n, ok := bytesOf(c.get(label)); ok {
			out.Cache.Bytes = n
		}
	}
	out.Cache.Battery = c.battery()
	out.Capabilities = c.capabilities(out.Mode)
	return out
}

// address of `0:60:0:0` or `0:d9:0:0`: domain, bus, device and function, in hexadecimal; the domain may be missing.
func (c *controllerItem) address() raid.ControllerID {
	for label, value := range c.fields {
		if !strings.HasPrefix(label, "pci address") {
			continue
		}
		parts := strings.FieldsFunc(value, func(r rune) bool { return r == ':' || r == '.' })
		if len(parts) == 3 {
			parts = append([]string{"0"}, parts...)
		}
		if len(parts) != 4 {
			return ""
		}
		var n [4]uint64
		for i, bits := range []int{16, 8, 5, 3} {
			var err error
			if n[i], err = strconv.ParseUint(parts[i], 16, bits); err != nil {
				return ""
			}
		}
		return raid.ControllerID(fmt.Sprintf("%04x:%02x:%02x.%x", n[0], n[1], n[2], n[3]))
	}
	return ""
}

// mode of `RAID (Expose RAW)`, `RAID: Hide RAW`, `HBA`, `Mixed`, `Auto volume`, `Simple volume`.
func mode(s string) raid.Mode {
	switch s = strings.ToLower(s); {
	case strings.HasPrefix(s, "raid"):
		return raid.ModeRAID
	case strings.HasPrefix(s, "hba"):
		return raid.ModeHBA
	case strings.HasPrefix(s, "mixed"):
		return raid.ModeMixed
	case strings.HasPrefix(s, "auto vol"), strings.HasPrefix(s, "simple vol"):
		return raid.ModeJBOD // each drive is a volume of its own
	}
	return ""
}

// battery: a battery (Series 2 to 5), a flash module with a capacitor (5Z to 8), or SmartRAID's backup source.
func (c *controllerItem) battery() raid.BatteryState {
	raw := cmp.Or(c.get("controller battery information/status"), c.get("controller zmm information/status"),
		c.get("supercap status"), c.get("overall backup unit status"), c.get("backup power status"),
		c.get("battery status"))
	// get takes `Not Available` for nothing; here it would be an answer.
	if raw == "" {
		return raid.BatteryState{}
	}
	state := raid.BatteryState{Raw: raw}
	switch s := strings.TrimPrefix(strings.ToLower(raw), "zmm "); {
	case s == "okay", s == "ok", s == "optimal", s == "ready", s == "good", s == "fully charged":
		state.Is = raid.BatteryGood
	case strings.Contains(s, "charging"):
		state.Is = raid.BatteryCharging
	case s == "not installed", s == "not present", s == "missing":
		state.Is = raid.BatteryMissing
	case s == "failed", s == "fatal", strings.HasPrefix(s, "fail"):
		state.Is = raid.BatteryFailed
	}
	return state
}

// smart says whether this is a SmartRAID or Smart HBA, and no Series 2 to 8.
func (c *controllerItem) smart() bool {
	model := strings.ToLower(c.get("controller model"))
	if c.get("driver name") != "" {
		return strings.EqualFold(c.get("driver name"), "smartpqi")
	}
	return strings.Contains(model, "smart") && !strings.Contains(model, "serveraid") ||
		strings.Contains(model, "hba 1") || c.get("controller mode") == "Mixed"
}

// capabilities are what the grammar has for the family, as far as the controller's model and mode do not exclude it.
func (c *controllerItem) capabilities(now raid.Mode) raid.Capabilities {
	caps := raid.Capabilities{Levels: []raid.LevelCapability{}}
	model := c.get("controller model")
	hbaOnly := strings.Contains(model, "HBA 1")
	if now != "" && !hbaOnly {
		caps.Modes, caps.ModeNeedReboot = []raid.Mode{raid.ModeRAID, raid.ModeHBA}, true
		if c.smart() {
			caps.Modes = append(caps.Modes, raid.ModeMixed)
		}
	}
	if model == "" || hbaOnly || now == raid.ModeHBA || now == raid.ModeJBOD {
		return caps
	}
	level := func(l raid.Level, least, most, multiple int) {
		caps.Levels = append(caps.Levels, raid.LevelCapability{Level: l, MinDisks: least, MaxDisks: most,
			Multiple: multiple})
	}
	simple := strings.HasSuffix(model, "E") || strings.Contains(model, "HBA") // 6405E; Smart HBA 2100
	least := 2
	if c.smart() {
		least = 1
	}
	level(raid.Level0, least, 0, 0)
	level(raid.Level1, 2, 2, 0)
	if !simple {
		level(raid.Level5, 3, 0, 0)
		level(raid.Level6, 4, 0, 0)
	}
	level(raid.Level10, 4, 0, 2)
	if !simple {
		level(raid.Level50, 6, 0, 2)
		level(raid.Level60, 8, 0, 2)
	}
	caps.Strips = wordsOfStrips
	caps.DedicatedSpares, caps.Names = true, true
	if c.smart() {
		caps.MaxName = 64
		caps.BootVolume = c.fields["primary boot volume"] != ""
		caps.Write = []raid.WritePolicy{raid.WriteThrough, raid.WriteBack}
		return caps
	}
	caps.MaxName = 15
	caps.GlobalSpares, caps.PartialVolumes, caps.JBOD = true, true, true
	caps.Read = []raid.ReadPolicy{raid.ReadNone, raid.ReadAhead}
	caps.Write = []raid.WritePolicy{raid.WriteThrough, raid.WriteBack, raid.WriteAlwaysBack}
	caps.Initialize = []raid.Initialization{raid.InitializeNone, raid.InitializeFast, raid.InitializeFull}
	return caps
}
