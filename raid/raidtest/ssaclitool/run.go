package ssaclitool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// Runner runs the tool in this process.
func Runner(c *raidtest.Chassis) raid.Runner { return raidtest.Tool(Run).Runner(c) }

// Run is one call of the tool: what it prints, and its exit status. An error is that of the chassis, or that ctx ended.
func Run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	text, exit, err := run(ctx, chassis, args)
	if errors.Is(err, raidtest.ErrPowerOff) {
		return "", raidtest.ExitPowerOff, nil
	}
	return text, exit, err
}

func run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	if slices.Equal(args, []string{"ctrl", "all", "show", "config", "detail"}) {
		state, answer, err := chassis.Read(ctx, "config")
		if err != nil || state == nil {
			return "", answer.Exit, err
		}
		if len(state.Controllers) == 0 {
			return "\nError: No controllers detected. Possible causes:\n", 1, nil
		}
		var b bytes.Buffer
		for _, c := range state.Controllers {
			printer{&b, c}.config()
		}
		return b.String(), answer.Exit, nil
	}
	if slices.Equal(args, []string{"ctrl", "all", "show"}) {
		state, answer, err := chassis.Read(ctx, "controllers")
		if err != nil || state == nil {
			return "", answer.Exit, err
		}
		var b bytes.Buffer
		for _, c := range state.Controllers {
			title := heading(c)
			if c.Serial != "" {
				title = fmt.Sprintf("%-41s (sn: %s)", title, c.Serial)
			}
			fmt.Fprintf(&b, "\n%s", title)
		}
		return b.String() + "\n\n", answer.Exit, nil
	}
	if len(args) < 3 || args[0] != "ctrl" {
		return syntax(args)
	}
	slot, ok := strings.CutPrefix(args[1], "slot=")
	if !ok {
		return syntax(args)
	}
	kind, do := command(args[2:])
	if do == nil {
		return syntax(args)
	}
	answer, err := chassis.Change(ctx, string(kind), func(s *raidtest.State) error {
		for _, c := range s.Controllers {
			if c.Slot == slot {
				return do(c)
			}
		}
		return &raidtest.Refusal{Text: fmt.Sprintf("The controller identified by %q was not detected.", args[1])}
	})
	switch {
	case err != nil:
		return "", 0, err
	case answer.Refused != nil:
		return "\nError: " + answer.Refused.Text + "\n\n", answer.Exit, nil
	}
	return "\n", answer.Exit, nil
}

func syntax(args []string) (string, int, error) {
	return fmt.Sprintf("\nError: Incorrect or unsupported syntax: %q\n", strings.Join(args, " ")), 1, nil
}

// Main is the tool as an executable over the chassis that the environment names in LODA_CHASSIS.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return raidtest.Tool(Run).Main(ctx, args, stdout, stderr)
}

type deed func(*raidtest.Controller) error

// command understands what stands behind the controller.
func command(args []string) (raid.StepKind, deed) {
	forced := args[len(args)-1] == "forced"
	if forced {
		args = args[:len(args)-1]
	}
	options := map[string]string{}
	var words []string
	for _, arg := range args {
		if key, value, ok := strings.Cut(arg, "="); ok {
			options[key] = value
		} else {
			words = append(words, arg)
		}
	}
	array, drive, target := "", "", 0
	if n := len(words); n > 0 && words[n-1] == "enableerasedrive" {
		options["enableerasedrive"], words = "on", words[:n-1]
	}
	switch {
	case len(words) == 3 && words[0] == "array":
		array, words = words[1], words[2:]
	case len(words) == 3 && words[0] == "pd" && words[2] == "modify":
		drive, words = words[1], words[2:]
	case len(words) == 3 && words[0] == "ld":
		target, _ = strconv.Atoi(words[1])
	}
	switch line := strings.Join(words, " "); {
	case drive != "":
		if options["enableerasedrive"] == "" {
			return "", nil
		}
		return raid.StepReady, func(c *raidtest.Controller) error {
			all, err := serials(c, drive)
			switch {
			case err != nil:
				return err
			case !c.Drive(all[0]).Erased:
				return refusal("This operation is not supported with the current configuration.")
			}
			return c.SetReady(all[0])
		}
	case !forced && (line == "create" || line == "modify" || strings.HasSuffix(line, " delete") || line == "add"):
		// It would ask, and nobody answers.
		return "", nil
	case array == "" && line == "modify" && (options["hbamode"] == "on" || options["hbamode"] == "off"):
		return raid.StepMode, func(c *raidtest.Controller) error {
			return c.SetMode(map[string]raid.Mode{"on": raid.ModeHBA, "off": raid.ModeRAID}[options["hbamode"]])
		}
	case line == fmt.Sprintf("ld %d delete", target):
		return raid.StepDeleteVolume, func(c *raidtest.Controller) error { return c.DeleteVolume(target - 1) }
	case line == fmt.Sprintf("ld %d modify", target) && options["bootvolume"] == "primary":
		return raid.StepBoot, func(c *raidtest.Controller) error { return c.SetBoot(target - 1) }
	case line == fmt.Sprintf("ld %d modify", target) && writes[options["caching"]] != "":
		return raid.StepPolicies, func(c *raidtest.Controller) error {
			return c.SetPolicies(target-1, raid.Policies{Write: writes[options["caching"]]})
		}
	case array != "" && line == "add" && options["spares"] != "":
		return raid.StepAddSpare, func(c *raidtest.Controller) error { return addSpares(c, array, options["spares"]) }
	case array != "" && line == "remove" && options["spares"] != "":
		return raid.StepRemoveSpare, func(c *raidtest.Controller) error {
			serials, err := serials(c, options["spares"])
			for _, serial := range serials {
				if err == nil {
					err = c.RemoveSpare(serial)
				}
			}
			return err
		}
	case line == "create" && options["type"] == "ld":
		return raid.StepCreateVolume, func(c *raidtest.Controller) error { return create(c, array, options) }
	}
	return "", nil
}

