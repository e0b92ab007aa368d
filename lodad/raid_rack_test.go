package main

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/loda/site"
)

// emulatedStorcli builds the emulator of storcli64 for the RAM disk, which has no C library for the real one either.
func emulatedStorcli(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "storcli64")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", file, "../raid/raidtest/storcli/storcli64")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(t, err, string(out))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	return text
}

func TestAMegaRAIDIsRecognisedByItsPCIIdAndConfiguredThroughItsTool(t *testing.T) {
	m := bios("mega")
	// The kernel of the rack has no driver for the controller, and the emulator's volumes are not there: the operating
	// system goes elsewhere.
	m.Disks = []lab.Disk{{}, {Bus: lab.BusMegaSAS}}
	tool := emulatedStorcli(t)
	origin := gitsourcetest.New(t, map[string]string{
		"os/tiny.yaml":       "kind: image\nimage: " + labTiny + "\nsha256: " + tinyDigest(t) + "\n",
		"tools/storcli.yaml": fmt.Sprintf("artifact: raid/storcli64\nsha256: %x\n", sha256.Sum256(tool)),
		"profiles/mega.yaml": `match: {vendor: Loda}
os: tiny
raid:
  controllers:
    - controller: only
      volumes:
        - {name: os, level: 1, disks: {count: 2, medium: ssd}, boot: true, strip: 64KiB}
        - {name: data, level: 0, disks: {count: 1, medium: ssd}}
      spares:
        - {disks: {count: 1, medium: ssd}, for: [os]}
disk: {bus: virtio}
`,
	})
	r := newTestRack(t, []lab.MachineSpec{m}, follow(origin))
	dir := filepath.Join(site.Layout(r.data).Artifacts(), "raid")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "storcli64"), tool, 0o644))
	r.push(origin, map[string]string{"README.md": "The rack's profiles.\n"})
	r.open("SN-MEGA")
	r.powerOn("mega")
	r.await("SN-MEGA", inventory.Installed)
	for _, line := range []string{
		`^the agent fetches storcli, `,
		`^RAID controller 0000:00:0\d\.0 MegaRAID .*: 4 drives; no volume`,
		`^RAID plan [0-9a-f]{12}: \d+ steps`,
		`^RAID step 1 of \d+: create-volume os .*: controllers\[0\]\.volumes\[0\] wants volume os`,
		`^RAID plan [0-9a-f]{12} is approved: it destroys nothing`,
		`^RAID command: /run/loda/tools/.*/storcli64 /c0 add vd `,
		`^RAID step 1 of \d+, create-volume os .*: done, `,
		`^RAID controller .*; volumes os level 1 480 GB optimal, data level 0 480 GB optimal`,
		`^the RAID layout is there`,
		`^disk chosen: vda, `,
	} {
		r.said("SN-MEGA", line)
	}
	for _, e := range r.timeline("SN-MEGA") {
		require.False(t, e.Kind == inventory.KindAlarm && strings.Contains(e.Message, "RAID"), e.Message)
	}
}
