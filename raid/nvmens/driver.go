package nvmens

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/project-loda/loda/raid"
)

// Name of the driver.
const Name = "nvmens"

// Driver speaks to NVMe drives.
type Driver struct {
	// Patience is how long a command that changes something may take before the state is read without its answer; 0: two
	// hours.
	Patience time.Duration

	run  raid.Runner
	tool string

	mu sync.Mutex
	// ctrls is what drives last said of themselves, which commands need: by serial number.
	ctrls map[string]idCtrl
}

var _ raid.Driver = (*Driver)(nil)

// New makes a driver that runs tool, which is nvme of nvme-cli.
func New(run raid.Runner, tool string) *Driver {
	return &Driver{run: run, tool: tool, ctrls: map[string]idCtrl{}}
}

// Name is nvmens.
func (d *Driver) Name() string { return Name }

// Probe lists the drives that the kernel sees on PCI.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	drives, err := d.list(ctx)
	if err != nil {
		return nil, err
	}
	var all []raid.Controller
	for i := range drives {
		ctrl, err := d.identify(ctx, &drives[i])
		if err != nil {
			return nil, err
		}
		all = append(all, build(&drives[i], ctrl, nil).Controller)
	}
	return all, nil
}

// Inventory reads one drive anew.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	drives, err := d.list(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(drives, func(c listedController) bool { return c.Address == string(id) })
	if i < 0 {
		return nil, fmt.Errorf("nvmens: there is no NVMe drive at %s", id)
	}
	drive := &drives[i]
	ctrl, err := d.identify(ctx, drive)
	if err != nil {
		return nil, err
	}
	ids := map[number]string{}
	for _, n := range drive.Namespaces {
		ids[n.NSID] = "/dev/" + n.NameSpace
	}
	if ctrl.canManage() {
		all, err := d.ids(ctx, "/dev/"+drive.Controller, "--all")
		if err != nil {
			return nil, err
		}
		for _, n := range all {
			if _, attached := ids[n]; !attached && n > 0 && len(ids) < maxDrives {
				ids[n] = ""
			}
		}
	}
	var namespaces []namespace
	for id, device := range ids {
		n := namespace{id: id, device: device}
		args := []string{"id-ns", "/dev/" + drive.Controller, "--namespace-id=" + strconv.FormatInt(int64(id), 10)}
		if device == "" {
			args = append(args, "--force") // one that is allocated, but not attached
		}
		var told idNS
		if err := d.json(ctx, &told, args...); err != nil {
			return nil, err
		}
		if n.bytes, n.sector, n.wwn = told.bytes(), told.sector(), told.wwn(); n.bytes == 0 {
			return nil, fmt.Errorf("nvmens: namespace %d of %s has no size", id, drive.Controller)
		}
		namespaces = append(namespaces, n)
	}
	return build(drive, ctrl, namespaces), nil
}

// ids are the namespaces that are attached, or with --all those that there are.
func (d *Driver) ids(ctx context.Context, device string, options ...string) ([]number, error) {
	var told struct {
		List *[]struct {
			NSID number `json:"nsid"`
		} `json:"nsid_list"`
	}
	if err := d.json(ctx, &told, append([]string{"list-ns", device}, options...)...); err != nil {
		return nil, err
	}
	if told.List == nil {
		return nil, fmt.Errorf("nvmens: nvme list-ns of %s has no nsid_list; is nvme-cli older than 1.12?", device)
	}
	var all []number
	for _, n := range *told.List {
		all = append(all, n.NSID)
	}
	return all, nil
}

func (d *Driver) list(ctx context.Context) ([]listedController, error) {
	var l list
	if err := d.json(ctx, &l, "list", "--verbose"); err != nil {
		return nil, err
	}
	return l.drives(), nil
}

