#!/bin/sh
# Writes into the timeline what the kernel said of the hardware and no facts document holds.
cat /proc/version
cat /proc/cmdline
cat /proc/interrupts
