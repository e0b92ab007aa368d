package mdadm

import (
	"bytes"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid"
)

// array is what is known of one array, from whichever outputs there are.
type array struct {
	// device is /dev/md127, empty for an array that does not run.
	device   string
	uuid     string
	name     string
	level    string // raid1, container
	metadata string // 1.0, imsm
	// state is mdadm's line of words; empty: it did not say.
	state   string
	devices int
	// working are those that /proc/mdstat counts as such.
	working  int
	kib      int64
	chunk    int64 // bytes
	members  []member
	progress *raid.Progress
	// examined: it does not run, and is known from its members alone.
	examined bool
	// scanned: only a line for mdadm.conf tells of it.
	scanned bool
}

// member is a device of an array.
type member struct {
	device string
	// role is the position in the array; -1: none (a spare, a failed one, unknown).
	role int
	// state is mdadm's: `active sync`, `spare rebuilding`, `faulty`.
	state string
}

// maxLine and the numbers below bound what is kept of an output, whatever a disk's metadata makes mdadm print.
const (
	maxLine    = 4 << 10
	maxArrays  = 1024
	maxMembers = 4096
)

// lines cuts lines that nobody could mean.
func lines(output []byte) []string {
	var all []string
	for line := range strings.Lines(string(output)) {
		all = append(all, strings.ToValidUTF8(strings.TrimRight(line[:min(len(line), maxLine)], "\r\n"), "?"))
	}
	return all
}

var (
	blockHead = regexp.MustCompile(`^(/dev/\S+):$`)
	tableHead = regexp.MustCompile(`^\s*Number\s+Major\s+Minor\s+RaidDevice\b`)
	percent   = regexp.MustCompile(`^(\d+(?:\.\d+)?)%`)
)

// parseDetail reads what `mdadm --detail` prints, of any number of arrays. The layout is that of mdadm 2.6 to 4.3.
func parseDetail(output []byte) []array {
	var all []array
	for _, b := range blocks(output) {
		if b.has("Magic") || !b.has("Raid Level") && !b.has("State") && len(b.table) == 0 {
			continue
		}
		a := array{device: b.device, level: b.value("Raid Level"), metadata: b.value("Version"), state: b.value("State"),
			uuid: uuidOf(b.value("UUID")), name: nameOf(b.value("Name")), kib: leading(b.value("Array Size")),
			devices: bounded(int(leading(b.value("Raid Devices")))), chunk: chunkOf(b.value("Chunk Size"))}
		if in := b.value("Container"); in != "" {
			a.metadata = "/" + in // a firmware's: `/dev/md/imsm0, member 0`
		}
		for _, row := range b.table {
			if m, ok := tableRow(row); ok && len(a.members) < maxMembers {
				a.members = append(a.members, m)
			}
		}
		for _, p := range []struct{ key, what string }{{"Rebuild Status", "recovery"}, {"Resync Status", "resync"},
			{"Reshape Status", "reshape"}, {"Check Status", "check"}} {
			if m := percent.FindStringSubmatch(b.value(p.key)); m != nil {
				a.progress = progressOf(p.what, m[1], 100)
			}
		}
		all = append(all, a)
	}
	return all
}

// tableRow reads a line of the table of members. Number, Major, Minor and RaidDevice come first; an array that does not
// run has no State, and a place without a device (`removed`) has no device.
func tableRow(line string) (member, bool) {
	f := strings.Fields(line)
	if len(f) < 5 || !strings.HasPrefix(f[len(f)-1], "/dev/") {
		return member{}, false
	}
	for i, s := range f[:4] {
		if _, err := strconv.Atoi(s); err != nil && (s != "-" || i == 1 || i == 2) {
			return member{}, false
		}
	}
	m := member{device: f[len(f)-1], role: -1, state: strings.Join(f[4:len(f)-1], " ")}
	if n, err := strconv.Atoi(f[3]); err == nil && !strings.Contains(m.state, "faulty") {
		m.role = n
	}
	return m, true
}

// block is what mdadm prints of one device: `Key : value` lines, and perhaps a table.
type block struct {
	device string
	values map[string]string
	table  []string
}

