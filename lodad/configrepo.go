package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/pmezard/go-difflib/difflib"
	"github.com/spf13/cobra"

	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/api"
	"github.com/project-loda/loda/loda/configrepo"
	"github.com/project-loda/loda/loda/gitsource"
	"github.com/project-loda/loda/loda/strictyaml"
)

// loadRepo reads a config repository in a directory, and nothing outside of it.
func loadRepo(dir string) (*configrepo.Repo, []strictyaml.Error, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, nil, err
	}
	defer root.Close()
	repo, errs := configrepo.Load(root.FS())
	// What a site refuses to fetch is found before it is pushed.
	var problem gitsource.Problem
	for _, err := range unjoin(gitsource.Inspect(root.FS(), gitsource.Limits{})) {
		if !errors.As(err, &problem) {
			return nil, nil, err
		}
		if !slices.ContainsFunc(errs, func(e strictyaml.Error) bool { return e.File == problem.Path }) {
			errs = append(errs, strictyaml.Error{File: problem.Path, Message: problem.Text})
		}
	}
	return repo, strictyaml.Sort(errs), nil
}

// unjoin takes errors that were joined apart.
func unjoin(err error) []error {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return joined.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// loadGoodRepo is loadRepo for a command that needs it free of mistakes.
func loadGoodRepo(dir string) (*configrepo.Repo, error) {
	repo, errs, err := loadRepo(dir)
	if err == nil && len(errs) > 0 {
		err = fmt.Errorf("%s has %d mistakes, the first is %w; `lodad config check %s` lists them", dir, len(errs), errs[0], dir)
	}
	return repo, err
}

func dirArg(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

func configCheck(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "check [DIR]",
		Short: "Check a config repository: profiles, operating systems, templates, scripts",
		Long: `Check a config repository in DIR (by default where you stand): every file, and
whether they fit together. Nothing is asked over the network, so that it can run
before each merge. All mistakes are shown at once, each as FILE:LINE:COLUMN and
what was expected. The exit status is 1 if there is one; warnings do not count.`,
		Example: `  lodad config check
  lodad config check examples/config-repo -o json`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			repo, errs, err := loadRepo(dirArg(args))
			if err != nil {
				return err
			}
			result := struct {
				Profiles int                `json:"profiles"`
				Errors   []strictyaml.Error `json:"errors"`
				Warnings []strictyaml.Error `json:"warnings"`
			}{Errors: append([]strictyaml.Error{}, errs...), Warnings: []strictyaml.Error{}}
			if repo != nil {
				result.Profiles = len(repo.Profiles())
				result.Warnings = append(result.Warnings, repo.Warnings()...)
			}
			out := cmd.OutOrStdout()
			if g.output == "json" {
				if err := writeJSON(out, result); err != nil {
					return err
				}
			} else {
				for _, w := range result.Warnings {
					fmt.Fprintf(out, "warning: %s\n", plain(w.Error()))
				}
				for _, e := range errs {
					fmt.Fprintln(out, plain(e.Error()))
				}
				if len(errs) == 0 {
					fmt.Fprintf(out, "fine: %d profiles\n", result.Profiles)
				} else {
					fmt.Fprintf(out, "%d mistakes\n", len(errs))
				}
			}
			if len(errs) > 0 {
				return errSilent
			}
			return nil
		},
	}
}

// renderFlags say for which machine, and from what.
type renderFlags struct {
	machine, facts, profile, site, revision, file string
}

