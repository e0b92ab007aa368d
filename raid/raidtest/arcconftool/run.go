package arcconftool

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

// Main is the tool as an executable over the chassis that the environment names in LODA_CHASSIS.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return raidtest.Tool(Run).Main(ctx, args, stdout, stderr)
}

const (
	done    = "\n\nCommand completed successfully.\n"
	aborted = "\n\nCommand aborted.\n"
)

// Run is one call of the tool: what it prints, and its exit status. An error is that of the chassis, or that ctx ended.
func Run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	text, exit, err := run(ctx, chassis, args)
	if errors.Is(err, raidtest.ErrPowerOff) {
		return "", raidtest.ExitPowerOff, nil
	}
	return text, exit, err
}

func run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	if len(args) == 0 {
		return "UCLI: no command" + aborted, 1, nil
	}
	switch args[0] {
	case "LIST", "GETCONFIG", "GETSTATUS":
		return read(ctx, chassis, args)
	}
	kind, number, do := command(args)
	if do == nil {
		return "\n Usage: unknown or incomplete command " + strings.Join(args, " ") + aborted, 1, nil
	}
	found := 0
	answer, err := chassis.Change(ctx, string(kind), func(s *raidtest.State) error {
		if found = len(s.Controllers); number < 1 || number > found {
			return refusal("Invalid controller number.")
		}
		return do(s.Controllers[number-1])
	})
	switch {
	case err != nil:
		return "", 0, err
	case answer.Refused != nil:
		return fmt.Sprintf("Controllers found: %d\n\n%s%s", found, answer.Refused.Text, aborted), answer.Exit, nil
	}
	return fmt.Sprintf("Controllers found: %d%s", found, done), answer.Exit, nil
}

func read(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	state, answer, err := chassis.Read(ctx, strings.ToLower(args[0]))
	if err != nil || state == nil {
		return "", answer.Exit, err
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "Controllers found: %d\n", len(state.Controllers))
	p := printer{w: &b}
	if args[0] == "LIST" {
		if len(state.Controllers) > 0 {
			p.list(state.Controllers)
		}
		return b.String() + done, answer.Exit, nil
	}
	number := 0
	if len(args) > 1 {
		number, _ = strconv.Atoi(args[1])
	}
	if number < 1 || number > len(state.Controllers) {
		return b.String() + "\nInvalid controller number." + aborted, 1, nil
	}
	p.c = state.Controllers[number-1]
	part := "AL"
	if len(args) > 2 {
		part = args[2]
	}
	switch {
	case args[0] == "GETSTATUS":
		p.tasks()
	case part == "AL":
		p.all()
	case part == "AD":
		p.adapter()
	case part == "AR" && smart(p.c):
		p.arrays()
	case part == "LD":
		p.volumes()
	case part == "PD":
		p.physical()
	default:
		return b.String() + "\nInvalid option " + part + aborted, 1, nil
	}
	return b.String() + done, answer.Exit, nil
}

type deed func(*raidtest.Controller) error

func refusal(format string, args ...any) error {
	return &raidtest.Refusal{Text: fmt.Sprintf(format, args...)}
}

// command understands what changes something: CREATE 1 LOGICALDRIVE ... noprompt. Without noprompt it would ask, and
// nobody answers.
func command(args []string) (raid.StepKind, int, deed) {
	if args[len(args)-1] != "noprompt" {
		return "", 0, nil
	}
	args = args[:len(args)-1]
	if len(args) > 2 && args[0] == "TASK" && args[1] == "START" {
		args = append([]string{"TASK START"}, args[2:]...)
	}
	if len(args) < 3 {
		return "", 0, nil
	}
	number, _ := strconv.Atoi(args[1])
	kind, do := deedOf(args[0], args[2:])
	return kind, number, do
}

func deedOf(verb string, args []string) (raid.StepKind, deed) {
	object := strings.Join(append([]string{verb}, args[0]), " ")
	rest := args[1:]
	switch {
	case verb == "SETCONTROLLERMODE" && len(args) == 1:
		return raid.StepMode, func(c *raidtest.Controller) error {
			mode := map[string]raid.Mode{"0": raid.ModeRAID, "2": raid.ModeHBA, "3": raid.ModeRAID, "5": raid.ModeMixed}[args[0]]
			if smart(c) == (args[0] == "0") {
				return refusal("Invalid controller mode.")
			}
			return c.SetMode(mode)
		}
	case object == "CREATE LOGICALDRIVE":
		return raid.StepCreateVolume, func(c *raidtest.Controller) error { return create(c, rest) }
	case object == "DELETE LOGICALDRIVE" && len(rest) == 1:
		return raid.StepDeleteVolume, func(c *raidtest.Controller) error {
			n, err := volumeNumber(rest[0])
			if err != nil {
				return err
			}
			return c.DeleteVolume(n)
		}
	case object == "CREATE JBOD" && len(rest) == 2:
		return raid.StepJBOD, onDrive(rest, (*raidtest.Controller).SetJBOD)
	case object == "DELETE JBOD" && len(rest) == 2:
		return raid.StepReady, onDrive(rest, (*raidtest.Controller).SetReady)
	case object == "TASK START DEVICE" && len(rest) == 3 && rest[2] == "INITIALIZE":
		return raid.StepReady, onDrive(rest[:2], (*raidtest.Controller).SetReady)
	case object == "SETSTATE DEVICE" && len(rest) == 3 && rest[2] == "RDY":
		return raid.StepRemoveSpare, onDrive(rest[:2], func(c *raidtest.Controller, serial string) error {
			if c.Drive(serial).State == raid.DiskSpare {
				return c.RemoveSpare(serial)
			}
			return c.SetReady(serial)
		})
	case object == "SETSTATE DEVICE" && len(rest) >= 3 && rest[2] == "HSP":
		return raid.StepAddSpare, onDrive(rest[:2], func(c *raidtest.Controller, serial string) error {
			return addSpare(c, serial, rest[3:])
		})
	case object == "SETBOOT LOGICALDRIVE" && len(rest) == 3 && rest[1] == "TYPE" && rest[2] == "Primary":
		return raid.StepBoot, func(c *raidtest.Controller) error {
			n, err := volumeNumber(rest[0])
			if err != nil {
				return err
			}
			return c.SetBoot(n)
		}
	case object == "SETCACHE LOGICALDRIVE" && len(rest) == 2:
		return raid.StepPolicies, func(c *raidtest.Controller) error {
			n, err := volumeNumber(rest[0])
			p, ok := policies(c, rest[1])
			if err != nil || !ok {
				return errors.Join(err, refusal("Invalid cache mode."))
			}
			return c.SetPolicies(n, p)
		}
	}
	return "", nil
}

