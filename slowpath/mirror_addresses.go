package slowpath

import (
	"cmp"
	"log/slog"
	"net/netip"
	"slices"

	"ffwd/fib"
)

// kernelAddress is an address of a kernel interface.
type kernelAddress struct {
	ifIndex uint32
	subnet  netip.Prefix
}

// ownAddress is an address of an interface of ours.
type ownAddress struct {
	iface, vrf uint16
	address    netip.Prefix
}

// addressView is the addresses of the twins, and which of them are in the FIB.
type addressView struct {
	tables []*fib.Table
	static []ownAddress
	notify func(iface uint16, addresses []netip.Prefix)
	log    *slog.Logger

	kernel    map[kernelAddress]addressMessage
	dirty     bool
	installed map[ownAddress]netip.Prefix // by what the FIB has; with the length of the subnet
	covered   map[routeKey]struct{}       // what static and installed addresses bring
}

func newAddressView(c *MirrorConfig) addressView {
	v := addressView{
		tables: c.Tables, notify: c.OnAddresses, log: c.Log,
		kernel: map[kernelAddress]addressMessage{}, installed: map[ownAddress]netip.Prefix{},
		covered: map[routeKey]struct{}{}, dirty: true,
	}
	for _, t := range c.Twins {
		for _, a := range c.Own[t.Iface] {
			v.static = append(v.static, ownAddress{t.Iface, t.Table, a})
		}
	}
	return v
}

// change enters what an address is now, or that it is gone.
func (v *addressView) change(a addressMessage, gone bool) {
	at := kernelAddress{a.ifIndex, a.subnet}
	v.dirty = true
	if gone {
		delete(v.kernel, at)
		return
	}
	v.kernel[at] = a
}

// covers reports whether a prefix is an address of our ports, or its subnet.
func (v *addressView) covers(key routeKey) bool {
	_, is := v.covered[key]
	return is
}

// settle makes the FIB's addresses those of the kernel and the configuration.
// It returns the prefixes that are covered or uncovered by that, and how many
// addresses came and went.
func (v *addressView) settle(twins *twins) (covered []routeKey, changes int) {
	if !v.dirty {
		return nil, 0
	}
	v.dirty = false
	wanted := v.wanted(twins)
	changed := map[uint16]struct{}{}
	for a := range v.installed {
		if _, stays := wanted[a]; !stays {
			changed[a.iface] = struct{}{}
			changes++
			delete(v.installed, a)
			if err := v.tables[a.vrf].RemoveAddress(a.iface, a.address); err != nil {
				v.log.Error("mirror: an address stays in the FIB", "address", a.address, "error", err)
			}
		}
	}
	for a, subnet := range wanted {
		before, there := v.installed[a]
		if before == subnet {
			continue
		}
		if there {
			changed[a.iface] = struct{}{}
			v.installed[a] = subnet
			continue
		}
		if err := v.tables[a.vrf].AddAddress(a.iface, a.address); err != nil {
			v.log.Warn("mirror: an address is not taken over", "address", a.address, "error", err)
			continue
		}
		changed[a.iface] = struct{}{}
		changes++
		v.installed[a] = subnet
	}
	for iface := range changed {
		v.notify(iface, v.of(iface))
	}
	return v.cover(), changes
}

// wanted lists the kernel's addresses on our twins that the configuration has not,
// as the FIB is to have them, with their subnets.
func (v *addressView) wanted(twins *twins) map[ownAddress]netip.Prefix {
	wanted := map[ownAddress]netip.Prefix{}
	for _, k := range v.kernel {
		iface, vrf, ours := twins.byIndex(k.ifIndex)
		if ours && !k.pending && !slices.Contains(v.static, ownAddress{iface, vrf, k.subnet}) {
			wanted[ownAddress{iface, vrf, k.routed}] = k.subnet
		}
	}
	return wanted
}

// of lists an interface's addresses, the configuration's first. Who is on the link of
// an address is told by its length, whatever routes there are, as in the kernel.
// Source: inet_addr_onlink in net/ipv4/devinet.c.
func (v *addressView) of(iface uint16) []netip.Prefix {
	var static, learnt []netip.Prefix
	for _, a := range v.static {
		if a.iface == iface {
			static = append(static, a.address)
		}
	}
	for a, subnet := range v.installed {
		if a.iface == iface {
			learnt = append(learnt, subnet)
		}
	}
	slices.SortFunc(learnt, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	return append(static, learnt...)
}

// cover finds anew what the addresses bring, and returns what differs.
func (v *addressView) cover() (differ []routeKey) {
	now := map[routeKey]struct{}{}
	add := func(a ownAddress) {
		for _, prefix := range fib.PrefixesOf(a.address) {
			now[keyOf(a.vrf, prefix)] = struct{}{}
		}
	}
	for _, a := range v.static {
		add(a)
	}
	for a := range v.installed {
		add(a)
	}
	for key := range now {
		if _, before := v.covered[key]; !before {
			differ = append(differ, key)
		}
	}
	for key := range v.covered {
		if _, still := now[key]; !still {
			differ = append(differ, key)
		}
	}
	v.covered = now
	return differ
}
