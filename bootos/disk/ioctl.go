package disk

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ioctlPtr is for ioctls that take a pointer and that x/sys has no function for.
func ioctlPtr[T any](f *os.File, request uint, arg *T) error {
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), uintptr(request), uintptr(unsafe.Pointer(arg)))
	if errno != 0 {
		return errno
	}
	return nil
}
