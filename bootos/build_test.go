package bootos

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/u-root/mkuimage/cpio"

	"github.com/project-loda/loda/bootos/modules"
	"github.com/project-loda/loda/bootos/modules/modulestest"
	"github.com/project-loda/loda/loda/trust"
	"github.com/project-loda/loda/scripts/need"
)

// bench has a small kernel, a base layer and an authority.
type bench struct {
	t    *testing.T
	dir  string
	opts Options
}

func newBench(t *testing.T) *bench {
	t.Helper()
	dir := t.TempDir()
	b := &bench{t: t, dir: dir}
	ca, err := trust.Open(filepath.Join(dir, "ca"))
	require.NoError(t, err)
	l := newLayer("base")
	l.file("bbin/bb", []byte("ELF"), 0o755)
	l.put(cpio.Symlink("init", "/bbin/bb"))
	l.file("etc/loda/base", []byte("0123456789abcdef\n"), 0o644)
	packed, _, err := l.build()
	require.NoError(t, err)
	b.write("base.cpio.zst", string(packed))
	b.write("vmlinuz", "kernel")
	mods := filepath.Join(dir, "modules", "6.1.0-test")
	modulestest.Write(t, mods, "kernel/ixgbe.ko", "depends=mdio", "alias=pci:v00008086d*", "firmware=acme/x-*.bin",
		"firmware=acme/none.bin", "firmware=../../etc/passwd")
	modulestest.Write(t, mods, "kernel/mdio.ko")
	modulestest.Write(t, mods, "kernel/other.ko")
	b.write("modules/6.1.0-test/modules.builtin", "kernel/sd_mod.ko\n")
	b.opts = Options{OutDir: filepath.Join(dir, "out"), CA: ca.PEM(), CacheDir: filepath.Join(dir, "cache"),
		Base:   filepath.Join(dir, "base.cpio.zst"),
		Kernel: Kernel{Image: filepath.Join(dir, "vmlinuz"), Modules: mods}}
	return b
}

func (b *bench) write(name, content string) string {
	b.t.Helper()
	file := filepath.Join(b.dir, name)
	require.NoError(b.t, os.MkdirAll(filepath.Dir(file), 0o755))
	require.NoError(b.t, os.WriteFile(file, []byte(content), 0o644))
	return file
}

func (b *bench) build() *Result {
	b.t.Helper()
	r, err := Build(b.t.Context(), b.opts)
	require.NoError(b.t, err)
	return r
}

func (b *bench) fails(says string) {
	b.t.Helper()
	_, err := Build(b.t.Context(), b.opts)
	require.ErrorContains(b.t, err, says)
}

// unpack reads an initramfs as Linux does: one archive after the other, a later file replaces an earlier one.
func unpack(t *testing.T, initramfs string, m Manifest) map[string]cpio.Record {
	t.Helper()
	data, err := os.ReadFile(initramfs)
	require.NoError(t, err)
	require.Equal(t, m.Files[InitramfsFile], infoOf(data))
	files := map[string]cpio.Record{}
	at := int64(0)
	for _, l := range m.Layers {
		at = (at + 3) &^ 3
		part := data[at : at+l.Bytes]
		require.Equal(t, l.FileInfo, infoOf(part))
		frame := zstd.Header{}
		require.NoError(t, frame.Decode(part))
		require.LessOrEqual(t, frame.WindowSize, uint64(windowSize), "what the kernel is to have in memory")
		archive, info, err := readLayer(l.Name, part)
		require.NoError(t, err)
		require.Equal(t, l, info)
		seen := map[string]bool{"": true, ".": true}
		for _, name := range archive.Order {
			if name == cpio.Trailer {
				continue
			}
			require.True(t, seen[strings.TrimPrefix(filepath.Dir(name), ".")], "%s comes before its directory", name)
			seen[name] = true
			r := archive.Files[name]
			require.Zero(t, r.MTime)
			require.Zero(t, r.UID+r.GID)
			files[name] = r
		}
		at += l.Bytes
	}
	require.Equal(t, int64(len(data)), at)
	return files
}

func content(t *testing.T, r cpio.Record) string {
	t.Helper()
	require.NotNil(t, r.ReaderAt, "there is no such file, or it has no content")
	data, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
	require.NoError(t, err)
	return string(data)
}

