package conf

import (
	"math"
	"reflect"
	"strings"
)

// localTable is RT_TABLE_LOCAL of rtnetlink(7): addresses, which are mirrored as such.
const localTable = 255

// maxPuntRate is more than a kernel takes in from a TAP.
const maxPuntRate = 10_000_000

// slowPath checks what the kernel's side is made of.
func (v *validator) slowPath() {
	s := &v.c.SlowPath
	v.taps()
	if fault := netnsFault(s.Netns); fault != "" {
		v.faults.add("slow_path.netns", "%q %s", s.Netns, fault)
	}
	v.mirror()
	rates := reflect.ValueOf(s.Rates)
	for _, f := range tomlFields(rates.Type()) {
		v.within("slow_path.rates."+f.key, int(rates.Field(f.index).Int()), 0, maxPuntRate, "packets per second and worker")
	}
}

// taps checks the names that the ports' twins have in the kernel.
func (v *validator) taps() {
	ports := v.c.Ports
	owner := make(map[string]int, len(ports))
	for i := range ports {
		p, at := &ports[i], element("ports", i)+".tap"
		name := p.TAPName()
		if name == "" {
			continue // a port without a name, which is noted
		}
		if p.TAP != "" {
			if fault := tapFault(name); fault != "" {
				v.faults.add(at, "%q %s", name, fault)
				continue
			}
		} else if v.c.SlowPath.Enabled != SlowPathOff && reservedTAP(name) {
			v.faults.add(at, "the port's name %q cannot be a kernel interface's: give another", name)
			continue
		}
		if other, taken := owner[name]; taken {
			if p.TAP != "" || ports[other].TAP != "" { // two ports of one name are noted already
				v.faults.add(at, "%q is the TAP of ports[%d]", name, other)
			}
			continue
		}
		owner[name] = i
	}
}

// tapFault says why a name cannot be that of a kernel interface, or "".
// Source: dev_valid_name in net/core/dev.c; a name with % would be a template.
func tapFault(name string) string {
	switch {
	case len(name) > maxPortName:
		return "is longer than 15 characters (IFNAMSIZ)"
	case !portNamePattern.MatchString(name) || name == "." || name == "..":
		return "has other characters than a-z A-Z 0-9 _ . -"
	case reservedTAP(name):
		return "is a directory of /proc/sys/net, not an interface's"
	}
	return ""
}

func reservedTAP(name string) bool { return name == "all" || name == "default" }

// netnsFault says why text is neither a name nor a path of a network namespace.
func netnsFault(text string) string {
	switch {
	case strings.ContainsRune(text, 0):
		return "has a NUL byte"
	case text == "." || text == "..":
		return "is a directory; want a name under /run/netns or a path"
	case strings.HasSuffix(text, "/"):
		return "is a directory; want a name under /run/netns or a path"
	case strings.Contains(text, "/") && !strings.HasPrefix(text, "/"):
		return "is a relative path; want a name under /run/netns or an absolute path"
	}
	return ""
}

// mirror checks the tables to be mirrored: each goes to one VRF, and each VRF has
// one table, because two would contend for its prefixes.
func (v *validator) mirror() {
	tables, vrfs := map[int]int{}, map[int]int{}
	for i, m := range v.c.SlowPath.Mirror {
		at := element("slow_path.mirror", i)
		if v.within(at+".table", m.Table, 1, math.MaxUint32, "rtnetlink(7)"); m.Table == localTable {
			v.faults.add(at+".table", "255 is the kernel's table of local addresses, which are mirrored anyhow")
		}
		v.within(at+".vrf", m.VRF, 0, maxVRF, "")
		if other, taken := tables[m.Table]; taken {
			v.faults.add(at+".table", "%d is that of slow_path.mirror[%d]", m.Table, other)
		} else {
			tables[m.Table] = i
		}
		if other, taken := vrfs[m.VRF]; taken {
			v.faults.add(at+".vrf", "%d gets its routes from slow_path.mirror[%d]", m.VRF, other)
		} else if vrfs[m.VRF] = i; m.VRF != 0 && !v.hasVRF(m.VRF) {
			v.faults.add(at+".vrf", "no port is in VRF %d", m.VRF)
		}
	}
}

func (v *validator) hasVRF(vrf int) bool {
	for i := range v.c.Ports {
		if v.c.Ports[i].VRF == vrf {
			return true
		}
	}
	return false
}
