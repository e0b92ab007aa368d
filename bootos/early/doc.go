// Package early is the user space of the bootOS before and around the agent: it mounts, loads drivers for the hardware
// that is there, gets an address, sets the clock, talks to whoever stands in front of the machine, and leaves. There is
// no udev, no systemd and no second program; everything is a call.
//
// It runs as process 1 and its children in a RAM disk that package bootos built. On another machine it would do harm.
package early
