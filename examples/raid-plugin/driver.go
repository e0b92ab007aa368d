package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// Driver is a raid.Driver. It keeps nothing between calls: everything is read again.
type Driver struct {
	Tool          string
	Reads, Writes time.Duration
}

// Name of the driver, as it stands in profiles and logs.
func (d *Driver) Name() string { return "acme" }

// card is what `acmectl show` prints of one card.
type card struct {
	Number   int     `json:"card"`
	PCI      string  `json:"pci"`
	Product  string  `json:"product"`
	Serial   string  `json:"serial"`
	Firmware string  `json:"firmware"`
	Drives   []drive `json:"drives"`
	Arrays   []array `json:"arrays"`
}

type drive struct {
	Bay     int    `json:"bay"`
	Product string `json:"product"`
	Serial  string `json:"serial"`
	WWN     string `json:"wwn"`
	Blocks  int64  `json:"blocks"`
	Media   string `json:"media"`
	Link    string `json:"link"`
	Status  string `json:"status"`
}

type array struct {
	Number  int    `json:"array"`
	WWID    string `json:"wwid"`
	Label   string `json:"label"`
	Type    string `json:"type"`
	Blocks  int64  `json:"blocks"`
	Status  string `json:"status"`
	Bays    []int  `json:"bays"`
	Missing int    `json:"missing"`
}

// answer is all that acmectl ever prints. Error may come with an exit status of 0, and cards with one of 1.
type answer struct {
	Error string `json:"error"`
	Cards []card `json:"cards"`
}

// The tool's words. One that is not here is kept as it is, and means nothing to anybody: unknown is better than wrong.
var (
	driveStates = map[string]raid.DiskStateKind{"FREE": raid.DiskReady, "MEMBER": raid.DiskOnline,
		"REBUILDING": raid.DiskRebuilding, "OUT": raid.DiskOffline, "FAILED": raid.DiskFailed, "PASSTHROUGH": raid.DiskJBOD}
	arrayStates = map[string]raid.VolumeStateKind{"NORMAL": raid.VolumeOptimal, "CRITICAL": raid.VolumeDegraded,
		"REBUILDING": raid.VolumeRebuilding, "DEAD": raid.VolumeFailed, "CLEARING": raid.VolumeInitializing}
	arrayTypes = map[string]raid.Level{"STRIPE": raid.Level0, "MIRROR": raid.Level1}
	media      = map[string]hw.Medium{"FLASH": hw.SSD, "DISK": hw.HDD}
	links      = map[string]hw.Bus{"SATA": hw.BusATA, "SAS": hw.BusSAS}
)

// can says what plans may ask for. What is not here is refused when a plan is made.
var can = raid.Capabilities{
	Levels: []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1, MaxDisks: 8},
		{Level: raid.Level1, MinDisks: 2, MaxDisks: 2}},
	MaxVolumes: 4, Names: true, MaxName: 10,
}

// Probe lists the cards.
func (d *Driver) Probe(ctx context.Context) ([]raid.Controller, error) {
	cards, err := d.show(ctx)
	var all []raid.Controller
	for _, c := range cards {
		all = append(all, controller(c))
	}
	return all, err
}

// Inventory reads one card.
func (d *Driver) Inventory(ctx context.Context, id raid.ControllerID) (*raid.Inventory, error) {
	cards, err := d.show(ctx)
	if err != nil {
		return nil, err
	}
	for _, c := range cards {
		if raid.ControllerID(c.PCI) == id {
			return inventory(c), nil
		}
	}
	return nil, fmt.Errorf("acme: there is no card at %s", id)
}

func controller(c card) raid.Controller {
	return raid.Controller{ID: raid.ControllerID(c.PCI), Vendor: "ACME", Model: c.Product, Serial: c.Serial,
		Firmware: c.Firmware, Driver: "acme", ToolID: strconv.Itoa(c.Number), Mode: raid.ModeRAID, Capabilities: can}
}

// block is what the tool counts in.
const block = 512

