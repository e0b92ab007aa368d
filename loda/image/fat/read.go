package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"unicode/utf16"
)

// Reader reads FAT12, FAT16 and FAT32 without a mount: an EFI system partition, or a seed. It believes nothing that
// the file system says about sizes without checking it.
type Reader struct {
	r            io.ReaderAt
	sectorBytes  int64
	clusterBytes int64
	fatAt        int64
	rootAt       int64
	rootBytes    int64
	rootCluster  uint32 // FAT32
	dataAt       int64
	clusters     uint32
	bits         int
}

// maxDirBytes bounds a directory; the specification allows 65536 entries.
const maxDirBytes = 65536 * entryBytes

// NewReader reads the boot sector at the start of r.
func NewReader(r io.ReaderAt) (*Reader, error) {
	var b [512]byte
	if _, err := r.ReadAt(b[:], 0); err != nil {
		return nil, fmt.Errorf("read FAT boot sector: %w", err)
	}
	le := binary.LittleEndian
	f := &Reader{r: r, sectorBytes: int64(le.Uint16(b[11:])), clusterBytes: int64(b[13])}
	if b[510] != 0x55 || b[511] != 0xAA || (b[0] != 0xEB && b[0] != 0xE9) {
		return nil, errors.New("no FAT file system")
	}
	switch f.sectorBytes {
	case 512, 1024, 2048, 4096:
	default:
		return nil, fmt.Errorf("FAT with sectors of %d bytes", f.sectorBytes)
	}
	if f.clusterBytes == 0 || f.clusterBytes&(f.clusterBytes-1) != 0 {
		return nil, fmt.Errorf("FAT with %d sectors in a cluster", f.clusterBytes)
	}
	f.clusterBytes *= f.sectorBytes
	fatSectors := int64(le.Uint16(b[22:]))
	if fatSectors == 0 {
		fatSectors = int64(le.Uint32(b[36:]))
		f.rootCluster = le.Uint32(b[44:])
	}
	total := int64(le.Uint16(b[19:]))
	if total == 0 {
		total = int64(le.Uint32(b[32:]))
	}
	fats := int64(b[16])
	f.fatAt = int64(le.Uint16(b[14:])) * f.sectorBytes
	f.rootAt = f.fatAt + fats*fatSectors*f.sectorBytes
	f.rootBytes = (int64(le.Uint16(b[17:]))*entryBytes + f.sectorBytes - 1) / f.sectorBytes * f.sectorBytes
	f.dataAt = f.rootAt + f.rootBytes
	data := total*f.sectorBytes - f.dataAt
	if f.fatAt == 0 || fats == 0 || fatSectors == 0 || data < f.clusterBytes {
		return nil, errors.New("FAT boot sector makes no sense")
	}
	f.clusters = uint32(data / f.clusterBytes)
	switch {
	case f.clusters < minClusters:
		f.bits = 12
	case f.clusters <= maxClusters:
		f.bits = 16
	default:
		f.bits = 32
	}
	// mkfs.vfat -F 32 makes small ones too; what the boot sector looks like decides then, as in Linux.
	if le.Uint16(b[22:]) == 0 {
		f.bits = 32
	}
	if f.bits == 32 && le.Uint16(b[17:]) != 0 || (int64(f.clusters)+2)*int64(f.bits)/8 > fatSectors*f.sectorBytes {
		return nil, errors.New("FAT is too small for its file system")
	}
	return f, nil
}

// next follows a chain; ok is false at its end.
func (f *Reader) next(cluster uint32) (next uint32, ok bool, err error) {
	var b [4]byte
	width := int64(f.bits) / 8
	at := f.fatAt + int64(cluster)*int64(f.bits)/8
	if f.bits == 12 {
		width = 2
	}
	if _, err := f.r.ReadAt(b[:width], at); err != nil {
		return 0, false, fmt.Errorf("read FAT: %w", err)
	}
	next = binary.LittleEndian.Uint32(b[:])
	end := uint32(0x0FFFFFF8)
	switch f.bits {
	case 12:
		if cluster%2 == 1 {
			next >>= 4
		}
		next, end = next&0xFFF, 0xFF8
	case 16:
		end = 0xFFF8
	case 32:
		next &= 0x0FFFFFFF
	}
	if next >= end {
		return 0, false, nil
	}
	if next < 2 || next >= f.clusters+2 {
		return 0, false, fmt.Errorf("FAT chain leads to cluster %d of %d", next, f.clusters)
	}
	return next, true, nil
}

