package bootos

import (
	"bytes"
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/u-root/mkuimage/cpio"
)

// toolPackages are the Debian packages that a tool is in: its own first, then those of the libraries that it needs. The
// programs of util-linux that u-root has are not taken from here.
var toolPackages = map[string][]string{
	"mdadm":  {"mdadm", "libudev1", "libc6"},
	"wipefs": {"util-linux", "libblkid1", "libsmartcols1", "libc6"},
}

// DefaultTools are for software RAID.
func DefaultTools() []string { return slices.Sorted(maps.Keys(toolPackages)) }

const (
	// libraryDir is where Debian's dynamic loader looks without a configuration.
	libraryDir = "lib/x86_64-linux-gnu"
	// loaderLink is where programs say that the dynamic loader is.
	loaderLink = "lib64/ld-linux-x86-64.so.2"
)

// toolsLayer has the tools and the libraries that they need, and nothing else of their packages. It is nil if there are
// none.
func (b *build) toolsLayer(ctx context.Context) (*layer, error) {
	tools := b.Tools
	if tools == nil && b.Options.Kernel.fromArchive() {
		tools = DefaultTools()
	}
	if len(tools) == 0 {
		return nil, nil
	}
	l := newLayer("tools")
	unpacked := map[string]string{} // package to directory
	for _, tool := range tools {
		packages, ok := toolPackages[tool]
		if !ok {
			return nil, fmt.Errorf("tool %q: want one of %q; others are added as files", tool, DefaultTools())
		}
		var dirs []string
		for _, pkg := range packages {
			if unpacked[pkg] == "" {
				dir, version, err := b.toolPackage(ctx, pkg)
				if err != nil {
					return nil, fmt.Errorf("tool %s: package %s: %w; an image without software RAID is built without tools",
						tool, pkg, err)
				}
				unpacked[pkg] = dir
				b.manifest.Tools = append(b.manifest.Tools, version)
			}
			dirs = append(dirs, unpacked[pkg])
		}
		if err := addTool(l, tool, dirs); err != nil {
			return nil, fmt.Errorf("tool %s, from packages %q: %w", tool, packages, err)
		}
	}
	slices.Sort(b.manifest.Tools)
	l.put(cpio.Symlink(loaderLink, "/"+path.Join(libraryDir, path.Base(loaderLink))))
	return l, nil
}

// toolPackage downloads and unpacks a package, and returns its name and version too.
func (b *build) toolPackage(ctx context.Context, pkg string) (dir, version string, err error) {
	deb, err := download(ctx, pkg, b.CacheDir, b.Log)
	if err != nil {
		return "", "", err
	}
	if dir, err = unpackDeb(ctx, deb, b.CacheDir, b.Log, "sbin/", "lib/"); err != nil {
		return "", "", err
	}
	shown, err := run(ctx, b.CacheDir, "dpkg-deb", "--show", "--showformat=${Package} ${Version}", deb)
	return dir, string(shown), err
}

// addTool puts a program into /sbin, and what its header asks for into the directory of libraries.
func addTool(l *layer, tool string, dirs []string) error {
	program, err := os.ReadFile(filepath.Join(dirs[0], "sbin", tool))
	if err != nil {
		return err
	}
	l.file("sbin/"+tool, program, 0o755)
	needed, err := libraries(program)
	if err != nil {
		return err
	}
	for needed = append(needed, path.Base(loaderLink)); len(needed) > 0; {
		name := needed[0]
		needed = needed[1:]
		into := path.Join(libraryDir, name)
		if _, ok := l.records[into]; ok {
			continue
		}
		library, err := findLibrary(dirs, name)
		if err != nil {
			return err
		}
		l.file(into, library, 0o755)
		more, err := libraries(library)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		needed = append(needed, more...)
	}
	return nil
}

func findLibrary(dirs []string, name string) ([]byte, error) {
	if !filepath.IsLocal(name) || path.Base(name) != name {
		return nil, fmt.Errorf("%q is no name of a library", name)
	}
	for _, dir := range dirs {
		content, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(libraryDir), name))
		if !errors.Is(err, fs.ErrNotExist) {
			return content, err
		}
	}
	return nil, fmt.Errorf("it needs %s, which none of them has", name)
}

// libraries are those that the header of a program or library names.
func libraries(content []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil, fmt.Errorf("is no program for Linux: %w", err)
	}
	if f.Machine != elf.EM_X86_64 {
		return nil, fmt.Errorf("is for %s, and the image for x86-64", f.Machine)
	}
	return f.ImportedLibraries()
}
