package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"
)

// furnishDisk makes the image of a disk, if it is not there already: sparse, or a copy of a given image.
func (m *Machine) furnishDisk(ctx context.Context, i int, d Disk) error {
	path := m.DiskPath(i)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	fresh := path + ".new"
	if d.Image != "" {
		out, err := exec.CommandContext(ctx, "qemu-img", "convert", "-O", "raw", d.Image, fresh).CombinedOutput()
		if err != nil {
			return fmt.Errorf("disk %d: copy image %s: %w: %s", i, d.Image, err, out)
		}
		info, err := os.Stat(fresh)
		if err != nil {
			return fmt.Errorf("disk %d: %w", i, err)
		}
		if info.Size() > int64(d.Size) {
			os.Remove(fresh)
			return fmt.Errorf("disk %d: image %s has %s, the disk only %s", i, d.Image, Size(info.Size()), d.Size)
		}
	}
	f, err := os.OpenFile(fresh, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("disk %d: %w", i, err)
	}
	defer f.Close()
	if err := f.Truncate(int64(d.Size)); err != nil {
		return fmt.Errorf("disk %d: make it %s large: %w", i, d.Size, err)
	}
	return os.Rename(fresh, path)
}

// DiskDigest is the SHA-256, in hexadecimal, of all that the guest would read from disk i, byte by byte. Take it while
// the machine is off, or while nothing writes.
func (m *Machine) DiskDigest(ctx context.Context, i int) (string, error) {
	hash := sha256.New()
	err := m.readDisk(ctx, i, func(data []byte, zeros int64) {
		hash.Write(data)
		for ; zeros > 0; zeros -= int64(len(zeroBlock)) {
			hash.Write(zeroBlock[:min(zeros, int64(len(zeroBlock)))])
		}
	})
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// DiskBlank says whether disk i holds nothing but zeros. It reads only what was ever written.
func (m *Machine) DiskBlank(ctx context.Context, i int) (bool, error) {
	blank := true
	err := m.readDisk(ctx, i, func(data []byte, _ int64) {
		for _, b := range data {
			if b != 0 {
				blank = false
				return
			}
		}
	})
	return blank && err == nil, err
}

var zeroBlock [1 << 20]byte

// readDisk passes the content in order, in pieces: data, or a number of zeros where the file has a hole.
func (m *Machine) readDisk(ctx context.Context, i int, piece func(data []byte, zeros int64)) error {
	fail := func(err error) error { return fmt.Errorf("machine %s: read disk %d: %w", m.name, i, err) }
	f, err := os.Open(m.DiskPath(i))
	if err != nil {
		return fail(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(err)
	}
	size := info.Size()
	buf := make([]byte, 1<<20)
	for at := int64(0); at < size; {
		data, err := unix.Seek(int(f.Fd()), at, unix.SEEK_DATA)
		switch {
		case errors.Is(err, unix.ENXIO):
			data = size // nothing but a hole up to the end
		case err != nil:
			return fail(err)
		}
		piece(nil, data-at)
		if data == size {
			return nil
		}
		hole, err := unix.Seek(int(f.Fd()), data, unix.SEEK_HOLE)
		if err != nil {
			return fail(err)
		}
		for at = data; at < hole; {
			if err := ctx.Err(); err != nil {
				return fail(err)
			}
			n, err := f.ReadAt(buf[:min(int64(len(buf)), hole-at)], at)
			if err != nil && !errors.Is(err, io.EOF) {
				return fail(err)
			}
			if n == 0 {
				return fail(io.ErrUnexpectedEOF)
			}
			piece(buf[:n], 0)
			at += int64(n)
		}
	}
	return nil
}
