package main

import (
	"fmt"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/project-loda/loda/bootos"
	"github.com/project-loda/loda/loda/site"
	"github.com/project-loda/loda/loda/trust"
)

func bootosCommand(g *globals) *cobra.Command {
	cmd := &cobra.Command{Use: "bootos", Short: "Build the RAM disk that machines netboot"}
	var o bootos.Options
	var drivers, files []string
	var noTools bool
	build := &cobra.Command{
		Use:   "build",
		Short: "Build kernel and initramfs, with this site's certificate authority in it",
		Long: `Build the kernel and the initramfs that machines netboot, with this site's
certificate authority in it.

Its base, the agent and u-root's commands, is compiled from Loda's source and
kept in a cache; a machine without Go or the source gives one that was built
elsewhere with --base. Another kernel, more drivers, files or plugins need no
compiler.`,
		Example: `  lodad bootos build
  lodad bootos build --base base.cpio.zst --driver atlantic --file /etc/motd=motd
  lodad bootos build --kernel-package linux-image-cloud-amd64`,
		Args: exactly(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := g.load()
			if err != nil {
				return err
			}
			layout := site.Layout(c.Data)
			if err := layout.Make(); err != nil {
				return err
			}
			authority, err := trust.Open(layout.CA())
			if err != nil {
				return err
			}
			if o.OutDir == "" {
				o.OutDir = layout.BootOS()
			}
			o.CA = authority.PEM()
			o.Log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			if len(drivers) > 0 {
				o.Drivers = append(bootos.DefaultDrivers(), drivers...)
			}
			if noTools {
				o.Tools = []string{}
			}
			o.Files = map[string]string{}
			for _, f := range files {
				target, source, ok := strings.Cut(f, "=")
				if !ok {
					return usageError{fmt.Errorf("--file %s: want PATH-IN-IMAGE=FILE", f)}
				}
				o.Files[target] = source
			}
			res, err := bootos.Build(cmd.Context(), o)
			if err != nil {
				return err
			}
			if g.output == "json" {
				return writeJSON(cmd.OutOrStdout(), res.Manifest)
			}
			m := res.Manifest
			fmt.Fprintf(cmd.OutOrStdout(), "%s\n%s\nkernel %s, %d modules, %.1f MB together\n", res.Kernel, res.Initramfs, m.Kernel.Release,
				len(m.Modules), float64(m.Files[bootos.KernelFile].Bytes+m.Files[bootos.InitramfsFile].Bytes)/1e6)
			return nil
		},
	}
	f := build.Flags()
	f.StringVar(&o.OutDir, "out", "", "directory for the result; empty: where this site serves it from")
	f.StringVar(&o.Base, "base", "", "base layer that was built elsewhere (base.cpio.zst)")
	f.StringVar(&o.Source, "source", "", "directory of Loda's source; empty: the working directory")
	f.StringVar(&o.Kernel.Package, "kernel-package", "", "Debian kernel package or .deb file (default "+bootos.DefaultKernelPackage+")")
	f.StringVar(&o.Kernel.Image, "kernel", "", "a kernel of your own, instead of a package")
	f.StringVar(&o.Kernel.Modules, "modules", "", "directory of that kernel's modules (lib/modules/RELEASE)")
	f.StringArrayVar(&drivers, "driver", nil, "further kernel module by name; may be repeated")
	f.StringArrayVar(&o.ModuleFiles, "module-file", nil, "further kernel module as a file; may be repeated")
	f.StringArrayVar(&o.Firmware, "firmware", nil, "directory like /lib/firmware; may be repeated")
	f.BoolVar(&noTools, "no-tools", false, "leave out mdadm and wipefs, and software RAID with them")
	f.StringArrayVar(&files, "file", nil, "PATH-IN-IMAGE=FILE, a file or directory to add; may be repeated")
	f.StringArrayVar(&o.Plugins, "plugin", nil, "RAID plugin to add; may be repeated")
	f.BoolVar(&o.EmergencyShell, "emergency-shell", false, "give whoever stands at the console a root shell when the agent cannot go on")
	cmd.AddCommand(build)
	return cmd
}
