package conf

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Bounds on a routes file.
const (
	maxRoutesFileBytes = 1 << 30
	maxRouteLineBytes  = 8 << 10 // maxHops next hops, and then some
	maxRoutesFaults    = 100     // that are listed: a file that is none of routes has one in each line
)

// RoutesFile is a text file with a route in each line, see parseRoute, for tables that are
// too large for TOML. In a configuration it is the file's name; the routes are read with
// it, and are part of it.
type RoutesFile struct {
	Path   string // absolute once it was read; "": there is none
	routes []Route
	lines  []uint32 // of routes
}

// Routes are those of the file, in its order. They are not to be written.
func (f *RoutesFile) Routes() []Route { return f.routes }

// String says what is there, for those who compare two.
func (f RoutesFile) String() string {
	if f.Path == "" {
		return "none"
	}
	return fmt.Sprintf("%q with %d routes", f.Path, len(f.routes))
}

// MarshalText implements encoding.TextMarshaler.
func (f RoutesFile) MarshalText() ([]byte, error) { return []byte(f.Path), nil }

// UnmarshalText implements encoding.TextUnmarshaler. It reads nothing.
func (f *RoutesFile) UnmarshalText(text []byte) error {
	f.Path = string(text)
	if strings.ContainsRune(f.Path, 0) {
		return errors.New("has a NUL byte")
	}
	return nil
}

// same tells whether two files have the same routes in the same order.
func (f *RoutesFile) same(o *RoutesFile) bool {
	return f.Path == o.Path && slices.EqualFunc(f.routes, o.routes, func(a, b Route) bool { return a.same(&b) })
}

// AllRoutes gives the routes of the configuration, and then those of its routes file.
func (c *Config) AllRoutes() iter.Seq[*Route] {
	return func(yield func(*Route) bool) {
		for _, routes := range [...][]Route{c.Routes, c.FIB.RoutesFile.routes} {
			for i := range routes {
				if !yield(&routes[i]) {
					return
				}
			}
		}
	}
}

// locate makes the path absolute; it is relative to a directory.
func (f *RoutesFile) locate(dir string) {
	if f.Path == "" {
		return
	}
	if !filepath.IsAbs(f.Path) {
		f.Path = filepath.Join(dir, f.Path)
	}
	if path, err := filepath.Abs(f.Path); err == nil {
		f.Path = path
	}
}

// read reads the file. Faults in it have its name and their line; if it cannot be read at
// all, the fault is that of the key.
func (f *RoutesFile) read() Faults {
	if f.Path == "" {
		return nil
	}
	faults, err := f.open()
	if err != nil {
		return Faults{{Path: routesFileKey, Message: err.Error()}}
	}
	return faults
}

// routesFileKey is the key's path.
const routesFileKey = "fib.routes_file"

// open reads the file under its name. It does not wait for a writer of a pipe, nor read what
// has no end.
func (f *RoutesFile) open() (Faults, error) {
	file, err := os.OpenFile(f.Path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no regular file", f.Path)
	case info.Size() > maxRoutesFileBytes:
		return nil, fmt.Errorf("%s is larger than %d MiB; not a file of routes", f.Path, maxRoutesFileBytes>>20)
	}
	lines, err := countLines(file)
	if err == nil {
		_, err = file.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, err
	}
	lines = min(lines, maxRoutes)
	f.routes, f.lines = make([]Route, 0, lines), make([]uint32, 0, lines)
	return f.parse(io.LimitReader(file, maxRoutesFileBytes))
}

// countLines counts line ends: a list that grows by and by takes three times the memory.
func countLines(file io.Reader) (n int, err error) {
	buffer := make([]byte, 64<<10)
	for err == nil {
		var got int
		got, err = file.Read(buffer)
		n += bytes.Count(buffer[:got], []byte("\n"))
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n + 1, err
}

// parse reads lines to the end, or until there are too many faults.
func (f *RoutesFile) parse(from io.Reader) (faults Faults, err error) {
	p := routeParser{ports: map[string]string{}}
	in := bufio.NewReaderSize(from, maxRouteLineBytes)
	for line := 1; ; line++ {
		text, err := in.ReadSlice('\n')
		var fault string
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			fault = fmt.Sprintf("is longer than %d bytes; what follows was not read", maxRouteLineBytes)
		case err != nil && !errors.Is(err, io.EOF):
			return faults, fmt.Errorf("%s: %w", f.Path, err)
		case len(f.routes) == maxRoutes:
			fault = fmt.Sprintf("is behind %d routes, more than which no table takes; what follows was not read", maxRoutes)
		default:
			route, is, wrong := p.parse(string(text))
			if wrong != nil {
				faults = append(faults, Fault{File: f.Path, Line: line, Message: wrong.Error()})
			} else if is {
				f.routes, f.lines = append(f.routes, route), append(f.lines, uint32(line))
			}
			if err != nil { // the end
				return faults, nil
			}
			if len(faults) < maxRoutesFaults {
				continue
			}
			fault = "more faults may follow; the rest was not read"
		}
		return append(faults, Fault{File: f.Path, Line: line, Message: fault}), nil
	}
}
