//go:build linux

package hw

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func arrays(t *testing.T) map[string]Disk {
	t.Helper()
	f, err := Detect(context.Background(), WithRoot(plant(t, "testdata/md-arrays.tree")))
	require.NoError(t, err)
	disks := map[string]Disk{}
	for _, d := range f.Disks {
		disks[d.Name] = d
	}
	return disks
}

func TestArraysAreShownAfterTheDisksThatSayTheyAreMembers(t *testing.T) {
	f, err := Detect(context.Background(), WithRoot(plant(t, "testdata/md-arrays.tree")))
	require.NoError(t, err)
	var names []string
	for _, d := range f.Disks {
		names = append(names, d.Name)
	}
	require.Equal(t, []string{"vda", "vdb", "vdc", "vdd", "nvme0n1", "nvme1n1", "nvme2n1", "md2", "md5", "md127", "md126"},
		names)
	var text strings.Builder
	require.NoError(t, f.WriteText(&text))
	require.Contains(t, text.String(), "Disk        md126    8.59 GB nvme RAID volume, "+
		"uuid.e5d9d0299eaa885470cce3d676d1745f, md-uuid-e5d9d029:9eaa8854:70cce3d6:76d1745f\n")
	require.Contains(t, text.String(), "serial MIRROR-0, pci-0000:00:03.0, member of md127\n")
}

func TestAnonymisedCaptureHasArraysWithOtherUUIDs(t *testing.T) {
	root := plant(t, "testdata/md-arrays.tree")
	before := detectIn(t, root)
	file := captureOf(t, root, CaptureOptions{Anonymise: true})
	after := detectIn(t, file)
	require.Len(t, after.Disks, len(before.Disks))
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	for _, d := range before.Disks {
		i := slices.IndexFunc(after.Disks, func(o Disk) bool { return o.Name == d.Name })
		require.GreaterOrEqual(t, i, 0, d.Name)
		require.Equal(t, d.MemberOf, after.Disks[i].MemberOf)
		if d.Kind == RAIDVolume && d.WWN != "" {
			require.NotEqual(t, d.WWN, after.Disks[i].WWN)
			require.NotContains(t, string(text), strings.TrimPrefix(d.WWN, "uuid.")[:8])
		}
	}
	require.NotContains(t, string(text), "1c31aa5d", "what is in the file differs from the UUID of the oldest metadata")
}

func TestRunningArraysAreVolumesWithTheirUUID(t *testing.T) {
	disks := arrays(t)
	for name, want := range map[string]struct {
		wwn, path string
		medium    Medium
		why       string
	}{
		"md127": {"uuid.5daa311ca110a222a525aec791e2358c", "md-uuid-5daa311c:a110a222:a525aec7:91e2358c", MediumUnknown,
			"the members of the array do not tell"},
		"md126": {"uuid.e5d9d0299eaa885470cce3d676d1745f", "md-uuid-e5d9d029:9eaa8854:70cce3d6:76d1745f", NVMe, ""},
		// The oldest metadata has numbers instead of bytes, and mdadm shows it so.
		"md5": {"uuid.5daa311ca110a222a525aec791e2358c", "md-uuid-5daa311c:a110a222:a525aec7:91e2358c", MediumUnknown,
			"the members of the array have different media"},
		"md2": {"", "", MediumUnknown, "the members of the array do not tell"},
	} {
		d, ok := disks[name]
		require.True(t, ok, name)
		require.Equal(t, RAIDVolume, d.Kind, name)
		require.Equal(t, want.wwn, d.WWN, name)
		require.Equal(t, want.path, d.Path, name)
		require.Equal(t, want.medium, d.Medium, name)
		require.Equal(t, want.why, d.why("medium"), name)
		require.Empty(t, d.Bus, name)
		require.Empty(t, d.Serial, name)
		require.Positive(t, d.Bytes, name)
		require.Equal(t, want.wwn == "", d.why("wwn") != "", name)
	}
	require.NotContains(t, disks, "md0", "it does not run")
	require.NotContains(t, disks, "md1", "a container holds nothing that can be read")
}

func TestMembersOfArraysSaySo(t *testing.T) {
	got := map[string]string{}
	for name, d := range arrays(t) {
		if d.MemberOf != "" {
			got[name] = d.MemberOf
		}
	}
	require.Equal(t, map[string]string{"vda": "md127", "vdb": "md127", "nvme0n1": "md126", "nvme1n1": "md126",
		"vdc": "md5", "nvme2n1": "md5", "vdd": "md1,md2"}, got)
}

func TestRuleChoosesAnArrayAndNeverItsMembers(t *testing.T) {
	f, err := Detect(context.Background(), WithRoot(plant(t, "testdata/md-arrays.tree")))
	require.NoError(t, err)
	two := slices.DeleteFunc(slices.Clone(f.Disks), func(d Disk) bool {
		return !slices.Contains([]string{"vda", "vdb", "md127", "nvme0n1", "nvme1n1", "md126"}, d.Name)
	})
	for _, c := range []struct {
		rule DiskRule
		want string
	}{
		{DiskRule{WWN: "uuid.5daa311ca110a222a525aec791e2358c"}, "md127"},
		{DiskRule{Path: "md-uuid-5daa311c:a110a222:a525aec7:91e2358c"}, "md127"},
		{DiskRule{Prefer: Smallest}, "md127"},
		{DiskRule{Prefer: Largest}, "md126"},
		{DiskRule{Medium: NVMe}, "md126"},
	} {
		d, err := c.rule.Choose(two)
		require.NoError(t, err, c.rule)
		require.Equal(t, c.want, d.Name, c.rule)
	}
	_, err = DiskRule{Kind: PhysicalDisk}.Choose(two)
	require.ErrorContains(t, err, "vda (2.15 GB, serial MIRROR-0, pci-0000:00:03.0): it belongs to the array md127")
	_, err = DiskRule{Serial: "MIRROR-0"}.Choose(two)
	require.ErrorContains(t, err, "it belongs to the array md127")
}

func TestModelsSeeTheMembersAndNotTheArray(t *testing.T) {
	root := plant(t, "testdata/md-arrays.tree")
	f, err := Detect(context.Background(), WithRoot(root))
	require.NoError(t, err)
	parts := physicalDisks(f).parts
	require.Len(t, parts, 7)
	for _, d := range parts {
		require.Equal(t, PhysicalDisk, d.Kind)
	}
}

func TestArrayWithNonsenseInItIsUnknownAndNotMadeUp(t *testing.T) {
	root := plant(t, "testdata/md-arrays.tree")
	dir := "sys/devices/virtual/block/md127/"
	write(t, root, dir+"md/uuid", []byte("5daa311c-a110\n"))
	write(t, root, dir+"size", []byte("-5\n"))
	f, err := Detect(context.Background(), WithRoot(root))
	require.NoError(t, err)
	i := slices.IndexFunc(f.Disks, func(d Disk) bool { return d.Name == "md127" })
	require.GreaterOrEqual(t, i, 0)
	d := f.Disks[i]
	require.Empty(t, d.WWN)
	require.Empty(t, d.Path)
	require.Zero(t, d.Bytes)
	require.Contains(t, d.why("wwn"), "is no UUID")
	require.Contains(t, d.why("bytes"), "is no size")
	_, err = DiskRule{}.Choose([]Disk{d})
	require.ErrorContains(t, err, "size is unknown")
}
