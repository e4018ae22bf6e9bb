#!/usr/bin/env bash
# Two hosts in network namespaces, joined by ffwd in a third: ping and iperf3.
#
#   client 10.1.1.2 -- veth -- [lan] ffwd [wan] -- veth -- 10.2.2.2 server
#
# usage: sudo examples/namespaces.sh [CONFIG]       (default: the af_packet sample)
# Makes its own namespaces and removes them at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
config=${1:-conf/samples/namespaces-af_packet.toml}
[ "$(id -u)" = 0 ] || { echo "making namespaces needs root" >&2; exit 1; }
for c in ip ethtool ping iperf3; do command -v "$c" >/dev/null || { echo "no $c here: run 'make deps' first" >&2; exit 1; }; done
[ -r "$config" ] || { echo "cannot read $config" >&2; exit 1; }
[ -x bin/ffwd ] || { echo "run 'make build' first" >&2; exit 1; }
client=ffwd-client-$$ router=ffwd-router-$$ server=ffwd-server-$$
pids=()
cleanup() {
  for p in "${pids[@]}"; do kill "$p" 2>/dev/null && wait "$p" 2>/dev/null || true; done
  for n in $client $router $server; do ip netns del "$n" 2>/dev/null || true; done
}
trap cleanup EXIT

for n in $client $router $server; do ip netns add "$n"; ip -n "$n" link set lo up; done
# host NAMESPACE INTERFACE PORT MTU MAC ADDRESS GATEWAY ADDRESS6 GATEWAY6 GATEWAY-MAC
host() {
  ip link add "$2" netns "$1" mtu "$4" type veth peer name "$3" netns $router mtu "$4"
  ip netns exec $router sysctl -qw "net.ipv6.conf.$3.disable_ipv6=1"
  # veth leaves checksums and segmentation to hardware that is not there.
  ip netns exec "$1" ethtool -K "$2" rx off tx off sg off tso off gso off gro off >/dev/null
  ip netns exec $router ethtool -K "$3" rx off tx off sg off tso off gso off gro off >/dev/null
  ip -n "$1" link set "$2" address "$5" up
  ip -n $router link set "$3" up
  ip -n "$1" address add "$6" dev "$2"
  ip -n "$1" address add "$8" dev "$2" nodad
  ip -n "$1" neigh add "$7" dev "$2" lladdr "${10}" nud permanent
  ip -n "$1" neigh add "$9" dev "$2" lladdr "${10}" nud permanent
  ip -n "$1" route add default via "$7"
  ip -n "$1" -6 route add default via "$9"
}
mtu() { sed -n "/name = \"$1\"/,/^\[\[/s/^mtu = //p" "$config" | grep . || echo 1500; }
host $client eth0 ffwd-lan "$(mtu lan)" 02:00:00:00:01:02 10.1.1.2/24 10.1.1.1 fd01:1::2/64 fd01:1::1 02:00:00:00:01:01
host $server eth0 ffwd-wan "$(mtu wan)" 02:00:00:00:02:02 10.2.2.2/24 10.2.2.1 fd01:2::2/64 fd01:2::1 02:00:00:00:02:01

ip netns exec $router bin/ffwd run -c "$config" --json >/dev/null &
pids+=($!)
for _ in $(seq 50); do
  ip netns exec $client ping -nqc1 -W1 10.2.2.2 >/dev/null 2>&1 && break
  sleep 0.1
done
ip netns exec $client ping -nc3 -i0.2 10.2.2.2
ip netns exec $client ping -nc3 -i0.2 fd01:2::2
ip netns exec $server iperf3 -s -1 >/dev/null &
pids+=($!)
for _ in $(seq 50); do ip netns exec $server ss -Hltn 'sport = 5201' | grep -q . && break; sleep 0.1; done
ip netns exec $client iperf3 -c 10.2.2.2 -t 3
