package pxe

import (
	"encoding/hex"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxNICs is how many NICs iPXE is asked for, net0 to net7.
const maxNICs = 8

const (
	maxText = 256 // bytes of one text from the firmware
	maxMACs = 32  // addresses of one machine that are looked at
)

var (
	uuidForm = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	wordForm = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,16}$`)
	// hostForm is what may stand in a URL that is written into a script: names, IPv4, [IPv6], a port.
	hostForm = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9._-]*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)
)

var errNobody = errors.New("the request names no machine: neither MAC nor UUID nor serial number")

// parseClient reads what iPXE says of itself in a query. What is malformed counts as not said. Texts come as NAME-hex,
// or as plain NAME from scripts that were written by hand.
func parseClient(q url.Values) (Client, error) {
	c := Client{
		MACs:         parseMACs(q["mac"]),
		Serial:       text(q, "serial"),
		Manufacturer: text(q, "manufacturer"),
		Product:      text(q, "product"),
		Asset:        text(q, "asset"),
		Version:      text(q, "version"),
	}
	if uuid := strings.ToLower(q.Get("uuid")); uuidForm.MatchString(uuid) {
		c.UUID = uuid
	}
	if p := q.Get("platform"); wordForm.MatchString(p) {
		c.Platform = Platform(p)
	}
	if a := q.Get("arch"); wordForm.MatchString(a) {
		c.Arch = a
	}
	if len(c.MACs) == 0 && c.UUID == "" && strings.TrimSpace(c.Serial) == "" {
		return c, errNobody
	}
	return c, nil
}

func parseMACs(list []string) []net.HardwareAddr {
	var macs []net.HardwareAddr
	for _, s := range list[:min(len(list), maxMACs)] {
		mac, err := net.ParseMAC(s)
		if err != nil || len(mac) != 6 || mac[0]&1 != 0 || mac.String() == "00:00:00:00:00:00" {
			continue
		}
		if !slices.ContainsFunc(macs, func(m net.HardwareAddr) bool { return m.String() == mac.String() }) {
			macs = append(macs, mac)
		}
	}
	return macs
}

func text(q url.Values, name string) string {
	s := q.Get(name)
	if h := q.Get(name + "-hex"); h != "" {
		b, err := hex.DecodeString(h)
		if err != nil {
			return ""
		}
		s = strings.TrimRight(string(b), "\x00")
	}
	return s[:min(len(s), maxText)]
}

// parseAttempt reads how often the machine has asked in vain.
func parseAttempt(q url.Values, maxAttempts int) int {
	n, err := strconv.Atoi(q.Get("try"))
	if err != nil {
		return 0
	}
	return min(max(n, 0), maxAttempts)
}

// addresses fills in how the request reached the server.
func (c *Client) addresses(r *http.Request, baseURL string) error {
	c.Remote = remoteAddr(r)
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
		if ap, err := netip.ParseAddrPort(local.String()); err == nil {
			c.Local = netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
		}
	}
	base, err := base(r, baseURL)
	c.BaseURL = base
	return err
}

func remoteAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// base is where the machine reaches this server. The Host header is foreign text, but only the one who sent it gets
// it back; what is not a host is refused, as it would end in a script.
func base(r *http.Request, baseURL string) (string, error) {
	if baseURL != "" {
		return strings.TrimRight(baseURL, "/"), nil
	}
	if len(r.Host) > 255 || !hostForm.MatchString(r.Host) {
		return "", errors.New("the Host header is no host name or address")
	}
	scheme := "http://"
	if r.TLS != nil {
		scheme = "https://"
	}
	return scheme + r.Host, nil
}
