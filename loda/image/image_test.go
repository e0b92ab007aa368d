package image_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"github.com/ulikunitz/xz"

	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image"
	"github.com/project-loda/loda/loda/image/gpt"
	"github.com/project-loda/loda/loda/image/imagetest"
	"github.com/project-loda/loda/scripts/need"
)

// rawDisk is a small disk with boot code, an EFI system partition and data.
func rawDisk(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "raw")
	f, err := os.Create(path)
	require.NoError(t, err)
	defer f.Close()
	require.NoError(t, f.Truncate(8<<20))
	data := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{7}).Read(data)
	_, err = f.WriteAt(data, 2<<20)
	require.NoError(t, err)
	_, err = f.WriteAt(data[:440], 0)
	require.NoError(t, err)
	table, err := gpt.New(512, 8<<20/512, gpt.NewGUID())
	require.NoError(t, err)
	_, err = table.Add(gpt.Partition{Type: gpt.TypeESP, ID: gpt.NewGUID(), First: 2048, Last: 4095})
	require.NoError(t, err)
	require.NoError(t, table.WriteBackup(f))
	require.NoError(t, table.WritePrimary(f))
	content, err := os.ReadFile(path)
	require.NoError(t, err)
	return content
}

func open(t *testing.T) *image.Dir {
	t.Helper()
	d, err := image.Open(t.TempDir())
	require.NoError(t, err)
	return d
}

func unpacked(t *testing.T, d *image.Dir, img image.Image) []byte {
	t.Helper()
	packed, err := os.ReadFile(d.File(img))
	require.NoError(t, err)
	z, err := zstd.NewReader(nil)
	require.NoError(t, err)
	defer z.Close()
	raw, err := z.DecodeAll(packed, nil)
	require.NoError(t, err)
	return raw
}

func files(t *testing.T, d *image.Dir) []string {
	t.Helper()
	entries, err := os.ReadDir(d.Path())
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestImagesOfEveryFormatAreImportedBitForBit(t *testing.T) {
	raw := rawDisk(t)
	dir := t.TempDir()
	plain := filepath.Join(dir, "disk.raw")
	require.NoError(t, os.WriteFile(plain, raw, 0o600))
	sources := map[string]func(t *testing.T) string{"raw": func(*testing.T) string { return plain }}
	for _, format := range []string{"qcow2", "vmdk", "vhdx", "vpc"} {
		sources[format] = func(t *testing.T) string {
			need.Command(t, "qemu-img")
			path := filepath.Join(dir, "disk."+format)
			args := []string{"convert", "-f", "raw", "-O", format, plain, path}
			if format == "vpc" {
				args = slices.Insert(args, 5, "-o", "subformat=fixed,force_size=on")
			}
			out, err := exec.Command("qemu-img", args...).CombinedOutput()
			require.NoError(t, err, string(out))
			return path
		}
	}
	pack := func(name string, content func(*bytes.Buffer)) {
		sources[name] = func(t *testing.T) string {
			var b bytes.Buffer
			content(&b)
			path := filepath.Join(dir, "disk."+name)
			require.NoError(t, os.WriteFile(path, b.Bytes(), 0o600))
			return path
		}
	}
	pack("gz", func(b *bytes.Buffer) { w := gzip.NewWriter(b); w.Write(raw); w.Close() })
	pack("xz", func(b *bytes.Buffer) { w, _ := xz.NewWriter(b); w.Write(raw); w.Close() })
	pack("zst", func(b *bytes.Buffer) { w, _ := zstd.NewWriter(b); w.Write(raw); w.Close() })
	for name, make := range sources {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			var last float64
			img, err := image.Import(t.Context(), make(t), d, image.ImportOptions{Name: "x", Progress: func(f float64) {
				require.GreaterOrEqual(t, f, last)
				last = f
			}})
			require.NoError(t, err)
			require.Equal(t, 1.0, last)
			require.True(t, bytes.Equal(raw, unpacked(t, d, img)))
			require.True(t, img.BIOS)
			require.True(t, img.UEFI)
			require.EqualValues(t, len(raw), img.RawBytes)
			require.NoError(t, d.Verify(t.Context(), "x"))
			got, err := d.Get("x")
			require.NoError(t, err)
			require.Equal(t, img, got)
			require.ElementsMatch(t, []string{"x.json", img.File}, files(t, d), "nothing else is left")
		})
	}
}

