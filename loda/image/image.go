package image

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"golang.org/x/sys/unix"
)

// Image describes one image file; it is the content of NAME.json.
type Image struct {
	// Name is 1 to 64 characters a-z, 0-9, dot, dash and underscore, starting with a letter or digit.
	Name string `json:"name"`
	// File is the file's name beside the description.
	File string `json:"file"`
	// Format of the file: raw, zst, gz or xz.
	Format string `json:"format"`
	// Bytes is the size of the file, RawBytes of what it unpacks to.
	Bytes    int64 `json:"bytes"`
	RawBytes int64 `json:"raw_bytes"`
	// SHA256 of the file, hexadecimal.
	SHA256 string `json:"sha256"`
	// Created in UTC.
	Created time.Time `json:"created"`
	// Source says where it came from, for people.
	Source string `json:"source,omitempty"`
	// BIOS and UEFI say which firmware boots it, as far as is known.
	BIOS bool `json:"bios"`
	UEFI bool `json:"uefi"`
	// BuiltinDHCP says that the installed system gets addresses for all its NICs without being told; see
	// [SeedOptions].
	BuiltinDHCP bool `json:"builtin_dhcp,omitempty"`
}

// ErrNotFound says that there is no image of that name.
var ErrNotFound = errors.New("image not found")

// ErrInvalid says that an image's description is wrong, or that its file is not what the description says.
var ErrInvalid = errors.New("image is not valid")

// Dir is a directory of images. It is safe for concurrent use, and so is the directory by several processes: every
// file appears complete or not at all.
type Dir struct {
	path string
}

// Open opens a directory, which must exist.
func Open(path string) (*Dir, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("image directory: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("image directory %s is not a directory", path)
	}
	return &Dir{path: path}, nil
}

// Path of the directory.
func (d *Dir) Path() string { return d.path }

