package storcli

import (
	"strings"

	"github.com/project-loda/loda/raid"
)

// Generation 8 (storcli2 and perccli2: MegaRAID 96xx, PERC 12) nests what generation 7 names: a list with an object for
// each drive and each volume. Drives have a State, what they are to the controller, beside a Status, how they are.

// readDrivesList reads `/cX/eall/sall show all`.
func (f *found) readDrivesList(v any) {
	list, _ := v.([]any)
	for _, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			continue
		}
		for _, line := range rows(object["Drive Information"]) {
			f.readDrive(line, false)
			raw, _ := line["EID:Slt"].(string)
			d := f.disk(raw)
			if d == nil {
				continue
			}
			for _, detail := range rows(object["Drive Detailed Information"]) {
				d.detail(detail)
				for _, unit := range rows(detail["LU/NS Properties"]) {
					d.detail(unit)
					if n := count(unit.text("Predictive Failure Count")); n != nil && d.SMARTAlert == nil {
						alert := *n > 0
						d.SMARTAlert = &alert
					}
				}
			}
		}
	}
}

// readVirtualDrives reads `/cX/vall show all`.
func (f *found) readVirtualDrives(v any) {
	list, _ := v.([]any)
	for _, e := range list {
		object, ok := e.(map[string]any)
		if !ok {
			continue
		}
		for _, line := range rows(object["VD Info"]) {
			vd := f.readVolume(line)
			if vd == nil {
				continue
			}
			for _, p := range rows(object["VD Properties"]) {
				vd.properties(p)
				if strings.EqualFold(p.text("Cache Preserved"), "Yes") {
					f.preserve(line.text("DG/VD")[strings.Index(line.text("DG/VD"), "/")+1:])
				}
			}
			for _, pd := range rows(object["PDs"]) {
				if id := f.readDrive(pd, false); id != "" && !strings.HasSuffix(pd.text("State"), "HS") {
					vd.addMember(id)
				}
			}
		}
	}
}

// diskState8 reads State and Status of generation 8.
func diskState8(state, status string) raid.DiskState {
	s := raid.DiskState{Raw: strings.TrimSpace(state + " " + status)}
	is, how := strings.ToUpper(state), strings.ToUpper(status)
	switch {
	case strings.HasSuffix(is, "SNTZ"):
		s.Is = raid.DiskErasing
	case strings.HasPrefix(how, "REBUILD"), how == "RBLD", how == "REPLACE", strings.HasPrefix(how, "CPYBCK"):
		s.Is = raid.DiskRebuilding
	case how == "FAILED", how == "FAIL":
		s.Is = raid.DiskFailed
	case how == "MISSING", how == "MSNG":
		s.Is = raid.DiskMissing
	case how == "OFFLINE", how == "OFFLN":
		s.Is = raid.DiskOffline
	case how == "BAD", how == "UNUSBL", is == "UNUSBL", is == "UCONFUNSP":
		s.Is = raid.DiskBad
	case is == "UCONF" && (how == "GOOD" || how == "ONLINE" || how == ""):
		s.Is = raid.DiskReady
	case is == "CONF" && how == "ONLINE":
		s.Is = raid.DiskOnline
	case is == "JBOD" && how == "ONLINE":
		s.Is = raid.DiskJBOD
	case (is == "GHS" || is == "DHS") && (how == "GOOD" || how == "ONLINE" || how == ""):
		s.Is = raid.DiskSpare
	}
	return s
}