func configRender(g *globals) *cobra.Command {
	var f renderFlags
	cmd := &cobra.Command{
		Use:   "render [DIR]",
		Short: "Show exactly what a machine would get",
		Long: `Show exactly what a machine would get: the plan, the iPXE scripts, the answer
files, the steps with their scripts, and the commit.

With --machine alone, the lodad renders it from the commit that it uses. With DIR,
the config repository there is rendered here, for a machine of the site or for
the facts that hw detect has printed. What only the boot or the site knows, such
as tokens and secrets, stands as @@loda.NAME@@.`,
		Example: `  lodad config render --machine CZ20190A01
  lodad config render . --machine CZ20190A01 --file answers/preseed.cfg
  lodad config render . --facts facts.json --site fra -o json`,
		Args: atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.facts != "" && len(args) == 0 {
				args = []string{"."}
			}
			switch {
			case (f.machine == "") == (f.facts == ""):
				return usageError{errors.New("lodad config render: want --machine SERIAL or --facts FILE")}
			case len(args) == 0 && (f.profile != "" || f.site != ""):
				return usageError{errors.New("lodad config render: --profile and --site need DIR")}
			case len(args) > 0 && f.revision != "":
				return usageError{errors.New("lodad config render: --revision goes with --machine alone; " +
					"check the commit out instead")}
			}
			r, err := f.render(cmd, g, args)
			if err != nil {
				return err
			}
			return showRendering(cmd.OutOrStdout(), g.output, f.file, r)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&f.machine, "machine", "", "serial number of a machine of the site")
	fs.StringVar(&f.facts, "facts", "", "a facts document (lodad hw detect); - is standard input")
	fs.StringVar(&f.profile, "profile", "", "a profile by its name, instead of the one that matches")
	fs.StringVar(&f.site, "site", "", "name of the site whose variables are used; empty: that of the lodad, or default")
	fs.StringVar(&f.revision, "revision", "", "commit to render from, with --machine alone; empty: the one in use")
	fs.StringVar(&f.file, "file", "", "print this file alone, such as answers/preseed.cfg")
	return cmd
}

func (f *renderFlags) render(cmd *cobra.Command, g *globals, args []string) (*loda.Rendering, error) {
	subject := configrepo.Subject{Site: f.site, Profile: f.profile}
	if f.facts != "" {
		facts, err := readFacts(f.facts, cmd.InOrStdin())
		if err != nil {
			return nil, err
		}
		m, err := machineOf(facts)
		if err != nil {
			return nil, fmt.Errorf("facts %s: %w", f.facts, err)
		}
		subject.Machine, subject.Facts = m, facts
	} else {
		c, err := g.client()
		if err != nil {
			return nil, err
		}
		if len(args) == 0 {
			r, err := c.Render(cmd.Context(), f.machine, f.revision)
			return &r, err
		}
		m, facts, err := factsOf(cmd.Context(), c, f.machine)
		if err != nil {
			return nil, err
		}
		subject.Machine, subject.Facts = &m.Machine, facts
		if subject.Profile == "" {
			subject.Profile = m.Profile
		}
		if subject.Site == "" {
			site, err := c.Site(cmd.Context())
			if err != nil {
				return nil, err
			}
			subject.Site = site.Site
		}
	}
	if subject.Site == "" {
		subject.Site = "default"
	}
	repo, err := loadGoodRepo(args[0])
	if err != nil {
		return nil, err
	}
	return renderSubject(repo, subject)
}

func renderSubject(repo *configrepo.Repo, s configrepo.Subject) (*loda.Rendering, error) {
	p, err := repo.Render(s)
	if err != nil {
		return nil, err
	}
	return loda.NewRendering(p, s.Machine, s.Facts)
}

// machineOf makes the record of a machine that is known by its facts only.
func machineOf(facts *hw.Facts) (*inventory.Machine, error) {
	serial, err := inventory.ParseSerial(facts.System.Serial)
	if err != nil {
		return nil, err
	}
	m := &inventory.Machine{Serial: serial, Source: inventory.Imported, Vendor: facts.System.Vendor,
		Product: facts.System.Product, UUID: facts.System.UUID}
	for _, text := range facts.MACs() {
		if mac, err := inventory.ParseMAC(text); err == nil {
			m.MACs = append(m.MACs, mac)
		}
	}
	return m, nil
}

func showRendering(w io.Writer, format, file string, r *loda.Rendering) error {
	if file != "" {
		i := slices.IndexFunc(r.Files, func(f loda.RenderedFile) bool { return f.Name == file })
		if i < 0 {
			names := make([]string, len(r.Files))
			for i, f := range r.Files {
				names[i] = f.Name
			}
			return fmt.Errorf("machine %s gets no file %s; it gets %s", r.Serial, file, strings.Join(names, ", "))
		}
		text := r.Files[i].Text
		if isTerminal(w) {
			text = plainLines(text)
		}
		_, err := io.WriteString(w, text) // to the byte, for what reads it
		return err
	}
	if format == "json" {
		return writeJSON(w, r)
	}
	_, err := io.WriteString(w, plainLines(renderingText(r)))
	return err
}

