package inventory

import (
	"fmt"
	"net"
	"regexp"
	"strings"
)

// Serial is a machine's serial number in canonical form: trimmed, upper case. Make one with [ParseSerial].
type Serial string

// MAC is a hardware address in canonical form: six lower-case hexadecimal bytes with colons. Make one with
// [ParseMAC].
type MAC string

// ParseSerial brings a serial number into canonical form (trimmed, upper case) and refuses what cannot identify a
// machine: the placeholders that vendors leave in SMBIOS (`To be filled by O.E.M.`), runs of one character, anything
// outside letters, digits and `-_./:+`, under 3 or over 64 characters.
func ParseSerial(s string) (Serial, error) {
	t := strings.ToUpper(strings.TrimSpace(s))
	switch {
	case t == "":
		return "", fmt.Errorf("serial number is empty")
	case placeholder(t):
		return "", fmt.Errorf("serial number %q is a placeholder that the vendor left in the firmware, not an identity; "+
			"set the real one in the firmware (for example with the vendor's FRU or SMBIOS tool)", s)
	case len(t) < 3 || len(t) > 64:
		return "", fmt.Errorf("serial number %q has %d characters, want 3 to 64", s, len(t))
	case !serialForm.MatchString(t):
		return "", fmt.Errorf("serial number %q has characters outside letters, digits and -_./:+", s)
	}
	return Serial(t), nil
}

var serialForm = regexp.MustCompile(`^[A-Z0-9][A-Z0-9\-_./:+]*$`)

// placeholders are serial numbers seen in the field on more than one machine.
var placeholders = map[string]bool{
	"TO BE FILLED BY O.E.M.": true, "TO BE FILLED BY O.E.M": true, "TO BE FILLED BY OEM": true,
	"SYSTEM SERIAL NUMBER": true, "SERIAL NUMBER": true, "CHASSIS SERIAL NUMBER": true, "BASE BOARD SERIAL NUMBER": true,
	"DEFAULT STRING": true, "NOT SPECIFIED": true, "NOT APPLICABLE": true, "NOT AVAILABLE": true, "UNSPECIFIED": true,
	"NONE": true, "N/A": true, "NULL": true, "UNKNOWN": true, "EMPTY": true, "OEM": true, "O.E.M.": true, "INVALID": true,
	"0123456789": true, "123456789": true, "1234567890": true, "12345678": true, "9876543210": true, "SERNUM": true,
	"1234567": true, "01234567": true, "012345678": true, "SYSTEM SERIAL": true, "SERIAL_NUMBER": true, "NOT SET": true,
	"NOTSET": true, "NO SERIAL": true, "DEFAULT": true, "FILLED BY OEM": true, "SERIAL": true,
	"SYS_SERIAL": true, "SSN-12345": true, "TBD": true, "..............": true,
}

func placeholder(t string) bool {
	if placeholders[t] || placeholders[strings.Join(strings.Fields(t), " ")] {
		return true
	}
	// 0000000, XXXXXXX, FFFFFFF, ....: one character repeated says nothing.
	return strings.Trim(t, t[:1]) == ""
}

// ParseMAC brings a hardware address into canonical form. It accepts the forms of [net.ParseMAC] and bare twelve
// hexadecimal digits, and refuses what cannot belong to one NIC: all zero, broadcast, multicast.
func ParseMAC(s string) (MAC, error) {
	t := strings.TrimSpace(s)
	if len(t) == 12 && !strings.ContainsAny(t, ":-.") {
		t = t[0:2] + ":" + t[2:4] + ":" + t[4:6] + ":" + t[6:8] + ":" + t[8:10] + ":" + t[10:12]
	}
	hw, err := net.ParseMAC(t)
	if err != nil || len(hw) != 6 {
		return "", fmt.Errorf("%q is not an Ethernet hardware address (want six bytes such as 52:54:00:12:34:56)", s)
	}
	return MACOf(hw)
}

// MACOf is [ParseMAC] for an address that is bytes already.
func MACOf(hw net.HardwareAddr) (MAC, error) {
	if len(hw) != 6 {
		return "", fmt.Errorf("hardware address %s has %d bytes, want 6", hw, len(hw))
	}
	if hw[0]&1 != 0 {
		return "", fmt.Errorf("hardware address %s is a multicast or broadcast address", hw)
	}
	if hw.String() == "00:00:00:00:00:00" {
		return "", fmt.Errorf("hardware address %s is all zero", hw)
	}
	return MAC(hw.String()), nil
}

// Hardware returns the six bytes of m, or nil if m was not made by [ParseMAC].
func (m MAC) Hardware() net.HardwareAddr {
	hw, err := net.ParseMAC(string(m))
	if err != nil {
		return nil
	}
	return hw
}
