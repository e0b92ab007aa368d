package nvmetool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// Runner runs the tool in this process.
func Runner(c *raidtest.Chassis) raid.Runner { return raidtest.Tool(Run).Runner(c) }

// Main is the tool as an executable over the chassis that the environment names in LODA_CHASSIS.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return raidtest.Tool(Run).Main(ctx, args, stdout, stderr)
}

// said is how the tool ends that does not get as far as the drive.
type said struct{ text string }

func (s *said) Error() string { return s.text }

func say(format string, args ...any) error { return &said{fmt.Sprintf(format, args...)} }

// Run is one call of the tool: what it prints, on either stream, and its exit status.
func Run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	text, answer, err := run(ctx, chassis, args)
	var s *said
	switch {
	case errors.Is(err, raidtest.ErrPowerOff):
		return "", raidtest.ExitPowerOff, nil
	case errors.As(err, &s):
		return s.text + "\n", 1, nil
	case answer.Refused != nil:
		return text + status(answer.Refused), answer.Exit, err
	}
	return text, answer.Exit, err
}

// status is a refusal as the drive says it: names and numbers of the NVM Express Base Specification.
func status(r *raidtest.Refusal) string {
	word := "INVALID_OPCODE(0x1)"
	switch r.Code {
	case raidtest.RefusedNoVolume:
		word = "INVALID_NS(0x400b)"
	case raidtest.RefusedRoom:
		word = "NS_INSUFFICIENT_CAPACITY(0x2115)"
	case raidtest.RefusedLimit:
		word = "NS_ID_UNAVAILABLE(0x2116)"
	case raidtest.RefusedState:
		word = "NS_ALREADY_ATTACHED(0x2118)"
	}
	return "NVMe status: " + word + ": " + r.Text + "\n"
}

// drives are those of the machine, in the order of the kernel's numbers.
func drives(s *raidtest.State) []*raidtest.Controller {
	var all []*raidtest.Controller
	for _, c := range s.Controllers {
		if c.Kind == raidtest.KindNVMe && len(c.Drives) == 1 && !c.Drives[0].Pulled {
			all = append(all, c)
		}
	}
	return all
}

func drive(s *raidtest.State, device string) (*raidtest.Controller, error) {
	for i, c := range drives(s) {
		if device == fmt.Sprintf("/dev/nvme%d", i) {
			return c, nil
		}
	}
	return nil, say("%s: No such file or directory", device)
}

// options are numbers, and flags whose number is 0.
func options(args []string, known ...string) (map[string]int64, error) {
	all := map[string]int64{}
	for _, a := range args {
		name, value, has := strings.Cut(a, "=")
		if a == "--output-format=json" {
			continue
		}
		if !slices.Contains(known, name) {
			return nil, say("unrecognized option '%s'", name)
		}
		all[name] = 0
		if has {
			n, err := strconv.ParseInt(value, 10, 64)
			if err != nil || n < 0 {
				return nil, say("Expected positive argument for '%s' but got '%s'", name, value)
			}
			all[name] = n
		}
	}
	return all, nil
}

func run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, raidtest.Answer, error) {
	none := raidtest.Answer{}
	if len(args) == 0 {
		return "", none, say("usage: nvme <command> [<device>] [<args>]")
	}
	if args[0] == "list" {
		if _, err := options(args[1:], "--verbose"); err != nil {
			return "", none, err
		}
		return look(ctx, chassis, args[0], func(s *raidtest.State) (string, error) { return list(drives(s)), nil })
	}
	if len(args) < 2 || !strings.HasPrefix(args[1], "/dev/") {
		return "", none, say("%s: expected nvme device (ex: /dev/nvme0), none provided", args[0])
	}
	reads := map[string]struct {
		options []string
		print   func(c *raidtest.Controller, o map[string]int64) string
	}{
		"id-ctrl": {nil, func(c *raidtest.Controller, _ map[string]int64) string { return idCtrl(c) }},
		"list-ns": {[]string{"--all"}, listNS},
		"id-ns":   {[]string{"--namespace-id", "--force"}, idNS},
		// The kernel heard it from the drive.
		"ns-rescan": {nil, func(*raidtest.Controller, map[string]int64) string { return "" }},
	}
	if read, ok := reads[args[0]]; ok {
		o, err := options(args[2:], read.options...)
		if err != nil {
			return "", none, err
		}
		return look(ctx, chassis, args[0], func(s *raidtest.State) (string, error) {
			c, err := drive(s, args[1])
			if err != nil {
				return "", err
			}
			return read.print(c, o), nil
		})
	}
	w, ok := writes[args[0]]
	if !ok {
		return "", none, say("ERROR: Invalid sub-command '%s'", args[0])
	}
	o, err := options(args[2:], w.options...)
	if err != nil {
		return "", none, err
	}
	text := ""
	answer, err := chassis.Change(ctx, w.op, func(s *raidtest.State) error {
		c, err := drive(s, args[1])
		if err != nil {
			return err
		}
		text, err = w.do(c, o)
		return err
	})
	if err != nil || answer.Refused != nil {
		text = ""
	}
	return text, answer, err
}

