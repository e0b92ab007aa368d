package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"log/slog"

	"github.com/project-loda/loda/bootos"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/loda/site"
	"github.com/project-loda/loda/loda/trust"
)

func labCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "lab", Short: "Rehearse with a rack of virtual machines"}
	cmd.AddCommand(labUp(g), labDown(), labStatus(g), labPower())
	return cmd
}

func labUp(g *globals) *cobra.Command {
	var o labOptions
	var n int
	var file, cache string
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Build a virtual rack with a lodad of its own, and run it until interrupted",
		Long: `Build a virtual rack with a lodad of its own, and run it until interrupted.

The machines are QEMU's, with real firmware, on a bridge in a network namespace
of their own: nothing of it reaches your network. The first run builds what is
missing (a Debian image, the bootOS) and keeps it in the cache.

With --install every machine is imported and installed, and the command ends when
all are done; its exit status is 0 only if each has booted from its disk and
called back.`,
		Example: `  lodad lab up --machines 2 --install
  lodad lab up --spec rack.yaml
  lodad --config $(lodad lab status -o json | jq -r '.[0].config') status`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			o.Spec = lab.Default(n)
			if file != "" {
				var err error
				if o.Spec, err = lab.Load(file); err != nil {
					return err
				}
			}
			o.Cache, o.Out = cache, cmd.OutOrStdout()
			return runLab(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.IntVar(&n, "machines", 2, "how many machines, BIOS and UEFI in turn")
	f.StringVar(&file, "spec", "", "YAML file that describes the rack, instead of --machines")
	f.BoolVar(&o.Install, "install", false, "import and install all machines, and end when they are done")
	f.BoolVar(&o.Keep, "keep", false, "keep the rack's files (disks, consoles, database)")
	f.StringVar(&o.Image, "image", labDebian, "image to install: `debian-12-lab`, or tiny for a test system that boots in seconds")
	f.StringVar(&o.Accel, "accel", orEnv("LODA_ACCEL", "tcg"), "tcg, or kvm where the host has it (LODA_ACCEL)")
	f.StringVar(&o.Base, "base", "", "base layer of the bootOS that was built elsewhere (base.cpio.zst); empty: built here with Go")
	f.StringVar(&cache, "cache", orEnv("LODA_CACHE", "/var/cache/loda"), "where images and parts of the bootOS are kept (LODA_CACHE)")
	return cmd
}

func orEnv(name, value string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return value
}

func labDown() *cobra.Command {
	return &cobra.Command{
		Use:   "down [NAME]",
		Short: "Take a rack down: machines, namespace, files; without NAME whatever dead owners left behind",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				return lab.Down(cmd.Context(), args[0], lab.Options{})
			}
			swept, err := lab.Sweep(cmd.Context(), lab.Options{})
			for _, name := range swept {
				fmt.Fprintln(cmd.OutOrStdout(), "removed", name)
			}
			return err
		},
	}
}

func labPower() *cobra.Command {
	var actions []string
	for _, a := range lab.Actions {
		actions = append(actions, string(a))
	}
	return &cobra.Command{
		Use:   "power RACK MACHINE ACTION",
		Short: "Work the switches of a machine while its rack runs in another terminal",
		Long: "Work the switches of a machine while its rack runs in another terminal.\n\nActions: " + strings.Join(actions, ", ") +
			".\nThe machine's console is in the rack's directory, see `lodad lab status`.",
		Example: "  lodad lab power lab m1 on\n  lodad lab power lab m1 cut",
		Args:    exactly(3),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(actions, args[2]) {
				return usageError{fmt.Errorf("%s: unknown action; want %s", args[2], strings.Join(actions, ", "))}
			}
			return lab.Control(cmd.Context(), args[0], args[1], lab.Action(args[2]), lab.Options{})
		},
	}
}

func labStatus(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "List racks",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			racks, err := lab.List(lab.Options{})
			if err != nil {
				return err
			}
			type row struct {
				lab.State
				Config string `json:"config"`
			}
			out := []row{}
			var rows [][]string
			for _, r := range racks {
				config := filepath.Join(r.Dir, labSiteDir, "lodad.yaml")
				out = append(out, row{r, config})
				rows = append(rows, []string{r.ID, fmt.Sprint(len(r.Machines)), r.Namespace, fmt.Sprint(r.Owner.Alive()), config})
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), out)
			}
			return table(cmd.OutOrStdout(), []string{"RACK", "MACHINES", "NAMESPACE", "RUNS", "CONFIG"}, rows)
		},
	}
}

const (
	labDebian  = "debian-12-lab"
	labTiny    = "tiny"
	labProfile = "lab"
	labSiteDir = "site"
	// labKernel boots fastest under emulation; it has the drivers of virtual machines only.
	labKernel = "linux-image-cloud-amd64"
)

// labOptions of [runLab].
type labOptions struct {
	Spec    lab.Spec
	Install bool
	Keep    bool
	Image   string
	Accel   string
	Cache   string
	// Base is a base layer of the bootOS that was built elsewhere.
	Base string
	Out  io.Writer
}