func (b *block) has(key string) bool { _, ok := b.values[key]; return ok }

func (b *block) value(key string) string { return b.values[key] }

// blocks cuts an output up. The first line of a key counts: an array's name may have line breaks in it, and what
// follows them must not replace what mdadm says itself.
func blocks(output []byte) []block {
	var all []block
	var b *block
	inTable := false
	for _, line := range lines(output) {
		if m := blockHead.FindStringSubmatch(line); m != nil {
			if len(all) == maxArrays {
				break
			}
			all = append(all, block{device: m[1], values: map[string]string{}})
			b, inTable = &all[len(all)-1], false
			continue
		}
		if b == nil {
			continue
		}
		if tableHead.MatchString(line) {
			inTable = true
			continue
		}
		if inTable {
			b.table = append(b.table, line)
			continue
		}
		if key, value, ok := strings.Cut(line, " : "); ok {
			if key = strings.TrimSpace(key); !b.has(key) {
				b.values[key] = strings.TrimSpace(value)
			}
		}
	}
	return all
}

// parseExports reads what `mdadm --detail --export` has printed of several arrays. Each begins with MD_LEVEL. What
// `--examine --export` prints looks alike, and has an identity of the device in it.
func parseExports(output []byte) []array {
	var all []array
	var part []byte
	end := func() {
		if a, ok := parseExport(part); ok && !bytes.Contains(part, []byte("MD_DEV_UUID=")) && len(all) < maxArrays {
			all = append(all, a)
		}
		part = nil
	}
	for line := range bytes.Lines(output) {
		if bytes.HasPrefix(line, []byte("MD_LEVEL=")) {
			end()
		}
		part = append(part, line...)
	}
	end()
	return all
}

// parseExport reads what `mdadm --detail --export` prints of one array. False: it is no such output.
func parseExport(output []byte) (array, bool) {
	a := array{}
	roles, devices := map[string]string{}, map[string]string{}
	found := false
	for _, line := range lines(output) {
		key, value, ok := strings.Cut(line, "=")
		if !ok || !strings.HasPrefix(key, "MD_") {
			continue
		}
		switch key {
		case "MD_LEVEL":
			a.level, found = value, true
		case "MD_DEVICES":
			n, _ := strconv.Atoi(value)
			a.devices, found = bounded(n), true
		case "MD_METADATA":
			a.metadata, found = value, true
		case "MD_CONTAINER":
			a.metadata = "/" + value // a firmware's
		case "MD_UUID":
			a.uuid, found = uuidOf(value), true
		case "MD_NAME":
			a.name = nameOf(value)
		default:
			if rest, ok := strings.CutPrefix(key, "MD_DEVICE_"); ok && len(devices) < maxMembers {
				if id, ok := strings.CutSuffix(rest, "_ROLE"); ok {
					roles[id] = value
				} else if id, ok := strings.CutSuffix(rest, "_DEV"); ok && strings.HasPrefix(value, "/dev/") {
					devices[id] = value
				}
			}
		}
	}
	for id, device := range devices {
		m := member{device: device, role: -1}
		if n, err := strconv.Atoi(roles[id]); err == nil && n >= 0 {
			m.role, m.state = n, "active sync"
		} else {
			m.state = roles[id]
		}
		a.members = append(a.members, m)
	}
	sortMembers(a.members)
	return a, found
}

var (
	statArray    = regexp.MustCompile(`^(md\S*) : (active|inactive)\b(.*)$`)
	statMember   = regexp.MustCompile(`^([^\s\[\]]+)\[(\d+)\]((?:\([A-Z]\))*)$`)
	statBlocks   = regexp.MustCompile(`^\s+(\d+) blocks\b`)
	statChunk    = regexp.MustCompile(`\b(\d+)k chunks?\b`)
	statSuper    = regexp.MustCompile(`\bsuper (\S+)`)
	statProgress = regexp.MustCompile(`\b(resync|recovery|reshape|check|repair)\s*=\s*(\d+(?:\.\d+)?)%(?:\s*\((\d+)/(\d+)\))?`)
	statCount    = regexp.MustCompile(`\[(\d+)/(\d+)\] \[[U_]+\]`)
)

