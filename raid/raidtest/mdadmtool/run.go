package mdadmtool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// Runner runs both tools in this process, by the name of the program.
func Runner(c *raidtest.Chassis) raid.Runner { return runner{c} }

type runner struct{ chassis *raidtest.Chassis }

func (r runner) Run(ctx context.Context, argv ...string) (*raid.Output, error) {
	if path.Base(argv[0]) == "wipefs" {
		return raidtest.Tool(Wipefs).Runner(r.chassis).Run(ctx, argv...)
	}
	return raidtest.Tool(Mdadm).Runner(r.chassis).Run(ctx, argv...)
}

// Main is mdadm as an executable over the chassis that the environment names in LODA_CHASSIS, MainWipefs the other one.
func Main(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return raidtest.Tool(Mdadm).Main(ctx, args, stdout, stderr)
}

// MainWipefs is wipefs as an executable.
func MainWipefs(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return raidtest.Tool(Wipefs).Main(ctx, args, stdout, stderr)
}

// Disks are the drives as the operating system lists them.
func Disks(c *raidtest.Chassis) func(context.Context) ([]hw.Disk, error) {
	return func(context.Context) ([]hw.Disk, error) {
		md, err := kernel(c)
		if err != nil {
			return nil, err
		}
		disks := []hw.Disk{}
		for _, d := range md.Drives {
			if d.Pulled {
				continue
			}
			healthy := !d.SMARTAlert
			disks = append(disks, hw.Disk{Name: strings.TrimPrefix(device(d), "/dev/"), Kind: hw.PhysicalDisk, Bus: d.Bus,
				Medium: d.Medium, Vendor: d.Vendor, Model: d.Model, Firmware: d.Firmware, Serial: d.Serial, WWN: "naa." + d.WWN,
				Path: fmt.Sprintf("pci-0000:00:1f.2-ata-%d", d.Slot+1), Bytes: d.Bytes, LogicalSector: d.LogicalSector,
				PhysicalSector: d.PhysicalSector, Health: &hw.DiskHealth{Passed: &healthy, MediaErrors: &d.MediaErrors}})
		}
		return disks, nil
	}
}

// Stat is /proc/mdstat.
func Stat(c *raidtest.Chassis) func() ([]byte, error) {
	return func() ([]byte, error) {
		md, err := kernel(c)
		if err != nil {
			return nil, err
		}
		p := &printer{c: md}
		p.stat()
		return []byte(p.String()), nil
	}
}

// kernel is what is seen without a tool, and so without the faults of one.
func kernel(c *raidtest.Chassis) (*raidtest.Controller, error) {
	s, err := c.State()
	if err != nil {
		return nil, err
	}
	if s.Off {
		return nil, raidtest.ErrPowerOff
	}
	return software(s)
}

func software(s *raidtest.State) (*raidtest.Controller, error) {
	if c := s.Controller(raid.MD); c != nil && c.Kind == raidtest.KindMD {
		return c, nil
	}
	return nil, errors.New("the simulated machine has no software RAID")
}

// said is how a tool ends that had nothing to do with the chassis, or refuses by itself.
type said struct {
	text string
	exit int
}

func (s *said) Error() string { return s.text }

func say(exit int, format string, args ...any) error {
	return &said{"mdadm: " + fmt.Sprintf(format, args...) + "\n", exit}
}

// Mdadm is one call of mdadm: what it prints, on either stream, and its exit status.
func Mdadm(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	return ended(mdadm(ctx, chassis, args))
}

// Wipefs is one call of wipefs.
func Wipefs(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, int, error) {
	return ended(wipefs(ctx, chassis, args))
}

func ended(text string, answer raidtest.Answer, err error) (string, int, error) {
	var s *said
	switch {
	case errors.Is(err, raidtest.ErrPowerOff):
		return "", raidtest.ExitPowerOff, nil
	case errors.As(err, &s):
		return s.text, s.exit, nil
	case answer.Refused != nil:
		return text + "mdadm: " + answer.Refused.Text + "\n", answer.Exit, err
	}
	return text, answer.Exit, err
}

// line is what was asked for.
type line struct {
	options map[string]string
	devices []string
}

func parse(args []string) line {
	l := line{options: map[string]string{}}
	for _, a := range args {
		if name, value, _ := strings.Cut(a, "="); strings.HasPrefix(a, "--") {
			l.options[name] = value
		} else {
			l.devices = append(l.devices, a)
		}
	}
	return l
}

// only refuses what a mode of the tool has no use for.
func (l line) only(names ...string) error {
	for name := range l.options {
		if !slices.Contains(names, name) {
			return say(2, "unrecognized option '%s'", name)
		}
	}
	return nil
}

func (l line) has(name string) bool { _, ok := l.options[name]; return ok }

