package ssacli

import (
	"regexp"
	"slices"
	"strings"
)

// The tool's text is a tree by indentation, but not one to rely upon: hpssacli 2.x repeats the controller's name
// between any two lines, and people paste without the blanks. What a line is, is told by its words.
var (
	// Smart Array P420i in Slot 1               (sn: PCFBB0HLM7S0LW)
	// Smart HBA H240ar in Slot 0 (Embedded) (RAID Mode)
	controllerLine = regexp.MustCompile(`^([^:]*\S) in Slot (\S+)\s*((?:\([^()]*\)\s*)*)$`)
	// Array: A, array A (SAS, Unused Space: 0  MB), Array A (Failed)
	arrayLine = regexp.MustCompile(`^[Aa]rray:? ([A-Z]{1,2})\s*(?:\((.*)\))?$`)
	// Logical Drive: 1, logicaldrive 1 (279.4 GB, RAID 1, OK), logicaldrive 1 (279.4 GB, RAID 1): OK
	volumeLine = regexp.MustCompile(`^(?:Logical Drive:|logicaldrive) (\d{1,5})\s*(?:\((.*)\))?(?::\s*(.*))?$`)
	// physicaldrive 1I:1:1, physicaldrive 1I:1:1 (port 1I:box 1:bay 1, SAS HDD, 600 GB, OK, spare)
	driveLine = regexp.MustCompile(`^physicaldrive ([^\s()]+)\s*(?:\((.*)\))?(?::\s+(.*))?$`)
	// Mirror Group 1:, Parity Group 0:
	groupLine = regexp.MustCompile(`^(Mirror|Parity) Group \d+:$`)
	sizeText  = regexp.MustCompile(`^(?:[0-9]+(?:\.[0-9]+)?|-+) ?[kKMGTP]i?B$`)
)

// item is a thing that the tool tells of: its fields, and the line that sums it up, in parts.
type item struct {
	fields  map[string]string
	summary []string
}

// set keeps the first value of a field: whatever a section that is not known says later, it is not about the item.
func (i *item) set(key, value string) {
	if i.fields == nil {
		i.fields = map[string]string{}
	}
	if i.fields[key] == "" {
		i.fields[key] = value
	}
}

// get returns the first of the fields that is there.
func (i *item) get(keys ...string) string {
	for _, key := range keys {
		if v := i.fields[key]; v != "" {
			return v
		}
	}
	return ""
}

type arrayItem struct {
	item
	name string
}

type volumeItem struct {
	item
	id, array string
	// groups are the sides of a mirror, or the groups of RAID 50 and 60.
	groups [][]string
	parity bool
}

type driveItem struct {
	item
	id     string
	arrays []string
	// place is the section that the drive stands in outside of arrays.
	place string
}

// controllerItem is what was read of one controller.
type controllerItem struct {
	item
	model, slot string
	// notes in brackets behind the name: Embedded, RAID Mode, sn: ….
	notes   []string
	arrays  []*arrayItem
	volumes []*volumeItem
	drives  []*driveItem
}

func (c *controllerItem) array(name string) *arrayItem {
	for _, a := range c.arrays {
		if a.name == name {
			return a
		}
	}
	a := &arrayItem{name: name}
	c.arrays = append(c.arrays, a)
	return a
}

func (c *controllerItem) volume(id string) *volumeItem {
	for _, v := range c.volumes {
		if v.id == id {
			return v
		}
	}
	v := &volumeItem{id: id}
	c.volumes = append(c.volumes, v)
	return v
}

func (c *controllerItem) drive(id string) *driveItem {
	for _, d := range c.drives {
		if d.id == id {
			return d
		}
	}
	d := &driveItem{id: id}
	c.drives = append(c.drives, d)
	return d
}

// reader takes outputs line by line.
type reader struct {
	controllers []*controllerItem
	errors      []*ToolError

	// Where it is: the controller; the array or the section outside of arrays; the item that fields belong to, nil when
	// they belong to nothing of interest; the volume whose groups of drives are listed.
	at      *controllerItem
	array   string
	place   string
	into    *item
	indent  int
	volume  *volumeItem
	grouped bool
	// options: what follows are values that the tool would have taken.
	options bool
}

func (r *reader) output(text string) {
	r.at, r.array, r.place, r.into, r.volume, r.grouped, r.options = nil, "", "", nil, nil, false, false
	for line := range strings.Lines(text) {
		r.line(strings.TrimRight(strings.ReplaceAll(line, "\t", "        "), " \r\n"))
	}
}

