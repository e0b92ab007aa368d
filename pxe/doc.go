// Package pxe boots bare machines: it hands out iPXE by TFTP or UEFI HTTP boot, or shim and GRUB where Secure Boot is on,
// asks one interface what a machine shall boot, and serves the scripts, kernels and images that follow.
//
// The whole contract between "what should this machine boot" and the protocols is [Booter]. Everything else is
// furniture around it:
//
//	firmware ── TFTP ──▶ TFTPServer        undionly.kpxe, snponly.efi, ipxe.efi
//	         └─ HTTP ──▶ Handler           GET /boot/snponly.efi  (UEFI HTTP boot)
//	iPXE     ── HTTP ──▶ Handler           GET /boot/ipxe         who are you? (serial number, UUID, every MAC)
//	                                       GET /boot/script?...   Booter.Boot → iPXE script
//	                                       GET /artifacts/...     kernel, initrd, images
//
// A DHCP server (package dhcp of this module, or any other) gives plain PXE firmware the boot file undionly.kpxe
// (BIOS) or snponly.efi (UEFI) on this TFTP server, and gives iPXE the URL http://SERVER/boot/ipxe as boot file.
//
// For machines with Secure Boot it gives UEFI firmware the boot file shimx64.efi instead, and [GRUB] answers what follows.
//
// Nothing here needs more than the iPXE of Debian 12, a snapshot of January 2019: no `params`, no HTTPS.
//
// # What happens on errors
//
// Once iPXE or GRUB runs the introduction, a machine never hangs silently and never falls through to its disk because a server
// had a bad minute: a machine that waits for its installation keeps asking. If the Booter fails or is late, if it
// answers what cannot be said in iPXE, or if a kernel cannot be fetched, the machine prints that, waits (2, 4, 8, 16,
// then every 30 seconds, and up to half as much again, so that a rack does not ask in step) and asks again; after
// [Handler.MaxAttempts] it reboots, which also clears a confused NIC, and starts anew. The local disk is booted only
// when the Booter says so with [LocalDisk], or the site with [Handler.DiskAfterAttempts]. Before the introduction, it is
// the firmware that decides: if DHCP, TFTP or /boot/ipxe do not answer, it goes on in its boot order.
//
// # In a boot storm
//
// TFTP transfers, Booter calls and what waits for either are bounded; whoever finds no room is told to come again, or
// left to its own timer. A slow Booter delays the machine that it was asked about, and no file. docs/benchmarks.md has
// figures beside those of other servers.
//
// # What a machine may say
//
// Serial numbers, product names and everything else in a [Client] is text from the network. It is never copied into
// a script unescaped, and neither are messages of the Booter: see [Script] for the one exception.
package pxe
