package hw

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/safchain/ethtool"
	"golang.org/x/sys/unix"
)

// kernelNICs asks this machine's kernel over ethtool's ioctl what sysfs does not have.
type kernelNICs struct {
	handle *ethtool.Ethtool
	err    error
}

func openKernelNICs() *kernelNICs {
	h, err := ethtool.NewEthtool()
	return &kernelNICs{handle: h, err: err}
}

func (k *kernelNICs) close() {
	if k.handle != nil {
		k.handle.Close()
	}
}

// firmware is empty if the driver has none to tell.
func (k *kernelNICs) firmware(name string) ([]byte, error) {
	if k.err != nil {
		return nil, k.err
	}
	info, err := k.handle.DriverInfo(name)
	if err != nil {
		return nil, err
	}
	version := clean([]byte(info.FwVersion))
	if strings.EqualFold(version, "N/A") {
		version = ""
	}
	return []byte(version), nil
}

func (k *kernelNICs) permanent(name string) ([]byte, error) {
	if k.err != nil {
		return nil, k.err
	}
	address, err := k.handle.PermAddr(name)
	return []byte(address), err
}

// linkModes asks for the link modes that a port supports, also while it has no link (ETHTOOL_GLINKSETTINGS, Linux 4.6):
// words of 32 bits in the byte order of this machine. safchain/ethtool has the call too, but writes warnings to
// standard output and forgets the modes that are newer than its list.
func (k *kernelNICs) linkModes(name string) ([]uint32, error) {
	if k.err != nil {
		return nil, k.err
	}
	var request struct {
		ethtool.EthtoolLinkSettingsFixed
		// Three sets of modes: supported, advertised, those of the link partner; Words tells how long each is.
		masks [3 * maxLinkModeWords]uint32
	}
	if len(name) >= unix.IFNAMSIZ {
		return nil, unix.EINVAL
	}
	call := func() error {
		raw := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte // the rest of the kernel's union
		}{data: unsafe.Pointer(&request)}
		copy(raw.name[:], name)
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&raw)))
		if errno != 0 {
			return errno
		}
		return nil
	}
	request.Cmd = unix.ETHTOOL_GLINKSETTINGS
	if err := call(); err != nil { // the kernel answers with minus the number of words that it wants
		return nil, err
	}
	words := -int(request.LinkModeMasksNwords)
	if words <= 0 || words > maxLinkModeWords {
		return nil, fmt.Errorf("the kernel has link modes of %d words", words)
	}
	request.Cmd, request.LinkModeMasksNwords = unix.ETHTOOL_GLINKSETTINGS, int8(words)
	if err := call(); err != nil {
		return nil, err
	}
	return request.masks[:words], nil
}
