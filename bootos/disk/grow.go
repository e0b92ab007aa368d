package disk

import (
	"errors"
	"fmt"
	"io"

	"github.com/project-loda/loda/loda/image/gpt"
)

// Growth says what [Grow] did.
type Growth struct {
	// Grown is false when the table covered the disk already.
	Grown bool
	// Free is how many bytes lie unpartitioned after the last partition.
	Free int64
}

// GrowOptions of [Grow] and [WriteSeed] are needed only for files.
type GrowOptions struct {
	// AllowFile and SectorSize as in [Options].
	AllowFile  bool
	SectorSize int
}

// Grow makes the GUID partition table of device cover all of it: backup header and entries move to the end, the
// last usable sector and the protective MBR follow. Partitions stay as they are; the installed system extends its
// last one (cloud-init's growpart). [Write] does this itself. It returns [ErrNoGPT] when there is no valid table.
func Grow(device string, o GrowOptions) (Growth, error) {
	var g Growth
	err := rewrite(device, o, nil, func(l *layout) {
		g = Growth{Grown: l.grown, Free: int64(l.table.LastUsable+1-l.table.End()) * int64(l.table.SectorSize)}
	})
	return g, err
}

// rewrite plans and applies the layout of a disk that has one already.
func rewrite(device string, o GrowOptions, seed map[string]string, report func(*layout)) error {
	t, err := openTarget(device, o.AllowFile, o.SectorSize)
	if err != nil {
		return err
	}
	defer t.Close()
	h := holdEnds(t)
	if err := h.load(); err != nil {
		return err
	}
	l, err := planLayout(h, t.Target, seed != nil)
	if err != nil {
		return err
	}
	if l.table == nil {
		return fmt.Errorf("disk %s: %w", device, ErrNoGPT)
	}
	if err := l.apply(h, seed); err != nil {
		return err
	}
	if err := h.commit(); err != nil {
		return err
	}
	report(l)
	return h.reread(l.table)
}

// layout is what becomes of the partition table.
type layout struct {
	// table is nil for an image without one.
	table *gpt.Table
	// grown says that it covers more than before; oldSectors is how many it covered.
	grown      bool
	oldSectors uint64
	// oldEnd is the first sector after the image's last partition.
	oldEnd uint64
	// seed is the seed's partition, nil if none is wanted.
	seed *gpt.Partition
}

// planLayout reads the table from r and fits it to the disk. Nothing is written.
func planLayout(r io.ReaderAt, t Target, wantSeed bool) (*layout, error) {
	table, err := gpt.Read(r, t.SectorSize)
	if errors.Is(err, gpt.ErrNone) {
		other := 512 + 4096 - t.SectorSize
		if _, err := gpt.Read(r, other); err == nil {
			return nil, &FormatError{Reason: fmt.Sprintf("its partition table is made for sectors of %d bytes, disk %s has "+
				"sectors of %d", other, t.Device, t.SectorSize)}
		}
		if wantSeed {
			return nil, fmt.Errorf("the image on disk %s cannot take a cloud-init seed: %w", t.Device, ErrNoGPT)
		}
		return &layout{}, nil
	}
	if err != nil {
		return nil, &FormatError{Reason: "its partition table is damaged", Err: err}
	}
	l := &layout{table: table, oldSectors: table.Sectors, oldEnd: table.End()}
	sectors := uint64(t.Bytes / int64(t.SectorSize))
	if err := table.Resize(sectors); err != nil {
		end := int64(table.End()) * int64(t.SectorSize)
		return nil, &TooLargeError{Device: t.Device, Image: end + 34*int64(t.SectorSize), Disk: t.Bytes}
	}
	l.grown = table.Sectors != l.oldSectors
	if !wantSeed {
		return l, nil
	}
	for i := range table.Partitions {
		p := &table.Partitions[i]
		if p.Name == SeedLabel && int64(p.Last-p.First+1)*int64(t.SectorSize) >= SeedBytes {
			l.seed = p
			return l, nil
		}
	}
	// At the very end, aligned: what lies before it is for the last partition to grow into.
	const mib = 1 << 20
	perMiB := uint64(mib / t.SectorSize)
	need := uint64(SeedBytes / t.SectorSize)
	first := (table.LastUsable + 1 - min(need, table.LastUsable)) / perMiB * perMiB
	if first < table.End() {
		return nil, &NoSpaceError{Device: t.Device, Need: SeedBytes,
			Free: int64(table.LastUsable+1-table.End()) * int64(t.SectorSize)}
	}
	p, err := table.Add(gpt.Partition{Type: gpt.TypeBasicData, ID: gpt.NewGUID(), First: first,
		Last: first + need - 1, Name: SeedLabel})
	if err != nil {
		return nil, fmt.Errorf("disk %s: %w", t.Device, err)
	}
	l.seed = table.Partition(p.Number)
	return l, nil
}

// apply writes seed and table. What belongs to the ends of the disk stays in memory until commit.
func (l *layout) apply(h *held, seed map[string]string) error {
	if l.table == nil {
		return nil
	}
	sector := int64(h.SectorSize)
	// The image's own backup table lies in the middle of the disk now. Nobody should ever find it.
	if l.oldSectors < l.table.Sectors && l.oldSectors > l.oldEnd {
		from := max(l.oldEnd, l.oldSectors-min(l.oldSectors, 33))
		if err := h.zero(int64(from)*sector, int64(l.oldSectors-from)*sector); err != nil {
			return err
		}
	}
	if l.seed != nil {
		image, err := seedImage(seed, h.SectorSize, uint32(l.seed.First))
		if err != nil {
			return err
		}
		at := int64(l.seed.First) * sector
		if err := h.zero(at, SeedBytes); err != nil {
			return err
		}
		if _, err := h.WriteAt(image, at); err != nil {
			return fmt.Errorf("write the seed: %w", err)
		}
	}
	if err := l.table.WriteBackup(h); err != nil {
		return err
	}
	return l.table.WritePrimary(h)
}
