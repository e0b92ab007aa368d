package dhcp

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/stretchr/testify/require"
)

func set(s Settings) func(*AuthorityConfig) {
	return subnet(func(n *Subnet) { n.Settings = s.Over(n.Settings) })
}

func route(t *testing.T, s string) Route {
	t.Helper()
	r, err := ParseRoute(s)
	require.NoError(t, err)
	return r
}

// RFC 3442's own examples, in its order.
func TestClasslessRoutesAreEncodedAsInRFC3442(t *testing.T) {
	for s, want := range map[string][]byte{
		"0.0.0.0/0 via 10.7.0.9":           {0, 10, 7, 0, 9},
		"10.0.0.0/8 via 10.7.0.9":          {8, 10, 10, 7, 0, 9},
		"10.0.0.0/24 via 10.7.0.9":         {24, 10, 0, 0, 10, 7, 0, 9},
		"10.17.0.0/16 via 10.7.0.9":        {16, 10, 17, 10, 7, 0, 9},
		"10.27.129.0/24 via 10.7.0.9":      {24, 10, 27, 129, 10, 7, 0, 9},
		"10.229.0.128/25 via 10.7.0.9":     {25, 10, 229, 0, 128, 10, 7, 0, 9},
		"10.198.122.47/32 via 10.7.0.9":    {32, 10, 198, 122, 47, 10, 7, 0, 9},
		"169.254.0.0/16":                   {16, 169, 254, 0, 0, 0, 0},
		"  10.17.5.5/16   via   10.7.0.9 ": {16, 10, 17, 10, 7, 0, 9},
	} {
		require.Equal(t, want, classless([]Route{route(t, s)}, netip.Addr{}), s)
	}
	for _, bad := range []string{"", "10.0.0.0", "::/0 via 10.7.0.9", "10.0.0.0/8 via", "10.0.0.0/8 via fe80::1", "10.0.0.0/33"} {
		_, err := ParseRoute(bad)
		require.ErrorContains(t, err, bad)
	}
}

func TestRoutesGoToThoseWhoAskAndIncludeTheDefaultRoute(t *testing.T) {
	b := newBench(t, set(Settings{Routes: []Route{route(t, "10.0.0.0/8 via 10.7.0.9")}}))
	want := []byte{8, 10, 10, 7, 0, 9, 0, 10, 7, 0, 1} // who gets these must ignore option 3
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(55, 121, 3))
	require.Equal(t, want, p.Options.Get(dhcpv4.OptionClasslessStaticRoute))
	require.False(t, p.Options.Has(optMSRoutes))
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(55, 249, 3))
	require.Equal(t, want, p.Options.Get(optMSRoutes))
	require.False(t, p.Options.Has(dhcpv4.OptionClasslessStaticRoute))
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(55, 3))
	require.False(t, p.Options.Has(dhcpv4.OptionClasslessStaticRoute))
	require.Equal(t, "10.7.0.1", p.Router()[0].String())
}

func TestSearchListIsReadByOthers(t *testing.T) {
	b := newBench(t, set(Settings{Search: []string{"rack7.example", "example."}}))
	p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(55, 119))
	require.Equal(t, []string{"rack7.example", "example"}, p.DomainSearch().Labels)

	many := Settings{}
	for i := range 20 {
		many.Search = append(many.Search, strings.Repeat("abcdefghij", 2)+string(rune('a'+i))+".example")
	}
	b = newBench(t, set(many))
	p = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, raw(55, 119), raw(57, 5, 220))
	require.Equal(t, many.Search, p.DomainSearch().Labels, "longer than 255 bytes: in several parts (RFC 3396)")
}

func TestMachineIsToldWhatItsReservationSaysInPlaceOfItsSubnet(t *testing.T) {
	b := newBench(t, set(Settings{MTU: 1400, Search: []string{"example"}, Other: []Option{{Code: 150, Data: []byte{1, 1, 1, 1}}}}),
		knows(StaticReservations{alice.String(): {Settings: Settings{
			DNS: []netip.Addr{ip("10.9.9.9")}, NTP: []netip.Addr{ip("10.9.9.8")}, Domain: "alice.example", MTU: 1280,
			Other: []Option{{Code: 150, Data: []byte{2, 2, 2, 2}}, {Code: 224, Data: []byte("site"), Always: true}},
		}}}))
	all := raw(55, 6, 15, 26, 42, 119, 150)
	a := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, all)
	require.Equal(t, "10.9.9.9", a.DNS()[0].String())
	require.Equal(t, "10.9.9.8", a.NTPServers()[0].String())
	require.Equal(t, "alice.example", a.DomainName())
	require.Equal(t, []byte{5, 0}, a.Options.Get(dhcpv4.OptionInterfaceMTU))
	require.Equal(t, []string{"example"}, a.DomainSearch().Labels, "the subnet's, as it has none of its own")
	require.Equal(t, []byte{2, 2, 2, 2}, a.Options.Get(dhcpv4.GenericOptionCode(150)))
	require.Equal(t, []byte("site"), a.Options.Get(dhcpv4.GenericOptionCode(224)))
	o := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, bob, all)
	require.Equal(t, "10.7.0.253", o.DNS()[0].String())
	require.Equal(t, []byte{5, 120}, o.Options.Get(dhcpv4.OptionInterfaceMTU))
	require.Equal(t, []byte{1, 1, 1, 1}, o.Options.Get(dhcpv4.GenericOptionCode(150)))
	require.False(t, o.Options.Has(dhcpv4.GenericOptionCode(224)))
	o = b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, bob, raw(55, 1))
	require.False(t, o.Options.Has(dhcpv4.GenericOptionCode(150)), "it did not ask for it")
}

