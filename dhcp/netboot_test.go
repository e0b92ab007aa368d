package dhcp

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/stretchr/testify/require"
)

// What firmware sends; efiROM is that of OVMF, ipxeBIOS that of Debian's iPXE.
var (
	machineID = []byte{
		0, 0x4c, 0x4c, 0x45, 0x44, 0, 0x4b, 0x30, 0x10, 0x80, 0x48, 0xb4, 0xc0, 0x4f, 0x33, 0x4d, 0x32,
	}

	biosROM = []dhcpv4.Modifier{
		raw(60, []byte("PXEClient:Arch:00000:UNDI:002001")...), raw(93, 0, 0), raw(94, 1, 2, 1), raw(97, machineID...),
		dhcpv4.WithBroadcast(true),
	}
	efiROM = []dhcpv4.Modifier{
		raw(60, []byte("PXEClient:Arch:00007:UNDI:003016")...), raw(93, 0, 7), raw(94, 1, 3, 16), raw(97, machineID...),
	}
	httpROM = []dhcpv4.Modifier{
		raw(60, []byte("HTTPClient:Arch:00016:UNDI:003001")...), raw(93, 0, 16), raw(94, 1, 3, 1), raw(97, machineID...),
	}
	ipxeBIOS = []dhcpv4.Modifier{
		raw(60, []byte("PXEClient:Arch:00000:UNDI:002001")...), raw(77, []byte("iPXE")...), raw(93, 0, 0), raw(94, 1, 2, 1),
		raw(97, machineID...), raw(61, append([]byte{1}, alice...)...),
		raw(175, 0xb1, 5, 1, 0x1a, 0xf4, 0x10, 0, 0x13, 1, 1, 0xeb, 3, 1, 0x15, 1),
	}
)

func class(s string) dhcpv4.Modifier { return dhcpv4.WithOption(dhcpv4.OptClassIdentifier(s)) }

func netboots(b Booter) func(*AuthorityConfig) { return func(c *AuthorityConfig) { c.Boot = b } }

func plus(m []dhcpv4.Modifier, more ...dhcpv4.Modifier) []dhcpv4.Modifier {
	return append(append([]dhcpv4.Modifier{}, m...), more...)
}

func TestEachArchitectureIsToldItsFile(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	arch := func(codes ...byte) []dhcpv4.Modifier {
		return []dhcpv4.Modifier{raw(93, codes...), raw(60, []byte("PXEClient")...)}
	}
	for name, c := range map[string]struct {
		sent []dhcpv4.Modifier
		want string
	}{
		"BIOS":                           {biosROM, "undionly.kpxe"},
		"EFI x64 as 7":                   {efiROM, "snponly.efi"},
		"EFI x64 as 9":                   {arch(0, 9), "snponly.efi"},
		"EFI IA32":                       {arch(0, 6), "snponly-ia32.efi"},
		"EFI arm64":                      {arch(0, 11), "snponly-arm64.efi"},
		"a list: the first that we have": {arch(0, 12, 0, 7, 0, 0), "snponly.efi"},
		"UEFI HTTP x64":                  {httpROM, "http://10.7.0.1/boot/snponly.efi"},
		"UEFI HTTP arm64":                {arch(0, 19), "http://10.7.0.1/boot/snponly-arm64.efi"},
		"UEFI HTTP that says 7":          {[]dhcpv4.Modifier{class("HTTPClient:Arch:00007"), raw(93, 0, 7)}, "http://10.7.0.1/boot/snponly.efi"},
		"arch in option 60 only":         {[]dhcpv4.Modifier{class("PXEClient:Arch:00007:UNDI:003016")}, "snponly.efi"},
		"iPXE on BIOS":                   {ipxeBIOS, "http://10.7.0.1/boot.ipxe"},
		"iPXE on EFI":                    {plus(efiROM, raw(77, []byte("iPXE")...)), "http://10.7.0.1/boot.ipxe"},
	} {
		t.Run(name, func(t *testing.T) {
			b.t = t
			for _, p := range []*dhcpv4.DHCPv4{
				b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, c.sent...),
				b.take(dhcpv4.MessageTypeAck, alice, b.offer(alice), c.sent...),
			} {
				require.Equal(t, c.want, p.BootFileName)
				require.Equal(t, c.want, p.BootFileNameOption())
			}
		})
	}
}

func TestArchitectureWithoutAFileGetsAnAddressOnly(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	for _, sent := range [][]dhcpv4.Modifier{{raw(93, 0, 12)}, {raw(93)}, {raw(93, 7)}, {class("PXEClient:Arch:x")}} {
		p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, sent...)
		require.Empty(t, p.BootFileName)
		require.True(t, p.ServerIPAddr.IsUnspecified())
		require.False(t, p.Options.Has(dhcpv4.OptionClassIdentifier), "60=PXEClient without a file ends in PXE-E53")
	}
}

