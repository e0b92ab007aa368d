// Package gpt reads, grows and writes GUID partition tables (UEFI specification 2.10, section 5.3), strictly: a table
// that is not exactly right is an error, never a guess. It works on anything with ReadAt and WriteAt, so an image that
// is still in memory can be planned before a disk is touched.
package gpt

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"
	"unicode/utf16"
)

// ErrNone says that there is no GUID partition table. Errors about a damaged one do not wrap it.
var ErrNone = errors.New("no GUID partition table")

const (
	headerBytes = 92
	entryBytes  = 128
	// maxEntries bounds what is read; 128 is what everybody writes.
	maxEntries = 1024
	// reservedBytes is the least room that the specification wants for the entries.
	reservedBytes = 16384
	signature     = "EFI PART"
	revision      = 0x00010000
	protective    = 0xEE
)

// A GUID in the byte order of the disk: the first three fields little-endian.
type GUID [16]byte

// Partition types.
var (
	TypeBIOSBoot  = MustGUID("21686148-6449-6E6F-744E-656564454649")
	TypeESP       = MustGUID("C12A7328-F81F-11D2-BA4B-00A0C93EC93B")
	TypeLinux     = MustGUID("0FC63DAF-8483-4772-8E79-3D69D8477DE4")
	TypeLinuxRoot = MustGUID("4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709") // x86-64
	TypeBasicData = MustGUID("EBD0A0A2-B9E5-4433-87C0-68B6B72699C7")
)

// ParseGUID reads the usual form, 8-4-4-4-12 hexadecimal digits.
func ParseGUID(s string) (GUID, error) {
	var g GUID
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return g, fmt.Errorf("%q is not a GUID", s)
	}
	raw, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(raw) != 16 {
		return g, fmt.Errorf("%q is not a GUID", s)
	}
	copy(g[:], raw)
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	return g, nil
}

// MustGUID is ParseGUID for constants.
func MustGUID(s string) GUID {
	g, err := ParseGUID(s)
	if err != nil {
		panic(err)
	}
	return g
}

// NewGUID returns a random one (RFC 9562 version 4).
func NewGUID() GUID {
	var raw [16]byte
	rand.Read(raw[:])
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	g := GUID(raw)
	slices.Reverse(g[0:4])
	slices.Reverse(g[4:6])
	slices.Reverse(g[6:8])
	return g
}

// String returns the usual form in lower case, as in PARTUUID and /dev/disk/by-partuuid.
func (g GUID) String() string {
	return fmt.Sprintf("%08x-%04x-%04x-%x-%x", binary.LittleEndian.Uint32(g[0:4]), binary.LittleEndian.Uint16(g[4:6]),
		binary.LittleEndian.Uint16(g[6:8]), g[8:10], g[10:16])
}

// A Partition is one entry. First and Last are sectors, both inside.
type Partition struct {
	// Number counts from 1, as in /dev/sda1.
	Number      int
	Type, ID    GUID
	First, Last uint64
	Attributes  uint64
	// Name is at most 36 UTF-16 code units.
	Name string
}

// A Table is a GUID partition table.
type Table struct {
	SectorSize int
	// Sectors is the size of the disk that the table covers: the backup header is in the last one.
	Sectors     uint64
	DiskID      GUID
	FirstUsable uint64
	LastUsable  uint64
	Partitions  []Partition // by number
	entriesLBA  uint64
	entryCount  int
}

// New makes an empty table with room for 128 partitions.
func New(sectorSize int, sectors uint64, id GUID) (*Table, error) {
	t := &Table{SectorSize: sectorSize, DiskID: id, entriesLBA: 2, entryCount: 128}
	t.FirstUsable = 2 + t.entrySectors()
	if err := t.Resize(sectors); err != nil {
		return nil, err
	}
	return t, nil
}

// entrySectors is the room that the entries take, on both ends.
func (t *Table) entrySectors() uint64 {
	n := max(t.entryCount*entryBytes, reservedBytes)
	return uint64((n + t.SectorSize - 1) / t.SectorSize)
}

