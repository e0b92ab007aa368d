package main

import (
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/hw"
)

func hwCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "hw", Short: "Look at hardware"}
	var root string
	var text bool
	detect := &cobra.Command{
		Use:   "detect",
		Short: "Print what this machine is made of, as the agent would report it",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts := []hw.Option{hw.WithLogger(slog.Default())}
			if root != "" {
				opts = append(opts, hw.WithRoot(root))
			}
			facts, err := hw.Detect(cmd.Context(), opts...)
			if err != nil {
				return err
			}
			if text {
				return facts.WriteText(cmd.OutOrStdout())
			}
			return writeJSON(cmd.OutOrStdout(), facts)
		},
	}
	detect.Flags().StringVar(&root, "root", "", "a captured tree with sys and proc, instead of this machine")
	detect.Flags().BoolVar(&text, "text", false, "a summary for people instead of JSON")
	cmd.AddCommand(detect)
	return cmd
}
