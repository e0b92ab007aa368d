package nvmens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
)

// number is a JSON number, or a string with one in it: nvme-cli changed its mind between versions.
type number int64

func (n *number) UnmarshalJSON(data []byte) error {
	s := strings.Trim(string(data), `"`)
	if s == "null" {
		return nil
	}
	v, err := strconv.ParseUint(s, 0, 63)
	if err != nil {
		f, isFloat := strconv.ParseFloat(s, 64)
		if isFloat != nil || f < 0 || f > 1<<53 {
			return fmt.Errorf("%.40q is no number", s)
		}
		v = uint64(f)
	}
	*n = number(v)
	return nil
}

// text is a string with the blanks that the drive pads it with.
type text string

func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	*t = text(strings.TrimSpace(s))
	return nil
}

// idCtrl is what `nvme id-ctrl` prints, as far as it matters here. Bits are those of the NVM Express Base Specification.
type idCtrl struct {
	Serial   *text  `json:"sn"`
	Model    text   `json:"mn"`
	Firmware text   `json:"fr"`
	ID       number `json:"cntlid"`
	// OACS: bit 1 format NVM, bit 3 namespace management.
	OACS *number `json:"oacs"`
	// FNA: bit 0 a format is for all namespaces, bit 1 an erasure is, bit 2 cryptographic erasure.
	FNA number `json:"fna"`
	NN  number `json:"nn"`
	// Total is the capacity of the drive; 0 for drives without namespace management.
	Total number `json:"tnvmcap"`
}

func (c *idCtrl) canFormat() bool  { return c.OACS != nil && *c.OACS&(1<<1) != 0 }
func (c *idCtrl) canManage() bool  { return c.OACS != nil && *c.OACS&(1<<3) != 0 }
func (c *idCtrl) canCrypto() bool  { return c.canFormat() && c.FNA&(1<<2) != 0 }
func (c *idCtrl) formatsAll() bool { return c.FNA&3 != 0 }

// idNS is what `nvme id-ns` prints: the Identify Namespace data of the NVM Command Set.
type idNS struct {
	Size    *number `json:"nsze"`
	Format  number  `json:"flbas"`
	NGUID   string  `json:"nguid"`
	EUI64   string  `json:"eui64"`
	Formats []struct {
		// Shift: a sector has 1<<ds bytes.
		Shift number `json:"ds"`
	} `json:"lbafs"`
}

// sector is the size of a sector, 0 if the format is not told.
func (n *idNS) sector() int64 {
	// Bits 5 and 6 continue bits 0 to 3.
	i := int(n.Format&0xf | n.Format>>5&3<<4)
	if i >= len(n.Formats) || n.Formats[i].Shift < 9 || n.Formats[i].Shift > 16 {
		return 0
	}
	return 1 << n.Formats[i].Shift
}

func (n *idNS) bytes() int64 {
	if n.Size == nil || n.sector() == 0 || int64(*n.Size) > 1<<60/n.sector() {
		return 0
	}
	return int64(*n.Size) * n.sector()
}

var identifier = regexp.MustCompile(`^[0-9a-f]{16}([0-9a-f]{16})?$`)

// wwn is what Linux calls a namespace without UUID: by NGUID, or else by EUI64.
func (n *idNS) wwn() string {
	for _, id := range []string{n.NGUID, n.EUI64} {
		id = strings.ToLower(strings.TrimPrefix(id, "0x"))
		if identifier.MatchString(id) && strings.Trim(id, "0") != "" {
			return "eui." + id
		}
	}
	return ""
}

// list is what `nvme list --verbose` prints: 1.x has subsystems right under Devices, 2.x has hosts there.
type list struct {
	Devices []struct {
		subsystem
		Subsystems []subsystem
	}
}

type subsystem struct {
	Controllers []listedController
	Namespaces  []listedNamespace
}

type listedController struct {
	Controller   string
	SerialNumber text
	ModelNumber  text
	Firmware     text
	Transport    string
	Address      string
	Namespaces   []listedNamespace
}

type listedNamespace struct {
	NameSpace    string
	NSID         number
	PhysicalSize number
	SectorSize   number
}