// renderingText is a rendering for people, and for comparing two of them.
func renderingText(r *loda.Rendering) string {
	var b strings.Builder
	fmt.Fprintf(&b, "machine %s, profile %s\n", r.Serial, r.Profile)
	if r.Revision != "" {
		fmt.Fprintf(&b, "commit %s\n", r.Revision)
	}
	b.WriteString("\nplan\n")
	for i, step := range r.Plan {
		fmt.Fprintf(&b, "  %d. %s\n", i+1, step)
	}
	if len(r.Differences) > 0 {
		b.WriteString("\ndifferences to the model\n")
		for _, d := range r.Differences {
			fmt.Fprintf(&b, "  %-4s  %s\n", strings.ToUpper(string(d.Severity)), d.Text)
		}
	}
	for _, f := range r.Files {
		fmt.Fprintf(&b, "\n==> %s <==\n%s", f.Name, f.Text)
		if !strings.HasSuffix(f.Text, "\n") {
			b.WriteString("\n")
		}
	}
	return b.String()
}

// effect is what a change of the repository does to machines.
type effect struct {
	// Machines to which the same happens, their own names and numbers aside.
	Machines []inventory.Serial `json:"machines"`
	// Old and New are the profiles before and after; empty: it has none, or cannot be rendered.
	Old string `json:"old_profile"`
	New string `json:"new_profile"`
	// Diff is unified, and that of the first machine.
	Diff string `json:"diff,omitempty"`
	// Error says why the first machine cannot be rendered, where one of Old and New is empty.
	Error string `json:"error,omitempty"`

	key string
}

func configAffected(g *globals) *cobra.Command {
	var site string
	var brief bool
	cmd := &cobra.Command{
		Use:   "affected OLD NEW [DIR]",
		Short: "Show which machines a change of the config repository touches, and how",
		Long: `Show which machines of the inventory a change of the config repository touches,
and how what they would get differs. OLD and NEW are anything that git calls a
revision in the clone at DIR (by default where you stand). Machines whose hardware
is not known yet are left out.`,
		Example: `  lodad config affected main HEAD
  lodad config affected HEAD~1 HEAD --brief`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 || len(args) > 3 {
				return usageError{fmt.Errorf("%s: want OLD NEW [DIR]; usage: %s", cmd.CommandPath(), cmd.UseLine())}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := dirArg(args[2:])
			before, err := repoAt(dir, args[0])
			if err != nil {
				return err
			}
			after, err := repoAt(dir, args[1])
			if err != nil {
				return err
			}
			c, err := g.client()
			if err != nil {
				return err
			}
			if site == "" {
				s, err := c.Site(cmd.Context())
				if err != nil {
					return err
				}
				site = s.Site
			}
			var effects []effect
			looked, unknown := 0, 0
			err = c.AllMachines(cmd.Context(), api.MachineQuery{Source: inventory.Imported}, func(m api.Machine) error {
				whole, err := c.Machine(cmd.Context(), string(m.Serial))
				if err != nil {
					return err
				}
				if len(whole.Facts) == 0 {
					unknown++
					return nil
				}
				looked++
				facts, err := hw.Decode(whole.Facts)
				if err != nil {
					return fmt.Errorf("machine %s: %w", m.Serial, err)
				}
				effects, err = addEffect(effects, before, after, configrepo.Subject{Site: site, Machine: &whole.Machine, Facts: facts, Profile: whole.Profile})
				return err
			})
			if err != nil {
				return err
			}
			return showEffects(cmd.OutOrStdout(), g.output, brief, effects, looked, unknown)
		},
	}
	cmd.Flags().StringVar(&site, "site", "", "name of the site whose variables are used; empty: that of the lodad")
	cmd.Flags().BoolVar(&brief, "brief", false, "list the machines only")
	return cmd
}

// addEffect renders a machine before and after, and puts it with those to which the same happens.
func addEffect(effects []effect, before, after *configrepo.Repo, s configrepo.Subject) ([]effect, error) {
	old, oldErr := renderSubject(before, s)
	new, newErr := renderSubject(after, s)
	e := effect{Machines: []inventory.Serial{s.Machine.Serial}}
	switch {
	case oldErr != nil && newErr != nil:
		return effects, nil // it gets nothing, as before
	case oldErr != nil:
		e.New, e.Error = new.Profile, oldErr.Error()
	case newErr != nil:
		e.Old, e.Error = old.Profile, newErr.Error()
	default:
		old.Revision, new.Revision = "", ""
		a, b := renderingText(old), renderingText(new)
		if a == b {
			return effects, nil
		}
		var err error
		e.Old, e.New = old.Profile, new.Profile
		e.Diff, err = difflib.GetUnifiedDiffString(difflib.UnifiedDiff{A: difflib.SplitLines(a), B: difflib.SplitLines(b),
			FromFile: "before", ToFile: "after", Context: 1})
		if err != nil {
			return nil, err
		}
	}
	e.key = ownNames(s).Replace(e.Diff + e.Error)
	for i := range effects {
		if known := &effects[i]; known.Old == e.Old && known.New == e.New && known.key == e.key {
			known.Machines = append(known.Machines, s.Machine.Serial)
			return effects, nil
		}
	}
	return append(effects, e), nil
}

