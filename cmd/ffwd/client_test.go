package main

import (
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// dialFault is a transport on which no connection comes to be.
type dialFault struct{ errno unix.Errno }

func (d dialFault) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.OpError{Op: "dial", Net: "unix", Err: os.NewSyscallError("connect", d.errno)}
}

// Who may not use the socket is told so, and not to look whether a switch runs.
func TestWhyNoSwitchAnswers(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.EACCES:       "/x.sock is not yours to use",
		unix.ENOENT:       "no switch answers at /x.sock (connect: no such file or directory): is it running?",
		unix.ECONNREFUSED: "no switch answers at /x.sock (connect: connection refused): is it running?",
	} {
		c := client{socket: "/x.sock", http: http.Client{Transport: dialFault{errno}}}
		if err := c.get("/v1/report", nil, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}
