package conf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	File    string `json:"file,omitempty"` // "" when the Config did not come from a file
	Line    int    `json:"line,omitempty"` // of the key, or of its table when the key is missing; 0 = unknown
	Path    string `json:"path,omitempty"` // as in ports[1].mtu
	Message string `json:"message"`
}

// Error gives file:line: path: message, the form editors and compilers know.
func (f Fault) Error() string {
	var b strings.Builder
	if f.File != "" {
		fmt.Fprintf(&b, "%s:", f.File)
		if f.Line > 0 {
			fmt.Fprintf(&b, "%d:", f.Line)
		}
		b.WriteByte(' ')
	}
	if f.Path != "" {
		fmt.Fprintf(&b, "%s: ", f.Path)
	}
	b.WriteString(f.Message)
	return b.String()
}

// Faults is every fault found, in the order of the file. Load and Parse return
// it as their error; errors.As finds it.
type Faults []Fault

// Error gives one fault per line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// maxFaults bounds those of one document to some 50 MB: a list with millions of
// elements of a wrong type has one for each.
const maxFaults = 1 << 18

// full tells whether no more faults are noted.
func (fs *Faults) full() bool { return len(*fs) >= maxFaults }

// add notes a fault of the key at path.
func (fs *Faults) add(path, format string, args ...any) {
	if fs.full() {
		return
	}
	*fs = append(*fs, Fault{Path: path, Message: fmt.Sprintf(format, args...)})
}

// withoutConsequences returns those of later that are not about a key, or
// something in it, that has a fault already.
func (fs Faults) withoutConsequences(later Faults) Faults {
	faulty := make(map[string]bool, len(fs))
	for _, f := range fs {
		faulty[f.Path] = true
	}
	return slices.DeleteFunc(later, func(f Fault) bool {
		if f.File != "" {
			return false
		}
		for path := f.Path; path != ""; path = parent(path) {
			if faulty[path] {
				return true
			}
		}
		return false
	})
}

// paths are those of the faults, and of what holds the keys.
func (fs Faults) paths() map[string]bool {
	all := map[string]bool{}
	for _, f := range fs {
		for path := f.Path; path != "" && !all[path]; path = parent(path) {
			all[path] = true
		}
	}
	return all
}

// locate fills in the file and the lines and sorts by line; those that have them, of
// another file, come last.
func (fs Faults) locate(file string, lines lineIndex) {
	for i := range fs {
		if fs[i].File == "" {
			fs[i].File, fs[i].Line = file, lines.of(fs[i].Path)
		}
	}
	elsewhere := func(f Fault) int {
		if f.File == file {
			return 0
		}
		return 1
	}
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(elsewhere(a)-elsewhere(b), a.Line-b.Line)
	})
}