func runLab(ctx context.Context, o labOptions) (err error) {
	say := steps(o.Out)
	if swept, err := lab.Sweep(ctx, lab.Options{}); err == nil && len(swept) > 0 {
		say("removed what earlier racks left behind: " + strings.Join(swept, ", "))
	}
	if err := prepareImage(ctx, o.Cache, o.Image, say); err != nil {
		return err
	}
	rack, err := lab.Up(ctx, o.Spec, lab.Options{KeepFiles: o.Keep, Accel: o.Accel, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	defer func() {
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, rack.Down(late))
	}()
	say("preparing the bootOS (compiled once, about a minute)")
	s, err := newLabSite(ctx, rack, o, nil)
	if err != nil {
		return err
	}
	say(fmt.Sprintf("rack %s is built: %d machines, bootOS ready", rack.ID(), len(rack.Machines())))
	if err := s.start(ctx); err != nil {
		return err
	}
	defer s.stop()
	say("lodad is up; from another terminal: lodad --config " + s.config + " status --watch")
	if o.Install {
		return s.installAll(ctx, o.Out, say)
	}
	fmt.Fprintf(o.Out, "the machines are off; lodad lab power %s m1 on switches one on; stop with ctrl-c\n", rack.ID())
	select {
	case <-ctx.Done():
	case <-rack.Done():
	}
	return nil
}

// prepareImage builds an image in the cache unless it is there.
func prepareImage(ctx context.Context, cache, name string, say func(string)) error {
	dir := filepath.Join(cache, "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	images, err := image.Open(dir)
	if err != nil {
		return err
	}
	if _, err := images.Get(name); !errors.Is(err, image.ErrNotFound) {
		return err
	}
	switch name {
	case labDebian:
		say("building the Debian image (once, about two minutes)")
		_, err = image.BuildDebian(ctx, image.DebianOptions{Dir: images, Name: name, KernelPackage: labKernel,
			Progress: func(line string) { say("  " + line) }})
	case labTiny:
		say("building the tiny test system (once)")
		err = buildTiny(ctx, images, cache, say)
	}
	return err
}

func buildTiny(ctx context.Context, images *image.Dir, cache string, say func(string)) error {
	kernel, tree, err := bootos.FetchKernel(ctx, bootos.Kernel{Package: labKernel}, cache, nil)
	if err != nil {
		return err
	}
	modules, err := image.TinyModules(tree)
	if err != nil {
		return err
	}
	_, err = image.BuildTiny(ctx, image.TinyOptions{Dir: images, Name: labTiny, Kernel: kernel, Modules: modules,
		Progress: func(line string) { say("  " + line) }})
	return err
}

// labSite is a lodad inside a rack.
type labSite struct {
	rack   *lab.Rack
	data   string
	config string
	// program is this executable; tests use one that they have built.
	program string
	// environ is added to lodad's environment.
	environ []string
	process *exec.Cmd
	exited  chan error
	api     *api.Client
}

// newLabSite prepares a data directory with the image and a bootOS. change may alter the configuration.
func newLabSite(ctx context.Context, rack *lab.Rack, o labOptions, change func(*config)) (*labSite, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &labSite{rack: rack, data: filepath.Join(rack.Dir(), labSiteDir), program: program}
	s.config = filepath.Join(s.data, "lodad.yaml")
	layout := site.Layout(s.data)
	if err := layout.Make(); err != nil {
		return nil, err
	}
	if err := linkImage(filepath.Join(o.Cache, "images"), layout.Images(), o.Image); err != nil {
		return nil, err
	}
	authority, err := trust.Open(layout.CA())
	if err != nil {
		return nil, err
	}
	if _, err := bootos.Build(ctx, bootos.Options{OutDir: layout.BootOS(), CA: authority.PEM(),
		Kernel: bootos.Kernel{Package: labKernel}, CacheDir: o.Cache, Base: o.Base, Log: slog.New(slog.DiscardHandler)}); err != nil {
		return nil, fmt.Errorf("bootOS: %w", err)
	}
	return s, s.writeConfig(o.Image, change)
}

func (s *labSite) writeConfig(imageName string, change func(*config)) error {
	spec := s.rack.Spec()
	prefix := spec.Subnet
	first := prefix.Addr()
	for range 20 {
		first = first.Next()
	}
	last := first
	for range 200 {
		last = last.Next()
	}
	c := defaultConfig()
	c.Site, c.Data = spec.Name, s.data
	c.DHCP = dhcpConfig{Interfaces: []string{s.rack.Interface()}, Subnets: []subnetConfig{{Name: spec.Name, Prefix: prefix,
		Pool: first.String() + "-" + last.String(), Router: spec.Server, Unknown: "lease"}}}
	c.Profiles = map[string]loda.Profile{labProfile: {Image: imageName}}
	if change != nil {
		change(c)
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	return writeFileAtomic(s.config, text, 0o640)
}

// linkImage shares an image with the cache where the file system allows it.
func linkImage(from, to, name string) error {
	images, err := image.Open(from)
	if err != nil {
		return err
	}
	img, err := images.Get(name)
	if err != nil {
		return fmt.Errorf("image %s: %w", name, err)
	}
	for _, file := range []string{img.File, img.Name + ".json"} {
		if err := os.Link(filepath.Join(from, file), filepath.Join(to, file)); err == nil {
			continue
		}
		if err := copyFile(filepath.Join(from, file), filepath.Join(to, file)); err != nil {
			return err
		}
	}
	return nil
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// start runs lodad inside the rack's namespace and waits until its API answers.
func (s *labSite) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.data, "lodad.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	defer log.Close()
	s.process = s.rack.Command(context.WithoutCancel(ctx), s.program, "serve", "--config", s.config)
	s.process.Stdout, s.process.Stderr = log, log
	s.process.Env = append(labEnviron(), s.environ...)
	if err := s.process.Start(); err != nil {
		return fmt.Errorf("starting lodad: %w", err)
	}
	s.exited = make(chan error, 1)
	go func(p *exec.Cmd, exited chan<- error) { exited <- p.Wait() }(s.process, s.exited)
	for end := time.Now().Add(30 * time.Second); ; {
		c, err := s.client()
		if err == nil {
			if _, err = c.Site(ctx); err == nil {
				return nil
			}
		}
		select {
		case err := <-s.exited:
			s.exited <- err
			return fmt.Errorf("lodad ended at once (%v): %s", err, lastLines(log.Name(), 5))
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
		if time.Now().After(end) {
			return fmt.Errorf("lodad does not answer: %w; see %s", err, log.Name())
		}
	}
}

// labEnviron keeps settings of this process out of the rack's lodad.
func labEnviron() []string {
	return slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "LODA_") })
}

func (s *labSite) client() (c *api.Client, err error) {
	if s.api == nil {
		s.api, err = (&globals{config: s.config}).localClient()
	}
	return s.api, err
}

// stop asks lodad to finish, and kills it after a while.
func (s *labSite) stop() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(20 * time.Second):
		s.kill()
	}
	s.process = nil
}

