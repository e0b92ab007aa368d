package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"
)

func configCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "config", Short: "Write and check the configuration"}
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
	cmd.AddCommand(initCmd, verify)
	return cmd
}