func TestOnlyClientsThatAskToNetbootGetBootOptions(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	for _, sent := range [][]dhcpv4.Modifier{
		nil,
		{raw(60, []byte("udhcp 1.35.0")...), raw(55, 1, 3, 66, 67, 43, 60)},
		{raw(60, []byte("d-i")...)},
		{raw(60, []byte("MSFT 5.0")...), raw(77, []byte("RRAS.Microsoft")...)},
	} {
		p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, sent...)
		for _, code := range []uint8{43, 60, 66, 67, 97, 175} {
			require.False(t, p.Options.Has(dhcpv4.GenericOptionCode(code)), "option %d", code)
		}
		require.Empty(t, p.BootFileName)
		require.Empty(t, p.ServerHostName)
		require.True(t, p.ServerIPAddr.IsUnspecified())
	}
}

func TestBootServerIsNamedInHeaderAndOptions(t *testing.T) {
	b := newBench(t, netboots(BootFiles{NextServer: ip("10.7.0.5")}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, biosROM...)
	require.Equal(t, "10.7.0.5", p.ServerIPAddr.String())
	require.Equal(t, "10.7.0.5", p.ServerHostName)
	require.Equal(t, "10.7.0.5", p.TFTPServerName())
	require.Equal(t, "10.7.0.1", p.ServerIdentifier().String())

	b = newBench(t, netboots(BootFiles{}))
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, biosROM...)
	require.Equal(t, "10.7.0.1", p.ServerIPAddr.String(), "this server, unless another is named")
}

// Without option 43, a ROM that sees 60=PXEClient asks on port 4011 and fails with PXE-E55.
func TestPXEClientIsToldToBootAtOnce(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	for _, sent := range [][]dhcpv4.Modifier{biosROM, efiROM} {
		p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, sent...)
		require.Equal(t, "PXEClient", p.ClassIdentifier())
		require.Equal(t, []byte{6, 1, 8, 255}, p.Options.Get(dhcpv4.OptionVendorSpecificInformation))
	}
}

func TestModelThatInsistsOnPort4011IsServedThere(t *testing.T) {
	b := newBench(t, netboots(booterFunc(func(context.Context, BootRequest) (*Boot, error) {
		return &Boot{File: "snponly.efi", Discover: true}, nil
	})))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, efiROM...)
	require.Equal(t, "PXEClient", p.ClassIdentifier())
	require.False(t, p.Options.Has(dhcpv4.OptionVendorSpecificInformation))

	b.port, b.direct = PXEPort, true
	p = b.answer(dhcpv4.MessageTypeAck, dhcpv4.MessageTypeRequest, alice, plus(efiROM, has(fromIP(p.YourIPAddr)))...)
	require.True(t, p.YourIPAddr.IsUnspecified())
	require.Equal(t, "snponly.efi", p.BootFileName)
	require.Equal(t, "PXEClient", p.ClassIdentifier())
	require.False(t, p.Options.Has(dhcpv4.OptionIPAddressLeaseTime))
	_, stored := b.stored(alice)
	require.False(t, stored)

	b.silence(dhcpv4.MessageTypeRequest, alice, has(ip("10.7.0.9")))
	b.silence(dhcpv4.MessageTypeDiscover, alice, efiROM...)
}

func TestHTTPClientIsAnsweredAsHTTPClient(t *testing.T) {
	b := newBench(t, netboots(BootFiles{HTTP: "http://{server}:8080/efi/"}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, httpROM...)
	require.Equal(t, "HTTPClient", p.ClassIdentifier())
	require.Equal(t, "http://10.7.0.1:8080/efi/snponly.efi", p.BootFileNameOption())
	require.False(t, p.Options.Has(dhcpv4.OptionVendorSpecificInformation))
}

func TestMachineIDIsMirroredIfItIsOne(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, biosROM...)
	require.Equal(t, machineID, p.Options.Get(dhcpv4.OptionClientMachineIdentifier))
	for _, bad := range [][]byte{{}, {0}, machineID[:16], append([]byte{1}, machineID[1:]...)} {
		p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(93, 0, 0), raw(97, bad...))
		require.False(t, p.Options.Has(dhcpv4.OptionClientMachineIdentifier))
		require.Equal(t, "undionly.kpxe", p.BootFileName, "firmware without a proper one boots all the same")
	}
}