// personalities begin /proc/mdstat, even where there is no array.
var personalities = regexp.MustCompile(`(?m)^Personalities :`)

// parseStat reads /proc/mdstat, which has one paragraph for each array.
func parseStat(output []byte) []array {
	var all []array
	var a *array
	defer func() {
		for i := range all {
			all[i].rebuilding()
		}
	}()
	for _, line := range lines(output) {
		if m := statArray.FindStringSubmatch(line); m != nil {
			if len(all) == maxArrays {
				break
			}
			all = append(all, array{device: "/dev/" + m[1], metadata: "0.90"})
			a = &all[len(all)-1]
			if m[2] == "inactive" {
				a.state = "inactive"
			}
			for _, f := range strings.Fields(m[3]) { // members come in any order
				if d := statMember.FindStringSubmatch(f); d != nil && len(a.members) < maxMembers {
					a.members = append(a.members, statMemberOf(d))
				} else if d == nil && !strings.HasPrefix(f, "(") && a.level == "" {
					a.level = f
				}
			}
			sortMembers(a.members)
			continue
		}
		if a == nil || line == "" || strings.HasPrefix(line, "unused devices:") || blockHead.MatchString(line) {
			a = nil
			continue
		}
		if m := statBlocks.FindStringSubmatch(line); m != nil {
			a.kib = leading(m[1])
			if m := statSuper.FindStringSubmatch(line); m != nil {
				a.metadata = m[1]
			}
			if m := statChunk.FindStringSubmatch(line); m != nil {
				a.chunk = leading(m[1]) << 10
			}
			if m := statCount.FindStringSubmatch(line); m != nil {
				a.devices, a.working = bounded(int(leading(m[1]))), bounded(int(leading(m[2])))
				if a.state == "" && leading(m[2]) < leading(m[1]) {
					a.state = "degraded"
				}
			}
			if rest, ok := strings.CutPrefix(a.metadata, "external:"); ok {
				a.metadata = rest
			}
		}
		if m := statProgress.FindStringSubmatch(line); m != nil {
			if of, err := strconv.ParseFloat(m[4], 64); err == nil && of > 0 {
				a.progress = progressOf(m[1], m[3], of)
			} else {
				a.progress = progressOf(m[1], m[2], 100)
			}
			switch m[1] { // as --detail has it
			case "recovery":
				a.state = strings.TrimPrefix(a.state+", recovering", ", ")
			case "resync":
				a.state = strings.TrimPrefix(a.state+", resyncing", ", ")
			case "reshape":
				a.state = strings.TrimPrefix(a.state+", reshaping", ", ")
			}
		}
	}
	return all
}

// rebuilding finds the members that a recovery is for: /proc/mdstat calls them active, and does not count them among
// those that work. A new member has the highest number.
func (a *array) rebuilding() {
	if a.progress == nil || a.progress.What != "recovery" {
		return
	}
	active := 0
	for _, m := range a.members {
		if m.state == "active" {
			active++
		}
	}
	for i := len(a.members) - 1; i >= 0 && active > a.working; i-- { // they are in the order of their numbers
		if a.members[i].state == "active" {
			a.members[i].state = "spare rebuilding"
			active--
		}
	}
}

func statMemberOf(d []string) member {
	m := member{device: "/dev/" + strings.ReplaceAll(d[1], "!", "/"), role: -1}
	switch {
	case strings.Contains(d[3], "(F)"):
		m.state = "faulty"
	case strings.Contains(d[3], "(S)"):
		m.state = "spare"
	case strings.Contains(d[3], "(J)"):
		m.state = "journal"
	default:
		// The number in brackets is the number of the member, and its position only while nothing was replaced: it orders.
		m.state = "active"
		m.role, _ = strconv.Atoi(d[2])
	}
	return m
}

// superblock is what `mdadm --examine` prints of one device.
type superblock struct {
	device string
	array  // its members are not filled in
	role   int
	// spare: the device waits. container: metadata of a firmware's RAID (imsm, ddf).
	spare, container bool
}