func (r *reader) line(line string) {
	text := strings.TrimLeft(line, " ")
	indent := len(line) - len(text)
	switch {
	case text == "":
		return
	case strings.HasPrefix(text, "Error:"):
		r.errors = append(r.errors, &ToolError{Message: strings.TrimSpace(strings.TrimPrefix(text, "Error:"))})
		r.into, r.volume, r.grouped, r.options = nil, nil, false, false
		return
	case text == "Available options are:":
		r.options = true
		return
	}
	if m := controllerLine.FindStringSubmatch(text); m != nil {
		r.controller(m[1], m[2], m[3])
		return
	}
	if m := arrayLine.FindStringSubmatch(text); m != nil {
		r.known()
		r.array, r.place = m[1], ""
		a := r.at.array(m[1])
		if m[2] != "" && a.summary == nil {
			a.summary = strings.Split(m[2], ", ")
		}
		r.open(&a.item, indent)
		return
	}
	if m := volumeLine.FindStringSubmatch(text); m != nil {
		r.known()
		v := r.at.volume(m[1])
		if v.array == "" {
			v.array = r.array
		}
		v.sum(m[2], m[3])
		r.open(&v.item, indent)
		r.volume = v
		return
	}
	if m := driveLine.FindStringSubmatch(text); m != nil {
		r.known()
		r.drive(m[1], m[2], m[3], indent)
		return
	}
	if m := groupLine.FindStringSubmatch(text); m != nil && r.volume != nil {
		if !r.grouped {
			r.volume.groups = nil // told again by another output
		}
		r.volume.groups = append(r.volume.groups, nil)
		r.volume.parity, r.grouped = m[1] == "Parity", true
		return
	}
	switch strings.ToLower(text) {
	case "unassigned", "hba drives":
		r.known()
		r.array, r.place = "", strings.ToLower(text)
		r.open(nil, indent)
		return
	case "disk partition information", "none attached":
		return
	}
	key, value, isField := field(text)
	switch {
	case r.options && !isField && len(r.errors) > 0:
		e := r.errors[len(r.errors)-1]
		if word := strings.Fields(text)[0]; len(e.Options) < 100 {
			e.Options = append(e.Options, word)
		}
	case key == "Port Name":
		r.open(nil, indent)
	case isField:
		r.grouped = false
		if r.into != nil {
			r.into.set(key, value)
		}
	case r.at != nil && r.into == &r.at.item || indent <= r.indent:
		// The head of a section that says nothing of drives and volumes: a cage, an expander.
		r.array, r.place = "", text
		r.open(nil, indent)
	}
}

// field of `PCI Address (Domain:Bus:Device.Function): 0000:04:00.0`.
func field(text string) (key, value string, ok bool) {
	if key, value, ok = strings.Cut(text, ": "); ok {
		return key, strings.TrimSpace(value), true
	}
	key, ok = strings.CutSuffix(text, ":")
	return key, "", ok
}

// known makes a controller of text that starts in the middle.
func (r *reader) known() {
	switch {
	case r.at != nil:
	case len(r.controllers) == 1:
		r.at = r.controllers[0]
	default:
		r.at = &controllerItem{}
		r.controllers = append(r.controllers, r.at)
	}
}

func (r *reader) open(i *item, indent int) {
	r.into, r.indent, r.volume, r.grouped, r.options = i, indent, nil, false, false
}

// controller starts one, unless its name is only repeated: that ends nothing.
func (r *reader) controller(model, slot, notes string) {
	if r.at != nil && r.at.slot == slot && r.at.model == model {
		return
	}
	r.at = nil
	for _, c := range r.controllers {
		if c.slot == slot && c.model == model {
			r.at = c
		}
	}
	if r.at == nil {
		r.at = &controllerItem{model: model, slot: slot}
		r.controllers = append(r.controllers, r.at)
	}
	for _, note := range strings.FieldsFunc(notes, func(c rune) bool { return c == '(' || c == ')' }) {
		if note = strings.TrimSpace(note); note != "" {
			r.at.notes = append(r.at.notes, note)
		}
	}
	r.array, r.place = "", ""
	r.open(&r.at.item, 0)
}

// drive is a drive's own section, a line that sums it up, or a member in a group of a volume.
func (r *reader) drive(id, brackets, status string, indent int) {
	d := r.at.drive(id)
	if brackets != "" {
		parts := strings.Split(brackets, ", ")
		if status != "" {
			parts = append(parts, status)
		}
		if len(d.summary) < len(parts) {
			d.summary = parts
		}
	}
	if r.grouped && brackets != "" {
		last := len(r.volume.groups) - 1
		r.volume.groups[last] = append(r.volume.groups[last], id)
		return
	}
	if r.array != "" && !slices.Contains(d.arrays, r.array) {
		d.arrays = append(d.arrays, r.array)
	}
	if r.array == "" && (d.place == "" || r.place == "unassigned" || r.place == "hba drives") {
		d.place = r.place
	}
	if brackets == "" {
		r.open(&d.item, indent)
	} else {
		r.volume, r.grouped = nil, false
	}
}

// sum keeps a volume's summary: its size, level and state, each of which may be missing.
func (v *volumeItem) sum(brackets, status string) {
	if brackets == "" {
		return
	}
	parts := strings.SplitN(brackets, ", ", 3)
	for _, part := range parts {
		switch {
		case sizeText.MatchString(part):
			v.set("Size", part)
		case strings.HasPrefix(part, "RAID "):
			v.set("Fault Tolerance", part)
		default:
			v.set("Status", part)
		}
	}
	if status != "" {
		v.set("Status", status)
	}
}
