// Package fat writes small FAT16 file systems in one go: the cloud-init seed on a machine's disk and the EFI system
// partition of a test image. It exists because the seed is a few kilobytes in a partition of a few megabytes, which is
// too small for FAT32 (a FAT32 with fewer than 65525 clusters is read as FAT16 by drivers that follow Microsoft's
// specification, "FAT: General Overview of On-Disk Format" 1.03).
package fat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"
	"unicode/utf16"
)

const (
	minClusters = 4085 // fewer are FAT12
	maxClusters = 65524
	margin      = 16 // keep away from the limits: drivers are known to be off by a few
	rootEntries = 512
	entryBytes  = 32
	endOfChain  = 0xFFFF

	attrVolume    = 0x08
	attrDirectory = 0x10
	attrArchive   = 0x20
	attrLong      = 0x0F
)

// FS describes the file system to write.
type FS struct {
	// Label is at most 11 characters A-Z, 0-9, dash and underscore.
	Label string
	// Bytes is the size of the partition.
	Bytes int64
	// SectorSize is 512 or 4096, that of the disk.
	SectorSize int
	// Hidden is the partition's first sector on the disk.
	Hidden uint32
	// Serial is the volume ID.
	Serial uint32
	// Time is that of every file, in UTC. Zero: 1980-01-01.
	Time time.Time
}

// Write writes the file system with these files (slash-separated path to content) at the start of w. What lies in
// unused clusters stays as it was.
func (f FS) Write(w io.WriterAt, files map[string][]byte) error {
	image, err := f.Image(files)
	if err != nil {
		return err
	}
	if _, err := w.WriteAt(image, 0); err != nil {
		return fmt.Errorf("write FAT file system: %w", err)
	}
	return nil
}

// Image returns the file system from its first sector to the last used one.
func (f FS) Image(files map[string][]byte) ([]byte, error) {
	b, err := newBuilder(f)
	if err != nil {
		return nil, err
	}
	root := &node{}
	for _, name := range slices.Sorted(mapKeys(files)) {
		if err := root.add(name, files[name]); err != nil {
			return nil, err
		}
	}
	entries, err := b.directory(root, 0, 0)
	if err != nil {
		return nil, err
	}
	if f.Label != "" {
		volume := make([]byte, entryBytes)
		copy(volume, fmt.Sprintf("%-11s", f.Label))
		volume[11] = attrVolume
		b.stamp(volume)
		entries = append(volume, entries...)
	}
	if len(entries) > rootEntries*entryBytes {
		return nil, errors.New("too many files in the root directory")
	}
	return b.finish(entries), nil
}

func mapKeys(m map[string][]byte) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// node is a file, or a directory when children is set.
type node struct {
	name     string
	content  []byte
	children []*node
	isDir    bool
}

func (n *node) add(name string, content []byte) error {
	if name == "" || path.Clean("/"+name) != "/"+name {
		return fmt.Errorf("file name %q is not a clean relative path", name)
	}
	first, rest, deeper := strings.Cut(name, "/")
	if err := checkName(first); err != nil {
		return err
	}
	var child *node
	for _, c := range n.children {
		if strings.EqualFold(c.name, first) {
			child = c
		}
	}
	switch {
	case child == nil:
		child = &node{name: first, isDir: deeper}
		n.children = append(n.children, child)
	case !deeper || !child.isDir:
		return fmt.Errorf("file name %q twice: FAT does not tell upper from lower case", name)
	}
	if deeper {
		return child.add(rest, content)
	}
	child.content = content
	return nil
}

func checkName(name string) error {
	if len(utf16.Encode([]rune(name))) > 255 {
		return fmt.Errorf("file name %q is too long", name)
	}
	if strings.TrimRight(name, ". ") != name || strings.HasPrefix(name, " ") {
		return fmt.Errorf("file name %q ends in a dot or has a space at an end", name)
	}
	for _, r := range name {
		if r < 0x20 || r == 0x7f || r == 0xFFFD || strings.ContainsRune(`"*/:<>?\|`, r) {
			return fmt.Errorf("file name %q has a character that FAT forbids", name)
		}
	}
	return nil
}

type builder struct {
	FS
	clusterSectors int
	clusterBytes   int
	clusters       int
	fatSectors     int
	fat            []uint16
	data           []byte
}

