#!/bin/sh
# Looks for members of arrays that were there before, on DISKS. The installer wipes them; this is for the record.
found=3
for disk in $DISKS; do
	device=$(readlink -f "$disk")
	for slave in /sys/block/md*/slaves/"${device##*/}"*; do
		[ -e "$slave" ] || continue
		echo "$disk is a member of $slave"
		found=0
	done
done
exit $found
