package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// examplesDir is where Debian's dpdk-doc puts the source of DPDK's examples.
const examplesDir = "/usr/share/dpdk/examples"

// ErrNoExamples is wrapped by the error of Run with peers on a machine without
// the source of DPDK's examples.
var ErrNoExamples = errors.New("the source of DPDK's examples is not installed: it comes with the package dpdk-doc (make deps, or apt-get install dpdk-doc)")

// example is a program among DPDK's examples, built on the spot: the source stays
// where the package put it, a copy is patched and compiled.
type example struct {
	name    string
	sources []string
	edits   []edit
}

// edit replaces one text by another, everywhere in one file. A source in which the
// text does not occur exactly count times is not the one this was written for.
type edit struct {
	file, old, new string
	count          int
}

// mbufsVariable tells the patched examples how large their pool shall be: net_pcap
// with infinite_rx keeps every frame of its capture in an mbuf.
const mbufsVariable = "PEER_MBUFS"

// Both programs ask for offloads that net_pcap has not and that make its
// configuration fail. l3fwd then has no checksum verified, as on a NIC without the
// offload; ip_fragmentation leaves the checksums of its fragments zero.
//
// What limits the load is raised: mbufs and routes. l3fwd's table of exact matches
// holds four million entries as it is. Bursts are as ours and testpmd's.
var examples = []example{
	{
		name: "l3fwd",
		sources: []string{"main.c", "l3fwd_acl.c", "l3fwd_lpm.c", "l3fwd_fib.c", "l3fwd_em.c",
			"l3fwd_event.c", "l3fwd_event_generic.c", "l3fwd_event_internal_port.c"},
		edits: []edit{
			{"main.c", ".mq_mode = RTE_ETH_MQ_RX_RSS", ".mq_mode = RTE_ETH_MQ_RX_NONE", 1},
			{"main.c", ".offloads = RTE_ETH_RX_OFFLOAD_CHECKSUM", ".offloads = 0", 1},
			{"main.c", ".rss_hf = RTE_ETH_RSS_IP", ".rss_hf = 0", 1},
			{"main.c", "(unsigned)8192)", `(unsigned)atoi(getenv("` + mbufsVariable + `")))`, 1},
			{"l3fwd.h", "#define MAX_PKT_BURST     32", fmt.Sprintf("#define MAX_PKT_BURST     %d", burst), 1},
			{"l3fwd_fib.c", "max_routes = (1 << 16)", "max_routes = (1 << 20)", 2},
			{"l3fwd_fib.c", "config.trie.num_tbl8 = (1 << 15)", "config.trie.num_tbl8 = (1 << 18)", 1},
			{"l3fwd_fib.c", "route_base_v4[i].if_out);\n\n\t\tif", distinctHop("route_base_v4") + "\n\n\t\tif", 1},
			{"l3fwd_fib.c", "route_base_v6[i].if_out);\n\n\t\tif", distinctHop("route_base_v6") + "\n\n\t\tif", 1},
			{"l3fwd_fib.c", "hops[i] = nh != FIB_DEFAULT_HOP ? nh : portid", "hops[i] = nh != FIB_DEFAULT_HOP ? nh & 0xff : portid", 1},
		},
	},
	{
		name:    "ip_fragmentation",
		sources: []string{"main.c"},
		edits: []edit{
			{"main.c", "RTE_ETH_RX_OFFLOAD_CHECKSUM |", "0 |", 1},
			{"main.c", "RTE_ETH_RX_OFFLOAD_SCATTER", "0", 1},
			{"main.c", "RTE_ETH_TX_OFFLOAD_IPV4_CKSUM |", "0 |", 1},
			{"main.c", "RTE_ETH_TX_OFFLOAD_MULTI_SEGS", "0", 1},
			{"main.c", "ret = rte_eth_dev_set_mtu(portid, local_port_conf.rxmode.mtu)", "ret = 0", 1}, // net_pcap has no MTU
			{"main.c", "{RTE_IPV4(100,20,0,0), 16, 1}", "{RTE_IPV4(80,0,0,0), 4, 1}", 1},              // serverNet
			{"main.c", "#define NB_MBUF   8192", `#define NB_MBUF   atoi(getenv("` + mbufsVariable + `"))`, 1},
			{"main.c", "#define	IPV4_MTU_DEFAULT	RTE_ETHER_MTU", fmt.Sprintf("#define	IPV4_MTU_DEFAULT	%d", narrowMTUBytes), 1},
			{"main.c", "#define MAX_PKT_BURST	32", fmt.Sprintf("#define MAX_PKT_BURST	%d", burst), 1},
		},
	},
}

// distinctHop is the next hop that l3fwd gives to rte_fib with a patched route: its port,
// and above that as many numbers in turn as our routes have neighbours. rte_fib leaves a
// route out of the lookup's tables if a shorter one has the same next hop: with one port
// for all, and a default route, that is every one of them.
func distinctHop(routes string) string {
	return fmt.Sprintf("%s[i].if_out | i %% %d << 8);", routes, nextHops)
}

// build copies, patches and compiles an example and returns the program's path.
// from holds all examples, dir takes what is made.
func (e *example) build(ctx context.Context, from, dir string) (program string, err error) {
	if err := os.CopyFS(filepath.Join(dir, e.name), os.DirFS(filepath.Join(from, e.name))); err != nil {
		return "", fmt.Errorf("bench: build %s: %w", e.name, errors.Join(ErrNoExamples, err))
	}
	for _, edit := range e.edits {
		if err := edit.apply(filepath.Join(dir, e.name)); err != nil {
			return "", fmt.Errorf("bench: patch %s: %w", e.name, err)
		}
	}
	program = filepath.Join(dir, e.name, e.name)
	sources := make([]string, len(e.sources))
	for i, name := range e.sources {
		sources[i] = filepath.Join(dir, e.name, name)
	}
	return program, compile(ctx, program, sources, "-DALLOW_EXPERIMENTAL_API", "-I"+filepath.Join(from, "common"))
}

func (e *edit) apply(dir string) error {
	path := filepath.Join(dir, e.file)
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if n := bytes.Count(text, []byte(e.old)); n != e.count {
		return fmt.Errorf("%s has %q %d times, not %d: it is not the source of DPDK 22.11, for which the patches in bench/patch.go were written", e.file, e.old, n, e.count)
	}
	return os.WriteFile(path, bytes.ReplaceAll(text, []byte(e.old), []byte(e.new)), 0o600)
}

// compile makes a program of C sources and DPDK's shared libraries, with the
// optimisation that DPDK's examples ask for, for this machine's processor.
func compile(ctx context.Context, program string, sources []string, flags ...string) error {
	var words [2][]string
	for i, what := range []string{"--cflags", "--libs"} {
		out, err := exec.CommandContext(ctx, "pkg-config", what, "libdpdk").Output()
		if err != nil {
			return fmt.Errorf("bench: pkg-config %s libdpdk (the package libdpdk-dev): %w", what, err)
		}
		words[i] = strings.Fields(string(out))
	}
	args := append([]string{"-O3", "-w"}, words[0]...)
	args = append(append(args, "-march=native", "-o", program), flags...)
	args = append(append(args, sources...), words[1]...)
	if out, err := exec.CommandContext(ctx, "cc", args...).CombinedOutput(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("bench: compile %s: %w: %s", filepath.Base(program), err, complaint(string(out)))
	}
	return nil
}
