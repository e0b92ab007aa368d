package storcli

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/project-loda/loda/raid/raidtest"
)

// driveAnswer is a drive with all that is known of it.
func (c card) driveAnswer(d *raidtest.Drive) object {
	name := "Drive " + c.path(d)
	return object{{name, table{c.driveLine(d)}}, {name + " - Detailed Information", c.driveDetails(d)}}
}

// driveDetails is what `show all` of a drive adds.
func (c card) driveDetails(d *raidtest.Drive) object {
	name := "Drive " + c.path(d)
	blocks := d.Bytes / 512
	sectors := fmt.Sprintf("%s [0x%x Sectors]", c.size(d.Bytes), blocks)
	predictive := 0
	if d.SMARTAlert {
		predictive = 1
	}
	state := object{{"Shield Counter", 0}, {"Media Error Count", int(d.MediaErrors)},
		{"Other Error Count", int(d.OtherErrors)}}
	if !c.isHBA() {
		state = append(state, field{"Drive Temperature", " 29C (84.20 F)"})
	}
	state = append(state, field{"Predictive Failure Count", predictive},
		field{"S.M.A.R.T alert flagged by drive", yes(d.SMARTAlert)})
	sizes := object{{"Firmware Revision", d.Firmware}, {"Raw size", sectors}, {"Coerced size", sectors},
		{"Non Coerced size", sectors}}
	ports := field{"Port Information", table{{{"Port", 0}, {"Status", "Active"},
		{"Linkspeed", cmp.Or(d.Extra["Link Speed"], "12.0Gb/s")}, {"SAS address", "0x" + address(d)}}}}
	if c.isHBA() {
		return object{
			{name + " State", state},
			{name + " Device attributes", slices.Concat(object{{"Manufacturer Id", d.Vendor}, {"Model Number", model(d)},
				{"NAND Vendor", "NA"}, {"SN", d.Serial}, {"WWN", d.WWN}}, sizes,
				object{{"Device Speed", cmp.Or(d.Extra["Device Speed"], "Unknown")},
					{"Link Speed", cmp.Or(d.Extra["Link Speed"], "12.0Gb/s")}, {"Sector Size", sectorWord(d.LogicalSector)},
					{"Config ID", "NA"}, {"Number of Blocks", int(blocks)}})},
			{name + " Policies/Settings", object{{"Enclosure position", "1"}, {"Connected Port Number", "0(path0) "},
				{"Sequence Number", 0}, {"Commissioned Spare", "No"}, {"Emergency Spare", "No"},
				{"Last Predictive Failure Event Sequence Number", 0}, {"Successful diagnostics completion on", "N/A"},
				{"SED Capable", yes(d.Locked)}, {"SED Enabled", yes(d.Locked)}, {"Secured", yes(d.Locked)},
				{"Needs EKM Attention", "No"}, {"PI Eligible", "No"}, {"Certified", "Yes"}, {"Wide Port Capable", "No"}, ports}},
			{"Inquiry Data", inquiry(d)},
		}
	}
	position := "-"
	if on := c.VolumesOn(d.Serial); len(on) > 0 {
		row, each := slices.Index(on[0].Members, d.Serial), max(len(on[0].Members)/spans(on[0]), 1)
		position = fmt.Sprintf("DriveGroup:%d, Span:%d, Row:%d", c.group(on[0]), row/each, row%each)
	}
	return object{
		{name + " State", state},
		{name + " Device attributes", slices.Concat(object{{"SN", d.Serial}, {"Manufacturer Id", d.Vendor},
			{"Model Number", model(d)}, {"NAND Vendor", "NA"}, {"WWN", strings.ToUpper(d.WWN)}}, sizes,
			object{{"Device Speed", cmp.Or(d.Extra["Device Speed"], "12.0Gb/s")},
				{"Link Speed", cmp.Or(d.Extra["Link Speed"], "12.0Gb/s")},
				{"Logical Sector Size", sectorWord(d.LogicalSector)}, {"Physical Sector Size", sectorWord(d.PhysicalSector)},
				{"Connector Name", "Port 0 - 3 x1"}})},
		{name + " Policies/Settings", object{{"Drive position", position}, {"Enclosure position", "1"},
			{"Connected Port Number", "0(path0) "}, {"Sequence Number", 2}, {"Commissioned Spare", "No"},
			{"Emergency Spare", "No"}, {"SED Capable", yes(d.Locked)}, {"SED Enabled", yes(d.Locked)},
			{"Secured", yes(d.Locked)}, {"Locked", yes(d.Locked)}, {"Needs EKM Attention", "No"}, {"PI Eligible", "No"},
			{"Certified", "Yes"}, {"Wide Port Capable", "No"}, ports}},
		{"Inquiry Data", inquiry(d)},
	}
}

// address of the drive's port. Many makers count it up from the drive's WWN.
func address(d *raidtest.Drive) string {
	if a := d.Extra["SAS address"]; a != "" {
		return a
	}
	n, err := strconv.ParseUint(d.WWN, 16, 64)
	if err != nil {
		return "0"
	}
	return fmt.Sprintf("%x", n+1)
}

// dump is data that text prints in lines of sixteen bytes, and JSON in one.
type dump []byte

func (d dump) MarshalJSON() ([]byte, error) {
	return strconv.AppendQuote(nil, fmt.Sprintf("% x", []byte(d))), nil
}

func (d dump) String() string {
	var b strings.Builder
	for line := range slices.Chunk(d, 16) {
		fmt.Fprintf(&b, "\n% x ", []byte(line))
	}
	return b.String()
}

// inquiry is the drive's answer to INQUIRY (SPC-4, 6.6.2): who made it, which model, which firmware. What makers put
// behind that is in Extra as hexadecimal digits: all of the answer.
func inquiry(d *raidtest.Drive) dump {
	if all, err := hex.DecodeString(d.Extra["Inquiry Data"]); err == nil && len(all) > 0 {
		return all
	}
	data := append(make(dump, 0, 36), 0, 0, 6, 0x12, 31, 0, 0, 2)
	return fmt.Appendf(data, "%-8.8s%-16.16s%-4.4s", d.Vendor, d.Model, d.Firmware)
}
