package bootos

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/trust"
	"github.com/project-loda/loda/scripts/need"
)

// sizeLimit is what kernel and initramfs may have together, with all drivers.
const sizeLimit = 60e6

// built are the images that the tests of this run share: what they boot is the same, and it takes ten seconds to pack.
var built = struct {
	sync.Mutex
	dir    string
	ca     *trust.Authority
	images map[string]*Result
}{images: map[string]*Result{}}

func TestMain(m *testing.M) {
	code := m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

// image builds from a kernel package of Debian, with an authority that it returns. The base layer is compiled if the
// sources changed, else it is in the cache.
func image(t *testing.T, pkg string, emergencyShell bool) (*Result, *trust.Authority) {
	t.Helper()
	need.Command(t, "go", "apt-get", "dpkg-deb")
	built.Lock()
	defer built.Unlock()
	if built.dir == "" {
		var err error
		built.dir, err = os.MkdirTemp("", "loda-bootos-test-")
		require.NoError(t, err)
		built.ca, err = trust.Open(filepath.Join(built.dir, "ca"))
		require.NoError(t, err)
	}
	name := fmt.Sprintf("%s-%v", pkg, emergencyShell)
	if built.images[name] == nil {
		r, err := Build(t.Context(), Options{OutDir: filepath.Join(built.dir, name), CA: built.ca.PEM(),
			Kernel: Kernel{Package: pkg}, EmergencyShell: emergencyShell, CacheDir: userCache(t), Log: testLogger(t)})
		require.NoError(t, err)
		built.images[name] = r
	}
	r := built.images[name]
	size := r.Manifest.Files[KernelFile].Bytes + r.Manifest.Files[InitramfsFile].Bytes
	t.Logf("%s: kernel and initramfs have %.1f MB, %d modules", pkg, float64(size)/1e6, len(r.Manifest.Modules))
	require.Less(t, size, int64(sizeLimit))
	return r, built.ca
}

// vm is a QEMU that boots a kernel directly and shows its serial console.
type vm struct {
	t     *testing.T
	keys  io.Writer
	done  chan struct{}
	mu    sync.Mutex
	lines []string
}

func boot(t *testing.T, kernel, initramfs, cmdline string, args ...string) *vm {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	cmd := exec.CommandContext(ctx, "qemu-system-x86_64", append([]string{"-accel", "tcg,tb-size=64",
		"-cpu", "max,la57=off", "-m", "256", "-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio",
		"-monitor", "none", "-kernel", kernel, "-initrd", initramfs, "-append", "console=ttyS0 quiet " + cmdline,
		"-smbios", "type=1,manufacturer=Acme,product=Anvil,serial=ANVIL-0001,uuid=11111111-2222-3333-4444-555555555555"},
		args...)...)
	keys, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = cmd.Stdout
	require.NoError(t, cmd.Start())
	m := &vm{t: t, keys: keys, done: make(chan struct{})}
	go func() {
		defer close(m.done)
		for s := bufio.NewScanner(out); s.Scan(); {
			m.mu.Lock()
			m.lines = append(m.lines, strings.TrimRight(s.Text(), "\r"))
			m.mu.Unlock()
		}
		_ = cmd.Wait() // killed, or the machine went off: the console tells which
	}()
	t.Cleanup(func() {
		cancel()
		<-m.done
		if t.Failed() {
			t.Log("console:\n" + m.console())
		}
	})
	return m
}

func (m *vm) console() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return strings.Join(m.lines, "\n")
}

// find waits until a line of the console matches, and returns the submatches.
func (m *vm) find(pattern string) []string {
	m.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(4 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if found := re.FindStringSubmatch(m.console()); found != nil {
			return found
		}
		select {
		case <-m.done:
			found := re.FindStringSubmatch(m.console())
			require.NotNil(m.t, found, "the machine went off without %s", pattern)
			return found
		default:
		}
	}
	m.t.Fatalf("no %s on the console in time", pattern)
	return nil
}

// off waits until the machine went off, or rebooted.
func (m *vm) off() {
	m.t.Helper()
	select {
	case <-m.done:
	case <-time.After(4 * time.Minute):
		m.t.Fatal("the machine did not go off")
	}
}

