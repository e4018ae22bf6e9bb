package house

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// floor tells which packages each package may import of ours. The arrows run one
// way; a package that is missing here does not belong to the house yet.
var floor = map[string][]string{
	"packet":   {},
	"mem":      {},
	"clock":    {},
	"epoch":    {},
	"conf":     {},
	"policy":   {},
	"capture":  {"packet"},
	"bindings": {"packet", "bindings/ccall"},
	"ct":       {"packet", "mem"},
	"fib":      {"mem"},
	"pipeline": {"packet", "mem", "clock", "epoch", "ct", "fib", "policy"},
	"pmd":      {"bindings", "packet", "mem"},
	"slowpath": {"mem", "fib"},

	"bindings/ccall": {},

	"queue":        {"packet", "queue/wire"},
	"queue/wire":   {},
	"queue/client": {"queue/wire"},

	"examples/dnsguard": {"queue/client"},

	"bench":    {"capture", "conf", "ct", "mem", "clock", "packet"},
	"control":  {"conf", "packet", "mem", "clock", "epoch", "ct", "fib", "policy", "pipeline", "pmd", "slowpath", "queue"},
	"cmd/ffwd": {"control", "conf", "bench", "capture", "pmd", "packet", "pipeline", "queue/client"},
	"e2e":      {"capture", "conf", "packet"},
	"":         {},
}

// goFile is a source file: its package's folder, and what it imports.
type goFile struct {
	path, folder string
	imports      []string
	doc          string
}

// sources parses every Go file of the house.
func sources(t *testing.T) (files []goFile) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != "." {
			return fs.SkipDir
		}
		if !strings.HasSuffix(path, ".go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		g := goFile{path: path, folder: strings.TrimPrefix(filepath.Dir(path), "."), doc: f.Doc.Text()}
		for _, i := range f.Imports {
			name, _ := strconv.Unquote(i.Path.Value)
			g.imports = append(g.imports, name)
		}
		files = append(files, g)
		return nil
	})
	if err != nil || len(files) < 50 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	return files
}

func TestImportsRunOneWay(t *testing.T) {
	for _, f := range sources(t) {
		allowed, known := floor[f.folder]
		if !known {
			t.Errorf("%s: package %s has no place in the house: see floor", f.path, f.folder)
			continue
		}
		for _, i := range f.imports {
			ours, isOurs := strings.CutPrefix(i, "ffwd/")
			if !isOurs || ours == f.folder || strings.HasSuffix(f.path, "_test.go") && floor[ours] != nil && ours != "control" {
				continue
			}
			if !contains(allowed, ours) {
				t.Errorf("%s imports %s: the arrow points the wrong way", f.path, i)
			}
		}
	}
}

func TestOnlyBindingsUseC(t *testing.T) {
	for _, f := range sources(t) {
		if contains(f.imports, "C") && f.folder != "bindings" {
			t.Errorf("%s imports C", f.path)
		}
	}
}

func TestEveryPackageHasADocAndATest(t *testing.T) {
	documented, tested := map[string]bool{}, map[string]bool{}
	for _, f := range sources(t) {
		documented[f.folder] = documented[f.folder] || f.doc != "" && filepath.Base(f.path) == "doc.go"
		tested[f.folder] = tested[f.folder] || strings.HasSuffix(f.path, "_test.go")
	}
	for folder := range floor {
		if folder == "" {
			continue
		}
		if !documented[folder] {
			t.Errorf("%s has no doc.go", folder)
		}
		if !tested[folder] {
			t.Errorf("%s has no test", folder)
		}
	}
}

// A file is what a reader holds in the head.
func TestFilesAreReadable(t *testing.T) {
	for _, f := range sources(t) {
		content, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(content), "\n"); n > 500 {
			t.Errorf("%s has %d lines", f.path, n)
		}
	}
}

func contains(list []string, s string) bool {
	for _, v := range list {
		if v == s {
			return true
		}
	}
	return false
}

var id = regexp.MustCompile(`\b(FF|TO|CT|VQ|SP|HC|PI|HA)-[0-9]+\b`)

// docs/behaviour.md and the tests agree: what it calls done or in part is named
// by a test, and what tests name is on the page and not called open.
func TestBehavioursHaveTests(t *testing.T) {
	page, err := os.ReadFile("docs/behaviour.md")
	if err != nil {
		t.Fatal(err)
	}
	named := map[string]bool{}
	for _, f := range sources(t) {
		if !strings.HasSuffix(f.path, "_test.go") {
			continue
		}
		content, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range id.FindAllString(string(content), -1) {
			named[name] = true
		}
	}
	proven := map[string]bool{}
	for _, line := range strings.Split(string(page), "\n") {
		cells := strings.Split(line, "|")
		if len(cells) < 6 || !id.MatchString(cells[1]) {
			continue
		}
		name, state := strings.TrimSpace(cells[1]), strings.TrimSpace(cells[3])
		if strings.HasPrefix(state, "open") {
			continue
		}
		proven[name] = true
		if !named[name] {
			t.Errorf("%s is %q and no test names it", name, state)
		}
	}
	for name := range named {
		if !proven[name] {
			t.Errorf("a test names %s, which docs/behaviour.md does not call done or in part", name)
		}
	}
	if len(proven) < 20 {
		t.Errorf("only %d lines were read", len(proven))
	}
}

// Decisions are numbered from 1 on without a gap, each title repeats its number, and
// what code says of a document finds it.
func TestDecisionsAreNumbered(t *testing.T) {
	files, err := filepath.Glob("docs/decisions/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	numbers := map[int]string{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		number, err := strconv.Atoi(filepath.Base(file)[:4])
		if err != nil || numbers[number] != "" {
			t.Errorf("%s: its number is wrong, or that of %s", file, numbers[number])
		}
		numbers[number] = file
		if number > len(files) {
			t.Errorf("%s: a number before it is missing", file)
		}
		if !strings.HasPrefix(string(text), "# "+strconv.Itoa(number)+". ") {
			t.Errorf("%s: its title does not begin with %d", file, number)
		}
	}
	reference := regexp.MustCompile(`docs/[0-9a-z/-]+\.md`)
	for _, f := range sources(t) {
		text, err := os.ReadFile(f.path)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range reference.FindAllString(string(text), -1) {
			if _, err := os.Stat(name); err != nil {
				t.Errorf("%s refers to %s: %v", f.path, name, err)
			}
		}
	}
}
