package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
	"github.com/project-loda/loda/loda"
	"github.com/project-loda/loda/loda/gitsource/gitsourcetest"
	"github.com/project-loda/loda/loda/lab"
	"github.com/project-loda/loda/scripts/need"
)

// secureBoot fails unless the firmware says that Secure Boot is on. The variable's four bytes of attributes come first
// (UEFI 2.10, section 3.3).
const secureBoot = `v=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
bytes=$(hexdump "$v" | head -n 1)
echo "SecureBoot: $bytes"
case "$bytes" in
*"06 00 00 00 01"*) ;;
*) exit 1 ;;
esac
`

func TestBootOSRunsWithSecureBootAndWritesTheImage(t *testing.T) {
	need.File(t, "/usr/lib/shim/shimx64.efi.signed")
	need.File(t, "/usr/lib/grub/x86_64-efi-signed/grubnetx64.efi.signed")
	secure, plain := uefi("secure", lab.BootPXE), uefi("plain", lab.BootPXE)
	secure.SecureBoot = true
	origin := gitsourcetest.New(t, map[string]string{
		"profiles/lab.yaml":      "chain: shim-grub\nos: tiny\nsteps: [{name: secure boot, script: scripts/secure-boot.sh}]\n",
		"scripts/secure-boot.sh": secureBoot, "profiles/usual.yaml": "os: tiny\n",
		"os/tiny.yaml": "kind: image\nimage: " + labTiny + "\nsha256: " + tinyDigest(t) + "\n"})
	r := newTestRack(t, []lab.MachineSpec{secure, plain}, follow(origin))
	r.push(origin, map[string]string{"README.md": "The rack's profiles.\n"})
	// The profile decides before the machine has said its serial number: by its hardware address.
	csv := fmt.Sprintf("serial,profile,mac\nSN-SECURE,%s,%s\n", labProfile, r.rack.Machine("secure").Spec().NICs[0].MAC)
	_, err := r.operator().Import(r.ctx, strings.NewReader(csv), false, true)
	require.NoError(t, err)
	r.powerOn("secure", "plain") // nobody has imported the second one
	i := r.await("SN-SECURE", inventory.Finishing, inventory.Failed)
	require.Equal(t, inventory.Finishing, i.State, i.Reason)
	r.said("SN-SECURE", `^tftp /?shimx64\.efi: [1-9]`)
	r.said("SN-SECURE", `^tftp /?grubx64\.efi: [1-9]`)
	r.said("SN-SECURE", `^boots bootOS \(UEFI by shim and GRUB, `)
	r.requireOneAddress("SN-SECURE", "PXE ROM", "bootOS")
	r.said("SN-PLAIN", `^tftp /?snponly\.efi: [1-9]`)
	require.Equal(t, loda.ChainIPXE, defaultConfig().PXE.Chain)
}