// hostAddress is where QEMU's user network shows this host's 127.0.0.1.
const hostAddress = "10.0.2.2"

// seenAs makes a listener's connections say that they came in at the address which the guest dialled, as the
// authority issues certificates for that.
type seenAs struct{ net.Listener }

type seenConn struct{ net.Conn }

func (l seenAs) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	return seenConn{c}, err
}

func (c seenConn) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(hostAddress)} }

// daemon hands out actions one by one and keeps what the agent says.
type daemon struct {
	url string

	mu      sync.Mutex
	actions []agentapi.Action
	session agentapi.SessionRequest
	results map[string]agentapi.Result
	logs    []string
}

func newDaemon(t *testing.T, ca *trust.Authority, actions ...agentapi.Action) *daemon {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	d := &daemon{actions: actions, results: map[string]agentapi.Result{},
		url: fmt.Sprintf("https://%s:%d", hostAddress, l.Addr().(*net.TCPAddr).Port)}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+agentapi.PathSession, func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		_ = json.NewDecoder(r.Body).Decode(&d.session)
		_ = json.NewEncoder(w).Encode(agentapi.Session{Secret: "s", Installation: "i-1", Serial: "ANVIL-0001", Name: "anvil"})
	})
	mux.HandleFunc("GET "+agentapi.PathAction, func(w http.ResponseWriter, _ *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		if len(d.actions) == 0 {
			w.WriteHeader(http.StatusNoContent)
			return
		}
		_ = json.NewEncoder(w).Encode(d.actions[0])
	})
	mux.HandleFunc("POST "+agentapi.PathResult, func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		var res agentapi.Result
		_ = json.NewDecoder(r.Body).Decode(&res)
		d.results[r.PathValue("id")] = res
		d.actions = d.actions[1:]
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST "+agentapi.PathLog, func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		var lines []agentapi.LogLine
		_ = json.NewDecoder(r.Body).Decode(&lines)
		for _, l := range lines {
			d.logs = append(d.logs, l.Text)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusNoContent)
	})
	s := &http.Server{Handler: mux, ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.Serve(tls.NewListener(seenAs{l}, ca.TLSConfig())) }()
	t.Cleanup(func() { _ = s.Close() })
	return d
}

func TestAMachineBootsReportsItsHardwareAndRefusesAnothersImage(t *testing.T) {
	need.QEMU(t)
	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(disk, nil, 0o600))
	require.NoError(t, os.Truncate(disk, 1<<30))
	for pkg, nic := range map[string]string{DefaultKernelPackage: "e1000e", "linux-image-cloud-amd64": "virtio-net-pci"} {
		t.Run(pkg, func(t *testing.T) {
			r, ca := image(t, pkg, false)
			d := newDaemon(t, ca,
				agentapi.Action{ID: "a1", Kind: agentapi.ActionDetect, Title: "detect the hardware"},
				agentapi.Action{ID: "a2", Kind: agentapi.ActionInstallImage, Title: "write another's image",
					InstallImage: &agentapi.InstallImage{Installation: "i-1", Serial: "ANVIL-0002", URL: "http://x/", Format: "raw",
						Disk: agentapi.DiskIdentity{Serial: "DISK-1"}}},
				agentapi.Action{ID: "a3", Kind: agentapi.ActionBoot, Title: "go", Boot: &agentapi.Boot{Method: "kexec",
					Disk: agentapi.DiskIdentity{Serial: "DISK-1"}}},
				agentapi.Action{ID: "a4", Kind: agentapi.ActionBoot, Title: "go", Boot: &agentapi.Boot{Method: "reboot"}})
			m := boot(t, r.Kernel, r.Initramfs, "loda.server="+d.url+" loda.token=t0ken",
				"-netdev", "user,id=n0", "-device", nic+",netdev=n0,mac=52:54:00:00:00:17",
				"-drive", "file="+disk+",format=raw,if=none,id=d0", "-device", "virtio-blk-pci,drive=d0,serial=DISK-1",
				// A dead battery: no certificate was valid then.
				"-rtc", "base=2001-01-01T00:00:00")
			m.off()
			console := m.console()
			require.Contains(t, console, "this machine's clock is wrong")
			require.Contains(t, console, `knows this machine as "anvil"`)
			require.Equal(t, "t0ken", d.session.Token)
			require.Equal(t, "ANVIL-0001", d.session.Serial)
			require.Equal(t, "11111111-2222-3333-4444-555555555555", d.session.UUID)
			require.Equal(t, []string{"52:54:00:00:00:17"}, d.session.MACs)
			require.Equal(t, r.Manifest.Version, d.session.Version)
			t.Logf("%s: the agent asks for its session %.1f s after the kernel started", pkg, d.session.Uptime)

			require.True(t, d.results["a1"].OK, d.results["a1"].Error)
			facts, err := hw.Decode(d.results["a1"].Data)
			require.NoError(t, err)
			require.Equal(t, "Acme", facts.System.Vendor)
			require.Len(t, facts.Disks, 1)
			require.Equal(t, "DISK-1", facts.Disks[0].Serial)
			require.EqualValues(t, 1<<30, facts.Disks[0].Bytes)
			require.Contains(t, d.results["a2"].Error, "refused, nothing was written")
			require.False(t, d.results["a3"].OK, "there is no kernel on an empty disk")
			require.True(t, d.results["a4"].OK)
			require.Regexp(t, `boot +reboot`, console)
		})
	}
	content, err := os.ReadFile(disk)
	require.NoError(t, err)
	require.Equal(t, make([]byte, 1<<20), content[:1<<20])
}