var nameRule = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,63}$`)

// CheckName says whether name can be an image's.
func CheckName(name string) error {
	if !nameRule.MatchString(name) || strings.Contains(name, "..") {
		return fmt.Errorf("image name %q is not 1 to 64 characters a-z, 0-9, dot, dash and underscore, starting with a "+
			"letter or digit", name)
	}
	return nil
}

// List returns all images sorted by name. Descriptions that are wrong are reported together, beside the good ones.
func (d *Dir) List() ([]Image, error) {
	files, err := os.ReadDir(d.path)
	if err != nil {
		return nil, fmt.Errorf("list images: %w", err)
	}
	var images []Image
	var wrong []error
	for _, f := range files {
		name, ok := strings.CutSuffix(f.Name(), ".json")
		if !ok || strings.HasPrefix(name, ".") {
			continue
		}
		img, err := d.Get(name)
		if err != nil {
			wrong = append(wrong, err)
			continue
		}
		images = append(images, img)
	}
	return images, errors.Join(wrong...)
}

// Get returns the description of an image after checking the file's size against it. It returns [ErrNotFound], or
// [ErrInvalid] when description and file do not fit each other.
func (d *Dir) Get(name string) (Image, error) {
	if err := CheckName(name); err != nil {
		return Image{}, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	path := filepath.Join(d.path, name+".json")
	invalid := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s: %s", ErrInvalid, path, fmt.Sprintf(format, args...))
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Image{}, fmt.Errorf("image %q in %s: %w", name, d.path, ErrNotFound)
	}
	if err != nil {
		return Image{}, fmt.Errorf("image %q: %w", name, err)
	}
	img, err := parse(text)
	switch {
	case err != nil:
		return Image{}, invalid("%v", err)
	case img.Name != name:
		return Image{}, invalid("describes image %q", img.Name)
	}
	info, err := os.Lstat(d.File(img))
	switch {
	case err != nil:
		return Image{}, invalid("%v", err)
	case !info.Mode().IsRegular():
		return Image{}, invalid("%s is not a regular file", img.File)
	case info.Size() != img.Bytes:
		return Image{}, invalid("file %s has %d bytes, described are %d: the copy is not complete or the file was replaced; "+
			"import it again", img.File, info.Size(), img.Bytes)
	}
	return img, nil
}

// File is the path of an image's file.
func (d *Dir) File(img Image) string { return filepath.Join(d.path, img.File) }

// parse reads and checks a description.
func parse(text []byte) (Image, error) {
	var img Image
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&img); err != nil {
		return img, err
	}
	if dec.More() {
		return img, errors.New("more than one JSON value")
	}
	if err := CheckName(img.Name); err != nil {
		return img, err
	}
	digest, err := hex.DecodeString(img.SHA256)
	switch {
	case img.File == "" || img.File != filepath.Base(img.File) || strings.HasPrefix(img.File, ".") ||
		strings.HasSuffix(img.File, ".json"):
		return img, fmt.Errorf("file %q is not a plain name", img.File)
	case !slices.Contains([]string{"raw", "zst", "gz", "xz"}, img.Format):
		return img, fmt.Errorf("format %q is none of raw, zst, gz, xz", img.Format)
	case err != nil || len(digest) != sha256.Size || img.SHA256 != strings.ToLower(img.SHA256):
		return img, fmt.Errorf("sha256 %q is not a digest in lower-case hexadecimal", img.SHA256)
	case img.Bytes <= 0 || img.RawBytes <= 0 || img.Format == "raw" && img.Bytes != img.RawBytes:
		return img, fmt.Errorf("sizes %d and %d make no sense", img.Bytes, img.RawBytes)
	}
	return img, nil
}

// Verify reads the whole file and compares its digest; [ErrInvalid] names both.
func (d *Dir) Verify(ctx context.Context, name string) error {
	img, err := d.Get(name)
	if err != nil {
		return err
	}
	f, err := os.Open(d.File(img))
	if err != nil {
		return fmt.Errorf("verify image %q: %w", name, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, reader{ctx, f}); err != nil {
		return fmt.Errorf("verify image %q: %w", name, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != img.SHA256 {
		return fmt.Errorf("%w: %s has SHA-256 %s, described is %s", ErrInvalid, d.File(img), got, img.SHA256)
	}
	return nil
}

// reader stops when its context ends.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// store compresses raw and makes it the image img.Name, whose file, sizes, digest and format it fills in. The file's
// name carries the digest: while an image is replaced, description and file always fit each other.
func (d *Dir) store(ctx context.Context, img Image, raw io.Reader) (_ Image, err error) {
	if err := CheckName(img.Name); err != nil {
		return img, err
	}
	defer func() {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			var st unix.Statfs_t
			unix.Statfs(d.path, &st)
			err = fmt.Errorf("image %q: no space left in %s (%d MiB free); nothing was kept, the old image of that name is "+
				"untouched: %w", img.Name, d.path, int64(st.Bavail)*st.Bsize>>20, err)
		}
	}()
	tmp, err := os.CreateTemp(d.path, "."+img.Name+".*.part")
	if err != nil {
		return img, fmt.Errorf("image %q: %w", img.Name, err)
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	h := sha256.New()
	z, err := zstd.NewWriter(io.MultiWriter(tmp, h), zstd.WithEncoderLevel(zstd.SpeedDefault))
	if err != nil {
		return img, err
	}
	head := make([]byte, 64<<10)
	n, err := io.ReadFull(reader{ctx, raw}, head)
	head = head[:n]
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil
	}
	if !img.BIOS && !img.UEFI {
		img.BIOS, img.UEFI = firmware(head)
	}
	if err == nil {
		img.RawBytes, err = io.Copy(z, io.MultiReader(bytes.NewReader(head), reader{ctx, raw}))
	}
	if err == nil {
		err = z.Close()
	} else {
		z.Reset(nil) // stops its goroutines without writing
	}
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err != nil {
		return img, fmt.Errorf("write image %q: %w", img.Name, err)
	}
	info, err := tmp.Stat()
	if err != nil {
		return img, fmt.Errorf("write image %q: %w", img.Name, err)
	}
	img.Format, img.Bytes, img.SHA256 = "zst", info.Size(), hex.EncodeToString(h.Sum(nil))
	img.File = fmt.Sprintf("%s-%s.img.zst", img.Name, img.SHA256[:12])
	if img.Created.IsZero() {
		img.Created = time.Now().UTC().Truncate(time.Second)
	}
	text, err := json.MarshalIndent(img, "", "  ")
	if err != nil {
		return img, err
	}
	if _, err := parse(text); err != nil {
		return img, fmt.Errorf("image %q: %w", img.Name, err)
	}
	old, oldErr := d.Get(img.Name)
	if err := os.Rename(tmp.Name(), d.File(img)); err != nil {
		return img, fmt.Errorf("write image %q: %w", img.Name, err)
	}
	replaced := oldErr == nil && old.File == img.File
	if err := writeFile(filepath.Join(d.path, img.Name+".json"), append(text, '\n')); err != nil {
		if !replaced {
			os.Remove(d.File(img))
		}
		return img, fmt.Errorf("write image %q: %w", img.Name, err)
	}
	if oldErr == nil && !replaced {
		os.Remove(d.File(old)) // who reads it goes on reading
	}
	return img, nil
}

// writeFile replaces a file atomically.
func writeFile(path string, content []byte) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.part")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if _, err := tmp.Write(content); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Sync(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}
