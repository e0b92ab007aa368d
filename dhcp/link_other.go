//go:build !linux

package dhcp

import (
	"errors"
	"net/netip"
)

// link exists on Linux only: other systems have neither SO_BINDTODEVICE nor packet sockets.
type link struct {
	name string
	port uint16
}

var errNotLinux = errors.New("the DHCP server needs Linux; responders work everywhere")

func openLink(string, uint16, bool) (*link, error)         { return nil, errNotLinux }
func (l *link) reopen() error                              { return errNotLinux }
func (l *link) stop()                                      {}
func (l *link) close()                                     {}
func (l *link) receive(func(*Request, []byte)) error       { return errNotLinux }
func (l *link) send([]byte, netip.Addr, Destination) error { return errNotLinux }
