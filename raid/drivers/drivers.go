// Package drivers are the RAID drivers of this tree by name, and the main of the one executable that holds them all.
//
//	lodad raid-driver storcli --tool /opt/MegaRAID/storcli/storcli64
//
// is a plugin, and so is the agent in the RAM disk. Package host starts one process for each driver that a machine needs.
package drivers

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/arcconf"
	"github.com/project-loda/loda/raid/command"
	"github.com/project-loda/loda/raid/mdadm"
	"github.com/project-loda/loda/raid/megacli"
	"github.com/project-loda/loda/raid/mvcli"
	"github.com/project-loda/loda/raid/nvmens"
	"github.com/project-loda/loda/raid/plugin"
	"github.com/project-loda/loda/raid/sasircu"
	"github.com/project-loda/loda/raid/ssacli"
	"github.com/project-loda/loda/raid/storcli"
)

// Command is the argument by which an executable that holds the drivers is told to be one.
const Command = "raid-driver"

// Config is what a driver needs.
type Config struct {
	// Run runs the tool.
	Run raid.Runner
	// Tool is the program, by name or path.
	Tool string
	// PCI are the addresses of the machine's controllers that are for this driver, such as 0000:18:00.0.
	PCI []string
	// Assemble brings the kernel's arrays up when they are looked for; see mdadm.WithAssembly.
	Assemble bool
}

// family is a driver, with the parser of its tool's outputs.
type family struct {
	open  func(Config) raid.Driver
	parse func(outputs ...[]byte) ([]*raid.Inventory, error)
}

// families are by the name of the tool.
var families = func() map[raid.Tool]family {
	all := map[raid.Tool]family{
		raid.Megacli: {func(c Config) raid.Driver { return megacli.New(c.Run, c.Tool) }, megacli.Parse},
		raid.Ssacli:  {func(c Config) raid.Driver { return ssacli.New(c.Run, c.Tool, c.PCI...) }, ssacli.Parse},
		raid.Arcconf: {func(c Config) raid.Driver { return arcconf.New(c.Run, c.Tool, c.PCI...) }, arcconf.Parse},
		raid.Mdadm:   {openMdadm, single(mdadm.Parse)},
		raid.Nvme:    {func(c Config) raid.Driver { return nvmens.New(c.Run, c.Tool) }, nvmens.ParseAll},
	}
	for _, t := range []raid.Tool{raid.Storcli, raid.Storcli2, raid.Perccli, raid.Perccli2} {
		all[t] = family{func(c Config) raid.Driver { return storcli.New(c.Run, c.Tool) }, storcli.Parse}
	}
	for _, t := range []raid.Tool{raid.Mvcli, raid.Mnvcli} {
		all[t] = family{openMvcli, single(mvcli.Parse)}
	}
	for _, t := range []raid.Tool{raid.Sas2ircu, raid.Sas3ircu} {
		all[t] = family{func(c Config) raid.Driver { return sasircu.New(c.Run, c.Tool) }, sasircu.ParseAll}
	}
	return all
}()

func openMdadm(c Config) raid.Driver {
	var options []mdadm.Option
	if c.Assemble {
		options = append(options, mdadm.WithAssembly())
	}
	return mdadm.New(c.Run, c.Tool, func(ctx context.Context) ([]hw.Disk, error) {
		facts, err := hw.Detect(ctx)
		if err != nil {
			return nil, err
		}
		return facts.Disks, nil
	}, options...)
}

func openMvcli(c Config) raid.Driver {
	cards := make([]raid.ControllerID, len(c.PCI))
	for i, address := range c.PCI {
		cards[i] = raid.ControllerID(address)
	}
	return mvcli.New(c.Run, c.Tool, cards...)
}

func single(parse func(...[]byte) (*raid.Inventory, error)) func(...[]byte) ([]*raid.Inventory, error) {
	return func(outputs ...[]byte) ([]*raid.Inventory, error) {
		inv, err := parse(outputs...)
		if err != nil || inv == nil {
			return nil, err
		}
		return []*raid.Inventory{inv}, nil
	}
}

// older are names that a tool had before.
var older = map[string]raid.Tool{"hpssacli": raid.Ssacli, "hpacucli": raid.Ssacli, "mnv_cli": raid.Mnvcli, "nvmens": raid.Nvme}

// Tool is the tool that has a name of [Names] now; false: there is none.
func Tool(name string) (raid.Tool, bool) {
	name = strings.ToLower(name)
	tool, ok := older[name]
	if !ok {
		tool = raid.Tool(name)
	}
	_, ok = families[tool]
	return tool, ok
}

func find(name string) (family, error) {
	tool, ok := Tool(name)
	f := families[tool]
	if !ok {
		return family{}, fmt.Errorf("there is no driver for %q; want %s", name, strings.Join(Names(), ", "))
	}
	return f, nil
}

// Names are the names of the tools that there are drivers for, sorted, with the older names of some.
func Names() []string {
	names := slices.Collect(maps.Keys(older))
	for t := range families {
		names = append(names, string(t))
	}
	slices.Sort(names)
	return names
}

// New makes the driver for a tool. It runs nothing yet.
func New(name string, c Config) (raid.Driver, error) {
	f, err := find(name)
	if err != nil {
		return nil, err
	}
	if c.Run == nil || c.Tool == "" {
		return nil, errors.New("RAID driver " + name + ": it needs a tool, and something that runs it")
	}
	return f.open(c), nil
}

// Parse reads what a tool printed on some machine, in whatever order the outputs of its commands come.
func Parse(name string, outputs ...[]byte) ([]*raid.Inventory, error) {
	f, err := find(name)
	if err != nil {
		return nil, err
	}
	return f.parse(outputs...)
}

// Main is the plugin: args are a driver's name and its flags. It returns the exit status, and when the driver has nothing
// left to do.
func Main(args []string, stderr io.Writer) int {
	var c Config
	flags := flag.NewFlagSet(Command, flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.StringVar(&c.Tool, "tool", "", "the maker's program, by name or path")
	flags.Func("pci", "address of a controller that it is for; may be repeated", func(s string) error {
		c.PCI = append(c.PCI, s)
		return nil
	})
	flags.BoolVar(&c.Assemble, "assemble", false, "bring the kernel's arrays up")
	var env []string
	flags.Func("env", "NAME=value for the program; may be repeated", func(s string) error {
		env = append(env, s)
		return nil
	})
	if len(args) == 0 {
		fmt.Fprintf(stderr, "%s NAME --tool PROGRAM; NAME is one of %s\n", Command, strings.Join(Names(), ", "))
		return 2
	}
	if err := flags.Parse(args[1:]); err != nil {
		return 2
	}
	c.Run = &command.Runner{Env: env}
	d, err := New(args[0], c)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 2
	}
	plugin.Serve(d)
	return 0
}
