package conf

import (
	"fmt"
	"regexp"
	"strings"
)

var (
	portNamePattern = regexp.MustCompile(`^[A-Za-z0-9_.-]+$`)
	pciPattern      = regexp.MustCompile(`^([0-9a-fA-F]{4,8}:)?[0-9a-fA-F]{2}:[0-9a-fA-F]{2}\.[0-7]$`)
)

// ports checks every port but its addresses, and fills portIndex.
func (v *validator) ports() {
	ports := v.c.Ports
	v.portIndex = make(map[string]int, len(ports))
	if len(ports) == 0 {
		v.faults.add("ports", "is missing; a switch needs at least one [[ports]]")
	}
	if len(ports) > maxPorts {
		v.faults.add("ports", "has %d ports, more than %d", len(ports), maxPorts)
	}
	for i := range ports {
		v.portName(element("ports", i), i)
	}
	devices := map[string]int{}
	tags := map[vlanTag]int{}
	for i := range ports {
		p, at := &ports[i], element("ports", i)
		if p.IsVLAN() {
			v.vlanPort(at, p)
			if other, taken := tags[vlanTag{p.Parent, p.VLAN}]; taken {
				v.faults.add(at+".vlan", "%d on %s is that of ports[%d]", p.VLAN, p.Parent, other)
			} else {
				tags[vlanTag{p.Parent, p.VLAN}] = i
			}
		} else {
			v.devicePort(at, p, i, devices)
		}
		v.portMTU(at, p)
		v.within(at+".vrf", p.VRF, 0, maxVRF, "")
		if p.MAC.IsMulticast() {
			v.faults.add(at+".mac", "%s is a group address (IEEE 802, I/G bit)", p.MAC)
		}
	}
}

// vlanTag is what frames of a sub-port are told by.
type vlanTag struct {
	parent string
	vlan   int
}

func (v *validator) portName(at string, i int) {
	name := v.c.Ports[i].Name
	switch {
	case name == "":
		v.faults.add(at+".name", "is missing")
		return
	case len(name) > maxPortName:
		v.faults.add(at+".name", "%q is longer than %d characters", name, maxPortName)
	case !portNamePattern.MatchString(name) || name == "." || name == "..":
		v.faults.add(at+".name", "%q has other characters than a-z A-Z 0-9 _ . -", name)
	}
	if other, taken := v.portIndex[name]; taken {
		v.faults.add(at+".name", "%q is the name of ports[%d]", name, other)
		return
	}
	v.portIndex[name] = i
}

func (v *validator) devicePort(at string, p *Port, i int, devices map[string]int) {
	if p.VLAN != 0 {
		v.faults.add(at+".vlan", "%d needs a parent", p.VLAN)
	}
	if fault := deviceFault(p.Device); fault != "" {
		v.faults.add(at+".device", "%s", fault)
	} else if id := deviceID(p.Device); id != "" {
		if other, taken := devices[id]; taken {
			v.faults.add(at+".device", "%s is the device of ports[%d]", id, other)
		} else {
			devices[id] = i
		}
	}
	v.within(at+".rx_queues", p.RxQueues, 0, maxQueues, "RTE_MAX_QUEUES_PER_PORT")
	v.within(at+".tx_queues", p.TxQueues, 0, maxQueues, "RTE_MAX_QUEUES_PER_PORT")
	v.within(at+".rx_descriptors", p.RxDescriptors, minDescriptors, maxDescriptors, "")
	v.within(at+".tx_descriptors", p.TxDescriptors, minDescriptors, maxDescriptors, "")
	if p.Steering == "" {
		v.faults.add(at+".steering", "is missing; want %s", strings.Join(p.Steering.words(), ", "))
	}
}

