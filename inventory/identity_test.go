package inventory_test

import (
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/project-loda/loda/inventory"
)

func TestSerialNumbersAreBroughtIntoOneForm(t *testing.T) {
	for given, want := range map[string]inventory.Serial{
		"ABC123":                  "ABC123",
		"  abc123\n":              "ABC123",
		"cz3-4567_x.y/z:1+2":      "CZ3-4567_X.Y/Z:1+2",
		"7c1":                     "7C1",
		"VMware-56-4D-0A":         "VMWARE-56-4D-0A",
		"12345679":                "12345679",
		strings.Repeat("a1", 32):  inventory.Serial(strings.Repeat("A1", 32)),
		"\tJ1234567\r":            "J1234567",
		"0123456789A":             "0123456789A",
		"NONE-0001":               "NONE-0001",
		"8CG-9123.456/QTFCOU+001": "8CG-9123.456/QTFCOU+001",
	} {
		got, err := inventory.ParseSerial(given)
		require.NoError(t, err, "%q", given)
		require.Equal(t, want, got)
	}
}

func TestSerialNumbersThatIdentifyNothingAreRefused(t *testing.T) {
	for _, given := range []string{
		"", " ", "\x00", "To be filled by O.E.M.", "to be filled by o.e.m", "TO BE FILLED BY OEM", "System Serial Number",
		"system  serial   number", "Default string", "Not Specified", "Not Applicable", "N/A", "None", "none ",
		"null", "Unknown",
		"0123456789", "123456789", "1234567890", "0000000", "00000000000000000000", "XXXXXXXX", "xxxxxxxx", "FFFFFFFF",
		"........", "-------", "A", "AB", "11", "-ABC123", ".ABC", "/etc", "AB C123", "AB\x00C123",
		"ABC;rm", "ABC\"1", "ABC'1",
		"ABC%41", "ÄBC123", "ＡＢＣ１２３", "ABC\u200b123", "ABC123\u00a0\u00a0X", strings.Repeat("a1", 33),
		"\xff\xfe\xfd",
	} {
		got, err := inventory.ParseSerial(given)
		require.Error(t, err, "%q", given)
		require.Empty(t, got)
	}
}

func TestAPlaceholderIsToldApartFromATypo(t *testing.T) {
	_, err := inventory.ParseSerial("To Be Filled By O.E.M.")
	require.ErrorContains(t, err, "To Be Filled By O.E.M.")
	require.ErrorContains(t, err, "placeholder")
	_, err = inventory.ParseSerial("AB C123")
	require.NotContains(t, err.Error(), "placeholder")
}

func TestHardwareAddressesAreBroughtIntoOneForm(t *testing.T) {
	for _, given := range []string{"52:54:00:ab:cd:ef", "52:54:00:AB:CD:EF", "52-54-00-AB-CD-EF", "5254.00ab.cdef",
		"525400abcdef",
		"525400ABCDEF", " 52:54:00:ab:cd:ef\n"} {
		got, err := inventory.ParseMAC(given)
		require.NoError(t, err, "%q", given)
		require.Equal(t, inventory.MAC("52:54:00:ab:cd:ef"), got)
		require.Equal(t, net.HardwareAddr{0x52, 0x54, 0, 0xab, 0xcd, 0xef}, got.Hardware())
	}
}

func TestHardwareAddressesThatBelongToNoCardAreRefused(t *testing.T) {
	for _, given := range []string{"", "52:54:00:ab:cd", "52:54:00:ab:cd:ef:01:02", "52:54:00:ab:cd:eg",
		"00:00:00:00:00:00",
		"ff:ff:ff:ff:ff:ff", "01:00:5e:00:00:01", "33:33:00:00:00:01", "000000000000", "52 54 00 ab cd ef", "525400abcde",
		"02:00:5e:10:00:00:00:01", "192.168.0.1", "52:54:00-ab:cd:ef", "525400abcdé",
		"00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01"} {
		got, err := inventory.ParseMAC(given)
		require.Error(t, err, "%q", given)
		require.Empty(t, got)
	}
	_, err := inventory.MACOf(nil)
	require.Error(t, err)
	_, err = inventory.MACOf(net.HardwareAddr{2, 0, 0, 0, 0, 0, 0, 1})
	require.Error(t, err)
	require.Nil(t, inventory.MAC("not parsed").Hardware())
}

func FuzzParseSerial(f *testing.F) {
	for _, s := range []string{"ABC123", " abc123 ", "To be filled by O.E.M.", "0000000", "ÄBC", "\xff\xff", "ſſſ",
		"a/b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := inventory.ParseSerial(s)
		if err != nil {
			if got != "" {
				t.Fatalf("%q: both %q and %v", s, got, err)
			}
			return
		}
		if len(got) < 3 || len(got) > 64 {
			t.Fatalf("%q: length %d", s, len(got))
		}
		for _, c := range []byte(got) {
			if (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("-_./:+", rune(c)) {
				t.Fatalf("%q: %q has the byte %q", s, got, c)
			}
		}
		if again, err := inventory.ParseSerial(string(got)); err != nil || again != got {
			t.Fatalf("%q: the canonical form %q parses to %q, %v", s, got, again, err)
		}
		if low, err := inventory.ParseSerial(strings.ToLower(string(got))); err != nil || low != got {
			t.Fatalf("%q: lower case parses to %q, %v", s, low, err)
		}
	})
}

func FuzzParseMAC(f *testing.F) {
	for _, s := range []string{"52:54:00:ab:cd:ef", "525400ABCDEF", "5254.00ab.cdef", "ff:ff:ff:ff:ff:ff", "", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := inventory.ParseMAC(s)
		if err != nil {
			if got != "" {
				t.Fatalf("%q: both %q and %v", s, got, err)
			}
			return
		}
		hw := got.Hardware()
		if len(hw) != 6 || hw[0]&1 != 0 || hw.String() != string(got) {
			t.Fatalf("%q: %q is %v", s, got, hw)
		}
		if again, err := inventory.ParseMAC(string(got)); err != nil || again != got {
			t.Fatalf("%q: the canonical form %q parses to %q, %v", s, got, again, err)
		}
	})
}
