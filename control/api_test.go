package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ask sends one request over the control socket.
func ask(t *testing.T, s *Switch, method, path, body string) (int, string) {
	t.Helper()
	socket := s.Config().Control.Socket
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequest(method, "http://ffwd"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text)
}

func TestAPI(t *testing.T) {
	s := startTest(t, twoPorts)
	for _, tc := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v1/ports", "", 200, `"name":"lan.7","index":2,"vlan":7,"vrf":3`},
		{"GET", "/v1/workers", "", 200, `{"name":"parse","cycles_per_packet":`},
		{"GET", "/v1/drops", "", 200, `"drops":{`},
		{"GET", "/v1/mirror", "", 200, `"on":false,"because":"slow_path.enabled is off"`},
		{"GET", "/v1/punts", "", 200, `{"on":false,"because":"slow_path.enabled is off","netns":"","from_kernel":0,"punts":[],"twins":[]}`},
		{"GET", "/v1/flows", "", 200, `{"flows":[],"next":""}`},
		{"GET", "/v1/flows?after=0:99", "", 200, `{"flows":[],"next":""}`},
		{"GET", "/v1/flows?after=65535:4294967295", "", 200, `{"flows":[],"next":""}`},
		{"GET", "/v1/flows?after=x", "", 400, `{"error":"after: `},
		{"GET", "/v1/flows?proto=tcp&src=10.0.0.0/8&dst=10.0.0.1&sport=1&dport=2&zone=0&mark=1/1&state=established&family=ipv4&reply_src=10.0.0.1&reply_dst=10.0.0.0/8&reply_sport=2&reply_dport=1&packets=1&bytes=-0&reply_packets=2-&reply_bytes=1-18446744073709551615&age=1h-", "", 200, `{"flows":[],"next":""}`},
		{"GET", "/v1/flows?proto=tpc", "", 400, `{"error":"proto: `},
		{"GET", "/v1/flows?src=10.0.0", "", 400, `{"error":"src: `},
		{"GET", "/v1/flows?dport=65536", "", 400, `{"error":"dport: `},
		{"GET", "/v1/flows?mark=2/1", "", 400, `{"error":"mark: `},
		{"GET", "/v1/flows?state=OPEN", "", 400, `{"error":"state: `},
		{"GET", "/v1/flows?family=4", "", 400, `{"error":"family: `},
		{"GET", "/v1/flows?packets=x-2", "", 400, `{"error":"packets: `},
		{"GET", "/v1/flows?bytes=3-2", "", 400, `{"error":"bytes: `},
		{"GET", "/v1/flows?reply_packets=-", "", 400, `{"error":"reply_packets: `},
		{"GET", "/v1/flows?reply_bytes=1-2-3", "", 400, `{"error":"reply_bytes: `},
		{"GET", "/v1/flows?age=5s--9s", "", 400, `{"error":"age: `},
		{"GET", "/v1/flows?age=5s", "", 400, `{"error":"age: `},
		{"GET", "/v1/flows/count", "", 200, `{"flows":0}`},
		{"POST", "/v1/flows/delete", "", 400, `{"error":"no filter`},
		{"POST", "/v1/flows/delete?all=1", "", 200, `{"flows":0}`},
		{"POST", "/v1/flows/events", "", 405, `{"error":"`},
		{"GET", "/v1/flows/events?zone=x", "", 400, `{"error":"zone: `},
		{"GET", "/v1/flows?limit=0", "", 400, `{"error":"limit: `},
		{"GET", "/v1/flows?limit=10001", "", 400, `{"error":"limit: `},
		{"GET", "/v1/routes?limit=2", "", 200, `"next":"0:10.1.1.0/24"`},
		{"GET", "/v1/routes?after=0:10.1.1.0/24&limit=1", "", 200, `[{"vrf":0,"prefix":"10.1.1.1/32","origin":"local"`},
		{"GET", "/v1/routes?after=0:ffff::/16&limit=1", "", 200, `"next":"3:10.1.1.0/24"`},
		{"GET", "/v1/routes?after=3:&limit=1", "", 200, `"next":"3:10.1.1.0/24"`},
		{"GET", "/v1/routes?after=3:ffff::/16", "", 200, `{"routes":[],"next":""}`},
		{"GET", "/v1/routes?after=0:0.0.0.0/0&vrf=3", "", 400, `after: `},
		{"GET", "/v1/routes?after=1", "", 400, `after: `},
		{"GET", "/v1/routes?prefix=10.0.0.0/7&origin=connected&vrf=0", "", 200, `"prefix":"10.2.2.0/24"`},
		{"GET", "/v1/routes?prefix=10.1.1.1/8", "", 400, `prefix: `},
		{"GET", "/v1/routes?origin=bgp", "", 400, `none of local, connected`},
		{"GET", "/v1/routes?to=192.0.2.1&vrf=0", "", 200, `[{"vrf":0,"prefix":"0.0.0.0/0","origin":"route"`},
		{"GET", "/v1/routes?to=fe80::1%25lo", "", 400, `to: `},
		{"GET", "/v1/routes?vrf=3", "", 200, `"vrf":3,"prefix":"10.1.1.0/24"`},
		{"GET", "/v1/routes?vrf=4", "", 404, `no VRF 4: there are [0 3]`},
		{"GET", "/v1/rules", "", 200, `"defaults":[{"hook":"in","action":"accept","packets":0,`},
		{"GET", "/v1/rules?from=-1", "", 400, `from: `},
		{"GET", "/v1/rules?from=99", "", 200, `"rules":[],"next":0`},
		{"GET", "/v1/config", "", 200, `"huge_pages":"off"`},
		{"GET", "/v1/config?format=toml", "", 200, "[[ports]]\nname = \"lan\""},
		{"GET", "/v1/config?format=yaml", "", 400, `neither json nor toml`},
		{"GET", "/v1/report", "", 200, `"clock_hz":`},
		{"POST", "/v1/ports", "", 405, `takes GET only`},
		{"POST", "/v1/flows/stream", "", 405, `takes GET only`},
		{"GET", "/v1/ports?limit=1", "", 400, `limit: /v1/ports has no parameters`},
		{"GET", "/v1/routes?vrf=0&via=10.1.1.1", "", 400, `via: no such parameter: /v1/routes has limit, after, vrf, prefix, origin, to`},
		{"GET", "/v1/rules?from=0&from=1", "", 400, `from: given 2 times`},
		{"GET", "/v1/config?format=", "", 400, `format: is empty`},
		{"GET", "/v1/flows?after=0:0;limit=1", "", 400, `query: `},
		{"GET", "/v1/flows/stream?fmt=text", "", 400, `fmt: no such parameter`},
		{"GET", "/v1/flows/events?limit=1", "", 400, `limit: no such parameter`},
		{"POST", "/v1/flows/delete?all=1&sorce=10.0.0.1", "", 400, `sorce: no such parameter`},
		{"POST", "/v1/flows/delete?all=yes", "", 400, `all: `},
		{"POST", "/v1/flows/delete?all=false", "", 400, `no filter`},
		{"POST", "/v1/timeouts/set?overwrite=true", "{}", 400, `overwrite: no such parameter`},
		{"POST", "/v1/reload?file=x.toml", "", 400, `file: no such parameter`},
		{"GET", "/v1/reload", "", 405, `takes POST only`},
		{"GET", "/v2", "", 404, `no such path`},
		{"POST", "/v1/reload", "", 500, `was not started from a file`},
		{"POST", "/v1/reload?name=x.toml", "[nonsense", 422, `"file":"x.toml"`},
		{"POST", "/v1/reload", strings.Repeat("#", maxDocument+1), 413, `too large`},
		{"POST", "/v1/reload", string(s.Config().TOML()), 200, `"reload":null`},
		{"POST", "/v1/reload", strings.Replace(string(s.Config().TOML()), "burst = 64", "burst = 32", 1), 409, `"restart":[{"path":"workers.burst"`},
	} {
		status, text := ask(t, s, tc.method, tc.path, tc.body)
		if status != tc.status || !strings.Contains(text, tc.want) {
			t.Errorf("%s %s: %d %.300s, want %d with %s", tc.method, tc.path, status, text, tc.status, tc.want)
		}
		if !strings.Contains(tc.path, "format=toml") && !json.Valid([]byte(text)) {
			t.Errorf("%s %s: no JSON: %.300s", tc.method, tc.path, text)
		}
	}
}

