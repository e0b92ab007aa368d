package bootos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/u-root/mkuimage/cpio"

	"github.com/project-loda/loda/scripts/need"
)

func TestToolsRunWithNothingButWhatTheirLayerHas(t *testing.T) {
	need.Root(t)
	need.Command(t, "apt-get", "dpkg-deb")
	b := newBench(t)
	b.opts.CacheDir, b.opts.Tools = userCache(t), DefaultTools()
	r := b.build()
	var packages []string
	for _, p := range r.Manifest.Tools {
		name, version, ok := strings.Cut(p, " ")
		require.True(t, ok && version != "", p)
		packages = append(packages, name)
	}
	require.Equal(t, []string{"libblkid1", "libc6", "libsmartcols1", "libudev1", "mdadm", "util-linux"}, packages)

	root := t.TempDir()
	for name, record := range unpack(t, r.Initramfs, r.Manifest) {
		file := filepath.Join(root, name)
		switch {
		case !strings.HasPrefix(name, "sbin/") && !strings.HasPrefix(name, "lib/x86_64") && !strings.HasPrefix(name, "lib64/"):
		case record.Mode&cpio.S_IFMT == cpio.S_IFLNK:
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.Symlink(content(t, record), file))
		case record.Mode&cpio.S_IFMT == cpio.S_IFREG:
			require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
			require.NoError(t, os.WriteFile(file, []byte(content(t, record)), os.FileMode(record.Mode&0o777)))
		}
	}
	for tool, says := range map[string]string{"mdadm": "mdadm - v4", "wipefs": "wipefs from util-linux"} {
		cmd := exec.Command("/sbin/"+tool, "--version")
		cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
		cmd.Dir, cmd.Env = "/", []string{}
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), says)
	}
}

func TestWithoutToolsTheImageIsTheSameAsBefore(t *testing.T) {
	b := newBench(t) // its kernel is given, so nothing is downloaded
	r := b.build()
	require.Empty(t, r.Manifest.Tools)
	layers := r.Manifest.Layers
	b.opts.Tools = []string{}
	require.Equal(t, layers, b.build().Manifest.Layers)
	for _, l := range layers {
		require.NotEqual(t, "tools", l.Name)
	}
	b.opts.Tools = []string{"storcli64"}
	b.fails(`tool "storcli64": want one of ["mdadm" "wipefs"]; others are added as files`)
}

func TestAToolWhoseLibraryIsNowhereIsRefused(t *testing.T) {
	need.Command(t, "ls")
	ls, err := exec.LookPath("ls")
	require.NoError(t, err)
	program, err := os.ReadFile(ls)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "sbin"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sbin/ls"), program, 0o755))
	require.ErrorContains(t, addTool(newLayer("tools"), "ls", []string{dir}), "which none of them has")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sbin/script"), []byte("#!/bin/sh\n"), 0o755))
	require.ErrorContains(t, addTool(newLayer("tools"), "script", []string{dir}), "is no program for Linux")
	require.ErrorIs(t, addTool(newLayer("tools"), "none", []string{dir}), os.ErrNotExist)
}
