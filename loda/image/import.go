package image

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"

	"github.com/project-loda/loda/loda/image/gpt"
)

// ImportOptions of [Import].
type ImportOptions struct {
	// Name of the image. An image of that name is replaced.
	Name string
	// Format of the source: raw, qcow2, vmdk, vhdx, vpc. Empty: by content.
	Format string
	// Source is for people. Default: the source's file name.
	Source string
	// BIOS and UEFI as in [Image]. Neither: found out from boot code and partition table.
	BIOS, UEFI bool
	// Progress gets the fraction done, 0 to 1, about once a second, never concurrently. It may be nil.
	Progress func(fraction float64)
}

// Import converts a disk image (qcow2, vmdk, vhdx, vhd or raw; raw may be compressed by gzip, xz or zstd) to an image
// in dir. All but raw need qemu-img, and room for the unpacked image in dir. Images that refer to other files (backing
// files, split extents) are refused: they would bring files of this host into the image.
func Import(ctx context.Context, src string, dir *Dir, o ImportOptions) (_ Image, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("import %s: %w", src, err)
		}
	}()
	if err := CheckName(o.Name); err != nil {
		return Image{}, err
	}
	f, err := os.Open(src)
	if err != nil {
		return Image{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Image{}, err
	}
	if !info.Mode().IsRegular() || info.Size() == 0 {
		return Image{}, errors.New("not a regular file, or empty")
	}
	format, compression, err := detectFormat(f, info.Size())
	if err != nil {
		return Image{}, err
	}
	if o.Format != "" && o.Format != format {
		if o.Format != "raw" {
			return Image{}, fmt.Errorf("it is %s, not %s", format, o.Format)
		}
		format = "raw"
	}
	if o.Source == "" {
		o.Source = filepath.Base(src)
	}
	report := func(fraction float64) {
		if o.Progress != nil {
			o.Progress(fraction)
		}
	}
	from, done := f, 0.0
	if format != "raw" {
		done = 0.5
		raw, err := convert(ctx, src, format, dir.path, func(x float64) { report(x * done) })
		if err != nil {
			return Image{}, err
		}
		defer os.Remove(raw.Name())
		defer raw.Close()
		from = raw
	}
	if info, err = from.Stat(); err != nil {
		return Image{}, err
	}
	counted := &counter{r: from}
	stop := every(time.Second, func() {
		report(done + (1-done)*float64(counted.n.Load())/float64(max(info.Size(), 1)))
	})
	defer stop()
	plain, err := unpack(compression, bufio.NewReaderSize(counted, 1<<20))
	if err != nil {
		return Image{}, err
	}
	defer plain.Close()
	img, err := dir.store(ctx, Image{Name: o.Name, Source: o.Source, BIOS: o.BIOS, UEFI: o.UEFI}, plain)
	stop()
	if err == nil {
		report(1)
	}
	return img, err
}

// detectFormat looks at the first and last bytes.
func detectFormat(f *os.File, size int64) (format, compression string, err error) {
	head := make([]byte, 512)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return "", "", err
	}
	head = head[:n]
	foot := make([]byte, 8)
	if size >= 512 {
		if _, err := f.ReadAt(foot, size-512); err != nil {
			return "", "", err
		}
	}
	is := func(magic string) bool { return bytes.HasPrefix(head, []byte(magic)) }
	switch {
	case is("QFI\xfb"):
		return "qcow2", "", nil
	case is("KDMV"), is("COWD"), is("# Disk DescriptorFile"):
		return "vmdk", "", nil
	case is("vhdxfile"):
		return "vhdx", "", nil
	case is("conectix"), string(foot) == "conectix":
		return "vpc", "", nil
	case is("\x1f\x8b"):
		return "raw", "gz", nil
	case is("\xfd7zXZ\x00"):
		return "raw", "xz", nil
	case is("\x28\xb5\x2f\xfd"):
		return "raw", "zst", nil
	}
	return "raw", "", nil
}

