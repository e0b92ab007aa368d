package arcconf

import (
	"regexp"
	"strings"
)

var (
	// No logical devices configured, No physical drives attached
	nothing = regexp.MustCompile(`^no (?:logical|physical|arrays) ?.*(?:configured|attached)$`)
	ruler   = regexp.MustCompile(`^-{5,}$`)
	// Logical Device number 0, Logical drive number 1
	volumeLine = regexp.MustCompile(`^logical (?:device|drive) number ([0-9]{1,5})$`)
	arrayLine  = regexp.MustCompile(`^array number ([0-9]{1,5})$`)
	driveLine  = regexp.MustCompile(`^device #[0-9]{1,5}$`)
	// Controller 1: in LIST
	listedKey = regexp.MustCompile(`^controller ([0-9]{1,3}):?$`)
	// Segment 0, Group 1, Segment 0, Device 8: a member of a volume or an array
	memberKey = regexp.MustCompile(`^(?:group ([0-9]{1,5}), )?segment [0-9]{1,5}$|^device [0-9]{1,5}$`)
)

// item is a thing that the tool tells of. Fields are found by their label, in lower case, and by that behind the label
// of their section: `status` of the battery is `controller battery information/status`.
type item struct {
	fields map[string]string
}

func (i *item) set(section, label, value string) {
	if i.fields == nil {
		i.fields = map[string]string{}
	}
	for _, key := range []string{label, section + "/" + label} {
		if _, ok := i.fields[key]; !ok {
			i.fields[key] = value
		}
	}
}

// get returns the first of the fields that says something.
func (i *item) get(labels ...string) string {
	for _, label := range labels {
		switch v := i.fields[label]; strings.ToLower(v) {
		case "", "not applicable", "not available", "unknown":
		default:
			return v
		}
	}
	return ""
}

// member is a drive as a volume or array names it.
type member struct {
	group, state string
	// parts in brackets, such as Slot:0 or 11444224MB.
	parts  []string
	serial string
}

type setItem struct {
	item
	id      string
	members []member
}

type driveItem struct {
	item
	// kind is what the tool says that the device is.
	kind string
}

type controllerItem struct {
	item
	// number in the tool's commands, if it is known.
	number  string
	volumes []*setItem
	arrays  []*setItem
	drives  []*driveItem
	// drivesTold: a list of drives was read, even if it is empty.
	drivesTold bool
	tasks      []*item
}

// reader takes outputs line by line.
type reader struct {
	controllers []*controllerItem
	// found is the number of controllers that the tool says to have found, -1 if it does not.
	found int
	// columns of LIST.
	columns []string

	at      *controllerItem
	section string // top-level, in lower case
	part    string // of a section or item
	ruled   bool   // the last line was a ruler that opens a title
	titled  bool   // the next ruler closes one
	into    *item
	about   *item // what a section tells of its controller
	set     *setItem
	drive   *driveItem
}

func (r *reader) output(text string) {
	at := r.at
	*r = reader{controllers: r.controllers, found: r.found, at: at}
	for line := range strings.Lines(text) {
		r.line(strings.TrimSpace(line))
	}
	r.introduce()
}

// top are the titles of sections that end whatever was before.
func top(title string) bool {
	switch title {
	case "controller information", "array information", "logical device information", "logical drive information",
		"physical device information", "connector information", "maxcache information", "task information",
		"logical device task:", "logical drive task:":
		return true
	}
	return false
}

func (r *reader) line(text string) {
	if text == "" {
		return
	}
	lower := strings.Join(strings.Fields(strings.ToLower(text)), " ")
	if ruler.MatchString(text) {
		r.ruled, r.titled = !r.titled, false
		return
	}
	label, value, isField := field(text)
	if n, ok := strings.CutPrefix(lower, "controllers found:"); ok {
		r.found = number(n)
		return
	}
	switch {
	case nothing.MatchString(lower):
		r.known() // has no volumes, arrays or drives
	case top(lower):
		// `Connector information` stands inside of the controller's as well, and ends it.
		r.introduce()
		r.section, r.part, r.titled, r.into, r.set, r.drive = lower, "", true, nil, nil, nil
		switch lower {
		case "controller information":
			r.about = &item{}
			r.into = r.about
		case "physical device information":
			r.known().drivesTold = true
		}
	case r.item(lower):
	case r.ruled && !isField:
		r.part, r.titled = lower, true
	case isField:
		r.field(label, value)
	}
	r.ruled = false
}

// item starts a volume, an array or a drive.
func (r *reader) item(lower string) bool {
	if m := volumeLine.FindStringSubmatch(lower); m != nil {
		c := r.known()
		r.set = find(&c.volumes, m[1])
	} else if m := arrayLine.FindStringSubmatch(lower); m != nil {
		c := r.known()
		r.set = find(&c.arrays, m[1])
	} else if driveLine.MatchString(lower) {
		c := r.known()
		r.set, r.drive, r.part = nil, &driveItem{}, ""
		c.drives = append(c.drives, r.drive)
		r.into = &r.drive.item
		return true
	} else if kind, ok := strings.CutPrefix(lower, "device is a"); ok && r.drive != nil {
		r.drive.kind = strings.TrimSpace(strings.TrimPrefix(kind, "n "))
		return true
	} else {
		return false
	}
	r.drive, r.part, r.into = nil, "", &r.set.item
	r.set.members = nil // told again by another output
	return true
}

