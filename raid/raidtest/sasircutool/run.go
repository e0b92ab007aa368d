package sasircutool

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// SAS2 is one call of sas2ircu: what it prints, and its exit status. An error is that of the chassis, or that ctx
// ended.
func SAS2(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	return run(ctx, chassis, sas2, args)
}

// SAS3 is one call of sas3ircu.
func SAS3(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	return run(ctx, chassis, sas3, args)
}

// generation is what one of the two tools is for, and how it calls itself.
type generation struct {
	name, prefix, banner string
	// informed: protection information is told of.
	informed bool
}

var (
	sas2 = generation{name: "SAS2IRCU", prefix: "SAS2", banner: "LSI Corporation SAS2 IR Configuration Utility.\n" +
		"Version 20.00.00.00 (2014.09.18) \nCopyright (c) 2008-2014 LSI Corporation. All rights reserved. \n\n"}
	sas3 = generation{name: "SAS3IRCU", prefix: "SAS3", informed: true,
		banner: "Avago Technologies SAS3 IR Configuration Utility.\nVersion 09.00.00.00 (2015.02.03)\n" +
			"Copyright (c) 2009-2015 Avago Technologies. All rights reserved.\n\n"}
)

func run(ctx context.Context, chassis *raidtest.Chassis, g generation, args []string) (string, int, error) {
	text, exit, err := g.call(ctx, chassis, args)
	if errors.Is(err, raidtest.ErrPowerOff) {
		return "", raidtest.ExitPowerOff, nil
	}
	return g.banner + text, exit, err
}

// mine are the controllers that the tool sees, in its order.
func (g generation) mine(s *raidtest.State) []*raidtest.Controller {
	return slices.DeleteFunc(slices.Clone(s.Controllers), func(c *raidtest.Controller) bool {
		return !strings.HasPrefix(c.Model, g.prefix)
	})
}

// said is a line of the tool about itself.
func (g generation) said(format string, args ...any) string {
	return g.name + ": " + fmt.Sprintf(format, args...) + "\n"
}

func (g generation) call(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	done := g.said("Utility Completed Successfully.")
	list := len(args) == 1 && strings.EqualFold(args[0], "LIST")
	if !list && len(args) < 2 {
		return g.said("Too few arguments."), 1, nil
	}
	verb := ""
	if !list {
		verb = strings.ToUpper(args[1])
	}
	if list || len(args) == 2 && (verb == "DISPLAY" || verb == "STATUS") {
		state, answer, err := chassis.Read(ctx, "show")
		if err != nil {
			return "", 0, err
		}
		if state == nil {
			return g.said("MPTLib2 Error 4"), answer.Exit, nil
		}
		all := g.mine(state)
		if list {
			if len(all) == 0 {
				return g.said("MPTLib2 Error 1"), 1, nil
			}
			return listing(all) + done, answer.Exit, nil
		}
		n, c := pick(all, args[0])
		if c == nil {
			return g.absent(args[0]), 1, nil
		}
		p := &printer{c: c, g: g}
		if verb == "DISPLAY" {
			p.display(n)
		} else {
			p.status(n)
		}
		return p.String() + g.said("Command %s Completed Successfully.", verb) + done, answer.Exit, nil
	}
	change, kind, mistake := parseChange(verb, args[2:])
	if mistake != "" {
		return g.said("%s", mistake), 1, nil
	}
	absent := false
	answer, err := chassis.Change(ctx, string(kind), func(s *raidtest.State) error {
		_, c := pick(g.mine(s), args[0])
		if absent = c == nil; absent {
			return &raidtest.Refusal{Code: raidtest.RefusedUnsupported}
		}
		return change(c)
	})
	switch {
	case err != nil:
		return "", 0, err
	case absent:
		return g.absent(args[0]), 1, nil
	case answer.Refused != nil:
		return g.said("%s", answer.Refused.Text) + g.said("Error executing command %s.", verb), answer.Exit, nil
	}
	return g.said("Command %s Completed Successfully.", verb) + done, answer.Exit, nil
}

func (g generation) absent(index string) string {
	return g.said("No Controller Found at index %s.", index) + g.said("Error executing command.")
}

func pick(all []*raidtest.Controller, index string) (int, *raidtest.Controller) {
	n, err := strconv.ParseUint(index, 10, 8)
	if err != nil || int(n) >= len(all) {
		return 0, nil
	}
	return int(n), all[n]
}

// firstID is what the firmware counts volumes from.
const firstID = 322

var place = regexp.MustCompile(`^([0-9]{1,5}):([0-9]{1,5})$`)

func at(c *raidtest.Controller, where string) (*raidtest.Drive, error) {
	if m := place.FindStringSubmatch(where); m != nil {
		enclosure, _ := strconv.Atoi(m[1])
		slot, _ := strconv.Atoi(m[2])
		if d := c.At(enclosure, slot); d != nil {
			return d, nil
		}
	}
	return nil, &raidtest.Refusal{Code: raidtest.RefusedNoDrive, Text: "Device at " + where + " not found."}
}