func mdadm(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, raidtest.Answer, error) {
	none := raidtest.Answer{}
	if len(args) == 0 {
		return "", none, say(2, "what is to be done?")
	}
	l := parse(args[1:])
	switch args[0] {
	case "--detail":
		if err := l.only("--export"); err != nil {
			return "", none, err
		}
		return look(ctx, chassis, "detail", func(p *printer) error {
			for _, node := range l.devices {
				v := p.array(node)
				switch {
				case v == nil:
					return say(1, "cannot open %s: No such file or directory", node)
				case l.has("--export"):
					p.export(v)
				default:
					p.detail(v)
				}
			}
			return nil
		})
	case "--examine":
		if err := l.only("--scan", "--verbose"); err != nil {
			return "", none, err
		}
		return look(ctx, chassis, "examine", func(p *printer) error {
			if l.has("--scan") {
				p.scan()
				return nil
			}
			return p.examine(l.devices)
		})
	case "--assemble":
		return assemble(ctx, chassis, l)
	case "--create":
		return create(ctx, chassis, l)
	case "--stop":
		return change(ctx, chassis, "stop", l, func(c *raidtest.Controller) error {
			for _, node := range l.devices {
				v := (&printer{c: c}).array(node)
				if v == nil {
					return say(1, "error opening %s: No such file or directory", node)
				}
				if err := c.Stop(v.Number); err != nil {
					return err
				}
			}
			return nil
		}, "stopped "+strings.Join(l.devices, " "))
	case "--manage":
		return manage(ctx, chassis, l)
	case "--zero-superblock":
		return zero(ctx, chassis, l)
	}
	return "", none, say(2, "unrecognized option '%s'", args[0])
}

// look runs a command that only looks.
func look(ctx context.Context, chassis *raidtest.Chassis, op string, print func(*printer) error) (string,
	raidtest.Answer, error) {
	s, answer, err := chassis.Read(ctx, op)
	if err != nil || s == nil {
		return "", answer, err
	}
	c, err := software(s)
	if err != nil {
		return "", answer, say(1, "%v", err)
	}
	p := &printer{c: c}
	var tool *said
	if err := print(p); errors.As(err, &tool) {
		p.WriteString(tool.text)
		answer.Exit = max(answer.Exit, tool.exit)
	} else if err != nil {
		return "", answer, err
	}
	return p.String(), answer, nil
}

// change runs a command that writes.
func change(ctx context.Context, chassis *raidtest.Chassis, op string, l line, do func(*raidtest.Controller) error,
	done string, options ...string) (string, raidtest.Answer, error) {
	if err := l.only(options...); err != nil {
		return "", raidtest.Answer{}, err
	}
	answer, err := chassis.Change(ctx, op, func(s *raidtest.State) error {
		c, err := software(s)
		if err != nil {
			return say(1, "%v", err)
		}
		return do(c)
	})
	if err != nil || answer.Refused != nil {
		return "", answer, err
	}
	return "mdadm: " + done + "\n", answer, nil
}

func manage(ctx context.Context, chassis *raidtest.Chassis, l line) (string, raidtest.Answer, error) {
	if len(l.devices) < 2 || l.has("--add") == l.has("--remove") {
		return "", raidtest.Answer{}, say(2, "want an array, --add or --remove, and devices")
	}
	node, op, done := l.devices[0], string(raid.StepAddSpare), "added "
	if l.has("--remove") {
		op, done = string(raid.StepRemoveSpare), "hot removed "
	}
	return change(ctx, chassis, op, l, func(c *raidtest.Controller) error {
		v := (&printer{c: c}).array(node)
		if v == nil {
			return say(1, "error opening %s: No such file or directory", node)
		}
		for _, name := range l.devices[1:] {
			d := find(c, name)
			if d == nil {
				return say(1, "Cannot find %s: No such file or directory", name)
			}
			do := c.Join
			if l.has("--remove") {
				do = c.Leave
			}
			if err := do(v.Number, d.Serial); err != nil {
				return err
			}
		}
		return nil
	}, done+strings.Join(l.devices[1:], " "), "--add", "--remove")
}

// zero takes md's records. Of devices one of which is busy, nothing is done here; the tool does the others.
func zero(ctx context.Context, chassis *raidtest.Chassis, l line) (string, raidtest.Answer, error) {
	var text strings.Builder
	idle := true
	shown, answer, err := look(ctx, chassis, "zero", func(p *printer) error {
		for _, name := range l.devices {
			switch d := find(p.c, name); {
			case d == nil:
				return say(2, "Couldn't open %s for write - not zeroing", name)
			case p.c.Recorded(d.Serial):
				idle = false
			default:
				fmt.Fprintf(&text, "mdadm: Unrecognised md component device - %s\n", name)
			}
		}
		return nil
	})
	if idle || err != nil || answer.Refused != nil {
		return shown + text.String(), answer, err
	}
	return change(ctx, chassis, "zero-superblock", l, func(c *raidtest.Controller) error {
		return erase(c, l.devices, false, false)
	}, "")
}

func erase(c *raidtest.Controller, devices []string, everything, force bool) error {
	for _, name := range devices {
		d := find(c, name)
		if d == nil {
			return say(1, "%s: No such file or directory", name)
		}
		if !c.Recorded(d.Serial) && (!everything || d.Data == "") {
			continue
		}
		if err := c.Erase(d.Serial, everything, force); err != nil {
			return err
		}
	}
	return nil
}

