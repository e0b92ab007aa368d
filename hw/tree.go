//go:build linux

package hw

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// tree is what facts are read from: this machine, or a captured one. Names are relative to the root, with slashes.
type tree struct {
	files files
	// live is true for this machine: only then the kernel can be asked more than its files say.
	live bool
	// recorder is set while the machine is being captured.
	recorder *recorder
}

// files is what a tree needs of a file system.
type files interface {
	// read returns the content of a regular file of at most maxFile bytes.
	read(name string) ([]byte, error)
	list(name string) ([]string, error)
	readlink(name string) (string, error)
	exists(name string) bool
	close() error
}

// ioctls is the directory of a captured tree with what the kernel answered to questions that are no files.
const ioctls = "ioctl/"

// errNotCaptured: a tree that holds no answer to a question that only the kernel of its machine could answer.
var errNotCaptured = errors.New("the captured tree does not have it")

// ask asks this machine's kernel, or reads what it answered when the tree was captured.
func (t *tree) ask(question string, live func() ([]byte, error)) ([]byte, error) {
	if !t.live {
		answer, err := t.files.read(ioctls + question)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, errNotCaptured
		}
		return answer, err
	}
	answer, err := live()
	if t.recorder != nil {
		t.recorder.answered(ioctls+question, answer, err)
	}
	return answer, err
}

// opener is a file system that opens.
type opener interface {
	OpenFile(name string, flag int, perm os.FileMode) (*os.File, error)
	Readlink(name string) (string, error)
	Stat(name string) (fs.FileInfo, error)
	Close() error
}

// thisMachine is the file system from its root. An os.Root over "/" would do the same with several times the system
// calls, as it resolves every link itself: too slow for a thousand files on an emulated CPU.
type thisMachine struct{}

func (thisMachine) Readlink(name string) (string, error)  { return os.Readlink("/" + name) }
func (thisMachine) Stat(name string) (fs.FileInfo, error) { return os.Stat("/" + name) }
func (thisMachine) Close() error                          { return nil }
func (thisMachine) OpenFile(name string, flag int, perm os.FileMode) (*os.File, error) {
	return os.OpenFile("/"+name, flag, perm)
}

// onDisk reads a file system of this machine's.
type onDisk struct{ opener }

func (d onDisk) readlink(name string) (string, error) { return d.Readlink(name) }
func (d onDisk) close() error                         { return d.Close() }

func (d onDisk) exists(name string) bool {
	_, err := d.Stat(name)
	return err == nil
}

func (d onDisk) read(name string) ([]byte, error) {
	// Nonblocking, because a fifo in a captured tree would otherwise wait for a writer.
	f, err := d.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, errNotRegular
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, errTooLarge
	}
	return data, nil
}

func (d onDisk) list(name string) ([]string, error) {
	f, err := d.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

// maxFile bounds what is read of one file. The largest that are read are SMBIOS tables and /proc/cpuinfo of machines
// with hundreds of threads (about 1 MB).
const maxFile = 8 << 20

var (
	errNotRegular = errors.New("not a regular file")
	errTooLarge   = fmt.Errorf("more than %d bytes", maxFile)
)

// openTree opens this machine ("" or "/"), a captured tree, whose symbolic links os.Root keeps from leading out of it,
// or the file that [Capture] has written.
func openTree(name string) (*tree, error) {
	if name == "" || name == "/" {
		return &tree{files: onDisk{thisMachine{}}, live: true}, nil
	}
	if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
		files, err := readCapture(name)
		if err != nil {
			return nil, fmt.Errorf("detect hardware: open the captured machine: %w", err)
		}
		return &tree{files: files}, nil
	}
	root, err := os.OpenRoot(name)
	if err != nil {
		return nil, fmt.Errorf("detect hardware: open the captured tree: %w", err)
	}
	return &tree{files: onDisk{root}}, nil
}

// fileError says why a file of the tree could not be read, without the syscall's name and the root.
type fileError struct {
	name string
	err  error
}

func (e *fileError) Error() string { return "/" + e.name + ": " + e.err.Error() }
func (e *fileError) Unwrap() error { return e.err }

func fileErr(name string, err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		err = p.Err
	}
	return &fileError{name, err}
}