var (
	controllerName = regexp.MustCompile(`^nvme\d{1,6}$`)
	namespaceName  = regexp.MustCompile(`^nvme\d{1,6}n\d{1,6}$`)
	pciAddress     = regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$`)
)

// drives are the controllers on PCI.
func (l *list) drives() []listedController {
	var all []listedController
	for _, d := range l.Devices {
		for _, s := range append(d.Subsystems, d.subsystem) {
			for _, c := range s.Controllers {
				c.Address = strings.ToLower(strings.TrimPrefix(c.Address, "traddr="))
				if !controllerName.MatchString(c.Controller) || !pciAddress.MatchString(c.Address) || len(all) == maxDrives {
					continue // over a network, or none
				}
				// With native multipath, namespaces are the subsystem's.
				c.Namespaces = slices.DeleteFunc(append(slices.Clone(c.Namespaces), s.Namespaces...), func(n listedNamespace) bool {
					return !namespaceName.MatchString(n.NameSpace) || n.NSID <= 0
				})
				all = append(all, c)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b listedController) int { return strings.Compare(a.Address, b.Address) })
	return all
}

// maxDrives bounds what is read.
const maxDrives = 1024

// decode reads JSON that may have lines of noise before it.
func decode(output []byte, v any) error {
	i := bytes.IndexByte(output, '{')
	if i < 0 {
		return errors.New("no JSON")
	}
	return json.NewDecoder(bytes.NewReader(output[i:])).Decode(v)
}

// documents are the JSON objects in an output, with noise around them: people put several outputs into one file.
func documents(output []byte) ([]json.RawMessage, error) {
	var all []json.RawMessage
	for len(all) < 4*maxDrives {
		i := bytes.IndexByte(output, '{')
		if i < 0 {
			break
		}
		d := json.NewDecoder(bytes.NewReader(output[i:]))
		var raw json.RawMessage
		switch err := d.Decode(&raw); {
		case errors.Is(err, io.ErrUnexpectedEOF):
			return nil, errors.New("nvmens: the JSON ends in the middle; want all that nvme has printed")
		case err != nil:
			output = output[i+1:] // no JSON
		default:
			all = append(all, raw)
			output = output[i+int(d.InputOffset()):]
		}
	}
	return all, nil
}

// plainList is what `nvme list` prints without --verbose: a line for each namespace that is attached.
type plainList struct {
	Devices []struct {
		DevicePath   string
		SerialNumber text
		ModelNumber  text
		Firmware     text
		PhysicalSize number
		SectorSize   number
	}
}

var namespacePath = regexp.MustCompile(`^/dev/(nvme\d{1,6})n(\d{1,6})$`)

// drives without addresses, by serial number.
func (l *plainList) drives() []listedController {
	var all []listedController
	for _, d := range l.Devices {
		m := namespacePath.FindStringSubmatch(d.DevicePath)
		if m == nil || d.SerialNumber == "" {
			continue
		}
		i := slices.IndexFunc(all, func(c listedController) bool { return c.SerialNumber == d.SerialNumber })
		if i < 0 {
			if len(all) == maxDrives {
				break
			}
			i = len(all)
			all = append(all, listedController{Controller: m[1], SerialNumber: d.SerialNumber, ModelNumber: d.ModelNumber,
				Firmware: d.Firmware})
		}
		id, _ := strconv.ParseInt(m[2], 10, 64) // the number in the name is the namespace's, but for drives that hide some
		all[i].Namespaces = append(all[i].Namespaces, listedNamespace{NameSpace: strings.TrimPrefix(d.DevicePath, "/dev/"),
			NSID: number(id), PhysicalSize: d.PhysicalSize, SectorSize: d.SectorSize})
	}
	return all
}

// Parse reads outputs of one drive, as JSON: of `nvme list --verbose` or `nvme list`, `nvme id-ctrl` and `nvme id-ns`.
func Parse(outputs ...[]byte) (*raid.Inventory, error) {
	all, err := ParseAll(outputs...)
	switch {
	case err != nil:
		return nil, err
	case len(all) > 1:
		return nil, errors.New("nvmens: outputs of several drives; want those of one")
	}
	return all[0], nil
}

// ParseAll reads the same of all drives of a machine. What id-ctrl tells goes to the drive with its serial number; what
// id-ns tells, which has none, is only taken of a drive and a namespace that are alone. A drive whose PCI address
// nobody printed has the kernel's name for it as its ID: nvme0.
func ParseAll(outputs ...[]byte) ([]*raid.Inventory, error) {
	var drives, plain []listedController
	var ctrls []idCtrl
	var told []idNS
	for _, o := range outputs {
		objects, err := documents(raid.Captured(o))
		if err != nil {
			return nil, err
		}
		for _, object := range objects {
			var l list
			if json.Unmarshal(object, &l) == nil {
				for _, d := range l.drives() {
					if !slices.ContainsFunc(drives, func(o listedController) bool { return o.Address == d.Address }) {
						drives = append(drives, d)
					}
				}
			}
			var p plainList
			if json.Unmarshal(object, &p) == nil {
				plain = append(plain, p.drives()...)
			}
			var c idCtrl
			if json.Unmarshal(object, &c) == nil && c.Serial != nil && c.OACS != nil && len(ctrls) < maxDrives {
				ctrls = append(ctrls, c)
			}
			var n idNS
			if json.Unmarshal(object, &n) == nil && n.bytes() > 0 && len(told) < maxDrives {
				told = append(told, n)
			}
		}
	}
	for _, p := range plain {
		if !slices.ContainsFunc(drives, func(d listedController) bool { return d.SerialNumber == p.SerialNumber }) {
			drives = append(drives, p)
		}
	}
	if len(drives)+len(ctrls) == 0 {
		return nil, errors.New("nvmens: none of this is an output of nvme list or nvme id-ctrl, as JSON")
	}
	var all []*raid.Inventory
	used := make([]bool, len(ctrls))
	for i := range drives {
		d := &drives[i]
		ctrl := &idCtrl{Serial: &d.SerialNumber, Model: d.ModelNumber, Firmware: d.Firmware}
		for j := range ctrls {
			if !used[j] && (*ctrls[j].Serial == d.SerialNumber || d.SerialNumber == "" && len(drives)+len(ctrls) == 2) {
				ctrl, used[j] = &ctrls[j], true
				break
			}
		}
		var namespaces []namespace
		for _, n := range d.Namespaces {
			namespaces = append(namespaces, namespace{id: n.NSID, device: "/dev/" + n.NameSpace, bytes: int64(n.PhysicalSize),
				sector: int64(n.SectorSize)})
		}
		if len(namespaces) == 1 && len(drives) == 1 && len(told) == 1 {
			namespaces[0].wwn = told[0].wwn()
		}
		inv := build(d, ctrl, namespaces)
		if inv.Controller.ID == "" {
			inv.Controller.ID = raid.ControllerID(d.Controller)
		}
		all = append(all, inv)
	}
	for j := range ctrls {
		if !used[j] {
			all = append(all, build(&listedController{}, &ctrls[j], nil))
		}
	}
	return all, nil
}

// namespace is what is known of one.
type namespace struct {
	id number
	// device is empty for one that is not attached.
	device        string
	bytes, sector int64
	wwn           string
}

func build(drive *listedController, ctrl *idCtrl, namespaces []namespace) *raid.Inventory {
	c := raid.Controller{ID: raid.ControllerID(drive.Address), Model: string(ctrl.Model), Serial: string(*ctrl.Serial),
		Firmware: string(ctrl.Firmware), Driver: Name, ToolID: drive.Controller,
		Capabilities: raid.Capabilities{Levels: []raid.LevelCapability{}}}
	if ctrl.canManage() {
		c.Capabilities.Levels = []raid.LevelCapability{{Level: raid.Level0, MinDisks: 1, MaxDisks: 1}}
		c.Capabilities.PartialVolumes = true
		c.Capabilities.MaxVolumes = int(min(ctrl.NN, 1<<20))
	}
	if c.Capabilities.InitializeWaits = ctrl.canFormat(); ctrl.canFormat() {
		c.Capabilities.Initialize = []raid.Initialization{raid.InitializeNone, raid.InitializeFull}
		if ctrl.canCrypto() {
			c.Capabilities.Initialize = []raid.Initialization{raid.InitializeNone, raid.InitializeFast, raid.InitializeFull}
		}
	}
	id := raid.DiskID(drive.Address)
	if id == "" {
		id = raid.DiskID(c.Serial)
	}
	d := raid.PhysicalDisk{ID: id, Location: string(id), Model: c.Model, Firmware: c.Firmware, Serial: c.Serial,
		Bytes: int64(ctrl.Total), Medium: hw.NVMe, Bus: hw.BusNVMe, State: raid.DiskState{Is: raid.DiskReady}}
	if drive.Controller != "" {
		d.Path = "/dev/" + drive.Controller
	}
	inv := &raid.Inventory{Controller: c, Volumes: []raid.VirtualDisk{}}
	slices.SortStableFunc(namespaces, func(a, b namespace) int { return int(min(max(a.id-b.id, -1), 1)) })
	sum := int64(0)
	for i, n := range namespaces {
		if i > 0 && n.id == namespaces[i-1].id {
			continue
		}
		v := raid.VirtualDisk{ID: raid.VolumeID(strconv.FormatInt(int64(n.id), 10)), WWN: n.wwn, Bytes: n.bytes, Path: n.device,
			Level: raid.LevelState{Is: raid.Level0}, State: raid.VolumeState{Is: raid.VolumeOptimal, Raw: "attached"},
			Members: []raid.DiskID{id}}
		if n.device == "" {
			v.State = raid.VolumeState{Is: raid.VolumeOffline, Raw: "not attached"}
		}
		if d.LogicalSector == 0 && n.sector > 0 && n.sector <= 1<<16 {
			d.LogicalSector = int(n.sector)
		}
		sum += min(n.bytes, 1<<60)
		d.Volumes, d.State.Is = append(d.Volumes, v.ID), raid.DiskOnline
		inv.Volumes = append(inv.Volumes, v)
	}
	if d.Bytes == 0 && sum > 0 && sum < 1<<60 {
		d.Bytes = sum // a drive without namespace management tells of no capacity beside its namespace's
	}
	inv.Disks = []raid.PhysicalDisk{d}
	return inv
}