func TestImagesThatReferToOtherFilesAreRefused(t *testing.T) {
	need.Command(t, "qemu-img")
	dir := t.TempDir()
	secret := filepath.Join(dir, "shadow")
	require.NoError(t, os.WriteFile(secret, make([]byte, 1<<20), 0o600))
	overlay := filepath.Join(dir, "overlay.qcow2")
	out, err := exec.Command("qemu-img", "create", "-f", "qcow2", "-b", secret, "-F", "raw", overlay).CombinedOutput()
	require.NoError(t, err, string(out))
	vmdk := filepath.Join(dir, "flat.vmdk")
	out, err = exec.Command("qemu-img", "create", "-f", "vmdk", "-o", "subformat=monolithicFlat", vmdk, "1M").CombinedOutput()
	require.NoError(t, err, string(out))
	data := filepath.Join(dir, "data.qcow2")
	out, err = exec.Command("qemu-img", "create", "-f", "qcow2", "-o", "data_file="+secret+"2,data_file_raw=on", data, "1M").CombinedOutput()
	require.NoError(t, err, string(out))
	for _, src := range []string{overlay, vmdk, data} {
		d := open(t)
		_, err = image.Import(t.Context(), src, d, image.ImportOptions{Name: "x"})
		require.ErrorContains(t, err, "refers to another file", src)
		require.Empty(t, files(t, d))
	}
}

func TestWhatCannotBeImportedLeavesNothingBehind(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, content []byte) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, content, 0o600))
		return path
	}
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write(rawDisk(t))
	w.Close()
	good := write("good", rawDisk(t))
	for name, c := range map[string]struct {
		src, image, want string
		format           string
	}{
		"cut":           {src: write("cut.gz", gz.Bytes()[:gz.Len()/2]), image: "x", want: "unexpected EOF"},
		"empty":         {src: write("empty", nil), image: "x", want: "empty"},
		"missing":       {src: filepath.Join(dir, "missing"), image: "x", want: "no such file"},
		"name":          {src: good, image: "../x", want: "image name"},
		"upper case":    {src: good, image: "X", want: "image name"},
		"dots":          {src: good, image: "a..b", want: "image name"},
		"other format":  {src: good, image: "x", format: "qcow2", want: "it is raw, not qcow2"},
		"not the image": {src: write("bad.qcow2", append([]byte("QFI\xfb"), make([]byte, 1000)...)), image: "x", want: "qemu-img"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.Contains(c.want, "qemu") {
				need.Command(t, "qemu-img")
			}
			d := open(t)
			_, err := image.Import(t.Context(), c.src, d, image.ImportOptions{Name: c.image, Format: c.format})
			require.ErrorContains(t, err, c.want)
			require.Empty(t, files(t, d))
		})
	}
}

func TestAFullDiskIsSaidClearlyAndTheOldImageStays(t *testing.T) {
	need.Root(t)
	need.Command(t, "mount", "umount")
	dir := t.TempDir()
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=5m", "none", dir).CombinedOutput()
	require.NoError(t, err, string(out))
	t.Cleanup(func() {
		out, err := exec.Command("umount", dir).CombinedOutput()
		require.NoError(t, err, string(out))
	})
	d, err := image.Open(dir)
	require.NoError(t, err)
	src := filepath.Join(t.TempDir(), "raw")
	require.NoError(t, os.WriteFile(src, rawDisk(t), 0o600)) // 3 MiB that do not compress
	old, err := image.Import(t.Context(), src, d, image.ImportOptions{Name: "x"})
	require.NoError(t, err)
	before := files(t, d)
	_, err = image.Import(t.Context(), src, d, image.ImportOptions{Name: "y"})
	require.ErrorContains(t, err, "no space left in "+dir)
	require.ErrorContains(t, err, "nothing was kept")
	require.Equal(t, before, files(t, d))
	got, err := d.Get("x")
	require.NoError(t, err)
	require.Equal(t, old, got)
}

