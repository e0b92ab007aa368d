package main

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/scripts/need"
)

func TestOnlyAMachineThatIsWhatWasOrderedIsInstalled(t *testing.T) {
	good, dimm, disk, alien := bios("good"), bios("dimm"), bios("disk"), bios("alien")
	disk.Disks = []lab.Disk{{Size: 5 << 30}}
	alien.Product = "Other Server"
	origin := gitsourcetest.New(t, map[string]string{"profiles/never.yaml": "os: tiny\n",
		"os/tiny.yaml": "kind: image\nimage: " + labTiny + "\nsha256: " + tinyDigest(t) + "\n"})
	r := newTestRack(t, []lab.MachineSpec{good, dimm, disk, alien}, follow(origin))
	require.NoError(t, r.rack.Machine("dimm").RemoveDIMM(r.ctx, "A2"))
	r.push(origin, map[string]string{"README.md": "The rack's profiles.\n"})

	// Nobody has written a profile yet. The first machine is known to be good: its model is made from it.
	r.open("SN-GOOD")
	r.powerOn("good")
	i := r.await("SN-GOOD", inventory.Quarantined)
	require.Equal(t, loda.ForProfile, i.Quarantine)
	c := r.operator()
	_, facts, err := factsOf(r.ctx, c, "SN-GOOD")
	require.NoError(t, err)
	model, err := yaml.Marshal(hw.Generate(facts))
	require.NoError(t, err)
	commit := r.push(origin, map[string]string{"models/lab.yaml": string(model),
		"profiles/lab.yaml": "match: {vendor: Loda, product: Lab Server}\nmodel: models/lab.yaml\nos: tiny\n"})
	_, err = c.Decide(r.ctx, "SN-GOOD", "retry", "")
	require.NoError(t, err)

	before := map[string]string{}
	for _, name := range []string{"dimm", "disk", "alien"} {
		before[name], err = r.rack.Machine(name).DiskDigest(r.ctx, 0)
		require.NoError(t, err)
	}
	r.open("SN-DIMM", "SN-DISK", "SN-ALIEN")
	r.powerOn("dimm", "disk", "alien")
	i = r.await("SN-GOOD", inventory.Installed)
	require.Equal(t, commit, i.Revision)
	require.Empty(t, i.Differences)
	r.requireOneAddress("SN-GOOD", allStages...)

	requireDifference := func(serial, path, text string) {
		t.Helper()
		i := r.await(serial, inventory.Quarantined)
		require.Equal(t, loda.ForHardware, i.Quarantine)
		require.Equal(t, commit, i.Revision)
		require.Len(t, i.Differences, 1, "%v", i.Differences)
		require.Equal(t, hw.Fail, i.Differences[0].Severity)
		require.Regexp(t, path, i.Differences[0].Path)
		require.Contains(t, i.Differences[0].Text, text)
		require.Contains(t, i.Reason, i.Differences[0].Text)
		r.said(serial, "^differs \\(fail\\): ")
	}
	requireDifference("SN-DIMM", `^memory/dimms\[A2\]`, "DIMM A2: want 512 MiB")
	requireDifference("SN-DISK", `^disks\[.*\]/bytes`, "(serial DISK-D0): size: want 4.29 GB, got 5.37 GB")
	i = r.await("SN-ALIEN", inventory.Quarantined)
	require.Equal(t, loda.ForProfile, i.Quarantine)
	require.Contains(t, i.Reason, "no profile is for machine SN-ALIEN (Loda Other Server)")
	alienFacts, err := c.Machine(r.ctx, "SN-ALIEN")
	require.NoError(t, err)
	require.NotEmpty(t, alienFacts.Facts)
	for name, want := range before {
		require.NoError(t, r.rack.Machine(name).Cut(r.ctx))
		got, err := r.rack.Machine(name).DiskDigest(r.ctx, 0)
		require.NoError(t, err)
		require.Equal(t, want, got, "the disk of %s, byte for byte", name)
	}

	// Repaired, it is compared again by itself.
	require.NoError(t, r.rack.Machine("dimm").AddDIMM(r.ctx, r.rack.Machine("good").Spec().DIMMs[1]))
	r.powerOn("dimm")
	for r.installation("SN-DIMM").State == inventory.Quarantined {
		require.NoError(t, r.ctx.Err())
		time.Sleep(200 * time.Millisecond)
	}
	require.Equal(t, 2, r.await("SN-DIMM", inventory.Installed).Attempt)
}

// tinyDigest is that of the image that racks install.
func tinyDigest(t *testing.T) string {
	t.Helper()
	need.QEMU(t)
	cache, err := prepared()
	require.NoError(t, err)
	images, err := image.Open(filepath.Join(cache, "images"))
	require.NoError(t, err)
	img, err := images.Get(labTiny)
	require.NoError(t, err)
	return img.SHA256
}
