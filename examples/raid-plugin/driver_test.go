package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/raidtest"
)

// machine has a card with four drives, and a stripe that nobody wants any more.
func machine() *raidtest.State {
	c := raidtest.MegaRAID("0000:02:00.0", "AC1")
	c.Model, c.Capabilities = "ACME Boot 4", can
	c.AddDrives(4, "ssd", "ata", 240e9)
	s := &raidtest.State{Controllers: []*raidtest.Controller{c}}
	c.Volumes = []*raidtest.Volume{{Number: 0, WWN: "6acae00000000000", Name: "old", Level: raid.Level0, Bytes: 240e9,
		Members: []string{"AC1-D004"}}}
	c.Drives[3].State = raid.DiskOnline
	return s
}

// layout is what it is to have instead.
func layout() *raid.Layout {
	return &raid.Layout{Controllers: []raid.ControllerLayout{{Unlisted: raid.UnlistedRemove, Volumes: []raid.Volume{
		{Name: "os", Level: raid.Level1, Disks: raid.DiskChoice{Count: 2}},
		{Name: "data", Level: raid.Level0, Disks: raid.DiskChoice{Count: 2}},
	}}}}
}

func TestTheDriverStandsTheSuite(t *testing.T) {
	tool := filepath.Join(t.TempDir(), "acmectl")
	if out, err := exec.Command("go", "build", "-o", tool, "./acmectl").CombinedOutput(); err != nil {
		t.Fatalf("build acmectl: %v\n%s", err, out)
	}
	driver := func(t *testing.T, c *raidtest.Chassis) raid.Driver {
		t.Setenv("ACMECTL_CHASSIS", c.Path())
		return &Driver{Tool: tool, Reads: 10 * time.Second, Writes: 1500 * time.Millisecond}
	}
	raidtest.Run(t, raidtest.Suite{Make: machine, Layout: layout(), New: driver})
}

func TestAWordThatNobodyKnowsIsKept(t *testing.T) {
	c := card{PCI: "0000:02:00.0", Drives: []drive{{Bay: 1, Status: "SANITIZING"}}}
	if got := inventory(c).Disks[0].State.String(); got != "unknown (SANITIZING)" {
		t.Fatalf("the drive is %s", got)
	}
}
