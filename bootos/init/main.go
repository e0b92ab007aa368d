// Init is the first program of the bootOS. As process 1 it only looks after a second copy of itself, which is the
// agent: whatever happens to that one, memory shortage and fatal errors of the Go runtime included, is shown on the
// console and followed by a reboot, where a process 1 that dies would take the kernel with it.
package main

import (
	"os"
)

func main() {
	if os.Getpid() == 1 {
		supervise()
		return
	}
	os.Exit(work())
}