func (d *Driver) identify(ctx context.Context, drive *listedController) (*idCtrl, error) {
	var c idCtrl
	if err := d.json(ctx, &c, "id-ctrl", "/dev/"+drive.Controller); err != nil {
		return nil, err
	}
	if c.Serial == nil || c.OACS == nil {
		return nil, fmt.Errorf("nvmens: nvme id-ctrl of %s tells neither serial number nor capabilities", drive.Controller)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ctrls[string(*c.Serial)] = c
	return &c, nil
}

const (
	readTime = time.Minute
	// writeTime: an erasure of the user's data of a large drive takes its time.
	writeTime = 2 * time.Hour
)

// json asks for something. What it prints decides, and not how it exits.
func (d *Driver) json(ctx context.Context, v any, args ...string) error {
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	argv := append([]string{d.tool}, args...)
	argv = append(argv, "--output-format=json")
	out, err := d.run.Run(ctx, argv...)
	if err != nil {
		return fmt.Errorf("nvmens: run %s: %w", strings.Join(argv, " "), err)
	}
	if err := decode(out.Stdout, v); err != nil {
		return fmt.Errorf("nvmens: %s: exit status %d: %w: %s", strings.Join(argv, " "), out.ExitCode, err, words(out))
	}
	return nil
}

func words(out *raid.Output) string {
	s := strings.ToValidUTF8(strings.Join(strings.Fields(string(out.Stderr)+" "+string(out.Stdout)), " "), "?")
	return s[:min(len(s), 500)]
}

// newID stands for the number of a namespace that is to be made, which the drive chooses.
const newID = "NEW"

// Commands are what Exec runs. The number of a new namespace is not known before it is there: NEW stands for it.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	if s.Controller != inv.Controller.ID || len(inv.Disks) != 1 {
		return nil, fmt.Errorf("nvmens: the step is for %s, and the inventory of %s", s.Controller, inv.Controller.ID)
	}
	disk := &inv.Disks[0]
	d.mu.Lock()
	ctrl, known := d.ctrls[disk.Serial]
	d.mu.Unlock()
	if !known || disk.Path == "" {
		return nil, fmt.Errorf("nvmens: the drive at %s was not read yet", s.Controller)
	}
	controllers := "--controllers=" + strconv.FormatInt(int64(ctrl.ID), 10)
	switch s.Kind {
	case raid.StepCreateVolume:
		return d.create(inv, s, &ctrl, controllers)
	case raid.StepDeleteVolume:
		v := seen(inv, s.Volume)
		switch {
		case !ctrl.canManage():
			return nil, fmt.Errorf("nvmens: the drive at %s cannot delete namespaces", s.Controller)
		case v == nil:
			return nil, nil // it is gone already
		}
		var argvs [][]string
		id := "--namespace-id=" + string(v.ID)
		if v.Path != "" {
			argvs = append(argvs, []string{d.tool, "detach-ns", disk.Path, id, controllers})
		}
		return append(argvs, []string{d.tool, "delete-ns", disk.Path, id}, d.rescan(disk)), nil
	case raid.StepInitialize:
		v := seen(inv, s.Volume)
		if v == nil {
			return nil, errors.New("nvmens: the namespace to erase is not there")
		}
		if s.Initialize == raid.InitializeNone || s.Initialize == "" {
			return nil, nil
		}
		argv, err := d.format(inv, &ctrl, string(v.ID), s.Initialize, len(inv.Volumes))
		return [][]string{argv}, err
	}
	return nil, fmt.Errorf("nvmens: %s is nothing that a drive can do", s.Kind)
}

func (d *Driver) rescan(disk *raid.PhysicalDisk) []string {
	return []string{d.tool, "ns-rescan", disk.Path}
}

func (d *Driver) format(inv *raid.Inventory, ctrl *idCtrl, id string, how raid.Initialization,
	namespaces int) ([]string, error) {
	ses := "1"
	switch {
	case !slices.Contains(inv.Controller.Capabilities.Initialize, how):
		return nil, fmt.Errorf("nvmens: the drive at %s cannot be erased that way (%s)", inv.Controller.ID, how)
	case ctrl.formatsAll() && namespaces > 1:
		return nil, fmt.Errorf("nvmens: the drive at %s erases all of its %d namespaces at once", inv.Controller.ID, namespaces)
	case how == raid.InitializeFast:
		ses = "2"
	}
	return []string{d.tool, "format", inv.Disks[0].Path, "--namespace-id=" + id, "--ses=" + ses, "--force"}, nil
}

