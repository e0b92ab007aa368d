package dhcp

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// DefaultWatchPause is how often the same responder is reported at most.
const DefaultWatchPause = 10 * time.Minute

// A Watch looks for DHCP and ProxyDHCP servers that nobody wants: it reads what others answer on the links that it
// watches. It hears what is broadcast, and what is sent to this host; what a switch delivers to one machine alone it does
// not hear. That is why it can also ask (see Every), to which every server that gives addresses or boot files to
// strangers answers.
//
// Set the fields, then call Run. It needs CAP_NET_RAW, and Linux.
type Watch struct {
	// Interfaces are the links to watch.
	Interfaces []string
	// Servers are the addresses of servers that may answer there: their server identifier (option 54), or the address that
	// a relay answers from. Those of the interfaces are ours.
	Servers []netip.Addr
	// BootOnly reports only who says what to boot. For links where others give the addresses.
	BootOnly bool
	// Every is how often a DHCPDISCOVER is sent as a stranger that wants to netboot; 0 sends none.
	Every time.Duration
	// Pause is how often the same responder is reported at most; 0 means [DefaultWatchPause].
	Pause time.Duration
	// Report is told, from goroutines of Run. It must be safe for concurrent use.
	Report func(Rogue)
	// Log is where failures go; nil means slog.Default().
	Log *slog.Logger

	mu   sync.Mutex
	told map[rogueKey]time.Time
}

// A Rogue is a responder that is not one of ours, and one answer of it.
type Rogue struct {
	Time      time.Time
	Interface string
	// MAC and Addr are where the answer came from: the responder, or its relay.
	MAC  net.HardwareAddr
	Addr netip.Addr
	// Server is what it calls itself (option 54); the zero Addr if nothing.
	Server netip.Addr
	// Answer is the type of its message; dhcpv4.MessageTypeNone if it speaks BOOTP.
	Answer dhcpv4.MessageType
	// Client is whom it answered.
	Client net.HardwareAddr
	// Offered is the address that it gives; the zero Addr if it only says what to boot (ProxyDHCP).
	Offered netip.Addr
	// BootFile is what it says to boot.
	BootFile string
}

// String is one English sentence.
func (r Rogue) String() string {
	what := "a DHCP server"
	if !r.Offered.IsValid() && r.Answer != dhcpv4.MessageTypeNak {
		what = "a ProxyDHCP server"
	}
	s := fmt.Sprintf("%s that is not ours answers on %s: %s (%s", what, r.Interface, r.MAC, r.Addr)
	if r.Server.IsValid() && r.Server != r.Addr {
		s += ", calls itself " + r.Server.String()
	}
	s += ") sent " + r.Answer.String()
	if r.Offered.IsValid() {
		s += " of " + r.Offered.String()
	}
	if r.BootFile != "" {
		s += ", boot file " + r.BootFile
	}
	return s + " to " + r.Client.String()
}

type rogueKey struct {
	ifname string
	mac    hwaddr
	server netip.Addr
	proxy  bool
}

// maxRogues bounds how many responders are remembered: anybody can invent some.
const maxRogues = 1024

// first reports whether r was not reported within the pause.
func (w *Watch) first(r Rogue) bool {
	mac, _ := ethernet(r.MAC)
	key := rogueKey{r.Interface, mac, r.Server, !r.Offered.IsValid()}
	pause := w.Pause
	if pause <= 0 {
		pause = DefaultWatchPause
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if at, ok := w.told[key]; ok && r.Time.Sub(at) < pause {
		return false
	}
	if len(w.told) >= maxRogues {
		for k, at := range w.told {
			if r.Time.Sub(at) >= pause {
				delete(w.told, k)
			}
		}
		if len(w.told) >= maxRogues {
			return false // somebody floods us with names; enough of them were told
		}
	}
	if w.told == nil {
		w.told = make(map[rogueKey]time.Time)
	}
	w.told[key] = r.Time
	return true
}

// heard judges an IP packet to port 68 that came from another host. own are our addresses on the interface.
func (w *Watch) heard(from net.HardwareAddr, own []netip.Addr, b []byte) (r Rogue, rogue bool) {
	payload, sender, to, err := parseDatagram(b)
	if err != nil || to.Port() != ClientPort {
		return r, false
	}
	addr := sender.Addr()
	p, err := dhcpv4.FromBytes(payload)
	if err != nil || p.OpCode != dhcpv4.OpcodeBootReply {
		return r, false
	}
	switch p.MessageType() {
	case dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeAck, dhcpv4.MessageTypeNak, dhcpv4.MessageTypeNone:
	default:
		return r, false
	}
	r = Rogue{
		MAC: slices.Clone(from), Addr: addr, Server: fromIP(p.Options.Get(dhcpv4.OptionServerIdentifier)),
		Answer: p.MessageType(), Client: slices.Clone(p.ClientHWAddr), Offered: fromIP(p.YourIPAddr),
		BootFile: printable([]byte(p.BootFileNameOption())),
	}
	if r.BootFile == "" {
		r.BootFile = printable([]byte(p.BootFileName))
	}
	switch {
	case slices.Contains(own, addr):
		// Somebody else sends from our address. If it moved there (failover), it is no longer one of own.
	case slices.Contains(own, r.Server), slices.Contains(w.Servers, r.Server), slices.Contains(w.Servers, addr):
		return r, false
	}
	// A ProxyDHCP offer may leave the file for port 4011.
	proxy := r.Answer == dhcpv4.MessageTypeOffer && !r.Offered.IsValid()
	return r, !w.BootOnly || r.BootFile != "" || proxy
}

// strangersDiscover is what a machine sends that nobody knows and that wants to netboot, answers please by broadcast.
func strangersDiscover(self net.HardwareAddr) (*dhcpv4.DHCPv4, error) {
	return dhcpv4.NewDiscovery(self, dhcpv4.WithBroadcast(true),
		dhcpv4.WithOption(dhcpv4.OptClassIdentifier("PXEClient:Arch:00007:UNDI:003016")),
		dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionClientSystemArchitectureType, []byte{0, 7})),
		dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionClientNetworkInterfaceIdentifier, []byte{1, 3, 16})),
		dhcpv4.WithOption(dhcpv4.OptGeneric(dhcpv4.OptionClientMachineIdentifier, append(make([]byte, 11), self...))),
	)
}