func find(list *[]*setItem, id string) *setItem {
	for _, s := range *list {
		if s.id == id {
			return s
		}
	}
	s := &setItem{id: id}
	*list = append(*list, s)
	return s
}

// field of `Controller Status     : Optimal`, with the label in lower case. There are colons in labels and values.
func field(text string) (label, value string, ok bool) {
	i := strings.Index(text+" ", " : ")
	skip := 2
	if i < 0 {
		if i = strings.Index(text+" ", ": "); i < 0 {
			return "", "", false
		}
		skip = 1
	}
	return strings.Join(strings.Fields(strings.ToLower(text[:i])), " "), strings.TrimSpace(text[i+skip:]), true
}

func (r *reader) field(label, value string) {
	if r.section == "controller information" && r.listed(label, value) {
		return
	}
	if m := memberKey.FindStringSubmatch(label); m != nil && r.set != nil {
		r.set.members = append(r.set.members, memberOf(m[1], value))
		return
	}
	switch {
	case strings.HasSuffix(r.section, " task:") && (label == "logical device" || label == "logical drive"):
		// GETSTATUS: Logical device, Task ID, Current operation, Status, Priority, Percentage complete
		task := &item{}
		task.set("", "logical device", value)
		c := r.known()
		c.tasks = append(c.tasks, task)
		r.into = task
	case r.into != nil:
		r.into.set(r.part, label, value)
	}
}

// listed takes a line of LIST, or its heading.
func (r *reader) listed(label, value string) bool {
	if label == "controller id" {
		r.columns = strings.Split(strings.ToLower(value), ", ")
		return true
	}
	m := listedKey.FindStringSubmatch(label)
	if m == nil || r.columns == nil {
		return false
	}
	value = strings.TrimSpace(strings.TrimPrefix(value, ":"))
	told := &controllerItem{number: m[1]}
	names := map[string]string{"status": "controller status", "slot": "physical slot", "mode": "controller mode",
		"name": "controller model", "serialnumber": "controller serial number", "wwn": "controller world wide name"}
	for i, v := range strings.SplitN(value, ", ", len(r.columns)) {
		if name := names[r.columns[i]]; name != "" {
			told.set("", name, strings.TrimPrefix(v, "Slot "))
		}
	}
	for _, c := range r.controllers {
		if c.same(told) {
			c.number = told.number
			return true
		}
	}
	r.controllers = append(r.controllers, told)
	return true
}

// introduce makes what a section told of itself the controller that everything after it belongs to.
func (r *reader) introduce() {
	if r.about == nil || r.about.get("controller model", "controller serial number", "controller status") == "" {
		r.about = nil
		return
	}
	told := &controllerItem{item: *r.about}
	r.about = nil
	for _, c := range r.controllers {
		// Drives and volumes may have been told before their controller.
		if c.same(told) || c.fields == nil && len(r.controllers) == 1 {
			for label, value := range c.fields {
				told.set("", label, value)
			}
			c.item, r.at = told.item, c
			return
		}
	}
	r.controllers = append(r.controllers, told)
	r.at = told
}

// same says whether both are one card: no two are in one slot.
func (c *controllerItem) same(o *controllerItem) bool {
	const serial, slot, model = "controller serial number", "physical slot", "controller model"
	return c.get(serial) != "" && c.get(serial) == o.get(serial) ||
		c.get(slot) != "" && c.get(slot) == o.get(slot) && c.get(model) == o.get(model)
}

// known makes a controller for drives and volumes of one that does not tell who it is.
func (r *reader) known() *controllerItem {
	switch {
	case r.at != nil:
	case len(r.controllers) == 1:
		r.at = r.controllers[0]
	default:
		r.at = &controllerItem{}
		r.controllers = append(r.controllers, r.at)
	}
	return r.at
}

// memberOf `Present (11444224MB, SAS, HDD, Connector:CN0, Enclosure:1, Slot:0) 8DGYNB3H`, or `Missing`.
func memberOf(group, value string) member {
	state, rest, ok := strings.Cut(value, "(")
	m := member{group: group, state: strings.ToLower(strings.TrimSpace(state))}
	if !ok {
		return m
	}
	brackets, serial, _ := strings.Cut(rest, ")")
	for _, part := range strings.Split(brackets, ",") {
		m.parts = append(m.parts, strings.TrimSpace(part))
	}
	m.serial = strings.TrimSpace(serial)
	return m
}

// part returns what stands behind a name, as 0 in Slot:0.
func (m *member) part(name string) string {
	for _, p := range m.parts {
		if key, value, ok := strings.Cut(p, ":"); ok && strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
