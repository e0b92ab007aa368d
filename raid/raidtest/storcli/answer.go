package storcli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/project-loda/loda/raid/raidtest"
)

// field of an answer. Tools print them in an order of their own.
type field struct {
	name  string
	value any
}

// object is what JSON calls so, in order.
type object []field

// table is a list of objects with the same names.
type table []object

// appendJSON appends a value with its names in their order. Marshalers would be gone over once more for each level.
func appendJSON(b []byte, v any, indent string) ([]byte, error) {
	list := func(open, end byte, n int, item func(b []byte, i int, indent string) ([]byte, error)) ([]byte, error) {
		b := append(b, open)
		var err error
		for i := range n {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, indent...), '\t')
			if b, err = item(b, i, indent+"\t"); err != nil {
				return nil, err
			}
		}
		if n > 0 {
			b = append(b, indent...)
		}
		return append(b, end), nil
	}
	switch v := v.(type) {
	case object:
		return list('{', '}', len(v), func(b []byte, i int, indent string) ([]byte, error) {
			name, err := json.Marshal(v[i].name)
			if err != nil {
				return nil, err
			}
			return appendJSON(append(append(b, name...), ": "...), v[i].value, indent)
		})
	case table:
		return list('[', ']', len(v), func(b []byte, i int, indent string) ([]byte, error) {
			return appendJSON(b, v[i], indent)
		})
	}
	data, err := json.Marshal(v)
	return append(b, data...), err
}

// reply is the answer about one controller.
type reply struct {
	// controller is nil where the answer is about the machine.
	controller *int
	// card is the controller, for the release of the tool and for what it says about itself; nil: there is none.
	card        *card
	failed      bool
	description string
	details     table
	data        any
	// long: text says that it takes a while.
	long bool
}

func (r reply) status() string {
	if r.failed {
		return "Failure"
	}
	return "Success"
}

// teller is the controller in whose words the answer is; where there is none, one without any.
func (r reply) teller() card {
	if r.card != nil {
		return *r.card
	}
	return card{Controller: &raidtest.Controller{}}
}

// head is what every answer begins with, but for the releases that do not say which they are.
func (r reply) head() object {
	c := r.teller()
	var o object
	if c.release().heads() {
		o = object{{"CLI Version", c.extra("CLI Version", defaultVersion)},
			{"Operating system", c.extra("Operating system", defaultSystem)}}
	}
	if r.controller != nil {
		o = append(o, field{"Controller", *r.controller})
	} else {
		o = append(o, field{"Status Code", 0})
	}
	return append(o, field{"Status", r.status()}, field{"Description", r.description})
}

// print writes replies as the tool does.
func print(out io.Writer, asJSON bool, replies []reply) error {
	if !asJSON {
		for _, r := range replies {
			r.printText(out)
		}
		return nil
	}
	var list table
	for _, r := range replies {
		head := r.head()
		if len(r.details) > 0 {
			head = append(head, field{"Detailed Status", r.details})
		}
		o := object{{"Command Status", head}}
		if r.data != nil {
			o = append(o, field{"Response Data", r.data})
		}
		list = append(list, o)
	}
	data, err := appendJSON(nil, object{{"Controllers", list}}, "\n")
	if err == nil {
		_, err = fmt.Fprintf(out, "%s\n", data)
	}
	return err
}

// paper is what text goes to, with the release whose words it is in.
type paper struct {
	io.Writer
	release
}

func (r reply) printText(to io.Writer) {
	out := paper{to, r.teller().release()}
	if r.long {
		fmt.Fprint(out, "Generating detailed summary of the adapter, it may take a while to complete.\n\n")
	}
	printObject(out, r.head())
	fmt.Fprintln(out)
	if len(r.details) > 0 {
		printTable(out, "Detailed Status", r.details)
	}
	switch data := r.data.(type) {
	case object:
		printObject(out, data)
	case table:
		printTable(out, "", data)
	}
	fmt.Fprintln(out)
}

func printObject(out paper, o object) {
	for _, f := range o {
		switch v := f.value.(type) {
		case object:
			title(out, f.name)
			printObject(out, v)
			fmt.Fprintln(out)
		case table:
			printTable(out, f.name, v)
		default:
			fmt.Fprintf(out, "%s = %s\n", f.name, word(v))
		}
	}
}

func title(out paper, name string) {
	fmt.Fprintf(out, "\n%s :\n%s\n", name, strings.Repeat("=", len(name)))
}

// right are columns whose values stand at their right end.
var right = map[string]bool{"Size": true, "DID": true, "DG": true, "Ctrl": true, "ErrCd": true, "NoVDs": true}

