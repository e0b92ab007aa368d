package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/project-loda/loda/loda/image/gpt"
)

const (
	// blockBytes is what is written at once. It is at least heldBytes, so that the first block has the whole head.
	blockBytes = 2 << 20
	// heldBytes at both ends of the disk are written last: MBR, both partition tables, the BIOS boot loader.
	heldBytes = 1 << 20
	// holeBytes is the smallest run of zeros that is not written but cleared.
	holeBytes = 64 << 10
	// alignment of buffers and file offsets for O_DIRECT.
	alignment = 4096
	// syncEvery bounds the dirty pages of a RAM disk machine where O_DIRECT does not work.
	syncEvery = 64 << 20
)

// target is an opened disk. It is used by one goroutine.
type target struct {
	Target
	f      *os.File
	block  bool
	direct bool
	bounce []byte
	zeros  []byte
	dirty  int64
	// noZeroOut remembers that the kernel refused to clear ranges.
	noZeroOut bool
}

// openTarget opens the device exclusively after it looked at everything that forbids it.
func openTarget(device string, allowFile bool, sectorSize int) (*target, error) {
	refuse := func(format string, args ...any) error {
		return &RefusedError{Device: device, Reason: fmt.Sprintf(format, args...)}
	}
	info, err := os.Stat(device)
	if err != nil {
		return nil, refuse("%v", err)
	}
	t := &target{Target: Target{Device: device}}
	flags := unix.O_RDWR | unix.O_CLOEXEC
	switch mode := info.Mode(); {
	case mode.IsRegular() && allowFile:
		if sectorSize == 0 {
			sectorSize = 512
		}
		t.SectorSize, t.Bytes = sectorSize, info.Size()
		if sectorSize != 512 && sectorSize != 4096 || t.Bytes%int64(sectorSize) != 0 {
			return nil, refuse("%d bytes are not a disk with sectors of %d", t.Bytes, sectorSize)
		}
	case mode&os.ModeDevice != 0 && mode&os.ModeCharDevice == 0:
		t.block = true
	default:
		return nil, refuse("it is not a block device")
	}
	if t.block {
		var st unix.Stat_t
		if err := unix.Stat(device, &st); err != nil {
			return nil, refuse("%v", err)
		}
		t.Major, t.Minor = unix.Major(st.Rdev), unix.Minor(st.Rdev)
		if reason := inUse(t.Major, t.Minor, allowFile); reason != "" {
			return nil, refuse("%s", reason)
		}
		// O_EXCL on a block device (open(2)): fails while it, or a partition of it, is mounted or claimed.
		flags |= unix.O_EXCL | unix.O_DIRECT
		t.direct = true
	}
	fd, err := openRetry(device, flags)
	if errors.Is(err, unix.EINVAL) && t.direct {
		t.direct = false
		fd, err = openRetry(device, flags&^unix.O_DIRECT)
	}
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, refuse("it is in use: a file system on it is mounted, or another program holds it")
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, refuse("it is read-only: %v", err)
	case err != nil:
		return nil, refuse("%v", err)
	}
	t.f = os.NewFile(uintptr(fd), device)
	if t.block {
		if err := t.measure(); err != nil {
			t.f.Close()
			return nil, refuse("%v", err)
		}
	}
	if t.bounce, err = alignedBuffer(blockBytes); err == nil {
		t.zeros, err = alignedBuffer(blockBytes)
	}
	if err != nil {
		t.Close()
		return nil, err
	}
	return t, nil
}