// kill is kill -9.
func (s *labSite) kill() {
	_ = s.process.Process.Kill()
	<-s.exited
	s.process = nil
}

// installAll imports all machines of the rack by CSV, powers them on and follows them to their end.
func (s *labSite) installAll(ctx context.Context, w io.Writer, say func(string)) error {
	c, err := s.client()
	if err != nil {
		return err
	}
	var csv bytes.Buffer
	fmt.Fprintln(&csv, "serial,profile,name")
	for _, m := range s.rack.Spec().Machines {
		fmt.Fprintf(&csv, "%s,%s,%s\n", m.Serial, labProfile, m.Name)
	}
	path := filepath.Join(s.data, "machines.csv")
	if err := os.WriteFile(path, csv.Bytes(), 0o640); err != nil {
		return err
	}
	if _, err := c.Import(ctx, &csv, false, true); err != nil {
		return err
	}
	say("imported " + path)
	for _, m := range s.rack.Machines() {
		if err := m.PowerOn(ctx); err != nil {
			return err
		}
		spec := m.Spec()
		say(fmt.Sprintf("power on: %s, serial number %s, %s, network boot by %s", m.Name(), spec.Serial, spec.Firmware, spec.Boot))
	}
	if err := showStatus(ctx, w, c, true, true, 500*time.Millisecond); err != nil {
		return errors.Join(fmt.Errorf("not every machine was installed; run again with --keep and look at the consoles and lodad.log below %s", s.rack.Dir()), err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	machines, err := allMachines(ctx, c)
	if err != nil {
		return err
	}
	fmt.Fprintln(w)
	return stageTable(w, machines)
}

// stageTable shows how long each machine was in each stage.
func stageTable(w io.Writer, machines []api.Machine) error {
	stages := []inventory.State{inventory.Netbooting, inventory.Detecting, inventory.Comparing, inventory.Installing, inventory.Finishing}
	header := []string{"MACHINE", "SERIAL"}
	for _, s := range stages {
		header = append(header, strings.ToUpper(string(s)))
	}
	header = append(header, "TOTAL", "ADDRESS")
	var rows [][]string
	for _, m := range machines {
		i := m.Installation
		if i == nil {
			continue
		}
		took := map[inventory.State]time.Duration{}
		for _, s := range stageTimes(i) {
			took[s.state] = s.took
		}
		row := []string{dash(m.Name), string(m.Serial)}
		for _, s := range stages {
			row = append(row, fmt.Sprintf("%.1fs", took[s].Seconds()))
		}
		rows = append(rows, append(row, fmt.Sprintf("%.1fs", total(i).Seconds()), dash(i.Address)))
	}
	return table(w, header, rows)
}

func lastLines(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	var lines []string
	for sc := bufio.NewScanner(f); sc.Scan(); {
		lines = append(lines, sc.Text())
		if len(lines) > n {
			lines = lines[1:]
		}
	}
	return strings.Join(lines, "\n")
}
