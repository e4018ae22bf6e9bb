package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ovsCt is OVS-DPDK with connection tracking.
const ovsCt = "ovs-ct"

// Where Debian's openvswitch-switch-dpdk and openvswitch-common put what is needed.
const (
	ovsVswitchd = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
	ovsSchema   = "/usr/share/openvswitch/vswitch.ovsschema"
)

// ovsMaxPackets is how long a capture may be: OVS makes a pool of 262,144 mbufs,
// whatever is asked for.
const ovsMaxPackets = 250_000

// ErrNoOVS is wrapped by the error of Run with OVS on a machine without it.
var ErrNoOVS = errors.New("OVS-DPDK is not installed: it comes with the package openvswitch-switch-dpdk (apt-get install openvswitch-switch-dpdk)")

// ovsFlows makes OVS do what we do with a flow: track it, commit it when it is new,
// decrement the TTL and rewrite the link header.
const ovsFlows = `table=0,priority=10,ip,actions=ct(table=1)
table=0,priority=0,actions=drop
table=1,priority=10,ip,ct_state=+trk+new,actions=ct(commit),resubmit(,2)
table=1,priority=10,ip,ct_state=+trk+est,actions=resubmit(,2)
table=1,priority=0,actions=drop
table=2,ip,actions=dec_ttl,mod_dl_src:02:00:00:00:00:02,mod_dl_dst:02:00:00:00:01:00,output:2
`

// ovs measures OVS-DPDK: a database and a switch of its own, in a directory and a
// network namespace of their own, gone with the processes.
func (p *processes) ovs(ctx context.Context, s *setup) (m sample, err error) {
	if !s.huge {
		return m, errors.New("OVS-DPDK needs huge pages: reserve some, or add --reserve-huge-pages")
	}
	if _, err := os.Stat(ovsVswitchd); err != nil {
		return m, errors.Join(ErrNoOVS, err)
	}
	dir, err := os.MkdirTemp(p.dir, "ovs-")
	if err != nil {
		return m, err
	}
	defer os.RemoveAll(dir)
	o := &openVswitch{dir: dir, env: append(os.Environ(), runtimeVariable+"="+dir,
		"OVS_RUNDIR="+dir, "OVS_LOGDIR="+dir, "OVS_DBDIR="+dir, "OVS_SYSCONFDIR="+dir)}
	defer func() { err = errors.Join(err, o.stop()) }()
	if m, err = o.measure(ctx, s); ctx.Err() != nil {
		return sample{}, ctx.Err()
	}
	return m, err
}

// openVswitch is a database server and a switch.
type openVswitch struct {
	dir      string
	env      []string
	children []*child
}

func (o *openVswitch) path(name string) string { return filepath.Join(o.dir, name) }

func (o *openVswitch) measure(ctx context.Context, s *setup) (sample, error) {
	database := "unix:" + o.path("db.sock")
	if err := o.run(ctx, "", "ovsdb-tool", "create", o.path("conf.db"), ovsSchema); err != nil {
		return sample{}, err
	}
	_, err := o.start(ctx, s, 0, "ovsdb-server", o.path("conf.db"), "--remote=p"+database, "--unixctl="+o.path("db.ctl"))
	if err != nil {
		return sample{}, err
	}
	if err := o.run(ctx, "", "ovs-vsctl", append([]string{"--db=" + database, "--retry", "--timeout=10", "--no-wait"}, ovsSettings(s)...)...); err != nil {
		return sample{}, err
	}
	vswitchd, err := o.start(ctx, s, syscall.CLONE_NEWNET, ovsVswitchd, database, "--unixctl="+o.path("v.ctl"))
	if err != nil {
		return sample{}, err
	}
	if err := o.run(ctx, "", "ovs-vsctl", append([]string{"--db=" + database, "--timeout=30"}, ovsBridge...)...); err != nil {
		return sample{}, err
	}
	if err := o.run(ctx, ovsFlows, "ovs-ofctl", "add-flows", o.path("br0.mgmt"), "-"); err != nil {
		return sample{}, err
	}
	return vswitchd.readings(o.dir, s.warmup, s.duration)
}

// ovsSettings are the arguments of ovs-vsctl that configure DPDK.
func ovsSettings(s *setup) []string {
	source, sink := s.devices()
	mask := func(cpu int) string { return fmt.Sprintf("%#x", uint64(1)<<cpu) }
	return []string{"init", "--", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
		"other_config:dpdk-lcore-mask=" + mask(mainCore(s.cores, 1+s.cores[0])),
		"other_config:pmd-cpu-mask=" + mask(s.cores[0]),
		"other_config:dpdk-extra=" + strconv.Quote("--no-pci --in-memory --vdev "+source+" --vdev "+sink)}
}

// ovsBridge are those that make the switch.
var ovsBridge = strings.Fields(`add-br br0 -- set bridge br0 datapath_type=netdev fail_mode=secure
	-- add-port br0 p0 -- set Interface p0 type=dpdk options:dpdk-devargs=net_pcap0 ofport_request=1
	-- add-port br0 p1 -- set Interface p1 type=dpdk options:dpdk-devargs=net_null0 ofport_request=2`)

// run runs a command to its end.
func (o *openVswitch) run(ctx context.Context, input, name string, args ...string) error {
	cmd, cancel := command(ctx, startLimit, name, args...)
	defer cancel()
	cmd.Env, cmd.Stdin = o.env, strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, notFound(err), complaint(string(out)))
	}
	return nil
}

func notFound(err error) error {
	if errors.Is(err, exec.ErrNotFound) {
		return errors.Join(ErrNoOVS, err)
	}
	return err
}

// start starts a daemon that is to run on, in new namespaces if flags say so.
func (o *openVswitch) start(ctx context.Context, s *setup, flags uintptr, name string, args ...string) (*child, error) {
	cmd, cancel := command(ctx, startLimit+s.warmup+s.duration+stopLimit, name, args...)
	cmd.Env = o.env
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Cloneflags = killSignal, flags
	c, err := start(cmd)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("%s: %w", name, notFound(err))
	}
	go func() { <-c.ended; cancel() }()
	o.children = append(o.children, c)
	return c, nil
}

// stop ends what was started, the last first.
func (o *openVswitch) stop() error {
	var errs []error
	for i := len(o.children) - 1; i >= 0; i-- {
		c := o.children[i]
		_ = c.Cancel()
		if err := c.finish(stopLimit); errors.Is(err, errNotQuit) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
