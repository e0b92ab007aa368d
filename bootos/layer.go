package bootos

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/u-root/mkuimage/cpio"
)

// layer is one cpio archive of the initramfs. Nothing of this host gets in but contents, permissions and link targets.
type layer struct {
	name    string
	records map[string]cpio.Record
}

func newLayer(name string) *layer { return &layer{name: name, records: map[string]cpio.Record{}} }

func (l *layer) put(r cpio.Record) {
	r = cpio.MakeReproducible(r)
	l.records[r.Name] = r
}

func (l *layer) file(name string, content []byte, perm fs.FileMode) {
	r := cpio.StaticRecord(content, cpio.Info{Name: name, Mode: cpio.S_IFREG | uint64(perm.Perm())})
	l.put(r)
}

// host puts a file, link or directory tree of this host at the name. Links are kept as they are inside a tree and
// followed at its root. Devices and sockets are refused.
func (l *layer) host(name, source string) error {
	clean := cpio.Normalize(name)
	if clean == "." || clean == ".." || strings.HasPrefix(clean, "../") {
		return fmt.Errorf("file %s: %q is no path inside the image", source, name)
	}
	root, err := filepath.EvalSymlinks(source)
	if err != nil {
		return err
	}
	return filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		into := path.Join(clean, filepath.ToSlash(rel))
		info, err := d.Info()
		if err != nil {
			return err
		}
		switch mode := info.Mode(); {
		case mode.IsDir():
			l.put(cpio.Directory(into, uint64(mode.Perm())))
		case mode.IsRegular():
			content, err := os.ReadFile(file)
			if err != nil {
				return err
			}
			l.file(into, content, mode)
		case mode&fs.ModeSymlink != 0:
			target, err := os.Readlink(file)
			if err != nil {
				return err
			}
			l.put(cpio.Symlink(into, target))
		default:
			return fmt.Errorf("%s is neither file, directory nor link", file)
		}
		return nil
	})
}

// archive returns the cpio archive: sorted, every directory before what is in it.
func (l *layer) archive() ([]byte, error) {
	for _, name := range slices.Collect(maps.Keys(l.records)) {
		for dir := path.Dir(name); dir != "." && dir != "/"; dir = path.Dir(dir) {
			if _, ok := l.records[dir]; !ok {
				l.put(cpio.Directory(dir, 0o755))
			}
		}
	}
	var buf bytes.Buffer
	w := cpio.Newc.Writer(&buf)
	// Sorting by path elements, not bytes, puts `a/b` before `a-b`; either way `a` comes before `a/b`.
	for _, name := range slices.SortedFunc(maps.Keys(l.records), cmp.Compare) {
		if name == "." {
			continue
		}
		if err := w.WriteRecord(l.records[name]); err != nil {
			return nil, fmt.Errorf("layer %s: %s: %w", l.name, name, err)
		}
	}
	if err := cpio.WriteTrailer(w); err != nil {
		return nil, err
	}
	return buf.Bytes(), nil
}

// windowSize is what the kernel needs in memory besides while it unpacks.
const windowSize = 8 << 20

// compress makes exactly one Zstandard frame, since the kernel looks for a new archive after each.
func compress(data []byte) ([]byte, error) {
	// One goroutine: how a stream is cut into blocks must not depend on the number of cores.
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(windowSize), zstd.WithSingleSegment(false))
	if err != nil {
		return nil, err
	}
	defer enc.Close()
	return enc.EncodeAll(data, nil), nil
}

// build returns the compressed layer and its description.
func (l *layer) build() ([]byte, LayerInfo, error) {
	raw, err := l.archive()
	if err != nil {
		return nil, LayerInfo{}, err
	}
	packed, err := compress(raw)
	if err != nil {
		return nil, LayerInfo{}, fmt.Errorf("layer %s: %w", l.name, err)
	}
	return packed, LayerInfo{Name: l.name, FileInfo: infoOf(packed), Unpacked: int64(len(raw))}, nil
}

// readLayer describes a compressed layer that was built before, and makes sure that it is one.
func readLayer(name string, packed []byte) (*cpio.Archive, LayerInfo, error) {
	dec, err := zstd.NewReader(bytes.NewReader(packed), zstd.WithDecoderMaxMemory(2<<30))
	if err != nil {
		return nil, LayerInfo{}, err
	}
	defer dec.Close()
	raw, err := io.ReadAll(dec)
	if err != nil {
		return nil, LayerInfo{}, fmt.Errorf("not a Zstandard file: %w", err)
	}
	archive, err := cpio.ArchiveFromReader(cpio.Newc.Reader(bytes.NewReader(raw)))
	if err != nil {
		return nil, LayerInfo{}, fmt.Errorf("not a cpio archive: %w", err)
	}
	return archive, LayerInfo{Name: name, FileInfo: infoOf(packed), Unpacked: int64(len(raw))}, nil
}

func infoOf(data []byte) FileInfo {
	sum := sha256.Sum256(data)
	return FileInfo{Bytes: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
}
