package conf

import (
	"net/netip"
	"strings"
	"testing"
)

// Source: FF-6
func TestTranslationFaults(t *testing.T) {
	const dnat, snat = "[[rules]]\naction = \"dnat\"\n", "[[rules]]\nhook = \"out\"\naction = \"snat\"\n"
	for name, c := range map[string]struct{ doc, want string }{
		"dnat":             {dnat + "to = \"10.0.0.1\"\n", ""},
		"dnat to ports":    {dnat + "protocol = \"tcp\"\nto = \"10.0.0.1-10.0.0.9\"\nto_ports = 80\n", ""},
		"redirect":         {"[[rules]]\naction = \"redirect\"\nprotocol = \"udp\"\nto_ports = 53\n", ""},
		"snat to a prefix": {snat + "to = \"2001:db8::/64\"\n", ""},
		"masquerade":       {"[[rules]]\nhook = \"out\"\naction = \"masquerade\"\nprotocol = \"udp\"\nto_ports = \"1024-65535\"\n", ""},
		"new ones":         {dnat + "to = \"10.0.0.1\"\nstate = [\"new\"]\n", ""},

		"dnat at out":       {dnat + "hook = \"out\"\nto = \"10.0.0.1\"\n", "rules[1].hook: dnat is for hook in"},
		"redirect at out":   {"[[rules]]\nhook = \"out\"\naction = \"redirect\"\n", "rules[1].hook: redirect is for hook in"},
		"snat at in":        {"[[rules]]\naction = \"snat\"\nto = \"10.0.0.1\"\n", "rules[1].hook: snat is for hook out"},
		"masquerade at in":  {"[[rules]]\naction = \"masquerade\"\n", "rules[1].hook: masquerade is for hook out"},
		"to nowhere":        {dnat, "rules[1].to: is missing"},
		"to of masquerade":  {"[[rules]]\nhook = \"out\"\naction = \"masquerade\"\nto = \"10.0.0.1\"\n", "rules[1].to: needs action dnat or snat; this is masquerade"},
		"to of accept":      {"[[rules]]\naction = \"accept\"\nto = \"10.0.0.1\"\n", "rules[1].to: needs action dnat or snat"},
		"ports of accept":   {"[[rules]]\naction = \"accept\"\nprotocol = \"tcp\"\nto_ports = 1\n", "rules[1].to_ports: needs action dnat"},
		"ports of any":      {dnat + "to = \"10.0.0.1\"\nto_ports = 80\n", "rules[1].to_ports: needs protocol tcp, udp or sctp"},
		"ports of gre":      {dnat + "protocol = \"gre\"\nto = \"10.0.0.1\"\nto_ports = 80\n", "rules[1].to_ports: needs protocol tcp, udp or sctp; this is gre"},
		"ports of sctp":     {dnat + "protocol = \"sctp\"\nto = \"10.0.0.1\"\nto_ports = 80\n", ""},
		"port 0":            {dnat + "protocol = \"tcp\"\nto = \"10.0.0.1\"\nto_ports = \"0-9\"\n", "rules[1].to_ports: 0-9 begins with 0"},
		"ports reversed":    {dnat + "protocol = \"tcp\"\nto = \"10.0.0.1\"\nto_ports = \"9-8\"\n", "rules[1].to_ports: \"9-8\" is reversed"},
		"families":          {dnat + "to = \"10.0.0.1\"\ndst = [\"2001:db8::/64\"]\n", "rules[1].to: 10.0.0.1 is not of the family of 2001:db8::/64"},
		"icmp":              {dnat + "to = \"2001:db8::1\"\nprotocol = \"icmp\"\n", "rules[1].protocol: icmp is not carried by IPv6"},
		"icmpv6":            {dnat + "to = \"10.0.0.1\"\nprotocol = \"icmpv6\"\n", "rules[1].protocol: icmpv6 is not carried by IPv4"},
		"reversed":          {dnat + "to = \"10.0.0.9-10.0.0.1\"\n", "rules[1].to: 10.0.0.9-10.0.0.1 is reversed"},
		"two families":      {dnat + "to = \"10.0.0.1-2001:db8::1\"\n", "rules[1].to: 10.0.0.1-2001:db8::1 is of two families"},
		"no address":        {dnat + "to = \"here\"\n", "rules[1].to: \"here\" is not an address"},
		"host bits":         {dnat + "to = \"10.0.0.1/24\"\n", "has host bits set; want 10.0.0.0/24"},
		"mapped":            {dnat + "to = \"::ffff:10.0.0.1\"\n", "is IPv4-mapped"},
		"too many":          {dnat + "to = \"2001:db8::/63\"\n", "more than 2^64 addresses"},
		"loopback":          {dnat + "to = \"127.0.0.1\"\n", "127.0.0.1 is no address that packets can be routed to"},
		"everything":        {dnat + "to = \"0.0.0.0/0\"\n", "0.0.0.0 is no address that packets"},
		"no new ones":       {dnat + "to = \"10.0.0.1\"\nstate = [\"established\"]\n", "rules[1].state: leaves out new connections, which dnat is about"},
		"stateless":         {"[ct]\nenabled = false\n" + dnat + "to = \"10.0.0.1\"\n", "rules[1].action: dnat needs connections, but ct.enabled is false"},
		"none":              {"[ct]\nmax_translations = 0\n" + dnat + "to = \"10.0.0.1\"\n", "rules[1].action: dnat needs ct.max_translations, which is 0"},
		"fewer than none":   {"[ct]\nmax_translations = -1\n", "ct.max_translations: -1 is below 0"},
		"default of a hook": {"[policy]\ndefault_out = \"masquerade\"\n", "policy.default_out: masquerade is for rules"},
	} {
		_, err := Parse("test", []byte(diffBase+c.doc))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

// Source: FF-6
func TestAddressRange(t *testing.T) {
	for text, want := range map[string][2]string{
		"192.0.2.1":           {"192.0.2.1", "192.0.2.1"},
		"192.0.2.1-192.0.2.9": {"192.0.2.1", "192.0.2.9"},
		"192.0.2.0/29":        {"192.0.2.0", "192.0.2.7"},
		"192.0.2.8/32":        {"192.0.2.8", "192.0.2.8"},
		"2001:db8::/64":       {"2001:db8::", "2001:db8::ffff:ffff:ffff:ffff"},
		"2001:db8::10/124":    {"2001:db8::10", "2001:db8::1f"},
	} {
		var r, again AddrRange
		if err := r.UnmarshalText([]byte(text)); err != nil || r != (AddrRange{netip.MustParseAddr(want[0]), netip.MustParseAddr(want[1])}) {
			t.Errorf("%s is %v (%v), want %v", text, r, err, want)
		}
		if err := again.UnmarshalText([]byte(r.String())); err != nil || again != r {
			t.Errorf("%s is printed as %v and read as %v (%v)", text, r, again, err)
		}
	}
}
