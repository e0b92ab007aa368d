package pxe

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/dhcpv4/server4"
	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/scripts/need"
)

// The whole chain from power-on, with everybody on the ports that firmware insists on: a QEMU machine on a tap, in a
// network namespace of its own. DHCP is a few lines here, as package dhcp would be one floor too many.

const (
	rackServer = "10.99.0.1"
	rackClient = "10.99.0.10"
)

// inNamespace runs the test once more as a process in a fresh network namespace, and returns true in there. The
// namespace and its tap go away with the processes in it, whatever happens.
func inNamespace(t *testing.T) bool {
	t.Helper()
	need.QEMU(t)
	const flag = "LODA_PXE_TEST_IN_NAMESPACE"
	if os.Getenv(flag) == t.Name() {
		for _, cmd := range []string{
			"ip link set lo up", "ip tuntap add tap0 mode tap",
			"ip addr add " + rackServer + "/24 dev tap0", "ip link set tap0 up",
		} {
			words := strings.Fields(cmd)
			out, err := exec.Command(words[0], words[1:]...).CombinedOutput()
			require.NoError(t, err, "%s: %s", cmd, out)
		}
		return true
	}
	t.Parallel()
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), flag+"="+t.Name())
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "in the namespace:\n%s", out)
	require.Contains(t, string(out), "--- PASS: "+t.Name())
	return false
}

// A rack is the servers around one machine.
type rack struct {
	story     *story
	seen      *transfers
	chainload *Chainload // nil: the ROM's iPXE is good enough
	nbp       string     // of UEFI; empty: snponly.efi
	nbpDir    string     // where it is; empty: where Debian has such programs
	bootPort  string     // of HTTP; empty: 80

	arch atomic.Value // []byte: option 93 of who asked last
}

