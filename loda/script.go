package loda

import (
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/project-loda/loda/loda/agentapi"
	"github.com/project-loda/loda/pxe"
)

// Instruction is what the boot server answers a machine with. macs are its hardware addresses, that of the NIC that it
// boots by first.
func (d Decision) Instruction(base Base, macs []net.HardwareAddr) pxe.Instruction {
	switch {
	case d.Kernel != "":
		k := pxe.Kernel{Kernel: artifactPath(d.Kernel), Args: d.Args, Message: d.Message}
		for _, initrd := range d.Initrds {
			k.Initrds = append(k.Initrds, artifactPath(initrd))
		}
		return k
	case d.BootOS:
		// The kernel is quiet: its messages take seconds on a serial line, and hide what the agent says to people.
		args := []string{"console=tty0", "console=ttyS0,115200n8", "quiet", agentapi.ArgServer + "=" + base.API,
			agentapi.ArgToken + "=" + d.Token}
		if len(macs) > 0 {
			// So that a machine with several NICs keeps its address.
			args = append(args, "BOOTIF=01-"+strings.ReplaceAll(macs[0].String(), ":", "-"))
		}
		return pxe.Kernel{Kernel: "/artifacts/bootos/vmlinuz", Initrds: []string{"/artifacts/bootos/initramfs"},
			Args: strings.Join(append(args, d.KernelArgs...), " "), Message: d.Message}
	}
	return pxe.LocalDisk{Message: d.Message, Pause: localPause}
}

// localPause lets a person in front of the machine read why it boots its disk.
const localPause = 2 * time.Second

func artifactPath(name string) string { return "/artifacts/" + (&url.URL{Path: name}).EscapedPath() }
