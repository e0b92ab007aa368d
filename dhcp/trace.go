package dhcp

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A Trace is an [Exchange] in figures and words, for a timeline that is stored: what was asked, what was answered and
// why, or why not. Empty fields were absent in the packets. Texts of clients are without control characters.
type Trace struct {
	Stage     Stage  `json:"stage"`
	Interface string `json:"interface"`
	// Micros is how long it took to answer, in microseconds, the time in the queue included.
	Micros int64 `json:"us"`

	Asked string `json:"asked"` // DISCOVER, REQUEST, …
	// XID is the transaction, eight hexadecimal digits: the messages of one exchange have the same.
	XID string `json:"xid"`
	// Requested is option 50, Client is ciaddr: what the client wants, and what it has.
	Requested netip.Addr `json:"requested,omitzero"`
	Client    netip.Addr `json:"client,omitzero"`
	// Named is the server that the request names, option 54.
	Named netip.Addr `json:"named_server,omitzero"`
	// ClientID is option 61 in hexadecimal digits.
	ClientID    string   `json:"client_id,omitempty"`
	Hostname    string   `json:"hostname,omitempty"`
	VendorClass string   `json:"vendor_class,omitempty"`
	UserClass   []string `json:"user_class,omitempty"`
	Arch        []string `json:"arch,omitempty"`
	UUID        string   `json:"uuid,omitempty"`
	// Wants are the options that the client asked for by number, option 55.
	Wants []int `json:"wants,omitempty"`
	// MaxSize is the largest answer that the client takes, in bytes, option 57.
	MaxSize int `json:"max_size,omitempty"`
	// Broadcast reports that the client asked for a broadcast answer.
	Broadcast bool `json:"broadcast,omitempty"`

	// Relay is giaddr; the rest is what the relay agent added in option 82: readable text, else hexadecimal digits.
	Relay          netip.Addr `json:"relay,omitzero"`
	CircuitID      string     `json:"circuit_id,omitempty"`
	RemoteID       string     `json:"remote_id,omitempty"`
	LinkSelection  netip.Addr `json:"link_selection,omitzero"`
	ServerOverride netip.Addr `json:"server_override,omitzero"`

	// Answered is empty when nothing was sent.
	Answered string `json:"answered,omitempty"`
	// Address is what was given, else what was asked about.
	Address netip.Addr `json:"address,omitzero"`
	// To is where the answer was sent, From is what we called ourselves in it.
	To   string     `json:"to,omitempty"`
	From netip.Addr `json:"from,omitzero"`
	// NextServer and BootFile are what to boot from where.
	NextServer netip.Addr `json:"next_server,omitzero"`
	BootFile   string     `json:"boot_file,omitempty"`
	// Lease is for how long the address was given, in seconds.
	Lease int64 `json:"lease_seconds,omitempty"`
	// Sent are the options of the answer by number.
	Sent []int `json:"sent,omitempty"`

	Reason string `json:"reason,omitempty"`
	Error  string `json:"error,omitempty"`
}

// Trace describes the exchange.
func (e *Exchange) Trace() Trace {
	t := Trace{
		Stage: e.Stage, Interface: e.Interface, Micros: e.Duration.Microseconds(), Asked: e.Asked.String(), UUID: e.UUID,
		Relay: e.Relay, Address: e.Addr, BootFile: printable([]byte(e.BootFile)), Reason: e.Reason,
	}
	if e.Err != nil {
		t.Error = e.Err.Error()
	}
	if e.Request != nil {
		t.request(e.Request)
	}
	if e.Reply != nil {
		t.reply(e.Reply)
		t.To = e.To.String()
	}
	return t
}

