package dhcp

import (
	"context"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"
)

func quirks(q ...Quirk) func(*AuthorityConfig) { return func(c *AuthorityConfig) { c.Quirks = q } }

func (b *bench) bootOffer(sent ...dhcpv4.Modifier) *dhcpv4.DHCPv4 {
	b.t.Helper()
	return b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, sent...)
}

var raspberry = mustMAC("dc:a6:32:01:02:03")

func TestRaspberryPiIsOfferedItsMenuThoughItSaysBIOS(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, raspberry, biosROM...)
	vendor := dhcpv4.Options{}
	require.NoError(t, vendor.FromBytes(p.Options.Get(dhcpv4.OptionVendorSpecificInformation)))
	require.Equal(t, []byte("\x00\x00\x11Raspberry Pi Boot"), vendor[9])
	require.Equal(t, []byte("\x00PXE"), vendor[10])
	require.Equal(t, "PXEClient", p.ClassIdentifier())
	require.Equal(t, "snponly-arm64.efi", p.BootFileName, "it is no BIOS")
	require.Equal(t, "undionly.kpxe", b.bootOffer(biosROM...).BootFileName)
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, raspberry, ipxeBIOS...)
	require.Equal(t, "http://10.7.0.1/boot.ipxe", p.BootFileName, "once it runs iPXE it is like all others")
}

func TestModelThatIgnoresAnOfferWithDiscoveryBypassIsSentToPort4011(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}), knows(StaticReservations{alice.String(): {Model: "ACME Server/R1 (rev. B)"}}),
		quirks(Quirk{Name: "ACME R1 wants 4011", Match: QuirkMatch{Model: "acme server/r1*", Client: QuirkPXE}, Discover: true}))
	require.False(t, b.bootOffer(efiROM...).Options.Has(dhcpv4.OptionVendorSpecificInformation))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, bob, efiROM...)
	require.Equal(t, DiscoveryBypass, p.Options.Get(dhcpv4.OptionVendorSpecificInformation), "another model")
}

func TestVLANOfThePXEROMSurvivesIntoIPXE(t *testing.T) {
	vlan := append([]byte{6, 1, 8, 116, 4, 0, 0, 0, 42}, 255) // tag 116, as Intel's ROMs and iPXE read it
	b := newBench(t, netboots(BootFiles{}), quirks(Quirk{Name: "tagged VLAN 42", Match: QuirkMatch{VendorClass: "PXEClient"},
		Options: []Option{{Code: 43, Data: vlan}}}))
	for _, sent := range [][]dhcpv4.Modifier{biosROM, ipxeBIOS} {
		require.Equal(t, vlan, b.bootOffer(sent...).Options.Get(dhcpv4.OptionVendorSpecificInformation))
	}
}

func TestFirmwareWithoutOption94IsServed(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	p := b.bootOffer(raw(60, []byte("PXEClient:Arch:00007:UNDI:003016")...), raw(93, 0, 7))
	require.Equal(t, "snponly.efi", p.BootFileName)
}

func TestMachineIDSharedByABatchIsNoKey(t *testing.T) {
	for _, id := range []string{"\x00\x03\x00\x02\x00\x04\x00\x05\x00\x00\x06\x00\x07\x00\x08\x00\x09", strings.Repeat("\x00", 17)} {
		b := newBench(t, netboots(BootFiles{}))
		a, other := b.offer(alice, plus(efiROM, raw(97, []byte(id)...))...), b.offer(bob, plus(efiROM, raw(97, []byte(id)...))...)
		require.NotEqual(t, a, other)
	}
}

func TestArchitectureOf4011ClientIsReadFromItsVendorClass(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	require.Equal(t, "snponly.efi", b.bootOffer(class("PXEClient:Arch:00009:UNDI:003016")).BootFileName)
}

