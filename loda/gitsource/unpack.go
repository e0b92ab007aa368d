package gitsource

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// objectStore is what unpack needs of a store.
type objectStore interface {
	put(t plumbing.ObjectType, content []byte) (plumbing.Hash, error)
	get(h plumbing.Hash, limit int64) (plumbing.ObjectType, []byte, error)
	has(h plumbing.Hash) bool
}

// unpack writes the objects of a pack, each as a whole. go-git's parser would do it with a file held open for each
// object, and would trust sizes: here, a size is checked before the content is inflated, for a pack of a few
// megabytes can stand for terabytes.
func unpack(r io.ReadSeeker, into objectStore, limits Limits) error {
	scan := packfile.NewScanner(r)
	_, count, err := scan.Header()
	if err != nil {
		return fmt.Errorf("the server's pack cannot be read: %w", sanitized{err})
	}
	// A tree for each directory, a file, and the commit. Packs with history, which are rare here, have more.
	if int64(count) > 4*int64(limits.Files) {
		return tooMuch("the repository has %d objects, and %d files and directories are the limit", count, limits.Files)
	}

	u := unpacker{into: into, limits: limits, byOffset: make(map[int64]plumbing.Hash, count)}
	var buf bytes.Buffer
	for range count {
		h, err := scan.NextObjectHeader()
		if err != nil {
			return fmt.Errorf("the server's pack cannot be read: %w", sanitized{err})
		}
		if err := u.account(h.Length); err != nil {
			return err
		}
		buf.Reset()
		n, _, err := scan.NextObject(&buf)
		if err == nil && n != h.Length {
			err = fmt.Errorf("an object has %d bytes instead of %d", n, h.Length)
		}
		if err != nil {
			return fmt.Errorf("the server's pack cannot be read: %w", sanitized{err})
		}
		if err := u.add(h, buf.Bytes()); err != nil {
			return err
		}
	}
	if _, err := scan.Checksum(); err != nil {
		return fmt.Errorf("the server's pack cannot be read: %w", sanitized{err})
	}
	return u.settle()
}

type unpacker struct {
	into     objectStore
	limits   Limits
	byOffset map[int64]plumbing.Hash
	waiting  []delta
	held     int64 // bytes in waiting
	total    int64
}

// delta is an object that is described by its difference from another.
type delta struct {
	offset     int64
	baseOffset int64         // 0: base says it
	base       plumbing.Hash // by name
	patch      []byte
}

// account bounds what the objects of a pack amount to.
func (u *unpacker) account(size int64) error {
	limit := max(u.limits.Blob, maxNode)
	if size < 0 || size > limit {
		return tooBig(size, u.limits)
	}
	u.total += size
	// A pack may hold old versions beside the new ones, and a delta counts beside its result.
	if u.total > 2*u.limits.Total {
		return tooMuch("the files of the repository are more than %s together, which is the limit",
			mebibytes(u.limits.Total))
	}
	return nil
}

func tooBig(size int64, limits Limits) error {
	return tooMuch("there is a file of %d bytes in the repository, and %s is the limit: "+
		"`git ls-tree -r -l HEAD | sort -n -k 4 | tail` shows the biggest. Images belong on the artifact server", size,
		mebibytes(limits.Blob))
}

// maxHeld bounds the deltas that wait for their bases in memory.
const maxHeld = 32 << 20

func (u *unpacker) add(h *packfile.ObjectHeader, content []byte) error {
	switch h.Type {
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		return u.put(h.Offset, h.Type, content)
	case plumbing.OFSDeltaObject, plumbing.REFDeltaObject:
		d := delta{offset: h.Offset, baseOffset: h.OffsetReference, base: h.Reference, patch: content}
		done, err := u.apply(d)
		if err == nil && !done {
			d.patch = bytes.Clone(content)
			u.waiting = append(u.waiting, d)
			if u.held += int64(len(content)); u.held > maxHeld {
				return tooMuch("the server's pack holds more than %s of deltas before what they refer to", mebibytes(maxHeld))
			}
		}
		return err
	}
	return fmt.Errorf("the server's pack holds an object of the unknown type %d", h.Type)
}

func (u *unpacker) put(offset int64, t plumbing.ObjectType, content []byte) error {
	if t == plumbing.BlobObject && int64(len(content)) > u.limits.Blob {
		return tooBig(int64(len(content)), u.limits)
	}
	h, err := u.into.put(t, content)
	u.byOffset[offset] = h
	return err
}

// apply writes the object that a delta describes, if its base is here already.
func (u *unpacker) apply(d delta) (bool, error) {
	base := d.base
	if d.baseOffset != 0 {
		var ok bool
		if base, ok = u.byOffset[d.baseOffset]; !ok {
			return false, nil
		}
	}
	if !u.into.has(base) {
		return false, nil
	}
	t, src, err := u.into.get(base, max(u.limits.Blob, maxNode))
	if err != nil {
		return false, err
	}
	size, err := targetSize(d.patch)
	if err != nil {
		return false, err
	}
	if err := u.account(size); err != nil {
		return false, err
	}
	content, err := packfile.PatchDelta(src, d.patch)
	if err != nil {
		return false, fmt.Errorf("the server's pack holds a delta that does not fit: %w", sanitized{err})
	}
	return true, u.put(d.offset, t, content)
}

// settle applies the deltas whose bases came later. git writes none, but may; what it writes is at most 50 deep.
func (u *unpacker) settle() error {
	for round := 0; len(u.waiting) > 0; round++ {
		var left []delta
		for _, d := range u.waiting {
			done, err := u.apply(d)
			if err != nil {
				return err
			}
			if !done {
				left = append(left, d)
			}
		}
		if len(left) == len(u.waiting) || round > 100 {
			return fmt.Errorf("the server's pack holds %d deltas to objects that it does not hold", len(left))
		}
		u.waiting = left
	}
	return nil
}

// targetSize reads how big the result of a delta is: the second of two numbers of 7 bits a byte, lowest first.
func targetSize(patch []byte) (int64, error) {
	var n uint64
	for range 2 {
		n = 0
		for shift := 0; ; shift += 7 {
			if len(patch) == 0 || shift > 56 {
				return 0, errors.New("the server's pack holds a delta that cannot be read")
			}
			b := patch[0]
			patch = patch[1:]
			n |= uint64(b&0x7f) << shift
			if b < 0x80 {
				break
			}
		}
	}
	return int64(n), nil
}
