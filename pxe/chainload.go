package pxe

import (
	"container/list"
	"net"
	"sync"
	"time"
)

// Chainload makes every machine load the site's own iPXE first, even if iPXE is in its NIC's ROM already: some ROM
// builds are too old or broken to go on with. The iPXE that is loaded looks the same in DHCP as the ROM's, so Chainload
// remembers which machine has just been given a network boot program; otherwise the chain would never end.
//
// Wire it up in three places:
//
//   - the DHCP server asks NeedsNBP about clients that say they are iPXE, and treats those that do as plain PXE;
//   - the observer of [TFTPServer] (and of [Handler], for UEFI HTTP boot) calls Loaded with the MAC of the machine
//     for every [Transfer.NBP]: it is the one who can tell a MAC from an address, by the leases;
//   - the [Booter] calls Done with [Client.MACs], so that the next power-on starts with the network boot program.
//
// It is safe for concurrent use, and its zero value is ready.
type Chainload struct {
	// Window is how long after its transfer the network boot program is expected to ask by DHCP; 0 means 2 minutes.
	Window time.Duration
	// MaxMachines bounds the memory; 0 means 65,536. Whoever was loaded longest ago is forgotten first.
	MaxMachines int
	// Now is the clock; nil means [time.Now].
	Now func() time.Time

	mu     sync.Mutex
	loaded map[[6]byte]*list.Element // of *loading
	order  list.List                 // oldest first
}

type loading struct {
	mac [6]byte
	at  time.Time
}

// NeedsNBP says whether the iPXE with this MAC is the ROM's and shall be given the network boot program. It changes
// nothing: DHCP asks at least twice, for DISCOVER and for REQUEST.
func (c *Chainload) NeedsNBP(mac net.HardwareAddr) bool {
	if len(mac) != 6 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	_, ok := c.loaded[[6]byte(mac)]
	return !ok
}

// Loaded notes that the machine has received a network boot program.
func (c *Chainload) Loaded(mac net.HardwareAddr) {
	if len(mac) != 6 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget([6]byte(mac))
	c.expire()
	limit := c.MaxMachines
	if limit <= 0 {
		limit = 65536
	}
	for c.order.Len() >= limit {
		c.forget(c.order.Front().Value.(*loading).mac)
	}
	if c.loaded == nil {
		c.loaded = make(map[[6]byte]*list.Element)
	}
	c.loaded[[6]byte(mac)] = c.order.PushBack(&loading{[6]byte(mac), c.now()})
}

// Done forgets machines that have got as far as asking what to boot.
func (c *Chainload) Done(macs ...net.HardwareAddr) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, mac := range macs {
		if len(mac) == 6 {
			c.forget([6]byte(mac))
		}
	}
}

func (c *Chainload) forget(mac [6]byte) {
	if e, ok := c.loaded[mac]; ok {
		c.order.Remove(e)
		delete(c.loaded, mac)
	}
}

// expire forgets who was loaded before the window. Since the order is that of time, it looks at one more than it
// forgets.
func (c *Chainload) expire() {
	window := c.Window
	if window == 0 {
		window = 2 * time.Minute
	}
	for e := c.order.Front(); e != nil; e = c.order.Front() {
		l := e.Value.(*loading)
		if c.now().Sub(l.at) < window {
			return
		}
		c.forget(l.mac)
	}
}

func (c *Chainload) now() time.Time {
	if c.Now == nil {
		return time.Now()
	}
	return c.Now()
}