func TestSiteExtendsTheTableOfQuirks(t *testing.T) {
	var told BootRequest
	files := booterFunc(func(ctx context.Context, r BootRequest) (*Boot, error) {
		told = r
		return BootFiles{}.Boot(ctx, r)
	})
	b := newBench(t, netboots(files), quirks(
		Quirk{Name: "by OUI", Match: QuirkMatch{OUI: []string{"52:54:00"}, Client: QuirkPXE}, FullURL: true},
		Quirk{Name: "by architecture", Match: QuirkMatch{Arch: []iana.Arch{iana.EFI_X86_64}},
			Drop: []uint8{66, 97}, Options: []Option{{Code: 209, Data: []byte("grub.cfg")}}},
		Quirk{Name: "by user class", Match: QuirkMatch{UserClass: "lab"}, File: "http://{server}/lab", NoServerName: true},
		Quirk{Name: "EBC is x64", Match: QuirkMatch{VendorClass: "PXEClient:Arch:00099"}, Arch: []iana.Arch{iana.EFI_X86_64}},
		Quirk{Name: "another OUI", Match: QuirkMatch{OUI: []string{"00:11"}}, File: "never"},
	))
	p := b.bootOffer(efiROM...)
	require.Equal(t, "tftp://10.7.0.1/snponly.efi", p.BootFileName)
	require.False(t, p.Options.Has(dhcpv4.OptionTFTPServerName))
	require.Equal(t, []byte("grub.cfg"), p.Options.Get(dhcpv4.GenericOptionCode(209)))
	require.Equal(t, "tftp://10.7.0.1/undionly.kpxe", b.bootOffer(biosROM...).BootFileName)
	p = b.bootOffer(plus(biosROM, raw(77, []byte("lab")...))...)
	require.Equal(t, "http://10.7.0.1/lab", p.BootFileName)
	require.Empty(t, p.ServerHostName)
	p = b.bootOffer(class("PXEClient:Arch:00099:UNDI:003016"), raw(93, 0, 99))
	require.Equal(t, "tftp://10.7.0.1/snponly.efi", p.BootFileName)
	require.Equal(t, []iana.Arch{iana.EFI_X86_64}, told.Arch)
}

func TestWhatTheBooterSaysComesAfterTheTable(t *testing.T) {
	b := newBench(t, netboots(booterFunc(func(context.Context, BootRequest) (*Boot, error) {
		return &Boot{File: "x", Options: []dhcpv4.Option{dhcpv4.OptGeneric(dhcpv4.OptionVendorSpecificInformation, []byte{9})}}, nil
	})), quirks(Quirk{Name: "q", Options: []Option{{Code: 43, Data: []byte{8}}}}))
	require.Equal(t, []byte{9}, b.bootOffer(efiROM...).Options.Get(dhcpv4.OptionVendorSpecificInformation))
}

func TestQuirksTouchNobodyWhoDoesNotNetboot(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}), quirks(Quirk{Name: "all", Options: []Option{{Code: 209, Data: []byte{1}}}, File: "f"}))
	p := b.bootOffer()
	require.False(t, p.Options.Has(dhcpv4.GenericOptionCode(209)))
	require.Empty(t, p.BootFileName)
}

func TestMistakesInQuirksAreNamed(t *testing.T) {
	for want, q := range map[string]Quirk{
		"it has no name":            {},
		`OUI "zz" is not`:           {Match: QuirkMatch{OUI: []string{"zz"}}},
		`client is "windows"`:       {Match: QuirkMatch{Client: "windows"}},
		`mode is "reserved"`:        {Match: QuirkMatch{Mode: ModeReserved}},
		`model "[" is not`:          {Match: QuirkMatch{Model: "["}},
		"option 54 belongs to the":  {Options: []Option{{Code: 54, Data: []byte{1}}}},
		"option 53 belongs to the":  {Drop: []uint8{53}},
		"file has 256 characters, ": {File: strings.Repeat("f", 256)},
	} {
		_, err := NewAuthority(AuthorityConfig{Subnets: []Subnet{rack7()}, Leases: NewMemoryLeases(), Quirks: []Quirk{q}})
		require.ErrorContains(t, err, want)
	}
	for _, q := range DefaultQuirks() {
		require.NoError(t, q.Check())
	}
}