func inventory(c card) *raid.Inventory {
	inv := &raid.Inventory{Controller: controller(c)}
	for _, a := range c.Arrays {
		v := raid.VirtualDisk{ID: raid.VolumeID(strconv.Itoa(a.Number)), WWN: a.WWID, Name: a.Label,
			Level: raid.LevelState{Is: arrayTypes[a.Type], Raw: a.Type}, Bytes: a.Blocks * block,
			State: raid.VolumeState{Is: arrayStates[a.Status], Raw: a.Status}, Missing: a.Missing}
		for _, bay := range a.Bays {
			v.Members = append(v.Members, diskID(bay))
		}
		inv.Volumes = append(inv.Volumes, v)
	}
	for _, p := range c.Drives {
		disk := raid.PhysicalDisk{ID: diskID(p.Bay), Location: fmt.Sprintf("bay %d", p.Bay), Model: p.Product,
			Serial: p.Serial, WWN: p.WWN, Bytes: p.Blocks * block, Medium: media[p.Media], Bus: links[p.Link],
			State: raid.DiskState{Is: driveStates[p.Status], Raw: p.Status}}
		for _, v := range inv.Volumes {
			if slices.Contains(v.Members, disk.ID) {
				disk.Volumes = append(disk.Volumes, v.ID)
			}
		}
		inv.Disks = append(inv.Disks, disk)
	}
	slices.SortFunc(inv.Disks, func(a, b raid.PhysicalDisk) int { return raid.CompareLocations(a.Location, b.Location) })
	return inv
}

func diskID(bay int) raid.DiskID { return raid.DiskID(strconv.Itoa(bay)) }

// Commands are what Exec runs.
func (d *Driver) Commands(inv *raid.Inventory, s raid.Step) ([][]string, error) {
	argv := []string{d.Tool, "", inv.Controller.ToolID}
	switch s.Kind {
	case raid.StepDeleteVolume:
		argv[1] = "delete"
		argv = append(argv, string(s.Volume.ID))
	case raid.StepCreateVolume:
		argv[1] = "create"
		kind := map[raid.Level]string{raid.Level0: "STRIPE", raid.Level1: "MIRROR"}[s.Create.Level]
		if kind == "" {
			return nil, fmt.Errorf("acme: the card has no level %s", s.Create.Level)
		}
		var bays []string
		for _, disk := range s.Disks {
			bays = append(bays, string(disk.ID))
		}
		argv = append(argv, kind, strings.Join(bays, ","), s.Create.Name)
	default:
		return nil, fmt.Errorf("acme: the card cannot do %s", s.Kind)
	}
	return [][]string{argv}, nil
}

// Exec does a step. The tool returns when the card has accepted it.
func (d *Driver) Exec(ctx context.Context, inv *raid.Inventory, s raid.Step, report func(raid.Progress)) error {
	commands, err := d.Commands(inv, s)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	// From here on nobody may give up but the time: what a card was told to write cannot be taken back.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Writes)
	defer cancel()
	a, err := d.run(ctx, commands[0])
	if err == nil && a.Error != "" {
		err = fmt.Errorf("acme: %s: %s", strings.Join(commands[0][1:], " "), a.Error)
	}
	return err
}

func (d *Driver) show(ctx context.Context) ([]card, error) {
	ctx, cancel := context.WithTimeout(ctx, d.Reads)
	defer cancel()
	a, err := d.run(ctx, []string{d.Tool, "show"})
	if err == nil && a.Error != "" && len(a.Cards) == 0 {
		err = fmt.Errorf("acme: show: %s", a.Error)
	}
	return a.Cards, err
}

// run runs the tool and reads what it printed. Its exit status says nothing: only what it printed counts.
func (d *Driver) run(ctx context.Context, argv []string) (answer, error) {
	var a answer
	out, err := output(ctx, argv)
	if err != nil {
		return a, fmt.Errorf("acme: %s: %w", strings.Join(argv, " "), err)
	}
	if err := json.Unmarshal(out, &a); err != nil {
		return answer{}, fmt.Errorf("acme: %s: its answer is not understood: %w", strings.Join(argv, " "), err)
	}
	return a, nil
}
