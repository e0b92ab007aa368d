package ssacli

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

var pciAddress = regexp.MustCompile(`^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]$`)

func (c *controllerItem) controller() raid.Controller {
	out := raid.Controller{Model: c.model, Slot: c.slot, Driver: Name, Serial: c.get("Serial Number"),
		Firmware: c.get("Firmware Version")}
	if c.slot != "" {
		out.ToolID = "slot=" + c.slot
	}
	if c.model != "" {
		out.Vendor = "HPE"
	}
	for key, value := range c.fields {
		if strings.HasPrefix(key, "PCI Address") && pciAddress.MatchString(value) {
			out.ID = raid.ControllerID(strings.ToLower(value))
		}
	}
	for _, note := range c.notes {
		if serial, ok := strings.CutPrefix(note, "sn:"); ok && out.Serial == "" {
			out.Serial = strings.TrimSpace(serial)
		}
		if strings.HasSuffix(note, " Mode") {
			out.Mode = mode(note)
		}
	}
	out.Mode = cmp.Or(mode(c.get("Controller Mode")), out.Mode)
	switch c.get("HBA Mode Enabled") {
	case "True":
		out.Mode = raid.ModeHBA
	case "False":
		out.Mode = cmp.Or(out.Mode, raid.ModeRAID)
	}
	if pending := mode(c.get("Pending Controller Mode")); pending != out.Mode {
		out.PendingMode = pending
	}
	out.Cache.Bytes = c.cacheBytes()
	out.Cache.Battery = c.battery()
	out.Capabilities = c.capabilities(out.Mode)
	return out
}

func mode(s string) raid.Mode {
	switch strings.TrimSuffix(strings.ToLower(s), " mode") {
	case "raid":
		return raid.ModeRAID
	case "hba":
		return raid.ModeHBA
	case "mixed":
		return raid.ModeMixed
	}
	return ""
}

// cacheBytes of `2.0 GB`, `1024 MB`, or of GB without a unit (ssacli 4.x).
func (c *controllerItem) cacheBytes() int64 {
	text := c.get("Total Cache Size", "Controller Memory Size")
	if _, err := strconv.ParseFloat(text, 64); err == nil {
		text += " GB"
	}
	n, _ := bytesOf(text, 1024)
	return n
}

func (c *controllerItem) battery() raid.BatteryState {
	raw := c.get("Battery/Capacitor Status", "Battery Status")
	if raw == "" {
		if n := c.get("Battery/Capacitor Count"); n == "0" && c.get("Cache Board Present") == "True" {
			return raid.BatteryState{Is: raid.BatteryMissing, Raw: n}
		}
		return raid.BatteryState{}
	}
	state := raid.BatteryState{Raw: raw}
	switch s := strings.ToLower(raw); {
	case s == "ok":
		state.Is = raid.BatteryGood
	case strings.Contains(s, "charging"):
		state.Is = raid.BatteryCharging
	case strings.HasPrefix(s, "failed"):
		state.Is = raid.BatteryFailed
	case s == "not present" || s == "not installed" || s == "missing":
		state.Is = raid.BatteryMissing
	}
	return state
}

// capabilities are what the grammar has, as far as this controller's own words do not exclude it.
func (c *controllerItem) capabilities(now raid.Mode) raid.Capabilities {
	caps := raid.Capabilities{Levels: []raid.LevelCapability{}}
	if c.get("HBA Mode Enabled") != "" || c.get("Controller Mode") != "" && now != raid.ModeMixed {
		caps.Modes, caps.ModeNeedReboot = []raid.Mode{raid.ModeRAID, raid.ModeHBA}, true
	}
	if c.slot == "" || now == raid.ModeHBA {
		return caps
	}
	caps.Levels = append(caps.Levels, raid.LevelCapability{Level: raid.Level0, MinDisks: 1},
		raid.LevelCapability{Level: raid.Level1, MinDisks: 2, MaxDisks: 2},
		raid.LevelCapability{Level: raid.Level10, MinDisks: 4, Multiple: 2})
	if !strings.Contains(c.model, "Dynamic Smart Array B1") {
		caps.Levels = append(caps.Levels, raid.LevelCapability{Level: raid.Level5, MinDisks: 3})
	}
	if c.get("RAID 6 (ADG) Status", "RAID 6 Status") == "Enabled" {
		caps.Levels = append(caps.Levels, raid.LevelCapability{Level: raid.Level6, MinDisks: 4},
			raid.LevelCapability{Level: raid.Level50, MinDisks: 6}, raid.LevelCapability{Level: raid.Level60, MinDisks: 8})
	}
	for kib := hw.Size(8); kib <= 1024; kib *= 2 {
		caps.Strips = append(caps.Strips, kib<<10)
	}
	caps.DedicatedSpares, caps.PartialVolumes = true, true
	caps.BootVolume = c.get("Primary Boot Volume") != ""
	if c.get("Cache Board Present") == "True" {
		caps.Write = []raid.WritePolicy{raid.WriteThrough, raid.WriteBack}
	}
	return caps
}
