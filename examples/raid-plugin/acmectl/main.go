// Acmectl stands in for the maker's tool: the same commands and the same output, over a simulated chassis instead of a
// card. ACMECTL_CHASSIS names the chassis, or a file with its name in it.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

func main() {
	path := os.Getenv("ACMECTL_CHASSIS")
	if name, err := os.ReadFile(path + ".path"); err == nil {
		path = string(name)
	}
	chassis, err := raidtest.Open(path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	ctx, args := context.Background(), os.Args[1:]
	var out map[string]any
	var answer raidtest.Answer
	switch {
	case len(args) == 1 && args[0] == "show":
		var s *raidtest.State
		if s, answer, err = chassis.Read(ctx, "show"); s != nil {
			out = map[string]any{"cards": cards(s)}
		}
	case len(args) == 3 && args[0] == "delete":
		answer, err = chassis.Change(ctx, string(raid.StepDeleteVolume), func(s *raidtest.State) error {
			number, _ := strconv.Atoi(args[2])
			return on(s, args[1], func(c *raidtest.Controller) error { return c.DeleteVolume(number) })
		})
	case len(args) == 5 && args[0] == "create":
		answer, err = chassis.Change(ctx, string(raid.StepCreateVolume), func(s *raidtest.State) error {
			return on(s, args[1], func(c *raidtest.Controller) error { return create(c, args[2], args[3], args[4]) })
		})
	default:
		out, answer.Exit = map[string]any{"error": "usage: acmectl show | create CARD TYPE BAYS LABEL | delete CARD ARRAY"}, 2
	}
	if errors.Is(err, raidtest.ErrPowerOff) {
		os.Exit(raidtest.ExitPowerOff)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(4)
	}
	if out == nil {
		out = map[string]any{}
	}
	if answer.Refused != nil {
		out["error"] = answer.Refused.Text
	}
	_ = json.NewEncoder(os.Stdout).Encode(out)
	os.Exit(answer.Exit)
}

// on calls do with the card of a number.
func on(s *raidtest.State, number string, do func(*raidtest.Controller) error) error {
	for i, c := range s.Controllers {
		if strconv.Itoa(i) == number {
			return do(c)
		}
	}
	return &raidtest.Refusal{Code: raidtest.RefusedUnsupported, Text: "no such card"}
}

// bay numbers are slot numbers from 1.
func create(c *raidtest.Controller, kind, bays, label string) error {
	v := raidtest.NewVolume{Name: label, Level: map[string]raid.Level{"STRIPE": raid.Level0, "MIRROR": raid.Level1}[kind]}
	for _, bay := range strings.Split(bays, ",") {
		n, _ := strconv.Atoi(bay)
		d := c.At(252, n-1)
		if d == nil {
			return &raidtest.Refusal{Code: raidtest.RefusedNoDrive, Text: "no drive in bay " + bay}
		}
		v.Drives = append(v.Drives, d.Serial)
	}
	_, err := c.CreateVolume(v)
	return err
}

type object = map[string]any

func cards(s *raidtest.State) []object {
	var all []object
	for i, c := range s.Controllers {
		drives, arrays := []object{}, []object{}
		for _, d := range c.Drives {
			if d.Pulled {
				continue
			}
			drives = append(drives, object{"bay": d.Slot + 1, "product": d.Model, "serial": d.Serial, "wwn": d.WWN,
				"blocks": d.Bytes / 512, "media": map[hw.Medium]string{hw.SSD: "FLASH", hw.HDD: "DISK"}[d.Medium],
				"link": map[hw.Bus]string{hw.BusATA: "SATA", hw.BusSAS: "SAS"}[d.Bus], "status": driveWords[d.State]})
		}
		for _, v := range c.Volumes {
			bays, missing := []int{}, 0
			for _, serial := range v.Members {
				if d := c.Drive(serial); d != nil {
					bays = append(bays, d.Slot+1)
				} else {
					missing++
				}
			}
			arrays = append(arrays, object{"array": v.Number, "wwid": v.WWN, "label": v.Name, "blocks": v.Bytes / 512,
				"type":   map[raid.Level]string{raid.Level0: "STRIPE", raid.Level1: "MIRROR"}[v.Level],
				"status": arrayWords[c.State(v)], "bays": bays, "missing": missing})
		}
		all = append(all, object{"card": i, "pci": c.ID, "product": c.Model, "serial": c.Serial, "firmware": c.Firmware,
			"drives": drives, "arrays": arrays})
	}
	return all
}

var driveWords = map[raid.DiskStateKind]string{raid.DiskReady: "FREE", raid.DiskOnline: "MEMBER",
	raid.DiskJBOD: "PASSTHROUGH", raid.DiskRebuilding: "REBUILDING", raid.DiskOffline: "OUT", raid.DiskFailed: "FAILED"}

var arrayWords = map[raid.VolumeStateKind]string{raid.VolumeOptimal: "NORMAL", raid.VolumeDegraded: "CRITICAL",
	raid.VolumeRebuilding: "REBUILDING", raid.VolumeFailed: "DEAD", raid.VolumeOffline: "DEAD",
	raid.VolumeInitializing: "CLEARING"}
