package mvclitool

import (
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

// banner is what every call of mvcli starts with: the version of the driver that Extra["SG driver"] of a controller has,
// or, where it is empty, what becomes of the tool's search for one. mnv_cli has no need of it.
func banner(chassis *raidtest.Chassis) string {
	version := "3.5.36."
	if state, err := chassis.State(); err == nil && len(state.Controllers) > 0 {
		c := state.Controllers[0]
		if nvme(c) {
			return ""
		}
		if v, ok := c.Extra["SG driver"]; ok {
			version = v
		}
	}
	if version != "" {
		return "SG driver version " + version + "\n"
	}
	return "ls: cannot access '/dev/sd*': No such file or directory\n" + strings.Repeat(
		"cli :error opening SG device /dev/sg0: No such file or directory\nWait for SG driver ready.\n", 2)
}

// Run is one call of the tool: what it prints, and its exit status. An error is that of the chassis, or that ctx ended.
func Run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	text, err := run(ctx, chassis, args)
	if errors.Is(err, raidtest.ErrPowerOff) {
		return "", raidtest.ExitPowerOff, nil
	}
	if err != nil {
		return "", 0, err
	}
	return banner(chassis) + text, 0, nil
}

func run(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, error) {
	if len(args) == 3 && args[0] == "info" && args[1] == "-o" {
		state, _, err := chassis.Read(ctx, "info")
		if err != nil {
			return "", err
		}
		if state == nil || len(state.Controllers) == 0 {
			return "\nNo adapter is found.\n", nil
		}
		return info(state.Controllers, args[2]), nil
	}
	kind, do, err := command(args)
	if err != nil {
		return "\nError: " + err.Error() + "\n", nil
	}
	answer, err := chassis.Change(ctx, string(kind), func(s *raidtest.State) error {
		if len(s.Controllers) == 0 {
			return &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: "No adapter is found."}
		}
		return do(s.Controllers[0])
	})
	switch {
	case err != nil:
		return "", err
	case answer.Refused != nil:
		return "\nError: " + answer.Refused.Text + "\n", nil
	}
	return "", nil
}

// command reads the arguments of a command that changes something, as mvcli 4.1 takes them.
func command(args []string) (raid.StepKind, func(*raidtest.Controller) error, error) {
	options := map[string]string{}
	confirmed := false
	for i := 1; i < len(args); i++ {
		switch a := args[i]; {
		case a == "--waiveconfirmation":
			confirmed = true
		case a == "-f":
		case len(a) > 2 && a[0] == '-' && a[1] != '-':
			options[a[:2]] = a[2:]
		case len(a) == 2 && a[0] == '-' && i+1 < len(args):
			i++
			options[a] = args[i]
		default:
			return "", nil, fmt.Errorf("%s is no option", a)
		}
	}
	switch {
	case len(args) == 0 || options["-o"] != "vd":
		return "", nil, errors.New("unknown command")
	case !confirmed:
		return "", nil, errors.New("nobody confirmed")
	case args[0] == "delete":
		n, err := strconv.Atoi(options["-i"])
		if err != nil {
			return "", nil, errors.New("invalid VD id")
		}
		return raid.StepDeleteVolume, func(c *raidtest.Controller) error { return c.DeleteVolume(n) }, nil
	case args[0] == "create":
		v := raidtest.NewVolume{Level: raid.Level(options["-r"]), Name: options["-n"]}
		v.Name = v.Name[:min(len(v.Name), 10)]
		if b, ok := options["-b"]; ok {
			n, err := strconv.Atoi(b)
			if err != nil || !slices.Contains([]int{16, 32, 64, 128}, n) {
				return "", nil, errors.New("invalid block size")
			}
			v.Strip = hw.Size(n) << 10
		}
		return raid.StepCreateVolume, func(c *raidtest.Controller) error {
			for _, id := range strings.Split(options["-d"], ",") {
				i := slices.IndexFunc(c.Drives, func(d *raidtest.Drive) bool { return !d.Pulled && strconv.Itoa(d.Slot) == id })
				if i < 0 {
					return &raidtest.Refusal{Code: raidtest.RefusedNoDrive, Text: "PD " + id + " is not found."}
				}
				v.Drives = append(v.Drives, c.Drives[i].Serial)
			}
			_, err := c.CreateVolume(v)
			return err
		}, nil
	}
	return "", nil, errors.New("unknown command")
}

// Card is a boot card without drives: it mirrors two.
func Card(id raid.ControllerID, serial string) *raidtest.Controller {
	c := raidtest.MegaRAID(id, serial)
	c.Vendor, c.Model, c.Firmware, c.Cache = "Dell", "BOSS-S1", "2.5.13.1210", raid.Cache{}
	c.Capabilities = raid.Capabilities{Levels: []raid.LevelCapability{{Level: raid.Level1, MinDisks: 2, MaxDisks: 2}},
		Strips: []hw.Size{64 << 10}, MaxVolumes: 1, MaxName: 10, Names: true}
	c.DefaultStrip, c.DefaultPolicies = 64<<10, raid.Policies{}
	c.Extra = map[string]string{"Product": "1b4b-9230", "Sub Product": "1028-1fe2", "Chip revision": "A1",
		"Max PCIe speed": "5Gb/s", "Current PCIe speed": "5Gb/s", "Max PCIe link": "2", "Current PCIe link": "2",
		"Rom version": "2.5.13.3016", "BIOS version": "1.0.13.1003", "Boot loader version": "2.1.0.1009", "# of ports": "3",
		"Buzzer": "Not supported", "Supported port type": "SATA ", "PM": "Not supported", "Expander": "Not supported",
		"Rebuild": "Supported", "Background init": "Not supported", "Sync": "Not supported", "Migrate": "Not supported",
		"Media patrol": "Supported", "Foreground init": "Not supported", "Copy back": "Not supported",
		"Maximum supported disk": "2", "Max total blocks": "128", "Features": "rebuild,media patrol",
		"Advanced features": "event sense code,multi VD,spc 4,image health,timer,smart poll,bga rate,spare," +
			"ata pass through,access register,oem data",
		"Advanced features 2": "scsi pass through,flash", "Max buffer size": "3", "Image health": "Healthy",
		"Autoload image health": "Healthy", "Boot loader image health": "Healthy", "Firmware image health": "Healthy",
		"Boot ROM image health": "Healthy", "HBA info image health": "Healthy"}
	return c
}
