package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/drivers"
	"github.com/project-loda/loda/raid/host"
)

// These commands work on the controllers of the machine that they run on, in the same way as the agent in bootOS.

// thisMachine is what the machine is made of; tests have another one.
var thisMachine = func(ctx context.Context) (*hw.Facts, error) { return hw.Detect(ctx) }

// raidFlags say where tools and drivers are.
type raidFlags struct {
	tools   []string
	plugins []string
	verbose bool
}

func (f *raidFlags) bind(cmd *cobra.Command) {
	cmd.Flags().StringArrayVar(&f.tools, "tool", nil, "where a maker's tool is, as `NAME=PATH`; may be repeated")
	cmd.Flags().StringArrayVar(&f.plugins, "plugin", nil, "a driver from outside, as `PCI-ID=PATH` (1000:005d=./raid-acme); may be repeated")
	cmd.Flags().BoolVarP(&f.verbose, "verbose", "v", false, "what drivers log")
}

// named are the tools that the command line names.
func (f *raidFlags) named() (map[raid.Tool]string, error) {
	all := map[raid.Tool]string{}
	for _, t := range f.tools {
		name, path, _ := strings.Cut(t, "=")
		tool, ok := drivers.Tool(name)
		if !ok || path == "" {
			return nil, usageError{fmt.Errorf("--tool %s: want NAME=PATH, NAME is one of %s", t,
				strings.Join(drivers.Names(), ", "))}
		}
		path, err := filepath.Abs(path)
		if err != nil {
			return nil, fmt.Errorf("--tool %s: %w", t, err)
		}
		switch info, err := os.Stat(path); {
		case err != nil:
			return nil, fmt.Errorf("--tool %s: %w", t, err)
		case !info.Mode().IsRegular() || info.Mode()&0o111 == 0:
			return nil, fmt.Errorf("--tool %s: %s is no program that can be run", t, path)
		}
		all[tool] = path
	}
	return all, nil
}

// outside are the drivers that the command line names.
func (f *raidFlags) outside() ([]host.External, error) {
	var all []host.External
	for _, p := range f.plugins {
		id, path, _ := strings.Cut(p, "=")
		if path == "" || !host.IsPCI(id) {
			return nil, usageError{fmt.Errorf("--plugin %s: want VENDOR:DEVICE=PATH, such as 1000:005d=./raid-acme", p)}
		}
		all = append(all, host.External{Name: filepath.Base(path), Path: path, For: []string{id}})
	}
	return all, nil
}

// open starts the drivers for this machine.
func (f *raidFlags) open(ctx context.Context, errw io.Writer) (*host.Host, *hw.Facts, error) {
	given, err := f.named()
	if err != nil {
		return nil, nil, err
	}
	external, err := f.outside()
	if err != nil {
		return nil, nil, err
	}
	facts, err := thisMachine(ctx)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range external {
		if !slices.ContainsFunc(facts.Controllers, e.IsFor) {
			fmt.Fprintf(errw, "lodad: --plugin %s=%s: no controller of this machine has that PCI id; there are %s\n",
				e.For[0], e.Path, controllerIDs(facts.Controllers))
		}
	}
	logger := slog.New(slog.DiscardHandler)
	if f.verbose {
		logger = slog.New(slog.NewTextHandler(errw, nil))
	}
	h, err := host.Open(ctx, host.Config{Devices: facts.Controllers, External: external, Logger: logger,
		Tool: func(ctx context.Context, t raid.Tool) (string, error) {
			if path, ok := given[t]; ok {
				return path, nil
			}
			path, err := host.LookPath(ctx, t)
			if err != nil {
				err = fmt.Errorf("%w; if you have it, name it: --tool %s=PATH", err, t)
			}
			return path, err
		}})
	return h, facts, err
}

func controllerIDs(devices []hw.PCIDevice) string {
	if len(devices) == 0 {
		return "none"
	}
	words := make([]string, len(devices))
	for i, d := range devices {
		words[i] = fmt.Sprintf("%s:%s at %s", d.Vendor, d.Device, d.Address)
	}
	return strings.Join(words, ", ")
}

func raidShow(g *globals) *cobra.Command {
	var f raidFlags
	cmd := &cobra.Command{
		Use:   "show",
		Short: "Print the controllers, drives and volumes of this machine",
		Long: `Print the controllers, drives and volumes of this machine, as the agent sees them.
The PCI id tells which maker's tool a controller needs; it is looked for where its
package puts it, and in PATH. Nothing is changed. Needs root, as the tools do.

The exit status is 1 if a controller could not be read.`,
		Example: "  lodad raid show\n  lodad raid show --tool perccli=./perccli64 -o json > r740.json",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			h, _, err := f.open(cmd.Context(), cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, h.Close()) }()
			inventories, failed := h.Read(cmd.Context())
			if g.output == "json" {
				err = writeJSON(cmd.OutOrStdout(), append([]*raid.Inventory{}, inventories...))
			} else {
				err = showInventories(cmd.OutOrStdout(), inventories)
			}
			for _, why := range h.Unmanaged() {
				fmt.Fprintln(cmd.ErrOrStderr(), "lodad:", plain(why))
			}
			return errors.Join(failed, err)
		},
	}
	f.bind(cmd)
	return cmd
}