func TestScriptsOfAProfileRunInTheRAMDisk(t *testing.T) {
	need.QEMU(t)
	r, ca := image(t, "linux-image-cloud-amd64", false)
	step := func(id, text string, interpreter ...string) agentapi.Action {
		return agentapi.Action{ID: id, Kind: agentapi.ActionRunScript, Title: "run " + id, RunScript: &agentapi.RunScript{
			Installation: "i-1", Serial: "ANVIL-0001", Name: id, File: "scripts/" + id + ".sh", Script: text,
			Interpreter: interpreter, TimeoutSeconds: 5, Env: map[string]string{"PW": "hunter22"},
			Secrets: []string{"hunter22"}}}
	}
	d := newDaemon(t, ca,
		step("good", "#!/bin/bash\necho \"$LODA_SERIAL $PW $0\"\npwd\nprintenv | sort\nls /sys/class/net | grep eth0\n"+
			"echo a > f; cat f | tr a b\nps > /dev/null\n", "/bin/sh", "-e"),
		step("bad", "echo before\nfalse\necho after\n", "sh", "-eu"),
		step("slow", "echo begin\nsleep 100 | cat\n", "/bin/sh"),
		step("hangs", "(sleep 100)& sleep 0.2; ps | grep sleep | wc -l", "/bin/sh"),
		step("left", "ps | grep sleep | wc -l\nls /run | grep -c loda-step", "/bin/sh"),
		step("python", "print(1)", "python3", "-u"),
		agentapi.Action{ID: "off", Kind: agentapi.ActionBoot, Title: "go", Boot: &agentapi.Boot{Method: "poweroff"}})
	m := boot(t, r.Kernel, r.Initramfs, "loda.server="+d.url+" loda.token=t", "-netdev", "user,id=n0",
		"-device", "virtio-net-pci,netdev=n0")
	m.off()
	logs := strings.Join(d.logs, "\n") + "\n"
	require.True(t, d.results["good"].OK, d.results["good"].Error)
	require.Regexp(t, `(?m)^good: ANVIL-0001 \*\*\* /run/loda-step-\d+/file/good\.sh\ngood: /run/loda-step-\d+/work$`, logs)
	for _, line := range []string{"good: LODA_STEP=good", "good: PW=***", "good: eth0", "good: b", "bad: before",
		"slow: begin", "hangs: 1", "left: 0\nleft: 1"} {
		require.Contains(t, logs, line+"\n")
	}
	require.NotContains(t, logs, "bad: after")
	require.Contains(t, d.results["bad"].Error, `step "bad" (scripts/bad.sh) ended with exit code 1, expected 0`)
	require.Contains(t, d.results["slow"].Error, "took longer than its 5 s")
	require.Less(t, d.results["slow"].Seconds, 12.0)
	require.True(t, d.results["hangs"].OK, d.results["hangs"].Error)
	require.True(t, d.results["left"].OK, d.results["left"].Error)
	require.Contains(t, d.results["python"].Error, "python3 is not in this bootOS, which has: /bbin/sh;")
	require.NotContains(t, m.console()+logs, "hunter22")
	require.Less(t, d.results["left"].Seconds, 1.4, "the wait for disks is the first step's")
}

