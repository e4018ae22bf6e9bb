package ct

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ffwd/epoch"
	"ffwd/packet"
)

var udpPolicy = Kind{family4, packet.ProtoUDP}

// policyTable is a table whose flows may take policies, and a policy "p" of ten
// seconds with its index.
func policyTable(t testing.TB, r Retirer) (*Policies, *Table, uint16) {
	t.Helper()
	ps, err := NewPolicies(DefaultTimeouts(), r)
	if err != nil {
		t.Fatal(err)
	}
	table, err := New(Options{MaxFlows: 1000, MaxFlowsIPv6: 1000, Secret: NewSecret(), Policies: ps})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(table.Close(), ps.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := ps.Add(Policy{Name: "p", Kind: udpPolicy}, modelRow(10), false); err != nil {
		t.Fatal(err)
	}
	_, index, _ := ps.Find("p")
	return ps, table, index
}

// enter confirms a new flow that a rule gave the policy.
func enter(t testing.TB, table *Table, ps *Policies, of tuple, policy uint16, nowNs int64) *Flow {
	t.Helper()
	var p packet.Packet
	load(&p, &table.secret, of, 0, tcp(packet.TCPSyn)...)
	p.State = packet.CtNew
	table.Attach(&p, policy)
	if !table.Confirm(&p, nowNs, ps.Timeouts()) {
		t.Fatal("refused")
	}
	return table.Flow(p.Flow)
}

// TO-1, TO-3: a policy is for the flows of one family and protocol; generic stands
// for all protocols that have no tracker.
func TestPolicyFitsItsKind(t *testing.T) {
	ps, table, _ := policyTable(t, &epoch.Domain{})
	kinds := []Kind{}
	for _, family := range []uint8{family4, family6} {
		for _, protocol := range []uint8{packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP, packet.ProtoGRE, GenericProtocol} {
			kinds = append(kinds, Kind{family, protocol})
		}
	}
	for i, k := range kinds {
		if err := ps.Add(Policy{Name: fmt.Sprint(i), Kind: k}, modelRow(10), false); err != nil {
			t.Fatal(err)
		}
	}
	for _, v6 := range []bool{false, true} {
		for _, proto := range []uint8{packet.ProtoTCP, packet.ProtoUDP, packet.ProtoSCTP, packet.ProtoGRE, 50, 89} {
			of, want := udp4(1), Kind{family4, proto}
			if v6 {
				of, want.Family = udp6(1), family6
			}
			if of.proto = proto; !tracked(proto) {
				want.Protocol = GenericProtocol
			}
			for i, k := range kinds {
				_, index, _ := ps.Find(fmt.Sprint(i))
				var p packet.Packet
				load(&p, &table.secret, of, 0)
				p.State = packet.CtNew
				if table.Attach(&p, index); (p.Policy == index) != (k == want) {
					t.Errorf("protocol %d ipv6 %v: policy of %v attached: %v", proto, v6, k, p.Policy == index)
				}
			}
		}
	}
}

// TO-3: only a packet that may start a flow takes a policy.
func TestPolicyIsForNewFlows(t *testing.T) {
	_, table, index := policyTable(t, &epoch.Domain{})
	for state := range packet.CtUntracked + 1 {
		var p packet.Packet
		load(&p, &table.secret, udp4(1), 0)
		p.State = state
		if table.Attach(&p, index); (p.Policy != 0) != (state == packet.CtNew) {
			t.Errorf("%v: policy %d", state, p.Policy)
		}
	}
	p := packet.Packet{Head: packet.Head{State: packet.CtNew, Flow: 7, Proto: packet.ProtoUDP}} // new, but its flow is there
	if table.Attach(&p, index); p.Policy != 0 {
		t.Error("a flow that is there took a policy")
	}
}

// TO-4, TO-6: the last reference does not free a row that a worker may still have
// read from, and nothing revives the object meanwhile.
func TestPolicyIsFreedBehindTheWorkers(t *testing.T) {
	var domain epoch.Domain
	ps, table, index := policyTable(t, &domain)
	stalled := domain.Join()
	stalled.Online()
	if err := ps.Delete("p"); err != nil {
		t.Fatal(err)
	}
	if waiting := ps.Reclaim(); waiting != 0 {
		t.Fatalf("%d references", waiting)
	}
	domain.Reclaim()
	if ps.objects[index] == nil || ps.rows[index] != *modelRow(10) {
		t.Fatal("freed under the eyes of a worker")
	}
	if f := enter(t, table, ps, udp4(1), index, 0); f.policy != 0 {
		t.Error("a dead policy was revived by a flow")
	}
	p := packet.Packet{Policy: index}
	if table.HoldPolicy(&p); p.Policy != 0 {
		t.Error("a dead policy was revived by a queued packet")
	}
	if err := ps.Add(Policy{Name: "p", Kind: udpPolicy}, modelRow(20), false); err != nil {
		t.Fatal(err)
	}
	if _, other, _ := ps.Find("p"); other == index {
		t.Fatal("its index was given away")
	}
	stalled.Quiescent()
	domain.Reclaim()
	if ps.objects[index] != nil || ps.rows[index] != ps.rows[0] {
		t.Fatal("not freed behind the worker")
	}
}

// TO-5, TO-8: a flow whose policy was taken away has a timeout at every moment, and
// is of the common case again.
func TestDetachedFlow(t *testing.T) {
	ps, table, index := policyTable(t, &epoch.Domain{})
	f := enter(t, table, ps, udp4(1), index, 0)
	if f.policy != index || f.deadline != Tick(10*second) {
		t.Fatalf("%+v", *f)
	}
	if err := ps.Delete("p"); err != nil {
		t.Fatal(err)
	}
	set, some := ps.ToDetach()
	if from := table.Detach(&set, 0, 1<<20); !some || from != 0 || f.policy != 0 || f.deadline != Tick(10*second) {
		t.Fatalf("%v %d %+v", some, from, *f)
	}
	send(table, second, ps.Timeouts(), udp4(1))
	if f.deadline != Tick(second)+Tick(30*second) {
		t.Errorf("deadline %d is not that of the default", f.deadline)
	}
	if list := ps.List(); len(list) != 1 || list[0].References() != 0 {
		t.Errorf("%+v", list)
	}
}

// TO-2: new values are those of the next refresh, shorter ones too, which make the
// flow expire earlier than it was scheduled.
func TestReplacedValues(t *testing.T) {
	ps, table, index := policyTable(t, &epoch.Domain{})
	for i, seconds := range []int{10, 1000, 2} {
		if err := ps.Add(Policy{Name: "p", Kind: udpPolicy}, modelRow(seconds), true); err != nil {
			t.Fatal(err)
		}
		f := enter(t, table, ps, udp4(i), index, 0)
		send(table, 0, ps.Timeouts(), udp4(0))
		if first := table.Flow(1); f.deadline != Tick(int64(seconds)*second) || first.deadline != f.deadline {
			t.Errorf("%d s: deadlines %d and %d", seconds, f.deadline, first.deadline)
		}
	}
	if n := table.Expire(3*second, 1<<20); n != 2 {
		t.Errorf("%d flows expired, want the refreshed and the new one", n)
	}
}

// TO-1: the registry is bounded, and a refusal changes nothing.
func TestTooManyPolicies(t *testing.T) {
	var domain epoch.Domain
	ps, _, _ := policyTable(t, &domain)
	var err error
	n := 0
	for ; err == nil; n++ {
		err = ps.Add(Policy{Name: fmt.Sprint("n", n), Kind: udpPolicy}, modelRow(1), false)
	}
	if !errors.Is(err, ErrPoliciesFull) || n != MaxPolicies-1 || len(ps.List()) != MaxPolicies-1 {
		t.Fatalf("%v after %d", err, n)
	}
	if names := ps.DeleteAll(); len(names) != MaxPolicies-1 || len(ps.List()) != len(names) || !ps.List()[0].Draining {
		t.Fatalf("deleted %d", len(names))
	}
	ps.Reclaim()
	domain.Reclaim()
	if err := ps.Add(Policy{Name: "p", Kind: udpPolicy}, modelRow(1), false); err != nil || len(ps.List()) != 1 {
		t.Fatal(err)
	}
}

// Workers refresh flows while control changes values and defaults: under -race, and
// each value seen is one that was set.
func TestValuesChangeUnderWorkers(t *testing.T) {
	ps, table, index := policyTable(t, &epoch.Domain{})
	flows := []*Flow{enter(t, table, ps, udp4(1), index, 0), enter(t, table, ps, udp4(2), 0, 0)}
	var stop atomic.Bool
	var control sync.WaitGroup
	control.Go(func() {
		for i := 0; !stop.Load(); i++ {
			seconds := 10 + i%2*10
			if err := ps.Add(Policy{Name: "p", Kind: udpPolicy, Values: map[string]time.Duration{"all": time.Duration(seconds)}}, modelRow(seconds), true); err != nil {
				t.Error(err)
			}
			ps.SetDefaults(modelRow(30+i%2*10), func(*Policy) *Timeouts { return modelRow(seconds) })
			ps.List()
		}
	})
	for range 20_000 {
		send(table, 0, ps.Timeouts(), udp4(1))
		send(table, 0, ps.Timeouts(), udp4(2))
		if d := flows[0].deadline; d != Tick(10*second) && d != Tick(20*second) {
			t.Fatalf("deadline %d with a policy", d)
		}
		if d := flows[1].deadline; d != Tick(30*second) && d != Tick(40*second) {
			t.Fatalf("deadline %d without", d)
		}
	}
	stop.Store(true)
	control.Wait()
}

// TO-7: policies with a name come first, by name, and then those that are draining.
func TestListedInOrder(t *testing.T) {
	ps, err := NewPolicies(DefaultTimeouts(), atOnce{})
	if err != nil {
		t.Fatal(err)
	}
	defer ps.Close()
	for _, name := range []string{"c", "a", "d", "b"} {
		if err := ps.Add(Policy{Name: name, Kind: Kind{family4, 6}}, DefaultTimeouts(), false); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"c", "a"} {
		if err := ps.Delete(name); err != nil {
			t.Fatal(err)
		}
	}
	var got string
	for _, p := range ps.List() {
		got += p.Name
	}
	if got != "bdac" {
		t.Errorf("listed as %s, want bdac", got)
	}
}

type atOnce struct{}

func (atOnce) Retire(free func()) { free() }
