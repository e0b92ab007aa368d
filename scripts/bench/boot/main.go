//go:build linux

// Command boot compares boot servers under a storm: many machines at once that load iPXE by TFTP, or a kernel and a
// RAM disk by HTTP. `make bench-boot` runs it; it needs root and what `scripts/setup bench` installs.
//
// All servers stand in one network namespace and all clients in another, joined by a veth pair. The servers take turns,
// round after round, so that whatever else the host does hits all of them, and the median of each server's rounds
// counts. Clients are the same program for all of them and ask for the same options; they check every byte.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"
)

// A storm is what the clients do. It is handed to their process as JSON.
type storm struct {
	Server   string // address
	Dir      string // with the files that are expected
	Files    []string
	Clients  int
	Repeat   int // how often each client loads all Files
	Block    int // of TFTP
	Window   int // of TFTP; 0 does not ask
	Deadline time.Duration
}

// An outcome is what became of it.
type outcome struct {
	Seconds  float64
	Bytes    int64
	Loaded   int
	Failed   int
	Repeated int     // requests and acknowledgements that a client said again
	Why      string  // of the first that failed
	CPU      float64 // seconds that the server and its children used, start and end included
}

func (o outcome) rate() float64 { return float64(o.Bytes) / 1e6 / o.Seconds }

func main() {
	var err error
	switch {
	case len(os.Args) == 3 && os.Args[1] == "clients":
		err = clients(os.Args[2])
	case len(os.Args) == 4 && os.Args[1] == "serve":
		err = serve(os.Args[2], os.Args[3])
	default:
		err = compare()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-boot:", err)
		os.Exit(1)
	}
}

// compare runs all servers in turns and prints the tables.
func compare() error {
	machines := flag.Int("clients", 200, "machines at once")
	rounds := flag.Int("rounds", 5, "rounds, of which the median counts")
	repeat := flag.Int("repeat", 5, "how often each machine loads the file by TFTP in one round")
	block := flag.Int("blksize", 1428, "TFTP block size that clients ask for")
	nbp := flag.String("nbp", "/usr/lib/ipxe/snponly.efi", "network boot program")
	kernel := flag.String("kernel", "", "kernel; empty: 8.4 MB of noise, as large as Debian's")
	initramfs := flag.String("initramfs", "", "RAM disk; empty: 7.2 MB of noise, as large as the bootOS")
	only := flag.String("only", "", "tftp or http; empty: both")
	flag.Parse()
	if os.Geteuid() != 0 {
		return fmt.Errorf("network namespaces need root; run `sudo make bench-boot`")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()

	dir, err := os.MkdirTemp("", "loda-bench-boot-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	files := filepath.Join(dir, "files")
	// Servers that drop their rights must be able to read.
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(files, 0o755); err != nil {
		return err
	}
	for _, f := range []struct {
		name, from string
		size       int
	}{{"snponly.efi", *nbp, 0}, {"vmlinuz", *kernel, 8_400_000}, {"initramfs", *initramfs, 7_200_000}} {
		if err := provide(filepath.Join(files, f.name), f.from, f.size); err != nil {
			return err
		}
	}

	r, err := newRack(ctx, *machines)
	if err != nil {
		return err
	}
	defer r.remove()
	fmt.Printf("%d clients, %d rounds, %d CPUs, %s\n", *machines, *rounds, runtime.NumCPU(), runtime.Version())
	s := storm{Server: serverAddr, Dir: files, Clients: *machines, Deadline: 2 * time.Minute}
	failed := 0
	if *only != "http" {
		s.Files, s.Repeat, s.Block = []string{"snponly.efi"}, *repeat, *block
		fmt.Printf("\nTFTP, snponly.efi %d times per client, blksize %d, tsize\n", *repeat, *block)
		n, err := r.turns(ctx, tftpServers, s, *rounds, "tftp", dir)
		if err != nil {
			return err
		}
		failed += n
		s.Window = 8
		fmt.Printf("\nTFTP, the same with windowsize 8 (tftpd-hpa 5.2 and dnsmasq 2.90 do not know it)\n")
		n, err = r.turns(ctx, tftpServers[:1], s, *rounds, "tftp", dir)
		if err != nil {
			return err
		}
		failed += n
	}
	if *only != "tftp" {
		s.Files, s.Repeat = []string{"vmlinuz", "initramfs"}, 1
		fmt.Printf("\nHTTP, kernel and RAM disk, a connection for each\n")
		n, err := r.turns(ctx, httpServers, s, *rounds, "http", dir)
		if err != nil {
			return err
		}
		failed += n
	}
	if failed > 0 {
		return fmt.Errorf("%d transfers from Loda failed", failed)
	}
	return nil
}

// turns runs one storm against each server in each round, and returns how many transfers of ours failed.
func (r *rack) turns(ctx context.Context, servers []server, s storm, rounds int, protocol, dir string) (int, error) {
	results := make(map[string][]outcome)
	for round := range rounds {
		for i := range servers {
			server := servers[(i+round)%len(servers)] // nobody is always first
			o, err := r.round(ctx, server, s, protocol, dir)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", server.name, err)
			}
			results[server.name] = append(results[server.name], o)
		}
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "server\tMB/s median\tlowest\thighest\tCPU s/GB\tloaded\tfailed\tsaid again by clients")
	failed := 0
	for _, server := range servers {
		all := results[server.name]
		slices.SortFunc(all, func(a, b outcome) int { return int(a.rate()*1000) - int(b.rate()*1000) })
		var sum outcome
		for _, o := range all {
			sum.CPU += o.CPU
			sum.Bytes += o.Bytes
			sum.Loaded += o.Loaded
			sum.Failed += o.Failed
			sum.Repeated += o.Repeated
			if sum.Why == "" {
				sum.Why = o.Why
			}
		}
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.2f\t%d\t%d\t%d\t%s\n", server.name, all[len(all)/2].rate(), all[0].rate(),
			all[len(all)-1].rate(), sum.CPU/float64(sum.Bytes)*1e9, sum.Loaded, sum.Failed, sum.Repeated, sum.Why)
		if server.ours {
			failed += sum.Failed
		}
	}
	return failed, w.Flush()
}

// clients is the process in which all clients run.
func clients(text string) error {
	var job struct {
		Protocol string
		storm
	}
	if err := json.Unmarshal([]byte(text), &job); err != nil {
		return err
	}
	var o outcome
	var err error
	if job.Protocol == "tftp" {
		o, err = tftpStorm(job.storm)
	} else {
		o, err = httpStorm(job.storm)
	}
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}

// provide makes a file to serve: a copy, or noise that no layer can compress.
func provide(name, from string, size int) error {
	var content []byte
	var err error
	if from != "" {
		if content, err = os.ReadFile(from); err != nil {
			return fmt.Errorf("file to serve: %w", err)
		}
	} else {
		content = make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte([]byte("loda bench-boot, always the same"))).Read(content)
	}
	return os.WriteFile(name, content, 0o644)
}
