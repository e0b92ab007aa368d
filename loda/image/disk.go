package image

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/project-loda/loda/loda/image/gpt"
)

// The layout of the images that are built here, in sectors of 512 bytes: GRUB's core for BIOS in the first MiB, the
// EFI system partition, and the root partition last, so that growpart extends it up to the seed's partition.
const (
	sector     = 512
	mib        = 1 << 20
	coreLBA    = 64
	coreEndLBA = mib/sector - 1
	espLBA     = mib / sector
)

// ids are the unique numbers of a build. They are random, or follow from SOURCE_DATE_EPOCH and the image's name so
// that a build can be repeated (https://reproducible-builds.org/specs/source-date-epoch/).
type ids struct {
	time time.Time
	seed []byte
}

func newIDs(name string) (ids, error) {
	epoch := os.Getenv("SOURCE_DATE_EPOCH")
	if epoch == "" {
		g := gpt.NewGUID()
		return ids{time: time.Now().UTC().Truncate(time.Second), seed: g[:]}, nil
	}
	n, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return ids{}, fmt.Errorf("SOURCE_DATE_EPOCH %q is not a number of seconds", epoch)
	}
	return ids{time: time.Unix(n, 0).UTC(), seed: []byte(epoch + " " + name)}, nil
}

func (i ids) guid(what string) gpt.GUID {
	sum := sha256.Sum256(append(append([]byte{}, i.seed...), what...))
	g := gpt.GUID(sum[:16])
	g[7] = g[7]&0x0f | 0x40
	g[8] = g[8]&0x3f | 0x80
	return g
}

func (i ids) number(what string) uint32 {
	g := i.guid(what)
	return binary.LittleEndian.Uint32(g[9:])
}

// finishDisk writes what is not in a file system: boot code, GRUB's core and the partition table. f has its final size.
func finishDisk(f *os.File, id ids, loader *bootLoader, espBytes int64, rootBytes int64) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	table, err := gpt.New(sector, uint64(info.Size()/sector), id.guid("disk"))
	if err != nil {
		return err
	}
	rootLBA := uint64(espLBA + espBytes/sector)
	parts := []gpt.Partition{
		{Type: gpt.TypeBIOSBoot, ID: id.guid("bios"), First: coreLBA, Last: coreEndLBA, Name: "BIOS boot"},
		{Type: gpt.TypeESP, ID: id.guid("esp"), First: espLBA, Last: rootLBA - 1, Name: "EFI system"},
	}
	if rootBytes > 0 {
		parts = append(parts, gpt.Partition{Type: gpt.TypeLinuxRoot, ID: id.guid("root-part"), First: rootLBA,
			Last: rootLBA + uint64(rootBytes/sector) - 1, Name: "root"})
	}
	for _, p := range parts {
		if _, err := table.Add(p); err != nil {
			return err
		}
	}
	if room := (coreEndLBA - coreLBA + 1) * sector; len(loader.core) > room {
		return fmt.Errorf("GRUB's core has %d bytes, the BIOS boot partition %d", len(loader.core), room)
	}
	if _, err := f.WriteAt(loader.core, coreLBA*sector); err != nil {
		return err
	}
	// Only the code: the partition entries and the signature are the table's.
	if _, err := f.WriteAt(loader.boot[:440], 0); err != nil {
		return err
	}
	if err := table.WriteBackup(f); err != nil {
		return err
	}
	return table.WritePrimary(f)
}