func TestAnImageHasBaseDriversAndTrustInLayers(t *testing.T) {
	b := newBench(t)
	b.opts.Files = map[string]string{"/etc/motd": b.write("motd", "hello"), "opt/tools": b.dir + "/tree"}
	b.write("tree/bin/tool", "#!/bin/sh\n")
	require.NoError(t, os.Chmod(filepath.Join(b.dir, "tree/bin/tool"), 0o751))
	require.NoError(t, os.Symlink("tool", filepath.Join(b.dir, "tree/bin/link")))
	b.opts.Plugins = []string{b.write("raid-acme", "plugin")}
	r := b.build()
	require.Equal(t, []string{"ixgbe", "mdio"}, r.Manifest.Modules)
	require.Equal(t, "0123456789abcdef", r.Manifest.Version)
	require.Equal(t, KernelInfo{Release: "6.1.0-test"}, r.Manifest.Kernel)
	require.Contains(t, r.Manifest.Builtin, "sd_mod")
	require.Contains(t, r.Manifest.Missing, "mlx5_core")
	require.Equal(t, []string{"acme/none.bin", "acme/x-*.bin"}, r.Manifest.MissingFirmware)

	files := unpack(t, r.Initramfs, r.Manifest)
	require.Equal(t, string(b.opts.CA), content(t, files["etc/loda/ca.pem"]))
	require.JSONEq(t, `{"version":"0123456789abcdef","kernel":"6.1.0-test","emergency_shell":false}`,
		content(t, files["etc/loda/bootos.json"]))
	require.Equal(t, "hello", content(t, files["etc/motd"]))
	require.Equal(t, "plugin", content(t, files["usr/lib/loda/plugins/raid-acme"]))
	require.EqualValues(t, cpio.S_IFREG|0o755, files["usr/lib/loda/plugins/raid-acme"].Mode)
	require.EqualValues(t, cpio.S_IFREG|0o751, files["opt/tools/bin/tool"].Mode)
	require.Equal(t, "tool", content(t, files["opt/tools/bin/link"]))
	require.Contains(t, content(t, files["lib/modules/6.1.0-test/modules.dep"]),
		"kernel/ixgbe.ko.zst: kernel/mdio.ko.zst\n")
	dec, err := zstd.NewReader(strings.NewReader(content(t, files["lib/modules/6.1.0-test/kernel/ixgbe.ko.zst"])))
	require.NoError(t, err)
	defer dec.Close()
	ko, err := io.ReadAll(dec)
	require.NoError(t, err)
	info, err := modules.ReadInfo(bytes.NewReader(ko))
	require.NoError(t, err)
	require.Equal(t, "ixgbe", info.Name)
	require.NotContains(t, files, "lib/modules/6.1.0-test/kernel/other.ko.zst", "nobody asked for it")

	read, err := ReadManifest(b.opts.OutDir)
	require.NoError(t, err)
	require.Equal(t, &r.Manifest, read)
}

func TestTheSameInputsGiveTheSameBytes(t *testing.T) {
	b := newBench(t)
	b.opts.Files = map[string]string{"a": b.write("f/a", "1"), "b/c": b.write("f/b", "2"), "b-d": b.write("f/c", "3")}
	first := b.build()
	b.opts.OutDir += "2"
	require.NoError(t, os.Chtimes(filepath.Join(b.dir, "f/a"), time.Now(), time.Unix(1, 0)))
	// The order of files in a directory is not the same on another machine.
	mods := filepath.Join(b.dir, "again", "6.1.0-test")
	require.NoError(t, os.MkdirAll(filepath.Dir(mods), 0o755))
	require.NoError(t, os.Rename(b.opts.Kernel.Modules, mods))
	b.opts.Kernel.Modules = mods
	second := b.build()
	for _, name := range []string{KernelFile, InitramfsFile, BaseFile, ManifestFile} {
		one, err := os.ReadFile(filepath.Join(filepath.Dir(first.Kernel), name))
		require.NoError(t, err)
		two, err := os.ReadFile(filepath.Join(filepath.Dir(second.Kernel), name))
		require.NoError(t, err)
		require.True(t, bytes.Equal(one, two), "%s differs", name)
	}
}

func TestTheEmergencyShellIsInOnlyWhenAskedFor(t *testing.T) {
	b := newBench(t)
	b.opts.EmergencyShell, b.opts.Console = true, []string{"ttyS1"}
	r := b.build()
	require.True(t, r.Manifest.EmergencyShell)
	require.JSONEq(t, `{"version":"0123456789abcdef","kernel":"6.1.0-test","emergency_shell":true,"console":["ttyS1"]}`,
		content(t, unpack(t, r.Initramfs, r.Manifest)["etc/loda/bootos.json"]))
}

func TestUserFilesCannotReplaceWhomTheAgentTrusts(t *testing.T) {
	for _, name := range []string{"etc/loda/ca.pem", "/etc/loda/../loda/bootos.json", "etc/loda"} {
		b := newBench(t)
		b.write("evil/ca.pem", "x")
		b.opts.Files = map[string]string{name: filepath.Join(b.dir, "evil")}
		if name != "etc/loda" {
			b.opts.Files[name] = filepath.Join(b.dir, "evil/ca.pem")
		}
		b.fails("is Loda's own")
	}
}

