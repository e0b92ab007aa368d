package bootos

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/project-loda/loda/bootos/modules"
)

// kernelSource is a kernel on this host, ready to be used.
type kernelSource struct {
	image   string
	release string
	// pkg is name and version of the package it came from.
	pkg  string
	tree *modules.Tree
}

func openKernel(ctx context.Context, k Kernel, cache string, log *slog.Logger) (*kernelSource, error) {
	if k.Image != "" {
		if k.Package != "" {
			return nil, errors.New("kernel: give either a package or an image, not both")
		}
		return givenKernel(k)
	}
	if k.Modules != "" {
		return nil, errors.New("kernel: a modules directory was given without a kernel image")
	}
	pkg := k.Package
	if pkg == "" {
		pkg = DefaultKernelPackage
	}
	deb := pkg
	if !strings.HasSuffix(pkg, ".deb") {
		var err error
		if pkg, err = realPackage(ctx, pkg, log); err != nil {
			return nil, err
		}
		if deb, err = download(ctx, pkg, cache, log); err != nil {
			return nil, fmt.Errorf("kernel package %s: %w", pkg, err)
		}
	}
	deb, err := filepath.Abs(deb)
	if err != nil {
		return nil, err
	}
	src, err := unpackKernel(ctx, deb, cache, log)
	if err != nil {
		return nil, fmt.Errorf("kernel package %s: %w", deb, err)
	}
	return src, nil
}

func givenKernel(k Kernel) (*kernelSource, error) {
	src := &kernelSource{image: k.Image}
	if k.Modules != "" {
		var err error
		if src.tree, err = modules.OpenTree(k.Modules); err != nil {
			return nil, err
		}
		src.release = src.tree.Release
		return src, nil
	}
	image, err := os.ReadFile(k.Image)
	if err != nil {
		return nil, err
	}
	if src.release, err = imageRelease(image); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Image, err)
	}
	return src, nil
}

// imageRelease reads the version string of an x86 kernel, see Linux' Documentation/arch/x86/boot.rst, kernel_version.
func imageRelease(image []byte) (string, error) {
	const headerMagic, versionPointer, setup = 0x202, 0x20e, 0x200
	if len(image) < 0x300 || string(image[headerMagic:headerMagic+4]) != "HdrS" {
		return "", errors.New("not an x86 Linux kernel (bzImage)")
	}
	at := int(image[versionPointer]) | int(image[versionPointer+1])<<8
	if at == 0 || at+setup >= len(image) {
		return "", errors.New("the kernel does not say its version; give its modules directory")
	}
	text := image[at+setup:]
	if end := bytes.IndexAny(text[:min(len(text), 256)], " \x00"); end > 0 {
		return string(text[:end]), nil
	}
	return "", errors.New("the kernel's version cannot be read")
}

// uri is a line of `apt-get --print-uris`: 'URL' NAME SIZE DIGEST.
var uri = regexp.MustCompile(`(?m)^'[^']*' (\S+\.deb) (\d+) SHA256:([0-9a-f]{64})$`)

// imagePackage is a kernel package proper, other than a meta package.
var imagePackage = regexp.MustCompile(`(?m)Depends: (linux-image-\d\S+)`)

// realPackage follows a meta package such as linux-image-amd64 to the kernel that it stands for now.
func realPackage(ctx context.Context, pkg string, log *slog.Logger) (string, error) {
	depends, err := run(ctx, os.TempDir(), "apt-cache", "depends", pkg)
	if err != nil {
		return "", fmt.Errorf("kernel package: %w; does `apt-get update` help? A kernel package's file can be given "+
			"instead", err)
	}
	if m := imagePackage.FindSubmatch(depends); m != nil {
		log.Info("kernel package leads to another", "package", pkg, "kernel", string(m[1]))
		return string(m[1]), nil
	}
	return pkg, nil
}

