package modules_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"

	"github.com/project-loda/loda/bootos/modules"
	"github.com/project-loda/loda/bootos/modules/modulestest"
)

// tree is a small kernel: a NIC that needs a PHY library that needs a bus, a file system with a soft dependency on
// whatever computes CRC32c, and a driver in the kernel itself.
func tree(t *testing.T) (*modules.Tree, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "6.1.0-test")
	modulestest.Write(t, dir, "kernel/drivers/net/nic.ko", "depends=phy-lib,bus",
		"alias=pci:v00008086d000010FBsv*sd*bc*sc*i*",
		"firmware=acme/nic-*.bin", "firmware=acme/boot.bin")
	modulestest.Write(t, dir, "kernel/drivers/phy/phy-lib.ko", "depends=bus")
	modulestest.Write(t, dir, "kernel/drivers/bus/bus.ko", "depends=")
	modulestest.Write(t, dir, "kernel/fs/fast.ko", "alias=fs-fast", "softdep=pre: crypto-crc32c post: after")
	modulestest.Write(t, dir, "kernel/crypto/crc32c_generic.ko", "alias=crypto-crc32c", "alias=crc32c")
	modulestest.Write(t, dir, "kernel/arch/crc32c-intel.ko", "alias=crypto-crc32c", "alias=cpu:type:x86,*feature:*0094*")
	modulestest.Write(t, dir, "kernel/misc/after.ko")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "modules.builtin"),
		[]byte("kernel/drivers/virtio/virtio-old.ko\n"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "modules.builtin.modinfo"),
		[]byte("sd_mod.license=GPL\x00sd_mod.alias=scsi:t-0x00*\x00"), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "kernel", "README"), []byte("no module"), 0o644))
	tree, err := modules.OpenTree(dir)
	require.NoError(t, err)
	return tree, dir
}

func names(ms []*modules.Module) []string {
	var all []string
	for _, m := range ms {
		all = append(all, m.Name)
	}
	return all
}

func TestAModuleBringsAllThatItNeeds(t *testing.T) {
	tr, _ := tree(t)
	require.Equal(t, "6.1.0-test", tr.Release)
	for _, tc := range []struct{ ask, want []string }{
		{[]string{"nic"}, []string{"bus", "nic", "phy_lib"}},
		{[]string{"fast"}, []string{"after", "crc32c_generic", "crc32c_intel", "fast"}},
		{[]string{"crc32c-intel", "crc32c_intel"}, []string{"crc32c_intel"}},
		{[]string{"sd_mod", "virtio_old"}, nil},
		{nil, nil},
	} {
		got, err := tr.Resolve(tc.ask)
		require.NoError(t, err)
		require.Equal(t, tc.want, names(got), "for %v", tc.ask)
	}
}

func TestAllMissingModulesAreNamedAtOnce(t *testing.T) {
	_, dir := tree(t)
	require.NoError(t, os.Remove(filepath.Join(dir, "kernel/drivers/bus/bus.ko")))
	tr, err := modules.OpenTree(dir)
	require.NoError(t, err)
	_, err = tr.Resolve([]string{"zzz", "nic", "aaa"})
	var missing *modules.NotFoundError
	require.ErrorAs(t, err, &missing)
	require.Equal(t, []string{"aaa", "bus (needed by nic)", "bus (needed by phy_lib)", "zzz"}, missing.Names)
}

func TestAnAddedModuleReplacesTheKernelsOwn(t *testing.T) {
	tr, _ := tree(t)
	newer := modulestest.Write(t, t.TempDir(), "nic.ko", "alias=pci:v00008086d0000FFFFsv*")
	require.NoError(t, tr.Add(newer))
	got, err := tr.Resolve([]string{"nic"})
	require.NoError(t, err)
	require.Equal(t, []string{"nic"}, names(got), "it does not need the old one's libraries")
	require.Equal(t, "updates/nic.ko", got[0].Path)
	require.NotContains(t, string(tr.IndexFiles(got)["modules.alias"]), "10FB")
}

func TestAModuleForAnotherKernelIsRefused(t *testing.T) {
	tr, _ := tree(t)
	other := modulestest.Write(t, t.TempDir(), "nic.ko", "vermagic=5.10.0-1-amd64 SMP")
	require.ErrorContains(t, tr.Add(other), "was built for kernel 5.10.0-1-amd64, not for 6.1.0-test")
	require.ErrorContains(t, tr.Add("driver.zip"), "must end in .ko")
}

