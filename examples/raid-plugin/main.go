// Raid-acme is a RAID driver of a third party, in a module and a process of its own. The card is made up: it has bays,
// mirrors two whole drives or stripes over some, and its maker's tool is called acmectl.
package main

import (
	"flag"
	"time"

	"github.com/project-loda/loda/raid/plugin"
)

func main() {
	tool := flag.String("tool", "acmectl", "the maker's program")
	reads := flag.Duration("reads", 30*time.Second, "how long a command that reads may take")
	writes := flag.Duration("writes", 5*time.Minute, "how long a command that writes may take")
	flag.Parse()
	plugin.Serve(&Driver{Tool: *tool, Reads: *reads, Writes: *writes})
}
