// Command dhcp compares DHCP servers: lodad, Kea and dnsmasq, in turns, in network namespaces of their own on this host,
// with perfdhcp of Kea's project as the clients. `make bench-dhcp` runs it; docs/benchmarks.md says what it measures and
// what came out. It needs root and what `scripts/setup bench` installs.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/project-loda/loda/scripts/storm"
)

const (
	serverAddr = "10.10.0.1"
	clientAddr = "10.10.0.2"
	pool       = "10.10.1.0-10.10.255.250"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench-dhcp:", err)
		os.Exit(1)
	}
}

type options struct {
	lodad, servers  string
	runs            int
	period          time.Duration
	clients, leases int
	overload        float64
	smoke           bool
	fleet           string
}

func run(ctx context.Context) error {
	var o options
	flag.StringVar(&o.lodad, "lodad", "bin/lodad", "the program to measure")
	flag.StringVar(&o.servers, "servers", "lodad,kea,dnsmasq", "which servers, in this order")
	flag.IntVar(&o.runs, "runs", 3, "how often each server has its turn")
	flag.DurationVar(&o.period, "period", 6*time.Second, "how long each load lasts")
	flag.IntVar(&o.clients, "clients", 50000, "how many different clients")
	flag.IntVar(&o.leases, "leases", 50000, "with how many leases memory is measured")
	flag.Float64Var(&o.overload, "overload", 10, "DISCOVERs of the storm, in multiples of the saturation")
	flag.BoolVar(&o.smoke, "smoke", false, "only see whether this program works: one short run")
	flag.StringVar(&o.fleet, "fleet", "", "internal: be the clients of this JSON")
	flag.Parse()
	if o.fleet != "" {
		return beFleet(ctx, o.fleet)
	}
	if o.smoke {
		o.runs, o.period, o.clients, o.leases = 1, time.Second, 500, 1000
	}
	if os.Geteuid() != 0 {
		return errors.New("network namespaces need root")
	}
	b := &bench{options: o, name: fmt.Sprintf("loda-bench-%d", os.Getpid())}
	defer b.close()
	if err := b.wire(ctx); err != nil {
		return err
	}
	results := map[string][]measured{}
	names := strings.Split(o.servers, ",")
	for round := range o.runs {
		for _, name := range names {
			m, err := b.measure(ctx, name)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Printf("run %d, %s: %s\n", round+1, name, m)
			results[name] = append(results[name], m)
		}
	}
	table(names, results)
	return nil
}

// measured is one run of one server.
type measured struct {
	saturation float64       // complete exchanges per second at most
	work       time.Duration // of a processor for an exchange, then
	p50, p99   time.Duration // of an answer, at half of that
	lost       float64       // of 1, at half of that
	memory     int64         // bytes resident, with the leases
	storm      float64       // complete exchanges per second in a storm
}

func (m measured) String() string {
	return fmt.Sprintf("%.0f exchanges/s of %v each; at half of that p50 %v, p99 %v, %.2f %% lost; %d MB; in the storm %.0f exchanges/s (%.0f %%)",
		m.saturation, m.work.Round(time.Microsecond), m.p50.Round(10*time.Microsecond), m.p99.Round(10*time.Microsecond), m.lost*100, m.memory>>20, m.storm,
		100*m.storm/m.saturation)
}

func table(names []string, results map[string][]measured) {
	w := tabwriter.NewWriter(os.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "\nmedians\texchanges/s\tof Kea\tprocessor\tp50 at half\tp99 at half\tlost at half\tmemory\tin the storm\n")
	kea := median(results["kea"], func(m measured) float64 { return m.saturation })
	for _, name := range names {
		ms := results[name]
		pick := func(f func(measured) float64) float64 { return median(ms, f) }
		sat := pick(func(m measured) float64 { return m.saturation })
		of := "-"
		if kea > 0 {
			of = fmt.Sprintf("%.2f", sat/kea)
		}
		fmt.Fprintf(w, "%s\t%.0f\t%s\t%.0f µs\t%.2f ms\t%.2f ms\t%.2f %%\t%.0f MB\t%.0f %%\n", name, sat, of,
			pick(func(m measured) float64 { return float64(m.work.Microseconds()) }),
			pick(func(m measured) float64 { return m.p50.Seconds() * 1e3 }),
			pick(func(m measured) float64 { return m.p99.Seconds() * 1e3 }),
			pick(func(m measured) float64 { return m.lost * 100 }),
			pick(func(m measured) float64 { return float64(m.memory >> 20) }),
			pick(func(m measured) float64 { return 100 * m.storm / m.saturation }))
	}
	w.Flush()
}

