package site

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/pxe"
)

func TestBootChainIsTheProfilesAndTheFirmwares(t *testing.T) {
	const ipxe, shim = loda.ChainIPXE, loda.ChainShimGRUB
	x64, bios, arm := []iana.Arch{iana.EFI_X86_64}, []iana.Arch{iana.INTEL_X86PC}, []iana.Arch{iana.EFI_ARM64}
	for name, c := range map[string]struct {
		standard, profile string
		req               dhcp.BootRequest
		want              string
	}{
		"the site's":                 {ipxe, "", dhcp.BootRequest{Arch: x64}, "snponly.efi"},
		"the site's other one":       {shim, "", dhcp.BootRequest{Arch: x64}, "shimx64.efi"},
		"the profile's":              {ipxe, shim, dhcp.BootRequest{Arch: x64}, "shimx64.efi"},
		"the profile's other one":    {shim, ipxe, dhcp.BootRequest{Arch: x64}, "snponly.efi"},
		"EFI byte code":              {ipxe, shim, dhcp.BootRequest{Arch: []iana.Arch{iana.EFI_BC}}, "shimx64.efi"},
		"BIOS has iPXE only":         {shim, shim, dhcp.BootRequest{Arch: bios}, "undionly.kpxe"},
		"arm64 has iPXE only":        {shim, shim, dhcp.BootRequest{Arch: arm}, "snponly-arm64.efi"},
		"nothing known has iPXE":     {shim, shim, dhcp.BootRequest{}, ""},
		"who runs iPXE goes on":      {shim, shim, dhcp.BootRequest{Arch: x64, IPXE: true}, "http://10.0.0.1:8080/boot/ipxe"},
		"HTTP boot by iPXE":          {shim, ipxe, dhcp.BootRequest{Arch: []iana.Arch{iana.EFI_X86_64_HTTP}, HTTPClient: true}, "http://10.0.0.1:8080/boot/snponly.efi"},
		"HTTP boot has no GRUB, yet": {ipxe, shim, dhcp.BootRequest{Arch: []iana.Arch{iana.EFI_X86_64_HTTP}, HTTPClient: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			files := dhcp.BootFiles{HTTP: "http://{server}:8080/boot", Script: "http://{server}:8080/boot/ipxe"}
			c.req.MAC, c.req.Server = net.HardwareAddr{2, 0, 0, 0, 0, 1}, netip.MustParseAddr("10.0.0.1")
			chains := chains{ipxe: files, standard: c.standard, check: func() error { return nil },
				of: func(_ context.Context, mac inventory.MAC) (string, error) {
					require.Equal(t, inventory.MAC("02:00:00:00:00:01"), mac)
					return c.profile, nil
				}}
			boot, err := chains.Boot(t.Context(), c.req)
			require.NoError(t, err)
			if c.want == "" {
				require.Nil(t, boot)
				return
			}
			require.Equal(t, c.want, boot.File)
		})
	}
}

func TestNoBootFileIsNamedThatIsNotThereOrWhileTheInventoryIsAway(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "shimx64.efi.signed"), []byte("shim"), 0o644))
	nbps, err := pxe.OpenNBPs(dir)
	require.NoError(t, err)
	defer nbps.Close()
	req := dhcp.BootRequest{MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Arch: []iana.Arch{iana.EFI_X86_64}}
	c := chains{ipxe: dhcp.BootFiles{}, standard: loda.ChainShimGRUB, check: func() error { return checkShim(nbps) },
		of: func(context.Context, inventory.MAC) (string, error) { return "", nil }}
	_, err = c.Boot(t.Context(), req)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.ErrorContains(t, err, "grubx64.efi")
	require.ErrorContains(t, err, "install Debian's package grub-efi-amd64-signed")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "grubnetx64.efi.signed"), []byte("grub"), 0o644))
	boot, err := c.Boot(t.Context(), req)
	require.NoError(t, err)
	require.Equal(t, "shimx64.efi", boot.File)

	away := errors.New("the database is away")
	c.of = func(context.Context, inventory.MAC) (string, error) { return "", away }
	_, err = c.Boot(t.Context(), req)
	require.ErrorIs(t, err, away)
}