// Resize lets the table cover a disk of that many sectors. Partitions that do not fit are an error.
func (t *Table) Resize(sectors uint64) error {
	tail := t.entrySectors() + 1
	if sectors < t.FirstUsable+tail+1 {
		return fmt.Errorf("a disk of %d sectors has no room for a GUID partition table", sectors)
	}
	last := sectors - tail - 1
	for _, p := range t.Partitions {
		if p.Last > last {
			return fmt.Errorf("partition %d ends in sector %d, the last usable one would be %d", p.Number, p.Last, last)
		}
	}
	t.Sectors, t.LastUsable = sectors, last
	return nil
}

// Add appends a partition; Number 0 takes the first free one.
func (t *Table) Add(p Partition) (Partition, error) {
	if p.Number == 0 {
		p.Number = 1
		for t.Partition(p.Number) != nil {
			p.Number++
		}
	}
	next := append(slices.Clone(t.Partitions), p)
	slices.SortFunc(next, func(a, b Partition) int { return a.Number - b.Number })
	trial := *t
	trial.Partitions = next
	if err := trial.check(); err != nil {
		return p, err
	}
	t.Partitions = next
	return p, nil
}

// Partition returns the one with that number, or nil.
func (t *Table) Partition(number int) *Partition {
	for i := range t.Partitions {
		if t.Partitions[i].Number == number {
			return &t.Partitions[i]
		}
	}
	return nil
}

// End is the first sector after the last partition.
func (t *Table) End() uint64 {
	end := t.FirstUsable
	for _, p := range t.Partitions {
		end = max(end, p.Last+1)
	}
	return end
}

// check holds the rules that reading and writing share.
func (t *Table) check() error {
	if t.FirstUsable < t.entriesLBA+(uint64(t.entryCount*entryBytes)+uint64(t.SectorSize)-1)/uint64(t.SectorSize) {
		return errors.New("first usable sector lies inside the entries")
	}
	if t.LastUsable < t.FirstUsable || t.LastUsable >= t.Sectors {
		return fmt.Errorf("usable sectors %d to %d make no sense on a disk of %d", t.FirstUsable, t.LastUsable, t.Sectors)
	}
	byStart := slices.Clone(t.Partitions)
	slices.SortFunc(byStart, func(a, b Partition) int {
		if a.First != b.First {
			if a.First < b.First {
				return -1
			}
			return 1
		}
		return a.Number - b.Number
	})
	seen := map[int]bool{}
	for i, p := range byStart {
		switch {
		case p.Number < 1 || p.Number > t.entryCount:
			return fmt.Errorf("partition number %d is not in 1 to %d", p.Number, t.entryCount)
		case seen[p.Number]:
			return fmt.Errorf("partition number %d twice", p.Number)
		case p.Type == GUID{}:
			return fmt.Errorf("partition %d has no type", p.Number)
		case p.First > p.Last:
			return fmt.Errorf("partition %d ends before it starts", p.Number)
		case p.First < t.FirstUsable || p.Last > t.LastUsable:
			return fmt.Errorf("partition %d (sectors %d to %d) lies outside the usable sectors %d to %d",
				p.Number, p.First, p.Last, t.FirstUsable, t.LastUsable)
		case i > 0 && p.First <= byStart[i-1].Last:
			return fmt.Errorf("partitions %d and %d overlap", byStart[i-1].Number, p.Number)
		case len(utf16.Encode([]rune(p.Name))) > 36:
			return fmt.Errorf("partition %d: name %q is longer than 36 characters", p.Number, p.Name)
		}
		seen[p.Number] = true
	}
	return nil
}

