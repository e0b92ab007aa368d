package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/strictyaml"
	"github.com/project-loda/loda/raid"
	"github.com/project-loda/loda/raid/drivers"
)

func raidCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "raid", Short: "Look at RAID controllers, try layouts out, and make them"}
	cmd.AddCommand(raidShow(g), raidPlan(g), raidApply(g), raidParse(g))
	return cmd
}

func raidParse(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "parse TOOL FILE...",
		Short: "Print as one neutral inventory what a RAID tool has printed on some machine",
		Long: `Print as one neutral inventory what a RAID tool has printed on some machine: its
controllers, drives and volumes. The files are outputs of several commands of one
machine, one file for each or several in one; a directory stands for all files in
it. Prompts and command lines between them, colours, and what Windows makes of
text do no harm. Nothing is run.

TOOL is one of ` + strings.Join(drivers.Names(), ", ") + `.

If a controller of yours is read wrongly, the outputs and what is wrong are all
that is needed to correct it.`,
		Example: `  storcli64 /call show all J nolog > show.json; storcli64 /call/vall show all J nolog > volumes.json
  lodad raid parse storcli show.json volumes.json
  lodad raid parse ssacli captured/ -o json > inventory.json`,
		Args: atLeast(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !slices.Contains(drivers.Names(), strings.ToLower(args[0])) {
				return usageError{fmt.Errorf("lodad raid parse: there is no parser for %q; want %s", args[0], strings.Join(drivers.Names(), ", "))}
			}
			files, outputs, err := readOutputs(args[1:])
			if err != nil {
				return err
			}
			parse := func(outputs ...[]byte) ([]*raid.Inventory, error) { return drivers.Parse(args[0], outputs...) }
			inventories, err := parse(outputs...)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], inFiles(parse, files, outputs, err))
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), append([]*raid.Inventory{}, inventories...))
			}
			return showInventories(cmd.OutOrStdout(), inventories)
		},
	}
}

// maxOutput bounds one captured output.
const maxOutput = 32 << 20

// inFiles tells in which file it is that all of them together cannot be read.
func inFiles(parse func(...[]byte) ([]*raid.Inventory, error), files []string, outputs [][]byte, all error) error {
	if len(files) == 1 {
		return fmt.Errorf("%s: %w", files[0], all)
	}
	var rest [][]byte
	var alone error
	bad := ""
	for i, output := range outputs {
		if _, err := parse(output); err != nil && bad == "" {
			bad, alone = files[i], err
			continue
		}
		rest = append(rest, output)
	}
	if bad == "" {
		return all
	}
	if _, err := parse(rest...); err == nil {
		return fmt.Errorf("%s: %w; the others can be read without it", bad, alone)
	}
	return fmt.Errorf("%s: %w", bad, alone)
}

// readOutputs reads files, and those in directories. Commands that printed nothing have nothing to tell, if others
// have.
func readOutputs(names []string) (paths []string, outputs [][]byte, err error) {
	empty := ""
	for _, name := range names {
		info, err := os.Stat(name)
		if err != nil {
			return nil, nil, err
		}
		files := []string{name}
		if info.IsDir() {
			entries, err := os.ReadDir(name)
			if err != nil {
				return nil, nil, err
			}
			files = nil
			for _, e := range entries {
				if e.Type().IsRegular() {
					files = append(files, filepath.Join(name, e.Name()))
				}
			}
		}
		for _, file := range files {
			text, err := readBounded(file, maxOutput)
			if err != nil {
				return nil, nil, err
			}
			if len(bytes.TrimSpace(text)) == 0 {
				empty = file
				continue
			}
			paths, outputs = append(paths, file), append(outputs, text)
		}
	}
	switch {
	case len(outputs) == 0 && empty != "":
		return nil, nil, fmt.Errorf("%s is empty; want what the tool printed", empty)
	case len(outputs) == 0:
		return nil, nil, errors.New("there is no file in " + strings.Join(names, ", "))
	}
	return paths, outputs, nil
}

func readBounded(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s is larger than %s", name, hw.Size(most))
	}
	return text, err
}

func showInventories(w io.Writer, inventories []*raid.Inventory) error {
	if len(inventories) == 0 {
		_, err := fmt.Fprintln(w, "no controller")
		return err
	}
	for i, inv := range inventories {
		if i > 0 {
			fmt.Fprintln(w)
		}
		c := inv.Controller
		head := strings.TrimSpace(c.Vendor + " " + strings.TrimPrefix(c.Model, c.Vendor+" "))
		fmt.Fprintf(w, "controller %s: %s, serial %s, firmware %s, mode %s\n", plain(dash(string(c.ID))), plain(dash(head)), plain(dash(c.Serial)),
			plain(dash(c.Firmware)), plain(dash(string(c.Mode))))
		var rows [][]string
		for _, d := range inv.Disks {
			rows = append(rows, []string{dash(d.Location), driveState(d), inexact(d.Bytes, d.Rounded),
				dash(string(d.Medium)), dash(string(d.Bus)), dash(d.Model), dash(d.Serial)})
		}
		if err := table(w, []string{"DRIVE", "STATE", "SIZE", "MEDIUM", "BUS", "MODEL", "SERIAL"}, rows); err != nil {
			return err
		}
		rows = nil
		for _, v := range inv.Volumes {
			rows = append(rows, []string{string(v.ID), dash(v.Name), v.Level.String(), v.State.String(), inexact(v.Bytes, v.Rounded),
				fmt.Sprint(len(v.Members)), dash(v.WWN)})
		}
		if err := table(w, []string{"VOLUME", "NAME", "LEVEL", "STATE", "SIZE", "DRIVES", "WWN"}, rows); err != nil {
			return err
		}
		for _, warning := range inv.Warnings {
			fmt.Fprintln(w, "warning:", plain(warning))
		}
	}
	return nil
}

