package pxe

import (
	"bytes"
	"io"
	"io/fs"
	"sync"
)

// held are the contents of files that are being sent, each in memory once, however many machines load it: a storm of
// hundreds of machines loads one and the same iPXE. What nobody loads is forgotten.
type held struct {
	mu    sync.Mutex
	files map[version]*heldFile
	bytes int64
}

type heldFile struct {
	once    sync.Once
	content []byte
	err     error
	users   int
}

const (
	maxHeldFile = 16 << 20  // bytes; more is an initrd, and is read while it is sent
	maxHeld     = 256 << 20 // bytes of all
)

// get reads a file, or finds it read. ok is false for files that are too large; release must be called otherwise.
func (h *held) get(name string, file io.ReaderAt, info fs.FileInfo) (content io.ReaderAt, release func(), ok bool, err error) {
	size := info.Size()
	if size > maxHeldFile {
		return nil, nil, false, nil
	}
	key := versionOf(name, info)
	h.mu.Lock()
	f := h.files[key]
	if f == nil {
		if h.bytes+size > maxHeld {
			h.mu.Unlock()
			return nil, nil, false, nil
		}
		if h.files == nil {
			h.files = make(map[version]*heldFile)
		}
		f = &heldFile{}
		h.files[key] = f
		h.bytes += size
	}
	f.users++
	h.mu.Unlock()
	release = func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		if f.users--; f.users == 0 {
			delete(h.files, key)
			h.bytes -= size
		}
	}
	f.once.Do(func() {
		f.content = make([]byte, size)
		var n int
		if n, f.err = file.ReadAt(f.content, 0); int64(n) == size {
			f.err = nil
		} else if f.err == nil || f.err == io.EOF {
			f.err = io.ErrUnexpectedEOF
		}
	})
	if f.err != nil {
		release()
		return nil, nil, false, f.err
	}
	return bytes.NewReader(f.content), release, true, nil
}
