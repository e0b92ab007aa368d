//go:build !linux

package dhcp

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"time"
)

// DefaultProbeWait is how long an [ARPProber] waits for an answer.
const DefaultProbeWait = 300 * time.Millisecond

// An ARPProber needs Linux.
type ARPProber struct {
	// Wait is how long an answer may take; 0 means [DefaultProbeWait].
	Wait time.Duration
}

// Probe fails.
func (*ARPProber) Probe(context.Context, int, netip.Addr) (net.HardwareAddr, error) {
	return nil, errors.New("arp: needs Linux")
}

// Close does nothing.
func (*ARPProber) Close() error { return nil }