func TestAMachineThatNobodySentSaysWhyAndRebootsWithoutAShell(t *testing.T) {
	need.QEMU(t)
	r, _ := image(t, "linux-image-cloud-amd64", false)
	// The clock of the machine runs ahead whenever it has nothing to do.
	m := boot(t, r.Kernel, r.Initramfs, "", "-icount", "shift=1,sleep=off")
	m.off()
	require.Contains(t, m.console(), "names no server")
	require.Contains(t, m.console(), "the machine reboots in 30s")
	require.NotContains(t, m.console(), "shell")
}

func TestTheAgentRunsInTwiceTheTimeOfABareBusybox(t *testing.T) {
	need.QEMU(t)
	need.Command(t, "busybox")
	busybox, err := exec.LookPath("busybox")
	require.NoError(t, err)
	program, err := os.ReadFile(busybox)
	require.NoError(t, err)
	if bytes.Contains(program, []byte("/lib64/ld-linux")) {
		need.Missing(t, "needs the static busybox; run `scripts/setup test`")
	}
	r, _ := image(t, DefaultKernelPackage, false)
	l := newLayer("busybox")
	l.file("bin/busybox", program, 0o755)
	l.file("init", []byte("#!/bin/busybox sh\n/bin/busybox mkdir -p /proc\n/bin/busybox mount -t proc proc /proc\n"+
		"read up rest < /proc/uptime\necho \"uptime $up\"\n/bin/busybox poweroff -f\n"), 0o755)
	packed, _, err := l.build()
	require.NoError(t, err)
	bare := filepath.Join(t.TempDir(), "busybox.cpio.zst")
	require.NoError(t, os.WriteFile(bare, packed, 0o600))

	// The machine's clock counts instructions, so that the load of this host does not count.
	icount := []string{"-icount", "shift=1,sleep=off", "-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0"}
	var busyboxTime, agentTime, readyTime float64
	m := boot(t, r.Kernel, bare, "", icount...)
	_, err = fmt.Sscan(m.find(`uptime ([0-9.]+)`)[1], &busyboxTime)
	require.NoError(t, err)
	m = boot(t, r.Kernel, r.Initramfs, "loda.server=https://10.0.2.2:1 loda.token=t", icount...)
	_, err = fmt.Sscan(m.find(`\[ *([0-9.]+)s\] loda `)[1], &agentTime)
	require.NoError(t, err)
	_, err = fmt.Sscan(m.find(`\[ *([0-9.]+)s\] server `)[1], &readyTime)
	require.NoError(t, err)
	t.Logf("busybox %.2f s, agent %.1f s (%.2f times), drivers loaded, address got, server asked %.1f s (%.2f times)",
		busyboxTime, agentTime, agentTime/busyboxTime, readyTime, readyTime/busyboxTime)
	require.Less(t, agentTime, 2*busyboxTime)
}