// read returns the content of a regular file.
func (t *tree) read(name string) ([]byte, error) {
	data, err := t.files.read(name)
	if err != nil {
		return nil, fileErr(name, err)
	}
	return data, nil
}

// text returns the content of a file with one value.
func (t *tree) text(name string) (string, error) {
	data, err := t.read(name)
	return clean(data), err
}

// number returns the content of a file with one number, decimal or with 0x.
func (t *tree) number(name string) (int64, error) {
	s, err := t.text(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 0, 64)
	if err != nil {
		return 0, &fileError{name, fmt.Errorf("%q is not a number", s)}
	}
	return n, nil
}

// list returns the names in a directory, sorted.
func (t *tree) list(name string) ([]string, error) {
	names, err := t.files.list(name)
	if err != nil {
		return nil, fileErr(name, err)
	}
	slices.Sort(names)
	return names, nil
}

func (t *tree) exists(name string) bool { return t.files.exists(name) }

// linkBase returns the last element of a symbolic link's target: the name of a driver or subsystem. "" if there is
// none.
func (t *tree) linkBase(name string) string {
	target, err := t.files.readlink(name)
	if err != nil {
		return ""
	}
	return legible(path.Base(target))
}

// real returns where a symbolic link leads within the tree, or name itself if it is none. Links of /sys lead to the
// device in one step, so this is the device's place in the topology.
func (t *tree) real(name string) string {
	target, err := t.files.readlink(name)
	if err != nil || path.IsAbs(target) {
		return name
	}
	return path.Join(path.Dir(name), target)
}

// clean makes a string of bytes that a device or firmware wrote: cut at NUL padding, trimmed, valid UTF-8 without
// control characters. Bytes that are not UTF-8 are read as Latin-1, so that nothing is lost.
func clean(data []byte) string {
	s := strings.ToValidUTF8(string(data), "\xff\xfe")
	if strings.Contains(s, "\xff\xfe") {
		runes := make([]rune, len(data))
		for i, b := range data {
			runes[i] = rune(b)
		}
		s = string(runes)
	}
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
	return strings.TrimSpace(s)
}

// legible makes valid UTF-8 of a name: interfaces can have any bytes for one, and facts are JSON.
func legible(name string) string { return strings.ToValidUTF8(name, "?") }

// unknowns collects what could not be learnt about one part.
type unknowns []Unknown

func (u *unknowns) add(field, format string, args ...any) {
	*u = append(*u, Unknown{Path: field, Reason: legible(fmt.Sprintf(format, args...))})
}

// addErr notes an error, with what to do about the common one.
func (u *unknowns) addErr(field string, err error) {
	if errors.Is(err, fs.ErrPermission) {
		u.add(field, "%v (needs root)", err)
		return
	}
	u.add(field, "%v", err)
}

// byPath orders persistent paths: the PCI address is hexadecimal and of fixed width, the rest has decimal numbers.
func byPath(a, b string) int {
	root := func(p string) (string, string) {
		bus, rest, _ := strings.Cut(p, "-")
		address, rest, _ := strings.Cut(rest, "-")
		if bus != "pci" {
			return "", p
		}
		return address, rest
	}
	rootA, restA := root(a)
	rootB, restB := root(b)
	if len(rootA) != len(rootB) {
		return len(rootA) - len(rootB)
	}
	if c := strings.Compare(rootA, rootB); c != 0 {
		return c
	}
	return natural(restA, restB)
}

// natural compares strings with runs of digits as numbers, so that slot 10 comes after slot 2.
func natural(a, b string) int {
	x, y := a, b
	for x != "" && y != "" {
		nx, ny := digits(x), digits(y)
		if nx > 0 && ny > 0 {
			p, q := strings.TrimLeft(x[:nx], "0"), strings.TrimLeft(y[:ny], "0")
			if len(p) != len(q) {
				return len(p) - len(q)
			}
			if c := strings.Compare(p, q); c != 0 {
				return c
			}
			x, y = x[nx:], y[ny:]
			continue
		}
		if x[0] != y[0] {
			return int(x[0]) - int(y[0])
		}
		x, y = x[1:], y[1:]
	}
	if len(x) != len(y) {
		return len(x) - len(y)
	}
	return strings.Compare(a, b)
}

func digits(s string) int {
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	return n
}
