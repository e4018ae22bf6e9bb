package conf

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// routeParser reads lines of a routes file. They are what `ip route` takes and shows, as far
// as it means something here:
//
//	[unicast|blackhole|unreachable|prohibit] PREFIX [via ADDRESS] [dev PORT]
//	    [mtu BYTES] [vrf NUMBER] [counters] [metric NUMBER] [proto WORD]
//	    {nexthop [via ADDRESS] [dev PORT] [weight NUMBER]}   # comment
//
// PREFIX may be an address, which is a host, and "default". A prefix has one route, so metric
// and proto are read and mean nothing.
type routeParser struct {
	ports map[string]string // one string for each name, not one for each route
	words []string
}

// parse reads a line; it is not a route when it is empty or a comment.
func (p *routeParser) parse(line string) (r Route, is bool, err error) {
	if at := strings.IndexByte(line, '#'); at >= 0 {
		line = line[:at]
	}
	p.words = p.words[:0]
	for word := range strings.FieldsSeq(line) {
		p.words = append(p.words, word)
	}
	if len(p.words) == 0 {
		return r, false, nil
	}
	r.Type = RouteUnicast
	switch kind := RouteType(p.words[0]); kind {
	case RouteUnicast, RouteBlackhole, RouteUnreachable, RouteProhibit:
		r.Type = kind
		p.next()
	}
	prefix := p.next()
	if prefix == "" {
		return r, false, errors.New("the prefix is missing")
	}
	if prefix != "default" {
		if r.Prefix, err = hostOrPrefix(prefix); err != nil {
			return r, false, err
		}
	}
	if err := p.options(&r); err != nil {
		return r, false, err
	}
	if prefix == "default" {
		r.Prefix = defaultOf(&r)
	}
	return r, true, nil
}

// next takes the next word, "" at the end.
func (p *routeParser) next() (word string) {
	if len(p.words) > 0 {
		word, p.words = p.words[0], p.words[1:]
	}
	return word
}

// options reads what follows the prefix.
func (p *routeParser) options(r *Route) (err error) {
	var given [8]string
	seen := given[:0]
	for len(p.words) > 0 && err == nil {
		word := p.next()
		if word == "nexthop" {
			h := Hop{Weight: 1}
			if err = p.hop(&h); err == nil {
				r.Hops = append(r.Hops, h)
			}
			continue
		}
		for _, other := range seen {
			if word == other {
				return fmt.Errorf("%s is given twice", word)
			}
		}
		switch seen = append(seen, word); word {
		case "via":
			r.Via, err = p.address(word)
		case "dev":
			r.Port, err = p.port()
		case "mtu":
			r.MTU, err = p.number(word)
		case "vrf":
			r.VRF, err = p.number(word)
		case "counters":
			r.Counters = true
		case "metric":
			_, err = p.number(word)
		case "proto":
			_, err = p.value(word)
		default:
			return fmt.Errorf("%s is none of via, dev, mtu, vrf, counters, metric, proto, nexthop", quoted(word))
		}
	}
	return err
}

// hop reads what follows a nexthop, up to the next.
func (p *routeParser) hop(h *Hop) (err error) {
	for err == nil && len(p.words) > 0 && p.words[0] != "nexthop" {
		switch word := p.next(); {
		case word == "via" && !h.Via.IsValid():
			h.Via, err = p.address(word)
		case word == "dev" && h.Port == "":
			h.Port, err = p.port()
		case word == "weight":
			h.Weight, err = p.number(word)
		default:
			return fmt.Errorf("%s does not follow nexthop, which has via, dev and weight, each once; the rest comes before", quoted(word))
		}
	}
	return err
}

func (p *routeParser) value(of string) (string, error) {
	word := p.next()
	if word == "" {
		return "", fmt.Errorf("%s has no value", of)
	}
	return word, nil
}

func (p *routeParser) address(of string) (netip.Addr, error) {
	word, err := p.value(of)
	if err != nil {
		return netip.Addr{}, err
	}
	a, err := netip.ParseAddr(word)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("%s: %s is not an IP address", of, quoted(word))
	}
	return a, nil
}

func (p *routeParser) number(of string) (int, error) {
	word, err := p.value(of)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseUint(word, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s: %s is not a number", of, quoted(word))
	}
	return int(n), nil
}

// port reads the name of a port. Which there are is for the validation to say.
func (p *routeParser) port() (string, error) {
	word, err := p.value("dev")
	if err != nil {
		return "", err
	}
	name, known := p.ports[word]
	if !known {
		name = strings.Clone(word) // and not the line that it is part of
		p.ports[name] = name
	}
	return name, nil
}

// hostOrPrefix reads a prefix, or the address of a host.
func hostOrPrefix(word string) (netip.Prefix, error) {
	if strings.IndexByte(word, '/') < 0 {
		if a, err := netip.ParseAddr(word); err == nil && a.Zone() == "" {
			return netip.PrefixFrom(a, a.BitLen()), nil
		}
	} else if prefix, err := netip.ParsePrefix(word); err == nil {
		return prefix, nil
	}
	return netip.Prefix{}, fmt.Errorf("%s is not a prefix like 10.1.1.0/24", quoted(word))
}

// defaultOf is the default route's prefix: of the family of its gateways.
func defaultOf(r *Route) netip.Prefix {
	for _, h := range r.NextHops() {
		if h.Via.Is6() {
			return netip.PrefixFrom(netip.IPv6Unspecified(), 0)
		}
	}
	return netip.PrefixFrom(netip.IPv4Unspecified(), 0)
}

// quoted is a word of a file that may be none of routes at all.
func quoted(word string) string {
	const most = 40
	if len(word) > most {
		return strconv.Quote(word[:most]) + "..."
	}
	return strconv.Quote(word)
}
