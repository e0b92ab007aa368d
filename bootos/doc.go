// Package bootos builds the RAM disk that a machine netboots before it has an operating system: a Linux kernel and an
// initramfs with Loda's agent as its init program (package bootos/agent), u-root's commands and shell, and the storage
// and network drivers of real servers.
//
//	res, err := bootos.Build(ctx, bootos.Options{
//		OutDir: "/var/lib/loda/bootos",
//		CA:     authority.PEM(),
//	})
//
// leaves in OutDir the files [KernelFile] and [InitramfsFile], which a boot loader gets, [ManifestFile], which says
// what is in them, and [BaseFile], the part that was compiled.
//
// # Layers
//
// The initramfs is a sequence of cpio archives, each compressed with Zstandard for itself; Linux unpacks one after the
// other, and a later file replaces an earlier one of the same name.
//
//   - base: one busybox-style Go program with the agent and u-root's commands. Only this layer needs a Go toolchain and
//     Loda's source. It is kept in the cache by a digest of everything that went in, and beside the result as
//     base.cpio.zst: hand that file to [Options.Base], and the machine that builds needs neither.
//   - modules: the drivers in [DefaultDrivers] and those asked for, each with all that it depends on, out of a Debian
//     kernel package or a directory, and an index of which hardware wants which. Each is compressed for itself, so that
//     a machine unpacks, and holds in memory, only what it loads. Firmware files, where given.
//   - site: the certificate authority that the agent trusts, the build options, the user's own files and plugins.
//
// A driver that is missing today is one option away:
//
//	bootos.Options{..., Drivers: append(bootos.DefaultDrivers(), "ena")}
//
// # Reproducible
//
// The same inputs give the same bytes: entries are sorted, owned by root and carry no times, the Go program is built
// with -trimpath and without build IDs, and the manifest holds no date.
package bootos