// vlanPort checks that a sub-port has a parent and none of the device's keys.
func (v *validator) vlanPort(at string, p *Port) {
	parent, known := v.portIndex[p.Parent]
	switch {
	case !known:
		v.faults.add(at+".parent", "%s", v.unknownPort(p.Parent))
	case v.c.Ports[parent].IsVLAN():
		v.faults.add(at+".parent", "%q is a VLAN sub-port itself", p.Parent)
	}
	if p.VLAN == 0 {
		v.faults.add(at+".vlan", "is missing; a sub-port needs one in 1..%d", maxVLAN)
	} else {
		v.within(at+".vlan", p.VLAN, 1, maxVLAN, "IEEE 802.1Q")
	}
	for _, key := range []struct {
		name  string
		given bool
	}{
		{"device", p.Device != ""},
		{"rx_queues", p.RxQueues != 0},
		{"tx_queues", p.TxQueues != 0},
		{"rx_descriptors", p.RxDescriptors != 0},
		{"tx_descriptors", p.TxDescriptors != 0},
		{"promiscuous", p.Promiscuous},
		{"steering", p.Steering != ""},
	} {
		if key.given {
			v.faults.add(at+"."+key.name, "belongs to the parent; a VLAN sub-port has none")
		}
	}
}

func (v *validator) portMTU(at string, p *Port) {
	if p.IsVLAN() {
		parent, known := v.portIndex[p.Parent]
		if !known {
			return // and so no MTU to inherit
		}
		if limit := v.c.Ports[parent].MTU; p.MTU > limit && limit >= minMTU {
			v.faults.add(at+".mtu", "%d is above the parent's %d", p.MTU, limit)
		}
	}
	least, source := minMTU, "RFC 791"
	for _, a := range p.Addresses {
		if a.Addr().Is6() {
			least, source = minMTUIPv6, "RFC 8200, the port has IPv6 addresses"
		}
	}
	if p.MTU < least {
		v.faults.add(at+".mtu", "%d is below %d (%s)", p.MTU, least, source)
	}
	v.within(at+".mtu", p.MTU, p.MTU, maxMTU, "")
}

// deviceFault says what is wrong with a device string, or "".
func deviceFault(device string) string {
	name, _, _ := strings.Cut(device, ",")
	switch {
	case device == "":
		return "is missing; want a PCI address (0000:03:00.0) or a DPDK device (net_af_xdp0,iface=eth1)"
	case strings.ContainsFunc(device, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return fmt.Sprintf("%q has a control character", device)
	case strings.ContainsAny(name, " \t"):
		return fmt.Sprintf("%q has a space in its name", device)
	case pciPattern.MatchString(name) || strings.HasPrefix(name, "net_") ||
		strings.HasPrefix(name, "eth_") || strings.HasPrefix(name, "virtio_user") ||
		strings.ContainsAny(name, ":="): // bus:name, class=eth
		return ""
	}
	return fmt.Sprintf("%q is neither a PCI address (0000:03:00.0) nor a DPDK device; "+
		"a kernel interface is net_af_packet0,iface=%s", device, name)
}

// deviceID is the part of a device string that DPDK tells devices by, or "" for
// one that selects by properties.
func deviceID(device string) string {
	name, _, _ := strings.Cut(device, ",")
	switch {
	case strings.Contains(name, "="):
		return ""
	case !pciPattern.MatchString(name):
		return name
	case strings.Count(name, ":") == 1:
		return "0000:" + strings.ToLower(name)
	}
	return strings.ToLower(name)
}

// unknownPort is the message for a name that no port has.
func (v *validator) unknownPort(name string) string {
	const most = 100 // looking for a name like it takes time
	if len(v.faults) >= most {
		return fmt.Sprintf("%q is no port's name", name)
	}
	names := make([]string, 0, len(v.c.Ports))
	for i := range v.c.Ports {
		names = append(names, v.c.Ports[i].Name)
	}
	if near := nearest(name, names); near != "" {
		return fmt.Sprintf("%q is no port's name; did you mean %q?", name, near)
	}
	return fmt.Sprintf("%q is no port's name", name)
}
