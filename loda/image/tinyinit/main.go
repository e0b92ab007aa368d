// Command tinyinit is the first and only program of the test system that image.BuildTiny makes. It does what an
// installed system's first boot does, in seconds: it finds the seed on its disk, gets an address by DHCP and reports to
// lodad. A second boot from the same disk does not report again, as cloud-init would not.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/nclient4"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image/fat"
	"github.com/project-loda/loda/loda/image/gpt"
)

// markLBA is the last 4 KiB before the first MiB, in the BIOS boot partition behind GRUB: where a finished first boot is
// noted.
const markLBA = 2040

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "tinyinit is the init program of a test image; it does nothing here")
		os.Exit(2)
	}
	say("test system starting")
	// Ctrl-Alt-Del and `reboot` of QEMU's monitor reach init as SIGINT.
	unix.Reboot(unix.LINUX_REBOOT_CMD_CAD_OFF)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, unix.SIGINT, unix.SIGTERM)
	go func() {
		<-stop
		unix.Sync()
		unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	}()
	for {
		if err := run(); err != nil {
			say("%v; again in 5 s", err)
			time.Sleep(5 * time.Second)
			continue
		}
		break
	}
	name, _ := os.Hostname()
	fmt.Printf("\n%s login: (a test system: nobody can log in)\n", name)
	select {}
}

func say(format string, args ...any) { fmt.Printf("tinyinit: "+format+"\n", args...) }

// once does the work of a boot; what succeeded is not done again after a failure.
var prepare = sync.OnceValue(func() error {
	for _, m := range []struct{ what, where string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := unix.Mount(m.what, m.where, m.what, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.where, err)
		}
	}
	loadModules("/modules")
	return nil
})

// loadModules tries until nothing more goes in: a module whose dependency is missing fails with ENOENT.
func loadModules(dir string) {
	files, _ := filepath.Glob(dir + "/*.ko")
	for {
		var left []string
		var problems []error
		for _, name := range files {
			err := insert(name)
			switch {
			case err == nil, errors.Is(err, unix.EEXIST):
			case errors.Is(err, unix.ENODEV): // no such hardware
			default:
				left, problems = append(left, name), append(problems, fmt.Errorf("%s: %w", filepath.Base(name), err))
			}
		}
		if len(left) == 0 || len(left) == len(files) {
			for _, err := range problems {
				say("module %v", err)
			}
			return
		}
		files = left
	}
}

func insert(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.FinitModule(int(f.Fd()), "", 0)
}

func run() error {
	if err := prepare(); err != nil {
		return err
	}
	seed, err := waitForSeed(30 * time.Second)
	if err != nil {
		return err
	}
	defer seed.disk.Close()
	if seed.meta.Hostname != "" {
		unix.Sethostname([]byte(strings.Split(seed.meta.Hostname, ".")[0]))
	}
	if seed.reported() {
		say("instance %s has reported before", seed.meta.InstanceID)
		return nil
	}
	if len(seed.first.URLs) == 0 {
		say("seed has no loda.json: nothing to report")
		return nil
	}
	say("seed of instance %s on %s", seed.meta.InstanceID, seed.disk.Name())
	if err := network(); err != nil {
		return err
	}
	if err := report(seed.first); err != nil {
		return err
	}
	return seed.mark()
}

// seed is the NoCloud partition of the disk that we booted from.
type seed struct {
	disk *os.File
	meta struct {
		InstanceID string   `yaml:"instance-id"`
		Hostname   string   `yaml:"local-hostname"`
		Keys       []string `yaml:"public-keys"`
	}
	first agentapi.FirstBoot
}

func waitForSeed(limit time.Duration) (*seed, error) {
	for end := time.Now().Add(limit); ; time.Sleep(100 * time.Millisecond) {
		disks, _ := filepath.Glob("/sys/block/*")
		var problems []error
		for _, d := range disks {
			s, err := openSeed("/dev/" + filepath.Base(d))
			if err == nil {
				return s, nil
			}
			if !errors.Is(err, gpt.ErrNone) {
				problems = append(problems, err)
			}
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("no partition CIDATA on %d disks: %w", len(disks), errors.Join(problems...))
		}
	}
}

func openSeed(device string) (_ *seed, err error) {
	f, err := os.OpenFile(device, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
			err = fmt.Errorf("%s: %w", device, err)
		}
	}()
	sector, err := unix.IoctlGetInt(int(f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return nil, err
	}
	table, err := gpt.Read(f, sector)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(table.Partitions, func(p gpt.Partition) bool { return strings.EqualFold(p.Name, "CIDATA") })
	if i < 0 {
		return nil, errors.New("no partition CIDATA")
	}
	p := table.Partitions[i]
	r, err := fat.NewReader(io.NewSectionReader(f, int64(p.First)*int64(sector), int64(p.Last-p.First+1)*int64(sector)))
	if err != nil {
		return nil, err
	}
	s := &seed{disk: f}
	text, err := r.ReadFile("meta-data", 1<<20)
	if err != nil {
		return nil, err
	}
	if err := yaml.Unmarshal(text, &s.meta); err != nil {
		return nil, fmt.Errorf("meta-data: %w", err)
	}
	text, err = r.ReadFile("loda.json", 1<<20)
	if errors.Is(err, os.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	return s, json.Unmarshal(text, &s.first)
}

func (s *seed) markText() []byte {
	text := make([]byte, 4096)
	copy(text, "loda: first boot reported: "+s.meta.InstanceID+"\n")
	return text
}

func (s *seed) reported() bool {
	got := make([]byte, 4096)
	_, err := s.disk.ReadAt(got, markLBA*512)
	return err == nil && bytes.Equal(got, s.markText())
}

func (s *seed) mark() error {
	if _, err := s.disk.WriteAt(s.markText(), markLBA*512); err != nil {
		return err
	}
	return s.disk.Sync()
}

// network asks on every Ethernet NIC at once; the first lease is enough.
func network() error {
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		if err = leaseAny(); err == nil {
			return nil
		}
	}
	return err
}