func newBuilder(f FS) (*builder, error) {
	if f.SectorSize != 512 && f.SectorSize != 4096 {
		return nil, fmt.Errorf("sector size %d is neither 512 nor 4096", f.SectorSize)
	}
	if len(f.Label) > 11 || strings.Trim(f.Label, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
		return nil, fmt.Errorf("label %q is not 1 to 11 characters A-Z, 0-9, dash, underscore", f.Label)
	}
	if f.Time.IsZero() {
		f.Time = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	b := &builder{FS: f}
	total := int(f.Bytes / int64(f.SectorSize))
	rootSectors := rootEntries * entryBytes / f.SectorSize
	for spc := 1; spc <= 128 && spc*f.SectorSize <= 32<<10; spc *= 2 {
		// The table's size depends on the number of clusters and the other way round: a table that is a little too
		// large does no harm.
		fatSectors := ((total/spc+2)*2 + f.SectorSize - 1) / f.SectorSize
		clusters := (total - 1 - 2*fatSectors - rootSectors) / spc
		if clusters >= minClusters+margin && clusters <= maxClusters-margin {
			b.clusterSectors, b.clusterBytes, b.clusters, b.fatSectors = spc, spc*f.SectorSize, clusters, fatSectors
			b.fat = []uint16{0xFFF8, endOfChain}
			return b, nil
		}
	}
	return nil, fmt.Errorf("%d bytes in sectors of %d are too few or too many for FAT16", f.Bytes, f.SectorSize)
}

// alloc appends content in a chain of its own and returns the first cluster, 0 for nothing.
func (b *builder) alloc(content []byte) (uint16, error) {
	n := (len(content) + b.clusterBytes - 1) / b.clusterBytes
	if n == 0 {
		return 0, nil
	}
	first := len(b.fat)
	if first-2+n > b.clusters {
		return 0, fmt.Errorf("files do not fit into %d bytes", b.Bytes)
	}
	for i := range n - 1 {
		b.fat = append(b.fat, uint16(first+i+1))
	}
	b.fat = append(b.fat, endOfChain)
	b.data = append(b.data, content...)
	b.data = append(b.data, make([]byte, n*b.clusterBytes-len(content))...)
	return uint16(first), nil
}

// directory returns the entries of n's children. The cluster of a directory must be known before its children are
// written, since ".." names it: so directories take theirs first and are filled in later.
func (b *builder) directory(n *node, self, parent uint16) ([]byte, error) {
	var out []byte
	if n.name != "" {
		for i, cluster := range []uint16{self, parent} {
			e := make([]byte, entryBytes)
			copy(e, []string{".          ", "..         "}[i])
			e[11] = attrDirectory
			b.stamp(e)
			binary.LittleEndian.PutUint16(e[26:], cluster)
			out = append(out, e...)
		}
	}
	taken := map[string]bool{}
	for _, c := range n.children {
		short, long := shortName(c.name, taken)
		e := make([]byte, entryBytes)
		copy(e, short)
		b.stamp(e)
		e[11] = attrArchive
		if c.isDir {
			e[11] = attrDirectory
			room := make([]byte, directoryBytes(c))
			cluster, err := b.alloc(room)
			if err != nil {
				return nil, err
			}
			entries, err := b.directory(c, cluster, self)
			if err != nil {
				return nil, err
			}
			copy(b.data[(int(cluster)-2)*b.clusterBytes:], entries)
			binary.LittleEndian.PutUint16(e[26:], cluster)
		} else {
			cluster, err := b.alloc(c.content)
			if err != nil {
				return nil, err
			}
			binary.LittleEndian.PutUint16(e[26:], cluster)
			binary.LittleEndian.PutUint32(e[28:], uint32(len(c.content)))
		}
		if long {
			out = append(out, longEntries(c.name, short)...)
		}
		out = append(out, e...)
	}
	return out, nil
}

// directoryBytes is the most that a directory's entries can take, and one that ends it.
func directoryBytes(n *node) int {
	entries := 3
	for _, c := range n.children {
		entries += 2 + len(utf16.Encode([]rune(c.name)))/13
	}
	return entries * entryBytes
}

// shortName returns the 11 bytes of the 8.3 name, and whether a long one is needed beside it.
func shortName(name string, taken map[string]bool) (string, bool) {
	const allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789!#$%&'()-@^_`{}~"
	stem, ext := name, ""
	if i := strings.LastIndexByte(name, '.'); i > 0 {
		stem, ext = name[:i], name[i+1:]
	}
	squeeze := func(s string) string {
		return strings.Map(func(r rune) rune {
			switch {
			case r >= 'a' && r <= 'z':
				return r - 'a' + 'A'
			case r == '.' || r == ' ':
				return -1
			case r < 0x80 && strings.ContainsRune(allowed, r):
				return r
			}
			return '_'
		}, s)
	}
	s, x := squeeze(stem), squeeze(ext)
	if s == stem && x == ext && len(s) <= 8 && len(x) <= 3 {
		short := fmt.Sprintf("%-8s%-3s", s, x)
		if !taken[short] {
			taken[short] = true
			return short, false
		}
	}
	x = x[:min(len(x), 3)]
	for i := 1; ; i++ {
		tail := fmt.Sprintf("~%d", i)
		short := fmt.Sprintf("%-8s%-3s", s[:min(len(s), 8-len(tail))]+tail, x)
		if !taken[short] {
			taken[short] = true
			return short, true
		}
	}
}

// longEntries are the VFAT entries that precede the short one, last part first.
func longEntries(name, short string) []byte {
	var sum byte
	for i := range 11 {
		sum = sum>>1 | sum<<7
		sum += short[i]
	}
	units := utf16.Encode([]rune(name))
	n := (len(units) + 12) / 13
	if len(units)%13 != 0 {
		units = append(units, 0)
	}
	for len(units) < n*13 {
		units = append(units, 0xFFFF)
	}
	out := make([]byte, 0, n*entryBytes)
	for i := n; i >= 1; i-- {
		e := make([]byte, entryBytes)
		e[0] = byte(i)
		if i == n {
			e[0] |= 0x40
		}
		e[11], e[13] = attrLong, sum
		for j, at := range []int{1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30} {
			binary.LittleEndian.PutUint16(e[at:], units[(i-1)*13+j])
		}
		out = append(out, e...)
	}
	return out
}

func (b *builder) stamp(e []byte) {
	t := b.Time.UTC()
	if t.Year() < 1980 {
		t = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)
	}
	date := uint16(t.Year()-1980)<<9 | uint16(t.Month())<<5 | uint16(t.Day())
	clock := uint16(t.Hour())<<11 | uint16(t.Minute())<<5 | uint16(t.Second()/2)
	le := binary.LittleEndian
	le.PutUint16(e[14:], clock)
	le.PutUint16(e[16:], date)
	le.PutUint16(e[18:], date)
	le.PutUint16(e[22:], clock)
	le.PutUint16(e[24:], date)
}