func printTable(out paper, name string, t table) {
	if name != "" {
		title(out, name)
	}
	fmt.Fprintln(out)
	if len(t) == 0 {
		return
	}
	var widths []int
	for i, f := range t[0] {
		w := len(f.name)
		for _, line := range t {
			w = max(w, utf8.RuneCountInString(word(line[i].value)))
		}
		widths = append(widths, w)
	}
	total := len(widths)
	for _, w := range widths {
		total += w
	}
	rule := strings.Repeat("-", total) + "\n"
	row := func(cells []string, names object) {
		for i, c := range cells {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(c))
			if right[names[i].name] {
				fmt.Fprint(out, pad, c, " ")
			} else {
				fmt.Fprint(out, c, pad, " ")
			}
		}
		fmt.Fprintln(out)
	}
	fmt.Fprint(out, rule)
	var names []string
	for _, f := range t[0] {
		names = append(names, f.name)
	}
	row(names, t[0])
	fmt.Fprint(out, rule)
	for _, line := range t {
		var cells []string
		for _, f := range line {
			cells = append(cells, word(f.value))
		}
		row(cells, t[0])
	}
	fmt.Fprint(out, rule, "\n")
	fmt.Fprint(out, out.legend(t[0]))
}

// legend explains the words of a table. Which one it is is told by its columns.
func (p paper) legend(line object) string {
	has := func(name string) bool { return slices.ContainsFunc(line, func(f field) bool { return f.name == name }) }
	switch {
	case has("EID:Slot") && has("Arr"):
		return topologyLegend
	case has("DG/VD"):
		return volumeLegend
	case has("EID:Slt"):
		if !p.heads() {
			return strings.Replace(driveLegend, "/PowerSave", "", 1)
		}
		return driveLegend
	case has("RetentionTime"):
		return batteryLegend
	}
	return ""
}

const (
	topologyLegend = `DG=Disk Group Index|Arr=Array Index|Row=Row Index|EID=Enclosure Device ID
DID=Device ID|Type=Drive Type|Onln=Online|Rbld=Rebuild|Dgrd=Degraded
Pdgd=Partially degraded|Offln=Offline|BT=Background Task Active
PDC=PD Cache|PI=Protection Info|SED=Self Encrypting Drive|Frgn=Foreign
DS3=Dimmer Switch 3|dflt=Default|Msng=Missing|FSpace=Free Space Present

`
	volumeLegend = `Cac=CacheCade|Rec=Recovery|OfLn=OffLine|Pdgd=Partially Degraded|dgrd=Degraded
Optl=Optimal|RO=Read Only|RW=Read Write|HD=Hidden|B=Blocked|Consist=Consistent|
R=Read Ahead Always|NR=No Read Ahead|WB=WriteBack|
AWB=Always WriteBack|WT=WriteThrough|C=Cached IO|D=Direct IO|sCC=Scheduled
Check Consistency

`
	driveLegend = `EID-Enclosure Device ID|Slt-Slot No.|DID-Device ID|DG-DriveGroup
DHS-Dedicated Hot Spare|UGood-Unconfigured Good|GHS-Global Hotspare
UBad-Unconfigured Bad|Onln-Online|Offln-Offline|Intf-Interface
Med-Media Type|SED-Self Encryptive Drive|PI-Protection Info
SeSz-Sector Size|Sp-Spun|U-Up|D-Down/PowerSave|T-Transition|F-Foreign
UGUnsp-Unsupported|UGShld-UnConfigured shielded|HSPShld-Hotspare shielded
CFShld-Configured shielded|Cpybck-CopyBack|CBShld-Copyback Shielded

`
	batteryLegend = `Mode 5: 48+ Hrs retention with a non-transparent learn cycle 
           and moderate service life.

`
)

func word(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case int:
		return strconv.Itoa(v)
	case id16:
		return fmt.Sprintf("0x%X", int(v))
	}
	return fmt.Sprint(v)
}

// size prints as the tool does, in binary units, cut off after three digits. Terabytes come from whole gigabytes.
func size(bytes int64, short bool) string {
	mib := bytes >> 20
	gib := mib >> 10
	var text, unit string
	switch {
	case bytes == 0:
		return "0 KB"
	case gib >= 1024:
		text, unit = decimals(gib), "TB"
	case mib >= 1024:
		text, unit = decimals(mib), "GB"
	default:
		text, unit = fmt.Sprintf("%d.000", mib), "MB"
	}
	if short {
		// Older releases leave zeros away, but one.
		text = strings.TrimRight(text, "0")
		if strings.HasSuffix(text, ".") {
			text += "0"
		}
	}
	return text + " " + unit
}

// decimals is n/1024 with three digits, cut off.
func decimals(n int64) string { return fmt.Sprintf("%d.%03d", n>>10, (n&1023)*1000>>10) }
