package plugin

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// executable is what is started, again and again.
type executable struct {
	path string
	// sealed is a copy in memory that nobody can change, if there was a digest to check.
	sealed *os.File
}

// maxExecutable bounds the copy.
const maxExecutable = 512 << 20

// openExecutable checks a file against a digest; "" is none.
func openExecutable(path, digest string) (*executable, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("RAID plugin: %w", err)
	}
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("RAID plugin: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("RAID plugin %s is no file", path)
	case digest == "":
		if info.Mode()&0o111 == 0 {
			return nil, fmt.Errorf("RAID plugin %s is not executable: chmod +x", path)
		}
		return &executable{path: path}, nil
	case info.Size() > maxExecutable:
		return nil, fmt.Errorf("RAID plugin %s has %d bytes, more than %d are not started", path, info.Size(), maxExecutable)
	}
	want, err := hex.DecodeString(strings.TrimSpace(digest))
	if err != nil || len(want) != sha256.Size {
		return nil, fmt.Errorf("RAID plugin %s: %q is no SHA-256, which has %d hexadecimal digits", path, digest,
			2*sha256.Size)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("RAID plugin: %w", err)
	}
	defer f.Close()
	// The file can be written to between a check and a start, however it is held open. A sealed copy cannot.
	memory, err := memfd(filepath.Base(path))
	if err != nil {
		return nil, fmt.Errorf("RAID plugin %s: a copy in memory: %w", path, err)
	}
	defer memory.Close()
	hash, head := sha256.New(), make([]byte, 2)
	_, err = io.Copy(io.MultiWriter(memory, hash), io.LimitReader(f, maxExecutable))
	if err == nil {
		_, err = unix.FcntlInt(memory.Fd(), unix.F_ADD_SEALS,
			unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK|unix.F_SEAL_SEAL)
	}
	if err != nil {
		return nil, fmt.Errorf("RAID plugin %s: a copy in memory: %w", path, err)
	}
	if have := hash.Sum(nil); !bytes.Equal(have, want) {
		return nil, &DigestError{Path: path, Want: hex.EncodeToString(want), Have: hex.EncodeToString(have)}
	}
	if n, _ := memory.ReadAt(head, 0); n == 2 && string(head) == "#!" {
		return nil, fmt.Errorf("RAID plugin %s is a script, whose interpreter is not what was checked; a plugin with a "+
			"digest must be a program", path)
	}
	// A file that is open for writing is not executed (ETXTBSY), so it is opened again.
	sealed, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", memory.Fd()))
	if err != nil {
		return nil, fmt.Errorf("RAID plugin %s: its copy in memory: %w", path, err)
	}
	return &executable{path: path, sealed: sealed}, nil
}

// memfd makes a file in memory that can be executed. Kernels before 6.3 do not know MFD_EXEC, and later ones may
// demand it.
func memfd(name string) (*os.File, error) {
	if len(name) > 200 {
		name = name[:200] // the kernel takes 249 bytes
	}
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(name, flags|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) {
		fd, err = unix.MemfdCreate(name, flags)
	}
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// file to execute, as the process that starts it sees it.
func (e *executable) file() string {
	if e.sealed == nil {
		return e.path
	}
	return fmt.Sprintf("/proc/self/fd/%d", e.sealed.Fd())
}

func (e *executable) close() {
	if e.sealed != nil {
		e.sealed.Close()
	}
}