// chain reads size bytes, or to the chain's end for size < 0.
func (f *Reader) chain(cluster uint32, size int64) ([]byte, error) {
	limit := size
	if size < 0 {
		limit = maxDirBytes
	}
	if size == 0 {
		return nil, nil
	}
	if cluster < 2 || cluster >= f.clusters+2 || limit > int64(f.clusters)*f.clusterBytes && size >= 0 {
		return nil, fmt.Errorf("FAT file starts in cluster %d of %d with %d bytes", cluster, f.clusters, size)
	}
	var out []byte
	buf := make([]byte, f.clusterBytes)
	for ok := true; ok; {
		if int64(len(out)) >= limit {
			if size < 0 {
				return nil, errors.New("FAT directory without an end")
			}
			break
		}
		if _, err := f.r.ReadAt(buf, f.dataAt+int64(cluster-2)*f.clusterBytes); err != nil {
			return nil, fmt.Errorf("read FAT cluster %d: %w", cluster, err)
		}
		out = append(out, buf...)
		var err error
		if cluster, ok, err = f.next(cluster); err != nil {
			return nil, err
		}
	}
	if size < 0 {
		return out, nil
	}
	if int64(len(out)) < size {
		return nil, errors.New("FAT file is shorter than its directory says")
	}
	return out[:size], nil
}

// Entry is a file or directory.
type Entry struct {
	// Name is the long one where there is one.
	Name    string
	Dir     bool
	Size    int64
	short   string
	cluster uint32
}

// list reads a directory; cluster 0 is the root.
func (f *Reader) list(cluster uint32) ([]Entry, error) {
	var raw []byte
	var err error
	switch {
	case cluster == 0 && f.bits != 32:
		raw = make([]byte, f.rootBytes)
		_, err = f.r.ReadAt(raw, f.rootAt)
	case cluster == 0:
		raw, err = f.chain(f.rootCluster, -1)
	default:
		raw, err = f.chain(cluster, -1)
	}
	if err != nil {
		return nil, fmt.Errorf("read FAT directory: %w", err)
	}
	var out []Entry
	var long []uint16
	le := binary.LittleEndian
	for ; len(raw) >= entryBytes && raw[0] != 0; raw = raw[entryBytes:] {
		e := raw[:entryBytes]
		if e[11]&0x3f == attrLong {
			if e[0]&0x40 != 0 {
				long = nil
			}
			part := make([]uint16, 0, 13)
			for _, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
				part = append(part, le.Uint16(e[at:]))
			}
			if long = append(part, long...); len(long) > 260 {
				long = nil
			}
			continue
		}
		name := long
		long = nil
		if e[0] == 0xE5 || e[0] == '.' || e[11]&attrVolume != 0 {
			continue
		}
		short := strings.TrimRight(string(e[:8]), " ")
		if ext := strings.TrimRight(string(e[8:11]), " "); ext != "" {
			short += "." + ext
		}
		entry := Entry{Name: short, short: short, Dir: e[11]&attrDirectory != 0, Size: int64(le.Uint32(e[28:])),
			cluster: uint32(le.Uint16(e[26:]))}
		if f.bits == 32 {
			entry.cluster |= uint32(le.Uint16(e[20:])) << 16
		}
		for i, u := range name {
			if u == 0 {
				name = name[:i]
				break
			}
		}
		if len(name) > 0 {
			entry.Name = string(utf16.Decode(name))
		}
		out = append(out, entry)
	}
	return out, nil
}

// find walks a slash-separated path, in any case. The root is "".
func (f *Reader) find(path string) (Entry, error) {
	at := Entry{Dir: true}
	for part := range strings.SplitSeq(strings.Trim(path, "/"), "/") {
		if part == "" {
			continue
		}
		if !at.Dir {
			return at, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
		entries, err := f.list(at.cluster)
		if err != nil {
			return at, err
		}
		found := false
		for _, e := range entries {
			if strings.EqualFold(e.Name, part) || strings.EqualFold(e.short, part) {
				if e.Dir && e.cluster == 0 {
					return at, errors.New("FAT directory leads back to the root")
				}
				at, found = e, true
				break
			}
		}
		if !found {
			return at, fmt.Errorf("%s: %w", path, fs.ErrNotExist)
		}
	}
	return at, nil
}

// ReadDir lists a directory; "" is the root. What does not exist is [fs.ErrNotExist].
func (f *Reader) ReadDir(path string) ([]Entry, error) {
	e, err := f.find(path)
	if err != nil {
		return nil, err
	}
	if !e.Dir {
		return nil, fmt.Errorf("%s is not a directory", path)
	}
	return f.list(e.cluster)
}

// ReadFile reads a file of at most limit bytes.
func (f *Reader) ReadFile(path string, limit int64) ([]byte, error) {
	e, err := f.find(path)
	switch {
	case err != nil:
		return nil, err
	case e.Dir:
		return nil, fmt.Errorf("%s is a directory", path)
	case e.Size > limit:
		return nil, fmt.Errorf("%s has %d bytes, expected at most %d", path, e.Size, limit)
	}
	data, err := f.chain(e.cluster, e.Size)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return data, nil
}