func TestFilesStayInsideTheImage(t *testing.T) {
	for _, name := range []string{"../x", "/", "", "a/../.."} {
		b := newBench(t)
		b.opts.Files = map[string]string{name: b.write("f", "")}
		b.fails("no path inside the image")
	}
}

func TestAFailedBuildLeavesThePreviousOne(t *testing.T) {
	b := newBench(t)
	first := b.build()
	before, err := os.ReadFile(first.Initramfs)
	require.NoError(t, err)
	b.opts.Drivers = []string{"nosuch", "ixgbe", "neither"}
	b.fails("has no module neither, nosuch")
	after, err := os.ReadFile(first.Initramfs)
	require.NoError(t, err)
	require.Equal(t, before, after)
	entries, err := os.ReadDir(b.opts.OutDir)
	require.NoError(t, err)
	require.Len(t, entries, 4, "nothing else is left there")
}

func TestFurtherDriversAreAdded(t *testing.T) {
	b := newBench(t)
	b.opts.Drivers = append(DefaultDrivers(), "other")
	b.opts.ModuleFiles = []string{modulestest.Write(t, b.dir, "vendor/ixgbe.ko", "alias=pci:v0000ACMEd*")}
	r := b.build()
	require.Equal(t, []string{"ixgbe", "other"}, r.Manifest.Modules, "the vendor's driver needs no mdio")
	files := unpack(t, r.Initramfs, r.Manifest)
	require.Contains(t, files, "lib/modules/6.1.0-test/updates/ixgbe.ko.zst")
	require.Contains(t, content(t, files["lib/modules/6.1.0-test/modules.alias"]), "pci:v0000ACMEd*")
}

func TestOnlyFirmwareThatTheDriversNameIsTaken(t *testing.T) {
	b := newBench(t)
	b.write("fw1/acme/x-1.bin", "one")
	b.write("fw1/acme/unused.bin", "no")
	b.write("fw2/acme/x-1.bin", "older")
	b.write("fw2/acme/x-2.bin.xz", "two")
	b.opts.Firmware = []string{filepath.Join(b.dir, "fw1"), filepath.Join(b.dir, "fw2")}
	r := b.build()
	require.Equal(t, []string{"acme/x-1.bin", "acme/x-2.bin.xz"}, r.Manifest.Firmware)
	require.Equal(t, []string{"acme/none.bin"}, r.Manifest.MissingFirmware)
	files := unpack(t, r.Initramfs, r.Manifest)
	require.Equal(t, "one", content(t, files["lib/firmware/acme/x-1.bin"]), "the first directory wins")
	require.NotContains(t, files, "lib/firmware/acme/unused.bin")

	b.opts.Firmware = []string{filepath.Join(b.dir, "nowhere")}
	b.fails("neither a directory nor a firmware package")
}

func TestAuthoritiesThatCannotWorkAreRefused(t *testing.T) {
	b := newBench(t)
	good := b.opts.CA
	key, err := os.ReadFile(filepath.Join(b.dir, "ca", "ca.key"))
	require.NoError(t, err)
	for says, ca := range map[string][]byte{
		"no certificate in PEM form":  []byte("hello"),
		"holds a PRIVATE KEY":         append(slices.Clone(good), key...),
		"the certificate authority: ": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}),
	} {
		b.opts.CA = ca
		b.fails(says)
	}
	b.opts.CA = nil
	b.fails("no certificate")
}

func TestABaseThatIsNoneIsRefused(t *testing.T) {
	b := newBench(t)
	b.opts.Base = b.write("junk", "junk")
	b.fails("not a Zstandard file")
	packed, err := compress([]byte(strings.Repeat("junk", 100)))
	require.NoError(t, err)
	b.opts.Base = b.write("junk", string(packed))
	b.fails("not a cpio archive")
	packed, _, err = newLayer("x").build()
	require.NoError(t, err)
	b.opts.Base = b.write("junk", string(packed))
	b.fails("not made by Loda")
}

func TestWithoutSourceOrBaseTheErrorSaysWhatToDo(t *testing.T) {
	b := newBench(t)
	b.opts.Base, b.opts.Source = "", t.TempDir()
	b.fails("name a checkout (Source), or a base layer that was built elsewhere (Base)")
	b.opts.Source = "."
	t.Setenv("PATH", t.TempDir())
	b.fails("needs the Go toolchain")
}