func startRack(t *testing.T, r *rack, artifacts *Files) {
	t.Helper()
	r.seen = &transfers{}
	dirs := []string{"/usr/lib/ipxe", "/boot", shimDir, grubDir}
	if r.nbpDir != "" {
		dirs = []string{r.nbpDir}
	}
	nbps, err := OpenNBPs(dirs...)
	require.NoError(t, err)
	t.Cleanup(func() { nbps.Close() })
	mac, err := net.ParseMAC(vmMAC)
	require.NoError(t, err)
	observe := func(x Transfer) {
		r.seen.observe(x)
		if r.chainload != nil && x.NBP() {
			r.chainload.Loaded(mac)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	booter := BooterFunc(func(ctx context.Context, c Client) (Instruction, error) {
		if r.chainload != nil {
			r.chainload.Done(c.MACs...)
		}
		return r.story.Boot(ctx, c)
	})
	port := cmp.Or(r.bootPort, "80")
	grub := &GRUB{Booter: booter, BaseURL: "http://{server}:" + port, Logger: quiet()}
	tftp := &TFTPServer{Files: nbps, GRUB: grub, Artifacts: artifacts, Observe: observe, Logger: quiet()}
	done := make(chan error, 1)
	go func() { done <- tftp.ListenAndServe(ctx) }()
	t.Cleanup(func() { cancel(); require.NoError(t, <-done) })

	web := &http.Server{Addr: rackServer + ":" + port,
		Handler: &Handler{Booter: booter, NBPs: nbps, Artifacts: artifacts, Observe: observe, Logger: quiet()}}
	served := make(chan error, 1)
	go func() { served <- web.ListenAndServe() }()
	t.Cleanup(func() { web.Close(); require.ErrorIs(t, <-served, http.ErrServerClosed) })

	dhcp, err := server4.NewServer("tap0", nil, r.answer)
	require.NoError(t, err)
	ended := make(chan error, 1)
	go func() { ended <- dhcp.Serve() }()
	t.Cleanup(func() { dhcp.Close(); require.ErrorIs(t, <-ended, net.ErrClosed) })
}

// answer is the DHCP server: plain firmware gets the NBP, iPXE gets the introduction.
func (r *rack) answer(conn net.PacketConn, _ net.Addr, m *dhcpv4.DHCPv4) {
	server := net.ParseIP(rackServer).To4()
	reply := map[dhcpv4.MessageType]dhcpv4.MessageType{
		dhcpv4.MessageTypeDiscover: dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeRequest: dhcpv4.MessageTypeAck,
	}[m.MessageType()]
	if reply == dhcpv4.MessageTypeNone {
		return
	}
	r.arch.Store(m.Options.Get(dhcpv4.OptionClientSystemArchitectureType))
	class, file := m.ClassIdentifier(), cmp.Or(r.nbp, "snponly.efi")
	options := []dhcpv4.Option{}
	ipxe := m.Options.Has(dhcpv4.GenericOptionCode(175)) && (r.chainload == nil || !r.chainload.NeedsNBP(m.ClientHWAddr))
	switch {
	case ipxe:
		file = "http://" + rackServer + "/boot/ipxe"
		options = append(options, dhcpv4.OptGeneric(dhcpv4.GenericOptionCode(175), []byte{0xb0, 1, 1}))
	case strings.HasPrefix(class, "HTTPClient"):
		file = "http://" + rackServer + "/boot/snponly.efi"
		options = append(options, dhcpv4.OptClassIdentifier("HTTPClient"))
	default:
		if slices.Equal(m.Options.Get(dhcpv4.OptionClientSystemArchitectureType), []byte{0, 0}) {
			file = "undionly.kpxe"
		}
		options = append(options, dhcpv4.OptClassIdentifier("PXEClient"),
			dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{6, 1, 8, 255}))
	}
	answer, err := dhcpv4.NewReplyFromRequest(m, dhcpv4.WithMessageType(reply), dhcpv4.WithYourIP(net.ParseIP(rackClient)),
		dhcpv4.WithServerIP(server), dhcpv4.WithNetmask(net.CIDRMask(24, 32)), dhcpv4.WithLeaseTime(3600),
		dhcpv4.WithOption(dhcpv4.OptServerIdentifier(server)), dhcpv4.WithOption(dhcpv4.OptBootFileName(file)),
		dhcpv4.WithOption(dhcpv4.OptTFTPServerName(rackServer)))
	if err != nil {
		return
	}
	answer.BootFileName = file
	for _, o := range options {
		answer.UpdateOption(o)
	}
	_, _ = conn.WriteTo(answer.ToBytes(), &net.UDPAddr{IP: net.IPv4bcast, Port: 68})
}

// loaded lists the complete transfers of files.
func (r *rack) loaded() []string {
	var list []string
	for _, x := range r.seen.list() {
		if x.Complete() && x.Path != "/boot/ipxe" && x.Path != "/boot/script" {
			list = append(list, x.Protocol+" "+x.Path)
		}
	}
	return list
}

// A tap is the machine's only NIC; nic says more about its device.
func tap(nic string) []string {
	return []string{"-netdev", "tap,id=n0,ifname=tap0,script=no,downscript=no",
		"-device", "virtio-net-pci,netdev=n0,bootindex=0,mac=" + vmMAC + nic}
}

func TestUEFIFirmwareLoadsSNPOnlyByTFTPAndThenItsKernel(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := tree(t, map[string]string{"kernel.efi": string(efiProgram(kernelRan)), "initrd": "I"})
	r := &rack{story: &story{tell: []any{Kernel{Kernel: "/artifacts/kernel.efi", Initrds: []string{"/artifacts/initrd"}}}}}
	startRack(t, r, openDir(t, dir))
	args := slices.Concat(tap(",romfile="), efi(t, "IPv6PXESupport"))
	require.EqualValues(t, kernelRan, machine(t, efiDisk(t, diskRan), args...))
	require.Equal(t, []string{"tftp snponly.efi", "http /artifacts/kernel.efi", "http /artifacts/initrd"}, r.loaded())
	requireMachine(t, r.story.asked[0], EFI, vmMAC)
	require.Equal(t, rackClient, r.story.asked[0].Remote.String())
	require.Equal(t, rackServer+":80", r.story.asked[0].Local.String())
	// OVMF asks for the size first, and aborts.
	require.True(t, slices.ContainsFunc(r.seen.list(), func(x Transfer) bool {
		return x.Protocol == "tftp" && x.Aborted && x.Bytes == 0 && x.Err == nil
	}), "%+v", r.seen.list())
}

func TestUEFIFirmwareLoadsSNPOnlyByHTTPBootAndThenItsKernel(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	dir := tree(t, map[string]string{"kernel.efi": string(efiProgram(kernelRan))})
	r := &rack{story: &story{tell: []any{Kernel{Kernel: "/artifacts/kernel.efi"}}}}
	startRack(t, r, openDir(t, dir))
	args := slices.Concat(tap(",romfile="), efi(t, "IPv4PXESupport", "IPv6PXESupport"))
	require.EqualValues(t, kernelRan, machine(t, efiDisk(t, diskRan), args...))
	require.Equal(t, []string{"http /boot/snponly.efi", "http /artifacts/kernel.efi"}, r.loaded())
	requireMachine(t, r.story.asked[0], EFI, vmMAC)
	first := r.seen.list()[0]
	require.Equal(t, "HEAD", first.Method)
}

func TestROMsIPXELoadsTheSitesIPXEFirstOnEveryPowerOn(t *testing.T) {
	if !inNamespace(t) {
		return
	}
	r := &rack{chainload: &Chainload{}, story: &story{tell: []any{
		Script("#!ipxe\nreboot\n"), errors.New("in the loaded iPXE, a retry must not load it again"), LocalDisk{},
	}}}
	startRack(t, r, nil)
	require.EqualValues(t, diskRan, machine(t, bootSector(diskRan), tap("")...))
	require.Equal(t, []string{"tftp undionly.kpxe", "tftp undionly.kpxe"}, r.loaded(), "once per power-on")
	require.Len(t, r.story.asked, 3)
}