// ownNames replaces what a machine shares with no other, so that what happens to two of them can be compared.
func ownNames(s configrepo.Subject) *strings.Replacer {
	m := s.Machine
	names := append([]string{string(m.Serial), loda.HostnameOf(m), m.UUID}, s.Facts.MACs()...)
	if m.Address.IsValid() {
		names = append(names, m.Address.String())
	}
	for _, mac := range m.MACs {
		names = append(names, string(mac))
	}
	for _, d := range s.Facts.Disks {
		names = append(names, d.Serial, d.WWN)
	}
	// The first that fits is taken: a long one before one that it begins with.
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	var pairs []string
	for _, name := range slices.Compact(names) {
		if name != "" {
			pairs = append(pairs, name, "\x00")
		}
	}
	return strings.NewReplacer(pairs...)
}

func showEffects(w io.Writer, format string, brief bool, effects []effect, looked, unknown int) error {
	if format == "json" {
		return writeJSON(w, struct {
			Compared int      `json:"compared"`
			Unknown  int      `json:"hardware_unknown"`
			Effects  []effect `json:"effects"`
		}{looked, unknown, append([]effect{}, effects...)})
	}
	affected := 0
	for _, e := range effects {
		affected += len(e.Machines)
		names := make([]string, len(e.Machines))
		for i, s := range e.Machines {
			names[i] = string(s)
		}
		profile := dash(e.Old)
		if e.New != e.Old {
			profile += " → " + dash(e.New)
		}
		fmt.Fprintf(w, "%s: profile %s\n", plain(strings.Join(names, " ")), plain(profile))
		switch {
		case brief:
		case e.New == "":
			fmt.Fprintf(w, "cannot be rendered any more: %s\n\n", plain(e.Error))
		case e.Old == "":
			fmt.Fprintf(w, "could not be rendered before: %s\n\n", plain(e.Error))
		default:
			fmt.Fprintln(w, plainLines(e.Diff))
		}
	}
	fmt.Fprintf(w, "%d of %d machines get something else%s\n", affected, looked, leftOut(unknown))
	return nil
}

// leftOut ends a sentence about many machines.
func leftOut(unknown int) string {
	if unknown == 0 {
		return ""
	}
	return fmt.Sprintf("; %d more were left out, since their hardware is not known yet", unknown)
}

// repoAt reads the config repository of a commit, from the git clone that dir is in.
func repoAt(dir, revision string) (*configrepo.Repo, error) {
	clone, err := git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if err != nil {
		return nil, fmt.Errorf("%s: %w; want a clone of the config repository", dir, err)
	}
	hash, err := clone.ResolveRevision(plumbing.Revision(revision))
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w; does `git fetch` bring it? A shallow clone has few commits", revision, dir, err)
	}
	commit, err := clone.CommitObject(*hash)
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", revision, dir, err)
	}
	tree, err := commit.Tree()
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", revision, dir, err)
	}
	tmp, err := os.MkdirTemp("", "loda-config-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	if err := writeTree(tree, tmp); err != nil {
		return nil, fmt.Errorf("%s in %s: %w", revision, dir, err)
	}
	repo, errs, err := loadRepo(tmp)
	if err == nil && len(errs) > 0 {
		err = errs[0]
	}
	if err != nil {
		return nil, fmt.Errorf("%s in %s: %w", revision, dir, err)
	}
	return repo, nil
}

// writeTree writes a commit's files below dir.
func writeTree(tree *object.Tree, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return tree.Files().ForEach(func(f *object.File) error {
		text, err := f.Contents()
		if err != nil {
			return err
		}
		if err := root.MkdirAll(filepath.Dir(f.Name), 0o700); err != nil {
			return err
		}
		if f.Mode == filemode.Symlink {
			return root.Symlink(text, f.Name)
		}
		return root.WriteFile(f.Name, []byte(text), fs.FileMode(0o600))
	})
}
