package pmd

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
)

// memifRuns numbers devices of net_memif, which stay until the process ends.
var memifRuns atomic.Int32

// memifPair returns the device strings of two ends of one memif over a socket of its own:
// others on this machine may be testing too.
func memifPair(args string) (server, client string) {
	run := memifRuns.Add(2)
	args = fmt.Sprintf(",socket-abstract=yes,socket=ffwd-%d-%d%s", os.Getpid(), run, args)
	return fmt.Sprintf("net_memif%d,role=server%s", run, args), fmt.Sprintf("net_memif%d,role=client%s", run+1, args)
}

// awaitLinks waits until all links are as told.
func awaitLinks(t *testing.T, up bool, ports ...*Port) {
	t.Helper()
	for _, p := range ports {
		eventually(t, fmt.Sprintf("link of %s is up: %v", p.Name(), up), func() bool {
			link, err := p.Link()
			if err != nil && link != (Link{}) {
				t.Fatal(err)
			}
			return link.Up == up
		})
	}
}

// A frame crosses memif in several of its buffers, and arrives in one of ours.
func TestMemoryInterface(t *testing.T) {
	checkPools(t)
	serverDevice, clientDevice := memifPair(",bsize=512")
	server := openPort(t, PortConfig{Name: "server", Device: serverDevice})
	client := openPort(t, PortConfig{Name: "client", Device: clientDevice})
	awaitLinks(t, true, server, client)
	exchange(t, client, server, 60)
	exchange(t, client, server, 1514)
	exchange(t, server, client, 1514)

	if err := server.Close(); err != nil {
		t.Fatal(err)
	}
	_, err := testRuntime.Open(PortConfig{Name: "again", Device: serverDevice, RxQueues: 1, TxQueues: 1})
	wantRefusal(t, err, fs.ErrExist, "port again: ", "port server", "another number")
}

// A client whose server is not there waits for it; when one comes, or comes again, there is
// a link.
func TestMemoryInterfaceRedials(t *testing.T) {
	checkPools(t)
	_, lonely := memifPair("")
	alone := openPort(t, PortConfig{Name: "alone", Device: lonely})
	alone.dialed = alone.dialed.Add(-dialInterval)
	_, err := alone.Link()
	wantRefusal(t, err, nil, "port alone: link: no peer yet", "Failed to connect socket")
	array, _ := mbufArray(t, burst)
	if n := alone.RxQueues()[0].Rx(array, burst); n != 0 {
		t.Errorf("received %d frames from nobody", n)
	}

	serverDevice, clientDevice := memifPair("")
	server := openPort(t, PortConfig{Name: "server", Device: serverDevice})
	client := openPort(t, PortConfig{Name: "client", Device: clientDevice})
	for range 2 {
		awaitLinks(t, true, client, server)
		exchange(t, client, server, 60)
		exchange(t, server, client, 60)
		if err := server.Stop(); err != nil {
			t.Fatal(err)
		}
		awaitLinks(t, false, client)
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
	}
}

// A peer that goes takes the rings along that bursts are reading and writing.
func TestMemoryInterfaceLosesItsPeerAmidBursts(t *testing.T) {
	checkPools(t)
	serverDevice, clientDevice := memifPair("")
	server := openPort(t, PortConfig{Name: "server", Device: serverDevice})
	client := openPort(t, PortConfig{Name: "client", Device: clientDevice})
	var running sync.WaitGroup
	var done atomic.Bool
	var sent atomic.Int64
	for _, way := range [][2]*Port{{server, server}, {client, client}} {
		array, mbufs := mbufArray(t, burst)
		running.Go(func() {
			pool, rx, tx := testRuntime.Pool(0), way[0].RxQueues()[0], way[1].TxQueues()[0]
			for !done.Load() {
				n := rx.Rx(array, burst)
				pool.Free(array, n)
				if !pool.Alloc(array, burst) {
					continue
				}
				for _, m := range mbufs[:burst] {
					m.DataLen, m.PktLen = 1500, 1500
				}
				n = tx.Tx(array, burst)
				sent.Add(int64(n))
				copy(mbufs, mbufs[n:burst]) // what it did not take is at the end
				pool.Free(array, burst-n)
			}
		})
	}
	for range 30 {
		awaitLinks(t, true, server, client)
		before := sent.Load()
		eventually(t, "frames flow", func() bool { return sent.Load() > before+4*burst })
		if err := client.Stop(); err != nil {
			t.Error(err)
		}
		awaitLinks(t, false, server)
		if err := client.Start(); err != nil {
			t.Error(err)
		}
	}
	done.Store(true)
	running.Wait()
}

// What a killed process left of its socket is no obstacle; one that somebody has is, and
// hears nothing of it.
func TestServerSockets(t *testing.T) {
	checkPools(t)
	memif := func() string {
		return fmt.Sprintf("net_memif%d,role=server,socket-abstract=no,socket=", memifRuns.Add(2))
	}
	for _, device := range []func() string{memif, func() string { return "net_vhost0,iface=" }} {
		dir := t.TempDir()
		path := filepath.Join(dir, "s")
		open := func(path string) error {
			p, err := testRuntime.Open(PortConfig{Name: "peer", Device: device() + path, RxQueues: 1, TxQueues: 1})
			if err == nil {
				err = p.Close()
			}
			return err
		}
		listener, err := net.ListenUnix("unixpacket", &net.UnixAddr{Net: "unixpacket", Name: path})
		if err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, open(path), fs.ErrExist, "port peer: socket "+path+" is in use by another process", "choose another path")
		listener.SetUnlinkOnClose(false)
		listener.Close()
		if _, err := os.Lstat(path); err != nil {
			t.Fatal(err)
		}
		if err := open(path); err != nil {
			t.Error(err)
		}
		if err := os.WriteFile(dir+"/file", nil, 0o600); err != nil {
			t.Fatal(err)
		}
		wantRefusal(t, open(dir+"/file"), nil, "is no socket")
		wantRefusal(t, open(dir+"/none/s"), fs.ErrNotExist, "/none", "make the directory")
	}
}
