package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// CT-10: what the switch tracks is listed, counted and deleted by filters.
func TestCt(t *testing.T) {
	b := newBed(t)
	config := b.config("c.toml")
	p := b.start(config)
	b.awaitReceived(bedPackets)
	run := func(want int, args ...string) string {
		t.Helper()
		r := call(t, append(append([]string{"ct"}, args...), "-c", config)...)
		if r.code != want {
			t.Errorf("ct %v: exit code %d, want %d:\n%s%s", args, r.code, want, r.stdout, r.stderr)
		}
		return r.stdout
	}
	lines := strings.Split(strings.TrimSpace(run(exitOK, "list")), "\n")
	if len(lines) != bedFlows || !strings.HasPrefix(lines[0], "ipv4     2 udp      17 ") || !strings.Contains(lines[0], " [UNREPLIED] src=") {
		t.Errorf("%d lines, the first: %s", len(lines), lines[0])
	}
	if out := run(exitOK, "list", "--limit", "3", "--json"); strings.Count(out, `"protocol":"udp"`) != 3 {
		t.Errorf("3 flows: %s", out)
	}
	if out := run(exitOK, "count"); strings.TrimSpace(out) != "100" {
		t.Errorf("count: %s", out)
	}
	if out := run(exitOK, "count", "--proto", "tcp"); strings.TrimSpace(out) != "0" {
		t.Errorf("count of TCP: %s", out)
	}
	if out := run(exitOK, "stats"); !regexp.MustCompile(`(?m)^ +IPv4 flows +100 +of 4096$`).MatchString(out) || !regexp.MustCompile(`(?m)^ +created +100$`).MatchString(out) {
		t.Errorf("stats:\n%s", out)
	}
	if out := run(exitOK, "stats", "--json"); !strings.Contains(out, `"created": 100,`) || !strings.Contains(out, `"seconds_until_full": `) {
		t.Errorf("stats: %s", out)
	}
	_, rest, _ := strings.Cut(lines[0], "sport=")
	port, _, _ := strings.Cut(rest, " ")
	_, rest, _ = strings.Cut(lines[0], "src=")
	src, _, _ := strings.Cut(rest, " ")
	if out := run(exitOK, "delete", "--src", src, "--sport", port); !strings.HasPrefix(out, "1 deleted") {
		t.Errorf("delete of %s port %s: %s", src, port, out)
	}
	run(exitUsage, "delete")
	run(exitUsage, "count", "--state", "OPEN")
	events := exec.Command(p.cmd.Path, "ct", "events", "--proto", "udp", "-c", config)
	out, err := events.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	events.Env = p.cmd.Env
	if err := events.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { events.Process.Kill(); events.Wait() }()
	seen := make(chan string, 2)
	read := func(from io.Reader) {
		line, _ := bufio.NewReader(from).ReadString('\n')
		seen <- line
	}
	go read(out)
	second := exec.Command(p.cmd.Path, "ct", "events", "-c", config) // at the same time
	other, err := second.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	second.Env = p.cmd.Env
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { second.Process.Kill(); second.Wait() }()
	go read(other)
	for lines := 0; lines < 2; { // one goes at a time until both readers are there
		if out := run(exitOK, "list", "--limit", "1"); out == "" {
			t.Fatal("all flows went, and no event came")
		} else {
			_, rest, _ := strings.Cut(out, "sport=")
			port, _, _ := strings.Cut(rest, " ")
			run(exitOK, "delete", "--sport", port)
		}
		select {
		case line := <-seen:
			lines++
			if !strings.HasPrefix(line, "[DESTROY] ipv4     2 udp ") {
				t.Errorf("event: %q", line)
			}
		default:
		}
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if r := p.wait(); r.code != exitOK {
		t.Errorf("exit code %d:\n%s", r.code, r.stderr)
	}
}

// CT-10: a listing that ends early is no listing: the command says so and fails.
func TestBrokenListing(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("{}\n"))
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})}
	go server.Serve(l)
	defer server.Close()
	for _, args := range [][]string{{"ct", "list"}, {"ct", "list", "--json"}, {"show", "flows"}} {
		r := call(t, append(args, "--socket", socket)...)
		if r.code != exitFault || !strings.Contains(r.stderr, "broke off") || strings.Contains(r.stdout, "]}") {
			t.Errorf("%v: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
}

// CT-10: every filter reaches the switch under the API's name, however its flag is spelt. One that got lost would
// choose more flows than was meant, to be deleted for instance.
func TestFiltersReachTheSwitch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan url.Values, 1)
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.Query()
		io.WriteString(w, "{}")
	})}
	go server.Serve(l)
	defer server.Close()
	for _, f := range flowFilters {
		for _, name := range []string{f[0], strings.ReplaceAll(f[0], "_", "-")} {
			for _, command := range []string{"count", "delete"} {
				c := root()
				c.SetOut(io.Discard)
				c.SetArgs([]string{"ct", command, "--socket", path, "--" + name + "=x"})
				if err := c.Execute(); err != nil {
					t.Fatal(err)
				}
				if q := <-asked; len(q) != 1 || q.Get(f[0]) != "x" {
					t.Errorf("%s --%s asks for %v", command, name, q)
				}
			}
		}
	}
}
