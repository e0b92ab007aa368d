// Init is the first program of the bootOS. As process 1 it only looks after a second copy of itself, which is the
// agent: whatever happens to that one, memory shortage and fatal errors of the Go runtime included, is shown on the
// console and followed by a reboot, where a process 1 that dies would take the kernel with it.
//
// It holds the RAID drivers too, which the agent starts as processes of their own.
package main

import (
	"os"

	"github.com/project-loda/loda/raid/drivers"
)

func main() {
	if os.Getpid() == 1 {
		supervise()
		return
	}
	if len(os.Args) > 1 && os.Args[1] == drivers.Command {
		os.Exit(drivers.Main(os.Args[2:], os.Stderr))
	}
	os.Exit(work())
}