// Clients that connect and say nothing hold up neither others nor the end.
func TestSilentClients(t *testing.T) {
	s := startTest(t, twoPorts)
	for range maxClients - 1 {
		c, err := net.Dial("unix", s.Config().Control.Socket)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	if status, _ := ask(t, s, "GET", "/v1/drops", ""); status != 200 {
		t.Errorf("status %d", status)
	}
	start := time.Now()
	if err := s.Stop(context.Background()); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took > stopTimeout {
		t.Errorf("the end took %v", took)
	}
}

func TestSocketFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a", "b", "ffwd.sock")
	l, err := listenUnix("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 || info.Mode().Type() != fs.ModeSocket {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := listenUnix("unix", path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second listener: %v", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	l.Close()
	if l, err = listenUnix("unix", path); err != nil {
		t.Fatalf("a stale socket is not replaced: %v", err)
	}
	l.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix("unix", path); err == nil || !strings.Contains(err.Error(), "is no socket") {
		t.Errorf("a file: %v", err)
	}
}

// A listener that is too busy to answer still has its socket.
func TestBusySocketIsNotStale(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ffwd.sock")
	listener, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(listener)
	if err := errors.Join(syscall.Bind(listener, &syscall.SockaddrUnix{Name: path}), syscall.Listen(listener, 0)); err != nil {
		t.Fatal(err)
	}
	for err := error(nil); err == nil; { // fill its backlog
		client, _ := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK, 0)
		defer syscall.Close(client)
		err = syscall.Connect(client, &syscall.SockaddrUnix{Name: path})
	}
	if _, err := listenUnix("unix", path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second listener: %v", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
}

// Pages of any size, put together, are the whole listing, over all tables.
func TestRoutePages(t *testing.T) {
	s := startTest(t, twoPorts)
	pages := func(limit int, filter string) (all []RouteStatus) {
		for after := ""; ; {
			status, text := ask(t, s, "GET", fmt.Sprintf("/v1/routes?limit=%d&after=%s%s", limit, after, filter), "")
			var list RouteList
			if err := json.Unmarshal([]byte(text), &list); status != 200 || err != nil {
				t.Fatalf("status %d, %v: %s", status, err, text)
			}
			all = append(all, list.Routes...)
			if after = list.Next; after == "" {
				return all
			}
		}
	}
	for filter, least := range map[string]int{"": 10, "&vrf=3": 3, "&origin=local": 5, "&prefix=10.1.0.0/16": 5} {
		whole := pages(maxLimit, filter)
		if len(whole) < least {
			t.Fatalf("%s: %d routes, want %d or more", filter, len(whole), least)
		}
		for limit := 1; limit < len(whole)+2; limit++ {
			if got := pages(limit, filter); !reflect.DeepEqual(got, whole) {
				t.Errorf("%s: by %d:\n%v, want\n%v", filter, limit, got, whole)
			}
		}
	}
}