var writes = map[string]raid.WritePolicy{"enable": raid.WriteBack, "disable": raid.WriteThrough}

func refusal(format string, args ...any) error {
	return &raidtest.Refusal{Text: fmt.Sprintf(format, args...)}
}

func group(c *raidtest.Controller, array string) ([]*raidtest.Volume, error) {
	for i, g := range c.Groups() {
		if letter(i) == array {
			return g, nil
		}
	}
	return nil, refusal("The specified array %q does not exist.", array)
}

func serials(c *raidtest.Controller, list string) ([]string, error) {
	var all []string
	for _, n := range strings.Split(list, ",") {
		i := slices.IndexFunc(c.Drives, func(d *raidtest.Drive) bool { return name(d) == n && !d.Pulled })
		if i < 0 {
			return nil, refusal("The specified physical drive %q does not exist.", n)
		}
		all = append(all, c.Drives[i].Serial)
	}
	return all, nil
}

// addSpares makes them spares of all volumes of the array.
func addSpares(c *raidtest.Controller, array, list string) error {
	volumes, err := group(c, array)
	if err != nil {
		return err
	}
	var numbers []int
	for _, v := range volumes {
		numbers = append(numbers, v.Number)
	}
	all, err := serials(c, list)
	for _, serial := range all {
		if err == nil {
			err = c.AddSpare(serial, numbers...)
		}
	}
	return err
}

func create(c *raidtest.Controller, array string, options map[string]string) error {
	n := raidtest.NewVolume{}
	var err error
	if array != "" {
		g, e := group(c, array)
		if e != nil {
			return e
		}
		n.Drives = g[0].Members
	} else if n.Drives, err = serials(c, options["drives"]); err != nil {
		return err
	}
	for l := range levels {
		if options["raid"] == level(l, len(n.Drives)) {
			n.Level = l
		}
	}
	for key, value := range options {
		number, bad := strconv.ParseInt(value, 10, 64)
		switch key {
		case "type", "drives", "raid":
			continue
		case "size":
			if value == "max" {
				continue
			}
			n.Bytes = number << 20
		case "stripsize":
			n.Strip = hw.Size(number) << 10
		case "pg":
			n.Spans = int(number)
		case "aa":
			n.Policies.Write, bad = writes[value], nil
			if n.Policies.Write == "" {
				return refusal("%q is not a valid option", key+"="+value)
			}
		default:
			return refusal("%q is not a valid option", key)
		}
		if bad != nil || number < 0 {
			return refusal("%q is not a valid option", key+"="+value)
		}
	}
	_, err = c.CreateVolume(n)
	var no *raidtest.Refusal
	if errors.As(err, &no) && (no.Code == raidtest.RefusedLevel || no.Code == raidtest.RefusedCount) {
		text := fmt.Sprintf("%q is not a valid option for array %s\n\nAvailable options are:\n", "raid="+options["raid"],
			letter(len(c.Groups())))
		for _, l := range c.Capabilities.Levels {
			if have := len(n.Drives); have >= l.MinDisks && (l.MaxDisks == 0 || have <= l.MaxDisks) &&
				have%max(l.Multiple, 1) == 0 {
				text += "       " + level(l.Level, have)
				if l.Level == raid.Level5 {
					text += " (default value)"
				}
				text += "\n"
			}
		}
		return &raidtest.Refusal{Code: no.Code, Text: text}
	}
	return err
}