func median(ms []measured, f func(measured) float64) float64 {
	if len(ms) == 0 {
		return 0
	}
	var all []float64
	for _, m := range ms {
		all = append(all, f(m))
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

// bench is two namespaces with a cable between them.
type bench struct {
	options
	name string
	dir  string
}

func (b *bench) server() string { return b.name + "-s" }
func (b *bench) client() string { return b.name + "-c" }

func (b *bench) wire(ctx context.Context) (err error) {
	// On a disk, as a server's leases are; /tmp may be memory.
	if b.dir, err = os.MkdirTemp("/var/tmp", b.name+"-"); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"netns", "add", b.server()}, {"netns", "add", b.client()},
		{"link", "add", "eth0", "netns", b.server(), "type", "veth", "peer", "name", "eth0", "netns", b.client()},
		{"-n", b.server(), "addr", "add", serverAddr + "/16", "dev", "eth0"},
		{"-n", b.client(), "addr", "add", clientAddr + "/16", "dev", "eth0"},
		{"-n", b.server(), "link", "set", "lo", "up"}, {"-n", b.client(), "link", "set", "lo", "up"},
		{"-n", b.server(), "link", "set", "eth0", "up"}, {"-n", b.client(), "link", "set", "eth0", "up"},
	} {
		if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

func (b *bench) close() {
	for _, ns := range []string{b.server(), b.client()} {
		_ = exec.Command("ip", "netns", "del", ns).Run()
	}
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// inside is a command in a namespace; `ip netns exec` becomes the program itself.
func inside(ctx context.Context, ns string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", ns}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// command writes the configuration of a server with an empty database, and says how it is started. start is the load to
// begin with in search of the saturation, in exchanges per second.
func (b *bench) command(name, dir string) (args []string, start float64, err error) {
	write := func(file, text string) string {
		path := filepath.Join(dir, file)
		err = errors.Join(err, os.WriteFile(path, []byte(text), 0o644))
		return path
	}
	switch name {
	case "lodad":
		config := write("lodad.yaml", fmt.Sprintf(`data: %s/data
log: {level: warn}
dhcp:
  interfaces: [eth0]
  subnets: [{name: bench, prefix: 10.10.0.0/16, pool: %s, router: %s, lease: 1h, unknown: lease}]
`, dir, pool, serverAddr))
		path, e := filepath.Abs(b.lodad)
		return []string{path, "--config", config, "serve"}, 4000, errors.Join(err, e)
	case "kea":
		config := write("kea.json", fmt.Sprintf(`{"Dhcp4": {
  "interfaces-config": {"interfaces": ["eth0"], "dhcp-socket-type": "udp"},
  "lease-database": {"type": "memfile", "persist": true, "name": "%s/leases.csv"},
  "multi-threading": {"enable-multi-threading": true, "thread-pool-size": 2, "packet-queue-size": 64},
  "valid-lifetime": 3600,
  "subnet4": [{"subnet": "10.10.0.0/16", "pools": [{"pool": "%s"}],
    "option-data": [{"name": "routers", "data": "%s"}]}],
  "loggers": [{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{"output": "stderr"}]}]}}
`, dir, strings.Replace(pool, "-", " - ", 1), serverAddr))
		return []string{"kea-dhcp4", "-c", config}, 4000, err
	case "dnsmasq":
		return []string{"dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--interface=eth0", "--user=root",
			"--dhcp-range=" + strings.Replace(pool, "-", ",", 1) + ",1h", "--dhcp-lease-max=70000", "--no-ping",
			"--dhcp-authoritative", "--dhcp-leasefile=" + filepath.Join(dir, "leases"), "--pid-file=", "--quiet-dhcp",
			"--log-facility=" + filepath.Join(dir, "log")}, 200, nil
	}
	return nil, 0, errors.New("there is no such server; want lodad, kea or dnsmasq")
}

// daemon is a server that runs.
type daemon struct {
	cmd  *exec.Cmd
	said bytes.Buffer
}

func (b *bench) start(ctx context.Context, args []string) (*daemon, error) {
	d := &daemon{cmd: inside(ctx, b.server(), args...)}
	d.cmd.Stdout, d.cmd.Stderr = &d.said, &d.said
	// Kea keeps its lock and process id there.
	d.cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+b.dir, "KEA_LOCKFILE_DIR="+b.dir)
	return d, d.cmd.Start()
}

func (d *daemon) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.AfterFunc(15*time.Second, func() { _ = d.cmd.Process.Kill() })
	defer timer.Stop()
	_ = d.cmd.Wait()
}

// memory is what the process has resident.
func (d *daemon) memory() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10, err
		}
	}
	return 0, errors.New("/proc says nothing of its memory")
}