func TestDisksBehindAllKindsOfControllersAndTheManagementControllerAreFound(t *testing.T) {
	need.QEMU(t)
	r, ca := image(t, DefaultKernelPackage, false)
	d := newDaemon(t, ca,
		agentapi.Action{ID: "a1", Kind: agentapi.ActionDetect, Title: "detect the hardware"},
		agentapi.Action{ID: "a2", Kind: agentapi.ActionBoot, Title: "go", Boot: &agentapi.Boot{Method: "poweroff"}})
	args := []string{"-machine", "q35", "-netdev", "user,id=n0", "-device", "e1000,netdev=n0",
		"-device", "ipmi-bmc-sim,id=bmc", "-device", "isa-ipmi-kcs,bmc=bmc", "-device", "qemu-xhci,id=usb"}
	dir := t.TempDir()
	want := map[string]string{} // serial number to driver
	for _, c := range []struct{ driver, controller, device string }{
		{"ahci", "", "ide-hd,bus=ide.2"},
		{"nvme", "", "nvme"},
		{"virtio_blk", "", "virtio-blk-pci"},
		{"virtio_scsi", "virtio-scsi-pci,id=vs", "scsi-hd,bus=vs.0"},
		{"megaraid_sas", "megasas-gen2,id=mr", "scsi-hd,bus=mr.0"},
		{"mptsas", "mptsas1068,id=mpt", "scsi-hd,bus=mpt.0,wwn=0x5000c50015ea71ad"},
		{"sym53c8xx", "lsi53c895a,id=lsi", "scsi-hd,bus=lsi.0"},
		{"usb-storage", "", "usb-storage,bus=usb.0"},
	} {
		serial := strings.ToUpper(strings.ReplaceAll(c.driver, "_", "-"))
		want[serial] = c.driver
		disk := filepath.Join(dir, serial)
		require.NoError(t, os.WriteFile(disk, nil, 0o600))
		require.NoError(t, os.Truncate(disk, 1<<28))
		if c.controller != "" {
			args = append(args, "-device", c.controller)
		}
		args = append(args, "-drive", "file="+disk+",format=raw,if=none,id="+serial,
			"-device", c.device+",drive="+serial+",serial="+serial)
	}
	m := boot(t, r.Kernel, r.Initramfs, "loda.server="+d.url+" loda.token=t", args...)
	m.off()
	require.True(t, d.results["a1"].OK, d.results["a1"].Error)
	facts, err := hw.Decode(d.results["a1"].Data)
	require.NoError(t, err)
	for _, disk := range facts.Disks {
		t.Logf("%s: %s %s %s, path %s", disk.Name, disk.Serial, disk.Bus, disk.Model, disk.Path)
		delete(want, disk.Serial)
	}
	require.Empty(t, want, "not found")
	require.Equal(t, "/dev/ipmi0", facts.BMC.Device)
	require.Regexp(t, `boot +power off`, m.console())
}

func TestTheEmergencyShellHasWhatScriptsNeed(t *testing.T) {
	need.QEMU(t)
	r, _ := image(t, "linux-image-cloud-amd64", true)
	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(disk, nil, 0o600))
	require.NoError(t, os.Truncate(disk, 64<<20))
	need.Command(t, "mkfs.ext4")
	out, err := exec.Command("mkfs.ext4", "-q", "-F", disk).CombinedOutput()
	require.NoError(t, err, "%s", out)
	m := boot(t, r.Kernel, r.Initramfs, "", "-drive", "file="+disk+",format=raw,if=virtio")
	m.find("emergency shell on /dev/console")
	for command, answer := range map[string]string{
		// The kernel asks for the file system's driver, and that for a checksum's.
		"mount -t ext4 /dev/vda /mnt && ls /mnt":           `(?m)^(\$ )?lost\+found`,
		"modprobe raid1 && lsmod | grep raid1 | wc -l":     `(?m)^(\$ )?[1-9][0-9]*$`,
		"modprobe nosuchmodule":                            "nosuchmodule: no such module",
		"test -c /dev/null && echo tty-$((40+2)) && uname": "tty-42",
		"cat /etc/loda/bootos.json | grep emergency_shell": `"emergency_shell": true`,
	} {
		_, err := io.WriteString(m.keys, command+"\n")
		require.NoError(t, err)
		m.find(answer)
	}
	_, err = io.WriteString(m.keys, "exit\n")
	require.NoError(t, err)
	m.off() // it reboots
}

func TestAKernelFromAnotherBuildIsNoticed(t *testing.T) {
	need.QEMU(t)
	cloud, _ := image(t, "linux-image-cloud-amd64", false)
	full, _ := image(t, DefaultKernelPackage, false)
	m := boot(t, cloud.Kernel, full.Initramfs, "loda.server=https://10.0.2.2:1 loda.token=t",
		"-icount", "shift=1,sleep=off")
	m.off()
	require.Contains(t, m.console(), "kernel and RAM disk are not from the same build")
}
