package main

import (
	"crypto/sha256"
	"encoding/hex"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/loda/site"
	"github.com/project-loda/loda/scripts/need"
)

// netbootFiles are kernel and initrd of Debian's installer, as its package debian-installer-12-netboot-amd64 has them.
const netbootFiles = "/usr/lib/debian-installer/images/12/amd64/text/debian-installer/amd64"

// serveInstaller copies Debian's installer into a site's artifacts, and returns what os/*.yaml says of it.
func serveInstaller(t *testing.T, data string) string {
	t.Helper()
	dir := filepath.Join(site.Layout(data).Artifacts(), "d-i")
	require.NoError(t, os.MkdirAll(dir, 0o755))
	entry := map[string]string{}
	for _, name := range []string{"linux", "initrd.gz"} {
		content, err := os.ReadFile(filepath.Join(netbootFiles, name))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o644))
		sum := sha256.Sum256(content)
		entry[name] = "{path: d-i/" + name + ", sha256: " + hex.EncodeToString(sum[:]) + "}"
	}
	return "kind: installer\ninstaller: preseed\nkernel: " + entry["linux"] + "\ninitrds: [" + entry["initrd.gz"] + "]\n"
}

// awaitLine waits as long as the test has time for a line of the timeline.
func (r *testRack) awaitLine(machine, expression string) {
	r.t.Helper()
	re := regexp.MustCompile(expression)
	for !slices.ContainsFunc(r.timeline(machine), func(e inventory.Event) bool { return re.MatchString(e.Message) }) {
		select {
		case <-r.ctx.Done():
			require.Failf(r.t, "too late", "the timeline of %s has no line like %s", machine, expression)
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// open imports machines whose profile follows from their hardware.
func (r *testRack) open(serials ...string) {
	r.t.Helper()
	_, err := r.operator().Import(r.ctx, strings.NewReader("serial\n"+strings.Join(serials, "\n")+"\n"), false, true)
	require.NoError(r.t, err)
}

// follow makes the rack's lodad take its profiles from a repository.
func follow(origin *gitsourcetest.Origin) func(*config) {
	return func(c *config) { c.Profiles, c.Repository = nil, repositoryConfig{URL: origin.Dir} }
}

// push commits files and waits until the rack's lodad uses them.
func (r *testRack) push(origin *gitsourcetest.Origin, files map[string]string) (commit string) {
	r.t.Helper()
	commit = origin.Push(files)
	status, err := r.operator().SyncRepository(r.ctx)
	require.NoError(r.t, err)
	require.Equal(r.t, commit, status.Commit.Hash, "%+v", status)
	return commit
}

func TestDebiansInstallerFetchesItsAnswersAndReports(t *testing.T) {
	need.File(t, filepath.Join(netbootFiles, "linux"))
	machine := bios("di")
	origin := gitsourcetest.New(t, map[string]string{"profiles/lab.yaml": "match: {vendor: Loda}\nos: debian\n",
		"os/debian.yaml": "kind: image\nimage: none\nsha256: " + strings.Repeat("0", 64) + "\n"})
	r := newTestRack(t, []lab.MachineSpec{machine}, func(c *config) {
		follow(origin)(c)
		c.DHCP.Subnets[0].Settings.DNS = []netip.Addr{c.DHCP.Subnets[0].Router} // the installer asks for one, and waits
	})
	commit := r.push(origin, map[string]string{
		"os/debian.yaml": serveInstaller(t, r.data) + "args: auto=true priority=critical console=ttyS0,115200n8 " +
			"DEBIAN_FRONTEND=text url={{ .boot.answers }}/preseed.cfg hostname={{ .machine.hostname }}\n" +
			"answers: {preseed.cfg: templates/preseed.tmpl}\n",
		"templates/preseed.tmpl": "d-i preseed/early_command string wget -q -O /dev/null '{{ .boot.report }}/stage?name=early_command'\n" +
			"d-i netcfg/get_domain string lab.example\n" +
			"d-i partman-auto/disk string {{ .disk.by_path }}\n",
	})
	before, err := r.rack.Machine("di").DiskDigest(r.ctx, 0)
	require.NoError(t, err)
	r.open("SN-DI")
	r.powerOn("di")
	r.awaitLine("SN-DI", `^boots the installer of profile lab `)
	i := r.installation("SN-DI")
	require.Equal(t, "lab", i.Profile)
	require.Equal(t, commit, i.Revision)
	r.awaitLine("SN-DI", `^the installer fetches preseed\.cfg from .*, profile lab at commit `+commit[:10])
	r.awaitLine("SN-DI", `^installer at .*: early_command$`)
	r.requireOneAddress("SN-DI", "iPXE", "bootOS")
	require.Equal(t, inventory.Installing, r.installation("SN-DI").State)

	// There are no packages for the installer here, so that it cannot go as far as the disk.
	require.NoError(t, r.rack.Machine("di").Cut(r.ctx))
	after, err := r.rack.Machine("di").DiskDigest(r.ctx, 0)
	require.NoError(t, err)
	require.Equal(t, before, after)
}
