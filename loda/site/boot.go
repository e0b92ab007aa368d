package site

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/pxe"
)

// booter answers the boot server's question from the installer.
type booter struct{ *Site }

func (b *booter) Boot(ctx context.Context, c pxe.Client) (pxe.Instruction, error) {
	host := c.Local.Addr().Unmap().String()
	s := loda.Sighting{Serial: c.Serial, UUID: c.UUID, Vendor: c.Manufacturer, Product: c.Product, Remote: c.Remote,
		Firmware: "BIOS", Base: b.base(host)}
	if c.Platform == pxe.EFI {
		s.Firmware = "UEFI"
	}
	for _, mac := range c.MACs {
		s.MACs = append(s.MACs, mac.String())
	}
	if b.chainload != nil {
		b.chainload.Done(c.MACs...)
	}
	d, err := b.installer.Boot(ctx, s)
	if err != nil {
		return nil, err
	}
	b.metrics.boots.WithLabelValues(bootLabel(d)).Inc()
	if !d.BootOS && d.Kernel == "" {
		return d.Instruction(s.Base, c.MACs), nil
	}
	var mac inventory.MAC
	if len(c.MACs) > 0 {
		mac, _ = inventory.MACOf(c.MACs[0])
		b.timeline.claim(c.Remote, mac)
	}
	if err := b.c.Dir.checkBootOS(); err != nil && d.BootOS {
		b.timeline.add(inventory.Event{Time: time.Now(), MAC: mac, Kind: inventory.KindAlarm,
			Message: "cannot boot bootOS: " + err.Error()})
		return nil, err
	}
	return d.Instruction(s.Base, c.MACs), nil
}

// checkBootOS says what is missing of the bootOS, and how to make it.
func (l Layout) checkBootOS() error {
	for _, name := range []string{"vmlinuz", "initramfs"} {
		if file := filepath.Join(l.BootOS(), name); !exists(file) {
			return fmt.Errorf("the bootOS is not there (%s); run `lodad bootos build`", file)
		}
	}
	return nil
}

func exists(file string) bool {
	_, err := os.Stat(file)
	return !errors.Is(err, fs.ErrNotExist)
}

func bootLabel(d loda.Decision) string {
	if d.BootOS {
		return "bootos"
	}
	if d.Kernel != "" {
		return "installer"
	}
	return "local"
}

// bootFiles answers the DHCP server's question: which network boot program, or which script.
func (s *Site) bootFiles() dhcp.Booter {
	files := dhcp.BootFiles{
		HTTP:   "http://{server}:" + s.bootPort + "/boot",
		Script: "http://{server}:" + s.bootPort + "/boot/ipxe",
	}
	if s.chainload == nil {
		return files
	}
	return chainloading{files, s.chainload}
}

// chainloading treats iPXE in a NIC's ROM like a plain PXE ROM.
type chainloading struct {
	dhcp.Booter
	state *pxe.Chainload
}

func (c chainloading) Boot(ctx context.Context, req dhcp.BootRequest) (*dhcp.Boot, error) {
	if req.IPXE && c.state.NeedsNBP(req.MAC) {
		req.IPXE = false
	}
	return c.Booter.Boot(ctx, req)
}

// reservations answers from the inventory which machines are known.
type reservations struct{ store inventory.Store }

func (r reservations) Reservation(ctx context.Context, hw net.HardwareAddr) (dhcp.Reservation, bool, error) {
	mac, err := inventory.MACOf(hw)
	if err != nil {
		return dhcp.Reservation{}, false, nil
	}
	m, err := r.store.MachineByMAC(ctx, mac)
	if errors.Is(err, inventory.ErrNotFound) {
		return dhcp.Reservation{}, false, nil
	}
	if err != nil {
		return dhcp.Reservation{}, false, err
	}
	// A reserved address belongs to the machine, and a machine has several NICs: the one that asks first gets it, which
	// is the one that netboots, and keeps it while its lease runs. The others get one of the pool.
	return dhcp.Reservation{Hostname: loda.HostnameOf(m), Addr: m.Address}, m.Source == inventory.Imported, nil
}

func (r reservations) Reserved(ctx context.Context, addr netip.Addr) (bool, error) {
	_, err := loda.MachineByAddress(ctx, r.store, addr)
	if errors.Is(err, inventory.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
