package image

import (
	"context"
	"errors"
	"time"
)

// Image describes one image file; it is the content of NAME.json.
type Image struct {
	// Name is 1 to 64 characters a-z, 0-9, dot, dash and underscore, starting with a letter or digit.
	Name string `json:"name"`
	// File is the file's name beside the description.
	File string `json:"file"`
	// Format of the file: raw, zst, gz or xz.
	Format string `json:"format"`
	// Bytes is the size of the file, RawBytes of what it unpacks to.
	Bytes    int64 `json:"bytes"`
	RawBytes int64 `json:"raw_bytes"`
	// SHA256 of the file, hexadecimal.
	SHA256 string `json:"sha256"`
	// Created in UTC.
	Created time.Time `json:"created"`
	// Source says where it came from, for people.
	Source string `json:"source,omitempty"`
	// BIOS and UEFI say which firmware boots it, as far as is known.
	BIOS bool `json:"bios"`
	UEFI bool `json:"uefi"`
}

// ErrNotFound says that there is no image of that name.
var ErrNotFound = errors.New("image not found")

// Dir is a directory of images. It is safe for concurrent use, and so is the directory by several processes: every
// file appears complete or not at all.
type Dir struct {
	path string
}

// Open opens a directory, which must exist.
func Open(path string) (*Dir, error) {
	return &Dir{path: path}, errors.ErrUnsupported
}

// Path of the directory.
func (d *Dir) Path() string { return d.path }

// List returns all images sorted by name. Descriptions that are wrong are reported together, beside the good ones.
func (d *Dir) List() ([]Image, error) {
	return nil, errors.ErrUnsupported
}

// Get returns the description of an image after checking the file's size against it, or [ErrNotFound].
func (d *Dir) Get(name string) (Image, error) {
	return Image{}, errors.ErrUnsupported
}

// Verify reads the whole file and compares its digest.
func (d *Dir) Verify(ctx context.Context, name string) error {
	return errors.ErrUnsupported
}