func driveState(d raid.PhysicalDisk) string {
	s := d.State.String()
	if d.Foreign {
		s += ", foreign"
	}
	if d.SMARTAlert != nil && *d.SMARTAlert {
		s += ", failing"
	}
	return s
}

// inexact is a size, to three digits where the tool told no more.
func inexact(bytes int64, rounded bool) string {
	if !rounded {
		return hw.Size(bytes).String()
	}
	value, unit := float64(bytes), "B"
	for _, larger := range []string{"kB", "MB", "GB", "TB", "PB"} {
		if value < 999.5 { // or %.3g makes it 1e+03
			break
		}
		value, unit = value/1000, larger
	}
	return fmt.Sprintf("about %.3g %s", value, unit)
}

func raidPlan(g *globals) *cobra.Command {
	var f raidFlags
	var layoutFile string
	cmd := &cobra.Command{
		Use:   "plan [INVENTORY...] --layout FILE",
		Short: "Show what a RAID layout would change on this machine, or on one that is not here",
		Long: `Show what a RAID layout would change, step by step: the reason, what is lost, and,
on this machine, the exact commands. The layout is YAML, as under raid in a
profile. Nothing is changed.

INVENTORY is what "lodad raid parse -o json" or "lodad raid show -o json" has printed
on another machine. Without one, the controllers of this machine are read.

The exit status is 1 if the layout is not possible there; then the message says
which drives were considered, and why each does not fit.`,
		Example: `  lodad raid plan --layout layout.yaml
  lodad raid parse perccli captured/ -o json > r740.json
  lodad raid plan r740.json --layout layout.yaml`,
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if layoutFile == "" {
				return usageError{errors.New("lodad raid plan: --layout FILE is needed")}
			}
			layout, err := readLayout(layoutFile)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				l, err := f.planLive(cmd.Context(), cmd.ErrOrStderr(), layout)
				if err != nil {
					return err
				}
				return errors.Join(l.show(cmd.OutOrStdout(), g), l.Close())
			}
			var inventories []*raid.Inventory
			for _, name := range args {
				text, err := readBounded(name, maxOutput)
				if err != nil {
					return err
				}
				var some []*raid.Inventory
				if err := json.Unmarshal(text, &some); err != nil {
					return fmt.Errorf("%s: %w; want what `lodad raid parse -o json` prints", name, err)
				}
				inventories = append(inventories, some...)
			}
			plan, err := raid.NewPlan(inventories, layout)
			if err != nil {
				return err
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), planDocument{Digest: plan.Digest(), Plan: plan})
			}
			return showPlan(cmd.OutOrStdout(), plan, nil)
		},
	}
	cmd.Flags().StringVar(&layoutFile, "layout", "", "the layout, as YAML")
	f.bind(cmd)
	return cmd
}

func readLayout(path string) (*raid.Layout, error) {
	text, err := readBounded(path, strictyaml.MaxSize)
	if err != nil {
		return nil, err
	}
	layout := &raid.Layout{}
	return layout, strictyaml.Err(strictyaml.Decode(path, text, layout))
}

// showPlan prints a plan, with the commands of each step where they are known.
func showPlan(w io.Writer, p *raid.Plan, commands [][][]string) error {
	if p.Empty() {
		fmt.Fprintln(w, "nothing to do: the machine is as the layout wants it")
	}
	for i, s := range p.Steps {
		fmt.Fprintf(w, "%d. %s on controller %s: %s\n", i+1, s.Kind, plain(string(s.Controller)), plain(s.Reason))
		for _, d := range s.Destroys {
			fmt.Fprintf(w, "     destroys %s\n", plain(d))
		}
		for _, n := range s.Needs {
			fmt.Fprintf(w, "     needs permission: %s\n", n)
		}
		if i >= len(commands) {
			continue
		}
		for _, argv := range commands[i] {
			fmt.Fprintf(w, "     $ %s\n", plain(shellWords(argv)))
		}
		if commands[i] == nil {
			fmt.Fprintln(w, "     its commands are known when the steps before it are done")
		}
	}
	for _, why := range p.Reboot {
		fmt.Fprintf(w, "then a reboot: %s\n", plain(why))
	}
	if p.Continues {
		fmt.Fprintln(w, "more follows, which shows only when this is done")
	}
	for _, note := range p.Notes {
		fmt.Fprintf(w, "note: %s\n", plain(note))
	}
	return nil
}

// shellWords is an argument list as one would type it.
func shellWords(argv []string) string {
	words := make([]string, len(argv))
	for i, a := range argv {
		if words[i] = a; a == "" || strings.ContainsAny(a, " \t\n'\"\\$`*?[]{}()<>|&;#~!") {
			words[i] = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
