package bootos

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/u-root/gobusybox/src/pkg/golang"
	"github.com/u-root/mkuimage/cpio"
	"github.com/u-root/mkuimage/uimage"
	"github.com/u-root/mkuimage/uimage/builder"
	"github.com/u-root/mkuimage/uimage/initramfs"
)

const modulePath = "github.com/project-loda/loda"

// baseFormat is part of the digest of a base layer: a change of what is put around the program is a new base.
const baseFormat = "loda base layer 1"

// ownCommands are Loda's programs in the base layer. The name of the first is what the kernel starts.
var ownCommands = []string{modulePath + "/bootos/init", modulePath + "/bootos/modprobe", modulePath + "/bootos/sh"}

// urootCommands are for the scripts of profiles and for the emergency shell. Not in: what would be a second init, DHCP
// client or daemon beside the agent.
var urootCommands = []string{
	"base64", "basename", "blkid", "cat", "chmod", "chroot", "comm", "cp", "cpio", "date", "df", "dirname", "dmesg",
	"du", "echo", "false", "find", "free", "gosh", "grep", "gzip", "head", "hexdump", "hostname", "hwclock", "id",
	"insmod", "ip", "kill", "ln", "losetup", "ls", "lsmod", "md5sum", "mkdir", "mkfifo", "mknod", "mktemp", "more",
	"mount", "mv", "netstat", "nohup", "pci", "pidof", "ping", "printenv", "ps", "pwd", "readlink", "realpath", "rm",
	"rmmod", "seq", "shasum", "sleep", "sort", "strings", "stty", "sync", "tail", "tar", "tee", "time", "timeout",
	"touch", "tr", "true", "tty", "umount", "uname", "uniq", "unshare", "uptime", "wc", "wget", "which", "xargs",
	"yes",
}

// buildTags leave out gosh's line editor, which questions the terminal whenever the program starts, under any name.
var buildTags = []string{"goshsmall"}

// basePackages are all commands of the base layer.
func basePackages() []string {
	all := slices.Clone(ownCommands)
	for _, c := range urootCommands {
		all = append(all, "github.com/u-root/u-root/cmds/core/"+c)
	}
	return all
}

// base returns the compressed base layer and the digest of what it was made from, from the cache where possible.
func base(ctx context.Context, source, cache string, log *slog.Logger) ([]byte, error) {
	source, err := findModule(source)
	if err != nil {
		return nil, err
	}
	digest, err := baseDigest(ctx, source)
	if err != nil {
		return nil, err
	}
	file := filepath.Join(cache, "base", digest+".cpio.zst")
	if packed, err := os.ReadFile(file); err == nil {
		return packed, nil
	}
	log.Info("build the base layer with Go; this takes up to a minute", "source", source, "digest", digest)
	l, err := compileBase(ctx, source, digest)
	if err != nil {
		return nil, err
	}
	packed, _, err := l.build()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return nil, err
	}
	return packed, writeFile(file, packed)
}

// findModule finds Loda's go.mod at or above dir.
func findModule(dir string) (string, error) {
	if dir == "" {
		dir = "."
	}
	start, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	for at := start; ; at = filepath.Dir(at) {
		mod, err := os.ReadFile(filepath.Join(at, "go.mod"))
		if err == nil && strings.HasPrefix(string(mod), "module "+modulePath+"\n") {
			return at, nil
		}
		if at == filepath.Dir(at) {
			return "", fmt.Errorf("building the base layer needs Loda's source, and %s is not inside it: "+
				"name a checkout (Source), or a base layer that was built elsewhere (Base)", start)
		}
	}
}