func TestReplacingAnImageKeepsDescriptionAndFileTogether(t *testing.T) {
	d := open(t)
	src := filepath.Join(t.TempDir(), "raw")
	require.NoError(t, os.WriteFile(src, rawDisk(t), 0o600))
	one, err := image.Import(t.Context(), src, d, image.ImportOptions{Name: "x"})
	require.NoError(t, err)
	reading, err := os.Open(d.File(one))
	require.NoError(t, err)
	defer reading.Close()
	require.NoError(t, os.WriteFile(src, bytes.Repeat([]byte("x"), 1<<20), 0o600))
	two, err := image.Import(t.Context(), src, d, image.ImportOptions{Name: "x"})
	require.NoError(t, err)
	require.NotEqual(t, one.File, two.File)
	require.False(t, two.BIOS || two.UEFI, "no boot code, no table")
	require.ElementsMatch(t, []string{"x.json", two.File}, files(t, d))
	n, err := reading.Seek(0, 2)
	require.NoError(t, err)
	require.Equal(t, one.Bytes, n, "a transfer that runs goes on")
	// The same once more.
	again, err := image.Import(t.Context(), src, d, image.ImportOptions{Name: "x"})
	require.NoError(t, err)
	require.Equal(t, two.File, again.File)
	require.NoError(t, d.Verify(t.Context(), "x"))
}

func TestImagesThatDoNotFitTheirDescriptionAreInvalid(t *testing.T) {
	d := open(t)
	src := filepath.Join(t.TempDir(), "raw")
	require.NoError(t, os.WriteFile(src, rawDisk(t), 0o600))
	img, err := image.Import(t.Context(), src, d, image.ImportOptions{Name: "good"})
	require.NoError(t, err)
	describe := func(name string, edit func(*image.Image)) {
		bad := img
		bad.Name = name
		edit(&bad)
		text, err := json.Marshal(bad)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(d.Path(), name+".json"), text, 0o600))
	}
	for name, c := range map[string]struct {
		edit func(*image.Image)
		want string
	}{
		"size":    {func(i *image.Image) { i.Bytes++ }, "described are"},
		"missing": {func(i *image.Image) { i.File = "gone.img.zst" }, "no such file"},
		"outside": {func(i *image.Image) { i.File = "../../etc/passwd" }, "plain name"},
		"renamed": {func(i *image.Image) { i.Name = "good" }, "describes image"},
		"format":  {func(i *image.Image) { i.Format = "bz2" }, "format"},
		"digest":  {func(i *image.Image) { i.SHA256 = "abc" }, "digest"},
	} {
		describe(name, c.edit)
		_, err := d.Get(name)
		require.ErrorIs(t, err, image.ErrInvalid, name)
		require.ErrorContains(t, err, c.want, name)
	}
	require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "key.json"), []byte(`{"name":"key","colour":"red"}`), 0o600))
	_, err = d.Get("key")
	require.ErrorContains(t, err, "colour")
	list, err := d.List()
	require.ErrorIs(t, err, image.ErrInvalid)
	require.Equal(t, []image.Image{img}, list, "the good one is there all the same")
	_, err = d.Get("nobody")
	require.ErrorIs(t, err, image.ErrNotFound)
	_, err = d.Get("../good")
	require.ErrorIs(t, err, image.ErrNotFound)

	content, err := os.ReadFile(d.File(img))
	require.NoError(t, err)
	content[len(content)/2] ^= 1
	require.NoError(t, os.WriteFile(d.File(img), content, 0o600))
	_, err = d.Get("good")
	require.NoError(t, err, "the size alone does not show it")
	err = d.Verify(t.Context(), "good")
	require.ErrorIs(t, err, image.ErrInvalid)
	require.ErrorContains(t, err, img.SHA256)
}

