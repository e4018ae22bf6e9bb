package conf

import "testing"

// Source: SP-1, SP-4, SP-5.
func TestSlowPathFaults(t *testing.T) {
	checkFaults(t, []faultCase{
		{"words", onePort + "[slow_path]\nenabled = \"yes\"\nring = 3\n",
			"5: slow_path.enabled: \"yes\" is unknown; want auto, on, off\n" +
				"6: slow_path.ring: is an unknown key; want one of enabled, netns, mirror, rates", "strict"},
		{"tap names", onePort + "tap = \"a/b\"\n[[ports]]\nname = \"b\"\ndevice = \"net_null1\"\ntap = \"tap%d\"\n" +
			"[[ports]]\nname = \"c\"\ndevice = \"net_null2\"\ntap = \"sixteen-letters!\"\n" +
			"[[ports]]\nname = \"d\"\ndevice = \"net_null3\"\ntap = \"default\"\n" +
			"[[ports]]\nname = \"all\"\ndevice = \"net_null4\"\n",
			"4: ports[0].tap: \"a/b\" has other characters than a-z A-Z 0-9 _ . -\n" +
				"8: ports[1].tap: \"tap%d\" has other characters than a-z A-Z 0-9 _ . -\n" +
				"12: ports[2].tap: \"sixteen-letters!\" is longer than 15 characters (IFNAMSIZ)\n" +
				"16: ports[3].tap: \"default\" is a directory of /proc/sys/net, not an interface's\n" +
				"17: ports[4].tap: the port's name \"all\" cannot be a kernel interface's: give another", "dev_valid_name"},
		{"a name that matters only with twins", "[[ports]]\nname = \"all\"\ndevice = \"net_null4\"\n[slow_path]\nenabled = \"off\"\n", "", "SP-5"},
		{"one TAP for two ports", onePort + "tap = \"wan\"\n[[ports]]\nname = \"wan\"\ndevice = \"net_null1\"\n",
			"5: ports[1].tap: \"wan\" is the TAP of ports[0]", "SP-1"},
		{"the port's own name", onePort + "tap = \"lan\"\n", "", "SP-1"},
		{"namespace", onePort + "[slow_path]\nnetns = \"a/b\"\n", "5: slow_path.netns: \"a/b\" is a relative path; want a name under /run/netns or an absolute path", "ip-netns(8)"},
		{"namespace directory", onePort + "[slow_path]\nnetns = \"/run/netns/\"\n", "5: slow_path.netns: \"/run/netns/\" is a directory; want a name under /run/netns or a path", "ip-netns(8)"},
		{"namespace above", onePort + "[slow_path]\nnetns = \"..\"\n", "5: slow_path.netns: \"..\" is a directory; want a name under /run/netns or a path", "ip-netns(8)"},
		{"tables", onePort + "[slow_path]\nmirror = [{ table = 0 }, { table = 4294967296, vrf = 256 },\n{ table = 255, vrf = 1 }, { table = 7, vrf = -1 }]\n",
			"5: slow_path.mirror[0].table: 0 is below 1 (rtnetlink(7))\n" +
				"5: slow_path.mirror[1].table: 4294967296 is above 4294967295 (rtnetlink(7))\n" +
				"5: slow_path.mirror[1].vrf: 256 is above 255\n" +
				"5: slow_path.mirror[1].vrf: no port is in VRF 256\n" +
				"6: slow_path.mirror[2].table: 255 is the kernel's table of local addresses, which are mirrored anyhow\n" +
				"6: slow_path.mirror[2].vrf: no port is in VRF 1\n" +
				"6: slow_path.mirror[3].vrf: -1 is below 0\n" +
				"6: slow_path.mirror[3].vrf: no port is in VRF -1", "rtnetlink(7)"},
		{"tables twice", onePort + "vrf = 1\n[slow_path]\nmirror = [{ table = 7 }, { table = 7, vrf = 1 }, { table = 8, vrf = 1 }]\n",
			"6: slow_path.mirror[1].table: 7 is that of slow_path.mirror[0]\n" +
				"6: slow_path.mirror[2].vrf: 1 gets its routes from slow_path.mirror[1]", "one table per VRF"},
		{"no table", onePort + "[slow_path]\nmirror = []\n", "", "nothing is mirrored"},
		{"rates", onePort + "[slow_path.rates]\nlocal = -1\nneighbour = 10000001\narp = 1\n",
			"5: slow_path.rates.local: -1 is below 0 (packets per second and worker)\n" +
				"6: slow_path.rates.neighbour: 10000001 is above 10000000 (packets per second and worker)\n" +
				"7: slow_path.rates.arp: is an unknown key; want one of neighbour, routing, local, multicast, options, extension, ethertype, slow_route", "SP-4"},
	})
}
