package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/loda/api"
)

func tokenCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "token", Short: "Make, list and revoke API tokens"}
	var req api.TokenRequest
	var role string
	create := &cobra.Command{
		Use:   "create NAME",
		Short: "Make an API token; its secret is printed once",
		Long: `Make an API token; its secret is printed once and kept nowhere.

Roles: viewer (reads everything), operator (also imports and installs machines),
admin (also deletes machines and makes tokens).`,
		Example: "  lodad token create cmdb --role operator --days 365",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			req.Name, req.Role = args[0], api.Role(role)
			t, err := c.CreateToken(cmd.Context(), req)
			if err != nil {
				return err
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), t)
			}
			fmt.Fprintln(cmd.OutOrStdout(), t.Secret)
			return nil
		},
	}
	create.Flags().StringVar(&role, "role", string(api.Viewer), "viewer, operator or admin")
	create.Flags().IntVar(&req.Days, "days", 0, "until it expires; 0: never")
	list := &cobra.Command{
		Use:   "list",
		Short: "List API tokens",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), tokens)
			}
			var rows [][]string
			for _, t := range tokens {
				expires := "never"
				if !t.ExpiresAt.IsZero() {
					expires = t.ExpiresAt.Format(time.DateOnly)
				}
				rows = append(rows, []string{t.ID, t.Name, string(t.Role), t.CreatedAt.Format(time.DateOnly), expires})
			}
			return table(cmd.OutOrStdout(), []string{"ID", "NAME", "ROLE", "CREATED", "EXPIRES"}, rows)
		},
	}
	revoke := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke an API token",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := g.client()
			if err != nil {
				return err
			}
			return c.DeleteToken(cmd.Context(), args[0])
		},
	}
	cmd.AddCommand(create, list, revoke)
	return cmd
}