// mdMagic is how md's own metadata starts (0.90 and 1.x); others are those of firmware RAIDs.
const mdMagic = "a92b4efc"

// parseExamine reads what `mdadm --examine` prints of any number of devices. Devices without metadata are not among the
// result; a partition table, which is told as well, is none.
func parseExamine(output []byte) []superblock {
	var all []superblock
	for _, b := range blocks(output) {
		magic := b.value("Magic")
		if magic == "" {
			continue
		}
		s := superblock{device: b.device, role: -1}
		s.metadata, s.level = b.value("Version"), b.value("Raid Level")
		s.uuid = uuidOf(b.value("Array UUID"))
		if s.uuid == "" { // 0.90, and firmware RAIDs
			s.uuid = uuidOf(b.value("UUID"))
		}
		if s.uuid == "" {
			s.uuid = uuidOf(b.value("Container GUID"))
		}
		s.name, s.kib = nameOf(b.value("Name")), leading(b.value("Array Size"))
		s.devices, s.chunk = bounded(int(leading(b.value("Raid Devices")))), chunkOf(b.value("Chunk Size"))
		if !strings.EqualFold(magic, mdMagic) {
			s.container = true
		} else if n, ok := strings.CutPrefix(b.value("Device Role"), "Active device "); ok {
			s.role = int(leading(n))
		} else if strings.HasPrefix(b.value("Device Role"), "spare") {
			s.spare = true
		}
		all = append(all, s)
	}
	return all
}

// parseScan lists the devices that `mdadm --examine --scan --verbose` names.
func parseScan(output []byte) []string {
	var all []string
	for _, line := range lines(output) {
		for _, f := range strings.Fields(line) {
			list, ok := strings.CutPrefix(f, "devices=")
			for _, device := range strings.Split(list, ",") {
				if ok && strings.HasPrefix(device, "/dev/") && !slices.Contains(all, device) && len(all) < maxMembers {
					all = append(all, device)
				}
			}
		}
	}
	return all
}

var scannedArray = regexp.MustCompile(`^(?:INACTIVE-)?ARRAY (/dev/\S+)(.*)$`)

// parseScanned reads the lines of `mdadm --detail --scan`, which are those of mdadm.conf. They tell little.
func parseScanned(output []byte) []array {
	var all []array
	for _, line := range lines(output) {
		if m := scannedArray.FindStringSubmatch(line); m != nil {
			if len(all) == maxArrays {
				break
			}
			all = append(all, array{device: m[1], scanned: true})
			if strings.HasPrefix(line, "INACTIVE") {
				all[len(all)-1].state = "inactive"
			}
			line = m[2]
		} else if len(all) == 0 || !strings.HasPrefix(line, " ") {
			continue // a list of devices has a line of its own
		}
		a := &all[len(all)-1]
		for _, f := range strings.Fields(line) {
			switch key, value, _ := strings.Cut(f, "="); strings.ToLower(key) {
			case "level":
				a.level = value
			case "metadata":
				a.metadata = value
			case "container":
				a.metadata = "/" + value // a firmware's
			case "name":
				a.name = nameOf(value)
			case "uuid":
				a.uuid = uuidOf(value)
			case "num-devices":
				a.devices = bounded(int(leading(value)))
			case "devices":
				for _, device := range strings.Split(value, ",") {
					if strings.HasPrefix(device, "/dev/") && len(a.members) < maxMembers {
						a.members = append(a.members, member{device: device, role: -1})
					}
				}
			}
		}
	}
	return all
}

// offline makes arrays of what members say. The newest metadata is not looked for: the first that knows something
// tells.
func offline(found []superblock) []array {
	var all []array
	index := map[string]int{}
	for _, s := range found {
		key := s.uuid
		if key == "" {
			key = s.device
		}
		i, ok := index[key]
		if !ok {
			i = len(all)
			index[key] = i
			a := s.array
			a.examined = true
			if s.container {
				a.level = "container"
			}
			all = append(all, a)
		}
		m := member{device: s.device, role: s.role}
		if s.spare {
			m.state = "spare"
		}
		all[i].members = append(all[i].members, m)
	}
	for i := range all {
		sortMembers(all[i].members)
	}
	return all
}

