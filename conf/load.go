package conf

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/BurntSushi/toml"
)

// maxFileBytes bounds a configuration: several hundred thousand routes. It also
// bounds what a mistaken path (a device, a capture) makes us read.
const maxFileBytes = 64 << 20

// maxNesting bounds brackets that are open at once. The toml package recurses for
// each, and a goroutine's stack is finite; our own tables need five.
const maxNesting = 1000

// maxKeyParts bounds the parts of one key, a.b.c: the toml package and we keep each
// part's path, so that the time and memory that a key takes grow with its square.
const maxKeyParts = 16

// Load reads and parses the file at path.
//
// The error is Faults if the file could be read and is not a valid
// configuration, and that of the operating system, wrapped, if it could not.
// known is as for Validate.
func Load(path string, known ...string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	defer f.Close()
	doc, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	return Parse(path, doc, known...)
}

// ParseSent is Parse for a document that a client of a running switch has sent. Its routes
// file has to be the one that the switch reads already: what we may read clients may not.
func ParseSent(running *Config, name string, doc []byte, known ...string) (*Config, error) {
	return parse(name, doc, func(f *RoutesFile) string {
		if allowed := running.FIB.RoutesFile.Path; f.Path != "" && f.Path != allowed {
			return fmt.Sprintf("%q is not the file that the switch reads already, which is %q; another can only be named in the file that the switch was started from",
				f.Path, allowed)
		}
		return ""
	}, known)
}

// Parse makes a Config of a TOML document. name stands for the file in faults, and a routes
// file is looked for beside it.
//
// The error is Faults with everything that is wrong, in the order of the file,
// except that a syntax error hides all else. known is as for Validate.
func Parse(name string, doc []byte, known ...string) (*Config, error) {
	return parse(name, doc, func(*RoutesFile) string { return "" }, known)
}

// parse is Parse; mayRead says why a routes file may not be read.
func parse(name string, doc []byte, mayRead func(*RoutesFile) (fault string), known []string) (*Config, error) {
	if fault := bounds(doc); fault != "" {
		return nil, Faults{{File: name, Message: fault}}
	}
	var tree map[string]any
	if _, err := toml.NewDecoder(bytes.NewReader(doc)).Decode(&tree); err != nil {
		return nil, Faults{syntaxFault(name, doc, err)}
	}

	var c Config
	d := decoder{mtus: map[int]bool{}}
	d.table(&place{}, tree, reflect.ValueOf(&c).Elem())
	inheritMTU(&c, d.mtus)

	routes := &c.FIB.RoutesFile
	routes.locate(filepath.Dir(name))
	if fault := mayRead(routes); fault != "" {
		d.faults.add(routesFileKey, "%s", fault)
	} else {
		d.faults = append(d.faults, routes.read()...)
	}
	faults := append(d.faults, d.faults.withoutConsequences(c.Validate(known...))...)
	if len(faults) > 0 {
		faults.locate(name, indexLines(string(doc), faults.paths()))
		if faults.full() {
			faults = append(faults, Fault{File: name, Message: "more faults may follow; no more are listed"})
		}
		return nil, faults
	}
	return &c, nil
}

// bounds refuses a document that is too large or too deep to be parsed safely.
// It counts brackets in strings and comments too, so it errs on the safe side.
func bounds(doc []byte) string {
	if len(doc) > maxFileBytes {
		return fmt.Sprintf("is larger than %d MiB; not a configuration", maxFileBytes>>20)
	}
	depth := 0
	for _, c := range doc {
		switch c {
		case '[', '{':
			if depth++; depth > maxNesting {
				return fmt.Sprintf("has more than %d brackets open at once", maxNesting)
			}
		case ']', '}':
			depth = max(depth-1, 0)
		}
	}
	if hasLongKey(string(doc), maxKeyParts) {
		return fmt.Sprintf("has a key of more than %d parts", maxKeyParts)
	}
	return ""
}

// syntaxFault makes a fault of an error of the toml package, which counts a line too many
// where a newline is what is wrong, and names the key before where it was not at a value.
func syntaxFault(name string, doc []byte, err error) Fault {
	var pe toml.ParseError
	if !errors.As(err, &pe) {
		return Fault{File: name, Message: oneLine(err.Error())}
	}
	message := pe.Message
	if message == "" { // the library puts the text of some errors elsewhere
		message = pe.Error()
	}
	f := Fault{File: name, Line: pe.Position.Line, Path: pe.LastKey, Message: oneLine(message)}
	if start := pe.Position.Start; start > 0 && start <= len(doc) {
		f.Line = 1 + bytes.Count(doc[:start], []byte("\n"))
	}
	for _, outside := range [...]string{"end table name", "table array name", "top-level item", "'.' or '='", "key name"} {
		if strings.Contains(message, outside) {
			f.Path = ""
		}
	}
	return f
}

// oneLine is a message of the toml package in the form of ours.
func oneLine(message string) string {
	return strings.NewReplacer("\n", `\n`, "\r", `\r`, `'\x00'`, "the end of the file").Replace(strings.TrimSuffix(message, "."))
}
