package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/site"
)

func imageCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "image", Short: "Build, import and list images"}
	cmd.AddCommand(imageBuildDebian(g), imageImport(g), imageList(g), imageVerify(g))
	return cmd
}

// images opens the image directory of the data directory, or of --dir.
func (g *globals) images(dir string) (*image.Dir, error) {
	if dir == "" {
		c, err := g.load()
		if err != nil {
			return nil, err
		}
		layout := site.Layout(c.Data)
		if err := layout.Make(); err != nil {
			return nil, err
		}
		dir = layout.Images()
	}
	return image.Open(dir)
}

// steps prints progress lines with the time since the beginning.
func steps(w io.Writer) func(string) {
	start := time.Now()
	return func(line string) { fmt.Fprintf(w, "%6.1fs  %s\n", time.Since(start).Seconds(), plain(line)) }
}

func printImage(w io.Writer, img image.Image) {
	fmt.Fprintf(w, "%s: %s, %d bytes (%d unpacked), sha256 %s\n", img.Name, img.File, img.Bytes, img.RawBytes, img.SHA256)
}

func imageBuildDebian(g *globals) *cobra.Command {
	var dir, packages string
	o := image.DebianOptions{}
	cmd := &cobra.Command{
		Use:   "build-debian [NAME]",
		Short: "Build a Debian image from Debian's packages, for BIOS and UEFI, with cloud-init",
		Long: `Build a Debian image from Debian's packages: a GPT disk that boots by BIOS and by
UEFI, with cloud-init to take over the host name, keys and settings that an
installation gives it. Needs root and the packages that scripts/setup installs.

The package mirrors are those of this host that carry Debian itself, unless
--mirror names others.`,
		Example: "  lodad image build-debian debian-12\n  lodad image build-debian virtual --kernel-package linux-image-cloud-amd64",
		Args:    atMost(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			images, err := g.images(dir)
			if err != nil {
				return err
			}
			o.Dir, o.Name = images, "debian-12"
			o.Progress = func(line string) { fmt.Fprintln(cmd.ErrOrStderr(), plain(line)) }
			if len(args) == 1 {
				o.Name = args[0]
			}
			o.Packages = strings.FieldsFunc(packages, func(r rune) bool { return r == ',' || r == ' ' })
			img, err := image.BuildDebian(cmd.Context(), o)
			if err != nil {
				return err
			}
			printImage(cmd.OutOrStdout(), img)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "", "image directory; empty: that of the site")
	f.StringVar(&o.Suite, "suite", "", "Debian release (default bookworm)")
	f.StringVar(&o.KernelPackage, "kernel-package", "", "default linux-image-amd64; linux-image-cloud-amd64 is for virtual machines only")
	f.StringArrayVar(&o.Mirrors, "mirror", nil, "one-line apt source, such as \"deb http://MIRROR/debian bookworm main\"; may be repeated")
	f.StringVar(&packages, "packages", "", "further packages, with commas")
	f.BoolVar(&o.SSH, "ssh", true, "install openssh-server")
	return cmd
}

func imageImport(g *globals) *cobra.Command {
	var dir string
	o := image.ImportOptions{}
	cmd := &cobra.Command{
		Use:     "import FILE NAME",
		Short:   "Import a qcow2, vmdk, vhdx or raw image",
		Example: "  lodad image import debian-12-genericcloud-amd64.qcow2 debian-cloud",
		Args:    exactly(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			images, err := g.images(dir)
			if err != nil {
				return err
			}
			o.Name = args[1]
			say := steps(cmd.ErrOrStderr())
			o.Progress = func(fraction float64) { say(fmt.Sprintf("%3.0f%%", fraction*100)) }
			img, err := image.Import(cmd.Context(), args[0], images, o)
			if err != nil {
				return err
			}
			printImage(cmd.OutOrStdout(), img)
			return nil
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "image directory; empty: that of the site")
	cmd.Flags().StringVar(&o.Format, "format", "", "raw, qcow2, vmdk or vhdx; empty: found out from the content")
	return cmd
}

func imageList(g *globals) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List images",
		Args:  exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			images, err := g.images(dir)
			if err != nil {
				return err
			}
			all, err := images.List()
			if err != nil && len(all) == 0 {
				return err
			}
			if err != nil {
				fmt.Fprintln(cmd.ErrOrStderr(), "lodad:", plainLines(err.Error()))
			}
			if g.output == "json" {
				if all == nil {
					all = []image.Image{}
				}
				return writeJSON(cmd.OutOrStdout(), all)
			}
			var rows [][]string
			for _, i := range all {
				var boots []string
				if i.BIOS {
					boots = append(boots, "BIOS")
				}
				if i.UEFI {
					boots = append(boots, "UEFI")
				}
				rows = append(rows, []string{i.Name, i.Format, fmt.Sprintf("%.0f MB", float64(i.Bytes)/1e6),
					fmt.Sprintf("%.0f MB", float64(i.RawBytes)/1e6), dash(strings.Join(boots, "+")), i.Created.Format(time.DateOnly), i.SHA256[:min(12, len(i.SHA256))]})
			}
			return table(cmd.OutOrStdout(), []string{"NAME", "FORMAT", "SIZE", "UNPACKED", "BOOTS", "CREATED", "SHA256"}, rows)
		},
	}
	cmd.Flags().StringVar(&dir, "dir", "", "image directory; empty: that of the site")
	return cmd
}

func imageVerify(g *globals) *cobra.Command {
	return &cobra.Command{
		Use:   "verify NAME",
		Short: "Read an image and compare its digest",
		Args:  exactly(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			images, err := g.images("")
			if err != nil {
				return err
			}
			if err := images.Verify(cmd.Context(), args[0]); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), "fine")
			return nil
		},
	}
}