func leaseAny() error {
	links, err := netlink.LinkList()
	if err != nil {
		return err
	}
	if lo, err := netlink.LinkByName("lo"); err == nil {
		netlink.LinkSetUp(lo)
	}
	var nics []netlink.Link
	for _, l := range links {
		if _, err := os.Stat("/sys/class/net/" + l.Attrs().Name + "/device"); err == nil && len(l.Attrs().HardwareAddr) == 6 {
			if err := netlink.LinkSetUp(l); err != nil {
				return fmt.Errorf("%s: %w", l.Attrs().Name, err)
			}
			nics = append(nics, l)
		}
	}
	if len(nics) == 0 {
		return errors.New("no Ethernet NIC")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	type result struct {
		link  netlink.Link
		lease *nclient4.Lease
		err   error
	}
	results := make(chan result, len(nics))
	for _, l := range nics {
		go func() {
			lease, err := lease(ctx, l)
			results <- result{l, lease, err}
		}()
	}
	var problems []error
	for range nics {
		r := <-results
		if r.err == nil {
			return configure(r.link, r.lease.ACK)
		}
		problems = append(problems, fmt.Errorf("%s: %w", r.link.Attrs().Name, r.err))
	}
	return errors.Join(problems...)
}

func lease(ctx context.Context, l netlink.Link) (*nclient4.Lease, error) {
	c, err := nclient4.New(l.Attrs().Name, nclient4.WithTimeout(2*time.Second), nclient4.WithRetry(10))
	if err != nil {
		return nil, err
	}
	defer c.Close()
	host, _ := os.Hostname()
	return c.Request(ctx,
		// As systemd-networkd with ClientIdentifier=mac.
		dhcpv4.WithOption(dhcpv4.OptClientIdentifier(append([]byte{1}, l.Attrs().HardwareAddr...))),
		dhcpv4.WithOption(dhcpv4.OptHostName(host)))
}

func configure(l netlink.Link, ack *dhcpv4.DHCPv4) error {
	mask := ack.SubnetMask()
	if mask == nil {
		mask = ack.YourIPAddr.DefaultMask()
	}
	addr := &netlink.Addr{IPNet: &net.IPNet{IP: ack.YourIPAddr, Mask: mask}}
	if err := netlink.AddrReplace(l, addr); err != nil {
		return fmt.Errorf("%s: address %v: %w", l.Attrs().Name, addr, err)
	}
	if gateways := ack.Router(); len(gateways) > 0 {
		if err := netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Gw: gateways[0]}); err != nil {
			return fmt.Errorf("%s: route by %v: %w", l.Attrs().Name, gateways[0], err)
		}
	}
	say("%s has %v", l.Attrs().Name, addr.IPNet)
	return nil
}

var errRefused = errors.New("refused")

// report tries for ten minutes, as the real systems' script does.
func report(first agentapi.FirstBoot) error {
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(first.CA)) {
		return errors.New("loda.json: no certificate authority")
	}
	client := &http.Client{
		Timeout: 15 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			DisableKeepAlives: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	wait := 250 * time.Millisecond
	var last string
	for end := time.Now().Add(10 * time.Minute); time.Now().Before(end); {
		for _, url := range first.URLs {
			err := post(client, url, first.Secret)
			if err == nil {
				say("first boot reported to %s", url)
				return nil
			}
			if errors.Is(err, errRefused) {
				say("first boot: %v", err)
				return nil // a person must look; asking again changes nothing
			}
			if text := err.Error(); text != last {
				say("first boot not reported yet: %s", text)
				last = text
			}
		}
		time.Sleep(wait)
		wait = min(wait*17/10, 15*time.Second)
	}
	return fmt.Errorf("first boot could not be reported: %s", last)
}

func post(client *http.Client, url, secret string) error {
	if !strings.HasPrefix(url, "https://") {
		return fmt.Errorf("%w: will not send the secret to %s", errRefused, url)
	}
	in := agentapi.Installed{Secret: secret}
	in.Hostname, _ = os.Hostname()
	var u unix.Utsname
	unix.Uname(&u)
	in.Kernel = unix.ByteSliceToString(u.Release[:])
	if text, err := os.ReadFile("/proc/uptime"); err == nil {
		if f := strings.Fields(string(text)); len(f) > 0 {
			in.Uptime, _ = strconv.ParseFloat(f[0], 64)
		}
	}
	req, err := http.NewRequest(http.MethodPost, url, nil)
	if err != nil {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	port := req.URL.Port()
	if port == "" {
		port = "443"
	}
	if c, err := net.Dial("udp", net.JoinHostPort(req.URL.Hostname(), port)); err == nil { // sends nothing
		in.Address = c.LocalAddr().(*net.UDPAddr).IP.String()
		c.Close()
	}
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 500))
	switch resp.StatusCode {
	case 200, 201, 202, 204:
		return nil
	case 400, 401, 403, 409, 410, 422:
		return fmt.Errorf("%w by %s: %s %s", errRefused, url, resp.Status, text)
	}
	return fmt.Errorf("%s: %s %s", url, resp.Status, text)
}