func TestIPXEIsRecognisedByRawAndByRFC3004UserClassAndByItsOptions(t *testing.T) {
	for name, sent := range map[string]dhcpv4.Modifier{
		"raw":           raw(77, []byte("iPXE")...),
		"RFC 3004":      raw(77, []byte("\x04iPXE")...),
		"RFC 3004 list": raw(77, []byte("\x03abc\x04iPXE")...),
		"option 175":    raw(175, 0xeb, 3, 1, 0x15, 1),
		"option 175 after a script set a class of its own": func(p *dhcpv4.DHCPv4) {
			raw(77, []byte("loda")...)(p)
			raw(175, 0x13, 1, 1)(p)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, netboots(BootFiles{Script: "http://{server}:8080/s?m=1"}))
			p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, plus(biosROM, sent)...)
			require.Equal(t, "http://10.7.0.1:8080/s?m=1", p.BootFileName)
		})
	}
}

// no-pxedhcp saves the three seconds that iPXE waits for a ProxyDHCP server.
func TestIPXEIsToldNotToWaitForProxyDHCP(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, ipxeBIOS...)
	require.Equal(t, []byte{0xb0, 1, 1}, p.Options.Get(optIPXE))
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, biosROM...)
	require.False(t, p.Options.Has(optIPXE))
}

func TestIPXEOfTheROMIsReplacedByOurOwnWithAFullURL(t *testing.T) {
	b := newBench(t, netboots(BootFiles{UserClass: "loda"}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, ipxeBIOS...)
	require.Equal(t, "tftp://10.7.0.1/undionly.kpxe", p.BootFileName)
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, plus(ipxeBIOS, raw(77, []byte("loda")...))...)
	require.Equal(t, "http://10.7.0.1/boot.ipxe", p.BootFileName, "and that ends the loop")
}

func TestURLTooLongForTheHeaderIsInOption67(t *testing.T) {
	url := "http://10.7.0.1/" + strings.Repeat("x", 150)
	b := newBench(t, netboots(BootFiles{Script: url}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, ipxeBIOS...)
	require.Empty(t, p.BootFileName, "half a URL is worse than none")
	require.Equal(t, url, p.BootFileNameOption())
}

func TestBooterIsToldWhoAsks(t *testing.T) {
	var got BootRequest
	b := newBench(t, netboots(booterFunc(func(_ context.Context, r BootRequest) (*Boot, error) {
		got = r
		return nil, nil
	})))
	a := b.offer(alice, ipxeBIOS...)
	require.Equal(t, BootRequest{
		MAC: alice, UUID: "4c4c4544-004b-3010-8048-b4c04f334d32", Arch: []iana.Arch{iana.INTEL_X86PC}, PXEClient: true,
		IPXE: true, UserClass: []string{"iPXE"}, VendorClass: "PXEClient:Arch:00000:UNDI:002001", Subnet: "rack-7",
		Addr: a, Server: netip.MustParseAddr("10.7.0.1"),
	}, got)
}

func TestBooterThatFailsMeansSilence(t *testing.T) {
	b := newBench(t, netboots(booterFunc(func(context.Context, BootRequest) (*Boot, error) {
		return nil, errors.New("database is away")
	})))
	reply, _, err := b.send(dhcpv4.MessageTypeDiscover, alice, biosROM...)
	require.Nil(t, reply, "an answer without a file would send it to its disk")
	require.ErrorContains(t, err, "database is away")
	b.offer(bob) // not a netboot client
}

type booterFunc func(context.Context, BootRequest) (*Boot, error)

func (f booterFunc) Boot(ctx context.Context, r BootRequest) (*Boot, error) { return f(ctx, r) }

func TestStageIsGuessedFromOptions(t *testing.T) {
	for want, sent := range map[Stage][]dhcpv4.Modifier{
		StagePXE: efiROM, StageHTTP: httpROM, StageIPXE: ipxeBIOS, StageOS: nil,
		StageBootOS:    {raw(60, []byte("loda-bootos")...)},
		StageInstaller: {raw(60, []byte("d-i")...)},
	} {
		p, err := dhcpv4.New(sent...)
		require.NoError(t, err)
		require.Equal(t, want, stageOf(p))
	}
}

func TestControlCharactersOfClientsReachNobody(t *testing.T) {
	p, err := dhcpv4.New(raw(60, []byte("PXEClient\x1b[2J\x00\n")...), raw(77, []byte("a\x1bb\n")...))
	require.NoError(t, err)
	req, _ := ParseBootRequest(p)
	require.Equal(t, "PXEClient[2J", req.VendorClass)
	require.Equal(t, []string{"ab"}, req.UserClass)
}