// processor is what the process has used of it.
func (d *daemon) processor() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", d.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	// proc(5): the fields after the name in brackets; the 14th and 15th are user and system time in ticks of 10 ms.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, errors.New("/proc says nothing of its processor time")
	}
	user, err1 := strconv.ParseInt(fields[11], 10, 64)
	system, err2 := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err1, err2)
}

// measure gives one server its turn.
func (b *bench) measure(ctx context.Context, name string) (m measured, err error) {
	dir, err := os.MkdirTemp(b.dir, name+"-")
	if err != nil {
		return m, err
	}
	args, rate, err := b.command(name, dir)
	if err != nil {
		return m, err
	}
	d, err := b.start(ctx, args)
	if err != nil {
		return m, err
	}
	defer func() {
		d.stop()
		if err != nil {
			err = fmt.Errorf("%w; it said: %s", err, d.said.String())
		}
	}()
	if err := b.ready(ctx); err != nil {
		return m, err
	}
	// All leases first: what comes then is a server in use, asked by the same clients. dnsmasq would need minutes for it.
	if name != "dnsmasq" || b.smoke {
		if _, err = b.fleet(ctx, storm.Fleet{Clients: b.leases}, 2*time.Minute); err != nil {
			return m, err
		}
		if m.memory, err = d.memory(); err != nil {
			return m, err
		}
	}

	// More load until three steps brought nothing: one step may have met with something else that this host had to do.
	for idle := 0; idle < 3 && !(b.smoke && m.saturation > 0); rate *= 1.3 {
		before, err := d.processor()
		if err != nil {
			return m, err
		}
		got, _, err := b.perfdhcp(ctx, rate, false)
		if err != nil {
			return m, err
		}
		after, err := d.processor()
		if err != nil {
			return m, err
		}
		if got.rate > 1.02*m.saturation {
			idle = -1
			m.work = time.Duration(float64(after-before) / max(1, got.rate*b.seconds()))
		}
		m.saturation = max(m.saturation, got.rate)
		idle++
	}
	// What the overload left in queues is no part of what comes now.
	if err := sleep(ctx, 3*time.Second); err != nil {
		return m, err
	}
	got, times, err := b.perfdhcp(ctx, max(m.saturation/2, 1), true)
	if err != nil {
		return m, err
	}
	m.lost, m.p50, m.p99 = got.lost, storm.Quantile(times, 0.5), storm.Quantile(times, 0.99)

	r, err := b.fleet(ctx, storm.Fleet{Clients: b.leases, Rate: b.overload * m.saturation, For: b.period}, b.period+20*time.Second)
	if err != nil {
		return m, err
	}
	if len(r.Twice) > 0 {
		return m, fmt.Errorf("addresses were given twice: %s", r.Twice)
	}
	m.storm = r.Completed()
	return m, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// ready waits for the first answer.
func (b *bench) ready(ctx context.Context) error {
	for range 60 {
		r, err := b.fleet(ctx, storm.Fleet{Clients: 1, First: 1 << 20}, time.Second)
		if err == nil && r.Acks > 0 {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return errors.New("it does not answer")
}

// fleet lets clients of our own storm.
func (b *bench) fleet(ctx context.Context, f storm.Fleet, patience time.Duration) (*storm.Result, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	f.Relay, f.Server = netip.MustParseAddr(clientAddr), netip.MustParseAddr(serverAddr)
	text, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := inside(ctx, b.client(), self, "-fleet", string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil && len(out) == 0 {
		return nil, fmt.Errorf("clients: %w", err)
	}
	var r storm.Result
	return &r, json.Unmarshal(out, &r)
}

func beFleet(ctx context.Context, text string) error {
	var f storm.Fleet
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		return err
	}
	r, err := f.Run(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(r)
}

// seconds is how long perfdhcp runs, which counts in whole ones.
func (b *bench) seconds() float64 { return max(1, math.Round(b.period.Seconds())) }

// report is what perfdhcp says of a load.
type report struct {
	rate float64 // complete exchanges per second
	lost float64 // of 1: packets without an answer
}

var (
	rateLine     = regexp.MustCompile(`Rate: ([0-9.]+) 4-way exchanges/second`)
	sentLine     = regexp.MustCompile(`sent packets: (\d+)`)
	receivedLine = regexp.MustCompile(`received packets: (\d+)`)
	timesLine    = regexp.MustCompile(`^sent / received: (\d+\.\d+) / (\d+\.\d+)`)
)

// perfdhcp puts a load on the server. With each it returns how long each answer took, sorted.
func (b *bench) perfdhcp(ctx context.Context, rate float64, each bool) (report, []time.Duration, error) {
	args := []string{"perfdhcp", "-4", "-r", strconv.Itoa(int(rate)), "-R", strconv.Itoa(b.clients), "-b", "mac=" + storm.MAC(0).String(),
		"-p", strconv.Itoa(int(b.seconds())), "-W", "500000"}
	if each {
		args = append(args, "-x", "t")
	}
	cmd := inside(ctx, b.client(), append(args, serverAddr)...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	var exit *exec.ExitError
	// Exit status 3: some were not answered, which is for us to judge.
	if err != nil && !(errors.As(err, &exit) && exit.ExitCode() == 3) {
		return report{}, nil, fmt.Errorf("perfdhcp: %w: %s%s", err, errs.String(), out)
	}
	return readReport(bytes.NewReader(out))
}

func readReport(r io.Reader) (report, []time.Duration, error) {
	var got report
	var sent, received float64
	var times []time.Duration
	found := false
	scan := bufio.NewScanner(r)
	for scan.Scan() {
		line := scan.Text()
		number := func(re *regexp.Regexp) (float64, bool) {
			m := re.FindStringSubmatch(line)
			if m == nil {
				return 0, false
			}
			n, err := strconv.ParseFloat(m[1], 64)
			return n, err == nil
		}
		if n, ok := number(rateLine); ok {
			got.rate, found = n, true
		} else if n, ok := number(sentLine); ok {
			sent += n
		} else if n, ok := number(receivedLine); ok {
			received += n
		} else if m := timesLine.FindStringSubmatch(line); m != nil {
			from, err1 := strconv.ParseFloat(m[1], 64)
			to, err2 := strconv.ParseFloat(m[2], 64)
			if err1 == nil && err2 == nil {
				times = append(times, time.Duration((to-from)*float64(time.Second)))
			}
		}
	}
	if err := scan.Err(); err != nil {
		return got, nil, err
	}
	if !found {
		return got, nil, errors.New("perfdhcp's report has no rate")
	}
	if sent > 0 {
		got.lost = max(0, 1-received/sent)
	}
	slices.Sort(times)
	return got, times, nil
}