// live is a plan for the controllers of this machine.
type live struct {
	*host.Host
	facts *hw.Facts
	plan  *raid.Plan
	// commands of each step; nil where they are not known before an earlier step is done.
	commands [][][]string
}

// planLive reads this machine and plans. The caller closes it.
func (f *raidFlags) planLive(ctx context.Context, errw io.Writer, layout *raid.Layout) (_ *live, err error) {
	h, facts, err := f.open(ctx, errw)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	inventories, failed := h.Read(ctx)
	if failed != nil {
		fmt.Fprintln(errw, "lodad:", plainLines(failed.Error()))
	}
	for _, why := range h.Unmanaged() {
		fmt.Fprintln(errw, "lodad:", plain(why))
	}
	plan, err := raid.NewPlan(inventories, layout, h.Unread()...)
	if err != nil {
		return nil, err
	}
	l := &live{Host: h, facts: facts, plan: plan}
	for _, s := range plan.Steps {
		i := slices.IndexFunc(inventories, func(inv *raid.Inventory) bool { return inv.Controller.ID == s.Controller })
		commands, err := h.Driver().Commands(inventories[i], s)
		if err != nil {
			commands = nil // it needs what an earlier step makes
		}
		l.commands = append(l.commands, commands)
	}
	return l, nil
}

// planDocument is a plan as JSON: with what runs for each step, and the name that raid apply wants.
type planDocument struct {
	Digest string `json:"digest"`
	*raid.Plan
	Commands [][][]string `json:"commands,omitempty"`
}

func raidApply(g *globals) *cobra.Command {
	var f raidFlags
	var layoutFile, digest string
	var allow []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "apply --layout FILE",
		Short: "Bring the controllers of this machine to a RAID layout",
		Long: `Bring the controllers of this machine to a RAID layout: read them, plan, do one step
after the other, and read again after each. A second run does nothing. It may be
stopped or lose power at any time; run it again.

Nothing is destroyed unless the layout (allow:) or --allow names it: destroy,
foreign, degraded, preserved-cache. Such a plan is done only if you type the
machine's serial number, or name it by the digest that "raid plan" has printed.
What is mounted is never touched.

A change of a controller's mode may need a reboot; then the exit status is 0 and the
message says so: run it again afterwards. With -o json each event is a line; the last
has the kind "again" where a second run has something to do.`,
		Example: `  lodad raid apply --layout layout.yaml --dry-run
  lodad raid apply --layout layout.yaml --allow destroy
  lodad raid apply --layout layout.yaml --allow destroy --plan 3f2a90c1d2e4 -o json`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			if layoutFile == "" {
				return usageError{errors.New("lodad raid apply: --layout FILE is needed")}
			}
			layout, err := readLayout(layoutFile)
			if err != nil {
				return err
			}
			for _, a := range allow {
				layout.Allow = append(layout.Allow, raid.Permission(a))
			}
			layout.Allow = slices.Compact(slices.Sorted(slices.Values(layout.Allow)))
			if err := layout.Validate(); err != nil {
				return fmt.Errorf("%s: %w", layoutFile, err)
			}
			// A step that is being done is finished, and none begun, also when the terminal goes away, or whoever reads what
			// this prints. A second signal ends the command; the step goes on, in the driver's process.
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
			defer stop()
			context.AfterFunc(ctx, stop)
			ctx, unread := signal.NotifyContext(ctx, syscall.SIGPIPE)
			defer unread()
			l, err := f.planLive(ctx, cmd.ErrOrStderr(), layout)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, l.Close()) }()
			if g.output != "json" || dryRun {
				if err := l.show(cmd.OutOrStdout(), g); err != nil {
					return err
				}
			}
			if dryRun || l.plan.Empty() {
				return nil
			}
			guard, err := l.guard(ctx, cmd, layout.Allow, digest)
			if err != nil {
				return err
			}
			observe := func(e raid.Event) { showStep(cmd.ErrOrStderr(), e) }
			if g.output == "json" {
				observe = func(e raid.Event) { _ = writeJSONLine(cmd.OutOrStdout(), e) }
			}
			err = raid.Apply(ctx, l.Driver(), l.plan, guard, observe)
			next := ""
			if reboot, ok := errors.AsType[*raid.RebootError](err); ok {
				next, err = reboot.Error()+"; then run this again", nil
			} else if err == nil && l.plan.Continues {
				next = "more is to be done, which shows only now: run this again"
			}
			if cause := context.Cause(ctx); err != nil && cause != nil && !errors.Is(err, cause) {
				err = fmt.Errorf("stopped: %w: %w", cause, err)
			}
			if next == "" {
				return err
			}
			fmt.Fprintln(cmd.ErrOrStderr(), "lodad:", plainLines(next))
			if g.output == "json" {
				return writeJSONLine(cmd.OutOrStdout(), again{"again", next})
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&layoutFile, "layout", "", "the layout, as YAML")
	cmd.Flags().StringSliceVar(&allow, "allow", nil, "what may be lost: destroy, foreign, degraded, preserved-cache")
	cmd.Flags().StringVar(&digest, "plan", "", "do the plan with this `digest`, of which 12 digits are enough, without asking")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "print the plan with its exact commands, and do nothing")
	f.bind(cmd)
	return cmd
}

