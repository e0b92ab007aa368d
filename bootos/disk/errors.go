package disk

import (
	"errors"
	"fmt"
)

// ErrNoGPT says that the image has no GUID partition table, which a seed and growing need. Images with nothing but an
// MBR, and bare file systems, can be written without a seed.
var ErrNoGPT = errors.New("no GUID partition table")

// ErrNoEFI says that the machine was not booted by UEFI or that the kernel has no efivarfs: there are no boot entries
// to set, and none are needed.
var ErrNoEFI = errors.New("no UEFI variables: booted by BIOS, or efivarfs is not mounted")

// A RefusedError says why the target was not touched.
type RefusedError struct {
	Device string
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("disk %s refused, nothing was written: %s", e.Device, e.Reason)
}

// A DigestError says that the transferred file is not the file that was asked for. The disk has no partition table and
// no boot code then.
type DigestError struct {
	URL string
	// Want and Got are SHA-256 digests in hexadecimal.
	Want, Got string
}

func (e *DigestError) Error() string {
	return fmt.Sprintf("image %s has SHA-256 %s, expected %s: the file on the server is damaged or was replaced; "+
		"verify it there and correct its digest", e.URL, e.Got, e.Want)
}

// A TooLargeError says that the image does not fit. Nothing was written.
type TooLargeError struct {
	Device string
	// Image is what is needed in bytes, including the seed's partition; Disk is what there is.
	Image, Disk int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("image needs %d bytes and disk %s has %d: choose a larger disk or a smaller image",
		e.Image, e.Device, e.Disk)
}

// A SizeError says that file or image has another size than was announced.
type SizeError struct {
	URL string
	// What is "file" (as transferred) or "image" (unpacked).
	What      string
	Want, Got int64
}

func (e *SizeError) Error() string {
	return fmt.Sprintf("%s at %s has %d bytes, expected %d: its description on the server does not match it",
		e.What, e.URL, e.Got, e.Want)
}

// A FormatError says that the file cannot be unpacked, or that the image is not fit for this disk.
type FormatError struct {
	URL    string
	Reason string
	Err    error
}

func (e *FormatError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("image %s: %s: %v", e.URL, e.Reason, e.Err)
	}
	return fmt.Sprintf("image %s: %s", e.URL, e.Reason)
}

func (e *FormatError) Unwrap() error { return e.Err }

// A TransferError says that the server could not be reached, or stopped sending, for longer than allowed.
type TransferError struct {
	URL string
	// Received counts the bytes that arrived before, Resumed how often the transfer was taken up again.
	Received int64
	Resumed  int
	Err      error
}

func (e *TransferError) Error() string {
	return fmt.Sprintf("transfer of %s ended after %d bytes and %d resumptions: %v", e.URL, e.Received, e.Resumed, e.Err)
}

func (e *TransferError) Unwrap() error { return e.Err }

// Retryable reports whether trying again without a person may help: a broken transfer, not a wrong digest or a disk
// that is too small.
func Retryable(err error) bool {
	if _, ok := errors.AsType[*DigestError](err); ok {
		return false
	}
	_, ok := errors.AsType[*TransferError](err)
	return ok
}
