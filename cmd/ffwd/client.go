package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"ffwd/conf"
)

// clientTimeout bounds one request. The switch answers within milliseconds, but not where tens
// of millions of flows are looked at between its polls; of a worker that hangs it tells itself.
const clientTimeout = 5 * time.Minute

// client asks a running switch over its control socket.
type client struct {
	socket string
	http   http.Client
}

// socketFlags are how a client finds the switch: by its socket, or by the
// configuration it runs with.
type socketFlags struct{ socket, config string }

func (f *socketFlags) add(c *cobra.Command) {
	c.Flags().StringVar(&f.socket, "socket", "", "control socket; the configuration's, or "+conf.Default().Control.Socket)
	configFlag(c, &f.config)
}

// socketPath is the path that is given, or that which the configuration has, or the
// default one has where no configuration is given either; "" when that has none.
func socketPath(given, config string, of func(*conf.Control) string) (string, error) {
	if given != "" {
		return given, nil
	}
	if config == "" {
		c := conf.Default()
		return of(&c.Control), nil
	}
	c, err := loadConfig(config)
	if err != nil {
		return "", err
	}
	return of(&c.Control), nil
}

// client makes a client. Only an explicit file is read.
func (f *socketFlags) client() (*client, error) {
	path, err := socketPath(f.socket, f.config, func(c *conf.Control) string { return c.Socket })
	if err != nil {
		return nil, err
	}
	if path == "" {
		return nil, usageError{errors.New("this configuration has no control socket: set control.socket, or name one with --socket")}
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path)
	}
	return &client{path, http.Client{Timeout: clientTimeout, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}, nil
}

// get asks for a path and stores the answer.
func (c *client) get(path string, query url.Values, answer any) error {
	return c.do(http.MethodGet, path, query, nil, answer)
}

// text asks for a path whose answer is no JSON.
func (c *client) text(path string, query url.Values) ([]byte, error) {
	var b []byte
	err := c.do(http.MethodGet, path, query, nil, &b)
	return b, err
}

func (c *client) do(method, path string, query url.Values, body []byte, answer any) error {
	response, err := c.ask(&c.http, method, path, query, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if b, ok := answer.(*[]byte); ok {
		*b, err = io.ReadAll(response.Body)
	} else {
		err = json.NewDecoder(response.Body).Decode(answer)
	}
	if err != nil {
		return fmt.Errorf("answer of %s: %w", c.socket, err)
	}
	return nil
}

// maxLine bounds a line of a stream, in bytes.
const maxLine = 1 << 20

// follow hands on an answer of any length line by line, until the switch ends it.
func (c *client) follow(path string, query url.Values, show func(line []byte) error) error {
	return c.stream(path, query, func(body io.Reader) error {
		lines := bufio.NewScanner(body)
		lines.Buffer(nil, maxLine)
		for lines.Scan() {
			if err := show(lines.Bytes()); err != nil {
				return err
			}
		}
		return lines.Err()
	})
}

// copyStream prints an answer of any length.
func (c *client) copyStream(w io.Writer, path string, query url.Values) error {
	return c.stream(path, query, func(body io.Reader) error {
		_, err := io.Copy(w, body)
		return err
	})
}

// stream asks for an answer that may take for ever.
func (c *client) stream(path string, query url.Values, read func(io.Reader) error) error {
	endless := c.http
	endless.Timeout = 0
	response, err := c.ask(&endless, http.MethodGet, path, query, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if err = read(response.Body); errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the answer of %s broke off: its log says why", c.socket)
	}
	return err
}

// ask sends a request; an answer that is no error is the caller's to close.
func (c *client) ask(by *http.Client, method, path string, query url.Values, body []byte) (*http.Response, error) {
	u := url.URL{Scheme: "http", Host: "ffwd", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequest(method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	response, err := by.Do(request)
	if err != nil {
		var failed *net.OpError
		dialled := errors.As(err, &failed) && failed.Op == "dial"
		switch {
		case dialled && errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("%s is not yours to use (%w): run as root, or as a member of the group that the socket belongs to", c.socket, failed.Err)
		case dialled:
			return nil, fmt.Errorf("no switch answers at %s (%w): is it running? name its socket with --socket", c.socket, failed.Err)
		}
		return nil, fmt.Errorf("ask %s: %w", c.socket, err)
	}
	if response.StatusCode != http.StatusOK {
		defer response.Body.Close()
		return nil, refusalOf(response)
	}
	return response, nil
}

// refusalOf is the error that the switch answered with. A configuration that it
// found faulty is the user's, like one that we read ourselves.
func refusalOf(response *http.Response) error {
	var body struct {
		Error  string      `json:"error"`
		Faults conf.Faults `json:"faults"`
	}
	if err := json.NewDecoder(response.Body).Decode(&body); err != nil || body.Error == "" {
		return fmt.Errorf("the switch answered %s", response.Status)
	}
	if len(body.Faults) > 0 {
		return body.Faults
	}
	if response.StatusCode == http.StatusBadRequest { // a flag's value
		return usageError{errors.New(body.Error)}
	}
	return errors.New(body.Error)
}

func reloadCommand() *cobra.Command {
	var f socketFlags
	var asJSON bool
	c := &cobra.Command{
		Use:   "reload",
		Short: "Make a running switch take over a configuration",
		Long: `Make a running switch take over rules, routes, neighbours, flow timeouts, the rate of
ICMP errors and the log level from the file of -c, or from the file it was started
with. On any fault the last configuration runs on.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			cl, err := f.client()
			if err != nil {
				return err
			}
			query, doc := url.Values{}, []byte(nil)
			if f.config != "" {
				query.Set("name", f.config)
				if path, err := filepath.Abs(f.config); err == nil { // a routes file is named relative to it
					query.Set("name", path)
				}
				if doc, err = os.ReadFile(f.config); err != nil {
					return usageError{fmt.Errorf("configuration: %w", err)}
				}
			}
			var changes conf.Changes
			if err := cl.do(http.MethodPost, "/v1/reload", query, doc, &changes); err != nil {
				return err
			}
			if asJSON {
				return printJSON(c.OutOrStdout(), changes)
			}
			for _, change := range changes.Reload {
				fmt.Fprintln(c.OutOrStdout(), change)
			}
			fmt.Fprintf(c.OutOrStdout(), "reloaded, %d changes\n", len(changes.Reload))
			return nil
		},
	}
	f.add(c)
	c.Flags().BoolVar(&asJSON, "json", false, "print the changes as JSON")
	return c
}

func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