func unpack(compression string, r io.Reader) (io.ReadCloser, error) {
	switch compression {
	case "gz":
		return gzip.NewReader(r)
	case "xz":
		x, err := xz.NewReader(r)
		return io.NopCloser(x), err
	case "zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(1<<30))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// convert unpacks to a file in dir that nobody takes for an image.
func convert(ctx context.Context, src, format, dir string, progress func(float64)) (*os.File, error) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		return nil, fmt.Errorf("a %s image needs qemu-img (Debian: qemu-utils)", format)
	}
	// The path must not be taken for an option or a protocol such as nbd:.
	src, err := filepath.Abs(src)
	if err != nil {
		return nil, err
	}
	if err := standsAlone(ctx, src, format); err != nil {
		return nil, err
	}
	raw, err := os.CreateTemp(dir, ".import.*.part")
	if err != nil {
		return nil, err
	}
	keep := false
	defer func() {
		if !keep {
			raw.Close()
			os.Remove(raw.Name())
		}
	}()
	cmd := exec.CommandContext(ctx, "qemu-img", "convert", "-p", "-f", format, "-O", "raw", src, raw.Name())
	var problem bytes.Buffer
	cmd.Stderr = &problem
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	// "    (12.34/100%)\r"
	lines := bufio.NewScanner(out)
	lines.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := bytes.IndexByte(data, '\r'); i >= 0 {
			return i + 1, data[:i], nil
		}
		if atEOF && len(data) > 0 {
			return len(data), data, nil
		}
		return 0, nil, nil
	})
	last := time.Time{}
	for lines.Scan() {
		text, _, _ := strings.Cut(strings.TrimLeft(lines.Text(), " ("), "/")
		if percent, err := strconv.ParseFloat(text, 64); err == nil && time.Since(last) > time.Second {
			last = time.Now()
			progress(percent / 100)
		}
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, fmt.Errorf("qemu-img convert: %w: %s", err, strings.TrimSpace(problem.String()))
	}
	keep = true
	return raw, nil
}

// standsAlone refuses images that refer to other files.
func standsAlone(ctx context.Context, src, format string) error {
	text, err := exec.CommandContext(ctx, "qemu-img", "info", "-f", format, "--output=json", src).Output()
	if err != nil {
		if e, ok := errors.AsType[*exec.ExitError](err); ok {
			return fmt.Errorf("qemu-img info: %w: %s", err, strings.TrimSpace(string(e.Stderr)))
		}
		return fmt.Errorf("qemu-img info: %w", err)
	}
	var info struct {
		Backing  string `json:"backing-filename"`
		Specific struct {
			Data struct {
				DataFile string `json:"data-file"`
				Extents  []struct {
					Filename string `json:"filename"`
				} `json:"extents"`
			} `json:"data"`
		} `json:"format-specific"`
	}
	if err := json.Unmarshal(text, &info); err != nil {
		return fmt.Errorf("qemu-img info: %w", err)
	}
	others := []string{info.Backing, info.Specific.Data.DataFile}
	for _, e := range info.Specific.Data.Extents {
		others = append(others, e.Filename)
	}
	for _, other := range others {
		if other != "" && other != src {
			return fmt.Errorf("it refers to another file, %s: convert it to a single file first (qemu-img convert)", other)
		}
	}
	return nil
}

// firmware tells which firmware finds something to boot, from the image's first bytes.
func firmware(head []byte) (bios, uefi bool) {
	if len(head) < 512 || head[510] != 0x55 || head[511] != 0xAA {
		return false, false
	}
	code := bytes.Count(head[:440], []byte{0}) < 440
	for _, sector := range []int{512, 4096} {
		if table, err := gpt.Read(bytes.NewReader(head), sector); err == nil {
			for _, p := range table.Partitions {
				uefi = uefi || p.Type == gpt.TypeESP
			}
			return code, uefi
		}
	}
	for at := 446; at < 510; at += 16 {
		uefi = uefi || head[at+4] == 0xEF
	}
	return code, uefi
}

// counter counts what was read.
type counter struct {
	r io.Reader
	n atomic.Int64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// every calls f until the returned function is called, which may be done twice.
func every(d time.Duration, f func()) (stop func()) {
	done, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				f()
			}
		}
	}()
	ended := false
	return func() {
		if !ended {
			ended = true
			close(done)
			<-stopped
		}
	}
}
