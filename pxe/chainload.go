package pxe

import (
	"net"
	"net/netip"
	"time"
)

// Chainload makes every machine load the site's own iPXE by TFTP first, even if iPXE is in its NIC's ROM already: some
// ROM builds are too old or broken to go on with. The loaded iPXE looks the same as the ROM's in DHCP, so Chainload
// remembers which machine has just been given a network boot program; otherwise the chain would never end.
//
// Wire it up in three places:
//
//   - the DHCP server asks NeedsNBP for clients that say they are iPXE, and treats those that do as plain PXE firmware;
//   - [TFTPServer.Observe] (and [Handler.Observe] for UEFI HTTP boot) passes each transfer to Observe;
//   - when a machine has asked what to boot, Done forgets it, so that its next power-on starts with the NBP again.
//
// It is safe for concurrent use, and its zero value is ready.
type Chainload struct {
	// Window is how long after its transfer the NBP is expected to ask by DHCP; 0 means 2 minutes.
	Window time.Duration
	// MaxMachines bounds the memory; 0 means 65,536. The machine that has been silent longest is forgotten first.
	MaxMachines int
	// Now is the clock; nil means [time.Now].
	Now func() time.Time
}

// NeedsNBP says whether the iPXE with this MAC, which has or is about to get addr, is the ROM's and shall be given the
// NBP.
func (c *Chainload) NeedsNBP(mac net.HardwareAddr, addr netip.Addr) bool { return false }

// Observe takes notice of completed transfers of network boot programs.
func (c *Chainload) Observe(t Transfer) {}

// Done forgets machines that have got as far as they should.
func (c *Chainload) Done(macs ...net.HardwareAddr) {}