func TestSeedsPassOnExactlyWhatWasGiven(t *testing.T) {
	c := imagetest.NewCallback(t, func(int) int { return 204 })
	user := "#cloud-config\nruncmd:\n- echo 'it: works'\n"
	nasty := "ssh-ed25519 AAAA x: {y} # '\"\\"
	seed, err := image.Seed(image.SeedOptions{Hostname: "a.b", InstanceID: "yes", SSHKeys: []string{nasty, " ssh-rsa BBBB z\n"},
		UserData: user, FirstBoot: c.FirstBoot})
	require.NoError(t, err)
	var names []string
	for name := range seed {
		names = append(names, name)
	}
	require.ElementsMatch(t, []string{"meta-data", "user-data", "vendor-data", "network-config", "loda.json"}, names)
	var meta map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(seed["meta-data"]), &meta))
	require.Equal(t, map[string]any{"instance-id": "yes", "local-hostname": "a.b", "public-keys": []any{nasty, "ssh-rsa BBBB z"}}, meta)
	require.Equal(t, user, seed["user-data"])
	for _, kind := range []string{"text/x-shellscript;", "text/x-shellscript-per-boot;"} {
		require.True(t, strings.HasPrefix(vendorScript(t, seed, kind), "#!/usr/bin/env python3\n"))
	}
	var first agentapi.FirstBoot
	require.NoError(t, json.Unmarshal([]byte(seed["loda.json"]), &first))
	require.Equal(t, c.FirstBoot, first)
	var network map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(seed["network-config"]), &network))
	require.Equal(t, "mac", network["ethernets"].(map[string]any)["all"].(map[string]any)["dhcp-identifier"])

	seed, err = image.Seed(image.SeedOptions{InstanceID: "i"})
	require.NoError(t, err)
	require.NotContains(t, seed, "loda.json")
	require.True(t, strings.HasPrefix(seed["vendor-data"], "#cloud-config"))
}

func TestSeedsThatNobodyWouldUnderstandAreRefused(t *testing.T) {
	c := imagetest.NewCallback(t, func(int) int { return 204 })
	ok := image.SeedOptions{InstanceID: "i", FirstBoot: c.FirstBoot}
	for want, edit := range map[string]func(*image.SeedOptions){
		"instance ID":    func(o *image.SeedOptions) { o.InstanceID = "a\nb" },
		"host name":      func(o *image.SeedOptions) { o.Hostname = "a_b; reboot" },
		"SSH key 2":      func(o *image.SeedOptions) { o.SSHKeys = []string{"ssh-rsa A", "ssh-rsa A\nssh-rsa B"} },
		"user data must": func(o *image.SeedOptions) { o.UserData = "runcmd: [x]" },
		"user data:":     func(o *image.SeedOptions) { o.UserData = "#cloud-config\na: [" },
		"network":        func(o *image.SeedOptions) { o.NetworkConfig = "version: [" },
		"not https":      func(o *image.SeedOptions) { o.FirstBoot.URLs = []string{"http://10.0.0.1/"} },
		"no secret":      func(o *image.SeedOptions) { o.FirstBoot.Secret = "" },
		"PEM":            func(o *image.SeedOptions) { o.FirstBoot.CA = "x" },
	} {
		o := ok
		edit(&o)
		_, err := image.Seed(o)
		require.ErrorContains(t, err, want)
	}
	_, err := image.Seed(ok)
	require.NoError(t, err)
}

// vendorScript takes the script of one kind out of the vendor data.
func vendorScript(t *testing.T, seed map[string]string, kind string) string {
	t.Helper()
	message, err := mail.ReadMessage(strings.NewReader(seed["vendor-data"]))
	require.NoError(t, err)
	_, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	require.NoError(t, err)
	for r := multipart.NewReader(message.Body, params["boundary"]); ; {
		part, err := r.NextPart()
		require.NoError(t, err, "no part of type %s", kind)
		if strings.HasPrefix(part.Header.Get("Content-Type"), kind) {
			text, err := io.ReadAll(part)
			require.NoError(t, err)
			return string(text)
		}
	}
}