func TestAKernelWithoutModulesMustSayItsVersion(t *testing.T) {
	b := newBench(t)
	b.opts.Kernel.Modules = ""
	b.fails("not an x86 Linux kernel")
	image := make([]byte, 0x400)
	copy(image[0x202:], "HdrS")
	image[0x20e], image[0x20f] = 0x00, 0x01
	copy(image[0x300:], "6.6.1-own (me@here) #1")
	b.opts.Kernel.Image = b.write("vmlinuz", string(image))
	require.Equal(t, "6.6.1-own", b.build().Manifest.Kernel.Release)
	b.opts.Drivers = []string{"ixgbe"}
	b.fails("modules directory was not given")
	b.opts.Kernel = Kernel{Modules: b.dir}
	b.fails("without a kernel image")
	b.opts.Kernel = Kernel{Image: "x", Package: "y"}
	b.fails("not both")
}

func FuzzImageRelease(f *testing.F) {
	image := make([]byte, 0x400)
	copy(image[0x202:], "HdrS")
	image[0x20f] = 1
	copy(image[0x300:], "6.1.0 x")
	f.Add(image)
	f.Fuzz(func(t *testing.T, image []byte) {
		if release, err := imageRelease(image); err == nil {
			require.NotEmpty(t, release)
		}
	})
}

// deb makes a Debian package of files in the image's tree.
func (b *bench) deb(tree string) string {
	b.t.Helper()
	need.Command(b.t, "dpkg-deb")
	b.write(tree+"/DEBIAN/control", "Package: linux-image-test\nVersion: 6.1-1\nArchitecture: amd64\n"+
		"Maintainer: x <x@x>\nDescription: x\n")
	out, err := exec.Command("dpkg-deb", "--build", "--root-owner-group", filepath.Join(b.dir, tree),
		filepath.Join(b.dir, tree+".deb")).CombinedOutput()
	require.NoError(b.t, err, "%s", out)
	return filepath.Join(b.dir, tree+".deb")
}

func TestKernelAndFirmwareComeOutOfDebianPackages(t *testing.T) {
	b := newBench(t)
	b.write("k/boot/vmlinuz-6.1.0-test", "kernel of the package")
	b.write("k/boot/System.map", "large")
	modulestest.Write(t, b.dir, "k/lib/modules/6.1.0-test/kernel/ixgbe.ko", "firmware=acme/fw.bin")
	// Newer packages have everything below /usr.
	b.write("f/usr/lib/firmware/acme/real.bin", "firmware")
	require.NoError(t, os.Symlink("real.bin", filepath.Join(b.dir, "f/usr/lib/firmware/acme/fw.bin")))
	require.NoError(t, os.Symlink("../../../../etc/passwd", filepath.Join(b.dir, "f/usr/lib/firmware/acme/out.bin")))
	b.opts.Kernel, b.opts.Firmware = Kernel{Package: b.deb("k")}, []string{b.deb("f")}
	for range 2 { // the second time from the cache
		r := b.build()
		require.Equal(t, KernelInfo{Release: "6.1.0-test", Package: "linux-image-test 6.1-1"}, r.Manifest.Kernel)
		kernel, err := os.ReadFile(r.Kernel)
		require.NoError(t, err)
		require.Equal(t, "kernel of the package", string(kernel))
		require.Equal(t, "firmware", content(t, unpack(t, r.Initramfs, r.Manifest)["lib/firmware/acme/fw.bin"]))
	}
	b.opts.Kernel.Package = b.deb("f")
	b.fails("is it a linux-image package?")
}

func TestTheBaseLayerIsTheSameWhereverItIsBuilt(t *testing.T) {
	need.Time(t, "compiles the base layer, a minute or more")
	need.Command(t, "go")
	var built [2][]byte
	for i := range built {
		var err error
		cache := t.TempDir()
		if i == 0 { // what other builds of this machine use; made anew only if the sources changed
			cache = userCache(t)
		}
		built[i], err = base(context.Background(), ".", cache, testLogger(t))
		require.NoError(t, err)
	}
	require.True(t, bytes.Equal(built[0], built[1]), "two builds differ")
	archive, _, err := readLayer("base", built[1])
	require.NoError(t, err)
	for _, name := range []string{"init", "sbin/modprobe", "bin/sh", "bbin/gosh", "bbin/mount", "dev/console",
		"etc/loda/base"} {
		_, ok := archive.Get(name)
		require.True(t, ok, name)
	}
	here, err := filepath.Abs("..")
	require.NoError(t, err)
	for _, part := range []string{"/root/", "/home/", "/tmp/loda-bootos", here + "/"} {
		bb, _ := archive.Get("bbin/bb")
		require.NotContains(t, content(t, bb), part, "a path of the machine that built it")
	}
}

func TestTheReadmeListsAllDefaultDrivers(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	for _, g := range driverGroups {
		for _, name := range g.names {
			require.Contains(t, string(readme), "`"+name+"`", "in the group %q", g.purpose)
		}
	}
}
