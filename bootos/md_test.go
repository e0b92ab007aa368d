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

// uefi has firmware variables of its own.
func uefi(t *testing.T, vars string) []string {
	t.Helper()
	if _, err := os.Stat(vars); err != nil {
		content, err := os.ReadFile("/usr/share/OVMF/OVMF_VARS_4M.fd")
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(vars, content, 0o600))
	}
	return []string{"-machine", "q35", "-drive", "if=pflash,format=raw,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd",
		"-drive", "if=pflash,format=raw,file=" + vars}
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

func TestAnImageOnAMirrorBootsAlsoWithOneOfItsDisksGone(t *testing.T) {
	need.QEMU(t)
	need.Command(t, "mmdebstrap", "mkfs.vfat", "mcopy", "grub-mkimage")
	images := os.Getenv("LODA_TEST_IMAGES") // a directory with an image debian-12 saves a minute
	if images == "" {
		images = t.TempDir()
	}
	dir, err := loda.Open(images)
	require.NoError(t, err)
	img, err := dir.Get("debian-12")
	if err != nil {
		img, err = loda.BuildDebian(t.Context(), loda.DebianOptions{Dir: dir, Name: "debian-12", SSH: true,
			KernelPackage: "linux-image-cloud-amd64"})
		require.NoError(t, err)
	}
	r, ca := image(t, "linux-image-cloud-amd64", false)
	seed, err := loda.Seed(loda.SeedOptions{Hostname: "mirror-1", InstanceID: "i-1", BuiltinDHCP: true,
		UserData: "#cloud-config\nbootcmd:\n- [sh, -c, 'd=$(lsblk -no PKNAME $(findmnt -no SOURCE /)); " +
			"u=$(tr -d - < /sys/block/$d/md/uuid); f=$(systemctl --failed --no-legend | wc -l); " +
			"echo ROOT=$u $(ls -d /dev/md/os /dev/md/data) $f. $(cat /proc/mdstat) > /dev/ttyS0']\n"})
	require.NoError(t, err)
	file := serveImage(t, dir, img)
	mirror := agentapi.DiskIdentity{WWN: "uuid." + mirrorUUID}
	kexec := func(id string, disk agentapi.DiskIdentity) agentapi.Action {
		return agentapi.Action{ID: id, Kind: agentapi.ActionBoot, Title: "go",
			Boot: &agentapi.Boot{Method: "kexec", Disk: disk}}
	}
	d := newDaemon(t, ca, makeArrays,
		agentapi.Action{ID: "facts", Kind: agentapi.ActionDetect, Title: "detect the hardware"},
		install("member", file, agentapi.DiskIdentity{Serial: "DISK-1"}, seed),
		install("mirror", file, mirror, seed),
		kexec("member's kernel", agentapi.DiskIdentity{Serial: "DISK-0"}),
		mdScript("state", "cat /proc/mdstat"),
		kexec("mirror's kernel", mirror))
	files, args := mdDisks(t, 2<<30)
	vars := filepath.Join(t.TempDir(), "vars.fd")
	machine := []string{"-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0", "-device", "virtio-rng-pci",
		"-m", "768"}
	m := boot(t, r.Kernel, r.Initramfs, "loda.server="+d.url+" loda.token=t",
		slices.Concat(machine, args, uefi(t, vars))...)
	// root waits for what the installed system says of the array that it runs from.
	root := func(m *vm) string {
		t.Helper()
		found := m.find(`ROOT=([0-9a-f]+) /dev/md/data /dev/md/os (\d+)\. (.*)`)
		require.Equal(t, mirrorUUID, found[1])
		require.Equal(t, "0", found[2], "failed units")
		require.Contains(t, found[3], "active raid0 ")
		return found[3]
	}
	m.find(`boot +kexec into /dev/md127 partition 3`)
	require.Regexp(t, `active raid1 .*\[UU\]`, root(m))
	require.Contains(t, m.console(), "not clean -- starting background reconstruction", "the synchronisation goes on")
	m.cut()

	d.mu.Lock()
	defer d.mu.Unlock()
	logs := strings.Join(d.logs, "\n")
	t.Log(logs)
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
	require.False(t, d.results["member's kernel"].OK, "what is on a member is read through the array")
	require.Regexp(t, `state: +\[.*\] +resync = `, logs, "the mirror was not synchronised when the machine went on")

	for _, c := range []struct {
		name, gone string
		uefi       bool
		members    string
	}{
		{"first disk gone, UEFI", files[0], true, `\[_U\]`},
		{"second disk gone, BIOS", files[1], false, `\[U_\]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			left := slices.Clone(files)
			if i := slices.Index(left, c.gone); i >= 0 {
				left[i] = ""
			}
			// What it writes is thrown away, so that the next one starts from the same disks.
			args := slices.Concat(machine, []string{"-snapshot"}, mdArgs(left))
			if c.uefi {
				args = append(args, uefi(t, vars)...)
			}
			m := bootDisk(t, args...)
			defer m.cut()
			require.Regexp(t, "active raid1 .*"+c.members, root(m))
			if c.uefi {
				require.Contains(t, m.console(), `"Loda test" from HD(2,GPT,`, "one entry is for either disk")
			}
		})
	}
}
