package control

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"ffwd/conf"
	"ffwd/ct"
)

// filterKeys are what a request may say of the flows that it is about.
var filterKeys = []string{"proto", "src", "dst", "sport", "dport", "zone", "mark", "state", "family", "reply_src", "reply_dst", "reply_sport", "reply_dport",
	"packets", "bytes", "reply_packets", "reply_bytes", "age"}

// filterOf reads a filter from a request, see filterKeys.
func filterOf(q url.Values) (f ct.Filter, err error) {
	if text := q.Get("proto"); text != "" {
		var p conf.Protocol
		if err := p.UnmarshalText([]byte(text)); err != nil {
			return f, badRequest("proto: %v", err)
		}
		n, _ := p.Number()
		f.Proto = &n
	}
	for _, a := range []struct {
		key string
		to  *netip.Prefix
	}{{"src", &f.Src}, {"dst", &f.Dst}, {"reply_src", &f.ReplySrc}, {"reply_dst", &f.ReplyDst}} {
		if text := q.Get(a.key); text != "" {
			if *a.to, err = prefixOf(text); err != nil {
				return f, badRequest("%s: %v", a.key, err)
			}
		}
	}
	for _, n := range []struct {
		key string
		to  **uint16
	}{{"sport", &f.SrcPort}, {"dport", &f.DstPort}, {"zone", &f.Zone}, {"reply_sport", &f.ReplySrcPort}, {"reply_dport", &f.ReplyDstPort}} {
		if text := q.Get(n.key); text != "" {
			v, err := strconv.ParseUint(text, 0, 16)
			if err != nil {
				return f, badRequest("%s: %q is not a number in 0..65535", n.key, text)
			}
			small := uint16(v)
			*n.to = &small
		}
	}
	if text := q.Get("mark"); text != "" {
		var m conf.Mark
		if err := m.UnmarshalText([]byte(text)); err != nil {
			return f, badRequest("mark: %v", err)
		}
		f.Mark, f.MarkMask = m.Value, m.Mask
	}
	if f.State = q.Get("state"); f.State != "" && !ct.KnownState(f.State) {
		return f, badRequest("state: %q is no tracker's, nor UNREPLIED or ASSURED", f.State)
	}
	switch q.Get("family") {
	case "":
	case "ipv4":
		f.Family = 4
	case "ipv6":
		f.Family = 6
	default:
		return f, badRequest("family: %q is neither ipv4 nor ipv6", q.Get("family"))
	}
	return f, spansOf(q, &f)
}

// spansOf reads what a request says of the counters and ages of flows.
func spansOf(q url.Values, f *ct.Filter) (err error) {
	number := func(text string) (uint64, error) { return strconv.ParseUint(text, 10, 64) }
	age := func(text string) (uint64, error) {
		d, err := time.ParseDuration(text)
		if d < 0 {
			err = errors.New("is below 0")
		}
		return uint64(d), err
	}
	for _, s := range []struct {
		key  string
		to   **ct.Span
		read func(string) (uint64, error)
	}{
		{"packets", &f.Packets[ct.Original], number}, {"reply_packets", &f.Packets[ct.Reply], number},
		{"bytes", &f.Bytes[ct.Original], number}, {"reply_bytes", &f.Bytes[ct.Reply], number},
		{"age", &f.Age, age},
	} {
		if text := q.Get(s.key); text != "" {
			if *s.to, err = spanOf(text, s.read); err == nil && s.key == "age" && (*s.to).Least == (*s.to).Most {
				err = errors.New("an instant chooses nothing")
			}
			if err != nil {
				return badRequest("%s: %q is no span FROM-TO, FROM- or -TO: %v", s.key, text, err)
			}
		}
	}
	return nil
}

// spanOf reads FROM-TO, of which either may be left out, or one value alone.
func spanOf(text string, read func(string) (uint64, error)) (*ct.Span, error) {
	least, most, ok := strings.Cut(text, "-")
	if !ok {
		most = least
	}
	s := ct.Span{Most: math.MaxUint64}
	var errs [2]error
	if least != "" {
		s.Least, errs[0] = read(least)
	}
	if most != "" {
		s.Most, errs[1] = read(most)
	}
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	if least == "" && most == "" || s.Least > s.Most {
		return nil, errors.New("no value is in it")
	}
	return &s, nil
}

// prefixOf reads a prefix, or an address as the prefix of it alone.
func prefixOf(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return p, fmt.Errorf("%q is neither an address nor a prefix", text)
	case p != p.Masked():
		return p, fmt.Errorf("%q has bits set behind its length: want %v", text, p.Masked())
	}
	return p, nil
}
