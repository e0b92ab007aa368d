package disk

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/loda/image/fat"
)

// SeedLabel is the label of the seed's file system and the name of its partition; cloud-init's NoCloud data source
// looks for the label cidata in either case.
const SeedLabel = "CIDATA"

// SeedBytes is the size of the seed's partition: what the server reckons with when it chooses a disk.
const SeedBytes = agentapi.SeedBytes

// A NoSpaceError says that there is no room for the seed's partition after the last one.
type NoSpaceError struct {
	Device     string
	Need, Free int64
}

func (e *NoSpaceError) Error() string {
	return fmt.Sprintf("disk %s has %d bytes free after its last partition and the seed needs %d: choose a larger disk "+
		"or a smaller image", e.Device, e.Free, e.Need)
}

// WriteSeed writes files as a NoCloud data source to the partition named [SeedLabel] at the end of the disk, which
// is made if it is missing and formatted anew (FAT16) if it exists; the table is grown first. [Write] does this
// itself; WriteSeed is for seeding a disk again. It returns [ErrNoGPT] or [*NoSpaceError].
func WriteSeed(device string, files map[string]string, o GrowOptions) error {
	if files == nil {
		files = map[string]string{}
	}
	return rewrite(device, o, files, func(*layout) {})
}

// seedImage is the file system.
func seedImage(files map[string]string, sectorSize int, hidden uint32) ([]byte, error) {
	content := make(map[string][]byte, len(files))
	for name, text := range files {
		content[name] = []byte(text)
	}
	fs := fat.FS{Label: SeedLabel, Bytes: SeedBytes, SectorSize: sectorSize, Hidden: hidden, Serial: rand.Uint32(),
		Time: time.Now()}
	image, err := fs.Image(content)
	if err != nil {
		return nil, fmt.Errorf("cloud-init seed: %w", err)
	}
	// Whole sectors.
	return append(image, make([]byte, -len(image)&(sectorSize-1))...), nil
}