// sortMembers puts positions first, then the rest by name.
func sortMembers(members []member) {
	slices.SortStableFunc(members, func(a, b member) int {
		switch {
		case a.role >= 0 && b.role >= 0 && a.role != b.role:
			return a.role - b.role
		case (a.role >= 0) != (b.role >= 0):
			return b.role - a.role
		}
		return natural(a.device, b.device)
	})
}

var uuid = regexp.MustCompile(`^[0-9a-f]{8}:[0-9a-f]{8}:[0-9a-f]{8}:[0-9a-f]{8}$`)

// uuidOf is the UUID at the beginning of a value, in mdadm's spelling.
func uuidOf(s string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	if first = strings.ToLower(first); uuid.MatchString(first) {
		return first
	}
	return ""
}

// nameOf is an array's name without the machine that it was made on. `rescue:0  (local to host rescue)` is 0. A name
// may well be box:/dev/md0.
func nameOf(s string) string {
	s, _, _ = strings.Cut(s, "  (local to host ")
	if _, after, ok := strings.Cut(s, ":"); ok {
		s = after
	}
	return strings.TrimSpace(s)
}

// leading is the number at the beginning of a value, 0 if there is none.
func leading(s string) int64 {
	digits := s
	for i, c := range s {
		if c < '0' || c > '9' {
			digits = s[:i]
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > 1<<53 {
		return 0
	}
	return n
}

func bounded(n int) int { return min(max(n, 0), maxMembers) }

// chunkOf is a size such as 512K or 1M in bytes.
func chunkOf(s string) int64 {
	n := leading(s)
	if n > 1<<30 {
		return 0
	}
	switch strings.TrimLeft(s, "0123456789") {
	case "K":
		return n << 10
	case "M":
		return n << 20
	}
	return n
}

func progressOf(what, part string, of float64) *raid.Progress {
	n, err := strconv.ParseFloat(part, 64)
	if err != nil {
		return nil
	}
	return &raid.Progress{What: what, Fraction: min(max(n/of, 0), 1)}
}

var partition = regexp.MustCompile(`^((?:nvme\d+n\d+|mmcblk\d+|loop\d+|md\d+|nbd\d+)(?:p\d+)|(?:sd|vd|xvd|hd)[a-z]+\d+)$`)

// isPartition tells by the kernel's names for devices.
func isPartition(device string) bool { return partition.MatchString(path.Base(device)) }

// isOn reports whether a device is a disk, or a partition of it.
func isOn(device, disk string) bool {
	rest, ok := strings.CutPrefix(device, disk)
	if !ok || rest == "" {
		return ok
	}
	if last := disk[len(disk)-1]; last >= '0' && last <= '9' {
		if rest, ok = strings.CutPrefix(rest, "p"); !ok {
			return false
		}
	}
	return rest != "" && strings.Trim(rest, "0123456789") == ""
}

var letters = regexp.MustCompile(`^(.*/(?:sd|vd|xvd|hd))([a-z]+)(\d*)$`)

// natural compares names with numbers in them: nvme2n1 comes before nvme10n1, and sdb before sdaa.
func natural(a, b string) int {
	x, y := a, b
	if p, q := letters.FindStringSubmatch(a), letters.FindStringSubmatch(b); p != nil && q != nil && p[1] == q[1] &&
		len(p[2]) != len(q[2]) {
		return len(p[2]) - len(q[2])
	}
	for x != "" && y != "" {
		nx, ny := digits(x), digits(y)
		if nx > 0 && ny > 0 {
			p, q := strings.TrimLeft(x[:nx], "0"), strings.TrimLeft(y[:ny], "0")
			if len(p) != len(q) {
				return len(p) - len(q)
			}
			if c := strings.Compare(p, q); c != 0 {
				return c
			}
			x, y = x[nx:], y[ny:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	if c := len(x) - len(y); c != 0 {
		return c
	}
	return strings.Compare(a, b)
}

func digits(s string) int {
	return len(s) - len(strings.TrimLeft(s, "0123456789"))
}
