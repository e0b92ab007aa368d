//go:build linux

package dhcp_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/u-root/mkuimage/cpio"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/image/imagetest"
	"github.com/project-loda/loda/scripts/need"
)

// Not every kernel that tests run on has VLANs, so this one brings its own: a virtual machine in which a server and its
// clients are on two ends of a trunk.
func TestVLANSubInterfacesAreLinksOfTheirOwn(t *testing.T) {
	need.QEMU(t)
	need.Command(t, "go", "busybox")
	kernel, tree := imagetest.DebianKernel(t)
	modules, err := image.TinyModules(tree, "veth", "8021q")
	require.NoError(t, err)

	server := filepath.Join(t.TempDir(), "server")
	cmd := exec.Command("go", "test", "-c", "-o", server, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))

	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(disk, make([]byte, 1<<20), 0o600))
	for name, raw := range map[string]bool{"UDP sockets": false, "raw sockets": true} {
		t.Run(name, func(t *testing.T) {
			config, err := json.Marshal(setup{Interfaces: []string{"eth1", "vlan10", "vlan20"},
				Subnets: []dhcp.Subnet{rackSubnet(), rack8()}, Raw: raw})
			require.NoError(t, err)
			m := imagetest.Boot(t, disk, "", "-kernel", kernel, "-initrd", vlanInitramfs(t, server, modules, string(config)),
				"-append", "console=ttyS0 quiet panic=5")
			m.Expect("init: done", 2*time.Minute)
			require.Contains(t, m.Console(), "init: vlan20 has 10.8.0.")
			require.Contains(t, m.Console(), "init: vlan10 has 10.7.0.")
			require.NotContains(t, m.Console(), "init: trunk has", "what is not tagged is on neither")
			require.NotContains(t, m.Console(), `"Asked":"DISCOVER","Answered":"","Interface":"eth1"`)
			m.Stop()
		})
	}
}

const vlanInit = `#!/bin/busybox sh
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
for m in %s; do insmod /modules/$m; done
ip link add eth1 type veth # busybox cannot name the peer
ip link set veth0 name trunk
unshare -n sleep 1000 &
sleep 1
ip link set trunk netns $!
on="nsenter -t $! -n"
ip link set eth1 up
$on ip link set trunk up
for id in 10 20; do
	ip link add link eth1 name vlan$id type vlan id $id
	$on ip link add link trunk name vlan$id type vlan id $id
	ip link set vlan$id up
	$on ip link set vlan$id up
done
ip addr add 10.7.0.1/24 dev vlan10
ip addr add 10.8.0.1/24 dev vlan20
%s='%s' /server &
sleep 2
for dev in vlan20 vlan10 trunk; do
	tries=8; [ $dev = trunk ] && tries=2
	$on udhcpc -i $dev -f -q -n -t $tries -T 1 -s /told
done
echo init: done
sleep 1000
`

// vlanInitramfs has busybox, the server, the modules, and an init that connects them.
func vlanInitramfs(t *testing.T, server string, modules []string, config string) string {
	t.Helper()
	file := func(name string) string {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		return string(content)
	}
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	var names bytes.Buffer
	var records []cpio.Record
	for _, dir := range []string{"bin", "dev", "proc", "sys", "tmp", "modules"} {
		records = append(records, cpio.Directory(dir, 0o755))
	}
	for _, name := range modules {
		base := filepath.Base(name)
		names.WriteString(base + " ")
		records = append(records, cpio.StaticFile("modules/"+base, file(name), 0o600))
	}
	records = append(records, cpio.CharDev("dev/console", 0o600, 5, 1), cpio.CharDev("dev/null", 0o666, 1, 3),
		cpio.StaticFile("bin/busybox", file(busybox), 0o755), cpio.StaticFile("server", file(server), 0o755),
		cpio.StaticFile("told", "#!/bin/sh\n[ $1 = bound ] && echo init: $interface has $ip\n", 0o755),
		cpio.StaticFile("init", fmt.Sprintf(vlanInit, names.String(), serverEnv, config), 0o755))
	cpio.MakeAllReproducible(records)
	var archive bytes.Buffer
	w := cpio.Newc.Writer(&archive)
	for _, r := range records {
		require.NoError(t, w.WriteRecord(r))
	}
	require.NoError(t, cpio.WriteTrailer(w))
	path := filepath.Join(t.TempDir(), "initramfs")
	require.NoError(t, os.WriteFile(path, archive.Bytes(), 0o600))
	return path
}
