//go:build !linux

package pxe

import (
	"context"
	"errors"
	"net/netip"
)

// A tftpLoop is for Linux. Elsewhere every transfer has a goroutine.
type tftpLoop struct{}

func newTFTPLoop() (*tftpLoop, error) { return nil, errors.ErrUnsupported }

func (*tftpLoop) close() {}

func (*tftpLoop) drive(context.Context, *tftpSender, netip.Addr, netip.AddrPort, func(error) []byte) error {
	return errors.ErrUnsupported
}
