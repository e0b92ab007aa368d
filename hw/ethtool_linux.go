package hw

import (
	"errors"
	"net"
	"strings"

	"github.com/safchain/ethtool"
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

// firmware is "" if the driver has none to tell.
func (k *kernelNICs) firmware(name string) (string, error) {
	if k.err != nil {
		return "", k.err
	}
	info, err := k.handle.DriverInfo(name)
	if err != nil {
		return "", err
	}
	version := clean([]byte(info.FwVersion))
	if strings.EqualFold(version, "N/A") {
		version = ""
	}
	return version, nil
}

func (k *kernelNICs) permanent(name string) (string, error) {
	if k.err != nil {
		return "", k.err
	}
	s, err := k.handle.PermAddr(name)
	if err != nil {
		return "", err
	}
	mac, err := net.ParseMAC(s)
	if err != nil {
		return "", err
	}
	if strings.Trim(mac.String(), "0:") == "" {
		return "", errors.New("all zero")
	}
	return mac.String(), nil
}