func (d *Driver) create(inv *raid.Inventory, s raid.Step, ctrl *idCtrl, controllers string) ([][]string, error) {
	n, disk := s.Create, &inv.Disks[0]
	switch {
	case n == nil || len(s.Disks) != 1 || s.Disks[0].ID != disk.ID:
		return nil, errors.New("nvmens: a namespace is on the one drive of its controller")
	case !ctrl.canManage():
		return nil, fmt.Errorf("nvmens: the drive at %s cannot make namespaces", s.Controller)
	case n.Level != raid.Level0 || n.Spans > 1 || n.Strip != 0 || n.Policies != (raid.Policies{}):
		return nil, fmt.Errorf("nvmens: volume %s: a namespace has level 0 and neither strip nor policies", n.Name)
	}
	sector, left := int64(max(disk.LogicalSector, 512)), disk.Bytes
	for _, v := range inv.Volumes {
		left -= v.Bytes
	}
	size := n.Bytes
	if size == 0 {
		size = left
	}
	if size < sector || size > left {
		return nil, fmt.Errorf("nvmens: volume %s: %d bytes are wanted, and the drive has %d left", n.Name, size, max(left, 0))
	}
	sectors := strconv.FormatInt(size/sector, 10)
	argvs := [][]string{
		{d.tool, "create-ns", disk.Path, "--nsze=" + sectors, "--ncap=" + sectors,
			"--block-size=" + strconv.FormatInt(sector, 10)},
		{d.tool, "attach-ns", disk.Path, "--namespace-id=" + newID, controllers},
		d.rescan(disk),
	}
	if n.Initialize != "" && n.Initialize != raid.InitializeNone {
		argv, err := d.format(inv, ctrl, newID, n.Initialize, len(inv.Volumes)+1)
		if err != nil {
			return nil, err
		}
		argvs = append(argvs, argv)
	}
	return argvs, nil
}

// seen finds the namespace that a plan saw; nil if it is gone. Its number may have been given to another one, whose WWN
// is another.
func seen(inv *raid.Inventory, ref *raid.VolumeRef) *raid.VirtualDisk {
	for i := range inv.Volumes {
		if v := &inv.Volumes[i]; ref != nil && ref.ID != "" && v.ID == ref.ID && (ref.WWN == "" || v.WWN == ref.WWN) {
			return v
		}
	}
	return nil
}

// Exec does a step on the state that is there now, and looks at what came of it.
func (d *Driver) Exec(ctx context.Context, _ *raid.Inventory, s raid.Step, _ func(raid.Progress)) error {
	before, err := d.Inventory(ctx, s.Controller)
	if err != nil {
		return err
	}
	for _, ref := range s.Disks {
		if disk := before.Disks[0]; ref.Known() && disk.Identity() != ref.DiskIdentity {
			return fmt.Errorf("nvmens: the drive at %s is another one than planned: serial number %q, and not %q", s.Controller,
				disk.Serial, ref.Serial)
		}
	}
	if s.Volume != nil && s.Volume.ID == "" && s.Kind == raid.StepDeleteVolume {
		return errors.New("nvmens: no namespace is named")
	}
	argvs, err := d.Commands(before, s)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("nvmens: %s was not begun: %w", s.Kind, err)
	}
	ctx = context.WithoutCancel(ctx)
	var said error
	erased := true
	for _, argv := range argvs {
		if i := slices.Index(argv, "--namespace-id="+newID); i >= 0 {
			v, err := d.made(ctx, before)
			if err != nil {
				return errors.Join(said, err)
			}
			argv = slices.Clone(argv)
			argv[i] = "--namespace-id=" + string(v.ID)
		}
		timed, cancel := context.WithTimeout(ctx, cmp.Or(d.Patience, writeTime))
		out, err := d.run.Run(timed, argv...)
		cancel()
		if argv[1] == "format" {
			// Nothing shows afterwards that data is gone: the drive's word must do. The exit status also tells of what comes
			// after it, such as the kernel's reading of the partition table.
			erased = err == nil && strings.Contains(string(out.Stdout)+string(out.Stderr), "Success formatting")
		}
		switch {
		case err != nil:
			said = errors.Join(said, fmt.Errorf("nvmens: run %s: %w", strings.Join(argv, " "), err))
		case out.ExitCode != 0 || !erased:
			said = errors.Join(said, fmt.Errorf("nvmens: %s: exit status %d: %s", strings.Join(argv, " "), out.ExitCode,
				words(out)))
		}
		// What builds on a command is begun when the drive shows that it was done, whatever the tool said.
		if wrong := d.happened(ctx, argv); wrong != nil {
			said = errors.Join(said, wrong)
			break
		}
	}
	after, err := d.Inventory(ctx, s.Controller)
	if err != nil {
		return errors.Join(said, err)
	}
	return check(s, before, after, erased, said)
}

