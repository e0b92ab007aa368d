package bootos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/project-loda/loda/bootos/modules"
)

// Where things are in the image.
const (
	caPath      = "etc/loda/ca.pem"
	optionsPath = "etc/loda/bootos.json"
	pluginDir   = "usr/lib/loda/plugins"
)

// Build makes a bootOS. Without a base layer at hand it takes up to a minute, otherwise a few seconds.
func Build(ctx context.Context, o Options) (*Result, error) {
	if o.OutDir == "" {
		return nil, errors.New("bootos: no output directory given")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	ca, err := checkCA(o.CA)
	if err != nil {
		return nil, fmt.Errorf("bootos: %w", err)
	}
	if o.CacheDir == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("bootos: %w; name a cache directory", err)
		}
		o.CacheDir = filepath.Join(dir, "loda")
	}
	// apt-get changes its working directory.
	if o.CacheDir, err = filepath.Abs(o.CacheDir); err != nil {
		return nil, fmt.Errorf("bootos: %w", err)
	}
	b := &build{Options: o, manifest: Manifest{Format: manifestFormat, EmergencyShell: o.EmergencyShell, CA: ca,
		Files: map[string]FileInfo{}}}
	res, err := b.run(ctx)
	if err != nil {
		return nil, fmt.Errorf("bootos: %w", err)
	}
	return res, nil
}

// checkCA refuses what no agent could use, before it is in a hundred RAM disks, and returns the digest.
func checkCA(text []byte) (string, error) {
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "CERTIFICATE" {
		return "", errors.New("the certificate authority is no certificate in PEM form")
	}
	if next, _ := pem.Decode(rest); next != nil && next.Type != "CERTIFICATE" {
		return "", fmt.Errorf("the certificate authority's file holds a %s beside the certificate: "+
			"that must not get into the image", next.Type)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return "", fmt.Errorf("the certificate authority: %w", err)
	}
	if !cert.IsCA {
		return "", fmt.Errorf("the certificate %q is not one of an authority", cert.Subject)
	}
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:]), nil
}

// build is one run of [Build].
type build struct {
	Options
	kernel    *kernelSource
	initramfs bytes.Buffer
	manifest  Manifest
}

func (b *build) run(ctx context.Context) (*Result, error) {
	var err error
	if b.kernel, err = openKernel(ctx, b.Kernel, b.CacheDir, b.Log); err != nil {
		return nil, err
	}
	b.manifest.Kernel = KernelInfo{Release: b.kernel.release, Package: b.kernel.pkg}

	packedBase, err := b.baseLayer(ctx)
	if err != nil {
		return nil, err
	}
	if err := b.openFirmware(ctx); err != nil {
		return nil, err
	}
	if err := b.add(b.modulesLayer()); err != nil {
		return nil, err
	}
	if tools, err := b.toolsLayer(ctx); err != nil {
		return nil, err
	} else if tools != nil {
		if err := b.add(tools, nil); err != nil {
			return nil, err
		}
	}
	if err := b.add(b.siteLayer()); err != nil {
		return nil, err
	}
	image, err := os.ReadFile(b.kernel.image)
	if err != nil {
		return nil, err
	}
	b.manifest.Files[KernelFile] = infoOf(image)
	b.manifest.Files[InitramfsFile] = infoOf(b.initramfs.Bytes())
	manifest, err := json.MarshalIndent(b.manifest, "", "  ")
	if err != nil {
		return nil, err
	}
	err = replaceFiles(b.OutDir, []outFile{{BaseFile, packedBase}, {KernelFile, image},
		{InitramfsFile, b.initramfs.Bytes()}, {ManifestFile, append(manifest, '\n')}})
	if err != nil {
		return nil, err
	}
	return &Result{Kernel: filepath.Join(b.OutDir, KernelFile), Initramfs: filepath.Join(b.OutDir, InitramfsFile),
		Base: filepath.Join(b.OutDir, BaseFile), Manifest: b.manifest}, nil
}

// add appends a layer to the initramfs.
func (b *build) add(l *layer, err error) error {
	if err != nil {
		return err
	}
	packed, info, err := l.build()
	if err != nil {
		return err
	}
	b.append(packed, info)
	return nil
}