// Read reads the primary table. The backup is not looked at: an image may have been cut or grown behind it. It returns
// [ErrNone] where there is no header, and says what is wrong with one that is damaged.
func Read(r io.ReaderAt, sectorSize int) (*Table, error) {
	if sectorSize != 512 && sectorSize != 4096 {
		return nil, fmt.Errorf("sector size %d is neither 512 nor 4096", sectorSize)
	}
	head := make([]byte, 2*sectorSize)
	if _, err := r.ReadAt(head, 0); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, ErrNone
		}
		return nil, fmt.Errorf("read partition table: %w", err)
	}
	mbr, h := head[:512], head[sectorSize:]
	if string(h[:8]) != signature {
		return nil, ErrNone
	}
	le := binary.LittleEndian
	size := le.Uint32(h[12:])
	switch {
	case le.Uint32(h[8:]) != revision:
		return nil, fmt.Errorf("partition table has revision %#x, expected %#x", le.Uint32(h[8:]), revision)
	case size < headerBytes || int(size) > sectorSize:
		return nil, fmt.Errorf("partition table's header claims %d bytes", size)
	case headerCRC(h[:size]) != le.Uint32(h[16:]):
		return nil, errors.New("partition table's header has a wrong checksum")
	case le.Uint64(h[24:]) != 1:
		return nil, fmt.Errorf("partition table's header says that it is in sector %d, found in 1", le.Uint64(h[24:]))
	case le.Uint32(h[84:]) != entryBytes:
		return nil, fmt.Errorf("partition table has entries of %d bytes, expected %d", le.Uint32(h[84:]), entryBytes)
	case le.Uint32(h[80:]) == 0 || le.Uint32(h[80:]) > maxEntries:
		return nil, fmt.Errorf("partition table has %d entries, expected 1 to %d", le.Uint32(h[80:]), maxEntries)
	}
	t := &Table{
		SectorSize:  sectorSize,
		Sectors:     le.Uint64(h[32:]) + 1,
		DiskID:      GUID(h[56:72]),
		FirstUsable: le.Uint64(h[40:]),
		LastUsable:  le.Uint64(h[48:]),
		entriesLBA:  le.Uint64(h[72:]),
		entryCount:  int(le.Uint32(h[80:])),
	}
	// The bound keeps every product below in 63 bits.
	const maxSectors = 1 << 50
	if t.Sectors < 4 || t.Sectors > maxSectors || t.FirstUsable >= maxSectors || t.LastUsable >= maxSectors {
		return nil, fmt.Errorf("partition table's backup in sector %d makes no sense", t.Sectors-1)
	}
	if t.entriesLBA < 2 || t.entriesLBA > t.FirstUsable {
		return nil, fmt.Errorf("partition entries in sector %d make no sense", t.entriesLBA)
	}
	entries := make([]byte, t.entryCount*entryBytes)
	if _, err := r.ReadAt(entries, int64(t.entriesLBA)*int64(sectorSize)); err != nil {
		return nil, fmt.Errorf("read partition entries: %w", err)
	}
	if crc32.ChecksumIEEE(entries) != le.Uint32(h[88:]) {
		return nil, errors.New("partition entries have a wrong checksum")
	}
	for i := range t.entryCount {
		e := entries[i*entryBytes : (i+1)*entryBytes]
		if GUID(e[0:16]) == (GUID{}) {
			continue
		}
		var units []uint16
		for u := range 36 {
			c := le.Uint16(e[56+2*u:])
			if c == 0 {
				break
			}
			units = append(units, c)
		}
		t.Partitions = append(t.Partitions, Partition{
			Number: i + 1, Type: GUID(e[0:16]), ID: GUID(e[16:32]),
			First: le.Uint64(e[32:]), Last: le.Uint64(e[40:]), Attributes: le.Uint64(e[48:]),
			Name: string(utf16.Decode(units)),
		})
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("partition table: %w", err)
	}
	if mbr[510] != 0x55 || mbr[511] != 0xAA || protectiveEntry(mbr) < 0 {
		return nil, errors.New("partition table without a protective MBR: firmware and kernel would ignore it")
	}
	return t, nil
}

func headerCRC(h []byte) uint32 {
	c := bytes.Clone(h)
	clear(c[16:20])
	return crc32.ChecksumIEEE(c)
}

// protectiveEntry is the offset of the MBR's protective entry, or -1.
func protectiveEntry(mbr []byte) int {
	for at := 446; at < 510; at += 16 {
		if mbr[at+4] == protective {
			return at
		}
	}
	return -1
}