func (b *builder) finish(root []byte) []byte {
	le := binary.LittleEndian
	ss := b.SectorSize
	rootAt := (1 + 2*b.fatSectors) * ss
	dataAt := rootAt + rootEntries*entryBytes
	out := make([]byte, dataAt+len(b.data))
	total := b.Bytes / int64(ss)

	copy(out, []byte{0xEB, 0x3C, 0x90})
	copy(out[3:], "MSWIN4.1") // what picky drivers want to see
	le.PutUint16(out[11:], uint16(ss))
	out[13] = byte(b.clusterSectors)
	le.PutUint16(out[14:], 1) // reserved sectors
	out[16] = 2               // tables
	le.PutUint16(out[17:], rootEntries)
	if total < 0x10000 {
		le.PutUint16(out[19:], uint16(total))
	} else {
		le.PutUint32(out[32:], uint32(total))
	}
	out[21] = 0xF8 // fixed disk
	le.PutUint16(out[22:], uint16(b.fatSectors))
	le.PutUint16(out[24:], 32)
	le.PutUint16(out[26:], 64)
	le.PutUint32(out[28:], b.Hidden)
	out[36] = 0x80
	out[38] = 0x29
	le.PutUint32(out[39:], b.Serial)
	label := b.Label
	if label == "" {
		label = "NO NAME"
	}
	copy(out[43:], fmt.Sprintf("%-11s%-8s", label, "FAT16"))
	copy(out[62:], []byte{0xFA, 0xF4, 0xEB, 0xFD}) // cli; hlt; jmp back
	out[510], out[511] = 0x55, 0xAA

	for i, cluster := range b.fat {
		le.PutUint16(out[ss+2*i:], cluster)
	}
	copy(out[(1+b.fatSectors)*ss:], out[ss:(1+b.fatSectors)*ss])
	copy(out[rootAt:], root)
	copy(out[dataAt:], b.data)
	return out
}