// openRetry waits a little for programs that only look: the kernel's partition scan, blkid.
func openRetry(path string, flags int) (int, error) {
	for i := 0; ; i++ {
		fd, err := unix.Open(path, flags, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if !errors.Is(err, unix.EBUSY) || i == 10 {
			return fd, err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// measure asks the opened device, which is the same that was judged by its number.
func (t *target) measure() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(t.f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFBLK || unix.Major(st.Rdev) != t.Major || unix.Minor(st.Rdev) != t.Minor {
		return errors.New("the device was replaced while it was opened")
	}
	size, err := t.f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	sector, err := unix.IoctlGetInt(int(t.f.Fd()), unix.BLKSSZGET)
	if err != nil {
		return fmt.Errorf("sector size: %w", err)
	}
	if sector != 512 && sector != 4096 {
		return fmt.Errorf("sector size %d is neither 512 nor 4096", sector)
	}
	if size == 0 {
		return errors.New("it has no capacity")
	}
	t.Bytes, t.SectorSize = size, sector
	return nil
}

// loopMajor is fixed: Documentation/admin-guide/devices.txt of Linux.
const loopMajor = 7

// inUse says why the kernel's view of the device forbids writing, or nothing.
func inUse(major, minor uint32, allowLoop bool) string {
	id := fmt.Sprintf("%d:%d", major, minor)
	dir := "/sys/dev/block/" + id
	if _, err := os.Stat(dir); err != nil {
		return "the kernel does not know it: " + err.Error()
	}
	has := func(name string) bool { _, err := os.Stat(filepath.Join(dir, name)); return err == nil }
	switch {
	case has("partition"):
		return "it is a partition, not a disk"
	case has("dm"):
		return "it is a device-mapper device"
	case has("md"):
		if reason := arrayUnfit(dir); reason != "" {
			return reason
		}
	case major == loopMajor && !allowLoop:
		return "it is a loop device"
	}
	if ro, err := os.ReadFile(dir + "/ro"); err == nil && strings.TrimSpace(string(ro)) != "0" {
		return "it is read-only"
	}
	// The disk and its partitions.
	ids, dirs := map[string]string{id: "it"}, []string{dir}
	parts, _ := filepath.Glob(dir + "/*/partition")
	for _, p := range parts {
		part := filepath.Dir(p)
		dirs = append(dirs, part)
		if dev, err := os.ReadFile(part + "/dev"); err == nil {
			ids[strings.TrimSpace(string(dev))] = "its partition " + filepath.Base(part)
		}
	}
	for _, d := range dirs {
		if holders, _ := os.ReadDir(d + "/holders"); len(holders) > 0 {
			what := "it"
			if d != dir {
				what = "its partition " + filepath.Base(d)
			}
			return fmt.Sprintf("%s is used by %s (RAID, LVM or device mapper): stop that first", what, holders[0].Name())
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "cannot tell whether it is mounted: " + err.Error()
	}
	for line := range strings.Lines(string(mounts)) {
		if f := strings.Fields(line); len(f) > 4 {
			if what, ok := ids[f[2]]; ok {
				return fmt.Sprintf("%s is mounted on %s", what, f[4])
			}
		}
	}
	swaps, _ := os.ReadFile("/proc/swaps")
	for line := range strings.Lines(string(swaps)) {
		var st unix.Stat_t
		if f := strings.Fields(line); len(f) > 1 && unix.Stat(f[0], &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFBLK {
			if what, ok := ids[fmt.Sprintf("%d:%d", unix.Major(st.Rdev), unix.Minor(st.Rdev))]; ok {
				return what + " is used as swap"
			}
		}
	}
	return ""
}

// arrayUnfit says why an array of the kernel's RAID cannot be written to, or nothing. An array is a target like a disk;
// what it is made of is not, as it has a holder. Both members of a mirror have a block before a write returns, so there
// is nothing to wait for afterwards: a synchronisation that goes on is noted in the metadata when the kernel reboots, and
// continued by the system that starts the array next.
func arrayUnfit(dir string) string {
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, "md", name))
		if err != nil {
			return "unknown: " + err.Error()
		}
		return strings.TrimSpace(string(text))
	}
	if read("level") == "container" {
		return "it is the container of a firmware's RAID; the volumes in it are devices of their own"
	}
	switch state := read("array_state"); state {
	case "clean", "active", "active-idle", "write-pending", "read-auto":
		return ""
	default:
		return fmt.Sprintf("it is an array of the kernel's RAID that cannot be written to: its state is %s (clear and "+
			"inactive: it does not run; readonly: `mdadm --readwrite`; broken: a drive is gone)", state)
	}
}

// alignedBuffer returns page-aligned memory, as O_DIRECT wants it. It is freed by freeBuffer.
func alignedBuffer(size int) ([]byte, error) {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("allocate %d bytes: %w", size, err)
	}
	return b, nil
}

func freeBuffer(b []byte) {
	if b != nil {
		unix.Munmap(b)
	}
}

// Close gives the disk back.
func (t *target) Close() error {
	freeBuffer(t.bounce)
	freeBuffer(t.zeros)
	t.bounce, t.zeros = nil, nil
	return t.f.Close()
}

// ReadAt reads any range.
func (t *target) ReadAt(p []byte, off int64) (int, error) {
	if !t.direct {
		return t.f.ReadAt(p, off)
	}
	done := 0
	for done < len(p) {
		start := (off + int64(done)) / alignment * alignment
		end := min((off+int64(len(p))+alignment-1)/alignment*alignment, start+int64(len(t.bounce)), t.Bytes)
		if start >= t.Bytes {
			return done, io.EOF
		}
		n, err := t.f.ReadAt(t.bounce[:end-start], start)
		skip := int(off + int64(done) - start)
		if n <= skip {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return done, err
		}
		done += copy(p[done:], t.bounce[skip:n])
		if err != nil && done < len(p) {
			return done, err
		}
	}
	return done, nil
}

// WriteAt writes whole sectors.
func (t *target) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || off+int64(len(p)) > t.Bytes {
		return 0, fmt.Errorf("write %d bytes at %d: disk %s has only %d", len(p), off, t.Device, t.Bytes)
	}
	if t.direct && (off%int64(t.SectorSize) != 0 || len(p)%t.SectorSize != 0) {
		return 0, fmt.Errorf("write %d bytes at %d: not whole sectors of %d", len(p), off, t.SectorSize)
	}
	done := 0
	for done < len(p) {
		chunk := t.bounce[:copy(t.bounce, p[done:])]
		if err := t.writeAligned(chunk, off+int64(done)); err != nil {
			return done, err
		}
		done += len(chunk)
	}
	return done, nil
}

// writeAligned writes from page-aligned memory.
func (t *target) writeAligned(p []byte, off int64) error {
	if _, err := t.f.WriteAt(p, off); err != nil {
		return fmt.Errorf("write %d bytes at %d: %w", len(p), off, err)
	}
	if t.direct {
		return nil
	}
	t.dirty += int64(len(p))
	if t.dirty >= syncEvery {
		return t.drop()
	}
	return nil
}

// drop writes dirty pages out and forgets them.
func (t *target) drop() error {
	t.dirty = 0
	if err := unix.Fdatasync(int(t.f.Fd())); err != nil {
		return fmt.Errorf("flush %s: %w", t.Device, err)
	}
	unix.Fadvise(int(t.f.Fd()), 0, 0, unix.FADV_DONTNEED)
	return nil
}

// Sync waits until everything is on the platter.
func (t *target) Sync() error {
	if err := t.f.Sync(); err != nil {
		return fmt.Errorf("flush %s: %w", t.Device, err)
	}
	return nil
}

// zeroStep bounds one ioctl, which cannot be interrupted and on a disk without WRITE ZEROES writes every byte.
const zeroStep = 256 << 20

// zero makes a range of whole sectors read as zeros: BLKZEROOUT, which the disk does itself where it can (WRITE
// ZEROES, WRITE SAME) and the kernel otherwise; a hole in a file.
func (t *target) zero(off, n int64) error {
	for n > 0 {
		step := min(n, zeroStep)
		if err := t.zeroRange(off, step); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

func (t *target) zeroRange(off, n int64) error {
	if !t.noZeroOut {
		var err error
		if t.block {
			span := [2]uint64{uint64(off), uint64(n)}
			err = ioctlPtr(t.f, unix.BLKZEROOUT, &span)
		} else {
			err = unix.Fallocate(int(t.f.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n)
		}
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EIO):
			return fmt.Errorf("clear %d bytes at %d: %w", n, off, err)
		}
		t.noZeroOut = true
	}
	for n > 0 {
		step := min(n, int64(len(t.zeros)))
		if err := t.writeAligned(t.zeros[:step], off); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

// discard tells an SSD or a thin volume that nothing on it is needed any more. It is a kindness with a time limit:
// some drives take minutes, and nothing here depends on it.
func (t *target) discard(limit time.Duration) {
	const step = 4 << 30
	start := time.Now()
	for off := int64(0); t.block && off < t.Bytes && time.Since(start) < limit; off += step {
		span := [2]uint64{uint64(off), uint64(min(step, t.Bytes-off))}
		if ioctlPtr(t.f, unix.BLKDISCARD, &span) != nil {
			return
		}
	}
}

// reread lets the kernel read the partition table again, and adds what it did not find: a kernel may be built without
// this kind of table, a loop device may be set up without partitions. Files have none.
func (t *target) reread(table *gpt.Table) error {
	if !t.block {
		return nil
	}
	var err error
	for range 10 {
		if err = unix.IoctlSetInt(int(t.f.Fd()), unix.BLKRRPART, 0); !errors.Is(err, unix.EBUSY) {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("read partition table of %s again: %w", t.Device, err)
	}
	if table == nil {
		return nil
	}
	known := map[int]bool{}
	files, _ := filepath.Glob(fmt.Sprintf("/sys/dev/block/%d:%d/*/partition", t.Major, t.Minor))
	for _, file := range files {
		if text, err := os.ReadFile(file); err == nil {
			number, _ := strconv.Atoi(strings.TrimSpace(string(text)))
			known[number] = true
		}
	}
	for _, p := range table.Partitions {
		if known[p.Number] {
			continue
		}
		part := unix.BlkpgPartition{Pno: int32(p.Number), Start: int64(p.First) * int64(t.SectorSize),
			Length: int64(p.Last-p.First+1) * int64(t.SectorSize)}
		arg := unix.BlkpgIoctlArg{Op: unix.BLKPG_ADD_PARTITION, Datalen: int32(unsafe.Sizeof(part)),
			Data: (*byte)(unsafe.Pointer(&part))}
		if err := ioctlPtr(t.f, unix.BLKPG, &arg); err != nil {
			return fmt.Errorf("add partition %d of %s: %w", p.Number, t.Device, err)
		}
	}
	return nil
}

// held is the disk with its first and last MiB in memory until commit.
type held struct {
	*target
	head, tail []byte
	tailAt     int64
}

func holdEnds(t *target) *held {
	h := &held{target: t, head: make([]byte, min(heldBytes, t.Bytes))}
	h.tailAt = max(int64(len(h.head)), t.Bytes-heldBytes)
	h.tail = make([]byte, t.Bytes-h.tailAt)
	return h
}

// load fills the held ends from the disk.
func (h *held) load() error {
	if _, err := h.target.ReadAt(h.head, 0); err != nil {
		return fmt.Errorf("read %s: %w", h.Device, err)
	}
	if _, err := h.target.ReadAt(h.tail, h.tailAt); err != nil && len(h.tail) > 0 {
		return fmt.Errorf("read %s: %w", h.Device, err)
	}
	return nil
}

// split calls f for the parts of a range: in memory, or on the disk when mem is nil.
func (h *held) split(n int, off int64, f func(from, to int, mem []byte) error) error {
	end := off + int64(n)
	if off < 0 || end > h.Bytes {
		return fmt.Errorf("range %d to %d is outside of disk %s with %d bytes", off, end, h.Device, h.Bytes)
	}
	for at := off; at < end; {
		var stop int64
		var mem []byte
		switch headEnd := int64(len(h.head)); {
		case at < headEnd:
			stop, mem = min(end, headEnd), h.head[at:]
		case at < h.tailAt:
			stop = min(end, h.tailAt)
		default:
			stop, mem = end, h.tail[at-h.tailAt:]
		}
		if err := f(int(at-off), int(stop-off), mem); err != nil {
			return err
		}
		at = stop
	}
	return nil
}

// ReadAt sees the held ends as they will be.
func (h *held) ReadAt(p []byte, off int64) (int, error) {
	if off >= h.Bytes {
		return 0, io.EOF
	}
	n := int(min(int64(len(p)), h.Bytes-off))
	err := h.split(n, off, func(from, to int, mem []byte) error {
		if mem != nil {
			copy(p[from:to], mem)
			return nil
		}
		_, err := h.target.ReadAt(p[from:to], off+int64(from))
		return err
	})
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// WriteAt keeps what belongs to the ends in memory.
func (h *held) WriteAt(p []byte, off int64) (int, error) {
	err := h.split(len(p), off, func(from, to int, mem []byte) error {
		if mem != nil {
			copy(mem, p[from:to])
			return nil
		}
		_, err := h.target.WriteAt(p[from:to], off+int64(from))
		return err
	})
	return len(p), err
}

// zero clears a range.
func (h *held) zero(off, n int64) error {
	for n > 0 {
		step := min(n, 1<<30)
		err := h.split(int(step), off, func(from, to int, mem []byte) error {
			if mem != nil {
				clear(mem[:to-from])
				return nil
			}
			return h.target.zero(off+int64(from), int64(to-from))
		})
		if err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

// wipeEnds clears both ends on the disk itself, so that no firmware finds anything to boot.
func (h *held) wipeEnds() error {
	if err := h.target.writeZeros(0, int64(len(h.head))); err != nil {
		return err
	}
	if err := h.target.writeZeros(h.tailAt, int64(len(h.tail))); err != nil {
		return err
	}
	return h.target.Sync()
}

// writeZeros writes them: what must be gone is not left to a disk's idea of clearing.
func (t *target) writeZeros(off, n int64) error {
	for n > 0 {
		step := min(n, int64(len(t.zeros)))
		if err := t.writeAligned(t.zeros[:step], off); err != nil {
			return err
		}
		off, n = off+step, n-step
	}
	return nil
}

// firstBytes are written with one last write: MBR and, with sectors of 512, the primary partition table's header. With
// sectors of 4096 it is the MBR alone, without which the table is not valid.
const firstBytes = 4096

// commit writes the held ends, the first bytes last, and reads them back.
func (h *held) commit() error {
	if err := h.target.Sync(); err != nil {
		return err
	}
	first := min(firstBytes, len(h.head))
	for _, part := range []struct {
		data []byte
		at   int64
	}{{h.tail, h.tailAt}, {h.head[first:], int64(first)}, {h.head[:first], 0}} {
		if len(part.data) == 0 {
			continue
		}
		if _, err := h.target.WriteAt(part.data, part.at); err != nil {
			return err
		}
		if err := h.target.Sync(); err != nil {
			return err
		}
	}
	if !h.direct {
		h.drop()
	}
	for _, part := range []struct {
		data []byte
		at   int64
	}{{h.head, 0}, {h.tail, h.tailAt}} {
		got := make([]byte, len(part.data))
		if _, err := h.target.ReadAt(got, part.at); err != nil && len(got) > 0 {
			return fmt.Errorf("read back %s: %w", h.Device, err)
		}
		if !bytes.Equal(got, part.data) {
			return fmt.Errorf("disk %s does not return what was written at %d: it is faulty", h.Device, part.at)
		}
	}
	return nil
}
