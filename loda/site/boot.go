package site

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/insomniacslk/dhcp/iana"

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
	if c.Loader == pxe.LoaderGRUB {
		s.Firmware = "UEFI by shim and GRUB"
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
func (s *Site) bootFiles(nbps *pxe.Files) dhcp.Booter {
	files := dhcp.BootFiles{
		HTTP:   "http://{server}:" + s.bootPort + "/boot",
		Script: "http://{server}:" + s.bootPort + "/boot/ipxe", UserClass: s.c.UserClass,
	}
	c := chains{ipxe: files, standard: s.c.Chain, of: s.installer.Chain, check: func() error { return checkShim(nbps) }}
	if s.chainload != nil {
		c.ipxe = chainloading{files, s.chainload}
	}
	return c
}

// chains gives each machine the beginning of its boot chain.
type chains struct {
	ipxe     dhcp.Booter
	standard string // for machines whose profile does not say
	of       func(context.Context, inventory.MAC) (string, error)
	check    func() error // whether the signed programs are there
}

func (c chains) Boot(ctx context.Context, req dhcp.BootRequest) (*dhcp.Boot, error) {
	mac, err := inventory.MACOf(req.MAC)
	if err != nil || req.IPXE || !isX64(req.Arch) {
		return c.ipxe.Boot(ctx, req)
	}
	chain, err := c.of(ctx, mac)
	if err != nil {
		return nil, err
	}
	if cmp.Or(chain, c.standard) != loda.ChainShimGRUB {
		return c.ipxe.Boot(ctx, req)
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if req.HTTPClient {
		// Debian 12's GRUB finds no configuration when the firmware has loaded it by HTTP boot. Without a boot file the
		// firmware goes on in its boot order, where PXE is another entry.
		return nil, nil
	}
	return dhcp.BootFiles{EFIX64: shim}.Boot(ctx, req)
}

// isX64 says whether the most wanted architecture is UEFI for x64.
func isX64(arch []iana.Arch) bool {
	return len(arch) > 0 && slices.Contains([]iana.Arch{iana.EFI_X86_64, iana.EFI_BC, iana.EFI_X86_64_HTTP, iana.EFI_BC_HTTP}, arch[0])
}

const shim = "shimx64.efi"

// checkShim says what is missing of the chain that Secure Boot lets run, and how to get it.
func checkShim(nbps *pxe.Files) error {
	for name, pkg := range map[string]string{shim: "shim-signed", "grubx64.efi": "grub-efi-amd64-signed"} {
		f, _, err := nbps.Open(name)
		if err != nil {
			return fmt.Errorf("boot chain %s: %w; install Debian's package %s, or name the directory that has it in nbp_dirs",
				loda.ChainShimGRUB, err, pkg)
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
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
