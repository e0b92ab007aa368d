#!/bin/sh
# Fails unless the machine was booted the way that WANT says: uefi or bios.
mode=bios
[ -d /sys/firmware/efi ] && mode=uefi
echo "booted by $mode, wanted $WANT"
[ "$mode" = "$WANT" ]
