package pmd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// listensOn returns the path of the socket at which the device waits for its peer, or "".
func (d device) listensOn() string {
	value := func(name string) string {
		v, _ := argValue(d.args, name)
		return v
	}
	switch d.driver.name {
	case "net_memif": // its own reading of yes and no is as generous
		if strings.Contains(value("role"), "server") && strings.Contains(value("socket-abstract"), "no") {
			return value("socket")
		}
	case "net_vhost":
		if client := value("client"); client == "" || client == "0" {
			return value("iface")
		}
	case "net_virtio_user":
		if server := value("server"); server != "" && server != "0" {
			return value("path")
		}
	}
	return ""
}

// checkSocket removes what a process that was killed left of the socket that the device is to
// make, which its driver would take for one in use.
func (d device) checkSocket() error {
	path := d.listensOn()
	if path == "" {
		return nil
	}
	if _, err := os.Stat(filepath.Dir(path)); err != nil {
		return fmt.Errorf("socket %s: %w: make the directory or choose another path", path, err)
	}
	if err := RemoveStaleSocket(path); err != nil {
		return fmt.Errorf("socket %w", err)
	}
	return nil
}

// RemoveStaleSocket removes a unix socket that nobody has open any more. One that somebody
// has, or what is no socket, is an error that begins with the path.
func RemoveStaleSocket(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there and is no socket: remove it or choose another path", path)
	}
	// Whoever listens does not hear of a caller of a type that it does not serve.
	c, err := net.Dial("unixgram", path)
	switch {
	case err == nil:
		c.Close()
	case errors.Is(err, syscall.ECONNREFUSED): // the one answer that says nobody has it
		return os.Remove(path)
	}
	return refusal{path + " is in use by another process: stop it or choose another path", fs.ErrExist}
}