func TestPackedModulesAreReadAndUnpacked(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "6.1.0-test")
	plain := modulestest.ELF("name=nic", "vermagic=6.1.0-test SMP", "alias=x")
	var packed bytes.Buffer
	w, err := xz.NewWriter(&packed)
	require.NoError(t, err)
	_, err = w.Write(plain)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nic.ko.xz"), packed.Bytes(), 0o644))
	tr, err := modules.OpenTree(dir)
	require.NoError(t, err)
	got, err := tr.Resolve([]string{"nic"})
	require.NoError(t, err)
	require.Equal(t, "nic.ko", got[0].Path)
	data, err := got[0].Read()
	require.NoError(t, err)
	require.Equal(t, plain, data)
}

func TestModulesThatNeedEachOtherDoNotGoRoundForEver(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "6.1.0-test")
	modulestest.Write(t, dir, "a.ko", "depends=b", "softdep=pre: b")
	modulestest.Write(t, dir, "b.ko", "depends=a", "softdep=pre: a")
	tr, err := modules.OpenTree(dir)
	require.NoError(t, err)
	got, err := tr.Resolve([]string{"a"})
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, names(got))
	l, k := newLoader(t, tr, got)
	require.NoError(t, l.Load("a"))
	require.Equal(t, []string{"b", "a"}, k.inserted)
}

// kernel takes modules, and refuses those whose dependencies are not there, as Linux does.
type kernel struct {
	mu       sync.Mutex
	inserted []string
	params   map[string]string
	fail     map[string]error
}

func (k *kernel) insert(file, params string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	name := strings.TrimSuffix(filepath.Base(file), ".ko")
	if err := k.fail[name]; err != nil {
		return err
	}
	k.inserted = append(k.inserted, name)
	k.params[name] = params
	return nil
}

func newLoader(t *testing.T, tr *modules.Tree, ms []*modules.Module) (*modules.Loader, *kernel) {
	t.Helper()
	fsys := fstest.MapFS{}
	for name, content := range tr.IndexFiles(ms) {
		fsys[name] = &fstest.MapFile{Data: content}
	}
	index, err := modules.ReadIndex(fsys)
	require.NoError(t, err)
	k := &kernel{params: map[string]string{}, fail: map[string]error{}}
	return &modules.Loader{Index: index, Dir: "/lib/modules/x", Insert: k.insert}, k
}

func all(t *testing.T, tr *modules.Tree) []*modules.Module {
	t.Helper()
	ms, err := tr.Resolve([]string{"nic", "fast"})
	require.NoError(t, err)
	return ms
}

func TestTheDriverOfADeviceIsLoadedAfterWhatItNeedsAndOnce(t *testing.T) {
	tr, _ := tree(t)
	l, k := newLoader(t, tr, all(t, tr))
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() { _ = l.Load("pci:v00008086d000010FBsv00008086sd00000003bc02sc00i00") })
	}
	group.Wait()
	require.Equal(t, []string{"bus", "phy-lib", "nic"}, k.inserted)
	require.NoError(t, l.Load("nic"))
	require.Len(t, k.inserted, 3)
}

func TestASoftDependencyThatFailsKeepsNothingFromLoading(t *testing.T) {
	tr, _ := tree(t)
	l, k := newLoader(t, tr, all(t, tr))
	k.fail["crc32c-intel"] = syscall.ENODEV
	require.NoError(t, l.Load("fs-fast"))
	require.Equal(t, []string{"crc32c_generic", "fast"}, k.inserted)
}

func TestAModuleThatIsThereAlreadyIsFine(t *testing.T) {
	tr, _ := tree(t)
	l, k := newLoader(t, tr, all(t, tr))
	k.fail["bus"] = syscall.EEXIST
	require.NoError(t, l.Load("nic"))
	require.NoError(t, l.Load("virtio_old"), "it is in the kernel")
}

func TestWhatCannotBeLoadedIsAnError(t *testing.T) {
	tr, _ := tree(t)
	l, k := newLoader(t, tr, all(t, tr))
	k.fail["bus"] = syscall.ENOMEM
	require.ErrorIs(t, l.Load("nic"), syscall.ENOMEM)
	require.ErrorIs(t, l.Load("pci:v0000FFFF"), modules.ErrNoModule)
	require.Empty(t, k.inserted)
}

func TestTheCommandLineGivesParametersAndDeniesModules(t *testing.T) {
	tr, _ := tree(t)
	l, k := newLoader(t, tr, all(t, tr))
	l.Params, l.Deny = modules.Cmdline("quiet nic.allow_sfp=1 nic.debug loda.token=x phy-lib.y=2 " +
		"modprobe.blacklist=crc32c-intel,foo .=1 a.= b.")
	require.NoError(t, l.Load("nic"))
	require.NoError(t, l.Load("fs-fast"))
	require.Equal(t, map[string]string{"bus": "", "phy-lib": "y=2", "nic": "allow_sfp=1 debug", "crc32c_generic": "",
		"fast": ""}, k.params)
	require.NoError(t, l.Load("cpu:type:x86,ven0000feature:,0094,"), "denied by alias")
	require.NotContains(t, k.inserted, "crc32c-intel")
	require.NoError(t, l.Load("crc32c_intel"), "but not by name")
	require.Contains(t, k.inserted, "crc32c-intel")
}