func (t *Trace) request(p *dhcpv4.DHCPv4) {
	o := p.Options
	client, _ := ParseBootRequest(p)
	t.XID = hex.EncodeToString(p.TransactionID[:])
	t.Requested, t.Client = fromIP(o.Get(dhcpv4.OptionRequestedIPAddress)), fromIP(p.ClientIPAddr)
	t.Named = fromIP(o.Get(dhcpv4.OptionServerIdentifier))
	t.ClientID = hex.EncodeToString(o.Get(dhcpv4.OptionClientIdentifier))
	t.Hostname = printable(o.Get(dhcpv4.OptionHostName))
	t.VendorClass, t.UserClass = client.VendorClass, client.UserClass
	for _, a := range client.Arch {
		t.Arch = append(t.Arch, a.String())
	}
	for _, code := range o.Get(dhcpv4.OptionParameterRequestList) {
		t.Wants = append(t.Wants, int(code))
	}
	if size := o.Get(dhcpv4.OptionMaximumDHCPMessageSize); len(size) == 2 {
		t.MaxSize = int(size[0])<<8 | int(size[1])
	}
	t.Broadcast = p.IsBroadcast()
	if info := p.RelayAgentInfo(); info != nil {
		t.CircuitID = readable(info.Get(dhcpv4.AgentCircuitIDSubOption))
		t.RemoteID = readable(info.Get(dhcpv4.AgentRemoteIDSubOption))
		t.LinkSelection = fromIP(info.Get(dhcpv4.LinkSelectionSubOption))
		t.ServerOverride = fromIP(info.Get(dhcpv4.ServerIdentifierOverrideSubOption))
	}
}

func (t *Trace) reply(p *dhcpv4.DHCPv4) {
	t.Answered = p.MessageType().String()
	t.From = fromIP(p.Options.Get(dhcpv4.OptionServerIdentifier))
	t.NextServer = fromIP(p.ServerIPAddr)
	t.Lease = int64(p.IPAddressLeaseTime(0) / time.Second)
	for code := range 256 {
		if p.Options.Has(dhcpv4.GenericOptionCode(code)) {
			t.Sent = append(t.Sent, code)
		}
	}
}

// readable is text as it is, if it is text, and hexadecimal digits otherwise: a circuit id is a port's name from one
// switch and a struct from another (RFC 3046 section 3.1).
func readable(b []byte) string {
	if text := printable(b); len(text) == len(b) {
		return text
	}
	return "0x" + hex.EncodeToString(b)
}

// Explain says in a few lines what was asked, what was answered, and why, without the time.
func (t *Trace) Explain() string {
	var b strings.Builder
	line := func(label string, facts ...string) {
		facts = slices.DeleteFunc(facts, func(fact string) bool { return fact == "" })
		if len(facts) > 0 {
			b.WriteString(label + strings.Join(facts, ", ") + "\n")
		}
	}
	b.WriteString(string(t.Stage) + " on " + t.Interface)
	if t.Relay.IsValid() {
		b.WriteString(", through relay " + t.Relay.String())
	}
	b.WriteString("\n")
	line("  relay says  ", fact("circuit ", t.CircuitID), fact("remote id ", t.RemoteID), fact("link ", address(t.LinkSelection)),
		fact("call yourself ", address(t.ServerOverride)))
	line("  asked       ", t.Asked, fact("for ", address(t.Requested)), fact("has ", address(t.Client)),
		fact("from server ", address(t.Named)), fact("xid ", t.XID))
	line("  who         ", strings.Join(t.Arch, " or "), fact("vendor class ", t.VendorClass),
		fact("user class ", strings.Join(t.UserClass, " ")), fact("host name ", t.Hostname), fact("uuid ", t.UUID),
		fact("client id ", t.ClientID))
	if t.Answered == "" {
		line("  answered    ", "nothing")
		line("  why not     ", t.why())
		return b.String()
	}
	lease := ""
	if t.Lease > 0 {
		lease = (time.Duration(t.Lease) * time.Second).String()
	}
	line("  answered    ", t.Answered+fact(" of ", address(t.Address)), fact("for ", lease), fact("as ", address(t.From)),
		fact("to ", t.To), "after "+(time.Duration(t.Micros)*time.Microsecond).String())
	boot := ""
	if t.BootFile != "" {
		boot = t.BootFile + fact(" from ", address(t.NextServer))
	}
	line("  boot file   ", boot)
	line("  why         ", t.why())
	return b.String()
}

func (t *Trace) why() string {
	if t.Reason == "" {
		return t.Error
	}
	return t.Reason
}

func address(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// fact is text with what it means before it, or nothing.
func fact(means, text string) string {
	if text == "" {
		return ""
	}
	return means + text
}