func look(ctx context.Context, chassis *raidtest.Chassis, op string,
	print func(*raidtest.State) (string, error)) (string, raidtest.Answer, error) {
	s, answer, err := chassis.Read(ctx, op)
	if err != nil || s == nil {
		return "", answer, err
	}
	text, err := print(s)
	return text, answer, err
}

// writes are the commands that change something.
var writes = map[string]struct {
	op      string
	options []string
	do      func(*raidtest.Controller, map[string]int64) (string, error)
}{
	"create-ns": {string(raid.StepCreateVolume), []string{"--nsze", "--ncap", "--block-size"}, create},
	"attach-ns": {"attach", []string{"--namespace-id", "--controllers"},
		func(c *raidtest.Controller, o map[string]int64) (string, error) {
			return moved(c, o, "attach-ns", c.Start)
		}},
	"detach-ns": {"detach", []string{"--namespace-id", "--controllers"},
		func(c *raidtest.Controller, o map[string]int64) (string, error) {
			return moved(c, o, "detach-ns", c.Stop)
		}},
	"delete-ns": {string(raid.StepDeleteVolume), []string{"--namespace-id"},
		func(c *raidtest.Controller, o map[string]int64) (string, error) {
			if err := manages(c); err != nil {
				return "", err
			}
			id := o["--namespace-id"]
			return fmt.Sprintf("delete-ns: Success, deleted nsid:%d\n", id), c.DeleteVolume(int(id))
		}},
	"format": {string(raid.StepInitialize), []string{"--namespace-id", "--ses", "--force"}, format},
}

func manages(c *raidtest.Controller) error {
	if len(c.Capabilities.Levels) == 0 {
		return &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: "namespaces cannot be managed"}
	}
	return nil
}

func create(c *raidtest.Controller, o map[string]int64) (string, error) {
	if err := manages(c); err != nil {
		return "", err
	}
	d := c.Drives[0]
	sector := int64(d.LogicalSector)
	if b := o["--block-size"]; b != sector {
		return "", say("flbas corresponding to block size %d not found", b)
	}
	if o["--nsze"] != o["--ncap"] || o["--nsze"] <= 0 || o["--nsze"] > 1<<50 {
		return "", &raidtest.Refusal{Code: raidtest.RefusedRoom, Text: "such a size and capacity do not go together"}
	}
	v, err := c.CreateVolume(raidtest.NewVolume{Level: raid.Level0, Bytes: o["--nsze"] * sector,
		Drives: []string{d.Serial}})
	if err != nil {
		return "", err
	}
	v.Stopped = true // until somebody attaches it
	return fmt.Sprintf("create-ns: Success, created nsid:%d\n", v.Number), nil
}

// moved attaches or detaches.
func moved(c *raidtest.Controller, o map[string]int64, name string, do func(int) error) (string, error) {
	if err := manages(c); err != nil {
		return "", err
	}
	if want := number(c, "cntlid", 5); o["--controllers"] != want {
		return "", &raidtest.Refusal{Code: raidtest.RefusedUnsupported,
			Text: fmt.Sprintf("the controller's number is %d", want)}
	}
	id := o["--namespace-id"]
	return fmt.Sprintf("%s: Success, nsid:%d\n", name, id), do(int(id))
}

func format(c *raidtest.Controller, o map[string]int64) (string, error) {
	if len(c.Capabilities.Initialize) == 0 {
		return "", &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: "the drive cannot format"}
	}
	how := raid.InitializeNone
	switch o["--ses"] {
	case 1:
		how = raid.InitializeFull
	case 2:
		how = raid.InitializeFast
	}
	id := o["--namespace-id"]
	if err := c.Initialize(int(id), how); err != nil {
		return "", err
	}
	if number(c, "fna", 0)&3 != 0 {
		for _, v := range c.Volumes {
			v.Data = ""
		}
	}
	return fmt.Sprintf("Success formatting namespace:%x\n", id), nil
}