func TestTheIndexIsWhatDepmodWrites(t *testing.T) {
	tr, _ := tree(t)
	files := tr.IndexFiles(all(t, tr))
	require.Equal(t, `kernel/misc/after.ko:
kernel/drivers/bus/bus.ko:
kernel/crypto/crc32c_generic.ko:
kernel/arch/crc32c-intel.ko:
kernel/fs/fast.ko:
kernel/drivers/net/nic.ko: kernel/drivers/phy/phy-lib.ko kernel/drivers/bus/bus.ko
kernel/drivers/phy/phy-lib.ko: kernel/drivers/bus/bus.ko
`, string(files["modules.dep"]))
	require.Equal(t, `alias crypto-crc32c crc32c_generic
alias crc32c crc32c_generic
alias crypto-crc32c crc32c_intel
alias cpu:type:x86,*feature:*0094* crc32c_intel
alias fs-fast fast
alias pci:v00008086d000010FBsv*sd*bc*sc*i* nic
`, string(files["modules.alias"]))
	require.Equal(t, "softdep fast pre: crypto-crc32c post: after\n", string(files["modules.softdep"]))
	require.Equal(t, "kernel/sd_mod.ko\nkernel/virtio_old.ko\n", string(files["modules.builtin"]))
}

func TestAnIndexMustHaveDependencies(t *testing.T) {
	_, err := modules.ReadIndex(fstest.MapFS{})
	require.ErrorIs(t, err, os.ErrNotExist)
	index, err := modules.ReadIndex(fstest.MapFS{"modules.dep": {Data: []byte("# comment\n\njunk\na.ko: ../../b.ko\n")}})
	require.NoError(t, err)
	require.Equal(t, []string{"../../b.ko", "a.ko"}, index.Files("a"))
}

func TestPatternsMatchAsFnmatchDoes(t *testing.T) {
	for _, tc := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"*", "a/b", true}, {"a*c", "abbc", true}, {"a*c", "abcb", false},
		{"a*b*c", "aXbYbZc", true}, {"?", "", false}, {"?", "x", true}, {"a?c", "abc", true}, {"[a-c]", "b", true},
		{"[a-c]", "d", false}, {"[!a-c]", "d", true}, {"[^a-c]", "b", false}, {"[]]", "]", true}, {"[a", "[a", true},
		{"[a-]", "-", true}, {"d0[0-9]*", "d04x", true}, {"d0[0-9]*", "d0Ax", false}, {`\*`, "*", true}, {`\*`, "a", false},
		{"pci:v00001AF4d*sv*sd*bc*sc*i*", "pci:v00001AF4d00001000sv00001AF4sd00000001bc02sc00i00", true},
		{"*a*a*a*a*a*a*b", strings.Repeat("a", 2000), false},
	} {
		require.Equal(t, tc.want, modules.Match(tc.pattern, tc.s), "%q against %q", tc.pattern, tc.s)
	}
}

func FuzzReadInfo(f *testing.F) {
	f.Add(modulestest.ELF("name=x", "depends=a,b", "alias=a b", "softdep=pre: x", "vermagic=6.1 SMP"))
	f.Add([]byte("\x7fELF"))
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := modules.ReadInfo(bytes.NewReader(data))
		if err != nil {
			return
		}
		require.NotEmpty(t, info.Name)
		for _, a := range info.Aliases {
			require.False(t, strings.ContainsAny(a, "\n "), "would forge a line of the index")
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("a[b-d]*?", "abx")
	f.Fuzz(func(t *testing.T, pattern, s string) {
		matches := modules.Match(pattern, s) // no pattern makes it panic or run for ever
		if !strings.ContainsAny(pattern, `*?[\`) {
			require.Equal(t, pattern == s, matches)
		}
		require.True(t, modules.Match("*", s))
	})
}

func FuzzReadIndex(f *testing.F) {
	f.Add([]byte("a.ko: b.ko\n"), []byte("alias pci:* a\n"), []byte("softdep a pre: b\n"))
	f.Fuzz(func(t *testing.T, dep, alias, softdep []byte) {
		index, err := modules.ReadIndex(fstest.MapFS{"modules.dep": {Data: dep}, "modules.alias": {Data: alias},
			"modules.softdep": {Data: softdep}})
		if err != nil {
			return
		}
		l := modules.Loader{Index: index, Insert: func(string, string) error { return errors.ErrUnsupported }}
		for _, n := range slices.Compact(index.Lookup("pci:x")) {
			_ = l.Load(n)
		}
	})
}