func volumeNumber(s string) (int, error) {
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, refusal("Invalid logical device number.")
	}
	return n, nil
}

// policies of a word, which each family has its own of.
func policies(c *raidtest.Controller, word string) (raid.Policies, bool) {
	words := map[string]raid.Policies{"RON": {Read: raid.ReadAhead}, "ROFF": {Read: raid.ReadNone},
		"WT": {Write: raid.WriteThrough}, "WB": {Write: raid.WriteAlwaysBack}, "WBB": {Write: raid.WriteBack}}
	if smart(c) {
		words = map[string]raid.Policies{"CON": {Write: raid.WriteBack}, "COFF": {Write: raid.WriteThrough}}
	}
	p, ok := words[word]
	return p, ok
}

// driveAt finds one by channel and device.
func driveAt(c *raidtest.Controller, channel, device string) (*raidtest.Drive, error) {
	for _, d := range c.Drives {
		if channel == "0" && strconv.Itoa(d.Device) == device && !d.Pulled {
			return d, nil
		}
	}
	return nil, refusal("The specified device does not exist.")
}

func onDrive(at []string, do func(*raidtest.Controller, string) error) deed {
	return func(c *raidtest.Controller) error {
		d, err := driveAt(c, at[0], at[1])
		if err != nil {
			return err
		}
		return do(c, d.Serial)
	}
}

func addSpare(c *raidtest.Controller, serial string, to []string) error {
	var numbers []int
	for i, word := range to {
		if i == 0 {
			if want := map[bool]string{true: "ARRAY", false: "LOGICALDRIVE"}[smart(c)]; word != want {
				return refusal("Invalid option %s.", word)
			}
			continue
		}
		n, err := strconv.Atoi(word)
		groups := c.Groups()
		switch {
		case err != nil || smart(c) && (n < 0 || n >= len(groups)):
			return refusal("Invalid number %s.", word)
		case !smart(c):
			numbers = append(numbers, n)
		default:
			for _, v := range groups[n] {
				numbers = append(numbers, v.Number)
			}
		}
	}
	return c.AddSpare(serial, numbers...)
}

// create [Name x] [Stripesize k] [Method m] [Rcache r] [Wcache w] <MB|MAX> <level> <channel device>...
func create(c *raidtest.Controller, args []string) error {
	n := raidtest.NewVolume{}
	for len(args) > 2 {
		value := args[1]
		switch args[0] {
		case "Name":
			n.Name = value
		case "Stripesize":
			kib, err := strconv.Atoi(value)
			if err != nil {
				return refusal("Invalid stripe size.")
			}
			n.Strip = hw.Size(kib) << 10
		case "Method":
			n.Initialize = map[string]raid.Initialization{"SKIP": raid.InitializeNone, "QUICK": raid.InitializeFast,
				"CLEAR": raid.InitializeFull}[value]
			if n.Initialize == "" || smart(c) {
				return refusal("Invalid method.")
			}
		case "Rcache", "Wcache":
			p, ok := policies(c, value)
			if !ok || smart(c) {
				return refusal("Invalid cache mode.")
			}
			n.Policies.Read, n.Policies.Write = n.Policies.Read+p.Read, n.Policies.Write+p.Write
		default:
			return createOn(c, n, args)
		}
		args = args[2:]
	}
	return refusal("Not enough arguments.")
}

func createOn(c *raidtest.Controller, n raidtest.NewVolume, args []string) error {
	if args[0] != "MAX" {
		mib, err := strconv.ParseInt(args[0], 10, 64)
		if err != nil || mib < 1 {
			return refusal("Invalid size.")
		}
		n.Bytes = mib << 20
	}
	n.Level = raid.Level(args[1])
	for pair := range slices.Chunk(args[2:], 2) {
		if len(pair) != 2 {
			return refusal("Invalid device.")
		}
		d, err := driveAt(c, pair[0], pair[1])
		if err != nil {
			return err
		}
		n.Drives = append(n.Drives, d.Serial)
	}
	_, err := c.CreateVolume(n)
	return err
}