// again is the last line of JSON where a second run has something to do.
type again struct {
	Kind string `json:"kind"`
	Text string `json:"text"`
}

func (l *live) show(w io.Writer, g *globals) error {
	if g.output == "json" {
		return writeJSON(w, planDocument{l.plan.Digest(), l.plan, l.commands})
	}
	if err := showPlan(w, l.plan, l.commands); err != nil {
		return err
	}
	if len(l.plan.Steps) > 0 {
		fmt.Fprintln(w, "plan", l.plan.Digest())
	}
	return nil
}

// guard asks for what the plan needs.
func (l *live) guard(ctx context.Context, cmd *cobra.Command, allow []raid.Permission, digest string) (raid.Guard, error) {
	serial := strings.TrimSpace(l.facts.System.Serial)
	guard := raid.Guard{Machine: serial, InUse: func(context.Context) ([]raid.Use, error) { return raid.ReadInUse(os.DirFS("/")) }}
	have := l.plan.Digest()
	if digest != "" && (len(digest) < 12 || !strings.HasPrefix(have, digest)) {
		return guard, fmt.Errorf("the plan is %s now, not %s: look at it with `lodad raid plan`", have, plain(digest))
	}
	needs := l.plan.Needs()
	if len(needs) == 0 {
		return guard, nil
	}
	missing := slices.DeleteFunc(slices.Clone(needs), func(p raid.Permission) bool { return slices.Contains(allow, p) })
	if len(missing) > 0 {
		return guard, fmt.Errorf("the plan needs permission for what is marked above: --allow %s", permissionFlag(needs))
	}
	if serial == "" {
		return guard, errors.New("this machine has no serial number, so a plan that destroys cannot be bound to it; run as root")
	}
	if digest == "" {
		in, ok := cmd.InOrStdin().(*os.File)
		if !ok || !isTerminal(in) {
			return guard, fmt.Errorf("the plan destroys, and nobody is there to ask: look at it, and name it: --plan %.12s", have)
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "this destroys what is listed above; type the machine's serial number, %s, to go on: ", plain(serial))
		typed, err := typedLine(ctx, in)
		if err != nil || !strings.EqualFold(strings.TrimSpace(typed), serial) {
			return guard, errors.New("that is not this machine's serial number: nothing was done")
		}
	}
	guard.Approval = &raid.Approval{Machine: serial, Plan: have, Allow: needs}
	return guard, nil
}

// typedLine reads a line from a terminal, which hands it over when it is complete. When ctx ends, as by ^C, it returns.
func typedLine(ctx context.Context, terminal *os.File) (string, error) {
	for {
		ready := []unix.PollFd{{Fd: int32(terminal.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(ready, 100)
		switch {
		case ctx.Err() != nil:
			return "", context.Cause(ctx)
		case err != nil && !errors.Is(err, unix.EINTR):
			return "", err
		case n > 0:
			return bufio.NewReader(io.LimitReader(terminal, 1024)).ReadString('\n')
		}
	}
}

func permissionFlag(list []raid.Permission) string {
	words := make([]string, len(list))
	for i, p := range list {
		words[i] = string(p)
	}
	return strings.Join(words, ",")
}

func showStep(w io.Writer, e raid.Event) {
	at := fmt.Sprintf("%d of %d, %s", e.Index+1, e.Of, e.Step.Summary())
	switch e.Kind {
	case raid.StepStarted:
		fmt.Fprintln(w, plain(at))
	case raid.StepProgress:
		if p := e.Progress; p != nil {
			fmt.Fprintln(w, "  "+plain(fmt.Sprintf("%s: %.0f %%", p.What, 100*p.Fraction)))
		}
	case raid.StepDone, raid.StepSkipped, raid.StepFailed:
		fmt.Fprintln(w, "  "+plain(string(e.Kind)+": "+e.Text))
	}
}

// raidDriver is the plugin: the drivers are in this executable.
func raidDriver() *cobra.Command {
	return &cobra.Command{
		Use:                drivers.Command + " NAME",
		Short:              "Be a RAID driver, for a program that starts it as a plugin",
		Hidden:             true,
		DisableFlagParsing: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if status := drivers.Main(args, cmd.ErrOrStderr()); status != 0 {
				return errSilent
			}
			return nil
		},
	}
}
