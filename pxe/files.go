package pxe

import (
	"io/fs"
	"os"
)

// Files are the regular files of some directories, opened for reading once and for good: nothing outside can be
// reached, whatever the name or the symbolic links in the directory say ([os.Root]). Names whose elements begin with
// a dot do not exist.
type Files struct {
	roots []*os.Root
}

// OpenDir opens a directory whose files, and those below it, may all be read by everyone.
func OpenDir(dir string) (*Files, error) { return nil, nil }

// OpenNBPs opens the directories in which iPXE's binaries are looked for, in this order, such as /usr/lib/ipxe and
// /boot. Only names of network boot programs directly in them are served (.efi, .kpxe, .kkpxe, .kkkpxe, .pxe, .lkrn,
// .0), since such directories hold other things too: an initrd in /boot may contain keys. Directories that do not
// exist are left out; it is an error if none exists.
func OpenNBPs(dirs ...string) (*Files, error) { return nil, nil }

// Open opens a file by its slash-separated name. A leading slash is ignored. The error is [fs.ErrNotExist] for
// everything that is not a readable regular file.
func (f *Files) Open(name string) (*os.File, fs.FileInfo, error) { return nil, nil, fs.ErrNotExist }

// Close closes the directories. Files that were opened stay open.
func (f *Files) Close() error { return nil }
