package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/hw"
)

func hwCommand() *cobra.Command {
	cmd := &cobra.Command{Use: "hw", Short: "Look at hardware"}
	cmd.AddCommand(hwDetect(), hwCapture())
	return cmd
}

const rootUsage = "a captured machine instead of this one: a file of hw capture, or a directory with sys and proc"

func hwDetect() *cobra.Command {
	var root string
	var text bool
	var health time.Duration
	cmd := &cobra.Command{
		Use:   "detect",
		Short: "Print what this machine is made of, as the agent would report it",
		Long: `Print what this machine is made of: the facts as the agent would report them, as
JSON. What could not be learnt is listed with the reason.

Only root sees serial numbers and memory modules. Disks are asked about their
health (SMART) only with --health, which is how long each may take to answer.`,
		Example: "  lodad hw detect --text\n  lodad hw detect --health 10s\n  lodad hw detect --root broken-server.hw",
		Args:    exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			facts, err := hw.Detect(cmd.Context(), hw.WithLogger(slog.Default()), hw.WithRoot(root), hw.WithHealth(health))
			if err != nil {
				return err
			}
			if text {
				return facts.WriteText(cmd.OutOrStdout())
			}
			return writeJSON(cmd.OutOrStdout(), facts)
		},
	}
	cmd.Flags().StringVar(&root, "root", "", rootUsage)
	cmd.Flags().BoolVar(&text, "text", false, "a summary for people instead of JSON")
	cmd.Flags().DurationVar(&health, "health", 0, "ask the disks too, and wait so long for each (10s)")
	return cmd
}

func hwCapture() *cobra.Command {
	var root string
	var o hw.CaptureOptions
	cmd := &cobra.Command{
		Use:   "capture FILE",
		Short: "Write everything that hw detect reads of this machine to one file",
		Long: `Write everything that hw detect reads of this machine to one file, so that a
server that nobody else has can be looked at elsewhere:

    lodad hw detect --root FILE

The file is text; read it before you send it. With --anonymise it has other serial
numbers, UUIDs, MAC addresses, WWNs, asset tags and host names, of the same shape;
what makers keep in SMBIOS structures of their own is blanked. A capture of another
capture works too (--root), to anonymise it later.

Run it as root: the kernel keeps serial numbers and memory modules to root.`,
		Example: "  lodad hw capture server.hw --anonymise\n  lodad hw capture server.hw --health 10s",
		Args:    exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var b bytes.Buffer
			if err := hw.Capture(cmd.Context(), root, &b, o); err != nil {
				return err
			}
			// Not over another machine's capture, and for nobody else to read.
			f, err := os.OpenFile(args[0], os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
			if errors.Is(err, fs.ErrExist) {
				return fmt.Errorf("%s is there already; choose another name", args[0])
			}
			if err != nil {
				return err
			}
			_, err = f.Write(b.Bytes())
			if err := errors.Join(err, f.Close()); err != nil {
				return fmt.Errorf("write the capture: %w", err)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: %d bytes; look at it with `lodad hw detect --text --root %s`\n", args[0],
				b.Len(), args[0])
			return nil
		},
	}
	cmd.Flags().StringVar(&root, "root", "", rootUsage)
	cmd.Flags().BoolVar(&o.Anonymise, "anonymise", false, "replace what identifies the machine")
	cmd.Flags().DurationVar(&o.Health, "health", 0, "ask the disks too, and wait so long for each (10s)")
	return cmd
}
