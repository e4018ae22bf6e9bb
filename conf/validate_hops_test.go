package conf

import "testing"

// Source: FF-6
func TestRuleHopFaults(t *testing.T) {
	checkFaults(t, []faultCase{
		{"next hops of rules", fill(`[[ports]]
name = "cust"
device = "net_null2"
addresses = ["10.1.1.1/24"]
vrf = 7
[[rules]]
action = "accept"
via = "10.2.2.2"
[[rules]]
action = "accept"
in_ports = ["lan"]
via = "10.2.2.2"
hops = [{ via = "10.2.2.3" }]
[[rules]]
action = "drop"
in_ports = ["lan"]
via = "10.2.2.2"
[[rules]]
hook = "out"
action = "accept"
in_ports = ["lan"]
hops = [{ port = "wan" }]
[[rules]]
action = "continue"
in_ports = ["cust"]
via = "10.2.2.2"
[[rules]]
action = "accept"
in_ports = ["cust"]
hops = [{ port = "wan" }, { port = "cust", weight = 2 }, { port = "cust" }, {}]
[[rules]]
action = "accept"
in_ports = ["lan"]
src = ["fd00::/8"]
via = "10.2.2.2"
[[rules]]
action = "accept"
in_ports = ["lan"]
via = "fe80::1"
[[rules]]
action = "accept"
in_ports = ["lan", "wan"]
hops = [{ via = "fe80::1", port = "wan" }, { via = "10.2.2.2" }, { via = "10.2.2.1" }]
[[rules]]
action = "accept"
in_ports = ["lan"]
hops = []
[[rules]]
action = "continue"
in_ports = ["lan", "wan"]
via = "10.2.2.2"
[[rules]]
action = "accept"
in_ports = ["cust"]
hops = [{ via = "10.9.9.9", port = "cust" }]
[[neighbours]]
port = "cust"
address = "10.9.9.9"
mac = "02:00:00:00:00:09"
`),
			"17: rules[0].via: is in one VRF, the packets are of several; want in_ports of one VRF\n" +
				"22: rules[1].hops: stands beside via; give one or the other\n" +
				"26: rules[2].via: is for packets that go on; this is action drop\n" +
				"31: rules[3].hops: is chosen before the route lookup; want hook in\n" +
				"35: rules[4].via: 10.2.2.2 is on no subnet of VRF 7; name the port if it is on link there in hops, which has a port for each via\n" +
				"39: rules[5].hops[0].port: wan is in VRF 0; want a port of VRF 7\n" +
				"39: rules[5].hops[2]: is listed twice; give one a weight\n" +
				"39: rules[5].hops[3]: has neither via nor port\n" +
				"44: rules[6].via: 10.2.2.2 is not of the family of ::/0\n" +
				"48: rules[7].via: fe80::1 is link-local; name the port in hops, which has a port for each via\n" +
				"52: rules[8].hops[1].via: 10.2.2.2 is not of the family of ::/0\n" +
				"52: rules[8].hops[2].via: 10.2.2.1 is not of the family of ::/0\n" +
				"56: rules[9].hops: is empty; leave the key out for any", "FF-6"},
	})
}