func TestVendorOptionsGoByVendorClass(t *testing.T) {
	b := newBench(t, netboots(BootFiles{}), set(Settings{Vendor: []VendorOption{
		{"", []byte{1}}, {"acme", []byte{2}}, {"acme-switch", []byte{3}}, {"PXEClient:Arch:00007", []byte{4}},
	}}))
	vendor := func(sent ...dhcpv4.Modifier) []byte {
		return b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, sent...).
			Options.Get(dhcpv4.OptionVendorSpecificInformation)
	}
	require.Equal(t, []byte{1}, vendor(raw(55, 43)))
	require.Nil(t, vendor(raw(55, 1)))
	require.Equal(t, []byte{2}, vendor(class("acme-phone"), raw(55, 1)), "who says a class that is named here wants it")
	require.Equal(t, []byte{3}, vendor(class("acme-switch-9")))
	require.Equal(t, []byte{4}, vendor(efiROM...))
	require.Equal(t, DiscoveryBypass, vendor(biosROM...), "what is for everybody does not keep a ROM from booting")
}

func TestOptionsAreReadByType(t *testing.T) {
	for _, c := range []struct {
		kind, value string
		want        []byte
	}{
		{"hex", "0a:01 02", []byte{10, 1, 2}}, {"text", "tftp", []byte("tftp")}, {"ip", "10.7.0.1, 10.7.0.2", []byte{10, 7, 0, 1, 10, 7, 0, 2}},
		{"u8", "255", []byte{255}}, {"u16", "0x0102", []byte{1, 2}}, {"u32", "16909060", []byte{1, 2, 3, 4}}, {"bool", "true", []byte{1}},
	} {
		o, err := ParseOption(150, c.kind, c.value)
		require.NoError(t, err)
		require.Equal(t, Option{Code: 150, Data: c.want}, o)
	}
	for _, c := range []struct {
		code              uint8
		kind, value, want string
	}{
		{150, "hex", "xy", "not hexadecimal"}, {150, "text", "", "is empty"}, {150, "ip", "::1", "not IPv4"}, {150, "u8", "256", "8 bits"},
		{150, "bool", "maybe", "true or false"}, {150, "float", "1", "want hex, text"}, {53, "u8", "1", "belongs to the protocol"},
		{82, "hex", "00", "belongs to the protocol"}, {150, "text", strings.Repeat("x", 1025), "at most 1024"},
	} {
		_, err := ParseOption(c.code, c.kind, c.value)
		require.ErrorContains(t, err, c.want)
	}
}

func TestSettingsLayerUponEachOther(t *testing.T) {
	profile := Settings{MTU: 9000, Domain: "compute.example", Other: []Option{{Code: 150, Data: []byte{1}}, {Code: 151, Data: []byte{1}}}}
	machine := Settings{MTU: 1400, Other: []Option{{Code: 150, Data: []byte{2}}}}
	got := machine.Over(profile)
	require.Equal(t, Settings{MTU: 1400, Domain: "compute.example", Other: []Option{{Code: 150, Data: []byte{2}}, {Code: 151, Data: []byte{1}}}}, got)
	require.Equal(t, []Option{{Code: 150, Data: []byte{2}}}, machine.Other, "neither is changed")
}

func TestReplyWithManySettingsFitsWhatTheClientCanTake(t *testing.T) {
	s := Settings{Search: []string{strings.Repeat("a", 60) + ".example", strings.Repeat("b", 60) + ".example"}}
	for i := range 20 {
		s.Other = append(s.Other, Option{Code: uint8(200 + i), Data: []byte(strings.Repeat("x", 40)), Always: true})
	}
	s.Routes = []Route{route(t, "10.0.0.0/8 via 10.7.0.9")}
	b := newBench(t, set(s), netboots(BootFiles{}))
	for want, size := range map[int][]byte{576: nil, 577: {2, 65}, 1500: {255, 255}} {
		sent := plus(efiROM, raw(55, 1, 3, 6, 119, 121))
		if size != nil {
			sent = plus(sent, raw(57, size...))
		}
		p := b.answer(dhcpv4.MessageTypeOffer, dhcpv4.MessageTypeDiscover, alice, sent...)
		require.LessOrEqual(t, len(p.ToBytes())+28, want)
		require.Equal(t, "snponly.efi", p.BootFileName)
		require.True(t, p.Options.Has(dhcpv4.OptionClasslessStaticRoute), "the routes are the last to go")
		require.Equal(t, DiscoveryBypass, p.Options.Get(dhcpv4.OptionVendorSpecificInformation))
		require.Equal(t, want == 1500, p.Options.Has(dhcpv4.GenericOptionCode(219)))
	}
}

func FuzzParseOption(f *testing.F) {
	f.Add(uint8(121), "hex", "00:0a")
	f.Add(uint8(6), "ip", "10.0.0.1,10.0.0.2")
	f.Add(uint8(26), "u16", "1500")
	f.Fuzz(func(t *testing.T, code uint8, kind, value string) {
		o, err := ParseOption(code, kind, value)
		if err == nil {
			require.NotEmpty(t, o.Data)
			require.Equal(t, code, o.Code)
		}
		if r, err := ParseRoute(value); err == nil {
			require.NotEmpty(t, classless([]Route{r}, netip.Addr{}))
		}
	})
}
