// Package modules reads what kernel modules say about themselves, selects modules with all that they depend on, and
// loads them by hardware alias. It is depmod for whoever builds a RAM disk and modprobe for who runs in it, in Go,
// since a Debian kernel package carries no modules.dep and a RAM disk has no kmod.
//
// The builder opens the modules of a kernel as a [Tree], resolves the wanted names and writes the index files; the
// agent opens an [Index] from these files and loads with a [Loader]. The files are the ones of depmod(8)
// (modules.dep, modules.alias, modules.softdep, modules.builtin), so every other tool can read them too.
package modules