// TestTheFirstBootScriptTrustsOnlyItsOwnAuthority runs the script itself, with a mount(8) that shows a directory.
func TestTheFirstBootScriptTrustsOnlyItsOwnAuthority(t *testing.T) {
	need.Command(t, "python3")
	good, other := imagetest.NewCallback(t, func(call int) int { return []int{503, 200}[min(call-1, 1)] }), imagetest.NewCallback(t, func(int) int { return 200 })
	refusing := imagetest.NewCallback(t, func(int) int { return 403 })
	url := func(c *imagetest.Callback) string { return strings.Replace(c.URLs[1], "10.0.2.2", "127.0.0.1", 1) }
	state := t.TempDir() + "/state"
	run := func(t *testing.T, first agentapi.FirstBoot) (string, error) {
		dir := t.TempDir()
		seed, err := image.Seed(image.SeedOptions{InstanceID: "i", FirstBoot: first})
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(dir+"/loda.json", []byte(seed["loda.json"]), 0o600))
		require.NoError(t, os.WriteFile(dir+"/script", []byte(vendorScript(t, seed, "text/x-shellscript-per-boot;")), 0o700))
		for name, text := range map[string]string{
			"blkid": "echo /dev/seed", "umount": ":",
			"mount": `for last; do :; done; cp ` + dir + `/loda.json "$last"; echo "$@" >>` + dir + `/mounts`,
		} {
			require.NoError(t, os.WriteFile(dir+"/"+name, []byte("#!/bin/sh\n"+text+"\n"), 0o700))
		}
		// The temporary directory is not empty here as nothing was really mounted: rmdir must not be what fails.
		script, err := os.ReadFile(dir + "/script")
		require.NoError(t, err)
		patched := strings.Replace(string(script), "os.rmdir(directory)", "pass", 1)
		patched = strings.Replace(patched, "LIMIT = 600", "LIMIT = 3", 1)
		patched = strings.Replace(patched, `"/var/lib/loda"`, `"`+state+`"`, 1)
		require.NoError(t, os.WriteFile(dir+"/script", []byte(patched), 0o700))
		cmd := exec.Command("python3", dir+"/script")
		cmd.Env = []string{"PATH=" + dir + ":" + os.Getenv("PATH"), "TMPDIR=" + dir, "HTTPS_PROXY=http://127.0.0.1:1", "HOME=" + os.Getenv("HOME")}
		out, err := cmd.CombinedOutput()
		mounts, _ := os.ReadFile(dir + "/mounts")
		require.Contains(t, string(mounts), "ro,nosuid,nodev,noexec /dev/seed", string(out))
		return string(out), err
	}

	first := good.FirstBoot
	first.URLs = []string{"https://127.0.0.1:1/x", url(other), url(good)}
	out, err := run(t, first)
	require.NoError(t, err, out)
	require.Contains(t, out, "certificate verify failed")
	require.Empty(t, other.Calls, "the secret does not reach a stranger")
	require.Len(t, good.Calls, 2, "503, then again")
	got := <-good.Calls
	require.Equal(t, good.Secret, got.Secret)
	require.Equal(t, "127.0.0.1", got.Address)
	require.NotEmpty(t, got.Kernel)
	require.Greater(t, got.Uptime, 0.0)

	<-good.Calls
	out, err = run(t, first)
	require.NoError(t, err, out)
	require.Empty(t, good.Calls, "what was heard is not said again")

	first = refusing.FirstBoot
	first.URLs, first.Secret = []string{url(refusing)}, "of another system"
	out, err = run(t, first)
	require.Error(t, err)
	require.Contains(t, out, "refused by")
	require.Len(t, refusing.Calls, 1, "asking again changes nothing")

	first.URLs, first.Secret = []string{"https://127.0.0.1:1/x"}, "nobody heard this one"
	out, err = run(t, first)
	require.Error(t, err)
	require.Contains(t, out, "could not be reported")
}

func FuzzDescriptions(f *testing.F) {
	f.Add([]byte(fmt.Sprintf(`{"name":"x","file":"x.img","format":"raw","bytes":4,"raw_bytes":4,"sha256":"%064d","created":"2024-01-01T00:00:00Z","bios":true,"uefi":false}`, 0)))
	f.Fuzz(func(t *testing.T, text []byte) {
		d, err := image.Open(t.TempDir())
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "x.json"), text, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(d.Path(), "x.img"), []byte("four"), 0o600))
		img, err := d.Get("x")
		if err == nil {
			require.Equal(t, "x.img", img.File, "no description leads out of the directory")
		} else {
			require.True(t, errors.Is(err, image.ErrInvalid))
		}
	})
}
