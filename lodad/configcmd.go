package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/loda/api"
)

func configCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "The configuration of lodad, and the repository of profiles",
		Long: `Two things are called configuration. lodad.yaml says how this lodad runs: init and
verify are about it. The config repository says what becomes of machines, and a
team reviews it in git: check, render, affected, status and sync are about it.`,
	}
	var force bool
	initCmd := &cobra.Command{
		Use:     "init [FILE]",
		Short:   "Write a commented configuration (to standard output without FILE)",
		Example: "  lodad config init /etc/loda/lodad.yaml",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				_, err := fmt.Fprint(cmd.OutOrStdout(), configTemplate)
				return err
			}
			if _, err := os.Stat(args[0]); !errors.Is(err, fs.ErrNotExist) && !force {
				return fmt.Errorf("%s exists; --force replaces it", args[0])
			}
			return writeFileAtomic(args[0], []byte(configTemplate), 0o640)
		},
	}
	initCmd.Flags().BoolVar(&force, "force", false, "replace an existing file")
	verify := &cobra.Command{
		Use:   "verify",
		Short: "Read the configuration of lodad as serve would, and say what is wrong",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if _, err := g.load(); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "fine")
			return nil
		},
	}
	cmd.AddCommand(initCmd, verify, configCheck(g), configRender(g), configAffected(g), configStatus(g, false), configStatus(g, true))
	return cmd
}

// syncTimeout is longer than a lodad tries to fetch, so that its answer tells what went wrong.
const syncTimeout = 3 * time.Minute

// configStatus shows the state of the repository of profiles, after fetching it for sync.
func configStatus(g *globals, sync bool) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show which commit of the config repository is in use, and which was refused and why",
		Args:  exactly(0),
	}
	if sync {
		cmd.Use, cmd.Short = "sync", "Fetch the config repository now, and show its status"
		cmd.Long = cmd.Short + `. The exit status is 1 if it could not be fetched, or
if what was fetched is refused.`
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := g.client()
		if err != nil {
			return err
		}
		ask := c.Repository
		if sync {
			ask, c.HTTP.Timeout = c.SyncRepository, syncTimeout
		}
		r, err := ask(cmd.Context())
		if err != nil {
			return err
		}
		if g.output == "json" {
			err = writeJSON(cmd.OutOrStdout(), r)
		} else {
			err = showRepository(cmd.OutOrStdout(), r)
		}
		if err == nil && sync && (r.LastError != "" || r.Refused != nil) {
			return errSilent
		}
		return err
	}
	return cmd
}

func showRepository(w io.Writer, r api.Repository) error {
	now := time.Now()
	rows := [][]string{{"follows", dash(r.Ref)}}
	if r.Commit == nil {
		rows = append(rows, []string{"in use", "none yet: nothing can be installed"})
	} else {
		rows = append(rows, []string{"in use", describeCommit(*r.Commit)}, []string{"  for", age(r.InUseSince, now)})
	}
	fetched := "never"
	if !r.LastSuccess.IsZero() {
		fetched = age(r.LastSuccess, now) + " ago"
	}
	rows = append(rows, []string{"fetched", fetched})
	if r.LastError != "" {
		rows = append(rows, []string{"fetching fails", "for " + age(r.FailingSince, now) + ": " + r.LastError})
	}
	if r.Refused != nil {
		rows = append(rows, []string{"refused", describeCommit(r.Refused.Commit)})
		for _, e := range r.Refused.Errors {
			rows = append(rows, []string{"", e})
		}
	}
	return table(w, []string{"repository", plain(r.URL)}, rows)
}

func describeCommit(c api.Commit) string {
	if c.Time.IsZero() && c.Author == "" { // it was too big to be fetched
		return fmt.Sprintf("%.10s", c.Hash)
	}
	return fmt.Sprintf("%.10s by %s, %s: %s", c.Hash, dash(c.Author), c.Time.Local().Format(time.DateTime), c.Message)
}
