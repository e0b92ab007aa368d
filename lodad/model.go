package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/strictyaml"
)

func modelCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Generate hardware models and hold machines against them",
		Long: `A model says what a machine must look like: CPUs, memory modules, disks,
network cards, firmware versions. Generate one from a machine that is known to
be good, edit it, and put it into a profile of the config repository. Machines
that differ are quarantined with the list of differences, before anything is
written to their disks.`,
	}
	cmd.AddCommand(modelGenerate(g), modelCompare(g))
	return cmd
}

// readFacts reads a facts document, as hw detect prints it.
func readFacts(path string, stdin io.Reader) (*hw.Facts, error) {
	var doc []byte
	var err error
	if path == "-" {
		doc, err = io.ReadAll(io.LimitReader(stdin, 16<<20))
	} else {
		doc, err = os.ReadFile(path)
	}
	if err != nil {
		return nil, fmt.Errorf("facts: %w", err)
	}
	facts, err := hw.Decode(doc)
	if err != nil {
		return nil, fmt.Errorf("facts %s: %w", path, err)
	}
	return facts, nil
}

// factsOf asks the server for a machine's hardware.
func factsOf(ctx context.Context, c *api.Client, serial string) (*api.Machine, *hw.Facts, error) {
	m, err := c.Machine(ctx, serial)
	if err != nil {
		return nil, nil, err
	}
	if len(m.Facts) == 0 {
		return nil, nil, fmt.Errorf("machine %s: its hardware is not known yet; let it netboot with an installation open", m.Serial)
	}
	facts, err := hw.Decode(m.Facts)
	if err != nil {
		return nil, nil, fmt.Errorf("machine %s: %w", m.Serial, err)
	}
	return &m, facts, nil
}

func modelGenerate(g *globals) *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use:   "generate [SERIAL]",
		Short: "Print a model made from a known-good machine, ready to be edited",
		Long: `Print a model made from a known-good machine. Serial numbers, MAC addresses and
the kernel's numbering are left out; what is there twice is counted.

The result is YAML for the model of a profile: put it into a file below models/
of the config repository, and loosen what may differ.`,
		Example: `  lodad model generate CZ20190A01 > models/dl360-gen10.yaml
  lodad hw detect | lodad model generate --facts -`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var facts *hw.Facts
			var err error
			switch {
			case (len(args) == 1) == (file != ""):
				return usageError{errors.New("lodad model generate: want the serial number of a machine, or --facts FILE")}
			case file != "":
				facts, err = readFacts(file, cmd.InOrStdin())
			default:
				var c *api.Client
				if c, err = g.client(); err == nil {
					_, facts, err = factsOf(cmd.Context(), c, args[0])
				}
			}
			if err != nil {
				return err
			}
			model := hw.Generate(facts)
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), model)
			}
			text, err := yaml.MarshalWithOptions(model, yaml.IndentSequence(true))
			if err != nil {
				return err
			}
			for _, note := range hw.GenerateNotes(facts) {
				fmt.Fprintf(cmd.OutOrStdout(), "# %s\n", plain(note))
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), plainLines(string(text)))
			return err
		},
	}
	cmd.Flags().StringVar(&file, "facts", "", "a facts document (lodad hw detect) instead of a machine of the site; - is standard input")
	return cmd
}

// comparison is the result for one machine.
type comparison struct {
	Machine     string          `json:"machine"`
	Profile     string          `json:"profile,omitempty"`
	Revision    string          `json:"revision,omitempty"`
	Differences []hw.Difference `json:"differences"`
	Error       string          `json:"error,omitempty"`
}

func (c *comparison) fails() bool {
	if c.Error != "" {
		return true
	}
	for _, d := range c.Differences {
		if d.Severity == hw.Fail {
			return true
		}
	}
	return false
}

