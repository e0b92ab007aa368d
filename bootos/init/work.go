package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/project-loda/loda/bootos/agent"
	"github.com/project-loda/loda/bootos/early"
	"github.com/project-loda/loda/bootos/modules"
	"github.com/project-loda/loda/dhcp"
	"github.com/project-loda/loda/hw"
	"github.com/project-loda/loda/loda/agentapi"
)

// work brings the machine up, runs the agent, and returns the exit status.
func work() int {
	o := readOptions()
	console := early.OpenConsoles(o.Console...)
	defer console.Flush(2 * time.Second)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if err := run(ctx, o, console); err != nil {
		console.Say("agent", err.Error())
		return 1
	}
	return 0
}

func run(ctx context.Context, o options, console *early.Console) error {
	console.Print("\r\n")
	console.Say("loda", fmt.Sprintf("bootOS %s, Linux %s", o.Version, early.Release()))
	cmdline, err := early.ReadCmdline()
	if err != nil {
		return err
	}
	// The network starts at once, and takes the first interface whose driver is there.
	loader, err := early.NewLoader(cmdline)
	if _, ok := errors.AsType[*early.MismatchError](err); ok {
		return err // without drivers it could wait for a network for ever
	}
	if err != nil {
		console.Say("drivers", fmt.Sprintf("none can be loaded: %v", err))
	}
	hardware := loadDrivers(ctx, loader, console)
	network := &early.Network{VendorClass: dhcp.VendorClassBootOS, Say: func(text string) { console.Say("network", text) }}
	if s, ok := cmdline.Get("BOOTIF"); ok {
		if network.BootMAC, err = early.ParseBootIF(s); err != nil {
			console.Say("network", err.Error())
		}
	}
	up := make(chan struct{}, 1)
	network.Up = func(a early.Address) {
		console.Say("network", a.String())
		select {
		case up <- struct{}{}:
		default:
		}
	}
	netCtx, stopNetwork := context.WithCancel(ctx)
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = network.Run(netCtx) // it ends with its context, and says everything else itself
	}()
	defer func() {
		stopNetwork()
		<-stopped
	}()

	client, token, err := newClient(cmdline)
	if err != nil {
		hardware.wait(ctx, hardware.drivers, driversFirst) // for whoever gets the emergency shell
		return err
	}
	select {
	case <-up:
	case <-ctx.Done():
		return ctx.Err()
	}
	// So that all MAC addresses are known. A RAID controller that takes a minute is only waited for when its disks are
	// wanted.
	hardware.wait(ctx, hardware.drivers, driversFirst)
	identity := readIdentity(ctx, console)
	m := &machine{console: console, hardware: hardware, network: network, client: client}
	err = agent.New(agent.Config{Client: client, Token: token, Identity: identity, Machine: m, Console: console,
		Version: o.Version, Uptime: early.Uptime, Earlier: console.History}).Run(ctx)
	switch {
	case errors.Is(err, agentapi.ErrTokenRefused):
		return fmt.Errorf("%w; every boot gets a new token, so the machine has to netboot again", err)
	case errors.Is(err, agentapi.ErrSessionLost):
		return fmt.Errorf("%w; the machine has to netboot again", err)
	}
	return err
}

// hardware is the search for drivers. Its channels are closed when a part of it is done.
type hardware struct{ drivers, all chan struct{} }

const (
	// driversFirst is how long the session waits for drivers.
	driversFirst = 10 * time.Second
	// driversMost is how long a look at the hardware waits for them.
	driversMost = 2 * time.Minute
)

func (h *hardware) wait(ctx context.Context, part chan struct{}, most time.Duration) {
	select {
	case <-part:
	case <-ctx.Done():
	case <-time.After(most):
	}
}

// loadDrivers starts to load what the devices want, and goes on in the background.
func loadDrivers(ctx context.Context, loader *modules.Loader, console *early.Console) *hardware {
	h := &hardware{drivers: make(chan struct{}), all: make(chan struct{})}
	go func() {
		defer close(h.all)
		if loader != nil {
			loadWanted(ctx, loader, console)
			loadSoftwareRAID(loader, console)
		}
		if err := early.MountEFIVars(); err != nil {
			console.Say("efi", err.Error())
		}
		close(h.drivers)
		if loader == nil {
			return
		}
		// A management controller has nothing that would ask for its driver, and may take seconds to answer.
		for _, name := range []string{"ipmi_si", "ipmi_devintf"} {
			_ = loader.Load(name) // no controller, or a kernel for virtual machines
		}
	}()
	return h
}

func loadWanted(ctx context.Context, loader *modules.Loader, console *early.Console) {
	hotplug, err := early.ListenHotplug()
	if err != nil {
		console.Say("drivers", err.Error())
	} else {
		go hotplug.Run(ctx, loader)
	}
	loaded, devices, err := early.Drivers(ctx, loader)
	console.Say("drivers", fmt.Sprintf("%d drivers for %d kinds of devices", loaded, devices))
	if err != nil {
		console.Say("drivers", err.Error())
	}
}

// loadSoftwareRAID brings /proc/mdstat, without which mdadm does nothing. No device asks for it, and the kernel asks
// for RAID levels only. Nothing is assembled by that. An image without mdadm has no use for it.
func loadSoftwareRAID(loader *modules.Loader, console *early.Console) {
	if _, err := exec.LookPath("mdadm"); err != nil {
		return
	}
	if err := loader.Load("md_mod"); err != nil && !errors.Is(err, modules.ErrNoModule) { // it may be in the kernel
		console.Say("drivers", fmt.Sprintf("software RAID: %v", err))
	}
}

func readIdentity(ctx context.Context, console *early.Console) agent.Identity {
	facts, err := hw.Detect(ctx)
	if err != nil {
		console.Say("hardware", err.Error())
		return agent.Identity{}
	}
	id := agent.Identity{Serial: facts.System.Serial, UUID: facts.System.UUID}
	for _, n := range facts.NICs {
		if n.MAC != "" {
			id.MACs = append(id.MACs, n.MAC)
		}
	}
	if len(id.MACs) == 0 {
		id.MACs = macs()
	}
	console.Say("machine", fmt.Sprintf("%s %s, serial number %q, UUID %s", facts.System.Vendor, facts.System.Product,
		id.Serial, id.UUID))
	return id
}

func macs() []string {
	all, err := net.Interfaces()
	if err != nil {
		return nil
	}
	var macs []string
	for _, i := range all {
		if len(i.HardwareAddr) == 6 && i.Flags&net.FlagLoopback == 0 {
			macs = append(macs, i.HardwareAddr.String())
		}
	}
	return macs
}

// newClient reads whom to talk to from the command line, and whom to trust from the image.
func newClient(cmdline early.Cmdline) (*agentapi.Client, string, error) {
	servers, ok := cmdline.Get(agentapi.ArgServer)
	if !ok {
		return nil, "", fmt.Errorf("the kernel command line names no server (%s=https://...): was this bootOS started by "+
			"Loda's boot script?", agentapi.ArgServer)
	}
	token, ok := cmdline.Get(agentapi.ArgToken)
	if !ok {
		return nil, "", fmt.Errorf("the kernel command line has no boot token (%s=...)", agentapi.ArgToken)
	}
	pem, err := os.ReadFile("/etc/loda/ca.pem")
	if err != nil {
		return nil, "", fmt.Errorf("this bootOS was built without a certificate authority: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, "", errors.New("/etc/loda/ca.pem holds no certificate")
	}
	client, err := agentapi.NewClient(agentapi.ClientConfig{Servers: strings.Split(servers, ","), Roots: roots})
	return client, token, err
}