// append aligns to four bytes, as the kernel wants archives to start.
func (b *build) append(packed []byte, info LayerInfo) {
	b.initramfs.Write(make([]byte, -b.initramfs.Len()&3))
	b.initramfs.Write(packed)
	b.manifest.Layers = append(b.manifest.Layers, info)
}

func (b *build) baseLayer(ctx context.Context) ([]byte, error) {
	var packed []byte
	var err error
	if b.Base != "" {
		packed, err = os.ReadFile(b.Base)
	} else {
		packed, err = base(ctx, b.Source, b.CacheDir, b.Log)
	}
	if err != nil {
		return nil, err
	}
	archive, info, err := readLayer("base", packed)
	if err != nil {
		return nil, fmt.Errorf("base layer %s: %w", b.Base, err)
	}
	mark, ok := archive.Get("etc/loda/base")
	if _, hasInit := archive.Get("init"); !ok || !hasInit {
		return nil, fmt.Errorf("base layer %s: not made by Loda: it has no /init or no /etc/loda/base", b.Base)
	}
	digest, err := io.ReadAll(io.NewSectionReader(mark.ReaderAt, 0, int64(min(mark.FileSize, 64))))
	if err != nil {
		return nil, err
	}
	b.manifest.Version = strings.TrimSpace(string(digest))
	b.append(packed, info)
	return packed, nil
}

func (b *build) modulesLayer() (*layer, error) {
	l := newLayer("modules")
	tree := b.kernel.tree
	if tree == nil {
		if b.Drivers != nil || len(b.ModuleFiles) > 0 {
			return nil, errors.New("drivers were asked for, and the kernel's modules directory was not given")
		}
		return l, nil
	}
	if err := tree.Add(b.ModuleFiles...); err != nil {
		return nil, err
	}
	selection, err := b.selectModules(tree)
	if err != nil {
		return nil, err
	}
	dir := path.Join("lib/modules", tree.Release)
	for _, m := range selection {
		data, err := m.Read()
		if err != nil {
			return nil, err
		}
		// Each for itself: a machine unpacks the dozen that it needs, and not 50 MB at every boot.
		if data, err = compress(data); err != nil {
			return nil, err
		}
		m.Path += ".zst"
		l.file(path.Join(dir, m.Path), data, 0o644)
		b.manifest.Modules = append(b.manifest.Modules, m.Name)
	}
	for name, content := range tree.IndexFiles(selection) {
		l.file(path.Join(dir, name), content, 0o644)
	}
	return l, b.addFirmware(l, selection)
}

func (b *build) selectModules(tree *modules.Tree) ([]*modules.Module, error) {
	var names []string
	defaults := DefaultDrivers()
	want := b.Drivers
	if want == nil {
		want = defaults
	}
	for _, name := range want {
		switch {
		case tree.Has(name):
			names = append(names, name)
		case tree.Builtin(name):
			b.manifest.Builtin = append(b.manifest.Builtin, modules.CanonicalName(name))
		case slices.Contains(defaults, name):
			b.manifest.Missing = append(b.manifest.Missing, modules.CanonicalName(name))
		default:
			names = append(names, name) // and Resolve says what is wrong with it
		}
	}
	for _, file := range b.ModuleFiles {
		name, _, _ := strings.Cut(filepath.Base(file), ".ko")
		names = append(names, name)
	}
	slices.Sort(b.manifest.Builtin)
	slices.Sort(b.manifest.Missing)
	return tree.Resolve(names)
}

// firmwarePackage is the form of the names of Debian's firmware packages.
var firmwarePackage = regexp.MustCompile(`^firmware-[a-z0-9.+-]+$`)

// openFirmware puts directories in the place of packages.
func (b *build) openFirmware(ctx context.Context) error {
	given := b.Firmware
	if given == nil && b.Options.Kernel.fromArchive() {
		given = []string{DefaultFirmwarePackage}
	}
	b.Firmware = nil
	for _, f := range given {
		if info, err := os.Stat(f); err == nil && info.IsDir() {
			b.Firmware = append(b.Firmware, f)
			continue
		}
		deb := f
		switch {
		case firmwarePackage.MatchString(f):
			var err error
			if deb, err = download(ctx, f, b.CacheDir, b.Log); err != nil {
				return fmt.Errorf("firmware: %w; Debian keeps most of it in the component non-free-firmware, which apt may "+
					"have to be told", err)
			}
		case !strings.HasSuffix(f, ".deb"):
			return fmt.Errorf("firmware: %s is neither a directory nor a firmware package", f)
		}
		unpacked, err := unpackDeb(ctx, deb, b.CacheDir, b.Log, "lib/firmware/")
		if err != nil {
			return fmt.Errorf("firmware package %s: %w", f, err)
		}
		b.Firmware = append(b.Firmware, filepath.Join(unpacked, "lib", "firmware"))
	}
	return nil
}

