package dhcp

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"path"
	"strings"

	"github.com/insomniacslk/dhcp/dhcpv4"
)

// A Place is what a relay says of where a client is plugged in (option 82, RFC 3046). Only relays can say it: what a
// client without one sends there is not looked at. Texts are as sent, if they are printable, else hexadecimal bytes with
// a colon between them; a relay that is told nothing says nothing.
type Place struct {
	// Relay is giaddr.
	Relay netip.Addr
	// Circuit is the port that the client is on, in the relay's words (sub-option 1).
	Circuit string
	// Remote is the relay or the line (sub-option 2).
	Remote string
}

// IsZero reports whether no relay said anything.
func (p Place) IsZero() bool { return p == Place{} }

// PlaceOf returns what the relay of a request says.
func PlaceOf(p *dhcpv4.DHCPv4) Place {
	place := Place{Relay: fromIP(p.GatewayIPAddr)}
	if !place.Relay.IsValid() {
		return Place{}
	}
	if info := p.RelayAgentInfo(); info != nil {
		place.Circuit = wording(info.Get(dhcpv4.AgentCircuitIDSubOption))
		place.Remote = wording(info.Get(dhcpv4.AgentRemoteIDSubOption))
	}
	return place
}

// wording shows bytes that may be text. Some switches end it with a NUL.
func wording(b []byte) string {
	text := strings.TrimRight(string(b), "\x00")
	if text != "" && printable([]byte(text)) == text {
		return text
	}
	pairs := make([]string, len(b))
	for i := range b {
		pairs[i] = hex.EncodeToString(b[i : i+1])
	}
	return strings.Join(pairs, ":")
}

// A RackRule says which rack a place is in. What is empty fits everything; patterns are those of a shell (`*`, `?`,
// `[a-f]`), and case does not matter.
type RackRule struct {
	// Relay is a network that giaddr must be in.
	Relay netip.Prefix
	// Circuit and Remote are patterns.
	Circuit, Remote string
	// Rack is the answer.
	Rack string
}

// Check reports a pattern that is none.
func (r RackRule) Check() error {
	for _, pattern := range []string{r.Circuit, r.Remote} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("rule for rack %q: pattern %q is malformed: %w", r.Rack, pattern, err)
		}
	}
	switch {
	case r.Rack == "":
		return errors.New("rule without a rack")
	case !r.Relay.IsValid() && r.Circuit == "" && r.Remote == "":
		return fmt.Errorf("rule for rack %q: it would put every machine there; want relay, circuit or remote", r.Rack)
	}
	return nil
}

// RackOf returns the rack of the first rule that fits a place, or nothing.
func RackOf(rules []RackRule, p Place) string {
	if p.IsZero() {
		return ""
	}
	for _, r := range rules {
		if r.Relay.IsValid() && !r.Relay.Contains(p.Relay) || r.Circuit != "" && !matches(flat(r.Circuit), flat(p.Circuit)) ||
			r.Remote != "" && !matches(flat(r.Remote), flat(p.Remote)) {
			continue
		}
		return r.Rack
	}
	return ""
}