func modelCompare(g *globals) *cobra.Command {
	var file, modelFile, rack, profile string
	var all bool
	cmd := &cobra.Command{
		Use:   "compare [SERIAL...]",
		Short: "Show how machines differ from a model",
		Long: `Show how machines differ from a model: from the file given with --model, or else
from that of the profile that they would get now.

Several machines are compared one after the other; --all, --rack and --profile
select those whose hardware is known. The exit status is 1 if a machine differs
in a way that would put it into quarantine.`,
		Example: `  lodad model compare CZ20190A01
  lodad model compare --rack r1 -o json
  lodad model compare --facts facts.json --model models/dl360-gen10.yaml`,
		RunE: func(cmd *cobra.Command, args []string) error {
			var model *hw.Model
			if modelFile != "" {
				var err error
				if model, err = readModel(modelFile); err != nil {
					return err
				}
			}
			results, unknown := []comparison{}, 0
			switch selects := all || rack != "" || profile != ""; {
			case file != "" && (len(args) > 0 || selects), len(args) > 0 && selects, file == "" && len(args) == 0 && !selects:
				return usageError{errors.New("lodad model compare: want serial numbers, or --facts FILE, or one of --all, --rack, --profile")}
			case file != "":
				if model == nil {
					return usageError{errors.New("lodad model compare: --facts needs --model")}
				}
				facts, err := readFacts(file, cmd.InOrStdin())
				if err != nil {
					return err
				}
				results = append(results, comparison{Machine: facts.System.Serial,
					Differences: append([]hw.Difference{}, model.Compare(facts)...)})
			default:
				c, err := g.client()
				if err != nil {
					return err
				}
				if selects {
					err = c.AllMachines(cmd.Context(), api.MachineQuery{Rack: rack, Profile: profile}, func(m api.Machine) error {
						args = append(args, string(m.Serial))
						return nil
					})
					if err != nil {
						return err
					}
				}
				for _, serial := range args {
					result := compareOne(cmd.Context(), c, serial, model)
					if selects && result.Error != "" {
						if m, err := c.Machine(cmd.Context(), serial); err == nil && len(m.Facts) == 0 {
							unknown++
							continue
						}
					}
					results = append(results, result)
				}
			}
			return showComparisons(cmd.OutOrStdout(), g.output, results, unknown)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "facts", "", "a facts document (lodad hw detect) instead of machines of the site; - is standard input")
	f.StringVar(&modelFile, "model", "", "a model as YAML, instead of that of the machine's profile")
	f.BoolVar(&all, "all", false, "all machines of the site")
	f.StringVar(&rack, "rack", "", "the machines of a rack")
	f.StringVar(&profile, "profile", "", "the machines that name a profile")
	return cmd
}

func readModel(path string) (*hw.Model, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("model: %w", err)
	}
	model := &hw.Model{}
	if err := strictyaml.Err(strictyaml.Decode(path, text, model)); err != nil {
		return nil, err
	}
	return model, nil
}

func compareOne(ctx context.Context, c *api.Client, serial string, model *hw.Model) comparison {
	result := comparison{Machine: serial, Differences: []hw.Difference{}}
	if model == nil {
		r, err := c.Render(ctx, serial, "")
		if err != nil {
			result.Error = err.Error()
			return result
		}
		result.Profile, result.Revision, result.Differences = r.Profile, r.Revision, r.Differences
		return result
	}
	_, facts, err := factsOf(ctx, c, serial)
	if err != nil {
		result.Error = err.Error()
		return result
	}
	result.Differences = append(result.Differences, model.Compare(facts)...)
	return result
}

func showComparisons(w io.Writer, format string, results []comparison, unknown int) error {
	bad := 0
	for i := range results {
		if results[i].fails() {
			bad++
		}
	}
	if format == "json" {
		if err := writeJSON(w, results); err != nil {
			return err
		}
	} else {
		for _, r := range results {
			head := dash(r.Machine)
			if r.Profile != "" {
				head += ", profile " + r.Profile
			}
			switch {
			case r.Error != "":
				fmt.Fprintf(w, "%s: %s\n", plain(head), plain(r.Error))
			case len(r.Differences) == 0:
				fmt.Fprintf(w, "%s: equals its model\n", plain(head))
			default:
				fmt.Fprintf(w, "%s: %d differences\n", plain(head), len(r.Differences))
			}
			for _, d := range r.Differences {
				fmt.Fprintf(w, "  %-4s  %s\n", strings.ToUpper(string(d.Severity)), plain(d.Text))
			}
		}
		if len(results) != 1 || unknown > 0 {
			fmt.Fprintf(w, "%d machines, %d of them would be quarantined%s\n", len(results), bad, leftOut(unknown))
		}
	}
	if bad > 0 {
		return errSilent
	}
	return nil
}