// parseChange reads a command that changes something; mistake is what is wrong with it.
func parseChange(verb string, args []string) (do func(*raidtest.Controller) error, kind raid.StepKind, mistake string) {
	quiet := len(args) > 0 && strings.EqualFold(args[len(args)-1], "noprompt")
	if quiet {
		args = args[:len(args)-1]
	}
	switch verb {
	case "CREATE", "DELETE", "DELETEVOLUME":
		if !quiet {
			return nil, "", "WARNING: this needs an answer, and there is nobody to give one."
		}
	}
	volume := func(kind raid.StepKind, do func(*raidtest.Controller, int) error) (func(*raidtest.Controller) error,
		raid.StepKind, string) {
		if len(args) != 1 {
			return nil, "", "A volume id is needed."
		}
		id, err := strconv.ParseUint(args[0], 10, 16)
		if err != nil {
			return nil, "", "Invalid volume id " + args[0] + "."
		}
		return func(c *raidtest.Controller) error { return do(c, int(id)-firstID) }, kind, ""
	}
	switch verb {
	case "CREATE":
		if len(args) < 3 || !strings.HasPrefix(strings.ToUpper(args[0]), "RAID") {
			return nil, "", "Level, size and drives are needed."
		}
		v := raidtest.NewVolume{Level: raid.Level(strings.ToUpper(args[0])[4:])}
		if !strings.EqualFold(args[1], "MAX") {
			mib, err := strconv.ParseUint(args[1], 10, 32)
			if err != nil || mib == 0 {
				return nil, "", "Invalid size " + args[1] + "."
			}
			v.Bytes = int64(mib) << 20
		}
		// What follows the drives is the volume's name, which nothing ever shows.
		places := args[2:]
		if len(places) > 1 && !place.MatchString(places[len(places)-1]) {
			places = places[:len(places)-1]
		}
		return func(c *raidtest.Controller) error {
			for _, where := range places {
				d, err := at(c, where)
				if err != nil {
					return err
				}
				v.Drives = append(v.Drives, d.Serial)
			}
			_, err := c.CreateVolume(v)
			return err
		}, raid.StepCreateVolume, ""
	case "DELETEVOLUME":
		return volume(raid.StepDeleteVolume, (*raidtest.Controller).DeleteVolume)
	case "DELETE":
		if len(args) > 0 {
			return nil, "", "Invalid argument " + args[0] + "."
		}
		return func(c *raidtest.Controller) error {
			for len(c.Volumes) > 0 {
				if err := c.DeleteVolume(c.Volumes[0].Number); err != nil {
					return err
				}
			}
			return nil
		}, raid.StepDeleteVolume, ""
	case "BOOTIR":
		return volume(raid.StepBoot, (*raidtest.Controller).SetBoot)
	case "HOTSPARE":
		remove := len(args) == 2 && strings.EqualFold(args[0], "DELETE")
		if len(args) != 1 && !remove {
			return nil, "", "A drive is needed."
		}
		where, kind := args[len(args)-1], raid.StepAddSpare
		if remove {
			kind = raid.StepRemoveSpare
		}
		return func(c *raidtest.Controller) error {
			d, err := at(c, where)
			switch {
			case err != nil:
				return err
			case remove:
				return c.RemoveSpare(d.Serial)
			case !slices.ContainsFunc(c.Volumes, func(v *raidtest.Volume) bool { return v.Level != raid.Level0 }):
				return &raidtest.Refusal{Code: raidtest.RefusedState, Text: "There is no volume that could need a hot spare."}
			}
			return c.AddSpare(d.Serial)
		}, kind, ""
	}
	return nil, "", "Unknown command " + verb + "."
}

// HBA is a controller with RAID in its firmware, without drives: SAS3008, or SAS2308_1 and its kind.
func HBA(id raid.ControllerID, model, serial string) *raidtest.Controller {
	c := raidtest.MegaRAID(id, serial)
	c.Vendor, c.Model, c.Firmware, c.Slot, c.Mode = "LSI", model, "6.00.00.00", "1", raid.ModeMixed
	c.Cache = raid.Cache{}
	c.Capabilities = raid.Capabilities{
		Levels: []raid.LevelCapability{{Level: raid.Level0, MinDisks: 2, MaxDisks: 10},
			{Level: raid.Level1, MinDisks: 2, MaxDisks: 2}, {Level: raid.Level10, MinDisks: 4, MaxDisks: 10, Multiple: 2}},
		GlobalSpares: true, BootVolume: true, MaxVolumes: 2}
	c.DefaultStrip, c.DefaultPolicies = hw.Size(64<<10), raid.Policies{}
	c.WWNPrefix = wwnPrefix
	return c
}

// wwnPrefix is what the WWNs of all such volumes begin with.
const wwnPrefix = "600508e000000000"