// WriteBackup writes the entries and the header at the end of the disk.
func (t *Table) WriteBackup(w io.WriterAt) error {
	if err := t.check(); err != nil {
		return err
	}
	lba := t.Sectors - 1 - t.entrySectors()
	if lba <= t.LastUsable {
		return errors.New("no room for the backup partition table")
	}
	entries := t.entries()
	// Whole sectors only: the writer may be a disk without page cache.
	block := make([]byte, int(t.entrySectors())*t.SectorSize)
	copy(block, entries)
	if _, err := w.WriteAt(block, int64(lba)*int64(t.SectorSize)); err != nil {
		return fmt.Errorf("write backup partition entries: %w", err)
	}
	if _, err := w.WriteAt(t.header(entries, t.Sectors-1, 1, lba), int64(t.Sectors-1)*int64(t.SectorSize)); err != nil {
		return fmt.Errorf("write backup partition table: %w", err)
	}
	return nil
}

// ReadWriterAt is a disk, a file or memory.
type ReadWriterAt interface {
	io.ReaderAt
	io.WriterAt
}

// WritePrimary writes entries, header and the protective MBR at the start of the disk. Boot code, disk signature and
// further MBR entries stay.
func (t *Table) WritePrimary(d ReadWriterAt) error {
	if err := t.check(); err != nil {
		return err
	}
	entries := t.entries()
	block := make([]byte, (len(entries)+t.SectorSize-1)/t.SectorSize*t.SectorSize)
	copy(block, entries)
	if _, err := d.WriteAt(block, int64(t.entriesLBA)*int64(t.SectorSize)); err != nil {
		return fmt.Errorf("write partition entries: %w", err)
	}
	if _, err := d.WriteAt(t.header(entries, 1, t.Sectors-1, t.entriesLBA), int64(t.SectorSize)); err != nil {
		return fmt.Errorf("write partition table: %w", err)
	}
	mbr := make([]byte, t.SectorSize)
	if _, err := d.ReadAt(mbr, 0); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read MBR: %w", err)
	}
	at := protectiveEntry(mbr)
	if at < 0 {
		at = 446
		clear(mbr[446:510])
	}
	// UEFI 2.10 table 5.4: starts in CHS 0/0/2 and LBA 1, ends at the disk's end or at the field's limit.
	copy(mbr[at:], []byte{mbr[at], 0x00, 0x02, 0x00, protective, 0xFF, 0xFF, 0xFF})
	binary.LittleEndian.PutUint32(mbr[at+8:], 1)
	binary.LittleEndian.PutUint32(mbr[at+12:], uint32(min(t.Sectors-1, 0xFFFFFFFF)))
	mbr[510], mbr[511] = 0x55, 0xAA
	if _, err := d.WriteAt(mbr, 0); err != nil {
		return fmt.Errorf("write protective MBR: %w", err)
	}
	return nil
}

func (t *Table) entries() []byte {
	le := binary.LittleEndian
	out := make([]byte, t.entryCount*entryBytes)
	for _, p := range t.Partitions {
		e := out[(p.Number-1)*entryBytes:]
		copy(e[0:16], p.Type[:])
		copy(e[16:32], p.ID[:])
		le.PutUint64(e[32:], p.First)
		le.PutUint64(e[40:], p.Last)
		le.PutUint64(e[48:], p.Attributes)
		for i, u := range utf16.Encode([]rune(p.Name)) {
			le.PutUint16(e[56+2*i:], u)
		}
	}
	return out
}

func (t *Table) header(entries []byte, self, other, entriesLBA uint64) []byte {
	le := binary.LittleEndian
	h := make([]byte, t.SectorSize)
	copy(h, signature)
	le.PutUint32(h[8:], revision)
	le.PutUint32(h[12:], headerBytes)
	le.PutUint64(h[24:], self)
	le.PutUint64(h[32:], other)
	le.PutUint64(h[40:], t.FirstUsable)
	le.PutUint64(h[48:], t.LastUsable)
	copy(h[56:], t.DiskID[:])
	le.PutUint64(h[72:], entriesLBA)
	le.PutUint32(h[80:], uint32(t.entryCount))
	le.PutUint32(h[84:], entryBytes)
	le.PutUint32(h[88:], crc32.ChecksumIEEE(entries))
	le.PutUint32(h[16:], headerCRC(h[:headerBytes]))
	return h
}