// happened asks the drive itself, not the kernel, whether a command had its effect. Of a namespace that was made,
// [Driver.made] looks for it; that data is gone cannot be asked.
func (d *Driver) happened(ctx context.Context, argv []string) error {
	var options []string
	switch argv[1] {
	case "attach-ns", "detach-ns":
	case "delete-ns":
		options = []string{"--all"}
	default:
		return nil
	}
	ids, err := d.ids(ctx, argv[2], options...)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(argv, func(a string) bool { return strings.HasPrefix(a, "--namespace-id=") })
	id, err := strconv.ParseInt(strings.TrimPrefix(argv[i], "--namespace-id="), 10, 64)
	if err != nil {
		return fmt.Errorf("nvmens: %s: %w", argv[i], err)
	}
	if there := slices.Contains(ids, number(id)); there != (argv[1] == "attach-ns") {
		return fmt.Errorf("nvmens: %s: the drive does not show that it was done", strings.Join(argv, " "))
	}
	return nil
}

// made finds the one namespace that was not there before.
func (d *Driver) made(ctx context.Context, before *raid.Inventory) (*raid.VirtualDisk, error) {
	now, err := d.Inventory(ctx, before.Controller.ID)
	if err != nil {
		return nil, err
	}
	fresh := added(before, now)
	if len(fresh) != 1 {
		return nil, fmt.Errorf("nvmens: %d namespaces are new after one was made", len(fresh))
	}
	return fresh[0], nil
}

func added(before, after *raid.Inventory) []*raid.VirtualDisk {
	var all []*raid.VirtualDisk
	for i := range after.Volumes {
		v := &after.Volumes[i]
		if !slices.ContainsFunc(before.Volumes, func(o raid.VirtualDisk) bool { return o.ID == v.ID && o.WWN == v.WWN }) {
			all = append(all, v)
		}
	}
	return all
}

// check holds what is there after a step against what the step was for; said is what went wrong on the way.
func check(s raid.Step, before, after *raid.Inventory, erased bool, said error) error {
	var wrong error
	switch s.Kind {
	case raid.StepCreateVolume:
		switch fresh := added(before, after); {
		case len(fresh) != 1:
			wrong = fmt.Errorf("nvmens: %d namespaces are new after one was made", len(fresh))
		case fresh[0].Path == "":
			wrong = fmt.Errorf("nvmens: namespace %s was made, but is not attached", fresh[0].ID)
		case s.Create.Bytes != 0 && fresh[0].Bytes/4096 != s.Create.Bytes/4096:
			wrong = fmt.Errorf("nvmens: namespace %s has %d bytes, and not %d", fresh[0].ID, fresh[0].Bytes, s.Create.Bytes)
		}
	case raid.StepDeleteVolume:
		if v := seen(after, s.Volume); v != nil {
			wrong = fmt.Errorf("nvmens: namespace %s is still there", v.ID)
		}
	case raid.StepInitialize:
		if seen(after, s.Volume) == nil {
			wrong = errors.New("nvmens: the namespace that was erased is gone")
		}
	}
	if wrong == nil && !erased {
		wrong = errors.New("nvmens: the drive does not say that it is erased")
	}
	if wrong == nil {
		return nil
	}
	return errors.Join(said, wrong)
}
