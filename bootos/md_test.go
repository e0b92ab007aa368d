package bootos

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/agentapi"
	loda "github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/scripts/need"
)

// mirrorUUID is given to the array, so that the image can be sent to it.
const mirrorUUID = "5daa311ca110a222a525aec791e2358c"

// mdDisks makes four empty disks, and QEMU's arguments for them; the first two are for the mirror.
func mdDisks(t *testing.T, mirror int64) (files, args []string) {
	t.Helper()
	for i, size := range []int64{mirror, mirror, 64 << 20, 64 << 20} {
		file := filepath.Join(t.TempDir(), fmt.Sprintf("disk%d", i))
		require.NoError(t, os.WriteFile(file, nil, 0o600))
		require.NoError(t, os.Truncate(file, size))
		files = append(files, file)
	}
	return files, mdArgs(files)
}

// mdArgs has a disk for each file that is named.
func mdArgs(files []string) []string {
	var args []string
	for i, file := range files {
		if file != "" {
			args = append(args, "-drive", fmt.Sprintf("file=%s,format=raw,if=none,id=d%d,cache=unsafe", file, i),
				"-device", fmt.Sprintf("virtio-blk-pci,drive=d%d,serial=DISK-%d", i, i))
		}
	}
	return args
}

// serveImage offers an image's file to the guest.
func serveImage(t *testing.T, d *loda.Dir, img loda.Image) agentapi.InstallImage {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, d.File(img))
	}))
	t.Cleanup(s.Close)
	return agentapi.InstallImage{Installation: "i-1", Serial: "ANVIL-0001", BootLabel: "Loda test",
		URL: strings.Replace(s.URL, "127.0.0.1", hostAddress, 1) + "/image", Format: img.Format, SHA256: img.SHA256,
		Bytes: img.Bytes, RawBytes: img.RawBytes}
}

func mdScript(id, text string) agentapi.Action {
	return agentapi.Action{ID: id, Kind: agentapi.ActionRunScript, Title: "run " + id, RunScript: &agentapi.RunScript{
		Installation: "i-1", Serial: "ANVIL-0001", Name: id, File: "scripts/" + id + ".sh", Script: text,
		Interpreter: []string{"/bin/sh", "-e"}, TimeoutSeconds: 120}}
}

// makeArrays is what the driver of package mdadm runs for a mirror to boot from and a stripe.
//
// The mirror is synchronised so slowly that it is not done when the machine reboots.
var makeArrays = mdScript("arrays", `echo 50 > /proc/sys/dev/raid/speed_limit_min
echo 200 > /proc/sys/dev/raid/speed_limit_max
wipefs --all --force /dev/vda /dev/vdb /dev/vdc /dev/vdd
mdadm --create /dev/md/os --run --force --homehost=any --name=os --uuid=`+mirrorUUID+` \
	--metadata=1.0 --level=1 --raid-devices=2 /dev/vda /dev/vdb
mdadm --create /dev/md/data --run --force --homehost=any --name=data \
	--metadata=1.2 --level=0 --raid-devices=2 /dev/vdc /dev/vdd
readlink /dev/md/os
cat /proc/mdstat
`)

func install(id string, in agentapi.InstallImage, disk agentapi.DiskIdentity, seed map[string]string) agentapi.Action {
	in.Disk, in.Seed = disk, seed
	return agentapi.Action{ID: id, Kind: agentapi.ActionInstallImage, Title: "write the image", InstallImage: &in}
}

// That the installed system starts from such a mirror, by BIOS, UEFI and kexec, is shown in the virtual rack.
func TestAnImageGoesOntoAnArrayAndNeverOntoAMember(t *testing.T) {
	need.QEMU(t)
	dir, err := loda.Open(t.TempDir())
	require.NoError(t, err)
	kernel, tree, err := FetchKernel(t.Context(), Kernel{Package: "linux-image-cloud-amd64"}, userCache(t), nil)
	require.NoError(t, err)
	modules, err := loda.TinyModules(tree)
	require.NoError(t, err)
	img, err := loda.BuildTiny(t.Context(), loda.TinyOptions{Dir: dir, Name: "tiny", Kernel: kernel, Modules: modules})
	require.NoError(t, err)
	r, ca := image(t, "linux-image-cloud-amd64", false)
	seed, err := loda.Seed(loda.SeedOptions{Hostname: "mirror-1", InstanceID: "i-1"})
	require.NoError(t, err)
	file := serveImage(t, dir, img)
	mirror := agentapi.DiskIdentity{WWN: "uuid." + mirrorUUID}
	d := newDaemon(t, ca, makeArrays,
		agentapi.Action{ID: "facts", Kind: agentapi.ActionDetect, Title: "detect the hardware"},
		install("member", file, agentapi.DiskIdentity{Serial: "DISK-1"}, seed),
		install("mirror", file, mirror, seed),
		mdScript("state", "cat /proc/mdstat; echo THE END"))
	_, args := mdDisks(t, 2<<30)
	m := boot(t, r.Kernel, r.Initramfs, "loda.server="+d.url+" loda.token=t",
		slices.Concat([]string{"-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci", "-m", "768"},
			args)...)
	m.find(`run-script +done in`)
	require.Eventually(t, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.results["state"].OK && strings.Contains(strings.Join(d.logs, "\n"), "THE END")
	}, 5*time.Minute, 100*time.Millisecond)

	d.mu.Lock()
	defer d.mu.Unlock()
	logs := strings.Join(d.logs, "\n")
	require.True(t, d.results["arrays"].OK, d.results["arrays"].Error)
	require.Contains(t, logs, "arrays: /dev/md127\n", "mdadm makes its links itself where there is no udev")
	facts, err := hw.Decode(d.results["facts"].Data)
	require.NoError(t, err)
	array, err := hw.DiskRule{WWN: mirror.WWN}.Choose(facts.Disks)
	require.NoError(t, err)
	require.Equal(t, hw.RAIDVolume, array.Kind)
	require.Equal(t, "md-uuid-5daa311c:a110a222:a525aec7:91e2358c", array.Path)
	_, err = hw.DiskRule{Serial: "DISK-0"}.Choose(facts.Disks)
	require.ErrorContains(t, err, "it belongs to the array md127")
	require.Contains(t, d.results["member"].Error, "disk /dev/vdb refused, nothing was written: it is used by md127")
	require.True(t, d.results["mirror"].OK, d.results["mirror"].Error)
}
