package loda

import (
	"context"
	"errors"
	"fmt"

	"github.com/project-loda/loda/inventory"
)

// Boot chains: the programs between a machine's firmware and bootOS.
const (
	// ChainIPXE is iPXE, which Secure Boot refuses.
	ChainIPXE = "ipxe"
	// ChainShimGRUB is Debian's signed shim and GRUB, for machines with Secure Boot. It works without, too, and is slower:
	// GRUB fetches kernel and bootOS by TFTP.
	ChainShimGRUB = "shim-grub"
)

// CheckChain says whether there is a boot chain of that name. The empty one is that of the site.
func CheckChain(name string) error {
	switch name {
	case "", ChainIPXE, ChainShimGRUB:
		return nil
	}
	return fmt.Errorf("%q is unknown; want %s, or %s for machines with Secure Boot", name, ChainIPXE, ChainShimGRUB)
}

// Chain returns the boot chain that the profile of the machine with this hardware address wants, as long as its
// installation is open; empty for all others, and for a profile that is not known yet or does not say.
func (in *Installer) Chain(ctx context.Context, mac inventory.MAC) (string, error) {
	m, err := in.store.MachineByMAC(ctx, mac)
	if errors.Is(err, inventory.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("boot chain of %s: %w", mac, err)
	}
	inst, err := in.store.OpenInstallation(ctx, m.Serial)
	if errors.Is(err, inventory.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("boot chain of %s: %w", m.Serial, err)
	}
	plan, err := planOf(inst)
	if err != nil {
		return "", fmt.Errorf("boot chain of %s: %w", m.Serial, err)
	}
	return plan.Profile.Chain, nil
}