// addFirmware takes the files that the modules name out of the given directories; the first that has one wins.
func (b *build) addFirmware(l *layer, selection []*modules.Module) error {
	found := map[string]string{}
	for _, m := range selection {
		for _, pattern := range m.Firmware {
			if !filepath.IsLocal(pattern) {
				continue
			}
			any := false
			for _, dir := range b.Firmware {
				files, err := filepath.Glob(filepath.Join(dir, pattern))
				if err != nil {
					return fmt.Errorf("firmware %q of module %s: %w", pattern, m.Name, err)
				}
				packed, err := filepath.Glob(filepath.Join(dir, pattern) + ".xz")
				if err != nil {
					return err
				}
				for _, file := range append(files, packed...) {
					rel, err := filepath.Rel(dir, file)
					if err != nil {
						return err
					}
					if _, ok := found[rel]; !ok {
						found[rel] = file
					}
					any = true
				}
			}
			if !any {
				b.manifest.MissingFirmware = append(b.manifest.MissingFirmware, pattern)
			}
		}
	}
	slices.Sort(b.manifest.MissingFirmware)
	b.manifest.MissingFirmware = slices.Compact(b.manifest.MissingFirmware)
	for _, rel := range slices.Sorted(maps.Keys(found)) {
		if err := l.host(path.Join("lib/firmware", filepath.ToSlash(rel)), found[rel]); err != nil {
			return err
		}
		b.manifest.Firmware = append(b.manifest.Firmware, rel)
	}
	return nil
}

// imageOptions is the build options file in the image; package agent reads it.
type imageOptions struct {
	Version        string   `json:"version"`
	Kernel         string   `json:"kernel"`
	EmergencyShell bool     `json:"emergency_shell"`
	Console        []string `json:"console,omitempty"`
}

func (b *build) siteLayer() (*layer, error) {
	l := newLayer("site")
	for name, source := range b.Files {
		if err := l.host(name, source); err != nil {
			return nil, err
		}
	}
	for _, own := range []string{caPath, optionsPath} {
		if _, ok := l.records[own]; ok {
			return nil, fmt.Errorf("/%s is Loda's own: it decides whom the agent trusts and who gets a shell", own)
		}
	}
	for _, plugin := range b.Plugins {
		content, err := os.ReadFile(plugin)
		if err != nil {
			return nil, fmt.Errorf("plugin: %w", err)
		}
		l.file(path.Join(pluginDir, filepath.Base(plugin)), content, 0o755)
	}
	l.file(caPath, b.CA, 0o644)
	options, err := json.MarshalIndent(imageOptions{Version: b.manifest.Version, Kernel: b.kernel.release,
		EmergencyShell: b.EmergencyShell, Console: b.Console}, "", "  ")
	if err != nil {
		return nil, err
	}
	l.file(optionsPath, append(options, '\n'), 0o644)
	return l, nil
}

type outFile struct {
	name    string
	content []byte
}

// replaceFiles writes all files beside their final names, and renames only when all are on the disk. The directory
// itself stays: a server may hold it open.
func replaceFiles(dir string, files []outFile) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var staged []string
	defer func() {
		for _, s := range staged {
			_ = os.Remove(s) // those that were renamed are gone
		}
	}()
	for _, f := range files {
		tmp, err := stage(filepath.Join(dir, f.name), f.content)
		if err != nil {
			return err
		}
		staged = append(staged, tmp)
	}
	for i, f := range files {
		if err := os.Rename(staged[i], filepath.Join(dir, f.name)); err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// writeFile replaces one file.
func writeFile(file string, content []byte) error {
	tmp, err := stage(file, content)
	if err != nil {
		return err
	}
	if err := os.Rename(tmp, file); err != nil {
		return errors.Join(err, os.Remove(tmp))
	}
	return nil
}

func stage(file string, content []byte) (string, error) {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+"-")
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return "", errors.Join(err, os.Remove(f.Name()))
	}
	return f.Name(), nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
