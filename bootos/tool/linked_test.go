package tool_test

import (
	"bytes"
	"crypto/sha256"
	"debug/elf"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/bootos/tool"
	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/scripts/need"
)

// foreign is a program of this machine that is linked dynamically, with what a file of tools/ would name for it.
func foreign(t *testing.T) (agentapi.Download, *site) {
	t.Helper()
	const program = "/bin/ls"
	s := &site{files: map[string]string{}}
	add := func(path string) string {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		digest := fmt.Sprintf("%x", sha256.Sum256(text))
		s.files[digest] = string(text)
		return digest
	}
	if b, err := os.ReadFile(program); err != nil || !strings.Contains(string(b), "/ld-linux") {
		need.Missing(t, "needs a "+program+" that is linked against a C library")
	}
	d := agentapi.Download{Name: "maketool", SHA256: add(program), Files: map[string]string{}}
	wanted := []string{program, "/lib64/ld-linux-x86-64.so.2"}
	for i := 0; i < len(wanted); i++ {
		e, err := elf.Open(wanted[i])
		require.NoError(t, err)
		names, err := e.ImportedLibraries()
		require.NoError(t, err)
		require.NoError(t, e.Close())
		if i > 0 {
			d.Files[filepath.Base(wanted[i])] = add(wanted[i])
		}
		for _, name := range names {
			for _, dir := range []string{"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"} {
				path := filepath.Join(dir, name)
				if _, err := os.Stat(path); err == nil {
					if !slices.ContainsFunc(wanted, func(w string) bool { return filepath.Base(w) == name }) {
						wanted = append(wanted, path)
					}
					break
				}
			}
		}
	}
	require.Contains(t, d.Files, "libc.so.6")
	return d, s
}

// ramdisk is a root without a C library.
func ramdisk(t *testing.T, s *site) *tool.Fetcher {
	t.Helper()
	root := t.TempDir()
	return &tool.Fetcher{Files: s, Root: root, Dir: filepath.Join(root, "run/loda/tools")}
}

func TestAProgramRunsWithTheCLibraryThatItBrings(t *testing.T) {
	need.Root(t)
	d, s := foreign(t)
	f := ramdisk(t, s)
	// As in some RAM disks, where /lib64 is elsewhere.
	require.NoError(t, os.MkdirAll(filepath.Join(f.Root, "usr/lib64"), 0o755))
	require.NoError(t, os.Symlink("usr/lib64", filepath.Join(f.Root, "lib64")))
	for range 2 {
		path, err := f.Get(t.Context(), d)
		require.NoError(t, err)
		inside := func(path string) string { return strings.TrimPrefix(path, f.Root) }
		run := func(libraries string) ([]byte, error) {
			cmd := &exec.Cmd{Path: inside(path), Args: []string{"maketool", "/run/loda"}, Dir: "/",
				Env: []string{"LD_LIBRARY_PATH=" + libraries}, SysProcAttr: &syscall.SysProcAttr{Chroot: f.Root}}
			return cmd.CombinedOutput()
		}
		out, err := run(inside(f.Libraries(path)))
		require.NoError(t, err, string(out))
		require.Equal(t, "tools\n", string(out))
		out, err = run("/nowhere")
		require.Error(t, err, "this root has no library of its own")
		require.Contains(t, string(out), "cannot open shared object file")
	}
}

func TestAProgramWhoseLibrariesAreMissingNamesThemAll(t *testing.T) {
	d, s := foreign(t)
	bare := agentapi.Download{Name: d.Name, SHA256: d.SHA256}
	f := ramdisk(t, s)
	for range 2 { // also when it is there already
		_, err := f.Get(t.Context(), bare)
		require.ErrorContains(t, err, "maketool: it is linked against ld-linux-x86-64.so.2, ")
		require.ErrorContains(t, err, "libc.so.6")
		require.ErrorContains(t, err, "which bootOS does not have: name them under files")
	}
	delete(d.Files, "libc.so.6")
	_, err := f.Get(t.Context(), d)
	require.EqualError(t, err, "maketool: it is linked against libc.so.6, which bootOS does not have: name them under files, beside its url, "+
		"or take a build that is linked statically")
	// A RAM disk that has it is as good.
	require.NoError(t, os.MkdirAll(filepath.Join(f.Root, "lib"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(f.Root, "lib/libc.so.6"), nil, 0o644))
	_, err = f.Get(t.Context(), d)
	require.NoError(t, err)
}

func TestTwoCLibrariesDoNotMix(t *testing.T) {
	d, s := foreign(t)
	f := ramdisk(t, s)
	_, err := f.Get(t.Context(), d)
	require.NoError(t, err)
	same := d
	same.Name = "another"
	_, err = f.Get(t.Context(), same)
	require.NoError(t, err)

	other := agentapi.Download{Name: "third", SHA256: d.SHA256, Files: map[string]string{}}
	for name, digest := range d.Files {
		other.Files[name] = digest
	}
	loader := "another C library's loader"
	other.Files["ld-linux-x86-64.so.2"] = fmt.Sprintf("%x", sha256.Sum256([]byte(loader)))
	s.files[other.Files["ld-linux-x86-64.so.2"]] = loader
	_, err = f.Get(t.Context(), other)
	require.ErrorContains(t, err, "third: /lib64/ld-linux-x86-64.so.2 is there with sha256 ")
	require.ErrorContains(t, err, "give all tools of a profile the same C library")

	// A link that leads nowhere is in nobody's way.
	require.NoError(t, os.RemoveAll(f.Dir))
	_, err = f.Get(t.Context(), other)
	require.NoError(t, err)
}

func TestScriptsStaticProgramsAndWhatIsNoProgramAreLeftAlone(t *testing.T) {
	var static bytes.Buffer
	head := elf.Header64{Type: uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT), Ehsize: 64}
	copy(head.Ident[:], "\x7fELF\x02\x01\x01")
	require.NoError(t, binary.Write(&static, binary.LittleEndian, head))
	_, err := elf.NewFile(bytes.NewReader(static.Bytes()))
	require.NoError(t, err)
	broken := append([]byte("\x7fELF\x02\x01\x01"), make([]byte, 100)...)
	for _, text := range []string{"#!/bin/sh\n", "", "\x7fELF", string(broken), static.String()} {
		digest := fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		f := ramdisk(t, &site{files: map[string]string{digest: text}})
		path, err := f.Get(t.Context(), agentapi.Download{Name: "x", SHA256: digest})
		require.NoError(t, err)
		require.FileExists(t, path)
		entries, err := os.ReadDir(f.Root)
		require.NoError(t, err)
		require.Len(t, entries, 1, "only /run")
	}
}

func FuzzAnyFileCanBeLookedAt(f *testing.F) {
	self, err := os.ReadFile("/bin/true")
	if err == nil {
		f.Add(self[:min(len(self), 4096)])
	}
	f.Add([]byte("\x7fELF\x02\x01\x01"))
	f.Fuzz(func(t *testing.T, text []byte) {
		digest := fmt.Sprintf("%x", sha256.Sum256(text))
		fetcher := ramdisk(t, &site{files: map[string]string{digest: string(text)}})
		_, _ = fetcher.Get(t.Context(), agentapi.Download{Name: "x", SHA256: digest})
		entries, err := os.ReadDir(fetcher.Root)
		require.NoError(t, err)
		require.Len(t, entries, 1, "only /run")
	})
}