// download gets a package with apt, whose signatures vouch for it, and returns the file.
func download(ctx context.Context, pkg, cache string, log *slog.Logger) (string, error) {
	dir := filepath.Join(cache, "deb")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	printed, err := run(ctx, os.TempDir(), "apt-get", "download", "--print-uris", pkg)
	if err != nil {
		return "", err
	}
	m := uri.FindSubmatch(printed)
	if m == nil {
		return "", fmt.Errorf("apt-get names no file for %s: %s", pkg, bytes.TrimSpace(printed))
	}
	file, want := filepath.Join(dir, string(m[1])), string(m[3])
	if got, err := digestOf(file); err == nil && got == want {
		return file, nil
	}
	log.Info("download package", "package", pkg, "bytes", string(m[2]))
	if _, err := run(ctx, dir, "apt-get", "download", "-q", pkg); err != nil {
		return "", err
	}
	got, err := digestOf(file)
	if err != nil {
		return "", err
	}
	if got != want {
		return "", fmt.Errorf("%s has SHA-256 %s, expected %s", file, got, want)
	}
	return file, nil
}

// unpackKernel takes kernel and modules out of a package, once.
func unpackKernel(ctx context.Context, deb, cache string, log *slog.Logger) (*kernelSource, error) {
	into, err := unpackDeb(ctx, deb, cache, log, "lib/modules/", "boot/vmlinuz-")
	if err != nil {
		return nil, err
	}
	images, err := filepath.Glob(filepath.Join(into, "boot", "vmlinuz-*"))
	if err != nil || len(images) != 1 {
		return nil, fmt.Errorf("holds %d kernels in /boot, want one (vmlinuz-*); is it a linux-image package?", len(images))
	}
	release := strings.TrimPrefix(filepath.Base(images[0]), "vmlinuz-")
	tree, err := modules.OpenTree(filepath.Join(into, "lib", "modules", release))
	if err != nil {
		return nil, err
	}
	pkg, err := run(ctx, cache, "dpkg-deb", "--show", "--showformat=${Package} ${Version}", deb)
	if err != nil {
		return nil, err
	}
	return &kernelSource{image: images[0], release: release, pkg: string(pkg), tree: tree}, nil
}

// unpackDeb takes the files with one of the prefixes out of a package into a directory of the cache, once.
func unpackDeb(ctx context.Context, deb, cache string, log *slog.Logger, prefixes ...string) (string, error) {
	sum, err := digestOf(deb)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, "unpacked")
	into := filepath.Join(dir, sum[:16])
	if _, err := os.Stat(into); !errors.Is(err, fs.ErrNotExist) {
		return into, err
	}
	log.Info("unpack package", "file", deb)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(dir, ".new-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(tmp)
	if err := untarDeb(ctx, deb, tmp, prefixes); err != nil {
		return "", err
	}
	// Somebody else may have been faster: theirs is as good.
	if err := os.Rename(tmp, into); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", err
	}
	return into, nil
}

func untarDeb(ctx context.Context, deb, dir string, prefixes []string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%w; without dpkg-deb, give what is in the package instead", err)
	}
	untarErr := untar(out, root, prefixes)
	if untarErr != nil {
		cancel()
	}
	if err := cmd.Wait(); err != nil && untarErr == nil {
		return fmt.Errorf("dpkg-deb: %w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return untarErr
}

func untar(r io.Reader, root *os.Root, prefixes []string) error {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			// dpkg-deb wants to get rid of the padding too.
			_, err = io.Copy(io.Discard, r)
			return err
		}
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(path.Clean(h.Name), "usr/")
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			continue
		}
		if err := root.MkdirAll(path.Dir(name), 0o755); err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeSymlink: // firmware for several revisions of a card
			if filepath.IsLocal(path.Join(path.Dir(name), h.Linkname)) {
				err = root.Symlink(h.Linkname, name)
			}
		case tar.TypeReg:
			err = untarFile(tr, root, name)
		}
		if err != nil {
			return err
		}
	}
}

func untarFile(r io.Reader, root *os.Root, name string) error {
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

func digestOf(file string) (string, error) {
	f, err := os.Open(file)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// run runs a command and returns what it printed.
func run(ctx context.Context, dir, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}