// goEnv is the environment for the Go tool, as mkuimage sets it.
func goEnv() []string { return append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64") }

// baseDigest digests all that the base layer depends on: the compiler's version, the versions of foreign modules, the
// text of our own packages.
func baseDigest(ctx context.Context, source string) (string, error) {
	h := sha256.New()
	fmt.Fprintln(h, baseFormat, buildTags, basePackages())
	compiler, err := goTool(ctx, source, "env", "GOVERSION", "GOAMD64", "GOFLAGS", "GOEXPERIMENT", "GOFIPS140")
	if err != nil {
		return "", err
	}
	h.Write(compiler)
	args := append([]string{"list", "-deps", "-tags=" + strings.Join(buildTags, ","),
		"-json=ImportPath,Dir,Standard,Module,GoFiles,SFiles,HFiles,EmbedFiles"}, basePackages()...)
	list, err := goTool(ctx, source, args...)
	if err != nil {
		return "", err
	}
	for dec := json.NewDecoder(bytes.NewReader(list)); ; {
		var p struct {
			ImportPath, Dir string
			Standard        bool
			Module          *struct {
				Path, Version string
				Replace       *struct{ Path, Version string }
			}
			GoFiles, SFiles, HFiles, EmbedFiles []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return hex.EncodeToString(h.Sum(nil))[:16], nil
		} else if err != nil {
			return "", fmt.Errorf("go list: %w", err)
		}
		if p.Standard {
			continue
		}
		fmt.Fprintln(h, p.ImportPath)
		if p.Module != nil && p.Module.Version != "" && p.Module.Replace == nil {
			fmt.Fprintln(h, p.Module.Version)
			continue
		}
		for _, name := range slices.Concat(p.GoFiles, p.SFiles, p.HFiles, p.EmbedFiles) {
			sum, err := digestOf(filepath.Join(p.Dir, name))
			if err != nil {
				return "", err
			}
			fmt.Fprintln(h, name, sum)
		}
	}
}

func goTool(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, goEnv()
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("building the base layer needs the Go toolchain: %w; "+
			"install it, or give a base layer that was built elsewhere (Base)", err)
	}
	if err != nil {
		return nil, fmt.Errorf("go %s in %s: %w: %s", args[0], dir, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return out, nil
}

// compileBase builds the busybox and what the kernel needs around it.
func compileBase(ctx context.Context, source, digest string) (*layer, error) {
	// A program that was built with -trimpath does not know by itself where Go is.
	goroot, err := goTool(ctx, source, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp("", "loda-bootos-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)

	env := golang.Default(golang.DisableCGO(), golang.WithGOOS("linux"), golang.WithGOARCH("amd64"),
		golang.WithGOROOT(strings.TrimSpace(string(goroot))), golang.WithWorkingDir(source), golang.WithBuildTag(buildTags...))
	l := newLayer("base")
	err = uimage.Create(nil,
		uimage.WithReplaceEnv(env),
		uimage.WithTempDir(tmp),
		// Inlining costs a megabyte and makes unpacking an image a good deal faster.
		uimage.WithCommands(&golang.BuildOpts{EnableInlining: true}, &builder.GBBBuilder{}, basePackages()...),
		uimage.WithInit("init"),
		uimage.WithShell("sh"),
		uimage.WithSkipLDD(),
		uimage.WithOutput(layerWriter{l}),
	)
	if err != nil {
		return nil, fmt.Errorf("base layer: %w", err)
	}
	for _, dir := range []string{"bin", "dev", "etc", "lib", "mnt", "proc", "root", "run", "sbin", "sys", "tmp",
		"usr/lib/loda", "var/log"} {
		l.put(cpio.Directory(dir, 0o755))
	}
	// The kernel opens it for init's standard streams before anything can mount devtmpfs.
	l.put(cpio.CharDev("dev/console", 0o600, 5, 1))
	l.put(cpio.CharDev("dev/null", 0o666, 1, 3))
	// The kernel starts it itself when it wants a module, for a file system or a cipher.
	l.put(cpio.Symlink("sbin/modprobe", "/bbin/modprobe"))
	l.file("etc/loda/base", []byte(digest+"\n"), 0o644)
	return l, nil
}

// layerWriter lets mkuimage write into a layer.
type layerWriter struct{ *layer }

func (w layerWriter) OpenWriter() (initramfs.Writer, error) { return w, nil }
func (w layerWriter) Finish() error                         { return nil }

// WriteRecord copies the content: it may be a file of a directory that is removed.
func (w layerWriter) WriteRecord(r cpio.Record) error {
	if r.ReaderAt != nil && r.Mode&cpio.S_IFMT == cpio.S_IFREG {
		content, err := io.ReadAll(io.NewSectionReader(r.ReaderAt, 0, int64(r.FileSize)))
		if err != nil {
			return err
		}
		if c, ok := r.ReaderAt.(io.Closer); ok {
			if err := c.Close(); err != nil {
				return err
			}
		}
		r = cpio.StaticRecord(content, r.Info)
	}
	w.put(r)
	return nil
}