func assemble(ctx context.Context, chassis *raidtest.Chassis, l line) (string, raidtest.Answer, error) {
	if !l.has("--scan") {
		return "", raidtest.Answer{}, say(2, "only --scan is known here")
	}
	idle := true
	startable := func(c *raidtest.Controller, v *raidtest.Volume) bool {
		runs := *v
		runs.Stopped = false
		return v.Stopped && !slices.Contains([]raid.VolumeStateKind{raid.VolumeFailed, raid.VolumeOffline}, c.State(&runs))
	}
	_, answer, err := look(ctx, chassis, "assemble", func(p *printer) error {
		idle = !slices.ContainsFunc(p.c.Volumes, func(v *raidtest.Volume) bool { return startable(p.c, v) })
		return nil
	})
	if err != nil || answer.Refused != nil {
		return "", answer, err
	}
	if idle {
		return "", raidtest.Answer{}, say(1, "No arrays found in config file or automatically")
	}
	return change(ctx, chassis, "assemble", l, func(c *raidtest.Controller) error {
		for _, v := range c.Volumes {
			if startable(c, v) {
				if err := c.Start(v.Number); err != nil {
					return err
				}
			}
		}
		return nil
	}, "arrays have been started.", "--scan", "--run", "--homehost")
}

func create(ctx context.Context, chassis *raidtest.Chassis, l line) (string, raidtest.Answer, error) {
	refuse := func(format string, args ...any) (string, raidtest.Answer, error) {
		return "", raidtest.Answer{}, say(1, format, args...)
	}
	n, err := strconv.Atoi(l.options["--raid-devices"])
	if err != nil || len(l.devices) < 2 {
		return refuse("an md device, a number of raid-devices and devices must be given")
	}
	node, devices := l.devices[0], l.devices[1:]
	if n != len(devices) {
		return refuse("You haven't given enough devices (real or missing) to create this array")
	}
	v := raidtest.NewVolume{Name: l.options["--name"], Level: raid.Level(l.options["--level"])}
	switch l.options["--metadata"] {
	case "1.0":
		v.Boot = true
	case "", "1.2":
	default:
		return refuse("unrecognised metadata identifier: %s", l.options["--metadata"])
	}
	if chunk := l.options["--chunk"]; chunk != "" {
		kib, err := strconv.Atoi(chunk)
		if err != nil || kib < 4 || kib&(kib-1) != 0 {
			return refuse("invalid chunk/rounding value: %s", chunk)
		}
		v.Strip = hw.Size(kib) << 10
	}
	if layout := l.options["--layout"]; layout != "" && (layout != "n2" || v.Level != raid.Level10) {
		return refuse("layout %s not understood for raid%s.", layout, v.Level)
	}
	return change(ctx, chassis, string(raid.StepCreateVolume), l, func(c *raidtest.Controller) error {
		// It warns that such a mirror may not be suitable to boot from.
		ask := v.Level == raid.Level1 && !v.Boot
		for _, name := range devices {
			d := find(c, name)
			if d == nil {
				return say(1, "cannot open %s: No such file or directory", name)
			}
			ask = ask || d.Data != "" || c.Recorded(d.Serial)
			v.Drives = append(v.Drives, d.Serial)
		}
		if ask && !l.has("--run") {
			return say(1, "Continue creating array? create aborted.")
		}
		made, err := c.CreateVolume(v)
		if err == nil && v.Level == raid.Level5 && !l.has("--force") { // the last drive is built from the others
			made.Initializing, c.Drive(v.Drives[n-1]).State = "", raid.DiskRebuilding
		}
		return err
	}, "array "+node+" started.", "--run", "--force", "--homehost", "--name", "--metadata", "--level", "--raid-devices",
		"--chunk", "--layout")
}

func wipefs(ctx context.Context, chassis *raidtest.Chassis, args []string) (string, raidtest.Answer, error) {
	l := parse(args)
	if err := l.only("--all", "--force"); err != nil {
		return "", raidtest.Answer{}, err
	}
	idle := true
	shown, answer, err := look(ctx, chassis, "signatures", func(p *printer) error {
		for _, name := range l.devices {
			d := find(p.c, name)
			if d == nil {
				return &said{"wipefs: error: " + name + ": probing initialization failed: No such file or directory\n", 1}
			}
			if idle = idle && d.Data == "" && !p.c.Recorded(d.Serial); !l.has("--all") {
				p.signatures(d)
			}
		}
		return nil
	})
	if idle || !l.has("--all") || err != nil || answer.Refused != nil {
		return shown, answer, err
	}
	answer, err = chassis.Change(ctx, "wipefs", func(s *raidtest.State) error {
		c, err := software(s)
		if err != nil {
			return err
		}
		return erase(c, l.devices, true, l.has("--force"))
	})
	return "", answer, err
}
