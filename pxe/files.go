package pxe

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// Files are the regular files of some directories, opened for reading once and for good: nothing outside can be
// reached, whatever the name or the symbolic links in the directory say ([os.Root]). Names whose elements begin with
// a dot do not exist. It is safe for concurrent use. A nil *Files is empty.
type Files struct {
	roots []*os.Root
	nbps  bool
	sums  digests
}

// OpenDir opens a directory whose files, and those below it, may all be read by everyone. Symbolic links work as long
// as they are relative and stay inside. Files that appear or change later are served as well.
func OpenDir(dir string) (*Files, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the directory to serve files from: %w", err)
	}
	return &Files{roots: []*os.Root{root}}, nil
}

// OpenNBPs opens the directories in which iPXE's binaries are looked for, in this order, such as /usr/lib/ipxe and
// /boot (where Debian has ipxe.efi). Only names of network boot programs directly in them are served (.efi, .kpxe,
// .kkpxe, .kkkpxe, .pxe, .lkrn, .0), since such directories hold other things too: an initrd in /boot may contain
// keys. Directories that do not exist are left out; it is an error if none exists.
//
// Debian's shim and GRUB for Secure Boot (packages shim-signed and grub-efi-amd64-signed) lie in /usr/lib/shim and
// /usr/lib/grub/x86_64-efi-signed under names that say that they are signed. They are served under those that firmware
// and shim ask for: shimx64.efi, mmx64.efi, and grubx64.efi, which is the GRUB that boots from the network.
func OpenNBPs(dirs ...string) (*Files, error) {
	f := &Files{nbps: true}
	for _, dir := range dirs {
		root, err := os.OpenRoot(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			_ = f.Close()
			return nil, fmt.Errorf("opening a directory of network boot programs: %w", err)
		}
		f.roots = append(f.roots, root)
	}
	if len(f.roots) == 0 {
		return nil, fmt.Errorf("none of the directories of network boot programs exists (%s); "+
			"install Debian's package ipxe, or name the directory that has iPXE", strings.Join(dirs, ", "))
	}
	return f, nil
}

// signed are names under which the signed programs of Debian are asked for, and the files that have them. These come before
// a file of the name itself: without a signature, Secure Boot would refuse it.
var signed = map[string]string{
	"shimx64.efi": "shimx64.efi.signed", "mmx64.efi": "mmx64.efi.signed", "grubx64.efi": "grubnetx64.efi.signed",
	"shimaa64.efi": "shimaa64.efi.signed", "mmaa64.efi": "mmaa64.efi.signed", "grubaa64.efi": "grubnetaa64.efi.signed",
}

// plainName is the one spelling of a name: without leading and doubled slashes.
func plainName(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool { return r == '/' }), "/")
}

// isNBP tells network boot programs by name. A name without one of these endings, or in a directory, is none.
func isNBP(name string) bool {
	if strings.Contains(name, "/") {
		return false
	}
	switch path.Ext(name) {
	case ".efi", ".kpxe", ".kkpxe", ".kkkpxe", ".pxe", ".lkrn", ".0":
		return true
	}
	return false
}

// Open opens a file by its slash-separated name. Leading and doubled slashes are ignored. The error is
// [fs.ErrNotExist] for what is not there or must not be read: directories, hidden files, names with `..`, links that
// lead outside. Other errors are those of the server: no permission, too many open files, a bad disk.
func (f *Files) Open(name string) (*os.File, fs.FileInfo, error) {
	if f == nil {
		return nil, nil, notExist(name)
	}
	plain := plainName(name)
	if plain == "" || strings.HasPrefix(plain, ".") || strings.Contains(plain, "/.") || strings.HasSuffix(name, "/") ||
		f.nbps && !isNBP(plain) {
		return nil, nil, notExist(name)
	}
	names := []string{plain}
	if other, ok := signed[names[0]]; ok && f.nbps {
		names = []string{other, names[0]}
	}
	for _, name := range names {
		for _, root := range f.roots {
			file, info, err := open(root, name)
			if err == nil {
				return file, info, nil
			}
			if ours(err) {
				return nil, nil, err
			}
			// Not here; perhaps in the next. Debian's /usr/lib/ipxe/ipxe.efi is a link to /boot/ipxe.efi.
		}
	}
	return nil, nil, notExist(name)
}

// open opens a regular file. O_NONBLOCK keeps a FIFO in the directory from blocking the server for ever.
func open(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notExist(name)
	}
	if err != nil {
		_ = file.Close()
		return nil, nil, err
	}
	return file, info, nil
}

func notExist(name string) error { return &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist} }

// ours tells the server's own troubles from names that do not exist: a machine must retry after the former.
func ours(err error) bool {
	for _, e := range []error{syscall.EACCES, syscall.EIO, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.ESTALE, syscall.EINTR, os.ErrClosed} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// Close closes the directories, and ends the computing of digests. Files that are open stay open.
func (f *Files) Close() error {
	if f == nil {
		return nil
	}
	f.sums.close()
	var errs []error
	for _, root := range f.roots {
		errs = append(errs, root.Close())
	}
	return errors.Join(errs...)
}
